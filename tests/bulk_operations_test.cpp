// Many records at once: get_many, visit_many, insert_many.

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/stores.hpp"

namespace emdb_test {
namespace {

using namespace stores;
using emdb::Bytes;
using emdb::Emdb;
using emdb::Record;

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

}  // namespace

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

}  // namespace emdb_test
