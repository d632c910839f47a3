#pragma once
// The frame: the one kind of thing in a journal.
//
//   size     field
//      4     CRC-32C of the file id, of everything below, and of the frame's own offset in the file (8 bytes): a frame that was
//            moved, duplicated or taken from another file never validates
//      1     kind (low four bits, never 0) and flags (high four bits)
//   1-4      length of the key, varint
//   1-5      length of the value, varint
//  [1-5]     namespace id, varint, if has_namespace (the default keyspace has none)
//  [1-10]    expiry in unix milliseconds, varint, if has_expiry
//      n     key
//      n     value
//
// In an encrypted file every frame but a session's is sealed: the flag is_sealed is set, and from the namespace id on there is
//
//    4+4     session number and counter within the session: the nonce
//      n     ciphertext of   [8: expiry, if has_expiry]   key   value
//     16     tag
//
// A plain record of 24 + 150 bytes takes 8 bytes beyond key and value. What the kinds carry:
//
//   put               key, value
//   remove            key
//   batch             value: 8 bytes length and 4 bytes count of the frames that follow; they count only if every one of
//                     them validates and they fill the length exactly
//   namespace_create  namespace id; key: the name
//   namespace_drop    namespace id
//   clear             namespace id, or none for the default keyspace
//   session           value: see Sealer; in encrypted files only, never sealed itself
//   sync_mark         value: 8 bytes; the journal below this offset is known to have reached the disk
//   close_mark        as sync_mark, written by a clean close
//
// Kinds 10-15 and a flag bit are free for what is to come.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/bytes.hpp"
#include "base/coding.hpp"
#include "base/equal_bytes.hpp"
#include "checks/crc32c.hpp"
#include "checks/frame_sum.hpp"

namespace emdb::detail {

enum class FrameKind : std::uint8_t {
    put = 1,
    remove = 2,
    batch = 3,
    namespace_create = 4,
    namespace_drop = 5,
    clear = 6,
    session = 7,
    sync_mark = 8,
    close_mark = 9,
};

constexpr std::uint8_t frame_kind_mask = 0x0F;
constexpr std::uint8_t frame_has_namespace = 0x10;
constexpr std::uint8_t frame_has_expiry = 0x20;
constexpr std::uint8_t frame_is_sealed = 0x40;
constexpr std::uint8_t frame_known_flags = frame_has_namespace | frame_has_expiry;

constexpr std::size_t key_size_max = (std::size_t{1} << 24) - 1;
constexpr std::uint64_t value_size_max = (std::uint64_t{1} << 32) - 1;
constexpr std::size_t frame_head_size_max = 4 + 1 + 4 + 5 + 5 + 10;
constexpr std::size_t frame_nonce_size = 8;
constexpr std::size_t frame_tag_size = 16;
constexpr std::size_t sealed_expiry_size = 8;
constexpr std::size_t frame_size_min = 4 + 1 + 1 + 1;

/// What is written into a frame; the views belong to the caller.
struct FrameContent {
    FrameKind kind = FrameKind::put;
    std::uint32_t namespace_id = 0;
    std::uint64_t expiry_unix_ms = 0;  ///< 0: none
    Bytes key;
    Bytes value;

    std::uint8_t flags() const noexcept {
        return static_cast<std::uint8_t>((namespace_id != 0 ? frame_has_namespace : 0) |
                                         (expiry_unix_ms != 0 ? frame_has_expiry : 0));
    }
    std::uint64_t frame_size() const noexcept {
        return 4 + 1 + varint_size(key.size()) + varint_size(value.size()) +
               (namespace_id != 0 ? varint_size(namespace_id) : 0) + (expiry_unix_ms != 0 ? varint_size(expiry_unix_ms) : 0) +
               key.size() + value.size();
    }
};

/// What a sealed frame's nonce is made of.
struct FrameNonce {
    std::uint32_t session = 0;
    std::uint32_t counter = 0;
};
inline FrameNonce load_nonce(const std::byte* at) noexcept {
    return {load_le<std::uint32_t>(at), load_le<std::uint32_t>(at + 4)};
}

/// Everything of a frame before its key. The CRC is known only once the frame's offset is: finish() puts it in.
class FrameHead {
public:
    /// `seed` is Header::frame_seed(). Reads key and value once, to sum them up.
    FrameHead(const FrameContent& content, std::uint32_t seed) noexcept {
        std::byte* at = bytes_ + 4;
        *at++ = static_cast<std::byte>(static_cast<std::uint8_t>(content.kind) | content.flags());
        at = put_varint(at, content.key.size());
        at = put_varint(at, content.value.size());
        if (content.namespace_id != 0) at = put_varint(at, content.namespace_id);
        if (content.expiry_unix_ms != 0) at = put_varint(at, content.expiry_unix_ms);
        size_ = static_cast<std::size_t>(at - bytes_);
        crc_ = crc32c(bytes_ + 4, size_ - 4, seed);
        crc_ = crc32c(content.key.data(), content.key.size(), crc_);
        crc_ = crc32c(content.value.data(), content.value.size(), crc_);
    }

