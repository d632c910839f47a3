#pragma once
// WorkBeside: a thread that does one thing over and over, while its owner prepares the next round of it.

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "base/config.hpp"
#include "base/result.hpp"

namespace emdb::detail {

/// The owner's thread calls finish(), then hands over whatever work() works on, then begin(). Not for more than one owner.
class WorkBeside {
public:
    explicit WorkBeside(std::function<Result<void>()> work) : work_(std::move(work)) {}
    WorkBeside(const WorkBeside&) = delete;
    WorkBeside& operator=(const WorkBeside&) = delete;
    /// A round under way is waited for; what became of it nobody learns.
    ~WorkBeside() {
        if (!thread_.joinable()) return;
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }

    /// Starts a round; the one before is over. Where no thread can be had it is done here and now.
    void begin() {
        if (!thread_.joinable() && !start()) {
            work();
            return;
        }
        {
            const std::lock_guard lock(mutex_);
            working_ = true;
        }
        changed_.notify_all();
    }

    /// Waits for the round under way, if there is one, and tells once what became of it; an exception of work() is thrown here.
    Result<void> finish() {
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return !working_; });
        }
#if EMDB_EXCEPTIONS
        if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
#endif
        return std::exchange(outcome_, Result<void>());
    }

private:
    bool start() {
#if EMDB_EXCEPTIONS
        try {
            thread_ = std::thread([this] { run(); });
        } catch (...) {  // std::system_error or std::bad_alloc
            return false;
        }
#else
        thread_ = std::thread([this] { run(); });
#endif
        return true;
    }

    void run() {
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [this] { return working_ || stopping_; });
            if (!working_) return;
            lock.unlock();
            work();
            lock.lock();
            working_ = false;
            changed_.notify_all();
        }
    }

    void work() {
#if EMDB_EXCEPTIONS
        try {
            outcome_ = work_();
        } catch (...) {
            failure_ = std::current_exception();
        }
#else
        outcome_ = work_();
#endif
    }

    const std::function<Result<void>()> work_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool working_ = false;
    bool stopping_ = false;
    // The worker's while it is working, otherwise the owner's.
    Result<void> outcome_;
#if EMDB_EXCEPTIONS
    std::exception_ptr failure_;
#endif
    std::thread thread_;
};

}  // namespace emdb::detail
