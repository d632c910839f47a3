#pragma once
// Workload "table": load, write, read, scan, remove, compact and reopen, as the table of the original's documentation does.

#include "children.hpp"
#include "phases.hpp"

namespace peers {

inline constexpr std::size_t table_value_bytes = 150;

class Table {
  public:
    Table(Engine& engine, const std::string& variant, const Settings& settings, Record& record)
        : engine_(engine),
          settings_(settings),
          variant_(variant),
          phases_(record),
          data_(settings.records, durable_count + batch_count * batch_records + unsynced_count * 2,
                settings.record_bytes - key_bytes) {
        const std::vector<std::uint32_t> order = shuffled(settings.records, 10);
        looked_up_.assign(order.begin(),
                          order.begin() + static_cast<std::ptrdiff_t>(std::min(settings.records, lookups_max)));
        hits_ = data_.keys_of(looked_up_);
        misses_ = DataSet::absent(hits_.size());
        const std::vector<std::uint32_t> other_order = shuffled(settings.records, 11);
        const auto half = other_order.begin() + static_cast<std::ptrdiff_t>(settings.records / 2);
        removals_ = data_.keys_of(std::vector<std::uint32_t>(other_order.begin(), half));
        kept_order_.assign(
            half, half + static_cast<std::ptrdiff_t>(std::min<std::size_t>(settings.records / 2, lookups_max / 2)));
        kept_ = data_.keys_of(kept_order_);
    }

    void run() {
        const Memory memory;
        memory_ = &memory;
        bench::settle(settings_.folder.parent_path());
        engine_.open(settings_);
        load_and_write();
        read_everything();
        remove_and_compact();
        phases_.value("anonymous_max", "bytes", anonymous_max_);
        phases_.value("peak_resident", "bytes", memory.peak_resident());
        engine_.close();
        std::filesystem::remove_all(settings_.folder);
        reopen();
    }

  private:
    static constexpr std::size_t durable_count = 1000, batch_count = 100, batch_records = 1000, unsynced_count = 50'000;
    static constexpr std::size_t scan_records = 10, single_lookups = 100'000, keys_per_call = 64;

    void note_anonymous(const char* id = nullptr) {
        const double bytes = memory_->anonymous();
        anonymous_max_ = std::max(anonymous_max_, bytes);
        if (id != nullptr) phases_.value(id, "bytes", bytes);
    }

    void load_and_write() {
        phases_.timed("bulk_load", [&] { engine_.load(data_.loaded()); });
        note_anonymous("anonymous_loaded");
        phases_.timed("load_sync", [&] { engine_.sync(); });
        bench::settle(settings_.folder);
        phases_.value("size_loaded", "bytes", allocated_bytes(settings_.folder));
        const auto session = engine_.session();
        const std::span<const Pair> later = data_.later();
        phases_.timed_singly("durable_writes", durable_count,
                             [&](std::size_t i) { session->put_durable(later[i].first, later[i].second); });
        const std::span<const Pair> batches = later.subspan(durable_count);
        phases_.timed_singly("durable_batches", batch_count, [&](std::size_t i) {
            session->put_batch_durable(batches.subspan(i * batch_records, batch_records));
        });
        const std::span<const Pair> unsynced = batches.subspan(batch_count * batch_records);
        phases_.timed("unsynced_writes", [&] {
            for (std::size_t i = 0; i < unsynced_count; ++i) session->put(unsynced[i].first, unsynced[i].second);
        });
        phases_.timed_singly("unsynced_writes_singly", unsynced_count, [&](std::size_t i) {
            session->put(unsynced[unsynced_count + i].first, unsynced[unsynced_count + i].second);
        });
        note_anonymous();
        engine_.sync();
        engine_.prepare_reads();
    }

