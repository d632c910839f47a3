#pragma once
// FileSystem on Windows. Every file is opened so that others may rename and remove it, as on POSIX.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "os/contract.hpp"
#include "os/system_error.hpp"
#include "os/windows_api.hpp"
#include "os/windows_file.hpp"

#if defined(_WIN32)

namespace emdb::detail {

class WindowsFileSystem final : public FileSystem {
public:
    Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
        const char* const action = mode == OpenMode::create_new ? "create" : "open";
        const std::wstring wide = to_windows_path(path);
        if (wide.empty()) return failed(action, path);
        // Opening a directory would say "access denied", and so would creating one's namesake.
        if (const DWORD attributes = GetFileAttributesW(wide.c_str());
            attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) {
            return refused(path, "it is a directory");
        }
        const DWORD access = mode == OpenMode::read_only ? GENERIC_READ : GENERIC_READ | GENERIC_WRITE;
        const DWORD disposition = mode == OpenMode::create_new ? CREATE_NEW : OPEN_EXISTING;
        WindowsHandle handle(
            CreateFileW(wide.c_str(), access, share_all, nullptr, disposition, FILE_ATTRIBUTE_NORMAL, nullptr));
        if (!handle) return failed(action, path);
        if (GetFileType(handle.get()) != FILE_TYPE_DISK) return refused(path, "it is a device or a pipe");
        BY_HANDLE_FILE_INFORMATION info;
        if (!GetFileInformationByHandle(handle.get(), &info)) return failed(action, path);
        return std::make_unique<WindowsFile>(std::move(handle), path, mode != OpenMode::read_only, info.dwVolumeSerialNumber);
    }

