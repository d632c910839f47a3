#pragma once
// The life of a get: the key's hash -> the index's candidates -> the frame in the map -> the key compared, the checksum checked ->
// the value. No lock, no system call, nothing shared written but the thread's own pin.

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.hpp"
#include "journal/frame_prefetch.hpp"

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

Error damaged_record_error(const std::string& path, const Journal& journal, std::uint64_t offset) {
    FrameView frame;
    if (journal.seals() && journal.read_raw(offset, true, frame)) {
        PlainText text;
        const bool opens_now = journal.read(offset, true, frame, text);
        return opens_now || text.lacks_memory() ? unopened_frame_error(path, offset) : forged_frame_error(path, offset);
    }
    return Error(ErrorCode::corrupted, "'" + path + "' is damaged at offset " + std::to_string(offset) +
                 ": the record there is not what was written. Restore the file from a backup, or save what is intact with Emdb::salvage.")
        .with_offset(offset);
}

Error Engine::damaged_error(const Journal& journal, std::uint64_t offset) const {
    return damaged_record_error(path_, journal, offset);
}

// Whether the frame at `offset` is the key's. A frame of another key is nearly impossible here, because 54 bits of the hash
// agree, so it is checked even when reads are not: damage must not turn into absence.
Engine::Match Engine::match(const Journal& journal, std::uint64_t offset, Bytes key, FrameView& frame, bool verify,
                            PlainText& text) noexcept {
    if (!journal.read(offset, false, frame, text)) return Match::damaged;
    const bool same = frame.key == key;
    if ((verify || !same) && !journal.seals() && !journal.validates(frame, offset)) return Match::damaged;
    return same ? Match::yes : Match::no;
}

/// The shape of the last frame that this thread has read.
constinit inline thread_local FrameShape shape_last_read;

// The frame at an offset, with start null if there is none.
[[gnu::noinline]] inline FrameView Engine::read_and_remember_shape(const Journal& journal, std::uint64_t offset) noexcept {
    FrameView frame;
    if (!journal.read_raw(offset, false, frame) || frame.kind() != FrameKind::put) return FrameView();
    shape_last_read = FrameShape(frame);
    return frame;
}

// The short cut of match() for nearly all frames; false says nothing.
[[gnu::always_inline]] inline bool Engine::match_usual(const Journal& journal, std::uint64_t offset, Bytes key,
                                                                FrameView& frame, PlainText& text) const noexcept {
    if (journal.seals()) [[unlikely]] return match(journal, offset, key, frame, true, text) == Match::yes;
    if (!journal.read_shape(offset, shape_last_read, frame)) {
        frame = read_and_remember_shape(journal, offset);
        if (frame.start == nullptr) [[unlikely]] return false;
    }
    return frame.key.size() == key.size() && equal_bytes(frame.key.data(), key.data(), key.size()) &&
           (!verify_reads_ || journal.validates(frame, offset));
}

/// string::assign, without what that does around the copy when `out` has the right size already.
[[gnu::always_inline]] inline void assign(std::string& out, Bytes value) {
    if (out.size() == value.size()) {
        std::memcpy(out.data(), value.data(), value.size());
    } else {
        out.assign(value.as_string_view());
    }
}

// Calls take(const FrameView&, Generation&) under a pin if the key has a value; fail(Error) if that can't be found out. Before it
// needs the frame it calls prepare(probable size of the value), while the frame is on its way from memory.
//
// The usual case is inlined from end to end, and the rest is kept out of its way: see checks/wide_registers.hpp.
template <Engine::Wanted wanted, class Prepare, class Take, class Fail>
[[gnu::always_inline]] inline void Engine::read(const KeyspaceState& keyspace, Bytes key, Prepare&& prepare, Take&& take,
                                                Fail&& fail) const {
    if (!usable(keyspace)) [[unlikely]] return fail(why_unusable(keyspace));
    const KeyHash hash = hash_of(key);
    const Pins::Pin pin(*pins_);
    const KeyspaceIndex& index = keyspace.index();
    const std::uint64_t offset = index.hash.find(hash);
    if (offset == 0) return;
    const Journal& journal = index.journal();
    prefetch_frame_head(journal.address(offset));
    prepare(shape_last_read.value_size());
    FrameView frame;
    PlainText text;
    if (!match_usual(journal, offset, key, frame, text)) [[unlikely]] return read_any<wanted>(index, hash, key, take, fail);
    if (wanted == Wanted::live && clock_.has_expired(frame)) return;
    take(static_cast<const FrameView&>(frame), index.generation);
}

