#pragma once
// Keyspace: the data operations, shared by Emdb (the default keyspace) and Namespace (a named one).

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "api/iterators.hpp"
#include "api/value_ref.hpp"
#include "base/bytes.hpp"
#include "base/config.hpp"
#include "base/function_ref.hpp"
#include "base/options.hpp"
#include "base/range.hpp"
#include "base/result.hpp"
#include "base/ttl.hpp"

namespace emdb {

#if EMDB_NESTED
class Focus;
#endif

namespace detail {

class AsyncTarget;
class Engine;
struct KeyspaceState;

using MaybeValue = std::optional<std::string>;
using MaybeView = std::optional<std::string_view>;

class BulkLoad;

/// What `insert_many` loads through. Not a unique_ptr, as others here are not: a compiler takes 5 ms for one, in every file.
class OwnedBulkLoad {
public:
    OwnedBulkLoad(Engine& engine, KeyspaceState& keyspace);
    OwnedBulkLoad(const OwnedBulkLoad&) = delete;
    OwnedBulkLoad& operator=(const OwnedBulkLoad&) = delete;
    ~OwnedBulkLoad();
    Result<void> add(Bytes key, Bytes value);
    Result<void> finish();

private:
    BulkLoad* load_;
};

template <class T, class... Types>
constexpr bool is_one_of = (std::is_same_v<std::remove_cvref_t<T>, Types> || ...);

/// Ranges whose elements can be viewed while the range itself lives: it holds them, or gives out views of what lives elsewhere.
/// Other ranges have their elements copied first.
template <class Range, class Element = decltype(*std::begin(std::declval<Range&>()))>
concept viewable_elements =
    std::forward_iterator<decltype(std::begin(std::declval<Range&>()))> &&
    (std::is_lvalue_reference_v<Element> || is_one_of<Element, Bytes, std::string_view, const char*, char*,
                                                      std::span<const std::byte>, std::span<const unsigned char>>);

template <class Range>
concept range_of_bytes = !std::is_convertible_v<Range, std::span<const Bytes>> &&
                         requires(Range&& range) { Bytes(*std::begin(range)); };

/// Calls f(span of Bytes) for any range whose elements convert to Bytes. View and Copy are not for callers: as parameters they keep
/// files that never call this from instantiating two vectors, which is a tenth of what including the declarations costs.
template <class Range, class F, class View = Bytes, class Copy = std::string>
auto with_key_span(Range&& range, F&& f) {
    std::vector<View> views;
    std::vector<Copy> copies;
    if constexpr (viewable_elements<Range>) {
        for (auto&& key : range) views.push_back(Bytes(key));
    } else {
        for (auto&& key : range) copies.emplace_back(Bytes(key).as_string_view());
        views.assign(copies.begin(), copies.end());
    }
    return f(std::span<const Bytes>(views));
}

}  // namespace detail

/// The data operations on one keyspace. Handles are cheap to copy, share one engine, and may be used from any number of
/// threads at once. Keys are up to 2^24-1 bytes, values up to 2^32-1; both may be empty and hold any byte; more is
/// `too_large`.
///
/// Errors that every call may return besides its own: `stopped` after `close()` or in a forked child; `invalid_argument`
/// through a handle of a dropped namespace; `corrupted`, with the offset, where the bytes on disk are not what was written.
/// Every write may also return `poisoned` after an earlier failed write or sync, `io`, and `invalid_argument` when it is made
/// by a transaction's own closure.
///
/// A write that returned is seen by every later read and survives the process being killed; see `Emdb::flush()` for power
/// cuts. Reads never wait for I/O or for another caller's code.
class Keyspace {
public:
    /// Stores a value, replacing what the key had. Cost: a copy into the file's map and an update of the index; no I/O is waited for
    /// unless the flush policy says so.
    Result<void> insert(Bytes key, Bytes value);
    /// The value, copied; nullopt: no such key. About two cache misses and a copy.
    Result<std::optional<std::string>> get(Bytes key) const;
    /// As `get`, with a copy of `fallback` where there is no such key.
    Result<std::string> get_or(Bytes key, Bytes fallback) const;
    /// Copies the value into `out`, reusing its capacity. False: no such key, and `out` is left as it was.
    Result<bool> get_into(Bytes key, std::string& out) const;
    /// The value in place, without a copy; it stays valid for as long as the ValueRef lives.
    Result<std::optional<ValueRef>> get_zerocopy(Bytes key) const;

