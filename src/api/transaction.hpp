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
class TransactionView {
public:
    /// Stages a write. More than 2^20 writes in one transaction: `too_large`.
    Result<void> insert(Bytes key, Bytes value);
#if EMDB_TTL
    /// As `insert`, with an expiry of its own instead of the default.
    Result<void> insert_with_ttl(Bytes key, Bytes value, Ttl ttl);
#endif
    /// Stages a removal; returns the value that the transaction saw before it.
    Result<std::optional<std::string>> remove(Bytes key);
    /// @{
    /// As `Keyspace::get` and `Keyspace::contains_key`, with what the transaction has staged on top.
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
    /// The same calls in a named namespace. Of another database, or dropped: its calls answer `invalid_argument`.
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
