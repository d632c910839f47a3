// Expiry: what has expired is absent everywhere, at once and after reopening, and a sweep removes just that. The clock is the
// tests' own: nothing sleeps.

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/expiring_stores.hpp"

namespace emdb_test {
namespace {

using namespace expiring_stores;
using emdb::Bytes;
using emdb::Emdb;
using emdb::ErrorCode;
using emdb::Result;
using emdb::Transaction;
using emdb::Ttl;
using std::chrono::milliseconds;

// That no read of any kind finds the key.
void check_absent(Emdb& db, const std::string& key) {
    CAPTURE(key);
    std::string buffer = "untouched";
    CHECK(db.get(key).value() == std::nullopt);
    CHECK(db.get_or(key, "fallback").value() == "fallback");
    CHECK(db.get_into(key, buffer).value() == false);
    CHECK(buffer == "untouched");
    CHECK(!db.get_zerocopy(key).value().has_value());
    CHECK(db.contains_key(key).value() == false);
    CHECK(db.get_many({Bytes(key)}).value()[0] == std::nullopt);
    CHECK(db.visit_many({Bytes(key)}, [](std::size_t, std::optional<std::string_view> value) { CHECK(!value); }).value() == 0);
    CHECK(contents(db).count(key) == 0);
    db.transaction([&](Transaction& tx) -> Result<void> {
          CHECK(tx.get(key).value() == std::nullopt);
          CHECK(tx.contains_key(key).value() == false);
          return {};
      }).value();
}

}  // namespace

TEST_CASE("a record is there until its last millisecond and absent to every read from its expiry on") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        db.insert_with_ttl("k", "v", Ttl::after(milliseconds(100))).value();
        db.insert("other", "stays").value();
        store.advance(99);
        CHECK(db.get("k").value() == "v");
        CHECK(db.ttl("k").value() == milliseconds(1));
        CHECK(contents(db) == Contents{{"k", "v"}, {"other", "stays"}});
        store.advance(1);
        check_absent(db, "k");
        CHECK(contents(db) == Contents{{"other", "stays"}});
        store.reopen();
        check_absent(store.db(), "k");
        CHECK(store.db().get("other").value() == "stays");
        CHECK(store.db().len().value() == 2);  // counted until it is swept
    });
}

TEST_CASE("expires_at and ttl tell expiring records, others and absent keys apart, also after reopening") {
    on_every_store([](Store& store) {
        store.db().insert("plain", "v").value();
        store.db().insert_with_ttl("never", "v", Ttl::never()).value();
        store.db().insert_with_ttl("default", "v", Ttl::use_default()).value();
        store.db().insert_with_ttl("soon", "v", Ttl::after(std::chrono::seconds(2))).value();
        store.db().insert_with_ttl("then", "v", Ttl::at(start_of_time + 5000)).value();
        for (int opened = 0; opened < 2; ++opened) {
            auto& db = store.db();
            for (const char* key : {"plain", "never", "default", "absent"}) {
                CHECK(db.expires_at(key).value() == std::nullopt);
                CHECK(db.ttl(key).value() == std::nullopt);
            }
            CHECK(db.expires_at("soon").value() == start_of_time + 2000);
            CHECK(db.ttl("soon").value() == milliseconds(2000));
            CHECK(db.expires_at("then").value() == start_of_time + 5000);
            CHECK(db.ttl("then").value() == milliseconds(5000));
            store.reopen();
        }
        store.advance(3000);
        CHECK(store.db().ttl("soon").value() == milliseconds(0));
        CHECK(store.db().expires_at("soon").value() == start_of_time + 2000);
        CHECK(store.db().sweep_expired().value() == 1);
        CHECK(store.db().ttl("soon").value() == std::nullopt);
        CHECK(store.db().expires_at("soon").value() == std::nullopt);
    });
}

TEST_CASE("a zero duration and a moment in the past expire at once") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        db.insert("a", "old").value();
        db.insert_with_ttl("a", "new", Ttl::after(milliseconds(0))).value();
        db.insert_with_ttl("b", "v", Ttl::at(1)).value();
        db.insert_with_ttl("c", "v", Ttl::at(0)).value();
        for (const char* key : {"a", "b", "c"}) {
            check_absent(db, key);
            CHECK(db.ttl(key).value() == milliseconds(0));
        }
        CHECK(db.sweep_expired().value() == 3);
        CHECK(db.len().value() == 0);
    });
}

