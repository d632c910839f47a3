// Checkpoints of encrypted databases: sealed, they make as little difference as plain ones, whatever was done to them; and what was put
// back into a file is refused behind them as well.

#define EMDB_ENCRYPT 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/checkpointed_database.hpp"
#include "support/database_contents.hpp"
#include "support/model_session.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

namespace detail = emdb::detail;
using detail::EncryptionChange;
using detail::FrameKind;
using detail::FrameView;
using detail::MetaSeal;
using emdb::Cipher;
using emdb::Emdb;
using emdb::EncryptionInput;
using emdb::ErrorCode;
using emdb::Result;

constexpr Cipher ciphers[] = {Cipher::aes_256_gcm, Cipher::chacha20_poly1305};

DatabaseSettings sealed(Cipher cipher, bool range_scans) {
    DatabaseSettings settings;
    settings.range_scans = range_scans;
    settings.small_checkpoints = true;
    settings.cipher = cipher;
    return settings;
}
DatabaseSettings plain(bool range_scans) {
    DatabaseSettings settings = sealed(Cipher::aes_256_gcm, range_scans);
    settings.cipher = std::nullopt;
    return settings;
}

bool is_sealed(std::string_view meta) { return detail::has_sealed_meta_magic(std::as_bytes(std::span(meta))); }

/// Opens the database, which must not use its checkpoint and must say why in one line. All it holds. Only a checkpoint that is not sealed
/// is removed at once.
Contents open_refusing(SimulatedDisk& disk, const DatabaseSettings& settings, const std::string& why = "can't be used") {
    const bool was_sealed = is_sealed(disk.bytes_of(meta_path));
    std::vector<std::string> log;
    Emdb db = expect(open_database(disk, settings, &log), "opening");
    std::string lines;
    for (const std::string& line : log) lines += line + '\n';
    REQUIRE_MESSAGE((log.size() == 1 && tells(log, "can't be used") && tells(log, why)), lines);
    REQUIRE(disk.exists(meta_path) == was_sealed);
    return read_contents(db);
}

/// Where the frames of a file are, members of batches too.
struct Frame {
    std::uint64_t offset;
    std::uint64_t size;
    FrameKind kind;
};
std::vector<Frame> frames_of(const std::string& bytes) {
    std::vector<Frame> frames;
    const auto* const file = reinterpret_cast<const std::byte*>(bytes.data());
    for (std::uint64_t offset = detail::journal_start; offset < bytes.size();) {
        FrameView frame;
        if (!detail::parse_frame(file + offset, file + bytes.size(), frame)) break;
        frames.push_back({offset, frame.size, frame.kind()});
        offset += frame.size;
    }
    return frames;
}
std::size_t sessions_in(const std::string& bytes) {
    const auto frames = frames_of(bytes);
    return static_cast<std::size_t>(std::count_if(frames.begin(), frames.end(), [](const Frame& frame) { return frame.kind == FrameKind::session; }));
}

/// The disk with another database file, whose frame at `repaired` gets a checksum that is right.
DiskImage with_database(const DiskImage& image, std::string bytes, std::uint64_t repaired = 0) {
    auto* const file = reinterpret_cast<std::byte*>(bytes.data());
    FrameView frame;
    std::uint32_t version = 0;
    const auto header = *detail::decode_header({file, detail::header_slot_size}, version);
    if (repaired != 0 && detail::parse_frame(file + repaired, file + bytes.size(), frame)) {
        detail::store_frame_crc(file + repaired, frame.size, repaired, header.frame_seed());
    }
    SimulatedDisk disk(image, calm());
    put_file(disk, database_path, bytes);
    return disk.image_now();
}

