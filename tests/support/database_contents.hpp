#pragma once
// Everything that a reader can see of a database, for comparing.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "emdb.hpp"

namespace emdb_test {

struct SeenRecord {
    std::string value;
    std::optional<std::uint64_t> expires_at;
    friend bool operator==(const SeenRecord&, const SeenRecord&) = default;
};

/// By namespace ("": the default keyspace, always there) and key.
using SeenContents = std::map<std::string, std::map<std::string, SeenRecord>>;

inline std::map<std::string, SeenRecord> contents_of(const emdb::Keyspace& keyspace) {
    std::map<std::string, SeenRecord> seen;
    auto records = keyspace.iter().value();
    for (const auto& [key, value] : records) {
        SeenRecord record{std::string(value), std::nullopt};
#if EMDB_TTL
        record.expires_at = keyspace.expires_at(key).value();
#endif
        seen.emplace(key, std::move(record));
    }
    records.status().value();
    return seen;
}

inline SeenContents contents_of(emdb::Emdb& db) {
    SeenContents seen;
    seen[""] = contents_of(static_cast<const emdb::Keyspace&>(db));
    for (const std::string& name : db.list_namespaces().value()) seen[name] = contents_of(db.open_namespace(name).value());
    return seen;
}

inline SeenContents contents_of(const std::string& path) {
    auto db = emdb::Emdb::open(path).value();
    return contents_of(db);
}

inline std::size_t record_count(const SeenContents& contents) {
    std::size_t count = 0;
    for (const auto& [name, records] : contents) count += records.size();
    return count;
}

inline std::string read_bytes(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void write_bytes(const std::string& path, std::string_view bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace emdb_test
