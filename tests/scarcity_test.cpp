// Too little of something: file descriptors, address space, file size, disk. Each is an ordinary error, and what was there stays.

#include <doctest/doctest.h>

#if !defined(_WIN32)
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#if defined(__linux__)
#include <sched.h>
#include <sys/mount.h>
#endif

#include "emdb.hpp"
#include "support/child_process.hpp"
#include "support/refusals.hpp"
#include "support/temp_folder.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ADDRESS_SPACE_IS_THE_SANITIZERS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ADDRESS_SPACE_IS_THE_SANITIZERS 1
#endif
#endif

namespace emdb_test {
namespace {

using namespace children;
using namespace refusals;
using emdb::AppendMode;
using emdb::Emdb;
using emdb::Result;

// A limit of this process, put back at the end of the scope.
class ScopedLimit {
public:
    ScopedLimit(int resource, rlim_t soft) : resource_(resource) {
        ::getrlimit(static_cast<decltype(RLIMIT_AS)>(resource_), &before_);
        rlimit limit = before_;
        limit.rlim_cur = soft;
        ::setrlimit(static_cast<decltype(RLIMIT_AS)>(resource_), &limit);
    }
    ScopedLimit(const ScopedLimit&) = delete;
    ScopedLimit& operator=(const ScopedLimit&) = delete;
    ~ScopedLimit() { ::setrlimit(static_cast<decltype(RLIMIT_AS)>(resource_), &before_); }

private:
    int resource_;
    rlimit before_{};
};

}  // namespace

TEST_CASE("without file descriptors left, opening is an io error, and an open database goes on") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    make_database(folder.file("b.emdb"));
    const std::string whole = read_file(folder.file("a.emdb"));
    const std::string said = in_child([&] {
        Wrongs wrongs;
        auto open_before = Emdb::open(folder.file("b.emdb")).value();
        const int next = ::dup(0);
        ::close(next);
        {
            const ScopedLimit limit(RLIMIT_NOFILE, static_cast<rlim_t>(next));
            for (const std::string& path : {folder.file("a.emdb"), folder.file("new.emdb")}) {
                const auto refused = Emdb::open(path);
                wrongs.expect_equal(outcome(refused), "io", path);
                if (refused) continue;
                wrongs.expect_equal(std::to_string(refused.error().os_error()), std::to_string(EMFILE), "os_error");
                wrongs.expect(refused.error().message().find(path) != std::string::npos,
                              "no path in: " + refused.error().message());
            }
            for (int i = 0; i < 300; ++i)
                open_before.insert("more " + std::to_string(i), std::string(20'000, 'x')).value();
            open_before.flush().value();
            wrongs.expect(open_before.get("key 7").value() == "value 7", "reading goes on");
            for (int i = 0; i < 300; ++i) open_before.remove("more " + std::to_string(i)).value();
        }
        wrongs.expect(!fs::exists(folder.file("new.emdb")), "no new file");
        wrongs.expect(Emdb::open(folder.file("a.emdb")).value().len().value() == 50, "opens afterwards");
        return wrongs.text();
    });
    CHECK(said == "");
    CHECK((read_file(folder.file("a.emdb")) == whole));
    check_is_intact(folder.file("a.emdb"));
    check_is_intact(folder.file("b.emdb"));
}

#if defined(__linux__) && !defined(ADDRESS_SPACE_IS_THE_SANITIZERS)
namespace {

// Bytes of address space this process has.
rlim_t address_space() {
    std::ifstream statm("/proc/self/statm");
    rlim_t pages = 0;
    statm >> pages;
    return pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_CASE("a database works in a limited address space, or says io: it does not crash") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    const std::string whole = read_file(folder.file("a.emdb"));
    for (rlim_t room_mib = 1; room_mib <= 1024; room_mib *= 2) {
        CAPTURE(room_mib);
        write_file(folder.file("b.emdb"), whole);
        const std::string said = in_child([&]() -> std::string {
            const ScopedLimit limit(RLIMIT_AS, address_space() + (room_mib << 20));
            auto opened = Emdb::open(folder.file("b.emdb"));
            if (!opened) return outcome(opened);
            Wrongs wrongs;
            wrongs.expect(opened->get("key 7").value() == "value 7", "a read");
            const std::string value(10'000, 'x');
            std::string written = "success";
            for (int i = 0; i < 1000 && written == "success"; ++i)
                written = outcome(opened->insert("more " + std::to_string(i), value));
            wrongs.expect(written == "success" || written == "io", "inserting says " + written);
            wrongs.expect(opened->get("key 7").value() == "value 7", "a read afterwards");
            return wrongs.text().empty() ? written : wrongs.text();
        });
        // 10 MB of records need no more than a few times that.
        if (room_mib >= 256) {
            CHECK(said == "success");
        } else {
            const bool understood = said == "success" || said == "io";
            CAPTURE(said);
            CHECK(understood);
        }
        auto db = Emdb::open(folder.file("b.emdb")).value();
        CHECK(db.get("key 7").value() == "value 7");
    }
}
#endif

namespace {

// Fills a database until a write fails, with what must hold then and after reopening with room made.
template <class MakeRoom>
std::string fill_up(const std::string& path, AppendMode mode, int os_error, MakeRoom&& make_room) {
    Wrongs wrongs;
    const auto key_of = [](std::size_t i) { return "key " + std::to_string(i); };
    const auto value_of = [](std::size_t i) { return std::string(9'000 + i, static_cast<char>('a' + i % 26)); };
    const auto check_contents = [&](const Emdb& db, std::size_t acknowledged, const std::string& when) {
        std::size_t missing = 0;
        for (std::size_t i = 0; i < acknowledged; ++i) missing += db.get(key_of(i)).value() == value_of(i) ? 0u : 1u;
        wrongs.expect_equal(std::to_string(missing), "0", "acknowledged records lost or changed " + when);
        // The one that failed may be there, but then whole.
        const auto doubtful = db.get(key_of(acknowledged)).value();
        wrongs.expect(!doubtful || *doubtful == value_of(acknowledged), "half a record " + when);
        const std::size_t count = db.len().value();
        wrongs.expect(count == acknowledged || count == acknowledged + 1,
                      "len() is " + std::to_string(count) + " " + when);
    };

    std::size_t acknowledged = 0;
    {
        auto db = Emdb::builder().path(path).append_mode(mode).build().value();
        Result<void> failed;
        while (acknowledged < 10'000 && (failed = db.insert(key_of(acknowledged), value_of(acknowledged))))
            ++acknowledged;
        if (failed) return "it never got full";
        wrongs.expect(acknowledged > 50, "full after " + std::to_string(acknowledged));
        wrongs.expect_equal(outcome(failed), "io", "the write that found no room");
        wrongs.expect_equal(std::to_string(failed.error().os_error()), std::to_string(os_error), "os_error");
        wrongs.expect(failed.error().message().find(path) != std::string::npos,
                      "no path in: " + failed.error().message());
        check_contents(db, acknowledged, "after the failure");

        // From here on either every write is refused, or each is tried anew; in no case is one half done.
        bool poisoned = false;
        for (int i = 0; i < 5; ++i) {
            const std::string large = outcome(db.insert("large", std::string(20'000'000, 'x')));
            wrongs.expect(large == "poisoned" || (!poisoned && large == "io"), "a larger write says " + large);
            poisoned = poisoned || large == "poisoned";
        }
        const std::string flushed = outcome(db.flush());
        wrongs.expect(flushed == "poisoned" || (!poisoned && (flushed == "success" || flushed == "io")),
                      "flush says " + flushed);
        check_contents(db, acknowledged, "after more failures");
        static_cast<void>(db.close());
    }
    if (auto still_full = Emdb::builder().path(path).append_mode(mode).build()) {
        check_contents(*still_full, acknowledged, "after reopening without room");
        static_cast<void>(still_full->close());
    } else {
        wrongs.expect_equal(outcome(still_full), "io", "reopening without room");
    }
    make_room();
    for (const char* when : {"after reopening with room", "after reopening once more"}) {
        auto db = Emdb::builder().path(path).append_mode(mode).build().value();
        db.remove("afterwards").value();
        check_contents(db, acknowledged, when);
        for (int i = 0; i < 100; ++i) db.insert("afterwards", std::string(10'000, 'x')).value();
        db.flush().value();
        db.close().value();
    }
    return wrongs.text();
}

}  // namespace

TEST_CASE("a file at the size limit of its process is like a full disk") {
    for (const AppendMode mode : {AppendMode::automatic, AppendMode::pwrite}) {
        CAPTURE(static_cast<int>(mode));
        TempFolder folder;
        const std::string said = in_child([&] {
            ::signal(SIGXFSZ, SIG_IGN);
            std::optional<ScopedLimit> limit(std::in_place, RLIMIT_FSIZE, rlim_t{5'000'000});
            return fill_up(folder.file("a.emdb"), mode, EFBIG, [&] { limit.reset(); });
        });
        CHECK(said == "");
    }
}

#if defined(__linux__)
namespace {

// Runs f(folder) in a child with a small file system of its own, which ends with the child however that ends.
template <class F>
std::string on_small_disk(const TempFolder& folder, F&& f) {
    return in_child([&]() -> std::string {
        const std::string disk = folder.file("disk");
        fs::create_directory(disk);
        if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=12m") != 0) {
            return "no mount";
        }
        return f(disk);
    });
}

}  // namespace

TEST_CASE("a full disk is an io error, reads go on, and with space freed a reopened database works") {
    for (const AppendMode mode : {AppendMode::automatic, AppendMode::pwrite}) {
        CAPTURE(static_cast<int>(mode));
        TempFolder folder;
        const std::string said = on_small_disk(folder, [&](const std::string& disk) {
            const std::string ballast = disk + "/ballast";
            write_file(ballast, std::string(6 << 20, 'b'));
            return fill_up(disk + "/a.emdb", mode, ENOSPC, [&] { fs::remove(ballast); });
        });
        if (said == "no mount") {
            MESSAGE("skipped: mounting a small disk takes root");
            return;
        }
        CHECK(said == "");
    }
}

TEST_CASE("a transaction, a batch or a namespace that finds the disk full leaves nothing of itself") {
    for (const AppendMode mode : {AppendMode::automatic, AppendMode::pwrite}) {
        CAPTURE(static_cast<int>(mode));
        TempFolder folder;
        const std::string said = on_small_disk(folder, [&](const std::string& disk) {
            Wrongs wrongs;
            const std::string path = disk + "/a.emdb";
            {
                auto db = Emdb::builder().path(path).append_mode(mode).build().value();
                db.insert("k", "old").value();
                const auto refused = db.transaction([](emdb::Transaction& tx) -> Result<void> {
                    tx.insert("k", "new").value();
                    for (int i = 0; i < 20; ++i)
                        tx.insert("t" + std::to_string(i), std::string(1'000'000, 'x')).value();
                    return {};
                });
                wrongs.expect_equal(outcome(refused), "io", "the transaction");
                wrongs.expect(db.get("k").value() == "old" && db.len().value() == 1, "the old state goes on");
                static_cast<void>(db.close());
            }
            auto db = Emdb::open(path).value();
            wrongs.expect(db.get("k").value() == "old" && db.len().value() == 1, "the old state after reopening");
            return wrongs.text();
        });
        if (said == "no mount") return;
        CHECK(said == "");
    }
}

TEST_CASE("a new database on a full disk is an io error, and leaves no file") {
    TempFolder folder;
    const std::string said = on_small_disk(folder, [&](const std::string& disk) {
        Wrongs wrongs;
        write_file(disk + "/ballast", std::string(13 << 20, 'b'));  // as much of it as there is room for
        const auto refused = Emdb::open(disk + "/a.emdb");
        wrongs.expect_equal(outcome(refused), "io", "opening");
        if (!refused) {
            wrongs.expect_equal(std::to_string(refused.error().os_error()), std::to_string(ENOSPC), "os_error");
            wrongs.expect(refused.error().message().find(disk + "/a.emdb") != std::string::npos,
                          refused.error().message());
        }
        for (const auto& entry : fs::directory_iterator(disk)) {
            wrongs.expect(entry.path().filename() == "ballast", "left behind: " + entry.path().string());
        }
        fs::remove(disk + "/ballast");
        wrongs.expect_equal(outcome(Emdb::open(disk + "/a.emdb")), "success", "with room");
        return wrongs.text();
    });
    if (said == "no mount") return;
    CHECK(said == "");
}
#endif  // __linux__

}  // namespace emdb_test

#endif  // !_WIN32
