#pragma once
// The life of a transaction: exclusive write access from its beginning -> writes staged as encoded frames in memory -> one batch
// appended -> the index of all keys changed inside one window.
//
// Whatever can fail, and whatever may wait for I/O, is done before the window opens: slots are located and tables grown
// beforehand, inside it only stores happen. All shards concerned become unreadable before the first store and readable after the
// last, so no order of reads sees half of a transaction.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/engine.hpp"
#include "journal/batch_buffer.hpp"

namespace emdb::detail {

class StagedWrites {
public:
    static constexpr std::size_t operations_max = std::size_t{1} << 20;

    /// Waits for other writers.
    static Result<std::unique_ptr<StagedWrites>> begin(const std::shared_ptr<Engine>& engine) {
        auto lock = engine->lock_all(nullptr);
        if (!lock) return std::move(lock).error();
        std::unique_ptr<StagedWrites> staged(new StagedWrites(engine, std::move(*lock)));
        engine->transaction_thread_.store(Engine::this_thread_token(), std::memory_order_relaxed);
        return staged;
    }
    StagedWrites(const StagedWrites&) = delete;
    StagedWrites& operator=(const StagedWrites&) = delete;
    ~StagedWrites() { end(); }

    const std::shared_ptr<Engine>& engine() const noexcept { return engine_; }

    /// Stages a put that expires as plain writes do.
    Result<void> put(const std::shared_ptr<KeyspaceState>& keyspace, Bytes key, Bytes value) {
        return stage(keyspace, key, value, engine_->default_expiry());
    }

#if EMDB_TTL
    Result<void> put_with_ttl(const std::shared_ptr<KeyspaceState>& keyspace, Bytes key, Bytes value, Ttl ttl) {
        const auto expiry = engine_->expiry_of(ttl);
        if (!expiry) return expiry.error();
        return stage(keyspace, key, value, *expiry);
    }
#endif

    /// Stages a removal, also of an expired record; returns what get() does.
    Result<MaybeValue> remove(const std::shared_ptr<KeyspaceState>& keyspace, Bytes key) {
        auto prior = get(keyspace, key);
        if (!prior) return prior;
        const std::optional<FrameView> own = own_write(keyspace, key);
        auto exists = own ? Result<bool>(own->kind() == FrameKind::put) : engine_->holds(*keyspace, key);
        if (!exists) return std::move(exists).error();
        if (!*exists) return prior;
        if (auto staged = stage(keyspace, key, std::nullopt, 0); !staged) return std::move(staged).error();
        return prior;
    }

    /// What the transaction sees under a key: its own write first.
    Result<MaybeValue> get(const std::shared_ptr<KeyspaceState>& keyspace, Bytes key) const {
        if (auto valid = check(*keyspace); !valid) return std::move(valid).error();
        if (const std::optional<FrameView> own = own_write(keyspace, key)) {
            if (own->kind() == FrameKind::remove || engine_->clock_.has_expired(*own)) return MaybeValue();
            return MaybeValue(own->value.as_string_view());
        }
        return engine_->get(*keyspace, key);
    }

    Result<bool> contains_key(const std::shared_ptr<KeyspaceState>& keyspace, Bytes key) const {
        if (auto valid = check(*keyspace); !valid) return std::move(valid).error();
        if (const std::optional<FrameView> own = own_write(keyspace, key)) {
            return own->kind() == FrameKind::put && !engine_->clock_.has_expired(*own);
        }
        return engine_->contains_key(*keyspace, key);
    }

    /// Applies everything and gives the write access up; nothing may be staged after it.
    Result<void> commit() {
        auto applied = batch_.count() == 0 ? Result<void>() : apply();
        const bool wrote = applied && batch_.count() != 0;
        end();
        return wrote ? engine_->after_write() : applied;
    }

private:
    /// One key's change, ready to be stored.
    struct Change {
        KeyspaceState* keyspace;
        KeyHash hash;
        Engine::Current current;
        std::uint64_t start;  ///< of its frame in the batch
        FrameView frame;
    };

    using Shard = std::pair<HashIndex*, std::size_t>;

    StagedWrites(std::shared_ptr<Engine> engine, Engine::AllStripes lock)
        : engine_(std::move(engine)), lock_(std::move(lock)), batch_(engine_->journal().coding()) {}

    void end() noexcept {
        if (!lock_) return;
        engine_->transaction_thread_.store(0, std::memory_order_relaxed);
        lock_.reset();
    }

    Result<void> check(const KeyspaceState& keyspace) const {
        if (!lock_) return Error(ErrorCode::invalid_argument, "The transaction is over. Use it inside its closure only.");
        if (keyspace.pins != engine_->pins_) {
            return Error(ErrorCode::invalid_argument, "The namespace '" + keyspace.name + "' belongs to another database than the "
                         "transaction on '" + engine_->path() + "'. Use a transaction of that database.");
        }
        if (!engine_->usable(keyspace)) return engine_->why_unusable(keyspace);
        return {};
    }

    // A put, or with nullopt a removal.
    Result<void> stage(const std::shared_ptr<KeyspaceState>& keyspace, Bytes key, std::optional<Bytes> value,
                       std::uint64_t expiry_unix_ms) {
        if (auto valid = check(*keyspace); !valid) return valid;
        if (auto sized = Engine::check_sizes(key, value ? value->size() : 0); !sized) return sized;
        if (batch_.count() == operations_max) {
            return Error(ErrorCode::too_large, "A transaction on '" + engine_->path() + "' stages more than " +
                         std::to_string(operations_max) + " writes. Split it, or use insert_many for loading.");
        }
        FrameContent content;
        content.kind = value ? FrameKind::put : FrameKind::remove;
        content.namespace_id = keyspace->id;
        content.expiry_unix_ms = expiry_unix_ms;
        content.key = key;
        content.value = value.value_or(Bytes());
        // Whatever may throw comes first: a closure may catch bad_alloc and go on.
        batch_.reserve_for(content);
        std::uint64_t& start = staged_[keyspace][SecretString(key.as_string_view())];
        start = batch_.add(content);
        return {};
    }

