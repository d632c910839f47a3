#pragma once
// The life of an insert_many: pairs are encoded into a batch of about 1 MiB in memory, appended in one piece, then put into the
// index with their buckets fetched ahead. All stripes are held for a batch, so its keys need no order.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/engine.hpp"
#include "journal/batch_buffer.hpp"

namespace emdb::detail {

class BulkLoad {
public:
    BulkLoad(Engine& engine, KeyspaceState& keyspace)
        : engine_(engine), keyspace_(keyspace), batch_(engine.reference()->journal().coding()) {}
    BulkLoad(const BulkLoad&) = delete;
    BulkLoad& operator=(const BulkLoad&) = delete;

    /// Takes one pair in, and writes a batch when one is full. After an error every call returns an error.
    Result<void> add(Bytes key, Bytes value) {
        if (auto sized = Engine::check_sizes(key, value.size()); !sized) {
            // What came before the bad pair is kept, as it would be if the pairs had been inserted one by one.
            auto finished = finish();
            return finished ? sized : finished;
        }
        hashes_.push_back(siphash13(key.data(), key.size(), engine_.hash_key_0_, engine_.hash_key_1_));
        FrameContent content;
        content.kind = FrameKind::put;
        content.namespace_id = keyspace_.id;
        content.expiry_unix_ms = engine_.default_expiry();
        content.key = key;
        content.value = value;
        batch_.add(content);
        return batch_.size() >= batch_size ? finish() : Result<void>();
    }

    /// Writes what has been taken in.
    Result<void> finish() {
        if (batch_.count() == 0) return engine_.refuse_write();
        auto written = write_batch();
        batch_.clear();
        hashes_.clear();
        if (!written) return written;
        return engine_.after_write();
    }

private:
    static constexpr std::uint64_t batch_size = std::uint64_t{1} << 20;

    /// While the stripes are held.
    KeyspaceIndex& index() const noexcept { return keyspace_.index(); }

    Result<void> write_batch() {
        const auto lock = engine_.lock_all(&keyspace_);
        if (!lock) return lock.error();
        batch_.recode(engine_.journal().coding());  // the database may have been compacted since the pairs came
        std::array<std::size_t, shard_count> per_shard{};
        for (const std::uint64_t hash : hashes_) ++per_shard[KeyHash(hash).shard()];
        const bool expires = batch_.member(batch_.start_of(0)).expiry_unix_ms != 0;
        for (std::size_t shard = 0; shard < shard_count; ++shard) {
            if (per_shard[shard] == 0) continue;
            // The default is for all of them or for none.
            const std::size_t expiring = expires ? per_shard[shard] : 0;
            if (auto room = engine_.make_room(index(), shard, per_shard[shard], expiring); !room) return room;
        }
        NodePool::Promise nodes;
        if (index().ordered != nullptr) {
            auto promised = put_in_key_order();
            if (!promised) return std::move(promised).error();
            nodes = std::move(*promised);
        }
        auto start = engine_.journal().append(batch_);
        if (!start) return std::move(start).error();
        index_batch(*start);
        return {};
    }

    // Neighbours in the ordered index are put into it one after the other. Pairs of the same key stay in their order.
    Result<NodePool::Promise> put_in_key_order() {
        std::vector<OffsetToSort> sorted;
        sorted.reserve(hashes_.size());
        for (std::size_t i = 0; i < hashes_.size(); ++i) sorted.push_back({0, i});
        const auto key_of = [](const void* batch, std::uint64_t i, PlainText&) noexcept {
            const auto& members = *static_cast<const BatchBuffer*>(batch);
            return members.member(members.start_of(static_cast<std::size_t>(i))).key;
        };
        sort_by_key(sorted, KeyReader(&batch_, key_of), 0);
        std::vector<Bytes> keys;
        order_.clear();
        for (const OffsetToSort& entry : sorted) {
            const auto i = static_cast<std::size_t>(entry.offset);
            const Bytes key = batch_.member(batch_.start_of(i)).key;
            order_.push_back(i);
            if (keys.empty() || keys.back() != key) keys.push_back(key);
        }
        return engine_.promise_nodes(*index().ordered, keys);
    }

    void index_batch(std::uint64_t start) noexcept {
        constexpr std::size_t ahead = 16;
        KeyspaceIndex& in = index();
        const bool ordered = in.ordered != nullptr;
        const auto member_at = [&](std::size_t i) { return ordered ? order_[i] : i; };
        for (std::size_t turn = 0; turn < hashes_.size(); ++turn) {
            if (turn + ahead < hashes_.size()) in.hash.prefetch(KeyHash(hashes_[member_at(turn + ahead)]));
            const std::size_t i = member_at(turn);
            const KeyHash hash(hashes_[i]);
            const FrameView frame = batch_.member(batch_.start_of(i));
            const Engine::Current current = engine_.find_slot(keyspace_, hash, frame.key);
            const HashIndex::Change change(in.hash, hash.shard());
            engine_.index_put(keyspace_, hash, current, start + batch_.start_of(i), frame);
        }
    }

    Engine& engine_;
    KeyspaceState& keyspace_;
    BatchBuffer batch_;
    std::vector<std::uint64_t> hashes_;
    std::vector<std::size_t> order_;  ///< of the members, by key; if the keyspace is ordered
};

}  // namespace emdb::detail
