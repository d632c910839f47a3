#pragma once
// Flusher: makes the journal durable, one sync at a time, and records in the journal what a sync has vouched for.
//
//   - `durable_` only ever moves to a watermark that was read before a sync that succeeded.
//   - A failed sync is final. The kernel may have marked the pages clean, so that a later sync "succeeds" without writing them:
//     the journal is poisoned and no sync is ever tried again.
//   - After a sync that covered something, a sync mark is appended: recovery tells damage (below a mark) from a torn tail (above
//     all marks) by it. The mark itself rides along with the next sync.

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "base/atomic.hpp"
#include "base/atomic_wait.hpp"
#include "base/options.hpp"
#include "base/result.hpp"
#include "journal/journal.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

class Flusher {
public:
    Flusher(File& file, Journal& journal, const std::string& path) noexcept : file_(file), journal_(journal), path_(path) {}

    /// Everything below `end` is durable, and the marks below `marked_end` are all that is needed to say so.
    void start_at(std::uint64_t end, std::uint64_t marked_end) noexcept {
        durable_.store(end, std::memory_order_relaxed);
        nothing_new_end_ = marked_end;
    }

    /// Everything that completed before the call is durable when it returns. With `shared`, a sync that another caller began
    /// after this call does as well as an own one: callers that find a sync under way wait for it together, and one of those that
    /// it did not cover leads the next one for all of them.
    Result<void> flush(bool shared) {
        const std::uint64_t target = journal_.completed();
        for (;;) {
            const std::uint32_t round = rounds_.load(std::memory_order_acquire);
            {
                const std::lock_guard lock(mutex_);
                // A close has synced everything, and what it synced stays durable.
                if (target <= durable_.load(std::memory_order_relaxed) && (shared || closed_)) return {};
                if (closed_) return Error(ErrorCode::stopped, "'" + path_ + "' was closed. Open it again to use it.");
                if (journal_.poisoned()) return Journal::poisoned_error(path_);
                if (target <= nothing_new_end_) return {};
                if (!syncing_) {
                    syncing_ = true;
                    break;
                }
            }
            wait_for_change(rounds_, round, std::memory_order_acquire);
        }
        return lead([this] { return sync_and_mark(); });
    }

#if EMDB_ENCRYPT
    /// Begins a session of the journal's sealer, which has room for it: see there. By the holder of all stripes; as the one that syncs,
    /// nobody else appends a mark meanwhile or takes this sync's failure for its own.
    Result<void> begin_session(Sealer& sealer, const SessionRandom& random) {
        wait_to_lead([] {});
        return lead([&]() -> Result<void> {
            if (auto appended = journal_.append_session(random); !appended) return std::move(appended).error();
            if (auto synced = sync_file(); !synced) return synced;
            if (sealer.begin_sealing()) return {};
            return Error(ErrorCode::io, "Out of memory for a cipher of '" + path_ + "'. Free some; nothing was written.");
        });
    }
#endif

    /// The end of a clean close, when no append is under way: durable data first, then the mark that vouches for it. Later
    /// flushes answer `stopped`, whether this one succeeds or not.
    Result<void> close() {
        wait_to_lead([this] { closed_ = true; });
        return lead([this] { return journal_.poisoned() ? Journal::poisoned_error(path_) : sync_and_cut_back(); });
    }

    /// Whether a close by now would find the journal as the last one left it.
    bool closes_without_mark() noexcept {
        const std::lock_guard lock(mutex_);
        return journal_.completed() == nothing_new_end_ && last_mark_closes_;
    }

    /// Up to where the journal is known to have reached the disk.
    std::uint64_t durable_end() const noexcept { return durable_.load(std::memory_order_relaxed); }

