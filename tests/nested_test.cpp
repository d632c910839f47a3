// Groups of keys by dotted prefixes, and Focus: a program of its own, since EMDB_NESTED is off by default.
//
// EMDB_SEED=n   the seed of the random specifications

#define EMDB_NESTED 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/simulated_disk.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::AppendMode;
using emdb::Emdb;
using emdb::EmdbBuilder;
using emdb::ErrorCode;
using emdb::Record;
using emdb::Result;
using emdb::Transaction;
using Contents = std::map<std::string, std::string>;

class Store {
  public:
    enum class Kind { in_memory, automatic, pwrite };

    explicit Store(Kind kind, bool range_scans = false) : kind_(kind), range_scans_(range_scans), db_(open()) {}

    Emdb& db() { return *db_; }
    void set_now(std::uint64_t now) { *now_ = now; }
    void reopen() {
        if (kind_ == Kind::in_memory) return;
        db_->close().value();
        db_.reset();
        db_ = open();
    }

  private:
    Emdb open() {
        EmdbBuilder builder;
        builder.clock([now = now_] { return now->load(); }).enable_range_scans(range_scans_);
        if (kind_ == Kind::in_memory) return builder.build().value();
        builder.path(folder_.file("store.emdb")).append_mode(kind_ == Kind::pwrite ? AppendMode::pwrite : AppendMode::automatic);
        return builder.build().value();
    }

    Kind kind_;
    bool range_scans_;
    std::shared_ptr<std::atomic<std::uint64_t>> now_ = std::make_shared<std::atomic<std::uint64_t>>(1000);
    TempFolder folder_;
    std::optional<Emdb> db_;
};

constexpr Store::Kind every_kind[] = {Store::Kind::in_memory, Store::Kind::automatic, Store::Kind::pwrite};

// Runs a piece of specification on the default keyspace and on a namespace of each kind of store, with range scans and without.
template <class F> void on_every_keyspace(F&& specification) {
    for (const Store::Kind kind : every_kind) {
        for (const int variant : {0, 1, 2, 3}) {
            const bool named = variant % 2 == 1;
            const bool range_scans = variant / 2 == 1;
            CAPTURE(static_cast<int>(kind));
            CAPTURE(named);
            CAPTURE(range_scans);
            Store store(kind, range_scans);
            emdb::Keyspace keyspace = store.db();
            if (named) keyspace = store.db().open_namespace("names").value();
            specification(store, keyspace);
        }
    }
}

Contents contents(const std::vector<Record>& records) {
    Contents found;
    for (const auto& [key, value] : records) CHECK(found.emplace(key, value).second);
    return found;
}
Contents contents(Result<emdb::EmdbIter> records) { return contents(records.value().collect().value()); }

// The keys that a group should have, by its definition.
Contents group_in(const Contents& all, const std::string& prefix) {
    Contents group;
    for (const auto& [key, value] : all) {
        if (key.compare(0, prefix.size() + 1, prefix + ".") == 0) group.emplace(key, value);
    }
    return group;
}

}  // namespace

TEST_CASE("a group is exactly the keys behind the prefix and a dot, in the order of their keys") {
    on_every_keyspace([](Store&, emdb::Keyspace& db) {
        for (const char* key : {"user", "user.", "user.name", "user.name.first", "user..odd", "users.name", "use", "User.name", ""}) {
            db.insert(key, key).value();
        }
        CHECK(db.group("user").value() == std::vector<Record>{{"user.", "user."},
                                                              {"user..odd", "user..odd"},
                                                              {"user.name", "user.name"},
                                                              {"user.name.first", "user.name.first"}});
        CHECK(db.group("user.name").value() == std::vector<Record>{{"user.name.first", "user.name.first"}});
        CHECK(db.group("user.").value() == std::vector<Record>{{"user..odd", "user..odd"}});
        CHECK(db.group("nobody").value().empty());
        CHECK(contents(db.focus("user").iter()) == contents(db.group("user").value()));
        CHECK(contents(db.focus("user.").iter()) == contents(db.group("user.").value()));
    });
}

TEST_CASE("prefixes may hold any byte") {
    on_every_keyspace([](Store&, emdb::Keyspace& db) {
        const std::string zero("a\0b", 3);
        db.insert(zero + ".k", "zero").value();
        db.insert(std::string("\xff\xff") + ".k", "ff").value();
        db.insert("a.k", "plain").value();
        CHECK(contents(db.group(zero).value()) == Contents{{zero + ".k", "zero"}});
        CHECK(contents(db.group("\xff\xff").value()) == Contents{{std::string("\xff\xff") + ".k", "ff"}});
        CHECK(db.delete_group("\xff\xff").value() == 1);
        CHECK(db.len().value() == 2);
    });
}

