#pragma once
// How a Range gets its bounds.

#include <string>

#include "base/range.hpp"

namespace emdb {

void Range::begin(Bytes key, bool inclusive) {
    lower_ = key.as_string_view();
    lower_inclusive_ = inclusive;
}

void Range::end(Bytes key, bool inclusive) {
    upper_ = key.as_string_view();
    upper_inclusive_ = inclusive;
    has_upper_ = true;
}

Range Range::all() { return {}; }

Range Range::half_open(Bytes a, Bytes b) {
    Range range = from(a);
    range.end(b, false);
    return range;
}

Range Range::closed(Bytes a, Bytes b) {
    Range range = from(a);
    range.end(b, true);
    return range;
}

Range Range::open(Bytes a, Bytes b) {
    Range range = after(a);
    range.end(b, false);
    return range;
}

Range Range::open_closed(Bytes a, Bytes b) {
    Range range = after(a);
    range.end(b, true);
    return range;
}

Range Range::from(Bytes a) {
    Range range;
    range.begin(a, true);
    return range;
}

Range Range::after(Bytes a) {
    Range range;
    range.begin(a, false);
    return range;
}

Range Range::until(Bytes b) {
    Range range;
    range.end(b, false);
    return range;
}

Range Range::up_to(Bytes b) {
    Range range;
    range.end(b, true);
    return range;
}

// The keys end before the shortest key that is greater than all of them. There is none if the prefix is nothing but 0xFF.
Range Range::prefix(Bytes p) {
    std::string end(p.as_string_view());
    while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xFF) end.pop_back();
    if (end.empty()) return from(p);
    end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
    return half_open(p, end);
}

}  // namespace emdb
