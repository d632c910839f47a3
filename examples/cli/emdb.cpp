// The implementation, compiled once.
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"
