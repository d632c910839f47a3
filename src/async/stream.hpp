#pragma once
// Stream: items that are read ahead of their consumer, up to a bound.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <cstddef>
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

}  // namespace detail

/// Items (`Record`s or keys) of a database, weakly consistent with concurrent writes as the iterators are. They are read ahead in
/// the pool or executor, at most `EmdbBuilder::stream_depth` of them beyond what the consumer has taken: then reading waits for
/// the consumer, without a thread. Destroying the Stream stops it at once. It may outlive every handle of its database.
///
/// An error is the last item. Movable; one thread at a time, and one `next()` at a time.
template <class T>
class Stream {
public:
    using value_type = T;

    Stream(Stream&& other) noexcept = default;
    Stream& operator=(Stream&& other) noexcept {
        if (this != &other) {
            stop();
            channel_ = std::move(other.channel_);
        }
        return *this;
    }
    ~Stream() { stop(); }

    /// The next item; nullopt: there are no more; an error: it has ended early, and is at its end. A next() whose Stream is
    /// destroyed meanwhile is `stopped`.
    Future<Result<std::optional<T>>> next();
    /// The same for threads that may block.
    Result<std::optional<T>> next_blocking();

private:
    friend struct detail::StreamAccess<T>;
    explicit Stream(detail::Ref<detail::Channel<T>> channel) noexcept : channel_(std::move(channel)) {}
    void stop() noexcept;

    detail::Ref<detail::Channel<T>> channel_;
};

}  // namespace emdb

#endif  // EMDB_ASYNC
