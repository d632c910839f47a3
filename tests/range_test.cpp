// Ordered range scans through the public interface: bounds, order, damage, expiry, changes under a running iterator.
// Random histories and threads are in range_history_test.cpp.

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "emdb.hpp"
#include "support/ordered_stores.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using namespace ordered_stores;
using emdb::Emdb;
using emdb::ErrorCode;
using emdb::Keyspace;
using emdb::Range;

}  // namespace

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

}  // namespace emdb_test
