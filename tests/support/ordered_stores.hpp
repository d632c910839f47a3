#pragma once
// Databases with range scans, for the tests of those.

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "emdb.hpp"

namespace emdb_test::ordered_stores {

using Keys = std::vector<std::string>;
using emdb::Emdb;
using emdb::Keyspace;
using emdb::Range;

inline Emdb open_ordered(const std::string& file) { return Emdb::builder().path(file).enable_range_scans(true).build().value(); }
inline Emdb ordered_in_memory() { return Emdb::builder().enable_range_scans(true).build().value(); }

inline std::string bytes(std::initializer_list<int> values) {
    std::string text;
    for (const int value : values) text += static_cast<char>(value);
    return text;
}

// What range and range_iter agree upon.
inline Keys keys_in(const Keyspace& keyspace, const Range& range) {
    Keys keys;
    auto records = keyspace.range_iter(range).value();
    for (const auto& [key, value] : records) keys.emplace_back(key);
    records.status().value();
    Keys materialized;
    for (const emdb::Record& record : keyspace.range(range).value()) materialized.push_back(record.key);
    CHECK(materialized == keys);
    return keys;
}

inline void insert_all(Keyspace& keyspace, const Keys& keys) {
    for (const std::string& key : keys) keyspace.insert(key, "value of " + key).value();
}

// Both kinds of keyspace, each with a neighbour that must not show through.
template <class F>
void for_both_kinds(F&& f) {
    Emdb db = ordered_in_memory();
    auto other = db.open_namespace("other").value();
    insert_all(other, {"", "b", "bb", "zzz"});
    f(db);
    Emdb second = ordered_in_memory();
    insert_all(second, {"", "b", "bb", "zzz"});
    auto space = second.open_namespace("space").value();
    f(space);
}

}  // namespace emdb_test::ordered_stores
