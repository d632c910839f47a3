#pragma once
// Poly1305 with AVX-512, eight blocks side by side, for long messages: lane i goes on by r^8 with every eighth block, and at the end is
// multiplied by the power of r that its place is short of. Numbers are in five limbs of 26 bits, which leaves room in a 64-bit
// lane to add all products for one limb before anything is carried.

#include "crypto/targets.hpp"

#if EMDB_CRYPTO_X86

#include <bit>
#include <cstddef>
#include <cstdint>

#include "crypto/wipe.hpp"

namespace emdb::detail {

inline constexpr std::uint64_t poly1305_limb = (std::uint64_t{1} << 26) - 1;

/// An integer modulo 2^130 - 5.
struct Poly1305Limbs {
    std::uint64_t limb[5];

    static Poly1305Limbs from(std::uint64_t low, std::uint64_t high, std::uint64_t top) noexcept {
        return {{low & poly1305_limb, low >> 26 & poly1305_limb, (low >> 52 | high << 12) & poly1305_limb, high >> 14 & poly1305_limb,
                 high >> 40 | top << 24}};
    }
    /// Leaves 26 bits in each limb, and at most one more in the last.
    void carry() noexcept {
        carry_upwards();
        limb[0] += 5 * (limb[4] >> 26);
        limb[4] &= poly1305_limb;
        carry_upwards();
    }
    void carry_upwards() noexcept {
        for (std::size_t i = 0; i < 4; ++i) {
            limb[i + 1] += limb[i] >> 26;
            limb[i] &= poly1305_limb;
        }
    }
    friend Poly1305Limbs operator*(const Poly1305Limbs& a, const Poly1305Limbs& b) noexcept {
        Poly1305Limbs product{};
        EMDB_UNROLL
        for (std::size_t i = 0; i < 5; ++i) {
            EMDB_UNROLL
            for (std::size_t j = 0; j < 5; ++j) product.limb[(i + j) % 5] += a.limb[i] * b.limb[j] * (i + j < 5 ? 1 : 5);
        }
        product.carry();
        return product;
    }
};

/// Eight of them.
struct Poly1305Lanes {
    __m512i limb[5];

