#pragma once
// Writes that nobody waits for, and scans.

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "context.hpp"
#include "limits.hpp"
#include "timing.hpp"

namespace bench {

/// Nanoseconds a record for `write(database)` into a new database. Closing it, which syncs, is not counted.
template <class Write> double time_load(const Context& context, emdb::AppendMode mode, Write&& write) {
    const std::filesystem::path path = context.folder / "load.emdb";
    double cost = 0;
    {
        emdb::Emdb database = create_database(path, emdb::FlushPolicy::on_each_flush(), mode);
        const Clock::time_point start = Clock::now();
        write(database);
        cost = nanoseconds(Clock::now() - start) / as_double(context.work.records());
        if (database.len().value() != context.work.records()) throw std::runtime_error("a load lost records");
        check(database.close());
    }
    remove_database(path);
    return cost;
}

inline void insert_in_thousands(emdb::Emdb& database, const Workload& work) {
    constexpr std::size_t per_call = 1000;
    for (std::size_t first = 0; first < work.records(); first += per_call) {
        check(database.insert_many(std::span(work.pairs()).subspan(first, std::min(per_call, work.records() - first))));
    }
}

inline void measure_writes(Context& context) {
    const Workload& work = context.work;
    Rounds rounds;
    rounds.add("append", [&] {
        const double cost = append_mapped(context.folder / "append", work, context.overhead);
        std::filesystem::remove(context.folder / "append");
        return cost;
    });
    if (context.with_emdb()) {
        rounds.add("insert", [&] {
            return time_load(context, emdb::AppendMode::automatic,
                             [&](emdb::Emdb& database) { insert_all(database, work); });
        });
        rounds.add("insert_many", [&] {
            return time_load(context, emdb::AppendMode::automatic,
                             [&](emdb::Emdb& database) { insert_in_thousands(database, work); });
        });
        if (context.wants("insert_pwrite")) {
            rounds.add("insert_pwrite", [&] {
                return time_load(context, emdb::AppendMode::pwrite,
                                 [&](emdb::Emdb& database) { insert_all(database, work); });
            });
        }
    }
    rounds.run(context.options.rounds);

    context.add({"insert", "insert, no flush", "ns", "bare mapped append", rounds["append"], rounds["insert"],
                 pairwise(rounds["insert"], rounds["append"]), Bar::ratio_at_most(2.5)});
    context.add({"insert_many", "insert_many, 1000 a call, per record", "ns", "insert", rounds["insert"],
                 rounds["insert_many"], pairwise(rounds["insert_many"], rounds["insert"]), Bar::ratio_at_most(0.8)});
    context.add({"insert_pwrite", "insert, no flush, AppendMode::pwrite", "ns", "insert", rounds["insert"],
                 rounds["insert_pwrite"], pairwise(rounds["insert_pwrite"], rounds["insert"])});
}

/// Nanoseconds a record for iterating over everything.
inline double time_scan(const emdb::Emdb& database, const Workload& work) {
    std::size_t records = 0, bytes = 0;
    const double start = thread_nanoseconds();
    auto all = database.iter().value();
    for (const auto& [key, value] : all) {
        ++records;
        bytes += static_cast<unsigned char>(key.back());
        bytes += static_cast<unsigned char>(value.back());
    }
    const double cost = (thread_nanoseconds() - start) / as_double(work.records());
    keep(bytes);
    check(all.status());
    if (records != work.records()) throw std::runtime_error("the scan did not see every record once");
    return cost;
}

/// Overwriting and removing in random order, and iterating: information, nothing to compare with.
inline void measure_changes(Context& context) {
    if (!context.with_emdb()) return;
    const Workload& work = context.work;
    Samples overwrites, scans, removals;
    for (std::size_t round = 0; round < (context.options.rounds + 1) / 2; ++round) {
        const std::filesystem::path path = context.folder / "changes.emdb";
        emdb::Emdb database = create_database(path);
        insert_in_thousands(database, work);
        scans.push_back(time_scan(database, work));
        overwrites.push_back(time_each(work.present().size(), [&](std::size_t i) {
            check(database.insert(work.present()[i], work.pairs()[i].second));
        }));
        removals.push_back(time_each(work.present().size(),
                                     [&](std::size_t i) { keep(check_found(database.remove(work.present()[i]))); }));
        check(database.close());
        remove_database(path);
    }
    context.add({"iter", "iter over everything, per record", "ns", "", {}, scans, {}});
    context.add({"overwrite", "insert over an existing key, random order", "ns", "", {}, overwrites, {}});
    context.add({"remove", "remove, random order", "ns", "", {}, removals, {}});
}

}  // namespace bench
