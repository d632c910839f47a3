// Emdb::salvage: every intact record of a damaged file in a new database. Hostile files and failing disks are in
// inspection_test.cpp.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/database_contents.hpp"
#include "support/free_space.hpp"
#include "support/temp_folder.hpp"

#if !defined(_WIN32)
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace emdb_test {
namespace {

namespace fs = std::filesystem;
using emdb::Emdb;
using emdb::ErrorCode;
using emdb::SalvageReport;

constexpr std::size_t header_size = 8192;

std::string value_of(int i) { return "value " + std::to_string(i) + std::string(60, '.'); }

// Records "key 0" to "key 99", every tenth of them removed, and a namespace with three more.
void make_database(const std::string& path) {
    {
        auto db = Emdb::open(path).value();
        for (int i = 0; i < 100; ++i) db.insert("key " + std::to_string(i), value_of(i)).value();
        for (int i = 0; i < 100; i += 10) db.remove("key " + std::to_string(i)).value();
        auto names = db.open_namespace("names").value();
        for (int i = 0; i < 3; ++i) names.insert("name " + std::to_string(i), value_of(i)).value();
    }
    cut_free_space(path);
}

std::size_t place_of(std::string_view bytes, std::string_view text) {
    const std::size_t at = bytes.find(text);
    REQUIRE(at != std::string_view::npos);
    return at;
}

struct Salvaged {
    SalvageReport report;
    SeenContents contents;
};

// Salvages bytes; the new database must be intact, and nothing may be left beside it.
Salvaged salvage(std::string_view bytes, emdb::SalvageOptions options = {}) {
    TempFolder folder;
    const std::string from = folder.file("damaged");
    const std::string to = folder.file("salvaged");
    write_bytes(from, bytes);
    Salvaged salvaged;
    salvaged.report = Emdb::salvage(from, to, options).value();
    CHECK(read_bytes(from) == bytes);
    const auto verified = Emdb::verify(to).value();
    CHECK(verified.ok());
    CHECK_FALSE(verified.torn_tail);
    CHECK(verified.live_records == salvaged.report.records_written);
    CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 2);
    salvaged.contents = contents_of(to);
    CHECK(record_count(salvaged.contents) == salvaged.report.records_written);
    return salvaged;
}

std::map<std::string, std::string> state_of(const TempFolder& folder) {
    std::map<std::string, std::string> state;
    for (const auto& entry : fs::directory_iterator(folder.path())) {
        state[entry.path().string()] = entry.is_regular_file() ? read_bytes(entry.path().string()) : "?";
    }
    return state;
}

}  // namespace

TEST_CASE("salvage: an intact database is copied whole: namespaces, empty ones too, expiry, binary keys, large values") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    make_database(path);
    {
        auto db = Emdb::open(path).value();
        db.insert(std::string("\0\xFF\n", 3), std::string(3 << 20, 'L')).value();
        db.insert("", "").value();
        db.open_namespace("empty").value();
        db.drop_namespace(db.open_namespace("dropped").value().name()).value();
        auto cleared = db.open_namespace("cleared").value();
        cleared.insert("before", "x").value();
        cleared.clear().value();
        cleared.insert("after", "y").value();
#if EMDB_TTL
        db.insert_with_ttl("expiring", "v", emdb::Ttl::at(4'000'000'000'000)).value();
#endif
    }
    const SeenContents expected = contents_of(path);
    const Salvaged salvaged = salvage(read_bytes(path));
    CHECK((salvaged.contents == expected));
    CHECK(salvaged.report.frames_skipped == 0);
    CHECK(salvaged.report.bytes_skipped == 0);
}

TEST_CASE("salvage: the new database is an ordinary one, which can be written and reopened") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    Emdb::salvage(folder.file("a.emdb"), folder.file("b.emdb")).value();
    {
        auto db = Emdb::open(folder.file("b.emdb")).value();
        db.open_namespace("one more").value().insert("k", "v").value();
        db.open_namespace("names").value().insert("k", "v").value();
        db.insert("k", "v").value();
    }
    const SeenContents contents = contents_of(folder.file("b.emdb"));
    CHECK(record_count(contents) == 93 + 3);
    CHECK(contents.at("one more").at("k").value == "v");
    CHECK(contents.at("names").size() == 4);
}

