#pragma once
// Result<T>: a value or an Error, with the interface of std::expected<T, Error> in C++20.

#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/error.hpp"

namespace emdb {

template <class T>
class Result;

namespace detail {

template <class T>
struct is_result : std::false_type {};
template <class T>
struct is_result<Result<T>> : std::true_type {};

// Calls f with a value, or with nothing when the Result carries void.
template <class F, class... Value>
using call_result = std::remove_cvref_t<std::invoke_result_t<F, Value...>>;

}  // namespace detail

/// A value of T or an Error. Unlike std::expected, `value()` and `*` on an rvalue return BY VALUE, so that
/// `for (auto& [k, v] : db.iter().value())` does not dangle. Not thread-safe; moves as T moves.
template <class T>
class [[nodiscard]] Result {
    static_assert(!std::is_reference_v<T> && !std::is_same_v<T, Error>);

public:
    /// What it holds on success.
    using value_type = T;
    using error_type = Error;  ///< what it holds on failure

    /// Holds a T() of its own making.
    Result()
        requires std::is_default_constructible_v<T>
        : Result(T()) {}
    /// Holds a value.
    template <class U = T>
        requires(!std::is_same_v<std::remove_cvref_t<U>, Result> && !std::is_same_v<std::remove_cvref_t<U>, Error> &&
                 !detail::is_result<std::remove_cvref_t<U>>::value && std::is_constructible_v<T, U>)
    explicit(!std::is_convertible_v<U, T>) Result(U&& value) : has_value_(true) {
        std::construct_at(std::addressof(storage_.value), std::forward<U>(value));
    }
    /// Holds an error.
    Result(Error error) noexcept : has_value_(false) { std::construct_at(std::addressof(storage_.error), std::move(error)); }
    /// @{
    /// Copies or moves what it holds.
    Result(const Result& other)
        requires std::is_copy_constructible_v<T>
        : has_value_(other.has_value_) {
        if (has_value_) {
            std::construct_at(std::addressof(storage_.value), other.storage_.value);
        } else {
            std::construct_at(std::addressof(storage_.error), other.storage_.error);
        }
    }
    Result(Result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) : has_value_(other.has_value_) {
        if (has_value_) {
            std::construct_at(std::addressof(storage_.value), std::move(other.storage_.value));
        } else {
            std::construct_at(std::addressof(storage_.error), std::move(other.storage_.error));
        }
    }
    Result& operator=(const Result& other)
        requires std::is_copy_constructible_v<T>
    {
        if (this != &other) *this = Result(other);
        return *this;
    }
    Result& operator=(Result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) {
        static_assert(std::is_nothrow_move_constructible_v<T>, "assigning a Result needs a T that moves without throwing");
        if (this != &other) {
            std::destroy_at(this);
            std::construct_at(this, std::move(other));
        }
        return *this;
    }
    /// @}
    ~Result() {
        if (has_value_) {
            std::destroy_at(std::addressof(storage_.value));
        } else {
            std::destroy_at(std::addressof(storage_.error));
        }
    }

    /// @{
    /// Whether it holds a value, not an error.
    explicit operator bool() const noexcept { return has_value_; }
    bool has_value() const noexcept { return has_value_; }
    /// @}

    /// @{
    /// The value; on an error throws Exception, or prints and aborts in builds without exceptions.
    T& value() & { return require(), storage_.value; }
    const T& value() const& { return require(), storage_.value; }
    T value() && { return require(), std::move(storage_.value); }
    /// @}
    /// @{
    /// The value; there must be one.
    T& operator*() & noexcept { return storage_.value; }
    const T& operator*() const& noexcept { return storage_.value; }
    T operator*() && noexcept(std::is_nothrow_move_constructible_v<T>) { return std::move(storage_.value); }
    T* operator->() noexcept { return std::addressof(storage_.value); }
    const T* operator->() const noexcept { return std::addressof(storage_.value); }
    /// @}
    /// @{
    /// The error; there must be one.
    Error& error() & noexcept { return storage_.error; }
    const Error& error() const& noexcept { return storage_.error; }
    Error error() && noexcept { return std::move(storage_.error); }
    /// @}

    /// @{
    /// The value, or else the fallback.
    template <class U>
    T value_or(U&& fallback) const& {
        return has_value_ ? storage_.value : static_cast<T>(std::forward<U>(fallback));
    }
    template <class U>
    T value_or(U&& fallback) && {
        return has_value_ ? std::move(storage_.value) : static_cast<T>(std::forward<U>(fallback));
    }
    /// @}