    EMDB_AVX512_INLINE void add(const Poly1305Lanes& other) noexcept {
        EMDB_UNROLL
        for (std::size_t i = 0; i < 5; ++i) limb[i] = _mm512_add_epi64(limb[i], other.limb[i]);
    }
    /// Lane by lane; `by_5` is five times `factor`.
    EMDB_AVX512_INLINE void multiply(const Poly1305Lanes& factor, const Poly1305Lanes& by_5) noexcept {
        __m512i product[5];
        EMDB_UNROLL
        for (std::size_t to = 0; to < 5; ++to) {
            product[to] = _mm512_maskz_mul_epu32(0xFF, limb[0], factor.limb[to]);
            EMDB_UNROLL
            for (std::size_t i = 1; i < 5; ++i) {
                const __m512i other = i <= to ? factor.limb[to - i] : by_5.limb[to + 5 - i];
                product[to] = _mm512_add_epi64(product[to], _mm512_maskz_mul_epu32(0xFF, limb[i], other));
            }
        }
        // Two chains of carries at a time; a limb then has at most a bit more than 26.
        carry(product[0], product[1]);
        carry(product[3], product[4]);
        carry(product[1], product[2]);
        const __m512i over = _mm512_maskz_srli_epi64(0xFF, product[4], 26);
        product[4] = _mm512_and_si512(product[4], _mm512_set1_epi64(static_cast<long long>(poly1305_limb)));
        product[0] = _mm512_add_epi64(product[0], _mm512_add_epi64(over, _mm512_maskz_slli_epi64(0xFF, over, 2)));
        carry(product[2], product[3]);
        carry(product[0], product[1]);
        carry(product[3], product[4]);
        EMDB_UNROLL
        for (std::size_t i = 0; i < 5; ++i) limb[i] = product[i];
    }
    EMDB_AVX512_INLINE static void carry(__m512i& from, __m512i& to) noexcept {
        to = _mm512_add_epi64(to, _mm512_maskz_srli_epi64(0xFF, from, 26));
        from = _mm512_and_si512(from, _mm512_set1_epi64(static_cast<long long>(poly1305_limb)));
    }
    /// The blocks 0, 4, 1, 5, 2, 6, 3, 7 of eight.
    EMDB_AVX512_INLINE static Poly1305Lanes load(const std::byte* data) noexcept {
        const __m512i first = _mm512_loadu_si512(data);
        const __m512i second = _mm512_loadu_si512(data + 64);
        const __m512i low = _mm512_maskz_unpacklo_epi64(0xFF, first, second);
        const __m512i high = _mm512_maskz_unpackhi_epi64(0xFF, first, second);
        const __m512i mask = _mm512_set1_epi64(static_cast<long long>(poly1305_limb));
        const __m512i across =
            _mm512_or_si512(_mm512_maskz_srli_epi64(0xFF, low, 52), _mm512_maskz_slli_epi64(0xFF, high, 12));
        return {{_mm512_and_si512(low, mask), _mm512_and_si512(_mm512_maskz_srli_epi64(0xFF, low, 26), mask),
                 _mm512_and_si512(across, mask), _mm512_and_si512(_mm512_maskz_srli_epi64(0xFF, high, 14), mask),
                 _mm512_or_si512(_mm512_maskz_srli_epi64(0xFF, high, 40), _mm512_set1_epi64(1 << 24))}};
    }
};

/// BasicPoly1305::absorb_blocks for whole blocks; `count` is a multiple of eight, and not 0.
EMDB_AVX512_TARGET inline void poly1305_avx512(std::uint64_t* sum, const std::uint64_t* r, const std::byte* data,
                                               std::size_t count) noexcept {
    // Which power of r the blocks of Poly1305Lanes::load want at the end.
    constexpr std::size_t exponents[8] = {8, 4, 7, 3, 6, 2, 5, 1};
    Poly1305Limbs powers[9];
    const WipedAtExit wiped_powers(powers);
    powers[1] = Poly1305Limbs::from(r[0], r[1], 0);
    // Three multiplications deep, not seven: they take longer than they keep the processor busy.
    for (std::size_t i = 2; i <= 8; ++i) powers[i] = powers[std::bit_floor(i - 1)] * powers[i - std::bit_floor(i - 1)];
    std::uint64_t last[5][8];
    const WipedAtExit wiped_last(last);
    Poly1305Lanes step;
    Poly1305Lanes step_by_5;
    for (std::size_t i = 0; i < 5; ++i) {
        step.limb[i] = _mm512_set1_epi64(static_cast<long long>(powers[8].limb[i]));
        const std::uint64_t by_5 = 5 * powers[8].limb[i];
        step_by_5.limb[i] = _mm512_set1_epi64(static_cast<long long>(by_5));
        for (std::size_t lane = 0; lane < 8; ++lane) last[i][lane] = powers[exponents[lane]].limb[i];
    }

    Poly1305Lanes total = Poly1305Lanes::load(data);
    const Poly1305Limbs before = Poly1305Limbs::from(sum[0], sum[1], sum[2]);
    for (std::size_t i = 0; i < 5; ++i) {
        total.limb[i] = _mm512_add_epi64(total.limb[i], _mm512_maskz_set1_epi64(1, static_cast<long long>(before.limb[i])));
    }
    for (std::size_t done = 8; done != count; done += 8) {
        data += std::size_t{8} * 16;
        total.multiply(step, step_by_5);
        total.add(Poly1305Lanes::load(data));
    }
    for (std::size_t i = 0; i < 5; ++i) {
        step.limb[i] = _mm512_loadu_si512(last[i]);
        step_by_5.limb[i] = _mm512_add_epi64(step.limb[i], _mm512_maskz_slli_epi64(0xFF, step.limb[i], 2));
    }
    total.multiply(step, step_by_5);

    Poly1305Limbs result{};
    for (std::size_t i = 0; i < 5; ++i) {
        std::uint64_t lanes[8];
        _mm512_storeu_si512(lanes, total.limb[i]);
        for (const std::uint64_t lane : lanes) result.limb[i] += lane;
    }
    result.carry();
    sum[0] = result.limb[0] | result.limb[1] << 26 | result.limb[2] << 52;
    sum[1] = result.limb[2] >> 12 | result.limb[3] << 14 | result.limb[4] << 40;
    sum[2] = result.limb[4] >> 24;
}

}  // namespace emdb::detail

#endif
