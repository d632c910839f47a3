#pragma once
// Workload "ycsb": A to F of the Yahoo! Cloud Serving Benchmark (Cooper et al., 2010), its usual order, for values of 100 and 1,000
// bytes, by one thread and by four, synced and not. Each figure is the time of one operation, all threads together.

#include "phases.hpp"

namespace peers {

class Ycsb {
  public:
    Ycsb(Engine& engine, const Settings& settings, Record& record)
        : engine_(engine), settings_(settings), phases_(record) {}

    void run() {
        for (const std::size_t value_bytes : {100U, 1000U}) {
            settings_.record_bytes = key_bytes + value_bytes;
            const DataSet data(settings_.records, more, value_bytes);
            const Zipfian zipfian(settings_.records);
            for (const bool durable : {false, true}) {
                bench::settle(settings_.folder.parent_path());
                engine_.open(settings_);
                engine_.load(data.loaded());
                engine_.sync();
                inserted_ = 0;
                for (const Mix& mix : mixes) {
                    if (durable && mix.updates + mix.inserts + mix.changes == 0) continue;
                    for (const std::size_t threads : {1U, 4U}) run_mix(mix, data, zipfian, threads, durable);
                }
                engine_.close();
                std::filesystem::remove_all(settings_.folder);
            }
        }
    }

  private:
    struct Mix {
        char name;
        int reads, updates, inserts, scans, changes;  // per cent
    };
    static constexpr Mix mixes[] = {{'a', 50, 50, 0, 0, 0}, {'b', 95, 5, 0, 0, 0}, {'c', 100, 0, 0, 0, 0},
                                    {'f', 50, 0, 0, 0, 50}, {'d', 95, 0, 5, 0, 0}, {'e', 0, 0, 5, 95, 0}};
    static constexpr std::size_t more = 60'000;

    struct Operation {
        enum Kind : std::uint8_t { read, update, insert, scan, change } kind;
        std::uint32_t record;
        std::uint32_t scanned;
    };

    std::size_t count_of(const Mix& mix, bool durable) const {
        if (durable) return 2'000;
        return std::min<std::size_t>(settings_.records, mix.scans != 0 ? 40'000 : 200'000);
    }

    std::vector<Operation> plan(const Mix& mix, const Zipfian& zipfian, std::size_t count) {
        std::vector<Operation> operations;
        Random random(static_cast<std::uint64_t>(mix.name));
        for (std::size_t i = 0; i < count; ++i) {
            auto choice = static_cast<int>(random.below(100));
            Operation operation{Operation::read, 0, static_cast<std::uint32_t>(1 + random.below(100))};
            if (mix.name == 'd') {  // the latest are the most popular
                const std::size_t newest = settings_.records + inserted_ - 1;
                operation.record = static_cast<std::uint32_t>(newest - std::min(newest, zipfian.rank(random)));
            } else {
                operation.record = static_cast<std::uint32_t>(zipfian.scattered(random));
            }
            if ((choice -= mix.reads) < 0)
                operation.kind = Operation::read;
            else if ((choice -= mix.updates) < 0)
                operation.kind = Operation::update;
            else if ((choice -= mix.scans) < 0)
                operation.kind = Operation::scan;
            else if ((choice -= mix.changes) < 0)
                operation.kind = Operation::change;
            else {
                operation.kind = Operation::insert;
                operation.record = static_cast<std::uint32_t>(settings_.records + inserted_++ % more);
            }
            operations.push_back(operation);
        }
        return operations;
    }

    void run_mix(const Mix& mix, const DataSet& data, const Zipfian& zipfian, std::size_t threads, bool durable) {
        const std::string id = std::string(1, mix.name) + "_" + std::to_string(settings_.record_bytes - key_bytes) +
                               "_" + std::to_string(threads) + (threads == 1 ? "_thread" : "_threads") +
                               (durable ? "_durable" : "");
        if (mix.scans != 0 && !engine_.can_scan()) {
            phases_.attempt(id, [] { throw Unsupported("no order among keys"); });
            return;
        }
        const std::vector<Operation> operations = plan(mix, zipfian, count_of(mix, durable));
        std::vector<std::unique_ptr<Session>> sessions;
        for (std::size_t i = 0; i < threads; ++i) sessions.push_back(engine_.session());
        bench::Samples latencies(operations.size());
        const double cost = bench::time_threads_each(threads, operations.size(), 10, [&](std::size_t thread) {
            return [&, session = sessions[thread].get(), sum = ScanSum()](std::size_t i) mutable {
                const bench::Clock::time_point start = bench::Clock::now();
                execute(*session, operations[i], data, durable, sum);
                latencies[i] = bench::nanoseconds(bench::Clock::now() - start);
            };
        });
        phases_.value_with_latencies(id, "ns", cost, std::move(latencies));
    }

    static void execute(Session& session, const Operation& operation, const DataSet& data, bool durable, ScanSum& sum) {
        const Bytes key = data.pairs()[operation.record].first;
        // Another record's value: as long, and not the one that is there.
        const Bytes value = data.pairs()[operation.record / 2].second;
        switch (operation.kind) {
            case Operation::read:
                bench::keep(session.get(key));
                break;
            case Operation::scan:
                session.scan(key, operation.scanned, sum);
                break;
            case Operation::change:
                if (!durable) {
                    session.read_modify_write(key, value);
                    break;
                }
                bench::keep(session.get(key));
                [[fallthrough]];
            case Operation::update:
            case Operation::insert:
                if (durable)
                    session.put_durable(key, value);
                else
                    session.put(key, value);
        }
    }

    Engine& engine_;
    Settings settings_;
    Phases phases_;
    std::size_t inserted_ = 0;
};

}  // namespace peers
