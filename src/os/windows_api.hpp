#pragma once
// <windows.h>, tamed: the macros that tame it are taken away again, and text crosses the border as UTF-8 here and nowhere else.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#if defined(_WIN32)

#if !defined(WIN32_LEAN_AND_MEAN)
#define WIN32_LEAN_AND_MEAN
#define EMDB_TAMED_LEAN
#endif
#if !defined(NOMINMAX)
#define NOMINMAX
#define EMDB_TAMED_MINMAX
#endif
#include <windows.h>
#if defined(EMDB_TAMED_LEAN)
#undef WIN32_LEAN_AND_MEAN
#undef EMDB_TAMED_LEAN
#endif
#if defined(EMDB_TAMED_MINMAX)
#undef NOMINMAX
#undef EMDB_TAMED_MINMAX
#endif

namespace emdb::detail {

/// A kernel handle, closed by its destructor.
class WindowsHandle {
public:
    WindowsHandle() noexcept = default;
    explicit WindowsHandle(HANDLE handle) noexcept : handle_(handle) {}
    WindowsHandle(WindowsHandle&& other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
    WindowsHandle& operator=(WindowsHandle&& other) noexcept {
        HANDLE mine = handle_;
        handle_ = other.handle_;
        other.handle_ = mine;
        return *this;
    }
    WindowsHandle(const WindowsHandle&) = delete;
    WindowsHandle& operator=(const WindowsHandle&) = delete;
    ~WindowsHandle() {
        if (*this) CloseHandle(handle_);
    }

    HANDLE get() const noexcept { return handle_; }
    /// CreateFileW says INVALID_HANDLE_VALUE for "none" (the macro is an old-style cast), CreateFileMappingW says null.
    explicit operator bool() const noexcept {
        return handle_ != nullptr && handle_ != reinterpret_cast<HANDLE>(static_cast<std::intptr_t>(-1));
    }

private:
    HANDLE handle_ = nullptr;
};

/// Empty for text that is not UTF-8 (or too long for an int).
std::wstring to_utf16(std::string_view text) {
    if (text.empty() || text.size() > 0x7FFF'FFFF) return {};
    const int size = static_cast<int>(text.size());
    const int units = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text.data(), size, nullptr, 0);
    if (units <= 0) return {};
    std::wstring wide(static_cast<std::size_t>(units), L'\0');
    MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text.data(), size, wide.data(), units);
    return wide;
}

/// Unpaired surrogates become U+FFFD.
std::string to_utf8(std::wstring_view wide) {
    if (wide.empty() || wide.size() > 0x3FFF'FFFF) return {};
    const int units = static_cast<int>(wide.size());
    const int size = WideCharToMultiByte(CP_UTF8, 0, wide.data(), units, nullptr, 0, nullptr, nullptr);
    if (size <= 0) return {};
    std::string text(static_cast<std::size_t>(size), '\0');
    WideCharToMultiByte(CP_UTF8, 0, wide.data(), units, text.data(), size, nullptr, nullptr);
    return text;
}

int last_windows_error() noexcept {
    return static_cast<int>(GetLastError());
}

/// A path from its drive or share on, normalised. Empty, with the thread's last error set, for what is no path.
std::wstring to_full_windows_path(const std::string& path) {
    const std::wstring wide = path.find('\0') == std::string::npos ? to_utf16(path) : std::wstring();
    if (wide.empty()) {
        SetLastError(path.empty() ? ERROR_PATH_NOT_FOUND : ERROR_INVALID_NAME);
        return {};
    }
    std::wstring full;
    DWORD needed = GetFullPathNameW(wide.c_str(), 0, nullptr, nullptr);
    while (needed > full.size()) {  // again if another thread changed the working directory in between
        full.resize(needed);
        needed = GetFullPathNameW(wide.c_str(), static_cast<DWORD>(full.size()), full.data(), nullptr);
    }
    full.resize(needed);
    return full;
}

/// A path as Win32 calls take it: full, and with the \\?\ prefix where it would be too long without. Empty as above.
std::wstring to_windows_path(const std::string& path) {
    const std::wstring full = to_full_windows_path(path);
    // A directory may have 12 characters less than MAX_PATH, to leave room for an 8.3 name in it.
    const bool is_device = full.rfind(L"\\\\.\\", 0) == 0 || full.rfind(L"\\\\?\\", 0) == 0;
    if (full.size() < MAX_PATH - 12 || is_device) return full;
    if (full.rfind(L"\\\\", 0) == 0) return L"\\\\?\\UNC\\" + full.substr(2);
    return L"\\\\?\\" + full;
}

}  // namespace emdb::detail

#endif  // _WIN32
