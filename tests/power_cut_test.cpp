// Power cuts over the engine: nothing acknowledged by a flush is lost, no transaction or batch is torn, survivors are a prefix
// of what was written, and every database opens again, wherever the power went.
//
// EMDB_POWER_CUTS=n   how many random cuts (20,000)
// EMDB_SEED=n         the first seed; alone, only the story with this seed is run

#define EMDB_NESTED 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/model_session.hpp"
#include "support/power_cut_story.hpp"
#include "support/power_cuts.hpp"

namespace emdb_test {

namespace {

/// A database with two flushed records and one that was written but not flushed, after a power cut that lost nothing. The
/// second flush made the sync mark of the first durable.
DiskImage disk_with_a_tail(const Backend& backend) {
    SimulatedDisk disk(quiet(3, backend.keeps_allocation));
    emdb::Emdb db = open_database(disk, backend.settings()).value();
    db.insert("vouched for", text(300, 'v')).value();
    db.flush().value();
    db.insert("flushed", text(300, 'f')).value();
    db.flush().value();
    db.insert("tail", text(300, 't')).value();
    disk.cut_power();
    return disk.crashed().everything_survived();
}

/// Where a value lies in the database file.
std::uint64_t find_value(SimulatedDisk& disk, const std::string& value) {
    const std::size_t at = disk.bytes_of(database_path).find(value);
    REQUIRE(at != std::string::npos);
    return at;
}

/// Opening must call the damage by its name and place and leave the file as it is, as often as it is tried.
void check_refused(SimulatedDisk& disk, const Backend& backend, std::uint64_t damaged_at) {
    const std::string before = disk.bytes_of(database_path);
    for (int i = 0; i < 2; ++i) {
        const auto opened = open_database(disk, backend.settings());
        REQUIRE_FALSE(opened.has_value());
        CHECK(opened == emdb::ErrorCode::corrupted);
        CHECK(opened.error().offset() <= damaged_at);
        CHECK(opened.error().offset() + 400 > damaged_at);
        CHECK(disk.bytes_of(database_path) == before);
    }
}

}  // namespace

TEST_CASE("power cuts: random stories end with a prefix of what was written, at least as long as what was flushed") {
    run_stories(20'000);
}

TEST_CASE("power cuts: at every operation of creating a database") {
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        const std::uint64_t operations =
            cut_everywhere(backend.keeps_allocation, 256, [&](SimulatedDisk& disk, JournalModel& model, std::uint64_t operation) {
                disk.cut_power_at(operation);
                auto db = open_database(disk, backend.settings());
                if (!db) return false;
                model.issue(put("first", "value"));
                if (!db->insert("first", "value") || !db->flush() || !disk.power_is_on()) return false;
                model.acknowledge_all();
                disk.cut_power();  // before the destructor closes it
                return true;
            });
        CHECK(operations > 5);
    }
}

TEST_CASE("power cuts: at every operation of a clean close") {
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        cut_everywhere(backend.keeps_allocation, 256, [&](SimulatedDisk& disk, JournalModel& model, std::uint64_t operation) {
            emdb::Emdb db = open_database(disk, backend.settings()).value();
            for (const char* const key : {"flushed", "not flushed"}) {
                model.issue(put(key, text(700, 'x')));
                db.insert(key, text(700, 'x')).value();
                if (model.position() == 1) {
                    db.flush().value();
                    model.acknowledge_all();
                }
            }
            disk.cut_power_at(disk.operation_count() + operation);
            if (!db.close() || !disk.power_is_on()) return false;
            model.acknowledge_all();
            return true;
        });
    }
}

TEST_CASE("power cuts: every outcome of every cut in a short history") {
    std::uint64_t operations = 0;
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        operations += cut_everywhere(
            backend.keeps_allocation, 1024, [&](SimulatedDisk& disk, JournalModel& model, std::uint64_t operation) {
                SeededRandom random(5);
                Session session(disk, open_database(disk, backend.settings()).value(), model, backend.settings(), random);
                disk.cut_power_at(disk.operation_count() + operation);
                const auto tick = [&disk] {
                    disk.tick();
                    return disk.power_is_on();
                };
                const bool got_through = session.insert("", "a", text(300, 'a')) && tick() &&      //
                                         session.flush() && tick() &&                              //
                                         session.insert("", "b", text(700, 'b')) && tick() &&      //
                                         session.create("space") && tick() &&                      //
                                         session.insert("space", "", "") && tick() &&              //
                                         session.remove("", "a") && tick() &&                      //
                                         session.flush() && tick() &&                              //
                                         session.insert("", "b", text(900, 'c')) && tick() &&      //
                                         session.transaction() && tick() &&                        //
                                         session.clear("space") && tick() && session.drop("space") && tick();
                disk.cut_power();
                return got_through;
            });
    }
    CHECK(operations > 40);
}

