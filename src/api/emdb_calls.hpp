#pragma once
// From the public file-wide calls to the engine.

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

namespace emdb {

// EmdbBuilder

EmdbBuilder::EmdbBuilder() : options_(std::make_unique<detail::OpenOptions>()) {}
EmdbBuilder::EmdbBuilder(const EmdbBuilder& other) : options_(std::make_unique<detail::OpenOptions>(*other.options_)) {}
EmdbBuilder& EmdbBuilder::operator=(const EmdbBuilder& other) {
    *options_ = *other.options_;
    return *this;
}
EmdbBuilder::~EmdbBuilder() = default;

EmdbBuilder& EmdbBuilder::path(Path path) { return options_->path = path.utf8(), *this; }
EmdbBuilder& EmdbBuilder::app_name(std::string name) { return options_->app_name = std::move(name), *this; }
EmdbBuilder& EmdbBuilder::database_name(std::string name) { return options_->database_name = std::move(name), *this; }
EmdbBuilder& EmdbBuilder::data_root(Path directory) { return options_->data_root = directory.utf8(), *this; }
#if EMDB_TTL
EmdbBuilder& EmdbBuilder::default_ttl(std::chrono::milliseconds duration) { return options_->default_ttl = duration, *this; }
#endif
EmdbBuilder& EmdbBuilder::enable_range_scans(bool on) { return options_->range_scans = on, *this; }
EmdbBuilder& EmdbBuilder::flush_policy(FlushPolicy policy) { return options_->flush_policy = policy, *this; }
EmdbBuilder& EmdbBuilder::verify_reads(bool on) { return options_->verify_reads = on, *this; }
EmdbBuilder& EmdbBuilder::append_mode(AppendMode mode) { return options_->append_mode = mode, *this; }
EmdbBuilder& EmdbBuilder::set_log(detail::LogCallback callback) { return options_->on_log = std::move(callback), *this; }
EmdbBuilder& EmdbBuilder::set_clock(detail::Clock clock) { return options_->clock = std::move(clock), *this; }
#if EMDB_ASYNC
EmdbBuilder& EmdbBuilder::executor(std::shared_ptr<Executor> executor) { return options_->executor = std::move(executor), *this; }
EmdbBuilder& EmdbBuilder::stream_depth(std::size_t items) { return options_->stream_depth = items, *this; }
#endif

void detail::BuilderAccess::set_environment(EmdbBuilder& builder, Environment& environment) {
    builder.options_->environment = &environment;
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

Result<void> Emdb::close() { return engine_->close(); }

Result<EmdbStats> Emdb::stats() const { return engine_->stats(); }

Result<std::optional<LockHolder>> Emdb::lock_holder(Path path) {
    return detail::find_lock_holder(detail::native_environment(), path.utf8());
}

Result<void> Emdb::break_lock(Path path) { return detail::break_lock(detail::native_environment(), path.utf8()); }

}  // namespace emdb
