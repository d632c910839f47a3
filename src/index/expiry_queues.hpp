#pragma once
// ExpiryQueues: which records of a keyspace expire, soonest first, so that a sweep finds its victims without looking at others.
//
// One binary heap of {expiry, offset, hash} for each shard of the hash index, guarded by that shard's stripe. Only records with
// an expiry have an entry (24 bytes); a keyspace that never had one costs a null pointer. Entries are not searched for when a
// record is replaced or removed: they stay behind as garbage, and whoever takes one out asks the index whether the key's slot
// still holds the same offset. Offsets are never used twice, so that is an exact test of "still the same record".
//
//   1. Every record with an expiry that the index holds has an entry.
//   2. After tidy() at most half of the entries plus a few are garbage. It costs as much as it drops, so garbage is paid for by
//      the writes that made it.
//   3. Adding never fails: room is made before the frame is written.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>

#include "base/config.hpp"
#include "index/hash_index.hpp"

#if EMDB_TTL

namespace emdb::detail {

class ExpiryQueues {
    struct Queue;

public:
    struct Entry {
        std::uint64_t expiry_unix_ms;
        std::uint64_t offset;
        std::uint64_t hash;
    };

    explicit ExpiryQueues(const HashIndex& index) noexcept : index_(index) {}
    ExpiryQueues(const ExpiryQueues&) = delete;
    ExpiryQueues& operator=(const ExpiryQueues&) = delete;
    ~ExpiryQueues() { delete queues_.load(std::memory_order_relaxed); }

    // --- any thread ---------------------------------------------------------------------------------------------------------

    /// Whether the keyspace ever had a record with an expiry since it was opened.
    bool in_use() const noexcept { return queues_.load(std::memory_order_acquire) != nullptr; }
    /// False: nothing in the shard has expired by `now`. True: perhaps; look under the stripe.
    bool is_due(std::size_t shard, std::uint64_t now) const noexcept {
        const Queues* queues = queues_.load(std::memory_order_acquire);
        return queues != nullptr && (*queues)[shard].soonest.load(std::memory_order_relaxed) <= now;
    }
    std::size_t memory_bytes() const noexcept { return memory_bytes_.load(std::memory_order_relaxed); }

    // --- the holder of the shard's stripe -----------------------------------------------------------------------------------

    /// Makes sure that `count` entries can be added without allocating; false: out of memory. Drops garbage first.
    [[gnu::noinline]] bool make_room(std::size_t shard, std::size_t count) noexcept {
        tidy(shard);
        if (count == 0) return true;
        Queues* queues = queues_.load(std::memory_order_acquire);
        if (queues == nullptr && (queues = create()) == nullptr) return false;
        Queue& queue = (*queues)[shard];
        const std::size_t wanted = queue.size + count;
        return wanted <= queue.capacity || resize(queue, (std::max)({wanted, queue.capacity + queue.capacity / 2, entries_min}));
    }

    /// After make_room().
    [[gnu::noinline]] void add(std::size_t shard, const Entry& entry) noexcept {
        Queue& queue = queue_of(shard);
        queue.entries[queue.size++] = entry;
        std::push_heap(queue.begin(), queue.end(), Later());
        ++queue.current;
        queue.publish_soonest();
    }

    /// A record with an expiry was replaced or removed; its entry is garbage now. A damaged frame may be taken for one that had
    /// an expiry, or the other way round, so the count is an estimate until the next tidy().
    [[gnu::noinline]] void became_garbage(std::size_t shard) noexcept {
        if (!in_use()) return;
        Queue& queue = queue_of(shard);
        if (queue.current != 0) --queue.current;
    }

    /// Drops garbage if there is too much of it.
    void tidy(std::size_t shard) noexcept {
        Queues* queues = queues_.load(std::memory_order_acquire);
        if (queues == nullptr) [[likely]] return;
        Queue& queue = (*queues)[shard];
        if (queue.size > 2 * queue.current + garbage_allowed) drop_garbage(queue);
    }

    /// Forgets every entry. The caller holds all stripes.
    void clear() noexcept {
        Queues* queues = queues_.load(std::memory_order_acquire);
        if (queues == nullptr) return;
        for (Queue& queue : *queues) {
            queue.size = 0;
            queue.current = 0;
            shrink(queue);
            queue.publish_soonest();
        }
    }

    /// For keeping a queue elsewhere: its entries, and how many of them are not garbage.
    std::span<const Entry> entries(std::size_t shard) const noexcept {
        Queues* queues = queues_.load(std::memory_order_acquire);
        if (queues == nullptr) return {};
        return {(*queues)[shard].begin(), (*queues)[shard].size};
    }
    std::size_t current(std::size_t shard) const noexcept {
        const Queues* queues = queues_.load(std::memory_order_acquire);
        return queues == nullptr ? 0 : (*queues)[shard].current;
    }
    /// Fills an empty queue of a keyspace that nobody else uses yet. False: out of memory.
    bool restore(std::size_t shard, std::span<const Entry> entries, std::size_t current) noexcept {
        Queues* queues = queues_.load(std::memory_order_acquire);
        if (queues == nullptr && (queues = create()) == nullptr) return false;
        Queue& queue = (*queues)[shard];
        if (!resize(queue, entries.size())) return false;
        std::copy(entries.begin(), entries.end(), queue.begin());
        queue.size = entries.size();
        queue.current = (std::min)(current, queue.size);
        std::make_heap(queue.begin(), queue.end(), Later());
        queue.publish_soonest();
        return true;
    }

