// emdb on an event loop of Asio's, through the adapter of examples/async_asio. Skipped where Asio is not installed, or is
// too old for the compiler's coroutines (1.22 with Clang 14).

#include <doctest/doctest.h>

#if !__has_include(<asio.hpp>)

TEST_CASE("asynchronous calls on Asio's event loop: Asio is not installed (on Debian: libasio-dev)" * doctest::skip()) {}

#else

#include <asio.hpp>

#if !defined(ASIO_HAS_CO_AWAIT)

TEST_CASE("asynchronous calls on Asio's event loop: this Asio has no coroutines with this compiler" * doctest::skip()) {}

#else

#define EMDB_ASYNC 1
#define EMDB_IMPLEMENTATION
#include "../examples/async_asio/emdb_asio.hpp"

// GCC 12 sees the operator delete of Asio's coroutine frames, and not that their operator new goes with it.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

namespace emdb_test {
namespace {

using asio::awaitable;
using emdb::AsyncEmdb;
using emdb::EmdbBuilder;
using emdb::ErrorCode;
using emdb::FlushPolicy;
using emdb::Future;
using emdb::Result;
using emdb::Transaction;

AsyncEmdb open_on(asio::io_context& loop) {
    return AsyncEmdb::from_sync(EmdbBuilder().executor(AsioExecutor{loop.get_executor()}).flush_policy(FlushPolicy::group()).build().value());
}

void rethrow(const std::exception_ptr& thrown) {
    if (thrown) std::rethrow_exception(thrown);
}

TEST_SUITE("on Asio's event loop") {
    TEST_CASE("everything happens on the loop's thread") {
        asio::io_context loop;
        auto db = open_on(loop);
        bool finished = false;
        const auto this_thread = std::this_thread::get_id();
        const auto work = [&]() -> awaitable<void> {
            (co_await outcome_of(db.insert("k", "v"))).value();
            CHECK(std::this_thread::get_id() == this_thread);
            CHECK((co_await outcome_of(db.get("k"))).value() == "v");
            std::thread::id closure;
            (co_await outcome_of(db.transaction([&](Transaction& tx) -> Result<void> {
                closure = std::this_thread::get_id();
                return tx.insert("t", "v");
            }))).value();
            CHECK(closure == this_thread);
            auto stream = db.iter_stream();
            std::size_t items = 0;
            while ((co_await outcome_of(stream.next().future())).value()) ++items;
            CHECK(items == 2);
            (co_await outcome_of(db.flush())).value();
            finished = true;
        };
        asio::co_spawn(loop, work(), rethrow);
        loop.run();
        CHECK(finished);
    }

    TEST_CASE("one thread serves a thousand coroutines that flush") {
        asio::io_context loop;
        auto db = open_on(loop);
        int finished = 0;
        const auto work = [&](int number) -> awaitable<void> {
            (co_await outcome_of(db.insert(std::to_string(number), "v"))).value();
            (co_await outcome_of(db.flush())).value();
            ++finished;
        };
        for (int i = 0; i < 1000; ++i) asio::co_spawn(loop, work(i), rethrow);
        loop.run();
        CHECK(finished == 1000);
    }

    TEST_CASE("several threads may run the loop") {
        asio::io_context loop;
        auto db = open_on(loop);
        const auto count_up = [&]() -> awaitable<void> {
            for (int i = 0; i < 200; ++i) {
                (co_await outcome_of(db.update("n", [](std::optional<std::string_view> n) {
                    return std::optional(std::to_string(n ? std::stoi(std::string(*n)) + 1 : 1));
                }))).value();
            }
        };
        for (int i = 0; i < 4; ++i) asio::co_spawn(loop, count_up(), rethrow);
        std::thread second([&] { loop.run(); });
        loop.run();
        second.join();
        CHECK(db.sync_handle().get("n").value() == "800");
    }

    TEST_CASE("what a closure throws arrives in the coroutine") {
        asio::io_context loop;
        auto db = open_on(loop);
        std::string caught;
        const auto work = [&]() -> awaitable<void> {
            try {
                (void)co_await outcome_of(db.transaction([](Transaction&) -> Result<void> { throw std::runtime_error("from the closure"); }));
            } catch (const std::runtime_error& error) {
                caught = error.what();
            }
        };
        asio::co_spawn(loop, work(), rethrow);
        loop.run();
        CHECK(caught == "from the closure");
    }

    TEST_CASE("a loop that is destroyed stops what it was given") {
        Future<Result<void>> stored;
        Future<int> chained;
        std::optional<AsyncEmdb> db;
        {
            asio::io_context loop;
            db = open_on(loop);
            stored = db->insert("k", "v");
            chained = db->len().then([](Result<std::size_t> n) { return n ? 1 : 2; });
        }
        CHECK(stored.get() == ErrorCode::stopped);
        CHECK(chained.get() == 2);
    }

    TEST_CASE("a loop that is destroyed resumes the coroutines that wait for emdb") {
        bool stopped = false;
        std::optional<AsyncEmdb> db;
        {
            asio::io_context loop;
            db = open_on(loop);
            const auto work = [&]() -> awaitable<void> {
                stopped = co_await outcome_of(db->insert("k", "v")) == ErrorCode::stopped;
            };
            asio::co_spawn(loop, work(), asio::detached);
            loop.run_one();  // up to the first co_await
            CHECK_FALSE(stopped);
        }
        CHECK(stopped);
    }
}

}  // namespace
}  // namespace emdb_test

#endif
#endif
