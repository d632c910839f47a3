#pragma once
// Environment on Windows: entropy, time, the process, and memory for index tables.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.hpp"
#include "os/contract.hpp"
#include "os/system_error.hpp"
#include "os/windows_api.hpp"
#include "os/windows_filesystem.hpp"

#if defined(_WIN32)

namespace emdb::detail {

class WindowsEnvironment final : public Environment {
public:
    FileSystem& files() override { return files_; }

    std::uint64_t now_unix_ms() override {
        const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
        return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count());
    }

    Result<void> fill_random(std::span<std::byte> into) override {
        static const RandomCall random = find_random_call();
        if (random == nullptr) return system_error("find the random generator in", "advapi32.dll", ERROR_PROC_NOT_FOUND);
        while (!into.empty()) {
            const std::size_t step = (std::min)(into.size(), std::size_t{1} << 20);
            if (!random(into.data(), static_cast<ULONG>(step))) {
                return system_error("get random bytes from", "RtlGenRandom", last_windows_error());
            }
            into = into.subspan(step);
        }
        return {};
    }

    std::uint32_t process_id() override { return GetCurrentProcessId(); }

    std::string host_name() override {
        wchar_t name[256];
        DWORD units = 256;
        if (!GetComputerNameExW(ComputerNameDnsHostname, name, &units)) return {};  // information for people only
        return to_utf8(std::wstring_view(name, units));
    }

private:
    using RandomCall = BOOLEAN(WINAPI*)(PVOID buffer, ULONG length);

    // RtlGenRandom, under the name that the library exports. Looked up so that programs need no import library for it; the
    // full path keeps a planted library of that name out.
    static RandomCall find_random_call() noexcept {
        wchar_t path[MAX_PATH + 16];
        const UINT units = GetSystemDirectoryW(path, MAX_PATH);
        if (units == 0 || units > MAX_PATH) return nullptr;
        lstrcpyW(path + units, L"\\advapi32.dll");
        HMODULE const library = LoadLibraryW(path);
        if (library == nullptr) return nullptr;
        return reinterpret_cast<RandomCall>(reinterpret_cast<void (*)()>(GetProcAddress(library, "SystemFunction036")));
    }

    WindowsFileSystem files_;
};

Environment& native_environment() {
    // In a union it is never destroyed: databases in static storage may be closed after it would have been.
    union Immortal {
        Immortal() : environment() {}
        ~Immortal() {}
        WindowsEnvironment environment;
    };
    static Immortal immortal;
    return immortal.environment;
}

std::string environment_variable(const char* name) {
    const std::wstring wide = to_utf16(name);
    std::wstring value;
    DWORD needed = GetEnvironmentVariableW(wide.c_str(), nullptr, 0);
    while (needed > value.size()) {  // again if another thread set a longer one in between
        value.resize(needed);
        needed = GetEnvironmentVariableW(wide.c_str(), value.data(), static_cast<DWORD>(value.size()));
    }
    value.resize(needed);
    return to_utf8(value);
}

Result<std::string> platform_data_directory() {
    std::string directory = environment_variable("LOCALAPPDATA");
    if (directory.empty()) {
        return Error(ErrorCode::invalid_config,
                     "cannot find out the directory for application data: LOCALAPPDATA is not set. Set it, or give the builder "
                     "a data_root() or a path().");
    }
    return directory;
}

/// There is no fork().
std::uint32_t fork_count() noexcept {
    return 0;
}
void watch_forks() {}

/// Large pages need a privilege that ordinary users lack, so they are not asked for.
bool process_barrier() noexcept {
    ::FlushProcessWriteBuffers();
    return true;
}

bool process_barrier_works() noexcept { return true; }

void* allocate_pages(std::size_t size) noexcept {
    return VirtualAlloc(nullptr, (std::max)(size, std::size_t{1}), MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void release_pages(void* data, std::size_t /*size*/) noexcept {
    if (data != nullptr) VirtualFree(data, 0, MEM_RELEASE);
}

void give_back_pages(void* data, std::size_t size) noexcept {
    constexpr std::uintptr_t page = 4096;  // on every processor that Windows runs on
    const auto begin = (reinterpret_cast<std::uintptr_t>(data) + page - 1) / page * page;
    const auto end = (reinterpret_cast<std::uintptr_t>(data) + size) / page * page;
    if (begin < end) VirtualFree(reinterpret_cast<void*>(begin), end - begin, MEM_DECOMMIT);
}

}  // namespace emdb::detail

#endif  // _WIN32
