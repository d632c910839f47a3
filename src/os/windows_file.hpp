#pragma once
// File on a Windows handle.
//
// A view's dirty pages are noticed by the system only when the view is flushed or unmapped, so FlushFileBuffers() alone misses
// what was stored through views that are still there: sync() first flushes every writable one.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cwchar>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "os/contract.hpp"
#include "os/system_error.hpp"
#include "os/windows_api.hpp"

#if defined(_WIN32)

namespace emdb::detail {

/// A mapped part of a file; unmapped when the last who needs it has gone: the Mapping, or a sync() that is flushing it.
class WindowsView {
public:
    WindowsView(std::byte* data, std::size_t size) noexcept : data_(data), size_(size) {}
    WindowsView(const WindowsView&) = delete;
    WindowsView& operator=(const WindowsView&) = delete;
    ~WindowsView() { UnmapViewOfFile(data_); }

    std::byte* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }

private:
    std::byte* const data_;
    const std::size_t size_;
};

class WindowsFile final : public File {
public:
    WindowsFile(WindowsHandle handle, std::string path, bool writable, std::uint64_t volume) noexcept
        : handle_(std::move(handle)), path_(std::move(path)), writable_(writable), volume_(volume) {}

    Result<std::uint64_t> size() override {
        LARGE_INTEGER size;
        if (!GetFileSizeEx(handle_.get(), &size)) return failed("find out the size of");
        return static_cast<std::uint64_t>(size.QuadPart);
    }

