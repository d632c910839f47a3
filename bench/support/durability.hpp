#pragma once
// Writes that wait for the disk.

#include <atomic>
#include <cstddef>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "context.hpp"
#include "limits.hpp"
#include "timing.hpp"
#include "writes.hpp"

namespace bench {

/// Times every operation of every block by itself; the first block only warms up.
class LatencyLog {
  public:
    /// Runs `count` operations and returns the mean microseconds of one.
    template <class F> double block(std::size_t count, F&& f) {
        const bool counts = std::exchange(warm_, true);
        double sum = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const Clock::time_point start = Clock::now();
            f();
            const double latency = nanoseconds(Clock::now() - start) / 1000;
            if (counts) latencies_.push_back(latency);
            sum += latency;
        }
        return sum / as_double(count);
    }
    /// "; name P50, P99", or nothing if there was nothing to time.
    std::string quantiles(const std::string& name) const {
        if (latencies_.empty()) return "";
        return "; " + name + " " + three_digits(quantile(latencies_, 0.5)) + ", " +
               three_digits(quantile(latencies_, 0.99));
    }

  private:
    Samples latencies_;
    bool warm_ = false;
};

/// insert + flush, 1,000 times in blocks of 50, in turn with the bare ways to the disk: its speed drifts by the second.
inline void measure_flushes(Context& context) {
    const Workload& work = context.work;
    const std::size_t blocks = context.options.smoke ? 3 : 20;
    const std::size_t per_block = context.options.smoke ? 20 : 50;
    constexpr std::size_t allocated = 64 * mebibyte;
    BareDurableFile by_pwrite(context.folder / "by_pwrite", BareDurableFile::How::pwrite, allocated, context.overhead);
    BareDurableFile by_store(context.folder / "by_store", BareDurableFile::How::store, allocated, context.overhead);
    LatencyLog pwrite_log, store_log, fresh_log, loaded_log;
    std::optional<emdb::Emdb> fresh, loaded;
    if (context.with_emdb()) {
        loaded = create_database(context.folder / "flush_loaded.emdb");
        insert_in_thousands(*loaded, work);
        check(loaded->flush());
        fresh = create_database(context.folder / "flush_fresh.emdb");
    }
    std::size_t next = 0;  // keys that the loaded database does not have
    const auto next_record = [&] {
        next = (next + 1) % work.absent().size();
        return std::pair(work.absent()[next], work.pairs()[next].second);
    };
    Rounds rounds;
    const auto contest = [&](const char* name, LatencyLog& log, auto write) {
        rounds.add(name, [&, write, per_block] {
            return log.block(per_block, [&] {
                const auto [key, value] = next_record();
                write(key, value);
            });
        });
    };
    contest("pwrite", pwrite_log, [&](emdb::Bytes key, emdb::Bytes value) { by_pwrite.append(key, value); });
    if (fresh) {
        contest("fresh", fresh_log, [&](emdb::Bytes key, emdb::Bytes value) {
            check(fresh->insert(key, value));
            check(fresh->flush());
        });
    }
    contest("store", store_log, [&](emdb::Bytes key, emdb::Bytes value) { by_store.append(key, value); });
    if (loaded) {
        contest("loaded", loaded_log, [&](emdb::Bytes key, emdb::Bytes value) {
            check(loaded->insert(key, value));
            check(loaded->flush());
        });
    }
    rounds.run(blocks);

    const std::string better = median(rounds["pwrite"]) < median(rounds["store"]) ? "pwrite" : "store";
    const std::string bare = pwrite_log.quantiles("bare pwrite") + store_log.quantiles("bare store");
    for (const auto& [id, name, what, log] :
         {std::tuple{"flush_fresh", "fresh", "insert + flush each, fresh file", &fresh_log},
          {"flush_loaded", "loaded", "insert + flush each, after a bulk load", &loaded_log}}) {
        context.add({id, what, "us", better + " + fdatasync", rounds[better], rounds[name],
                     pairwise(rounds[name], rounds[better]), Bar::ratio_at_most(1.15),
                     "single calls, p50 and p99" + log->quantiles("emdb") + bare});
    }
}

/// What sharing syncs among threads gains.
inline void measure_group(Context& context) {
    using emdb::FlushPolicy;
    const Workload& work = context.work;
    const std::size_t per_block = context.options.smoke ? 40 : 200;
    BareGroupFile bare(context.folder / "bare_group", 64 * mebibyte, context.overhead);
    std::optional<emdb::Emdb> each, group, through;
    if (context.with_emdb()) {
        each = create_database(context.folder / "each.emdb", FlushPolicy::on_each_flush());
        group = create_database(context.folder / "group.emdb", FlushPolicy::group());
        through = create_database(context.folder / "through.emdb", FlushPolicy::write_through());
    }
    std::atomic<std::size_t> next = 0;
    Rounds rounds;
    const auto contest = [&](const char* name, std::size_t threads, auto write) {
        rounds.add(name, [&, threads, write] {
            const std::size_t count = threads == 1 ? per_block : per_block * 4;
            const double cost = time_threads(threads, count, 1, [&](std::size_t) {
                const std::size_t i = next.fetch_add(1, std::memory_order_relaxed) % work.records();
                write(work.pairs()[i].first, work.pairs()[i].second);
            });
            return cost / 1000;
        });
    };
    const auto insert_and_flush = [](emdb::Emdb& database) {
        return [&database](emdb::Bytes key, emdb::Bytes value) {
            check(database.insert(key, value));
            check(database.flush());
        };
    };
    const auto append = [&bare](emdb::Bytes key, emdb::Bytes value) { bare.append(key, value); };
    if (context.with_emdb()) {
        const auto insert = [&](emdb::Bytes key, emdb::Bytes value) { check(through->insert(key, value)); };
        contest("one", 1, insert_and_flush(*each));
        contest("group 8", 8, insert_and_flush(*group));
        contest("each 8", 8, insert_and_flush(*each));
        contest("group 1", 1, insert_and_flush(*group));
        contest("through 1", 1, insert);
        contest("through 8", 8, insert);
    }
    contest("bare 1", 1, append);
    contest("bare 8", 8, append);
    rounds.run(context.options.rounds);

    const auto throughput = [&](const char* id, const char* what, const char* name, Bar bar) {
        context.add({id, what, "us", "each, 1 thread", rounds["one"], rounds[name],
                     pairwise(rounds["one"], rounds[name]), bar});
    };
    const Samples bare_gain = pairwise(rounds["bare 1"], rounds["bare 8"]);
    throughput("group", "insert + flush, group, 8 threads", "group 8", Bar::ratio_at_least(3));
    context.add({"group_bare",
                 "gain of 8 threads over 1 under group",
                 "x",
                 "bare group commit",
                 bare_gain,
                 pairwise(rounds["group 1"], rounds["group 8"]),
                 {}});
    throughput("each_8", "insert + flush, on_each_flush, 8 threads", "each 8", Bar::none());
    throughput("group_1", "insert + flush, group, 1 thread", "group 1", Bar::none());
    throughput("write_through_1", "insert, write_through, 1 thread", "through 1", Bar::none());
    throughput("write_through_8", "insert, write_through, 8 threads", "through 8", Bar::none());
}

}  // namespace bench
