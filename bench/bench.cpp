// Measures emdb against bare probes of the same work in the same run; README.md says how to read the result.

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#if !defined(__linux__)
#error "the benchmark reads /proc and populates maps as only Linux does"
#endif

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "support/context.hpp"
#include "support/durability.hpp"
#include "support/machine.hpp"
#include "support/reads.hpp"
#include "support/reopening.hpp"
#include "support/report.hpp"
#include "support/space.hpp"
#include "support/temporary_folder.hpp"
#include "support/workload.hpp"
#include "support/writes.hpp"

namespace bench {

struct Experiment {
    const char* name;
    void (*measure)(Context&);
    std::vector<std::string> rows;
};

static const std::vector<Experiment>& experiments() {
    static const std::vector<Experiment> all = {
        {"reads",
         measure_reads,
         {"get_into", "get", "absent", "get_many", "chained", "absent_bare", "get_many_bare", "visit_many",
          "get_zerocopy", "reopened", "unchecked", "same_file"}},
        {"threads", measure_threads, {"threads_2", "threads_8"}},
        {"writes", measure_writes, {"insert", "insert_many", "insert_pwrite"}},
        {"changes", measure_changes, {"iter", "overwrite", "remove"}},
        {"flushes", measure_flushes, {"flush_fresh", "flush_loaded"}},
        {"groups", measure_group, {"group", "group_bare", "each_8", "group_1", "write_through_1", "write_through_8"}},
        {"reopening", measure_reopening, {"reopen", "reopen_killed", "checkpoint"}},
        {"opening", measure_opening, {"open", "file_bytes", "file_size", "anonymous"}},
        {"memory", measure_index_memory, {"index_memory", "index_sweep"}},
    };
    return all;
}

static const char* const usage =
    "usage: bench [options]\n"
    "  --records N     records (default 1000000)\n"
    "  --rounds N      counted rounds of each experiment (default 9)\n"
    "  --dir FOLDER    where the data goes, in a folder that is removed (default $TMPDIR, else here;\n"
    "                  a tmpfs only if it is named)\n"
    "  --json FILE     the report with every sample\n"
    "  --only A,B      these rows or experiments only; --list names them\n"
    "  --no-sweep      index memory at 5 M keys only, not at every 250,000 up to 10 M\n"
    "  --smoke         small and quick: does everything run? Its figures mean nothing\n"
    "  --limits-only   the bare probes without emdb\n";

static std::vector<std::string> split(std::string_view list) {
    std::vector<std::string> parts;
    for (std::size_t start = 0; start <= list.size();) {
        const std::size_t end = std::min(list.find(',', start), list.size());
        if (end > start) parts.emplace_back(list.substr(start, end - start));
        start = end + 1;
    }
    return parts;
}

static std::size_t number_from(const std::string& text, std::size_t least) {
    std::size_t used = 0, value = 0;
    try {
        value = std::stoull(text, &used);
    } catch (const std::logic_error&) {
        used = 0;
    }
    if (used == 0 || used != text.size() || value < least) {
        throw std::invalid_argument("'" + text + "' is not a number of at least " + std::to_string(least));
    }
    return value;
}

static void check_names(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
        const bool known = std::any_of(experiments().begin(), experiments().end(), [&](const Experiment& experiment) {
            return name == experiment.name || std::count(experiment.rows.begin(), experiment.rows.end(), name) != 0;
        });
        if (!known) throw std::invalid_argument("no row or experiment is called '" + name + "'; --list names them");
    }
}

static Options parse(int count, char** arguments) {
    Options options;
    for (int i = 1; i < count; ++i) {
        const std::string_view option = arguments[i];
        const auto argument = [&]() -> std::string {
            if (++i == count) throw std::invalid_argument(std::string(option) + " needs a value");
            return arguments[i];
        };
        if (option == "--records") {
            options.records = number_from(argument(), 1000);
        } else if (option == "--rounds") {
            options.rounds = number_from(argument(), 1);
        } else if (option == "--dir") {
            options.folder = argument();
        } else if (option == "--json") {
            options.json = argument();
        } else if (option == "--only") {
            options.only = split(argument());
            check_names(options.only);
        } else if (option == "--no-sweep") {
            options.sweep = false;
        } else if (option == "--smoke") {
            options.smoke = true;
            options.sweep = false;
            options.records = 200'000;
            options.rounds = 3;
        } else if (option == "--limits-only") {
            options.limits_only = true;
        } else if (option == "--list") {
            for (const Experiment& experiment : experiments()) {
                std::printf("%s:", experiment.name);
                for (const std::string& row : experiment.rows) std::printf(" %s", row.c_str());
                std::printf("\n");
            }
            std::exit(0);
        } else {
            if (option != "--help") std::fprintf(stderr, "bench: unknown option %s\n", arguments[i]);
            std::fputs(usage, option == "--help" ? stdout : stderr);
            std::exit(option == "--help" ? 0 : 2);
        }
    }
    return options;
}

/// $TMPDIR unless it lies in memory, where syncing costs nothing and pages behave differently; else the current folder.
static std::filesystem::path choose_folder(const Options& options) {
    if (!options.folder.empty()) return options.folder;
    const char* const temporary = std::getenv("TMPDIR");
    for (const std::filesystem::path& path :
         {std::filesystem::path(temporary ? temporary : ""), std::filesystem::current_path()}) {
        if (!path.empty() && !lives_in_memory(file_system_of(path))) return path;
    }
    throw std::runtime_error("both $TMPDIR and the current folder lie in memory; name a folder on a disk with --dir");
}

static void run(const Options& options) {
    const std::filesystem::path parent = choose_folder(options);
    const TemporaryFolder folder(parent);
    Report report(describe_machine(file_system_of(parent)),
                  std::to_string(options.records) + " records of " + std::to_string(key_size) + " + " +
                      std::to_string(value_size) + " bytes, medians of " + std::to_string(options.rounds) + " rounds",
                  options.records >= 1'000'000);
    const Workload work(options.records);
    const std::size_t overhead = options.limits_only ? 8 : measure_frame_overhead(folder.path(), work);
    for (const Experiment& experiment : experiments()) {
        Context context{options, work, report, folder.path() / experiment.name, overhead, experiment.name};
        const bool wanted = std::any_of(experiment.rows.begin(), experiment.rows.end(),
                                        [&](const std::string& row) { return context.wants(row); });
        if (!wanted) continue;
        std::filesystem::create_directory(context.folder);
        const OtherLoad others;
        experiment.measure(context);
        report.add_load_of_others(others.share());
        std::filesystem::remove_all(context.folder);
    }
    report.print_summary();
    if (!options.json.empty()) report.write_json(options.json);
}

}  // namespace bench

int main(int count, char** arguments) {
    try {
        bench::run(bench::parse(count, arguments));
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench: %s\n", error.what());
        return 1;
    }
}
