// The list of expiring records: its order, its garbage, and what it does when a sweep fails, a disk is full, a record is damaged or
// the power goes.

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/simulated_disk.hpp"

namespace emdb_test {
namespace {

using emdb::AppendMode;
using emdb::Emdb;
using emdb::EmdbBuilder;
using emdb::ErrorCode;
using emdb::Ttl;
using emdb::detail::ExpiryQueues;
using emdb::detail::HashIndex;
using emdb::detail::KeyHash;
using emdb::detail::Pins;
using std::chrono::milliseconds;

// A hash index with the queues beside it, changed as the engine does, in shard 0.
class Pair {
  public:
    void put(std::uint64_t number, std::uint64_t offset, std::uint64_t expiry) {
        const KeyHash hash = hash_of(number);
        REQUIRE(index.make_room(0, 1));
        queues.tidy(0);
        REQUIRE(queues.make_room(0, expiry != 0));
        const auto at = index.locate(hash, [](std::uint64_t) { return true; });
        const HashIndex::Change change(index, 0);
        if (at) {
            index.replace(hash, at, offset, 0, 0);
            if (expiries[number] != 0) queues.became_garbage(0);
        } else {
            index.insert(hash, offset, 1, 1);
        }
        expiries[number] = expiry;
        offsets[number] = offset;
        if (expiry != 0) queues.add(0, {expiry, offset, hash.value()});
    }
    static KeyHash hash_of(std::uint64_t number) { return KeyHash((number * 2654435761u & 0xFFFFFFFF) << 26); }

