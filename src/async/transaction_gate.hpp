#pragma once
// TransactionGate: where transactions, and writes that come while one runs, wait without a thread. In the engine a transaction
// locks writers out; a pool whose threads all waited there would serve no reads either.
//
// Only a courtesy: the engine's locks decide. A call that somebody blocks for goes past the gate, and so does one that has waited.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <atomic>
#include <deque>
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
        std::deque<Ref<FutureState>> writes;
        Ref<FutureState> next;
        {
            const std::lock_guard lock(mutex_);
            writes.swap(writes_);
            // One that has begun is a blocked thread's, and does not come back here if it is started.
            while (!transactions_.empty() && !next) {
                if (transactions_.front()->is_call()) next = std::move(transactions_.front());
                transactions_.pop_front();
            }
            if (!next) busy_.store(false, std::memory_order_relaxed);
        }
        for (const Ref<FutureState>& write : writes) write->start();
        if (next) next->start();
    }

private:
    static bool put_off(std::deque<Ref<FutureState>>& waiting, FutureState& call) {
        call.retain();
        waiting.push_back(Ref<FutureState>(&call));
        call.postpone();
        return false;
    }

    std::atomic<bool> busy_{false};
    std::mutex mutex_;
    std::deque<Ref<FutureState>> writes_;
    std::deque<Ref<FutureState>> transactions_;
};

}  // namespace emdb::detail

#endif  // EMDB_ASYNC
