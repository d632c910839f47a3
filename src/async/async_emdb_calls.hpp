#pragma once
// From the asynchronous file-wide calls to the synchronous ones.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/builder.hpp"
#include "api/emdb.hpp"
#include "async/async_core.hpp"
#include "async/async_emdb.hpp"
#include "async/making_calls.hpp"
#include "base/open_options.hpp"

namespace emdb {

Future<Result<AsyncEmdb>> EmdbBuilder::build_async() const {
    return detail::make_detached_call<AsyncEmdb>(options_->executor, [builder = *this]() -> Result<AsyncEmdb> {
        auto database = builder.build();
        if (!database) return std::move(database).error();
        return AsyncEmdb::from_sync(std::move(*database));
    });
}

Future<Result<AsyncEmdb>> AsyncEmdb::open(Path path) { return builder().path(std::move(path)).build_async(); }

AsyncEmdb AsyncEmdb::open_in_memory() { return from_sync(Emdb::open_in_memory()); }

EmdbBuilder AsyncEmdb::builder() { return EmdbBuilder(); }

AsyncEmdb AsyncEmdb::from_sync(Emdb database) {
    auto target = detail::AsyncTarget::of(database);
    auto handle = std::make_shared<detail::AsyncHandle>(target->core());
    return AsyncEmdb(std::move(handle), std::move(target));
}

AsyncEmdb AsyncEmdb::clone_handle() const { return *this; }

std::string AsyncEmdb::path() const { return target_->core()->database().path(); }

Emdb AsyncEmdb::sync_handle() const { return target_->core()->database(); }

Result<void> AsyncEmdb::refuse_transaction() const { return detail::refuse_call(*target_, detail::CallKind::exclusive); }

Future<Result<AsyncNamespace>> AsyncEmdb::open_namespace(std::string_view name) {
    // Whoever drops the last handle waits for this call, which therefore must not hold one, nor make a new one.
    auto work = [handle = std::weak_ptr(handle_), core = target_->core().get()](Emdb& on, Bytes n) -> Result<AsyncNamespace> {
        auto sync = on.open_namespace(n.as_string_view());
        if (!sync) return std::move(sync).error();
        auto shared = handle.lock();
        if (shared == nullptr) return detail::stopped_error();
        auto target = std::make_shared<detail::AsyncTarget>(core->shared_from_this(), *sync);
        return AsyncNamespace(std::move(shared), std::move(target), std::move(*sync));
    };
    return detail::make_call<AsyncNamespace>(target_, detail::CallKind::write, std::move(work), Bytes(name));
}

Future<Result<bool>> AsyncEmdb::drop_namespace(std::string_view name) {
    const auto work = [](Emdb& on, Bytes n) { return on.drop_namespace(n.as_string_view()); };
    return detail::make_call<bool>(target_, detail::CallKind::write, work, Bytes(name));
}

Future<Result<std::vector<std::string>>> AsyncEmdb::list_namespaces() const {
    return detail::make_call<std::vector<std::string>>(target_, detail::CallKind::read, [](Emdb& on) { return on.list_namespaces(); });
}

Future<Result<void>> AsyncEmdb::flush() {
    return detail::make_call<void>(target_, detail::CallKind::flush, [](Emdb&) { return Result<void>(); });
}

Future<Result<void>> AsyncEmdb::checkpoint() {
    return detail::make_call<void>(target_, detail::CallKind::long_running, [](Emdb& on) { return on.checkpoint(); });
}

Future<Result<void>> AsyncEmdb::compact() {
    return detail::make_call<void>(target_, detail::CallKind::long_running, [](Emdb& on) { return on.compact(); });
}

Future<Result<void>> AsyncEmdb::backup_to(Path target) const {
    const auto work = [](Emdb& on, Bytes t) { return on.backup_to(t.as_string_view()); };
    return detail::make_call<void>(target_, detail::CallKind::long_running, work, Bytes(target.utf8()));
}

Future<Result<void>> AsyncEmdb::close() {
    return detail::make_call<void>(target_, detail::CallKind::long_running, [](Emdb& on) { return on.close(); });
}

Future<Result<EmdbStats>> AsyncEmdb::stats() const {
    return detail::make_call<EmdbStats>(target_, detail::CallKind::read, [](Emdb& on) { return on.stats(); });
}

Future<Result<std::optional<LockHolder>>> AsyncEmdb::lock_holder(Path path) {
    return detail::make_detached_call<std::optional<LockHolder>>(nullptr, [path = std::move(path)] { return Emdb::lock_holder(path); });
}

Future<Result<void>> AsyncEmdb::break_lock(Path path) {
    return detail::make_detached_call<void>(nullptr, [path = std::move(path)] { return Emdb::break_lock(path); });
}

Future<Result<VerifyReport>> AsyncEmdb::verify(Path path, VerifyOptions options) {
    return detail::make_detached_call<VerifyReport>(nullptr, [path = std::move(path), options = std::move(options)] {
        return Emdb::verify(path, options);
    });
}

Future<Result<SalvageReport>> AsyncEmdb::salvage(Path from, Path to, SalvageOptions options) {
    auto work = [from = std::move(from), to = std::move(to), options = std::move(options)] { return Emdb::salvage(from, to, options); };
    return detail::make_detached_call<SalvageReport>(nullptr, std::move(work));
}

#if EMDB_ENCRYPT
Future<Result<void>> AsyncEmdb::enable_encryption(Path path, EncryptionInput target, Cipher cipher, bool keep_backup) {
    return detail::make_detached_call<void>(nullptr, [path = std::move(path), target, cipher, keep_backup] {
        return Emdb::enable_encryption(path, target, cipher, keep_backup);
    });
}

Future<Result<void>> AsyncEmdb::disable_encryption(Path path, EncryptionInput current, bool keep_backup) {
    return detail::make_detached_call<void>(nullptr, [path = std::move(path), current, keep_backup] {
        return Emdb::disable_encryption(path, current, keep_backup);
    });
}

Future<Result<void>> AsyncEmdb::rotate_encryption_key(Path path, EncryptionInput current, EncryptionInput next, bool keep_backup) {
    auto work = [path = std::move(path), current, next, keep_backup] {
        return Emdb::rotate_encryption_key(path, current, next, keep_backup);
    };
    return detail::make_detached_call<void>(nullptr, std::move(work));
}

Future<Result<void>> AsyncEmdb::change_passphrase(Path path, EncryptionInput current, EncryptionInput next, bool keep_backup) {
    auto work = [path = std::move(path), current, next, keep_backup] {
        return Emdb::change_passphrase(path, current, next, keep_backup);
    };
    return detail::make_detached_call<void>(nullptr, std::move(work));
}
#endif

}  // namespace emdb

#endif  // EMDB_ASYNC
