#pragma once
// Which instruction-set extensions this processor and its operating system offer, asked once at run time.
// Bit positions: Intel SDM volume 2A, CPUID, and volume 1, 13.3 (XCR0); Linux and FreeBSD's AArch64 HWCAP bits;
// Apple's hw.optional names; Windows' PF_ARM_V8 numbers.

#include <atomic>
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__) || defined(__i386__) || (defined(_M_X64) && !defined(_M_ARM64EC)) || defined(_M_IX86)
#define EMDB_CPU_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#elif defined(__aarch64__) || defined(_M_ARM64)
#define EMDB_CPU_ARM64 1
#if defined(__linux__) || defined(__FreeBSD__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/types.h>

#include <sys/sysctl.h>
#elif defined(_WIN32)
// As <windows.h> declares it, which this file has no other need of.
extern "C" __declspec(dllimport) int __stdcall IsProcessorFeaturePresent(unsigned long feature);
#endif
#endif

namespace emdb::detail {

/// A set of features. One bit a feature, so that a hot path asks for several with one load, one mask and one branch.
struct CpuFeatures {
    /// Always set once the processor has been asked, so that a set without features differs from "not asked yet".
    static constexpr std::uint32_t detected = 1u << 0;

    static constexpr std::uint32_t ssse3 = 1u << 1;
    static constexpr std::uint32_t sse41 = 1u << 2;
    static constexpr std::uint32_t sse42 = 1u << 3;
    static constexpr std::uint32_t pclmulqdq = 1u << 4;
    static constexpr std::uint32_t aes = 1u << 5;
    // From here to avx512vl: only set when the operating system, too, saves the wider registers.
    static constexpr std::uint32_t avx = 1u << 6;
    static constexpr std::uint32_t avx2 = 1u << 7;
    static constexpr std::uint32_t bmi2 = 1u << 8;
    static constexpr std::uint32_t vaes = 1u << 9;
    static constexpr std::uint32_t vpclmulqdq = 1u << 10;
    static constexpr std::uint32_t avx512f = 1u << 11;
    static constexpr std::uint32_t avx512bw = 1u << 12;
    static constexpr std::uint32_t avx512vl = 1u << 13;

    static constexpr std::uint32_t arm_crc32 = 1u << 16;
    static constexpr std::uint32_t arm_aes = 1u << 17;
    static constexpr std::uint32_t arm_pmull = 1u << 18;  // the 64-bit polynomial multiplication

    std::uint32_t bits = detected;

    [[nodiscard]] constexpr bool has(std::uint32_t wanted) const noexcept { return (bits & wanted) == wanted; }
};

/// `portable` hides every extension, so that the plain C++ twin of each accelerated path runs; `best` is the default.
enum class CpuPath { portable, best };

#if defined(EMDB_CPU_X86)

struct CpuidRegisters {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

inline CpuidRegisters cpuid(std::uint32_t leaf) noexcept {
    CpuidRegisters result;
#if defined(_MSC_VER)
    int registers[4];
    __cpuidex(registers, static_cast<int>(leaf), 0);
    result.eax = static_cast<std::uint32_t>(registers[0]);
    result.ebx = static_cast<std::uint32_t>(registers[1]);
    result.ecx = static_cast<std::uint32_t>(registers[2]);
    result.edx = static_cast<std::uint32_t>(registers[3]);
#else
    __cpuid_count(leaf, 0, result.eax, result.ebx, result.ecx, result.edx);
#endif
    return result;
}

/// The low half of XCR0: which register states the operating system saves. Only to be called when CPUID reports OSXSAVE.
inline std::uint32_t saved_register_states() noexcept {
#if defined(_MSC_VER) && !defined(__clang__)
    return static_cast<std::uint32_t>(_xgetbv(0));
#else
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));  // the intrinsic would need -mxsave
    return low;
#endif
}

