#pragma once
// HashTable: one shard's table of 64-byte buckets, and where a hash belongs in it.
//
// A bucket is a cache line of five slots. A slot holds the frame's offset (48 bits) and 48 bits of the key's hash, never the key:
// keys are compared in the file's map. 12.8 bytes a slot; growing never reads a key, because the stored bits are all that a
// larger table needs. Buckets are in hash order (the bucket is position * bucket_count / 2^32), so that
//   - growing by any factor streams from the old table to the new one, and can stop and go on at any bucket;
//   - an iterator's place is a hash position, which stays right however the table grows.
// A key whose home bucket is full lies in a following one (cyclically). Its home counts it as displaced and remembers four bits of
// its tag in a filter: nearly every lookup is over after one cache line, and removal needs no tombstones.

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>

#include "base/atomic.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

constexpr unsigned shard_bits = 6;
constexpr std::size_t shard_count = std::size_t{1} << shard_bits;
constexpr std::uint64_t offset_mask = (std::uint64_t{1} << 48) - 1;

/// The parts of a key's hash: 6 bits choose the shard, the next 32 the bucket, 16 more tell keys of a bucket apart.
class KeyHash {
public:
    constexpr explicit KeyHash(std::uint64_t hash) noexcept : hash_(hash) {}
    /// Stands for a whole shard where only that counts.
    static constexpr KeyHash in_shard(std::size_t shard) noexcept { return KeyHash(std::uint64_t{shard} << 58); }
    constexpr std::uint64_t value() const noexcept { return hash_; }
    constexpr std::size_t shard() const noexcept { return static_cast<std::size_t>(hash_ >> 58); }
    constexpr std::uint32_t position() const noexcept { return static_cast<std::uint32_t>(hash_ >> 26); }
    constexpr std::uint16_t tag() const noexcept { return static_cast<std::uint16_t>(hash_ >> 10); }
    /// A slot's word for a frame at `offset`.
    constexpr std::uint64_t slot(std::uint64_t offset) const noexcept {
        return (static_cast<std::uint64_t>(tag()) << 48) | offset;
    }

private:
    std::uint64_t hash_;
};

constexpr std::size_t slots_per_bucket = 5;

/// All words are atomics because readers look while a writer changes them; the shard's sequence counter tells them to look
/// again. A slot of 0 is empty.
struct alignas(64) Bucket {
    Atomic<std::uint64_t> slot[slots_per_bucket];
    Atomic<std::uint32_t> position[slots_per_bucket];
    /// Low 16 bits: how many keys are displaced, 65,535 meaning that many or more. High 16 bits: a bit for each value that the
    /// last four bits of a displaced key's tag have had.
    Atomic<std::uint32_t> displaced;
};
static_assert(sizeof(Bucket) == 64);

/// One piece of memory for many tables that are made at the same time: together they are large enough for huge pages, which are
/// made and looked up many times as quickly. Kept by its maker and by every table in it.
class TableArena {
public:
    /// Null: out of memory.
    static TableArena* create(std::size_t size) noexcept {
        auto* arena = new (std::nothrow) TableArena(size);
        if (arena == nullptr || arena->data_ != nullptr) return arena;
        delete arena;
        return nullptr;
    }
    TableArena(const TableArena&) = delete;
    TableArena& operator=(const TableArena&) = delete;

