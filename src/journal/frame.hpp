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
// A plain record of 24 + 150 bytes takes 8 bytes beyond key and value. What the kinds carry:
//
//   put               key, value
//   remove            key
//   batch             value: 8 bytes length and 4 bytes count of the frames that follow; they count only if every one of
//                     them validates and they fill the length exactly
//   namespace_create  namespace id; key: the name
//   namespace_drop    namespace id
//   clear             namespace id, or none for the default keyspace
//   session           reserved for encryption
//   sync_mark         value: 8 bytes; the journal below this offset is known to have reached the disk
//   close_mark        as sync_mark, written by a clean close
//
// Kinds 10-15 and two flag bits are free for what is to come.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/bytes.hpp"
#include "base/coding.hpp"
#include "checks/crc32c.hpp"

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
constexpr std::uint8_t frame_known_flags = frame_has_namespace | frame_has_expiry;

constexpr std::size_t key_size_max = (std::size_t{1} << 24) - 1;
constexpr std::uint64_t value_size_max = (std::uint64_t{1} << 32) - 1;
constexpr std::size_t frame_head_size_max = 4 + 1 + 4 + 5 + 5 + 10;
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
/// until frame_validates().
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
};

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

/// Takes the frame at `at` apart without touching a byte at or past `end`. False: no frame can be there.
inline bool parse_frame(const std::byte* at, const std::byte* end, FrameView& frame) noexcept {
    const auto room = static_cast<std::uint64_t>(end - at);
    if (room < 8) return room >= frame_size_min && parse_any_frame(at, end, frame);
    // Nearly all frames: no flags, a key below 128 bytes, a value below 16 KiB.
    const auto kind_and_flags = static_cast<std::uint8_t>(at[4]);
    const auto key_size = static_cast<std::size_t>(at[5]);
    const auto first = static_cast<std::size_t>(at[6]);
    const bool two_bytes = first >= 0x80;
    const std::size_t value_size = two_bytes ? (first & 0x7F) | static_cast<std::size_t>(at[7]) << 7 : first;
    const std::size_t head_size = two_bytes ? 8 : 7;
    const std::size_t size = head_size + key_size + value_size;
    if (kind_and_flags == 0 || kind_and_flags > frame_kind_mask || key_size >= 0x80 || value_size >= 0x4000 || room < size ||
        (two_bytes && value_size < 0x80)) [[unlikely]] {
        return parse_any_frame(at, end, frame);
    }
    frame.start = at;
    frame.kind_and_flags = kind_and_flags;
    frame.namespace_id = 0;
    frame.expiry_unix_ms = 0;
    frame.size = size;
    frame.key = Bytes(at + head_size, key_size);
    frame.value = Bytes(at + head_size + key_size, value_size);
    return true;
}

/// Whether the bytes of a parsed frame are those that were written at `offset` of the file that `seed` belongs to.
inline bool frame_validates(const FrameView& frame, std::uint64_t offset, std::uint32_t seed) noexcept {
    const std::uint32_t sum = crc32c(frame.start + 4, static_cast<std::size_t>(frame.size - 4), seed);
    return load_le<std::uint32_t>(frame.start) == crc32c_u64(sum, offset);
}

constexpr std::size_t mark_value_size = 8;
constexpr std::size_t mark_frame_size = frame_size_min + mark_value_size;
constexpr std::size_t batch_value_size = 12;
constexpr std::size_t batch_head_size = frame_size_min + batch_value_size;

}  // namespace emdb::detail
