#pragma once
// Bytes: how keys and values are passed in.

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace emdb {

/// A non-owning view of bytes, passed by value. It must not outlive what it views; no emdb call keeps one after it returns.
/// Built implicitly from strings, string views, C strings (without the NUL), and spans, vectors and arrays of
/// `std::byte` or `unsigned char`. Any byte may occur in it; it may be empty. Nothing is copied or allocated, and nothing fails.
class Bytes {
public:
    /// No bytes.
    constexpr Bytes() noexcept = default;
    /// @{
    /// Views what it is built from; a null `const char*` is empty.
    constexpr Bytes(std::string_view text) noexcept : text_(text) {}
    constexpr Bytes(const char* text) noexcept : text_(text == nullptr ? std::string_view() : std::string_view(text)) {}
    Bytes(const std::string& text) noexcept : text_(text) {}
    template <class Byte, std::size_t Extent>
        requires(std::is_same_v<std::remove_const_t<Byte>, std::byte> || std::is_same_v<std::remove_const_t<Byte>, unsigned char>)
    Bytes(std::span<Byte, Extent> bytes) noexcept : Bytes(bytes.data(), bytes.size()) {}
    Bytes(const std::vector<std::byte>& bytes) noexcept : Bytes(bytes.data(), bytes.size()) {}
    Bytes(const std::vector<unsigned char>& bytes) noexcept : Bytes(bytes.data(), bytes.size()) {}
    template <std::size_t N>
    Bytes(const std::array<std::byte, N>& bytes) noexcept : Bytes(bytes.data(), N) {}
    template <std::size_t N>
    Bytes(const std::array<unsigned char, N>& bytes) noexcept : Bytes(bytes.data(), N) {}
    /// @}
    /// `size` bytes from `data` on.
    Bytes(const void* data, std::size_t size) noexcept : text_(static_cast<const char*>(data), size) {}

    /// Where they begin; may be null when there are none.
    const std::byte* data() const noexcept { return reinterpret_cast<const std::byte*>(text_.data()); }
    /// How many there are.
    constexpr std::size_t size() const noexcept { return text_.size(); }
    /// Whether there are none.
    constexpr bool empty() const noexcept { return text_.empty(); }
    /// The same bytes, viewed as characters.
    constexpr std::string_view as_string_view() const noexcept { return text_; }

    /// Byte by byte.
    friend bool operator==(Bytes a, Bytes b) noexcept { return a.text_ == b.text_; }

private:
    std::string_view text_;
};

}  // namespace emdb
