// The explorer itself: small programs whose outcomes the C++ memory model fixes, and random ones, for which leaving out what is
// redundant must not lose an outcome.

#include "races/model/atomic.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace {

using emdb::detail::Atomic;
using model::Explorer;
using model::Findings;
using model::Limits;
using model::Program;
using std::memory_order_acquire;
using std::memory_order_acq_rel;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

struct Words {
    Atomic<int> x{0};
    Atomic<int> y{0};
    Atomic<int> turn{0};
    int seen[4] = {};
};

std::string outcome(const Words& words, int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += std::to_string(words.seen[i]);
    return text;
}

using Outcomes = std::set<std::string>;

Outcomes outcomes_of(int count, const std::vector<std::function<void(Words&)>>& threads) {
    Outcomes outcomes;
    Explorer explorer;
    const Findings found = explorer.explore([&](Program& program) {
        auto words = std::make_shared<Words>();
        for (const auto& body : threads) program.thread([words, &body] { body(*words); });
        program.afterwards([words, count, &outcomes] { outcomes.insert(outcome(*words, count)); });
    });
    CHECK(found.failure == "");
    CHECK(found.complete);
    return outcomes;
}

Outcomes store_buffering(std::memory_order store, std::memory_order load) {
    return outcomes_of(2, {[=](Words& w) { w.x.store(1, store); w.seen[0] = w.y.load(load); },
                           [=](Words& w) { w.y.store(1, store); w.seen[1] = w.x.load(load); }});
}

Outcomes message_passing(std::memory_order store, std::memory_order load) {
    return outcomes_of(2, {[=](Words& w) { w.x.store(1, memory_order_relaxed); w.y.store(1, store); },
                           [=](Words& w) { w.seen[0] = w.y.load(load); w.seen[1] = w.x.load(memory_order_relaxed); }});
}

}  // namespace

TEST_CASE("two threads that store and then look at the other's word may both miss it, unless all four are sequentially consistent") {
    CHECK(store_buffering(memory_order_seq_cst, memory_order_seq_cst) == Outcomes{"01", "10", "11"});
    CHECK(store_buffering(memory_order_release, memory_order_seq_cst) == Outcomes{"00", "01", "10", "11"});
    CHECK(store_buffering(memory_order_seq_cst, memory_order_acquire) == Outcomes{"00", "01", "10", "11"});
}

TEST_CASE("what was stored before a flag is seen with the flag, if it is released and acquired") {
    CHECK(message_passing(memory_order_release, memory_order_acquire) == Outcomes{"00", "01", "11"});
    CHECK(message_passing(memory_order_relaxed, memory_order_acquire) == Outcomes{"00", "01", "10", "11"});
    CHECK(message_passing(memory_order_release, memory_order_relaxed) == Outcomes{"00", "01", "10", "11"});
}

TEST_CASE("one word is never seen to go back") {
    const auto seen = outcomes_of(2, {[](Words& w) { w.x.store(1, memory_order_relaxed); w.x.store(2, memory_order_relaxed); },
                                      [](Words& w) {
                                          w.seen[0] = w.x.load(memory_order_relaxed);
                                          w.seen[1] = w.x.load(memory_order_relaxed);
                                      }});
    CHECK(seen == Outcomes{"00", "01", "02", "11", "12", "22"});
}

TEST_CASE("additions are never lost, and pass on what they add to") {
    const auto seen = outcomes_of(3, {[](Words& w) { w.y.store(1, memory_order_relaxed); w.x.fetch_add(1, memory_order_release); },
                                      [](Words& w) { w.x.fetch_add(1, memory_order_relaxed); },
                                      [](Words& w) {
                                          w.seen[0] = w.x.load(memory_order_acquire);
                                          w.seen[1] = w.y.load(memory_order_relaxed);
                                          w.seen[2] = 7;
                                      }});
    // Two additions are there, so the one with the release is: y is seen. One may be either's.
    CHECK(seen == Outcomes{"007", "017", "107", "117", "217"});
}

TEST_CASE("a process-wide barrier orders plain stores and loads of all threads") {
    const auto with = [](bool barrier) {
        return outcomes_of(2, {[](Words& w) { w.x.store(1, memory_order_relaxed); w.seen[0] = w.y.load(memory_order_relaxed); },
                               [=](Words& w) {
                                   w.y.store(1, memory_order_relaxed);
                                   if (barrier) Explorer::running()->barrier();
                                   w.seen[1] = w.x.load(memory_order_relaxed);
                               }});
    };
    CHECK(with(true) == Outcomes{"01", "10", "11"});
    CHECK(with(false) == Outcomes{"00", "01", "10", "11"});
}

TEST_CASE("a wake-up that is lost is found, and so are locks that wait for each other") {
    const auto sleeping = [](std::memory_order look) {
        Explorer explorer;
        return explorer.explore([=](Program& program) {
            auto words = std::make_shared<Words>();
            program.thread([words] {
                words->y.fetch_add(1, memory_order_seq_cst);
                while (words->x.load(memory_order_seq_cst) == 0) words->x.wait(0, memory_order_seq_cst);
            });
            program.thread([words, look] {
                words->x.store(1, memory_order_seq_cst);
                if (words->y.load(look) != 0) words->x.notify_all();
            });
        });
    };
    CHECK(sleeping(memory_order_seq_cst).failure == "");
    CHECK(sleeping(memory_order_acquire).failure.find("wait for ever") != std::string::npos);

    Explorer explorer;
    const Findings crossed = explorer.explore([](Program& program) {
        struct Locks { emdb::detail::Mutex one, other; };
        auto locks = std::make_shared<Locks>();
        program.thread([locks] { const std::lock_guard a(locks->one); const std::lock_guard b(locks->other); });
        program.thread([locks] { const std::lock_guard b(locks->other); const std::lock_guard a(locks->one); });
    });
    CHECK(crossed.failure.find("wait for ever") != std::string::npos);
}

