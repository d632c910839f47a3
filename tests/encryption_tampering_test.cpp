// What somebody may do to an encrypted file who has no key, but knows the format: every checksum is right again afterwards. Whatever
// was done is refused as `encryption_error` or `corrupted`; no read and no opening returns anything else than what was written, and
// nothing is cut off.
//
// EMDB_EVERY_BIT=1   flips every bit of all frames and of the header (one in five, and one in eight where the header is empty)

#define EMDB_ENCRYPT 1
#define EMDB_NESTED 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/database_contents.hpp"
#include "support/model_session.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::Cipher;
using emdb::Emdb;
using emdb::EncryptionInput;
using emdb::ErrorCode;
using emdb::Result;
using emdb::detail::FrameKind;
using emdb::detail::FrameView;

constexpr Cipher ciphers[] = {Cipher::aes_256_gcm, Cipher::chacha20_poly1305};

bool every_bit() {
    const char* const asked = std::getenv("EMDB_EVERY_BIT");
    return asked != nullptr && *asked == '1';
}

std::byte* bytes_at(std::string& bytes, std::uint64_t offset) { return reinterpret_cast<std::byte*>(bytes.data()) + offset; }
const std::byte* bytes_at(const std::string& bytes, std::uint64_t offset) {
    return reinterpret_cast<const std::byte*>(bytes.data()) + offset;
}

/// A file as the forger has it: all but the key.
class StolenFile {
public:
    struct Frame {
        std::uint64_t offset;
        std::uint64_t size;
        FrameKind kind;
        std::uint64_t end() const noexcept { return offset + size; }
    };

    explicit StolenFile(std::string bytes) : bytes_(std::move(bytes)) {
        std::uint32_t version = 0;
        header_ = *emdb::detail::decode_header(std::span(bytes_at(bytes_, 0), emdb::detail::header_slot_size), version);
        std::uint64_t offset = emdb::detail::journal_start;
        while (offset < bytes_.size()) {  // members of batches, too
            FrameView frame;
            if (!emdb::detail::parse_frame(bytes_at(bytes_, offset), bytes_at(bytes_, bytes_.size()), frame)) break;
            frames_.push_back({offset, frame.size, frame.kind()});
            offset += frame.size;
        }
        REQUIRE(bytes_.find_first_not_of('\0', offset) == std::string::npos);  // space that was prepared for more
    }

    const std::string& bytes() const noexcept { return bytes_; }
    const emdb::detail::Header& header() const noexcept { return header_; }
    const std::vector<Frame>& frames() const noexcept { return frames_; }
    std::string_view at(const Frame& frame) const { return std::string_view(bytes_).substr(frame.offset, frame.size); }

    std::vector<Frame> frames(FrameKind kind) const {
        std::vector<Frame> chosen;
        for (const Frame& frame : frames_) {
            if (frame.kind == kind) chosen.push_back(frame);
        }
        return chosen;
    }

    /// Has a frame in `bytes` validate at its place, if one can be there.
    void repair(std::string& bytes, std::uint64_t offset) const {
        FrameView frame;
        if (!emdb::detail::parse_frame(bytes_at(bytes, offset), bytes_at(bytes, bytes.size()), frame)) return;
        emdb::detail::store_frame_crc(bytes_at(bytes, offset), frame.size, offset, header_.frame_seed());
    }

    /// The file with other bytes at a place, which become a valid frame there.
    std::string with(std::uint64_t offset, std::string_view frame) const {
        std::string bytes = bytes_;
        bytes.replace(offset, frame.size(), frame);
        repair(bytes, offset);
        return bytes;
    }

private:
    std::string bytes_;
    emdb::detail::Header header_;
    std::vector<Frame> frames_;
};

/// Who has the key and opens the file: all that the journal says, in order, or an error. What a database does when it opens, without the
/// file system around it.
class Owner {
public:
    Owner(const StolenFile& file, Cipher cipher) : cipher_(cipher), header_(file.header()) {
        key_ = emdb::detail::KeyBlock::unwrap(header_, EncryptionInput::key(encryption_key()), "it").value();
        said_ = *replay(file.bytes());
    }

    Result<std::vector<std::string>> replay(const std::string& bytes) const {
        emdb::detail::Sealer sealer(cipher_, key_, header_.file_id);
        const std::string path = "it";
        emdb::detail::JournalReplay replay(bytes_at(bytes, 0), bytes.size(), {header_.frame_seed(), &sealer}, path);
        Collector collector;
        if (auto ended = replay.run(collector); !ended) return std::move(ended).error();
        return std::move(collector.said);
    }

