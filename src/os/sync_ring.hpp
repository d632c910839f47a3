#pragma once
// SyncRing: syncs files through io_uring (Linux) instead of by fdatasync().
//
// Only for those who ask for it. Measured on ext4 with two processors, a flush of one record takes 1.09 times as long as with
// fdatasync() (the kernel hands a sync to a thread of its own), and 1.36 times with a kernel thread that polls the ring (it takes the
// processor that the sync's completion needs). The flushes of many callers share one sync in any case.

#include "base/config.hpp"

#if EMDB_IO_URING

#if !defined(__linux__) || !__has_include(<liburing.h>)
#error "emdb: EMDB_IO_URING=1 needs Linux and liburing (on Debian: apt-get install liburing-dev; link with -luring)"
#endif

#include <liburing.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>

#include "os/contract.hpp"
#include "os/posix_file.hpp"

namespace emdb::detail {

class SyncRing {
public:
    /// `poll_idle_ms` other than 0 has a kernel thread look for submissions, until there have been none for so long. Null: there
    /// is no io_uring for this process, and `why` says why: ENOSYS (an old kernel), EPERM (a sandbox, sysctl), ENOMEM, ...
    static std::shared_ptr<SyncRing> open(std::uint32_t poll_idle_ms, int& why) {
        std::shared_ptr<SyncRing> opened(new SyncRing);
        io_uring_params settings = {};
        if (poll_idle_ms != 0) {
            settings.flags = IORING_SETUP_SQPOLL;
            settings.sq_thread_idle = poll_idle_ms;
        }
        why = -::io_uring_queue_init_params(entries, &opened->ring_, &settings);
        opened->polled_ = poll_idle_ms != 0;
        opened->is_open_ = why == 0;
        return why == 0 ? opened : nullptr;
    }
    SyncRing(const SyncRing&) = delete;
    SyncRing& operator=(const SyncRing&) = delete;
    ~SyncRing() {
        if (is_open_) ::io_uring_queue_exit(&ring_);
    }

    /// As sync_descriptor(): 0 or errno. A ring that the kernel no longer takes submissions from is left, once and for all.
    int sync(int descriptor) noexcept {
        const std::lock_guard lock(mutex_);
        if (refused_) return sync_descriptor(descriptor, false);
        io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);  // there is room: one at a time
        ::io_uring_prep_fsync(entry, descriptor, IORING_FSYNC_DATASYNC);
        const int submitted = retry([this] { return ::io_uring_submit(&ring_); });
        if (submitted < 0) {
            refused_ = true;
            // Not taken, so nobody has synced yet. A polling thread may have taken it all the same: then its answer, which may be
            // the only one that tells of an error, is lost.
            return polled_ ? EIO : sync_descriptor(descriptor, false);
        }
        io_uring_cqe* answer = nullptr;
        if (const int failed = retry([&] { return ::io_uring_wait_cqe(&ring_, &answer); }); failed < 0) {
            refused_ = true;
            return -failed;
        }
        const int why = -answer->res;
        ::io_uring_cqe_seen(&ring_, answer);
        return why;
    }

private:
    static constexpr unsigned entries = 2;

    SyncRing() = default;

    template <class Call>
    static int retry(Call&& call) noexcept {
        int result = -EINTR;
        while (result == -EINTR) result = call();
        return result;
    }

    std::mutex mutex_;
    io_uring ring_ = {};
    bool is_open_ = false;
    bool polled_ = false;
    bool refused_ = false;
};

int sync_by_ring(SyncRing& ring, int descriptor) noexcept { return ring.sync(descriptor); }

}  // namespace emdb::detail

#endif  // EMDB_IO_URING
