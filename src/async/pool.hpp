#pragma once
// Pool: the threads that asynchronous work runs on where no executor is given. One for the whole process: threads are a resource
// of the machine, and a pool that lives as long as the program has no moment at which its threads must be waited for.
//
//   - Threads are started when there is work for them, up to one for each processor and at most 8.
//   - A thread that is about to block says so (Blocking); while it does, another one may run in its place. So tasks can wait for
//     tasks, however many do. When the blocked thread comes back and there are too many, one ends.
//   - A thread without work looks for it a few microseconds more, then sleeps. Only one is woken at a time: if it finds more
//     than it can take, it wakes the next. While one is looking, putting a task into the queue costs no system call.
//
// Invariant behind that, in the manner of Dekker: who pushes a task first pushes, then looks whether anybody searches; who stops
// searching first says so, then looks whether anything was pushed. Both sequentially consistent: one of them sees the other.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

#include "async/future.hpp"
#include "async/running.hpp"
#include "async/task_queue.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

class Pool {
public:
    /// The process's own; a forked child gets a new one, since the threads of its parent's are not there.
    static Pool& instance() {
        static std::atomic<Pool*> current{nullptr};
        Pool* pool = current.load(std::memory_order_acquire);
        while (pool == nullptr || pool->fork_count_ != fork_count()) [[unlikely]] {
            watch_forks();
            Pool* const fresh = make();
            if (current.compare_exchange_strong(pool, fresh, std::memory_order_acq_rel, std::memory_order_acquire)) return *fresh;
            if (fresh != place()) delete fresh;
        }
        return *pool;
    }
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    /// Has the task run, with the caller's reference.
    void push(Task& task) noexcept {
        queue_.push(task);
        wake_if_nobody_searches();
    }

    /// While one lives, its thread of the pool does not count: another may do its work. Does nothing elsewhere.
    class Blocking {
    public:
        Blocking() noexcept : counts_(is_pool_thread() && !std::exchange(is_blocked(), true)) {
            if (!counts_) return;
            Pool& pool = instance();
            pool.blocked_.fetch_add(1, std::memory_order_seq_cst);
            if (!pool.queue_.empty()) pool.wake_if_nobody_searches();
        }
        Blocking(const Blocking&) = delete;
        Blocking& operator=(const Blocking&) = delete;
        ~Blocking() {
            if (!counts_) return;
            is_blocked() = false;
            instance().blocked_.fetch_sub(1, std::memory_order_seq_cst);
        }

    private:
        static bool& is_blocked() noexcept {
            thread_local bool blocked = false;
            return blocked;
        }
        const bool counts_;
    };

    /// Takes one task, for a thread that is none of the pool's. Null: there is none.
    Task* take() noexcept { return queue_.take(); }

private:
    static constexpr unsigned usual_threads_max = 8;
    // Some 5 microseconds: about what waking a sleeping thread costs.
    static constexpr int looks_before_sleep = 200;

    Pool() noexcept
        : usual_threads_(std::clamp(std::thread::hardware_concurrency(), 1U, usual_threads_max)), fork_count_(detail::fork_count()) {}
    ~Pool() = default;

    // The first one needs no memory: whoever has a task for it can't be told that there is none.
    static Pool* make() {
        static std::atomic<bool> taken{false};
        return taken.exchange(true, std::memory_order_relaxed) ? new Pool : ::new (place()) Pool;
    }
    static void* place() noexcept {
        alignas(Pool) static std::byte bytes[sizeof(Pool)];
        return bytes;
    }

    static bool& is_pool_thread() noexcept {
        thread_local bool is_one = false;
        return is_one;
    }

    unsigned threads_wanted() const noexcept { return usual_threads_ + blocked_.load(std::memory_order_seq_cst); }

    void wake_if_nobody_searches() noexcept {
        unsigned nobody = 0;
        while (searching_.load(std::memory_order_seq_cst) == 0) {
            if (!searching_.compare_exchange_strong(nobody, 1, std::memory_order_seq_cst)) return;
            if (wake_or_start()) return;
            // All are busy, and look into the queue when they have finished; unless one has begun to sleep in this moment.
            searching_.fetch_sub(1, std::memory_order_seq_cst);
            nobody = 0;
            if (queue_.empty() || !may_wake_or_start()) return;
        }
    }

