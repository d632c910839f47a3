#pragma once
// Windows can't cut a file that is mapped, so there the space that a database has in advance stays when it is closed.

#include <cstdint>
#include <filesystem>
#include <string>

#include "emdb.hpp"

namespace emdb_test {

#if defined(_WIN32)
constexpr bool closing_gives_space_back = false;
#else
constexpr bool closing_gives_space_back = true;
#endif

/// Cuts the free space behind a closed database off, for tests that count its bytes.
inline void cut_free_space(const std::string& path) {
    if (closing_gives_space_back) return;
    std::uint64_t size = 0;
    {
        auto db = emdb::Emdb::open(path).value();
        size = db.stats().value().file_size_bytes;
    }
    std::filesystem::resize_file(path, size);
}

}  // namespace emdb_test
