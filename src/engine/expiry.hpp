#pragma once
// The life of a record that expires. Its frame carries the moment; from then on every read passes it over (ExpiryClock), though
// the index still holds it, until it is replaced, removed or swept. A sweep asks ExpiryQueues which records are due, so it costs
// as much as it finds: 64 loads if that is nothing.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/config.hpp"
#include "engine/engine.hpp"
#include "journal/batch_buffer.hpp"

#if EMDB_TTL

namespace emdb::detail {

// 0 stands for no expiry, so what expires in the very first millisecond does so in the second. `duration` is not negative.
std::uint64_t Engine::expiry_after(std::chrono::milliseconds duration) const {
    const std::uint64_t now = now_unix_ms();
    const auto length = static_cast<std::uint64_t>(duration.count());
    return length > UINT64_MAX - now ? UINT64_MAX : (std::max)(now + length, std::uint64_t{1});
}

Result<std::uint64_t> Engine::expiry_of(Ttl ttl) const {
    switch (ttl.kind()) {
        case Ttl::Kind::never: return std::uint64_t{0};
        case Ttl::Kind::at: return (std::max)(ttl.unix_ms(), std::uint64_t{1});
        case Ttl::Kind::after:
            if (ttl.duration().count() < 0) {
                return Error(ErrorCode::invalid_argument, "A record for '" + path_ + "' can't live for " +
                             std::to_string(ttl.duration().count()) + " ms. Give Ttl::after a duration from 0 on.");
            }
            return expiry_after(ttl.duration());
        case Ttl::Kind::use_default: break;
    }
    return default_expiry();
}

Result<void> Engine::insert_with_ttl(KeyspaceState& keyspace, Bytes key, Bytes value, Ttl ttl) {
    const auto expiry = expiry_of(ttl);
    if (!expiry) return expiry.error();
    return put(keyspace, key, value, *expiry);
}

Result<std::optional<std::uint64_t>> Engine::expires_at(const KeyspaceState& keyspace, Bytes key) const {
    if (!usable(keyspace)) return why_unusable(keyspace);
    PlainText text;
    const auto found = find_frame(reference(keyspace), hash_of(key), key, text);
    if (!found) return found.error();
    return found->expiry_unix_ms == 0 ? std::optional<std::uint64_t>() : found->expiry_unix_ms;
}

Result<std::optional<std::chrono::milliseconds>> Engine::ttl(const KeyspaceState& keyspace, Bytes key) const {
    using std::chrono::milliseconds;
    auto expiry = expires_at(keyspace, key);
    if (!expiry) return std::move(expiry).error();
    if (!*expiry) return std::optional<milliseconds>();
    const std::uint64_t now = now_unix_ms();
    const std::uint64_t left = **expiry - (std::min)(now, **expiry);
    const auto longest = static_cast<std::uint64_t>((milliseconds::max)().count());
    return std::optional(milliseconds(static_cast<milliseconds::rep>((std::min)(left, longest))));
}

Result<bool> Engine::persist(KeyspaceState& keyspace, Bytes key) {
    const KeyHash hash = hash_of(key);
    {
        const auto lock = lock_stripe(keyspace, hash);
        if (!lock) return lock.error();
        keyspace.index().expiring.tidy(hash.shard());
        PlainText text;
        const auto current = find_current(keyspace, hash, key, text);
        if (!current) return current.error();
        if (!current->at || current->frame.expiry_unix_ms == 0 || clock_.has_expired(current->frame)) return false;
        // The value is copied from where it lies in the map: what is in the journal stays there.
        if (auto stored = store(keyspace, hash, *current, key, current->frame.value, 0); !stored) return std::move(stored).error();
    }
    if (auto settled = after_write(); !settled) return std::move(settled).error();
    return true;
}

/// Removes records of one shard that have expired, as many as fit into a small batch. The shard's stripe is held.
struct Engine::Sweep {
    static constexpr std::size_t entries_max = 1024;
    static constexpr std::uint64_t batch_size_max = std::uint64_t{128} << 10;

    struct Victim {
        KeyHash hash;
        Current current;
        std::uint64_t start = 0;  ///< of its removal in the batch, which has the key
    };

    Engine& engine;
    KeyspaceState& keyspace;
    std::optional<Error>& damage;
    bool found_any = false;  ///< of entries that are due
    std::vector<Victim> victims = {};
    BatchBuffer batch{engine.journal().coding()};

