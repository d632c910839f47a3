#pragma once
// The life of a compaction: a rewrite into "<path>.compact" while everybody goes on -> all stripes: the last frames, a sync, the
// rename -> readers find the new file -> a sync of the directory -> stripes released -> the old file goes with its last reader.
//
//   - Killed or cut off before the rename is durable: the old file is there, with everything. After it: the new one, with
//     everything, because it was synced first. Nothing is written to either in between.
//   - An error before the rename: the old file goes on as if nothing had been, and the temporary file is removed.
//   - An error of the rename that may have taken effect, or of the directory's sync: nobody knows which file a power cut would
//     leave. Both say the same now, so nothing more may be written: the journal is poisoned. Reading goes on in the file that has
//     the name, whose lock keeps others out.
//   - Flushes need not wait for the rename: until the stripes are released there is nothing to flush that is not synced in the new
//     file, and who holds the old one syncs that.
//   - The new file is locked before it gets its name, so that nobody else can open it in between.

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.hpp"
#include "engine/opening.hpp"
#include "engine/rewrite.hpp"

namespace emdb::detail {

/// The moment at which readers and writers find another file and another index. Made ready while it may still fail.
class ChangeOver {
public:
    /// All of it by the holder of all stripes.
    ChangeOver(Engine& engine, Engine& next) : engine_(engine), next_(next) { engine.pins_->reserve(1); }
    ChangeOver(const ChangeOver&) = delete;
    ChangeOver& operator=(const ChangeOver&) = delete;
    ~ChangeOver() {
        if (!done_) engine_.pins_->unreserve(1);
    }

    Result<void> prepare() {
        const std::lock_guard lock(engine_.registry_);
        add(engine_.default_keyspace_, *next_.default_keyspace_);
        for (const auto& [name, keyspace] : engine_.namespaces_) add(keyspace, *next_.namespaces_.find(name)->second);
        for (const auto& dropped : engine_.dropped_) {
            // Who still has a handle may be about to look into it.
            auto keyspace = dropped.lock();
            if (keyspace == nullptr) continue;
            const auto empty = next_.make_keyspace(keyspace->id, keyspace->name);
            if (auto ordered = next_.order(*empty); !ordered) return ordered;
            add(std::move(keyspace), *empty);
        }
        kept_.reserve(changes_.size());
        return {};
    }

    void apply() noexcept {
        const Engine::Publishing publishing(engine_);
        for (Change& change : changes_) {
            kept_.emplace_back(change.keyspace->change_over(std::move(change.index)).release(),
                               [](void* index) noexcept { delete static_cast<KeyspaceIndex*>(index); });
        }
        for (std::size_t i = 0; i < shard_count; ++i) take_totals(engine_.stripes_[i], next_.stripes_[i]);
        Generation* const old = engine_.generation_.exchange(next_.generation_.exchange(nullptr));
        old->keep(std::move(kept_));
        engine_.pins_->retire(old, [](void* generation) noexcept { static_cast<Generation*>(generation)->retire(); });
        done_ = true;
    }

private:
    struct Change {
        std::shared_ptr<KeyspaceState> keyspace;
        std::unique_ptr<KeyspaceIndex> index;
    };

    void add(std::shared_ptr<KeyspaceState> keyspace, KeyspaceState& next) {
        changes_.push_back({std::move(keyspace), next.change_over(nullptr)});
    }

    static void take_totals(Engine::Stripe& stripe, const Engine::Stripe& next) noexcept {
        stripe.records.store(next.records.load(std::memory_order_relaxed), std::memory_order_relaxed);
        stripe.logical_bytes.store(next.logical_bytes.load(std::memory_order_relaxed), std::memory_order_relaxed);
        stripe.frame_bytes.store(next.frame_bytes.load(std::memory_order_relaxed), std::memory_order_relaxed);
    }

