// Power cuts, kills and failing disks over encrypted databases: the stories of power_cut_test.cpp; changes of the encryption, cut off at
// every operation; and lives of files and their copies in which no nonce is used twice.
//
// EMDB_POWER_CUTS=n   how many random cuts (1,000 for each cipher)
// EMDB_NONCE_RUNS=n   how many lives (1,000)
// EMDB_SEED=n         the first seed; alone, only the story with this seed is run

#define EMDB_ENCRYPT 1
#define EMDB_NESTED 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/power_cut_story.hpp"
#include "support/power_cuts.hpp"

namespace emdb_test {
namespace {

using emdb::Cipher;
using emdb::Emdb;
using emdb::EncryptionInput;
using emdb::Result;
using emdb::detail::EncryptionChange;

TEST_CASE("power cuts: an encrypted database keeps every promise of a plain one") {
    for (const Cipher cipher : {Cipher::aes_256_gcm, Cipher::chacha20_poly1305}) {
        CAPTURE(static_cast<int>(cipher));
        DatabaseSettings settings;
        settings.cipher = cipher;
        run_stories(1'000, settings);
    }
}

// --- faults, and the frames of sessions

TEST_CASE("whichever operation fails, once or for good, what an encrypted database acknowledged is there after reopening") {
    for (const Backend& backend : backends) {
        CAPTURE(backend.name);
        DatabaseSettings settings = backend.settings();
        settings.cipher = Cipher::chacha20_poly1305;
        fail_everywhere(backend.keeps_allocation, settings);
    }
}

// Of frames behind a torn place only marks count, and the mark of a close may be the first that is sealed in its session. Both lie in one
// sector, or not, depending on what lies before them.
TEST_CASE("power cuts: the frame of a session is durable before a mark is sealed in it, so that a lost one is never taken for damage") {
    constexpr std::size_t sector = 512;
    SeededRandom random(3);
    DatabaseSettings settings;
    settings.cipher = Cipher::aes_256_gcm;
    std::uint64_t outcomes = 0;
    for (std::size_t size = 0; size < sector; size += 32) {
        bool closed = false;
        for (std::uint64_t operation = 1; !closed; ++operation) {
            SimulatedDisk disk(quiet(operation, true));
            {
                emdb::Emdb db = open_database(disk, settings).value();
                db.insert("key", text(size, 'v')).value();
                disk.kill_process();
            }
            disk.start_process();
            emdb::Emdb db = open_database(disk, settings).value();
            disk.cut_power_at(disk.operation_count() + operation);
            closed = db.close() && disk.power_is_on();
            disk.cut_power();
            INFO(size, " bytes, cut at operation ", operation, ":\n", disk.trace());
            for_each_outcome(disk.crashed(), 64, random, [&](const DiskImage& image) {
                SimulatedDisk rebooted(image, quiet(operation, true));
                auto opened = open_database(rebooted, settings);
                REQUIRE_MESSAGE(opened.has_value(), opened.error().message());
                ++outcomes;
                const auto found = opened->get("key").value();
                CHECK((found ? *found == text(size, 'v') : !closed));
            });
        }
    }
    CHECK(outcomes > 1000);
}

// --- changes of the encryption

/// What opens a database: a key by its number, or nothing.
using Lock = std::optional<unsigned>;

EncryptionInput input_of(Lock lock) { return EncryptionInput::key(encryption_key(lock.value())); }

Result<Emdb> open_with(SimulatedDisk& disk, Lock lock, const std::string& path = database_path) {
    emdb::EmdbBuilder builder;
    builder.path(path);
    if (lock) builder.encryption_key(encryption_key(*lock));
    emdb::detail::BuilderAccess::set_environment(builder, disk);
    return builder.build();
}

bool is_sealed_checkpoint(std::string_view bytes) { return emdb::detail::has_sealed_meta_magic(std::as_bytes(std::span(bytes))); }

constexpr std::uint64_t never = UINT64_MAX;
const std::string marker = "a marker that is not to be seen";

struct Change {
    std::string name;
    Lock before;
    Lock after;
    std::function<Result<void>(SimulatedDisk& disk, bool keep_backup)> make;
};

const std::vector<Change> changes{
    {"enable", std::nullopt, 1,
     [](SimulatedDisk& disk, bool keep) { return EncryptionChange(disk, database_path, keep).enable(input_of(1), Cipher::aes_256_gcm); }},
    {"disable", 1, std::nullopt,
     [](SimulatedDisk& disk, bool keep) { return EncryptionChange(disk, database_path, keep).disable(input_of(1)); }},
    {"rotate", 1, 2,
     [](SimulatedDisk& disk, bool keep) { return EncryptionChange(disk, database_path, keep).rotate(input_of(1), input_of(2)); }},
    {"change_passphrase", 1, 2, [](SimulatedDisk& disk, bool keep) {
         return EncryptionChange(disk, database_path, keep).change_passphrase(input_of(1), input_of(2));
     }}};

/// A change on trial: what a cut, a kill or a fault may leave of it.
class Trial {
public:
    Trial(const Change& change, bool keep_backup) : change_(change), keep_backup_(keep_backup) {
        SimulatedDisk disk(quiet(1, true));
        Emdb db = open_with(disk, change.before).value();
        for (int i = 0; i < 10; ++i) db.insert("key " + std::to_string(i), marker + std::to_string(i)).value();
        db.open_namespace(marker).value().insert(marker, "x").value();
        contents_ = read_contents(db);
        db.close().value();
        prepared_ = disk.image_now();
    }

    const DiskImage& prepared() const noexcept { return prepared_; }

    /// The old or the new state, whole, with nothing beside it. `must_be_new`: the change had returned.
    void check(SimulatedDisk& disk, bool must_be_new) {
        const std::string meta = database_path + ".meta";
        if (must_be_new && change_.after && disk.exists(meta)) CHECK(disk.bytes_of(meta).find(marker) == std::string::npos);
        auto with_new = open_with(disk, change_.after);
        const bool is_new = with_new.has_value();
        if (must_be_new) REQUIRE_MESSAGE(is_new, with_new.error().message());
        if (!is_new) with_new = open_with(disk, change_.before);
        REQUIRE_MESSAGE(with_new, with_new.error().message());
        ++(is_new ? new_ : old_);
        CHECK(read_contents(*with_new) == contents_);
        with_new->close().value();
        CHECK_FALSE(open_with(disk, is_new ? change_.before : change_.after));
        const std::string backup = database_path + ".encbak";
        for (const std::string& path : disk.paths()) {
            const bool is_backup = keep_backup_ && path == backup;
            // A temporary of the backup is another database's; it goes when that is opened, or made again.
            CHECK_MESSAGE((path == database_path || is_backup || path == meta || (keep_backup_ && path == backup + ".tmp")), path);
            if (path == meta) CHECK(is_sealed_checkpoint(disk.bytes_of(meta)) == (is_new ? change_.after : change_.before).has_value());
            if (is_new && change_.after && !(keep_backup_ && !change_.before)) {
                CHECK_MESSAGE(disk.bytes_of(path).find(marker) == std::string::npos, path);
            }
        }
        if (keep_backup_ && is_new) {
            Emdb kept = open_with(disk, change_.before, backup).value();
            CHECK(read_contents(kept) == contents_);
        }
    }

    std::uint64_t old_states() const noexcept { return old_; }
    std::uint64_t new_states() const noexcept { return new_; }

private:
    const Change& change_;
    const bool keep_backup_;
    Contents contents_;
    DiskImage prepared_;
    std::uint64_t old_ = 0;
    std::uint64_t new_ = 0;
};

TEST_CASE("a change of the encryption that is cut off at any operation leaves the old or the new state") {
    for (const Change& change : changes) {
        for (const bool keep_backup : {false, true}) {
            Trial trial(change, keep_backup);
            SeededRandom random(3);
            std::uint64_t operation = 1;
            for (bool got_through = false; !got_through; ++operation) {
                SimulatedDisk disk(trial.prepared(), quiet(operation + 1, true));
                disk.cut_power_at(operation);
                got_through = change.make(disk, keep_backup).has_value() && disk.power_is_on();
                disk.cut_power();
                INFO(change.name, " with the power cut at operation ", operation, "\n", disk.trace());
                CHECK(disk.violations().empty());
                for_each_outcome(disk.crashed(), 64, random, [&](const DiskImage& image) {
                    SimulatedDisk rebooted(image, quiet(operation + 1000, true));
                    trial.check(rebooted, got_through);
                });
            }
            CHECK(trial.old_states() > 0);
            CHECK(trial.new_states() > 0);
            MESSAGE(change.name << ": " << operation << " operations, " << trial.old_states() << " old and " << trial.new_states()
                                << " new states");
        }
    }
}

TEST_CASE("a change of the encryption during which the process is killed, or any operation fails, once or for good") {
    enum class Trouble { kill, fault, faults };
    for (const Change& change : changes) {
        for (const bool keep_backup : {false, true}) {
            for (const Trouble trouble : {Trouble::kill, Trouble::fault, Trouble::faults}) {
                Trial trial(change, keep_backup);
                bool met = true;
                for (std::uint64_t operation = 1; met; ++operation) {
                    SimulatedDisk disk(trial.prepared(), quiet(operation + 1, true));
                    if (trouble == Trouble::kill) {
                        disk.kill_process_at(operation);
                    } else {
                        Fault fault;
                        fault.nth = operation;
                        fault.from_then_on = trouble == Trouble::faults;
                        disk.fail(fault);
                    }
                    const bool done = change.make(disk, keep_backup).has_value();
                    met = trouble == Trouble::kill ? !disk.process_is_alive() : disk.faults_injected() != 0;
                    INFO(change.name, " with trouble ", static_cast<int>(trouble), " at operation ", operation, "\n", disk.trace());
                    CHECK((met || done));
                    disk.kill_process_at(never);
                    if (!disk.process_is_alive()) disk.start_process();
                    disk.stop_failing();
                    trial.check(disk, done);
                }
                CHECK(trial.old_states() > 0);
                CHECK(trial.new_states() > 0);
            }
        }
    }
}

TEST_CASE("a header whose first copy was changed and not the second has its passphrase changed again") {
    Trial trial(changes[3], false);
    for (std::uint64_t nth = 1; nth <= 4; ++nth) {
        SimulatedDisk disk(trial.prepared(), quiet(nth, true));
        disk.fail({.only = nth % 2 == 1 ? Operation::write : Operation::sync, .nth = (nth + 1) / 2});
        const auto failed = EncryptionChange(disk, database_path, false).change_passphrase(input_of(1), input_of(2));
        REQUIRE_FALSE(failed);
        CHECK((failed.error().message().find("Change it once more") != std::string::npos) == (nth > 2));
        disk.stop_failing();
        const Lock now = open_with(disk, 2) ? 2 : 1;
        EncryptionChange(disk, database_path, false).change_passphrase(input_of(now), input_of(3)).value();
        for (const std::uint64_t slot : {0, 1}) {
            disk.flip_bits(database_path, slot * emdb::detail::header_slot_size + 100);
            CHECK(open_with(disk, 3));
            CHECK_FALSE(open_with(disk, 1));
            CHECK_FALSE(open_with(disk, 2));
            disk.flip_bits(database_path, slot * emdb::detail::header_slot_size + 100);
        }
    }
}

TEST_CASE("a database whose plain checkpoint can't be removed is not encrypted") {
    const std::string meta = database_path + ".meta";
    Trial trial(changes[0], false);
    bool stayed = false;
    for (std::uint64_t nth = 1; !stayed; ++nth) {
        SimulatedDisk disk(trial.prepared(), quiet(nth, true));
        disk.fail({.only = Operation::remove, .nth = nth});
        const auto made = changes[0].make(disk, false);
        REQUIRE(disk.faults_injected() != 0);
        stayed = disk.trace().find("remove " + meta + "  <- fails") != std::string::npos;
        if (stayed) CHECK(made == emdb::ErrorCode::io);
        disk.stop_failing();
        trial.check(disk, made.has_value());
    }
}

// --- nonces

/// Every sealed frame that ever was on a disk, by what its nonce belongs to: a session's random bytes, and the counter. And every piece
/// of a checkpoint, by its salt and number.
class NonceLedger {
public:
    /// Takes down what is in the journal of a file, up to the first frame that does not validate.
    void scan(const std::string& bytes) {
        if (bytes.size() < emdb::detail::journal_start) return;
        const auto* const file = reinterpret_cast<const std::byte*>(bytes.data());
        std::uint32_t version = 0;
        auto header = emdb::detail::decode_header({file, emdb::detail::header_slot_size}, version);
        if (!header) return;
        std::vector<std::string> sessions{""};
        std::uint64_t offset = emdb::detail::journal_start;
        emdb::detail::FrameView frame;
        while (offset < bytes.size() && emdb::detail::parse_frame(file + offset, file + bytes.size(), frame) &&
               emdb::detail::frame_validates(frame, offset, header->frame_seed())) {
            if (frame.kind() == emdb::detail::FrameKind::session) {
                sessions.emplace_back(frame.value.as_string_view().substr(4, 32));
            } else {
                const auto nonce = emdb::detail::load_nonce(frame.key.data() - emdb::detail::frame_nonce_size);
                REQUIRE(nonce.session == sessions.size() - 1);
                if (note(sessions.back(), nonce.counter, std::to_string(offset) + bytes.substr(offset, frame.size))) ++frames_;
            }
            offset += frame.size;
        }
    }
    /// Takes down the pieces of the checkpoint beside a file that open with the file's key: others may have been torn.
    void scan_checkpoint(const std::string& database, const std::string& bytes) {
        using emdb::detail::MetaSeal;
        if (database.size() < emdb::detail::journal_start || bytes.size() < MetaSeal::piece_with(MetaSeal::header_size).at) return;
        if (!is_sealed_checkpoint(bytes)) return;
        std::uint32_t version = 0;
        const auto header = emdb::detail::decode_header(std::as_bytes(std::span(database)).first(emdb::detail::header_slot_size), version);
        if (!header) return;
        const auto key = emdb::detail::KeyBlock::unwrap(*header, input_of(0), "it");
        REQUIRE(key);
        const emdb::detail::Sealer sealer(*emdb::detail::KeyBlock::cipher(header->key_block, "it"), *key, header->file_id);
        MetaSeal::Head head;
        std::memcpy(head.data(), bytes.data(), head.size());
        const auto seal = MetaSeal::create(sealer, head);
        const std::string salt = bytes.substr(MetaSeal::salt_offset, MetaSeal::salt_size);
        for (std::uint64_t at = 0;;) {
            const MetaSeal::Piece piece = MetaSeal::piece_with(at);
            if (piece.at >= bytes.size()) return;
            const std::string sealed = bytes.substr(static_cast<std::size_t>(piece.at), piece.size + MetaSeal::tag_size);
            std::vector<std::byte> plain(sealed.size());
            if (seal->open(piece.number, std::as_bytes(std::span(sealed)), plain.data())) {
                pieces_ += note("checkpoint " + salt, static_cast<std::uint32_t>(piece.number), sealed) ? 1 : 0;
            }
            at = piece.start + piece.size;
        }
    }
    std::uint64_t frames() const noexcept { return frames_; }
    std::uint64_t pieces() const noexcept { return pieces_; }
    std::size_t sessions() const noexcept { return seen_.size(); }

private:
    bool note(const std::string& session, std::uint32_t counter, const std::string& what) {
        const auto [found, is_new] = seen_[session].emplace(counter, std::hash<std::string>()(what));
        REQUIRE_MESSAGE(found->second == std::hash<std::string>()(what), "a nonce was used twice");
        return is_new;
    }

    std::map<std::string, std::map<std::uint32_t, std::size_t>> seen_;
    std::uint64_t frames_ = 0;
    std::uint64_t pieces_ = 0;
};

/// A database's life on several machines: its file is copied, restored, backed up, cut off, compacted.
class Life {
public:
    Life(std::uint64_t seed, NonceLedger& ledger) : random_(seed), ledger_(ledger) {
        emdb::detail::session_limits.frames = random_.one_in(3) ? 5 + random_.below(20) : 1'000'000;
        disk_settings_.keeps_allocation = random_.coin();
        disk_settings_.keeps_trace = false;
        start(DiskImage());
    }
    ~Life() {
        db_.reset();
        emdb::detail::session_limits = {};
    }

    void run(int steps) {
        for (; steps > 0; --steps) {
            step();
            scan();
        }
    }

private:
    void step() {
        switch (random_.below(14)) {
            case 0: return leave_and_start(disk_->image_now());  // whoever copies a file that is open has what a kill leaves
            case 1: {
                db_.reset();  // closes
                return open();
            }
            case 2: return cut();
            case 3: {
                disk_->kill_process();
                db_.reset();
                disk_->start_process();
                return open();
            }
            case 4: {
                disk_->kill_process_at(disk_->operation_count() + 1 + random_.below(25));
                for (int i = 0; i < 10 && disk_->process_is_alive(); ++i) write();
                scan();
                disk_->kill_process_at(never);
                disk_->kill_process();
                db_.reset();
                disk_->start_process();
                return open();
            }
            case 5: return db_->compact().value();
            case 6: {
                db_->backup_to("/disk/backup.emdb").value();
                Emdb backup = open_database_at("/disk/backup.emdb");
                backup.insert("a", "b").value();
                return;
            }
            case 7: {
                copies_.push_back(disk_->image_now());
                return;
            }
            case 8:
            case 9: {
                if (copies_.empty()) return write();
                return leave_and_start(copies_[static_cast<std::size_t>(random_.below(copies_.size()))]);
            }
            case 10: return db_->flush().value();
            case 11:
            case 12: return db_->checkpoint().value();
            default: break;
        }
        for (std::uint64_t count = 1 + random_.below(6); count > 0; --count) write();
    }

    void write() {
        const std::string key = "key" + std::to_string(random_.below(20));
        // Of equal size, so that frames of different pasts lie at the same offsets, and like one another but for a number.
        const std::string value = "value" + std::to_string(1'000'000 + random_.below(1'000'000));
        if (random_.one_in(4)) {
            (void)db_->transaction([&](emdb::Transaction& t) -> Result<void> {
                if (auto put = t.insert(key, value); !put) return put;
                return t.insert(key + "b", value);
            });
        } else {
            (void)db_->insert(key, value);
        }
        if (random_.one_in(6)) (void)db_->flush();
    }

    void cut() {
        disk_->cut_power_at(disk_->operation_count() + 1 + random_.below(40));
        for (int i = 0; i < 30 && disk_->power_is_on(); ++i) {
            write();
            disk_->tick();
            if (disk_->power_is_on()) scan();
        }
        disk_->cut_power();
        const CrashedDisk crashed = disk_->crashed();
        leave_and_start(crashed.random_outcome(random_));
    }

    /// Another machine, with these files.
    void leave_and_start(const DiskImage& image) {
        if (disk_->power_is_on()) disk_->kill_process();
        db_.reset();
        start(image);
    }
    void start(const DiskImage& image) {
        disk_settings_.seed = random_.next();
        disk_ = std::make_unique<SimulatedDisk>(image, disk_settings_);
        open();
    }
    void open() { db_ = open_database_at(database_path); }
    Emdb open_database_at(const std::string& path) {
        DatabaseSettings settings;
        settings.small_checkpoints = true;
        settings.cipher = Cipher::aes_256_gcm;
        return expect(open_database(*disk_, settings, nullptr, path), "opening");
    }
    void scan() {
        for (const std::string& path : disk_->paths()) {
            if (path.ends_with(".emdb") || path.ends_with(".emdb.tmp") || path.ends_with(".compact")) ledger_.scan(disk_->bytes_of(path));
            const std::size_t suffix = path.find(".meta");
            if (suffix == std::string::npos || !disk_->exists(path.substr(0, suffix))) continue;
            ledger_.scan_checkpoint(disk_->bytes_of(path.substr(0, suffix)), disk_->bytes_of(path));
        }
    }

    SeededRandom random_;
    NonceLedger& ledger_;
    DiskSettings disk_settings_;
    std::vector<DiskImage> copies_;
    std::unique_ptr<SimulatedDisk> disk_;
    std::optional<Emdb> db_;
};

TEST_CASE("no nonce is used twice, whatever becomes of a file and its copies") {
    const std::uint64_t runs = number_from_environment("EMDB_NONCE_RUNS").value_or(1'000);
    const std::uint64_t first = number_from_environment("EMDB_SEED").value_or(1);
    std::uint64_t frames = 0;
    std::uint64_t pieces = 0;
    std::uint64_t sessions = 0;
    for (std::uint64_t seed = first; seed < first + runs; ++seed) {
        INFO("repeat with EMDB_NONCE_RUNS=1 EMDB_SEED=", seed);
        NonceLedger ledger;
        Life(seed, ledger).run(20);
        frames += ledger.frames();
        pieces += ledger.pieces();
        sessions += ledger.sessions();
    }
    CHECK(pieces > 0);
    MESSAGE(runs << " lives, " << sessions << " sessions and checkpoints, " << frames << " sealed frames and " << pieces
                 << " pieces of checkpoints, each with a nonce of its own");
}

}  // namespace
}  // namespace emdb_test
