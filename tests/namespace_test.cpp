// Namespaces: keyspaces of their own in one file.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/outcome.hpp"
#include "support/temp_folder.hpp"

#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#if defined(__has_feature)
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define HEAP_IS_MEASURED 1
#endif
#else
#define HEAP_IS_MEASURED 1
#endif
#endif

#if defined(HEAP_IS_MEASURED)
#include <malloc.h>
#endif

namespace emdb_test {
namespace {

using emdb::Bytes;
using emdb::Emdb;
using emdb::Namespace;

std::string numbered(const char* prefix, std::size_t number) { return prefix + std::to_string(number); }

std::map<std::string, std::string> contents(const emdb::Keyspace& keyspace) {
    std::map<std::string, std::string> result;
    for (auto& [key, value] : keyspace.iter().value()) result.emplace(key, value);
    return result;
}

using Names = std::vector<std::string>;

// Bytes on the heap now; 0 where that can't be told.
std::size_t heap_bytes() {
#if defined(HEAP_IS_MEASURED)
    const auto info = mallinfo2();
    return info.uordblks + info.hblkhd;
#else
    return 0;
#endif
}

}  // namespace

TEST_CASE("a namespace is created when it is first opened, and found again") {
    TempFolder folder;
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        CHECK(db.list_namespaces().value().empty());
        auto users = db.open_namespace("users").value();
        CHECK(users.name() == "users");
        users.insert("k", "v").value();
        CHECK(db.open_namespace("users").value().get("k").value() == "v");
        db.open_namespace("empty").value();
        CHECK(db.list_namespaces().value() == Names{"empty", "users"});
        CHECK(db.stats().value().namespace_count == 2);
    }
    auto db = Emdb::open(folder.file("a.emdb")).value();
    CHECK(db.list_namespaces().value() == Names{"empty", "users"});
    CHECK(db.open_namespace("users").value().get("k").value() == "v");
    CHECK(db.open_namespace("users").value().len().value() == 1);
    CHECK(db.open_namespace("empty").value().is_empty().value() == true);
    CHECK(db.stats().value().namespace_count == 2);
}

TEST_CASE("opening a namespace that exists writes nothing") {
    auto db = Emdb::open_in_memory();
    db.open_namespace("a").value();
    const auto before = db.stats().value().file_size_bytes;
    for (int i = 0; i < 100; ++i) db.open_namespace("a").value();
    CHECK(db.stats().value().file_size_bytes == before);
    CHECK(db.list_namespaces().value() == Names{"a"});
}

TEST_CASE("namespaces share nothing but the file") {
    TempFolder folder;
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        auto red = db.open_namespace("red").value();
        auto blue = db.open_namespace("blue").value();
        db.insert("k", "default").value();
        red.insert("k", "red").value();
        blue.insert("k", "blue").value();
        red.insert("only red", "1").value();
        CHECK(db.get("k").value() == "default");
        CHECK(red.get("k").value() == "red");
        CHECK(blue.get("k").value() == "blue");
        CHECK(db.contains_key("only red").value() == false);
        CHECK(blue.contains_key("only red").value() == false);
        CHECK(db.len().value() == 1);
        CHECK(red.len().value() == 2);
        CHECK(blue.len().value() == 1);
        CHECK(db.stats().value().live_records == 4);
        CHECK(blue.remove("k").value() == "blue");
        CHECK(db.get("k").value() == "default");
        CHECK(red.get("k").value() == "red");
    }
    auto db = Emdb::open(folder.file("a.emdb")).value();
    CHECK(contents(db) == std::map<std::string, std::string>{{"k", "default"}});
    CHECK(contents(db.open_namespace("red").value()) ==
          std::map<std::string, std::string>{{"k", "red"}, {"only red", "1"}});
    CHECK(contents(db.open_namespace("blue").value()).empty());
}