TEST_CASE("the empty prefix has no group, and deletes nothing") {
    on_every_keyspace([](Store&, emdb::Keyspace& db) {
        db.insert(".hidden", "v").value();
        db.insert("k", "v").value();
        CHECK(db.group("") == ErrorCode::invalid_argument);
        CHECK(db.delete_group("") == ErrorCode::invalid_argument);
        auto top = db.focus("");
        CHECK(top.iter() == ErrorCode::invalid_argument);
        CHECK(top.delete_all() == ErrorCode::invalid_argument);
        CHECK(db.len().value() == 2);
        // It is the top for everything else.
        top.set("new", "w").value();
        CHECK(db.get("new").value() == "w");
        CHECK(top.get("k").value() == "v");
        CHECK(top.prefix() == "");
        CHECK(top.focus("a").prefix() == "a");
    });
}

TEST_CASE("delete_group removes the group and nothing else, for good") {
    on_every_keyspace([](Store& store, emdb::Keyspace& db) {
        for (int i = 0; i < 5000; ++i) {
            db.insert("a." + std::to_string(i), "v").value();
            db.insert("ab." + std::to_string(i), "v").value();
        }
        db.insert("a", "v").value();
        CHECK(db.delete_group("a").value() == 5000);
        CHECK(db.delete_group("a").value() == 0);
        CHECK(db.len().value() == 5001);
        CHECK(db.group("a").value().empty());
        CHECK(db.contains_key("a").value());
        CHECK(db.get("a.17").value() == std::nullopt);
        const bool named = store.db().len().value() == 0;
        db = store.db();
        store.reopen();
        db = store.db();
        if (named) db = store.db().open_namespace("names").value();
        CHECK(db.len().value() == 5001);
        CHECK(db.group("a").value().empty());
        CHECK(db.group("ab").value().size() == 5000);
    });
}

TEST_CASE("a focus reads and writes below its prefix") {
    on_every_keyspace([](Store&, emdb::Keyspace& db) {
        auto product = db.focus("product");
        product.set("name", "phone").value();
        auto details = product.focus("details");
        details.set("weight", "100g").value();
        details.focus("specs").set("ram", "8gb").value();
        CHECK(details.prefix() == "product.details");
        CHECK(db.get("product.details.specs.ram").value() == "8gb");
        CHECK(product.get("name").value() == "phone");
        CHECK(product.get("absent").value() == std::nullopt);
        CHECK(product.contains_key("details.weight").value());
        CHECK(product.contains_key("weight").value() == false);
        CHECK(contents(product.iter()) ==
              Contents{{"product.name", "phone"}, {"product.details.weight", "100g"}, {"product.details.specs.ram", "8gb"}});
        CHECK(details.remove("weight").value() == "100g");
        CHECK(details.remove("weight").value() == std::nullopt);
        details.set("", "the key 'product.details.'").value();
        CHECK(db.get("product.details.").value() == "the key 'product.details.'");
        CHECK(details.delete_all().value() == 2);
        CHECK(contents(product.iter()) == Contents{{"product.name", "phone"}});
    });
}

TEST_CASE("a focus keeps its database open") {
    std::optional<emdb::Focus> focus;
    {
        auto db = Emdb::open_in_memory();
        focus = db.focus("a");
    }
    focus->set("k", "v").value();
    CHECK(focus->get("k").value() == "v");
}

TEST_CASE("groups of a dropped namespace and of a closed database answer as other calls do") {
    auto db = Emdb::open_in_memory();
    auto names = db.open_namespace("names").value();
    names.insert("a.b", "v").value();
    db.drop_namespace("names").value();
    CHECK(names.group("a") == ErrorCode::invalid_argument);
    CHECK(names.delete_group("a") == ErrorCode::invalid_argument);
    CHECK(names.focus("a").iter() == ErrorCode::invalid_argument);
    db.transaction([&](Transaction&) -> Result<void> {
          CHECK(db.delete_group("a") == ErrorCode::invalid_argument);
          CHECK(db.group("a").value().empty());
          return {};
      }).value();
    db.close().value();
    CHECK(db.group("a") == ErrorCode::stopped);
    CHECK(db.delete_group("a") == ErrorCode::stopped);
    CHECK(db.focus("a").set("k", "v") == ErrorCode::stopped);
}

