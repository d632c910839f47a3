#pragma once
// The checksum of a whole frame: the CRC-32C of its bytes and then of eight more, its offset. Notation as in crc32c.hpp.
//
// The wide form folds blocks of 64 bytes, four lanes of 128 bits side by side: a lane times x^512, plus the next block, is as good
// as both. A lane is multiplied half by half: in a reflected 64-bit register a 32-bit constant stands 32 powers higher, and the product
// has one factor x too many, so the constant x^(64 D - 33) moves a half by D words. At the end the lanes are moved behind each other
// and the CRC instruction reduces what is left. The initial state is moved past all of the bytes by itself and joins the last
// word. V. Gopal et al., "Fast CRC computation for generic polynomials using PCLMULQDQ instruction" (Intel, 2009).

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/coding.hpp"
#include "base/cpu.hpp"
#include "checks/crc32c.hpp"
#include "checks/wide_registers.hpp"

namespace emdb::detail {

#if EMDB_WIDE_REGISTERS

inline constexpr std::size_t crc32c_wide_min = 64;
inline constexpr std::size_t crc32c_wide_max = 511;

/// shifts[n] = x^(8 n + 31) mod P: what moves a state past n bytes and a word that it joins.
constexpr std::array<std::uint32_t, crc32c_wide_max + 1> make_crc32c_byte_shifts() noexcept {
    std::array<std::uint32_t, crc32c_wide_max + 1> shifts{};
    shifts[0] = 1;
    for (std::size_t i = 1; i < shifts.size(); ++i) {
        shifts[i] = (shifts[i - 1] >> 8) ^ crc32c_tables[0][shifts[i - 1] & 0xFF];
    }
    return shifts;
}
inline constexpr auto crc32c_byte_shifts = make_crc32c_byte_shifts();

/// What each of four lanes is multiplied by, its first half and its second.
struct alignas(64) Crc32cLaneShifts {
    std::uint64_t shift[8] = {};
};
/// Moves every lane by the 8 words of a block.
inline constexpr Crc32cLaneShifts crc32c_next_block = [] {
    Crc32cLaneShifts shifts;
    for (std::size_t lane = 0; lane < 4; ++lane) {
        shifts.shift[2 * lane] = crc32c_shifts[9];
        shifts.shift[2 * lane + 1] = crc32c_shifts[8];
    }
    return shifts;
}();
/// Moves three lanes to where the last one is, by 6, 4 and 2 words.
inline constexpr Crc32cLaneShifts crc32c_to_last_lane = [] {
    Crc32cLaneShifts shifts;
    for (std::size_t i = 0; i < 6; ++i) shifts.shift[i] = crc32c_shifts[7 - i];
    return shifts;
}();

/// For wide_register_features and sizes from crc32c_wide_min to crc32c_wide_max.
EMDB_WIDE_TARGET
inline std::uint32_t crc32c_wide(const std::byte* data, std::size_t size, std::uint32_t crc, std::uint64_t value) noexcept {
    const __m512i next_block = _mm512_load_si512(crc32c_next_block.shift);
    const __m512i to_last_lane = _mm512_load_si512(crc32c_to_last_lane.shift);
    // Blocks end where the bytes do. The first one begins up to 63 bytes before them, with zeros: what is masked out is not read.
    const std::size_t lead = (0 - size) % 64;
    const auto first = reinterpret_cast<std::uintptr_t>(data) - lead;
    __m512i sum = _mm512_maskz_loadu_epi8(~std::uint64_t{0} << lead, reinterpret_cast<const void*>(first));
    for (const std::byte* at = data + (64 - lead); at != data + size; at += 64) {
        sum = _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(sum, next_block, 0x00),
                                        _mm512_clmulepi64_epi128(sum, next_block, 0x11), _mm512_loadu_si512(at), 0x96);
    }
    const __m512i moved = _mm512_xor_si512(_mm512_clmulepi64_epi128(sum, to_last_lane, 0x00),
                                           _mm512_clmulepi64_epi128(sum, to_last_lane, 0x11));
    // (Masks without effect, because the plain intrinsics make GCC 12 warn of its own headers.)
    const __m128i lanes = _mm_ternarylogic_epi64(_mm512_maskz_extracti32x4_epi32(0xF, moved, 0),
                                                 _mm512_maskz_extracti32x4_epi32(0xF, moved, 1),
                                                 _mm512_maskz_extracti32x4_epi32(0xF, moved, 2), 0x96);
    const __m128i lane = _mm_xor_si128(lanes, _mm512_maskz_extracti32x4_epi32(0xF, sum, 3));
    const __m128i state = _mm_clmulepi64_si128(_mm_cvtsi32_si128(static_cast<int>(~crc)),
                                               _mm_cvtsi32_si128(static_cast<int>(crc32c_byte_shifts[size])), 0);
    std::uint64_t reduced = _mm_crc32_u64(0, static_cast<std::uint64_t>(_mm_cvtsi128_si64(lane)));
    reduced = _mm_crc32_u64(reduced, static_cast<std::uint64_t>(_mm_extract_epi64(lane, 1)));
    return ~static_cast<std::uint32_t>(_mm_crc32_u64(reduced, value ^ static_cast<std::uint64_t>(_mm_cvtsi128_si64(state))));
}

#endif

/// crc32c_u64(crc32c(data, size, crc), value), less than half the instructions for frames of usual size.
[[gnu::always_inline]] inline std::uint32_t crc32c_then_u64(const std::byte* data, std::size_t size, std::uint32_t crc,
                                                            std::uint64_t value) noexcept {
#if EMDB_WIDE_REGISTERS
    if (size - crc32c_wide_min <= crc32c_wide_max - crc32c_wide_min && cpu_features_known_to_include(wide_register_features))
        [[likely]] {
        return crc32c_wide(data, size, crc, value);
    }
#endif
    return crc32c_then_u64_narrow(data, size, crc, value);
}

}  // namespace emdb::detail
