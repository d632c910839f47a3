// The one file of the program that compiles emdb itself. Nothing else belongs here: it takes the longest to compile and has
// the least reason to change.
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"