    Result<void> write_at(std::uint64_t offset, std::span<const std::byte> bytes) override {
        std::size_t done = 0;
        while (done < bytes.size()) {
            const auto step = static_cast<DWORD>((std::min)(bytes.size() - done, transfer_bytes_max));
            OVERLAPPED where = position(offset + done);
            DWORD written = 0;
            if (!WriteFile(handle_.get(), bytes.data() + done, step, &written, &where)) {
                return failed(action_on_range("write", bytes.size(), offset));
            }
            if (written == 0) return system_error(action_on_range("write", bytes.size(), offset), path_, ERROR_DISK_FULL);
            done += written;
        }
        return {};
    }

    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) override {
        std::size_t done = 0;
        while (done < into.size()) {
            const auto step = static_cast<DWORD>((std::min)(into.size() - done, transfer_bytes_max));
            OVERLAPPED where = position(offset + done);
            DWORD got = 0;
            if (!ReadFile(handle_.get(), into.data() + done, step, &got, &where)) {
                if (GetLastError() == ERROR_HANDLE_EOF) break;
                return failed(action_on_range("read", into.size(), offset));
            }
            if (got == 0) break;
            done += got;
        }
        return done;
    }

    /// NTFS gives a plain file its clusters when its size is set. Compressed and sparse files get them when written to.
    bool keeps_allocation() override {
        Answer answer = keeps_allocation_.load(std::memory_order_relaxed);  // guards nothing: two threads find the same
        if (answer == Answer::unknown) {
            answer = writable_ && allocation_is_kept() ? Answer::yes : Answer::no;
            keeps_allocation_.store(answer, std::memory_order_relaxed);
        }
        return answer == Answer::yes;
    }

    Result<void> allocate(std::uint64_t offset, std::uint64_t length) override {
        const std::string action = action_on_range("allocate", length, offset);
        if (!fits(offset, length)) return system_error(action, path_, ERROR_FILE_TOO_LARGE);
        auto current = size();
        if (!current) return std::move(current).error();
        if (offset + length <= *current) return {};  // a smaller allocation would cut the file
        FILE_ALLOCATION_INFO allocation;
        allocation.AllocationSize.QuadPart = static_cast<LONGLONG>(offset + length);
        if (!SetFileInformationByHandle(handle_.get(), FileAllocationInfo, &allocation, sizeof allocation)) {
            return failed(action);
        }
        return set_size(offset + length, action);
    }

    Result<void> truncate(std::uint64_t size) override {
        const std::string action = "set the size to " + std::to_string(size) + " bytes of";
        if (!fits(size, 0)) return system_error(action, path_, ERROR_FILE_TOO_LARGE);
        return set_size(size, action);
    }

    bool cuts_mapped() override { return false; }

    Result<void> sync() override {
        if (!writable_) return {};  // has written nothing, and the call would be refused
        for (const std::shared_ptr<WindowsView>& view : live_writable_views()) {
            if (!FlushViewOfFile(view->data(), view->size())) return failed("make durable what was stored to");
        }
        if (!FlushFileBuffers(handle_.get())) return failed("make durable what was written to");
        return {};
    }

    bool maps_past_end() override { return false; }

    Result<Mapping> map_read_only(std::uint64_t offset, std::size_t length) override {
        auto view = map(offset, length, PAGE_READONLY, FILE_MAP_READ);
        if (!view) return std::move(view).error();
        std::byte* const data = (*view)->data();
        return Mapping(data, length, nullptr, *std::move(view));
    }

    Result<Mapping> map_writable(std::uint64_t offset, std::size_t length) override {
        auto view = map(offset, length, PAGE_READWRITE, FILE_MAP_READ | FILE_MAP_WRITE);
        if (!view) return std::move(view).error();
        {
            const std::lock_guard lock(views_mutex_);
            std::erase_if(writable_views_, [](const std::weak_ptr<WindowsView>& old) { return old.expired(); });
            writable_views_.push_back(*view);
        }
        std::byte* const data = (*view)->data();
        return Mapping(data, length, nullptr, *std::move(view));
    }

    /// Windows has no call that promises it.
    Result<void> populate(const Mapping&, std::size_t, std::size_t) override { return {}; }

    bool is_memory_backed() override { return false; }

    /// The call for it wants addresses, and mapped files are read ahead anyway.
    void expect_reading(std::uint64_t, std::uint64_t) noexcept override {}
    void expect_random_reading(const Mapping&) noexcept override {}

    std::size_t map_granularity() override {
        SYSTEM_INFO info;
        GetSystemInfo(&info);
        return info.dwAllocationGranularity;
    }

    /// Locks on Windows are mandatory, so the locked byte lies where no data ever will: others may go on reading the file. A
    /// file opened read-only is locked shared, as on POSIX.
    Result<bool> try_lock() override {
        const std::lock_guard lock(lock_mutex_);
        if (locked_) return true;  // a second exclusive lock would conflict with our own
        auto taken = lock_now(writable_);
        locked_ = taken && *taken;
        return taken;
    }

    /// Windows can't say, so this takes the lock for a moment, in which another opener may be turned away.
    Result<bool> is_locked_by_other() override {
        const std::lock_guard lock(lock_mutex_);
        if (locked_) return false;
        auto taken = lock_now(true);
        if (!taken) return taken;
        if (!*taken) return true;
        OVERLAPPED where = position(lock_offset);
        if (!UnlockFileEx(handle_.get(), 0, 1, 0, &where)) return failed("unlock");
        return false;
    }

    void set_name(const std::string& path) override { path_ = path; }

    Result<FileIdentity> identity() override {
        BY_HANDLE_FILE_INFORMATION info;
        if (!GetFileInformationByHandle(handle_.get(), &info)) return failed("find out the identity of");
        FileIdentity found = identity_of(info);
        found.device = volume_;
        return found;
    }

    static FileIdentity identity_of(const BY_HANDLE_FILE_INFORMATION& info) noexcept {
        return {info.dwVolumeSerialNumber, (std::uint64_t{info.nFileIndexHigh} << 32) | info.nFileIndexLow};
    }

