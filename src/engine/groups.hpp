#pragma once
// Groups: all keys with a common prefix, read or removed together.
//
// A group is located first, as the offsets of its records, and read afterwards: frames never change. Locating is the one thing
// that depends on how keys can be found, see Engine::locate_prefix.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/config.hpp"
#include "crypto/secret_vector.hpp"
#include "engine/engine.hpp"
#include "journal/frame_prefetch.hpp"
#include "engine/iteration.hpp"
#include "journal/batch_buffer.hpp"

#if EMDB_NESTED

namespace emdb::detail {

/// What all keys of a group start with.
inline Result<SecretString> start_of_group(std::string_view prefix) {
    if (prefix.empty()) {
        return Error(ErrorCode::invalid_argument, "The empty prefix has no group. Name a prefix; for all records of a keyspace there "
                     "are iter() and clear().");
    }
    SecretString start;
    start.reserve(prefix.size() + 1);
    start.append(prefix).append(1, '.');
    return start;
}

inline bool starts_with(Bytes key, Bytes prefix) noexcept {
    return key.as_string_view().starts_with(prefix.as_string_view());
}

// The offsets of all records whose keys start with `prefix`, expired ones included, each key at most once. The caller holds all
// stripes, or lives with concurrent writes. Without an ordered index it looks at every record.
Result<std::vector<std::uint64_t>> Engine::locate_prefix(const KeyspaceIndex& index, Bytes prefix) const {
    if (index.ordered != nullptr) return locate_range(index, Range::prefix(prefix));
    constexpr std::size_t batch = 64;
    std::vector<std::uint64_t> found;
    std::vector<std::uint64_t> offsets;
    for (HashIndex::Cursor cursor; !cursor.at_end();) {
        offsets.clear();
        const Pins::Pin pin(*pins_);
        const Journal& journal = index.journal();
        while (offsets.size() < batch && !cursor.at_end()) {
            const std::size_t before = offsets.size();
            index.hash.collect(cursor, offsets);
            for (std::size_t i = before; i < offsets.size(); ++i) prefetch_frame(journal.address(offsets[i]));
        }
        for (const std::uint64_t offset : offsets) {
            FrameView frame;
            PlainText text;
            // Checked whatever verify_reads says: a damaged key must not be taken for one of another group.
            if (!journal.read(offset, true, frame, text)) return damaged_error(journal, offset);
            if (starts_with(frame.key, prefix)) found.push_back(offset);
        }
    }
    return found;
}

// The same, as they were at one moment as far as transactions go. While publishing_ is held only the index is read, never the
// file: that might wait for the disk, and transactions with it.
Result<std::vector<std::uint64_t>> Engine::locate_group(const KeyspaceIndex& index, Bytes prefix) const {
    if (index.ordered != nullptr) return locate_range(index, Range::prefix(prefix));
    for (int attempt = 0; attempt < 3; ++attempt) {
        const std::uint64_t before = commits_.load(std::memory_order_acquire);
        auto located = locate_prefix(index, prefix);
        // The walk ends with acquire loads, so this one comes after them.
        if (before % 2 == 0 && commits_.load(std::memory_order_relaxed) == before) return located;
    }
    std::vector<std::uint64_t> offsets;
    {
        const std::lock_guard lock(publishing_);
        const Pins::Pin pin(*pins_);
        for (HashIndex::Cursor cursor; !cursor.at_end();) index.hash.collect(cursor, offsets);
    }
    const Journal& journal = index.journal();
    std::vector<std::uint64_t> found;
    for (const std::uint64_t offset : offsets) {
        FrameView frame;
        PlainText text;
        if (!journal.read(offset, true, frame, text)) return damaged_error(journal, offset);
        if (starts_with(frame.key, prefix)) found.push_back(offset);
    }
    return found;
}

Result<std::vector<Record>> Engine::group(const KeyspaceState& keyspace, std::string_view prefix) const {
    const auto start = start_of_group(prefix);
    if (!start) return start.error();
    if (!usable(keyspace)) return why_unusable(keyspace);
    const IndexRef in = reference(keyspace);
    const auto offsets = locate_group(in.index, std::string_view(*start));
    if (!offsets) return offsets.error();
    ExpiryMoment moment(clock_);
    std::vector<Record> records;
    records.reserve(offsets->size());
    for (const std::uint64_t offset : *offsets) {
        FrameView frame;
        PlainText text;
        if (!in.journal().read(offset, verify_reads_, frame, text)) return damaged_error(in.journal(), offset);
        if (moment.has_expired(frame)) continue;
        records.push_back({std::string(frame.key.as_string_view()), std::string(frame.value.as_string_view())});
    }
    std::sort(records.begin(), records.end(), [](const Record& a, const Record& b) { return a.key < b.key; });
    return records;
}

/// Removes located records with exclusive write access, in one batch whatever their number.
class GroupRemoval {
public:
    GroupRemoval(Engine& engine, KeyspaceState& keyspace) : engine_(engine), keyspace_(keyspace), batch_(journal().coding()) {}