TEST_CASE("overflowing durations saturate, negative ones are refused") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        db.insert_with_ttl("hours", "v", Ttl::after((std::chrono::hours::max)())).value();
        db.insert_with_ttl("ms", "v", Ttl::after((milliseconds::max)())).value();
        CHECK(Ttl::after((std::chrono::hours::max)()) == Ttl::after((milliseconds::max)()));
        CHECK(Ttl::after(std::chrono::duration<unsigned long long>(~0ULL)) == Ttl::after((milliseconds::max)()));
        CHECK(Ttl::after((std::chrono::hours::min)()) == Ttl::after((milliseconds::min)()));
        db.insert_with_ttl("at", "v", Ttl::at(UINT64_MAX)).value();
        CHECK(db.ttl("at").value() == (milliseconds::max)());
        store.clock().now = UINT64_MAX - 10;
        db.insert_with_ttl("late", "v", Ttl::after(std::chrono::seconds(1))).value();
        CHECK(db.expires_at("late").value() == UINT64_MAX);
        store.clock().now = start_of_time;
        CHECK(db.get("hours").value() == "v");
        for (const auto negative : {milliseconds(-1), (milliseconds::min)()}) {
            const auto refused = db.insert_with_ttl("hours", "w", Ttl::after(negative));
            CHECK(refused == ErrorCode::invalid_argument);
            CHECK(db.transaction([&](Transaction& tx) { return tx.insert_with_ttl("hours", "w", Ttl::after(negative)); }) ==
                  ErrorCode::invalid_argument);
        }
        CHECK(db.get("hours").value() == "v");
    });
    CHECK(Emdb::builder().default_ttl(milliseconds(-1)).build() == ErrorCode::invalid_config);
    CHECK(Emdb::builder().default_ttl((std::chrono::hours::max)()).build().has_value());
}

TEST_CASE("default_ttl is for every write without a Ttl of its own, in namespaces and transactions too") {
    on_every_store(
        [](Store& store) {
            auto& db = store.db();
            auto names = db.open_namespace("names").value();
            db.insert("insert", "v").value();
            names.insert("insert", "v").value();
            db.insert_with_ttl("default", "v", Ttl::use_default()).value();
            db.insert_many(std::vector<std::pair<std::string, std::string>>{{"many 1", "v"}, {"many 2", "v"}}).value();
            db.update("update", [](std::optional<std::string_view>) { return std::optional<std::string>("v"); }).value();
            CHECK(db.compare_exchange("exchange", std::nullopt, "v").value());
            db.transaction([&](Transaction& tx) -> Result<void> {
                  tx.insert("transaction", "v").value();
                  tx.in(names).insert("transaction", "v").value();
                  tx.insert_with_ttl("never in transaction", "v", Ttl::never()).value();
                  return tx.insert_with_ttl("longer in transaction", "v", Ttl::after(milliseconds(2000)));
              }).value();
            db.insert_with_ttl("never", "v", Ttl::never()).value();
            db.insert_with_ttl("longer", "v", Ttl::after(milliseconds(2000))).value();
            for (const char* key : {"insert", "default", "many 1", "many 2", "update", "exchange", "transaction"}) {
                CAPTURE(key);
                CHECK(db.ttl(key).value() == milliseconds(1000));
            }
            CHECK(names.ttl("insert").value() == milliseconds(1000));
            CHECK(names.ttl("transaction").value() == milliseconds(1000));
            store.advance(1000);
            CHECK(contents(db) ==
                  Contents{{"never", "v"}, {"longer", "v"}, {"never in transaction", "v"}, {"longer in transaction", "v"}});
            CHECK(contents(names).empty());
            CHECK(names.sweep_expired().value() == 2);  // of its own keyspace only
            CHECK(db.sweep_expired().value() == 7);
        },
        milliseconds(1000));
}

TEST_CASE("each write sets the expiry anew") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        db.insert_with_ttl("k", "1", Ttl::after(milliseconds(10))).value();
        db.insert_with_ttl("k", "2", Ttl::after(milliseconds(100))).value();
        store.advance(50);
        CHECK(db.get("k").value() == "2");
        CHECK(db.sweep_expired().value() == 0);  // the first one's moment has come, but it is not the key's any more
        db.insert("k", "3").value();
        store.advance(1000);
        CHECK(db.get("k").value() == "3");
        CHECK(db.expires_at("k").value() == std::nullopt);
        db.insert_with_ttl("k", "4", Ttl::after(milliseconds(10))).value();
        store.advance(10);
        db.insert("k", "5").value();
        CHECK(db.get("k").value() == "5");
        CHECK(db.sweep_expired().value() == 0);
        store.reopen();
        CHECK(store.db().sweep_expired().value() == 0);
        CHECK(store.db().get("k").value() == "5");
        CHECK(store.db().len().value() == 1);
    });
}

