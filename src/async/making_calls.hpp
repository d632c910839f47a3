#pragma once
// From a call to a future: one allocation holds the outcome, what is to be done, and copies of the arguments.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "async/async_core.hpp"
#include "async/call.hpp"
#include "async/future.hpp"
#include "base/bytes.hpp"
#include "base/result.hpp"

namespace emdb::detail {

/// work(Keyspace& or Emdb&, Bytes...) -> Result<T>, with the bytes behind the object.
template <class T, class Work, class... Arguments>
class CopiedCall final : public CallState<Result<T>> {
public:
    static CopiedCall* make(std::shared_ptr<AsyncTarget> target, CallKind kind, Work work, Arguments... arguments) {
        void* const memory = ::operator new(sizeof(CopiedCall) + (std::size_t{0} + ... + arguments.size()));
        return ::new (memory) CopiedCall(std::move(target), kind, std::move(work), arguments...);
    }
    static void operator delete(void* memory) { ::operator delete(memory); }

private:
    static_assert(std::is_nothrow_move_constructible_v<Work>);

    CopiedCall(std::shared_ptr<AsyncTarget> target, CallKind kind, Work work, Arguments... arguments) noexcept
        : CallState<Result<T>>(std::move(target), kind), work_(std::move(work)), arguments_{arguments...} {
        auto* end = reinterpret_cast<std::byte*>(this + 1);
        for (Bytes& argument : arguments_) {
            if (!argument.empty()) std::memcpy(end, argument.data(), argument.size());
            argument = Bytes(end, argument.size());
            end += argument.size();
        }
    }

    Result<T> call(AsyncTarget& target) override {
        return [&]<std::size_t... i>(std::index_sequence<i...>) {
            if constexpr (std::is_invocable_v<Work&, Keyspace&, Arguments...>) {
                return work_(target.keyspace(), arguments_[i]...);
            } else {
                return work_(target.core()->database(), arguments_[i]...);
            }
        }(std::index_sequence_for<Arguments...>());
    }

    Work work_;
    std::array<Bytes, sizeof...(Arguments)> arguments_;
};

/// Has work(Keyspace& or Emdb&, copies of the arguments...) -> Result<T> done.
template <class T, class Work, class... Arguments>
    requires(std::is_same_v<Arguments, Bytes> && ...)
Future<Result<T>> make_call(const std::shared_ptr<AsyncTarget>& target, CallKind kind, Work work, Arguments... arguments) {
    if (auto refused = refuse_call(*target, kind); !refused) {
        return ready_future<Result<T>>(std::move(refused).error(), executor_of(*target));
    }
    auto* const call = CopiedCall<T, Work, Arguments...>::make(target, kind, std::move(work), arguments...);
    Future<Result<T>> future{Ref<ValueState<Result<T>>>(call)};
    call->start();
    return future;
}

/// A call that needs no open database, and may take long.
template <class T, class Work>
class DetachedCall final : public ValueState<Result<T>> {
public:
    DetachedCall(std::shared_ptr<Executor> executor, Work work)
        : ValueState<Result<T>>(std::move(executor), true), work_(std::move(work)) {}

private:
    void work() noexcept override {
        {
            const Pool::Blocking blocking;
            keep_failure(this->failure, [this] { this->value.emplace(work_()); });
        }
        this->finish();
    }

    Work work_;
};

template <class T, class Work>
Future<Result<T>> make_detached_call(std::shared_ptr<Executor> executor, Work work) {
    auto* const call = new DetachedCall<T, Work>(std::move(executor), std::move(work));
    Future<Result<T>> future{Ref<ValueState<Result<T>>>(call)};
    call->start();
    return future;
}

/// Keys that a call takes along.
class CopiedKeys {
public:
    explicit CopiedKeys(std::span<const Bytes> keys) : views_(keys.begin(), keys.end()) {
        std::size_t size = 0;
        for (const Bytes key : keys) size += key.size();
        bytes_ = std::make_unique<std::byte[]>(size);
        std::byte* end = bytes_.get();
        for (Bytes& key : views_) {
            if (!key.empty()) std::memcpy(end, key.data(), key.size());
            key = Bytes(end, key.size());
            end += key.size();
        }
    }
    operator std::span<const Bytes>() const noexcept { return views_; }

private:
    std::vector<Bytes> views_;
    std::unique_ptr<std::byte[]> bytes_;
};

}  // namespace emdb::detail

#endif  // EMDB_ASYNC
