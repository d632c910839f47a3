#pragma once
// CallState: a call on a database, made by the pool or executor.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <cstdint>
#include <memory>
#include <utility>

#include "async/future.hpp"
#include "base/function_ref.hpp"

namespace emdb {

class Emdb;

namespace detail {

/// How a call is made.
enum class CallKind : std::uint8_t {
    read,
    write,      ///< waits elsewhere while a transaction runs; if the flush policy asks for a sync, it is shared
    exclusive,  ///< a transaction: one at a time, the others wait elsewhere
    flush,      ///< what the call does beyond that costs nothing
    long_running,
};

/// A keyspace as its calls hold it: while one lives, the database stays open.
class AsyncTarget;

/// What the call answers at once: `stopped` in a forked child; for all but reads, `invalid_argument` in a transaction's closure.
Result<void> refuse_call(const AsyncTarget& target, CallKind kind);
const std::shared_ptr<Executor>& executor_of(const AsyncTarget& target) noexcept;
Emdb& database_of(AsyncTarget& target) noexcept;
/// Makes the call, which tells whether it succeeded, and completes the state, then or later.
void run_call(FutureState& state, AsyncTarget& target, CallKind kind, FunctionRef<bool()> call) noexcept;
/// The call will never be made.
void give_up_call(AsyncTarget& target, CallKind kind) noexcept;
/// While one lives, code of the user's runs inside a call.
class UserCode {
public:
    UserCode() noexcept;
    UserCode(const UserCode&) = delete;
    UserCode& operator=(const UserCode&) = delete;
    ~UserCode();

private:
    void* outer_;
};

template <class T>
class CallState : public ValueState<T> {
protected:
    CallState(std::shared_ptr<AsyncTarget> target, CallKind kind)
        : ValueState<T>(executor_of(*target), true), target_(std::move(target)), kind_(kind) {}
    virtual T call(AsyncTarget& target) = 0;

private:
    void work() noexcept final {
        run_call(*this, *target_, kind_, [this] {
            this->value.emplace(call(*target_));
            return this->value->has_value();
        });
    }
    void leave_database() noexcept final { target_.reset(); }
    void give_up() noexcept final {
        give_up_call(*target_, kind_);
        target_.reset();
    }

    std::shared_ptr<AsyncTarget> target_;
    const CallKind kind_;
};

}  // namespace detail

}  // namespace emdb

#endif  // EMDB_ASYNC
