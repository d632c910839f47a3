#pragma once
// Where a database lies: from the builder's settings to a path.

#include <string>

#include "base/open_options.hpp"
#include "base/result.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

inline bool wants_named_location(const OpenOptions& options) noexcept {
    return options.app_name || options.database_name || options.data_root;
}

/// A single component of a path: not empty, no separator, not the directory itself or its parent.
inline Result<void> check_path_component(const char* setting, const std::string& name) {
    const bool has_separator = name.find_first_of(std::string("/\\\0:", 4)) != std::string::npos;
    if (!name.empty() && name != "." && name != ".." && !has_separator) return {};
    return Error(ErrorCode::invalid_config, std::string(setting) + " '" + name + "' must be one plain name: not empty, not '.' or "
                 "'..', without '/', '\\', ':' or NUL. Use path() for a location of your own.");
}

/// The file for settings that name one (see EmdbBuilder); its directory is created.
inline Result<std::string> resolve_database_path(const OpenOptions& options, FileSystem& files) {
    if (options.path) {
        if (wants_named_location(options)) {
            return Error(ErrorCode::invalid_config, "path() was given together with app_name(), database_name() or data_root(). Give "
                         "the one or the others.");
        }
        if (options.path->empty() || options.path->find('\0') != std::string::npos) {
            return Error(ErrorCode::invalid_config, "path() is empty or contains a NUL byte. Give the path of a file.");
        }
        return *options.path;
    }
    const std::string app_name = options.app_name.value_or("emdb");
    const std::string database_name = options.database_name.value_or("emdb-default.emdb");
    if (auto good = check_path_component("app_name", app_name); !good) return std::move(good).error();
    if (auto good = check_path_component("database_name", database_name); !good) return std::move(good).error();
    std::string root;
    if (options.data_root) {
        if (options.data_root->empty()) {
            return Error(ErrorCode::invalid_config, "data_root() is empty. Give a directory, or leave it out for the platform's own.");
        }
        root = *options.data_root;
    } else {
        auto platform = platform_data_directory();
        if (!platform) return platform;
        root = std::move(*platform);
    }
    const std::string directory = root + "/" + app_name;
    if (auto created = files.create_directories(directory); !created) return std::move(created).error();
    return directory + "/" + database_name;
}

}  // namespace emdb::detail
