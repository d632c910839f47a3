#pragma once
// AutoCompaction: the thread that compacts a database once enough of its file is dead.
//
// Writers wake it: each looks whether the journal has passed a mark (one load), and who finds it passed adds up what is dead. So an
// idle database costs nothing, and a busy one next to nothing.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <thread>

#include "base/config.hpp"
#include "base/open_options.hpp"
#include "engine/compaction.hpp"
#include "engine/engine.hpp"

namespace emdb::detail {

class AutoCompaction {
public:
    AutoCompaction(Engine& engine, AutoCompactLimits limits) noexcept : engine_(engine), limits_(limits) {}
    AutoCompaction(const AutoCompaction&) = delete;
    AutoCompaction& operator=(const AutoCompaction&) = delete;
    ~AutoCompaction() { stop(); }

    /// False: there is no thread to be had.
    bool start() {
#if EMDB_EXCEPTIONS
        try {
            thread_ = std::thread([this] { work(); });
        } catch (const std::system_error&) {
            return false;
        }
#else
        thread_ = std::thread([this] { work(); });
#endif
        return true;
    }

    /// By any writer, with no lock held; `end` is the journal's.
    void note_write(std::uint64_t end) noexcept {
        if (end >= next_look_.load(std::memory_order_relaxed)) [[unlikely]] look();
    }

    /// The database has another file: marks in the old one say nothing about it.
    void start_over() noexcept {
        const std::lock_guard lock(mutex_);
        next_look_.store(0, std::memory_order_relaxed);
    }

    /// Returns when the thread has ended; a compaction under way gives up because the engine is closing.
    void stop() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_one();
        const std::lock_guard lock(joining_);
        if (thread_.joinable()) thread_.join();
    }

private:
    static constexpr std::uint64_t look_step_min = std::uint64_t{64} << 10;

    // The next look comes when there can be enough more that is dead.
    void look() noexcept {
        {
            const std::lock_guard lock(mutex_);
            const std::uint64_t end = engine_.reference()->journal().completed();
            const std::uint64_t dead = engine_.dead_bytes();
            const std::uint64_t missing = dead < limits_.min_dead_bytes ? limits_.min_dead_bytes - dead : limits_.min_dead_bytes / 8;
            next_look_.store(end + (std::max)(missing / 2, look_step_min), std::memory_order_relaxed);
            if (!is_due(dead, end)) return;
            due_ = true;
        }
        wake_.notify_one();
    }

    bool is_due(std::uint64_t dead, std::uint64_t end) const noexcept {
        return dead >= limits_.min_dead_bytes && dead != 0 &&
               static_cast<double>(dead) >= limits_.dead_ratio * static_cast<double>(end);
    }

    void work() {
        for (;;) {
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [this] { return due_ || stopping_; });
                if (stopping_) return;
                due_ = false;
            }
            const std::uint64_t end = engine_.reference()->journal().completed();
            if (!is_due(engine_.dead_bytes(), end)) continue;
            if (compact_and_tell()) continue;
            // What stood in its way (a full disk, damage) will not be gone at once.
            const std::lock_guard lock(mutex_);
            const std::uint64_t now = engine_.reference()->journal().completed();
            next_look_.store(now + (std::max)(limits_.min_dead_bytes, now / 8), std::memory_order_relaxed);
            due_ = false;
        }
    }

    // False: something stands in its way. Nothing may be thrown out of the thread.
    bool compact_and_tell() noexcept {
#if EMDB_EXCEPTIONS
        try {
            try {
                return compacts();
            } catch (const std::bad_alloc&) {
                tell("Out of memory.");
            }
        } catch (...) {
            // No memory to tell of it either; or the callback for the log threw.
        }
        return false;
#else
        return compacts();
#endif
    }
    bool compacts() {
        const auto compacted = engine_.compact();
        if (compacted || compacted.error() == ErrorCode::stopped) return true;
        tell(compacted.error().message());
        return false;
    }
    void tell(const std::string& why) const {
        engine_.log(LogLevel::warning, "'" + engine_.path_ + "' could not be compacted: " + why);
    }

    Engine& engine_;
    const AutoCompactLimits limits_;
    std::atomic<std::uint64_t> next_look_{0};
    std::mutex mutex_;
    std::condition_variable wake_;
    bool due_ = false;
    bool stopping_ = false;
    std::mutex joining_;
    std::thread thread_;
};

Result<void> Engine::start_auto_compaction() {
    if (!options_.auto_compact) return {};
    auto_compaction_ = std::make_shared<AutoCompaction>(*this, *options_.auto_compact);
    if (auto_compaction_->start()) {
        auto_compaction_->note_write(journal().completed());
        return {};
    }
    return Error(ErrorCode::io, "The system has no thread for auto_compact() of '" + path_ + "'. Free some, or compact it yourself.");
}

void Engine::stop_auto_compaction() {
    if (auto_compaction_ != nullptr) auto_compaction_->stop();
}

// In a forked child, where the thread is not: what waits for it must not run.
void Engine::forget_auto_compaction() { (void)new std::shared_ptr<AutoCompaction>(std::move(auto_compaction_)); }

void Engine::note_compaction() noexcept {
    if (auto_compaction_ != nullptr) auto_compaction_->start_over();
}

void Engine::note_write() noexcept {
    if (auto_compaction_ == nullptr) [[likely]] return;
    std::uint64_t end = 0;
    {
        const Pins::Pin pin(*pins_);
        end = journal().completed();
    }
    auto_compaction_->note_write(end);
}

}  // namespace emdb::detail
