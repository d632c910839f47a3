#pragma once
// ChaCha20-Poly1305, the AEAD of RFC 8439, 2.8: block 0 of the key stream is the key of the tag, the text begins with block 1.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/coding.hpp"
#include "base/cpu.hpp"
#include "crypto/aead_call.hpp"
#include "crypto/chacha20.hpp"
#include "crypto/chacha20_x86.hpp"
#include "crypto/poly1305.hpp"
#include "crypto/poly1305_x86.hpp"
#include "crypto/targets.hpp"
#include "crypto/wipe.hpp"

namespace emdb::detail {

enum class ChaCha20Path : std::uint8_t { portable, rows, avx2, avx512 };

inline ChaCha20Path best_chacha20_path(CpuFeatures features) noexcept {
    // No feature at all: force_cpu_path, or a processor that is none of those below.
    if (features.bits == CpuFeatures::detected) return ChaCha20Path::portable;
#if EMDB_CRYPTO_X86
    if (features.has(avx512_features)) return ChaCha20Path::avx512;
    if (features.has(CpuFeatures::avx2)) return ChaCha20Path::avx2;
#endif
    return EMDB_CHACHA20_ROWS ? ChaCha20Path::rows : ChaCha20Path::portable;
}

inline Poly1305Eights poly1305_eights(ChaCha20Path path) noexcept {
#if EMDB_CRYPTO_X86
    if (path == ChaCha20Path::avx512) return poly1305_avx512;
#endif
    (void)path;
    return nullptr;
}

/// The key stream of one message. It is made in a buffer, as much at a time as the message needs, up to 16 blocks.
class ChaCha20Stream {
public:
    ChaCha20Stream(ChaCha20Path path, const std::byte* key, const AeadCall& call) noexcept
        : state_(key, call.nonce), left_(chacha20_block_size + call.size), path_(path) {
        make_blocks();
        used_ = chacha20_block_size;
    }
    ~ChaCha20Stream() { wipe(buffer_, dirty_); }
    ChaCha20Stream(const ChaCha20Stream&) = delete;
    ChaCha20Stream& operator=(const ChaCha20Stream&) = delete;

    /// Until the next call of apply.
    [[nodiscard]] const std::byte* block_0() const noexcept { return buffer_; }

    /// Encrypts or decrypts the whole message.
    void apply(const std::byte* in, std::size_t size, std::byte* out) noexcept {
        while (size != 0) {
            if (used_ == made_) make_blocks();
            const std::size_t now = std::min(size, made_ - used_);
            xor_bytes(in, buffer_ + used_, now, out);
            used_ += now;
            in += now;
            out += now;
            size -= now;
        }
    }

private:
    static void xor_bytes(const std::byte* in, const std::byte* stream, std::size_t size, std::byte* out) noexcept {
        for (; size >= 64; size -= 64, in += 64, stream += 64, out += 64) {
            EMDB_UNROLL
            for (std::size_t i = 0; i < 64; i += 8) {
                store_le(out + i, load_le<std::uint64_t>(in + i) ^ load_le<std::uint64_t>(stream + i));
            }
        }
        for (; size >= 8; size -= 8, in += 8, stream += 8, out += 8) {
            store_le(out, load_le<std::uint64_t>(in) ^ load_le<std::uint64_t>(stream));
        }
        for (std::size_t i = 0; i < size; ++i) out[i] = in[i] ^ stream[i];
    }

    /// Some of what is left, in whole blocks, and perhaps more than that.
    void make_blocks() noexcept {
        std::size_t blocks = 1;
        switch (path_) {
#if EMDB_CRYPTO_X86
            case ChaCha20Path::avx512:
                blocks = left_ <= 4 * chacha20_block_size ? 4 : left_ <= 8 * chacha20_block_size ? 8 : 16;
                if (blocks == 4) chacha20_avx512<1>(state_, buffer_);
                if (blocks == 8) chacha20_avx512<2>(state_, buffer_);
                if (blocks == 16) chacha20_avx512<4>(state_, buffer_);
                break;
            case ChaCha20Path::avx2:
                blocks = left_ <= 4 * chacha20_block_size ? 4 : 8;
                if (blocks == 4) chacha20_avx2<2>(state_, buffer_);
                if (blocks == 8) chacha20_avx2<4>(state_, buffer_);
                break;
#endif
#if EMDB_CHACHA20_ROWS
            case ChaCha20Path::rows:
                blocks = 4;
                chacha20_rows(state_, buffer_);
                break;
#endif
            default: chacha20_portable(state_, buffer_);
        }
        state_.words[12] += static_cast<std::uint32_t>(blocks);
        made_ = blocks * chacha20_block_size;
        dirty_ = std::max(dirty_, made_);
        left_ -= std::min(left_, made_);
        used_ = 0;
    }

    ChaCha20State state_;
    std::size_t left_;  // bytes of key stream that are still to be made
    std::size_t made_ = 0;
    std::size_t used_ = 0;
    std::size_t dirty_ = 0;
    ChaCha20Path path_;
    alignas(64) std::byte buffer_[chacha20_blocks_max * chacha20_block_size];
};

inline void chacha20_poly1305_tag(Poly1305& authenticator, const AeadCall& call, const std::byte* ciphertext, std::byte* tag) noexcept {
    authenticator.absorb_padded(call.aad, call.aad_size);
    authenticator.absorb_padded(ciphertext, call.size);
    std::byte lengths[Poly1305::block_size];
    store_le(lengths, static_cast<std::uint64_t>(call.aad_size));
    store_le(lengths + 8, static_cast<std::uint64_t>(call.size));
    authenticator.absorb_blocks(lengths, 1, 1);
    authenticator.finish(tag);
}

inline void chacha20_poly1305_seal(ChaCha20Path path, const std::byte* key, const AeadCall& call, std::byte* tag) noexcept {
    ChaCha20Stream stream(path, key, call);
    Poly1305 authenticator(stream.block_0(), poly1305_eights(path));
    stream.apply(call.in, call.size, call.out);
    chacha20_poly1305_tag(authenticator, call, call.out, tag);
}

/// Nothing is decrypted before the tag is known to be right.
inline bool chacha20_poly1305_open(ChaCha20Path path, const std::byte* key, const AeadCall& call, const std::byte* tag) noexcept {
    ChaCha20Stream stream(path, key, call);
    Poly1305 authenticator(stream.block_0(), poly1305_eights(path));
    std::byte expected[aead_tag_size];
    const WipedAtExit wiped(expected);
    chacha20_poly1305_tag(authenticator, call, call.in, expected);
    if (!equal_in_constant_time(expected, tag, aead_tag_size)) return false;
    stream.apply(call.in, call.size, call.out);
    return true;
}

}  // namespace emdb::detail
