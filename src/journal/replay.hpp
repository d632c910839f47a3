#pragma once
// Replay: walks a journal that may end anywhere, hands out what counts, and judges how it ends.
//
// What counts is a prefix: every frame up to the first that does not validate, and of a batch all members or none. What follows
// the prefix is one of
//   - nothing, or a torn tail: bytes that were being written when the machine stopped. They are to be cut off.
//   - damage: a sync mark further on vouches that the place had reached the disk. Nothing may be changed.
// A frame that validates but makes no sense (an unknown kind, a batch in a batch) was written so: never a torn tail.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/coding.hpp"
#include "base/config.hpp"
#include "base/result.hpp"
#include "journal/batch_buffer.hpp"
#include "journal/frame.hpp"
#include "journal/frame_rules.hpp"
#include "journal/header.hpp"
#include "crypto/plain_text.hpp"
#include "journal/sealer.hpp"

namespace emdb::detail {

/// What reads and replay say of a frame whose checksum is right and whose seal is not.
inline Error forged_frame_error(const std::string& path, std::uint64_t offset) {
    return Error(ErrorCode::encryption_error, "'" + path + "' was tampered with at offset " + std::to_string(offset) +
                 ": the frame there is complete, but it is not what was sealed in that place. Nothing was changed. Restore the file "
                 "from a backup.")
        .with_offset(offset);
}

/// The same of one that can't be opened for want of memory.
inline Error unopened_frame_error(const std::string& path, std::uint64_t offset) {
    return Error(ErrorCode::io, "Out of memory for the frame at offset " + std::to_string(offset) + " of '" + path +
                 "', which is sealed. Nothing was changed. Free some and try again.")
        .with_offset(offset);
}

/// How a journal ends; see JournalReplay::run.
struct ReplaySummary {
    std::uint64_t end = journal_start;           ///< where the valid prefix ends
    std::uint64_t vouched_end = journal_start;   ///< what the marks in it say has reached the disk
    bool ends_with_close_mark = false;           ///< the last frame is a close mark
    std::uint64_t frames = 0;
};

class JournalReplay {
public:
    /// `bytes` is the file as mapped, `size` its size, `path` for messages.
    JournalReplay(const std::byte* bytes, std::uint64_t size, FrameCoding coding, const std::string& path) noexcept
        : bytes_(bytes), size_(size), seed_(coding.seed), sealer_(coding.sealer), path_(path) {}

    /// Calls sink.apply(offset, const FrameView&) -> Result<void> for each frame that counts, in order, except marks and batch
    /// heads. Touches each byte once (members of batches are parsed twice). `corrupted` if damage is found.
    /// Starts at the end of `before`: what is known of the journal below.
    template <class Sink>
    Result<ReplaySummary> run(Sink& sink, const ReplaySummary& before = {}) {
        summary_ = before;
        std::uint64_t offset = before.end;
        while (offset < size_) {
            FrameView frame;
            if (!parse_frame(at(offset), at(size_), frame) || !frame_validates(frame, offset, seed_)) {
                return end_at(offset, offset);
            }
            if (auto sensible = check(frame, offset); !sensible) return std::move(sensible).error();
            std::uint64_t next = offset + frame.size;
            summary_.ends_with_close_mark = false;
            const FrameNonce nonce = frame.nonce();
            PlainText text;
            if (auto opened = open(frame, offset, text); !opened) return std::move(opened).error();
            if (frame.kind() == FrameKind::session) {
                if (auto taken = take_session(frame, offset); !taken) return std::move(taken).error();
            } else if (frame.kind() == FrameKind::batch) {
                std::uint64_t damaged = 0;
                auto end = validate_batch(frame, nonce, offset, damaged);
                if (!end) return std::move(end).error();
                if (*end == 0) return end_at(offset, damaged);
                if (auto applied = apply_members(sink, next, *end); !applied) return std::move(applied).error();
                next = *end;
            } else if (frame_is_mark(frame)) {
                if (auto taken = take_mark(frame, offset); !taken) return std::move(taken).error();
            } else if (auto applied = sink.apply(offset, frame); !applied) {
                return std::move(applied).error();
            }
            ++summary_.frames;
            offset = next;
        }
        return end_at(offset, offset);
    }

    /// How many bytes of the cut-off tail are not zeros at its end: what was torn, preallocated space not counted.
    std::uint64_t torn_bytes(std::uint64_t end) const noexcept { return bytes_before_zeros(bytes_, end, size_); }

private:
    const std::byte* at(std::uint64_t offset) const noexcept { return bytes_ + offset; }

    Error damage(std::uint64_t offset, const char* what) const {
        return Error(ErrorCode::corrupted, "'" + path_ + "' is damaged at offset " + std::to_string(offset) + ": " + what +
                     " Nothing was changed. Restore the file from a backup, or save what is intact with Emdb::salvage.")
            .with_offset(offset);
    }

