#pragma once
// EmdbBuilder: how a database is opened.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "api/path.hpp"
#include "base/callbacks.hpp"
#include "base/config.hpp"
#include "base/executor.hpp"
#include "base/options.hpp"
#include "base/result.hpp"
#include "base/ttl.hpp"

namespace emdb {

class Emdb;
#if EMDB_ASYNC
class AsyncEmdb;
template <class T>
class Future;
#endif

namespace detail {
class Environment;
struct BuilderAccess;
struct OpenOptions;
}  // namespace detail

/// Collects settings; nothing happens before `build()`, which may be called again for another handle on another file. Setters copy what
/// they are given, check nothing (what makes no sense is `invalid_config` from `build()`), and replace what was set before. One thread at
/// a time; keys and passphrases are wiped with it.
///
/// Where the database lies: `path` alone; or `app_name` and/or `database_name` (defaults "emdb" and "emdb-default.emdb")
/// under `data_root` or else the platform's data directory ($XDG_DATA_HOME or ~/.local/share; ~/Library/Application Support;
/// %LOCALAPPDATA%), created if missing. Neither: in memory. Both: `invalid_config`.
class EmdbBuilder {
public:
    /// The defaults, and no place: a database in memory.
    EmdbBuilder();
    /// @{
    /// Copies the settings.
    EmdbBuilder(const EmdbBuilder& other);
    EmdbBuilder& operator=(const EmdbBuilder& other);
    /// @}
    ~EmdbBuilder();

    /// The file itself; its directory must exist (else `io`). Relative to the working directory at `build()`. Empty, or with a NUL byte:
    /// `invalid_config`.
    EmdbBuilder& path(Path path);
    /// The folder of the application; must not be empty, "." or "..", nor contain '/', '\\', ':' or NUL (else `invalid_config`).
    EmdbBuilder& app_name(std::string_view name);
    /// The file's name in that folder, under the same rules.
    EmdbBuilder& database_name(std::string_view name);
    /// Instead of the platform's data directory. Created if missing, like what is below it.
    EmdbBuilder& data_root(Path directory);
#if EMDB_TTL
    /// @{
    /// How long records live that are written without a Ttl of their own, in all namespaces: by `insert`, `insert_many`,
    /// `update`, `compare_exchange` and the `insert` of transactions. Each counts from its own write; what was written before
    /// keeps what it has. Zero: they expire at once. Without this call they never expire. Negative: `invalid_config`.
    EmdbBuilder& default_ttl(std::chrono::milliseconds duration);
    template <class Rep, class Period>
        requires detail::whole_milliseconds<Rep, Period>
    EmdbBuilder& default_ttl(std::chrono::duration<Rep, Period> duration) {
        return default_ttl(detail::saturating_milliseconds(duration));
    }
    /// @}
#endif
#if EMDB_ENCRYPT
    /// @{
    /// Encrypts a new database, and opens an encrypted one, with a key of 32 random bytes, or with a passphrase (see EncryptionInput). Both
    /// given, or an empty passphrase: `invalid_config`. A file that is not encrypted: `not_encrypted`; the wrong one:
    /// `encryption_key_mismatch`; none for an encrypted file: `key_required`.
    EmdbBuilder& encryption_key(std::span<const std::byte, 32> key);
    EmdbBuilder& encryption_passphrase(std::string_view passphrase);
    /// @}
    /// For new databases; AES-256-GCM unless called. An existing file's own must be the same (`invalid_config`).
    EmdbBuilder& cipher(Cipher cipher);
#endif
    /// When writes reach the disk; `FlushPolicy::on_each_flush()` unless called. `every_n(0)`: `invalid_config`.
    EmdbBuilder& flush_policy(FlushPolicy policy);
    /// Keeps an index in key order besides, for `range` and its kin: about 25 bytes of memory a key, and writes that add or
    /// remove keys take about twice as long. Nothing of it is in the file, so it may be on or off at each opening. Off by default.
    EmdbBuilder& enable_range_scans(bool on);
    /// Whether every read checks the record's CRC-32C (about 8 ns for 174 bytes). On by default: a memory map hands out
    /// whatever the disk holds now.
    EmdbBuilder& verify_reads(bool on);
    /// Forces how frames are appended (see AppendMode); `mapped` on a file system that does not keep allocations is `invalid_config`.
    EmdbBuilder& append_mode(AppendMode mode);
    /// Has a background thread compact the database when at least `min_dead_bytes` of its file are dead and make up at least
    /// `dead_ratio` (above 0, at most 1, else `invalid_config`) of it; 0.5 and 64 MiB suit many. Errors go to the log, and it tries again
    /// when more has been written. The thread sleeps otherwise; a write costs one load more. No thread to be had: `build()` says `io`. Off
    /// unless called.
    EmdbBuilder& auto_compact(double dead_ratio, std::uint64_t min_dead_bytes);
    /// f(LogLevel, std::string_view): recovery summaries, cut tails, compactions, failures. May be called from any thread that uses the
    /// database and from that of `auto_compact`, several at once, with locks held: it must not call back into the database, nor throw. The
    /// text is valid during the call. Copied; it lives as long as the database. Silent by default.
    template <class F>
    EmdbBuilder& on_log(F&& f) {
        return set_log(detail::LogCallback(std::forward<F>(f)));
    }
    /// f() -> std::uint64_t, milliseconds since 1970 (UTC); for tests. Must be thread-safe, not call the database, and not throw. It is
    /// asked where a record with an expiry is written or met; iterators may ask it after the database has been closed. The system's
    /// by default.
    template <class F>
    EmdbBuilder& clock(F&& f) {
        return set_clock(detail::Clock(std::forward<F>(f)));
    }
#if EMDB_IO_URING
    /// @{
    /// Has syncs of the disk go through io_uring, which they don't without this call, since fdatasync() is quicker on most machines
    /// (measure). `idle` other than 0: submitted to a kernel thread, which takes a processor until nothing has been submitted for so
    /// long. Where there is no io_uring (an old kernel, a sandbox) one warning goes to `on_log`, and syncs are made as ever.
    EmdbBuilder& iouring_sqpoll(std::uint32_t idle_ms);
    EmdbBuilder& iouring_sqpoll(std::chrono::milliseconds idle);
    /// @}
#endif
#if EMDB_ASYNC
    /// @{
    /// Where the asynchronous calls run, instead of emdb's own pool of threads (one for each processor, at most 8, shared by all
    /// databases): an Executor, or anything with `post(std::function<void()>)`, by value, behind a pointer, or for a class derived
    /// from Executor as a reference to what outlives the database. Null: the pool.
    EmdbBuilder& executor(std::shared_ptr<Executor> executor);
    EmdbBuilder& executor(Executor& executor) { return this->executor(detail::borrowed(executor)); }
    template <detail::posts_tasks E>
    EmdbBuilder& executor(E executor) {
        return this->executor(std::shared_ptr<Executor>(std::make_shared<detail::ExecutorOf<E>>(std::move(executor))));
    }
    /// @}
    /// How many items a Stream may hold that its consumer has not taken, whatever their size. 64 by default; 0 is `invalid_config`.
    EmdbBuilder& stream_depth(std::size_t items);
    /// As `build()`, made by the pool or executor with the settings as they are now.
    Future<Result<AsyncEmdb>> build_async() const;
#endif

