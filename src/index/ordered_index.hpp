#pragma once
// OrderedIndex: the offsets of a keyspace's frames in the order of their keys, in a B+-tree of TreeNodes. Read without locks.
//
// Optimistic lock coupling: a reader notes a node's even sequence number, looks, finds the child, notes the child's number, and
// then sees whether the node's number still is the same; if not, it starts over at the root. So whatever it has found at the end
// was true of the last node at one moment, and that node was the right one.
//
// Writers hold the stripe of their key; those of different keys meet here:
//
//   1. Entries of a leaf: the leaf's sequence number is made odd by compare-and-swap from the number that the descent has
//      noted, so the leaf is still the right one, and the place found in it still is the right place.
//   2. Shape (splits, merges, the root; ordered_shape.hpp): additionally under `shape_`, so inner nodes stand still for its holder.
//      Nobody waits for `shape_` while holding a node. Keys are read before a node is locked.
//   3. A node is retired through Pins after its parent, and then the node itself, got new numbers. Whoever uses a node
//      holds a pin.
//
// An inserted key may need new nodes; the caller has a promise of them from the NodePool (nodes_for_one, nodes_for), given before
// it wrote to the journal. Nothing that changes the tree can fail.
//
// Separators and bounds are offsets too. Whoever moves frames to other offsets builds a new index: build().

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "base/atomic.hpp"
#include "base/atomic_wait.hpp"
#include "base/bytes.hpp"
#include "index/node_pool.hpp"
#include "index/pins.hpp"
#include "index/tree_node.hpp"

namespace emdb::detail {

/// One end of a range of keys.
struct KeyBound {
    Bytes key;
    bool inclusive = true;
};

class OrderedIndex;

/// Where a key is or belongs, looked up before the journal is written to: the change itself then only stores, unless the leaf has
/// changed meanwhile. Good without a pin, since it is used only if no node has been retired since.
class OrderedHint {
public:
    explicit operator bool() const noexcept { return leaf_ != nullptr; }

private:
    friend class OrderedIndex;
    TreeNode* leaf_ = nullptr;
    std::uint64_t sequence_ = 0;
    std::uint64_t retirements_ = 0;
    unsigned at_ = 0;
};

class OrderedIndex {
public:
    /// Height that no tree reaches: nodes are at least a quarter full, so 2^48 keys need ten levels.
    static constexpr std::size_t height_max = 12;
    /// What inserting one key may take: a node for each level, and a root.
    static constexpr std::size_t nodes_for_one = height_max + 1;

    OrderedIndex(std::shared_ptr<Pins> pins, std::shared_ptr<NodePool> pool, const void* source, KeyReader::Read read,
                 KeyReader::Prefetch prefetch = nullptr) noexcept
        : pins_(std::move(pins)), pool_(std::move(pool)), keys_(source, read, prefetch) {}
    OrderedIndex(const OrderedIndex&) = delete;
    OrderedIndex& operator=(const OrderedIndex&) = delete;
    /// No reader and no writer is left.
    ~OrderedIndex() { destroy_tree(root_.load(std::memory_order_relaxed)); }

    // --- readers, holding a Pin ---------------------------------------------------------------------------------------------

    /// Some consecutive entries.
    struct Slice {
        std::array<std::uint64_t, TreeNode::leaf_max> offsets;
        unsigned count = 0;
        /// The frame whose key is the bound (inclusive) to go on from; 0: no entry of the range is left.
        std::uint64_t next = 0;
    };

