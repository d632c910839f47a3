#pragma once
// What a frame must be to make sense, beyond its checksum: on this, recovery and whoever looks at damaged files agree.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/coding.hpp"
#include "crypto/plain_text.hpp"
#include "journal/batch_buffer.hpp"
#include "journal/frame.hpp"
#include "journal/sealer.hpp"

namespace emdb::detail {

/// Whether this build knows the frame's kind and flags. `sealed`: the file is encrypted.
inline bool frame_is_known(const FrameView& frame, bool sealed = false) noexcept {
    const int known = frame_known_flags | (sealed ? frame_is_sealed : 0);
    return (frame.flags() & ~known) == 0 && frame.kind() <= FrameKind::close_mark && (sealed || frame.kind() != FrameKind::session);
}

inline bool frame_is_mark(const FrameView& frame) noexcept {
    return frame.kind() == FrameKind::sync_mark || frame.kind() == FrameKind::close_mark;
}

/// What a batch may hold.
inline bool frame_is_record(const FrameView& frame) noexcept {
    return frame.kind() == FrameKind::put || frame.kind() == FrameKind::remove;
}

/// Whether a frame of this kind can have these sizes and flags: what tells most chance hits from frames before anything is summed up.
/// `sealed`: as above.
inline bool frame_is_plausible(const FrameView& frame, bool sealed = false) noexcept {
    if (!frame_is_known(frame, sealed)) return false;
    const bool has_namespace = (frame.flags() & frame_has_namespace) != 0;
    if ((frame.flags() & frame_has_expiry) != 0) return frame.kind() == FrameKind::put;
    switch (frame.kind()) {
        case FrameKind::put: return true;
        case FrameKind::remove: return frame.value.empty();
        case FrameKind::batch: return !has_namespace && frame.key.empty() && frame.value.size() == batch_value_size;
        case FrameKind::namespace_create: return has_namespace && !frame.key.empty() && frame.value.empty();
        case FrameKind::namespace_drop: return has_namespace && frame.key.empty() && frame.value.empty();
        case FrameKind::clear: return frame.key.empty() && frame.value.empty();
        case FrameKind::session: return sealed && !has_namespace && frame.key.empty();
        case FrameKind::sync_mark:
        case FrameKind::close_mark: return !has_namespace && frame.key.empty() && frame.value.size() == mark_value_size;
    }
    return false;
}

/// What the seal of an intact frame says.
enum class Seal : std::uint8_t {
    genuine,       ///< it is what was written in this place, or the file is not encrypted
    forged,        ///< it is not
    session_lost,  ///< nobody can tell: the frame of its session is not known
    no_memory,     ///< nobody can tell now: there is no memory to open it in
};

/// Opens an intact frame, whose contents are in `text` then, and judges whether it may stand there. Frames of sessions, which are not
/// sealed, are the caller's to judge.
inline Seal open_frame([[maybe_unused]] FrameView& frame, [[maybe_unused]] std::uint64_t offset, [[maybe_unused]] FrameCoding coding,
                       [[maybe_unused]] PlainText& text) noexcept {
#if EMDB_ENCRYPT
    if (coding.sealer == nullptr || (frame.kind() == FrameKind::session && frame.flags() == 0)) return Seal::genuine;
    if (!frame.is_sealed()) return Seal::forged;
    if (!coding.sealer->knows_session(frame.nonce().session)) return Seal::session_lost;
    // What is of an earlier session was once there, then cut off, and somebody has put it back.
    if (!coding.sealer->open(frame, offset, text)) return text.lacks_memory() ? Seal::no_memory : Seal::forged;
#endif
    return Seal::genuine;
}

/// Whether a sealed member of a batch is the one that was sealed with the batch's frame, whose nonce is `head`.
inline bool member_follows([[maybe_unused]] const FrameNonce& head, [[maybe_unused]] const FrameView& member,
                           [[maybe_unused]] std::uint64_t position, [[maybe_unused]] FrameCoding coding) noexcept {
#if EMDB_ENCRYPT
    if (coding.sealer == nullptr) return true;
    if (!member.is_sealed()) return false;
    const FrameNonce nonce = member.nonce();
    return nonce.session == head.session && nonce.counter == head.counter + 1 + static_cast<std::uint32_t>(position);
#else
    return true;
#endif
}

/// Whether a mark, opened if it was sealed, makes sense at `offset`, and up to where it vouches for the journal.
inline bool mark_makes_sense(const FrameView& mark, std::uint64_t offset, std::uint64_t& durable) noexcept {
    if (mark.value.size() != mark_value_size || !mark.key.empty()) return false;
    durable = load_le<std::uint64_t>(mark.value.data());
    return durable <= offset;
}

/// Whether a valid mark stands at `offset` of the file, and up to where it vouches for the journal.
inline bool read_mark(const std::byte* file, std::uint64_t size, std::uint64_t offset, FrameCoding coding,
                      std::uint64_t& durable) noexcept {
    const auto kind = static_cast<FrameKind>(file[offset + 4] & ~std::byte{frame_is_sealed});
    if (kind != FrameKind::sync_mark && kind != FrameKind::close_mark) return false;
    FrameView frame;
    if (!parse_frame(file + offset, file + size, frame) || frame.value.size() != mark_value_size || !frame.key.empty()) return false;
    if (frame.is_sealed() != (coding.sealer != nullptr) || !frame_validates(frame, offset, coding.seed)) return false;
    [[maybe_unused]] PlainText text;
#if EMDB_ENCRYPT
    if (coding.sealer != nullptr && !coding.sealer->open(frame, offset, text)) {
        // Of a session whose frame lies behind the damage: that was durable before the mark was sealed, and what came before it, too.
        durable = offset;
        return frame.nonce().session > coding.sealer->last_session();
    }
#endif
    return mark_makes_sense(frame, offset, durable);
}

/// Up to where the valid marks anywhere behind `end`, the place of a frame that does not validate, vouch for the journal; 0: there is
/// none. Greater than `end`: that frame was damaged. Else it was torn.
inline std::uint64_t vouched_by_marks_behind(const std::byte* file, std::uint64_t size, std::uint64_t end,
                                             FrameCoding coding) noexcept {
    std::uint64_t vouched = 0;
    std::uint64_t offset = end + 1;
    while (offset + mark_frame_size <= size) {
        if (offset + 16 <= size && load_le<std::uint64_t>(file + offset + 4) == 0) {
            offset += 8;  // none of the next eight places can have a mark's kind byte at its place
            continue;
        }
        std::uint64_t durable = 0;
        if (read_mark(file, size, offset, coding, durable)) vouched = (std::max)(vouched, durable);
        ++offset;
    }
    return vouched;
}

/// How many bytes there are from `from` up to the last one that is not zero: what was torn, preallocated space not counted.
inline std::uint64_t bytes_before_zeros(const std::byte* file, std::uint64_t from, std::uint64_t to) noexcept {
    while (to >= from + 8 && load_le<std::uint64_t>(file + to - 8) == 0) to -= 8;
    while (to > from && file[to - 1] == std::byte{0}) --to;
    return to - from;
}

}  // namespace emdb::detail
