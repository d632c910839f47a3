#pragma once
// KeyspaceState: what the engine knows of one keyspace; all handles on it share it.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/config.hpp"
#include "engine/generation.hpp"
#include "index/expiry_queues.hpp"
#include "index/hash_index.hpp"
#include "index/ordered_index.hpp"

namespace emdb::detail {

struct KeyspaceState {
    KeyspaceState(std::uint32_t keyspace_id, std::string keyspace_name, Generation& current, std::shared_ptr<Pins> shared_pins)
        : id(keyspace_id), name(std::move(keyspace_name)), generation(current), pins(std::move(shared_pins)), index(pins) {}

    const std::uint32_t id;  ///< 0: the default keyspace; never used again after a drop
    const std::string name;
    std::atomic<bool> dropped{false};
    Generation& generation;  ///< the file that the index points into
    const std::shared_ptr<Pins> pins;
    HashIndex index;
    std::unique_ptr<OrderedIndex> ordered;  ///< null: range scans are not enabled
    std::string database_path;               ///< for errors of ordered iterators, which may outlive the engine; empty without them
#if EMDB_TTL
    ExpiryQueues expiring{index};
#endif

    std::size_t memory_bytes() const noexcept {
        std::size_t bytes = index.memory_bytes() + (ordered == nullptr ? 0 : ordered->memory_bytes());
#if EMDB_TTL
        bytes += expiring.memory_bytes();
#endif
        return bytes;
    }
};

}  // namespace emdb::detail
