#pragma once
// Workload "sizes": values of 16 bytes to 1 MiB, loaded and read in random order. Nanoseconds a record.

#include "phases.hpp"

namespace peers {

class Sizes {
  public:
    Sizes(Engine& engine, const Settings& settings, Record& record)
        : engine_(engine), settings_(settings), phases_(record) {}

    void run() {
        for (std::size_t bytes = 16; bytes <= bench::mebibyte; bytes *= 4) measure(bytes);
    }

  private:
    void measure(std::size_t value_bytes) {
        settings_.records = std::min<std::size_t>(200'000, 128 * bench::mebibyte / value_bytes);
        settings_.record_bytes = key_bytes + value_bytes;
        const DataSet data(settings_.records, 0, value_bytes);
        const std::vector<std::uint32_t> order = shuffled(settings_.records, 10);
        const KeyList keys = data.keys_of(order);
        const std::string suffix = "_" + (value_bytes < 1024              ? std::to_string(value_bytes) + "_B"
                                          : value_bytes < bench::mebibyte ? std::to_string(value_bytes / 1024) + "_KiB"
                                                                          : std::string("1_MiB"));
        bench::settle(settings_.folder.parent_path());
        engine_.open(settings_);
        const double loading = bench::time_each(1, [&](std::size_t) { engine_.load(data.loaded()); });
        phases_.value("load" + suffix, "ns", loading / bench::as_double(settings_.records));
        engine_.sync();
        engine_.prepare_reads();
        {
            const auto session = engine_.session();
            session->begin_reads();
            for (std::size_t i = 0; i < keys.size(); ++i)
                demand(session->get(keys[i]) == data.pairs()[order[i]].second, "a value is not what was written");
            phases_.value("read" + suffix, "ns",
                          bench::time_each(keys.size(), [&](std::size_t i) { bench::keep(session->get(keys[i])); }));
            session->end_reads();
        }
        phases_.value("size" + suffix, "bytes", allocated_bytes(settings_.folder));
        engine_.close();
        std::filesystem::remove_all(settings_.folder);
    }

    Engine& engine_;
    Settings settings_;
    Phases phases_;
};

}  // namespace peers
