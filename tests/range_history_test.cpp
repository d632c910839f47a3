// Ordered range scans against std::map: random histories, many keys, and threads that read beside threads that write.

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/complaints.hpp"
#include "support/ordered_stores.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using namespace ordered_stores;
using Model = std::map<std::string, std::string>;
using emdb::Emdb;
using emdb::Keyspace;
using emdb::Range;
using emdb::Result;

std::string random_key(std::mt19937_64& random) {
    switch (random() % 6) {
        case 0: return bytes({static_cast<int>(random() % 256)});
        case 1: return std::string(random() % 30, bytes({0, 97, 255})[random() % 3]);
        case 2: return std::string(60, 'p') + std::to_string(random() % 2000);
        case 3: return "user:" + std::to_string(random() % 50) + ":" + std::to_string(random() % 50);
        default: return std::to_string(random() % 100000);
    }
}

Range random_range(std::mt19937_64& random, const Model& model, Keys& expected) {
    const auto pick = [&] {
        if (!model.empty() && random() % 2 == 0) {
            const auto found = model.lower_bound(random_key(random));
            if (found != model.end()) return found->first;
        }
        return random_key(random);
    };
    const std::string a = pick();
    const std::string b = pick();
    const auto where = [&](auto&& holds) {
        for (const auto& [key, value] : model) {
            if (holds(key)) expected.push_back(key);
        }
    };
    switch (random() % 10) {
        case 0: where([](const auto&) { return true; }); return Range::all();
        case 1: where([&](const auto& k) { return a <= k && k < b; }); return Range::half_open(a, b);
        case 2: where([&](const auto& k) { return a <= k && k <= b; }); return Range::closed(a, b);
        case 3: where([&](const auto& k) { return a < k && k < b; }); return Range::open(a, b);
        case 4: where([&](const auto& k) { return a < k && k <= b; }); return Range::open_closed(a, b);
        case 5: where([&](const auto& k) { return a <= k; }); return Range::from(a);
        case 6: where([&](const auto& k) { return a < k; }); return Range::after(a);
        case 7: where([&](const auto& k) { return k < b; }); return Range::until(b);
        case 8: where([&](const auto& k) { return k <= b; }); return Range::up_to(b);
        default: {
            const std::string prefix = a.substr(0, random() % 4);
            where([&](const auto& k) { return k.starts_with(prefix); });
            return Range::prefix(prefix);
        }
    }
}

void random_write(std::mt19937_64& random, Emdb& db, Keyspace& keyspace, const emdb::Namespace* space, Model& model) {
    const std::string key = random_key(random);
    const std::string value = std::to_string(random());
    const auto any = [&] {
        const auto found = model.lower_bound(random_key(random));
        return found == model.end() ? key : found->first;
    };
    switch (random() % 12) {
        case 0:
        case 1: {
            const std::string gone = any();
            keyspace.remove(gone).value();
            model.erase(gone);
            return;
        }
        case 2: {
            const auto found = model.find(key);
            const auto expected = found == model.end() ? std::nullopt : std::optional<emdb::Bytes>(found->second);
            const bool removes = random() % 2 == 0;
            CHECK(keyspace.compare_exchange(key, expected, removes ? std::nullopt : std::optional<emdb::Bytes>(value)).value());
            removes ? static_cast<void>(model.erase(key)) : static_cast<void>(model[key] = value);
            return;
        }
        case 3: {
            const std::string changed = any();
            keyspace.update(changed, [&](std::optional<std::string_view>) { return std::optional(value); }).value();
            model[changed] = value;
            return;
        }
        case 4: {
            std::vector<std::pair<std::string, std::string>> pairs;
            for (std::uint64_t i = random() % 40; i > 0; --i) pairs.emplace_back(random_key(random), std::to_string(i));
            keyspace.insert_many(pairs).value();
            for (const auto& [k, v] : pairs) model[k] = v;
            return;
        }
        case 5: {
            const bool aborts = random() % 4 == 0;
            Model after = model;
            auto done = db.transaction([&](emdb::Transaction& transaction) -> Result<void> {
                emdb::TransactionView view = space == nullptr ? transaction : transaction.in(*space);
                for (std::uint64_t i = random() % 40; i > 0; --i) {
                    const std::string k = random() % 3 == 0 ? any() : random_key(random);
                    if (random() % 3 == 0) {
                        view.remove(k).value();
                        after.erase(k);
                    } else {
                        view.insert(k, value).value();
                        after[k] = value;
                    }
                }
                if (aborts) return emdb::Error::aborted("on purpose");
                return {};
            });
            CHECK(done.has_value() != aborts);
            if (!aborts) model = after;
            return;
        }
        case 6:
            if (random() % 100 != 0) break;
            keyspace.clear().value();
            model.clear();
            return;
        default: break;
    }
    keyspace.insert(key, value).value();
    model[key] = value;
}

}  // namespace