TEST_CASE("every data operation works in a namespace") {
    TempFolder folder;
    for (auto db : {Emdb::open_in_memory(), Emdb::open(folder.file("a.emdb")).value()}) {
        auto names = db.open_namespace("names").value();
        names.insert("a", "1").value();
        CHECK(names.get("a").value() == "1");
        CHECK(names.get_or("b", "2").value() == "2");
        std::string out;
        CHECK(names.get_into("a", out).value() == true);
        CHECK(out == "1");
        CHECK(*names.get_zerocopy("a").value() == "1");
        CHECK(names.get_many({"a", "b"}).value() == std::vector<std::optional<std::string>>{"1", std::nullopt});
        CHECK(names.visit_many({"a", "b"}, [](std::size_t, std::optional<std::string_view>) {}).value() == 1);
        CHECK(names.compare_exchange("a", "1", "2").value() == true);
        names
            .update("a",
                    [](std::optional<std::string_view> now) { return std::optional(std::string(now.value()) + "!"); })
            .value();
        CHECK(names.get("a").value() == "2!");
        names.insert_many(std::map<std::string, std::string>{{"b", "3"}, {"c", "4"}}).value();
        CHECK(names.len().value() == 3);
        CHECK(contents(names) == std::map<std::string, std::string>{{"a", "2!"}, {"b", "3"}, {"c", "4"}});
        auto keys = names.keys().value().collect().value();
        std::sort(keys.begin(), keys.end());
        CHECK(keys == Names{"a", "b", "c"});
        CHECK(names.remove("c").value() == "4");
        CHECK(names.contains_key("c").value() == false);
        CHECK(names.is_empty().value() == false);
        CHECK(db.is_empty().value() == true);
    }
}

TEST_CASE("clear empties one namespace only") {
    TempFolder folder;
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        auto red = db.open_namespace("red").value();
        auto blue = db.open_namespace("blue").value();
        for (std::size_t i = 0; i < 500; ++i) {
            for (emdb::Keyspace* keyspace : {static_cast<emdb::Keyspace*>(&db), static_cast<emdb::Keyspace*>(&red),
                                             static_cast<emdb::Keyspace*>(&blue)}) {
                keyspace->insert(numbered("k", i), "v").value();
            }
        }
        red.clear().value();
        CHECK(red.is_empty().value() == true);
        CHECK(red.get("k1").value() == std::nullopt);
        CHECK(blue.len().value() == 500);
        CHECK(db.len().value() == 500);
        red.insert("after", "1").value();
        db.clear().value();
        CHECK(db.is_empty().value() == true);
        CHECK(blue.len().value() == 500);
        CHECK(red.len().value() == 1);
        CHECK(db.list_namespaces().value() == Names{"blue", "red"});
    }
    auto db = Emdb::open(folder.file("a.emdb")).value();
    CHECK(db.is_empty().value() == true);
    CHECK(db.open_namespace("blue").value().len().value() == 500);
    CHECK(contents(db.open_namespace("red").value()) == std::map<std::string, std::string>{{"after", "1"}});
}

TEST_CASE("a dropped namespace is gone with its records, and its name is free") {
    TempFolder folder;
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        CHECK(db.drop_namespace("names").value() == false);
        auto names = db.open_namespace("names").value();
        for (std::size_t i = 0; i < 500; ++i) names.insert(numbered("k", i), "v").value();
        db.insert("k1", "default").value();
        CHECK(db.drop_namespace("names").value() == true);
        CHECK(db.drop_namespace("names").value() == false);
        CHECK(db.list_namespaces().value().empty());
        CHECK(db.stats().value().namespace_count == 0);
        CHECK(db.stats().value().live_records == 1);
        CHECK(db.get("k1").value() == "default");

        auto again = db.open_namespace("names").value();
        CHECK(again.is_empty().value() == true);
        CHECK(again.get("k1").value() == std::nullopt);
        again.insert("k1", "second life").value();

        db.open_namespace("dropped for good").value().insert("k", "v").value();
        CHECK(db.drop_namespace("dropped for good").value() == true);
    }
    auto db = Emdb::open(folder.file("a.emdb")).value();
    CHECK(db.list_namespaces().value() == Names{"names"});
    CHECK(contents(db.open_namespace("names").value()) == std::map<std::string, std::string>{{"k1", "second life"}});
    CHECK(db.open_namespace("dropped for good").value().is_empty().value() == true);
}

