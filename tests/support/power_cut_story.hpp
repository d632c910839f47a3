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
        std::uint64_t cuts_three_deep = 0;       ///< series of three openings, each cut off, each in what the one before left
        std::uint64_t cuts_enumerated = 0;       ///< after which every outcome was tried
        std::uint64_t faults = 0;                ///< calls that failed because the disk did
        std::uint64_t encryption_changes = 0, encryption_changes_cut = 0;
    };

    /// What else happens in a story than what its database does.
    struct Plot {
        bool faults = false;              ///< operations fail, syncs above all
        bool encryption_changes = false;  ///< between lives
        std::uint64_t enumerated_up_to = 256;  ///< outcomes of a cut that may be tried all
        std::uint64_t enumerated_one_in = 4;   ///< cuts with so few
    };

    /// `settings` says whether and how the database is encrypted.
    Story(std::uint64_t seed, Totals& totals, const DatabaseSettings& settings, const Plot& plot)
        : random_(seed), totals_(totals), settings_(settings), plot_(plot) {
        disk_settings_.keeps_allocation = random_.coin();
        static constexpr std::uint64_t write_back[]{0, 2, 8, 32};
        disk_settings_.write_back_one_in = write_back[random_.below(4)];
        disk_settings_.maps_past_end = !random_.one_in(4);
        disk_settings_.keeps_mapped = !disk_settings_.maps_past_end;
        disk_settings_.is_memory_backed = random_.one_in(4);
        settings_.records_of_one_size = random_.one_in(3);
        settings_.range_scans = random_.coin();
        settings_.small_checkpoints = random_.coin();
#if EMDB_ENCRYPT
        cipher_ = settings_.cipher.value_or(cipher_);
#endif
    }

    /// Throws BrokenPromise.
    void run(std::uint64_t cuts) {
        for (; cuts > 0; --cuts) {
            live();
            ++totals_.cuts;
            totals_.operations += disk_->operation_count();
            reboot();
            if (random_.one_in(8)) cut_three_openings();
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
        if (!change_encryption()) return;
        // One in three cuts falls while the database is being opened, if that takes so many operations.
        const bool while_opening = random_.one_in(3);
        disk_->cut_power_at(1 + random_.below(while_opening ? 20 : 160));
        auto opened = open();
        if (!opened) {
            check(!disk_->power_is_on(), "the database can't be opened: " + opened.error().message(), Harm::unopenable);
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
            if (plot_.faults && random_.one_in(5)) fail_some_operation();
            for (; calls > 0 && disk_->process_is_alive() && !session->has_failed(); --calls) {
                ++totals_.calls;
                if (!session->step() && !disk_->power_is_on()) return;
            }
            const std::uint64_t returned = session->returned_position();
            switch (random_.below(5)) {
                case 0: return disk_->cut_power();
                case 1: disk_->kill_process(); break;
                case 2:  // dropping the last handle closes, too
                    {
                        const std::uint64_t faults = disk_->faults_injected();
                        const bool is_whole = !session->met_a_fault();
                        totals_.faults += session->has_failed();
                        session.reset();
                        if (is_whole && faults == disk_->faults_injected() && disk_->power_is_on() && disk_->process_is_alive()) {
                            model_.acknowledge_all();
                        }
                    }
                    break;
                default: session->close(); break;
            }
            if (session) totals_.faults += session->has_failed();
            session.reset();
            disk_->stop_failing();
            if (!disk_->power_is_on()) return;
            if (!disk_->process_is_alive()) {
                ++totals_.kills;
                disk_->start_process();
            }
            disk_->cut_power_at(disk_->operation_count() + 1 + random_.below(120));
            if (random_.coin()) choose_mode();
            calls = random_.below(20);
            auto reopened = open();
            if (!disk_->power_is_on()) return;
            db = expect(std::move(reopened), "reopening after a close, kill or fault", Harm::unopenable);
            if (!take_stock(db, returned) || !check_backup(*disk_, settings_, backup_)) return;
        }
    }

    // What is in the database must be a prefix of what was written, that long at least. False: the power went meanwhile.
    bool take_stock(emdb::Emdb& db, std::uint64_t must_be_there = 0) {
        Contents found;
        try {
            found = read_contents(db, disk_->clock_was_moved());
        } catch (const BrokenPromise& broken) {
            if (disk_->power_is_on()) throw BrokenPromise(broken.what(), Harm::unopenable);
        }
        if (!disk_->power_is_on()) return false;
        if (must_be_there != 0) {
            JournalModel strict = model_;
            strict.acknowledge(must_be_there);
            check(strict.allows(found), "a killed process lost a write that had returned:\n" + strict.explain(found),
                  strict.harm_of(found));
        }
        check(model_.survive(found), "what survived is no prefix of what was written, or lacks something acknowledged:\n" +
                                         model_.explain(found), model_.harm_of(found));
        if (std::exchange(is_rewritten_, false)) model_.acknowledge_all();
        return true;
    }

    // The power comes back: sometimes every disk that may be there is tried first, and one of them is gone on with.
    void reboot() {
        check(disk_->violations().empty(), "the engine broke the file contract: " + joined(disk_->violations()));
        const CrashedDisk crashed = disk_->crashed();
        const std::uint64_t outcomes = crashed.outcome_count();
        if (outcomes <= plot_.enumerated_up_to && random_.one_in(plot_.enumerated_one_in)) {
            ++totals_.cuts_enumerated;
            for (std::uint64_t i = 0; i < outcomes; ++i) try_outcome(crashed.outcome(i), i);
        }
        go_on_with(crashed.random_outcome(random_));
    }

    void try_outcome(const DiskImage& image, std::uint64_t number) {
        DiskSettings quiet = disk_settings_;
        quiet.write_back_one_in = 0;
        start_disk(std::make_unique<SimulatedDisk>(image, quiet));
        const auto candidates = candidates_;
        emdb::Emdb db = expect(open(), "opening outcome " + std::to_string(number), Harm::unopenable);
        candidates_ = candidates;
        const Contents found = read_contents(db, disk_->clock_was_moved());
        check(model_.allows(found), "outcome " + std::to_string(number) + " is no prefix:\n" + model_.explain(found), model_.harm_of(found));
        BackupModel backup = backup_;
        check_backup(*disk_, settings_, backup);
        ++totals_.outcomes_enumerated;
    }

    void go_on_with(const DiskImage& image) {
        disk_settings_.seed = random_.next();
        start_disk(std::make_unique<SimulatedDisk>(image, disk_settings_));
        ++machines_;
    }

    void start_disk(std::unique_ptr<SimulatedDisk> disk) {
        if (disk_ != nullptr) disk->set_now_unix_ms(disk_->now_unix_ms());
        disk_ = std::move(disk);
    }

    // Recovery that never comes to its end: each opening finds what the one before, cut off, has left.
    void cut_three_openings() {
        int cut = 0;
        for (int depth = 0; depth < 3; ++depth) {
            disk_->cut_power_at(1 + random_.below(20));
            const bool opened = open().has_value();
            cut += !disk_->power_is_on();
            check(opened || !disk_->power_is_on(), "the database can't be opened", Harm::unopenable);
            disk_->cut_power();
            ++totals_.cuts;
            totals_.cuts_while_opening += !opened;
            go_on_with(disk_->crashed().random_outcome(random_));
        }
        totals_.cuts_three_deep += cut == 3;
    }

    // Syncs above all, after which a disk may forget what it had not written.
    void fail_some_operation() {
        Fault fault;
        if (!random_.one_in(3)) fault.only = Operation::sync;
        fault.nth = 1 + random_.below(fault.only ? 6 : 40);
        fault.from_then_on = random_.coin();
        fault.os_error = random_.coin() ? os_io : os_no_space;
        fault.sync_marks_clean = !random_.one_in(4);
        fault.takes_effect = random_.one_in(3);
        disk_->fail(fault);
    }

#if EMDB_ENCRYPT
    /// How the database is sealed: by a key of this number, or not.
    using Lock = std::optional<unsigned>;

    void unlock_with(Lock lock) {
        settings_.cipher = lock ? std::optional(cipher_) : std::nullopt;
        settings_.key = lock.value_or(0);
    }

    // After a change of the encryption that was cut off there are two ways to open it, one of which opens it.
    emdb::Result<emdb::Emdb> open() {
        if (candidates_.empty()) return open_database(*disk_, settings_);
        unlock_with(candidates_.front());
        auto opened = open_database(*disk_, settings_);
        if (is_wrong_key(opened)) {
            unlock_with(candidates_.back());
            opened = open_database(*disk_, settings_);
        }
        if (opened) candidates_.clear();
        return opened;
    }

    // False: the power went.
    bool change_encryption() {
        if (!plot_.encryption_changes || !random_.one_in(5) || !candidates_.empty() || !disk_->exists(database_path)) return true;
        disk_->cut_power_at(1 + random_.below(110));
        const Lock before = settings_.cipher ? Lock(settings_.key) : std::nullopt;
        if (!before) cipher_ = random_.coin() ? emdb::Cipher::aes_256_gcm : emdb::Cipher::chacha20_poly1305;
        const std::uint64_t kind = before ? random_.below(3) : 3;
        const Lock after = kind == 0 ? std::nullopt : Lock(++settings_.keys_made);
        const auto input_of = [](Lock lock) { return emdb::EncryptionInput::key(encryption_key(*lock)); };
        emdb::detail::EncryptionChange change(*disk_, database_path, false);
        const auto changed = kind == 0   ? change.disable(input_of(before))
                             : kind == 1 ? change.rotate(input_of(before), input_of(after))
                             : kind == 2 ? change.change_passphrase(input_of(before), input_of(after))
                                         : change.enable(input_of(after), cipher_);
        ++totals_.encryption_changes;
        if (!disk_->power_is_on()) {
            ++totals_.encryption_changes_cut;
            candidates_ = {after, before};
            return false;
        }
        expect(changed, "a change of the encryption");
        unlock_with(after);
        is_rewritten_ = kind != 2;
        return true;
    }

    emdb::Cipher cipher_ = emdb::Cipher::aes_256_gcm;
    std::vector<Lock> candidates_;  // the new one first; empty: it is known
#else
    emdb::Result<emdb::Emdb> open() { return open_database(*disk_, settings_); }
    bool change_encryption() { return true; }
    std::vector<int> candidates_;
#endif

    // The last machine keeps its power: everything still works, and is all there after a clean close.
    void live_on_calmly() {
        choose_settings();
        emdb::Emdb db = expect(open(), "the last open", Harm::unopenable);
        check(take_stock(db), "the power stays on");
        check_backup(*disk_, settings_, backup_);
        Session session(*disk_, std::move(db), model_, settings_, random_);
        for (int i = 0; i < 5; ++i) check(session.step(), "the last session");
        check(session.close(), "the last close");
        emdb::Emdb reopened = expect(open(), "the very last open", Harm::unopenable);
        const Contents found = read_contents(reopened, disk_->clock_was_moved());
        check(found == model_.now(), "the last close lost something:\n" + found.differences_from(model_.now()), Harm::lost);
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
    const Plot plot_;
    bool is_rewritten_ = false;  // since it was last opened, by a change of its encryption that returned: all of it is durable
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

/// Runs a story; what was broken, and a failure that tells how to repeat it, if a promise was.
inline std::optional<Harm> run_story(std::uint64_t seed, std::uint64_t cuts, Story::Totals& totals, const DatabaseSettings& settings,
                                     const Story::Plot& plot = {}) {
#if !defined(_WIN32)
    story_under_way = seed;
#endif
    Story story(seed, totals, settings, plot);
    try {
        story.run(cuts);
        return std::nullopt;
    } catch (const BrokenPromise& broken) {
        FAIL_CHECK("repeat with EMDB_SEED=" << seed << " (cut " << totals.cuts + 1 << " of this run)\n"
                                            << std::string(broken.what()) << "\n" << story.trace());
        return broken.harm;
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
        if (run_story(seed, cuts_in_a_story, totals, settings)) ++failures;
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
