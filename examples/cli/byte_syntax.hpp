#pragma once
// How bytes are written as text: hexadecimal, base64 (RFC 4648), and what a key on the command line means.

#include <optional>
#include <string>
#include <string_view>

namespace cli {

std::string to_hex(std::string_view bytes);
/// Nullopt: not pairs of hexadecimal digits.
std::optional<std::string> from_hex(std::string_view text);
/// The value of a hexadecimal digit of either case; -1: it is none.
int hex_digit(char c);

std::string to_base64(std::string_view bytes);
/// Padding may be left out. Nullopt: not base64.
std::optional<std::string> from_base64(std::string_view text);

/// Whether JSON and terminals can show the bytes as they are.
bool is_utf8(std::string_view bytes);

/// What a key (or value, or name) on the command line stands for:
///   0x6b6579        bytes in hexadecimal
///   base64:a2V5     bytes in base64
///   text:0x6b       what follows, whatever it looks like
///   anything else   itself
/// Malformed hexadecimal or base64 ends with Status::usage.
std::string parse_bytes(std::string_view argument);
inline constexpr const char* byte_syntax_help =
    "KEY, VALUE and NAME are text, or bytes as 0x6b6579 (hexadecimal) or base64:a2V5;\n"
    "text:... takes what follows literally, as in text:0x6b.\n";

}  // namespace cli
