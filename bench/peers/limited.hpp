#pragma once
// Workload "limited": data four times as large as the memory that the process may use; ../memory_limit.py sets the limit. Records are
// made as they are needed, since a data set would not fit either.

#include "phases.hpp"

namespace peers {

class Limited {
  public:
    Limited(Engine& engine, const Settings& settings, Record& record)
        : engine_(engine), settings_(settings), phases_(record) {}

    void run() {
        engine_.open(settings_);
        load();
        phases_.value("size_loaded", "bytes", allocated_bytes(settings_.folder));
        {
            const auto session = engine_.session();
            look_up(*session, "hits", 0, true);
            look_up(*session, "misses", settings_.records * 2, false);
            phases_.timed_singly("unsynced_writes", count, [&](std::size_t i) {
                write_record(settings_.records + i);
                session->put(key(), value());
            });
            if (engine_.can_scan()) {
                Random random(31);
                ScanSum sum;
                phases_.timed_singly("scans", count / 10, [&](std::size_t) {
                    write_record(random.below(settings_.records));
                    session->scan(key(), 10, sum);
                });
            } else {
                phases_.attempt("scans", [] { throw Unsupported("no order among keys"); });
            }
        }
        phases_.timed("close", [&] { engine_.close(); });
    }

  private:
    static constexpr std::size_t count = 2'000, chunk = 10'000;

    void write_record(std::size_t i) {
        buffer_.resize(settings_.record_bytes);
        Random(0x5eed + i * 1'000'003).fill(buffer_.data(), buffer_.size());
    }
    Bytes key() const { return Bytes(buffer_).substr(0, key_bytes); }
    Bytes value() const { return Bytes(buffer_).substr(key_bytes); }

    void load() {
        double elapsed = 0;
        std::vector<std::string> records(chunk);
        for (std::size_t first = 0; first < settings_.records; first += chunk) {
            std::vector<Pair> pairs;
            for (std::size_t i = first; i < std::min(first + chunk, settings_.records); ++i) {
                write_record(i);
                records[i - first] = buffer_;
                pairs.emplace_back(Bytes(records[i - first]).substr(0, key_bytes),
                                   Bytes(records[i - first]).substr(key_bytes));
            }
            elapsed += bench::time_each(1, [&](std::size_t) { engine_.load(pairs); });
        }
        elapsed += bench::time_each(1, [&](std::size_t) { engine_.sync(); });
        phases_.value("bulk_load_and_sync", "ms", elapsed / 1e6);
    }

    void look_up(Session& session, const char* id, std::size_t first, bool there) {
        Random random(30);
        phases_.timed_singly(id, count, [&](std::size_t) {
            write_record(first + random.below(settings_.records));
            const std::optional<Bytes> found = session.get(key());
            demand(found.has_value() == there && (!there || *found == value()), "a look-up went wrong");
        });
    }

    Engine& engine_;
    Settings settings_;
    Phases phases_;
    std::string buffer_;
};

}  // namespace peers
