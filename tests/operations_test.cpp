// The data operations: what each does, for every way that records can be stored.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <list>
#include <map>
#include <optional>
#include <random>
#include <ranges>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::AppendMode;
using emdb::Bytes;
using emdb::Emdb;
using emdb::Error;
using emdb::Record;
using emdb::Result;

// "success", or the name of the error's code.
template <class T>
std::string outcome(const Result<T>& result) {
    return result ? "success" : emdb::to_string(result.error().code());
}

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

constexpr Store::Kind every_kind[] = {Store::Kind::in_memory, Store::Kind::automatic, Store::Kind::pwrite};

// Runs a piece of specification on each kind of store.
template <class F>
void on_every_store(F&& specification) {
    for (const Store::Kind kind : every_kind) {
        CAPTURE(static_cast<int>(kind));
        Store store(kind);
        specification(store);
    }
}

std::string numbered(const char* prefix, std::size_t number) { return prefix + std::to_string(number); }

// Text that differs from byte to byte and from seed to seed, so that misplaced bytes show.
std::string patterned(std::size_t size, std::uint32_t seed) {
    std::string text(size, '\0');
    std::uint32_t state = seed * 2654435761u + 1;
    for (char& c : text) {
        state = state * 1664525u + 1013904223u;
        c = static_cast<char>(state >> 24);
    }
    return text;
}

// make(0) ... make(count - 1), made as they are walked: a range that can be walked only once and counts how often it is
// begun, as an input stream would.
template <class F>
class Generated {
public:
    Generated(std::size_t count, F make) : count_(count), make_(std::move(make)) {}

    class iterator {
    public:
        using iterator_concept = std::input_iterator_tag;
        using value_type = std::invoke_result_t<F&, std::size_t>;
        using difference_type = std::ptrdiff_t;

        explicit iterator(Generated* range) : range_(range) {}
        value_type operator*() const { return range_->make_(range_->next_); }
        iterator& operator++() {
            ++range_->next_;
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const { return range_->next_ == range_->count_; }

    private:
        Generated* range_;
    };

    iterator begin() {
        ++begun_;
        return iterator(this);
    }
    std::default_sentinel_t end() const { return {}; }
    int begun() const { return begun_; }

private:
    std::size_t count_;
    F make_;
    std::size_t next_ = 0;
    int begun_ = 0;
};

std::map<std::string, std::string> contents(const Emdb& db) {
    std::map<std::string, std::string> result;
    for (auto& [key, value] : db.iter().value()) {
        const bool first_time = result.emplace(key, value).second;
        CHECK(first_time);
    }
    return result;
}

}  // namespace

// --- single records

TEST_CASE("insert stores a value, and replaces it silently") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        CHECK(db.get("name").value() == std::nullopt);
        db.insert("name", "emdb").value();
        CHECK(db.get("name").value() == "emdb");
        db.insert("name", "a longer value than before").value();
        CHECK(db.get("name").value() == "a longer value than before");
        db.insert("name", "").value();
        CHECK(db.get("name").value() == "");
        CHECK(db.len().value() == 1);
        store.reopen();
        CHECK(store.db().get("name").value() == "");
        CHECK(store.db().len().value() == 1);
    });
}

TEST_CASE("get of an absent key is nullopt, not an error") {
    on_every_store([](Store& store) {
        CHECK(store.db().get("absent").value() == std::nullopt);
        store.db().insert("present", "1").value();
        CHECK(store.db().get("absent").value() == std::nullopt);
        CHECK(store.db().get("presen").value() == std::nullopt);
        CHECK(store.db().get("presentt").value() == std::nullopt);
        CHECK(store.db().get("Present").value() == std::nullopt);
        CHECK(store.db().get("").value() == std::nullopt);
    });
}

TEST_CASE("get_or gives the fallback only when the key is absent") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        CHECK(db.get_or("k", "fallback").value() == "fallback");
        CHECK(db.contains_key("k").value() == false);
        db.insert("k", "").value();
        CHECK(db.get_or("k", "fallback").value() == "");
        db.insert("k", "v").value();
        CHECK(db.get_or("k", "fallback").value() == "v");
    });
}

TEST_CASE("get_into replaces the string, and leaves it alone when the key is absent") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        std::string out = "before";
        CHECK(db.get_into("k", out).value() == false);
        CHECK(out == "before");
        db.insert("k", "value").value();
        out.reserve(1000);
        const char* const buffer = out.data();
        CHECK(db.get_into("k", out).value() == true);
        CHECK(out == "value");
        CHECK(out.data() == buffer);  // the capacity was enough
        CHECK(out.capacity() >= 1000);
        db.insert("k", "").value();
        CHECK(db.get_into("k", out).value() == true);
        CHECK(out.empty());
        db.insert("k", std::string(5000, 'x')).value();
        CHECK(db.get_into("k", out).value() == true);
        CHECK(out == std::string(5000, 'x'));
    });
}

