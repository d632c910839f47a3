#pragma once
// Short words for tests that call the os/ contract: results that must be good, and contents as text.
//
// Needs the implementation half of emdb.hpp (EMDB_IMPLEMENTATION defined before its first include).

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace emdb_test {

inline emdb::detail::FileSystem& files() {
    return emdb::detail::native_environment().files();
}

/// The value, or the end of the test with the error's own sentence.
template <class T>
T good(emdb::Result<T> result) {
    const std::string message = result ? "" : result.error().message();
    REQUIRE_MESSAGE(result.has_value(), message);
    return *std::move(result);
}
inline void good(const emdb::Result<void>& result) {
    const std::string message = result ? "" : result.error().message();
    REQUIRE_MESSAGE(result.has_value(), message);
}

inline std::span<const std::byte> bytes(std::string_view text) {
    return std::as_bytes(std::span(text));
}

/// Up to `length` bytes as text.
inline std::string read(emdb::detail::File& file, std::uint64_t offset, std::size_t length) {
    std::string text(length, '?');
    text.resize(good(file.read_at(offset, std::as_writable_bytes(std::span(text)))));
    return text;
}

inline std::string_view view(const emdb::detail::Mapping& mapping, std::size_t offset, std::size_t length) {
    return {reinterpret_cast<const char*>(mapping.data()) + offset, length};
}

}  // namespace emdb_test
