#pragma once
// std::latch, whose wait() can't be relied on where libstdc++ has no futexes: see base/atomic_wait.hpp.

#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace emdb_test {

class Latch {
public:
    explicit Latch(std::ptrdiff_t expected) noexcept : left_(expected) {}
    Latch(const Latch&) = delete;
    Latch& operator=(const Latch&) = delete;

    // Notifies under the lock: whoever waits may destroy the latch as soon as the lock is free.
    void count_down() {
        const std::lock_guard lock(mutex_);
        if (--left_ == 0) open_.notify_all();
    }
    void wait() {
        std::unique_lock lock(mutex_);
        open_.wait(lock, [this] { return left_ <= 0; });
    }
    bool try_wait() {
        const std::lock_guard lock(mutex_);
        return left_ <= 0;
    }

private:
    std::mutex mutex_;
    std::condition_variable open_;
    std::ptrdiff_t left_;
};

}  // namespace emdb_test
