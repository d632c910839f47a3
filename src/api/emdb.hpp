#pragma once
// Emdb: a handle on a database.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "api/builder.hpp"
#include "api/keyspace.hpp"
#include "api/path.hpp"
#include "base/encryption_input.hpp"
#include "api/transaction.hpp"
#include "base/inspection.hpp"
#include "base/options.hpp"
#include "base/result.hpp"

namespace emdb {

/// A handle on a database: cheap to copy, thread-safe, all copies sharing one engine. The data operations (see Keyspace) work
/// on the default keyspace. The database is closed when the last Emdb and Namespace handle is gone, or by `close()`.
class Emdb : public Keyspace {
public:
    /// Opens or creates a database with default settings; errors as `EmdbBuilder::build`.
    static Result<Emdb> open(Path path);
    /// A database in memory, gone with its last handle.
    static Emdb open_in_memory();
    /// For everything that `open` has no argument for.
    static EmdbBuilder builder();

    /// The same as copying.
    Emdb clone_handle() const;
    /// As given to open or resolved by the builder; ":memory:" for a database in memory.
    std::string path() const;

    /// Calls f(Transaction&) -> Result<T> with exclusive write access and returns its Result<T>. If it holds a value,
    /// everything staged is applied at once: readers and crashes see all of it or none. If it holds an error, or f throws
    /// (rethrown), nothing is applied. If the commit fails, its error is returned; after `io` or `poisoned` the transaction may
    /// be found, whole, after reopening. Other writers wait meanwhile; readers don't. A plain write, `flush` or a transaction by
    /// f's own thread is `invalid_argument`.
    template <class F>
    auto transaction(F&& f) -> std::remove_cvref_t<std::invoke_result_t<F&, Transaction&>> {
        using Outcome = std::remove_cvref_t<std::invoke_result_t<F&, Transaction&>>;
        static_assert(detail::is_result<Outcome>::value, "the closure of a transaction returns emdb::Result<T>");
        auto scope = detail::TransactionScope::begin(engine_);
        if (!scope) return Outcome(std::move(scope).error());
        Outcome outcome = f(scope->transaction());
        if (!outcome) return outcome;
        if (auto committed = scope->commit(); !committed) return Outcome(std::move(committed).error());
        return outcome;
    }

    /// A handle on the named keyspace, which is created (a write) if there is none. Any bytes make a name, up to 65,535 of
    /// them, at least one; an empty namespace costs under 1 KiB of memory.
    Result<Namespace> open_namespace(std::string_view name);
    /// Removes a namespace and all its records atomically; false: there is none. Its handles answer `invalid_argument` from
    /// then on.
    Result<bool> drop_namespace(std::string_view name);
    /// Names in byte order, the default keyspace not among them.
    Result<std::vector<std::string>> list_namespaces() const;

    /// When it returns, everything that completed before the call survives a power cut. Costs one sync of the disk, or a
    /// share of one under FlushPolicy::group. A failed sync is final: this call says `io`, later writes and flushes `poisoned`,
    /// until the database is reopened; reads go on.
    Result<void> flush();
    /// Flushes, and writes the index to `<path>.meta`, so that the next open replays only what came later: it then takes
    /// milliseconds instead of a second for five million records. Readers and writers go on; a writer may wait for the copy of one
    /// part in 64 of the index. An error leaves the database as usable as before (one of the flush: see there), and an earlier
    /// checkpoint in place. `<path>.meta` may be deleted at any time. Does nothing for a database in memory.
    Result<void> checkpoint();
    /// Rewrites the file without what is dead: replaced and removed records, expired ones, frames of removals. Reads and writes go
    /// on; writers wait for the last step only (a few milliseconds), readers never. Records come to lie in key order where range
    /// scans are enabled. Needs free space for the result, and memory for a second index. The new file takes the old one's place, owner
    /// and mode (a hard link goes on naming the old one); that one's space is returned when the last ValueRef and iterator into it has
    /// gone. After a crash the file is the old or the new one. Errors: `io` (a full disk) and `corrupted` (a live record is damaged)
    /// change nothing, but an `io` error of the last step, the renaming, poisons; `poisoned`; `stopped`. Cost: one read and one write
    /// of what lives.
    Result<void> compact();
    /// Writes a copy as of one moment to `target`, without what is dead, as a database of its own. Reads and writes go on. `target`
    /// is absent, an empty file or an emdb database that nobody has open, which is replaced atomically; anything else, and the
    /// database itself, is `invalid_argument`. After an error or a crash `target` is as it was or, if that came at the
    /// very end, complete. It gets the owner and mode of the file that it replaces, else of the database. Works on poisoned
    /// databases, too. Cost: as compact().
    Result<void> backup_to(Path target) const;

