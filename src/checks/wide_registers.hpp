#pragma once
// When AVX-512 is used, and by whom: SipHash of a key and CRC of a frame, the two computations of a read.
//
// Less because they are faster by themselves than because of what a processor does while it waits for a read's two cache misses: it
// works ahead, into the next read, whose first miss it starts if it gets so far. How far it gets depends on its room for
// unfinished instructions. Measured on Zen 5 with instructions added to a read: some 300 instructions of any kind, but only 130
// more results in integer registers and only 50 more integer instructions that wait for the record's own bytes.
// SipHash in integer registers has 130 instructions, the CRC by the CRC instruction 90 that wait; two reads then never overlap. In
// vector registers they have next to none of either kind (get_into 395 ns -> 230 ns, an absent key 105 ns -> 68 ns).
//
// For the same reason read_path.hpp keeps everything inline that a usual read does, FrameShape makes as little as possible wait for
// the record, and HashTable::find_at_home has no branch that would have to be taken back.

#include "base/cpu.hpp"

#if defined(__x86_64__) || (defined(_M_X64) && !defined(_M_ARM64EC))
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
