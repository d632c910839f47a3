// Power cuts over the engine: nothing acknowledged by a flush is lost, no transaction or batch is torn, survivors are a prefix
// of what was written, and every database opens again, wherever the power went.
//
// EMDB_POWER_CUTS=n   how many random cuts (20,000)
// EMDB_SEED=n         the first seed; alone, only the story with this seed is run

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/model_session.hpp"
#include "support/power_cuts.hpp"

namespace emdb_test {

namespace {

std::optional<std::uint64_t> number_from_environment(const char* name) {
    const char* const text = std::getenv(name);
    if (text == nullptr || *text == '\0') return std::nullopt;
    return std::strtoull(text, nullptr, 10);
}

/// A database's life over several machines, each of which loses its power. Every seed is another one.
class Story {
public:
    struct Totals {
        std::uint64_t cuts = 0, cuts_while_opening = 0, kills = 0, outcomes_enumerated = 0, calls = 0, operations = 0;
    };

    explicit Story(std::uint64_t seed, Totals& totals) : random_(seed), totals_(totals) {
        disk_settings_.keeps_allocation = random_.coin();
        static constexpr std::uint64_t write_back[]{0, 2, 8, 32};
        disk_settings_.write_back_one_in = write_back[random_.below(4)];
        disk_settings_.maps_past_end = !random_.one_in(4);
        disk_settings_.is_memory_backed = random_.one_in(4);
        settings_.records_of_one_size = random_.one_in(3);
        settings_.range_scans = random_.coin();
        settings_.small_checkpoints = random_.coin();
    }

    /// Throws BrokenPromise.
    void run(std::uint64_t cuts) {
        for (; cuts > 0; --cuts) {
            live();
            ++totals_.cuts;
            totals_.operations += disk_->operation_count();
            reboot();
        }
        live_on_calmly();
    }

    /// What led to the failure: the settings and the last machine's operations.
    std::string trace() const {
        return "settings: " + description_ + "\noperations of the last machine, after " + std::to_string(machines_) +
               " reboots:\n" + (disk_ == nullptr ? std::string() : disk_->trace());
    }

private:
    // A machine's time from switching on to a power cut.
    void live() {
        choose_settings();
        // One in three cuts falls while the database is being opened, if that takes so many operations.
        const bool while_opening = random_.one_in(3);
        disk_->cut_power_at(1 + random_.below(while_opening ? 20 : 160));
        auto opened = open_database(*disk_, settings_);
        if (!opened) {
            check(!disk_->power_is_on(), "the database can't be opened: " + opened.error().message());
            ++totals_.cuts_while_opening;
            return;
        }
        if (disk_->power_is_on() && check_backup(*disk_, settings_, backup_)) work(std::move(opened).value());
        disk_->cut_power();
    }

    void work(emdb::Emdb db) {
        if (!take_stock(db)) return;
        std::uint64_t calls = random_.below(random_.coin() ? 60 : 8);
        for (;;) {
            std::optional<Session> session(std::in_place, *disk_, std::move(db), model_, settings_, random_, &backup_);
            if (random_.one_in(4)) disk_->kill_process_at(disk_->operation_count() + 1 + random_.below(40));
            for (; calls > 0 && disk_->process_is_alive(); --calls) {
                ++totals_.calls;
                if (!session->step() && !disk_->power_is_on()) return;
            }
            const std::uint64_t returned = session->returned_position();
            switch (random_.below(5)) {
                case 0: return disk_->cut_power();
                case 1: disk_->kill_process(); break;
                case 2:  // dropping the last handle closes, too
                    session.reset();
                    if (disk_->power_is_on() && disk_->process_is_alive()) model_.acknowledge_all();
                    break;
                default: session->close(); break;
            }
            session.reset();
            if (!disk_->power_is_on()) return;
            if (!disk_->process_is_alive()) {
                ++totals_.kills;
                disk_->start_process();
            }
            disk_->cut_power_at(disk_->operation_count() + 1 + random_.below(120));
            if (random_.coin()) choose_mode();
            calls = random_.below(20);
            auto reopened = open_database(*disk_, settings_);
            if (!disk_->power_is_on()) return;
            db = expect(std::move(reopened), "reopening after a close or kill");
            if (!take_stock(db, returned) || !check_backup(*disk_, settings_, backup_)) return;
        }
    }

