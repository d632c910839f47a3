#pragma once
// KeyspaceState: what the engine knows of one keyspace; all handles on it share it.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "engine/keyspace_index.hpp"
#include "index/pins.hpp"

namespace emdb::detail {

struct KeyspaceState {
    KeyspaceState(std::uint32_t keyspace_id, std::string keyspace_name, std::shared_ptr<Pins> shared_pins,
                  std::unique_ptr<KeyspaceIndex> first)
        : id(keyspace_id), name(std::move(keyspace_name)), pins(std::move(shared_pins)), current_(first.release()) {}
    KeyspaceState(const KeyspaceState&) = delete;
    KeyspaceState& operator=(const KeyspaceState&) = delete;
    ~KeyspaceState() { delete current_.load(std::memory_order_relaxed); }

    const std::uint32_t id;  ///< 0: the default keyspace; never used again after a drop
    const std::string name;
    std::atomic<bool> dropped{false};
    const std::shared_ptr<Pins> pins;
    std::string database_path;  ///< for errors of ordered iterators, which may outlive the engine; empty without them

    /// The caller holds a pin (then sequentially consistent, see Pins), or a stripe.
    KeyspaceIndex& index() const noexcept { return *current_.load(std::memory_order_seq_cst); }

    /// Changes over to another file's index, and returns the old one, which is to stay as long as its generation. The caller holds
    /// all stripes.
    std::unique_ptr<KeyspaceIndex> change_over(std::unique_ptr<KeyspaceIndex> next) noexcept {
        return std::unique_ptr<KeyspaceIndex>(current_.exchange(next.release(), std::memory_order_seq_cst));
    }

private:
    std::atomic<KeyspaceIndex*> current_;
};

}  // namespace emdb::detail
