#pragma once
// A small number for each thread: its own as long as there are enough, for keeping threads off each other's cache lines.

#include <atomic>
#include <cstdint>

#include "base/atomic.hpp"

namespace emdb::detail {

#ifndef EMDB_DETAIL_MODEL  // which has a few threads
constexpr std::uint32_t owned_thread_slots = 96;
constexpr std::uint32_t shared_thread_slots = 32;
#endif
constexpr std::uint32_t thread_slot_count = owned_thread_slots + shared_thread_slots;

/// Which of the owned slots are taken, a bit each. A thread takes one when it first needs it and gives it back when it ends; a
/// thread that finds none, or needs one while it is ending, uses a shared slot for good.
class ThreadSlots {
public:
    static std::uint32_t take() noexcept {
        for (std::uint32_t slot = 0; slot < owned_thread_slots; ++slot) {
            // Acquire: pairs with the release in give_back, so that the slot's last user is done with it.
            if (!taken(slot).exchange(true, std::memory_order_acquire)) return slot;
        }
        return share();
    }
    static void give_back(std::uint32_t slot) noexcept {
        if (slot < owned_thread_slots) taken(slot).store(false, std::memory_order_release);
    }
    static std::uint32_t share() noexcept {
        static Atomic<std::uint32_t> next{0};
        return owned_thread_slots + next.fetch_add(1, std::memory_order_relaxed) % shared_thread_slots;
    }

private:
    static Atomic<bool>& taken(std::uint32_t slot) noexcept {
        static Atomic<bool> flags[owned_thread_slots];
        return flags[slot];
    }
};

constexpr std::uint32_t no_thread_slot = UINT32_MAX;
// A plain number, so that reading it needs no check whether it has been constructed.
constinit inline thread_local std::uint32_t current_thread_slot = no_thread_slot;

/// Gives the slot back when its thread ends.
struct ThreadSlotOwner {
    ~ThreadSlotOwner() {
        ThreadSlots::give_back(current_thread_slot);
        current_thread_slot = ThreadSlots::share();
    }
    void touch() noexcept {}
};

[[gnu::noinline]] inline std::uint32_t take_thread_slot() noexcept {
    thread_local ThreadSlotOwner owner;
    owner.touch();
    current_thread_slot = ThreadSlots::take();
    return current_thread_slot;
}

/// This thread's slot, below thread_slot_count.
inline std::uint32_t thread_slot() noexcept {
    const std::uint32_t slot = current_thread_slot;
    if (slot == no_thread_slot) [[unlikely]] return take_thread_slot();
    return slot;
}

}  // namespace emdb::detail
