// What a long life costs: memory, descriptors, maps, threads and the file stay bounded, and large things are read back right.
//
// EMDB_OPERATIONS=n   how many operations the busy life has (2,000,000)
// EMDB_LARGE=1        also a value of 3 GiB and a file of more than 8 GiB: 15 GB of disk, 8 of memory
// EMDB_SEED=n         of the busy life

#include "emdb.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::Emdb;

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 10);
}

#if defined(__linux__)
/// Memory of its own in KiB: what is mapped of files is the system's to take back.
std::uint64_t memory_kib() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("RssAnon:")) return std::strtoull(line.c_str() + 8, nullptr, 10);
    }
    return 0;
}
std::size_t entries(const char* directory) {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator()));
}
std::size_t maps() {
    std::ifstream file("/proc/self/maps");
    std::size_t count = 0;
    for (std::string line; std::getline(file, line);) ++count;
    return count;
}
#endif

/// One that tells where it is, so that a part in the wrong place is found.
std::string large_value(std::size_t size) {
    std::string value(size, '\0');
    std::uint64_t state = 1;
    for (std::size_t i = 0; i + 8 <= size; i += 4096) {
        state = state * 6364136223846793005u + i;
        for (std::size_t byte = 0; byte < 8; ++byte) value[i + byte] = static_cast<char>(state >> (8 * byte));
    }
    return value;
}

bool not_large() { return setting("EMDB_LARGE", 0) == 0; }

void flip_bit(const std::string& path, std::uint64_t place) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(place));
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(static_cast<std::streamoff>(place));
    file.put(byte);
    REQUIRE(file.flush());
}

}  // namespace

#if defined(__linux__)

