// Result<T> as std::expected<T, Error>: every call on every value category, and callables of every kind.

#include "emdb.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace emdb_test {
namespace {

using emdb::Error;
using emdb::ErrorCode;
using emdb::Record;
using emdb::Result;

Error refused() { return Error(ErrorCode::invalid_argument, "no"); }

std::size_t length_of(const std::string& text) { return text.size(); }
Result<std::size_t> checked_length(const std::string& text) {
    if (text.empty()) return refused();
    return text.size();
}

/// Which of the overloads for & / const& / && / const&& is called.
struct WhichReference {
    std::string operator()(std::string&) const { return "&"; }
    std::string operator()(const std::string&) const { return "const&"; }
    std::string operator()(std::string&&) const { return "&&"; }
    std::string operator()(const std::string&&) const { return "const&&"; }
};

struct WhichError {
    Error operator()(Error&) const { return Error::aborted("&"); }
    Error operator()(const Error&) const { return Error::aborted("const&"); }
    Error operator()(Error&&) const { return Error::aborted("&&"); }
};

}  // namespace

TEST_CASE("contract: a Result's value reaches a function in the Result's own value category") {
    Result<std::string> result = "text";
    const Result<std::string> constant = "text";
    CHECK(result.transform(WhichReference()).value() == "&");
    CHECK(constant.transform(WhichReference()).value() == "const&");
    CHECK(std::move(result).transform(WhichReference()).value() == "&&");
    CHECK(std::move(constant).transform(WhichReference()).value() == "const&&");

    const auto wrapped = [](auto&& text) -> Result<std::string> { return WhichReference()(std::forward<decltype(text)>(text)); };
    CHECK(result.and_then(wrapped).value() == "&");
    CHECK(constant.and_then(wrapped).value() == "const&");
    CHECK(std::move(result).and_then(wrapped).value() == "&&");
    CHECK(std::move(constant).and_then(wrapped).value() == "const&&");
}

TEST_CASE("contract: so does its error") {
    Result<int> result = refused();
    const Result<int> constant = refused();
    CHECK(result.transform_error(WhichError()).error().message() == "&");
    CHECK(constant.transform_error(WhichError()).error().message() == "const&");
    CHECK(std::move(result).transform_error(WhichError()).error().message() == "&&");

    Result<void> nothing = refused();
    const Result<void> constant_nothing = refused();
    CHECK(nothing.transform_error(WhichError()).error().message() == "&");
    CHECK(constant_nothing.transform_error(WhichError()).error().message() == "const&");
    CHECK(std::move(nothing).transform_error(WhichError()).error().message() == "&&");

    Result<int> failed = refused();
    CHECK(failed.or_else([](Error& error) -> Result<int> { return static_cast<int>(error.message().size()); }).value() == 2);
    CHECK(std::move(failed).or_else([](Error&& error) -> Result<int> { return Error(std::move(error)); }).error().message() == "no");
    CHECK(Result<int>(refused()).or_else([](Error) { return Result<int>(7); }).value() == 7);
}

TEST_CASE("contract: a function may change the value of a Result in place, a generic lambda too") {
    Result<std::string> result = "a";
    result.transform([](auto& text) { text += "b"; }).value();
    result.and_then([](std::string& text) -> Result<void> { return text += "c", Result<void>(); }).value();
    CHECK(result.value() == "abc");
    auto chained = result.transform([](std::string& text) { return text.size(); })
                       .and_then([](std::size_t size) -> Result<double> { return static_cast<double>(size) / 2; })
                       .transform([](double half) { return half * 4; });
    static_assert(std::is_same_v<decltype(chained), Result<double>>);
    CHECK(chained.value() == 6.0);
}

