#pragma once
// Engine: one open database. The class is declared here; each path through it has a file of its own:
//
//   opening.hpp         from a path to an open file: creation, locking, the header
//   recovery.hpp        from a journal to an index, and the verdict on its tail
//   read_path.hpp       get and its kin: hash -> slot -> frame -> value
//   read_many.hpp       the same for many keys at once
//   write_path.hpp      insert and its kin: stripe -> journal -> index
//   staged_writes.hpp   transactions
//   bulk_load.hpp       insert_many
//   iteration.hpp       iter and keys
//   ordered_upkeep.hpp  what keeps the ordered index in step
//   range_read.hpp      range and its kin
//   expiry.hpp          insert_with_ttl and its kin, sweep_expired
//   groups.hpp          keys with a common prefix: group, delete_group
//   namespaces.hpp      opening, dropping, clearing keyspaces
//   checkpoint.hpp      from the index to the checkpoint file
//   checkpoint_load.hpp and back
//   encryption.hpp      the key of a file, sessions
//   rewrite.hpp         copying the database into another file while it is used, by two threads (work_beside.hpp)
//   compaction.hpp      putting that file in the database's place
//   auto_compaction.hpp when that happens by itself
//   backup.hpp          putting it elsewhere
//   encryption_change.hpp  that into a file with another key, or none; offline
//   closing.hpp         flush, close, stats
//
// verification.hpp and salvage.hpp look at files without an engine.
//
// Locks, in the order in which they are taken: maintenance_ -> stripes (ascending) -> publishing_ -> registry_; stripes -> Journal's
// growth lock. Flusher's own lock is held for moments and takes no other. Readers take none of them, except that get_many and its
// kin fall back to publishing_ after a few tries; no file operation and no user code runs under that. Writers let the holder of
// maintenance_ go first (WritersStandBack).

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "base/config.hpp"
#include "base/function_ref.hpp"
#include "base/open_options.hpp"
#include "base/range.hpp"
#include "base/record_source.hpp"
#include "base/result.hpp"
#include "crypto/secret_vector.hpp"
#include "base/ttl.hpp"
#include "checks/siphash.hpp"
#include "engine/expiry_clock.hpp"
#include "engine/generation.hpp"
#include "engine/keyspace_state.hpp"
#include "journal/meta_file.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

using MaybeValue = std::optional<std::string>;
using MaybeView = std::optional<std::string_view>;

class AutoCompaction;
class ChangeOver;
class TemporaryFile;
struct OpenedFile;
struct ReplaySummary;

#if EMDB_ENCRYPT
/// A value that was opened for a ValueRef.
class OwnedValue {
public:
    explicit OwnedValue(Bytes value) : bytes_(value.data(), value.data() + value.size()) {}
    Bytes bytes() const noexcept { return Bytes(bytes_.data(), bytes_.size()); }
    void acquire() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

private:
    ~OwnedValue() = default;
    std::atomic<std::size_t> references_{1};
    const SecretVector<std::byte> bytes_;
};
#else
class OwnedValue;
#endif

/// A value in place, with the reference on its generation that keeps it there; or one with a reference on itself. Whoever takes it
/// releases the reference.
struct PinnedValue {
    Generation* generation;  ///< null: owned
    OwnedValue* owned;
    std::uint32_t stripe;
    Bytes value;
};

/// A keyspace's index with a reference on its generation: both stay, and so do frames found through it.
struct IndexRef {
    explicit IndexRef(const KeyspaceIndex& found) noexcept : index(found), generation(found.generation) {}
    const KeyspaceIndex& index;
    const GenerationRef generation;
    const Journal& journal() const noexcept { return index.journal(); }
};

/// What a read answers whose record is damaged.
Error damaged_record_error(const std::string& path, const Journal& journal, std::uint64_t offset);