    /// Takes entries that are due out of a shard's queue, soonest first. They go back at its destruction, unless drop() was called.
    class Due {
    public:
        Due(ExpiryQueues& queues, std::size_t shard) noexcept
            : queues_(queues), queue_(queues.queue_of(shard)), waiting_(queue_.size) {}
        Due(const Due&) = delete;
        Due& operator=(const Due&) = delete;
        ~Due() {
            while (waiting_ != queue_.size) std::push_heap(queue_.begin(), queue_.begin() + ++waiting_, Later());
            queue_.publish_soonest();
        }

        /// Null: no more. Valid until drop().
        const Entry* take(std::uint64_t now) noexcept {
            if (waiting_ == 0 || queue_.entries[0].expiry_unix_ms > now) return nullptr;
            std::pop_heap(queue_.begin(), queue_.begin() + waiting_, Later());
            return &queue_.entries[--waiting_];
        }
        /// The entries taken are done with.
        void drop() noexcept {
            queue_.size = waiting_;
            queues_.shrink(queue_);
        }

    private:
        ExpiryQueues& queues_;
        Queue& queue_;
        std::size_t waiting_;  ///< entries before this one are the heap, those behind were taken
    };

private:
    static constexpr std::size_t entries_min = 4;
    static constexpr std::size_t garbage_allowed = 32;

    struct alignas(64) Queue {
        std::atomic<std::uint64_t> soonest{UINT64_MAX};  ///< of the first entry, for those who hold no stripe
        std::unique_ptr<Entry[]> entries;                ///< the first `size` are a heap
        std::size_t size = 0;
        std::size_t capacity = 0;
        std::size_t current = 0;  ///< entries that are not garbage

        Entry* begin() noexcept { return entries.get(); }
        Entry* end() noexcept { return entries.get() + size; }
        void publish_soonest() noexcept {
            soonest.store(size == 0 ? UINT64_MAX : entries[0].expiry_unix_ms, std::memory_order_relaxed);
        }
    };
    using Queues = std::array<Queue, shard_count>;

    struct Later {
        bool operator()(const Entry& a, const Entry& b) const noexcept { return a.expiry_unix_ms > b.expiry_unix_ms; }
    };

    Queue& queue_of(std::size_t shard) const noexcept { return (*queues_.load(std::memory_order_acquire))[shard]; }

    bool is_current(const Entry& entry) const noexcept {
        return static_cast<bool>(index_.locate(KeyHash(entry.hash), [&](std::uint64_t offset) { return offset == entry.offset; }));
    }

    // Holders of different stripes may be here at once; so whoever uses the pointer loads it with acquire, since another stripe's holder
    // may have made what it points at.
    Queues* create() noexcept {
        auto* created = new (std::nothrow) Queues;
        if (created == nullptr) return queues_.load(std::memory_order_acquire);
        Queues* existing = nullptr;
        if (!queues_.compare_exchange_strong(existing, created, std::memory_order_acq_rel)) {
            delete created;
            return existing;
        }
        memory_bytes_.fetch_add(sizeof(Queues), std::memory_order_relaxed);
        return created;
    }

    bool resize(Queue& queue, std::size_t capacity) noexcept {
        std::unique_ptr<Entry[]> moved(capacity == 0 ? nullptr : new (std::nothrow) Entry[capacity]);
        if (capacity != 0 && moved == nullptr) return false;
        std::copy(queue.begin(), queue.end(), moved.get());
        queue.entries = std::move(moved);
        memory_bytes_.fetch_add((capacity - queue.capacity) * sizeof(Entry), std::memory_order_relaxed);  // modulo 2^64
        queue.capacity = capacity;
        return true;
    }

    void shrink(Queue& queue) noexcept {
        if (queue.capacity <= 4 * queue.size + garbage_allowed) return;
        (void)resize(queue, queue.size + queue.size / 2);  // out of memory: it stays as it is
    }

    [[gnu::noinline]] void drop_garbage(Queue& queue) noexcept {
        constexpr std::size_t ahead = 16;
        std::size_t kept = 0;
        for (std::size_t i = 0; i < queue.size; ++i) {
            if (i + ahead < queue.size) index_.prefetch(KeyHash(queue.entries[i + ahead].hash));
            if (is_current(queue.entries[i])) queue.entries[kept++] = queue.entries[i];
        }
        queue.size = kept;
        queue.current = queue.size;
        std::make_heap(queue.begin(), queue.end(), Later());
        shrink(queue);
        queue.publish_soonest();
    }

    const HashIndex& index_;
    std::atomic<Queues*> queues_{nullptr};
    std::atomic<std::size_t> memory_bytes_{0};
};

}  // namespace emdb::detail

#endif  // EMDB_TTL
