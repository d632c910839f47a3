#pragma once
// Whether a record has expired. The clock is asked only where a record has an expiry at all, so that those without cost nothing.

#include <cstdint>

#include "base/config.hpp"
#include "base/open_options.hpp"
#include "journal/frame.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

/// May outlive the engine.
class ExpiryClock {
public:
    ExpiryClock(const Clock& clock, Environment& environment) : clock_(clock), environment_(&environment) {}

    std::uint64_t now_unix_ms() const { return clock_ ? clock_() : environment_->now_unix_ms(); }

    bool has_expired([[maybe_unused]] const FrameView& frame) const {
#if EMDB_TTL
        if (frame.expiry_unix_ms != 0) [[unlikely]] return has_come(frame.expiry_unix_ms);
#endif
        return false;
    }

private:
    // Out of line: what reads records without expiry is to stay as small as it is without all this.
    [[gnu::noinline]] bool has_come(std::uint64_t unix_ms) const { return unix_ms <= now_unix_ms(); }

    Clock clock_;
    Environment* environment_;
};

/// For reads of several records that must agree: all are judged by the time at which the first expiry was met.
class ExpiryMoment {
public:
    explicit ExpiryMoment(const ExpiryClock& clock) noexcept : clock_(clock) {}

    bool has_expired([[maybe_unused]] const FrameView& frame) {
#if EMDB_TTL
        if (frame.expiry_unix_ms != 0) [[unlikely]] {
            if (!asked_) now_ = clock_.now_unix_ms();
            asked_ = true;
            return frame.expiry_unix_ms <= now_;
        }
#endif
        return false;
    }

private:
    [[maybe_unused]] const ExpiryClock& clock_;
    [[maybe_unused]] std::uint64_t now_ = 0;
    [[maybe_unused]] bool asked_ = false;
};

}  // namespace emdb::detail