    /// The first entries from `from` on and up to `to` (no bound if null, and not less than `from`), as they were at one moment.
    /// Perhaps none, although there are more: `next` tells. The very first may be one below `from`: its frame is not waited for
    /// here, because the caller is going to read it anyway.
    void collect(KeyBound from, const KeyBound* to, Slice& slice) const noexcept {
        for (;;) {
            slice.count = 0;
            slice.next = 0;
            const Place leaf = descend(from.key);
            if (leaf.node == nullptr) return;
            const unsigned begin = leaf.node->position_or_tie(keys_, from.key, !from.inclusive);
            unsigned end = leaf.node->entries();
            bool ended = false;
            if (to != nullptr && !is_above(*leaf.node, *to, from)) {
                const unsigned all = end;
                end = leaf.node->position(keys_, to->key, to->inclusive);
                ended = end < all;
            }
            for (unsigned i = begin; i < end; ++i) slice.offsets[slice.count++] = leaf.node->offset(i);
            if (!ended) slice.next = leaf.node->high.load(std::memory_order_acquire);
            if (leaf.node->sequence.load(std::memory_order_relaxed) == leaf.sequence) break;
        }
        // The range may end at the leaf's bound.
        if (slice.next == 0 || to == nullptr) return;
        const int order = compare_keys(keys_(slice.next), to->key);
        if (order > 0 || (order == 0 && !to->inclusive)) slice.next = 0;
    }

    /// A frame of a key that could not be read when it was compared with others: results can't be relied upon. 0: none.
    std::uint64_t unreadable() const noexcept { return keys_.unreadable(); }
    KeyReader::Key key_at(std::uint64_t offset) const noexcept { return keys_(offset); }

    std::size_t memory_bytes() const noexcept {
        const std::size_t nodes = leaves_.load(std::memory_order_relaxed) + inners_.load(std::memory_order_relaxed);
        return sizeof(OrderedIndex) + nodes * sizeof(TreeNode);
    }

    // --- writers, holding the key's stripe and a promise of nodes where a key is inserted -----------------------------------

    /// What inserting these keys, in ascending order and new, may take. The caller holds all stripes. Reads what an insertion
    /// will read, too.
    std::size_t nodes_for(std::span<const Bytes> keys) const noexcept;
    using Hint = OrderedHint;
    Hint prepare(Bytes key) const noexcept {
        const Pins::Pin pin(*pins_);
        Hint hint;
        hint.retirements_ = retirements_.load(std::memory_order_acquire);  // what was retired by then is not found below
        const Place leaf = descend(key);
        if (leaf.node == nullptr) return hint;
        hint.at_ = leaf.node->position(keys_, key, false);
        hint.leaf_ = leaf.node;
        hint.sequence_ = leaf.sequence;
        return hint;
    }

    void insert(Bytes key, std::uint64_t offset, const Hint& hint = {}) noexcept {
        const Pins::Pin pin(*pins_);
        if (const Place leaf = place_of(hint); leaf.node != nullptr && try_lock(leaf)) {
            const bool room = leaf.node->entries() != TreeNode::leaf_max;
            if (room) insert_into(*leaf.node, hint.at_, key, offset);
            room ? unlock(leaf) : unlock_unchanged(leaf);
            if (room) return;
        }
        NodePool::Promise more;
        for (unsigned rounds = 0;;) {
            const Place leaf = descend(key);
            if (leaf.node == nullptr || leaf.node->entries() == TreeNode::leaf_max) {
                // The caller's promise lasts for one way down. If others have filled the leaf again since, it takes more, and if there is
                // no memory, it is waited for: the frame is in the journal.
                if (rounds++ > 0 && !(more = NodePool::Promise(*pool_, nodes_for_one))) continue;
                make_space(key);
                continue;
            }
            const unsigned at = leaf.node->position(keys_, key, false);
            if (!try_lock(leaf)) continue;
            insert_into(*leaf.node, at, key, offset);
            unlock(leaf);
            return;
        }
    }

    /// The key's frame moves from `old_offset` to `offset`.
    void replace(Bytes key, std::uint64_t old_offset, std::uint64_t offset, const Hint& hint = {}) noexcept {
        {
            const Pins::Pin pin(*pins_);
            const Place leaf = place_of(hint);
            if (leaf.node != nullptr && hint.at_ < leaf.node->entries() && leaf.node->offset(hint.at_) == old_offset && try_lock(leaf)) {
                leaf.node->offset_word(hint.at_).store(offset, std::memory_order_release);
                unlock(leaf);
                return;
            }
        }
        change_entry(key, old_offset, [&](TreeNode& leaf, unsigned at) { leaf.offset_word(at).store(offset, std::memory_order_release); });
    }

