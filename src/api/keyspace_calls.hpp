#pragma once
// From the public data calls to the engine.

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "api/iterators.hpp"
#include "api/keyspace.hpp"
#include "api/transaction.hpp"
#include "api/value_ref.hpp"
#include "engine/bulk_load.hpp"
#include "engine/engine.hpp"
#include "engine/generation.hpp"
#include "engine/staged_writes.hpp"

namespace emdb {

// ValueRef

ValueRef::ValueRef(const ValueRef& other) noexcept
    : value_(other.value_), generation_(other.generation_), owned_(other.owned_), stripe_(other.stripe_) {
    if (generation_ != nullptr) generation_->acquire(stripe_);
#if EMDB_ENCRYPT
    if (owned_ != nullptr) owned_->acquire();
#endif
}

ValueRef::ValueRef(ValueRef&& other) noexcept
    : value_(std::exchange(other.value_, Bytes())),
      generation_(std::exchange(other.generation_, nullptr)),
      owned_(std::exchange(other.owned_, nullptr)),
      stripe_(other.stripe_) {}

ValueRef& ValueRef::operator=(ValueRef other) noexcept {
    std::swap(value_, other.value_);
    std::swap(generation_, other.generation_);
    std::swap(owned_, other.owned_);
    std::swap(stripe_, other.stripe_);
    return *this;
}

ValueRef::~ValueRef() {
    if (generation_ != nullptr) generation_->release(stripe_);
#if EMDB_ENCRYPT
    if (owned_ != nullptr) owned_->release();
#endif
}

// Keyspace

Keyspace::Keyspace(std::shared_ptr<detail::Engine> engine, std::shared_ptr<detail::KeyspaceState> state) noexcept
    : engine_(std::move(engine)), state_(std::move(state)) {}

Result<void> Keyspace::insert(Bytes key, Bytes value) { return engine_->insert(*state_, key, value); }

Result<std::optional<std::string>> Keyspace::get(Bytes key) const { return engine_->get(*state_, key); }

Result<std::string> Keyspace::get_or(Bytes key, Bytes fallback) const {
    auto value = engine_->get(*state_, key);
    if (!value) return std::move(value).error();
    return *value ? std::move(**value) : std::string(fallback.as_string_view());
}

Result<bool> Keyspace::get_into(Bytes key, std::string& out) const { return engine_->get_into(*state_, key, out); }

Result<std::optional<ValueRef>> Keyspace::get_zerocopy(Bytes key) const {
    auto pinned = engine_->get_zerocopy(*state_, key);
    if (!pinned) return std::move(pinned).error();
    std::optional<ValueRef> value;
    if (*pinned) value.emplace((*pinned)->generation, (*pinned)->owned, (*pinned)->stripe, (*pinned)->value);
    return value;
}

Result<std::vector<std::optional<std::string>>> Keyspace::get_many(std::initializer_list<Bytes> keys) const {
    return get_many(std::span<const Bytes>(keys.begin(), keys.size()));
}

Result<std::vector<std::optional<std::string>>> Keyspace::get_many(std::span<const Bytes> keys) const {
    std::vector<std::optional<std::string>> values(keys.size());
    auto visited = visit_each(keys, [&](std::size_t i, detail::MaybeView value) {
        if (value) values[i].emplace(*value);
    });
    if (!visited) return std::move(visited).error();
    return values;
}

Result<std::size_t> Keyspace::visit_each(std::span<const Bytes> keys,
                                         detail::FunctionRef<void(std::size_t, detail::MaybeView)> visit) const {
    return engine_->visit_many(*state_, keys, visit);
}

Result<std::optional<std::string>> Keyspace::remove(Bytes key) { return engine_->remove(*state_, key); }

Result<bool> Keyspace::contains_key(Bytes key) const { return engine_->contains_key(*state_, key); }

Result<bool> Keyspace::compare_exchange(Bytes key, std::optional<Bytes> expected, std::optional<Bytes> desired) {
    return engine_->compare_exchange(*state_, key, expected, desired);
}

Result<void> Keyspace::update_with(Bytes key, detail::FunctionRef<Result<detail::MaybeValue>(detail::MaybeView)> change) {
    return engine_->update(*state_, key, change);
}

Result<std::size_t> Keyspace::len() const { return engine_->len(*state_); }

Result<bool> Keyspace::is_empty() const {
    auto count = engine_->len(*state_);
    if (!count) return std::move(count).error();
    return *count == 0;
}

Result<void> Keyspace::clear() { return engine_->clear(*state_); }

Result<EmdbIter> Keyspace::iter() const {
    auto source = engine_->iterate(state_);
    if (!source) return std::move(source).error();
    return EmdbIter(std::move(*source));
}

Result<EmdbKeyIter> Keyspace::keys() const {
    auto source = engine_->iterate(state_);
    if (!source) return std::move(source).error();
    return EmdbKeyIter(std::move(*source));
}

Result<std::vector<Record>> Keyspace::range(const Range& range) const { return engine_->range(*state_, range); }

Result<EmdbRangeIter> Keyspace::range_iter(Range range) const {
    auto source = engine_->iterate_range(state_, std::move(range));
    if (!source) return std::move(source).error();
    return EmdbRangeIter(std::move(*source));
}

Result<std::vector<Record>> Keyspace::range_prefix(Bytes prefix) const { return range(Range::prefix(prefix)); }

Result<EmdbRangeIter> Keyspace::range_prefix_iter(Bytes prefix) const { return range_iter(Range::prefix(prefix)); }

Result<EmdbRangeIter> Keyspace::iter_from(Bytes start) const { return range_iter(Range::from(start)); }

Result<EmdbRangeIter> Keyspace::iter_after(Bytes start) const { return range_iter(Range::after(start)); }

#if EMDB_TTL
Result<void> Keyspace::insert_with_ttl(Bytes key, Bytes value, Ttl ttl) {
    return engine_->insert_with_ttl(*state_, key, value, ttl);
}

Result<std::optional<std::uint64_t>> Keyspace::expires_at(Bytes key) const { return engine_->expires_at(*state_, key); }

Result<std::optional<std::chrono::milliseconds>> Keyspace::ttl(Bytes key) const { return engine_->ttl(*state_, key); }

Result<bool> Keyspace::persist(Bytes key) { return engine_->persist(*state_, key); }

Result<std::size_t> Keyspace::sweep_expired() { return engine_->sweep_expired(*state_); }
#endif

#if EMDB_NESTED
Result<std::vector<Record>> Keyspace::group(std::string_view prefix) const { return engine_->group(*state_, prefix); }

Result<std::size_t> Keyspace::delete_group(std::string_view prefix) { return engine_->delete_group(*state_, prefix); }
#endif

// Iterators

namespace detail {

inline Result<std::vector<Record>> collect_records(RecordSource& source) {
    std::vector<Record> records;
    RecordView record;
    while (source.next(record)) records.push_back({std::string(record.key), std::string(record.value)});
    if (auto ended = source.status(); !ended) return std::move(ended).error();
    return records;
}

}  // namespace detail

Result<std::vector<Record>> EmdbIter::collect() { return detail::collect_records(*source_); }

Result<std::vector<Record>> EmdbRangeIter::collect() { return detail::collect_records(*source_); }

Result<std::vector<std::string>> EmdbKeyIter::collect() {
    std::vector<std::string> keys;
    while (step()) keys.emplace_back(item_);
    if (auto ended = status(); !ended) return std::move(ended).error();
    return keys;
}

const std::string& Namespace::name() const noexcept { return state_->name; }

// Transactions

TransactionView::TransactionView(detail::StagedWrites& staged, std::shared_ptr<detail::KeyspaceState> keyspace) noexcept
    : staged_(&staged), keyspace_(std::move(keyspace)) {}

Result<void> TransactionView::insert(Bytes key, Bytes value) { return staged_->put(keyspace_, key, value); }

#if EMDB_TTL
Result<void> TransactionView::insert_with_ttl(Bytes key, Bytes value, Ttl ttl) {
    return staged_->put_with_ttl(keyspace_, key, value, ttl);
}
#endif

Result<std::optional<std::string>> TransactionView::remove(Bytes key) { return staged_->remove(keyspace_, key); }

Result<std::optional<std::string>> TransactionView::get(Bytes key) const { return staged_->get(keyspace_, key); }

Result<bool> TransactionView::contains_key(Bytes key) const { return staged_->contains_key(keyspace_, key); }

TransactionView Transaction::in(const Namespace& keyspace) { return TransactionView(*staged_, keyspace.state_); }

namespace detail {

Result<TransactionScope> TransactionScope::begin(const std::shared_ptr<Engine>& engine) {
    auto staged = StagedWrites::begin(engine);
    if (!staged) return std::move(staged).error();
    return TransactionScope(staged->release());
}

TransactionScope::TransactionScope(StagedWrites* staged) noexcept
    : staged_(staged), transaction_(*staged, staged->engine()->default_keyspace()) {}

TransactionScope::TransactionScope(TransactionScope&& other) noexcept
    : staged_(std::exchange(other.staged_, nullptr)), transaction_(std::move(other.transaction_)) {}

TransactionScope::~TransactionScope() { delete staged_; }

Result<void> TransactionScope::commit() { return staged_->commit(); }

// insert_many

OwnedBulkLoad::OwnedBulkLoad(Engine& engine, KeyspaceState& keyspace) : load_(new BulkLoad(engine, keyspace)) {}

OwnedBulkLoad::~OwnedBulkLoad() { delete load_; }

Result<void> OwnedBulkLoad::add(Bytes key, Bytes value) { return load_->add(key, value); }

Result<void> OwnedBulkLoad::finish() { return load_->finish(); }

}  // namespace detail

}  // namespace emdb
