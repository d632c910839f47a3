#pragma once
// TaskQueue: what a pool's threads take their tasks from, about in the order in which they were put there.
//
// Putting never waits for a thread that was interrupted half-way: tasks are pushed on a stack with one compare-and-swap. Takers
// share a lock, and turn the whole stack over when they have none left. A task is taken alone, never with others that would then
// wait for it.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <atomic>
#include <mutex>
#include <utility>

#include "async/future.hpp"

namespace emdb::detail {

/// A pause of some cycles for a loop that waits for another thread.
inline void relax_processor() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb" ::: "memory");
#endif
}

class TaskQueue {
public:
    /// With the caller's reference.
    void push(Task& task) noexcept {
        Task* top = pushed_.load(std::memory_order_relaxed);
        do {
            task.next_ = top;
            // Sequentially consistent for Pool: it looks for threads that sleep next, and they for tasks.
        } while (!pushed_.compare_exchange_weak(top, &task, std::memory_order_seq_cst, std::memory_order_relaxed));
    }

    /// Null: empty.
    Task* take() noexcept {
        for (int i = 0; i < 64 && !mutex_.try_lock(); ++i) {
            relax_processor();
            if (i == 63) mutex_.lock();
        }
        const std::lock_guard lock(mutex_, std::adopt_lock);
        Task* task = in_order_.load(std::memory_order_relaxed);
        if (task == nullptr) {
            Task* newest = pushed_.exchange(nullptr, std::memory_order_acquire);
            while (newest != nullptr) newest = std::exchange(newest->next_, std::exchange(task, newest));
            if (task == nullptr) return nullptr;
        }
        in_order_.store(task->next_, std::memory_order_seq_cst);
        return task;
    }

    bool empty() const noexcept {
        return pushed_.load(std::memory_order_seq_cst) == nullptr && in_order_.load(std::memory_order_seq_cst) == nullptr;
    }

private:
    alignas(64) std::atomic<Task*> pushed_{nullptr};     ///< the newest first
    alignas(64) std::atomic<Task*> in_order_{nullptr};   ///< the oldest first; changed under the mutex
    std::mutex mutex_;
};

}  // namespace emdb::detail

#endif  // EMDB_ASYNC
