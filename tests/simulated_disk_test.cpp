// The simulated disk itself: that it loses what a disk may lose, tears where a disk may tear, and keeps what it has promised.
// A simulator that is too kind makes every power-cut test pass.

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/simulated_disk.hpp"

namespace emdb_test {

using emdb::detail::File;
using emdb::detail::FileKind;
using emdb::detail::Mapping;
using emdb::detail::OpenMode;
using emdb::detail::is_not_found;

namespace {

const std::string path = "/disk/file";
constexpr std::uint64_t rounds = 400;

/// Nothing happens in the background unless a test asks for it.
DiskSettings quiet(std::uint64_t seed = 1) {
    DiskSettings settings;
    settings.seed = seed;
    settings.write_back_one_in = 0;
    return settings;
}

std::span<const std::byte> bytes(std::string_view text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string sectors(std::size_t count, char fill) { return std::string(count * sector_size, fill); }

std::unique_ptr<File> open(SimulatedDisk& disk, const std::string& name, OpenMode mode = OpenMode::read_write) {
    return disk.files().open(name, mode).value();
}

/// A file with a durable name and durable contents.
std::unique_ptr<File> durable_file(SimulatedDisk& disk, std::string_view contents, const std::string& name = path) {
    auto file = open(disk, name, OpenMode::create_new);
    file->write_at(0, bytes(contents)).value();
    file->sync().value();
    disk.files().sync_directory_of(name).value();
    return file;
}

std::string read_all(File& file) {
    std::string text(static_cast<std::size_t>(file.size().value()), '\0');
    const auto into = std::as_writable_bytes(std::span(text.data(), text.size()));
    REQUIRE(file.read_at(0, into).value() == text.size());
    return text;
}

/// The file after a power cut now and one random reboot; nullopt: it is gone.
std::optional<std::string> after_power_cut(SimulatedDisk& disk, std::uint64_t seed, const std::string& name = path) {
    disk.cut_power();
    SeededRandom random(seed);
    const DiskImage image = disk.crashed().random_outcome(random);
    const auto found = image.files.find(name);
    if (found == image.files.end()) return std::nullopt;
    return found->second.bytes();
}

/// One character a sector; '?' for a sector that is not all the same.
std::string summary(std::string_view contents) {
    std::string result;
    for (std::size_t at = 0; at < contents.size(); at += sector_size) {
        const std::string_view sector = contents.substr(at, sector_size);
        const bool uniform = sector.find_first_not_of(sector[0]) == std::string_view::npos;
        result += !uniform ? '?' : sector[0] == '\0' ? '0' : sector[0];
    }
    return result;
}

}  // namespace

TEST_CASE("simulated disk: what was synced survives every power cut") {
    for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
        SimulatedDisk disk;
        const auto file = durable_file(disk, sectors(5, 'a') + "tail");
        CHECK(after_power_cut(disk, seed) == sectors(5, 'a') + "tail");
    }
}

TEST_CASE("simulated disk: an unsynced write survives, vanishes, or tears into sectors in any order") {
    std::set<std::string> seen;
    for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
        SimulatedDisk disk(quiet(seed));
        const auto file = durable_file(disk, sectors(3, 'a'));
        file->write_at(0, bytes(sectors(3, 'b'))).value();
        CHECK(read_all(*file) == sectors(3, 'b'));
        seen.insert(summary(after_power_cut(disk, seed).value()));
    }
    const std::set<std::string> whole{"aaa", "aab", "aba", "abb", "baa", "bab", "bba", "bbb"};
    CHECK(std::includes(seen.begin(), seen.end(), whole.begin(), whole.end()));
    CHECK(seen.size() > whole.size());  // within a sector, too, though disks say they don't
    for (const std::string& sectors : seen) CHECK(std::count(sectors.begin(), sectors.end(), '?') <= 1);
}

