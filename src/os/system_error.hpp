#pragma once
// What a failed system call is told to the user as: what was tried on which file, the system's reason, and the way out.
//
//   cannot write 4096 bytes at offset 8192 of 'x.emdb': No space left on device (errno 28). Free some space, then reopen ...

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "os/contract.hpp"
#include "os/windows_api.hpp"

namespace emdb::detail {

#if defined(_WIN32)

constexpr DWORD disk_quota_exceeded = 1295;  // ERROR_DISK_QUOTA_EXCEEDED, which not every SDK has

/// The system's own sentence for a code, in UTF-8 and without its full stop.
std::string system_reason(int os_error) {
    wchar_t buffer[512];
    const DWORD flags = FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK;
    const DWORD units = FormatMessageW(flags, nullptr, static_cast<DWORD>(os_error), 0, buffer, 512, nullptr);
    std::string text = to_utf8(std::wstring_view(buffer, units));
    text.resize(text.find_last_not_of(" .\r\n") + 1);  // npos + 1 is 0
    if (text.empty()) text = "unknown error";
    return text + " (Windows error " + std::to_string(os_error) + ")";
}

const char* system_remedy(int os_error) noexcept {
    switch (static_cast<DWORD>(os_error)) {
        case ERROR_FILE_NOT_FOUND:
        case ERROR_PATH_NOT_FOUND: return "Check the path, and create the directory if it is missing.";
        case ERROR_INVALID_NAME:
        case ERROR_BAD_PATHNAME: return "Check the path: it must be UTF-8 without characters that Windows forbids.";
        case ERROR_FILENAME_EXCED_RANGE: return "Choose a shorter path.";
        case ERROR_DIRECTORY: return "A part of the path is a file where a directory is needed; choose another path.";
        case ERROR_ACCESS_DENIED:
            return "Give this user permission to read and write the file and its directory, and close programs that use it.";
        case ERROR_SHARING_VIOLATION:
        case ERROR_LOCK_VIOLATION: return "Close the program that uses the file (a virus scanner or backup, perhaps).";
        case ERROR_WRITE_PROTECT: return "Make the volume writable, or move the database to one that is.";
        case ERROR_FILE_EXISTS:
        case ERROR_ALREADY_EXISTS: return "Choose another name, or remove what has it.";
        case ERROR_DISK_FULL:
        case ERROR_HANDLE_DISK_FULL: return "Free some space, then reopen the database.";
        case disk_quota_exceeded: return "Free some space or have the quota raised, then reopen the database.";
        case ERROR_FILE_TOO_LARGE: return "Move the database to a file system that allows larger files.";
        case ERROR_TOO_MANY_OPEN_FILES:
        case ERROR_NO_SYSTEM_RESOURCES: return "Close files and programs that are not needed, then try again.";
        case ERROR_NOT_ENOUGH_MEMORY:
        case ERROR_OUTOFMEMORY:
        case ERROR_COMMITMENT_LIMIT: return "Free some memory or enlarge the paging file, then try again.";
        case ERROR_USER_MAPPED_FILE: return "The file is mapped into memory; close every program that uses it.";
        case ERROR_CRC:
        case ERROR_IO_DEVICE:
        case ERROR_READ_FAULT:
        case ERROR_WRITE_FAULT: return "The disk may be failing: check it and the system's event log, and have a backup ready.";
        case ERROR_NOT_SUPPORTED:
        case ERROR_INVALID_FUNCTION: return "The file system can't do this; move the database to a local NTFS volume.";
        default: return "Check the path and the volume that holds it, then try again.";
    }
}

bool is_not_found(const Error& error) noexcept {
    const DWORD os_error = static_cast<DWORD>(error.os_error());
    return error.code() == ErrorCode::io && (os_error == ERROR_FILE_NOT_FOUND || os_error == ERROR_PATH_NOT_FOUND);
}

bool is_name_taken(const Error& error) noexcept {
    const DWORD os_error = static_cast<DWORD>(error.os_error());
    return error.code() == ErrorCode::io && (os_error == ERROR_FILE_EXISTS || os_error == ERROR_ALREADY_EXISTS);
}

bool is_out_of_space(const Error& error) noexcept {
    const DWORD os_error = static_cast<DWORD>(error.os_error());
    return error.code() == ErrorCode::io &&
           (os_error == ERROR_DISK_FULL || os_error == ERROR_HANDLE_DISK_FULL || os_error == disk_quota_exceeded);
}

#else

// strerror() may share one buffer between threads. strerror_r() does not, but is two functions of one name: the POSIX one
// fills the buffer and returns 0, the GNU one returns the text, which need not be in the buffer. Overloads tell them apart.
std::string_view strerror_text(int status, const char* buffer) noexcept {
    return status == 0 ? std::string_view(buffer) : std::string_view("unknown error");
}
std::string_view strerror_text(const char* text, const char* /*buffer*/) noexcept {
    return text;
}

/// Whether there is no such call, or not there. It has two names, on some systems for one number.
inline bool is_not_supported(int os_error) noexcept {
    switch (os_error) {
#if EOPNOTSUPP != ENOTSUP
        case EOPNOTSUPP:
#endif
        case ENOTSUP: return true;
        default: return false;
    }
}

std::string system_reason(int os_error) {
    char buffer[256] = {};
    std::string text(strerror_text(::strerror_r(os_error, buffer, sizeof buffer), buffer));
    return text + " (errno " + std::to_string(os_error) + ")";
}

const char* system_remedy(int os_error) noexcept {
    switch (os_error) {
        case ENOENT: return "Check the path, and create the directory if it is missing.";
        case ENOTDIR: return "A part of the path is a file where a directory is needed; choose another path.";
        case EISDIR: return "Choose the path of a file, not of a directory.";
        case EEXIST: return "Choose another name, or remove what has it.";
        case ENAMETOOLONG: return "Choose a shorter path.";
        case ELOOP: return "Follow the symbolic links on the path and repair the one that leads in a circle.";
        case EACCES: return "Give this user permission to read and write the file and its directory.";
        case EPERM: return "Give this user permission on the file, and check that it is not marked immutable or append-only.";
        case EROFS: return "Remount the file system writable, or move the database to one that is.";
        case ETXTBSY: return "The file is being executed; choose the path of a database.";
        case EBUSY: return "Wait for the other user of the file to finish, then try again.";
        case ENOSPC: return "Free some space, then reopen the database.";
#if defined(EDQUOT)
        case EDQUOT: return "Free some space or have the quota raised, then reopen the database.";
#endif
        case EFBIG: return "Raise the limit on file sizes (ulimit -f), or use a file system that allows larger ones.";
        case EOVERFLOW: return "The file is too large for this build; on 32-bit systems compile with -D_FILE_OFFSET_BITS=64.";
        case EMFILE: return "Close files that are not needed, or raise this process's limit on open files (ulimit -n).";
        case ENFILE: return "The whole system is out of open files; close programs, or raise fs.file-max.";
        case ENOMEM:
            return "Free some memory, or raise the limits on memory and address space (ulimit -v, vm.overcommit_memory, "
                   "vm.max_map_count), then try again.";
        case EIO: return "The disk may be failing: check it and the kernel's log, and have a backup ready.";
#if defined(EHWPOISON)
        case EHWPOISON: return "The machine has found faulty memory: check the kernel's log and replace the memory.";
#endif
        case EFAULT: return "Memory that maps the file could not be made ready: check the free space and the kernel's log.";
        case ENODEV:
        case ENXIO: return "The device is gone or can't hold a database; choose a path on a local file system.";
        case ENOLCK: return "Locks are exhausted or not available there; move the database to a local file system.";
#if defined(ESTALE)
        case ESTALE: return "The file vanished from the network file system; move the database to a local one.";
#endif
        case ENOSYS: return "This kernel lacks the call, or a sandbox forbids it; use a newer kernel or allow the call.";
        case EINVAL:
#if EOPNOTSUPP != ENOTSUP
        case EOPNOTSUPP:
#endif
        case ENOTSUP: return "The file system can't do this; move the database to a local file system such as ext4 or xfs.";
        default: return "Check the path and the file system that holds it, then try again.";
    }
}

bool is_not_found(const Error& error) noexcept {
    return error.code() == ErrorCode::io && error.os_error() == ENOENT;
}

/// A create_new that found the name in use.
bool is_name_taken(const Error& error) noexcept {
    return error.code() == ErrorCode::io && error.os_error() == EEXIST;
}

bool is_out_of_space(const Error& error) noexcept {
#if defined(EDQUOT)
    if (error.os_error() == EDQUOT) return error.code() == ErrorCode::io;
#endif
    return error.code() == ErrorCode::io && error.os_error() == ENOSPC;
}

#endif

Error system_error(std::string_view action, std::string_view path, int os_error) {
    std::string message("cannot ");
    message.append(action).append(" '").append(path).append("': ");
    message.append(system_reason(os_error)).append(". ").append(system_remedy(os_error));
    return Error(ErrorCode::io, std::move(message)).with_os_error(os_error);
}

/// "write 4096 bytes at offset 8192 of": an action on a part of a file, for system_error().
std::string action_on_range(std::string_view verb, std::uint64_t length, std::uint64_t offset) {
    std::string action(verb);
    action.append(" ").append(std::to_string(length)).append(" bytes at offset ").append(std::to_string(offset)).append(" of");
    return action;
}

}  // namespace emdb::detail
