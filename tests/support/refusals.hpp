#pragma once
// What tests of bad input and bad circumstances share: a small database, files to damage, and what a refusal must say and leave alone.

#include <doctest/doctest.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "emdb.hpp"
#include "support/outcome.hpp"
#include "support/temp_folder.hpp"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#endif

namespace emdb_test::refusals {

namespace fs = std::filesystem;
using emdb::Emdb;
using emdb::Error;

inline constexpr std::size_t header_slot_size = 4096;
inline constexpr std::size_t header_size = 2 * header_slot_size;

inline std::string read_file(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void write_file(const fs::path& path, std::string_view bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// Writes into an existing file without touching the rest of it.
inline void overwrite_at(const fs::path& path, std::size_t offset, std::string_view bytes) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file << bytes;
}

inline std::string flipped(std::string bytes) {
    for (char& c : bytes) c = static_cast<char>(~c);
    return bytes;
}

// Every name in a folder with its kind, permissions and content.
inline std::map<std::string, std::string> state_of(const TempFolder& folder) {
    std::map<std::string, std::string> state;
    for (const auto& entry : fs::recursive_directory_iterator(folder.path())) {
        std::string what = std::to_string(static_cast<int>(entry.symlink_status().type())) + " " +
                           std::to_string(static_cast<unsigned>(entry.symlink_status().permissions())) + " ";
        if (entry.is_regular_file()) what += read_file(entry.path());
        state[entry.path().string()] = std::move(what);
    }
    return state;
}

#if defined(_WIN32)
inline std::size_t open_descriptors() {
    DWORD count = 0;
    REQUIRE(GetProcessHandleCount(GetCurrentProcess(), &count));
    return count;
}
#else
inline std::size_t open_descriptors() {
    std::size_t count = 0;
    std::error_code no_such_folder;
    for (auto it = fs::directory_iterator("/proc/self/fd", no_such_folder); it != fs::directory_iterator(); ++it)
        ++count;
    return count;
}
#endif

// A closed database with a few records.
inline void make_database(const std::string& path) {
    auto db = Emdb::open(path).value();
    for (int i = 0; i < 50; ++i) db.insert("key " + std::to_string(i), "value " + std::to_string(i)).value();
}

inline void check_is_intact(const std::string& path) {
    auto db = Emdb::open(path).value();
    CHECK(db.len().value() == 50);
    for (int i = 0; i < 50; ++i) CHECK(db.get("key " + std::to_string(i)).value() == "value " + std::to_string(i));
    db.insert("key 0", "value 0").value();
    db.flush().value();
}

// The sentence names the file and has room left to say what is wrong and what to do.
inline void check_message(const Error& error, const std::string& path) {
    CAPTURE(error.message());
    CHECK(error.message().find(path) != std::string::npos);
    CHECK(error.message().size() > path.size() + 30);
}

inline void check_refused(const TempFolder& folder, const std::string& path, const char* code) {
    CAPTURE(path);
    const auto before = state_of(folder);
    const std::size_t descriptors = open_descriptors();
    for (int i = 0; i < 3; ++i) {
        const auto refused = Emdb::open(path);
        REQUIRE(outcome(refused) == code);
        check_message(refused.error(), path);
    }
    CHECK((state_of(folder) == before));
    CHECK(open_descriptors() == descriptors);
}

}  // namespace emdb_test::refusals
