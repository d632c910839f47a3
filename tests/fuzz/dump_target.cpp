// What the command line imports: dumps and JSON lines. What is read must be the same again after having been written; all else must
// end in a message.

#include "fuzz/fuzzing.hpp"

#include <cstdio>

#include "../../examples/cli/byte_syntax.hpp"
#include "../../examples/cli/dump_format.hpp"
#include "../../examples/cli/failure.hpp"
#include "../../examples/cli/json_lines.hpp"
#include "../../examples/cli/output.hpp"
#include "../../examples/cli/text_input.hpp"
#include "support/temp_folder.hpp"

namespace emdb_fuzz {

namespace dump {

std::string written;

}  // namespace dump

}  // namespace emdb_fuzz

namespace cli {

// Instead of the command line's own, to stdout.
void write(std::string_view bytes) { emdb_fuzz::dump::written += bytes; }

}  // namespace cli

namespace emdb_fuzz {

namespace dump {

struct Section {
    std::string database;
    std::vector<std::pair<std::string, std::string>> records;
    friend bool operator==(const Section&, const Section&) = default;
};

const std::string& input_file(std::string_view text) {
    static const TempFolder folder;
    static const std::string path = folder.file("input");
    std::FILE* const file = std::fopen(path.c_str(), "wb");
    check(file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size(), "the input can't be written");
    std::fclose(file);
    return path;
}

// Nullopt: malformed.
std::optional<std::vector<Section>> read_dump(std::string_view text) {
    cli::TextInput input(input_file(text));
    cli::DumpReader reader(input);
    std::vector<Section> sections;
    try {
        while (reader.next_section()) {
            Section& section = sections.emplace_back();
            section.database = reader.database();
            std::string key;
            std::string value;
            while (reader.next_record(key, value)) section.records.emplace_back(key, value);
        }
    } catch (const cli::Failure& failure) {
        check(failure.status == cli::Status::input && !failure.message.empty(), "a malformed dump is called something else");
        return std::nullopt;
    }
    return sections;
}

std::string write_dump(const std::vector<Section>& sections, bool print) {
    written.clear();
    cli::DumpWriter writer(print, print ? 0 : 4096);
    for (const Section& section : sections) {
        writer.begin_section(section.database);
        for (const auto& [key, value] : section.records) writer.record(key, value);
        writer.end_section();
    }
    return written;
}

std::optional<std::vector<cli::JsonRecord>> read_json(std::string_view text) {
    cli::TextInput input(input_file(text));
    std::vector<cli::JsonRecord> records;
    cli::JsonRecord record;
    try {
        while (cli::read_json_line(input, record)) records.push_back(record);
    } catch (const cli::Failure& failure) {
        check(failure.status == cli::Status::input && !failure.message.empty(), "a malformed line is called something else");
        return std::nullopt;
    }
    return records;
}

bool same(const cli::JsonRecord& a, const cli::JsonRecord& b) {
    return a.name_space == b.name_space && a.key == b.key && a.value == b.value && a.expires_at == b.expires_at;
}

void check_byte_syntax(std::string_view text) {
    check(cli::from_hex(cli::to_hex(text)) == text, "hexadecimal digits do not lead back");
    check(cli::from_base64(cli::to_base64(text)) == text, "base64 does not lead back");
    if (const auto bytes = cli::from_base64(text)) check(cli::from_base64(cli::to_base64(*bytes)) == bytes, "base64 does not lead back");
    if (const auto bytes = cli::from_hex(text)) check(bytes->size() * 2 == text.size(), "hexadecimal digits get lost");
    try {
        cli::parse_bytes(text);
    } catch (const cli::Failure& failure) {
        check(failure.status == cli::Status::usage, "a malformed argument is called something else");
    }
}

}  // namespace dump

void fuzz_dump(Input in) {
    const std::uint8_t what = in.byte() % 4;
    const std::string text(in.rest());
    if (what == 0) return dump::check_byte_syntax(text);
    if (what == 1) {
        const auto records = dump::read_json(text);
        if (!records) return;
        std::string lines;
        for (const cli::JsonRecord& record : *records) lines += cli::json_line(record) + "\n";
        const auto again = dump::read_json(lines);
        check(again && std::equal(records->begin(), records->end(), again->begin(), again->end(), dump::same),
              "JSON lines are not the same after having been written");
        return;
    }
    const auto sections = dump::read_dump(text);
    if (!sections) return;
    for (const auto& section : *sections) {
        for (const char c : section.database) {
            if (static_cast<unsigned char>(c) < ' ') return;  // fits into no dump
        }
    }
    check(dump::read_dump(dump::write_dump(*sections, what == 2)) == sections, "a dump is not the same after having been written");
}

}  // namespace emdb_fuzz