TEST_CASE("remove returns the prior value and leaves nothing") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        CHECK(db.remove("k").value() == std::nullopt);
        db.insert("k", "v1").value();
        db.insert("k", "v2").value();
        db.insert("other", "o").value();
        CHECK(db.remove("k").value() == "v2");
        CHECK(db.remove("k").value() == std::nullopt);
        CHECK(db.get("k").value() == std::nullopt);
        CHECK(db.contains_key("k").value() == false);
        CHECK(db.len().value() == 1);
        store.reopen();
        CHECK(store.db().get("k").value() == std::nullopt);
        CHECK(store.db().get("other").value() == "o");
        CHECK(store.db().len().value() == 1);
        store.db().insert("k", "v3").value();
        CHECK(store.db().get("k").value() == "v3");
        store.reopen();
        CHECK(store.db().get("k").value() == "v3");
    });
}

TEST_CASE("removing an absent key writes nothing") {
    on_every_store([](Store& store) {
        store.db().insert("k", "v").value();
        const auto before = store.db().stats().value();
        store.db().remove("absent").value();
        CHECK(store.db().stats().value().file_size_bytes == before.file_size_bytes);
        CHECK(store.db().stats().value().dead_bytes == before.dead_bytes);
    });
}

TEST_CASE("contains_key, len and is_empty follow every change") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        CHECK(db.is_empty().value() == true);
        CHECK(db.len().value() == 0);
        db.insert("a", "1").value();
        db.insert("b", "2").value();
        db.insert("a", "3").value();
        CHECK(db.contains_key("a").value() == true);
        CHECK(db.contains_key("c").value() == false);
        CHECK(db.len().value() == 2);
        CHECK(db.is_empty().value() == false);
        db.remove("a").value();
        CHECK(db.len().value() == 1);
        db.remove("b").value();
        CHECK(db.is_empty().value() == true);
    });
}

TEST_CASE("clear removes everything, and what is written afterwards stays") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        db.clear().value();
        for (std::size_t i = 0; i < 1000; ++i) db.insert(numbered("k", i), "v").value();
        db.clear().value();
        CHECK(db.len().value() == 0);
        CHECK(db.is_empty().value() == true);
        for (std::size_t i = 0; i < 1000; ++i) CHECK(db.get(numbered("k", i)).value() == std::nullopt);
        CHECK(contents(db).empty());
        CHECK(db.remove("k1").value() == std::nullopt);
        db.insert("k1", "again").value();
        CHECK(db.len().value() == 1);
        store.reopen();
        CHECK(contents(store.db()) == std::map<std::string, std::string>{{"k1", "again"}});
        CHECK(store.db().len().value() == 1);
        store.db().clear().value();
        store.reopen();
        CHECK(store.db().is_empty().value() == true);
    });
}

// --- what may be stored

TEST_CASE("empty keys, empty values and binary bytes are ordinary") {
    on_every_store([](Store& store) {
        std::string all_bytes(256, '\0');
        for (std::size_t i = 0; i < 256; ++i) all_bytes[i] = static_cast<char>(i);
        const std::map<std::string, std::string> expected = {
            {"", "value of the empty key"},
            {"empty value", ""},
            {std::string(1, '\0'), "one NUL"},
            {std::string(2, '\0'), "two NULs"},
            {std::string("a\0b", 3), std::string("c\0d", 3)},
            {all_bytes, all_bytes},
            {"\xFF\xFE\xFD", "\x80"},
            {"line\nbreak\r\n", "\n"},
        };
        for (const auto& [key, value] : expected) store.db().insert(key, value).value();
        for (const int reopened : {0, 1}) {
            CAPTURE(reopened);
            for (const auto& [key, value] : expected) CHECK(store.db().get(key).value() == value);
            CHECK(store.db().get(std::string(3, '\0')).value() == std::nullopt);
            CHECK(store.db().get("a").value() == std::nullopt);
            CHECK(contents(store.db()) == expected);
            store.reopen();
        }
        CHECK(store.db().remove("").value() == "value of the empty key");
        CHECK(store.db().contains_key("").value() == false);
        store.db().insert("", "").value();
        CHECK(store.db().get("").value() == "");
        CHECK(store.db().get_zerocopy("").value()->empty());
    });
}

TEST_CASE("every size of key and value around the length encodings' edges comes back") {
    on_every_store([](Store& store) {
        const std::size_t sizes[] = {0,   1,   7,    8,    63,   64,    127,   128,   129,
                                     255, 256, 4095, 4096, 4097, 16383, 16384, 65535, 65536};
        std::map<std::string, std::string> expected;
        std::uint32_t seed = 0;
        for (const std::size_t key_size : sizes) {
            for (const std::size_t value_size :
                 {std::size_t{0}, std::size_t{1}, std::size_t{127}, std::size_t{128}, std::size_t{16384}}) {
                ++seed;
                std::string key = patterned(key_size, seed);
                std::string value = patterned(value_size, seed + 1000);
                store.db().insert(key, value).value();
                expected[std::move(key)] = std::move(value);
            }
        }
        for (const std::size_t value_size : sizes) {
            ++seed;
            std::string value = patterned(value_size, seed);
            store.db().insert(numbered("v", value_size), value).value();
            expected[numbered("v", value_size)] = std::move(value);
        }
        CHECK((contents(store.db()) == expected));
        store.reopen();
        CHECK((contents(store.db()) == expected));
    });
}

