#pragma once
// Aead: a key and a cipher, ready to seal and open.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "base/cpu.hpp"
#include "base/options.hpp"
#include "crypto/aead_call.hpp"
#include "crypto/aes_gcm_arm.hpp"
#include "crypto/aes_gcm_key.hpp"
#include "crypto/aes_gcm_portable.hpp"
#include "crypto/aes_gcm_vaes.hpp"
#include "crypto/aes_gcm_x86.hpp"
#include "crypto/chacha20_poly1305.hpp"
#include "crypto/targets.hpp"
#include "crypto/wipe.hpp"

namespace emdb::detail {

/// Authenticated encryption with associated data: AES-256-GCM (SP 800-38D) or ChaCha20-Poly1305 (RFC 8439), both with tags of 16 bytes
/// and nonces of 12, of which none may ever be used twice under one key. A message has at most 2^36 - 32 bytes.
///
/// Takes some microseconds to construct: what depends on the key alone is computed then, and the fastest code for the processor is
/// chosen. Afterwards any number of threads may seal and open at once; neither allocates. The key is wiped at the end.
class Aead {
public:
    static constexpr std::size_t key_size = 32;
    static constexpr std::size_t nonce_size = aead_nonce_size;
    static constexpr std::size_t tag_size = aead_tag_size;

    Aead(Cipher cipher, std::span<const std::byte, key_size> key) noexcept {
        const CpuFeatures features = cpu_features();
        if (cipher == Cipher::chacha20_poly1305) {
            path_ = Path::chacha20;
            chacha20_path_ = best_chacha20_path(features);
            std::memcpy(keys_.chacha20, key.data(), key_size);
            return;
        }
        path_ = best_aes_path(features);
        if (path_ == Path::aes_portable) {
            std::construct_at(&keys_.aes_portable)->expand(key.data());
        } else {
            std::construct_at(&keys_.aes)->expand(key.data());
        }
    }
    ~Aead() { wipe(&keys_, sizeof keys_); }
    Aead(const Aead&) = delete;
    Aead& operator=(const Aead&) = delete;

    /// Writes the ciphertext, as long as `plain`, and the tag. They may take the place of `plain`, but not overlap it in another way.
    void seal(std::span<const std::byte, nonce_size> nonce, std::span<const std::byte> aad, std::span<const std::byte> plain,
              std::byte* cipher_and_tag) const noexcept {
        const AeadCall call{nonce.data(), aad.data(), aad.size(), plain.data(), plain.size(), cipher_and_tag};
        std::byte* const tag = cipher_and_tag + plain.size();
        switch (path_) {
#if EMDB_CRYPTO_X86
            case Path::aes_vaes: return aes_gcm_vaes_seal(keys_.aes, call, tag);
            case Path::aes_ni: return aes_gcm_ni_seal(keys_.aes, call, tag);
#elif EMDB_CRYPTO_ARM64
            case Path::aes_arm: return aes_gcm_arm_seal(keys_.aes, call, tag);
#endif
            case Path::aes_portable: return aes_gcm_portable_seal(keys_.aes_portable, call, tag);
            case Path::chacha20: return chacha20_poly1305_seal(chacha20_path_, keys_.chacha20, call, tag);
        }
    }

    /// False if nonce, associated data, ciphertext and tag are not together what one call of seal had and made under this key; `plain`
    /// is then left as it was, for nothing is decrypted before the tag is known to be right. `plain` may be where the ciphertext is,
    /// but must not overlap it in another way.
    [[nodiscard]] bool open(std::span<const std::byte, nonce_size> nonce, std::span<const std::byte> aad,
                            std::span<const std::byte> cipher_and_tag, std::byte* plain) const noexcept {
        if (cipher_and_tag.size() < tag_size) return false;
        const std::size_t size = cipher_and_tag.size() - tag_size;
        const AeadCall call{nonce.data(), aad.data(), aad.size(), cipher_and_tag.data(), size, plain};
        const std::byte* const tag = cipher_and_tag.data() + size;
        switch (path_) {
#if EMDB_CRYPTO_X86
            case Path::aes_vaes: return aes_gcm_vaes_open(keys_.aes, call, tag);
            case Path::aes_ni: return aes_gcm_ni_open(keys_.aes, call, tag);
#elif EMDB_CRYPTO_ARM64
            case Path::aes_arm: return aes_gcm_arm_open(keys_.aes, call, tag);
#endif
            case Path::aes_portable: return aes_gcm_portable_open(keys_.aes_portable, call, tag);
            case Path::chacha20: return chacha20_poly1305_open(chacha20_path_, keys_.chacha20, call, tag);
        }
        return false;
    }

private:
    enum class Path : std::uint8_t {
#if EMDB_CRYPTO_X86
        aes_vaes,
        aes_ni,
#elif EMDB_CRYPTO_ARM64
        aes_arm,
#endif
        aes_portable,
        chacha20
    };

    static Path best_aes_path(CpuFeatures features) noexcept {
#if EMDB_CRYPTO_X86
        if (features.has(vaes_features)) return Path::aes_vaes;
        if (features.has(aes_ni_features)) return Path::aes_ni;
#elif EMDB_CRYPTO_ARM64
        if (features.has(aes_arm_features)) return Path::aes_arm;
#endif
        (void)features;
        return Path::aes_portable;
    }

    union Keys {
        AesGcmKey aes;
        AesGcmPortableKey aes_portable;
        std::byte chacha20[key_size];
    };

    Keys keys_;
    Path path_;
    ChaCha20Path chacha20_path_ = ChaCha20Path::portable;
};

}  // namespace emdb::detail
