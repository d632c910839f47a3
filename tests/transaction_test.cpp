// Transactions: all or nothing, for readers, for writers, for whoever reopens the file.

#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/outcome.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::Emdb;
using emdb::Error;
using emdb::Result;
using emdb::Transaction;

std::string numbered(const char* prefix, std::size_t number) { return prefix + std::to_string(number); }

std::map<std::string, std::string> contents(const emdb::Keyspace& keyspace) {
    std::map<std::string, std::string> result;
    for (auto& [key, value] : keyspace.iter().value()) result.emplace(key, value);
    return result;
}

// The number that a reader found, 0 where there is none yet.
std::uint64_t number_in(const std::optional<std::string>& value) { return value ? std::stoull(*value) : 0; }
std::uint64_t number_in(std::optional<std::string_view> value) { return value ? std::stoull(std::string(*value)) : 0; }

constexpr std::size_t operations_max = std::size_t{1} << 20;

}  // namespace

TEST_CASE("what a closure staged is applied when it returns a value") {
    TempFolder folder;
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        db.insert("removed", "x").value();
        db.insert("replaced", "x").value();
        const auto done = db.transaction([](Transaction& tx) -> Result<void> {
            if (auto put = tx.insert("new", "1"); !put) return put;
            if (auto put = tx.insert("replaced", "2"); !put) return put;
            if (auto gone = tx.remove("removed"); !gone) return std::move(gone).error();
            return {};
        });
        CHECK(outcome(done) == "success");
        CHECK(contents(db) == std::map<std::string, std::string>{{"new", "1"}, {"replaced", "2"}});
        CHECK(db.len().value() == 2);
    }
    auto db = Emdb::open(folder.file("a.emdb")).value();
    CHECK(contents(db) == std::map<std::string, std::string>{{"new", "1"}, {"replaced", "2"}});
}

TEST_CASE("nothing is applied when it returns an error, which is handed on") {
    TempFolder folder;
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        db.insert("k", "old").value();
        const auto bytes_before = db.stats().value().file_size_bytes;
        const auto given_up = db.transaction([](Transaction& tx) -> Result<int> {
            tx.insert("k", "new").value();
            tx.insert("other", "new").value();
            return Error::aborted("changed my mind");
        });
        CHECK(outcome(given_up) == "transaction_aborted");
        CHECK(given_up.error().message() == "changed my mind");
        const auto other_error = db.transaction(
            [](Transaction&) -> Result<void> { return Error(emdb::ErrorCode::key_not_found, "no such account"); });
        CHECK(outcome(other_error) == "key_not_found");
        CHECK(contents(db) == std::map<std::string, std::string>{{"k", "old"}});
        CHECK(db.stats().value().file_size_bytes == bytes_before);
    }
    CHECK(contents(Emdb::open(folder.file("a.emdb")).value()) == std::map<std::string, std::string>{{"k", "old"}});
}

#if defined(__cpp_exceptions)
TEST_CASE("nothing is applied when it throws, and the exception goes on") {
    auto db = Emdb::open_in_memory();
    db.insert("k", "old").value();
    const auto fail = [](Transaction& tx) -> Result<void> {
        tx.insert("k", "new").value();
        throw std::runtime_error("from the closure");
    };
    CHECK_THROWS_WITH_AS(static_cast<void>(db.transaction(fail)), "from the closure", std::runtime_error);
    CHECK(db.get("k").value() == "old");
    // Exclusive access has ended: for this thread and for others.
    db.insert("k", "after").value();
    std::thread([db]() mutable { db.insert("k", "from a thread").value(); }).join();
    CHECK(db.get("k").value() == "from a thread");
    CHECK(outcome(db.transaction([](Transaction& tx) { return tx.insert("k", "again"); })) == "success");
    CHECK(db.get("k").value() == "again");
}
#endif

TEST_CASE("the closure's result is the transaction's, whatever its type") {
    auto db = Emdb::open_in_memory();
    const auto number = db.transaction([](Transaction&) -> Result<int> { return 42; });
    static_assert(std::is_same_v<decltype(number), const Result<int>>);
    CHECK(number == 42);
    auto text = db.transaction([](Transaction& tx) { return tx.get("absent"); });
    static_assert(std::is_same_v<decltype(text), Result<std::optional<std::string>>>);
    CHECK(text.value() == std::nullopt);
    auto pointer =
        db.transaction([](Transaction&) -> Result<std::unique_ptr<int>> { return std::make_unique<int>(7); });
    CHECK(*pointer.value() == 7);
    auto nothing = db.transaction([](Transaction&) -> Result<void> { return {}; });
    static_assert(std::is_same_v<decltype(nothing), Result<void>>);
    CHECK(nothing);
}

