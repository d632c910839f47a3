#pragma once
// FunctionRef: a callable passed down by reference, without <functional> and without allocation.

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace emdb::detail {

template <class Signature>
class FunctionRef;

/// Refers to a callable; must not outlive it.
template <class R, class... Args>
class FunctionRef<R(Args...)> {
public:
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef> && std::is_invocable_r_v<R, F&, Args...>)
    FunctionRef(F&& f) noexcept
        : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
          call_([](void* object, Args... args) -> R {
              return static_cast<R>((*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...));
          }) {}

    R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

private:
    void* object_;
    R (*call_)(void*, Args...);
};

/// Owns a copyable-by-reference callable (shared): for callbacks that outlive the call that hands them over.
template <class Signature>
class SharedFunction;

template <class R, class... Args>
class SharedFunction<R(Args...)> {
public:
    SharedFunction() noexcept = default;
    SharedFunction(std::nullptr_t) noexcept {}
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, SharedFunction> && std::is_invocable_r_v<R, std::decay_t<F>&, Args...>)
    SharedFunction(F&& f) {
        if (is_empty(f)) return;
        object_ = std::make_shared<std::decay_t<F>>(std::forward<F>(f));
        call_ = [](void* object, Args... args) -> R {
            return static_cast<R>((*static_cast<std::decay_t<F>*>(object))(std::forward<Args>(args)...));
        };
    }

    explicit operator bool() const noexcept { return call_ != nullptr; }
    R operator()(Args... args) const { return call_(object_.get(), std::forward<Args>(args)...); }

private:
    // A null pointer or an empty std::function, which is no callback at all. Lambdas are not asked, though some convert to a pointer.
    template <class F>
    static bool is_empty(const F& f) noexcept {
        if constexpr (std::is_pointer_v<F>) {
            return f == nullptr;
        } else if constexpr (requires { f.operator bool(); }) {
            return !f.operator bool();
        } else {
            return false;
        }
    }

    std::shared_ptr<void> object_;
    R (*call_)(void*, Args...) = nullptr;
};

}  // namespace emdb::detail