    // What is in the database must be a prefix of what was written, that long at least. False: the power went meanwhile.
    bool take_stock(emdb::Emdb& db, std::uint64_t must_be_there = 0) {
        Contents found;
        try {
            found = read_contents(db);
        } catch (const BrokenPromise&) {
            if (disk_->power_is_on()) throw;
        }
        if (!disk_->power_is_on()) return false;
        if (must_be_there != 0) {
            JournalModel strict = model_;
            strict.acknowledge(must_be_there);
            check(strict.allows(found), "a killed process lost a write that had returned:\n" + strict.explain(found));
        }
        check(model_.survive(found), "what survived is no prefix of what was written, or lacks something acknowledged:\n" +
                                         model_.explain(found));
        return true;
    }

    // The power comes back: sometimes every disk that may be there is tried first, and one of them is gone on with.
    void reboot() {
        check(disk_->violations().empty(), "the engine broke the file contract: " + joined(disk_->violations()));
        const CrashedDisk crashed = disk_->crashed();
        const std::uint64_t outcomes = crashed.outcome_count();
        if (outcomes <= 256 && random_.one_in(4)) {
            for (std::uint64_t i = 0; i < outcomes; ++i) {
                DiskSettings quiet = disk_settings_;
                quiet.write_back_one_in = 0;
                disk_ = std::make_unique<SimulatedDisk>(crashed.outcome(i), quiet);
                emdb::Emdb db = expect(open_database(*disk_, settings_), "opening outcome " + std::to_string(i));
                const Contents found = read_contents(db);
                check(model_.allows(found), "outcome " + std::to_string(i) + " is no prefix:\n" + model_.explain(found));
                BackupModel backup = backup_;
                check_backup(*disk_, settings_, backup);
                ++totals_.outcomes_enumerated;
            }
        }
        disk_settings_.seed = random_.next();
        disk_ = std::make_unique<SimulatedDisk>(crashed.random_outcome(random_), disk_settings_);
        ++machines_;
    }

    // The last machine keeps its power: everything still works, and is all there after a clean close.
    void live_on_calmly() {
        choose_settings();
        emdb::Emdb db = expect(open_database(*disk_, settings_), "the last open");
        check(take_stock(db), "the power stays on");
        check_backup(*disk_, settings_, backup_);
        Session session(*disk_, std::move(db), model_, settings_, random_);
        for (int i = 0; i < 5; ++i) check(session.step(), "the last session");
        check(session.close(), "the last close");
        emdb::Emdb reopened = expect(open_database(*disk_, settings_), "the very last open");
        check(read_contents(reopened) == model_.now(), "the last close lost something");
    }

    void choose_settings() {
        if (disk_ == nullptr) {
            disk_settings_.seed = random_.next();
            disk_ = std::make_unique<SimulatedDisk>(disk_settings_);
        }
        switch (random_.below(4)) {
            case 0: settings_.policy = emdb::FlushPolicy::on_each_flush(); break;
            case 1: settings_.policy = emdb::FlushPolicy::group(); break;
            case 2: settings_.policy = emdb::FlushPolicy::write_through(); break;
            default: settings_.policy = emdb::FlushPolicy::every_n(1 + static_cast<std::uint32_t>(random_.below(5))); break;
        }
        choose_mode();
    }
    void choose_mode() {
        settings_.mode = random_.coin() ? emdb::AppendMode::pwrite
                         : disk_settings_.keeps_allocation ? emdb::AppendMode::mapped
                                                           : emdb::AppendMode::automatic;
        static constexpr const char* policies[]{"on_each_flush", "group", "write_through", "every_n"};
        static constexpr const char* modes[]{"automatic", "mapped", "pwrite"};
        description_ = std::string(policies[static_cast<std::size_t>(settings_.policy.kind())]) + "(" +
                       std::to_string(settings_.policy.n()) + "), " + modes[static_cast<std::size_t>(settings_.mode)] +
                       ", allocation " + (disk_settings_.keeps_allocation ? "kept" : "not kept") + ", maps " +
                       (disk_settings_.maps_past_end ? "reach" : "do not reach") + " past the end";
    }

