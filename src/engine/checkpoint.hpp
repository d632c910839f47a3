#pragma once
// Taking a checkpoint: from the index in memory to "<path>.meta", while readers and writers go on.
//
//   1. Under all stripes, for a moment: C, the journal's watermark, and the list of keyspaces. The index has everything below C.
//   2. Shard after shard, each under its stripe while it is copied: the hash table and the expiry queue. A shard thus has all that
//      was written to it up to some place between C and E, and nothing above.
//   3. Then the ordered indexes are walked, holding nothing. What the walk finds below C has not been replaced before its shard was
//      copied; so whoever replays the journal from C finds out what of it was replaced later.
//   4. E, the watermark now, is above all that was copied. The journal is flushed up to there, and only then the file gets its name.
//
// Replaying the journal from C over the copy gives what is in the journal: each key ends with the last of its frames, and frames up
// to E find their key's slot as it was then or already newer, never something that is not in the journal. How the copy is loaded:
// checkpoint_load.hpp.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "base/coding.hpp"
#include "base/range.hpp"
#include "checks/crc32c.hpp"
#include "engine/engine.hpp"
#include "engine/range_read.hpp"
#include "journal/meta_file.hpp"

namespace emdb::detail {

class CheckpointWriter {
public:
    /// `exclusive`: the caller holds all stripes until the end. The caller holds maintenance_, so the generation stays.
    CheckpointWriter(Engine& engine, bool exclusive)
        : engine_(engine),
          generation_(engine.reference()),
          exclusive_(exclusive),
          out_(engine.environment_.files(), engine.absolute_path_) {}

    /// The first step; the caller holds all stripes.
    void begin() {
        meta_.flags = (engine_.options_.range_scans ? meta_has_key_order : 0U) | (EMDB_TTL != 0 ? meta_written_with_ttl : 0U);
        meta_.file_id = generation_->header().file_id;
        meta_.replay_from = generation_->journal().completed();
        meta_.next_namespace_id = engine_.next_namespace_id_;
#if EMDB_ENCRYPT
        if (Sealer* const sealer = generation_->sealer()) sealer->end_session();
#endif
        keyspaces_.push_back(engine_.default_keyspace_);
        const std::lock_guard lock(engine_.registry_);
        for (const auto& entry : engine_.namespaces_) keyspaces_.push_back(entry.second);
    }
    /// The journal ends at the place to replay from, with a close mark that has reached the disk.
    void ends_with_close_mark() noexcept { meta_.flags |= meta_ends_with_close_mark; }

    /// The second and third: everything but the file's name.
    Result<void> copy() {
        auto seal = engine_.make_meta_seal();
        if (!seal) return std::move(seal).error();
        if (auto begun = out_.begin(generation_->file(), std::move(*seal)); !begun) return begun;
        meta_.keyspaces.reserve(keyspaces_.size());
        for (const auto& keyspace : keyspaces_) {
            MetaKeyspace& listed = meta_.keyspaces.emplace_back();
            listed.id = keyspace->id;
            listed.name.assign(keyspace->name.data(), keyspace->name.size());
            for (std::size_t shard = 0; shard < shard_count; ++shard) {
                if (auto copied = copy_shard(*keyspace, shard, listed.shards); !copied) return copied;
            }
        }
        if (engine_.options_.range_scans) {
            for (std::size_t i = 0; i < keyspaces_.size(); ++i) {
                if (auto walked = walk(*keyspaces_[i], meta_.keyspaces[i]); !walked) return walked;
            }
        }
        meta_.complete_to = generation_->journal().completed();
#if EMDB_ENCRYPT
        // Those of all that was copied: they began before it was written.
        if (const Sealer* const sealer = generation_->sealer()) meta_.sessions = sealer->sessions_below(meta_.complete_to);
#endif
        return {};
    }

