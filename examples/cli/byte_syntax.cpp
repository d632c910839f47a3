#include "byte_syntax.hpp"

#include <cstddef>
#include <cstdint>

#include "failure.hpp"

namespace cli {

namespace {

constexpr std::string_view hex_digits = "0123456789abcdef";
constexpr std::string_view base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

unsigned char byte(char c) { return static_cast<unsigned char>(c); }

}  // namespace

std::string to_hex(std::string_view bytes) {
    std::string text;
    text.reserve(2 * bytes.size());
    for (const char c : bytes) {
        text += hex_digits[byte(c) >> 4];
        text += hex_digits[byte(c) & 15];
    }
    return text;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::optional<std::string> from_hex(std::string_view text) {
    if (text.size() % 2 != 0) return std::nullopt;
    std::string bytes;
    bytes.reserve(text.size() / 2);
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const int high = hex_digit(text[i]);
        const int low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0) return std::nullopt;
        bytes += static_cast<char>(high << 4 | low);
    }
    return bytes;
}

std::string to_base64(std::string_view bytes) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t group = 0;
        for (std::size_t j = 0; j < 3; ++j) group = group << 8 | (i + j < bytes.size() ? byte(bytes[i + j]) : 0u);
        for (std::size_t j = 0; j < 4; ++j) {
            text += i + j <= bytes.size() ? base64_digits[group >> (18 - 6 * j) & 63] : '=';
        }
    }
    return text;
}

std::optional<std::string> from_base64(std::string_view text) {
    if (text.size() % 4 == 0) {
        for (int padding = 0; padding < 2 && !text.empty() && text.back() == '='; ++padding) text.remove_suffix(1);
    }
    if (text.size() % 4 == 1) return std::nullopt;
    std::string bytes;
    bytes.reserve(text.size() / 4 * 3 + 2);
    std::uint32_t group = 0;
    unsigned bits = 0;
    for (const char c : text) {
        const std::size_t digit = base64_digits.find(c);
        if (digit == std::string_view::npos) return std::nullopt;
        group = group << 6 | static_cast<std::uint32_t>(digit);
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        bytes += static_cast<char>(group >> bits & 255);
    }
    if ((group & ((1u << bits) - 1)) != 0) return std::nullopt;  // bits that belong to no byte
    return bytes;
}

bool is_utf8(std::string_view bytes) {
    for (std::size_t i = 0; i < bytes.size();) {
        const unsigned char lead = byte(bytes[i]);
        const std::size_t size = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
        if (size == 0 || size > bytes.size() - i) return false;
        for (std::size_t j = 1; j < size; ++j) {
            if ((byte(bytes[i + j]) & 0xC0) != 0x80) return false;
        }
        // Longer than need be, half a surrogate pair, beyond U+10FFFF.
        const unsigned char second = size > 2 ? byte(bytes[i + 1]) : 0;
        if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) || (lead == 0xF0 && second < 0x90) ||
            (lead == 0xF4 && second > 0x8F)) {
            return false;
        }
        i += size;
    }
    return true;
}

std::string parse_bytes(std::string_view argument) {
    const auto starts_with = [&](std::string_view start) { return argument.substr(0, start.size()) == start; };
    std::optional<std::string> bytes;
    const char* what = "";
    if (starts_with("0x")) {
        bytes = from_hex(argument.substr(2));
        what = "pairs of hexadecimal digits";
    } else if (starts_with("base64:")) {
        bytes = from_base64(argument.substr(7));
        what = "base64";
    } else if (starts_with("text:")) {
        return std::string(argument.substr(5));
    } else {
        return std::string(argument);
    }
    if (bytes) return *bytes;
    fail(Status::usage, "'" + std::string(argument) + "' is not " + what + ". Write text:" + std::string(argument) +
                            " if it is meant literally.");
}

}  // namespace cli