TEST_CASE("large values come back whole, by every way of reading") {
    on_every_store([](Store& store) {
        constexpr std::size_t sizes[] = {100'000, 5'000'000, 40'000'000};
        for (const std::size_t size : sizes) {
            const std::string value = patterned(size, static_cast<std::uint32_t>(size));
            store.db().insert(numbered("large", size), value).value();
            store.db().insert(numbered("small", size), "after it").value();
        }
        for (const int reopened : {0, 1}) {
            CAPTURE(reopened);
            for (const std::size_t size : sizes) {
                const std::string key = numbered("large", size);
                const std::string value = patterned(size, static_cast<std::uint32_t>(size));
                CHECK((store.db().get(key).value() == value));
                CHECK((store.db().get_zerocopy(key).value() == value));
                CHECK((store.db().get_many({key}).value().at(0) == value));
                CHECK(store.db().get(numbered("small", size)).value() == "after it");
            }
            if (!store.reopens()) break;
            store.reopen();
        }
        const std::string key = numbered("large", sizes[2]);
        store.db().insert(key, "small now").value();
        CHECK(store.db().get(key).value() == "small now");
    });
}

TEST_CASE("a key of 2^24-1 bytes is the longest") {
    on_every_store([](Store& store) {
        const std::string longest = patterned((std::size_t{1} << 24) - 1, 1);
        const std::string too_long = patterned(std::size_t{1} << 24, 1);
        auto& db = store.db();
        db.insert("k", "v").value();
        CHECK(outcome(db.insert(too_long, "v")) == "too_large");
        CHECK(outcome(db.compare_exchange(too_long, std::nullopt, "v")) == "too_large");
        CHECK(outcome(db.update(too_long, [](auto) { return std::optional<std::string>("v"); })) == "too_large");
        CHECK(outcome(db.insert_many(std::vector<std::pair<Bytes, Bytes>>{{too_long, "v"}})) == "too_large");
        CHECK(outcome(db.transaction([&](emdb::Transaction& tx) { return tx.insert(too_long, "v"); })) == "too_large");
        CHECK(db.len().value() == 1);
        db.insert(longest, "longest").value();
        CHECK(db.get(longest).value() == "longest");
        CHECK(db.len().value() == 2);
        store.reopen();
        CHECK(store.db().get(longest).value() == "longest");
        CHECK(store.db().remove(longest).value() == "longest");
    });
}

TEST_CASE("a value of 2^32 bytes is refused before a byte of it is read") {
    if constexpr (sizeof(std::size_t) > 4) {
        on_every_store([](Store& store) {
            auto& db = store.db();
            const char one_byte = 'x';
            const auto size = static_cast<std::size_t>(std::uint64_t{1} << 32);
            const Bytes too_large(&one_byte, size);
            db.insert("k", "v").value();
            CHECK(outcome(db.insert("k", too_large)) == "too_large");
            CHECK(outcome(db.insert("new", too_large)) == "too_large");
            CHECK(outcome(db.compare_exchange("k", "v", too_large)) == "too_large");
            CHECK(outcome(db.insert_many(std::vector<std::pair<Bytes, Bytes>>{{"k", too_large}})) == "too_large");
            CHECK(outcome(db.transaction([&](emdb::Transaction& tx) { return tx.insert("k", too_large); })) ==
                  "too_large");
            CHECK(db.get("k").value() == "v");
            CHECK(db.len().value() == 1);
            db.insert("k", "and writes go on").value();
            CHECK(db.get("k").value() == "and writes go on");
        });
    }
}

// --- read-modify-write

TEST_CASE("compare_exchange changes the value only if it is the expected one") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        CHECK(db.compare_exchange("k", "x", "y").value() == false);
        CHECK(db.contains_key("k").value() == false);
        CHECK(db.compare_exchange("k", std::nullopt, "one").value() == true);
        CHECK(db.get("k").value() == "one");
        CHECK(db.compare_exchange("k", std::nullopt, "two").value() == false);
        CHECK(db.compare_exchange("k", "on", "two").value() == false);
        CHECK(db.compare_exchange("k", "one!", "two").value() == false);
        CHECK(db.compare_exchange("k", "", "two").value() == false);
        CHECK(db.get("k").value() == "one");
        CHECK(db.compare_exchange("k", "one", "two").value() == true);
        CHECK(db.get("k").value() == "two");
        CHECK(db.compare_exchange("k", "two", "two").value() == true);
        CHECK(db.compare_exchange("k", "one", std::nullopt).value() == false);
        store.reopen();
        CHECK(store.db().get("k").value() == "two");
        CHECK(store.db().compare_exchange("k", "two", std::nullopt).value() == true);
        CHECK(store.db().contains_key("k").value() == false);
        CHECK(store.db().compare_exchange("k", std::nullopt, std::nullopt).value() == true);
        CHECK(store.db().contains_key("k").value() == false);
        CHECK(store.db().len().value() == 0);
        store.reopen();
        CHECK(store.db().contains_key("k").value() == false);
    });
}

TEST_CASE("compare_exchange tells an empty value from an absent key") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        CHECK(db.compare_exchange("k", "", "v").value() == false);
        CHECK(db.compare_exchange("k", std::nullopt, "").value() == true);
        CHECK(db.get("k").value() == "");
        CHECK(db.compare_exchange("k", std::nullopt, "v").value() == false);
        CHECK(db.compare_exchange("k", "", "v").value() == true);
        CHECK(db.get("k").value() == "v");
    });
}

