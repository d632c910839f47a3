// Open, write, read, make durable, reopen. When to use it: always; this is all that many programs need.
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <cstdio>
#include <filesystem>

namespace {

// value() throws emdb::Exception on an error. Where exceptions are not wanted, test the Result as examples/embedding does.
bool works(const std::filesystem::path& file) {
    {
        auto db = emdb::Emdb::open(file).value();  // creates the file if there is none

        db.insert("name", "emdb").value();
        db.insert("name", "emdb, the second").value();             // replaces silently
        db.insert(std::string("\0\xff", 2), std::string()).value();  // any byte, also none at all

        // get copies; nullopt means that there is no such key, which is no error.
        const std::optional<std::string> name = db.get("name").value();
        if (name != "emdb, the second" || db.get("nobody").value()) return false;

        // In a loop get_into reuses the string's memory.
        std::string buffer;
        if (!db.get_into("name", buffer).value() || buffer != *name) return false;

        // Read, change, write, with nobody in between.
        for (int i = 0; i < 3; ++i) {
            db.update("visits", [](std::optional<std::string_view> old) {
                  return std::optional(std::to_string(old ? std::stoi(std::string(*old)) + 1 : 1));
              }).value();
        }
        // Only if nobody was first.
        const bool first = db.compare_exchange("leader", std::nullopt, "me").value();
        const bool second = db.compare_exchange("leader", std::nullopt, "you").value();
        if (!first || second) return false;

        if (db.remove("leader").value() != "me") return false;  // gives what was there

        // Everything so far would survive this process being killed; from here on also a power cut.
        db.flush().value();
    }  // the last handle closes the database

    auto db = emdb::Emdb::open(file).value();
    auto records = db.iter().value();
    for (const auto& [key, value] : records) {
        std::printf("%zu-byte key -> %zu-byte value\n", key.size(), value.size());
    }
    records.status().value();  // did the loop end, or fail?
    return db.len().value() == 3 && db.get("visits").value() == "3";
}

}  // namespace

int main() {
    const auto folder = std::filesystem::temp_directory_path() / "emdb-example-basic";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    bool ok = false;
    try {
        ok = works(folder / "basic.emdb");
    } catch (const emdb::Exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
    }
    std::filesystem::remove_all(folder);
    std::puts(ok ? "ok" : "FAILED");
    return ok ? 0 : 1;
}
