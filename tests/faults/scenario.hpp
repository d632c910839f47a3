#pragma once
// A life of a database that calls everything there is once, with a record of what may be in it if some of the calls fail.
//
// Needs emdb.hpp with EMDB_ENCRYPT, EMDB_NESTED and EMDB_ASYNC, included before.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "faults/injection.hpp"

namespace emdb_test {

using emdb::ErrorCode;

struct ScenarioSettings {
    const char* name;
    bool encrypted;
    bool range_scans;
    bool lacks_exclusive_rename;
    emdb::AppendMode mode;
    emdb::FlushPolicy policy;
};

class Scenario {
public:
    Scenario(const ScenarioSettings& settings, const Trouble& trouble, std::string folder)
        : settings_(settings), trouble_(trouble), folder_(std::move(folder)), path_(folder_ + "/a.emdb"), backup_(folder_ + "/backup.emdb") {
        is_encrypted_ = settings.encrypted;
    }

    void run() {
        if (reopen()) {
            write_and_read();
            maintain();
        }
        stop();
        copy_torn();
        if (reopen()) read_all();
        stop();
        inspect();
        if (settings_.encrypted) change_keys();
        work_asynchronously();
        work_on_an_executor();
        create_in_directories();
    }

    /// With nothing in its way any more: what was acknowledged is there, and everything works.
    void check_afterwards() {
        // Whoever is called while a change of the encryption fails may have the old or the new key.
        auto opened = open_now(path_);
        if (!opened && !created_ && opened == ErrorCode::io) return;
        REQUIRE_MESSAGE(opened, opened.error().message());
        db_ = *std::move(opened);
        read_all();
        REQUIRE(db_->insert("after", "wards"));
        REQUIRE(db_->compact());
        REQUIRE(db_->checkpoint());
        REQUIRE(db_->close());
        db_.reset();
        emdb::VerifyOptions options;
        options.encryption = input();
        const auto report = emdb::Emdb::verify(path_, std::move(options));
        REQUIRE_MESSAGE(report, report.error().message());
        CHECK(report->ok());
        for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_)) {
            const std::string name = entry.path().filename().string();
            CHECK_MESSAGE((!name.ends_with(".lock") || name != "a.emdb.lock"), name);
            CHECK_MESSAGE((name != "a.emdb.compact" && name != "a.emdb.tmp" && name != "a.emdb.meta.tmp"), name);
        }
    }