    void remove(Bytes key, std::uint64_t old_offset) noexcept {
        change_entry(key, old_offset, [](TreeNode& leaf, unsigned at) { leaf.remove_at(at); });
    }

    /// To be called some time after remove(): merges nodes that have become nearly empty.
    void tidy(Bytes removed_key) noexcept {
        const Pins::Pin pin(*pins_);
        const Place leaf = descend(removed_key);
        if (leaf.node == nullptr || leaf.node->entries() >= TreeNode::leaf_max / 4) return;
        merge_around(removed_key);
    }

    /// Forgets every key, and returns what is to be disposed of once that is public. The caller holds all stripes.
    TreeNode* clear() noexcept {
        TreeNode* root = root_.load(std::memory_order_relaxed);
        root_.store(nullptr, std::memory_order_seq_cst);
        leaves_.store(0, std::memory_order_relaxed);
        inners_.store(0, std::memory_order_relaxed);
        return root;
    }
    /// Room for one retirement was reserved.
    void dispose_of(TreeNode* root) noexcept {
        retirements_.fetch_add(1, std::memory_order_relaxed);  // nobody has a hint: writers get and use one under a stripe
        pins_->retire(root, &destroy_tree);
    }

    /// Fills an empty index that nobody else uses yet with frames in the order of their keys. False: out of memory.
    bool build(std::span<const std::uint64_t> offsets) noexcept;

private:
    friend class OrderedIndexInspection;  // of the tests

    /// A node and the even sequence number under which it was found to be the right one.
    struct Place {
        TreeNode* node = nullptr;
        std::uint64_t sequence = 0;
    };
    struct Path;
    struct Contents;

    std::uint64_t wait_until_even(const TreeNode& node) const noexcept {
        for (int spin = 0; spin < 128; ++spin) {
            const std::uint64_t now = node.sequence.load(std::memory_order_acquire);
            if ((now & 1) == 0) [[likely]] return now;
        }
        // The first look sees every change whose end has not seen this waiter; the ends of all others wake it.
        waiting_.fetch_add(1, std::memory_order_seq_cst);
        std::uint64_t now = node.sequence.load(std::memory_order_seq_cst);
        while ((now & 1) != 0) {
            wait_for_change(node.sequence, now, std::memory_order_relaxed);
            now = node.sequence.load(std::memory_order_acquire);
        }
        waiting_.fetch_sub(1, std::memory_order_relaxed);
        return now;
    }

    /// The leaf that a key belongs to; a null node: the tree is empty.
    Place descend(Bytes key) const noexcept {
        for (;;) {
            TreeNode* node = root_.load(std::memory_order_seq_cst);  // seq_cst: see Pins
            if (node == nullptr) return {};
            std::uint64_t sequence = wait_until_even(*node);
            // Since a root is replaced first and gets its new number then, it was the root under this number. Acquire: if it was made
            // the root anew, the number that it got before that is seen, too.
            if (root_.load(std::memory_order_acquire) != node) continue;
            while (!node->is_leaf()) {
                TreeNode* child = node->child(node->position(keys_, key, true));
                if (node->sequence.load(std::memory_order_relaxed) != sequence) break;
                child->prefetch();
                const std::uint64_t child_sequence = wait_until_even(*child);
                if (node->sequence.load(std::memory_order_relaxed) != sequence) break;
                node = child;
                sequence = child_sequence;
            }
            if (node->is_leaf()) return {node, sequence};
        }
    }

    /// Whether `to` is certainly above every key that belongs into the leaf of `from`. If not, it may be searched for there: it
    /// has the leaf's common bytes.
    static bool is_above(const TreeNode& leaf, const KeyBound& to, const KeyBound& from) noexcept {
        const auto skip = static_cast<std::size_t>(leaf.skip.load(std::memory_order_acquire));
        return skip != 0 && common_prefix(to.key, from.key) < skip;
    }

