// A program that uses whatever its feature macros give it. Each call of main() checks what it can, prints "ok", or says what is
// wrong:
//
//   features              everything in memory
//   features write PATH   leaves a database behind; with EMDB_TTL it has an expiring record
//   features open PATH    opens it and prints "opened", or the error's code and message
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

void must(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "not so: %s\n", what);
    std::exit(1);
}

// A template, so that what does not exist is not looked up.
template <class Database>
void check_expiry([[maybe_unused]] Database& db) {
#if EMDB_TTL
    static_assert(requires { db.sweep_expired(); });
    db.insert_with_ttl("gone", "v", emdb::Ttl::after(std::chrono::milliseconds(0))).value();
    db.insert_with_ttl("later", "v", emdb::Ttl::after(std::chrono::hours(1))).value();
    must(!db.get("gone").value().has_value(), "an expired record is absent");
    must(db.ttl("later").value().has_value() && db.persist("later").value(), "a record that expires later can be persisted");
    must(db.sweep_expired().value() == 1, "a sweep removes one");
#else
    static_assert(!requires { db.sweep_expired(); } && !requires { db.persist("k"); } && !requires { db.ttl("k"); });
    db.insert("later", "v").value();
#endif
}

template <class Database>
void check_groups([[maybe_unused]] Database& db) {
#if EMDB_NESTED
    db.focus("user").set("name", "v").value();
#if EMDB_TTL
    db.focus("user").set_with_ttl("session", "v", emdb::Ttl::after(std::chrono::milliseconds(0))).value();
#endif
    must(db.group("user").value().size() == 1, "a group has one record");
    must(db.delete_group("user").value() == 1, "one record is deleted with its group");
#else
    static_assert(!requires { db.focus("user"); } && !requires { db.group("user"); } && !requires { db.delete_group("user"); });
#endif
}

template <class Database>
void check_async([[maybe_unused]] Database& db) {
#if EMDB_ASYNC
    auto async = emdb::AsyncEmdb::from_sync(db);
    async.insert("async", "v").get().value();
    must(async.get("async").get().value() == "v", "what was inserted is found");
    must(async.remove("async").then([](auto prior) { return prior.value() == "v"; }).get(), "a future can be continued");
    must(async.transaction([](emdb::Transaction&) { return emdb::Result<int>(1); }).get().value() == 1, "a transaction runs");
    auto stream = async.iter_stream();
    std::size_t items = 0;
    while (stream.next_blocking().value()) ++items;
    must(items == db.len().value(), "a stream has every record");
#if EMDB_TTL
    async.insert_with_ttl("async", "v", emdb::Ttl::after(std::chrono::milliseconds(0))).get().value();
    must(async.sweep_expired().get().value() == 1, "a sweep removes one");
#else
    static_assert(!requires { async.sweep_expired(); });
#endif
#if EMDB_NESTED
    must(async.group("user").get().value().empty(), "a group is empty");
#else
    static_assert(!requires { async.group("user"); });
#endif
#endif
}

// With range scans where this build has them.
template <class Builder>
void check_all(Builder builder, bool range_scans) {
    if constexpr (requires { builder.enable_range_scans(true); }) {
        builder.enable_range_scans(range_scans);
    } else if (range_scans) {
        return;
    }
    auto db = builder.build().value();
    auto names = db.open_namespace("names").value();
    db.insert("k", "v").value();
    check_expiry(db);
    check_expiry(names);
    check_groups(db);
    check_groups(names);
    check_async(db);
    must(db.len().value() == 2 && names.len().value() == 1, "nothing else is there");
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc > 2 ? argv[1] : "";
    if (what.empty()) {
        check_all(emdb::Emdb::builder(), false);
        check_all(emdb::Emdb::builder(), true);
        std::puts("ok");
        return 0;
    }
    auto opened = emdb::Emdb::open(argv[2]);
    if (!opened) {
        std::printf("%s: %s\n", emdb::to_string(opened.error().code()), opened.error().message().c_str());
        return 0;
    }
    if (what == "write") {
        opened->insert("plain", "v").value();
#if EMDB_TTL
        opened->insert_with_ttl("expiring", "v", emdb::Ttl::after(std::chrono::hours(1))).value();
#endif
        opened->close().value();
    }
    std::puts(what == "write" ? "ok" : "opened");
    return 0;
}
