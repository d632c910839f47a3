#pragma once
// HashIndex: from a key's hash to the offsets of the frames that may be the key's. Read without locks.
//
// Sixty-four shards, each a table with a sequence counter (a seqlock). Writers of one shard are serialised by the engine's stripe
// locks; a writer makes the counter odd, changes the table, makes it even. A reader notes an even counter, looks, and looks again
// if the counter has changed. Memory order, without fences:
//   - writer: odd (relaxed), then every data word by a release store, then even (seq_cst).
//   - reader: counter (acquire), every data word by an acquire load, counter again (relaxed).
//     If an acquire load sees a word that a writer stored, it also sees that writer's odd counter, so the second look at the
//     counter differs from the first. Acquire loads are not reordered with the second look, which comes after them.
// Tables are freed through Pins, so readers hold a Pin; writers need none, because only they replace tables. Pins asks for
// sequentially consistent loads of `table` only: a reader that comes too late to hold a table back finds null there, and does not
// look at `next`, or acquires what was stored after that table had been taken out of `next`, too.
//
// Growth is incremental. While a shard has a `next` table, homes below `boundary` of the old table have moved there; each
// insertion moves some more. Moved slots stay behind in the old table, unused.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/atomic.hpp"
#include "base/atomic_wait.hpp"
#include "base/result.hpp"
#include "index/hash_table.hpp"
#include "index/pins.hpp"

namespace emdb::detail {

#ifndef EMDB_DETAIL_MODEL  // which has small tables
constexpr std::uint32_t buckets_per_growth_step = 64;
#endif

/// What a shard's records add up to.
struct RecordTotals {
    std::uint64_t records = 0;
    std::uint64_t logical_bytes = 0;  ///< keys and values
    std::uint64_t frame_bytes = 0;    ///< their frames
};

class HashIndex {
    struct Shard;

public:
    explicit HashIndex(std::shared_ptr<Pins> pins) noexcept : pins_(std::move(pins)) {}
    HashIndex(const HashIndex&) = delete;
    HashIndex& operator=(const HashIndex&) = delete;
    /// No reader and no writer is left.
    ~HashIndex() { destroy_shards(shards_.load(std::memory_order_relaxed)); }

    Pins& pins() const noexcept { return *pins_; }

    // --- readers, holding a Pin ---------------------------------------------------------------------------------------------

    /// Brings the key's bucket into the cache.
    void prefetch(KeyHash hash) const noexcept {
        const Shard* shards = shards_.load(std::memory_order_acquire);
        if (shards == nullptr) return;
        const HashTable* table = shards[hash.shard()].table_for(hash.position());
        if (table != nullptr) __builtin_prefetch(&table->bucket(table->home(hash.position())));
    }

    /// The first offset that may be the key's, 0 if there is none; nearly always the only one. See find_all.
    [[gnu::always_inline]] std::uint64_t find(KeyHash hash) const {
        const Shard* shards = shards_.load(std::memory_order_acquire);
        if (shards == nullptr) [[unlikely]] return 0;
        const Shard& shard = shards[hash.shard()];
        const std::uint64_t before = shard.sequence.load(std::memory_order_acquire);
        const HashTable* table = shard.table.load(std::memory_order_seq_cst);
        if ((before & 1) == 0 && table != nullptr && shard.next.load(std::memory_order_acquire) == nullptr) [[likely]] {
            std::uint32_t displaced = 0;
            const std::uint64_t slot = table->find_at_home(hash.position(), displaced);
            if (shard.sequence.load(std::memory_order_relaxed) == before) [[likely]] {
                // What is left when the tag is taken away: an offset if the tags are the same, but not 0 (an empty slot) nor
                // the largest (no_slot's).
                const std::uint64_t offset = slot ^ hash.slot(0);
                if (offset - 1 < offset_mask - 1) [[likely]] return offset;
                if (slot == HashTable::no_slot && !HashTable::may_be_displaced(displaced, hash.tag())) return 0;
            }
        }
        return find_anywhere(hash);
    }
    /// find() without its short cut for a shard that is not being changed or enlarged and a key that is at home.
    [[gnu::noinline]] std::uint64_t find_anywhere(KeyHash hash) const {
        std::uint64_t offset = 0;
        look(hash, [&](const HashTable* table) {
            offset = 0;
            if (table == nullptr) return;
            table->for_each_match(hash.position(), hash.tag(), [&](std::uint32_t, std::size_t, std::uint64_t slot) {
                offset = slot & offset_mask;
                return false;
            });
        });
        return offset;
    }

