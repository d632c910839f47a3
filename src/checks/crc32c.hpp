#pragma once
// CRC-32C, the checksum of every frame: the Castagnoli polynomial 0x1EDC6F41, bits reflected, as RFC 3720 section 12.1
// defines it. By the processor's CRC instruction where there is one, else by tables.
//
// Notation: a register holds a polynomial over GF(2) with the highest power in the lowest bit; P is the CRC polynomial.
// A `state` is the register between two bytes, the complement of the CRC of what came before. The instruction on 64 bits maps
// (state, word) to (state * x^32 + word) * x^32 mod P, both aligned at the top: linear in (state, word) together.
//
// The instruction takes three cycles, and one can start each cycle, so a chain of them runs at a third of the speed. Three
// chains over three stretches of the input run side by side:
//
//     | head: size % 8 bytes | stretch a: n words | stretch b: n words | stretch c: n + 3 to n + 5 words |
//
// The states of a and b then have to move past what follows them, D words, that is to be multiplied by x^(64 D). A
// carry-less product of two reflected 32-bit registers is a reflected 64-bit register with one factor x too many, and the
// instruction on it multiplies by x^32 more: the constant for a distance of D words is therefore x^(64 D - 33) mod P. Both
// products join the last word of c, and one instruction reduces everything. c is longer so that it hides the products' latency.

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/coding.hpp"
#include "base/cpu.hpp"

#if defined(__x86_64__) || defined(__i386__) || (defined(_M_X64) && !defined(_M_ARM64EC)) || defined(_M_IX86)
#define EMDB_CRC32C_X86 1
#include <nmmintrin.h>
#include <wmmintrin.h>
#elif defined(__aarch64__) && !defined(_MSC_VER)
#define EMDB_CRC32C_ARM64 1
#if !defined(__clang__)
#include <arm_acle.h>
#include <arm_neon.h>
#endif
#endif

// The instructions are enabled function by function: a program built for the oldest processor still uses what it meets.
#if defined(EMDB_CRC32C_X86) && (defined(__GNUC__) || defined(__clang__))
#define EMDB_CRC32C_STEP_TARGET __attribute__((target("sse4.2")))
#define EMDB_CRC32C_MULTIPLY_TARGET __attribute__((target("sse4.2,pclmul")))
#elif defined(EMDB_CRC32C_ARM64) && defined(__clang__)
#define EMDB_CRC32C_STEP_TARGET __attribute__((target("crc")))
#define EMDB_CRC32C_MULTIPLY_TARGET __attribute__((target("crc,aes")))
#elif defined(EMDB_CRC32C_ARM64)
#define EMDB_CRC32C_STEP_TARGET __attribute__((target("+crc")))
#define EMDB_CRC32C_MULTIPLY_TARGET __attribute__((target("+crc+crypto")))
#else
#define EMDB_CRC32C_STEP_TARGET
#define EMDB_CRC32C_MULTIPLY_TARGET
#endif

namespace emdb::detail {

/// crc32c_tables[k][b]: the state after byte b and k zero bytes, from state 0.
using Crc32cTables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Crc32cTables make_crc32c_tables() noexcept {
    constexpr std::uint32_t polynomial_reflected = 0x82F63B78u;
    Crc32cTables tables{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t state = byte;
        for (int bit = 0; bit < 8; ++bit) state = (state >> 1) ^ ((state & 1u) != 0 ? polynomial_reflected : 0u);
        tables[0][byte] = state;
    }
    for (std::size_t zeros = 1; zeros < 8; ++zeros) {
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const std::uint32_t before = tables[zeros - 1][byte];
            tables[zeros][byte] = (before >> 8) ^ tables[0][before & 0xFF];
        }
    }
    return tables;
}

inline constexpr Crc32cTables crc32c_tables = make_crc32c_tables();

/// The portable twin of the instruction: eight bytes by eight look-ups that do not wait for each other.
constexpr std::uint32_t crc32c_portable_step(std::uint32_t state, std::uint64_t word) noexcept {
    const std::uint32_t low = static_cast<std::uint32_t>(word) ^ state;
    const std::uint32_t high = static_cast<std::uint32_t>(word >> 32);
    return crc32c_tables[7][low & 0xFF] ^ crc32c_tables[6][(low >> 8) & 0xFF] ^ crc32c_tables[5][(low >> 16) & 0xFF] ^
           crc32c_tables[4][low >> 24] ^ crc32c_tables[3][high & 0xFF] ^ crc32c_tables[2][(high >> 8) & 0xFF] ^
           crc32c_tables[1][(high >> 16) & 0xFF] ^ crc32c_tables[0][high >> 24];
}