TEST_CASE("power cuts: during recovery, three deep, at every operation of the first") {
    SeededRandom random(11);
    std::uint64_t recoveries = 0;
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        SimulatedDisk disk(quiet(2, backend.keeps_allocation));
        JournalModel model;
        {
            Session session(disk, open_database(disk, backend.settings()).value(), model, backend.settings(), random);
            for (int i = 0; i < 30; ++i) REQUIRE(session.step());
            REQUIRE(session.flush());
            for (int i = 0; i < 10; ++i) REQUIRE(session.insert("", "tail", text(400, static_cast<char>('0' + i))));
            disk.cut_power();
        }
        bool opened_first = false;
        for (std::uint64_t first = 1; !opened_first; ++first) {
            for (int variation = 0; variation < 16; ++variation) {
                DiskImage image = disk.crashed().random_outcome(random);
                for (int depth = 0; depth < 3; ++depth) {
                    SimulatedDisk recovering(image, quiet(random.next(), backend.keeps_allocation));
                    recovering.cut_power_at(depth == 0 ? first : 1 + random.below(first));
                    auto opened = open_database(recovering, backend.settings());
                    if (opened && recovering.power_is_on()) opened_first = true;
                    recovering.cut_power();
                    image = recovering.crashed().random_outcome(random);
                    ++recoveries;
                }
                SimulatedDisk last(image, quiet(random.next(), backend.keeps_allocation));
                auto opened = open_database(last, backend.settings());
                REQUIRE_MESSAGE(opened.has_value(), opened.error().message());
                const Contents found = read_contents(*opened);
                REQUIRE_MESSAGE(model.allows(found), model.explain(found));
            }
        }
    }
    CHECK(recoveries > 200);
}

TEST_CASE("power cuts: what was cut off with a torn tail never comes back behind new records") {
    constexpr std::uint64_t sector = 512;
    SeededRandom random(13);
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        DatabaseSettings settings = backend.settings();
        settings.records_of_one_size = true;
        JournalModel model;
        std::uint64_t stale_at = 0;
        // The first of two unsynced records is damaged, the other one is whole.
        const auto make_torn = [&](std::size_t flushed_size) {
            model = JournalModel();
            SimulatedDisk disk(quiet(1, backend.keeps_allocation));
            Session session(disk, open_database(disk, settings).value(), model, settings, random);
            REQUIRE(session.insert("", "flushed", text(flushed_size, 'f')));
            REQUIRE(session.flush());
            REQUIRE(session.insert("", "torn", text(500, '1')));  // over a sector boundary
            REQUIRE(session.insert("", "stale", text(100, '2')));
            stale_at = find_value(disk, text(500, '1')) + 500;
            disk.cut_power();
            for (;;) {
                const DiskImage torn = disk.crashed().random_outcome(random);
                const std::string bytes = torn.files.at(database_path).bytes();
                if (bytes.find(text(500, '1')) == std::string::npos && bytes.find(text(100, '2')) != std::string::npos) return torn;
            }
        };
        make_torn(600);
        // The stale record begins in the middle of a sector, which a new one that ends there overwrites, and at the beginning of one.
        for (const std::uint64_t further : {std::uint64_t{0}, sector - stale_at % sector}) {
            CAPTURE(further);
            const DiskImage torn = make_torn(600 + further);
            // A new record of one of these sizes ends just where the stale one begins, whatever marks come before it or were lost.
            for (std::size_t size = 440; size < 560; ++size) {
                CAPTURE(size);
                SimulatedDisk disk(torn, quiet(size, backend.keeps_allocation));
                JournalModel after = model;
                {
                    emdb::Emdb db = open_database(disk, settings).value();
                    REQUIRE(after.survive(read_contents(db)));
                    Session session(disk, std::move(db), after, settings, random);
                    REQUIRE(session.insert("", "new", text(size, 'n')));
                    disk.cut_power();
                }
                for_each_outcome(disk.crashed(), 256, random, [&](const DiskImage& image) {
                    SimulatedDisk last(image, quiet(size, backend.keeps_allocation));
                    emdb::Emdb db = open_database(last, settings).value();
                    const Contents found = read_contents(db);
                    REQUIRE_MESSAGE(after.allows(found), after.explain(found));
                });
            }
        }
    }
}

