// Histories of concurrent calls on few keys, recorded and checked: single keys are linearizable, transactions and the calls that read
// many keys strictly serializable, also while the database is compacted, checkpointed, backed up, grown and cleared.

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "races/history.hpp"
#include "support/temp_folder.hpp"

using namespace history;

TEST_CASE("histories that an order explains are accepted") {
    CHECK(is_explained({}));
    CHECK(is_explained({{1, 2, {becomes(0, 7)}}, {3, 4, {equals(0, 7)}}}));
    // Calls that overlap may come in either order.
    CHECK(is_explained({{1, 4, {becomes(0, 7)}}, {2, 3, {equals(0, 0)}}}));
    CHECK(is_explained({{1, 4, {becomes(0, 7)}}, {2, 3, {equals(0, 7)}}}));
    CHECK(is_explained({{1, 9, {becomes(0, 1)}}, {2, 8, {becomes(0, 2)}}, {3, 4, {equals(0, 2)}}, {5, 6, {equals(0, 1)}}}));
    CHECK(is_explained({{1, 4, {equals(0, 0), becomes(0, 1)}}, {2, 3, {differs(0, 0)}}, {5, 6, {equals(0, 1)}}}));
    CHECK(is_explained({{1, 6, {becomes(0, 1), becomes(1, 1)}}, {2, 3, {equals(0, 0), equals(1, 0)}}, {4, 5, {equals(0, 1), equals(1, 1)}}}));
}

TEST_CASE("histories that no order explains are rejected") {
    // A read that misses what was there before it began.
    CHECK_FALSE(is_explained({{1, 2, {becomes(0, 7)}}, {3, 4, {equals(0, 0)}}}));
    // A value that nobody wrote.
    CHECK_FALSE(is_explained({{1, 2, {becomes(0, 7)}}, {3, 4, {equals(0, 8)}}}));
    // A value that goes back: both reads overlap the write, but the second comes after the first.
    CHECK_FALSE(is_explained({{1, 9, {becomes(0, 7)}}, {2, 3, {equals(0, 7)}}, {4, 5, {equals(0, 0)}}}));
    // Two exchanges of the same value both succeed.
    CHECK_FALSE(is_explained({{1, 8, {equals(0, 0), becomes(0, 1)}}, {2, 7, {equals(0, 0), becomes(0, 2)}}}));
    // An exchange that fails though the value was the expected one throughout.
    CHECK_FALSE(is_explained({{1, 2, {becomes(0, 1)}}, {3, 4, {differs(0, 1)}}}));
    // A transaction seen by halves, and one seen before another that was over when it began.
    CHECK_FALSE(is_explained({{1, 6, {becomes(0, 1), becomes(1, 1)}}, {2, 3, {equals(0, 1), equals(1, 0)}}}));
    CHECK_FALSE(is_explained({{1, 2, {becomes(0, 1)}}, {3, 4, {becomes(1, 1)}}, {1, 6, {equals(0, 0), equals(1, 1)}}}));
    // Two readers that disagree on the order of two writes.
    CHECK_FALSE(is_explained({{1, 9, {becomes(0, 1)}}, {1, 9, {becomes(1, 1)}}, {2, 8, {equals(0, 1), equals(1, 0)}},
                              {2, 8, {equals(0, 0), equals(1, 1)}}}));
    // An update that is lost.
    CHECK_FALSE(is_explained({{1, 6, {equals(0, 0), becomes(0, 1)}}, {2, 5, {equals(0, 0), becomes(0, 2)}}, {7, 8, {equals(0, 1)}}}));
}

namespace emdb_test {
namespace {

using emdb::Emdb;

std::string text_of(std::uint8_t value) { return std::string(1, static_cast<char>(value)); }
std::uint8_t number_in(std::string_view value) { return static_cast<std::uint8_t>(value.at(0)); }
template <class Value>
std::uint8_t number_of(const std::optional<Value>& value) {
    return value ? number_in(*value) : std::uint8_t{0};
}

/// One database, some threads that call and record, and one that keeps it busy in between.
class Recorder {
public:
    static constexpr int threads = 3;

