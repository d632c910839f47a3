#pragma once
// FlushQueue: all flushes of a database that wait, done by one task with one sync (where the policy lets flushes share). So a
// thousand coroutines that flush block one thread, not a thousand. Writes whose policy asks for a sync wait here, too.
//
// Whoever joins first pushes, then looks whether somebody flushes; who has flushed first says so, then looks whether somebody has
// joined: one of them sees the other.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <atomic>
#include <optional>
#include <utility>

#include "async/future.hpp"
#include "async/future_state.hpp"
#include "async/pool.hpp"
#include "engine/engine.hpp"

namespace emdb::detail {

class FlushQueue {
public:
    /// A call that has been made, and completes when what it wrote is durable. True: the caller must see to it that somebody
    /// flushes; false: somebody does, or is about to.
    bool join(FutureState& call, bool is_write) noexcept {
        call.retain();
        call.is_write_ = is_write;
        FutureState* top = joined_.load(std::memory_order_relaxed);
        do {
            call.next_to_flush_ = top;
        } while (!joined_.compare_exchange_weak(top, &call, std::memory_order_seq_cst, std::memory_order_relaxed));
        return !flushing_.load(std::memory_order_seq_cst) && !posted_.exchange(true, std::memory_order_seq_cst);
    }

    /// Flushes until nobody waits, or leaves that to the thread that is at it. `owner` keeps the queue and the engine; it is let
    /// go before the last calls complete, so that who has waited for them finds the database closed if nobody else has it open.
    template <class Owner>
    void flush(Engine& engine, Owner owner) noexcept {
        posted_.store(false, std::memory_order_seq_cst);
        bool more = true;
        while (more && !flushing_.exchange(true, std::memory_order_seq_cst)) {
            FutureState* const calls = in_order(joined_.exchange(nullptr, std::memory_order_seq_cst));
            settle(engine, calls);
            flushing_.store(false, std::memory_order_seq_cst);
            more = joined_.load(std::memory_order_seq_cst) != nullptr;
            if (!more) owner.reset();
            complete(calls);
        }
    }

private:
    static FutureState* in_order(FutureState* newest) noexcept {
        FutureState* oldest = nullptr;
        while (newest != nullptr) newest = std::exchange(newest->next_to_flush_, std::exchange(oldest, newest));
        return oldest;
    }

    static void settle(Engine& engine, FutureState* calls) noexcept {
        const Pool::Blocking blocking;
        std::optional<Result<void>> flushed;
        for (FutureState* call = calls; call != nullptr; call = call->next_to_flush_) {
            keep_failure(call->failure, [&] {
                if (!flushed || !engine.shares_syncs()) flushed = engine.flush();
                if (!*flushed) call->fail(call->is_write_ ? engine.unsynced_error(flushed->error()) : flushed->error());
            });
            call->leave_database();
        }
    }

    static void complete(FutureState* calls) noexcept {
        while (calls != nullptr) {
            FutureState* const call = std::exchange(calls, calls->next_to_flush_);
            call->complete();
            call->release();
        }
    }

    std::atomic<FutureState*> joined_{nullptr};  ///< the newest first
    std::atomic<bool> flushing_{false};
    std::atomic<bool> posted_{false};  ///< a task is on its way that will flush
};

}  // namespace emdb::detail

#endif  // EMDB_ASYNC
