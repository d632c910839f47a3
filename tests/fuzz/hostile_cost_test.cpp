// What files made to be expensive cost: memory not more than they hold, and work in proportion to their size, whatever they declare.
// Both are counted, not timed. A file of four times the size may cost at most six times as much; where work grows with the square of
// the size, it would be sixteen times.

#include "fuzz/fuzzing.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <numeric>

#include "fuzz/checkpoint_target.cpp"
#include "fuzz/cost_counters.hpp"
#include "fuzz/header_target.cpp"

namespace emdb_fuzz {
namespace {

using emdb::detail::FrameKind;

enum class Call : std::uint8_t { open, verify, salvage };
constexpr Call all_calls[]{Call::open, Call::verify, Call::salvage};
const char* name_of(Call call) { return call == Call::open ? "open" : call == Call::verify ? "verify" : "salvage"; }

Cost cost_of(Call call, SimulatedDisk& disk, const DatabaseSettings& settings = {}) {
    start_counting();
    if (call == Call::open) {
        auto opened = open_database(disk, settings);
        const Cost cost = stop_counting();  // what closing costs is another matter
        return cost;
    }
    if (call == Call::verify) {
        (void)verify(disk, database_path);
    } else {
        (void)salvage(disk, database_path, salvaged_path);
    }
    return stop_counting();
}

Cost cost_of(Call call, const std::string& file, const DatabaseSettings& settings = {}) {
    const auto disk = make_disk();
    put_file(*disk, database_path, file);
    return cost_of(call, *disk, settings);
}

/// `make` makes a file of about that size.
void check_linear(const std::function<std::string(std::size_t)>& make, std::size_t size = std::size_t{192} << 10) {
    for (const Call call : all_calls) {
        const std::string small = make(size);
        const std::string large = make(4 * size);
        const Cost once = cost_of(call, small);
        const Cost four_times = cost_of(call, large);
        CAPTURE(std::string(name_of(call)));
        CAPTURE(small.size());
        CAPTURE(once.steps);
        CAPTURE(four_times.steps);
        CHECK(once.steps > 100);  // steps are counted at all; a refusal takes few
        CHECK(four_times.steps < 6 * once.steps);
        CHECK(four_times.memory_peak < 6 * once.memory_peak + (1 << 20));
    }
}

/// A frame that is not intact, so that what follows is searched.
void break_here(CraftedFile& file) {
    file.put("broken", "broken");
    file.bytes().back() ^= 1;
}

std::string repeated(std::string_view pattern, std::size_t size) {
    std::string text;
    while (text.size() < size) text += pattern;
    return text;
}

// Work --------------------------------------------------------------------------------------------------------------------------

TEST_CASE("marks that vouch for nothing are each looked at once") {
    check_linear([](std::size_t size) {
        CraftedFile file;
        break_here(file);
        while (file.size() < size) file.mark(FrameKind::sync_mark, emdb::detail::journal_start);
        return file.bytes();
    });
}

TEST_CASE("bytes that look like marks everywhere cost as much as others") {
    check_linear([](std::size_t size) {
        CraftedFile file;
        break_here(file);
        file.raw(repeated(std::string_view("\x08\x00\x08", 3), size));
        return file.bytes();
    });
}

TEST_CASE("every batch is looked into once, whatever its head says about what follows") {
    for (const unsigned records : {0U, 1U, 20U}) {
        CAPTURE(records);
        check_linear([records](std::size_t size) {
            CraftedFile file;
            break_here(file);
            while (file.size() < size) {
                file.batch(size - file.size(), UINT32_MAX);
                for (unsigned i = 0; i < records; ++i) file.put("k", "v");
            }
            return file.bytes();
        });
    }
}

TEST_CASE("batches with one broken member each are searched once") {
    check_linear([](std::size_t size) {
        CraftedFile file;
        while (file.size() < size) {
            file.batch(200, 3);
            file.put("first", std::string(40, 'v'));
            file.put("second", std::string(40, 'v'));
            break_here(file);
        }
        return file.bytes();
    });
}

TEST_CASE("places that look like frames of great length are not summed up to their ends") {
    // Every sixth place begins a plausible put of 64 KiB, or of 2 MiB, of which none is intact.
    for (const std::string_view length : {std::string_view("\x80\x80\x04", 3), std::string_view("\x80\x80\x80\x01", 4)}) {
        CAPTURE(length.size());
        const auto body = [length](std::size_t size) { return repeated(std::string("\x01\x00", 2) + std::string(length), size); };
        SUBCASE("behind damage") {
            check_linear([&](std::size_t size) {
                CraftedFile file;
                break_here(file);
                file.raw(body(size));
                return file.bytes();
            }, std::size_t{1} << 20);
        }
        SUBCASE("behind a batch that is longer than the file") {
            check_linear([&](std::size_t size) {
                CraftedFile file;
                file.batch(std::uint64_t{1} << 40, 1);
                file.raw(body(size));
                return file.bytes();
            }, std::size_t{1} << 20);
        }
        SUBCASE("without a header") {
            check_linear([&](std::size_t size) {
                CraftedFile file;
                file.put("a", "b");
                file.put("c", "d");
                break_here(file);
                file.raw(body(size));
                std::memset(file.bytes().data() + 100, 1, 8000);
                return file.bytes();
            }, std::size_t{1} << 20);
        }
    }
}

TEST_CASE("a batch of many small members costs no more memory than it holds") {
    const auto make = [](std::size_t size) {
        CraftedFile file;
        const std::size_t member = emdb::detail::frame_size_min;
        const std::size_t count = (size - static_cast<std::size_t>(file.size())) / member;
        file.batch(count * member, static_cast<std::uint32_t>(count));
        for (std::size_t i = 0; i < count; ++i) file.frame(FrameKind::remove);
        return file.bytes();
    };
    check_linear(make);
    const std::string file = make(std::size_t{4} << 20);
    for (const Call call : all_calls) {
        CAPTURE(std::string(name_of(call)));
        CHECK(cost_of(call, file).memory_peak < file.size());
    }
}

TEST_CASE("clears cost what they clear") {
    check_linear([](std::size_t size) {
        CraftedFile file;
        while (file.size() < size / 2) file.put("key " + std::to_string(file.size()), "");
        while (file.size() < size) {
            file.put("key", "value");
            file.frame(FrameKind::clear);
        }
        return file.bytes();
    });
}

TEST_CASE("namespaces may have any ids") {
    // 2^32 has many multiples of each number that a hash table may have for its number of buckets.
    for (const std::uint32_t step : {1U, 541U, 1109U, 2357U, 5087U, 10273U, 20753U, 1U << 16}) {
        CAPTURE(step);
        std::uint32_t names = 0;
        check_linear([&](std::size_t size) {
            CraftedFile file;
            const std::size_t count = size / 64;
            for (std::size_t i = 1; i <= count; ++i) {
                file.frame(FrameKind::namespace_create, static_cast<std::uint32_t>(i * step), std::to_string(i));
            }
            for (std::size_t i = 1; i <= count; ++i) file.put("k", "v", static_cast<std::uint32_t>((count + 1 - i) * step));
            ++names;
            return file.bytes();
        }, std::size_t{48} << 10);
        CHECK(names != 0);
    }
}

// What reopening costs with a checkpoint of `count` of something.
void check_reopening(const std::function<void(SimulatedDisk&, emdb::Emdb&, unsigned count)>& work, unsigned count) {
    DatabaseSettings settings;
    settings.range_scans = true;
    settings.small_checkpoints = true;
    std::uint64_t steps[2];
    for (const unsigned times : {1U, 4U}) {
        const auto disk = make_disk();
        {
            emdb::Emdb db = expect(open_database(*disk, settings), "making a database");
            work(*disk, db, count * times);
            disk->kill_process();
        }
        disk->start_process();
        std::vector<std::string> log;
        start_counting();
        auto opened = open_database(*disk, settings, &log);
        steps[times / 4] = stop_counting().steps;
        REQUIRE(opened);
        const std::string all = std::accumulate(log.begin(), log.end(), std::string());
        CHECK(all.find("opened from its checkpoint") != std::string::npos);
    }
    CAPTURE(steps[0]);
    CAPTURE(steps[1]);
    CHECK(steps[1] < 6 * steps[0]);
}

TEST_CASE("a checkpoint of many namespaces is loaded in proportion") {
    check_reopening([](SimulatedDisk&, emdb::Emdb& db, unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            emdb::Namespace space = expect(db.open_namespace("space " + std::to_string(i)), "open_namespace");
            if (i % 16 == 0) expect(space.insert("key", "value"), "insert");
        }
        expect(db.checkpoint(), "checkpoint");
    }, 800);
}

TEST_CASE("clears behind a checkpoint cost what they clear") {
    check_reopening([](SimulatedDisk&, emdb::Emdb& db, unsigned count) {
        const auto fill = [&](const std::string& value) {
            std::vector<std::pair<std::string, std::string>> records;
            for (unsigned i = 0; i < 4 * count; ++i) records.emplace_back("key " + std::to_string(i), value);
            expect(db.insert_many(records), "insert_many");
        };
        fill("first");
        expect(db.checkpoint(), "checkpoint");
        fill("second");
        for (unsigned i = 0; i < count; ++i) {
            expect(db.clear(), "clear");
            expect(db.insert("key", "value"), "insert");
        }
    }, 500);
}

// Memory ------------------------------------------------------------------------------------------------------------------------

/// For a small file: nothing that an open, verify or salvage of it allocates has to do with what it declares.
void check_small(const std::string& file, const std::string& meta = "") {
    REQUIRE(file.size() + meta.size() < 64 << 10);
    for (const Call call : all_calls) {
        const auto disk = make_disk();
        put_file(*disk, database_path, file);
        if (!meta.empty()) put_file(*disk, meta_path, meta);
        DatabaseSettings settings;
        settings.small_checkpoints = true;
        settings.range_scans = true;
        const Cost cost = cost_of(call, *disk, settings);
        CAPTURE(std::string(name_of(call)));
        CHECK(cost.allocation_largest <= 1 << 20);
        CHECK(cost.memory_peak <= 3 << 20);
    }
}

/// A frame whose head declares these lengths, with a good checksum over what there is.
void declare(CraftedFile& file, FrameKind kind, std::uint64_t key_size, std::uint64_t value_size, std::string_view there) {
    std::byte head[emdb::detail::frame_head_size_max] = {};
    std::byte* at = head + 4;
    *at++ = static_cast<std::byte>(kind);
    at = emdb::detail::put_varint(at, key_size);
    at = emdb::detail::put_varint(at, value_size);
    std::string frame(reinterpret_cast<const char*>(head), static_cast<std::size_t>(at - head));
    frame += there;
    emdb::detail::store_frame_crc(data_of(frame), frame.size(), file.size(), file.header().frame_seed());
    file.raw(frame);
}

TEST_CASE("declared lengths of keys and values allocate nothing") {
    constexpr std::uint64_t keys[]{0, 1, emdb::detail::key_size_max, emdb::detail::key_size_max + 1, UINT32_MAX, UINT64_MAX};
    constexpr std::uint64_t values[]{0, 1 << 20, emdb::detail::value_size_max, emdb::detail::value_size_max + 1, UINT64_MAX / 2,
                                     UINT64_MAX};
    for (const std::uint64_t key : keys) {
        for (const std::uint64_t value : values) {
            for (const FrameKind kind : {FrameKind::put, FrameKind::remove, FrameKind::namespace_create}) {
                CraftedFile file;
                file.put("a", "b");
                declare(file, kind, key, value, "what there is");
                file.put("c", "d");
                check_small(file.bytes());
            }
        }
    }
}

TEST_CASE("declared lengths and counts of batches allocate nothing") {
    for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{9}, std::uint64_t{1} << 31, UINT64_MAX - 8192, UINT64_MAX}) {
        for (const std::uint32_t count : {0U, 1U, 1U << 20, UINT32_MAX}) {
            CraftedFile file;
            file.batch(length, count);
            file.put("a", "b");
            check_small(file.bytes());
        }
    }
}

