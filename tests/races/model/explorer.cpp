#include "races/model/explorer.hpp"

#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "races/model/inside.hpp"

namespace model {

namespace {

constexpr std::size_t stack_size = std::size_t{256} << 10;
constexpr unsigned bit(unsigned thread) noexcept { return 1U << thread; }

}  // namespace

struct Explorer::Fiber {
    std::unique_ptr<char[]> stack{new char[stack_size]};
    std::jmp_buf place;
    bool begun = false;
};

bool Site::same_place(const Site& other) const noexcept {
    return line == other.line && column == other.column && std::strcmp(file, other.file) == 0;
}

Explorer::Explorer() {
    const Inside guard;
    locations_.reserve();
    blocks_.reserve();
    for (auto& fiber : fibers_) fiber = std::make_unique<Fiber>();
}
Explorer::~Explorer() = default;

// --- the tree of choices -------------------------------------------------------------------------------------------------------

Findings Explorer::explore(const Build& build, const Limits& limits) {
    const Inside guard;
    findings_ = {};
    limits_ = limits;
    nodes_.clear();
    failed_ = false;
    random_.seed(limits.random_seed);
    draw_changes();
    do {
        run_once(build);
        if (failed_) break;
        if (findings_.executions + findings_.pruned >= limits.executions) {
            findings_.complete = false;
            break;
        }
    } while (next_branch());
    return findings_;
}

// Up to three, each at a step whose logarithm is drawn evenly: a reader is short, a writer long.
void Explorer::draw_changes() {
    constexpr double steps_log = 5.0;  // of 148
    constexpr unsigned newest[] = {1, 4, 5, 8};
    newest_of_ten_ = newest[random_() % 4];
    changes_.assign(1, 0);
    for (auto more = random_() % 3 + 1; more != 0; --more) {
        const double part = static_cast<double>(random_() % 1024) / 1024;
        changes_.push_back(static_cast<unsigned>(std::exp(part * steps_log)));
    }
}

bool Explorer::at_change() const noexcept { return std::find(changes_.begin(), changes_.end(), depth_) != changes_.end(); }

bool Explorer::next_branch() {
    if (limits_.random_seed != 0) {
        nodes_.clear();
        draw_changes();
        return true;
    }
    while (!nodes_.empty()) {
        Node& node = nodes_.back();
        if (node.choice + 1 < node.choices) {
            ++node.choice;
            return true;
        }
        node.done |= bit(node.chosen);
        const unsigned left = node.backtrack & node.enabled & ~node.done & ~node.asleep;
        if (left != 0) {
            node.chosen = static_cast<unsigned>(std::countr_zero(left));
            node.choice = 0;
            node.choices = 1;
            return true;
        }
        nodes_.pop_back();
    }
    return false;
}

void Explorer::reset() {
    for (void* block : quarantine_) std::free(block);
    quarantine_.clear();
    locations_.clear();
    blocks_.clear();
    barriers_.clear();
    trace_.clear();
    steps_.clear();
    threads_ = {};
    current_ = 0;
    shared_ = 0;
    depth_ = 0;
    asleep_ = 0;
    free_running_ = false;
    concurrent_ = false;
    threads_[0].known.clock.at[0] = 1;
}

void Explorer::run_once(const Build& build) {
    reset();
    running_ = this;
    auto program = std::make_unique<Program>();
    const unsigned outer = std::exchange(inside, 0);
    if (on_switch_ != nullptr) on_switch_(0);
    build(*program);
    inside = outer + 1;
    const auto count = static_cast<unsigned>(program->threads.size());
    bodies_.clear();
    bodies_.emplace_back();
    for (auto& body : program->threads) bodies_.push_back(body);
    if (count >= threads_max) fail("more threads than the model has room for");
    else run_threads(count);
    concurrent_ = false;
    current_ = 0;
    bodies_.clear();
    if (!failed_) {
        for (unsigned i = 1; i <= count; ++i) threads_[0].known.join(threads_[i].known);
        inside = 0;
        if (on_switch_ != nullptr) on_switch_(0);
        for (auto& check : program->checks) check();
        program.reset();
        inside = outer + 1;
        if (free_running_) ++findings_.pruned;
        else ++findings_.executions;
    } else {
        (void)program.release();  // its threads were left where they were
    }
    inside = outer;
    running_ = nullptr;
}

void Explorer::run_threads(unsigned count) {
    thread_count_ = count;
    for (unsigned i = 1; i <= count; ++i) {
        threads_[i].known = threads_[0].known;
        threads_[i].known.clock.at[i] = 1;
        threads_[i].state = Thread::State::ready;
        threads_[i].pending = {};
    }
    concurrent_ = true;
    for (unsigned i = 1; i <= count && !failed_; ++i) switch_to(i);  // up to its first access
    if (limits_.from_other_end) current_ = 1;
    while (!failed_ && pick()) {
    }
}

bool Explorer::is_enabled(unsigned thread) {
    const Thread& it = threads_[thread];
    if (it.state != Thread::State::ready) return false;
    if (it.pending.kind != OpKind::lock) return true;
    const Location* lock = locations_.find(it.pending.address);
    return lock == nullptr || lock->owner == 0;
}

bool Explorer::dependent(const Op& one, const Op& other) noexcept {
    if (one.kind == OpKind::barrier || other.kind == OpKind::barrier) return true;
    return one.address == other.address && (one.writes() || other.writes());
}

// Makes one step. False: all have ended, or it failed.
bool Explorer::pick() {
    unsigned enabled = 0;
    bool all_ended = true;
    for (unsigned i = 1; i <= thread_count_; ++i) {
        if (is_enabled(i)) enabled |= bit(i);
        all_ended = all_ended && threads_[i].state == Thread::State::ended;
    }
    if (all_ended) return false;
    if (enabled == 0) {
        fail("the threads that are left wait for ever");
        return false;
    }
    if (!free_running_ && depth_ == nodes_.size()) {
        const unsigned candidates = enabled & ~asleep_;
        if (candidates == 0) {
            free_running_ = true;
        } else {
            Node node;
            node.enabled = enabled;
            node.asleep = asleep_;
            node.chosen = (candidates & bit(current_)) != 0 ? current_ : static_cast<unsigned>(std::countr_zero(candidates));
            if (limits_.random_seed != 0 && at_change()) {
                const unsigned others = (candidates & ~bit(current_)) != 0 && depth_ != 0 ? candidates & ~bit(current_) : candidates;
                do node.chosen = 1 + static_cast<unsigned>(random_() % thread_count_);
                while ((others & bit(node.chosen)) == 0);
            }
            node.backtrack = limits_.reduce ? bit(node.chosen) : enabled;
            for (unsigned i = 1; i <= thread_count_; ++i) node.pending[i] = threads_[i].pending;
            nodes_.push_back(node);
        }
    }
    if (free_running_) {
        switch_to(static_cast<unsigned>(std::countr_zero(enabled)));
        return !failed_;
    }
    const Node& node = nodes_[depth_++];
    const unsigned chosen = node.chosen;
    unsigned asleep = 0;
    if (limits_.reduce) {
        for (unsigned i = 1; i <= thread_count_; ++i) {
            if (((node.asleep | node.done) & bit(i)) != 0 && i != chosen && !dependent(node.pending[i], node.pending[chosen])) {
                asleep |= bit(i);
            }
        }
    }
    asleep_ = asleep;
    ++findings_.steps;
    switch_to(chosen);
    return !failed_;
}

unsigned Explorer::choose(unsigned count) {
    if (count <= 1 || free_running_) return 0;
    Node& node = nodes_[depth_ - 1];
    if (limits_.random_seed != 0) {
        const auto kind = random_() % 10;
        return kind < newest_of_ten_ ? 0 : kind < 9 ? count - 1 : static_cast<unsigned>(random_() % count);
    }
    node.choices = count;
    return limits_.from_other_end ? count - 1 - node.choice : node.choice;
}

// --- fibers --------------------------------------------------------------------------------------------------------------------

void Explorer::switch_to(unsigned thread) {
    current_ = thread;
    if (on_switch_ != nullptr) on_switch_(thread);
    Fiber& fiber = *fibers_[thread];
    const unsigned level = inside;
    if (_setjmp(scheduler_) != 0) {
        inside = level;
        return;
    }
    if (fiber.begun) _longjmp(fiber.place, 1);
    fiber.begun = true;
    static ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber.stack.get();
    context.uc_stack.ss_size = stack_size;
    context.uc_link = nullptr;
    makecontext(&context, &Explorer::enter, 0);
    setcontext(&context);
}

void Explorer::enter() { running_->fiber_main(running_->current_); }

void Explorer::fiber_main(unsigned thread) {
    for (;;) {
        Explorer& explorer = *running_;
        inside = 0;
        explorer.bodies_[thread]();
        inside = 1;
        running_->threads_[thread].state = Thread::State::ended;
        if (_setjmp(running_->fibers_[thread]->place) == 0) _longjmp(running_->scheduler_, 1);
    }
}

void Explorer::stop_before(const Op& op) {
    if (!concurrent_) return;
    Thread& thread = threads_[current_];
    thread.pending = op;
    thread.last_address = 0;
    give_way();
}

void Explorer::give_way() {
    if (_setjmp(fibers_[current_]->place) == 0) _longjmp(scheduler_, 1);
    inside = 1;  // the caller's
}

// --- which other orders there are ----------------------------------------------------------------------------------------------

// Whether `earlier` comes before this thread's present step only because it happened to be made first.
bool Explorer::races(const Access& earlier) const noexcept {
    return earlier.thread != current_ && earlier.step + 1 > threads_[current_].ordered[earlier.thread];
}

void Explorer::order_after(const Access& earlier) {
    auto& ordered = threads_[current_].ordered;
    for (unsigned i = 0; i < threads_max; ++i) ordered[i] = (std::max)(ordered[i], earlier.ordered[i]);
}

// Has the present step, and what it needs of the steps since `earlier`, tried before `earlier`: some thread that can begin that
// (source sets, Abdulla et al. 2014). `steps_` holds the present step already.
void Explorer::reverse(const Access& earlier) {
    std::array<const Access*, threads_max> first{};
    for (std::size_t i = earlier.step + 1; i < steps_.size(); ++i) {
        const Access& step = steps_[i];
        const bool present = i + 1 == steps_.size();
        if (first[step.thread] == nullptr && (present || step.ordered[earlier.thread] <= earlier.step)) first[step.thread] = &step;
    }
    unsigned initials = 0;
    for (unsigned i = 1; i <= thread_count_; ++i) {
        if (first[i] == nullptr) continue;
        bool begins = true;
        for (unsigned j = 1; j <= thread_count_; ++j) {
            if (j != i && first[j] != nullptr && first[i]->ordered[j] > first[j]->step) begins = false;
        }
        if (begins) initials |= bit(i);
    }
    Node& node = nodes_[earlier.step];
    if ((initials & (node.backtrack | node.asleep | node.done)) != 0) return;
    const unsigned possible = initials & node.enabled;
    if (possible == 0) node.backtrack |= node.enabled;
    else node.backtrack |= (possible & bit(current_)) != 0 ? bit(current_) : possible & (~possible + 1);
}

// Notes the present step, which comes after those of `before` in every order, and may come before those of `reversible`.
void Explorer::note_step(Access access) {
    for (const Access& barrier : barriers_) {
        if (races(barrier)) reversible_.push_back(barrier);
    }
    for (const Access& barrier : barriers_) {
        if (barrier.thread != current_) order_after(barrier);
    }
    for (const Access& earlier : before_) order_after(earlier);
    access.step = depth_ - 1;
    access.thread = current_;
    threads_[current_].ordered[current_] = depth_;
    access.ordered = threads_[current_].ordered;
    steps_.push_back(access);
    for (const Access& earlier : reversible_) reverse(earlier);
}

void Explorer::note_access(Location& at, unsigned store, bool plain_store) {
    if (!concurrent_ || free_running_) return;
    const Op& op = threads_[current_].pending;
    unsigned seen = 0;
    const auto both_sequential = [&](const Access& earlier) { return earlier.sequential && op.sequential; };
    reversible_.clear();
    before_.clear();
    for (std::size_t i = at.accesses.size(); i-- > 0;) {
        const Access& earlier = at.accesses[i];
        if (earlier.thread == current_ || !(earlier.writes || op.writes())) continue;
        // The load might have come before such a store: it reads the older value in this order, too.
        const bool either_way = earlier.plain_store && op.kind == OpKind::load && !both_sequential(earlier);
        if (!either_way || earlier.store <= store) before_.push_back(earlier);
        if (either_way || (seen & bit(earlier.thread)) != 0 || (op.kind == OpKind::lock && earlier.unlocks)) continue;
        seen |= bit(earlier.thread);
        if (races(earlier)) reversible_.push_back(earlier);
    }
    Access access;
    access.writes = op.writes();
    access.plain_store = plain_store;
    access.sequential = op.sequential;
    access.unlocks = op.kind == OpKind::unlock;
    access.store = store;
    note_step(access);
    at.accesses.push_back(steps_.back());
}

// --- what is found -------------------------------------------------------------------------------------------------------------

void Explorer::expect(bool holds, const char* what) {
    if (!holds) fail(what);
}

void Explorer::tell(Site site, std::uint64_t value, unsigned back) {
    if (concurrent_ && !exits_) trace_.push_back({current_, threads_[current_].pending.kind, site, value, back});
}

std::string Explorer::told() const {
    static constexpr const char* names[] = {"begin", "load", "store", "modify", "wait", "notify", "lock", "try_lock", "unlock", "barrier"};
    std::string text;
    for (const Event& event : trace_) {
        char line[400];
        std::snprintf(line, sizeof line, "  thread %u  %-8s %-14llx%s %s:%u\n", event.thread,
                      names[static_cast<unsigned>(event.kind)], static_cast<unsigned long long>(event.value),
                      event.back == 0 ? "" : " (an older value)", event.site.file, event.site.line);
        text += line;
    }
    return text;
}

void Explorer::fail(const std::string& what) {
    const Inside guard;
    if (exits_) {
        std::printf("%s\n", what.c_str());
        std::fflush(stdout);
        std::_Exit(3);
    }
    if (!failed_) {
        findings_.failure = "thread " + std::to_string(current_) + ": " + what + "\n" + told();
        failed_ = true;
    }
    if (concurrent_ && current_ != 0) {
        // This thread goes no further, and neither do the others.
        fibers_[current_]->begun = false;
        _longjmp(scheduler_, 1);
    }
}

}  // namespace model
