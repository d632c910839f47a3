// Has emdb become slow? Its cost against that of the bare probes, for `make bench-smoke`: less than a minute, on any machine.
//
// Each ratio is the median over rounds in which both do their work in turn, in processor time where nothing waits for the
// disk. Limits lie about 1.7 times above what was measured when they were set, so that what doubles a cost fails. A ratio
// above its limit is measured again, twice at most: other work on the machine can disturb one measurement, hardly three.

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>

#include "support/context.hpp"
#include "support/limits.hpp"
#include "support/temporary_folder.hpp"
#include "support/timing.hpp"

using namespace bench;

namespace {

constexpr std::size_t records = 200'000;
constexpr std::size_t overhead = 8;  // bytes of a frame beyond key and value

const Workload& work() {
    static const Workload workload(records);
    return workload;
}

/// Below $TMPDIR, removed at the end.
std::filesystem::path new_path(const char* name) {
    static const TemporaryFolder folder(std::filesystem::temp_directory_path());
    static int number = 0;
    return folder.path() / (name + std::to_string(++number));
}

double ratio_of(std::size_t rounds, const std::function<double()>& emdb_cost,
                const std::function<double()>& bare_cost) {
    Rounds contest;
    contest.add("emdb", emdb_cost);
    contest.add("bare", bare_cost);
    contest.run(rounds);
    return median(pairwise(contest["emdb"], contest["bare"]));
}

/// What a limit is for: a cost that is twice what it was.
void check_ratio(const char* what, double limit, std::size_t rounds, const std::function<double()>& emdb_cost,
                 const std::function<double()>& bare_cost) {
    double ratio = 0;
    for (int attempt = 0; attempt < 3; ++attempt) {
        ratio = ratio_of(rounds, emdb_cost, bare_cost);
        std::printf("%-48s %6.2f of the bare probe, at most %.2f\n", what, ratio, limit);
        std::fflush(stdout);
        if (ratio <= limit) break;
    }
    CHECK_MESSAGE(ratio <= limit, what);
}

/// One file of records for the probe and one database, for everything that only reads.
struct Loaded {
    std::filesystem::path probe_path = new_path("probe");
    emdb::Emdb database = create_database(new_path("reads"));
    std::unique_ptr<BareProbe> probe;

    Loaded() {
        append_mapped(probe_path, work(), overhead);
        probe = std::make_unique<BareProbe>(probe_path, work(), frame_offsets(work(), overhead));
        check(database.insert_many(work().pairs()));
    }
};

Loaded& loaded() {
    static Loaded both;
    return both;
}

double probe_reads(const std::vector<emdb::Bytes>& keys, bool there) {
    std::string value;
    return time_reads(keys.size(), [&](std::size_t i) {
        if (loaded().probe->get_into(keys[i], value) != there) std::abort();
        keep(value);
    });
}

double emdb_reads(const std::vector<emdb::Bytes>& keys, bool there) {
    std::string value;
    return time_reads(keys.size(), [&](std::size_t i) {
        if (loaded().database.get_into(keys[i], value).value() != there) std::abort();
        keep(value);
    });
}

/// Processor time a record for write(database) into a new database.
double load(const std::function<void(emdb::Emdb&)>& write) {
    const std::filesystem::path path = new_path("load");
    emdb::Emdb database = create_database(path);
    const double cost = time_whole(records, [&] { write(database); }).processor;
    check(database.close());
    remove_database(path);
    return cost;
}

double append() {
    const std::filesystem::path path = new_path("append");
    const double cost = append_mapped(path, work(), overhead).processor;
    std::filesystem::remove(path);
    return cost;
}

}  // namespace

TEST_CASE("a checked random read keeps its distance to a bare look-up") {
    check_ratio(
        "get_into", 2.4, 9, [] { return emdb_reads(work().present(), true); },
        [] { return probe_reads(work().present(), true); });
}

TEST_CASE("a look-up of an absent key keeps its distance to a bare look-up") {
    check_ratio(
        "get_into, absent", 2.7, 9, [] { return emdb_reads(work().absent(), false); },
        [] { return probe_reads(work().absent(), false); });
}