    Engine& engine_;
    Engine& next_;
    std::vector<Change> changes_;
    std::vector<Generation::Kept> kept_;
    bool done_ = false;
};

/// Removes a temporary file, unless it has been given its final name.
class TemporaryFile {
public:
    TemporaryFile(FileSystem& files, std::string name) : files_(files), name_(std::move(name)) {}
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() {
        if (made_) (void)files_.remove(name_);  // what is left of it goes at the next opening
    }
    const std::string& name() const noexcept { return name_; }
    void made() noexcept { made_ = true; }
    void keep() noexcept { made_ = false; }

private:
    FileSystem& files_;
    const std::string name_;
    bool made_ = false;
};

// A locked file with this header under the name of a compaction.
Result<OpenedFile> EngineOpening::make_rewritten(const OpenedFile& fresh) const {
    for (int attempt = 0; attempt < 100; ++attempt) {
        OpenedFile copy;
        copy.header = fresh.header;
#if EMDB_ENCRYPT
        copy.data_key = fresh.data_key;
#endif
        auto made = make_temporary(std::move(copy));
        if (!made && made.error() == ErrorCode::already_locked) break;
        if (!made) return std::move(made).error();
        if (*made) return std::move(**made);
    }
    return Error(ErrorCode::already_locked, "'" + temporary_name() + "' is in use by somebody else. Try again later.");
}

Result<void> Engine::compact() {
    return compact_into([](OpenedFile&) { return Result<void>(); });
}

// prepare(fresh) may give the new file another key.
Result<void> Engine::compact_into(FunctionRef<Result<void>(OpenedFile&)> prepare) {
    if (auto allowed = refuse_write(); !allowed) return allowed;
    const auto begun = std::chrono::steady_clock::now();
    std::uint64_t old_size = 0;
    std::uint64_t new_size = 0;
    {
        const std::lock_guard maintenance(maintenance_);
        {
            const WritersStandBack stand_back(*this);
            const auto lock = exclude_writers(nullptr);
            if (!lock) return lock.error();
        }
        const EngineOpening naming{environment_, options_, path_, absolute_path_, ".compact"};
        TemporaryFile temporary(environment_.files(), naming.temporary_name());
        const GenerationRef old = reference();
        Rewrite rewrite(*this, Rewrite::Index::built);
        auto copied = rewrite.run([&](OpenedFile fresh) -> Result<OpenedFile> {
            if (auto prepared = prepare(fresh); !prepared) return std::move(prepared).error();
            if (in_memory_) {
                auto file = make_memory_database(fresh.header);
                if (!file) return std::move(file).error();
                fresh.file = std::move(*file);
                return fresh;
            }
            auto made = naming.make_rewritten(fresh);
            if (!made) return made;
            temporary.made();
            if (auto kept = made->file->take_permissions_of(old->file()); !kept) return std::move(kept).error();
            return made;
        });
        if (!copied) return copied;
        if (!in_memory_) {
            // A directory that can't be synced is better found out while that is an ordinary error.
            if (auto synced = environment_.files().sync_directory_of(absolute_path_); !synced) return synced;
        }
        const WritersStandBack stand_back(*this);
        const auto lock = exclude_writers(nullptr);
        if (!lock) return lock.error();
        if (auto finished = rewrite.finish(); !finished) return finished;
        if (auto flushed = rewrite.flush(); !flushed) return flushed;
        ChangeOver change_over(*this, rewrite.target());
        if (auto prepared = change_over.prepare(); !prepared) return prepared;
        old_size = old->journal().completed();
        new_size = rewrite.target().journal().completed();
        rewrite.target().journal().log_to(options_.on_log);
        if (in_memory_) {
            change_over.apply();
        } else if (auto placed = put_in_place(change_over, temporary, old->file(), rewrite.target().generation().file()); !placed) {
            return placed;
        }
        checkpoint_end_ = 0;
    }
    note_compaction();
    pins_->reclaim_all();
    const auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun);
    log(LogLevel::info, "Compacted '" + path_ + "' from " + std::to_string(old_size) + " to " + std::to_string(new_size) +
                            " bytes in " + std::to_string(elapsed.count()) + " ms.");
    return {};
}

/// Poisons whatever journal is the current one, unless it is told that all is well.
class Engine::PoisonUnlessSettled {
public:
    explicit PoisonUnlessSettled(Engine& engine) noexcept : engine_(engine) {}
    PoisonUnlessSettled(const PoisonUnlessSettled&) = delete;
    PoisonUnlessSettled& operator=(const PoisonUnlessSettled&) = delete;
    ~PoisonUnlessSettled() {
        if (!settled) engine_.journal().poison("Out of memory in the middle of a compaction.");
    }
    bool settled = false;

private:
    Engine& engine_;
};

// Gives the rewritten, synced file the database's name, for good. By the holder of all stripes. From the rename on, nothing may be
// appended to a file that may not have the name after a power cut: so whatever goes wrong there, an exception included, poisons.
Result<void> Engine::put_in_place(ChangeOver& change_over, TemporaryFile& temporary, File& current, File& rewritten) {
    FileSystem& files = environment_.files();
    const EngineOpening naming{environment_, options_, path_, absolute_path_};
    auto untouched = naming.is_current(current, absolute_path_);
    if (!untouched) return std::move(untouched).error();
    if (!*untouched) {
        return Error(ErrorCode::io, "'" + path_ + "' is not the file any more that was opened: somebody has moved or replaced it. It "
                     "was not compacted. Put the file back, or close the database.");
    }
    rewritten.set_name(path_);
    PoisonUnlessSettled guard(*this);
    auto placed = files.rename_replacing(temporary.name(), absolute_path_);
    if (!placed) {
        // A system may say so of a rename that has happened (a network file system whose answer was lost).
        const auto still_old = naming.is_current(current, absolute_path_);
        guard.settled = still_old && *still_old;
        if (guard.settled) return placed;
        const auto is_new = naming.is_current(rewritten, absolute_path_);
        if (!is_new || !*is_new) return unsettled(placed.error());
    }
    change_over.apply();
    temporary.keep();
    if (placed) placed = files.sync_directory_of(absolute_path_);
    guard.settled = placed.has_value();
    return guard.settled ? Result<void>() : unsettled(placed.error());
}

Error Engine::unsettled(const Error& why) const {
    journal().poison(why.message());
    return Error(ErrorCode::io, why.message() + " Whether '" + path_ + "' is the compacted file or the one before will be known after "
                 "a power cut only; all that was written is in both. Nothing more is written to it until it is reopened.")
        .with_os_error(why.os_error());
}

}  // namespace emdb::detail
