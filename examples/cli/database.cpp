#include "database.hpp"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "byte_syntax.hpp"
#include "key_material.hpp"

namespace cli {

void require_database(const std::string& path) {
    std::error_code absent;
    if (!std::filesystem::exists(path, absent)) fail(Status::failed, "there is no database '" + path + "'");
}

emdb::Emdb open_database(const Arguments& arguments, const std::string& path, Opening opening) {
    if (!opening.create) require_database(path);
    emdb::EmdbBuilder builder = emdb::Emdb::builder();
    KeyMaterial(arguments).apply_to(builder);
    return builder.path(path).enable_range_scans(opening.ordered).build().value();
}

Keyspace::Keyspace(emdb::Emdb& db, const std::optional<std::string>& name, bool create) : db_(db) {
    if (!name) return;
    const std::string bytes = parse_bytes(*name);
    if (!create) {
        const std::vector<std::string> names = db.list_namespaces().value();
        if (!std::binary_search(names.begin(), names.end(), bytes)) {
            fail(Status::absent, "there is no namespace '" + *name + "' in '" + db.path() + "'");
        }
    }
    named_ = db.open_namespace(bytes).value();
}

Status status_of(const emdb::Error& error) {
    switch (error.code()) {
        case emdb::ErrorCode::already_locked: return Status::locked;
        case emdb::ErrorCode::corrupted:
        case emdb::ErrorCode::encryption_error:
        case emdb::ErrorCode::magic_mismatch: return Status::damaged;
        case emdb::ErrorCode::key_required:
        case emdb::ErrorCode::encryption_key_mismatch:
        case emdb::ErrorCode::not_encrypted: return Status::key;
        default: return Status::failed;
    }
}

}  // namespace cli
