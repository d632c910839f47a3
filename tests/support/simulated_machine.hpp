#pragma once
// The machine around the simulated disk: it counts operations, decides the fate of each one, writes back in the background,
// cuts the power, and keeps the files and their names.
//
// Needs the implementation half of emdb.hpp (EMDB_IMPLEMENTATION defined before its first include).

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/simulated_inode.hpp"
#include "support/simulated_media.hpp"

namespace emdb_test {

using emdb::Result;

// Error codes as the system at hand has them, since the engine asks is_not_found() and is_out_of_space().
#if defined(_WIN32)
constexpr int os_not_found = 2, os_exists = 80, os_no_space = 112, os_io = 1117, os_no_memory = 8, os_invalid = 87;
#else
constexpr int os_not_found = ENOENT, os_exists = EEXIST, os_no_space = ENOSPC, os_io = EIO, os_no_memory = ENOMEM,
              os_invalid = EINVAL;
#endif

enum class Operation : std::uint8_t {
    size, write, read, allocate, truncate, sync, map_read_only, map_writable, populate, expect_reading, lock, identity, take_permissions,
    open, status, rename_replacing, rename_if_absent, remove, sync_directory, absolute,
    create_directories, fill_random, tick,
};

inline const char* to_string(Operation operation) noexcept {
    static constexpr const char* names[]{
        "size", "write_at", "read_at", "allocate", "truncate", "sync", "map_read_only", "map_writable", "populate",
        "expect_reading", "try_lock", "identity", "take_permissions_of",
        "open", "status", "rename_replacing", "rename_if_absent", "remove", "sync_directory_of", "absolute",
        "create_directories", "fill_random", "tick"};
    return names[static_cast<std::size_t>(operation)];
}

/// Makes operations fail.
struct Fault {
    std::optional<Operation> only;    ///< one kind; else all kinds that can fail
    std::uint64_t nth = 1;            ///< the first to fail, counted from now; 1 is the next one
    bool from_then_on = false;        ///< and all that follow
    int os_error = os_io;
    bool sync_marks_clean = true;     ///< what a failed sync does to what it did not write: see simulated_inode.hpp
    bool takes_effect = false;        ///< a change of names fails, but has happened
};

struct DiskSettings {
    std::uint64_t seed = 1;
    bool keeps_allocation = true;
    bool maps_past_end = true;
    bool keeps_mapped = false;  ///< what is mapped is neither cut nor replaced, as on Windows
    bool is_memory_backed = false;  ///< changes what the engine does, not what the disk does
    std::uint64_t capacity = std::numeric_limits<std::uint64_t>::max();  ///< bytes in all files; more is "no space left"
    std::uint64_t write_back_one_in = 8;                                 ///< operations; 0: nothing in the background
    std::size_t map_granularity = 4096;
    std::size_t address_space = sizeof(void*) > 4 ? std::size_t{1} << 36 : std::size_t{1} << 26;  ///< for each file
    bool keeps_trace = true;
};

/// What uses the disk. Files that a process opened die with it.
struct Process {
    bool alive = true;
};

/// What SimulatedDisk (names) and SimulatedFile (contents) share. Its members are theirs to use, with `mutex` held.
class SimulatedMachine {
public:
    explicit SimulatedMachine(const DiskSettings& with) : settings(with), random(with.seed) {
        directories = {"", "/", ".", "/disk"};
    }
    SimulatedMachine(const SimulatedMachine&) = delete;
    SimulatedMachine& operator=(const SimulatedMachine&) = delete;

    /// What enter() decided, for those who carry the operation out.
    struct Fate {
        bool cut = false;
        int os_error = 0;
        bool succeeds() const noexcept { return !cut && os_error == 0; }
    };

    /// Every operation comes through here first, with the mutex held and the power on.
    Fate enter(Operation operation, const std::string& name, std::uint64_t offset, std::uint64_t length) {
        ++operations;
        if (settings.keeps_trace) {
            trace_.push_back({operation, trace_name(name), offset, length, nullptr});
        }
        if (settings.write_back_one_in != 0 && random.one_in(settings.write_back_one_in)) write_back_some();
        Fate fate;
        if (operations >= cut_at) {
            fate.cut = true;
        } else if (fault && can_fail(operation) && (!fault->only || *fault->only == operation)) {
            ++fault_matches;
            if (fault_matches == fault->nth || (fault->from_then_on && fault_matches > fault->nth)) {
                fate.os_error = fault->os_error;
                ++faults_injected;
            }
        }
        if (settings.keeps_trace && !fate.succeeds()) trace_.back().outcome = !fate.cut ? "fails" : cut_kills ? "the process is killed" : "the power goes";
        return fate;
    }

    /// Carries an operation out: takes effect if it succeeds or the power goes at it, not if it fails.
    template <class Effect>
    Result<void> perform(Operation operation, const std::string& name, std::uint64_t offset, std::uint64_t length,
                         Effect&& effect) {
        const std::lock_guard lock(mutex);
        if (auto refused = refusal(*process, operation, name)) return *std::move(refused);
        const Fate fate = enter(operation, name, offset, length);
        if (fate.succeeds() || fate.cut || fault->takes_effect) effect();
        if (fate.os_error != 0) return error(operation, name, fate.os_error);
        return leave(fate, operation, name);
    }

    Result<void> leave(const Fate& fate, Operation operation, const std::string& name) {
        if (!fate.cut) return {};
        if (cut_kills) {
            cut_at = std::numeric_limits<std::uint64_t>::max();
            kill_process();
            return refusal(*process, operation, name).value();
        }
        crash();
        return power_is_off(operation, name);
    }

