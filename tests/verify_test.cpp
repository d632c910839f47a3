// Emdb::verify: what it counts, what it finds, what it leaves alone. Hostile files and failing disks are in inspection_test.cpp.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/database_contents.hpp"
#include "support/free_space.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

namespace fs = std::filesystem;
using emdb::Emdb;
using emdb::ErrorCode;
using emdb::VerifyReport;

constexpr std::size_t header_size = 8192;

// A closed database of 64 KiB, in which every kind of frame occurs.
std::string make_database(const std::string& path) {
    {
        auto db = Emdb::open(path).value();
        for (int i = 0; i < 100; ++i) db.insert("key " + std::to_string(i), std::string(180, static_cast<char>('a' + i % 26))).value();
        db.flush().value();
        auto names = db.open_namespace("names").value();
        std::vector<emdb::Record> many;
        for (int i = 0; i < 100; ++i) many.push_back({"many " + std::to_string(i), std::string(100, 'm')});
        names.insert_many(many).value();
        for (int i = 0; i < 100; i += 3) db.remove("key " + std::to_string(i)).value();
        db.open_namespace("dropped").value().insert("gone", "gone").value();
        db.drop_namespace("dropped").value();
        auto cleared = db.open_namespace("cleared").value();
        cleared.insert("gone", "gone").value();
        cleared.clear().value();
#if EMDB_TTL
        db.insert_with_ttl("expiring", "value", emdb::Ttl::at(4'000'000'000'000)).value();
#endif
        db.transaction([](emdb::Transaction& tx) -> emdb::Result<void> {
              for (int i = 0; i < 10; ++i) tx.insert("tx " + std::to_string(i), std::string(100, 't')).value();
              return {};
          }).value();
    }
    auto db = Emdb::open(path).value();
    const auto size = [&] { return static_cast<std::size_t>(db.stats().value().file_size_bytes); };
    constexpr std::size_t wanted = 64 * 1024;
    for (int i = 0; size() < wanted - 600; ++i) db.insert("late " + std::to_string(i), std::string(185, static_cast<char>('A' + i % 26))).value();
    constexpr std::size_t close_mark_size = 15;
    constexpr std::size_t overhead = 8 + 4;  // a frame's head, and the key
    db.insert("last", std::string(wanted - close_mark_size - overhead - size(), 'l')).value();
    db.close().value();
    db = Emdb::open_in_memory();  // what is mapped by a handle can't be cut
    cut_free_space(path);
    return read_bytes(path);
}

bool has_damage_at(const VerifyReport& report, std::uint64_t from, std::uint64_t to) {
    return std::any_of(report.damages.begin(), report.damages.end(), [&](const emdb::Error& damage) {
        return damage.code() == ErrorCode::corrupted && damage.offset() >= from && damage.offset() < to;
    });
}

}  // namespace

TEST_CASE("verify: a closed database is intact to its last byte, and nothing is changed or created") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    const std::string bytes = make_database(path);
    CHECK(bytes.size() == 64 * 1024);
    const std::size_t records = record_count(contents_of(path));
    CHECK(read_bytes(path) == bytes);
    const auto report = Emdb::verify(path).value();
    CHECK(report.ok());
    CHECK_FALSE(report.torn_tail);
    CHECK(report.damages.empty());
    CHECK(report.live_records == records);
    CHECK(report.frames > records);
    CHECK(report.bytes_checked == bytes.size());
    CHECK(read_bytes(path) == bytes);
    for (const auto& entry : fs::directory_iterator(folder.path())) {
        CHECK((entry.path() == path || entry.path() == path + ".meta"));
    }
}

TEST_CASE("verify: a new database has no frame but its close mark") {
    TempFolder folder;
    Emdb::open(folder.file("a.emdb")).value().close().value();
    const auto report = Emdb::verify(folder.file("a.emdb")).value();
    CHECK(report.ok());
    CHECK(report.live_records == 0);
    CHECK(report.frames <= 1);
}