/// Some of the new bytes, and then the old ones.
bool is_new_then_old(std::string_view bytes, char now, char before) {
    const std::size_t first_old = (std::min)(bytes.find_first_not_of(now), bytes.size());
    return bytes.find_first_not_of(before, first_old) == std::string_view::npos;
}

TEST_CASE("simulated disk: a sector is torn at one byte at most, and bytes beside a write in the same sector stay") {
    for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
        SimulatedDisk disk(quiet(seed));
        const auto file = durable_file(disk, sectors(2, 'a'));
        file->write_at(500, bytes(std::string(24, 'b'))).value();
        const std::string survived = after_power_cut(disk, seed).value();
        REQUIRE(survived.size() == 1024);
        CHECK(survived.substr(0, 500) == std::string(500, 'a'));
        CHECK(is_new_then_old(survived.substr(500, 12), 'b', 'a'));
        CHECK(is_new_then_old(survived.substr(512, 12), 'b', 'a'));
        CHECK(survived.substr(524) == std::string(500, 'a'));
    }
}

TEST_CASE("simulated disk: both extremes come up often enough to be tested") {
    std::uint64_t all = 0;
    std::uint64_t none = 0;
    std::uint64_t all_but_one = 0;
    for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
        SimulatedDisk disk(quiet());
        const auto file = durable_file(disk, sectors(40, 'a'));
        file->write_at(0, bytes(sectors(40, 'b'))).value();
        const std::string survived = summary(after_power_cut(disk, seed).value());
        const auto new_sectors = std::count(survived.begin(), survived.end(), 'b');
        all += new_sectors == 40;
        none += new_sectors == 0;
        all_but_one += new_sectors == 39;
    }
    CHECK(all > rounds / 20);
    CHECK(none > rounds / 100);
    CHECK(all_but_one > rounds / 20);
    CHECK(all + none + all_but_one < rounds * 3 / 4);
}

TEST_CASE("simulated disk: an older version of a sector may survive where the background wrote it back") {
    bool middle_survived = false;
    bool mixed = false;
    for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
        DiskSettings settings = quiet(seed);
        settings.write_back_one_in = 2;
        SimulatedDisk disk(settings);
        const auto file = durable_file(disk, sectors(2, 'a'));
        file->write_at(0, bytes(sectors(2, 'b'))).value();
        for (int i = 0; i < 4; ++i) disk.tick();
        file->write_at(0, bytes(sectors(2, 'c'))).value();
        const std::string survived = summary(after_power_cut(disk, seed).value());
        middle_survived |= survived == "bb";
        mixed |= survived == "bc" || survived == "cb" || survived == "ab" || survived == "ba";
    }
    CHECK(middle_survived);
    CHECK(mixed);
}

TEST_CASE("simulated disk: stores through a mapping are seen by reads, lost by power cuts, kept by syncs") {
    std::set<std::string> seen;
    for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
        SimulatedDisk disk(quiet(seed));
        const auto file = durable_file(disk, "");
        file->allocate(0, 8192).value();
        Mapping window = file->map_writable(4096, 4096).value();
        const Mapping view = file->map_read_only(0, 1 << 20).value();
        std::memset(window.data(), 'm', sector_size);
        CHECK(static_cast<char>(view.data()[4096]) == 'm');
        CHECK(summary(read_all(*file)) == "00000000m0000000");
        file->sync().value();
        std::memset(window.data() + sector_size, 'n', sector_size);
        if (seed % 2 == 0) window = Mapping();  // a mapping that is gone has been written through all the same
        std::string survived = summary(after_power_cut(disk, seed).value());
        CHECK(survived.substr(0, 9) == "00000000m");
        seen.insert(survived.substr(9));
    }
    CHECK(seen == std::set<std::string>{"0000000", "n000000", "?000000"});
}

