#pragma once
// BatchBuffer: encoded frames on their way into one batch.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "journal/frame.hpp"

namespace emdb::detail {

/// A batch frame and its members, encoded in memory as they will lie in the file. Their checksums are finished by place(), when
/// the batch has its offset. Not thread-safe.
class BatchBuffer {
public:
    explicit BatchBuffer(std::uint32_t seed) : seed_(seed) { clear(); }

    /// Has the next add() of this content not fail for want of memory.
    void reserve_for(const FrameContent& content) {
        grow(bytes_, bytes_.size() + static_cast<std::size_t>(content.frame_size()));
        grow(starts_, starts_.size() + 1);
    }

    /// Adds a member and returns where it starts, counted from the start of the batch. If it throws, nothing was added.
    std::uint64_t add(const FrameContent& content) {
        reserve_for(content);
        FrameHead head(content, seed_);
        head.store_unplaced_crc();
        const std::uint64_t start = bytes_.size();
        starts_.push_back(start);
        append({head.data(), head.size()});
        append({content.key.data(), content.key.size()});
        append({content.value.data(), content.value.size()});
        return start;
    }

    std::size_t count() const noexcept { return starts_.size(); }
    std::uint64_t start_of(std::size_t member) const noexcept { return starts_[member]; }
    std::uint64_t size() const noexcept { return bytes_.size(); }
    std::span<const std::byte> bytes() const noexcept { return bytes_; }

    /// A member as it is encoded; the views are valid until the next add().
    FrameView member(std::uint64_t start) const noexcept {
        FrameView frame;
        parse_frame(bytes_.data() + start, bytes_.data() + bytes_.size(), frame);
        return frame;
    }

    /// Finishes the batch for its place in the file. Once.
    void place(std::uint64_t offset) noexcept {
        std::byte value[batch_value_size];
        store_le(value, static_cast<std::uint64_t>(bytes_.size() - batch_head_size));
        store_le(value + 8, static_cast<std::uint32_t>(starts_.size()));
        FrameContent content;
        content.kind = FrameKind::batch;
        content.value = Bytes(value, sizeof value);
        FrameHead head(content, seed_);
        head.finish(offset);
        std::memcpy(bytes_.data(), head.data(), head.size());
        std::memcpy(bytes_.data() + head.size(), value, sizeof value);
        for (const std::uint64_t start : starts_) finish_frame_crc(bytes_.data() + start, offset + start);
    }

    /// The batch is to be placed in another file than was said.
    void reseed(std::uint32_t seed) noexcept {
        if (seed == seed_) return;
        seed_ = seed;
        for (const std::uint64_t start : starts_) {
            std::byte* const frame = bytes_.data() + start;
            store_le(frame, crc32c(frame + 4, static_cast<std::size_t>(member(start).size - 4), seed));
        }
    }

    void clear() {
        starts_.clear();
        bytes_.assign(batch_head_size, std::byte{0});
    }

private:
    template <class T>
    static void grow(std::vector<T>& vector, std::size_t size) {
        if (size > vector.capacity()) vector.reserve((std::max)(size, 2 * vector.capacity()));
    }
    void append(std::span<const std::byte> part) { bytes_.insert(bytes_.end(), part.begin(), part.end()); }

    std::uint32_t seed_;
    std::vector<std::byte> bytes_;
    std::vector<std::uint64_t> starts_;
};

}  // namespace emdb::detail