    static std::string joined(const std::vector<std::string>& lines) {
        std::string text;
        for (const std::string& line : lines) text += "\n  " + line;
        return text;
    }

    SeededRandom random_;
    Totals& totals_;
    DiskSettings disk_settings_;
    DatabaseSettings settings_;
    std::string description_;
    JournalModel model_;
    BackupModel backup_;
    std::uint64_t machines_ = 0;
    std::unique_ptr<SimulatedDisk> disk_;
};

constexpr std::uint64_t cuts_in_a_story = 8;

#if !defined(_WIN32)
// doctest reports a crash without what the test had to say about it: this says it first.
volatile std::uint64_t story_under_way = 0;
void (*report_crash)(int) = nullptr;
void name_the_story(int signal) {
    std::fprintf(stderr, "crashed; repeat with EMDB_SEED=%llu\n", static_cast<unsigned long long>(story_under_way));
    std::signal(signal, report_crash);
    std::raise(signal);
}
#endif

/// Runs a story; false and a failure that tells how to repeat it if a promise was broken.
bool run_story(std::uint64_t seed, std::uint64_t cuts, Story::Totals& totals) {
#if !defined(_WIN32)
    story_under_way = seed;
#endif
    Story story(seed, totals);
    try {
        story.run(cuts);
        return true;
    } catch (const BrokenPromise& broken) {
        FAIL_CHECK("repeat with EMDB_SEED=" << seed << " (cut " << totals.cuts + 1 << " of this run)\n"
                                            << std::string(broken.what()) << "\n" << story.trace());
        return false;
    }
}

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

/// Where the value made of `fill` lies in the database file.
std::uint64_t find_value(SimulatedDisk& disk, char fill) {
    const std::size_t at = disk.bytes_of(database_path).find(text(300, fill));
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
    const std::optional<std::uint64_t> cuts_asked = number_from_environment("EMDB_POWER_CUTS");
    const std::optional<std::uint64_t> seed_asked = number_from_environment("EMDB_SEED");
    const bool only_one = seed_asked && !cuts_asked;
    const std::uint64_t cuts = only_one ? 1 : cuts_asked.value_or(20'000);
    Story::Totals totals;
    std::uint64_t failures = 0;
#if !defined(_WIN32)
    report_crash = std::signal(SIGSEGV, name_the_story);
#endif
    for (std::uint64_t seed = seed_asked.value_or(1); totals.cuts < cuts && failures < 3; ++seed) {
        const std::uint64_t before = totals.cuts;
        if (!run_story(seed, cuts_in_a_story, totals)) ++failures;
        totals.cuts = std::max(totals.cuts, before + 1);
    }
#if !defined(_WIN32)
    std::signal(SIGSEGV, report_crash);
#endif
    MESSAGE(totals.cuts << " power cuts, " << totals.cuts_while_opening << " of them while opening; " << totals.kills
                        << " killed processes; " << totals.outcomes_enumerated << " enumerated outcomes, " << totals.calls << " calls, "
                        << totals.operations << " file operations; " << failures << " failures");
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
    SeededRandom random(13);
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        JournalModel model;
        DiskImage torn;  // the first of two unsynced records is damaged, the other one is whole
        {
            SimulatedDisk disk(quiet(1, backend.keeps_allocation));
            Session session(disk, open_database(disk, backend.settings()).value(), model, backend.settings(), random);
            REQUIRE(session.insert("", "flushed", text(600, 'f')));
            REQUIRE(session.flush());
            REQUIRE(session.insert("", "torn", text(500, '1')));  // over a sector boundary
            REQUIRE(session.insert("", "stale", text(100, '2')));
            disk.cut_power();
            bool found = false;
            while (!found) {
                torn = disk.crashed().random_outcome(random);
                const std::string bytes = torn.files.at(database_path).bytes();
                found = bytes.find(text(500, '1')) == std::string::npos && bytes.find(text(100, '2')) != std::string::npos;
            }
        }
        // A new record of one of these sizes ends just where the stale one begins, whatever marks come before it or were lost.
        for (std::size_t size = 440; size < 560; ++size) {
            CAPTURE(size);
            SimulatedDisk disk(torn, quiet(size, backend.keeps_allocation));
            JournalModel after = model;
            {
                emdb::Emdb db = open_database(disk, backend.settings()).value();
                REQUIRE(after.survive(read_contents(db)));
                Session session(disk, std::move(db), after, backend.settings(), random);
                REQUIRE(session.insert("", "new", text(size, 'n')));
                disk.cut_power();
            }
            for_each_outcome(disk.crashed(), 256, random, [&](const DiskImage& image) {
                SimulatedDisk last(image, quiet(size, backend.keeps_allocation));
                emdb::Emdb db = open_database(last, backend.settings()).value();
                const Contents found = read_contents(db);
                REQUIRE_MESSAGE(after.allows(found), after.explain(found));
            });
        }
    }
}

TEST_CASE("damage: a byte that a surviving sync mark vouches for is refused with its offset, and nothing is changed") {
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        SimulatedDisk disk(disk_with_a_tail(backend), quiet(1, backend.keeps_allocation));
        const std::uint64_t at = find_value(disk, 'v') + 100;
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
            const std::uint64_t at = find_value(disk, fill) + 299;
            disk.flip_bits(database_path, at);
            check_refused(disk, backend, at);
        }
    }
}

