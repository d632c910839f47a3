#pragma once
// How the ordered index's tree changes its shape: nodes split, merge, come and go. None of it changes what the tree holds.
//
// A step is prepared on copies first (Contents), which is where keys are read; then the nodes concerned are locked, under the
// numbers that they were copied under, overwritten and unlocked: the parent first, so that whoever finds a node changed finds its
// parent changed, too.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "index/ordered_index.hpp"

namespace emdb::detail {

/// From the root (node[0]) to a leaf; slot[i] is the place of node[i + 1] among the children of node[i].
struct OrderedIndex::Path {
    std::array<TreeNode*, height_max + 1> node;
    std::array<unsigned, height_max + 1> slot;
    unsigned size = 0;
    TreeNode& leaf() const noexcept { return *node[size - 1]; }
};

/// What a node holds, or is going to.
struct OrderedIndex::Contents {
    std::uint32_t level = 0;
    unsigned count = 0;
    std::uint64_t skip = 0;
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    std::array<std::uint64_t, TreeNode::leaf_max> windows;
    std::array<std::uint64_t, TreeNode::leaf_max> offsets;
    std::array<TreeNode*, TreeNode::inner_max + 1> children;

    unsigned capacity() const noexcept { return level == 0 ? TreeNode::leaf_max : TreeNode::inner_max; }

