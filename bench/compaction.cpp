// What a compaction and a backup cost: against a plain copy of the result, and for those who read and write meanwhile.
//
//   make build/bench/compaction && build/bench/compaction [FOLDER [RECORDS]]

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/temporary_folder.hpp"
#include "support/timing.hpp"

namespace bench {

static std::string key_of(std::size_t i) {
    char text[32];
    std::snprintf(text, sizeof text, "key-%020llu", static_cast<unsigned long long>(i * 0x9E3779B97F4A7C15U));
    return std::string(text, 24);
}

static double milliseconds(const std::function<void()>& work) {
    const Clock::time_point start = Clock::now();
    work();
    return nanoseconds(Clock::now() - start) / 1e6;
}

/// read, write and fdatasync, without a clone of the extents.
static void copy_and_sync(const std::string& from, const std::string& to) {
    std::vector<char> buffer(1 << 20);
    const int in = ::open(from.c_str(), O_RDONLY | O_CLOEXEC);
    const int out = ::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = in >= 0 && out >= 0;
    for (ssize_t size = 1; good && size > 0;) {
        size = ::read(in, buffer.data(), buffer.size());
        good = size >= 0 && ::write(out, buffer.data(), static_cast<std::size_t>(size)) == size;
    }
    good = good && ::fdatasync(out) == 0;
    ::close(in);
    ::close(out);
    if (!good) throw std::runtime_error("cannot copy '" + from + "'");
}

/// What each call of step(i) takes, in microseconds, while `work` runs.
static Samples latencies(const std::function<void(std::size_t)>& step, const std::function<void()>& work) {
    std::atomic<bool> stop = false;
    Samples samples;
    std::thread thread([&] {
        for (std::size_t i = 0; !stop; ++i) {
            const Clock::time_point start = Clock::now();
            step(i);
            samples.push_back(nanoseconds(Clock::now() - start) / 1e3);
        }
    });
    work();
    stop = true;
    thread.join();
    return samples;
}

static void run(const std::filesystem::path& parent, std::size_t records) {
    const TemporaryFolder folder(parent);
    const std::string path = (folder.path() / "a.emdb").string();
    const std::string copy = (folder.path() / "copy").string();
    const std::string target = (folder.path() / "backup.emdb").string();
    const std::string value(150, 'v');
    emdb::Emdb db = emdb::Emdb::open(path).value();
    const auto fill = [&] {
        std::vector<std::pair<std::string, std::string>> pairs;
        for (std::size_t i = 0; i < records; ++i) pairs.emplace_back(key_of(i), value);
        db.insert_many(pairs).value();
        for (std::size_t i = 0; i < records; i += 2) db.remove(key_of(i)).value();
        db.flush().value();
    };
    const auto compact = [&] { db.compact().value(); };
    const auto read = [&](std::size_t i) {
        if (!db.get(key_of(i * 7919 % records | 1)).value()) throw std::runtime_error("a record is missing");
    };
    const auto insert = [&](std::size_t i) {
        db.insert(key_of(records + i % 1000), value).value();
        std::this_thread::sleep_for(std::chrono::microseconds(20));
    };

    Samples compactions, copies, backups, reads_alone, reads_during, inserts_during;
    for (int round = 0; round < 5; ++round) {
        fill();
        compactions.push_back(milliseconds(compact));
        copies.push_back(milliseconds([&] { copy_and_sync(path, copy); }));
        std::filesystem::remove(copy);
        backups.push_back(milliseconds([&] { db.backup_to(target).value(); }));
        const double during = milliseconds([&] { reads_during.push_back(quantile(latencies(read, compact), 0.999)); });
        reads_alone.push_back(quantile(
            latencies(read, [&] { std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(during)); }), 0.999));
        inserts_during.push_back(quantile(latencies(insert, compact), 0.999));
    }
    const double bytes = static_cast<double>(std::filesystem::file_size(target));
    std::printf("%zu records of 24 + 150 bytes, half of them removed; medians of %zu rounds\n", records, compactions.size());
    std::printf("compact             %9.1f ms   %.2f x copy and fdatasync of the result (%.1f ms); bar 2\n", median(compactions),
                median(pairwise(compactions, copies)), median(copies));
    std::printf("backup_to           %9.1f ms   %.2f GB/s; copy and fdatasync %.2f GB/s; bar 1 GB/s or the disk's speed\n",
                median(backups), bytes / median(backups) / 1e6, bytes / median(copies) / 1e6);
    std::printf("get, p99.9          %9.2f us   %.2f x alone (%.2f us); bar 2\n", median(reads_during),
                median(pairwise(reads_during, reads_alone)), median(reads_alone));
    std::printf("insert, p99.9       %9.2f us   bar 10,000\n", median(inserts_during));
}

}  // namespace bench

int main(int count, char** arguments) {
    try {
        bench::run(count > 1 ? arguments[1] : ".", count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 1'000'000);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "compaction: %s\n", error.what());
        return 1;
    }
}
