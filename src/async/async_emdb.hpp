#pragma once
// AsyncEmdb and AsyncNamespace: asynchronous handles on a database and on one of its namespaces.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "api/emdb.hpp"
#include "async/async_keyspace.hpp"
#include "async/call.hpp"
#include "async/future.hpp"
#include "base/encryption_input.hpp"
#include "base/inspection.hpp"

namespace emdb {

/// A handle on a namespace; see `Namespace`. It keeps the database open as an AsyncEmdb does.
class AsyncNamespace : public AsyncKeyspace {
public:
    /// As `Namespace::name`.
    const std::string& name() const noexcept { return sync_.name(); }
    /// The same namespace for calls that block.
    Namespace sync_handle() const { return sync_; }

private:
    friend class AsyncEmdb;
    AsyncNamespace(std::shared_ptr<detail::AsyncHandle> handle, std::shared_ptr<detail::AsyncTarget> target, Namespace sync) noexcept
        : AsyncKeyspace(std::move(handle), std::move(target)), sync_(std::move(sync)) {}

    Namespace sync_;
};

/// A handle on a database whose calls return at once, with a Future; see `Emdb` for what they do and which errors come, and AsyncKeyspace
/// for handles. Calls without a handle (`open`, `verify`, `salvage`, those of locks and of the encryption) are made by the pool,
/// `EmdbBuilder::build_async` by the executor that was set there.
class AsyncEmdb : public AsyncKeyspace {
public:
    /// @{
    /// As the calls of `Emdb` with the same names, with default settings; open_in_memory is done here and now.
    static Future<Result<AsyncEmdb>> open(Path path);
    static AsyncEmdb open_in_memory();
    /// @}
    /// For `build_async()`.
    static EmdbBuilder builder();
    /// On the executor that the database was built with, else the pool. The same engine: both handles may be used side by side.
    static AsyncEmdb from_sync(Emdb database);

    /// @{
    /// As the calls of `Emdb` with the same names, here and now.
    AsyncEmdb clone_handle() const;
    std::string path() const;
    /// @}
    /// The same database for calls that block; it keeps that open as any handle does.
    Emdb sync_handle() const;

    /// f(Transaction&) -> Result<T> is copied or moved, and called in the pool or executor. Transactions of one database are made
    /// one at a time; meanwhile other writes wait without a thread. What f throws is rethrown to whoever takes the outcome. f must not
    /// wait for a write made elsewhere, which waits for it; the rest is as in `Emdb::transaction`.
    template <class F>
    auto transaction(F&& f) -> Future<std::remove_cvref_t<std::invoke_result_t<std::decay_t<F>&, Transaction&>>> {
        using Outcome = std::remove_cvref_t<std::invoke_result_t<std::decay_t<F>&, Transaction&>>;
        static_assert(detail::is_result<Outcome>::value, "the closure of a transaction returns emdb::Result<T>");
        if (auto allowed = refuse_transaction(); !allowed) return ready<Outcome>(std::move(allowed).error());
        auto* const call = new TransactionCall<Outcome, std::decay_t<F>>(target_, std::forward<F>(f));
        Future<Outcome> future{detail::Ref<detail::ValueState<Outcome>>(call)};
        call->start();
        return future;
    }

    /// @{
    /// As the calls of `Emdb` with the same names.
    Future<Result<AsyncNamespace>> open_namespace(std::string_view name);
    Future<Result<bool>> drop_namespace(std::string_view name);
    Future<Result<std::vector<std::string>>> list_namespaces() const;
    /// @}

    /// As `Emdb::flush`. All flushes that wait for the disk are made by one thread, and but under FlushPolicy::on_each_flush they share
    /// one sync. Covers the calls that have completed before this one is made.
    Future<Result<void>> flush();
    /// @{
    /// As the calls of `Emdb` with the same names. Those that take long have a thread of the pool, in whose place another one serves.
    Future<Result<void>> checkpoint();
    Future<Result<void>> compact();
    Future<Result<void>> backup_to(Path target) const;
    Future<Result<void>> close();
    Future<Result<EmdbStats>> stats() const;
    /// @}

    /// @{
    /// As the calls of `Emdb` with the same names.
    static Future<Result<std::optional<LockHolder>>> lock_holder(Path path);
    static Future<Result<void>> break_lock(Path path);
    /// @}
    /// @{
    /// As the calls of `Emdb` with the same names. `options.progress` is called in the pool.
    static Future<Result<VerifyReport>> verify(Path path, VerifyOptions options = {});
    static Future<Result<SalvageReport>> salvage(Path from, Path to, SalvageOptions options = {});
    /// @}
#if EMDB_ENCRYPT
    /// @{
    /// As the calls of `Emdb` with the same names.
    static Future<Result<void>> enable_encryption(Path path, EncryptionInput target, Cipher cipher = Cipher::aes_256_gcm,
                                                  bool keep_backup = false);
    static Future<Result<void>> disable_encryption(Path path, EncryptionInput current, bool keep_backup = false);
    static Future<Result<void>> rotate_encryption_key(Path path, EncryptionInput current, EncryptionInput next,
                                                      bool keep_backup = false);
    static Future<Result<void>> change_passphrase(Path path, EncryptionInput current, EncryptionInput next, bool keep_backup = false);
    /// @}
#endif

private:
    friend class EmdbBuilder;
    using AsyncKeyspace::AsyncKeyspace;

    template <class Outcome, class F>
    class TransactionCall final : public detail::CallState<Outcome> {
    public:
        template <class G>
        TransactionCall(std::shared_ptr<detail::AsyncTarget> target, G&& f)
            : detail::CallState<Outcome>(std::move(target), detail::CallKind::exclusive), f_(std::forward<G>(f)) {}

    private:
        Outcome call(detail::AsyncTarget& target) override {
            return detail::database_of(target).transaction([this](Transaction& transaction) -> Outcome {
                const detail::UserCode inside;
                return f_(transaction);
            });
        }

        F f_;
    };

    template <class Outcome>
    Future<Outcome> ready(Error error) const {
        return detail::ready_future<Outcome>(std::move(error), detail::executor_of(*target_));
    }
    Result<void> refuse_transaction() const;
};

}  // namespace emdb

#endif  // EMDB_ASYNC
