// Ordered range scans against LMDB, and what the ordered index costs: the bars of `enable_range_scans`.
//
//   g++ -std=c++20 -O2 -DNDEBUG -I. bench/ranges.cpp -o ranges -pthread -llmdb      (needs liblmdb-dev)
//   ./ranges [--records N] [--rounds N] [--dir FOLDER]
//
// A million records of 24 random + 150 bytes, inserted one by one in random order. Every contestant does its whole work once a
// round, in turn, odd rounds in reverse; the first round is not counted. Medians, and medians of the ratios of the same round.
//
//   scan 10     500,000 scans of ten records from the key of a random record; every byte of every record is read. emdb: iter_from
//               (records are checked). LMDB: a cursor on one read-only transaction, MDB_SET_RANGE and MDB_NEXT. Processor time.
//   walk        all records in key order. emdb's lie in the order of writing, LMDB's in key order.
//   insert      one call each, fresh file. LMDB: MDB_NOSYNC and MDB_WRITEMAP, 1,000 puts a transaction, which is to its advantage.
//   shared      100,000 keys that have their first 60 bytes in common: scans of ten, and inserts
//   two threads one inserts new keys while one scans, each compared with itself alone. By the wall clock; and, for machines whose processors
//               are wanted by others, too, by processor time, and against a neighbour that works on another database
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <lmdb.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "support/temporary_folder.hpp"
#include "support/timing.hpp"
#include "support/workload.hpp"

namespace {

using bench::as_double;
using bench::Clock;
using bench::nanoseconds;
using Pairs = std::vector<std::pair<emdb::Bytes, emdb::Bytes>>;

constexpr std::size_t records_per_scan = 10;

std::uint64_t sum_of(std::string_view bytes) {
    std::uint64_t sum = 0;
    for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
        std::uint64_t word;
        std::memcpy(&word, bytes.data(), 8);
        sum += word;
    }
    return sum;
}

void check(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "%s\n", what);
    std::exit(1);
}

class Lmdb {
public:
    explicit Lmdb(const std::string& folder) {
        std::filesystem::create_directories(folder);
        done(mdb_env_create(&environment_));
        done(mdb_env_set_mapsize(environment_, std::size_t{8} << 30));
        done(mdb_env_open(environment_, folder.c_str(), MDB_NOSYNC | MDB_WRITEMAP, 0600));
        MDB_txn* transaction = nullptr;
        done(mdb_txn_begin(environment_, nullptr, 0, &transaction));
        done(mdb_dbi_open(transaction, nullptr, 0, &database_));
        done(mdb_txn_commit(transaction));
    }
    Lmdb(const Lmdb&) = delete;
    Lmdb& operator=(const Lmdb&) = delete;
    ~Lmdb() { mdb_env_close(environment_); }

    void insert(const Pairs& pairs, std::size_t per_transaction) {
        for (std::size_t i = 0; i < pairs.size();) {
            MDB_txn* transaction = nullptr;
            done(mdb_txn_begin(environment_, nullptr, 0, &transaction));
            for (const std::size_t end = std::min(pairs.size(), i + per_transaction); i < end; ++i) {
                MDB_val key = value_of(pairs[i].first);
                MDB_val value = value_of(pairs[i].second);
                done(mdb_put(transaction, database_, &key, &value, 0));
            }
            done(mdb_txn_commit(transaction));
        }
    }

    /// Calls f(key, value) for up to `count` records from `start` on; for each of the starts.
    template <class F> void scan(const std::vector<emdb::Bytes>& starts, std::size_t count, F&& f) {
        MDB_txn* transaction = nullptr;
        MDB_cursor* cursor = nullptr;
        done(mdb_txn_begin(environment_, nullptr, MDB_RDONLY, &transaction));
        done(mdb_cursor_open(transaction, database_, &cursor));
        for (const emdb::Bytes start : starts) {
            MDB_val key = value_of(start);
            MDB_val value{};
            int found = start.empty() ? mdb_cursor_get(cursor, &key, &value, MDB_FIRST)
                                      : mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
            for (std::size_t i = 0; i < count && found == 0; ++i) {
                f(std::string_view(static_cast<const char*>(key.mv_data), key.mv_size),
                  std::string_view(static_cast<const char*>(value.mv_data), value.mv_size));
                if (i + 1 < count) found = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
            }
        }
        mdb_cursor_close(cursor);
        mdb_txn_abort(transaction);
    }

private:
    static void done(int code) {
        if (code == 0) return;
        std::fprintf(stderr, "LMDB: %s\n", mdb_strerror(code));
        std::exit(1);
    }
    static MDB_val value_of(emdb::Bytes bytes) { return {bytes.size(), const_cast<std::byte*>(bytes.data())}; }

