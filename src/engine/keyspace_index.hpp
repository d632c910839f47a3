#pragma once
// KeyspaceIndex: where a keyspace's records are in one generation's file.
//
// A keyspace gets another one when the database changes over to another file (compaction). Whoever found the old one goes on with
// it: it no longer changes, and stays as long as its generation does.

#include <cstddef>
#include <memory>

#include "base/config.hpp"
#include "engine/generation.hpp"
#include "index/expiry_queues.hpp"
#include "index/hash_index.hpp"
#include "index/ordered_index.hpp"

namespace emdb::detail {

struct KeyspaceIndex {
    KeyspaceIndex(Generation& file, const std::shared_ptr<Pins>& pins) : generation(file), hash(pins) {}

    Generation& generation;
    HashIndex hash;
    std::unique_ptr<OrderedIndex> ordered;  ///< null: range scans are not enabled
#if EMDB_TTL
    ExpiryQueues expiring{hash};
#endif

    Journal& journal() const noexcept { return generation.journal(); }

    std::size_t memory_bytes() const noexcept {
        std::size_t bytes = hash.memory_bytes() + (ordered == nullptr ? 0 : ordered->memory_bytes());
#if EMDB_TTL
        bytes += expiring.memory_bytes();
#endif
        return bytes;
    }
};

}  // namespace emdb::detail
