#pragma once
// Loading a checkpoint: from "<path>.meta" to the index in memory. Tables are read into the memory that they will be used in, by
// several threads if there is much to read.
//
// A checkpoint that does not fit, or that the journal does not bear out up to its E, leaves no trace: everything is replayed
// instead. Nor does one that was made up, with good checksums, lead to more than wrong answers that reads find out: a table is
// judged before it is used (HashTable::is_sound), a list in key order is held against the keys, and what slots point at is checked
// by every read.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/config.hpp"
#include "checks/crc32c.hpp"
#include "engine/engine.hpp"
#include "index/ordered_sort.hpp"
#include "journal/meta_file.hpp"
#include "journal/replay.hpp"

namespace emdb::detail {

/// What a replay over a checkpoint changes in one keyspace: for bringing its list in key order up to date.
struct ReplayedChanges {
    std::uint64_t replay_from = 0;
    bool cleared = false;
    std::unordered_set<std::uint64_t> gone;                        ///< what was replaced or removed of what lies below
    std::vector<std::pair<std::uint64_t, std::uint64_t>> written;  ///< hashes and offsets of all puts

    void replaced(std::uint64_t offset) {
        if (offset < replay_from) gone.insert(offset);
    }
    void put(std::uint64_t hash, std::uint64_t offset) { written.emplace_back(hash, offset); }
    void clear() {
        cleared = true;
        gone = std::unordered_set<std::uint64_t>();  // clear() would look at all buckets, however many clears there are
        written.clear();
    }
};

class CheckpointLoad {
public:
    CheckpointLoad(Engine& engine, std::uint64_t file_size) : engine_(engine), file_size_(file_size) {}

    /// Fills the empty index of an engine that is being opened. False: there is no checkpoint to use, and the index is empty. On
    /// true the journal is to be replayed from start() on.
    bool restore() {
        if (engine_.in_memory_) return false;
        FileSystem& files = engine_.environment_.files();
        // A killed process's; nobody else writes one, since the database is locked.
        (void)files.remove(meta_temporary_path(engine_.absolute_path_));
        if (!engine_.keeps_checkpoints()) return false;
        auto file = MetaFile::open(files, engine_.absolute_path_, engine_.generation().header(),
                                   {engine_.generation().map().at(0), static_cast<std::size_t>(file_size_)}, engine_.generation().sealer());
        if (!file) {
            if (!is_not_found(file.error())) tell(file.error());
            // One of the time before the database was encrypted says things about its keys.
            if (engine_.journal().seals() && MetaFile::is_plain(files, engine_.absolute_path_)) {
                (void)files.remove(meta_path(engine_.absolute_path_));
            }
            return false;
        }
        file_.emplace(std::move(*file));
        // A short journal is replayed as quickly, and all of it is checked that way.
        if (file_size_ - journal_start < engine_.options_.checkpoint_used_from) return false;
        if (auto loaded = load(); !loaded) {
            tell(loaded.error());
            forget();
            return false;
        }
        restored_ = true;
        return true;
    }

    /// What is known of the journal below the place to replay from.
    ReplaySummary start() const {
        ReplaySummary before;
        if (!restored_) return before;
        before.end = contents().replay_from;
        before.ends_with_close_mark = (contents().flags & meta_ends_with_close_mark) != 0;
        return before;
    }
    bool restored() const noexcept { return restored_; }
    /// The journal below is known to have reached the disk.
    std::uint64_t durable_end() const noexcept { return restored_ ? contents().durable_to : 0; }

    /// After the replay: whether the journal bears the checkpoint out. If not, the index is empty again.
    bool accept(const Result<ReplaySummary>& replayed) {
        if (replayed && replayed->end >= contents().complete_to) {
            engine_.log(LogLevel::debug, "'" + engine_.path_ + "' was opened from its checkpoint; the journal was replayed from offset " +
                                             std::to_string(contents().replay_from) + " on.");
            return true;
        }
        tell(file_->unfit("the journal is damaged below the place up to which it had been flushed"));
        restored_ = false;
        changes_.clear();
        forget();
        return false;
    }

    /// The journal's end for which the file is what a close now would write; 0: none.
    std::uint64_t exact_end() const noexcept {
        if (!file_) return 0;
        const bool lists = !engine_.options_.range_scans || (contents().flags & meta_has_key_order) != 0;
        const bool closed = (contents().flags & meta_ends_with_close_mark) != 0 && contents().replay_from == contents().complete_to;
        return lists && closed ? contents().replay_from : 0;
    }

