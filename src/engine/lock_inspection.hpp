#pragma once
// Who holds a database's lock, asked from outside.

#include <optional>
#include <string>
#include <utility>

#include "base/options.hpp"
#include "base/result.hpp"
#include "engine/lock_file.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

/// Nullopt: nobody has it open. A holder whose lock file is gone or unreadable is reported with pid 0.
inline Result<std::optional<LockHolder>> find_lock_holder(Environment& environment, const std::string& path) {
    FileSystem& files = environment.files();
    auto status = files.status(path);
    if (!status) return std::move(status).error();
    if (status->kind == FileKind::absent) return std::optional<LockHolder>();
    auto file = files.open(path, OpenMode::read_only);
    if (!file) return std::move(file).error();
    auto locked = (*file)->is_locked_by_other();
    if (!locked) return std::move(locked).error();
    if (!*locked) return std::optional<LockHolder>();
    auto real = files.absolute(path);
    if (!real) return std::move(real).error();
    return std::optional<LockHolder>(read_lock_file(files, *real).value_or(LockHolder()));
}

inline Result<void> break_lock(Environment& environment, const std::string& path) {
    auto holder = find_lock_holder(environment, path);
    if (!holder) return std::move(holder).error();
    if (*holder) {
        return Error(ErrorCode::already_locked, "'" + path + "' is open in process " + std::to_string((*holder)->pid) +
                     ", which is alive, so its lock can't be broken. Close the database there or end that process.");
    }
    auto real = environment.files().absolute(path);
    if (!real) return std::move(real).error();
    return environment.files().remove(lock_file_path(*real));
}

}  // namespace emdb::detail
