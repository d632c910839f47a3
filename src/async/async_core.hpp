#pragma once
// AsyncCore: what all asynchronous handles of a database share, and how calls are made on it.
//
// A call holds an AsyncTarget, which keeps the core, which keeps the database open. So dropping the last handle does not cancel
// what has been queued: the last call closes the database. A thread that drops the last handle waits for that, as it would for
// the close of an Emdb, unless the calls may need that very thread: when they run on an executor, or the thread is running one
// of the pool's tasks.

#include "base/config.hpp"

#if EMDB_ASYNC

#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "api/emdb.hpp"
#include "api/keyspace.hpp"
#include "async/call.hpp"
#include "async/flush_queue.hpp"
#include "async/future_state.hpp"
#include "async/pool.hpp"
#include "async/running.hpp"
#include "async/task_queue.hpp"
#include "async/transaction_gate.hpp"
#include "engine/engine.hpp"
#include "engine/sync_deferral.hpp"

namespace emdb::detail {

class AsyncCore : public std::enable_shared_from_this<AsyncCore> {
public:
    AsyncCore(Emdb database, const std::shared_ptr<Engine>& engine)
        : engine_(*engine), executor_(engine->options().executor), fork_count_(fork_count()), database_(std::move(database)) {}
    AsyncCore(const AsyncCore&) = delete;
    AsyncCore& operator=(const AsyncCore&) = delete;
    ~AsyncCore() {
        database_.reset();
        if (closing_ != nullptr) closing_->resume();
    }

    Engine& engine() noexcept { return engine_; }
    Emdb& database() noexcept { return *database_; }
    const std::shared_ptr<Executor>& executor() const noexcept { return executor_; }
    FlushQueue& flushes() noexcept { return flushes_; }
    TransactionGate& gate() noexcept { return gate_; }
    bool is_forked() const noexcept { return fork_count_ != fork_count(); }

    /// The last handle is gone.
    static void leave(std::shared_ptr<AsyncCore> core) noexcept {
        const bool may_need_this_thread = core->executor_ != nullptr || Frame::runs_on(nullptr);
        if (may_need_this_thread || core->is_forked()) return;
        BlockedThread closing;
        core->closing_ = &closing;
        core.reset();
        if (closing.is_resumed()) return;
        make_waiting_calls();
        closing.wait();
    }

private:
    // All threads of the pool may be busy with code of the user's, even waiting for this thread. Calls that nobody has begun are
    // then made here; what somebody wants to do with their outcomes is left to the pool.
    static void make_waiting_calls() noexcept {
        Pool& pool = Pool::instance();
        TaskQueue others;
        while (Task* const task = pool.take()) {
            if (!task->is_call()) {
                others.push(*task);
                continue;
            }
            task->execute();
            task->release();
        }
        while (Task* const task = others.take()) pool.push(*task);
    }

    Engine& engine_;
    const std::shared_ptr<Executor> executor_;
    const std::uint32_t fork_count_;
    BlockedThread* closing_ = nullptr;  ///< told when the database has been closed
    std::optional<Emdb> database_;
    FlushQueue flushes_;
    TransactionGate gate_;
};

/// Shared by all handles.
class AsyncHandle {
public:
    explicit AsyncHandle(std::shared_ptr<AsyncCore> core) noexcept : core_(std::move(core)) {}
    AsyncHandle(const AsyncHandle&) = delete;
    AsyncHandle& operator=(const AsyncHandle&) = delete;
    ~AsyncHandle() { AsyncCore::leave(std::move(core_)); }

private:
    std::shared_ptr<AsyncCore> core_;
};

class AsyncTarget {
public:
    AsyncTarget(std::shared_ptr<AsyncCore> core, Keyspace keyspace) noexcept : core_(std::move(core)), keyspace_(std::move(keyspace)) {}

    static std::shared_ptr<AsyncTarget> of(const Emdb& database) {
        const auto engine = database.engine_;
        return std::make_shared<AsyncTarget>(std::make_shared<AsyncCore>(database, engine), database);
    }

    const std::shared_ptr<AsyncCore>& core() const noexcept { return core_; }
    Keyspace& keyspace() noexcept { return keyspace_; }
    Result<std::unique_ptr<RecordSource>> iterate() const { return core_->engine().iterate(keyspace_.state_); }
    Result<std::unique_ptr<RecordSource>> iterate(Range range) const {
        return core_->engine().iterate_range(keyspace_.state_, std::move(range));
    }

private:
    std::shared_ptr<AsyncCore> core_;
    Keyspace keyspace_;
};

/// Flushes for all who have joined the queue.
class FlushTask final : public Task {
public:
    explicit FlushTask(std::shared_ptr<AsyncCore> core) noexcept : core_(std::move(core)) {}

    void execute() noexcept override {
        AsyncCore& core = *core_;
        core.flushes().flush(core.engine(), std::move(core_));
    }
    // What has been written may well be made durable.
    void drop() noexcept override { execute(); }
    bool is_call() const noexcept override { return true; }

private:
    std::shared_ptr<AsyncCore> core_;
};

const std::shared_ptr<Executor>& executor_of(const AsyncTarget& target) noexcept { return target.core()->executor(); }

Emdb& database_of(AsyncTarget& target) noexcept { return target.core()->database(); }

Result<void> refuse_call(const AsyncTarget& target, CallKind kind) {
    AsyncCore& core = *target.core();
    if (core.is_forked()) return stopped_error();
    if (kind == CallKind::read) return {};
    return core.engine().refuse_write();
}

UserCode::UserCode() noexcept : outer_(SyncDeferral::suspend()) {}

UserCode::~UserCode() { SyncDeferral::resume(outer_); }

/// Completes a call when what it has done is durable; `here`: on this thread, which waits for it.
inline void flush_call(FutureState& state, AsyncCore& core, bool is_write, bool here) noexcept {
    std::shared_ptr<AsyncCore> owner = core.weak_from_this().lock();
    const bool nobody_flushes = core.flushes().join(state, is_write);
    if (!here && !nobody_flushes) return;
    // Without the memory for a task the flush is made here, too: somebody has to, and nothing may be thrown.
    const Ref<FlushTask> task(here ? nullptr : new (std::nothrow) FlushTask(owner));
    if (!task) return owner->flushes().flush(owner->engine(), owner);
    const auto executor = owner->executor();
    owner.reset();
    post(executor, *task);
}

void run_call(FutureState& state, AsyncTarget& target, CallKind kind, FunctionRef<bool()> call) noexcept {
    AsyncCore& core = *target.core();
    const bool urgent = state.is_urgent_;
    bool needs_sync = false;
    if (kind == CallKind::read) {
        keep_failure(state.failure, [&] { call(); });
    } else {
        if (kind == CallKind::write && !urgent && !core.gate().let_write_pass(state)) return;
        if (kind == CallKind::exclusive && !urgent && !core.gate().let_transaction_pass(state)) return;
        std::optional<Pool::Blocking> blocking;
        if (kind == CallKind::exclusive || kind == CallKind::long_running) blocking.emplace();
        const SyncDeferral deferral(core.engine());
        keep_failure(state.failure, [&] { needs_sync = call() && (deferral.wanted() || kind == CallKind::flush); });
        if (kind == CallKind::exclusive) core.gate().leave();
    }
    if (needs_sync) return flush_call(state, core, kind != CallKind::flush, urgent);
    state.leave_database();
    state.finish();
}

void give_up_call(AsyncTarget& target, CallKind kind) noexcept {
    if (kind == CallKind::exclusive) target.core()->gate().leave();
}

}  // namespace emdb::detail

#endif  // EMDB_ASYNC
