#pragma once
// For secrets in memory: stores that the compiler can't drop, and a comparison whose time says nothing.

#include <cstddef>
#include <cstring>

namespace emdb::detail {

/// Overwrites `size` bytes with zeros, also when nothing reads them again.
inline void wipe(void* memory, std::size_t size) noexcept {
#if defined(__GNUC__) || defined(__clang__)
    if (size != 0) std::memset(memory, 0, size);
    __asm__ volatile("" : : "r"(memory) : "memory");  // for all the compiler knows, this reads what was stored
#else
    volatile unsigned char* const bytes = static_cast<volatile unsigned char*>(memory);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = 0;
#endif
}

/// Wipes an object, an array for instance, when the scope that it lives in ends.
template <class T>
class WipedAtExit {
public:
    explicit WipedAtExit(T& object) noexcept : object_(object) {}
    ~WipedAtExit() { wipe(&object_, sizeof(T)); }
    WipedAtExit(const WipedAtExit&) = delete;
    WipedAtExit& operator=(const WipedAtExit&) = delete;

private:
    T& object_;
};

/// Whether `size` bytes are the same. Takes as long for any bytes; only the answer may be branched on.
[[nodiscard]] inline bool equal_in_constant_time(const std::byte* a, const std::byte* b, std::size_t size) noexcept {
    unsigned difference = 0;
    for (std::size_t i = 0; i < size; ++i) {
        difference |= static_cast<unsigned>(a[i] ^ b[i]);
#if defined(__GNUC__) || defined(__clang__)
        __asm__("" : "+r"(difference));  // or a compiler might see that it can stop at the first difference
#endif
    }
    return difference == 0;
}

}  // namespace emdb::detail
