// What the machine itself allows: the bare probes of ../support/limits.hpp, with the phases of the workload "table" that
// they can do, and the speeds of memory and disk.

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include "../support/limits.hpp"
#include "../support/temporary_folder.hpp"
#include "table.hpp"

namespace peers {

/// Nanoseconds for a load from memory whose address the load before it gave: a cycle through 256 MiB, in huge pages or not.
static double random_access(bool huge_pages) {
    constexpr std::size_t count = (std::size_t{256} << 20) / 64, steps = 2'000'000;
    bench::Mapping memory = bench::Mapping::of_memory(count * 64);
    if (!huge_pages) madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE);
    const std::vector<std::uint32_t> order = shuffled(count, 20);
    for (std::size_t i = 0; i < count; ++i) {
        const char* const next = memory.data() + std::size_t{order[(i + 1) % count]} * 64;
        std::memcpy(memory.data() + std::size_t{order[i]} * 64, &next, sizeof next);
    }
    const char* at = memory.data();
    const bench::Clock::time_point start = bench::Clock::now();
    for (std::size_t i = 0; i < steps; ++i) std::memcpy(&at, at, sizeof at);
    bench::keep(at);
    return bench::nanoseconds(bench::Clock::now() - start) / steps;
}

static double memcpy_speed() {
    const std::string from(std::size_t{64} << 20, 'x');
    std::string to(from.size(), 'y');
    const bench::Clock::time_point start = bench::Clock::now();
    for (int i = 0; i < 8; ++i) {
        std::memcpy(to.data(), from.data(), from.size());
        bench::keep(to);
    }
    return 8 * static_cast<double>(from.size()) / bench::nanoseconds(bench::Clock::now() - start);
}

/// put_frame() frames in a file of their own.
static void measure_writes(Phases& phases, const DataSet& data, const std::filesystem::path& folder,
                           std::size_t overhead) {
    constexpr std::size_t durable = 1000, batches = 100, batch = 1000, unsynced = 50'000;
    const std::span<const Pair> later = data.later();
    const std::size_t frame = overhead + key_bytes + table_value_bytes;
    {
        bench::BareDurableFile file(folder / "durable", bench::BareDurableFile::How::pwrite,
                                    durable * frame + bench::mebibyte, overhead);
        phases.timed_singly("durable_writes", durable,
                            [&](std::size_t i) { file.append(later[i].first, later[i].second); });
    }
    {
        bench::FileDescriptor file(folder / "batches", O_RDWR | O_CREAT | O_TRUNC);
        file.allocate(batches * batch * frame);
        file.sync();
        std::string buffer(batch * frame, '\0');
        phases.timed_singly("durable_batches", batches, [&](std::size_t i) {
            for (std::size_t k = 0; k < batch; ++k) {
                const auto& [key, value] = later[durable + i * batch + k];
                bench::put_frame(buffer.data() + k * frame, overhead, key, value);
            }
            const auto at = static_cast<off_t>(i * buffer.size());
            demand(pwrite(file.number(), buffer.data(), buffer.size(), at) == static_cast<ssize_t>(buffer.size()),
                   "cannot write");
            file.sync();
        });
    }
    {
        bench::FileDescriptor file(folder / "unsynced", O_RDWR | O_CREAT | O_TRUNC);
        const std::size_t size = (unsynced * frame / bench::mebibyte + 1) * bench::mebibyte;
        file.allocate(size);
        bench::Mapping map(file, size, PROT_READ | PROT_WRITE);
        phases.timed("unsynced_writes", [&] {
            std::size_t populated = 0;
            for (std::size_t i = 0; i < unsynced; ++i) {
                for (; (i + 1) * frame > populated; populated += bench::mebibyte)
                    map.populate(populated, bench::mebibyte, true);
                const auto& [key, value] = later[durable + batches * batch + i];
                bench::put_frame(map.data() + i * frame, overhead, key, value);
            }
        });
    }
    for (const char* name : {"durable", "batches", "unsynced"}) std::filesystem::remove(folder / name);
}

