// Streams: complete, bounded, stopped at once. A program of its own, since EMDB_ASYNC is off by default.

#define EMDB_ASYNC 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/coroutines.hpp"
#include "support/latch.hpp"

namespace emdb_test {
namespace {

using emdb::AsyncEmdb;
using emdb::EmdbBuilder;
using emdb::Error;
using emdb::ErrorCode;
using emdb::Range;
using emdb::Record;
using emdb::RecordView;
using emdb::Result;
using emdb::Stream;
using emdb::detail::Channel;
using emdb::detail::RecordSource;
using emdb::detail::Ref;

AsyncEmdb filled(std::size_t depth, int records, std::shared_ptr<emdb::Executor> executor = nullptr) {
    auto db = EmdbBuilder().enable_range_scans(true).stream_depth(depth).executor(std::move(executor)).build().value();
    for (int i = 0; i < records; ++i) db.insert("k" + std::to_string(1000 + i), "v" + std::to_string(i)).value();
    return AsyncEmdb::from_sync(db);
}

template <class T>
std::vector<T> drain(Stream<T> stream) {
    std::vector<T> items;
    while (auto item = stream.next_blocking().value()) items.push_back(*std::move(item));
    CHECK_FALSE(stream.next_blocking().value().has_value());
    return items;
}

template <class T>
Detached collect(Stream<T> stream, std::vector<T>& items, Latch& done) {
    for (;;) {
        Result<std::optional<T>> item = co_await stream.next();
        if (!item.value()) break;
        items.push_back(**std::move(item));
    }
    Result<std::optional<T>> end = co_await stream.next();
    CHECK_FALSE(end.value().has_value());
    done.count_down();
}

template <class T>
std::vector<T> drain_in_coroutine(Stream<T> stream) {
    std::vector<T> items;
    Latch done(1);
    collect(std::move(stream), items, done);
    done.wait();
    return items;
}

std::vector<Record> sorted(std::vector<Record> records) {
    std::sort(records.begin(), records.end(), [](const Record& a, const Record& b) { return a.key < b.key; });
    return records;
}

/// Counts what is read; can be made to fail, to be slow, and to wait.
struct Tap {
    std::atomic<int> read{0};
    std::atomic<bool> destroyed{false};
    std::atomic<int> slow_us{0};
    int records = 1000;
    bool fails_at_end = false;

    std::mutex mutex;
    std::condition_variable changed;
    int allowed = 1 << 30;
    int blocked = 0;
    void allow(int more) {
        const std::lock_guard lock(mutex);
        allowed = more;
        changed.notify_all();
    }
    void wait_until_blocked() {
        std::unique_lock lock(mutex);
        changed.wait(lock, [this] { return blocked > 0; });
    }
};

class TappedSource final : public RecordSource {
  public:
    explicit TappedSource(Tap& tap) : tap_(tap) {}
    ~TappedSource() override { tap_.destroyed = true; }
    bool next(RecordView& record) override {
        if (tap_.read == tap_.records) return false;
        if (tap_.slow_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(tap_.slow_us));
        {
            std::unique_lock lock(tap_.mutex);
            ++tap_.blocked;
            tap_.changed.notify_all();
            tap_.changed.wait(lock, [this] { return tap_.read < tap_.allowed; });
            --tap_.blocked;
        }
        key_ = std::to_string(++tap_.read);
        record = {key_, "v"};
        return true;
    }
    Result<void> status() const override {
        if (tap_.fails_at_end) return Error(ErrorCode::corrupted, "damaged").with_offset(77);
        return {};
    }

