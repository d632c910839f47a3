// A key-value service on the loopback interface, on Asio's threads alone: a thousand requests of ten clients, then it ends.
//
//   apt-get install libasio-dev
//   make build/examples/async_asio && build/examples/async_asio
//
// One line a request: "set KEY VALUE", "get KEY", "sync" (durable from here on). One line an answer.
#if __has_include(<asio.hpp>)
#include <asio.hpp>
#endif
#if !defined(ASIO_HAS_CO_AWAIT)

#include <cstdio>

int main() { std::puts("needs Asio with coroutines: on Debian, apt-get install libasio-dev, and build this with GCC"); }

#else

#define EMDB_ASYNC 1
#define EMDB_IMPLEMENTATION
#include "emdb_asio.hpp"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>

using asio::awaitable;
using asio::use_awaitable;
using asio::ip::tcp;

awaitable<std::string> answer_to(emdb::AsyncEmdb& db, std::string_view request) {
    const auto next_word = [&request] {
        const std::string_view word = request.substr(0, request.find(' '));
        request.remove_prefix(std::min(word.size() + 1, request.size()));
        return word;
    };
    const std::string_view command = next_word();
    if (command == "set") {
        const std::string_view key = next_word();
        const emdb::Result<void> stored = co_await outcome_of(db.insert(key, request));
        co_return stored ? "ok" : "error: " + stored.error().message();
    }
    if (command == "get") {
        const auto value = co_await outcome_of(db.get(next_word()));
        if (!value) co_return "error: " + value.error().message();
        co_return *value ? "value " + **value : "absent";
    }
    if (command == "sync") {
        const emdb::Result<void> flushed = co_await outcome_of(db.flush());
        co_return flushed ? "ok" : "error: " + flushed.error().message();
    }
    co_return "error: no such command";
}

awaitable<void> serve(tcp::socket socket, emdb::AsyncEmdb& db) {
    std::string buffer;
    for (;;) {
        asio::error_code closed;
        const std::size_t size =
            co_await asio::async_read_until(socket, asio::dynamic_buffer(buffer), '\n', asio::redirect_error(use_awaitable, closed));
        if (closed) co_return;
        const std::string answer = co_await answer_to(db, std::string_view(buffer).substr(0, size - 1)) + "\n";
        buffer.erase(0, size);
        co_await asio::async_write(socket, asio::buffer(answer), use_awaitable);
    }
}

awaitable<void> accept(tcp::acceptor& acceptor, emdb::AsyncEmdb& db, int clients) {
    for (int i = 0; i < clients; ++i) {
        tcp::socket socket = co_await acceptor.async_accept(use_awaitable);
        asio::co_spawn(acceptor.get_executor(), serve(std::move(socket), db), asio::detached);
    }
}

awaitable<int> be_a_client(tcp::endpoint server, int number) {
    tcp::socket socket(co_await asio::this_coro::executor);
    co_await socket.async_connect(server, use_awaitable);
    std::string buffer;
    int wrong = 0;
    const auto expect = [&](std::string request, std::string_view expected) -> awaitable<void> {
        request += '\n';
        co_await asio::async_write(socket, asio::buffer(request), use_awaitable);
        const std::size_t size = co_await asio::async_read_until(socket, asio::dynamic_buffer(buffer), '\n', use_awaitable);
        if (std::string_view(buffer).substr(0, size - 1) != expected) ++wrong;
        buffer.erase(0, size);
    };
    for (int i = 0; i < 33; ++i) {
        const std::string key = std::to_string(number) + "/" + std::to_string(i);
        co_await expect("set " + key + " some words", "ok");
        co_await expect("get " + key, "value some words");
        co_await expect("sync", "ok");
    }
    co_await expect("get nothing", "absent");
    co_return wrong;
}

int main() {
    constexpr int clients = 10;
    const auto folder = std::filesystem::temp_directory_path() / "emdb-example-async-asio";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    const auto file = folder / "app.emdb";
    int wrong = 0;
    {
        asio::io_context loop;
        auto database = emdb::Emdb::builder().path(file).flush_policy(emdb::FlushPolicy::group()).executor(AsioExecutor{loop.get_executor()});
        auto db = emdb::AsyncEmdb::from_sync(database.build().value());
        tcp::acceptor acceptor(loop, {asio::ip::address_v4::loopback(), 0});
        const auto rethrow = [](const std::exception_ptr& thrown) {
            if (thrown) std::rethrow_exception(thrown);
        };
        asio::co_spawn(loop, accept(acceptor, db, clients), rethrow);
        std::atomic<int> failures = 0;
        for (int i = 0; i < clients; ++i) {
            asio::co_spawn(loop, be_a_client(acceptor.local_endpoint(), i), [&, rethrow](const std::exception_ptr& thrown, int count) {
                rethrow(thrown);
                failures += count;
            });
        }
        std::thread second([&loop] { loop.run(); });
        loop.run();
        second.join();
        wrong = failures;
        std::printf("%d clients, %zu records, %d wrong answers\n", clients, db.sync_handle().len().value(), wrong);
    }
    std::filesystem::remove_all(folder);
    return wrong == 0 ? 0 : 1;
}

#endif
