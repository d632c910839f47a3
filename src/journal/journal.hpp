#pragma once
// Journal: appending frames to the file, by many threads at once, in an order that a crash can only cut short.
//
//   journal_start        completed            tail       prepared       allocated
//   |--- frames, read-only ---|-- being filled --|-- zeros --|-- unwritten --|
//
// An append reserves [offset, offset + size) by advancing `tail`, fills it, waits until everything below is complete, and
// advances `completed` past itself. Invariants:
//
//   1. completed <= tail <= prepared <= allocated: space is there before it can be reserved, so that a full disk is an error of
//      one call and never a signal or a hole.
//   2. No unfinished frame lies below `completed`. A write is acknowledged, and shown to readers, only after `completed` has
//      passed it: whatever moment the process is killed at, nothing acknowledged lies behind a hole.
//   3. Filling that fails freezes `completed` for good (poisoned): whoever waits above gets an error, and nothing above is ever
//      acknowledged.
//   4. What is being prepared has not been reserved: zeros never meet a frame.
//
// Three ways to fill a frame, coherent with each other (the page cache is one), chosen by what they cost (nanoseconds for a
// frame of 190 bytes, ext4):
//   - store it through AppendWindow: 35. But a sync then writes back whole folios of the page cache, up to 256 KiB.
//   - write it with File::write_at: 600. A sync writes back only its own blocks; so the first frames after each sync go this way.
//   - write large frames and batches in pieces: 25 to 30.
// Space is prepared by writing zeros ahead, in chunks of 64 KiB that grow to 256 KiB in bulk loads: that bounds the size of the
// page cache's folios and with it what a sync writes back (read-ahead would make folios of 2 MiB: 280 microseconds a sync instead
// of 90), and it has the file system convert the allocation chunk by chunk instead of sync by sync.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic.hpp"
#include "base/atomic_wait.hpp"
#include "base/callbacks.hpp"
#include "base/options.hpp"
#include "base/result.hpp"
#include "journal/append_window.hpp"
#include "journal/batch_buffer.hpp"
#include "journal/frame.hpp"
#include "journal/header.hpp"
#include "journal/journal_map.hpp"
#include "crypto/plain_text.hpp"
#include "journal/sealed_frame.hpp"
#include "journal/sealer.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

class Journal {
public:
    /// `sealer` is null where frames are not sealed.
    /// `path`, which errors name, outlives the journal's last write.
    Journal(File& file, JournalMap& map, const Header& header, Sealer* sealer, bool mapped_append, const std::string& path)
        : file_(file),
          path_(path),
          map_(map),
          seed_(header.frame_seed()),
          sealer_(sealer),
          allocates_(file.keeps_allocation()),
          zeroes_ahead_(allocates_ && !file.is_memory_backed()),
          grows_ahead_(allocates_ || !file.maps_past_end()),
          mapped_append_(mapped_append && allocates_) {}

    /// The journal ends at `end`, and the file is `file_size` long. Call before anything else. What lies above `vouched_end` is
    /// written again before the first append.
    void start_at(std::uint64_t end, std::uint64_t file_size, std::uint64_t vouched_end) noexcept {
        rewrite_from_ = vouched_end;
        tail_.store(end, std::memory_order_relaxed);
        completed_.store(end, std::memory_order_relaxed);
        readable_end_.store(end, std::memory_order_relaxed);
        prepared_.store(end, std::memory_order_relaxed);
        synced_end_.store(end, std::memory_order_relaxed);
        // Nobody knows how what lies behind the end was allocated: it is again, natively, before it is stored to.
        allocated_.store(allocates_ ? end : file_size, std::memory_order_relaxed);
    }