TEST_CASE("salvage: a damaged record is all that is lost") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    SeenContents expected = contents_of(folder.file("a.emdb"));
    std::string bytes = read_bytes(folder.file("a.emdb"));
    for (const int i : {5, 51, 99}) {
        bytes[place_of(bytes, value_of(i)) + 3] ^= 4;
        expected[""].erase("key " + std::to_string(i));
    }
    CHECK_FALSE(Emdb::verify(folder.file("a.emdb")).value().damage_count);
    write_bytes(folder.file("a.emdb"), bytes);
    CHECK(Emdb::open(folder.file("a.emdb")).error() == ErrorCode::corrupted);
    const Salvaged salvaged = salvage(bytes);
    CHECK((salvaged.contents == expected));
    CHECK(salvaged.report.records_written == 90);
    CHECK(salvaged.report.frames_skipped == 3);
    CHECK(salvaged.report.bytes_skipped > 3 * 60);
    CHECK(salvaged.report.bytes_skipped < 3 * 100);
}

TEST_CASE("salvage: a damaged removal lets the record come back, a damaged newer value the older one") {
    TempFolder folder;
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        db.insert("removed", "value").value();
        db.insert("replaced", "older").value();
        db.remove("removed").value();
        db.insert("replaced", "newer").value();
    }
    std::string bytes = read_bytes(folder.file("a.emdb"));
    CHECK(salvage(bytes).contents.at("").size() == 1);
    bytes[bytes.rfind("removed")] ^= 1;
    bytes[place_of(bytes, "newer")] ^= 1;
    const Salvaged salvaged = salvage(bytes);
    CHECK(salvaged.contents.at("").at("removed").value == "value");
    CHECK(salvaged.contents.at("").at("replaced").value == "older");
}

TEST_CASE("salvage: records of a namespace whose name is lost get one") {
    TempFolder folder;
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        db.open_namespace("the name").value().insert("k", "v").value();
        db.open_namespace("lost namespace 1").value().insert("other", "v").value();
    }
    std::string bytes = read_bytes(folder.file("a.emdb"));
    bytes[place_of(bytes, "the name")] ^= 1;
    const Salvaged salvaged = salvage(bytes);
    CHECK(salvaged.contents.at("lost namespace 1'").at("k").value == "v");
    CHECK(salvaged.contents.at("lost namespace 1").at("other").value == "v");
}

TEST_CASE("salvage: a name given again after a lost drop is the later namespace's") {
    TempFolder folder;
    std::size_t before_the_drop = 0;
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        db.open_namespace("again").value().insert("first", "v").value();
        before_the_drop = db.stats().value().file_size_bytes;
        db.drop_namespace("again").value();
        db.open_namespace("again").value().insert("second", "v").value();
    }
    std::string bytes = read_bytes(folder.file("a.emdb"));
    bytes[before_the_drop] ^= 1;
    const Salvaged salvaged = salvage(bytes);
    CHECK(salvaged.contents.size() == 2);
    CHECK(salvaged.contents.at("again").size() == 1);
    CHECK(salvaged.contents.at("again").count("second") == 1);
}

TEST_CASE("salvage: one copy of the header is enough, and so are two intact neighbours without any") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    const SeenContents expected = contents_of(folder.file("a.emdb"));
    const std::string bytes = read_bytes(folder.file("a.emdb"));
    for (const auto& [from, to] : std::vector<std::pair<std::size_t, std::size_t>>{{0, 4096}, {4096, 8192}, {0, 8192}}) {
        std::string damaged = bytes;
        std::fill(damaged.begin() + static_cast<std::ptrdiff_t>(from), damaged.begin() + static_cast<std::ptrdiff_t>(to), '\xEE');
        CHECK((salvage(damaged).contents == expected));
        // Not only where the first frames are intact.
        damaged[header_size + 20] ^= 1;
        CHECK((salvage(damaged).contents == expected));  // that record had been removed later
    }
}

