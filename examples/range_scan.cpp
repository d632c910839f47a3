// Ordered range scans. When to use them: keys have an order that questions are asked in (times, names, numbers, paths). Give numbers
// a fixed width, or big-endian bytes, so that their byte order is theirs. The order costs memory and slower inserts, so it is
// asked for when the database is opened; nothing of it is in the file.
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <cstdio>
#include <filesystem>
#include <string>

namespace {

bool works(const std::filesystem::path& file) {
    auto db = emdb::Emdb::builder().path(file).enable_range_scans(true).build().value();
    for (const char* day : {"2024-03-02", "2024-02-28", "2024-03-01", "2023-12-24", "2024-03-15"}) {
        db.insert(std::string("note/") + day, "written that day").value();
    }
    db.insert("user/alice", "").value();

    // A whole range at once: all of a transaction's records are in it, or none.
    const auto march = db.range(emdb::Range::half_open("note/2024-03", "note/2024-04")).value();
    for (const emdb::Record& note : march) std::printf("%s: %s\n", note.key.c_str(), note.value.c_str());

    // One by one, in constant memory, while others write: here, while this very loop writes.
    auto notes = db.range_prefix_iter("note/").value();
    std::size_t seen = 0;
    for (const auto& [key, value] : notes) {
        ++seen;
        db.insert(key, "read").value();
        if (key < "note/2024") db.remove(key).value();
    }
    if (!notes.status()) return false;

    // The next key after a given one.
    auto following = db.iter_after("note/2024-03-02").value();
    const auto next = following.begin();
    const bool found = next != following.end() && next->key == "note/2024-03-15";

    const std::size_t left = db.range_prefix("note/").value().size();
    std::printf("%zu notes seen, %zu left\n", seen, left);
    return march.size() == 3 && seen == 5 && left == 4 && found;
}

}  // namespace

int main() {
    const auto folder = std::filesystem::temp_directory_path() / "emdb-example-range-scan";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    const bool ok = works(folder / "range_scan.emdb");
    std::filesystem::remove_all(folder);
    std::puts(ok ? "ok" : "FAILED");
    return ok ? 0 : 1;
}
