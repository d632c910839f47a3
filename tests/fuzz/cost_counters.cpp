// Compiled without what calls it, and linked with --wrap for the functions of the C library.

#include "fuzz/cost_counters.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace emdb_fuzz {
namespace {

constinit thread_local bool counting = false;
constinit thread_local std::uint64_t steps = 0;
constinit std::size_t in_use = 0;  // of all threads; the tests that ask have one
constinit std::size_t in_use_at_start = 0;
constinit std::size_t peak = 0;
constinit std::size_t largest = 0;

// In front of each allocation lies its size, and how far it is from the beginning.
constexpr std::size_t prefix_size = 2 * sizeof(std::size_t);

void* allocate(std::size_t size, std::size_t alignment) noexcept {
    const std::size_t offset = std::max(alignment, prefix_size);
    if (size > SIZE_MAX - 2 * offset) return nullptr;
    if (counting) largest = std::max(largest, size);
    auto* const start = static_cast<char*>(std::malloc(size + 2 * offset));
    if (start == nullptr) return nullptr;
    const auto address = reinterpret_cast<std::uintptr_t>(start);
    char* const data = start + offset + (alignment - (address + offset) % alignment) % alignment;
    const std::size_t prefix[2] = {size, static_cast<std::size_t>(data - start)};
    std::memcpy(data - prefix_size, prefix, prefix_size);
    __atomic_fetch_add(&in_use, size, __ATOMIC_RELAXED);
    if (counting) peak = std::max(peak, in_use - std::min(in_use, in_use_at_start));
    return data;
}

void release(void* data) noexcept {
    if (data == nullptr) return;
    std::size_t prefix[2];
    std::memcpy(prefix, static_cast<char*>(data) - prefix_size, prefix_size);
    __atomic_fetch_sub(&in_use, prefix[0], __ATOMIC_RELAXED);
    std::free(static_cast<char*>(data) - prefix[1]);
}

void* allocate_or_throw(std::size_t size, std::size_t alignment) {
    void* const data = allocate(size, alignment);
    if (data == nullptr) throw std::bad_alloc();
    return data;
}

}  // namespace

void start_counting() noexcept {
    steps = 0;
    in_use_at_start = in_use;
    peak = largest = 0;
    counting = true;
}

Cost stop_counting() noexcept {
    counting = false;
    return {steps, peak, largest};
}

}  // namespace emdb_fuzz

using emdb_fuzz::allocate;
using emdb_fuzz::allocate_or_throw;
using emdb_fuzz::release;

void* operator new(std::size_t size) { return allocate_or_throw(size, 16); }
void* operator new[](std::size_t size) { return allocate_or_throw(size, 16); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, 16); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, 16); }
void* operator new(std::size_t size, std::align_val_t alignment) { return allocate_or_throw(size, static_cast<std::size_t>(alignment)); }
void* operator new[](std::size_t size, std::align_val_t alignment) { return allocate_or_throw(size, static_cast<std::size_t>(alignment)); }
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* data) noexcept { release(data); }
void operator delete[](void* data) noexcept { release(data); }
void operator delete(void* data, std::size_t) noexcept { release(data); }
void operator delete[](void* data, std::size_t) noexcept { release(data); }
void operator delete(void* data, const std::nothrow_t&) noexcept { release(data); }
void operator delete[](void* data, const std::nothrow_t&) noexcept { release(data); }
void operator delete(void* data, std::align_val_t) noexcept { release(data); }
void operator delete[](void* data, std::align_val_t) noexcept { release(data); }
void operator delete(void* data, std::size_t, std::align_val_t) noexcept { release(data); }
void operator delete[](void* data, std::size_t, std::align_val_t) noexcept { release(data); }
void operator delete(void* data, std::align_val_t, const std::nothrow_t&) noexcept { release(data); }
void operator delete[](void* data, std::align_val_t, const std::nothrow_t&) noexcept { release(data); }

extern "C" {

void __sanitizer_cov_trace_pc() {
    if (emdb_fuzz::counting) ++emdb_fuzz::steps;
}

void* __real_memcpy(void*, const void*, std::size_t);
void* __real_memmove(void*, const void*, std::size_t);
void* __real_memset(void*, int, std::size_t);
int __real_memcmp(const void*, const void*, std::size_t);

void* __wrap_memcpy(void* to, const void* from, std::size_t size) {
    if (emdb_fuzz::counting) emdb_fuzz::steps += size / 64;
    return __real_memcpy(to, from, size);
}
void* __wrap_memmove(void* to, const void* from, std::size_t size) {
    if (emdb_fuzz::counting) emdb_fuzz::steps += size / 64;
    return __real_memmove(to, from, size);
}
void* __wrap_memset(void* to, int value, std::size_t size) {
    if (emdb_fuzz::counting) emdb_fuzz::steps += size / 64;
    return __real_memset(to, value, size);
}
int __wrap_memcmp(const void* a, const void* b, std::size_t size) {
    if (emdb_fuzz::counting) emdb_fuzz::steps += size / 64;
    return __real_memcmp(a, b, size);
}

}
