#pragma once
// Future: the outcome of a call that is made elsewhere.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/error.hpp"
#include "base/executor.hpp"
#include "base/function_ref.hpp"
#include "base/result.hpp"

namespace emdb {

template <class T>
class Future;

namespace detail {

class AsyncTarget;
enum class CallKind : std::uint8_t;

/// Something for the pool or an executor to run, counted by all who refer to it.
class Task {
public:
    Task() noexcept = default;
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;

    void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }
    virtual void execute() noexcept = 0;
    /// Instead of execute(): an executor has let go of the task.
    virtual void drop() noexcept = 0;
    /// Whether it is a call on a database that has not begun, rather than what somebody does with an outcome.
    virtual bool is_call() const noexcept { return false; }

protected:
    virtual ~Task() = default;

private:
    friend class TaskQueue;
    Task* next_ = nullptr;
    std::atomic<std::uint32_t> references_{1};
};

class FutureState;

/// Who is told that a future has completed.
class Waiter {
public:
    virtual void resume() noexcept = 0;

protected:
    ~Waiter() = default;
};

/// Runs f and keeps what it throws.
template <class F>
void keep_failure(std::exception_ptr& failure, F&& f) noexcept {
#if EMDB_EXCEPTIONS
    try {
        f();
    } catch (...) {
        failure = std::current_exception();
    }
#else
    static_cast<void>(failure);
    f();
#endif
}

/// What a future and the work behind it share, without the value.
class FutureState : public Task {
public:
    bool done() const noexcept { return (word_.load(std::memory_order_acquire) & done_bit) != 0; }
    /// How a waiter is told: by a task, or at once because it is a blocked thread.
    enum class Tell : std::uintptr_t { by_task = 0, at_once = 2 };

    /// False: it has completed, and the waiter will not be told.
    bool attach(Waiter& waiter, Tell tell = Tell::by_task) noexcept;
    /// As attach, but the waiter is always told.
    void attach_or_post(Waiter& waiter) noexcept;
    /// The waiter, if it is still attached, will not be told.
    void detach(Waiter& waiter) noexcept;
    /// Blocks until it has completed.
    void wait() noexcept;

    void execute() noexcept final;
    void drop() noexcept final;
    /// Has the executor or the pool run the work.
    void start() noexcept;
    /// Tells the waiter, by a task of its own.
    void complete() noexcept;
    /// The same as the last thing that a task does: the waiter goes on in the same task.
    void finish() noexcept;
    virtual void fail(Error error) noexcept = 0;
    /// The same with make_error(). Whoever takes the value is thrown what that throws: there may be no memory for an error.
    template <class MakeError>
    void fail_with(MakeError&& make_error) noexcept {
        keep_failure(failure, [&] { fail(make_error()); });
    }
    /// A call has ended: it no longer keeps its database open.
    virtual void leave_database() noexcept {}
    bool is_call() const noexcept final { return !begun_.load(std::memory_order_relaxed); }

    const std::shared_ptr<Executor>& executor() const noexcept { return executor_; }
    std::exception_ptr failure;  ///< an exception of the user's code, or for want of memory, for whoever takes the value

protected:
    FutureState(std::shared_ptr<Executor> executor, bool has_work) noexcept;
    /// Called once, if it has work; ends in complete() or finish(), then or later.
    virtual void work() noexcept {}
    /// Instead of work(), before it fails.
    virtual void give_up() noexcept {}
    bool begin() noexcept { return !begun_.exchange(true, std::memory_order_acq_rel); }
    /// Takes back a begin(): the state will be executed again.
    void postpone() noexcept {
        is_urgent_ = true;
        begun_.store(false, std::memory_order_release);
    }

private:
    friend class Frame;
    friend class FlushQueue;
    friend class TransactionGate;
    friend void run_call(FutureState& state, AsyncTarget& target, CallKind kind, FunctionRef<bool()> call) noexcept;
    static constexpr std::uintptr_t done_bit = 1;
    static constexpr std::uintptr_t flag_bits = 3;

    bool set_done() noexcept;
    void resume_waiter() noexcept;

    // The waiter's address with its Tell, and done_bit. All: the waiter is about to be told, and can still be detached.
    std::atomic<std::uintptr_t> word_{0};
    const std::shared_ptr<Executor> executor_;  ///< null: the pool
    const std::uint32_t fork_count_;
    std::atomic<bool> begun_;
    bool is_urgent_ = false;  ///< a thread waits in wait(), or it has been postponed: it is not put off again. Whoever began has it
    bool is_write_ = false;   ///< while it waits for a flush
    FutureState* next_to_flush_ = nullptr;
    FutureState* next_at_gate_ = nullptr;
};

Error stopped_error();
/// An Exception with that error, null in builds without exceptions.
std::exception_ptr as_exception(const Error& error) noexcept;
[[noreturn]] void rethrow(std::exception_ptr failure);

struct Nothing {};
template <class T>
using Stored = std::conditional_t<std::is_void_v<T>, Nothing, T>;

template <class T>
class ValueState : public FutureState {
public:
    explicit ValueState(std::shared_ptr<Executor> executor, bool has_work = false) noexcept
        : FutureState(std::move(executor), has_work) {}

