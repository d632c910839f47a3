// Ordered range scans through the public interface: bounds, order, damage, changes under a running iterator, threads.

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::Emdb;
using emdb::ErrorCode;
using emdb::Keyspace;
using emdb::Range;
using emdb::Result;
using Keys = std::vector<std::string>;
using Model = std::map<std::string, std::string>;

Emdb open_ordered(const std::string& file) { return Emdb::builder().path(file).enable_range_scans(true).build().value(); }
Emdb ordered_in_memory() { return Emdb::builder().enable_range_scans(true).build().value(); }

std::string bytes(std::initializer_list<int> values) {
    std::string text;
    for (const int value : values) text += static_cast<char>(value);
    return text;
}

// What range and range_iter agree upon.
Keys keys_in(const Keyspace& keyspace, const Range& range) {
    Keys keys;
    auto records = keyspace.range_iter(range).value();
    for (const auto& [key, value] : records) keys.emplace_back(key);
    records.status().value();
    Keys materialized;
    for (const emdb::Record& record : keyspace.range(range).value()) materialized.push_back(record.key);
    CHECK(materialized == keys);
    return keys;
}

void insert_all(Keyspace& keyspace, const Keys& keys) {
    for (const std::string& key : keys) keyspace.insert(key, "value of " + key).value();
}

// Both kinds of keyspace, each with a neighbour that must not show through.
template <class F>
void for_both_kinds(F&& f) {
    Emdb db = ordered_in_memory();
    auto other = db.open_namespace("other").value();
    insert_all(other, {"", "b", "bb", "zzz"});
    f(db);
    Emdb second = ordered_in_memory();
    insert_all(second, {"", "b", "bb", "zzz"});
    auto space = second.open_namespace("space").value();
    f(space);
}

TEST_CASE("every kind of bound") {
    for_both_kinds([](Keyspace& db) {
        insert_all(db, {"d", "b", "a", "c", "e"});
        CHECK(keys_in(db, Range::all()) == Keys{"a", "b", "c", "d", "e"});
        CHECK(keys_in(db, Range::half_open("b", "d")) == Keys{"b", "c"});
        CHECK(keys_in(db, Range::closed("b", "d")) == Keys{"b", "c", "d"});
        CHECK(keys_in(db, Range::open("b", "d")) == Keys{"c"});
        CHECK(keys_in(db, Range::open_closed("b", "d")) == Keys{"c", "d"});
        CHECK(keys_in(db, Range::from("c")) == Keys{"c", "d", "e"});
        CHECK(keys_in(db, Range::after("c")) == Keys{"d", "e"});
        CHECK(keys_in(db, Range::until("c")) == Keys{"a", "b"});
        CHECK(keys_in(db, Range::up_to("c")) == Keys{"a", "b", "c"});
        // Bounds that no key has.
        CHECK(keys_in(db, Range::closed("aa", "cc")) == Keys{"b", "c"});
        CHECK(keys_in(db, Range::open("aa", "cc")) == Keys{"b", "c"});
        CHECK(keys_in(db, Range::from("")) == Keys{"a", "b", "c", "d", "e"});
        CHECK(keys_in(db, Range::after("e")).empty());
        CHECK(keys_in(db, Range::until("")).empty());
        CHECK(keys_in(db, Range::from("f")).empty());
    });
}

TEST_CASE("records come with their values") {
    for_both_kinds([](Keyspace& db) {
        insert_all(db, {"x", "y"});
        CHECK(db.range(Range::all()).value() == std::vector<emdb::Record>{{"x", "value of x"}, {"y", "value of y"}});
        CHECK(db.range_iter(Range::all()).value().collect().value() == db.range(Range::all()).value());
        CHECK(db.iter_from("y").value().collect().value() == std::vector<emdb::Record>{{"y", "value of y"}});
        CHECK(db.iter_after("x").value().collect().value() == std::vector<emdb::Record>{{"y", "value of y"}});
        CHECK(db.iter_after("y").value().collect().value().empty());
    });
}

TEST_CASE("empty and reversed ranges are empty") {
    for_both_kinds([](Keyspace& db) {
        CHECK(keys_in(db, Range::all()).empty());
        insert_all(db, {"a", "b", "c"});
        CHECK(keys_in(db, Range::half_open("b", "b")).empty());
        CHECK(keys_in(db, Range::open("b", "b")).empty());
        CHECK(keys_in(db, Range::open_closed("b", "b")).empty());
        CHECK(keys_in(db, Range::closed("b", "b")) == Keys{"b"});
        CHECK(keys_in(db, Range::closed("c", "a")).empty());
        CHECK(keys_in(db, Range::half_open("c", "a")).empty());
        CHECK(keys_in(db, Range::open("a", "b")).empty());
    });
}

