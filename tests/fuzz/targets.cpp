// All fuzz targets, as one program of libFuzzer's. FUZZ_TARGET in the environment says which is meant:
//
//   FUZZ_TARGET=journal build/fuzz/targets FILE       runs a file that was kept
//   FUZZ_TARGET=journal build/fuzz/targets FOLDER     fuzzes on from a corpus
//
// tests/fuzz/run_fuzzers.py does the latter for all of them.

#include <cstdio>
#include <cstdlib>

#include "fuzz/all_targets.hpp"

namespace {

void (*chosen)(emdb_fuzz::Input) = nullptr;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    const char* const name = std::getenv("FUZZ_TARGET");
    for (const emdb_fuzz::Target& target : emdb_fuzz::targets) {
        if (name != nullptr && std::string_view(name) == target.name) chosen = target.run;
    }
    if (chosen != nullptr) return 0;
    std::fputs("FUZZ_TARGET is to be one of:", stderr);
    for (const emdb_fuzz::Target& target : emdb_fuzz::targets) std::fprintf(stderr, " %s", target.name);
    std::fputs("\n", stderr);
    std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        chosen(emdb_fuzz::Input(data, size));
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "BROKEN PROMISE: %s\n", failure.what());
        std::abort();
    }
    return 0;
}
