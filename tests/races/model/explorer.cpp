#include "races/model/explorer.hpp"

#include <ucontext.h>
#include <unistd.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace model {

namespace {

constexpr std::size_t stack_size = std::size_t{256} << 10;
constexpr unsigned bit(unsigned thread) noexcept { return 1U << thread; }
bool acquires(std::memory_order order) noexcept {
    return order == std::memory_order_acquire || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}
bool releases(std::memory_order order) noexcept {
    return order == std::memory_order_release || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}

// What the explorer allocates itself is none of the program's.
unsigned inside = 0;
struct Inside {
    Inside() noexcept { ++inside; }
    ~Inside() { --inside; }
};

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

bool Explorer::next_branch() {
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
    node.choices = count;
    return node.choice;
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

// --- the memory ----------------------------------------------------------------------------------------------------------------

Location& Explorer::location(std::uintptr_t address, std::uint64_t initial) {
    if (Location* found = locations_.find(address)) return *found;
    if (locations_.full()) fail("more atomics than the model has room for");
    Location& at = locations_.add(address);
    at.shared_index = Location::no_index;
    at.last_sequential = 0;
    at.maker = 0;
    at.made_at = 0;
    at.freed = false;
    at.used = {};
    at.accesses.clear();
    at.count = 0;
    at.owner = 0;
    at.notified = 0;
    at.last_unlock = {};
    at.last_storer = 0;
    at.last_stored_at = 0;
    at.add().value = initial;
    return at;
}

Location& Explorer::reach(std::uintptr_t address, std::uint64_t initial, const char* what) {
    Location& at = location(address, initial);
    const Clock& clock = threads_[current_].known.clock;
    if (at.freed) fail(std::string(what) + " of an atomic in memory that was freed");
    if (!clock.covers(at.maker, at.made_at)) fail(std::string(what) + " of an atomic whose making was not published to this thread");
    at.used.at[current_] = clock.at[current_];
    return at;
}

std::memory_order Explorer::ordered(std::memory_order order, Site& site, Site::Kind kind) {
    site.order = order;
    site.kind = kind;
    if (order == std::memory_order_relaxed) return order;
    if (weakens_) return weakening_.site.same_place(site) ? weakening_.order : order;
    if (concurrent_) {
        for (const Site& known : sites_) {
            if (known.same_place(site)) return order;
        }
        sites_.push_back(site);
    }
    return order;
}

std::uint64_t Explorer::read(Location& at, unsigned store, std::memory_order order) {
    Known& known = threads_[current_].known;
    if (at.shared_index != Location::no_index) {
        std::uint8_t& oldest = known.view.oldest[at.shared_index];
        oldest = (std::max)(oldest, static_cast<std::uint8_t>(store));
    }
    const Store& from = at.stores[store];
    if (acquires(order) && from.carries) known.join(from.known);
    return from.value;
}

void Explorer::write(Location& at, std::uint64_t value, std::memory_order order, const Store* continues) {
    Known& known = threads_[current_].known;
    at.last_storer = static_cast<std::uint8_t>(current_);
    at.last_stored_at = known.clock.at[current_];
    if (!concurrent_) {
        at.newest().value = value;
        return;
    }
    if (at.shared_index == Location::no_index) {
        if (shared_ == shared_locations_max) return fail("more shared atomics than the model has room for");
        at.shared_index = static_cast<std::uint16_t>(shared_++);
    }
    if (at.count == stores_max) return fail("more stores than the model has room for");
    Store store;
    store.value = value;
    if (continues != nullptr && continues->carries) {
        store.carries = true;
        store.known = continues->known;
    }
    known.view.oldest[at.shared_index] = static_cast<std::uint8_t>(at.count);
    if (releases(order)) {
        if (!store.carries) store.known = {};
        store.carries = true;
        store.known.join(known);
    }
    if (order == std::memory_order_seq_cst) at.last_sequential = static_cast<std::uint16_t>(at.count);
    at.add() = store;
}

std::uint64_t Explorer::load(const void* address, std::uint64_t initial, std::memory_order order, Site site) {
    const Inside guard;
    order = ordered(order, site, Site::Kind::load);
    Thread& thread = threads_[current_];
    const auto key = reinterpret_cast<std::uintptr_t>(address);
    // The same look again, with nothing in between: whoever looks until something changes is as well off if the first look comes later.
    if (concurrent_ && thread.last_address == key && thread.last_line == site.line && thread.last_column == site.column) {
        if (++thread.repeats > 1000000) fail("a thread spins for ever");
        Location& at = location(key, initial);
        return at.stores[thread.repeated_store].value;
    }
    stop_before({OpKind::load, key, order == std::memory_order_seq_cst});
    Location& at = reach(key, initial, "a load");
    unsigned oldest = 0;
    if (at.shared_index != Location::no_index) oldest = thread.known.view.oldest[at.shared_index];
    if (order == std::memory_order_seq_cst) oldest = (std::max)(oldest, unsigned{at.last_sequential});
    if (!concurrent_) oldest = at.count - 1;
    const unsigned back = choose(at.count - oldest);
    const unsigned store = at.count - 1 - back;
    note_access(at, store, false);
    const std::uint64_t value = read(at, store, order);
    tell(site, value, back);
    tick();
    thread.last_address = concurrent_ ? key : 0;
    thread.last_line = site.line;
    thread.last_column = site.column;
    thread.repeated_store = store;
    thread.repeats = 0;
    return value;
}

void Explorer::store(const void* address, std::uint64_t initial, std::uint64_t value, std::memory_order order, Site site) {
    const Inside guard;
    order = ordered(order, site, Site::Kind::store);
    const auto key = reinterpret_cast<std::uintptr_t>(address);
    stop_before({OpKind::store, key, order == std::memory_order_seq_cst});
    Location& at = reach(key, initial, "a store");
    // The order of such stores would be anybody's guess, and the model makes only one.
    if (concurrent_ && !limits_.unordered_stores && !threads_[current_].known.clock.covers(at.last_storer, at.last_stored_at)) {
        fail("two threads store to one atomic without an order between them");
    }
    note_access(at, at.count, true);
    write(at, value, order, nullptr);
    tell(site, value, 0);
    tick();
}

std::uint64_t Explorer::modify(const void* address, std::uint64_t initial, std::memory_order order, std::memory_order failure_order,
                               Site site, const std::function<bool(std::uint64_t, std::uint64_t&)>& change) {
    const Inside guard;
    order = ordered(order, site, Site::Kind::exchange);
    const auto key = reinterpret_cast<std::uintptr_t>(address);
    stop_before({OpKind::modify, key, order == std::memory_order_seq_cst});
    Location& at = reach(key, initial, "a read-modify-write");
    const unsigned newest = at.count - 1;
    const std::uint64_t old = at.stores[newest].value;
    std::uint64_t fresh = 0;
    if (!change(old, fresh)) {
        note_access(at, newest, false);
        read(at, newest, failure_order);
        tell(site, old, 0);
    } else {
        note_access(at, at.count, false);
        read(at, newest, order);
        const Store continues = at.stores[newest];
        write(at, fresh, order, &continues);
        tell(site, fresh, 0);
    }
    tick();
    return old;
}

void Explorer::wait(const void* address, std::uint64_t initial, std::uint64_t old, std::memory_order order, Site site) {
    const Inside guard;
    order = ordered(order, site, Site::Kind::load);
    const auto key = reinterpret_cast<std::uintptr_t>(address);
    unsigned least = 0;
    for (;;) {
        stop_before({OpKind::wait, key, order == std::memory_order_seq_cst});
        Location& at = reach(key, initial, "a wait");
        Thread& thread = threads_[current_];
        unsigned oldest = least;
        if (at.shared_index != Location::no_index) oldest = (std::max)(oldest, unsigned{thread.known.view.oldest[at.shared_index]});
        if (order == std::memory_order_seq_cst) oldest = (std::max)(oldest, unsigned{at.last_sequential});
        const unsigned back = choose(at.count - oldest);
        const unsigned store = at.count - 1 - back;
        note_access(at, store, false);
        const std::uint64_t value = read(at, store, order);
        tell(site, value, back);
        tick();
        if (value != old) return;
        if (!concurrent_) return fail("a wait outside of the threads");
        if (at.notified > store + 1) {  // as good as woken
            least = at.notified - 1;
            continue;
        }
        thread.state = Thread::State::waiting;
        thread.waits_for = key;
        thread.waits_since = store;
        give_way();
        least = location(key, initial).notified - 1;
    }
}

void Explorer::notify(const void* address, std::uint64_t initial) {
    const Inside guard;
    const auto key = reinterpret_cast<std::uintptr_t>(address);
    stop_before({OpKind::notify, key, false});
    Location& at = reach(key, initial, "a notification");
    note_access(at, at.count - 1, false);
    const unsigned known = at.shared_index == Location::no_index ? 0 : threads_[current_].known.view.oldest[at.shared_index];
    at.notified = (std::max)(at.notified, known + 1);
    for (unsigned i = 1; i <= thread_count_; ++i) {
        Thread& other = threads_[i];
        if (other.state == Thread::State::waiting && other.waits_for == key && other.waits_since < known) {
            other.state = Thread::State::ready;
        }
    }
    tell({}, known, 0);
    tick();
}

void Explorer::made(const void* address, std::uint64_t value) {
    const Inside guard;
    const auto key = reinterpret_cast<std::uintptr_t>(address);
    Location* at = locations_.find(key);
    if (at == nullptr) at = &location(key, value);
    at->count = 0;
    at->shared_index = Location::no_index;
    at->accesses.clear();
    at->used = {};
    at->freed = false;
    at->last_sequential = 0;
    at->owner = 0;
    at->notified = 0;
    at->last_storer = static_cast<std::uint8_t>(current_);
    at->last_stored_at = threads_[current_].known.clock.at[current_];
    at->maker = static_cast<std::uint8_t>(current_);
    at->made_at = threads_[current_].known.clock.at[current_];
    at->add().value = value;
}

// --- locks and memory ----------------------------------------------------------------------------------------------------------

void Explorer::lock(const void* address) {
    const Inside guard;
    const auto key = reinterpret_cast<std::uintptr_t>(address);
    stop_before({OpKind::lock, key, false});
    Location& at = reach(key, 0, "a lock");
    note_access(at, 0, false);
    if (at.owner != 0) fail("a lock is taken that is held");
    at.owner = current_ + 1;
    threads_[current_].known.join(at.last_unlock);
    tell({}, 0, 0);
    tick();
}

bool Explorer::try_lock(const void* address) {
    const Inside guard;
    const auto key = reinterpret_cast<std::uintptr_t>(address);
    stop_before({OpKind::try_lock, key, false});
    Location& at = reach(key, 0, "a try_lock");
    note_access(at, 0, false);
    const bool free = at.owner == 0;
    if (free) {
        at.owner = current_ + 1;
        threads_[current_].known.join(at.last_unlock);
    }
    tell({}, free, 0);
    tick();
    return free;
}

void Explorer::unlock(const void* address) {
    const Inside guard;
    const auto key = reinterpret_cast<std::uintptr_t>(address);
    stop_before({OpKind::unlock, key, false});
    Location& at = reach(key, 0, "an unlock");
    note_access(at, 0, false);
    if (at.owner != current_ + 1) fail("a lock is given back that is not held");
    at.owner = 0;
    at.last_unlock = threads_[current_].known;
    tell({}, 0, 0);
    tick();
}

void Explorer::barrier() {
    const Inside guard;
    if (!concurrent_) return;
    stop_before({OpKind::barrier, 0, true});
    if (!free_running_) {
        reversible_.clear();
        before_.clear();
        for (unsigned i = 1; i <= thread_count_; ++i) {
            if (i == current_ || threads_[i].ordered[i] == 0) continue;
            const Access& last = steps_[threads_[i].ordered[i] - 1];
            before_.push_back(last);
            if (races(last)) reversible_.push_back(last);
        }
        note_step({});
        barriers_.push_back(steps_.back());
    }
    View all;
    for (unsigned i = 1; i <= thread_count_; ++i) all.join(threads_[i].known.view);
    for (unsigned i = 1; i <= thread_count_; ++i) threads_[i].known.view = all;
    tell({}, 0, 0);
    tick();
}

void Explorer::allocated(void* block, std::size_t size) {
    if (inside != 0) return;
    const Inside guard;
    const auto key = reinterpret_cast<std::uintptr_t>(block);
    Block* at = blocks_.find(key);
    if (at == nullptr) at = &blocks_.add(key);
    at->size = size;
    at->maker = static_cast<std::uint8_t>(current_);
    at->made_at = threads_[current_].known.clock.at[current_];
    at->freed = false;
    at->used = {};
}

bool Explorer::freed(void* block) {
    if (inside != 0) return false;
    const Inside guard;
    Block* at = blocks_.find(reinterpret_cast<std::uintptr_t>(block));
    if (at == nullptr) return false;
    const Clock& clock = threads_[current_].known.clock;
    const auto check = [&](const Clock& used, const char* what) {
        for (unsigned i = 0; i < threads_max; ++i) {
            if (!clock.covers(i, used.at[i])) fail(std::string("memory is freed though ") + what + " may not be over");
        }
    };
    if (at->freed) fail("memory is freed twice");
    if (concurrent_) check(at->used, "a use of it");
    for (Location& location : locations_) {
        if (location.address < at->address || location.address >= at->address + at->size || location.freed) continue;
        if (concurrent_) check(location.used, "an access of an atomic in it");
        location.freed = true;
    }
    at->freed = true;
    quarantine_.push_back(block);
    return true;
}

void Explorer::use(const void* block) {
    if (block == nullptr) return;
    Block* at = blocks_.find(reinterpret_cast<std::uintptr_t>(block));
    if (at == nullptr) return;
    const Clock& clock = threads_[current_].known.clock;
    if (at->freed) fail("a use of memory that was freed");
    if (!clock.covers(at->maker, at->made_at)) fail("a use of memory whose making was not published to this thread");
    at->used.at[current_] = clock.at[current_];
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
