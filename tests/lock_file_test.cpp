// Who has a database open: what a second one is told, the lock file, processes that end or fork. Opening at the same moment is in
// lock_test.cpp.

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "emdb.hpp"
#include "support/refusals.hpp"
#include "support/temp_folder.hpp"

#if !defined(_WIN32)
#include <signal.h>
#include <unistd.h>

#include "support/child_process.hpp"
#endif

namespace emdb_test {
namespace {

using namespace refusals;
#if !defined(_WIN32)
using namespace children;
#endif
using emdb::Emdb;

}  // namespace

TEST_CASE("a second open in the same process is already_locked, by whatever name") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    auto db = Emdb::open(path).value();
    db.insert("k", "v").value();
    const auto before = state_of(folder);
    const auto refused = Emdb::open(path);
    CHECK(outcome(refused) == "already_locked");
    check_message(refused.error(), path);
    CHECK(outcome(Emdb::open(fs::path(folder.path()) / "." / "a.emdb")) == "already_locked");
    CHECK((state_of(folder) == before));
#if !defined(_WIN32)
    CHECK(refused.error().message().find(std::to_string(::getpid())) != std::string::npos);
    fs::create_symlink(path, folder.file("symbolic.emdb"));
    fs::create_hard_link(path, folder.file("hard.emdb"));
    CHECK(outcome(Emdb::open(folder.file("symbolic.emdb"))) == "already_locked");
    CHECK(outcome(Emdb::open(folder.file("hard.emdb"))) == "already_locked");
#endif
    db.insert("k", "w").value();
    db.close().value();
    CHECK(Emdb::open(path).value().get("k").value() == "w");
}

TEST_CASE("lock_holder tells who has a database open, and nullopt when nobody has") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    CHECK_FALSE(Emdb::lock_holder(path).value().has_value());
    CHECK(state_of(folder).empty());
    {
        auto db = Emdb::open(path).value();
        const auto holder = Emdb::lock_holder(path).value();
        REQUIRE(holder);
        CHECK(holder->version == EMDB_VERSION_STRING);
        CHECK(holder->schema_version > 0);
        CHECK(holder->acquired_at_unix_ms > 1'600'000'000'000);
        CHECK_FALSE(holder->hostname.empty());
#if !defined(_WIN32)
        CHECK(holder->pid == static_cast<std::uint32_t>(::getpid()));
#endif
    }
    CHECK_FALSE(Emdb::lock_holder(path).value().has_value());
}

TEST_CASE("break_lock is refused while the holder lives, and no error when there is nothing to break") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    CHECK(outcome(Emdb::break_lock(path)) == "success");
    auto db = Emdb::open(path).value();
    const auto before = state_of(folder);
    const auto refused = Emdb::break_lock(path);
    CHECK(outcome(refused) == "already_locked");
    check_message(refused.error(), path);
    CHECK((state_of(folder) == before));
    CHECK(outcome(Emdb::open(path)) == "already_locked");
    db.insert("k", "v").value();
    db.close().value();
    CHECK(outcome(Emdb::break_lock(path)) == "success");
    CHECK(Emdb::open(path).value().get("k").value() == "v");
}

TEST_CASE("deleting the lock file of an open database unlocks nothing") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    auto db = Emdb::open(path).value();
    db.insert("k", "v").value();
    CHECK(fs::remove(path + ".lock"));
    CHECK(outcome(Emdb::open(path)) == "already_locked");
    CHECK(outcome(Emdb::break_lock(path)) == "already_locked");
    CHECK(Emdb::lock_holder(path).value().has_value());
    db.insert("k", "w").value();
    db.close().value();
    CHECK(Emdb::open(path).value().get("k").value() == "w");
}

TEST_CASE("whatever a left-over lock file says, it keeps nobody out") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    make_database(path);
    for (const std::string& left_over :
         {std::string(), std::string("1"), std::string(100'000, 'x'), std::string(64, '\xFF')}) {
        write_file(path + ".lock", left_over);
        CHECK_FALSE(Emdb::lock_holder(path).value().has_value());
        check_is_intact(path);
    }
}

#if !defined(_WIN32)
// --- several processes

TEST_CASE("a database open in another process is already_locked, and the message says by whom") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    make_database(path);
    WaitingChild child([&] { return Emdb::open(path).value(); });
    const auto before = state_of(folder);
    const auto refused = Emdb::open(path);
    CHECK(outcome(refused) == "already_locked");
    check_message(refused.error(), path);
    CHECK(refused.error().message().find(std::to_string(child.pid())) != std::string::npos);
    const auto holder = Emdb::lock_holder(path).value();
    REQUIRE(holder);
    CHECK(holder->pid == static_cast<std::uint32_t>(child.pid()));
    CHECK(outcome(Emdb::break_lock(path)) == "already_locked");
    CHECK((state_of(folder) == before));
    child.end(0);
    check_is_intact(path);
}

