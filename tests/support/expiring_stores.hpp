#pragma once
// Databases with a clock of their own, moved by hand, for tests of expiry: nothing sleeps.

#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "emdb.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test::expiring_stores {

using emdb::AppendMode;
using emdb::Emdb;
using emdb::EmdbBuilder;
using std::chrono::milliseconds;

inline constexpr std::uint64_t start_of_time = 1'700'000'000'000;

// Milliseconds since 1970, moved by hand; counts how often it is asked.
struct FakeClock {
    std::atomic<std::uint64_t> now{start_of_time};
    std::atomic<std::uint64_t> asked{0};
};

// A database with a clock of its own, in memory or on a file that can be opened again.
class Store {
  public:
    enum class Kind { in_memory, automatic, pwrite };

    explicit Store(Kind kind, std::optional<milliseconds> default_ttl = std::nullopt) : kind_(kind), default_ttl_(default_ttl) {
        db_ = open();
    }

    Emdb& db() { return *db_; }
    FakeClock& clock() { return *clock_; }
    void advance(std::uint64_t by) { clock_->now += by; }
    void reopen() {
        if (kind_ == Kind::in_memory) return;
        db_->close().value();
        db_.reset();
        db_ = open();
    }

  private:
    Emdb open() {
        EmdbBuilder builder;
        builder.clock([clock = clock_] {
            ++clock->asked;
            return clock->now.load();
        });
        if (default_ttl_) builder.default_ttl(*default_ttl_);
        if (kind_ == Kind::in_memory) return builder.build().value();
        builder.path(folder_.file("store.emdb")).append_mode(kind_ == Kind::pwrite ? AppendMode::pwrite : AppendMode::automatic);
        return builder.build().value();
    }

    Kind kind_;
    std::optional<milliseconds> default_ttl_;
    std::shared_ptr<FakeClock> clock_ = std::make_shared<FakeClock>();
    TempFolder folder_;
    std::optional<Emdb> db_;
};

inline constexpr Store::Kind every_kind[] = {Store::Kind::in_memory, Store::Kind::automatic, Store::Kind::pwrite};

template <class F> void on_every_store(F&& specification, std::optional<milliseconds> default_ttl = std::nullopt) {
    for (const Store::Kind kind : every_kind) {
        CAPTURE(static_cast<int>(kind));
        Store store(kind, default_ttl);
        specification(store);
    }
}

using Contents = std::map<std::string, std::string>;

inline Contents contents(const emdb::Keyspace& keyspace) {
    Contents found;
    auto records = keyspace.iter().value();
    for (const auto& [key, value] : records) CHECK(found.emplace(key, value).second);
    records.status().value();
    std::size_t keys = 0;
    for (const std::string& key : keyspace.keys().value().collect().value()) keys += found.count(key);
    CHECK(keys == found.size());
    return found;
}

}  // namespace emdb_test::expiring_stores
