#pragma once
// AES-256-GCM by the cryptographic extensions of ARMv8: eight blocks at a time, as aes_gcm_x86.hpp otherwise.

#include "crypto/targets.hpp"

#if EMDB_CRYPTO_ARM64

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/coding.hpp"
#include "crypto/aead_call.hpp"
#include "crypto/aes_gcm_key.hpp"
#include "crypto/ghash_portable.hpp"
#include "crypto/wipe.hpp"

namespace emdb::detail {

// As assembly, because Clang's <arm_neon.h> only has these where the whole program is compiled for them.
/// SubBytes and ShiftRows of the block with the key added, and MixColumns.
EMDB_AES_ARM_INLINE uint8x16_t arm_aes_round(uint8x16_t block, uint8x16_t key) noexcept {
    __asm__("aese %0.16b, %1.16b\n\taesmc %0.16b, %0.16b" : "+w"(block) : "w"(key));
    return block;
}
/// Without MixColumns.
EMDB_AES_ARM_INLINE uint8x16_t arm_aes_last_round(uint8x16_t block, uint8x16_t key) noexcept {
    __asm__("aese %0.16b, %1.16b" : "+w"(block) : "w"(key));
    return block;
}
/// The products without carries of the lower and of the upper halves.
EMDB_AES_ARM_INLINE uint64x2_t arm_product_low(uint64x2_t a, uint64x2_t b) noexcept {
    uint64x2_t product;
    __asm__("pmull %0.1q, %1.1d, %2.1d" : "=w"(product) : "w"(a), "w"(b));
    return product;
}
EMDB_AES_ARM_INLINE uint64x2_t arm_product_high(uint64x2_t a, uint64x2_t b) noexcept {
    uint64x2_t product;
    __asm__("pmull2 %0.1q, %1.2d, %2.2d" : "=w"(product) : "w"(a), "w"(b));
    return product;
}
EMDB_AES_ARM_INLINE uint64x2_t arm_halves_swapped(uint64x2_t value) noexcept { return vextq_u64(value, value, 1); }

EMDB_AES_ARM_INLINE uint8x16_t arm_load(const std::byte* from) noexcept { return vld1q_u8(reinterpret_cast<const std::uint8_t*>(from)); }
EMDB_AES_ARM_INLINE void arm_store(std::byte* to, uint8x16_t value) noexcept { vst1q_u8(reinterpret_cast<std::uint8_t*>(to), value); }
EMDB_AES_ARM_INLINE uint64x2_t arm_reversed(uint8x16_t block) noexcept {
    return arm_halves_swapped(vreinterpretq_u64_u8(vrev64q_u8(block)));
}

/// One call of seal or open.
class AesGcmArm {
public:
    EMDB_AES_ARM_INLINE AesGcmArm(const AesGcmKey& key, const AeadCall& call) noexcept : key_(key), call_(call) {
        std::memcpy(counter_block_, call.nonce, aead_nonce_size);
    }

    EMDB_AES_ARM_INLINE uint8x16_t seal() noexcept {
        begin_hash();
        text<true, true>();
        return tag();
    }
    EMDB_AES_ARM_INLINE uint8x16_t tag_of_input() noexcept {
        begin_hash();
        text<false, true>();
        return tag();
    }
    EMDB_AES_ARM_INLINE void crypt() noexcept { text<true, false>(); }

private:
    static constexpr std::size_t batch_size = 16 * AesGcmKey::batch_blocks;

    EMDB_AES_ARM_INLINE void begin_hash() noexcept {
        clear_products();
        carried_ = vdupq_n_u64(0);
        const std::size_t blocks = (call_.aad_size + 15) / 16 + (call_.size + 15) / 16 + 1;
        if (blocks <= AesGcmKey::powers_max) {
            absorb(call_.aad, call_.aad_size, key_.powers_from(blocks));
            return;
        }
        const std::byte* at = call_.aad;
        for (std::size_t left = call_.aad_size; left != 0;) {
            const std::size_t now = std::min(left, batch_size);
            absorb(at, now, key_.powers_from((now + 15) / 16));
            reduce();
            at += now;
            left -= now;
        }
    }

