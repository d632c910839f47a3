#pragma once
// Memory for secrets, in pages of its own: kept out of core dumps and swap as far as the system lets it, and wiped at the end.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <span>
#include <utility>

#include "crypto/wipe.hpp"

#if defined(__unix__) || defined(__APPLE__)
#define EMDB_SECRET_PAGES 1
#include <sys/mman.h>
#include <unistd.h>
#else
#define EMDB_SECRET_PAGES 0
#endif

namespace emdb::detail {

/// Zeroed memory, at a multiple of 64 bytes at least. Moves; an empty one has no data.
class SecretMemory {
public:
    SecretMemory() noexcept = default;
    /// For keys: also locked, so that it isn't written to swap. A limit on locked memory or a system that can't is no failure.
    [[nodiscard]] static SecretMemory allocate(std::size_t size) noexcept {
        SecretMemory memory(size);
#if EMDB_SECRET_PAGES
        if (memory.data_ != nullptr) memory.locked_ = mlock(memory.data_, memory.size_) == 0;
#endif
        return memory;
    }
    /// For working memory of many times a page, `count` times `size` bytes: not locked.
    [[nodiscard]] static SecretMemory allocate_large(std::size_t count, std::size_t size) noexcept {
        if (size != 0 && count > std::numeric_limits<std::size_t>::max() / 2 / size) return {};
        SecretMemory memory(count * size);
#if EMDB_SECRET_PAGES && defined(MADV_HUGEPAGE)
        if (memory.data_ != nullptr) madvise(memory.data_, memory.size_, MADV_HUGEPAGE);  // a wish: fewer page faults
#endif
        return memory;
    }
    ~SecretMemory() { release(); }
    SecretMemory(SecretMemory&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)), locked_(std::exchange(other.locked_, false)) {}
    SecretMemory& operator=(SecretMemory&& other) noexcept {
        if (this != &other) {
            release();
            data_ = std::exchange(other.data_, nullptr);
            size_ = std::exchange(other.size_, 0);
            locked_ = std::exchange(other.locked_, false);
        }
        return *this;
    }

    /// nullptr when there was no memory.
    [[nodiscard]] std::byte* data() const noexcept { return static_cast<std::byte*>(data_); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool locked() const noexcept { return locked_; }

private:
    explicit SecretMemory(std::size_t size) noexcept {
        if (size == 0) return;
#if EMDB_SECRET_PAGES
        void* const pages = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
        if (pages == MAP_FAILED) return;
        data_ = pages;
#if defined(MADV_DONTDUMP)
        madvise(pages, size, MADV_DONTDUMP);
#elif defined(MADV_NOCORE)
        madvise(pages, size, MADV_NOCORE);
#endif
#else
        data_ = ::operator new(size, std::align_val_t{64}, std::nothrow);
        if (data_ == nullptr) return;
        std::memset(data_, 0, size);
#endif
        size_ = size;
    }
    void release() noexcept {
        if (data_ == nullptr) return;
        wipe(data_, size_);
#if EMDB_SECRET_PAGES
        munmap(data_, size_);  // unlocks it, too
#else
        ::operator delete(data_, std::align_val_t{64});
#endif
    }

    void* data_ = nullptr;
    std::size_t size_ = 0;
    bool locked_ = false;
};

}  // namespace emdb::detail