    /// All offsets that may be the key's, as they were at one moment.
    void find_all(KeyHash hash, std::vector<std::uint64_t>& offsets) const {
        offsets.clear();
        look(hash, [&](const HashTable* table) {
            offsets.clear();
            if (table == nullptr) return;
            table->for_each_match(hash.position(), hash.tag(), [&](std::uint32_t, std::size_t, std::uint64_t slot) {
                offsets.push_back(slot & offset_mask);
                return true;
            });
        });
    }

    /// A place between two keys in the order of shards and hash positions; stays right when tables grow.
    struct Cursor {
        std::size_t shard = 0;
        std::uint64_t position = 0;
        bool at_end() const noexcept { return shard == shard_count; }
    };

    /// Appends the offsets of the next bucketful of keys and moves the cursor behind them. Every key belongs to exactly one
    /// position, so a walk sees none twice, and none that stays is passed over.
    void collect(Cursor& cursor, std::vector<std::uint64_t>& offsets) const {
        const Shard* shards = shards_.load(std::memory_order_acquire);
        if (shards == nullptr) {
            cursor.shard = shard_count;
            return;
        }
        const Shard& shard = shards[cursor.shard];
        const std::size_t collected = offsets.size();
        std::uint64_t end = positions_end;
        for (;;) {
            const std::uint64_t before = shard.wait_until_even();
            offsets.resize(collected);
            end = shard.collect_bucket(cursor.position, offsets);
            if (shard.sequence.load(std::memory_order_relaxed) == before) break;
        }
        cursor.position = end;
        if (end == positions_end) cursor = {cursor.shard + 1, 0};
    }

    /// Sums over the shards; each is exact when no write is under way.
    RecordTotals totals() const noexcept {
        RecordTotals sum;
        for (std::size_t i = 0; i < shard_count; ++i) {
            const RecordTotals shard = shard_totals(i);
            sum.records += shard.records;
            sum.logical_bytes += shard.logical_bytes;
            sum.frame_bytes += shard.frame_bytes;
        }
        return sum;
    }
    RecordTotals shard_totals(std::size_t shard) const noexcept {
        const Shard* shards = shards_.load(std::memory_order_acquire);
        if (shards == nullptr) return {};
        return {shards[shard].records.load(std::memory_order_relaxed), shards[shard].logical_bytes.load(std::memory_order_relaxed),
                shards[shard].frame_bytes.load(std::memory_order_relaxed)};
    }
    std::size_t memory_bytes() const noexcept { return memory_bytes_.load(std::memory_order_relaxed); }

    // --- writers, holding the shard's stripe --------------------------------------------------------------------------------

    /// Where a key's slot is, for changing it; found by locate().
    struct Location {
        HashTable* table = nullptr;  ///< null: the key has no slot
        std::uint32_t bucket = 0;
        std::size_t slot = 0;
        std::uint64_t offset = 0;
        explicit operator bool() const noexcept { return table != nullptr; }
    };

    /// Finds the slot with the key's hash bits for which is_key(offset) is true. Valid until the shard is changed.
    template <class IsKey>
    Location locate(KeyHash hash, IsKey&& is_key) const {
        Location found;
        Shard* shards = shards_.load(std::memory_order_acquire);
        HashTable* table = shards == nullptr ? nullptr : shards[hash.shard()].table_for(hash.position());
        if (table == nullptr) return found;
        table->for_each_match(hash.position(), hash.tag(), [&](std::uint32_t bucket, std::size_t i, std::uint64_t slot) {
            if (!is_key(slot & offset_mask)) return true;
            found = {table, bucket, i, slot & offset_mask};
            return false;
        });
        return found;
    }

