// Separate keyspaces in one file. When to use it: for kinds of records that are counted, iterated, cleared or dropped by
// themselves, instead of prefixes in the keys. They are cheap (an empty one costs under 1 KiB); ten thousand are ordinary.
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <cstdio>
#include <string>
#include <vector>

namespace {

bool works() {
    auto db = emdb::Emdb::open_in_memory();  // the same with a file
    auto users = db.open_namespace("users").value();  // created if there is none
    auto sessions = db.open_namespace("sessions").value();

    // The same key in three places: the default keyspace has no name.
    db.insert("42", "the answer").value();
    users.insert("42", "alice").value();
    sessions.insert("42", "logged in").value();
    if (db.len().value() != 1 || users.get("42").value() != "alice") return false;

    // One transaction may span them all.
    db.transaction([&](emdb::Transaction& tx) -> emdb::Result<void> {
          tx.in(users).insert("43", "bob").value();
          tx.in(sessions).insert("43", "logged in").value();
          return tx.insert("43", "one more than the answer");
      }).value();

    auto everyone = users.iter().value();
    for (const auto& [id, name] : everyone) {
        std::printf("%s: user %.*s is %.*s\n", users.name().c_str(), static_cast<int>(id.size()), id.data(),
                    static_cast<int>(name.size()), name.data());
    }
    everyone.status().value();

    // Everybody out: one write, whatever the number of records.
    sessions.clear().value();
    if (!sessions.is_empty().value() || users.len().value() != 2) return false;

    if (db.list_namespaces().value() != std::vector<std::string>{"sessions", "users"}) return false;
    if (!db.drop_namespace("sessions").value() || db.drop_namespace("sessions").value()) return false;
    // A handle on what was dropped says so, also after the name has been taken again.
    auto fresh = db.open_namespace("sessions").value();
    return sessions.insert("44", "late") == emdb::ErrorCode::invalid_argument && fresh.is_empty().value();
}

}  // namespace

int main() {
    const bool ok = works();
    std::puts(ok ? "ok" : "FAILED");
    return ok ? 0 : 1;
}
