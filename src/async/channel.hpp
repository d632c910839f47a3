#pragma once
// Channel: between the iterator that a stream reads and its consumer. In one of two ways:
//
//   - Directly: a consumer that may block, or runs in a task itself, reads item after item, without a lock and without a copy
//     more than it takes. From memory an item takes a tenth of a microsecond, and waking a thread takes fifty times that. After
//     4,000 items a coroutine is resumed by a task of its own all the same, so that others have their turn on its thread.
//   - By a task, where the consumer's thread is nobody's to read with, and ahead of the consumer where reading is slow (the
//     records come from the disk). Items go over in batches: one that the consumer takes from, and one that is being read or waits
//     for the consumer. Each holds half of the stream's depth, so there are never more items than that. The task ends when its
//     batch is full, and is started again when that has been handed over: a consumer that sleeps blocks no thread, and a stream
//     that is destroyed has nothing to wake.
//
// Nothing is read before the consumer asks for the first item.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
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
        } else {
            error_.emplace(std::move(source).error());
            state_ = State::ended;
        }
    }

    /// Whether next_blocking() would not wait for another thread, and this thread is one to read with.
    bool is_at_hand() const noexcept {
        return next_ < taken_.size() || (reads_directly_ && may_read());
    }

    Future<Item> next() {
        if (next_ < taken_.size()) return ready(take());
        if (fork_count_ != fork_count()) return ready(stopped_error());
        std::unique_lock lock(mutex_);
        if (waiting_) return ready(still_waiting());
        stop_reading_directly();
        for (;;) {
            if (hand_over()) return ready(first(lock));
            if (state_ == State::ended) return ready(end());
            if (state_ == State::reading || reads_ahead() || !may_read()) break;
            if (T item; read_here(lock, item)) return ready(std::move(item));
        }
        in_a_row_ = 0;
        const Ref<ValueState<Item>> waiting(new ValueState<Item>(executor_));
        waiting_ = waiting;
        lock.unlock();
        post_reading();
        return Future<Item>(waiting);
    }

    Item next_blocking() {
        if (next_ < taken_.size()) return take();
        if (reads_directly_) {
            if (T item; read_item(item)) return item;
        }
        if (fork_count_ != fork_count()) return stopped_error();
        std::unique_lock lock(mutex_);
        if (waiting_) return still_waiting();
        stop_reading_directly();
        for (;;) {
            if (hand_over()) return first(lock);
            if (state_ == State::ended) return end();
            if (state_ == State::idle) {
                if (T item; read_here(lock, item)) return item;
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
            if (state_ == State::idle || reads_directly_) {
                state_ = State::ended;
                source = std::move(source_);  // what it pins is let go now, even if a task still refers to this
            }
        }
        if (!waiting) return;
        waiting->fail_with([] {
            return Error(ErrorCode::stopped, "The stream was destroyed before it had the next item. Keep it until next() is done.");
        });
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
        waiting->fail_with(stopped_error);
        waiting->complete();
    }

private:
    enum class State : std::uint8_t { idle, reading, ended };
    static constexpr std::chrono::microseconds slow{20};
    static constexpr unsigned in_a_row_max = 4000;

    bool may_read() const noexcept { return in_a_row_ < in_a_row_max && Frame::runs_on(executor_.get()); }

    template <class Value>
    Future<Item> ready(Value&& value) const {
        return ready_future<Item>(std::forward<Value>(value), executor_);
    }

    T&& take() noexcept { return std::move(taken_[next_++]); }

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
    T&& first(std::unique_lock<std::mutex>& lock) {
        const bool read_ahead = reads_ahead();
        lock.unlock();
        if (read_ahead) post_reading();
        return take();
    }

    bool reads_ahead() const noexcept { return is_slow_ && !one_batch_; }

    // On the consumer's thread, when nobody else reads: an item, or else a batch or the end.
    bool read_here(std::unique_lock<std::mutex>& lock, T& item) {
        state_ = State::reading;
        reads_directly_ = !reads_ahead();
        lock.unlock();
        if (!reads_directly_) {
            read_batch();
        } else if (read_item(item)) {
            return true;
        }
        lock.lock();
        stop_reading_directly();
        return false;
    }

    // With the lock.
    void stop_reading_directly() noexcept {
        if (std::exchange(reads_directly_, false) && state_ == State::reading) state_ = State::idle;
    }

    // False: there are no more, or reading has become slow.
    bool read_item(T& item) {
        if (fork_count_ != fork_count() || reads_ahead()) return false;
        constexpr unsigned timed_one_in = 64;
        const bool timed = ++in_a_row_ % timed_one_in == 0;
        const auto begun = timed ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
        RecordView record;
        if (!source_->next(record)) {
            std::unique_ptr<RecordSource> finished;
            const std::lock_guard lock(mutex_);
            end_reading();
            finished = std::move(source_);
            return false;
        }
        copy(record, item);
        if (timed) is_slow_ = std::chrono::steady_clock::now() - begun > slow;
        return true;
    }

    static void copy(const RecordView& record, T& item) {
        if constexpr (std::is_same_v<T, Record>) {
            item.key = std::string(record.key);
            item.value = std::string(record.value);
        } else {
            item = std::string(record.key);
        }
    }

    // The source has no more. With the lock.
    void end_reading() {
        state_ = State::ended;
        if (auto status = source_->status(); !status) error_.emplace(std::move(status).error());
    }

    Item end() {
        if (failure_) rethrow(std::exchange(failure_, nullptr));
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

    // By whoever has made the state `reading`; read_ is that thread's meanwhile.
    void read_batch() noexcept {
        const auto begun = std::chrono::steady_clock::now();
        std::exception_ptr failure;
        bool more = true;
        keep_failure(failure, [&] {
            while (read_.size() < batch_size_ && !stopped_.load(std::memory_order_relaxed)) {
                RecordView record;
                more = source_->next(record);
                if (!more) break;
                copy(record, read_.emplace_back());
            }
        });
        const bool was_slow = std::chrono::steady_clock::now() - begun > slow;
        std::unique_ptr<RecordSource> finished;
        Ref<ValueState<Item>> waiting;
        bool read_ahead = false;
        {
            const std::lock_guard lock(mutex_);
            is_slow_ = was_slow;
            state_ = State::idle;
            if (!more) keep_failure(failure, [&] { end_reading(); });
            if (failure) {
                keep_failure(failure_, [&] {
                    error_.emplace(ErrorCode::io, "Out of memory for the items of a stream. Free some, and read it again.");
                });
                state_ = State::ended;
            }
            if (stopped_.load(std::memory_order_relaxed)) state_ = State::ended;
            if (state_ == State::ended) finished = std::move(source_);
            waiting = std::move(waiting_);
            if (waiting && hand_over()) {
                waiting->value.emplace(take());
                read_ahead = reads_ahead();
            } else if (waiting) {
                keep_failure(waiting->failure, [&] { waiting->value.emplace(end()); });
            }
        }
        batch_read_.notify_all();
        if (!waiting) return;
        if (read_ahead) post_reading();
        waiting->complete();
    }

    const std::shared_ptr<Executor> executor_;
    const std::uint32_t fork_count_;
    const std::size_t batch_size_;
    const bool one_batch_;  ///< with a depth of 1 nothing is read before the last item has been taken

    // The consumer's.
    std::vector<T> taken_;
    std::size_t next_ = 0;
    bool reads_directly_ = false;  ///< the state is `reading`, by the consumer
    unsigned in_a_row_ = 0;  ///< items since a task was last waited for

    std::mutex mutex_;  ///< guards what follows
    std::condition_variable batch_read_;
    State state_ = State::idle;
    bool posted_ = false;
    bool is_slow_ = false;  ///< how reading went last; whoever reads may look at it, too
    std::unique_ptr<RecordSource> source_;
    std::vector<T> read_;
    std::optional<Error> error_;
    std::exception_ptr failure_;  ///< there was not even the memory for an error
    Ref<ValueState<Item>> waiting_;

    std::atomic<bool> stopped_{false};
};

}  // namespace emdb::detail

#endif  // EMDB_ASYNC
