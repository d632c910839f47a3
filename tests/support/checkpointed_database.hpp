#pragma once
// Databases with checkpoints on a simulated disk: all that can be seen of one, and whether the checkpoint makes a difference.
//
// Needs the implementation half of emdb.hpp (EMDB_IMPLEMENTATION defined before its first include) and doctest.

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/model_session.hpp"

namespace emdb_test {

inline const std::string meta_path = database_path + ".meta";
inline const std::string meta_temporary_path = database_path + ".meta.tmp";

constexpr std::uint64_t start_unix_ms = 1'700'000'000'000;  // what the clock of a simulated disk says
#if EMDB_TTL
inline emdb::Ttl expires_at(int milliseconds) { return emdb::Ttl::at(start_unix_ms + 1 + static_cast<std::uint64_t>(milliseconds)); }
#endif

/// Random numbers follow from the seed.
inline DiskSettings calm(std::uint64_t seed = 1) {
    DiskSettings settings;
    settings.seed = seed;
    settings.write_back_one_in = 0;
    settings.keeps_trace = false;
    return settings;
}

inline bool was_used(const std::vector<std::string>& log) {
    for (const std::string& line : log) {
        if (line.find("was opened from its checkpoint") != std::string::npos) return true;
    }
    return false;
}
inline bool tells(const std::vector<std::string>& log, const std::string& what) {
    for (const std::string& line : log) {
        if (line.find(what) != std::string::npos) return true;
    }
    return false;
}

/// All that can be seen of a database.
struct Everything {
    Contents contents;
    std::string facts;

    static Everything of(emdb::Emdb& db) {
        Everything all;
        all.contents = read_contents(db);
        const emdb::EmdbStats stats = db.stats().value();
        for (const std::uint64_t figure : {static_cast<std::uint64_t>(stats.live_records), stats.logical_size_bytes, stats.dead_bytes,
                                           static_cast<std::uint64_t>(stats.namespace_count)}) {
            all.facts += std::to_string(figure) + '\n';
        }
#if EMDB_TTL
        all.expiries(db, "");
        for (const std::string& name : db.list_namespaces().value()) all.expiries(db.open_namespace(name).value(), name);
#endif
        return all;
    }
#if EMDB_TTL
    void expiries(const emdb::Keyspace& keyspace, const std::string& space) {
        for (const auto& [key, value] : contents.records(space)) {
            const auto expiry = keyspace.expires_at(key).value();
            if (expiry) facts += space + "/" + key + " " + std::to_string(*expiry) + '\n';
        }
    }
#endif
};

/// Opens the disk with its checkpoint, as it is, and without; both must be the same, now and after expiry and further writes.
/// Returns whether the checkpoint was used.
inline bool check_same(const DiskImage& image, const DatabaseSettings& settings) {
    std::vector<std::string> log;
    SimulatedDisk with(image, calm());
    SimulatedDisk without(image, calm());
    CHECK(without.files().remove(meta_path));
    emdb::Emdb first = expect(open_database(with, settings, &log), "opening with the checkpoint");
    emdb::Emdb second = expect(open_database(without, settings), "opening without");
    const bool used = was_used(log);
    const auto compare = [&](const char* when) {
        INFO(when);
        const Everything a = Everything::of(first);
        const Everything b = Everything::of(second);
        CHECK_MESSAGE(a.contents == b.contents, a.contents.differences_from(b.contents));
        CHECK(a.facts == b.facts);
    };
    compare("opened");
#if EMDB_TTL
    for (SimulatedDisk* disk : {&with, &without}) disk->set_now_unix_ms(start_unix_ms + 5000);
    CHECK(first.sweep_expired().value() == second.sweep_expired().value());
    for (const std::string& name : first.list_namespaces().value()) {
        CHECK(first.open_namespace(name).value().sweep_expired().value() == second.open_namespace(name).value().sweep_expired().value());
    }
    compare("swept");
#endif
    for (emdb::Emdb* db : {&first, &second}) {
        for (int i = 0; i < 300; i += 3) db->insert("key " + std::to_string(i), "written later").value();
        for (int i = 0; i < 300; i += 5) db->remove("key " + std::to_string(i)).value();
        emdb::Namespace space = db->open_namespace("later").value();
        space.insert("a", "b").value();
        db->close().value();
    }
    first = expect(open_database(with, settings), "opening again with");
    second = expect(open_database(without, settings), "opening again without");
    compare("opened again");
    CHECK(with.violations().empty());
    return used;
}

/// A little of everything that a journal can hold. `round` makes it differ from the last time.
inline void write_a_little(emdb::Emdb& db, int round, int records = 300) {
    const std::string suffix = " of round " + std::to_string(round);
    for (int i = 0; i < records; ++i) {
        const std::string key = "key " + std::to_string(i * 7 % records);
        if ((i + round) % 5 == 0) {
            db.remove(key).value();
#if EMDB_TTL
        } else if ((i + round) % 4 == 0) {
            db.insert_with_ttl(key, "expires" + suffix, expires_at(100 * i)).value();
#endif
        } else {
            db.insert(key, "value" + suffix).value();
        }
    }
    emdb::Namespace stays = db.open_namespace("stays").value();
    for (int i = 0; i < 20; ++i) stays.insert("key " + std::to_string(i), "in a namespace" + suffix).value();
    emdb::Namespace is_cleared = db.open_namespace("is cleared").value();
    is_cleared.insert("before", suffix).value();
    is_cleared.clear().value();
    is_cleared.insert("after", suffix).value();
    db.open_namespace("comes and goes").value().insert("k", suffix).value();
    if (round % 2 == 1) db.drop_namespace("comes and goes").value();
    db.open_namespace("empty " + std::to_string(round)).value();
    db.transaction([&](emdb::Transaction& transaction) -> emdb::Result<void> {
          if (auto put = transaction.insert("key 1", "transaction" + suffix); !put) return put;
          return transaction.in(stays).insert("key 1", "transaction" + suffix);
      }).value();
    db.insert_many(std::vector<std::pair<std::string, std::string>>{{"many 1", suffix}, {"many 2", suffix}, {"key 2", suffix}}).value();
}

/// As a killed process leaves it.
inline DiskImage killed(SimulatedDisk& disk) {
    disk.kill_process();
    return disk.image_now();
}

inline DiskImage closed_database(const DatabaseSettings& settings, int rounds = 2, int records = 300, std::uint64_t seed = 1) {
    SimulatedDisk disk(calm(seed));
    emdb::Emdb db = open_database(disk, settings).value();
    for (int round = 0; round < rounds; ++round) write_a_little(db, round, records);
    db.close().value();
    return disk.image_now();
}

inline std::string contents_of(const DiskImage& image, const std::string& path) {
    SimulatedDisk disk(image, calm());
    return disk.bytes_of(path);
}

inline void put_file(SimulatedDisk& disk, const std::string& path, std::string_view bytes) {
    REQUIRE(disk.files().remove(path));
    auto file = disk.files().open(path, emdb::detail::OpenMode::create_new).value();
    REQUIRE(file->write_at(0, {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}));
}

/// The database of one disk with the checkpoint file `meta`.
inline DiskImage with_meta(const DiskImage& image, std::string_view meta) {
    SimulatedDisk disk(image, calm());
    put_file(disk, meta_path, meta);
    return disk.image_now();
}

}  // namespace emdb_test