    MDB_env* environment_ = nullptr;
    MDB_dbi database_ = 0;
};

emdb::Emdb open_emdb(const std::filesystem::path& file, bool range_scans) {
    return emdb::Emdb::builder().path(file).enable_range_scans(range_scans).build().value();
}

void insert_into(emdb::Emdb& db, const Pairs& pairs) {
    for (const auto& [key, value] : pairs) db.insert(key, value).value();
}

/// Up to `count` records from `start` on.
template <class F> void scan_emdb(const emdb::Emdb& db, emdb::Bytes start, std::size_t count, F&& f) {
    auto records = db.iter_from(start).value();
    std::size_t seen = 0;
    for (const auto& [key, value] : records) {
        f(key, value);
        if (++seen == count) break;
    }
    check(records.status().has_value(), "a scan failed");
}

std::uint64_t sink = 0;
const auto add_up = [](std::string_view key, std::string_view value) { sink += sum_of(key) + sum_of(value); };

double cpu_time_of(std::size_t operations, const std::function<void()>& work) {
    const double start = bench::thread_nanoseconds();
    work();
    return (bench::thread_nanoseconds() - start) / as_double(operations);
}
double wall_time_of(std::size_t operations, const std::function<void()>& work) {
    const Clock::time_point start = Clock::now();
    work();
    return nanoseconds(Clock::now() - start) / as_double(operations);
}

void row(const char* what, const bench::Samples& first, const bench::Samples& second, const char* unit = "ns") {
    const bench::Samples ratios = bench::pairwise(second, first);
    std::printf("%-48s %8.0f %8.0f %s   %.2f x (%.2f .. %.2f)\n", what, bench::median(first), bench::median(second), unit,
                bench::median(ratios), bench::quantile(ratios, 0.25), bench::quantile(ratios, 0.75));
    std::fflush(stdout);
}

void measure_inserts(const std::filesystem::path& folder, const Pairs& pairs, std::size_t rounds) {
    bench::Rounds contest;
    const auto emdb_inserts = [&](bool range_scans) {
        const auto file = folder / "insert.emdb";
        double cost = 0;
        {
            auto db = open_emdb(file, range_scans);
            cost = cpu_time_of(pairs.size(), [&] { insert_into(db, pairs); });
        }
        std::filesystem::remove(file);
        return cost;
    };
    contest.add("with", [&] { return emdb_inserts(true); });
    contest.add("without", [&] { return emdb_inserts(false); });
    contest.add("lmdb", [&] {
        const std::string place = (folder / "insert.lmdb").string();
        double cost = 0;
        {
            Lmdb lmdb(place);
            cost = cpu_time_of(pairs.size(), [&] { lmdb.insert(pairs, 1000); });
        }
        std::filesystem::remove_all(place);
        return cost;
    });
    contest.run(rounds);
    row("insert: without option, with (bar 2.5 x)", contest["without"], contest["with"]);
    row("insert: with option, LMDB (bar >= 1 x)", contest["with"], contest["lmdb"]);
}

void measure_scans(const emdb::Emdb& db, Lmdb& lmdb, const std::vector<emdb::Bytes>& starts, const char* name, std::size_t rounds) {
    std::uint64_t sums[2] = {};
    bench::Rounds contest;
    contest.add("emdb", [&] {
        sink = 0;
        const double cost = cpu_time_of(starts.size(), [&] {
            for (const emdb::Bytes start : starts) scan_emdb(db, start, records_per_scan, add_up);
        });
        sums[0] = sink;
        return cost;
    });
    contest.add("lmdb", [&] {
        sink = 0;
        const double cost = cpu_time_of(starts.size(), [&] { lmdb.scan(starts, records_per_scan, add_up); });
        sums[1] = sink;
        return cost;
    });
    contest.run(rounds);
    check(sums[0] == sums[1], "emdb and LMDB find different records");
    row(name, contest["emdb"], contest["lmdb"]);
}

