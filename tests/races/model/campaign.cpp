#include "races/model/campaign.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <string>

namespace model {

namespace {

const char* name_of(std::memory_order order) {
    switch (order) {
        case std::memory_order_acquire: return "acquire";
        case std::memory_order_release: return "release";
        case std::memory_order_acq_rel: return "acq_rel";
        case std::memory_order_seq_cst: return "seq_cst";
        default: return "relaxed";
    }
}

std::vector<std::memory_order> weaker_than(const Site& site) {
    using enum std::memory_order;
    std::vector<std::memory_order> weaker;
    const bool sequential = site.order == seq_cst;
    switch (site.kind) {
        case Site::Kind::load:
            if (sequential) weaker.push_back(acquire);
            break;
        case Site::Kind::store:
            if (sequential) weaker.push_back(release);
            break;
        case Site::Kind::exchange:
            if (sequential) weaker.push_back(acq_rel);
            if (sequential || site.order == acq_rel) {
                weaker.push_back(acquire);
                weaker.push_back(release);
            }
            break;
    }
    weaker.push_back(relaxed);
    return weaker;
}

// Relative to src/, however the compiler was told to find it.
std::string below_src(const std::string& file) {
    const auto at = file.rfind("src/");
    return at == std::string::npos ? file : file.substr(at + 4);
}

std::string trimmed(std::string text) {
    const auto first = text.find_first_not_of(' ');
    if (first == std::string::npos) return {};
    return text.substr(first);
}

const std::vector<std::string>& lines_of(const std::string& file) {
    static std::map<std::string, std::vector<std::string>> files;
    auto& lines = files[file];
    if (lines.empty()) {
        std::ifstream in("src/" + file);
        for (std::string line; std::getline(in, line);) lines.push_back(trimmed(line));
        if (lines.empty()) lines.emplace_back();
    }
    return lines;
}

std::string text_at(const Site& site) {
    const auto& lines = lines_of(below_src(site.file));
    return site.line - 1 < lines.size() ? lines[site.line - 1] : std::string("?");
}

}  // namespace

void Campaign::run() {
    explore_as_it_is();
    const char* const weaken = std::getenv("WEAKEN");
    if (weaken != nullptr && std::string(weaken) == "0") return;
    weaken_all();
    judge();
    look_for_gaps();
}

std::uint64_t Campaign::seed() {
    const char* const given = std::getenv("SEED");
    return given == nullptr ? 1 : std::strtoull(given, nullptr, 10);
}

// What is not explored to its end is explored from the other end, too: a writer first, and then a reader who sees it late. And then at
// random.
Findings Campaign::explore(Explorer& explorer, const Scenario& scenario, std::uint64_t parts) const {
    const char* const scale = std::getenv("SCALE");
    Limits limits;
    limits.executions = scenario.executions_max * (scale == nullptr ? 1 : std::strtoull(scale, nullptr, 10)) / parts + 1;
    limits.unordered_stores = scenario.unordered_stores;
    explorer.on_switch(on_switch_);
    Findings found = explorer.explore(scenario.build, limits);
    if (found.complete || found.failure != "") return found;
    limits.from_other_end = true;
    const auto go_on = [&] {
        const Findings more = explorer.explore(scenario.build, limits);
        found.executions += more.executions;
        found.pruned += more.pruned;
        found.steps += more.steps;
        found.complete = more.complete;
        found.failure = more.failure;
    };
    go_on();
    if (found.complete || found.failure != "") return found;
    limits.from_other_end = false;
    limits.random_seed = seed();
    go_on();
    return found;
}

void Campaign::explore_as_it_is() {
    std::printf("%s: interleavings (seed %llu of those at random) of\n", title_, static_cast<unsigned long long>(seed()));
    for (std::size_t i = 0; i < scenarios_.size(); ++i) {
        Explorer explorer;
        const Findings found = explore(explorer, scenarios_[i], 1);
        std::printf("  %-64s %9llu interleavings%s (and %llu cut short), %llu steps\n", scenarios_[i].name,
                    static_cast<unsigned long long>(found.executions), found.complete ? ", which are all" : ", not all",
                    static_cast<unsigned long long>(found.pruned),
                    static_cast<unsigned long long>(found.steps));
        std::fflush(stdout);
        INFO(scenarios_[i].name);
        CHECK(found.failure == "");
        for (const Site& site : explorer.sites()) {
            if (std::string(site.file).find("src/") == std::string::npos) continue;  // the scenario's own
            for (const std::memory_order weaker : weaker_than(site)) {
                Row* row = nullptr;
                for (Row& known : rows_) {
                    if (known.site.same_place(site) && known.weaker == weaker) row = &known;
                }
                if (row == nullptr) row = &rows_.emplace_back(Row{site, weaker, text_at(site), {}, {}});
                row->reached_by.push_back(i);
            }
        }
        steps_.push_back(found.steps);
    }
    // What is over soonest is tried first: most weakenings fail in many scenarios.
    for (Row& row : rows_) {
        std::stable_sort(row.reached_by.begin(), row.reached_by.end(), [&](auto one, auto other) { return steps_[one] < steps_[other]; });
    }
}

// In a child: its end is how it tells. A tenth of every scenario comes before all of any: what fails mostly does so soon, in one of
// them.
void Campaign::try_weakened(Row& row, int output) const {
    std::uint64_t executions = 0;
    std::vector<std::size_t> left = row.reached_by;
    for (const std::uint64_t parts : {10, 1}) {
        std::erase_if(left, [&](std::size_t i) {
            Explorer explorer;
            explorer.weaken({row.site, row.weaker});
            explorer.exit_at_failure();
            dprintf(output, "%s: ", scenarios_[i].name);
            ::dup2(output, STDOUT_FILENO);
            const Findings found = explore(explorer, scenarios_[i], parts);
            executions += found.executions + found.pruned;
            dprintf(output, "\n");
            return found.complete;
        });
    }
    const bool complete = left.empty();
    dprintf(output, "= %llu %d", static_cast<unsigned long long>(executions), complete ? 1 : 0);
    std::_Exit(0);
}

void Campaign::weaken_all() {
    constexpr std::size_t at_once = 2;
    struct Running {
        pid_t child;
        Row* row;
        std::FILE* output;
    };
    std::vector<Running> running;
    const auto finish_one = [&] {
        int status = 0;
        const pid_t ended = ::wait(&status);
        for (std::size_t i = 0; i < running.size(); ++i) {
            if (running[i].child != ended) continue;
            std::rewind(running[i].output);
            std::string said;
            for (int c = 0; (c = std::fgetc(running[i].output)) != EOF;) said += static_cast<char>(c);
            std::fclose(running[i].output);
            Row& row = *running[i].row;
            const auto last = said.rfind('\n', said.size() - (said.ends_with('\n') ? 2 : 1));
            const std::string closing = last == std::string::npos ? said : said.substr(last + 1);
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
                int complete = 1;
                unsigned long long executions = 0;
                std::sscanf(closing.c_str(), "= %llu %d", &executions, &complete);
                row.executions = executions;
                row.complete = complete != 0;
            } else {
                row.found = closing + (WIFEXITED(status) ? "" : "a crash");
                if (row.found.ends_with('\n')) row.found.pop_back();
            }
            running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
            return;
        }
    };
    std::fflush(stdout);
    for (Row& row : rows_) {
        if (running.size() == at_once) finish_one();
        std::FILE* output = std::tmpfile();
        REQUIRE(output != nullptr);
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) try_weakened(row, fileno(output));
        running.push_back({child, &row, output});
    }
    while (!running.empty()) finish_one();
}

