#pragma once
// Channel: between the iterator that a stream reads and its consumer.
//
// Items go over in batches. There are two: one that the consumer takes items from, and one that is being filled or waits for the
// consumer. Each holds half of the stream's depth, so that never more items exist than that. Reading is a task that ends when its
// batch is full and is started again when that has been handed over: a consumer that sleeps blocks no thread, and a stream that
// is destroyed has nothing to wake.
//
// A consumer that may block, or runs in a task itself, and finds nothing read, reads a batch by itself if nobody is at it: waking
// a thread would take longer. Where it always comes before the reading task (it does next to nothing with an item), that is
// started less and less often.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "async/future.hpp"
#include "async/future_state.hpp"
#include "async/pool.hpp"
#include "async/running.hpp"
#include "async/stream.hpp"
#include "base/options.hpp"
#include "base/record_source.hpp"
#include "base/result.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

template <class T>
class Channel final : public Task {
public:
    using Item = Result<std::optional<T>>;

    Channel(Result<std::unique_ptr<RecordSource>> source, std::shared_ptr<Executor> executor, std::size_t depth)
        : executor_(std::move(executor)), fork_count_(fork_count()), batch_size_((std::max)(depth / 2, std::size_t{1})),
          one_batch_(depth == 1) {
        if (source) {
            source_ = std::move(*source);
            taken_.reserve(batch_size_);
            read_.reserve(one_batch_ ? 0 : batch_size_);
        } else {
            error_.emplace(std::move(source).error());
            state_ = State::ended;
        }
    }

    /// Reads ahead for the first time.
    void start() {
        if (state_ == State::idle && !one_batch_) post_reading();
    }

    Future<Item> next() {
        if (next_ < taken_.size()) return ready(take());
        if (fork_count_ != fork_count()) return ready(stopped_error());
        const bool may_read = Frame::runs_on(executor_.get());
        std::unique_lock lock(mutex_);
        if (waiting_) return ready(still_waiting());
        for (;;) {
            if (hand_over()) return ready(first(lock));
            if (state_ == State::ended) return ready(end());
            if (state_ == State::reading || !may_read) break;
            read_here(lock);
        }
        const Ref<ValueState<Item>> waiting(new ValueState<Item>(executor_));
        waiting_ = waiting;
        lock.unlock();
        post_reading();
        return Future<Item>(waiting);
    }

    Item next_blocking() {
        if (next_ < taken_.size()) return take();
        if (fork_count_ != fork_count()) return stopped_error();
        std::unique_lock lock(mutex_);
        if (waiting_) return still_waiting();
        for (;;) {
            if (hand_over()) return first(lock);
            if (state_ == State::ended) return end();
            if (state_ == State::idle) {
                read_here(lock);
            } else {
                const Pool::Blocking blocking;
                batch_read_.wait(lock, [this] { return state_ != State::reading; });
            }
        }
    }

    /// The consumer is gone.
    void stop() noexcept {
        stopped_.store(true, std::memory_order_relaxed);
        Ref<ValueState<Item>> waiting;
        std::unique_ptr<RecordSource> source;
        if (fork_count_ == fork_count()) {
            const std::lock_guard lock(mutex_);
            waiting = std::move(waiting_);
            if (state_ == State::idle) {
                state_ = State::ended;
                source = std::move(source_);  // what it pins is let go now, even if a task still refers to this
            }
        }
        if (!waiting) return;
        waiting->value.emplace(Error(ErrorCode::stopped, "The stream was destroyed before it had the next item."));
        waiting->complete();
    }

    void execute() noexcept override {
        {
            const std::lock_guard lock(mutex_);
            posted_ = false;
            // The consumer may have read it by itself, or be gone.
            if (state_ != State::idle || !read_.empty()) return;
            if (one_batch_ && !waiting_) return;
            state_ = State::reading;
        }
        read_batch();
    }

    // Reading stays undone until the consumer asks again; one that waits is told.
    void drop() noexcept override {
        Ref<ValueState<Item>> waiting;
        {
            const std::lock_guard lock(mutex_);
            posted_ = false;
            waiting = std::move(waiting_);
        }
        if (!waiting) return;
        waiting->fail(stopped_error());
        waiting->complete();
    }

private:
    enum class State : std::uint8_t { idle, reading, ended };
    static constexpr std::uint32_t skipping_max = 63;

