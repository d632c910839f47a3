#pragma once
// RecordSource: where iterators get their records from.

#include <string_view>

#include "base/result.hpp"

namespace emdb {

/// A record in place; the views end with the iterator's next step, and with the iterator.
struct RecordView {
    /// In the map, or in a buffer of the iterator.
    std::string_view key;
    /// As the key.
    std::string_view value;
};

namespace detail {

/// Implemented by the engine, held by the public iterators.
class RecordSource {
public:
    virtual ~RecordSource() = default;
    /// Steps to the next record; false: no more, or failed (see status()). The views are valid until the next call.
    virtual bool next(RecordView& record) = 0;
    virtual Result<void> status() const = 0;
};

}  // namespace detail

}  // namespace emdb