TEST_CASE("declared sizes of a checkpoint allocate nothing") {
    constexpr std::uint64_t sizes[]{1U << 20, 1U << 31, UINT32_MAX, std::uint64_t{1} << 58, UINT64_MAX / 24, UINT64_MAX / 8, UINT64_MAX};
    const auto disk = make_disk();
    DatabaseSettings settings;
    settings.small_checkpoints = true;
    settings.range_scans = true;
    {
        emdb::Emdb db = expect(open_database(*disk, settings), "making a database");
        for (unsigned i = 0; i < 10; ++i) expect(db.insert_with_ttl(std::to_string(i), "v", emdb::Ttl::at(1000)), "insert");
        expect(db.open_namespace("space"), "open_namespace");
        expect(db.close(), "close");
    }
    const std::string journal = disk->bytes_of(database_path);
    const std::string meta = disk->bytes_of(meta_path);
    check_small(journal, meta);
    // Every number of the directory, as of 4 and of 8 bytes, and where the directory is, with checksums put right.
    const auto directory = static_cast<std::size_t>(checkpoint::load(meta, 64, 8));
    for (const std::uint64_t size : sizes) {
        for (std::size_t at = directory; at < std::min(meta.size(), directory + 4 + 32 + 2 * 56); at += 4) {
            for (const std::size_t width : {4U, 8U}) {
                std::string changed = meta;
                checkpoint::store(changed, at, width, size);
                checkpoint::forge(changed, journal);
                check_small(journal, changed);
            }
        }
        for (const std::size_t at : {64U, 72U}) {
            std::string changed = meta;
            checkpoint::store(changed, at, 8, size);
            constexpr std::size_t crc_at = emdb::detail::meta_header_size - 4;
            checkpoint::store(changed, crc_at, 4, checkpoint::sum(changed, 0, crc_at));
            check_small(journal, changed);
        }
    }
}

TEST_CASE("a passphrase's declared memory is refused before it is asked for") {
    const header::Base& base = header::base(2);
    for (const std::uint32_t memory_kib : {0U, 8U * 1024 - 1, 1024U * 1024 + 1, UINT32_MAX}) {
        std::string file = base.file;
        for (unsigned slot = 0; slot < 2; ++slot) {
            std::byte* const at = header::slot_of(file, slot);
            emdb::detail::store_le(at + header::block_at + 4, memory_kib);
            emdb::detail::store_le(at + 4092, emdb::detail::crc32c(at, 4092));
        }
        const auto disk = make_disk();
        put_file(*disk, database_path, file);
        start_counting();
        const auto opened = header::open_with(*disk, header::Secret::passphrase);
        const Cost cost = stop_counting();
        CHECK(opened == emdb::ErrorCode::corrupted);
        CHECK(cost.memory_peak < 1 << 20);
        CHECK(cost.steps < 1'000'000);
    }
}

}  // namespace
}  // namespace emdb_fuzz
