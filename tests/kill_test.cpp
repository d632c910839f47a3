// Real kills: a child process with several writing threads, sometimes with a compacting one, dies by SIGKILL at a random
// moment, again and again on the same database. Every write that returned is there afterwards, whole transactions only, though the writes of other threads were
// cut off half-way beside it.
//
// EMDB_KILLS=n   how many kills (200)
// EMDB_SEED=n    seed of the moments and the workload; the scheduler has its say, so a failure need not repeat

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#if defined(__unix__) || defined(__APPLE__)

#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/simulated_media.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {

namespace {

constexpr std::uint64_t threads = 4;
constexpr std::uint64_t rounds_on_one_database = 20;  // it grows with every round, and opening reads all of it

/// What parent and child both see. The child's writes into it survive the child.
struct Progress {
    std::array<std::atomic<std::uint64_t>, threads> returned{};  // the last operation of each thread that returned
    std::atomic<bool> open{false};
    std::atomic<std::uint64_t> compactions{0};
    char failure[400]{};
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "shared between processes");

class SharedProgress {
public:
    SharedProgress() {
        void* const memory = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        REQUIRE(memory != MAP_FAILED);
        progress_ = new (memory) Progress;
    }
    SharedProgress(const SharedProgress&) = delete;
    SharedProgress& operator=(const SharedProgress&) = delete;
    ~SharedProgress() { munmap(progress_, sizeof(Progress)); }
    Progress* operator->() const noexcept { return progress_; }
    Progress& operator*() const noexcept { return *progress_; }

private:
    Progress* progress_;
};

/// What operation number `sequence` of a thread does: determined by the two numbers alone, so that the parent can tell what
/// the child did.
struct Work {
    enum class Kind : std::uint8_t { insert, remove, transaction, insert_many };
    Kind kind = Kind::insert;
    std::vector<std::string> keys;
    std::string value;

