// verify and salvage against files that somebody made to harm them, and on disks that fail.

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/crafted_file.hpp"
#include "support/database_contents.hpp"
#include "support/simulated_disk.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::Emdb;
using emdb::ErrorCode;
using emdb::detail::FrameKind;

const std::byte* bytes_of(const std::string& text) { return reinterpret_cast<const std::byte*>(text.data()); }

std::string random_bytes(std::mt19937& random, std::size_t size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
}

emdb::VerifyReport verify(const std::string& bytes) {
    TempFolder folder;
    write_bytes(folder.file("a.emdb"), bytes);
    return Emdb::verify(folder.file("a.emdb")).value();
}

SeenContents salvage(const std::string& bytes) {
    TempFolder folder;
    write_bytes(folder.file("a.emdb"), bytes);
    Emdb::salvage(folder.file("a.emdb"), folder.file("b.emdb")).value();
    return contents_of(folder.file("b.emdb"));
}

}  // namespace

TEST_CASE("checksums of stretches: moving a state past zeros and back") {
    std::mt19937 random(1);
    for (const std::size_t size : {0, 1, 2, 8, 255, 256, 257, 65'536, 1'000'003}) {
        const std::uint32_t state = static_cast<std::uint32_t>(random());
        const std::string zeros(size, '\0');
        const std::uint32_t moved = ~emdb::detail::crc32c(zeros.data(), size, ~state);
        CHECK(emdb::detail::crc32c_move_past(state, size) == moved);
        CHECK(emdb::detail::crc32c_move_back(moved, size) == state);
    }
    const std::uint64_t large = (std::uint64_t{1} << 33) + 12'345;
    CHECK(emdb::detail::crc32c_move_back(emdb::detail::crc32c_move_past(0x12345678, large), large) == 0x12345678);
}

TEST_CASE("checksums of stretches: the same as summing them up, in any order") {
    std::mt19937 random(2);
    const std::string text = random_bytes(random, 50'000);
    emdb::detail::Crc32cRanges ranges(bytes_of(text), 1000, text.size());
    for (int i = 0; i < 5000; ++i) {
        std::uint64_t from = 1000 + random() % 49'001;
        if (i % 2 == 0) from = 1000 + static_cast<std::uint64_t>(i) * 5;
        const std::uint64_t to = from + random() % (text.size() - from + 1);
        const auto crc = static_cast<std::uint32_t>(random());
        REQUIRE(ranges.crc(from, to, crc) == emdb::detail::crc32c(text.data() + from, static_cast<std::size_t>(to - from), crc));
    }
}

TEST_CASE("the seed of a file's frames is found from two neighbours, wherever they are, and from nothing else") {
    std::mt19937 random(3);
    for (int round = 0; round < 20; ++round) {
        CraftedFile file;
        file.raw(random_bytes(random, 1 + random() % 5000));
        file.put("key", std::string(random() % 3000, 'v'));
        CHECK_FALSE(emdb::detail::find_frame_seed(bytes_of(file.bytes()), emdb::detail::journal_start, file.size()).has_value());
        file.close_mark();
        file.raw(random_bytes(random, 100));
        const auto seed = emdb::detail::find_frame_seed(bytes_of(file.bytes()), emdb::detail::journal_start, file.size());
        CHECK(seed == emdb::detail::Header().frame_seed());
    }
}

TEST_CASE("frames that are intact and make no sense are damage") {
    struct Case {
        const char* name;
        std::function<std::uint64_t(CraftedFile&)> make;  // returns where the damage is
    };
    const std::vector<Case> cases = {
        {"an unknown kind", [](CraftedFile& f) { return f.frame(static_cast<FrameKind>(12)); }},
        {"a session", [](CraftedFile& f) { return f.frame(FrameKind::session); }},
        {"a record of an unknown namespace", [](CraftedFile& f) { return f.put("k", "v", 7); }},
        {"a clear of an unknown namespace", [](CraftedFile& f) { return f.frame(FrameKind::clear, 7); }},
        {"a drop of an unknown namespace", [](CraftedFile& f) { return f.frame(FrameKind::namespace_drop, 7); }},
        {"a drop of the default keyspace", [](CraftedFile& f) { return f.frame(FrameKind::namespace_drop); }},
        {"a creation without an id", [](CraftedFile& f) { return f.frame(FrameKind::namespace_create, 0, "name"); }},
        {"a creation without a name", [](CraftedFile& f) { return f.frame(FrameKind::namespace_create, 7); }},
        {"a second creation of an id", [](CraftedFile& f) {
             f.frame(FrameKind::namespace_create, 7, "name");
             return f.frame(FrameKind::namespace_create, 7, "other");
         }},
        {"a second creation of a name", [](CraftedFile& f) {
             f.frame(FrameKind::namespace_create, 7, "name");
             return f.frame(FrameKind::namespace_create, 8, "name");
         }},
        {"a mark that vouches for what comes after it", [](CraftedFile& f) { return f.mark(FrameKind::sync_mark, f.size() + 1); }},
        {"a mark of another size", [](CraftedFile& f) { return f.frame(FrameKind::close_mark, 0, "", "short"); }},
        {"a batch of another size", [](CraftedFile& f) { return f.frame(FrameKind::batch, 0, "", "short"); }},
        {"a batch with fewer members than it says", [](CraftedFile& f) {
             const auto at = f.batch(2 * 9, 3);
             f.put("a", "b");
             f.put("c", "d");
             return at;
         }},
        {"a batch in a batch", [](CraftedFile& f) {
             f.batch(19 + 9, 2);
             const auto at = f.batch(9, 1);
             f.put("a", "b");
             return at;
         }},
        {"a mark in a batch", [](CraftedFile& f) {
             f.batch(15, 1);
             return f.mark(FrameKind::sync_mark, 0);
         }},
    };
    for (const Case& made : cases) {
        CAPTURE(std::string(made.name));
        CraftedFile file;
        file.put("before", "v");
        const std::uint64_t at = made.make(file);
        file.put("after", "v");
        file.close_mark();
        const auto report = verify(file.bytes());
        CHECK(report.damage_count == 1);
        REQUIRE_FALSE(report.damages.empty());
        CHECK(report.damages[0].offset() == at);
        CHECK(report.bytes_checked == file.size());
        const SeenContents contents = salvage(file.bytes());
        CHECK(contents.at("").count("before") == 1);
        CHECK(contents.at("").count("after") == 1);
        // Recovery agrees.
        TempFolder folder;
        write_bytes(folder.file("a.emdb"), file.bytes());
        const auto db = Emdb::open(folder.file("a.emdb"));
        REQUIRE_FALSE(db.has_value());
        CHECK(db.error() == report.damages[0].code());
    }
}

TEST_CASE("a batch whose member reaches beyond its end is damage where a mark vouches for it, and torn where none does") {
    CraftedFile file;
    file.put("before", "v");
    file.batch(15, 1);
    const std::uint64_t member = file.put("key", "longer than the batch says");
    CHECK(verify(file.bytes()).ok());
    CHECK(verify(file.bytes()).torn_tail);
    CHECK(verify(file.bytes()).live_records == 1);
    file.close_mark();
    const auto report = verify(file.bytes());
    CHECK(report.damage_count == 1);
    REQUIRE_FALSE(report.damages.empty());
    CHECK(report.damages[0].offset() == member);
}

TEST_CASE("a mark that vouches for nothing new does not say that a batch was committed") {
    for (const bool vouched : {false, true}) {
        CraftedFile file;
        file.put("before", "v");
        const std::uint64_t head = file.batch(9 + 20, 2);
        file.put("a", "b");
        file.raw(std::string(20, '\xEE'));
        file.mark(FrameKind::sync_mark, vouched ? file.size() : head);
        CHECK(salvage(file.bytes()).at("").size() == (vouched ? 2 : 1));
        file.put("after", "v");
        CHECK(salvage(file.bytes()).at("").size() == 3);
    }
}

TEST_CASE("any bytes at all behind a good header are survived, and what is intact among them is found") {
    const auto seed = static_cast<std::uint32_t>(std::random_device()());
    CAPTURE(seed);
    std::mt19937 random(seed);
    for (int round = 0; round < 100; ++round) {
        CraftedFile file;
        std::size_t intact = 0;
        for (std::uint32_t piece = random() % 8; piece > 0; --piece) {
            switch (random() % 5) {
                case 0: file.raw(random_bytes(random, random() % 200)); break;
                case 1: file.raw(std::string(random() % 200, static_cast<char>(random()))); break;
                case 2: file.batch(random() % 400, random() % 4); break;
                case 3: file.mark(FrameKind::sync_mark, file.size() + random() % 3 - 1); break;
                default: file.put("key " + std::to_string(intact++), std::string(random() % 100, 'v'));
            }
        }
        file.put("last", "v");  // so that no batch is the last thing in the file, but for one that says it is longer
        static_cast<void>(verify(file.bytes()));
        static_cast<void>(salvage(file.bytes()));
        file.close_mark();
        const std::size_t found = salvage(file.bytes()).at("").size();
        CHECK(found <= intact + 1);
    }
}

TEST_CASE("however hostile, a file takes time in proportion to its size") {
    struct Case {
        const char* name;
        std::function<void(CraftedFile&, std::size_t)> fill;
    };
    const std::string huge_put("\1\2\3\4\1\x81\1\xFF\xFF\x3F", 10);  // an unsummed put with a value of a megabyte
    const std::vector<Case> cases = {
        {"a large put may start at every byte", [](CraftedFile& f, std::size_t size) {
             while (f.size() < size) f.raw("\1\x81\x81\1");
         }},
        {"bytes of no meaning", [](CraftedFile& f, std::size_t size) {
             std::mt19937 random(7);
             f.raw(random_bytes(random, size));
         }},
        {"large puts between small intact ones", [&](CraftedFile& f, std::size_t size) {
             while (f.size() < size) {
                 f.raw(huge_put);
                 f.put("k", "v");
             }
         }},
        {"batches that take all the rest", [](CraftedFile& f, std::size_t size) {
             while (f.size() + 64 < size) {
                 f.batch(size - f.size() - 19, 1'000'000);
                 f.put("k", "v");
                 f.raw("\xEE");
             }
         }},
        {"batches before two stretches without a frame", [](CraftedFile& f, std::size_t size) {
             while (f.size() < size / 2) {
                 f.batch(size / 2 + 100 - f.size(), 1'000'000);
                 f.raw("\xEE");
             }
             f.raw(std::string(size / 4, '\xEE'));
             f.mark(FrameKind::sync_mark, 0);
             f.raw(std::string(size / 4, '\xEE'));
         }},
        {"batches that end earlier and earlier", [](CraftedFile& f, std::size_t size) {
             while (f.size() < size / 2) {
                 f.batch(size - 2 * f.size(), 1'000'000);
                 f.raw("\xEE");
             }
             f.raw(std::string(size / 2, '\xEE'));
         }},
        {"marks that are none", [](CraftedFile& f, std::size_t size) { f.raw(std::string(size, '\x09')); }},
    };
    for (const Case& made : cases) {
        CAPTURE(std::string(made.name));
        const auto seconds = [&](std::size_t size) {
            CraftedFile file;
            made.fill(file, size);
            TempFolder folder;
            write_bytes(folder.file("a.emdb"), file.bytes());
            const std::clock_t start = std::clock();  // of the processor: whoever else uses the machine does not count
            static_cast<void>(Emdb::verify(folder.file("a.emdb")).value());
            static_cast<void>(Emdb::salvage(folder.file("a.emdb"), folder.file("b.emdb")).value());
            return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
        };
        // Eight times the bytes; in the square that would be 64 times the time. The least of a few counts: others use the machine.
        double small = 1e9;
        double large = 1e9;
        for (int i = 0; i < 3 && (i == 0 || large > 20 * small + 0.02); ++i) {
            small = (std::min)(small, seconds(std::size_t{64} << 10));
            large = (std::min)(large, seconds(std::size_t{512} << 10));
        }
        CAPTURE(large);
        CHECK(large <= 20 * small + 0.02);
    }
}

// --- disks that fail

namespace {

constexpr const char* from = "/disk/from.emdb";
constexpr const char* to = "/disk/to.emdb";

std::string some_records() {
    CraftedFile file;
    file.frame(FrameKind::namespace_create, 1, "names");
    for (int i = 0; i < 50; ++i) file.put("key " + std::to_string(i), std::string(100, 'v'), i % 2 == 0 ? 1 : 0);
    file.close_mark();
    return file.bytes();
}

void store(SimulatedDisk& disk, const std::string& bytes) {
    auto file = disk.files().open(from, emdb::detail::OpenMode::create_new).value();
    file->write_at(0, {bytes_of(bytes), bytes.size()}).value();
    file->sync().value();
    disk.files().sync_directory_of(from).value();
}

}  // namespace

TEST_CASE("a sector that can't be read ends verify with a report of what is before it, and salvage with an error") {
    CraftedFile file;
    for (int i = 0; i < 30; ++i) file.put(std::to_string(i), std::string(100'000, 'v'));
    file.close_mark();
    SimulatedDisk disk;
    store(disk, file.bytes());
    // The first mebibyte, the header, the second mebibyte.
    disk.fail({.only = Operation::read, .nth = 3, .from_then_on = true});
    const auto report = emdb::detail::verify_database(disk, from, {}).value();
    CHECK(report.damage_count == 1);
    REQUIRE_FALSE(report.damages.empty());
    CHECK(report.damages[0] == ErrorCode::io);
    CHECK(report.damages[0].offset() == (1u << 20));
    CHECK(report.live_records == 10);
    CHECK_FALSE(report.torn_tail);
    disk.fail({.only = Operation::read, .nth = 3, .from_then_on = true});
    const auto refused = emdb::detail::salvage_database(disk, from, to, {});
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error() == ErrorCode::io);
    CHECK_FALSE(disk.exists(to));
}

TEST_CASE("whichever operation of a salvage fails, there is the whole new database or none, and the next one works") {
    const std::string bytes = some_records();
    std::uint64_t failures = 0;
    for (std::uint64_t nth = 1;; ++nth) {
        CAPTURE(nth);
        SimulatedDisk disk;
        store(disk, bytes);
        Fault fault;
        fault.nth = nth;
        disk.fail(fault);
        const auto salvaged = emdb::detail::salvage_database(disk, from, to, {});
        const bool failed = disk.faults_injected() != 0;
        disk.stop_failing();
        if (!failed) {
            CHECK(salvaged.has_value());
            break;
        }
        if (!salvaged) ++failures;
        CHECK(disk.bytes_of(from) == bytes);
        CHECK((!salvaged || disk.exists(to)));
        if (!disk.exists(to)) emdb::detail::salvage_database(disk, from, to, {}).value();
        CHECK(disk.paths().size() == 2);
        CHECK(emdb::detail::verify_database(disk, to, {}).value().live_records == 50);
        CHECK(disk.violations().empty());
    }
    CHECK(failures > 10);
}

TEST_CASE("wherever the power goes during a salvage, there is the whole new database or none") {
    const std::string bytes = some_records();
    SeededRandom random(11);
    for (std::uint64_t operation = 1;; ++operation) {
        CAPTURE(operation);
        SimulatedDisk disk;
        store(disk, bytes);
        disk.cut_power_at(disk.operation_count() + operation);
        const auto salvaged = emdb::detail::salvage_database(disk, from, to, {});
        if (disk.power_is_on()) {
            CHECK(salvaged.has_value());
            disk.cut_power();
            SimulatedDisk rebooted(disk.crashed().random_outcome(random), {});
            CHECK(emdb::detail::verify_database(rebooted, to, {}).value().live_records == 50);
            break;
        }
        for (int outcome = 0; outcome < 5; ++outcome) {
            SimulatedDisk rebooted(disk.crashed().random_outcome(random), {});
            CHECK(rebooted.bytes_of(from) == bytes);
            if (!rebooted.exists(to)) continue;
            const auto report = emdb::detail::verify_database(rebooted, to, {}).value();
            CHECK(report.ok());
            CHECK(report.live_records == 50);
        }
    }
}

TEST_CASE("a full disk is an error of salvage, and leaves nothing behind") {
    const std::string bytes = some_records();
    SimulatedDisk disk;
    store(disk, bytes);
    disk.set_capacity(2 * bytes.size() - 1000);
    const auto refused = emdb::detail::salvage_database(disk, from, to, {});
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error() == ErrorCode::io);
    CHECK(disk.paths() == std::vector<std::string>{from});
}

TEST_CASE("a file that loses its end before it is looked at is an error, not a crash") {
    TempFolder folder;
    CraftedFile file;
    for (int i = 0; i < 30; ++i) file.put(std::to_string(i), std::string(100'000, 'v'));
    file.close_mark();
    write_bytes(folder.file("a.emdb"), file.bytes());
    emdb::VerifyOptions options;
    options.progress = [&](std::uint64_t, std::uint64_t) { std::filesystem::resize_file(folder.file("a.emdb"), 5 << 19); };
    const auto report = Emdb::verify(folder.file("a.emdb"), options).value();
    CHECK(report.damage_count == 1);
    CHECK(report.damages.at(0) == ErrorCode::io);
}

}  // namespace emdb_test