TEST_CASE("simulated disk: an unsynced length may be lost, longer or shorter") {
    std::set<std::size_t> grown;
    std::set<std::size_t> cut;
    for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
        SimulatedDisk disk(quiet(seed));
        const auto file = durable_file(disk, sectors(1, 'a'));
        file->allocate(0, 4096).value();
        grown.insert(after_power_cut(disk, seed).value().size());

        SimulatedDisk other(quiet(seed));
        const auto shrunk = durable_file(other, sectors(4, 'a'));
        shrunk->truncate(100).value();
        shrunk->write_at(100, bytes("bcd")).value();
        const std::string survived = after_power_cut(other, seed).value();
        cut.insert(survived.size());
        CHECK(survived.substr(0, 100) == std::string(100, 'a'));
    }
    CHECK(grown == std::set<std::size_t>{512, 4096});
    CHECK(cut == std::set<std::size_t>{100, 103, 2048});
}

TEST_CASE("simulated disk: a cut file reads as zeros when it grows again") {
    SimulatedDisk disk;
    const auto file = durable_file(disk, std::string(10000, 'a'));
    file->truncate(10).value();
    file->truncate(9000).value();
    CHECK(read_all(*file) == std::string(10, 'a') + std::string(8990, '\0'));
    file->sync().value();
    CHECK(after_power_cut(disk, 3).value() == std::string(10, 'a') + std::string(8990, '\0'));
}

TEST_CASE("simulated disk: a new name may be lost until its directory is synced, even if the contents were synced") {
    bool lost = false;
    bool kept = false;
    for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
        SimulatedDisk disk(quiet(seed));
        const auto file = open(disk, path, OpenMode::create_new);
        file->write_at(0, bytes("contents")).value();
        file->sync().value();
        const std::optional<std::string> survived = after_power_cut(disk, seed);
        lost |= !survived.has_value();
        kept |= survived == "contents";
        CHECK((!survived || survived == "contents"));
    }
    CHECK(lost);
    CHECK(kept);
}

TEST_CASE("simulated disk: a rename replaces whole or not at all, and is kept once its directory is synced") {
    const std::string temporary = path + ".tmp";
    std::set<std::string> outcomes;
    for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
        SimulatedDisk disk(quiet(seed));
        const auto before = durable_file(disk, "old");
        const auto after = durable_file(disk, "new", temporary);
        disk.files().rename_replacing(temporary, path).value();
        CHECK_FALSE(disk.exists(temporary));
        if (seed % 2 == 0) disk.files().sync_directory_of(path).value();
        disk.cut_power();
        SeededRandom random(seed);
        const DiskImage image = disk.crashed().random_outcome(random);
        REQUIRE(image.files.contains(path));
        const std::string text = image.files.at(path).bytes();
        CHECK(image.files.contains(temporary) == (text == "old"));
        if (seed % 2 == 0) {
            CHECK(text == "new");
        } else {
            outcomes.insert(text);
        }
    }
    CHECK(outcomes == std::set<std::string>{"old", "new"});
}

TEST_CASE("simulated disk: unsynced changes of names survive in any combination, each file under one name") {
    std::set<std::string> outcomes;
    for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
        SimulatedDisk disk(quiet(seed));
        const auto a = durable_file(disk, "A", "/disk/a");
        disk.files().rename_replacing("/disk/a", "/disk/b").value();
        disk.files().rename_replacing("/disk/b", "/disk/c").value();
        disk.files().remove("/disk/c").value();
        disk.files().remove("/disk/never was").value();
        disk.cut_power();
        SeededRandom random(seed);
        const DiskImage image = disk.crashed().random_outcome(random);
        REQUIRE(image.files.size() <= 1);
        outcomes.insert(image.files.empty() ? "gone" : image.files.begin()->first);
    }
    CHECK(outcomes == std::set<std::string>{"/disk/a", "/disk/b", "/disk/c", "gone"});
}