TEST_CASE("verify: what is no file, and what is no database, is an error") {
    TempFolder folder;
    CHECK(Emdb::verify(folder.file("absent")).error() == ErrorCode::io);
    CHECK(Emdb::verify(folder.path()).error() == ErrorCode::io);
    CHECK_FALSE(fs::exists(folder.file("absent")));
    for (const std::string& text : {std::string("x"), std::string("not a database\n"), std::string(100'000, 'x'), std::string(20'000, '\0')}) {
        write_bytes(folder.file("text"), text);
        const auto refused = Emdb::verify(folder.file("text"));
        REQUIRE_FALSE(refused.has_value());
        CHECK(refused.error() == ErrorCode::magic_mismatch);
        CHECK(refused.error().message().find(folder.file("text")) != std::string::npos);
    }
}

TEST_CASE("verify: an empty file is a database that has lost everything") {
    TempFolder folder;
    write_bytes(folder.file("empty"), "");
    const auto report = Emdb::verify(folder.file("empty")).value();
    CHECK_FALSE(report.ok());
    CHECK(report.bytes_checked == 0);
}

TEST_CASE("verify: keeps writers out and is kept out by them, but not by other readers") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    make_database(path);
    {
        auto db = Emdb::open(path).value();
        const auto refused = Emdb::verify(path);
        REQUIRE_FALSE(refused.has_value());
        CHECK(refused.error() == ErrorCode::already_locked);
        db.insert("still", "works").value();
    }
    bool opened = false;
    bool verified = false;
    emdb::VerifyOptions options;
    options.progress = [&](std::uint64_t, std::uint64_t) {
        opened = opened || Emdb::open(path).has_value();
        verified = verified || Emdb::verify(path).value().ok();
    };
    CHECK(Emdb::verify(path, options).value().ok());
    CHECK_FALSE(opened);
    CHECK(verified);
    CHECK(Emdb::open(path).has_value());
}

TEST_CASE("verify: progress goes up to the file's size") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    {
        auto db = Emdb::open(path).value();
        for (int i = 0; i < 40; ++i) db.insert(std::to_string(i), std::string(100'000, 'v')).value();
    }
    std::vector<std::uint64_t> seen;
    CHECK(Emdb::verify(path, {.progress = [&](std::uint64_t done, std::uint64_t total) {
                           CHECK(total == fs::file_size(path));
                           seen.push_back(done);
                       }}).value().ok());
    CHECK(seen.size() >= 3);
    CHECK(std::is_sorted(seen.begin(), seen.end()));
    CHECK(seen.back() == fs::file_size(path));
}

TEST_CASE("verify: every flipped byte of a closed database is reported, and no read gives a wrong value") {
    TempFolder folder;
    const std::string bytes = make_database(folder.file("a.emdb"));
    const SeenContents expected = contents_of(folder.file("a.emdb"));
    const std::uint32_t seed = std::random_device()();
    CAPTURE(seed);
    // Opening costs more than verifying, so only some of the places are opened, others in each run.
    constexpr std::size_t workers = 2;
    constexpr std::size_t opened_one_in = 32;
    std::mutex mutex;
    std::string wrong;
    const auto flip_all = [&](std::size_t worker) {
        const std::string path = folder.file("flipped " + std::to_string(worker));
        write_bytes(path, bytes);
        std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
        std::mt19937 random(seed + static_cast<std::uint32_t>(worker));
        const auto put = [&](std::size_t offset, char byte) {
            file.seekp(static_cast<std::streamoff>(offset));
            file.put(byte).flush();
        };
        const auto judge = [&](std::size_t offset) -> const char* {
            const auto report = Emdb::verify(path);
            if (!report) return "verify failed";
            if (report->ok() && !report->torn_tail) return "verify found nothing";
            if (!report->ok() && (offset < header_size) != (report->damages[0].offset() < header_size)) return "another place is reported";
            if (random() % opened_one_in != 0) return nullptr;
            auto db = Emdb::open(path);
            if (!db) return db.error() == ErrorCode::corrupted ? nullptr : "opening failed with another error";
            if (contents_of(*db) != expected) return "the contents are wrong";
            if (!report->ok() && offset >= header_size) return "it opens, though verify found damage";
            return nullptr;
        };
        for (std::size_t offset = worker; offset < bytes.size(); offset += workers) {
            put(offset, static_cast<char>(bytes[offset] ^ static_cast<char>(1 + random() % 255)));
            if (const char* what = judge(offset)) {
                const std::lock_guard lock(mutex);
                wrong += std::to_string(offset) + ": " + what + "\n";
            }
            put(offset, bytes[offset]);
            if (fs::file_size(path) != bytes.size()) {  // opening has cut off what had been the close mark
                file.close();
                write_bytes(path, bytes);
                file.open(path, std::ios::binary | std::ios::in | std::ios::out);
            }
        }
    };
    std::vector<std::thread> threads;
    for (std::size_t worker = 0; worker < workers; ++worker) threads.emplace_back(flip_all, worker);
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == "");
}

