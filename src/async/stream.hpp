#pragma once
// Stream: items that are read ahead of their consumer, up to a bound.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <coroutine>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "async/future.hpp"
#include "base/options.hpp"
#include "base/record_source.hpp"
#include "base/result.hpp"

namespace emdb {

namespace detail {

template <class T>
class Channel;

template <class T>
struct StreamAccess;

/// Lets go of a channel, whose class is known to the implementation only.
template <class T>
struct ReleaseChannel {
    void operator()(Channel<T>* channel) const noexcept;
};
template <class T>
using OwnedChannel = std::unique_ptr<Channel<T>, ReleaseChannel<T>>;

}  // namespace detail

/// Items (`Record`s or keys) of a database, weakly consistent with concurrent writes as the iterators are. At most
/// `EmdbBuilder::stream_depth` of them are in memory beyond what the consumer has taken: then reading waits for the consumer,
/// without a thread. Nothing is read before the first item is asked for. Destroying the Stream stops reading at once. It may
/// outlive every handle of its database.
///
/// An error of reading (those of the iterators and of the call that made the stream, `io` for want of memory) is the last item, behind
/// all that were read before it; after it, as after the end, every item is the end. Besides there are `stopped` in a forked child or
/// from an executor that drops tasks, and `invalid_argument` for a `next()` before the last one has completed. Movable; one thread at a
/// time, and one `next()` at a time. What has been moved from may only be destroyed or assigned to.
///
/// **Cost**: an item is a copy of its record, read by the consumer itself where it may block or runs in a task, else in batches of half
/// the depth by a task.
template <class T>
class Stream {
public:
    /// Record, or std::string for keys.
    using value_type = T;
    /// What comes out: an item, the end (nullopt), or the error that it ended with.
    using Item = Result<std::optional<T>>;

    /// What next() returns: to be awaited while the Stream lives.
    class [[nodiscard]] Next {
    public:
        /// Before it is awaited: a promise's await_transform may hand it on, by value or by reference.
        Next(Next&& other) noexcept : channel_(other.channel_) {}
        Next& operator=(Next&&) = delete;

        /// @{
        /// What `co_await` needs.
        bool await_ready() const noexcept { return is_at_hand(channel_); }
        bool await_suspend(std::coroutine_handle<> coroutine) {
            return waiting_.emplace(Stream::future(channel_)).await_suspend(coroutine);
        }
        Item await_resume() { return waiting_ ? waiting_->await_resume() : take(channel_); }
        /// @}
        /// For everything else that a Future is good for.
        Future<Item> future() { return Stream::future(channel_); }
        /// Calls f(Result<std::optional<T>>), as `Future::then`.
        template <class F>
        auto then(F&& f) {
            return future().then(std::forward<F>(f));
        }
        /// As `next_blocking`; blocks.
        Item get() { return take(channel_); }

    private:
        friend class Stream;
        explicit Next(detail::Channel<T>& channel) noexcept : channel_(channel) {}

        struct Waiting {
            explicit Waiting(Future<Item> next) noexcept : future(std::move(next)), awaiter(future) {}
            bool await_suspend(std::coroutine_handle<> coroutine) {
                return !future.is_ready() && awaiter.await_suspend(coroutine);
            }
            Item await_resume() { return awaiter.await_resume(); }

            Future<Item> future;
            typename Future<Item>::Awaiter awaiter;
        };

        detail::Channel<T>& channel_;
        std::optional<Waiting> waiting_;
    };

    /// @{
    /// The stream that was here before is stopped.
    Stream(Stream&& other) noexcept = default;
    Stream& operator=(Stream&& other) noexcept {
        if (this != &other) {
            stop();
            channel_ = std::move(other.channel_);
        }
        return *this;
    }
    /// @}
    ~Stream() { stop(); }

    /// The next item: `co_await` gives a Result<std::optional<T>>. nullopt: there are no more; an error: it has ended early, and is
    /// at its end. `stopped` for a coroutine that waits while the Stream is destroyed.
    Next next() noexcept { return Next(*channel_); }
    /// The same for threads that may block; nothing is awaited by another thread unless one reads already.
    Item next_blocking() { return take(*channel_); }

private:
    friend struct detail::StreamAccess<T>;
    explicit Stream(detail::OwnedChannel<T> channel) noexcept : channel_(std::move(channel)) {}

    static bool is_at_hand(detail::Channel<T>& channel) noexcept;
    static Item take(detail::Channel<T>& channel);
    static Future<Item> future(detail::Channel<T>& channel);
    void stop() noexcept;

    detail::OwnedChannel<T> channel_;
};

}  // namespace emdb

#endif  // EMDB_ASYNC