TEST_CASE("simulated disk: rename_if_absent keeps what is there") {
    SimulatedDisk disk;
    const auto first = durable_file(disk, "first");
    const auto second = durable_file(disk, "second", "/disk/second");
    CHECK_FALSE(disk.files().rename_if_absent("/disk/second", path).value());
    CHECK(disk.bytes_of(path) == "first");
    CHECK(disk.files().rename_if_absent("/disk/second", "/disk/third").value());
    CHECK(disk.bytes_of("/disk/third") == "second");
    CHECK(is_not_found(disk.files().rename_if_absent("/disk/second", "/disk/fourth").error()));
}

TEST_CASE("simulated disk: sectors that a failed sync marked clean are lost unless they are written again") {
    bool lost = false;
    for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
        const bool marks_clean = seed % 4 != 3;
        const bool rewritten = seed % 4 == 1;
        const bool stored_to = seed % 4 == 2;
        SimulatedDisk disk(quiet(seed));
        const auto file = durable_file(disk, sectors(8, 'a'));
        file->write_at(sector_size, bytes(sectors(2, 'b'))).value();
        Fault fault;
        fault.only = Operation::sync;
        fault.sync_marks_clean = marks_clean;
        disk.fail(fault);
        CHECK(file->sync().error().os_error() == os_io);
        CHECK(summary(read_all(*file)) == "abbaaaaa");  // readers can't tell
        if (rewritten) file->write_at(sector_size, bytes(sectors(2, 'b'))).value();
        if (stored_to) {
            const Mapping window = file->map_writable(0, 4096).value();
            window.data()[sector_size] = window.data()[2 * sector_size] = std::byte{'c'};
        }
        file->sync().value();
        const std::string survived = summary(after_power_cut(disk, seed).value());
        if (rewritten || !marks_clean) {
            CHECK(survived == "abbaaaaa");
        } else if (stored_to) {
            CHECK(survived == "a??aaaaa");
        } else {
            lost |= survived != "abbaaaaa";
        }
    }
    CHECK(lost);
}

TEST_CASE("simulated disk: the power goes at the operation asked for, and stays off") {
    SimulatedDisk disk(quiet());
    const auto file = durable_file(disk, sectors(4, 'a'));
    const Mapping window = file->map_writable(0, 2048).value();
    disk.cut_power_at(disk.operation_count() + 2);
    file->write_at(0, bytes(sectors(1, 'b'))).value();
    CHECK(disk.power_is_on());
    CHECK(file->sync() == emdb::ErrorCode::io);
    CHECK_FALSE(disk.power_is_on());
    std::memset(window.data(), 'z', 2048);  // a dying program goes on storing into nothing
    CHECK(file->write_at(0, bytes("no")).error().message().find("the power is off") != std::string::npos);
    CHECK(disk.files().status(path) == emdb::ErrorCode::io);
    CHECK(summary(disk.crashed().everything_survived().files.at(path).bytes()) == "baaa");
    CHECK(summary(disk.crashed().nothing_survived().files.at(path).bytes()) == "aaaa");
}

TEST_CASE("simulated disk: a write that the power interrupts is there in part") {
    std::set<std::size_t> parts;
    for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
        SimulatedDisk disk(quiet(seed));
        const auto file = durable_file(disk, std::string(4, 'a'));
        disk.cut_power_at(disk.operation_count() + 1);
        CHECK_FALSE(file->write_at(0, bytes("bbbb")));
        const std::string most = disk.crashed().everything_survived().files.at(path).bytes();
        const std::size_t written = most.find('a') == std::string::npos ? 4 : most.find('a');
        CHECK(most == std::string(written, 'b') + std::string(4 - written, 'a'));
        parts.insert(written);
    }
    CHECK(parts == std::set<std::size_t>{0, 1, 2, 3, 4});
}

