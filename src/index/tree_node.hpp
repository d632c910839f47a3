#pragma once
// TreeNode: one node of the ordered index, 1 KiB: entries in key order, without their keys.
//
//   leaf    60 entries of   window (8 bytes of the key, big-endian) | offset of the key's frame
//   inner   40 separators   window | offset of a frame with that key | child right of it;   `first` is the child left of them all
//
// A search compares windows, and reads keys in the file's map only where windows are equal. The windows of a node start after
// `skip` bytes, which all keys that belong into the node have in common. That is known from its bounds: keys in [low, high) share
// whatever low and high share. Bounds and separators are offsets of frames that had these keys when the node was made. The frames
// may have been overwritten since; they stay readable as long as the file.
//
// All words that change are atomics, guarded by `sequence` (a seqlock, as in HashIndex: odd while a writer changes the node;
// release stores, acquire loads, no fences). `low` and `first` need no order: readers don't look at the one, and the other stays the
// same as long as the node can be reached. The size was measured, at a million random keys: nodes of 512 bytes are 20 % slower; nodes
// of 2 KiB scan 4 % faster, but are locked for longer and cost a small namespace twice the memory. A skip list was 4 times slower at
// scans and 5 times slower at inserts, with 36 bytes a key instead of 26.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

#include "base/atomic.hpp"
#include "base/bytes.hpp"
#include "base/coding.hpp"
#include "crypto/plain_text.hpp"

namespace emdb::detail {

#ifndef EMDB_DETAIL_MODEL  // whose nodes split and merge after a few keys
constexpr unsigned leaf_entries_max = 60;
constexpr unsigned inner_entries_max = 40;
#endif

/// Reads keys for the ordered index, which stores none.
class KeyReader {
public:
    /// Returns a null data() where no key can be read. A key that is not at hand as such is put into the text.
    using Read = Bytes (*)(const void* source, std::uint64_t offset, PlainText& text) noexcept;

    /// A key for as long as this lives.
    class Key {
    public:
        Key(const KeyReader& keys, std::uint64_t offset) noexcept : bytes_(keys.read_(keys.source_, offset, text_)) {
            if (bytes_.data() == nullptr) [[unlikely]] keys.unreadable_.store(offset, std::memory_order_relaxed);
        }
        /// None at all: less than others.
        Key() noexcept = default;
        operator Bytes() const noexcept { return bytes_; }
        std::size_t size() const noexcept { return bytes_.size(); }
        bool is_opened() const noexcept { return text_.is_used(); }

    private:
        [[no_unique_address]] PlainText text_;
        Bytes bytes_;
    };

    /// Has what read will look at fetched into the cache.
    using Prefetch = void (*)(const void* source, std::uint64_t offset) noexcept;

    KeyReader(const void* source, Read read, Prefetch fetch = nullptr) noexcept
        : source_(source), read_(read), prefetch_(fetch) {}
    /// The key of the frame at `offset`; empty, and remembered, if it can't be read.
    Key operator()(std::uint64_t offset) const noexcept { return Key(*this, offset); }
    /// The same, and no key for 0.
    Key bound(std::uint64_t offset) const noexcept { return offset == 0 ? Key() : Key(*this, offset); }
    void prefetch(std::uint64_t offset) const noexcept {
        if (prefetch_ != nullptr) prefetch_(source_, offset);
    }
    /// A key that could not be read, so that the order can't be relied upon; 0: none.
    std::uint64_t unreadable() const noexcept { return unreadable_.load(std::memory_order_relaxed); }

private:
    const void* source_;
    Read read_;
    Prefetch prefetch_;
    mutable Atomic<std::uint64_t> unreadable_{0};
};

inline int compare_keys(Bytes a, Bytes b) noexcept { return a.as_string_view().compare(b.as_string_view()); }

inline std::size_t common_prefix(Bytes a, Bytes b) noexcept {
    const std::size_t size = (std::min)(a.size(), b.size());
    return static_cast<std::size_t>(std::mismatch(a.data(), a.data() + size, b.data()).first - a.data());
}

/// The eight bytes of a key from `skip` on as a number that orders as they do; zeros where the key has ended.
inline std::uint64_t key_window(Bytes key, std::size_t skip) noexcept {
    if (key.size() >= skip + 8) [[likely]] return load_be64(key.data() + skip);
    std::uint64_t window = 0;
    for (std::size_t i = 0; i < 8; ++i) {
        window = (window << 8) | (skip + i < key.size() ? static_cast<std::uint8_t>(key.data()[skip + i]) : 0U);
    }
    return window;
}

struct alignas(64) TreeNode {
    static constexpr unsigned leaf_max = leaf_entries_max;
    static constexpr unsigned inner_max = inner_entries_max;

