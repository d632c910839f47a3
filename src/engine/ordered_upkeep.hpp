#pragma once
// What keeps a keyspace's ordered index in step: it is built from the hash index when a database is opened, and from then on
// changed in the same windows as that (index_put, index_remove), with nodes that were promised before the journal was written to.

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine/engine.hpp"
#include "index/ordered_sort.hpp"

namespace emdb::detail {

inline Bytes key_in_journal(const void* journal, std::uint64_t offset, PlainText& text) noexcept {
    FrameView frame;
    return static_cast<const Journal*>(journal)->read(offset, false, frame, text) ? frame.key : Bytes();
}

inline void prefetch_key_in_journal(const void* journal, std::uint64_t offset) noexcept {
    __builtin_prefetch(static_cast<const Journal*>(journal)->address(offset));
}

// The offsets of all records in key order. Nobody changes the index meanwhile.
inline std::vector<std::uint64_t> sort_records(const KeyspaceIndex& index) {
    std::vector<std::uint64_t> offsets;
    offsets.reserve(static_cast<std::size_t>(index.hash.totals().records));
    if (index.hash.has_shards()) {
        const Pins::Pin pin(index.hash.pins());
        for (HashIndex::Cursor cursor; !cursor.at_end();) index.hash.collect(cursor, offsets);
    }
    std::vector<OffsetToSort> entries;
    entries.reserve(offsets.size());
    for (const std::uint64_t offset : offsets) entries.push_back({0, offset});
    sort_by_key(entries, KeyReader(&index.journal(), &key_in_journal, &prefetch_key_in_journal), 0);
    for (std::size_t i = 0; i < offsets.size(); ++i) offsets[i] = entries[i].offset;
    return offsets;
}

// Gives a keyspace its ordered index, if the database has them. Nobody else uses the keyspace yet. Sorting what is there is
// faster than inserting record by record during the replay, leaves out what was overwritten or removed, and fills nodes better. A
// checkpoint may know the order; a list that has not all records is not relied upon.
Result<void> Engine::order(KeyspaceState& keyspace, std::vector<std::uint64_t> in_key_order) {
    if (!options_.range_scans) return {};
    const KeyspaceIndex& index = keyspace.index();
    if (in_key_order.size() != index.hash.totals().records) in_key_order = sort_records(index);
    return order_as(keyspace, in_key_order);
}

// The same, where the order is known.
Result<void> Engine::order_as(KeyspaceState& keyspace, std::span<const std::uint64_t> offsets) {
    KeyspaceIndex& index = keyspace.index();
    auto ordered = std::make_unique<OrderedIndex>(pins_, ordered_nodes_, &index.journal(), &key_in_journal,
                                                  &prefetch_key_in_journal);
    if (!ordered->build(offsets)) return out_of_memory();
    index.ordered = std::move(ordered);
    keyspace.database_path = path_;
    return {};
}

// For a put of one key, by the holder of its stripe.
Result<void> Engine::prepare_put(const OrderedIndex& index, Bytes key, OrderedPut& prepared) const {
    prepared.hint = index.prepare(key);
    prepared.nodes = NodePool::Promise(*ordered_nodes_, OrderedIndex::nodes_for_one);
    if (!prepared.nodes) return out_of_memory();
    return {};
}

// For puts of keys that a keyspace does not have, in ascending order, by the holder of all stripes.
Result<NodePool::Promise> Engine::promise_nodes(const OrderedIndex& index, std::span<const Bytes> new_keys) const {
    if (new_keys.empty()) return NodePool::Promise();
    NodePool::Promise nodes(*ordered_nodes_, index.nodes_for(new_keys));
    if (!nodes) return out_of_memory();
    return nodes;
}

}  // namespace emdb::detail
