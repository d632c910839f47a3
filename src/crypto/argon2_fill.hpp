#pragma once
// The compression function G of Argon2 (RFC 9106, 3.5): two blocks of 1 KiB make one. A block is a matrix of 8 x 8 registers of two words;
// the permutation P, a BLAKE2b round with multiplications and without a message, goes over its rows and then over its columns.

#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/cpu.hpp"
#include "crypto/targets.hpp"
#include "crypto/wipe.hpp"

namespace emdb::detail {

struct alignas(64) Argon2Block {
    static constexpr std::size_t word_count = 128;
    std::uint64_t words[word_count];
};

/// next = G(previous, other), or that added to what `next` was. `next` may be `other`.
using Argon2Fill = void (*)(const Argon2Block& previous, const Argon2Block& other, Argon2Block& next, bool adds) noexcept;

inline void argon2_fill_portable(const Argon2Block& previous, const Argon2Block& other, Argon2Block& next, bool adds) noexcept {
    Argon2Block input;
    Argon2Block mixed;
    const WipedAtExit wiped_input(input);
    const WipedAtExit wiped_mixed(mixed);
    for (std::size_t i = 0; i < Argon2Block::word_count; ++i) {
        mixed.words[i] = previous.words[i] ^ other.words[i];
        input.words[i] = adds ? mixed.words[i] ^ next.words[i] : mixed.words[i];
    }
    // P over 16 words: word i is the i % 2-th of the register at first + i / 2 * step.
    const auto permute = [&mixed](std::size_t first, std::size_t step) {
        const auto word = [&](std::size_t i) -> std::uint64_t& { return mixed.words[2 * (first + i / 2 * step) + i % 2]; };
        const auto mix = [&](std::size_t ia, std::size_t ib, std::size_t ic, std::size_t id) {
            std::uint64_t &a = word(ia), &b = word(ib), &c = word(ic), &d = word(id);
            const auto add = [](std::uint64_t& to, std::uint64_t value) {
                to += value + 2 * (to & 0xFFFFFFFFu) * (value & 0xFFFFFFFFu);
            };
            add(a, b);
            d = std::rotr(d ^ a, 32);
            add(c, d);
            b = std::rotr(b ^ c, 24);
            add(a, b);
            d = std::rotr(d ^ a, 16);
            add(c, d);
            b = std::rotr(b ^ c, 63);
        };
        for (std::size_t i = 0; i < 4; ++i) mix(i, 4 + i, 8 + i, 12 + i);
        for (std::size_t i = 0; i < 4; ++i) mix(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
    };
    for (std::size_t row = 0; row < 8; ++row) permute(8 * row, 1);
    for (std::size_t column = 0; column < 8; ++column) permute(column, 8);
    for (std::size_t i = 0; i < Argon2Block::word_count; ++i) next.words[i] = input.words[i] ^ mixed.words[i];
}

}  // namespace emdb::detail