    /// Makes sure that `count` more keys of the hash's shard can be placed without allocating; false: out of memory. Moves
    /// slots: locate() comes after it.
    bool make_room(std::size_t shard_number, std::size_t count) {
        Shard* shards = shards_.load(std::memory_order_acquire);
        if (shards == nullptr && (shards = create_shards()) == nullptr) return false;
        Shard& shard = shards[shard_number];
        if (shard.next.load(std::memory_order_relaxed) != nullptr) {
            move_some(shard, count == 1 ? buckets_per_growth_step : UINT32_MAX);
        }
        if (shard.next.load(std::memory_order_relaxed) != nullptr) return true;
        const HashTable* table = shard.table.load(std::memory_order_relaxed);
        const std::uint64_t wanted = shard.records.load(std::memory_order_relaxed) + count;
        if (table != nullptr && wanted <= capacity(table->bucket_count())) return true;
        return grow(shard, wanted, count != 1);
    }

    /// The window in which a shard is changed; readers of the shard look again when it closes. Changes of several shards are seen
    /// together by opening all windows first and closing them last.
    class Change {
    public:
        Change(HashIndex& index, std::size_t shard) noexcept : shard_(index.shards_.load(std::memory_order_relaxed)[shard]) {
            shard_.begin();
        }
        Change(const Change&) = delete;
        Change& operator=(const Change&) = delete;
        ~Change() { shard_.end(); }

    private:
        Shard& shard_;
    };

    void begin_change(std::size_t shard) noexcept { shards_.load(std::memory_order_relaxed)[shard].begin(); }
    void end_change(std::size_t shard) noexcept { shards_.load(std::memory_order_relaxed)[shard].end(); }

    // Inside a change, after make_room:

    void insert(KeyHash hash, std::uint64_t offset, std::uint64_t logical_bytes, std::uint64_t frame_bytes) noexcept {
        Shard& shard = shard_of(hash);
        shard.table_for(hash.position())->place(hash.position(), hash.slot(offset));
        shard.account(1, logical_bytes, frame_bytes);
    }
    /// `logical_change` and `frame_change` are modulo 2^64: new minus old.
    void replace(KeyHash hash, const Location& at, std::uint64_t offset, std::uint64_t logical_change,
                 std::uint64_t frame_change) noexcept {
        at.table->bucket(at.bucket).slot[at.slot].store(hash.slot(offset), std::memory_order_release);
        shard_of(hash).account(0, logical_change, frame_change);
    }
    void remove(KeyHash hash, const Location& at, std::uint64_t logical_bytes, std::uint64_t frame_bytes) noexcept {
        at.table->remove(at.bucket, at.slot);
        shard_of(hash).account(~std::uint64_t{0}, 0 - logical_bytes, 0 - frame_bytes);
    }

    /// Whether any key was ever stored: only then are there shards to change.
    bool has_shards() const noexcept { return shards_.load(std::memory_order_acquire) != nullptr; }

    /// Finishes a shard's growth and returns its only table, for copying; null: the shard has none.
    const HashTable* settle(std::size_t shard_number) {
        Shard* shards = shards_.load(std::memory_order_acquire);
        if (shards == nullptr) return nullptr;
        Shard& shard = shards[shard_number];
        if (shard.next.load(std::memory_order_relaxed) != nullptr) move_some(shard, UINT32_MAX);
        return shard.table.load(std::memory_order_relaxed);
    }
    /// Gives an empty shard of an index that nobody else uses yet a filled table; different shards may be given theirs at the same
    /// time. False: out of memory.
    bool adopt(std::size_t shard_number, HashTable* table, const RecordTotals& totals) noexcept {
        Shard* shards = shards_.load(std::memory_order_acquire);
        if (shards == nullptr && (shards = create_shards()) == nullptr) return false;
        Shard& shard = shards[shard_number];
        shard.account(totals.records, totals.logical_bytes, totals.frame_bytes);
        memory_bytes_.fetch_add(table->bytes(), std::memory_order_relaxed);
        shard.table.store(table, std::memory_order_relaxed);  // whoever uses the index later is told of it by other means
        return true;
    }