    std::byte* data() const noexcept { return data_; }
    void retain() noexcept { keepers_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (keepers_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

private:
    explicit TableArena(std::size_t size) noexcept : size_(size), data_(static_cast<std::byte*>(allocate_pages(size))) {}
    ~TableArena() { release_pages(data_, size_); }

    const std::size_t size_;
    std::byte* const data_;
    Atomic<std::uint32_t> keepers_{1};
};

class HashTable {
public:
    /// Null: out of memory.
    static HashTable* create(std::uint32_t bucket_count) noexcept {
        auto* table = new (std::nothrow) HashTable(bucket_count);
        if (table == nullptr || table->buckets_ != nullptr) return table;
        delete table;
        return nullptr;
    }
    /// In a part of an arena that has room for the buckets.
    static HashTable* create(std::uint32_t bucket_count, TableArena& arena, std::size_t at) noexcept {
        return new (std::nothrow) HashTable(bucket_count, arena, at);
    }
    /// Tables of this size have pages of their own.
    static bool has_pages(std::size_t size) noexcept { return size >= pages_min; }
    static void destroy(void* table) noexcept { delete static_cast<HashTable*>(table); }

    HashTable(const HashTable&) = delete;
    HashTable& operator=(const HashTable&) = delete;

    std::uint32_t bucket_count() const noexcept { return bucket_count_; }
    std::size_t bytes() const noexcept { return sizeof(HashTable) + bucket_count_ * sizeof(Bucket); }
    Bucket& bucket(std::uint32_t index) const noexcept { return buckets_[index]; }
    std::uint32_t home(std::uint32_t position) const noexcept {
        return static_cast<std::uint32_t>((static_cast<std::uint64_t>(position) * bucket_count_) >> 32);
    }
    std::uint32_t after(std::uint32_t index) const noexcept { return index + 1 == bucket_count_ ? 0 : index + 1; }
    /// The smallest position whose home is `index`; 2^32 for the bucket count itself.
    std::uint64_t first_position(std::uint32_t index) const noexcept {
        return ((static_cast<std::uint64_t>(index) << 32) + bucket_count_ - 1) / bucket_count_;
    }

    /// Puts a slot into the first free place from its home on; there must be one. The caller is the shard's writer. Release
    /// stores: see HashIndex::Change.
    void place(std::uint32_t position, std::uint64_t slot) noexcept {
        const std::uint32_t first = home(position);
        for (std::uint32_t b = first;; b = after(b)) {
            Bucket& bucket = buckets_[b];
            for (std::size_t i = 0; i < slots_per_bucket; ++i) {
                if (bucket.slot[i].load(std::memory_order_relaxed) != 0) continue;
                bucket.position[i].store(position, std::memory_order_release);
                bucket.slot[i].store(slot, std::memory_order_release);
                if (b != first) count_displaced(buckets_[first], static_cast<std::uint16_t>(slot >> 48));
                return;
            }
        }
    }

    void remove(std::uint32_t index, std::size_t slot) noexcept {
        Bucket& bucket = buckets_[index];
        const std::uint32_t first = home(bucket.position[slot].load(std::memory_order_relaxed));
        bucket.slot[slot].store(0, std::memory_order_release);
        if (index != first) uncount_displaced(buckets_[first]);
    }

    /// What find_at_home says when no slot has the position.
    static constexpr std::uint64_t no_slot = ~std::uint64_t{0};

    /// For nearly all lookups: the last slot of the position's own bucket that has the position, and the bucket's displaced word.
    /// Safe for readers. Selected without branches: which of the slots it is can't be predicted, and a wrong guess that waits for
    /// a cache miss costs as much as the miss.
    [[gnu::always_inline]] std::uint64_t find_at_home(std::uint32_t position, std::uint32_t& displaced) const noexcept {
        const Bucket& own = buckets_[home(position)];
        std::uint64_t found = no_slot;
        static_assert(slots_per_bucket == 5);
        found = slot_if(own, 0, position, found);
        found = slot_if(own, 1, position, found);
        found = slot_if(own, 2, position, found);
        found = slot_if(own, 3, position, found);
        found = slot_if(own, 4, position, found);
        displaced = own.displaced.load(std::memory_order_acquire);
        return found;
    }
    /// Whether keys with this tag may be displaced from a bucket.
    static bool may_be_displaced(std::uint32_t displaced, std::uint16_t tag) noexcept {
        return (displaced & filter_bit(tag)) != 0;
    }

    /// Calls f(bucket index, slot index, slot) for every slot with this position and tag, until f returns false. Safe for readers:
    /// acquire loads, and never more than one round through the table whatever a concurrent writer does.
    template <class F>
    void for_each_match(std::uint32_t position, std::uint16_t tag, F&& f) const {
        const std::uint32_t first = home(position);
        const Bucket& own = buckets_[first];
        // Without branches on the single slots: which one it is can't be predicted.
        unsigned matches = 0;
        for (unsigned i = 0; i < slots_per_bucket; ++i) {
            matches |= static_cast<unsigned>(own.position[i].load(std::memory_order_acquire) == position) << i;
        }
        for (; matches != 0; matches &= matches - 1) {
            const auto i = static_cast<std::size_t>(std::countr_zero(matches));
            const std::uint64_t slot = own.slot[i].load(std::memory_order_acquire);
            if (slot != 0 && slot >> 48 == tag && !f(first, i, slot)) return;
        }
        const std::uint32_t displaced = own.displaced.load(std::memory_order_acquire);
        if (!may_be_displaced(displaced, tag)) [[likely]] return;
        for_each_displaced(first, displaced, [&](std::uint32_t b, std::size_t i, std::uint32_t at, std::uint64_t slot) {
            return at != position || slot >> 48 != tag || f(b, i, slot);
        });
    }

    /// Calls f(bucket index, slot index, position, slot) for every slot whose home is `first`, until f returns false. Safe for
    /// readers as for_each_match.
    template <class F>
    void for_each_at_home(std::uint32_t first, F&& f) const {
        const Bucket& own = buckets_[first];
        for (std::size_t i = 0; i < slots_per_bucket; ++i) {
            const std::uint64_t slot = own.slot[i].load(std::memory_order_acquire);
            if (slot == 0) continue;
            const std::uint32_t position = own.position[i].load(std::memory_order_acquire);
            if (home(position) == first && !f(first, i, position, slot)) return;
        }
        for_each_displaced(first, own.displaced.load(std::memory_order_acquire), f);
    }

    /// The buckets as they lie in memory, to be copied while nobody changes them, or filled while nobody looks.
    std::span<std::byte> memory() const noexcept {
        return {reinterpret_cast<std::byte*>(buckets_), std::size_t{bucket_count_} * sizeof(Bucket)};
    }

    /// Judges a table that was filled from outside: whether it holds that many records at offsets below `end`, and is one that
    /// lookups, growth and removal get through without long ways. Keys may still be in wrong places.
    bool is_sound(std::uint64_t records, std::uint64_t end) const noexcept;

private:
    [[gnu::always_inline]] static std::uint64_t slot_if(const Bucket& bucket, std::size_t i, std::uint32_t position,
                                                        std::uint64_t otherwise) noexcept {
        const std::uint64_t slot = bucket.slot[i].load(std::memory_order_acquire);
        return bucket.position[i].load(std::memory_order_acquire) == position ? slot : otherwise;
    }

    static constexpr std::size_t pages_min = 32768;

    explicit HashTable(std::uint32_t bucket_count) noexcept : bucket_count_(bucket_count) {
        const std::size_t size = std::size_t{bucket_count} * sizeof(Bucket);
        if (size >= pages_min) {
            buckets_ = static_cast<Bucket*>(allocate_pages(size));  // zeroed, which is what an empty bucket is
        } else {
            buckets_ = static_cast<Bucket*>(::operator new(size, std::align_val_t{alignof(Bucket)}, std::nothrow));
            for (std::uint32_t i = 0; buckets_ != nullptr && i < bucket_count; ++i) new (buckets_ + i) Bucket{};
        }
    }
    HashTable(std::uint32_t bucket_count, TableArena& arena, std::size_t at) noexcept
        : bucket_count_(bucket_count), buckets_(reinterpret_cast<Bucket*>(arena.data() + at)), arena_(&arena) {
        arena.retain();
    }
    ~HashTable() {
        const std::size_t size = std::size_t{bucket_count_} * sizeof(Bucket);
        if (buckets_ == nullptr) return;
        if (arena_ != nullptr) {
            give_back_pages(buckets_, size);
            arena_->release();
        } else if (size >= pages_min) {
            release_pages(buckets_, size);
        } else {
            ::operator delete(buckets_, std::align_val_t{alignof(Bucket)});
        }
    }

    static constexpr std::uint32_t displaced_mask = 0xFFFF;

    static constexpr std::uint32_t filter_bit(std::uint16_t tag) noexcept { return std::uint32_t{1} << (16 + tag % 16); }

    static void count_displaced(Bucket& home, std::uint16_t tag) noexcept {
        std::uint32_t word = home.displaced.load(std::memory_order_relaxed) | filter_bit(tag);
        if ((word & displaced_mask) != displaced_mask) ++word;
        home.displaced.store(word, std::memory_order_release);
    }
    static void uncount_displaced(Bucket& home) noexcept {
        std::uint32_t word = home.displaced.load(std::memory_order_relaxed);
        if ((word & displaced_mask) != displaced_mask) --word;
        if ((word & displaced_mask) == 0) word = 0;
        home.displaced.store(word, std::memory_order_release);
    }

    template <class F>
    void for_each_displaced(std::uint32_t first, std::uint32_t displaced, F&& f) const {
        std::uint32_t missing = displaced & displaced_mask;
        if (missing == displaced_mask) missing = UINT32_MAX;
        for (std::uint32_t b = after(first); missing != 0 && b != first; b = after(b)) {
            const Bucket& bucket = buckets_[b];
            for (std::size_t i = 0; i < slots_per_bucket && missing != 0; ++i) {
                const std::uint64_t slot = bucket.slot[i].load(std::memory_order_acquire);
                if (slot == 0) continue;
                const std::uint32_t position = bucket.position[i].load(std::memory_order_acquire);
                if (home(position) != first) continue;
                --missing;
                if (!f(b, i, position, slot)) return;
            }
        }
    }

    const std::uint32_t bucket_count_;
    Bucket* buckets_ = nullptr;
    TableArena* const arena_ = nullptr;
};

inline bool HashTable::is_sound(std::uint64_t records, std::uint64_t end) const noexcept {
    // What homes say is displaced, less what is found.
    const std::unique_ptr<std::uint16_t[]> missing(new (std::nothrow) std::uint16_t[bucket_count_]);
    if (missing == nullptr) return false;
    std::uint64_t said = 0;
    for (std::uint32_t b = 0; b < bucket_count_; ++b) {
        missing[b] = static_cast<std::uint16_t>(buckets_[b].displaced.load(std::memory_order_relaxed) & displaced_mask);
        said += missing[b];
    }
    std::uint64_t slots = 0;
    std::uint64_t displaced = 0;
    std::uint64_t way = 0;
    std::uint64_t highest = 0;
    // first_position() of one bucket after the other, without dividing: 2^32 * b / bucket_count and what is left of it.
    const std::uint64_t step = (std::uint64_t{1} << 32) / bucket_count_;
    const std::uint64_t step_rest = (std::uint64_t{1} << 32) % bucket_count_;
    std::uint64_t quotient = 0;
    std::uint64_t rest = 0;
    for (std::uint32_t b = 0; b < bucket_count_; ++b) {
        const Bucket& bucket = buckets_[b];
        const auto first_here = static_cast<std::uint32_t>(quotient + (rest != 0));
        rest += step_rest;
        const bool carry = rest >= bucket_count_;
        quotient += step + carry;
        rest -= carry ? bucket_count_ : 0;
        const auto last_here = static_cast<std::uint32_t>(quotient + (rest != 0) - 1) - first_here;
        // Without branches on the single slots: which are empty or displaced can't be predicted.
        unsigned away = 0;
        const auto look_at = [&](unsigned i) {
            const std::uint64_t slot = bucket.slot[i].load(std::memory_order_relaxed);
            const unsigned used = slot != 0;
            slots += used;
            highest = (std::max)(highest, slot & offset_mask);
            away |= (used & static_cast<unsigned>(bucket.position[i].load(std::memory_order_relaxed) - first_here > last_here)) << i;
        };
        static_assert(slots_per_bucket == 5);
        look_at(0);
        look_at(1);
        look_at(2);
        look_at(3);
        look_at(4);
        for (; away != 0; away &= away - 1) {
            const std::uint32_t first = home(bucket.position[std::countr_zero(away)].load(std::memory_order_relaxed));
            --missing[first];
            ++displaced;
            way += b > first ? b - first : b + bucket_count_ - first;
        }
    }
    std::uint32_t left = 0;
    for (std::uint32_t b = 0; b < bucket_count_; ++b) left |= missing[b];
    constexpr std::uint64_t way_for_a_slot = 16;  // a full table's, and more; at the usual load it is below one bucket
    return left == 0 && highest < end && slots == records && displaced == said &&
           way <= way_for_a_slot * slots_per_bucket * bucket_count_;
}

}  // namespace emdb::detail
