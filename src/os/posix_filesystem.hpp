#pragma once
// FileSystem on POSIX: names, and what may be opened as a database at all.

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/result.hpp"
#include "os/contract.hpp"
#include "os/posix_file.hpp"
#include "os/system_error.hpp"

#if !defined(_WIN32)

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

namespace emdb::detail {

/// The directory that holds the last name of a path: "." for "a.emdb", "/" for "/a.emdb", "x" for "x/y//".
inline std::string parent_directory(const std::string& path) {
    const std::size_t name_end = path.find_last_not_of('/');
    if (name_end == std::string::npos) return path.empty() ? "." : "/";
    const std::size_t slash = path.find_last_of('/', name_end);
    if (slash == std::string::npos) return ".";
    const std::size_t parent_end = path.find_last_not_of('/', slash);
    return parent_end == std::string::npos ? "/" : path.substr(0, parent_end + 1);
}

inline FileStatus to_file_status(const struct stat& status) noexcept {
    FileStatus result;
    result.kind = S_ISREG(status.st_mode) ? FileKind::regular : S_ISDIR(status.st_mode) ? FileKind::directory : FileKind::other;
    result.size = static_cast<std::uint64_t>(status.st_size);
    result.identity = {static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino)};
    return result;
}

class PosixFileSystem final : public FileSystem {
public:
    Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
        // Asked before opening: merely opening a device can rewind a tape or start a watchdog.
        auto before = status(path);
        if (!before) return std::move(before).error();
        if (auto refused = require_regular(path, before->kind); !refused) return std::move(refused).error();

        int flags = mode == OpenMode::read_only ? O_RDONLY : O_RDWR;
        if (mode == OpenMode::create_new) flags |= O_CREAT | O_EXCL;
        // Not to hang, should the name have become a FIFO since.
        flags |= O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
        Descriptor descriptor(retry_interrupted([&] { return ::open(path.c_str(), flags, 0666); }));
        const char* const action = mode == OpenMode::create_new ? "create" : "open";
        if (!descriptor) return system_error(action, path, errno);

        struct stat opened;
        if (::fstat(descriptor.number(), &opened) != 0) return system_error(action, path, errno);
        if (auto refused = require_regular(path, to_file_status(opened).kind); !refused) return std::move(refused).error();
        if (const int why = settle(descriptor); why != 0) return system_error(action, path, why);
        return std::make_unique<PosixFile>(std::move(descriptor), path, mode != OpenMode::read_only);
    }

    Result<FileStatus> status(const std::string& path) override {
        // A C string would end at the NUL and name another file.
        if (path.find('\0') != std::string::npos) {
            return Error(ErrorCode::invalid_argument, "cannot use the path '" + path.substr(0, path.find('\0')) +
                                                          "' followed by a NUL byte. Remove everything from the NUL byte on.");
        }
        struct stat found;
        if (::stat(path.c_str(), &found) == 0) return to_file_status(found);
        if (errno == ENOENT || errno == ENOTDIR) return FileStatus{};
        return system_error("look up", path, errno);
    }

    Result<void> rename_replacing(const std::string& from, const std::string& to) override {
        if (::rename(from.c_str(), to.c_str()) == 0) return {};
        return rename_error(from, to, errno);
    }

    Result<bool> rename_if_absent(const std::string& from, const std::string& to) override {
        int why = rename_exclusively(from.c_str(), to.c_str());
        if (why == 0) return true;
        if (why == EEXIST) return false;
        if (why != ENOSYS && why != EINVAL && !is_not_supported(why)) return rename_error(from, to, why);
        // A second name, then one less: link() never replaces. A crash between the two leaves both names, which is harmless.
        if (::link(from.c_str(), to.c_str()) != 0) {
            why = errno;
            if (why == EEXIST) return false;
            return rename_error(from, to, why);
        }
        if (::unlink(from.c_str()) != 0) return system_error("remove the old name", from, errno);
        return true;
    }

    Result<void> remove(const std::string& path) override {
        if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
        return system_error("remove", path, errno);
    }

    Result<void> sync_directory_of(const std::string& path) override {
        const std::string directory = parent_directory(path);
        const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
        Descriptor descriptor(retry_interrupted([&] { return ::open(directory.c_str(), flags); }));
        if (!descriptor) return system_error("open, to make a changed name in it durable, the directory", directory, errno);
        const int why = sync_descriptor(descriptor.number(), true);
        if (why == 0 || why == EINVAL) return {};  // EINVAL: a file system whose directories need no sync, or know none
        return system_error("make durable a changed name in the directory", directory, why);
    }

    Result<std::string> absolute(const std::string& path) override {
        auto full = from_root(path);
        if (!full || full->find('\0') != std::string::npos) return full;
        if (auto real = real_path(*full)) return *std::move(real);
        // A link to nothing keeps its name: who creates a file through it is told.
        struct stat link;
        if (full->back() == '/' || ::lstat(full->c_str(), &link) == 0) return full;
        auto parent = real_path(parent_directory(*full));
        if (!parent) return full;
        if (parent->back() != '/') *parent += '/';
        return *parent + full->substr(full->find_last_of('/') + 1);
    }

    /// Also makes each new directory's name durable, since nobody would later sync the directories above it.
    Result<void> create_directories(const std::string& path) override {
        auto found = status(path);
        if (!found) return std::move(found).error();
        if (found->kind == FileKind::directory) return {};
        if (found->kind != FileKind::absent) return system_error("create the directory", path, ENOTDIR);

        int why = ::mkdir(path.c_str(), 0777) == 0 ? 0 : errno;
        const std::string parent = parent_directory(path);
        if (why == ENOENT && parent.size() < path.size()) {
            if (auto made = create_directories(parent); !made) return made;
            why = ::mkdir(path.c_str(), 0777) == 0 ? 0 : errno;
        }
        if (why == 0) return sync_directory_of(path);
        if (why == EEXIST) {  // somebody else was faster
            found = status(path);
            if (found && found->kind == FileKind::directory) return {};
        }
        return system_error("create the directory", path, why);
    }