    /// Under a pin. Nodes that are retired from now on stay while the pin does: if none was before, the leaf is there.
    Place place_of(const Hint& hint) const noexcept {
        if (hint.leaf_ == nullptr || retirements_.load(std::memory_order_seq_cst) != hint.retirements_) return {};
        return {hint.leaf_, hint.sequence_};
    }

    static void insert_into(TreeNode& leaf, unsigned at, Bytes key, std::uint64_t offset) noexcept {
        const auto skip = static_cast<std::size_t>(leaf.skip.load(std::memory_order_relaxed));
        leaf.insert_at(at, key_window(key, skip), offset, nullptr);
    }

    // Relaxed: what the node holds under that number was acquired when the number was read, and a node that has been changed since
    // has another one. That the number is odd is seen by whoever sees something new in the node: see TreeNode.
    bool try_lock(const Place& place) noexcept {
        std::uint64_t expected = place.sequence;
        return place.node->sequence.compare_exchange_strong(expected, place.sequence + 1, std::memory_order_relaxed);
    }
    void unlock(const Place& place) noexcept { set_sequence(*place.node, place.sequence + 2); }
    void unlock_unchanged(const Place& place) noexcept { set_sequence(*place.node, place.sequence); }
    void set_sequence(TreeNode& node, std::uint64_t sequence) noexcept {
        // Together with the load of `waiting_`: either a waiter sees this store before it sleeps, or it is seen here.
        node.sequence.store(sequence, std::memory_order_seq_cst);
        if (waiting_.load(std::memory_order_seq_cst) != 0) wake_waiters(node.sequence);
    }

    /// Calls change(leaf, entry) on the locked leaf that has the entry.
    template <class Change>
    void change_entry(Bytes key, std::uint64_t offset, Change&& change) noexcept {
        const Pins::Pin pin(*pins_);
        for (;;) {
            Place leaf = descend(key);
            if (leaf.node == nullptr) return;
            unsigned at = leaf.node->find(key, offset);
            if (at >= leaf.node->entries()) [[unlikely]] {
                if (leaf.node->sequence.load(std::memory_order_relaxed) != leaf.sequence) continue;
                if (!find_anywhere(offset, leaf, at)) return;
            }
            if (!try_lock(leaf)) continue;
            change(*leaf.node, at);
            unlock(leaf);
            return;
        }
    }

    // Defined in ordered_shape.hpp.
    void make_space(Bytes key) noexcept;
    void grow_root() noexcept;
    void split_child(TreeNode& parent, unsigned slot, Bytes key) noexcept;
    void merge_around(Bytes key) noexcept;
    bool merge_children(TreeNode& parent, unsigned left_slot) noexcept;
    void drop_empty_roots() noexcept;
    bool find_anywhere(std::uint64_t offset, Place& leaf, unsigned& at) const noexcept;
    Path walk_down(Bytes key) const noexcept;
    Contents contents_of(const TreeNode& node) const noexcept;
    void set_bounds(Contents& contents, std::uint64_t low, std::uint64_t high) const noexcept;
    Place lock_inner(TreeNode& node) noexcept;
    TreeNode* take_node(std::uint32_t level) noexcept;
    bool reserve_retirement() noexcept;
    void retire(TreeNode* node) noexcept;
    static void destroy_tree(void* root) noexcept;

    const std::shared_ptr<Pins> pins_;
    const std::shared_ptr<NodePool> pool_;
    const KeyReader keys_;
    Atomic<TreeNode*> root_{nullptr};
    mutable Atomic<std::uint32_t> waiting_{0};
    Atomic<std::uint64_t> retirements_{0};
    Atomic<std::size_t> leaves_{0};
    Atomic<std::size_t> inners_{0};
    mutable Mutex shape_;
};

}  // namespace emdb::detail
