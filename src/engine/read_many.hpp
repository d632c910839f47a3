#pragma once
// Many keys at once: the two cache misses of a read are started for a whole group of keys before the first is needed.
//
// First all offsets are looked up, at one moment as far as transactions go: if one was published meanwhile (commits_ has changed)
// the look-ups start over, and after a few times they are made while holding publishing_, which keeps transactions from
// publishing. The values are then read at leisure: frames never change, and the generation stays while it is referenced.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.hpp"
#include "journal/frame_prefetch.hpp"

namespace emdb::detail {

// offsets[i] becomes the offset of the frame that has the hash bits of keys[i], 0 if there is none.
void Engine::try_locate_many(const KeyspaceIndex& index, std::span<const Bytes> keys, std::span<std::uint64_t> offsets) const {
    constexpr std::size_t group = 64;
    for (std::size_t start = 0; start < keys.size(); start += group) {
        const std::size_t count = (std::min)(group, keys.size() - start);
        std::array<std::uint64_t, group> hashes;
        const Pins::Pin pin(*pins_);
        for (std::size_t i = 0; i < count; ++i) {
            const Bytes key = keys[start + i];
            hashes[i] = siphash13(key.data(), key.size(), hash_key_0_, hash_key_1_);
            index.hash.prefetch(KeyHash(hashes[i]));
        }
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint64_t offset = index.hash.find(KeyHash(hashes[i]));
            offsets[start + i] = offset;
            if (offset != 0) prefetch_frame(index.journal().address(offset));
        }
    }
}

void Engine::locate_many(const KeyspaceIndex& index, std::span<const Bytes> keys, std::span<std::uint64_t> offsets) const {
    for (int attempt = 0; attempt < 8; ++attempt) {
        const std::uint64_t before = commits_.load(std::memory_order_acquire);
        try_locate_many(index, keys, offsets);
        // The look-ups end with acquire loads, so this one comes after them.
        if (before % 2 == 0 && commits_.load(std::memory_order_relaxed) == before) return;
    }
    const std::lock_guard lock(publishing_);
    try_locate_many(index, keys, offsets);
}

Result<std::size_t> Engine::visit_many(const KeyspaceState& keyspace, std::span<const Bytes> keys,
                                       FunctionRef<void(std::size_t, MaybeView)> visit) const {
    if (!usable(keyspace)) return why_unusable(keyspace);
    constexpr std::size_t few = 256;
    std::array<std::uint64_t, few> few_offsets;
    std::vector<std::uint64_t> many_offsets(keys.size() > few ? keys.size() : 0);
    const std::span<std::uint64_t> offsets =
        keys.size() > few ? std::span<std::uint64_t>(many_offsets) : std::span<std::uint64_t>(few_offsets).first(keys.size());

    // A reference instead of a pin: the visitor is the user's code.
    const IndexRef in = reference(keyspace);
    locate_many(in.index, keys, offsets);
    const Journal& journal = in.journal();
    constexpr std::size_t ahead = 8;
    ExpiryMoment moment(clock_);
    std::size_t found = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (keys.size() > few && i + ahead < keys.size() && offsets[i + ahead] != 0) {
            prefetch_frame(journal.address(offsets[i + ahead]));
        }
        FrameView frame;
        PlainText text;
        if (offsets[i] == 0) {
            visit(i, std::nullopt);
        } else if (match_usual(journal, offsets[i], keys[i], frame, text)) [[likely]] {
            const bool live = !moment.has_expired(frame);
            if (live) ++found;
            visit(i, live ? MaybeView(frame.value.as_string_view()) : std::nullopt);
        } else {
            // Two keys with 54 equal bits of a keyed hash, or damage. What is found now may be younger than the other values.
            FrameView other;
            std::uint64_t damaged = 0;
            Match matched = Match::no;
            {
                const Pins::Pin pin(*pins_);
                matched = match_any(in.index, hash_of(keys[i]), keys[i], other, damaged, text);
            }
            if (matched == Match::damaged) return damaged_error(journal, damaged);
            if (matched == Match::yes && moment.has_expired(other)) matched = Match::no;
            if (matched == Match::yes) ++found;
            visit(i, matched == Match::yes ? MaybeView(other.value.as_string_view()) : std::nullopt);
        }
    }
    return found;
}

}  // namespace emdb::detail