    /// @{
    /// Many values at once, in the order of the keys: memory is fetched ahead, so that a key costs a fraction of a `get`. Sees
    /// all of a transaction or none of it.
    Result<std::vector<std::optional<std::string>>> get_many(std::span<const Bytes> keys) const;
    Result<std::vector<std::optional<std::string>>> get_many(std::initializer_list<Bytes> keys) const;
    template <detail::range_of_bytes Keys>
    Result<std::vector<std::optional<std::string>>> get_many(Keys&& keys) const {
        return detail::with_key_span(std::forward<Keys>(keys), [this](std::span<const Bytes> views) { return get_many(views); });
    }
    /// @}

    /// @{
    /// As get_many without copies: calls f(std::size_t i, std::optional<std::string_view> value) once for each key, in order;
    /// a view is valid during its call. Returns how many keys were found. f runs without a lock and may call any operation.
    template <class F>
    Result<std::size_t> visit_many(std::span<const Bytes> keys, F&& f) const {
        const auto call = [&f](std::size_t i, detail::MaybeView value) { f(i, value); };  // a plain function is no object to refer to
        return visit_each(keys, call);
    }
    template <class F>
    Result<std::size_t> visit_many(std::initializer_list<Bytes> keys, F&& f) const {
        return visit_many(std::span<const Bytes>(keys.begin(), keys.size()), std::forward<F>(f));
    }
    template <detail::range_of_bytes Keys, class F>
    Result<std::size_t> visit_many(Keys&& keys, F&& f) const {
        return detail::with_key_span(std::forward<Keys>(keys), [&](std::span<const Bytes> views) { return visit_many(views, f); });
    }
    /// @}

    /// Removes a key and returns the value it had; nullopt: no such key, and nothing is written.
    Result<std::optional<std::string>> remove(Bytes key);
    /// Whether `get` would find something; without the copy, but the record is read and checked.
    Result<bool> contains_key(Bytes key) const;

    /// Atomically: if the key's value is `expected` (nullopt: the key is absent), makes it `desired` (nullopt: removes it) and
    /// returns true; otherwise changes nothing and returns false.
    Result<bool> compare_exchange(Bytes key, std::optional<Bytes> expected, std::optional<Bytes> desired);

    /// Atomic read-modify-write: f(std::optional<std::string_view> current) returns the new value as std::optional<std::string>
    /// (nullopt removes the key) or a Result of it (an error changes nothing and is returned). f runs without a lock, so it
    /// runs again if the key was written meanwhile, and may itself read the database.
    template <class F>
    Result<void> update(Bytes key, F&& f) {
        const auto call = [&f](detail::MaybeView current) -> Result<detail::MaybeValue> { return f(current); };
        return update_with(key, call);
    }

    /// The number of live records, without counting them; those that have expired count until they are replaced, removed or
    /// swept. Exact when no write is under way.
    Result<std::size_t> len() const;
    /// Whether `len()` is 0.
    Result<bool> is_empty() const;
    /// Removes every record of this keyspace, atomically.
    Result<void> clear();

    /// Stores pairs (anything that decomposes into two parts convertible to Bytes: std::pair, std::tuple, Record, ...) from
    /// any input range, consumed once, in order and in bounded memory: the fastest way to load. Not atomic as a whole: a crash
    /// or an error keeps the pairs before it up to a batch boundary (about 1 MiB); a transaction is.
    template <class Pairs>
    Result<void> insert_many(Pairs&& pairs) {
        detail::OwnedBulkLoad load(*engine_, *state_);
        for (auto&& pair : pairs) {
            auto&& [key, value] = pair;
            if (auto added = load.add(Bytes(key), Bytes(value)); !added) return added;
        }
        return load.finish();
    }

    /// All live records, in no particular order.
    Result<EmdbIter> iter() const;
    /// The same without values.
    Result<EmdbKeyIter> keys() const;