class Engine {
public:
    static Result<std::shared_ptr<Engine>> open(const OpenOptions& options);
    static Result<std::shared_ptr<Engine>> open_in_memory(const OpenOptions& options);
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    ~Engine();

    const std::string& path() const noexcept { return path_; }
    const std::shared_ptr<KeyspaceState>& default_keyspace() const noexcept { return default_keyspace_; }

    // Reads; any thread, no locks.
    Result<MaybeValue> get(const KeyspaceState& keyspace, Bytes key) const;
    Result<bool> get_into(const KeyspaceState& keyspace, Bytes key, std::string& out) const;
    Result<std::optional<PinnedValue>> get_zerocopy(const KeyspaceState& keyspace, Bytes key) const;
    Result<bool> contains_key(const KeyspaceState& keyspace, Bytes key) const;
    Result<std::size_t> visit_many(const KeyspaceState& keyspace, std::span<const Bytes> keys,
                                   FunctionRef<void(std::size_t, MaybeView)> visit) const;
    Result<std::size_t> len(const KeyspaceState& keyspace) const;
    Result<std::unique_ptr<RecordSource>> iterate(const std::shared_ptr<KeyspaceState>& keyspace) const;
    Result<std::vector<Record>> range(const KeyspaceState& keyspace, const Range& range) const;
    Result<std::unique_ptr<RecordSource>> iterate_range(const std::shared_ptr<KeyspaceState>& keyspace, Range range) const;

    // Writes; any thread, one stripe or all of them.
    Result<void> insert(KeyspaceState& keyspace, Bytes key, Bytes value);
    Result<MaybeValue> remove(KeyspaceState& keyspace, Bytes key);
    Result<bool> compare_exchange(KeyspaceState& keyspace, Bytes key, std::optional<Bytes> expected, std::optional<Bytes> desired);
    Result<void> update(KeyspaceState& keyspace, Bytes key, FunctionRef<Result<MaybeValue>(MaybeView)> change);
    Result<void> clear(KeyspaceState& keyspace);

#if EMDB_TTL
    Result<void> insert_with_ttl(KeyspaceState& keyspace, Bytes key, Bytes value, Ttl ttl);
    Result<std::optional<std::uint64_t>> expires_at(const KeyspaceState& keyspace, Bytes key) const;
    Result<std::optional<std::chrono::milliseconds>> ttl(const KeyspaceState& keyspace, Bytes key) const;
    Result<bool> persist(KeyspaceState& keyspace, Bytes key);
    Result<std::size_t> sweep_expired(KeyspaceState& keyspace);
#endif
#if EMDB_NESTED
    Result<std::vector<Record>> group(const KeyspaceState& keyspace, std::string_view prefix) const;
    Result<std::size_t> delete_group(KeyspaceState& keyspace, std::string_view prefix);
    Result<std::unique_ptr<RecordSource>> iterate_group(const std::shared_ptr<KeyspaceState>& keyspace,
                                                        std::string_view prefix) const;
#endif

    Result<std::shared_ptr<KeyspaceState>> open_namespace(std::string_view name);
    Result<bool> drop_namespace(std::string_view name);
    Result<std::vector<std::string>> list_namespaces() const;

    Result<void> flush();
    Result<void> checkpoint();
    Result<void> compact();
    Result<void> compact_into(FunctionRef<Result<void>(OpenedFile&)> prepare);
    Result<void> backup_to(const std::string& target);
    Result<void> close();
    Result<EmdbStats> stats() const;

    // For who flushes in the name of others.
    bool shares_syncs() const noexcept { return options_.flush_policy.kind() != FlushPolicy::Kind::on_each_flush; }
    Error unsynced_error(const Error& error) const;
    /// What a write, a flush or a transaction answers that is made by the closure of a running transaction, or in a forked child.
    Result<void> refuse_write() const;
    const OpenOptions& options() const noexcept { return options_; }

private:
    friend class BulkLoad;
    friend class StagedWrites;
    friend class IndexBuilder;
    friend class CheckpointWriter;
    friend class CheckpointLoad;
    friend class HashIterationSource;
    friend class RangeIterationSource;
    friend class GroupRemoval;
    friend class Rewrite;
    friend class ChangeOver;
    friend class AutoCompaction;
    friend struct EngineOpening;
    friend class EngineInspection;  // of the tests