    void fail(Error error) noexcept override {
        if constexpr (is_result<T>::value) {
            value.emplace(std::move(error));
        } else {
            failure = as_exception(error);
        }
    }
    /// Once, when done.
    T take() {
        if (failure) rethrow(std::move(failure));
        if (!value) raise(stopped_error());
        if constexpr (!std::is_void_v<T>) return std::move(*value);
    }

    std::optional<Stored<T>> value;
};

/// Refers to a state.
template <class State>
class Ref {
public:
    Ref() noexcept = default;
    /// Takes over a reference.
    explicit Ref(State* state) noexcept : state_(state) {}
    Ref(const Ref& other) noexcept : state_(other.state_) {
        if (state_ != nullptr) state_->retain();
    }
    Ref(Ref&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    Ref& operator=(Ref other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~Ref() {
        if (state_ != nullptr) state_->release();
    }
    State* operator->() const noexcept { return state_; }
    State& operator*() const noexcept { return *state_; }
    explicit operator bool() const noexcept { return state_ != nullptr; }

private:
    State* state_ = nullptr;
};

template <class T>
struct is_future : std::false_type {};
template <class T>
struct is_future<Future<T>> : std::true_type {};

template <class T>
struct Unwrapped {
    using type = T;
};
template <class T>
struct Unwrapped<Future<T>> {
    using type = T;
};

template <class F, class T>
struct Continued : std::invoke_result<F&, T> {};
template <class F>
struct Continued<F, void> : std::invoke_result<F&> {};

template <class U, class T, class F>
class ThenState;

/// A future that has its outcome. For then() it needs an executor, too.
template <class T, class Value>
Future<T> ready_future(Value&& value, std::shared_ptr<Executor> executor) {
    Ref<ValueState<T>> state(new ValueState<T>(std::move(executor)));
    state->value.emplace(std::forward<Value>(value));
    state->complete();
    return Future<T>(std::move(state));
}

}  // namespace detail

/// The outcome of a call that emdb makes on its pool or executor: most often a `Result`, there once the call is done. The call
/// has been queued when the Future is returned and runs whatever becomes of the Future; dropping it never blocks.
///
/// Take the outcome once, by one of `co_await`, `get()` and `then()`; the Future is empty afterwards, and taking from an empty one throws
/// Exception with `invalid_argument` (prints and aborts in builds without exceptions). One thread at a time.
///
/// **Cost**: a call takes one allocation, for its outcome and copies of its arguments, and the way to another thread and back: a
/// fraction of a microsecond where many are under way, some microseconds for one alone. **Lifetime**: it refers to nothing of the
/// handle that made it; while its call is queued or under way, the database stays open.
///
/// What user code threw (a transaction's closure, an `update` function, a `then` callback) is rethrown to whoever takes the
/// outcome. If the executor drops the task, or the process was forked, the outcome is the error `stopped` (for a T that
/// is no Result: an Exception).
template <class T>
class [[nodiscard]] Future {
public:
    /// What the outcome is.
    using value_type = T;

    /// Empty.
    Future() noexcept = default;
    /// @{
    /// Moves the outcome; dropping what was there cancels nothing.
    Future(Future&& other) noexcept = default;
    Future& operator=(Future&& other) noexcept = default;
    /// @}
    ~Future() = default;

    /// Whether there is an outcome to take, now or later.
    bool valid() const noexcept { return static_cast<bool>(state_); }
    /// Whether `get()` would not block, nor `co_await` suspend. False of an empty one. Never waits.
    bool is_ready() const noexcept { return state_ && state_->done(); }

    /// Blocks until the outcome is there. A thread that is running emdb's work (of the pool, or in a task of the executor) makes
    /// the awaited call itself if nobody has begun it; on the pool another thread takes its place while it blocks. So it may be
    /// called anywhere, except where it would block an executor's only thread for what needs that thread: prefer `co_await` there.
    T get() {
        require_state();
        state_->wait();
        return take();
    }

    /// Calls f(T) (for void: f()) when the outcome is there, on the pool or executor; the Future returned has what f
    /// returns, and when that is a Future itself, what is in it. If the outcome is an exception, f is not called and the Future returned
    /// has the exception. f is copied or moved, and destroyed when it has been called. Returns at once; one allocation.
    template <class F>
    auto then(F&& f) {
        using Returned = typename detail::Continued<std::decay_t<F>, T>::type;
        using U = typename detail::Unwrapped<Returned>::type;
        using Then = detail::ThenState<U, T, std::decay_t<F>>;
        require_state();
        const auto parent = std::exchange(state_, {});
        Then* const next = new Then(parent, std::forward<F>(f));
        Future<U> future{detail::Ref<detail::ValueState<U>>(next)};
        next->retain();  // until it has been resumed
        parent->attach_or_post(*next);
        return future;
    }

