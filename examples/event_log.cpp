// An append-only log of events, as a small class over the database: keys in the order of time, questions about a stretch of it,
// retention (the oldest goes), and backups while it is written to. A realistic program rather than a tour; see range_scan and
// bulk_load for the parts.
//
// What makes it sound: the key is the time in microseconds, at a fixed width, and a number that tells events of one moment apart,
// so that the order of bytes is the order of time. The next number is a record of its own, written in the same transaction.
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Microseconds = std::uint64_t;  // since 1970

class EventLog {
public:
    static emdb::Result<EventLog> open(const std::filesystem::path& file) {
        auto db = emdb::Emdb::builder()
                      .path(file)
                      .enable_range_scans(true)
                      .flush_policy(emdb::FlushPolicy::group())  // threads that append durably share syncs
                      .build();
        if (!db) return db.error();
        auto events = db->open_namespace("events");
        return events ? emdb::Result<EventLog>(EventLog(*db, *events)) : events.error();
    }

    /// Appends events of one moment, all or none of them. They survive a power cut when it returns.
    emdb::Result<void> append(Microseconds time, const std::vector<std::string>& events) {
        auto appended = db_.transaction([&](emdb::Transaction& tx) -> emdb::Result<void> {
            const auto last = tx.get("next number");
            if (!last) return last.error();
            std::uint64_t number = *last ? std::strtoull((*last)->c_str(), nullptr, 10) : 0;
            for (const std::string& event : events) {
                if (auto stored = tx.in(events_).insert(key_of(time, number++), event); !stored) return stored;
            }
            return tx.insert("next number", std::to_string(number));
        });
        return appended ? db_.flush() : appended;
    }

    /// f(Microseconds, std::string_view) for each event in [from, to), the oldest first, in constant memory. Events may be appended
    /// meanwhile.
    template <class F>
    emdb::Result<void> between(Microseconds from, Microseconds to, F&& f) const {
        auto events = events_.range_iter(emdb::Range::half_open(key_of(from, 0), key_of(to, 0)));
        if (!events) return events.error();
        for (const auto& [key, event] : *events) f(std::strtoull(std::string(key.substr(0, 20)).c_str(), nullptr, 10), event);
        return events->status();  // whether it ended or failed
    }

    /// Forgets what is older. In pieces, so that appending goes on in between; one that is interrupted is made up for by the next.
    emdb::Result<std::size_t> forget_before(Microseconds time) {
        std::size_t forgotten = 0;
        for (;;) {
            std::vector<std::string> keys;
            auto old = events_.range_iter(emdb::Range::until(key_of(time, 0)));
            if (!old) return old.error();
            for (const auto& [key, event] : *old) {
                keys.emplace_back(key);
                if (keys.size() == 1000) break;
            }
            if (auto read = old->status(); !read) return read.error();
            if (keys.empty()) break;
            auto removed = db_.transaction([&](emdb::Transaction& tx) -> emdb::Result<void> {
                for (const std::string& key : keys) {
                    if (auto gone = tx.in(events_).remove(key); !gone) return gone.error();
                }
                return {};
            });
            if (!removed) return removed.error();
            forgotten += keys.size();
        }
        // Removing writes, too. Space comes back by compaction, worth its price once half of the file is dead; auto_compact on the
        // builder does it by itself.
        const auto stats = db_.stats();
        if (!stats) return stats.error();
        if (stats->dead_bytes > stats->file_size_bytes / 2) {
            if (auto compacted = db_.compact(); !compacted) return compacted.error();
        }
        return forgotten;
    }

    emdb::Result<void> backup_to(const std::filesystem::path& target) const { return db_.backup_to(target); }
    emdb::Result<std::size_t> count() const { return events_.len(); }
    emdb::Result<std::uint64_t> file_size() const {
        return db_.stats().transform([](const emdb::EmdbStats& stats) { return stats.file_size_bytes; });
    }

private:
    EventLog(emdb::Emdb db, emdb::Namespace events) : db_(std::move(db)), events_(std::move(events)) {}

    static std::string key_of(Microseconds time, std::uint64_t number) {
        char key[42];
        std::snprintf(key, sizeof key, "%020llu-%020llu", static_cast<unsigned long long>(time),
                      static_cast<unsigned long long>(number));
        return key;
    }

    emdb::Emdb db_;
    emdb::Namespace events_;
};

constexpr Microseconds hour = 3'600'000'000;
constexpr Microseconds start = 1'700'000'000'000'000;

std::size_t count_between(const EventLog& log, Microseconds from, Microseconds to) {
    std::size_t count = 0;
    Microseconds last = 0;
    bool in_order = true;
    log.between(from, to, [&](Microseconds time, std::string_view) {
           in_order = in_order && time >= last;
           last = time;
           ++count;
       }).value();
    return in_order ? count : 0;
}

bool works(const std::filesystem::path& folder) {
    {
        auto log = EventLog::open(folder / "events.emdb").value();
        for (Microseconds i = 0; i < 240; ++i) {  // ten days, an hour apart, a hundred events at a time
            std::vector<std::string> events;
            for (int n = 0; n < 100; ++n) events.push_back("event " + std::to_string(n) + " of hour " + std::to_string(i));
            log.append(start + i * hour, events).value();
        }
        if (count_between(log, start + 24 * hour, start + 48 * hour) != 2400) return false;
        log.backup_to(folder / "events.backup").value();
    }

    auto log = EventLog::open(folder / "events.emdb").value();  // numbers go on where they stopped
    log.append(start, {"late, but in its place"}).value();
    if (count_between(log, start, start + hour) != 101) return false;

    const auto before = log.file_size().value();
    if (log.forget_before(start + 7 * 24 * hour).value() != 7 * 2400 + 1) return false;
    std::printf("%zu events left, the file went from %llu to %llu bytes\n", log.count().value(),
                static_cast<unsigned long long>(before), static_cast<unsigned long long>(log.file_size().value()));
    if (log.count().value() != 3 * 2400 || log.file_size().value() >= before / 2) return false;

    // The backup is a database of its own, as of its moment.
    const auto backup = EventLog::open(folder / "events.backup").value();
    return backup.count().value() == 24'000 && count_between(backup, start, start + hour) == 100;
}

}  // namespace

int main() {
    const auto folder = std::filesystem::temp_directory_path() / "emdb-example-event-log";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    const bool ok = works(folder);
    std::filesystem::remove_all(folder);
    std::puts(ok ? "ok" : "FAILED");
    return ok ? 0 : 1;
}
