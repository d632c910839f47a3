#pragma once
// AES-256-GCM by VAES and VPCLMULQDQ in 512-bit registers, four blocks (a quad) in each. What is left of the last quad is masked out:
// it is neither read nor written, and counts as zeros in the hash, as padding does.
//
// A record of usual size takes one reduction: the hash is a sum of products with powers of its key, so associated data, ciphertext
// and lengths need not lie side by side to be added up.

#include "crypto/targets.hpp"

#if EMDB_CRYPTO_X86

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "crypto/aead_call.hpp"
#include "crypto/aes_gcm_key.hpp"
#include "crypto/aes_gcm_x86.hpp"
#include "crypto/ghash_portable.hpp"

namespace emdb::detail {

/// A sum of products that are not reduced yet, in four lanes; see GhashProducts.
struct GhashWideProducts {
    __m512i low, middle, high;

    EMDB_VAES_INLINE static GhashWideProducts none() noexcept {
        return {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    }
    EMDB_VAES_INLINE void add(__m512i blocks, const std::byte* powers) noexcept {
        const __m512i power = _mm512_loadu_si512(powers);
        low = _mm512_xor_si512(low, _mm512_clmulepi64_epi128(blocks, power, 0x00));
        high = _mm512_xor_si512(high, _mm512_clmulepi64_epi128(blocks, power, 0x11));
        middle = _mm512_ternarylogic_epi64(middle, _mm512_clmulepi64_epi128(blocks, power, 0x01),
                                           _mm512_clmulepi64_epi128(blocks, power, 0x10), 0x96);
    }
    EMDB_VAES_INLINE __m128i reduced() const noexcept {
        return GhashProducts{lanes_added(low), lanes_added(middle), lanes_added(high)}.reduced();
    }
    EMDB_VAES_INLINE static __m128i lanes_added(__m512i lanes) noexcept {
        // (Masks without effect: the plain intrinsics make GCC 12 warn of its own headers.)
        const __m256i halves =
            _mm256_xor_si256(_mm512_maskz_extracti64x4_epi64(0xF, lanes, 0), _mm512_maskz_extracti64x4_epi64(0xF, lanes, 1));
        return _mm_xor_si128(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
    }
};

/// One call of seal or open.
class AesGcmVaes {
public:
    EMDB_VAES_INLINE AesGcmVaes(const AesGcmKey& key, const AeadCall& call) noexcept : key_(key), call_(call) {
        EMDB_UNROLL
        for (std::size_t i = 0; i <= aes256_rounds; ++i) {
            round_keys_[i] = _mm512_maskz_broadcast_i32x4(0xFFFF, load_128(key.round_keys[i]));
        }
        const __m128i one = _mm_set_epi32(0x01000000, 0, 0, 0);  // the counter, big-endian behind the nonce
        const __m128i first = _mm_or_si128(_mm_maskz_loadu_epi8(0x0FFF, call.nonce), one);
        reversal_ = _mm512_maskz_broadcast_i32x4(0xFFFF, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
        const __m512i nonces = _mm512_shuffle_epi8(_mm512_maskz_broadcast_i32x4(0xFFFF, first), reversal_);
        counters_ = _mm512_add_epi32(nonces, _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1));
        mask_ = _mm_xor_si128(first, load_128(key.round_keys[0]));
        EMDB_UNROLL
        for (std::size_t i = 1; i < aes256_rounds; ++i) mask_ = _mm_aesenc_si128(mask_, load_128(key.round_keys[i]));
        mask_ = _mm_aesenclast_si128(mask_, load_128(key.round_keys[aes256_rounds]));
    }

    EMDB_VAES_INLINE __m128i seal() noexcept {
        begin_hash();
        text<true, true>();
        return tag();
    }
    EMDB_VAES_INLINE __m128i tag_of_input() noexcept {
        begin_hash();
        text<false, true>();
        return tag();
    }
    EMDB_VAES_INLINE void crypt() noexcept { text<true, false>(); }

private:
    static constexpr std::size_t quad_size = 64;
    static constexpr std::size_t batch_blocks = AesGcmKey::batch_blocks;
    static constexpr std::size_t batch_size = 16 * batch_blocks;

    EMDB_VAES_INLINE void begin_hash() noexcept {
        products_ = GhashWideProducts::none();
        carried_ = _mm_setzero_si128();
        const std::size_t blocks = (call_.aad_size + 15) / 16 + (call_.size + 15) / 16 + 1;
        if (call_.aad_size <= quad_size && blocks <= AesGcmKey::powers_max) {
            products_.add(load_reversed(call_.aad, first_bytes(call_.aad_size)), key_.powers_from(blocks));
        } else {
            absorb_long_aad();
        }
    }

    EMDB_VAES_INLINE void absorb_long_aad() noexcept {
        const std::byte* at = call_.aad;
        for (std::size_t left = call_.aad_size; left != 0;) {
            const std::size_t now = std::min(left, batch_size);
            const std::byte* powers = key_.powers_from((now + 15) / 16);
            for (std::size_t done = 0; done < now; done += quad_size, powers += quad_size) {
                hash(load_reversed(at + done, first_bytes(now - done)), powers);
            }
            reduce();
            at += now;
            left -= now;
        }
    }

    /// Goes through the text: encrypts or decrypts it, adds the result (or the input, if it only hashes) to the hash, or both.
    template <bool crypts, bool hashes>
    EMDB_VAES_INLINE void text() noexcept {
        const std::byte* in = call_.in;
        std::byte* out = call_.out;
        std::size_t left = call_.size;
        for (; left >= batch_size; left -= batch_size, in += batch_size, out += batch_size) {
            four_quads<crypts, hashes>(in, out, key_.powers_from(batch_blocks));
            four_quads<crypts, hashes>(in + 4 * quad_size, out + 4 * quad_size, key_.powers_from(batch_blocks / 2));
            if constexpr (hashes) reduce();
        }
        const std::byte* powers = key_.powers_from((left + 15) / 16 + 1);
        if (left >= 4 * quad_size) {
            four_quads<crypts, hashes>(in, out, powers);
            left -= 4 * quad_size;
            in += 4 * quad_size;
            out += 4 * quad_size;
            powers += 4 * quad_size;
        }
        for (; left >= quad_size; left -= quad_size, in += quad_size, out += quad_size, powers += quad_size) {
            __m512i quad = _mm512_loadu_si512(in);
            if constexpr (crypts) {
                quad = _mm512_xor_si512(quad, next_stream());
                _mm512_storeu_si512(out, quad);
            }
            if constexpr (hashes) hash(_mm512_shuffle_epi8(quad, reversal_), powers);
        }
        if (left != 0) {
            const __mmask64 wanted = first_bytes(left);
            __m512i quad = _mm512_maskz_loadu_epi8(wanted, in);
            if constexpr (crypts) {
                quad = _mm512_maskz_mov_epi8(wanted, _mm512_xor_si512(quad, next_stream()));
                _mm512_mask_storeu_epi8(out, wanted, quad);
            }
            if constexpr (hashes) hash(_mm512_shuffle_epi8(quad, reversal_), powers);
        }
    }

    template <bool crypts, bool hashes>
    EMDB_VAES_INLINE void four_quads(const std::byte* in, std::byte* out, const std::byte* powers) noexcept {
        __m512i quads[4];
        EMDB_UNROLL
        for (std::size_t i = 0; i < 4; ++i) quads[i] = _mm512_loadu_si512(in + quad_size * i);
        if constexpr (crypts) {
            __m512i stream[4];
            EMDB_UNROLL
            for (std::size_t i = 0; i < 4; ++i) stream[i] = next_counters();
            EMDB_UNROLL
            for (std::size_t round = 1; round < aes256_rounds; ++round) {
                EMDB_UNROLL
                for (std::size_t i = 0; i < 4; ++i) stream[i] = _mm512_aesenc_epi128(stream[i], round_keys_[round]);
            }
            EMDB_UNROLL
            for (std::size_t i = 0; i < 4; ++i) {
                quads[i] = _mm512_xor_si512(quads[i], _mm512_aesenclast_epi128(stream[i], round_keys_[aes256_rounds]));
                _mm512_storeu_si512(out + quad_size * i, quads[i]);
            }
        }
        if constexpr (hashes) {
            EMDB_UNROLL
            for (std::size_t i = 0; i < 4; ++i) hash(_mm512_shuffle_epi8(quads[i], reversal_), powers + quad_size * i);
        }
    }

    EMDB_VAES_INLINE __m512i next_counters() noexcept {
        const __m512i blocks = _mm512_xor_si512(_mm512_shuffle_epi8(counters_, reversal_), round_keys_[0]);
        counters_ = _mm512_add_epi32(counters_, _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4));
        return blocks;
    }
    EMDB_VAES_INLINE __m512i next_stream() noexcept {
        __m512i blocks = next_counters();
        EMDB_UNROLL
        for (std::size_t round = 1; round < aes256_rounds; ++round) blocks = _mm512_aesenc_epi128(blocks, round_keys_[round]);
        return _mm512_aesenclast_epi128(blocks, round_keys_[aes256_rounds]);
    }

    EMDB_VAES_INLINE void hash(__m512i reversed_quad, const std::byte* powers) noexcept {
        products_.add(_mm512_xor_si512(reversed_quad, _mm512_zextsi128_si512(carried_)), powers);
        carried_ = _mm_setzero_si128();
    }
    /// What was added up so far joins the block that comes next.
    EMDB_VAES_INLINE void reduce() noexcept {
        carried_ = products_.reduced();
        products_ = GhashWideProducts::none();
    }

    EMDB_VAES_INLINE __m128i tag() noexcept {
        const GhashElement lengths = ghash_lengths(call_.aad_size, call_.size);
        const __m128i end = _mm_set_epi64x(static_cast<long long>(lengths.high), static_cast<long long>(lengths.low));
        hash(_mm512_zextsi128_si512(end), key_.powers_from(1));
        return _mm_xor_si128(mask_, reversed_128(products_.reduced()));
    }

    EMDB_VAES_INLINE static __mmask64 first_bytes(std::size_t count) noexcept {
        return count >= quad_size ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
    }
    EMDB_VAES_INLINE __m512i load_reversed(const std::byte* from, __mmask64 wanted) const noexcept {
        return _mm512_shuffle_epi8(_mm512_maskz_loadu_epi8(wanted, from), reversal_);
    }

    const AesGcmKey& key_;
    const AeadCall& call_;
    __m512i round_keys_[aes256_rounds + 1];
    __m512i reversal_;  // of the bytes of each block
    __m512i counters_;  // the next four, their bytes reversed
    __m128i mask_;      // of the tag
    GhashWideProducts products_;
    __m128i carried_;
};

EMDB_VAES_TARGET inline void aes_gcm_vaes_seal(const AesGcmKey& key, const AeadCall& call, std::byte* tag) noexcept {
    AesGcmVaes gcm(key, call);
    store_128(tag, gcm.seal());
}

/// Nothing is decrypted before the tag is known to be right. (The processor works ahead, so it costs a short record no time.)
EMDB_VAES_TARGET inline bool aes_gcm_vaes_open(const AesGcmKey& key, const AeadCall& call, const std::byte* tag) noexcept {
    AesGcmVaes gcm(key, call);
    const __m128i difference = _mm_xor_si128(gcm.tag_of_input(), load_128(tag));
    if (_mm_testz_si128(difference, difference) == 0) return false;
    gcm.crypt();
    return true;
}

}  // namespace emdb::detail

#endif
