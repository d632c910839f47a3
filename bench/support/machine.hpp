#pragma once
// What the figures were measured on, and the process's own memory.

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

namespace bench {

/// The type of the file system that holds `path`, from the longest mount point above it.
inline std::string file_system_of(const std::filesystem::path& path) {
    const std::string target = std::filesystem::weakly_canonical(path).string() + "/";
    std::ifstream mounts("/proc/self/mounts");
    std::string line, device, point, type, best = "unknown";
    std::size_t longest = 0;
    while (std::getline(mounts, line)) {
        std::istringstream fields(line);
        if (!(fields >> device >> point >> type)) continue;
        if (point.back() != '/') point += '/';
        if (target.starts_with(point) && point.size() >= longest) {
            longest = point.size();
            best = type;
        }
    }
    return best;
}

inline bool lives_in_memory(const std::string& file_system) {
    return file_system == "tmpfs" || file_system == "ramfs" || file_system == "devtmpfs";
}

inline std::string first_line(const char* path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

inline std::string processor() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    }
    return "unknown processor";
}

inline std::string compiler() {
#if defined(__clang__)
    return "Clang " __clang_version__;
#elif defined(__GNUC__)
    return "GCC " __VERSION__;
#else
    return "unknown compiler";
#endif
}

/// One line: processor, kernel, file system, compiler, huge pages.
inline std::string describe_machine(const std::string& file_system) {
    utsname system{};
    uname(&system);
    return processor() + ", " + std::to_string(std::thread::hardware_concurrency()) + " threads; " + system.sysname +
           " " + system.release + "; " + file_system + "; " + compiler() + "; transparent huge pages " +
           first_line("/sys/kernel/mm/transparent_hugepage/enabled");
}

/// Bytes that /proc/self/smaps_rollup reports under `field` ("Anonymous", "FilePmdMapped", ...), or /proc/self/status.
inline std::uint64_t memory_of_process(const std::string& field, const char* source = "/proc/self/smaps_rollup") {
    std::ifstream file(source);
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(field + ":")) return std::stoull(line.substr(field.size() + 1)) * 1024;
    }
    return 0;
}

/// How much of the processors everybody else has had since it was made, from 0 to 1.
class OtherLoad {
  public:
    OtherLoad() : start_(now()) {}
    double share() const {
        const Usage end = now();
        const double all = end.all - start_.all;
        return all <= 0 ? 0 : std::max(0.0, (end.busy - start_.busy - (end.own - start_.own)) / all);
    }

  private:
    struct Usage {
        double all = 0, busy = 0, own = 0;  // seconds of processor time
    };
    static Usage now() {
        std::ifstream file("/proc/stat");
        std::string name;
        file >> name;
        Usage usage;
        const double tick = static_cast<double>(sysconf(_SC_CLK_TCK));
        double ticks = 0;
        // user, nice, system, idle, iowait, irq, softirq, steal
        for (int field = 0; field < 8 && file >> ticks; ++field) {
            usage.all += ticks / tick;
            if (field != 3 && field != 4) usage.busy += ticks / tick;
        }
        rusage own{};
        getrusage(RUSAGE_SELF, &own);
        for (const timeval& time : {own.ru_utime, own.ru_stime}) {
            usage.own += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
        }
        return usage;
    }
    Usage start_;
};

}  // namespace bench