    /// The fourth; the journal is durable up to complete_to().
    Result<void> finish(bool durable) {
        const auto from = fingerprint(meta_.replay_from);
        if (!from) return from.error();
        const auto to = fingerprint(meta_.complete_to);
        if (!to) return to.error();
        meta_.durable_to = generation_->flusher().durable_end();
        meta_.fingerprint_from = *from;
        meta_.fingerprint_to = *to;
        return out_.finish(meta_, durable);
    }

private:
    // Stripe by stripe, so that a writer waits for the copy of one shard at most.
    Result<void> copy_shard(KeyspaceState& keyspace, std::size_t shard, std::vector<MetaShard>& list) {
        MetaShard copied;
        copied.number = static_cast<std::uint32_t>(shard);
        std::span<const std::byte> table;
        std::span<const std::byte> expiring;
        for (;;) {
            std::unique_lock<std::mutex> lock;
            if (!exclusive_) lock = std::unique_lock(engine_.stripe_of(keyspace, shard).mutex);
            KeyspaceIndex& index = keyspace.index();
            const HashTable* found = index.hash.settle(shard);
            if (found == nullptr) return {};
            table = found->memory();
#if EMDB_TTL
            expiring = std::as_bytes(index.expiring.entries(shard));
            copied.expiring_current = index.expiring.current(shard);
#endif
            const RecordTotals totals = index.hash.shard_totals(shard);
            copied.buckets = found->bucket_count();
            copied.expiring = expiring.size() / meta_expiry_size;
            copied.records = totals.records;
            copied.logical_bytes = totals.logical_bytes;
            copied.frame_bytes = totals.frame_bytes;
            if (exclusive_) break;
            if (buffer_.size() >= table.size() + expiring.size()) {
                std::memcpy(buffer_.data(), table.data(), table.size());
                if (!expiring.empty()) std::memcpy(buffer_.data() + table.size(), expiring.data(), expiring.size());
                table = {buffer_.data(), table.size()};
                expiring = {buffer_.data() + table.size(), expiring.size()};
                break;
            }
            const std::size_t size = table.size() + expiring.size();
            lock.unlock();  // nobody waits for memory
            buffer_.resize(size + size / 4);
        }
        copied.crc = crc32c(expiring.data(), expiring.size(), crc32c(table.data(), table.size()));
        list.push_back(copied);
        if (auto written = out_.append(table); !written) return written;
        return out_.append(expiring);
    }

    Result<void> walk(const KeyspaceState& keyspace, MetaKeyspace& listed) {
        const Journal& journal = generation_->journal();
        const Range all = Range::all();
        RangeCursor cursor(all);
        OrderedIndex::Slice slice;
        listed.order_is_complete = true;
        while (!cursor.ended() && listed.order_is_complete) {
            {
                const Pins::Pin pin(*engine_.pins_);
                listed.order_is_complete = cursor.advance(*keyspace.index().ordered, slice);
            }
            const unsigned first = slice.count != 0 && cursor.begins_behind(journal, slice.offsets[0]) ? 1 : 0;
            const auto offsets = std::as_bytes(std::span(slice.offsets).subspan(first, slice.count - first));
            listed.ordered += slice.count - first;
            listed.order_crc = crc32c(offsets.data(), offsets.size(), listed.order_crc);
            if (auto written = out_.append(offsets); !written) return written;
        }
        return {};
    }

    Result<std::uint32_t> fingerprint(std::uint64_t end) const {
        const std::uint64_t start = meta_fingerprint_start(end);
        std::vector<std::byte> bytes(static_cast<std::size_t>(end - start));
        const auto read = generation_->file().read_at(start, bytes);
        if (!read) return read.error();
        return meta_fingerprint(std::span(bytes).first(*read), out_.seal());
    }

    Engine& engine_;
    const GenerationRef generation_;
    const bool exclusive_;
    MetaWriter out_;
    MetaContents meta_;
    std::vector<std::shared_ptr<KeyspaceState>> keyspaces_;
    std::vector<std::byte> buffer_;
};

Result<void> Engine::checkpoint() {
    if (auto allowed = refuse_write(); !allowed) return allowed;
    const std::lock_guard maintenance(maintenance_);
    if (!usable(*default_keyspace_)) return stopped_error();
    if (in_memory_) return {};
    if (!keeps_checkpoints()) return reference()->flusher().flush(true);
    CheckpointWriter checkpoint(*this, false);
    {
        const WritersStandBack stand_back(*this);
        const auto lock = exclude_writers_to_append(nullptr);
        if (!lock) return lock.error();
        checkpoint.begin();
    }
    if (auto copied = checkpoint.copy(); !copied) return copied;
    if (auto flushed = reference()->flusher().flush(true); !flushed) return flushed;
    return checkpoint.finish(true);
}

// At the end of a clean close, under all stripes: nothing is left to replay. Not synced, see meta_file.hpp. The database is as good
// without it.
void Engine::checkpoint_at_close() {
    if (!keeps_checkpoints()) return;
    const std::uint64_t end = journal().completed();
    if (end == checkpoint_end_) {
        const auto status = environment_.files().status(meta_path(absolute_path_));
        if (status && status->kind == FileKind::regular) return;
    }
    CheckpointWriter checkpoint(*this, true);
    checkpoint.begin();
    checkpoint.ends_with_close_mark();
    auto written = checkpoint.copy();
    if (written) written = checkpoint.finish(false);
    if (written) return;
    log(LogLevel::warning, "The checkpoint of '" + path_ + "' could not be written (the next open takes longer): " +
                               written.error().message());
}

}  // namespace emdb::detail
