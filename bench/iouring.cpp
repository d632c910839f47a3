// io_uring against system calls as what makes writes durable: insert + flush, a thread by itself and eight under FlushPolicy::group.
//
//   make build/bench/iouring && build/bench/iouring [FOLDER]        (Linux; needs liburing-dev)
//
// In turn, odd rounds in reverse, the first round not counted; medians by the wall clock and of the ratios of the same round.
#define EMDB_IO_URING 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <cstdio>
#include <filesystem>
#include <string>

#include "support/temporary_folder.hpp"
#include "support/timing.hpp"
#include "support/workload.hpp"

namespace {

constexpr std::size_t flushes = 400;

double measure(const std::filesystem::path& file, const emdb::EmdbBuilder& settings, std::size_t threads) {
    double cost = 0;
    {
        auto db = emdb::EmdbBuilder(settings).path(file).flush_policy(emdb::FlushPolicy::group()).build().value();
        const std::string value(bench::value_size, 'v');
        cost = bench::time_threads(threads, flushes, 1, [&](std::size_t i) {
            emdb::Emdb handle = db;
            handle.insert("key of 24 bytes, " + std::to_string(1'000'000 + i), value).value();
            handle.flush().value();
        });
    }
    std::filesystem::remove(file);
    return cost / 1000;
}

}  // namespace

int main(int count, char** arguments) {
    const bench::TemporaryFolder folder(count > 1 ? arguments[1] : std::filesystem::temp_directory_path());
    const auto file = folder.path() / "flushes.emdb";
    for (const std::size_t threads : {1, 8}) {
        bench::Rounds contest;
        contest.add("fdatasync", [&] { return measure(file, emdb::EmdbBuilder(), threads); });
        contest.add("ring", [&] { return measure(file, emdb::EmdbBuilder().iouring_sqpoll(0U), threads); });
        contest.add("polled ring", [&] { return measure(file, emdb::EmdbBuilder().iouring_sqpoll(50U), threads); });
        contest.run(9);
        for (const char* name : {"fdatasync", "ring", "polled ring"}) {
            const bench::Samples ratios = bench::pairwise(contest[name], contest["fdatasync"]);
            std::printf("%zu threads, %-12s %8.1f us a flush   %.2f x (%.2f .. %.2f)\n", threads, name, bench::median(contest[name]),
                        bench::median(ratios), bench::quantile(ratios, 0.25), bench::quantile(ratios, 0.75));
        }
    }
    return 0;
}