private:
    using Value = std::optional<std::string>;
    using Key = std::pair<std::string, std::string>;  // namespace and key

    // --- calling

    /// A call of the library, with the injector armed. An exception for want of memory counts as an error.
    template <class F>
    auto call(F&& f) -> decltype(f()) {
        try {
            const Armed armed;
            return f();
        } catch (const std::bad_alloc&) {
            CHECK_MESSAGE(trouble_.among == Among::allocations, "bad_alloc without need");
        }
        return emdb::Error(ErrorCode::io, "bad_alloc");
    }

    /// What a call may answer that was in trouble.
    template <class R>
    bool judge(const R& result, const char* what) {
        if (result) return true;
        const bool expected = result == ErrorCode::io || result == ErrorCode::poisoned || (result == ErrorCode::invalid_argument && dropped_);
        CHECK_MESSAGE(expected, (what + (": " + result.error().message())));
        const bool is_hidden = trouble_.outcome == Outcome::is_short || trouble_.os_error == EINTR;
        CHECK_MESSAGE((injector.injected() > 0 && !is_hidden), (what + (" failed without need: " + result.error().message())));
        CHECK_FALSE(result.error().message().empty());
        return false;
    }

    /// The same for a call that wrote. Once poisoned, no later one succeeds.
    template <class R>
    bool judge_write(const R& result, const char* what) {
        CHECK_MESSAGE((!poisoned_ || result == ErrorCode::poisoned), (what + std::string(" after an answer `poisoned`")));
        if (result == ErrorCode::poisoned) poisoned_ = true;
        return judge(result, what);
    }

    // --- what may be there

    void wrote(const std::string& space, const std::string& key, Value value, bool succeeded, bool refused) {
        std::set<Value>& may_be = may_be_.try_emplace({space, key}, std::set<Value>{std::nullopt}).first->second;
        if (succeeded) may_be.clear();
        if (!refused) may_be.insert(std::move(value));
    }

    template <class F>
    bool put(emdb::Keyspace& in, const std::string& space, const std::string& key, const std::string& value, F&& f) {
        const auto result = call([&] { return f(in); });
        const bool succeeded = judge_write(result, ("a write of " + key).c_str());
        wrote(space, key, value, succeeded, false);
        return succeeded;
    }
    bool put(emdb::Keyspace& in, const std::string& space, const std::string& key, const std::string& value) {
        return put(in, space, key, value, [&](emdb::Keyspace& to) { return to.insert(key, value); });
    }

    void flush() {
        const auto flushed = call([&] { return db_->flush(); });
        judge_write(flushed, "flush");
        if (flushed == ErrorCode::io && trouble_.among != Among::allocations && trouble_.among != Among::thread_starts) {
            CHECK(db_->insert("refused", "") == ErrorCode::poisoned);
            poisoned_ = true;
        }
    }

    // --- the life

    emdb::EmdbBuilder builder(const std::string& path) {
        emdb::EmdbBuilder builder = emdb::Emdb::builder();
        builder.path(path).enable_range_scans(settings_.range_scans).append_mode(settings_.mode).flush_policy(settings_.policy);
        builder.clock([this] { return now_; }).on_log([this](emdb::LogLevel, std::string_view) noexcept { ++log_lines_; });
        if (const auto key = input()) builder.encryption_key(key_bytes(key_));
        return builder;
    }

    bool reopen() {
        stop();
        poisoned_ = false;
        for (int tries = 0; tries < (trouble_.for_good ? 1 : 2); ++tries) {
            auto opening = builder(path_);
            opening.auto_compact(0.9, std::uint64_t{1} << 30);  // a thread that finds nothing to do
            opening.executor(nullptr);
            auto opened = call([&] { return opening.build(); });
            if (judge(opened, "open")) {
                db_ = *std::move(opened);
                created_ = true;
                return true;
            }
        }
        CHECK(injector.injected() > 0);
        CHECK(trouble_.for_good);
        return false;
    }

    void stop() {
        if (!db_) return;
        const Armed armed;
        db_.reset();
        space_.reset();
    }

    void write_and_read() {
        put(*db_, "", "a", "1");
        put(*db_, "", "b", std::string(300, 'b'));
        flush();
        if (auto opened = call([&] { return db_->open_namespace("space"); }); judge_write(opened, "open_namespace")) space_ = *opened;
        if (space_) put(*space_, "space", "in a namespace", std::string(40, 's'));
        load_many();
        transact();
        put(*db_, "", "large", std::string(400'000, 'l'));
        put(*db_, "", "cas", "x", [](emdb::Keyspace& in) { return in.compare_exchange("cas", std::nullopt, emdb::Bytes("x")); });
        put(*db_, "", "updated", "u", [](emdb::Keyspace& in) { return in.update("updated", [](auto) { return Value("u"); }); });
        put(*db_, "", "group.a", "g");
        remove("b");
        expire();
        read_all();
        flush();
    }

    void load_many() {
        std::vector<std::pair<std::string, std::string>> pairs;
        for (int i = 0; i < 200; ++i) pairs.emplace_back("many " + std::to_string(i), std::string(100, 'm'));
        const auto loaded = call([&] { return db_->insert_many(pairs); });
        const bool succeeded = judge_write(loaded, "insert_many");
        for (const auto& [key, value] : pairs) wrote("", key, value, succeeded, false);
    }

    void transact() {
        for (const bool aborts : {true, false}) {
            const auto done = call([&] {
                return db_->transaction([&](emdb::Transaction& transaction) -> emdb::Result<void> {
                    for (const char* const key : {"t1", "t2", "t3"}) {
                        if (auto put = transaction.insert(key, "t"); !put) return put;
                    }
                    if (space_) {
                        if (auto put = transaction.in(*space_).insert("t", "t"); !put) return put;
                    }
                    if (aborts) return emdb::Error(ErrorCode::transaction_aborted, "");
                    return {};
                });
            });
            if (aborts && done == ErrorCode::transaction_aborted) continue;
            const bool succeeded = judge_write(done, "transaction");
            for (const char* const key : {"t1", "t2", "t3"}) wrote("", key, "t", succeeded, aborts);
            if (space_) wrote("space", "t", "t", succeeded, aborts);
        }
    }

    void remove(const std::string& key) {
        const bool succeeded = judge_write(call([&] { return db_->remove(key); }), "remove");
        wrote("", key, std::nullopt, succeeded, false);
    }

    void expire() {
        const auto in_a_second = emdb::Ttl::after(std::chrono::milliseconds(1000));
        put(*db_, "", "expires", "e", [&](emdb::Keyspace& in) { return in.insert_with_ttl("expires", "e", in_a_second); });
        put(*db_, "", "persists", "p", [&](emdb::Keyspace& in) { return in.insert_with_ttl("persists", "p", in_a_second); });
        const auto persisted = call([&] { return db_->persist("persists"); });
        // Whatever failed of the two, it may or may not live on.
        if (!judge_write(persisted, "persist") || !*persisted) wrote("", "persists", std::nullopt, false, false);
        now_ += 5000;
        wrote("", "expires", std::nullopt, true, false);
        judge_write(call([&] { return db_->sweep_expired(); }), "sweep_expired");
        judge_write(call([&] { return db_->delete_group("group"); }), "delete_group") ? wrote("", "group.a", std::nullopt, true, false)
                                                                                       : wrote("", "group.a", std::nullopt, false, false);
    }

    void maintain() {
        judge(call([&] { return db_->checkpoint(); }), "checkpoint");
        if (reopen_if_poisoned()) judge(call([&] { return db_->compact(); }), "compact");
        if (!reopen_if_poisoned()) return;
        put(*db_, "", "a", "2");
        for (int i = 0; i < 2; ++i) judge(call([&] { return db_->backup_to(backup_); }), "backup_to");
        judge(call([&] { return db_->stats(); }), "stats");
        if (auto dropped = call([&] { return db_->open_namespace("dropped"); }); judge_write(dropped, "open_namespace")) {
            put(*dropped, "dropped", "key", "value");
            dropped_ = true;
            const auto cleared = call([&] { return dropped->clear(); });
            wrote("dropped", "key", std::nullopt, judge_write(cleared, "clear"), false);
            const auto gone = call([&] { return db_->drop_namespace("dropped"); });
            wrote("dropped", "key", std::nullopt, judge_write(gone, "drop_namespace"), false);
            dropped_ = false;
        }
        judge(call([&] { return emdb::Emdb::lock_holder(path_); }), "lock_holder");
        // Everything there is by now, in the file and in no checkpoint: the next opening has a tail to settle.
        if (!reopen_if_poisoned()) return;
        flush();
        put(*db_, "", "tail", "t");
        std::error_code ignored;
        std::filesystem::copy_file(path_, folder_ + "/torn.emdb", std::filesystem::copy_options::overwrite_existing, ignored);
        judge_write(call([&] { return db_->close(); }), "close");
        db_.reset();
        space_.reset();
        judge(call([&] { return emdb::Emdb::break_lock(path_); }), "break_lock");
        poisoned_ = false;
    }

    bool reopen_if_poisoned() {
        if (!poisoned_) return db_.has_value();
        if (!reopen()) return false;
        if (space_ = std::nullopt; auto opened = call([&] { return db_->open_namespace("space"); })) space_ = *opened;
        return true;
    }

    /// The copy of an open database, made shorter by what a power cut might have taken, is opened and used.
    void copy_torn() {
        const std::string torn = folder_ + "/torn.emdb";
        std::error_code error;
        const auto size = std::filesystem::file_size(torn, error);
        if (error || size < 10'000) return;
        {
            std::fstream file(torn, std::ios::in | std::ios::out | std::ios::binary);
            file.seekp(static_cast<std::streamoff>(size) - 1);
            file.put('x');  // a torn tail to be cut off
        }
        auto opening = builder(torn);
        for (int i = 0; i < 2; ++i) {
            auto opened = call([&] { return opening.build(); });
            if (!judge(opened, "opening after an unclean close")) continue;
            judge(call([&] { return opened->insert("into the torn one", "x"); }), "insert");
            judge(call([&] { return opened->close(); }), "close");
        }
    }

    void inspect() {
        if (!created_) return;
        for (const std::string& path : {path_, backup_}) {
            if (!std::filesystem::exists(path)) continue;
            const auto verified = call([&] {
                emdb::VerifyOptions options;
                options.encryption = input();
                return emdb::Emdb::verify(path, std::move(options));
            });
            if (!judge(verified, "verify")) continue;
            // What could not be read counts as damage, and is said to be an error of the disk.
            for (const emdb::Error& damage : verified->damages) CHECK_MESSAGE(damage == ErrorCode::io, damage.message());
        }
        const auto salvaged = call([&] {
            emdb::SalvageOptions options;
            options.encryption = input();
            return emdb::Emdb::salvage(path_, folder_ + "/salvaged.emdb", std::move(options));
        });
        judge(salvaged, "salvage");
    }

    void change_keys() {
        if (!created_) return;
        const auto change = [&](const char* what, std::optional<unsigned> next, auto&& f) {
            const auto changed = call([&] { return f(); });
            if (judge(changed, what)) {
                is_encrypted_ = next.has_value();
                key_ = next.value_or(key_);
                return true;
            }
            // The old state or the new one: whoever asks finds out.
            const bool was_encrypted = is_encrypted_;
            const unsigned old_key = key_;
            if (open_now(path_)) return false;
            is_encrypted_ = next.has_value();
            key_ = next.value_or(key_);
            if (open_now(path_)) return true;
            is_encrypted_ = was_encrypted;
            key_ = old_key;
            auto opened = open_now(path_);
            CHECK_MESSAGE(opened, (what + (": " + (opened ? std::string() : opened.error().message()))));
            return false;
        };
        const auto of = [](unsigned key) { return emdb::EncryptionInput::key(key_bytes(key)); };
        change("change_passphrase", 1, [&] { return emdb::Emdb::change_passphrase(path_, of(0), of(1), true); });
        change("rotate_encryption_key", 2, [&] { return emdb::Emdb::rotate_encryption_key(path_, of(key_), of(2)); });
        if (change("disable_encryption", std::nullopt, [&] { return emdb::Emdb::disable_encryption(path_, of(key_)); })) {
            change("enable_encryption", 3, [&] { return emdb::Emdb::enable_encryption(path_, of(3)); });
        }
    }

    void work_asynchronously() {
        auto opening = builder(path_);
        auto opened = call([&] { return opening.build_async().get(); });
        if (!judge(opened, "build_async")) return;
        created_ = true;
        poisoned_ = false;
        {
            emdb::AsyncEmdb db = *std::move(opened);
            const auto put = call([&] { return db.insert("async", "a").get(); });
            const bool stored = judge_write(put, "insert, asynchronously");
            wrote("", "async", "a", stored, false);
            judge(call([&] { return db.get("async").get(); }), "get, asynchronously");
            judge_write(call([&] { return db.flush().get(); }), "flush, asynchronously");
            read_stream(db, stored ? 1 : 0);
            judge_write(call([&] { return db.compact().get(); }), "compact, asynchronously");
            judge_write(call([&] { return db.close().get(); }), "close, asynchronously");
            const auto assigned = call([&]() -> emdb::Result<void> {
                try {
                    db = emdb::AsyncEmdb::open_in_memory();
                } catch (const emdb::Exception& without_random_bytes) {
                    return without_random_bytes.error();
                }
                return {};
            });
            judge(assigned, "assignment of a handle");
        }
    }

    /// Runs tasks where they are posted: always the same ones on the same thread.
    struct AtOnce final : emdb::Executor {
        void post(std::function<void()> task) override { task(); }
    };

    /// A write that has to wait for a transaction, and a stream that is read by tasks. A task that can't be made is `stopped`.
    void work_on_an_executor() {
        const auto is_stopped = [&](const auto& result) { return result == ErrorCode::stopped && trouble_.among == Among::allocations; };
        auto opening = builder(path_);
        opening.executor(std::make_shared<AtOnce>()).stream_depth(2);
        auto opened = call([&] { return opening.build_async().get(); });
        if (is_stopped(opened) || !judge(opened, "build_async on an executor")) return;
        poisoned_ = false;
        emdb::AsyncEmdb db = *std::move(opened);
        std::optional<emdb::Future<emdb::Result<void>>> behind;
        const auto transact = [&](emdb::Transaction& transaction) -> emdb::Result<void> {
            std::optional<std::thread> other;
            try {
                other.emplace([&] {
                    (void)call([&]() -> emdb::Result<void> {
                        behind = db.insert("behind", "b");
                        return {};
                    });
                });
            } catch (const std::system_error&) {  // no thread
            }
            if (other) other->join();
            return transaction.insert("before", "b");
        };
        const auto wrote_if = [&](const std::string& key, const auto& result) {
            wrote("", key, "b", !is_stopped(result) && judge_write(result, key.c_str()), is_stopped(result));
        };
        wrote_if("before", call([&] { return db.transaction(transact).get(); }));
        if (behind) wrote_if("behind", call([&] { return behind->get(); }));
        const auto read = call([&]() -> emdb::Result<void> {
            auto records = db.iter_stream();
            for (;;) {
                auto record = records.next().get();
                if (!record) return std::move(record).error();
                if (!*record) return {};
            }
        });
        if (!is_stopped(read)) judge(read, "a stream read by tasks");
        if (const auto flushed = call([&] { return db.flush().get(); }); !is_stopped(flushed)) judge_write(flushed, "flush on an executor");
        if (const auto closed = call([&] { return db.close().get(); }); !is_stopped(closed)) judge_write(closed, "close on an executor");
        const Armed armed;
        behind.reset();
    }

    void read_stream(emdb::AsyncEmdb& db, std::size_t count_min) {
        std::size_t count = 0;
        const auto read = call([&]() -> emdb::Result<void> {
            auto records = db.iter_stream();
            for (;;) {
                auto record = records.next_blocking();
                if (!record) return std::move(record).error();
                if (!*record) return {};
                ++count;
            }
        });
        if (judge(read, "a stream")) CHECK(count >= count_min);
    }

    /// A database in a directory that has to be made, one over an empty file, and one with a relative path.
    void create_in_directories() {
        auto named = emdb::Emdb::builder();
        named.app_name("app").database_name("b.emdb").data_root(folder_ + "/new/directory");
        auto made = call([&] { return named.build(); });
        if (judge(made, "creation in new directories")) judge(call([&] { return made->close(); }), "close");
        const std::string empty = folder_ + "/empty.emdb";
        std::ofstream(empty).flush();
        auto over = builder(empty);
        auto opened = call([&] { return over.build(); });
        if (judge(opened, "creation over an empty file")) judge(call([&] { return opened->close(); }), "close");
        const std::string relative = std::filesystem::relative(folder_ + "/relative.emdb");
        auto beside = call([&] { return emdb::Emdb::open(relative); });
        if (judge(beside, "creation at a relative path")) judge(call([&] { return beside->close(); }), "close");
    }

    // --- reading

    /// Every record is one of those that there may be; by get, get_many, iter, range and group.
    void read_all() {
        std::optional<emdb::Namespace> space;
        if (const auto names = call([&] { return db_->list_namespaces(); }); judge_read(names, "list_namespaces")) {
            for (const std::string& name : *names) CHECK((name == "space" || name == "dropped"));
            if (std::find(names->begin(), names->end(), "space") != names->end()) {
                auto opened = call([&] { return db_->open_namespace("space"); });
                if (judge_read(opened, "open_namespace of an existing one")) space = *opened;
            }
        }
        for (const auto& [key, may_be] : may_be_) {
            if (key.first == "dropped" || (key.first == "space" && !space)) continue;
            emdb::Keyspace& in = key.first.empty() ? static_cast<emdb::Keyspace&>(*db_) : *space;
            const auto found = call([&] { return in.get(key.second); });
            if (judge_read(found, "get")) CHECK_MESSAGE(may_be.contains(*found), key.second);
        }
        std::size_t count = 0;
        const auto iterated = call([&]() -> emdb::Result<void> {
            auto records = db_->iter();
            if (!records) return std::move(records).error();
            for (const emdb::RecordView& record : *records) count += record.key.size() < 1000;
            return records->status();
        });
        if (judge_read(iterated, "iter")) CHECK(count <= may_be_.size() + 2);
        const std::vector<emdb::Bytes> keys{"a", "t1", "many 7", "no such key"};
        judge_read(call([&] { return db_->get_many(keys); }), "get_many");
        judge_read(call([&] { return db_->get_zerocopy("large"); }), "get_zerocopy");
        judge_read(call([&] { return db_->group("group"); }), "group");
        if (!settings_.range_scans) return;
        const auto range = call([&] { return db_->range(emdb::Range::all()); });
        if (judge_read(range, "range") && iterated) CHECK(range->size() == count);
    }

    /// Reads need no file, so only a want of memory stops them.
    template <class R>
    bool judge_read(const R& result, const char* what) {
        if (!result) CHECK_MESSAGE(trouble_.among == Among::allocations, (what + (": " + result.error().message())));
        return judge(result, what);
    }

    // --- keys

    static std::array<std::byte, 32> key_bytes(unsigned number) {
        std::array<std::byte, 32> key;
        key.fill(static_cast<std::byte>(number + 1));
        return key;
    }
    std::optional<emdb::EncryptionInput> input() const {
        return is_encrypted_ ? std::optional(emdb::EncryptionInput::key(key_bytes(key_))) : std::nullopt;
    }
    emdb::Result<emdb::Emdb> open_now(const std::string& path) { return builder(path).build(); }

    const ScenarioSettings settings_;
    const Trouble trouble_;
    const std::string folder_, path_, backup_;
    std::uint64_t now_ = 1'700'000'000'000;
    std::uint64_t log_lines_ = 0;
    bool is_encrypted_ = false;
    unsigned key_ = 0;
    bool created_ = false;
    bool poisoned_ = false;
    bool dropped_ = false;
    std::map<Key, std::set<Value>> may_be_;
    std::optional<emdb::Emdb> db_;
    std::optional<emdb::Namespace> space_;
};

}  // namespace emdb_test