    /// Writes again what no mark vouches for. It was readable at the opening, but perhaps only from the page cache: a sync that
    /// failed before, even that of a close, may have left it marked clean, never to be written. Nothing may follow it on the disk
    /// before it is there. Done before the first append anyway; by the growth lock's holder, or by recovery.
    Result<void> rewrite_unvouched() {
        const std::uint64_t end = completed();
        std::vector<std::byte> piece;
        while (rewrite_from_ < end) {
            const std::byte* from = map_.at(rewrite_from_);
            piece.assign(from, from + (std::min)(end - rewrite_from_, chunk_max));
            if (auto written = file_.write_at(rewrite_from_, piece); !written) return written;
            rewrite_from_ += piece.size();
        }
        rewrite_from_ = UINT64_MAX;
        return {};
    }

    /// Puts zeros where a torn tail is that can't be cut off: free space, as behind any journal's end.
    Result<void> clear_tail(std::uint64_t file_size) {
        const std::lock_guard lock(growth_);
        return write_zeros(completed(), file_size);
    }

    /// What is in the file now, its size included, is to reach the disk before anything is appended.
    void sync_before_appending() noexcept { sync_first_.store(true, std::memory_order_relaxed); }

    std::uint32_t seed() const noexcept { return seed_; }
    FrameCoding coding() const noexcept { return {seed_, sealer_}; }
    std::uint64_t mark_size() const noexcept { return mark_frame_size + (seals() ? frame_nonce_size + frame_tag_size : 0); }
    /// How long the frame of `content` is when it has been appended.
    std::uint64_t frame_size(const FrameContent& content) const noexcept {
#if EMDB_ENCRYPT
        if (sealer_ != nullptr) [[unlikely]] return SealedFrame(content).size();
#endif
        return content.frame_size();
    }
    bool seals() const noexcept { return EMDB_ENCRYPT != 0 && sealer_ != nullptr; }
    std::uint64_t completed() const noexcept { return completed_.load(std::memory_order_acquire) & ~frozen_bit; }
    bool poisoned() const noexcept { return (completed_.load(std::memory_order_relaxed) & frozen_bit) != 0; }
    /// Where the file's space ends that was made in advance; the journal's end where none is.
    std::uint64_t allocated() const noexcept {
        return grows_ahead_ ? (std::max)(allocated_.load(std::memory_order_relaxed), completed()) : completed();
    }

    /// Appends one frame; returns its offset. An error before the frame had a place: nothing happened. After that the journal is
    /// poisoned, and the frame may or may not be found after reopening.
    Result<std::uint64_t> append(const FrameContent& content) {
#if EMDB_ENCRYPT
        if (sealer_ != nullptr) [[unlikely]] return append_sealed(content);
#endif
        FrameHead head(content, seed_);
        const std::uint64_t size = head.size() + content.key.size() + content.value.size();
        const Way way = choose_way(size);
        auto offset = reserve(size, way);
        if (!offset) return offset;
        return fill(way, *offset, head, content);
    }

#if EMDB_ENCRYPT
    /// Appends the frame of a session that the sealer has made room for, and has the sealer take it over.
    Result<std::uint64_t> append_session(const SessionRandom& random) {
        Sealer::SessionValue value{};
        FrameContent content;
        content.kind = FrameKind::session;
        content.value = Bytes(value.data(), value.size());
        const Way way = choose_way(content.frame_size());
        auto offset = reserve(content.frame_size(), way);
        if (!offset) return offset;
        value = sealer_->make_session_value(random, *offset);
        FrameHead head(content, seed_);
        auto filled = fill(way, *offset, head, content);
        if (filled) (void)sealer_->add_session(random, *offset);  // there is room
        return filled;
    }
#endif

