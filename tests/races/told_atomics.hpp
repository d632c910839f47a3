#pragma once
// std::atomic as helgrind is told of it; included before all else.
//
// Helgrind sees machine instructions: an atomic's load is a plain load to it, and of what a release store and the acquire load that
// reads it put in order it knows nothing. Here another class stands in the place of std::atomic, in all of emdb.hpp, and tells it:
// what comes before a release store happens before what comes after an acquire load of the same atomic. Relaxed accesses order
// nothing. The atomics' own bytes are left out of the check for races.
//
// An acquire load comes after all release stores made so far, not only after the one that it reads. So nothing is reported that is
// not one, and a race may be missed that ThreadSanitizer and the models see.

#include <valgrind/helgrind.h>

#define _GLIBCXX_SYNCHRONIZATION_HAPPENS_BEFORE(address) ANNOTATE_HAPPENS_BEFORE(address)
#define _GLIBCXX_SYNCHRONIZATION_HAPPENS_AFTER(address) ANNOTATE_HAPPENS_AFTER(address)

// All that emdb.hpp and doctest include, while `atomic` still means what it says.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <concepts>
#include <condition_variable>
#include <coroutine>
#include <deque>
#include <exception>
#include <filesystem>
#include <functional>
#include <future>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <set>
#include <shared_mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace std {  // where the name is looked for

template <class T>
class told_atomic {
public:
    static constexpr bool is_always_lock_free = std::atomic<T>::is_always_lock_free;

    constexpr told_atomic() noexcept = default;
    constexpr told_atomic(T value) noexcept : value_(value) {}  // NOLINT: converts, as std::atomic does
    told_atomic(const told_atomic&) = delete;
    told_atomic& operator=(const told_atomic&) = delete;

    T load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
        leave_out();
        const T value = value_.load(order);
        after(order);
        return value;
    }
    void store(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
        leave_out();
        before(order);
        value_.store(value, order);
    }
    T exchange(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
        return modify(order, [&] { return value_.exchange(value, order); });
    }
    bool compare_exchange_strong(T& expected, T desired, std::memory_order order, std::memory_order failure) noexcept {
        return modify(order, [&] { return value_.compare_exchange_strong(expected, desired, order, failure); });
    }
    bool compare_exchange_strong(T& expected, T desired, std::memory_order order = std::memory_order_seq_cst) noexcept {
        return modify(order, [&] { return value_.compare_exchange_strong(expected, desired, order); });
    }
    bool compare_exchange_weak(T& expected, T desired, std::memory_order order, std::memory_order failure) noexcept {
        return modify(order, [&] { return value_.compare_exchange_weak(expected, desired, order, failure); });
    }
    bool compare_exchange_weak(T& expected, T desired, std::memory_order order = std::memory_order_seq_cst) noexcept {
        return modify(order, [&] { return value_.compare_exchange_weak(expected, desired, order); });
    }
    T fetch_add(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
        return modify(order, [&] { return value_.fetch_add(value, order); });
    }
    T fetch_sub(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
        return modify(order, [&] { return value_.fetch_sub(value, order); });
    }
    T fetch_or(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
        return modify(order, [&] { return value_.fetch_or(value, order); });
    }
    T fetch_and(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
        return modify(order, [&] { return value_.fetch_and(value, order); });
    }
    void wait(T old, std::memory_order order = std::memory_order_seq_cst) const noexcept {
        leave_out();
        value_.wait(old, order);
        after(order);
    }
    void notify_one() noexcept { value_.notify_one(); }
    void notify_all() noexcept { value_.notify_all(); }

private:
    static bool acquires(std::memory_order order) noexcept {
        return order == std::memory_order_acquire || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
    }
    static bool releases(std::memory_order order) noexcept {
        return order == std::memory_order_release || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
    }
    void before([[maybe_unused]] std::memory_order order) const noexcept {
        if (releases(order)) ANNOTATE_HAPPENS_BEFORE(this);
    }
    void after([[maybe_unused]] std::memory_order order) const noexcept {
        if (acquires(order)) ANNOTATE_HAPPENS_AFTER(this);
    }
    // Each time: atomics also lie in memory that is mapped, or made anew at the same place.
    void leave_out() const noexcept { VALGRIND_HG_DISABLE_CHECKING(this, sizeof *this); }
    template <class Operation>
    auto modify(std::memory_order order, Operation&& operation) noexcept {
        leave_out();
        before(order);
        const auto result = operation();
        after(order);
        return result;
    }

    std::atomic<T> value_{};
};

}  // namespace std

#define atomic told_atomic