    Result<FileStatus> status(const std::string& path) override {
        if (auto whole = refuse_nul(path); !whole) return std::move(whole).error();
        FileStatus result;
        const std::wstring wide = to_windows_path(path);
        // Without asking for its contents, and as a backup program so that directories open too.
        WindowsHandle handle;
        if (!wide.empty()) {
            handle = WindowsHandle(CreateFileW(wide.c_str(), FILE_READ_ATTRIBUTES, share_all, nullptr, OPEN_EXISTING,
                                               FILE_FLAG_BACKUP_SEMANTICS, nullptr));
        }
        if (!handle) {
            const DWORD why = GetLastError();
            if (why == ERROR_FILE_NOT_FOUND || why == ERROR_PATH_NOT_FOUND || why == ERROR_DIRECTORY) return result;
            return system_error("look up", path, static_cast<int>(why));
        }
        if (GetFileType(handle.get()) != FILE_TYPE_DISK) {
            result.kind = FileKind::other;
            return result;
        }
        BY_HANDLE_FILE_INFORMATION info;
        if (!GetFileInformationByHandle(handle.get(), &info)) return failed("look up", path);
        result.kind = (info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0 ? FileKind::directory : FileKind::regular;
        result.size = (std::uint64_t{info.nFileSizeHigh} << 32) | info.nFileSizeLow;
        result.identity = WindowsFile::identity_of(info);
        return result;
    }

    /// A file that is open or mapped can't be replaced, but it can be renamed: it is moved aside first, as "<to>.old", and then out of the
    /// way of the next one.
    Result<void> rename_replacing(const std::string& from, const std::string& to) override {
        if (move(from, to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)) return {};
        const DWORD why = GetLastError();
        if (why != ERROR_ACCESS_DENIED && why != ERROR_SHARING_VIOLATION && why != ERROR_USER_MAPPED_FILE) {
            return system_error("rename '" + from + "' to", to, static_cast<int>(why));
        }
        const std::string aside = aside_name(to);
        discard(to);  // if something is in the way, the next call says so
        if (!move(to, aside, MOVEFILE_WRITE_THROUGH)) return failed("rename to '" + aside + "' the file", to);
        if (!move(from, to, MOVEFILE_WRITE_THROUGH)) {
            const Error error = failed("rename '" + from + "' to", to);
            (void)move(aside, to, MOVEFILE_WRITE_THROUGH);  // else the next opening does it
            return error;
        }
        // Should only the removal of what was moved aside survive a power cut, nothing at all would be left.
        if (auto synced = sync_directory_of(to); !synced) return synced;
        discard(to);
        return {};
    }

    std::string aside_name(const std::string& to) override { return to + ".old"; }

    std::vector<std::string> discarded_names(const std::string& to) override {
        constexpr int discarded_max = 8;
        std::vector<std::string> names;
        for (int number = 1; number <= discarded_max; ++number) names.push_back(aside_name(to) + std::to_string(number));
        return names;
    }

    Result<bool> rename_if_absent(const std::string& from, const std::string& to) override {
        if (move(from, to, MOVEFILE_WRITE_THROUGH)) return true;
        const DWORD why = GetLastError();
        if (why == ERROR_ALREADY_EXISTS || why == ERROR_FILE_EXISTS) return false;
        return system_error("rename '" + from + "' to", to, static_cast<int>(why));
    }

    Result<void> remove(const std::string& path) override {
        const std::wstring wide = to_windows_path(path);
        if (!wide.empty() && DeleteFileW(wide.c_str())) return {};
        const DWORD why = GetLastError();
        if (why == ERROR_FILE_NOT_FOUND || why == ERROR_PATH_NOT_FOUND) return {};
        return system_error("remove", path, static_cast<int>(why));
    }

    /// Renames are written through and NTFS journals its names, so this is for other file systems; flushing a directory needs
    /// a right that an ordinary user may lack, and not every file system can do it. That is no error.
    Result<void> sync_directory_of(const std::string& path) override {
        const std::wstring wide = parent_of(to_windows_path(path));
        const WindowsHandle directory(
            CreateFileW(wide.c_str(), GENERIC_WRITE, share_all, nullptr, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, nullptr));
        const DWORD why = directory && FlushFileBuffers(directory.get()) ? ERROR_SUCCESS : GetLastError();
        switch (why) {
            case ERROR_SUCCESS:
            case ERROR_ACCESS_DENIED:
            case ERROR_INVALID_FUNCTION:
            case ERROR_INVALID_PARAMETER:
            case ERROR_INVALID_HANDLE:
            case ERROR_NOT_SUPPORTED: return {};
            default: return system_error("make durable a changed name in the directory of", path, static_cast<int>(why));
        }
    }

    Result<std::string> absolute(const std::string& path) override {
        if (auto whole = refuse_nul(path); !whole) return std::move(whole).error();
        const std::wstring full = to_full_windows_path(path);
        if (full.empty()) return failed("make absolute the path", path);
        return to_utf8(full);
    }

    Result<void> create_directories(const std::string& path) override {
        const std::wstring wide = to_windows_path(path);
        const DWORD why = wide.empty() ? GetLastError() : create_with_parents(wide);
        if (why == ERROR_SUCCESS) return {};
        return system_error("create the directory", path, static_cast<int>(why));
    }

private:
    static constexpr DWORD share_all = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

    static Error failed(std::string_view action, const std::string& path) {
        return system_error(action, path, last_windows_error());
    }

    static Error refused(const std::string& path, const char* why) {
        std::string message = "cannot open '" + path + "': " + why + ". Choose the path of a regular file.";
        return Error(ErrorCode::io, std::move(message)).with_os_error(ERROR_ACCESS_DENIED);
    }

    // Cut off at the NUL it would name another file.
    static Result<void> refuse_nul(const std::string& path) {
        const std::size_t nul = path.find('\0');
        if (nul == std::string::npos) return {};
        return Error(ErrorCode::invalid_argument, "cannot use the path '" + path.substr(0, nul) + "' followed by a NUL byte. Remove "
                     "everything from the NUL byte on.");
    }

    static bool move(const std::string& from, const std::string& to, DWORD flags) {
        const std::wstring wide_from = to_windows_path(from);
        if (wide_from.empty()) return false;
        const std::wstring wide_to = to_windows_path(to);
        return !wide_to.empty() && MoveFileExW(wide_from.c_str(), wide_to.c_str(), flags);
    }

    // Has what was moved aside removed: now, or when the last who has it open closes it, or by the next rename or opening if it is mapped.
    // Until then it has a name, and that must not be the one that the next file to be moved aside gets.
    void discard(const std::string& to) {
        const std::string aside = aside_name(to);
        for (const std::string& name : discarded_names(to)) {
            (void)remove(name);
            if (!move(aside, name, 0)) continue;
            (void)remove(name);
            return;
        }
    }

    // Full paths have backslashes only, one between names.
    static std::wstring parent_of(const std::wstring& full) {
        const std::size_t end = full.find_last_not_of(L'\\');
        const std::size_t slash = end == std::wstring::npos ? end : full.find_last_of(L'\\', end);
        return slash == std::wstring::npos ? std::wstring() : full.substr(0, slash + 1);
    }

    static bool is_directory(const std::wstring& wide) noexcept {
        const DWORD attributes = GetFileAttributesW(wide.c_str());
        return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
    }

    static DWORD create_with_parents(const std::wstring& wide) {
        if (is_directory(wide) || CreateDirectoryW(wide.c_str(), nullptr)) return ERROR_SUCCESS;
        DWORD why = GetLastError();
        const std::wstring parent = parent_of(wide);
        if (why == ERROR_PATH_NOT_FOUND && !parent.empty()) {
            why = create_with_parents(parent);
            if (why != ERROR_SUCCESS || CreateDirectoryW(wide.c_str(), nullptr)) return why;
            why = GetLastError();
        }
        return is_directory(wide) ? ERROR_SUCCESS : why;  // somebody else was faster
    }
};

}  // namespace emdb::detail

#endif  // _WIN32
