#pragma once
// What emdb's shared structures are built of when they are modelled: included before any of its headers.

#define EMDB_DETAIL_MODEL

#include <atomic>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "races/model/explorer.hpp"

namespace emdb::detail {

/// One for each modelled thread, and one that some of them share: every look for pins is at all of them.
constexpr std::uint32_t owned_thread_slots = 4;
constexpr std::uint32_t shared_thread_slots = 1;
/// So that tables of a few buckets grow in several steps.
constexpr std::uint32_t buckets_per_growth_step = 1;
/// So that nodes of trees split and merge after a few keys.
constexpr unsigned leaf_entries_max = 6;
constexpr unsigned inner_entries_max = 4;

/// std::atomic as far as emdb needs it, every access of which is a step of the running model. As large as T: in it lies the value
/// that it was made with, all others are the model's.
template <class T>
class Atomic {
public:
    using Place = std::source_location;

    constexpr Atomic() noexcept : Atomic(T{}) {}
    constexpr Atomic(T value) noexcept : initial_(value) {  // NOLINT: converts, as std::atomic does
        if (!std::is_constant_evaluated()) {
            if (auto* explorer = model::Explorer::running()) explorer->made(&initial_, bits(value));
        }
    }
    Atomic(const Atomic&) = delete;
    Atomic& operator=(const Atomic&) = delete;

    T load(std::memory_order order = std::memory_order_seq_cst, Place place = Place::current()) const noexcept {
        auto* explorer = model::Explorer::running();
        if (explorer == nullptr) return initial_;
        return published(value_of(explorer->load(&initial_, bits(initial_), order, site(place))), order);
    }
    void store(T value, std::memory_order order = std::memory_order_seq_cst, Place place = Place::current()) noexcept {
        auto* explorer = model::Explorer::running();
        if (explorer == nullptr) initial_ = value;
        else explorer->store(&initial_, bits(initial_), bits(value), order, site(place));
    }
    T exchange(T value, std::memory_order order = std::memory_order_seq_cst, Place place = Place::current()) noexcept {
        return modify(order, place, [&](T) { return value; });
    }
    bool compare_exchange_strong(T& expected, T desired, std::memory_order order, std::memory_order failure,
                                 Place place = Place::current()) noexcept {
        auto* explorer = model::Explorer::running();
        if (explorer == nullptr) {
            const bool same = initial_ == expected;
            if (same) initial_ = desired;
            else expected = initial_;
            return same;
        }
        const T wanted = expected;
        bool changed = false;
        expected = value_of(explorer->modify(&initial_, bits(initial_), order, failure, site(place),
                                             [&](std::uint64_t old, std::uint64_t& fresh) {
                                                 fresh = bits(desired);
                                                 return changed = old == bits(wanted);
                                             }));
        return changed;
    }
    bool compare_exchange_strong(T& expected, T desired, std::memory_order order = std::memory_order_seq_cst,
                                 Place place = Place::current()) noexcept {
        const auto failure = order == std::memory_order_acq_rel ? std::memory_order_acquire
                             : order == std::memory_order_release ? std::memory_order_relaxed : order;
        return compare_exchange_strong(expected, desired, order, failure, place);
    }
    bool compare_exchange_weak(T& expected, T desired, std::memory_order order, std::memory_order failure,
                               Place place = Place::current()) noexcept {
        return compare_exchange_strong(expected, desired, order, failure, place);
    }
    T fetch_add(T value, std::memory_order order = std::memory_order_seq_cst, Place place = Place::current()) noexcept {
        return modify(order, place, [&](T old) { return static_cast<T>(old + value); });
    }
    T fetch_sub(T value, std::memory_order order = std::memory_order_seq_cst, Place place = Place::current()) noexcept {
        return modify(order, place, [&](T old) { return static_cast<T>(old - value); });
    }
    T fetch_or(T value, std::memory_order order = std::memory_order_seq_cst, Place place = Place::current()) noexcept {
        return modify(order, place, [&](T old) { return static_cast<T>(old | value); });
    }
    void wait(T old, std::memory_order order = std::memory_order_seq_cst, Place place = Place::current()) const noexcept {
        if (auto* explorer = model::Explorer::running()) explorer->wait(&initial_, bits(initial_), bits(old), order, site(place));
    }
    void notify_all() noexcept {
        if (auto* explorer = model::Explorer::running()) explorer->notify(&initial_, bits(initial_));
    }

private:
    static model::Site site(const Place& place) noexcept {
        return {place.file_name(), place.function_name(), place.line(), place.column()};
    }
    static constexpr std::uint64_t bits(T value) noexcept {
        std::uint64_t all = 0;
        std::memcpy(&all, &value, sizeof value);
        return all;
    }
    static T value_of(std::uint64_t all) noexcept {
        T value;
        std::memcpy(&value, &all, sizeof value);
        return value;
    }
    // Whoever orders the load of a pointer is about to use what it points at.
    static T published(T value, [[maybe_unused]] std::memory_order order) noexcept {
        if constexpr (std::is_pointer_v<T>) {
            if (order != std::memory_order_relaxed) model::Explorer::running()->use(value);
        }
        return value;
    }
    template <class F>
    T modify(std::memory_order order, const Place& place, F&& change) noexcept {
        auto* explorer = model::Explorer::running();
        if (explorer == nullptr) {
            const T old = initial_;
            initial_ = change(old);
            return old;
        }
        return value_of(explorer->modify(&initial_, bits(initial_), order, order, site(place), [&](std::uint64_t old, std::uint64_t& fresh) {
            fresh = bits(change(value_of(old)));
            return true;
        }));
    }

    T initial_;
};

class Mutex {
public:
    Mutex() noexcept = default;
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;
    void lock() {
        if (auto* explorer = model::Explorer::running()) explorer->lock(this);
    }
    bool try_lock() {
        auto* explorer = model::Explorer::running();
        return explorer == nullptr || explorer->try_lock(this);
    }
    void unlock() {
        if (auto* explorer = model::Explorer::running()) explorer->unlock(this);
    }

private:
    char place_ = 0;
};

}  // namespace emdb::detail
