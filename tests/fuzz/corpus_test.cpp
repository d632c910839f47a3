// The inputs that fuzzing has kept (tests/fuzz/corpus), and those that once failed (tests/fuzz/found), run again without a fuzzer.

#include "fuzz/all_targets.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "support/database_contents.hpp"

namespace emdb_fuzz {
namespace {

std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> files;
    std::error_code absent;
    for (const auto& entry : std::filesystem::directory_iterator(folder, absent)) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files;
}

void run_kept_inputs(const Target& target) {
    const std::filesystem::path here = std::filesystem::path(__FILE__).parent_path();
    std::size_t count = 0;
    for (const char* const kind : {"corpus", "found"}) {
        for (const auto& path : files_in(here / kind / target.name)) {
            const std::string bytes = read_bytes(path.string());
            INFO("FUZZ_TARGET=", target.name, " build/fuzz/targets ", path.string());
            CHECK_NOTHROW(target.run(Input(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size())));
            ++count;
        }
    }
    CHECK(count > 0);
}

TEST_CASE("kept inputs of journals behind a good header are recovered, verified and salvaged") { run_kept_inputs(targets[0]); }
TEST_CASE("kept inputs of checkpoint files change nothing of what is read") { run_kept_inputs(targets[1]); }
TEST_CASE("kept inputs of lock files are in nobody's way") { run_kept_inputs(targets[2]); }
TEST_CASE("kept inputs of headers and key blocks open nothing that they should not") { run_kept_inputs(targets[3]); }
TEST_CASE("kept inputs of dumps and JSON lines are the same after having been written") { run_kept_inputs(targets[4]); }
TEST_CASE("kept inputs of calls leave what a map has") { run_kept_inputs(targets[5]); }

TEST_CASE("every target has a test of its kept inputs") { CHECK(std::size(targets) == 6); }

}  // namespace
}  // namespace emdb_fuzz
