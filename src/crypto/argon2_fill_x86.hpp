#pragma once
// argon2_fill_portable with AVX2 and AVX-512, and the choice among the three.
//
// Rows: a register holds four words of a row (AVX-512: of two rows), so the second half of P, which goes over diagonals, is the first
// with the words of b, c and d moved on. Columns: a lane of 128 bits is one register of the matrix as RFC 9106 has it, side by side
// with those of the next columns; a, b, c and d then are two registers each, and words move across the pair.

#include <cstddef>
#include <cstdint>

#include "base/cpu.hpp"
#include "crypto/argon2_fill.hpp"
#include "crypto/targets.hpp"

namespace emdb::detail {

#if EMDB_CRYPTO_X86

/// Four words of each of the four rows that BLAKE2b mixes.
struct Argon2Mix256 {
    __m256i a, b, c, d;

    /// to + value + 2 * the product of the lower halves.
    EMDB_AVX2_INLINE static __m256i sum(__m256i to, __m256i value) noexcept {
        const __m256i product = _mm256_mul_epu32(to, value);
        return _mm256_add_epi64(_mm256_add_epi64(to, value), _mm256_add_epi64(product, product));
    }
    EMDB_AVX2_INLINE void mix() noexcept {
        const __m256i by_24 = _mm256_set_epi8(10, 9, 8, 15, 14, 13, 12, 11, 2, 1, 0, 7, 6, 5, 4, 3,  //
                                              10, 9, 8, 15, 14, 13, 12, 11, 2, 1, 0, 7, 6, 5, 4, 3);
        const __m256i by_16 = _mm256_set_epi8(9, 8, 15, 14, 13, 12, 11, 10, 1, 0, 7, 6, 5, 4, 3, 2,  //
                                              9, 8, 15, 14, 13, 12, 11, 10, 1, 0, 7, 6, 5, 4, 3, 2);
        a = sum(a, b);
        d = _mm256_shuffle_epi32(_mm256_xor_si256(d, a), 0xB1);
        c = sum(c, d);
        b = _mm256_shuffle_epi8(_mm256_xor_si256(b, c), by_24);
        a = sum(a, b);
        d = _mm256_shuffle_epi8(_mm256_xor_si256(d, a), by_16);
        c = sum(c, d);
        b = _mm256_xor_si256(b, c);
        b = _mm256_or_si256(_mm256_add_epi64(b, b), _mm256_srli_epi64(b, 63));
    }
    EMDB_AVX2_INLINE void permute_row() noexcept {
        mix();
        b = _mm256_permute4x64_epi64(b, 0x39);
        c = _mm256_permute4x64_epi64(c, 0x4E);
        d = _mm256_permute4x64_epi64(d, 0x93);
        mix();
        b = _mm256_permute4x64_epi64(b, 0x93);
        c = _mm256_permute4x64_epi64(c, 0x4E);
        d = _mm256_permute4x64_epi64(d, 0x39);
    }
    /// The two halves of some columns.
    EMDB_AVX2_INLINE static void permute_columns(Argon2Mix256& first, Argon2Mix256& second) noexcept {
        first.mix();
        second.mix();
        Argon2Mix256 x{first.a, _mm256_alignr_epi8(second.b, first.b, 8), second.c, _mm256_alignr_epi8(first.d, second.d, 8)};
        Argon2Mix256 y{second.a, _mm256_alignr_epi8(first.b, second.b, 8), first.c, _mm256_alignr_epi8(second.d, first.d, 8)};
        x.mix();
        y.mix();
        first = {x.a, _mm256_alignr_epi8(x.b, y.b, 8), y.c, _mm256_alignr_epi8(y.d, x.d, 8)};
        second = {y.a, _mm256_alignr_epi8(y.b, x.b, 8), x.c, _mm256_alignr_epi8(x.d, y.d, 8)};
    }
};

EMDB_AVX2_TARGET inline void argon2_fill_avx2(const Argon2Block& previous, const Argon2Block& other, Argon2Block& next,
                                              bool adds) noexcept {
    constexpr std::size_t registers = 32;
    const auto* const from = reinterpret_cast<const __m256i*>(previous.words);
    const auto* const and_from = reinterpret_cast<const __m256i*>(other.words);
    auto* const to = reinterpret_cast<__m256i*>(next.words);
    __m256i z[registers];
    for (std::size_t i = 0; i < registers; ++i) {
        z[i] = _mm256_xor_si256(_mm256_load_si256(from + i), _mm256_load_si256(and_from + i));
        _mm256_store_si256(to + i, adds ? _mm256_xor_si256(z[i], _mm256_load_si256(to + i)) : z[i]);
    }
    for (std::size_t i = 0; i < registers; i += 4) {
        Argon2Mix256 row{z[i], z[i + 1], z[i + 2], z[i + 3]};
        row.permute_row();
        z[i] = row.a;
        z[i + 1] = row.b;
        z[i + 2] = row.c;
        z[i + 3] = row.d;
    }
    for (std::size_t i = 0; i < 4; ++i) {
        Argon2Mix256 first{z[i], z[8 + i], z[16 + i], z[24 + i]};
        Argon2Mix256 second{z[4 + i], z[12 + i], z[20 + i], z[28 + i]};
        Argon2Mix256::permute_columns(first, second);
        const __m256i mixed[8] = {first.a, second.a, first.b, second.b, first.c, second.c, first.d, second.d};
        EMDB_UNROLL
        for (std::size_t row = 0; row < 8; ++row) {
            _mm256_store_si256(to + 4 * row + i, _mm256_xor_si256(_mm256_load_si256(to + 4 * row + i), mixed[row]));
        }
    }
}

/// The same for twice as much, which makes the whole block fit into registers. (Masks without effect: the plain intrinsics make GCC 12
/// warn of its own headers.)
struct Argon2Mix512 {
    __m512i a, b, c, d;

