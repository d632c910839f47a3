#pragma once
// Runs a small program of a few threads in every order, and with every value, that the memory model allows.
//
//   model::Explorer explorer;
//   const model::Findings found = explorer.explore([](model::Program& program) {
//       auto state = std::make_shared<State>();
//       program.thread([state] { ... });            // uses modelled atomics and locks
//       program.thread([state] { ... model::expect(right, "what must hold"); });
//       program.afterwards([state] { ... });
//   });
//
// The threads are fibers of one real thread; each is stopped before every access of a modelled atomic or lock. Executions are a tree
// of choices (who goes next; which store a load reads), walked depth first by running the program anew for each leaf. What need not
// be tried is left out by dynamic partial-order reduction (Flanagan and Godefroid 2005) with sleep sets. Two accesses depend on
// each other if they are of one location and one of them stores; that a load came before a store need not be tried separately,
// unless both are sequentially consistent, because a load after it may read the older value just as well.
//
// Found are: what expect() says, threads that wait for ever, memory used before its making was published or after it was freed or
// without an order to either, and whatever makes the process crash.

#include <array>
#include <atomic>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "races/model/memory.hpp"

namespace model {

/// A place in the code that names a memory order.
struct Site {
    const char* file = "";
    const char* function = "";
    std::uint32_t line = 0;
    std::uint32_t column = 0;
    std::memory_order order = std::memory_order_relaxed;
    enum class Kind : std::uint8_t { load, store, exchange } kind = Kind::load;
    bool same_place(const Site& other) const noexcept;
};

/// A site that gets another order than the code says.
struct Weakening {
    Site site;
    std::memory_order order = std::memory_order_relaxed;
};

struct Findings {
    std::uint64_t executions = 0;  ///< complete ones
    std::uint64_t pruned = 0;      ///< given up because another one says the same
    std::uint64_t steps = 0;
    bool complete = true;          ///< false: the limit came first
    std::string failure;           ///< empty: none
};

class Program {
public:
    void thread(std::function<void()> body) { threads.push_back(std::move(body)); }
    /// Called when all threads have ended.
    void afterwards(std::function<void()> check) { checks.push_back(std::move(check)); }

    std::vector<std::function<void()>> threads;
    std::vector<std::function<void()>> checks;
};

struct Limits {
    std::uint64_t executions = UINT64_MAX;
    bool reduce = true;            ///< false: every order is tried, to check the reduction by
    bool unordered_stores = false;  ///< true: threads may store to one atomic without an order between them
    /// Where to begin, where not all will be tried. False: with the last thread, and loads that read the newest values. True: with
    /// the first one, and the oldest values.
    bool from_other_end = false;
    /// Other than 0: instead of one after the other, executions are made at random: with a few changes of threads, most of them early,
    /// and loads that mostly read the newest or the oldest value, in many an execution mostly the one or mostly the other.
    std::uint64_t random_seed = 0;
};

class Explorer {
public:
    using Build = std::function<void(Program&)>;

    Findings explore(const Build& build, const Limits& limits = {});

    void weaken(const Weakening& weakening) {
        weakening_ = weakening;
        weakens_ = true;
    }
    /// All sites that ordered accesses were made at.
    const std::vector<Site>& sites() const noexcept { return sites_; }
    /// Once a failure was found: ends the process with status 3 after writing it to the standard output. For children.
    void exit_at_failure() noexcept { exits_ = true; }
    /// Called when the running thread changes, with the number of the one that runs now.
    void on_switch(void (*callback)(unsigned)) noexcept { on_switch_ = callback; }

    // --- what modelled atomics call -------------------------------------------------------------------------------------------