    bool may_wake_or_start() noexcept {
        const std::lock_guard lock(mutex_);
        return sleeping_ > wakeups_ || threads_.load(std::memory_order_relaxed) < threads_wanted();
    }

    // A thread that searches, in the name of the caller, who has counted it.
    bool wake_or_start() noexcept {
        {
            const std::lock_guard lock(mutex_);
            if (sleeping_ > wakeups_) {
                ++wakeups_;
                wake_.notify_one();
                return true;
            }
            if (threads_.load(std::memory_order_relaxed) >= threads_wanted()) return false;
            threads_.fetch_add(1, std::memory_order_relaxed);
        }
        if (start_thread()) return true;
        // The system has no more threads to give: those that there are must do. Without any, the caller does the work.
        unsigned others = 0;
        {
            const std::lock_guard lock(mutex_);
            others = threads_.fetch_sub(1, std::memory_order_relaxed) - 1;
        }
        while (others <= blocked_.load(std::memory_order_seq_cst)) {
            Task* const task = queue_.take();
            if (task == nullptr) break;
            run_task(nullptr, *task);
        }
        return false;
    }

    bool start_thread() noexcept {
#if EMDB_EXCEPTIONS
        try {
#endif
            std::thread([this] { run_thread(); }).detach();
            return true;
#if EMDB_EXCEPTIONS
        } catch (...) {  // std::system_error or std::bad_alloc
            return false;
        }
#endif
    }

    void run_thread() noexcept {
        is_pool_thread() = true;
        bool searching = true;
        for (;;) {
            if (Task* const task = queue_.take()) {
                if (std::exchange(searching, false)) stop_searching();
                run_task(nullptr, *task);
                if (threads_.load(std::memory_order_relaxed) > threads_wanted() && leave()) return;
            } else {
                if (!std::exchange(searching, true)) searching_.fetch_add(1, std::memory_order_seq_cst);
                if (!work_appears() && !sleep()) return;
            }
        }
    }

    // The last to stop has somebody else go on, if there is more.
    void stop_searching() noexcept {
        if (searching_.fetch_sub(1, std::memory_order_seq_cst) == 1 && !queue_.empty()) wake_if_nobody_searches();
    }

    bool work_appears() const noexcept {
        // One who looks is enough.
        for (int i = 0; i < looks_before_sleep && searching_.load(std::memory_order_relaxed) == 1; ++i) {
            if (!queue_.empty()) return true;
            relax_processor();
        }
        return false;
    }

    // Until woken, or until work appears; then it searches again. False: there are too many threads, and this one is not counted
    // any more.
    bool sleep() noexcept {
        std::unique_lock lock(mutex_);
        ++sleeping_;
        searching_.fetch_sub(1, std::memory_order_seq_cst);
        if (!queue_.empty()) {
            --sleeping_;
            searching_.fetch_add(1, std::memory_order_seq_cst);
            return true;
        }
        if (threads_.load(std::memory_order_relaxed) > threads_wanted() && wakeups_ == 0) {
            --sleeping_;
            threads_.fetch_sub(1, std::memory_order_relaxed);
            return false;
        }
        wake_.wait(lock, [this] { return wakeups_ != 0; });
        --wakeups_;
        --sleeping_;
        return true;
    }

    bool leave() noexcept {
        const std::lock_guard lock(mutex_);
        if (threads_.load(std::memory_order_relaxed) <= threads_wanted()) return false;
        threads_.fetch_sub(1, std::memory_order_relaxed);
        return true;
    }

    TaskQueue queue_;
    alignas(64) std::atomic<unsigned> searching_{0};  ///< threads that look for work, or have been woken to
    std::atomic<unsigned> blocked_{0};
    std::atomic<unsigned> threads_{0};  ///< changed under the mutex
    std::mutex mutex_;
    std::condition_variable wake_;
    unsigned sleeping_ = 0;
    unsigned wakeups_ = 0;  ///< of those sleeping, how many are to wake up
    const unsigned usual_threads_;
    const std::uint32_t fork_count_;
};

}  // namespace emdb::detail

#endif  // EMDB_ASYNC
