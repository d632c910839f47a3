// Uses a database in most ways, to be run under MemorySanitizer: memory that nobody wrote is neither decided upon nor written to a file.
// Not with doctest and std::iostream, whose code in the C++ library is not instrumented, and gives false alarms.
//
//   uninitialized FOLDER    an empty folder for the databases
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>

namespace {

int failures = 0;

void check(bool holds, const char* what) {
    if (holds) return;
    ++failures;
    std::fprintf(stderr, "FAILED: %s\n", what);
}

std::string key_of(int i) { return "key " + std::to_string(i * 7919 % 1000); }
std::string value_of(int i) { return std::string(static_cast<std::size_t>(i * 37 % 3000), static_cast<char>('a' + i % 26)); }

// Values of all sizes, removed and overwritten ones, a transaction, a namespace, records that expire.
void write(emdb::Emdb& db) {
    for (int i = 0; i < 1000; ++i) check(db.insert(key_of(i), value_of(i)).has_value(), "insert");
    for (int i = 0; i < 1000; i += 3) check(db.remove(key_of(i)).has_value(), "remove");
    for (int i = 0; i < 1000; i += 5) check(db.insert(key_of(i), value_of(i + 1)).has_value(), "overwrite");
    check(db.compare_exchange("new", std::nullopt, "1").value_or(false), "compare_exchange");
    check(db.update("new", [](auto value) { return value ? emdb::Result<std::optional<std::string>>(std::string(*value) + "2")
                                                         : emdb::Result<std::optional<std::string>>(std::nullopt); })
              .has_value(), "update");
    const auto done = db.transaction([](emdb::Transaction& all) -> emdb::Result<void> {
        for (int i = 0; i < 20; ++i) {
            if (auto put = all.insert("together " + std::to_string(i), value_of(i)); !put) return put;
        }
        return {};
    });
    check(done.has_value(), "transaction");
    auto space = db.open_namespace("space");
    check(space && space->insert("key", "value").has_value(), "namespace");
    check(db.insert_with_ttl("soon", "gone", emdb::Ttl::after(std::chrono::hours(1))).has_value(), "insert_with_ttl");
    auto group = db.focus("group");
    check(group.set("a", "1").has_value() && group.focus("sub").set("b", "2").has_value(), "focus");
}

void read(emdb::Emdb& db) {
    for (int i = 0; i < 1000; ++i) {
        const auto found = db.get(key_of(i));
        const bool there = i % 3 != 0 || i % 5 == 0;
        check(found && found->has_value() == there, "get tells what is there");
        if (found && *found) check(**found == value_of(i % 5 == 0 ? i + 1 : i), "get has the value");
    }
    check(db.get_or("new", "").value_or("") == "12", "get_or");
    const auto some = db.get_many({"new", "none", "together 3"});
    check(some && some->size() == 3 && (*some)[2] == value_of(3), "get_many");
    const auto part = db.range(emdb::Range::half_open("together 1", "together 2"));
    check(part && part->size() == 11, "range");
    std::size_t count = 0;
    if (auto all = db.iter(); all) {
        for (const auto& [key, value] : *all) count += !key.empty();
    }
    check(count == 666 + 67 + 20 + 2 + 2, "iter");  // not removed, written anew, together, new and soon, group
    const auto group = db.group("group");
    check(group && group->size() == 2, "group");
    check(db.stats().has_value(), "stats");
}

void read_asynchronously(const emdb::Emdb& db) {
    emdb::AsyncEmdb async = emdb::AsyncEmdb::from_sync(db);
    check(async.insert("new", "12").get().has_value(), "insert, asynchronously");
    const auto found = async.get("new").get();
    check(found && *found == "12", "get, asynchronously");
    std::size_t count = 0;
    for (auto records = async.iter_stream();;) {
        const auto record = records.next().get();
        if (!record || !*record) break;
        ++count;
    }
    check(count == db.len().value_or(0), "stream");
    check(async.flush().get().has_value(), "flush, asynchronously");
}

// With a byte in its middle changed, if that is wanted.
void copy(const std::string& from, const std::string& to, bool changed) {
    std::string bytes;
    std::array<char, 4096> piece{};
    if (std::FILE* const file = std::fopen(from.c_str(), "rb")) {
        for (std::size_t size = 0; (size = std::fread(piece.data(), 1, piece.size(), file)) != 0;) bytes.append(piece.data(), size);
        std::fclose(file);
    }
    if (changed) bytes[bytes.size() / 4] ^= 1;
    if (std::FILE* const file = std::fopen(to.c_str(), "wb")) {
        check(std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size(), "copy");
        std::fclose(file);
    }
}

template <class Options>
Options options_with(const std::array<std::byte, 32>* key) {
    Options options;
    if (key != nullptr) options.encryption = emdb::EncryptionInput::key(*key);
    return options;
}

emdb::Result<emdb::Emdb> open(const std::string& path, const std::array<std::byte, 32>* key, emdb::Cipher cipher, emdb::AppendMode mode) {
    auto builder = emdb::Emdb::builder();
    builder.path(path).enable_range_scans(true).append_mode(mode);
    if (key != nullptr) builder.encryption_key(*key).cipher(cipher);
    return builder.build();
}

void live(const std::string& path, const std::array<std::byte, 32>* key, emdb::Cipher cipher, emdb::AppendMode mode) {
    {
        auto db = open(path, key, cipher, mode);
        check(db.has_value(), "create");
        if (!db) return;
        write(*db);
        read(*db);
        read_asynchronously(*db);
        check(db->flush().has_value() && db->checkpoint().has_value(), "flush and checkpoint");
        copy(path, path + ".killed", false);
        copy(path, path + ".damaged", true);
        check(db->backup_to(path + ".backup").has_value(), "backup");
        check(db->compact().has_value(), "compact");
        read(*db);
        check(db->close().has_value(), "close");
    }
    const auto damaged = emdb::Emdb::verify(path + ".damaged", options_with<emdb::VerifyOptions>(key));
    check(damaged && damaged->damage_count == 1, "verify finds the damage");
    check(emdb::Emdb::salvage(path + ".damaged", path + ".salvaged", options_with<emdb::SalvageOptions>(key)).has_value(), "salvage");
    for (const std::string& intact : {path, path + ".killed", path + ".salvaged"}) {
        const auto report = emdb::Emdb::verify(intact, options_with<emdb::VerifyOptions>(key));
        check(report && report->ok(), "verify");
    }
    for (const std::string& again : {path, path + ".backup", path + ".killed"}) {
        auto db = open(again, key, cipher, mode);
        check(db.has_value(), "reopen");
        if (db) read(*db);
    }
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 2) return 2;
    const std::string folder = arguments[1];
    std::array<std::byte, 32> key{};
    for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::byte>(i);
    live(folder + "/mapped", nullptr, emdb::Cipher(), emdb::AppendMode::mapped);
    live(folder + "/written", nullptr, emdb::Cipher(), emdb::AppendMode::pwrite);
    live(folder + "/aes", &key, emdb::Cipher::aes_256_gcm, emdb::AppendMode::mapped);
    live(folder + "/chacha", &key, emdb::Cipher::chacha20_poly1305, emdb::AppendMode::pwrite);
    if (failures == 0) std::puts("done");
    return failures == 0 ? 0 : 1;
}
