// Fails the n-th file operation, allocation or thread start, once or from then on, for every n of a life that calls everything
// there is (scenario.hpp). No crash, no hang, no leak, no lie: errors are of the documented kind, a poisoned database stays so,
// what was acknowledged is there afterwards, and then everything works.
//
// EMDB_FAULT=sweep/settings/n   only this one, as a failure names it
// EMDB_FAULT_STEP=n             only every n-th n, from a random one on (for slow builds), or from one that EMDB_SEED chooses

#define EMDB_ENCRYPT 1
#define EMDB_NESTED 1
#define EMDB_ASYNC 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#if defined(__linux__) && defined(__GLIBC__) && defined(__LP64__)

#include "faults/interposed.hpp"
#include "faults/scenario.hpp"

#include <dirent.h>
#include <execinfo.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <optional>
#include <random>
#include <string>

#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::AppendMode;
using emdb::FlushPolicy;

const std::array<ScenarioSettings, 3> all_settings{{
    {"mapped", false, true, false, AppendMode::automatic, FlushPolicy::on_each_flush()},
    {"sealed", true, false, false, AppendMode::automatic, FlushPolicy::group()},
    {"pwrite", false, false, true, AppendMode::pwrite, FlushPolicy::every_n(7)},
}};

const std::array<Trouble, 6> file_troubles{{
    {"EIO once", Among::file_operations, Outcome::fails, EIO, false},
    {"EIO for good", Among::file_operations, Outcome::fails, EIO, true},
    {"ENOSPC once", Among::file_operations, Outcome::fails, ENOSPC, false},
    {"ENOSPC for good", Among::file_operations, Outcome::fails, ENOSPC, true},
    {"writes of no byte once", Among::writes, Outcome::is_zero, 0, false},
    {"writes of no byte for good", Among::writes, Outcome::is_zero, 0, true},
}};
/// Nobody is told of these.
const std::array<Trouble, 3> hidden_troubles{{
    {"EINTR once", Among::interruptible, Outcome::fails, EINTR, false},
    {"short transfers once", Among::transfers, Outcome::is_short, 0, false},
    {"short transfers for good", Among::transfers, Outcome::is_short, 0, true},
}};
const std::array<Trouble, 2> memory_troubles{{
    {"no memory once", Among::allocations, Outcome::fails, ENOMEM, false},
    {"no memory for good", Among::allocations, Outcome::fails, ENOMEM, true},
}};
const std::array<Trouble, 2> thread_troubles{{
    {"no thread once", Among::thread_starts, Outcome::fails, EAGAIN, false},
    {"no thread for good", Among::thread_starts, Outcome::fails, EAGAIN, true},
}};

// What is under way, for those who can't ask any more.
char under_way[200];
void name_the_fault(int signal) {
    std::fprintf(stderr, "%s: repeat with EMDB_FAULT='%s'\n", signal == SIGALRM ? "hangs" : "crashed", under_way);
    std::signal(signal, SIG_DFL);
    std::raise(signal == SIGALRM ? SIGABRT : signal);
}

// Where the thread is that the signal was sent to.
std::atomic<bool> told{false};
void tell_place(int) {
    void* places[64];
    ::backtrace_symbols_fd(places, ::backtrace(places, 64), STDERR_FILENO);
    told = true;
}
/// Where every thread is, one after the other.
void tell_places() {
    DIR* const tasks = ::opendir("/proc/self/task");
    for (const dirent* task = nullptr; tasks != nullptr && (task = ::readdir(tasks)) != nullptr;) {
        const long id = std::strtol(task->d_name, nullptr, 10);
        if (id == 0) continue;
        std::fprintf(stderr, "thread %ld:\n", id);
        told = false;
        ::syscall(SYS_tgkill, ::getpid(), id, SIGUSR1);
        for (int patience = 0; patience < 1000 && !told; ++patience) ::usleep(1000);
    }
}