TEST_CASE("an empty transaction writes nothing") {
    auto db = Emdb::open_in_memory();
    db.insert("k", "v").value();
    const auto before = db.stats().value().file_size_bytes;
    CHECK(outcome(db.transaction([](Transaction&) -> Result<void> { return {}; })) == "success");
    CHECK(outcome(db.transaction([](Transaction& tx) { return tx.get("k"); })) == "success");
    CHECK(db.stats().value().file_size_bytes == before);
    CHECK(contents(db) == std::map<std::string, std::string>{{"k", "v"}});
}

TEST_CASE("a transaction reads its own staged writes, and the database beneath them") {
    auto db = Emdb::open_in_memory();
    db.insert("kept", "k").value();
    db.insert("replaced", "old").value();
    db.insert("removed", "r").value();
    const auto looked = db.transaction([](Transaction& tx) -> Result<void> {
        CHECK(tx.get("kept").value() == "k");
        CHECK(tx.get("absent").value() == std::nullopt);

        tx.insert("replaced", "new").value();
        CHECK(tx.get("replaced").value() == "new");
        tx.insert("replaced", "newer").value();
        CHECK(tx.get("replaced").value() == "newer");
        CHECK(tx.contains_key("replaced").value() == true);

        CHECK(tx.remove("removed").value() == "r");
        CHECK(tx.get("removed").value() == std::nullopt);
        CHECK(tx.contains_key("removed").value() == false);
        CHECK(tx.remove("removed").value() == std::nullopt);

        tx.insert("staged", "s").value();
        CHECK(tx.remove("staged").value() == "s");
        CHECK(tx.get("staged").value() == std::nullopt);
        CHECK(tx.remove("absent").value() == std::nullopt);

        tx.insert("", "").value();
        CHECK(tx.get("").value() == "");
        return {};
    });
    CHECK(looked);
    CHECK(contents(db) == std::map<std::string, std::string>{{"kept", "k"}, {"replaced", "newer"}, {"", ""}});
}

TEST_CASE("of several writes to a key the last counts") {
    TempFolder folder;
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        db.insert("c", "0").value();
        db.insert("d", "0").value();
        db.transaction([](Transaction& tx) -> Result<void> {
              for (std::size_t i = 0; i < 100; ++i) tx.insert("a", std::to_string(i)).value();
              tx.insert("b", "1").value();
              tx.remove("b").value();
              tx.remove("c").value();
              tx.insert("c", "2").value();
              tx.remove("d").value();
              tx.insert("d", "3").value();
              tx.remove("d").value();
              return {};
          }).value();
        CHECK(contents(db) == std::map<std::string, std::string>{{"a", "99"}, {"c", "2"}});
        CHECK(db.len().value() == 2);
    }
    auto db = Emdb::open(folder.file("a.emdb")).value();
    CHECK(contents(db) == std::map<std::string, std::string>{{"a", "99"}, {"c", "2"}});
    CHECK(db.len().value() == 2);
}

TEST_CASE("one transaction spans namespaces") {
    TempFolder folder;
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        auto red = db.open_namespace("red").value();
        auto blue = db.open_namespace("blue").value();
        red.insert("k", "red").value();
        blue.insert("gone", "x").value();
        const auto moved = [&](bool succeed) {
            return db.transaction([&](Transaction& tx) -> Result<void> {
                tx.insert("k", "default").value();
                CHECK(tx.in(red).get("k").value() == "red");
                CHECK(tx.in(blue).get("k").value() == std::nullopt);
                tx.in(blue).insert("k", "blue").value();
                CHECK(tx.in(blue).get("k").value() == "blue");
                CHECK(tx.in(red).remove("k").value() == "red");
                CHECK(tx.in(red).contains_key("k").value() == false);
                CHECK(tx.in(blue).remove("gone").value() == "x");
                CHECK(tx.get("k").value() == "default");
                if (!succeed) return Error::aborted("");
                return {};
            });
        };
        CHECK(outcome(moved(false)) == "transaction_aborted");
        CHECK(contents(db).empty());
        CHECK(contents(red) == std::map<std::string, std::string>{{"k", "red"}});
        CHECK(contents(blue) == std::map<std::string, std::string>{{"gone", "x"}});
        CHECK(outcome(moved(true)) == "success");
    }
    auto db = Emdb::open(folder.file("a.emdb")).value();
    CHECK(contents(db) == std::map<std::string, std::string>{{"k", "default"}});
    CHECK(contents(db.open_namespace("red").value()).empty());
    CHECK(contents(db.open_namespace("blue").value()) == std::map<std::string, std::string>{{"k", "blue"}});
}