TEST_CASE("random writes and scans agree with std::map, across reopening") {
    const std::uint64_t seed = 20260101;
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    TempFolder folder;
    const std::string file = folder.file("a.emdb");
    Model models[2];
    for (int session = 0; session < 5; ++session) {
        Emdb db = open_ordered(file);
        auto space = db.open_namespace("space").value();
        for (int step = 0; step < 2500; ++step) {
            const bool named = random() % 2 == 0;
            Keyspace& keyspace = named ? static_cast<Keyspace&>(space) : db;
            Model& model = models[named ? 1 : 0];
            random_write(random, db, keyspace, named ? &space : nullptr, model);
            if (step % 25 != 0) continue;
            Keys expected;
            const Range range = random_range(random, model, expected);
            REQUIRE(keys_in(keyspace, range) == expected);
        }
        for (const bool named : {false, true}) {
            const auto records = (named ? static_cast<Keyspace&>(space) : db).range(Range::all()).value();
            REQUIRE(records.size() == models[named].size());
            REQUIRE(std::equal(records.begin(), records.end(), models[named].begin(),
                               [](const emdb::Record& record, const auto& entry) {
                                   return record.key == entry.first && record.value == entry.second;
                               }));
        }
    }
}

TEST_CASE("100,000 keys that share a 60-byte prefix") {
    TempFolder folder;
    const std::string file = folder.file("a.emdb");
    const std::string prefix(60, 'p');
    Keys keys;
    for (int i = 0; i < 100000; ++i) keys.push_back(prefix + std::to_string(1000000 + i));
    Keys shuffled = keys;
    std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937(6));
    for (int session = 0; session < 2; ++session) {
        Emdb db = open_ordered(file);
        if (session == 0) {
            for (const std::string& key : shuffled) db.insert(key, "v").value();
            insert_all(db, {"a", "q"});
        }
        CHECK(db.range_prefix(prefix).value().size() == keys.size());
        std::size_t next = 0;
        bool same = true;
        auto records = db.range_prefix_iter(prefix).value();
        for (const auto& [key, value] : records) same = same && key == keys[next++];
        CHECK(same);
        CHECK(next == keys.size());
        CHECK(keys_in(db, Range::half_open(keys[50000], keys[50010])) == Keys(keys.begin() + 50000, keys.begin() + 50010));
        CHECK(keys_in(db, Range::after(keys.back())) == Keys{"q"});
        CHECK(db.stats().value().index_bytes < 100000 * 64);
    }
}

TEST_CASE("a large insert_many, unordered and with keys that repeat") {
    Emdb db = ordered_in_memory();
    std::mt19937_64 random(12);
    std::vector<std::pair<std::string, std::string>> pairs;
    Model model;
    for (int i = 0; i < 60000; ++i) {
        pairs.emplace_back(std::to_string(random() % 40000), std::to_string(i));
        model[pairs.back().first] = pairs.back().second;
    }
    db.insert_many(pairs).value();
    const auto records = db.range(Range::all()).value();
    REQUIRE(records.size() == model.size());
    CHECK(std::equal(records.begin(), records.end(), model.begin(), [](const emdb::Record& record, const auto& entry) {
        return record.key == entry.first && record.value == entry.second;
    }));
}

// --- threads