TEST_CASE("damage: a byte that a surviving sync mark vouches for is refused with its offset, and nothing is changed") {
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        SimulatedDisk disk(disk_with_a_tail(backend), quiet(1, backend.keeps_allocation));
        const std::uint64_t at = find_value(disk, text(300, 'v')) + 100;
        disk.flip_bits(database_path, at);
        check_refused(disk, backend, at);
        disk.flip_bits(database_path, at);
        CHECK(open_database(disk, backend.settings()).value().get("vouched for").value() == text(300, 'v'));
    }
}

TEST_CASE("damage: after a clean close every record is vouched for, the last one too") {
    for (const Backend& backend : backends) {
        for (const char fill : {'v', 'f', 't'}) {
            CAPTURE(backend.name);
            CAPTURE(fill);
            SimulatedDisk disk(disk_with_a_tail(backend), quiet(1, backend.keeps_allocation));
            open_database(disk, backend.settings()).value().close().value();
            const std::uint64_t at = find_value(disk, text(300, fill)) + 299;
            disk.flip_bits(database_path, at);
            check_refused(disk, backend, at);
        }
    }
}

TEST_CASE("damage: an unsynced tail that is torn is cut off, and the log tells how much") {
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        SimulatedDisk disk(disk_with_a_tail(backend), quiet(1, backend.keeps_allocation));
        disk.flip_bits(database_path, find_value(disk, text(300, 't')) + 100);
        std::vector<std::string> log;
        {
            emdb::Emdb db = open_database(disk, backend.settings(), &log).value();
            CHECK(db.get("vouched for").value() == text(300, 'v'));
            CHECK(db.get("flushed").value() == text(300, 'f'));
            CHECK_FALSE(db.get("tail").value().has_value());
            CHECK(db.len().value() == 2);
        }
        CHECK(std::any_of(log.begin(), log.end(), [](const std::string& message) {
            return message.find("tail") != std::string::npos && message.find_first_of("0123456789") != std::string::npos;
        }));
    }
}

TEST_CASE("damage: a mark whose own checksum is wrong vouches for nothing") {
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        SimulatedDisk disk(disk_with_a_tail(backend), quiet(1, backend.keeps_allocation));
        const std::uint64_t flushed_at = find_value(disk, text(300, 'f'));
        disk.flip_bits(database_path, flushed_at + 100);
        disk.flip_bits(database_path, flushed_at + 300);  // in the checksum of the mark
        emdb::Emdb db = open_database(disk, backend.settings()).value();
        CHECK(db.get("vouched for").value() == text(300, 'v'));
        CHECK(db.len().value() == 1);
    }
}

TEST_CASE("damage: what decays while the database is open is reported by the read that meets it, and by no other") {
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        SimulatedDisk disk(disk_with_a_tail(backend), quiet(1, backend.keeps_allocation));
        emdb::Emdb db = open_database(disk, backend.settings()).value();
        disk.flip_bits(database_path, find_value(disk, text(300, 'f')) + 7);
        const auto damaged = db.get("flushed");
        CHECK(damaged == emdb::ErrorCode::corrupted);
        CHECK(damaged.error().offset() != 0);
        CHECK(db.get("vouched for").value() == text(300, 'v'));
        CHECK(db.get("tail").value() == text(300, 't'));
    }
}

