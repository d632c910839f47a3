#pragma once
// A file or stdin read as text, in bounded memory, knowing the line it is in.

#include <cstdint>
#include <cstdio>
#include <string>

namespace cli {

class TextInput {
public:
    static constexpr int end = -1;

    /// "-": stdin. Fails if the file can't be opened.
    explicit TextInput(const std::string& path);
    TextInput(const TextInput&) = delete;
    TextInput& operator=(const TextInput&) = delete;
    ~TextInput();

    /// The next byte, 0 to 255, or `end`.
    int get() {
        if (next_ == filled_ && !fill()) return end;
        const auto byte = static_cast<unsigned char>(buffer_[next_++]);
        if (byte == '\n') ++line_;
        return byte;
    }
    int peek() { return next_ == filled_ && !fill() ? end : static_cast<unsigned char>(buffer_[next_]); }

    /// The rest of the line, without its end. False: there is no more. Malformed if it has more than `size_max` bytes.
    bool get_line(std::string& line, std::size_t size_max);

    /// Ends with Status::input: "NAME, line N: what".
    [[noreturn]] void malformed(const std::string& what) const;

    std::uint64_t bytes_read() const { return bytes_before_ + next_; }
    /// 0 if it is not known.
    std::uint64_t total_bytes() const { return total_bytes_; }

private:
    bool fill();

    const std::string name_;
    std::FILE* file_;
    std::uint64_t total_bytes_ = 0;
    std::uint64_t bytes_before_ = 0;  // those of earlier buffers
    std::uint64_t line_ = 1;
    std::size_t next_ = 0;
    std::size_t filled_ = 0;
    char buffer_[1 << 16];
};

}  // namespace cli
