#pragma once
// process_barrier on POSIX: membarrier(2) where there is one (Linux 4.14 and later).

#include "os/contract.hpp"

#if !defined(_WIN32)

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace emdb::detail {

#if defined(__linux__) && defined(SYS_membarrier)

// From <linux/membarrier.h>, which old systems lack.
constexpr int membarrier_private_expedited = 1 << 3;
constexpr int membarrier_register_private_expedited = 1 << 4;

bool process_barrier_works() noexcept {
    // Asked each time: the registration belongs to the address space, and registering again costs next to nothing.
    return ::syscall(SYS_membarrier, membarrier_register_private_expedited, 0, 0) == 0 && process_barrier();
}

bool process_barrier() noexcept { return ::syscall(SYS_membarrier, membarrier_private_expedited, 0, 0) == 0; }

#else

bool process_barrier_works() noexcept { return false; }

bool process_barrier() noexcept { return false; }

#endif

}  // namespace emdb::detail

#endif
