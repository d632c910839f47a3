#pragma once
// A disk, its page cache, its directory and the machine around it, in memory, behind the os/ contract. Power cuts and faults
// fall where a test wants them, or at random from one seed.
//
// Needs the implementation half of emdb.hpp (EMDB_IMPLEMENTATION defined before its first include).
//
//   SimulatedDisk disk({.seed = 7});
//   disk.cut_power_at(disk.operation_count() + 20);
//   ... open a database over `disk`, work, until !disk.power_is_on(); drop every handle ...
//   SeededRandom random(8);
//   SimulatedDisk rebooted(disk.crashed().random_outcome(random), {.seed = 9});
//
// Every call of File, FileSystem and fill_random is one operation, and so is tick(), which a test calls between calls of the
// engine: stores through mappings are no operations, and without ticks no power cut or write-back would fall between them.
// A cut at operation n lets that operation take effect in the cache (a write in part) and fail. Directories, unlike the names
// in them, are durable at once.
//
// Thread-safe but for what threads store through mappings while another call compares the cache with the disk.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/simulated_file.hpp"
#include "support/simulated_machine.hpp"

namespace emdb_test {

class SimulatedDisk final : public emdb::detail::Environment, private emdb::detail::FileSystem {
public:
    explicit SimulatedDisk(DiskSettings settings = {}) : machine_(settings), entropy_(~settings.seed) {}
    SimulatedDisk(const DiskImage& image, DiskSettings settings) : SimulatedDisk(settings) {
        machine_.directories.insert(image.directories.begin(), image.directories.end());
        for (const auto& [path, stored] : image.files) {
            const std::shared_ptr<SimulatedInode> inode = machine_.new_inode();
            inode->load(stored);
            machine_.names[path] = machine_.durable_names[path] = inode->id();
        }
    }

    // The machine -------------------------------------------------------------------------------------------------------

    emdb::detail::FileSystem& files() override { return *this; }
    std::uint64_t now_unix_ms() override { return now_unix_ms_; }
    Result<void> fill_random(std::span<std::byte> into) override {
        return machine_.perform(Operation::fill_random, "", 0, into.size(), [&] {
            for (std::byte& byte : into) byte = static_cast<std::byte>(entropy_.next() & 0xFF);
        });
    }
    std::uint32_t process_id() override { return 4242; }
    std::string host_name() override { return "simulated"; }
    void set_now_unix_ms(std::uint64_t now) noexcept { now_unix_ms_ = now; }
    bool clock_was_moved() const noexcept { return now_unix_ms_ != now_at_start; }

    // Power -------------------------------------------------------------------------------------------------------------

    std::uint64_t operation_count() const noexcept { return machine_.operations; }
    /// The power goes during this operation, counted from 1.
    void cut_power_at(std::uint64_t operation) noexcept {
        machine_.cut_at = operation;
        machine_.cut_kills = false;
    }
    void cut_power() {
        const std::lock_guard lock(machine_.mutex);
        if (!machine_.crashed) machine_.crash();
    }
    bool power_is_on() const noexcept { return !machine_.crashed.has_value(); }
    /// What the cut left; only once the power is off.
    const CrashedDisk& crashed() const { return *machine_.crashed; }
    /// An operation that does nothing but let the background work, or the power go.
    void tick() { (void)machine_.perform(Operation::tick, "", 0, 0, [] {}); }

    // The process -----------------------------------------------------------------------------------------------------------

    /// The process that has files open here dies, with its locks; the page cache stays as it is. What it still tries (an engine
    /// has destructors, a killed process has not) fails without effect, until start_process().
    void kill_process() {
        const std::lock_guard lock(machine_.mutex);
        machine_.kill_process();
    }
    /// It dies during this operation, counted from 1.
    void kill_process_at(std::uint64_t operation) noexcept {
        machine_.cut_at = operation;
        machine_.cut_kills = true;
    }
    /// Neither the power nor the process goes any more of itself.
    void stop_cutting() noexcept { cut_power_at(std::numeric_limits<std::uint64_t>::max()); }
    bool process_is_alive() const noexcept { return machine_.process->alive; }
    void start_process() { machine_.process = std::make_shared<Process>(); }

    // Faults ------------------------------------------------------------------------------------------------------------

