#pragma once
// A database on a simulated disk with its model beside it: every call is issued to both, and everything read is compared.
//
// Needs the implementation half of emdb.hpp (EMDB_IMPLEMENTATION defined before its first include).

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/journal_model.hpp"
#include "support/simulated_disk.hpp"

namespace emdb_test {

inline const std::string database_path = "/disk/test.emdb";
inline const std::string backup_path = "/disk/backup.emdb";

/// Thrown where a test finds a promise broken; the message says which.
struct BrokenPromise : std::runtime_error {
    explicit BrokenPromise(const std::string& which, Harm kind = Harm::other) : std::runtime_error(which), harm(kind) {}
    Harm harm;
};

struct DatabaseSettings {
    emdb::FlushPolicy policy = emdb::FlushPolicy::on_each_flush();
    emdb::AppendMode mode = emdb::AppendMode::automatic;
    /// Random records of one size only: then a stale frame behind a cut tail lies just where a new frame ends, and would be
    /// taken for its successor if the cut had not been made for good.
    bool records_of_one_size = false;
    bool range_scans = false;
    /// Checkpoints are used although the databases are small.
    bool small_checkpoints = false;
#if EMDB_ENCRYPT
    std::optional<emdb::Cipher> cipher = std::nullopt;  ///< encrypted with encryption_key(key), if so
    unsigned key = 0;
    unsigned keys_made = 0;  ///< greater numbers have never been anybody's key
#endif
};

#if EMDB_ENCRYPT
/// Some key, another one for each number.
inline std::array<std::byte, 32> encryption_key(unsigned number = 0) {
    std::array<std::byte, 32> key;
    for (unsigned i = 0; i < 32; ++i) key[i] = static_cast<std::byte>(7 * i + 31 * number + 1);
    return key;
}
#endif

inline emdb::Result<emdb::Emdb> open_database(SimulatedDisk& disk, const DatabaseSettings& settings = {},
                                              std::vector<std::string>* log = nullptr,
                                              const std::string& path = database_path) {
    emdb::EmdbBuilder builder = emdb::Emdb::builder();
    builder.path(path).flush_policy(settings.policy).append_mode(settings.mode).enable_range_scans(settings.range_scans);
#if EMDB_ENCRYPT
    if (settings.cipher) builder.encryption_key(encryption_key(settings.key));
    if (settings.cipher && !disk.exists(path)) builder.cipher(*settings.cipher);
#endif
    if (log != nullptr) {
        builder.on_log([log](emdb::LogLevel, std::string_view message) { log->emplace_back(message); });
    }
    emdb::detail::BuilderAccess::set_environment(builder, disk);
    if (settings.small_checkpoints) emdb::detail::BuilderAccess::use_checkpoints_from(builder, 0);
    return builder.build();
}

inline void check(bool holds, const std::string& promise, Harm harm = Harm::other) {
    if (!holds) throw BrokenPromise(promise, harm);
}
template <class T>
T expect(emdb::Result<T> result, const std::string& what, Harm harm = Harm::other) {
    if (!result) throw BrokenPromise(what + " failed: " + result.error().message(), harm);
    if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

/// The power or the process went at a place where a session can't just return false.
struct IsOver {};

/// Everything in a database, read by iteration and checked against point reads and counters. `some_expired`: there may be records
/// that count although nobody sees them any more.
inline Contents read_contents(emdb::Emdb& db, bool some_expired = false) {
    Contents contents;
    const bool ordered = expect(db.stats(), "stats").range_scans_enabled;
    const auto read = [&contents, ordered, some_expired](const emdb::Keyspace& keyspace, const std::string& space) {
        auto records = expect(keyspace.iter(), "iter");
        std::size_t count = 0;
        for (const emdb::RecordView& record : records) {
            const std::string key(record.key);
            check(contents.find(space, key) == nullptr, "iter yields the key '" + key + "' twice");
            contents.put(space, key, std::string(record.value));
            ++count;
        }
        expect(records.status(), "iterating");
        const std::size_t length = expect(keyspace.len(), "len");
        check(length == count || (some_expired && length > count), "len differs from what iter yields");
        std::string value;
        for (const auto& [key, expected] : contents.records(space)) {
            check(expect(keyspace.get_into(key, value), "get_into") && value == expected, "get differs from iter");
        }
        if (!ordered) return;
        const std::vector<emdb::Record> range = expect(keyspace.range(emdb::Range::all()), "range");
        check(range.size() == count, "range differs from iter in the number of records");
        for (std::size_t i = 0; i < range.size(); ++i) {
            check(i == 0 || range[i - 1].key < range[i].key, "range is out of order");
            const std::string* const expected = contents.find(space, range[i].key);
            check(expected != nullptr && *expected == range[i].value, "range differs from iter");
        }
    };
    read(db, "");
    for (const std::string& name : expect(db.list_namespaces(), "list_namespaces")) {
        contents.create(name);
        read(expect(db.open_namespace(name), "open_namespace"), name);
    }
    return contents;
}

/// What the backup of a story may hold after a crash.
struct BackupModel {
    std::optional<Contents> completed;  ///< by the last backup_to() that returned; nullopt: none has
    std::optional<Contents> under_way;  ///< by one that was cut off
};

#if EMDB_ENCRYPT
/// The database is encrypted with another key, or not, or it is and no key was given.
inline bool is_wrong_key(const emdb::Result<emdb::Emdb>& opened) {
    return opened == emdb::ErrorCode::encryption_key_mismatch || opened == emdb::ErrorCode::key_required ||
           opened == emdb::ErrorCode::not_encrypted;
}
#endif

/// A backup keeps the key that the database had.
inline emdb::Result<emdb::Emdb> open_backup(SimulatedDisk& disk, const DatabaseSettings& settings) {
    auto opened = open_database(disk, settings, nullptr, backup_path);
#if EMDB_ENCRYPT
    DatabaseSettings other = settings;
    other.cipher = emdb::Cipher::aes_256_gcm;  // any: the file knows
    for (other.key = 0; other.key <= settings.keys_made && is_wrong_key(opened); ++other.key) {
        opened = open_database(disk, other, nullptr, backup_path);
    }
    other.cipher.reset();
    if (is_wrong_key(opened)) opened = open_database(disk, other, nullptr, backup_path);
#endif
    return opened;
}

/// The backup must be the completed one, or the one that was cut off in its place; it is the completed one from now on. False: the
/// power went meanwhile.
inline bool check_backup(SimulatedDisk& disk, const DatabaseSettings& settings, BackupModel& backup) {
    if (!disk.exists(backup_path)) {
        check(!backup.completed, "a completed backup is gone");
        return true;
    }
    auto opened = open_backup(disk, settings);
    if (!disk.power_is_on()) return false;
    emdb::Emdb db = expect(std::move(opened), "opening the backup", Harm::unopenable);
    const Contents found = read_contents(db, disk.clock_was_moved());
    check(found == backup.completed || found == backup.under_way, "a backup is neither the old nor the new one", Harm::not_a_prefix);
    const bool closed = db.close().has_value();
    if (!disk.power_is_on()) return false;
    check(closed, "closing the backup");
    if (found != backup.completed) backup.completed = backup.under_way;
    backup.under_way.reset();
    return true;
}

/// One open database with its model. Every call succeeds until the power goes or the process is killed.
class Session {
public:
    Session(SimulatedDisk& disk, emdb::Emdb db, JournalModel& model, const DatabaseSettings& settings, SeededRandom& random,
            BackupModel* backup = nullptr)
        : disk_(disk), db_(std::move(db)), model_(model), settings_(settings), random_(random), backup_(backup) {
        returned_position_ = model_.position();
        faults_before_ = disk_.faults_injected();
    }

    /// A random call. False: the power or the process is gone, or a call has met a fault of the disk and failed.
    bool step() {
        try {
            if (!random_call()) return false;
        } catch (const IsOver&) {
            return false;
        }
        disk_.tick();
        return !is_over();
    }

    /// The model's position when the last call returned: what must be there although the process is killed.
    std::uint64_t returned_position() const noexcept { return returned_position_; }

    /// A call has failed, as the disk had. Only reopening tells what became of it.
    bool has_failed() const noexcept { return has_failed_; }
    /// Some fault of the disk fell into this session, whether a call failed or not.
    bool met_a_fault() const noexcept { return disk_.faults_injected() != faults_before_; }

    emdb::Emdb& database() noexcept { return db_; }

    bool random_call() {
        const std::uint64_t dice = random_.below(100);
        if (dice < 91) return write(dice);
        if (dice < 94) return compact();
        if (dice < 96 && backup_ != nullptr) return back_up(*backup_);
#if EMDB_TTL
        if (dice == 96) return expire(random_space());
#endif
        return read(random_space(), random_key());
    }

    static constexpr std::uint64_t time_to_live_ms = 60'000;
    static constexpr std::uint64_t writes_end = 89;  ///< of the dice
    bool write() { return write(random_.below(91)); }
    bool write(std::uint64_t dice) {
        const std::string space = random_space();
        const std::string key = random_key();
        if (dice < 36 || (settings_.records_of_one_size && random_.coin())) return insert(space, key, random_value());
        if (dice < 46) return remove(space, key);
        if (dice < 50) return compare_exchange(space, key, random_value());
        if (dice < 53) return update(space, key, random_value() + "!");  // another value, as the expiry, which is gone, can't be seen
        if (dice < 64) return transaction();
        if (dice < 70) return insert_many(space);
        if (dice < 80) return flush();
        if (dice < 84) return create(random_name());
        if (dice < 86) return drop(random_name());
        if (dice < writes_end) return clear(space);
        return checkpoint();
    }

    bool insert(const std::string& space, const std::string& key, const std::string& value) {
#if EMDB_TTL
        // Longer frames, which are also kept in a list of their own. Half of them never expire, the others with expire().
        if (!settings_.records_of_one_size && random_.one_in(3)) {
            // Values tell writes apart; two that differ in their expiry only would look alike.
            const bool expires = value.size() >= 8 && random_.coin();
            issue({{Step::Kind::put, space, key, value, expires}});
            const emdb::Ttl ttl = emdb::Ttl::at(expires ? disk_.now_unix_ms() + time_to_live_ms : UINT64_MAX);
            return wrote(keyspace(space).insert_with_ttl(key, value, ttl), "insert_with_ttl");
        }
#endif
        issue({{Step::Kind::put, space, key, value}});
        return wrote(keyspace(space).insert(key, value), "insert");
    }

#if EMDB_TTL
    /// The time of all records that expire comes, and one keyspace is swept.
    bool expire(const std::string& space) {
        disk_.set_now_unix_ms(disk_.now_unix_ms() + time_to_live_ms);
        model_.expire();
        if (backup_ != nullptr) {
            if (backup_->completed) backup_->completed->expire();
            if (backup_->under_way) backup_->under_way->expire();
        }
        return done(keyspace(space).sweep_expired(), "sweep_expired");
    }
#endif

    bool remove(const std::string& space, const std::string& key) {
        const std::string* const present = model_.now().find(space, key);
        const std::optional<std::string> before = present == nullptr ? std::nullopt : std::optional(*present);
        if (before) issue({{Step::Kind::remove, space, key, ""}});
        auto removed = keyspace(space).remove(key);
        if (removed) check(*removed == before, "remove returns another value than the key had");
        return before ? wrote(removed, "remove") : done(removed, "remove");
    }

    bool compare_exchange(const std::string& space, const std::string& key, const std::string& value) {
        const std::string* const present = model_.now().find(space, key);
        std::optional<std::string> expected = present == nullptr ? std::nullopt : std::optional(*present);
        const bool matches = !random_.one_in(4);
        if (!matches) expected = expected ? *expected + "?" : "?";
        if (matches) issue({{Step::Kind::put, space, key, value}});
        auto exchanged = keyspace(space).compare_exchange(
            key, expected ? std::optional<emdb::Bytes>(*expected) : std::nullopt, emdb::Bytes(value));
        if (exchanged) check(*exchanged == matches, "compare_exchange decided wrongly");
        return matches ? wrote(exchanged, "compare_exchange") : done(exchanged, "compare_exchange");
    }

    bool update(const std::string& space, const std::string& key, const std::string& suffix) {
        const std::string* const present = model_.now().find(space, key);
        const std::string next = (present == nullptr ? std::string() : present->substr(0, 100)) + suffix;
        issue({{Step::Kind::put, space, key, next}});
        const auto change = [&](std::optional<std::string_view> current) {
            return std::optional<std::string>((current ? std::string(current->substr(0, 100)) : "") + suffix);
        };
        return wrote(keyspace(space).update(key, change), "update");
    }

    bool transaction() {
        Step step;
        const std::uint64_t count = 1 + random_.below(6);
        for (std::uint64_t i = 0; i < count; ++i) {
            if (i > 0 && random_.one_in(4)) {
                step.changes.push_back({Step::Kind::remove, random_space(), random_key(), ""});
            } else {
                step.changes.push_back({Step::Kind::put, random_space(), random_key(), random_value()});
            }
        }
        const bool aborts = random_.one_in(8);
        for (const Step::Change& change : step.changes) keyspace(change.space);  // opened before, not inside
        if (!aborts) issue(step);
        const auto outcome = db_.transaction([&](emdb::Transaction& transaction) -> emdb::Result<void> {
            for (const Step::Change& change : step.changes) {
                emdb::TransactionView view =
                    change.space.empty() ? transaction : transaction.in(spaces_.at(change.space));
                if (change.kind == Step::Kind::put) {
                    if (auto put = view.insert(change.key, change.value); !put) return put;
                } else if (auto removed = view.remove(change.key); !removed) {
                    return std::move(removed).error();
                }
            }
            if (aborts) return emdb::Error::aborted("on purpose");
            return {};
        });
        if (!aborts) return wrote(outcome, "transaction");
        if (is_over()) return false;
        if (outcome != emdb::ErrorCode::transaction_aborted && is_due_to_a_fault(outcome)) return false;
        check(!outcome.has_value(), "a transaction that was aborted on purpose succeeded");
        check(outcome == emdb::ErrorCode::transaction_aborted, "aborting a transaction failed: " + outcome.error().message());
        return true;
    }

    bool insert_many(const std::string& space) {
        std::vector<std::pair<std::string, std::string>> pairs(random_.below(20));
        for (auto& [key, value] : pairs) {
            key = random_key();
            value = random_value();
            issue({{Step::Kind::put, space, key, value}});
        }
        auto inserted = keyspace(space).insert_many(pairs);
        return pairs.empty() ? done(inserted, "insert_many") : wrote(inserted, "insert_many");
    }

    bool create(const std::string& name) {
        const bool is_new = !model_.now().has_space(name);
        if (is_new) issue({{Step::Kind::create_namespace, name, "", ""}});
        auto opened = db_.open_namespace(name);
        if (opened) spaces_.insert_or_assign(name, *opened);
        return is_new ? wrote(opened, "open_namespace") : done(opened, "open_namespace");
    }

    bool drop(const std::string& name) {
        const bool exists = model_.now().has_space(name);
        if (exists) issue({{Step::Kind::drop_namespace, name, "", ""}});
        auto dropped = db_.drop_namespace(name);
        if (dropped) check(*dropped == exists, "drop_namespace returns whether there was one");
        spaces_.erase(name);
        return exists ? wrote(dropped, "drop_namespace") : done(dropped, "drop_namespace");
    }

    bool clear(const std::string& space) {
        const bool empty = model_.now().records(space).empty();
        issue({{Step::Kind::clear, space, "", ""}});
        auto cleared = keyspace(space).clear();
        return empty ? done(cleared, "clear") : wrote(cleared, "clear");
    }

    bool read(const std::string& space, const std::string& key) {
        const std::string* const expected = model_.now().find(space, key);
        auto found = keyspace(space).get(key);
        if (found) {
            check(found->has_value() == (expected != nullptr) && (expected == nullptr || **found == *expected),
                  "a read does not see the latest write of its key");
        }
        return done(found, "get");
    }

    /// With random writes meanwhile: after the moment from which on changes have to be caught up with, and after the first round of
    /// that. In between nobody holds a lock.
    bool compact() {
        int syncs = 0;
        disk_.before_sync([&](const std::string& name) {
            if (name != database_path + ".compact" || ++syncs > 2) return;
            // The second sync is that of the catching up only if the first time left something to catch up with.
            write_meanwhile(1 + random_.below(4));
        });
        const auto compacted = db_.compact();
        disk_.before_sync(nullptr);
        if (!done(compacted, "compact")) return false;
        model_.acknowledge_all();
        return true;
    }

    /// To backup_path; `backup` is told.
    bool back_up(BackupModel& backup) {
        bool first = true;
        disk_.before_sync([&](const std::string& name) {
            // A write that may fail would leave open whether the backup has it.
            if (name == backup_path + ".tmp" && std::exchange(first, false) && !disk_.may_fail()) write_meanwhile(random_.below(4));
            backup.under_way = model_.now();
        });
        const auto made = db_.backup_to(backup_path);
        disk_.before_sync(nullptr);
        if (!done(made, "backup_to")) return false;
        backup = {model_.now(), std::nullopt};
        return true;
    }

    bool flush() {
        const std::uint64_t position = model_.position();
        if (!done(db_.flush(), "flush")) return false;
        model_.acknowledge(position);
        return true;
    }

    /// Also a flush.
    bool checkpoint() {
        const std::uint64_t position = model_.position();
        if (!done(db_.checkpoint(), "checkpoint")) return false;
        model_.acknowledge(position);
        return true;
    }

    bool close() {
        spaces_.clear();
        if (!done(db_.close(), "close")) return false;
        model_.acknowledge_all();
        return true;
    }

private:
    // The power may go.
    void write_meanwhile(std::uint64_t calls) {
        if (is_over()) return;
        try {
            insert("", random_key(), random_value());
            // No checkpoint: it waits for the compaction or backup that this is in the middle of.
            for (; calls > 0 && !is_over(); --calls) write(random_.below(writes_end));
        } catch (const IsOver&) {
        }
    }

    void issue(std::vector<Step::Change> changes) { model_.issue(Step{std::move(changes)}); }
    void issue(Step step) { model_.issue(std::move(step)); }

    emdb::Keyspace& keyspace(const std::string& space) {
        if (space.empty()) return db_;
        auto found = spaces_.find(space);
        if (found == spaces_.end()) {
            auto opened = db_.open_namespace(space);
            if (is_over() || is_due_to_a_fault(opened)) throw IsOver();
            found = spaces_.emplace(space, expect(std::move(opened), "open_namespace of an existing one")).first;
        }
        return found->second;
    }

    bool is_over() const noexcept { return has_failed_ || !disk_.power_is_on() || !disk_.process_is_alive(); }

    template <class R>
    bool is_due_to_a_fault(const R& result) {
        if (!result && met_a_fault()) has_failed_ = true;
        return has_failed_;
    }

    /// A call has returned: did it succeed, and before it was all over?
    template <class R>
    bool done(const R& result, const char* what) {
        if (is_over() || is_due_to_a_fault(result)) return false;
        if (!result) throw BrokenPromise(std::string(what) + " failed: " + result.error().message());
        returned_position_ = model_.position();
        return true;
    }

    /// The same for a call that wrote something, which the flush policy may have made durable.
    template <class R>
    bool wrote(const R& result, const char* what) {
        if (!done(result, what)) return false;
        written_up_to_.push_back(model_.position());
        // After every n-th write all writes are durable, whatever the count started from; so at most n - 1 are not.
        const std::size_t may_be_lost = settings_.policy.kind() == emdb::FlushPolicy::Kind::write_through ? 0
                                        : settings_.policy.kind() == emdb::FlushPolicy::Kind::every_n
                                            ? settings_.policy.n() - 1
                                            : written_up_to_.size();
        if (written_up_to_.size() > may_be_lost) {
            model_.acknowledge(written_up_to_[written_up_to_.size() - 1 - may_be_lost]);
        }
        return true;
    }

    std::string random_space() {
        if (random_.below(3) != 0) return "";
        const auto& all = model_.now().spaces();
        auto chosen = all.begin();
        std::advance(chosen, static_cast<std::ptrdiff_t>(random_.below(all.size())));
        return chosen->first;
    }
    std::string random_name() { return std::string("space-") + static_cast<char>('a' + random_.below(4)); }
    std::string random_key() {
        const std::uint64_t number = random_.below(24);
        if (settings_.records_of_one_size) return "key-" + std::to_string(10 + number);
        if (number == 0) return "";
        if (number == 1) return std::string("\0\xff\0", 3);
        return "key-" + std::to_string(number) + std::string(number == 2 ? 300 : 0, '.');
    }
    std::string random_value() {
        static constexpr std::uint64_t size_max[]{1, 30, 30, 30, 200, 200, 600, 4000};
        std::uint64_t size = 100;
        if (!settings_.records_of_one_size) {
            size = random_.below(size_max[random_.below(8)]);
            if (random_.one_in(60)) size = random_.below(100'000);
        }
        std::string value(static_cast<std::size_t>(size), '\0');
        for (std::size_t at = 0; at < value.size(); at += 8) {
            const std::uint64_t word = random_.next();
            std::memcpy(value.data() + at, &word, std::min<std::size_t>(8, value.size() - at));
        }
        return value;
    }

    SimulatedDisk& disk_;
    emdb::Emdb db_;
    JournalModel& model_;
    DatabaseSettings settings_;
    SeededRandom& random_;
    BackupModel* backup_;  // null: no backups
    std::map<std::string, emdb::Namespace> spaces_;
    std::uint64_t returned_position_ = 0;
    std::uint64_t faults_before_ = 0;
    bool has_failed_ = false;
    std::deque<std::uint64_t> written_up_to_;  // the model's position after each write of this session
};

}  // namespace emdb_test
