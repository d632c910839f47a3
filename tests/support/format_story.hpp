#pragma once
// One database for all: written by the same calls on every platform and in the golden files, and what must be read of it. It has every
// kind of frame, and is small. Include it after emdb.hpp with EMDB_ENCRYPT.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/database_contents.hpp"

namespace emdb_test {

/// How a database of the story is opened.
enum class StoryLock { none, aes_gcm, chacha20, passphrase };

constexpr std::uint64_t story_expiry = 4'102'444'800'000;  // the year 2100
constexpr const char* story_passphrase = "correct horse battery staple";

inline std::array<std::byte, 32> story_key() {
    std::array<std::byte, 32> key{};
    for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::byte>(3 * i + 1);
    return key;
}

/// Checkpoints are images of memory, for processors of this kind.
constexpr bool story_keeps_checkpoints = std::endian::native == std::endian::little;

/// Pairs of name and lock, for all four.
inline const std::array<std::pair<const char*, StoryLock>, 4>& story_locks() {
    static const std::array<std::pair<const char*, StoryLock>, 4> locks = {{{"plain", StoryLock::none},
                                                                            {"aes_gcm", StoryLock::aes_gcm},
                                                                            {"chacha20", StoryLock::chacha20},
                                                                            {"passphrase", StoryLock::passphrase}}};
    return locks;
}

inline emdb::EmdbBuilder story_builder(const std::string& path, StoryLock lock) {
    emdb::EmdbBuilder builder = emdb::Emdb::builder();
    builder.path(path).enable_range_scans(true);
    if (lock == StoryLock::aes_gcm || lock == StoryLock::chacha20) {
        builder.encryption_key(story_key()).cipher(lock == StoryLock::aes_gcm ? emdb::Cipher::aes_256_gcm : emdb::Cipher::chacha20_poly1305);
    }
    if (lock == StoryLock::passphrase) builder.encryption_passphrase(story_passphrase);
    return builder;
}

inline emdb::VerifyOptions story_verify_options(StoryLock lock) {
    emdb::VerifyOptions options;
    if (lock == StoryLock::aes_gcm || lock == StoryLock::chacha20) options.encryption = emdb::EncryptionInput::key(story_key());
    if (lock == StoryLock::passphrase) options.encryption = emdb::EncryptionInput::passphrase(story_passphrase);
    return options;
}

inline std::string story_key_of(int i) { return "key " + std::to_string(100 + i); }
/// Any byte may be in it; none for i = 0.
inline std::string story_value(int i) {
    std::string value;
    for (int byte = 0; byte < i; ++byte) value += static_cast<char>((byte * 37 + i) % 256);
    return value;
}
inline const std::string& story_odd_key() {
    static const std::string key("\0\xFF\x80 odd", 7);
    return key;
}
constexpr const char* story_unicode_name = "\xC3\xBC\xD0\xB6";

/// `big`: the size of one value.
inline void write_story(emdb::Emdb& db, std::size_t big) {
    for (int i = 0; i < 20; ++i) db.insert(story_key_of(i), "first").value();
    for (int i = 0; i < 20; i += 2) db.insert(story_key_of(i), story_value(i)).value();
    for (int i = 0; i < 20; i += 5) db.remove(story_key_of(i)).value();
    db.insert(story_odd_key(), std::string(1, '\0')).value();
    db.insert("big", std::string(big, 'B')).value();
    db.flush().value();
    auto users = db.open_namespace("users").value();
    auto named = db.open_namespace(story_unicode_name).value();
    auto dropped = db.open_namespace("dropped").value();
    auto cleared = db.open_namespace("cleared").value();
    dropped.insert("gone", "with its namespace").value();
    cleared.insert("gone", "with all others").value();
    cleared.clear().value();
    cleared.insert("new", "since").value();
    db.drop_namespace("dropped").value();
    db.transaction([&](emdb::Transaction& transaction) -> emdb::Result<void> {
        transaction.insert("transaction", "whole").value();
        transaction.remove(story_key_of(1)).value();
        transaction.in(users).insert("alice", "in Wonderland").value();
        transaction.in(users).insert_with_ttl("session", "until 2100", emdb::Ttl::at(story_expiry)).value();
        return {};
    }).value();
    std::vector<std::pair<std::string, std::string>> many;
    for (int i = 0; i < 10; ++i) many.emplace_back("many " + std::to_string(i), story_value(3 * i));
    named.insert_many(many).value();
    named.insert_with_ttl("expired", "long ago", emdb::Ttl::at(1000)).value();
    named.insert_with_ttl("expires", "late", emdb::Ttl::at(story_expiry + 1)).value();
    db.flush().value();
    db.insert("last", "not flushed").value();
}

inline SeenContents story_contents(std::size_t big) {
    SeenContents contents;
    auto& records = contents[""];
    for (int i = 0; i < 20; ++i) {
        if (i % 5 != 0 && i != 1) records[story_key_of(i)] = {i % 2 == 0 ? story_value(i) : "first", std::nullopt};
    }
    records[story_odd_key()] = {std::string(1, '\0'), std::nullopt};
    records["big"] = {std::string(big, 'B'), std::nullopt};
    records["transaction"] = {"whole", std::nullopt};
    records["last"] = {"not flushed", std::nullopt};
    contents["cleared"]["new"] = {"since", std::nullopt};
    contents["users"]["alice"] = {"in Wonderland", std::nullopt};
    contents["users"]["session"] = {"until 2100", story_expiry};
    auto& named = contents[story_unicode_name];
    for (int i = 0; i < 10; ++i) named["many " + std::to_string(i)] = {story_value(3 * i), std::nullopt};
    named["expires"] = {"late", story_expiry + 1};
    return contents;
}

/// Whether point reads and ordered scans of a keyspace say the same.
inline bool reads_agree(const emdb::Keyspace& keyspace, const std::map<std::string, SeenRecord>& records) {
    auto next = records.begin();
    for (const emdb::Record& record : keyspace.range(emdb::Range::all()).value()) {
        if (next == records.end() || record.key != next->first || record.value != next->second.value) return false;
        if (keyspace.get(record.key).value() != record.value) return false;
        ++next;
    }
    return next == records.end();
}

/// "" if everything that can be read of it is in `expected` and the other way round; else what is not.
inline std::string difference_to(emdb::Emdb& db, const SeenContents& expected) {
    if (contents_of(db) != expected) return "other contents";
    for (const auto& [name, records] : expected) {
        const bool agree = name.empty() ? reads_agree(db, records) : reads_agree(db.open_namespace(name).value(), records);
        if (!agree) return "ordered scans of '" + name + "' say otherwise";
    }
    return "";
}

}  // namespace emdb_test