TEST_CASE("update reads, changes, creates and removes") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        const auto append = [](std::optional<std::string_view> current) {
            return std::optional<std::string>(std::string(current.value_or("new")) + "!");
        };
        db.update("k", append).value();
        CHECK(db.get("k").value() == "new!");
        db.update("k", append).value();
        CHECK(db.get("k").value() == "new!!");
        store.reopen();
        CHECK(store.db().get("k").value() == "new!!");
        const auto erase = [](std::optional<std::string_view>) { return std::optional<std::string>(); };
        store.db().update("k", erase).value();
        CHECK(store.db().contains_key("k").value() == false);
        store.db().update("k", erase).value();
        CHECK(store.db().len().value() == 0);
    });
}

TEST_CASE("an error from update's function changes nothing and is returned") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        db.insert("k", "v").value();
        const auto refused = db.update("k", [](std::optional<std::string_view>) -> Result<std::optional<std::string>> {
            return Error::aborted("not today");
        });
        CHECK(outcome(refused) == "transaction_aborted");
        CHECK(refused.error().message() == "not today");
        CHECK(db.get("k").value() == "v");
        db.update("k", [](std::optional<std::string_view>) -> Result<std::optional<std::string>> {
              return "w";
          }).value();
        CHECK(db.get("k").value() == "w");
    });
}

TEST_CASE("update's function may read the database, and runs again if the key changed meanwhile") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        db.insert("k", "old").value();
        db.insert("suffix", "+").value();
        int runs = 0;
        db.update("k", [&](std::optional<std::string_view> current) {
              std::string next(current.value());
              if (++runs == 1) db.insert("k", "changed meanwhile").value();
              return std::optional<std::string>(next + db.get("suffix").value().value());
          }).value();
        CHECK(runs == 2);
        CHECK(db.get("k").value() == "changed meanwhile+");

        runs = 0;
        db.update("k", [&](std::optional<std::string_view> current) {
              if (++runs == 1) db.remove("k").value();
              return std::optional<std::string>(current ? "was there" : "was absent");
          }).value();
        CHECK(runs == 2);
        CHECK(db.get("k").value() == "was absent");

        runs = 0;
        db.update("k", [&](std::optional<std::string_view>) {
              if (++runs == 1) db.insert("another key", "x").value();
              return std::optional<std::string>("once");
          }).value();
        CHECK(db.get("k").value() == "once");
        CHECK(db.get("another key").value() == "x");
    });
}

#if defined(__cpp_exceptions)
TEST_CASE("an exception from update's function passes through and changes nothing") {
    on_every_store([](Store& store) {
        store.db().insert("k", "v").value();
        const auto fail = [](std::optional<std::string_view>) -> std::optional<std::string> { throw 42; };
        CHECK_THROWS_AS(static_cast<void>(store.db().update("k", fail)), int);
        CHECK(store.db().get("k").value() == "v");
        store.db().insert("k", "w").value();  // nothing is held any more
        CHECK(store.db().get("k").value() == "w");
    });
}
#endif

// --- many at once

TEST_CASE("get_many answers in the order of the keys, absent and repeated ones included") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        for (std::size_t i = 0; i < 1000; i += 2) db.insert(numbered("k", i), numbered("v", i)).value();
        std::vector<std::string> keys;
        for (std::size_t i = 0; i < 1000; ++i) keys.push_back(numbered("k", 999 - i));
        keys.push_back("k0");
        keys.push_back("k0");
        const auto values = db.get_many(keys).value();
        REQUIRE(values.size() == keys.size());
        for (std::size_t i = 0; i < 1000; ++i) {
            const std::size_t number = 999 - i;
            CHECK(values[i] == (number % 2 == 0 ? std::optional(numbered("v", number)) : std::nullopt));
        }
        CHECK(values[1000] == "v0");
        CHECK(values[1001] == "v0");
        CHECK(db.get_many(std::vector<std::string>()).value().empty());
    });
}

TEST_CASE("get_many and visit_many take any range whose elements convert to Bytes") {
    auto db = Emdb::open_in_memory();
    db.insert("1", "one").value();
    db.insert("3", "three").value();
    using Values = std::vector<std::optional<std::string>>;
    const Values expected = {"one", std::nullopt, "three"};

    const std::vector<Bytes> bytes = {"1", "2", "3"};
    CHECK(db.get_many(std::span<const Bytes>(bytes)).value() == expected);
    CHECK(db.get_many(bytes).value() == expected);
    CHECK(db.get_many({"1", "2", "3"}).value() == expected);
    CHECK(db.get_many(std::vector<std::string>{"1", "2", "3"}).value() == expected);
    CHECK(db.get_many(std::list<std::string_view>{"1", "2", "3"}).value() == expected);
    CHECK(db.get_many(std::set<std::string>{"1", "2", "3"}).value() == expected);
    const char* const pointers[] = {"1", "2", "3"};
    CHECK(db.get_many(pointers).value() == expected);
    const auto generated = [] { return Generated(3, [](std::size_t i) { return std::to_string(i + 1); }); };
    CHECK(db.get_many(generated()).value() == expected);

    std::size_t visited = 0;
    const auto visit = [&](std::size_t i, std::optional<std::string_view> value) {
        CHECK(value == expected[i]);
        ++visited;
    };
    CHECK(db.visit_many(bytes, visit).value() == 2);
    CHECK(db.visit_many({"1", "2", "3"}, visit).value() == 2);
    CHECK(db.visit_many(std::vector<std::string>{"1", "2", "3"}, visit).value() == 2);
    CHECK(db.visit_many(generated(), visit).value() == 2);
    CHECK(visited == 12);
}

