#pragma once
// Transaction: staged writes that are applied together or not at all.

#include <memory>
#include <optional>
#include <string>

#include "base/bytes.hpp"
#include "base/config.hpp"
#include "base/result.hpp"
#include "base/ttl.hpp"

namespace emdb {

class Namespace;

namespace detail {
class Engine;
struct KeyspaceState;
class StagedWrites;
class TransactionScope;
}  // namespace detail

/// The calls of a transaction in one keyspace. Reads see the transaction's own writes first. Valid inside the closure only,
/// on the closure's thread.
///
/// Writes are staged in memory, key, value and some 100 bytes each; nothing is written before the closure has returned, so their only
/// errors are `too_large` (a key or value over its limit, or more than 2^20 writes, counting each of a key's) and `invalid_argument`
/// (another database's namespace, or one that was dropped). Reads have those of `Keyspace`. An error of a call does not end the
/// transaction: it is the closure's to return.
class TransactionView {
public:
    /// Stages a write; key and value are copied.
    Result<void> insert(Bytes key, Bytes value);
#if EMDB_TTL
    /// As `insert`, with an expiry of its own instead of the default, counted from this call. A negative duration: `invalid_argument`.
    Result<void> insert_with_ttl(Bytes key, Bytes value, Ttl ttl);
#endif
    /// Stages a removal; returns the value that the transaction saw before it. nullopt: no such key, and nothing is staged.
    Result<std::optional<std::string>> remove(Bytes key);
    /// @{
    /// As `Keyspace::get` and `Keyspace::contains_key`, with what the transaction has staged on top: one look more, into a hash table.
    Result<std::optional<std::string>> get(Bytes key) const;
    Result<bool> contains_key(Bytes key) const;
    /// @}

protected:
    friend class Transaction;
    TransactionView(detail::StagedWrites& staged, std::shared_ptr<detail::KeyspaceState> keyspace) noexcept;

    detail::StagedWrites* staged_;
    std::shared_ptr<detail::KeyspaceState> keyspace_;
};

/// What the closure of `Emdb::transaction` gets: the default keyspace, and the others by `in`.
class Transaction : public TransactionView {
public:
    /// The same calls in a named namespace; as valid as this. Costs an atomic counter. Of another database, or dropped: its calls answer
    /// `invalid_argument`.
    TransactionView in(const Namespace& keyspace);

private:
    friend class detail::TransactionScope;
    using TransactionView::TransactionView;
};

namespace detail {

/// Exclusive write access from begin() to commit() or destruction, which drops what was staged.
class TransactionScope {
public:
    static Result<TransactionScope> begin(const std::shared_ptr<Engine>& engine);
    TransactionScope(TransactionScope&& other) noexcept;
    TransactionScope& operator=(TransactionScope&&) = delete;
    ~TransactionScope();
    Transaction& transaction() noexcept { return transaction_; }
    Result<void> commit();

private:
    explicit TransactionScope(StagedWrites* staged) noexcept;
    StagedWrites* staged_;  // owned
    Transaction transaction_;
};

}  // namespace detail

}  // namespace emdb
