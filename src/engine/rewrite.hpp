#pragma once
// Rewrite: copies a database, which goes on being read and written, into another file. Compaction puts that file in the database's
// place, a backup puts it elsewhere.
//
//   1. begin       with all stripes held for a moment: what is in the journal is in the index from now on. `copied_` is its end.
//   2. copy_live   the records that the index has below copied_, in key order where there is one (scans become sequential), else
//                  in journal order. What is changed meanwhile has a frame above copied_, and is left to the next step.
//   3. catch_up    frames that were written since, removals included, in rounds that get shorter; writers that are too fast for
//                  that are slowed down.
//   4. finish      with all stripes held: the last frames. Now both files say the same.
//
// Two threads share the work: one reads, checks and encodes, the other writes and indexes what the first has encoded.
//
// Frames are encoded anew, because their checksums depend on file and place. Expired records are left out. A record that is damaged
// ends the rewrite; salvage is for that.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/engine.hpp"
#include "journal/frame_prefetch.hpp"
#include "engine/opening.hpp"
#include "engine/range_read.hpp"
#include "engine/recovery.hpp"
#include "engine/work_beside.hpp"
#include "index/offset_sort.hpp"
#include "journal/batch_buffer.hpp"

namespace emdb::detail {

class Rewrite {
public:
    /// Whether the copy gets an index, ready to be used.
    enum class Index : bool { none, built };

    Rewrite(Engine& source, Index index) : source_(source), builds_index_(index == Index::built), from_(source.reference()) {}
    Rewrite(const Rewrite&) = delete;
    Rewrite& operator=(const Rewrite&) = delete;

    /// Has `make_file(OpenedFile)` -> Result<OpenedFile> make the new file: locked, with the header that is handed to it, perhaps with
    /// another key.
    template <class MakeFile>
    Result<void> run(MakeFile&& make_file) {
        OpenedFile fresh;
        if (auto begun = begin(fresh); !begun) return begun;
        auto made = make_file(std::move(fresh));
        if (!made) return std::move(made).error();
        if (auto opened = open_target(std::move(*made)); !opened) return opened;
        for (const auto& keyspace : keyspaces_) {
            if (auto copied = copy_live(*keyspace); !copied) return copied;
        }
        all_copied_ = true;
        std::vector<std::uint64_t>().swap(new_offsets_);
        return catch_up();
    }

    /// The rest, by the holder of all stripes. Not synced.
    Result<void> finish() { return copy_frames(source_journal().completed()); }

    /// Makes durable what has been copied.
    Result<void> flush() {
        return target_->in_memory_ ? Result<void>() : target_->generation().flusher().flush(true);
    }

    Engine& target() noexcept { return *target_; }

private:
    static constexpr std::uint64_t batch_size = std::uint64_t{1} << 20;
    static constexpr std::uint64_t large_value = std::uint64_t{256} << 10;
    static constexpr std::uint64_t little = std::uint64_t{512} << 10;
    static constexpr std::uint64_t slice = std::uint64_t{1} << 20;
    static constexpr std::uint64_t read_ahead = std::uint64_t{8} << 20;
    static constexpr std::uint64_t write_ahead = std::uint64_t{8} << 20;
    static constexpr std::uint64_t page = 4096;

    const Journal& source_journal() const noexcept { return from_->journal(); }
    Journal& target_journal() noexcept { return target_->journal(); }

    Result<void> begin(OpenedFile& fresh) {
        const Engine::WritersStandBack stand_back(source_);
        const Engine::AllStripes lock(source_);
        if (auto allowed = go_on(); !allowed) return allowed;
        copied_ = source_journal().completed();
        fresh.header = from_->header();
        fresh.header.next_namespace_id = source_.next_namespace_id_;
#if EMDB_ENCRYPT
        if (from_->sealer() != nullptr) fresh.data_key = from_->sealer()->key();
#endif
        keyspaces_.push_back(source_.default_keyspace_);
        const std::lock_guard registry_lock(source_.registry_);
        for (const auto& entry : source_.namespaces_) keyspaces_.push_back(entry.second);
        return source_.environment_.fill_random(fresh.header.file_id);
    }

