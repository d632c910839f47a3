#pragma once
// The File of in-memory databases: a large range of addresses, of which only the first part is backed by memory.
//
// Growing never moves it, so mappings are plain pointers that keep the range alive, and they may reach past the end. Invariant:
// every byte from the file's size to the end of the range is zero or was never touched.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.hpp"
#include "os/contract.hpp"
#include "os/posix_file.hpp"
#include "os/system_error.hpp"
#include "os/windows_api.hpp"

#if !defined(_WIN32)
#include <sys/mman.h>
#include <sys/resource.h>
#endif

namespace emdb::detail {

/// A range of addresses, accessible up to committed(). Calls are serialised by the caller.
class ReservedMemory {
public:
    /// Null, with `why` set, when the system won't even give the smallest useful range.
    static std::shared_ptr<ReservedMemory> make(int& why) {
        // 1 TiB of addresses costs nothing on 64-bit systems, but there may be a limit, or many databases.
        constexpr std::size_t size_max =
            sizeof(std::size_t) > 4 ? static_cast<std::size_t>(std::uint64_t{1} << 40) : std::size_t{1} << 30;
        constexpr std::size_t size_min = std::size_t{64} << 20;
        const std::size_t limit = address_space_limit();
        for (std::size_t size = size_max; size >= size_min; size /= 2) {
            if (size > limit / 2 && size > size_min) continue;  // leave the program room for the rest
            if (std::byte* const data = reserve(size, why); data != nullptr) {
                return std::shared_ptr<ReservedMemory>(new ReservedMemory(data, size));
            }
        }
        return nullptr;
    }

    ReservedMemory(const ReservedMemory&) = delete;
    ReservedMemory& operator=(const ReservedMemory&) = delete;

    std::byte* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }

    /// Makes [0, end) accessible: 0 or the system's error code.
    int commit(std::size_t end) noexcept {
        if (end <= committed_) return 0;
        // In steps: each is a system call, and what nobody touches costs nothing.
        constexpr std::size_t step = std::size_t{1} << 20;
        const std::size_t target = (std::min)(size_, (end + step - 1) / step * step);
        const int why = make_accessible(data_ + committed_, target - committed_);
        if (why == 0) committed_ = target;
        return why;
    }

#if defined(_WIN32)
    ~ReservedMemory() { VirtualFree(data_, 0, MEM_RELEASE); }

    /// Makes [from, to) zero and gives its memory back; only bytes before `to` have been touched.
    void discard(std::size_t from, std::size_t to) noexcept {
        constexpr std::size_t page = 4096;
        const std::size_t first_page = (std::min)((from + page - 1) / page * page, committed_);
        std::memset(data_ + from, 0, (std::min)(first_page, to) - from);
        if (first_page >= to) return;
        if (VirtualFree(data_ + first_page, committed_ - first_page, MEM_DECOMMIT)) {
            committed_ = first_page;
        } else {
            std::memset(data_ + first_page, 0, to - first_page);
        }
    }

private:
    static std::size_t address_space_limit() noexcept { return (std::numeric_limits<std::size_t>::max)(); }

    static std::byte* reserve(std::size_t size, int& why) noexcept {
        void* const address = VirtualAlloc(nullptr, size, MEM_RESERVE, PAGE_NOACCESS);
        if (address == nullptr) why = last_windows_error();
        return static_cast<std::byte*>(address);
    }

    static int make_accessible(std::byte* data, std::size_t size) noexcept {
        return VirtualAlloc(data, size, MEM_COMMIT, PAGE_READWRITE) != nullptr ? 0 : last_windows_error();
    }
#else
    ~ReservedMemory() { ::munmap(data_, size_); }

    /// Makes [from, to) zero and gives its memory back; only bytes before `to` have been touched.
    void discard(std::size_t from, std::size_t to) noexcept {
        const std::size_t page = page_size();
        const std::size_t first_page = (std::min)((from + page - 1) / page * page, committed_);
        std::memset(data_ + from, 0, (std::min)(first_page, to) - from);
        if (first_page >= to) return;
        std::byte* const data = data_ + first_page;
#if defined(__linux__)
        // Private anonymous pages come back as zeros (only Linux promises that). Fails where they are locked in memory.
        if (::madvise(data, committed_ - first_page, MADV_DONTNEED) == 0) return;
        std::memset(data, 0, to - first_page);
#else
        std::memset(data, 0, to - first_page);
#if defined(MADV_FREE)
        ::madvise(data, committed_ - first_page, MADV_FREE);  // zeros now, and zeros again if the system takes the pages
#endif
#endif
    }

private:
    static std::size_t address_space_limit() noexcept {
        struct rlimit limit;
        constexpr std::size_t none = (std::numeric_limits<std::size_t>::max)();
        if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > none) return none;
        return static_cast<std::size_t>(limit.rlim_cur);
    }

    static std::byte* reserve(std::size_t size, int& why) noexcept {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#if defined(MAP_NORESERVE)
        flags |= MAP_NORESERVE;
#endif
        void* const address = ::mmap(nullptr, size, PROT_NONE, flags, -1, 0);
        if (!is_failed_map(address)) return static_cast<std::byte*>(address);
        why = errno;
        return nullptr;
    }

    static int make_accessible(std::byte* data, std::size_t size) noexcept {
        return ::mprotect(data, size, PROT_READ | PROT_WRITE) == 0 ? 0 : errno;
    }
#endif

    ReservedMemory(std::byte* data, std::size_t size) noexcept : data_(data), size_(size) {}

    std::byte* const data_;
    const std::size_t size_;
    std::size_t committed_ = 0;
};