    // Takes due entries, drops those whose records are gone or have been rewritten, and encodes removals of the others.
    void choose(ExpiryQueues::Due& due, std::size_t shard, std::uint64_t now) {
        for (std::size_t taken = 0; taken < entries_max && batch.size() < batch_size_max; ++taken) {
            const ExpiryQueues::Entry* entry = due.take(now);
            if (entry == nullptr) return;
            found_any = true;
            Victim victim{KeyHash(entry->hash), {}};
            PlainText text;
            victim.current.at =
                keyspace.index().hash.locate(victim.hash, [&](std::uint64_t offset) { return offset == entry->offset; });
            if (!victim.current.at) continue;
            if (!engine.journal().read(entry->offset, true, victim.current.frame, text)) {
                // Without its key there is no frame that removes it. It stays to be reported by reads, or overwritten.
                if (!damage) damage = engine.damaged_error(engine.journal(), entry->offset);
                keyspace.index().expiring.became_garbage(shard);
                continue;
            }
            FrameContent content;
            content.kind = FrameKind::remove;
            content.namespace_id = keyspace.id;
            content.key = victim.current.frame.key;
            victim.start = batch.add(content);
            victim.current.frame.forget_contents();
            victims.push_back(victim);
        }
    }

    Bytes key_of(const Victim& victim) const noexcept { return batch.member(victim.start).key; }

    Result<void> remove(std::size_t shard) {
        if (victims.empty()) return {};
        auto appended = engine.journal().append(batch);
        if (!appended) return std::move(appended).error();
        {
            const HashIndex::Change change(keyspace.index().hash, shard);
            for (const Victim& victim : victims) {
                engine.index_remove(keyspace, victim.hash, victim.current, key_of(victim));
            }
        }
        if (OrderedIndex* ordered = keyspace.index().ordered.get()) {
            for (const Victim& victim : victims) ordered->tidy(key_of(victim));
        }
        return {};
    }
};

// How many were removed; nullopt: nothing was due. Else at least one due entry less is left, or an error comes back.
Result<std::optional<std::size_t>> Engine::sweep_shard(KeyspaceState& keyspace, std::size_t shard, std::uint64_t now,
                                                       std::optional<Error>& damage) {
    const auto lock = lock_stripe(keyspace, KeyHash::in_shard(shard));
    if (!lock) return lock.error();
    Sweep sweep{*this, keyspace, damage};
    ExpiryQueues::Due due(keyspace.index().expiring, shard);  // puts the entries back unless their removals have been written
    sweep.choose(due, shard, now);
    if (!sweep.found_any) return std::optional<std::size_t>();
    if (auto removed = sweep.remove(shard); !removed) return std::move(removed).error();
    due.drop();
    return std::optional(sweep.victims.size());
}

// One stripe at a time, a small batch at a time: other writers get in between.
Result<std::size_t> Engine::sweep_expired(KeyspaceState& keyspace) {
    if (auto allowed = refuse_write(); !allowed) return std::move(allowed).error();
    if (!usable(keyspace)) return why_unusable(keyspace);
    if (reference()->journal().poisoned()) return Journal::poisoned_error(path_);
    const auto in_use = [&] {
        const Pins::Pin pin(*pins_);
        return keyspace.index().expiring.in_use();
    };
    if (!in_use()) return std::size_t{0};
    const std::uint64_t now = now_unix_ms();
    // Asked anew each time: the keyspace may have changed over to another index.
    const auto is_due = [&](std::size_t shard) {
        const Pins::Pin pin(*pins_);
        return keyspace.index().expiring.is_due(shard, now);
    };
    std::size_t swept = 0;
    std::optional<Error> damage;
    for (std::size_t shard = 0; shard < shard_count; ++shard) {
        while (is_due(shard)) {
            auto removed = sweep_shard(keyspace, shard, now, damage);
            if (!removed) return std::move(removed).error();
            if (!*removed) break;  // an empty queue is always due when the clock has come to its end
            swept += **removed;
        }
    }
    if (swept != 0) {
        if (auto settled = after_write(); !settled) return std::move(settled).error();
    }
    if (damage) return *std::move(damage);
    return swept;
}

}  // namespace emdb::detail

#endif  // EMDB_TTL
