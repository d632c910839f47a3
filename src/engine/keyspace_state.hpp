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
#if EMDB_TTL
    ExpiryQueues expiring{index};
#endif

    std::size_t memory_bytes() const noexcept {
#if EMDB_TTL
        return index.memory_bytes() + expiring.memory_bytes();
#else
        return index.memory_bytes();
#endif
    }
};

}  // namespace emdb::detail
