#pragma once
// Opening, and what a record costs in memory and on disk.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "context.hpp"
#include "limits.hpp"
#include "machine.hpp"
#include "timing.hpp"

namespace bench {

inline Samples millions_a_second(const Samples& ns_per_record) {
    Samples rates;
    for (const double ns : ns_per_record) rates.push_back(1000 / ns);
    return rates;
}

/// A database that was closed properly, all of it in the page cache, opened without its checkpoint.
inline void measure_opening(Context& context) {
    const Workload& work = context.work;
    const double records = as_double(work.records());
    append_mapped(context.folder / "replay", work, context.overhead);
    const std::filesystem::path path = context.folder / "open.emdb";
    emdb::EmdbStats stats;
    if (context.with_emdb()) {
        emdb::Emdb database = create_database(path);
        insert_all(database, work);
        stats = database.stats().value();
        check(database.close());
    }
    Samples anonymous_bytes;
    Rounds rounds;
    rounds.add("bare", [&] { return replay_bare(context.folder / "replay", work, context.overhead); });
    if (context.with_emdb()) {
        rounds.add("open", [&] {
            std::filesystem::remove(path.string() + ".meta");
            const std::uint64_t anonymous = memory_of_process("Anonymous");
            const Clock::time_point start = Clock::now();
            emdb::Emdb database = emdb::Emdb::open(path).value();
            const double cost = nanoseconds(Clock::now() - start) / records;
            const std::uint64_t anonymous_now = memory_of_process("Anonymous");
            // Later rounds reuse what the allocator kept of the first one.
            if (anonymous_bytes.empty()) {
                anonymous_bytes = {(static_cast<double>(anonymous_now) - static_cast<double>(anonymous)) / records};
            }
            if (database.len().value() != work.records()) throw std::runtime_error("opening lost records");
            check(database.close());
            return cost;
        });
    }
    rounds.run(context.options.rounds);
    const Samples bare = millions_a_second(rounds["bare"]), open = millions_a_second(rounds["open"]);
    context.add({"open", "open without checkpoint, records", "M/s", "bare CRC + hash + slot", bare, open,
                 pairwise(open, bare), Bar::value_at_least(5)});
    if (!context.with_emdb()) return;

    const double beyond = static_cast<double>(stats.file_size_bytes) - static_cast<double>(stats.logical_size_bytes);
    context.add({"file_bytes",
                 "file beyond key + value, per record",
                 "bytes",
                 "",
                 {},
                 {beyond / records},
                 {},
                 Bar::value_at_most(10)});
    context.add({"file_size",
                 "file",
                 "MB",
                 "",
                 {},
                 {static_cast<double>(stats.file_size_bytes) / 1e6},
                 {},
                 Bar::none(),
                 "preallocated beyond it before closing: " +
                     three_digits(static_cast<double>(stats.preallocated_bytes) / 1e6) + " MB"});
    context.add({"anonymous", "anonymous memory after opening, per record", "bytes", "", {}, anonymous_bytes, {}});
}

/// Index memory at many counts, with records so small that memory is the index's. Its peaks lie just after growth.
inline void measure_index_memory(Context& context) {
    if (!context.with_emdb()) return;
    const std::size_t count = context.options.smoke ? 200'000 : 5'000'000;
    const bool sweep = context.options.sweep && context.wants("index_sweep");
    constexpr std::size_t step = 250'000, sweep_from = 1'000'000, sweep_to = 10'000'000;
    std::mt19937_64 random(7);
    emdb::Emdb database = emdb::Emdb::open_in_memory();
    char key[key_size];
    double at_count = 0, highest = 0;
    std::size_t highest_at = 0;
    for (std::size_t records = 1; records <= (sweep ? sweep_to : count); ++records) {
        fill_random(key, sizeof key, random);
        check(database.insert(emdb::Bytes(key, sizeof key), emdb::Bytes(key, 1)));
        if (records != count && records % step != 0) continue;
        const double per_key = static_cast<double>(database.stats().value().index_bytes) / as_double(records);
        if (records == count) at_count = per_key;
        if (records >= sweep_from && per_key > highest) {
            highest = per_key;
            highest_at = records;
        }
    }
    context.add({"index_memory",
                 "index memory at " + std::to_string(count) + " keys, per key",
                 "bytes",
                 "",
                 {},
                 {at_count},
                 {},
                 Bar::value_at_most(20)});
    if (!sweep) return;
    context.add({"index_sweep",
                 "index memory, 1 M to 10 M keys, highest",
                 "bytes",
                 "",
                 {},
                 {highest},
                 {},
                 Bar::value_at_most(24),
                 "at " + std::to_string(highest_at) + " keys"});
}

}  // namespace bench
