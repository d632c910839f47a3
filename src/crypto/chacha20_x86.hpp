#pragma once
// ChaCha20 in wider registers, by rows as chacha20_rows: a row of two blocks in one of AVX2, of four blocks in one of AVX-512.

#include "crypto/targets.hpp"

#if EMDB_CRYPTO_X86

#include <cstddef>
#include <cstdint>

#include "crypto/chacha20.hpp"

namespace emdb::detail {

/// Two blocks.
struct ChaCha20Pair {
    __m256i a, b, c, d, counters;

    EMDB_AVX2_INLINE static __m256i row(const std::uint32_t* from) noexcept {
        return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    }
    EMDB_AVX2_INLINE void begin(const ChaCha20State& state, int index) noexcept {
        counters = _mm256_add_epi32(row(state.words + 12), _mm256_set_epi32(0, 0, 0, index + 1, 0, 0, 0, index));
        a = row(state.words);
        b = row(state.words + 4);
        c = row(state.words + 8);
        d = counters;
    }
    template <int bits>
    EMDB_AVX2_INLINE static __m256i rotated(__m256i words) noexcept {
        if constexpr (bits == 16) {
            return _mm256_shuffle_epi8(words, _mm256_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2,  //
                                                              13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2));
        } else if constexpr (bits == 8) {
            return _mm256_shuffle_epi8(words, _mm256_set_epi8(14, 13, 12, 15, 10, 9, 8, 11, 6, 5, 4, 7, 2, 1, 0, 3,  //
                                                              14, 13, 12, 15, 10, 9, 8, 11, 6, 5, 4, 7, 2, 1, 0, 3));
        } else {
            return _mm256_or_si256(_mm256_slli_epi32(words, bits), _mm256_srli_epi32(words, 32 - bits));
        }
    }
    EMDB_AVX2_INLINE void columns() noexcept {
        a = _mm256_add_epi32(a, b);
        d = rotated<16>(_mm256_xor_si256(d, a));
        c = _mm256_add_epi32(c, d);
        b = rotated<12>(_mm256_xor_si256(b, c));
        a = _mm256_add_epi32(a, b);
        d = rotated<8>(_mm256_xor_si256(d, a));
        c = _mm256_add_epi32(c, d);
        b = rotated<7>(_mm256_xor_si256(b, c));
    }
    EMDB_AVX2_INLINE void diagonals_to_columns() noexcept {
        b = _mm256_shuffle_epi32(b, 0x39);
        c = _mm256_shuffle_epi32(c, 0x4E);
        d = _mm256_shuffle_epi32(d, 0x93);
    }
    EMDB_AVX2_INLINE void columns_to_diagonals() noexcept {
        b = _mm256_shuffle_epi32(b, 0x93);
        c = _mm256_shuffle_epi32(c, 0x4E);
        d = _mm256_shuffle_epi32(d, 0x39);
    }
    EMDB_AVX2_INLINE void end(const ChaCha20State& state, std::byte* out) noexcept {
        a = _mm256_add_epi32(a, row(state.words));
        b = _mm256_add_epi32(b, row(state.words + 4));
        c = _mm256_add_epi32(c, row(state.words + 8));
        d = _mm256_add_epi32(d, counters);
        __m256i* const to = reinterpret_cast<__m256i*>(out);
        _mm256_storeu_si256(to, _mm256_permute2x128_si256(a, b, 0x20));
        _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(c, d, 0x20));
        _mm256_storeu_si256(to + 2, _mm256_permute2x128_si256(a, b, 0x31));
        _mm256_storeu_si256(to + 3, _mm256_permute2x128_si256(c, d, 0x31));
    }
};

/// Four blocks.
struct ChaCha20Quad {
    __m512i a, b, c, d, counters;

