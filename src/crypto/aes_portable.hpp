#pragma once
// AES-256 (FIPS 197) without tables: four blocks at a time, bit by bit, so that no address and no branch depends on a secret.
//
// Word k holds bit k of all 64 bytes of four blocks. The byte in row r, column c of block b is at bit 16 r + 4 c + b, so ShiftRows
// rotates inside 16 bits, and the next row, which MixColumns wants, is a rotation of the whole word by 16. To get there, 32-bit columns
// are interleaved byte by byte into words, the columns 0 and 2 of block b in word b, 1 and 3 in word 4 + b, and the 8 x 8 bits
// of each byte position change places.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/coding.hpp"
#include "crypto/wipe.hpp"

namespace emdb::detail {

inline constexpr std::size_t aes256_rounds = 14;
inline constexpr std::size_t aes_block_size = 16;

/// The columns of four blocks, as little-endian integers: column c of block b at [4 b + c].
using AesColumns = std::array<std::uint32_t, 16>;
/// The same, bit by bit.
using AesPlanes = std::array<std::uint64_t, 8>;

/// Transposes the 8 x 8 bits of each byte position of eight words. Its own inverse.
inline void transpose_bits(AesPlanes& words) noexcept {
    const auto exchange = [&words](std::size_t i, std::size_t j, unsigned shift, std::uint64_t low) {
        const std::uint64_t a = words[i];
        const std::uint64_t b = words[j];
        words[i] = (a & low) | ((b & low) << shift);
        words[j] = ((a >> shift) & low) | (b & ~low);
    };
    for (std::size_t i = 0; i < 8; i += 2) exchange(i, i + 1, 1, 0x5555555555555555u);
    for (const unsigned i : {0u, 1u, 4u, 5u}) exchange(i, i + 2, 2, 0x3333333333333333u);
    for (std::size_t i = 0; i < 4; ++i) exchange(i, i + 4, 4, 0x0F0F0F0F0F0F0F0Fu);
}

inline AesPlanes to_planes(const AesColumns& columns) noexcept {
    const auto spread = [](std::uint64_t column) {
        column = (column | column << 16) & 0x0000FFFF0000FFFFu;
        return (column | column << 8) & 0x00FF00FF00FF00FFu;
    };
    AesPlanes planes;
    for (std::size_t block = 0; block < 4; ++block) {
        const std::uint32_t* const column = &columns[4 * block];
        planes[block] = spread(column[0]) | spread(column[2]) << 8;
        planes[4 + block] = spread(column[1]) | spread(column[3]) << 8;
    }
    transpose_bits(planes);
    return planes;
}

inline AesColumns to_columns(AesPlanes planes) noexcept {
    const auto gather = [](std::uint64_t word) {
        word &= 0x00FF00FF00FF00FFu;
        word = (word | word >> 8) & 0x0000FFFF0000FFFFu;
        return static_cast<std::uint32_t>(word | word >> 16);
    };
    transpose_bits(planes);
    AesColumns columns;
    for (std::size_t block = 0; block < 4; ++block) {
        columns[4 * block] = gather(planes[block]);
        columns[4 * block + 1] = gather(planes[4 + block]);
        columns[4 * block + 2] = gather(planes[block] >> 8);
        columns[4 * block + 3] = gather(planes[4 + block] >> 8);
    }
    return columns;
}

/// The S-box as a circuit: J. Boyar and R. Peralta, "A depth-16 circuit for the AES S-box" (2011), whose names these are. There the
/// highest bit comes first.
inline void sub_bytes(AesPlanes& planes) noexcept {
    using Word = std::uint64_t;
    const Word x0 = planes[7], x1 = planes[6], x2 = planes[5], x3 = planes[4];
    const Word x4 = planes[3], x5 = planes[2], x6 = planes[1], x7 = planes[0];
    // Into the tower of fields in which inverting is cheap.
    const Word y14 = x3 ^ x5, y13 = x0 ^ x6, y9 = x0 ^ x3, y8 = x0 ^ x5, t0 = x1 ^ x2;
    const Word y1 = t0 ^ x7, y4 = y1 ^ x3, y12 = y13 ^ y14, y2 = y1 ^ x0, y5 = y1 ^ x6, y3 = y5 ^ y8;
    const Word t1 = x4 ^ y12, y15 = t1 ^ x5, y20 = t1 ^ x1, y6 = y15 ^ x7, y10 = y15 ^ t0, y11 = y20 ^ y9;
    const Word y7 = x7 ^ y11, y17 = y10 ^ y11, y19 = y10 ^ y8, y16 = t0 ^ y11, y21 = y13 ^ y16, y18 = x0 ^ y16;
    // The inverse.
    const Word t2 = y12 & y15, t3 = y3 & y6, t4 = t3 ^ t2, t5 = y4 & x7, t6 = t5 ^ t2, t7 = y13 & y16, t8 = y5 & y1, t9 = t8 ^ t7;
    const Word t10 = y2 & y7, t11 = t10 ^ t7, t12 = y9 & y11, t13 = y14 & y17, t14 = t13 ^ t12, t15 = y8 & y10, t16 = t15 ^ t12;
    const Word t17 = t4 ^ t14, t18 = t6 ^ t16, t19 = t9 ^ t14, t20 = t11 ^ t16;
    const Word t21 = t17 ^ y20, t22 = t18 ^ y19, t23 = t19 ^ y21, t24 = t20 ^ y18;
    const Word t25 = t21 ^ t22, t26 = t21 & t23, t27 = t24 ^ t26, t28 = t25 & t27, t29 = t28 ^ t22, t30 = t23 ^ t24;
    const Word t31 = t22 ^ t26, t32 = t31 & t30, t33 = t32 ^ t24, t34 = t23 ^ t33, t35 = t27 ^ t33, t36 = t24 & t35;
    const Word t37 = t36 ^ t34, t38 = t27 ^ t36, t39 = t29 & t38, t40 = t25 ^ t39;
    const Word t41 = t40 ^ t37, t42 = t29 ^ t33, t43 = t29 ^ t40, t44 = t33 ^ t37, t45 = t42 ^ t41;
    const Word z0 = t44 & y15, z1 = t37 & y6, z2 = t33 & x7, z3 = t43 & y16, z4 = t40 & y1, z5 = t29 & y7;
    const Word z6 = t42 & y11, z7 = t45 & y17, z8 = t41 & y10, z9 = t44 & y12, z10 = t37 & y3, z11 = t33 & y4;
    const Word z12 = t43 & y13, z13 = t40 & y5, z14 = t29 & y2, z15 = t42 & y9, z16 = t45 & y14, z17 = t41 & y8;
    // Back, with the affine map.
    const Word t46 = z15 ^ z16, t47 = z10 ^ z11, t48 = z5 ^ z13, t49 = z9 ^ z10, t50 = z2 ^ z12, t51 = z2 ^ z5, t52 = z7 ^ z8;
    const Word t53 = z0 ^ z3, t54 = z6 ^ z7, t55 = z16 ^ z17, t56 = z12 ^ t48, t57 = t50 ^ t53, t58 = z4 ^ t46, t59 = z3 ^ t54;
    const Word t60 = t46 ^ t57, t61 = z14 ^ t57, t62 = t52 ^ t58, t63 = t49 ^ t58, t64 = z4 ^ t59, t65 = t61 ^ t62, t66 = z1 ^ t63;
    const Word t67 = t64 ^ t65, s3 = t53 ^ t66;
    planes = {t48 ^ ~t60, t56 ^ ~t62, t47 ^ t65, t51 ^ t66, s3, t55 ^ ~t67, t64 ^ ~s3, t59 ^ t63};
}

/// Row r, 16 bits, moves left by r columns, 4 bits each.
inline std::uint64_t shift_rows(std::uint64_t plane) noexcept {
    return (plane & 0x000000000000FFFFu) |
           (plane & 0x00000000FFF00000u) >> 4 | (plane & 0x00000000000F0000u) << 12 |
           (plane & 0x0000FF0000000000u) >> 8 | (plane & 0x000000FF00000000u) << 8 |
           (plane & 0xF000000000000000u) >> 12 | (plane & 0x0FFF000000000000u) << 4;
}

/// Each byte becomes 2 a + 3 b + c + d, of itself and the three below: 2 (a + b) + b + (c + d).
inline void mix_columns(AesPlanes& planes) noexcept {
    AesPlanes pairs;  // a + b
    AesPlanes others;
    for (std::size_t i = 0; i < 8; ++i) {
        const std::uint64_t below = std::rotr(planes[i], 16);
        pairs[i] = planes[i] ^ below;
        others[i] = below ^ std::rotr(pairs[i], 32);
    }
    for (std::size_t i = 0; i < 8; ++i) {
        planes[i] = pairs[(i + 7) % 8] ^ others[i];
        if (i == 1 || i == 3 || i == 4) planes[i] ^= pairs[7];  // what doubling pushes out comes back as 0x1B
    }
}

/// The 60 words of the key schedule (FIPS 197, 5.2) as the bytes of 15 round keys, the form that processors want.
inline void expand_aes256_key(const std::byte* key, std::byte* round_keys) noexcept {
    constexpr std::size_t key_words = 8;
    constexpr std::size_t words = 4 * (aes256_rounds + 1);
    const auto substitute = [](std::uint32_t word) {
        AesPlanes planes = to_planes(AesColumns{word});
        sub_bytes(planes);
        return to_columns(planes)[0];
    };
    std::uint32_t schedule[words];
    const WipedAtExit wiped(schedule);
    std::uint32_t round_constant = 1;
    for (std::size_t i = 0; i < words; ++i) {
        if (i < key_words) {
            schedule[i] = load_le<std::uint32_t>(key + 4 * i);
        } else {
            std::uint32_t next = schedule[i - 1];
            if (i % key_words == 0) {
                next = substitute(std::rotr(next, 8)) ^ round_constant;
                round_constant <<= 1;
            } else if (i % key_words == 4) {
                next = substitute(next);
            }
            schedule[i] = schedule[i - key_words] ^ next;
        }
        store_le(round_keys + 4 * i, schedule[i]);
    }
}

/// The round keys, each four times over, as planes.
struct AesPortableKey {
    AesPlanes rounds[aes256_rounds + 1];

    void expand(const std::byte* key) noexcept {
        std::byte bytes[(aes256_rounds + 1) * aes_block_size];
        const WipedAtExit wiped(bytes);
        expand_aes256_key(key, bytes);
        for (std::size_t round = 0; round <= aes256_rounds; ++round) {
            AesColumns columns;
            for (std::size_t i = 0; i < columns.size(); ++i) {
                columns[i] = load_le<std::uint32_t>(bytes + aes_block_size * round + 4 * (i % 4));
            }
            rounds[round] = to_planes(columns);
        }
    }

    /// Encrypts four blocks.
    [[nodiscard]] AesColumns encrypt(const AesColumns& blocks) const noexcept {
        AesPlanes planes = to_planes(blocks);
        const auto add_round_key = [&](std::size_t round) {
            for (std::size_t i = 0; i < planes.size(); ++i) planes[i] ^= rounds[round][i];
        };
        add_round_key(0);
        for (std::size_t round = 1; round <= aes256_rounds; ++round) {
            sub_bytes(planes);
            for (std::uint64_t& plane : planes) plane = shift_rows(plane);
            if (round != aes256_rounds) mix_columns(planes);
            add_round_key(round);
        }
        return to_columns(planes);
    }
};

}  // namespace emdb::detail
