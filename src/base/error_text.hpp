#pragma once
// The out-of-line half of error.hpp.

#include <cstdio>
#include <cstdlib>

#include "base/error.hpp"

namespace emdb {

const char* to_string(ErrorCode code) noexcept {
    switch (code) {
        case ErrorCode::io: return "io";
        case ErrorCode::already_locked: return "already_locked";
        case ErrorCode::magic_mismatch: return "magic_mismatch";
        case ErrorCode::version_mismatch: return "version_mismatch";
        case ErrorCode::corrupted: return "corrupted";
        case ErrorCode::invalid_config: return "invalid_config";
        case ErrorCode::invalid_argument: return "invalid_argument";
        case ErrorCode::key_not_found: return "key_not_found";
        case ErrorCode::transaction_aborted: return "transaction_aborted";
        case ErrorCode::feature_disabled: return "feature_disabled";
        case ErrorCode::too_large: return "too_large";
        case ErrorCode::poisoned: return "poisoned";
        case ErrorCode::key_required: return "key_required";
        case ErrorCode::encryption_key_mismatch: return "encryption_key_mismatch";
        case ErrorCode::encryption_error: return "encryption_error";
        case ErrorCode::not_encrypted: return "not_encrypted";
        case ErrorCode::stopped: return "stopped";
    }
    return "unknown";
}

namespace detail {

[[noreturn]] void raise(const Error& error) {
#if EMDB_EXCEPTIONS
    throw Exception(error);
#else
    std::fprintf(stderr, "emdb: %s\n", error.message().c_str());
    std::abort();
#endif
}

}  // namespace detail

}  // namespace emdb
