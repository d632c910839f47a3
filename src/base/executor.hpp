#pragma once
// Executor: where asynchronous work runs if not on emdb's own pool of threads.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace emdb {

/// Runs tasks: an event loop, a thread pool, a thread of a program's own. Calls on the database are made inside tasks, and
/// coroutines and `then` callbacks go on inside tasks.
class Executor {
public:
    /// After the last task that it has been given, on whatever thread lets go of it last.
    virtual ~Executor() = default;
    /// Has `task` called once, on any thread, now or later; returns soon. May be called from any thread, several at once. An executor
    /// that throws, or destroys a task without calling it, makes the operation `stopped`; a coroutine or callback that the task should
    /// have gone on with then goes on right there. A task does not throw; it may take as long as a call on the database does.
    virtual void post(std::function<void()> task) = 0;
};

namespace detail {

/// Executors that are no Executor: anything with `post`, by itself or behind a pointer.
template <class E>
concept posts_tasks = !std::is_base_of_v<Executor, E> &&
                      (requires(E& executor, std::function<void()> task) { executor.post(std::move(task)); } ||
                       requires(E& executor, std::function<void()> task) { executor->post(std::move(task)); });

template <posts_tasks E>
class ExecutorOf final : public Executor {
public:
    explicit ExecutorOf(E executor) : executor_(std::move(executor)) {}
    void post(std::function<void()> task) override {
        if constexpr (requires { executor_.post(std::move(task)); }) {
            executor_.post(std::move(task));
        } else {
            executor_->post(std::move(task));
        }
    }

private:
    E executor_;
};

/// An executor that somebody else keeps alive.
inline std::shared_ptr<Executor> borrowed(Executor& executor) noexcept {
    return std::shared_ptr<Executor>(std::shared_ptr<void>(), &executor);
}

}  // namespace detail

}  // namespace emdb

#endif  // EMDB_ASYNC
