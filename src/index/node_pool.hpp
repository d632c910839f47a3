#pragma once
// NodePool: spare nodes for the ordered indexes of a database, so that putting a key in can't fail for want of memory.
//
// Whoever is going to change an index first has the pool promise the nodes that it may need, then writes to the journal, then
// takes what it really needs. The pool always holds at least what has been promised and not been taken. A promise is made with
// two atomic operations as long as there are spare nodes:
//
//   promise: raise promised_ (A), look at spare_ (B).     trim: lower spare_ (C), look at promised_ (D).
//   All four are sequentially consistent: if B does not see C, then D sees A, and the trimmer gives the node back.
//
// What was taken is counted in promised_ until its promise is settled, by a release: who promises after that (A acquires) sees spare_
// as it is by now. Everything else happens under the mutex, which orders it.

#include <atomic>
#include <cstddef>
#include <mutex>
#include <utility>

#include "base/atomic.hpp"
#include "index/tree_node.hpp"

namespace emdb::detail {

class NodePool {
public:
    NodePool() noexcept = default;
    NodePool(const NodePool&) = delete;
    NodePool& operator=(const NodePool&) = delete;
    ~NodePool() {
        while (list_ != nullptr) TreeNode::destroy(pop());
    }

    /// The right to take up to `count` nodes. Not granted: out of memory. Default-constructed: granted, for none.
    class Promise {
    public:
        Promise() noexcept = default;
        Promise(NodePool& pool, std::size_t count) noexcept : pool_(&pool), count_(count), granted_(pool.promise(count)) {}
        Promise(Promise&& other) noexcept
            : pool_(std::exchange(other.pool_, nullptr)), count_(other.count_), granted_(other.granted_) {}
        Promise& operator=(Promise&& other) noexcept {
            std::swap(pool_, other.pool_);
            std::swap(count_, other.count_);
            std::swap(granted_, other.granted_);
            return *this;
        }
        ~Promise() {
            if (pool_ != nullptr && granted_) pool_->settle(count_);
        }
        explicit operator bool() const noexcept { return granted_; }

    private:
        NodePool* pool_ = nullptr;
        std::size_t count_ = 0;
        bool granted_ = true;
    };

    /// A node, fresh from its constructor. The caller holds a promise.
    TreeNode* take() noexcept {
        const std::lock_guard lock(mutex_);
        spare_.fetch_sub(1, std::memory_order_relaxed);
        return pop();
    }

    std::size_t memory_bytes() const noexcept { return spare_.load(std::memory_order_relaxed) * sizeof(TreeNode); }

private:
    static constexpr std::size_t kept = 32;

    bool promise(std::size_t count) noexcept {
        const std::size_t promised = promised_.fetch_add(count, std::memory_order_seq_cst) + count;
        if (spare_.load(std::memory_order_seq_cst) >= promised) [[likely]] return true;
        const std::lock_guard lock(mutex_);
        while (spare_.load(std::memory_order_relaxed) < promised_.load(std::memory_order_relaxed)) {
            TreeNode* node = TreeNode::create();
            if (node == nullptr) {
                promised_.fetch_sub(count, std::memory_order_relaxed);
                return false;
            }
            push(node);
        }
        return true;
    }

    void settle(std::size_t count) noexcept {
        const std::size_t promised = promised_.fetch_sub(count, std::memory_order_release) - count;
        if (spare_.load(std::memory_order_relaxed) > promised + 2 * kept) [[unlikely]] trim();
    }

    void trim() noexcept {
        const std::lock_guard lock(mutex_);
        while (spare_.load(std::memory_order_relaxed) > promised_.load(std::memory_order_relaxed) + kept) {
            const std::size_t left = spare_.fetch_sub(1, std::memory_order_seq_cst) - 1;
            if (left < promised_.load(std::memory_order_seq_cst)) {
                spare_.fetch_add(1, std::memory_order_relaxed);
                return;
            }
            TreeNode::destroy(pop());
        }
    }

    // Spare nodes are chained by `first`.
    void push(TreeNode* node) noexcept {
        node->first.store(list_, std::memory_order_relaxed);
        list_ = node;
        spare_.fetch_add(1, std::memory_order_relaxed);
    }
    TreeNode* pop() noexcept {
        TreeNode* node = list_;
        list_ = node->first.load(std::memory_order_relaxed);
        node->first.store(nullptr, std::memory_order_relaxed);
        return node;
    }

    Atomic<std::size_t> promised_{0};
    Atomic<std::size_t> spare_{0};
    Mutex mutex_;
    TreeNode* list_ = nullptr;
};

}  // namespace emdb::detail
