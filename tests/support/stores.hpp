#pragma once
// Every way that records can be stored, to run a piece of specification on each; and records to store.

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "emdb.hpp"
#include "support/outcome.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test::stores {

using emdb::AppendMode;
using emdb::Emdb;

// A database that can be closed and opened again, in one of the ways to append. In memory there is nothing to reopen.
class Store {
public:
    enum class Kind { in_memory, automatic, pwrite };

    explicit Store(Kind kind) : kind_(kind), db_(open()) {}

    Emdb& db() { return *db_; }
    bool reopens() const { return kind_ != Kind::in_memory; }
    void reopen() {
        if (!reopens()) return;
        db_->close().value();
        db_.reset();
        db_ = open();
    }

private:
    Emdb open() {
        if (kind_ == Kind::in_memory) return Emdb::open_in_memory();
        const AppendMode mode = kind_ == Kind::pwrite ? AppendMode::pwrite : AppendMode::automatic;
        return Emdb::builder().path(folder_.file("store.emdb")).append_mode(mode).build().value();
    }

    Kind kind_;
    TempFolder folder_;
    std::optional<Emdb> db_;
};

inline constexpr Store::Kind every_kind[] = {Store::Kind::in_memory, Store::Kind::automatic, Store::Kind::pwrite};

// Runs a piece of specification on each kind of store.
template <class F>
void on_every_store(F&& specification) {
    for (const Store::Kind kind : every_kind) {
        CAPTURE(static_cast<int>(kind));
        Store store(kind);
        specification(store);
    }
}

inline std::string numbered(const char* prefix, std::size_t number) { return prefix + std::to_string(number); }

// Text that differs from byte to byte and from seed to seed, so that misplaced bytes show.
inline std::string patterned(std::size_t size, std::uint32_t seed) {
    std::string text(size, '\0');
    std::uint32_t state = seed * 2654435761u + 1;
    for (char& c : text) {
        state = state * 1664525u + 1013904223u;
        c = static_cast<char>(state >> 24);
    }
    return text;
}

// make(0) ... make(count - 1), made as they are walked: a range that can be walked only once and counts how often it is

inline std::map<std::string, std::string> contents(const Emdb& db) {
    std::map<std::string, std::string> result;
    for (auto& [key, value] : db.iter().value()) {
        const bool first_time = result.emplace(key, value).second;
        CHECK(first_time);
    }
    return result;
}

}  // namespace emdb_test::stores