TEST_CASE("simulated disk: all outcomes of a small crash can be enumerated, each once") {
    SimulatedDisk disk(quiet());
    const auto file = durable_file(disk, sectors(6, 'a'));
    file->write_at(0, bytes(sectors(1, 'b'))).value();
    file->write_at(2 * sector_size, bytes(sectors(2, 'b'))).value();
    file->truncate(6 * sector_size + 1).value();
    disk.files().rename_replacing(path, path + "2").value();
    disk.cut_power();
    const CrashedDisk& crashed = disk.crashed();
    CHECK(crashed.dirty_sector_count() == 3);
    REQUIRE(crashed.outcome_count() == 32);
    std::set<std::string> distinct;
    for (std::uint64_t i = 0; i < 32; ++i) {
        const DiskImage image = crashed.outcome(i);
        REQUIRE(image.files.size() == 1);
        distinct.insert(image.files.begin()->first + image.files.begin()->second.bytes());
    }
    CHECK(distinct.size() == 32);
    CHECK(crashed.outcome(0).files.at(path).bytes() == sectors(6, 'a'));
    CHECK(summary(crashed.outcome(31).files.at(path + "2").bytes()) == "babbaa0");
}

TEST_CASE("simulated disk: a crash too large to enumerate says so") {
    SimulatedDisk disk(quiet());
    const auto file = durable_file(disk, "");
    file->write_at(0, bytes(sectors(100, 'x'))).value();
    disk.cut_power();
    CHECK(disk.crashed().outcome_count() == std::numeric_limits<std::uint64_t>::max());
}

TEST_CASE("simulated disk: one crash can be rebooted again and again, and each reboot goes its own way") {
    SimulatedDisk disk(quiet());
    const auto file = durable_file(disk, sectors(20, 'a'));
    file->write_at(0, bytes(sectors(20, 'b'))).value();
    disk.cut_power();
    std::set<std::string> seen;
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        SeededRandom random(seed);
        SimulatedDisk rebooted(disk.crashed().random_outcome(random), quiet(seed));
        const auto reopened = open(rebooted, path);
        const std::string found = read_all(*reopened);
        seen.insert(summary(found));
        // What a machine found at start is durable: it does not change with the next power cut.
        reopened->write_at(0, bytes("x")).value();
        rebooted.cut_power();
        CHECK(rebooted.crashed().nothing_survived().files.at(path).bytes() == found);
    }
    CHECK(seen.size() > 10);
    CHECK(summary(disk.crashed().nothing_survived().files.at(path).bytes()) == sectors(20, 'a').substr(0, 20));
}

TEST_CASE("simulated disk: the same seed gives the same run") {
    const auto run = [](std::uint64_t seed) {
        DiskSettings settings = quiet(seed);
        settings.write_back_one_in = 3;
        SimulatedDisk disk(settings);
        const auto file = durable_file(disk, sectors(30, 'a'));
        std::array<std::byte, 16> noise{};
        disk.fill_random(noise).value();
        file->write_at(0, noise).value();
        file->write_at(600, bytes(sectors(10, 'b'))).value();
        for (int i = 0; i < 10; ++i) disk.tick();
        return after_power_cut(disk, seed).value() + disk.trace();
    };
    CHECK(run(1) == run(1));
    CHECK(run(1) != run(2));
}

TEST_CASE("simulated disk: faults hit the operation asked for, once or from then on") {
    SimulatedDisk disk(quiet());
    const auto file = durable_file(disk, "abc");
    Fault fault;
    fault.only = Operation::write;
    fault.nth = 2;
    fault.os_error = os_no_space;
    disk.fail(fault);
    CHECK(file->write_at(0, bytes("1")));
    CHECK(file->sync());
    const auto failed = file->write_at(0, bytes("2"));
    CHECK(failed == emdb::ErrorCode::io);
    CHECK(failed.error().os_error() == os_no_space);
    CHECK(file->write_at(0, bytes("3")));
    CHECK(disk.faults_injected() == 1);

    fault = Fault();
    fault.from_then_on = true;
    disk.fail(fault);
    CHECK_FALSE(file->size());
    CHECK_FALSE(file->sync());
    CHECK_FALSE(disk.files().open(path, OpenMode::read_only));
    CHECK_FALSE(disk.files().sync_directory_of(path));
    std::array<std::byte, 4> noise{};
    CHECK_FALSE(disk.fill_random(noise));
    disk.stop_failing();
    CHECK(file->sync());
}

