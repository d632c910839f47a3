#pragma once
// From the public calls on a focus to those on its keyspace.

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "api/focus.hpp"
#include "api/keyspace.hpp"
#include "base/config.hpp"
#include "crypto/secret_vector.hpp"
#include "engine/engine.hpp"
#include "engine/groups.hpp"

#if EMDB_NESTED

namespace emdb {

Focus Keyspace::focus(std::string_view prefix) const { return Focus(*this, std::string(prefix)); }

namespace detail {

/// A key of a focus, prefix and all, for one call.
class WholeKey {
public:
    WholeKey(std::string_view prefix, std::string_view key) {
        text_.reserve(prefix.size() + 1 + key.size());
        if (!prefix.empty()) text_.append(prefix).append(1, '.');
        text_.append(key);
    }
    WholeKey(std::string_view prefix, Bytes key) : WholeKey(prefix, key.as_string_view()) {}
    operator std::string_view() const noexcept { return text_; }
    operator Bytes() const noexcept { return std::string_view(text_); }

private:
    SecretString text_;
};

}  // namespace detail

#if EMDB_ENCRYPT
Focus::~Focus() { detail::wipe_text(prefix_); }
#endif

Result<void> Focus::set(Bytes key, Bytes value) { return keyspace_.insert(detail::WholeKey(prefix_, key), value); }

#if EMDB_TTL
Result<void> Focus::set_with_ttl(Bytes key, Bytes value, Ttl ttl) {
    return keyspace_.insert_with_ttl(detail::WholeKey(prefix_, key), value, ttl);
}
#endif

Result<std::optional<std::string>> Focus::get(Bytes key) const { return keyspace_.get(detail::WholeKey(prefix_, key)); }

Result<std::optional<std::string>> Focus::remove(Bytes key) { return keyspace_.remove(detail::WholeKey(prefix_, key)); }

Result<bool> Focus::contains_key(Bytes key) const { return keyspace_.contains_key(detail::WholeKey(prefix_, key)); }

Result<EmdbIter> Focus::iter() const {
    auto source = keyspace_.engine_->iterate_group(keyspace_.state_, prefix_);
    if (!source) return std::move(source).error();
    return EmdbIter(std::move(*source));
}

Result<std::size_t> Focus::delete_all() { return keyspace_.delete_group(prefix_); }

Focus Focus::focus(std::string_view sub) const { return Focus(keyspace_, std::string(std::string_view(detail::WholeKey(prefix_, sub)))); }

}  // namespace emdb

#endif  // EMDB_NESTED
