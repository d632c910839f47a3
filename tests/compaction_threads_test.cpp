// Compactions one after the other, while threads do everything else that a database is for. Built with groups, so that those are
// read across the change of files, too.

#define EMDB_IMPLEMENTATION
#define EMDB_NESTED 1
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/simulated_media.hpp"
#include "support/temp_folder.hpp"

namespace emdb::detail {
class EngineInspection {
public:
    using WritersStandBack = Engine::WritersStandBack;
};
}  // namespace emdb::detail

namespace emdb_test {

namespace {

using emdb::Emdb;
using emdb::Range;
using Records = std::map<std::string, std::string>;

std::string own_key(std::size_t thread, std::uint64_t i) { return "own." + std::to_string(thread) + "." + std::to_string(i); }

/// REQUIRE, for what is asked millions of times.
void must(bool holds, int line = __builtin_LINE()) {
    if (!holds) FAIL("line " << line);
}

/// A database under load: each thread keeps records of its own, whose values it knows, and all share those of transactions.
class Load {
public:
    static constexpr std::size_t writers = 2;
    static constexpr int together = 20;  ///< keys of a transaction, always all of one value

    explicit Load(Emdb db) : db_(std::move(db)), shared_(db_.open_namespace("shared").value()) {
        for (int i = 0; i < together; ++i) together_.push_back("all." + std::to_string(i));
        write_together("start");
    }

    /// `compact` again and again, as often as asked.
    void run(int compactions, const std::function<void()>& compact) {
        std::vector<std::thread> threads;
        for (std::size_t thread = 0; thread < writers; ++thread) threads.emplace_back([this, thread] { write(thread); });
        threads.emplace_back([this] { write_transactions(); });
        threads.emplace_back([this] { read_together(); });
        threads.emplace_back([this] { iterate(); });
        threads.emplace_back([this] { change_namespaces(); });
        for (int i = 0; i < compactions; ++i) {
            const std::uint64_t before = writes_;
            while (writes_ < before + 80) std::this_thread::yield();
            compact();
        }
        stop_ = true;
        for (std::thread& thread : threads) thread.join();
    }

    /// Everything that the writers know to be there, and nothing else.
    void check(const Emdb& db) const {
        Records expected;
        for (const Records& own : own_) expected.insert(own.begin(), own.end());
        std::size_t count = 0;
        auto records = db.iter().value();
        for (const auto& record : records) {
            if (!record.key.starts_with("own.")) continue;
            ++count;
            const auto found = expected.find(std::string(record.key));
            must(found != expected.end());
            must(found->second == record.value);
        }
        CHECK(count == expected.size());
        for (const auto& [key, value] : expected) must(db.get(key).value() == value);
        if (!db.stats().value().range_scans_enabled) return;
        std::size_t ordered = 0;
        for (const emdb::Record& record : db.range_prefix("own.").value()) {
            must(expected.at(record.key) == record.value);
            ++ordered;
        }
        CHECK(ordered == expected.size());
    }

    /// stats() against a recount: what a compaction gives back.
    static void check_stats(Emdb& db) {
        for (int i = 0; i < 1000; ++i) db.insert("dead", std::string(static_cast<std::size_t>(i), 'd')).value();
        const emdb::EmdbStats before = db.stats().value();
        db.compact().value();
        const emdb::EmdbStats after = db.stats().value();
        const double live = static_cast<double>(after.file_size_bytes);
        const double dead = static_cast<double>(before.file_size_bytes) - live;
        CHECK(static_cast<double>(before.dead_bytes) == doctest::Approx(dead).epsilon(0.01));
        CHECK(after.live_records == before.live_records);
    }

private:
    void write(std::size_t thread) {
        SeededRandom random(thread + 1);
        Records& own = own_[thread];
        for (std::uint64_t round = 0; !stop_; ++round, ++writes_) {
            const std::string key = own_key(thread, random.below(300));
            const std::string value = std::to_string(round) + std::string(random.below(400), 'v');
            const auto present = own.find(key);
            switch (random.below(8)) {
                case 0: {
                    const auto prior = db_.remove(key).value();
                    must(prior == (present == own.end() ? std::nullopt : std::optional(present->second)));
                    own.erase(key);
                    continue;
                }
                case 1: {
                    std::vector<std::pair<std::string, std::string>> pairs;
                    for (std::uint64_t i = 0; i < 40; ++i) pairs.emplace_back(own_key(thread, random.below(300)), value);
                    db_.insert_many(pairs).value();
                    for (const auto& [many_key, many_value] : pairs) own[many_key] = many_value;
                    continue;
                }
                case 2: {
                    const auto append = [&](std::optional<std::string_view> now) {
                        return std::optional<std::string>(std::string(now ? now->substr(0, 50) : "") + value);
                    };
                    own[key] = *append(present == own.end() ? std::nullopt : std::optional<std::string_view>(present->second));
                    db_.update(key, append).value();
                    break;
                }
                case 3: {
                    const bool exchanged =
                        db_.compare_exchange(key, present == own.end() ? std::nullopt : std::optional<emdb::Bytes>(present->second),
                                             emdb::Bytes(value))
                            .value();
                    must(exchanged);
                    own[key] = value;
                    break;
                }
                case 4: db_.flush().value(); [[fallthrough]];
                default:
                    db_.insert(key, value).value();
                    own[key] = value;
            }
            // What was written is read, whatever file it is in by now.
            must(db_.get(key).value() == own.at(key));
        }
    }

