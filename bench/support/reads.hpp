#pragma once
// Point reads, one thread and several.

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "context.hpp"
#include "limits.hpp"
#include "machine.hpp"
#include "timing.hpp"

namespace bench {

inline constexpr std::size_t keys_per_call = 64;

/// Loads the probe's file in the way emdb's fast path writes, so that the pages of both lie alike in the page cache.
inline BareProbe make_probe(const Context& context) {
    const std::filesystem::path path = context.folder / "probe";
    append_mapped(path, context.work, context.overhead);
    FileDescriptor(path, O_RDWR).sync();
    return BareProbe(path, context.work, frame_offsets(context.work, context.overhead));
}

inline emdb::Emdb load_by_inserting(const Context& context, const std::string& name) {
    emdb::Emdb database = create_database(context.folder / name);
    insert_all(database, context.work);
    check(database.flush());
    return database;
}

/// Nothing is timed that returns wrong bytes.
template <class GetInto> void check_all_lookups(const Workload& work, GetInto&& get_into) {
    std::string value;
    for (std::size_t i = 0; i < work.present().size(); ++i) {
        if (!get_into(work.present()[i], value) || value != work.value_of_lookup(i)) {
            throw std::runtime_error("a lookup returned something else than was inserted");
        }
        if (get_into(work.absent()[i], value)) throw std::runtime_error("a lookup found a key that was never inserted");
    }
}

inline double time_get_into(const emdb::Emdb& database, const std::vector<emdb::Bytes>& keys) {
    std::string value;
    return time_reads(keys.size(), [&](std::size_t i) {
        const auto found = database.get_into(keys[i], value);
        if (!found || !*found) throw std::runtime_error("not found");
        keep(value);
    });
}

inline double time_get(const emdb::Emdb& database, const std::vector<emdb::Bytes>& keys) {
    return time_reads(keys.size(), [&](std::size_t i) { keep(check_found(database.get(keys[i]))); });
}

inline double time_absent(const emdb::Emdb& database, const std::vector<emdb::Bytes>& keys) {
    return time_reads(keys.size(), [&](std::size_t i) {
        const auto found = database.get(keys[i]);
        if (!found || *found) throw std::runtime_error("an absent key was found");
        keep(found);
    });
}

/// Nanoseconds a key for f(span of at most 64 keys) over all keys.
template <class F> double time_groups(const std::vector<emdb::Bytes>& keys, F&& f) {
    const std::size_t calls = (keys.size() + keys_per_call - 1) / keys_per_call;
    const double per_call = time_reads(calls, [&](std::size_t call) {
        const std::size_t first = call * keys_per_call;
        f(std::span(keys).subspan(first, std::min(keys_per_call, keys.size() - first)));
    });
    return per_call * as_double(calls) / as_double(keys.size());
}

inline double time_visit_many(const emdb::Emdb& database, const std::vector<emdb::Bytes>& keys) {
    return time_groups(keys, [&](std::span<const emdb::Bytes> group) {
        std::size_t bytes = 0;
        const auto found = database.visit_many(group, [&](std::size_t, std::optional<std::string_view> value) {
            if (value) bytes += value->size() + static_cast<unsigned char>(value->back());
        });
        if (!found || *found != group.size()) throw std::runtime_error("visit_many did not find all keys");
        keep(bytes);
    });
}

inline double time_get_zerocopy(const emdb::Emdb& database, const std::vector<emdb::Bytes>& keys) {
    return time_reads(keys.size(), [&](std::size_t i) {
        const auto result = database.get_zerocopy(keys[i]);
        keep(check_found(result).as_string_view().back());
    });
}

/// Lookups of which each asks for a key that depends on the value before it (by nothing, but the processor can't know),
/// so that none can begin before the last has ended. Without this a processor works on two or three lookups at once;
/// how many depends on how few instructions one of them has.
template <class GetInto> double time_chain(const std::vector<emdb::Bytes>& keys, GetInto&& get_into) {
    std::string value(1, '\0');
    std::size_t nothing = 0;
    asm volatile("" : "+r"(nothing));
    return time_reads(keys.size(), [&](std::size_t i) {
        if (!get_into(keys[i + (nothing & static_cast<unsigned char>(value.back()))], value)) {
            throw std::runtime_error("not found");
        }
        keep(value);
    });
}

inline void add_probe_reads(Rounds& rounds, const BareProbe& probe, const Workload& work) {
    rounds.add("probe get_into", [&] {
        std::string value;
        return time_reads(work.present().size(), [&](std::size_t i) {
            if (!probe.get_into(work.present()[i], value)) throw std::runtime_error("not found");
            keep(value);
        });
    });
    rounds.add("probe get", [&] {
        return time_reads(work.present().size(), [&](std::size_t i) {
            const auto found = probe.get(work.present()[i]);
            if (!found) throw std::runtime_error("not found");
            keep(*found);
        });
    });
    rounds.add("probe absent", [&] {
        return time_reads(work.absent().size(), [&](std::size_t i) {
            const auto found = probe.get(work.absent()[i]);
            if (found) throw std::runtime_error("an absent key was found");
            keep(found);
        });
    });
    rounds.add("probe chain", [&] {
        return time_chain(work.present(),
                          [&](emdb::Bytes key, std::string& value) { return probe.get_into(key, value); });
    });
    rounds.add("probe get_many",
               [&] { return time_groups(work.present(), [&](auto group) { keep(probe.get_many(group)); }); });
}

inline void add_emdb_reads(Rounds& rounds, const emdb::Emdb& database, const Workload& work) {
    rounds.add("emdb get_into", [&] { return time_get_into(database, work.present()); });
    rounds.add("emdb get", [&] { return time_get(database, work.present()); });
    rounds.add("emdb absent", [&] { return time_absent(database, work.absent()); });
    rounds.add("emdb get_many", [&] {
        return time_groups(work.present(), [&](std::span<const emdb::Bytes> group) {
            const auto values = database.get_many(group);
            if (!values || !values->back()) throw std::runtime_error("get_many did not find all keys");
            keep(*values);
        });
    });
    rounds.add("emdb chain", [&] {
        return time_chain(work.present(), [&](emdb::Bytes key, std::string& value) {
            const auto found = database.get_into(key, value);
            return found && *found;
        });
    });
    rounds.add("emdb visit_many", [&] { return time_visit_many(database, work.present()); });
    rounds.add("emdb get_zerocopy", [&] { return time_get_zerocopy(database, work.present()); });
}

/// The bare probe over emdb's own file, if its records can be found there: tells effects of the file from others.
inline std::unique_ptr<BareProbe> probe_over(const std::filesystem::path& path, const Workload& work) {
    const FileDescriptor file(path, O_RDONLY);
    const Mapping map(file, std::filesystem::file_size(path), PROT_READ);
    const std::vector<std::size_t> offsets = find_offsets({map.data(), map.size()}, work);
    return offsets.empty() ? nullptr : std::make_unique<BareProbe>(path, work, offsets);
}

inline void measure_reads(Context& context) {
    const Workload& work = context.work;
    const BareProbe probe = make_probe(context);
    check_all_lookups(work, [&](emdb::Bytes key, std::string& value) { return probe.get_into(key, value); });
    std::optional<emdb::Emdb> loaded, reopened, unchecked;
    std::unique_ptr<BareProbe> over_emdb;
    Rounds rounds;
    add_probe_reads(rounds, probe, work);
    if (context.with_emdb()) {
        loaded = load_by_inserting(context, "reads.emdb");
        check_all_lookups(work,
                          [&](emdb::Bytes key, std::string& value) { return loaded->get_into(key, value).value(); });
        add_emdb_reads(rounds, *loaded, work);
        for (auto& [row, database, checked] :
             {std::tuple{"reopened", &reopened, true}, {"unchecked", &unchecked, false}}) {
            if (!context.wants(row)) continue;
            const std::string name = std::string(row) + ".emdb";
            check(load_by_inserting(context, name).close());
            *database = emdb::Emdb::builder().path(context.folder / name).verify_reads(checked).build().value();
            rounds.add(row, [&work, opened = database] { return time_get_into(**opened, work.present()); });
        }
        if (context.wants("same_file")) {
            over_emdb = probe_over(context.folder / "reads.emdb", work);
            if (over_emdb) {
                rounds.add("same_file", [&] {
                    std::string value;
                    return time_reads(work.present().size(), [&](std::size_t i) {
                        keep(over_emdb->get_into(work.present()[i], value));
                        keep(value);
                    });
                });
            }
        }
    }
    rounds.run(context.options.rounds);

    const auto compare = [&](const char* id, const char* what, const char* mine, const char* reference, Bar bar,
                             std::string note = {}) {
        const bool throughput = bar.kind == Bar::Kind::at_least;
        context.add({id, what, "ns", reference, rounds[reference], rounds[mine],
                     throughput ? pairwise(rounds[reference], rounds[mine]) : pairwise(rounds[mine], rounds[reference]),
                     bar, std::move(note)});
    };
    const auto mebibytes = [](const char* field) {
        return std::to_string(memory_of_process(field) / mebibyte) + " MiB ";
    };
    compare(
        "get_into", "get_into", "emdb get_into", "probe get_into", Bar::ratio_at_most(1.25),
        "huge pages: " + mebibytes("AnonHugePages") + "of memory, " + mebibytes("FilePmdMapped") + "of mapped files");
    compare("get", "get", "emdb get", "probe get", Bar::ratio_at_most(1.25));
    compare("absent", "get of absent keys", "emdb absent", "emdb get", Bar::ratio_at_most(0.6));
    compare("get_many", "get_many, 64 a call, throughput", "emdb get_many", "emdb get", Bar::ratio_at_least(3));
    compare("chained", "get_into, each waits for the last", "emdb chain", "probe chain", Bar::none());
    compare("absent_bare", "get of absent keys", "emdb absent", "probe absent", Bar::none());
    compare("get_many_bare", "get_many, 64 a call", "emdb get_many", "probe get_many", Bar::none());
    if (!context.with_emdb()) return;
    compare("visit_many", "visit_many, 64 a call", "emdb visit_many", "emdb get_many", Bar::none());
    compare("get_zerocopy", "get_zerocopy", "emdb get_zerocopy", "emdb get_into", Bar::none());
    compare("reopened", "get_into, file just reopened", "reopened", "emdb get_into", Bar::none());
    compare("unchecked", "get_into, verify_reads(false), reopened", "unchecked", "probe get_into", Bar::none());
    if (!over_emdb) return;
    compare("same_file", "the probe over emdb's file", "same_file", "probe get_into", Bar::none());
}

/// Throughput with several threads. `get` makes a string for each value, in the probe as well.
inline void measure_threads(Context& context) {
    const Workload& work = context.work;
    const BareProbe probe = make_probe(context);
    std::optional<emdb::Emdb> database;
    if (context.with_emdb()) database = load_by_inserting(context, "threads.emdb");
    const std::size_t count = work.present().size() * 2;
    constexpr std::size_t chunk = 1000;
    Rounds rounds;
    for (const std::size_t threads : {1U, 2U, 8U}) {
        rounds.add("probe " + std::to_string(threads), [&, threads] {
            return time_threads(threads, count, chunk,
                                [&](std::size_t i) { keep(probe.get(work.present()[i % work.present().size()])); });
        });
        if (!database) continue;
        rounds.add("emdb " + std::to_string(threads), [&, threads] {
            return time_threads(threads, count, chunk, [&](std::size_t i) {
                keep(check_found(database->get(work.present()[i % work.present().size()])));
            });
        });
    }
    rounds.run(context.options.rounds);

    const Samples bare = pairwise(rounds["probe 1"], rounds["probe 2"]);
    const Samples scaling = pairwise(rounds["emdb 1"], rounds["emdb 2"]);
    context.add({"threads_2", "2 threads of get, speed-up", "x", "the probe's", bare, scaling, pairwise(scaling, bare),
                 Bar::ratio_at_least(0.95)});
    context.add({"threads_8", "8 threads of get, wall clock per get", "ns", "2 threads", rounds["emdb 2"],
                 rounds["emdb 8"], pairwise(rounds["emdb 2"], rounds["emdb 8"]), Bar::ratio_at_least(0.97),
                 "the probe's own 8 threads against its 2: " +
                     three_digits(median(pairwise(rounds["probe 2"], rounds["probe 8"]))) + " x throughput"});
}

}  // namespace bench
