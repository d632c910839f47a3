#pragma once
// JSON lines: one object a line.
//
//   {"key":"name","value":"emdb"}
//   {"namespace":"sessions","key":"token","value":"alice","expires_at":1767225600000}
//   {"key_base64":"/w==","value_base64":"AAEC"}
//   {"namespace":"empty"}
//
// Bytes that are not valid UTF-8 go under the name with _base64 behind it. Without a namespace it is the default keyspace;
// expires_at is in milliseconds since 1970. A line without a key makes sure that there is such a namespace.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "text_input.hpp"

namespace cli {

struct JsonRecord {
    std::optional<std::string> name_space;
    std::optional<std::string> key;
    std::optional<std::string> value;
    std::optional<std::uint64_t> expires_at;
};

/// The text between quotes, with the quotes. `text` is UTF-8.
std::string json_string(std::string_view text);
/// "name":"value", or "name_base64":"..." if the bytes need it.
std::string json_member(std::string_view name, std::string_view bytes);
/// The line without its end.
std::string json_line(const JsonRecord& record);

/// Skips empty lines. False: the input has ended. Malformed lines end the program.
bool read_json_line(TextInput& input, JsonRecord& record);

}  // namespace cli
