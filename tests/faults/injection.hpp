#pragma once
// Makes the n-th system call, allocation or thread start of a run fail, and counts all of them.
//
// Only while somebody is Armed does anything count or fail: a test arms it around calls of the library, so that what the test itself
// does goes well.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace emdb_test {

enum class Call : std::uint8_t {
    // file operations
    open, stat, lstat, fstat, fstatfs, pread, pwrite, fallocate, ftruncate, fdatasync, fsync, lock, fcntl, fchmod, fchown, posix_fadvise,
    mmap, madvise, mlock, membarrier, rename, rename_exclusively, link, unlink, mkdir, realpath, getcwd, getrandom, gethostname,
    // others
    allocation, thread_start,
};
constexpr std::size_t call_count = static_cast<std::size_t>(Call::thread_start) + 1;

inline const char* to_string(Call call) noexcept {
    static constexpr std::array<const char*, call_count> names{
        "open", "stat", "lstat", "fstat", "fstatfs", "pread", "pwrite", "fallocate", "ftruncate", "fdatasync", "fsync", "fcntl for a lock", "fcntl", "fchmod",
        "fchown", "posix_fadvise", "mmap", "madvise", "mlock", "membarrier", "rename", "renameat2", "link", "unlink", "mkdir", "realpath", "getcwd", "getrandom",
        "gethostname",
        "operator new", "pthread_create"};
    return names[static_cast<std::size_t>(call)];
}

/// Which calls are in question.
enum class Among : std::uint8_t { file_operations, interruptible, transfers, writes, allocations, thread_starts };

inline bool is_among(Call call, Among among) noexcept {
    switch (among) {
        case Among::file_operations: return call < Call::allocation;
        case Among::interruptible:
            return call == Call::open || (call >= Call::fstatfs && call <= Call::lock) || call == Call::madvise || call == Call::getrandom;
        case Among::transfers: return call == Call::pread || call == Call::pwrite;
        case Among::writes: return call == Call::pwrite;
        case Among::allocations: return call == Call::allocation;
        case Among::thread_starts: return call == Call::thread_start;
    }
    return false;
}

enum class Outcome : std::uint8_t { as_asked, fails, is_short, is_zero };

/// What goes wrong.
struct Trouble {
    const char* name;
    Among among;
    Outcome outcome = Outcome::fails;
    int os_error = 0;
    bool for_good = false;
};

/// One for the program; all members are safe to use from any thread, and allocate nothing.
class Injector {
public:
    /// Forgets what was counted. The n-th call among those in question meets the trouble, from 1 on; 0: none does.
    void begin(const Trouble& trouble, std::uint64_t nth) noexcept {
        trouble_ = trouble;
        nth_ = nth;
        matched_.store(0);
        injected_.store(0);
    }
    /// No system call for this is to be had at all: what is used in its place is called.
    void lack_exclusive_rename(bool lacks) noexcept { lacks_exclusive_rename_ = lacks; }
    bool lacks_exclusive_rename() const noexcept { return lacks_exclusive_rename_; }

    std::uint64_t matched() const noexcept { return matched_.load(); }
    std::uint64_t injected() const noexcept { return injected_.load(); }
    std::uint64_t seen(Call call) const noexcept { return seen_[static_cast<std::size_t>(call)].load(); }
    std::uint64_t failed(Call call) const noexcept { return failed_[static_cast<std::size_t>(call)].load(); }

    Outcome fate(Call call) noexcept {
        if (armed_.load(std::memory_order_relaxed) == 0) return Outcome::as_asked;
        seen_[static_cast<std::size_t>(call)].fetch_add(1, std::memory_order_relaxed);
        if (nth_ == 0 || !is_among(call, trouble_.among)) {
            if (is_among(call, trouble_.among)) matched_.fetch_add(1);
            return Outcome::as_asked;
        }
        const std::uint64_t number = matched_.fetch_add(1) + 1;
        if (number != nth_ && !(trouble_.for_good && number > nth_)) return Outcome::as_asked;
        injected_.fetch_add(1);
        failed_[static_cast<std::size_t>(call)].fetch_add(1, std::memory_order_relaxed);
        return trouble_.outcome;
    }
    int os_error() const noexcept { return trouble_.os_error; }

private:
    friend class Armed;
    Trouble trouble_{};
    std::uint64_t nth_ = 0;
    bool lacks_exclusive_rename_ = false;
    std::atomic<int> armed_{0};
    std::atomic<std::uint64_t> matched_{0};
    std::atomic<std::uint64_t> injected_{0};
    std::array<std::atomic<std::uint64_t>, call_count> seen_{};
    std::array<std::atomic<std::uint64_t>, call_count> failed_{};
};

inline Injector injector;

class Armed {
public:
    Armed() noexcept { injector.armed_.fetch_add(1); }
    Armed(const Armed&) = delete;
    Armed& operator=(const Armed&) = delete;
    ~Armed() { injector.armed_.fetch_sub(1); }
};

}  // namespace emdb_test