    /// Where the replay is to note what it does to a keyspace; null: nowhere.
    ReplayedChanges* changes_of(const KeyspaceState& keyspace) {
        if (!restored_ || !engine_.options_.range_scans) return nullptr;
        ReplayedChanges& changes = changes_[&keyspace];
        changes.replay_from = contents().replay_from;
        return &changes;
    }
    void dropped(const KeyspaceState& keyspace) {
        changes_.erase(&keyspace);
        listed_.erase(&keyspace);
    }

    /// A keyspace's records in key order after the replay; empty if they are not known.
    std::vector<std::uint64_t> key_order(const KeyspaceState& keyspace) {
        if (!restored_) return {};
        const auto found = listed_.find(&keyspace);
        if (found == listed_.end() || !found->second->order_is_complete) return {};
        const MetaKeyspace& listed = *found->second;
        std::vector<std::uint64_t> offsets(static_cast<std::size_t>(listed.ordered));
        const auto bytes = std::as_writable_bytes(std::span(offsets));
        if (!file_->read_at(listed.order_at, bytes) || crc32c(bytes.data(), bytes.size()) != listed.order_crc) return {};
        const KeyReader keys(&engine_.journal(), &key_in_journal, &prefetch_key_in_journal);
        bring_up_to_date(keyspace, keys, offsets);
        if (!is_in_order(keys, offsets)) return {};
        return offsets;
    }

private:
    /// Sections that are read together: of one large shard, or of small ones that lie behind each other.
    struct Job {
        std::uint64_t at = 0;
        std::uint64_t size = 0;
        std::size_t first = 0;
        std::size_t count = 0;
    };
    struct Item {
        KeyspaceState* keyspace;
        const MetaShard* shard;
        std::size_t in_arena;  ///< where its table is to be; no_place: not there
    };
    static constexpr std::size_t no_place = SIZE_MAX;
    struct ReleaseArena {
        void operator()(TableArena* arena) const noexcept { arena->release(); }
    };
    using Arena = std::unique_ptr<TableArena, ReleaseArena>;
    static constexpr std::uint64_t job_size = std::uint64_t{256} << 10;
    static constexpr std::uint64_t size_for_a_thread = std::uint64_t{2} << 20;
    static constexpr unsigned threads_max = 4;

    const MetaContents& contents() const noexcept { return file_->contents(); }

    void tell(const Error& why) const {
        engine_.log(LogLevel::info, why.message() + " The whole journal of '" + engine_.path_ + "' is replayed.");
    }

    // As before anything was loaded.
    void forget() {
        listed_.clear();
#if EMDB_ENCRYPT
        if (Sealer* const sealer = engine_.generation().sealer()) sealer->forget_sessions();
#endif
        engine_.namespaces_.clear();
        engine_.default_keyspace_ = engine_.make_keyspace(0, "");
        engine_.next_namespace_id_ = engine_.generation().header().next_namespace_id;
        for (Engine::Stripe& stripe : engine_.stripes_) {
            stripe.records.store(0, std::memory_order_relaxed);
            stripe.logical_bytes.store(0, std::memory_order_relaxed);
            stripe.frame_bytes.store(0, std::memory_order_relaxed);
        }
    }

    Result<void> load() {
        std::vector<Item> items;
        if (!make_keyspaces(items) || !add_sessions()) return file_->unfit("its directory makes no sense");
        std::size_t in_arena = 0;
        for (Item& item : items) {
            const auto size = static_cast<std::size_t>(item.shard->table_size());
            if (!HashTable::has_pages(size)) continue;
            item.in_arena = in_arena;
            in_arena += size;
        }
        const Arena arena(in_arena == 0 ? nullptr : TableArena::create(in_arena));
        if (arena == nullptr && in_arena != 0) return engine_.out_of_memory();
        arena_ = arena.get();
        const std::vector<Job> jobs = divide(items);
        if (!run(items, jobs)) return file_->unfit("it is damaged, or there is not enough memory for it");
        for (const Item& item : items) {
            engine_.stripe_of(*item.keyspace, item.shard->number)
                .account(item.shard->records, item.shard->logical_bytes, item.shard->frame_bytes);
        }
        return {};
    }

    // What was sealed below the place to replay from opens as after a replay from the start; and so does what the index has of what lies
    // above it, before the replay comes by.
    bool add_sessions() {
#if EMDB_ENCRYPT
        if (Sealer* const sealer = engine_.generation().sealer()) return sealer->add_sessions(contents().sessions);
#endif
        return true;
    }