    /// What clear() has unlinked, for dispose_of() once readers may look again.
    struct Unlinked {
        std::array<HashTable*, 2 * shard_count> tables{};
        std::size_t count = 0;
    };

    /// How many tables a clear() retires that no growth has reserved room for. See Pins::reserve. As clear(), for who holds all
    /// stripes: the shards were made by a holder of one of them.
    std::size_t tables_to_clear() const noexcept {
        const Shard* shards = shards_.load(std::memory_order_relaxed);
        std::size_t count = 0;
        for (std::size_t i = 0; shards != nullptr && i < shard_count; ++i) {
            count += shards[i].table.load(std::memory_order_relaxed) != nullptr;
        }
        return count;
    }
    /// Forgets every key; inside changes of all shards, with room reserved.
    Unlinked clear() noexcept {
        Shard* shards = shards_.load(std::memory_order_relaxed);
        Unlinked unlinked;
        for (std::size_t i = 0; i < shard_count; ++i) {
            for (auto* link : {&shards[i].table, &shards[i].next}) {
                HashTable* table = link->load(std::memory_order_relaxed);
                link->store(nullptr, std::memory_order_seq_cst);
                if (table != nullptr) unlinked.tables[unlinked.count++] = table;
            }
            shards[i].forget_records();
        }
        return unlinked;
    }
    void dispose_of(const Unlinked& unlinked) noexcept {
        for (std::size_t i = 0; i < unlinked.count; ++i) retire(unlinked.tables[i]);
    }

private:
    // Calls inspect(table) for the table of the hash, which may be null, and again if a writer got in between; the last call counts.
    template <class Inspect>
    void look(KeyHash hash, Inspect&& inspect) const {
        const Shard* shards = shards_.load(std::memory_order_acquire);
        if (shards == nullptr) return;
        const Shard& shard = shards[hash.shard()];
        for (;;) {
            const std::uint64_t before = shard.wait_until_even();
            inspect(shard.table_for(hash.position()));
            if (shard.sequence.load(std::memory_order_relaxed) == before) [[likely]] return;
        }
    }

    static constexpr std::uint64_t positions_end = std::uint64_t{1} << 32;

    struct alignas(64) Shard {
        Atomic<std::uint64_t> sequence{0};
        Atomic<HashTable*> table{nullptr};
        Atomic<HashTable*> next{nullptr};
        Atomic<std::uint32_t> boundary{0};
        mutable Atomic<std::uint32_t> waiting{0};
        Atomic<std::uint64_t> records{0};
        Atomic<std::uint64_t> logical_bytes{0};
        Atomic<std::uint64_t> frame_bytes{0};