    /// Nothing but the truth, or a word on what has happened.
    void check_refused(const std::string& bytes, std::optional<ErrorCode> expected = ErrorCode::encryption_error) {
        ++checked_;
        const auto replayed = replay(bytes);
        if (replayed) {
            CHECK_MESSAGE(!expected, "it opens");
            CHECK_MESSAGE(*replayed == said_, "it opens and says something else");
            return;
        }
        const ErrorCode code = replayed.error().code();
        if (expected ? code == *expected : code == ErrorCode::encryption_error || code == ErrorCode::corrupted) return;
        FAIL_CHECK(emdb::to_string(code) << ": " << replayed.error().message());
    }

    std::uint64_t checked() const noexcept { return checked_; }

private:
    struct Collector {
        std::vector<std::string> said;
        Result<void> apply(std::uint64_t offset, const FrameView& frame) {
            said.push_back(std::to_string(offset) + "|" + std::to_string(frame.kind_and_flags) + "|" + std::to_string(frame.namespace_id) +
                           "|" + std::to_string(frame.expiry_unix_ms) + "|" + std::string(frame.key.as_string_view()) + "|" +
                           std::string(frame.value.as_string_view()));
            return {};
        }
    };

    Cipher cipher_;
    emdb::detail::Header header_;
    std::shared_ptr<emdb::detail::DataKey> key_;
    std::vector<std::string> said_;
    std::uint64_t checked_ = 0;
};

emdb::EmdbBuilder builder_of(const std::string& path) {
    emdb::EmdbBuilder builder;
    builder.path(path).encryption_key(encryption_key());
    return builder;
}

/// Frames of all kinds, many of one size, closed: every one of them is vouched for.
StolenFile make_file(Cipher cipher, const std::string& path) {
    for (int life = 0; life < 3; ++life) {
        Emdb db = builder_of(path).cipher(cipher).build().value();
        emdb::Namespace space = db.open_namespace("space").value();
        for (int i = 0; i < 40; ++i) {
            const std::string key = "key-" + std::to_string(10 + i);
            db.insert(key, "value " + std::to_string(10 + (i * 7 + life) % 90)).value();
            if (i % 8 == 0) space.insert_with_ttl(key, "x", emdb::Ttl::at(UINT64_MAX - static_cast<unsigned>(i))).value();
            if (i % 10 == 0) db.remove(key).value();
            if (i % 20 == 5) db.flush().value();
        }
        for (int i = 0; i < 3; ++i) {
            db.transaction([&](emdb::Transaction& t) -> Result<void> {
                for (const char* const key : {"one", "two", "six"}) {
                    if (auto put = t.insert(key, "member " + std::to_string(i)); !put) return put;
                }
                return {};
            }).value();
        }
        db.drop_namespace("space").value();
        space = db.open_namespace("space").value();
        space.insert("a", "b").value();
        space.clear().value();
        db.close().value();
    }
    return StolenFile(read_bytes(path));
}

/// What the whole database says of a file that was tampered with; it must not change it.
void check_database_refuses(const std::string& path, const std::string& bytes) {
    write_bytes(path, bytes);
    const auto opened = builder_of(path).build();
    REQUIRE_FALSE(opened);
    const bool named = opened.error().code() == ErrorCode::encryption_error || opened.error().code() == ErrorCode::corrupted;
    CHECK_MESSAGE(named, opened.error().message());
    CHECK(read_bytes(path) == bytes);
}

