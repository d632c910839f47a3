#pragma once
// SecretVector, SecretString, wipe_text: memory that may hold plaintext of an encrypted database, wiped before it is given back. Plain
// standard containers in a build without encryption.

#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/config.hpp"
#if EMDB_ENCRYPT
#include "crypto/wipe.hpp"
#endif

namespace emdb::detail {

#if EMDB_ENCRYPT

template <class T>
struct WipingAllocator {
    using value_type = T;
    WipingAllocator() noexcept = default;
    template <class U>
    WipingAllocator(const WipingAllocator<U>&) noexcept {}
    T* allocate(std::size_t count) { return std::allocator<T>().allocate(count); }
    void deallocate(T* memory, std::size_t count) noexcept {
        wipe(memory, std::span(memory, count).size_bytes());
        std::allocator<T>().deallocate(memory, count);
    }
    friend bool operator==(const WipingAllocator&, const WipingAllocator&) noexcept { return true; }
};

template <class T>
using SecretAllocator = WipingAllocator<T>;

#else

template <class T>
using SecretAllocator = std::allocator<T>;

#endif

/// For strings of standard type, and for what short ones hold in themselves, which no allocator sees. Before the end of their life.
template <class String>
void wipe_text([[maybe_unused]] String& text) noexcept {
#if EMDB_ENCRYPT
    wipe(text.data(), text.capacity());
#endif
}

template <class T>
using SecretVector = std::vector<T, SecretAllocator<T>>;
using SecretString = std::basic_string<char, std::char_traits<char>, SecretAllocator<char>>;

}  // namespace emdb::detail
