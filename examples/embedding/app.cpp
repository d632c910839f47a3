// emdb in a program of several files, built without exceptions and RTTI. When to use it: in anything larger than one file.
// Only emdb.cpp beside this file defines EMDB_IMPLEMENTATION; everything else just includes the header.
//
//   c++ -std=c++20 -O2 -fno-exceptions -fno-rtti -I../.. app.cpp emdb.cpp -pthread -o embedding
//
// Without exceptions Result::value() on an error prints the message and ends the program, so errors are tested for here.
#include "emdb.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace {

// The program's own layer over the database: what the rest of it sees.
class Settings {
public:
    static emdb::Result<Settings> open(emdb::Path path) {
        return emdb::Emdb::open(path).transform([](emdb::Emdb db) { return Settings(std::move(db)); });
    }

    emdb::Result<int> get(std::string_view name, int fallback) const {
        return db_.get(name).transform([&](const std::optional<std::string>& text) {
            return text ? std::atoi(text->c_str()) : fallback;
        });
    }
    emdb::Result<void> set(std::string_view name, int value) {
        return db_.insert(name, std::to_string(value)).and_then([this] { return db_.flush(); });
    }

private:
    explicit Settings(emdb::Emdb db) : db_(std::move(db)) {}
    emdb::Emdb db_;
};

int fail(const emdb::Error& error) {
    std::fprintf(stderr, "settings: %s (%s)\n", error.message().c_str(), emdb::to_string(error.code()));
    return 1;
}

int run(const std::filesystem::path& path) {
    auto settings = Settings::open(path);
    if (!settings) return fail(settings.error());
    if (auto set = settings->set("volume", 11); !set) return fail(set.error());
    const auto volume = settings->get("volume", 5);
    if (!volume) return fail(volume.error());
    const auto balance = settings->get("balance", 0);
    if (!balance) return fail(balance.error());
    std::printf("volume %d, balance %d\n", *volume, *balance);

    // Errors are values: a code to decide on, and a sentence to show.
    const auto second = Settings::open(path);
    if (second || second.error() != emdb::ErrorCode::already_locked) return 1;
    std::printf("as it should be: %s\n", second.error().message().c_str());
    return *volume == 11 && *balance == 0 ? 0 : 1;
}

}  // namespace

int main() {
    std::error_code error;
    const auto folder = std::filesystem::temp_directory_path(error) / "emdb-example-embedding";
    if (error || (std::filesystem::create_directories(folder, error), error)) {
        std::fprintf(stderr, "settings: no temporary folder: %s\n", error.message().c_str());
        return 1;
    }
    const int status = run(folder / "settings.emdb");
    std::filesystem::remove_all(folder, error);
    std::puts(status == 0 ? "ok" : "FAILED");
    return status;
}
