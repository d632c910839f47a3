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

// As std::invoke, which would need <functional>: f may also point to a member of the value.
template <class F, class... Value>
constexpr decltype(auto) call(F&& f, Value&&... value) {
    if constexpr (std::is_member_object_pointer_v<std::remove_cvref_t<F>>) {
        return ((std::forward<Value>(value).*f), ...);
    } else if constexpr (std::is_member_function_pointer_v<std::remove_cvref_t<F>>) {
        return ((std::forward<Value>(value).*f)(), ...);
    } else {
        return std::forward<F>(f)(std::forward<Value>(value)...);
    }
}

/// What goes on with a Result's value or error. Return types are deduced where they depend on f, so that f is looked into by the
/// call that is made only: a generic lambda that changes the value must not be tried on a constant one.
template <class Derived, class T>
class ResultCalls {
public:
    /// f(value) -> Result<U>, called when there is a value.
    template <class F>
    auto and_then(F&& f) & { return go_on(static_cast<Derived&>(*this), std::forward<F>(f)); }
    template <class F>
    auto and_then(F&& f) const& { return go_on(static_cast<const Derived&>(*this), std::forward<F>(f)); }
    template <class F>
    auto and_then(F&& f) && { return go_on(static_cast<Derived&&>(*this), std::forward<F>(f)); }
    template <class F>
    auto and_then(F&& f) const&& { return go_on(static_cast<const Derived&&>(*this), std::forward<F>(f)); }

    /// f(value) -> U, called when there is a value; gives Result<U>.
    template <class F>
    auto transform(F&& f) & { return map(static_cast<Derived&>(*this), std::forward<F>(f)); }
    template <class F>
    auto transform(F&& f) const& { return map(static_cast<const Derived&>(*this), std::forward<F>(f)); }
    template <class F>
    auto transform(F&& f) && { return map(static_cast<Derived&&>(*this), std::forward<F>(f)); }
    template <class F>
    auto transform(F&& f) const&& { return map(static_cast<const Derived&&>(*this), std::forward<F>(f)); }

    /// f(error) -> Result<T>, called when there is an error.
    template <class F>
    Derived or_else(F&& f) & { return recover(static_cast<Derived&>(*this), std::forward<F>(f)); }
    template <class F>
    Derived or_else(F&& f) const& { return recover(static_cast<const Derived&>(*this), std::forward<F>(f)); }
    template <class F>
    Derived or_else(F&& f) && { return recover(static_cast<Derived&&>(*this), std::forward<F>(f)); }
    template <class F>
    Derived or_else(F&& f) const&& { return recover(static_cast<const Derived&&>(*this), std::forward<F>(f)); }

    /// f(error) -> Error, called when there is an error.
    template <class F>
    Derived transform_error(F&& f) & { return map_error(static_cast<Derived&>(*this), std::forward<F>(f)); }
    template <class F>
    Derived transform_error(F&& f) const& { return map_error(static_cast<const Derived&>(*this), std::forward<F>(f)); }
    template <class F>
    Derived transform_error(F&& f) && { return map_error(static_cast<Derived&&>(*this), std::forward<F>(f)); }
    template <class F>
    Derived transform_error(F&& f) const&& { return map_error(static_cast<const Derived&&>(*this), std::forward<F>(f)); }

private:
    template <class Self, class F>
    static decltype(auto) call_with_value(Self&& self, F&& f) {
        if constexpr (std::is_void_v<T>) {
            return detail::call(std::forward<F>(f));
        } else if constexpr (std::is_lvalue_reference_v<Self>) {
            return detail::call(std::forward<F>(f), *self.operator->());
        } else {
            return detail::call(std::forward<F>(f), std::move(*self.operator->()));
        }
    }

    template <class Self, class F>
    static auto go_on(Self&& self, F&& f) {
        using Next = std::remove_cvref_t<decltype(call_with_value(std::forward<Self>(self), std::forward<F>(f)))>;
        static_assert(is_result<Next>::value, "the function given to and_then returns emdb::Result<U>");
        if (!self.has_value()) return Next(std::forward<Self>(self).error());
        return Next(call_with_value(std::forward<Self>(self), std::forward<F>(f)));
    }

