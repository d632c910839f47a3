#pragma once
// SyncDeferral: leaves the sync that a flush policy asks for after a write to somebody who shares it among many.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <utility>

namespace emdb::detail {

class Engine;

/// While one lives, writes of its thread on `engine` return without their sync; `wanted()` tells whether they needed one.
class SyncDeferral {
public:
    explicit SyncDeferral(const Engine& engine) noexcept : engine_(engine), outer_(std::exchange(innermost(), this)) {}
    SyncDeferral(const SyncDeferral&) = delete;
    SyncDeferral& operator=(const SyncDeferral&) = delete;
    ~SyncDeferral() { innermost() = outer_; }

    bool wanted() const noexcept { return wanted_; }

    /// Asked by a write that is about to sync; true: it need not.
    static bool takes_over(const Engine& engine) noexcept {
        SyncDeferral* const deferral = innermost();
        if (deferral == nullptr || &deferral->engine_ != &engine) return false;
        deferral->wanted_ = true;
        return true;
    }

    /// For code of the user's that runs inside: its writes are as durable as ever when they return. Until resume().
    static void* suspend() noexcept { return std::exchange(innermost(), nullptr); }
    static void resume(void* suspended) noexcept { innermost() = static_cast<SyncDeferral*>(suspended); }

private:
    static SyncDeferral*& innermost() noexcept {
        thread_local SyncDeferral* deferral = nullptr;
        return deferral;
    }

    const Engine& engine_;
    SyncDeferral* const outer_;
    bool wanted_ = false;
};

}  // namespace emdb::detail

#endif  // EMDB_ASYNC
