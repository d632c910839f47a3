#pragma once
// Survey: walks a whole journal whatever has become of it. Where recovery stops and judges, this goes on: behind bytes that are no
// intact frame it looks for the next one, byte by byte.
//
// Files may be hostile, so the price stays linear in the file's size, whatever lengths it declares: each place costs at most a
// checksum over a few hundred bytes (Crc32cRanges), and each batch is looked into once.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/coding.hpp"
#include "base/inspection.hpp"
#include "base/result.hpp"
#include "checks/crc32c_ranges.hpp"
#include "crypto/plain_text.hpp"
#include "journal/batch_buffer.hpp"
#include "journal/frame.hpp"
#include "journal/frame_rules.hpp"
#include "journal/header.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

/// A file mapped for one pass from front to back. A disk that can't read a sector answers a map with SIGBUS, so everything is read
/// the ordinary way before it is touched there.
class SurveyedFile {
public:
    SurveyedFile(File& file, Mapping mapping, std::uint64_t size) : file_(file), mapping_(std::move(mapping)), size_(size) {}

    const std::byte* bytes() const noexcept { return mapping_.data(); }
    std::uint64_t size() const noexcept { return size_; }
    /// Why reach() failed.
    const std::optional<Error>& error() const noexcept { return error_; }

    /// Whether everything before `end` can be read. Once it can't, nothing more can.
    bool reach(std::uint64_t end) {
        if (end <= reached_) [[likely]] return true;
        while (reached_ < end && !error_) read_on();
        return !error_;
    }

private:
    static constexpr std::uint64_t step = std::uint64_t{1} << 20;

    void read_on() {
        const auto wanted = static_cast<std::size_t>((std::min)(step, size_ - reached_));
        if (scratch_.empty()) scratch_.resize(wanted);
        file_.expect_reading(reached_, step);
        const auto got = file_.read_at(reached_, std::span(scratch_).first(wanted));
        if (!got) {
            error_ = Error(ErrorCode::io, got.error().message() + " If the disk is failing, copy what it still gives into a new file "
                           "with a tool that goes on behind read errors (such as ddrescue), and salvage that.")
                         .with_os_error(got.error().os_error())
                         .with_offset(reached_);
        } else if (*got != wanted) {
            error_ = Error(ErrorCode::io, "The file became shorter while it was looked at: it ends at offset " +
                           std::to_string(reached_ + *got) + ". Keep other programs away from it and try again.");
        } else {
            reached_ += wanted;
        }
    }

    File& file_;
    const Mapping mapping_;
    const std::uint64_t size_;
    std::uint64_t reached_ = 0;
    std::vector<std::byte> scratch_;
    std::optional<Error> error_;
};

/// What a batch looks like from its head.
struct SurveyedBatch {
    enum class State : std::uint8_t {
        whole,
        unfinished,  ///< a member does not validate, or the file ends first: torn or damaged
        senseless,   ///< everything validates, and yet it can't be: was written so
        forged,      ///< a member validates, but is not the one that was sealed with the batch's frame
    };
    State state = State::whole;
    std::uint64_t end = 0;      ///< as the head says; may lie behind the end of the file
    std::uint64_t bad_offset = 0;  ///< where the frame is that does not fit, unless it is whole
};

class JournalSurvey {
public:
    /// Sessions that are found are added to the coding's sealer.
    JournalSurvey(SurveyedFile& file, FrameCoding coding)
        : file_(file), bytes_(file.bytes()), size_(file.size()), coding_(coding), ranges_(bytes_, journal_start, size_) {}

    /// Calls, in the order of the file,
    ///   sink.frame(offset, frame)           for every intact frame, members of batches among them; opened, if it was sealed
    ///   sink.batch(offset, frame, batch)    instead for heads of batches, before their members
    ///   sink.unopened(offset, frame, seal)  instead for those whose seal is not right, or can't be told to be
    ///   sink.gap(from, to)                  where nothing is intact; may be free space, if `to` is the end of the file
    ///   progress(offset)                    now and then
    /// An error: the file can't be read.
    template <class Sink, class Progress>
    Result<void> run(Sink& sink, Progress&& progress) {
        std::uint64_t offset = journal_start;
        std::uint64_t reported = 0;
        FrameView frame;
        while (offset < size_ && !file_.error()) {
            if (offset - reported >= progress_step) progress(reported = offset);
            if (!intact(offset, size_, frame)) {
                gap_seen_ = true;
                const std::uint64_t next = next_frame(offset + 1);
                if (!file_.error()) sink.gap(offset, next);
                offset = next;
                continue;
            }
            const FrameNonce nonce = frame.nonce();
            PlainText text;
            if (const Seal seal = judge_seal(offset, frame, text); seal != Seal::genuine) {
                sink.unopened(offset, frame, seal);
            } else if (frame.kind() == FrameKind::batch) {
                const SurveyedBatch batch = look_into(offset, frame, nonce);
                if (!file_.error()) sink.batch(offset, frame, batch);
            } else {
                sink.frame(offset, frame);
            }
            offset += frame.size;
        }
        if (file_.error()) return *file_.error();
        progress(size_);
        return {};
    }