    // In byte order of the keys. Without `EmdbBuilder::enable_range_scans(true)`: `invalid_config`.

    /// The records of a range, as they were at one moment as far as transactions go: all of one or nothing of it is seen.
    Result<std::vector<Record>> range(const Range& range) const;
    /// The same one by one: in constant memory, and weakly consistent.
    Result<EmdbRangeIter> range_iter(Range range) const;
    /// The records whose keys begin with the prefix.
    Result<std::vector<Record>> range_prefix(Bytes prefix) const;
    /// The same one by one, as `range_iter`.
    Result<EmdbRangeIter> range_prefix_iter(Bytes prefix) const;
    /// @{
    /// From the first key that is not less than `start`, or is greater than it, to the last.
    Result<EmdbRangeIter> iter_from(Bytes start) const;
    Result<EmdbRangeIter> iter_after(Bytes start) const;
    /// @}

#if EMDB_TTL
    // A record that has expired is absent to every read, and to remove, compare_exchange and update, from that millisecond on
    // and after reopening. It takes space until it is replaced, removed or swept. Should the clock be set back, it may be seen
    // again, unless one of these has happened meanwhile.

    /// As `insert`, with an expiry of its own instead of the default. A negative duration: `invalid_argument`.
    Result<void> insert_with_ttl(Bytes key, Bytes value, Ttl ttl);
    /// When the key expires or did, in milliseconds since 1970; nullopt: there is no such key, or it doesn't expire.
    Result<std::optional<std::uint64_t>> expires_at(Bytes key) const;
    /// How long the key has left; zero: it has expired and not been swept yet. nullopt: no such key, or it doesn't expire.
    Result<std::optional<std::chrono::milliseconds>> ttl(Bytes key) const;
    /// Has a key that would expire stay for good, by writing it anew. False: no such key, or it doesn't expire.
    Result<bool> persist(Bytes key);
    /// Removes expired records for good and returns how many. Nothing else does that by itself, so call it now and then where
    /// many records expire unreplaced. It finds them without looking at others: next to nothing is done if there are none.
    /// Other writers get in between; a record rewritten meanwhile stays.
    Result<std::size_t> sweep_expired();
#endif

#if EMDB_NESTED
    // Groups: keys with dots as paths. The group of a prefix is exactly the keys `prefix + "." + anything`, byte for byte: the
    // key "user" is not in the group "user", "user." and "user.1.name" are, "users.1" is not. Prefixes are taken as they are:
    // the group "user." is that of keys starting with "user..". The empty prefix has no group (`invalid_argument`).

    /// The group's records, in the order of their keys; sees all of a transaction or none of it. Without range scans it looks
    /// at every record of the keyspace.
    Result<std::vector<Record>> group(std::string_view prefix) const;
    /// Removes the group, all at once for readers and crashes, and returns how many records it had. Other writers wait
    /// meanwhile; without range scans for a look at every record of the keyspace. No limit but memory.
    Result<std::size_t> delete_group(std::string_view prefix);
    /// A handle on the keys under a prefix, cheap to copy.
    Focus focus(std::string_view prefix) const;
#endif

protected:
    friend class Transaction;
    friend class Focus;
    friend class detail::AsyncTarget;
    Keyspace(std::shared_ptr<detail::Engine> engine, std::shared_ptr<detail::KeyspaceState> state) noexcept;

    Result<std::size_t> visit_each(std::span<const Bytes> keys,
                                   detail::FunctionRef<void(std::size_t, detail::MaybeView)> visit) const;
    Result<void> update_with(Bytes key, detail::FunctionRef<Result<detail::MaybeValue>(detail::MaybeView)> change);

    std::shared_ptr<detail::Engine> engine_;
    std::shared_ptr<detail::KeyspaceState> state_;
};

/// A handle on a named keyspace; see `Emdb::open_namespace`. It keeps the database open as an Emdb does. After
/// `drop_namespace` every call answers `invalid_argument`, also when the name is taken again.
class Namespace : public Keyspace {
public:
    /// As it was given to `open_namespace`; valid while the handle lives.
    const std::string& name() const noexcept;

private:
    friend class Emdb;
    using Keyspace::Keyspace;
};

}  // namespace emdb
