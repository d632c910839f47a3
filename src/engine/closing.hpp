#pragma once
// Flushing, closing, counting.

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <string>

#include "engine/engine.hpp"
#include "engine/lock_file.hpp"

namespace emdb::detail {

Result<void> Engine::flush() {
    if (auto allowed = refuse_write(); !allowed) return allowed;
    if (state_.load(std::memory_order_acquire) != State::open) return stopped_error();
    if (in_memory_) return {};
    const auto generation = reference();
    // Also where nothing is left to be synced: who is told of no failure goes on writing in vain.
    if (generation->journal().poisoned()) return Journal::poisoned_error(path_);
    return generation->flusher().flush(options_.flush_policy.kind() != FlushPolicy::Kind::on_each_flush);
}

Result<void> Engine::close() {
    if (auto allowed = refuse_write(); !allowed) return allowed;
    closing_.store(true, std::memory_order_relaxed);
    stop_auto_compaction();
    const std::lock_guard maintenance(maintenance_);
    const WritersStandBack stand_back(*this);
    const AllStripes lock(*this);
    if (state_.load(std::memory_order_relaxed) == State::closed) return {};
    auto flushed = in_memory_ ? Result<void>() : close_journal();
    state_.store(State::closed, std::memory_order_release);
    if (in_memory_) return flushed;
    if (flushed) checkpoint_at_close();
    if (auto removed = environment_.files().remove(lock_file_path(absolute_path_)); !removed) {
        log(LogLevel::warning, "The lock file of '" + path_ + "' stays behind: " + removed.error().message());
    }
    generation().close_file();
    return flushed;
}

Result<void> Engine::close_journal() {
    Flusher& flusher = generation().flusher();
    // The close mark is sealed like any frame.
    if (wants_session() && !journal().poisoned() && !flusher.closes_without_mark()) {
        if (auto begun = begin_session(); !begun) return begun;
    }
    return flusher.close();
}

// A destructor has nobody to pass an exception on to. What was not done is what a killed process leaves, which the next opening settles.
void Engine::close_with_last_handle() noexcept {
    const auto close_and_tell = [this] {
        if (auto closed = close(); !closed) {
            log(LogLevel::error, "'" + path_ + "' could not be closed cleanly: " + closed.error().message());
        }
    };
#if EMDB_EXCEPTIONS
    try {
        close_and_tell();
    } catch (...) {
        // No memory, and so none to tell of it either; or the callback for the log threw.
    }
#else
    close_and_tell();
#endif
}

Engine::~Engine() {
    Generation* const last = generation_.load(std::memory_order_relaxed);
    if (last == nullptr) return;
    const OwnedGeneration owned(last);
    // A forked child's copy: the database is the parent's, whose locks may have been held at the fork, and so are its threads.
    if (fork_count_ != fork_count()) {
        forget_auto_compaction();
        return;
    }
    if (state_.load(std::memory_order_relaxed) == State::open) {
        close_with_last_handle();
    }
    // A generation that still waits for a reader keeps indexes, and those keep the pins: nobody would free any of them.
    pins_->reclaim_all();
}

/// What of a file no live record needs.
constexpr std::uint64_t dead_of(std::uint64_t file_size, std::uint64_t frame_bytes) noexcept {
    return file_size - (std::min)(journal_start + frame_bytes, file_size);
}

std::uint64_t Engine::dead_bytes() const noexcept {
    std::uint64_t frame_bytes = 0;
    for (const Stripe& stripe : stripes_) frame_bytes += stripe.frame_bytes.load(std::memory_order_relaxed);
    return dead_of(reference()->journal().completed(), frame_bytes);
}

Result<EmdbStats> Engine::stats() const {
    if (!usable(*default_keyspace_)) return stopped_error();
    EmdbStats stats;
    std::uint64_t frame_bytes = 0;
    for (const Stripe& stripe : stripes_) {
        stats.live_records += static_cast<std::size_t>(stripe.records.load(std::memory_order_relaxed));
        stats.logical_size_bytes += stripe.logical_bytes.load(std::memory_order_relaxed);
        frame_bytes += stripe.frame_bytes.load(std::memory_order_relaxed);
    }
    const GenerationRef current = reference();
    const Journal& journal = current->journal();
    stats.file_size_bytes = journal.completed();
    stats.preallocated_bytes = journal.allocated() - stats.file_size_bytes;
    stats.dead_bytes = dead_of(stats.file_size_bytes, frame_bytes);
    stats.range_scans_enabled = options_.range_scans;
    stats.encrypted = journal.seals();
    const std::lock_guard lock(registry_);
    stats.namespace_count = namespaces_.size();
    const Pins::Pin pin(*pins_);
    stats.index_bytes = default_keyspace_->index().memory_bytes() + (ordered_nodes_ == nullptr ? 0 : ordered_nodes_->memory_bytes());
    for (const auto& entry : namespaces_) {
        stats.index_bytes += sizeof(KeyspaceState) + sizeof(KeyspaceIndex) + entry.second->index().memory_bytes();
    }
    return stats;
}

}  // namespace emdb::detail
