// Bytes: everything that a key or a value may be given as.

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "emdb.hpp"

namespace emdb_test {
namespace {

using emdb::Bytes;

// As a function of emdb sees its argument.
std::string seen_as(Bytes bytes) { return std::string(bytes.as_string_view()); }

}  // namespace

TEST_CASE("a string literal is taken without its NUL") {
    CHECK(seen_as("abc") == "abc");
    CHECK(Bytes("abc").size() == 3);
    CHECK(Bytes("").size() == 0);
    CHECK(Bytes("").empty());
    const char* pointer = "abc";
    CHECK(seen_as(pointer) == "abc");
    char buffer[16] = "abc";
    CHECK(seen_as(buffer) == "abc");
}

TEST_CASE("strings and string views are taken whole, embedded NULs included") {
    using namespace std::string_view_literals;
    CHECK(seen_as("a\0b"sv) == "a\0b"sv);
    CHECK(seen_as("\0"sv).size() == 1);
    CHECK(seen_as(std::string("a\0b", 3)) == "a\0b"sv);
    const std::string text = "text";
    CHECK(seen_as(text) == "text");
    CHECK(seen_as(std::string_view(text).substr(1, 2)) == "ex");
    CHECK(seen_as("a\0b") == "a");  // a C string ends at its first NUL
}

TEST_CASE("spans, vectors and arrays of bytes are taken") {
    const std::vector<std::byte> bytes = {std::byte{0}, std::byte{0x7F}, std::byte{0xFF}};
    const std::vector<unsigned char> chars = {0, 0x7F, 0xFF};
    const std::array<std::byte, 3> byte_array = {std::byte{0}, std::byte{0x7F}, std::byte{0xFF}};
    const std::array<unsigned char, 3> char_array = {0, 0x7F, 0xFF};
    const std::string expected("\0\x7F\xFF", 3);

    CHECK(seen_as(bytes) == expected);
    CHECK(seen_as(chars) == expected);
    CHECK(seen_as(byte_array) == expected);
    CHECK(seen_as(char_array) == expected);
    CHECK(seen_as(std::span<const std::byte>(bytes)) == expected);
    CHECK(seen_as(std::span<const unsigned char>(chars)) == expected);
    CHECK(seen_as(std::span<const std::byte>(bytes).subspan(1)) == expected.substr(1));
    CHECK(seen_as(std::vector<std::byte>()).empty());
    CHECK(seen_as(std::array<std::byte, 0>()).empty());
    CHECK(seen_as(Bytes(bytes.data(), 2)) == expected.substr(0, 2));
}

TEST_CASE("all these conversions are implicit") {
    static_assert(std::is_convertible_v<std::string_view, Bytes>);
    static_assert(std::is_convertible_v<const char*, Bytes>);
    static_assert(std::is_convertible_v<const char(&)[4], Bytes>);
    static_assert(std::is_convertible_v<std::string, Bytes>);
    static_assert(std::is_convertible_v<const std::string&, Bytes>);
    static_assert(std::is_convertible_v<std::span<const std::byte>, Bytes>);
    static_assert(std::is_convertible_v<std::span<const unsigned char>, Bytes>);
    static_assert(std::is_convertible_v<std::vector<std::byte>, Bytes>);
    static_assert(std::is_convertible_v<std::vector<unsigned char>, Bytes>);
    static_assert(std::is_convertible_v<std::array<std::byte, 4>, Bytes>);
    static_assert(std::is_convertible_v<std::array<unsigned char, 4>, Bytes>);
    static_assert(std::is_convertible_v<emdb::ValueRef, Bytes>);
}

TEST_CASE("a number or a null pointer is no text by accident") {
    static_assert(!std::is_convertible_v<int, Bytes>);
    static_assert(!std::is_convertible_v<char, Bytes>);
    static_assert(!std::is_convertible_v<std::vector<int>, Bytes>);
    const char* nothing = nullptr;
    CHECK(Bytes(nothing).empty());
    CHECK(Bytes().empty());
    CHECK(Bytes().size() == 0);
}

TEST_CASE("Bytes views, it does not copy") {
    static_assert(std::is_trivially_copyable_v<Bytes>);
    const std::string text = "a text longer than any small-string buffer";
    const Bytes bytes = text;
    CHECK(static_cast<const void*>(bytes.data()) == static_cast<const void*>(text.data()));
    CHECK(bytes.as_string_view().data() == text.data());
    CHECK(bytes.size() == text.size());
}

TEST_CASE("Bytes compares by content") {
    const std::string a = "same";
    const std::string b = "same";
    CHECK(Bytes(a) == Bytes(b));
    CHECK(Bytes(a) == "same");
    CHECK(Bytes(a) != "sam");
    CHECK(Bytes(a) != "samE");
    CHECK(Bytes() == "");
}

TEST_CASE("the store takes each of them as key and as value, and they name the same key") {
    auto db = emdb::Emdb::open_in_memory();
    const std::string_view text = "key";
    std::vector<std::byte> bytes(3);
    std::memcpy(bytes.data(), text.data(), 3);
    const std::vector<unsigned char> chars = {'k', 'e', 'y'};
    const std::array<unsigned char, 3> char_array = {'k', 'e', 'y'};
    std::array<std::byte, 3> byte_array{};
    std::memcpy(byte_array.data(), text.data(), 3);

    db.insert("key", bytes).value();
    CHECK(db.get(text).value() == "key");
    db.insert(text, chars).value();
    CHECK(db.get(std::string(text)).value() == "key");
    db.insert(bytes, char_array).value();
    CHECK(db.get(chars).value() == "key");
    db.insert(chars, byte_array).value();
    CHECK(db.get(char_array).value() == "key");
    db.insert(std::span<const std::byte>(bytes), std::span<const unsigned char>(chars)).value();
    CHECK(db.get(byte_array).value() == "key");
    CHECK(db.len().value() == 1);

    const auto ref = db.get_zerocopy("key").value();
    REQUIRE(ref);
    db.insert(*ref, *ref).value();  // a ValueRef is bytes, too
    CHECK(db.len().value() == 1);
}

}  // namespace emdb_test
