#pragma once
// The ordered index from inside: whether the tree is well formed. Included after emdb.hpp, or after index/ordered_shape.hpp.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace emdb::detail {

/// Walks a tree that nobody changes and says what is wrong with it.
class OrderedIndexInspection {
public:
    explicit OrderedIndexInspection(const OrderedIndex& index) : index_(index) {
        const TreeNode* root = index.root_.load();
        if (root != nullptr) visit(*root, 0, 0);
        if (leaves != index.leaves_.load() || inners != index.inners_.load()) complaint = "nodes are miscounted";
    }

    std::string complaint;
    std::size_t leaves = 0;
    std::size_t inners = 0;
    std::size_t height = 0;
    std::size_t skip_max = 0;
    std::vector<std::uint64_t> offsets;

private:
    void visit(const TreeNode& node, std::uint64_t low, std::uint64_t high) {
        ++(node.is_leaf() ? leaves : inners);
        height = (std::max)(height, std::size_t{node.level} + 1);
        skip_max = (std::max)(skip_max, static_cast<std::size_t>(node.skip.load()));
        if (node.low.load() != low || node.high.load() != high) complaint = "bounds differ from the parent's separators";
        if (node.sequence.load() % 2 != 0) complaint = "a node is locked";
        for (unsigned i = 0; i < node.entries(); ++i) {
            const Bytes key = index_.key_at(node.offset(i));
            if (node.window(i) != key_window(key, static_cast<std::size_t>(node.skip.load()))) complaint = "a window is not its key's";
            if (low != 0 && compare_keys(key, index_.key_at(low)) < 0) complaint = "a key is below its node";
            if (high != 0 && compare_keys(key, index_.key_at(high)) >= 0) complaint = "a key is above its node";
        }
        if (node.is_leaf()) {
            for (unsigned i = 0; i < node.entries(); ++i) offsets.push_back(node.offset(i));
            return;
        }
        for (unsigned i = 0; i <= node.entries(); ++i) {
            const TreeNode* child = node.child(i);
            if (child->level + 1 != node.level) complaint = "leaves are not all at the same depth";
            visit(*child, i == 0 ? low : node.offset(i - 1), i == node.entries() ? high : node.offset(i));
        }
    }

    const OrderedIndex& index_;
};

}  // namespace emdb::detail