    /// @{
    /// f(value) returns a Result of any type; called when there is a value.
    template <class F>
    auto and_then(F&& f) const& -> detail::call_result<F, const T&> {
        if (!has_value_) return storage_.error;
        return std::forward<F>(f)(storage_.value);
    }
    template <class F>
    auto and_then(F&& f) && -> detail::call_result<F, T&&> {
        if (!has_value_) return std::move(storage_.error);
        return std::forward<F>(f)(std::move(storage_.value));
    }
    /// @}
    /// @{
    /// f(value) returns anything; called when there is a value. Gives a Result of it.
    template <class F>
    auto transform(F&& f) const& -> Result<detail::call_result<F, const T&>> {
        using U = detail::call_result<F, const T&>;
        if (!has_value_) return storage_.error;
        if constexpr (std::is_void_v<U>) {
            std::forward<F>(f)(storage_.value);
            return {};
        } else {
            return std::forward<F>(f)(storage_.value);
        }
    }
    template <class F>
    auto transform(F&& f) && -> Result<detail::call_result<F, T&&>> {
        using U = detail::call_result<F, T&&>;
        if (!has_value_) return std::move(storage_.error);
        if constexpr (std::is_void_v<U>) {
            std::forward<F>(f)(std::move(storage_.value));
            return {};
        } else {
            return std::forward<F>(f)(std::move(storage_.value));
        }
    }
    /// @}
    /// @{
    /// f(error) returns a Result of the same type; called when there is an error.
    template <class F>
    Result or_else(F&& f) const& {
        if (has_value_) return *this;
        return std::forward<F>(f)(storage_.error);
    }
    template <class F>
    Result or_else(F&& f) && {
        if (has_value_) return std::move(*this);
        return std::forward<F>(f)(std::move(storage_.error));
    }
    /// @}
    /// @{
    /// f(error) returns an Error; called when there is an error.
    template <class F>
    Result transform_error(F&& f) const& {
        if (has_value_) return *this;
        return Error(std::forward<F>(f)(storage_.error));
    }
    template <class F>
    Result transform_error(F&& f) && {
        if (has_value_) return std::move(*this);
        return Error(std::forward<F>(f)(std::move(storage_.error)));
    }
    /// @}

    /// Whether it holds this value.
    friend bool operator==(const Result& result, const T& value) { return result.has_value_ && result.storage_.value == value; }
    /// Whether it holds an error of this kind.
    friend bool operator==(const Result& result, ErrorCode code) {
        return !result.has_value_ && result.storage_.error.code() == code;
    }

private:
    void require() const {
        if (!has_value_) detail::raise(storage_.error);
    }

    union Storage {
        Storage() noexcept {}
        ~Storage() {}
        T value;
        Error error;
    } storage_;
    bool has_value_;
};

/// Success or an Error.
template <>
class [[nodiscard]] Result<void> {
public:
    /// Nothing is held on success.
    using value_type = void;
    using error_type = Error;  ///< what it holds on failure

    /// Success.
    Result() noexcept = default;
    /// Holds an error.
    Result(Error error) noexcept : error_(std::move(error)) {}

    /// @{
    /// Whether it is a success.
    explicit operator bool() const noexcept { return !error_; }
    bool has_value() const noexcept { return !error_; }
    /// @}

    /// Nothing; on an error throws Exception, or prints and aborts in builds without exceptions.
    void value() const {
        if (error_) detail::raise(*error_);
    }
    /// Nothing; for code that is written for any T.
    void operator*() const noexcept {}
    /// @{
    /// The error; there must be one.
    Error& error() & noexcept { return *error_; }
    const Error& error() const& noexcept { return *error_; }
    Error error() && noexcept { return std::move(*error_); }
    /// @}

    /// f() returns a Result of any type; called on success.
    template <class F>
    auto and_then(F&& f) const -> detail::call_result<F> {
        if (error_) return *error_;
        return std::forward<F>(f)();
    }
    /// f() returns anything; called on success. Gives a Result of it.
    template <class F>
    auto transform(F&& f) const -> Result<detail::call_result<F>> {
        if (error_) return *error_;
        if constexpr (std::is_void_v<detail::call_result<F>>) {
            std::forward<F>(f)();
            return {};
        } else {
            return std::forward<F>(f)();
        }
    }
    /// f(error) returns a Result of the same type; called when there is an error.
    template <class F>
    Result or_else(F&& f) const {
        if (!error_) return {};
        return std::forward<F>(f)(*error_);
    }
    /// f(error) returns an Error; called when there is an error.
    template <class F>
    Result transform_error(F&& f) const {
        if (!error_) return {};
        return Error(std::forward<F>(f)(*error_));
    }

    /// Whether it holds an error of this kind.
    friend bool operator==(const Result& result, ErrorCode code) { return result.error_ && result.error_->code() == code; }

private:
    std::optional<Error> error_;
};

}  // namespace emdb
