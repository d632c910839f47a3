#pragma once
// What one call of seal or open is about, as Aead hands it to the path that it has chosen.

#include <cstddef>

namespace emdb::detail {

inline constexpr std::size_t aead_nonce_size = 12;
inline constexpr std::size_t aead_tag_size = 16;

/// `in` is the plaintext to seal, or the ciphertext to open without its tag; `out` is as long, and is `in` or does not overlap it.
struct AeadCall {
    const std::byte* nonce;
    const std::byte* aad;
    std::size_t aad_size;
    const std::byte* in;
    std::size_t size;
    std::byte* out;
};

}  // namespace emdb::detail
