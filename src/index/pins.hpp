#pragma once
// Pins: lets readers use shared structures without a lock, and frees those structures once no reader can hold them.
//
// A reader pins before it loads a pointer and unpins when it is done with what it points at. A writer first makes an object
// unreachable, then retires it. Readers count themselves under the parity of the current epoch; the epoch moves on when nobody
// is left under the other parity. Two moves after an object was retired nobody can hold it:
//
//   - pin: count up (A), load the pointer (B).   retire: unlink the pointer (C), later read the count as zero (D).
//     If D does not see A, then B sees C: either all four are sequentially consistent; or A is a plain store and a process-wide
//     barrier (os/contract.hpp) runs between C and D, which has the same effect at the expense of D alone.
//   - one move proves this for readers under one parity, the second for those under the other. A reader that loaded the epoch
//     long before it counts up may count under either; D covers both.
//
// The plain store matters: an atomic read-modify-write would keep a processor from starting on the next read's cache misses before
// this read's are over, and nearly double the cost of a read. Hence each thread has a slot of its own as long as there are any;
// further threads share slots, with atomic counting. The idea of two counted parities is that of SRCU in the Linux kernel.
//
// Pins are short: nobody pins across I/O, user code or another pin.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "base/atomic.hpp"
#include "index/thread_slot.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

class Pins {
    struct alignas(64) Slot {
        Atomic<std::uint32_t> count[2] = {};
        Atomic<std::uint32_t> pins_while_pending{0};
    };

public:
    using Deleter = void (*)(void*) noexcept;

    Pins() noexcept : plain_slots_(process_barrier_works() ? owned_thread_slots : 0) {}
    Pins(const Pins&) = delete;
    Pins& operator=(const Pins&) = delete;
    /// Nobody is pinned any more.
    ~Pins() {
        for (const Retired& retired : retired_) retired.deleter(retired.object);
    }

    /// Keeps everything reachable at its construction, or later, usable until its destruction. Pointers are loaded seq_cst.
    class Pin {
    public:
        [[gnu::always_inline]] explicit Pin(Pins& pins) noexcept : Pin(pins, thread_slot()) {}
        Pin(const Pin&) = delete;
        Pin& operator=(const Pin&) = delete;
        [[gnu::always_inline]] ~Pin() {
            // Release: what was read under the pin is read before the count goes down.
            if (own_) [[likely]] {
                count_.store(0, std::memory_order_release);
            } else {
                count_.fetch_sub(1, std::memory_order_release);
            }
            if (pins_.pending_.load(std::memory_order_relaxed)) [[unlikely]] pins_.reclaim_sometimes();
        }

    private:
        [[gnu::always_inline]] Pin(Pins& pins, std::uint32_t slot) noexcept
            : pins_(pins),
              count_(pins.slots_[slot].count[pins.epoch_.load(std::memory_order_relaxed) & 1]),
              own_(slot < pins.plain_slots_) {
            if (own_) [[likely]] {
                count_.store(1, std::memory_order_relaxed);
                std::atomic_signal_fence(std::memory_order_seq_cst);  // the compiler keeps the order, the barrier the processor
            } else {
                count_.fetch_add(1, std::memory_order_seq_cst);
            }
        }

        Pins& pins_;
        Atomic<std::uint32_t>& count_;
        const bool own_;
    };

    /// Room for `count` more retirements, so that they can't fail for want of memory.
    void reserve(std::size_t count) {
        const std::lock_guard lock(mutex_);
        promised_ += count;
        retired_.reserve(retired_.size() + promised_);
    }

    void unreserve(std::size_t count) noexcept {
        const std::lock_guard lock(mutex_);
        promised_ -= (std::min)(count, promised_);
    }

    /// Has `deleter(object)` called once no reader can hold `object`, which must be unreachable by now. Room was reserved.
    void retire(void* object, Deleter deleter) noexcept {
        {
            const std::lock_guard lock(mutex_);
            if (promised_ != 0) --promised_;
            retired_.push_back({object, deleter, epoch_.load(std::memory_order_relaxed)});
            pending_.store(true, std::memory_order_relaxed);
        }
        reclaim();
    }

    /// Waits until what has been retired is freed, a second at most. For callers that have time.
    void reclaim_all() noexcept {
        // Longer and longer: a few attempts, so that it stays a second where waking up takes long, as on a busy machine. What is held
        // is held for good where the system refuses the barrier.
        std::chrono::microseconds pause{100};
        for (int attempt = 0; attempt < 13 && pending_.load(std::memory_order_relaxed); ++attempt, pause *= 2) {
            reclaim();
            if (pending_.load(std::memory_order_relaxed)) std::this_thread::sleep_for(pause);
        }
    }

private:
    struct Retired {
        void* object;
        Deleter deleter;
        std::uint64_t epoch;
    };

    // A reader that was stopped in the middle holds reclamation up for a while: not every unpin need find that out.
    [[gnu::noinline]] void reclaim_sometimes() noexcept {
        if (slots_[thread_slot()].pins_while_pending.fetch_add(1, std::memory_order_relaxed) % 64 == 0) reclaim();
    }

    // Moves the epoch on as far as readers allow and frees what has waited for two moves. Never waits.
    void reclaim() noexcept {
        if (!mutex_.try_lock()) return;  // somebody else is at it
        const std::lock_guard lock(mutex_, std::adopt_lock);
        if (plain_slots_ != 0 && !process_barrier()) return;  // without it nothing is known; better garbage than a dangling pointer
        for (int move = 0; move < 2 && nobody_under(epoch_.load(std::memory_order_relaxed) + 1); ++move) {
            // Relaxed: retirements look at it under the mutex, and readers may count under either parity.
            epoch_.store(epoch_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        }
        const std::uint64_t epoch = epoch_.load(std::memory_order_relaxed);
        std::size_t kept = 0;
        for (std::size_t i = 0; i < retired_.size(); ++i) {
            const Retired retired = retired_[i];
            if (retired.epoch + 2 <= epoch) {
                retired.deleter(retired.object);
            } else {
                retired_[kept++] = retired;
            }
        }
        retired_.resize(kept);
        pending_.store(kept != 0, std::memory_order_relaxed);
    }

    bool nobody_under(std::uint64_t epoch) const noexcept {
        for (const Slot& slot : slots_) {
            if (slot.count[epoch & 1].load(std::memory_order_seq_cst) != 0) return false;
        }
        return true;
    }

    std::array<Slot, thread_slot_count> slots_;
    alignas(64) Atomic<std::uint64_t> epoch_{0};
    Atomic<bool> pending_{false};
    const std::uint32_t plain_slots_;  ///< slots below this are counted with plain stores, by the one thread that has them
    Mutex mutex_;
    std::vector<Retired> retired_;
    std::size_t promised_ = 0;
};

}  // namespace emdb::detail
