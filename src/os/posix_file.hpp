#pragma once
// File on a POSIX descriptor: Linux, macOS and the BSDs.
//
// Three things differ between them and are decided here: what makes bytes durable (sync_descriptor), where allocated space
// stays allocated (keeps_allocation), and which lock belongs to the open file instead of the process (lock_descriptor).
// On 32-bit systems off_t has 32 bits unless the program is compiled with -D_FILE_OFFSET_BITS=64; offsets that do not fit are
// refused, never cut.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.hpp"
#include "os/contract.hpp"
#include "os/system_error.hpp"

#if !defined(_WIN32)

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/vfs.h>
#endif

namespace emdb::detail {

/// Calls a system call until a signal does not interrupt it.
template <class Call>
auto retry_interrupted(Call call) {
    for (;;) {
        const auto result = call();
        if (result != -1 || errno != EINTR) return result;
    }
}

/// Owns a descriptor.
class Descriptor {
public:
    explicit Descriptor(int number = -1) noexcept : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        // The result says nothing that matters: sync() has reported what reached the disk, and after EINTR the descriptor is
        // closed on Linux, where trying again could close another thread's.
        if (number_ >= 0) ::close(number_);
    }

    int number() const noexcept { return number_; }
    explicit operator bool() const noexcept { return number_ >= 0; }

private:
    int number_;
};

/// MAP_FAILED, which the system headers write as an old-style cast.
inline bool is_failed_map(const void* address) noexcept {
    return reinterpret_cast<std::intptr_t>(address) == -1;
}

inline std::size_t page_size() noexcept {
    static const std::size_t size = [] {
        const long asked = ::sysconf(_SC_PAGESIZE);
        return asked > 0 ? static_cast<std::size_t>(asked) : std::size_t{4096};
    }();
    return size;
}

/// Brings pages in, ready to be stored to: 0, EINVAL where the kernel has no such call, or another errno.
inline int populate_pages(std::byte* data, std::size_t length) noexcept {
#if defined(__linux__)
    constexpr int madv_populate_write = 23;  // since Linux 5.14; C libraries may not know it yet
    const std::size_t lead = reinterpret_cast<std::uintptr_t>(data) % page_size();
    return retry_interrupted([&] { return ::madvise(data - lead, length + lead, madv_populate_write); }) == 0 ? 0 : errno;
#else
    static_cast<void>(data);
    static_cast<void>(length);
    return EINVAL;
#endif
}

/// Makes a file or directory durable. 0 or errno. Only EINTR is tried again: it tells that the wait was cut short, not that a
/// write failed.
inline int sync_descriptor(int descriptor, bool directory) noexcept {
#if defined(F_FULLFSYNC)
    // fsync() on macOS leaves the bytes in the drive's own cache. File systems without the stronger call (SMB, FAT) say so.
    if (retry_interrupted([&] { return ::fcntl(descriptor, F_FULLFSYNC); }) != -1) return 0;
    if (!is_not_supported(errno) && errno != ENOTTY && !(directory && errno == EINVAL)) return errno;
#elif defined(__linux__) || (defined(_POSIX_SYNCHRONIZED_IO) && _POSIX_SYNCHRONIZED_IO > 0)
    // Writes the size too where it has changed, but no times.
    if (!directory) return retry_interrupted([&] { return ::fdatasync(descriptor); }) == 0 ? 0 : errno;
#endif
    return retry_interrupted([&] { return ::fsync(descriptor); }) == 0 ? 0 : errno;
}

/// Locks without waiting: 0, EAGAIN when somebody else has the lock, or another errno. The lock must belong to the open file:
/// POSIX process locks let a second open in the same process pass, and vanish when any descriptor of the file is closed.
inline int lock_descriptor(int descriptor, bool exclusive) noexcept {
#if defined(__linux__) && defined(F_OFD_SETLK)
    struct flock whole_file = {};
    whole_file.l_type = static_cast<short>(exclusive ? F_WRLCK : F_RDLCK);
    whole_file.l_whence = SEEK_SET;
    if (retry_interrupted([&] { return ::fcntl(descriptor, F_OFD_SETLK, &whole_file); }) != -1) return 0;
    if (errno == EACCES || errno == EAGAIN) return EAGAIN;
    if (errno != EINVAL) return errno;  // EINVAL: a kernel before 3.15, for every opener alike
#endif
    if (retry_interrupted([&] { return ::flock(descriptor, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB); }) == 0) return 0;
    return errno == EWOULDBLOCK ? EAGAIN : errno;
}