    // Judges the tail behind the valid prefix.
    Result<ReplaySummary> end_at(std::uint64_t end, std::uint64_t first_bad) {
        summary_.end = end;
        if (end < size_ && vouched_by_marks_behind(bytes_, size_, end, coding()) > end) {
            return damage(first_bad, "what is there had reached the disk intact (a later sync mark says so), and is not intact now.");
        }
        return summary_;
    }

    Result<void> check(const FrameView& frame, std::uint64_t offset) const {
        if (!frame_is_known(frame, seals())) {
            FrameView copy = frame;
            PlainText text;
            if (auto opened = open(copy, offset, text); !opened) return opened;  // made so by somebody else
            return Error(ErrorCode::feature_disabled, "'" + path_ + "' has a frame at offset " + std::to_string(offset) +
                         " of a kind that this build of emdb " + EMDB_VERSION_STRING +
                         " does not know. Open it with the emdb that wrote it.");
        }
        if ((frame.flags() & frame_has_expiry) != 0 && !expiry_supported) {
            return Error(ErrorCode::feature_disabled, "'" + path_ + "' has records that expire, and this program was built with "
                         "EMDB_TTL=0. Build it with EMDB_TTL=1.");
        }
        return {};
    }

    FrameCoding coding() const noexcept { return {seed_, sealer_}; }
    bool seals() const noexcept { return EMDB_ENCRYPT != 0 && sealer_ != nullptr; }

    Error forged(std::uint64_t offset) const { return forged_frame_error(path_, offset); }

    // Opens a frame of an encrypted file, whose checksum is right: what does not open was not damaged but forged.
    Result<void> open(FrameView& frame, std::uint64_t offset, PlainText& text) const {
        switch (open_frame(frame, offset, coding(), text)) {
            case Seal::genuine: return {};
            case Seal::no_memory: return unopened_frame_error(path_, offset);
            default: return forged(offset);
        }
    }

    Result<void> take_session([[maybe_unused]] const FrameView& frame, std::uint64_t offset) const {
#if EMDB_ENCRYPT
        if (frame.key.empty() && sealer_->add_session(frame.value, offset)) return {};
#endif
        return forged(offset);
    }

    Result<void> take_mark(const FrameView& frame, std::uint64_t offset) {
        std::uint64_t durable = 0;
        if (!read_mark(bytes_, size_, offset, coding(), durable)) return damage(offset, "a sync mark makes no sense.");
        summary_.vouched_end = (std::max)(summary_.vouched_end, durable);
        summary_.ends_with_close_mark = frame.kind() == FrameKind::close_mark;
        return {};
    }

    // Looks at all members of a batch. Returns the batch's end, or 0 if a member (at `damaged`) does not validate.
    Result<std::uint64_t> validate_batch(const FrameView& batch, const FrameNonce& head, std::uint64_t head_offset,
                                         std::uint64_t& damaged) {
        if (batch.value.size() != batch_value_size) return damage(head_offset, "a batch makes no sense.");
        const auto length = load_le<std::uint64_t>(batch.value.data());
        const auto count = load_le<std::uint32_t>(batch.value.data() + 8);
        std::uint64_t offset = head_offset + batch.size;
        damaged = head_offset;
        if (length > size_ - offset) return std::uint64_t{0};
        const std::uint64_t end = offset + length;
        std::uint64_t members = 0;
        for (FrameView member; offset < end; offset += member.size, ++members) {
            const bool valid = parse_frame(at(offset), at(size_), member) && frame_validates(member, offset, seed_);
            const bool fits = valid && member.size <= end - offset;
            if (valid && !(member_follows(head, member, members, coding()) && (fits || !seals()))) return forged(offset);
            if (!fits) {
                damaged = offset;
                return std::uint64_t{0};
            }
            if (auto sensible = check(member, offset); !sensible) return std::move(sensible).error();
            if (!frame_is_record(member)) return damage(offset, "a batch holds what it must not.");
        }
        if (members != count) return damage(head_offset, "a batch has another number of members than it says.");
        return end;
    }

    // Takes the members apart once more, rather than to remember them: a file may be one batch of many millions.
    template <class Sink>
    Result<void> apply_members(Sink& sink, std::uint64_t offset, std::uint64_t end) {
        FrameView member;
        for (std::uint64_t next = 0; offset < end; offset = next) {
            parse_frame(at(offset), at(end), member);
            next = offset + member.size;
            PlainText text;
            if (auto opened = open(member, offset, text); !opened) return opened;
            if (auto applied = sink.apply(offset, member); !applied) return applied;
        }
        return {};
    }

    static constexpr bool expiry_supported = EMDB_TTL != 0;

    const std::byte* const bytes_;
    const std::uint64_t size_;
    const std::uint32_t seed_;
    Sealer* const sealer_;
    const std::string& path_;
    ReplaySummary summary_;
};

}  // namespace emdb::detail