    HashIndex index{std::make_shared<Pins>()};
    ExpiryQueues queues{index};
    std::map<std::uint64_t, std::uint64_t> expiries, offsets;
};

}  // namespace

TEST_CASE("entries come soonest first, and go back unless they are dropped") {
    Pair pair;
    CHECK(!pair.queues.in_use());
    CHECK(!pair.queues.is_due(0, UINT64_MAX));
    CHECK(pair.queues.memory_bytes() == 0);
    for (std::uint64_t i = 0; i < 100; ++i) pair.put(i, 1000 + i, 1 + i * 37 % 100);
    CHECK(!pair.queues.is_due(0, 0));
    CHECK(pair.queues.is_due(0, 1));
    CHECK(!pair.queues.is_due(1, UINT64_MAX - 1));
    for (int attempt = 0; attempt < 2; ++attempt) {
        ExpiryQueues::Due due(pair.queues, 0);
        for (std::uint64_t expected = 1; expected <= 50; ++expected) {
            const ExpiryQueues::Entry* entry = due.take(50);
            REQUIRE(entry != nullptr);
            CHECK(entry->expiry_unix_ms == expected);
        }
        CHECK(due.take(50) == nullptr);
    }
    {
        ExpiryQueues::Due due(pair.queues, 0);
        for (int i = 0; i < 40; ++i) CHECK(due.take(50) != nullptr);
        due.drop();
    }
    CHECK(!pair.queues.is_due(0, 40));
    CHECK(pair.queues.is_due(0, 41));
    pair.queues.clear();
    CHECK(!pair.queues.is_due(0, UINT64_MAX - 1));
}

TEST_CASE("entries of rewritten records are dropped before they outnumber the others by much, and no other is lost") {
    Pair pair;
    std::uint64_t offset = 1000;
    SeededRandom random(5);
    std::size_t most = 0;
    for (int i = 0; i < 20'000; ++i) {
        pair.put(random.below(100), ++offset, random.one_in(5) ? 0 : 1 + random.below(1000));
        most = (std::max)(most, pair.queues.memory_bytes());
    }
    CHECK(most < 64 * 64 * 2 + 3 * (100 + 64) * sizeof(ExpiryQueues::Entry));
    std::map<std::uint64_t, std::uint64_t> found;  // offset -> expiry
    ExpiryQueues::Due due(pair.queues, 0);
    while (const ExpiryQueues::Entry* entry = due.take(UINT64_MAX)) {
        if (pair.index.locate(KeyHash(entry->hash), [&](std::uint64_t at) { return at == entry->offset; })) {
            CHECK(found.emplace(entry->offset, entry->expiry_unix_ms).second);
        }
    }
    std::map<std::uint64_t, std::uint64_t> expected;
    for (const auto& [number, expiry] : pair.expiries) {
        if (expiry != 0) expected.emplace(pair.offsets[number], expiry);
    }
    CHECK(found == expected);
}

// --- on a simulated disk ------------------------------------------------------------------------------------------------------

namespace {

const std::string path = "/disk/a.emdb";
constexpr std::uint64_t start_of_time = 1'700'000'000'000;

Emdb open(SimulatedDisk& disk, AppendMode mode = AppendMode::pwrite) {
    EmdbBuilder builder;
    builder.path(path).append_mode(mode).clock([&disk] { return disk.now_unix_ms(); });
    emdb::detail::BuilderAccess::set_environment(builder, disk);
    return builder.build().value();
}

std::size_t count(Emdb& db) { return db.iter().value().collect().value().size(); }

}  // namespace

TEST_CASE("a sweep that fails for want of space loses nothing, and the next one does its work") {
    SimulatedDisk disk({.keeps_allocation = true});
    disk.set_now_unix_ms(start_of_time);
    auto db = open(disk, AppendMode::mapped);
    const std::string prefix = "a rather long key, so that removing it takes space: ";
    for (int i = 0; i < 5000; ++i) db.insert_with_ttl(prefix + std::to_string(i), "v", Ttl::after(milliseconds(1))).value();
    disk.set_now_unix_ms(start_of_time + 1);
    disk.set_capacity(db.stats().value().file_size_bytes + db.stats().value().preallocated_bytes + 1000);
    CHECK(db.sweep_expired() == ErrorCode::io);
    const std::size_t left = db.len().value();
    CHECK(left > 0);
    CHECK(count(db) == 0);
    disk.set_capacity(UINT64_MAX);
    CHECK(db.sweep_expired().value() == left);
    CHECK(db.len().value() == 0);
}

TEST_CASE("a damaged record is reported by a sweep, which removes the others") {
    SimulatedDisk disk;
    disk.set_now_unix_ms(start_of_time);
    auto db = open(disk);
    for (int i = 0; i < 1000; ++i) {
        db.insert_with_ttl("key " + std::to_string(i), "value " + std::to_string(i) + ".", Ttl::after(milliseconds(1))).value();
    }
    const std::uint64_t place = disk.bytes_of(path).find("value 123.");
    REQUIRE(place != std::string::npos);
    disk.flip_bits(path, place);
    disk.set_now_unix_ms(start_of_time + 1);
    CHECK(db.sweep_expired() == ErrorCode::corrupted);
    CHECK(db.len().value() == 1);
    CHECK(db.get("key 123") == ErrorCode::corrupted);
    CHECK(db.sweep_expired().value() == 0);
    db.insert("key 123", "new").value();
    CHECK(db.get("key 123").value() == "new");
}

TEST_CASE("a power cut during a sweep leaves each expired record or none of it, and another sweep takes the rest") {
    int partly = 0;
    for (std::uint64_t seed = 0; seed < 150; ++seed) {
        CAPTURE(seed);
        SeededRandom random(seed);
        DiskSettings settings;
        settings.seed = seed;
        settings.keeps_allocation = random.coin();
        settings.write_back_one_in = random.below(3) * 2;
        const AppendMode mode = random.coin() ? AppendMode::pwrite : AppendMode::automatic;
        SimulatedDisk disk(settings);
        disk.set_now_unix_ms(start_of_time);
        constexpr std::size_t plain = 50, expiring = 200;
        {
            auto db = open(disk, mode);
            for (std::size_t i = 0; i < plain; ++i) db.insert("plain " + std::to_string(i), "v").value();
            for (std::size_t i = 0; i < expiring; ++i) {
                db.insert_with_ttl("expiring " + std::to_string(i), "v", Ttl::after(milliseconds(10))).value();
            }
            db.flush().value();
            disk.set_now_unix_ms(start_of_time + 10);
            if (random.coin()) {
                disk.cut_power_at(disk.operation_count() + 1 + random.below(60));
                (void)db.sweep_expired();
            } else {
                CHECK(db.sweep_expired().value() == expiring);
                for (std::uint64_t ticks = random.below(20); ticks > 0; --ticks) disk.tick();
            }
            disk.cut_power();
        }
        SimulatedDisk rebooted(disk.crashed().random_outcome(random), settings);
        rebooted.set_now_unix_ms(start_of_time);  // nothing has expired yet: what was not swept shows
        auto db = open(rebooted, mode);
        const std::size_t left = db.len().value();
        CHECK(count(db) == left);
        CHECK(left >= plain);
        CHECK(left <= plain + expiring);
        partly += left != plain && left != plain + expiring;
        rebooted.set_now_unix_ms(start_of_time + 10);
        CHECK(count(db) == plain);
        CHECK(db.sweep_expired().value() == left - plain);
        CHECK(db.len().value() == plain);
    }
    CHECK(partly > 0);
}

TEST_CASE("a sweep comes to its end when the clock has come to its own") {
    auto db = Emdb::builder().clock([] { return UINT64_MAX; }).build().value();
    db.insert_with_ttl("expiring", "v", Ttl::at(1)).value();
    db.insert_with_ttl("at the very end", "v", Ttl::at(UINT64_MAX)).value();
    db.insert("plain", "v").value();
    CHECK(db.sweep_expired().value() == 2);
    CHECK(db.sweep_expired().value() == 0);
    CHECK(db.len().value() == 1);
}

}  // namespace emdb_test
