// io_uring as the durability backend: the tests of durability_test.cpp once more, and what it does where there is none. A program of
// its own, since EMDB_IO_URING is off by default. Skipped without liburing.

#include <doctest/doctest.h>

#if !__has_include(<liburing.h>)

TEST_CASE("syncs by io_uring: liburing is not installed (on Debian: liburing-dev)" * doctest::skip()) {}

#else

#define EMDB_IO_URING 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include "durability_test.cpp"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

namespace emdb_test {
namespace {

/// From now on the system call fails with that errno, in this process.
bool forbid(unsigned system_call, unsigned error) {
    const unsigned refuse = SECCOMP_RET_ERRNO | error;
    std::array<sock_filter, 4> filter{{
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, system_call},
        {BPF_RET | BPF_K, 0, 0, refuse},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
    }};
    const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/// What f returns in a forked child; exit status 99 for an exception.
template <class F>
int in_child(F&& f) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        int status = 99;
        try {
            status = f();
        } catch (...) {  // told by the exit status
        }
        ::_exit(status);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + status;
}

int write_and_flush(const std::string& path, unsigned poll_idle_ms, std::size_t& warnings) {
    std::atomic<std::size_t> logged = 0;
    {
        auto builder = Emdb::builder().path(path).iouring_sqpoll(poll_idle_ms);
        auto db = builder.on_log([&](emdb::LogLevel level, std::string_view message) {
            if (level == emdb::LogLevel::warning && message.find("io_uring") != std::string_view::npos) ++logged;
        }).build().value();
        for (int i = 0; i < 20; ++i) {
            db.insert(std::to_string(i), "v").value();
            db.flush().value();
        }
    }
    warnings = logged;
    return static_cast<int>(Emdb::open(path).value().len().value());
}

}  // namespace

TEST_CASE("a ring syncs, with and without a thread that polls it") {
    for (const unsigned poll_idle_ms : {0U, 20U}) {
        TempFolder folder;
        std::size_t warnings = 0;
        CHECK(write_and_flush(folder.file("a.emdb"), poll_idle_ms, warnings) == 20);
        int why = 0;
        const bool there = emdb::detail::SyncRing::open(poll_idle_ms, why) != nullptr;
        CHECK(warnings == (there ? 0 : 1));
        if (!there) MESSAGE("there is no io_uring here: ", why);
    }
}

TEST_CASE("where io_uring is forbidden or missing, one warning says so, and system calls sync") {
    for (const unsigned error : {EPERM, ENOSYS, ENOMEM}) {
        TempFolder folder;
        CHECK(in_child([&] {
            if (!forbid(SYS_io_uring_setup, error)) return 90;
            std::size_t warnings = 0;
            if (write_and_flush(folder.file("a.emdb"), 0, warnings) != 20) return 91;
            return warnings == 1 ? 0 : 92;
        }) == 0);
    }
}

TEST_CASE("a ring that is forbidden later is left, and nothing is lost") {
    TempFolder folder;
    CHECK(in_child([&] {
        auto db = Emdb::builder().path(folder.file("a.emdb")).iouring_sqpoll(0U).build().value();
        db.insert("a", "v").value();
        db.flush().value();
        if (!forbid(SYS_io_uring_enter, EPERM)) return 90;
        for (const char* key : {"b", "c", "d"}) {
            db.insert(key, "v").value();
            db.flush().value();
        }
        db.close().value();
        return Emdb::open(folder.file("a.emdb")).value().len().value() == 4 ? 0 : 91;
    }) == 0);
}

TEST_CASE("a ring tells of a failed sync") {
    int why = 0;
    const auto ring = emdb::detail::SyncRing::open(0, why);
    if (ring == nullptr) return;
    CHECK(ring->sync(-1) == EBADF);
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    CHECK(ring->sync(ends[0]) == EINVAL);
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("a ring serves a database from many threads, through compaction") {
    TempFolder folder;
    {
        auto db = builder_with_backend().path(folder.file("a.emdb")).flush_policy(FlushPolicy::group()).build().value();
        std::vector<std::thread> threads;
        for (int thread = 0; thread < 4; ++thread) {
            threads.emplace_back([db, thread]() mutable {
                for (int i = 0; i < 50; ++i) {
                    db.insert(std::to_string(thread) + "/" + std::to_string(i), "v").value();
                    db.flush().value();
                }
            });
        }
        db.compact().value();
        for (std::thread& thread : threads) thread.join();
    }
    CHECK(Emdb::open(folder.file("a.emdb")).value().len().value() == 200);
}

}  // namespace emdb_test

#endif
