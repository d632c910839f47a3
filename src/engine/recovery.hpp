#pragma once
// From a journal to an index: replays what is in the file, cuts a torn tail off, and makes sure that what was found is durable
// before anything vouches for it.

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/checkpoint_load.hpp"
#include "engine/engine.hpp"
#include "journal/replay.hpp"

namespace emdb::detail {

/// Applies frames to the index of an engine that nobody else uses yet. Records pass through a ring, so that the cache line of a key's
/// bucket is fetched while others are applied.
class IndexBuilder {
public:
    /// With a checkpoint, it goes on from there.
    explicit IndexBuilder(Engine& engine, CheckpointLoad* checkpoint = nullptr) : engine_(engine), checkpoint_(checkpoint) {
        by_id_[0] = engine.default_keyspace_.get();
        for (const auto& entry : engine.namespaces_) by_id_[entry.second->id] = entry.second.get();
    }

    Result<void> apply(std::uint64_t offset, const FrameView& frame) {
        switch (frame.kind()) {
            case FrameKind::put:
            case FrameKind::remove: return apply_record(offset, frame);
            case FrameKind::clear: {
                if (auto finished = finish(); !finished) return finished;
                KeyspaceState* keyspace = keyspace_of(frame);
                if (keyspace == nullptr) return unknown_namespace(offset);
                forget(*keyspace);
                if (ReplayedChanges* changes = changes_of(*keyspace)) changes->clear();
                return {};
            }
            case FrameKind::namespace_create: return create_namespace(offset, frame);
            case FrameKind::namespace_drop: return drop_namespace(offset, frame);
            default: return engine_.damaged_error(engine_.journal(), offset);
        }
    }

    /// Null: there is none.
    KeyspaceState* keyspace(std::uint32_t id) const {
        const auto found = by_id_.find(id);
        return found == by_id_.end() ? nullptr : found->second;
    }

    /// Applies what is still in the ring.
    Result<void> finish() {
        for (; next_ != filled_; ++next_) {
            if (auto applied = apply_pending(ring_[next_ % ring_size]); !applied) return applied;
        }
        return {};
    }

private:
    static constexpr std::size_t ring_size = 32;

    struct Pending {
        KeyspaceState* keyspace = nullptr;
        std::uint64_t hash = 0;
        std::uint64_t offset = 0;
        FrameView frame;
    };

    Result<void> apply_record(std::uint64_t offset, const FrameView& frame) {
        KeyspaceState* keyspace = keyspace_of(frame);
        if (keyspace == nullptr) return unknown_namespace(offset);
        if (filled_ - next_ == ring_size) {
            if (auto applied = apply_pending(ring_[next_++ % ring_size]); !applied) return applied;
        }
        const std::uint64_t hash = siphash13(frame.key.data(), frame.key.size(), engine_.hash_key_0_, engine_.hash_key_1_);
        keyspace->index().hash.prefetch(KeyHash(hash));
        ring_[filled_++ % ring_size] = {keyspace, hash, offset, frame};
        return engine_.journal().seals() ? finish() : Result<void>();  // what has been opened does not stay
    }

    Result<void> apply_pending(const Pending& pending) {
        KeyspaceState& keyspace = *pending.keyspace;
        const KeyHash hash(pending.hash);
        if (pending.frame.kind() == FrameKind::put) {
            if (auto room = engine_.make_room(keyspace.index(), hash.shard(), 1, pending.frame.expiry_unix_ms != 0); !room) return room;
        }
        const Engine::Current current = engine_.find_slot(keyspace, hash, pending.frame.key);
        if (ReplayedChanges* changes = changes_of(keyspace)) {
            if (current.at) changes->replaced(current.at.offset);
            if (pending.frame.kind() == FrameKind::put) changes->put(pending.hash, pending.offset);
        }
        NodePool::Promise nodes;
        if (const OrderedIndex* ordered = keyspace.index().ordered.get(); ordered != nullptr && !current.at) {
            auto promised = engine_.promise_nodes(*ordered, {&pending.frame.key, 1});
            if (!promised) return std::move(promised).error();
            nodes = std::move(*promised);
        }
        if (pending.frame.kind() == FrameKind::put) {
            const HashIndex::Change change(keyspace.index().hash, hash.shard());
            engine_.index_put(keyspace, hash, current, pending.offset, pending.frame);
        } else if (current.at) {
            const HashIndex::Change change(keyspace.index().hash, hash.shard());
            engine_.index_remove(keyspace, hash, current, pending.frame.key);
        }
        return {};
    }

    Result<void> create_namespace(std::uint64_t offset, const FrameView& frame) {
        std::string name(frame.key.as_string_view());
        if (frame.namespace_id == 0 || name.empty() || by_id_.count(frame.namespace_id) != 0 || engine_.namespaces_.count(name) != 0) {
            return unknown_namespace(offset);
        }
        auto keyspace = engine_.make_keyspace(frame.namespace_id, std::move(name));
        by_id_[frame.namespace_id] = keyspace.get();
        engine_.namespaces_.emplace(keyspace->name, keyspace);
        // The greatest id is never given out: see open_namespace.
        const std::uint32_t next = frame.namespace_id == UINT32_MAX ? UINT32_MAX : frame.namespace_id + 1;
        engine_.next_namespace_id_ = (std::max)(engine_.next_namespace_id_, next);
        return {};
    }

