// The contract of os/ where POSIX makes it hard: other processes, resource limits, full disks, and paths that are no files.

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#if !defined(_WIN32)

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/os_results.hpp"
#include "support/temp_folder.hpp"

namespace os_posix_test {

namespace detail = emdb::detail;
using detail::File;
using detail::FileKind;
using detail::OpenMode;
using detail::is_not_found;
using detail::is_out_of_space;
using emdb_test::TempFolder;
using emdb_test::bytes;
using emdb_test::files;
using emdb_test::good;
using emdb_test::read;

/// Runs `body() -> bool` in a forked child, where nothing is asserted: its answer, or false when it died.
template <class Body>
bool in_child(Body body) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) ::_exit(body() ? 0 : 1);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// Lowers a soft limit; for children, which don't put it back.
inline bool limit(int resource, rlim_t value) {
    struct rlimit now;
    // The type of `resource` is an enumeration in glibc and an int elsewhere.
    using Resource = decltype(RLIMIT_NOFILE);
    if (::getrlimit(static_cast<Resource>(resource), &now) != 0) return false;
    now.rlim_cur = value;
    return ::setrlimit(static_cast<Resource>(resource), &now) == 0;
}

template <class T>
bool failed_with(const emdb::Result<T>& result, int os_error) {
    return !result && result.error() == emdb::ErrorCode::io && result.error().os_error() == os_error;
}

TEST_CASE("os: an error says what failed where, why, and what to do") {
    const std::string action = detail::action_on_range("write", 4096, 8192);
    const emdb::Error error = detail::system_error(action, "x.emdb", ENOSPC);
    CHECK(error == emdb::ErrorCode::io);
    CHECK(error.os_error() == ENOSPC);
    CHECK(error.message() == "cannot write 4096 bytes at offset 8192 of 'x.emdb': No space left on device (errno " +
                                 std::to_string(ENOSPC) + "). Free some space, then reopen the database.");
    CHECK(is_out_of_space(error));
    CHECK(is_out_of_space(detail::system_error("write", "x", EDQUOT)));
    CHECK(!is_out_of_space(detail::system_error("write", "x", EIO)));
    CHECK(!is_out_of_space(emdb::Error(emdb::ErrorCode::corrupted, "").with_os_error(ENOSPC)));
    CHECK(is_not_found(detail::system_error("open", "x", ENOENT)));
    CHECK(!is_not_found(detail::system_error("open", "x", EACCES)));
    for (int code = 1; code < 200; ++code) {
        const std::string message = detail::system_error("open", "x", code).message();
        CHECK(message.find("cannot open 'x': ") == 0);
        CHECK(message.back() == '.');
    }
}

TEST_CASE("os: a lock keeps another process out until it is closed, however often that process forks") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    auto file = good(files().open(path, OpenMode::create_new));
    REQUIRE(good(file->try_lock()));
    const auto can_lock = [&path] {
        auto own = files().open(path, OpenMode::read_write);
        return own && (*own)->is_locked_by_other() == !(*own)->try_lock().value_or(false) && (*own)->try_lock().value_or(false);
    };
    CHECK(!in_child(can_lock));
    // The child's copy of the File goes without taking the parent's lock along.
    CHECK(in_child([&] { return file.reset(), true; }));
    CHECK(!in_child(can_lock));

    // A child that keeps its copy open does not keep the lock once the parent has closed.
    int until_closed[2];
    REQUIRE(::pipe(until_closed) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::close(until_closed[1]);
        char byte;
        while (::read(until_closed[0], &byte, 1) < 0 && errno == EINTR) {}
        ::_exit(0);
    }
    ::close(until_closed[0]);
    file.reset();
    CHECK(in_child(can_lock));
    ::close(until_closed[1]);
    CHECK(::waitpid(child, nullptr, 0) == child);
}

TEST_CASE("os: what was stored through a mapping survives the process being killed") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    auto file = good(files().open(path, OpenMode::create_new));
    if (!file->keeps_allocation()) {
        MESSAGE("skipped: this file system does not keep allocated space");
        return;
    }
    const std::size_t size = 4 * file->map_granularity();
    good(file->allocate(0, size));
    CHECK(!in_child([&] {
        auto mapping = file->map_writable(0, size);
        if (mapping) std::memcpy(mapping->data() + size - 6, "stored", 6);
        return ::kill(::getpid(), SIGKILL) == 0;
    }));
    CHECK(read(*file, size - 6, 6) == "stored");
}

