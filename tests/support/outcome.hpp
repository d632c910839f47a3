#pragma once
// What a call came to, in a word.

#include <string>

#include "emdb.hpp"

namespace emdb_test {

// "success", or the name of the error's code.
template <class T>
std::string outcome(const emdb::Result<T>& result) {
    return result ? "success" : emdb::to_string(result.error().code());
}

}  // namespace emdb_test