    /// Flushes, writes a checkpoint, gives preallocated space back and releases the lock, for all copies of the handle; later calls
    /// answer `stopped`, and a second close is no error. A checkpoint that can't be written is only told to the log. Dropping the last
    /// handle does the same, with errors sent to the log.
    Result<void> close();
    /// Counters, collected in microseconds whatever the size of the database.
    Result<EmdbStats> stats() const;

    /// Who has the database at `path` open; nullopt: nobody, whatever a left-over lock file says.
    static Result<std::optional<LockHolder>> lock_holder(Path path);
    /// Removes a left-over lock file. Never needed for opening (the lock that counts is the operating system's, and ends with
    /// its process); refused with `already_locked` while somebody has the database open.
    static Result<void> break_lock(Path path);

    /// Looks at every byte of a database that nobody has open, and changes nothing; other calls of verify may look at the same time.
    /// Damage and torn tails are told in the report, for any file that is or was an emdb database. Behind damage it goes on with
    /// the next intact frame. Errors: `io` (no such file, ...), `already_locked`, `magic_mismatch` (nothing of a database in it),
    /// `version_mismatch`, `feature_disabled`; of an encrypted database `key_required` and `encryption_key_mismatch`, and
    /// `not_encrypted` of others if a key is given. In an encrypted database every frame is opened: one whose checksum is right and
    /// whose seal is not was tampered with, and reported as `encryption_error`. The database can't be opened meanwhile
    /// (`already_locked`). Cost: one sequential read, and about 50 bytes of memory for each live record.
    static Result<VerifyReport> verify(Path path, VerifyOptions options = {});
    /// Writes every intact record of a damaged database that nobody has open into a new one at `to`, with namespaces, expiry and
    /// permissions; `from` is only read. Removals, clears and drops are honoured in order; one that damage has destroyed is not
    /// known, nor is a destroyed newer value of a key, so older ones may come back. Of a batch or transaction with damaged
    /// members the intact ones are taken, unless it is the last thing in the file (see SalvageOptions::unfinished_batch).
    /// Records of a namespace whose name is lost go to "lost namespace N". Both copies of the header may be lost if two intact
    /// frames stand side by side; but not of an encrypted database, whose header has its wrapped key. There what was tampered with is
    /// skipped, and so are all records of a session whose first frame is damaged; the new database opens with the same key or
    /// passphrase, and has a data key of its own. `to` must not exist (`invalid_argument`, nothing is touched) and appears whole or
    /// not at all; otherwise errors and cost are those of `verify`, and `corrupted` if there is nothing to go by.
    static Result<SalvageReport> salvage(Path from, Path to, SalvageOptions options = {});

#if EMDB_ENCRYPT
    // Offline changes. The database must not be open anywhere (`already_locked`). What they leave after a crash is the old state or the
    // new one, whole. `keep_backup` leaves a copy with the old key, or unencrypted as it was, as "<path>.encbak"; otherwise no copy is
    // left, as far as the disk itself keeps none. Errors: `encryption_key_mismatch`, `not_encrypted`, `invalid_argument` (encrypted
    // already; an empty passphrase), those of opening and of `compact`, which costs the same.

    /// Encrypts a plain database under a new data key.
    static Result<void> enable_encryption(Path path, EncryptionInput target, Cipher cipher = Cipher::aes_256_gcm, bool keep_backup = false);
    /// Makes a plain database of an encrypted one.
    static Result<void> disable_encryption(Path path, EncryptionInput current, bool keep_backup = false);
    /// Encrypts everything anew with a new data key. What a leaked key or passphrase calls for.
    static Result<void> rotate_encryption_key(Path path, EncryptionInput current, EncryptionInput next, bool keep_backup = false);
    /// Wraps the data key anew; writes the header only. Whoever has an old copy of the file and the old passphrase can still read this
    /// one: after a leak use rotate_encryption_key. Works for keys, too.
    static Result<void> change_passphrase(Path path, EncryptionInput current, EncryptionInput next, bool keep_backup = false);
#endif

private:
    friend class EmdbBuilder;
    using Keyspace::Keyspace;
};

}  // namespace emdb