    enum class State : std::uint8_t { open, closed };

    struct alignas(64) Stripe {
        std::mutex mutex;
        // Changed by the stripe's holder, read by stats().
        std::atomic<std::uint64_t> records{0};
        std::atomic<std::uint64_t> logical_bytes{0};
        std::atomic<std::uint64_t> frame_bytes{0};

        void account(std::uint64_t record_change, std::uint64_t logical_change, std::uint64_t frame_change) noexcept {
            records.store(records.load(std::memory_order_relaxed) + record_change, std::memory_order_relaxed);
            logical_bytes.store(logical_bytes.load(std::memory_order_relaxed) + logical_change, std::memory_order_relaxed);
            frame_bytes.store(frame_bytes.load(std::memory_order_relaxed) + frame_change, std::memory_order_relaxed);
        }
    };

    /// All stripes, taken in order: exclusive write access.
    class AllStripes {
    public:
        explicit AllStripes(Engine& engine) : engine_(&engine) {
            for (Stripe& stripe : engine.stripes_) stripe.mutex.lock();
        }
        AllStripes(AllStripes&& other) noexcept : engine_(std::exchange(other.engine_, nullptr)) {}
        AllStripes& operator=(AllStripes&&) = delete;
        ~AllStripes() {
            if (engine_ == nullptr) return;
            for (std::size_t i = shard_count; i-- > 0;) engine_->stripes_[i].mutex.unlock();
        }

    private:
        Engine* engine_;
    };

    /// Writers that come while it lives wait, with no lock held: whoever wants all stripes gets them as soon as those writers are done that
    /// have one already. A mutex alone lets writers who come back at once go first, again and again. By the holder of maintenance_.
    class WritersStandBack {
    public:
        explicit WritersStandBack(Engine& engine) noexcept : flag_(engine.stand_back_) { flag_.store(true, std::memory_order_relaxed); }
        WritersStandBack(const WritersStandBack&) = delete;
        WritersStandBack& operator=(const WritersStandBack&) = delete;
        ~WritersStandBack() {
            flag_.store(false, std::memory_order_relaxed);
            wake_waiters(flag_);
        }

    private:
        std::atomic<bool>& flag_;
    };

