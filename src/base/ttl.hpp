#pragma once
// Ttl: how long a record lives.

#include <chrono>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "base/config.hpp"

#if EMDB_TTL

namespace emdb {

namespace detail {

/// Durations that convert to milliseconds without losing anything: seconds, minutes, hours, ...
template <class Rep, class Period>
concept whole_milliseconds = std::is_integral_v<Rep> && std::ratio_divide<Period, std::milli>::den == 1;

/// As the conversion that <chrono> makes, but the longest possible duration where that one would overflow.
template <class Rep, class Period>
    requires whole_milliseconds<Rep, Period>
constexpr std::chrono::milliseconds saturating_milliseconds(std::chrono::duration<Rep, Period> duration) noexcept {
    using std::chrono::milliseconds;
    constexpr auto factor = static_cast<milliseconds::rep>(std::ratio_divide<Period, std::milli>::num);
    if (std::cmp_greater(duration.count(), (milliseconds::max)().count() / factor)) return (milliseconds::max)();
    if (std::cmp_less(duration.count(), (milliseconds::min)().count() / factor)) return (milliseconds::min)();
    return milliseconds(static_cast<milliseconds::rep>(duration.count()) * factor);
}

}  // namespace detail

/// When a record expires. Times are the system's clock (see `EmdbBuilder::clock`) in milliseconds since 1970, UTC. From its
/// expiry on a record is absent. A plain value; the clock is asked by the write that gets it.
class Ttl {
public:
    /// The ways to say it, named as the functions that make them.
    enum class Kind : std::uint8_t { use_default, never, after, at };

    /// What a plain `insert` does: `EmdbBuilder::default_ttl` if there is one, else never.
    static constexpr Ttl use_default() noexcept { return {Kind::use_default, {}, 0}; }
    /// Not at all, whatever the default is.
    static constexpr Ttl never() noexcept { return {Kind::never, {}, 0}; }
    /// So long after the write; zero: at once. Beyond the clock's range: at its very end. A negative duration makes the write
    /// `invalid_argument`.
    static constexpr Ttl after(std::chrono::milliseconds duration) noexcept { return {Kind::after, duration, 0}; }
    /// For durations in any unit of whole milliseconds; too long ones saturate.
    template <class Rep, class Period>
        requires detail::whole_milliseconds<Rep, Period>
    static constexpr Ttl after(std::chrono::duration<Rep, Period> duration) noexcept {
        return after(detail::saturating_milliseconds(duration));
    }
    /// At that moment; in the past: at once.
    static constexpr Ttl at(std::uint64_t unix_ms) noexcept { return {Kind::at, {}, unix_ms}; }

    /// How it was said.
    constexpr Kind kind() const noexcept { return kind_; }
    /// Of `after`; else zero.
    constexpr std::chrono::milliseconds duration() const noexcept { return duration_; }
    /// Of `at`; else 0.
    constexpr std::uint64_t unix_ms() const noexcept { return unix_ms_; }
    /// Whether both say the same in the same way.
    friend constexpr bool operator==(const Ttl&, const Ttl&) noexcept = default;

private:
    constexpr Ttl(Kind kind, std::chrono::milliseconds duration, std::uint64_t unix_ms) noexcept
        : kind_(kind), duration_(duration), unix_ms_(unix_ms) {}

    Kind kind_;
    std::chrono::milliseconds duration_;
    std::uint64_t unix_ms_;
};

}  // namespace emdb

#endif  // EMDB_TTL
