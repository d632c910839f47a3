// Expiry: what has expired is absent everywhere, at once and after reopening, and a sweep removes just that. The clock is the
// tests' own: nothing sleeps.
//
// EMDB_SEED=n   the seed of the random specification

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::AppendMode;
using emdb::Bytes;
using emdb::Emdb;
using emdb::EmdbBuilder;
using emdb::ErrorCode;
using emdb::Result;
using emdb::Transaction;
using emdb::Ttl;
using std::chrono::milliseconds;

constexpr std::uint64_t start_of_time = 1'700'000'000'000;

// Milliseconds since 1970, moved by hand; counts how often it is asked.
struct FakeClock {
    std::atomic<std::uint64_t> now{start_of_time};
    std::atomic<std::uint64_t> asked{0};
};

// A database with a clock of its own, in memory or on a file that can be opened again.
class Store {
  public:
    enum class Kind { in_memory, automatic, pwrite };

    explicit Store(Kind kind, std::optional<milliseconds> default_ttl = std::nullopt) : kind_(kind), default_ttl_(default_ttl) {
        db_ = open();
    }

    Emdb& db() { return *db_; }
    FakeClock& clock() { return *clock_; }
    void advance(std::uint64_t by) { clock_->now += by; }
    void reopen() {
        if (kind_ == Kind::in_memory) return;
        db_->close().value();
        db_.reset();
        db_ = open();
    }

  private:
    Emdb open() {
        EmdbBuilder builder;
        builder.clock([clock = clock_] {
            ++clock->asked;
            return clock->now.load();
        });
        if (default_ttl_) builder.default_ttl(*default_ttl_);
        if (kind_ == Kind::in_memory) return builder.build().value();
        builder.path(folder_.file("store.emdb")).append_mode(kind_ == Kind::pwrite ? AppendMode::pwrite : AppendMode::automatic);
        return builder.build().value();
    }

    Kind kind_;
    std::optional<milliseconds> default_ttl_;
    std::shared_ptr<FakeClock> clock_ = std::make_shared<FakeClock>();
    TempFolder folder_;
    std::optional<Emdb> db_;
};

constexpr Store::Kind every_kind[] = {Store::Kind::in_memory, Store::Kind::automatic, Store::Kind::pwrite};

template <class F> void on_every_store(F&& specification, std::optional<milliseconds> default_ttl = std::nullopt) {
    for (const Store::Kind kind : every_kind) {
        CAPTURE(static_cast<int>(kind));
        Store store(kind, default_ttl);
        specification(store);
    }
}

using Contents = std::map<std::string, std::string>;

Contents contents(const emdb::Keyspace& keyspace) {
    Contents found;
    auto records = keyspace.iter().value();
    for (const auto& [key, value] : records) CHECK(found.emplace(key, value).second);
    records.status().value();
    std::size_t keys = 0;
    for (const std::string& key : keyspace.keys().value().collect().value()) keys += found.count(key);
    CHECK(keys == found.size());
    return found;
}

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

// --- against a model ----------------------------------------------------------------------------------------------------------

namespace {

struct ModelRecord {
    std::string value;
    std::uint64_t expiry = 0;  ///< 0: never
};

// Does to a keyspace and to a map what a seed says, and compares everything that can be read.
class ModelRun {
  public:
    ModelRun(std::uint64_t seed, Store::Kind kind, bool with_default, bool in_namespace)
        : random_(seed), default_(with_default ? std::optional(milliseconds(40)) : std::nullopt), in_namespace_(in_namespace),
          store_(kind, default_) {}

    void run(int steps) {
        connect();
        for (int i = 0; i < steps; ++i) step();
        compare_all();
        store_.reopen();
        connect();
        compare_all();
    }

  private:
    void connect() {
        keyspace_.reset();
        if (in_namespace_) {
            keyspace_.emplace(store_.db().open_namespace("names").value());
        } else {
            keyspace_.emplace(store_.db());
        }
    }
    emdb::Keyspace& keyspace() { return *keyspace_; }
    std::uint64_t now() { return store_.clock().now; }
    std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
    std::string random_key() { return "k" + std::to_string(below(60)); }
    std::string random_value() { return std::string(below(30), 'x') + std::to_string(++written_); }
    std::uint64_t default_expiry() { return default_ ? now() + 40 : 0; }
    std::pair<Ttl, std::uint64_t> random_ttl() {
        const std::uint64_t amount = below(100);
        switch (below(5)) {
            case 0: return {Ttl::never(), 0};
            case 1: return {Ttl::use_default(), default_expiry()};
            case 2: return {Ttl::at(now() - 20 + amount), now() - 20 + amount};
            default: return {Ttl::after(milliseconds(amount)), now() + amount};
        }
    }
    std::optional<std::string> live(const std::string& key) {
        const auto found = model_.find(key);
        if (found == model_.end() || (found->second.expiry != 0 && found->second.expiry <= now())) return std::nullopt;
        return found->second.value;
    }

