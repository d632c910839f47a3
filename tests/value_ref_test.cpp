// Values in place: what a ValueRef is, and how long it stays.

#include <doctest/doctest.h>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "emdb.hpp"
#include "support/stores.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using namespace stores;
using emdb::AppendMode;
using emdb::Emdb;

}  // namespace

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

}  // namespace emdb_test
