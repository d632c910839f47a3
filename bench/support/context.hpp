#pragma once
// What every experiment gets (options, workload, folder, report), and how databases are opened and removed.

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "report.hpp"
#include "workload.hpp"

namespace bench {

struct Options {
    std::size_t records = 1'000'000;
    std::size_t rounds = 9;
    std::string folder;
    std::string json;
    std::vector<std::string> only;  // row ids and names of experiments; empty: all
    bool smoke = false;
    bool sweep = true;
    bool limits_only = false;  // the bare probes without emdb
};

struct Context {
    const Options& options;
    const Workload& work;
    Report& report;
    std::filesystem::path folder;
    std::size_t overhead;  // bytes of a frame beyond key and value
    std::string experiment = {};

    bool wants(const std::string& row) const {
        const auto& only = options.only;
        return only.empty() || std::count(only.begin(), only.end(), row) != 0 ||
               std::count(only.begin(), only.end(), experiment) != 0;
    }
    bool with_emdb() const { return !options.limits_only; }
    void add(Row row) {
        if (wants(row.id)) report.add(std::move(row));
    }
};

inline void check(const emdb::Result<void>& result) {
    if (!result) throw emdb::Exception(result.error());
}

/// The value of a lookup that must hit.
template <class T> const T& check_found(const emdb::Result<std::optional<T>>& result) {
    if (!result) throw emdb::Exception(result.error());
    if (!*result) throw std::runtime_error("a record that was inserted is not found");
    return **result;
}

inline void remove_database(const std::filesystem::path& path) {
    for (const char* suffix : {"", ".meta", ".lock"}) std::filesystem::remove(path.string() + suffix);
}

/// A new, empty database; one that was there before is removed.
inline emdb::Emdb create_database(const std::filesystem::path& path,
                                  emdb::FlushPolicy policy = emdb::FlushPolicy::on_each_flush(),
                                  emdb::AppendMode mode = emdb::AppendMode::automatic) {
    remove_database(path);
    return emdb::Emdb::builder().path(path).flush_policy(policy).append_mode(mode).build().value();
}

inline void insert_all(emdb::Emdb& database, const Workload& work) {
    for (const auto& [key, value] : work.pairs()) check(database.insert(key, value));
}

/// Bytes of a frame beyond key and value, as emdb reports them for this workload's records.
inline std::size_t measure_frame_overhead(const std::filesystem::path& folder, const Workload& work) {
    const std::filesystem::path path = folder / "frames.emdb";
    emdb::Emdb database = create_database(path);
    check(database.insert(work.pairs()[0].first, work.pairs()[0].second));
    const auto before = database.stats().value().file_size_bytes;
    constexpr std::size_t count = 100;
    for (std::size_t i = 1; i <= count; ++i) check(database.insert(work.pairs()[i].first, work.pairs()[i].second));
    const auto frame = static_cast<std::size_t>(database.stats().value().file_size_bytes - before) / count;
    check(database.close());
    remove_database(path);
    if (frame <= key_size + value_size || frame > key_size + value_size + 64) {
        throw std::runtime_error("the file grows by " + std::to_string(frame) + " bytes a record: not a frame's size");
    }
    return frame - key_size - value_size;
}

}  // namespace bench