    Result<void> open_target(OpenedFile fresh) {
        const Header& header = fresh.header;
        target_.reset(new Engine(source_.options_, source_.environment_, source_.path_, source_.in_memory_));
        target_->pins_ = source_.pins_;
        target_->ordered_nodes_ = source_.ordered_nodes_;
        target_->hash_key_0_ = header.hash_key_0;
        target_->hash_key_1_ = header.hash_key_1;
        const bool mapped_append = source_.options_.append_mode != AppendMode::pwrite;
        auto sealer = make_sealer(fresh);
#if EMDB_IO_URING
        source_.use_ring(*fresh.file);
#endif
        auto* generation = new Generation(std::move(fresh.file), header, std::move(sealer), mapped_append, source_.path_);
        target_->generation_.store(generation, std::memory_order_seq_cst);
        if (auto mapped = generation->map().open(generation->file(), journal_start); !mapped) return mapped;
        generation->map().expect_random_reads(generation->file());
        generation->journal().start_at(journal_start, journal_start, journal_start);
        generation->flusher().start_at(journal_start, journal_start);
        target_->default_keyspace_ = target_->make_keyspace(0, "");
        if (builds_index_) indexed_.emplace(*target_);
        batch_.emplace(generation->journal().coding());
        written_batch_.emplace(generation->journal().coding());
        return target_->wants_session() ? target_->begin_session() : Result<void>();
    }

    // A rewrite that nobody waits for any more ends early.
    Result<void> go_on() const {
        if (source_.closing_.load(std::memory_order_relaxed)) return source_.stopped_error();
        return {};
    }

    // Records as they were put, with nothing of what has happened to them since.
    Result<void> copy_live(const KeyspaceState& keyspace) {
        if (keyspace.id != 0) {
            FrameContent created;
            created.kind = FrameKind::namespace_create;
            created.namespace_id = keyspace.id;
            created.key = keyspace.name;
            if (auto appended = append_alone(created); !appended) return appended;
        }
        const KeyspaceIndex& index = keyspace.index();  // stays: only the caller of a rewrite changes over to another one
        std::vector<std::uint64_t> offsets;
        offsets.reserve(static_cast<std::size_t>(index.hash.totals().records));
        if (auto collected = collect(index, offsets); !collected) return collected;
        if (auto room = make_room(keyspace, offsets.size()); !room) return room;
        new_offsets_.clear();
        if (orders()) new_offsets_.reserve(offsets.size());
        constexpr std::size_t ahead = 16;
        const Journal& journal = source_journal();
        const bool in_file_order = index.ordered == nullptr;
        expected_ = 0;
        ExpiryMoment moment(source_.clock_);
        for (std::size_t i = 0; i < offsets.size(); ++i) {
            if (i + ahead < offsets.size()) prefetch_frame(journal.address(offsets[i + ahead]));
            if (in_file_order) expect_reading_from(offsets[i]);
            FrameView frame;
            PlainText text;
            if (!journal.read(offsets[i], true, frame, text)) return source_.damaged_error(journal, offsets[i]);
            if (moment.has_expired(frame)) continue;
            if (auto added = add(frame); !added) return added;
        }
        if (auto written = write_batch(); !written) return written;
        return order(keyspace.id, new_offsets_);
    }

    // The map is read at random, so the system does not read ahead by itself.
    void expect_reading_from(std::uint64_t offset) {
        if (offset + read_ahead / 2 < expected_) return;
        const std::uint64_t from = (std::max)(offset, expected_);
        expected_ = offset + read_ahead;
        from_->file().expect_reading(from, expected_ - from);
    }

    Result<void> collect(const KeyspaceIndex& index, std::vector<std::uint64_t>& offsets) const {
        if (index.ordered != nullptr) {
            const Range all = Range::all();
            OrderedIndex::Slice found;
            for (RangeCursor cursor(all); !cursor.ended();) {
                const Pins::Pin pin(*source_.pins_);
                if (!cursor.advance(*index.ordered, found)) {
                    return source_.damaged_error(index.journal(), index.ordered->unreadable());
                }
                for (unsigned i = 0; i < found.count; ++i) {
                    if (i == 0 && cursor.begins_behind(index.journal(), found.offsets[0])) continue;
                    if (found.offsets[i] < copied_) offsets.push_back(found.offsets[i]);
                }
            }
            return {};
        }
        for (HashIndex::Cursor cursor; !cursor.at_end();) {
            const Pins::Pin pin(*source_.pins_);
            index.hash.collect(cursor, offsets);
        }
        std::erase_if(offsets, [&](std::uint64_t offset) { return offset >= copied_; });
        sort_offsets(offsets);
        return {};
    }

