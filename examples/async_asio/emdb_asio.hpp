#pragma once
// emdb in a program that is built around Asio: its work on Asio's threads, its futures in Asio's coroutines.

#include <asio.hpp>

#include <coroutine>
#include <exception>
#include <functional>
#include <optional>
#include <utility>

#include "emdb.hpp"

/// Has emdb's calls made, and coroutines and callbacks resumed, by an Asio executor.
struct AsioExecutor {
    asio::any_io_executor executor;
    void post(std::function<void()> task) const { asio::post(executor, std::move(task)); }
};

namespace emdb_asio {

/// A coroutine that nobody waits for.
struct Detached {
    struct promise_type {
        Detached get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

template <class T, class Handler>
Detached take(emdb::Future<T>& future, std::optional<T>& outcome, std::exception_ptr& thrown, Handler handler) {
    try {
        outcome.emplace(co_await future);
    } catch (...) {
        thrown = std::current_exception();
    }
    std::move(handler)();
}

}  // namespace emdb_asio

/// A Future as what Asio's coroutines can await: they take nothing but their own kind.
template <class T>
asio::awaitable<T> outcome_of(emdb::Future<T> future) {
    std::optional<T> outcome;
    std::exception_ptr thrown;
    const auto initiate = [&](auto handler) { emdb_asio::take(future, outcome, thrown, std::move(handler)); };
    co_await asio::async_initiate<decltype(asio::use_awaitable), void()>(initiate, asio::use_awaitable);
    if (thrown) std::rethrow_exception(thrown);
    co_return std::move(*outcome);
}