TEST_CASE("memory that is published without order, or freed while it may be used, is found") {
    struct Thing { Atomic<int> word{1}; };
    const auto publish = [](std::memory_order order) {
        Explorer explorer;
        return explorer.explore([=](Program& program) {
            auto link = std::make_shared<Atomic<Thing*>>(nullptr);
            program.thread([link, order] { link->store(new Thing, order); });
            program.thread([link] { if (auto* thing = link->load(memory_order_acquire)) (void)thing->word.load(memory_order_relaxed); });
            program.afterwards([link] { delete link->load(memory_order_relaxed); });
        }).failure;
    };
    CHECK(publish(memory_order_release) == "");
    CHECK(publish(memory_order_relaxed).find("not published") != std::string::npos);

    const auto let_go = [](std::memory_order order) {
        Explorer explorer;
        return explorer.explore([=](Program& program) {
            struct Shared { Atomic<int> users{2}; Thing* thing = new Thing; };
            auto shared = std::make_shared<Shared>();
            for (int i = 0; i < 2; ++i) {
                program.thread([shared, order] {
                    (void)shared->thing->word.load(memory_order_relaxed);
                    if (shared->users.fetch_sub(1, order) == 1) delete shared->thing;
                });
            }
        }).failure;
    };
    CHECK(let_go(memory_order_acq_rel) == "");
    CHECK(let_go(memory_order_release).find("freed") != std::string::npos);
    CHECK(let_go(memory_order_acquire).find("freed") != std::string::npos);
}

namespace {

struct Step {
    int kind;  // 0 load, 1 store, 2 add, 3 exchange if it is what was last seen
    int word;
    std::memory_order order;
};

struct Many {
    Atomic<int> word[2] = {{0}, {0}};
    std::string seen[3];
};

void run(Many& many, const std::vector<Step>& steps, int thread) {
    int last = 0;
    int stores = 0;
    for (const Step& step : steps) {
        Atomic<int>& word = many.word[step.word];
        switch (step.kind) {
            case 0:
                last = word.load(step.order == memory_order_release ? memory_order_acquire
                                 : step.order == memory_order_acq_rel ? memory_order_acquire : step.order);
                many.seen[thread] += std::to_string(last);
                break;
            case 1:
                word.store(10 * (thread + 1) + ++stores, step.order == memory_order_acquire ? memory_order_release
                                                         : step.order == memory_order_acq_rel ? memory_order_release : step.order);
                break;
            case 2: many.seen[thread] += "+" + std::to_string(word.fetch_add(100, step.order)); break;
            default: {
                int expected = last;
                many.seen[thread] += word.compare_exchange_strong(expected, 1000 * (thread + 1), step.order) ? "y" : "n";
            }
        }
        many.seen[thread] += ' ';
    }
}

}  // namespace

TEST_CASE("no outcome of a random program is lost by leaving out what is redundant") {
    const char* const given = std::getenv("SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
    std::mt19937 random(seed);
    const auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
    constexpr std::memory_order orders[] = {memory_order_relaxed, memory_order_acquire, memory_order_release, memory_order_acq_rel,
                                            memory_order_seq_cst};
    std::uint64_t reduced_total = 0;
    std::uint64_t full_total = 0;
    std::uint64_t random_total = 0;
    std::size_t found_at_random = 0;
    std::size_t outcomes_total = 0;
    constexpr int programs = 400;
    for (int i = 0; i < programs; ++i) {
        std::vector<std::vector<Step>> threads(i % 2 == 0 ? 2 : 3);
        for (auto& steps : threads) {
            for (int j = 0; j < (threads.size() == 2 ? 4 : 2); ++j) {
                steps.push_back({below(4), below(2), orders[static_cast<std::size_t>(below(5))]});
            }
        }
        const auto all = [&](const Limits& limits, std::uint64_t& total) {
            Outcomes outcomes;
            Explorer explorer;
            const Findings found = explorer.explore([&](Program& program) {
                auto many = std::make_shared<Many>();
                for (std::size_t t = 0; t < threads.size(); ++t) {
                    program.thread([many, t, &threads] { run(*many, threads[t], static_cast<int>(t)); });
                }
                program.afterwards([many, &outcomes] {
                    outcomes.insert(many->seen[0] + "|" + many->seen[1] + "|" + many->seen[2] + "|" +
                                    std::to_string(many->word[0].load(memory_order_relaxed)) + "," +
                                    std::to_string(many->word[1].load(memory_order_relaxed)));
                });
            }, limits);
            CHECK(found.failure == "");
            total += found.executions + found.pruned;
            return outcomes;
        };
        Limits limits;
        limits.unordered_stores = true;
        limits.reduce = false;
        const Outcomes full = all(limits, full_total);
        limits.reduce = true;
        limits.from_other_end = below(2) == 1;
        const Outcomes reduced = all(limits, reduced_total);
        INFO("seed ", seed, ", program ", i);
        CHECK(full == reduced);
        limits.random_seed = random() + 1;
        limits.executions = 100;
        const Outcomes some = all(limits, random_total);
        CHECK(std::includes(full.begin(), full.end(), some.begin(), some.end()));
        found_at_random += some.size();
        outcomes_total += full.size();
    }
    std::printf("explorer: %d random programs (seed %u), %zu outcomes: %llu interleavings, of which %llu are enough; %llu at random show %zu\n",
                programs, seed, outcomes_total, static_cast<unsigned long long>(full_total),
                static_cast<unsigned long long>(reduced_total), static_cast<unsigned long long>(random_total), found_at_random);
    CHECK(found_at_random > outcomes_total / 2);
}
