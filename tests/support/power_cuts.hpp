#pragma once
// Cutting the power, or the process, or failing an operation, everywhere: for tests that run one call or life over and over on a simulated
// disk.
//
// Needs the implementation half of emdb.hpp (EMDB_IMPLEMENTATION defined before its first include) and doctest.

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "support/model_session.hpp"

namespace emdb_test {

inline DiskSettings quiet(std::uint64_t seed, bool keeps_allocation) {
    DiskSettings settings;
    settings.seed = seed;
    settings.write_back_one_in = 0;
    settings.keeps_allocation = keeps_allocation;
    return settings;
}

inline std::string text(std::size_t size, char fill) { return std::string(size, fill); }

inline Step put(const std::string& key, const std::string& value) { return Step{{{Step::Kind::put, "", key, value}}}; }

/// Calls f(image) for every disk that a cut may have left, or for some if there are too many to try.
template <class F>
void for_each_outcome(const CrashedDisk& crashed, std::uint64_t count_max, SeededRandom& random, F&& f) {
    if (crashed.outcome_count() <= count_max) {
        for (std::uint64_t i = 0; i < crashed.outcome_count(); ++i) f(crashed.outcome(i));
        return;
    }
    f(crashed.nothing_survived());
    f(crashed.everything_survived());
    for (std::uint64_t i = 0; i < count_max / 8; ++i) f(crashed.random_outcome(random));
}

/// Runs run(disk, model, operation) with the power going at that operation, counted from where the run starts to count: the
/// first, the second, and so on until run returns true for having got through. After each cut every outcome must open, hold
/// contents that the model allows, and take new writes. Returns how many operations there were.
template <class Run>
std::uint64_t cut_everywhere(bool keeps_allocation, std::uint64_t outcomes_max, Run&& run) {
    SeededRandom random(7);
    for (std::uint64_t operation = 1;; ++operation) {
        SimulatedDisk disk(quiet(operation, keeps_allocation));
        JournalModel model;
        const bool got_through = run(disk, model, operation);
        disk.cut_power();
        INFO("cut at operation ", operation, " of the run:\n", disk.trace());
        CHECK(disk.violations().empty());
        for_each_outcome(disk.crashed(), outcomes_max, random, [&](const DiskImage& image) {
            SimulatedDisk rebooted(image, quiet(operation, keeps_allocation));
            auto opened = open_database(rebooted);
            REQUIRE_MESSAGE(opened.has_value(), opened.error().message());
            const Contents found = read_contents(*opened);
            REQUIRE_MESSAGE(model.allows(found), model.explain(found));
            CHECK_FALSE(rebooted.exists(database_path + ".compact"));
            CHECK(opened->insert("after", "wards"));
            CHECK(opened->flush());
        });
        if (got_through) return operation;
    }
}


/// A short life in which one operation fails, or all from that one on: for each of them. What was acknowledged must be there afterwards, and
/// again after a power cut.
inline void fail_everywhere(bool keeps_allocation, const DatabaseSettings& settings) {
    for (const bool for_good : {false, true}) {
        for (const int os_error : {os_io, os_no_space}) {
            bool got_through = false;
            for (std::uint64_t nth = 1; !got_through; ++nth) {
                CAPTURE(for_good);
                CAPTURE(nth);
                SeededRandom random(nth);
                SimulatedDisk disk(quiet(nth, keeps_allocation));
                JournalModel model;
                Fault fault;
                fault.nth = nth;
                fault.from_then_on = for_good;
                fault.os_error = os_error;
                disk.fail(fault);
                const auto go_on = [](bool done) {
                    if (!done) throw IsOver();  // what comes after a call that failed is another story
                };
                try {
                    Session session(disk, expect(open_database(disk, settings), "open"), model, settings, random);
                    go_on(session.insert("", "a", text(300, 'a')));
                    go_on(session.flush());
                    go_on(session.create("space"));
                    go_on(session.insert("space", "b", text(5000, 'b')));
                    go_on(session.insert("", "big", text(200'000, 'c')));
                    go_on(session.remove("", "a"));
                    go_on(session.flush());
                    go_on(session.insert("", "d", text(10, 'd')));
                    go_on(session.close());
                    got_through = disk.faults_injected() == 0;
                } catch (const BrokenPromise&) {
                    CHECK(disk.faults_injected() > 0);  // a call failed, because its disk did
                } catch (const IsOver&) {
                    CHECK(disk.faults_injected() > 0);
                }
                disk.stop_failing();
                CHECK(disk.violations().empty());
                {
                    auto opened = open_database(disk, settings);
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
                    SimulatedDisk rebooted(image, quiet(nth, keeps_allocation));
                    auto opened = open_database(rebooted, settings);
                    REQUIRE_MESSAGE(opened.has_value(), opened.error().message());
                    const Contents left = read_contents(*opened);
                    REQUIRE_MESSAGE(model.allows(left), model.explain(left));
                });
            }
        }
    }
}

/// Every disk and append mode that a database may meet.
struct Backend {
    std::string name;
    bool keeps_allocation;
    emdb::AppendMode mode;

    DatabaseSettings settings(emdb::FlushPolicy policy = emdb::FlushPolicy::on_each_flush()) const { return {policy, mode, false, false, false}; }
};
inline const std::vector<Backend> backends{{"mapped", true, emdb::AppendMode::mapped},
                                    {"pwrite, allocated", true, emdb::AppendMode::pwrite},
                                    {"pwrite, copy on write", false, emdb::AppendMode::automatic}};

}  // namespace emdb_test