TEST_CASE("os: a forked child sees another fork count, and its parent does not") {
    detail::watch_forks();
    detail::watch_forks();
    const std::uint32_t before = detail::fork_count();
    CHECK(in_child([before] {
        const std::uint32_t in_child_count = detail::fork_count();
        const bool grandchild = in_child([in_child_count] { return detail::fork_count() != in_child_count; });
        return grandchild && in_child_count != before && detail::fork_count() == in_child_count;
    }));
    CHECK(detail::fork_count() == before);
}

TEST_CASE("os: the limit on file sizes is an error, after a short write too") {
    TempFolder folder;
    CHECK(in_child([&] {
        std::signal(SIGXFSZ, SIG_IGN);
        auto file = files().open(folder.file("a.emdb"), OpenMode::create_new);
        if (!file || !limit(RLIMIT_FSIZE, 6000)) return false;
        const std::string text(8192, 'x');
        bool as_it_should = failed_with((*file)->write_at(0, bytes(text)), EFBIG);
        as_it_should = as_it_should && (*file)->size().value_or(0) == 6000;
        as_it_should = as_it_should && failed_with((*file)->truncate(10'000), EFBIG);
        if ((*file)->keeps_allocation()) as_it_should = as_it_should && failed_with((*file)->allocate(0, 10'000), EFBIG);
        return as_it_should && (*file)->write_at(1000, bytes("still works"));
    }));
}

TEST_CASE("os: the limit on open files is an error") {
    TempFolder folder;
    CHECK(in_child([&] {
        if (!limit(RLIMIT_NOFILE, 64)) return false;
        std::vector<std::unique_ptr<File>> open;
        for (int i = 0; i < 100; ++i) {
            auto file = files().open(folder.file(std::to_string(i)), OpenMode::create_new);
            if (!file) return failed_with(file, EMFILE) && failed_with(files().sync_directory_of(folder.file("0")), EMFILE);
            open.push_back(*std::move(file));
        }
        return false;
    }));
}

TEST_CASE("os: a database never gets the descriptor of a standard stream, nor reaches another program") {
    TempFolder folder;
    CHECK(in_child([&] {
        for (int stream = 0; stream <= 2; ++stream) ::close(stream);
        auto file = files().open(folder.file("a.emdb"), OpenMode::create_new);
        for (int stream = 0; stream <= 2; ++stream) {
            if (::fcntl(stream, F_GETFD) != -1) return false;
        }
        const int flags = ::fcntl(3, F_GETFD);
        return file.has_value() && (flags == -1 || (flags & FD_CLOEXEC) != 0);
    }));
    auto file = good(files().open(folder.file("a.emdb"), OpenMode::read_write));
    const auto identity = good(file->identity());
    int found = 0;
    for (int number = 0; number < 256; ++number) {
        struct stat status;
        if (::fstat(number, &status) != 0 || !(detail::to_file_status(status).identity == identity)) continue;
        ++found;
        CHECK((::fcntl(number, F_GETFD) & FD_CLOEXEC) != 0);
        CHECK((::fcntl(number, F_GETFL) & O_NONBLOCK) == 0);
    }
    CHECK(found == 1);
}

TEST_CASE("os: FIFOs and devices are refused without waiting, directories by their own error") {
    TempFolder folder;
    const std::string fifo = folder.file("fifo");
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    CHECK(good(files().status(fifo)).kind == FileKind::other);
    for (const OpenMode mode : {OpenMode::read_only, OpenMode::read_write, OpenMode::create_new}) {
        for (const std::string& path : {fifo, std::string("/dev/null"), std::string("/dev/tty")}) {
            const auto result = files().open(path, mode);
            REQUIRE(!result);
            CHECK(result.error() == emdb::ErrorCode::io);
            CHECK(result.error().message().find(path) != std::string::npos);
        }
        CHECK(failed_with(files().open(folder.path(), mode), EISDIR));
    }
}

TEST_CASE("os: status follows symbolic links") {
    TempFolder folder;
    auto file = good(files().open(folder.file("a"), OpenMode::create_new));
    REQUIRE(::symlink("a", folder.file("link").c_str()) == 0);
    REQUIRE(::symlink("nowhere", folder.file("dangling").c_str()) == 0);
    REQUIRE(::symlink("loop", folder.file("loop").c_str()) == 0);
    CHECK(good(files().status(folder.file("link"))).identity == good(file->identity()));
    CHECK(good(good(files().open(folder.file("link"), OpenMode::read_write))->identity()) == good(file->identity()));
    CHECK(good(files().status(folder.file("dangling"))).kind == FileKind::absent);
    CHECK(failed_with(files().status(folder.file("loop")), ELOOP));
}

TEST_CASE("os: the directory that holds a path") {
    CHECK(detail::parent_directory("a.emdb") == ".");
    CHECK(detail::parent_directory("x/a.emdb") == "x");
    CHECK(detail::parent_directory("x//a.emdb") == "x");
    CHECK(detail::parent_directory("x/y/a.emdb") == "x/y");
    CHECK(detail::parent_directory("x/y//") == "x");
    CHECK(detail::parent_directory("/a.emdb") == "/");
    CHECK(detail::parent_directory("//") == "/");
    CHECK(detail::parent_directory("") == ".");
}

TEST_CASE("os: the directory for application data") {
    const bool found = in_child([] {
        const auto is = [](const char* expected) {
            const auto directory = detail::platform_data_directory();
            return directory && *directory == expected;
        };
        ::setenv("HOME", "/home/someone/", 1);
        ::unsetenv("XDG_DATA_HOME");
#if defined(__APPLE__)
        const bool from_home = is("/home/someone/Library/Application Support");
        const bool from_xdg = true;
#else
        const bool from_home = is("/home/someone/.local/share");
        ::setenv("XDG_DATA_HOME", "relative", 1);
        const bool relative_ignored = is("/home/someone/.local/share");
        ::setenv("XDG_DATA_HOME", "/data", 1);
        const bool from_xdg = relative_ignored && is("/data");
        ::unsetenv("XDG_DATA_HOME");
#endif
        ::setenv("HOME", "", 1);
        return from_home && from_xdg && detail::platform_data_directory() == emdb::ErrorCode::invalid_config;
    });
    CHECK(found);
}

#if defined(__linux__)

inline std::size_t resident_pages(const detail::Mapping& mapping) {
    std::vector<unsigned char> pages((mapping.size() + detail::page_size() - 1) / detail::page_size());
    REQUIRE(::mincore(mapping.data(), mapping.size(), pages.data()) == 0);
    std::size_t count = 0;
    for (const unsigned char page : pages) count += page & 1u;
    return count;
}

TEST_CASE("os: a memory file gives memory back when it is cut") {
    auto file = good(detail::make_memory_file());
    constexpr std::size_t size = std::size_t{8} << 20;
    good(file->allocate(0, size));
    const auto mapping = good(file->map_writable(0, size));
    CHECK(resident_pages(mapping) == 0);
    good(file->populate(mapping, 0, size));
    std::memset(mapping.data(), 'x', size);
    CHECK(resident_pages(mapping) == size / detail::page_size());
    good(file->truncate(100));
    CHECK(resident_pages(mapping) <= 1);
    good(file->truncate(size));
    CHECK(read(*file, 0, 200) == std::string(100, 'x') + std::string(100, '\0'));
}

// Sanitizers reserve terabytes for themselves and don't survive a limit on address space.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OS_POSIX_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OS_POSIX_TEST_SANITIZED 1
#endif
#endif

#if !defined(OS_POSIX_TEST_SANITIZED)
TEST_CASE("os: limits on memory are errors for a memory file") {
    CHECK(in_child([] {  // half of the address space at most: room is left for the rest of the program
        if (!limit(RLIMIT_AS, rlim_t{1} << 30)) return false;
        auto file = detail::make_memory_file();
        if (!file) return false;
        const bool grows = (*file)->allocate(0, 256u << 20).has_value();
        const auto beyond = (*file)->allocate(0, 513u << 20);
        return grows && beyond == emdb::ErrorCode::too_large && std::make_unique<char[]>(128u << 20) != nullptr;
    }));
    CHECK(in_child([] { return limit(RLIMIT_AS, 1u << 20) && failed_with(detail::make_memory_file(), ENOMEM); }));
    CHECK(in_child([] {  // RLIMIT_DATA counts what is committed, not what is reserved
        auto file = detail::make_memory_file();
        if (!file || !limit(RLIMIT_DATA, rlim_t{200} << 20)) return false;
        return (*file)->allocate(0, 20u << 20).has_value() && failed_with((*file)->allocate(0, 400u << 20), ENOMEM) &&
               (*file)->size().value_or(0) == (20u << 20) && failed_with((*file)->write_at(400u << 20, bytes("x")), ENOMEM);
    }));
    CHECK(in_child([] {
        return limit(RLIMIT_AS, rlim_t{256} << 20) && detail::allocate_pages(std::size_t{512} << 20) == nullptr;
    }));
}
#endif

#if defined(SYS_fsopen)
/// A tmpfs of 1 MiB that is attached nowhere: only its descriptor leads there, and it goes with that, however the test ends.
class SmallDisk {
public:
    SmallDisk() {
        constexpr unsigned set_string = 1;  // FSCONFIG_SET_STRING
        constexpr unsigned create = 6;      // FSCONFIG_CMD_CREATE
        const long context = ::syscall(SYS_fsopen, "tmpfs", 0);
        if (context < 0) return;
        if (::syscall(SYS_fsconfig, context, set_string, "size", "1m", 0) == 0 &&
            ::syscall(SYS_fsconfig, context, create, nullptr, nullptr, 0) == 0) {
            descriptor_ = static_cast<int>(::syscall(SYS_fsmount, context, 0, 0));
        }
        ::close(static_cast<int>(context));
    }
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;
    ~SmallDisk() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }

    bool exists() const { return descriptor_ >= 0; }
    std::string file(const std::string& name) const { return "/proc/self/fd/" + std::to_string(descriptor_) + "/" + name; }

private:
    int descriptor_ = -1;
};

TEST_CASE("os: a full disk is an error, and never takes back what it has allocated") {
    SmallDisk disk;
    if (!disk.exists()) {
        MESSAGE("skipped: no right to make a small tmpfs");
        return;
    }
    auto file = good(files().open(disk.file("a.emdb"), OpenMode::create_new));
    auto filler = good(files().open(disk.file("filler"), OpenMode::create_new));
    CHECK(file->is_memory_backed());
    REQUIRE(file->keeps_allocation());  // tmpfs has it since Linux 3.5
    const auto too_much = file->allocate(0, 2u << 20);
    REQUIRE(!too_much);
    CHECK(is_out_of_space(too_much.error()));
    CHECK(good(file->size()) == 0);

    const std::size_t size = std::size_t{256} << 10;
    good(file->allocate(0, size));
    const auto full = filler->write_at(0, bytes(std::string(2u << 20, 'x')));
    REQUIRE(!full);
    CHECK(is_out_of_space(full.error()));
    CHECK(full.error().message().find("cannot write 2097152 bytes at offset 0 of '/proc/self/fd/") == 0);
    CHECK(full.error().message().find("Free some space") != std::string::npos);

    const auto mapping = good(file->map_writable(0, size));
    good(file->populate(mapping, 0, size));
    std::memset(mapping.data(), 'y', size);
    CHECK(read(*file, size - 3, 10) == "yyy");
    CHECK(file->keeps_allocation());
    CHECK(good(files().open(disk.file("a.emdb"), OpenMode::read_write))->keeps_allocation());  // found out on the full disk

    // Space that was not allocated: populate() tells what would have been a SIGBUS.
    good(file->truncate(2 * size));
    const auto sparse = good(file->map_writable(size, size));
    void* const page = detail::allocate_pages(1);
    REQUIRE(page != nullptr);
    if (detail::populate_pages(static_cast<std::byte*>(page), 1) == 0) {
        CHECK(file->populate(sparse, 0, size) == emdb::ErrorCode::io);
    } else {
        MESSAGE("populate() not tested: this kernel has no MADV_POPULATE_WRITE");
    }
    detail::release_pages(page, 1);
    good(file->truncate(size));
    good(filler->truncate(0));
    good(filler->write_at(0, bytes("there is room again")));
}
#endif  // SYS_fsopen

#endif  // __linux__

}  // namespace os_posix_test

#endif  // !_WIN32