inline void unlock_descriptor(int descriptor) noexcept {
    // Which of the two locks it was does not matter; unlocking what is not locked does nothing.
#if defined(__linux__) && defined(F_OFD_SETLK)
    struct flock whole_file = {};
    whole_file.l_type = F_UNLCK;
    whole_file.l_whence = SEEK_SET;
    ::fcntl(descriptor, F_OFD_SETLK, &whole_file);
#endif
    ::flock(descriptor, LOCK_UN);
}

#if EMDB_IO_URING
/// As sync_descriptor(), by io_uring.
int sync_by_ring(SyncRing& ring, int descriptor) noexcept;
#endif

class PosixFile final : public File {
public:
    PosixFile(Descriptor descriptor, std::string path, bool writable) noexcept
        : descriptor_(std::move(descriptor)), path_(std::move(path)), writable_(writable) {}

    ~PosixFile() override {
        // A child that was forked meanwhile has a copy of the descriptor and would keep the lock alive, so closing is not
        // enough; in that child the lock is the parent's and must stay.
        const std::uint64_t owner = lock_owner_.load(std::memory_order_relaxed);
        if (owner != 0 && owner == this_process()) unlock_descriptor(number());
    }

    Result<std::uint64_t> size() override {
        struct stat status;
        if (::fstat(number(), &status) != 0) return system_error("find out the size of", path_, errno);
        return static_cast<std::uint64_t>(status.st_size);
    }

    Result<void> write_at(std::uint64_t offset, std::span<const std::byte> bytes) override {
        const auto failed = [&](int why) { return system_error(action_on_range("write", bytes.size(), offset), path_, why); };
        if (!fits(offset, bytes.size())) return failed(EFBIG);
        std::size_t done = 0;
        while (done < bytes.size()) {
            const std::size_t step = (std::min)(bytes.size() - done, transfer_bytes_max);
            const ssize_t written = ::pwrite(number(), bytes.data() + done, step, static_cast<off_t>(offset + done));
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) return failed(errno);
            if (written == 0) return failed(ENOSPC);  // no reason given; trying again could go on for ever
            done += static_cast<std::size_t>(written);
        }
        return {};
    }

    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) override {
        if (!fits(offset, into.size())) return std::size_t{0};  // no file reaches there
        std::size_t done = 0;
        while (done < into.size()) {
            const std::size_t step = (std::min)(into.size() - done, transfer_bytes_max);
            const ssize_t got = ::pread(number(), into.data() + done, step, static_cast<off_t>(offset + done));
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) return system_error(action_on_range("read", into.size(), offset), path_, errno);
            if (got == 0) break;
            done += static_cast<std::size_t>(got);
        }
        return done;
    }

    bool keeps_allocation() override {
        Answer answer = keeps_allocation_.load(std::memory_order_relaxed);  // guards nothing: two threads find the same
        if (answer == Answer::unknown) {
            answer = writable_ && allocation_is_kept() ? Answer::yes : Answer::no;
            keeps_allocation_.store(answer, std::memory_order_relaxed);
        }
        return answer == Answer::yes;
    }

    Result<void> allocate(std::uint64_t offset, std::uint64_t length) override {
        if (length == 0) return {};
        int why = ENOTSUP;
#if defined(__linux__)
        // Not posix_fallocate(): where the file system has no such thing, that writes zeros instead.
        why = EFBIG;
        if (fits(offset, length)) {
            const auto call = [&] { return ::fallocate(number(), 0, static_cast<off_t>(offset), static_cast<off_t>(length)); };
            if (retry_interrupted(call) == 0) return {};
            why = errno;
        }
#endif
        return system_error(action_on_range("allocate", length, offset), path_, why);
    }

    Result<void> truncate(std::uint64_t size) override {
        int why = EFBIG;
        if (fits(size, 0)) {
            if (retry_interrupted([&] { return ::ftruncate(number(), static_cast<off_t>(size)); }) == 0) return {};
            why = errno;
        }
        return system_error("set the size to " + std::to_string(size) + " bytes of", path_, why);
    }

    Result<void> sync() override {
#if EMDB_IO_URING
        const int why = ring_ != nullptr ? sync_by_ring(*ring_, number()) : sync_descriptor(number(), false);
#else
        const int why = sync_descriptor(number(), false);
#endif
        if (why == 0) return {};
        return system_error("make durable what was written to", path_, why);
    }

    bool maps_past_end() override { return true; }

    Result<Mapping> map_read_only(std::uint64_t offset, std::size_t length) override { return map(offset, length, PROT_READ); }

    Result<Mapping> map_writable(std::uint64_t offset, std::size_t length) override {
        return map(offset, length, PROT_READ | PROT_WRITE);
    }

    Result<void> populate(const Mapping& mapping, std::size_t offset, std::size_t length) override {
        if (length == 0 || populate_missing_.load(std::memory_order_relaxed)) return {};
        const int why = populate_pages(mapping.data() + offset, length);
        if (why != 0 && why != EINVAL) {
            return system_error(action_on_range("bring into memory", length, offset) + " a mapping of", path_, why);
        }
        if (why == EINVAL) populate_missing_.store(true, std::memory_order_relaxed);  // only saves the next call
        return {};
    }

    bool is_memory_backed() override {
        Answer answer = memory_backed_.load(std::memory_order_relaxed);  // as above
        if (answer == Answer::unknown) {
            const std::uint32_t magic = file_system_magic();
            answer = magic == tmpfs_magic || magic == ramfs_magic ? Answer::yes : Answer::no;
            memory_backed_.store(answer, std::memory_order_relaxed);
        }
        return answer == Answer::yes;
    }

    void expect_reading(std::uint64_t offset, std::uint64_t length) noexcept override {
#if defined(POSIX_FADV_WILLNEED)
        // Linux reads no more in one call than the device takes at once (128 KiB to some MiB), so a long range takes many.
        constexpr std::uint64_t step = std::uint64_t{256} << 10;
        if (!fits(offset, length)) return;
        for (std::uint64_t done = 0; done < length; done += step) {
            const auto part = static_cast<off_t>((std::min)(step, length - done));
            if (::posix_fadvise(number(), static_cast<off_t>(offset + done), part, POSIX_FADV_WILLNEED) != 0) return;  // a hint
        }
#elif defined(F_RDADVISE)
        if (!fits(offset, length)) return;
        struct radvisory range = {};
        range.ra_offset = static_cast<off_t>(offset);
        range.ra_count = static_cast<int>((std::min)(length, std::uint64_t{1} << 30));
        ::fcntl(number(), F_RDADVISE, &range);
#else
        static_cast<void>(offset);
        static_cast<void>(length);
#endif
    }

    void expect_random_reading(const Mapping& mapping) noexcept override {
        // Of all that it maps: neighbours in pieces are asked for by expect_reading where they are wanted.
        ::posix_madvise(mapping.data(), mapping.size(), POSIX_MADV_RANDOM);
    }

