#pragma once
// From the public file-wide calls to the engine.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/builder.hpp"
#include "api/emdb.hpp"
#include "base/open_options.hpp"
#include "engine/engine.hpp"
#include "engine/lock_inspection.hpp"
#include "engine/opening.hpp"
#include "engine/salvage.hpp"
#include "engine/verification.hpp"

namespace emdb {

#if EMDB_ENCRYPT

// EncryptionInput

EncryptionInput::EncryptionInput(bool is_key, std::string_view secret) : is_key_(is_key), secret_(secret) {}
EncryptionInput EncryptionInput::key(std::span<const std::byte, 32> key) {
    return {true, std::string_view(reinterpret_cast<const char*>(key.data()), key.size())};
}
EncryptionInput EncryptionInput::passphrase(std::string_view passphrase) { return {false, passphrase}; }
EncryptionInput::EncryptionInput(const EncryptionInput& other) = default;
EncryptionInput& EncryptionInput::operator=(const EncryptionInput& other) {
    if (this == &other) return *this;
    detail::wipe(secret_.data(), secret_.capacity());
    is_key_ = other.is_key_;
    secret_ = other.secret_;
    return *this;
}
EncryptionInput::~EncryptionInput() { detail::wipe(secret_.data(), secret_.capacity()); }

// Range

Range::~Range() {
    if (lower_) detail::wipe_text(lower_->key);
    if (upper_) detail::wipe_text(upper_->key);
}

#endif

// EmdbBuilder

EmdbBuilder::EmdbBuilder() : options_(new detail::OpenOptions) {}
EmdbBuilder::EmdbBuilder(const EmdbBuilder& other) : options_(new detail::OpenOptions(*other.options_)) {}
EmdbBuilder& EmdbBuilder::operator=(const EmdbBuilder& other) {
    if (this != &other) *options_ = *other.options_;
    return *this;
}
EmdbBuilder::~EmdbBuilder() { delete options_; }

EmdbBuilder& EmdbBuilder::path(Path path) { return options_->path = path.utf8(), *this; }
EmdbBuilder& EmdbBuilder::app_name(std::string_view name) { return options_->app_name = name, *this; }
EmdbBuilder& EmdbBuilder::database_name(std::string_view name) { return options_->database_name = name, *this; }
EmdbBuilder& EmdbBuilder::data_root(Path directory) { return options_->data_root = directory.utf8(), *this; }
#if EMDB_TTL
EmdbBuilder& EmdbBuilder::default_ttl(std::chrono::milliseconds duration) { return options_->default_ttl = duration, *this; }
#endif
#if EMDB_ENCRYPT
EmdbBuilder& EmdbBuilder::encryption_key(std::span<const std::byte, 32> key) {
    options_->encryption_key = EncryptionInput::key(key);
    return *this;
}
EmdbBuilder& EmdbBuilder::encryption_passphrase(std::string_view passphrase) {
    options_->encryption_passphrase = EncryptionInput::passphrase(passphrase);
    return *this;
}
EmdbBuilder& EmdbBuilder::cipher(Cipher cipher) {
    options_->cipher = cipher;
    return *this;
}
#endif
EmdbBuilder& EmdbBuilder::enable_range_scans(bool on) { return options_->range_scans = on, *this; }
EmdbBuilder& EmdbBuilder::flush_policy(FlushPolicy policy) { return options_->flush_policy = policy, *this; }
EmdbBuilder& EmdbBuilder::auto_compact(double dead_ratio, std::uint64_t min_dead_bytes) {
    options_->auto_compact = detail::AutoCompactLimits{dead_ratio, min_dead_bytes};
    return *this;
}
EmdbBuilder& EmdbBuilder::verify_reads(bool on) { return options_->verify_reads = on, *this; }
EmdbBuilder& EmdbBuilder::append_mode(AppendMode mode) { return options_->append_mode = mode, *this; }
EmdbBuilder& EmdbBuilder::set_log(detail::LogCallback callback) { return options_->on_log = std::move(callback), *this; }
EmdbBuilder& EmdbBuilder::set_clock(detail::Clock clock) { return options_->clock = std::move(clock), *this; }
#if EMDB_IO_URING
EmdbBuilder& EmdbBuilder::iouring_sqpoll(std::uint32_t idle_ms) { return options_->io_uring_poll_idle_ms = idle_ms, *this; }
EmdbBuilder& EmdbBuilder::iouring_sqpoll(std::chrono::milliseconds idle) {
    constexpr std::chrono::milliseconds::rep longest = (std::numeric_limits<std::uint32_t>::max)();
    return iouring_sqpoll(static_cast<std::uint32_t>(std::clamp<std::chrono::milliseconds::rep>(idle.count(), 0, longest)));
}
#endif
#if EMDB_ASYNC
EmdbBuilder& EmdbBuilder::executor(std::shared_ptr<Executor> executor) { return options_->executor = std::move(executor), *this; }
EmdbBuilder& EmdbBuilder::stream_depth(std::size_t items) { return options_->stream_depth = items, *this; }
#endif

void detail::BuilderAccess::set_environment(EmdbBuilder& builder, Environment& environment) {
    builder.options_->environment = &environment;
}

void detail::BuilderAccess::use_checkpoints_from(EmdbBuilder& builder, std::uint64_t file_size) {
    builder.options_->checkpoint_used_from = file_size;
}

Result<Emdb> EmdbBuilder::build() const {
    auto engine = detail::Engine::open(*options_);
    if (!engine) return std::move(engine).error();
    auto keyspace = (*engine)->default_keyspace();
    return Emdb(std::move(*engine), std::move(keyspace));
}

// Emdb

EmdbBuilder Emdb::builder() { return EmdbBuilder(); }

Emdb Emdb::clone_handle() const { return *this; }

Result<Emdb> Emdb::open(Path path) { return builder().path(std::move(path)).build(); }

Emdb Emdb::open_in_memory() { return builder().build().value(); }

std::string Emdb::path() const { return engine_->path(); }

Result<Namespace> Emdb::open_namespace(std::string_view name) {
    auto keyspace = engine_->open_namespace(name);
    if (!keyspace) return std::move(keyspace).error();
    return Namespace(engine_, std::move(*keyspace));
}

Result<bool> Emdb::drop_namespace(std::string_view name) { return engine_->drop_namespace(name); }

Result<std::vector<std::string>> Emdb::list_namespaces() const { return engine_->list_namespaces(); }

Result<void> Emdb::flush() { return engine_->flush(); }

Result<void> Emdb::checkpoint() { return engine_->checkpoint(); }

Result<void> Emdb::compact() { return engine_->compact(); }

Result<void> Emdb::backup_to(Path target) const { return engine_->backup_to(target.utf8()); }

Result<void> Emdb::close() { return engine_->close(); }

Result<EmdbStats> Emdb::stats() const { return engine_->stats(); }

Result<std::optional<LockHolder>> Emdb::lock_holder(Path path) {
    return detail::find_lock_holder(detail::native_environment(), path.utf8());
}

#if EMDB_ENCRYPT
Result<void> Emdb::enable_encryption(Path path, EncryptionInput target, Cipher cipher, bool keep_backup) {
    return detail::EncryptionChange(detail::native_environment(), path.utf8(), keep_backup).enable(target, cipher);
}

Result<void> Emdb::disable_encryption(Path path, EncryptionInput current, bool keep_backup) {
    return detail::EncryptionChange(detail::native_environment(), path.utf8(), keep_backup).disable(current);
}

Result<void> Emdb::rotate_encryption_key(Path path, EncryptionInput current, EncryptionInput next, bool keep_backup) {
    return detail::EncryptionChange(detail::native_environment(), path.utf8(), keep_backup).rotate(current, next);
}

Result<void> Emdb::change_passphrase(Path path, EncryptionInput current, EncryptionInput next, bool keep_backup) {
    return detail::EncryptionChange(detail::native_environment(), path.utf8(), keep_backup).change_passphrase(current, next);
}
#endif

Result<void> Emdb::break_lock(Path path) { return detail::break_lock(detail::native_environment(), path.utf8()); }

Result<VerifyReport> Emdb::verify(Path path, VerifyOptions options) {
    return detail::verify_database(detail::native_environment(), path.utf8(), options);
}

Result<SalvageReport> Emdb::salvage(Path from, Path to, SalvageOptions options) {
    return detail::salvage_database(detail::native_environment(), from.utf8(), to.utf8(), options);
}

}  // namespace emdb