    /// Appends a batch in one piece; returns its offset.
    Result<std::uint64_t> append(BatchBuffer& batch) {
        batch.prepare();
        const Way way = choose_way(batch.size());
        auto offset = reserve(batch.size(), way);
        if (!offset) return offset;
        PoisonUnlessDone guard(*this);
        const std::span<const std::byte> block = batch.place(*offset);
        if (way == Way::store) {
            std::memcpy(window_.at(*offset), block.data(), block.size());
        } else if (auto written = write_pieces(*offset, block); !written) {
            return fail(written.error());
        }
        auto finished = complete(*offset, block.size());
        guard.done = true;
        if (!finished) return std::move(finished).error();
        if (way == Way::write_large) start_writing(*offset, block.size());
        return offset;
    }

    /// The record at an offset that the index gave out; its contents are in `text` if it is sealed. False: the bytes there can't be a
    /// record or, with `verify` and always if it is sealed, are not what was written. Of another kind they are where a checkpoint
    /// was made up.
    bool read(std::uint64_t offset, bool verify, FrameView& frame, PlainText& text) const noexcept {
        return read_any_kind(offset, verify, frame, text) && frame.kind() == FrameKind::put;
    }
    /// The same for a frame of any kind.
    bool read_any_kind(std::uint64_t offset, bool verify, FrameView& frame, [[maybe_unused]] PlainText& text) const noexcept {
#if EMDB_ENCRYPT
        if (sealer_ != nullptr) [[unlikely]] {
            return read_raw(offset, false, frame) && frame.is_sealed() && sealer_->open(frame, offset, text);
        }
#endif
        return read_raw(offset, verify, frame);
    }

    /// As it lies in the file, sealed or not.
    bool read_raw(std::uint64_t offset, bool verify, FrameView& frame) const noexcept {
        const std::byte* at = map_.at(offset);
        const std::uint64_t mapped_end = map_.mapped_end(offset);
        std::uint64_t end = (std::min)(readable_end_.load(std::memory_order_relaxed), mapped_end);
        if (end <= offset || !parse_frame(at, at + (end - offset), frame)) [[unlikely]] {
            const std::uint64_t completed_end = completed();
            readable_end_.store(completed_end, std::memory_order_relaxed);
            end = (std::min)(completed_end, mapped_end);
            if (end <= offset || !parse_frame(at, at + (end - offset), frame)) return false;
        }
        return !verify || frame_validates(frame, offset, seed_);
    }

    /// The short cut of read() for a frame of known shape, in the map's first segment and below the readers' watermark.
    [[gnu::always_inline]] bool read_shape(std::uint64_t offset, const FrameShape& shape, FrameView& frame) const noexcept {
        if (!map_.in_first_segment(offset)) [[unlikely]] return false;
        const std::byte* const first = map_.first_segment();
        const std::uint64_t end = (std::min)(readable_end_.load(std::memory_order_relaxed), map_.first_mapped_end());
        return end > offset && shape.fits(first + offset, first + end, frame);
    }

    [[gnu::always_inline]] bool validates(const FrameView& frame, std::uint64_t offset) const noexcept {
        return frame_validates(frame, offset, seed_);
    }
    const std::byte* address(std::uint64_t offset) const noexcept { return map_.at(offset); }

    /// Refuses every further append, and fails those under way above the watermark. The first call logs why.
    void poison(std::string_view why) noexcept {
        const bool first = (completed_.fetch_or(frozen_bit, std::memory_order_relaxed) & frozen_bit) == 0;  // which says it all
        wake_waiters(completed_);
        if (!first || !log_) return;
        char line[1024];  // there may be no memory
        const int size = std::snprintf(line, sizeof line, "%.*s Reads go on, but nothing more is written until the database is reopened.",
                                       static_cast<int>((std::min)(why.size(), std::size_t{800})), why.data());
        log_(LogLevel::error, {line, static_cast<std::size_t>(size)});
    }
    /// What poison() tells. Before anybody else uses the journal.
    void log_to(const LogCallback& log) { log_ = log; }

    /// A sync has covered the journal up to `end`.
    void synced(std::uint64_t end) noexcept {
        synced_end_.store(end, std::memory_order_relaxed);
        sync_first_.store(false, std::memory_order_release);
    }

