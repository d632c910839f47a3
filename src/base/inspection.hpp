#pragma once
// What Emdb::verify and Emdb::salvage take and report.

#include <cstdint>
#include <optional>
#include <vector>

#include "base/callbacks.hpp"
#include "base/config.hpp"
#include "base/encryption_input.hpp"
#include "base/error.hpp"

namespace emdb {

/// See `Emdb::verify`.
struct VerifyOptions {
#if EMDB_ENCRYPT
    /// What opens the database, if it is encrypted.
    std::optional<EncryptionInput> encryption;
#endif
    /// f(std::uint64_t done, std::uint64_t total), in bytes of the file: called on the way and on the caller's thread, about once for each
    /// MiB. What it throws ends the call.
    detail::ProgressCallback progress;
};

/// What `Emdb::verify` found.
struct VerifyReport {
    std::uint64_t frames = 0;         ///< intact ones: records, removals, batches, marks, ...
    std::uint64_t live_records = 0;   ///< that intact frames make up, in all namespaces; expired ones are among them as in stats()
    std::uint64_t bytes_checked = 0;  ///< the header's and the intact frames'
    /// The first 100, each with its offset: `corrupted`; `encryption_error`, tampered with; `feature_disabled`, of a later version; `io`, a
    /// sector that can't be read, where the look ended, or no memory to open a frame in.
    std::vector<Error> damages;
    /// How many damages there are, listed or not.
    std::uint64_t damage_count = 0;
    /// What was being written when the process or the machine stopped, at the end of the file: no damage, the next open cuts it
    /// off. Nothing behind its beginning is counted above.
    bool torn_tail = false;
    bool meta_usable = false;         ///< the checkpoint beside the file fits it, and saves the next open the scan

    /// No damage. A torn tail is none.
    bool ok() const noexcept { return damage_count == 0; }
};

/// See `Emdb::salvage`.
struct SalvageOptions {
#if EMDB_ENCRYPT
    /// What opens the database, if it is encrypted, and the new one: that gets the same cipher, and a data key of its own.
    std::optional<EncryptionInput> encryption;
#endif
    /// As VerifyOptions::progress; total is twice the file's size, for one pass that looks and one that copies.
    detail::ProgressCallback progress;
    /// Also takes the intact records of a batch that is incomplete and has nothing intact behind it. It may be a transaction
    /// that never was committed; after damage it may as well be one that was.
    bool unfinished_batch = false;
};

/// What `Emdb::salvage` did.
struct SalvageReport {
    std::uint64_t records_written = 0;  ///< live records in the new database, in all namespaces
    std::uint64_t frames_skipped = 0;   ///< damaged stretches, each counted once, and frames of an unfinished batch
    std::uint64_t bytes_skipped = 0;    ///< their bytes; free space at the end of the file is not counted
};

}  // namespace emdb
