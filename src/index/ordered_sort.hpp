#pragma once
// Sorting frames by their keys without copying the keys: eight bytes at a time, and of keys that share a prefix the eight bytes
// behind it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "index/tree_node.hpp"

namespace emdb::detail {

struct OffsetToSort {
    std::uint64_t window;
    std::uint64_t offset;
};

/// Sorts entries whose keys are known to share `common` bytes; equal keys by their offsets. Windows are set here.
inline void sort_by_key(std::span<OffsetToSort> entries, const KeyReader& keys, std::size_t common) {
    constexpr std::size_t few = 16;
    constexpr std::size_t ahead = 16;
    const auto by_key = [&keys](const OffsetToSort& a, const OffsetToSort& b) {
        const int order = compare_keys(keys(a.offset), keys(b.offset));
        return order < 0 || (order == 0 && a.offset < b.offset);
    };
    if (entries.size() <= few) {
        std::sort(entries.begin(), entries.end(), by_key);
        return;
    }
    const KeyReader::Key first = keys(entries[0].offset);
    std::size_t shared = first.size();
    for (std::size_t i = 0; i < entries.size(); ++i) {
        OffsetToSort& entry = entries[i];
        if (i + ahead < entries.size()) keys.prefetch(entries[i + ahead].offset);
        const KeyReader::Key key = keys(entry.offset);
        entry.window = key_window(key, common);
        shared = (std::min)(shared, common_prefix(first, key));
    }
    const std::size_t start = shared < common + 4 ? common : shared;
    if (start != common) {
        for (OffsetToSort& entry : entries) entry.window = key_window(keys(entry.offset), start);
    }
    std::sort(entries.begin(), entries.end(), [](const OffsetToSort& a, const OffsetToSort& b) { return a.window < b.window; });

    for (std::size_t i = 0; i < entries.size();) {
        std::size_t end = i + 1;
        while (end < entries.size() && entries[end].window == entries[i].window) ++end;
        if (end - i == entries.size() && start == common) {
            // All are alike, and share nothing more: zeros at the ends of short keys. There is no next window to look at.
            std::sort(entries.begin(), entries.end(), by_key);
            return;
        }
        if (end - i > 1) sort_by_key(entries.subspan(i, end - i), keys, start);
        i = end;
    }
}

}  // namespace emdb::detail