    void write_together(const std::string& value) {
        db_.transaction([&](emdb::Transaction& transaction) -> emdb::Result<void> {
               for (const std::string& key : together_) {
                   if (auto put = transaction.insert(key, value); !put) return put;
                   if (auto put = transaction.in(shared_).insert(key, value); !put) return put;
               }
               return {};
           }).value();
    }

    void write_transactions() {
        for (std::uint64_t round = 0; !stop_; ++round) write_together(std::to_string(round) + std::string(round % 100, 't'));
    }

    void read_together() {
        const std::vector<emdb::Bytes> keys(together_.begin(), together_.end());
        std::optional<emdb::ValueRef> held;
        std::string held_copy;
        for (std::uint64_t round = 0; !stop_; ++round) {
            const auto values = shared_.get_many(keys).value();
            for (const auto& value : values) must(value == values[0]);
            const auto check_all = [&](const std::vector<emdb::Record>& records) {
                must(records.size() == together_.size());
                for (const emdb::Record& record : records) must(record.value == records[0].value);
            };
            check_all(db_.group("all").value());
            if (db_.stats().value().range_scans_enabled) check_all(db_.range_prefix("all.").value());
            if (held) must(*held == held_copy);
            if (round % 16 == 0) {
                held = db_.get_zerocopy(together_[round % together]).value();
                held_copy = held->to_string();
            }
        }
    }

    void iterate() {
        while (!stop_) {
            auto records = db_.iter().value();
            int found = 0;
            for (const auto& record : records) found += record.key.starts_with("all.");
            must(records.status().has_value());
            must(found == together);
            if (!db_.stats().value().range_scans_enabled) continue;
            auto range = db_.range_prefix_iter("all.").value();
            found = 0;
            std::string last;
            for (const auto& record : range) {
                must(last < record.key);
                last = record.key;
                ++found;
            }
            must(found == together);
        }
    }

    void change_namespaces() {
        for (std::uint64_t round = 0; !stop_; ++round) {
            const std::string name = "space-" + std::to_string(round % 3);
            emdb::Namespace space = db_.open_namespace(name).value();
            must(space.is_empty().value());
            for (int i = 0; i < 10; ++i) space.insert(std::to_string(i), name).value();
            must(space.len().value() == 10);
            if (round % 2 == 0) {
                space.clear().value();
                must(space.is_empty().value());
            }
            must(db_.drop_namespace(name).value());
            must(space.get("1") == emdb::ErrorCode::invalid_argument);
            must(space.insert("1", "") == emdb::ErrorCode::invalid_argument);
        }
    }