TEST_CASE("a namespace of another database, or a dropped one, is an invalid argument") {
    auto db = Emdb::open_in_memory();
    auto other = Emdb::open_in_memory();
    auto foreign = other.open_namespace("names").value();
    auto own = db.open_namespace("names").value();
    auto dropped = db.open_namespace("dropped").value();
    db.drop_namespace("dropped").value();
    db.open_namespace("dropped").value();
    const auto looked = db.transaction([&](Transaction& tx) -> Result<void> {
        for (const auto* names : {&foreign, &dropped}) {
            CHECK(outcome(tx.in(*names).insert("k", "v")) == "invalid_argument");
            CHECK(outcome(tx.in(*names).get("k")) == "invalid_argument");
            CHECK(outcome(tx.in(*names).remove("k")) == "invalid_argument");
            CHECK(outcome(tx.in(*names).contains_key("k")) == "invalid_argument");
        }
        tx.in(own).insert("k", "v").value();
        return {};
    });
    CHECK(looked);
    CHECK(contents(own) == std::map<std::string, std::string>{{"k", "v"}});
    CHECK(contents(foreign).empty());
}

TEST_CASE("a write past the transaction, by its own closure, is an error and not a deadlock") {
    TempFolder folder;
    for (auto db : {Emdb::open_in_memory(), Emdb::open(folder.file("a.emdb")).value()}) {
        auto names = db.open_namespace("names").value();
        db.insert("k", "old").value();
        names.insert("k", "old").value();
        const auto keep = [](auto) { return std::optional<std::string>("never"); };
        const std::vector<emdb::Record> records = {{"k", "never"}};

        const auto done = db.transaction([&](Transaction& tx) -> Result<void> {
            tx.insert("staged", "s").value();
            CHECK(outcome(db.insert("k", "never")) == "invalid_argument");
            CHECK(outcome(db.remove("k")) == "invalid_argument");
            CHECK(outcome(db.compare_exchange("k", "old", "never")) == "invalid_argument");
            CHECK(outcome(db.update("k", keep)) == "invalid_argument");
            CHECK(outcome(db.insert_many(records)) == "invalid_argument");
            CHECK(outcome(db.clear()) == "invalid_argument");
            CHECK(outcome(db.flush()) == "invalid_argument");
            CHECK(outcome(db.checkpoint()) == "invalid_argument");
            CHECK(outcome(db.compact()) == "invalid_argument");
            CHECK(outcome(db.open_namespace("another")) == "invalid_argument");
            CHECK(outcome(db.drop_namespace("names")) == "invalid_argument");
            CHECK(outcome(names.insert("k", "never")) == "invalid_argument");
            CHECK(outcome(names.remove("k")) == "invalid_argument");
            CHECK(outcome(names.update("k", keep)) == "invalid_argument");
            CHECK(outcome(names.insert_many(records)) == "invalid_argument");
            CHECK(outcome(names.clear()) == "invalid_argument");
            Emdb copy = db;
            CHECK(outcome(copy.insert("k", "never")) == "invalid_argument");
            const auto nested = copy.transaction([](Transaction& inner) { return inner.insert("k", "never"); });
            CHECK(outcome(nested) == "invalid_argument");
            CHECK(nested.error().message().size() > 20);
            return {};
        });
        CHECK(outcome(done) == "success");
        CHECK(contents(db) == std::map<std::string, std::string>{{"k", "old"}, {"staged", "s"}});
        CHECK(contents(names) == std::map<std::string, std::string>{{"k", "old"}});
        CHECK(db.list_namespaces().value() == std::vector<std::string>{"names"});

        // None of it lingers.
        db.insert("k", "new").value();
        db.flush().value();
        CHECK(outcome(db.transaction([](Transaction& tx) { return tx.insert("k", "newer"); })) == "success");
    }
}

