#pragma once
// AES-256-GCM by AES-NI and PCLMULQDQ, eight blocks at a time. VEX-encoded: three operands save the copies, and nothing here makes a
// processor switch between the two encodings.

#include "base/cpu.hpp"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define EMDB_AES_X86 1
#include <immintrin.h>
#define EMDB_AES_NI_TARGET __attribute__((target("avx,aes,pclmul")))
#define EMDB_AES_NI_INLINE EMDB_AES_NI_TARGET __attribute__((always_inline)) inline
#else
#define EMDB_AES_X86 0
#endif

#if EMDB_AES_X86

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "crypto/aes_gcm_key.hpp"
#include "crypto/aes_gcm_portable.hpp"
#include "crypto/unroll.hpp"

namespace emdb::detail {

inline constexpr std::uint32_t aes_ni_features = CpuFeatures::avx | CpuFeatures::aes | CpuFeatures::pclmulqdq;

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

/// One call's counters, its first AES round keys, and the running hash.
class AesGcmNi {
public:
    EMDB_AES_NI_INLINE AesGcmNi(const AesGcmKey& key, const AeadCall& call) noexcept : key_(key), call_(call) {
        std::byte block[aes_block_size] = {};
        std::memcpy(block, call.nonce, aead_nonce_size);
        nonce_reversed_ = reversed_128(load_128(block));  // in which the counter is the lowest integer
    }

    EMDB_AES_NI_INLINE void crypt() noexcept {
        const std::byte* in = call_.in;
        std::byte* out = call_.out;
        std::size_t left = call_.size;
        __m128i stream[8];
        std::uint32_t counter = 2;
        for (; left >= 128; left -= 128, in += 128, out += 128, counter += 8) {
            encrypt_counters<8>(counter, stream);
            EMDB_UNROLL
            for (std::size_t i = 0; i < 8; ++i) store_128(out + 16 * i, _mm_xor_si128(stream[i], load_128(in + 16 * i)));
        }
        if (left >= 64) {
            encrypt_counters<4>(counter, stream);
            EMDB_UNROLL
            for (std::size_t i = 0; i < 4; ++i) store_128(out + 16 * i, _mm_xor_si128(stream[i], load_128(in + 16 * i)));
            left -= 64;
            in += 64;
            out += 64;
            counter += 4;
        }
        if (left == 0) return;
        encrypt_counters<4>(counter, stream);
        std::size_t i = 0;
        for (; left >= 16; left -= 16, in += 16, out += 16, ++i) store_128(out, _mm_xor_si128(stream[i], load_128(in)));
        if (left != 0) store_partial(out, _mm_xor_si128(stream[i], load_partial(in, left)), left);
    }

    /// The tag of the message with this ciphertext.
    EMDB_AES_NI_INLINE __m128i tag(const std::byte* ciphertext) noexcept {
        __m128i mask;
        encrypt_counters<1>(1, &mask);
        const GhashElement lengths = ghash_lengths(call_.aad_size, call_.size);
        sum_ = _mm_setzero_si128();
        absorb(call_.aad, call_.aad_size, nullptr);
        const __m128i end = _mm_set_epi64x(static_cast<long long>(lengths.high), static_cast<long long>(lengths.low));
        absorb(ciphertext, call_.size, &end);
        return _mm_xor_si128(mask, reversed_128(sum_));
    }

private:
    template <std::size_t count>
    EMDB_AES_NI_INLINE void encrypt_counters(std::uint32_t counter, __m128i* blocks) const noexcept {
        __m128i round_key = load_128(key_.round_keys[0]);
        EMDB_UNROLL
        for (std::size_t i = 0; i < count; ++i) {
            const __m128i number = _mm_cvtsi32_si128(static_cast<int>(counter + static_cast<std::uint32_t>(i)));
            blocks[i] = _mm_xor_si128(reversed_128(_mm_or_si128(nonce_reversed_, number)), round_key);
        }
        for (std::size_t round = 1; round < aes256_rounds; ++round) {
            round_key = load_128(key_.round_keys[round]);
            EMDB_UNROLL
            for (std::size_t i = 0; i < count; ++i) blocks[i] = _mm_aesenc_si128(blocks[i], round_key);
        }
        round_key = load_128(key_.round_keys[aes256_rounds]);
        EMDB_UNROLL
        for (std::size_t i = 0; i < count; ++i) blocks[i] = _mm_aesenclast_si128(blocks[i], round_key);
    }

    /// Adds the data, filled up with zeros to whole blocks, and the block `end` if there is one, to the hash.
    EMDB_AES_NI_INLINE void absorb(const std::byte* data, std::size_t size, const __m128i* end) noexcept {
        std::size_t blocks = (size + 15) / 16 + (end != nullptr ? 1 : 0);
        while (blocks != 0) {
            const std::size_t now = std::min(blocks, std::size_t{16});
            const std::byte* power = key_.powers_from(now);
            blocks -= now;
            GhashProducts products = GhashProducts::none();
            for (std::size_t i = 0; i < now; ++i, power += 16) {
                __m128i block;
                if (size >= 16) {
                    block = reversed_128(load_128(data));
                    data += 16;
                    size -= 16;
                } else if (size != 0) {
                    block = reversed_128(load_partial(data, size));
                    size = 0;
                } else {
                    block = *end;
                }
                if (i == 0) block = _mm_xor_si128(block, sum_);
                products.add(block, load_128(power));
            }
            sum_ = products.reduced();
        }
    }

    EMDB_AES_NI_INLINE static __m128i load_partial(const std::byte* from, std::size_t size) noexcept {
        std::byte block[aes_block_size] = {};
        std::memcpy(block, from, size);
        return load_128(block);
    }
    EMDB_AES_NI_INLINE static void store_partial(std::byte* to, __m128i value, std::size_t size) noexcept {
        std::byte block[aes_block_size];
        store_128(block, value);
        std::memcpy(to, block, size);
    }

    const AesGcmKey& key_;
    const AeadCall& call_;
    __m128i nonce_reversed_;
    __m128i sum_;
};

EMDB_AES_NI_TARGET inline void aes_gcm_ni_seal(const AesGcmKey& key, const AeadCall& call, std::byte* tag) noexcept {
    AesGcmNi gcm(key, call);
    gcm.crypt();
    store_128(tag, gcm.tag(call.out));
}

/// Nothing is decrypted before the tag is known to be right.
EMDB_AES_NI_TARGET inline bool aes_gcm_ni_open(const AesGcmKey& key, const AeadCall& call, const std::byte* tag) noexcept {
    AesGcmNi gcm(key, call);
    const __m128i difference = _mm_xor_si128(gcm.tag(call.in), load_128(tag));
    if (_mm_testz_si128(difference, difference) == 0) return false;
    gcm.crypt();
    return true;
}

}  // namespace emdb::detail

#endif
