// Recovery of a journal that may be anything behind its header. Opening, verify and salvage must agree about it, and what opens
// must be as good as any database.

#include "fuzz/fuzzing.hpp"

namespace emdb_fuzz {

namespace journal {

using emdb::detail::FrameKind;

// The input is the journal as it is.
void take_raw(Input& in, CraftedFile& file) { file.raw(in.rest()); }

// The input is frames whose checksums are put right one after the other, as far as there is a frame. One whose checksum is
// 0xFFFFFFFF keeps it.
void take_summed(Input& in, CraftedFile& file) {
    std::string journal(in.rest());
    std::size_t at = 0;
    emdb::detail::FrameView frame;
    while (at + emdb::detail::frame_size_min <= journal.size()) {
        std::byte* const start = data_of(journal) + at;
        if (!emdb::detail::parse_frame(start, data_of(journal) + journal.size(), frame)) break;
        if (emdb::detail::load_le<std::uint32_t>(start) != UINT32_MAX) {
            emdb::detail::store_frame_crc(start, frame.size, file.size() + at, file.header().frame_seed());
        }
        at += static_cast<std::size_t>(frame.size);
    }
    file.raw(journal);
}

struct Record {
    emdb::detail::FrameContent content;
    std::string key;
    std::string value;
};

std::string some_key(Input& in) {
    const std::uint8_t shape = in.byte();
    if (shape >= 250) return std::string(in.bytes(shape - 240));
    return shape < 200 ? "key " + std::to_string(shape % 20) : std::string(shape, 'k');
}

// A put or a remove.
Record some_record(Input& in) {
    Choices choices(in.byte());
    Record record;
    record.content.kind = choices.number(2) == 3 ? FrameKind::remove : FrameKind::put;
    record.content.namespace_id = choices.flag() ? static_cast<std::uint32_t>(choices.number(2)) : 0;
    const bool expires = choices.flag();
    record.key = some_key(in);
    if (record.content.kind == FrameKind::put) {
        if (expires) record.content.expiry_unix_ms = in.number(1 + in.byte() % 8);
        const std::uint8_t size = in.byte();
        record.value = size < 200 ? std::string(in.bytes(size)) : std::string(std::size_t{size} * 20, static_cast<char>(in.byte()));
    }
    return record;
}

void put_in(CraftedFile& file, Record& record) {
    record.content.key = record.key;
    record.content.value = record.value;
    file.frame(record.content);
}

// 0 nearly always: what a number in a frame is off by.
std::uint64_t error(Input& in) {
    const std::uint8_t kind = in.byte();
    if (kind < 224) return 0;
    return kind == 255 ? in.number(8) : std::uint64_t{0} + kind - 240;
}

void take_batch(Input& in, CraftedFile& file) {
    std::vector<Record> records(in.byte() % 8);
    std::uint64_t length = 0;
    for (Record& record : records) {
        record = some_record(in);
        record.content.key = record.key;
        record.content.value = record.value;
        length += record.content.frame_size();
    }
    const std::uint64_t count = records.size() + error(in);
    file.batch(length + error(in), static_cast<std::uint32_t>(count));
    for (Record& record : records) put_in(file, record);
}

// The input is what to put into the file.
void take_frames(Input& in, CraftedFile& file) {
    const std::uint8_t ending = in.byte();
    while (!in.empty() && file.size() < (1 << 20)) {
        switch (in.byte() % 12) {
            case 0:
            case 1:
            case 2: {
                Record record = some_record(in);
                put_in(file, record);
                break;
            }
            case 3:
            case 4: take_batch(in, file); break;
            case 5: file.frame(FrameKind::namespace_create, in.byte() % 5, "space " + std::to_string(in.byte() % 6)); break;
            case 6: file.frame(FrameKind::namespace_drop, in.byte() % 5); break;
            case 7: file.frame(FrameKind::clear, in.byte() % 5); break;
            case 8: file.mark(FrameKind::sync_mark, file.size() + error(in)); break;
            case 9: file.mark(FrameKind::close_mark, file.size() + error(in)); break;
            case 10: {
                const auto kind = static_cast<FrameKind>(in.byte());
                const std::string key = some_key(in);
                file.frame(kind, static_cast<std::uint32_t>(in.number(1)), key, in.bytes(in.byte()));
                break;
            }
            default: file.raw(in.byte() % 4 == 0 ? std::string(in.byte(), '\0') : std::string(in.bytes(in.byte() % 32)));
        }
    }
    // Torn off, or followed by free space.
    std::string& bytes = file.bytes();
    const std::size_t journal = bytes.size() - emdb::detail::journal_start;
    if (ending >= 200 && ending < 228) bytes.resize(bytes.size() - std::min<std::size_t>(journal, ending - 200U));
    if (ending >= 228) bytes.resize(bytes.size() + (ending - 227U) * 50U);
    if (ending < 60 && journal > 0) bytes[bytes.size() - 1 - std::min<std::size_t>(journal - 1, 4U * ending)] ^= 0x10;
}

}  // namespace journal

void fuzz_journal(Input in) {
    Choices choices(in.byte());
    CraftedFile file;
    switch (choices.number(2)) {
        case 0: journal::take_raw(in, file); break;
        case 1: journal::take_summed(in, file); break;
        default: journal::take_frames(in, file);
    }
    DatabaseSettings settings;
    settings.range_scans = choices.flag();
    settings.small_checkpoints = choices.flag();
    settings.mode = choices.flag() ? emdb::AppendMode::pwrite : emdb::AppendMode::automatic;
    const bool goes_on = choices.flag();
    const bool salvages = choices.flag();

    const auto disk = make_disk();
    put_file(*disk, database_path, file.bytes());
    const auto verified = expect(verify(*disk, database_path), "verify");
    auto opened = open_database(*disk, settings);
    if (opened.has_value() != verified.ok()) {
        throw BrokenPromise("verify and open do not agree whether there is damage: " +
                            (opened ? verified.damages.front().message() : opened.error().message()));
    }
    if (!opened) {
        check(opened == emdb::ErrorCode::corrupted || opened == emdb::ErrorCode::feature_disabled, "another error than of damage");
        check(disk->bytes_of(database_path) == file.bytes(), "a damaged file was changed");
        if (salvages) check_salvaged(*disk, {}, settings, std::nullopt);
        return;
    }
    emdb::Emdb db = std::move(*opened);
    Contents contents = read_contents(db);
    check(record_count(contents) == verified.live_records, "verify counts other records than iter");
    db = reopen(*disk, std::move(db), settings, contents, "at once");
    const auto settled = [&] { return expect(verify(*disk, database_path), "verifying after a close"); };
    if (salvages) {
        expect(db.close(), "close");
        check(settled().ok() && !settled().torn_tail, "a closed database is damaged");
        check_salvaged(*disk, {}, settings, contents);
        db = expect(open_database(*disk, settings), "opening after a look");
    }
    if (goes_on) {
        db = use(*disk, std::move(db), settings, contents);
        check_expired(*disk, db);
    }
}

}  // namespace emdb_fuzz
