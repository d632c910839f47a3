#pragma once
// Poly1305 (RFC 8439, 2.5): a polynomial in r modulo 2^130 - 5, in 64-bit limbs. Clamping leaves r's limbs below 2^60 and the upper one
// divisible by four, so that 5/4 of it is an integer: that is what 2^128 times the upper limb comes back as, and no product overflows.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/coding.hpp"
#include "crypto/wipe.hpp"

namespace emdb::detail {

/// 128 bits, modulo 2^128, for compilers that have no such integer.
struct PortableWide {
    std::uint64_t low;
    std::uint64_t high;

    PortableWide(std::uint64_t value) noexcept : low(value), high(0) {}
    PortableWide(std::uint64_t low_value, std::uint64_t high_value) noexcept : low(low_value), high(high_value) {}
    static PortableWide product(std::uint64_t a, std::uint64_t b) noexcept {
        constexpr std::uint64_t low_bits = 0xFFFFFFFFu;
        const std::uint64_t lowest = (a & low_bits) * (b & low_bits);
        const std::uint64_t first = (a >> 32) * (b & low_bits) + (lowest >> 32);
        const std::uint64_t second = (a & low_bits) * (b >> 32) + (first & low_bits);
        return {second << 32 | (lowest & low_bits), (a >> 32) * (b >> 32) + (first >> 32) + (second >> 32)};
    }
    friend PortableWide operator+(PortableWide a, PortableWide b) noexcept {
        const std::uint64_t sum = a.low + b.low;
        return {sum, a.high + b.high + (sum < a.low ? 1u : 0u)};
    }
};
inline std::uint64_t low_half(PortableWide value) noexcept { return value.low; }
inline std::uint64_t high_half(PortableWide value) noexcept { return value.high; }

#if defined(__SIZEOF_INT128__)
__extension__ typedef unsigned __int128 WideInteger;
inline std::uint64_t low_half(WideInteger value) noexcept { return static_cast<std::uint64_t>(value); }
inline std::uint64_t high_half(WideInteger value) noexcept { return static_cast<std::uint64_t>(value >> 64); }
#else
using WideInteger = PortableWide;
#endif

template <class Wide>
Wide wide_product(std::uint64_t a, std::uint64_t b) noexcept {
    if constexpr (std::is_same_v<Wide, PortableWide>) {
        return PortableWide::product(a, b);
    } else {
        return static_cast<Wide>(a) * b;
    }
}

/// Absorbs a multiple of eight whole blocks into the sum of a Poly1305 with this r; see poly1305_x86.hpp.
using Poly1305Eights = void (*)(std::uint64_t* sum, const std::uint64_t* r, const std::byte* data, std::size_t count) noexcept;

/// One authentication under way; the key is for one message only. Wiped at the end of its life.
template <class Wide>
class BasicPoly1305 {
public:
    static constexpr std::size_t key_size = 32;
    static constexpr std::size_t block_size = 16;

    /// `eights` absorbs what is long enough, if there is such a function.
    explicit BasicPoly1305(const std::byte* key, Poly1305Eights eights = nullptr) noexcept
        : eights_(eights),
          r_{load_le<std::uint64_t>(key) & 0x0FFFFFFC0FFFFFFFu, load_le<std::uint64_t>(key + 8) & 0x0FFFFFFC0FFFFFFCu},
          pad_{load_le<std::uint64_t>(key + 16), load_le<std::uint64_t>(key + 24)} {}
    ~BasicPoly1305() { wipe(this, sizeof *this); }
    BasicPoly1305(const BasicPoly1305&) = delete;
    BasicPoly1305& operator=(const BasicPoly1305&) = delete;

    /// Filled up with zeros to whole blocks, as the AEAD wants it.
    void absorb_padded(const std::byte* data, std::size_t size) noexcept {
        if (eights_ != nullptr && size >= eights_min * block_size) {
            const std::size_t eights = size / (8 * block_size) * 8;
            eights_(sum_, r_, data, eights);
            data += eights * block_size;
            size -= eights * block_size;
        }
        const std::size_t rest = size % block_size;
        absorb_blocks(data, size / block_size, 1);
        if (rest == 0) return;
        std::byte last[block_size] = {};
        std::memcpy(last, data + (size - rest), rest);
        absorb_blocks(last, 1, 1);
    }

    /// `top` is what stands above a block, 1; or 0 for a last block that brings its own.
    void absorb_blocks(const std::byte* data, std::size_t count, std::uint64_t top) noexcept {
        const std::uint64_t r0 = r_[0];
        const std::uint64_t r1 = r_[1];
        const std::uint64_t r1_carried = r1 + (r1 >> 2);
        std::uint64_t h0 = sum_[0];
        std::uint64_t h1 = sum_[1];
        std::uint64_t h2 = sum_[2];
        for (; count != 0; --count, data += block_size) {
            const Wide low = Wide(h0) + load_le<std::uint64_t>(data);
            const Wide high = Wide(h1) + load_le<std::uint64_t>(data + 8) + high_half(low);
            h0 = low_half(low);
            h1 = low_half(high);
            h2 += high_half(high) + top;  // at most 6

            const Wide product0 = wide_product<Wide>(h0, r0) + wide_product<Wide>(h1, r1_carried);
            const Wide product1 =
                wide_product<Wide>(h0, r1) + wide_product<Wide>(h1, r0) + Wide(h2 * r1_carried) + high_half(product0);
            const std::uint64_t product2 = h2 * r0 + high_half(product1);
            // What is at 2^130 and above comes back times five.
            const Wide sum0 = Wide(low_half(product0)) + ((product2 >> 2) + (product2 & ~std::uint64_t{3}));
            const Wide sum1 = Wide(low_half(product1)) + high_half(sum0);
            h0 = low_half(sum0);
            h1 = low_half(sum1);
            h2 = (product2 & 3) + high_half(sum1);
        }
        sum_[0] = h0;
        sum_[1] = h1;
        sum_[2] = h2;
    }

    /// Writes the 16 bytes of the tag.
    void finish(std::byte* tag) noexcept {
        // The sum is below 2 (2^130 - 5): it or the same less 2^130 - 5, chosen without a branch.
        const Wide low = Wide(sum_[0]) + 5;
        const Wide high = Wide(sum_[1]) + high_half(low);
        const std::uint64_t reduced = 0 - ((sum_[2] + high_half(high)) >> 2);  // all ones if it does not fit
        const std::uint64_t h0 = (sum_[0] & ~reduced) | (low_half(low) & reduced);
        const std::uint64_t h1 = (sum_[1] & ~reduced) | (low_half(high) & reduced);
        const Wide tag_low = Wide(h0) + pad_[0];
        store_le(tag, low_half(tag_low));
        store_le(tag + 8, h1 + pad_[1] + high_half(tag_low));
    }

private:
    /// In blocks. Below, making the powers of r costs more than it gains (measured).
    static constexpr std::size_t eights_min = 48;

    Poly1305Eights eights_;
    std::uint64_t r_[2];
    std::uint64_t pad_[2];
    std::uint64_t sum_[3] = {0, 0, 0};
};

using Poly1305 = BasicPoly1305<WideInteger>;

}  // namespace emdb::detail