inline CpuFeatures detect_cpu_features() noexcept {
    using F = CpuFeatures;
    F found;
    // A feature counts only with those it widens, whatever a hypervisor's masks say: asking for the widest is then enough.
    const auto add_if = [&found](std::uint32_t word, unsigned bit, std::uint32_t feature, std::uint32_t widens) {
        if (((word >> bit) & 1u) != 0 && found.has(widens)) found.bits |= feature;
    };
    // Leaf 0 exists wherever this can run: a processor without CPUID is older than C++.
    const std::uint32_t leaf_max = cpuid(0).eax;
    if (leaf_max < 1) return found;

    const CpuidRegisters basic = cpuid(1);
    add_if(basic.ecx, 9, F::ssse3, F::detected);
    add_if(basic.ecx, 19, F::sse41, F::ssse3);
    add_if(basic.ecx, 20, F::sse42, F::sse41);
    add_if(basic.ecx, 1, F::pclmulqdq, F::detected);
    add_if(basic.ecx, 25, F::aes, F::detected);

    constexpr std::uint32_t avx_states = 0x06;     // XMM, YMM
    constexpr std::uint32_t avx512_states = 0xE6;  // and the masks, the upper halves of ZMM0-15, ZMM16-31
    const bool states_known = ((basic.ecx >> 27) & 1u) != 0;
    const std::uint32_t states = states_known ? saved_register_states() : 0;
    if ((states & avx_states) != avx_states) return found;
    add_if(basic.ecx, 28, F::avx, F::sse42);

    if (leaf_max < 7) return found;
    const CpuidRegisters extended = cpuid(7);
    add_if(extended.ebx, 5, F::avx2, F::avx);
    add_if(extended.ebx, 8, F::bmi2, F::detected);
    add_if(extended.ecx, 9, F::vaes, F::aes | F::avx2);
    add_if(extended.ecx, 10, F::vpclmulqdq, F::pclmulqdq | F::avx2);
    if ((states & avx512_states) == avx512_states) {
        add_if(extended.ebx, 16, F::avx512f, F::avx2);
        add_if(extended.ebx, 30, F::avx512bw, F::avx512f);
        add_if(extended.ebx, 31, F::avx512vl, F::avx512f);
    }
    return found;
}

#elif defined(EMDB_CPU_ARM64)

inline CpuFeatures detect_cpu_features() noexcept {
    CpuFeatures found;
#if defined(__linux__) || defined(__FreeBSD__)
    unsigned long capabilities = 0;
#if defined(__linux__)
    capabilities = getauxval(AT_HWCAP);
#else
    if (elf_aux_info(AT_HWCAP, &capabilities, static_cast<int>(sizeof capabilities)) != 0) return found;
#endif
    if ((capabilities >> 3) & 1u) found.bits |= CpuFeatures::arm_aes;
    if ((capabilities >> 4) & 1u) found.bits |= CpuFeatures::arm_pmull;
    if ((capabilities >> 7) & 1u) found.bits |= CpuFeatures::arm_crc32;
#elif defined(__APPLE__)
    // A name that the kernel does not know leaves `present` at 0: the feature is then taken to be absent.
    const auto add_if = [&found](std::uint32_t feature, const char* name) {
        int present = 0;
        std::size_t size = sizeof present;
        if (sysctlbyname(name, &present, &size, nullptr, 0) == 0 && present != 0) found.bits |= feature;
    };
    add_if(CpuFeatures::arm_crc32, "hw.optional.armv8_crc32");
    add_if(CpuFeatures::arm_aes, "hw.optional.arm.FEAT_AES");
    add_if(CpuFeatures::arm_pmull, "hw.optional.arm.FEAT_PMULL");
#elif defined(_WIN32)
    constexpr unsigned long crypto_available = 30;  // PF_ARM_V8_CRYPTO_INSTRUCTIONS_AVAILABLE
    constexpr unsigned long crc32_available = 31;   // PF_ARM_V8_CRC32_INSTRUCTIONS_AVAILABLE
    if (IsProcessorFeaturePresent(crypto_available) != 0) found.bits |= CpuFeatures::arm_aes | CpuFeatures::arm_pmull;
    if (IsProcessorFeaturePresent(crc32_available) != 0) found.bits |= CpuFeatures::arm_crc32;
#endif
    return found;
}

#else

inline CpuFeatures detect_cpu_features() noexcept { return {}; }

#endif

/// The features in use; 0 until somebody asks. Relaxed everywhere: the word is all there is to publish, whoever reads it
/// early detects the same features again, and every path computes the same results.
inline constinit std::atomic<std::uint32_t> cpu_features_in_use{0};

/// The features this process may use now. A load, and detection the first time.
inline CpuFeatures cpu_features() noexcept {
    std::uint32_t bits = cpu_features_in_use.load(std::memory_order_relaxed);
    if (bits == 0) {
        // Only replaces "not asked yet", so that a concurrent force_cpu_path is not undone.
        const std::uint32_t found = detect_cpu_features().bits;
        if (cpu_features_in_use.compare_exchange_strong(bits, found, std::memory_order_relaxed)) bits = found;
    }
    return CpuFeatures{bits};
}

/// For hot paths: one relaxed load, and one branch for the caller. A no may also mean that nobody has asked the processor
/// yet: take the portable path only after cpu_features() has said no as well, or the fast one may never be found.
inline bool cpu_features_known_to_include(std::uint32_t wanted) noexcept {
    return CpuFeatures{cpu_features_in_use.load(std::memory_order_relaxed)}.has(wanted);
}

/// For tests. May be called at any time from any thread; calls already running finish on the path that they began.
inline void force_cpu_path(CpuPath path) noexcept {
    const std::uint32_t bits = path == CpuPath::best ? detect_cpu_features().bits : CpuFeatures::detected;
    cpu_features_in_use.store(bits, std::memory_order_relaxed);
}

}  // namespace emdb::detail

#undef EMDB_CPU_X86
#undef EMDB_CPU_ARM64
