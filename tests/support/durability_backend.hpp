#pragma once
// What makes data durable in a test program: system calls, or io_uring in programs that are compiled for it.

#include "emdb.hpp"

namespace emdb_test {

inline emdb::EmdbBuilder builder_with_backend() {
    emdb::EmdbBuilder builder;
#if EMDB_IO_URING
    builder.iouring_sqpoll(0U);
#endif
    return builder;
}

}  // namespace emdb_test
