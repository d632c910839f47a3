#pragma once
// How things are timed: two clocks, a barrier for the optimiser, interleaved rounds, and threads released together.

#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <latch>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace bench {

using Clock = std::chrono::steady_clock;
using Samples = std::vector<double>;

inline double as_double(std::size_t value) { return static_cast<double>(value); }

inline double nanoseconds(Clock::duration elapsed) {
    return static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(elapsed).count());
}

/// Makes the compiler believe that `value` is looked at and that memory changes, so that what produced it stays.
template <class T> inline void keep(const T& value) { asm volatile("" : : "r"(&value) : "memory"); }

/// The q-quantile (0 to 1) by linear interpolation; 0 for no samples.
inline double quantile(Samples samples, double q) {
    if (samples.empty()) return 0;
    std::sort(samples.begin(), samples.end());
    const double position = q * as_double(samples.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, samples.size() - 1);
    return samples[below] + (position - as_double(below)) * (samples[above] - samples[below]);
}

inline double median(const Samples& samples) { return quantile(samples, 0.5); }

/// numerator[i] / denominator[i]: both come from the same round, so what slowed the machine down slowed both.
inline Samples pairwise(const Samples& numerator, const Samples& denominator) {
    Samples ratios;
    for (std::size_t i = 0; i < std::min(numerator.size(), denominator.size()); ++i) {
        ratios.push_back(numerator[i] / denominator[i]);
    }
    return ratios;
}

/// Measures several things in turn, round after round, the odd rounds in reverse: a drift of the machine, and what one
/// contestant leaves behind for the next, then fall on all of them alike.
class Rounds {
  public:
    /// `measure` does a fixed amount of work and returns its cost for one operation.
    void add(std::string name, std::function<double()> measure) {
        contestants_.push_back({std::move(name), std::move(measure), {}});
    }

    /// The first round warms caches, page tables and the allocator up, and is not counted.
    void run(std::size_t rounds) {
        for (std::size_t round = 0; round <= rounds; ++round) {
            for (std::size_t i = 0; i < contestants_.size(); ++i) {
                Contestant& contestant = contestants_[round % 2 == 0 ? i : contestants_.size() - 1 - i];
                const double cost = contestant.measure();
                if (round != 0) contestant.samples.push_back(cost);
            }
        }
    }

    /// Empty for a contestant that did not take part.
    Samples operator[](std::string_view name) const {
        for (const Contestant& contestant : contestants_) {
            if (contestant.name == name) return contestant.samples;
        }
        return {};
    }

  private:
    struct Contestant {
        std::string name;
        std::function<double()> measure;
        Samples samples;
    };
    std::vector<Contestant> contestants_;
};

/// Time that this thread has had on a processor. Reads from memory wait for nothing else, so what other processes take
/// of the machine stays out of it.
inline double thread_nanoseconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

/// Processor nanoseconds for each of `count` reads done by f(i), one after the other.
template <class F> double time_reads(std::size_t count, F&& f) {
    const double start = thread_nanoseconds();
    for (std::size_t i = 0; i < count; ++i) f(i);
    return (thread_nanoseconds() - start) / as_double(count);
}

/// Wall-clock nanoseconds for each of `count` operations done by f(i), one after the other.
template <class F> double time_each(std::size_t count, F&& f) {
    const Clock::time_point start = Clock::now();
    for (std::size_t i = 0; i < count; ++i) f(i);
    return nanoseconds(Clock::now() - start) / as_double(count);
}

struct Cost {
    double wall = 0;
    double processor = 0;
};

/// Nanoseconds by both clocks for each of `count` operations that f() does. Far apart, they tell that f waited, for the
/// disk or for a busy processor.
template <class F> Cost time_whole(std::size_t count, F&& f) {
    const Clock::time_point wall = Clock::now();
    const double processor = thread_nanoseconds();
    f();
    const double processor_used = thread_nanoseconds() - processor;
    return {nanoseconds(Clock::now() - wall) / as_double(count), processor_used / as_double(count)};
}

/// Does `count` operations by several threads, which take `chunk` of them at a time until none is left, so that they end
/// together: wall-clock nanoseconds from their release to the end of the last one, for each operation of them all.
/// Starting and joining the threads is not in it, nor is begin(thread), which each thread calls before its release and
/// which returns a function f(i) that does operation i.
template <class Begin>
double time_threads_each(std::size_t threads, std::size_t count, std::size_t chunk, Begin&& begin) {
    std::atomic<std::size_t> next = 0;
    std::latch ready(static_cast<std::ptrdiff_t>(threads));
    std::latch go(1);
    std::vector<Clock::time_point> ends(threads);
    std::vector<std::thread> running;
    for (std::size_t thread = 0; thread < threads; ++thread) {
        running.emplace_back([&, thread] {
            auto f = begin(thread);
            ready.count_down();
            go.wait();
            for (;;) {
                const std::size_t first = next.fetch_add(chunk, std::memory_order_relaxed);
                if (first >= count) break;
                for (std::size_t i = first; i < std::min(first + chunk, count); ++i) f(i);
            }
            ends[thread] = Clock::now();
        });
    }
    ready.wait();
    const Clock::time_point start = Clock::now();
    go.count_down();
    for (std::thread& thread : running) thread.join();
    return nanoseconds(*std::max_element(ends.begin(), ends.end()) - start) / as_double(count);
}

/// The same for threads that need nothing of their own: f(i).
template <class F> double time_threads(std::size_t threads, std::size_t count, std::size_t chunk, F&& f) {
    return time_threads_each(threads, count, chunk, [&f](std::size_t) { return [&f](std::size_t i) { f(i); }; });
}

}  // namespace bench
