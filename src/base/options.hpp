#pragma once
// The vocabulary that callers and the engine share: policies, modes, reports.

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/config.hpp"

namespace emdb {

/// A key and its value, owned.
struct Record {
    /// Any bytes.
    std::string key;
    /// Any bytes.
    std::string value;
    /// Byte by byte.
    friend bool operator==(const Record&, const Record&) = default;
};

/// When writes reach the disk. All policies keep every returned write across a killed process; they differ in what
/// survives a power cut without an explicit `flush()`.
class FlushPolicy {
public:
    /// The policies, named as the functions that make them.
    enum class Kind : std::uint8_t { on_each_flush, group, write_through, every_n };

    /// `flush()` issues one sync a call, unless there is nothing new. The default.
    static constexpr FlushPolicy on_each_flush() noexcept { return {Kind::on_each_flush, 0}; }
    /// Concurrent `flush()` calls share one sync: one caller leads, the others wait for it. No timer.
    static constexpr FlushPolicy group() noexcept { return {Kind::group, 0}; }
    /// Each write is durable when it returns, at the price of a sync; concurrent writers share them, as by `group`.
    static constexpr FlushPolicy write_through() noexcept { return {Kind::write_through, 0}; }
    /// A flush after every n-th write of the database (a batch or transaction counts as one), which the caller of that write waits for;
    /// shared as by `group`. n must not be 0 (`invalid_config` from `EmdbBuilder::build`).
    static constexpr FlushPolicy every_n(std::uint32_t n) noexcept { return {Kind::every_n, n}; }

    /// Which policy it is.
    constexpr Kind kind() const noexcept { return kind_; }
    /// Of `every_n`; else 0.
    constexpr std::uint32_t n() const noexcept { return n_; }

private:
    constexpr FlushPolicy(Kind kind, std::uint32_t n) noexcept : kind_(kind), n_(n) {}
    Kind kind_;
    std::uint32_t n_;
};

/// How frames get into the file: `mapped` by storing them through a writable window of the memory map, some 35 ns for a small one, where
/// allocated space stays allocated (ext4, xfs, tmpfs, NTFS, ...); `pwrite` by a system call, some 600 ns, on any file system. `automatic`
/// uses `mapped` where it can. What survives is the same.
enum class AppendMode : std::uint8_t { automatic, mapped, pwrite };

#if EMDB_ENCRYPT
/// How an encrypted database is sealed. `aes_256_gcm` is the faster where the processor has instructions for AES, as nearly all have.
enum class Cipher : std::uint8_t { aes_256_gcm, chacha20_poly1305 };
#endif

/// How much a message of `EmdbBuilder::on_log` matters.
enum class LogLevel : std::uint8_t { debug, info, warning, error };

/// A snapshot of counters; see `Emdb::stats()`. Sizes in bytes. Records that have expired count as live until they are swept, replaced or
/// removed.
struct EmdbStats {
    std::size_t live_records = 0;            ///< in all namespaces
    std::size_t namespace_count = 0;         ///< named namespaces, the default one not counted
    std::uint64_t logical_size_bytes = 0;    ///< keys and values of live records
    std::uint64_t file_size_bytes = 0;       ///< header and journal, preallocation not counted
    std::uint64_t preallocated_bytes = 0;    ///< reserved beyond the journal's end
    std::uint64_t dead_bytes = 0;            ///< journal bytes that no live record needs: about what compact() would give back
    std::uint64_t index_bytes = 0;           ///< memory of the index, that in key order and the list of what expires among it
    /// See `EmdbBuilder::enable_range_scans`.
    bool range_scans_enabled = false;
    /// Whether the file is.
    bool encrypted = false;
};

/// Who has a database open; see `Emdb::lock_holder`. As the holder wrote it into `<path>.lock`; zeros and empty where that is gone.
struct LockHolder {
    /// Its process, as its own system numbers them; 0: not known.
    std::uint32_t pid = 0;
    /// Since when: milliseconds since 1970, UTC.
    std::uint64_t acquired_at_unix_ms = 0;
    std::uint32_t schema_version = 0;        ///< version of the lock file's own layout
    std::string version;                     ///< emdb version of the holder
    /// The machine that it runs on.
    std::string hostname;
};

}  // namespace emdb