/// Finds a life that hangs, after so many seconds in which the program could run: one that is stopped meanwhile, and everything with it,
/// gets one signal for all the time that it lost.
class Watch {
public:
    Watch() {
        void* place = nullptr;
        ::backtrace(&place, 1);  // the first call may allocate
        seconds = 0;
        std::signal(SIGUSR1, tell_place);
        std::signal(SIGALRM, count_second);
        tick(1);
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() { tick(0); }

private:
    static constexpr int seconds_max = 120;
    static inline volatile std::sig_atomic_t seconds = 0;

    static void count_second(int signal) {
        seconds = seconds + 1;
        if (seconds < seconds_max) return;
        tick(0);
        tell_places();
        name_the_fault(signal);
    }
    static void tick(long interval_s) {
        const itimerval interval{{interval_s, 0}, {interval_s, 0}};
        ::setitimer(ITIMER_REAL, &interval, nullptr);
    }
};

std::size_t open_files() {
    std::size_t count = 0;
    DIR* const directory = ::opendir("/proc/self/fd");
    while (directory != nullptr && ::readdir(directory) != nullptr) ++count;
    if (directory != nullptr) ::closedir(directory);
    return count;
}

/// One life with the trouble at the n-th call. Returns how many calls in question there were, and whether the trouble was met.
std::pair<std::uint64_t, bool> live(const Trouble& trouble, const ScenarioSettings& settings, std::uint64_t nth) {
    std::snprintf(under_way, sizeof under_way, "%s/%s/%llu", trouble.name, settings.name, static_cast<unsigned long long>(nth));
    INFO("repeat with EMDB_FAULT='", std::string(under_way), "'");
    const TempFolder folder;
    const std::size_t files_before = open_files();
    const std::uint64_t barriers_before = injector.seen(Call::membarrier), barriers_failed_before = injector.failed(Call::membarrier);
    const Watch watch;
    injector.lack_exclusive_rename(settings.lacks_exclusive_rename);
    injector.begin(trouble, nth);
    {
        Scenario scenario(settings, trouble, folder.path());
        scenario.run();
        const std::uint64_t matched = injector.matched();
        const bool met = injector.injected() != 0;
        scenario.check_afterwards();
        // Without the barrier that it relies on, emdb keeps for good what a reader might still hold, a compacted file for one; and it
        // does not ask for it on and on.
        if (injector.failed(Call::membarrier) == barriers_failed_before) CHECK(open_files() == files_before);
        CHECK(injector.seen(Call::membarrier) - barriers_before < 1000);
        return {matched, met};
    }
}

std::uint64_t step() {
    const char* const text = std::getenv("EMDB_FAULT_STEP");
    return text == nullptr ? 1 : (std::max)(std::strtoull(text, nullptr, 10), 1ULL);
}

template <std::size_t count>
void sweep(const std::array<Trouble, count>& troubles) {
    for (const int signal : {SIGSEGV, SIGABRT, SIGBUS}) std::signal(signal, name_the_fault);
    const char* const asked = std::getenv("EMDB_FAULT");
    const char* const seed = std::getenv("EMDB_SEED");
    std::mt19937_64 random(seed != nullptr ? std::strtoull(seed, nullptr, 10) : std::random_device()());
    for (const Trouble& trouble : troubles) {
        std::uint64_t runs = 0;
        for (const ScenarioSettings& settings : all_settings) {
            const std::string name = std::string(trouble.name) + "/" + settings.name + "/";
            if (asked != nullptr) {
                if (std::string_view(asked).starts_with(name)) live(trouble, settings, std::strtoull(asked + name.size(), nullptr, 10));
                continue;
            }
            live(trouble, settings, 0);  // static things are made in the first life of a program
            std::uint64_t nth = 1 + random() % step();
            while (live(trouble, settings, nth).second) {
                nth += step();
                ++runs;
            }
        }
        std::printf("count %s, lives: %llu\n", trouble.name, static_cast<unsigned long long>(runs));
    }
    for (const int signal : {SIGSEGV, SIGABRT, SIGBUS}) std::signal(signal, SIG_DFL);
}

}  // namespace

TEST_CASE("faults: whichever file operation fails, once or for good, nothing acknowledged is lost and all works afterwards") {
    sweep(file_troubles);
}