    /// Null: out of memory.
    static TreeNode* create() noexcept { return new (std::nothrow) TreeNode; }
    static void destroy(void* node) noexcept {
#if EMDB_ENCRYPT
        wipe(node, sizeof(TreeNode));  // windows are plaintext
#endif
        delete static_cast<TreeNode*>(node);
    }

    Atomic<std::uint64_t> sequence{0};
    std::uint32_t level = 0;  ///< 0: a leaf. Set before the node is reachable
    Atomic<std::uint32_t> count{0};
    Atomic<std::uint64_t> skip{0};
    Atomic<std::uint64_t> low{0};   ///< keys here are not less; 0: no bound, and then skip is 0
    Atomic<std::uint64_t> high{0};  ///< keys here are less; 0: no bound, and then skip is 0
    Atomic<TreeNode*> first{nullptr};
    std::array<Atomic<std::uint64_t>, std::size_t{2} * leaf_max> words{};

    bool is_leaf() const noexcept { return level == 0; }
    unsigned capacity() const noexcept { return is_leaf() ? leaf_max : inner_max; }
    unsigned entries() const noexcept { return count.load(std::memory_order_acquire); }
    Atomic<std::uint64_t>& window_word(unsigned i) noexcept { return words[i]; }
    Atomic<std::uint64_t>& offset_word(unsigned i) noexcept { return words[capacity() + i]; }
    Atomic<std::uint64_t>& child_word(unsigned i) noexcept { return words[2 * inner_max + i]; }
    std::uint64_t window(unsigned i) const noexcept { return words[i].load(std::memory_order_acquire); }
    std::uint64_t offset(unsigned i) const noexcept { return words[capacity() + i].load(std::memory_order_acquire); }
    /// The i-th of entries() + 1 children. seq_cst: see Pins.
    TreeNode* child(unsigned i) const noexcept {
        if (i == 0) return first.load(std::memory_order_relaxed);
        return reinterpret_cast<TreeNode*>(static_cast<std::uintptr_t>(words[2 * inner_max + i - 1].load(std::memory_order_seq_cst)));
    }

    // --- readers; what they see counts if `sequence` has not changed meanwhile

    /// How many entries are less than the key or, with `after`, not greater. The key belongs into this node.
    unsigned position(const KeyReader& keys, Bytes key, bool after) const noexcept {
        const std::uint64_t wanted = key_window(key, static_cast<std::size_t>(skip.load(std::memory_order_acquire)));
        const unsigned end = entries();
        unsigned at = first_not_less(wanted, end);
        unsigned ties = 0;
        while (at + ties < end && window(at + ties) == wanted) ++ties;
        while (ties > 0) {
            const int order = compare_keys(keys(offset(at + ties / 2)), key);
            if (order < 0 || (order == 0 && after)) {
                at += ties / 2 + 1;
                ties -= ties / 2 + 1;
            } else {
                ties /= 2;
            }
        }
        return at;
    }

