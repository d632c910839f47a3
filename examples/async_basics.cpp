// Calls that return at once: futures, chains, coroutines.
//
//   make build/examples/async_basics && build/examples/async_basics
#define EMDB_ASYNC 1  // the same in every file of a program
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <coroutine>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <latch>
#include <optional>
#include <string>
#include <vector>

// The least a coroutine type can be: started at once, waited for by nobody. Any other will do as well.
struct Detached {
    struct promise_type {
        Detached get_return_object() { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { std::terminate(); }
    };
};

// One of a thousand clients. While it waits for the disk, no thread does; all of them share a few syncs.
Detached serve(emdb::AsyncEmdb& db, int client, std::latch& done) {
    const std::string key = "client " + std::to_string(client);
    auto stored = co_await db.insert(key, "hello");
    if (stored) stored = co_await db.flush();
    if (!stored) std::fprintf(stderr, "%s\n", stored.error().message().c_str());
    done.count_down();
}

int main() {
    const auto folder = std::filesystem::temp_directory_path() / "emdb-example-async-basics";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    const auto file = folder / "app.emdb";
    bool right = true;
    {
        auto db = emdb::Emdb::builder().path(file).flush_policy(emdb::FlushPolicy::group()).build_async().get().value();

        // get() blocks until the call is done.
        db.insert("name", "emdb").get().value();
        std::printf("name: %s\n", db.get("name").get().value()->c_str());

        // Several calls under way together.
        std::vector<emdb::Future<emdb::Result<std::optional<std::string>>>> values;
        for (const char* key : {"name", "none"}) values.push_back(db.get(key));
        for (auto& value : values) std::printf("%s\n", value.get().value().value_or("(absent)").c_str());

        // then() goes on when the outcome is there; a future that it returns is awaited.
        auto length = db.get("name")
                                .then([&](auto name) { return db.insert("copy", *name.value()); })
                                .then([&](auto) { return db.get("copy"); })
                                .then([](auto copy) { return copy.value()->size(); });
        std::printf("the copy has %zu bytes\n", length.get());

        // A transaction's closure runs in the pool. What it throws comes out of get() or co_await.
        auto renamed = db.transaction([](emdb::Transaction& tx) -> emdb::Result<bool> {
            auto name = tx.remove("name");
            if (!name) return name.error();
            if (!*name) return false;
            if (auto stored = tx.insert("new name", **name); !stored) return stored.error();
            return true;
        });
        std::printf("renamed: %s\n", renamed.get().value() ? "yes" : "no");

        constexpr int clients = 1000;
        std::latch done(clients);
        for (int client = 0; client < clients; ++client) serve(db, client, done);
        done.wait();

        const std::size_t records = db.len().get().value();
        std::printf("%zu records\n", records);
        right = records == clients + 2;
        db.close().get().value();  // or drop the last handle
    }
    std::filesystem::remove_all(folder);
    return right ? 0 : 1;
}