void measure_walk(const emdb::Emdb& db, Lmdb& lmdb, std::size_t records, std::size_t rounds) {
    const std::vector<emdb::Bytes> start(1);
    bench::Rounds contest;
    contest.add("emdb", [&] { return cpu_time_of(records, [&] { scan_emdb(db, "", records, add_up); }); });
    contest.add("lmdb", [&] { return cpu_time_of(records, [&] { lmdb.scan(start, records, add_up); }); });
    contest.run(rounds);
    row("walk, a record: emdb, LMDB", contest["emdb"], contest["lmdb"]);
}

/// Scans or inserts until `stop`; returns how many a second.
struct Worker {
    std::function<void(std::size_t)> step;
    double rate = 0;      ///< by the clock on the wall
    double cpu_rate = 0;  ///< by the processor time that the thread was given
    void run(const std::atomic<bool>& stop) {
        const Clock::time_point start = Clock::now();
        const double cpu_start = bench::thread_nanoseconds();
        std::size_t count = 0;
        for (; !stop.load(std::memory_order_relaxed); ++count) step(count);
        rate = as_double(count) * 1e9 / nanoseconds(Clock::now() - start);
        cpu_rate = as_double(count) * 1e9 / (bench::thread_nanoseconds() - cpu_start);
    }
};

void run_for(std::chrono::milliseconds time, std::vector<Worker*> workers) {
    std::atomic<bool> stop = false;
    std::vector<std::thread> threads;
    for (Worker* worker : workers) threads.emplace_back([worker, &stop] { worker->run(stop); });
    std::this_thread::sleep_for(time);
    stop = true;
    for (std::thread& thread : threads) thread.join();
}

void measure_two_threads(emdb::Emdb& db, const std::vector<emdb::Bytes>& starts, std::size_t rounds) {
    std::mt19937_64 random(99);
    std::uint64_t scanned = 0;
    Worker scanner{[&](std::size_t i) {
        scan_emdb(db, starts[i % starts.size()], records_per_scan, [&](std::string_view key, std::string_view value) {
            scanned += sum_of(key) + sum_of(value);
        });
    }};
    const std::string value(bench::value_size, 'v');
    Worker inserter{[&](std::size_t) {
        char key[bench::key_size];
        bench::fill_random(key, sizeof key, random);
        db.insert(emdb::Bytes(key, sizeof key), value).value();
    }};
    // Work of the same kind that has nothing to do with this database: what it costs is the machine's doing.
    auto elsewhere = emdb::Emdb::builder().enable_range_scans(true).build().value();
    for (const emdb::Bytes start : starts) elsewhere.insert(start, value).value();
    std::mt19937_64 other_random(98);
    Worker other_inserter{[&](std::size_t) {
        char key[bench::key_size];
        bench::fill_random(key, sizeof key, other_random);
        elsewhere.insert(emdb::Bytes(key, sizeof key), value).value();
    }};
    std::uint64_t other_scanned = 0;
    Worker other_scanner{[&](std::size_t i) {
        scan_emdb(elsewhere, starts[i % starts.size()], records_per_scan, [&](std::string_view key, std::string_view found) {
            other_scanned += sum_of(key) + sum_of(found);
        });
    }};
    const std::chrono::milliseconds time(700);
    bench::Samples scans[5], inserts[5];
    for (std::size_t round = 0; round <= rounds; ++round) {
        run_for(time, {&scanner});
        const Worker scanner_alone = scanner;
        run_for(time, {&inserter});
        const Worker inserter_alone = inserter;
        run_for(time, {&scanner, &other_inserter});
        const double scans_beside_others = scanner.rate;
        run_for(time, {&inserter, &other_scanner});
        const double inserts_beside_others = inserter.rate;
        run_for(time, {&scanner, &inserter});
        if (round == 0) continue;
        scans[4].push_back(scans_beside_others / 1000);
        inserts[4].push_back(inserts_beside_others / 1000);
        const auto keep = [](bench::Samples* samples, const Worker& alone, const Worker& beside) {
            samples[0].push_back(alone.rate / 1000);
            samples[1].push_back(beside.rate / 1000);
            samples[2].push_back(alone.cpu_rate / 1000);
            samples[3].push_back(beside.cpu_rate / 1000);
        };
        keep(scans, scanner_alone, scanner);
        keep(inserts, inserter_alone, inserter);
    }
    bench::keep(scanned);
    bench::keep(other_scanned);
    row("scans, 1000/s: alone, beside inserts (bar 0.6)", scans[0], scans[1], "k/s");
    row("inserts, 1000/s: alone, beside scans (bar 0.6)", inserts[0], inserts[1], "k/s");
    row("scans: beside inserts elsewhere, beside inserts", scans[4], scans[1], "k/s");
    row("inserts: beside scans elsewhere, beside scans", inserts[4], inserts[1], "k/s");
    row("scans by processor time: alone, beside inserts", scans[2], scans[3], "k/s");
    row("inserts by processor time: alone, beside scans", inserts[2], inserts[3], "k/s");
}