    void finish(std::uint64_t offset) noexcept { store_le(bytes_, crc32c_u64(crc_, offset)); }
    /// The CRC before the offset went in, for frames that are placed later; see finish_frame_crc().
    void store_unplaced_crc() noexcept { store_le(bytes_, crc_); }

    const std::byte* data() const noexcept { return bytes_; }
    std::size_t size() const noexcept { return size_; }

private:
    std::byte bytes_[frame_head_size_max];
    std::size_t size_;
    std::uint32_t crc_;
};

/// Turns the unplaced CRC at the start of an encoded frame into the final one.
inline void finish_frame_crc(std::byte* frame, std::uint64_t offset) noexcept {
    store_le(frame, crc32c_u64(load_le<std::uint32_t>(frame), offset));
}

/// A frame read in place. Parsed from untrusted bytes: its lengths lie inside what was given to parse, nothing more is known
/// until frame_validates(). Of a sealed frame, key and value are ciphertext, and the expiry is not known, until Sealer::open.
struct FrameView {
    const std::byte* start = nullptr;
    std::uint8_t kind_and_flags = 0;
    std::uint32_t namespace_id = 0;
    std::uint64_t expiry_unix_ms = 0;
    std::uint64_t size = 0;
    Bytes key;
    Bytes value;

    FrameKind kind() const noexcept { return static_cast<FrameKind>(kind_and_flags & frame_kind_mask); }
    std::uint8_t flags() const noexcept { return kind_and_flags & static_cast<std::uint8_t>(~frame_kind_mask); }
    /// Key and value are about to go; their sizes are still asked for.
    void forget_contents() noexcept {
        key = Bytes(start, key.size());
        value = Bytes(start, value.size());
    }
    bool is_sealed() const noexcept { return (kind_and_flags & frame_is_sealed) != 0; }
    /// Of a sealed frame that has not been opened; nothing of others.
    FrameNonce nonce() const noexcept { return is_sealed() ? load_nonce(key.data() - frame_nonce_size) : FrameNonce(); }
};

/// parse_any_frame from the nonce on. The key begins where the ciphertext does.
inline bool parse_sealed_body(const std::byte* cursor, const std::byte* end, std::uint64_t key_size, std::uint64_t value_size,
                              FrameView& frame) noexcept {
    const std::uint64_t expiry_size = (frame.kind_and_flags & frame_has_expiry) != 0 ? sealed_expiry_size : 0;
    const std::uint64_t rest = frame_nonce_size + expiry_size + key_size + value_size + frame_tag_size;
    if (rest > static_cast<std::uint64_t>(end - cursor)) return false;
    const std::byte* const body = cursor + frame_nonce_size;
    frame.key = Bytes(body, static_cast<std::size_t>(key_size));
    frame.value = Bytes(body + expiry_size + key_size, static_cast<std::size_t>(value_size));
    frame.size = static_cast<std::uint64_t>(cursor - frame.start) + rest;
    return true;
}

/// The general form of parse_frame below.
inline bool parse_any_frame(const std::byte* at, const std::byte* end, FrameView& frame) noexcept {
    frame.start = at;
    frame.namespace_id = 0;
    frame.expiry_unix_ms = 0;
    frame.kind_and_flags = static_cast<std::uint8_t>(at[4]);
    if ((frame.kind_and_flags & frame_kind_mask) == 0) return false;
    std::uint64_t key_size = 0;
    std::uint64_t value_size = 0;
    const std::byte* cursor = get_varint(at + 5, end, key_size);
    if (cursor == nullptr || key_size > key_size_max) return false;
    cursor = get_varint(cursor, end, value_size);
    if (cursor == nullptr || value_size > value_size_max) return false;
    if ((frame.kind_and_flags & frame_has_namespace) != 0) {
        std::uint64_t id = 0;
        cursor = get_varint(cursor, end, id);
        if (cursor == nullptr || id == 0 || id > UINT32_MAX) return false;
        frame.namespace_id = static_cast<std::uint32_t>(id);
    }
    if (frame.is_sealed()) return parse_sealed_body(cursor, end, key_size, value_size, frame);
    if ((frame.kind_and_flags & frame_has_expiry) != 0) {
        cursor = get_varint(cursor, end, frame.expiry_unix_ms);
        if (cursor == nullptr || frame.expiry_unix_ms == 0) return false;
    }
    if (key_size + value_size > static_cast<std::uint64_t>(end - cursor)) return false;
    frame.key = Bytes(cursor, static_cast<std::size_t>(key_size));
    frame.value = Bytes(cursor + key_size, static_cast<std::size_t>(value_size));
    frame.size = static_cast<std::uint64_t>(cursor - at) + key_size + value_size;
    return true;
}

/// Takes the frame at `at` apart if it is like nearly all frames: no flags, a key below 128 bytes, a value below 16 KiB. False:
/// parse_any_frame has to look.
inline bool parse_usual_frame(const std::byte* at, const std::byte* end, FrameView& frame) noexcept {
    const auto room = static_cast<std::uint64_t>(end - at);
    if (room < 8) [[unlikely]] return false;
    const auto head = load_le<std::uint32_t>(at + 4);
    const auto kind_and_flags = static_cast<std::uint8_t>(head);
    const std::size_t key_size = (head >> 8) & 0xFF;
    std::size_t value_size = (head >> 16) & 0xFF;
    std::size_t head_size = 7;
    if (value_size >= 0x80) {
        head_size = 8;
        value_size = (value_size & 0x7F) | static_cast<std::size_t>(head >> 24) << 7;
        if (value_size - 0x80 >= 0x3F80) return false;  // of three bytes' length or more, or of two where one would do
    }
    const std::uint64_t size = head_size + key_size + value_size;
    if (kind_and_flags - 1U >= frame_kind_mask || key_size >= 0x80 || room < size) [[unlikely]] return false;
    frame.start = at;
    frame.kind_and_flags = kind_and_flags;
    frame.namespace_id = 0;
    frame.expiry_unix_ms = 0;
    frame.size = size;
    frame.key = Bytes(at + head_size, key_size);
    frame.value = Bytes(at + head_size + key_size, value_size);
    return true;
}

/// Takes the frame at `at` apart without touching a byte at or past `end`. False: no frame can be there.
inline bool parse_frame(const std::byte* at, const std::byte* end, FrameView& frame) noexcept {
    if (parse_usual_frame(at, end, frame)) [[likely]] return true;
    return end - at >= static_cast<std::ptrdiff_t>(frame_size_min) && parse_any_frame(at, end, frame);
}

/// What a frame's head says of its sizes, remembered for the next frame: records of one kind often have equal sizes. To find the head
/// equal takes one comparison, and what follows does not wait for it, because the processor foretells its outcome.
class FrameShape {
public:
    constexpr FrameShape() noexcept = default;
    explicit FrameShape(const FrameView& frame) noexcept {
        const auto head_size = static_cast<std::size_t>(frame.key.data() - frame.start);
        if (frame.flags() != 0 || head_size > 8 || frame.size < 8) return;
        mask_ = head_size == 8 ? 0xFFFFFFFF : 0x00FFFFFF;
        head_ = load_le<std::uint32_t>(frame.start + 4) & mask_;
        head_size_ = head_size;
        key_size_ = frame.key.size();
        value_size_ = frame.value.size();
    }

