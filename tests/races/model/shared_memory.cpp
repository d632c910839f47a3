// The explorer's part that keeps the memory: what loads, stores, waits, locks and barriers do.

#include <algorithm>
#include <string>
#include <vector>

#include "races/model/explorer.hpp"
#include "races/model/inside.hpp"

namespace model {

namespace {

bool acquires(std::memory_order order) noexcept {
    return order == std::memory_order_acquire || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}
bool releases(std::memory_order order) noexcept {
    return order == std::memory_order_release || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}

}  // namespace

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

}  // namespace model
