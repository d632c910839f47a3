// Streams: records one by one, in bounded memory, for coroutines and for threads.
//
//   make build/examples/streaming && build/examples/streaming
#define EMDB_ASYNC 1  // the same in every file of a program
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <coroutine>
#include <cstdio>
#include <exception>
#include <latch>
#include <string>
#include <utility>
#include <vector>

struct Detached {
    struct promise_type {
        Detached get_return_object() { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { std::terminate(); }
    };
};

Detached add_up(emdb::Stream<emdb::Record> records, std::size_t& bytes, std::latch& done) {
    for (;;) {
        auto record = co_await records.next();
        if (!record) {  // the last item, if reading failed
            std::fprintf(stderr, "%s\n", record.error().message().c_str());
            break;
        }
        if (!*record) break;  // the end
        bytes += (*record)->key.size() + (*record)->value.size();
    }
    done.count_down();
}

int main() {
    auto opened = emdb::Emdb::builder().enable_range_scans(true).stream_depth(16).build_async().get();
    auto db = std::move(opened).value();
    std::vector<std::pair<std::string, std::string>> readings;
    for (int hour = 10; hour < 24; ++hour) readings.emplace_back("reading/" + std::to_string(hour), std::string(100, 'x'));
    db.insert_many(readings).get().value();

    std::size_t bytes = 0;
    std::latch done(1);
    add_up(db.iter_stream(), bytes, done);
    done.wait();
    std::printf("%zu bytes in all records\n", bytes);

    // In order, on a thread that may block.
    auto evening = db.range_stream(emdb::Range::from("reading/18"));
    std::size_t count = 0;
    while (const auto reading = evening.next_blocking().value()) ++count;
    std::printf("%zu readings in the evening\n", count);

    // A stream that is dropped half-way stops reading.
    {
        auto keys = db.keys_stream();
        if (const auto first = keys.next_blocking().value()) std::printf("one of them: %s\n", first->c_str());
    }
    return bytes == 14 * 110 && count == 6 ? 0 : 1;
}