    Work(std::uint64_t thread, std::uint64_t sequence) {
        SeededRandom random(thread << 48 | sequence);
        const std::uint64_t dice = random.below(10);
        kind = dice < 6 ? Kind::insert : dice < 7 ? Kind::remove : dice < 9 ? Kind::transaction : Kind::insert_many;
        const bool several = kind == Kind::transaction || kind == Kind::insert_many;
        const std::uint64_t first = random.below(100);
        for (std::uint64_t i = 0; i < (several ? 5U : 1U); ++i) {
            keys.push_back(std::to_string(thread) + "/" + std::to_string((first + i * 7) % 100));
        }
        if (kind == Kind::remove) return;
        value = std::to_string(thread) + ":" + std::to_string(sequence) + ":";
        const std::uint64_t padding = random.one_in(200) ? random.below(60'000) : random.below(300);
        value.append(static_cast<std::size_t>(padding), static_cast<char>('a' + sequence % 26));
    }
};

/// The records of one thread, in both keyspaces: transactions write every key to "mirror", too.
using Records = std::map<std::pair<std::string, std::string>, std::string>;

void apply(Records& records, const Work& work, std::size_t keys) {
    for (std::size_t i = 0; i < keys; ++i) {
        if (work.kind == Work::Kind::remove) {
            records.erase({"", work.keys[i]});
            continue;
        }
        records[{"", work.keys[i]}] = work.value;
        if (work.kind == Work::Kind::transaction) records[{"mirror", work.keys[i]}] = work.value;
    }
}

emdb::Result<void> carry_out(emdb::Emdb& db, const emdb::Namespace& mirror, const Work& work) {
    switch (work.kind) {
        case Work::Kind::insert: return db.insert(work.keys[0], work.value);
        case Work::Kind::remove: {
            auto removed = db.remove(work.keys[0]);
            return removed ? emdb::Result<void>() : std::move(removed).error();
        }
        case Work::Kind::transaction:
            return db.transaction([&](emdb::Transaction& transaction) -> emdb::Result<void> {
                for (const std::string& key : work.keys) {
                    if (auto put = transaction.insert(key, work.value); !put) return put;
                    if (auto put = transaction.in(mirror).insert(key, work.value); !put) return put;
                }
                return {};
            });
        case Work::Kind::insert_many: {
            std::vector<std::pair<std::string, std::string>> pairs;
            for (const std::string& key : work.keys) pairs.emplace_back(key, work.value);
            return db.insert_many(pairs);
        }
    }
    return {};
}

[[noreturn]] void give_up(Progress& progress, const emdb::Error& error) {
    std::snprintf(progress.failure, sizeof progress.failure, "%s", error.message().c_str());
    _exit(1);
}

emdb::Result<emdb::Emdb> open(const std::string& path, emdb::AppendMode mode, bool range_scans) {
    emdb::EmdbBuilder builder = emdb::Emdb::builder();
    builder.path(path).append_mode(mode).enable_range_scans(range_scans);
    emdb::detail::BuilderAccess::use_checkpoints_from(builder, 0);
    return builder.build();
}

/// What goes on beside the writing.
enum class Upkeep { none, compactions, checkpoints };
constexpr std::uint64_t file_size_max = 32'000'000;  ///< where writers wait for a compaction

/// Writes until it is killed. Never returns, and leaves the parent's objects alone.
[[noreturn]] void child(const std::string& path, emdb::AppendMode mode, bool range_scans, Upkeep upkeep,
                        const std::array<std::uint64_t, threads>& first, Progress& progress) {
    auto opened = open(path, mode, range_scans);
    if (!opened) give_up(progress, opened.error());
    emdb::Emdb db = std::move(opened).value();
    auto mirror = db.open_namespace("mirror");
    if (!mirror) give_up(progress, mirror.error());
    progress.open.store(true);
    std::vector<std::thread> writers;
    for (std::uint64_t thread = 0; thread < threads; ++thread) {
        writers.emplace_back([&, thread] {
            for (std::uint64_t sequence = first[thread];; ++sequence) {
                if (auto done = carry_out(db, *mirror, Work(thread, sequence)); !done) give_up(progress, done.error());
                progress.returned[thread].store(sequence, std::memory_order_release);
                // Compactions wait for the disk, which writers don't.
                while (upkeep == Upkeep::compactions && sequence % 64 == 0 && db.stats().value().file_size_bytes > file_size_max) {
                    std::this_thread::yield();
                }
                if (sequence % 512 == 0 && thread == 0) {
                    if (auto flushed = db.flush(); !flushed) give_up(progress, flushed.error());
                }
            }
        });
    }
    while (upkeep == Upkeep::compactions) {
        if (auto compacted = db.compact(); !compacted) give_up(progress, compacted.error());
        ++progress.compactions;
    }
    while (upkeep == Upkeep::checkpoints) {
        if (auto taken = db.checkpoint(); !taken) give_up(progress, taken.error());
    }
    for (;;) pause();
}

std::uint64_t total(const Progress& progress) {
    std::uint64_t sum = 0;
    for (const auto& returned : progress.returned) sum += returned.load(std::memory_order_acquire);
    return sum;
}

/// Kills the child after so many compactions and then so many returned writes more, or so soon after its start. Returns what went wrong if
/// it ended by itself, or got stuck.
std::string kill_child(pid_t pid, const Progress& progress, std::uint64_t compactions, std::uint64_t writes,
                       std::chrono::microseconds delay) {
    const auto start = std::chrono::steady_clock::now();
    const std::uint64_t compactions_target = progress.compactions.load() + compactions;
    std::uint64_t target = total(progress) + writes;
    bool stuck = false;
    for (;;) {
        const auto waited = std::chrono::steady_clock::now() - start;
        if (progress.compactions.load() < compactions_target) {
            target = total(progress) + writes;
        } else if (writes == 0 ? waited >= delay : total(progress) >= target) {
            break;
        }
        if (siginfo_t info{}; waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid) {
            break;
        }
        stuck = waited > std::chrono::seconds(60);
        if (stuck) break;
        std::this_thread::yield();
    }
    kill(pid, SIGKILL);
    int status = 0;
    while (waitpid(pid, &status, 0) == -1 && errno == EINTR) {}
    if (stuck) {
        return "stuck after " + std::to_string(progress.compactions.load() + compactions - compactions_target) + " of " +
               std::to_string(compactions) + " compactions, " + std::to_string(total(progress)) + " of " + std::to_string(target) + " writes";
    }
    if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGKILL ? "" : "ended by signal " + std::to_string(WTERMSIG(status));
    return "gave up: " + std::string(progress.failure);
}

/// Everything in the database, by the thread that wrote it.
std::array<Records, threads> read_records(emdb::Emdb& db) {
    std::array<Records, threads> result;
    const auto read = [&result](const emdb::Keyspace& keyspace, const std::string& space) {
        auto records = keyspace.iter().value();
        for (const emdb::RecordView& record : records) {
            const std::size_t thread = static_cast<std::size_t>(record.key.at(0) - '0');
            REQUIRE(thread < threads);
            result[thread][{space, std::string(record.key)}] = std::string(record.value);
        }
        records.status().value();
    };
    read(db, "");
    if (db.stats().value().range_scans_enabled) CHECK(db.range(emdb::Range::all()).value().size() == db.len().value());
    for (const std::string& name : db.list_namespaces().value()) read(db.open_namespace(name).value(), name);
    return result;
}

/// Whether `found` is what the thread's returned operations left, with or without the one that was under way.
bool is_explained(const Records& found, const Records& expected, const Work& under_way) {
    if (found == expected) return true;
    // Of insert_many any prefix may be there; all else is whole.
    const std::size_t fewest = under_way.kind == Work::Kind::insert_many ? 1 : under_way.keys.size();
    for (std::size_t keys = fewest; keys <= under_way.keys.size(); ++keys) {
        Records with = expected;
        apply(with, under_way, keys);
        if (found == with) return true;
    }
    return false;
}

std::uint64_t number_from_environment(const char* name, std::uint64_t fallback) {
    const char* const text = std::getenv(name);
    return text == nullptr || *text == '\0' ? fallback : std::strtoull(text, nullptr, 10);
}

}  // namespace

TEST_CASE("kills: every write that returned survives SIGKILL, and transactions are whole") {
    const std::uint64_t kills = number_from_environment("EMDB_KILLS", 200);
    const std::uint64_t seed = number_from_environment("EMDB_SEED", 1);
    SeededRandom random(seed);
    SharedProgress progress;
    std::optional<TempFolder> folder;
    std::array<Records, threads> expected;
    std::array<std::uint64_t, threads> first{};
    std::uint64_t before_open = 0;
    std::uint64_t writes_survived = 0;
    for (std::uint64_t round = 0; round < kills; ++round) {
        if (round % rounds_on_one_database == 0) {
            folder.emplace();
            expected = {};
            first.fill(1);
            for (auto& returned : progress->returned) returned.store(0);
        }
        const std::string path = folder->file("kill.emdb");
        const emdb::AppendMode mode = round % 2 == 0 ? emdb::AppendMode::mapped : emdb::AppendMode::pwrite;
        INFO("EMDB_SEED=", seed, ", kill ", round + 1, ", appending by ", std::string(round % 2 == 0 ? "mapping" : "pwrite"));
        progress->open.store(false);

        const bool compacts = round / 2 % 4 == 1;
        const Upkeep upkeep = compacts ? Upkeep::compactions : round % 3 != 0 ? Upkeep::checkpoints : Upkeep::none;
        const bool range_scans = round / 2 % 3 == 0;
        const std::array<std::uint64_t, threads> started_from = first;
        const pid_t pid = fork();
        REQUIRE(pid != -1);
        if (pid == 0) child(path, mode, range_scans, upkeep, started_from, *progress);
        const std::uint64_t writes = random.one_in(8) ? 0 : 1 + random.below(3000);
        const std::uint64_t compactions = compacts ? random.below(3) : 0;
        const std::string trouble = kill_child(pid, *progress, compactions, writes, std::chrono::microseconds(random.below(20'000)));
        REQUIRE(trouble == "");
        before_open += !progress->open.load();
        INFO("range scans ", range_scans, ", checkpoints ", upkeep == Upkeep::checkpoints);

        auto opened = open(path, emdb::AppendMode::automatic, range_scans);
        REQUIRE_MESSAGE(opened.has_value(), opened.error().message());
        REQUIRE_FALSE(std::filesystem::exists(path + ".compact"));
        const std::array<Records, threads> found = read_records(*opened);
        for (std::uint64_t thread = 0; thread < threads; ++thread) {
            const std::uint64_t returned = progress->returned[thread].load();
            for (std::uint64_t sequence = started_from[thread]; sequence <= returned; ++sequence) {
                const Work work(thread, sequence);
                apply(expected[thread], work, work.keys.size());
                ++writes_survived;
            }
            const std::uint64_t next = std::max(started_from[thread], returned + 1);
            CAPTURE(thread);
            CAPTURE(returned);
            REQUIRE(is_explained(found[thread], expected[thread], Work(thread, next)));
            expected[thread] = found[thread];
            first[thread] = next + 1;  // the one that was under way is not done again: it may be there
        }
        if (random.coin()) opened->close().value();  // else the destructor does
    }
    MESSAGE(kills << " kills, " << before_open << " of them before the database was open; " << writes_survived
                  << " writes returned and survived; " << progress->compactions.load() << " compactions");
}

}  // namespace emdb_test

#endif