TEST_CASE("faults: a failed sync poisons; after reopening and a flush nothing that was written is lost") {
    for (const Backend& backend : backends) {
        for (std::uint64_t seed = 1; seed <= 40; ++seed) {
            CAPTURE(backend.name);
            CAPTURE(seed);
            const bool write_through = seed % 3 == 0;
            const DatabaseSettings settings = backend.settings(write_through ? emdb::FlushPolicy::write_through()
                                                                             : emdb::FlushPolicy::on_each_flush());
            SeededRandom random(seed);
            SimulatedDisk disk(quiet(seed, backend.keeps_allocation));
            JournalModel model;
            {
                emdb::Emdb db = open_database(disk, settings).value();
                for (std::uint64_t i = 0; i < 6; ++i) {
                    const std::string key = std::to_string(i);
                    model.issue(put(key, text(random.below(1500), 'x')));
                    db.insert(key, *model.now().find("", key)).value();
                    if (i == 2) db.flush().value();
                }
                Fault fault;
                fault.only = Operation::sync;
                disk.fail(fault);
                if (write_through) {
                    model.issue(put("6", "not acknowledged"));
                    CHECK(db.insert("6", "not acknowledged") == emdb::ErrorCode::io);
                } else {
                    CHECK(db.flush() == emdb::ErrorCode::io);
                }
                CHECK(disk.faults_injected() == 1);  // once, and later syncs would claim to succeed
                CHECK(db.insert("more", "value") == emdb::ErrorCode::poisoned);
                CHECK(db.remove("0") == emdb::ErrorCode::poisoned);
                CHECK(db.flush() == emdb::ErrorCode::poisoned);
                for (int i = 0; i < 6; ++i) {
                    const std::string key = std::to_string(i);
                    CHECK(db.get(key).value() == *model.now().find("", key));
                }
            }
            disk.stop_failing();
            emdb::Emdb db = open_database(disk, settings).value();
            const Contents found = read_contents(db);
            REQUIRE_MESSAGE(model.survive(found), model.explain(found));
            CHECK(model.position() >= 6);  // the process died, not the machine: all that returned is there
            CHECK(db.insert("more", "value"));
            model.issue(put("more", "value"));
            CHECK(db.flush());
            model.acknowledge_all();
            disk.cut_power();
            for_each_outcome(disk.crashed(), 32, random, [&](const DiskImage& image) {
                SimulatedDisk rebooted(image, quiet(seed, backend.keeps_allocation));
                emdb::Emdb survivor = open_database(rebooted, settings).value();
                const Contents left = read_contents(survivor);
                REQUIRE_MESSAGE(model.allows(left), model.explain(left));
            });
        }
    }
}

TEST_CASE("faults: every call that writes tells of the sync that fails at its end") {
    using emdb::ErrorCode;
    struct Call {
        std::string name;
        std::function<bool(emdb::Emdb& db)> fails;
    };
    const auto is_io = [](const auto& result) { return !result && result.error() == ErrorCode::io; };
    const std::vector<std::pair<std::string, std::string>> pairs{{"c", "3"}, {"d", "4"}};
    const Call calls[]{
        {"insert", [&](emdb::Emdb& db) { return is_io(db.insert("a", "2")); }},
        {"remove", [&](emdb::Emdb& db) { return is_io(db.remove("a")); }},
        {"compare_exchange", [&](emdb::Emdb& db) { return is_io(db.compare_exchange("a", "1", "2")); }},
        {"update", [&](emdb::Emdb& db) { return is_io(db.update("a", [](auto) { return std::optional<std::string>("2"); })); }},
        {"insert_many", [&](emdb::Emdb& db) { return is_io(db.insert_many(pairs)); }},
        {"transaction", [&](emdb::Emdb& db) { return is_io(db.transaction([](emdb::Transaction& in) { return in.insert("a", "2"); })); }},
        {"delete_group", [&](emdb::Emdb& db) { return is_io(db.delete_group("group")); }},
        {"clear", [&](emdb::Emdb& db) { return is_io(db.clear()); }},
        {"open_namespace", [&](emdb::Emdb& db) { return is_io(db.open_namespace("new")); }},
        {"drop_namespace", [&](emdb::Emdb& db) { return is_io(db.drop_namespace("old")); }},
#if EMDB_TTL
        {"insert_with_ttl", [&](emdb::Emdb& db) { return is_io(db.insert_with_ttl("a", "2", emdb::Ttl::after(std::chrono::seconds(9)))); }},
        {"persist", [&](emdb::Emdb& db) { return is_io(db.persist("expires")); }},
        {"sweep_expired", [&](emdb::Emdb& db) { return is_io(db.sweep_expired()); }},
#endif
    };
    for (const Call& call : calls) {
        CAPTURE(call.name);
        SimulatedDisk disk(quiet(1, true));
        DatabaseSettings settings;
        settings.policy = emdb::FlushPolicy::write_through();
        emdb::Emdb db = open_database(disk, settings).value();
        db.insert("a", "1").value();
        db.insert("group.1", "1").value();
        db.open_namespace("old").value();
#if EMDB_TTL
        db.insert_with_ttl("expired", "1", emdb::Ttl::after(std::chrono::seconds(1))).value();
        db.insert_with_ttl("expires", "1", emdb::Ttl::after(std::chrono::seconds(9))).value();
        disk.set_now_unix_ms(disk.now_unix_ms() + 5000);
#endif
        Fault fault;
        fault.only = Operation::sync;
        disk.fail(fault);
        CHECK(call.fails(db));
        CHECK(disk.faults_injected() == 1);
    }
}

