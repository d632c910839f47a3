#pragma once
// The memory that modelled threads share: every atomic with all that was ever stored to it, and what each thread may still see.
//
// A C++20 memory model in the style of views, operational:
//   - A location's stores are kept in modification order, which is the order in which they are executed.
//   - A thread's view holds, for each location, the oldest store that it may still read. A load reads any store from there on,
//     which one is a choice to explore. That is how old values stay visible as they do on a weakly ordered processor.
//   - A release store carries the storing thread's view and clock; an acquire load that reads it takes both over. A
//     read-modify-write reads the newest store, and passes on what that carried (release sequences).
//   - A sequentially consistent load reads nothing older than the last sequentially consistent store executed.
//   - A process-wide barrier is a sequentially consistent fence in every thread: all views become one. Clocks do not.
//   - Clocks are vector clocks of happens-before. They tell races with what is not atomic: memory that is made, and freed.
//
// Stores that get into the middle of the modification order are not shown; instead, a plain store that is not ordered after the
// last one by happens-before is an error. What it can't show is a load that reads what is stored later in the order of execution
// (load buffering). Everything it does show the standard allows.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace model {

constexpr unsigned threads_max = 5;          ///< the first one sets up and takes down
constexpr unsigned shared_locations_max = 384;  ///< that are stored to after their construction
constexpr unsigned stores_max = 250;         ///< to one location

struct View {
    std::array<std::uint8_t, shared_locations_max> oldest{};
    void join(const View& other) noexcept {
        for (unsigned i = 0; i < shared_locations_max; ++i) oldest[i] = (std::max)(oldest[i], other.oldest[i]);
    }
};

struct Clock {
    std::array<std::uint16_t, threads_max> at{};
    void join(const Clock& other) noexcept {
        for (unsigned i = 0; i < threads_max; ++i) at[i] = (std::max)(at[i], other.at[i]);
    }
    bool covers(unsigned thread, std::uint16_t time) const noexcept { return at[thread] >= time; }
};

struct Known {
    View view;
    Clock clock;
    void join(const Known& other) noexcept {
        view.join(other.view);
        clock.join(other.clock);
    }
};

struct Store {
    std::uint64_t value = 0;
    bool carries = false;  ///< what an acquire load takes over
    Known known;
};

/// An access, as the search for other orders needs to know it.
struct Access {
    unsigned step = 0;
    unsigned thread = 0;
    bool writes = false;
    bool plain_store = false;
    bool sequential = false;
    bool unlocks = false;
    unsigned store = 0;  ///< which one it read or made
    std::array<unsigned, threads_max> ordered{};  ///< how many steps, in all, have been made when the last one that comes before it was
};

struct Location {
    std::uintptr_t address = 0;
    std::uint16_t shared_index = no_index;
    std::uint16_t last_sequential = 0;
    std::uint8_t maker = 0;
    std::uint8_t last_storer = 0;
    bool freed = false;
    std::uint16_t made_at = 0;
    std::uint16_t last_stored_at = 0;
    Clock used;  ///< when each thread last used it
    std::vector<Store> stores;
    std::vector<Access> accesses;
    unsigned count = 0;      ///< of stores in use
    unsigned owner = 0;      ///< of a lock: thread + 1
    Known last_unlock;
    unsigned notified = 0;   ///< one more than the newest store that a notifier knew of

    static constexpr std::uint16_t no_index = UINT16_MAX;
    Store& add() {
        if (count == stores.size()) stores.emplace_back();
        Store& store = stores[count++];
        store.carries = false;
        return store;
    }
    Store& newest() noexcept { return stores[count - 1]; }
};

/// A piece of memory from operator new.
struct Block {
    std::uintptr_t address = 0;
    std::size_t size = 0;
    std::uint8_t maker = 0;
    std::uint16_t made_at = 0;
    bool freed = false;
    Clock used;
};

/// Finds things by their address; emptied in one step.
template <class T>
class AddressMap {
public:
    AddressMap() : slots_(slot_count) {}
    T* find(std::uintptr_t address) noexcept {
        for (std::size_t i = place(address);; i = (i + 1) % slot_count) {
            Slot& slot = slots_[i];
            if (slot.round != round_) return nullptr;
            if (items_[slot.item].address == address) return &items_[slot.item];
        }
    }
    /// The address must be new. Items stay where they are, with what their last use left in them.
    T& add(std::uintptr_t address) {
        if (used_ == items_capacity) return items_[0];  // checked by full()
        std::size_t i = place(address);
        while (slots_[i].round == round_) i = (i + 1) % slot_count;
        if (used_ == items_.size()) items_.emplace_back();
        slots_[i] = {round_, static_cast<std::uint32_t>(used_)};
        T& item = items_[used_++];
        item.address = address;
        return item;
    }
    bool full() const noexcept { return used_ == items_capacity; }
    void clear() noexcept {
        ++round_;
        used_ = 0;
    }
    T* begin() noexcept { return items_.data(); }
    T* end() noexcept { return items_.data() + used_; }
    void reserve() { items_.reserve(items_capacity); }

private:
    static constexpr std::size_t slot_count = 32768;
    static constexpr std::size_t items_capacity = 16384;
    struct Slot {
        std::uint32_t round = 0;
        std::uint32_t item = 0;
    };
    static std::size_t place(std::uintptr_t address) noexcept { return ((address >> 1) * 0x9E3779B97F4A7C15U >> 40) % slot_count; }

    std::vector<Slot> slots_;
    std::vector<T> items_;
    std::uint32_t round_ = 1;
    std::size_t used_ = 0;
};

}  // namespace model