    EMDB_AVX512_INLINE static __m512i sum(__m512i to, __m512i value) noexcept {
        const __m512i product = _mm512_maskz_mul_epu32(0xFF, to, value);
        return _mm512_add_epi64(_mm512_add_epi64(to, value), _mm512_add_epi64(product, product));
    }
    EMDB_AVX512_INLINE void mix() noexcept {
        a = sum(a, b);
        d = _mm512_maskz_ror_epi64(0xFF, _mm512_xor_si512(d, a), 32);
        c = sum(c, d);
        b = _mm512_maskz_ror_epi64(0xFF, _mm512_xor_si512(b, c), 24);
        a = sum(a, b);
        d = _mm512_maskz_ror_epi64(0xFF, _mm512_xor_si512(d, a), 16);
        c = sum(c, d);
        b = _mm512_maskz_ror_epi64(0xFF, _mm512_xor_si512(b, c), 63);
    }
    EMDB_AVX512_INLINE void permute_rows() noexcept {
        mix();
        b = _mm512_maskz_permutex_epi64(0xFF, b, 0x39);
        c = _mm512_maskz_permutex_epi64(0xFF, c, 0x4E);
        d = _mm512_maskz_permutex_epi64(0xFF, d, 0x93);
        mix();
        b = _mm512_maskz_permutex_epi64(0xFF, b, 0x93);
        c = _mm512_maskz_permutex_epi64(0xFF, c, 0x4E);
        d = _mm512_maskz_permutex_epi64(0xFF, d, 0x39);
    }
    EMDB_AVX512_INLINE static void permute_columns(Argon2Mix512& first, Argon2Mix512& second) noexcept {
        first.mix();
        second.mix();
        Argon2Mix512 x{first.a, _mm512_alignr_epi8(second.b, first.b, 8), second.c, _mm512_alignr_epi8(first.d, second.d, 8)};
        Argon2Mix512 y{second.a, _mm512_alignr_epi8(first.b, second.b, 8), first.c, _mm512_alignr_epi8(second.d, first.d, 8)};
        x.mix();
        y.mix();
        first = {x.a, _mm512_alignr_epi8(x.b, y.b, 8), y.c, _mm512_alignr_epi8(y.d, x.d, 8)};
        second = {y.a, _mm512_alignr_epi8(y.b, x.b, 8), x.c, _mm512_alignr_epi8(x.d, y.d, 8)};
    }
};

EMDB_AVX512_TARGET inline void argon2_fill_avx512(const Argon2Block& previous, const Argon2Block& other, Argon2Block& next,
                                                  bool adds) noexcept {
    constexpr std::size_t registers = 16;
    __m512i z[registers];
    EMDB_UNROLL
    for (std::size_t i = 0; i < registers; ++i) {
        z[i] = _mm512_xor_si512(_mm512_load_si512(previous.words + 8 * i), _mm512_load_si512(other.words + 8 * i));
        _mm512_store_si512(next.words + 8 * i, adds ? _mm512_xor_si512(z[i], _mm512_load_si512(next.words + 8 * i)) : z[i]);
    }
    EMDB_UNROLL
    for (std::size_t i = 0; i < registers; i += 4) {
        Argon2Mix512 rows{
            _mm512_maskz_shuffle_i64x2(0xFF, z[i], z[i + 2], 0x44), _mm512_maskz_shuffle_i64x2(0xFF, z[i], z[i + 2], 0xEE),
            _mm512_maskz_shuffle_i64x2(0xFF, z[i + 1], z[i + 3], 0x44), _mm512_maskz_shuffle_i64x2(0xFF, z[i + 1], z[i + 3], 0xEE)};
        rows.permute_rows();
        z[i] = _mm512_maskz_shuffle_i64x2(0xFF, rows.a, rows.b, 0x44);
        z[i + 1] = _mm512_maskz_shuffle_i64x2(0xFF, rows.c, rows.d, 0x44);
        z[i + 2] = _mm512_maskz_shuffle_i64x2(0xFF, rows.a, rows.b, 0xEE);
        z[i + 3] = _mm512_maskz_shuffle_i64x2(0xFF, rows.c, rows.d, 0xEE);
    }
    EMDB_UNROLL
    for (std::size_t i = 0; i < 2; ++i) {
        Argon2Mix512 first{z[i], z[4 + i], z[8 + i], z[12 + i]};
        Argon2Mix512 second{z[2 + i], z[6 + i], z[10 + i], z[14 + i]};
        Argon2Mix512::permute_columns(first, second);
        const __m512i mixed[8] = {first.a, second.a, first.b, second.b, first.c, second.c, first.d, second.d};
        EMDB_UNROLL
        for (std::size_t row = 0; row < 8; ++row) {
            std::uint64_t* const at = next.words + 16 * row + 8 * i;
            _mm512_store_si512(at, _mm512_xor_si512(_mm512_load_si512(at), mixed[row]));
        }
    }
}

#endif

inline Argon2Fill best_argon2_fill(CpuFeatures features) noexcept {
#if EMDB_CRYPTO_X86
    if (features.has(avx512_features)) return argon2_fill_avx512;
    if (features.has(CpuFeatures::avx2)) return argon2_fill_avx2;
#endif
    (void)features;
    return argon2_fill_portable;
}

}  // namespace emdb::detail
