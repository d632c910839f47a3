#pragma once
// Environment on POSIX: entropy, time, the process, and memory for index tables.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <span>
#include <string>

#include "base/result.hpp"
#include "os/contract.hpp"
#include "os/posix_file.hpp"
#include "os/posix_filesystem.hpp"
#include "os/system_error.hpp"

#if !defined(_WIN32)

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#if defined(__linux__) || defined(__APPLE__)
#include <sys/random.h>  // elsewhere getentropy() is in unistd.h
#endif
#include <sys/stat.h>
#include <unistd.h>

namespace emdb::detail {

// The child's own thread is the only one there, but the parent's threads read their copy all the time, hence the atomic.
// Relaxed: it orders nothing, and fork() itself is a full synchronisation of parent and child.
std::atomic<std::uint32_t> fork_counter{0};

void count_fork_in_child() {
    fork_counter.fetch_add(1, std::memory_order_relaxed);
}

std::uint32_t fork_count() noexcept {
    return fork_counter.load(std::memory_order_relaxed);
}

void watch_forks() {
    // Acquire pairs with the release below: who sees `true` also sees a registered handler. Two threads that come first at the
    // same time may both register; then a fork counts twice, which is as good as once. No mutex, since a child forked while
    // another thread holds it could never take it.
    static std::atomic<bool> watching{false};
    if (watching.load(std::memory_order_acquire)) return;
    // Fails for want of memory only; then the next caller tries again.
    if (::pthread_atfork(nullptr, nullptr, count_fork_in_child) == 0) watching.store(true, std::memory_order_release);
}

class PosixEnvironment final : public Environment {
public:
    FileSystem& files() override { return files_; }

    std::uint64_t now_unix_ms() override {
        const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
        return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count());
    }

    Result<void> fill_random(std::span<std::byte> into) override {
        constexpr std::size_t step_max = 256;  // what getentropy() gives at once, and getrandom() without being interrupted
        while (!into.empty()) {
            const std::size_t step = (std::min)(into.size(), step_max);
#if defined(__linux__)
            const ssize_t got = retry_interrupted([&] { return ::getrandom(into.data(), step, 0); });
            if (got < 0 && errno == ENOSYS) return read_random_device(into);  // Linux before 3.17
            if (got <= 0) return system_error("get random bytes from", "getrandom", got < 0 ? errno : EIO);
            into = into.subspan(static_cast<std::size_t>(got));
#else
            if (::getentropy(into.data(), step) != 0) return system_error("get random bytes from", "getentropy", errno);
            into = into.subspan(step);
#endif
        }
        return {};
    }

    std::uint32_t process_id() override { return static_cast<std::uint32_t>(::getpid()); }

    std::string host_name() override {
        char name[256] = {};
        // Information for people only, so none is no error; POSIX may leave out the NUL of a name that was cut.
        if (::gethostname(name, sizeof name - 1) != 0) return {};
        return name;
    }

private:
#if defined(__linux__)
    static Result<void> read_random_device(std::span<std::byte> into) {
        const char* const path = "/dev/urandom";
        Descriptor device(retry_interrupted([&] { return ::open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY); }));
        struct stat status;
        if (!device || ::fstat(device.number(), &status) != 0) return system_error("get random bytes from", path, errno);
        // In a carelessly made chroot it may be an ordinary file.
        if (!S_ISCHR(status.st_mode)) return system_error("get random bytes from", path, ENODEV);
        while (!into.empty()) {
            const ssize_t got = retry_interrupted([&] { return ::read(device.number(), into.data(), into.size()); });
            if (got <= 0) return system_error("get random bytes from", path, got < 0 ? errno : EIO);
            into = into.subspan(static_cast<std::size_t>(got));
        }
        return {};
    }
#endif

    PosixFileSystem files_;
};

Environment& native_environment() {
    // In a union it is never destroyed: databases in static storage may be closed after it would have been.
    union Immortal {
        Immortal() : environment() {}
        ~Immortal() {}
        PosixEnvironment environment;
    };
    static Immortal immortal;
    return immortal.environment;
}

std::string environment_variable(const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? std::string() : std::string(value);
}

Result<std::string> platform_data_directory() {
#if !defined(__APPLE__)
    // The XDG base directory specification: a relative path is invalid and to be ignored.
    std::string data = environment_variable("XDG_DATA_HOME");
    if (!data.empty() && data.front() == '/') return data;
#endif
    std::string home = environment_variable("HOME");
    if (home.empty() || home.front() != '/') {
        return Error(ErrorCode::invalid_config,
                     "The directory for application data can't be found out: neither XDG_DATA_HOME nor HOME is set to an "
                     "absolute path. Set one of them, or give the builder a data_root() or a path().");
    }
    while (home.size() > 1 && home.back() == '/') home.pop_back();
    if (home == "/") home.clear();
#if defined(__APPLE__)
    return home + "/Library/Application Support";
#else
    return home + "/.local/share";
#endif
}

/// Sizes from this on get huge pages: a table of a million slots looked up at random otherwise misses the TLB every time.
constexpr std::size_t huge_page_size = std::size_t{2} << 20;

inline std::size_t round_up(std::size_t size, std::size_t multiple) noexcept {
    return (size + multiple - 1) / multiple * multiple;
}

void* allocate_pages(std::size_t size) noexcept {
    if (size > (std::numeric_limits<std::size_t>::max)() - 2 * huge_page_size) return nullptr;
    const std::size_t kept = round_up((std::max)(size, std::size_t{1}), page_size());
    const std::size_t slack = size < huge_page_size ? 0 : huge_page_size;
    constexpr int protection = PROT_READ | PROT_WRITE;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#if defined(MAP_POPULATE)
    // A table's pages are all used soon, and entering them one by one, as they are, costs more (an eighth of a replay's time).
    if (slack == 0) flags |= MAP_POPULATE;
#endif
    void* const address = ::mmap(nullptr, kept + slack, protection, flags, -1, 0);
    if (is_failed_map(address)) return nullptr;
    if (slack == 0) return address;

    // Cut off what is before the first aligned address and what is left behind it.
    std::byte* const mapped = static_cast<std::byte*>(address);
    const std::size_t lead = (huge_page_size - reinterpret_cast<std::uintptr_t>(mapped) % huge_page_size) % huge_page_size;
    if (lead != 0) ::munmap(mapped, lead);
    if (slack != lead) ::munmap(mapped + lead + kept, slack - lead);
#if defined(MADV_HUGEPAGE)
    ::madvise(mapped + lead, kept, MADV_HUGEPAGE);  // a wish: small pages do as well
#endif
    return mapped + lead;
}

void release_pages(void* data, std::size_t size) noexcept {
    if (data != nullptr) ::munmap(data, round_up((std::max)(size, std::size_t{1}), page_size()));
}

void give_back_pages(void* data, std::size_t size) noexcept {
#if defined(MADV_DONTNEED)
    const auto begin = reinterpret_cast<std::uintptr_t>(data);
    const std::size_t lead = round_up(begin, page_size()) - begin;
    if (size < lead + page_size()) return;
    ::madvise(static_cast<std::byte*>(data) + lead, (size - lead) / page_size() * page_size(), MADV_DONTNEED);
#else
    static_cast<void>(data);
    static_cast<void>(size);
#endif
}

}  // namespace emdb::detail

#endif  // !_WIN32
