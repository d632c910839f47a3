#pragma once
// SipHash-1-3, the keyed hash of the index: one round a word, three to finish. J.-P. Aumasson and D. J. Bernstein,
// "SipHash: a fast short-input PRF" (2012), section 2, with c = 1 and d = 3.

#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/coding.hpp"
#include "base/cpu.hpp"
#include "checks/wide_registers.hpp"

namespace emdb::detail {

struct SipState {
    std::uint64_t v0, v1, v2, v3;

    /// The paper's SipRound (figure 2.1).
    void round() noexcept {
        v0 += v1;
        v2 += v3;
        v1 = std::rotl(v1, 13) ^ v0;
        v3 = std::rotl(v3, 16) ^ v2;
        v0 = std::rotl(v0, 32);
        v2 += v1;
        v0 += v3;
        v1 = std::rotl(v1, 17) ^ v2;
        v3 = std::rotl(v3, 21) ^ v0;
        v2 = std::rotl(v2, 32);
    }

    void absorb(std::uint64_t word) noexcept {
        v3 ^= word;
        round();
        v0 ^= word;
    }
};

/// The last `size % 8` bytes of [data, data + size) as a little-endian integer, read without passing either end: overlapping
/// loads, because a loop over single bytes would cost more than the rounds.
inline std::uint64_t load_le_last_bytes(const std::byte* data, std::size_t size) noexcept {
    const std::size_t count = size % 8;
    if (count == 0) return 0;
    const std::byte* const tail = data + (size - count);
    if (size >= 8) return load_le<std::uint64_t>(tail + count - 8) >> (8 * (8 - count));
    if (count >= 4) {
        const std::uint64_t low = load_le<std::uint32_t>(tail);
        const std::uint64_t high = load_le<std::uint32_t>(tail + count - 4);
        return low | high << (8 * (count - 4));
    }
    const std::size_t middle = count / 2;  // one to three bytes: first, middle and last, which may coincide
    return static_cast<std::uint64_t>(tail[0]) | static_cast<std::uint64_t>(tail[middle]) << (8 * middle) |
           static_cast<std::uint64_t>(tail[count - 1]) << (8 * (count - 1));
}

#if EMDB_WIDE_REGISTERS

/// The state in two vector registers, v0 beside v2 and v1 beside v3, where the two halves of a round's work run side by side.
struct SipLanes {
    __m128i even;
    __m128i odd;

    EMDB_WIDE_TARGET void round() noexcept {
        half_round(_mm_set_epi64x(16, 13));
        half_round(_mm_set_epi64x(21, 17));
    }
    EMDB_WIDE_TARGET void absorb(__m128i word) noexcept {
        odd = _mm_xor_si128(odd, _mm_slli_si128(word, 8));
        round();
        even = _mm_xor_si128(even, word);
    }
    EMDB_WIDE_TARGET void half_round(__m128i rotations) noexcept {
        even = _mm_add_epi64(even, odd);
        odd = _mm_xor_si128(_mm_rolv_epi64(odd, rotations), even);
        even = _mm_shuffle_epi32(even, _MM_SHUFFLE(0, 1, 3, 2));  // v0 rotated by 32, and the two change places
    }
};

/// siphash13 for wide_register_features.
EMDB_WIDE_TARGET
inline std::uint64_t siphash13_wide(const std::byte* at, std::size_t size, std::uint64_t k0, std::uint64_t k1) noexcept {
    const std::uint64_t last = static_cast<std::uint64_t>(size) << 56 | load_le_last_bytes(at, size);
    SipLanes state{_mm_xor_si128(_mm_set1_epi64x(static_cast<long long>(k0)), _mm_set_epi64x(0x6c7967656e657261, 0x736f6d6570736575)),
                   _mm_xor_si128(_mm_set1_epi64x(static_cast<long long>(k1)), _mm_set_epi64x(0x7465646279746573, 0x646f72616e646f6d))};
    for (std::size_t words = size / 8; words != 0; --words, at += 8) state.absorb(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)));
    state.absorb(_mm_cvtsi64_si128(static_cast<long long>(last)));
    state.even = _mm_xor_si128(state.even, _mm_set_epi64x(0xff, 0));
    state.round();
    state.round();
    state.round();
    const __m128i halves = _mm_xor_si128(state.even, state.odd);
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm_xor_si128(halves, _mm_unpackhi_epi64(halves, halves))));
}

#endif

/// k0 and k1 are the first and second half of the 16-byte key, little-endian; the result is the tag, little-endian.
inline std::uint64_t siphash13(const void* data, std::size_t size, std::uint64_t k0, std::uint64_t k1) noexcept {
    const std::byte* at = static_cast<const std::byte*>(data);
#if EMDB_WIDE_REGISTERS
    if (cpu_features_known_to_include(wide_register_features)) return siphash13_wide(at, size, k0, k1);
#endif
    const std::uint64_t last = static_cast<std::uint64_t>(size) << 56 | load_le_last_bytes(at, size);
    SipState state{k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u};
    for (std::size_t words = size / 8; words != 0; --words, at += 8) state.absorb(load_le<std::uint64_t>(at));
    state.absorb(last);
    state.v2 ^= 0xff;
    state.round();
    state.round();
    state.round();
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

}  // namespace emdb::detail
