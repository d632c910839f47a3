#pragma once
// ValueRef: a value read in place.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.hpp"

namespace emdb {

namespace detail {
class Generation;
class OwnedValue;
}

/// A value where it lies in the database's memory map, without a copy; of an encrypted database one that was opened into memory of
/// its own, which is wiped with the last copy. It stays valid and unchanged for its whole life: across overwrites, removals, growth,
/// compaction, `clear()`, `drop_namespace()`, `close()`, and after the last Emdb handle is gone. While it lives its map stays in
/// memory, and after a compaction the old file on the disk, so don't hoard them. Its calls don't fail. One object is not to be used
/// from two threads at once, copies may. Reading it may wait for a page that the system has dropped; what the disk has lost or
/// changed since the ValueRef was made is not noticed.
class ValueRef {
public:
    /// @{
    /// Costs an atomic counter, no copy of the value. What has been moved from may only be destroyed or assigned to.
    ValueRef(const ValueRef& other) noexcept;
    ValueRef(ValueRef&& other) noexcept;
    ValueRef& operator=(ValueRef other) noexcept;
    /// @}
    ~ValueRef();

    /// Where the value lies, with no particular alignment; may be null when it is empty.
    const std::byte* data() const noexcept { return value_.data(); }
    /// @{
    /// Bytes of the value.
    std::size_t size() const noexcept { return value_.size(); }
    std::size_t len() const noexcept { return value_.size(); }
    /// @}
    /// Whether it has no bytes.
    bool empty() const noexcept { return value_.empty(); }
    /// The value in place, as characters; valid while a copy of this ValueRef lives.
    std::string_view as_string_view() const noexcept { return value_.as_string_view(); }
    /// The same as bytes.
    std::span<const std::byte> as_slice() const noexcept { return {value_.data(), value_.size()}; }
    /// @{
    /// A copy of the value; the only calls here that allocate.
    std::string to_string() const { return std::string(value_.as_string_view()); }
    std::string into_string() && { return to_string(); }
    std::string into_string() const& { return to_string(); }
    /// @}
    /// To hand it to a call; valid while a copy of this ValueRef lives.
    operator Bytes() const noexcept { return value_; }

    /// @{
    /// Byte by byte.
    friend bool operator==(const ValueRef& a, const ValueRef& b) noexcept { return a.value_ == b.value_; }
    friend bool operator==(const ValueRef& a, Bytes b) noexcept { return a.value_ == b; }
    /// @}

    /// Made by the engine only: takes over a reference that the caller holds on `generation`.
    ValueRef(detail::Generation* generation, detail::OwnedValue* owned, std::uint32_t stripe, Bytes value) noexcept
        : value_(value), generation_(generation), owned_(owned), stripe_(stripe) {}

private:
    Bytes value_;
    detail::Generation* generation_;
    detail::OwnedValue* owned_;  ///< of an encrypted database
    std::uint32_t stripe_;
};

}  // namespace emdb
