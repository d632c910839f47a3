#pragma once
// What goes to stdout: bytes as they are, buffered, and every failed write noticed.

#include <cstdint>
#include <string>
#include <string_view>

namespace cli {

/// Readies stdin and stdout for binary data and broken pipes. Call it first.
void prepare_streams();

/// Throws ReaderGone when nobody reads, and Failure when it can't be written.
void write(std::string_view bytes);
/// What was written has left the program: the last thing a command does with its output.
void flush_output();
bool output_is_terminal();

/// All of stdin.
std::string read_standard_input();

enum class RecordFormat : std::uint8_t {
    raw,   // key, tab, value, newline, as they are: for people, and for data that has neither tabs nor newlines
    hex,   // the same in hexadecimal
    json,  // JSON lines
};
/// "raw", "hex" or "json"; anything else ends with Status::usage.
RecordFormat parse_record_format(std::string_view name);

/// "1 record", "2 records"
std::string counted(std::uint64_t count, const std::string& noun);
/// 1234567 as "1.2 MB".
std::string human_bytes(std::uint64_t bytes);

}  // namespace cli
