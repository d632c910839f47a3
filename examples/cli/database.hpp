#pragma once
// How commands get at a database.

#include <optional>
#include <string>

#include "emdb.hpp"

#include "arguments.hpp"
#include "failure.hpp"

namespace cli {

struct Opening {
    bool create = false;   // a database that is not there
    bool ordered = false;  // with range scans
};

/// Ends with Status::failed unless there is something at `path`.
void require_database(const std::string& path);

/// With the key that the options give. Ends the program if it can't be opened.
emdb::Emdb open_database(const Arguments& arguments, const std::string& path, Opening opening);

/// What `--namespace` names, or the default keyspace.
class Keyspace {
public:
    /// A namespace that is not there is made if `create` is set, else Status::absent.
    Keyspace(emdb::Emdb& db, const std::optional<std::string>& name, bool create);
    emdb::Keyspace& operator*() { return named_ ? *named_ : static_cast<emdb::Keyspace&>(db_); }
    emdb::Keyspace* operator->() { return &**this; }

private:
    emdb::Emdb& db_;
    std::optional<emdb::Namespace> named_;
};

inline constexpr Option namespace_option{"namespace", 'n', "NAME", "the namespace; without it the default keyspace"};

/// The exit status for an error of the database.
Status status_of(const emdb::Error& error);

}  // namespace cli
