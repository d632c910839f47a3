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
/// on the default keyspace. The database is closed when the last Emdb and Namespace handle is gone, or by `close()`. Copying costs two
/// atomic counters; what has been moved from may only be destroyed or assigned to.
///
/// Errors that every call on a handle may return besides its own: `stopped` after `close()` or in a forked child; and of all but
/// `list_namespaces`, `stats` and reads, `invalid_argument` when made by a transaction's own closure. `checkpoint`, `compact`,
/// `backup_to` and `close` are made one at a time: a second one waits for the first, but a `close` has a compaction or backup give up.
class Emdb : public Keyspace {
public:
    /// Opens or creates a database with default settings; errors as `EmdbBuilder::build`.
    static Result<Emdb> open(Path path);
    /// A database in memory, gone with its last handle; flushes and checkpoints do nothing. If the system has no memory or no random
    /// bytes it throws Exception, or prints and aborts in builds without exceptions; `builder().build()` returns the error.
    static Emdb open_in_memory();
    /// For everything that `open` has no argument for.
    static EmdbBuilder builder();

    /// The same as copying.
    Emdb clone_handle() const;
    /// As given to open or resolved by the builder; ":memory:" for a database in memory.
    std::string path() const;

    /// Calls f(Transaction&) -> Result<T> with exclusive write access and returns its Result<T>. If it holds a value,
    /// everything staged is applied at once: readers and crashes see all of it or none. If it holds an error, or f throws
    /// (rethrown), nothing is applied. If the commit fails, its error is returned, as of any write (see Keyspace); where it says so,
    /// the transaction may be found, whole, after reopening.
    ///
    /// f runs once, on this thread. Other writers wait from before it until the commit; readers don't, nor do they see what is staged.
    /// So it must not wait for another thread's write. A write, `flush`, `checkpoint`, `compact`, `backup_to`, `close` or a transaction by
    /// f's own thread is `invalid_argument`, through whatever handle; reads are allowed, and see what was there before. Cost: what is
    /// staged in memory, one append, and of readers of the keys concerned a moment's retry. One that stages nothing writes nothing.
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

    /// A handle on the named keyspace, which is created if there is none: a write, with a write's errors, that waits for other writers.
    /// Any bytes make a name, up to 65,535 of them, at least one (else `invalid_argument`); an empty namespace costs under 1 KiB of
    /// memory. One that exists costs a look into a map, also in a transaction's closure. `too_large` after 2^32-2 namespaces.
    Result<Namespace> open_namespace(std::string_view name);
    /// Removes a namespace and all its records atomically; false: there is none. Its handles answer `invalid_argument` from
    /// then on; ValueRefs and iterators go on. A write of one frame, however many records there are; waits for other writers.
    Result<bool> drop_namespace(std::string_view name);
    /// Names in byte order, copied, the default keyspace not among them.
    Result<std::vector<std::string>> list_namespaces() const;

    /// When it returns, everything that completed before the call survives a power cut. Costs one sync of the disk (100 microseconds to
    /// many milliseconds), or a share of one under the other policies than FlushPolicy::on_each_flush; nothing if nothing was written
    /// since the last. A failed sync is final: this call says `io`, later writes and flushes `poisoned`, until the database is reopened;
    /// reads go on. Writers and readers go on meanwhile.
    Result<void> flush();
    /// Flushes, and writes the index to `<path>.meta`, so that the next open replays only what came later: it then takes
    /// milliseconds instead of a second for five million records. Readers and writers go on; a writer may wait for the copy of one
    /// part in 64 of the index. Costs a write of the size of the index, about 20 bytes a key (28 with range scans), three syncs, and
    /// memory for a copy of that part. `io` leaves the database as usable as before (one of the flush: see there), and an earlier
    /// checkpoint in place; `poisoned`. `<path>.meta` may be deleted at any time. Does nothing for a database in memory.
    Result<void> checkpoint();
    /// Rewrites the file without what is dead: replaced and removed records, expired ones, frames of removals. Reads and writes go
    /// on; writers wait for the last step only (a few milliseconds), readers never. Records come to lie in key order where range
    /// scans are enabled. Needs free space for the result, and memory for a second index. The new file takes the old one's place, owner
    /// and mode (a hard link goes on naming the old one); that one's space is returned when the last ValueRef and iterator into it has
    /// gone. After a crash the file is the old or the new one. Errors: `io` (a full disk), `corrupted` and `encryption_error` (a live
    /// record is damaged) and `already_locked` (somebody has "<path>.compact" open) change nothing, but an `io` error of the last step,
    /// the renaming, poisons; `poisoned`; `stopped` if the database is closed meanwhile. Cost: one read and one write of what lives, by
    /// this thread and a second one. Writers that are faster than that are slowed down.
    Result<void> compact();
    /// Writes a copy as of one moment to `target`, without what is dead, as a database of its own. Reads and writes go on. `target`
    /// is absent, an empty file or an emdb database that nobody has open, which is replaced atomically; anything else, and the
    /// database itself, is `invalid_argument`. After an error or a crash `target` is as it was or, if that came at the
    /// very end, complete. It gets the owner and mode of the file that it replaces, else of the database. Works on poisoned
    /// databases, too, and on those in memory. That of an encrypted one opens with the same key. Errors: `already_locked` (somebody has
    /// the target open), `io`, `corrupted`, `encryption_error`, `stopped` as of compact(). Cost: as compact(), without the second index.
    Result<void> backup_to(Path target) const;

