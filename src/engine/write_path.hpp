#pragma once
// The life of a put: lock the key's stripe -> make room in its shard, and have its bucket fetched -> append the frame (the journal
// waits until everything below it is complete) -> find and change the slot -> unlock -> sync if the policy says so.
//
// The stripe makes the journal's order of a key's frames the order in which its slot changes. Whatever can fail comes before the
// append; after it only stores happen.

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "engine/engine.hpp"
#include "engine/sync_deferral.hpp"
#include "journal/frame_prefetch.hpp"

namespace emdb::detail {

// What can be said before any lock is taken.
Result<void> Engine::refuse_write() const {
    if (fork_count_ != fork_count()) return stopped_error();
    if (transaction_thread_.load(std::memory_order_relaxed) == this_thread_token()) {
        return Error(ErrorCode::invalid_argument, "A transaction's closure can't write to '" + path_ + "' directly, sync it or start "
                     "another transaction: it holds the exclusive write access itself. Use the Transaction it was given.");
    }
    return {};
}

// What is certain under the keyspace's stripe.
Result<void> Engine::refuse_write_locked(const KeyspaceState* keyspace) const {
    // Asked again here, because a transaction's closure may fork.
    if (state_.load(std::memory_order_relaxed) != State::open || fork_count_ != fork_count()) return stopped_error();
    if (journal().poisoned()) return Journal::poisoned_error(path_);
    if (keyspace != nullptr && keyspace->dropped.load(std::memory_order_relaxed)) return why_unusable(*keyspace);
    return {};
}

// What every writer passes before it takes a lock.
Result<void> Engine::wait_to_write() const {
    if (auto allowed = refuse_write(); !allowed) return allowed;
    while (stand_back_.load(std::memory_order_relaxed)) [[unlikely]] wait_for_change(stand_back_, true, std::memory_order_relaxed);
    return {};
}

Result<std::unique_lock<std::mutex>> Engine::lock_stripe(const KeyspaceState& keyspace, KeyHash hash) {
    if (auto allowed = wait_to_write(); !allowed) return std::move(allowed).error();
    std::unique_lock lock(stripe_of(keyspace, hash.shard()).mutex);
    if (auto allowed = refuse_write_locked(&keyspace); !allowed) return std::move(allowed).error();
    while (wants_session()) [[unlikely]] {
        lock.unlock();
        if (auto all = lock_all(nullptr); !all) return std::move(all).error();  // begins one
        lock.lock();
        if (auto allowed = refuse_write_locked(&keyspace); !allowed) return std::move(allowed).error();
    }
    return lock;
}

// For who appends nothing.
Result<Engine::AllStripes> Engine::exclude_writers(const KeyspaceState* keyspace) {
    if (auto allowed = refuse_write(); !allowed) return std::move(allowed).error();
    AllStripes lock(*this);
    if (auto allowed = refuse_write_locked(keyspace); !allowed) return std::move(allowed).error();
    return lock;
}

Result<Engine::AllStripes> Engine::lock_all(const KeyspaceState* keyspace) {
    if (auto allowed = wait_to_write(); !allowed) return std::move(allowed).error();
    return exclude_writers_to_append(keyspace);
}

Result<Engine::AllStripes> Engine::exclude_writers_to_append(const KeyspaceState* keyspace) {
    auto lock = exclude_writers(keyspace);
    if (lock && wants_session()) [[unlikely]] {
        if (auto begun = begin_session(); !begun) return std::move(begun).error();
    }
    return lock;
}

Result<void> Engine::check_sizes(Bytes key, std::uint64_t value_size) {
    if (key.size() > key_size_max) {
        return Error(ErrorCode::too_large, "A key of " + std::to_string(key.size()) + " bytes is over the limit of " +
                     std::to_string(key_size_max) + ". Store the long part in the value.");
    }
    if (value_size > value_size_max) {
        return Error(ErrorCode::too_large, "A value of " + std::to_string(value_size) + " bytes is over the limit of " +
                     std::to_string(value_size_max) + ". Split it over several keys.");
    }
    return {};
}

// For writes that need the key's present value.
Result<Engine::Current> Engine::find_current(const KeyspaceState& keyspace, KeyHash hash, Bytes key, PlainText& text) const {
    Current current;
    std::uint64_t damaged = 0;
    current.at = keyspace.index().hash.locate(hash, [&](std::uint64_t offset) {
        prefetch_frame(journal().address(offset));
        const Match matched = match(journal(), offset, key, current.frame, true, text);
        if (matched == Match::damaged) damaged = offset;
        return matched != Match::no;
    });
    if (damaged != 0) return damaged_error(journal(), damaged);
    return current;
}

// For writes that replace whatever the key has. A record that is damaged beyond recognition is taken for the key's, if no other
// is: 54 bits of its hash say so, and its value is lost in any case. So overwriting a damaged record heals it.
Engine::Current Engine::find_slot(const KeyspaceState& keyspace, KeyHash hash, Bytes key) const noexcept {
    Current current;
    PlainText text;
    bool damaged = false;
    current.at = keyspace.index().hash.locate(hash, [&](std::uint64_t offset) {
        const Match matched = match(journal(), offset, key, current.frame, false, text);
        damaged = damaged || matched == Match::damaged;
        return matched == Match::yes;
    });
    if (text.is_used()) current.frame.forget_contents();
    if (current.at || !damaged) [[likely]] return current;
    current.at = keyspace.index().hash.locate(hash, [&](std::uint64_t offset) {
        return match(journal(), offset, key, current.frame, false, text) == Match::damaged;
    });
    current.frame = FrameView();
    return current;
}

Error Engine::out_of_memory() const {
    return Error(ErrorCode::io, "Out of memory for the index of '" + path_ + "'. Free some memory; nothing was written.");
}

Result<void> Engine::make_room(KeyspaceIndex& index, std::size_t shard, std::size_t count) const {
    if (index.hash.make_room(shard, count)) return {};
    return out_of_memory();
}

// Whatever `count` puts into a shard need, `expiring` of them with an expiry.
[[gnu::always_inline]] inline Result<void> Engine::make_room(KeyspaceIndex& index, std::size_t shard, std::size_t count,
                                                             [[maybe_unused]] std::size_t expiring) const {
#if EMDB_TTL
    if (expiring != 0 || index.expiring.in_use()) [[unlikely]] {
        if (!index.expiring.make_room(shard, expiring)) return out_of_memory();
    }
#endif
    return make_room(index, shard, count);
}

inline void Engine::index_put_plain(KeyspaceState& keyspace, KeyHash hash, const Current& current, std::uint64_t offset,
                                    const FrameView& frame, const OrderedIndex::Hint& hint) noexcept {
    const std::uint64_t logical = frame.key.size() + frame.value.size();
    Stripe& stripe = stripe_of(keyspace, hash.shard());
    KeyspaceIndex& index = keyspace.index();
    if (index.ordered != nullptr) {
        if (current.at) {
            index.ordered->replace(frame.key, current.at.offset, offset, hint);
        } else {
            index.ordered->insert(frame.key, offset, hint);
        }
    }
    if (current.at) {
        const std::uint64_t old_logical = frame.key.size() + current.frame.value.size();
        index.hash.replace(hash, current.at, offset, logical - old_logical, frame.size - current.frame.size);
        stripe.account(0, logical - old_logical, frame.size - current.frame.size);
    } else {
        index.hash.insert(hash, offset, logical, frame.size);
        stripe.account(1, logical, frame.size);
    }
}

#if EMDB_TTL
// Out of line, so that puts of other records are as short as without expiry.
[[gnu::noinline]] void Engine::index_put_expiring(KeyspaceState& keyspace, KeyHash hash, const Current& current,
                                                  std::uint64_t offset, const FrameView& frame,
                                                  const OrderedIndex::Hint& hint) noexcept {
    index_put_plain(keyspace, hash, current, offset, frame, hint);
    ExpiryQueues& expiring = keyspace.index().expiring;
    if (current.at && current.frame.expiry_unix_ms != 0) expiring.became_garbage(hash.shard());
    if (frame.expiry_unix_ms != 0) expiring.add(hash.shard(), {frame.expiry_unix_ms, offset, hash.value()});
}
#endif

// Puts a frame that the journal has completed where readers find it, inside a window of the shard. Nothing can fail.
void Engine::index_put(KeyspaceState& keyspace, KeyHash hash, const Current& current, std::uint64_t offset,
                       const FrameView& frame, const OrderedIndex::Hint& hint) noexcept {
#if EMDB_TTL
    if ((current.frame.expiry_unix_ms | frame.expiry_unix_ms) != 0) [[unlikely]] {
        return index_put_expiring(keyspace, hash, current, offset, frame, hint);
    }
#endif
    index_put_plain(keyspace, hash, current, offset, frame, hint);
}

void Engine::index_remove(KeyspaceState& keyspace, KeyHash hash, const Current& current, Bytes key) noexcept {
    const std::uint64_t logical = key.size() + current.frame.value.size();
    KeyspaceIndex& index = keyspace.index();
    if (index.ordered != nullptr) index.ordered->remove(key, current.at.offset);
    index.hash.remove(hash, current.at, logical, current.frame.size);
    stripe_of(keyspace, hash.shard()).account(~std::uint64_t{0}, 0 - logical, 0 - current.frame.size);
#if EMDB_TTL
    if (current.frame.expiry_unix_ms != 0) [[unlikely]] index.expiring.became_garbage(hash.shard());
#endif
}

Result<Engine::Appended> Engine::append_put(const KeyspaceState& keyspace, Bytes key, Bytes value,
                                             std::uint64_t expiry_unix_ms) {
    FrameContent content;
    content.kind = FrameKind::put;
    content.namespace_id = keyspace.id;
    content.expiry_unix_ms = expiry_unix_ms;
    content.key = key;
    content.value = value;
    auto offset = journal().append(content);
    if (!offset) return std::move(offset).error();
    Appended appended;
    appended.offset = *offset;
    appended.view.size = journal().frame_size(content);
    appended.view.expiry_unix_ms = expiry_unix_ms;
    appended.view.key = key;
    appended.view.value = value;
    return appended;
}

Result<void> Engine::store(KeyspaceState& keyspace, KeyHash hash, const Current& current, Bytes key, Bytes value,
                           std::uint64_t expiry_unix_ms) {
    OrderedPut ordered;
    KeyspaceIndex& index = keyspace.index();
    if (index.ordered != nullptr) {
        if (auto prepared = prepare_put(*index.ordered, key, ordered); !prepared) return prepared;
    }
    const auto frame = append_put(keyspace, key, value, expiry_unix_ms);
    if (!frame) return frame.error();
    const HashIndex::Change change(keyspace.index().hash, hash.shard());
    index_put(keyspace, hash, current, frame->offset, frame->view, ordered.hint);
    return {};
}

Result<void> Engine::erase(KeyspaceState& keyspace, KeyHash hash, const Current& current, Bytes key) {
    FrameContent content;
    content.kind = FrameKind::remove;
    content.namespace_id = keyspace.id;
    content.key = key;
#if EMDB_TTL
    keyspace.index().expiring.tidy(hash.shard());
#endif
    auto offset = journal().append(content);
    if (!offset) return std::move(offset).error();
    {
        const HashIndex::Change change(keyspace.index().hash, hash.shard());
        index_remove(keyspace, hash, current, key);
    }
    if (OrderedIndex* ordered = keyspace.index().ordered.get()) ordered->tidy(key);
    return {};
}

// What the flush policy asks for after a write; no lock is held.
Result<void> Engine::after_write() {
    note_write();
    const FlushPolicy policy = options_.flush_policy;
    if (in_memory_ || policy.kind() == FlushPolicy::Kind::on_each_flush || policy.kind() == FlushPolicy::Kind::group) return {};
    if (policy.kind() == FlushPolicy::Kind::every_n) {
        const std::uint64_t writes = writes_since_flush_.fetch_add(1, std::memory_order_relaxed) + 1;
        if (writes % policy.n() != 0) return {};
    }
#if EMDB_ASYNC
    if (SyncDeferral::takes_over(*this)) return {};
#endif
    auto flushed = reference()->flusher().flush(true);
    if (flushed) return flushed;
    return unsynced_error(flushed.error());
}

// What a write says whose sync failed.
Error Engine::unsynced_error(const Error& error) const {
    if (error.code() == ErrorCode::io) return error;
    return Error(error.code(), "The write to '" + path_ + "' was applied, but may or may not be found after reopening, because it "
                 "could not be synced: " + error.message());
}

// Inlined, so that a plain insert is one function with no expiry to hand around.
[[gnu::always_inline]] inline Result<void> Engine::put(KeyspaceState& keyspace, Bytes key, Bytes value, std::uint64_t expiry_unix_ms) {
    if (auto sized = check_sizes(key, value.size()); !sized) return sized;
    const KeyHash hash = hash_of(key);
    {
        const auto lock = lock_stripe(keyspace, hash);
        if (!lock) return lock.error();
        KeyspaceIndex& index = keyspace.index();
        if (auto room = make_room(index, hash.shard(), 1, expiry_unix_ms != 0); !room) return room;
        index.hash.prefetch(hash);  // while the ordered index is looked at and the frame is appended
        OrderedPut ordered;
        if (index.ordered != nullptr) {
            if (auto prepared = prepare_put(*index.ordered, key, ordered); !prepared) return prepared;
        }
        const auto frame = append_put(keyspace, key, value, expiry_unix_ms);
        if (!frame) return frame.error();
        const Current current = find_slot(keyspace, hash, key);
        const HashIndex::Change change(keyspace.index().hash, hash.shard());
        index_put(keyspace, hash, current, frame->offset, frame->view, ordered.hint);
    }
    return after_write();
}

Result<void> Engine::insert(KeyspaceState& keyspace, Bytes key, Bytes value) {
    return put(keyspace, key, value, default_expiry());
}

Result<MaybeValue> Engine::remove(KeyspaceState& keyspace, Bytes key) {
    const KeyHash hash = hash_of(key);
    MaybeValue prior;
    {
        const auto lock = lock_stripe(keyspace, hash);
        if (!lock) return lock.error();
        PlainText text;
        const auto current = find_current(keyspace, hash, key, text);
        if (!current) return current.error();
        if (!current->at) return MaybeValue();
        // An expired record is removed for good, too: once this call has returned, no clock that goes back may show it again.
        if (!clock_.has_expired(current->frame)) prior.emplace(current->frame.value.as_string_view());
        if (auto erased = erase(keyspace, hash, *current, key); !erased) return std::move(erased).error();
    }
    if (auto settled = after_write(); !settled) return std::move(settled).error();
    return prior;
}

Result<bool> Engine::compare_exchange(KeyspaceState& keyspace, Bytes key, std::optional<Bytes> expected,
                                      std::optional<Bytes> desired) {
    if (auto sized = check_sizes(key, desired ? desired->size() : 0); !sized) return std::move(sized).error();
    const KeyHash hash = hash_of(key);
    const std::uint64_t expiry = desired ? default_expiry() : 0;
    {
        const auto lock = lock_stripe(keyspace, hash);
        if (!lock) return lock.error();
        if (auto room = make_room(keyspace.index(), hash.shard(), 1, expiry != 0); !room) return std::move(room).error();
        PlainText text;
        const auto current = find_current(keyspace, hash, key, text);
        if (!current) return current.error();
        const bool present = current->at && !clock_.has_expired(current->frame);
        if (present != expected.has_value()) return false;
        if (expected && current->frame.value != *expected) return false;
        if (!desired && !current->at) return true;
        auto changed = desired ? store(keyspace, hash, *current, key, *desired, expiry) : erase(keyspace, hash, *current, key);
        if (!changed) return std::move(changed).error();
    }
    if (auto settled = after_write(); !settled) return std::move(settled).error();
    return true;
}

/// Wipes the caller's new value when it has been written.
class WipedValue {
public:
    explicit WipedValue(MaybeValue& value) noexcept : value_(value) {}
    WipedValue(const WipedValue&) = delete;
    WipedValue& operator=(const WipedValue&) = delete;
    ~WipedValue() {
        if (value_) wipe_text(*value_);
    }

private:
    MaybeValue& value_;
};

Result<void> Engine::update(KeyspaceState& keyspace, Bytes key, FunctionRef<Result<MaybeValue>(MaybeView)> change) {
    if (auto sized = check_sizes(key, 0); !sized) return sized;
    const KeyHash hash = hash_of(key);
    for (;;) {
        if (auto allowed = refuse_write(); !allowed) return allowed;
        if (!usable(keyspace)) return why_unusable(keyspace);
        const IndexRef in = reference(keyspace);  // keeps the value in place while the caller's code looks at it
        PlainText text;
        auto found = find_frame(in, hash, key, text);
        if (!found) return std::move(found).error();
        const FrameView& seen = *found;
        const bool has_record = seen.start != nullptr;
        const bool present = has_record && !clock_.has_expired(seen);
        auto desired = change(present ? MaybeView(seen.value.as_string_view()) : std::nullopt);
        if (!desired) return std::move(desired).error();
        const WipedValue wiped(*desired);
        if (auto sized = check_sizes(key, *desired ? (*desired)->size() : 0); !sized) return sized;
        const std::uint64_t expiry = *desired ? default_expiry() : 0;
        const auto lock = lock_stripe(keyspace, hash);
        if (!lock) return lock.error();
        if (auto room = make_room(keyspace.index(), hash.shard(), 1, expiry != 0); !room) return room;
        const Current current = find_slot(keyspace, hash, key);
        // A frame's place is its identity: the key was not written meanwhile if it still has the same one.
        if (static_cast<bool>(current.at) != has_record || (has_record && current.frame.start != seen.start)) continue;
        if (!*desired && !has_record) return {};
        auto changed = *desired ? store(keyspace, hash, current, key, **desired, expiry) : erase(keyspace, hash, current, key);
        if (!changed) return changed;
        break;
    }
    return after_write();
}

}  // namespace emdb::detail
