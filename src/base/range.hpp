#pragma once
// Range: which keys a range scan is about.

#include <optional>
#include <string>

#include "base/bytes.hpp"
#include "base/config.hpp"

namespace emdb {

/// An interval of keys in byte order (bytes are unsigned, and a key comes before what it is a prefix of). Copies its bounds, which may be
/// allocated. One whose bounds are in the wrong order is empty; none is an error.
class Range {
public:
    /// Where the range begins or ends.
    struct Bound {
        /// A key, there or not.
        std::string key;
        /// Whether the key itself is in the range.
        bool inclusive = true;
    };

#if EMDB_ENCRYPT
    /// @{
    /// Wipes its bounds at its end, where they may come from an encrypted database.
    Range(const Range&) = default;
    Range(Range&&) noexcept = default;
    Range& operator=(const Range&) = default;
    Range& operator=(Range&&) noexcept = default;
    /// @}
    ~Range();
#endif

    /// Every key.
    static Range all();
    /// [a, b)
    static Range half_open(Bytes a, Bytes b);
    /// [a, b]
    static Range closed(Bytes a, Bytes b);
    /// (a, b)
    static Range open(Bytes a, Bytes b);
    /// (a, b]
    static Range open_closed(Bytes a, Bytes b);
    /// [a, ...
    static Range from(Bytes a);
    /// (a, ...
    static Range after(Bytes a);
    /// ..., b)
    static Range until(Bytes b);
    /// ..., b]
    static Range up_to(Bytes b);
    /// Keys that begin with p.
    static Range prefix(Bytes p);

    /// @{
    /// nullopt: from the first key, or to the last. Valid while the Range lives.
    const std::optional<Bound>& lower() const noexcept { return lower_; }
    const std::optional<Bound>& upper() const noexcept { return upper_; }
    /// @}

private:
    Range(std::optional<Bound> lower, std::optional<Bound> upper) noexcept;

    std::optional<Bound> lower_;
    std::optional<Bound> upper_;
};

}  // namespace emdb
