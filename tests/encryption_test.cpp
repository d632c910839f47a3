// Encryption at rest: everything works as it does in plain databases, whatever the cipher and the processor; what opens a file and
// what does not; and threads at once while sessions change.
//
// EMDB_SEED=n   the seed of the random operations

#define EMDB_ENCRYPT 1
#define EMDB_NESTED 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/database_contents.hpp"
#include "support/model_session.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::Cipher;
using emdb::Emdb;
using emdb::EmdbBuilder;
using emdb::EncryptionInput;
using emdb::ErrorCode;
using emdb::Range;
using emdb::Result;
using emdb::Transaction;

constexpr Cipher ciphers[] = {Cipher::aes_256_gcm, Cipher::chacha20_poly1305};

std::uint64_t seed() {
    const char* const chosen = std::getenv("EMDB_SEED");
    return chosen == nullptr ? 1 : std::strtoull(chosen, nullptr, 10);
}

/// Argon2id as cheap as a header may ask for.
struct CheapPassphrases {
    CheapPassphrases() { emdb::detail::passphrase_cost = {8 * 1024, 1, 1}; }
    ~CheapPassphrases() { emdb::detail::passphrase_cost = {}; }
};
struct ShortSessions {
    explicit ShortSessions(std::uint64_t frames) { emdb::detail::session_limits.frames = frames; }
    ~ShortSessions() { emdb::detail::session_limits = {}; }
};
struct ForcedPath {
    explicit ForcedPath(emdb::detail::CpuPath path) { emdb::detail::force_cpu_path(path); }
    ~ForcedPath() { emdb::detail::force_cpu_path(emdb::detail::CpuPath::best); }
};

EmdbBuilder builder_of(const std::string& path, unsigned key = 0) {
    EmdbBuilder builder;
    builder.path(path).encryption_key(encryption_key(key));
    return builder;
}

/// Every kind of write, at random, with what must be there afterwards.
class RandomUse {
public:
    using Records = std::map<std::string, std::string>;

    explicit RandomUse(std::uint64_t seed) : random_(seed) {}

    void step(Emdb& db) {
        const bool in_space = random_.one_in(3);
        emdb::Namespace other = space(db);
        emdb::Keyspace& keyspace = in_space ? static_cast<emdb::Keyspace&>(other) : db;
        Records& records = in_space ? space_records_ : records_;
        const std::string key = random_key();
        const std::string value = random_value();
        switch (random_.below(12)) {
            case 0: {
                const auto removed = keyspace.remove(key).value();
                REQUIRE(removed == found_in(records, key));
                records.erase(key);
                return;
            }
            case 1: return transaction(db);
            case 2: {
                std::vector<std::pair<std::string, std::string>> pairs(random_.below(30));
                for (auto& pair : pairs) {
                    pair = {random_key(), random_value()};
                    records[pair.first] = pair.second;
                }
                return keyspace.insert_many(pairs).value();
            }
            case 3: {
                keyspace.update(key, [&](std::optional<std::string_view> now) -> std::optional<std::string> {
                    return std::string(now.value_or("")) + "+";
                }).value();
                records[key] += "+";
                return;
            }
            case 4: {
                const auto before = found_in(records, key);
                const auto expected = before ? std::optional<emdb::Bytes>(*before) : std::nullopt;
                REQUIRE(keyspace.compare_exchange(key, expected, emdb::Bytes(value)).value());
                records[key] = value;
                return;
            }
            case 5: {
                const auto found = keyspace.get_zerocopy(key).value();
                REQUIRE(found.has_value() == records.contains(key));
                if (found) REQUIRE(found->as_string_view() == records[key]);
                return;
            }
            case 6: {
                const std::string prefix = "group" + std::to_string(random_.below(8));
                std::size_t erased = std::erase_if(records, [&](const auto& record) { return record.first.starts_with(prefix + "."); });
                REQUIRE(keyspace.delete_group(prefix).value() == erased);
                return;
            }
            case 7:
                keyspace.insert_with_ttl(key, value, emdb::Ttl::after(std::chrono::hours(1))).value();
                records[key] = value;
                return;
            default:
                keyspace.insert(key, value).value();
                records[key] = value;
        }
    }