TEST_CASE("visit_many calls once for each key, in order, and counts the found ones") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        for (std::size_t i = 0; i < 300; ++i)
            db.insert(numbered("k", i), patterned(i * 10, static_cast<std::uint32_t>(i))).value();
        std::vector<std::string> keys;
        for (std::size_t i = 0; i < 600; ++i) keys.push_back(numbered("k", i));
        std::size_t next = 0;
        const auto found = db.visit_many(keys, [&](std::size_t i, std::optional<std::string_view> value) {
            CHECK(i == next);
            ++next;
            CHECK(value.has_value() == (i < 300));
            if (value) CHECK((*value == patterned(i * 10, static_cast<std::uint32_t>(i))));
        });
        CHECK(found.value() == 300);
        CHECK(next == 600);
        CHECK(db.visit_many(std::vector<std::string>(), [](std::size_t, std::optional<std::string_view>) {}).value() ==
              0);
    });
}

TEST_CASE("visit_many's function may call the database") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        db.insert("a", "1").value();
        db.insert("b", "2").value();
        const auto copy = [&](std::size_t i, std::optional<std::string_view> value) {
            CHECK(db.get("a").value() == "1");
            db.insert(numbered("copy", i), value.value()).value();
        };
        CHECK(db.visit_many({"a", "b"}, copy).value() == 2);
        CHECK(db.get("copy0").value() == "1");
        CHECK(db.get("copy1").value() == "2");
    });
}