    // (Masks without effect: the plain intrinsics make GCC 12 warn of its own headers.)
    EMDB_AVX512_INLINE static __m512i row(const std::uint32_t* from) noexcept {
        return _mm512_maskz_broadcast_i32x4(0xFFFF, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    }
    EMDB_AVX512_INLINE void begin(const ChaCha20State& state, int index) noexcept {
        counters = _mm512_add_epi32(row(state.words + 12), _mm512_set_epi32(0, 0, 0, index + 3, 0, 0, 0, index + 2,  //
                                                                            0, 0, 0, index + 1, 0, 0, 0, index));
        a = row(state.words);
        b = row(state.words + 4);
        c = row(state.words + 8);
        d = counters;
    }
    EMDB_AVX512_INLINE void columns() noexcept {
        a = _mm512_add_epi32(a, b);
        d = _mm512_maskz_rol_epi32(0xFFFF, _mm512_xor_si512(d, a), 16);
        c = _mm512_add_epi32(c, d);
        b = _mm512_maskz_rol_epi32(0xFFFF, _mm512_xor_si512(b, c), 12);
        a = _mm512_add_epi32(a, b);
        d = _mm512_maskz_rol_epi32(0xFFFF, _mm512_xor_si512(d, a), 8);
        c = _mm512_add_epi32(c, d);
        b = _mm512_maskz_rol_epi32(0xFFFF, _mm512_xor_si512(b, c), 7);
    }
    EMDB_AVX512_INLINE void diagonals_to_columns() noexcept {
        b = _mm512_maskz_shuffle_epi32(0xFFFF, b, _MM_PERM_ADCB);
        c = _mm512_maskz_shuffle_epi32(0xFFFF, c, _MM_PERM_BADC);
        d = _mm512_maskz_shuffle_epi32(0xFFFF, d, _MM_PERM_CBAD);
    }
    EMDB_AVX512_INLINE void columns_to_diagonals() noexcept {
        b = _mm512_maskz_shuffle_epi32(0xFFFF, b, _MM_PERM_CBAD);
        c = _mm512_maskz_shuffle_epi32(0xFFFF, c, _MM_PERM_BADC);
        d = _mm512_maskz_shuffle_epi32(0xFFFF, d, _MM_PERM_ADCB);
    }
    EMDB_AVX512_INLINE void end(const ChaCha20State& state, std::byte* out) noexcept {
        a = _mm512_add_epi32(a, row(state.words));
        b = _mm512_add_epi32(b, row(state.words + 4));
        c = _mm512_add_epi32(c, row(state.words + 8));
        d = _mm512_add_epi32(d, counters);
        // Four rows of four lanes, transposed.
        const __m512i ab_low = _mm512_maskz_shuffle_i32x4(0xFFFF, a, b, 0x44);
        const __m512i ab_high = _mm512_maskz_shuffle_i32x4(0xFFFF, a, b, 0xEE);
        const __m512i cd_low = _mm512_maskz_shuffle_i32x4(0xFFFF, c, d, 0x44);
        const __m512i cd_high = _mm512_maskz_shuffle_i32x4(0xFFFF, c, d, 0xEE);
        _mm512_storeu_si512(out, _mm512_maskz_shuffle_i32x4(0xFFFF, ab_low, cd_low, 0x88));
        _mm512_storeu_si512(out + 64, _mm512_maskz_shuffle_i32x4(0xFFFF, ab_low, cd_low, 0xDD));
        _mm512_storeu_si512(out + 128, _mm512_maskz_shuffle_i32x4(0xFFFF, ab_high, cd_high, 0x88));
        _mm512_storeu_si512(out + 192, _mm512_maskz_shuffle_i32x4(0xFFFF, ab_high, cd_high, 0xDD));
    }
};

template <std::size_t pairs>
EMDB_AVX2_TARGET void chacha20_avx2(const ChaCha20State& state, std::byte* out) noexcept {
    ChaCha20Pair set[pairs];
    EMDB_UNROLL
    for (std::size_t i = 0; i < pairs; ++i) set[i].begin(state, static_cast<int>(2 * i));
    for (unsigned round = 0; round < chacha20_double_rounds; ++round) {
        EMDB_UNROLL
        for (std::size_t i = 0; i < pairs; ++i) set[i].columns();
        EMDB_UNROLL
        for (std::size_t i = 0; i < pairs; ++i) set[i].diagonals_to_columns();
        EMDB_UNROLL
        for (std::size_t i = 0; i < pairs; ++i) set[i].columns();
        EMDB_UNROLL
        for (std::size_t i = 0; i < pairs; ++i) set[i].columns_to_diagonals();
    }
    EMDB_UNROLL
    for (std::size_t i = 0; i < pairs; ++i) set[i].end(state, out + 2 * i * chacha20_block_size);
}

template <std::size_t quads>
EMDB_AVX512_TARGET void chacha20_avx512(const ChaCha20State& state, std::byte* out) noexcept {
    ChaCha20Quad set[quads];
    EMDB_UNROLL
    for (std::size_t i = 0; i < quads; ++i) set[i].begin(state, static_cast<int>(4 * i));
    for (unsigned round = 0; round < chacha20_double_rounds; ++round) {
        EMDB_UNROLL
        for (std::size_t i = 0; i < quads; ++i) set[i].columns();
        EMDB_UNROLL
        for (std::size_t i = 0; i < quads; ++i) set[i].diagonals_to_columns();
        EMDB_UNROLL
        for (std::size_t i = 0; i < quads; ++i) set[i].columns();
        EMDB_UNROLL
        for (std::size_t i = 0; i < quads; ++i) set[i].columns_to_diagonals();
    }
    EMDB_UNROLL
    for (std::size_t i = 0; i < quads; ++i) set[i].end(state, out + 4 * i * chacha20_block_size);
}

}  // namespace emdb::detail

#endif
