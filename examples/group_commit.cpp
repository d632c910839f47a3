// Several threads whose writes must be on the disk before they go on. When to use FlushPolicy::group: exactly then. Calls of
// `flush` that come at the same time share one sync of the disk instead of queueing for one each. With one thread it is the
// same as the default, FlushPolicy::on_each_flush.
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

namespace {

constexpr int thread_count = 8;
constexpr int orders_per_thread = 25;

bool take_orders(const std::filesystem::path& file, const char* name, emdb::FlushPolicy policy) {
    std::atomic<int> failures = 0;
    const auto start = std::chrono::steady_clock::now();
    {
        auto db = emdb::Emdb::builder().path(file).flush_policy(policy).build().value();
        std::vector<std::jthread> threads;
        for (int thread = 0; thread < thread_count; ++thread) {
            threads.emplace_back([db, thread, &failures]() mutable {  // handles are cheap to copy and share one engine
                for (int i = 0; i < orders_per_thread; ++i) {
                    const std::string key = std::to_string(thread) + "/" + std::to_string(i);
                    const bool durable = db.insert(key, "an order").and_then([&db] { return db.flush(); }).has_value();
                    if (!durable) ++failures;  // else it is time to tell the customer
                }
            });
        }
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("%-14s %6.0f durable orders/s\n", name, thread_count * orders_per_thread / seconds.count());
    const auto db = emdb::Emdb::open(file).value();
    return failures == 0 && db.len().value() == thread_count * orders_per_thread;
}

}  // namespace

int main() {
    const auto folder = std::filesystem::temp_directory_path() / "emdb-example-group-commit";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    const bool each = take_orders(folder / "each.emdb", "on_each_flush", emdb::FlushPolicy::on_each_flush());
    const bool group = take_orders(folder / "group.emdb", "group", emdb::FlushPolicy::group());
    std::filesystem::remove_all(folder);
    std::puts(each && group ? "ok" : "FAILED");
    return each && group ? 0 : 1;
}