    /// Whether cut_back() has nothing left to cut.
    bool is_cut_back() const noexcept { return !file_.cuts_mapped() || allocated() == completed(); }
    /// After the last append: cuts the file back to the journal's end, where a mapped file can be cut.
    Result<void> cut_back() {
        const std::lock_guard lock(growth_);
        window_.drop();
        if (!file_.cuts_mapped()) return {};
        const std::uint64_t end = completed();
        if (auto cut = file_.truncate(end); !cut) return cut;
        allocated_.store(end, std::memory_order_relaxed);
        prepared_.store(end, std::memory_order_relaxed);
        return {};
    }

    static Error poisoned_error(const std::string& path) {
        return Error(ErrorCode::poisoned, "An earlier write or sync of '" + path + "' failed, so nothing more is written to it. "
                     "Reads go on; close and reopen the database to write again.");
    }

private:
    enum class Way : std::uint8_t { store, write, write_large };

    /// What was reserved must be completed or the journal poisoned, also when making an error's message runs out of memory.
    struct PoisonUnlessDone {
        explicit PoisonUnlessDone(Journal& journal) noexcept : journal_(journal) {}
        PoisonUnlessDone(const PoisonUnlessDone&) = delete;
        PoisonUnlessDone& operator=(const PoisonUnlessDone&) = delete;
        ~PoisonUnlessDone() {
            if (!done) journal_.poison("Out of memory in the middle of a write.");
        }
        bool done = false;

    private:
        Journal& journal_;
    };

    static constexpr std::uint64_t frozen_bit = std::uint64_t{1} << 63;
    static constexpr std::uint64_t step_min = std::uint64_t{64} << 10;
    static constexpr std::uint64_t step_max = std::uint64_t{8} << 20;  // after a kill, all that is allocated is searched for marks
    static constexpr std::uint64_t chunk_min = std::uint64_t{64} << 10;
    static constexpr std::uint64_t chunk_max = std::uint64_t{256} << 10;
    static constexpr std::uint64_t large = std::uint64_t{64} << 10;
    static constexpr std::uint64_t written_after_sync = std::uint64_t{16} << 10;

    Way choose_way(std::uint64_t size) const noexcept {
        if (size > large) return Way::write_large;
        if (!mapped_append_) return Way::write;
        const std::uint64_t unsynced = tail_.load(std::memory_order_relaxed) - synced_end_.load(std::memory_order_relaxed);
        return unsynced < written_after_sync && zeroes_ahead_ ? Way::write : Way::store;
    }

    Result<std::uint64_t> reserve(std::uint64_t size, Way way) {
        if (way == Way::write_large) return reserve_large(size);
        std::uint64_t offset = tail_.load(std::memory_order_relaxed);
        for (;;) {
            if (poisoned()) return poisoned_error(path_);
            const std::uint64_t limit =
                way == Way::store ? window_.ready_end() : prepared_.load(std::memory_order_acquire);
            if (offset + size > limit) [[unlikely]] {
                if (auto grown = prepare(size, way); !grown) return std::move(grown).error();
                offset = tail_.load(std::memory_order_relaxed);
                continue;
            }
            // Sequentially consistent for AppendWindow's invariant 3.
            if (tail_.compare_exchange_weak(offset, offset + size, std::memory_order_seq_cst, std::memory_order_relaxed)) {
                return offset;
            }
        }
    }

    // A large frame is not stored into prepared space but makes its own. Under the growth lock, so that nobody prepares it too.
    Result<std::uint64_t> reserve_large(std::uint64_t size) {
        const std::lock_guard lock(growth_);
        if (auto settled = settle(); !settled) return std::move(settled).error();
        std::uint64_t offset = tail_.load(std::memory_order_relaxed);
        for (;;) {
            if (poisoned()) return poisoned_error(path_);
            if (auto allocated = allocate(offset, offset + size); !allocated) return std::move(allocated).error();
            if (tail_.compare_exchange_weak(offset, offset + size, std::memory_order_seq_cst, std::memory_order_relaxed)) break;
        }
        if (offset + size > prepared_.load(std::memory_order_relaxed)) prepared_.store(offset + size, std::memory_order_release);
        return offset;
    }

