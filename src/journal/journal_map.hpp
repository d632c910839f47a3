#pragma once
// JournalMap: the whole file in memory, read-only, at addresses that never change.
//
// Address space for a terabyte is reserved at the start, and the one mapping serves the file as it grows. Where that is
// refused (limits on address space, 32-bit systems) or mappings can't reach past the end of the file (Windows), further
// segments are mapped as the file grows. Invariants:
//
//   1. A frame never straddles two segments: a new segment starts at the page of the first byte that the old ones could not
//      hold, so the last segment that starts at or below a frame's offset holds all of the frame.
//   2. Segments are only ever added, until the map is destroyed: a pointer into one is good for as long as the map.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/atomic.hpp"
#include "base/result.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

class JournalMap {
public:
    JournalMap() noexcept = default;
    JournalMap(const JournalMap&) = delete;
    JournalMap& operator=(const JournalMap&) = delete;

    /// Maps [0, size), and room for growth where the file's mappings allow. Call once.
    Result<void> open(File& file, std::uint64_t size) {
        if (auto added = add_segment(file, 0, size); !added) return added;
        first_base_ = segments_[0]->mapping.data();
        first_mapped_end_ = segments_[0]->end();
        first_end_.store(first_mapped_end_, std::memory_order_relaxed);
        return {};
    }

    /// Makes sure that a frame at [offset, end) can be read; the file is at least `file_size` long. Callers are serialised.
    Result<void> cover(File& file, std::uint64_t offset, std::uint64_t end, std::uint64_t file_size) {
        const Segment& last = *segments_[count_.load(std::memory_order_relaxed) - 1];
        if (offset >= last.start && end <= last.end()) return {};
        const std::uint64_t granularity = file.map_granularity();
        const std::uint64_t start = offset / granularity * granularity;
        if (auto added = add_segment(file, start, file_size); !added) return added;
        // Whoever reads a frame of the new segment learned its offset after this store.
        if (start < first_end_.load(std::memory_order_relaxed)) first_end_.store(start, std::memory_order_relaxed);
        return {};
    }

    /// Reads are here and there from now on: without this, each that finds its page missing has the system read a whole neighbourhood,
    /// some MiB on some devices, which costs a hundred times the page where data exceeds memory. Called with cover() or before.
    void expect_random_reads(File& file) noexcept {
        random_reads_ = true;
        for (std::size_t i = 0; i < count_.load(std::memory_order_relaxed); ++i) file.expect_random_reading(segments_[i]->mapping);
    }

    /// Where the byte at `offset` is. `offset` is that of a frame inside what open() and cover() were asked for.
    const std::byte* at(std::uint64_t offset) const noexcept {
        if (offset < first_end_.load(std::memory_order_relaxed)) [[likely]] return first_base_ + offset;
        const Segment& segment = segment_of(offset);
        return segment.mapping.data() + (offset - segment.start);
    }

    /// Whether a frame lies in the first segment, the only one where there is enough address space.
    bool in_first_segment(std::uint64_t offset) const noexcept { return offset < first_end_.load(std::memory_order_relaxed); }
    const std::byte* first_segment() const noexcept { return first_base_; }
    std::uint64_t first_mapped_end() const noexcept { return first_mapped_end_; }

    /// One past the last mapped byte that may belong to a frame at `offset`.
    std::uint64_t mapped_end(std::uint64_t offset) const noexcept {
        if (offset < first_end_.load(std::memory_order_relaxed)) [[likely]] return first_mapped_end_;
        return segment_of(offset).end();
    }

private:
    struct Segment {
        std::uint64_t start = 0;
        Mapping mapping;
        std::uint64_t end() const noexcept { return start + mapping.size(); }
    };

    const Segment& segment_of(std::uint64_t offset) const noexcept {
        std::size_t i = count_.load(std::memory_order_acquire) - 1;
        while (i > 0 && segments_[i]->start > offset) --i;
        return *segments_[i];
    }

    Result<void> add_segment(File& file, std::uint64_t start, std::uint64_t file_size) {
        const std::size_t index = count_.load(std::memory_order_relaxed);
        if (index == segments_.size()) {
            return Error(ErrorCode::too_large, "The file can't be mapped into memory: address space is too fragmented or limited. "
                         "Raise the limit on address space, or use a 64-bit build.");
        }
        auto mapping = map_with_room(file, start, file_size - start);
        if (!mapping) return std::move(mapping).error();
        if (random_reads_) file.expect_random_reading(*mapping);
        segments_[index] = std::make_unique<Segment>(Segment{start, std::move(*mapping)});
        count_.store(index + 1, std::memory_order_release);
        return {};
    }

    // Where address space is limited, a quarter of what can be had is taken: the rest of the program needs some too.
    static Result<Mapping> map_with_room(File& file, std::uint64_t start, std::uint64_t needed) {
        if (needed > SIZE_MAX) {
            return Error(ErrorCode::too_large, "The file is larger than this 32-bit process can map. Use a 64-bit build.");
        }
        constexpr std::uint64_t room_max = sizeof(void*) >= 8 ? std::uint64_t{1} << 40 : std::uint64_t{1} << 28;
        constexpr std::uint64_t room_min = std::uint64_t{1} << 22;
        for (std::uint64_t room = room_max; file.maps_past_end() && room / 4 >= (std::max)(needed, room_min); room /= 4) {
            auto mapping = file.map_read_only(start, static_cast<std::size_t>(room));
            if (!mapping) continue;
            if (room == room_max) return mapping;
            mapping = Mapping();
            return file.map_read_only(start, static_cast<std::size_t>(room / 4));
        }
        return file.map_read_only(start, static_cast<std::size_t>(needed));
    }

    const std::byte* first_base_ = nullptr;
    std::uint64_t first_mapped_end_ = 0;
    bool random_reads_ = false;
    Atomic<std::uint64_t> first_end_{0};
    std::array<std::unique_ptr<Segment>, 512> segments_;
    Atomic<std::size_t> count_{0};
};

}  // namespace emdb::detail