TEST_CASE("the empty key, zeros and bytes above 127 are in their places") {
    for_both_kinds([](Keyspace& db) {
        const Keys sorted{"", bytes({0}), bytes({0, 0}), bytes({0, 1}), bytes({1}), "a", "a" + bytes({0}), bytes({127}), bytes({128}),
                          bytes({255}), bytes({255, 0}), bytes({255, 255})};
        Keys shuffled = sorted;
        std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937(4));
        insert_all(db, shuffled);
        CHECK(keys_in(db, Range::all()) == sorted);
        for (std::size_t i = 0; i < sorted.size(); ++i) {
            const auto at = sorted.begin() + static_cast<std::ptrdiff_t>(i);
            CHECK(keys_in(db, Range::from(sorted[i])) == Keys(at, sorted.end()));
            CHECK(keys_in(db, Range::after(sorted[i])) == Keys(at + 1, sorted.end()));
            CHECK(keys_in(db, Range::until(sorted[i])) == Keys(sorted.begin(), at));
            CHECK(keys_in(db, Range::up_to(sorted[i])) == Keys(sorted.begin(), at + 1));
        }
    });
}

TEST_CASE("prefixes, also those that end in 0xFF") {
    for_both_kinds([](Keyspace& db) {
        const std::string ff = bytes({255});
        insert_all(db, {"", "a", "ab", "ab" + ff, "ab" + ff + ff, "ab" + ff + "x", "ac", "b", ff, ff + "x", ff + ff, ff + ff + "x"});
        const auto prefixed = [&](const std::string& prefix) {
            Keys keys;
            for (const emdb::Record& record : db.range_prefix(prefix).value()) keys.push_back(record.key);
            Keys iterated;
            auto records = db.range_prefix_iter(prefix).value();
            for (const auto& [key, value] : records) iterated.emplace_back(key);
            CHECK(iterated == keys);
            CHECK(keys_in(db, Range::prefix(prefix)) == keys);
            return keys;
        };
        CHECK(prefixed("ab") == Keys{"ab", "ab" + ff, "ab" + ff + "x", "ab" + ff + ff});
        CHECK(prefixed("ab" + ff) == Keys{"ab" + ff, "ab" + ff + "x", "ab" + ff + ff});
        CHECK(prefixed("ab" + ff + ff) == Keys{"ab" + ff + ff});
        CHECK(prefixed(ff) == Keys{ff, ff + "x", ff + ff, ff + ff + "x"});
        CHECK(prefixed(ff + ff) == Keys{ff + ff, ff + ff + "x"});
        CHECK(prefixed(ff + ff + ff).empty());
        CHECK(prefixed("").size() == 12);
        CHECK(prefixed("abc").empty());
        CHECK(prefixed("zz").empty());
    });
}

TEST_CASE("a Range copies its bounds") {
    Emdb db = ordered_in_memory();
    insert_all(db, {"a", "b", "c"});
    std::optional<std::string> low("b");
    std::optional<std::string> high("b and some more, too long for a small string");
    const Range range = Range::closed(*low, *high);
    const Range copy = range;
    low.reset();
    high.reset();
    CHECK(keys_in(db, range) == Keys{"b"});
    CHECK(keys_in(db, copy) == Keys{"b"});
    // So does an iterator, in case its Range goes first.
    auto records = db.range_iter(Range::from(std::string("b"))).value();
    CHECK(records.collect().value().size() == 2);
}

TEST_CASE("without enable_range_scans every range call is invalid_config") {
    TempFolder folder;
    Emdb db = Emdb::open(folder.file("a.emdb")).value();
    db.insert("a", "1").value();
    auto space = db.open_namespace("space").value();
    for (const Keyspace* keyspace : std::initializer_list<const Keyspace*>{&db, &space}) {
        CHECK(keyspace->range(Range::all()).error() == ErrorCode::invalid_config);
        CHECK(keyspace->range_iter(Range::all()).error() == ErrorCode::invalid_config);
        CHECK(keyspace->range_prefix("a").error() == ErrorCode::invalid_config);
        CHECK(keyspace->range_prefix_iter("a").error() == ErrorCode::invalid_config);
        CHECK(keyspace->iter_from("a").error() == ErrorCode::invalid_config);
        CHECK(keyspace->iter_after("a").error() == ErrorCode::invalid_config);
    }
    CHECK(db.range(Range::all()).error().message().find("enable_range_scans") != std::string::npos);
    CHECK_FALSE(db.stats().value().range_scans_enabled);
}