TEST_CASE("damage: an unsynced tail that is torn is cut off, and the log tells how much") {
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        SimulatedDisk disk(disk_with_a_tail(backend), quiet(1, backend.keeps_allocation));
        disk.flip_bits(database_path, find_value(disk, 't') + 100);
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

TEST_CASE("damage: what decays while the database is open is reported by the read that meets it, and by no other") {
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        SimulatedDisk disk(disk_with_a_tail(backend), quiet(1, backend.keeps_allocation));
        emdb::Emdb db = open_database(disk, backend.settings()).value();
        disk.flip_bits(database_path, find_value(disk, 'f') + 7);
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
        for (const bool for_good : {false, true}) {
            for (const int os_error : {os_io, os_no_space}) {
                bool got_through = false;
                for (std::uint64_t nth = 1; !got_through; ++nth) {
                    CAPTURE(backend.name);
                    CAPTURE(for_good);
                    CAPTURE(nth);
                    SeededRandom random(nth);
                    SimulatedDisk disk(quiet(nth, backend.keeps_allocation));
                    JournalModel model;
                    Fault fault;
                    fault.nth = nth;
                    fault.from_then_on = for_good;
                    fault.os_error = os_error;
                    disk.fail(fault);
                    try {
                        Session session(disk, expect(open_database(disk, backend.settings()), "open"), model,
                                        backend.settings(), random);
                        session.insert("", "a", text(300, 'a'));
                        session.flush();
                        session.create("space");
                        session.insert("space", "b", text(5000, 'b'));
                        session.insert("", "big", text(200'000, 'c'));
                        session.remove("", "a");
                        session.flush();
                        session.insert("", "d", text(10, 'd'));
                        session.close();
                        got_through = disk.faults_injected() == 0;
                    } catch (const BrokenPromise&) {
                        CHECK(disk.faults_injected() > 0);  // a call failed, because its disk did
                    }
                    disk.stop_failing();
                    CHECK(disk.violations().empty());
                    {
                        auto opened = open_database(disk, backend.settings());
                        REQUIRE_MESSAGE(opened.has_value(), opened.error().message());
                        const Contents found = read_contents(*opened);
                        REQUIRE_MESSAGE(model.survive(found), model.explain(found));
                        model.issue(put("after", "the fault"));
                        CHECK(opened->insert("after", "the fault"));
                        CHECK(opened->flush());
                        model.acknowledge_all();
                        disk.cut_power();
                    }
                    for_each_outcome(disk.crashed(), 64, random, [&](const DiskImage& image) {
                        SimulatedDisk rebooted(image, quiet(nth, backend.keeps_allocation));
                        auto opened = open_database(rebooted, backend.settings());
                        REQUIRE_MESSAGE(opened.has_value(), opened.error().message());
                        const Contents left = read_contents(*opened);
                        REQUIRE_MESSAGE(model.allows(left), model.explain(left));
                    });
                }
            }
        }
    }
}

}  // namespace emdb_test