TEST_CASE("the closure may write to another database, and run a transaction there") {
    auto db = Emdb::open_in_memory();
    auto other = Emdb::open_in_memory();
    const auto done = db.transaction([&](Transaction& tx) -> Result<void> {
        tx.insert("here", "1").value();
        other.insert("plain", "2").value();
        return other.transaction([&](Transaction& inner) -> Result<void> {
            CHECK(outcome(db.insert("still", "refused")) == "invalid_argument");
            CHECK(outcome(other.insert("still", "refused")) == "invalid_argument");
            inner.insert("inner", "3").value();
            return {};
        });
    });
    CHECK(done);
    CHECK(contents(db) == std::map<std::string, std::string>{{"here", "1"}});
    CHECK(contents(other) == std::map<std::string, std::string>{{"plain", "2"}, {"inner", "3"}});
}

TEST_CASE("reads of the database inside the closure see the state before it") {
    auto db = Emdb::open_in_memory();
    auto names = db.open_namespace("names").value();
    db.insert("k", "old").value();
    const auto done = db.transaction([&](Transaction& tx) -> Result<void> {
        tx.insert("k", "new").value();
        tx.insert("another", "new").value();
        tx.in(names).insert("k", "new").value();
        CHECK(db.get("k").value() == "old");
        CHECK(db.get_zerocopy("k").value() == "old");
        CHECK(db.contains_key("another").value() == false);
        CHECK(db.len().value() == 1);
        CHECK(db.get_many({"k", "another"}).value() == std::vector<std::optional<std::string>>{"old", std::nullopt});
        CHECK(contents(db) == std::map<std::string, std::string>{{"k", "old"}});
        CHECK(names.is_empty().value() == true);
        CHECK(db.list_namespaces().value().size() == 1);
        CHECK(db.stats().value().live_records == 1);
        return {};
    });
    CHECK(done);
    CHECK(db.get("k").value() == "new");
    CHECK(names.get("k").value() == "new");
}

TEST_CASE("2^20 operations fit into a transaction, and are there after reopening") {
    TempFolder folder;
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        const auto done = db.transaction([](Transaction& tx) -> Result<void> {
            for (std::size_t i = 0; i < operations_max; ++i) {
                if (auto put = tx.insert(std::to_string(i), "v"); !put) return put;
            }
            return {};
        });
        CHECK(outcome(done) == "success");
        CHECK(db.len().value() == operations_max);
    }
    auto db = Emdb::open(folder.file("a.emdb")).value();
    CHECK(db.len().value() == operations_max);
    CHECK(db.get("0").value() == "v");
    CHECK(db.get(std::to_string(operations_max - 1)).value() == "v");
}

TEST_CASE("2^20 + 1 operations do not, and nothing is applied") {
    auto db = Emdb::open_in_memory();
    std::size_t accepted = 0;
    const auto done = db.transaction([&accepted](Transaction& tx) -> Result<void> {
        for (std::size_t i = 0; i <= operations_max; ++i) {
            if (auto put = tx.insert(std::to_string(i), "v"); !put) return put;
            ++accepted;
        }
        return {};
    });
    CHECK(outcome(done) == "too_large");
    CHECK(accepted == operations_max);
    CHECK(db.is_empty().value() == true);
    db.insert("k", "writes go on").value();
}

