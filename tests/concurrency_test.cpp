// Many threads on one database. Short runs, meant for ThreadSanitizer as much as for the checks.

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/complaints.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::AppendMode;
using emdb::Emdb;
using emdb::ErrorCode;
using emdb::FlushPolicy;
using emdb::Result;

std::string numbered(const char* prefix, std::size_t number) { return prefix + std::to_string(number); }

std::uint64_t number_in(std::string_view text) { return std::stoull(std::string(text)); }

// A value that tells its key and number, long enough to be torn if it could be: "key:number:" eight times.
std::string stamped(const std::string& key, std::uint64_t number) {
    std::string value;
    for (int i = 0; i < 8; ++i) value += key + ":" + std::to_string(number) + ":";
    return value;
}

// The number in a stamped value; nullopt when it is not exactly one that was written under that key.
std::optional<std::uint64_t> stamp_of(const std::string& key, std::string_view value) {
    const std::string prefix = key + ":";
    if (!value.starts_with(prefix)) return std::nullopt;
    std::uint64_t number = 0;
    for (std::size_t i = prefix.size(); i < value.size() && value[i] != ':'; ++i) {
        number = number * 10 + static_cast<std::uint64_t>(value[i] - '0');
    }
    return value == stamped(key, number) ? std::optional(number) : std::nullopt;
}

// Threads that all begin at once and are joined at the end of the scope. A call that fails in one of them ends it, and
// fails the test.
class Crew {
public:
    Crew() = default;
    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;
    ~Crew() { join(); }

    // Runs work() once.
    template <class F>
    void add(F work) {
        ++working_;
        start([this, work = std::move(work)]() mutable {
            guarded(work);
            --working_;
        });
    }
    // Runs step() over and over until the work is done, at least once.
    template <class F>
    void meanwhile(F step) {
        start([this, step = std::move(step)]() mutable {
            guarded([&] {
                do {
                    step();
                } while (working_ > 0);
            });
        });
    }
    void join() {
        begun_ = true;
        for (auto& thread : threads_) thread.join();
        threads_.clear();
        CHECK(failures_.text() == "");
    }

private:
    template <class F>
    void start(F run) {
        threads_.emplace_back([this, run = std::move(run)]() mutable {
            while (!begun_) std::this_thread::yield();
            run();
        });
    }
    template <class F>
    void guarded(F&& f) {
        try {
            f();
        } catch (const emdb::Exception& exception) {
            failures_.unless(false, exception.what());
        }
    }

    std::atomic<bool> begun_{false};
    std::atomic<int> working_{0};
    Complaints failures_;
    std::vector<std::thread> threads_;
};

// One database in memory, one mapped if the file system allows, one appended with pwrite.
template <class F>
void on_every_store(F&& specification) {
    for (const int kind : {0, 1, 2}) {
        CAPTURE(kind);
        TempFolder folder;
        auto builder = Emdb::builder();
        if (kind > 0) builder.path(folder.file("a.emdb"));
        if (kind == 2) builder.append_mode(AppendMode::pwrite);
        auto db = builder.build().value();
        specification(db, folder.file("a.emdb"));
        if (kind > 0) {
            const std::size_t count = db.len().value();
            db.close().value();
            CHECK(Emdb::open(folder.file("a.emdb")).value().len().value() == count);
        }
    }
}

std::optional<std::string> plus_one(std::optional<std::string_view> now) {
    return std::to_string((now ? number_in(*now) : 0) + 1);
}

}  // namespace