TEST_CASE("contract: functions, pointers to functions and pointers to members are callables") {
    const Result<std::string> result = "four";
    CHECK(result.transform(length_of).value() == 4);
    CHECK(result.transform(&length_of).value() == 4);
    CHECK(result.and_then(checked_length).value() == 4);
    CHECK(result.transform(&std::string::size).value() == 4);

    Result<Record> record = Record{"k", "v"};
    CHECK(record.transform(&Record::key).value() == "k");
    static_assert(std::is_same_v<decltype(record.transform(&Record::key)), Result<std::string>>);
    CHECK(std::move(record).transform(&Record::value).value() == "v");
    CHECK(Result<int>(refused()).transform_error([](const Error& error) { return error; }).error() == ErrorCode::invalid_argument);
}

TEST_CASE("contract: move-only values go through a chain on rvalues, move-only functions too") {
    auto owned = std::make_unique<int>(1);
    auto result = Result<std::unique_ptr<int>>(std::make_unique<int>(41))
                      .transform([one = std::move(owned)](std::unique_ptr<int> value) { return std::make_unique<int>(*value + *one); })
                      .or_else([](Error) -> Result<std::unique_ptr<int>> { return std::make_unique<int>(0); })
                      .transform_error([](Error error) { return error; });
    CHECK(*result.value() == 42);
    CHECK(**result == 42);
    const std::unique_ptr<int> taken = std::move(result).value();
    CHECK(*taken == 42);
    const std::unique_ptr<int> fallback = Result<std::unique_ptr<int>>(refused()).value_or(nullptr);
    CHECK(fallback == nullptr);
}

TEST_CASE("contract: value() and * give references on lvalues and values on rvalues") {
    using R = Result<std::string>;
    static_assert(std::is_same_v<decltype(std::declval<R&>().value()), std::string&>);
    static_assert(std::is_same_v<decltype(std::declval<const R&>().value()), const std::string&>);
    static_assert(std::is_same_v<decltype(std::declval<R>().value()), std::string>);
    static_assert(std::is_same_v<decltype(std::declval<const R>().value()), std::string>);
    static_assert(std::is_same_v<decltype(*std::declval<R&>()), std::string&>);
    static_assert(std::is_same_v<decltype(*std::declval<const R&>()), const std::string&>);
    static_assert(std::is_same_v<decltype(*std::declval<R>()), std::string>);
    static_assert(std::is_same_v<decltype(*std::declval<const R>()), std::string>);
    static_assert(std::is_same_v<decltype(std::declval<R&>().operator->()), std::string*>);
    static_assert(std::is_same_v<decltype(std::declval<const R&>().operator->()), const std::string*>);
    static_assert(std::is_same_v<decltype(std::declval<R&>().error()), Error&>);
    static_assert(std::is_same_v<decltype(std::declval<const R&>().error()), const Error&>);
    static_assert(std::is_same_v<decltype(std::declval<Result<void>&>().value()), void>);
    static_assert(std::is_same_v<R::value_type, std::string> && std::is_same_v<R::error_type, Error>);
    static_assert(std::is_constructible_v<bool, R> && !std::is_convertible_v<R, bool>);
    static_assert(!std::is_copy_constructible_v<Result<std::unique_ptr<int>>>);
    static_assert(std::is_nothrow_move_constructible_v<R>);
    R result = "a";
    result.value() += "b";
    *result += "c";
    result->push_back('d');
    CHECK(result.value() == "abcd");
}

TEST_CASE("contract: value_or takes whatever makes a value, braces too") {
    Result<std::string> failed = refused();
    const Result<std::string> good = "v";
    CHECK(failed.value_or("text") == "text");
    CHECK(failed.value_or({}).empty());
    CHECK(failed.value_or({'a', 'b'}) == "ab");
    CHECK(good.value_or("other") == "v");
    CHECK(std::move(failed).value_or(std::string("moved")) == "moved");
    CHECK(Result<std::optional<std::string>>(refused()).value_or(std::nullopt) == std::nullopt);
    CHECK(Result<std::vector<int>>(refused()).value_or(std::vector<int>{1}) == std::vector<int>{1});
}