TEST_CASE("the option may change with each opening") {
    TempFolder folder;
    const std::string file = folder.file("a.emdb");
    for (int round = 0; round < 6; ++round) {
        const bool on = round % 2 == 1;
        Emdb db = Emdb::builder().path(file).enable_range_scans(on).build().value();
        CHECK(db.stats().value().range_scans_enabled == on);
        if (on) {
            CHECK(keys_in(db, Range::all()).size() == static_cast<std::size_t>(round));
        } else {
            CHECK(db.range(Range::all()).error() == ErrorCode::invalid_config);
        }
        db.insert("key" + std::to_string(round), "v").value();
    }
}

TEST_CASE("stats count the ordered index's memory, and clear gives it back") {
    Emdb plain = Emdb::open_in_memory();
    Emdb db = ordered_in_memory();
    std::mt19937_64 random(1);
    for (int i = 0; i < 50000; ++i) {
        const std::string key = std::to_string(random()) + "-key";
        plain.insert(key, "v").value();
        db.insert(key, "v").value();
    }
    const auto without = plain.stats().value().index_bytes;
    const auto with = db.stats().value().index_bytes;
    CHECK(with > without + 50000 * 16);
    CHECK(with < without + 50000 * 40);
    db.clear().value();
    CHECK(db.stats().value().index_bytes < with / 4);
    CHECK(keys_in(db, Range::all()).empty());
}

TEST_CASE("closed databases and dropped namespaces refuse, running iterators end in peace") {
    Emdb db = ordered_in_memory();
    auto space = db.open_namespace("space").value();
    for (int i = 0; i < 1000; ++i) space.insert("key" + std::to_string(1000 + i), "v").value();
    auto records = space.range_iter(Range::all()).value();
    auto at = records.begin();
    REQUIRE(at != records.end());
    CHECK(db.drop_namespace("space").value());
    CHECK(space.range(Range::all()).error() == ErrorCode::invalid_argument);
    CHECK(space.iter_from("").error() == ErrorCode::invalid_argument);
    std::string last;
    for (; at != records.end(); ++at) {
        CHECK(last < at->key);
        last = at->key;
    }
    CHECK(records.status().has_value());
    auto other = db.open_namespace("space").value();
    CHECK(keys_in(other, Range::all()).empty());
    db.close().value();
    CHECK(db.range(Range::all()).error() == ErrorCode::stopped);
    CHECK(other.range_prefix("").error() == ErrorCode::stopped);
}

TEST_CASE("an iterator may outlive every handle") {
    TempFolder folder;
    std::optional<emdb::EmdbRangeIter> records;
    {
        Emdb db = open_ordered(folder.file("a.emdb"));
        for (int i = 0; i < 500; ++i) db.insert(std::to_string(1000 + i), "v").value();
        records.emplace(db.range_iter(Range::from("1100")).value());
    }
    CHECK(records->collect().value().size() == 400);
}

TEST_CASE("writing under a running iterator: ordered, no key twice, none missed that stays") {
    for_both_kinds([](Keyspace& db) {
        const auto key = [](int number) { return "key" + std::to_string(100000 + number); };
        for (int i = 0; i < 3000; ++i) db.insert(key(i), "old").value();
        std::mt19937 random(8);
        auto records = db.range_iter(Range::all()).value();
        std::set<std::string> seen;
        std::string last;
        std::size_t removed_behind = 0;
        for (const auto& [found, value] : records) {
            const std::string now(found);
            CHECK(last < now);
            CHECK(seen.insert(now).second);
            last = now;
            // Numbers that end in 0 stay untouched, 1 are overwritten, 2 are removed, the current one is removed or overwritten.
            for (int i = 0; i < 3; ++i) {
                const int number = static_cast<int>(random() % 300) * 10;
                db.insert(key(number + 1), "new").value();
                if (db.remove(key(number + 2)).value()) ++removed_behind;
                db.insert(key(number) + "-more", "new").value();
            }
            if (now.size() == 9 && now.back() == '3') db.remove(now).value();
            if (now.size() == 9 && now.back() == '4') db.insert(now, "again").value();
        }
        CHECK(records.status().has_value());
        CHECK(removed_behind > 200);
        for (int i = 0; i < 3000; ++i) {
            if (i % 10 != 2) CHECK(seen.count(key(i)) == 1);
        }
    });
}