#if defined(__linux__) && defined(SYNC_FILE_RANGE_WRITE)
    void start_writing(std::uint64_t offset, std::uint64_t length) noexcept override {
        if (!fits(offset, length)) return;
        ::sync_file_range(number(), static_cast<off_t>(offset), static_cast<off_t>(length), SYNC_FILE_RANGE_WRITE);
    }
#endif

    std::size_t map_granularity() override { return page_size(); }

    /// A file opened read-only can only be locked shared: that keeps writers out, and a writer keeps it out.
    Result<bool> try_lock() override {
        watch_forks();
        const int why = lock_descriptor(number(), writable_);
        if (why == EAGAIN) return false;
        if (why != 0) return system_error("lock", path_, why);
        lock_owner_.store(this_process(), std::memory_order_relaxed);
        return true;
    }

    /// Where the system can't say (all but Linux), takes the lock for a moment, in which another opener may be turned away.
    Result<bool> is_locked_by_other() override {
#if defined(__linux__) && defined(F_OFD_GETLK)
        struct flock found = {};
        found.l_type = F_WRLCK;
        found.l_whence = SEEK_SET;
        if (retry_interrupted([&] { return ::fcntl(number(), F_OFD_GETLK, &found); }) != -1) return found.l_type != F_UNLCK;
        if (errno != EINVAL) return system_error("ask for locks of", path_, errno);
#endif
        if (lock_owner_.load(std::memory_order_relaxed) != 0) return false;  // and must not be given up by unlocking
        const int why = lock_descriptor(number(), true);
        if (why == EAGAIN) return true;
        if (why != 0) return system_error("ask for locks of", path_, why);
        unlock_descriptor(number());
        return false;
    }

    Result<void> take_permissions_of(File& other) override {
        struct stat status {};
        if (::fstat(static_cast<PosixFile&>(other).number(), &status) != 0) return system_error("find out the owner of", path_, errno);
        // Only a privileged process may give files away, and others only to groups that they are in; the mode is what matters then.
        struct stat own {};
        if (::fstat(number(), &own) != 0) return system_error("find out the owner of", path_, errno);
        if (own.st_uid != status.st_uid || own.st_gid != status.st_gid) {
            int owned = ::fchown(number(), status.st_uid, status.st_gid);
            if (owned != 0 && errno == EPERM) owned = ::fchown(number(), static_cast<uid_t>(-1), status.st_gid);
            if (owned != 0 && errno != EPERM) return system_error("change the owner of", path_, errno);
        }
        if (::fchmod(number(), status.st_mode & 07777) != 0) return system_error("change the mode of", path_, errno);
        return {};
    }

    void set_name(const std::string& path) override { path_ = path; }