#if EMDB_TTL
TEST_CASE("expired records are in no group; delete_group removes them without counting them") {
    on_every_keyspace([](Store& store, emdb::Keyspace& db) {
        auto session = db.focus("session");
        session.set_with_ttl("a", "1", emdb::Ttl::after(std::chrono::milliseconds(10))).value();
        session.set_with_ttl("b", "2", emdb::Ttl::after(std::chrono::milliseconds(20))).value();
        session.set_with_ttl("c", "3", emdb::Ttl::never()).value();
        store.set_now(1010);
        CHECK(contents(db.group("session").value()) == Contents{{"session.b", "2"}, {"session.c", "3"}});
        CHECK(contents(session.iter()) == Contents{{"session.b", "2"}, {"session.c", "3"}});
        CHECK(db.delete_group("session").value() == 2);
        CHECK(db.len().value() == 0);
        store.set_now(1000);
        CHECK(db.group("session").value().empty());
        store.set_now(2000);
        CHECK(db.sweep_expired().value() == 0);
    });
}
#endif

TEST_CASE("more keys than a transaction may write are one group to delete") {
    constexpr std::size_t count = (std::size_t{1} << 20) + 3;
    Store store(Store::Kind::automatic);
    struct Keys {
        struct iterator {
            using value_type = std::pair<std::string, std::string>;
            std::size_t i;
            value_type operator*() const { return {"g." + std::to_string(i), ""}; }
            iterator& operator++() { return ++i, *this; }
            void operator++(int) { ++i; }
            bool operator==(const iterator& other) const { return i == other.i; }
        };
        iterator begin() const { return {0}; }
        iterator end() const { return {count}; }
    };
    store.db().insert_many(Keys()).value();
    store.db().insert("other", "v").value();
    CHECK(store.db().delete_group("g").value() == count);
    CHECK(store.db().len().value() == 1);
    store.reopen();
    CHECK(store.db().len().value() == 1);
    CHECK(store.db().get("other").value() == "v");
}

// --- all or nothing -----------------------------------------------------------------------------------------------------------

TEST_CASE("a power cut leaves all of a deleted group or none of it") {
    int whole = 0;
    int gone = 0;
    for (std::uint64_t seed = 0; seed < 150; ++seed) {
        CAPTURE(seed);
        SeededRandom random(seed);
        DiskSettings settings;
        settings.seed = seed;
        settings.keeps_allocation = random.coin();
        settings.write_back_one_in = random.below(3) * 2;
        SimulatedDisk disk(settings);
        const auto open = [&settings](SimulatedDisk& on) {
            EmdbBuilder builder;
            builder.path("/disk/a.emdb");
            builder.append_mode(settings.keeps_allocation ? AppendMode::mapped : AppendMode::pwrite);
            emdb::detail::BuilderAccess::set_environment(builder, on);
            return builder.build().value();
        };
        {
            auto db = open(disk);
            for (int i = 0; i < 200; ++i) db.insert("g." + std::to_string(i), std::string(20, 'v')).value();
            db.insert("other", "v").value();
            db.flush().value();
            CHECK(db.delete_group("g").value() == 200);
            for (std::uint64_t ticks = random.below(20); ticks > 0; --ticks) disk.tick();
            if (random.coin()) {
                disk.cut_power_at(disk.operation_count() + 1 + random.below(3));
                (void)db.flush();
            }
            disk.cut_power();
        }
        SimulatedDisk rebooted(disk.crashed().random_outcome(random), settings);
        auto db = open(rebooted);
        const std::size_t left = db.group("g").value().size();
        CHECK((left == 0 || left == 200));
        CHECK(db.len().value() == left + 1);
        ++(left == 0 ? gone : whole);
    }
    CHECK(whole > 0);
    CHECK(gone > 0);
}

