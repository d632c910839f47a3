// How asynchronous work ends: handles, executors and coroutines that go away at the wrong moment. A program of its own, since
// EMDB_ASYNC is off by default.

#define EMDB_ASYNC 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "support/coroutines.hpp"
#include "support/latch.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::AsyncEmdb;
using emdb::Emdb;
using emdb::EmdbBuilder;
using emdb::ErrorCode;
using emdb::FlushPolicy;
using emdb::Future;
using emdb::Result;
using emdb::Transaction;
using MaybeString = std::optional<std::string>;

std::size_t records_in(const std::string& path) { return Emdb::open(path).value().len().value(); }

/// A handle that was dropped by another thread may be a moment away from being closed.
std::size_t records_once_closed(const std::string& path) {
    for (;;) {
        auto db = Emdb::open(path);
        if (db) return db->len().value();
        REQUIRE(db.error() == ErrorCode::already_locked);
        std::this_thread::yield();
    }
}

TEST_SUITE("the last handle") {
    TEST_CASE("cancels nothing, and the database is closed when it is gone") {
        const TempFolder folder;
        for (int round = 0; round < 20; ++round) {
            const std::string path = folder.file(std::to_string(round));
            {
                auto db = AsyncEmdb::open(path).get().value();
                for (int i = 0; i < 100; ++i) (void)db.insert(std::to_string(i), "v");
                (void)db.transaction([](Transaction& tx) -> Result<void> { return tx.insert("t", "v"); });
                (void)db.flush();
            }
            CHECK(records_in(path) == 101);
        }
    }

    TEST_CASE("may be dropped with a namespace's last") {
        const TempFolder folder;
        {
            auto names = AsyncEmdb::open(folder.file("a")).get().value().open_namespace("names").get().value();
            for (int i = 0; i < 100; ++i) (void)names.insert(std::to_string(i), "v");
        }
        CHECK(Emdb::open(folder.file("a")).value().open_namespace("names").value().len().value() == 100);
    }

    TEST_CASE("may be assigned to, which closes its database") {
        const TempFolder folder;
        {
            auto db = AsyncEmdb::open(folder.file("a")).get().value();
            (void)db.insert("a", "v");
            db = AsyncEmdb::open(folder.file("b")).get().value();
            CHECK(records_in(folder.file("a")) == 1);
            const AsyncEmdb third = AsyncEmdb::open_in_memory();
            db = third;
            CHECK(records_in(folder.file("b")) == 0);
            auto names = db.open_namespace("names").get().value();
            names = db.open_namespace("others").get().value();
            CHECK(names.name() == "others");
        }
    }

    TEST_CASE("may be dropped in a callback, and in a coroutine") {
        const TempFolder folder;
        for (int round = 0; round < 50; ++round) {
            const std::string path = folder.file(std::to_string(round));
            Latch dropped(1);
            auto db = std::make_unique<AsyncEmdb>(AsyncEmdb::open(path).get().value());
            auto first = db->insert("k", "v");
            for (int i = 0; i < 10; ++i) (void)db->insert(std::to_string(i), "v");
            if (round % 2 == 0) {
                (void)first.then([&](Result<void>) {
                    db.reset();
                    dropped.count_down();
                });
            } else {
                [](std::unique_ptr<AsyncEmdb>& handle, Future<Result<void>> stored, Latch& done) -> Detached {
                    (void)co_await stored;
                    (void)handle->insert("last", "v");
                    handle.reset();
                    done.count_down();
                }(db, std::move(first), dropped);
            }
            dropped.wait();
            CHECK(records_once_closed(path) == (round % 2 == 0 ? 11 : 12));
        }
    }

    TEST_CASE("may be dropped while all threads of the pool wait for the one that drops it") {
        const TempFolder folder;
        Latch go_on(1);
        const unsigned threads = std::clamp(std::thread::hardware_concurrency(), 1U, 8U);
        std::vector<Future<void>> stuck;
        auto other = AsyncEmdb::open_in_memory();
        Latch all_stuck(threads);
        for (unsigned i = 0; i < threads; ++i) {
            stuck.push_back(other.len().then([&](Result<std::size_t>) {
                all_stuck.count_down();
                go_on.wait();
            }));
        }
        all_stuck.wait();
        auto db = AsyncEmdb::from_sync(Emdb::open(folder.file("a")).value());
        Future<Result<void>> last;
        for (int i = 0; i < 100; ++i) last = db.insert(std::to_string(i), "v");
        {
            const auto dropped = std::move(db);
        }
        CHECK(last.is_ready());
        CHECK(records_in(folder.file("a")) == 100);
        go_on.count_down();
        for (auto& each : stuck) each.get();
    }

    TEST_CASE("on an executor is closed by the last call") {
        const TempFolder folder;
        const auto executor = std::make_shared<ManualExecutor>();
        Future<Result<void>> stored;
        {
            auto opening = EmdbBuilder().path(folder.file("a")).executor(executor).build_async();
            executor->run_all();
            auto db = opening.get().value();
            stored = db.insert("k", "v");
            (void)db.flush();
        }
        CHECK(Emdb::open(folder.file("a")).error() == ErrorCode::already_locked);
        executor->run_all();
        stored.get().value();
        CHECK(records_in(folder.file("a")) == 1);
    }

    TEST_CASE("outlived by futures: those that come too late are stopped") {
        auto db = AsyncEmdb::open_in_memory();
        auto early = db.insert("k", "v");
        db.close().get().value();
        auto late = db.get("k");
        auto chained = db.insert("k", "v").then([](Result<void> stored) { return stored.error().code(); });
        {
            const auto dropped = std::move(db);
        }
        const auto outcome = early.get();
        CHECK((outcome.has_value() || outcome == ErrorCode::stopped));
        CHECK(late.get() == ErrorCode::stopped);
        CHECK(chained.get() == ErrorCode::stopped);
    }
}