    bool make_keyspaces(std::vector<Item>& items) {
        const std::uint32_t next_id = contents().next_namespace_id;
        if (contents().keyspaces.empty() || next_id < engine_.next_namespace_id_) return false;
        engine_.next_namespace_id_ = next_id;
        std::set<std::uint32_t> ids;  // not hashed: a file chooses them
        for (const MetaKeyspace& listed : contents().keyspaces) {
            const bool is_default = &listed == &contents().keyspaces.front();
            if ((listed.id == 0) != is_default || listed.name.empty() != is_default || !ids.insert(listed.id).second) return false;
            KeyspaceState* keyspace = engine_.default_keyspace_.get();
            if (!is_default) {
                // The greatest id is never given out, but next: see open_namespace.
                if (listed.id >= next_id) return false;
                auto made = engine_.make_keyspace(listed.id, std::string(listed.name));
                keyspace = made.get();
                if (!engine_.namespaces_.try_emplace(made->name, made).second) return false;
            }
            listed_[keyspace] = &listed;
            std::uint64_t seen = 0;
            for (const MetaShard& shard : listed.shards) {
                if (shard.number >= shard_count || (seen >> shard.number & 1) != 0 || shard.buckets == 0) return false;
                seen |= std::uint64_t{1} << shard.number;
                items.push_back({keyspace, &shard, no_place});
            }
        }
        return true;
    }

    // What is large enough to have pages of its own is read into them.
    static std::vector<Job> divide(const std::vector<Item>& items) {
        std::vector<Job> jobs;
        bool alone = true;
        for (std::size_t i = 0; i < items.size(); ++i) {
            const std::uint64_t size = items[i].shard->table_size() + items[i].shard->expiring_size();
            if (alone || items[i].in_arena != no_place || jobs.back().size + size > job_size) jobs.push_back({items[i].shard->at, 0, i, 0});
            alone = items[i].in_arena != no_place;
            jobs.back().size += size;
            ++jobs.back().count;
        }
        return jobs;
    }

    // All jobs, by as many threads as pay. False: one of them failed.
    bool run(const std::vector<Item>& items, const std::vector<Job>& jobs) {
        std::atomic<std::size_t> next{0};
        std::atomic<bool> failed{false};
        const auto work = [&] {
            for (std::size_t i = next.fetch_add(1); i < jobs.size() && !failed.load(); i = next.fetch_add(1)) {
                if (!load_job(items, jobs[i])) failed.store(true);
            }
        };
        std::vector<std::thread> threads;
#if EMDB_EXCEPTIONS
        std::uint64_t size = 0;
        for (const Job& job : jobs) size += job.size;
        const std::uint64_t useful = (std::min)({size / size_for_a_thread, std::uint64_t{threads_max},
                                                 std::uint64_t{std::thread::hardware_concurrency()}});
        threads.reserve(threads_max);
        try {
            while (threads.size() + 1 < useful) threads.emplace_back(work);
        } catch (...) {  // there can be no more threads, or no memory for one: those there are do it
        }
#endif
        work();
        for (std::thread& thread : threads) thread.join();
        return !failed.load();
    }

    // In any thread. Want of memory, be it for an error's text, is one more reason to do without the checkpoint.
    bool load_job(const std::vector<Item>& items, const Job& job) const noexcept {
#if EMDB_EXCEPTIONS
        try {
            return load_tables(items, job);
        } catch (const std::bad_alloc&) {
            return false;
        }
#else
        return load_tables(items, job);
#endif
    }

    bool load_tables(const std::vector<Item>& items, const Job& job) const {
        const bool in_place = items[job.first].in_arena != no_place;
        const std::uint64_t to_buffer = in_place ? items[job.first].shard->expiring_size() : job.size;
        const std::unique_ptr<std::byte[]> buffer(new (std::nothrow) std::byte[static_cast<std::size_t>(to_buffer)]);
        if (buffer == nullptr) return false;
        const std::span<std::byte> bytes(buffer.get(), static_cast<std::size_t>(to_buffer));
        if (!file_->read_at(job.at + job.size - to_buffer, bytes)) return false;
        const std::byte* at = bytes.data();
        for (std::size_t i = job.first; i < job.first + job.count; ++i) {
            const MetaShard& shard = *items[i].shard;
            Table table(in_place ? HashTable::create(shard.buckets, *arena_, items[i].in_arena) : HashTable::create(shard.buckets));
            if (table == nullptr) return false;
            if (in_place) {
                if (!file_->read_at(shard.at, table->memory())) return false;
            } else {
                std::memcpy(table->memory().data(), at, table->memory().size());
                at += shard.table_size();
            }
            if (!install(items[i], std::move(table), {at, static_cast<std::size_t>(shard.expiring_size())})) return false;
            at += shard.expiring_size();
        }
        return true;
    }

