// All fuzz targets, as one program of libFuzzer's. FUZZ_TARGET in the environment says which is meant:
//
//   FUZZ_TARGET=journal build/fuzz/targets FILE       runs a file that was kept
//   FUZZ_TARGET=journal build/fuzz/targets FOLDER     fuzzes on from a corpus
//
// tests/fuzz/run_fuzzers.py does the latter for all of them. FUZZ_INPUT_SECONDS=n: an input that takes more seconds of processor time
// is a failure. Time that passes while others have the processor, or nobody, tells nothing about an input.

#include <signal.h>
#include <sys/time.h>

#include <cstdio>
#include <cstdlib>

#include "fuzz/all_targets.hpp"

namespace {

void (*chosen)(emdb_fuzz::Input) = nullptr;
time_t seconds_max = 0;

void give_up(int) {
    std::fputs("BROKEN PROMISE: the input takes too long\n", stderr);
    std::abort();
}

void limit_time(time_t seconds) {
    const itimerval limit{{0, 0}, {seconds, 0}};
    setitimer(ITIMER_PROF, &limit, nullptr);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    const char* const name = std::getenv("FUZZ_TARGET");
    for (const emdb_fuzz::Target& target : emdb_fuzz::targets) {
        if (name != nullptr && std::string_view(name) == target.name) chosen = target.run;
    }
    if (const char* const seconds = std::getenv("FUZZ_INPUT_SECONDS")) seconds_max = std::atol(seconds);
    signal(SIGPROF, give_up);
    if (chosen != nullptr) return 0;
    std::fputs("FUZZ_TARGET is to be one of:", stderr);
    for (const emdb_fuzz::Target& target : emdb_fuzz::targets) std::fprintf(stderr, " %s", target.name);
    std::fputs("\n", stderr);
    std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    limit_time(seconds_max);
    try {
        chosen(emdb_fuzz::Input(data, size));
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "BROKEN PROMISE: %s\n", failure.what());
        std::abort();
    }
    limit_time(0);
    return 0;
}
