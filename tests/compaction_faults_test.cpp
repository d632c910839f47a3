// Compaction and backup when something goes wrong: the power, the process, or any one file operation, at every place there is.

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/model_session.hpp"
#include "support/power_cuts.hpp"

namespace emdb_test {

namespace {

const std::string compact_path = database_path + ".compact";

/// A session over a database with dead and live records in three keyspaces, all of them flushed, and one record that is not.
std::unique_ptr<Session> prepare(SimulatedDisk& disk, JournalModel& model, const DatabaseSettings& settings, SeededRandom& random,
                                 BackupModel* backup = nullptr) {
    auto session = std::make_unique<Session>(disk, open_database(disk, settings).value(), model, settings, random, backup);
    for (const char* const name : {"", "kept", "dropped"}) {
        if (*name != '\0') session->create(name);
        for (char key = 'a'; key < 'g'; ++key) {
            session->insert(name, std::string("key-") + key, text(100, key));
            session->insert(name, std::string("key-") + key, text(150, key));
        }
        session->remove(name, "key-c");
    }
    session->drop("dropped");
    session->insert("", "long", text(300'000, 'l'));
    session->flush();
    session->insert("", "not flushed", text(100, 'n'));
    return session;
}

std::vector<DatabaseSettings> settings_of(const Backend& backend) {
    DatabaseSettings plain = backend.settings();
    DatabaseSettings ordered = backend.settings(emdb::FlushPolicy::write_through());
    ordered.range_scans = true;
    return {plain, ordered};
}

/// What lies where after a failed compaction, and how it goes on.
enum class After { as_before, poisoned };

std::uint64_t next_namespace_id(SimulatedDisk& disk) {
    const auto file = disk.files().open(database_path, emdb::detail::OpenMode::read_only).value();
    return emdb::detail::read_header(*file, database_path).value().next_namespace_id;
}

}  // namespace

TEST_CASE("compaction: the power goes at every operation of it, writers being at work") {
    for (const Backend& backend : backends) {
        for (const DatabaseSettings& settings : settings_of(backend)) {
            CAPTURE(backend.name);
            CAPTURE(settings.range_scans);
            const std::uint64_t operations = cut_everywhere(
                backend.keeps_allocation, 96, [&](SimulatedDisk& disk, JournalModel& model, std::uint64_t operation) {
                    SeededRandom random(5);
                    const auto session = prepare(disk, model, settings, random);
                    disk.cut_power_at(disk.operation_count() + operation);
                    const bool got_through = session->compact() && session->insert("", "after", text(200, 'a')) && session->flush();
                    disk.cut_power();
                    return got_through;
                });
            CHECK(operations > 20);
        }
    }
}

TEST_CASE("compaction: the process is killed at every operation; what is flushed afterwards survives a power cut") {
    SeededRandom outcomes(3);
    for (const Backend& backend : backends) {
        for (const DatabaseSettings& settings : settings_of(backend)) {
            bool got_through = false;
            for (std::uint64_t operation = 1; !got_through; ++operation) {
                SimulatedDisk disk(quiet(operation, backend.keeps_allocation));
                JournalModel model;
                SeededRandom random(5);
                auto session = prepare(disk, model, settings, random);
                disk.kill_process_at(disk.operation_count() + operation);
                got_through = session->compact();
                disk.kill_process();
                disk.stop_cutting();
                session.reset();
                INFO("killed at operation ", operation, " of the compaction:\n", disk.trace());
                disk.start_process();
                auto db = open_database(disk, settings);
                REQUIRE_MESSAGE(db.has_value(), db.error().message());
                CHECK_FALSE(disk.exists(compact_path));
                const Contents found = read_contents(*db);
                REQUIRE_MESSAGE(model.survive(found), model.explain(found));
                session = std::make_unique<Session>(disk, *std::move(db), model, settings, random);
                REQUIRE(session->insert("", "after", text(200, 'a')));
                REQUIRE(session->flush());
                disk.cut_power();
                session.reset();
                for_each_outcome(disk.crashed(), 64, outcomes, [&](const DiskImage& image) {
                    SimulatedDisk rebooted(image, quiet(1, backend.keeps_allocation));
                    auto opened = open_database(rebooted, settings);
                    REQUIRE_MESSAGE(opened.has_value(), opened.error().message());
                    const Contents left = read_contents(*opened);
                    REQUIRE_MESSAGE(model.allows(left), model.explain(left));
                });
            }
        }
    }
}

TEST_CASE("compaction: whichever operation fails, the old file goes on untouched, or the database is poisoned") {
    SeededRandom outcomes(3);
    std::uint64_t usable = 0, poisoned = 0;
    for (const Backend& backend : backends) {
        for (const bool for_good : {false, true}) {
            for (const int os_error : {os_io, os_no_space}) {
                for (std::uint64_t nth = 1;; ++nth) {
                    SimulatedDisk disk(quiet(nth, backend.keeps_allocation));
                    JournalModel model;
                    SeededRandom random(5);
                    auto session = prepare(disk, model, backend.settings(), random);
                    emdb::Emdb& db = session->database();
                    std::string before = disk.bytes_of(database_path);
                    before.resize(before.find_last_not_of('\0') + 1);
                    Fault fault;
                    fault.nth = nth;
                    fault.from_then_on = for_good;
                    fault.os_error = os_error;
                    disk.fail(fault);
                    const auto compacted = db.compact();
                    const bool failed = disk.faults_injected() != 0;
                    disk.stop_failing();
                    INFO("fault ", nth, std::string(for_good ? " and all after" : ""), ":\n", disk.trace());
                    CHECK((compacted || failed));
                    CHECK(disk.violations().empty());
                    // A file that could not be locked is not removed: perhaps it is somebody else's by now.
                    if (!for_good) CHECK(disk.bytes_of(compact_path).empty());
                    if (!compacted) {
                        CHECK(compacted == emdb::ErrorCode::io);
                        const auto written = db.insert("key", "");
                        if (written) {
                            ++usable;
                            model.issue(put("key", ""));
                            CHECK(disk.bytes_of(database_path).starts_with(before));
                            CHECK(db.compact());
                        } else {
                            ++poisoned;
                            CHECK(written == emdb::ErrorCode::poisoned);
                            CHECK(db.flush() == emdb::ErrorCode::poisoned);
                            CHECK(db.compact() == emdb::ErrorCode::poisoned);
                            CHECK(open_database(disk) == emdb::ErrorCode::already_locked);
                        }
                    }
                    CHECK(read_contents(db) == model.now());
                    session.reset();
                    session = std::make_unique<Session>(disk, open_database(disk, backend.settings()).value(), model,
                                                        backend.settings(), random);
                    CHECK_FALSE(disk.exists(compact_path));
                    CHECK(read_contents(session->database()) == model.now());
                    REQUIRE(session->insert("", "after", "wards"));
                    REQUIRE(session->flush());
                    disk.cut_power();
                    session.reset();
                    for_each_outcome(disk.crashed(), 16, outcomes, [&](const DiskImage& image) {
                        SimulatedDisk rebooted(image, quiet(nth, backend.keeps_allocation));
                        auto opened = open_database(rebooted, backend.settings());
                        REQUIRE_MESSAGE(opened.has_value(), opened.error().message());
                        const Contents left = read_contents(*opened);
                        REQUIRE_MESSAGE(model.allows(left), model.explain(left));
                    });
                    if (!failed) break;
                }
            }
        }
    }
    MESSAGE(usable << " failures left the database usable, " << poisoned << " poisoned it");
    CHECK(usable > 200);
    CHECK(poisoned >= 9);
}

TEST_CASE("compaction: a rename that did not happen is an ordinary error, one that may have happened poisons") {
    struct {
        Operation operation;
        std::uint64_t nth;
        bool takes_effect;
        After after;
    } const cases[]{{Operation::rename_replacing, 1, false, After::as_before},
                    {Operation::rename_replacing, 1, true, After::poisoned},
                    {Operation::sync_directory, 1, false, After::as_before},  // asked before the rename
                    {Operation::sync_directory, 2, false, After::poisoned}};
    for (const auto& one : cases) {
        CAPTURE(to_string(one.operation));
        CAPTURE(one.nth);
        SimulatedDisk disk(quiet(1, true));
        emdb::Emdb db = open_database(disk).value();
        db.insert("key", "value").value();
        db.insert("key", "second").value();
        const std::optional<emdb::ValueRef> value = db.get_zerocopy("key").value();
        const std::string before = disk.bytes_of(database_path);
        Fault fault;
        fault.only = one.operation;
        fault.nth = one.nth;
        fault.takes_effect = one.takes_effect;
        disk.fail(fault);
        CHECK(db.compact() == emdb::ErrorCode::io);
        disk.stop_failing();
        CHECK_FALSE(disk.exists(compact_path));
        CHECK(db.get("key").value() == "second");
        CHECK(*value == "second");
        // Whatever file has the name, nobody else can open it.
        CHECK(open_database(disk) == emdb::ErrorCode::already_locked);
        const auto written = db.insert("key", "third");
        CHECK((one.after == After::poisoned ? written == emdb::ErrorCode::poisoned : written.has_value()));
        const std::string latest = one.after == After::poisoned ? "second" : "third";
        if (one.after == After::as_before) CHECK(db.compact());
        CHECK(db.close().has_value() == (one.after == After::as_before));
        CHECK(open_database(disk).value().get("key").value() == latest);
    }
}

TEST_CASE("compaction: on a full disk it is an error, the old file stays as it is, and the temporary one goes") {
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        SimulatedDisk disk(quiet(1, backend.keeps_allocation));
        emdb::Emdb db = open_database(disk, backend.settings()).value();
        for (int i = 0; i < 40; ++i) db.insert("key-" + std::to_string(i), text(50'000, 'v')).value();
        for (int i = 0; i < 10; ++i) db.remove("key-" + std::to_string(i)).value();
        db.flush().value();
        const std::string before = disk.bytes_of(database_path);
        disk.set_capacity(before.size() + 700'000);
        const auto compacted = db.compact();
        CHECK(compacted == emdb::ErrorCode::io);
        CHECK(emdb::detail::is_out_of_space(compacted.error()));
        CHECK_FALSE(disk.exists(compact_path));
        CHECK(disk.bytes_of(database_path) == before);
        CHECK(db.len().value() == 30);
        const auto backed_up = db.backup_to(backup_path);
        CHECK(backed_up == emdb::ErrorCode::io);
        CHECK_FALSE(disk.exists(backup_path));
        CHECK_FALSE(disk.exists(backup_path + ".tmp"));
        disk.set_capacity(std::numeric_limits<std::uint64_t>::max());
        CHECK(db.insert("key", "value"));
        CHECK(db.compact());
        CHECK(db.len().value() == 31);
    }
}

TEST_CASE("compaction: keyspaces are made, dropped and cleared while it copies") {
    for (const bool range_scans : {false, true}) {
        CAPTURE(range_scans);
        SimulatedDisk disk(quiet(1, true));
        DatabaseSettings settings;
        settings.range_scans = range_scans;
        emdb::Emdb db = open_database(disk, settings).value();
        emdb::Namespace dropped = db.open_namespace("dropped").value();
        emdb::Namespace cleared = db.open_namespace("cleared").value();
        emdb::Namespace remade = db.open_namespace("remade").value();
        for (emdb::Namespace* space : {&dropped, &cleared, &remade}) space->insert("old", "record").value();
        db.insert("b", "default").value();
        std::optional<emdb::Namespace> made, remade_now;
        int syncs = 0;
        disk.before_sync([&](const std::string& name) {
            if (name != compact_path || ++syncs > 2) return;
            const std::string turn = std::to_string(syncs);
            db.insert("a" + turn, "default").value();
            if (syncs == 2) return;
            made = db.open_namespace("made").value();
            made->insert("z", "made").value();
            made->insert("y", "made").value();
            db.drop_namespace("dropped").value();
            cleared.clear().value();
            cleared.insert("new", "record").value();
            db.drop_namespace("remade").value();
            remade_now = db.open_namespace("remade").value();
            remade_now->insert("new", "record").value();
            CHECK(db.open_namespace("gone again").value().insert("a", "b"));
            CHECK(db.drop_namespace("gone again").value());
        });
        db.compact().value();
        disk.before_sync(nullptr);
        CHECK(syncs >= 3);
        CHECK(dropped.get("old") == emdb::ErrorCode::invalid_argument);
        CHECK(dropped.insert("old", "") == emdb::ErrorCode::invalid_argument);
        CHECK(remade.get("old") == emdb::ErrorCode::invalid_argument);
        Contents expected;
        expected.put("", "a1", "default");
        expected.put("", "a2", "default");
        expected.put("", "b", "default");
        for (const char* const name : {"made", "cleared", "remade"}) expected.create(name);
        expected.put("made", "y", "made");
        expected.put("made", "z", "made");
        expected.put("cleared", "new", "record");
        expected.put("remade", "new", "record");
        const Contents found = read_contents(db);
        CHECK_MESSAGE(found == expected, found.differences_from(expected));
        CHECK(made->len().value() == 2);
        CHECK(remade_now->insert("more", "record"));
        CHECK(made->insert("x", "made"));
        db.close().value();
        emdb::Emdb reopened = open_database(disk, settings).value();
        expected.put("remade", "more", "record");
        expected.put("made", "x", "made");
        const Contents again = read_contents(reopened);
        CHECK_MESSAGE(again == expected, again.differences_from(expected));
    }
}

TEST_CASE("compaction: namespace ids are never used again, though nothing in the file tells of them any more") {
    SimulatedDisk disk(quiet(1, true));
    for (int round = 0; round < 3; ++round) {
        emdb::Emdb db = open_database(disk).value();
        db.open_namespace("a").value().insert("key", "value").value();
        db.drop_namespace("a").value();
        db.compact().value();
        db.compact().value();
        CHECK(next_namespace_id(disk) == static_cast<std::uint64_t>(round) + 2);
        db.backup_to(backup_path).value();
    }
    emdb::Emdb backup = open_database(disk, {}, nullptr, backup_path).value();
    backup.open_namespace("b").value();
    backup.compact().value();
    backup.close().value();
    disk.files().rename_replacing(backup_path, database_path).value();
    CHECK(next_namespace_id(disk) == 5);
}

TEST_CASE("compaction: a write of what came meanwhile that fails once makes it fail, and nothing is lost") {
    constexpr std::size_t meanwhile = 3000;
    const auto key_of = [](std::size_t i) { return "meanwhile-" + std::to_string(i); };
    for (const bool range_scans : {false, true}) {
        std::uint64_t failures = 0;
        for (std::uint64_t nth = 1;; ++nth) {
            SimulatedDisk disk(quiet(nth, true));
            Fault fault;
            fault.only = Operation::write;
            fault.nth = nth;
            fault.os_error = os_no_space;
            bool compacting = false;
            emdb::Emdb* open = nullptr;
            emdb::EmdbBuilder builder = emdb::Emdb::builder();
            emdb::detail::BuilderAccess::set_environment(builder, disk);
            // Asked by a compaction that meets a record with expiry, while it holds no lock of writers.
            builder.path(database_path).enable_range_scans(range_scans).clock([&]() -> std::uint64_t {
                if (std::exchange(compacting, false)) {
                    for (std::size_t i = 0; i < meanwhile; ++i) open->insert(key_of(i), text(1000, 'm')).value();
                    for (std::size_t i = 0; i < meanwhile; i += 3) open->remove(key_of(i)).value();
                    disk.fail(fault);
                }
                return 1'000'000;
            });
            emdb::Emdb db = builder.build().value();
            open = &db;
            db.insert_with_ttl("expires", "later", emdb::Ttl::after(std::chrono::hours(1))).value();
            compacting = true;
            const auto compacted = db.compact();
            const bool failed = disk.faults_injected() != 0;
            disk.stop_failing();
            CAPTURE(nth);
            // What fails when the copy is on the disk is a mark behind it. That may be missing, or the new file is poisoned.
            const std::string trace = disk.trace();
            const bool is_mark = failed && trace.find("rename_replacing " + compact_path) != std::string::npos &&
                                 trace.rfind("sync " + compact_path) < trace.find("<- fails");
            const bool poisoned = db.flush() == emdb::ErrorCode::poisoned;
            CHECK(compacted.has_value() == (!failed || is_mark));
            CHECK((compacted || compacted == emdb::ErrorCode::io));
            CHECK((!poisoned || is_mark));
            failures += !compacted;
            const auto check = [&](const emdb::Emdb& in) {
                CHECK(in.len().value() == 1 + meanwhile - meanwhile / 3);
                for (std::size_t i = 0; i < meanwhile; ++i) REQUIRE(in.contains_key(key_of(i)).value() == (i % 3 != 0));
            };
            check(db);
            CHECK(db.close().has_value() == !poisoned);
            check(open_database(disk).value());
            if (!failed) break;
        }
        CHECK(failures > 3);
    }
}

TEST_CASE("compaction: a temporary file of somebody else is left alone, one of nobody is removed") {
    SimulatedDisk disk(quiet(1, true));
    open_database(disk).value().insert("key", "value").value();
    auto theirs = disk.files().open(compact_path, emdb::detail::OpenMode::create_new).value();
    REQUIRE(theirs->try_lock().value());
    emdb::Emdb db = open_database(disk).value();
    CHECK(disk.exists(compact_path));
    const auto compacted = db.compact();
    CHECK(compacted == emdb::ErrorCode::already_locked);
    CHECK(compacted.error().message().find(compact_path) != std::string::npos);
    CHECK(disk.exists(compact_path));
    CHECK(db.insert("key", "more"));
    theirs.reset();
    CHECK(db.compact());
    CHECK_FALSE(disk.exists(compact_path));
    db.close().value();
    disk.files().open(compact_path, emdb::detail::OpenMode::create_new).value();
    CHECK(open_database(disk).value().get("key").value() == "more");
    CHECK_FALSE(disk.exists(compact_path));
}

TEST_CASE("compaction: a database whose file was moved away is not compacted over what has its name now") {
    SimulatedDisk disk(quiet(1, true));
    emdb::Emdb db = open_database(disk).value();
    db.insert("key", "value").value();
    disk.files().rename_replacing(database_path, "/disk/moved.emdb").value();
    emdb::Emdb other = open_database(disk).value();
    other.insert("key", "other").value();
    CHECK(db.compact() == emdb::ErrorCode::io);
    CHECK_FALSE(disk.exists(compact_path));
    CHECK(db.insert("key", "more"));
    CHECK(other.compact());
    other.close().value();
    db.close().value();
    CHECK(open_database(disk).value().get("key").value() == "other");
    CHECK(open_database(disk, {}, nullptr, "/disk/moved.emdb").value().get("key").value() == "more");
}

TEST_CASE("backup: the power goes, or the process is killed, at every operation; the target is the old backup, the new one, or absent") {
    SeededRandom outcomes(3);
    for (const Backend& backend : backends) {
        for (const bool killed : {false, true}) {
            for (const bool replaces : {false, true}) {
                bool got_through = false;
                for (std::uint64_t operation = 1; !got_through; ++operation) {
                    SimulatedDisk disk(quiet(operation, backend.keeps_allocation));
                    JournalModel model;
                    BackupModel backup;
                    SeededRandom random(5);
                    auto session = prepare(disk, model, backend.settings(), random, &backup);
                    if (replaces) {
                        REQUIRE(session->back_up(backup));
                        REQUIRE(session->insert("", "since", text(100, 's')));
                    }
                    const std::uint64_t at = disk.operation_count() + operation;
                    killed ? disk.kill_process_at(at) : disk.cut_power_at(at);
                    got_through = session->back_up(backup);
                    INFO(std::string(killed ? "killed" : "cut"), " at operation ", operation, " of the backup:\n", disk.trace());
                    if (killed) {
                        disk.kill_process();
                        disk.stop_cutting();
                        session.reset();
                        disk.start_process();
                        // Whoever opens what is there may rely on it.
                        REQUIRE(check_backup(disk, backend.settings(), backup));
                        if (disk.exists(backup_path)) {
                            emdb::Emdb db = open_database(disk, backend.settings(), nullptr, backup_path).value();
                            db.insert("into the backup", "").value();
                            db.flush().value();
                            backup.completed->put("", "into the backup", "");
                        }
                    }
                    disk.cut_power();
                    session.reset();
                    CHECK(disk.violations().empty());
                    for_each_outcome(disk.crashed(), 24, outcomes, [&](const DiskImage& image) {
                        SimulatedDisk rebooted(image, quiet(operation, backend.keeps_allocation));
                        BackupModel after = backup;
                        REQUIRE(check_backup(rebooted, backend.settings(), after));
                        auto opened = open_database(rebooted, backend.settings());
                        REQUIRE_MESSAGE(opened.has_value(), opened.error().message());
                        const Contents left = read_contents(*opened);
                        REQUIRE_MESSAGE(model.allows(left), model.explain(left));
                        CHECK(opened->backup_to(backup_path));
                        CHECK_FALSE(rebooted.exists(backup_path + ".tmp"));
                    });
                }
            }
        }
    }
}

TEST_CASE("backup: whichever operation fails, the database is as usable as before, and the target is whole or as it was") {
    std::uint64_t failures = 0;
    for (const Backend& backend : backends) {
        for (const bool replaces : {false, true}) {
            for (const int os_error : {os_io, os_no_space}) {
                for (std::uint64_t nth = 1;; ++nth) {
                    SimulatedDisk disk(quiet(nth, backend.keeps_allocation));
                    JournalModel model;
                    BackupModel backup;
                    SeededRandom random(5);
                    auto session = prepare(disk, model, backend.settings(), random, &backup);
                    if (replaces) {
                        REQUIRE(session->back_up(backup));
                        REQUIRE(session->insert("", "since", text(100, 's')));
                    }
                    Fault fault;
                    fault.nth = nth;
                    fault.os_error = os_error;
                    disk.fail(fault);
                    const auto made = session->database().backup_to(backup_path);
                    const bool failed = disk.faults_injected() != 0;
                    disk.stop_failing();
                    INFO("fault ", nth, ":\n", disk.trace());
                    CHECK(disk.violations().empty());
                    if (!made) CHECK(made == emdb::ErrorCode::io);
                    CHECK((made || failed));
                    failures += failed;
                    CHECK(disk.bytes_of(backup_path + ".tmp").empty());
                    if (made) {
                        backup.completed = model.now();
                    } else {
                        backup.under_way = model.now();
                    }
                    REQUIRE(session->insert("", "after", "wards"));
                    REQUIRE(session->flush());
                    CHECK(check_backup(disk, backend.settings(), backup));
                    REQUIRE(session->back_up(backup));
                    CHECK(check_backup(disk, backend.settings(), backup));
                    if (!failed) break;
                }
            }
        }
    }
    MESSAGE(failures << " failures");
}

TEST_CASE("backup: a poisoned database can still be backed up, with all that was written") {
    SimulatedDisk disk(quiet(1, true));
    emdb::Emdb db = open_database(disk).value();
    db.insert("key", "value").value();
    Fault fault;
    fault.only = Operation::sync;
    disk.fail(fault);
    CHECK_FALSE(db.flush());
    disk.stop_failing();
    CHECK(db.compact() == emdb::ErrorCode::poisoned);
    db.backup_to(backup_path).value();
    CHECK(open_database(disk, {}, nullptr, backup_path).value().get("key").value() == "value");
}

TEST_CASE("backup: a directory that can't be synced is found out while the target is as it was") {
    SimulatedDisk disk(quiet(1, true));
    emdb::Emdb db = open_database(disk).value();
    Fault fault;
    fault.only = Operation::sync_directory;
    disk.fail(fault);
    CHECK(db.backup_to(backup_path) == emdb::ErrorCode::io);
    CHECK_FALSE(disk.exists(backup_path));
    disk.stop_failing();
    db.backup_to(backup_path).value();
    const std::string before = disk.bytes_of(backup_path);
    db.insert("key", "value").value();
    disk.fail(fault);
    CHECK(db.backup_to(backup_path) == emdb::ErrorCode::io);
    CHECK(disk.bytes_of(backup_path) == before);
}

TEST_CASE("a copy that can't have the permissions of the file is given up, before anything is in it") {
    SimulatedDisk disk(quiet(1, true));
    emdb::Emdb db = open_database(disk).value();
    db.insert("key", "value").value();
    Fault fault;
    fault.only = Operation::take_permissions;
    fault.from_then_on = true;
    const auto must_fail = [&](const auto& made, const std::string& copy) {
        CHECK(made == emdb::ErrorCode::io);
        CHECK(disk.faults_injected() > 0);
        CHECK_FALSE(disk.exists(copy));
    };
    disk.fail(fault);
    must_fail(db.compact(), compact_path);
    must_fail(db.checkpoint(), database_path + ".meta");
    must_fail(db.backup_to(backup_path), backup_path);
    disk.stop_failing();
    db.close().value();
    disk.fail(fault);
    must_fail(emdb::detail::salvage_database(disk, database_path, backup_path, {}), backup_path);
    for (const auto& path : disk.paths()) CHECK((path == database_path || path == database_path + ".meta"));  // which the close wrote
    disk.stop_failing();
    CHECK(open_database(disk).value().get("key").value() == "value");
}

}  // namespace emdb_test
