#pragma once
// The atomics and locks that structures shared without a lock are built of. A test that defines EMDB_DETAIL_MODEL brings its own,
// under which this very code is run in every order that the memory model allows.

#include <atomic>
#include <mutex>

namespace emdb::detail {

#ifndef EMDB_DETAIL_MODEL
template <class T>
using Atomic = std::atomic<T>;
using Mutex = std::mutex;
#endif

}  // namespace emdb::detail
