#pragma once
// What the tests of the crypto layer share: the code paths that this processor can take, and bytes to work on.
// Include it after emdb.hpp with EMDB_IMPLEMENTATION.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace crypto_support {

using Buffer = std::vector<std::byte>;
using View = std::span<const std::byte>;

/// Hiding one group of features after the other leads through the paths of the crypto layer: VAES and AVX-512, AES-NI and AVX2 (or ARMv8's
/// instructions), what every processor of this kind has, plain C++. A path that this processor lacks falls back to the one below it.
enum class CryptoPath { portable, without_crypto, without_wide_registers, best };

inline const char* name_of(CryptoPath path) {
    switch (path) {
        case CryptoPath::portable: return "portable";
        case CryptoPath::without_crypto: return "without instructions for AES, AVX2 and more";
        case CryptoPath::without_wide_registers: return "without AVX-512";
        case CryptoPath::best: return "best";
    }
    return "";
}

inline void choose(CryptoPath path) {
    namespace detail = emdb::detail;
    using F = detail::CpuFeatures;
    constexpr std::uint32_t wide = F::avx512f | F::avx512bw | F::avx512vl | F::vaes | F::vpclmulqdq;
    constexpr std::uint32_t crypto = F::aes | F::pclmulqdq | F::avx2 | F::avx | F::arm_aes | F::arm_pmull;
    detail::force_cpu_path(path == CryptoPath::portable ? detail::CpuPath::portable : detail::CpuPath::best);
    if (path == CryptoPath::portable || path == CryptoPath::best) return;
    const std::uint32_t hidden = path == CryptoPath::without_crypto ? wide | crypto : wide;
    detail::cpu_features_in_use.store(detail::cpu_features().bits & ~hidden);
}

/// Runs `test` on every path and leaves the best one chosen.
template <class Test>
void on_every_path(Test test) {
    for (const CryptoPath path :
         {CryptoPath::portable, CryptoPath::without_crypto, CryptoPath::without_wide_registers, CryptoPath::best}) {
        choose(path);
        test(path);
    }
    choose(CryptoPath::best);
}

/// Bytes that look random; the same in every run.
inline Buffer noise(std::size_t size, std::uint64_t seed = 1) {
    Buffer bytes(size);
    std::uint64_t state = seed * 0x9E3779B97F4A7C15u + 20240229;
    for (std::byte& byte : bytes) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        byte = static_cast<std::byte>(state >> 56);
    }
    return bytes;
}

inline Buffer to_bytes(const std::vector<unsigned char>& bytes) {
    Buffer result;
    for (const unsigned char byte : bytes) result.push_back(static_cast<std::byte>(byte));
    return result;
}

inline Buffer to_bytes(const std::string& text) {
    Buffer result;
    for (const char character : text) result.push_back(static_cast<std::byte>(character));
    return result;
}

/// Pairs of hexadecimal digits; blanks between them don't count.
inline Buffer from_hex(const std::string& text) {
    Buffer result;
    const std::string digits = "0123456789abcdef";
    std::size_t high = std::string::npos;
    for (const char character : text) {
        const std::size_t digit = digits.find(character);
        if (digit == std::string::npos) continue;
        if (high == std::string::npos) {
            high = digit;
        } else {
            result.push_back(static_cast<std::byte>(high * 16 + digit));
            high = std::string::npos;
        }
    }
    return result;
}

inline std::span<const std::byte, 32> as_key(const Buffer& bytes) { return std::span<const std::byte, 32>(bytes.data(), 32); }
inline std::span<const std::byte, 12> as_nonce(const Buffer& bytes) { return std::span<const std::byte, 12>(bytes.data(), 12); }

}  // namespace crypto_support
