#pragma once
// BLAKE2b, RFC 7693: hashing, and with a key a MAC and a key derivation. No tables are looked up at secret places.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/coding.hpp"
#include "crypto/wipe.hpp"

namespace emdb::detail {

inline constexpr std::uint64_t blake2b_initial_state[8] = {
    0x6a09e667f3bcc908u, 0xbb67ae8584caa73bu, 0x3c6ef372fe94f82bu, 0xa54ff53a5f1d36f1u,
    0x510e527fade682d1u, 0x9b05688c2b3e6c1fu, 0x1f83d9abfb41bd6bu, 0x5be0cd19137e2179u};

/// The order of message words in each of the ten rounds (RFC 7693, section 2.7); rounds 10 and 11 repeat 0 and 1.
inline constexpr std::uint8_t blake2b_word_order[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

/// A hash under way: construct, update any number of times, finish once. Wiped at the end of its life.
class Blake2b {
public:
    static constexpr std::size_t block_size = 128;
    static constexpr std::size_t key_size_max = 64;
    static constexpr std::size_t out_size_max = 64;

    /// out_size from 1 to out_size_max; a key of at most key_size_max bytes, or none.
    explicit Blake2b(std::size_t out_size, std::span<const std::byte> key = {}) noexcept : out_size_(out_size) {
        std::copy_n(blake2b_initial_state, 8, state_);
        state_[0] ^= 0x01010000u ^ static_cast<std::uint64_t>(key.size()) << 8 ^ static_cast<std::uint64_t>(out_size);
        if (!key.empty()) {
            std::memset(block_, 0, block_size);
            std::memcpy(block_, key.data(), key.size());
            used_ = block_size;
        }
    }
    ~Blake2b() { wipe(this, sizeof *this); }
    Blake2b(const Blake2b&) = delete;
    Blake2b& operator=(const Blake2b&) = delete;

    void update(std::span<const std::byte> in) noexcept {
        while (!in.empty()) {
            // A full block waits until more follows: the last one is compressed in another way.
            if (used_ == block_size) {
                total_ += block_size;
                compress(false);
                used_ = 0;
            }
            const std::size_t taken = std::min(block_size - used_, in.size());
            std::memcpy(block_ + used_, in.data(), taken);
            used_ += taken;
            in = in.subspan(taken);
        }
    }
    void update_u32(std::uint32_t value) noexcept {
        std::byte bytes[4];
        store_le(bytes, value);
        update(bytes);
    }

    /// Writes out_size bytes.
    void finish(std::byte* out) noexcept {
        total_ += used_;
        std::memset(block_ + used_, 0, block_size - used_);
        compress(true);
        for (std::size_t i = 0; i < 8; ++i) store_le(block_ + 8 * i, state_[i]);
        std::memcpy(out, block_, out_size_);
    }

private:
    void compress(bool last) noexcept {
        std::uint64_t words[16];
        std::uint64_t v[16];
        const WipedAtExit wiped_words(words);
        const WipedAtExit wiped_v(v);
        for (std::size_t i = 0; i < 16; ++i) words[i] = load_le<std::uint64_t>(block_ + 8 * i);
        std::copy_n(state_, 8, v);
        std::copy_n(blake2b_initial_state, 8, v + 8);
        v[12] ^= total_;  // its upper half, v[13]'s, stays 0: nobody hashes 2^64 bytes
        if (last) v[14] = ~v[14];
        for (std::size_t round = 0; round < 12; ++round) {
            const std::uint8_t* const order = blake2b_word_order[round % 10];
            const auto mix = [&v](std::size_t a, std::size_t b, std::size_t c, std::size_t d, std::uint64_t x, std::uint64_t y) {
                v[a] += v[b] + x;
                v[d] = std::rotr(v[d] ^ v[a], 32);
                v[c] += v[d];
                v[b] = std::rotr(v[b] ^ v[c], 24);
                v[a] += v[b] + y;
                v[d] = std::rotr(v[d] ^ v[a], 16);
                v[c] += v[d];
                v[b] = std::rotr(v[b] ^ v[c], 63);
            };
            mix(0, 4, 8, 12, words[order[0]], words[order[1]]);
            mix(1, 5, 9, 13, words[order[2]], words[order[3]]);
            mix(2, 6, 10, 14, words[order[4]], words[order[5]]);
            mix(3, 7, 11, 15, words[order[6]], words[order[7]]);
            mix(0, 5, 10, 15, words[order[8]], words[order[9]]);
            mix(1, 6, 11, 12, words[order[10]], words[order[11]]);
            mix(2, 7, 8, 13, words[order[12]], words[order[13]]);
            mix(3, 4, 9, 14, words[order[14]], words[order[15]]);
        }
        for (std::size_t i = 0; i < 8; ++i) state_[i] ^= v[i] ^ v[i + 8];
    }

    std::uint64_t state_[8];
    std::uint64_t total_ = 0;  // bytes compressed so far, those of the key block included
    std::size_t used_ = 0;
    std::size_t out_size_;
    std::byte block_[block_size];
};

/// The hash of `in`, as long as `out` (1 to 64 bytes), with a key of at most 64 bytes or none.
inline void blake2b(std::span<const std::byte> key, std::span<const std::byte> in, std::span<std::byte> out) noexcept {
    Blake2b hash(out.size(), key);
    hash.update(in);
    hash.finish(out.data());
}

}  // namespace emdb::detail
