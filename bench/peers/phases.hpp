#pragma once
// How a phase is run and becomes a figure.

#include <sys/resource.h>
#include <sys/stat.h>

#include <functional>

#include "../support/machine.hpp"
#include "../support/mapping.hpp"
#include "data_set.hpp"
#include "record.hpp"

namespace peers {

/// Processor time of all threads of this process, in seconds.
inline double processor_seconds() {
    rusage own{};
    getrusage(RUSAGE_SELF, &own);
    double seconds = 0;
    for (const timeval& time : {own.ru_utime, own.ru_stime}) {
        seconds += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    }
    return seconds;
}

/// What is on the disk: blocks, not lengths, since some stores have sparse files.
inline double allocated_bytes(const std::filesystem::path& folder) {
    double bytes = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
        struct stat status {};
        if (entry.is_regular_file() && stat(entry.path().c_str(), &status) == 0) {
            bytes += static_cast<double>(status.st_blocks) * 512;
        }
    }
    return bytes;
}

/// Everything that this process has allocated for the store, apart from what the workload had before.
class Memory {
  public:
    Memory() : anonymous_(now()), resident_(bench::memory_of_process("Rss")) {
        std::ofstream("/proc/self/clear_refs") << 5;  // forgets the peak so far
    }
    double anonymous() const { return beyond(now(), anonymous_); }
    /// Mapped files included.
    double peak_resident() const { return beyond(bench::memory_of_process("VmHWM", "/proc/self/status"), resident_); }

  private:
    static std::uint64_t now() { return bench::memory_of_process("Anonymous"); }
    static double beyond(std::uint64_t more, std::uint64_t less) {
        return more > less ? static_cast<double>(more - less) : 0;
    }
    std::uint64_t anonymous_, resident_;
};

class Phases {
  public:
    explicit Phases(Record& record) : record_(record) {}

    /// Wall-clock milliseconds of f(). A store that can't do it leaves a gap.
    void timed(const std::string& id, const std::function<void()>& f) {
        attempt(id, [&] {
            const double processor = processor_seconds();
            const bench::Clock::time_point start = bench::Clock::now();
            f();
            const double elapsed = bench::nanoseconds(bench::Clock::now() - start);
            record_.add({id, "ms", elapsed / 1e6, {}, processor_seconds() - processor});
        });
    }
    /// The same for `count` calls f(i), each timed by itself too.
    void timed_singly(const std::string& id, std::size_t count, const std::function<void(std::size_t)>& f) {
        attempt(id, [&] {
            bench::Samples each(count);
            const double processor = processor_seconds();
            const bench::Clock::time_point start = bench::Clock::now();
            bench::Clock::time_point last = start;
            for (std::size_t i = 0; i < count; ++i) {
                f(i);
                const bench::Clock::time_point now = bench::Clock::now();
                each[i] = bench::nanoseconds(now - last);
                last = now;
            }
            record_.add(
                {id, "ms", bench::nanoseconds(last - start) / 1e6, std::move(each), processor_seconds() - processor});
        });
    }
    void value(const std::string& id, const std::string& unit, double value) { record_.add({id, unit, value}); }
    void value_with_latencies(const std::string& id, const std::string& unit, double value, bench::Samples latencies) {
        record_.add({id, unit, value, std::move(latencies)});
    }
    void attempt(const std::string& id, const std::function<void()>& f) {
        try {
            f();
        } catch (const Unsupported& reason) {
            record_.impossible(id, reason.what());
        }
    }

  private:
    Record& record_;
};

inline void demand(bool holds, const char* what) {
    if (!holds) throw std::runtime_error(what);
}

}  // namespace peers