TEST_CASE("an expired record is absent to remove, compare_exchange and update, and no clock brings it back after them") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        for (const char* key : {"removed", "exchanged", "exchanged for nothing", "updated", "updated to nothing", "staged", "left"}) {
            db.insert_with_ttl(key, "old", Ttl::after(milliseconds(10))).value();
        }
        store.advance(10);
        CHECK(db.remove("removed").value() == std::nullopt);
        CHECK(db.compare_exchange("exchanged", "old", "new").value() == false);
        CHECK(db.compare_exchange("exchanged", std::nullopt, "new").value());
        CHECK(db.compare_exchange("exchanged for nothing", std::nullopt, std::nullopt).value());
        int calls = 0;
        const auto change_to = [&calls](std::optional<std::string> next) {
            return [&calls, next](std::optional<std::string_view> current) {
                ++calls;
                CHECK(!current);
                return next;
            };
        };
        db.update("updated", change_to("new")).value();
        db.update("updated to nothing", change_to(std::nullopt)).value();
        CHECK(calls == 2);
        db.transaction([](Transaction& tx) -> Result<void> {
              CHECK(tx.remove("staged").value() == std::nullopt);
              CHECK(tx.remove("never there").value() == std::nullopt);
              return {};
          }).value();
        for (int opened = 0; opened < 2; ++opened) {
            store.clock().now = start_of_time;  // set back
            CHECK(contents(store.db()) == Contents{{"exchanged", "new"}, {"updated", "new"}, {"left", "old"}});
            CHECK(store.db().len().value() == 3);
            store.reopen();
        }
    });
}

TEST_CASE("a transaction sees its own writes expire") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        db.transaction([&](Transaction& tx) -> Result<void> {
              tx.insert_with_ttl("a", "v", Ttl::after(milliseconds(10))).value();
              tx.insert_with_ttl("b", "v", Ttl::after(milliseconds(10))).value();
              tx.insert_with_ttl("c", "v", Ttl::after(milliseconds(30))).value();
              CHECK(tx.get("a").value() == "v");
              store.advance(10);
              CHECK(tx.get("a").value() == std::nullopt);
              CHECK(tx.contains_key("a").value() == false);
              CHECK(tx.remove("b").value() == std::nullopt);
              return {};
          }).value();
        CHECK(db.len().value() == 2);
        CHECK(db.get("c").value() == "v");
        CHECK(db.expires_at("c").value() == start_of_time + 30);
        store.advance(20);
        CHECK(db.sweep_expired().value() == 2);
    });
}

TEST_CASE("persist takes the expiry away") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        const std::string large(300'000, 'x');
        db.insert_with_ttl("k", "v", Ttl::after(milliseconds(10))).value();
        db.insert_with_ttl("large", large, Ttl::after(milliseconds(10))).value();
        db.insert_with_ttl("late", "v", Ttl::after(milliseconds(5))).value();
        db.insert("plain", "v").value();
        store.advance(5);
        CHECK(db.persist("k").value());
        CHECK(db.persist("large").value());
        CHECK(db.persist("k").value() == false);
        CHECK(db.persist("plain").value() == false);
        CHECK(db.persist("absent").value() == false);
        CHECK(db.persist("late").value() == false);
        store.advance(1000);
        CHECK(db.sweep_expired().value() == 1);
        store.reopen();
        CHECK(store.db().get("k").value() == "v");
        CHECK(store.db().get("large").value() == large);
        CHECK(store.db().expires_at("k").value() == std::nullopt);
        CHECK(store.db().len().value() == 3);
    });
}