    explicit Recorder(std::uint64_t seed) : seed_(seed) {
        db_ = Emdb::builder().path(folder_.file("a.emdb")).enable_range_scans(true).build().value();
        scratch_.emplace(db_->open_namespace("scratch").value());
    }
    Emdb& db() { return *db_; }
    std::string key(unsigned k) const { return "r" + std::to_string(round_) + "." + std::to_string(k); }
    std::string prefix() const { return "r" + std::to_string(round_) + "."; }

    template <class Call>
    void record(std::vector<Operation>& into, Call&& call) {
        Operation operation;
        operation.begin = clock_.fetch_add(1);
        operation.parts = call();
        operation.end = clock_.fetch_add(1);
        into.push_back(std::move(operation));
    }

    // Rounds of `calls` calls a thread; make(thread, random, next value, where to record).
    using Make = std::function<void(std::mt19937_64&, std::uint8_t&, std::vector<Operation>&)>;
    void run(int rounds, int calls, bool by_key, const Make& make) {
        std::atomic<bool> over{false};
        std::thread busy([&] { keep_busy(over); });
        for (int i = 0; i < rounds; ++i, ++round_) {
            std::vector<std::vector<Operation>> recorded(threads);
            std::atomic<int> waiting{threads};
            std::vector<std::thread> crew;
            for (int t = 0; t < threads; ++t) {
                crew.emplace_back([&, t] {
                    std::mt19937_64 random(seed_ + static_cast<std::uint64_t>(round_ * threads + t));
                    auto value = static_cast<std::uint8_t>(1 + t * 80);
                    --waiting;
                    while (waiting > 0) std::this_thread::yield();
                    for (int c = 0; c < calls; ++c) make(random, value, recorded[static_cast<std::size_t>(t)]);
                });
            }
            for (auto& thread : crew) thread.join();
            std::vector<Operation> all;
            for (auto& some : recorded) all.insert(all.end(), some.begin(), some.end());
            check(all, by_key);
        }
        over = true;
        busy.join();
    }

    std::uint64_t histories = 0;
    std::uint64_t operations = 0;

private:
    void check(const std::vector<Operation>& all, bool by_key) {
        INFO("seed ", seed_, ", round ", round_);
        operations += all.size();
        if (!by_key) {
            ++histories;
            CHECK(all.size() <= operations_max);
            CHECK(is_explained(all));
            return;
        }
        for (unsigned k = 0; k < keys_max; ++k) {
            std::vector<Operation> of_key;
            for (const Operation& operation : all) {
                if (operation.parts.front().key == k) of_key.push_back(operation);
            }
            if (of_key.empty()) continue;
            ++histories;
            CHECK(is_explained(of_key));
        }
    }

    void keep_busy(const std::atomic<bool>& over) {
        for (std::uint64_t i = 0; !over; ++i) {
            db_->insert("growth." + std::to_string(i % 20000), "x").value();
            scratch_->insert(std::to_string(i % 100), "x").value();
            if (i % 97 == 0) scratch_->clear().value();
            if (i % 401 == 0) db_->compact().value();
            if (i % 307 == 0) db_->checkpoint().value();
            if (i % 509 == 0) {
                db_->backup_to(folder_.file("copy" + std::to_string(i))).value();
                std::filesystem::remove(folder_.file("copy" + std::to_string(i)));
            }
        }
    }

