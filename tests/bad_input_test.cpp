// Bad input: each is an Error of its own, says which file and what to do, and changes nothing. Locks are in lock_file_test.cpp,
// and what is scarce in scarcity_test.cpp.

#include <doctest/doctest.h>

#include <cstddef>
#include <filesystem>
#include <string>

#include "emdb.hpp"
#include "support/refusals.hpp"
#include "support/temp_folder.hpp"

#if !defined(_WIN32)
#include <sys/stat.h>

#include <cerrno>

#include "support/child_process.hpp"
#endif

namespace emdb_test {
namespace {

using namespace refusals;
#if !defined(_WIN32)
using namespace children;
#endif
using emdb::AppendMode;
using emdb::Emdb;
using emdb::Result;

}  // namespace

// --- files that are no databases

constexpr char separator = static_cast<char>(fs::path::preferred_separator);

TEST_CASE("a path in a missing directory is an io error") {
    TempFolder folder;
    check_refused(folder, folder.file("missing") + separator + "a.emdb", "io");
    CHECK(Emdb::open(folder.file("missing") + separator + "a.emdb").error().os_error() != 0);
    write_file(folder.file("plain file"), "");
    check_refused(folder, folder.file("plain file") + separator + "a.emdb", "io");
}

TEST_CASE("a directory as path is an io error") {
    TempFolder folder;
    fs::create_directory(folder.file("directory"));
    check_refused(folder, folder.file("directory"), "io");
}

TEST_CASE("a file that is not emdb is a magic mismatch") {
    TempFolder folder;
    const std::string contents[] = {"x",
                                    "\n",
                                    std::string(1, '\0'),
                                    "Dear diary,\n",
                                    "SQLite format 3",
                                    std::string(100, ' '),
                                    std::string(4095, 'a'),
                                    std::string(4096, 'a'),
                                    std::string(header_size, 'a'),
                                    std::string(100'000, 'a'),
                                    std::string(100'000, '\0')};
    for (const auto& content : contents) {
        CAPTURE(content.size());
        write_file(folder.file("text.txt"), content);
        check_refused(folder, folder.file("text.txt"), "magic_mismatch");
    }
}

TEST_CASE("an empty file becomes a new database") {
    TempFolder folder;
    write_file(folder.file("a.emdb"), "");
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        CHECK(db.is_empty().value() == true);
        db.insert("k", "v").value();
    }
    CHECK(Emdb::open(folder.file("a.emdb")).value().get("k").value() == "v");
}

#if !defined(_WIN32)
TEST_CASE("something that is neither file nor directory is refused and stays what it is") {
    TempFolder folder;
    REQUIRE(::mkfifo(folder.file("pipe").c_str(), 0600) == 0);
    const auto before = state_of(folder);
    const auto refused = Emdb::open(folder.file("pipe"));
    CHECK_FALSE(refused.has_value());
    if (!refused) check_message(refused.error(), folder.file("pipe"));
    CHECK((state_of(folder) == before));
}
#endif

// --- damage

TEST_CASE("a file cut off inside its header is corrupted") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    const std::string whole = read_file(folder.file("a.emdb"));
    for (const std::size_t size : {std::size_t{64}, std::size_t{100}, header_slot_size / 2, header_slot_size - 1}) {
        CAPTURE(size);
        write_file(folder.file("cut.emdb"), whole.substr(0, size));
        check_refused(folder, folder.file("cut.emdb"), "corrupted");
    }
}

TEST_CASE("one good header slot is enough") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    const std::string whole = read_file(folder.file("a.emdb"));
    const auto damaged = folder.file("damaged.emdb");
    for (const std::size_t slot : {std::size_t{0}, header_slot_size}) {
        CAPTURE(slot);
        for (std::size_t at = 0; at < 128; at += 3) {
            CAPTURE(at);
            write_file(damaged, whole);
            overwrite_at(damaged, slot + at, flipped(whole.substr(slot + at, 1)));
            check_is_intact(damaged);
        }
        for (const std::string& junk :
             {flipped(whole.substr(slot, header_slot_size)), std::string(header_slot_size, '\0')}) {
            write_file(damaged, whole);
            overwrite_at(damaged, slot, junk);
            check_is_intact(damaged);
            check_is_intact(damaged);
        }
    }
}

TEST_CASE("a header damaged in both slots is corrupted") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    const std::string whole = read_file(folder.file("a.emdb"));
    const auto damaged = folder.file("damaged.emdb");
    write_file(damaged, whole);
    constexpr std::size_t at = 40;  // past the magic and the version
    overwrite_at(damaged, at, flipped(whole.substr(at, 16)));
    overwrite_at(damaged, header_slot_size + at, flipped(whole.substr(header_slot_size + at, 16)));
    check_refused(folder, damaged, "corrupted");
}

