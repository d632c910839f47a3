#pragma once
// The seed of a file's frames, worked out from the frames themselves, for files that have lost both copies of their header.
//
// A checksum determines the seed that it was started from: moved back past the frame's bytes, the difference to the checksum from
// seed 0 is the seed. Two neighbouring frames that give the same one are no chance.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "checks/crc32c_ranges.hpp"
#include "journal/frame.hpp"
#include "journal/frame_rules.hpp"

namespace emdb::detail {

/// The seed that makes the frame validate at `offset`.
inline std::uint32_t seed_of(const FrameView& frame, std::uint64_t offset) noexcept {
    const auto size = static_cast<std::size_t>(frame.size - 4);
    const std::uint32_t from_zero = crc32c_u64(crc32c(frame.start + 4, size, 0), offset);
    return crc32c_move_back(load_le<std::uint32_t>(frame.start) ^ from_zero, size + 8);
}

/// Looks for the first two intact neighbours up to 64 KiB each, not further than 16 MiB into the file, and gives up early where the
/// file is made to be slow. Nullopt: not found.
inline std::optional<std::uint32_t> find_frame_seed(const std::byte* file, std::uint64_t start, std::uint64_t size) noexcept {
    constexpr std::uint64_t frame_size_tried_max = 64 << 10;
    const std::uint64_t end = (std::min)(size, start + (16 << 20));
    std::uint64_t budget = std::uint64_t{1} << 30;  // bytes summed up: a fraction of a second
    FrameView first;
    FrameView second;
    const auto can_be_frame = [&](std::uint64_t offset, FrameView& frame) {
        return parse_frame(file + offset, file + end, frame) && frame_is_plausible(frame) && frame.size <= frame_size_tried_max;
    };
    for (std::uint64_t offset = start; offset + 2 * frame_size_min <= end; ++offset) {
        if (!can_be_frame(offset, first) || !can_be_frame(offset + first.size, second)) continue;
        if (first.size + second.size > budget) break;
        budget -= first.size + second.size;
        const std::uint32_t seed = seed_of(first, offset);
        if (seed_of(second, offset + first.size) == seed) return seed;
    }
    return std::nullopt;
}

}  // namespace emdb::detail
