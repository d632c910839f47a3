#pragma once
// From the public calls on a focus to those on its keyspace.

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "api/focus.hpp"
#include "api/keyspace.hpp"
#include "base/config.hpp"
#include "engine/engine.hpp"
#include "engine/groups.hpp"

#if EMDB_NESTED

namespace emdb {

Focus Keyspace::focus(std::string_view prefix) const { return Focus(*this, std::string(prefix)); }

std::string Focus::whole_key(std::string_view key) const {
    std::string whole;
    whole.reserve(prefix_.size() + 1 + key.size());
    if (!prefix_.empty()) whole.append(prefix_).push_back('.');
    return whole.append(key);
}

Result<void> Focus::set(Bytes key, Bytes value) { return keyspace_.insert(whole_key(key.as_string_view()), value); }

#if EMDB_TTL
Result<void> Focus::set_with_ttl(Bytes key, Bytes value, Ttl ttl) {
    return keyspace_.insert_with_ttl(whole_key(key.as_string_view()), value, ttl);
}
#endif

Result<std::optional<std::string>> Focus::get(Bytes key) const { return keyspace_.get(whole_key(key.as_string_view())); }

Result<std::optional<std::string>> Focus::remove(Bytes key) { return keyspace_.remove(whole_key(key.as_string_view())); }

Result<bool> Focus::contains_key(Bytes key) const { return keyspace_.contains_key(whole_key(key.as_string_view())); }

Result<EmdbIter> Focus::iter() const {
    auto source = keyspace_.engine_->iterate_group(keyspace_.state_, prefix_);
    if (!source) return std::move(source).error();
    return EmdbIter(std::move(*source));
}

Result<std::size_t> Focus::delete_all() { return keyspace_.delete_group(prefix_); }

Focus Focus::focus(std::string_view sub) const { return Focus(keyspace_, whole_key(sub)); }

}  // namespace emdb

#endif  // EMDB_NESTED