// read() for all other frames, and where the first slot with the key's hash bits is not the key's. Under the caller's pin.
template <Engine::Wanted wanted, class Take, class Fail>
[[gnu::noinline, gnu::cold]] void Engine::read_any(const KeyspaceIndex& index, KeyHash hash, Bytes key, Take& take,
                                                   Fail& fail) const {
    FrameView frame;
    PlainText text;
    std::uint64_t damaged = 0;
    const Match matched = match_any(index, hash, key, frame, damaged, text);
    if (matched == Match::damaged) return fail(damaged_error(index.journal(), damaged));
    if (wanted == Wanted::live && matched == Match::yes && clock_.has_expired(frame)) return;
    if (matched == Match::yes) take(static_cast<const FrameView&>(frame), index.generation);
}

// The rare case: the first slot with the key's hash bits is not, or not certainly, the key's. Under the caller's pin.
Engine::Match Engine::match_any(const KeyspaceIndex& index, KeyHash hash, Bytes key, FrameView& frame,
                                std::uint64_t& damaged, PlainText& text) const {
    std::vector<std::uint64_t> offsets;
    index.hash.find_all(hash, offsets);
    damaged = 0;
    for (const std::uint64_t offset : offsets) {
        const Match matched = match(index.journal(), offset, key, frame, verify_reads_, text);
        if (matched == Match::yes) return Match::yes;
        if (matched == Match::damaged) damaged = offset;
    }
    return damaged != 0 ? Match::damaged : Match::no;
}

// Each result is one object from the start, which is returned without being moved.
Result<MaybeValue> Engine::get(const KeyspaceState& keyspace, Bytes key) const {
    Result<MaybeValue> result{std::nullopt};
    bool found = false;
    read(
        keyspace, key, [&](std::size_t expected) { result->emplace(expected <= 4096 ? expected : 0, '\0'); },
        [&](const FrameView& frame, Generation&) {
            assign(**result, frame.value);
            found = true;
        },
        [&](Error error) { result = std::move(error); });
    if (!found && result) result->reset();
    return result;
}

Result<bool> Engine::get_into(const KeyspaceState& keyspace, Bytes key, std::string& out) const {
    Result<bool> found = false;
    read(
        keyspace, key, [](std::size_t) {},
        [&](const FrameView& frame, Generation&) {
            assign(out, frame.value);
            *found = true;
        },
        [&](Error error) { found = std::move(error); });
    return found;
}

// Opened values have memory of their own instead of the map.
PinnedValue Engine::pin_value(Generation& generation, Bytes value) {
#if EMDB_ENCRYPT
    if (generation.sealer() != nullptr) {
        auto* const owned = new OwnedValue(value);
        return {nullptr, owned, 0, owned->bytes()};
    }
#endif
    return {&generation, nullptr, generation.acquire(), value};
}

Result<std::optional<PinnedValue>> Engine::get_zerocopy(const KeyspaceState& keyspace, Bytes key) const {
    Result<std::optional<PinnedValue>> value{std::nullopt};
    read(
        keyspace, key, [](std::size_t) {},
        [&](const FrameView& frame, Generation& generation) {
            value->emplace(pin_value(generation, frame.value));
        },
        [&](Error error) { value = std::move(error); });
    return value;
}

Result<bool> Engine::contains_key(const KeyspaceState& keyspace, Bytes key) const {
    Result<bool> found = false;
    read(
        keyspace, key, [](std::size_t) {}, [&](const FrameView&, Generation&) { *found = true; },
        [&](Error error) { found = std::move(error); });
    return found;
}

// The key's frame, be it expired, with start null if it has none.
Result<FrameView> Engine::find_frame(const IndexRef& in, KeyHash hash, Bytes key, PlainText& text) const {
    FrameView frame;
    std::uint64_t damaged = 0;
    const Pins::Pin pin(*pins_);
    const Match matched = match_any(in.index, hash, key, frame, damaged, text);
    if (matched == Match::damaged) return damaged_error(in.journal(), damaged);
    return matched == Match::yes ? frame : FrameView();
}

// Whether a key has a record, be it expired.
Result<bool> Engine::holds(const KeyspaceState& keyspace, Bytes key) const {
    Result<bool> found = false;
    read<Wanted::any>(
        keyspace, key, [](std::size_t) {}, [&](const FrameView&, Generation&) { *found = true; },
        [&](Error error) { found = std::move(error); });
    return found;
}

Result<std::size_t> Engine::len(const KeyspaceState& keyspace) const {
    if (!usable(keyspace)) return why_unusable(keyspace);
    const Pins::Pin pin(*pins_);
    return static_cast<std::size_t>(keyspace.index().hash.totals().records);
}

}  // namespace emdb::detail