    TempFolder folder_;
    std::optional<Emdb> db_;
    std::optional<emdb::Namespace> scratch_;
    const std::uint64_t seed_;
    std::atomic<std::uint64_t> clock_{1};
    int round_ = 0;
};

std::uint64_t seed_for_all() {
    static const char* const given = std::getenv("SEED");
    static const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    return seed;
}
int rounds_for_all() {
    const char* const scale = std::getenv("SCALE");
    return 300 * (scale == nullptr ? 1 : std::atoi(scale));
}
void tell(const char* what, const Recorder& recorder) {
    std::printf("%s: %llu histories of %llu calls explained, seed %llu\n", what, static_cast<unsigned long long>(recorder.histories),
                static_cast<unsigned long long>(recorder.operations), static_cast<unsigned long long>(seed_for_all()));
}

}  // namespace

TEST_CASE("calls on one key are linearizable") {
    Recorder recorder(seed_for_all());
    Emdb& db = recorder.db();
    recorder.run(rounds_for_all(), 12, true, [&](std::mt19937_64& random, std::uint8_t& value, std::vector<Operation>& into) {
        const auto k = static_cast<unsigned>(random() % 2);
        const std::string key = recorder.key(k);
        const auto fresh = value++;
        recorder.record(into, [&]() -> std::vector<Part> {
            switch (random() % 6) {
                case 0: return {equals(k, number_of(db.get(key).value()))};
                case 1: db.insert(key, text_of(fresh)).value(); return {becomes(k, fresh)};
                case 2: return {equals(k, number_of(db.remove(key).value())), becomes(k, 0)};
                case 3: {
                    const auto expected = db.get(key).value();
                    const auto bytes = expected ? std::optional<emdb::Bytes>(*expected) : std::nullopt;
                    if (db.compare_exchange(key, bytes, emdb::Bytes(text_of(fresh))).value()) {
                        return {equals(k, number_of(expected)), becomes(k, fresh)};
                    }
                    return {differs(k, number_of(expected))};
                }
                case 4: {
                    std::uint8_t seen = 0;
                    db.update(key, [&](std::optional<std::string_view> now) -> std::optional<std::string> {
                        seen = number_of(now);
                        return text_of(fresh);
                    }).value();
                    return {equals(k, seen), becomes(k, fresh)};
                }
                default: return {db.contains_key(key).value() ? differs(k, 0) : equals(k, 0)};
            }
        });
    });
    tell("single keys", recorder);
}

TEST_CASE("transactions, and calls that read many keys, are strictly serializable") {
    Recorder recorder(seed_for_all());
    Emdb& db = recorder.db();
    constexpr unsigned keys = 4;
    recorder.run(rounds_for_all(), 8, false, [&](std::mt19937_64& random, std::uint8_t& value, std::vector<Operation>& into) {
        const auto fresh = value++;
        recorder.record(into, [&]() -> std::vector<Part> {
            std::vector<Part> parts;
            std::vector<std::string> names;
            for (unsigned k = 0; k < keys; ++k) names.push_back(recorder.key(k));
            const std::vector<emdb::Bytes> wanted(names.begin(), names.end());
            const auto one = static_cast<unsigned>(random() % keys);
            const auto other = static_cast<unsigned>((one + 1 + random() % (keys - 1)) % keys);
            switch (random() % 6) {
                case 0: {
                    db.transaction([&](emdb::Transaction& transaction) -> emdb::Result<void> {
                        parts.push_back(equals(one, number_of(transaction.get(names[one]).value())));
                        transaction.insert(names[other], text_of(fresh)).value();
                        if (random() % 2 == 0) transaction.remove(names[one]).value();
                        else transaction.insert(names[one], text_of(fresh)).value();
                        parts.push_back(becomes(other, fresh));
                        parts.push_back(becomes(one, number_of(transaction.get(names[one]).value())));  // what it has staged itself
                        return {};
                    }).value();
                    return parts;
                }
                case 1: {
                    const auto found = db.get_many(wanted).value();
                    for (unsigned k = 0; k < keys; ++k) parts.push_back(equals(k, number_of(found[k])));
                    return parts;
                }
                case 2: {
                    db.visit_many(wanted, [&](std::size_t i, std::optional<std::string_view> found) {
                        parts.push_back(equals(static_cast<unsigned>(i), number_of(found)));
                    }).value();
                    return parts;
                }
                case 3: {
                    std::uint8_t found[keys] = {};
                    for (const auto& record : db.range_prefix(recorder.prefix()).value()) {
                        found[record.key.back() - '0'] = number_in(record.value);
                    }
                    for (unsigned k = 0; k < keys; ++k) parts.push_back(equals(k, found[k]));
                    return parts;
                }
                case 4: return {equals(one, number_of(db.get(names[one]).value()))};
                default: {
                    // Single writes are not among what such reads see at one moment: what changes here is changed by transactions.
                    db.transaction([&](emdb::Transaction& transaction) -> emdb::Result<void> {
                        for (unsigned k = 0; k < keys; ++k) {
                            transaction.remove(names[k]).value();
                            parts.push_back(becomes(k, 0));
                        }
                        return {};
                    }).value();
                    return parts;
                }
            }
        });
    });
    tell("transactions", recorder);
}

}  // namespace emdb_test
