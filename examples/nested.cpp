// Keys with dots as paths: reading, listing and removing everything below one. When to use it: for small trees such as settings
// or one entity's fields. Kinds of records are better off in namespaces.
#define EMDB_NESTED 1  // off by default; the same in every file of a program, or on the command line: -DEMDB_NESTED=1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <cstdio>
#include <string>

namespace {

bool works() {
    auto db = emdb::Emdb::open_in_memory();  // the same with a file, and on namespaces

    // A focus puts its prefix and a dot before every key.
    auto user = db.focus("user.42");
    user.set("name", "alice").value();
    user.set("mail", "alice@example.org").value();
    auto address = user.focus("address");
    address.set("city", "Paris").value();
    db.insert("user.421.name", "bob").value();  // not under "user.42": a group begins behind the dot
    if (db.get("user.42.address.city").value() != "Paris" || user.get("name").value() != "alice") return false;

    // A group is what lies below a prefix, in the order of the keys, all of one moment as far as transactions go.
    for (const auto& [key, value] : db.group("user.42").value()) std::printf("%s = %s\n", key.c_str(), value.c_str());
    if (db.group("user.42").value().size() != 3 || db.group("user").value().size() != 4) return false;

    // In constant memory, while others write.
    std::size_t found = 0;
    auto records = address.iter().value();
    for (const auto& [key, value] : records) found += key == "user.42.address.city" && value == "Paris";
    if (!records.status() || found != 1) return false;

    // All of it goes at once, also if the power does.
    if (db.delete_group("user.42").value() != 3 || address.delete_all().value() != 0) return false;
    if (db.len().value() != 1) return false;

    // There is no group of everything: that would be clear().
    return db.delete_group("") == emdb::ErrorCode::invalid_argument;
}

}  // namespace

int main() {
    const bool ok = works();
    std::puts(ok ? "ok" : "FAILED");
    return ok ? 0 : 1;
}
