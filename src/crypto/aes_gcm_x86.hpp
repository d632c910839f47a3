#pragma once
// AES-256-GCM by AES-NI and PCLMULQDQ, eight blocks at a time. VEX-encoded: three operands save the copies, and nothing here makes a
// processor switch between the two encodings.

#include "crypto/targets.hpp"

#if EMDB_CRYPTO_X86

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "crypto/aead_call.hpp"
#include "crypto/aes_gcm_key.hpp"
#include "crypto/ghash_portable.hpp"

namespace emdb::detail {

EMDB_AES_NI_INLINE __m128i load_128(const void* from) noexcept { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
EMDB_AES_NI_INLINE void store_128(void* to, __m128i value) noexcept { _mm_storeu_si128(static_cast<__m128i*>(to), value); }
/// The bytes of a block from last to first.
EMDB_AES_NI_INLINE __m128i reversed_128(__m128i block) noexcept {
    return _mm_shuffle_epi8(block, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

/// A sum of products that are not reduced yet: 64-bit words 0 and 1, 1 and 2, 2 and 3.
struct GhashProducts {
    __m128i low, middle, high;

    EMDB_AES_NI_INLINE static GhashProducts none() noexcept { return {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()}; }
    EMDB_AES_NI_INLINE void add(__m128i block, __m128i power) noexcept {
        low = _mm_xor_si128(low, _mm_clmulepi64_si128(block, power, 0x00));
        high = _mm_xor_si128(high, _mm_clmulepi64_si128(block, power, 0x11));
        middle = _mm_xor_si128(middle, _mm_xor_si128(_mm_clmulepi64_si128(block, power, 0x01), _mm_clmulepi64_si128(block, power, 0x10)));
    }
    /// As ghash_multiply ends. Clearing the lowest word moves it, too, two words up, where swapping the halves puts it.
    EMDB_AES_NI_INLINE __m128i reduced() const noexcept {
        const __m128i folding = _mm_set_epi64x(0, static_cast<long long>(ghash_folding));
        __m128i lower = _mm_xor_si128(low, _mm_slli_si128(middle, 8));
        lower = _mm_xor_si128(_mm_shuffle_epi32(lower, 0x4E), _mm_clmulepi64_si128(lower, folding, 0x00));
        lower = _mm_xor_si128(_mm_shuffle_epi32(lower, 0x4E), _mm_clmulepi64_si128(lower, folding, 0x00));
        return _mm_xor_si128(_mm_xor_si128(high, _mm_srli_si128(middle, 8)), lower);
    }
};

/// One call of seal or open.
class AesGcmNi {
public:
    EMDB_AES_NI_INLINE AesGcmNi(const AesGcmKey& key, const AeadCall& call) noexcept : key_(key), call_(call) {
        std::byte block[aes_block_size] = {};
        std::memcpy(block, call.nonce, aead_nonce_size);
        nonce_ = reversed_128(load_128(block));
    }

    EMDB_AES_NI_INLINE __m128i seal() noexcept {
        begin_hash();
        text<true, true>();
        return tag();
    }
    EMDB_AES_NI_INLINE __m128i tag_of_input() noexcept {
        begin_hash();
        text<false, true>();
        return tag();
    }
    EMDB_AES_NI_INLINE void crypt() noexcept { text<true, false>(); }

private:
    static constexpr std::size_t batch_size = 16 * AesGcmKey::batch_blocks;

    EMDB_AES_NI_INLINE void begin_hash() noexcept {
        products_ = GhashProducts::none();
        carried_ = _mm_setzero_si128();
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

    EMDB_AES_NI_INLINE void absorb(const std::byte* data, std::size_t size, const std::byte* powers) noexcept {
        const bool whole = size >= 16;
        for (; size >= 16; data += 16, size -= 16, powers += 16) hash(load_128(data), powers);
        if (size != 0) hash(load_rest(data, size, whole), powers);
    }

    /// Goes through the text: encrypts or decrypts it, adds the result (or the input, if it only hashes) to the hash, or both.
    template <bool crypts, bool hashes>
    EMDB_AES_NI_INLINE void text() noexcept {
        const std::byte* in = call_.in;
        std::byte* out = call_.out;
        std::size_t left = call_.size;
        counter_ = 2;
        while (left >= batch_size) {
            const std::byte* powers = key_.powers_from(AesGcmKey::batch_blocks);
            for (std::size_t i = 0; i < batch_size; i += 128) blocks<8, crypts, hashes>(in + i, out + i, powers + i);
            if constexpr (hashes) reduce();
            left -= batch_size;
            in += batch_size;
            out += batch_size;
        }
        const std::byte* powers = key_.powers_from((left + 15) / 16 + 1);
        for (; left >= 128; left -= 128, in += 128, out += 128, powers += 128) blocks<8, crypts, hashes>(in, out, powers);
        if (left >= 64) {
            blocks<4, crypts, hashes>(in, out, powers);
            left -= 64;
            in += 64;
            out += 64;
            powers += 64;
        }
        if (left == 0) return;
        __m128i stream[4];
        if constexpr (crypts) encrypt_counters<4>(stream);
        for (std::size_t i = 0; left != 0; ++i, in += 16, out += 16, powers += 16) {
            const std::size_t now = std::min(left, aes_block_size);
            __m128i block = now == aes_block_size ? load_128(in) : load_rest(in, now, call_.size >= aes_block_size);
            if constexpr (crypts) {
                block = _mm_xor_si128(block, stream[i]);
                if (now == aes_block_size) {
                    store_128(out, block);
                } else {
                    block = store_rest(out, block, now);
                }
            }
            if constexpr (hashes) hash(block, powers);
            left -= now;
        }
    }

    template <std::size_t count, bool crypts, bool hashes>
    EMDB_AES_NI_INLINE void blocks(const std::byte* in, std::byte* out, const std::byte* powers) noexcept {
        __m128i block[count];
        if constexpr (crypts) encrypt_counters<count>(block);
        EMDB_UNROLL
        for (std::size_t i = 0; i < count; ++i) {
            if constexpr (crypts) {
                block[i] = _mm_xor_si128(block[i], load_128(in + 16 * i));
                store_128(out + 16 * i, block[i]);
            } else {
                block[i] = load_128(in + 16 * i);
            }
            if constexpr (hashes) hash(block[i], powers + 16 * i);
        }
    }

    template <std::size_t count>
    EMDB_AES_NI_INLINE void encrypt_counters(__m128i* blocks) noexcept {
        __m128i round_key = load_128(key_.round_keys[0]);
        EMDB_UNROLL
        for (std::size_t i = 0; i < count; ++i) {
            // Behind the nonce and big-endian: in the reversed block the lowest integer.
            const __m128i counter = _mm_cvtsi32_si128(static_cast<int>(counter_++));
            blocks[i] = _mm_xor_si128(reversed_128(_mm_or_si128(nonce_, counter)), round_key);
        }
        EMDB_UNROLL
        for (std::size_t round = 1; round < aes256_rounds; ++round) {
            round_key = load_128(key_.round_keys[round]);
            EMDB_UNROLL
            for (std::size_t i = 0; i < count; ++i) blocks[i] = _mm_aesenc_si128(blocks[i], round_key);
        }
        round_key = load_128(key_.round_keys[aes256_rounds]);
        EMDB_UNROLL
        for (std::size_t i = 0; i < count; ++i) blocks[i] = _mm_aesenclast_si128(blocks[i], round_key);
    }

    EMDB_AES_NI_INLINE void hash(__m128i block, const std::byte* power) noexcept {
        products_.add(_mm_xor_si128(reversed_128(block), carried_), load_128(power));
        carried_ = _mm_setzero_si128();
    }
    /// What was added up so far joins the block that comes next.
    EMDB_AES_NI_INLINE void reduce() noexcept {
        carried_ = products_.reduced();
        products_ = GhashProducts::none();
    }

    EMDB_AES_NI_INLINE __m128i tag() noexcept {
        const GhashElement lengths = ghash_lengths(call_.aad_size, call_.size);
        const __m128i end = _mm_set_epi64x(static_cast<long long>(lengths.high), static_cast<long long>(lengths.low));
        products_.add(_mm_xor_si128(end, carried_), load_128(key_.powers_from(1)));
        __m128i mask;
        counter_ = 1;
        encrypt_counters<1>(&mask);
        return _mm_xor_si128(mask, reversed_128(products_.reduced()));
    }

    /// The last `size` bytes, fewer than a block, filled up with zeros. `behind_others`: a whole block can be read that ends with them.
    EMDB_AES_NI_INLINE static __m128i load_rest(const std::byte* from, std::size_t size, bool behind_others) noexcept {
        if (behind_others) {
            const __m128i move = _mm_add_epi8(numbers(), _mm_set1_epi8(static_cast<char>(aes_block_size - size)));
            const __m128i past_end = _mm_cmpgt_epi8(move, _mm_set1_epi8(15));  // to all ones, which select a zero
            return _mm_shuffle_epi8(load_128(from + size - aes_block_size), _mm_or_si128(move, past_end));
        }
        std::byte block[aes_block_size] = {};
        std::memcpy(block, from, size);
        return load_128(block);
    }
    /// Returns the bytes stored, filled up with zeros.
    EMDB_AES_NI_INLINE static __m128i store_rest(std::byte* to, __m128i value, std::size_t size) noexcept {
        std::byte block[aes_block_size];
        store_128(block, value);
        std::memcpy(to, block, size);
        return _mm_and_si128(value, _mm_cmpgt_epi8(_mm_set1_epi8(static_cast<char>(size)), numbers()));
    }
    EMDB_AES_NI_INLINE static __m128i numbers() noexcept { return _mm_set_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0); }

    const AesGcmKey& key_;
    const AeadCall& call_;
    __m128i nonce_;  // its bytes reversed
    std::uint32_t counter_ = 0;
    GhashProducts products_;
    __m128i carried_;
};

EMDB_AES_NI_TARGET inline void aes_gcm_ni_seal(const AesGcmKey& key, const AeadCall& call, std::byte* tag) noexcept {
    AesGcmNi gcm(key, call);
    store_128(tag, gcm.seal());
}

/// Nothing is decrypted before the tag is known to be right.
EMDB_AES_NI_TARGET inline bool aes_gcm_ni_open(const AesGcmKey& key, const AeadCall& call, const std::byte* tag) noexcept {
    AesGcmNi gcm(key, call);
    const __m128i difference = _mm_xor_si128(gcm.tag_of_input(), load_128(tag));
    if (_mm_testz_si128(difference, difference) == 0) return false;
    gcm.crypt();
    return true;
}

}  // namespace emdb::detail

#endif