TEST_CASE("faults: interrupted calls and short transfers are nobody's business") {
    sweep(hidden_troubles);
}

TEST_CASE("faults: whichever allocation fails, once or for good, nothing acknowledged is lost and all works afterwards") {
    sweep(memory_troubles);
}

TEST_CASE("faults: whichever thread can't be started, once or for good, nothing acknowledged is lost and all works afterwards") {
    sweep(thread_troubles);
}

TEST_CASE("faults: a compaction in the background that gets no memory ends no program, and loses nothing") {
    static constexpr Trouble no_memory{"no memory for good", Among::allocations, Outcome::fails, ENOMEM, true};
    const std::string value(1000, 'v');
    for (const std::uint64_t nth : {1, 2, 3, 5, 8, 13, 21, 34}) {
        CAPTURE(nth);
        const TempFolder folder;
        const std::string path = folder.file("a.emdb");
        {
            auto builder = emdb::Emdb::builder();
            std::optional<emdb::Emdb> db = builder.path(path).auto_compact(0.1, std::uint64_t{1} << 16).build().value();
            REQUIRE(db->insert("key", value));
            injector.begin(no_memory, nth);
            const Armed armed;
            // By what comes of the test itself nothing is allocated.
            try {
                while (injector.injected() == 0 && db->insert("key", value)) {
                }
            } catch (const std::bad_alloc&) {
            }
            db.reset();
        }
        CHECK(injector.injected() > 0);
        CHECK(emdb::Emdb::open(path).value().get("key").value() == value);
        CHECK(emdb::Emdb::verify(path).value().ok());
    }
}

// The scenario's lives say the same with FAULT_STEP=1 only; here every allocation of an opening fails.
TEST_CASE("faults: an opening that gets no memory is an error, or the database has all its indexes") {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    const auto open = [&] { return emdb::Emdb::builder().path(path).enable_range_scans(true).build(); };
    const auto fill = [](emdb::Keyspace& keyspace) {
        for (char key = 'a'; key <= 'z'; ++key) keyspace.insert(std::string(1, key), std::string(100, key)).value();
    };
    const auto check = [](const emdb::Keyspace& keyspace) {
        CHECK(keyspace.range(emdb::Range::all()).value().size() == 26);
        CHECK(keyspace.get("k").value() == std::string(100, 'k'));
    };
    {
        emdb::Emdb db = open().value();
        fill(db);
        auto space = db.open_namespace("space").value();
        fill(space);
    }
    for (const Trouble& trouble : memory_troubles) {
        for (const bool has_checkpoint : {true, false}) {
            std::uint64_t refused = 0;
            for (std::uint64_t nth = 1;; ++nth) {
                CAPTURE(nth);
                if (!has_checkpoint) std::filesystem::remove(path + ".meta");
                injector.begin(trouble, nth);
                std::optional<emdb::Result<emdb::Emdb>> opened;
                try {
                    const Armed armed;
                    opened.emplace(open());
                } catch (const std::bad_alloc&) {
                }
                const bool met = injector.injected() != 0;
                CHECK((met || (opened && *opened)));
                if (!met) break;
                if (!opened || !*opened) {
                    ++refused;
                    continue;
                }
                check(**opened);
                check((*opened)->open_namespace("space").value());
            }
            CHECK(refused > 10);
        }
    }
}

TEST_CASE("faults: the scenario makes every call there is, and each has failed") {
    if (std::getenv("EMDB_FAULT") != nullptr) return;
    for (std::size_t i = 0; i < call_count; ++i) {
        const Call call = static_cast<Call>(i);
        if (call == Call::fchown) continue;  // made only where files have different owners; the tests of compaction do that
        CAPTURE(std::string(to_string(call)));
        CHECK(injector.seen(call) > 0);
        if (step() == 1) CHECK(injector.failed(call) > 0);
    }
}

}  // namespace emdb_test

#else

TEST_CASE("faults: the system's calls are intercepted on 64-bit Linux with the GNU C library only" * doctest::skip()) {}

#endif