TEST_CASE("tampering: a flipped bit anywhere in any frame, its checksum recomputed or not") {
    TempFolder folder;
    for (const Cipher cipher : ciphers) {
        const std::string path = folder.file(std::to_string(static_cast<int>(cipher)));
        const StolenFile file = make_file(cipher, path);
        Owner owner(file, cipher);
        REQUIRE(file.frames().size() >= 200);
        std::uint64_t turn = 0;
        for (const StolenFile::Frame& frame : file.frames()) {
            INFO("frame at ", frame.offset, " of kind ", static_cast<int>(frame.kind));
            std::string bytes = file.bytes();
            const std::uint64_t step = every_bit() ? 1 : 5;
            for (std::uint64_t bit = turn++ % step; bit < frame.size * 8; bit += step) {
                const std::uint64_t byte = frame.offset + bit / 8;
                const std::byte mask = std::byte{1} << (bit % 8);
                *bytes_at(bytes, byte) ^= mask;
                if (byte >= frame.offset + 4) file.repair(bytes, frame.offset);
                // The last mark, damaged, is cut off as torn; it says nothing but that the rest is whole.
                owner.check_refused(bytes, std::nullopt);
                if (turn % 16 == 0 && bit % 40 < step && frame.end() != bytes.size()) check_database_refuses(path, bytes);
                bytes.replace(frame.offset, frame.size, file.at(frame));
            }
            CHECK(bytes == file.bytes());
        }
        MESSAGE(owner.checked() << " flipped bits in " << file.frames().size() << " frames");
    }
}

TEST_CASE("tampering: every kind and flag that a frame can pretend to have") {
    TempFolder folder;
    for (const Cipher cipher : ciphers) {
        const StolenFile file = make_file(cipher, folder.file(std::to_string(static_cast<int>(cipher))));
        Owner owner(file, cipher);
        for (const FrameKind kind : {FrameKind::put, FrameKind::remove, FrameKind::batch, FrameKind::namespace_create,
                                     FrameKind::namespace_drop, FrameKind::clear, FrameKind::session, FrameKind::sync_mark}) {
            const StolenFile::Frame frame = file.frames(kind).at(1);
            for (unsigned other = 0; other < 256; ++other) {
                if (static_cast<std::byte>(other) == *bytes_at(file.bytes(), frame.offset + 4)) continue;
                INFO("kind ", static_cast<int>(kind), " as ", other);
                std::string bytes = file.bytes();
                *bytes_at(bytes, frame.offset + 4) = static_cast<std::byte>(other);
                file.repair(bytes, frame.offset);
                // Kind 0 is no frame at all; a flag can make it end elsewhere, behind the end of the file.
                FrameView parsed;
                const bool parses = emdb::detail::parse_frame(bytes_at(bytes, frame.offset), bytes_at(bytes, bytes.size()), parsed);
                owner.check_refused(bytes, parses ? ErrorCode::encryption_error : ErrorCode::corrupted);
            }
        }
    }
}

TEST_CASE("tampering: frames that are moved, swapped, reordered or copied, sessions' too") {
    TempFolder folder;
    for (const Cipher cipher : ciphers) {
        const std::string path = folder.file(std::to_string(static_cast<int>(cipher)));
        const StolenFile file = make_file(cipher, path);
        Owner owner(file, cipher);
        const auto& frames = file.frames();
        for (std::size_t i = 0; i < frames.size(); ++i) {
            INFO("frame at ", frames[i].offset);
            std::size_t twins = 0;
            for (std::size_t j = i + 1; j < frames.size() && twins < 4; ++j) {
                if (frames[i].size != frames[j].size) continue;
                ++twins;
                owner.check_refused(file.with(frames[j].offset, file.at(frames[i])));  // a copy
                owner.check_refused(file.with(frames[i].offset, file.at(frames[j])));
                std::string swapped = file.with(frames[j].offset, file.at(frames[i]));
                swapped.replace(frames[i].offset, frames[i].size, file.at(frames[j]));
                file.repair(swapped, frames[i].offset);
                owner.check_refused(swapped);
                if (i % 20 == 0) check_database_refuses(path, swapped);
            }
            if (i + 1 == frames.size()) break;
            // Neighbours in the other order; left out; twice. What follows them moves, and is made valid where it comes to lie.
            const std::string before = file.bytes().substr(0, frames[i].offset);
            const std::string this_one(file.at(frames[i]));
            const std::string next(file.at(frames[i + 1]));
            const std::string rest = file.bytes().substr(frames[i + 1].end());
            for (const std::string& middle : {next + this_one, next, this_one + this_one + next}) {
                std::string bytes = before + middle + rest;
                for (std::uint64_t offset = before.size(); offset < bytes.size();) {
                    FrameView frame;
                    if (!emdb::detail::parse_frame(bytes_at(bytes, offset), bytes_at(bytes, bytes.size()), frame)) break;
                    file.repair(bytes, offset);
                    offset += frame.size;
                }
                owner.check_refused(bytes);
            }
        }
        MESSAGE(owner.checked() << " moved frames");
    }
}

