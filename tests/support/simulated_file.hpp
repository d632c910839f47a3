#pragma once
// An open file of the simulated disk: each call is an operation of the machine, carried out on an inode.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "support/simulated_machine.hpp"

namespace emdb_test {

/// Must not outlive its machine; its mappings may.
class SimulatedFile final : public emdb::detail::File {
public:
    SimulatedFile(SimulatedMachine& machine, std::string name, std::shared_ptr<SimulatedInode> inode, bool writable)
        : machine_(machine), name_(std::move(name)), inode_(std::move(inode)), writable_(writable) {}
    ~SimulatedFile() override {
        const std::lock_guard lock(machine_.mutex);
        if (!holds_lock_ || !process_->alive) return;
        if (writable_) {
            inode_->locked = false;
        } else {
            --inode_->shared_locks;
        }
    }

    Result<std::uint64_t> size() override {
        std::uint64_t size = 0;
        const Result<void> done = perform(Operation::size, name_, 0, 0, [&] { size = inode_->size(); });
        if (!done) return done.error();
        return size;
    }

    // Fails half-way: what a failing or interrupted write may have left is any part of it.
    Result<void> write_at(std::uint64_t offset, std::span<const std::byte> bytes) override {
        const std::lock_guard lock(machine_.mutex);
        if (auto refused = machine_.refusal(*process_, Operation::write, name_)) return *std::move(refused);
        SimulatedMachine::Fate fate = machine_.enter(Operation::write, name_, offset, bytes.size());
        if (!writable_) return machine_.violation(Operation::write, name_, "it was opened for reading only");
        if (fate.succeeds() && !machine_.has_room(*inode_, offset + bytes.size())) fate.os_error = os_no_space;
        if (fate.succeeds()) {
            inode_->write(offset, bytes);
            return {};
        }
        const std::uint64_t part = machine_.random.below(bytes.size() + 1);
        if (machine_.has_room(*inode_, offset + part)) inode_->write(offset, bytes.first(static_cast<std::size_t>(part)));
        if (fate.cut) return machine_.leave(fate, Operation::write, name_);
        return SimulatedMachine::error(Operation::write, name_, fate.os_error);
    }

    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) override {
        std::size_t count = 0;
        const Result<void> done = perform(Operation::read, name_, offset, into.size(), [&] {
            if (offset >= inode_->size()) return;
            count = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), inode_->size() - offset));
            if (count != 0) std::memcpy(into.data(), inode_->data() + offset, count);
        });
        if (!done) return done.error();
        return count;
    }

    bool keeps_allocation() override { return machine_.settings.keeps_allocation; }

    Result<void> allocate(std::uint64_t offset, std::uint64_t length) override {
        return grow(Operation::allocate, offset, length, [&] {
            if (!keeps_allocation()) machine_.violations.push_back("allocate where it is not kept: " + name_);
            inode_->allocate(offset, length);
        });
    }
    Result<void> truncate(std::uint64_t size) override {
        return grow(Operation::truncate, 0, size, [&] { inode_->truncate(size); });
    }
    bool cuts_mapped() override { return !machine_.settings.keeps_mapped; }

    Result<void> sync() override {
        if (machine_.before_sync) machine_.before_sync(name_);
        const std::lock_guard lock(machine_.mutex);
        if (auto refused = machine_.refusal(*process_, Operation::sync, name_)) return *std::move(refused);
        const SimulatedMachine::Fate fate = machine_.enter(Operation::sync, name_, 0, 0);
        if (fate.succeeds()) inode_->sync();
        if (fate.os_error != 0) {
            inode_->fail_sync(machine_.random, machine_.fault->sync_marks_clean);
            return SimulatedMachine::error(Operation::sync, name_, fate.os_error);
        }
        return machine_.leave(fate, Operation::sync, name_);
    }

    bool maps_past_end() override { return machine_.settings.maps_past_end; }
    std::size_t map_granularity() override { return machine_.settings.map_granularity; }

    Result<emdb::detail::Mapping> map_read_only(std::uint64_t offset, std::size_t length) override {
        return map(Operation::map_read_only, offset, length, nullptr);
    }
    Result<emdb::detail::Mapping> map_writable(std::uint64_t offset, std::size_t length) override {
        return map(Operation::map_writable, offset, length, "it has not been allocated");
    }
    Result<void> populate(const emdb::detail::Mapping& mapping, std::size_t offset, std::size_t length) override {
        if (offset > mapping.size() || length > mapping.size() - offset) {
            return machine_.violation(Operation::populate, name_, "it reaches beyond the mapping");
        }
        return perform(Operation::populate, name_, offset, length, [] {});
    }
    bool is_memory_backed() override { return machine_.settings.is_memory_backed; }
    void expect_reading(std::uint64_t offset, std::uint64_t length) noexcept override {
        (void)perform(Operation::expect_reading, name_, offset, length, [] {});
    }
    void expect_random_reading(const emdb::detail::Mapping&) noexcept override {}

    Result<bool> try_lock() override {
        const Result<void> done = perform(Operation::lock, name_, 0, 0, [&] {
            if (holds_lock_ || inode_->locked || (writable_ && inode_->shared_locks > 0)) return;
            holds_lock_ = true;
            if (writable_) {
                inode_->locked = true;
            } else {
                ++inode_->shared_locks;
            }
        });
        if (!done) return done.error();
        return holds_lock_;
    }
    Result<bool> is_locked_by_other() override {
        bool locked = false;
        const Result<void> done =
            perform(Operation::lock, name_, 0, 0, [&] { locked = is_locked() && !holds_lock_; });
        if (!done) return done.error();
        return locked;
    }
    Result<emdb::detail::FileIdentity> identity() override {
        const Result<void> done = perform(Operation::identity, name_, 0, 0, [] {});
        if (!done) return done.error();
        return emdb::detail::FileIdentity{1, inode_->id()};
    }
    Result<void> take_permissions_of(emdb::detail::File&) override { return perform(Operation::take_permissions, name_, 0, 0, [] {}); }
    void set_name(const std::string& path) override { name_ = path; }