    /// Expired records are removed, too, but not counted.
    Result<void> add(const std::vector<std::uint64_t>& offsets) {
        ExpiryMoment moment(engine_.clock_);
        victims_.reserve(offsets.size());
        for (const std::uint64_t offset : offsets) {
            FrameView frame;
            PlainText text;
            if (!journal().read(offset, true, frame, text)) return engine_.damaged_error(journal(), offset);
            const KeyHash hash = engine_.hash_of(frame.key);
            const HashIndex::Location at =
                index().hash.locate(hash, [&](std::uint64_t candidate) { return candidate == offset; });
            if (!at) return engine_.damaged_error(journal(), offset);  // the bytes are good, but not those of this slot's key
            FrameContent content;
            content.kind = FrameKind::remove;
            content.namespace_id = keyspace_.id;
            content.key = frame.key;
            const std::uint64_t start = batch_.add(content);
            if (!moment.has_expired(frame)) ++live_;
            frame.forget_contents();
            victims_.push_back({hash, {at, frame}, start});
            affected_[hash.shard()] = true;
        }
        if (victims_.size() > UINT32_MAX) {
            return Error(ErrorCode::too_large, "A group of '" + engine_.path() + "' has more than 2^32 - 1 records, too many to "
                         "remove at once. Remove parts of it.");
        }
        return {};
    }

    /// How many live records there are to remove.
    std::size_t live() const noexcept { return live_; }
    bool empty() const noexcept { return victims_.empty(); }

    Result<void> apply() {
        auto appended = journal().append(batch_);
        if (!appended) return std::move(appended).error();
        publish();
        if (OrderedIndex* ordered = index().ordered.get()) {
            for (const Victim& victim : victims_) ordered->tidy(key_of(victim));
        }
#if EMDB_TTL
        for (std::size_t shard = 0; shard < shard_count; ++shard) index().expiring.tidy(shard);
#endif
        return {};
    }

private:
    struct Victim {
        KeyHash hash;
        Engine::Current current;
        std::uint64_t start;  ///< of its removal in the batch, which has the key
    };

    Bytes key_of(const Victim& victim) const noexcept { return batch_.member(victim.start).key; }

    Journal& journal() const noexcept { return engine_.journal(); }
    KeyspaceIndex& index() const noexcept { return keyspace_.index(); }

    void publish() noexcept {
        const Engine::Publishing publishing(engine_);
        for (std::size_t shard = 0; shard < shard_count; ++shard) {
            if (affected_[shard]) index().hash.begin_change(shard);
        }
        for (const Victim& victim : victims_) {
            engine_.index_remove(keyspace_, victim.hash, victim.current, key_of(victim));
        }
        for (std::size_t shard = 0; shard < shard_count; ++shard) {
            if (affected_[shard]) index().hash.end_change(shard);
        }
    }

    Engine& engine_;
    KeyspaceState& keyspace_;
    BatchBuffer batch_;
    std::vector<Victim> victims_;
    std::array<bool, shard_count> affected_{};
    std::size_t live_ = 0;
};

Result<std::size_t> Engine::delete_group(KeyspaceState& keyspace, std::string_view prefix) {
    const auto start = start_of_group(prefix);
    if (!start) return start.error();
    std::size_t live = 0;
    {
        const auto lock = lock_all(&keyspace);
        if (!lock) return lock.error();
        const auto offsets = locate_prefix(keyspace.index(), std::string_view(*start));
        if (!offsets) return offsets.error();
        GroupRemoval removal(*this, keyspace);
        if (auto added = removal.add(*offsets); !added) return std::move(added).error();
        if (removal.empty()) return std::size_t{0};
        if (auto applied = removal.apply(); !applied) return std::move(applied).error();
        live = removal.live();
    }
    if (auto settled = after_write(); !settled) return std::move(settled).error();
    return live;
}

/// Those records of another source whose keys start with a prefix.
class PrefixFilterSource final : public RecordSource {
public:
    PrefixFilterSource(std::unique_ptr<RecordSource> all, SecretString prefix) : all_(std::move(all)), prefix_(std::move(prefix)) {}
    ~PrefixFilterSource() override { wipe_text(prefix_); }

    bool next(RecordView& record) override {
        while (all_->next(record)) {
            if (record.key.starts_with(prefix_)) return true;
        }
        return false;
    }
    Result<void> status() const override { return all_->status(); }

private:
    const std::unique_ptr<RecordSource> all_;
    SecretString prefix_;
};

// Without an ordered index it looks at every record.
Result<std::unique_ptr<RecordSource>> Engine::iterate_group(const std::shared_ptr<KeyspaceState>& keyspace,
                                                            std::string_view prefix) const {
    auto start = start_of_group(prefix);
    if (!start) return std::move(start).error();
    if (options_.range_scans) return iterate_range(keyspace, Range::prefix(std::string_view(*start)));
    auto all = iterate(keyspace);
    if (!all) return all;
    return std::unique_ptr<RecordSource>(std::make_unique<PrefixFilterSource>(std::move(*all), std::move(*start)));
}

}  // namespace emdb::detail

#endif  // EMDB_NESTED
