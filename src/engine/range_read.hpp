#pragma once
// range and range_iter: from the ordered index, leaf by leaf, to the frames.
//
// range looks all offsets up before it reads a value, at one moment as far as transactions go; read_many.hpp explains how.
// range_iter takes a leaf's entries at a time and then goes on from the leaf's bound: whatever happens to the tree meanwhile, it
// neither sees a key twice nor misses one that was there throughout.

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crypto/secret_vector.hpp"
#include "engine/engine.hpp"
#include "engine/read_path.hpp"
#include "journal/frame_prefetch.hpp"

namespace emdb::detail {

/// How far a scan has come. The range lives as long.
class RangeCursor {
public:
    RangeCursor(const RangeCursor&) = delete;
    RangeCursor& operator=(const RangeCursor&) = delete;
#if EMDB_ENCRYPT
    ~RangeCursor() { wipe_text(next_key_); }
#endif
    explicit RangeCursor(const Range& range) {
        if (range.lower()) from_ = {range.lower()->key, range.lower()->inclusive};
        if (range.upper()) to_ = KeyBound{range.upper()->key, range.upper()->inclusive};
        if (!to_) return;
        const int order = compare_keys(from_.key, to_->key);
        ended_ = order > 0 || (order == 0 && !(from_.inclusive && to_->inclusive));
    }

    bool ended() const noexcept { return ended_; }

    /// Takes the next entries, perhaps none. False: a key in their way can't be read. The caller holds a pin, and has the file's
    /// map stay as long as the cursor.
    bool advance(const OrderedIndex& index, OrderedIndex::Slice& slice) {
        if (next_ != 0) {
            const KeyReader::Key next = index.key_at(next_);
            // Bounds ascend; only a damaged one would lead back.
            if (compare_keys(next, from_.key) < 0) return false;
            from_ = {keep(next), true};
        }
        index.collect(from_, to_ ? &*to_ : nullptr, slice);
        next_ = slice.next;
        ended_ = next_ == 0;
        return index.unreadable() == 0;
    }

    /// Whether the first entry of a slice does not belong to the range; the others do. Not its checksum's business: what is not in
    /// the range may be damaged.
    bool begins_behind(const Journal& journal, std::uint64_t offset) const noexcept {
        FrameView frame;
        PlainText text;
        if (!journal.read(offset, false, frame, text)) return false;
        const int order = compare_keys(from_.key, frame.key);
        return order > 0 || (order == 0 && !from_.inclusive);
    }

private:
    // A key that is in the map stays; an opened one does not.
    Bytes keep(const KeyReader::Key& key) {
#if EMDB_ENCRYPT
        if (key.is_opened()) {
            next_key_ = static_cast<Bytes>(key).as_string_view();
            return std::string_view(next_key_);
        }
#endif
        return key;
    }

    KeyBound from_;
    std::optional<KeyBound> to_;
    std::uint64_t next_ = 0;
    bool ended_ = false;
#if EMDB_ENCRYPT
    SecretString next_key_;
#endif
};

/// Holds no lock and no pin between steps, only a reference on the generation: it may outlive the engine.
class RangeIterationSource final : public RecordSource {
public:
    RangeIterationSource(const Engine& engine, std::shared_ptr<KeyspaceState> keyspace, const KeyspaceIndex& index, Range range)
        : verify_(engine.verify_reads_),
          clock_(engine.clock_),
          fork_count_(engine.fork_count_),
          keyspace_(std::move(keyspace)),
          in_(index),
          range_(std::move(range)),
          cursor_(range_) {
        expect(shape_last_read);
    }

    bool next(RecordView& record) override {
        for (;;) {
            while (next_ == slice_.count) {
                if (failed_ || cursor_.ended()) return false;
                if (fork_count_ != fork_count()) {
                    // A writer that the fork left behind in the parent may seem to be changing the index for ever.
                    failed_ = Error(ErrorCode::stopped, "The iterator over '" + keyspace_->database_path +
                                    "' was made before this process was forked. Make one on a database that was opened in this "
                                    "process.");
                    return false;
                }
                refill();
            }
            const Journal& journal = in_.journal();
            const unsigned later = next_ + ahead_;
            if (later >= first_ahead_ && later < slice_.count) prefetch_(journal.address(slice_.offsets[later]), lines_);
            const std::uint64_t offset = slice_.offsets[next_++];
            if (next_ == 1 && cursor_.begins_behind(journal, offset)) continue;
            FrameView frame;
            if (!read(journal, offset, frame)) {
                fail(offset);
                return false;
            }
            if (clock_.has_expired(frame)) continue;
            record = {frame.key.as_string_view(), frame.value.as_string_view()};
            return true;
        }
    }

    Result<void> status() const override { return failed_ ? Result<void>(*failed_) : Result<void>(); }

private:
    // Frames of a new slice are fetched together, and then each some records ahead: far enough for memory to keep up, not much
    // further, because most scans are short; fewer of large ones. Most frames have the shape of the one before.
    void expect(const FrameShape& shape) noexcept {
        constexpr std::size_t lines_max = 20;
        shape_ = shape;
        const std::size_t lines = (shape.key_size() + shape.value_size()) / cache_line_size + 2;
        const bool large = lines > 2 * frame_lines_fetched;
        lines_ = std::clamp(lines, frame_lines_fetched, lines_max);
        ahead_ = large ? 4 : 8;
        first_ahead_ = large ? 6 : 12;
    }

