#pragma once
// The callbacks that users hand over.

#include <cstdint>
#include <string_view>

#include "base/function_ref.hpp"
#include "base/options.hpp"

namespace emdb::detail {

using LogCallback = SharedFunction<void(LogLevel, std::string_view)>;
using Clock = SharedFunction<std::uint64_t()>;
using ProgressCallback = SharedFunction<void(std::uint64_t, std::uint64_t)>;

}  // namespace emdb::detail