TEST_SUITE("an executor") {
    TEST_CASE("that runs tasks inside post") {
        auto db = AsyncEmdb::from_sync(EmdbBuilder().executor(InlineExecutor()).build().value());
        auto stored = db.insert("k", "v");
        CHECK(stored.is_ready());
        int steps = 0;
        [](AsyncEmdb on, int& n) -> Detached {
            for (; n < 100'000; ++n) (co_await on.get("k")).value();
        }(db, steps);
        CHECK(steps == 100'000);
        CHECK(db.len().then([&](Result<std::size_t>) { return db.get("k"); }).get().value() == "v");
        CHECK(db.transaction([](Transaction& tx) -> Result<void> { return tx.insert("t", "v"); }).get());
        db.flush().get().value();
        auto stream = db.iter_stream();
        CHECK(stream.next().get().value().has_value());
    }

    template <class Executor>
    void expect_stopped() {
        auto db = AsyncEmdb::from_sync(EmdbBuilder().executor(Executor()).flush_policy(FlushPolicy::group()).build().value());
        CHECK(db.insert("k", "v").get() == ErrorCode::stopped);
        CHECK(db.get("k").get() == ErrorCode::stopped);
        CHECK(db.flush().get() == ErrorCode::stopped);
        CHECK(db.transaction([](Transaction&) -> Result<void> { return {}; }).get() == ErrorCode::stopped);
        CHECK(db.transaction([](Transaction&) -> Result<void> { return {}; }).get() == ErrorCode::stopped);
        bool called = false;
        CHECK(db.len().then([&](Result<std::size_t> n) {
            called = true;
            return n.error().code();
        }).get() == ErrorCode::stopped);
        CHECK(called);
        int steps = 0;
        [](AsyncEmdb on, int& n) -> Detached {
            for (; n < 10; ++n) CHECK(co_await on.get("k") == ErrorCode::stopped);
            auto stream = on.iter_stream();
            CHECK(co_await stream.next() == ErrorCode::stopped);
            ++n;
        }(db, steps);
        CHECK(steps == 11);
        CHECK(db.sync_handle().is_empty().value());
        CHECK(EmdbBuilder().executor(Executor()).build_async().get() == ErrorCode::stopped);
    }
    TEST_CASE("that drops tasks") { expect_stopped<DroppingExecutor>(); }
    TEST_CASE("that throws") { expect_stopped<ThrowingExecutor>(); }

    TEST_CASE("that calls a task twice") {
        auto db = AsyncEmdb::from_sync(EmdbBuilder().executor(RepeatingExecutor()).build().value());
        int calls = 0;
        db.update("k", [&](std::optional<std::string_view>) { return MaybeString(std::to_string(++calls)); }).get().value();
        CHECK(calls == 1);
        CHECK(db.get("k").then([](Result<MaybeString> v) { return *v.value(); }).get() == "1");
    }

    TEST_CASE("that lets go of what it was given, at any step") {
        for (int steps = 0; steps < 12; ++steps) {
            const auto executor = std::make_shared<ManualExecutor>();
            auto db = AsyncEmdb::from_sync(EmdbBuilder().executor(executor).flush_policy(FlushPolicy::group()).build().value());
            int finished = 0;
            const auto work = [](AsyncEmdb on, int& count) -> Detached {
                (void)co_await on.insert("k", "v");
                (void)co_await on.transaction([](Transaction& tx) -> Result<void> { return tx.insert("t", "v"); });
                (void)co_await on.flush();
                auto stream = on.iter_stream();
                while (auto item = co_await stream.next()) {
                    if (!*item) break;
                }
                ++count;
            };
            for (int i = 0; i < 3; ++i) work(db, finished);
            for (int i = 0; i < steps; ++i) executor->run_one();
            while (executor->waiting() != 0) executor->drop_all();
            CHECK(finished == 3);
        }
    }
}

#if !defined(_WIN32)
/// What f returns in a forked child.
template <class F>
int in_child(F&& f) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) ::_exit(f());
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + status;
}