    void append(std::uint64_t window, std::uint64_t offset) noexcept {
        windows[count] = window;
        offsets[count++] = offset;
    }
    /// Appends the entries [from, to) of another node, in an inner node with the children around them.
    void append(const Contents& other, unsigned from, unsigned to) noexcept {
        for (unsigned i = from; level != 0 && i <= to; ++i) children[count + i - from] = other.children[i];
        for (unsigned i = from; i < to; ++i) append(other.windows[i], other.offsets[i]);
    }
    void write_to(TreeNode& node) const noexcept {
        node.skip.store(skip, std::memory_order_release);
        node.low.store(low, std::memory_order_relaxed);
        node.high.store(high, std::memory_order_release);
        for (unsigned i = 0; i < count; ++i) node.set_entry(i, windows[i], offsets[i]);
        for (unsigned i = 0; level != 0 && i <= count; ++i) node.set_child(i, children[i]);
        node.count.store(count, std::memory_order_release);
    }
};

// By the holder of `shape_`. An inner node's contents are right, and so are a leaf's bounds; its entries if its number has not
// changed.
OrderedIndex::Contents OrderedIndex::contents_of(const TreeNode& node) const noexcept {
    Contents contents;
    contents.level = node.level;
    contents.count = node.entries();
    contents.skip = node.skip.load(std::memory_order_relaxed);
    contents.low = node.low.load(std::memory_order_relaxed);
    contents.high = node.high.load(std::memory_order_relaxed);
    for (unsigned i = 0; i < contents.count; ++i) {
        contents.windows[i] = node.window(i);
        contents.offsets[i] = node.offset(i);
    }
    for (unsigned i = 0; contents.level != 0 && i <= contents.count; ++i) contents.children[i] = node.child(i);
    return contents;
}

// Windows start where the bounds differ. They are moved when that wins at least half a window, because moving them reads all
// keys of the node: keys that share little, as random ones do, are never read for it.
void OrderedIndex::set_bounds(Contents& contents, std::uint64_t low, std::uint64_t high) const noexcept {
    contents.low = low;
    contents.high = high;
    const std::uint64_t common = low == 0 || high == 0 ? 0 : common_prefix(keys_(low), keys_(high));
    if (common >= contents.skip && common < contents.skip + 4) return;
    contents.skip = common;
    for (unsigned i = 0; i < contents.count; ++i) {
        contents.windows[i] = key_window(keys_(contents.offsets[i]), static_cast<std::size_t>(common));
    }
}

// By the holder of `shape_`, for whom inner nodes stand still.
OrderedIndex::Path OrderedIndex::walk_down(Bytes key) const noexcept {
    Path path;
    TreeNode* node = root_.load(std::memory_order_relaxed);
    path.node[path.size++] = node;
    while (!node->is_leaf()) {
        const unsigned slot = node->position(keys_, key, true);
        path.slot[path.size - 1] = slot;
        node = node->child(slot);
        path.node[path.size++] = node;
    }
    return path;
}

// Only the holder of `shape_` locks inner nodes.
OrderedIndex::Place OrderedIndex::lock_inner(TreeNode& node) noexcept {
    const Place place{&node, node.sequence.load(std::memory_order_relaxed)};
    (void)try_lock(place);
    return place;
}

TreeNode* OrderedIndex::take_node(std::uint32_t level) noexcept {
    TreeNode* node = pool_->take();
    node->level = level;
    (level == 0 ? leaves_ : inners_).fetch_add(1, std::memory_order_relaxed);
    return node;
}

bool OrderedIndex::reserve_retirement() noexcept {
#if EMDB_EXCEPTIONS
    try {
        pins_->reserve(1);
    } catch (...) {
        return false;  // out of memory; what would have been retired stays, which costs nothing but its room
    }
#else
    pins_->reserve(1);
#endif
    return true;
}

void OrderedIndex::retire(TreeNode* node) noexcept {
    (node->is_leaf() ? leaves_ : inners_).fetch_sub(1, std::memory_order_relaxed);
    retirements_.fetch_add(1, std::memory_order_seq_cst);
    pins_->retire(node, &TreeNode::destroy);
}

void OrderedIndex::destroy_tree(void* root) noexcept {
    auto* node = static_cast<TreeNode*>(root);
    if (node == nullptr) return;
    for (unsigned i = 0; !node->is_leaf() && i <= node->entries(); ++i) destroy_tree(node->child(i));
    TreeNode::destroy(node);
}

// --- splitting

// Has the leaf that the key belongs to split if it is full, and before that every full node above it, from the top.
void OrderedIndex::make_space(Bytes key) noexcept {
    const std::lock_guard lock(shape_);
    if (root_.load(std::memory_order_relaxed) == nullptr) {
        root_.store(take_node(0), std::memory_order_release);  // nothing is made unreachable: see Pins
        return;
    }
    for (;;) {
        const Path path = walk_down(key);
        unsigned top = path.size - 1;
        if (path.leaf().entries() < TreeNode::leaf_max) return;
        while (top > 0 && path.node[top - 1]->entries() == TreeNode::inner_max) --top;
        if (top == 0) {
            grow_root();
            continue;
        }
        split_child(*path.node[top - 1], path.slot[top - 1], key);
        if (top == path.size - 1) return;
    }
}

void OrderedIndex::grow_root() noexcept {
    TreeNode* old = root_.load(std::memory_order_relaxed);
    TreeNode* root = take_node(old->level + 1);
    root->set_child(0, old);
    root_.store(root, std::memory_order_release);  // nothing is made unreachable: see Pins
}

// Splits a child in the middle; or, where keys arrive in ascending order, near its end, so that nodes are left behind full.
void OrderedIndex::split_child(TreeNode& parent, unsigned slot, Bytes key) noexcept {
    TreeNode& node = *parent.child(slot);
    for (;;) {
        const Place place{&node, wait_until_even(node)};
        const Contents whole = contents_of(node);
        const bool appending = whole.high == 0 && node.position(keys_, key, false) == whole.count;
        if (node.sequence.load(std::memory_order_relaxed) != place.sequence) continue;
        if (whole.count < whole.capacity()) return;

        // A leaf's separator is the right half's first key; an inner node's moves up.
        const bool leaf = node.is_leaf();
        const unsigned at = appending ? whole.count - (leaf ? 1 : 2) : whole.count / 2;
        const std::uint64_t separator = whole.offsets[at];
        Contents left;
        Contents right;
        left.level = right.level = whole.level;
        left.skip = right.skip = whole.skip;
        left.append(whole, 0, at);
        right.append(whole, leaf ? at : at + 1, whole.count);
        set_bounds(left, whole.low, separator);
        set_bounds(right, separator, whole.high);
        const auto parent_skip = static_cast<std::size_t>(parent.skip.load(std::memory_order_relaxed));
        const std::uint64_t window = key_window(keys_(separator), parent_skip);

        if (!try_lock(place)) continue;
        TreeNode* added = take_node(whole.level);
        right.write_to(*added);
        const Place above = lock_inner(parent);
        parent.insert_at(slot, window, separator, added);
        left.write_to(node);
        unlock(above);
        unlock(place);
        return;
    }
}

std::size_t OrderedIndex::nodes_for(std::span<const Bytes> keys) const noexcept {
    const Pins::Pin pin(*pins_);
    std::size_t leaf_splits = 0;
    for (std::size_t i = 0; i < keys.size();) {
        const Place leaf = descend(keys[i]);
        const std::size_t begin = i;
        if (leaf.node == nullptr) {
            leaf_splits += 1 + keys.size() * 4 / TreeNode::leaf_max;
            break;
        }
        (void)leaf.node->position(keys_, keys[i], false);
        const std::uint64_t high = leaf.node->high.load(std::memory_order_relaxed);  // nobody else changes the tree
        const KeyReader::Key bound = keys_.bound(high);
        for (++i; i < keys.size() && (high == 0 || compare_keys(keys[i], bound) < 0);) ++i;
        // A split leaves both halves half full or, at the end of the tree, one of them nearly empty; so every further one costs
        // at least a quarter of a leaf in new keys.
        const std::size_t added = i - begin;
        if (leaf.node->entries() + added > TreeNode::leaf_max) leaf_splits += 2 + added * 4 / TreeNode::leaf_max;
    }
    const std::size_t inner_splits =
        (std::min)(leaf_splits * height_max, 2 * inners_.load(std::memory_order_relaxed) + leaf_splits / 8);
    return leaf_splits + inner_splits + nodes_for_one;
}

// --- merging

// Merges the key's leaf with a neighbour under the same parent if it is nearly empty, and so on upwards.
void OrderedIndex::merge_around(Bytes key) noexcept {
    const std::lock_guard lock(shape_);
    if (root_.load(std::memory_order_relaxed) == nullptr) return;
    const Path path = walk_down(key);
    for (unsigned i = path.size - 1; i > 0; --i) {
        if (path.node[i]->entries() >= path.node[i]->capacity() / 4) break;
        TreeNode& parent = *path.node[i - 1];
        const unsigned slot = path.slot[i - 1];
        if (slot < parent.entries() && merge_children(parent, slot)) continue;
        if (slot == 0 || !merge_children(parent, slot - 1)) break;
    }
    drop_empty_roots();
}

// Moves everything of a child's right neighbour into the child, if both together leave a quarter free.
bool OrderedIndex::merge_children(TreeNode& parent, unsigned left_slot) noexcept {
    TreeNode& left = *parent.child(left_slot);
    TreeNode& right = *parent.child(left_slot + 1);
    const std::uint64_t separator = parent.offset(left_slot);
    bool reserved = false;
    for (;;) {
        const Place left_place{&left, wait_until_even(left)};
        const Place right_place{&right, wait_until_even(right)};
        Contents all = contents_of(left);
        const Contents added = contents_of(right);
        if (left.sequence.load(std::memory_order_relaxed) != left_place.sequence ||
            right.sequence.load(std::memory_order_relaxed) != right_place.sequence) {
            continue;
        }
        const unsigned total = all.count + added.count + (left.is_leaf() ? 0 : 1);
        if (total > all.capacity() * 3 / 4 || (!reserved && !reserve_retirement())) {
            if (reserved) pins_->unreserve(1);
            return false;
        }
        reserved = true;
        if (!left.is_leaf()) all.append(key_window(keys_(separator), static_cast<std::size_t>(all.skip)), separator);
        // Windows of different starts can't stand side by side; no key is as long as this one skips, so they are made anew.
        const bool comparable = all.skip == added.skip;
        all.append(added, 0, added.count);
        if (!comparable) all.skip = UINT64_MAX;
        set_bounds(all, all.low, added.high);

        if (!try_lock(left_place)) continue;
        if (!try_lock(right_place)) {
            unlock_unchanged(left_place);
            continue;
        }
        const Place above = lock_inner(parent);
        all.write_to(left);
        parent.remove_at(left_slot);
        unlock(above);
        unlock(left_place);
        unlock(right_place);
        retire(&right);
        return true;
    }
}

void OrderedIndex::drop_empty_roots() noexcept {
    for (;;) {
        TreeNode* root = root_.load(std::memory_order_relaxed);
        if (root->is_leaf() || root->entries() != 0 || !reserve_retirement()) return;
        root_.store(root->child(0), std::memory_order_seq_cst);
        unlock(lock_inner(*root));
        retire(root);
    }
}

// The entry of a frame wherever it is: for keys that are damaged, or whose way down leads past damaged ones.
bool OrderedIndex::find_anywhere(std::uint64_t offset, Place& leaf, unsigned& at) const noexcept {
    std::uint64_t from = 0;
    for (;;) {
        leaf = descend(keys_.bound(from));
        if (leaf.node == nullptr) return false;
        const unsigned count = leaf.node->entries();
        for (at = 0; at < count && leaf.node->offset(at) != offset;) ++at;
        const std::uint64_t next = leaf.node->high.load(std::memory_order_acquire);
        if (leaf.node->sequence.load(std::memory_order_relaxed) != leaf.sequence) continue;
        if (at < count) return true;
        if (compare_keys(keys_.bound(next), keys_.bound(from)) <= 0) return false;
        from = next;
    }
}

// --- building

// Leaves are filled to nine tenths: the next insertions shall not split every one of them.
bool OrderedIndex::build(std::span<const std::uint64_t> offsets) noexcept {
    constexpr std::size_t per_leaf = TreeNode::leaf_max * 9 / 10;
    constexpr std::size_t per_inner = TreeNode::inner_max * 9 / 10;
    if (offsets.empty()) return true;

    // Nodes of a finished level, and of the level above it, are chained up in place of a vector: nothing here throws.
    const std::size_t leaf_count = (offsets.size() + per_leaf - 1) / per_leaf;
    const NodePool::Promise nodes(*pool_, leaf_count + leaf_count / (per_inner / 2) + height_max);
    if (!nodes) return false;
    std::unique_ptr<TreeNode*[]> level(new (std::nothrow) TreeNode*[leaf_count]);
    if (level == nullptr) return false;
    for (std::size_t i = 0; i < leaf_count; ++i) {
        const std::size_t begin = i * per_leaf;
        const std::size_t end = (std::min)(begin + per_leaf, offsets.size());
        Contents contents;
        for (std::size_t j = end; j < (std::min)(end + per_leaf, offsets.size()); ++j) keys_.prefetch(offsets[j]);
        for (std::size_t j = begin; j < end; ++j) contents.append(0, offsets[j]);
        contents.skip = UINT64_MAX;  // no windows yet
        set_bounds(contents, i == 0 ? 0 : offsets[begin], end == offsets.size() ? 0 : offsets[end]);
        level[i] = take_node(0);
        contents.write_to(*level[i]);
    }
    std::size_t count = leaf_count;
    for (std::uint32_t height = 1; count > 1; ++height) {
        std::size_t made = 0;
        for (std::size_t i = 0; i < count; ++made) {
            Contents contents;
            contents.level = height;
            contents.children[0] = level[i];
            const std::uint64_t low = level[i]->low.load(std::memory_order_relaxed);
            std::size_t end = i + 1;
            for (; end < count && contents.count < per_inner; ++end) {
                contents.children[contents.count + 1] = level[end];
                contents.append(0, level[end]->low.load(std::memory_order_relaxed));
            }
            const std::uint64_t high = level[end - 1]->high.load(std::memory_order_relaxed);
            contents.skip = UINT64_MAX;
            set_bounds(contents, low, high);
            level[made] = take_node(height);
            contents.write_to(*level[made]);
            i = end;
        }
        count = made;
    }
    root_.store(level[0], std::memory_order_relaxed);  // whoever uses the index later is told of it by other means
    return true;
}

}  // namespace emdb::detail