private:
    static Result<std::string> from_root(const std::string& path) {
        if (path.empty()) return system_error("make absolute the path", path, ENOENT);
        if (path.front() == '/') return path;
        std::string directory(256, '\0');
        while (::getcwd(directory.data(), directory.size()) == nullptr) {
            if (errno != ERANGE) return system_error("find out the working directory, to open", path, errno);
            directory.resize(2 * directory.size());
        }
        directory.resize(directory.find('\0'));
        if (directory.back() != '/') directory += '/';
        return directory + path;
    }

    // Nullopt: it leads to nothing, or can't be followed.
    static std::optional<std::string> real_path(const std::string& path) {
        char* const found = ::realpath(path.c_str(), nullptr);
        if (found == nullptr) return std::nullopt;
        const std::unique_ptr<char, void (*)(void*)> owned(found, std::free);
        return std::string(found);
    }

    static Result<void> require_regular(const std::string& path, FileKind kind) {
        if (kind == FileKind::absent || kind == FileKind::regular) return {};
        if (kind == FileKind::directory) return system_error("open", path, EISDIR);
        std::string message = "cannot open '" + path + "': it is a device, FIFO or socket. Choose the path of a regular file.";
        return Error(ErrorCode::io, std::move(message)).with_os_error(EINVAL);
    }

    // What a regular file's descriptor needs before it is used; 0 or errno.
    static int settle(Descriptor& descriptor) noexcept {
        const int flags = ::fcntl(descriptor.number(), F_GETFL);
        if (flags < 0 || ::fcntl(descriptor.number(), F_SETFL, flags & ~O_NONBLOCK) < 0) return errno;
        // In a program started without standard streams, whatever prints to them would print into the database.
        if (descriptor.number() <= STDERR_FILENO) {
            Descriptor higher(::fcntl(descriptor.number(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
            if (!higher) return errno;
            descriptor = std::move(higher);
        }
        return 0;
    }

    // One atomic rename that never replaces: 0, EEXIST, or another errno where the system or file system has none.
    static int rename_exclusively(const char* from, const char* to) noexcept {
#if defined(__linux__) && defined(SYS_renameat2)
        constexpr unsigned no_replace = 1;  // RENAME_NOREPLACE, since Linux 3.15; the C library's wrapper came later
        return ::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, no_replace) == 0 ? 0 : errno;
#elif defined(__APPLE__) && defined(RENAME_EXCL)
        return ::renamex_np(from, to, RENAME_EXCL) == 0 ? 0 : errno;
#else
        static_cast<void>(from);
        static_cast<void>(to);
        return ENOSYS;
#endif
    }

    static Error rename_error(const std::string& from, const std::string& to, int why) {
        return system_error("rename '" + from + "' to", to, why);
    }
};

}  // namespace emdb::detail

#endif  // !_WIN32
