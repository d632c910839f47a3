#pragma once
// What the accelerated paths of AES-256-GCM keep of a key: the round keys as processors take them, and powers of the hash key, so that
// 32 blocks of GHASH, and the lengths behind the last of them, are multiplied side by side and reduced once.

#include <cstddef>

#include "base/coding.hpp"
#include "crypto/aes_portable.hpp"
#include "crypto/ghash_portable.hpp"

namespace emdb::detail {

struct AesGcmKey {
    static constexpr std::size_t batch_blocks = 32;
    static constexpr std::size_t powers_max = batch_blocks + 1;
    static constexpr std::size_t powers_begin = 3;  // which puts H^32, where batches begin, at a multiple of 64 bytes

    alignas(64) std::byte round_keys[aes256_rounds + 1][aes_block_size];
    /// From powers_begin on H^33, H^32, ... H^1, low half first. Then zeros, because registers of four blocks may reach past the end.
    alignas(64) std::byte powers[powers_begin + powers_max + 3][aes_block_size];

    /// Once a key, so the portable code does: some microseconds.
    void expand(const std::byte* key) noexcept {
        expand_aes256_key(key, round_keys[0]);
        AesPortableKey aes;
        const WipedAtExit wiped(aes);
        aes.expand(key);
        const AesColumns encrypted = aes.encrypt(AesColumns{});
        std::byte zero_encrypted[aes_block_size];
        const WipedAtExit wiped_block(zero_encrypted);
        for (std::size_t i = 0; i < 4; ++i) store_le(zero_encrypted + 4 * i, encrypted[i]);

        const GhashElement h = ghash_key(zero_encrypted);
        GhashElement power = h;
        std::memset(powers, 0, sizeof powers);
        for (std::size_t i = powers_begin + powers_max; i-- != powers_begin;) {
            store_le(powers[i], power.low);
            store_le(powers[i] + 8, power.high);
            power = ghash_multiply(power, h);
        }
    }

    /// Powers to multiply the blocks of a run with: the first by H^exponent, the next by H^(exponent - 1), ...
    [[nodiscard]] const std::byte* powers_from(std::size_t exponent) const noexcept {
        return powers[powers_begin + powers_max - exponent];
    }
};

}  // namespace emdb::detail