TEST_CASE("simulated disk: a failed directory sync or rename changes nothing durable") {
    SimulatedDisk disk(quiet());
    const auto file = durable_file(disk, "abc");
    Fault fault;
    fault.only = Operation::rename_replacing;
    disk.fail(fault);
    CHECK_FALSE(disk.files().rename_replacing(path, "/disk/other"));
    CHECK(disk.exists(path));
    disk.files().rename_replacing(path, "/disk/other").value();
    fault.only = Operation::sync_directory;
    disk.fail(fault);
    CHECK_FALSE(disk.files().sync_directory_of(path));
    disk.cut_power();
    CHECK(disk.crashed().nothing_survived().files.contains(path));
    CHECK(disk.crashed().everything_survived().files.contains("/disk/other"));
}

TEST_CASE("simulated disk: a full disk refuses writes and allocations, and takes them again when there is room") {
    SimulatedDisk disk(quiet());
    disk.set_capacity(8192);
    const auto file = durable_file(disk, "abc");
    CHECK(emdb::detail::is_out_of_space(file->allocate(0, 8193).error()));
    CHECK(emdb::detail::is_out_of_space(file->write_at(8190, bytes("abc")).error()));
    CHECK(file->allocate(0, 8192));
    const auto second = open(disk, "/disk/second", OpenMode::create_new);
    CHECK_FALSE(second->write_at(0, bytes("x")));
    disk.set_capacity(10000);
    CHECK(second->write_at(0, bytes("x")));
}

TEST_CASE("simulated disk: a lock belongs to one open file and ends with it") {
    SimulatedDisk disk;
    auto first = durable_file(disk, "");
    auto second = open(disk, path);
    CHECK(first->try_lock().value());
    CHECK_FALSE(second->try_lock().value());
    CHECK(second->is_locked_by_other().value());
    CHECK_FALSE(first->is_locked_by_other().value());
    second.reset();
    second = open(disk, path);
    CHECK_FALSE(second->try_lock().value());
    first.reset();
    CHECK_FALSE(second->is_locked_by_other().value());
    CHECK(second->try_lock().value());
}

TEST_CASE("simulated disk: readers share a lock that writers do not get") {
    SimulatedDisk disk;
    auto writer = durable_file(disk, "");
    auto first = open(disk, path, OpenMode::read_only);
    auto second = open(disk, path, OpenMode::read_only);
    CHECK(first->try_lock().value());
    CHECK(second->try_lock().value());
    CHECK(writer->is_locked_by_other().value());
    CHECK_FALSE(writer->try_lock().value());
    first.reset();
    CHECK_FALSE(writer->try_lock().value());
    second.reset();
    CHECK(writer->try_lock().value());
}

TEST_CASE("simulated disk: names, kinds and identities") {
    SimulatedDisk disk;
    auto& files = disk.files();
    CHECK(files.status("/disk").value().kind == FileKind::directory);
    CHECK(files.status(path).value().kind == FileKind::absent);
    CHECK(is_not_found(files.open(path, OpenMode::read_write).error()));
    CHECK(is_not_found(files.open("/missing/file", OpenMode::create_new).error()));
    const auto file = durable_file(disk, "abc");
    CHECK(files.open(path, OpenMode::create_new).error().os_error() == os_exists);
    CHECK(files.status(path).value().kind == FileKind::regular);
    CHECK(files.status(path).value().size == 3);
    CHECK(files.status(path).value().identity == file->identity().value());
    files.rename_replacing(path, "/disk/moved").value();
    CHECK(files.status("/disk/moved").value().identity == file->identity().value());
    files.create_directories("/disk/some/where").value();
    CHECK(files.open("/disk/some/where/file", OpenMode::create_new));
}