void measure_shared_prefix(const std::filesystem::path& folder, std::size_t rounds) {
    std::vector<std::string> keys;
    for (int i = 0; i < 100'000; ++i) keys.push_back(std::string(60, 'p') + std::to_string(1'000'000 + i));
    std::mt19937_64 random(3);
    std::shuffle(keys.begin(), keys.end(), random);
    const std::string value(bench::value_size, 'v');
    Pairs pairs;
    std::vector<emdb::Bytes> starts;
    for (const std::string& key : keys) {
        pairs.emplace_back(key, value);
        starts.push_back(key);
    }
    measure_inserts(folder, pairs, rounds);
    auto db = open_emdb(folder / "shared.emdb", true);
    insert_into(db, pairs);
    Lmdb lmdb((folder / "shared.lmdb").string());
    lmdb.insert(pairs, 1000);
    std::shuffle(starts.begin(), starts.end(), random);
    measure_scans(db, lmdb, starts, "scan 10, shared prefix: emdb, LMDB", rounds);
}

std::size_t number_after(int count, char** arguments, std::string_view name, std::size_t otherwise) {
    for (int i = 1; i + 1 < count; ++i) {
        if (arguments[i] == name) return std::strtoull(arguments[i + 1], nullptr, 10);
    }
    return otherwise;
}

}  // namespace

int main(int count, char** arguments) {
    const std::size_t records = number_after(count, arguments, "--records", 1'000'000);
    const std::size_t rounds = number_after(count, arguments, "--rounds", 5);
    std::filesystem::path parent = std::filesystem::temp_directory_path();
    for (int i = 1; i + 1 < count; ++i) {
        if (arguments[i] == std::string_view("--dir")) parent = arguments[i + 1];
    }
    const bench::TemporaryFolder folder(parent);
    const bench::Workload workload(records);
    std::vector<emdb::Bytes> starts = workload.present();
    starts.resize(std::min(starts.size(), std::size_t{500'000}));

    std::printf("%zu records, %zu rounds; median of each, median of the ratios (quartiles)\n", records, rounds);
    const auto file = folder.path() / "scan.emdb";
    {
        auto db = open_emdb(file, false);
        insert_into(db, workload.pairs());
    }
    bench::Samples opens[2];
    for (std::size_t round = 0; round < rounds; ++round) {
        for (const bool range_scans : {false, true}) {
            opens[range_scans ? 1 : 0].push_back(wall_time_of(records, [&] { open_emdb(file, range_scans); }));
        }
    }
    row("open, a record: without option, with", opens[0], opens[1]);
    std::filesystem::remove(file);
    auto db = open_emdb(file, true);
    insert_into(db, workload.pairs());
    {
        auto plain = open_emdb(folder.path() / "plain.emdb", false);
        insert_into(plain, workload.pairs());
        const double bytes = as_double(db.stats().value().index_bytes) - as_double(plain.stats().value().index_bytes);
        std::printf("%-48s %8.1f bytes a key (bar 40)\n", "memory of the ordered index", bytes / as_double(records));
    }
    Lmdb lmdb((folder.path() / "lmdb").string());
    lmdb.insert(workload.pairs(), 1000);
    measure_scans(db, lmdb, starts, "scan 10: emdb, LMDB (bar 1.5 x)", rounds);
    measure_walk(db, lmdb, records, rounds);
    db.compact().value();
    std::puts("after compact(), which lays records in key order:");
    measure_scans(db, lmdb, starts, "scan 10: emdb, LMDB (bar 2.5 x)", rounds);
    measure_walk(db, lmdb, records, rounds);
    measure_inserts(folder.path(), workload.pairs(), rounds);
    measure_two_threads(db, starts, rounds);
    std::puts("100,000 keys with 60 bytes in common:");
    measure_shared_prefix(folder.path(), rounds);
    bench::keep(sink);
    return 0;
}