        std::uint64_t wait_until_even() const noexcept {
            const std::uint64_t now = sequence.load(std::memory_order_acquire);
            return (now & 1) == 0 ? now : wait_out_change();
        }
        std::uint64_t wait_out_change() const noexcept {
            for (int spin = 0; spin < 128; ++spin) {
                const std::uint64_t now = sequence.load(std::memory_order_acquire);
                if ((now & 1) == 0) return now;
            }
            // The first look sees every change whose end has not seen this waiter; the ends of all others wake it.
            waiting.fetch_add(1, std::memory_order_seq_cst);
            std::uint64_t now = sequence.load(std::memory_order_seq_cst);
            while ((now & 1) != 0) {
                wait_for_change(sequence, now, std::memory_order_relaxed);
                now = sequence.load(std::memory_order_acquire);
            }
            waiting.fetch_sub(1, std::memory_order_relaxed);
            return now;
        }
        void begin() noexcept { sequence.store(sequence.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
        void end() noexcept {
            // Together with the load of `waiting`: either a waiter sees this store before it sleeps, or it is seen here.
            sequence.store(sequence.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
            if (waiting.load(std::memory_order_seq_cst) != 0) wake_waiters(sequence);
        }

        /// The table that a position's slots are in; null: none yet.
        HashTable* table_for(std::uint32_t position) const noexcept {
            return table_for(position, table.load(std::memory_order_seq_cst));  // seq_cst: see Pins
        }
        HashTable* table_for(std::uint32_t position, HashTable* current) const noexcept {
            if (current == nullptr) [[unlikely]] return nullptr;
            HashTable* larger = next.load(std::memory_order_acquire);
            if (larger == nullptr) [[likely]] return current;
            return current->home(position) < boundary.load(std::memory_order_acquire) ? larger : current;
        }

        /// Appends the offsets of the bucket that `from` lies in, from there on, and returns the position behind it.
        std::uint64_t collect_bucket(std::uint64_t from, std::vector<std::uint64_t>& offsets) const {
            const auto position = static_cast<std::uint32_t>(from);
            HashTable* current = table.load(std::memory_order_seq_cst);
            const HashTable* source = table_for(position, current);
            if (source == nullptr) return positions_end;
            const std::uint32_t home = source->home(position);
            std::uint64_t end = source->first_position(home + 1);
            if (source != current) {
                // A bucket of the larger table may reach beyond what has been moved into it.
                end = (std::min)(end, current->first_position(boundary.load(std::memory_order_acquire)));
            }
            if (end <= from) return from + 1;  // torn view of a table being replaced; the sequence counter will tell
            source->for_each_at_home(home, [&](std::uint32_t, std::size_t, std::uint32_t at, std::uint64_t slot) {
                if (at >= from && at < end) offsets.push_back(slot & offset_mask);
                return true;
            });
            return end;
        }

        // Counters are stored by the stripe's holder only; others just read them.
        void account(std::uint64_t record_change, std::uint64_t logical_change, std::uint64_t frame_change) noexcept {
            add(records, record_change);
            add(logical_bytes, logical_change);
            add(frame_bytes, frame_change);
        }
        void forget_records() noexcept {
            records.store(0, std::memory_order_relaxed);
            logical_bytes.store(0, std::memory_order_relaxed);
            frame_bytes.store(0, std::memory_order_relaxed);
        }
        static void add(Atomic<std::uint64_t>& counter, std::uint64_t change) noexcept {
            counter.store(counter.load(std::memory_order_relaxed) + change, std::memory_order_relaxed);
        }
    };
    static_assert(sizeof(Shard) == 64);

    Shard& shard_of(KeyHash hash) const noexcept { return shards_.load(std::memory_order_relaxed)[hash.shard()]; }

    /// How many keys a table is asked to hold: 84 % of its slots. At that load one hit in eight or so is displaced.
    static std::uint64_t capacity(std::uint64_t buckets) noexcept {
        const std::uint64_t slots = buckets * slots_per_bucket;
        return slots <= 10 ? slots : slots * 84 / 100;
    }

    Shard* create_shards() noexcept {
        const std::lock_guard lock(creating_);
        if (Shard* shards = shards_.load(std::memory_order_relaxed)) return shards;
        auto* shards = new (std::nothrow) Shard[shard_count];
        if (shards == nullptr) return nullptr;
        memory_bytes_.fetch_add(shard_count * sizeof(Shard), std::memory_order_relaxed);
        shards_.store(shards, std::memory_order_release);
        return shards;
    }

    static void destroy_shards(Shard* shards) noexcept {
        for (std::size_t i = 0; shards != nullptr && i < shard_count; ++i) {
            HashTable::destroy(shards[i].table.load(std::memory_order_relaxed));
            HashTable::destroy(shards[i].next.load(std::memory_order_relaxed));
        }
        delete[] shards;
    }

    // Tables grow by 40 %: a shard then has between 15.2 and 21.3 bytes a key, and each key is moved, in memory order, about 2.5
    // times in its life. Each shard starts from another size, so that they do not all grow at the same time: the index as a
    // whole stays near 18.1 bytes a key.
    static std::uint64_t grown(std::uint64_t buckets, std::size_t shard_number) noexcept {
        constexpr std::uint64_t first_step_end = 256;
        if (buckets < first_step_end / 2) return buckets == 0 ? 1 : buckets * 2;
        if (buckets < first_step_end) return first_step_end + shard_number * first_step_end * 40 / (100 * shard_count);
        return buckets * 140 / 100;
    }

    bool grow(Shard& shard, std::uint64_t wanted, bool at_once) {
        HashTable* table = shard.table.load(std::memory_order_relaxed);
        const std::uint64_t old_buckets = table == nullptr ? 0 : table->bucket_count();
        const auto shard_number = static_cast<std::size_t>(&shard - shards_.load(std::memory_order_relaxed));
        std::uint64_t buckets = grown(old_buckets, shard_number);
        while (capacity(buckets) < wanted) buckets = grown(buckets, shard_number);
        if (buckets > UINT32_MAX) return false;
        if (table != nullptr) pins_->reserve(1);  // for the table itself, when it has been replaced
        HashTable* larger = HashTable::create(static_cast<std::uint32_t>(buckets));
        if (larger == nullptr) {
            if (table != nullptr) pins_->unreserve(1);
            // A table may also be filled further than is good for speed.
            return table != nullptr && wanted + 1 < old_buckets * slots_per_bucket;
        }
        memory_bytes_.fetch_add(larger->bytes(), std::memory_order_relaxed);
        if (table == nullptr) {
            shard.begin();
            shard.table.store(larger, std::memory_order_release);
            shard.end();
            return true;
        }
        shard.begin();
        shard.boundary.store(0, std::memory_order_release);
        shard.next.store(larger, std::memory_order_release);
        shard.end();
        // An overfull table has no room for what comes while it is being emptied.
        const bool overfull = shard.records.load(std::memory_order_relaxed) > capacity(old_buckets);
        move_some(shard, at_once || overfull ? UINT32_MAX : buckets_per_growth_step);
        return true;
    }

    // Moves up to `buckets` home buckets into the larger table, and finishes the growth after the last one.
    void move_some(Shard& shard, std::uint32_t buckets) {
        HashTable* table = shard.table.load(std::memory_order_relaxed);
        HashTable* larger = shard.next.load(std::memory_order_relaxed);
        const std::uint32_t from = shard.boundary.load(std::memory_order_relaxed);
        const std::uint32_t end = buckets < table->bucket_count() - from ? from + buckets : table->bucket_count();
        shard.begin();
        for (std::uint32_t home = from; home < end; ++home) {
            table->for_each_at_home(home, [&](std::uint32_t, std::size_t, std::uint32_t position, std::uint64_t slot) {
                larger->place(position, slot);
                return true;
            });
        }
        if (end != table->bucket_count()) {
            shard.boundary.store(end, std::memory_order_release);
            shard.end();
            return;
        }
        shard.next.store(nullptr, std::memory_order_release);
        // Sequentially consistent: the table is unreachable before it is retired (Pins).
        shard.table.store(larger, std::memory_order_seq_cst);
        shard.end();
        retire(table);
    }

    void retire(HashTable* table) noexcept {
        memory_bytes_.fetch_sub(table->bytes(), std::memory_order_relaxed);
        pins_->retire(table, &HashTable::destroy);
    }

    std::shared_ptr<Pins> pins_;
    Atomic<Shard*> shards_{nullptr};
    Atomic<std::size_t> memory_bytes_{0};
    Mutex creating_;
};

}  // namespace emdb::detail
