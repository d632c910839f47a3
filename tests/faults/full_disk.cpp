// A file system filled up to its last block: full_disk_test.py mounts a small one and has this run there.
//
// EMDB_FULL_DISK=folder   on the file system; nothing is tested without it

#define EMDB_ENCRYPT 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace emdb_test {
namespace {

using emdb::AppendMode;
using emdb::Emdb;
using emdb::ErrorCode;

std::string key_of(std::uint64_t i) { return "key " + std::to_string(i); }
std::string value_of(std::uint64_t i) { return std::string(500 + i % 1000, static_cast<char>('a' + i % 26)); }

emdb::EmdbBuilder database(const std::filesystem::path& path, AppendMode mode, bool sealed) {
    emdb::EmdbBuilder builder = Emdb::builder();
    builder.path(path.string()).append_mode(mode).enable_range_scans(true);
    if (sealed) builder.encryption_key(std::array<std::byte, 32>{});
    return builder;
}

void fill_up(const std::filesystem::path& folder, AppendMode mode, bool sealed) {
    const auto path = folder / "a.emdb";
    const auto ballast = folder / "ballast";
    std::ofstream(ballast) << std::string(8 << 20, 'b');
    std::uint64_t written = 0;
    std::uint64_t flushed = 0;
    {
        auto db = database(path, mode, sealed).build().value();
        emdb::Result<void> outcome;
        while (outcome) {
            outcome = db.insert(key_of(written), value_of(written));
            if (outcome) ++written;
            if (outcome && written % 1000 == 0) {
                outcome = db.flush();
                if (outcome) flushed = written;
            }
        }
        CAPTURE(outcome.error().message());
        CHECK((outcome == ErrorCode::io || outcome == ErrorCode::poisoned));
        CHECK(written > 1000);
        for (std::uint64_t i = 0; i < written; ++i) REQUIRE(db.get(key_of(i)).value() == value_of(i));
        const auto compacted = db.compact();
        CHECK_FALSE(compacted.has_value());
        CHECK_FALSE(std::filesystem::exists(path.string() + ".compact"));
        for (std::uint64_t i = 0; i < written; ++i) REQUIRE(db.get(key_of(i)).value() == value_of(i));
        static_cast<void>(db.close());  // a mark may still find room, or not
    }
    {
        // With no space at all what is there can be read.
        auto opened = database(path, mode, sealed).build();
        if (opened) {
            for (std::uint64_t i = 0; i < flushed; ++i) REQUIRE(opened->get(key_of(i)).value() == value_of(i));
        } else {
            CHECK(opened == ErrorCode::io);
        }
    }
    std::filesystem::remove(ballast);
    auto db = database(path, mode, sealed).build().value();
    for (std::uint64_t i = 0; i < written; ++i) REQUIRE(db.get(key_of(i)).value() == value_of(i));
    REQUIRE(db.insert("after", "all").has_value());
    REQUIRE(db.flush().has_value());
    REQUIRE(db.close().has_value());
    emdb::VerifyOptions options;
    if (sealed) options.encryption = emdb::EncryptionInput::key(std::array<std::byte, 32>{});
    CHECK(Emdb::verify(path.string(), options).value().damage_count == 0);
    MESSAGE(written << " records, " << flushed << " of them flushed");
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().filename() != "lost+found") std::filesystem::remove_all(entry.path());
    }
}

}  // namespace

TEST_CASE("a file system that is full is an ordinary error, loses nothing, and with space freed all works" *
          doctest::skip(std::getenv("EMDB_FULL_DISK") == nullptr)) {
    const char* const folder = std::getenv("EMDB_FULL_DISK");
    SUBCASE("through a map") { fill_up(folder, AppendMode::automatic, false); }
    SUBCASE("by pwrite") { fill_up(folder, AppendMode::pwrite, false); }
    SUBCASE("encrypted") { fill_up(folder, AppendMode::automatic, true); }
}

}  // namespace emdb_test