TEST_CASE("what a reader sees of a key only goes forward, and is never torn or another key's") {
    on_every_store([](Emdb& db, const std::string&) {
        constexpr std::size_t keys = 16;
        constexpr std::uint64_t rounds = 700;
        std::array<std::atomic<std::uint64_t>, keys> written{};  // what has returned from insert
        Complaints complaints;
        std::vector<std::string> names;
        for (std::size_t i = 0; i < keys; ++i) names.push_back(numbered("key", i));
        for (const auto& key : names) db.insert(key, stamped(key, 0)).value();

        Crew crew;
        for (std::size_t writer = 0; writer < 2; ++writer) {
            crew.add([&, writer] {
                for (std::uint64_t round = 1; round <= rounds; ++round) {
                    for (std::size_t i = writer; i < keys; i += 2) {
                        db.insert(numbered("key", i), stamped(numbered("key", i), round)).value();
                        written[i].store(round, std::memory_order_release);
                    }
                    // Growth of the index, and of the file.
                    db.insert(numbered("filler", writer * rounds + round), std::string(round % 300, 'f')).value();
                }
            });
        }
        const auto check = [&](const std::string& key, std::string_view value, std::uint64_t before,
                               std::uint64_t& last) {
            const auto seen = stamp_of(key, value);
            complaints.unless(seen.has_value(), "a value that nobody wrote under this key");
            if (!seen) return;
            complaints.unless(*seen >= before, "a write that had returned was not seen");
            complaints.unless(*seen >= last, "a key went back in time");
            last = *seen;
        };
        crew.meanwhile([&, last = std::array<std::uint64_t, keys>(), out = std::string()]() mutable {
            for (std::size_t i = 0; i < keys; ++i) {
                const std::string& key = names[i];
                const std::uint64_t before = written[i].load(std::memory_order_acquire);
                complaints.unless(db.get_into(key, out).value(), "a key that is always there was absent");
                check(key, out, before, last[i]);
                const auto ref = db.get_zerocopy(key).value();
                complaints.unless(ref.has_value(), "a key that is always there was absent");
                if (ref) check(key, ref->as_string_view(), before, last[i]);
            }
            complaints.unless(!db.contains_key("absent").value(), "an absent key was there");
        });
        crew.meanwhile([&, last = std::array<std::uint64_t, keys>()]() mutable {
            std::array<std::uint64_t, keys> before{};
            for (std::size_t i = 0; i < keys; ++i) before[i] = written[i].load(std::memory_order_acquire);
            db.visit_many(names, [&](std::size_t i, std::optional<std::string_view> value) {
                  complaints.unless(value.has_value(), "a key that is always there was absent");
                  if (value) check(names[i], *value, before[i], last[i]);
              }).value();
        });
        crew.join();
        CHECK(complaints.text() == "");
        CHECK(db.len().value() == keys + 2 * rounds);
    });
}

TEST_CASE("compare_exchange and update count exactly, across threads") {
    on_every_store([](Emdb& db, const std::string&) {
        constexpr std::uint64_t rounds = 400;
        auto names = db.open_namespace("names").value();
        Crew crew;
        for (int thread = 0; thread < 2; ++thread) {
            crew.add([&] {
                for (std::uint64_t i = 0; i < rounds; ++i) db.update("counter", plus_one).value();
            });
            crew.add([&] {
                for (std::uint64_t i = 0; i < rounds; ++i) {
                    for (bool done = false; !done;) {
                        const auto now = db.get("counter").value();
                        const std::string next = *plus_one(now);
                        done =
                            db.compare_exchange("counter", now ? std::optional<emdb::Bytes>(*now) : std::nullopt, next)
                                .value();
                    }
                    names.update("counter", plus_one).value();
                }
            });
        }
        crew.add([&] {
            for (std::uint64_t i = 0; i < rounds; ++i) {
                db.transaction([](emdb::Transaction& tx) {
                      return tx.insert("counter", *plus_one(tx.get("counter").value()));
                  }).value();
            }
        });
        crew.join();
        CHECK(db.get("counter").value() == std::to_string(5 * rounds));
        CHECK(names.get("counter").value() == std::to_string(2 * rounds));
    });
}

TEST_CASE("only one of many threads wins a key") {
    auto db = Emdb::open_in_memory();
    for (std::size_t round = 0; round < 50; ++round) {
        std::atomic<int> winners{0};
        Crew crew;
        for (std::size_t thread = 0; thread < 4; ++thread) {
            crew.add([&, thread] {
                if (db.compare_exchange(numbered("seat", round), std::nullopt, std::to_string(thread)).value())
                    ++winners;
            });
        }
        crew.join();
        CHECK(winners.load() == 1);
    }
    std::atomic<int> removed{0};
    for (std::size_t round = 0; round < 50; ++round) {
        Crew crew;
        for (int thread = 0; thread < 4; ++thread) {
            crew.add([&, round] {
                if (db.remove(numbered("seat", round)).value()) ++removed;
            });
        }
    }
    CHECK(removed.load() == 50);
    CHECK(db.is_empty().value() == true);
}