    /// Replaces the fault set before.
    void fail(Fault fault) {
        machine_.fault = fault;
        machine_.fault_matches = 0;
    }
    void stop_failing() noexcept { machine_.fault.reset(); }
    bool may_fail() const noexcept { return machine_.fault.has_value(); }
    std::uint64_t faults_injected() const noexcept { return machine_.faults_injected; }
    void set_capacity(std::uint64_t bytes) noexcept { machine_.settings.capacity = bytes; }

    // In the middle of a call ----------------------------------------------------------------------------------------------

    /// f(name) is called before each sync of a file, and may use the database: what another thread might do at that moment.
    void before_sync(std::function<void(const std::string& name)> f) { machine_.before_sync = std::move(f); }

    // Looking at it -------------------------------------------------------------------------------------------------------

    /// The contents that an open would find now; empty if there is no such file.
    std::string bytes_of(const std::string& path) {
        const std::lock_guard lock(machine_.mutex);
        const auto found = machine_.names.find(path);
        return found == machine_.names.end() ? std::string() : machine_.inodes.at(found->second)->stored_now().bytes();
    }
    bool exists(const std::string& path) const { return machine_.names.contains(path); }
    std::vector<std::string> paths() const {
        std::vector<std::string> result;
        for (const auto& [path, inode] : machine_.names) result.push_back(path);
        return result;
    }
    /// Damages one byte on the medium and in the cache.
    void flip_bits(const std::string& path, std::uint64_t offset, std::byte mask = std::byte{0x10}) {
        machine_.inodes.at(machine_.names.at(path))->flip_bits(offset, mask);
    }
    /// The disk as it is, as if it had been given the time to write everything back: a machine that is shut down.
    DiskImage image_now() {
        const std::lock_guard lock(machine_.mutex);
        DiskImage image;
        image.directories = machine_.directories;
        for (const auto& [path, inode] : machine_.names) image.files[path] = machine_.inodes.at(inode)->stored_now();
        return image;
    }
    std::size_t dirty_sector_count() {
        std::size_t count = 0;
        for (const auto& [id, inode] : machine_.inodes) count += inode->dirty_sector_count();
        return count;
    }
    /// Breaches of the contract by its user. A test should find none.
    const std::vector<std::string>& violations() const noexcept { return machine_.violations; }

    /// The operations so far, one a line.
    std::string trace() const { return machine_.trace_text(); }

private:
    static std::string directory_of(const std::string& path) {
#if defined(_WIN32)
        const std::size_t slash = path.find_last_of("/\\");
#else
        const std::size_t slash = path.rfind('/');
#endif
        return slash == std::string::npos ? std::string() : path.substr(0, slash == 0 ? 1 : slash);
    }

    static emdb::Error no_such_file(Operation operation, const std::string& path) {
        return SimulatedMachine::error(operation, path, os_not_found, "there is no such file");
    }

    // FileSystem ----------------------------------------------------------------------------------------------------------

    Result<std::unique_ptr<emdb::detail::File>> open(const std::string& path, emdb::detail::OpenMode mode) override {
        using emdb::detail::OpenMode;
        std::shared_ptr<SimulatedInode> inode;
        int os_error = 0;
        const Result<void> done = machine_.perform(Operation::open, path, 0, 0, [&] {
            const auto found = machine_.names.find(path);
            if (mode != OpenMode::create_new) {
                if (found == machine_.names.end()) return void(os_error = os_not_found);
                inode = machine_.inodes.at(found->second);
                return;
            }
            if (found != machine_.names.end() || machine_.directories.contains(path)) return void(os_error = os_exists);
            if (!machine_.directories.contains(directory_of(path))) return void(os_error = os_not_found);
            inode = machine_.new_inode();
            machine_.change_names(DirectoryChange::Kind::create, inode->id(), "", path);
        });
        if (!done) return done.error();
        if (os_error != 0) {
            const char* const why = os_error == os_exists ? "it exists" : "it does not exist";
            return SimulatedMachine::error(Operation::open, path, os_error, why);
        }
        return std::unique_ptr<emdb::detail::File>(
            std::make_unique<SimulatedFile>(machine_, path, std::move(inode), mode != OpenMode::read_only));
    }

    Result<emdb::detail::FileStatus> status(const std::string& path) override {
        emdb::detail::FileStatus status;
        const Result<void> done = machine_.perform(Operation::status, path, 0, 0, [&] {
            if (const auto found = machine_.names.find(path); found != machine_.names.end()) {
                status.kind = emdb::detail::FileKind::regular;
                status.size = machine_.inodes.at(found->second)->size();
                status.identity = {1, found->second};
            } else if (machine_.directories.contains(path)) {
                status.kind = emdb::detail::FileKind::directory;
            }
        });
        if (!done) return done.error();
        return status;
    }