TEST_CASE("a handle of a dropped namespace answers invalid_argument, also when its name is taken again") {
    auto db = Emdb::open_in_memory();
    auto old = db.open_namespace("names").value();
    Namespace copy = old;
    old.insert("k", "v").value();
    db.drop_namespace("names").value();
    const auto keep = [](auto) { return std::optional<std::string>("never"); };
    const std::vector<std::pair<Bytes, Bytes>> pairs = {{"k", "never"}};
    for (const bool recreated : {false, true}) {
        CAPTURE(recreated);
        if (recreated) db.open_namespace("names").value().insert("k", "new").value();
        for (Namespace* names : {&old, &copy}) {
            std::string out = "untouched";
            CHECK(outcome(names->insert("k", "never")) == "invalid_argument");
            CHECK(outcome(names->get("k")) == "invalid_argument");
            CHECK(outcome(names->get("absent")) == "invalid_argument");
            CHECK(outcome(names->get_or("k", "x")) == "invalid_argument");
            CHECK(outcome(names->get_into("k", out)) == "invalid_argument");
            CHECK(outcome(names->get_zerocopy("k")) == "invalid_argument");
            CHECK(outcome(names->get_many({"k"})) == "invalid_argument");
            CHECK(outcome(names->visit_many({"k"}, [](auto, auto) {})) == "invalid_argument");
            CHECK(outcome(names->remove("k")) == "invalid_argument");
            CHECK(outcome(names->contains_key("k")) == "invalid_argument");
            CHECK(outcome(names->compare_exchange("k", std::nullopt, "never")) == "invalid_argument");
            CHECK(outcome(names->update("k", keep)) == "invalid_argument");
            CHECK(outcome(names->len()) == "invalid_argument");
            CHECK(outcome(names->is_empty()) == "invalid_argument");
            CHECK(outcome(names->clear()) == "invalid_argument");
            CHECK(outcome(names->insert_many(pairs)) == "invalid_argument");
            CHECK(outcome(names->iter()) == "invalid_argument");
            CHECK(outcome(names->keys()) == "invalid_argument");
            CHECK(out == "untouched");
            CHECK(names->name() == "names");
        }
    }
    CHECK(contents(db.open_namespace("names").value()) == std::map<std::string, std::string>{{"k", "new"}});
    const auto refused = old.get("k");
    CHECK(refused.error().message().find("names") != std::string::npos);
}

TEST_CASE("dropping a namespace while iterating over it does no harm") {
    auto db = Emdb::open_in_memory();
    auto names = db.open_namespace("names").value();
    for (std::size_t i = 0; i < 1000; ++i) names.insert(numbered("k", i), numbered("v", i)).value();
    auto records = names.iter().value();
    std::size_t seen = 0;
    for (const auto& [key, value] : records) {
        CHECK(value == "v" + std::string(key.substr(1)));
        if (++seen == 10) db.drop_namespace("names").value();
    }
    CHECK(seen >= 10);
    CHECK(seen <= 1000);
    if (!records.status()) CHECK(outcome(records.status()) == "invalid_argument");
}