    EMDB_AES_ARM_INLINE void absorb(const std::byte* data, std::size_t size, const std::byte* powers) noexcept {
        for (; size >= 16; data += 16, size -= 16, powers += 16) hash(arm_load(data), powers);
        if (size != 0) hash(load_partial(data, size), powers);
    }

    /// Goes through the text: encrypts or decrypts it, adds the result (or the input, if it only hashes) to the hash, or both.
    template <bool crypts, bool hashes>
    EMDB_AES_ARM_INLINE void text() noexcept {
        const std::byte* in = call_.in;
        std::byte* out = call_.out;
        std::size_t left = call_.size;
        counter_ = 2;
        while (left >= batch_size) {
            const std::byte* powers = key_.powers_from(AesGcmKey::batch_blocks);
            for (std::size_t i = 0; i < batch_size; i += 128) eight_blocks<crypts, hashes>(in + i, out + i, powers + i);
            if constexpr (hashes) reduce();
            left -= batch_size;
            in += batch_size;
            out += batch_size;
        }
        const std::byte* powers = key_.powers_from((left + 15) / 16 + 1);
        for (; left >= 128; left -= 128, in += 128, out += 128, powers += 128) eight_blocks<crypts, hashes>(in, out, powers);
        uint8x16_t stream[4];
        for (std::size_t i = 0; left != 0; i = (i + 1) % 4, in += 16, out += 16, powers += 16) {
            if constexpr (crypts) {
                if (i == 0) encrypt_counters<4>(stream);
            }
            const std::size_t now = std::min(left, aes_block_size);
            uint8x16_t block = now == aes_block_size ? arm_load(in) : load_partial(in, now);
            if constexpr (crypts) {
                block = veorq_u8(block, stream[i]);
                if (now == aes_block_size) {
                    arm_store(out, block);
                } else {
                    block = store_partial(out, block, now);
                }
            }
            if constexpr (hashes) hash(block, powers);
            left -= now;
        }
    }

    template <bool crypts, bool hashes>
    EMDB_AES_ARM_INLINE void eight_blocks(const std::byte* in, std::byte* out, const std::byte* powers) noexcept {
        uint8x16_t block[8];
        if constexpr (crypts) encrypt_counters<8>(block);
        EMDB_UNROLL
        for (std::size_t i = 0; i < 8; ++i) {
            if constexpr (crypts) {
                block[i] = veorq_u8(block[i], arm_load(in + 16 * i));
                arm_store(out + 16 * i, block[i]);
            } else {
                block[i] = arm_load(in + 16 * i);
            }
            if constexpr (hashes) hash(block[i], powers + 16 * i);
        }
    }

    template <std::size_t count>
    EMDB_AES_ARM_INLINE void encrypt_counters(uint8x16_t* blocks) noexcept {
        EMDB_UNROLL
        for (std::size_t i = 0; i < count; ++i) {
            store_le(counter_block_ + aead_nonce_size, static_cast<std::uint32_t>(reverse_bytes(counter_++) >> 32));
            blocks[i] = arm_load(counter_block_);
        }
        EMDB_UNROLL
        for (std::size_t round = 0; round + 1 < aes256_rounds; ++round) {
            const uint8x16_t round_key = arm_load(key_.round_keys[round]);
            EMDB_UNROLL
            for (std::size_t i = 0; i < count; ++i) blocks[i] = arm_aes_round(blocks[i], round_key);
        }
        const uint8x16_t next_to_last = arm_load(key_.round_keys[aes256_rounds - 1]);
        const uint8x16_t last = arm_load(key_.round_keys[aes256_rounds]);
        EMDB_UNROLL
        for (std::size_t i = 0; i < count; ++i) blocks[i] = veorq_u8(arm_aes_last_round(blocks[i], next_to_last), last);
    }

