#pragma once
// The targets and their names.

#include "fuzz/fuzzing.hpp"

#include "fuzz/checkpoint_target.cpp"
#include "fuzz/dump_target.cpp"
#include "fuzz/header_target.cpp"
#include "fuzz/journal_target.cpp"
#include "fuzz/lock_file_target.cpp"
#include "fuzz/operations_target.cpp"

namespace emdb_fuzz {

inline constexpr Target targets[]{
    {"journal", fuzz_journal},   {"checkpoint", fuzz_checkpoint}, {"lock_file", fuzz_lock_file},
    {"header", fuzz_header},     {"dump", fuzz_dump},             {"operations", fuzz_operations},
};

}  // namespace emdb_fuzz
