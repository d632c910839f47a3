// The journal's map where address space is small: it begins with what can be had and goes on in segments, and what was mapped first stays
// where it is. On 64-bit systems one mapping does.

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "support/os_results.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {

namespace detail = emdb::detail;

TEST_CASE("journal map: a file that outgrows its first mapping stays readable from end to end, at the same addresses") {
    TempFolder folder;
    auto file = good(files().open(folder.file("a.emdb"), detail::OpenMode::create_new));
    constexpr std::uint64_t step = std::uint64_t{24} << 20;
    constexpr std::uint64_t frame = 5000;  // straddles pages
    constexpr std::uint64_t frames = 20;   // 480 MiB in all, nearly all of it a hole
    detail::JournalMap map;
    good(file->truncate(8192));
    good(map.open(*file, 8192));
    std::vector<const std::byte*> places;
    for (std::uint64_t i = 0; i < frames; ++i) {
        const std::uint64_t offset = 8192 + i * step;
        good(file->truncate(offset + frame));
        good(map.cover(*file, offset, offset + frame, offset + frame));
        good(file->write_at(offset, bytes(std::string(frame, static_cast<char>('a' + i)))));
        places.push_back(map.at(offset));
        REQUIRE(map.mapped_end(offset) >= offset + frame);
    }
    for (std::uint64_t i = 0; i < frames; ++i) {
        const std::uint64_t offset = 8192 + i * step;
        CHECK(map.at(offset) == places[static_cast<std::size_t>(i)]);
        const std::string expected(frame, static_cast<char>('a' + i));
        CHECK(std::memcmp(map.at(offset), expected.data(), expected.size()) == 0);
    }
    if (sizeof(void*) < 8) CHECK_FALSE(map.in_first_segment(8192 + (frames - 1) * step));
    if (sizeof(void*) >= 8 && file->maps_past_end()) CHECK(map.in_first_segment(8192 + (frames - 1) * step));
}

}  // namespace emdb_test