    /// Flushes, writes a checkpoint, gives preallocated space back and releases the lock, for all copies of the handle; later calls
    /// answer `stopped`, and a second close is no error. Waits for writes under way; a compaction or backup under way gives up
    /// (`stopped`). After `io` or `poisoned` from the flush it is closed all the same. A checkpoint that can't be written is only told to
    /// the log. ValueRefs and iterators go on. Dropping the last handle does the same, with errors sent to the log. Cost: as
    /// `checkpoint()`, with two syncs; next to nothing if nothing was written.
    Result<void> close();
    /// Counters, collected in microseconds whatever the size of the database; ten thousand namespaces take longer. Each is exact when no
    /// write is under way. Takes a lock, but never waits for I/O.
    Result<EmdbStats> stats() const;

    /// Who has the database at `path` open, this process included; nullopt: nobody, whatever a left-over lock file says, or there is no
    /// such file. One whose lock file is gone has pid 0. `io`.
    static Result<std::optional<LockHolder>> lock_holder(Path path);
    /// Removes a left-over lock file; none is no error. Never needed for opening (the lock that counts is the operating system's, and
    /// ends with its process); refused with `already_locked` while somebody has the database open. `io`.
    static Result<void> break_lock(Path path);

    /// Looks at every byte of a database that nobody has open, and changes nothing; other calls of verify may look at the same time.
    /// Damage and torn tails are told in the report, for any file that is or was an emdb database. Behind damage it goes on with
    /// the next intact frame; at a sector that can't be read it ends, and reports that as the last damage (`io`). Errors: `io` (no such
    /// file, ...), `already_locked`, `magic_mismatch` (nothing of a database in it), `version_mismatch`, `feature_disabled`; of an
    /// encrypted database `key_required` and `encryption_key_mismatch`, and `not_encrypted` of others if a key is given. In an encrypted
    /// database every frame is opened: one whose checksum is right and whose seal is not was tampered with, and reported as
    /// `encryption_error`. What `options.progress` throws passes through. The database can't be opened meanwhile
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
    /// not at all; otherwise errors are those of `verify`, `io` for a sector that can't be read, and `corrupted` if there is nothing to
    /// go by. Cost: twice that of `verify`, and a write of what is intact.
    static Result<SalvageReport> salvage(Path from, Path to, SalvageOptions options = {});

#if EMDB_ENCRYPT
    /// @name Offline changes of the encryption
    /// The database must not be open anywhere (`already_locked`), and must exist (`io`). What they leave after a crash is the old state or
    /// the new one, whole. `keep_backup` leaves a copy with the old key, or unencrypted as it was, as "<path>.encbak"; otherwise no copy
    /// is left, as far as the disk itself keeps none. Errors: `encryption_key_mismatch`, `not_encrypted`, `invalid_argument` (encrypted
    /// already; an empty passphrase), those of `EmdbBuilder::build` and of `compact`, which costs the same. Default settings apply.
    /// @{

    /// Encrypts a plain database under a new data key.
    static Result<void> enable_encryption(Path path, EncryptionInput target, Cipher cipher = Cipher::aes_256_gcm, bool keep_backup = false);
    /// Makes a plain database of an encrypted one.
    static Result<void> disable_encryption(Path path, EncryptionInput current, bool keep_backup = false);
    /// Encrypts everything anew with a new data key. What a leaked key or passphrase calls for.
    static Result<void> rotate_encryption_key(Path path, EncryptionInput current, EncryptionInput next, bool keep_backup = false);
    /// Wraps the data key anew; writes the header only, in two writes and two syncs. Whoever has an old copy of the file and the old
    /// passphrase can still read this one: after a leak use rotate_encryption_key. Works for keys, too, and from one to the other. After
    /// an `io` error that says so the new one counts, but the old one still stands in the header's other half: change it once more.
    static Result<void> change_passphrase(Path path, EncryptionInput current, EncryptionInput next, bool keep_backup = false);
    /// @}
#endif

private:
    friend class EmdbBuilder;
    using Keyspace::Keyspace;
};

}  // namespace emdb