    // Tables of the right size from the start.
    Result<void> make_room(const KeyspaceState& keyspace, std::size_t records) {
        if (!indexed_ || records == 0) return {};
        const KeyspaceIndex& from = keyspace.index();
        KeyspaceState* const to = indexed_->keyspace(keyspace.id);
        for (std::size_t shard = 0; shard < shard_count; ++shard) {
            const auto count = static_cast<std::size_t>(from.hash.shard_totals(shard).records);
            if (count == 0) continue;
            if (auto room = target_->make_room(to->index(), shard, count); !room) return room;
        }
        return {};
    }

    bool orders() const noexcept { return builds_index_ && source_.options_.range_scans; }

    // Gives a copied keyspace its ordered index: from now on records are put into that, too.
    Result<void> order(std::uint32_t keyspace_id, std::span<const std::uint64_t> in_key_order) {
        if (!orders()) return {};
        return target_->order_as(*indexed_->keyspace(keyspace_id), in_key_order);
    }

    std::uint64_t left() const noexcept { return source_journal().completed() - copied_; }

    // Everything that has been completed, until so little is left that writers may wait for it. Synced as it goes, so that little
    // is left to sync, too.
    Result<void> catch_up() {
        for (std::uint64_t before = UINT64_MAX, now = left(); now <= little || now <= before / 2; before = now, now = left()) {
            if (auto copied = copy_frames(copied_ + now); !copied) return copied;
            if (auto flushed = flush(); !flushed) return flushed;
            if (now <= little) return {};
        }
        if (auto copied = slow_writers_down(); !copied) return copied;
        if (auto flushed = flush(); !flushed) return flushed;
        return slow_writers_down();  // what they wrote during the sync
    }

    // Against writers that are faster than the copy, rounds never get shorter. So they are held every now and then, for the few
    // milliseconds of one slice. As long as that does not help much, they are held for longer and get less time in between.
    Result<void> slow_writers_down() {
        std::uint64_t freely = slice;
        std::uint64_t held = slice;
        for (std::uint64_t before = UINT64_MAX, now = left(); now > little; before = now, now = left()) {
            if (now + slice / 2 > before) {
                freely = (std::max)(freely / 2, slice / 64);
                held *= 2;
            }
            if (auto copied = copy_frames(copied_ + (std::min)(now, freely)); !copied) return copied;
            const Engine::WritersStandBack stand_back(source_);
            const Engine::AllStripes lock(source_);
            if (auto copied = copy_frames(copied_ + (std::min)(left(), held)); !copied) return copied;
        }
        return {};
    }

    // Whether the key has been put again since: then that frame comes, too, and this one need not. The other way round nothing is
    // certain: what a writer has appended it may not have put into the index yet.
    bool is_superseded(const FrameView& frame) {
        if (frame.namespace_id != last_id_) {
            const auto found = std::find_if(keyspaces_.begin(), keyspaces_.end(),
                                            [&](const auto& keyspace) { return keyspace->id == frame.namespace_id; });
            last_id_ = frame.namespace_id;
            last_ = found == keyspaces_.end() ? nullptr : found->get();
        }
        if (last_ == nullptr) return false;
        const Pins::Pin pin(*source_.pins_);
        const std::uint64_t latest = last_->index().hash.find(source_.hash_of(frame.key));
        FrameView other;
        PlainText text;
        return latest > copied_ && source_journal().read(latest, false, other, text) && other.key == frame.key;
    }

    // The frames that start below `end`. Members of batches lie behind their batch's frame like any others: what counts is that none
    // is left out at the end.
    Result<void> copy_frames(std::uint64_t end) {
        while (copied_ < end) {
            FrameView frame;
            if (!source_journal().read_raw(copied_, true, frame)) return source_.damaged_error(source_journal(), copied_);
            if (auto copied = copy_frame(frame); !copied) return copied;
            copied_ += frame.size;
        }
        return write_batch();
    }

    // As it lies in the file.
    Result<void> copy_frame(const FrameView& raw) {
        FrameView frame = raw;
        PlainText text;
        switch (frame.kind()) {
            case FrameKind::batch:
            case FrameKind::session:
            case FrameKind::sync_mark:
            case FrameKind::close_mark: return {};
            default: break;
        }
        if (source_journal().seals() && !source_journal().read_any_kind(copied_, true, frame, text)) {
            return unread(source_journal(), copied_, text);
        }
        switch (frame.kind()) {
            case FrameKind::put:
            case FrameKind::remove: return is_superseded(frame) ? Result<void>() : add(frame);
            default: break;
        }
        if (auto written = write_batch(); !written) return written;
        if (auto appended = append_alone(content_of(frame)); !appended) return appended;
        return frame.kind() == FrameKind::namespace_create ? order(frame.namespace_id, {}) : Result<void>();
    }

