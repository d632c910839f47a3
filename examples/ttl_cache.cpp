// Records that end by themselves: a cache of sessions. When to use it: whenever something is only good for a time. Reads pass
// over what has expired at once; a sweep now and then gives its memory back.
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

namespace {

using namespace std::chrono_literals;

// What the cache is for: asked only where it has nothing.
std::string compute(const std::string& key) { return "value of " + key; }

std::string cached(emdb::Emdb& db, const std::string& key, bool& hit) {
    auto value = db.get(key).value();
    hit = value.has_value();
    if (!hit) {
        value = compute(key);
        db.insert(key, *value).value();  // lives as long as default_ttl says
    }
    return *value;
}

bool works() {
    // A clock that is moved by hand, so that this program need not wait. Leave `clock` out for the system's.
    const auto now = std::make_shared<std::atomic<std::uint64_t>>(1'700'000'000'000);
    auto db = emdb::Emdb::builder()
                  .default_ttl(5min)
                  .clock([now] { return now->load(); })
                  .build()  // in memory; with a path it outlives the program
                  .value();
    const auto wait = [&](std::chrono::milliseconds duration) { *now += static_cast<std::uint64_t>(duration.count()); };

    bool hit = true;
    cached(db, "a", hit);
    if (hit) return false;
    wait(4min);
    cached(db, "a", hit);
    if (!hit) return false;
    wait(1min);
    cached(db, "a", hit);  // gone since just now, so it is computed again
    if (hit) return false;

    // Records with another lifetime than the default, or with none.
    db.insert_with_ttl("session", "alice", emdb::Ttl::after(30s)).value();
    db.insert_with_ttl("settings", "dark", emdb::Ttl::never()).value();
    std::printf("the session has %lld ms left\n", static_cast<long long>(db.ttl("session").value()->count()));

    // Somebody ticked "stay logged in".
    if (!db.persist("session").value()) return false;
    wait(24h);
    if (db.get("session").value() != "alice" || db.contains_key("a").value()) return false;

    // Expired records count until they are swept; how many there are decides what a sweep costs, not the size of the database.
    const auto before = db.len().value();
    const auto swept = db.sweep_expired().value();
    std::printf("%zu records, %zu of them expired\n", before, swept);
    return before == 3 && swept == 1 && db.len().value() == 2;
}

}  // namespace

int main() {
    const bool ok = works();
    std::puts(ok ? "ok" : "FAILED");
    return ok ? 0 : 1;
}
