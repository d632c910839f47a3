#pragma once
// From a call to its task, and from a completed future to whoever waits for it.
//
//   start() -> pool or executor -> execute() -> work() -> finish() -> the waiter goes on, in the same task or one of its own
//
// Whoever begins the work first does it: the task, or a thread that waits in wait(). Where an executor fails (it throws, or lets
// go of a task), drop() takes the place of execute(), so that every future completes and every waiter goes on exactly once.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "async/future.hpp"
#include "async/pool.hpp"
#include "async/running.hpp"
#include "async/task_queue.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

/// A task in the hands of a user's executor: executed by the first call, dropped if there is none. With a reference.
class PostedTask {
public:
    PostedTask(const Executor& executor, Task& task) noexcept : executor_(executor), task_(&task) {}
    PostedTask(const PostedTask&) = delete;
    PostedTask& operator=(const PostedTask&) = delete;
    ~PostedTask() {
        Task* const task = task_.exchange(nullptr, std::memory_order_acq_rel);
        if (task == nullptr) return;
        task->drop();
        task->release();
    }

    void operator()() noexcept {
        Task* const task = task_.exchange(nullptr, std::memory_order_acq_rel);
        if (task != nullptr) run_task(&executor_, *task);
    }

private:
    const Executor& executor_;  ///< only its address is used
    std::atomic<Task*> task_;
};

/// Has the pool (null) or an executor run the task, with a reference of its own.
inline void post(const std::shared_ptr<Executor>& executor, Task& task) noexcept {
    task.retain();
    if (executor == nullptr) return Pool::instance().push(task);
#if EMDB_EXCEPTIONS
    std::shared_ptr<PostedTask> posted;
    try {
        posted = std::make_shared<PostedTask>(*executor, task);
        executor->post([posted] { (*posted)(); });
    } catch (...) {
        // The executor refused, so the task is dropped with `posted`; or there was no memory for that.
        if (posted != nullptr) return;
        task.drop();
        task.release();
    }
#else
    executor->post([posted = std::make_shared<PostedTask>(*executor, task)] { (*posted)(); });
#endif
}

Error stopped_error() {
    return Error(ErrorCode::stopped, "The call was not made: the executor dropped it, or the process was forked meanwhile. Make it "
                 "again on a database that is open in this process.");
}

std::exception_ptr as_exception([[maybe_unused]] const Error& error) noexcept {
#if EMDB_EXCEPTIONS
    std::exception_ptr failure;
    keep_failure(failure, [&] { raise(error); });
    return failure;
#else
    return nullptr;
#endif
}

void rethrow(std::exception_ptr failure) {
#if EMDB_EXCEPTIONS
    std::rethrow_exception(std::move(failure));
#else
    static_cast<void>(failure);
    raise(stopped_error());
#endif
}

FutureState::FutureState(std::shared_ptr<Executor> executor, bool has_work) noexcept
    : executor_(std::move(executor)), fork_count_(fork_count()), begun_(!has_work) {}

bool FutureState::attach(Waiter& waiter, Tell tell) noexcept {
    std::uintptr_t nobody = 0;
    const std::uintptr_t attached = reinterpret_cast<std::uintptr_t>(&waiter) | static_cast<std::uintptr_t>(tell);
    // Release: whoever resumes the waiter sees it whole. Acquire: if it is done, the value is there.
    return word_.compare_exchange_strong(nobody, attached, std::memory_order_acq_rel, std::memory_order_acquire);
}

void FutureState::attach_or_post(Waiter& waiter) noexcept {
    if (attach(waiter)) return;
    word_.store(reinterpret_cast<std::uintptr_t>(&waiter) | done_bit, std::memory_order_release);
    post(executor_, *this);
}

void FutureState::detach(Waiter& waiter) noexcept {
    const auto attached = reinterpret_cast<std::uintptr_t>(&waiter);
    std::uintptr_t word = attached;
    if (word_.compare_exchange_strong(word, 0, std::memory_order_acq_rel)) return;
    // Completed, but not yet resumed: the task that would do it finds nobody.
    word = attached | done_bit;
    word_.compare_exchange_strong(word, done_bit, std::memory_order_acq_rel);
}

void FutureState::resume_waiter() noexcept {
    std::uintptr_t word = word_.load(std::memory_order_acquire);
    if ((word & done_bit) == 0 || word == done_bit) return;
    if (!word_.compare_exchange_strong(word, done_bit, std::memory_order_acq_rel)) return;
    reinterpret_cast<Waiter*>(word & ~flag_bits)->resume();
}

void FutureState::start() noexcept { post(executor_, *this); }

void FutureState::execute() noexcept {
    if (begin()) {
        work();
    } else {
        resume_waiter();
    }
}

void FutureState::drop() noexcept {
    const Frame frame(executor_.get());
    if (begin()) {
        give_up();
        fail_with(stopped_error);
        finish();
    } else {
        resume_waiter();
    }
}

// True: somebody waits who is to be told by a task.
bool FutureState::set_done() noexcept {
    const std::uintptr_t word = word_.fetch_or(done_bit, std::memory_order_acq_rel);
    if (word == 0) return false;
    if ((word & static_cast<std::uintptr_t>(Tell::at_once)) == 0) return true;
    resume_waiter();
    return false;
}

void FutureState::complete() noexcept {
    if (set_done()) post(executor_, *this);
}

void FutureState::finish() noexcept {
    if (set_done() && !Frame::resume_after_task(*this)) post(executor_, *this);
}

/// A thread in FutureState::wait().
class BlockedThread final : public Waiter {
public:
    void resume() noexcept override {
        // Under the lock: this object is gone as soon as the thread sees the flag.
        const std::lock_guard lock(mutex_);
        resumed_ = true;
        wake_.notify_one();
    }
    bool is_resumed() noexcept {
        const std::lock_guard lock(mutex_);
        return resumed_;
    }
    void wait() noexcept {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return resumed_; });
    }

private:
    std::mutex mutex_;
    std::condition_variable wake_;
    bool resumed_ = false;
};

void FutureState::wait() noexcept {
    if (done()) return;
    if (fork_count_ != fork_count()) {
        // A child waits for threads that are its parent's.
        fail_with(stopped_error);
        set_done();
        return;
    }
    if (Frame::runs_on(executor_.get())) {
        if (begin()) {
            is_urgent_ = true;
            work();
        }
    } else {
        // For an outcome that is about to come, sleeping would take longer.
        for (int i = 0; i < 200 && !done(); ++i) relax_processor();
    }
    BlockedThread thread;
    if (!attach(thread, Tell::at_once)) return;
    const Pool::Blocking blocking;
    thread.wait();
}

}  // namespace emdb::detail

#endif  // EMDB_ASYNC
