#pragma once
// What a stretch of the program costs, counted instead of timed: steps (basic blocks entered, and bytes that the C library copies,
// fills or compares, in 64s) and memory (what operator new has given out).
//
// Steps are counted where the code was compiled with -fsanitize-coverage=trace-pc; see rules.mk.

#include <cstddef>
#include <cstdint>

namespace emdb_fuzz {

struct Cost {
    std::uint64_t steps = 0;
    std::size_t memory_peak = 0;         ///< above what was there at the start
    std::size_t allocation_largest = 0;  ///< of a single one
};

void start_counting() noexcept;
Cost stop_counting() noexcept;

}  // namespace emdb_fuzz
