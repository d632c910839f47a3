#pragma once
// The out-of-line half of range.hpp.

#include <optional>
#include <string>
#include <utility>

#include "base/bytes.hpp"
#include "base/range.hpp"

namespace emdb {

namespace detail {

inline std::optional<Range::Bound> bound_at(Bytes key) { return Range::Bound{std::string(key.as_string_view()), true}; }
inline std::optional<Range::Bound> bound_beside(Bytes key) { return Range::Bound{std::string(key.as_string_view()), false}; }

}  // namespace detail

Range::Range(std::optional<Bound> lower, std::optional<Bound> upper) noexcept
    : lower_(std::move(lower)), upper_(std::move(upper)) {}

Range Range::all() { return Range(std::nullopt, std::nullopt); }
Range Range::half_open(Bytes a, Bytes b) { return Range(detail::bound_at(a), detail::bound_beside(b)); }
Range Range::closed(Bytes a, Bytes b) { return Range(detail::bound_at(a), detail::bound_at(b)); }
Range Range::open(Bytes a, Bytes b) { return Range(detail::bound_beside(a), detail::bound_beside(b)); }
Range Range::open_closed(Bytes a, Bytes b) { return Range(detail::bound_beside(a), detail::bound_at(b)); }
Range Range::from(Bytes a) { return Range(detail::bound_at(a), std::nullopt); }
Range Range::after(Bytes a) { return Range(detail::bound_beside(a), std::nullopt); }
Range Range::until(Bytes b) { return Range(std::nullopt, detail::bound_beside(b)); }
Range Range::up_to(Bytes b) { return Range(std::nullopt, detail::bound_at(b)); }

Range Range::prefix(Bytes p) {
    // They end before the shortest key that is greater than all of them. There is none if p is nothing but 0xFF.
    std::string end(p.as_string_view());
    while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xFF) end.pop_back();
    if (end.empty()) return from(p);
    end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
    return half_open(p, end);
}

}  // namespace emdb