    void check(Emdb& db, bool ranges) {
        check(db, records_, ranges);
        check(space(db), space_records_, ranges);
    }

private:
    static void check(const emdb::Keyspace& keyspace, const Records& records, bool ranges) {
        REQUIRE(keyspace.len().value() == records.size());
        Records found;
        auto all = keyspace.iter().value();
        for (const auto& [key, value] : all) found.emplace(key, value);
        all.status().value();
        REQUIRE(found == records);
        std::vector<std::string> keys;
        for (const auto& [key, value] : records) {
            REQUIRE(keyspace.get(key).value() == value);
            keys.push_back(key);
        }
        const auto values = keyspace.get_many(keys).value();
        for (std::size_t i = 0; i < keys.size(); ++i) REQUIRE(values[i] == records.at(keys[i]));
        const std::string prefix = "group1.";
        std::vector<std::pair<std::string, std::string>> in_group;
        for (const auto& record : records) {
            if (record.first.starts_with(prefix)) in_group.push_back(record);
        }
        const auto group = keyspace.group("group1").value();
        REQUIRE(group.size() == in_group.size());
        for (std::size_t i = 0; i < group.size(); ++i) REQUIRE(group[i].value == in_group[i].second);
        if (!ranges) return;
        auto expected = records.begin();
        auto range = keyspace.range_iter(Range::all()).value();
        for (const auto& [key, value] : range) {
            REQUIRE(expected != records.end());
            REQUIRE(key == expected->first);
            REQUIRE(value == expected->second);
            ++expected;
        }
        REQUIRE(expected == records.end());
        REQUIRE(keyspace.range(Range::prefix(prefix)).value().size() == in_group.size());
    }

    void transaction(Emdb& db) {
        const emdb::Namespace other = space(db);
        Records records = records_;
        Records space_records = space_records_;
        const bool aborts = random_.one_in(4);
        const auto done = db.transaction([&](Transaction& transaction) -> Result<void> {
            for (int i = 0; i < 5; ++i) {
                const bool there = random_.coin();
                emdb::TransactionView view = there ? transaction.in(other) : transaction;
                Records& now = there ? space_records : records;
                const std::string key = random_key();
                const std::string value = random_value();
                REQUIRE(view.get(key).value() == found_in(now, key));
                if (random_.one_in(4)) {
                    view.remove(key).value();
                    now.erase(key);
                } else {
                    view.insert(key, value).value();
                    now[key] = value;
                }
            }
            if (aborts) return emdb::Error::aborted("on purpose");
            return {};
        });
        REQUIRE(done.has_value() == !aborts);
        if (aborts) return;
        records_ = std::move(records);
        space_records_ = std::move(space_records);
    }