#if EMDB_IO_URING
    void sync_through(std::shared_ptr<SyncRing> ring) override { ring_ = std::move(ring); }
#endif

    Result<FileIdentity> identity() override {
        struct stat status;
        if (::fstat(number(), &status) != 0) return system_error("find out the identity of", path_, errno);
        return FileIdentity{static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino)};
    }

private:
    enum class Answer : std::uint8_t { unknown, no, yes };

    // macOS refuses transfers of 2 GiB and more, Linux cuts them a page short of that.
    static constexpr std::size_t transfer_bytes_max = std::size_t{1} << 30;

    static bool fits(std::uint64_t offset, std::uint64_t length) noexcept {
        const auto last = static_cast<std::uint64_t>((std::numeric_limits<off_t>::max)());
        return offset <= last && length <= last - offset;
    }

    // Never 0. The process id alone would not do: in a new pid namespace a child may have its parent's.
    static std::uint64_t this_process() noexcept {
        return (std::uint64_t{fork_count()} << 32) | static_cast<std::uint32_t>(::getpid());
    }

    int number() const noexcept { return descriptor_.number(); }

    Result<Mapping> map(std::uint64_t offset, std::size_t length, int protection) {
        int why = EFBIG;
        if (fits(offset, length)) {
            int flags = MAP_SHARED;
#if defined(MAP_NORESERVE)
            if (protection == PROT_READ) flags |= MAP_NORESERVE;  // a map far past the end reserves addresses, not memory
#endif
            void* const address = ::mmap(nullptr, length, protection, flags, number(), static_cast<off_t>(offset));
            if (!is_failed_map(address)) return Mapping(static_cast<std::byte*>(address), length, unmap);
            why = errno;
        }
        return system_error(action_on_range("map", length, offset), path_, why);
    }

    static void unmap(std::byte* data, std::size_t size) noexcept { ::munmap(data, size); }

    // As in linux/magic.h. ext2, ext3 and ext4 share theirs.
    static constexpr std::uint32_t ext_magic = 0xEF53;
    static constexpr std::uint32_t xfs_magic = 0x58465342;
    static constexpr std::uint32_t tmpfs_magic = 0x01021994;
    static constexpr std::uint32_t ramfs_magic = 0x858458F6;

    // 0 where it can't be found out.
    std::uint32_t file_system_magic() const noexcept {
#if defined(__linux__)
        struct statfs system;
        const int failed = retry_interrupted([&] { return ::fstatfs(number(), &system); });
        if (failed == 0) return static_cast<std::uint32_t>(system.f_type);
#endif
        return 0;
    }

    // Only file systems known to overwrite allocated blocks in place. Copy-on-write ones (btrfs, zfs, bcachefs) need new space
    // at write-back, overlayfs and FUSE hide what lies below, network file systems promise nothing.
    bool allocation_is_kept() noexcept {
#if defined(__linux__)
        const std::uint32_t magic = file_system_magic();
        if (magic != ext_magic && magic != xfs_magic && magic != tmpfs_magic) return false;
        // ext2 and ext3 can't allocate, so ask for the first byte, which changes no size. A full disk
        // answers ENOSPC, which is an answer too.
        constexpr int keep_size = 1;  // FALLOC_FL_KEEP_SIZE
        if (retry_interrupted([&] { return ::fallocate(number(), keep_size, 0, 1); }) == 0) return true;
        return errno == ENOSPC || errno == EDQUOT;
#else
        return false;
#endif
    }

    Descriptor descriptor_;
    std::string path_;
#if EMDB_IO_URING
    std::shared_ptr<SyncRing> ring_;
#endif
    const bool writable_;
    std::atomic<Answer> keeps_allocation_{Answer::unknown};
    std::atomic<Answer> memory_backed_{Answer::unknown};
    std::atomic<bool> populate_missing_{false};
    std::atomic<std::uint64_t> lock_owner_{0};  // this_process() that took the lock; 0: not locked
};

}  // namespace emdb::detail

#endif  // !_WIN32
