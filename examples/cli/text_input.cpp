#include "text_input.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "failure.hpp"

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

namespace cli {

TextInput::TextInput(const std::string& path)
    : name_(path == "-" ? "standard input" : path), file_(path == "-" ? stdin : std::fopen(path.c_str(), "rb")) {
    if (file_ == nullptr) fail(Status::failed, "cannot open '" + path + "': " + std::strerror(errno));
    if (file_ == stdin) return;
    std::error_code no_regular_file;
    const auto size = std::filesystem::file_size(path, no_regular_file);
    if (!no_regular_file) total_bytes_ = size;
}

TextInput::~TextInput() {
    if (file_ != stdin) std::fclose(file_);
}

bool TextInput::fill() {
    bytes_before_ += filled_;
    next_ = 0;
    filled_ = 0;
    // Not fread(), which would wait until a pipe has filled the buffer.
#if defined(_WIN32)
    const auto got = _read(_fileno(file_), buffer_, sizeof buffer_);
#else
    ssize_t got = -1;
    do {
        got = ::read(::fileno(file_), buffer_, sizeof buffer_);
    } while (got < 0 && errno == EINTR);
#endif
    if (got < 0) fail(Status::failed, "cannot read " + name_ + ": " + std::strerror(errno));
    filled_ = static_cast<std::size_t>(got);
    return filled_ != 0;
}

bool TextInput::get_line(std::string& line, std::size_t size_max) {
    line.clear();
    if (peek() == end) return false;
    for (int byte = get(); byte != end; byte = get()) {
        if (byte == '\n') return true;
        if (line.size() == size_max) malformed("the line is longer than " + std::to_string(size_max) + " bytes");
        line += static_cast<char>(byte);
    }
    return true;
}

void TextInput::malformed(const std::string& what) const {
    // The line that has just been ended is the one that is meant.
    const bool line_ended = next_ > 0 && buffer_[next_ - 1] == '\n';
    fail(Status::input, name_ + ", line " + std::to_string(line_ - (line_ended && line_ > 1 ? 1 : 0)) + ": " + what);
}

}  // namespace cli