    void refill() {
        next_ = 0;
        const OrderedIndex& index = *in_.index.ordered;
        bool readable = true;
        {
            const Pins::Pin pin(*keyspace_->pins);
            readable = cursor_.advance(index, slice_);
        }
        if (!readable) fail(index.unreadable() != 0 ? index.unreadable() : slice_.next);
        for (unsigned i = 0; i < (std::min)(first_ahead_, slice_.count); ++i) {
            prefetch_(in_.journal().address(slice_.offsets[i]));
        }
    }

    // As Journal::read.
    bool read(const Journal& journal, std::uint64_t offset, FrameView& frame) noexcept {
        if (journal.seals()) [[unlikely]] return journal.read(offset, true, frame, text_);
        if (!journal.read_shape(offset, shape_, frame)) {
            frame = Engine::read_and_remember_shape(journal, offset);
            if (frame.start == nullptr) return false;
            expect(shape_last_read);
        }
        return !verify_ || journal.validates(frame, offset);
    }

    void fail(std::uint64_t offset) {
        failed_ = damaged_record_error(keyspace_->database_path, in_.journal(), offset);
        slice_.count = 0;
        next_ = 0;
    }

    const bool verify_;
    const ExpiryClock clock_;
    const std::uint32_t fork_count_;
    const std::shared_ptr<KeyspaceState> keyspace_;
    const IndexRef in_;
    const Range range_;
    RangeCursor cursor_;
    OrderedIndex::Slice slice_;
    unsigned next_ = 0;
    FramePrefetch prefetch_;
    FrameShape shape_;
    std::size_t lines_ = frame_lines_fetched;
    unsigned ahead_ = 0;
    unsigned first_ahead_ = 0;
    PlainText text_;
    std::optional<Error> failed_;
};

Error Engine::not_ordered() const {
    return Error(ErrorCode::invalid_config, "'" + path_ + "' was opened without range scans. Open it with "
                 "EmdbBuilder::enable_range_scans(true).");
}

Result<std::unique_ptr<RecordSource>> Engine::iterate_range(const std::shared_ptr<KeyspaceState>& keyspace, Range range) const {
    if (!usable(*keyspace)) return why_unusable(*keyspace);
    if (!options_.range_scans) return not_ordered();
    const Pins::Pin pin(*pins_);
    return std::unique_ptr<RecordSource>(
        std::make_unique<RangeIterationSource>(*this, keyspace, keyspace->index(), std::move(range)));
}

// Appends the offsets of a range's records. False: the order can't be relied upon.
bool Engine::collect_range(const OrderedIndex& ordered, const Range& range, std::vector<std::uint64_t>& offsets) const {
    OrderedIndex::Slice slice;
    for (RangeCursor cursor(range); !cursor.ended();) {
        const Pins::Pin pin(*pins_);
        if (!cursor.advance(ordered, slice)) return false;
        offsets.insert(offsets.end(), slice.offsets.begin(), slice.offsets.begin() + slice.count);
    }
    return true;
}

// The offsets of a range's records in the order of their keys, expired ones included, as they were at one moment as far as
// transactions go. Bounds of nodes, and keys that tie, are read from the file; so when it comes to holding publishing_, they were
// read a moment ago.
Result<std::vector<std::uint64_t>> Engine::locate_range(const KeyspaceIndex& index, const Range& range) const {
    std::vector<std::uint64_t> offsets;
    const auto locate = [&] {
        offsets.clear();
        return collect_range(*index.ordered, range, offsets);
    };
    bool readable = true;
    bool at_one_moment = false;
    for (int attempt = 0; attempt < 8 && !at_one_moment; ++attempt) {
        const std::uint64_t before = commits_.load(std::memory_order_acquire);
        readable = locate();
        // The look-ups end with acquire loads, so this one comes after them.
        at_one_moment = before % 2 == 0 && commits_.load(std::memory_order_relaxed) == before;
    }
    if (!at_one_moment) {
        const std::lock_guard lock(publishing_);
        readable = locate();
    }
    if (!readable) return damaged_error(index.journal(), index.ordered->unreadable());
    if (!offsets.empty() && RangeCursor(range).begins_behind(index.journal(), offsets.front())) offsets.erase(offsets.begin());
    return offsets;
}

Result<std::vector<Record>> Engine::range(const KeyspaceState& keyspace, const Range& range) const {
    if (!usable(keyspace)) return why_unusable(keyspace);
    if (!options_.range_scans) return not_ordered();
    const IndexRef in = reference(keyspace);
    const auto offsets = locate_range(in.index, range);
    if (!offsets) return offsets.error();

    const Journal& journal = in.journal();
    constexpr std::size_t ahead = 8;
    for (std::size_t i = 0; i < (std::min)(ahead, offsets->size()); ++i) prefetch_frame(journal.address((*offsets)[i]));
    ExpiryMoment moment(clock_);
    std::vector<Record> records;
    records.reserve(offsets->size());
    for (std::size_t i = 0; i < offsets->size(); ++i) {
        const std::uint64_t offset = (*offsets)[i];
        if (i + ahead < offsets->size()) prefetch_frame(journal.address((*offsets)[i + ahead]));
        FrameView frame;
        PlainText text;
        if (!journal.read(offset, verify_reads_, frame, text)) return damaged_error(journal, offset);
        if (moment.has_expired(frame)) continue;
        records.push_back({std::string(frame.key.as_string_view()), std::string(frame.value.as_string_view())});
    }
    return records;
}

}  // namespace emdb::detail