private:
    template <class Effect>
    Result<void> perform(Operation operation, const std::string& name, std::uint64_t offset, std::uint64_t length,
                         Effect&& effect) {
        if (!process_->alive) return machine_.refusal(*process_, operation, name).value();
        return machine_.perform(operation, name, offset, length, std::forward<Effect>(effect));
    }

    bool is_locked() const noexcept { return inode_->locked || inode_->shared_locks > 0; }

    // Keeps the file's memory for a mapping to read from.
    struct Mapped {
        std::shared_ptr<SimulatedInode> inode;
        explicit Mapped(std::shared_ptr<SimulatedInode> of) : inode(std::move(of)) { inode->add_mapping(); }
        Mapped(const Mapped&) = delete;
        Mapped& operator=(const Mapped&) = delete;
        ~Mapped() { inode->remove_mapping(); }
    };

    // The same to store to: knows where stores may come from while it lasts.
    struct Window {
        std::shared_ptr<SimulatedInode> inode;
        std::uint64_t begin, end;
        Window(std::shared_ptr<SimulatedInode> of, std::uint64_t from, std::uint64_t to)
            : inode(std::move(of)), begin(from), end(to) {
            inode->add_window(begin, end);
        }
        Window(const Window&) = delete;
        Window& operator=(const Window&) = delete;
        ~Window() { inode->remove_window(begin, end); }
    };

    template <class Effect>
    Result<void> grow(Operation operation, std::uint64_t offset, std::uint64_t length, Effect&& effect) {
        const std::lock_guard lock(machine_.mutex);
        if (auto refused = machine_.refusal(*process_, operation, name_)) return *std::move(refused);
        SimulatedMachine::Fate fate = machine_.enter(operation, name_, offset, length);
        if (!writable_) return machine_.violation(operation, name_, "it was opened for reading only");
        if (!cuts_mapped() && offset + length < inode_->size() && operation == Operation::truncate && inode_->is_mapped()) {
            return machine_.violation(operation, name_, "it is mapped, and can't be cut");
        }
        if (fate.os_error == 0 && !machine_.has_room(*inode_, offset + length)) {
            if (fate.cut) return machine_.leave(fate, operation, name_);
            fate.os_error = os_no_space;
        }
        if (fate.os_error != 0) return SimulatedMachine::error(operation, name_, fate.os_error);
        effect();
        return machine_.leave(fate, operation, name_);
    }

    Result<emdb::detail::Mapping> map(Operation operation, std::uint64_t offset, std::size_t length,
                                      const char* unallocated) {
        const bool writable = unallocated != nullptr;
        const Result<void> done = perform(operation, name_, offset, length, [] {});
        if (!done) return done.error();
        const std::lock_guard lock(machine_.mutex);
        if (offset % map_granularity() != 0) return machine_.violation(operation, name_, "it is not aligned");
        if (length == 0) return machine_.violation(operation, name_, "it is empty");
        if (offset > inode_->size_max() || length > inode_->size_max() - offset) {
            return SimulatedMachine::error(operation, name_, os_no_memory, "there is not enough address space");
        }
        if (writable && (!writable_ || !keeps_allocation() || !inode_->is_allocated(offset, offset + length))) {
            return machine_.violation(operation, name_, unallocated);
        }
        if (!writable && !maps_past_end() && offset + length > inode_->size()) {
            return machine_.violation(operation, name_, "it reaches beyond the end of the file");
        }
        std::shared_ptr<void> keep_alive;
        if (writable) {
            keep_alive = std::make_shared<Window>(inode_, offset, offset + length);
        } else {
            keep_alive = std::make_shared<Mapped>(inode_);
        }
        return emdb::detail::Mapping(inode_->data() + offset, length, nullptr, std::move(keep_alive));
    }

    SimulatedMachine& machine_;
    std::shared_ptr<const Process> process_ = machine_.process;
    std::string name_;
    std::shared_ptr<SimulatedInode> inode_;
    bool writable_;
    bool holds_lock_ = false;
};

}  // namespace emdb_test
