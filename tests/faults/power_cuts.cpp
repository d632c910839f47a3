// Power cuts over everything a database does, in stories of random seeds: creation, writes of every kind, range scans, expiry,
// checkpoints, compaction, backups, changes of the encryption, closing, and recovery itself, on a disk whose operations fail, too.
//
// Run by power_cuts_test.py, which shares the work out and adds up the line of counts that each run prints.
//
// EMDB_POWER_CUTS=n   how many cuts (10,000)
// EMDB_SECONDS=n      for so long, instead
// EMDB_SEED=n         the first seed; with nothing else, only the story with this seed is run

#define EMDB_ENCRYPT 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>

#include "support/power_cut_story.hpp"

namespace emdb_test {
namespace {

constexpr std::uint64_t failures_max = 3;

/// Half of the databases are encrypted from the start.
DatabaseSettings settings_of(std::uint64_t seed) {
    DatabaseSettings settings;
    if (seed % 4 == 1) settings.cipher = emdb::Cipher::aes_256_gcm;
    if (seed % 4 == 3) settings.cipher = emdb::Cipher::chacha20_poly1305;
    return settings;
}

/// Of every cut with at most ten unsynced changes every outcome there may be is tried, in one story of eight.
Story::Plot plot_of(std::uint64_t seed) {
    Story::Plot plot;
    plot.faults = true;
    plot.encryption_changes = true;
    plot.enumerated_up_to = 1024;
    plot.enumerated_one_in = seed % 8 == 0 ? 1 : 256;
    return plot;
}

struct Run {
    Story::Totals totals;
    std::array<std::uint64_t, 5> failures{};  ///< by Harm
    std::uint64_t failed() const {
        std::uint64_t sum = 0;
        for (const std::uint64_t count : failures) sum += count;
        return sum;
    }
};

void print_counts(const Run& run) {
    const Story::Totals& totals = run.totals;
    const auto of = [&](Harm harm) { return static_cast<unsigned long long>(run.failures[static_cast<std::size_t>(harm)]); };
    const auto print = [](const char* name, unsigned long long count) { std::printf("count %s: %llu\n", name, count); };
    print("power cuts", totals.cuts);
    print("power cuts during recovery", totals.cuts_while_opening);
    print("recoveries cut off three times in a row", totals.cuts_three_deep);
    print("power cuts after which every subset was tried", totals.cuts_enumerated);
    print("subsets enumerated", totals.outcomes_enumerated);
    print("killed processes", totals.kills);
    print("calls that failed with the disk", totals.faults);
    print("changes of the encryption", totals.encryption_changes);
    print("changes of the encryption cut off", totals.encryption_changes_cut);
    print("calls", totals.calls);
    print("file operations", totals.operations);
    print("acknowledged, then lost", of(Harm::lost));
    print("torn", of(Harm::torn));
    print("not a prefix", of(Harm::not_a_prefix));
    print("unopenable", of(Harm::unopenable));
    print("other broken promises", of(Harm::other));
}

TEST_CASE("power cuts, failing disks and changes of the encryption leave a prefix, at least as long as what was flushed") {
    const std::optional<std::uint64_t> cuts_asked = number_from_environment("EMDB_POWER_CUTS");
    const std::optional<std::uint64_t> seconds_asked = number_from_environment("EMDB_SECONDS");
    const std::optional<std::uint64_t> seed_asked = number_from_environment("EMDB_SEED");
    const std::uint64_t cuts = cuts_asked.value_or(seconds_asked ? UINT64_MAX : seed_asked ? 1 : 10'000);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds_asked.value_or(1'000'000'000));
    report_crash = std::signal(SIGSEGV, name_the_story);
    Run run;
    for (std::uint64_t seed = seed_asked.value_or(1);
         run.totals.cuts < cuts && run.failed() < failures_max && std::chrono::steady_clock::now() < end; ++seed) {
        const std::uint64_t before = run.totals.cuts;
        const std::optional<Harm> harm = run_story(seed, cuts_in_a_story, run.totals, settings_of(seed), plot_of(seed));
        if (harm) ++run.failures[static_cast<std::size_t>(*harm)];
        run.totals.cuts = std::max(run.totals.cuts, before + 1);
    }
    std::signal(SIGSEGV, report_crash);
    print_counts(run);
    CHECK(run.failed() == 0);
    if (run.totals.cuts < 10'000) return;  // a single story need not have everything
    CHECK(run.totals.cuts_while_opening > run.totals.cuts / 10);
    CHECK(run.totals.cuts_three_deep > run.totals.cuts / 1000);
    CHECK(run.totals.outcomes_enumerated > run.totals.cuts / 10);
    CHECK(run.totals.kills > run.totals.cuts / 100);
    CHECK(run.totals.faults > run.totals.cuts / 100);
    CHECK(run.totals.encryption_changes_cut > run.totals.cuts / 200);
}

}  // namespace
}  // namespace emdb_test