TEST_CASE("faults: after a close whose sync failed, flushed writes never stand behind bytes that were lost") {
    SeededRandom random(17);
    for (const Backend& backend : backends) {
        for (std::uint64_t failing = 1; failing <= 2; ++failing) {
            for (std::size_t padding = 0; padding < 540; ++padding) {  // the last frame of the close meets a sector's end
                CAPTURE(backend.name);
                CAPTURE(failing);
                CAPTURE(padding);
                SimulatedDisk disk(quiet(padding + 1, backend.keeps_allocation));
                JournalModel model;
                Session(disk, open_database(disk, backend.settings()).value(), model, backend.settings(), random).close();
                {
                    emdb::Emdb db = open_database(disk, backend.settings()).value();
                    model.issue(put("padding", text(padding, 'p')));
                    db.insert("padding", text(padding, 'p')).value();
                    Fault fault;
                    fault.only = Operation::sync;
                    fault.nth = failing;
                    disk.fail(fault);
                    const auto closed = db.close();
                    CHECK(disk.faults_injected() == 1);
                    CHECK(closed == emdb::ErrorCode::io);
                    disk.stop_failing();
                }
                Session session(disk, open_database(disk, backend.settings()).value(), model, backend.settings(), random);
                CHECK(session.insert("", "after", text(40, 'a')));
                CHECK(session.flush());
                disk.cut_power();
                SimulatedDisk rebooted(disk.crashed().nothing_survived(), quiet(1, backend.keeps_allocation));
                auto opened = open_database(rebooted, backend.settings());
                REQUIRE_MESSAGE(opened.has_value(), opened.error().message());
                const Contents left = read_contents(*opened);
                REQUIRE_MESSAGE(model.allows(left), model.explain(left));
            }
        }
    }
}

TEST_CASE("faults: a close that fails while nobody looks is an error in the log") {
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        SimulatedDisk disk(quiet(1, backend.keeps_allocation));
        std::vector<std::string> log;
        {
            emdb::Emdb db = open_database(disk, backend.settings(), &log).value();
            db.insert("k", "v").value();
            Fault fault;
            fault.only = Operation::sync;
            fault.from_then_on = true;
            disk.fail(fault);
        }
        REQUIRE(log.size() == 2);  // what failed, and what that means for the close
        CHECK(log[1].find("could not be closed cleanly") != std::string::npos);
        CHECK(log[1].find(database_path) != std::string::npos);
    }
}

TEST_CASE("faults: what ends writing is an error in the log, once, also after a compaction") {
    for (const Backend& backend : backends) {
        for (const Operation operation : {Operation::sync, Operation::write}) {
            for (const bool compacted : {false, true}) {
                CAPTURE(backend.name);
                CAPTURE(compacted);
                SimulatedDisk disk(quiet(1, backend.keeps_allocation));
                std::vector<std::string> log;
                emdb::Emdb db = open_database(disk, backend.settings(emdb::FlushPolicy::on_each_flush()), &log).value();
                db.insert("k", "v").value();
                if (compacted) db.compact().value();
                db.flush().value();
                log.clear();
                Fault fault;
                fault.only = operation;
                fault.from_then_on = true;
                disk.fail(fault);
                // Large enough to be written, not stored through the map.
                const std::string large(1 << 20, 'x');
                for (int i = 0; i < 3; ++i) {
                    if (operation == Operation::sync) static_cast<void>(db.insert("k", "new"));
                    CHECK_FALSE((operation == Operation::sync ? db.flush() : db.insert("large", large)).has_value());
                }
                CHECK(db.flush() == emdb::ErrorCode::poisoned);
                REQUIRE(log.size() == 1);
                CHECK(log[0].find(database_path) != std::string::npos);
                CHECK(log[0].find("nothing more is written until the database is reopened") != std::string::npos);
                disk.stop_failing();
            }
        }
    }
}

TEST_CASE("faults: a new database whose file can't be locked leaves nothing behind") {
    SimulatedDisk disk(quiet(1, true));
    disk.fail({.only = Operation::lock});
    CHECK(open_database(disk) == emdb::ErrorCode::io);
    CHECK(disk.faults_injected() == 1);
    disk.stop_failing();
    CHECK(disk.paths().empty());
}

TEST_CASE("faults: whichever operation fails, once or for good, what was acknowledged is there after reopening") {
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        fail_everywhere(backend.keeps_allocation, backend.settings());
    }
}

}  // namespace emdb_test