class MemoryFile final : public File {
public:
    MemoryFile(std::shared_ptr<ReservedMemory> memory, std::uint64_t serial) noexcept
        : memory_(std::move(memory)), serial_(serial) {}

    Result<std::uint64_t> size() override {
        const std::shared_lock lock(resizing_);
        return std::uint64_t{size_};
    }

    Result<void> write_at(std::uint64_t offset, std::span<const std::byte> bytes) override {
        if (bytes.empty()) return {};
        if (!fits(offset, bytes.size())) return too_large(offset, bytes.size());
        const std::size_t start = static_cast<std::size_t>(offset);
        const std::size_t end = start + bytes.size();
        {
            const std::shared_lock lock(resizing_);
            if (end <= size_) {
                std::memcpy(memory_->data() + start, bytes.data(), bytes.size());
                return {};
            }
        }
        const std::unique_lock lock(resizing_);
        if (const int why = memory_->commit(end); why != 0) {
            return system_error(action_on_range("write", bytes.size(), offset), name, why);
        }
        std::memcpy(memory_->data() + start, bytes.data(), bytes.size());
        size_ = (std::max)(size_, end);
        return {};
    }

    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) override {
        const std::shared_lock lock(resizing_);
        if (into.empty() || offset >= size_) return std::size_t{0};
        const std::size_t start = static_cast<std::size_t>(offset);
        const std::size_t length = (std::min)(into.size(), size_ - start);
        std::memcpy(into.data(), memory_->data() + start, length);
        return length;
    }

    bool keeps_allocation() override { return true; }

    Result<void> allocate(std::uint64_t offset, std::uint64_t length) override {
        if (!fits(offset, length)) return too_large(offset, length);
        const std::unique_lock lock(resizing_);
        const std::size_t end = static_cast<std::size_t>(offset + length);
        if (const int why = memory_->commit(end); why != 0) {
            return system_error(action_on_range("allocate", length, offset), name, why);
        }
        size_ = (std::max)(size_, end);
        return {};
    }

    Result<void> truncate(std::uint64_t size) override {
        if (!fits(0, size)) return too_large(0, size);
        const std::unique_lock lock(resizing_);
        const std::size_t end = static_cast<std::size_t>(size);
        if (end < size_) memory_->discard(end, size_);
        if (const int why = memory_->commit(end); why != 0) {
            return system_error("set the size to " + std::to_string(size) + " bytes of", name, why);
        }
        size_ = end;
        return {};
    }

    /// There is no power cut to survive.
    Result<void> sync() override { return {}; }

    bool maps_past_end() override { return true; }

    Result<Mapping> map_read_only(std::uint64_t offset, std::size_t length) override {
        if (!fits(offset, length)) return too_large(offset, length);
        return Mapping(memory_->data() + static_cast<std::size_t>(offset), length, nullptr, memory_);
    }

    Result<Mapping> map_writable(std::uint64_t offset, std::size_t length) override { return map_read_only(offset, length); }

    Result<void> populate(const Mapping& mapping, std::size_t offset, std::size_t length) override {
#if !defined(_WIN32)
        if (length == 0) return {};
        const int why = populate_pages(mapping.data() + offset, length);
        if (why != 0 && why != EINVAL) return system_error(action_on_range("provide memory for", length, offset), name, why);
#else
        static_cast<void>(mapping);  // committing has set the memory aside
        static_cast<void>(offset);
        static_cast<void>(length);
#endif
        return {};
    }

    bool is_memory_backed() override { return true; }

    void expect_reading(std::uint64_t, std::uint64_t) noexcept override {}
    void expect_random_reading(const Mapping&) noexcept override {}

    std::size_t map_granularity() override {
#if !defined(_WIN32)
        return page_size();
#else
        return std::size_t{64} << 10;
#endif
    }

    /// Nobody else can reach it.
    Result<bool> try_lock() override { return true; }
    Result<bool> is_locked_by_other() override { return false; }

    void set_name(const std::string&) override {}

    Result<FileIdentity> identity() override { return FileIdentity{(std::numeric_limits<std::uint64_t>::max)(), serial_}; }

private:
    static constexpr std::string_view name = "in-memory database";

    bool fits(std::uint64_t offset, std::uint64_t length) const noexcept {
        return offset <= memory_->size() && length <= memory_->size() - offset;
    }

    Error too_large(std::uint64_t offset, std::uint64_t length) const {
        return Error(ErrorCode::too_large,
                     "cannot use " + std::to_string(length) + " bytes at offset " + std::to_string(offset) +
                         " of an in-memory database: " + std::to_string(memory_->size()) + " bytes are its limit here. Remove "
                         "data, raise the limit on address space (ulimit -v) before opening it, or use a file.");
    }

    const std::shared_ptr<ReservedMemory> memory_;
    const std::uint64_t serial_;
    // Shared by those who copy inside the size, exclusive for those who change it: on Windows a cut takes the pages away.
    std::shared_mutex resizing_;
    std::size_t size_ = 0;
};

Result<std::unique_ptr<File>> make_memory_file() {
    static std::atomic<std::uint64_t> serial{0};
    int why = 0;
    std::shared_ptr<ReservedMemory> memory = ReservedMemory::make(why);
    if (memory == nullptr) return system_error("reserve address space for an", "in-memory database", why);
    return std::make_unique<MemoryFile>(std::move(memory), serial.fetch_add(1, std::memory_order_relaxed));
}

}  // namespace emdb::detail
