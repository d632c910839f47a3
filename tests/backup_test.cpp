// Backups as their users see them: one moment of a database that goes on, in a file that is a database of its own.

#include "emdb.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/temp_folder.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#endif

namespace emdb_test {

namespace {

namespace fs = std::filesystem;
using emdb::Emdb;
using emdb::ErrorCode;

using Records = std::map<std::string, std::string>;

Records records_of(const emdb::Keyspace& keyspace) {
    Records records;
    for (emdb::Record& record : keyspace.iter().value().collect().value()) records.emplace(record.key, record.value);
    return records;
}

std::string bytes_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("backup: opens as a normal database with all that the other one has, and goes its own way") {
    const TempFolder folder;
    const std::string target = folder.file("backup.emdb");
    for (const bool in_memory : {true, false}) {  // into a new file, and over it
        emdb::EmdbBuilder builder = Emdb::builder();
        if (!in_memory) builder.path(folder.file("a.emdb"));
        Emdb db = builder.enable_range_scans(true).build().value();
        emdb::Namespace users = db.open_namespace("users").value();
        emdb::Namespace empty = db.open_namespace("empty").value();
        for (int i = 0; i < 3000; ++i) {
            db.insert("key-" + std::to_string(i), std::string(100, 'x')).value();
            users.insert(std::to_string(i), "user").value();
        }
        for (int i = 0; i < 3000; i += 2) db.remove("key-" + std::to_string(i)).value();
        db.insert("large", std::string(3'000'000, 'L')).value();
        db.insert("", "empty key").value();
#if EMDB_TTL
        db.insert_with_ttl("expires", "later", emdb::Ttl::at(UINT64_MAX - 1)).value();
        db.insert_with_ttl("expired", "already", emdb::Ttl::at(1)).value();
#endif
        db.backup_to(target).value();
        CHECK_FALSE(fs::exists(target + ".tmp"));
        const Records expected = records_of(db);
        db.insert("since", "then").value();

        Emdb backup = Emdb::open(target).value();
        CHECK(records_of(backup) == expected);
        CHECK(backup.len().value() == expected.size());
        CHECK(backup.list_namespaces().value() == std::vector<std::string>{"empty", "users"});
        CHECK(records_of(backup.open_namespace("users").value()) == records_of(users));
        CHECK(backup.open_namespace("empty").value().is_empty().value());
#if EMDB_TTL
        CHECK(backup.expires_at("expires").value() == UINT64_MAX - 1);
        CHECK_FALSE(backup.contains_key("expired").value());
#endif
        CHECK(backup.stats().value().dead_bytes < 10'000);
        CHECK(backup.insert("of", "its own"));
        CHECK(backup.compact());
        CHECK_FALSE(db.contains_key("of").value());
        CHECK(db.insert("more", "records"));
        // A backup of the backup, and one in place of one that nobody has open any more.
        backup.backup_to(folder.file("third.emdb")).value();
        CHECK(db.backup_to(target) == ErrorCode::already_locked);
        CHECK(records_of(backup).size() == expected.size() + 1);
        backup.close().value();
        db.backup_to(target).value();
        CHECK(Emdb::open(target).value().get("since").value() == "then");
        CHECK(Emdb::open(folder.file("third.emdb")).value().get("of").value() == "its own");
    }
}

TEST_CASE("backup: has a file id of its own, and is made anew each time") {
    const TempFolder folder;
    Emdb db = Emdb::open(folder.file("a.emdb")).value();
    db.insert("key", "value").value();
    db.backup_to(folder.file("b.emdb")).value();
    db.backup_to(folder.file("c.emdb")).value();
    db.flush().value();
    const std::string a = bytes_of(folder.file("a.emdb")), b = bytes_of(folder.file("b.emdb")), c = bytes_of(folder.file("c.emdb"));
    CHECK(a.substr(0, 4096) != b.substr(0, 4096));
    CHECK(a.substr(0, 4096) != c.substr(0, 4096));
    CHECK(b.substr(0, 4096) != c.substr(0, 4096));
}

TEST_CASE("backup: refuses the database itself under whatever name, its own files, and what is no database") {
    const TempFolder folder;
    fs::create_directory(folder.file("below"));
    const std::string path = folder.file("a.emdb");
    Emdb db = Emdb::open(path).value();
    db.insert("key", "value").value();
    std::vector<std::string> names{path, folder.file("below/../a.emdb"), folder.path() + "//./a.emdb"};
    for (const char* const suffix : {".meta", ".lock", ".tmp", ".compact"}) {
        names.push_back(path + suffix);
        names.push_back(folder.file("below/../a.emdb") + suffix);
    }
#if defined(__unix__) || defined(__APPLE__)
    fs::create_symlink(path, folder.file("symbolic.emdb"));
    fs::create_symlink("symbolic.emdb", folder.file("twice.emdb"));
    fs::create_hard_link(path, folder.file("hard.emdb"));
    names.insert(names.end(), {folder.file("symbolic.emdb"), folder.file("twice.emdb"), folder.file("hard.emdb")});
#endif
    std::ofstream(folder.file("text")) << "not a database, though it is longer than a few bytes";
    std::ofstream(folder.file("short")) << "emdb";
    names.insert(names.end(), {folder.file("text"), folder.file("short"), folder.path()});
    for (const std::string& name : names) {
        CAPTURE(name);
        CHECK(db.backup_to(name) == ErrorCode::invalid_argument);
    }
    CHECK(bytes_of(folder.file("short")) == "emdb");
    CHECK(bytes_of(folder.file("text")).size() == 52);
    CHECK(db.backup_to(folder.file("missing/b.emdb")) == ErrorCode::io);
    CHECK(db.backup_to("") == ErrorCode::io);
    CHECK(db.backup_to(std::string("/tmp/a\0b", 8)) == ErrorCode::invalid_argument);
    CHECK(db.insert("key", "as before"));
    std::ofstream(folder.file("empty"));
    db.backup_to(folder.file("empty")).value();
    CHECK(Emdb::open(folder.file("empty")).value().get("key").value() == "as before");
    db.close().value();
    CHECK(db.backup_to(folder.file("b.emdb")) == ErrorCode::stopped);
    CHECK(Emdb::open(path).value().get("key").value() == "as before");
}

TEST_CASE("backup: shows one moment, with all of a transaction or none of it") {
    const TempFolder folder;
    Emdb db = Emdb::open(folder.file("a.emdb")).value();
    emdb::Namespace mirror = db.open_namespace("mirror").value();
    constexpr int accounts = 50;
    for (int i = 0; i < 3000; ++i) db.insert("other-" + std::to_string(i), std::string(300, 'o')).value();
    std::atomic<bool> stop = false;
    std::atomic<std::uint64_t> written = 0;
    std::vector<std::thread> writers;
    for (int thread = 0; thread < 2; ++thread) {
        writers.emplace_back([&, thread] {
            for (std::uint64_t round = 1; !stop; ++round) {
                const std::string value = std::to_string(thread) + ":" + std::to_string(round);
                const auto done = db.transaction([&](emdb::Transaction& transaction) -> emdb::Result<void> {
                    for (int i = 0; i < accounts; ++i) {
                        if (auto put = transaction.insert("account-" + std::to_string(i), value); !put) return put;
                        if (auto put = transaction.in(mirror).insert(std::to_string(i), value); !put) return put;
                    }
                    return {};
                });
                if (!done) return;
                ++written;
                // In order: a backup that has the second has the first.
                db.insert(std::to_string(thread) + "/first", std::to_string(round)).value();
                db.insert(std::to_string(thread) + "/second", std::to_string(round)).value();
            }
        });
    }
    std::string last;
    for (int i = 0; i < 12; ++i) {
        const std::uint64_t before = written;
        while (written < before + 3) std::this_thread::yield();
        const std::string target = folder.file(std::to_string(i % 2) + ".emdb");
        db.backup_to(target).value();
        Emdb backup = Emdb::open(target).value();
        const Records records = records_of(backup);
        const Records mirrored = records_of(backup.open_namespace("mirror").value());
        REQUIRE(mirrored.size() == accounts);
        const std::string& value = mirrored.at("0");
        for (int account = 0; account < accounts; ++account) {
            REQUIRE(records.at("account-" + std::to_string(account)) == value);
            REQUIRE(mirrored.at(std::to_string(account)) == value);
        }
        for (const char* const thread : {"0", "1"}) {
            const auto number = [&](const char* name) {
                const auto found = records.find(std::string(thread) + name);
                return found == records.end() ? 0 : std::stoull(found->second);
            };
            CHECK(number("/first") >= number("/second"));
            CHECK(number("/first") <= number("/second") + 1);
        }
        CHECK(value != last);
        last = value;
    }
    stop = true;
    for (std::thread& writer : writers) writer.join();
}

TEST_CASE("backup: several at once, compactions and a close in between") {
    const TempFolder folder;
    for (int round = 0; round < 3; ++round) {
        Emdb db = Emdb::open(folder.file(std::to_string(round) + ".emdb")).value();
        for (int i = 0; i < 5000; ++i) db.insert(std::to_string(i % 3000), std::string(500, 'v')).value();
        std::vector<std::thread> threads;
        std::atomic<int> made = 0;
        for (int thread = 0; thread < 3; ++thread) {
            threads.emplace_back([&, thread] {
                const std::string target = folder.file("backup-" + std::to_string(thread));
                auto done = db.backup_to(target);
                for (; done; done = db.backup_to(target)) ++made;
                CHECK(done == ErrorCode::stopped);
            });
        }
        threads.emplace_back([&] {
            while (db.compact()) {}
        });
        while (made < 5) std::this_thread::yield();
        db.close().value();
        for (std::thread& thread : threads) thread.join();
        for (int thread = 0; thread < 3; ++thread) {
            const std::string name = folder.file("backup-" + std::to_string(thread));
            CHECK_FALSE(fs::exists(name + ".tmp"));
            if (fs::exists(name)) CHECK(Emdb::open(name).value().len().value() == 3000);
        }
    }
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("backup: nobody may read in it what they can't read in the database") {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    Emdb db = Emdb::open(path).value();
    db.insert("key", "value").value();
    REQUIRE(::chmod(path.c_str(), 0600) == 0);
    const auto mode_of = [&](const std::string& name) {
        struct stat status;
        REQUIRE(::stat(name.c_str(), &status) == 0);
        return status.st_mode & 07777;
    };
    const std::string target = folder.file("b.emdb");
    db.backup_to(target).value();
    CHECK(mode_of(target) == 0600);
    REQUIRE(::chmod(target.c_str(), 0644) == 0);
    db.backup_to(target).value();
    CHECK(mode_of(target) == 0644);
}

TEST_CASE("backup: through a symbolic link replaces the backup, not the link") {
    const TempFolder folder;
    fs::create_directory(folder.file("real"));
    Emdb db = Emdb::open(folder.file("a.emdb")).value();
    db.insert("key", "value").value();
    db.backup_to(folder.file("real/b.emdb")).value();
    fs::create_symlink("real/b.emdb", folder.file("link.emdb"));
    db.insert("key", "second").value();
    db.backup_to(folder.file("link.emdb")).value();
    CHECK(fs::is_symlink(folder.file("link.emdb")));
    CHECK(Emdb::open(folder.file("real/b.emdb")).value().get("key").value() == "second");
    fs::create_symlink("nowhere", folder.file("dangling"));
    CHECK_FALSE(db.backup_to(folder.file("dangling")));
    CHECK(fs::is_symlink(folder.file("dangling")));
}

TEST_CASE("backup: a killed one leaves no target, or the one before, and nothing in the way of the next") {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    const std::string target = folder.file("b.emdb");
    {
        Emdb db = Emdb::open(path).value();
        for (int i = 0; i < 20'000; ++i) db.insert(std::to_string(i), std::string(300, 'v')).value();
    }
    int survived = 0;
    for (int round = 0; round < 24; ++round) {
        if (round % 2 == 0) fs::remove(target);
        int ready[2];
        REQUIRE(::pipe(ready) == 0);
        const pid_t child = ::fork();
        REQUIRE(child != -1);
        if (child == 0) {
            auto db = Emdb::open(path);
            if (!db || ::write(ready[1], "x", 1) != 1) ::_exit(1);
            (void)db->backup_to(target);
            for (;;) ::pause();
        }
        char byte = 0;
        REQUIRE(::read(ready[0], &byte, 1) == 1);
        ::close(ready[0]);
        ::close(ready[1]);
        ::usleep(static_cast<useconds_t>(round * 1500));
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        if (fs::exists(target)) {
            ++survived;
            CHECK(Emdb::open(target).value().len().value() == 20'000);
        }
        Emdb db = Emdb::open(path).value();
        CHECK(db.len().value() == 20'000);
        if (round % 2 == 0) {
            db.backup_to(target).value();
            CHECK_FALSE(fs::exists(target + ".tmp"));
        }
    }
    CHECK(survived >= 12);
}
#endif

}  // namespace emdb_test