    /// The journal ends with a close mark: a close without writes in between need not add one.
    void ends_with_close_mark() noexcept { last_mark_closes_ = true; }

private:
    // Becomes the only one that syncs, calling first() under the lock before.
    template <class First>
    void wait_to_lead(First&& first) {
        for (;;) {
            const std::uint32_t round = rounds_.load(std::memory_order_acquire);
            {
                const std::lock_guard lock(mutex_);
                first();
                if (!syncing_) {
                    syncing_ = true;
                    return;
                }
            }
            wait_for_change(rounds_, round, std::memory_order_acquire);
        }
    }

    // Its end lets the others go on, also when making an error's message runs out of memory.
    class Leading {
    public:
        explicit Leading(Flusher& flusher) noexcept : flusher_(flusher) {}
        Leading(const Leading&) = delete;
        Leading& operator=(const Leading&) = delete;
        ~Leading() {
            {
                const std::lock_guard lock(flusher_.mutex_);
                flusher_.syncing_ = false;
            }
            flusher_.rounds_.fetch_add(1, std::memory_order_release);
            wake_waiters(flusher_.rounds_);
        }

    private:
        Flusher& flusher_;
    };

    // Runs `work` as the only one that syncs, then lets everybody who waits look again.
    template <class Work>
    Result<void> lead(Work&& work) {
        const Leading leading(*this);
        return work();
    }

    Result<void> sync_and_mark() {
        if (auto synced = sync_file(); !synced) return synced;
        // A mark that can't be appended (no space) costs nothing but precision at the next recovery.
        const std::uint64_t durable = durable_.load(std::memory_order_relaxed);
        if (auto marked = append_mark(FrameKind::sync_mark); marked && marked_at_ == durable) {
            const std::lock_guard lock(mutex_);
            nothing_new_end_ = marked_end_;
        }
        return {};
    }

    Result<void> sync_and_cut_back() {
        const bool nothing_new = journal_.completed() == nothing_new_end_;
        if (nothing_new && last_mark_closes_ && journal_.is_cut_back()) return {};
        if (!nothing_new) {
            if (auto synced = sync_file(); !synced) return synced;
        }
        if (!nothing_new || !last_mark_closes_) {
            if (auto marked = append_mark(FrameKind::close_mark); !marked) return marked;
        }
        if (auto cut = journal_.cut_back(); !cut) return cut;
        return sync_file();
    }

    Result<void> sync_file() {
        const std::uint64_t covered = journal_.completed();
        if (auto synced = file_.sync(); !synced) {
            journal_.poison(synced.error().message());
            return Error(ErrorCode::io, synced.error().message() + " What was written since the last flush may or may not be found "
                         "after reopening '" + path_ + "'; until then nothing more is written to it.")
                .with_os_error(synced.error().os_error());
        }
        journal_.synced(covered);
        durable_.store(covered, std::memory_order_relaxed);
        return {};
    }

    Result<void> append_mark(FrameKind kind) {
        std::byte value[mark_value_size];
        store_le(value, durable_.load(std::memory_order_relaxed));
        FrameContent mark;
        mark.kind = kind;
        mark.value = Bytes(value, sizeof value);
        auto offset = journal_.append(mark);
        if (!offset) return std::move(offset).error();
        marked_at_ = *offset;
        marked_end_ = *offset + journal_.mark_size();
        last_mark_closes_ = kind == FrameKind::close_mark;
        return {};
    }

    File& file_;
    Journal& journal_;
    const std::string& path_;
    Atomic<std::uint64_t> durable_{0};
    Atomic<std::uint32_t> rounds_{0};  ///< how many syncs have ended; what waiters wait for
    Mutex mutex_;                      ///< held for moments only; guards the next three
    bool syncing_ = false;
    bool closed_ = false;
    // When the watermark is here, all that lies above durable_ is the mark that says so: there is nothing to sync.
    std::uint64_t nothing_new_end_ = 0;
    // The syncing thread's own.
    std::uint64_t marked_at_ = 0;
    std::uint64_t marked_end_ = 0;
    bool last_mark_closes_ = false;
};

}  // namespace emdb::detail