inline std::uint32_t crc32c_portable(const std::byte* data, std::size_t size, std::uint32_t crc) noexcept {
    std::uint32_t state = ~crc;
    for (; size >= 8; data += 8, size -= 8) state = crc32c_portable_step(state, load_le<std::uint64_t>(data));
    for (; size != 0; ++data, --size) {
        state = (state >> 8) ^ crc32c_tables[0][(state ^ static_cast<std::uint32_t>(*data)) & 0xFF];
    }
    return ~state;
}

#if defined(EMDB_CRC32C_X86) || defined(EMDB_CRC32C_ARM64)

/// Words in one round of three stretches: 6 KiB, long enough that joining them costs 2 %.
inline constexpr std::size_t crc32c_round_words_max = 768;
/// Below this many words one chain is as fast (measured).
inline constexpr std::size_t crc32c_round_words_min = 10;
inline constexpr std::size_t crc32c_distance_max = crc32c_round_words_max - crc32c_round_words_max / 3 + 1;

/// shifts[D] = x^(64 D - 33) mod P, for D from 1.
using Crc32cShifts = std::array<std::uint32_t, crc32c_distance_max + 1>;

constexpr Crc32cShifts make_crc32c_shifts() noexcept {
    Crc32cShifts shifts{};
    shifts[1] = 1;  // x^31
    for (std::size_t distance = 2; distance < shifts.size(); ++distance) {
        shifts[distance] = crc32c_portable_step(shifts[distance - 1], 0);  // eight zero bytes: times x^64
    }
    return shifts;
}

inline constexpr Crc32cShifts crc32c_shifts = make_crc32c_shifts();

#if defined(EMDB_CRC32C_X86)

inline constexpr std::uint32_t crc32c_step_features = CpuFeatures::sse42;
inline constexpr std::uint32_t crc32c_multiply_features = CpuFeatures::sse42 | CpuFeatures::pclmulqdq;

EMDB_CRC32C_STEP_TARGET
inline std::uint32_t crc32c_step(std::uint32_t state, std::uint64_t word) noexcept {
#if defined(__x86_64__) || defined(_M_X64)
    return static_cast<std::uint32_t>(_mm_crc32_u64(state, word));
#else
    return _mm_crc32_u32(_mm_crc32_u32(state, static_cast<std::uint32_t>(word)), static_cast<std::uint32_t>(word >> 32));
#endif
}

/// The state in a long chain of steps: as wide as the instruction wants it, so that it is not extended at each step.
#if defined(__x86_64__) || defined(_M_X64)
using Crc32cChain = std::uint64_t;
EMDB_CRC32C_STEP_TARGET
inline Crc32cChain crc32c_chain_step(Crc32cChain state, std::uint64_t word) noexcept { return _mm_crc32_u64(state, word); }
#else
using Crc32cChain = std::uint32_t;
EMDB_CRC32C_STEP_TARGET
inline Crc32cChain crc32c_chain_step(Crc32cChain state, std::uint64_t word) noexcept { return crc32c_step(state, word); }
#endif

/// a * x^(64 * distance), as a word for crc32c_step.
EMDB_CRC32C_MULTIPLY_TARGET
inline std::uint64_t crc32c_shifted(std::uint32_t a, std::size_t distance) noexcept {
    const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(crc32c_shifts[distance]));
    const __m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128(static_cast<int>(a)), shift, 0);
#if defined(__x86_64__) || defined(_M_X64)
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(product));
#else
    const auto low = static_cast<std::uint32_t>(_mm_cvtsi128_si32(product));
    const auto high = static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_srli_si128(product, 4)));
    return static_cast<std::uint64_t>(high) << 32 | low;
#endif
}

#else

inline constexpr std::uint32_t crc32c_step_features = CpuFeatures::arm_crc32;
inline constexpr std::uint32_t crc32c_multiply_features = CpuFeatures::arm_crc32 | CpuFeatures::arm_pmull;

EMDB_CRC32C_STEP_TARGET
inline std::uint32_t crc32c_step(std::uint32_t state, std::uint64_t word) noexcept {
#if defined(__clang__)
    return __builtin_arm_crc32cd(state, word);  // <arm_acle.h> hides its name for this without -march
#else
    return __crc32cd(state, word);
#endif
}

using Crc32cChain = std::uint32_t;
EMDB_CRC32C_STEP_TARGET
inline Crc32cChain crc32c_chain_step(Crc32cChain state, std::uint64_t word) noexcept { return crc32c_step(state, word); }

/// a * x^(64 * distance), as a word for crc32c_step.
EMDB_CRC32C_MULTIPLY_TARGET
inline std::uint64_t crc32c_shifted(std::uint32_t a, std::size_t distance) noexcept {
#if defined(__clang__)
    return static_cast<std::uint64_t>(__builtin_neon_vmull_p64(a, crc32c_shifts[distance]));
#else
    return static_cast<std::uint64_t>(vmull_p64(a, crc32c_shifts[distance]));
#endif
}