    // Makes room for `size` bytes behind the tail: allocated, zeroed, and for stores mapped and populated.
    Result<void> prepare(std::uint64_t size, Way way) {
        const std::lock_guard lock(growth_);
        if (auto settled = settle(); !settled) return settled;
        const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
        std::uint64_t prepared = prepared_.load(std::memory_order_relaxed);
        if (tail + size > prepared) {
            const std::uint64_t chunk = chunk_size(tail);
            const std::uint64_t wanted = (tail + size + chunk) / chunk * chunk;
            auto allocated = allocate(tail, tail + size);
            if (!allocated) return std::move(allocated).error();
            const std::uint64_t end = zeroes_ahead_ ? (std::min)(wanted, *allocated) : *allocated;
            if (zeroes_ahead_) {
                if (auto zeroed = write_zeros(prepared, end); !zeroed) return zeroed;
            }
            prepared = end;
            prepared_.store(prepared, std::memory_order_release);
        }
        if (way != Way::store || tail + size <= window_.ready_end()) return {};
        // In memory-backed files populating is all the preparation there is, so it goes in steps of its own.
        constexpr std::uint64_t populate_step = std::uint64_t{1} << 20;
        const std::uint64_t populate_end = zeroes_ahead_ ? prepared : (std::min)(prepared, tail + size + populate_step);
        return window_.extend(file_, tail_, populate_end, allocated_.load(std::memory_order_relaxed), completed());
    }

    // What there was at the opening is on the disk before the first append; by the growth lock's holder. A failed sync is final.
    Result<void> settle() {
        if (auto rewritten = rewrite_unvouched(); !rewritten) return rewritten;
        if (!sync_first_.load(std::memory_order_acquire)) return {};
        auto synced = file_.sync();
        if (!synced) {
            poison(synced.error().message());
            return synced;
        }
        sync_first_.store(false, std::memory_order_relaxed);
        return {};
    }

    // The more has been appended since the last sync, the less a sync's cost matters.
    std::uint64_t chunk_size(std::uint64_t tail) const noexcept {
        const std::uint64_t unsynced = tail - synced_end_.load(std::memory_order_relaxed);
        std::uint64_t chunk = chunk_min;
        while (chunk < chunk_max && unsynced >= 8 * chunk) chunk *= 2;
        return chunk;
    }

    Result<void> write_zeros(std::uint64_t from, std::uint64_t to) {
        static std::byte zeros[chunk_max];  // never written to
        while (from < to) {
            const auto size = static_cast<std::size_t>((std::min)(to - from, chunk_max));
            if (auto written = file_.write_at(from, {zeros, size}); !written) return written;
            from += size;
        }
        return {};
    }

    // Has space up to `end` at least, for a frame that starts at `from`. Returns where it ends. Under the growth lock.
    Result<std::uint64_t> allocate(std::uint64_t from, std::uint64_t end) {
        std::uint64_t allocated = allocated_.load(std::memory_order_relaxed);
        if (end > allocated) {
            const std::uint64_t step = (std::min)((std::max)(allocated, step_min), step_max);
            const std::uint64_t wanted = round_up((std::max)(end, allocated + step));
            if (auto enlarged = enlarge(allocated, wanted)) {
                allocated = wanted;
            } else {
                // Not enough room for a whole step: what this frame needs may still fit.
                if (auto least = enlarge(allocated, round_up(end)); !least) return std::move(least).error();
                allocated = round_up(end);
            }
            allocated_.store(allocated, std::memory_order_relaxed);
        }
        // Whatever may be reserved from here on must be readable where mappings do not reach past the end of the file.
        if (auto covered = map_.cover(file_, from, allocated, allocated); !covered) return std::move(covered).error();
        return allocated;
    }

