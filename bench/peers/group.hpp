#pragma once
// Workload "group": writes that each wait for the disk, by eight threads at once and by one.

#include "phases.hpp"

namespace peers {

class Group {
  public:
    Group(Engine& engine, const Settings& settings, Record& record)
        : engine_(engine),
          settings_(settings),
          phases_(record),
          data_(0, threads * each + alone, settings.record_bytes - key_bytes) {}

    void run() {
        settings_.durability = Settings::Durability::group;
        with_store([&] { together(); });
        settings_.durability = Settings::Durability::write_through;
        with_store([&] {
            const auto session = engine_.session();
            const std::span<const Pair> pairs = data_.later().subspan(threads * each);
            phases_.timed_singly("write_through_1000", alone,
                                 [&](std::size_t i) { session->put_durable(pairs[i].first, pairs[i].second); });
        });
    }

  private:
    static constexpr std::size_t threads = 8, each = 200, alone = 1000;

    template <class F> void with_store(F&& f) {
        bench::settle(settings_.folder.parent_path());
        engine_.open(settings_);
        f();
        engine_.close();
        std::filesystem::remove_all(settings_.folder);
    }

    void together() {
        std::vector<std::unique_ptr<Session>> sessions;
        for (std::size_t i = 0; i < threads; ++i) sessions.push_back(engine_.session());
        bench::Samples latencies(threads * each);
        const double cost = bench::time_threads_each(threads, threads * each, 1, [&](std::size_t thread) {
            return [&, session = sessions[thread].get()](std::size_t i) {
                const bench::Clock::time_point start = bench::Clock::now();
                session->put_durable(data_.later()[i].first, data_.later()[i].second);
                latencies[i] = bench::nanoseconds(bench::Clock::now() - start);
            };
        });
        phases_.value_with_latencies("group_8x200", "ms", cost * bench::as_double(threads * each) / 1e6,
                                     std::move(latencies));
    }

    Engine& engine_;
    Settings settings_;
    Phases phases_;
    DataSet data_;
};

}  // namespace peers
