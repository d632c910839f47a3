#pragma once
// AsyncKeyspace: the asynchronous data operations, shared by AsyncEmdb (the default keyspace) and AsyncNamespace (a named one).

#include "base/config.hpp"

#if EMDB_ASYNC

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "api/keyspace.hpp"
#include "api/value_ref.hpp"
#include "async/call.hpp"
#include "async/future.hpp"
#include "async/stream.hpp"
#include "base/bytes.hpp"
#include "base/function_ref.hpp"
#include "base/options.hpp"
#include "base/range.hpp"
#include "base/result.hpp"
#include "base/ttl.hpp"

namespace emdb {

namespace detail {

class AsyncHandle;

}  // namespace detail

/// The data operations of `Keyspace`, each made in the pool or executor, with the same meaning and the same errors. Arguments
/// are copied before a call returns, unless said otherwise. Calls that are under way together may be made in any order: await one before
/// making another that depends on it. All but reads are `invalid_argument` when made by a transaction's own closure. A call does not
/// block (unless the executor runs tasks inside `post`); for want of memory it throws `std::bad_alloc` and is not made. Writes that
/// the flush policy has wait for a sync, and those that come while a transaction runs, wait without a thread. What a Future is and
/// costs: see there.
///
/// Handles are cheap to copy and may be used from any thread. Dropping the last one cancels nothing: calls that have been made
/// are carried out, and the last of them closes the database. A thread that drops the last handle waits for that; not so where
/// calls run on an executor, and in a task of the pool (a coroutine, a `then` callback): they might need that thread.
class AsyncKeyspace {
public:
    /// @{
    /// Another handle of the same keyspace; a cheap copy.
    AsyncKeyspace(const AsyncKeyspace&) noexcept = default;
    AsyncKeyspace(AsyncKeyspace&&) noexcept = default;
    // Not member by member: what was here is let go in the order of destruction, for the last handle waits until nothing else uses the
    // database.
    AsyncKeyspace& operator=(AsyncKeyspace other) noexcept {
        handle_.swap(other.handle_);
        target_.swap(other.target_);
        return *this;
    }
    /// @}
    ~AsyncKeyspace() = default;

    /// @{
    /// As the calls of `Keyspace` with the same names.
    Future<Result<void>> insert(Bytes key, Bytes value);
    Future<Result<std::optional<std::string>>> get(Bytes key) const;
    Future<Result<std::string>> get_or(Bytes key, Bytes fallback) const;
    /// @}
    /// As `Keyspace::get_into`. `out` is written to before the Future completes, and must live until then, also if that is dropped.
    Future<Result<bool>> get_into(Bytes key, std::string& out) const;
    /// @{
    /// As the calls of `Keyspace` with the same names. The ValueRef stays valid as ever.
    Future<Result<std::optional<ValueRef>>> get_zerocopy(Bytes key) const;
    Future<Result<std::vector<std::optional<std::string>>>> get_many(std::span<const Bytes> keys) const;
    Future<Result<std::vector<std::optional<std::string>>>> get_many(std::initializer_list<Bytes> keys) const;
    template <detail::range_of_bytes Keys>
    Future<Result<std::vector<std::optional<std::string>>>> get_many(Keys&& keys) const {
        return detail::with_key_span(std::forward<Keys>(keys), [this](std::span<const Bytes> views) { return get_many(views); });
    }
    /// @}
    /// @{
    /// As `Keyspace::visit_many`. f is copied or moved, and called in the pool or executor. What it throws is rethrown to whoever takes
    /// the outcome.
    template <class F>
    Future<Result<std::size_t>> visit_many(std::span<const Bytes> keys, F&& f) const {
        return visit_each(keys, detail::SharedFunction<void(std::size_t, detail::MaybeView)>(std::forward<F>(f)));
    }
    template <class F>
    Future<Result<std::size_t>> visit_many(std::initializer_list<Bytes> keys, F&& f) const {
        return visit_many(std::span<const Bytes>(keys.begin(), keys.size()), std::forward<F>(f));
    }
    template <detail::range_of_bytes Keys, class F>
    Future<Result<std::size_t>> visit_many(Keys&& keys, F&& f) const {
        return detail::with_key_span(std::forward<Keys>(keys), [&](std::span<const Bytes> views) {
            return visit_many(views, std::forward<F>(f));
        });
    }
    /// @}
    /// @{
    /// As the calls of `Keyspace` with the same names.
    Future<Result<std::optional<std::string>>> remove(Bytes key);
    Future<Result<bool>> contains_key(Bytes key) const;
    Future<Result<bool>> compare_exchange(Bytes key, std::optional<Bytes> expected, std::optional<Bytes> desired);
    /// @}
    /// As `Keyspace::update`. f is copied or moved, and called in the pool or executor. What it throws is rethrown to whoever takes the
    /// outcome.
    template <class F>
    Future<Result<void>> update(Bytes key, F&& f) {
        return update_with(key, [f = std::make_shared<std::decay_t<F>>(std::forward<F>(f))](detail::MaybeView current) {
            return Result<detail::MaybeValue>((*f)(current));
        });
    }
    /// @{
    /// As the calls of `Keyspace` with the same names.
    Future<Result<std::size_t>> len() const;
    Future<Result<bool>> is_empty() const;
    Future<Result<void>> clear();
    /// @}
    /// The pairs are copied before the call returns, all of them, so memory is not bounded; they count one by one, as in
    /// `Keyspace::insert_many`. What the range throws passes through, and nothing is stored.
    template <class Pairs>
    Future<Result<void>> insert_many(Pairs&& pairs) {
        std::vector<Record> records;
        for (auto&& pair : pairs) {
            auto&& [key, value] = pair;
            records.push_back({std::string(Bytes(key).as_string_view()), std::string(Bytes(value).as_string_view())});
        }
        return insert_records(std::move(records));
    }