TEST_CASE("iterators among writers: each key at most once, keys that stay exactly once") {
    on_every_store([](Emdb& db, const std::string&) {
        constexpr std::size_t staying = 2000;
        for (std::size_t i = 0; i < staying; ++i)
            db.insert(numbered("stays", i), stamped(numbered("stays", i), 0)).value();
        Complaints complaints;
        Crew crew;
        crew.add([&] {
            for (std::size_t i = 0; i < 15'000; ++i) db.insert(numbered("comes", i), "1").value();
        });
        crew.meanwhile([&, round = std::uint64_t{0}]() mutable {
            ++round;
            const std::string key = numbered("stays", round * 7919 % staying);
            db.insert(key, stamped(key, round)).value();
            db.insert("flickers", "1").value();
            db.remove("flickers").value();
        });
        for (int thread = 0; thread < 2; ++thread) {
            crew.meanwhile([&] {
                std::set<std::string> seen;
                std::size_t stayed = 0;
                auto records = db.iter().value();
                for (const auto& [key, value] : records) {
                    const std::string name(key);
                    complaints.unless(seen.insert(name).second, "a key twice");
                    if (!name.starts_with("stays")) continue;
                    ++stayed;
                    complaints.unless(stamp_of(name, value).has_value(), "a value that nobody wrote under this key");
                }
                complaints.unless(records.status().has_value(), "an iteration failed");
                complaints.unless(stayed == staying, "a key that was there throughout was missed");
            });
        }
        crew.join();
        CHECK(complaints.text() == "");
        CHECK(db.len().value() == staying + 15'000);
    });
}

TEST_CASE("everything at once") {
    on_every_store([](Emdb& db, const std::string&) {
        constexpr int rounds = 300;
        Complaints complaints;
        Crew crew;
        const auto add = [&](auto work) {
            crew.add([work] {
                for (int round = 0; round < rounds; ++round) work(static_cast<std::size_t>(round));
            });
        };
        add([&](std::size_t i) { db.insert(numbered("plain", i), stamped(numbered("plain", i), 1)).value(); });
        add([&](std::size_t i) {
            db.transaction([&](emdb::Transaction& tx) -> Result<void> {
                  tx.insert("pair a", std::to_string(i)).value();
                  return tx.insert("pair b", std::to_string(i));
              }).value();
        });
        add([&](std::size_t i) {
            auto names = db.open_namespace(numbered("names", i % 5)).value();
            // Somebody may drop it at any moment: then, and only then, it answers invalid_argument.
            const auto put = names.insert(numbered("k", i), "v");
            if (!put) complaints.unless(put.error() == ErrorCode::invalid_argument, "insert: " + put.error().message());
            const auto count = names.len();
            if (!count)
                complaints.unless(count.error() == ErrorCode::invalid_argument, "len: " + count.error().message());
            if (i % 3 == 0) static_cast<void>(db.drop_namespace(numbered("names", (i + 1) % 5)).value());
        });
        add([&](std::size_t i) {
            auto cleared = db.open_namespace("cleared").value();
            cleared.insert_many(std::vector<emdb::Record>(20, {numbered("k", i), std::string(100, 'x')})).value();
            if (i % 4 == 0) cleared.clear().value();
        });
        add([&](std::size_t i) {
            if (i % 10 == 0) db.flush().value();
            complaints.unless(db.stats().value().live_records < 1'000'000, "a number of records that can't be");
        });
        add([&](std::size_t i) {
            if (i % 20 != 0) return;
            std::set<std::string> seen;
            auto keys = db.open_namespace("cleared").value().keys().value();
            for (const auto key : keys) complaints.unless(seen.emplace(key).second, "a key twice");
            static_cast<void>(db.list_namespaces().value());
        });
        crew.meanwhile([&] {
            const auto pair = db.get_many({"pair a", "pair b"}).value();
            complaints.unless(pair[0] == pair[1], "half a transaction");
            const auto plain = db.get("plain7").value();
            complaints.unless(!plain || stamp_of("plain7", *plain) == 1, "a value that nobody wrote under this key");
        });
        crew.join();
        CHECK(complaints.text() == "");
        CHECK(db.get("pair a").value() == std::to_string(rounds - 1));
        for (std::size_t i = 0; i < rounds; ++i) CHECK(db.contains_key(numbered("plain", i)).value());
    });
}

TEST_CASE("clear among writers and readers: nothing older than the last clear comes back") {
    on_every_store([](Emdb& db, const std::string&) {
        std::atomic<std::uint64_t> cleared_before{0};  // everything below this generation is cleared
        Complaints complaints;
        Crew crew;
        crew.add([&] {
            for (std::uint64_t generation = 1; generation <= 200; ++generation) {
                for (std::size_t i = 0; i < 10; ++i) db.insert(numbered("k", i), std::to_string(generation)).value();
                db.clear().value();
                cleared_before = generation + 1;
            }
        });
        crew.meanwhile([&] {
            const std::uint64_t least = cleared_before;
            for (std::size_t i = 0; i < 10; ++i) {
                const auto value = db.get(numbered("k", i)).value();
                complaints.unless(!value || number_in(*value) >= least, "a cleared value came back");
            }
            complaints.unless(db.len().value() <= 10, "more records than keys");
        });
        crew.join();
        CHECK(complaints.text() == "");
        CHECK(db.is_empty().value() == true);
    });
}

TEST_CASE("threads that insert and flush, under each policy") {
    for (const FlushPolicy policy :
         {FlushPolicy::group(), FlushPolicy::on_each_flush(), FlushPolicy::write_through(), FlushPolicy::every_n(3)}) {
        CAPTURE(static_cast<int>(policy.kind()));
        for (const AppendMode mode : {AppendMode::automatic, AppendMode::pwrite}) {
            TempFolder folder;
            constexpr std::size_t threads = 8;
            constexpr std::size_t rounds = 25;
            {
                auto db =
                    Emdb::builder().path(folder.file("a.emdb")).flush_policy(policy).append_mode(mode).build().value();
                Crew crew;
                for (std::size_t thread = 0; thread < threads; ++thread) {
                    crew.add([&db, thread] {
                        for (std::size_t i = 0; i < rounds; ++i) {
                            db.insert(numbered("k", thread * rounds + i), "v").value();
                            db.flush().value();
                        }
                    });
                }
                crew.join();
                CHECK(db.len().value() == threads * rounds);
            }
            CHECK(Emdb::open(folder.file("a.emdb")).value().len().value() == threads * rounds);
        }
    }
}

TEST_CASE("large values are written and read by several threads") {
    on_every_store([](Emdb& db, const std::string&) {
        Complaints complaints;
        Crew crew;
        for (std::size_t thread = 0; thread < 4; ++thread) {
            crew.add([&, thread] {
                for (std::size_t i = 0; i < 6; ++i) {
                    const std::string key = numbered("large", thread * 100 + i);
                    const std::string value((thread + 1) * 300'000 + i, static_cast<char>('a' + thread));
                    db.insert(key, value).value();
                    complaints.unless(db.get(key).value() == value, "a large value came back changed");
                }
            });
        }
        crew.join();
        CHECK(complaints.text() == "");
        CHECK(db.len().value() == 24);
    });
}

TEST_CASE("ValueRefs stay as they are while other threads overwrite, clear and drop") {
    on_every_store([](Emdb& db, const std::string&) {
        Complaints complaints;
        auto names = db.open_namespace("names").value();
        names.insert("k", stamped("k", 0)).value();
        const auto kept = *names.get_zerocopy("k").value();
        std::vector<std::pair<emdb::ValueRef, std::string>> held;
        Crew crew;
        crew.add([&] {
            for (std::uint64_t i = 1; i < 1000; ++i) {
                db.insert("k", stamped("k", i)).value();
                if (i % 100 == 0) db.clear().value();
            }
            db.drop_namespace("names").value();
        });
        crew.meanwhile([&] {
            auto ref = db.get_zerocopy("k").value();
            if (!ref) return;
            complaints.unless(stamp_of("k", ref->as_string_view()).has_value(),
                              "a value that nobody wrote under this key");
            if (held.size() < 100) held.emplace_back(*ref, ref->to_string());
            const auto& [before, text] = held[held.size() / 2];
            complaints.unless(before == text, "a held value changed");
        });
        crew.join();
        for (const auto& [ref, text] : held) CHECK(ref == text);
        CHECK(kept == stamped("k", 0));
        CHECK(complaints.text() == "");
    });
}

TEST_CASE("handles are copied and dropped by many threads, and the last one closes the database") {
    TempFolder folder;
    for (std::size_t round = 0; round < 10; ++round) {
        auto shared = std::make_unique<Emdb>(Emdb::open(folder.file("a.emdb")).value());
        Crew crew;
        for (std::size_t thread = 0; thread < 4; ++thread) {
            crew.add([own = *shared, thread, round]() mutable {
                for (std::size_t i = 0; i < 50; ++i) {
                    Emdb copy = own;
                    copy.insert(numbered("k", round * 1000 + thread * 100 + i), "v").value();
                }
            });
        }
        shared.reset();
        crew.join();
        CHECK(Emdb::open(folder.file("a.emdb")).value().len().value() == (round + 1) * 200);
    }
}

TEST_CASE("close while others operate: what succeeded before is there, what comes after is stopped, nothing crashes") {
    for (const AppendMode mode : {AppendMode::automatic, AppendMode::pwrite}) {
        for (std::size_t round = 0; round < 15; ++round) {
            TempFolder folder;
            Complaints complaints;
            std::array<std::atomic<std::size_t>, 2> acknowledged{};
            {
                auto db = Emdb::builder().path(folder.file("a.emdb")).append_mode(mode).build().value();
                for (std::size_t i = 0; i < 100; ++i) db.insert(numbered("old", i), "v").value();
                std::atomic<std::size_t> operations{0};
                Crew crew;
                // Runs one operation until it is stopped; any other failure is a complaint.
                const auto until_stopped = [&](auto operation) {
                    crew.add([&, operation]() mutable {
                        for (;;) {
                            const auto done = operation();
                            ++operations;
                            if (done) continue;
                            complaints.unless(done.error() == ErrorCode::stopped,
                                              "not stopped: " + done.error().message());
                            break;
                        }
                    });
                };
                for (std::size_t writer = 0; writer < 2; ++writer) {
                    until_stopped([&, writer] {
                        auto put = db.insert(numbered(writer == 0 ? "a" : "b", acknowledged[writer]), "v");
                        if (put) ++acknowledged[writer];
                        return put;
                    });
                }
                until_stopped([&] { return db.get("old7"); });
                until_stopped([&]() -> Result<void> {
                    auto records = db.iter();
                    if (!records) return records.error();
                    for (const auto& [key, value] : *records)
                        complaints.unless(value == "v" && !key.empty(), "a strange record");
                    return records->status();
                });
                until_stopped(
                    [&] { return db.transaction([](emdb::Transaction& tx) { return tx.insert("tx", "v"); }); });
                until_stopped([&] { return db.flush(); });
                crew.add([&] {
                    while (operations < 200 * (round + 1)) std::this_thread::yield();
                    const auto closed = db.close();
                    if (!closed) complaints.unless(false, "close: " + closed.error().message());
                });
                crew.join();
            }
            CHECK(complaints.text() == "");
            auto db = Emdb::open(folder.file("a.emdb")).value();
            for (std::size_t writer = 0; writer < 2; ++writer) {
                std::size_t missing = 0;
                for (std::size_t i = 0; i < acknowledged[writer]; ++i) {
                    missing += db.contains_key(numbered(writer == 0 ? "a" : "b", i)).value() ? 0u : 1u;
                }
                CHECK(missing == 0);
            }
        }
    }
}

TEST_CASE("several threads close: each succeeds") {
    TempFolder folder;
    for (int round = 0; round < 20; ++round) {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        db.insert(std::to_string(round), "v").value();
        std::atomic<int> closed{0};
        Crew crew;
        for (int thread = 0; thread < 4; ++thread) {
            crew.add([&] {
                if (db.close()) ++closed;
            });
        }
        crew.join();
        CHECK(closed.load() == 4);
        CHECK(Emdb::open(folder.file("a.emdb")).value().len().value() == static_cast<std::size_t>(round) + 1);
    }
}

TEST_CASE("threads race to open one file: one wins, the others are told who") {
    TempFolder folder;
    for (std::size_t round = 0; round < 60; ++round) {
        const auto path = folder.file(round % 5 == 0 ? "same.emdb" : numbered("new", round));
        std::mutex mutex;
        std::vector<Emdb> opened;
        std::atomic<int> refused{0};
        Complaints complaints;
        Crew crew;
        for (int thread = 0; thread < 4; ++thread) {
            crew.add([&] {
                auto db = Emdb::open(path);
                if (!db) {
                    ++refused;
                    complaints.unless(db.error() == ErrorCode::already_locked, "refused: " + db.error().message());
                    return;
                }
                const std::lock_guard lock(mutex);
                opened.push_back(std::move(db).value());
            });
        }
        crew.join();
        CHECK(complaints.text() == "");
        CHECK(refused.load() == 3);
        REQUIRE(opened.size() == 1);
        // The winner's file is the one that the path names.
        opened.front().insert(numbered("k", round), "v").value();
        opened.clear();
        CHECK(Emdb::open(path).value().get(numbered("k", round)).value() == "v");
    }
}

}  // namespace emdb_test
