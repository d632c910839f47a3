#pragma once
// The part of the example that has nothing to do with emdb: finding text files, hashing them, cutting them into words.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace text_files {

constexpr std::size_t word_length_min = 3;
constexpr std::size_t word_length_max = 40;
constexpr std::uint64_t indexed_bytes_max = 1 << 20;  // words come from a file's first MiB; its hash covers all of it

// FNV-1a, 64 bits: simple, and good enough to notice that a file changed.
constexpr std::uint64_t hash_start = 0xcbf29ce484222325U;
inline std::uint64_t hash_more(std::uint64_t hash, std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    return hash;
}

// Cuts text that arrives in pieces into lower-case words of letters, digits, '_' and anything beyond ASCII. Numbers are not
// words.
class WordSplitter {
public:
    template <class F>
    void feed(std::string_view text, F&& found) {
        for (const char c : text) {
            const bool digit = c >= '0' && c <= '9';
            const bool upper = c >= 'A' && c <= 'Z';
            if (!digit && !upper && !(c >= 'a' && c <= 'z') && c != '_' && static_cast<unsigned char>(c) < 0x80) {
                finish(found);
            } else if (word_.size() <= word_length_max) {
                word_.push_back(upper ? static_cast<char>(c - 'A' + 'a') : c);
                has_letter_ |= !digit;
            }
        }
    }
    template <class F>
    void finish(F&& found) {
        if (has_letter_ && word_.size() >= word_length_min && word_.size() <= word_length_max) found(word_);
        word_.clear();
        has_letter_ = false;
    }

private:
    std::string word_;
    bool has_letter_ = false;
};

// Regular files below `root`, in the same order on every run, without those whose name starts with that of `database`.
// Folders that can't be read are left out, links are not followed.
inline std::vector<std::filesystem::path> list(const std::filesystem::path& root, const std::filesystem::path& database) {
    namespace fs = std::filesystem;
    const std::vector<fs::path> skipped{".git", ".hg", ".svn", "build", "node_modules", "target", "__pycache__"};
    std::vector<fs::path> files;
    std::vector<fs::path> folders{root};
    while (!folders.empty()) {
        const fs::path folder = std::move(folders.back());
        folders.pop_back();
        std::error_code error;
        for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
            std::error_code ignored;  // an entry whose type can't be told has neither of the types below
            const fs::file_status status = entry->symlink_status(ignored);
            const fs::path name = entry->path().filename();
            if (fs::is_directory(status)) {
                if (std::find(skipped.begin(), skipped.end(), name) == skipped.end()) folders.push_back(entry->path());
            } else if (fs::is_regular_file(status) && !name.native().starts_with(database.filename().native())) {
                files.push_back(entry->path());
            }
        }
    }
    std::sort(files.begin(), files.end());
    return files;
}

struct Text {
    std::uint64_t size = 0;
    std::uint64_t hash = hash_start;
    std::unordered_set<std::string> words;  // distinct ones
};

// False: the file is binary or can't be read. Constant memory, however large the file; one that grows meanwhile is read up to
// the size that it had at first.
inline bool read(const std::filesystem::path& path, Text& text) {
    std::error_code error;
    text.size = std::filesystem::file_size(path, error);
    std::ifstream in(path, std::ios::binary);
    if (error || !in) return false;
    static char buffer[64 * 1024];
    WordSplitter splitter;
    const auto remember = [&](const std::string& word) { text.words.insert(word); };
    for (std::uint64_t done = 0; done < text.size;) {
        in.read(buffer, static_cast<std::streamsize>(std::min<std::uint64_t>(sizeof buffer, text.size - done)));
        const std::string_view piece(buffer, static_cast<std::size_t>(in.gcount()));
        const bool binary = done == 0 && piece.find('\0') != std::string_view::npos;
        if (piece.empty() || binary) return false;
        text.hash = hash_more(text.hash, piece);
        if (done < indexed_bytes_max) splitter.feed(piece, remember);
        done += piece.size();
    }
    splitter.finish(remember);
    return true;
}

}  // namespace text_files