    template <class Self, class F>
    static auto map(Self&& self, F&& f) {
        using U = std::remove_cvref_t<decltype(call_with_value(std::forward<Self>(self), std::forward<F>(f)))>;
        if (!self.has_value()) return Result<U>(std::forward<Self>(self).error());
        if constexpr (std::is_void_v<U>) {
            call_with_value(std::forward<Self>(self), std::forward<F>(f));
            return Result<U>();
        } else {
            return Result<U>(call_with_value(std::forward<Self>(self), std::forward<F>(f)));
        }
    }

    template <class Self, class F>
    static Derived recover(Self&& self, F&& f) {
        if (self.has_value()) return std::forward<Self>(self);
        return detail::call(std::forward<F>(f), std::forward<Self>(self).error());
    }

    template <class Self, class F>
    static Derived map_error(Self&& self, F&& f) {
        if (self.has_value()) return std::forward<Self>(self);
        return Error(detail::call(std::forward<F>(f), std::forward<Self>(self).error()));
    }
};

// Out of line, or GCC 12 warns of an error's string in what holds a value: "may be used uninitialized".
[[gnu::noinline]] inline void destroy_error(Error& error) noexcept { std::destroy_at(&error); }

}  // namespace detail

/// A value of T or an Error. Unlike std::expected, `value()` and `*` on an rvalue return BY VALUE, so that
/// `for (auto& [k, v] : db.iter().value())` does not dangle. `and_then(f)`, `transform(f)`, `or_else(f)` and
/// `transform_error(f)` are those of std::expected. Allocates nothing but what T and an Error's message do. References that it gives out
/// are valid until it is assigned to, moved from or destroyed. Not thread-safe; moves as T moves.
template <class T>
class [[nodiscard]] Result : public detail::ResultCalls<Result<T>, T> {
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
                 (!detail::is_result<std::remove_cvref_t<U>>::value || std::is_same_v<std::remove_cvref_t<U>, T>) &&
                 std::is_constructible_v<T, U>)
    explicit(!std::is_convertible_v<U, T>) Result(U&& value) : has_value_(true) {
        std::construct_at(std::addressof(storage_.value), std::forward<U>(value));
    }
    /// From a Result of what makes a T; an error is handed on.
    template <class U>
        requires(!std::is_same_v<U, T> && !std::is_void_v<U> && !std::is_same_v<T, Result<U>> && std::is_constructible_v<T, U>)
    explicit(!std::is_convertible_v<U, T>) Result(Result<U> other) : has_value_(other.has_value()) {
        if (has_value_) {
            std::construct_at(std::addressof(storage_.value), std::move(*other.operator->()));
        } else {
            std::construct_at(std::addressof(storage_.error), std::move(other).error());
        }
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
            detail::destroy_error(storage_.error);
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
    T value() const&&
        requires std::is_copy_constructible_v<T>
    {
        return require(), storage_.value;
    }
    /// @}
    /// @{
    /// The value; there must be one.
    T& operator*() & noexcept { return storage_.value; }
    const T& operator*() const& noexcept { return storage_.value; }
    T operator*() && noexcept(std::is_nothrow_move_constructible_v<T>) { return std::move(storage_.value); }
    T operator*() const&&
        requires std::is_copy_constructible_v<T>
    {
        return storage_.value;
    }
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
    /// The value, copied or moved out, or else the fallback.
    template <class U = T>
    T value_or(U&& fallback) const& {
        return has_value_ ? storage_.value : static_cast<T>(std::forward<U>(fallback));
    }
    template <class U = T>
    T value_or(U&& fallback) && {
        return has_value_ ? std::move(storage_.value) : static_cast<T>(std::forward<U>(fallback));
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

/// Success or an Error, with the calls of Result<T>. Converts from an Error, and is a success by default.
template <>
class [[nodiscard]] Result<void> : public detail::ResultCalls<Result<void>, void> {
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

    /// Whether it holds an error of this kind.
    friend bool operator==(const Result& result, ErrorCode code) { return result.error_ && result.error_->code() == code; }

private:
    std::optional<Error> error_;
};

}  // namespace emdb
