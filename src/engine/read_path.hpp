#pragma once
// The life of a get: the key's hash -> the index's candidates -> the frame in the map -> the key compared, the checksum checked ->
// the value. No lock, no system call, nothing shared written but the thread's own pin.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.hpp"

namespace emdb::detail {

Error Engine::stopped_error() const {
    if (fork_count_ != fork_count()) {
        return Error(ErrorCode::stopped, "'" + path_ + "' was opened before this process was forked; the database belongs to the "
                     "parent. Open it again once the parent has closed it.");
    }
    return Error(ErrorCode::stopped, "'" + path_ + "' was closed. Open it again to use it.");
}

Error Engine::why_unusable(const KeyspaceState& keyspace) const {
    if (state_.load(std::memory_order_acquire) != State::open || fork_count_ != fork_count()) return stopped_error();
    return Error(ErrorCode::invalid_argument, "The namespace '" + keyspace.name + "' of '" + path_ +
                 "' was dropped. Open a namespace of that name again to use it.");
}

Error damaged_record_error(const std::string& path, std::uint64_t offset) {
    return Error(ErrorCode::corrupted, "'" + path + "' is damaged at offset " + std::to_string(offset) +
                 ": the record there is not what was written. Restore the file from a backup.")
        .with_offset(offset);
}

Error Engine::damaged_error(std::uint64_t offset) const { return damaged_record_error(path_, offset); }

// Whether the frame at `offset` is the key's. A frame of another key is nearly impossible here, because 54 bits of the hash
// agree, so it is checked even when reads are not: damage must not turn into absence.
Engine::Match Engine::match(std::uint64_t offset, Bytes key, FrameView& frame, bool verify) const noexcept {
    const Journal& journal = generation_->journal();
    if (!journal.read(offset, false, frame)) return Match::damaged;
    const bool same = frame.key == key;
    if ((verify || !same) && !journal.validates(frame, offset)) return Match::damaged;
    return same ? Match::yes : Match::no;
}

// Calls take(const FrameView&) under a pin if the key has a value. False: it has none.
template <Engine::Wanted wanted, class Take>
Result<bool> Engine::read(const KeyspaceState& keyspace, Bytes key, Take&& take) const {
    if (!usable(keyspace)) [[unlikely]] return why_unusable(keyspace);
    const KeyHash hash = hash_of(key);
    const Pins::Pin pin(*pins_);
    const std::uint64_t offset = keyspace.index.find(hash);
    if (offset == 0) return false;
    FrameView frame;
    Match matched = match(offset, key, frame, verify_reads_);
    if (matched != Match::yes) [[unlikely]] {
        std::uint64_t damaged = 0;
        matched = match_any(keyspace, hash, key, frame, damaged);
        if (matched == Match::damaged) return damaged_error(damaged);
        if (matched == Match::no) return false;
    }
    if (wanted == Wanted::live && clock_.has_expired(frame)) return false;
    take(static_cast<const FrameView&>(frame));
    return true;
}

// The rare case: the first slot with the key's hash bits is not, or not certainly, the key's. Under the caller's pin.
Engine::Match Engine::match_any(const KeyspaceState& keyspace, KeyHash hash, Bytes key, FrameView& frame,
                                std::uint64_t& damaged) const {
    std::vector<std::uint64_t> offsets;
    keyspace.index.find_all(hash, offsets);
    damaged = 0;
    for (const std::uint64_t offset : offsets) {
        const Match matched = match(offset, key, frame, verify_reads_);
        if (matched == Match::yes) return Match::yes;
        if (matched == Match::damaged) damaged = offset;
    }
    return damaged != 0 ? Match::damaged : Match::no;
}

Result<MaybeValue> Engine::get(const KeyspaceState& keyspace, Bytes key) const {
    Result<MaybeValue> value{std::nullopt};
    auto found = read(keyspace, key, [&](const FrameView& frame) { value->emplace(frame.value.as_string_view()); });
    if (!found) return std::move(found).error();
    return value;
}

Result<bool> Engine::get_into(const KeyspaceState& keyspace, Bytes key, std::string& out) const {
    return read(keyspace, key, [&](const FrameView& frame) { out.assign(frame.value.as_string_view()); });
}

Result<std::optional<PinnedValue>> Engine::get_zerocopy(const KeyspaceState& keyspace, Bytes key) const {
    std::optional<PinnedValue> value;
    auto found = read(keyspace, key, [&](const FrameView& frame) {
        value = PinnedValue{generation_.get(), generation_->acquire(), frame.value};
    });
    if (!found) return std::move(found).error();
    return value;
}

Result<bool> Engine::contains_key(const KeyspaceState& keyspace, Bytes key) const {
    return read(keyspace, key, [](const FrameView&) {});
}

// Whether a key has a record, be it expired.
Result<bool> Engine::holds(const KeyspaceState& keyspace, Bytes key) const {
    return read<Wanted::any>(keyspace, key, [](const FrameView&) {});
}

Result<std::size_t> Engine::len(const KeyspaceState& keyspace) const {
    if (!usable(keyspace)) return why_unusable(keyspace);
    return static_cast<std::size_t>(keyspace.index.totals().records);
}

}  // namespace emdb::detail
