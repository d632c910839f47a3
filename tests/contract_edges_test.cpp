// What a stranger may do with the public calls: unusual arguments, calls in unusual places, and what each of them answers.

#include "emdb.hpp"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <forward_list>
#include <fstream>
#include <functional>
#include <iterator>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "support/temp_folder.hpp"

#if defined(__clang__) && __clang_major__ < 16 && defined(__GLIBCXX__)
#define TEST_WITHOUT_VIEWS 1  // which this compiler can't read in that library
#else
#define TEST_WITHOUT_VIEWS 0
#endif

namespace emdb_test {
namespace {

using emdb::Bytes;
using emdb::Emdb;
using emdb::EmdbBuilder;
using emdb::Error;
using emdb::ErrorCode;
using emdb::Range;
using emdb::Record;
using emdb::Result;
using emdb::Transaction;
using MaybeString = std::optional<std::string>;
using Strings = std::vector<std::string>;
using namespace std::string_literals;
using namespace std::string_view_literals;

std::size_t visited = 0;
void count_visit(std::size_t, std::optional<std::string_view>) { ++visited; }
MaybeString append_x(std::optional<std::string_view> current) { return std::string(current.value_or("")) + "x"; }
Result<int> put_one(Transaction& transaction) {
    if (auto done = transaction.insert("one", "1"); !done) return done.error();
    return 1;
}

Strings keys_of(const std::vector<Record>& records) {
    Strings keys;
    for (const auto& [key, value] : records) keys.push_back(key);
    return keys;
}

/// Yields each pair once and cannot be restarted.
class CountingPairs {
public:
    explicit CountingPairs(int count) : count_(count) {}
    class iterator {
    public:
        using value_type = std::pair<std::string, std::string>;
        using difference_type = std::ptrdiff_t;
        explicit iterator(CountingPairs* pairs) : pairs_(pairs) {}
        value_type operator*() const { return {"k" + std::to_string(pairs_->at_), std::to_string(pairs_->at_)}; }
        iterator& operator++() { return ++pairs_->at_, *this; }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const { return pairs_->at_ == pairs_->count_; }