TEST_CASE("salvage: with no header and no two intact neighbours there is nothing to go by") {
    TempFolder folder;
    const std::string from = folder.file("a.emdb");
    { Emdb::open(from).value().insert("only", "record").value(); }
    cut_free_space(from);
    fs::remove(from + ".meta");
    std::string bytes = read_bytes(from);
    bytes.replace(100, 100, std::string(100, 'x'));
    bytes.replace(4196, 100, std::string(100, 'x'));
    bytes.resize(bytes.size() - 10);
    write_bytes(from, bytes);
    CHECK(Emdb::salvage(from, folder.file("b")).error() == ErrorCode::corrupted);
    bytes.replace(0, header_size, std::string(header_size, 'x'));
    write_bytes(from, bytes);
    CHECK(Emdb::salvage(from, folder.file("b")).error() == ErrorCode::magic_mismatch);
    write_bytes(from, "");
    CHECK(Emdb::salvage(from, folder.file("b")).error() == ErrorCode::corrupted);
    CHECK(Emdb::salvage(folder.file("absent"), folder.file("b")).error() == ErrorCode::io);
    CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("salvage: of a transaction that was committed, the intact part is taken; of one that may not have been, nothing") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    {
        auto db = Emdb::open(path).value();
        db.insert("before", value_of(77)).value();
        db.transaction([](emdb::Transaction& tx) -> emdb::Result<void> {
              for (int i = 0; i < 10; ++i) tx.insert("tx " + std::to_string(i), value_of(i)).value();
              return {};
          }).value();
    }
    const std::string bytes = read_bytes(path);
    const std::size_t member = place_of(bytes, value_of(5));

    std::string damaged = bytes;  // the close mark behind it says that it was committed
    damaged[member] ^= 1;
    CHECK(salvage(damaged).contents.at("").size() == 1 + 9);

    const std::string torn = bytes.substr(0, member) + std::string(100, '\0');
    const Salvaged none = salvage(torn);
    CHECK(none.contents.at("").size() == 1);
    CHECK(none.report.frames_skipped == 1 + 5 + 1);  // the head, five members, and what is left of the sixth
    emdb::SalvageOptions options;
    options.unfinished_batch = true;
    CHECK(salvage(torn, options).contents.at("").size() == 1 + 5);
    std::string behind_damage = torn;
    behind_damage[place_of(torn, value_of(77))] ^= 1;
    CHECK(salvage(behind_damage).report.records_written == 0);

    // What opens gives the same as opening it.
    write_bytes(path, torn);
    CHECK((contents_of(path) == none.contents));
}

TEST_CASE("salvage: a torn tail is left behind, and free space is not counted as skipped") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    const SeenContents expected = contents_of(folder.file("a.emdb"));
    const std::string bytes = read_bytes(folder.file("a.emdb"));
    const Salvaged torn = salvage(bytes + std::string(500, '\xA5') + std::string(10'000, '\0'));
    CHECK((torn.contents == expected));
    CHECK(torn.report.frames_skipped == 1);
    CHECK(torn.report.bytes_skipped == 500);
}

TEST_CASE("salvage: progress goes up, over one pass that looks and one that copies") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    const std::uint64_t size = fs::file_size(folder.file("a.emdb"));
    std::vector<std::uint64_t> seen;
    Emdb::salvage(folder.file("a.emdb"), folder.file("b.emdb"), {.progress = [&](std::uint64_t done, std::uint64_t total) {
                      CHECK(total == 2 * size);
                      seen.push_back(done);
                  }}).value();
    CHECK(std::is_sorted(seen.begin(), seen.end()));
    CHECK(seen.back() == 2 * size);
}

TEST_CASE("salvage: what has the target's name is not touched") {
    TempFolder folder;
    const std::string from = folder.file("a.emdb");
    make_database(from);
    fs::create_directory(folder.file("folder"));
    write_bytes(folder.file("file"), "precious");
    write_bytes(folder.file("empty"), "");
    std::error_code no_links;
    fs::create_hard_link(from, folder.file("hard link"), no_links);
    fs::create_symlink(from, folder.file("link"), no_links);
    fs::create_symlink(folder.file("nothing"), folder.file("dangling"), no_links);
    const auto before = state_of(folder);
    for (const char* to : {"a.emdb", "folder", "file", "empty", "hard link", "link", "dangling"}) {
        CAPTURE(to);
        if (!fs::exists(fs::symlink_status(folder.file(to)))) continue;  // no links here
        const auto refused = Emdb::salvage(from, folder.file(to));
        REQUIRE_FALSE(refused.has_value());
        CHECK(refused.error() == ErrorCode::invalid_argument);
        CHECK(refused.error().message().find(to) != std::string::npos);
        CHECK((state_of(folder) == before));
    }
    CHECK(Emdb::salvage(from, folder.file("no folder/b.emdb")).error() == ErrorCode::io);
    CHECK(Emdb::salvage(from, from + "/b.emdb").error() == ErrorCode::io);
    CHECK((state_of(folder) == before));
}