TEST_CASE("tampering: members of batches are exchanged for those of others, or for what they were in another file's past") {
    TempFolder folder;
    for (const Cipher cipher : ciphers) {
        const StolenFile file = make_file(cipher, folder.file(std::to_string(static_cast<int>(cipher))));
        Owner owner(file, cipher);
        const auto& frames = file.frames();
        for (std::size_t i = 0; i < frames.size(); ++i) {
            if (frames[i].kind != FrameKind::batch) continue;
            for (std::size_t j = i + 4; j + 3 < frames.size(); ++j) {
                if (frames[j].kind != FrameKind::batch) continue;
                for (std::size_t member = 0; member <= 3; ++member) {
                    owner.check_refused(file.with(frames[i + member].offset, file.at(frames[j + member])));
                    owner.check_refused(file.with(frames[j + member].offset, file.at(frames[i + member])));
                }
            }
            // A member in the place of its batch's frame.
            owner.check_refused(file.with(frames[i].offset, std::string(file.at(frames[i + 1]))), std::nullopt);
        }
    }
}

TEST_CASE("tampering: what was cut off, or written in a copy, is put back in its very place") {
    TempFolder folder;
    for (const Cipher cipher : ciphers) {
        const auto write = [&](const std::string& path, const char* value, int count) {
            Emdb db = builder_of(path).cipher(cipher).build().value();
            for (int i = 0; i < count; ++i) {
                db.insert("key" + std::to_string(i), value).value();
                if (i % 3 == 2) db.flush().value();
            }
            db.close().value();
        };
        const std::string path = folder.file("a" + std::to_string(static_cast<int>(cipher)));
        write(path, "first", 4);
        const std::string common = read_bytes(path);
        write(path, "other", 12);
        write(path, "again", 12);
        const StolenFile former(read_bytes(path));
        write_bytes(path, common);  // restored
        write(path, "third", 12);
        write(path, "tenth", 12);
        const StolenFile file(read_bytes(path));
        REQUIRE(file.bytes().size() == former.bytes().size());
        Owner owner(file, cipher);
        REQUIRE(owner.replay(former.bytes()));  // to have all of the file's past again is what nothing can tell
        for (const StolenFile::Frame& frame : former.frames()) {
            if (former.at(frame) == file.at(frame)) continue;
            INFO("frame at ", frame.offset);
            owner.check_refused(file.with(frame.offset, former.at(frame)));
            // From some session on all is of the other past, and before it, too.
            if (frame.offset == common.size()) continue;
            owner.check_refused(file.bytes().substr(0, frame.offset) + former.bytes().substr(frame.offset));
        }
        MESSAGE(owner.checked() << " frames put back");
    }
}

TEST_CASE("tampering: a tail that was torn and cut off is put back") {
    for (const Cipher cipher : ciphers) {
        DatabaseSettings settings;
        settings.cipher = cipher;
        SimulatedDisk disk(DiskSettings{.write_back_one_in = 0});
        std::string torn_bytes;
        const auto put = [](Emdb& db, const char* value) {
            for (int i = 0; i < 9; ++i) db.insert(std::to_string(i), value).value();
        };
        {
            Emdb db = open_database(disk, settings).value();
            db.insert("flushed", "value").value();
            db.flush().value();
            db.insert("a", "four").value();  // with the mark before it, as long as the frame of the session that will begin here
            put(db, "7 bytes");
            torn_bytes = disk.bytes_of(database_path);
            disk.cut_power();
        }
        const StolenFile torn(torn_bytes);
        SimulatedDisk rebooted(disk.crashed().nothing_survived(), DiskSettings{.seed = 8, .write_back_one_in = 0});
        Emdb db = open_database(rebooted, settings).value();
        put(db, "bytes 7");
        db.close().value();
        const StolenFile file(rebooted.bytes_of(database_path));
        Owner owner(file, cipher);
        for (const StolenFile::Frame& lost : torn.frames()) {
            for (const StolenFile::Frame& frame : file.frames()) {
                if (frame.offset == lost.offset && frame.size == lost.size && torn.at(lost) != file.at(frame)) {
                    owner.check_refused(file.with(frame.offset, torn.at(lost)));
                }
            }
        }
        CHECK(owner.checked() >= 9);
    }
}