    Emdb db_;
    emdb::Namespace shared_;
    std::vector<std::string> together_;
    Records own_[writers];
    std::atomic<bool> stop_ = false;
    std::atomic<std::uint64_t> writes_ = 0;
};

}  // namespace

TEST_CASE("compact: under readers, writers, transactions, iterators and changing namespaces nothing is lost, torn or back") {
    const TempFolder folder;
    int number = 0;
    for (const bool in_memory : {false, true}) {
        for (const bool range_scans : {false, true}) {
            CAPTURE(in_memory);
            CAPTURE(range_scans);
            const std::string path = folder.file(std::to_string(++number) + ".emdb");
            emdb::EmdbBuilder builder = Emdb::builder();
            if (!in_memory) builder.path(path);
            Emdb db = builder.enable_range_scans(range_scans).flush_policy(emdb::FlushPolicy::group()).build().value();
            Load load(db);
            load.run(6, [&] { db.compact().value(); });
            load.check(db);
            Load::check_stats(db);
            load.check(db);
            db.close().value();
            if (!in_memory) load.check(Emdb::builder().path(path).enable_range_scans(range_scans).build().value());
        }
    }
}

TEST_CASE("compact: backups under the same load are whole") {
    const TempFolder folder;
    Emdb db = Emdb::builder().path(folder.file("a.emdb")).auto_compact(0.5, 100'000).build().value();
    Load load(db);
    int backups = 0;
    load.run(5, [&] {
        const std::string target = folder.file("backup.emdb");
        db.backup_to(target).value();
        const Emdb backup = Emdb::open(target).value();
        const std::vector<emdb::Record> together = backup.group("all").value();
        REQUIRE(together.size() == Load::together);
        for (const emdb::Record& record : together) REQUIRE(record.value == together[0].value);
        ++backups;
    });
    CHECK(backups == 5);
    load.check(db);
}

TEST_CASE("compact: the last handle goes while a background compaction runs") {
    const TempFolder folder;
    for (int round = 0; round < 20; ++round) {
        std::optional<Emdb> db = Emdb::builder().path(folder.file("a.emdb")).auto_compact(0.1, 1).build().value();
        const std::string value(1000, static_cast<char>('a' + round));
        for (int i = 0; i < 300 + 50 * round; ++i) db->insert(std::to_string(i % 100), value).value();
        auto iterator = db->iter().value();
        db.reset();
        CHECK(iterator.collect().value().size() == 100);
        CHECK_FALSE(std::filesystem::exists(folder.file("a.emdb.compact")));
        CHECK(Emdb::open(folder.file("a.emdb")).value().get("7").value() == value);
    }
}

TEST_CASE("writers that come while maintenance waits for its turn wait, too, and go on afterwards") {
    TempFolder folder;
    emdb::detail::OpenOptions options;
    options.path = folder.file("a.emdb");
    const auto engine = emdb::detail::Engine::open(options).value();
    emdb::detail::KeyspaceState& keyspace = *engine->default_keyspace();
    std::vector<std::thread> writers;
    std::atomic<int> started{0};
    bool waited = true;
    {
        const emdb::detail::EngineInspection::WritersStandBack stand_back(*engine);
        writers.emplace_back([&] {
            ++started;
            engine->insert(keyspace, "one lock", "value").value();
        });
        writers.emplace_back([&] {
            ++started;
            engine->open_namespace("all locks").value();
        });
        while (started.load() != 2) std::this_thread::yield();
        for (int i = 0; i < 10'000; ++i) {
            std::this_thread::yield();
            waited = waited && engine->len(keyspace).value() == 0 && engine->list_namespaces().value().empty();
        }
    }
    for (auto& writer : writers) writer.join();
    CHECK(waited);
    CHECK(engine->get(keyspace, "one lock").value().has_value());
    CHECK(engine->list_namespaces().value().size() == 1);
}

TEST_CASE("work beside its owner: each round sees what was handed over, an error is told once, an exception is thrown to the owner") {
    int handed_over = 0;
    std::vector<int> done;
    emdb::detail::WorkBeside beside([&]() -> emdb::Result<void> {
        done.push_back(handed_over);
        if (handed_over == 2) return emdb::Error(emdb::ErrorCode::io, "two");
        if (handed_over == 4) throw std::runtime_error("four");
        return {};
    });
    CHECK(beside.finish().has_value());  // there was no round yet
    for (int round = 1; round <= 5; ++round) {
        handed_over = round;
        beside.begin();
        if (round == 4) {
            CHECK_THROWS_AS((void)beside.finish(), std::runtime_error);
        } else {
            CHECK(beside.finish().has_value() == (round != 2));
        }
        CHECK(beside.finish().has_value());
    }
    CHECK(done == std::vector<int>{1, 2, 3, 4, 5});
}

TEST_CASE("work beside its owner is waited for when the owner goes") {
    bool ended = false;
    {
        std::atomic<bool> begun = false;
        emdb::detail::WorkBeside beside([&]() -> emdb::Result<void> {
            begun = true;
            begun.notify_one();
            ended = true;
            return {};
        });
        beside.begin();
        begun.wait(false);
    }
    CHECK(ended);
}

}  // namespace emdb_test
