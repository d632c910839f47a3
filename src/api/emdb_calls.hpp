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
#include "engine/engine.hpp"
#include "engine/lock_inspection.hpp"
#include "engine/opening.hpp"

namespace emdb {

Result<Emdb> EmdbBuilder::build() const {
    auto engine = detail::Engine::open(options_);
    if (!engine) return std::move(engine).error();
    auto keyspace = (*engine)->default_keyspace();
    return Emdb(std::move(*engine), std::move(keyspace));
}

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
