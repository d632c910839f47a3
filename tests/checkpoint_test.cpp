// Checkpoints: a database opened from its checkpoint is the same as one whose journal is replayed from the start, whatever was
// done to the checkpoint file, and whatever was written while it was taken.

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/checkpointed_database.hpp"
#include "support/model_session.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

namespace detail = emdb::detail;
using emdb::Emdb;
using emdb::Result;

DatabaseSettings settings_with(bool range_scans) {
    DatabaseSettings settings;
    settings.range_scans = range_scans;
    settings.small_checkpoints = true;
    return settings;
}

bool check_same(const DiskImage& image, bool range_scans) { return check_same(image, settings_with(range_scans)); }

DiskImage closed_database(bool range_scans, int rounds = 2, int records = 300) {
    return closed_database(settings_with(range_scans), rounds, records);
}

}  // namespace

TEST_CASE("checkpoint: a clean close leaves one, and the next open uses it") {
    for (const bool range_scans : {false, true}) {
        CAPTURE(range_scans);
        CHECK(check_same(closed_database(range_scans), range_scans));
        // Written with another setting of range scans than it is read with.
        CHECK(check_same(closed_database(range_scans), !range_scans));
        CHECK(check_same(closed_database(range_scans, 2, 20'000), range_scans));
    }
}

TEST_CASE("checkpoint: so does the last handle, and a close without changes writes nothing") {
    SimulatedDisk disk(calm());
    { CHECK(open_database(disk, settings_with(false)).value().insert("k", "v")); }
    const std::string meta = disk.bytes_of(meta_path);
    REQUIRE(!meta.empty());
    CHECK(!disk.exists(meta_temporary_path));
    std::vector<std::string> log;
    Emdb db = open_database(disk, settings_with(false), &log).value();
    CHECK(was_used(log));
    disk.fail({.only = Operation::write, .from_then_on = true});
    db.close().value();
    disk.stop_failing();
    CHECK(disk.bytes_of(meta_path) == meta);
    // Deleted while the database is open, it is written again.
    db = open_database(disk, settings_with(false)).value();
    CHECK(disk.files().remove(meta_path));
    db.close().value();
    CHECK(disk.bytes_of(meta_path) == meta);
    // Another setting of range scans needs another one.
    open_database(disk, settings_with(true)).value().close().value();
    CHECK(disk.bytes_of(meta_path) != meta);
}

TEST_CASE("checkpoint: the journal of a small database is checked as a whole instead") {
    SimulatedDisk disk(closed_database(false), calm());
    std::vector<std::string> log;
    open_database(disk, {}, &log).value();
    CHECK(!was_used(log));
    CHECK(log.empty());
}

TEST_CASE("checkpoint: one taken while the database is open serves whoever comes after a kill") {
    for (const bool range_scans : {false, true}) {
        for (int later_rounds = 0; later_rounds < 4; ++later_rounds) {
            CAPTURE(range_scans);
            CAPTURE(later_rounds);
            SimulatedDisk disk(calm());
            Emdb db = open_database(disk, settings_with(range_scans)).value();
            write_a_little(db, 0);
            db.checkpoint().value();
            CHECK(!disk.exists(meta_temporary_path));
            for (int round = 1; round <= later_rounds; ++round) write_a_little(db, round);
            if (later_rounds == 3) db.clear().value();
            CHECK(check_same(killed(disk), range_scans));
        }
    }
}

TEST_CASE("checkpoint: what is written between its beginning and its end is neither lost nor there twice") {
    for (const bool range_scans : {false, true}) {
        for (std::uint64_t seed = 1; seed <= 40; ++seed) {
            CAPTURE(range_scans);
            CAPTURE(seed);
            SeededRandom random(seed);
            SimulatedDisk disk(calm());
            detail::OpenOptions options;
            options.path = database_path;
            options.environment = &disk;
            options.range_scans = range_scans;
            auto engine = detail::Engine::open(options).value();
            const auto change = [&](std::uint64_t count) {
                for (; count != 0; --count) {
                    const std::string name = "space " + std::to_string(random.below(3));
                    const bool named = random.one_in(3);
                    const auto keyspace = named ? engine->open_namespace(name).value() : engine->default_keyspace();
                    const std::string key = "key " + std::to_string(random.below(40));
                    const std::string value(random.below(60), static_cast<char>('a' + random.below(26)));
                    switch (random.below(20)) {
                        case 0: engine->clear(*keyspace).value(); break;
                        case 1: engine->drop_namespace(name).value(); break;
                        case 2:
                        case 3:
                        case 4: engine->remove(*keyspace, key).value(); break;
#if EMDB_TTL
                        case 5:
                        case 6:
                        case 7:
                        case 8:
                            engine->insert_with_ttl(*keyspace, key, value, expires_at(static_cast<int>(random.below(10'000)))).value();
                            break;
#endif
                        default: engine->insert(*keyspace, key, value).value(); break;
                    }
                }
            };
            change(random.below(200));
            {
                detail::CheckpointWriter checkpoint(*engine, false);
                checkpoint.begin();
                change(random.below(100));
                checkpoint.copy().value();
                change(random.below(50));
                engine->flush().value();
                checkpoint.finish(true).value();
            }
            change(random.below(50));
            CHECK(check_same(killed(disk), range_scans));
        }
    }
}

TEST_CASE("checkpoint: missing, cut off anywhere, or with any byte changed, it makes no difference") {
    const DiskImage image = closed_database(true, 1, 5);
    const std::string meta = contents_of(image, meta_path);
    SimulatedDisk original(image, calm());
    Emdb intact = open_database(original, settings_with(true)).value();
    const Contents expected = read_contents(intact);
    const auto check_refused = [&](const std::string& changed, bool unless_unordered = false) {
        SimulatedDisk disk(with_meta(image, changed), calm());
        std::vector<std::string> log;
        Emdb db = expect(open_database(disk, settings_with(true), &log), "opening");
        // Without a good list in key order all the rest still serves.
        REQUIRE((unless_unordered ? was_used(log) : tells(log, "can't be used")));
        REQUIRE(read_contents(db) == expected);
    };
    const auto lists_end = detail::load_le<std::uint64_t>(reinterpret_cast<const std::byte*>(meta.data()) + 64);
    const std::uint64_t lists_begin = lists_end - 8 * intact.stats().value().live_records;
    for (std::size_t size = 0; size < meta.size(); size += size < 200 ? 1 : 37) {
        CAPTURE(size);
        check_refused(meta.substr(0, size));
    }
    check_refused(meta + '\0');
    for (std::size_t at = 0; at < meta.size(); at += at < 200 || at > meta.size() - 600 ? 1 : 11) {
        CAPTURE(at);
        std::string changed = meta;
        changed[at] = static_cast<char>(changed[at] ^ (1 << at % 8));
        check_refused(changed, at >= lists_begin && at < lists_end);
    }
    check_refused(std::string(meta.size(), '\0'));
    CHECK(check_same(with_meta(image, ""), true) == false);
}

TEST_CASE("checkpoint: of another database or another history it is refused; of an earlier state it serves") {
    SimulatedDisk disk(calm());
    Emdb db = open_database(disk, settings_with(true)).value();
    write_a_little(db, 0);
    db.close().value();
    const DiskImage early = disk.image_now();
    const std::string early_meta = disk.bytes_of(meta_path);
    const auto go_on = [&](const DiskImage& from, int round) {
        SimulatedDisk continued(from, calm());
        Emdb again = open_database(continued, settings_with(true)).value();
        write_a_little(again, round);
        again.close().value();
        return continued.image_now();
    };
    const DiskImage late = go_on(early, 1);
    const std::string late_meta = contents_of(late, meta_path);
    const DiskImage other = go_on(early, 3);  // frames of the same sizes
    REQUIRE(contents_of(other, database_path).size() == contents_of(late, database_path).size());

    CHECK(check_same(late, true));
    CHECK(check_same(with_meta(late, early_meta), true));
    CHECK(check_same(with_meta(early, late_meta), true) == false);
    CHECK(check_same(with_meta(other, late_meta), true) == false);
    CHECK(check_same(with_meta(early, contents_of(closed_database(true), meta_path)), true) == false);
}

TEST_CASE("checkpoint: damage above the place to replay from is not hidden by it") {
    SimulatedDisk disk(calm());
    Emdb db = open_database(disk, settings_with(false)).value();
    write_a_little(db, 0);
    db.checkpoint().value();
    db.insert("flushed", "a value that occurs once").value();
    db.flush().value();
    db.insert("more", "v").value();
    db.flush().value();
    SimulatedDisk damaged(killed(disk), calm());
    damaged.flip_bits(database_path, damaged.bytes_of(database_path).find("a value that occurs once"));
    const std::string bytes = damaged.bytes_of(database_path);
    const auto opened = open_database(damaged, settings_with(false));
    CHECK(opened == emdb::ErrorCode::corrupted);
    CHECK(damaged.bytes_of(database_path) == bytes);
}

TEST_CASE("checkpoint: damage below it is reported by the read that meets it, and by no other") {
    SimulatedDisk disk(calm());
    Emdb db = open_database(disk, settings_with(false)).value();
    db.insert("before", "1").value();
    db.insert("damaged", "a value that occurs once").value();
    db.insert("after", "2").value();
    db.insert("large", std::string(200'000, 'v')).value();
    db.close().value();
    const std::size_t at = disk.bytes_of(database_path).find("a value that occurs once");
    disk.flip_bits(database_path, at);
    std::vector<std::string> log;
    db = open_database(disk, settings_with(false), &log).value();
    CHECK(was_used(log));
    const auto refused = db.get("damaged");
    CHECK(refused == emdb::ErrorCode::corrupted);
    CHECK(refused.error().offset() <= at);
    CHECK(refused.error().offset() + 64 > at);
    CHECK(db.get("before").value() == "1");
    CHECK(db.get("after").value() == "2");
    CHECK(db.iter().value().collect() == emdb::ErrorCode::corrupted);
}

TEST_CASE("checkpoint: one that can't be written is an error of the call and nothing more") {
    SimulatedDisk disk(calm());
    std::vector<std::string> log;
    Emdb db = open_database(disk, settings_with(true), &log).value();
    write_a_little(db, 0);
    db.checkpoint().value();
    const std::string before = disk.bytes_of(meta_path);
    write_a_little(db, 1);
    db.flush().value();
    const auto check_failed = [&](const char* what, bool place_kept = true) {
        INFO(what);
        const auto failed = db.checkpoint();
        CHECK(failed == emdb::ErrorCode::io);
        disk.stop_failing();
        disk.set_capacity(UINT64_MAX);
        CHECK(!disk.exists(meta_temporary_path));
        if (place_kept) CHECK(disk.bytes_of(meta_path) == before);
        CHECK(db.insert("still", "writable"));
        CHECK(db.flush());
    };
    disk.fail({.only = Operation::open});
    check_failed("creating the temporary");
    disk.fail({.only = Operation::rename_replacing});
    check_failed("renaming");
    disk.fail({.only = Operation::sync});  // there is nothing to flush
    check_failed("syncing");
    std::uint64_t used = 0;
    for (const std::string& path : disk.paths()) used += disk.bytes_of(path).size();
    disk.set_capacity(used + 200);
    check_failed("a full disk");
    disk.fail({.only = Operation::sync_directory});
    check_failed("syncing the directory", false);
    CHECK(db.checkpoint());

    write_a_little(db, 2);
    disk.fail({.only = Operation::rename_replacing, .from_then_on = true});
    log.clear();
    db.close().value();
    CHECK(tells(log, "The checkpoint of"));
    CHECK(!disk.exists(meta_temporary_path));
    disk.stop_failing();
    CHECK(check_same(disk.image_now(), true));
}

TEST_CASE("checkpoint: left-overs of a killed process go, and what lies at the temporary name is not written to") {
    SimulatedDisk disk(closed_database(false), calm());
    put_file(disk, meta_temporary_path, "half a checkpoint");
    Emdb db = open_database(disk, settings_with(false)).value();
    CHECK(!disk.exists(meta_temporary_path));
    put_file(disk, meta_temporary_path, "somebody's");
    CHECK(db.checkpoint());
    CHECK(!disk.exists(meta_temporary_path));
}

TEST_CASE("checkpoint: verify tells whether the next open would use it") {
    const DiskImage image = closed_database(true);
    const auto usable = [](SimulatedDisk& disk) { return detail::verify_database(disk, database_path, {}).value().meta_usable; };
    SimulatedDisk disk(image, calm());
    CHECK(usable(disk));
    disk.flip_bits(meta_path, detail::meta_header_size + 10);
    CHECK(!usable(disk));
    CHECK(disk.files().remove(meta_path));
    CHECK(!usable(disk));
    SimulatedDisk damaged(image, calm());
    damaged.flip_bits(database_path, damaged.bytes_of(database_path).size() - 100);
    CHECK(!usable(damaged));
}

TEST_CASE("checkpoint: without a file, after a close, in a transaction") {
    Emdb memory = Emdb::open_in_memory();
    memory.insert("k", "v").value();
    CHECK(memory.checkpoint());
    CHECK(memory.transaction([&](emdb::Transaction&) { return memory.checkpoint(); }) == emdb::ErrorCode::invalid_argument);
    memory.close().value();
    CHECK(memory.checkpoint() == emdb::ErrorCode::stopped);
    SimulatedDisk disk(calm());
    Emdb db = open_database(disk).value();
    db.close().value();
    CHECK(db.checkpoint() == emdb::ErrorCode::stopped);
}

namespace {

template <class Unsigned>
Unsigned number_at(const std::string& bytes, std::size_t at) {
    return detail::load_le<Unsigned>(reinterpret_cast<const std::byte*>(bytes.data()) + at);
}
template <class Unsigned>
void put_number(std::string& bytes, std::size_t at, Unsigned value) {
    detail::store_le(reinterpret_cast<std::byte*>(bytes.data()) + at, value);
}
std::uint32_t crc_of(const std::string& bytes, std::size_t at, std::size_t size) { return detail::crc32c(bytes.data() + at, size); }

/// Makes every CRC of a checkpoint right again that can be told what it is of.
void reseal(std::string& meta) {
    const auto directory_at = number_at<std::uint64_t>(meta, 64);
    const auto directory_size = number_at<std::uint64_t>(meta, 72);
    if (directory_at <= meta.size() && directory_size <= meta.size() - directory_at) {
        constexpr std::size_t keyspace_size = 32;
        constexpr std::size_t shard_size = 56;
        const std::size_t end = static_cast<std::size_t>(directory_at + directory_size);
        std::vector<std::pair<std::size_t, std::uint64_t>> orders;
        std::size_t at = static_cast<std::size_t>(directory_at) + 4;
        std::uint64_t section = detail::meta_header_size;
        while (at + keyspace_size <= end) {
            const std::uint64_t name = number_at<std::uint32_t>(meta, at + 4);
            const std::uint64_t shards = number_at<std::uint32_t>(meta, at + 8);
            orders.emplace_back(at + 24, number_at<std::uint64_t>(meta, at + 16) * 8);
            at += keyspace_size + static_cast<std::size_t>(name);
            for (std::uint64_t i = 0; i < shards && at + shard_size <= end; ++i, at += shard_size) {
                const std::uint64_t size = number_at<std::uint32_t>(meta, at + 4) * std::uint64_t{64} + number_at<std::uint64_t>(meta, at + 8) * 24;
                if (size > directory_at || section > directory_at - size) continue;
                put_number(meta, at + 48, crc_of(meta, static_cast<std::size_t>(section), static_cast<std::size_t>(size)));
                section += size;
            }
        }
        for (const auto& [crc_at, size] : orders) {
            if (size > directory_at || section > directory_at - size) continue;
            put_number(meta, crc_at, crc_of(meta, static_cast<std::size_t>(section), static_cast<std::size_t>(size)));
            section += size;
        }
        put_number(meta, 60, crc_of(meta, static_cast<std::size_t>(directory_at), static_cast<std::size_t>(directory_size)));
    }
    put_number(meta, detail::meta_header_size - 4, crc_of(meta, 0, detail::meta_header_size - 4));
}

}  // namespace

TEST_CASE("checkpoint: made up with good checksums it leads to no crash, no hang and no wrong value") {
    for (const bool range_scans : {false, true}) {
        const DiskImage image = closed_database(range_scans, 2, 200);
        const std::string meta = contents_of(image, meta_path);
        std::string same = meta;
        reseal(same);
        REQUIRE(same == meta);
        SimulatedDisk original(image, calm());
        Emdb intact = open_database(original, settings_with(range_scans)).value();
        const Contents expected = read_contents(intact);
        const std::uint64_t directory_at = number_at<std::uint64_t>(meta, 64);
        std::uint64_t used = 0;
        for (std::uint64_t seed = 1; seed <= 500; ++seed) {
            CAPTURE(range_scans);
            CAPTURE(seed);
            SeededRandom random(seed);
            std::string changed = meta;
            for (std::uint64_t changes = 1 + random.below(4); changes != 0; --changes) {
                // Everywhere, but as often in the header and the directory as in the sections.
                const std::size_t begin = random.one_in(2) ? detail::meta_header_size : random.coin() ? static_cast<std::size_t>(directory_at) : 12;
                const std::size_t end = begin == 12 ? 80 : begin == directory_at ? meta.size() : static_cast<std::size_t>(directory_at);
                const std::size_t at = begin + static_cast<std::size_t>(random.below(end - begin));
                switch (random.below(4)) {
                    case 0: changed[at] = static_cast<char>(random.next()); break;
                    case 1: changed[at] = static_cast<char>(changed[at] ^ (1 << random.below(8))); break;
                    case 2: changed.replace(at, 4, 4, random.coin() ? '\xFF' : '\0'); changed.resize(meta.size()); break;
                    default: {  // one part of a section over another
                        const std::size_t from = detail::meta_header_size + static_cast<std::size_t>(random.below(directory_at - 256));
                        changed.replace(at, 64, meta.substr(from, 64));
                        changed.resize(meta.size());
                    }
                }
            }
            reseal(changed);
            SimulatedDisk disk(with_meta(image, changed), calm());
            std::vector<std::string> log;
            Emdb db = expect(open_database(disk, settings_with(range_scans), &log), "opening");
            used += was_used(log);
            // Whatever is there is what was written, and everything comes to an end.
            const auto check_reads = [&](const emdb::Keyspace& keyspace, const std::string& space) {
                for (const auto& [key, value] : expected.records(space)) {
                    const auto found = keyspace.get(key);
                    if (found && *found) CHECK(**found == value);
                }
                (void)keyspace.iter().value().collect();
                if (range_scans) (void)keyspace.range(emdb::Range::all());
            };
            check_reads(db, "");
            for (const std::string& name : db.list_namespaces().value()) {
                if (expected.has_space(name)) check_reads(db.open_namespace(name).value(), name);
            }
            for (int i = 0; i < 200; ++i) {
                const std::string key = (i % 2 == 0 ? "key " : "new key ") + std::to_string(i);
                CHECK(db.insert(key, "new"));
                CHECK(db.get(key).value() == "new");
                if (i % 4 == 0) (void)db.remove(key);
            }
#if EMDB_TTL
            disk.set_now_unix_ms(start_unix_ms + 5000);
            (void)db.sweep_expired();
#endif
            CHECK(db.clear());
            CHECK(db.is_empty().value());
            (void)db.close();
        }
        MESSAGE(used << " of 500 made-up checkpoints were used");
        CHECK(used > 50);
    }
}

TEST_CASE("checkpoint: many namespaces, and an index large enough for several threads") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    std::vector<std::string> log;
    const auto open = [&] {
        log.clear();
        return Emdb::builder().path(path).on_log([&log](emdb::LogLevel, std::string_view line) { log.emplace_back(line); }).build().value();
    };
    Emdb db = open();
    std::vector<std::pair<std::string, std::string>> pairs;
    for (int i = 0; i < 400'000; ++i) pairs.emplace_back(std::to_string(i), "v" + std::to_string(i));
    db.insert_many(pairs).value();
    for (int i = 0; i < 300; ++i) db.open_namespace(std::to_string(i)).value().insert("k", std::to_string(i)).value();
    db.close().value();
    for (const bool used : {true, false}) {
        if (!used) std::filesystem::remove(path + ".meta");
        db = open();
        CHECK(was_used(log) == used);
        CHECK(db.len().value() == pairs.size());
        for (std::size_t i = 0; i < pairs.size(); i += 7) REQUIRE(db.get(pairs[i].first).value() == pairs[i].second);
        for (int i = 0; i < 300; ++i) CHECK(db.open_namespace(std::to_string(i)).value().get("k").value() == std::to_string(i));
        // Tables grow out of the memory that they were loaded into.
        for (int i = 0; i < 400'000; ++i) pairs.emplace_back("more " + std::to_string(i) + (used ? "" : "!"), "w");
        db.insert_many(pairs).value();
        CHECK(db.len().value() == pairs.size());
        db.clear().value();
        db.insert_many(pairs).value();
        db.close().value();
    }
}

TEST_CASE("checkpoint: readers and writers go on while it is taken, again and again") {
    for (const bool range_scans : {false, true}) {
        CAPTURE(range_scans);
        TempFolder folder;
        const std::string path = folder.file("a.emdb");
        const auto open = [&](const std::string& file, std::vector<std::string>* log) {
            emdb::EmdbBuilder builder = Emdb::builder().path(file).enable_range_scans(range_scans);
            if (log != nullptr) builder.on_log([log](emdb::LogLevel, std::string_view line) { log->emplace_back(line); });
            detail::BuilderAccess::use_checkpoints_from(builder, 0);
            return builder.build().value();
        };
        Emdb db = open(path, nullptr);
        for (int i = 0; i < 3000; ++i) db.insert("key " + std::to_string(i), "first").value();
        std::atomic<bool> stop{false};
        std::atomic<std::uint64_t> failures{0};
        std::vector<std::thread> threads;
        for (std::uint64_t t = 0; t < 3; ++t) {
            threads.emplace_back([&, t] {
                SeededRandom random(t);
                emdb::Namespace space = db.open_namespace("space").value();
                for (std::uint64_t n = 0; !stop; ++n) {
                    const std::string key = "key " + std::to_string(random.below(3000));
                    bool good = true;
                    switch (random.below(10)) {
                        case 0: good = db.remove(key).has_value(); break;
                        case 1: good = space.insert(key, key).has_value(); break;
                        case 2: good = n % 40 != 2 || space.clear().has_value(); break;
                        case 3:
                        case 4: {
                            const auto found = db.get(key);
                            good = found && (!*found || **found == "first" || (*found)->substr(1) == key);
                            break;
                        }
#if EMDB_TTL
                        case 5: good = db.insert_with_ttl(key, std::to_string(t) + key, emdb::Ttl::at(random.coin() ? 1 : UINT64_MAX)).has_value(); break;
                        case 6: good = n % 16 != 6 || db.sweep_expired().has_value(); break;
#endif
                        default: good = db.insert(key, std::to_string(t) + key).has_value(); break;
                    }
                    if (!good) ++failures;
                }
            });
        }
        for (int i = 0; i < 12; ++i) CHECK(db.checkpoint());
        stop = true;
        for (std::thread& thread : threads) thread.join();
        CHECK(failures == 0);
        db.flush().value();
        // As a kill would leave it; and once more without the checkpoint.
        std::filesystem::copy_file(path, folder.file("with.emdb"));
        std::filesystem::copy_file(path + ".meta", folder.file("with.emdb.meta"));
        std::filesystem::copy_file(path, folder.file("without.emdb"));
        std::vector<std::string> log;
        Emdb with = open(folder.file("with.emdb"), &log);
        Emdb without = open(folder.file("without.emdb"), nullptr);
        CHECK(was_used(log));
#if EMDB_TTL
        const std::size_t swept = db.sweep_expired().value();
        CHECK(with.sweep_expired().value() == swept);
        CHECK(without.sweep_expired().value() == swept);
#endif
        const Everything expected = Everything::of(without);
        const Everything found = Everything::of(with);
        CHECK_MESSAGE(found.contents == expected.contents, found.contents.differences_from(expected.contents));
        CHECK(found.facts == expected.facts);
        CHECK(read_contents(db) == expected.contents);
    }
}

TEST_CASE("checkpoint: an order that leads to a key's older frame is not believed") {
    SimulatedDisk disk(calm());
    {
        Emdb db = open_database(disk, settings_with(true)).value();
        db.insert("key", "older").value();
        db.insert("key", "newer").value();
        db.close().value();
    }
    const std::string journal = disk.bytes_of(database_path);
    const std::size_t older = journal.find("keyolder");
    const std::size_t newer = journal.find("keynewer");
    std::string meta = disk.bytes_of(meta_path);
    std::size_t changed = 0;
    for (std::size_t head = 4; head < 16; ++head) {
        for (std::size_t at = 0; at + 8 <= meta.size(); ++at) {
            if (number_at<std::uint64_t>(meta, at) != newer - head) continue;
            put_number<std::uint64_t>(meta, at, older - head);
            ++changed;
        }
    }
    REQUIRE(changed == 1);  // the table's slots have tags beside the offsets
    put_file(disk, meta_path, meta);
    Emdb db = open_database(disk, settings_with(true)).value();
    const auto records = db.range(emdb::Range::all()).value();
    REQUIRE(records.size() == 1);
    CHECK(records[0].value == "newer");
}

}  // namespace emdb_test