    static emdb::Namespace space(Emdb& db) { return db.open_namespace("a namespace").value(); }
    static std::optional<std::string> found_in(const Records& records, const std::string& key) {
        const auto found = records.find(key);
        return found == records.end() ? std::nullopt : std::optional(found->second);
    }
    std::string random_key() {
        const std::uint64_t number = random_.below(300);
        return "group" + std::to_string(number % 8) + "." + std::to_string(number) + std::string(number % 7 == 0 ? 200 : 0, 'k');
    }
    std::string random_value() {
        static constexpr std::uint64_t sizes[] = {0, 10, 150, 150, 500, 3'000};
        std::string value(static_cast<std::size_t>(random_.one_in(200) ? 150'000 : random_.below(sizes[random_.below(6)] + 1)), '\0');
        for (char& c : value) c = static_cast<char>(random_.next());
        return value;
    }

    SeededRandom random_;
    Records records_;
    Records space_records_;
};

TEST_CASE("encrypted databases do what plain ones do, with both ciphers, on every processor") {
    for (const Cipher cipher : ciphers) {
        for (const auto path : {emdb::detail::CpuPath::portable, emdb::detail::CpuPath::best}) {
            for (const bool ranges : {false, true}) {
                INFO("cipher ", static_cast<int>(cipher), ", path ", static_cast<int>(path), ", ranges ", ranges, ", EMDB_SEED=", seed());
                const ForcedPath forced(path);
                const ShortSessions sessions(300);
                TempFolder folder;
                const auto open = [&] { return builder_of(folder.file("a")).cipher(cipher).enable_range_scans(ranges).build().value(); };
                RandomUse use(seed());
                for (int life = 0; life < 2; ++life) {
                    Emdb db = open();
                    CHECK(db.stats().value().encrypted);
                    use.check(db, ranges);
                    for (int i = 0; i < 200; ++i) {
                        use.step(db);
                        if (i == 120) db.compact().value();
                        if (i % 100 == 99) db.flush().value();
                    }
                    use.check(db, ranges);
                    db.backup_to(folder.file("b")).value();
                    if (life % 2 == 0) db.close().value();
                }
                // What one processor writes, another reads.
                emdb::detail::force_cpu_path(emdb::detail::CpuPath::best);
                for (const char* const name : {"a", "b"}) {
                    Emdb db = builder_of(folder.file(name)).enable_range_scans(ranges).build().value();
                    use.check(db, ranges);
                }
            }
        }
    }
}

TEST_CASE("an encrypted database in memory") {
    RandomUse use(seed());
    Emdb db = Emdb::builder().encryption_key(encryption_key()).enable_range_scans(true).build().value();
    for (int i = 0; i < 500; ++i) use.step(db);
    db.compact().value();
    use.check(db, true);
    CHECK(db.stats().value().encrypted);
}

TEST_CASE("values, keys and iterators of an encrypted database outlive everything") {
    TempFolder folder;
    std::optional<emdb::ValueRef> small;
    std::optional<emdb::ValueRef> large;
    std::optional<emdb::EmdbRangeIter> range;
    {
        Emdb db = builder_of(folder.file("a")).enable_range_scans(true).build().value();
        db.insert("small", "value").value();
        db.insert("large", std::string(3'000'000, 'l')).value();
        small = db.get_zerocopy("small").value();
        large = db.get_zerocopy("large").value();
        range.emplace(db.range_iter(Range::all()).value());
        db.insert("small", "another").value();
        db.compact().value();
        db.close().value();
    }
    const emdb::ValueRef copy = *small;
    small.reset();
    CHECK(copy.as_string_view() == "value");
    CHECK(large->as_string_view() == std::string(3'000'000, 'l'));
    std::vector<std::string> keys;
    for (const auto& record : *range) keys.emplace_back(record.key);
    CHECK(keys == std::vector<std::string>{"large", "small"});
}

TEST_CASE("an encrypted database counts its dead bytes as its next opening does") {
    for (const Cipher cipher : ciphers) {
        TempFolder folder;
        const auto open = [&] { return builder_of(folder.file("a")).cipher(cipher).build().value(); };
        Emdb db = open();
        for (int i = 0; i < 400; ++i) {
            const std::string key = std::to_string(i % 150);
            if (i % 7 == 0) db.insert_with_ttl(key, std::string(static_cast<std::size_t>(i), 'v'), emdb::Ttl::at(UINT64_MAX - 5)).value();
            else if (i % 11 == 0) db.remove(key).value();
            else db.insert(key, std::string(static_cast<std::size_t>(i), 'v')).value();
        }
        db.flush().value();
        const auto bytes_in_use = [&] {
            const emdb::EmdbStats stats = db.stats().value();
            return stats.file_size_bytes - stats.dead_bytes;
        };
        const std::uint64_t counted = bytes_in_use();
        db.close().value();
        db = open();
        CHECK(bytes_in_use() == counted);
    }
}

TEST_CASE("expiry times are sealed, and mean the same") {
    TempFolder folder;
    std::uint64_t now = 1'000'000;
    const auto open = [&] { return builder_of(folder.file("a")).clock([&now] { return now; }).build().value(); };
    {
        Emdb db = open();
        db.insert_with_ttl("soon", "s", emdb::Ttl::at(1'000'100)).value();
        db.insert_with_ttl("later", "l", emdb::Ttl::at(0x1122334455667788)).value();
    }
    CHECK(read_bytes(folder.file("a")).find("\x88\x77\x66\x55") == std::string::npos);
    now += 200;
    Emdb db = open();
    CHECK_FALSE(db.get("soon").value());
    CHECK(db.expires_at("later").value() == 0x1122334455667788);
    CHECK(db.sweep_expired().value() == 1);
}

// --- what opens a file

TEST_CASE("an encrypted database opens with its key or passphrase only, and nothing is touched by the wrong one") {
    const CheapPassphrases cheap;
    TempFolder folder;
    const std::string key_file = folder.file("key");
    const std::string text_file = folder.file("text");
    builder_of(key_file).build().value().insert("a", "b").value();
    Emdb::builder().path(text_file).encryption_passphrase("correct horse").build().value().insert("a", "b").value();
    CHECK(builder_of(key_file).build().value().get("a").value() == "b");
    CHECK(Emdb::builder().path(text_file).encryption_passphrase("correct horse").build().value().get("a").value() == "b");
    // A torn tail, and somebody's temporary files: an opening would tidy both up.
    for (const std::string& path : {key_file, text_file}) {
        write_bytes(path, read_bytes(path) + "torn");
        write_bytes(path + ".tmp", "");
        const std::string before = read_bytes(path);
        const auto refuses = [&](EmdbBuilder builder, ErrorCode code) {
            const auto opened = builder.path(path).build();
            REQUIRE_FALSE(opened);
            CHECK(opened.error().code() == code);
            CHECK(read_bytes(path) == before);
            CHECK(std::filesystem::exists(path + ".tmp"));
        };
        refuses(Emdb::builder(), ErrorCode::key_required);
        refuses(Emdb::builder().encryption_key(encryption_key(1)), ErrorCode::encryption_key_mismatch);
        refuses(Emdb::builder().encryption_passphrase("correct horsf"), ErrorCode::encryption_key_mismatch);
        const auto bytes = encryption_key();
        const std::string as_text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        refuses(Emdb::builder().encryption_passphrase(as_text), ErrorCode::encryption_key_mismatch);
        refuses(Emdb::builder().encryption_key(encryption_key()).encryption_passphrase("correct horse"), ErrorCode::invalid_config);
        refuses(Emdb::builder().encryption_passphrase(""), ErrorCode::invalid_config);
        refuses(Emdb::builder().cipher(Cipher::aes_256_gcm), ErrorCode::invalid_config);
    }
    // One bit of a key is enough.
    for (unsigned bit = 0; bit < 256; bit += 5) {
        auto key = encryption_key();
        key[bit / 8] ^= std::byte{1} << (bit % 8);
        CHECK(Emdb::builder().path(key_file).encryption_key(key).build() == ErrorCode::encryption_key_mismatch);
    }
    CHECK(builder_of(key_file).build().value().get("a").value() == "b");
    CHECK(Emdb::builder().path(text_file).encryption_passphrase("correct horse").build().value().get("a").value() == "b");
}

TEST_CASE("a plain database refuses a key, and an encrypted one another cipher than its own") {
    TempFolder folder;
    Emdb::open(folder.file("plain")).value().insert("a", "b").value();
    CHECK(builder_of(folder.file("plain")).build() == ErrorCode::not_encrypted);
    CHECK(Emdb::builder().path(folder.file("plain")).encryption_passphrase("x").build() == ErrorCode::not_encrypted);
    for (const Cipher cipher : ciphers) {
        const std::string path = folder.file(std::to_string(static_cast<int>(cipher)));
        builder_of(path).cipher(cipher).build().value();
        const Cipher other = cipher == Cipher::aes_256_gcm ? Cipher::chacha20_poly1305 : Cipher::aes_256_gcm;
        CHECK(builder_of(path).cipher(other).build() == ErrorCode::invalid_config);
        CHECK(builder_of(path).cipher(cipher).build());
        CHECK(builder_of(path).build());
    }
}

TEST_CASE("a header that asks for more than anybody would is refused before anything is allocated") {
    const CheapPassphrases cheap;
    TempFolder folder;
    const std::string path = folder.file("a");
    Emdb::builder().path(path).encryption_passphrase("p").build().value();
    const std::string good = read_bytes(path);
    const auto with = [&](std::size_t field, std::uint32_t number) {
        std::string bytes = good;
        for (std::size_t slot = 0; slot < 2; ++slot) {
            auto* const at = reinterpret_cast<std::byte*>(bytes.data()) + slot * emdb::detail::header_slot_size;
            emdb::detail::store_le(at + emdb::detail::key_block_offset + field, number);
            emdb::detail::store_le(at + 4092, emdb::detail::crc32c(at, 4092));
        }
        write_bytes(path, bytes);
        const auto begun = std::chrono::steady_clock::now();
        const auto opened = Emdb::builder().path(path).encryption_passphrase("p").build();
        CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(5));
        REQUIRE_FALSE(opened);
        return opened.error().code();
    };
    CHECK(with(4, 1U << 30) == ErrorCode::corrupted);  // 1 TiB
    CHECK(with(4, UINT32_MAX) == ErrorCode::corrupted);
    CHECK(with(4, 8) == ErrorCode::corrupted);  // and not less than is safe
    CHECK(with(8, UINT32_MAX) == ErrorCode::corrupted);
    CHECK(with(8, 0) == ErrorCode::corrupted);
    CHECK(with(12, UINT32_MAX) == ErrorCode::corrupted);
    CHECK(with(12, 0) == ErrorCode::corrupted);
    CHECK(with(8, 2) == ErrorCode::encryption_key_mismatch);  // bearable, but not what the key was made with
}

TEST_CASE("without randomness no database is made, and nothing is written") {
    const Fault no_entropy{.only = Operation::fill_random, .from_then_on = true};
    DatabaseSettings settings;
    settings.cipher = Cipher::aes_256_gcm;
    {
        for (std::uint64_t nth = 1; nth <= 3; ++nth) {
            SimulatedDisk disk;
            Fault fault = no_entropy;
            fault.nth = nth;
            disk.fail(fault);
            CHECK(open_database(disk, settings) == ErrorCode::io);
            CHECK_FALSE(disk.exists(database_path));
        }
    }
    SimulatedDisk disk;
    open_database(disk, settings).value().insert("a", "b").value();
    {
        disk.fail(no_entropy);
        Emdb db = open_database(disk, settings).value();
        CHECK(db.get("a").value() == "b");
        CHECK(db.insert("a", "c") == ErrorCode::io);
        CHECK(db.transaction([](Transaction& t) { return t.insert("a", "c"); }) == ErrorCode::io);
        CHECK(db.compact() == ErrorCode::io);
        CHECK(db.get("a").value() == "b");
        disk.stop_failing();
        db.insert("a", "d").value();  // nothing was broken by it
        disk.kill_process();
    }
    disk.start_process();
    disk.fail(no_entropy);
    Emdb db = open_database(disk, settings).value();  // reading needs none
    CHECK(db.get("a").value() == "d");
    CHECK(db.insert("a", "e") == ErrorCode::io);
    CHECK(db.get("a").value() == "d");
}

TEST_CASE("a database with as many sessions as there can be is still read, and compacted") {
    TempFolder folder;
    const std::string path = folder.file("a");
    {
        Emdb db = builder_of(path).build().value();
        db.insert("a", "b").value();
    }
    // A file with a session in every place: as emdb would write it, but quicker.
    std::string bytes = read_bytes(path);
    emdb::detail::Header header;
    std::uint32_t version = 0;
    header = *emdb::detail::decode_header(std::as_bytes(std::span(bytes)).first(emdb::detail::header_slot_size), version);
    const auto key = emdb::detail::KeyBlock::unwrap(header, EncryptionInput::key(encryption_key()), path).value();
    emdb::detail::Sealer sealer(Cipher::aes_256_gcm, key, header.file_id);
    bytes.resize(emdb::detail::journal_start);
    emdb::detail::SessionRandom random{};
    while (sealer.make_room_for_session()) {
        const std::uint64_t offset = bytes.size();
        const auto value = sealer.make_session_value(random, offset);
        emdb::detail::FrameContent content;
        content.kind = emdb::detail::FrameKind::session;
        content.value = emdb::Bytes(value.data(), value.size());
        emdb::detail::FrameHead head(content, header.frame_seed());
        head.finish(offset);
        bytes.append(reinterpret_cast<const char*>(head.data()), head.size()).append(content.value.as_string_view());
        if (!sealer.add_session(random, offset)) FAIL("there is room");
    }
    write_bytes(path, bytes);
    {
        Emdb db = builder_of(path).build().value();
        CHECK(db.len().value() == 0);
        CHECK(db.insert("a", "b") == ErrorCode::too_large);
        db.compact().value();
        db.insert("a", "b").value();
    }
    CHECK(builder_of(path).build().value().get("a").value() == "b");
}

// --- changes of a database that nobody has open

SeenContents contents_with(const std::string& path, const std::optional<EncryptionInput>& input) {
    emdb::detail::OpenOptions options;
    options.path = path;
    EmdbBuilder builder;
    if (!input) return contents_of(path);
    const auto secret = emdb::detail::EncryptionSecret::bytes(*input);
    if (emdb::detail::EncryptionSecret::is_key(*input)) {
        builder.encryption_key(secret.first<32>());
    } else {
        builder.encryption_passphrase(std::string_view(reinterpret_cast<const char*>(secret.data()), secret.size()));
    }
    Emdb db = builder.path(path).build().value();
    return contents_of(db);
}

TEST_CASE("encryption is enabled, rotated, disabled; passphrases are changed; every wrong way is refused") {
    const CheapPassphrases cheap;
    TempFolder folder;
    const std::string path = folder.file("a");
    const auto key = EncryptionInput::key(encryption_key());
    const auto other_key = EncryptionInput::key(encryption_key(1));
    const auto text = EncryptionInput::passphrase("one");
    const auto other_text = EncryptionInput::passphrase("two");
    SeenContents contents;
    {
        RandomUse use(seed());
        Emdb db = Emdb::open(path).value();
        for (int i = 0; i < 200; ++i) use.step(db);
        db.insert("MARKERMARKER", "MARKERMARKER").value();
        contents = contents_of(db);
        CHECK(Emdb::enable_encryption(path, key) == ErrorCode::already_locked);
    }
    CHECK(Emdb::disable_encryption(path, key) == ErrorCode::not_encrypted);
    CHECK(Emdb::rotate_encryption_key(path, key, other_key) == ErrorCode::not_encrypted);
    CHECK(Emdb::change_passphrase(path, key, other_key) == ErrorCode::not_encrypted);
    CHECK(Emdb::enable_encryption(path, EncryptionInput::passphrase("")) == ErrorCode::invalid_argument);
    CHECK_FALSE(Emdb::enable_encryption(folder.file("absent"), key));
    CHECK_FALSE(std::filesystem::exists(folder.file("absent")));
    CHECK(contents_with(path, std::nullopt) == contents);

    Emdb::enable_encryption(path, text, Cipher::chacha20_poly1305, true).value();
    CHECK(read_bytes(path).find("MARKER") == std::string::npos);
    CHECK(contents_with(path + ".encbak", std::nullopt) == contents);
    CHECK(contents_with(path, text) == contents);
    CHECK(Emdb::enable_encryption(path, key) == ErrorCode::invalid_argument);
    CHECK(Emdb::rotate_encryption_key(path, other_text, key) == ErrorCode::encryption_key_mismatch);
    CHECK(Emdb::rotate_encryption_key(path, text, EncryptionInput::passphrase("")) == ErrorCode::invalid_argument);
    CHECK(Emdb::disable_encryption(path, key) == ErrorCode::encryption_key_mismatch);

    // A new passphrase changes the header and nothing else, both copies of it.
    const std::string before = read_bytes(path);
    CHECK(Emdb::change_passphrase(path, other_text, text) == ErrorCode::encryption_key_mismatch);
    CHECK(Emdb::change_passphrase(path, text, EncryptionInput::passphrase("")) == ErrorCode::invalid_argument);
    CHECK(read_bytes(path) == before);
    Emdb::change_passphrase(path, text, other_text).value();
    const std::string after = read_bytes(path);
    CHECK(after.substr(emdb::detail::journal_start) == before.substr(emdb::detail::journal_start));
    for (std::size_t slot = 0; slot < 2; ++slot) {
        CAPTURE(slot);
        std::string damaged = after;
        damaged[slot * emdb::detail::header_slot_size + 20] ^= 1;
        write_bytes(folder.file("b"), damaged);
        CHECK(Emdb::builder().path(folder.file("b")).encryption_passphrase("one").build() == ErrorCode::encryption_key_mismatch);
        CHECK(contents_with(folder.file("b"), other_text) == contents);
    }
    CHECK(contents_with(path, other_text) == contents);
    Emdb::change_passphrase(path, other_text, key).value();
    CHECK(contents_with(path, key) == contents);

    Emdb::rotate_encryption_key(path, key, other_key).value();
    CHECK(Emdb::builder().path(path).encryption_key(encryption_key()).build() == ErrorCode::encryption_key_mismatch);
    CHECK(contents_with(path, other_key) == contents);
    Emdb::disable_encryption(path, other_key).value();
    CHECK(contents_with(path, std::nullopt) == contents);
    CHECK(read_bytes(path).find("MARKER") != std::string::npos);
    for (const char* const suffix : {".tmp", ".compact", ".lock"}) CHECK_FALSE(std::filesystem::exists(path + suffix));
}

// --- threads

TEST_CASE("writers, readers, flushes and compactions at once while sessions change all the time") {
    const ShortSessions sessions(40);
    TempFolder folder;
    const std::string path = folder.file("a");
    constexpr int writers = 3;
    constexpr int writes = 400;
    {
        Emdb db = builder_of(path).enable_range_scans(true).build().value();
        std::atomic<int> writing{writers};
        std::vector<std::thread> threads;
        for (int writer = 0; writer < writers; ++writer) {
            threads.emplace_back([&, writer] {
                for (int i = 0; i < writes; ++i) {
                    const std::string key = std::to_string(writer) + "-" + std::to_string(i % 50);
                    if (i % 10 == 0) {
                        db.transaction([&](Transaction& t) { return t.insert(key, std::to_string(i)); }).value();
                    } else {
                        db.insert(key, std::to_string(i)).value();
                    }
                }
                --writing;
            });
        }
        threads.emplace_back([&] {
            while (writing != 0) db.flush().value();
        });
        threads.emplace_back([&] {
            while (writing != 0) {
                db.compact().value();
                std::this_thread::yield();
            }
        });
        for (int reader = 0; reader < 2; ++reader) {
            threads.emplace_back([&] {
                std::array<int, writers> last{};
                while (writing != 0) {
                    for (int writer = 0; writer < writers; ++writer) {
                        const auto value = db.get(std::to_string(writer) + "-7").value();
                        if (!value) continue;
                        const int now = std::stoi(*value);
                        if (now < last[static_cast<std::size_t>(writer)] || now % 50 != 7) std::abort();
                        last[static_cast<std::size_t>(writer)] = now;
                    }
                    auto range = db.range_iter(Range::prefix("1-")).value();
                    for (const auto& record : range) {
                        if (!record.key.starts_with("1-")) std::abort();
                    }
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
    }
    Emdb db = builder_of(path).build().value();
    for (int writer = 0; writer < writers; ++writer) {
        for (int i = 0; i < 50; ++i) {
            CHECK(db.get(std::to_string(writer) + "-" + std::to_string(i)).value() == std::to_string(writes - 50 + i));
        }
    }
}

}  // namespace
}  // namespace emdb_test
