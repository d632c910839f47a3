#pragma once
// Explores scenarios of one part of emdb, first as it is, and then with every memory order it names weakened in turn, which must make
// one of them fail. The orders that may be weakened without consequence are named, each with the reason why it stands there.

#include <cstdint>
#include <string>
#include <vector>

#include "races/model/explorer.hpp"

namespace model {

struct Scenario {
    const char* name;
    Explorer::Build build;
    /// Where it ends if it has not come to an end before; then as many are made from the other end, and at random (SEED=1 in the
    /// environment). What is printed tells which. SCALE=10 in the environment multiplies it.
    std::uint64_t executions_max = 100'000;
    bool unordered_stores = false;  ///< see Limits
};

/// An order whose weakening shows in no scenario.
struct Unproven {
    const char* file;      ///< below src/
    const char* text;      ///< part of the source line
    const char* weakened;  ///< "acquire", say; "any" stands for all
    const char* why;
};

/// Explores everything and prints a table. Reports what is wrong through doctest's checks. WEAKEN=0 in the environment has it end before
/// any order is weakened.
class Campaign {
public:
    /// `files` (below src/): each line of these that names an order other than relaxed must be reached or be in `unproven`.
    Campaign(const char* title, std::vector<const char*> files) : title_(title), files_(std::move(files)) {}

    void add(Scenario scenario) { scenarios_.push_back(std::move(scenario)); }
    void unproven(Unproven site) { unproven_.push_back(site); }
    /// Called at every change of the running thread.
    void on_switch(void (*callback)(unsigned)) { on_switch_ = callback; }
    void run();

private:
    struct Row {
        Site site;
        std::memory_order weaker = std::memory_order_relaxed;
        std::string text;
        std::vector<std::size_t> reached_by;  ///< scenarios
        std::string found;                    ///< how it failed; empty: it did not
        std::uint64_t executions = 0;
        bool complete = true;
    };

    static std::uint64_t seed();
    /// Of `parts`, one.
    Findings explore(Explorer& explorer, const Scenario& scenario, std::uint64_t parts) const;
    void explore_as_it_is();
    void weaken_all();
    void try_weakened(Row& row, int output) const;
    void judge();
    void look_for_gaps() const;
    const Unproven* excuse(const std::string& file, const std::string& text, const std::string& weakened) const;

    const char* title_;
    std::vector<const char*> files_;
    std::vector<Scenario> scenarios_;
    std::vector<Unproven> unproven_;
    std::vector<Row> rows_;
    std::vector<std::uint64_t> steps_;  ///< that exploring each scenario took
    void (*on_switch_)(unsigned) = nullptr;
};

}  // namespace model