    /// Opens or creates the database. Errors: `invalid_config`; `io` (missing directory, permission, a directory as path, no memory,
    /// ...); `already_locked` (the message says by whom); `magic_mismatch` (not an emdb file); `version_mismatch`;
    /// `feature_disabled`; `corrupted` (damaged header, or damage to data that had reached the disk); of an encrypted one `key_required`,
    /// `encryption_key_mismatch` and `encryption_error`, of others `not_encrypted`. None of them changes the file. After an unclean end a
    /// torn tail is cut, and reported to `on_log`.
    ///
    /// Cost: with a checkpoint (`Emdb::close` writes one) a read of that, by up to four threads if it is large, and of the file from there
    /// on; without one a sequential read of all of it, some 5 million records a second. With range scans every record's key is looked
    /// at, and opened if it is sealed; where the checkpoint has no order, all are sorted. A passphrase costs what EncryptionInput says.
    /// Never waits for a lock.
    Result<Emdb> build() const;

private:
    friend struct detail::BuilderAccess;
    EmdbBuilder& set_log(detail::LogCallback callback);
    EmdbBuilder& set_clock(detail::Clock clock);

    detail::OpenOptions* options_;  // owned
};

namespace detail {

/// The seam for tests: runs a database on another Environment (a simulated disk) than the operating system's.
struct BuilderAccess {
    static void set_environment(EmdbBuilder& builder, Environment& environment);
    /// Checkpoints of smaller databases are used, too.
    static void use_checkpoints_from(EmdbBuilder& builder, std::uint64_t file_size);
};

}  // namespace detail

}  // namespace emdb