    std::optional<FrameView> own_write(const std::shared_ptr<KeyspaceState>& keyspace, Bytes key) const {
        const auto keys = staged_.find(keyspace);
        if (keys == staged_.end()) return std::nullopt;
        const auto found = keys->second.find(SecretString(key.as_string_view()));
        if (found == keys->second.end()) return std::nullopt;
        return batch_.member(found->second);
    }

    Result<void> apply() {
        if (auto allowed = engine_->refuse_write_locked(nullptr); !allowed) return allowed;
        if (auto room = make_room(); !room) return room;
        std::vector<Change> changes = locate();
        auto nodes = promise_nodes(changes);
        if (!nodes) return std::move(nodes).error();
        const std::vector<Shard> shards = shards_of(changes);
        auto start = engine_->journal().append(batch_);
        if (!start) return std::move(start).error();
        publish(changes, shards, *start);
        for (const Change& change : changes) {
            OrderedIndex* const ordered = change.keyspace->index().ordered.get();
            if (change.frame.kind() == FrameKind::remove && ordered != nullptr) ordered->tidy(change.frame.key);
        }
        return {};
    }

    // Puts the changes of ordered keyspaces in key order, in which the ordered index is changed fastest.
    Result<std::vector<NodePool::Promise>> promise_nodes(std::vector<Change>& changes) const {
        std::vector<NodePool::Promise> promises;
        if (!engine_->options_.range_scans) return promises;
        std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) {
            return a.keyspace != b.keyspace ? a.keyspace->id < b.keyspace->id : compare_keys(a.frame.key, b.frame.key) < 0;
        });
        std::vector<Bytes> new_keys;
        for (std::size_t i = 0; i < changes.size();) {
            KeyspaceState& keyspace = *changes[i].keyspace;
            new_keys.clear();
            for (; i < changes.size() && changes[i].keyspace == &keyspace; ++i) {
                if (!changes[i].current.at) new_keys.push_back(changes[i].frame.key);
            }
            auto promised = engine_->promise_nodes(*keyspace.index().ordered, new_keys);
            if (!promised) return std::move(promised).error();
            promises.push_back(std::move(*promised));
        }
        return promises;
    }

    Result<void> make_room() {
        for (const auto& [keyspace, keys] : staged_) {
            std::array<std::size_t, shard_count> per_shard{};
            std::array<std::size_t, shard_count> expiring{};
            for (const auto& [key, start] : keys) {
                const std::size_t shard = engine_->hash_of(std::string_view(key)).shard();
                ++per_shard[shard];
                if (batch_.member(start).expiry_unix_ms != 0) ++expiring[shard];
            }
            for (std::size_t shard = 0; shard < shard_count; ++shard) {
                if (per_shard[shard] == 0) continue;
                if (auto room = engine_->make_room(keyspace->index(), shard, per_shard[shard], expiring[shard]); !room) return room;
            }
        }
        return {};
    }

    // Slots stay where they are until the window opens: nobody else may write, and room has been made.
    std::vector<Change> locate() const {
        std::vector<Change> changes;
        for (const auto& [keyspace, keys] : staged_) {
            for (const auto& [key, start] : keys) {
                const KeyHash hash = engine_->hash_of(std::string_view(key));
                const Engine::Current current = engine_->find_slot(*keyspace, hash, std::string_view(key));
                const FrameView frame = batch_.member(start);
                if (frame.kind() == FrameKind::remove && !current.at) continue;
                changes.push_back({keyspace.get(), hash, current, start, frame});
            }
        }
        return changes;
    }

    static std::vector<Shard> shards_of(const std::vector<Change>& changes) {
        std::vector<Shard> shards;
        shards.reserve(changes.size());
        for (const Change& change : changes) shards.emplace_back(&change.keyspace->index().hash, change.hash.shard());
        std::sort(shards.begin(), shards.end());
        shards.erase(std::unique(shards.begin(), shards.end()), shards.end());
        return shards;
    }

    void publish(const std::vector<Change>& changes, const std::vector<Shard>& shards, std::uint64_t batch_start) noexcept {
        const Engine::Publishing publishing(*engine_);
        for (const auto& [index, shard] : shards) index->begin_change(shard);
        for (const Change& change : changes) {
            if (change.frame.kind() == FrameKind::put) {
                engine_->index_put(*change.keyspace, change.hash, change.current, batch_start + change.start, change.frame);
            } else {
                engine_->index_remove(*change.keyspace, change.hash, change.current, change.frame.key);
            }
        }
        for (const auto& [index, shard] : shards) index->end_change(shard);
    }

    const std::shared_ptr<Engine> engine_;
    std::optional<Engine::AllStripes> lock_;
    BatchBuffer batch_;
    /// Where the latest change of each key starts in the batch.
    struct HashKey {
        std::size_t operator()(const SecretString& key) const noexcept { return std::hash<std::string_view>()(key); }
    };
    using Starts = std::unordered_map<SecretString, std::uint64_t, HashKey, std::equal_to<>,
                                      SecretAllocator<std::pair<const SecretString, std::uint64_t>>>;
    std::unordered_map<std::shared_ptr<KeyspaceState>, Starts> staged_;
};

}  // namespace emdb::detail