    std::size_t key_size() const noexcept { return key_size_; }
    std::size_t value_size() const noexcept { return value_size_; }

    /// Takes the frame at `at` apart if it has this shape, without touching a byte at or past `end`.
    [[gnu::always_inline]] bool fits(const std::byte* at, const std::byte* end, FrameView& frame) const noexcept {
        const std::size_t size = head_size_ + key_size_ + value_size_;
        if (static_cast<std::uint64_t>(end - at) < size) [[unlikely]] return false;
        if ((load_le<std::uint32_t>(at + 4) & mask_) != head_) return false;
        frame.start = at;
        frame.kind_and_flags = static_cast<std::uint8_t>(head_);
        frame.namespace_id = 0;
        frame.expiry_unix_ms = 0;
        frame.size = size;
        frame.key = Bytes(at + head_size_, key_size_);
        frame.value = Bytes(at + head_size_ + key_size_, value_size_);
        return true;
    }

private:
    // Bytes 4 to 7 of the frame, which have all there is to know; the last one may belong to the key. The first shape fits nothing.
    std::uint32_t mask_ = 0;
    std::uint32_t head_ = 1;
    std::size_t head_size_ = 8;
    std::size_t key_size_ = 0;
    std::size_t value_size_ = 0;
};

/// Whether the bytes of a parsed frame are those that were written at `offset` of the file that `seed` belongs to.
[[gnu::always_inline]] inline bool frame_validates(const FrameView& frame, std::uint64_t offset, std::uint32_t seed) noexcept {
    return load_le<std::uint32_t>(frame.start) ==
           crc32c_then_u64(frame.start + 4, static_cast<std::size_t>(frame.size - 4), seed, offset);
}

/// The CRC of a frame that lies complete in memory, for its place in a file.
inline void store_frame_crc(std::byte* frame, std::uint64_t size, std::uint64_t offset, std::uint32_t seed) noexcept {
    store_le(frame, crc32c_then_u64(frame + 4, static_cast<std::size_t>(size - 4), seed, offset));
}

constexpr std::size_t mark_value_size = 8;
constexpr std::size_t mark_frame_size = frame_size_min + mark_value_size;
constexpr std::size_t batch_value_size = 12;
constexpr std::size_t batch_head_size = frame_size_min + batch_value_size;

}  // namespace emdb::detail
