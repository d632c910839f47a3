#pragma once
// A private folder for one test, removed with everything in it when the test ends, passed or not.
//
//   emdb_test::TempFolder folder;
//   auto db = emdb::Emdb::open(folder.file("a.emdb"));

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <system_error>

namespace emdb_test {

class TempFolder {
public:
    TempFolder() {
        // The standard says where: $TMPDIR or /tmp, %TMP% on Windows. create_directory() tells whether the name was free.
        std::random_device random;
        for (int tries = 0; tries < 100 && path_.empty(); ++tries) {
            const std::string name = "emdb-" + std::to_string(random()) + std::to_string(random());
            const std::filesystem::path candidate = std::filesystem::temp_directory_path() / name;
            std::error_code error;
            if (std::filesystem::create_directory(candidate, error)) path_ = candidate;
        }
        if (path_.empty()) {
            std::fprintf(stderr, "cannot create a folder in %s; set TMPDIR to one that exists and is writable\n",
                         std::filesystem::temp_directory_path().string().c_str());
            std::abort();
        }
        std::filesystem::permissions(path_, std::filesystem::perms::owner_all);
    }

    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;

    ~TempFolder() {
        std::error_code error;
        std::filesystem::remove_all(path_, error);
        // Not an assertion: this runs while a failed one unwinds.
        if (error) std::fprintf(stderr, "cannot remove %s: %s\n", path_.string().c_str(), error.message().c_str());
    }

    /// The folder itself, without a separator at its end; in UTF-8.
    std::string path() const { return to_utf8(path_); }
    /// The path of a name in the folder, which need not exist.
    std::string file(const std::string& name) const { return path() + static_cast<char>(std::filesystem::path::preferred_separator) + name; }

private:
    static std::string to_utf8(const std::filesystem::path& path) {
        const std::u8string text = path.u8string();
        return std::string(text.begin(), text.end());
    }

    std::filesystem::path path_;
};

}  // namespace emdb_test
