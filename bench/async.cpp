// What the asynchronous interface costs over the synchronous one, and what many coroutines win by sharing syncs.
//
//   make build/bench/async && build/bench/async [--records N] [--rounds N] [--only ROW] [--dir FOLDER]
//
// Every contestant does its whole work once a round, in turn, odd rounds in reverse; the first round is not counted. Medians by the
// wall clock, and medians of the ratios of the same round.
//
//   get        one key that stays in the cache. Synchronously; with 64 coroutines that each await one get after the other; and with
//              64 futures that one thread takes in turn. Each has 24 + 150 bytes.
//   get_many   64 keys a call out of all records; asynchronously by 4 coroutines
//   flush      under FlushPolicy::group: one thread that inserts and flushes, against 1,000 coroutines that each do so 20 times
//   stream     all records: iter() against iter_stream() in a coroutine and with next_blocking()
#define EMDB_ASYNC 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <filesystem>
#include <latch>
#include <string>
#include <string_view>
#include <vector>

#include "support/temporary_folder.hpp"
#include "support/timing.hpp"
#include "support/workload.hpp"

namespace {

using bench::as_double;
using bench::Clock;
using bench::nanoseconds;

/// A coroutine that nobody waits for; it says itself that it is done.
struct Detached {
    struct promise_type {
        Detached get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

void check(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "%s\n", what);
    std::exit(1);
}

/// Starts `count` coroutines start(i, done) that each count `done` down, and waits for them all: nanoseconds an operation.
template <class Start> double time_coroutines(std::size_t count, std::size_t operations, Start&& start) {
    std::latch done(static_cast<std::ptrdiff_t>(count));
    const auto begun = Clock::now();
    for (std::size_t i = 0; i < count; ++i) start(i, done);
    done.wait();
    return nanoseconds(Clock::now() - begun) / as_double(operations);
}

constexpr std::size_t outstanding = 64;

Detached get_often(const emdb::AsyncEmdb& db, emdb::Bytes key, std::size_t times, std::latch& done) {
    for (std::size_t i = 0; i < times; ++i) check((co_await db.get(key)).value().has_value(), "the hot key is gone");
    done.count_down();
}

double get_with_futures(const emdb::AsyncEmdb& db, emdb::Bytes key, std::size_t times) {
    std::deque<emdb::Future<emdb::Result<std::optional<std::string>>>> futures;
    const auto begun = Clock::now();
    for (std::size_t i = 0; i < times + outstanding; ++i) {
        if (i >= outstanding) {
            check(futures.front().get().value().has_value(), "the hot key is gone");
            futures.pop_front();
        }
        if (i < times) futures.push_back(db.get(key));
    }
    return nanoseconds(Clock::now() - begun) / as_double(times);
}

using Keys = std::vector<emdb::Bytes>;
constexpr std::size_t keys_a_call = 64;

Detached get_many_often(const emdb::AsyncEmdb& db, const Keys& keys, std::atomic<std::size_t>& next, std::latch& done) {
    for (std::size_t i; (i = next.fetch_add(keys_a_call)) + keys_a_call <= keys.size();) {
        const auto values = (co_await db.get_many(std::span(keys).subspan(i, keys_a_call))).value();
        check(values.back().has_value(), "a key is gone");
    }
    done.count_down();
}

Detached insert_and_flush(emdb::AsyncEmdb& db, std::size_t number, std::size_t times, std::latch& done) {
    const std::string value(bench::value_size, 'v');
    for (std::size_t i = 0; i < times; ++i) {
        (co_await db.insert("coroutine " + std::to_string(number) + " " + std::to_string(i), value)).value();
        (co_await db.flush()).value();
    }
    done.count_down();
}

Detached read_stream(emdb::Stream<emdb::Record> stream, std::size_t& bytes, std::latch& done) {
    while (const auto record = (co_await stream.next()).value()) bytes += record->key.size() + record->value.size();
    done.count_down();
}

void row(const char* what, const bench::Samples& sync, const bench::Samples& async, const char* bar) {
    const bench::Samples ratios = bench::pairwise(sync, async);
    std::printf("%-42s %9.0f ns %9.0f ns   %6.2f x (%.2f .. %.2f)   %s\n", what, bench::median(sync), bench::median(async),
                bench::median(ratios), bench::quantile(ratios, 0.25), bench::quantile(ratios, 0.75), bar);
    std::fflush(stdout);
}

void measure_gets(const emdb::AsyncEmdb& db, emdb::Bytes key, std::size_t rounds) {
    constexpr std::size_t gets = 512'000;
    const emdb::Emdb sync = db.sync_handle();
    bench::Rounds contest;
    contest.add("sync", [&] {
        const auto begun = Clock::now();
        for (std::size_t i = 0; i < gets; ++i) check(sync.get(key).value().has_value(), "the hot key is gone");
        return nanoseconds(Clock::now() - begun) / as_double(gets);
    });
    contest.add("coroutines", [&] {
        return time_coroutines(outstanding, gets, [&](std::size_t, std::latch& done) { get_often(db, key, gets / outstanding, done); });
    });
    contest.add("futures", [&] { return get_with_futures(db, key, gets); });
    contest.run(rounds);
    row("get: sync, 64 coroutines", contest["sync"], contest["coroutines"], "bar: 1000 ns more at most");
    row("get: sync, 64 futures", contest["sync"], contest["futures"], "bar: 1000 ns more at most");
}

void measure_get_many(const emdb::AsyncEmdb& db, const Keys& keys, std::size_t rounds) {
    const emdb::Emdb sync = db.sync_handle();
    bench::Rounds contest;
    contest.add("sync", [&] {
        const auto begun = Clock::now();
        for (std::size_t i = 0; i + keys_a_call <= keys.size(); i += keys_a_call) {
            check(sync.get_many(std::span(keys).subspan(i, keys_a_call)).value().back().has_value(), "a key is gone");
        }
        return nanoseconds(Clock::now() - begun) / as_double(keys.size());
    });
    for (const std::size_t coroutines : {1, 4}) {
        contest.add(std::to_string(coroutines), [&, coroutines] {
            std::atomic<std::size_t> next = 0;
            return time_coroutines(coroutines, keys.size(), [&](std::size_t, std::latch& done) { get_many_often(db, keys, next, done); });
        });
    }
    contest.run(rounds);
    row("get_many, a key: sync, 1 coroutine", contest["sync"], contest["1"], "bar: 0.8 x");
    row("get_many, a key: sync, 4 coroutines", contest["sync"], contest["4"], "bar: 0.8 x");
}

void measure_flushes(const std::filesystem::path& folder, std::size_t rounds) {
    auto db = emdb::EmdbBuilder().path(folder / "flushes.emdb").flush_policy(emdb::FlushPolicy::group()).build_async().get().value();
    emdb::Emdb sync = db.sync_handle();
    const std::string value(bench::value_size, 'v');
    bench::Rounds contest;
    contest.add("sync", [&] {
        constexpr std::size_t flushes = 1000;
        const auto begun = Clock::now();
        for (std::size_t i = 0; i < flushes; ++i) {
            sync.insert("thread " + std::to_string(i), value).value();
            sync.flush().value();
        }
        return nanoseconds(Clock::now() - begun) / as_double(flushes);
    });
    contest.add("coroutines", [&] {
        constexpr std::size_t coroutines = 1000;
        constexpr std::size_t times = 20;
        return time_coroutines(coroutines, coroutines * times,
                               [&](std::size_t i, std::latch& done) { insert_and_flush(db, i, times, done); });
    });
    contest.run(rounds);
    row("insert + flush: 1 thread, 1000 coroutines", contest["sync"], contest["coroutines"], "bar: 20 x");
}

void measure_streams(const emdb::AsyncEmdb& db, std::size_t records, std::size_t rounds) {
    const emdb::Emdb sync = db.sync_handle();
    std::size_t sums[3] = {};
    bench::Rounds contest;
    contest.add("sync", [&] {
        sums[0] = 0;
        const auto begun = Clock::now();
        auto all = sync.iter().value();
        for (const auto& [key, value] : all) sums[0] += key.size() + value.size();
        return nanoseconds(Clock::now() - begun) / as_double(records);
    });
    contest.add("coroutine", [&] {
        sums[1] = 0;
        return time_coroutines(1, records, [&](std::size_t, std::latch& done) { read_stream(db.iter_stream(), sums[1], done); });
    });
    contest.add("blocking", [&] {
        sums[2] = 0;
        const auto begun = Clock::now();
        auto stream = db.iter_stream();
        while (const auto record = stream.next_blocking().value()) sums[2] += record->key.size() + record->value.size();
        return nanoseconds(Clock::now() - begun) / as_double(records);
    });
    contest.run(rounds);
    check(sums[0] == sums[1] && sums[0] == sums[2], "a stream has other records than the iterator");
    row("a record: iter(), stream in a coroutine", contest["sync"], contest["coroutine"], "bar: 0.5 x");
    row("a record: iter(), stream, next_blocking()", contest["sync"], contest["blocking"], "bar: 0.5 x");
}

}  // namespace

int main(int count, char** arguments) {
    std::size_t records = 1'000'000;
    std::size_t rounds = 7;
    std::string_view only;
    std::filesystem::path parent = std::filesystem::temp_directory_path();
    for (int i = 1; i + 1 < count; i += 2) {
        const std::string_view option = arguments[i];
        if (option == "--records") records = std::strtoull(arguments[i + 1], nullptr, 10);
        if (option == "--rounds") rounds = std::strtoull(arguments[i + 1], nullptr, 10);
        if (option == "--only") only = arguments[i + 1];
        if (option == "--dir") parent = arguments[i + 1];
    }
    const bench::TemporaryFolder folder(parent);
    const auto wanted = [&](std::string_view name) { return only.empty() || only == name; };

    std::printf("%zu records, %zu rounds; medians, and the median of the ratios (quartiles) of their speed\n", records, rounds);
    if (wanted("flush")) measure_flushes(folder.path(), rounds);
    const bench::Workload workload(records);
    auto db = emdb::AsyncEmdb::open(folder.path() / "async.emdb").get().value();
    db.sync_handle().insert_many(workload.pairs()).value();
    if (wanted("get")) measure_gets(db, workload.present().front(), rounds);
    if (wanted("get_many")) measure_get_many(db, workload.present(), rounds);
    if (wanted("stream")) measure_streams(db, records, rounds);
    return 0;
}
