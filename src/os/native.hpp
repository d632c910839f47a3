#pragma once
// The operating system's own implementation of the contract. Each file compiles to nothing on the other kind of system.

#include "os/contract.hpp"
#include "os/system_error.hpp"

#include "os/posix_file.hpp"
#include "os/sync_ring.hpp"
#include "os/posix_filesystem.hpp"
#include "os/posix_environment.hpp"
#include "os/posix_process_barrier.hpp"

#include "os/windows_file.hpp"
#include "os/windows_filesystem.hpp"
#include "os/windows_environment.hpp"
