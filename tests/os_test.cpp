// The contract of os/, on the operating system's own files and on the file in memory: the part that holds on every system.

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "support/os_results.hpp"
#include "support/temp_folder.hpp"

namespace os_test {

namespace detail = emdb::detail;
using detail::File;
using detail::FileKind;
using detail::OpenMode;
using detail::is_name_taken;
using detail::is_not_found;
using emdb_test::TempFolder;
using emdb_test::bytes;
using emdb_test::files;
using emdb_test::good;
using emdb_test::read;
using emdb_test::view;

struct NativeFile {
    TempFolder folder;
    std::unique_ptr<File> file = good(files().open(folder.file("a.emdb"), OpenMode::create_new));
};

struct MemoryOnly {
    std::unique_ptr<File> file = good(detail::make_memory_file());
};

#define OS_TEST(name) TEST_CASE_TEMPLATE("os: " name, Subject, NativeFile, MemoryOnly)

OS_TEST("a file reads back what was written, and less only at its end") {
    Subject subject;
    File& file = *subject.file;
    CHECK(good(file.size()) == 0);
    CHECK(read(file, 0, 10) == "");

    good(file.write_at(0, bytes("hello world")));
    good(file.write_at(6, bytes("there")));
    good(file.write_at(3, {}));
    CHECK(good(file.size()) == 11);
    CHECK(read(file, 0, 11) == "hello there");
    CHECK(read(file, 6, 100) == "there");
    CHECK(read(file, 11, 1) == "");
    CHECK(read(file, 1'000'000, 1) == "");
    CHECK(read(file, std::uint64_t{1} << 62, 1) == "");

    good(file.write_at(100'000, bytes("far")));
    CHECK(good(file.size()) == 100'003);
    CHECK(read(file, 11, 99'989) == std::string(99'989, '\0'));
    CHECK(read(file, 100'000, 10) == "far");
    good(file.sync());
}

OS_TEST("a write that no file could take is an error and changes nothing") {
    Subject subject;
    File& file = *subject.file;
    const auto result = file.write_at(~std::uint64_t{0} - 2, bytes("beyond"));
    REQUIRE(!result);
    CHECK(result.error().message().find("6 bytes at offset 18446744073709551613 of") != std::string::npos);
    CHECK(good(file.size()) == 0);
}

OS_TEST("allocated space reads as zeros, extends the size and keeps what was there") {
    Subject subject;
    File& file = *subject.file;
    if (!file.keeps_allocation()) {
        MESSAGE("skipped: this file system does not keep allocated space");
        return;
    }
    good(file.write_at(0, bytes("head")));
    good(file.allocate(0, 300'000));
    CHECK(good(file.size()) == 300'000);
    CHECK(read(file, 0, 300'000) == "head" + std::string(299'996, '\0'));
    good(file.allocate(100, 1000));  // inside what is allocated: changes nothing
    CHECK(good(file.size()) == 300'000);
    good(file.allocate(300'000, 5'000'000));
    CHECK(good(file.size()) == 5'300'000);
    CHECK(read(file, 5'299'990, 20) == std::string(10, '\0'));
}

OS_TEST("a cut file grows again with zeros only") {
    Subject subject;
    File& file = *subject.file;
    good(file.write_at(0, bytes(std::string(200'000, 'x'))));
    good(file.truncate(5000));
    CHECK(good(file.size()) == 5000);
    CHECK(read(file, 4990, 100) == std::string(10, 'x'));
    good(file.truncate(150'000));
    CHECK(read(file, 4990, 200'000) == std::string(10, 'x') + std::string(145'000, '\0'));
    good(file.truncate(0));
    CHECK(good(file.size()) == 0);
    good(file.write_at(10'000, bytes("y")));
    CHECK(read(file, 0, 20'000) == std::string(10'000, '\0') + "y");
}

OS_TEST("an older mapping shows later writes, also past the end that the file had") {
    Subject subject;
    File& file = *subject.file;
    const std::size_t length = 4 * file.map_granularity();
    good(file.write_at(0, bytes("old")));
    if (!file.maps_past_end()) good(file.truncate(length));
    const auto mapping = good(file.map_read_only(0, length));
    CHECK(mapping.size() == length);
    CHECK(view(mapping, 0, 3) == "old");
    good(file.write_at(0, bytes("new")));
    CHECK(view(mapping, 0, 3) == "new");
    good(file.write_at(length - 4, bytes("tail")));
    CHECK(view(mapping, length - 4, 4) == "tail");

    const auto second_half = good(file.map_read_only(length / 2, length / 2));
    CHECK(view(second_half, length / 2 - 4, 4) == "tail");
}

OS_TEST("stores through a writable mapping are seen by reads and by every other mapping") {
    Subject subject;
    File& file = *subject.file;
    const std::size_t unit = file.map_granularity();
    const auto provide_space = [&] {
        // Where allocated space is not kept, space that was written to will do for as long as this test takes.
        if (file.keeps_allocation()) good(file.allocate(0, 4 * unit));
        if (!file.keeps_allocation()) good(file.write_at(0, bytes(std::string(4 * unit, '\0'))));
    };
    if (!file.maps_past_end()) provide_space();
    const auto reader = good(file.map_read_only(0, 4 * unit));
    if (file.maps_past_end()) provide_space();
    const auto writer = good(file.map_writable(unit, 2 * unit));
    good(file.populate(writer, 0, 2 * unit));
    good(file.populate(writer, 5, 1));
    good(file.populate(writer, unit + 7, unit - 7));
    good(file.populate(writer, 0, 0));
    std::memcpy(writer.data() + 10, "stored", 6);
    CHECK(read(file, unit + 10, 6) == "stored");
    CHECK(view(reader, unit + 10, 6) == "stored");
    good(file.write_at(unit + 10, bytes("rewritten")));
    CHECK(view(writer, 10, 9) == "rewritten");
    good(file.sync());
    file.expect_reading(0, 4 * unit);
    file.expect_reading(unit, 0);
    file.expect_reading(100 * unit, ~std::uint64_t{0});
    CHECK(view(reader, unit + 10, 9) == "rewritten");
}

OS_TEST("a mapping outlives its file") {
    std::optional<Subject> subject(std::in_place);
    good(subject->file->write_at(0, bytes("still here")));
    auto mapping = good(subject->file->map_read_only(0, 10));
    subject->file.reset();
    CHECK(view(mapping, 0, 10) == "still here");
    const detail::Mapping moved = std::move(mapping);
    CHECK(view(moved, 0, 10) == "still here");
}

OS_TEST("threads may extend a file together") {
    Subject subject;
    File& file = *subject.file;
    constexpr std::size_t threads = 4;
    constexpr std::size_t blocks = 64;
    constexpr std::size_t block = 5000;
    std::vector<std::thread> running;
    for (std::size_t thread = 0; thread < threads; ++thread) {
        running.emplace_back([&file, thread] {
            for (std::size_t i = 0; i < blocks; ++i) {
                const std::size_t at = (i * threads + thread) * block;
                if (!file.write_at(at, bytes(std::string(block, static_cast<char>('a' + thread))))) return;
                std::byte back[16];
                if (file.read_at(at, back).value_or(0) != sizeof back) return;
            }
        });
    }
    for (std::thread& thread : running) thread.join();
    CHECK(good(file.size()) == threads * blocks * block);
    for (std::size_t i = 0; i < threads * blocks; ++i) {
        CHECK(read(file, i * block, block) == std::string(block, static_cast<char>('a' + i % threads)));
    }
}

TEST_CASE("os: a lock keeps a second open out until the first is closed") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    auto first = good(files().open(path, OpenMode::create_new));
    auto second = good(files().open(path, OpenMode::read_write));
    CHECK(good(first->is_locked_by_other()) == false);
    CHECK(good(first->try_lock()));
    CHECK(good(first->try_lock()));
    CHECK(good(first->is_locked_by_other()) == false);
    CHECK(good(second->is_locked_by_other()));
    CHECK(!good(second->try_lock()));
    // Closing some other handle of the file must not release it, as it would release a POSIX process lock.
    good(files().open(path, OpenMode::read_only)).reset();
    CHECK(!good(second->try_lock()));
    good(second->write_at(0, bytes("locks are advisory")));
    CHECK(read(*second, 0, 5) == "locks");
    first.reset();
    CHECK(good(second->is_locked_by_other()) == false);
    CHECK(good(second->try_lock()));
}

TEST_CASE("os: a file opened read-only is locked shared") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    auto writer = good(files().open(path, OpenMode::create_new));
    auto reader = good(files().open(path, OpenMode::read_only));
    auto another = good(files().open(path, OpenMode::read_only));
    CHECK(good(reader->try_lock()));
    CHECK(good(another->try_lock()));
    CHECK(good(writer->is_locked_by_other()));
    CHECK(!good(writer->try_lock()));
    reader.reset();
    another.reset();
    CHECK(good(writer->try_lock()));
    reader = good(files().open(path, OpenMode::read_only));
    CHECK(good(reader->is_locked_by_other()));
    CHECK(!good(reader->try_lock()));
}

TEST_CASE("os: a file opened read-only can be read and mapped, and not written") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    good(good(files().open(path, OpenMode::create_new))->write_at(0, bytes("data")));
    auto file = good(files().open(path, OpenMode::read_only));
    CHECK(read(*file, 0, 4) == "data");
    CHECK(view(good(file->map_read_only(0, 4)), 0, 4) == "data");
    CHECK(!file->keeps_allocation());
    CHECK(file->write_at(0, bytes("x")) == emdb::ErrorCode::io);
    CHECK(file->truncate(0) == emdb::ErrorCode::io);
    good(file->sync());
    CHECK(read(*file, 0, 4) == "data");
}

TEST_CASE("os: modes of opening") {
    TempFolder folder;
    const std::string path = folder.file("\xC3\xA4 \xE6\x97\xA5.emdb");  // UTF-8 beyond any code page
    const auto absent = files().open(path, OpenMode::read_write);
    REQUIRE(!absent);
    CHECK(is_not_found(absent.error()));
    CHECK(absent.error().message().find(path) != std::string::npos);
    CHECK(is_not_found(files().open(path, OpenMode::read_only).error()));
    CHECK(is_not_found(files().open(folder.file("no/such/folder"), OpenMode::create_new).error()));

    good(good(files().open(path, OpenMode::create_new))->write_at(0, bytes("kept")));
    const auto taken = files().open(path, OpenMode::create_new);
    REQUIRE(!taken);
    CHECK(is_name_taken(taken.error()));
    CHECK(!is_not_found(taken.error()));
    CHECK(read(*good(files().open(path, OpenMode::read_write)), 0, 10) == "kept");

    for (const OpenMode mode : {OpenMode::read_only, OpenMode::read_write, OpenMode::create_new}) {
        const auto directory = files().open(folder.path(), mode);
        REQUIRE(!directory);
        CHECK(directory.error() == emdb::ErrorCode::io);
        CHECK(!is_not_found(directory.error()));
        CHECK(!is_name_taken(directory.error()));
        CHECK(!files().open(path + '\0' + "tail", mode));
        CHECK(!files().open("", mode));
    }
}

TEST_CASE("os: status tells kinds, sizes and identities") {
    TempFolder folder;
    CHECK(good(files().status(folder.file("none"))).kind == FileKind::absent);
    CHECK(good(files().status(folder.file("none/deeper"))).kind == FileKind::absent);
    CHECK(good(files().status(folder.path())).kind == FileKind::directory);

    auto file = good(files().open(folder.file("a"), OpenMode::create_new));
    auto other = good(files().open(folder.file("b"), OpenMode::create_new));
    good(file->write_at(0, bytes("12345")));
    const auto status = good(files().status(folder.file("a")));
    CHECK(status.kind == FileKind::regular);
    CHECK(status.size == 5);
    CHECK(status.identity == good(file->identity()));
    CHECK(status.identity != good(other->identity()));
    CHECK(good(files().status(folder.file("a/below a file"))).kind == FileKind::absent);
    CHECK(good(good(detail::make_memory_file())->identity()) != good(good(detail::make_memory_file())->identity()));
}

TEST_CASE("os: renaming and removing") {
    TempFolder folder;
    const std::string from = folder.file("from");
    const std::string to = folder.file("to");
    const auto create = [](const std::string& path, std::string_view text) {
        good(good(files().open(path, OpenMode::create_new))->write_at(0, bytes(text)));
    };
    const auto text_of = [](const std::string& path) { return read(*good(files().open(path, OpenMode::read_only)), 0, 100); };

    create(from, "one");
    CHECK(good(files().rename_if_absent(from, to)));
    CHECK(good(files().status(from)).kind == FileKind::absent);
    create(from, "two");
    CHECK(!good(files().rename_if_absent(from, to)));
    CHECK(text_of(from) == "two");
    CHECK(text_of(to) == "one");
    good(files().rename_replacing(from, to));
    CHECK(good(files().status(from)).kind == FileKind::absent);
    CHECK(text_of(to) == "two");
    good(files().sync_directory_of(to));

    CHECK(is_not_found(files().rename_replacing(from, to).error()));
    CHECK(is_not_found(files().rename_if_absent(from, folder.file("third")).error()));
    good(files().remove(to));
    good(files().remove(to));
    CHECK(good(files().status(to)).kind == FileKind::absent);
    CHECK(!files().remove(folder.path()));
}

TEST_CASE("os: directories are created with their parents") {
    TempFolder folder;
    const std::string deep = folder.file("a/b/c");
    good(files().create_directories(deep));
    good(files().create_directories(deep));
    good(files().create_directories(deep + "/d/"));
    CHECK(good(files().status(deep + "/d")).kind == FileKind::directory);
    good(files().open(deep + "/file", OpenMode::create_new));
    CHECK(!files().create_directories(deep + "/file"));
    CHECK(!files().create_directories(deep + "/file/below"));
    CHECK(!files().create_directories(""));
}

TEST_CASE("os: an absolute path does not depend on the working directory") {
    TempFolder folder;
    const std::string here = good(files().absolute("a.emdb"));
    CHECK(here.size() > std::string_view("a.emdb").size());
    CHECK(here.rfind("a.emdb") == here.size() - 6);
    CHECK(good(files().absolute(here)) == here);
    CHECK(!files().absolute(""));
    // The working directory's own name leads to the same place.
    const std::string below = good(files().absolute("."));
    CHECK(good(files().status(below)).identity == good(files().status(".")).identity);
    good(files().open(good(files().absolute(folder.file("b.emdb"))), OpenMode::create_new));
    CHECK(good(files().status(folder.file("b.emdb"))).kind == FileKind::regular);
}

TEST_CASE("os: a path longer than Windows takes without asking") {
    TempFolder folder;
    const std::string outer = folder.file(std::string(120, 'a'));
    const std::string inner = outer + "/" + std::string(120, 'b');
    good(files().create_directories(inner));
    good(good(files().open(inner + "/file", OpenMode::create_new))->write_at(0, bytes("deep")));
    good(files().rename_replacing(inner + "/file", inner + "/renamed"));
    CHECK(good(files().status(inner + "/renamed")).size == 4);
    good(files().sync_directory_of(inner + "/renamed"));
    good(files().remove(inner + "/renamed"));
    good(files().rename_replacing(inner, outer + "/b"));  // not every library's remove_all() can remove long paths
}

TEST_CASE("os: a memory file names its limit") {
    auto file = good(detail::make_memory_file());
    CHECK(file->is_memory_backed());
    const std::uint64_t distant = std::uint64_t{1} << 50;
    for (const auto& result : {file->allocate(0, distant), file->allocate(distant, 1), file->write_at(distant, bytes("x")),
                               file->truncate(distant)}) {
        REQUIRE(!result);
        CHECK(result.error() == emdb::ErrorCode::too_large);
        CHECK(result.error().message().find(" bytes are its limit here") != std::string::npos);
    }
    CHECK(good(file->size()) == 0);
    CHECK(good(file->try_lock()));
    CHECK(!good(file->is_locked_by_other()));

    // Far beyond what has been committed, and within what is reserved.
    const std::uint64_t offset = std::uint64_t{48} << 20;
    const auto mapping = good(file->map_read_only(0, std::size_t{64} << 20));
    good(file->write_at(offset, bytes("far")));
    CHECK(view(mapping, static_cast<std::size_t>(offset), 3) == "far");
}

TEST_CASE("os: random bytes fill the whole span and do not repeat") {
    constexpr std::size_t size = 3001;  // several calls, the last one short
    std::vector<std::byte> seen(size);
    std::vector<std::byte> random(size);
    for (int round = 0; round < 8; ++round) {
        good(detail::native_environment().fill_random(random));
        for (std::size_t i = 0; i < size; ++i) seen[i] |= random[i];
    }
    // A byte that stays 0 in eight rounds has probability 2^-64.
    CHECK(std::count(seen.begin(), seen.end(), std::byte{0}) == 0);
    good(detail::native_environment().fill_random({}));
}

TEST_CASE("os: the environment knows time, process and host") {
    auto& environment = detail::native_environment();
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto now_ms = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
    const std::uint64_t told = environment.now_unix_ms();
    CHECK(told + 60'000 > now_ms);
    CHECK(told < now_ms + 60'000);
    CHECK(environment.process_id() != 0);
    CHECK(environment.host_name().size() < 256);
    CHECK(detail::environment_variable("EMDB_TEST_NO_SUCH_VARIABLE").empty());
    CHECK(!detail::environment_variable("PATH").empty());
}

TEST_CASE("os: index memory is zeroed and aligned") {
    constexpr std::size_t huge = std::size_t{2} << 20;
    for (const std::size_t size : {std::size_t{1}, std::size_t{4096}, std::size_t{100'000}, huge, 2 * huge + 1}) {
        auto* const data = static_cast<unsigned char*>(detail::allocate_pages(size));
        REQUIRE(data != nullptr);
        CHECK(reinterpret_cast<std::uintptr_t>(data) % 4096 == 0);
        CHECK(std::all_of(data, data + size, [](unsigned char byte) { return byte == 0; }));
        std::memset(data, 1, size);
        detail::release_pages(data, size);
    }
    CHECK(detail::allocate_pages(~std::size_t{0}) == nullptr);
    CHECK(detail::allocate_pages(~std::size_t{0} - 8 * huge) == nullptr);
    detail::release_pages(nullptr, 1);
}

TEST_CASE("waiting: threads that hand a turn around by an atomic never sleep through it") {
    constexpr std::uint64_t threads = 4;
    constexpr std::uint64_t turns = 40'000;
    // As std::atomic's own does it here, and in the room that is used where that can't be relied on.
    for (const bool in_room : {false, true}) {
        std::atomic<std::uint64_t> turn{0};
        std::vector<std::thread> crew;
        for (std::uint64_t mine = 0; mine < threads; ++mine) {
            crew.emplace_back([&turn, mine, in_room] {
                detail::WaitingRoom& room = detail::WaitingRoom::of(&turn);
                for (std::uint64_t now = turn.load(); now < turns; now = turn.load()) {
                    if (now % threads == mine) {
                        turn.store(now + 1);
                        in_room ? room.wake_all() : detail::wake_waiters(turn);
                    } else if (in_room) {
                        room.wait_while([&] { return turn.load() == now; });
                    } else {
                        detail::wait_for_change(turn, now, std::memory_order_seq_cst);
                    }
                }
            });
        }
        for (std::thread& thread : crew) thread.join();
        CHECK(turn.load() == turns);
    }
}

}  // namespace os_test
