#pragma once
// Frame: what a thread is doing for asynchronous work, and running a task in one.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <utility>

#include "async/future.hpp"

namespace emdb::detail {

/// One task, being run by this thread. What it completes last goes on in the same frame after it, instead of in a task of its
/// own: that saves a way through the queue, and a long chain of continuations does not pile up on the stack. There is one such
/// place only, because whatever waited there would wait for the task's end.
class Frame {
public:
    explicit Frame(const Executor* executor) noexcept : executor_(executor), outer_(std::exchange(innermost(), this)) {}
    Frame(const Frame&) = delete;
    Frame& operator=(const Frame&) = delete;
    ~Frame() {
        while (FutureState* const state = std::exchange(next_, nullptr)) {
            state->resume_waiter();
            state->release();
        }
        innermost() = outer_;
    }

    /// Whether this thread is running a task of that executor (null: of the pool).
    static bool runs_on(const Executor* executor) noexcept {
        const Frame* const frame = innermost();
        return frame != nullptr && frame->executor_ == executor;
    }
    /// False: the waiter must be resumed by a task.
    static bool resume_after_task(FutureState& completed) noexcept {
        Frame* const frame = innermost();
        if (frame == nullptr || frame->executor_ != completed.executor().get() || frame->next_ != nullptr) return false;
        completed.retain();
        frame->next_ = &completed;
        return true;
    }

private:
    static Frame*& innermost() noexcept {
        thread_local Frame* frame = nullptr;
        return frame;
    }

    const Executor* const executor_;
    Frame* const outer_;
    FutureState* next_ = nullptr;
};

/// With the caller's reference on the task.
inline void run_task(const Executor* executor, Task& task) noexcept {
    const Frame frame(executor);
    task.execute();
    task.release();
}

}  // namespace emdb::detail

#endif  // EMDB_ASYNC