TEST_CASE("damage anywhere in flushed records is corrupted, with its offset, and the file is not changed") {
    TempFolder folder;
    std::size_t flushed_end = 0;
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        for (int i = 0; i < 10; ++i) db.insert("key " + std::to_string(i), "value " + std::to_string(i)).value();
        db.open_namespace("names").value().insert("k", "v").value();
        db.transaction([](emdb::Transaction& tx) -> Result<void> {
              tx.insert("t1", "1").value();
              return tx.insert("t2", "2");
          }).value();
        flushed_end = static_cast<std::size_t>(db.stats().value().file_size_bytes);
        db.flush().value();
        db.insert("not", "flushed").value();
    }
    const std::string whole = read_file(folder.file("a.emdb"));
    REQUIRE(flushed_end > header_size);
    REQUIRE(flushed_end < whole.size());
    const auto damaged = folder.file("damaged.emdb");
    for (std::size_t at = header_size; at < flushed_end; ++at) {
        CAPTURE(at);
        for (const char value : {static_cast<char>(~whole[at]), static_cast<char>(whole[at] ^ 1), '\0'}) {
            if (value == whole[at]) continue;
            std::string bytes = whole;
            bytes[at] = value;
            write_file(damaged, bytes);
            const auto refused = Emdb::open(damaged);
            REQUIRE(outcome(refused) == "corrupted");
            CHECK(refused.error().offset() >= header_size);
            CHECK(refused.error().offset() <= at);
            check_message(refused.error(), damaged);
            REQUIRE((read_file(damaged) == bytes));
        }
    }
    // So is a whole part that was zeroed, or swapped with another.
    for (const std::size_t size : {std::size_t{16}, std::size_t{64}}) {
        std::string bytes = whole;
        std::fill_n(bytes.begin() + header_size, size, '\0');
        write_file(damaged, bytes);
        CHECK(outcome(Emdb::open(damaged)) == "corrupted");
    }
}

TEST_CASE("records of one database put into another's file are damage, not data") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    make_database(folder.file("b.emdb"));
    const std::string a = read_file(folder.file("a.emdb"));
    const std::string b = read_file(folder.file("b.emdb"));
    write_file(folder.file("mixed.emdb"), a.substr(0, header_size) + b.substr(header_size));
    // Not one of them validates, so this is a journal without a valid frame: cut, or refused, but never read.
    auto mixed = Emdb::open(folder.file("mixed.emdb"));
    if (mixed) CHECK(mixed->is_empty().value() == true);
}

TEST_CASE("damage that comes while the database is open is reported by the read that meets it") {
    for (const AppendMode mode : {AppendMode::automatic, AppendMode::pwrite}) {
        TempFolder folder;
        const auto path = folder.file("a.emdb");
        auto db = Emdb::builder().path(path).append_mode(mode).build().value();
        const std::string marker = "a value that occurs once in the file";
        db.insert("before", "1").value();
        db.insert("k", marker).value();
        db.insert("after", "2").value();
        db.flush().value();
        const std::size_t at = read_file(path).find(marker);
        REQUIRE(at != std::string::npos);
        overwrite_at(path, at + 10, "#");

        const auto refused = db.get("k");
        CHECK(outcome(refused) == "corrupted");
        CHECK(refused.error().offset() >= header_size);
        CHECK(refused.error().offset() <= at);
        check_message(refused.error(), path);
        std::string out = "untouched";
        CHECK(outcome(db.get_into("k", out)) == "corrupted");
        CHECK(out == "untouched");
        CHECK(outcome(db.get_or("k", "fallback")) == "corrupted");
        CHECK(outcome(db.get_zerocopy("k")) == "corrupted");
        CHECK(outcome(db.get_many({"before", "k"})) == "corrupted");
        CHECK(outcome(db.visit_many({"before", "k"}, [](auto, auto) {})) == "corrupted");
        CHECK(outcome(db.iter().value().collect()) == "corrupted");
        CHECK(db.get("before").value() == "1");
        CHECK(db.get("after").value() == "2");
        db.insert("k", "written anew").value();
        CHECK(db.get("k").value() == "written anew");
        CHECK(db.iter().value().collect().value().size() == 3);
    }
}

#if !defined(_WIN32)
// --- permissions

namespace {

std::string refusal(const char* path, const char* code, int os_error) {
    Wrongs wrongs;
    const auto refused = Emdb::open(path);
    wrongs.expect_equal(outcome(refused), code, path);
    if (!refused) {
        wrongs.expect_equal(std::to_string(refused.error().os_error()), std::to_string(os_error), "os_error");
        wrongs.expect(refused.error().message().find(path) != std::string::npos,
                      "no path in: " + refused.error().message());
    }
    return wrongs.text();
}

}  // namespace

TEST_CASE("a file that may not be read or written is an io error") {
    TempFolder folder;
    fs::permissions(folder.path(), fs::perms::all);
    make_database(folder.file("unreadable.emdb"));
    make_database(folder.file("read-only.emdb"));
    fs::permissions(folder.file("unreadable.emdb"), fs::perms::none);
    fs::permissions(folder.file("read-only.emdb"),
                    fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read);
    const auto before = state_of(folder);
    CHECK(as_ordinary_user(folder, [] { return refusal("unreadable.emdb", "io", EACCES); }) == "");
    CHECK(as_ordinary_user(folder, [] { return refusal("read-only.emdb", "io", EACCES); }) == "");
    CHECK((state_of(folder) == before));
    fs::permissions(folder.file("unreadable.emdb"), fs::perms::owner_all);
    fs::permissions(folder.file("read-only.emdb"), fs::perms::owner_all);
    check_is_intact(folder.file("unreadable.emdb"));
    check_is_intact(folder.file("read-only.emdb"));
}

TEST_CASE("a directory that may not be written takes no new database") {
    TempFolder folder;
    const auto read_and_search = fs::perms::owner_read | fs::perms::owner_exec | fs::perms::group_read |
                                 fs::perms::group_exec | fs::perms::others_read | fs::perms::others_exec;
    fs::permissions(folder.path(), read_and_search);
    CHECK(as_ordinary_user(folder, [] { return refusal("new.emdb", "io", EACCES); }) == "");
    CHECK(state_of(folder).empty());
    fs::permissions(folder.path(), fs::perms::owner_all);
}
#endif

}  // namespace emdb_test