TEST_CASE("contract: Result<void> goes on, recovers and carries its error") {
    Result<void> good;
    const Result<void> failed = refused();
    CHECK(good.and_then([]() -> Result<int> { return 1; }).value() == 1);
    CHECK(good.transform([] { return std::string("text"); }).value() == "text");
    good.transform([] {}).value();
    static_assert(std::is_same_v<decltype(good.transform([] {})), Result<void>>);
    CHECK(failed.and_then([]() -> Result<int> { return 1; }).error() == ErrorCode::invalid_argument);
    CHECK(failed.transform([] { return 1; }).error() == ErrorCode::invalid_argument);
    CHECK(failed.or_else([](const Error&) -> Result<void> { return {}; }).has_value());
    CHECK(good.or_else([](const Error&) -> Result<void> { return refused(); }).has_value());
    CHECK(failed.transform_error([](const Error&) { return Error::aborted("why"); }).error() == ErrorCode::transaction_aborted);
    CHECK(Result<int>(1).transform([](int) {}).has_value());
    *good;
    good.value();
}

TEST_CASE("contract: a Result is made of a Result of what makes its value, also inside another Result") {
    const Result<const char*> text = "text";
    const Result<std::string> as_string = text;
    CHECK(as_string.value() == "text");
    const Result<std::optional<std::string>> as_optional = as_string;
    CHECK(as_optional.value() == "text");
    const Result<std::optional<std::string>> failed = Result<std::string>(refused());
    CHECK(failed.error().message() == "no");
    static_assert(!std::is_convertible_v<Result<std::string_view>, Result<std::string>>);  // as a string of a string_view: explicit
    static_assert(std::is_constructible_v<Result<std::string>, Result<std::string_view>>);
    static_assert(!std::is_constructible_v<Result<std::string>, Result<std::vector<int>>>);

    Result<Result<int>> nested = Result<int>(1);
    CHECK(nested.value().value() == 1);
    CHECK(Result<int>(2).transform([](int two) { return Result<int>(two); }).value().value() == 2);
}

TEST_CASE("contract: errors and codes compare both ways, and are told from values") {
    const Error error = refused();
    CHECK(error == ErrorCode::invalid_argument);
    CHECK(ErrorCode::invalid_argument == error);
    CHECK(error != ErrorCode::io);
    CHECK(ErrorCode::io != error);
    CHECK(Error::aborted("because").message().find("because") != std::string::npos);
    CHECK(Error::aborted(std::string(3, 'x')).code() == ErrorCode::transaction_aborted);
    const Result<bool> no = false;
    CHECK(no.has_value());
    CHECK(static_cast<bool>(no));
    CHECK_FALSE(no.value());
    Result<bool> failed = refused();
    CHECK_FALSE(failed.has_value());
    failed = true;
    CHECK(failed.value());
    failed = refused();
    CHECK(failed.error() == ErrorCode::invalid_argument);
}

#if defined(__cpp_exceptions)
TEST_CASE("contract: value() without one throws emdb::Exception, whatever the value category") {
    Result<std::string> failed = refused();
    const Result<std::string> constant = refused();
    CHECK_THROWS_AS(failed.value(), emdb::Exception);
    CHECK_THROWS_AS(constant.value(), emdb::Exception);
    CHECK_THROWS_AS(std::move(failed).value(), emdb::Exception);
    CHECK_THROWS_AS(std::move(constant).value(), emdb::Exception);
    CHECK_THROWS_AS(Result<void>(refused()).value(), emdb::Exception);
    try {
        constant.value();
        FAIL("value() did not throw");
    } catch (const std::runtime_error& thrown) {
        CHECK(std::string(thrown.what()) == "no");
        const auto* const exception = dynamic_cast<const emdb::Exception*>(&thrown);
        REQUIRE(exception != nullptr);
        CHECK(exception->error() == ErrorCode::invalid_argument);
    }
}
#endif

}  // namespace emdb_test