TEST_CASE("a transaction of many megabytes is applied whole") {
    TempFolder folder;
    const auto value_of = [](std::size_t i) { return std::string(300'000, static_cast<char>('a' + i % 26)); };
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        const auto done = db.transaction([&](Transaction& tx) -> Result<void> {
            for (std::size_t i = 0; i < 100; ++i) tx.insert(numbered("k", i), value_of(i)).value();
            CHECK((tx.get("k50").value() == value_of(50)));
            return {};
        });
        CHECK(done);
    }
    auto db = Emdb::open(folder.file("a.emdb")).value();
    CHECK(db.len().value() == 100);
    for (std::size_t i = 0; i < 100; ++i) CHECK((db.get(numbered("k", i)).value() == value_of(i)));
}

TEST_CASE("update's function may run a transaction, and runs again if that changed the key") {
    auto db = Emdb::open_in_memory();
    db.insert("k", "1").value();
    int runs = 0;
    db.update("k", [&](std::optional<std::string_view> current) {
          std::string seen(current.value());
          if (++runs == 1) db.transaction([](Transaction& tx) { return tx.insert("k", "2"); }).value();
          return std::optional<std::string>(seen + "+");
      }).value();
    CHECK(runs == 2);
    CHECK(db.get("k").value() == "2+");
}

// --- with threads

namespace {

// Runs reader functions in threads of their own while the writer runs here, then reports how many readings were wrong.
// Each reader is called over and over, returns whether what it saw was right, and sees at least one round.
template <class Writer, class... Readers>
std::size_t wrong_readings(Writer&& write, Readers&&... readers) {
    std::atomic<bool> stop{false};
    std::atomic<std::size_t> wrong{0};
    std::atomic<std::size_t> started{0};
    std::vector<std::thread> threads;
    const auto start = [&](auto& reader) {
        threads.emplace_back([&] {
            bool first = true;
            do {
                if (!reader()) ++wrong;
                if (first) ++started;
                first = false;
            } while (!stop);
        });
    };
    (start(readers), ...);
    while (started < sizeof...(readers)) std::this_thread::yield();
    write();
    stop = true;
    for (auto& thread : threads) thread.join();
    return wrong;
}

}  // namespace

TEST_CASE("readers see all of a transaction or nothing, in any order and by any call") {
    constexpr std::size_t width = 12;
    constexpr std::size_t rounds = 4000;
    TempFolder folder;
    for (auto db : {Emdb::open_in_memory(), Emdb::open(folder.file("a.emdb")).value()}) {
        auto names = db.open_namespace("names").value();
        std::vector<std::string> keys;
        for (std::size_t i = 0; i < width; ++i) keys.push_back(numbered("k", i));

        const auto write = [&] {
            for (std::size_t round = 1; round <= rounds; ++round) {
                const std::string value = std::to_string(round);
                db.transaction([&](Transaction& tx) -> Result<void> {
                      for (const auto& key : keys) tx.insert(key, value).value();
                      tx.in(names).insert("k", value).value();
                      return {};
                  }).value();
            }
        };
        // Rounds only go up. Whoever has seen a round in one key must not find an earlier one in another.
        const auto in_order = [&] {
            std::uint64_t latest = number_in(names.get("k").value());
            for (const auto& key : keys) {
                const std::uint64_t seen = number_in(db.get(key).value());
                if (seen < latest) return false;
                latest = seen;
            }
            return number_in(names.get("k").value()) >= latest;
        };
        const auto in_reverse = [&] {
            std::uint64_t latest = 0;
            for (auto key = keys.rbegin(); key != keys.rend(); ++key) {
                const auto ref = db.get_zerocopy(*key).value();
                const std::uint64_t seen = ref ? number_in(std::optional(ref->as_string_view())) : 0;
                if (seen < latest) return false;
                latest = seen;
            }
            return true;
        };
        const auto all_equal = [&] {
            const auto values = db.get_many(keys).value();
            for (const auto& value : values) {
                if (value != values.front()) return false;
            }
            return true;
        };
        const auto all_equal_visited = [&] {
            std::vector<std::uint64_t> seen;
            db.visit_many(keys, [&](std::size_t, std::optional<std::string_view> value) {
                  seen.push_back(number_in(value));
              }).value();
            if (seen.size() != width) return false;
            for (const auto number : seen) {
                if (number != seen.front()) return false;
            }
            return true;
        };
        CHECK(wrong_readings(write, in_order, in_reverse, all_equal, all_equal_visited) == 0);
        CHECK(db.get("k0").value() == std::to_string(rounds));
    }
}

TEST_CASE("readers never find a key missing that a transaction moves") {
    // The token is always in exactly one of the places, and each transaction moves it on; there is no state without it.
    constexpr std::size_t places = 8;
    auto db = Emdb::open_in_memory();
    std::vector<std::string> keys;
    for (std::size_t i = 0; i < places; ++i) keys.push_back(numbered("place", i));
    db.insert(keys[0], "token").value();
    const auto write = [&] {
        for (std::size_t round = 0; round < 4000; ++round) {
            db.transaction([&](Transaction& tx) -> Result<void> {
                  CHECK(tx.remove(keys[round % places]).value() == "token");
                  return tx.insert(keys[(round + 1) % places], "token");
              }).value();
        }
    };
    const auto exactly_one = [&] {
        std::size_t found = 0;
        for (const auto& value : db.get_many(keys).value()) found += value ? 1u : 0u;
        return found == 1;
    };
    const auto exactly_one_visited = [&] {
        return db.visit_many(keys, [](std::size_t, std::optional<std::string_view>) {}).value() == 1;
    };
    CHECK(wrong_readings(write, exactly_one, exactly_one_visited) == 0);
    CHECK(db.len().value() == 1);
}

TEST_CASE("an aborted transaction is never seen, not for a moment") {
    auto db = Emdb::open_in_memory();
    db.insert("k", "good").value();
    const auto write = [&] {
        for (int round = 0; round < 2000; ++round) {
            static_cast<void>(db.transaction([](Transaction& tx) -> Result<void> {
                tx.insert("k", "bad").value();
                tx.insert("bad", "bad").value();
                return Error::aborted("");
            }));
        }
    };
    const auto only_good = [&] {
        return db.get("k").value() == "good" && !db.contains_key("bad").value() && db.len().value() == 1;
    };
    CHECK(wrong_readings(write, only_good) == 0);
}

TEST_CASE("transactions of several threads are serialised: no write skew, no lost update") {
    auto db = Emdb::open_in_memory();
    // Each may take one from its account as long as both together keep ten: no order of whole transactions breaks that.
    db.insert("a", "1000").value();
    db.insert("b", "1000").value();
    constexpr std::uint64_t kept = 10;
    const auto take = [&db](const char* account) {
        for (int i = 0; i < 1500; ++i) {
            db.transaction([account](Transaction& tx) -> Result<void> {
                  const std::uint64_t a = number_in(tx.get("a").value());
                  const std::uint64_t b = number_in(tx.get("b").value());
                  if (a + b <= kept || (account[0] == 'a' ? a : b) == 0) return {};
                  return tx.insert(account, std::to_string((account[0] == 'a' ? a : b) - 1));
              }).value();
        }
    };
    std::vector<std::thread> threads;
    for (const char* account : {"a", "b", "a", "b"}) threads.emplace_back(take, account);
    for (auto& thread : threads) thread.join();
    CHECK(number_in(db.get("a").value()) + number_in(db.get("b").value()) == kept);
}

TEST_CASE("a transaction has exclusive write access") {
    auto db = Emdb::open_in_memory();
    auto names = db.open_namespace("names").value();
    db.insert("counter", "0").value();
    constexpr std::uint64_t rounds = 2000;
    const auto add_one = [](std::optional<std::string_view> now) {
        return std::optional(std::to_string(number_in(now) + 1));
    };
    std::atomic<std::uint64_t> unrepeatable{0};

    std::vector<std::thread> threads;
    threads.emplace_back([&] {
        for (std::uint64_t i = 0; i < rounds; ++i) db.update("counter", add_one).value();
    });
    threads.emplace_back([&] {
        for (std::uint64_t i = 0; i < rounds; ++i) {
            for (bool changed = false; !changed;) {
                const std::string now = db.get("counter").value().value();
                changed = db.compare_exchange("counter", now, std::to_string(std::stoull(now) + 1)).value();
            }
            names.insert("k", std::to_string(i)).value();
        }
    });
    threads.emplace_back([&] {
        for (std::uint64_t i = 0; i < rounds; ++i) {
            db.transaction([&](Transaction& tx) -> Result<void> {
                  const auto first = tx.get("counter").value();
                  const auto other_first = tx.in(names).get("k").value();
                  tx.insert("noise", std::to_string(i)).value();
                  if (db.get("counter").value() != first) ++unrepeatable;
                  if (tx.get("counter").value() != first || tx.in(names).get("k").value() != other_first)
                      ++unrepeatable;
                  return tx.insert("counter", std::to_string(number_in(first) + 1));
              }).value();
        }
    });
    for (auto& thread : threads) thread.join();
    CHECK(unrepeatable.load() == 0);
    CHECK(db.get("counter").value() == std::to_string(3 * rounds));
}

TEST_CASE("writers of other threads wait for the closure, readers don't") {
    auto db = Emdb::open_in_memory();
    db.insert("k", "old").value();
    std::atomic<bool> about_to_write{false};
    std::atomic<bool> written{false};
    std::thread writer;
    const auto done = db.transaction([&](Transaction& tx) -> Result<void> {
        writer = std::thread([&] {
            about_to_write = true;
            db.insert("k", "from the other thread").value();
            written = true;
        });
        while (!about_to_write) std::this_thread::yield();
        std::string seen;
        std::thread([&] { seen = db.get("k").value().value(); }).join();  // returns while the closure runs
        CHECK(seen == "old");
        for (int i = 0; i < 1000; ++i) {
            std::this_thread::yield();
            if (written || tx.get("k").value() != "old") return Error::aborted("somebody wrote meanwhile");
        }
        return tx.insert("k", "from the transaction");
    });
    writer.join();
    CHECK(outcome(done) == "success");
    CHECK(db.get("k").value() == "from the other thread");
}

}  // namespace emdb_test