    /// As position, but an only entry that may be the key's is counted out without being read: begin with what is there, and see
    /// whether it belongs.
    unsigned position_or_tie(const KeyReader& keys, Bytes key, bool after) const noexcept {
        const std::uint64_t wanted = key_window(key, static_cast<std::size_t>(skip.load(std::memory_order_acquire)));
        const unsigned end = entries();
        const unsigned at = first_not_less(wanted, end);
        const bool several_ties = at + 1 < end && window(at) == wanted && window(at + 1) == wanted;
        return several_ties ? position(keys, key, after) : at;
    }

    /// The entry of a key whose frame is known; entries() if there is none. Reads no frame. For writers, who lock the node under a
    /// number that they have acquired before, or else look again.
    unsigned find(Bytes key, std::uint64_t wanted_offset) const noexcept {
        const std::uint64_t wanted = key_window(key, static_cast<std::size_t>(skip.load(std::memory_order_relaxed)));
        const unsigned end = entries();
        for (unsigned i = first_not_less(wanted, end); i < end && window(i) == wanted; ++i) {
            if (offset(i) == wanted_offset) return i;
        }
        return end;
    }

    /// Fetches all of the node: a search jumps about in it, and what is done next needs the rest.
    void prefetch() const noexcept {
        for (std::size_t line = 0; line < sizeof(TreeNode) / 64; ++line) {
            __builtin_prefetch(reinterpret_cast<const std::byte*>(this) + line * 64);
        }
    }

    // --- writers, while `sequence` is odd or the node is not reachable yet

    /// Entry i and what follows move up by one; with the child right of the entry in an inner node.
    void insert_at(unsigned i, std::uint64_t new_window, std::uint64_t new_offset, TreeNode* new_child) noexcept {
        const unsigned old_count = count.load(std::memory_order_relaxed);
        for (unsigned j = old_count; j > i; --j) copy_entry(j - 1, j);
        set_entry(i, new_window, new_offset);
        if (!is_leaf()) set_child(i + 1, new_child);
        count.store(old_count + 1, std::memory_order_release);
    }

    /// Takes entry i out, with the child right of it.
    void remove_at(unsigned i) noexcept {
        const unsigned new_count = count.load(std::memory_order_relaxed) - 1;
        for (unsigned j = i; j < new_count; ++j) copy_entry(j + 1, j);
        // No word keeps a pointer to a node that may be freed.
        if (!is_leaf()) set_child(new_count + 1, nullptr);
        count.store(new_count, std::memory_order_release);
    }

    void set_entry(unsigned i, std::uint64_t new_window, std::uint64_t new_offset) noexcept {
        window_word(i).store(new_window, std::memory_order_release);
        offset_word(i).store(new_offset, std::memory_order_release);
    }
    void set_child(unsigned i, TreeNode* new_child) noexcept {
        if (i == 0) {
            first.store(new_child, std::memory_order_relaxed);
        } else {
            child_word(i - 1).store(reinterpret_cast<std::uintptr_t>(new_child), std::memory_order_seq_cst);
        }
    }

private:
    /// The first of `end` entries whose window is not less. Without branches: which way a step goes can't be predicted.
    unsigned first_not_less(std::uint64_t wanted, unsigned end) const noexcept {
        unsigned at = 0;
        for (unsigned size = end; size > 0;) {
            const unsigned half = size / 2;
            const bool less = window(at + half) < wanted;
            at = less ? at + half + 1 : at;
            size = less ? size - half - 1 : half;
        }
        return at;
    }

    void copy_entry(unsigned from, unsigned to) noexcept {
        set_entry(to, window_word(from).load(std::memory_order_relaxed), offset_word(from).load(std::memory_order_relaxed));
        if (!is_leaf()) child_word(to).store(child_word(from).load(std::memory_order_relaxed), std::memory_order_seq_cst);
    }
};
static_assert(TreeNode::leaf_max != 60 || sizeof(TreeNode) == 1024);
static_assert(2 * TreeNode::leaf_max >= 3 * TreeNode::inner_max);

}  // namespace emdb::detail
