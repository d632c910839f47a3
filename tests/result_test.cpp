// Result and Error: a value or a failure, with the interface of std::expected.

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "emdb.hpp"

namespace emdb_test {
namespace {

using emdb::Error;
using emdb::ErrorCode;
using emdb::Exception;
using emdb::Result;

Error full_disk() { return Error(ErrorCode::io, "cannot write 'a.emdb': no space left. Free some and reopen it."); }

// Counts copies, so that a test can tell them from moves.
struct Copied {
    int copies = 0;
    Copied() = default;
    Copied(const Copied& other) : copies(other.copies + 1) {}
    Copied(Copied&& other) noexcept : copies(other.copies) {}
    Copied& operator=(const Copied&) = default;
    Copied& operator=(Copied&&) noexcept = default;
};

}  // namespace

TEST_CASE("an Error has a code and a sentence, and compares with a code") {
    const Error error(ErrorCode::too_large, "the key is over 2^24-1 bytes");
    CHECK(error.code() == ErrorCode::too_large);
    CHECK(error.message() == "the key is over 2^24-1 bytes");
    CHECK(error == ErrorCode::too_large);
    CHECK(ErrorCode::too_large == error);
    CHECK(error != ErrorCode::io);
    CHECK(error.os_error() == 0);
    CHECK(error.offset() == 0);
    CHECK(error.found_version() == 0);
    CHECK(error.expected_version() == 0);
}

TEST_CASE("Error::aborted is what a closure gives up with") {
    const Error error = Error::aborted("not enough money");
    CHECK(error == ErrorCode::transaction_aborted);
    CHECK(error.message() == "not enough money");
}

TEST_CASE("every code has a name") {
    CHECK(emdb::to_string(ErrorCode::io) == std::string("io"));
    CHECK(emdb::to_string(ErrorCode::already_locked) == std::string("already_locked"));
    CHECK(emdb::to_string(ErrorCode::stopped) == std::string("stopped"));
}

TEST_CASE("a Result holds a value or an error") {
    const Result<int> good = 7;
    CHECK(good);
    CHECK(good.has_value());
    CHECK(*good == 7);
    CHECK(good.value() == 7);
    CHECK(good == 7);
    CHECK(good != 8);
    CHECK_FALSE(good == ErrorCode::io);

    const Result<int> bad = full_disk();
    CHECK_FALSE(bad);
    CHECK_FALSE(bad.has_value());
    CHECK(bad.error() == ErrorCode::io);
    CHECK(bad.error().message() == full_disk().message());
    CHECK(bad == ErrorCode::io);
    CHECK_FALSE(bad == ErrorCode::stopped);
    CHECK_FALSE(bad == 0);

    CHECK(Result<int>() == 0);
    CHECK(Result<void>());
    CHECK(Result<void>().has_value());
    CHECK_FALSE(Result<void>(full_disk()));
    CHECK(Result<void>(full_disk()) == ErrorCode::io);
    CHECK_FALSE(Result<void>() == ErrorCode::io);
}

TEST_CASE("a Result is tested explicitly, never by accident") {
    static_assert(std::is_constructible_v<bool, Result<int>>);
    static_assert(!std::is_convertible_v<Result<int>, bool>);
    static_assert(!std::is_convertible_v<Result<bool>, bool>);
    static_assert(!std::is_convertible_v<Result<void>, bool>);
    static_assert(!std::is_convertible_v<Result<int>, int>);

    const Result<bool> false_but_present = false;
    CHECK(false_but_present);
    CHECK_FALSE(*false_but_present);
    const Result<std::optional<int>> absent_but_present = std::nullopt;
    CHECK(absent_but_present);
    CHECK_FALSE(absent_but_present->has_value());
}

TEST_CASE("value and error of an lvalue are references into it") {
    Result<std::string> result = std::string("a");
    result.value() += "b";
    *result += "c";
    result->append("d");
    CHECK(*result == "abcd");
    static_assert(std::is_same_v<decltype(result.value()), std::string&>);
    static_assert(std::is_same_v<decltype(*result), std::string&>);
    static_assert(std::is_same_v<decltype(result.error()), Error&>);

    const Result<std::string>& view = result;
    CHECK(&view.value() == &*view);
    CHECK(view->size() == 4);
    static_assert(std::is_same_v<decltype(view.value()), const std::string&>);
    static_assert(std::is_same_v<decltype(*view), const std::string&>);
    static_assert(std::is_same_v<decltype(view.error()), const Error&>);
}

TEST_CASE("value and error of an rvalue are values, so that a loop over a temporary is safe") {
    static_assert(std::is_same_v<decltype(std::declval<Result<std::string>>().value()), std::string>);
    static_assert(std::is_same_v<decltype(*std::declval<Result<std::string>>()), std::string>);
    static_assert(std::is_same_v<decltype(std::declval<Result<std::string>>().error()), Error>);
    static_assert(std::is_same_v<decltype(std::declval<Result<void>>().error()), Error>);

    const auto make = [] {
        return Result<std::vector<std::string>>(std::vector<std::string>(3, std::string(100, 'x')));
    };
    std::size_t bytes = 0;
    for (const auto& text : make().value()) bytes += text.size();
    for (const auto& text : *make()) bytes += text.size();
    CHECK(bytes == 600);

    const std::string& kept = Result<std::string>(std::string(100, 'y')).value();
    CHECK(kept == std::string(100, 'y'));
    CHECK(Result<int>(full_disk()).error().message() == full_disk().message());
    CHECK(Result<void>(full_disk()).error().message() == full_disk().message());
}

#if defined(__cpp_exceptions)
TEST_CASE("value on an error throws an Exception that carries the error") {
    static_assert(std::is_base_of_v<std::runtime_error, Exception>);
    const Result<int> bad = full_disk();
    bool caught = false;
    try {
        static_cast<void>(bad.value());
    } catch (const Exception& exception) {
        caught = true;
        CHECK(exception.error() == ErrorCode::io);
        CHECK(exception.what() == full_disk().message());
    }
    CHECK(caught);
    Result<int> lvalue = full_disk();
    CHECK_THROWS_AS(static_cast<void>(lvalue.value()), Exception);
    CHECK_THROWS_AS(static_cast<void>(Result<int>(full_disk()).value()), Exception);
    CHECK_THROWS_AS(Result<void>(full_disk()).value(), Exception);
    CHECK_NOTHROW(Result<void>().value());
}
#endif

TEST_CASE("value_or gives the value or what stands in for it") {
    const Result<std::string> good = std::string("a");
    const Result<std::string> bad = full_disk();
    CHECK(good.value_or("b") == "a");
    CHECK(bad.value_or("b") == "b");
    CHECK(Result<std::string>(std::string("a")).value_or("b") == "a");
    CHECK(Result<std::string>(full_disk()).value_or("b") == "b");

    CHECK(*Result<std::unique_ptr<int>>(std::make_unique<int>(1)).value_or(nullptr) == 1);
    CHECK(Result<std::unique_ptr<int>>(full_disk()).value_or(nullptr) == nullptr);
}

TEST_CASE("and_then goes on with a value and passes an error by") {
    const auto half = [](int number) -> Result<std::string> {
        if (number % 2 != 0) return Error(ErrorCode::invalid_argument, "odd");
        return std::to_string(number / 2);
    };
    const Result<int> eight = 8;
    const Result<int> seven = 7;
    const Result<int> bad = full_disk();
    CHECK(eight.and_then(half) == "4");
    CHECK(seven.and_then(half) == ErrorCode::invalid_argument);
    CHECK(bad.and_then(half) == ErrorCode::io);
    CHECK(Result<int>(8).and_then(half) == "4");
    CHECK(Result<int>(full_disk()).and_then(half) == ErrorCode::io);

    const auto succeed = [] { return Result<int>(1); };
    CHECK(Result<void>().and_then(succeed) == 1);
    CHECK(Result<void>(full_disk()).and_then(succeed) == ErrorCode::io);

    bool called = false;
    const auto to_void = [&called](int) -> Result<void> {
        called = true;
        return {};
    };
    CHECK(bad.and_then(to_void) == ErrorCode::io);
    CHECK_FALSE(called);
    CHECK(eight.and_then(to_void).has_value());
    CHECK(called);
}

TEST_CASE("transform maps the value and keeps an error") {
    const auto twice = [](int number) { return std::to_string(2 * number); };
    const Result<int> four = 4;
    const Result<int> bad = full_disk();
    CHECK(four.transform(twice) == "8");
    CHECK(bad.transform(twice) == ErrorCode::io);
    CHECK(Result<int>(4).transform(twice) == "8");
    CHECK(Result<int>(full_disk()).transform(twice) == ErrorCode::io);
    static_assert(std::is_same_v<decltype(four.transform(twice)), Result<std::string>>);

    int seen = 0;
    const Result<void> looked = four.transform([&seen](int number) { seen = number; });
    CHECK(looked.has_value());
    CHECK(seen == 4);
    CHECK(bad.transform([&seen](int) { seen = -1; }) == ErrorCode::io);
    CHECK(seen == 4);

    CHECK(Result<void>().transform([] { return 1; }) == 1);
    CHECK(Result<void>().transform([] {}).has_value());
    CHECK(Result<void>(full_disk()).transform([] { return 1; }) == ErrorCode::io);
}

TEST_CASE("or_else goes on with an error and passes a value by") {
    const auto recover = [](const Error& error) -> Result<int> {
        if (error == ErrorCode::io) return 1;
        return error;
    };
    const Result<int> good = 5;
    const Result<int> bad = full_disk();
    CHECK(good.or_else(recover) == 5);
    CHECK(bad.or_else(recover) == 1);
    CHECK(Result<int>(5).or_else(recover) == 5);
    CHECK(Result<int>(full_disk()).or_else(recover) == 1);
    CHECK(Result<int>(Error::aborted("")).or_else(recover) == ErrorCode::transaction_aborted);

    int calls = 0;
    const auto ignore = [&calls](const Error&) -> Result<void> {
        ++calls;
        return {};
    };
    CHECK(Result<void>().or_else(ignore).has_value());
    CHECK(calls == 0);
    CHECK(Result<void>(full_disk()).or_else(ignore).has_value());
    CHECK(calls == 1);
}

TEST_CASE("transform_error maps the error and keeps a value") {
    const auto reword = [](const Error& error) { return Error(ErrorCode::corrupted, "again: " + error.message()); };
    const Result<int> good = 5;
    const Result<int> bad = full_disk();
    CHECK(good.transform_error(reword) == 5);
    CHECK(bad.transform_error(reword) == ErrorCode::corrupted);
    CHECK(bad.transform_error(reword).error().message() == "again: " + full_disk().message());
    CHECK(Result<int>(5).transform_error(reword) == 5);
    CHECK(Result<int>(full_disk()).transform_error(reword) == ErrorCode::corrupted);
    CHECK(Result<void>().transform_error(reword).has_value());
    CHECK(Result<void>(full_disk()).transform_error(reword) == ErrorCode::corrupted);
}

TEST_CASE("calls on an rvalue hand the value on without a copy") {
    CHECK(Result<Copied>(Copied()).value().copies == 0);
    CHECK((*Result<Copied>(Copied())).copies == 0);
    CHECK(Result<Copied>(Copied()).value_or(Copied()).copies == 0);
    CHECK(Result<Copied>(Copied()).transform([](Copied value) { return value; }).value().copies == 0);
    CHECK(Result<Copied>(Copied())
              .and_then([](Copied value) { return Result<Copied>(std::move(value)); })
              .value()
              .copies == 0);
    CHECK(
        Result<Copied>(Copied()).or_else([](Error error) { return Result<Copied>(std::move(error)); }).value().copies ==
        0);
    CHECK(Result<Copied>(Copied()).transform_error([](Error error) { return error; }).value().copies == 0);
    Result<Copied> lvalue = Copied();
    const Copied copy = lvalue.value();
    CHECK(copy.copies == 1);
}

TEST_CASE("a Result of a move-only type moves, and does not copy") {
    static_assert(!std::is_copy_constructible_v<Result<std::unique_ptr<int>>>);
    static_assert(!std::is_copy_assignable_v<Result<std::unique_ptr<int>>>);
    static_assert(std::is_nothrow_move_constructible_v<Result<std::unique_ptr<int>>>);

    Result<std::unique_ptr<int>> first = std::make_unique<int>(3);
    Result<std::unique_ptr<int>> second = std::move(first);
    CHECK(**second == 3);
    second = Result<std::unique_ptr<int>>(full_disk());
    CHECK(second == ErrorCode::io);
    second = Result<std::unique_ptr<int>>(std::make_unique<int>(4));
    const std::unique_ptr<int> taken = std::move(second).value();
    CHECK(*taken == 4);
    CHECK(Result<std::unique_ptr<int>>(std::make_unique<int>(5)).transform([](std::unique_ptr<int> p) { return *p; }) ==
          5);
}

TEST_CASE("assignment goes between all four states, and to itself") {
    const Result<std::string> value_a = std::string("a");
    const Result<std::string> value_b = std::string("b");
    const Result<std::string> error_io = full_disk();
    const Result<std::string> error_stopped = Error(ErrorCode::stopped, "closed");

    Result<std::string> result = value_a;
    result = value_b;
    CHECK(result == "b");
    result = error_io;
    CHECK(result == ErrorCode::io);
    result = error_stopped;
    CHECK(result == ErrorCode::stopped);
    result = value_a;
    CHECK(result == "a");
    result = Result<std::string>(error_io);
    CHECK(result == ErrorCode::io);
    result = Result<std::string>(value_b);
    CHECK(result == "b");
    const Result<std::string>& itself = result;
    result = itself;
    CHECK(result == "b");

    Result<void> done;
    const Result<void> failed = full_disk();
    done = failed;
    CHECK(done == ErrorCode::io);
    CHECK(failed == ErrorCode::io);
    const Result<void>& done_itself = done;
    done = done_itself;
    CHECK(done == ErrorCode::io);
    done = Result<void>();
    CHECK(done.has_value());
}

TEST_CASE("a copy is independent of its original") {
    Result<std::string> original = std::string("a");
    const Result<std::string> copy = original;
    original->append("b");
    CHECK(copy == "a");
    const Result<std::string> failed = full_disk();
    const Result<std::string> failed_copy = failed;
    CHECK(failed_copy.error().message() == failed.error().message());
}

TEST_CASE("a moved-from Result still tells which it was, as std::expected does") {
    Result<std::string> good = std::string("a");
    const Result<std::string> good_taken = std::move(good);
    CHECK(good_taken == "a");
    CHECK(good.has_value());  // NOLINT(bugprone-use-after-move): that is the question
    Result<std::string> bad = full_disk();
    const Result<std::string> bad_taken = std::move(bad);
    CHECK(bad_taken == ErrorCode::io);
    CHECK_FALSE(bad.has_value());  // NOLINT(bugprone-use-after-move)
    Result<void> bad_void = full_disk();
    const Result<void> bad_void_taken = std::move(bad_void);
    CHECK(bad_void_taken == ErrorCode::io);
    CHECK_FALSE(bad_void.has_value());  // NOLINT(bugprone-use-after-move): a failure must not turn into a success
}

TEST_CASE("a Result converts from whatever makes its value") {
    const Result<std::string> from_literal = "text";
    CHECK(from_literal == "text");
    const Result<std::optional<std::string>> from_string = std::string("text");
    CHECK(from_string.value() == "text");
    static_assert(std::is_convertible_v<Error, Result<std::string>>);
    static_assert(std::is_convertible_v<Error, Result<void>>);
    static_assert(!std::is_convertible_v<int, Result<std::vector<int>>>);  // explicit there, explicit here
}

}  // namespace emdb_test