TEST_CASE("insert_many takes any input range of pairs, once") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        db.insert_many(std::vector<std::pair<std::string, std::string>>{{"a", "1"}, {"b", "2"}}).value();
        db.insert_many(std::map<std::string, std::string>{{"c", "3"}, {"d", "4"}}).value();
        db.insert_many(std::vector<Record>{{"e", "5"}, {"f", "6"}}).value();
        db.insert_many(std::list<std::tuple<const char*, std::string_view>>{{"g", "7"}, {"h", "8"}}).value();
        const std::pair<Bytes, Bytes> pairs[] = {{"i", "9"}, {"j", ""}};
        db.insert_many(pairs).value();
        db.insert_many(std::vector<std::pair<Bytes, Bytes>>()).value();
        const std::map<std::string, std::string> expected = {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}, {"e", "5"},
                                                             {"f", "6"}, {"g", "7"}, {"h", "8"}, {"i", "9"}, {"j", ""}};
        CHECK(contents(db) == expected);

        Generated stream(20'000, [](std::size_t i) { return std::pair(numbered("k", i), numbered("v", i)); });
        db.insert_many(stream).value();
        CHECK(stream.begun() == 1);
        CHECK(db.len().value() == expected.size() + 20'000);
        store.reopen();
        CHECK(store.db().len().value() == expected.size() + 20'000);
        for (std::size_t i = 0; i < 20'000; i += 7) CHECK(store.db().get(numbered("k", i)).value() == numbered("v", i));
        CHECK(store.db().get("a").value() == "1");
    });
}

TEST_CASE("insert_many writes in order, so that the last of equal keys wins") {
    on_every_store([](Store& store) {
        std::vector<Record> records;
        for (std::size_t i = 0; i < 50'000; ++i) records.push_back({numbered("k", i % 1000), numbered("value ", i)});
        store.db().insert_many(records).value();
        for (const int reopened : {0, 1}) {
            CAPTURE(reopened);
            CHECK(store.db().len().value() == 1000);
            for (std::size_t i = 0; i < 1000; ++i) {
                CHECK(store.db().get(numbered("k", i)).value() == numbered("value ", 49'000 + i));
            }
            store.reopen();
        }
    });
}

TEST_CASE("insert_many of values larger than a batch") {
    on_every_store([](Store& store) {
        std::vector<Record> records;
        for (std::uint32_t i = 0; i < 5; ++i) records.push_back({numbered("k", i), patterned(700'000 * i, i)});
        store.db().insert_many(records).value();
        store.reopen();
        for (std::uint32_t i = 0; i < 5; ++i)
            CHECK((store.db().get(numbered("k", i)).value() == patterned(700'000 * i, i)));
    });
}

TEST_CASE("an insert_many that fails half-way keeps a prefix") {
    on_every_store([](Store& store) {
        const std::string too_long(std::size_t{1} << 24, 'x');
        constexpr std::size_t good = 40'000;
        Generated stream(50'000, [&](std::size_t i) {
            return i == good ? std::pair(too_long, std::string("v"))
                             : std::pair(numbered("k", i), std::string(100, 'v'));
        });
        CHECK(outcome(store.db().insert_many(stream)) == "too_large");
        const std::size_t kept = store.db().len().value();
        CHECK(kept <= good);
        for (std::size_t i = 0; i < good; i += 13)
            CHECK(store.db().contains_key(numbered("k", i)).value() == (i < kept));
        store.reopen();
        CHECK(store.db().len().value() == kept);
        store.db().insert("afterwards", "fine").value();
        CHECK(store.db().get("afterwards").value() == "fine");
    });
}

TEST_CASE("one database's iterator fills another") {
    on_every_store([](Store& store) {
        auto source = Emdb::open_in_memory();
        for (std::size_t i = 0; i < 5000; ++i)
            source.insert(numbered("k", i), patterned(i % 300, static_cast<std::uint32_t>(i))).value();
        store.db().insert_many(source.iter().value()).value();
        CHECK((contents(store.db()) == contents(source)));
    });
}

// --- iteration

TEST_CASE("iter and keys yield every live record exactly once") {
    on_every_store([](Store& store) {
        std::map<std::string, std::string> expected;
        CHECK(contents(store.db()).empty());
        for (std::size_t i = 0; i < 3000; ++i) {
            store.db().insert(numbered("k", i), "old").value();
            store.db().insert(numbered("k", i), numbered("v", i)).value();
            expected[numbered("k", i)] = numbered("v", i);
        }
        for (std::size_t i = 0; i < 3000; i += 3) {
            store.db().remove(numbered("k", i)).value();
            expected.erase(numbered("k", i));
        }
        for (const int reopened : {0, 1}) {
            CAPTURE(reopened);
            CHECK((contents(store.db()) == expected));
            std::set<std::string> seen;
            auto keys = store.db().keys().value();
            for (const std::string_view key : keys) {
                const bool first_time = seen.emplace(key).second;
                CHECK(first_time);
            }
            CHECK(keys.status());
            CHECK(seen.size() == expected.size());
            for (const auto& record : expected) CHECK(seen.count(record.first) == 1);
            store.reopen();
        }
    });
}

TEST_CASE("an iterator says afterwards that it ended well") {
    auto db = Emdb::open_in_memory();
    db.insert("a", "1").value();
    auto records = db.iter().value();
    std::size_t count = 0;
    for (const auto& [key, value] : records) count += key.size() + value.size();
    CHECK(count == 2);
    CHECK(records.status());
}

TEST_CASE("collect gives the records not seen yet, owned") {
    on_every_store([](Store& store) {
        for (std::size_t i = 0; i < 100; ++i) store.db().insert(numbered("k", i), numbered("v", i)).value();
        const auto records = store.db().iter().value().collect().value();
        CHECK(records.size() == 100);
        store.db().clear().value();
        std::set<std::string> collected;
        for (const auto& [key, value] : records) {
            CHECK(collected.insert(key).second);
            CHECK(value == "v" + key.substr(1));
        }

        for (std::size_t i = 0; i < 10; ++i) store.db().insert(numbered("k", i), "v").value();
        auto keys = store.db().keys().value().collect().value();
        std::sort(keys.begin(), keys.end());
        CHECK(keys.size() == 10);
        CHECK(keys.front() == "k0");
        CHECK(keys.back() == "k9");

        auto half = store.db().iter().value();
        std::set<std::string> seen;
        for (const auto& record : half) {
            seen.emplace(record.key);
            if (seen.size() == 4) break;
        }
        for (const auto& record : half.collect().value()) CHECK(seen.insert(record.key).second);
        CHECK(seen.size() == 10);
    });
}

TEST_CASE("an iterator is an input range") {
    static_assert(std::ranges::input_range<emdb::EmdbIter>);
    static_assert(std::ranges::input_range<emdb::EmdbKeyIter>);
    static_assert(std::is_nothrow_move_constructible_v<emdb::EmdbIter>);
    auto db = Emdb::open_in_memory();
    db.insert("a", "1").value();
    db.insert("b", "").value();
    auto records = db.iter().value();
    std::size_t empty_values = 0;
    std::ranges::for_each(records,
                          [&](const emdb::RecordView& record) { empty_values += record.value.empty() ? 1u : 0u; });
    CHECK(empty_values == 1);
}

TEST_CASE("writing while iterating: each key at most once, and exactly once if it was there throughout") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        constexpr std::size_t initial = 4000;
        for (std::size_t i = 0; i < initial; ++i) db.insert(numbered("stays", i), "0").value();
        for (std::size_t i = 0; i < initial; ++i) db.insert(numbered("goes", i), "0").value();

        std::map<std::string, int> seen;
        std::size_t step = 0;
        auto records = db.iter().value();
        for (const auto& [key, value] : records) {
            ++seen[std::string(key)];
            // The views stay as they are until the next step, whatever is written meanwhile.
            const std::string key_before(key);
            const std::string value_before(value);
            // Tenfold growth while the loop is in its first half, with removals and overwritings all the time.
            if (step < initial) {
                for (std::size_t i = 0; i < 10; ++i) db.insert(numbered("comes", step * 10 + i), "1").value();
                db.remove(numbered("goes", (step * 7919) % initial)).value();
                db.insert(numbered("stays", (step * 104'729) % initial), numbered("overwritten ", step)).value();
            }
            ++step;
            CHECK(key == key_before);
            CHECK(value == value_before);
        }
        CHECK(records.status());
        std::size_t stayed = 0;
        for (const auto& [key, times] : seen) {
            CHECK(times == 1);
            stayed += key.starts_with("stays") ? 1u : 0u;
        }
        CHECK(stayed == initial);
    });
}

TEST_CASE("clearing while iterating ends the iteration without harm") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        for (std::size_t i = 0; i < 2000; ++i) db.insert(numbered("k", i), numbered("v", i)).value();
        std::set<std::string> seen;
        auto records = db.iter().value();
        for (const auto& [key, value] : records) {
            CHECK(seen.emplace(key).second);
            CHECK(value == "v" + std::string(key.substr(1)));
            if (seen.size() == 100) db.clear().value();
        }
        CHECK(records.status());
        CHECK(seen.size() >= 100);
        CHECK(seen.size() <= 2000);
    });
}

TEST_CASE("an iterator may outlive its database") {
    on_every_store([](Store& store) {
        for (std::size_t i = 0; i < 2000; ++i) store.db().insert(numbered("k", i), numbered("v", i)).value();
        for (const bool closed : {false, true}) {
            CAPTURE(closed);
            TempFolder folder;
            std::optional<Emdb> db =
                store.reopens() ? Emdb::open(folder.file("a.emdb")).value() : Emdb::open_in_memory();
            db->insert_many(store.db().iter().value()).value();
            auto records = db->iter().value();
            auto untouched = db->keys().value();
            std::set<std::string> seen;
            for (const auto& [key, value] : records) {
                CHECK(seen.emplace(key).second);
                CHECK(value == "v" + std::string(key.substr(1)));
                if (seen.size() == 10) {
                    if (closed) db->close().value();
                    db.reset();
                }
            }
            // All of them, or a status that says why not.
            if (records.status()) {
                CHECK(seen.size() == 2000);
            } else {
                CHECK(outcome(records.status()) == "stopped");
            }
            const auto keys = untouched.collect();
            if (keys) {
                CHECK(keys->size() == 2000);
            } else {
                CHECK(outcome(keys) == "stopped");
            }
            // It does not keep the file locked, either.
            if (store.reopens()) CHECK(Emdb::open(folder.file("a.emdb")).value().len().value() == 2000);
        }
    });
}

// --- values in place

TEST_CASE("get_zerocopy gives the value in place") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        CHECK_FALSE(db.get_zerocopy("k").value().has_value());
        db.insert("k", "value").value();
        const auto ref = db.get_zerocopy("k").value();
        REQUIRE(ref);
        CHECK(ref->size() == 5);
        CHECK(ref->len() == 5);
        CHECK_FALSE(ref->empty());
        CHECK(ref->as_string_view() == "value");
        CHECK(ref->to_string() == "value");
        CHECK(ref->as_slice().size() == 5);
        CHECK(ref->as_slice().data() == ref->data());
        CHECK(static_cast<const void*>(ref->as_string_view().data()) == static_cast<const void*>(ref->data()));
        CHECK(*ref == "value");
        CHECK_FALSE(*ref == "other");
        CHECK(*ref == *db.get_zerocopy("k").value());
        emdb::ValueRef copy = *ref;
        emdb::ValueRef moved = std::move(copy);
        CHECK(moved == *ref);
        db.insert("k2", "another").value();
        moved = *db.get_zerocopy("k2").value();
        CHECK(moved == "another");
        const emdb::ValueRef& itself = moved;
        moved = itself;
        CHECK(moved == "another");
        CHECK(std::move(moved).into_string() == "another");
        CHECK(*ref == "value");
    });
}

TEST_CASE("a ValueRef stays valid and unchanged, whatever happens to its key") {
    on_every_store([](Store& store) {
        auto& db = store.db();
        const std::string value = patterned(1000, 1);
        const auto read = [&](const char* key) { return *db.get_zerocopy(key).value(); };

        for (const char* key : {"overwritten", "removed", "cleared"}) db.insert(key, value).value();
        const auto overwritten = read("overwritten");
        const auto removed = read("removed");
        const auto cleared = read("cleared");
        db.insert("overwritten", patterned(1000, 2)).value();
        db.remove("removed").value();
        CHECK(overwritten == value);
        CHECK(removed == value);

        auto names = db.open_namespace("names").value();
        names.insert("k", value).value();
        const auto dropped = *names.get_zerocopy("k").value();
        CHECK(db.drop_namespace("names").value() == true);
        CHECK(dropped == value);

        // Growth of the index and of the file, past several steps of preallocation.
        const std::string filler = patterned(10'000, 3);
        for (std::size_t i = 0; i < 1000; ++i) db.insert(numbered("filler", i), filler).value();
        db.clear().value();
        for (std::size_t i = 0; i < 100; ++i) db.insert(numbered("filler", i), filler).value();
        for (const auto* ref : {&overwritten, &removed, &cleared, &dropped}) CHECK(*ref == value);
    });
}

TEST_CASE("a ValueRef outlives close and the last handle, without keeping the file locked") {
    const std::string value = patterned(100'000, 4);
    for (const AppendMode mode : {AppendMode::automatic, AppendMode::pwrite}) {
        for (const bool closed : {false, true}) {
            CAPTURE(closed);
            TempFolder folder;
            std::optional<Emdb> db = Emdb::builder().path(folder.file("a.emdb")).append_mode(mode).build().value();
            db->insert("k", value).value();
            const auto ref = *db->get_zerocopy("k").value();
            const auto copy = ref;
            if (closed) db->close().value();
            db.reset();
            CHECK(ref == value);
            auto again = Emdb::open(folder.file("a.emdb")).value();
            again.insert("k", "new").value();
            for (std::size_t i = 0; i < 100; ++i) again.insert(numbered("more", i), value).value();
            CHECK(ref == value);
            CHECK(copy == value);
        }
    }
    std::optional<Emdb> memory = Emdb::open_in_memory();
    memory->insert("k", value).value();
    const auto ref = *memory->get_zerocopy("k").value();
    memory.reset();
    CHECK(ref == value);
}

// --- handles

TEST_CASE("copies of a handle share one database") {
    on_every_store([](Store& store) {
        Emdb copy = store.db();
        Emdb clone = store.db().clone_handle();
        copy.insert("k", "v").value();
        CHECK(clone.get("k").value() == "v");
        CHECK(store.db().get("k").value() == "v");
        CHECK(copy.path() == store.db().path());
    });
}

TEST_CASE("databases in memory are separate, and have a name") {
    auto a = Emdb::open_in_memory();
    auto b = Emdb::open_in_memory();
    a.insert("k", "a").value();
    CHECK(b.get("k").value() == std::nullopt);
    CHECK(a.path().find("memory") != std::string::npos);
}

// --- all of it together

TEST_CASE("long random histories leave what a std::map has") {
    const std::uint32_t seed = std::random_device()();
    MESSAGE("seed " << seed);
    on_every_store([seed](Store& store) {
        std::mt19937 random(seed);
        const auto below = [&random](std::size_t limit) { return random() % limit; };
        const auto random_key = [&] { return below(50) == 0 ? std::string() : numbered("key", below(300)); };
        const auto random_value = [&] {
            const std::size_t kind = below(100);
            const std::size_t size = kind == 0 ? below(200'000) : kind < 10 ? 0 : below(400);
            return patterned(size, static_cast<std::uint32_t>(random()));
        };

        using Model = std::map<std::string, std::string>;
        Model models[3];  // the default keyspace and two named ones
        const auto value_of = [](const Model& model, const std::string& key) {
            const auto found = model.find(key);
            return found == model.end() ? std::nullopt : std::optional(found->second);
        };
        const auto check_all = [&](auto& keyspace, const Model& model) {
            Model found;
            for (auto& [key, value] : keyspace.iter().value()) found.emplace(key, value);
            CHECK((found == model));
            CHECK(keyspace.len().value() == model.size());
        };
        const auto one_step = [&](auto& keyspace, Model& model) {
            const std::string key = random_key();
            switch (below(12)) {
                case 0:
                case 1:
                case 2:
                case 3: {
                    const std::string value = random_value();
                    keyspace.insert(key, value).value();
                    model[key] = value;
                    break;
                }
                case 4:
                case 5: {
                    CHECK((keyspace.remove(key).value() == value_of(model, key)));
                    model.erase(key);
                    break;
                }
                case 6: {
                    const auto prior = value_of(model, key);
                    const std::string wrong = prior.value_or("") + "wrong";
                    CHECK(keyspace.compare_exchange(key, wrong, "never").value() == false);
                    const std::string value = random_value();
                    CHECK(keyspace.compare_exchange(key, prior ? std::optional<Bytes>(*prior) : std::nullopt, value)
                              .value());
                    model[key] = value;
                    break;
                }
                case 7: {
                    keyspace
                        .update(key,
                                [](std::optional<std::string_view> now) -> std::optional<std::string> {
                                    if (now && now->size() > 500) return std::nullopt;
                                    return std::string(now.value_or("")) + "+";
                                })
                        .value();
                    const auto now = value_of(model, key);
                    if (now && now->size() > 500) {
                        model.erase(key);
                    } else {
                        model[key] = now.value_or("") + "+";
                    }
                    break;
                }
                case 8: {
                    std::vector<Record> records;
                    for (std::size_t i = below(20); i > 0; --i) records.push_back({random_key(), random_value()});
                    keyspace.insert_many(records).value();
                    for (const auto& record : records) model[record.key] = record.value;
                    break;
                }
                case 9: {
                    std::vector<std::string> keys;
                    for (int i = 0; i < 10; ++i) keys.push_back(random_key());
                    const auto values = keyspace.get_many(keys).value();
                    for (std::size_t i = 0; i < keys.size(); ++i) CHECK((values[i] == value_of(model, keys[i])));
                    break;
                }
                default: {
                    CHECK((keyspace.get(key).value() == value_of(model, key)));
                    CHECK(keyspace.contains_key(key).value() == model.contains(key));
                    break;
                }
            }
            if (below(500) == 0) {
                keyspace.clear().value();
                model.clear();
            }
        };

        for (int step = 0; step < 4000; ++step) {
            const std::size_t which = below(3);
            if (which == 0) {
                one_step(store.db(), models[0]);
            } else {
                auto names = store.db().open_namespace(numbered("names", which)).value();
                one_step(names, models[which]);
            }
            if (below(400) == 0) {
                const std::size_t dropped = 1 + below(2);
                static_cast<void>(store.db().drop_namespace(numbered("names", dropped)).value());
                models[dropped].clear();
            }
            if (below(50) == 0) store.db().flush().value();
            if (below(300) == 0) {
                store.reopen();
                check_all(store.db(), models[0]);
                for (const std::size_t named : {std::size_t{1}, std::size_t{2}}) {
                    auto names = store.db().open_namespace(numbered("names", named)).value();
                    check_all(names, models[named]);
                }
            }
        }
        store.reopen();
        check_all(store.db(), models[0]);
        CHECK(store.db().stats().value().live_records == models[0].size() + models[1].size() + models[2].size());
    });
}

}  // namespace emdb_test
