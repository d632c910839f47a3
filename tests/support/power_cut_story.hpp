#pragma once
// A database's life in which the power goes again and again. For power_cut_test.cpp and its kin.
//
// Needs the implementation half of emdb.hpp (EMDB_IMPLEMENTATION defined before its first include).

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support/model_session.hpp"
#include "support/power_cuts.hpp"

namespace emdb_test {

inline std::optional<std::uint64_t> number_from_environment(const char* name) {
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

    /// `settings` says whether and how the database is encrypted.
    Story(std::uint64_t seed, Totals& totals, const DatabaseSettings& settings) : random_(seed), totals_(totals), settings_(settings) {
        disk_settings_.keeps_allocation = random_.coin();
        static constexpr std::uint64_t write_back[]{0, 2, 8, 32};
        disk_settings_.write_back_one_in = write_back[random_.below(4)];
        disk_settings_.maps_past_end = !random_.one_in(4);
        disk_settings_.keeps_mapped = !disk_settings_.maps_past_end;
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
inline volatile std::uint64_t story_under_way = 0;
inline void (*report_crash)(int) = nullptr;
inline void name_the_story(int signal) {
    std::fprintf(stderr, "crashed; repeat with EMDB_SEED=%llu\n", static_cast<unsigned long long>(story_under_way));
    std::signal(signal, report_crash);
    std::raise(signal);
}
#endif

/// Runs a story; false and a failure that tells how to repeat it if a promise was broken.
inline bool run_story(std::uint64_t seed, std::uint64_t cuts, Story::Totals& totals, const DatabaseSettings& settings) {
#if !defined(_WIN32)
    story_under_way = seed;
#endif
    Story story(seed, totals, settings);
    try {
        story.run(cuts);
        return true;
    } catch (const BrokenPromise& broken) {
        FAIL_CHECK("repeat with EMDB_SEED=" << seed << " (cut " << totals.cuts + 1 << " of this run)\n"
                                            << std::string(broken.what()) << "\n" << story.trace());
        return false;
    }
}

/// Random stories until there have been so many cuts, or only the one of EMDB_SEED.
inline void run_stories(std::uint64_t usual_cuts, const DatabaseSettings& settings = {}) {
    const std::optional<std::uint64_t> cuts_asked = number_from_environment("EMDB_POWER_CUTS");
    const std::optional<std::uint64_t> seed_asked = number_from_environment("EMDB_SEED");
    const bool only_one = seed_asked && !cuts_asked;
    const std::uint64_t cuts = only_one ? 1 : cuts_asked.value_or(usual_cuts);
    Story::Totals totals;
    std::uint64_t failures = 0;
#if !defined(_WIN32)
    report_crash = std::signal(SIGSEGV, name_the_story);
#endif
    for (std::uint64_t seed = seed_asked.value_or(1); totals.cuts < cuts && failures < 3; ++seed) {
        const std::uint64_t before = totals.cuts;
        if (!run_story(seed, cuts_in_a_story, totals, settings)) ++failures;
        totals.cuts = std::max(totals.cuts, before + 1);
    }
#if !defined(_WIN32)
    std::signal(SIGSEGV, report_crash);
#endif
    MESSAGE(totals.cuts << " power cuts, " << totals.cuts_while_opening << " of them while opening; " << totals.kills
                        << " killed processes; " << totals.outcomes_enumerated << " enumerated outcomes, " << totals.calls << " calls, "
                        << totals.operations << " file operations; " << failures << " failures");
}

}  // namespace emdb_test
