// The operations on single records: what each does, for every way that records can be stored.

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/stores.hpp"

namespace emdb_test {
namespace {

using namespace stores;
using emdb::Bytes;
using emdb::Emdb;
using emdb::Error;
using emdb::Result;

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

}  // namespace emdb_test
