// Every pair of calls at the same time on one database, for ThreadSanitizer as much as for what is checked here: values are ones that
// were written under their keys, transactions are seen whole, and afterwards the file verifies and says what the index said.

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/complaints.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::Emdb;
using emdb::ErrorCode;

constexpr std::size_t key_count = 24;
const std::array<std::string, 4> together = {"all.0", "all.1", "all.2", "all.3"};

std::string key_of(std::size_t i) { return "key." + std::to_string(i % key_count); }
std::string value_of(std::string_view key, std::uint64_t number) {
    std::string value;
    for (int i = 0; i < 4; ++i) value += std::string(key) + "=" + std::to_string(number) + ";";
    return value;
}
bool belongs(std::string_view key, std::string_view value) {
    const std::string start = std::string(key) + "=";
    return value.starts_with(start) && value == value_of(key, std::strtoull(std::string(value.substr(start.size())).c_str(), nullptr, 10));
}

/// Two calls under way on one database.
class Pair {
public:
    /// `closes`: one of them closes it. `both_drop`: both drop the same namespace.
    Pair(std::string folder, bool closes, bool both_drop) : folder_(std::move(folder)), closes_(closes), both_drop_(both_drop) {
        db = Emdb::builder().path(path()).enable_range_scans(true).auto_compact(0.5, 64'000).build().value();
        space.emplace(db->open_namespace("space").value());
        for (std::size_t i = 0; i < key_count; ++i) put(i, 0);
        write_together(0);
    }
    std::string path() const { return folder_ + "/a.emdb"; }
    std::string other_path() { return folder_ + "/copy" + std::to_string(++copies_); }

    void put(std::size_t i, std::uint64_t number) { allowed(db->insert(key_of(i), value_of(key_of(i), number))); }
    void write_together(std::uint64_t number) {
        allowed(db->transaction([&](emdb::Transaction& transaction) -> emdb::Result<void> {
            for (const auto& key : together) {
                if (auto put = transaction.insert(key, value_of("all", number)); !put) return put;
            }
            return {};
        }));
    }
    /// Whether the call worked; `stopped` is an answer where something closes.
    template <class Result>
    bool allowed(const Result& result) {
        if (!result) must(closes_ && result.error() == ErrorCode::stopped, result.error().message());
        return result.has_value();
    }
    /// The same for a call to a namespace that the other call may just have dropped.
    template <class Result>
    bool allowed_if_dropped(const Result& result) {
        return !result && both_drop_ && result.error() == ErrorCode::invalid_argument ? false : allowed(result);
    }
    void must(bool holds, std::string_view what) { complaints_.unless(holds, what); }
    std::string complaints() { return complaints_.text(); }

    std::optional<Emdb> db;
    std::optional<emdb::Namespace> space;

private:
    const std::string folder_;
    const bool closes_;
    const bool both_drop_;
    std::atomic<int> copies_{0};
    Complaints complaints_;
};

struct Call {
    const char* name;
    int times;
    std::function<void(Pair&, std::uint64_t)> make;
};

void check_record(Pair& pair, std::string_view key, std::string_view value) {
    if (key.starts_with("key.") || key.starts_with("new.")) pair.must(belongs(key, value), "a value that was never written under its key");
}

void check_together(Pair& pair, const std::vector<std::string>& values) {
    pair.must(values.size() == together.size(), "a transaction's key is missing");
    for (const auto& value : values) pair.must(value == values.front(), "a transaction is seen by halves");
}

const std::vector<Call>& calls() {
    static const std::vector<Call> all = {
        {"get", 150, [](Pair& p, std::uint64_t i) {
            const auto found = p.db->get(key_of(i));
            if (p.allowed(found) && *found) check_record(p, key_of(i), **found);
        }},
        {"get_many", 60, [](Pair& p, std::uint64_t) {
            std::vector<emdb::Bytes> keys(together.begin(), together.end());
            const auto found = p.db->get_many(keys);
            if (!p.allowed(found)) return;
            std::vector<std::string> values;
            for (const auto& value : *found) {
                if (value) values.push_back(*value);
            }
            check_together(p, values);
        }},
        {"zerocopy", 100, [](Pair& p, std::uint64_t i) {
            const auto found = p.db->get_zerocopy(key_of(i));
            if (!p.allowed(found) || !*found) return;
            const emdb::ValueRef copy = **found;
            std::this_thread::yield();
            check_record(p, key_of(i), copy.as_string_view());
        }},
        {"insert", 100, [](Pair& p, std::uint64_t i) { p.put(i, i); }},
        {"compare_exchange", 60, [](Pair& p, std::uint64_t i) {
            const auto found = p.db->get(key_of(i));
            if (!p.allowed(found)) return;
            std::optional<emdb::Bytes> expected;
            if (*found) expected = emdb::Bytes(**found);
            p.allowed(p.db->compare_exchange(key_of(i), expected, emdb::Bytes(value_of(key_of(i), i))));
        }},
        {"remove", 80, [](Pair& p, std::uint64_t i) {
            const auto prior = p.db->remove(key_of(i));
            if (p.allowed(prior) && *prior) check_record(p, key_of(i), **prior);
        }},
        {"insert_many", 6, [](Pair& p, std::uint64_t i) {
            std::vector<std::pair<std::string, std::string>> records;
            for (std::size_t k = 0; k < key_count; ++k) records.emplace_back(key_of(k), value_of(key_of(k), i));
            p.allowed(p.db->insert_many(records));
        }},
        {"transaction", 40, [](Pair& p, std::uint64_t i) { p.write_together(i); }},
        {"growth", 400, [](Pair& p, std::uint64_t i) {
            const std::string key = "new." + std::to_string(i);
            p.allowed(p.db->insert(key, value_of(key, i)));
        }},
        {"iterate", 6, [](Pair& p, std::uint64_t) {
            auto records = p.db->iter();
            if (!p.allowed(records)) return;
            std::set<std::string> seen;
            for (const auto& [key, value] : *records) {
                check_record(p, key, value);
                p.must(seen.insert(std::string(key)).second, "an iterator sees a key twice");
            }
            p.must(records->status().has_value(), "an iterator failed");
            for (const auto& key : together) p.must(seen.count(key) == 1, "an iterator misses a key that was there throughout");
        }},
        {"range", 12, [](Pair& p, std::uint64_t) {
            const auto records = p.db->range_prefix("all.");
            if (!p.allowed(records)) return;
            std::vector<std::string> values;
            for (const auto& record : *records) values.push_back(record.value);
            check_together(p, values);
            auto ordered = p.db->range_prefix_iter("key.");
            if (!p.allowed(ordered)) return;
            std::string before;
            for (const auto& [key, value] : *ordered) {
                check_record(p, key, value);
                p.must(std::string(key) > before, "a range goes back");
                before = key;
            }
        }},
        {"compact", 3, [](Pair& p, std::uint64_t) { p.allowed(p.db->compact()); }},
        {"checkpoint", 4, [](Pair& p, std::uint64_t) { p.allowed(p.db->checkpoint()); }},
        {"backup", 3, [](Pair& p, std::uint64_t) {
            const std::string target = p.other_path();
            if (!p.allowed(p.db->backup_to(target))) return;
            const auto report = Emdb::verify(target);
            p.must(report && report->ok(), "a backup does not verify");
        }},
        {"sweep", 30, [](Pair& p, std::uint64_t i) {
            p.allowed(p.db->insert_with_ttl("short." + std::to_string(i % 8), "x", emdb::Ttl::at(1)));
            p.allowed(p.db->sweep_expired());
        }},
        {"clear", 20, [](Pair& p, std::uint64_t i) {
            for (std::uint64_t k = 0; k < 4; ++k) p.allowed(p.space->insert("s" + std::to_string(k), std::to_string(i)));
            p.allowed(p.space->clear());
        }},
        {"drop_namespace", 10, [](Pair& p, std::uint64_t i) {
            auto dropped = p.db->open_namespace("dropped");
            if (!p.allowed(dropped)) return;
            p.allowed_if_dropped(dropped->insert("a", std::to_string(i)));
            p.allowed(p.db->drop_namespace("dropped"));
            p.must(!dropped->get("a"), "a dropped namespace answers");
        }},
        {"open_namespace", 100, [](Pair& p, std::uint64_t) {
            const auto opened = p.db->open_namespace("space");
            if (p.allowed(opened)) p.must(opened->name() == "space", "another namespace was opened");
        }},
        {"flush", 10, [](Pair& p, std::uint64_t) { p.allowed(p.db->flush()); }},
        {"stats", 60, [](Pair& p, std::uint64_t) {
            const auto stats = p.db->stats();
            if (p.allowed(stats)) p.must(stats->namespace_count <= 2, "a namespace that never was");
            p.allowed(p.db->len());
            const auto names = p.db->list_namespaces();
            if (p.allowed(names)) p.must(names->size() <= 2, "a namespace that never was");
        }},
        {"async calls", 20, [](Pair& p, std::uint64_t i) {
            auto async = emdb::AsyncEmdb::from_sync(*p.db);
            auto put = async.insert(key_of(i), value_of(key_of(i), i));
            auto found = async.get(key_of(i + 1));
            auto flushed = i % 8 == 0 ? async.flush().get() : emdb::Result<void>();
            p.allowed(flushed);
            p.allowed(put.get());
            const auto value = found.get();
            if (p.allowed(value) && *value) check_record(p, key_of(i + 1), **value);
        }},
        {"close", 1, [](Pair& p, std::uint64_t) {
            for (int i = 0; i < 200; ++i) std::this_thread::yield();
            p.allowed(p.db->close());
        }},
    };
    return all;
}

std::uint64_t run_pair(const Call& one, const Call& other, std::uint64_t seed) {
    TempFolder folder;
    const auto is = [](const Call& call, std::string_view name) { return call.name == name; };
    const bool closes = is(one, "close") || is(other, "close");
    Pair pair(folder.path(), closes, is(one, "drop_namespace") && is(other, "drop_namespace"));
    std::atomic<int> waiting{2};
    const auto work = [&](const Call& call, std::uint64_t start) {
        --waiting;
        while (waiting > 0) std::this_thread::yield();
        for (int i = 0; i < call.times; ++i) call.make(pair, start + static_cast<std::uint64_t>(i));
    };
    std::thread second([&] { work(other, seed % 1000 + 10000); });
    work(one, seed % 1000);
    second.join();
    std::string trouble = pair.complaints();
    std::size_t count = 0;
    if (!closes) {
        count = pair.db->len().value();
        pair.db->close().value();
    }
    const auto report = Emdb::verify(pair.path());
    if (!report || !report->ok()) trouble += "the file does not verify\n";
    if (!closes && Emdb::open(pair.path()).value().len().value() != count) trouble += "the file has other records than the index had\n";
    INFO(one.name, " and ", other.name, ", seed ", seed);
    CHECK(trouble == "");
    return static_cast<std::uint64_t>(one.times + other.times);
}

}  // namespace
}  // namespace emdb_test

TEST_CASE("any two calls may be made at the same time") {
    using namespace emdb_test;
    const char* const given = std::getenv("SEED");
    const char* const minutes = std::getenv("MINUTES_OF_PAIRS");
    std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(minutes == nullptr ? 0 : std::atoi(minutes));
    std::printf("pairs: seed %llu\n", static_cast<unsigned long long>(seed));
    std::uint64_t pairs = 0;
    std::uint64_t made = 0;
    do {
        for (std::size_t i = 0; i < calls().size(); ++i) {
            for (std::size_t j = i; j < calls().size(); ++j, ++pairs) made += run_pair(calls()[i], calls()[j], seed);
        }
        ++seed;
    } while (std::chrono::steady_clock::now() < end);
    std::printf("pairs: %llu pairs, %llu calls\n", static_cast<unsigned long long>(pairs), static_cast<unsigned long long>(made));
}
