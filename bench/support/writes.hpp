#pragma once
// Writes that nobody waits for, and scans.

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "context.hpp"
#include "limits.hpp"
#include "timing.hpp"

namespace bench {

/// `write(database)` into a new database, for a record. Closing it, which syncs, is not counted.
template <class Write> Cost time_load(const Context& context, emdb::AppendMode mode, Write&& write) {
    const std::filesystem::path path = context.folder / "load.emdb";
    Cost cost;
    settle(context.folder);
    {
        emdb::Emdb database = create_database(path, emdb::FlushPolicy::on_each_flush(), mode);
        cost = time_whole(context.work.records(), [&] { write(database); });
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
    std::map<std::string, Samples> processor;
    const auto contest = [&](const std::string& name, auto load) {
        rounds.add(name, [&processor, name, load] {
            const Cost cost = load();
            processor[name].push_back(cost.processor);
            return cost.wall;
        });
    };
    contest("append", [&] {
        settle(context.folder);
        const Cost cost = append_mapped(context.folder / "append", work, context.overhead);
        std::filesystem::remove(context.folder / "append");
        return cost;
    });
    if (context.with_emdb()) {
        using emdb::AppendMode;
        const auto insert = [&work](emdb::Emdb& database) { insert_all(database, work); };
        const auto insert_many = [&work](emdb::Emdb& database) { insert_in_thousands(database, work); };
        contest("insert", [&, insert] { return time_load(context, AppendMode::automatic, insert); });
        contest("insert_many", [&, insert_many] { return time_load(context, AppendMode::automatic, insert_many); });
        if (context.wants("insert_pwrite")) {
            contest("insert_pwrite", [&, insert] { return time_load(context, AppendMode::pwrite, insert); });
        }
    }
    rounds.run(context.options.rounds);

    const auto compare = [&](const char* id, const char* what, const char* reference, const char* reference_name,
                             Bar bar) {
        context.add({id, what, "ns", reference_name, rounds[reference], rounds[id],
                     pairwise(rounds[id], rounds[reference]), bar,
                     "processor time: " + three_digits(median(processor[id])) + "; " + reference_name + ": " +
                         three_digits(median(processor[reference]))});
    };
    compare("insert", "insert, no flush", "append", "bare mapped append", Bar::ratio_at_most(2.5));
    compare("insert_many", "insert_many, 1000 a call, per record", "insert", "insert", Bar::ratio_at_most(0.8));
    compare("insert_pwrite", "insert, no flush, AppendMode::pwrite", "insert", "insert", Bar::none());
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
