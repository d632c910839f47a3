// verify and salvage of encrypted databases: what they ask for, what they tell apart, what salvage writes.

#define EMDB_ENCRYPT 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/database_contents.hpp"
#include "support/simulated_disk.hpp"
#include "support/temp_folder.hpp"

/// What is asked for without exceptions, as the room for opened frames is, is refused from this size on.
static std::size_t refused_from = SIZE_MAX;

void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    if (size >= refused_from) return nullptr;
    try {
        return ::operator new(size);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

namespace emdb_test {
namespace {

namespace fs = std::filesystem;
using emdb::Cipher;
using emdb::Emdb;
using emdb::EncryptionInput;
using emdb::ErrorCode;
using emdb::SalvageOptions;
using emdb::VerifyOptions;
using emdb::VerifyReport;
using emdb::detail::FrameKind;
using emdb::detail::FrameView;

std::array<std::byte, 32> key_bytes(unsigned char seed) {
    std::array<std::byte, 32> key{};
    for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::byte>(seed + i);
    return key;
}
const EncryptionInput the_key = EncryptionInput::key(key_bytes(1));
const EncryptionInput another_key = EncryptionInput::key(key_bytes(2));

VerifyOptions with(std::optional<EncryptionInput> input) {
    VerifyOptions options;
    options.encryption = std::move(input);
    return options;
}
SalvageOptions salvage_with(std::optional<EncryptionInput> input) {
    SalvageOptions options;
    options.encryption = std::move(input);
    return options;
}

Emdb open(const std::string& path, Cipher cipher = Cipher::aes_256_gcm) {
    return Emdb::builder().path(path).encryption_key(key_bytes(1)).cipher(cipher).build().value();
}

SeenContents contents(const std::string& path, Cipher cipher = Cipher::aes_256_gcm) {
    Emdb db = open(path, cipher);
    return contents_of(db);
}

// Every kind of frame, records written again and again, three sessions.
void fill(const std::function<Emdb()>& open_it) {
    {
        Emdb db = open_it();
        for (int i = 0; i < 30; ++i) db.insert("key " + std::to_string(i % 20), "marker in plaintext " + std::to_string(i)).value();
        db.flush().value();
        for (int i = 0; i < 20; i += 5) db.remove("key " + std::to_string(i)).value();
    }
    {
        Emdb db = open_it();
        auto names = db.open_namespace("marker of a name").value();
        std::vector<emdb::Record> many;
        for (int i = 0; i < 20; ++i) many.push_back({"many " + std::to_string(i), std::string(40, 'm')});
        names.insert_many(many).value();
        db.insert_with_ttl("expiring", "value", emdb::Ttl::at(4'000'000'000'000)).value();
        db.open_namespace("cleared").value().insert("gone", "gone").value();
        db.open_namespace("cleared").value().clear().value();
        db.open_namespace("dropped").value().insert("gone", "gone").value();
        db.drop_namespace("dropped").value();
    }
    Emdb db = open_it();
    db.insert("last session", std::string(600, 'l')).value();
    db.transaction([](emdb::Transaction& tx) -> emdb::Result<void> {
          for (int i = 0; i < 5; ++i) tx.insert("tx " + std::to_string(i), "t").value();
          return {};
      }).value();
    db.insert("after", "the batch").value();
}

const emdb::detail::FrameView parsed(const std::string& bytes, std::uint64_t offset) {
    const auto* const file = reinterpret_cast<const std::byte*>(bytes.data());
    FrameView frame;
    REQUIRE(emdb::detail::parse_frame(file + offset, file + bytes.size(), frame));
    return frame;
}

// Where the frames of an undamaged file are.
std::vector<std::uint64_t> frames_of(const std::string& bytes) {
    std::vector<std::uint64_t> offsets;
    for (std::uint64_t offset = emdb::detail::journal_start; offset < bytes.size(); offset += parsed(bytes, offset).size) {
        offsets.push_back(offset);
    }
    return offsets;
}

std::uint32_t seed_of(const std::string& bytes) {
    std::uint32_t version = 0;
    const auto* const file = reinterpret_cast<const std::byte*>(bytes.data());
    return emdb::detail::decode_header({file, emdb::detail::header_slot_size}, version).value().frame_seed();
}

// Gives the frame, whose bytes were changed, a checksum that is right.
void sum_up(std::string& bytes, std::uint64_t offset, std::uint64_t size) {
    emdb::detail::store_frame_crc(reinterpret_cast<std::byte*>(bytes.data()) + offset, size, offset, seed_of(bytes));
}

VerifyReport verify(const std::string& bytes) {
    TempFolder folder;
    write_bytes(folder.file("a.emdb"), bytes);
    return Emdb::verify(folder.file("a.emdb"), with(the_key)).value();
}

struct Salvaged {
    emdb::SalvageReport report;
    SeenContents contents;
};
Salvaged salvage(const std::string& bytes) {
    TempFolder folder;
    write_bytes(folder.file("a.emdb"), bytes);
    const auto report = Emdb::salvage(folder.file("a.emdb"), folder.file("b.emdb"), salvage_with(the_key)).value();
    return {report, contents(folder.file("b.emdb"))};
}

std::string filled_file() {
    TempFolder folder;
    fill([&] { return open(folder.file("a.emdb")); });
    return read_bytes(folder.file("a.emdb"));
}

// Every record of `found` was written under its key at some time.
bool was_written(const SeenContents& found) {
    for (const auto& [name, records] : found) {
        for (const auto& [key, record] : records) {
            const bool fits = key.rfind("key ", 0) == 0      ? record.value.rfind("marker in plaintext ", 0) == 0
                              : key.rfind("many ", 0) == 0   ? record.value == std::string(40, 'm')
                              : key.rfind("tx ", 0) == 0     ? record.value == "t"
                              : key == "last session"        ? record.value == std::string(600, 'l')
                              : key == "expiring"            ? record.value == "value"
                              : key == "after"               ? record.value == "the batch"
                              : key == "gone"                ? record.value == "gone"
                                                             : false;
            if (!fits) return false;
        }
    }
    return true;
}

}  // namespace

TEST_CASE("verify counts in an encrypted database what it counts in a plain one, and looks at every byte") {
    TempFolder folder;
    fill([&] { return Emdb::open(folder.file("plain")).value(); });
    const VerifyReport plain = Emdb::verify(folder.file("plain")).value();
    for (const Cipher cipher : {Cipher::aes_256_gcm, Cipher::chacha20_poly1305}) {
        const std::string path = folder.file(cipher == Cipher::aes_256_gcm ? "aes" : "chacha");
        fill([&] { return open(path, cipher); });
        const std::string bytes = read_bytes(path);
        const VerifyReport report = Emdb::verify(path, with(the_key)).value();
        CHECK(report.ok());
        CHECK_FALSE(report.torn_tail);
        CHECK(report.live_records == plain.live_records);
        CHECK(report.frames == plain.frames + 3);  // sessions
        CHECK(report.bytes_checked == bytes.size());
        CHECK(read_bytes(path) == bytes);
    }
}

TEST_CASE("verify and salvage ask for the right key, and for none where there is none") {
    emdb::detail::passphrase_cost = {8 * 1024, 1, 1};
    TempFolder folder;
    fill([&] { return open(folder.file("key")); });
    fill([&] { return Emdb::builder().path(folder.file("phrase")).encryption_passphrase("a phrase").build().value(); });
    fill([&] { return Emdb::open(folder.file("plain")).value(); });
    const auto phrase = EncryptionInput::passphrase("a phrase");
    struct Case {
        const char* file;
        std::optional<EncryptionInput> input;
        std::optional<ErrorCode> expected;
    };
    const Case cases[] = {
        {"key", the_key, std::nullopt},
        {"key", std::nullopt, ErrorCode::key_required},
        {"key", another_key, ErrorCode::encryption_key_mismatch},
        {"key", phrase, ErrorCode::encryption_key_mismatch},
        {"phrase", phrase, std::nullopt},
        {"phrase", std::nullopt, ErrorCode::key_required},
        {"phrase", EncryptionInput::passphrase("a phrasE"), ErrorCode::encryption_key_mismatch},
        {"phrase", EncryptionInput::passphrase(""), ErrorCode::invalid_argument},
        {"phrase", the_key, ErrorCode::encryption_key_mismatch},
        {"plain", std::nullopt, std::nullopt},
        {"plain", the_key, ErrorCode::not_encrypted},
        {"plain", phrase, ErrorCode::not_encrypted},
    };
    for (const Case& each : cases) {
        CAPTURE(std::string(each.file));
        const std::string before = read_bytes(folder.file(each.file));
        const auto verified = Emdb::verify(folder.file(each.file), with(each.input));
        const auto salvaged = Emdb::salvage(folder.file(each.file), folder.file("new"), salvage_with(each.input));
        CHECK(verified.has_value() == !each.expected);
        CHECK(salvaged.has_value() == !each.expected);
        CHECK(fs::exists(folder.file("new")) == !each.expected);
        if (each.expected) {
            CHECK(verified.error() == *each.expected);
            CHECK(salvaged.error() == *each.expected);
        }
        fs::remove(folder.file("new"));
        CHECK(read_bytes(folder.file(each.file)) == before);
    }
    emdb::detail::passphrase_cost = {};
}

TEST_CASE("salvage makes a database that opens with the same key, with the same cipher and another data key") {
    for (const Cipher cipher : {Cipher::aes_256_gcm, Cipher::chacha20_poly1305}) {
        TempFolder folder;
        fill([&] { return open(folder.file("a.emdb"), cipher); });
        const SeenContents expected = contents(folder.file("a.emdb"), cipher);
        const auto report = Emdb::salvage(folder.file("a.emdb"), folder.file("b.emdb"), salvage_with(the_key)).value();
        CHECK(report.records_written == record_count(expected));
        CHECK(report.frames_skipped == 0);
        CHECK(report.bytes_skipped == 0);
        const std::string bytes = read_bytes(folder.file("b.emdb"));
        CHECK(bytes.find("marker") == std::string::npos);
        CHECK(bytes.find("many") == std::string::npos);
        const auto data_key = [&](const std::string& path) {
            const auto file = emdb::detail::native_environment().files().open(path, emdb::detail::OpenMode::read_only).value();
            const auto header = emdb::detail::read_header(*file, path).value();
            const auto key = emdb::detail::KeyBlock::unwrap(header, the_key, path).value();
            return std::vector<std::byte>(key->bytes().begin(), key->bytes().end());
        };
        CHECK(data_key(folder.file("a.emdb")) != data_key(folder.file("b.emdb")));
        CHECK(Emdb::verify(folder.file("b.emdb"), with(the_key)).value().ok());
        CHECK(Emdb::open(folder.file("b.emdb")).error() == ErrorCode::key_required);
        CHECK(contents(folder.file("b.emdb"), cipher) == expected);
        CHECK(open(folder.file("b.emdb"), cipher).insert("more", "v").has_value());
    }
}

TEST_CASE("large values are salvaged from an encrypted database") {
    TempFolder folder;
    const std::string large(3'000'001, 'x');
    { open(folder.file("a.emdb")).insert("large", large).value(); }
    Emdb::salvage(folder.file("a.emdb"), folder.file("b.emdb"), salvage_with(the_key)).value();
    CHECK(open(folder.file("b.emdb")).get("large").value() == large);
}

TEST_CASE("a flipped byte of an encrypted file is damage, wherever it is, and salvage never makes up a value") {
    const std::string bytes = filled_file();
    const std::uint64_t records = verify(bytes).live_records;
    for (std::size_t at = emdb::detail::journal_start; at < bytes.size(); at += 3) {
        CAPTURE(at);
        std::string flipped = bytes;
        flipped[at] = static_cast<char>(flipped[at] ^ (1 << at % 8));
        const VerifyReport report = verify(flipped);
        CHECK((report.torn_tail || !report.ok()));
        for (const emdb::Error& damage : report.damages) CHECK(damage == ErrorCode::corrupted);
        if (at % 29 != 0) continue;
        const Salvaged salvaged = salvage(flipped);
        CHECK(salvaged.report.frames_skipped >= 1);
        CHECK(was_written(salvaged.contents));
        CHECK(record_count(salvaged.contents) <= records + 10);
    }
}

TEST_CASE("a frame whose checksum is right and whose seal is not was tampered with: reported at its place, and skipped") {
    const std::string bytes = filled_file();
    const auto offsets = frames_of(bytes);
    for (const std::uint64_t offset : offsets) {
        CAPTURE(offset);
        const FrameView frame = parsed(bytes, offset);
        const auto head_size = static_cast<std::size_t>(frame.key.data() - frame.start);
        // The body's first byte, the tag's last one, the counter, the kind.
        std::vector<std::size_t> places{head_size, static_cast<std::size_t>(frame.size) - 1};
        if (frame.is_sealed()) places.push_back(head_size - 1);
        if (frame.is_sealed()) places.push_back(4);
        for (const std::size_t place : places) {
            CAPTURE(place);
            std::string forged = bytes;
            if (place == 4) {  // a put for a removal, a removal for a put
                if (frame.kind() != FrameKind::put && frame.kind() != FrameKind::remove) continue;
                if (frame.kind() == FrameKind::put && (frame.flags() & emdb::detail::frame_has_expiry) != 0) continue;
                forged[offset + 4] = static_cast<char>(forged[offset + 4] ^ 3);
            } else {
                forged[offset + place] = static_cast<char>(forged[offset + place] ^ 1);
            }
            sum_up(forged, offset, frame.size);
            const VerifyReport report = verify(forged);
            CHECK_FALSE(report.ok());
            REQUIRE_FALSE(report.damages.empty());
            CHECK(report.damages[0] == ErrorCode::encryption_error);
            CHECK(report.damages[0].offset() == offset);
            // Without a session, or a namespace, what belongs to it does not fit either.
            const bool is_session = frame.kind() == FrameKind::session;
            CHECK((is_session || frame.kind() == FrameKind::namespace_create || report.damage_count == 1));
            if (place != places[0] || offset % 3 != 0) continue;
            const Salvaged salvaged = salvage(forged);
            CHECK((is_session || salvaged.report.frames_skipped == 1));
            CHECK((is_session || salvaged.report.bytes_skipped == frame.size));
            CHECK(was_written(salvaged.contents));
        }
    }
}

TEST_CASE("a frame for which there is no memory was not tampered with, and is not left out of what is salvaged") {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    const std::string value(100'000, 'v');
    {
        auto db = open(path);
        REQUIRE(db.insert("large", value).has_value());
        REQUIRE(db.insert("small", "s").has_value());
        refused_from = 50'000;
        const auto read = db.get("large");
        const auto other = db.get("small");
        refused_from = SIZE_MAX;
        CHECK(read == ErrorCode::io);
        CHECK(read.error().message().find("Out of memory") == 0);
        CHECK(other.value() == "s");
        CHECK(db.get("large").value() == value);
        REQUIRE(db.close().has_value());
    }
    refused_from = 50'000;
    const auto opened = Emdb::builder().path(path).encryption_key(key_bytes(1)).build();
    const auto verified = Emdb::verify(path, with(the_key));
    const auto salvaged = Emdb::salvage(path, folder.file("b.emdb"), salvage_with(the_key));
    refused_from = SIZE_MAX;
    CHECK(opened == ErrorCode::io);
    REQUIRE(verified.has_value());
    REQUIRE(verified->damages.size() == 1);
    CHECK(verified->damages[0] == ErrorCode::io);
    CHECK(salvaged == ErrorCode::io);
    CHECK_FALSE(fs::exists(folder.file("b.emdb")));
    CHECK(Emdb::verify(path, with(the_key)).value().damage_count == 0);
    CHECK(open(path).get("large").value() == value);
}

TEST_CASE("a plain frame in an encrypted file was put there by somebody else") {
    const std::string bytes = filled_file();
    emdb::detail::FrameContent content;
    content.key = "key 1";
    content.value = "put there";
    emdb::detail::FrameHead head(content, seed_of(bytes));
    head.finish(bytes.size());
    std::string forged = bytes;
    forged.append(reinterpret_cast<const char*>(head.data()), head.size());
    forged += "key 1put there";
    const VerifyReport report = verify(forged);
    REQUIRE(report.damages.size() == 1);
    CHECK(report.damages[0] == ErrorCode::encryption_error);
    CHECK(report.damages[0].offset() == bytes.size());
    const Salvaged salvaged = salvage(forged);
    CHECK(salvaged.report.frames_skipped == 1);
    CHECK(salvaged.contents.at("").at("key 1").value != "put there");
}

TEST_CASE("a frame of the same file in another place, and one of an earlier session put back, are refused") {
    const std::string bytes = filled_file();
    const auto offsets = frames_of(bytes);
    std::size_t moved = 0;
    for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
        // Two neighbours of the same size change places.
        const FrameView a = parsed(bytes, offsets[i]);
        const FrameView b = parsed(bytes, offsets[i + 1]);
        if (a.size != b.size || a.kind() != FrameKind::put || b.kind() != FrameKind::put) continue;
        std::string forged = bytes;
        const auto size = static_cast<std::size_t>(a.size);
        std::swap_ranges(forged.begin() + static_cast<std::ptrdiff_t>(offsets[i]),
                         forged.begin() + static_cast<std::ptrdiff_t>(offsets[i] + size),
                         forged.begin() + static_cast<std::ptrdiff_t>(offsets[i + 1]));
        sum_up(forged, offsets[i], a.size);
        sum_up(forged, offsets[i + 1], b.size);
        const VerifyReport report = verify(forged);
        CHECK(report.damage_count == 2);
        for (const emdb::Error& damage : report.damages) CHECK(damage == ErrorCode::encryption_error);
        if (++moved == 3) break;
    }
    CHECK(moved > 0);

    // What stood behind the first session's end, as a copy of the file kept it, in the place of the second session's frames.
    TempFolder folder;
    { open(folder.file("a.emdb")).insert("k", "first").value(); }
    fs::copy_file(folder.file("a.emdb"), folder.file("b.emdb"));
    { open(folder.file("a.emdb")).insert("k", "second").value(); }
    { open(folder.file("b.emdb")).insert("k", "branch").value(); }
    std::string a = read_bytes(folder.file("a.emdb"));
    const std::string b = read_bytes(folder.file("b.emdb"));
    REQUIRE(a.size() == b.size());
    for (const std::uint64_t offset : frames_of(a)) {
        const FrameView frame = parsed(a, offset);
        if (frame.kind() != FrameKind::put || frame.nonce().session != 2) continue;
        a.replace(static_cast<std::size_t>(offset), static_cast<std::size_t>(frame.size), b, static_cast<std::size_t>(offset),
                  static_cast<std::size_t>(frame.size));
        const VerifyReport report = verify(a);
        REQUIRE(report.damage_count == 1);
        CHECK(report.damages[0] == ErrorCode::encryption_error);
        CHECK(report.damages[0].offset() == offset);
        CHECK(salvage(a).contents.at("").at("k").value == "first");
    }
}

TEST_CASE("without the frame of a session its records can't be opened, and those of others can") {
    const std::string bytes = filled_file();
    std::vector<std::uint64_t> sessions;
    for (const std::uint64_t offset : frames_of(bytes)) {
        if (parsed(bytes, offset).kind() == FrameKind::session) sessions.push_back(offset);
    }
    REQUIRE(sessions.size() == 3);
    for (std::size_t lost = 0; lost < sessions.size(); ++lost) {
        CAPTURE(lost);
        std::string damaged = bytes;
        damaged[static_cast<std::size_t>(sessions[lost]) + 20] ^= 1;
        std::uint64_t frames_lost = 1;
        for (const std::uint64_t offset : frames_of(bytes)) {
            const FrameView frame = parsed(bytes, offset);
            frames_lost += frame.is_sealed() && frame.nonce().session == lost + 1;
        }
        const VerifyReport report = verify(damaged);
        CHECK(report.damage_count == frames_lost);
        for (const emdb::Error& damage : report.damages) CHECK(damage == ErrorCode::corrupted);
        CHECK(report.damages[0].offset() == sessions[lost]);
        const Salvaged salvaged = salvage(damaged);
        CHECK(salvaged.report.frames_skipped == frames_lost);
        CHECK(was_written(salvaged.contents));
        CHECK(salvaged.contents.at("").count("key 1") == (lost == 0 ? 0 : 1));
        CHECK(salvaged.contents.at("").count("expiring") == (lost == 1 ? 0 : 1));
        CHECK(salvaged.contents.at("").count("after") == (lost == 2 ? 0 : 1));
    }
}

TEST_CASE("the torn tail of an encrypted file is told from damage") {
    const std::string bytes = filled_file();
    const auto offsets = frames_of(bytes);
    // Cut inside the last frame, the close mark; and inside the frame before it, which the close mark had vouched for.
    const VerifyReport torn = verify(bytes.substr(0, bytes.size() - 5));
    CHECK(torn.ok());
    CHECK(torn.torn_tail);
    std::string damaged = bytes;
    damaged[static_cast<std::size_t>(offsets[offsets.size() - 2]) + 30] ^= 1;
    const VerifyReport report = verify(damaged);
    CHECK(report.damage_count == 1);
    CHECK_FALSE(report.torn_tail);
}

TEST_CASE("a transaction that was cut off is left out of what is salvaged, unless it is asked for") {
    TempFolder folder;
    {
        Emdb db = open(folder.file("a.emdb"));
        db.insert("before", "v").value();
        db.flush().value();
        db.transaction([](emdb::Transaction& tx) -> emdb::Result<void> {
              for (int i = 0; i < 5; ++i) tx.insert("tx " + std::to_string(i), "t").value();
              return {};
          }).value();
    }
    std::string bytes = read_bytes(folder.file("a.emdb"));
    const auto offsets = frames_of(bytes);
    bytes.resize(static_cast<std::size_t>(offsets[offsets.size() - 2] + 3));  // inside the last member
    write_bytes(folder.file("a.emdb"), bytes);
    const VerifyReport report = Emdb::verify(folder.file("a.emdb"), with(the_key)).value();
    CHECK(report.ok());
    CHECK(report.torn_tail);
    CHECK(report.live_records == 1);
    for (const bool asked_for : {false, true}) {
        SalvageOptions options = salvage_with(the_key);
        options.unfinished_batch = asked_for;
        const std::string to = folder.file(asked_for ? "with" : "without");
        CHECK(Emdb::salvage(folder.file("a.emdb"), to, options).value().records_written == (asked_for ? 5 : 1));
        CHECK(contents(to).at("").count("tx 0") == (asked_for ? 1 : 0));
    }
}

TEST_CASE("whichever operation of the salvage of an encrypted database fails, random numbers among them, there is the whole new one or none") {
    const std::string bytes = filled_file();
    const std::uint64_t records = verify(bytes).live_records;
    const auto* const data = reinterpret_cast<const std::byte*>(bytes.data());
    constexpr const char* from = "/disk/from.emdb";
    constexpr const char* to = "/disk/to.emdb";
    std::uint64_t failures = 0;
    for (std::uint64_t nth = 1;; ++nth) {
        CAPTURE(nth);
        SimulatedDisk disk;
        {
            auto file = disk.files().open(from, emdb::detail::OpenMode::create_new).value();
            file->write_at(0, {data, bytes.size()}).value();
            file->sync().value();
            disk.files().sync_directory_of(from).value();
        }
        Fault fault;
        fault.nth = nth;
        disk.fail(fault);
        const auto salvaged = emdb::detail::salvage_database(disk, from, to, salvage_with(the_key));
        const bool failed = disk.faults_injected() != 0;
        disk.stop_failing();
        if (!failed) {
            CHECK(salvaged.has_value());
            break;
        }
        if (!salvaged) ++failures;
        CHECK((!salvaged || disk.exists(to)));
        if (!disk.exists(to)) emdb::detail::salvage_database(disk, from, to, salvage_with(the_key)).value();
        CHECK(disk.paths().size() == 2);
        CHECK(emdb::detail::verify_database(disk, to, with(the_key)).value().live_records == records);
    }
    CHECK(failures > 10);
}

TEST_CASE("an encrypted file that has lost both copies of its header is lost, and one of them is enough") {
    std::string bytes = filled_file();
    const SeenContents expected = salvage(bytes).contents;
    bytes[100] ^= 1;
    const VerifyReport report = verify(bytes);
    CHECK(report.damage_count == 1);
    CHECK(salvage(bytes).contents == expected);
    bytes[5000] ^= 1;
    TempFolder folder;
    write_bytes(folder.file("a.emdb"), bytes);
    CHECK_FALSE(Emdb::verify(folder.file("a.emdb"), with(the_key)).value().ok());
    CHECK(Emdb::salvage(folder.file("a.emdb"), folder.file("b.emdb"), salvage_with(the_key)).error() == ErrorCode::corrupted);
    CHECK_FALSE(fs::exists(folder.file("b.emdb")));
}

}  // namespace emdb_test
