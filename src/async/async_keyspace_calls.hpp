#pragma once
// From the asynchronous data calls to the synchronous ones.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async/async_core.hpp"
#include "async/async_keyspace.hpp"
#include "async/channel.hpp"
#include "async/making_calls.hpp"
#include "async/stream.hpp"
#include "engine/engine.hpp"

namespace emdb {

AsyncKeyspace::AsyncKeyspace(std::shared_ptr<detail::AsyncHandle> handle, std::shared_ptr<detail::AsyncTarget> target) noexcept
    : handle_(std::move(handle)), target_(std::move(target)) {}

Future<Result<void>> AsyncKeyspace::insert(Bytes key, Bytes value) {
    return detail::make_call<void>(target_, detail::CallKind::write,
                                   [](Keyspace& on, Bytes k, Bytes v) { return on.insert(k, v); }, key, value);
}

Future<Result<std::optional<std::string>>> AsyncKeyspace::get(Bytes key) const {
    return detail::make_call<std::optional<std::string>>(target_, detail::CallKind::read,
                                                         [](Keyspace& on, Bytes k) { return on.get(k); }, key);
}

Future<Result<std::string>> AsyncKeyspace::get_or(Bytes key, Bytes fallback) const {
    const auto work = [](Keyspace& on, Bytes k, Bytes f) { return on.get_or(k, f); };
    return detail::make_call<std::string>(target_, detail::CallKind::read, work, key, fallback);
}

Future<Result<bool>> AsyncKeyspace::get_into(Bytes key, std::string& out) const {
    return detail::make_call<bool>(target_, detail::CallKind::read, [&out](Keyspace& on, Bytes k) { return on.get_into(k, out); }, key);
}

Future<Result<std::optional<ValueRef>>> AsyncKeyspace::get_zerocopy(Bytes key) const {
    const auto work = [](Keyspace& on, Bytes k) { return on.get_zerocopy(k); };
    return detail::make_call<std::optional<ValueRef>>(target_, detail::CallKind::read, work, key);
}

Future<Result<std::vector<std::optional<std::string>>>> AsyncKeyspace::get_many(std::initializer_list<Bytes> keys) const {
    return get_many(std::span<const Bytes>(keys.begin(), keys.size()));
}

Future<Result<std::vector<std::optional<std::string>>>> AsyncKeyspace::get_many(std::span<const Bytes> keys) const {
    auto work = [copies = detail::CopiedKeys(keys)](Keyspace& on) { return on.get_many(copies); };
    return detail::make_call<std::vector<std::optional<std::string>>>(target_, detail::CallKind::read, std::move(work));
}

Future<Result<std::size_t>> AsyncKeyspace::visit_each(std::span<const Bytes> keys,
                                                      detail::SharedFunction<void(std::size_t, detail::MaybeView)> visit) const {
    auto work = [copies = detail::CopiedKeys(keys), visit = std::move(visit)](Keyspace& on) {
        return on.visit_many(std::span<const Bytes>(copies), visit);
    };
    return detail::make_call<std::size_t>(target_, detail::CallKind::read, std::move(work));
}

Future<Result<std::optional<std::string>>> AsyncKeyspace::remove(Bytes key) {
    return detail::make_call<std::optional<std::string>>(target_, detail::CallKind::write,
                                                         [](Keyspace& on, Bytes k) { return on.remove(k); }, key);
}

Future<Result<bool>> AsyncKeyspace::contains_key(Bytes key) const {
    return detail::make_call<bool>(target_, detail::CallKind::read, [](Keyspace& on, Bytes k) { return on.contains_key(k); }, key);
}

Future<Result<bool>> AsyncKeyspace::compare_exchange(Bytes key, std::optional<Bytes> expected, std::optional<Bytes> desired) {
    auto work = [has_expected = expected.has_value(), has_desired = desired.has_value()](Keyspace& on, Bytes k, Bytes e, Bytes d) {
        return on.compare_exchange(k, has_expected ? std::optional(e) : std::nullopt, has_desired ? std::optional(d) : std::nullopt);
    };
    return detail::make_call<bool>(target_, detail::CallKind::write, work, key, expected.value_or(Bytes()), desired.value_or(Bytes()));
}

Future<Result<void>> AsyncKeyspace::update_with(Bytes key,
                                                detail::SharedFunction<Result<detail::MaybeValue>(detail::MaybeView)> change) {
    auto work = [change = std::move(change)](Keyspace& on, Bytes k) {
        return on.update(k, [&change](detail::MaybeView current) {
            const detail::UserCode inside;
            return change(current);
        });
    };
    return detail::make_call<void>(target_, detail::CallKind::write, std::move(work), key);
}

Future<Result<std::size_t>> AsyncKeyspace::len() const {
    return detail::make_call<std::size_t>(target_, detail::CallKind::read, [](Keyspace& on) { return on.len(); });
}

Future<Result<bool>> AsyncKeyspace::is_empty() const {
    return detail::make_call<bool>(target_, detail::CallKind::read, [](Keyspace& on) { return on.is_empty(); });
}

Future<Result<void>> AsyncKeyspace::clear() {
    return detail::make_call<void>(target_, detail::CallKind::write, [](Keyspace& on) { return on.clear(); });
}

Future<Result<void>> AsyncKeyspace::insert_records(std::vector<Record> records) {
    auto work = [records = std::move(records)](Keyspace& on) { return on.insert_many(records); };
    return detail::make_call<void>(target_, detail::CallKind::write, std::move(work));
}

namespace detail {

template <class Iteration>
auto collected(Result<Iteration> iteration) -> decltype(iteration->collect()) {
    if (!iteration) return std::move(iteration).error();
    return iteration->collect();
}

}  // namespace detail

Future<Result<std::vector<Record>>> AsyncKeyspace::iter() const {
    return detail::make_call<std::vector<Record>>(target_, detail::CallKind::read,
                                                  [](Keyspace& on) { return detail::collected(on.iter()); });
}

Future<Result<std::vector<std::string>>> AsyncKeyspace::keys() const {
    return detail::make_call<std::vector<std::string>>(target_, detail::CallKind::read,
                                                       [](Keyspace& on) { return detail::collected(on.keys()); });
}

Future<Result<std::vector<Record>>> AsyncKeyspace::range(const Range& range) const {
    return detail::make_call<std::vector<Record>>(target_, detail::CallKind::read,
                                                  [range = Range(range)](Keyspace& on) { return on.range(range); });
}

Future<Result<std::vector<Record>>> AsyncKeyspace::range_prefix(Bytes prefix) const {
    const auto work = [](Keyspace& on, Bytes p) { return on.range_prefix(p); };
    return detail::make_call<std::vector<Record>>(target_, detail::CallKind::read, work, prefix);
}

Future<Result<std::vector<Record>>> AsyncKeyspace::iter_from(Bytes start) const {
    const auto work = [](Keyspace& on, Bytes s) { return detail::collected(on.iter_from(s)); };
    return detail::make_call<std::vector<Record>>(target_, detail::CallKind::read, work, start);
}

Future<Result<std::vector<Record>>> AsyncKeyspace::iter_after(Bytes start) const {
    const auto work = [](Keyspace& on, Bytes s) { return detail::collected(on.iter_after(s)); };
    return detail::make_call<std::vector<Record>>(target_, detail::CallKind::read, work, start);
}

#if EMDB_TTL
Future<Result<void>> AsyncKeyspace::insert_with_ttl(Bytes key, Bytes value, Ttl ttl) {
    auto work = [ttl](Keyspace& on, Bytes k, Bytes v) { return on.insert_with_ttl(k, v, ttl); };
    return detail::make_call<void>(target_, detail::CallKind::write, std::move(work), key, value);
}

Future<Result<std::optional<std::uint64_t>>> AsyncKeyspace::expires_at(Bytes key) const {
    const auto work = [](Keyspace& on, Bytes k) { return on.expires_at(k); };
    return detail::make_call<std::optional<std::uint64_t>>(target_, detail::CallKind::read, work, key);
}

Future<Result<std::optional<std::chrono::milliseconds>>> AsyncKeyspace::ttl(Bytes key) const {
    const auto work = [](Keyspace& on, Bytes k) { return on.ttl(k); };
    return detail::make_call<std::optional<std::chrono::milliseconds>>(target_, detail::CallKind::read, work, key);
}

Future<Result<bool>> AsyncKeyspace::persist(Bytes key) {
    return detail::make_call<bool>(target_, detail::CallKind::write, [](Keyspace& on, Bytes k) { return on.persist(k); }, key);
}

Future<Result<std::size_t>> AsyncKeyspace::sweep_expired() {
    return detail::make_call<std::size_t>(target_, detail::CallKind::write, [](Keyspace& on) { return on.sweep_expired(); });
}
#endif

#if EMDB_NESTED
Future<Result<std::vector<Record>>> AsyncKeyspace::group(std::string_view prefix) const {
    const auto work = [](Keyspace& on, Bytes p) { return on.group(p.as_string_view()); };
    return detail::make_call<std::vector<Record>>(target_, detail::CallKind::read, work, Bytes(prefix));
}

Future<Result<std::size_t>> AsyncKeyspace::delete_group(std::string_view prefix) {
    const auto work = [](Keyspace& on, Bytes p) { return on.delete_group(p.as_string_view()); };
    return detail::make_call<std::size_t>(target_, detail::CallKind::write, work, Bytes(prefix));
}
#endif

// Streams

template <class T>
bool Stream<T>::is_at_hand(detail::Channel<T>& channel) noexcept {
    return channel.is_at_hand();
}

template <class T>
Result<std::optional<T>> Stream<T>::take(detail::Channel<T>& channel) {
    return channel.next_blocking();
}

template <class T>
Future<Result<std::optional<T>>> Stream<T>::future(detail::Channel<T>& channel) {
    return channel.next();
}

template <class T>
void Stream<T>::stop() noexcept {
    if (channel_) channel_->stop();
}

template <class T>
void detail::ReleaseChannel<T>::operator()(Channel<T>* channel) const noexcept {
    channel->release();
}

template struct detail::ReleaseChannel<Record>;
template struct detail::ReleaseChannel<std::string>;
template class Stream<Record>;
template class Stream<std::string>;

namespace detail {

template <class T>
struct StreamAccess {
    static Stream<T> open(AsyncTarget& target, Result<std::unique_ptr<RecordSource>> source) {
        AsyncCore& core = *target.core();
        const Ref<Channel<T>> channel(new Channel<T>(std::move(source), core.executor(), core.engine().options().stream_depth));
        return wrap(channel);
    }
    static Stream<T> wrap(const Ref<Channel<T>>& channel) noexcept {
        channel->retain();
        return Stream<T>(OwnedChannel<T>(&*channel));
    }
};

}  // namespace detail

Stream<Record> AsyncKeyspace::iter_stream() const { return detail::StreamAccess<Record>::open(*target_, target_->iterate()); }

Stream<std::string> AsyncKeyspace::keys_stream() const {
    return detail::StreamAccess<std::string>::open(*target_, target_->iterate());
}

Stream<Record> AsyncKeyspace::range_stream(const Range& range) const {
    return detail::StreamAccess<Record>::open(*target_, target_->iterate(range));
}

Stream<Record> AsyncKeyspace::range_prefix_stream(Bytes prefix) const { return range_stream(Range::prefix(prefix)); }

Stream<Record> AsyncKeyspace::iter_from_stream(Bytes start) const { return range_stream(Range::from(start)); }

Stream<Record> AsyncKeyspace::iter_after_stream(Bytes start) const { return range_stream(Range::after(start)); }

}  // namespace emdb

#endif  // EMDB_ASYNC