TEST_CASE("any bytes make a name") {
    TempFolder folder;
    std::string all_bytes(256, '\0');
    for (std::size_t i = 0; i < 256; ++i) all_bytes[i] = static_cast<char>(i);
    const Names names = {std::string(1, '\0'),
                         std::string(2, '\0'),
                         " ",
                         "../../etc",
                         "a",
                         std::string("a\0b", 3),
                         "default",
                         "A",
                         "a/b",
                         "\xFF\xFE",
                         "naïve",
                         all_bytes,
                         std::string(65'535, 'n')};
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        for (const auto& name : names) {
            auto created = db.open_namespace(name).value();
            CHECK(created.name() == name);
            created.insert("name", name).value();
        }
        CHECK(db.is_empty().value() == true);
    }
    auto db = Emdb::open(folder.file("a.emdb")).value();
    Names sorted = names;
    // In byte order, as std::string compares.
    std::sort(sorted.begin(), sorted.end());
    CHECK((db.list_namespaces().value() == sorted));
    for (const auto& name : names) CHECK((db.open_namespace(name).value().get("name").value() == name));
    CHECK(db.stats().value().namespace_count == names.size());
    for (const auto& name : names) CHECK(db.drop_namespace(name).value() == true);
    CHECK(db.list_namespaces().value().empty());
}

TEST_CASE("a name has at least one byte and at most 65,535") {
    auto db = Emdb::open_in_memory();
    const auto empty = db.open_namespace("");
    CHECK(outcome(empty) == "invalid_argument");
    CHECK(empty.error().message().size() > 20);
    CHECK(outcome(db.open_namespace(std::string(65'536, 'n'))) == "invalid_argument");
    CHECK(outcome(db.open_namespace(std::string(65'535, 'n'))) == "success");
    CHECK(db.list_namespaces().value().size() == 1);
}

TEST_CASE("a namespace keeps the database open after the last Emdb is gone") {
    TempFolder folder;
    std::optional<Emdb> db = Emdb::open(folder.file("a.emdb")).value();
    std::optional<Namespace> names = db->open_namespace("names").value();
    db.reset();
    names->insert("k", "v").value();
    CHECK(names->get("k").value() == "v");
    CHECK(outcome(Emdb::open(folder.file("a.emdb"))) == "already_locked");
    names.reset();
    db = Emdb::open(folder.file("a.emdb")).value();
    CHECK(db->open_namespace("names").value().get("k").value() == "v");
}

TEST_CASE("close stops namespaces too") {
    auto db = Emdb::open_in_memory();
    auto names = db.open_namespace("names").value();
    db.close().value();
    CHECK(outcome(names.insert("k", "v")) == "stopped");
    CHECK(outcome(names.get("k")) == "stopped");
    CHECK(outcome(names.len()) == "stopped");
    CHECK(names.name() == "names");
}

TEST_CASE("ten thousand namespaces are ordinary: quick, and under 1 KiB each while empty") {
    constexpr std::size_t count = 10'000;
    TempFolder folder;
    const auto started = std::chrono::steady_clock::now();
    for (const bool reopened : {false, true}) {
        CAPTURE(reopened);
        const std::size_t heap_before = heap_bytes();
        auto db = Emdb::open(folder.file("a.emdb")).value();
        const std::uint64_t index_before = reopened ? 0 : db.stats().value().index_bytes;
        if (!reopened) {
            for (std::size_t i = 0; i < count; ++i) db.open_namespace(numbered("namespace ", i)).value();
        }
        const auto stats = db.stats().value();
        CHECK(stats.namespace_count == count);
        CHECK((stats.index_bytes - index_before) / count < 1024);
        if (heap_bytes() != 0) CHECK((heap_bytes() - heap_before) / count < 1024);
        CHECK(db.list_namespaces().value().size() == count);
        CHECK(db.open_namespace("namespace 1234").value().is_empty().value() == true);
    }
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        for (std::size_t i = 0; i < count; i += 2)
            db.open_namespace(numbered("namespace ", i)).value().insert("k", numbered("v", i)).value();
    }
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        CHECK(db.stats().value().live_records == count / 2);
        for (std::size_t i = 0; i < count; i += 2) {
            CHECK(db.open_namespace(numbered("namespace ", i)).value().get("k").value() == numbered("v", i));
        }
        for (std::size_t i = 0; i < count; i += 2) CHECK(db.drop_namespace(numbered("namespace ", i)).value() == true);
        CHECK(db.stats().value().live_records == 0);
    }
    auto db = Emdb::open(folder.file("a.emdb")).value();
    CHECK(db.stats().value().namespace_count == count / 2);
    const auto took = std::chrono::steady_clock::now() - started;
    CHECK(took < std::chrono::seconds(20));  // quadratic behaviour would take minutes; a sanitizer's pace must fit in
}

}  // namespace emdb_test