#endif

/// Continues with the low `size % 8` bytes of a word, in one instruction: zero bytes before the first ones change nothing when
/// the state, too, is moved into the word. What of the state lies beyond those bytes is merely moved down. (Two shifts, because
/// one by 64 is undefined.)
EMDB_CRC32C_STEP_TARGET
inline std::uint32_t crc32c_partial_step(std::uint32_t state, std::uint64_t word, std::size_t size) noexcept {
    const std::size_t bits = 8 * size;
    const std::uint64_t at_the_end = ((word ^ state) << (~bits & 63)) << 1;
    return crc32c_step(0, at_the_end) ^ static_cast<std::uint32_t>(static_cast<std::uint64_t>(state) >> (bits & 63));
}

EMDB_CRC32C_STEP_TARGET
inline std::uint32_t crc32c_short(const std::byte* data, std::size_t size, std::uint32_t state) noexcept {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < size; ++i) word |= static_cast<std::uint64_t>(data[i]) << (8 * i);
    return crc32c_partial_step(state, word, size);
}

/// For processors with the CRC instruction but no carry-less multiplication.
EMDB_CRC32C_STEP_TARGET
inline std::uint32_t crc32c_one_chain(const std::byte* data, std::size_t size, std::uint32_t crc) noexcept {
    if (size < 8) return ~crc32c_short(data, size, ~crc);
    std::uint32_t state = crc32c_partial_step(~crc, load_le<std::uint64_t>(data), size);
    data += size % 8;
    for (std::size_t words = size / 8; words != 0; --words, data += 8) state = crc32c_step(state, load_le<std::uint64_t>(data));
    return ~state;
}

EMDB_CRC32C_MULTIPLY_TARGET
inline std::uint32_t crc32c_three_chains(const std::byte* data, std::size_t size, std::uint32_t crc) noexcept {
    if (size < 8) return ~crc32c_short(data, size, ~crc);
    std::uint32_t state = crc32c_partial_step(~crc, load_le<std::uint64_t>(data), size);
    data += size % 8;
    std::size_t words = size / 8;

    while (words >= crc32c_round_words_min) {
        const std::size_t round = words < crc32c_round_words_max ? words : crc32c_round_words_max;
        const std::size_t length = round / 3 - 1;
        const std::size_t length_c = round - 2 * length;
        const std::byte* const middle = data + 8 * length;
        const std::byte* at_c = middle + 8 * length;
        const std::byte* const last = data + 8 * (round - 1);
        std::uint32_t b = 0;
        std::uint32_t c = 0;
        if (words > round) {
            // Three places at a time are more than the hardware sees through: without this, what is not in the cache takes 1.5 times as
            // long at 16 KiB, and 2.5 times at 1 MiB.
            for (const std::byte* next = last + 8; middle - data >= 64; next += 192) {
                __builtin_prefetch(next);
                __builtin_prefetch(next + 64);
                __builtin_prefetch(next + 128);
                for (const std::byte* const line = data + 64; data != line; data += 8, at_c += 8) {
                    state = crc32c_step(state, load_le<std::uint64_t>(data));
                    b = crc32c_step(b, load_le<std::uint64_t>(data + 8 * length));
                    c = crc32c_step(c, load_le<std::uint64_t>(at_c));
                }
            }
        }
        for (; data != middle; data += 8, at_c += 8) {
            state = crc32c_step(state, load_le<std::uint64_t>(data));
            b = crc32c_step(b, load_le<std::uint64_t>(data + 8 * length));
            c = crc32c_step(c, load_le<std::uint64_t>(at_c));
        }
        const std::uint64_t joined = crc32c_shifted(state, length + length_c) ^ crc32c_shifted(b, length_c);
        for (; at_c != last; at_c += 8) c = crc32c_step(c, load_le<std::uint64_t>(at_c));
        state = crc32c_step(c, load_le<std::uint64_t>(last) ^ joined);
        data = last + 8;
        words -= round;
    }
    for (; words != 0; --words, data += 8) state = crc32c_step(state, load_le<std::uint64_t>(data));
    return ~state;
}

/// The sizes for which crc32c_two_chains has code.
inline constexpr std::size_t crc32c_two_chains_min = 64;
inline constexpr std::size_t crc32c_two_chains_max = 16 * 32 + 15;