    /// Where the last intact frame that is no mark starts, searched from `from` on; 0: there is none.
    std::uint64_t last_content_frame(std::uint64_t from) {
        std::uint64_t last = 0;
        FrameView frame;
        for (std::uint64_t offset = next_frame(from); offset < size_ && !file_.error();) {
            if (!intact(offset, size_, frame)) {
                offset = next_frame(offset + 1);
                continue;
            }
            if (!frame_is_mark(frame)) last = offset;
            offset += frame.size;
        }
        return last;
    }

private:
    static constexpr std::uint64_t progress_step = std::uint64_t{1} << 20;
    static constexpr std::uint64_t summed_up_at_once_max = 512;

    // The first intact frame at or behind `from`, or the file's end.
    std::uint64_t next_frame(std::uint64_t from) {
        std::uint64_t offset = from;
        FrameView frame;
        while (offset + frame_size_min <= size_ && file_.reach((std::min)(size_, offset + 16))) {
            if (offset + 12 <= size_ && load_le<std::uint64_t>(bytes_ + offset + 4) == 0) {
                offset += 8;  // a zero is no kind: none of the next eight places can be a frame's start
                continue;
            }
            if (may_be_intact(offset, frame)) return offset;
            ++offset;
        }
        return size_;
    }

    bool intact(std::uint64_t offset, std::uint64_t limit, FrameView& frame) {
        if (!file_.reach((std::min)(limit, offset + frame_head_size_max))) return false;
        return parse_frame(bytes_ + offset, bytes_ + limit, frame) && validates(offset, frame);
    }

    bool may_be_intact(std::uint64_t offset, FrameView& frame) {
        if (!file_.reach((std::min)(size_, offset + frame_head_size_max))) return false;
        return parse_frame(bytes_ + offset, bytes_ + size_, frame) && frame_is_plausible(frame, coding_.sealer != nullptr) &&
               validates(offset, frame);
    }

    bool validates(std::uint64_t offset, const FrameView& frame) {
        if (!file_.reach(offset + frame.size)) return false;
        // Before the first damage lengths are true, and each byte is summed up once. After it they may be anything.
        if (!gap_seen_ || frame.size <= summed_up_at_once_max) return frame_validates(frame, offset, coding_.seed);
        const std::uint32_t crc = ranges_.crc(offset + 4, offset + frame.size, coding_.seed);
        return load_le<std::uint32_t>(frame.start) == crc32c_u64(crc, offset);
    }

    Seal judge_seal(std::uint64_t offset, FrameView& frame, PlainText& text) {
        const Seal seal = open_frame(frame, offset, coding_, text);
        // Without damage no session can be missing.
        if (seal == Seal::session_lost && !gap_seen_) return Seal::forged;
#if EMDB_ENCRYPT
        if (seal == Seal::genuine && coding_.sealer != nullptr && frame.kind() == FrameKind::session) {
            Sealer& sealer = *coding_.sealer;
            if (frame.flags() != 0 || !frame.key.empty()) return Seal::forged;
            const bool taken = gap_seen_ ? sealer.add_session_behind_damage(frame.value, offset) : sealer.add_session(frame.value, offset);
            return taken ? Seal::genuine : Seal::forged;
        }
#endif
        return seal;
    }

    // Reads on to the first member that does not fit. What follows up to there is frames that no other batch has as members, so
    // that all batches together cost no more than the file.
    SurveyedBatch look_into(std::uint64_t head_offset, const FrameView& head, const FrameNonce& nonce) {
        using State = SurveyedBatch::State;
        if (head.value.size() != batch_value_size) return {State::senseless, head_offset + head.size, head_offset};
        const auto length = load_le<std::uint64_t>(head.value.data());
        const auto count = load_le<std::uint32_t>(head.value.data() + 8);
        std::uint64_t offset = head_offset + head.size;
        if (length > size_ - offset) {
            gap_seen_ = true;  // from here on lengths may be anything
            return {State::unfinished, size_, head_offset};
        }
        const std::uint64_t end = offset + length;
        std::uint64_t members = 0;
        FrameView frame;
        for (; offset < end; offset += frame.size, ++members) {
            if (!intact(offset, end, frame)) {
                gap_seen_ = true;
                return {State::unfinished, end, offset};
            }
            if (!frame_is_record(frame) || !frame_is_known(frame, coding_.sealer != nullptr)) return {State::senseless, end, offset};
            if (!member_follows(nonce, frame, members, coding_)) return {State::forged, end, offset};
        }
        if (members != count) return {State::senseless, end, head_offset};
        return {State::whole, end, 0};
    }

    SurveyedFile& file_;
    const std::byte* const bytes_;
    const std::uint64_t size_;
    const FrameCoding coding_;
    Crc32cRanges ranges_;
    bool gap_seen_ = false;
};

}  // namespace emdb::detail
