#pragma once
// Path: what calls that name a file accept.

#include <concepts>
#include <string>
#include <string_view>
#include <utility>

namespace emdb {

/// The path of a file in UTF-8. Built implicitly from C strings, strings, string views and `std::filesystem::path` (any type
/// with a `u8string()`); `<filesystem>` itself is not needed. Any text is taken here: what can't be opened is the call's error, and a NUL
/// byte its `invalid_argument` (of the builder `invalid_config`).
class Path {
public:
    /// @{
    /// Copies it, or takes over a string that is moved. Null: empty.
    Path(const char* utf8) : utf8_(utf8 == nullptr ? "" : utf8) {}
    Path(std::string utf8) noexcept : utf8_(std::move(utf8)) {}
    Path(std::string_view utf8) : utf8_(utf8) {}
    template <class FilesystemPath>
        requires requires(const FilesystemPath& path) {
            { path.u8string().data() } -> std::convertible_to<const char8_t*>;
        }
    Path(const FilesystemPath& path) {
        const auto text = path.u8string();
        utf8_.assign(reinterpret_cast<const char*>(text.data()), text.size());
    }
    /// @}

    /// As it was given; valid while the Path lives.
    const std::string& utf8() const noexcept { return utf8_; }

private:
    std::string utf8_;
};

}  // namespace emdb
