#include "json_lines.hpp"

#include <charconv>
#include <system_error>
#include <utility>

#include "byte_syntax.hpp"

namespace cli {

namespace {

constexpr std::size_t line_size_max = std::size_t{1} << 30;

/// A flat object of strings and whole numbers.
class LineParser {
public:
    LineParser(const TextInput& input, std::string_view text) : input_(input), text_(text) {}

    JsonRecord record() {
        JsonRecord record;
        skip_blanks();
        expect('{', "an object");
        skip_blanks();
        if (!take('}')) {
            do {
                member(record);
            } while (take(','));
            expect('}', "'}' or ','");
        }
        skip_blanks();
        if (!text_.empty()) input_.malformed("there is something behind the object");
        if (record.key.has_value() != record.value.has_value()) input_.malformed("there is a key or a value, but not both");
        if (!record.key && !record.name_space) input_.malformed("there is neither a key nor a namespace");
        if (record.name_space && record.name_space->empty()) input_.malformed("a namespace has an empty name");
        if (!record.key && record.expires_at) input_.malformed("something expires that has no key");
        return record;
    }

private:
    void member(JsonRecord& record) {
        skip_blanks();
        std::string name = string();
        skip_blanks();
        expect(':', "':'");
        skip_blanks();
        if (name == "expires_at") {
            if (record.expires_at) input_.malformed("'expires_at' is there twice");
            record.expires_at = number();
        } else {
            constexpr std::string_view suffix = "_base64";
            const bool base64 = name.size() > suffix.size() && std::string_view(name).substr(name.size() - suffix.size()) == suffix;
            if (base64) name.resize(name.size() - suffix.size());
            std::optional<std::string>* const field = name == "key"         ? &record.key
                                                      : name == "value"     ? &record.value
                                                      : name == "namespace" ? &record.name_space
                                                                            : nullptr;
            if (field == nullptr) {
                input_.malformed("there is a member other than namespace, key, value (or these with _base64) and expires_at");
            }
            if (*field) input_.malformed("'" + name + "' is there twice");
            *field = base64 ? decoded(string()) : string();
        }
        skip_blanks();
    }

    std::string decoded(const std::string& text) const {
        auto bytes = from_base64(text);
        if (!bytes) input_.malformed("something is not base64");
        return std::move(*bytes);
    }

    std::uint64_t number() {
        std::uint64_t number = 0;
        const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), number);
        if (error != std::errc()) input_.malformed("'expires_at' is not a whole number of milliseconds");
        text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
        return number;
    }

    std::string string() {
        expect('"', "a string");
        std::string bytes;
        for (;;) {
            if (text_.empty()) input_.malformed("a string has no end");
            const char c = text_.front();
            text_.remove_prefix(1);
            if (c == '"') break;
            if (static_cast<unsigned char>(c) < ' ') input_.malformed("a string has a control character that is not escaped");
            if (c == '\\') {
                append_escape(bytes);
            } else {
                bytes += c;
            }
        }
        if (!is_utf8(bytes)) input_.malformed("a string is not valid UTF-8; bytes go under a name with _base64 behind it");
        return bytes;
    }

    void append_escape(std::string& bytes) {
        constexpr std::string_view letters = "\"\\/bfnrt";
        constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
        const char c = text_.empty() ? '\0' : text_.front();
        if (const std::size_t known = letters.find(c); known != std::string_view::npos) {
            text_.remove_prefix(1);
            bytes += meanings[known];
            return;
        }
        std::uint32_t code = code_unit();
        if (code >= 0xDC00 && code < 0xE000) input_.malformed("the second half of a surrogate pair has no first");
        if (code >= 0xD800 && code < 0xDC00) {
            if (text_.empty() || text_.front() != '\\') input_.malformed("the first half of a surrogate pair has no second");
            text_.remove_prefix(1);
            const std::uint32_t second = code_unit();
            if (second < 0xDC00 || second >= 0xE000) input_.malformed("the first half of a surrogate pair has no second");
            code = 0x10000 + ((code - 0xD800) << 10) + (second - 0xDC00);
        }
        append_utf8(bytes, code);
    }

    // uXXXX
    std::uint32_t code_unit() {
        std::uint32_t code = 0;
        bool good = text_.size() >= 5 && text_[0] == 'u';
        for (std::size_t i = 1; good && i < 5; ++i) {
            const int digit = hex_digit(text_[i]);
            good = digit >= 0;
            code = code << 4 | static_cast<std::uint32_t>(digit & 15);
        }
        if (!good) input_.malformed("a string has an escape that JSON does not know");
        text_.remove_prefix(5);
        return code;
    }

    static void append_utf8(std::string& bytes, std::uint32_t code) {
        const auto tail = [&](unsigned shift) { bytes += static_cast<char>(0x80 | (code >> shift & 0x3F)); };
        if (code < 0x80) {
            bytes += static_cast<char>(code);
        } else if (code < 0x800) {
            bytes += static_cast<char>(0xC0 | code >> 6);
            tail(0);
        } else if (code < 0x10000) {
            bytes += static_cast<char>(0xE0 | code >> 12);
            tail(6);
            tail(0);
        } else {
            bytes += static_cast<char>(0xF0 | code >> 18);
            tail(12);
            tail(6);
            tail(0);
        }
    }

    void skip_blanks() {
        while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\t' || text_.front() == '\r')) text_.remove_prefix(1);
    }
    bool take(char c) {
        if (text_.empty() || text_.front() != c) return false;
        text_.remove_prefix(1);
        return true;
    }
    void expect(char c, const char* what) {
        if (!take(c)) input_.malformed(std::string("expected ") + what);
    }

    const TextInput& input_;
    std::string_view text_;
};

}  // namespace

std::string json_string(std::string_view text) {
    std::string quoted = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            quoted += '\\';
            quoted += c;
        } else if (c == '\n') {
            quoted += "\\n";
        } else if (c == '\t') {
            quoted += "\\t";
        } else if (byte < ' ' || byte == 0x7F) {
            quoted += "\\u00" + to_hex({&c, 1});
        } else {
            quoted += c;
        }
    }
    return quoted + '"';
}

std::string json_member(std::string_view name, std::string_view bytes) {
    if (is_utf8(bytes)) return '"' + std::string(name) + "\":" + json_string(bytes);
    return '"' + std::string(name) + "_base64\":\"" + to_base64(bytes) + '"';
}

std::string json_line(const JsonRecord& record) {
    std::string line;
    const auto add = [&line](const std::string& member) { line += (line.empty() ? "" : ",") + member; };
    if (record.name_space) add(json_member("namespace", *record.name_space));
    if (record.key) add(json_member("key", *record.key));
    if (record.value) add(json_member("value", *record.value));
    if (record.expires_at) add("\"expires_at\":" + std::to_string(*record.expires_at));
    return '{' + line + '}';
}

bool read_json_line(TextInput& input, JsonRecord& record) {
    std::string line;
    do {
        if (!input.get_line(line, line_size_max)) return false;
    } while (line.empty() || line == "\r");
    record = LineParser(input, line).record();
    return true;
}

}  // namespace cli
