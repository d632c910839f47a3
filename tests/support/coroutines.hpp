#pragma once
// Coroutines and executors to try asynchronous calls with. Needs EMDB_ASYNC=1.

#include <atomic>
#include <coroutine>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "emdb.hpp"

namespace emdb_test {

/// A coroutine that nobody waits for.
struct Detached {
    struct promise_type {
        Detached get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

/// A coroutine that its owner may destroy where it stands.
class Fiber {
public:
    struct promise_type {
        Fiber get_return_object() noexcept { return Fiber(std::coroutine_handle<promise_type>::from_promise(*this)); }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
    Fiber(Fiber&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Fiber& operator=(Fiber&&) = delete;
    ~Fiber() { destroy(); }
    void destroy() {
        if (handle_) std::exchange(handle_, nullptr).destroy();
    }
    bool done() const noexcept { return handle_.done(); }

private:
    explicit Fiber(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
    std::coroutine_handle<promise_type> handle_;
};

/// Keeps tasks until a test runs them.
class ManualExecutor final : public emdb::Executor {
public:
    void post(std::function<void()> task) override {
        const std::lock_guard lock(mutex_);
        tasks_.push_back(std::move(task));
    }
    bool run_one() {
        std::function<void()> task;
        {
            const std::lock_guard lock(mutex_);
            if (tasks_.empty()) return false;
            task = std::move(tasks_.front());
            tasks_.pop_front();
        }
        task();
        return true;
    }
    std::size_t run_all() {
        std::size_t count = 0;
        while (run_one()) ++count;
        return count;
    }
    void drop_all() {
        std::deque<std::function<void()>> dropped;
        const std::lock_guard lock(mutex_);
        dropped.swap(tasks_);
        mutex_.unlock();
        dropped.clear();
        mutex_.lock();
    }
    std::size_t waiting() {
        const std::lock_guard lock(mutex_);
        return tasks_.size();
    }

private:
    std::mutex mutex_;
    std::deque<std::function<void()>> tasks_;
};

struct InlineExecutor {
    void post(const std::function<void()>& task) const { task(); }
};

struct DroppingExecutor {
    void post(const std::function<void()>&) const {}
};

struct ThrowingExecutor {
    void post(const std::function<void()>&) const { throw std::runtime_error("no"); }
};

/// Calls every task twice.
struct RepeatingExecutor {
    void post(const std::function<void()>& task) const {
        task();
        task();
    }
};

}  // namespace emdb_test
