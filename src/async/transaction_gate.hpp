#pragma once
// TransactionGate: where transactions, and writes that come while one runs, wait without a thread. In the engine a transaction
// locks writers out; a pool whose threads all waited there would serve no reads either.
//
// Only a courtesy: the engine's locks decide. A call that somebody blocks for goes past the gate, and so does one that has waited.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <atomic>
#include <mutex>
#include <utility>

#include "async/future.hpp"

namespace emdb::detail {

class TransactionGate {
public:
    /// False: it waits, and is started again.
    bool let_write_pass(FutureState& write) {
        if (!busy_.load(std::memory_order_relaxed)) [[likely]] return true;
        const std::lock_guard lock(mutex_);
        return !busy_.load(std::memory_order_relaxed) || put_off(writes_, write);
    }

    /// The same for a transaction; it calls leave() at its end.
    bool let_transaction_pass(FutureState& transaction) {
        const std::lock_guard lock(mutex_);
        if (busy_.load(std::memory_order_relaxed)) return put_off(transactions_, transaction);
        busy_.store(true, std::memory_order_relaxed);
        return true;
    }

    /// A transaction is over: the next one is started, and all writes that wait.
    void leave() noexcept {
        Line writes;
        Ref<FutureState> next;
        {
            const std::lock_guard lock(mutex_);
            writes = std::exchange(writes_, Line());
            // One that has begun is a blocked thread's, and does not come back here if it is started.
            while (transactions_.first != nullptr && !next) {
                Ref<FutureState> first = transactions_.take();
                if (first->is_call()) next = std::move(first);
            }
            if (!next) busy_.store(false, std::memory_order_relaxed);
        }
        while (writes.first != nullptr) writes.take()->start();
        if (next) next->start();
    }

private:
    /// Calls in the order in which they came, linked by themselves: waiting needs no memory, which there may be none of.
    struct Line {
        FutureState* first = nullptr;
        FutureState* last = nullptr;

        void add(FutureState& call) noexcept {
            call.retain();
            (first == nullptr ? first : last->next_at_gate_) = &call;
            last = &call;
        }
        Ref<FutureState> take() noexcept {
            return Ref<FutureState>(std::exchange(first, std::exchange(first->next_at_gate_, nullptr)));
        }
    };

    static bool put_off(Line& waiting, FutureState& call) noexcept {
        waiting.add(call);
        call.postpone();
        return false;
    }

    std::atomic<bool> busy_{false};
    std::mutex mutex_;
    Line writes_;
    Line transactions_;
};

}  // namespace emdb::detail

#endif  // EMDB_ASYNC
