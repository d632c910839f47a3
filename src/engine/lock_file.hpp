#pragma once
// The lock file: who has a database open. Information only; the lock that counts is the operating system's on the data file.
//
// Text, one "name value" a line, the first of them "emdb-lock" and the version of this layout. Unknown names are passed over.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/config.hpp"
#include "base/options.hpp"
#include "base/result.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

constexpr std::uint32_t lock_schema_version = 1;

inline std::string lock_file_path(const std::string& path) { return path + ".lock"; }

inline std::string encode_lock_holder(const LockHolder& holder) {
    std::string host;
    for (const char c : holder.hostname) host += c == '\n' || c == '\r' ? ' ' : c;
    return "emdb-lock " + std::to_string(holder.schema_version) + "\npid " + std::to_string(holder.pid) +
           "\nacquired_at_unix_ms " + std::to_string(holder.acquired_at_unix_ms) + "\nversion " + holder.version + "\nhost " +
           host + "\n";
}

/// A number of at most 19 digits at the start of `text`, else 0.
inline std::uint64_t leading_number(std::string_view text) noexcept {
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < text.size() && i < 19 && text[i] >= '0' && text[i] <= '9'; ++i) {
        number = number * 10 + static_cast<std::uint64_t>(text[i] - '0');
    }
    return number;
}

/// Nullopt: not a lock file. Any bytes may be given.
inline std::optional<LockHolder> decode_lock_holder(std::string_view text) {
    LockHolder holder;
    if (text.substr(0, 10) != "emdb-lock ") return std::nullopt;
    while (!text.empty()) {
        const std::size_t line_size = (std::min)(text.find('\n'), text.size());
        const std::string_view line = text.substr(0, line_size);
        text.remove_prefix((std::min)(line_size + 1, text.size()));
        const std::size_t space = line.find(' ');
        if (space == std::string_view::npos) continue;
        const std::string_view name = line.substr(0, space);
        const std::string_view value = line.substr(space + 1);
        if (name == "emdb-lock") holder.schema_version = static_cast<std::uint32_t>(leading_number(value));
        if (name == "pid") holder.pid = static_cast<std::uint32_t>(leading_number(value));
        if (name == "acquired_at_unix_ms") holder.acquired_at_unix_ms = leading_number(value);
        if (name == "version") holder.version = value;
        if (name == "host") holder.hostname = value;
    }
    return holder;
}

inline Result<void> write_lock_file(FileSystem& files, const std::string& path, const LockHolder& holder) {
    const std::string text = encode_lock_holder(holder);
    // Replaced, not overwritten: a reader never sees half of it, and what somebody put there is not followed or truncated.
    const std::string name = lock_file_path(path);
    if (auto removed = files.remove(name); !removed) return removed;
    auto file = files.open(name, OpenMode::create_new);
    if (!file) return std::move(file).error();
    return (*file)->write_at(0, {reinterpret_cast<const std::byte*>(text.data()), text.size()});
}

/// What the lock file says; nullopt if there is none, or none that makes sense.
inline std::optional<LockHolder> read_lock_file(FileSystem& files, const std::string& path) {
    auto file = files.open(lock_file_path(path), OpenMode::read_only);
    if (!file) return std::nullopt;
    std::string text(4096, '\0');
    const auto size = (*file)->read_at(0, {reinterpret_cast<std::byte*>(text.data()), text.size()});
    if (!size) return std::nullopt;
    text.resize(*size);
    return decode_lock_holder(text);
}

}  // namespace emdb::detail
