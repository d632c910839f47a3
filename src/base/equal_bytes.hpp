#pragma once
// Comparison of keys, inlined: a call of memcmp for 24 bytes costs three times as many instructions.

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace emdb::detail {

/// Which of the 16 bytes at a and b differ, somehow.
#if defined(__SSE2__)
using Difference = __m128i;
[[gnu::always_inline]] inline Difference difference_16(const std::byte* a, const std::byte* b) noexcept {
    return _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a)), _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
}
[[gnu::always_inline]] inline Difference either(Difference a, Difference b) noexcept { return _mm_or_si128(a, b); }
[[gnu::always_inline]] inline bool is_none(Difference difference) noexcept {
    return _mm_movemask_epi8(_mm_cmpeq_epi8(difference, _mm_setzero_si128())) == 0xFFFF;
}
#else
using Difference = std::uint64_t;
[[gnu::always_inline]] inline Difference difference_16(const std::byte* a, const std::byte* b) noexcept {
    std::uint64_t x[2];
    std::uint64_t y[2];
    std::memcpy(x, a, sizeof x);
    std::memcpy(y, b, sizeof y);
    return (x[0] ^ y[0]) | (x[1] ^ y[1]);
}
[[gnu::always_inline]] inline Difference either(Difference a, Difference b) noexcept { return a | b; }
[[gnu::always_inline]] inline bool is_none(Difference difference) noexcept { return difference == 0; }
#endif

/// equal_bytes for all other sizes.
inline bool equal_odd_bytes(const std::byte* a, const std::byte* b, std::size_t size) noexcept {
    if (size - 8 >= 8) return size == 0 || std::memcmp(a, b, size) == 0;
    std::uint64_t x[2];
    std::uint64_t y[2];
    std::memcpy(&x[0], a, 8);
    std::memcpy(&y[0], b, 8);
    std::memcpy(&x[1], a + size - 8, 8);
    std::memcpy(&y[1], b + size - 8, 8);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

/// Whether `size` bytes are the same.
[[gnu::always_inline]] inline bool equal_bytes(const std::byte* a, const std::byte* b, std::size_t size) noexcept {
    if (size - 16 > 48) return equal_odd_bytes(a, b, size);
    Difference difference = either(difference_16(a, b), difference_16(a + size - 16, b + size - 16));
    if (size > 32) {
        difference = either(difference, either(difference_16(a + 16, b + 16), difference_16(a + size - 32, b + size - 32)));
    }
    return is_none(difference);
}

}  // namespace emdb::detail