    void read_everything() {
        {
            const auto session = engine_.session();
            session->begin_reads();
            check_lookups(*session, hits_, looked_up_);
            look_up(*session, "hits", hits_);
            look_up(*session, "misses", misses_);
            phases_.timed("hits_new_string", [&] {
                for (const Bytes key : hits_.keys()) {
                    const std::optional<std::string> value = session->get_string(key);
                    demand(value.has_value(), "a record is missing");
                    bench::keep(*value);
                }
            });
            phases_.timed("hits_batched", [&] {
                const std::span<const Bytes> keys = hits_.keys();
                for (std::size_t i = 0; i < keys.size(); i += keys_per_call) {
                    const auto some = keys.subspan(i, std::min(keys_per_call, keys.size() - i));
                    demand(session->get_many(some) == some.size(), "a record is missing");
                }
            });
            phases_.timed_singly("hits_singly", std::min(single_lookups, hits_.size()),
                                 [&](std::size_t i) { bench::keep(session->get(hits_[i])); });
            session->end_reads();
        }
        for (const std::size_t threads : {1U, 2U, 4U, 8U}) read_by_threads(threads);
        note_anonymous();
        scan("scans_loaded", hits_, std::min<std::size_t>(500'000, hits_.size()));
    }

    void look_up(Session& session, const char* id, const KeyList& keys) {
        const bool there = &keys == &hits_ || &keys == &kept_;
        phases_.timed(id, [&] {
            for (const Bytes key : keys.keys()) {
                const std::optional<Bytes> value = session.get(key);
                demand(value.has_value() == there, "a look-up went wrong");
                bench::keep(value);
            }
        });
    }

    void check_lookups(Session& session, const KeyList& keys, const std::vector<std::uint32_t>& order) {
        for (std::size_t i = 0; i < keys.size(); ++i) {
            demand(session.get(keys[i]) == data_.pairs()[order[i]].second, "a value is not what was written");
        }
    }

    void read_by_threads(std::size_t threads) {
        const std::string id = "readers_" + std::to_string(threads);
        const std::size_t count = settings_.records + 150'000;
        std::vector<std::unique_ptr<Session>> sessions;
        for (std::size_t i = 0; i < threads; ++i) sessions.push_back(engine_.session());
        const double each = bench::time_threads_each(threads, count, 1000, [&](std::size_t thread) {
            Session* const session = sessions[thread].get();
            session->begin_reads();
            return [this, session](std::size_t i) {
                const std::optional<Bytes> value = session->get(hits_[i % hits_.size()]);
                if (!value) std::abort();
                bench::keep(value);
            };
        });
        for (const auto& session : sessions) session->end_reads();
        phases_.value(id, "ms", each * bench::as_double(count) / 1e6);
    }

    void scan(const char* id, const KeyList& starts, std::size_t count) {
        if (!engine_.can_scan()) {
            phases_.attempt(id, [] { throw Unsupported("no order among keys"); });
            return;
        }
        const auto session = engine_.session();
        session->begin_reads();
        phases_.timed(id, [&] {
            ScanSum sum;
            std::size_t seen = 0;
            for (std::size_t i = 0; i < count; ++i) seen += session->scan(starts[i % starts.size()], scan_records, sum);
            demand(seen + 1000 >= count * scan_records, "scans returned too little");  // a few begin near the end
            bench::keep(sum);
        });
        session->end_reads();
    }

    void remove_and_compact() {
        {
            const auto session = engine_.session();
            phases_.timed("removals", [&] {
                for (const Bytes key : removals_.keys()) session->remove(key);
            });
            session->begin_reads();
            for (std::size_t i = 0; i < removals_.size(); i += 7)
                demand(!session->get(removals_[i]), "a removed record is there");
            session->end_reads();
        }
        engine_.sync();
        bench::settle(settings_.folder);
        phases_.value("size_before_compaction", "bytes", allocated_bytes(settings_.folder));
        phases_.timed("compaction", [&] { engine_.compact(); });
        note_anonymous("anonymous_compacted");
        bench::settle(settings_.folder);
        phases_.value("size_after_compaction", "bytes", allocated_bytes(settings_.folder));
        phases_.timed("copy_of_compacted",
                      [&] { copy_synced(settings_.folder, settings_.folder.parent_path() / "copy"); });
        std::filesystem::remove(settings_.folder.parent_path() / "copy");
        scan("scans_compacted", kept_, std::min<std::size_t>(500'000, hits_.size()));
        const auto session = engine_.session();
        session->begin_reads();
        check_lookups(*session, kept_, kept_order_);
        look_up(*session, "hits_compacted", kept_);
        session->end_reads();
        note_anonymous();
    }

    /// What `cp` and fdatasync of the same bytes take.
    static void copy_synced(const std::filesystem::path& from, const std::filesystem::path& to) {
        bench::FileDescriptor target(to, O_WRONLY | O_CREAT | O_TRUNC);
        std::string buffer(bench::mebibyte, '\0');
        for (const auto& entry : std::filesystem::recursive_directory_iterator(from)) {
            if (!entry.is_regular_file()) continue;
            const bench::FileDescriptor source(entry.path(), O_RDONLY);
            // Sparse files hold more zeros than data: only what has blocks counts.
            struct stat status {};
            fstat(source.number(), &status);
            auto left = std::min<std::int64_t>(status.st_size, status.st_blocks * 512);
            for (ssize_t got; left > 0 && (got = ::read(source.number(), buffer.data(), buffer.size())) > 0;
                 left -= got) {
                demand(::write(target.number(), buffer.data(), static_cast<std::size_t>(got)) == got, "cannot copy");
            }
        }
        target.sync();
    }

    /// In new processes, as it happens; the records are loaded anew.
    void reopen() {
        bench::settle(settings_.folder.parent_path());
        engine_.open(settings_);
        engine_.load(data_.loaded());
        engine_.sync();
        engine_.close();
        const Children children(settings_, variant_);
        bench::Samples times;
        Reopened opened;
        for (int i = 0; i < 5; ++i) {
            opened = children.open_and_get(hits_[0]);
            times.push_back(opened.milliseconds);
        }
        phases_.value("reopen_clean", "ms", bench::median(times));
        phases_.value("anonymous_reopened", "bytes", opened.anonymous);
        children.write_and_be_killed();
        opened = children.open_and_get(hits_[0]);
        phases_.value("reopen_killed", "ms", opened.milliseconds);
        phases_.value("written_before_kill", "records", Children::writes);
        phases_.value("found_after_kill", "records", opened.found);
    }

    Engine& engine_;
    Settings settings_;
    std::string variant_;
    Phases phases_;
    DataSet data_;
    std::vector<std::uint32_t> looked_up_, kept_order_;
    KeyList hits_, misses_, removals_, kept_;
    const Memory* memory_ = nullptr;
    double anonymous_max_ = 0;
};

}  // namespace peers