TEST_CASE("tampering: plaintext frames and forged sessions are inserted, in the place of others or behind the end") {
    TempFolder folder;
    for (const Cipher cipher : ciphers) {
        const std::string path = folder.file(std::to_string(static_cast<int>(cipher)));
        const StolenFile file = make_file(cipher, path);
        Owner owner(file, cipher);
        const auto plain = [&](FrameKind kind, std::string_view key, std::string_view value, std::uint64_t offset) {
            emdb::detail::FrameContent content;
            content.kind = kind;
            content.key = key;
            content.value = value;
            emdb::detail::FrameHead head(content, file.header().frame_seed());
            head.finish(offset);
            return std::string(reinterpret_cast<const char*>(head.data()), head.size()).append(key).append(value);
        };
        const std::string mark(8, '\0');
        const std::string session_1(file.at(file.frames(FrameKind::session)[0]).substr(7));
        const std::string session_3(file.at(file.frames(FrameKind::session)[2]).substr(7));
        std::string session_4 = session_3;
        session_4[0] = 4;
        for (std::size_t i = 0; i <= file.frames().size(); i += 5) {
            const std::uint64_t offset = i < file.frames().size() ? file.frames()[i].offset : file.bytes().size();
            INFO("at ", offset);
            for (const std::string& frame :
                 {plain(FrameKind::put, "key-10", "forged", offset), plain(FrameKind::remove, "key-10", "", offset),
                  plain(FrameKind::clear, "", "", offset), plain(FrameKind::sync_mark, "", mark, offset),
                  plain(FrameKind::close_mark, "", mark, offset), plain(FrameKind::session, "", session_1, offset),
                  plain(FrameKind::session, "", session_3, offset), plain(FrameKind::session, "", session_4, offset),
                  plain(FrameKind::session, "", "short", offset), plain(FrameKind::batch, "", std::string(12, '\1'), offset)}) {
                if (offset < file.bytes().size() && std::string_view(file.bytes()).substr(offset).starts_with(frame)) continue;
                owner.check_refused(file.bytes().substr(0, offset) + frame + file.bytes().substr(offset));
                std::string instead = file.bytes();
                instead.replace(offset, frame.size(), frame);
                owner.check_refused(instead);
                if (i % 50 == 0) check_database_refuses(path, instead);
            }
        }
    }
}

TEST_CASE("tampering: every bit of both copies of the header is refused, healed from the other copy, or of no meaning") {
    TempFolder folder;
    const std::string path = folder.file("a");
    const StolenFile file = make_file(Cipher::aes_256_gcm, path);
    const SeenContents contents = [&] {
        Emdb db = builder_of(path).build().value();
        return contents_of(db);
    }();
    std::uint64_t refused = 0;
    std::uint64_t opened = 0;
    // The header is read as a database reads it, and every so often by a database.
    const auto memory = emdb::detail::make_memory_file().value();
    const auto judge = [&](const std::string& bytes, bool by_database) {
        memory->write_at(0, {bytes_at(bytes, 0), emdb::detail::journal_start}).value();
        const auto header = emdb::detail::read_header(*memory, path);
        std::optional<ErrorCode> code;
        if (!header) {
            code = header.error().code();
        } else if (!header->is_encrypted()) {
            code = ErrorCode::not_encrypted;
        } else {
            const auto key = emdb::detail::KeyBlock::unwrap(*header, EncryptionInput::key(encryption_key()), path);
            if (!key) code = key.error().code();
            if (key) CHECK(header->file_id == file.header().file_id);
            if (key) CHECK(header->hash_key_0 == file.header().hash_key_0);
            if (key) CHECK(header->next_namespace_id == file.header().next_namespace_id);
        }
        ++(code ? refused : opened);
        if (!by_database) return;
        write_bytes(path, bytes);
        auto db = builder_of(path).build();
        CHECK(db.has_value() == !code);
        if (code) {
            CHECK(db == *code);
            CHECK(read_bytes(path) == bytes);
        } else {
            CHECK(contents_of(*db) == contents);
        }
    };
    const auto repair = [](std::string& bytes, std::size_t slot) {
        std::byte* const at = bytes_at(bytes, slot * emdb::detail::header_slot_size);
        emdb::detail::store_le(at + 4092, emdb::detail::crc32c(at, 4092));
    };
    for (std::size_t bit = 0; bit < emdb::detail::header_slot_size * 8; ++bit) {
        const std::size_t byte = bit / 8;
        const std::byte mask = std::byte{1} << (bit % 8);
        if (byte >= 320 && bit % 8 != byte % 8 && !every_bit()) continue;
        const bool by_database = byte < 320 && byte % 4 == 0 && bit % 8 == byte / 4 % 8;
        CAPTURE(bit);
        std::string both = file.bytes();
        for (std::size_t slot = 0; slot < 2; ++slot) {
            std::string bytes = file.bytes();
            *bytes_at(bytes, slot * emdb::detail::header_slot_size + byte) ^= mask;
            const std::uint64_t refused_before = refused;
            judge(bytes, by_database);
            CHECK(refused == refused_before);  // the other one has the same to say
            if (byte < 4092) {
                repair(bytes, slot);
                judge(bytes, by_database);
            }
            *bytes_at(both, slot * emdb::detail::header_slot_size + byte) ^= mask;
        }
        const std::uint64_t opened_before = opened;
        judge(both, by_database);
        CHECK(opened == opened_before);
        repair(both, 0);
        repair(both, 1);
        judge(both, by_database);
        if (byte >= 72 && byte < 76) continue;  // a smallest id of 0 is 1, too
        const bool means_something = byte < 12 || (byte >= 16 && byte < 32) || (byte >= 40 && byte < 72) || (byte >= 128 && byte < 300);
        CHECK_MESSAGE((opened == opened_before) == means_something, "byte ", byte);
    }
    MESSAGE(refused << " headers refused, " << opened << " read all the same");
}