TEST_CASE("reading 64 keys a call is far cheaper than one by one") {
    check_ratio(
        "visit_many, against the probe one by one", 0.65, 9,
        [] {
            constexpr std::size_t some = 64;
            const std::vector<emdb::Bytes>& keys = work().present();
            return time_reads(keys.size() / some,
                              [&](std::size_t i) {
                                  const auto found = loaded().database.visit_many(
                                      std::span(keys).subspan(i * some, some),
                                      [](std::size_t, std::optional<std::string_view> value) { keep(value->back()); });
                                  if (found.value() != some) std::abort();
                              }) /
                   some;
        },
        [] { return probe_reads(work().present(), true); });
}

TEST_CASE("a bulk load keeps its distance to copying the frames") {
    check_ratio(
        "insert_many", 3.9, 7,
        [] { return load([](emdb::Emdb& database) { check(database.insert_many(work().pairs())); }); }, append);
}

TEST_CASE("single writes keep their distance to copying the frames") {
    check_ratio(
        "insert", 5.4, 7, [] { return load([](emdb::Emdb& database) { insert_all(database, work()); }); }, append);
}

TEST_CASE("a durable write costs what the disk takes") {
    constexpr std::size_t writes = 200;
    const std::filesystem::path path = new_path("durable");
    emdb::Emdb database = create_database(path);
    BareDurableFile file(new_path("bare"), BareDurableFile::How::pwrite, std::size_t{16} << 20, overhead);
    std::size_t next = 0;
    const auto pair = [&]() -> const auto& { return work().pairs()[next++ % records]; };
    check_ratio(
        "insert and flush, against pwrite and fdatasync", 1.8, 7,
        [&] {
            return time_each(writes, [&](std::size_t) {
                const auto& [key, value] = pair();
                check(database.insert(key, value));
                check(database.flush());
            });
        },
        [&] {
            return time_each(writes, [&](std::size_t) {
                const auto& [key, value] = pair();
                file.append(key, value);
            });
        });
}

TEST_CASE("a removal keeps its distance to a bare look-up") {
    check_ratio(
        "remove", 6.0, 5,
        [] {
            const std::filesystem::path path = new_path("removals");
            emdb::Emdb database = create_database(path);
            check(database.insert_many(work().pairs()));
            const double cost = time_reads(work().present().size(), [&](std::size_t i) {
                if (!database.remove(work().present()[i]).value()) std::abort();
            });
            check(database.close());
            remove_database(path);
            return cost;
        },
        [] { return probe_reads(work().present(), true); });
}

TEST_CASE("opening without a checkpoint keeps its distance to reading the file once") {
    const std::filesystem::path path = new_path("open");
    {
        emdb::Emdb database = create_database(path);
        check(database.insert_many(work().pairs()));
        check(database.close());
    }
    check_ratio(
        "open, replaying the journal", 7.0, 7,
        [&] {
            std::filesystem::remove(path.string() + ".meta");
            const double start = thread_nanoseconds();
            emdb::Emdb database = emdb::Emdb::open(path).value();
            const double cost = (thread_nanoseconds() - start) / as_double(records);
            check(database.close());
            return cost;
        },
        [] {
            const double start = thread_nanoseconds();
            keep(replay_bare(loaded().probe_path, work(), overhead));
            return (thread_nanoseconds() - start) / as_double(records);
        });
}

TEST_CASE("compaction keeps its distance to copying its result") {
    check_ratio(
        "compact, against write and fdatasync", 9.0, 3,
        [] {
            const std::filesystem::path path = new_path("compaction");
            emdb::Emdb database = create_database(path);
            check(database.insert_many(work().pairs()));
            for (std::size_t i = 0; i < records; i += 2) check_found(database.remove(work().pairs()[i].first));
            check(database.flush());
            const double cost = time_whole(1, [&] { check(database.compact()); }).processor;
            check(database.close());
            remove_database(path);
            return cost;
        },
        [] {
            const std::filesystem::path path = new_path("copy");
            const std::string bytes(records / 2 * (overhead + key_size + value_size), 'x');
            const double cost =
                time_whole(1, [&] {
                    FileDescriptor file(path, O_WRONLY | O_CREAT | O_TRUNC);
                    if (write(file.number(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
                        std::abort();
                    file.sync();
                }).processor;
            std::filesystem::remove(path);
            return cost;
        });
}