    static emdb::Error error(Operation operation, const std::string& name, int os_error, const char* why = "simulated fault") {
        std::string message = std::string("cannot ") + to_string(operation) + " '" + name + "': " + why + " (" +
                              std::to_string(os_error) + "). This is a simulated disk.";
        return emdb::Error(emdb::ErrorCode::io, std::move(message)).with_os_error(os_error);
    }
    /// Why nothing can be done any more, if so.
    std::optional<emdb::Error> refusal(const Process& caller, Operation operation, const std::string& name) const {
        if (crashed) return power_is_off(operation, name);
        if (!caller.alive) return error(operation, name, os_io, "the process was killed");
        return std::nullopt;
    }
    static emdb::Error power_is_off(Operation operation, const std::string& name) {
        return error(operation, name, os_io, "the power is off");
    }
    emdb::Error violation(Operation operation, const std::string& name, std::string what) {
        violations.push_back(std::string(to_string(operation)) + " '" + name + "': " + what);
        return error(operation, name, os_invalid, what.c_str());
    }

    void kill_process() {
        process->alive = false;
        for (const auto& [id, inode] : inodes) inode->forget_locks();
    }

    void crash() {
        crashed.emplace();
        for (const auto& [id, inode] : inodes) crashed->files.emplace(id, inode->crash());
        crashed->durable_names = durable_names;
        crashed->changes = changes;
        crashed->directories = directories;
    }

    std::shared_ptr<SimulatedInode> new_inode() {
        const std::uint64_t id = ++last_inode;
        return inodes.emplace(id, std::make_shared<SimulatedInode>(id, settings.address_space)).first->second;
    }

    /// Forgets inodes that no name, now or after any power cut, leads to. Open files and mappings keep theirs.
    void forget_unreachable() {
        std::set<std::uint64_t> reachable;
        for (const auto& [path, inode] : names) reachable.insert(inode);
        for (const auto& [path, inode] : durable_names) reachable.insert(inode);
        for (const DirectoryChange& change : changes) reachable.insert(change.inode);
        std::erase_if(inodes, [&](const auto& entry) { return !reachable.contains(entry.first); });
    }

    void change_names(DirectoryChange::Kind kind, std::uint64_t inode, const std::string& from, const std::string& to) {
        changes.push_back({kind, inode, from, to});
        changes.back().apply(names);
    }

    bool has_room(const SimulatedInode& growing, std::uint64_t size) const {
        std::uint64_t used = 0;
        for (const auto& [id, inode] : inodes) {
            used += inode.get() == &growing ? std::max(size, inode->size()) : inode->size();
        }
        return used <= settings.capacity && size <= growing.size_max();
    }

    /// The operations so far, one a line.
    std::string trace_text() const {
        std::string text;
        for (std::size_t i = 0; i < trace_.size(); ++i) {
            const TraceEntry& entry = trace_[i];
            text += "  #" + std::to_string(i + 1) + ' ' + to_string(entry.operation);
            if (entry.name != 0) text += ' ' + trace_names_[entry.name - 1];
            if (entry.offset != 0 || entry.length != 0) {
                text += " @" + std::to_string(entry.offset) + " +" + std::to_string(entry.length);
            }
            if (entry.outcome != nullptr) text.append("  <- ").append(entry.outcome);
            text += '\n';
        }
        return text;
    }

    DiskSettings settings;
    std::shared_ptr<Process> process = std::make_shared<Process>();
    std::mutex mutex;
    SeededRandom random;

    std::map<std::uint64_t, std::shared_ptr<SimulatedInode>> inodes;
    std::uint64_t last_inode = 0;
    std::map<std::string, std::uint64_t> names;
    std::map<std::string, std::uint64_t> durable_names;
    std::vector<DirectoryChange> changes;
    std::set<std::string> directories;

    std::uint64_t operations = 0;
    std::uint64_t cut_at = std::numeric_limits<std::uint64_t>::max();
    bool cut_kills = false;  // the cut is one of the process only
    std::optional<CrashedDisk> crashed;
    std::optional<Fault> fault;
    std::uint64_t fault_matches = 0;
    std::uint64_t faults_injected = 0;
    std::vector<std::string> violations;
    std::function<void(const std::string& name)> before_sync;  ///< of a file; called without the mutex

private:
    struct TraceEntry {
        Operation operation;
        std::uint32_t name;  // index + 1 into trace_names_; 0: none
        std::uint64_t offset;
        std::uint64_t length;
        const char* outcome;  // null: as asked
    };

    static bool can_fail(Operation operation) noexcept {
        return operation != Operation::tick && operation != Operation::expect_reading;
    }

    std::uint32_t trace_name(const std::string& name) {
        if (name.empty()) return 0;
        for (std::size_t i = 0; i < trace_names_.size(); ++i) {
            if (trace_names_[i] == name) return static_cast<std::uint32_t>(i + 1);
        }
        trace_names_.push_back(name);
        return static_cast<std::uint32_t>(trace_names_.size());
    }

    void write_back_some() {
        // Changes of names become durable in order: a later one applied early would be undone by the earlier one.
        if (!changes.empty() && random.coin()) {
            changes.front().apply(durable_names);
            changes.erase(changes.begin());
        }
        if (inodes.empty()) return;
        auto chosen = inodes.begin();
        std::advance(chosen, static_cast<std::ptrdiff_t>(random.below(inodes.size())));
        chosen->second->write_back_some(random);
    }

    std::vector<TraceEntry> trace_;
    std::vector<std::string> trace_names_;
};

}  // namespace emdb_test