    static FrameContent content_of(const FrameView& frame) noexcept {
        return {frame.kind(), frame.namespace_id, frame.expiry_unix_ms, frame.key, frame.value};
    }

    Result<void> add(const FrameView& frame) {
        if (frame.value.size() > large_value) {
            if (auto written = write_batch(); !written) return written;
            return append_alone(content_of(frame));
        }
        batch_->add(content_of(frame));
        return batch_->size() >= batch_size ? hand_batch_over() : Result<void>();
    }

    // To be written and indexed while the next one is gathered: half of the work each.
    Result<void> hand_batch_over() {
        if (auto written = writer_.finish(); !written) return written;
        if (auto allowed = go_on(); !allowed) return allowed;
        std::swap(*batch_, *written_batch_);
        writer_.begin();
        return {};
    }

    // All that has been added, before anything else is done with the copy.
    Result<void> write_batch() {
        if (auto written = writer_.finish(); !written) return written;
        if (auto allowed = go_on(); !allowed) return allowed;
        return write(*batch_);
    }

    Result<void> write(BatchBuffer& batch) {
        if (batch.count() == 0) return {};
        const auto start = target_journal().append(batch);
        if (!start) return start.error();
        for (std::size_t i = 0; i < batch.count(); ++i) {
            const std::uint64_t member = batch.start_of(i);
            if (auto applied = apply(*start + member, batch.member(member)); !applied) return applied;
        }
        if (indexed_) {
            if (auto finished = indexed_->finish(); !finished) return finished;
        }
        settle(*start, batch.size());
        batch.clear();
        return {};
    }

    // Sends what has been written on its way to the disk, and has its pages mapped, so that the first readers of each need not wait
    // for that.
    void settle(std::uint64_t offset, std::uint64_t size) noexcept {
        const std::uint64_t end = offset + size;
        if (end - sent_ >= write_ahead) {
            const std::uint64_t whole_pages = end / page * page;
            target_->generation().file().start_writing(sent_, whole_pages - sent_);
            sent_ = whole_pages;
        }
        if (!builds_index_) return;
        for (std::uint64_t at = offset; at < end; at += page) (void)*static_cast<const volatile std::byte*>(target_journal().address(at));
    }

    Result<void> append_alone(const FrameContent& content) {
        if (auto allowed = go_on(); !allowed) return allowed;
        auto offset = target_journal().append(content);
        if (!offset) return std::move(offset).error();
        FrameView frame;
        PlainText text;
        if (!target_journal().read_any_kind(*offset, false, frame, text)) return unread(target_journal(), *offset, text);
        if (auto applied = apply(*offset, frame); !applied) return applied;
        return indexed_ ? indexed_->finish() : Result<void>();
    }

    // Why a frame of any kind could not be read.
    Error unread(const Journal& journal, std::uint64_t offset, const PlainText& text) const {
        return text.lacks_memory() ? unopened_frame_error(source_.path_, offset) : source_.damaged_error(journal, offset);
    }

    Result<void> apply(std::uint64_t offset, const FrameView& frame) {
        if (!indexed_) return {};
        if (orders() && !all_copied_ && frame.kind() == FrameKind::put) new_offsets_.push_back(offset);
        return indexed_->apply(offset, frame);
    }

    Engine& source_;
    const bool builds_index_;
    const GenerationRef from_;                               ///< what is copied
    std::uint64_t expected_ = 0;                             ///< up to here the system was asked to read ahead
    std::uint64_t copied_ = 0;                               ///< up to here, all is in the copy that counts
    std::vector<std::shared_ptr<KeyspaceState>> keyspaces_;  ///< as they were when it began
    std::unique_ptr<Engine> target_;
    std::optional<IndexBuilder> indexed_;
    std::optional<BatchBuffer> batch_;          ///< is being filled
    std::optional<BatchBuffer> written_batch_;  ///< is the writer's
    std::uint64_t sent_ = 0;                    ///< up to here the system was asked to write
    std::vector<std::uint64_t> new_offsets_;  ///< of the keyspace that is being copied
    bool all_copied_ = false;                 ///< what is left is catching up
    std::uint32_t last_id_ = 0;
    const KeyspaceState* last_ = source_.default_keyspace_.get();  ///< what has last_id_; null: it did not exist at the beginning
    WorkBeside writer_{[this] { return write(*written_batch_); }};  ///< ends before what it works on
};

}  // namespace emdb::detail
