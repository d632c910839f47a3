#pragma once
// Workload "mixed": one, two and four readers while one thread inserts new records, not synced, as fast as it can.

#include <thread>

#include "phases.hpp"

namespace peers {

class Mixed {
  public:
    Mixed(Engine& engine, const Settings& settings, Record& record)
        : engine_(engine),
          settings_(settings),
          phases_(record),
          data_(settings.records, settings.records, settings.record_bytes - key_bytes) {
        std::vector<std::uint32_t> order = shuffled(settings.records, 10);
        order.resize(std::min(order.size(), lookups_max));
        hits_ = data_.keys_of(order);
    }

    void run() {
        bench::settle(settings_.folder.parent_path());
        engine_.open(settings_);
        engine_.load(data_.loaded());
        engine_.sync();
        for (const std::size_t readers : {1U, 2U, 4U}) beside_a_writer(readers);
        engine_.close();
    }

  private:
    void beside_a_writer(std::size_t readers) {
        const std::size_t count = hits_.size() / 2;
        std::atomic<bool> stop = false;
        std::atomic<std::size_t> written = 0;
        std::thread writer([&] {
            const auto session = engine_.session();
            std::size_t writes = 0;
            for (; !stop.load(std::memory_order_relaxed); ++writes) {
                const auto& [key, value] = data_.later()[next_++ % data_.later().size()];
                session->put(key, value);
            }
            written = writes;
        });
        std::vector<std::unique_ptr<Session>> sessions;
        for (std::size_t i = 0; i < readers; ++i) sessions.push_back(engine_.session());
        bench::Samples latencies(count);
        const double cost = bench::time_threads_each(readers, count, 100, [&](std::size_t thread) {
            return [&, session = sessions[thread].get()](std::size_t i) {
                const bench::Clock::time_point start = bench::Clock::now();
                bench::keep(session->get(hits_[i]));
                latencies[i] = bench::nanoseconds(bench::Clock::now() - start);
            };
        });
        stop = true;
        writer.join();
        const std::string id = std::to_string(readers) + (readers == 1 ? "_reader" : "_readers");
        phases_.value_with_latencies(id, "ns", cost, std::move(latencies));
        phases_.value("writes_beside_" + id, "ns",
                      cost * bench::as_double(count) / std::max(1.0, bench::as_double(written)));
    }

    Engine& engine_;
    Settings settings_;
    Phases phases_;
    DataSet data_;
    KeyList hits_;
    std::size_t next_ = 0;
};

}  // namespace peers