private:
    enum class Answer : std::uint8_t { unknown, no, yes };

    static constexpr std::size_t transfer_bytes_max = std::size_t{1} << 30;
    static constexpr std::uint64_t lock_offset = std::uint64_t{1} << 62;

    static bool fits(std::uint64_t offset, std::uint64_t length) noexcept {
        return offset < lock_offset && length < lock_offset - offset;
    }

    static OVERLAPPED position(std::uint64_t offset) noexcept {
        OVERLAPPED where = {};
        where.Offset = static_cast<DWORD>(offset & 0xFFFF'FFFF);
        where.OffsetHigh = static_cast<DWORD>(offset >> 32);
        return where;
    }

    Error failed(std::string_view action) const { return system_error(action, path_, last_windows_error()); }

    Result<void> set_size(std::uint64_t size, const std::string& action) {
        FILE_END_OF_FILE_INFO end;
        end.EndOfFile.QuadPart = static_cast<LONGLONG>(size);
        if (!SetFileInformationByHandle(handle_.get(), FileEndOfFileInfo, &end, sizeof end)) return failed(action);
        return {};
    }

    Result<bool> lock_now(bool exclusive) {
        OVERLAPPED where = position(lock_offset);
        const DWORD flags = LOCKFILE_FAIL_IMMEDIATELY | (exclusive ? LOCKFILE_EXCLUSIVE_LOCK : DWORD{0});
        if (LockFileEx(handle_.get(), flags, 0, 1, 0, &where)) return true;
        if (const DWORD why = GetLastError(); why != ERROR_LOCK_VIOLATION && why != ERROR_IO_PENDING) return failed("lock");
        return false;
    }

    Result<std::shared_ptr<WindowsView>> map(std::uint64_t offset, std::size_t length, DWORD protection, DWORD access) {
        const std::string action = action_on_range("map", length, offset);
        auto current = size();
        if (!current) return std::move(current).error();
        // A writable mapping object past the end would make the file longer.
        if (length == 0 || offset > *current || length > *current - offset) {
            return system_error(action, path_, ERROR_INVALID_PARAMETER);
        }
        const std::uint64_t end = offset + length;
        const WindowsHandle object(CreateFileMappingW(handle_.get(), nullptr, protection, static_cast<DWORD>(end >> 32),
                                                      static_cast<DWORD>(end & 0xFFFF'FFFF), nullptr));
        if (!object) return failed(action);
        // The view keeps the object alive.
        void* const data = MapViewOfFile(object.get(), access, static_cast<DWORD>(offset >> 32),
                                         static_cast<DWORD>(offset & 0xFFFF'FFFF), length);
        if (data == nullptr) return failed(action);
        return std::make_shared<WindowsView>(static_cast<std::byte*>(data), length);
    }

    std::vector<std::shared_ptr<WindowsView>> live_writable_views() {
        std::vector<std::shared_ptr<WindowsView>> live;
        const std::lock_guard lock(views_mutex_);
        for (const std::weak_ptr<WindowsView>& view : writable_views_) {
            if (auto owned = view.lock()) live.push_back(std::move(owned));
        }
        return live;
    }

    bool allocation_is_kept() noexcept {
        // Wine says NTFS whatever lies below, where a longer file is a sparse one.
        if (GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "wine_get_version") != nullptr) return false;
        wchar_t system[32] = {};
        if (!GetVolumeInformationByHandleW(handle_.get(), nullptr, 0, nullptr, nullptr, nullptr, system, 32)) return false;
        BY_HANDLE_FILE_INFORMATION info;
        if (std::wcscmp(system, L"NTFS") != 0 || !GetFileInformationByHandle(handle_.get(), &info)) return false;
        return (info.dwFileAttributes & (FILE_ATTRIBUTE_COMPRESSED | FILE_ATTRIBUTE_SPARSE_FILE)) == 0;
    }

    WindowsHandle handle_;
    std::string path_;
    const bool writable_;
    const std::uint64_t volume_;  ///< as it was at the opening: it stays, but Wine can't tell the volume of a file that was renamed since
    std::atomic<Answer> keeps_allocation_{Answer::unknown};
    std::mutex views_mutex_;
    std::vector<std::weak_ptr<WindowsView>> writable_views_;
    std::mutex lock_mutex_;
    bool locked_ = false;
};

}  // namespace emdb::detail

#endif  // _WIN32
