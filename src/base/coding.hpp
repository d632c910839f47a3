#pragma once
// How integers lie on disk: little-endian, fixed width or LEB128 varints. Nothing else may turn memory into file bytes.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace emdb::detail {

template <class Unsigned>
inline Unsigned from_little_endian(Unsigned value) noexcept {
    if constexpr (std::endian::native == std::endian::little) {
        return value;
    } else {
        Unsigned swapped = 0;
        for (std::size_t i = 0; i < sizeof(Unsigned); ++i) {
            swapped = static_cast<Unsigned>((swapped << 8) | ((value >> (8 * i)) & 0xFF));
        }
        return swapped;
    }
}

template <class Unsigned>
inline Unsigned load_le(const std::byte* from) noexcept {
    Unsigned value;
    std::memcpy(&value, from, sizeof value);
    return from_little_endian(value);
}

/// Eight bytes as a number that orders as they do. For comparing only: nothing on disk is big-endian.
inline std::uint64_t load_be64(const std::byte* from) noexcept {
    std::uint64_t value;
    std::memcpy(&value, from, sizeof value);
    if constexpr (std::endian::native == std::endian::little) value = __builtin_bswap64(value);
    return value;
}

template <class Unsigned>
inline void store_le(std::byte* to, Unsigned value) noexcept {
    value = from_little_endian(value);
    std::memcpy(to, &value, sizeof value);
}

inline std::size_t varint_size(std::uint64_t value) noexcept {
    return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7;
}

/// Writes value and returns the byte after it; `to` has room for varint_size(value).
inline std::byte* put_varint(std::byte* to, std::uint64_t value) noexcept {
    while (value >= 0x80) {
        *to++ = static_cast<std::byte>(value | 0x80);
        value >>= 7;
    }
    *to++ = static_cast<std::byte>(value);
    return to;
}

/// Reads a varint from [at, end). Returns the byte after it, or nullptr when it runs past `end`, does not fit 64 bits or
/// is longer than it need be (a value has exactly one encoding).
inline const std::byte* get_varint(const std::byte* at, const std::byte* end, std::uint64_t& value) noexcept {
    std::uint64_t result = 0;
    for (unsigned shift = 0; shift < 64 && at < end; shift += 7) {
        const auto byte = static_cast<std::uint64_t>(*at++);
        if (shift == 63 && byte > 1) return nullptr;
        result |= (byte & 0x7F) << shift;
        if (byte < 0x80) {
            if (byte == 0 && shift != 0) return nullptr;
            value = result;
            return at;
        }
    }
    return nullptr;
}

}  // namespace emdb::detail