TEST_SUITE("a forked child") {
    TEST_CASE("finds its parent's database and futures stopped, and can open its own") {
        const TempFolder folder;
        auto db = AsyncEmdb::open(folder.file("a")).get().value();
        db.insert("k", "v").get().value();
        auto stream = db.iter_stream();
        Latch inside(1), go_on(1);
        auto pending = db.transaction([&](Transaction& tx) -> Result<void> {
            inside.count_down();
            go_on.wait();
            return tx.insert("t", "v");
        });
        inside.wait();
        auto behind = db.insert("w", "v");
        CHECK(in_child([&] {
            if (db.get("k").get() != ErrorCode::stopped) return 1;
            if (db.insert("k", "w").get() != ErrorCode::stopped) return 2;
            if (db.flush().get() != ErrorCode::stopped) return 3;
            if (pending.get() != ErrorCode::stopped) return 4;
            if (behind.get() != ErrorCode::stopped) return 5;
            if (stream.next_blocking() != ErrorCode::stopped) return 6;
            { const auto dropped = std::move(stream); }
            { const auto dropped = std::move(db); }
            auto own = AsyncEmdb::open(folder.file("b")).get().value();
            own.insert("k", "v").get().value();
            return own.len().then([](Result<std::size_t> n) { return n.value() == 1 ? 0 : 7; }).get();
        }) == 0);
        go_on.count_down();
        pending.get().value();
        behind.get().value();
        CHECK(db.len().get().value() == 3);
    }
}
#endif

TEST_SUITE("all of it together") {
    Detached wander(AsyncEmdb db, unsigned seed, Latch& done) {
        {
            std::mt19937 random(seed);
            AsyncEmdb handle = db;
            for (int i = 0; i < 40; ++i) {
                const std::string key = std::to_string(random() % 50);
                switch (random() % 8) {
                    case 0: (void)co_await handle.insert(key, "v"); break;
                    case 1: (void)co_await handle.get(key); break;
                    case 2: (void)co_await handle.flush(); break;
                    case 3: (void)handle.remove(key); break;
                    case 4: (void)co_await handle.transaction([&](Transaction& tx) -> Result<void> { return tx.insert(key, "t"); }); break;
                    case 5: {
                        auto stream = handle.iter_stream();
                        for (unsigned n = random() % 5; n > 0; --n) (void)co_await stream.next();
                        break;
                    }
                    case 6: (void)co_await handle.len().then([&](Result<std::size_t>) { return handle.get(key); }); break;
                    default: (void)handle.contains_key(key).get(); break;
                }
            }
        }
        // Not the parameter: that goes with the coroutine, which may be after done.
        { const AsyncEmdb gone = std::move(db); }
        done.count_down();
    }

    TEST_CASE("many coroutines on the pool, handles dropped in any order") {
        const TempFolder folder;
        for (int round = 0; round < 10; ++round) {
            constexpr int coroutines = 50;
            Latch done(coroutines);
            {
                auto db = EmdbBuilder().path(folder.file("a")).flush_policy(FlushPolicy::group()).stream_depth(3).build_async().get();
                while (!db) db = EmdbBuilder().path(folder.file("a")).flush_policy(FlushPolicy::group()).build_async().get();
                for (unsigned i = 0; i < coroutines; ++i) wander(*db, i + 100 * static_cast<unsigned>(round), done);
            }
            done.wait();
        }
    }
}

}  // namespace
}  // namespace emdb_test
