// The one implementation that the black-box tests share, as a program has it: exactly one such file.
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"
