#pragma once
// The instruction sets of the accelerated paths, enabled function by function: a program built for the oldest processor still uses what
// it meets. Whatever these functions call has to be inlined into them, so it carries the same target.

#include "base/cpu.hpp"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define EMDB_CRYPTO_X86 1
#include <immintrin.h>
#define EMDB_AES_NI_TARGET __attribute__((target("avx,aes,pclmul")))
#define EMDB_AES_NI_INLINE EMDB_AES_NI_TARGET __attribute__((always_inline)) inline
#define EMDB_VAES_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,vaes,vpclmulqdq,aes,pclmul")))
#define EMDB_VAES_INLINE EMDB_VAES_TARGET __attribute__((always_inline)) inline
#define EMDB_AVX2_TARGET __attribute__((target("avx2")))
#define EMDB_AVX2_INLINE EMDB_AVX2_TARGET __attribute__((always_inline)) inline
#define EMDB_AVX512_TARGET __attribute__((target("avx512f,avx512bw,avx512vl")))
#define EMDB_AVX512_INLINE EMDB_AVX512_TARGET __attribute__((always_inline)) inline
#else
#define EMDB_CRYPTO_X86 0
#endif

#if defined(__aarch64__) && defined(__AARCH64EL__) && (defined(__GNUC__) || defined(__clang__))
#define EMDB_CRYPTO_ARM64 1
#include <arm_neon.h>
#if defined(__clang__)
#define EMDB_AES_ARM_TARGET __attribute__((target("aes")))
#else
#define EMDB_AES_ARM_TARGET __attribute__((target("+crypto")))
#endif
#define EMDB_AES_ARM_INLINE EMDB_AES_ARM_TARGET __attribute__((always_inline)) inline
#else
#define EMDB_CRYPTO_ARM64 0
#endif

// Before a loop over registers: its array then is registers, also where the compiler would not unroll by itself.
#if defined(__clang__)
#define EMDB_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define EMDB_UNROLL _Pragma("GCC unroll 16")
#else
#define EMDB_UNROLL
#endif

namespace emdb::detail {

#if EMDB_CRYPTO_X86
inline constexpr std::uint32_t aes_ni_features = CpuFeatures::avx | CpuFeatures::aes | CpuFeatures::pclmulqdq;
inline constexpr std::uint32_t avx512_features = CpuFeatures::avx512f | CpuFeatures::avx512bw | CpuFeatures::avx512vl;
inline constexpr std::uint32_t vaes_features = aes_ni_features | avx512_features | CpuFeatures::vaes | CpuFeatures::vpclmulqdq;
#elif EMDB_CRYPTO_ARM64
inline constexpr std::uint32_t aes_arm_features = CpuFeatures::arm_aes | CpuFeatures::arm_pmull;
#endif

}  // namespace emdb::detail