    void step() {
        const std::string key = random_key();
        const std::string value = random_value();
        const auto [ttl, expiry] = random_ttl();
        switch (below(16)) {
            case 0:
                keyspace().insert(key, value).value();
                model_[key] = {value, default_expiry()};
                break;
            case 1:
            case 2:
            case 3:
                keyspace().insert_with_ttl(key, value, ttl).value();
                model_[key] = {value, expiry};
                break;
            case 4: {
                const auto before = live(key);
                CHECK(keyspace().remove(key).value() == before);
                model_.erase(key);
                break;
            }
            case 5: exchange(key, value); break;
            case 6: update(key, value); break;
            case 7: transact(); break;
            case 8: {
                std::vector<std::pair<std::string, std::string>> pairs(below(8));
                for (auto& [k, v] : pairs) {
                    k = random_key();
                    v = random_value();
                    model_[k] = {v, default_expiry()};
                }
                keyspace().insert_many(pairs).value();
                break;
            }
            case 9: {
                const auto found = model_.find(key);
                const bool persists = live(key).has_value() && found->second.expiry != 0;
                CHECK(keyspace().persist(key).value() == persists);
                if (persists) found->second.expiry = 0;
                break;
            }
            case 10: sweep(); break;
            case 11: store_.clock().now += below(30); break;
            case 12: store_.clock().now += below(20) - (below(4) == 0 ? 15 : 0); break;
            case 13:
                if (below(10) == 0) {
                    keyspace().clear().value();
                    model_.clear();
                }
                break;
            case 14:
                if (below(8) == 0) {
                    store_.reopen();
                    connect();
                }
                break;
            default: compare_all(); break;
        }
        compare(key);
    }

    void exchange(const std::string& key, const std::string& value) {
        const auto before = live(key);
        const bool matches = below(3) != 0;
        const std::optional<std::string> expected = matches ? before : std::optional<std::string>("something else");
        const bool removes = below(3) == 0;
        CHECK(keyspace()
                  .compare_exchange(key, expected ? std::optional<Bytes>(*expected) : std::nullopt,
                                    removes ? std::nullopt : std::optional<Bytes>(value))
                  .value() == matches);
        if (!matches) return;
        if (removes) {
            model_.erase(key);
        } else {
            model_[key] = {value, default_expiry()};
        }
    }

    void update(const std::string& key, const std::string& value) {
        const auto before = live(key);
        const bool removes = below(4) == 0;
        keyspace().update(key, [&](std::optional<std::string_view> current) -> std::optional<std::string> {
                      CHECK(current.has_value() == before.has_value());
                      if (current) CHECK(*current == *before);
                      return removes ? std::nullopt : std::optional(value);
                  }).value();
        if (removes) {
            model_.erase(key);
        } else {
            model_[key] = {value, default_expiry()};
        }
    }

    void transact() {
        auto staged = model_;
        const bool aborts = below(3) == 0;
        const auto done = store_.db().transaction([&](Transaction& whole) -> Result<void> {
            emdb::TransactionView tx = whole;
            if (in_namespace_) tx = whole.in(store_.db().open_namespace("names").value());
            for (std::uint64_t i = 1 + below(6); i > 0; --i) {
                const std::string key = random_key();
                const auto found = staged.find(key);
                const bool alive = found != staged.end() && (found->second.expiry == 0 || found->second.expiry > now());
                CHECK(tx.contains_key(key).value() == alive);
                CHECK(tx.get(key).value() == (alive ? std::optional(found->second.value) : std::nullopt));
                if (below(3) == 0) {
                    CHECK(tx.remove(key).value() == (alive ? std::optional(found->second.value) : std::nullopt));
                    staged.erase(key);
                } else {
                    const std::string value = random_value();
                    const auto [ttl, expiry] = random_ttl();
                    tx.insert_with_ttl(key, value, ttl).value();
                    staged[key] = {value, expiry};
                }
                store_.clock().now += below(5);
            }
            if (aborts) return emdb::Error::aborted("on purpose");
            return {};
        });
        CHECK(done.has_value() == !aborts);
        if (!aborts) model_ = std::move(staged);
    }

    void sweep() {
        const std::size_t swept = std::erase_if(model_, [&](const auto& entry) {
            return entry.second.expiry != 0 && entry.second.expiry <= now();
        });
        CHECK(keyspace().sweep_expired().value() == swept);
    }

