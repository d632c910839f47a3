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
/// threads at once. Keys are up to 2^24-1 bytes, values up to 2^32-1; both may be empty and hold any byte. Longer ones are
/// `too_large` where they would be written, and absent otherwise.
///
/// A write that returned is seen by every later read and survives the process being killed; see `Emdb::flush()` for power
/// cuts. Reads never wait for I/O, but for a page that is not in memory, nor for another caller's code.
///
/// **Errors** that every call may return besides its own:
/// - `stopped` after `close()` or in a forked child; `invalid_argument` through a handle of a dropped namespace.
/// - Where a record is looked at: `corrupted`, with the offset, if its bytes are not what was written. Of an encrypted database also
///   `encryption_error` if they were tampered with, and `io` if there is no memory to open them in.
/// - Of writes: `poisoned` after an earlier failed write or sync, and `invalid_argument` when made by a transaction's own closure.
///   `io` where there is no room on the disk or in the index: nothing was written, and the next write may succeed. `io` or `poisoned`
///   where writing itself or a sync fails: the message says that the write may or may not be found after reopening, and whatever is
///   written later is `poisoned`. Of an encrypted database `too_large` after a million openings and checkpoints: compact it.
///
/// An error changes nothing, where nothing else is said. Memory for what is returned comes from operator new, whose `std::bad_alloc`
/// passes through and changes nothing either.
///
/// **Cost**: a read hashes the key, misses the cache twice, checks the record's CRC and copies; no lock, no system call. A write locks
/// one of 64 stripes, copies into the map, waits for those that began before it, and changes the index; it makes a system call where
/// the file has to grow, for more than 64 KiB, and for the first 16 KiB after each sync. Besides, writes wait while a transaction, a
/// batch of `insert_many`, a `clear` or the last step of a compaction has all stripes.
class Keyspace {
public:
    /// Stores a value, replacing what the key had, be that damaged. `too_large`. No sync is waited for unless the flush policy says so.
    Result<void> insert(Bytes key, Bytes value);
    /// The value, copied; nullopt: no such key. Allocates the string.
    Result<std::optional<std::string>> get(Bytes key) const;
    /// As `get`, with a copy of `fallback` where there is no such key.
    Result<std::string> get_or(Bytes key, Bytes fallback) const;
    /// Copies the value into `out`, reusing its capacity: allocates only if that does not suffice. False: no such key. Then, and after
    /// an error, `out` is left as it was.
    Result<bool> get_into(Bytes key, std::string& out) const;
    /// The value in place, without a copy or an allocation; it stays valid for as long as the ValueRef lives. The CRC is checked
    /// here, so all of it is read once, unless `verify_reads` is off. Of an encrypted database it is a copy, opened.
    Result<std::optional<ValueRef>> get_zerocopy(Bytes key) const;

    /// @{
    /// Many values at once, in the order of the keys; nullopt: no such key. Memory is fetched ahead, so that a key costs a fraction of
    /// a `get`. Sees all of a transaction or none of it: it looks again if one commits meanwhile, and after some tries has the next one
    /// wait. One damaged record is an error of the whole call. Allocates what it returns, and above 256 keys 8 bytes each.
    Result<std::vector<std::optional<std::string>>> get_many(std::span<const Bytes> keys) const;
    Result<std::vector<std::optional<std::string>>> get_many(std::initializer_list<Bytes> keys) const;
    template <detail::range_of_bytes Keys>
    Result<std::vector<std::optional<std::string>>> get_many(Keys&& keys) const {
        return detail::with_key_span(std::forward<Keys>(keys), [this](std::span<const Bytes> views) { return get_many(views); });
    }
    /// @}

    /// @{
    /// As get_many without copies: calls f(std::size_t i, std::optional<std::string_view> value) once for each key, in order and on
    /// this thread; a view is valid during its call. Returns how many keys were found. f runs without a lock and may call any
    /// operation; what it throws passes through. An error comes after the calls for the keys before.
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

    /// Removes a key and returns the value it had, copied; nullopt: no such key, and nothing is written. A damaged record is
    /// `corrupted` and stays; `insert` replaces it.
    Result<std::optional<std::string>> remove(Bytes key);
    /// Whether `get` would find something; without the copy, but the record is read and checked.
    Result<bool> contains_key(Bytes key) const;

    /// Atomically: if the key's value is `expected` (nullopt: the key is absent), makes it `desired` (nullopt: removes it) and
    /// returns true; otherwise changes nothing and returns false. `too_large`. Costs a read and, if true, a write, also of a value that
    /// is the same.
    Result<bool> compare_exchange(Bytes key, std::optional<Bytes> expected, std::optional<Bytes> desired);

    /// Atomic read-modify-write: f(std::optional<std::string_view> current) returns the new value as std::optional<std::string>
    /// (nullopt removes the key) or a Result of it (an error changes nothing and is returned; so it is with what f throws). `current` is
    /// valid during the call. f runs without a lock, on this thread, so it runs again if the key was written meanwhile, and may itself
    /// call any operation; one that writes this key would have it run for ever. `too_large`.
    template <class F>
    Result<void> update(Bytes key, F&& f) {
        const auto call = [&f](detail::MaybeView current) -> Result<detail::MaybeValue> { return f(current); };
        return update_with(key, call);
    }

    /// The number of live records, without counting them: a sum of 64 counters. Those that have expired count until they are replaced,
    /// removed or swept. Exact when no write is under way.
    Result<std::size_t> len() const;
    /// Whether `len()` is 0; as cheap.
    Result<bool> is_empty() const;
    /// Removes every record of this keyspace, atomically: all at once for readers and crashes. One frame, however many they are; their
    /// space comes back with a compaction. ValueRefs and what iterators show at the moment stay valid.
    Result<void> clear();