    struct DestroyTable {
        void operator()(HashTable* table) const noexcept { HashTable::destroy(table); }
    };
    using Table = std::unique_ptr<HashTable, DestroyTable>;

    bool install(const Item& item, Table table, std::span<const std::byte> expiring) const {
        const MetaShard& shard = *item.shard;
        const std::uint32_t crc = crc32c(table->memory().data(), table->memory().size());
        if (crc32c(expiring.data(), expiring.size(), crc) != shard.crc) return false;
        if (!table->is_sound(shard.records, contents().complete_to)) return false;
        KeyspaceIndex& index = item.keyspace->index();
        if (!index.hash.adopt(shard.number, table.get(), {shard.records, shard.logical_bytes, shard.frame_bytes})) return false;
        (void)table.release();  // the index has it
        return expiring.empty() || restore_queue(index, shard, expiring);
    }

    // Without what the replay is going to add: an entry must not be there twice.
    bool restore_queue([[maybe_unused]] KeyspaceIndex& index, [[maybe_unused]] const MetaShard& shard,
                       [[maybe_unused]] std::span<const std::byte> bytes) const {
#if EMDB_TTL
        using Entry = ExpiryQueues::Entry;
        static_assert(sizeof(Entry) == meta_expiry_size);
        const std::size_t count = bytes.size() / sizeof(Entry);
        const std::unique_ptr<Entry[]> entries(new (std::nothrow) Entry[count]);
        if (entries == nullptr) return false;
        std::memcpy(entries.get(), bytes.data(), bytes.size());
        Entry* const end = std::remove_if(entries.get(), entries.get() + count,
                                          [&](const Entry& entry) { return entry.offset >= contents().replay_from; });
        const auto belongs_elsewhere = [&](const Entry& entry) { return KeyHash(entry.hash).shard() != shard.number; };
        if (std::any_of(entries.get(), end, belongs_elsewhere)) return false;
        return index.expiring.restore(shard.number, {entries.get(), end}, static_cast<std::size_t>(shard.expiring_current));
#else
        return false;
#endif
    }

    // Takes out of the list what the replay has replaced or is going to add, and adds what it has written.
    void bring_up_to_date(const KeyspaceState& keyspace, const KeyReader& keys, std::vector<std::uint64_t>& offsets) {
        const ReplayedChanges& changes = changes_[&keyspace];
        if (changes.cleared) offsets.clear();
        std::erase_if(offsets, [&](std::uint64_t offset) {
            return offset >= contents().replay_from || (!changes.gone.empty() && changes.gone.count(offset) != 0);
        });
        std::vector<OffsetToSort> written;
        for (const auto& [hash, offset] : changes.written) {
            const HashIndex& index = keyspace.index().hash;
            if (index.locate(KeyHash(hash), [at = offset](std::uint64_t found) { return found == at; })) written.push_back({0, offset});
        }
        sort_by_key(written, keys, 0);
        std::vector<std::uint64_t> merged;
        merged.reserve(offsets.size() + written.size());
        auto from = offsets.begin();
        for (const OffsetToSort& entry : written) {
            const KeyReader::Key key = keys(entry.offset);
            const auto to = std::partition_point(from, offsets.end(), [&](std::uint64_t offset) {
                return compare_keys(keys(offset), key) < 0;
            });
            merged.insert(merged.end(), from, to);
            merged.push_back(entry.offset);
            from = to;
        }
        merged.insert(merged.end(), from, offsets.end());
        offsets = std::move(merged);
    }

    static bool is_in_order(const KeyReader& keys, const std::vector<std::uint64_t>& offsets) {
        constexpr std::size_t ahead = 16;
        for (std::size_t i = 0; i < offsets.size(); ++i) {
            if (i + ahead < offsets.size()) keys.prefetch(offsets[i + ahead]);
            if (i != 0 && compare_keys(keys(offsets[i - 1]), keys(offsets[i])) >= 0) return false;
        }
        return keys.unreadable() == 0;
    }

    Engine& engine_;
    const std::uint64_t file_size_;
    std::optional<MetaFile> file_;
    bool restored_ = false;
    TableArena* arena_ = nullptr;  ///< while tables are being loaded
    std::unordered_map<const KeyspaceState*, ReplayedChanges> changes_;
    std::unordered_map<const KeyspaceState*, const MetaKeyspace*> listed_;  ///< as the checkpoint has them
};

}  // namespace emdb::detail
