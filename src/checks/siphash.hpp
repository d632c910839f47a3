#pragma once
// SipHash-1-3, the keyed hash of the index: one round a word, three to finish. J.-P. Aumasson and D. J. Bernstein,
// "SipHash: a fast short-input PRF" (2012), section 2, with c = 1 and d = 3.

#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/coding.hpp"

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

/// k0 and k1 are the first and second half of the 16-byte key, little-endian; the result is the tag, little-endian.
inline std::uint64_t siphash13(const void* data, std::size_t size, std::uint64_t k0, std::uint64_t k1) noexcept {
    const std::byte* at = static_cast<const std::byte*>(data);
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