TEST_CASE("readers of a group see all of a transaction and of a deletion or none of it") {
    for (const Store::Kind kind : every_kind) {
        CAPTURE(static_cast<int>(kind));
        Store store(kind);
        auto& db = store.db();
        for (int i = 0; i < 300; ++i) db.insert("filler " + std::to_string(i), "v").value();
        constexpr int members = 40;
        std::atomic<bool> stop{false};
        std::atomic<int> torn{0};
        std::atomic<int> seen_whole{0};
        std::vector<std::thread> threads;
        threads.emplace_back([&, db = db]() mutable {
            for (int round = 0; round < 200; ++round) {
                db.transaction([&](Transaction& tx) -> Result<void> {
                      for (int i = 0; i < members; ++i) {
                          if (auto put = tx.insert("g." + std::to_string(i), std::to_string(round)); !put) return put;
                      }
                      return {};
                  }).value();
                if (round % 3 == 0 && db.delete_group("g").value() != members) ++torn;
            }
            stop = true;
        });
        threads.emplace_back([&, db = db]() mutable {
            for (int i = 0; !stop; ++i) db.insert("filler " + std::to_string(i % 1000), "w").value();
        });
        threads.emplace_back([&, db = db] {
            while (!stop) {
                const auto group = db.group("g").value();
                if (!group.empty() && group.size() != members) ++torn;
                for (const Record& record : group) torn += record.value != group.front().value;
                seen_whole += !group.empty();
                for (const auto& [key, value] : db.focus("filler 1").iter().value()) torn += !key.empty() && value.empty();
            }
        });
        for (std::thread& thread : threads) thread.join();
        CHECK(torn == 0);
        CHECK(db.group("g").value().size() == members);
    }
}

// --- against a model ----------------------------------------------------------------------------------------------------------

TEST_CASE("random calls agree with a map") {
    const char* const given = std::getenv("EMDB_SEED");
    const std::uint64_t seed = given == nullptr ? std::random_device()() : std::strtoull(given, nullptr, 10);
    CAPTURE(seed);
    std::uint64_t run = 0;
    on_every_keyspace([&](Store& store, emdb::Keyspace& keyspace) {
        std::mt19937_64 random(seed + ++run);
        const bool named = run % 2 == 0;
        Contents model;
        std::optional<emdb::Keyspace> db(keyspace);
        keyspace = Emdb::open_in_memory();  // so that the store can be closed
        const auto segments = [&](std::size_t count) {
            static constexpr const char* parts[]{"a", "b", "ab", "", "a."};
            std::string path;
            for (std::size_t i = 0; i < count; ++i) path += (i == 0 ? "" : ".") + std::string(parts[random() % 5]);
            return path;
        };
        for (int step = 0; step < 1200; ++step) {
            const std::string key = segments(1 + random() % 4);
            const std::string prefix = segments(1 + random() % 2);
            CAPTURE(key);
            CAPTURE(prefix);
            const std::string whole = prefix.empty() ? key : prefix + "." + key;
            switch (random() % 8) {
                case 0:
                case 1:
                    db->insert(key, std::to_string(step)).value();
                    model[key] = std::to_string(step);
                    break;
                case 2:
                case 3:
                    db->focus(prefix).set(key, std::to_string(step)).value();
                    model[whole] = std::to_string(step);
                    break;
                case 4: {
                    const auto found = model.find(whole);
                    const auto before = found == model.end() ? std::nullopt : std::optional(found->second);
                    CHECK(db->focus(prefix).get(key).value() == before);
                    CHECK(db->focus(prefix).contains_key(key).value() == before.has_value());
                    CHECK(db->focus(prefix).remove(key).value() == before);
                    model.erase(whole);
                    break;
                }
                case 5: {
                    if (prefix.empty()) break;
                    const Contents expected = group_in(model, prefix);
                    const auto group = db->group(prefix).value();
                    CHECK(contents(group) == expected);
                    CHECK(std::is_sorted(group.begin(), group.end(), [](const Record& a, const Record& b) { return a.key < b.key; }));
                    CHECK(contents(db->focus(prefix).iter()) == expected);
                    break;
                }
                case 6: {
                    if (prefix.empty() || random() % 3 != 0) break;
                    const Contents expected = group_in(model, prefix);
                    CHECK((random() % 2 == 0 ? db->delete_group(prefix) : db->focus(prefix).delete_all()).value() == expected.size());
                    for (const auto& entry : expected) model.erase(entry.first);
                    break;
                }
                default:
                    if (random() % 20 != 0) break;
                    db.reset();
                    store.reopen();
                    db.emplace(store.db());
                    if (named) db.emplace(store.db().open_namespace("names").value());
                    break;
            }
            if (step % 50 == 0) CHECK(contents(db->iter()) == model);
        }
        CHECK(contents(db->iter()) == model);
    });
}

}  // namespace emdb_test
