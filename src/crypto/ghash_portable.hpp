#pragma once
// GHASH (SP 800-38D, 6.4), and the form in which all paths compute it.
//
// GHASH takes the lowest bit of a byte for the highest power, which no multiplication does. RFC 8452, appendix A, shows the way
// out: with the bytes of every block in reverse, GHASH under H is POLYVAL under H x, a polynomial hash modulo
// x^128 + x^127 + x^126 + x^121 + 1 in which bits mean what they say. Its product is a b x^-128, by adding multiples of the
// polynomial that clear the low 128 bits. x^127 + x^126 + x^121 is `ghash_folding` x^64, so clearing the lowest word, v, adds
// v ghash_folding one word up, and v two words up.
//
// So that many blocks share one such reduction, sum(X_i H^(n + 1 - i)) is computed from powers of H side by side.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/coding.hpp"

namespace emdb::detail {

inline constexpr std::uint64_t ghash_folding = 0xC200000000000000u;

/// An element of the field, or the reversed bytes of a block.
struct GhashElement {
    std::uint64_t low;
    std::uint64_t high;

    friend GhashElement operator^(GhashElement a, GhashElement b) noexcept { return {a.low ^ b.low, a.high ^ b.high}; }
};

inline std::uint64_t reverse_bytes(std::uint64_t value) noexcept {
    value = (value >> 8 & 0x00FF00FF00FF00FFu) | (value & 0x00FF00FF00FF00FFu) << 8;
    value = (value >> 16 & 0x0000FFFF0000FFFFu) | (value & 0x0000FFFF0000FFFFu) << 16;
    return value >> 32 | value << 32;
}

inline std::uint64_t reverse_bits(std::uint64_t value) noexcept {
    value = (value >> 1 & 0x5555555555555555u) | (value & 0x5555555555555555u) << 1;
    value = (value >> 2 & 0x3333333333333333u) | (value & 0x3333333333333333u) << 2;
    value = (value >> 4 & 0x0F0F0F0F0F0F0F0Fu) | (value & 0x0F0F0F0F0F0F0F0Fu) << 4;
    return reverse_bytes(value);
}

inline GhashElement load_ghash_block(const std::byte* block) noexcept {
    return {reverse_bytes(load_le<std::uint64_t>(block + 8)), reverse_bytes(load_le<std::uint64_t>(block))};
}

inline void store_ghash_block(std::byte* block, GhashElement element) noexcept {
    store_le(block, reverse_bytes(element.high));
    store_le(block + 8, reverse_bytes(element.low));
}

/// The block that ends the input: the lengths in bits, big-endian, associated data first.
inline GhashElement ghash_lengths(std::size_t aad_size, std::size_t cipher_size) noexcept {
    return {static_cast<std::uint64_t>(cipher_size) * 8, static_cast<std::uint64_t>(aad_size) * 8};
}

/// The low 64 bits of the product without carries. By integer multiplication of every fourth bit: the at most 15 ones that
/// meet in one place then have room for their carries. (16 meet only at the very top, where the carry falls out.)
inline std::uint64_t carryless_product_low(std::uint64_t a, std::uint64_t b) noexcept {
    constexpr std::uint64_t every_fourth = 0x1111111111111111u;
    const std::uint64_t a0 = a & every_fourth, a1 = a & every_fourth << 1, a2 = a & every_fourth << 2, a3 = a & every_fourth << 3;
    const std::uint64_t b0 = b & every_fourth, b1 = b & every_fourth << 1, b2 = b & every_fourth << 2, b3 = b & every_fourth << 3;
    return (((a0 * b0) ^ (a1 * b3) ^ (a2 * b2) ^ (a3 * b1)) & every_fourth) |
           (((a0 * b1) ^ (a1 * b0) ^ (a2 * b3) ^ (a3 * b2)) & every_fourth << 1) |
           (((a0 * b2) ^ (a1 * b1) ^ (a2 * b0) ^ (a3 * b3)) & every_fourth << 2) |
           (((a0 * b3) ^ (a1 * b2) ^ (a2 * b1) ^ (a3 * b0)) & every_fourth << 3);
}

/// The whole product, 127 bits. Its upper half is the lower half of the product of the reversed factors, reversed.
inline GhashElement carryless_product(std::uint64_t a, std::uint64_t b) noexcept {
    return {carryless_product_low(a, b), reverse_bits(carryless_product_low(reverse_bits(a), reverse_bits(b))) >> 1};
}

/// a b x^-128.
inline GhashElement ghash_multiply(GhashElement a, GhashElement b) noexcept {
    const GhashElement low = carryless_product(a.low, b.low);
    const GhashElement high = carryless_product(a.high, b.high);
    const GhashElement middle = carryless_product(a.low ^ a.high, b.low ^ b.high) ^ low ^ high;
    const auto fold = [](std::uint64_t word, std::uint64_t& next, std::uint64_t& after_next) {
        next ^= word << 63 ^ word << 62 ^ word << 57;
        after_next ^= word ^ word >> 1 ^ word >> 2 ^ word >> 7;
    };
    std::uint64_t second = low.high ^ middle.low;
    GhashElement result{high.low ^ middle.high, high.high};
    fold(low.low, second, result.low);
    fold(second, result.low, result.high);
    return result;
}

/// H, the encrypted zero block, times x: what ghash_multiply wants.
inline GhashElement ghash_key(const std::byte* zero_encrypted) noexcept {
    const GhashElement h = load_ghash_block(zero_encrypted);
    const std::uint64_t carried = 0 - (h.high >> 63);  // all ones or none: the key is a secret, so no branch
    return {h.low << 1 ^ (carried & 1), (h.high << 1 | h.low >> 63) ^ (carried & ghash_folding)};
}

/// Continues `sum` with `size` bytes, filled up with zeros to whole blocks.
inline GhashElement ghash_portable(GhashElement sum, GhashElement key, const std::byte* data, std::size_t size) noexcept {
    for (; size >= 16; data += 16, size -= 16) sum = ghash_multiply(sum ^ load_ghash_block(data), key);
    if (size == 0) return sum;
    std::byte last[16] = {};
    std::memcpy(last, data, size);
    return ghash_multiply(sum ^ load_ghash_block(last), key);
}

}  // namespace emdb::detail