    void compare(const std::string& key) {
        CAPTURE(key);
        CHECK(keyspace().get(key).value() == live(key));
        CHECK(keyspace().contains_key(key).value() == live(key).has_value());
        const auto found = model_.find(key);
        const bool expires = found != model_.end() && found->second.expiry != 0;
        CHECK(keyspace().expires_at(key).value() == (expires ? std::optional(found->second.expiry) : std::nullopt));
        if (!expires) {
            CHECK(keyspace().ttl(key).value() == std::nullopt);
        } else {
            const std::uint64_t left = found->second.expiry > now() ? found->second.expiry - now() : 0;
            CHECK(keyspace().ttl(key).value() == milliseconds(static_cast<milliseconds::rep>(left)));
        }
    }

    void compare_all() {
        CHECK(keyspace().len().value() == model_.size());
        Contents expected;
        std::vector<std::string> keys;
        for (const auto& [key, record] : model_) {
            keys.push_back(key);
            if (const auto value = live(key)) expected.emplace(key, *value);
        }
        CHECK(contents(keyspace()) == expected);
        const auto values = keyspace().get_many(keys).value();
        for (std::size_t i = 0; i < keys.size(); ++i) CHECK(values[i] == live(keys[i]));
    }

    std::mt19937_64 random_;
    std::optional<milliseconds> default_;
    bool in_namespace_;
    Store store_;
    std::optional<emdb::Keyspace> keyspace_;
    std::map<std::string, ModelRecord> model_;
    std::uint64_t written_ = 0;
};

}  // namespace

TEST_CASE("random calls with a random clock agree with a map") {
    const char* const given = std::getenv("EMDB_SEED");
    const std::uint64_t seed = given == nullptr ? std::random_device()() : std::strtoull(given, nullptr, 10);
    CAPTURE(seed);
    for (std::uint64_t i = 0; i < 12; ++i) {
        CAPTURE(i);
        ModelRun(seed + i, every_kind[i % 3], i / 3 % 2 == 1, i / 6 % 2 == 1).run(1500);
    }
}

// --- with threads -------------------------------------------------------------------------------------------------------------

TEST_CASE("a sweep takes only what is expired, whatever writers do meanwhile") {
    for (const Store::Kind kind : every_kind) {
        CAPTURE(static_cast<int>(kind));
        Store store(kind);
        auto& db = store.db();
        constexpr int writers = 2;
        constexpr int keys = 150;
        constexpr int rounds = 12;
        std::atomic<int> running{writers};
        std::atomic<int> lost{0};
        std::atomic<int> wrong{0};
        std::atomic<std::size_t> swept{0};
        std::vector<std::thread> threads;
        for (int writer = 0; writer < writers; ++writer) {
            threads.emplace_back([&, writer, db = db]() mutable {
                for (int round = 0; round < rounds; ++round) {
                    for (int i = 0; i < keys; ++i) {
                        const std::string key = std::to_string(writer) + " " + std::to_string(i);
                        db.insert_with_ttl(key, "short-lived", Ttl::at(store.clock().now + 1)).value();
                        ++store.clock().now;
                        if (db.get(key).value().has_value()) ++wrong;
                        if (i % 3 == 0) continue;  // left to the sweeper
                        if (i % 3 == 1) {
                            db.insert(key, "kept").value();
                        } else {
                            db.transaction([&](Transaction& tx) { return tx.insert(key, "kept"); }).value();
                        }
                        if (db.get(key).value() != "kept") ++lost;
                    }
                }
                --running;
            });
        }
        threads.emplace_back([&, db = db]() mutable {
            while (running > 0) swept += db.sweep_expired().value();
        });
        threads.emplace_back([&, db = db] {
            while (running > 0) {
                for (const auto& [key, value] : db.iter().value()) {
                    if (value != "kept" && value != "short-lived") ++wrong;
                }
                (void)db.stats().value();
            }
        });
        for (std::thread& thread : threads) thread.join();
        swept += db.sweep_expired().value();
        CHECK(lost == 0);
        CHECK(wrong == 0);
        CHECK(swept >= std::size_t{writers} * keys / 3);
        CHECK(db.len().value() == std::size_t{writers} * keys * 2 / 3);
        store.reopen();
        CHECK(store.db().len().value() == std::size_t{writers} * keys * 2 / 3);
        CHECK(store.db().sweep_expired().value() == 0);
    }
}

TEST_CASE("two sweeps at once share the work and count each record once") {
    Store store(Store::Kind::automatic);
    auto& db = store.db();
    constexpr std::size_t count = 20'000;
    for (std::size_t i = 0; i < count; ++i) {
        db.insert_with_ttl("key " + std::to_string(i), "v", Ttl::after(milliseconds(1))).value();
    }
    store.advance(1);
    std::atomic<std::size_t> swept{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&, db = db]() mutable { swept += db.sweep_expired().value(); });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(swept == count);
    CHECK(db.len().value() == 0);
}

}  // namespace emdb_test