TEST_CASE("a sweep removes what has expired for good, and nothing else") {
    on_every_store([](Store& store) {
        constexpr std::size_t count = 30'000;  // several batches in each shard
        auto& db = store.db();
        Contents left;
        for (std::size_t i = 0; i < count; ++i) {
            const std::string key = "key " + std::to_string(i);
            const std::uint64_t lifetime = i % 3 == 0 ? 10 : 20;
            if (i % 5 == 0) {
                db.insert(key, "v").value();
                left.emplace(key, "v");
            } else {
                db.insert_with_ttl(key, "v", Ttl::at(start_of_time + lifetime)).value();
            }
        }
        CHECK(db.sweep_expired().value() == 0);
        store.advance(10);
        CHECK(db.sweep_expired().value() == 8'000);
        CHECK(db.len().value() == count - 8'000);
        const auto before = db.stats().value();
        CHECK(db.sweep_expired().value() == 0);
        CHECK(db.stats().value().file_size_bytes == before.file_size_bytes);
        store.reopen();
        store.advance(10);
        CHECK(store.db().sweep_expired().value() == 16'000);
        store.clock().now = start_of_time;
        CHECK(contents(store.db()) == left);
        store.reopen();
        CHECK(contents(store.db()) == left);
        CHECK(store.db().len().value() == left.size());
        CHECK(store.db().stats().value().live_records == left.size());
    });
}

TEST_CASE("a sweep copes with long keys and hands over what a batch can't hold") {
    on_every_store([](Store& store) {
        for (char c = 'a'; c < 'k'; ++c) {
            store.db().insert_with_ttl(std::string(200'000, c), std::string(1, c), Ttl::after(milliseconds(1))).value();
        }
        store.db().insert_with_ttl("", "", Ttl::after(milliseconds(1))).value();
        store.advance(1);
        CHECK(store.db().sweep_expired().value() == 11);
        store.reopen();
        CHECK(store.db().len().value() == 0);
    });
}

TEST_CASE("clear and drop_namespace forget expiring records") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        auto names = db.open_namespace("names").value();
        for (int i = 0; i < 1000; ++i) {
            db.insert_with_ttl(std::to_string(i), "v", Ttl::after(milliseconds(1))).value();
            names.insert_with_ttl(std::to_string(i), "v", Ttl::after(milliseconds(1))).value();
        }
        db.clear().value();
        CHECK(db.drop_namespace("names").value());
        db.insert("1", "new").value();
        store.advance(1);
        CHECK(db.sweep_expired().value() == 0);
        CHECK(names.sweep_expired() == ErrorCode::invalid_argument);
        CHECK(names.ttl("1") == ErrorCode::invalid_argument);
        CHECK(names.persist("1") == ErrorCode::invalid_argument);
        store.reopen();
        CHECK(store.db().sweep_expired().value() == 0);
        CHECK(contents(store.db()) == Contents{{"1", "new"}});
    });
}

TEST_CASE("expiry calls are refused inside a transaction's closure and after close") {
    Store store(Store::Kind::automatic);
    auto db = store.db();
    db.insert_with_ttl("k", "v", Ttl::after(milliseconds(1))).value();
    const auto done = db.transaction([&](Transaction&) -> Result<void> {
        CHECK(db.insert_with_ttl("k", "w", Ttl::never()) == ErrorCode::invalid_argument);
        CHECK(db.persist("k") == ErrorCode::invalid_argument);
        CHECK(db.sweep_expired() == ErrorCode::invalid_argument);
        CHECK(db.ttl("k").value() == milliseconds(1));
        return {};
    });
    CHECK(done.has_value());
    db.close().value();
    CHECK(db.insert_with_ttl("k", "v", Ttl::never()) == ErrorCode::stopped);
    CHECK(db.expires_at("k") == ErrorCode::stopped);
    CHECK(db.ttl("k") == ErrorCode::stopped);
    CHECK(db.persist("k") == ErrorCode::stopped);
    CHECK(db.sweep_expired() == ErrorCode::stopped);
}

TEST_CASE("the clock is asked only where a record expires") {
    Store store(Store::Kind::automatic);
    auto& db = store.db();
    const std::uint64_t asked = store.clock().asked;
    std::string buffer;
    for (int i = 0; i < 100; ++i) db.insert(std::to_string(i), "v").value();
    for (int i = 0; i < 100; ++i) CHECK(db.get_into(std::to_string(i), buffer).value());
    CHECK(contents(db).size() == 100);
    db.update("1", [](std::optional<std::string_view>) { return std::optional<std::string>("w"); }).value();
    CHECK(db.get_many({"1", "2", "3"}).value().size() == 3);
    CHECK(db.remove("1").value() == "w");
    CHECK(db.ttl("2").value() == std::nullopt);
    CHECK(db.persist("2").value() == false);
    CHECK(db.sweep_expired().value() == 0);
    CHECK(store.clock().asked == asked);
    // Several records in one call are judged by one moment.
    db.insert_with_ttl("a", "v", Ttl::at(start_of_time + 100)).value();
    db.insert_with_ttl("b", "v", Ttl::at(start_of_time + 100)).value();
    const std::uint64_t before = store.clock().asked;
    CHECK(db.get_many({"a", "1", "b"}).value()[2] == "v");
    CHECK(store.clock().asked == before + 1);
}

TEST_CASE("memory for expiring records follows their number, not that of their rewritings") {
    Store store(Store::Kind::in_memory);
    auto& db = store.db();
    const auto write_all = [&](std::uint64_t round) {
        for (int i = 0; i < 1000; ++i) {
            db.insert_with_ttl(std::to_string(i), "v", Ttl::at(start_of_time + 1000 + round)).value();
        }
    };
    for (int i = 0; i < 1000; ++i) db.insert(std::to_string(i), "v").value();
    const std::uint64_t without = db.stats().value().index_bytes;
    write_all(0);
    const std::uint64_t first = db.stats().value().index_bytes;
    CHECK(first >= without + 1000 * 24);
    CHECK(first <= without + 1000 * 72 + 64 * 1024);
    for (std::uint64_t round = 1; round < 200; ++round) write_all(round);
    CHECK(db.stats().value().index_bytes <= without + 4 * 1000 * 24 + 192 * 1024);
    store.advance(2000);
    CHECK(db.sweep_expired().value() == 1000);
    CHECK(db.stats().value().index_bytes <= without + 64 * 1024);
}

}  // namespace emdb_test
