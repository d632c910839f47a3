#pragma once
// What the fuzz targets have in common: input taken apart, a disk in memory, files made by hand, and what must hold of every
// database that opens.
//
// A target is a function of bytes that returns, or throws BrokenPromise where it finds something wrong. Each is a file of its own,
// and all of them are in one program (targets.cpp), since the implementation takes long to compile.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#define EMDB_ENCRYPT 1
#define EMDB_NESTED 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include "support/crafted_file.hpp"
#include "support/model_session.hpp"
#include "support/simulated_disk.hpp"

namespace emdb_fuzz {

using namespace emdb_test;
using emdb::Result;

/// A fuzzer's bytes, taken from the front. Behind the end everything is zero.
class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) noexcept : left_(reinterpret_cast<const char*>(data), size) {}

    bool empty() const noexcept { return left_.empty(); }
    std::uint8_t byte() noexcept {
        if (left_.empty()) return 0;
        const auto value = static_cast<std::uint8_t>(left_.front());
        left_.remove_prefix(1);
        return value;
    }
    std::uint64_t number(std::size_t bytes) noexcept {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < bytes; ++i) value |= std::uint64_t{byte()} << (8 * i);
        return value;
    }
    std::uint64_t below(std::uint64_t bound) noexcept { return number(bound > 256 ? 2 : 1) % bound; }
    std::string_view bytes(std::size_t size) noexcept {
        const std::string_view taken = left_.substr(0, size);
        left_.remove_prefix(taken.size());
        return taken;
    }
    std::string_view rest() noexcept { return bytes(left_.size()); }

private:
    std::string_view left_;
};

/// Bits of one byte, lowest first.
class Choices {
public:
    explicit Choices(std::uint64_t bits) noexcept : bits_(bits) {}
    bool flag() noexcept { return number(1) != 0; }
    std::uint64_t number(unsigned bits) noexcept {
        const std::uint64_t value = bits_ & ((std::uint64_t{1} << bits) - 1);
        bits_ >>= bits;
        return value;
    }

private:
    std::uint64_t bits_;
};

inline std::span<const std::byte> as_bytes(std::string_view text) noexcept { return std::as_bytes(std::span(text)); }
inline std::byte* data_of(std::string& bytes) noexcept { return reinterpret_cast<std::byte*>(bytes.data()); }

/// Without what the tests of power cuts need, which takes time. The clock stands at 0, so that nothing has expired.
inline DiskSettings plain_disk() {
    DiskSettings settings;
    settings.write_back_one_in = 0;
    settings.keeps_trace = false;
    settings.address_space = std::size_t{64} << 20;
    return settings;
}

inline std::unique_ptr<SimulatedDisk> make_disk() {
    auto disk = std::make_unique<SimulatedDisk>(plain_disk());
    disk->set_now_unix_ms(0);
    return disk;
}

/// Replaces what has the name.
inline void put_file(SimulatedDisk& disk, const std::string& path, std::string_view bytes) {
    expect(disk.files().remove(path), "removing a file");
    auto file = expect(disk.files().open(path, emdb::detail::OpenMode::create_new), "making a file");
    expect(file->write_at(0, as_bytes(bytes)), "writing a file");
}

inline Result<emdb::VerifyReport> verify(SimulatedDisk& disk, const std::string& path, const emdb::VerifyOptions& options = {}) {
    return emdb::detail::verify_database(disk, path, options);
}
inline Result<emdb::SalvageReport> salvage(SimulatedDisk& disk, const std::string& from, const std::string& to,
                                           const emdb::SalvageOptions& options = {}) {
    return emdb::detail::salvage_database(disk, from, to, options);
}

inline const std::string salvaged_path = "/disk/salvaged.emdb";
inline const std::string meta_path = database_path + ".meta";

inline std::size_t record_count(const Contents& contents) {
    std::size_t count = 0;
    for (const auto& [space, records] : contents.spaces()) count += records.size();
    return count;
}

inline void check_same(const Contents& found, const Contents& expected, const std::string& when) {
    check(found == expected, when + " the contents differ:\n" + found.differences_from(expected));
}