    /// @{
    /// All records, or keys, of what the calls of `Keyspace` with the same names go through, collected. An error instead of all of them if
    /// one is damaged; `invalid_config` where range scans are needed and not enabled.
    Future<Result<std::vector<Record>>> iter() const;
    Future<Result<std::vector<std::string>>> keys() const;
    Future<Result<std::vector<Record>>> range(const Range& range) const;
    Future<Result<std::vector<Record>>> range_prefix(Bytes prefix) const;
    Future<Result<std::vector<Record>>> iter_from(Bytes start) const;
    Future<Result<std::vector<Record>>> iter_after(Bytes start) const;
    /// @}

    /// @{
    /// The same one by one, in bounded memory. Whatever is wrong with the call comes as the stream's first item. Returns at once; nothing
    /// is read before the first item is asked for. A stream does not keep the database open, and outlives it.
    Stream<Record> iter_stream() const;
    Stream<std::string> keys_stream() const;
    Stream<Record> range_stream(const Range& range) const;
    Stream<Record> range_prefix_stream(Bytes prefix) const;
    Stream<Record> iter_from_stream(Bytes start) const;
    Stream<Record> iter_after_stream(Bytes start) const;
    /// @}

#if EMDB_TTL
    /// @{
    /// As the calls of `Keyspace` with the same names.
    Future<Result<void>> insert_with_ttl(Bytes key, Bytes value, Ttl ttl);
    Future<Result<std::optional<std::uint64_t>>> expires_at(Bytes key) const;
    Future<Result<std::optional<std::chrono::milliseconds>>> ttl(Bytes key) const;
    Future<Result<bool>> persist(Bytes key);
    Future<Result<std::size_t>> sweep_expired();
    /// @}
#endif

#if EMDB_NESTED
    /// @{
    /// As the calls of `Keyspace` with the same names.
    Future<Result<std::vector<Record>>> group(std::string_view prefix) const;
    Future<Result<std::size_t>> delete_group(std::string_view prefix);
    /// @}
#endif

protected:
    AsyncKeyspace(std::shared_ptr<detail::AsyncHandle> handle, std::shared_ptr<detail::AsyncTarget> target) noexcept;

    Future<Result<std::size_t>> visit_each(std::span<const Bytes> keys,
                                           detail::SharedFunction<void(std::size_t, detail::MaybeView)> visit) const;
    Future<Result<void>> update_with(Bytes key, detail::SharedFunction<Result<detail::MaybeValue>(detail::MaybeView)> change);
    Future<Result<void>> insert_records(std::vector<Record> records);

    std::shared_ptr<detail::AsyncHandle> handle_;  // released last
    std::shared_ptr<detail::AsyncTarget> target_;
};

}  // namespace emdb

#endif  // EMDB_ASYNC
