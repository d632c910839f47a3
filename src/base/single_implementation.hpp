#pragma once
// Defined once, by the translation unit that has EMDB_IMPLEMENTATION: what the checks of config.hpp refer to, and a symbol
// whose second definition tells, in the linker's own message, that EMDB_IMPLEMENTATION was defined twice.

#include "base/config.hpp"

namespace emdb::detail {

const char EMDB_IMPLEMENTATION_must_be_defined_in_exactly_one_translation_unit = 1;

const char EMDB_TTL_SYMBOL = 1;
const char EMDB_NESTED_SYMBOL = 1;
const char EMDB_ENCRYPT_SYMBOL = 1;
const char EMDB_ASYNC_SYMBOL = 1;
const char EMDB_IO_URING_SYMBOL = 1;

}  // namespace emdb::detail