/// Closes a database and opens it again: nothing may have changed. Small checkpoints are used according to the settings.
inline emdb::Emdb reopen(SimulatedDisk& disk, emdb::Emdb db, const DatabaseSettings& settings, const Contents& expected,
                         const std::string& when) {
    expect(db.close(), "closing " + when);
    db = expect(open_database(disk, settings), "reopening " + when);
    check_same(read_contents(db), expected, "reopened " + when);
    return db;
}

/// Writes to an opened database and keeps `contents` in step: it must be as good as any.
inline emdb::Emdb use(SimulatedDisk& disk, emdb::Emdb db, const DatabaseSettings& settings, Contents& contents) {
    const auto put = [&](emdb::Keyspace& keyspace, const std::string& space, const std::string& key, const std::string& value) {
        expect(keyspace.insert(key, value), "insert");
        contents.put(space, key, value);
    };
    put(db, "", "a key", "a value");
    put(db, "", "", std::string(300, 'v'));
    auto space = expect(db.open_namespace("of the harness"), "open_namespace");
    contents.create("of the harness");
    put(space, "of the harness", "key", "value");
    for (const auto& [name, records] : contents.spaces()) {
        if (records.empty()) continue;
        const std::string key = records.begin()->first;
        const std::string value = records.begin()->second;
        emdb::Keyspace keyspace = name.empty() ? static_cast<emdb::Keyspace>(db)
                                               : static_cast<emdb::Keyspace>(expect(db.open_namespace(name), "open_namespace"));
        check(expect(keyspace.remove(key), "remove") == value, "remove returns another value than the key had");
        contents.erase(name, key);
        break;
    }
    expect(db.flush(), "flush");
    check_same(read_contents(db), contents, "after writes");
    db = reopen(disk, std::move(db), settings, contents, "after writes");
    expect(db.compact(), "compact");
    check_same(read_contents(db), contents, "after a compaction");
    return reopen(disk, std::move(db), settings, contents, "after a compaction");
}

/// With every expiry in the past, a sweep leaves what does not expire, and len counts what iter yields.
inline void check_expired(SimulatedDisk& disk, emdb::Emdb& db) {
    disk.set_now_unix_ms(UINT64_MAX);
    const auto swept = [](emdb::Keyspace& keyspace) {
        const std::size_t before = expect(keyspace.len(), "len");
        const std::size_t removed = expect(keyspace.sweep_expired(), "sweep_expired");
        check(expect(keyspace.len(), "len") + removed == before, "a sweep removes another number of records than it says");
    };
    swept(db);
    for (const std::string& name : expect(db.list_namespaces(), "list_namespaces")) {
        emdb::Namespace space = expect(db.open_namespace(name), "open_namespace");
        swept(space);
    }
    read_contents(db);
    check(expect(db.sweep_expired(), "sweep_expired") == 0, "a sweep leaves expired records");
}

/// What is salvaged of a file is a good database; `whole`: with these contents.
inline void check_salvaged(SimulatedDisk& disk, const emdb::SalvageOptions& options, const DatabaseSettings& settings,
                           const std::optional<Contents>& whole) {
    const auto report = salvage(disk, database_path, salvaged_path, options);
    check(report || !whole, "nothing can be salvaged from a good file");
    if (!report) return;
    emdb::VerifyOptions verifying;
    verifying.encryption = options.encryption;
    const auto verified = expect(verify(disk, salvaged_path, verifying), "verifying what was salvaged");
    check(verified.ok() && !verified.torn_tail, "what was salvaged is damaged");
    check(verified.live_records == report->records_written, "salvage has written another number of records than it says");
    emdb::Emdb db = expect(open_database(disk, settings, nullptr, salvaged_path), "opening what was salvaged");
    const Contents found = read_contents(db);
    check(record_count(found) == report->records_written, "salvage has written another number of records than it says");
    if (whole) check_same(found, *whole, "salvaged from a good file,");
}

struct Target {
    const char* name;
    void (*run)(Input);
};

}  // namespace emdb_fuzz