namespace {

// Whether verify judges a file as opening it does, and counts what opening finds.
void check_judged_as_by_opening(const std::string& path) {
    const auto report = Emdb::verify(path);
    const std::string before = read_bytes(path);
    auto db = Emdb::open(path);
    if (!report) {
        CHECK_FALSE(db.has_value());
        return;
    }
    const bool header_damaged = has_damage_at(*report, 0, header_size);
    if (db) {
        CHECK((header_damaged || report->ok()));
        if (report->ok()) CHECK(report->live_records == record_count(contents_of(*db)));
    } else {
        CHECK_FALSE(report->ok());
        CHECK(read_bytes(path) == before);
        if (!header_damaged && db.error() == ErrorCode::corrupted) {
            REQUIRE_FALSE(report->damages.empty());
            CHECK(report->damages[0].offset() == db.error().offset());
        }
    }
}

}  // namespace

TEST_CASE("verify: files cut off anywhere are judged as opening judges them") {
    TempFolder folder;
    const std::string bytes = make_database(folder.file("a.emdb"));
    const std::string path = folder.file("cut");
    const std::uint32_t seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937 random(seed);
    for (std::size_t size = 1; size < bytes.size(); size += 1 + random() % 800) {
        CAPTURE(size);
        write_bytes(path, std::string_view(bytes).substr(0, size));
        check_judged_as_by_opening(path);
    }
}

TEST_CASE("verify: random damage is judged as opening judges it") {
    TempFolder folder;
    const std::string bytes = make_database(folder.file("a.emdb"));
    const std::string path = folder.file("damaged");
    const std::uint32_t seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random()) % limit; };
    for (int round = 0; round < 150; ++round) {
        CAPTURE(round);
        std::string damaged = bytes;
        for (std::size_t damages = 1 + below(3); damages > 0; --damages) {
            const std::size_t at = below(damaged.size());
            const std::size_t size = (std::min)(1 + below(below(2) == 0 ? 8 : 3000), damaged.size() - at);
            const std::size_t from = below(bytes.size() - (std::min)(size, bytes.size()) + 1);  // what was damaged before may be longer
            switch (below(5)) {
                case 0:  // bytes of no meaning
                    for (std::size_t i = 0; i < size; ++i) damaged[at + i] = static_cast<char>(random());
                    break;
                case 1: damaged.replace(at, size, std::string(size, '\0')); break;
                case 2: damaged.replace(at, size, bytes.substr(from, size)); break;  // a block in another's place
                case 3: damaged.insert(at, bytes.substr(from, size)); break;
                default: damaged.erase(at, size); break;
            }
        }
        write_bytes(path, damaged);
        check_judged_as_by_opening(path);
    }
}