    Result<void> drop_namespace(std::uint64_t offset, const FrameView& frame) {
        if (auto finished = finish(); !finished) return finished;
        KeyspaceState* keyspace = keyspace_of(frame);
        if (keyspace == nullptr || keyspace->id == 0) return unknown_namespace(offset);
        forget(*keyspace);
        if (checkpoint_ != nullptr) checkpoint_->dropped(*keyspace);
        by_id_.erase(keyspace->id);
        last_ = nullptr;
        engine_.namespaces_.erase(engine_.namespaces_.find(keyspace->name));
        return {};
    }

    /// Null: nobody wants to know.
    ReplayedChanges* changes_of(const KeyspaceState& keyspace) const {
        return checkpoint_ == nullptr ? nullptr : checkpoint_->changes_of(keyspace);
    }

    void forget(KeyspaceState& keyspace) {
        engine_.pins_->reserve(keyspace.index().hash.tables_to_clear());
        engine_.forget_records(keyspace);
    }

    KeyspaceState* keyspace_of(const FrameView& frame) {
        if (last_ != nullptr && last_->id == frame.namespace_id) return last_;
        last_ = keyspace(frame.namespace_id);
        return last_;
    }

    Error unknown_namespace(std::uint64_t offset) const {
        return Error(ErrorCode::corrupted, "'" + engine_.path_ + "' is damaged at offset " + std::to_string(offset) +
                     ": the frame there belongs to a namespace that does not fit. Nothing was changed. Restore the file from a "
                     "backup.")
            .with_offset(offset);
    }

    Engine& engine_;
    CheckpointLoad* const checkpoint_;
    std::map<std::uint32_t, KeyspaceState*> by_id_;  ///< not hashed: a hostile file would choose ids that collide
    KeyspaceState* last_ = nullptr;
    std::array<Pending, ring_size> ring_;
    std::size_t filled_ = 0;
    std::size_t next_ = 0;
};

// Called once, by the thread that opens the database, before anybody else can use it.
Result<void> Engine::recover(std::uint64_t file_size) {
    Generation& generation = this->generation();
    // While the index is built, every frame in the file may be looked at again.
    generation.journal().start_at(file_size, file_size, file_size);
    CheckpointLoad checkpoint(*this, file_size);
    JournalReplay replay(generation.map().at(0), file_size, generation.journal().coding(), path_);
    const auto run = [&]() -> Result<ReplaySummary> {
        IndexBuilder builder(*this, &checkpoint);
        auto summary = replay.run(builder, checkpoint.start());
        if (!summary) return summary;
        if (auto finished = builder.finish(); !finished) return std::move(finished).error();
        return summary;
    };
    const bool restored = checkpoint.restore();
    auto summary = run();
    if (restored && !checkpoint.accept(summary)) summary = run();
    if (!summary) return std::move(summary).error();
    if (auto ordered = order(*default_keyspace_, checkpoint.key_order(*default_keyspace_)); !ordered) return ordered;
    for (const auto& entry : namespaces_) {
        if (auto ordered = order(*entry.second, checkpoint.key_order(*entry.second)); !ordered) return ordered;
    }
    const std::uint64_t end = summary->end;
    const std::uint64_t durable_end = (std::max)(summary->vouched_end, checkpoint.durable_end());
    // Where a close could not cut the file, free space follows its mark.
    const bool is_free = end == file_size || (!generation.file().cuts_mapped() && replay.torn_bytes(end) == 0);
    if (summary->ends_with_close_mark && is_free) {
        generation.journal().start_at(end, file_size, durable_end);
        generation.flusher().start_at(durable_end, end);
        generation.flusher().ends_with_close_mark();
        if (checkpoint.exact_end() == end) checkpoint_end_ = end;
        return {};
    }
    return settle_tail(file_size, *summary, durable_end, replay.torn_bytes(end));
}

// After an unclean close. What lies behind the journal's end is cut off, or made zeros where the system does not cut a mapped file, so
// that no stale frame can ever follow a new one, and the part that is not known to be on the disk, by a mark or by a checkpoint, is
// written again. Both reach the disk before anything new is written; but not before the first write or flush does the database wait
// for that.
Result<void> Engine::settle_tail(std::uint64_t file_size, const ReplaySummary& summary, std::uint64_t durable_end,
                                 std::uint64_t torn) {
    File& file = generation().file();
    if (torn != 0) {
        log(LogLevel::warning, "'" + path_ + "' was not closed cleanly: cut a torn tail of " + std::to_string(torn) +
                                   " bytes at offset " + std::to_string(summary.end) + ".");
    } else if (summary.frames != 0) {
        log(LogLevel::info, "'" + path_ + "' was not closed cleanly: recovered up to offset " + std::to_string(summary.end) +
                                ", nothing was torn.");
    }
    Journal& journal = generation().journal();
    journal.start_at(summary.end, file.cuts_mapped() ? summary.end : file_size, durable_end);
    if (auto rewritten = journal.rewrite_unvouched(); !rewritten) return rewritten;
    if (summary.end != file_size) {
        if (auto cut = file.cuts_mapped() ? file.truncate(summary.end) : journal.clear_tail(file_size); !cut) return cut;
    }
    journal.sync_before_appending();
    generation().flusher().start_at(durable_end, summary.vouched_end);
    if (!in_memory_) {
        // Nothing says that the file's name is durable: who created it, compacted it or made it as a backup may have been stopped
        // right after giving it. Whoever closed it cleanly had been here before.
        if (auto named = environment_.files().sync_directory_of(absolute_path_); !named) return named;
    }
    return {};
}

}  // namespace emdb::detail
