#pragma once
// EmdbIter, EmdbKeyIter, EmdbRangeIter: single-pass iteration over live records.

#include <cstddef>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/options.hpp"
#include "base/record_source.hpp"
#include "base/result.hpp"

namespace emdb {

namespace detail {

/// What the iterators share: an input range over Item. The classes below say what it promises.
template <class Item>
class SourceRange {
public:
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using iterator_concept = std::input_iterator_tag;
        using value_type = Item;
        using difference_type = std::ptrdiff_t;
        using pointer = const Item*;
        using reference = const Item&;

        iterator() noexcept = default;
        reference operator*() const noexcept { return range_->item_; }
        pointer operator->() const noexcept { return &range_->item_; }
        iterator& operator++() {
            if (!range_->step()) range_ = nullptr;
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.range_ == b.range_; }

    private:
        friend class SourceRange;
        explicit iterator(SourceRange* range) noexcept : range_(range) {}
        SourceRange* range_ = nullptr;
    };

    /// Steps to the first record that has not been seen yet. A second loop goes on where the first stopped, behind the record that it saw
    /// last.
    iterator begin() { return step() ? iterator(this) : iterator(); }
    iterator end() noexcept { return iterator(); }

    /// After the loop: success, or why it ended early. Success also in a loop that is not over.
    Result<void> status() const { return source_->status(); }

protected:
    explicit SourceRange(std::unique_ptr<RecordSource> source) noexcept : source_(std::move(source)) {}

    bool step() {
        RecordView record;
        if (!source_->next(record)) return false;
        if constexpr (std::is_same_v<Item, RecordView>) {
            item_ = record;
        } else {
            item_ = record.key;
        }
        return true;
    }

    std::unique_ptr<RecordSource> source_;
    Item item_;
};

}  // namespace detail

/// Live records in no particular order, weakly consistent with concurrent writes: each key at most once, keys present
/// throughout exactly once. For a loop over a range, `for (const auto& [key, value] : records)`: what is seen is valid until the next
/// step, and `status()` says afterwards whether it ended or failed. Reads in place, in constant memory, without a lock; records are
/// fetched some at a time, ahead of the loop. It may outlive every handle of its database, and keeps the file that it reads (after a
/// compaction, the old one) as long as it lives. Movable, but not while it is being iterated; not thread-safe.
///
/// `begin()` and `end()` are those of an input range of RecordView; `status()` is a Result<void>, a success as long as nothing has failed.
/// What ends it early, and is then said by `status()` and `collect()`: `corrupted`, with the offset; `encryption_error` and, for want of
/// memory, `io` of an encrypted database; `stopped` in a forked child. `close()` does not end it, nor does dropping its namespace
/// make an error.
class EmdbIter : public detail::SourceRange<RecordView> {
public:
    /// Made by the engine only.
    explicit EmdbIter(std::unique_ptr<detail::RecordSource> source) noexcept : SourceRange(std::move(source)) {}

    /// The records not seen yet, owned; or what ended it early, and none.
    Result<std::vector<Record>> collect();
};

/// Live records in ascending byte order of their keys; otherwise as EmdbIter, weakly consistent with concurrent writes included.
class EmdbRangeIter : public detail::SourceRange<RecordView> {
public:
    /// Made by the engine only.
    explicit EmdbRangeIter(std::unique_ptr<detail::RecordSource> source) noexcept : SourceRange(std::move(source)) {}

    /// The records not seen yet, owned; or what ended it early, and none.
    Result<std::vector<Record>> collect();
};

/// As EmdbIter, keys only: an input range of std::string_view.
class EmdbKeyIter : public detail::SourceRange<std::string_view> {
public:
    /// Made by the engine only.
    explicit EmdbKeyIter(std::unique_ptr<detail::RecordSource> source) noexcept : SourceRange(std::move(source)) {}

    /// The keys not seen yet, owned; or what ended it early, and none.
    Result<std::vector<std::string>> collect();
};

}  // namespace emdb