TEST_CASE("a refused second open does not weaken the first one's lock") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    auto db = Emdb::open(path).value();
    CHECK(outcome(Emdb::open(path)) == "already_locked");
    static_cast<void>(Emdb::lock_holder(path));
    CHECK(in_child([&] { return outcome(Emdb::open(path)); }) == "already_locked");
}

TEST_CASE("a holder that was killed leaves a lock file that keeps nobody out") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    make_database(path);
    for (const bool broken_first : {false, true}) {
        CAPTURE(broken_first);
        WaitingChild child([&] {
            auto db = Emdb::open(path).value();
            db.insert("key 1", "value 1").value();
            return db;
        });
        child.end(SIGKILL);
        CHECK(fs::exists(path + ".lock"));
        CHECK_FALSE(Emdb::lock_holder(path).value().has_value());
        if (broken_first) {
            CHECK(outcome(Emdb::break_lock(path)) == "success");
            CHECK_FALSE(fs::exists(path + ".lock"));
        }
        check_is_intact(path);
    }
}

TEST_CASE("a forked child's use of an inherited handle answers stopped, and leaves the parent's database alone") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    make_database(path);
    std::optional<Emdb> db = Emdb::open(path).value();
    std::optional<emdb::Namespace> names = db->open_namespace("names").value();
    db->insert("key 1", "value 1").value();
    const auto ref = *db->get_zerocopy("key 2").value();
    auto records = db->iter().value();
    const auto before = state_of(folder);
    const auto in_the_child = [&] {
        Wrongs wrongs;
        const auto keep = [](auto) { return std::optional<std::string>("never"); };
        const std::vector<emdb::Record> pairs = {{"never", "never"}};
        wrongs.expect_equal(outcome(db->get("key 1")), "stopped", "get");
        wrongs.expect_equal(outcome(db->get_zerocopy("key 1")), "stopped", "get_zerocopy");
        wrongs.expect_equal(outcome(db->get_many({"key 1"})), "stopped", "get_many");
        wrongs.expect_equal(outcome(db->contains_key("key 1")), "stopped", "contains_key");
        wrongs.expect_equal(outcome(db->len()), "stopped", "len");
        wrongs.expect_equal(outcome(db->iter()), "stopped", "iter");
        wrongs.expect_equal(outcome(db->insert("never", "never")), "stopped", "insert");
        wrongs.expect_equal(outcome(db->remove("key 1")), "stopped", "remove");
        wrongs.expect_equal(outcome(db->update("key 1", keep)), "stopped", "update");
        wrongs.expect_equal(outcome(db->insert_many(pairs)), "stopped", "insert_many");
        wrongs.expect_equal(outcome(db->clear()), "stopped", "clear");
        wrongs.expect_equal(outcome(db->transaction([](emdb::Transaction& tx) { return tx.insert("never", "n"); })),
                            "stopped", "transaction");
        wrongs.expect_equal(outcome(db->flush()), "stopped", "flush");
        wrongs.expect_equal(outcome(db->stats()), "stopped", "stats");
        wrongs.expect_equal(outcome(db->open_namespace("never")), "stopped", "open_namespace");
        wrongs.expect_equal(outcome(db->drop_namespace("names")), "stopped", "drop_namespace");
        wrongs.expect_equal(outcome(names->insert("never", "never")), "stopped", "insert in a namespace");
        wrongs.expect_equal(outcome(names->get("never")), "stopped", "get in a namespace");
        wrongs.expect_equal(ref.to_string(), "value 2", "a ValueRef");
        wrongs.expect_equal(outcome(Emdb::open(path)), "already_locked", "opening the parent's file");
        static_cast<void>(db->close());
        names.reset();
        db.reset();
        // The child is free to open files of its own.
        auto own = Emdb::open(folder.file("child.emdb")).value();
        own.insert("k", "v").value();
        wrongs.expect(own.get("k").value() == "v", "a database of the child's own");
        own.close().value();
        std::error_code ignored;
        fs::remove(folder.file("child.emdb"), ignored);
        fs::remove(folder.file("child.emdb.meta"), ignored);
        fs::remove(folder.file("child.emdb.lock"), ignored);
        return wrongs.text();
    };
    CHECK(in_child(in_the_child) == "");
    CHECK((state_of(folder) == before));
    std::size_t seen = 0;
    for (const auto& record : records) seen += record.key.empty() ? 0u : 1u;
    CHECK(seen == 50);
    CHECK(outcome(Emdb::open(path)) == "already_locked");
    CHECK(in_child([&] { return outcome(Emdb::open(path)); }) == "already_locked");
    db->insert("key 0", "value 0").value();
    db->flush().value();
    names.reset();
    db.reset();
    check_is_intact(path);
}

TEST_CASE("a child that goes on living does not keep the parent's lock after the parent has closed") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    auto db = Emdb::open(path).value();
    WaitingChild child([&] { return db; });
    CHECK(outcome(Emdb::open(path)) == "already_locked");
    db.close().value();
    CHECK(outcome(Emdb::open(path)) == "success");
}
#endif

}  // namespace emdb_test