    Future<Item> ready(Item item) const { return Future<Item>(std::move(item), executor_); }

    Item take() { return std::optional<T>(std::move(taken_[next_++])); }

    static Error still_waiting() {
        return Error(ErrorCode::invalid_argument, "The stream's last next() has not completed. Await it before the next one.");
    }

    // The consumer's batch is used up: it gets the one that has been read, if there is one.
    bool hand_over() noexcept {
        taken_.clear();
        next_ = 0;
        if (state_ == State::reading || read_.empty()) return false;
        taken_.swap(read_);
        return true;
    }

    // Of a batch that was handed over; meanwhile the next one may be read.
    Item first(std::unique_lock<std::mutex>& lock) {
        lock.unlock();
        if (batches_to_skip_ != 0) {
            --batches_to_skip_;
        } else if (!one_batch_) {
            post_reading();
        }
        return take();
    }

    // The consumer reads by itself. If it was asked to be read ahead, the consumer was quicker than a task can be started.
    void read_here(std::unique_lock<std::mutex>& lock) {
        skipping_ = posted_ ? (std::min)(2 * skipping_ + 1, skipping_max) : 0;
        batches_to_skip_ = skipping_;
        state_ = State::reading;
        lock.unlock();
        read_batch();
        lock.lock();
    }

    Item end() {
        if (error_) return std::move(*std::exchange(error_, std::nullopt));
        return std::optional<T>();
    }

    void post_reading() noexcept {
        {
            const std::lock_guard lock(mutex_);
            if (posted_ || state_ != State::idle) return;
            posted_ = true;
        }
        post(executor_, *this);
    }

    // By whoever has made the state `reading`.
    void read_batch() noexcept {
        std::exception_ptr failure;
        bool more = true;
        // read_ is this thread's while it is read.
        keep_failure(failure, [&] {
            while (read_.size() < batch_size_ && !stopped_.load(std::memory_order_relaxed)) {
                RecordView record;
                more = source_->next(record);
                if (!more) break;
                if constexpr (std::is_same_v<T, Record>) {
                    read_.push_back({std::string(record.key), std::string(record.value)});
                } else {
                    read_.emplace_back(record.key);
                }
            }
        });
        std::unique_ptr<RecordSource> finished;
        Ref<ValueState<Item>> waiting;
        {
            const std::lock_guard lock(mutex_);
            if (failure || !more) {
                if (failure) {
                    error_.emplace(ErrorCode::io, "Out of memory for the items of a stream. Free some, and read it again.");
                } else if (auto status = source_->status(); !status) {
                    error_.emplace(std::move(status).error());
                }
            }
            const bool ended = failure || !more || stopped_.load(std::memory_order_relaxed);
            if (ended) finished = std::move(source_);
            state_ = ended ? State::ended : State::idle;
            if (waiting_) {
                waiting = std::move(waiting_);
                if (hand_over()) {
                    waiting->value.emplace(take());
                } else {
                    waiting->value.emplace(end());
                }
            }
        }
        batch_read_.notify_all();
        if (!waiting) return;
        // The rest of the batch has been handed over with its first item.
        if (!one_batch_) post_reading();
        waiting->complete();
    }

    const std::shared_ptr<Executor> executor_;
    const std::uint32_t fork_count_;
    const std::size_t batch_size_;
    const bool one_batch_;  ///< with a depth of 1 nothing is read before the last item has been taken

    // The consumer's.
    std::vector<T> taken_;
    std::size_t next_ = 0;
    std::uint32_t skipping_ = 0;
    std::uint32_t batches_to_skip_ = 0;  ///< how many are handed over without asking for the next to be read ahead

    std::mutex mutex_;  ///< guards what follows
    std::condition_variable batch_read_;
    State state_ = State::idle;
    bool posted_ = false;
    std::unique_ptr<RecordSource> source_;
    std::vector<T> read_;
    std::optional<Error> error_;
    Ref<ValueState<Item>> waiting_;

    std::atomic<bool> stopped_{false};
};

}  // namespace emdb::detail

#endif  // EMDB_ASYNC
