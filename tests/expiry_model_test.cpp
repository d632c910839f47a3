// Expiry against a model, with random calls and a random clock, and sweeps beside writers.
//
// EMDB_SEED=n   the seed of the random specification

#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/expiring_stores.hpp"

namespace emdb_test {
namespace {

using namespace expiring_stores;
using emdb::Bytes;
using emdb::Result;
using emdb::Transaction;
using emdb::Ttl;
using std::chrono::milliseconds;

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