    static Explorer* running() noexcept { return running_; }
    std::uint64_t load(const void* at, std::uint64_t initial, std::memory_order order, Site site);
    void store(const void* at, std::uint64_t initial, std::uint64_t value, std::memory_order order, Site site);
    /// `change(old, new)` false: nothing is stored, and it was a load.
    std::uint64_t modify(const void* at, std::uint64_t initial, std::memory_order order, std::memory_order failure_order, Site site,
                         const std::function<bool(std::uint64_t, std::uint64_t&)>& change);
    void wait(const void* at, std::uint64_t initial, std::uint64_t old, std::memory_order order, Site site);
    void notify(const void* at, std::uint64_t initial);
    void made(const void* at, std::uint64_t value);
    void lock(const void* at);
    bool try_lock(const void* at);
    void unlock(const void* at);
    void barrier();
    void allocated(void* block, std::size_t size);
    /// False: not known here, to be freed at once.
    bool freed(void* block);
    /// What a pointer points at is about to be used.
    void use(const void* block);
    void expect(bool holds, const char* what);
    unsigned thread() const noexcept { return current_; }

private:
    enum class OpKind : std::uint8_t { begin, load, store, modify, wait, notify, lock, try_lock, unlock, barrier };
    struct Op {
        OpKind kind = OpKind::begin;
        std::uintptr_t address = 0;
        bool sequential = false;
        bool writes() const noexcept { return kind != OpKind::load && kind != OpKind::begin; }
    };
    struct Thread {
        Known known;
        Op pending;
        enum class State : std::uint8_t { ready, waiting, ended } state = State::ended;
        std::uintptr_t waits_for = 0;
        unsigned waits_since = 0;
        std::array<unsigned, threads_max> ordered{};  ///< steps of others, +1, that come before its next one in any equivalent order
        std::uintptr_t last_address = 0;  ///< of its last access, if it was a load
        const char* last_function = nullptr;
        std::uint32_t last_line = 0;
        std::uint32_t last_column = 0;
        unsigned repeated_store = 0;
        unsigned repeats = 0;
    };
    struct Node {
        unsigned chosen = 0;
        unsigned choice = 0;
        unsigned choices = 1;
        unsigned enabled = 0;
        unsigned backtrack = 0;
        unsigned done = 0;
        unsigned asleep = 0;
        std::array<Op, threads_max> pending{};
    };

    static bool dependent(const Op& one, const Op& other) noexcept;
    Location& location(std::uintptr_t address, std::uint64_t initial);
    Location& reach(std::uintptr_t address, std::uint64_t initial, const char* what);
    void stop_before(const Op& op);
    void give_way();
    void note_access(Location& at, unsigned store, bool plain_store);
    void note_step(Access access);
    bool races(const Access& earlier) const noexcept;
    void order_after(const Access& earlier);
    void reverse(const Access& earlier);
    unsigned choose(unsigned count);
    std::memory_order ordered(std::memory_order order, Site& site, Site::Kind kind);
    std::uint64_t read(Location& at, unsigned store, std::memory_order order);
    void write(Location& at, std::uint64_t value, std::memory_order order, const Store* continues);
    void fail(const std::string& what);
    void tell(Site site, std::uint64_t value, unsigned back);
    std::string told() const;
    void tick() noexcept { ++threads_[current_].known.clock.at[current_]; }
    bool is_enabled(unsigned thread);
    void run_once(const Build& build);
    void run_threads(unsigned count);
    bool pick();
    void switch_to(unsigned thread);
    bool next_branch();
    void draw_changes();
    bool at_change() const noexcept;
    void reset();
    static void enter();
    void fiber_main(unsigned thread);

    static inline Explorer* running_ = nullptr;

    AddressMap<Location> locations_;
    AddressMap<Block> blocks_;
    std::vector<void*> quarantine_;
    std::array<Thread, threads_max> threads_;
    unsigned current_ = 0;
    unsigned shared_ = 0;
    unsigned thread_count_ = 0;
    struct Event {
        unsigned thread;
        OpKind kind;
        Site site;
        std::uint64_t value;
        unsigned back;
    };
    std::vector<Event> trace_;
    std::vector<Node> nodes_;
    std::mt19937_64 random_;
    unsigned newest_of_ten_ = 0;     ///< loads, if executions are made at random
    std::vector<unsigned> changes_;  ///< steps before which another thread goes on, if executions are made at random
    std::vector<Access> barriers_;
    std::vector<Access> steps_;
    std::vector<Access> reversible_;
    std::vector<Access> before_;
    unsigned depth_ = 0;
    unsigned asleep_ = 0;
    bool free_running_ = false;
    bool concurrent_ = false;
    bool failed_ = false;
    Findings findings_;
    Limits limits_;
    bool weakens_ = false;
    bool exits_ = false;
    Weakening weakening_;
    std::vector<Site> sites_;
    void (*on_switch_)(unsigned) = nullptr;

    struct Fiber;
    std::array<std::unique_ptr<Fiber>, threads_max> fibers_;
    std::vector<std::function<void()>> bodies_;
    std::jmp_buf scheduler_;

public:
    Explorer();
    ~Explorer();
    Explorer(const Explorer&) = delete;
    Explorer& operator=(const Explorer&) = delete;
};

/// What must hold in every execution.
inline void expect(bool holds, const char* what) {
    if (Explorer* explorer = Explorer::running()) explorer->expect(holds, what);
}

}  // namespace model
