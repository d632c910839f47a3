#pragma once
// Range: which keys a range scan is about.

#include <optional>
#include <string>
#include <utility>

#include "base/bytes.hpp"

namespace emdb {

/// An interval of keys in byte order (bytes are unsigned, and a key comes before what it is a prefix of). Copies its bounds. One
/// whose bounds are in the wrong order is empty.
class Range {
public:
    /// Where the range begins or ends.
    struct Bound {
        std::string key;
        bool inclusive = true;
    };

    static Range all() { return Range({}, {}); }
    /// [a, b)
    static Range half_open(Bytes a, Bytes b) { return Range(at(a), beside(b)); }
    /// [a, b]
    static Range closed(Bytes a, Bytes b) { return Range(at(a), at(b)); }
    /// (a, b)
    static Range open(Bytes a, Bytes b) { return Range(beside(a), beside(b)); }
    /// (a, b]
    static Range open_closed(Bytes a, Bytes b) { return Range(beside(a), at(b)); }
    /// [a, ...
    static Range from(Bytes a) { return Range(at(a), {}); }
    /// (a, ...
    static Range after(Bytes a) { return Range(beside(a), {}); }
    /// ..., b)
    static Range until(Bytes b) { return Range({}, beside(b)); }
    /// ..., b]
    static Range up_to(Bytes b) { return Range({}, at(b)); }
    /// Keys that begin with p.
    static Range prefix(Bytes p) {
        // They end before the shortest key that is greater than all of them. There is none if p is nothing but 0xFF.
        std::string end(p.as_string_view());
        while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xFF) end.pop_back();
        if (end.empty()) return from(p);
        end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
        return half_open(p, end);
    }

    /// nullopt: from the first key, or to the last.
    const std::optional<Bound>& lower() const noexcept { return lower_; }
    const std::optional<Bound>& upper() const noexcept { return upper_; }

private:
    Range(std::optional<Bound> lower, std::optional<Bound> upper) noexcept : lower_(std::move(lower)), upper_(std::move(upper)) {}
    static std::optional<Bound> at(Bytes key) { return Bound{std::string(key.as_string_view()), true}; }
    static std::optional<Bound> beside(Bytes key) { return Bound{std::string(key.as_string_view()), false}; }

    std::optional<Bound> lower_;
    std::optional<Bound> upper_;
};

}  // namespace emdb
