#pragma once
// Range: which keys a range scan is about.

#include <string>

#include "base/bytes.hpp"

namespace emdb {

/// An interval of keys in byte order (bytes are unsigned, and a key comes before what it is a prefix of). Copies its bounds. One
/// whose bounds are in the wrong order is empty.
class Range {
public:
    static Range all();
    static Range half_open(Bytes a, Bytes b);    ///< a <= key < b
    static Range closed(Bytes a, Bytes b);       ///< a <= key <= b
    static Range open(Bytes a, Bytes b);         ///< a < key < b
    static Range open_closed(Bytes a, Bytes b);  ///< a < key <= b
    static Range from(Bytes a);                  ///< a <= key
    static Range after(Bytes a);                 ///< a < key
    static Range until(Bytes b);                 ///< key < b
    static Range up_to(Bytes b);                 ///< key <= b
    static Range prefix(Bytes p);                ///< keys that begin with p

    /// Where it begins; the empty key, inclusive, if there is no lower bound.
    const std::string& lower() const noexcept { return lower_; }
    bool lower_inclusive() const noexcept { return lower_inclusive_; }
    bool has_upper() const noexcept { return has_upper_; }
    const std::string& upper() const noexcept { return upper_; }
    bool upper_inclusive() const noexcept { return upper_inclusive_; }

private:
    Range() = default;
    void begin(Bytes key, bool inclusive);
    void end(Bytes key, bool inclusive);

    std::string lower_;
    std::string upper_;
    bool lower_inclusive_ = true;
    bool upper_inclusive_ = true;
    bool has_upper_ = false;
};

}  // namespace emdb
