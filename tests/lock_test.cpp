// Who may open a database that many want at once. The lock file and its holders are in lock_file_test.cpp.

#include <doctest/doctest.h>

#if !defined(_WIN32)

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "emdb.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::Emdb;

constexpr std::size_t racers = 20;

// Lets 20 processes open one database at the same moment, each of which says by one byte how it went: 'o' opened, 'l' already
// locked, 'e' another error. Those that have opened it hold it until all have tried, then close it, or are killed.
std::string race(const std::string& path, bool killed) {
    int start[2];
    int said[2];
    int end[2];
    REQUIRE(::pipe(start) == 0);
    REQUIRE(::pipe(said) == 0);
    REQUIRE(::pipe(end) == 0);
    std::vector<pid_t> children;
    for (std::size_t i = 0; i < racers; ++i) {
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child != 0) {
            children.push_back(child);
            continue;
        }
        ::alarm(60);
        ::close(start[1]);
        ::close(end[1]);
        char byte = 0;
        static_cast<void>(!::read(start[0], &byte, 1));  // until the parent closes its end
        auto db = Emdb::open(path);
        byte = db ? 'o' : db.error() == emdb::ErrorCode::already_locked ? 'l' : 'e';
        if (db && !db->insert("opened by " + std::to_string(i), "v")) byte = 'e';
        static_cast<void>(!::write(said[1], &byte, 1));
        static_cast<void>(!::read(end[0], &byte, 1));
        if (db && !killed) db->close().value();
        ::_exit(0);
    }
    ::close(start[1]);
    std::string outcome;
    for (char byte = 0; outcome.size() < racers && ::read(said[0], &byte, 1) == 1;) outcome += byte;
    const auto holder = Emdb::lock_holder(path).value();
    CHECK(holder.has_value());
    if (holder) CHECK(std::count(children.begin(), children.end(), static_cast<pid_t>(holder->pid)) == 1);
    if (killed) {
        for (const pid_t child : children) ::kill(child, SIGKILL);
    }
    ::close(end[1]);
    for (const pid_t child : children) ::waitpid(child, nullptr, 0);
    for (const int descriptor : {start[0], said[0], said[1], end[0]}) ::close(descriptor);
    std::sort(outcome.begin(), outcome.end());
    return outcome;
}

const std::string one_opener = std::string(racers - 1, 'l') + "o";

}  // namespace

TEST_CASE("of 20 processes that open a database at once, one succeeds and 19 are told that it is locked") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    Emdb::open(path).value().insert("k", "v").value();
    for (std::size_t round = 1; round <= 10; ++round) {
        CHECK(race(path, false) == one_opener);
        CHECK_FALSE(Emdb::lock_holder(path).value().has_value());
        CHECK(Emdb::open(path).value().get("k").value() == "v");
    }
}

TEST_CASE("of 20 processes that create a database at once, one succeeds, and nobody's database is lost") {
    TempFolder folder;
    for (int round = 0; round < 10; ++round) {
        const std::string path = folder.file(std::to_string(round));
        CHECK(race(path, false) == one_opener);
        CHECK(Emdb::open(path).value().len().value() == 1);
        // Each database has a checkpoint beside it, and nothing else.
        CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator()) ==
              2 * (round + 1));
    }
}

TEST_CASE("openers that are killed never leave a lock that has to be broken, whatever their lock file says") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    Emdb::open(path).value().insert("k", "v").value();
    for (std::size_t round = 1; round <= 5; ++round) {
        CHECK(race(path, true) == one_opener);
        CHECK(std::filesystem::exists(path + ".lock"));
        // Not even if the process that it names is alive: this one.
        if (round % 2 == 0) std::ofstream(path + ".lock") << "emdb-lock 1\npid " << ::getpid() << "\n";
        CHECK_FALSE(Emdb::lock_holder(path).value().has_value());
    }
    CHECK(Emdb::open(path).value().get("k").value() == "v");
}

}  // namespace emdb_test

#endif
