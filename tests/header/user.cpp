// A user's file: the declarations and nothing else.
#include "emdb.hpp"

#include <cstdio>

int main() {
    emdb::Emdb db = emdb::Emdb::open_in_memory();
    db.insert("name", "emdb").value();
    const std::optional<std::string> value = db.get("name").value();
    std::puts(value ? value->c_str() : "absent");
    return value == "emdb" ? 0 : 1;
}