TEST_CASE("removing every record while iterating") {
    Emdb db = ordered_in_memory();
    for (int i = 0; i < 5000; ++i) db.insert(std::to_string(10000 + i), "v").value();
    auto records = db.range_iter(Range::all()).value();
    std::size_t seen = 0;
    for (const auto& [key, value] : records) {
        ++seen;
        CHECK(db.remove(key).value() == "v");
    }
    CHECK(seen == 5000);
    CHECK(keys_in(db, Range::all()).empty());
}

// --- against a model

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

TEST_CASE("damage to a record is corrupted, for range and iterator, and overwriting heals it") {
    TempFolder folder;
    const std::string file = folder.file("a.emdb");
    Emdb db = open_ordered(file);
    for (int i = 0; i < 300; ++i) db.insert("key" + std::to_string(1000 + i), "value " + std::to_string(1000 + i)).value();
    db.flush().value();
    std::ifstream in(file, std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    const std::size_t place = content.find("value 1150");
    REQUIRE(place != std::string::npos);
    {
        std::fstream out(file, std::ios::binary | std::ios::in | std::ios::out);
        out.seekp(static_cast<std::streamoff>(place));
        out.put('X');
    }
    CHECK(db.range(Range::all()).error() == ErrorCode::corrupted);
    CHECK(db.range(Range::all()).error().offset() != 0);
    auto records = db.range_iter(Range::all()).value();
    std::size_t seen = 0;
    for ([[maybe_unused]] const auto& record : records) ++seen;
    CHECK(seen == 150);
    CHECK(records.status().error() == ErrorCode::corrupted);
    CHECK(db.range_iter(Range::all()).value().collect().error() == ErrorCode::corrupted);
    CHECK(db.range(Range::until("key1150")).value().size() == 150);
    CHECK(db.range(Range::after("key1150")).value().size() == 149);
    db.insert("key1150", "whole again").value();
    CHECK(db.range(Range::all()).value().size() == 300);
}

#if EMDB_TTL
TEST_CASE("expired records are in no range, and a sweep takes them out of the order") {
    TempFolder folder;
    const auto now = std::make_shared<std::atomic<std::uint64_t>>(1000);
    const auto open = [&] {
        return Emdb::builder().path(folder.file("a.emdb")).enable_range_scans(true).clock([now] { return now->load(); }).build().value();
    };
    for (int session = 0; session < 2; ++session) {
        Emdb db = open();
        auto space = db.open_namespace("space").value();
        for (Keyspace* keyspace : std::initializer_list<Keyspace*>{&db, &space}) {
            if (session == 0) {
                for (int i = 0; i < 900; ++i) {
                    const emdb::Ttl ttl = i % 3 == 0 ? emdb::Ttl::never() : emdb::Ttl::at(i % 3 == 1 ? 2000 : 3000);
                    keyspace->insert_with_ttl("key" + std::to_string(1000 + i), "v", ttl).value();
                }
                *now = 1999;
                CHECK(keys_in(*keyspace, Range::all()).size() == 900);
                *now = 2000;
            }
            CHECK(keys_in(*keyspace, Range::all()).size() == 600);
            CHECK(keys_in(*keyspace, Range::closed("key1001", "key1002")) == Keys{"key1002"});
            CHECK(keyspace->range_prefix("key1001").value().empty());
            if (session == 0) continue;
            CHECK(keyspace->sweep_expired().value() == 300);
            CHECK(keys_in(*keyspace, Range::all()).size() == 600);
            keyspace->insert("key1001", "back").value();
            CHECK(keys_in(*keyspace, Range::closed("key1001", "key1002")) == Keys{"key1001", "key1002"});
            CHECK(keyspace->remove("key1001").value() == "back");
            *now = 3000;
            CHECK(keys_in(*keyspace, Range::all()).size() == 300);
            CHECK(keyspace->sweep_expired().value() == 300);
            CHECK(keys_in(*keyspace, Range::all()).size() == 300);
            *now = 2000;
        }
    }
}
#endif

// --- threads

class Complaints {
public:
    void unless(bool right, const char* what) {
        if (right) return;
        const std::lock_guard lock(mutex_);
        texts_.insert(what);
    }
    std::string text() {
        const std::lock_guard lock(mutex_);
        std::string all;
        for (const auto& text : texts_) all += text + "\n";
        return all;
    }

private:
    std::mutex mutex_;
    std::set<std::string> texts_;
};

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

}  // namespace
}  // namespace emdb_test