TEST_CASE("resources: however long a bounded set of records is written to, memory and file stay bounded") {
    const std::uint64_t operations = setting("EMDB_OPERATIONS", 2'000'000);
    const std::uint64_t seed = setting("EMDB_SEED", std::random_device{}());
    INFO("repeat with EMDB_SEED=", seed, " EMDB_OPERATIONS=", operations);
    constexpr std::uint64_t key_count = 20'000;
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    std::vector<std::uint64_t> expected(key_count);  // 0: there is none
    std::uint64_t memory_early = 0, memory_max = 0, file_max = 0;
    {
        auto builder = Emdb::builder();
        Emdb db = builder.path(path).auto_compact(0.5, std::uint64_t{4} << 20).build().value();
        std::mt19937_64 random(seed);
        const auto value_of = [](std::uint64_t number) { return std::to_string(number) + std::string(number % 100, 'v'); };
        for (std::uint64_t i = 1; i <= operations; ++i) {
            const std::uint64_t number = random() % key_count;
            const std::string key = "key " + std::to_string(number);
            const std::uint64_t choice = random() % 10;
            if (choice < 6) {
                REQUIRE(db.insert(key, value_of(i)));
                expected[number] = i;
            } else if (choice < 7) {
                REQUIRE(db.remove(key));
                expected[number] = 0;
            } else {
                const auto found = db.get(key);
                REQUIRE(found);
                REQUIRE(found->has_value() == (expected[number] != 0));
                if (*found) REQUIRE(**found == value_of(expected[number]));
            }
            if (i % 50'000 != 0) continue;
            if (i <= operations / 10) memory_early = (std::max)(memory_early, memory_kib());
            memory_max = (std::max)(memory_max, memory_kib());
            file_max = (std::max)(file_max, db.stats().value().file_size_bytes);
        }
    }
    std::printf("count operations of a busy life: %llu\ncount memory early, KiB: %llu\ncount memory at most, KiB: %llu\n"
                "count file at most, KiB: %llu\n", static_cast<unsigned long long>(operations),
                static_cast<unsigned long long>(memory_early), static_cast<unsigned long long>(memory_max),
                static_cast<unsigned long long>(file_max >> 10));
    CHECK(memory_max < memory_early + 32 * 1024);
    CHECK(file_max < std::uint64_t{96} << 20);
    Emdb db = Emdb::open(path).value();
    std::size_t records = 0;
    for (std::uint64_t number = 0; number < key_count; ++number) {
        REQUIRE(db.contains_key("key " + std::to_string(number)).value() == (expected[number] != 0));
        records += expected[number] != 0;
    }
    CHECK(db.len().value() == records);
}

TEST_CASE("resources: ten thousand times opened and closed, a database leaves no memory, descriptor, map or thread behind") {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    const auto live = [&](int times) {
        for (int i = 0; i < times; ++i) {
            auto builder = Emdb::builder();
            Emdb db = builder.path(path).auto_compact(0.5, std::uint64_t{1} << 20).enable_range_scans(i % 2 == 0).build().value();
            REQUIRE(db.insert("key", std::to_string(i)));
            if (i % 3 != 0) REQUIRE(db.close());
        }
    };
    live(500);
    const std::uint64_t memory = memory_kib();
    const std::size_t descriptors = entries("/proc/self/fd"), threads = entries("/proc/self/task"), mapped = maps();
    live(9'500);
    std::printf("count memory gained by 9,500 openings, KiB: %lld\n", static_cast<long long>(memory_kib() - memory));
    CHECK(memory_kib() < memory + 1024);
    CHECK(entries("/proc/self/fd") == descriptors);
    CHECK(entries("/proc/self/task") == threads);
    CHECK(maps() <= mapped + 2);  // the heap may get another one
    CHECK(Emdb::verify(path).value().ok());
}

TEST_CASE("resources: ten thousand namespaces of a hundred records each are there after reopening") {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    constexpr int namespaces = 10'000, records = 100;
    const auto name = [](int number) { return "namespace " + std::to_string(number); };
    const std::uint64_t memory = memory_kib();
    {
        Emdb db = Emdb::open(path).value();
        for (int i = 0; i < namespaces; ++i) {
            auto space = db.open_namespace(name(i)).value();
            for (int j = 0; j < records; ++j) REQUIRE(space.insert("key " + std::to_string(j), name(i) + std::to_string(j)));
        }
    }
    for (const bool has_checkpoint : {true, false}) {
        if (!has_checkpoint) std::filesystem::remove(path + ".meta");
        Emdb db = Emdb::open(path).value();
        const std::uint64_t used = memory_kib() - memory;
        std::printf("count memory of 10,000 namespaces %s checkpoint, KiB: %llu\n", has_checkpoint ? "with" : "without",
                    static_cast<unsigned long long>(used));
        CHECK(used < 1024 * 1024);
        CHECK(db.list_namespaces().value().size() == namespaces);
        for (int i = 0; i < namespaces; ++i) {
            const auto space = db.open_namespace(name(i)).value();
            REQUIRE(space.len().value() == records);
            for (const int j : {0, i % records, records - 1}) {
                REQUIRE(space.get("key " + std::to_string(j)).value() == name(i) + std::to_string(j));
            }
        }
    }
}

#endif

TEST_CASE("resources: a value of 3 GiB is got, verified, moved by a compaction, and there after reopening" * doctest::skip(not_large())) {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    const std::string giant = large_value(std::size_t{3} << 30);
    {
        Emdb db = Emdb::open(path).value();
        REQUIRE(db.insert("dead", large_value(std::size_t{256} << 20)));
        REQUIRE(db.insert("giant", giant));
        REQUIRE(db.insert("behind", "it"));
        CHECK((db.get("giant").value() == giant));
        CHECK(db.remove("dead").value()->size() == std::size_t{256} << 20);
    }
    const auto verified = Emdb::verify(path).value();
    CHECK(verified.ok());
    CHECK(verified.live_records == 2);
    CHECK(verified.bytes_checked > std::uint64_t{13} << 28);
    {
        Emdb db = Emdb::open(path).value();
        const auto before = db.get_zerocopy("giant").value().value();
        REQUIRE(db.compact());
        CHECK(db.stats().value().logical_size_bytes > giant.size());
        CHECK((before.as_string_view() == giant));  // of the file that has no name any more
        CHECK((db.get_zerocopy("giant").value()->as_string_view() == giant));
    }
    CHECK(std::filesystem::file_size(path) < giant.size() + (std::size_t{64} << 20));
    CHECK(Emdb::verify(path).value().ok());
    for (const bool has_checkpoint : {true, false}) {
        if (!has_checkpoint) std::filesystem::remove(path + ".meta");
        Emdb db = Emdb::open(path).value();
        CHECK((db.get_zerocopy("giant").value()->as_string_view() == giant));
        CHECK(db.get("behind").value() == "it");
        CHECK(db.len().value() == 2);
    }
}

TEST_CASE("resources: records beyond 8 GiB are read after reopening, with and without a checkpoint, and moved by a compaction" *
          doctest::skip(not_large())) {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    const std::string part = large_value(std::size_t{256} << 20);
    constexpr int parts = 34, behind = 1000;
    const auto value_behind = [](int number) { return "value behind 8 GiB " + std::to_string(number); };
    const auto check_contents = [&](const Emdb& db, int step) {
        for (int i = 0; i < parts; i += step) CHECK((db.get_zerocopy("part " + std::to_string(i)).value()->as_string_view() == part));
        for (int i = 0; i < behind; ++i) CHECK(db.get("behind " + std::to_string(i)).value() == value_behind(i));
        CHECK(db.len().value() == static_cast<std::size_t>((parts + step - 1) / step + behind));
    };
    {
        Emdb db = Emdb::open(path).value();
        for (int i = 0; i < parts; ++i) REQUIRE(db.insert("part " + std::to_string(i), part));
        for (int i = 0; i < behind; ++i) REQUIRE(db.insert("behind " + std::to_string(i), value_behind(i)));
    }
    CHECK(std::filesystem::file_size(path) > std::uint64_t{8} << 30);
    for (const bool has_checkpoint : {true, false}) {
        if (!has_checkpoint) std::filesystem::remove(path + ".meta");
        Emdb db = Emdb::open(path).value();
        check_contents(db, 1);
        REQUIRE(db.checkpoint());
    }
    {
        const std::uint64_t place = (std::uint64_t{8} << 30) + part.size() / 2;  // in part 32
        flip_bit(path, place);
        const auto found = Emdb::verify(path).value();
        CHECK(found.damage_count == 1);
        REQUIRE(!found.damages.empty());
        CHECK(found.damages[0] == emdb::ErrorCode::corrupted);
        CHECK(found.damages[0].offset() > std::uint64_t{8} << 30);
        CHECK(found.damages[0].offset() < place);
        {
            const Emdb db = Emdb::open(path).value();
            const auto got = db.get_zerocopy("part 32");
            REQUIRE(!got);
            CHECK(got.error() == emdb::ErrorCode::corrupted);
            CHECK(got.error().offset() == found.damages[0].offset());
            CHECK(db.get_zerocopy("part 33").value()->size() == part.size());
        }
        flip_bit(path, place);
        CHECK(Emdb::verify(path).value().ok());
    }
    {
        Emdb db = Emdb::open(path).value();
        for (int i = 1; i < parts; i += 2) CHECK(db.remove("part " + std::to_string(i)).value()->size() == part.size());
        REQUIRE(db.compact());
        check_contents(db, 2);
    }
    CHECK(std::filesystem::file_size(path) < std::uint64_t{5} << 30);
    Emdb db = Emdb::open(path).value();
    check_contents(db, 2);
}

}  // namespace emdb_test