    Result<void> enlarge(std::uint64_t from, std::uint64_t to) {
        if (allocates_) return file_.allocate(from, to - from);
        if (file_.maps_past_end()) return {};
        // Readers' mappings need the bytes to exist; only write_at touches them, and it can say that the disk is full.
        return file_.truncate(to);
    }

    static std::uint64_t round_up(std::uint64_t size) noexcept { return (size + 4095) / 4096 * 4096; }

    // Fills what was reserved.
    [[gnu::always_inline]] Result<std::uint64_t> fill(Way way, std::uint64_t offset, FrameHead& head, const FrameContent& content) {
        PoisonUnlessDone guard(*this);
        head.finish(offset);
        if (way == Way::store) {
            std::byte* at = window_.at(offset);
            std::memcpy(at, head.data(), head.size());
            copy(at + head.size(), content.key);
            copy(at + head.size() + content.key.size(), content.value);
        } else if (auto written = write_frame(offset, head, content); !written) {
            return fail(written.error());
        }
        auto finished = complete(offset, head.size() + content.key.size() + content.value.size());
        guard.done = true;
        if (!finished) return std::move(finished).error();
        return offset;
    }

    Result<void> write_frame(std::uint64_t offset, const FrameHead& head, const FrameContent& content) {
        std::byte buffer[4096];
        const std::size_t key_size = content.key.size();
        const std::size_t value_size = content.value.size();
        std::memcpy(buffer, head.data(), head.size());
        if (head.size() + key_size + value_size <= sizeof buffer) {
            copy(buffer + head.size(), content.key);
            copy(buffer + head.size() + key_size, content.value);
            return file_.write_at(offset, {buffer, head.size() + key_size + value_size});
        }
        const std::uint64_t key_at = offset + head.size();
        if (auto written = file_.write_at(offset, {buffer, head.size()}); !written) return written;
        if (auto written = write_pieces(key_at, {content.key.data(), key_size}); !written) return written;
        return write_pieces(key_at + key_size, {content.value.data(), value_size});
    }

#if EMDB_ENCRYPT
    // The plaintext is put together in memory of its own: what is stored through a window is in the file at once.
    Result<std::uint64_t> append_sealed(const FrameContent& content) {
        SealedFrame encoded(content);
        const Way way = choose_way(encoded.size());
        PlainText text;
        std::byte* const buffer = text.make(static_cast<std::size_t>(encoded.size()));
        if (buffer == nullptr) return Error(ErrorCode::io, "Out of memory for sealing a record. Free some; nothing was written.");
        if (!sealer_->can_seal()) return Error(ErrorCode::encryption_error, "No session has begun, so nothing can be sealed.");
        auto offset = reserve(encoded.size(), way);
        if (!offset) return offset;
        PoisonUnlessDone guard(*this);
        encoded.put_body(buffer + encoded.head_size());
        std::byte* const to = way == Way::store ? window_.at(*offset) : buffer;
        encoded.put_head(to, sealer_->take_nonces(1, encoded.size()));
        sealer_->seal(to, encoded.head_size(), {buffer + encoded.head_size(), encoded.body_size()}, *offset);
        store_frame_crc(to, encoded.size(), *offset, seed_);
        if (way != Way::store) {
            auto written = write_pieces(*offset, {buffer, static_cast<std::size_t>(encoded.size())});
            if (!written) return fail(written.error());
        }
        auto finished = complete(*offset, encoded.size());
        guard.done = true;
        if (!finished) return std::move(finished).error();
        return offset;
    }
#endif