  private:
    Tap& tap_;
    std::string key_;
};

Ref<Channel<std::string>> open_channel(Tap& tap, std::size_t depth, std::shared_ptr<emdb::Executor> executor = nullptr) {
    return Ref<Channel<std::string>>(
        new Channel<std::string>(std::unique_ptr<RecordSource>(std::make_unique<TappedSource>(tap)), std::move(executor), depth));
}

TEST_SUITE("a stream") {
    TEST_CASE("has every item once, whatever its depth") {
        for (const std::size_t depth : {1, 2, 3, 7, 64, 1000}) {
            for (const int records : {0, 1, 2, 63, 64, 65, 500}) {
                CAPTURE(depth);
                CAPTURE(records);
                auto db = filled(depth, records);
                const auto expected = db.range(Range::all()).get().value();
                CHECK(sorted(drain(db.iter_stream())) == expected);
                CHECK(sorted(drain_in_coroutine(db.iter_stream())) == expected);
                const auto keys = drain(db.keys_stream());
                CHECK(std::set<std::string>(keys.begin(), keys.end()).size() == expected.size());
                CHECK(drain(db.range_stream(Range::all())) == expected);
                CHECK(drain_in_coroutine(db.range_stream(Range::all())) == expected);
            }
        }
    }

    TEST_CASE("of a range") {
        auto db = filled(4, 20);
        CHECK(drain(db.range_stream(Range::half_open("k1003", "k1005"))) == db.range(Range::half_open("k1003", "k1005")).get().value());
        CHECK(drain(db.range_prefix_stream("k101")).size() == 10);
        CHECK(drain(db.iter_from_stream("k1018")).size() == 2);
        CHECK(drain(db.iter_after_stream("k1018")).size() == 1);
        auto names = db.open_namespace("names").get().value();
        names.insert("n", "v").get().value();
        CHECK(drain(names.iter_stream()) == std::vector<Record>{{"n", "v"}});
    }

    TEST_CASE("tells what is wrong as its last item") {
        auto db = AsyncEmdb::open_in_memory();
        auto unordered = db.range_stream(Range::all());
        CHECK(unordered.next_blocking() == ErrorCode::invalid_config);
        CHECK_FALSE(unordered.next_blocking().value().has_value());
        db.close().get().value();
        auto closed = db.iter_stream();
        CHECK(closed.next().get() == ErrorCode::stopped);

        Tap tap;
        tap.records = 10;
        tap.fails_at_end = true;
        for (const std::size_t depth : {1, 4, 64}) {
            tap.read = 0;
            const auto channel = open_channel(tap, depth);
            for (int i = 1; i <= 10; ++i) CHECK(channel->next_blocking().value() == std::to_string(i));
            const auto failed = channel->next_blocking();
            REQUIRE_FALSE(failed.has_value());
            CHECK(failed.error().offset() == 77);
            CHECK_FALSE(channel->next_blocking().value().has_value());
            CHECK_FALSE(channel->next().get().value().has_value());
        }
    }

    TEST_CASE("goes on when its database is gone") {
        auto db = filled(8, 200);
        auto stream = db.iter_stream();
        auto waiting = stream.next().future();
        {
            const auto dropped = std::move(db);
        }
        CHECK(waiting.get().value().has_value());
        CHECK(drain(std::move(stream)).size() == 199);
    }

    TEST_CASE("is read by one next() at a time, and by then") {
        const auto executor = std::make_shared<ManualExecutor>();
        auto db = filled(8, 10, executor);
        auto stream = db.iter_stream();
        auto first = stream.next().future();
        CHECK(stream.next().future().get() == ErrorCode::invalid_argument);
        CHECK(stream.next_blocking() == ErrorCode::invalid_argument);
        CHECK(executor->run_all() >= 1);
        CHECK(first.get().value().has_value());
        CHECK(stream.next().then([](Result<std::optional<Record>> item) { return item.value().has_value(); }).is_ready() == false);
        executor->run_all();
        CHECK(drain(std::move(stream)).size() == 8);
    }
}

TEST_SUITE("a stream is bounded") {
    TEST_CASE("in how long it keeps a thread that others share") {
        Tap tap;
        tap.records = 20'000;
        const auto executor = std::make_shared<ManualExecutor>();
        Stream<std::string> stream = emdb::detail::StreamAccess<std::string>::wrap(open_channel(tap, 64, executor));
        std::vector<std::string> items;
        Latch done(1);
        collect(std::move(stream), items, done);
        CHECK(executor->run_all() >= 5);
        CHECK(done.try_wait());
        CHECK(items.size() == 20'000);
    }

    TEST_CASE("a consumer that does nothing keeps the reader at the bound") {
        for (const std::size_t depth : {1, 2, 3, 5, 64}) {
            CAPTURE(depth);
            Tap tap;
            tap.slow_us = 30;  // so slow that it is read ahead
            const auto executor = std::make_shared<ManualExecutor>();
            const auto channel = open_channel(tap, depth, executor);
            CHECK(tap.read == 0);
            int taken = 0;
            std::size_t most = 0;
            while (taken < 300) {
                auto next = channel->next();
                executor->run_all();  // as much as it wants to
                CHECK(next.get().value().has_value());
                ++taken;
                executor->run_all();
                most = std::max(most, static_cast<std::size_t>(tap.read - taken));
            }
            CHECK(most <= depth);
            if (depth == 64) CHECK(most > 32);  // it does read ahead
            channel->stop();
        }
    }

    TEST_CASE("on the pool, with consumers of changing speed") {
        for (const std::size_t depth : {1, 4, 64}) {
            Tap tap;
            const auto channel = open_channel(tap, depth);
            std::atomic<int> taken = 0;
            Latch done(1);
            std::size_t most = 0;
            [](Ref<Channel<std::string>> from, Tap& source, std::atomic<int>& count, std::size_t& ahead, Latch& end) -> Detached {
                for (;;) {
                    source.slow_us = count % 100 < 20 ? 50 : 0;
                    const auto item = (co_await from->next()).value();
                    if (!item) break;
                    CHECK(*item == std::to_string(count + 1));
                    ++count;
                    if (count % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
                    ahead = std::max(ahead, static_cast<std::size_t>(source.read - count));
                }
                end.count_down();
            }(channel, tap, taken, most, done);
            done.wait();
            CHECK(taken == 1000);
            CHECK(most <= depth);
            CHECK(tap.destroyed);
        }
    }

    TEST_CASE("when it blocks, next_blocking waits for a reader that is at it") {
        Tap tap;
        tap.records = 8;
        tap.allow(0);
        const auto channel = open_channel(tap, 8);
        auto first = channel->next();
        tap.wait_until_blocked();
        std::thread consumer([&] {
            CHECK(first.get().value() == "1");
            for (int i = 2; i <= 8; ++i) CHECK(channel->next_blocking().value() == std::to_string(i));
            CHECK_FALSE(channel->next_blocking().value().has_value());
        });
        tap.allow(8);
        consumer.join();
    }
}

TEST_SUITE("a destroyed stream") {
    TEST_CASE("stops its reader at once, and lets go of what it reads") {
        SUBCASE("that waits for the consumer") {
            Tap tap;
            tap.slow_us = 30;
            const auto executor = std::make_shared<ManualExecutor>();
            const auto channel = open_channel(tap, 64, executor);
            auto first = channel->next();
            executor->run_all();
            CHECK(first.get().value().has_value());
            const int read = tap.read;
            channel->stop();
            CHECK(tap.destroyed);
            executor->run_all();
            CHECK(tap.read == read);
        }
        SUBCASE("that has been posted and not begun") {
            Tap tap;
            const auto executor = std::make_shared<ManualExecutor>();
            auto channel = open_channel(tap, 64, executor);
            auto first = channel->next();
            channel->stop();
            channel = {};
            CHECK(tap.destroyed);
            executor->run_all();
            CHECK(first.get() == ErrorCode::stopped);
            CHECK(tap.read == 0);
        }
        SUBCASE("that is reading") {
            Tap tap;
            tap.allow(3);
            auto channel = open_channel(tap, 64);
            auto first = channel->next();
            while (tap.read < 3) std::this_thread::yield();
            tap.wait_until_blocked();
            channel->stop();
            channel = {};
            CHECK(first.get() == ErrorCode::stopped);  // at once, though the reader is stuck
            CHECK_FALSE(tap.destroyed);
            tap.allow(1000);
            while (!tap.destroyed) std::this_thread::yield();
            CHECK(tap.read == 4);
        }
        SUBCASE("directly") {
            Tap tap;
            {
                const auto channel = open_channel(tap, 64);
                for (int i = 0; i < 5; ++i) CHECK(channel->next_blocking().value().has_value());
                channel->stop();
                CHECK(tap.destroyed);
            }
            CHECK(tap.read == 5);
        }
    }

    TEST_CASE("wakes a coroutine that waits for it") {
        const auto executor = std::make_shared<ManualExecutor>();
        auto db = filled(8, 10, executor);
        bool stopped = false;
        {
            auto stream = db.iter_stream();
            [](Stream<Record>& from, bool& told) -> Detached { told = co_await from.next() == ErrorCode::stopped; }(stream, stopped);
        }
        executor->run_all();
        CHECK(stopped);
    }

    TEST_CASE("by the coroutine that waits for it") {
        const auto executor = std::make_shared<ManualExecutor>();
        auto db = filled(8, 10, executor);
        bool resumed = false;
        {
            Fiber fiber = [](Stream<Record> stream, bool& went_on) -> Fiber {
                (void)co_await stream.next();
                went_on = true;
            }(db.iter_stream(), resumed);
        }
        executor->run_all();
        CHECK_FALSE(resumed);
    }

    TEST_CASE("at any time, on the pool") {
        auto db = filled(8, 500);
        for (unsigned i = 0; i < 300; ++i) {
            Latch done(1);
            [](Stream<Record> stream, unsigned items, Latch& end) -> Detached {
                {
                    Stream<Record> mine = std::move(stream);
                    for (unsigned n = 0; n < items; ++n) (void)co_await mine.next();
                }
                end.count_down();
            }(db.iter_stream(), i % 20, done);
            auto other = db.iter_stream();
            auto pending = other.next().future();
            other = db.iter_stream();
            const auto outcome = pending.get();
            CHECK((outcome.has_value() || outcome == ErrorCode::stopped));
            done.wait();
        }
    }
}

}  // namespace
}  // namespace emdb_test