    /// Stores pairs (anything that decomposes into two parts convertible to Bytes: std::pair, std::tuple, Record, ...) from
    /// any input range, consumed once, in order and in bounded memory (some MiB, and the largest pair): the fastest way to load. Not
    /// atomic as a whole, which a transaction is: a crash or an error keeps the pairs before it up to the end of a batch of about
    /// 1 MiB, each of which is whole or not there after a crash. `too_large`: all pairs before that one are kept. What the range throws
    /// passes through; the batch that was being gathered is lost. Other writers get in between batches.
    template <class Pairs>
    Result<void> insert_many(Pairs&& pairs) {
        detail::OwnedBulkLoad load(*engine_, *state_);
        for (auto&& pair : pairs) {
            auto&& [key, value] = pair;
            if (auto added = load.add(Bytes(key), Bytes(value)); !added) return added;
        }
        return load.finish();
    }

    /// All live records, in no particular order. Nothing is read before the first step; damage is told by `status()`.
    Result<EmdbIter> iter() const;
    /// The same without values; each record is read and checked all the same.
    Result<EmdbKeyIter> keys() const;

    /// @name Ordered scans
    /// In byte order of the keys. Without `EmdbBuilder::enable_range_scans(true)`: `invalid_config`. The first record costs a walk down a
    /// B+-tree, each further one a look at the record.
    /// @{

    /// The records of a range, copied, as they were at one moment as far as transactions go: all of one or nothing of it is seen (see
    /// `get_many` for how). One damaged record is an error of the whole call. `invalid_config`.
    Result<std::vector<Record>> range(const Range& range) const;
    /// The same one by one: in constant memory, and weakly consistent. `invalid_config`; damage is told by `status()`.
    Result<EmdbRangeIter> range_iter(Range range) const;
    /// The records whose keys begin with the prefix, as `range`.
    Result<std::vector<Record>> range_prefix(Bytes prefix) const;
    /// The same one by one, as `range_iter`.
    Result<EmdbRangeIter> range_prefix_iter(Bytes prefix) const;
    /// From the first key that is not less than `start` to the last; as `range_iter`.
    Result<EmdbRangeIter> iter_from(Bytes start) const;
    /// From the first key that is greater than `start` to the last; as `range_iter`.
    Result<EmdbRangeIter> iter_after(Bytes start) const;
    /// @}

#if EMDB_TTL
    /// @name Expiry
    /// A record that has expired is absent to every read, and to remove, compare_exchange and update, from that millisecond on
    /// and after reopening. It takes space until it is replaced, removed or swept. Should the clock be set back, it may be seen
    /// again, unless one of these has happened meanwhile.
    /// @{

    /// As `insert`, with an expiry of its own instead of the default. A negative duration: `invalid_argument`; else as `insert`.
    Result<void> insert_with_ttl(Bytes key, Bytes value, Ttl ttl);
    /// When the key expires or did, in milliseconds since 1970; nullopt: there is no such key, or it doesn't expire. Costs a read.
    Result<std::optional<std::uint64_t>> expires_at(Bytes key) const;
    /// How long the key has left; zero: it has expired and not been swept yet. nullopt: no such key, or it doesn't expire. Costs a read.
    Result<std::optional<std::chrono::milliseconds>> ttl(Bytes key) const;
    /// Has a key that would expire stay for good, by writing it anew, value and all. False: no such key, or it doesn't expire, or it has
    /// expired. A damaged record is `corrupted` and stays.
    Result<bool> persist(Bytes key);
    /// Removes expired records for good and returns how many. Nothing else does that by itself, so call it now and then where
    /// many records expire unreplaced. It finds them without looking at others: next to nothing is done if there are none, else a read
    /// and a frame for each. Other writers get in between; a record rewritten meanwhile stays. A damaged one stays, too: `corrupted`
    /// comes when all others have been removed. Any other error keeps what was removed before it.
    Result<std::size_t> sweep_expired();
    /// @}
#endif

#if EMDB_NESTED
    /// @name Groups
    /// Keys with dots as paths. The group of a prefix is exactly the keys `prefix + "." + anything`, byte for byte: the
    /// key "user" is not in the group "user", "user." and "user.1.name" are, "users.1" is not. Prefixes are taken as they are:
    /// the group "user." is that of keys starting with "user..". The empty prefix has no group (`invalid_argument`).
    /// @{

    /// The group's records, copied, in the order of their keys; sees all of a transaction or none of it. With range scans it costs what
    /// it finds; without them it looks at every record of the keyspace, and one that is damaged is an error whosever it is.
    Result<std::vector<Record>> group(std::string_view prefix) const;
    /// Removes the group, all at once for readers and crashes, and returns how many records it had. Finds them as `group` does, damage
    /// included, while other writers wait. Costs a frame in memory for each before they are written together; above 2^32-1
    /// `too_large`.
    Result<std::size_t> delete_group(std::string_view prefix);
    /// A handle on the keys under a prefix, cheap to copy. Looks at nothing, so it has no errors; the empty prefix is allowed here.
    Focus focus(std::string_view prefix) const;
    /// @}
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
/// `drop_namespace` every call answers `invalid_argument`, also when the name is taken again; what was read before stays valid.
class Namespace : public Keyspace {
public:
    /// As it was given to `open_namespace`; valid while the handle lives.
    const std::string& name() const noexcept;

private:
    friend class Emdb;
    using Keyspace::Keyspace;
};

}  // namespace emdb