    Result<void> write_pieces(std::uint64_t offset, std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const auto piece = bytes.first((std::min)(bytes.size(), static_cast<std::size_t>(chunk_max)));
            if (auto written = file_.write_at(offset, piece); !written) return written;
            offset += piece.size();
            bytes = bytes.subspan(piece.size());
        }
        return {};
    }

    // Who syncs after each batch will do so after this one: the disk may have it while the batch is put into the index.
    void start_writing(std::uint64_t offset, std::uint64_t size) noexcept {
        if (offset - synced_end_.load(std::memory_order_relaxed) >= written_after_sync) return;
        constexpr std::uint64_t page = 4096;  // the last one will be written to again
        const std::uint64_t end = (offset + size) / page * page;
        file_.start_writing(offset, end - offset);
    }

    static void copy(std::byte* to, Bytes from) noexcept {
        if (!from.empty()) std::memcpy(to, from.data(), from.size());
    }

    Result<std::uint64_t> fail(const Error& error) {
        poison(error.message());
        return Error(ErrorCode::io, error.message() + " This write may or may not be found after reopening.")
            .with_os_error(error.os_error());
    }

    // Waits for everything below `offset` and moves the watermark past the frame.
    Result<void> complete(std::uint64_t offset, std::uint64_t size) {
        std::uint64_t expected = offset;
        // Sequentially consistent together with the load of waiting_: either this store is seen by a waiter before it sleeps, or
        // its count is seen here. The exchange fails if the journal was poisoned meanwhile.
        if (!wait_for_turn(offset) || !completed_.compare_exchange_strong(expected, offset + size, std::memory_order_seq_cst)) {
            return Error(ErrorCode::poisoned, "An earlier write or sync of '" + path_ + "' failed: this write may or may not be found "
                         "after reopening. Reads go on; close and reopen the database to write again.");
        }
        if (waiting_.load(std::memory_order_seq_cst) != 0) wake_waiters(completed_);
        return {};
    }

    // False: poisoned. Relaxed: the exchange in complete() acquires what is below.
    bool wait_for_turn(std::uint64_t offset) noexcept {
        for (int spin = 0; spin < 256; ++spin) {
            const std::uint64_t completed = completed_.load(std::memory_order_relaxed);
            if (completed == offset) [[likely]] return true;
            if ((completed & frozen_bit) != 0) return false;
        }
        // The first look sees every move whose maker has not seen this waiter; the makers of all others wake it.
        waiting_.fetch_add(1, std::memory_order_seq_cst);
        std::uint64_t completed = completed_.load(std::memory_order_seq_cst);
        while (completed != offset && (completed & frozen_bit) == 0) {
            wait_for_change(completed_, completed, std::memory_order_relaxed);
            completed = completed_.load(std::memory_order_relaxed);
        }
        waiting_.fetch_sub(1, std::memory_order_relaxed);
        return completed == offset;
    }

    File& file_;
    const std::string& path_;
    JournalMap& map_;
    const std::uint32_t seed_;
    Sealer* const sealer_;
    const bool allocates_;
    const bool zeroes_ahead_;
    const bool grows_ahead_;  ///< the file is longer than the journal
    const bool mapped_append_;
    LogCallback log_;
    Mutex growth_;
    std::uint64_t rewrite_from_ = UINT64_MAX;  ///< under growth_; UINT64_MAX: nothing to rewrite
    Atomic<bool> sync_first_{false};
    AppendWindow window_;
    alignas(64) Atomic<std::uint64_t> tail_{0};
    alignas(64) Atomic<std::uint64_t> completed_{0};
    Atomic<std::uint32_t> waiting_{0};
    alignas(64) Atomic<std::uint64_t> prepared_{0};
    Atomic<std::uint64_t> allocated_{0};
    Atomic<std::uint64_t> synced_end_{0};
    // A watermark for readers, moved by them when they need it, so that they don't wait for the cache line that every append
    // moves.
    alignas(64) mutable Atomic<std::uint64_t> readable_end_{0};
};

}  // namespace emdb::detail