    /// The time in which changes of many keys become visible together: get_many and its kin look again when it is over.
    class Publishing {
    public:
        explicit Publishing(Engine& engine) : engine_(engine), lock_(engine.publishing_) {
            engine_.commits_.store(engine_.commits_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        }
        Publishing(const Publishing&) = delete;
        Publishing& operator=(const Publishing&) = delete;
        // Release: whoever sees the even count sees the changes.
        ~Publishing() { engine_.commits_.store(engine_.commits_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

    private:
        Engine& engine_;
        const std::lock_guard<std::mutex> lock_;
    };

    /// What a key has now, found by the holder of its stripe. Contents of sealed frames are in the text that find_current was given;
    /// find_slot has only their sizes.
    struct Current {
        HashIndex::Location at;
        FrameView frame;  ///< meaningful when `at` is
        MaybeView value() const noexcept {
            return at ? MaybeView(frame.value.as_string_view()) : std::nullopt;
        }
    };

    /// A frame that the journal has completed.
    struct Appended {
        std::uint64_t offset = 0;
        FrameView view;  ///< its size; key and value are the caller's
    };

    /// What a put needs of the ordered index, got before its frame is appended. Nothing where there is none.
    struct OrderedPut {
        OrderedIndex::Hint hint;
        NodePool::Promise nodes;
    };

    enum class Match : std::uint8_t { no, yes, damaged };

    Engine(const OpenOptions& options, Environment& environment, std::string path, bool in_memory);

    KeyHash hash_of(Bytes key) const noexcept { return KeyHash(siphash13(key.data(), key.size(), hash_key_0_, hash_key_1_)); }
    // A keyspace's shard belongs to one stripe; keyspaces start at different ones.
    Stripe& stripe_of(const KeyspaceState& keyspace, std::size_t shard) noexcept {
        return stripes_[(shard + std::size_t{37} * keyspace.id) % shard_count];
    }

    // Read path.
    [[gnu::always_inline]] bool usable(const KeyspaceState& keyspace) const noexcept {
        return state_.load(std::memory_order_acquire) == State::open && fork_count_ == fork_count() &&
               !keyspace.dropped.load(std::memory_order_acquire);
    }
    Error why_unusable(const KeyspaceState& keyspace) const;
    Error stopped_error() const;
    Error damaged_error(const Journal& journal, std::uint64_t offset) const;
    static Match match(const Journal& journal, std::uint64_t offset, Bytes key, FrameView& frame, bool verify, PlainText& text) noexcept;
    bool match_usual(const Journal& journal, std::uint64_t offset, Bytes key, FrameView& frame, PlainText& text) const noexcept;
    static FrameView read_and_remember_shape(const Journal& journal, std::uint64_t offset) noexcept;
    Match match_any(const KeyspaceIndex& index, KeyHash hash, Bytes key, FrameView& frame, std::uint64_t& damaged,
                    PlainText& text) const;
    /// `any` also finds records that have expired.
    enum class Wanted : std::uint8_t { live, any };
    template <Wanted wanted = Wanted::live, class Prepare, class Take, class Fail>
    void read(const KeyspaceState& keyspace, Bytes key, Prepare&& prepare, Take&& take, Fail&& fail) const;
    template <Wanted wanted, class Take, class Fail>
    void read_any(const KeyspaceIndex& index, KeyHash hash, Bytes key, Take& take, Fail& fail) const;
    Result<FrameView> find_frame(const IndexRef& in, KeyHash hash, Bytes key, PlainText& text) const;
    static PinnedValue pin_value(Generation& generation, Bytes value);
    Result<bool> holds(const KeyspaceState& keyspace, Bytes key) const;
    void locate_many(const KeyspaceIndex& index, std::span<const Bytes> keys, std::span<std::uint64_t> offsets) const;
    void try_locate_many(const KeyspaceIndex& index, std::span<const Bytes> keys, std::span<std::uint64_t> offsets) const;

    /// For what outlasts a pin.
    IndexRef reference(const KeyspaceState& keyspace) const noexcept {
        const Pins::Pin pin(*pins_);
        return IndexRef(keyspace.index());
    }
    GenerationRef reference() const noexcept {
        const Pins::Pin pin(*pins_);
        return GenerationRef(generation());
    }
    /// The current one. The caller holds a pin (then sequentially consistent, see Pins), or a stripe.
    Generation& generation() const noexcept { return *generation_.load(std::memory_order_seq_cst); }
    /// For appending. The caller holds a stripe.
    Journal& journal() const noexcept { return generation().journal(); }

    // Write path.
    Result<void> refuse_write_locked(const KeyspaceState* keyspace) const;
    Result<void> wait_to_write() const;
    Result<std::unique_lock<std::mutex>> lock_stripe(const KeyspaceState& keyspace, KeyHash hash);
    Result<AllStripes> exclude_writers(const KeyspaceState* keyspace);
    Result<AllStripes> exclude_writers_to_append(const KeyspaceState* keyspace);
    Result<AllStripes> lock_all(const KeyspaceState* keyspace);
    static Result<void> check_sizes(Bytes key, std::uint64_t value_size);
    Result<Current> find_current(const KeyspaceState& keyspace, KeyHash hash, Bytes key, PlainText& text) const;
    Current find_slot(const KeyspaceState& keyspace, KeyHash hash, Bytes key) const noexcept;
    Result<void> make_room(KeyspaceIndex& index, std::size_t shard, std::size_t count) const;
    Result<void> make_room(KeyspaceIndex& index, std::size_t shard, std::size_t count, std::size_t expiring) const;
    Result<void> put(KeyspaceState& keyspace, Bytes key, Bytes value, std::uint64_t expiry_unix_ms);
    Result<Appended> append_put(const KeyspaceState& keyspace, Bytes key, Bytes value, std::uint64_t expiry_unix_ms);
    Result<void> store(KeyspaceState& keyspace, KeyHash hash, const Current& current, Bytes key, Bytes value,
                       std::uint64_t expiry_unix_ms);
    Result<void> erase(KeyspaceState& keyspace, KeyHash hash, const Current& current, Bytes key);
    void index_put_plain(KeyspaceState& keyspace, KeyHash hash, const Current& current, std::uint64_t offset,
                         const FrameView& frame, const OrderedIndex::Hint& hint) noexcept;
    void index_put_expiring(KeyspaceState& keyspace, KeyHash hash, const Current& current, std::uint64_t offset,
                            const FrameView& frame, const OrderedIndex::Hint& hint) noexcept;
    void index_put(KeyspaceState& keyspace, KeyHash hash, const Current& current, std::uint64_t offset, const FrameView& frame,
                   const OrderedIndex::Hint& hint = {}) noexcept;
    void index_remove(KeyspaceState& keyspace, KeyHash hash, const Current& current, Bytes key) noexcept;
    Result<void> after_write();

    // The ordered index.
    Result<void> order(KeyspaceState& keyspace, std::vector<std::uint64_t> in_key_order = {});
    Result<void> order_as(KeyspaceState& keyspace, std::span<const std::uint64_t> offsets);
    Result<void> prepare_put(const OrderedIndex& index, Bytes key, OrderedPut& prepared) const;
    Result<NodePool::Promise> promise_nodes(const OrderedIndex& index, std::span<const Bytes> new_keys) const;
    Error out_of_memory() const;
    Error not_ordered() const;
    bool collect_range(const OrderedIndex& ordered, const Range& range, std::vector<std::uint64_t>& offsets) const;
    Result<std::vector<std::uint64_t>> locate_range(const KeyspaceIndex& index, const Range& range) const;

    void forget_records(KeyspaceState& keyspace) noexcept;
    Result<void> append_and_forget(KeyspaceState& keyspace, FrameKind kind);

    // Expiry. 0 stands for none.
#if EMDB_TTL
    std::uint64_t expiry_after(std::chrono::milliseconds duration) const;
    std::uint64_t default_expiry() const { return options_.default_ttl ? expiry_after(*options_.default_ttl) : 0; }
    Result<std::uint64_t> expiry_of(Ttl ttl) const;
    struct Sweep;
    Result<std::optional<std::size_t>> sweep_shard(KeyspaceState& keyspace, std::size_t shard, std::uint64_t now,
                                                   std::optional<Error>& damage);
#else
    static constexpr std::uint64_t default_expiry() noexcept { return 0; }
#endif

#if EMDB_NESTED
    // Groups.
    Result<std::vector<std::uint64_t>> locate_prefix(const KeyspaceIndex& index, Bytes prefix) const;
    Result<std::vector<std::uint64_t>> locate_group(const KeyspaceIndex& index, Bytes prefix) const;
#endif

    // Compaction.
    static Result<std::unique_ptr<File>> make_memory_database(Header& header);
    class PoisonUnlessSettled;
    Result<void> put_in_place(ChangeOver& change_over, TemporaryFile& temporary, File& current, File& rewritten);
    Error unsettled(const Error& why) const;
    Result<void> start_auto_compaction();
    void stop_auto_compaction();
    void forget_auto_compaction();
    void note_write() noexcept;
    void note_compaction() noexcept;
    std::uint64_t dead_bytes() const noexcept;

    // Encryption. A session is begun by the holder of all stripes.
#if EMDB_ENCRYPT
    bool wants_session() const noexcept { return generation().sealer() != nullptr && generation().sealer()->wants_session(); }
    Result<void> begin_session();
    Result<std::unique_ptr<const MetaSeal>> make_meta_seal() const;
#else
    static constexpr bool wants_session() noexcept { return false; }
    static Result<void> begin_session() { return {}; }
    static Result<std::unique_ptr<const MetaSeal>> make_meta_seal() { return std::unique_ptr<const MetaSeal>(); }
#endif

    // Thread identity for telling a transaction's own closure from other threads.
    static std::uintptr_t this_thread_token() noexcept {
        thread_local const char token = 0;
        return reinterpret_cast<std::uintptr_t>(&token);
    }

    Result<void> start(OpenedFile opened);
#if EMDB_IO_URING
    void open_ring();
    void use_ring(File& file) const;
#endif
    void close_with_last_handle() noexcept;
    Result<void> close_journal();
    Result<void> recover(std::uint64_t file_size);
    Result<void> settle_tail(std::uint64_t file_size, const ReplaySummary& summary, std::uint64_t durable_end, std::uint64_t torn);
    void checkpoint_at_close();
    /// In memory there is nothing to come back to.
    bool keeps_checkpoints() const noexcept { return meta_supported && !in_memory_; }
    std::shared_ptr<KeyspaceState> make_keyspace(std::uint32_t id, std::string name);
    void log(LogLevel level, std::string_view message) const;
    std::uint64_t now_unix_ms() const { return clock_.now_unix_ms(); }

    const OpenOptions options_;
    Environment& environment_;
    const ExpiryClock clock_;
    const std::string path_;           ///< as the user gave it
    std::string absolute_path_;        ///< for names of other files
    const bool in_memory_;
#if EMDB_IO_URING
    std::shared_ptr<SyncRing> ring_;   ///< null: syncs are system calls
#endif
    const bool verify_reads_;
    const std::uint32_t fork_count_;
    std::uint64_t hash_key_0_ = 0;
    std::uint64_t hash_key_1_ = 0;

    std::atomic<Generation*> generation_{nullptr};  ///< changed by the holder of all stripes
    std::shared_ptr<Pins> pins_;
    std::shared_ptr<NodePool> ordered_nodes_;
    std::shared_ptr<KeyspaceState> default_keyspace_;

    std::array<Stripe, shard_count> stripes_;
    std::mutex maintenance_;            ///< held by whoever rewrites the file, takes a checkpoint, or closes
    std::uint64_t checkpoint_end_ = 0;  ///< under maintenance_; the journal's end for which a close need not write one; 0: none
    std::atomic<bool> closing_{false};  ///< whoever holds maintenance_ is to give up
    std::shared_ptr<AutoCompaction> auto_compaction_;  ///< null: off
    alignas(64) std::atomic<State> state_{State::closed};  ///< open once recovery has succeeded: only then is there a tail to close
    std::atomic<std::uintptr_t> transaction_thread_{0};
    std::atomic<bool> stand_back_{false};  ///< see WritersStandBack
    std::atomic<std::uint64_t> writes_since_flush_{0};
    mutable std::mutex publishing_;
    std::atomic<std::uint64_t> commits_{0};  ///< odd while Publishing

    mutable std::mutex registry_;
    using Namespaces = std::map<std::string_view, std::shared_ptr<KeyspaceState>>;
    Namespaces namespaces_;  ///< by the names that the keyspaces have
    std::vector<std::weak_ptr<KeyspaceState>> dropped_;  ///< keyspaces that may still have handles
    std::uint32_t next_namespace_id_ = 1;  ///< changed by the holder of all stripes
};

}  // namespace emdb::detail