    /// What `co_await` waits with.
    class Awaiter final : public detail::Waiter {
    public:
        /// @{
        /// Called by what the compiler makes of `co_await`.
        explicit Awaiter(Future& future) noexcept : future_(future) {}
        Awaiter(const Awaiter&) = delete;
        Awaiter& operator=(const Awaiter&) = delete;
        // A coroutine destroyed while it waits is not resumed.
        ~Awaiter() {
            if (attached_) future_.state_->detach(*this);
        }

        bool await_ready() const noexcept { return future_.is_ready(); }
        bool await_suspend(std::coroutine_handle<> coroutine) {
            future_.require_state();
            coroutine_ = coroutine;
            attached_ = true;  // before attach(), after which the coroutine may be running elsewhere, or be gone
            if (future_.state_->attach(*this)) return true;
            return attached_ = false;
        }
        T await_resume() {
            attached_ = false;
            return future_.take();
        }
        /// @}

    private:
        void resume() noexcept override { coroutine_.resume(); }

        Future& future_;
        std::coroutine_handle<> coroutine_;
        bool attached_ = false;
    };
    /// @{
    /// Suspends the coroutine until the outcome is there, and gives it, or throws what user code threw. It goes on in the pool or
    /// executor, or right here if the outcome is there already.
    Awaiter operator co_await() & noexcept { return Awaiter(*this); }
    Awaiter operator co_await() && noexcept { return Awaiter(*this); }
    /// @}

    /// Made by emdb only.
    explicit Future(detail::Ref<detail::ValueState<T>> state) noexcept : state_(std::move(state)) {}

private:
    template <class, class, class>
    friend class detail::ThenState;

    void require_state() const {
        if (!state_) detail::raise(Error(ErrorCode::invalid_argument, "The Future is empty: its outcome was taken before, or it "
                                         "never had one. Take it once."));
    }
    T take() {
        const auto state = std::exchange(state_, {});
        return state->take();
    }

    detail::Ref<detail::ValueState<T>> state_;
};

namespace detail {

/// A `then`: told when its parent completes, calls f, completes. Where f returns a Future, told a second time by that.
template <class U, class T, class F>
class ThenState final : public ValueState<U>, public Waiter {
public:
    template <class G>
    ThenState(Ref<ValueState<T>> parent, G&& f)
        : ValueState<U>(parent->executor()), parent_(std::move(parent)), f_(std::forward<G>(f)) {}

private:
    using Returned = typename Continued<F, T>::type;

    void resume() noexcept override {
        // Two steps at most: f, and the future that it returned.
        if (!inner_.valid()) {
            const auto parent = std::exchange(parent_, {});
            keep_failure(this->failure, [&] { call(*parent); });
            f_.reset();
            if (wait_for_inner()) return;
        } else {
            keep_failure(this->failure, [&] { take_inner(); });
        }
        this->finish();
        this->release();
    }

    void call(ValueState<T>& parent) {
        if constexpr (std::is_void_v<T>) {
            parent.take();
            keep([this] { return (*f_)(); });
        } else {
            keep([&] { return (*f_)(parent.take()); });
        }
    }

    template <class Call>
    void keep(Call&& call) {
        if constexpr (is_future<Returned>::value) {
            inner_ = call();
            if (!inner_.valid()) inner_.require_state();
        } else if constexpr (std::is_void_v<U>) {
            call();
            this->value.emplace();
        } else {
            this->value.emplace(call());
        }
    }

    // False: there is none, or it has completed and was taken.
    bool wait_for_inner() noexcept {
        if constexpr (is_future<Returned>::value) {
            if (!inner_.valid()) return false;
            if (!inner_.is_ready() && inner_.state_->attach(*this)) return true;
            keep_failure(this->failure, [this] { take_inner(); });
        }
        return false;
    }

    void take_inner() {
        if constexpr (is_future<Returned>::value) {
            if constexpr (std::is_void_v<U>) {
                inner_.get();
                this->value.emplace();
            } else {
                this->value.emplace(inner_.get());
            }
        }
    }

    struct NoFuture {
        static constexpr bool valid() noexcept { return false; }
    };

    Ref<ValueState<T>> parent_;
    std::optional<F> f_;
    [[no_unique_address]] std::conditional_t<is_future<Returned>::value, Returned, NoFuture> inner_;
};

}  // namespace detail

}  // namespace emdb

#endif  // EMDB_ASYNC
