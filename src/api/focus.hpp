#pragma once
// Focus: a keyspace seen from below a prefix.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "api/iterators.hpp"
#include "api/keyspace.hpp"
#include "base/bytes.hpp"
#include "base/config.hpp"
#include "base/result.hpp"
#include "base/ttl.hpp"

#if EMDB_NESTED

namespace emdb {

/// The keys of a group by the part behind `prefix() + "."`; see `Keyspace::group` for what a group is. A handle: cheap to copy,
/// thread-safe, keeps the database open as the one it was made from does, and returns the same errors. Each call puts the whole key
/// together first, which takes an allocation where that is long.
///
/// `focus("")` is the top: its keys are whole keys, and `focus("").focus("user")` is `focus("user")`. It has no group, so `iter`
/// and `delete_all` answer `invalid_argument` there.
class Focus {
public:
#if EMDB_ENCRYPT

    /// @{
    /// Wipes its prefix at its end.
    Focus(const Focus&) = default;
    Focus(Focus&&) noexcept = default;
    Focus& operator=(const Focus&) = default;
    Focus& operator=(Focus&&) noexcept = default;
    /// @}
    ~Focus();
#endif

    /// As `Keyspace::insert` of the whole key.
    Result<void> set(Bytes key, Bytes value);
#if EMDB_TTL
    /// As `Keyspace::insert_with_ttl`.
    Result<void> set_with_ttl(Bytes key, Bytes value, Ttl ttl);
#endif
    /// @{
    /// As the calls of `Keyspace` with the same names, on the whole key.
    Result<std::optional<std::string>> get(Bytes key) const;
    Result<std::optional<std::string>> remove(Bytes key);
    Result<bool> contains_key(Bytes key) const;
    /// @}

    /// The group's records under their whole keys, as `Keyspace::group` has them, but in no particular order and weakly
    /// consistent with concurrent writes (see EmdbIter). In the order of keys, and at the cost of what it finds, where range scans are
    /// enabled; else it looks at every record of the keyspace.
    Result<EmdbIter> iter() const;
    /// As `Keyspace::delete_group`.
    Result<std::size_t> delete_all();

    /// The focus `prefix() + "." + sub`; no errors, and nothing is looked at.
    Focus focus(std::string_view sub) const;
    /// As it was given, with those of the focuses above before it; valid while the handle lives.
    const std::string& prefix() const noexcept { return prefix_; }

private:
    friend class Keyspace;
    Focus(Keyspace keyspace, std::string prefix) noexcept : keyspace_(std::move(keyspace)), prefix_(std::move(prefix)) {}

    Keyspace keyspace_;
    std::string prefix_;
};

}  // namespace emdb

#endif  // EMDB_NESTED