const Unproven* Campaign::excuse(const std::string& file, const std::string& text, const std::string& weakened) const {
    for (const Unproven& site : unproven_) {
        if (file == site.file && text.find(site.text) != std::string::npos &&
            (std::string(site.weakened) == "any" || weakened == site.weakened)) {
            return &site;
        }
    }
    return nullptr;
}

void Campaign::judge() {
    std::printf("%s: each order weakened\n", title_);
    std::size_t caught = 0;
    std::set<const Unproven*> used;
    for (const Row& row : rows_) {
        const std::string file = below_src(row.site.file);
        const std::string weaker = name_of(row.weaker);
        std::printf("  %s:%u: %s\n      %s -> %s: ", file.c_str(), row.site.line, row.text.c_str(), name_of(row.site.order), weaker.c_str());
        if (!row.found.empty()) {
            ++caught;
            std::printf("fails: %s\n", row.found.c_str());
            continue;
        }
        const Unproven* why = excuse(file, row.text, weaker);
        std::printf("no failure in %llu interleavings%s: %s\n", static_cast<unsigned long long>(row.executions),
                    row.complete ? "" : " (not all)", why == nullptr ? "UNEXPLAINED" : why->why);
        if (why != nullptr) used.insert(why);
        INFO(file, ":", row.site.line, ": ", row.text, " -> ", weaker);
        CHECK(why != nullptr);
    }
    std::printf("%s: %zu weakenings, %zu make the model fail, %zu are explained\n", title_, rows_.size(), caught, rows_.size() - caught);
    std::fflush(stdout);
    CHECK(caught > 0);
}

void Campaign::look_for_gaps() const {
    for (const char* file : files_) {
        const auto& lines = lines_of(file);
        REQUIRE(lines.size() > 1);
        for (std::size_t i = 0; i < lines.size(); ++i) {
            const bool names_one = lines[i].find("memory_order_") != std::string::npos;
            bool ordered = false;
            for (const char* order : {"order_acquire", "order_release", "order_acq_rel", "order_seq_cst"}) {
                ordered = ordered || lines[i].find(order) != std::string::npos;
            }
            if (!names_one || !ordered) continue;
            bool reached = false;
            for (const Row& row : rows_) {
                // A call may go over two lines; its place is the first.
                reached = reached || (below_src(row.site.file) == file && row.site.line <= i + 1 && row.site.line + 1 >= i + 1);
            }
            if (reached) continue;
            const Unproven* why = excuse(file, lines[i], "unreached");
            std::printf("  %s:%zu: %s\n      not reached: %s\n", file, i + 1, lines[i].c_str(), why == nullptr ? "UNEXPLAINED" : why->why);
            INFO(file, ":", i + 1, ": ", lines[i]);
            CHECK(why != nullptr);
        }
    }
}

}  // namespace model