TEST_CASE("tampering: a database that is open finds what is forged under it, and tells it from damage") {
    TempFolder folder;
    for (const Cipher cipher : ciphers) {
        const std::string path = folder.file(std::to_string(static_cast<int>(cipher)));
        Emdb db = builder_of(path).cipher(cipher).enable_range_scans(true).build().value();
        db.insert("one", "first value").value();
        db.insert("two", "second valu").value();
        db.flush().value();
        const std::string bytes = read_bytes(path);
        std::uint64_t offset = emdb::detail::journal_start;
        std::vector<FrameView> frames;
        for (FrameView frame; emdb::detail::parse_frame(bytes_at(bytes, offset), bytes_at(bytes, bytes.size()), frame);) {
            frames.push_back(frame);
            offset += frame.size;
        }
        REQUIRE(frames.size() >= 3);
        const std::uint64_t one = static_cast<std::uint64_t>(frames[1].start - bytes_at(bytes, 0));
        const std::uint64_t two = one + frames[1].size;
        auto file = emdb::detail::native_environment().files().open(path, emdb::detail::OpenMode::read_write).value();
        const auto overwrite = [&](std::uint64_t at, std::string_view with) { file->write_at(at, std::as_bytes(std::span(with))).value(); };
        // The second record in the place of the first, with a checksum for that.
        std::string forged = bytes.substr(two, frames[1].size);
        std::string all = bytes;
        all.replace(one, forged.size(), forged);
        FrameView moved;
        REQUIRE(emdb::detail::parse_frame(bytes_at(all, one), bytes_at(all, all.size()), moved));
        std::uint32_t version = 0;
        const auto header = *emdb::detail::decode_header(std::span(bytes_at(bytes, 0), emdb::detail::header_slot_size), version);
        emdb::detail::store_frame_crc(bytes_at(all, one), moved.size, one, header.frame_seed());
        overwrite(one, std::string_view(all).substr(one, moved.size));
        CHECK(db.get("one") == ErrorCode::encryption_error);
        CHECK(db.get_zerocopy("one") == ErrorCode::encryption_error);
        CHECK(db.remove("one") == ErrorCode::encryption_error);
        CHECK(db.get("two").value() == "second valu");
        auto records = db.iter().value();
        for (const auto& record : records) CHECK(record.key == "two");
        CHECK(records.status() == ErrorCode::encryption_error);
        CHECK(db.compact() == ErrorCode::encryption_error);
        // A flipped bit, and nobody who would know how to hide it.
        all = bytes;
        all[one + moved.size - 1] ^= 1;
        overwrite(one, std::string_view(all).substr(one, moved.size));
        CHECK(db.get("one") == ErrorCode::corrupted);
        overwrite(one, std::string_view(bytes).substr(one, moved.size));
        CHECK(db.get("one").value() == "first value");
    }
}

}  // namespace
}  // namespace emdb_test
