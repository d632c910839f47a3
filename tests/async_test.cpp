// Asynchronous calls: what they return, futures and coroutines, what may wait for what. A program of its own, since EMDB_ASYNC is off
// by default.

#define EMDB_ASYNC 1
#define EMDB_NESTED 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/coroutines.hpp"
#include "support/latch.hpp"
#include "support/simulated_disk.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

std::atomic<std::size_t> size_refused{0};  // there is no memory for allocations of this size

void* allocate(std::size_t size) noexcept { return size == size_refused.load() ? nullptr : std::malloc(size == 0 ? 1 : size); }

}  // namespace
}  // namespace emdb_test

// Not inlined: GCC would take free() for the wrong end of new.
[[gnu::noinline]] void* operator new(std::size_t size) {
    if (void* const memory = emdb_test::allocate(size)) return memory;
    throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return emdb_test::allocate(size); }
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace emdb_test {
namespace {

using emdb::AsyncEmdb;
using emdb::AsyncNamespace;
using emdb::Emdb;
using emdb::EmdbBuilder;
using emdb::Error;
using emdb::ErrorCode;
using emdb::FlushPolicy;
using emdb::Future;
using emdb::Record;
using emdb::Result;
using emdb::Transaction;
using MaybeString = std::optional<std::string>;

AsyncEmdb open_over(SimulatedDisk& disk, EmdbBuilder builder) {
    emdb::detail::BuilderAccess::set_environment(builder.path("/disk/a.emdb"), disk);
    return AsyncEmdb::from_sync(builder.build().value());
}

/// The first write after an opening syncs what recovery has settled.
void write_first(AsyncEmdb& db) {
    Emdb sync = db.sync_handle();
    sync.insert("first", "v").value();
    sync.flush().value();
}

std::size_t syncs(const SimulatedDisk& disk) {
    const std::string trace = disk.trace();
    std::size_t count = 0;
    for (std::size_t at = 0; (at = trace.find(" sync /disk/a.emdb", at)) != std::string::npos; ++at) ++count;
    return count;
}

TEST_SUITE("asynchronous calls") {
    TEST_CASE("a flush for which there is no memory for a task is made all the same") {
        SimulatedDisk disk;
        auto db = open_over(disk, EmdbBuilder());
        write_first(db);
        const std::size_t before = syncs(disk);
        db.insert("a", "1").get().value();
        size_refused = sizeof(emdb::detail::FlushTask);
        const auto flushed = db.flush().get();
        size_refused = 0;
        CHECK(flushed.has_value());
        CHECK(syncs(disk) == before + 1);
    }

    TEST_CASE("do what the synchronous ones do") {
        auto db = AsyncEmdb::from_sync(EmdbBuilder().enable_range_scans(true).build().value());
        CHECK(db.path() == ":memory:");
        db.insert("a", "1").get().value();
        db.insert("b", "2").get().value();
        CHECK(db.get("a").get().value() == "1");
        CHECK(db.get("z").get().value() == std::nullopt);
        CHECK(db.get_or("z", "none").get().value() == "none");
        std::string out;
        CHECK(db.get_into("b", out).get().value());
        CHECK(out == "2");
        CHECK(db.get_zerocopy("b").get().value()->to_string() == "2");
        CHECK(db.get_many({"a", "z", "b"}).get().value() == std::vector<MaybeString>{"1", std::nullopt, "2"});
        CHECK(db.get_many(std::vector<std::string>{"b"}).get().value() == std::vector<MaybeString>{"2"});
        std::vector<std::string> seen;
        const auto see = [&seen](std::size_t, std::optional<std::string_view> value) { seen.emplace_back(value.value_or("-")); };
        CHECK(db.visit_many({"a", "z"}, see).get().value() == 1);
        CHECK(seen == std::vector<std::string>{"1", "-"});
        CHECK(db.contains_key("a").get().value());
        CHECK(db.len().get().value() == 2);
        CHECK_FALSE(db.is_empty().get().value());
        CHECK(db.compare_exchange("a", "1", "one").get().value());
        CHECK_FALSE(db.compare_exchange("a", "1", std::nullopt).get().value());
        CHECK(db.compare_exchange("c", std::nullopt, "3").get().value());
        db.update("c", [](std::optional<std::string_view> old) { return std::optional(std::string(*old) + "!"); }).get().value();
        CHECK(db.remove("c").get().value() == "3!");
        db.insert_many(std::vector<std::pair<std::string, std::string>>{{"d", "4"}, {"e", "5"}}).get().value();
        CHECK(db.iter().get().value().size() == 4);
        CHECK(db.keys().get().value().size() == 4);
        using Records = std::vector<Record>;
        CHECK(db.range(emdb::Range::half_open("b", "e")).get().value() == Records{{"b", "2"}, {"d", "4"}});
        CHECK(db.range_prefix("d").get().value() == Records{{"d", "4"}});
        CHECK(db.iter_from("d").get().value() == Records{{"d", "4"}, {"e", "5"}});
        CHECK(db.iter_after("d").get().value() == Records{{"e", "5"}});
        CHECK(db.stats().get().value().live_records == 4);

        db.insert_with_ttl("t", "v", emdb::Ttl::at(1)).get().value();
        CHECK(db.expires_at("t").get().value() == 1);
        CHECK(db.ttl("t").get().value() == std::chrono::milliseconds(0));
        CHECK_FALSE(db.persist("a").get().value());
        CHECK(db.sweep_expired().get().value() == 1);

        auto names = db.open_namespace("names").get().value();
        CHECK(names.name() == "names");
        names.insert("user.1", "alice").get().value();
        CHECK(names.sync_handle().get("user.1").value() == "alice");
        CHECK(names.group("user").get().value().size() == 1);
        CHECK(names.delete_group("user").get().value() == 1);
        CHECK(db.list_namespaces().get().value() == std::vector<std::string>{"names"});
        CHECK(db.drop_namespace("names").get().value());
        CHECK(names.get("k").get() == ErrorCode::invalid_argument);

        const AsyncEmdb other = db.clone_handle();
        CHECK(other.sync_handle().get("a").value() == "one");
        db.clear().get().value();
        CHECK(other.is_empty().get().value());
        db.flush().get().value();
        db.close().get().value();
        CHECK(other.get("a").get() == ErrorCode::stopped);
        CHECK(db.insert("a", "1").get() == ErrorCode::stopped);
        CHECK(db.flush().get() == ErrorCode::stopped);
    }

    TEST_CASE("copy their arguments") {
        const auto executor = std::make_shared<ManualExecutor>();
        auto db = EmdbBuilder().executor(executor).build().value();
        auto async = AsyncEmdb::from_sync(db);
        {
            std::string key(100, 'k'), value(1000, 'v');
            auto inserted = async.insert(key, value);
            std::vector<std::string> keys{key};
            auto found = async.get_many(keys);
            key.assign(100, 'x');
            value.assign(1000, 'x');
            keys.clear();
            executor->run_all();
            inserted.get().value();
            CHECK(found.get().value().front().value() == std::string(1000, 'v'));
        }
        CHECK(db.get(std::string(100, 'k')).value() == std::string(1000, 'v'));
    }

    TEST_CASE("open a database, or say why not") {
        const TempFolder folder;
        {
            auto db = AsyncEmdb::open(folder.file("a.emdb")).get().value();
            db.insert("k", "v").get().value();
            CHECK(AsyncEmdb::open(folder.file("a.emdb")).get() == ErrorCode::already_locked);
            CHECK(AsyncEmdb::lock_holder(folder.file("a.emdb")).get().value().has_value());
            CHECK(AsyncEmdb::break_lock(folder.file("a.emdb")).get() == ErrorCode::already_locked);
        }
        CHECK(Emdb::open(folder.file("a.emdb")).value().get("k").value() == "v");
        {
            auto db = AsyncEmdb::open(folder.file("a.emdb")).get().value();
            db.compact().get().value();
            db.backup_to(folder.file("b.emdb")).get().value();
        }
        CHECK(Emdb::open(folder.file("b.emdb")).value().get("k").value() == "v");
        CHECK(AsyncEmdb::verify(folder.file("b.emdb")).get().value().ok());
        CHECK(AsyncEmdb::salvage(folder.file("b.emdb"), folder.file("c.emdb")).get().value().records_written == 1);
        CHECK(AsyncEmdb::open(folder.file("none/a.emdb")).get() == ErrorCode::io);
        CHECK(EmdbBuilder().stream_depth(0).build_async().get() == ErrorCode::invalid_config);
    }

    TEST_CASE("run where the builder says") {
        ManualExecutor manual;
        struct Counting {
            std::shared_ptr<std::atomic<int>> posts = std::make_shared<std::atomic<int>>(0);
            void post(std::function<void()> task) const {
                ++*posts;
                task();
            }
        } counting;
        SUBCASE("a reference to what lives longer") {
            auto opening = EmdbBuilder().executor(manual).build_async();
            CHECK(manual.run_all() == 1);
            auto db = opening.get().value();
            auto stored = db.insert("k", "v");
            CHECK_FALSE(stored.is_ready());
            manual.run_all();
            CHECK(stored.is_ready());
        }
        SUBCASE("a pointer") {
            auto db = AsyncEmdb::from_sync(EmdbBuilder().executor(&manual).build().value());
            auto stored = db.insert("k", "v");
            CHECK(manual.run_all() == 1);
            stored.get().value();
        }
        SUBCASE("anything that can post") {
            auto db = AsyncEmdb::from_sync(EmdbBuilder().executor(counting).build().value());
            db.insert("k", "v").get().value();
            CHECK(*counting.posts == 1);
        }
        SUBCASE("null: the pool") {
            auto db = AsyncEmdb::from_sync(EmdbBuilder().executor(nullptr).build().value());
            const auto worker = db.len().then([](Result<std::size_t>) { return std::this_thread::get_id(); }).get();
            CHECK(worker != std::this_thread::get_id());
        }
    }
}

TEST_SUITE("a future") {
    static_assert(!std::is_copy_constructible_v<Future<int>> && !std::is_copy_assignable_v<Future<int>>);
    static_assert(std::is_nothrow_move_constructible_v<Future<Result<std::string>>>);

    TEST_CASE("has its outcome once") {
        auto db = AsyncEmdb::open_in_memory();
        Future<Result<std::size_t>> none;
        CHECK_FALSE(none.valid());
        CHECK_THROWS_AS((void)none.get(), emdb::Exception);
        auto len = db.len();
        CHECK(len.valid());
        auto moved = std::move(len);
        CHECK(moved.get().value() == 0);
        CHECK_FALSE(moved.valid());
        CHECK_THROWS_AS((void)moved.get(), emdb::Exception);
        CHECK_THROWS_AS((void)moved.then([](Result<std::size_t>) {}), emdb::Exception);
        moved = db.len();
        CHECK(moved.get().value() == 0);
    }

    TEST_CASE("chains: values, nothing, other futures") {
        auto db = AsyncEmdb::open_in_memory();
        const int sum = db.insert("k", "v").then([](Result<void> stored) { return stored ? 1 : 0; }).then([](int n) { return n + 1; }).get();
        CHECK(sum == 2);
        bool called = false;
        db.len().then([&](Result<std::size_t>) { called = true; }).get();
        CHECK(called);
        CHECK(db.len().then([](Result<std::size_t>) {}).then([] { return std::string("after nothing"); }).get() == "after nothing");
        // f returns a future: what is in it.
        Future<Result<MaybeString>> value = db.insert("a", "1").then([&db](Result<void>) { return db.get("a"); });
        CHECK(value.get().value() == "1");
        auto ready = db.len();
        while (!ready.is_ready()) std::this_thread::yield();
        CHECK(ready.then([&db](Result<std::size_t>) { return db.get("a"); }).then([](Result<MaybeString> v) { return *v.value(); }).get() == "1");
        // Things that can only be moved.
        auto owner = std::make_unique<int>(7);
        CHECK(*db.len().then([owner = std::move(owner)](Result<std::size_t>) mutable { return std::move(owner); }).get() == 7);
    }

    TEST_CASE("carries what user code throws") {
        auto db = AsyncEmdb::open_in_memory();
        struct Oops {};
        auto thrown = db.len().then([](Result<std::size_t>) -> int { throw Oops(); });
        bool called = false;
        auto after = thrown.then([&](int) { called = true; });
        CHECK_THROWS_AS(after.get(), Oops);
        CHECK_FALSE(called);
        CHECK_THROWS_AS((void)db.update("k", [](std::optional<std::string_view>) -> MaybeString { throw Oops(); }).get(), Oops);
        CHECK_THROWS_AS((void)db.transaction([](Transaction& tx) -> Result<void> {
            tx.insert("k", "v").value();
            throw Oops();
        }).get(), Oops);
        CHECK_THROWS_AS((void)db.visit_many({"k"}, [](std::size_t, std::optional<std::string_view>) { throw Oops(); }).get(), Oops);
        CHECK_FALSE(db.contains_key("k").get().value());
        CHECK_THROWS_AS((void)db.len().then([&](Result<std::size_t>) { return db.len().then([](Result<std::size_t>) -> int { throw Oops(); }); }).get(), Oops);
        auto coroutine = [](AsyncEmdb on, bool& caught, Latch& done) -> Detached {
            try {
                (void)co_await on.transaction([](Transaction&) -> Result<void> { throw Oops(); });
            } catch (const Oops&) {
                caught = true;
            }
            done.count_down();
        };
        bool caught = false;
        Latch done(1);
        coroutine(db, caught, done);
        done.wait();
        CHECK(caught);
    }

    TEST_CASE("that is ready does not suspend") {
        const auto executor = std::make_shared<ManualExecutor>();
        auto db = AsyncEmdb::from_sync(EmdbBuilder().executor(executor).build().value());
        auto stored = db.insert("k", "v");
        executor->run_all();
        bool finished = false;
        [](Future<Result<void>> future, bool& flag) -> Detached {
            (co_await future).value();
            flag = true;
        }(std::move(stored), finished);
        CHECK(finished);
        CHECK(executor->waiting() == 0);
    }

    TEST_CASE("resumes on the executor, in the task that completed it") {
        const auto executor = std::make_shared<ManualExecutor>();
        auto db = AsyncEmdb::from_sync(EmdbBuilder().executor(executor).build().value());
        int steps = 0;
        [](AsyncEmdb on, int& reached) -> Detached {
            reached = 1;
            (co_await on.insert("k", "v")).value();
            reached = 2;
            (co_await on.get("k")).value();
            reached = 3;
        }(db, steps);
        CHECK(steps == 1);
        executor->run_one();
        CHECK(steps == 2);
        executor->run_one();
        CHECK(steps == 3);
    }

    TEST_CASE("may be dropped: its call is made all the same") {
        const auto executor = std::make_shared<ManualExecutor>();
        auto db = AsyncEmdb::from_sync(EmdbBuilder().executor(executor).build().value());
        (void)db.insert("k", "v");
        (void)db.len().then([](Result<std::size_t>) {});
        executor->run_all();
        CHECK(db.sync_handle().get("k").value() == "v");
    }

    TEST_CASE("may be destroyed by its own callback") {
        auto db = AsyncEmdb::open_in_memory();
        for (int i = 0; i < 200; ++i) {
            auto future = std::make_shared<Future<void>>();
            Latch attached(1), done(1);
            *future = db.len().then([&, future](Result<std::size_t>) {
                attached.wait();
                *future = Future<void>();
                done.count_down();
            });
            attached.count_down();
            done.wait();
        }
    }

    TEST_CASE("lets a coroutine that waits be destroyed") {
        const auto executor = std::make_shared<ManualExecutor>();
        auto db = AsyncEmdb::from_sync(EmdbBuilder().executor(executor).build().value());
        const auto wait = [](Future<Result<void>> future, bool& resumed) -> Fiber {
            (void)co_await future;
            resumed = true;
        };
        bool resumed = false;
        SUBCASE("before the call is made") {
            Fiber fiber = wait(db.insert("k", "v"), resumed);
            fiber.destroy();
            executor->run_all();
        }
        SUBCASE("when it was to be resumed by a task of its own") {
            auto first = db.insert("k", "v");
            auto flushed = db.flush();  // completes its waiters by tasks
            Fiber fiber = wait(std::move(flushed), resumed);
            while (executor->waiting() > 0 && !resumed) {
                executor->run_one();
                if (executor->waiting() == 1 && db.sync_handle().contains_key("k").value()) break;
            }
            executor->run_one();
            fiber.destroy();
            executor->run_all();
        }
        CHECK(db.sync_handle().get("k").value() == "v");
    }

    TEST_CASE("makes long chains without piling up on the stack") {
        const auto executor = std::make_shared<ManualExecutor>();
        auto db = AsyncEmdb::from_sync(EmdbBuilder().executor(executor).build().value());
        constexpr int links = 100'000;
        auto chain = db.len().then([](Result<std::size_t>) { return 0; });
        for (int i = 0; i < links; ++i) chain = chain.then([](int n) { return n + 1; });
        executor->run_all();
        CHECK(chain.get() == links);
    }
}

TEST_SUITE("waiting in a task") {
    TEST_CASE("for other calls never blocks the pool for good") {
        auto db = AsyncEmdb::open_in_memory();
        db.insert("k", "v").get().value();
        std::vector<Future<std::size_t>> futures;
        for (int i = 0; i < 200; ++i) {
            futures.push_back(db.get("k").then([&db](Result<MaybeString>) {
                // The call in place, then one that waits for a chain, which takes another thread.
                const std::size_t n = db.get("k").get().value()->size();
                return n + db.get("k").then([](Result<MaybeString> v) { return v.value()->size(); }).get();
            }));
        }
        for (auto& future : futures) CHECK(future.get() == 2);
    }

    TEST_CASE("nests") {
        auto db = AsyncEmdb::open_in_memory();
        struct Nest {
            AsyncEmdb db;
            int operator()(int depth) const {
                if (depth == 0) return 0;
                return 1 + db.len().then([this, depth](Result<std::size_t>) { return (*this)(depth - 1); }).get();
            }
        } const nest{db};
        CHECK(nest(40) == 40);
    }

    TEST_CASE("works on an executor with one thread, for calls that nobody has begun") {
        const auto executor = std::make_shared<ManualExecutor>();
        auto db = AsyncEmdb::from_sync(EmdbBuilder().executor(executor).flush_policy(FlushPolicy::group()).build().value());
        auto nested = db.len().then([&db](Result<std::size_t>) {
            db.insert("k", "v").get().value();
            db.flush().get().value();
            return db.transaction([](Transaction& tx) -> Result<MaybeString> { return tx.get("k"); }).get().value();
        });
        executor->run_all();
        CHECK(nested.get() == "v");
    }

    TEST_CASE("a transaction keeps no reads waiting, however many writes wait for it") {
        auto db = AsyncEmdb::open_in_memory();
        db.insert("k", "v").get().value();
        Latch inside(1), go_on(1);
        auto transaction = db.transaction([&](Transaction& tx) -> Result<void> {
            inside.count_down();
            go_on.wait();
            return tx.insert("t", "1");
        });
        inside.wait();
        std::vector<Future<Result<void>>> writes;
        for (int i = 0; i < 100; ++i) writes.push_back(db.insert("w" + std::to_string(i), "v"));
        std::vector<Future<Result<std::size_t>>> transactions;
        for (int i = 0; i < 100; ++i) {
            transactions.push_back(db.transaction([](Transaction& tx) -> Result<std::size_t> {
                const std::size_t n = std::stoul(tx.get("n").value().value_or("0")) + 1;
                tx.insert("n", std::to_string(n)).value();
                return n;
            }));
        }
        for (int i = 0; i < 100; ++i) CHECK(db.get("k").get().value() == "v");
        CHECK_FALSE(transaction.is_ready());
        CHECK_FALSE(writes.front().is_ready());
        go_on.count_down();
        transaction.get().value();
        for (auto& write : writes) write.get().value();
        for (auto& each : transactions) each.get().value();
        CHECK(db.get("n").get().value() == "100");
        CHECK(db.len().get().value() == 103);
    }

    TEST_CASE("a transaction's closure reads, but its own writes are refused") {
        auto db = AsyncEmdb::open_in_memory();
        db.insert("k", "v").get().value();
        auto outcome = db.transaction([&db](Transaction& tx) -> Result<int> {
            CHECK(db.get("k").get().value() == "v");
            CHECK(db.insert("k", "w").get() == ErrorCode::invalid_argument);
            CHECK(db.flush().get() == ErrorCode::invalid_argument);
            CHECK(db.close().get() == ErrorCode::invalid_argument);
            CHECK(db.transaction([](Transaction&) -> Result<void> { return {}; }).get() == ErrorCode::invalid_argument);
            tx.insert("k", "x").value();
            return 1;
        });
        CHECK(outcome.get().value() == 1);
        CHECK(db.get("k").get().value() == "x");
        CHECK(db.transaction([](Transaction&) -> Result<void> { return Error::aborted("no"); }).get() == ErrorCode::transaction_aborted);
    }
}

Detached insert_and_flush(AsyncEmdb& db, int number, Latch& done) {
    (co_await db.insert("k" + std::to_string(number), "v")).value();
    (co_await db.flush()).value();
    done.count_down();
}

TEST_SUITE("durability") {
    TEST_CASE("flushes of many coroutines share syncs, and are durable when they return") {
        SimulatedDisk disk;
        const auto executor = std::make_shared<ManualExecutor>();
        constexpr int coroutines = 300;
        {
            auto db = open_over(disk, EmdbBuilder().flush_policy(FlushPolicy::group()).executor(executor));
            const std::size_t before = syncs(disk);
            Latch done(coroutines);
            for (int i = 0; i < coroutines; ++i) insert_and_flush(db, i, done);
            executor->run_all();
            CHECK(done.try_wait());
            CHECK(syncs(disk) - before <= 2);
            disk.cut_power();
        }
        SeededRandom random(3);
        SimulatedDisk rebooted(disk.crashed().random_outcome(random), {.seed = 4});
        auto db = open_over(rebooted, {});
        CHECK(db.len().get().value() == coroutines);
    }

    TEST_CASE("under on_each_flush every flush that finds something new has a sync of its own") {
        SimulatedDisk disk;
        const auto executor = std::make_shared<ManualExecutor>();
        auto db = open_over(disk, EmdbBuilder().executor(executor));
        write_first(db);
        const std::size_t before = syncs(disk);
        for (int i = 0; i < 5; ++i) {
            Latch done(1);
            insert_and_flush(db, i, done);
            executor->run_all();
            CHECK(done.try_wait());
        }
        CHECK(syncs(disk) - before == 5);
    }

    TEST_CASE("writes of write_through share syncs, too") {
        SimulatedDisk disk;
        const auto executor = std::make_shared<ManualExecutor>();
        constexpr int writes = 100;
        {
            auto db = open_over(disk, EmdbBuilder().flush_policy(FlushPolicy::write_through()).executor(executor));
            const std::size_t before = syncs(disk);
            std::vector<Future<Result<void>>> futures;
            for (int i = 0; i < writes; ++i) futures.push_back(db.insert("k" + std::to_string(i), "v"));
            CHECK(executor->run_one());
            CHECK_FALSE(futures.front().is_ready());  // made, and not durable yet
            executor->run_all();
            for (auto& future : futures) future.get().value();
            CHECK(syncs(disk) - before <= 2);

            // What user code writes inside a call is durable when that returns.
            Emdb sync = db.sync_handle();
            auto updated = db.update("k0", [&](std::optional<std::string_view>) {
                const std::size_t earlier = syncs(disk);
                sync.insert("inner", "v").value();
                CHECK(syncs(disk) == earlier + 1);
                return MaybeString("w");
            });
            executor->run_all();
            updated.get().value();
            disk.cut_power();
        }
        SeededRandom random(5);
        SimulatedDisk rebooted(disk.crashed().random_outcome(random), {.seed = 6});
        auto db = open_over(rebooted, {});
        CHECK(db.len().get().value() == writes + 1);
        CHECK(db.get("k0").get().value() == "w");
    }

    TEST_CASE("a failed sync reaches everybody who waited for it") {
        SimulatedDisk disk;
        const auto executor = std::make_shared<ManualExecutor>();
        for (const bool through : {false, true}) {
            const auto policy = through ? FlushPolicy::write_through() : FlushPolicy::group();
            SimulatedDisk fresh;
            auto db = open_over(fresh, EmdbBuilder().flush_policy(policy).executor(executor));
            write_first(db);
            std::vector<Future<Result<void>>> futures;
            fresh.fail({.only = Operation::sync});
            for (int i = 0; i < 10; ++i) futures.push_back(db.insert("k" + std::to_string(i), "v"));
            if (!through) {
                executor->run_all();
                for (auto& future : futures) future.get().value();
                for (auto& future : futures) future = db.flush();
            }
            executor->run_all();
            for (auto& future : futures) CHECK(future.get() == ErrorCode::io);
            auto later = db.insert("later", "v");
            auto read = db.get("k1");
            executor->run_all();
            CHECK(later.get() == ErrorCode::poisoned);
            CHECK(read.get().value() == "v");
        }
    }

    TEST_CASE("a thousand coroutines on the pool") {
        const TempFolder folder;
        constexpr int coroutines = 1000;
        {
            auto db = EmdbBuilder().path(folder.file("a.emdb")).flush_policy(FlushPolicy::group()).build_async().get().value();
            Latch done(coroutines);
            for (int i = 0; i < coroutines; ++i) insert_and_flush(db, i, done);
            done.wait();
        }
        CHECK(Emdb::open(folder.file("a.emdb")).value().len().value() == coroutines);
    }
}

}  // namespace
}  // namespace emdb_test