TEST_CASE("verify: behind damage it goes on with the next intact frame") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    std::string bytes = make_database(path);
    const auto intact = Emdb::verify(path).value();
    // Three records are hit, in three places.
    std::vector<std::size_t> places;
    for (const char* value : {"bbbbb", "eeeee", "EEEEE"}) {
        places.push_back(bytes.find(value));
        REQUIRE(places.back() != std::string::npos);
        bytes[places.back() + 7] ^= 1;
    }
    write_bytes(path, bytes);
    const auto report = Emdb::verify(path).value();
    CHECK(report.damage_count == 3);
    REQUIRE(report.damages.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(report.damages[i].code() == ErrorCode::corrupted);
        CHECK(report.damages[i].offset() < places[i]);
        CHECK(report.damages[i].offset() + 20 > places[i]);
        CHECK(report.damages[i].message().find(path) != std::string::npos);
    }
    CHECK(report.frames == intact.frames - 3);
    CHECK(report.live_records == intact.live_records - 3);
}

TEST_CASE("verify: a zeroed sector, and blocks of the file in wrong places, are damage") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    const std::string bytes = make_database(path);
    for (std::size_t sector = header_size; sector + 1024 <= bytes.size(); sector += 512 * 7) {
        CAPTURE(sector);
        std::string damaged = bytes;
        damaged.replace(sector, 512, std::string(512, '\0'));
        write_bytes(path, damaged);
        CHECK(has_damage_at(Emdb::verify(path).value(), sector - 600, sector + 512));
        damaged = bytes;
        damaged.replace(sector, 512, bytes.substr((sector + 16 * 1024) % (bytes.size() - 512), 512));
        write_bytes(path, damaged);
        CHECK(has_damage_at(Emdb::verify(path).value(), sector - 600, sector + 512));
    }
}

TEST_CASE("verify: only the first hundred damages are kept, all are counted") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    {
        auto db = Emdb::open(path).value();
        for (int i = 0; i < 1000; ++i) db.insert(std::to_string(i), std::string(100, 'v')).value();
    }
    std::string bytes = read_bytes(path);
    for (std::size_t i = 0; i < 500; ++i) bytes[header_size + 50 + i * 218] ^= 1;
    write_bytes(path, bytes);
    const auto report = Emdb::verify(path).value();
    CHECK(report.damage_count > 300);
    CHECK(report.damages.size() == 100);
}

TEST_CASE("verify: one good copy of the header is enough to read by, and the other is reported") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    const std::string bytes = make_database(path);
    const auto intact = Emdb::verify(path).value();
    for (const std::size_t slot : {std::size_t{0}, std::size_t{4096}}) {
        std::string damaged = bytes;
        damaged.replace(slot, 4096, std::string(4096, 'x'));
        write_bytes(path, damaged);
        const auto report = Emdb::verify(path).value();
        CHECK(report.damage_count == 1);
        CHECK(report.damages.at(0).offset() == slot);
        CHECK(report.frames == intact.frames);
        CHECK(report.bytes_checked == bytes.size() - 4096);
    }
    std::string damaged = bytes;
    damaged.replace(0, header_size, std::string(header_size, 'x'));
    write_bytes(path, damaged);
    const auto report = Emdb::verify(path).value();
    CHECK(report.damage_count == 2);
    CHECK(report.frames == intact.frames);  // the frames tell what they were summed up with
}

TEST_CASE("verify: a torn tail is told from damage, and is none") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    const std::string bytes = make_database(path);
    write_bytes(path, bytes + std::string(500, '\xA5') + std::string(3000, '\0'));
    const auto torn = Emdb::verify(path).value();
    CHECK(torn.ok());
    CHECK(torn.torn_tail);
    CHECK(torn.bytes_checked == bytes.size());
    write_bytes(path, bytes + std::string(5000, '\0'));  // preallocated, and never used
    const auto preallocated = Emdb::verify(path).value();
    CHECK(preallocated.ok());
    CHECK_FALSE(preallocated.torn_tail);
}

}  // namespace emdb_test
