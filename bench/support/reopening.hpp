#pragma once
// Opening from a checkpoint, and what taking one costs writers.

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>

#include "context.hpp"

namespace bench {

inline constexpr std::size_t writes_past_checkpoint = 10'000;

/// Milliseconds from nothing to the answer of the first get.
inline double open_and_get(const std::filesystem::path& path, const Workload& work) {
    const Clock::time_point start = Clock::now();
    emdb::Emdb database = emdb::Emdb::open(path).value();
    check_found(database.get(work.present()[0]));
    const double elapsed = nanoseconds(Clock::now() - start) / 1e6;
    if (database.len().value() < work.records()) throw std::runtime_error("opening lost records");
    check(database.close());
    return elapsed;
}

/// A process that takes a checkpoint, writes on, and is killed.
inline void kill_past_checkpoint(const std::filesystem::path& path, const Workload& work) {
    const pid_t child = fork();
    if (child == -1) throw std::runtime_error("cannot fork");
    if (child == 0) {
        emdb::Emdb database = emdb::Emdb::open(path).value();
        check(database.checkpoint());
        for (std::size_t i = 0; i < writes_past_checkpoint; ++i) {
            const auto& [key, value] = work.pairs()[i % work.records()];
            check(database.insert(key, value));
        }
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFSIGNALED(status)) throw std::runtime_error("the process past the checkpoint was not killed");
}

/// Every insert of one thread, with and without checkpoints by another one: the slowest in a thousand, in milliseconds.
inline double slowest_inserts(emdb::Emdb& database, const Workload& work, bool checkpoints) {
    std::atomic<bool> stop = false;
    std::size_t taken = 0;
    std::thread keeper([&] {
        while (checkpoints && (!stop || taken == 0)) {
            check(database.checkpoint());
            ++taken;
        }
    });
    Samples costs;
    const std::size_t inserts = std::min<std::size_t>(work.records(), 300'000);
    for (std::size_t i = 0; i < inserts; ++i) {
        const auto& [key, value] = work.pairs()[i];
        const Clock::time_point start = Clock::now();
        check(database.insert(key, value));
        costs.push_back(nanoseconds(Clock::now() - start) / 1e6);
    }
    stop = true;
    keeper.join();
    return quantile(std::move(costs), 0.999);
}

inline void measure_reopening(Context& context) {
    if (!context.with_emdb()) return;
    const Workload& work = context.work;
    const std::filesystem::path path = context.folder / "reopen.emdb";
    const std::string meta = path.string() + ".meta";
    const std::filesystem::path killed = context.folder / "killed.emdb";
    for (const auto& file : {path, killed}) {
        emdb::Emdb database = create_database(file);
        insert_all(database, work);
        check(database.close());
    }
    Rounds rounds;
    rounds.add("reopen", [&] { return open_and_get(path, work); });
    rounds.add("replay", [&] {
        std::filesystem::remove(meta);
        return open_and_get(path, work);  // its close writes the checkpoint again
    });
    rounds.add("killed", [&] {
        kill_past_checkpoint(killed, work);
        return open_and_get(killed, work);
    });
    rounds.run(context.options.rounds);
    const Samples reopen = rounds["reopen"], replay = rounds["replay"], after_kill = rounds["killed"];
    context.add({"reopen", "open after a clean close, first get", "ms", "without checkpoint", replay, reopen,
                 pairwise(reopen, replay), Bar::ratio_at_most(0.1),
                 "checkpoint of " + three_digits(as_double(std::filesystem::file_size(meta)) / 1e6) + " MB; quickest " +
                     three_digits(quantile(reopen, 0)) + " ms"});
    context.add({"reopen_killed", "open after a kill past a checkpoint", "ms", "after a clean close", reopen, after_kill,
                 pairwise(after_kill, reopen), Bar::ratio_at_most(1.3)});

    emdb::Emdb database = emdb::Emdb::open(path).value();
    Rounds writes;
    writes.add("quiet", [&] { return slowest_inserts(database, work, false); });
    writes.add("checkpoints", [&] { return slowest_inserts(database, work, true); });
    writes.run(std::min<std::size_t>(context.options.rounds, 5));
    context.add({"checkpoint", "slowest insert in 1,000 beside checkpoints", "ms", "without checkpoints", writes["quiet"],
                 writes["checkpoints"], pairwise(writes["checkpoints"], writes["quiet"]), Bar::value_at_most(5)});
}

}  // namespace bench
