// Closing, reopening, flushing, and the figures that a database gives about itself.

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/durability_backend.hpp"
#include "support/free_space.hpp"
#include "support/outcome.hpp"
#include "support/temp_folder.hpp"

#if !defined(_WIN32)
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace emdb_test {
namespace {

namespace fs = std::filesystem;
using emdb::AppendMode;
using emdb::Emdb;
using emdb::FlushPolicy;
using emdb::Namespace;
using emdb::Result;

std::string numbered(const char* prefix, std::size_t number) { return prefix + std::to_string(number); }

std::string read_file(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

constexpr AppendMode both_modes[] = {AppendMode::automatic, AppendMode::pwrite};

Emdb open(const std::string& path, AppendMode mode) {
    return builder_with_backend().path(path).append_mode(mode).build().value();
}

void write_some(Emdb& db) {
    for (std::size_t i = 0; i < 200; ++i) db.insert(numbered("k", i), std::string(i, 'v')).value();
    for (std::size_t i = 0; i < 200; i += 4) db.remove(numbered("k", i)).value();
    db.open_namespace("names").value().insert("k", "v").value();
    db.transaction([](emdb::Transaction& tx) { return tx.insert("k1", "from a transaction"); }).value();
}

void check_some(Emdb& db) {
    CHECK(db.len().value() == 150);
    for (std::size_t i = 2; i < 200; ++i) {
        CHECK(db.get(numbered("k", i)).value() == (i % 4 == 0 ? std::nullopt : std::optional(std::string(i, 'v'))));
    }
    CHECK(db.get("k1").value() == "from a transaction");
    CHECK(db.open_namespace("names").value().get("k").value() == "v");
}

}  // namespace

TEST_CASE("what was written is there after close and reopen, with and without flush") {
    for (const AppendMode mode : both_modes) {
        for (const bool flushed : {false, true}) {
            CAPTURE(flushed);
            TempFolder folder;
            auto db = open(folder.file("a.emdb"), mode);
            write_some(db);
            if (flushed) db.flush().value();
            db.close().value();
            auto again = open(folder.file("a.emdb"), mode);
            check_some(again);
        }
    }
}

TEST_CASE("dropping the last handle closes the database") {
    for (const AppendMode mode : both_modes) {
        TempFolder folder;
        {
            auto db = open(folder.file("a.emdb"), mode);
            Emdb copy = db;
            write_some(copy);
        }
        auto again = open(folder.file("a.emdb"), mode);
        check_some(again);
    }
}

TEST_CASE("dropping one of several handles closes nothing") {
    TempFolder folder;
    std::optional<Emdb> first = Emdb::open(folder.file("a.emdb")).value();
    Emdb second = *first;
    first.reset();
    second.insert("k", "v").value();
    CHECK(second.get("k").value() == "v");
    CHECK(outcome(Emdb::open(folder.file("a.emdb"))) == "already_locked");
}

#if !defined(_WIN32)
TEST_CASE("what was written is there after the process was killed, with and without flush") {
    for (const AppendMode mode : both_modes) {
        for (const bool flushed : {false, true}) {
            CAPTURE(flushed);
            TempFolder folder;
            const pid_t child = ::fork();
            REQUIRE(child >= 0);
            if (child == 0) {
                try {
                    auto db = open(folder.file("a.emdb"), mode);
                    write_some(db);
                    if (flushed) db.flush().value();
                    ::kill(::getpid(), SIGKILL);  // here, where nothing has been closed
                } catch (...) {                   // told by the exit status
                }
                ::_exit(1);
            }
            int status = 0;
            ::waitpid(child, &status, 0);
            REQUIRE(WIFSIGNALED(status));
            auto again = open(folder.file("a.emdb"), mode);
            check_some(again);
            again.insert("after", "v").value();
            again.close().value();
            auto once_more = open(folder.file("a.emdb"), mode);
            CHECK(once_more.len().value() == 151);
        }
    }
}
#endif

TEST_CASE("the preallocated part of the file is given back on a clean close") {
    for (const AppendMode mode : both_modes) {
        for (const bool explicitly : {false, true}) {
            TempFolder folder;
            const auto path = folder.file("a.emdb");
            std::uint64_t used = 0;
            {
                auto db = open(path, mode);
                write_some(db);
                const auto stats = db.stats().value();
                used = stats.file_size_bytes;
                CHECK(fs::file_size(path) == stats.file_size_bytes + stats.preallocated_bytes);
                if (explicitly) db.close().value();
            }
            CHECK(fs::file_size(path) >= used);
            if (closing_gives_space_back) CHECK(fs::file_size(path) < used + 100);  // a mark or two
        }
    }
}

TEST_CASE("a new database is its header, and little more") {
    TempFolder folder;
    Emdb::open(folder.file("a.emdb")).value().close().value();
    CHECK(fs::file_size(folder.file("a.emdb")) < (closing_gives_space_back ? 8192 + 100 : 8192 + 64 * 1024 + 100));
}

TEST_CASE("opening and closing without a write leaves every byte of the file as it was") {
    for (const AppendMode mode : both_modes) {
        TempFolder folder;
        const auto path = folder.file("a.emdb");
        {
            auto db = open(path, mode);
            write_some(db);
        }
        const std::string before = read_file(path);
        for (int i = 0; i < 3; ++i) {
            {
                auto db = open(path, mode);
                check_some(db);  // opens a namespace that exists, which is no write
                db.remove("absent").value();
                CHECK(db.compare_exchange("k1", "not its value", "x").value() == false);
                if (i == 1) db.flush().value();
                if (i == 2) db.close().value();
            }
            CHECK((read_file(path) == before));
        }
    }
}

TEST_CASE("every flush policy keeps what was written") {
    for (const FlushPolicy policy :
         {FlushPolicy::on_each_flush(), FlushPolicy::group(), FlushPolicy::write_through(), FlushPolicy::every_n(3)}) {
        CAPTURE(static_cast<int>(policy.kind()));
        for (const AppendMode mode : both_modes) {
            TempFolder folder;
            for (const int round : {0, 1}) {
                auto db =
                    builder_with_backend().path(folder.file("a.emdb")).flush_policy(policy).append_mode(mode).build().value();
                if (round == 0) {
                    for (int i = 0; i < 20; ++i) db.insert(std::to_string(i), "v").value();
                    db.flush().value();
                    db.flush().value();
                }
                CHECK(db.len().value() == 20);
            }
        }
    }
}

TEST_CASE("a second flush with nothing new writes nothing") {
    for (const AppendMode mode : both_modes) {
        TempFolder folder;
        auto db = open(folder.file("a.emdb"), mode);
        db.insert("k", "v").value();
        db.flush().value();
        const auto size = db.stats().value().file_size_bytes;
        for (int i = 0; i < 10; ++i) db.flush().value();
        CHECK(db.stats().value().file_size_bytes == size);
    }
}

TEST_CASE("after close every operation of every handle answers stopped") {
    TempFolder folder;
    for (auto db : {Emdb::open_in_memory(), Emdb::open(folder.file("a.emdb")).value()}) {
        Namespace names = db.open_namespace("names").value();
        Emdb copy = db;
        db.insert("k", "v").value();
        db.close().value();
        const auto keep = [](auto) { return std::optional<std::string>("never"); };
        const std::vector<emdb::Record> records = {{"k", "never"}};

        const auto check_keyspace = [&](emdb::Keyspace& keyspace) {
            std::string out;
            CHECK(outcome(keyspace.insert("k", "never")) == "stopped");
            CHECK(outcome(keyspace.get("k")) == "stopped");
            CHECK(outcome(keyspace.get("absent")) == "stopped");
            CHECK(outcome(keyspace.get_or("k", "x")) == "stopped");
            CHECK(outcome(keyspace.get_into("k", out)) == "stopped");
            CHECK(outcome(keyspace.get_zerocopy("k")) == "stopped");
            CHECK(outcome(keyspace.get_many({"k"})) == "stopped");
            CHECK(outcome(keyspace.visit_many({"k"}, [](auto, auto) {})) == "stopped");
            CHECK(outcome(keyspace.remove("k")) == "stopped");
            CHECK(outcome(keyspace.remove("absent")) == "stopped");
            CHECK(outcome(keyspace.contains_key("k")) == "stopped");
            CHECK(outcome(keyspace.compare_exchange("k", "v", "never")) == "stopped");
            CHECK(outcome(keyspace.update("k", keep)) == "stopped");
            CHECK(outcome(keyspace.len()) == "stopped");
            CHECK(outcome(keyspace.is_empty()) == "stopped");
            CHECK(outcome(keyspace.clear()) == "stopped");
            CHECK(outcome(keyspace.insert_many(records)) == "stopped");
            CHECK(outcome(keyspace.iter()) == "stopped");
            CHECK(outcome(keyspace.keys()) == "stopped");
        };
        check_keyspace(db);
        check_keyspace(copy);
        check_keyspace(names);
        bool called = false;
        const auto never = [&called](emdb::Transaction& tx) {
            called = true;
            return tx.insert("k", "never");
        };
        for (Emdb* handle : {&db, &copy}) {
            CHECK(outcome(handle->transaction(never)) == "stopped");
            CHECK(outcome(handle->open_namespace("names")) == "stopped");
            CHECK(outcome(handle->open_namespace("new")) == "stopped");
            CHECK(outcome(handle->drop_namespace("names")) == "stopped");
            CHECK(outcome(handle->list_namespaces()) == "stopped");
            CHECK(outcome(handle->flush()) == "stopped");
            CHECK(outcome(handle->stats()) == "stopped");
            CHECK_FALSE(handle->path().empty());
        }
        CHECK_FALSE(called);
        CHECK(db.flush().error().message().size() > 20);
    }
    CHECK(Emdb::open(folder.file("a.emdb")).value().get("k").value() == "v");
}

TEST_CASE("a second close is no error, and a closed file may be opened while old handles live") {
    TempFolder folder;
    auto db = Emdb::open(folder.file("a.emdb")).value();
    Emdb copy = db;
    db.insert("k", "v").value();
    CHECK(outcome(db.close()) == "success");
    CHECK(outcome(db.close()) == "success");
    CHECK(outcome(copy.close()) == "success");
    auto again = Emdb::open(folder.file("a.emdb")).value();
    again.insert("k", "w").value();
    CHECK(outcome(db.close()) == "success");
    CHECK(outcome(db.get("k")) == "stopped");
    CHECK(again.get("k").value() == "w");
    CHECK(outcome(Emdb::open(folder.file("a.emdb"))) == "already_locked");
}

// --- stats

TEST_CASE("stats of an empty database are zero, but for the file's own") {
    TempFolder folder;
    for (auto db : {Emdb::open_in_memory(), Emdb::open(folder.file("a.emdb")).value()}) {
        const auto stats = db.stats().value();
        CHECK(stats.live_records == 0);
        CHECK(stats.namespace_count == 0);
        CHECK(stats.logical_size_bytes == 0);
        CHECK(stats.dead_bytes == 0);
        CHECK_FALSE(stats.range_scans_enabled);
        CHECK_FALSE(stats.encrypted);
    }
}

TEST_CASE("live_records, namespace_count and logical_size_bytes are exact, also after reopening") {
    for (const AppendMode mode : both_modes) {
        TempFolder folder;
        std::map<std::string, std::string> model;
        const auto check = [&](const Emdb& db, std::size_t more_records, std::uint64_t more_bytes) {
            std::uint64_t bytes = more_bytes;
            for (const auto& [key, value] : model) bytes += key.size() + value.size();
            const auto stats = db.stats().value();
            CHECK(stats.live_records == model.size() + more_records);
            CHECK(stats.logical_size_bytes == bytes);
        };
        {
            auto db = open(folder.file("a.emdb"), mode);
            const auto put = [&](const std::string& key, const std::string& value) {
                db.insert(key, value).value();
                model[key] = value;
            };
            for (std::size_t i = 0; i < 500; ++i) put(numbered("k", i % 300), std::string(i * 3 % 257, 'v'));
            put("", "");
            check(db, 0, 0);
            for (std::size_t i = 0; i < 300; i += 3) {
                db.remove(numbered("k", i)).value();
                model.erase(numbered("k", i));
            }
            check(db, 0, 0);
            db.compare_exchange("k1", *db.get("k1").value(), "exchanged").value();
            model["k1"] = "exchanged";
            db.update("k2", [](auto) { return std::optional<std::string>("updated"); }).value();
            model["k2"] = "updated";
            db.transaction([](emdb::Transaction& tx) -> Result<void> {
                  tx.insert("t", "transaction").value();
                  tx.insert("t", "again").value();
                  tx.remove("k4").value();
                  return {};
              }).value();
            model["t"] = "again";
            model.erase("k4");
            db.insert_many(std::vector<emdb::Record>{{"m", "1"}, {"m", "22"}, {"n", "333"}}).value();
            model["m"] = "22";
            model["n"] = "333";
            check(db, 0, 0);

            auto names = db.open_namespace("names").value();
            names.insert("key", "value").value();
            db.open_namespace("cleared").value().insert("key", "value").value();
            db.open_namespace("dropped").value().insert("key", "value").value();
            check(db, 3, 24);
            CHECK(db.stats().value().namespace_count == 3);
            db.open_namespace("cleared").value().clear().value();
            db.drop_namespace("dropped").value();
            check(db, 1, 8);
            CHECK(db.stats().value().namespace_count == 2);
        }
        auto db = open(folder.file("a.emdb"), mode);
        check(db, 1, 8);
        CHECK(db.stats().value().namespace_count == 2);
        db.clear().value();
        model.clear();
        check(db, 1, 8);
    }
}

TEST_CASE("dead_bytes grows by what an overwritten or removed record took, and by no more than that and a tombstone") {
    for (const AppendMode mode : both_modes) {
        TempFolder folder;
        auto db = open(folder.file("a.emdb"), mode);
        const auto dead = [&] { return db.stats().value().dead_bytes; };
        constexpr std::uint64_t overhead_max = 40;
        db.insert("k", std::string(10'000, 'v')).value();
        db.insert("other", "v").value();
        CHECK(dead() == 0);
        db.insert("k", std::string(500, 'v')).value();
        const auto after_overwriting = dead();
        CHECK(after_overwriting >= 10'001);
        CHECK(after_overwriting <= 10'001 + overhead_max);
        db.remove("k").value();
        const auto after_removing = dead();
        CHECK(after_removing >= after_overwriting + 501);
        CHECK(after_removing <= after_overwriting + 501 + 2 * overhead_max);
        db.clear().value();
        const auto after_clearing = dead();
        CHECK(after_clearing > after_removing);
        CHECK(after_clearing <= db.stats().value().file_size_bytes);
        auto names = db.open_namespace("names").value();
        names.insert("k", std::string(3000, 'v')).value();
        const auto before_dropping = dead();
        db.drop_namespace("names").value();
        CHECK(dead() >= before_dropping + 3001);

        db.close().value();
        auto again = open(folder.file("a.emdb"), mode);
        CHECK(again.stats().value().dead_bytes >= before_dropping + 3001);
        CHECK(again.stats().value().dead_bytes <= again.stats().value().file_size_bytes);
    }
}

TEST_CASE("file_size_bytes is the file's size when nothing is preallocated, and grows by what is written") {
    for (const AppendMode mode : both_modes) {
        TempFolder folder;
        const auto path = folder.file("a.emdb");
        {
            auto db = open(path, mode);
            const auto empty = db.stats().value().file_size_bytes;
            for (std::size_t i = 0; i < 1000; ++i)
                db.insert(std::string(24, static_cast<char>('a' + i % 26)), std::string(150, 'v')).value();
            const auto full = db.stats().value().file_size_bytes;
            CHECK(full >= empty + 1000 * 174);
            CHECK(full <= empty + 1000 * (174 + 10));  // at most ten bytes beyond key and value
            CHECK(fs::file_size(path) == full + db.stats().value().preallocated_bytes);
        }
        cut_free_space(path);
        const auto closed = fs::file_size(path);
        auto db = open(path, mode);
        CHECK(db.stats().value().file_size_bytes == closed);
        CHECK(fs::file_size(path) == closed + db.stats().value().preallocated_bytes);
    }
}

TEST_CASE("index_bytes is what an index of a hundred thousand keys may take") {
    auto db = Emdb::open_in_memory();
    std::vector<std::pair<std::string, std::string>> records;
    for (std::size_t i = 0; i < 100'000; ++i) records.emplace_back(numbered("key number ", i), "v");
    db.insert_many(records).value();
    const auto bytes = db.stats().value().index_bytes;
    CHECK(bytes >= 100'000 * 6);  // none that tells so many places in a large file apart is smaller
    CHECK(bytes <= 100'000 * 40);
}

}  // namespace emdb_test