/// The checksum of a frame of usual size, followed by the eight bytes of `value`: straight code for two stretches of equal length,
/// entered where as many steps are left as there are, and `value` is the word that the product joins. For 178 bytes 65
/// instructions instead of 170 for three chains in a loop: a read's instructions keep the next read's cache misses waiting.
EMDB_CRC32C_MULTIPLY_TARGET
inline std::uint32_t crc32c_two_chains(const std::byte* data, std::size_t size, std::uint32_t crc, std::uint64_t value) noexcept {
    const std::byte* const end = data + size;
    const std::size_t length = size / 16;
    const std::byte* const middle = end - 8 * length;
    Crc32cChain a = crc32c_partial_step(~crc, load_le<std::uint64_t>(data), size);
    if ((size & 8) != 0) a = crc32c_chain_step(a, load_le<std::uint64_t>(data + size % 8));
    Crc32cChain b = 0;
#define EMDB_CRC32C_STEPS(left)                                                    \
    case left:                                                                                  \
        a = crc32c_chain_step(a, load_le<std::uint64_t>(middle - std::size_t{8} * (left))); \
        b = crc32c_chain_step(b, load_le<std::uint64_t>(end - std::size_t{8} * (left)));    \
        [[fallthrough]]
#define EMDB_CRC32C_EIGHT_STEPS(left)                                                                                   \
    EMDB_CRC32C_STEPS((left) + 7); EMDB_CRC32C_STEPS((left) + 6); EMDB_CRC32C_STEPS((left) + 5); EMDB_CRC32C_STEPS((left) + 4); \
    EMDB_CRC32C_STEPS((left) + 3); EMDB_CRC32C_STEPS((left) + 2); EMDB_CRC32C_STEPS((left) + 1); EMDB_CRC32C_STEPS(left)
    switch (length) {
        EMDB_CRC32C_EIGHT_STEPS(25);
        EMDB_CRC32C_EIGHT_STEPS(17);
        EMDB_CRC32C_EIGHT_STEPS(9);
        EMDB_CRC32C_EIGHT_STEPS(1);
        default: break;
    }
#undef EMDB_CRC32C_STEPS
#undef EMDB_CRC32C_EIGHT_STEPS
    return ~static_cast<std::uint32_t>(crc32c_chain_step(b, value ^ crc32c_shifted(static_cast<std::uint32_t>(a), length + 1)));
}

#endif

/// What crc32c does the first time, and on processors that have less than it hopes for.
inline std::uint32_t crc32c_by_features(const std::byte* data, std::size_t size, std::uint32_t crc) noexcept {
#if defined(EMDB_CRC32C_X86) || defined(EMDB_CRC32C_ARM64)
    const CpuFeatures features = cpu_features();
    if (features.has(crc32c_multiply_features)) return crc32c_three_chains(data, size, crc);
    if (features.has(crc32c_step_features)) return crc32c_one_chain(data, size, crc);
#endif
    return crc32c_portable(data, size, crc);
}

/// The CRC-32C of `size` bytes, continuing from `crc`, the result for the bytes before them.
inline std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t crc = 0) noexcept {
    const std::byte* const bytes = static_cast<const std::byte*>(data);
#if defined(EMDB_CRC32C_X86) || defined(EMDB_CRC32C_ARM64)
    if (cpu_features_known_to_include(crc32c_multiply_features)) [[likely]] {
        if (size - 8 - crc32c_two_chains_min <= crc32c_two_chains_max - crc32c_two_chains_min) {
            return crc32c_two_chains(bytes, size - 8, crc, load_le<std::uint64_t>(bytes + size - 8));
        }
        return crc32c_three_chains(bytes, size, crc);
    }
#endif
    return crc32c_by_features(bytes, size, crc);
}

/// Continues `crc` with the eight bytes of `value` as they lie on disk, lowest first.
inline std::uint32_t crc32c_u64(std::uint32_t crc, std::uint64_t value) noexcept {
#if defined(EMDB_CRC32C_X86) || defined(EMDB_CRC32C_ARM64)
    if (cpu_features_known_to_include(crc32c_step_features)) [[likely]] {
        return ~crc32c_step(~crc, value);
    }
    // The first call of crc32c asks the processor; not asking here as well keeps this small wherever it is inlined.
#endif
    return ~crc32c_portable_step(~crc, value);
}

/// crc32c_u64(crc32c(data, size, crc), value), but for frames see frame_sum.hpp.
[[gnu::noinline]] inline std::uint32_t crc32c_then_u64_narrow(const std::byte* data, std::size_t size, std::uint32_t crc,
                                                              std::uint64_t value) noexcept {
#if defined(EMDB_CRC32C_X86) || defined(EMDB_CRC32C_ARM64)
    if (size - crc32c_two_chains_min <= crc32c_two_chains_max - crc32c_two_chains_min &&
        cpu_features_known_to_include(crc32c_multiply_features)) [[likely]] {
        return crc32c_two_chains(data, size, crc, value);
    }
#endif
    return crc32c_u64(crc32c(data, size, crc), value);
}

}  // namespace emdb::detail

#undef EMDB_CRC32C_X86
#undef EMDB_CRC32C_ARM64
#undef EMDB_CRC32C_STEP_TARGET
#undef EMDB_CRC32C_MULTIPLY_TARGET
