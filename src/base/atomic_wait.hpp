#pragma once
// Sleeping until an atomic has another value, as std::atomic::wait() does, where that can be relied on.
//
// Without futexes (Windows, macOS) libstdc++ up to GCC 12 compares the value first and takes the lock of its condition variable after
// that: who changes and notifies in between wakes nobody, and the waiter sleeps for good. Seen with MinGW within milliseconds. There,
// waiters sleep in a WaitingRoom instead.

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace emdb::detail {

/// Where waiters of several atomics sleep, told apart by looking again. The value is looked at under the mutex that whoever has changed
/// it takes before waking, so no change is missed.
class WaitingRoom {
public:
    template <class Unchanged>
    void wait_while(Unchanged unchanged) {
        std::unique_lock lock(mutex_);
        while (unchanged()) changed_.wait(lock);
    }

    /// After the change.
    void wake_all() {
        { const std::lock_guard lock(mutex_); }
        changed_.notify_all();
    }

    static WaitingRoom& of(const void* address) {
        // In a union it is never destroyed: databases in static storage may be closed after it would have been.
        union Immortal {
            Immortal() : rooms() {}
            ~Immortal() {}
            WaitingRoom rooms[room_count];
        };
        static Immortal immortal;
        return immortal.rooms[reinterpret_cast<std::uintptr_t>(address) / 64 % room_count];
    }

private:
    static constexpr std::size_t room_count = 16;
    std::mutex mutex_;
    std::condition_variable changed_;
};

/// Returns when the atomic's value is no longer `old`, or at any time before. The changes that matter are followed by wake_waiters().
template <class AnyAtomic, class Value>
void wait_for_change(const AnyAtomic& atomic, Value old, std::memory_order order) noexcept {
#if defined(__GLIBCXX__) && !defined(_GLIBCXX_HAVE_LINUX_FUTEX)
    WaitingRoom::of(&atomic).wait_while([&] { return atomic.load(order) == old; });
#else
    atomic.wait(old, order);
#endif
}

template <class AnyAtomic>
void wake_waiters(AnyAtomic& atomic) noexcept {
#if defined(__GLIBCXX__) && !defined(_GLIBCXX_HAVE_LINUX_FUTEX)
    WaitingRoom::of(&atomic).wake_all();
#else
    atomic.notify_all();
#endif
}

}  // namespace emdb::detail
