// Iterating over all records, alone and while others write.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <ranges>
#include <set>
#include <string>
#include <string_view>

#include "emdb.hpp"
#include "support/stores.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using namespace stores;
using emdb::Emdb;

}  // namespace

TEST_CASE("iter and keys yield every live record exactly once") {
    on_every_store([](Store& store) {
        std::map<std::string, std::string> expected;
        CHECK(contents(store.db()).empty());
        for (std::size_t i = 0; i < 3000; ++i) {
            store.db().insert(numbered("k", i), "old").value();
            store.db().insert(numbered("k", i), numbered("v", i)).value();
            expected[numbered("k", i)] = numbered("v", i);
        }
        for (std::size_t i = 0; i < 3000; i += 3) {
            store.db().remove(numbered("k", i)).value();
            expected.erase(numbered("k", i));
        }
        for (const int reopened : {0, 1}) {
            CAPTURE(reopened);
            CHECK((contents(store.db()) == expected));
            std::set<std::string> seen;
            auto keys = store.db().keys().value();
            for (const std::string_view key : keys) {
                const bool first_time = seen.emplace(key).second;
                CHECK(first_time);
            }
            CHECK(keys.status());
            CHECK(seen.size() == expected.size());
            for (const auto& record : expected) CHECK(seen.count(record.first) == 1);
            store.reopen();
        }
    });
}

TEST_CASE("an iterator says afterwards that it ended well") {
    auto db = Emdb::open_in_memory();
    db.insert("a", "1").value();
    auto records = db.iter().value();
    std::size_t count = 0;
    for (const auto& [key, value] : records) count += key.size() + value.size();
    CHECK(count == 2);
    CHECK(records.status());
}

TEST_CASE("collect gives the records not seen yet, owned") {
    on_every_store([](Store& store) {
        for (std::size_t i = 0; i < 100; ++i) store.db().insert(numbered("k", i), numbered("v", i)).value();
        const auto records = store.db().iter().value().collect().value();
        CHECK(records.size() == 100);
        store.db().clear().value();
        std::set<std::string> collected;
        for (const auto& [key, value] : records) {
            CHECK(collected.insert(key).second);
            CHECK(value == "v" + key.substr(1));
        }

        for (std::size_t i = 0; i < 10; ++i) store.db().insert(numbered("k", i), "v").value();
        auto keys = store.db().keys().value().collect().value();
        std::sort(keys.begin(), keys.end());
        CHECK(keys.size() == 10);
        CHECK(keys.front() == "k0");
        CHECK(keys.back() == "k9");

        auto half = store.db().iter().value();
        std::set<std::string> seen;
        for (const auto& record : half) {
            seen.emplace(record.key);
            if (seen.size() == 4) break;
        }
        for (const auto& record : half.collect().value()) CHECK(seen.insert(record.key).second);
        CHECK(seen.size() == 10);
    });
}

TEST_CASE("an iterator is an input range") {
    static_assert(std::ranges::input_range<emdb::EmdbIter>);
    static_assert(std::ranges::input_range<emdb::EmdbKeyIter>);
    static_assert(std::is_nothrow_move_constructible_v<emdb::EmdbIter>);
    auto db = Emdb::open_in_memory();
    db.insert("a", "1").value();
    db.insert("b", "").value();
    auto records = db.iter().value();
    std::size_t empty_values = 0;
    std::ranges::for_each(records,
                          [&](const emdb::RecordView& record) { empty_values += record.value.empty() ? 1u : 0u; });
    CHECK(empty_values == 1);
}

TEST_CASE("writing while iterating: each key at most once, and exactly once if it was there throughout") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        constexpr std::size_t initial = 4000;
        for (std::size_t i = 0; i < initial; ++i) db.insert(numbered("stays", i), "0").value();
        for (std::size_t i = 0; i < initial; ++i) db.insert(numbered("goes", i), "0").value();

        std::map<std::string, int> seen;
        std::size_t step = 0;
        auto records = db.iter().value();
        for (const auto& [key, value] : records) {
            ++seen[std::string(key)];
            // The views stay as they are until the next step, whatever is written meanwhile.
            const std::string key_before(key);
            const std::string value_before(value);
            // Tenfold growth while the loop is in its first half, with removals and overwritings all the time.
            if (step < initial) {
                for (std::size_t i = 0; i < 10; ++i) db.insert(numbered("comes", step * 10 + i), "1").value();
                db.remove(numbered("goes", (step * 7919) % initial)).value();
                db.insert(numbered("stays", (step * 104'729) % initial), numbered("overwritten ", step)).value();
            }
            ++step;
            CHECK(key == key_before);
            CHECK(value == value_before);
        }
        CHECK(records.status());
        std::size_t stayed = 0;
        for (const auto& [key, times] : seen) {
            CHECK(times == 1);
            stayed += key.starts_with("stays") ? 1u : 0u;
        }
        CHECK(stayed == initial);
    });
}

TEST_CASE("clearing while iterating ends the iteration without harm") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        for (std::size_t i = 0; i < 2000; ++i) db.insert(numbered("k", i), numbered("v", i)).value();
        std::set<std::string> seen;
        auto records = db.iter().value();
        for (const auto& [key, value] : records) {
            CHECK(seen.emplace(key).second);
            CHECK(value == "v" + std::string(key.substr(1)));
            if (seen.size() == 100) db.clear().value();
        }
        CHECK(records.status());
        CHECK(seen.size() >= 100);
        CHECK(seen.size() <= 2000);
    });
}

TEST_CASE("an iterator may outlive its database") {
    on_every_store([](Store& store) {
        for (std::size_t i = 0; i < 2000; ++i) store.db().insert(numbered("k", i), numbered("v", i)).value();
        for (const bool closed : {false, true}) {
            CAPTURE(closed);
            TempFolder folder;
            std::optional<Emdb> db =
                store.reopens() ? Emdb::open(folder.file("a.emdb")).value() : Emdb::open_in_memory();
            db->insert_many(store.db().iter().value()).value();
            auto records = db->iter().value();
            auto untouched = db->keys().value();
            std::set<std::string> seen;
            for (const auto& [key, value] : records) {
                CHECK(seen.emplace(key).second);
                CHECK(value == "v" + std::string(key.substr(1)));
                if (seen.size() == 10) {
                    if (closed) db->close().value();
                    db.reset();
                }
            }
            // All of them, or a status that says why not.
            if (records.status()) {
                CHECK(seen.size() == 2000);
            } else {
                CHECK(outcome(records.status()) == "stopped");
            }
            const auto keys = untouched.collect();
            if (keys) {
                CHECK(keys->size() == 2000);
            } else {
                CHECK(outcome(keys) == "stopped");
            }
            // It does not keep the file locked, either.
            if (store.reopens()) CHECK(Emdb::open(folder.file("a.emdb")).value().len().value() == 2000);
        }
    });
}

}  // namespace emdb_test