TEST_CASE("salvage: a database that is open is refused") {
    TempFolder folder;
    auto db = Emdb::open(folder.file("a.emdb")).value();
    CHECK(Emdb::salvage(folder.file("a.emdb"), folder.file("b.emdb")).error() == ErrorCode::already_locked);
    CHECK_FALSE(fs::exists(folder.file("b.emdb")));
}

#if !defined(_WIN32)

TEST_CASE("salvage: the new file may be read by those who could read the old one, and nobody else") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    REQUIRE(::chmod(folder.file("a.emdb").c_str(), 0600) == 0);
    Emdb::salvage(folder.file("a.emdb"), folder.file("b.emdb")).value();
    struct stat status;
    REQUIRE(::stat(folder.file("b.emdb").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("salvage: killed at any moment, it leaves nothing under the target's name, and can be done again") {
    TempFolder folder;
    const std::string from = folder.file("a.emdb");
    const std::string to = folder.file("b.emdb");
    {
        auto db = Emdb::open(from).value();
        for (int i = 0; i < 100; ++i) db.insert(std::to_string(i), std::string(100'000, 'v')).value();
    }
    std::uint64_t moments = 0;
    emdb::SalvageOptions options;
    options.progress = [&](std::uint64_t, std::uint64_t) { ++moments; };
    Emdb::salvage(from, to, options).value();
    fs::remove(to);
    REQUIRE(moments > 10);
    for (std::uint64_t moment = 1; moment <= moments; moment += 2) {
        CAPTURE(moment);
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            std::uint64_t left = moment;
            options.progress = [&left](std::uint64_t, std::uint64_t) {
                if (--left == 0) ::kill(::getpid(), SIGKILL);
            };
            static_cast<void>(Emdb::salvage(from, to, options));
            ::_exit(0);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        CHECK(WIFSIGNALED(status));
        CHECK_FALSE(fs::exists(to));
    }
    CHECK(Emdb::salvage(from, to).value().records_written == 100);
    for (const auto& entry : fs::directory_iterator(folder.path())) {
        CHECK((entry.path() == from || entry.path() == from + ".meta" || entry.path() == to));
    }
}

#endif

TEST_CASE("salvage: random damage never makes a record that was not written, and loses none that is intact") {
    // Each key is written once, so that nothing hides behind damage.
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    const std::uint32_t seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random()) % limit; };
    std::vector<std::pair<std::size_t, std::size_t>> places;  // of the frame of key i: from, to
    {
        auto db = Emdb::open(path).value();
        for (int i = 0; i < 300; ++i) {
            const std::size_t from = db.stats().value().file_size_bytes;
            db.insert("key " + std::to_string(i), value_of(i) + std::string(below(300), 'r')).value();
            places.emplace_back(from, db.stats().value().file_size_bytes);
        }
    }
    const std::string bytes = read_bytes(path);
    const SeenContents written = contents_of(path);
    for (int round = 0; round < 50; ++round) {
        CAPTURE(round);
        std::string damaged = bytes;
        std::vector<std::pair<std::size_t, std::size_t>> hits;
        for (std::size_t damages = 1 + below(6); damages > 0; --damages) {
            const std::size_t at = below(damaged.size());
            const std::size_t size = (std::min)(1 + below(below(2) == 0 ? 4 : 2000), damaged.size() - at);
            hits.emplace_back(at, at + size);
            const int kind = static_cast<int>(below(3));
            const std::size_t from = below(bytes.size() - size + 1);
            for (std::size_t i = at; i < at + size; ++i) {
                damaged[i] = kind == 0 ? static_cast<char>(random()) : kind == 1 ? '\0' : bytes[from + i - at];
            }
        }
        const Salvaged salvaged = salvage(damaged);
        for (const auto& [key, record] : salvaged.contents.at("")) CHECK((written.at("").at(key) == record));
        for (std::size_t i = 0; i < places.size(); ++i) {
            const auto& place = places[i];
            const bool hit =
                std::any_of(hits.begin(), hits.end(), [&](auto at) { return at.first < place.second && at.second > place.first; });
            if (!hit) CHECK(salvaged.contents.at("").count("key " + std::to_string(i)) == 1);
        }
    }
}

}  // namespace emdb_test
