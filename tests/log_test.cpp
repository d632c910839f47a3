// The log callback: what is said of opening and closing, and that nothing is said unasked.

#include <doctest/doctest.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/free_space.hpp"
#include "support/temp_folder.hpp"

#if !defined(_WIN32)
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace emdb_test {
namespace {

namespace fs = std::filesystem;
using emdb::Emdb;
using emdb::LogLevel;

// Collects what a database logs.
struct Log {
    std::mutex mutex;
    std::vector<std::pair<LogLevel, std::string>> lines;

    auto callback() {
        return [this](LogLevel level, std::string_view text) {
            const std::lock_guard lock(mutex);
            lines.emplace_back(level, text);
        };
    }
    std::string from(LogLevel least) {
        const std::lock_guard lock(mutex);
        std::string text;
        for (const auto& [level, line] : lines) {
            if (level >= least) text += line + '\n';
        }
        return text;
    }
};

}  // namespace

TEST_CASE("opening and closing a sound database logs no warning") {
    TempFolder folder;
    Log log;
    for (int i = 0; i < 3; ++i) {
        auto db = Emdb::builder().path(folder.file("a.emdb")).on_log(log.callback()).build().value();
        db.insert(std::to_string(i), "v").value();
        db.flush().value();
    }
    CHECK(log.from(LogLevel::warning) == "");
}

TEST_CASE("the log says that a torn tail was cut, and how much") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    {
        auto db = Emdb::open(path).value();
        for (int i = 0; i < 100; ++i) db.insert(std::to_string(i), "v").value();
    }
    cut_free_space(path);
    const auto sound_size = fs::file_size(path);
    std::ofstream(path, std::ios::binary | std::ios::app) << std::string(12'347, '\xA5');
    Log log;
    {
        auto db = Emdb::builder().path(path).on_log(log.callback()).build().value();
        CHECK(db.len().value() == 100);
        CHECK(log.from(LogLevel::info).find("12347") != std::string::npos);
        CHECK(log.from(LogLevel::info).find(path) != std::string::npos);
        db.insert("after", "v").value();
    }
    if (closing_gives_space_back) CHECK(fs::file_size(path) < sound_size + 1000);
    Log second;
    auto db = Emdb::builder().path(path).on_log(second.callback()).build().value();
    CHECK(db.len().value() == 101);
    CHECK(second.from(LogLevel::warning) == "");
}

TEST_CASE("the log says that a torn tail behind free space was cut, wherever the free space begins") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    Emdb::open(path).value().insert("k", "v").value();
    cut_free_space(path);
    std::ofstream(path, std::ios::binary | std::ios::app) << std::string(100, '\xA5') << std::string(1000, '\0');
    Log log;
    auto db = Emdb::builder().path(path).on_log(log.callback()).build().value();
    CHECK(log.from(LogLevel::warning).find("torn tail of 100 bytes") != std::string::npos);
}

TEST_CASE("a new database, and one in memory, log nothing") {
    TempFolder folder;
    Log log;
    Emdb::builder().path(folder.file("a.emdb")).on_log(log.callback()).build().value();
    Emdb::builder().on_log(log.callback()).build().value().insert("k", "v").value();
    CHECK(log.from(LogLevel::debug) == "");
}

TEST_CASE("a lock file that can't be written or removed is a warning, and the database works") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    fs::create_directories(path + ".lock/in the way");
    Log log;
    {
        auto db = Emdb::builder().path(path).on_log(log.callback()).build().value();
        CHECK(log.from(LogLevel::warning).find("lock file of '" + path + "' could not be written") != std::string::npos);
        db.insert("k", "v").value();
        log.lines.clear();
    }
    CHECK(log.from(LogLevel::warning).find("lock file of '" + path + "' stays behind") != std::string::npos);
    CHECK(log.from(LogLevel::error) == "");
}

#if !defined(_WIN32)

namespace {

// Ends a child process in the middle of its work on a database.
template <class F>
void work_and_die(F&& work) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        work();
        ::_exit(0);  // no destructor runs
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
}

}  // namespace

TEST_CASE("the log says that a database was not closed cleanly, once") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    work_and_die([&] {
        static Emdb db = Emdb::open(path).value();
        db.insert("k", "v").value();
    });
    Log log;
    { auto db = Emdb::builder().path(path).on_log(log.callback()).build().value(); }
    CHECK(log.from(LogLevel::info).find("'" + path + "' was not closed cleanly: recovered up to offset ") != std::string::npos);
    CHECK(log.from(LogLevel::warning) == "");
    log.lines.clear();
    { auto db = Emdb::builder().path(path).on_log(log.callback()).build().value(); }
    CHECK(log.from(LogLevel::info) == "");
}

TEST_CASE("without a callback nothing is printed, whatever happens") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    Emdb::open(path).value().insert("k", "v").value();
    std::ofstream(path, std::ios::binary | std::ios::app) << "torn";
    fs::create_directories(path + ".lock/in the way");
    work_and_die([&] {
        const int printed = ::open(folder.file("printed").c_str(), O_CREAT | O_WRONLY, 0600);
        ::dup2(printed, STDOUT_FILENO);
        ::dup2(printed, STDERR_FILENO);
        Emdb::open(path).value().insert("k", "v").value();
        static_cast<void>(Emdb::open(path + "/not there"));
        static_cast<void>(Emdb::verify(path));
    });
    CHECK(fs::file_size(folder.file("printed")) == 0);
}

#endif

}  // namespace emdb_test
