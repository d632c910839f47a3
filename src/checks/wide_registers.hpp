#pragma once
// When AVX-512 is used, and by whom: SipHash of a key and CRC of a frame, both of a read.
//
// Not because they are faster by themselves. While a processor waits for a read's two cache misses, it works ahead into the next
// read and starts the next misses, as far as it has room for unfinished instructions; the scarce room is that for
// integer instructions: their registers, and where they wait for what they need. SipHash in integer registers takes 130 of them, the
// CRC 90, and one read fills it all. In vector registers they take 20 and 15, and two reads overlap (Zen 5: get_into
// 480 ns -> 250 ns, the absent key 160 ns -> 75 ns).

#include "base/cpu.hpp"

#if (defined(__x86_64__) || (defined(_M_X64) && !defined(_M_ARM64EC)))
#define EMDB_WIDE_REGISTERS 1
#include <immintrin.h>
#else
#define EMDB_WIDE_REGISTERS 0
#endif

#if EMDB_WIDE_REGISTERS && (defined(__GNUC__) || defined(__clang__))
#define EMDB_WIDE_TARGET __attribute__((target("sse4.2,pclmul,avx512f,avx512bw,avx512vl,vpclmulqdq")))
#else
#define EMDB_WIDE_TARGET
#endif

namespace emdb::detail {

inline constexpr std::uint32_t wide_register_features = CpuFeatures::sse42 | CpuFeatures::pclmulqdq | CpuFeatures::vpclmulqdq |
                                                        CpuFeatures::avx512f | CpuFeatures::avx512bw | CpuFeatures::avx512vl;

}  // namespace emdb::detail
