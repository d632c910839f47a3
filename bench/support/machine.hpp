#pragma once
// What the figures were measured on, and the process's own memory.

#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/utsname.h>

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

/// Bytes that /proc/self/smaps_rollup reports under `field` ("Anonymous", "FilePmdMapped", ...).
inline std::uint64_t memory_of_process(const std::string& field) {
    std::ifstream file("/proc/self/smaps_rollup");
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(field + ":")) return std::stoull(line.substr(field.size() + 1)) * 1024;
    }
    return 0;
}

}  // namespace bench
