#pragma once
// ChaCha20 (RFC 8439, 2.3): the state, and its blocks in plain C++ and by the vector registers that every x86-64 and ARM64 has.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/coding.hpp"
#include "crypto/targets.hpp"
#include "crypto/wipe.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace emdb::detail {

inline constexpr std::size_t chacha20_block_size = 64;
inline constexpr unsigned chacha20_double_rounds = 10;
/// The most blocks made at a time, and how many there must be room for.
inline constexpr std::size_t chacha20_blocks_max = 16;

/// The 4 x 4 words of the input: constants, key, counter, nonce.
struct ChaCha20State {
    std::uint32_t words[16];

    ChaCha20State(const std::byte* key, const std::byte* nonce) noexcept {
        words[0] = 0x61707865;
        words[1] = 0x3320646e;
        words[2] = 0x79622d32;
        words[3] = 0x6b206574;
        for (std::size_t i = 0; i < 8; ++i) words[4 + i] = load_le<std::uint32_t>(key + 4 * i);
        words[12] = 0;
        for (std::size_t i = 0; i < 3; ++i) words[13 + i] = load_le<std::uint32_t>(nonce + 4 * i);
    }
    ~ChaCha20State() { wipe(words, sizeof words); }
    ChaCha20State(const ChaCha20State&) = delete;
    ChaCha20State& operator=(const ChaCha20State&) = delete;
};

/// One block.
inline void chacha20_portable(const ChaCha20State& state, std::byte* out) noexcept {
    std::uint32_t x[16];
    const WipedAtExit wiped(x);
    std::memcpy(x, state.words, sizeof x);
    const auto quarter_round = [&x](std::size_t a, std::size_t b, std::size_t c, std::size_t d) {
        x[a] += x[b];
        x[d] = std::rotl(x[d] ^ x[a], 16);
        x[c] += x[d];
        x[b] = std::rotl(x[b] ^ x[c], 12);
        x[a] += x[b];
        x[d] = std::rotl(x[d] ^ x[a], 8);
        x[c] += x[d];
        x[b] = std::rotl(x[b] ^ x[c], 7);
    };
    for (unsigned i = 0; i < chacha20_double_rounds; ++i) {
        quarter_round(0, 4, 8, 12);
        quarter_round(1, 5, 9, 13);
        quarter_round(2, 6, 10, 14);
        quarter_round(3, 7, 11, 15);
        quarter_round(0, 5, 10, 15);
        quarter_round(1, 6, 11, 12);
        quarter_round(2, 7, 8, 13);
        quarter_round(3, 4, 9, 14);
    }
    for (std::size_t i = 0; i < 16; ++i) store_le(out + 4 * i, x[i] + state.words[i]);
}

#if defined(__SSE2__) || EMDB_CRYPTO_ARM64
#define EMDB_CHACHA20_ROWS 1

/// Four words, a row of the state.
struct ChaCha20Row {
#if defined(__SSE2__)
    __m128i words;

    static ChaCha20Row load(const std::uint32_t* from) noexcept { return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))}; }
    void store(std::byte* to) const noexcept { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), words); }
    void add(ChaCha20Row other) noexcept { words = _mm_add_epi32(words, other.words); }
    template <int bits>
    void xor_and_rotate(ChaCha20Row other) noexcept {
        words = _mm_xor_si128(words, other.words);
        words = _mm_or_si128(_mm_slli_epi32(words, bits), _mm_srli_epi32(words, 32 - bits));
    }
    template <int count>
    void move_left() noexcept {
        words = _mm_shuffle_epi32(words, count == 1 ? 0x39 : count == 2 ? 0x4E : 0x93);
    }
#else
    uint32x4_t words;

    static ChaCha20Row load(const std::uint32_t* from) noexcept { return {vld1q_u32(from)}; }
    void store(std::byte* to) const noexcept { vst1q_u8(reinterpret_cast<std::uint8_t*>(to), vreinterpretq_u8_u32(words)); }
    void add(ChaCha20Row other) noexcept { words = vaddq_u32(words, other.words); }
    template <int bits>
    void xor_and_rotate(ChaCha20Row other) noexcept {
        words = veorq_u32(words, other.words);
        words = vorrq_u32(vshlq_n_u32(words, bits), vshrq_n_u32(words, 32 - bits));
    }
    template <int count>
    void move_left() noexcept {
        words = vextq_u32(words, words, count);
    }
#endif
};

/// Four blocks, of counters that follow each other, in 16 registers.
inline void chacha20_rows(const ChaCha20State& state, std::byte* out) noexcept {
    constexpr std::size_t blocks = 4;
    const std::uint32_t first = state.words[12];
    const std::uint32_t(&w)[16] = state.words;
    ChaCha20Row a[blocks], b[blocks], c[blocks], d[blocks], counters[blocks];
    EMDB_UNROLL
    for (std::size_t i = 0; i < blocks; ++i) {
        const std::uint32_t last_row[4] = {first + static_cast<std::uint32_t>(i), w[13], w[14], w[15]};
        counters[i] = ChaCha20Row::load(last_row);
        a[i] = ChaCha20Row::load(w);
        b[i] = ChaCha20Row::load(w + 4);
        c[i] = ChaCha20Row::load(w + 8);
        d[i] = counters[i];
    }
    const auto columns = [&] {
        EMDB_UNROLL
        for (std::size_t i = 0; i < blocks; ++i) {
            a[i].add(b[i]);
            d[i].xor_and_rotate<16>(a[i]);
            c[i].add(d[i]);
            b[i].xor_and_rotate<12>(c[i]);
            a[i].add(b[i]);
            d[i].xor_and_rotate<8>(a[i]);
            c[i].add(d[i]);
            b[i].xor_and_rotate<7>(c[i]);
        }
    };
    for (unsigned round = 0; round < chacha20_double_rounds; ++round) {
        columns();
        EMDB_UNROLL
        for (std::size_t i = 0; i < blocks; ++i) {
            b[i].move_left<1>();
            c[i].move_left<2>();
            d[i].move_left<3>();
        }
        columns();
        EMDB_UNROLL
        for (std::size_t i = 0; i < blocks; ++i) {
            b[i].move_left<3>();
            c[i].move_left<2>();
            d[i].move_left<1>();
        }
    }
    EMDB_UNROLL
    for (std::size_t i = 0; i < blocks; ++i, out += chacha20_block_size) {
        a[i].add(ChaCha20Row::load(w));
        b[i].add(ChaCha20Row::load(w + 4));
        c[i].add(ChaCha20Row::load(w + 8));
        d[i].add(counters[i]);
        a[i].store(out);
        b[i].store(out + 16);
        c[i].store(out + 32);
        d[i].store(out + 48);
    }
}

#else
#define EMDB_CHACHA20_ROWS 0
#endif

}  // namespace emdb::detail