TEST_CASE("sealed checkpoint: a clean close leaves one, and the next open uses it") {
    for (const Cipher cipher : ciphers) {
        for (const bool range_scans : {false, true}) {
            CAPTURE(range_scans);
            const DiskImage image = closed_database(sealed(cipher, range_scans));
            CHECK(is_sealed(contents_of(image, meta_path)));
            CHECK(check_same(image, sealed(cipher, range_scans)));
            // Written with another setting of range scans than it is read with.
            CHECK(check_same(image, sealed(cipher, !range_scans)));
            // Of many pieces.
            const DiskImage large = closed_database(sealed(cipher, range_scans), 2, 20'000);
            REQUIRE(contents_of(large, meta_path).size() > 4 * MetaSeal::piece_size);
            CHECK(check_same(large, sealed(cipher, range_scans)));
        }
    }
}

TEST_CASE("sealed checkpoint: an empty database, and one that is closed without changes") {
    SimulatedDisk disk(calm());
    const DatabaseSettings settings = sealed(Cipher::aes_256_gcm, true);
    std::vector<std::string> log;
    Emdb db = open_database(disk, settings).value();
    db.checkpoint().value();
    CHECK(check_same(killed(disk), settings));
    disk.start_process();
    db = open_database(disk, settings).value();
    db.close().value();
    const std::string meta = disk.bytes_of(meta_path);
    db = open_database(disk, settings, &log).value();
    CHECK(was_used(log));
    db.close().value();
    CHECK(disk.bytes_of(meta_path) == meta);
    // Deleted while the database is open, it is written again, with another salt.
    db = open_database(disk, settings).value();
    CHECK(disk.files().remove(meta_path));
    db.close().value();
    CHECK(disk.bytes_of(meta_path).size() == meta.size());
    CHECK(disk.bytes_of(meta_path).substr(MetaSeal::salt_offset) != meta.substr(MetaSeal::salt_offset));
}

TEST_CASE("sealed checkpoint: one taken while the database is open serves whoever comes after a kill") {
    for (const Cipher cipher : ciphers) {
        for (const bool range_scans : {false, true}) {
            for (int later_rounds = 0; later_rounds < 4; ++later_rounds) {
                CAPTURE(range_scans);
                CAPTURE(later_rounds);
                const DatabaseSettings settings = sealed(cipher, range_scans);
                SimulatedDisk disk(calm());
                Emdb db = open_database(disk, settings).value();
                write_a_little(db, 0);
                db.close().value();
                db = open_database(disk, settings).value();
                write_a_little(db, 1);
                const std::size_t sessions = sessions_in(disk.bytes_of(database_path));
                CHECK(sessions == 2);
                db.checkpoint().value();
                CHECK(!disk.exists(meta_temporary_path));
                for (int round = 2; round < 2 + later_rounds; ++round) write_a_little(db, round);
                if (later_rounds == 3) db.clear().value();
                // What is written after a checkpoint is of another session.
                CHECK(sessions_in(disk.bytes_of(database_path)) == sessions + (later_rounds == 0 ? 0 : 1));
                CHECK(check_same(killed(disk), settings));
            }
        }
    }
}

TEST_CASE("sealed checkpoint: what is written, and which sessions begin, between its beginning and its end") {
    struct ShortSessions {
        ShortSessions() { detail::session_limits.frames = 30; }
        ~ShortSessions() { detail::session_limits = {}; }
    } short_sessions;
    for (const bool range_scans : {false, true}) {
        for (std::uint64_t seed = 1; seed <= 30; ++seed) {
            CAPTURE(range_scans);
            CAPTURE(seed);
            SeededRandom random(seed);
            const Cipher cipher = ciphers[seed % 2];
            SimulatedDisk disk(calm());
            detail::OpenOptions options;
            options.path = database_path;
            options.environment = &disk;
            options.range_scans = range_scans;
            options.encryption_key = EncryptionInput::key(encryption_key());
            options.cipher = cipher;
            auto engine = detail::Engine::open(options).value();
            const auto change = [&](std::uint64_t count) {
                for (; count != 0; --count) {
                    const std::string name = "space " + std::to_string(random.below(3));
                    const auto keyspace = random.one_in(3) ? engine->open_namespace(name).value() : engine->default_keyspace();
                    const std::string key = "key " + std::to_string(random.below(40));
                    const std::string value(random.below(60), static_cast<char>('a' + random.below(26)));
                    switch (random.below(16)) {
                        case 0: engine->clear(*keyspace).value(); break;
                        case 1: engine->drop_namespace(name).value(); break;
                        case 2:
                        case 3: engine->remove(*keyspace, key).value(); break;
                        case 4:
                        case 5:
                            engine->insert_with_ttl(*keyspace, key, value, expires_at(static_cast<int>(random.below(10'000)))).value();
                            break;
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
            CHECK(check_same(killed(disk), sealed(cipher, range_scans)));
        }
    }
}

TEST_CASE("sealed checkpoint: missing, cut off anywhere, made longer, or with any byte changed, it makes no difference") {
    for (const Cipher cipher : ciphers) {
        const DatabaseSettings settings = sealed(cipher, true);
        const DiskImage image = closed_database(settings, 1, 5);
        const std::string meta = contents_of(image, meta_path);
        SimulatedDisk original(image, calm());
        Emdb intact = open_database(original, settings).value();
        const Contents expected = read_contents(intact);
        std::uint64_t refused = 0;
        const auto check_refused = [&](const std::string& changed, const std::string& why = "") {
            SimulatedDisk disk(with_meta(image, changed), calm());
            REQUIRE(open_refusing(disk, settings, why) == expected);
            ++refused;
        };
        for (std::size_t size = 0; size < meta.size(); size += size < 300 || size > meta.size() - 60 ? 1 : 37) {
            CAPTURE(size);
            check_refused(meta.substr(0, size));
        }
        for (const std::size_t more : {1, 16, 17, 1'000}) check_refused(meta + std::string(more, '\0'));
        for (std::size_t at = 0; at < meta.size(); ++at) {
            CAPTURE(at);
            std::string changed = meta;
            changed[at] = static_cast<char>(changed[at] ^ (1 << at % 8));
            check_refused(changed, at < detail::sealed_meta_head_size ? "" : "it is damaged, or was sealed for another database");
        }
        check_refused(std::string(meta.size(), '\0'));
        CHECK(check_same(with_meta(image, ""), settings) == false);
        CHECK(check_same(with_meta(image, meta), settings));
        MESSAGE(refused << " checkpoints of about " << meta.size() << " bytes refused");
    }
}

TEST_CASE("sealed checkpoint: of another database, key or history it is refused; of an earlier state it serves") {
    const DatabaseSettings settings = sealed(Cipher::chacha20_poly1305, true);
    SimulatedDisk disk(calm());
    Emdb db = open_database(disk, settings).value();
    write_a_little(db, 0);
    db.close().value();
    const DiskImage early = disk.image_now();
    const std::string early_meta = disk.bytes_of(meta_path);
    const auto go_on = [&](const DiskImage& from, int round) {
        SimulatedDisk continued(from, calm(static_cast<std::uint64_t>(10 + round)));
        Emdb again = open_database(continued, settings).value();
        write_a_little(again, round);
        again.close().value();
        return continued.image_now();
    };
    const DiskImage late = go_on(early, 1);
    const std::string late_meta = contents_of(late, meta_path);
    const DiskImage other = go_on(early, 3);  // frames of the same sizes
    REQUIRE(contents_of(other, database_path).size() == contents_of(late, database_path).size());

    CHECK(check_same(late, settings));
    CHECK(check_same(with_meta(late, early_meta), settings));
    CHECK(check_same(with_meta(early, late_meta), settings) == false);
    CHECK(check_same(with_meta(other, late_meta), settings) == false);
    const DiskImage elsewhere = closed_database(settings, 1, 300, 2);
    REQUIRE(contents_of(elsewhere, database_path).size() == contents_of(early, database_path).size());
    CHECK(check_same(with_meta(early, contents_of(elsewhere, meta_path)), settings) == false);

    // A plain one beside an encrypted file, where it must not stay; and a sealed one beside a plain file.
    const std::string plain_meta = contents_of(closed_database(plain(true)), meta_path);
    CHECK(check_same(with_meta(early, plain_meta), settings) == false);
    SimulatedDisk encrypted(with_meta(early, plain_meta), calm());
    open_refusing(encrypted, settings);
    CHECK(!tells({encrypted.bytes_of(meta_path)}, "comes and goes"));
    const DiskImage unencrypted = closed_database(plain(true));
    CHECK(check_same(with_meta(unencrypted, early_meta), plain(true)) == false);
    SimulatedDisk in_plaintext(with_meta(unencrypted, early_meta), calm());
    open_refusing(in_plaintext, plain(true));
}

TEST_CASE("sealed checkpoint: pieces of others, in another order, twice or left out are refused") {
    for (const Cipher cipher : ciphers) {
        const DatabaseSettings settings = sealed(cipher, true);
        SimulatedDisk disk(calm());
        Emdb db = open_database(disk, settings).value();
        write_a_little(db, 0, 12'000);
        db.checkpoint().value();
        const std::string former = disk.bytes_of(meta_path);
        db.checkpoint().value();
        db.close().value();
        const DiskImage image = disk.image_now();
        const std::string meta = disk.bytes_of(meta_path);
        db = open_database(disk, settings).value();
        const Contents expected = read_contents(db);
        REQUIRE(meta.size() > 4 * MetaSeal::piece_size);

        const std::size_t start = detail::sealed_meta_head_size + MetaSeal::header_size + MetaSeal::tag_size;
        const std::size_t size = MetaSeal::piece_size + MetaSeal::tag_size;
        const auto piece = [&](const std::string& of, std::size_t number) { return of.substr(start + number * size, size); };
        const auto check_refused = [&](const std::string& changed) {
            SimulatedDisk with(with_meta(image, changed), calm());
            CHECK(open_refusing(with, settings) == expected);
        };
        const auto replaced = [&](std::size_t number, const std::string& by) {
            std::string changed = meta;
            return changed.replace(start + number * size, size, by);
        };
        for (std::size_t number = 0; start + (number + 1) * size <= meta.size(); ++number) {
            CAPTURE(number);
            check_refused(replaced(number, piece(former, number)));
            check_refused(replaced(number, piece(meta, number == 0 ? 1 : 0)));
            check_refused(replaced(number, piece(meta, number) + piece(meta, number)));
            check_refused(replaced(number, ""));
        }
        check_refused(former.substr(0, start) + meta.substr(start));
        check_refused(meta.substr(0, detail::sealed_meta_head_size) + former.substr(detail::sealed_meta_head_size));
        CHECK(check_same(with_meta(image, former), settings));
    }
}

TEST_CASE("sealed checkpoint: it fits after another passphrase, and not after a compaction or another change of the encryption") {
    const auto input = [](unsigned number) { return EncryptionInput::key(encryption_key(number)); };
    const DatabaseSettings settings = sealed(Cipher::aes_256_gcm, true);
    const DiskImage image = closed_database(settings);
    const std::string meta = contents_of(image, meta_path);
    const auto used_after = [&](const std::function<void(SimulatedDisk&)>& change, const DatabaseSettings& next) {
        SimulatedDisk disk(image, calm());
        Emdb before = open_database(disk, settings).value();
        const Contents expected = read_contents(before);
        before.close().value();
        change(disk);
        std::vector<std::string> log;
        // What the change left.
        Emdb db = expect(open_database(disk, next, &log), "opening");
        CHECK(was_used(log));
        CHECK(read_contents(db) == expected);
        CHECK(is_sealed(disk.bytes_of(meta_path)) == next.cipher.has_value());
        db.close().value();
        // What was there before.
        put_file(disk, meta_path, meta);
        log.clear();
        db = expect(open_database(disk, next, &log), "opening with the former checkpoint");
        CHECK(read_contents(db) == expected);
        return was_used(log);
    };
    CHECK(used_after([&](SimulatedDisk& disk) {
        EncryptionChange(disk, database_path, false).change_passphrase(input(0), input(1)).value();
        EncryptionChange(disk, database_path, false).change_passphrase(input(1), input(0)).value();
    }, settings));
    CHECK_FALSE(used_after([&](SimulatedDisk& disk) {
        EncryptionChange(disk, database_path, false).rotate(input(0), input(0)).value();
    }, settings));
    CHECK_FALSE(used_after([&](SimulatedDisk& disk) { EncryptionChange(disk, database_path, false).disable(input(0)).value(); }, plain(true)));
    CHECK_FALSE(used_after([&](SimulatedDisk& disk) {
        EncryptionChange(disk, database_path, false).disable(input(0)).value();
        EncryptionChange(disk, database_path, false).enable(input(0), Cipher::aes_256_gcm).value();
    }, settings));
    CHECK_FALSE(used_after([&](SimulatedDisk& disk) {
        Emdb db = open_database(disk, settings).value();
        db.compact().value();
        db.close().value();
    }, settings));
}

TEST_CASE("sealed checkpoint: one that can't be had for want of random numbers is an error of the call and nothing more") {
    const DatabaseSettings settings = sealed(Cipher::aes_256_gcm, false);
    SimulatedDisk disk(calm());
    std::vector<std::string> log;
    Emdb db = open_database(disk, settings, &log).value();
    write_a_little(db, 0);
    const Fault no_entropy{.only = Operation::fill_random, .from_then_on = true};
    disk.fail(no_entropy);
    CHECK(db.checkpoint() == ErrorCode::io);
    CHECK(!disk.exists(meta_path));
    CHECK(!disk.exists(meta_temporary_path));
    disk.stop_failing();
    CHECK(db.insert("still", "writable"));
    db.flush().value();
    log.clear();
    disk.fail(no_entropy);
    db.close().value();
    CHECK(tells(log, "The checkpoint of"));
    disk.stop_failing();
    CHECK(check_same(disk.image_now(), settings) == false);
}

TEST_CASE("sealed checkpoint: verify tells with the key whether the next open would use it") {
    for (const Cipher cipher : ciphers) {
        const DiskImage image = closed_database(sealed(cipher, true));
        const auto usable = [](SimulatedDisk& disk) {
            emdb::VerifyOptions options;
            options.encryption = EncryptionInput::key(encryption_key());
            return detail::verify_database(disk, database_path, options).value().meta_usable;
        };
        SimulatedDisk disk(image, calm());
        CHECK(usable(disk));
        for (const std::uint64_t at : {20, 60, 400}) {
            disk.flip_bits(meta_path, at);
            CHECK(!usable(disk));
            disk.flip_bits(meta_path, at);
            CHECK(usable(disk));
        }
        put_file(disk, meta_path, contents_of(closed_database(plain(true)), meta_path));
        CHECK(!usable(disk));
        CHECK(disk.files().remove(meta_path));
        CHECK(!usable(disk));
        SimulatedDisk damaged(image, calm());
        damaged.flip_bits(database_path, damaged.bytes_of(database_path).size() - 100);
        CHECK(!usable(damaged));
    }
}

TEST_CASE("sealed checkpoint: nothing of names, keys, values or the index is in it") {
    const std::string name = "a name that is not to be seen";
    const std::string key = "a key that is not to be seen";
    const std::string value = "a value that is not to be seen";
    const auto fill = [&](const DatabaseSettings& settings) {
        SimulatedDisk disk(calm());
        Emdb db = open_database(disk, settings).value();
        emdb::Namespace space = db.open_namespace(name).value();
        for (int i = 0; i < 500; ++i) {
            space.insert(key + std::to_string(i), value).value();
            db.insert_with_ttl(key + std::to_string(i), value, emdb::Ttl::at(0x1122334455667788)).value();
        }
        db.close().value();
        return disk.image_now();
    };
    // What lists of offsets, queues of expiry and tables of slots have in them.
    const auto numbers_found = [](const std::string& meta, const std::string& database) {
        std::size_t found = 0;
        const auto look_for = [&](std::uint64_t number) {
            std::string bytes(8, '\0');
            detail::store_le(reinterpret_cast<std::byte*>(bytes.data()), number);
            found += meta.find(bytes) != std::string::npos ? 1 : 0;
        };
        for (const Frame& frame : frames_of(database)) look_for(frame.offset);
        look_for(0x1122334455667788);
        look_for(0);  // empty slots
        return found;
    };
    const DiskImage visible = fill(plain(true));
    CHECK(contents_of(visible, meta_path).find(name) != std::string::npos);
    CHECK(numbers_found(contents_of(visible, meta_path), contents_of(visible, database_path)) > 1'000);
    for (const Cipher cipher : ciphers) {
        const DiskImage image = fill(sealed(cipher, true));
        const std::string meta = contents_of(image, meta_path);
        for (const std::string& text : {name, key, value}) CHECK(meta.find(text) == std::string::npos);
        CHECK(numbers_found(meta.substr(16), contents_of(image, database_path)) == 0);
        const Contents hidden = [&] {
            SimulatedDisk disk(image, calm());
            Emdb db = open_database(disk, sealed(cipher, true)).value();
            return read_contents(db);
        }();
        CHECK(hidden.has_space(name));
    }
}

TEST_CASE("sealed checkpoint: readers and writers go on while it is taken, and sessions begin") {
    struct ShortSessions {
        ShortSessions() { detail::session_limits.frames = 500; }
        ~ShortSessions() { detail::session_limits = {}; }
    } short_sessions;
    for (const bool range_scans : {false, true}) {
        CAPTURE(range_scans);
        TempFolder folder;
        const auto open = [&](const std::string& file, std::vector<std::string>* log) {
            emdb::EmdbBuilder builder = Emdb::builder().path(folder.file(file)).enable_range_scans(range_scans).encryption_key(encryption_key());
            if (log != nullptr) builder.on_log([log](emdb::LogLevel, std::string_view line) { log->emplace_back(line); });
            detail::BuilderAccess::use_checkpoints_from(builder, 0);
            return builder.build().value();
        };
        Emdb db = open("a", nullptr);
        for (int i = 0; i < 2'000; ++i) db.insert("key " + std::to_string(i), "first").value();
        std::atomic<bool> stop{false};
        std::atomic<std::uint64_t> failures{0};
        std::vector<std::thread> threads;
        for (std::uint64_t t = 0; t < 3; ++t) {
            threads.emplace_back([&, t] {
                SeededRandom random(t);
                while (!stop) {
                    const std::string key = "key " + std::to_string(random.below(2'000));
                    bool good = true;
                    switch (random.below(4)) {
                        case 0: good = db.remove(key).has_value(); break;
                        case 1: {
                            const auto found = db.get(key);
                            good = found && (!*found || **found == "first" || (*found)->substr(1) == key);
                            break;
                        }
                        case 2: good = db.insert_with_ttl(key, std::to_string(t) + key, emdb::Ttl::at(UINT64_MAX - 1)).has_value(); break;
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
        CHECK(sessions_in(read_bytes(folder.file("a"))) > 12);
        // As a kill would leave it; and once more without the checkpoint.
        std::filesystem::copy_file(folder.file("a"), folder.file("with"));
        std::filesystem::copy_file(folder.file("a.meta"), folder.file("with.meta"));
        std::filesystem::copy_file(folder.file("a"), folder.file("without"));
        std::vector<std::string> log;
        Emdb with = open("with", &log);
        Emdb without = open("without", nullptr);
        CHECK(was_used(log));
        const Everything expected = Everything::of(without);
        const Everything found = Everything::of(with);
        CHECK_MESSAGE(found.contents == expected.contents, found.contents.differences_from(expected.contents));
        CHECK(found.facts == expected.facts);
        CHECK(read_contents(db) == expected.contents);
    }
}

// --- tampering with the journal below a checkpoint, which is not replayed

TEST_CASE("sealed checkpoint: what was changed below it is found by the read that meets it, what was changed above it by the opening") {
    for (const Cipher cipher : ciphers) {
        const DatabaseSettings settings = sealed(cipher, false);
        SimulatedDisk disk(calm());
        Emdb db = open_database(disk, settings).value();
        db.insert("before", "1").value();
        db.insert("target", "2").value();
        db.insert("large", std::string(200'000, 'v')).value();  // or the checkpoint would know that the journal is another
        db.checkpoint().value();
        db.insert("later", "3").value();
        db.flush().value();
        db.insert("last", "4").value();
        db.flush().value();
        const DiskImage image = killed(disk);
        const std::string bytes = disk.bytes_of(database_path);
        const std::vector<Frame> frames = frames_of(bytes);
        REQUIRE(frames[2].kind == FrameKind::put);
        for (const bool repaired : {false, true}) {
            CAPTURE(repaired);
            std::string changed = bytes;
            changed[static_cast<std::size_t>(frames[2].offset + frames[2].size - 1)] ^= 1;
            SimulatedDisk below(with_database(image, changed, repaired ? frames[2].offset : 0), calm());
            std::vector<std::string> log;
            Emdb found = expect(open_database(below, settings, &log), "opening");
            CHECK(was_used(log));
            CHECK(found.get("target") == (repaired ? ErrorCode::encryption_error : ErrorCode::corrupted));
            CHECK(found.get("before").value() == "1");
            CHECK(found.get("last").value() == "4");
            // The session's frame, and the record behind it.
            for (std::size_t i = 4; i < frames.size(); ++i) {
                if (frames[i].kind != FrameKind::session && frames[i].kind != FrameKind::put) continue;
                if (!repaired && i + 1 == frames.size()) continue;  // torn, as far as anybody knows
                changed = bytes;
                changed[static_cast<std::size_t>(frames[i].offset + frames[i].size - 20)] ^= 1;
                SimulatedDisk above(with_database(image, changed, repaired ? frames[i].offset : 0), calm());
                const std::string before = above.bytes_of(database_path);
                const auto opened = open_database(above, settings);
                const bool torn = !repaired && opened.has_value();  // behind the last mark
                if (torn) continue;
                CHECK(opened == (repaired ? ErrorCode::encryption_error : ErrorCode::corrupted));
                CHECK(above.bytes_of(database_path) == before);
            }
        }
    }
}

TEST_CASE("sealed checkpoint: frames of a tail that was cut off are refused behind it, in their very places") {
    for (const Cipher cipher : ciphers) {
        const DatabaseSettings settings = sealed(cipher, true);
        const auto put = [](Emdb& db, const char* value) {
            for (int i = 0; i < 9; ++i) db.insert("key " + std::to_string(i), value).value();
        };
        SimulatedDisk disk(calm());
        std::string torn;
        {
            Emdb db = open_database(disk, settings).value();
            db.insert("flushed", "value").value();
            db.flush().value();
            db.insert("a", "four").value();  // with the mark before it, as long as the frame of the session that will begin here
            put(db, "7 bytes");
            torn = disk.bytes_of(database_path);
            disk.cut_power();
        }
        DiskSettings rebooted_settings = calm();
        rebooted_settings.seed = 8;
        SimulatedDisk rebooted(disk.crashed().nothing_survived(), rebooted_settings);
        Emdb db = open_database(rebooted, settings).value();
        put(db, "bytes 7");
        db.insert("large", std::string(200'000, 'v')).value();
        db.close().value();
        const DiskImage image = rebooted.image_now();
        const std::string bytes = rebooted.bytes_of(database_path);
        std::uint64_t put_back = 0;
        for (const Frame& lost : frames_of(torn)) {
            for (const Frame& frame : frames_of(bytes)) {
                const std::string former = torn.substr(static_cast<std::size_t>(lost.offset), static_cast<std::size_t>(lost.size));
                if (frame.offset != lost.offset || frame.size != lost.size || lost.kind != FrameKind::put) continue;
                if (bytes.compare(static_cast<std::size_t>(frame.offset), former.size(), former) == 0) continue;
                CAPTURE(frame.offset);
                std::string changed = bytes;
                changed.replace(static_cast<std::size_t>(frame.offset), former.size(), former);
                SimulatedDisk with(with_database(image, changed, frame.offset), calm());
                std::vector<std::string> log;
                Emdb found = expect(open_database(with, settings, &log), "opening");
                CHECK(was_used(log));
                std::size_t refused = 0;
                for (int i = 0; i < 9; ++i) {
                    const auto value = found.get("key " + std::to_string(i));
                    if (value) {
                        CHECK(value.value() == "bytes 7");
                    } else {
                        CHECK(value == ErrorCode::encryption_error);
                        ++refused;
                    }
                }
                CHECK(refused == 1);
                CHECK(found.iter().value().collect() == ErrorCode::encryption_error);
                CHECK(found.range(emdb::Range::all()) == ErrorCode::encryption_error);
                ++put_back;
            }
        }
        CHECK(put_back == 9);
    }
}

TEST_CASE("sealed checkpoint: what follows it in the journal of a copy is refused in its place") {
    for (const Cipher cipher : ciphers) {
        const DatabaseSettings settings = sealed(cipher, false);
        SimulatedDisk disk(calm());
        Emdb db = open_database(disk, settings).value();
        write_a_little(db, 0);
        db.close().value();
        const DiskImage common = disk.image_now();
        const auto go_on = [&](const char* value, std::uint64_t seed) {
            SimulatedDisk continued(common, calm(seed));
            Emdb again = open_database(continued, settings).value();
            again.insert("k", value).value();
            again.checkpoint().value();
            again.insert("k", value).value();
            again.flush().value();
            again.insert("k", value).value();
            again.flush().value();
            return killed(continued);
        };
        const DiskImage ours = go_on("ours", 2);
        const DiskImage theirs = go_on("copy", 3);
        const std::string our_bytes = contents_of(ours, database_path);
        const std::string their_bytes = contents_of(theirs, database_path);
        REQUIRE(our_bytes.size() == their_bytes.size());
        CHECK(check_same(ours, settings));
        std::uint64_t from = 0;
        for (const Frame& frame : frames_of(our_bytes)) {
            if (frame.kind == FrameKind::session) from = frame.offset;  // the last one: that of the checkpoint's time
        }
        const auto at = static_cast<std::size_t>(from);
        const std::string mixed = our_bytes.substr(0, at) + their_bytes.substr(at);
        SimulatedDisk with(with_database(ours, mixed), calm());
        CHECK(open_database(with, settings) == ErrorCode::encryption_error);
        CHECK(with.bytes_of(database_path) == mixed);
    }
}

}  // namespace
}  // namespace emdb_test