TEST_CASE("simulated disk: a removed file can be used as long as it is open, and a mapping longer than that") {
    SimulatedDisk disk;
    Mapping view;
    {
        const auto file = durable_file(disk, "still here");
        disk.files().remove(path).value();
        disk.files().sync_directory_of(path).value();
        CHECK(read_all(*file) == "still here");
        view = file->map_read_only(0, 4096).value();
    }
    CHECK(std::memcmp(view.data(), "still here", 10) == 0);
}

TEST_CASE("simulated disk: breaches of the contract are refused and remembered") {
    SimulatedDisk disk(quiet());
    const auto file = durable_file(disk, "");
    CHECK(disk.violations().empty());
    CHECK_FALSE(file->map_writable(0, 4096));                     // not allocated
    file->truncate(8192).value();
    CHECK_FALSE(file->map_writable(0, 4096));                     // a hole
    file->allocate(0, 8192).value();
    CHECK(file->map_writable(0, 4096));
    CHECK_FALSE(file->map_writable(100, 100));                    // not aligned
    CHECK_FALSE(file->map_read_only(0, 0));
    const auto reader = open(disk, path, OpenMode::read_only);
    CHECK_FALSE(reader->write_at(0, bytes("x")));
    CHECK_FALSE(reader->truncate(0));
    CHECK(disk.violations().size() == 6);

    DiskSettings settings = quiet();
    settings.keeps_allocation = settings.maps_past_end = false;
    SimulatedDisk other(settings);
    const auto plain = durable_file(other, "abc");
    CHECK_FALSE(plain->map_writable(0, 3));
    CHECK_FALSE(plain->map_read_only(0, 4));
    CHECK(plain->map_read_only(0, 3));
    CHECK(other.violations().size() == 2);
}

TEST_CASE("simulated disk: a killed process leaves the page cache, loses its locks, and can do no more") {
    SimulatedDisk disk(quiet());
    const auto before = durable_file(disk, "abc");
    CHECK(before->try_lock().value());
    before->write_at(0, bytes("x")).value();
    disk.kill_process_at(disk.operation_count() + 2);
    before->write_at(1, bytes("y")).value();
    CHECK_FALSE(before->sync());
    CHECK_FALSE(disk.process_is_alive());
    CHECK_FALSE(before->write_at(2, bytes("z")));
    CHECK_FALSE(disk.files().remove(path));
    disk.start_process();
    CHECK_FALSE(before->write_at(2, bytes("z")));
    const auto after = open(disk, path);
    CHECK(read_all(*after) == "xyc");
    CHECK(after->try_lock().value());
    disk.cut_power();
    CHECK(disk.crashed().nothing_survived().files.at(path).bytes() == "abc");  // it died before its sync did anything
}

TEST_CASE("simulated disk: damage reaches the medium and the cache") {
    SimulatedDisk disk(quiet());
    const auto file = durable_file(disk, sectors(2, 'a'));
    disk.flip_bits(path, 600, std::byte{1});
    CHECK(read_all(*file)[600] == ('a' ^ 1));
    disk.cut_power();
    CHECK(disk.crashed().nothing_survived().files.at(path).bytes()[600] == ('a' ^ 1));
}

TEST_CASE("simulated disk: the trace names every operation and what became of it") {
    SimulatedDisk disk(quiet());
    const auto file = durable_file(disk, "abc");
    disk.cut_power_at(disk.operation_count() + 1);
    CHECK_FALSE(file->write_at(3, bytes("d")));
    CHECK(disk.trace() ==
          "  #1 open /disk/file\n"
          "  #2 write_at /disk/file @0 +3\n"
          "  #3 sync /disk/file\n"
          "  #4 sync_directory_of /disk/file\n"
          "  #5 write_at /disk/file @3 +1  <- the power goes\n");
}

}  // namespace emdb_test