    EMDB_AES_ARM_INLINE void hash(uint8x16_t block, const std::byte* power) noexcept { add_product(arm_reversed(block), power); }
    EMDB_AES_ARM_INLINE void add_product(uint64x2_t block, const std::byte* power) noexcept {
        block = veorq_u64(block, carried_);
        carried_ = vdupq_n_u64(0);
        const uint64x2_t factor = vreinterpretq_u64_u8(arm_load(power));
        const uint64x2_t swapped = arm_halves_swapped(factor);
        low_ = veorq_u64(low_, arm_product_low(block, factor));
        high_ = veorq_u64(high_, arm_product_high(block, factor));
        middle_ = veorq_u64(middle_, veorq_u64(arm_product_low(block, swapped), arm_product_high(block, swapped)));
    }
    EMDB_AES_ARM_INLINE void clear_products() noexcept { low_ = middle_ = high_ = vdupq_n_u64(0); }
    /// As ghash_multiply ends. Clearing the lowest word moves it, too, two words up, where swapping the halves puts it.
    EMDB_AES_ARM_INLINE uint64x2_t reduced() const noexcept {
        const uint64x2_t zero = vdupq_n_u64(0);
        const uint64x2_t folding = vdupq_n_u64(ghash_folding);
        uint64x2_t lower = veorq_u64(low_, vextq_u64(zero, middle_, 1));
        lower = veorq_u64(arm_halves_swapped(lower), arm_product_low(lower, folding));
        lower = veorq_u64(arm_halves_swapped(lower), arm_product_low(lower, folding));
        return veorq_u64(veorq_u64(high_, vextq_u64(middle_, zero, 1)), lower);
    }
    /// What was added up so far joins the block that comes next.
    EMDB_AES_ARM_INLINE void reduce() noexcept {
        carried_ = reduced();
        clear_products();
    }

    EMDB_AES_ARM_INLINE uint8x16_t tag() noexcept {
        const GhashElement lengths = ghash_lengths(call_.aad_size, call_.size);
        add_product(vcombine_u64(vcreate_u64(lengths.low), vcreate_u64(lengths.high)), key_.powers_from(1));
        uint8x16_t mask;
        counter_ = 1;
        encrypt_counters<1>(&mask);
        return veorq_u8(mask, vreinterpretq_u8_u64(arm_reversed(vreinterpretq_u8_u64(reduced()))));
    }

    EMDB_AES_ARM_INLINE static uint8x16_t load_partial(const std::byte* from, std::size_t size) noexcept {
        std::byte block[aes_block_size] = {};
        std::memcpy(block, from, size);
        return arm_load(block);
    }
    /// Returns the bytes stored, filled up with zeros.
    EMDB_AES_ARM_INLINE static uint8x16_t store_partial(std::byte* to, uint8x16_t value, std::size_t size) noexcept {
        std::byte block[aes_block_size];
        arm_store(block, value);
        std::memcpy(to, block, size);
        std::memset(block + size, 0, sizeof block - size);
        return arm_load(block);
    }

    const AesGcmKey& key_;
    const AeadCall& call_;
    std::byte counter_block_[aes_block_size];  // nonce, and the counter big-endian
    std::uint32_t counter_ = 0;
    uint64x2_t low_, middle_, high_;  // a sum of products that are not reduced yet: 64-bit words 0 and 1, 1 and 2, 2 and 3
    uint64x2_t carried_;
};

EMDB_AES_ARM_TARGET inline void aes_gcm_arm_seal(const AesGcmKey& key, const AeadCall& call, std::byte* tag) noexcept {
    AesGcmArm gcm(key, call);
    arm_store(tag, gcm.seal());
}

/// Nothing is decrypted before the tag is known to be right.
EMDB_AES_ARM_TARGET inline bool aes_gcm_arm_open(const AesGcmKey& key, const AeadCall& call, const std::byte* tag) noexcept {
    AesGcmArm gcm(key, call);
    if (vmaxvq_u8(veorq_u8(gcm.tag_of_input(), arm_load(tag))) != 0) return false;
    gcm.crypt();
    return true;
}

}  // namespace emdb::detail

#endif
