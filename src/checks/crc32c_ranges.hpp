#pragma once
// The CRC-32C of any stretch of a file, at a price that does not depend on how long the stretch is. What looks for frames in
// damaged bytes meets lengths that mean nothing, and must not read a gigabyte for each of them.
//
// A state after bytes is linear in the state before them: it is the state that the bytes alone give, plus the state before times
// x^(8 n). With the states Q of all prefixes, the bytes from a to b alone give Q(b) - Q(a) x^(8 (b - a)). Every 256th Q is kept.
// Notation as in crc32c.hpp; plus and minus are both exclusive or.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "checks/crc32c.hpp"

namespace emdb::detail {

/// a * b mod P
constexpr std::uint32_t crc32c_multiply(std::uint32_t a, std::uint32_t b) noexcept {
    constexpr std::uint32_t polynomial_reflected = 0x82F63B78u;
    std::uint32_t product = 0;
    for (int power = 0; power < 32; ++power) {
        product ^= b & (0u - (a >> 31));
        a <<= 1;
        b = (b >> 1) ^ (polynomial_reflected & (0u - (b & 1u)));
    }
    return product;
}

/// powers[k][i] = x^(8 i 256^k) mod P: what moves a state past i 256^k bytes.
using Crc32cBytePowers = std::array<std::array<std::uint32_t, 256>, 5>;

constexpr Crc32cBytePowers make_crc32c_byte_powers() noexcept {
    Crc32cBytePowers powers{};
    std::uint32_t unit = 0x00800000u;  // x^8
    for (auto& digit : powers) {
        digit[0] = 0x80000000u;  // x^0
        for (std::size_t i = 1; i < digit.size(); ++i) digit[i] = crc32c_multiply(digit[i - 1], unit);
        unit = crc32c_multiply(digit[255], unit);
    }
    return powers;
}

/// The state moved past `size` bytes that are all zeros.
inline std::uint32_t crc32c_move_past(std::uint32_t state, std::uint64_t size) noexcept {
    static constexpr Crc32cBytePowers powers = make_crc32c_byte_powers();
    for (std::size_t digit = 0; size != 0; ++digit, size >>= 8) {
        const std::size_t i = size & 0xFF;
        if (i != 0) state = crc32c_multiply(state, powers[digit][i]);
    }
    return state;
}

/// The inverse of crc32c_move_past. The powers of x repeat after 2^31 - 1, since P is x + 1 times a primitive polynomial.
inline std::uint32_t crc32c_move_back(std::uint32_t state, std::uint64_t size) noexcept {
    constexpr std::uint64_t period = (std::uint64_t{1} << 31) - 1;
    return crc32c_move_past(state, period - size % period);
}

/// Not thread-safe. Reads what lies before a place that it is asked about, once; uses at most 32 MiB.
class Crc32cRanges {
public:
    /// `bytes` is the file; nothing before `start` will be asked about.
    Crc32cRanges(const std::byte* bytes, std::uint64_t start, std::uint64_t size)
        : bytes_(bytes), start_(start), block_size_((std::max)(std::uint64_t{256}, std::bit_ceil(size >> 22))), near_(start) {}

    /// crc32c of the bytes from `from` up to `to`, continuing `crc`.
    std::uint32_t crc(std::uint64_t from, std::uint64_t to, std::uint32_t crc) {
        return ~(prefix(to) ^ crc32c_move_past(prefix_near(from) ^ ~crc, to - from));
    }

private:
    std::uint32_t state_after(std::uint64_t from, std::uint64_t to, std::uint32_t state) const noexcept {
        return ~crc32c(bytes_ + from, static_cast<std::size_t>(to - from), ~state);
    }

    // The state after everything from start_ up to `end`, from state 0.
    std::uint32_t prefix(std::uint64_t end) {
        const std::uint64_t block = (end - start_) / block_size_;
        while (prefixes_.size() <= block) {
            const std::uint64_t from = start_ + (prefixes_.size() - 1) * block_size_;
            prefixes_.push_back(state_after(from, from + block_size_, prefixes_.back()));
        }
        return state_after(start_ + block * block_size_, end, prefixes_[static_cast<std::size_t>(block)]);
    }

    // The same for a caller that moves through the file in small steps.
    std::uint32_t prefix_near(std::uint64_t end) {
        near_state_ = end >= near_ && end - near_ < block_size_ ? state_after(near_, end, near_state_) : prefix(end);
        near_ = end;
        return near_state_;
    }

    const std::byte* const bytes_;
    const std::uint64_t start_;
    const std::uint64_t block_size_;
    std::vector<std::uint32_t> prefixes_{0};
    std::uint64_t near_;
    std::uint32_t near_state_ = 0;
};

}  // namespace emdb::detail
