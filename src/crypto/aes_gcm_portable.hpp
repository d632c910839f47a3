#pragma once
// AES-256-GCM (SP 800-38D) with 96-bit nonces and 128-bit tags, in plain C++ and constant time.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/coding.hpp"
#include "crypto/aead_call.hpp"
#include "crypto/aes_portable.hpp"
#include "crypto/ghash_portable.hpp"
#include "crypto/wipe.hpp"

namespace emdb::detail {

struct AesGcmPortableKey {
    AesPortableKey aes;
    GhashElement h;

    void expand(const std::byte* key) noexcept {
        aes.expand(key);
        std::byte zero_encrypted[aes_block_size];
        const WipedAtExit wiped(zero_encrypted);
        const AesColumns encrypted = aes.encrypt(AesColumns{});
        for (std::size_t i = 0; i < 4; ++i) store_le(zero_encrypted + 4 * i, encrypted[i]);
        h = ghash_key(zero_encrypted);
    }
};

/// The encrypted counters of one message: 1 for the tag, then from 2 on for the text.
class AesPortableStream {
public:
    AesPortableStream(const AesPortableKey& key, const std::byte* nonce) noexcept : key_(key) {
        for (std::size_t i = 0; i < 3; ++i) nonce_[i] = load_le<std::uint32_t>(nonce + 4 * i);
        next_blocks();
        std::memcpy(tag_mask_, bytes_, sizeof tag_mask_);
        used_ = sizeof tag_mask_;
    }
    ~AesPortableStream() {
        wipe(bytes_, sizeof bytes_);
        wipe(tag_mask_, sizeof tag_mask_);
    }
    AesPortableStream(const AesPortableStream&) = delete;
    AesPortableStream& operator=(const AesPortableStream&) = delete;

    [[nodiscard]] const std::byte* tag_mask() const noexcept { return tag_mask_; }

    /// Encrypts or decrypts a whole message.
    void apply(const std::byte* in, std::size_t size, std::byte* out) noexcept {
        while (size != 0) {
            if (used_ == sizeof bytes_) next_blocks();
            const std::size_t now = std::min(size, sizeof bytes_ - used_);
            for (std::size_t i = 0; i < now; ++i) out[i] = in[i] ^ bytes_[used_ + i];
            used_ += now;
            in += now;
            out += now;
            size -= now;
        }
    }

private:
    void next_blocks() noexcept {
        AesColumns blocks;
        for (std::size_t block = 0; block < 4; ++block) {
            for (std::size_t i = 0; i < 3; ++i) blocks[4 * block + i] = nonce_[i];
            blocks[4 * block + 3] = static_cast<std::uint32_t>(reverse_bytes(counter_++) >> 32);
        }
        blocks = key_.encrypt(blocks);
        for (std::size_t i = 0; i < blocks.size(); ++i) store_le(bytes_ + 4 * i, blocks[i]);
        wipe(&blocks, sizeof blocks);
        used_ = 0;
    }

    const AesPortableKey& key_;
    std::uint32_t nonce_[3];
    std::uint32_t counter_ = 1;
    std::size_t used_ = 0;
    std::byte bytes_[4 * aes_block_size];
    std::byte tag_mask_[aead_tag_size];
};

/// Writes the tag of `size` bytes of ciphertext.
inline void aes_gcm_portable_tag(const AesGcmPortableKey& key, const AeadCall& call, const std::byte* ciphertext, const std::byte* mask,
                                 std::byte* tag) noexcept {
    GhashElement sum = ghash_portable({}, key.h, call.aad, call.aad_size);
    sum = ghash_portable(sum, key.h, ciphertext, call.size);
    sum = ghash_multiply(sum ^ ghash_lengths(call.aad_size, call.size), key.h);
    store_ghash_block(tag, sum);
    for (std::size_t i = 0; i < aead_tag_size; ++i) tag[i] ^= mask[i];
}

inline void aes_gcm_portable_seal(const AesGcmPortableKey& key, const AeadCall& call, std::byte* tag) noexcept {
    AesPortableStream stream(key.aes, call.nonce);
    stream.apply(call.in, call.size, call.out);
    aes_gcm_portable_tag(key, call, call.out, stream.tag_mask(), tag);
}

inline bool aes_gcm_portable_open(const AesGcmPortableKey& key, const AeadCall& call, const std::byte* tag) noexcept {
    AesPortableStream stream(key.aes, call.nonce);
    std::byte expected[aead_tag_size];
    const WipedAtExit wiped(expected);
    aes_gcm_portable_tag(key, call, call.in, stream.tag_mask(), expected);
    if (!equal_in_constant_time(expected, tag, aead_tag_size)) return false;
    stream.apply(call.in, call.size, call.out);
    return true;
}

}  // namespace emdb::detail