    private:
        CountingPairs* pairs_;
    };
    iterator begin() { return iterator(this); }
    std::default_sentinel_t end() const { return {}; }

private:
    int count_;
    int at_ = 0;
};

}  // namespace

TEST_CASE("contract: plain functions serve as every kind of callback") {
    Emdb db = Emdb::open_in_memory();
    const std::vector<Bytes> keys = {"a", "b"};
    visited = 0;
    CHECK(db.visit_many(keys, count_visit).value() == 0);
    CHECK(db.visit_many(keys, &count_visit).value() == 0);
    CHECK(db.visit_many({"a"}, count_visit).value() == 0);
    CHECK(db.visit_many(Strings{"a"}, count_visit).value() == 0);
    CHECK(visited == 6);
    db.update("k", append_x).value();
    db.update("k", &append_x).value();
    CHECK(db.get("k").value() == "xx");
    CHECK(db.transaction(put_one).value() == 1);
    CHECK(db.transaction(&put_one).value() == 1);
    const std::function<Result<int>(Transaction&)> function = put_one;
    CHECK(db.transaction(function).value() == 1);
}

TEST_CASE("contract: a callback that is null or an empty function is none") {
    TempFolder folder;
    const std::function<void(emdb::LogLevel, std::string_view)> no_log;
    const std::function<std::uint64_t()> no_clock;
    auto db = EmdbBuilder().path(folder.file("a")).on_log(no_log).clock(no_clock).build().value();
    db.insert("k", "v").value();
    CHECK(db.get("k").value() == "v");
    db.close().value();
    emdb::VerifyOptions options;
    options.progress = std::function<void(std::uint64_t, std::uint64_t)>();
    CHECK(Emdb::verify(folder.file("a"), options).value().ok());
    CHECK(EmdbBuilder().on_log(nullptr).clock(nullptr).build().value().is_empty().value());
}

TEST_CASE("contract: keys for get_many come from every kind of range") {
    Emdb db = Emdb::open_in_memory();
    db.insert("a", "1").value();
    db.insert("b", "2").value();
    const std::vector<MaybeString> expected = {"1", std::nullopt, "2"};
    const char* const c_strings[] = {"a", "z", "b"};
    const Bytes views[] = {"a", "z", "b"};
    const std::map<std::string, int> map = {{"a", 1}, {"b", 2}};
    CHECK(db.get_many(c_strings).value() == expected);
    CHECK(db.get_many(views).value() == expected);
    CHECK(db.get_many(std::span(views)).value() == expected);
    CHECK(db.get_many(std::span<const Bytes, 3>(views)).value() == expected);
    CHECK(db.get_many({"a", "z", "b"}).value() == expected);
    CHECK(db.get_many(std::array<std::string, 3>{"a", "z", "b"}).value() == expected);
    CHECK(db.get_many(std::deque<std::string_view>{"a", "z", "b"}).value() == expected);
    CHECK(db.get_many(std::list<std::string>{"a", "z", "b"}).value() == expected);
    CHECK(db.get_many(std::forward_list<const char*>{"a", "z", "b"}).value() == expected);
    CHECK(db.get_many(std::vector<std::vector<std::byte>>{{std::byte{'b'}}}).value() == std::vector<MaybeString>{"2"});
    CHECK(db.get_many(std::set<std::string>{"a", "b"}).value() == std::vector<MaybeString>{"1", "2"});
#if !TEST_WITHOUT_VIEWS
    CHECK(db.get_many(map | std::views::keys).value() == std::vector<MaybeString>{"1", "2"});
    CHECK(db.get_many(std::views::iota(0, 3) | std::views::transform([](int i) { return std::string(1, "azb"[i]); })).value() == expected);
    std::istringstream words("a z b");
    CHECK(db.get_many(std::ranges::subrange(std::istream_iterator<std::string>(words), std::istream_iterator<std::string>())).value() ==
          expected);
#endif
    CHECK(db.get_many(std::vector<emdb::ValueRef>{*db.get_zerocopy("a").value()}).value() == std::vector<MaybeString>{std::nullopt});
    CHECK(db.get_many({}).value().empty());
    CHECK(db.get_many(std::vector<Bytes>()).value().empty());
    CHECK(db.visit_many(std::span<const Bytes>(), count_visit).value() == 0);
    CHECK(db.get_many({"a", "a", "", "a"}).value() == std::vector<MaybeString>{"1", "1", std::nullopt, "1"});
}

TEST_CASE("contract: insert_many takes every kind of pair from every kind of range") {
    Emdb db = Emdb::open_in_memory();
    db.insert_many(std::map<std::string, std::string>{{"map", "1"}}).value();
    db.insert_many(std::unordered_map<std::string, std::vector<unsigned char>>{{"unordered", {'2'}}}).value();
    const std::vector<std::pair<const char*, std::string_view>> pairs = {{"pair", "3"}};
    db.insert_many(pairs).value();
    db.insert_many(std::vector<std::tuple<std::string, Bytes>>{{"tuple", "4"}}).value();
    db.insert_many(std::vector<Record>{{"record", "5"}}).value();
    db.insert_many(std::vector<std::array<std::string, 2>>{{"array", "6"}}).value();
    const std::pair<Bytes, Bytes> c_array[] = {{"c array", "7"}};
    db.insert_many(c_array).value();
#if !TEST_WITHOUT_VIEWS
    db.insert_many(std::views::iota(8, 10) | std::views::transform([](int i) { return std::pair("view" + std::to_string(i), "v"s); })).value();
#else
    db.insert_many(std::vector<Record>{{"view8", "v"}, {"view9", "v"}}).value();
#endif
    db.insert_many(std::initializer_list<std::pair<std::string_view, std::string_view>>{{"list", "l"}}).value();
    db.insert_many(CountingPairs(3)).value();
    CountingPairs lvalue(4);
    db.insert_many(lvalue).value();
    db.insert_many(std::vector<Record>()).value();
    for (const auto& [key, value] : std::map<std::string, std::string>{{"map", "1"}, {"unordered", "2"}, {"pair", "3"}, {"tuple", "4"},
             {"record", "5"}, {"array", "6"}, {"c array", "7"}, {"view8", "v"}, {"view9", "v"}, {"list", "l"}, {"k0", "0"}, {"k3", "3"}}) {
        CHECK(db.get(key).value() == value);
    }
    CHECK(db.len().value() == 14);
}

TEST_CASE("contract: what a closure of update may return") {
    Emdb db = Emdb::open_in_memory();
    db.update("k", [](auto) { return "literal"; }).value();
    CHECK(db.get("k").value() == "literal");
    db.update("k", [](auto current) { return std::string(*current) + "!"; }).value();
    CHECK(db.get("k").value() == "literal!");
    db.update("k", [](auto) -> Result<std::string> { return "of a string"; }).value();
    CHECK(db.get("k").value() == "of a string");
    db.update("k", [](auto) -> Result<MaybeString> { return MaybeString("of an optional"); }).value();
    CHECK(db.get("k").value() == "of an optional");
    CHECK(db.update("k", [](auto) { return Error::aborted("no"); }).error() == ErrorCode::transaction_aborted);
    CHECK(db.update("k", [](auto) -> Result<MaybeString> { return Error::aborted("no"); }).error() == ErrorCode::transaction_aborted);
    db.update("k", [own = std::make_unique<int>(1)](auto) mutable { return std::to_string(++*own); }).value();
    CHECK(db.get("k").value() == "2");
    db.update("k", [](auto) { return std::nullopt; }).value();
    CHECK_FALSE(db.contains_key("k").value());
    const auto if_absent = [](const char* value) {
        return [value](auto current) -> MaybeString {
            CHECK_FALSE(current.has_value());
            return value == nullptr ? MaybeString() : MaybeString(value);
        };
    };
    db.update("k", if_absent(nullptr)).value();
    db.update("", if_absent("")).value();
    CHECK(db.get("").value() == "");
    CHECK(db.len().value() == 1);
}

TEST_CASE("contract: what a transaction's closure may return") {
    Emdb db = Emdb::open_in_memory();
    struct ConstClosure {
        const Result<int> operator()(Transaction&) const { return 3; }
    };
    CHECK(db.transaction(ConstClosure()).value() == 3);
    CHECK(*db.transaction([](Transaction&) -> Result<std::unique_ptr<int>> { return std::make_unique<int>(5); }).value() == 5);
    CHECK(db.transaction([](auto& transaction) { return transaction.insert("k", "v"); }).has_value());
    CHECK(db.transaction([](Transaction& transaction) { return transaction.get("k"); }).value() == "v");
    int outside = 0;
    CHECK(*db.transaction([&outside](Transaction&) -> Result<int*> { return &outside; }).value() == 0);
    auto aborted = db.transaction([](Transaction& transaction) -> Result<void> {
        if (auto done = transaction.insert("k", "w"); !done) return done;
        return Error::aborted("changed my mind");
    });
    CHECK(aborted.error() == ErrorCode::transaction_aborted);
    CHECK(aborted.error().message().find("changed my mind") != std::string::npos);
    CHECK(db.get("k").value() == "v");
    CHECK(db.transaction([own = std::make_unique<int>(9)](Transaction&) mutable -> Result<int> { return ++*own; }).value() == 10);
}

TEST_CASE("contract: compare_exchange between every two of absent, empty and a value") {
    Emdb db = Emdb::open_in_memory();
    const std::array<MaybeString, 3> states = {std::nullopt, "", "v"};
    for (const std::string& key : {""s, "k"s, "\0\0"s}) {
        for (const MaybeString& now : states) {
            for (const MaybeString& expected : states) {
                for (const MaybeString& desired : states) {
                    db.remove(key).value();
                    if (now) db.insert(key, *now).value();
                    CHECK(db.compare_exchange(key, expected, desired).value() == (now == expected));
                    CHECK(db.get(key).value() == (now == expected ? desired : now));
                }
            }
        }
    }
}

TEST_CASE("contract: keys and values one byte beyond the limit are too_large for every call, and nothing changes") {
    Emdb db = Emdb::open_in_memory();
    const std::string longest((std::size_t{1} << 24) - 1, 'k');
    const std::string longer(std::size_t{1} << 24, 'k');
    db.insert(longest, "v").value();
    CHECK(db.get(longest).value() == "v");
    CHECK(db.insert(longer, "v").error() == ErrorCode::too_large);
    CHECK(db.compare_exchange(longer, std::nullopt, "v").error() == ErrorCode::too_large);
    CHECK(db.update(longer, [](auto) { return "v"; }).error() == ErrorCode::too_large);
    CHECK(db.insert_many(std::vector<std::pair<Bytes, Bytes>>{{longer, "v"}}).error() == ErrorCode::too_large);
    CHECK(db.transaction([&](Transaction& transaction) { return transaction.insert(longer, "v"); }).error() == ErrorCode::too_large);
#if EMDB_TTL
    CHECK(db.insert_with_ttl(longer, "v", emdb::Ttl::never()).error() == ErrorCode::too_large);
#endif
    // Such a key can't be there: reading it may say so or find nothing, but not fail in another way.
    const auto absent = [](const auto& result) { return result ? !*result : result.error() == ErrorCode::too_large; };
    CHECK(absent(db.get(longer)));
    CHECK(absent(db.contains_key(longer)));
    CHECK(absent(db.get_zerocopy(longer)));
    CHECK(absent(db.remove(longer)));
    CHECK(db.len().value() == 1);
}

TEST_CASE("contract: ranges with odd bounds") {
    auto db = EmdbBuilder().enable_range_scans(true).build().value();
    const Strings keys = {"", "\0"s, "\0\0"s, "a", "a\0"s, "b", "\xFE\xFF", "\xFF", "\xFF\xFF", "\xFF\xFF\x01"};
    for (const std::string& key : keys) db.insert(key, "v").value();
    const auto scan = [&db](const Range& range) {
        const auto records = db.range(range).value();
        CHECK(db.range_iter(range).value().collect().value() == records);
        return keys_of(records);
    };
    CHECK(scan(Range::all()) == keys);
    CHECK(scan(Range::from("")) == keys);
    CHECK(scan(Range::prefix("")) == keys);
    CHECK(scan(Range::after("")) == Strings(keys.begin() + 1, keys.end()));
    CHECK(scan(Range::until("")).empty());
    CHECK(scan(Range::up_to("")) == Strings{""});
    CHECK(scan(Range::closed("a", "a")) == Strings{"a"});
    CHECK(scan(Range::half_open("a", "a")).empty());
    CHECK(scan(Range::open("a", "a")).empty());
    CHECK(scan(Range::open_closed("a", "a")).empty());
    CHECK(scan(Range::open("a", "a\0"sv)).empty());
    CHECK(scan(Range::open_closed("a", "a\0"sv)) == Strings{"a\0"s});
    CHECK(scan(Range::closed("b", "a")).empty());
    CHECK(scan(Range::open("\xFF", "")).empty());
    CHECK(scan(Range::prefix("\xFF")) == Strings{"\xFF", "\xFF\xFF", "\xFF\xFF\x01"});
    CHECK(scan(Range::prefix("\xFF\xFF")) == Strings{"\xFF\xFF", "\xFF\xFF\x01"});
    CHECK(scan(Range::prefix("\xFE\xFF")) == Strings{"\xFE\xFF"});
    CHECK(scan(Range::prefix("\0"sv)) == Strings{"\0"s, "\0\0"s});
    CHECK(keys_of(db.range_prefix("\xFF\xFF\xFF").value()).empty());
    CHECK(keys_of(db.iter_after("\xFF\xFF\x01").value().collect().value()).empty());
    CHECK(keys_of(db.iter_from("\xFF\xFF\x01").value().collect().value()) == Strings{"\xFF\xFF\x01"});
}

TEST_CASE("contract: a temporary Result may be looped over directly, by value() and by *") {
    auto db = EmdbBuilder().enable_range_scans(true).build().value();
    db.insert("a", "1").value();
    db.insert("b", "2").value();
    std::size_t seen = 0;
    for (auto& [k, v] : db.iter().value()) seen += k.size() + v.size();
    for (const auto& [k, v] : *db.iter()) seen += k.size() + v.size();
    for (auto&& key : db.keys().value()) seen += key.size();
    for (auto [k, v] : db.range_iter(Range::all()).value()) seen += k.size() + v.size();
    for (auto& [k, v] : db.range_prefix("a").value()) seen += k.size() + v.size();
    for (const std::string& name : db.list_namespaces().value()) seen += name.size();
    CHECK(seen == 4 + 4 + 2 + 4 + 2);
}

TEST_CASE("contract: a handle used inside its own transaction's closure answers invalid_argument and spoils nothing") {
    TempFolder folder;
    Emdb db = Emdb::open(folder.file("a")).value();
    auto space = db.open_namespace("n").value();
    const auto refused = [](const auto& result) { return !result && result.error() == ErrorCode::invalid_argument; };
    auto outcome = db.transaction([&](Transaction& transaction) -> Result<void> {
        CHECK(refused(db.insert("k", "v")));
        CHECK(refused(db.remove("k")));
        CHECK(refused(db.compare_exchange("k", std::nullopt, "v")));
        CHECK(refused(db.update("k", append_x)));
        CHECK(refused(db.insert_many(std::vector<Record>{{"k", "v"}})));
        CHECK(refused(db.clear()));
        CHECK(refused(space.insert("k", "v")));
        CHECK(refused(space.clear()));
        CHECK(refused(db.open_namespace("other")));
        CHECK(refused(db.drop_namespace("n")));
        CHECK(refused(db.flush()));
        CHECK(refused(db.transaction(put_one)));
        CHECK(refused(db.compact()));
        CHECK(db.get("k").value() == std::nullopt);
        CHECK(db.len().value() == 0);
        CHECK(space.iter().value().collect().value().empty());
        return transaction.insert("inside", "v");
    });
    CHECK(outcome.has_value());
    CHECK(db.get("inside").value() == "v");
    CHECK(db.len().value() == 1);
    CHECK(db.list_namespaces().value() == Strings{"n"});
}

TEST_CASE("contract: what stands where the database should be") {
    namespace fs = std::filesystem;
    TempFolder folder;
    const auto code_of = [](const auto& result) { return result ? std::optional<ErrorCode>() : result.error().code(); };
    CHECK(code_of(Emdb::open("")) == ErrorCode::invalid_config);
    CHECK(code_of(Emdb::open(static_cast<const char*>(nullptr))) == ErrorCode::invalid_config);
    CHECK(code_of(Emdb::open(fs::path())) == ErrorCode::invalid_config);
    CHECK(code_of(Emdb::open(folder.file("missing/a"))) == ErrorCode::io);
    CHECK_FALSE(fs::exists(folder.file("missing")));
    for (const std::size_t size : {1U, 7U, 8U, 100U}) {
        const std::string path = folder.file("tiny" + std::to_string(size));
        std::ofstream(path, std::ios::binary) << std::string(size, 'x');
        CHECK(code_of(Emdb::open(path)) == ErrorCode::magic_mismatch);
        CHECK(fs::file_size(path) == size);
    }
    std::ofstream(folder.file("empty")).close();
    CHECK(Emdb::open(folder.file("empty")).value().is_empty().value());
#if !defined(_WIN32)  // links need a privilege there
    fs::create_symlink(folder.file("empty"), folder.file("link"));
    Emdb db = Emdb::open(folder.file("link")).value();
    CHECK(code_of(Emdb::open(folder.file("empty"))) == ErrorCode::already_locked);
    db.close().value();
    fs::create_symlink(folder.file("nowhere"), folder.file("dangling"));
    if (auto through = Emdb::open(folder.file("dangling"))) {
        through->insert("k", "v").value();
        through->close().value();
        CHECK(fs::is_symlink(folder.file("dangling")));
        CHECK(Emdb::open(folder.file("nowhere")).value().get("k").value() == "v");
    }
#endif
    CHECK(EmdbBuilder().path(folder.file("first")).path(folder.file("second")).build().value().path() == folder.file("second"));
    CHECK_FALSE(fs::exists(folder.file("first")));
}

#if defined(__cpp_exceptions)
TEST_CASE("contract: what callbacks throw passes through, and the database goes on") {
    Emdb db = Emdb::open_in_memory();
    db.insert("a", "1").value();
    const auto throwing = [](std::size_t i, std::optional<std::string_view>) {
        if (i == 1) throw std::logic_error("visit");
    };
    CHECK_THROWS_AS(static_cast<void>(db.visit_many({"a", "b", "c"}, throwing)), std::logic_error);
    CHECK_THROWS_AS(static_cast<void>(db.update("a", [](auto) -> MaybeString { throw std::logic_error("update"); })), std::logic_error);
    const auto abandoned = [](Transaction& transaction) -> Result<void> {
        transaction.insert("a", "2").value();
        throw 42;
    };
    CHECK_THROWS_AS(static_cast<void>(db.transaction(abandoned)), int);
#if !TEST_WITHOUT_VIEWS
    const auto pairs = std::views::iota(0, 3) | std::views::transform([](int i) {
        if (i == 2) throw std::logic_error("range");
        return std::pair("p" + std::to_string(i), "v"s);
    });
    CHECK_THROWS_AS(static_cast<void>(db.insert_many(pairs)), std::logic_error);
#endif
    CHECK(db.get("a").value() == "1");
    db.insert("a", "3").value();
    db.compact().value();
    CHECK(db.get("a").value() == "3");
    CHECK(db.transaction(put_one).value() == 1);
}
#endif

}  // namespace emdb_test
