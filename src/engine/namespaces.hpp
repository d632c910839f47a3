#pragma once
// Keyspaces as a whole: opening and dropping namespaces, clearing. Each of them is one frame, written with exclusive write access.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/engine.hpp"

namespace emdb::detail {

constexpr std::size_t namespace_name_size_max = 65535;

// Makes a keyspace empty for readers, all at once. The caller holds all stripes and has reserved room in pins_, or is recovery.
void Engine::forget_records(KeyspaceState& keyspace) noexcept {
    HashIndex& index = keyspace.index().hash;
    OrderedIndex* const ordered = keyspace.index().ordered.get();
    if (!index.has_shards()) return;
    HashIndex::Unlinked unlinked;
    TreeNode* unlinked_tree = nullptr;
    {
        const Publishing publishing(*this);
        for (std::size_t shard = 0; shard < shard_count; ++shard) {
            const RecordTotals totals = index.shard_totals(shard);
            stripe_of(keyspace, shard).account(0 - totals.records, 0 - totals.logical_bytes, 0 - totals.frame_bytes);
            index.begin_change(shard);
        }
        unlinked = index.clear();
        if (ordered != nullptr) unlinked_tree = ordered->clear();
        for (std::size_t shard = 0; shard < shard_count; ++shard) index.end_change(shard);
    }
#if EMDB_TTL
    keyspace.index().expiring.clear();
#endif
    index.dispose_of(unlinked);
    if (ordered != nullptr) ordered->dispose_of(unlinked_tree);
}

// Appends a frame that makes a keyspace empty, then makes it so. What may fail for want of memory comes before the frame.
Result<void> Engine::append_and_forget(KeyspaceState& keyspace, FrameKind kind) {
    const KeyspaceIndex& index = keyspace.index();
    const std::size_t trees = index.ordered != nullptr && index.hash.has_shards() ? 1 : 0;
    const std::size_t tables = index.hash.tables_to_clear() + trees;
    pins_->reserve(tables);
    FrameContent content;
    content.kind = kind;
    content.namespace_id = keyspace.id;
    if (auto appended = journal().append(content); !appended) {
        pins_->unreserve(tables);
        return std::move(appended).error();
    }
    if (kind == FrameKind::namespace_drop) keyspace.dropped.store(true, std::memory_order_release);
    forget_records(keyspace);
    return {};
}

Result<void> Engine::clear(KeyspaceState& keyspace) {
    {
        const auto lock = lock_all(&keyspace);
        if (!lock) return lock.error();
        if (auto cleared = append_and_forget(keyspace, FrameKind::clear); !cleared) return cleared;
    }
    return after_write();
}

Result<std::shared_ptr<KeyspaceState>> Engine::open_namespace(std::string_view name) {
    if (name.empty() || name.size() > namespace_name_size_max) {
        return Error(ErrorCode::invalid_argument, "A namespace's name has 1 to 65,535 bytes, not " + std::to_string(name.size()) +
                     ". The default keyspace is the Emdb handle itself.");
    }
    if (!usable(*default_keyspace_)) return stopped_error();
    const auto existing = [&]() -> std::shared_ptr<KeyspaceState> {
        const std::lock_guard lock(registry_);
        const auto found = namespaces_.find(name);
        return found == namespaces_.end() ? nullptr : found->second;
    };
    if (auto found = existing()) return found;
    std::shared_ptr<KeyspaceState> created;
    {
        const auto lock = lock_all(nullptr);
        if (!lock) return lock.error();
        if (auto found = existing()) return found;
        if (next_namespace_id_ == UINT32_MAX) {
            return Error(ErrorCode::too_large, "'" + path_ + "' has used up all namespace ids. Copy it into a new database.");
        }
        // Whatever allocates comes before the frame is written.
        created = make_keyspace(next_namespace_id_, std::string(name));
        if (auto ordered = order(*created); !ordered) return std::move(ordered).error();
        std::map<std::string, std::shared_ptr<KeyspaceState>, std::less<>> node;
        node.emplace(created->name, created);
        FrameContent content;
        content.kind = FrameKind::namespace_create;
        content.namespace_id = created->id;
        content.key = name;
        if (auto appended = journal().append(content); !appended) return std::move(appended).error();
        ++next_namespace_id_;
        const std::lock_guard registry_lock(registry_);
        namespaces_.merge(node);
    }
    if (auto settled = after_write(); !settled) return std::move(settled).error();
    return created;
}

Result<bool> Engine::drop_namespace(std::string_view name) {
    if (!usable(*default_keyspace_)) return stopped_error();
    {
        const auto lock = lock_all(nullptr);
        if (!lock) return lock.error();
        std::shared_ptr<KeyspaceState> keyspace;
        {
            const std::lock_guard registry_lock(registry_);
            const auto found = namespaces_.find(name);
            if (found == namespaces_.end()) return false;
            keyspace = found->second;
        }
        // Remembered first, because that may fail: a compaction must not miss a keyspace that somebody may be looking into.
        std::erase_if(dropped_, [](const auto& dropped) { return dropped.expired(); });
        dropped_.push_back(keyspace);
        if (auto dropped = append_and_forget(*keyspace, FrameKind::namespace_drop); !dropped) {
            dropped_.pop_back();
            return std::move(dropped).error();
        }
        const std::lock_guard registry_lock(registry_);
        namespaces_.erase(keyspace->name);
    }
    if (auto settled = after_write(); !settled) return std::move(settled).error();
    return true;
}

Result<std::vector<std::string>> Engine::list_namespaces() const {
    if (!usable(*default_keyspace_)) return stopped_error();
    const std::lock_guard lock(registry_);
    std::vector<std::string> names;
    names.reserve(namespaces_.size());
    for (const auto& entry : namespaces_) names.push_back(entry.first);
    return names;
}

}  // namespace emdb::detail