    Result<void> rename_replacing(const std::string& from, const std::string& to) override {
        if (machine_.settings.keeps_mapped && is_mapped(to)) return rename_aside(from, to);
        bool found = false;
        const Result<void> done =
            machine_.perform(Operation::rename_replacing, from, 0, 0, [&] { found = rename(from, to); });
        if (done && !found) return no_such_file(Operation::rename_replacing, from);
        return done;
    }

    std::string aside_name(const std::string& to) override { return machine_.settings.keeps_mapped ? to + ".old" : std::string(); }

    bool is_mapped(const std::string& name) {
        const std::lock_guard lock(machine_.mutex);
        const auto found = machine_.names.find(name);
        return found != machine_.names.end() && machine_.inodes.at(found->second)->is_mapped();
    }

    // As WindowsFileSystem does it: any step may fail or be the last one.
    Result<void> rename_aside(const std::string& from, const std::string& to) {
        const std::string aside = aside_name(to);
        const auto step = [&](const std::string& name, const std::string& other) {
            return machine_.perform(Operation::rename_replacing, name, 0, 0, [&] { rename(name, other); });
        };
        (void)remove(aside);
        if (auto moved = step(to, aside); !moved) return moved;
        if (auto moved = step(from, to); !moved) {
            (void)step(aside, to);
            return moved;
        }
        (void)remove(aside);
        return {};
    }

    Result<bool> rename_if_absent(const std::string& from, const std::string& to) override {
        bool taken = false;
        bool found = false;
        const Result<void> done = machine_.perform(Operation::rename_if_absent, from, 0, 0, [&] {
            taken = machine_.names.contains(to) || machine_.directories.contains(to);
            found = machine_.names.contains(from);
            if (!taken) rename(from, to);
        });
        if (!done) return done.error();
        if (!found) return no_such_file(Operation::rename_if_absent, from);
        return !taken;
    }

    bool rename(const std::string& from, const std::string& to) {
        const auto found = machine_.names.find(from);
        if (found == machine_.names.end()) return false;
        if (directory_of(from) != directory_of(to)) {
            machine_.violations.push_back("rename from one directory to another: " + from);
        }
        machine_.change_names(DirectoryChange::Kind::rename, found->second, from, to);
        return true;
    }

    Result<void> remove(const std::string& path) override {
        return machine_.perform(Operation::remove, path, 0, 0, [&] {
            const auto found = machine_.names.find(path);
            if (found == machine_.names.end()) return;
            machine_.change_names(DirectoryChange::Kind::remove, found->second, path, "");
        });
    }

    Result<void> sync_directory_of(const std::string& path) override {
        const std::string directory = directory_of(path);
        const std::lock_guard lock(machine_.mutex);
        if (auto refused = machine_.refusal(*machine_.process, Operation::sync_directory, path)) return *std::move(refused);
        const SimulatedMachine::Fate fate = machine_.enter(Operation::sync_directory, path, 0, 0);
        if (fate.os_error != 0) return SimulatedMachine::error(Operation::sync_directory, path, fate.os_error);
        if (!fate.cut) {
            std::erase_if(machine_.changes, [&](const DirectoryChange& change) {
                if (directory_of(change.to.empty() ? change.from : change.to) != directory) return false;
                change.apply(machine_.durable_names);
                return true;
            });
            machine_.forget_unreachable();
        }
        return machine_.leave(fate, Operation::sync_directory, path);
    }

    Result<std::string> absolute(const std::string& path) override {
        const Result<void> done = machine_.perform(Operation::absolute, path, 0, 0, [] {});
        if (!done) return done.error();
        return !path.empty() && path.front() == '/' ? path : "/disk/" + path;
    }

    Result<void> create_directories(const std::string& path) override {
        return machine_.perform(Operation::create_directories, path, 0, 0, [&] {
            for (std::string at = path; machine_.directories.insert(at).second; at = directory_of(at)) {}
        });
    }

    SimulatedMachine machine_;
    SeededRandom entropy_;
    static constexpr std::uint64_t now_at_start = 1'700'000'000'000;
    std::uint64_t now_unix_ms_ = now_at_start;
};

}  // namespace emdb_test