TEST_CASE("threads: scans are in order and complete beside inserts, overwrites and removals") {
    Emdb db = ordered_in_memory();
    constexpr int lasting = 500;
    const auto lasting_key = [](int number) { return "k" + std::to_string(10000 + number * 10); };
    for (int i = 0; i < lasting; ++i) db.insert(lasting_key(i), "stays").value();
    Complaints complaints;
    std::atomic<int> writing{3};
    std::vector<std::thread> threads;
    for (int writer = 0; writer < 3; ++writer) {
        threads.emplace_back([&, writer] {
            std::mt19937 random(static_cast<std::uint32_t>(writer));
            for (int i = 0; i < 4000; ++i) {
                const int number = static_cast<int>(random() % lasting);
                const std::string own = lasting_key(number) + "-" + std::to_string(writer) + "-" + std::to_string(random() % 3);
                switch (random() % 3) {
                    case 0: complaints.unless(db.insert(own, own).has_value(), "insert failed"); break;
                    case 1: complaints.unless(db.remove(own).has_value(), "remove failed"); break;
                    default: complaints.unless(db.insert(lasting_key(number), "stays").has_value(), "overwrite failed");
                }
            }
            --writing;
        });
    }
    for (int reader = 0; reader < 2; ++reader) {
        threads.emplace_back([&, reader] {
            do {
                int found = 0;
                std::string last;
                const auto look = [&](std::string_view key, std::string_view value) {
                    complaints.unless(last < key, "a scan is out of order or yields a key twice");
                    last = key;
                    if (value == "stays") ++found;
                };
                if (reader == 0) {
                    auto records = db.range_iter(Range::all()).value();
                    for (const auto& [key, value] : records) look(key, value);
                    complaints.unless(records.status().has_value(), "an iterator failed");
                } else {
                    for (const emdb::Record& record : db.range(Range::prefix("k1")).value()) look(record.key, record.value);
                }
                complaints.unless(found == lasting, "a key that was there throughout was missed");
            } while (writing > 0);
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(complaints.text() == "");
}

TEST_CASE("threads: range and range_prefix see all of a transaction or none of it") {
    Emdb db = ordered_in_memory();
    auto space = db.open_namespace("space").value();
    constexpr int group = 150;
    Complaints complaints;
    std::atomic<bool> writing{true};
    std::thread writer([&] {
        for (int version = 1; version <= 150; ++version) {
            auto done = db.transaction([&](emdb::Transaction& transaction) -> Result<void> {
                for (int i = 0; i < group; ++i) {
                    const std::string old_key = "group-" + std::to_string(i) + "-" + std::to_string(version - 1);
                    const std::string new_key = "group-" + std::to_string(i) + "-" + std::to_string(version);
                    if (auto removed = transaction.remove(old_key); !removed) return std::move(removed).error();
                    if (auto put = transaction.insert(new_key, std::to_string(version)); !put) return put;
                    if (auto put = transaction.in(space).insert("s" + std::to_string(i), std::to_string(version)); !put) return put;
                }
                return {};
            });
            complaints.unless(done.has_value(), "a transaction failed");
            // Single writes in between, which split and merge leaves.
            for (int i = 0; i < 20; ++i) {
                const std::string other = "group-" + std::to_string(i * 7) + "-x" + std::to_string(version % 5);
                complaints.unless((version % 2 == 0 ? db.insert(other, "other") : db.insert("other", "other")).has_value(), "insert failed");
                if (version % 2 == 1) complaints.unless(db.remove(other).has_value(), "remove failed");
            }
        }
        writing = false;
    });
    const auto read = [&](bool first) {
        do {
            const auto records = first ? db.range_prefix("group-").value() : space.range(Range::all()).value();
            std::string version;
            int count = 0;
            for (const emdb::Record& record : records) {
                if (record.value == "other") continue;
                if (count++ == 0) version = record.value;
                complaints.unless(record.value == version, "records of two transactions in one range");
            }
            complaints.unless(count == 0 || count == group, "part of a transaction in a range");
        } while (writing);
    };
    std::thread second([&] { read(false); });
    read(true);
    writer.join();
    second.join();
    CHECK(complaints.text() == "");
}

TEST_CASE("threads: clear, insert_many and scans") {
    Emdb db = ordered_in_memory();
    std::vector<std::pair<std::string, std::string>> pairs;
    for (int i = 0; i < 2000; ++i) pairs.emplace_back("key" + std::to_string(10000 + i), "v");
    Complaints complaints;
    std::atomic<bool> writing{true};
    std::thread writer([&] {
        for (int i = 0; i < 30; ++i) {
            complaints.unless(db.insert_many(pairs).has_value(), "insert_many failed");
            complaints.unless(db.clear().has_value(), "clear failed");
        }
        writing = false;
    });
    do {
        std::string last;
        auto records = db.range_iter(Range::all()).value();
        for (const auto& [key, value] : records) {
            complaints.unless(last < key, "out of order");
            last = key;
        }
        complaints.unless(records.status().has_value(), "an iterator failed");
    } while (writing);
    writer.join();
    CHECK(complaints.text() == "");
}

}  // namespace emdb_test
