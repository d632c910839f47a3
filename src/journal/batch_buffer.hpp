#pragma once
// BatchBuffer: builds a batch in memory: a transaction, a piece of a bulk load or of a rewrite, the removals of a sweep or a group.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/coding.hpp"
#include "base/config.hpp"
#include "crypto/secret_vector.hpp"
#include "journal/frame.hpp"
#include "journal/sealed_frame.hpp"
#include "journal/sealer.hpp"

namespace emdb::detail {

/// What the encoding of a file's frames depends on.
struct FrameCoding {
    std::uint32_t seed = 0;
    Sealer* sealer = nullptr;  ///< null: frames are not sealed
    friend bool operator==(const FrameCoding&, const FrameCoding&) = default;
};

/// A batch frame and its members, encoded in memory as they will lie in the file, but not sealed yet. They are finished by place(),
/// when the batch has its offset. Not thread-safe.
class BatchBuffer {
public:
    explicit BatchBuffer(FrameCoding coding) : coding_(coding) { clear(); }

    /// Has the next add() of this content not fail for want of memory.
    void reserve_for(const FrameContent& content) {
        constexpr std::size_t seal_size = frame_nonce_size + sealed_expiry_size + frame_tag_size;
        grow(bytes_, bytes_.size() + static_cast<std::size_t>(content.frame_size()) + (coding_.sealer != nullptr ? seal_size : 0));
        grow(starts_, starts_.size() + 1);
    }

    /// Adds a member and returns where it starts, counted from the start of the batch. If it throws, nothing was added.
    std::uint64_t add(const FrameContent& content) {
        reserve_for(content);
        const std::uint64_t start = bytes_.size();
        starts_.push_back(start);
#if EMDB_ENCRYPT
        if (coding_.sealer != nullptr) {
            add_unsealed(content);
            return start;
        }
#endif
        FrameHead head(content, coding_.seed);
        head.store_unplaced_crc();
        append({head.data(), head.size()});
        append({content.key.data(), content.key.size()});
        append({content.value.data(), content.value.size()});
        return start;
    }

    std::size_t count() const noexcept { return starts_.size(); }
    std::uint64_t start_of(std::size_t member) const noexcept { return starts_[member]; }
    std::uint64_t size() const noexcept { return bytes_.size(); }

    /// A member's contents; the views are valid until the next add().
    FrameView member(std::uint64_t start) const noexcept {
        FrameView frame;
        parse_frame(bytes_.data() + start, bytes_.data() + bytes_.size(), frame);
#if EMDB_ENCRYPT
        if (frame.is_sealed()) SealedFrame::read_unsealed(frame);
#endif
        return frame;
    }

    /// Makes room for what place() makes.
    void prepare() {
        if (coding_.sealer != nullptr) sealed_.resize(bytes_.size());
    }
    /// Finishes the batch for its place in the file, and returns what is to be written there. Once.
    std::span<const std::byte> place(std::uint64_t offset) noexcept {
        std::byte value[batch_value_size];
        store_le(value, static_cast<std::uint64_t>(bytes_.size() - head_size()));
        store_le(value + 8, static_cast<std::uint32_t>(starts_.size()));
        FrameContent content;
        content.kind = FrameKind::batch;
        content.value = Bytes(value, sizeof value);
#if EMDB_ENCRYPT
        if (coding_.sealer != nullptr) return seal(content, offset);
#endif
        FrameHead head(content, coding_.seed);
        head.finish(offset);
        std::memcpy(bytes_.data(), head.data(), head.size());
        std::memcpy(bytes_.data() + head.size(), value, sizeof value);
        for (const std::uint64_t start : starts_) finish_frame_crc(bytes_.data() + start, offset + start);
        return bytes_;
    }

    /// The batch is to be placed in another file than was said, sealed or not as that.
    void recode(FrameCoding coding) noexcept {
        if (coding == coding_) return;
        coding_ = coding;
        if (coding.sealer != nullptr) return;  // checksums come last
        for (const std::uint64_t start : starts_) {
            std::byte* const frame = bytes_.data() + start;
            store_le(frame, crc32c(frame + 4, static_cast<std::size_t>(member(start).size - 4), coding.seed));
        }
    }

    void clear() {
        starts_.clear();
        bytes_.assign(head_size(), std::byte{0});
    }

private:
    std::size_t head_size() const noexcept {
        return batch_head_size + (coding_.sealer != nullptr ? frame_nonce_size + frame_tag_size : 0);
    }

    template <class Vector>
    static void grow(Vector& vector, std::size_t size) {
        if (size > vector.capacity()) vector.reserve((std::max)(size, 2 * vector.capacity()));
    }
    void append(std::span<const std::byte> part) { bytes_.insert(bytes_.end(), part.begin(), part.end()); }

#if EMDB_ENCRYPT
    // With room for the nonce and the tag.
    void add_unsealed(const FrameContent& content) {
        SealedFrame frame(content);
        const std::size_t start = bytes_.size();
        bytes_.resize(start + static_cast<std::size_t>(frame.size()));
        frame.put_head(bytes_.data() + start, {});
        frame.put_body(bytes_.data() + start + frame.head_size());
    }

    // Members follow their batch's frame in counting: they can't be exchanged for others, not even for former ones at the same place.
    std::span<const std::byte> seal(const FrameContent& content, std::uint64_t offset) noexcept {
        FrameNonce nonce = coding_.sealer->take_nonces(starts_.size() + 1, bytes_.size());
        SealedFrame head(content);
        head.put_head(bytes_.data(), {});
        head.put_body(bytes_.data() + head.head_size());
        seal_member(0, nonce, offset);
        for (const std::uint64_t start : starts_) {
            ++nonce.counter;
            seal_member(start, nonce, offset);
        }
        return {sealed_.data(), bytes_.size()};
    }

    void seal_member(std::uint64_t start, FrameNonce nonce, std::uint64_t offset) noexcept {
        FrameView frame;
        parse_frame(bytes_.data() + start, bytes_.data() + bytes_.size(), frame);
        const auto head_size = static_cast<std::size_t>(frame.key.data() - frame.start);
        const auto body_size = static_cast<std::size_t>(frame.size) - head_size - frame_tag_size;
        std::byte* const to = sealed_.data() + start;
        std::memcpy(to, frame.start, head_size);
        store_le(to + head_size - frame_nonce_size, nonce.session);
        store_le(to + head_size - frame_nonce_size + 4, nonce.counter);
        coding_.sealer->seal(to, head_size, {frame.key.data(), body_size}, offset + start);
        store_frame_crc(to, frame.size, offset + start, coding_.seed);
    }
#endif

    FrameCoding coding_;
    SecretVector<std::byte> bytes_;
    std::vector<std::byte> sealed_;
    std::vector<std::uint64_t> starts_;
};

}  // namespace emdb::detail
