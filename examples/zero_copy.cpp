// Reading a value where it lies, without a copy. When to use it: values of many kilobytes, or values that are only looked at
// or passed on (hashed, parsed, sent). For small values `get_into` is as good. While a ValueRef lives, the memory that it
// points into stays mapped: don't hoard them.
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <cstdio>
#include <filesystem>

namespace {

emdb::Result<emdb::ValueRef> picture(const emdb::Emdb& db) {
    auto found = db.get_zerocopy("picture");
    if (!found) return found.error();
    if (!*found) return emdb::Error(emdb::ErrorCode::key_not_found, "there is no picture");
    return **found;
}

bool works(const std::filesystem::path& file) {
    const std::string pixels(1 << 20, 'x');
    emdb::Result<emdb::ValueRef> kept = emdb::Error(emdb::ErrorCode::key_not_found, "nothing yet");
    {
        auto db = emdb::Emdb::open(file).value();
        db.insert("picture", pixels).value();

        kept = picture(db);
        if (!kept) return false;
        std::size_t sum = 0;
        for (const std::byte pixel : kept->as_slice()) sum += std::to_integer<std::size_t>(pixel);
        std::printf("%zu bytes, sum %zu, none copied\n", kept->size(), sum);

        // What is stored into another key may come straight from the map.
        db.insert("copy", *kept).value();

        // It keeps what it saw: across overwriting, removal, clear ...
        db.insert("picture", "something else").value();
        if (*kept != emdb::Bytes(pixels)) return false;
        db.clear().value();
    }
    // ... and after the database was closed.
    return *kept == pixels && kept->to_string() == pixels;
}

}  // namespace

int main() {
    const auto folder = std::filesystem::temp_directory_path() / "emdb-example-zero-copy";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    const bool ok = works(folder / "zero_copy.emdb");
    std::filesystem::remove_all(folder);
    std::puts(ok ? "ok" : "FAILED");
    return ok ? 0 : 1;
}
