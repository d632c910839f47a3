#include "dump_format.hpp"

#include "byte_syntax.hpp"
#include "failure.hpp"
#include "output.hpp"

namespace cli {

namespace {

constexpr std::uint64_t key_size_max = (1u << 24) - 1;
constexpr std::uint64_t value_size_max = (std::uint64_t{1} << 32) - 1;
constexpr std::size_t header_line_size_max = 70'000;  // a name of 65,535 bytes and its keyword
constexpr std::string_view data_end = "ATA=END";      // behind the D that ends the data

bool is_printable(char c) { return c >= ' ' && c <= '~'; }

}  // namespace

bool DumpReader::next_section() {
    std::string line;
    do {
        if (!input_.get_line(line, header_line_size_max)) return false;
    } while (line.empty());
    if (line != "VERSION=3") input_.malformed("a dump starts with 'VERSION=3'");
    database_.clear();
    print_ = false;
    for (;;) {
        if (!input_.get_line(line, header_line_size_max)) input_.malformed("the input ends without 'HEADER=END'");
        if (line == "HEADER=END") return true;
        take_header_line(line);
    }
}

void DumpReader::take_header_line(const std::string& line) {
    const std::size_t equals = line.find('=');
    if (equals == std::string::npos) input_.malformed("a line of the header is not 'name=value'");
    const std::string name = line.substr(0, equals);
    const std::string value = line.substr(equals + 1);
    if (name == "format") {
        if (value != "bytevalue" && value != "print") input_.malformed("the format is neither 'bytevalue' nor 'print'");
        print_ = value == "print";
    } else if (name == "database" || name == "subdatabase") {
        if (value.empty()) input_.malformed("the database has an empty name");
        database_ = value;
    } else if (name == "keys" && value == "0") {
        input_.malformed("the dump has no keys");
    } else if ((name == "duplicates" || name == "dupsort") && value == "1") {
        input_.malformed("the database may have several values for a key, of which emdb would keep the last; take this line out if "
                         "that is good enough");
    }
    // Everything else tells the other program how to store it.
}

bool DumpReader::next_record(std::string& key, std::string& value) {
    switch (const int first = input_.get()) {
        case ' ': break;
        case 'D': {
            std::string line;
            input_.get_line(line, data_end.size());
            if (line != data_end) input_.malformed("a line of data starts with a space, and 'DATA=END' ends them");
            return false;
        }
        case TextInput::end: input_.malformed("the input ends without 'DATA=END'");
        default: static_cast<void>(first); input_.malformed("a line of data starts with a space, and 'DATA=END' ends them");
    }
    read_data(key, key_size_max, "key");
    if (input_.get() != ' ') input_.malformed("a key has no value: a line that starts with a space must follow it");
    read_data(value, value_size_max, "value");
    return true;
}

// Up to and with the end of the line.
void DumpReader::read_data(std::string& bytes, std::uint64_t size_max, const char* what) {
    bytes.clear();
    for (;;) {
        int byte = input_.get();
        if (byte == '\n') return;
        if (byte == TextInput::end) input_.malformed("the input ends without 'DATA=END'");
        if (bytes.size() == size_max) {
            input_.malformed(std::string("the ") + what + " is longer than " + std::to_string(size_max) + " bytes");
        }
        if (!print_) {
            byte = hex_byte(byte);
        } else if (byte == '\\') {
            byte = input_.get();
            if (byte != '\\') byte = hex_byte(byte);
        }
        bytes += static_cast<char>(byte);
    }
}

int DumpReader::hex_byte(int first) {
    const int high = first == TextInput::end ? -1 : hex_digit(static_cast<char>(first));
    if (high < 0) input_.malformed("something is not a hexadecimal digit");
    const int second = input_.get();
    if (second == '\n' || second == TextInput::end) input_.malformed("there is an odd number of hexadecimal digits");
    const int low = hex_digit(static_cast<char>(second));
    if (low < 0) input_.malformed("something is not a hexadecimal digit");
    return high << 4 | low;
}

void DumpWriter::begin_section(std::string_view database) {
    for (const char c : database) {
        if (static_cast<unsigned char>(c) < ' ') {
            fail(Status::failed, "the name of namespace 0x" + to_hex(database) + " does not fit into a dump. Use --format json.");
        }
    }
    write(print_ ? "VERSION=3\nformat=print\n" : "VERSION=3\nformat=bytevalue\n");
    if (!database.empty()) write("database=" + std::string(database) + "\n");
    write("type=btree\n");
    if (map_size_ != 0) write("mapsize=" + std::to_string(map_size_) + "\n");
    write("HEADER=END\n");
}

void DumpWriter::record(std::string_view key, std::string_view value) {
    data(key);
    data(value);
}

void DumpWriter::end_section() { write("DATA=END\n"); }

void DumpWriter::data(std::string_view bytes) {
    constexpr std::size_t piece_size = 1 << 16;
    write(" ");
    for (std::size_t at = 0; at < bytes.size(); at += piece_size) {
        const std::string_view piece = bytes.substr(at, piece_size);
        if (!print_) {
            write(to_hex(piece));
            continue;
        }
        line_.clear();
        for (const char c : piece) {
            if (c == '\\') {
                line_ += "\\\\";
            } else if (is_printable(c)) {
                line_ += c;
            } else {
                line_ += '\\';
                line_ += to_hex({&c, 1});
            }
        }
        write(line_);
    }
    write("\n");
}

}  // namespace cli