/// Milliseconds for all records by pwrite, a thousand frames at a time, into a fresh, allocated file.
static double load_by_writing(const DataSet& data, const std::filesystem::path& path, std::size_t overhead) {
    const std::size_t frame = overhead + key_bytes + table_value_bytes;
    bench::FileDescriptor file(path, O_RDWR | O_CREAT | O_TRUNC);
    file.allocate(data.records() * frame);
    std::string buffer;
    std::size_t at = 0;
    const double elapsed = bench::time_each(1, [&](std::size_t) {
        for (std::size_t first = 0; first < data.records(); first += 1000) {
            const auto some = data.loaded().subspan(first, std::min<std::size_t>(1000, data.records() - first));
            buffer.resize(some.size() * frame);
            for (std::size_t i = 0; i < some.size(); ++i)
                bench::put_frame(buffer.data() + i * frame, overhead, some[i].first, some[i].second);
            demand(pwrite(file.number(), buffer.data(), buffer.size(), static_cast<off_t>(at)) ==
                       static_cast<ssize_t>(buffer.size()),
                   "cannot write");
            at += buffer.size();
        }
    });
    std::filesystem::remove(path);
    return elapsed / 1e6;
}

static void measure_reads(Phases& phases, const bench::BareProbe& probe, const KeyList& hits, const KeyList& misses,
                          std::size_t records) {
    std::string value;
    const auto look_up = [&](const char* id, const KeyList& keys, bool there) {
        phases.timed(id, [&] {
            for (const Bytes key : keys.keys()) {
                demand(probe.get_into(key, value) == there, "a look-up of the probe went wrong");
                bench::keep(value);
            }
        });
    };
    look_up("warm_up", hits, true);
    look_up("hits", hits, true);
    look_up("misses", misses, false);
    phases.timed("hits_new_string", [&] {
        for (const Bytes key : hits.keys()) bench::keep(probe.get(key));
    });
    for (const std::size_t threads : {1U, 2U, 4U, 8U}) {
        const std::size_t count = records + 150'000;
        const double each = bench::time_threads_each(threads, count, 1000, [&](std::size_t) {
            return [&, copy = std::string()](std::size_t i) mutable {
                bench::keep(probe.get_into(hits[i % hits.size()], copy));
                bench::keep(copy);
            };
        });
        phases.value("readers_" + std::to_string(threads), "ms", each * bench::as_double(count) / 1e6);
    }
}

static void run(const std::filesystem::path& parent, std::size_t records) {
    constexpr std::size_t overhead = 8;  // emdb's frame of such a record
    const bench::TemporaryFolder temporary(parent);
    const std::filesystem::path& folder = temporary.path();
    Record record;
    record.text("version", bench::compiler());
    record.text(
        "about",
        "no store: frames copied into a mapped file, a table of slots without locks or checks, pwrite and fdatasync");
    record.text("workload", "table");
    record.text("records", std::to_string(records));
    record.text("machine", bench::describe_machine(bench::file_system_of(parent)));
    const bench::OtherLoad others;
    Phases phases(record);
    const DataSet data(records, 151'000, table_value_bytes);
    std::vector<std::uint32_t> order = shuffled(records, 10);
    order.resize(std::min(records, lookups_max));
    const KeyList hits = data.keys_of(order);
    const KeyList misses = DataSet::absent(hits.size());
    const std::filesystem::path file = folder / "probe";
    bench::settle(folder);
    const double written = load_by_writing(data, folder / "written", overhead);
    const bench::Cost mapped = bench::append_mapped(file, bench::PairsOf{data.loaded()}, overhead);
    phases.value("bulk_load_mapped", "ms", mapped.wall * bench::as_double(records) / 1e6);
    phases.value("bulk_load", "ms", std::min(written, mapped.wall * bench::as_double(records) / 1e6));
    phases.timed("load_sync", [&] { bench::FileDescriptor(file, O_RDWR).sync(); });
    bench::settle(folder);
    measure_writes(phases, data, folder, overhead);
    const bench::PairsOf work{data.loaded()};
    const bench::BareProbe probe(file, work, bench::frame_offsets(work, overhead));
    measure_reads(phases, probe, hits, misses, records);
    phases.value("random_access", "ns", random_access(true));
    phases.value("random_access_4k", "ns", random_access(false));
    phases.value("memcpy", "GB/s", memcpy_speed());
    char share[32];
    std::snprintf(share, sizeof share, "%.3f", others.share());
    record.text("load_of_others", share);
    record.print();
}

}  // namespace peers

int main(int count, char** arguments) {
    try {
        std::filesystem::path folder = ".";
        std::size_t records = 1'000'000;
        for (int i = 1; i + 1 < count; i += 2) {
            const std::string option = arguments[i];
            if (option == "--dir") folder = arguments[i + 1];
            if (option == "--records") records = std::stoull(arguments[i + 1]);
        }
        peers::run(folder, records);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "limits: %s\n", error.what());
        return 1;
    }
}
