// EmdbBuilder: where the database lies, and what each setting does.

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/outcome.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

namespace fs = std::filesystem;
using emdb::AppendMode;
using emdb::Emdb;
using emdb::FlushPolicy;

fs::path path_of(const TempFolder& folder) { return fs::path(folder.path()); }

bool is_empty_folder(const TempFolder& folder) { return fs::is_empty(path_of(folder)); }

// True if the builder's database is the file at `file`: what is written through the one is read through the other.
void check_lies_at(emdb::EmdbBuilder builder, const fs::path& file) {
    CAPTURE(file.string());
    {
        auto db = builder.build().value();
        db.insert("here", "yes").value();
        CHECK(fs::equivalent(db.path(), file));
    }
    CHECK(fs::is_regular_file(file));
    CHECK(Emdb::open(file).value().get("here").value() == "yes");
}

#if !defined(_WIN32)
// An environment variable, set or unset for the length of a scope.
class ScopedVariable {
public:
    ScopedVariable(const char* name, const std::optional<std::string>& value) : name_(name) {
        if (const char* before = std::getenv(name)) before_ = before;
        set(value);
    }
    ScopedVariable(const ScopedVariable&) = delete;
    ScopedVariable& operator=(const ScopedVariable&) = delete;
    ~ScopedVariable() { set(before_); }

private:
    void set(const std::optional<std::string>& value) {
        if (value) {
            ::setenv(name_, value->c_str(), 1);
        } else {
            ::unsetenv(name_);
        }
    }
    const char* name_;
    std::optional<std::string> before_;
};
#endif

}  // namespace

// --- where it lies

TEST_CASE("neither path nor name given: a database in memory") {
    auto db = Emdb::builder().build().value();
    db.insert("k", "v").value();
    CHECK(db.get("k").value() == "v");
    CHECK(db.path() == Emdb::open_in_memory().path());
    auto other = Emdb::builder().build().value();
    CHECK(other.get("k").value() == std::nullopt);
}

TEST_CASE("path takes every kind of string, and std::filesystem::path") {
    TempFolder folder;
    const std::string text = folder.file("a.emdb");
    const std::string_view view = text;
    const fs::path path = text;
    check_lies_at(Emdb::builder().path(text.c_str()), path);
    check_lies_at(Emdb::builder().path(text), path);
    check_lies_at(Emdb::builder().path(view), path);
    check_lies_at(Emdb::builder().path(path), path);
    CHECK(Emdb::open(text.c_str()).value().get("here").value() == "yes");
    CHECK(Emdb::open(text).value().get("here").value() == "yes");
    CHECK(Emdb::open(view).value().get("here").value() == "yes");
    CHECK(Emdb::open(path).value().get("here").value() == "yes");
    CHECK(Emdb::open(view.substr(0, view.size() - 1)).value().get("here").value() ==
          std::nullopt);  // not read past its end
}

TEST_CASE("paths are UTF-8") {
    TempFolder folder;
    const std::u8string name = u8"Grüße-数据-😀.emdb";
    const std::string utf8(reinterpret_cast<const char*>(name.data()), name.size());
    {
        auto db = Emdb::open(folder.file(utf8)).value();
        db.insert("k", "v").value();
        CHECK(db.path().find(utf8) != std::string::npos);
    }
    CHECK(fs::exists(path_of(folder) / fs::path(name)));
    CHECK(Emdb::open(path_of(folder) / fs::path(name)).value().get("k").value() == "v");
}

#if !defined(_WIN32)
TEST_CASE("on POSIX a file name may hold any byte") {
    TempFolder folder;
    const std::string odd = folder.file("not UTF-8 \xFF\xFE and a\nline break");
    Emdb::open(odd).value().insert("k", "v").value();
    CHECK(fs::exists(fs::path(odd)));
    CHECK(Emdb::open(odd).value().get("k").value() == "v");
}

TEST_CASE("a relative path is relative to the working directory of the call") {
    TempFolder folder;
    const fs::path before = fs::current_path();
    fs::current_path(path_of(folder));
    auto opened = Emdb::open("relative.emdb");
    fs::current_path(before);
    opened.value().insert("k", "v").value();
    opened.value().close().value();
    CHECK(Emdb::open(folder.file("relative.emdb")).value().get("k").value() == "v");
}
#endif

TEST_CASE("app_name and database_name lie under data_root, with defaults for what is not given") {
    TempFolder folder;
    const fs::path root = path_of(folder) / "not" / "there" / "yet";
    check_lies_at(Emdb::builder().data_root(root).app_name("notes").database_name("main.db"),
                  root / "notes" / "main.db");
    check_lies_at(Emdb::builder().data_root(root).app_name("notes"), root / "notes" / "emdb-default.emdb");
    check_lies_at(Emdb::builder().data_root(root).database_name("main.db"), root / "emdb" / "main.db");
    // The order of the calls does not matter, and a later call replaces an earlier one.
    check_lies_at(Emdb::builder().database_name("x").app_name("no").data_root(root).app_name("b"), root / "b" / "x");
}

#if !defined(_WIN32) && !defined(__APPLE__)
TEST_CASE("without data_root they lie under XDG_DATA_HOME") {
    TempFolder folder;
    const ScopedVariable xdg("XDG_DATA_HOME", folder.file("xdg"));
    check_lies_at(Emdb::builder().app_name("notes").database_name("main.db"),
                  path_of(folder) / "xdg" / "notes" / "main.db");
    check_lies_at(Emdb::builder().app_name("notes"), path_of(folder) / "xdg" / "notes" / "emdb-default.emdb");
    check_lies_at(Emdb::builder().database_name("main.db"), path_of(folder) / "xdg" / "emdb" / "main.db");
}

TEST_CASE("without XDG_DATA_HOME they lie under ~/.local/share") {
    TempFolder folder;
    const ScopedVariable home("HOME", folder.file("home"));
    for (const std::optional<std::string>& unset : {std::optional<std::string>(), std::optional<std::string>("")}) {
        const ScopedVariable xdg("XDG_DATA_HOME", unset);
        check_lies_at(Emdb::builder().app_name("notes"),
                      path_of(folder) / "home" / ".local/share" / "notes" / "emdb-default.emdb");
    }
}

TEST_CASE("with neither XDG_DATA_HOME nor HOME there is no place, and the error says so") {
    const ScopedVariable home("HOME", std::nullopt);
    const ScopedVariable xdg("XDG_DATA_HOME", std::nullopt);
    const auto refused = Emdb::builder().app_name("notes").build();
    CHECK(outcome(refused) == "invalid_config");
    CHECK(refused.error().message().find("XDG_DATA_HOME") != std::string::npos);
}
#endif

TEST_CASE("a path together with names is invalid_config, and nothing is created") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    CHECK(outcome(Emdb::builder().path(path).app_name("notes").build()) == "invalid_config");
    CHECK(outcome(Emdb::builder().path(path).database_name("main.db").build()) == "invalid_config");
    CHECK(outcome(Emdb::builder().path(path).data_root(path_of(folder)).build()) == "invalid_config");
    CHECK(outcome(Emdb::builder().path(path).data_root(path_of(folder)).app_name("n").database_name("m").build()) ==
          "invalid_config");
    CHECK(is_empty_folder(folder));
}

TEST_CASE("a name that is empty, a dot name or has a separator is invalid_config, and nothing is created") {
    TempFolder folder;
    const fs::path root = path_of(folder) / "root";
    for (const char* name : {"", ".", "..", "a/b", "/a", "a/", "../a"}) {
        CAPTURE(name);
        const auto app = Emdb::builder().data_root(root).app_name(name).build();
        CHECK(outcome(app) == "invalid_config");
        CHECK(app.error().message().find("app_name") != std::string::npos);
        const auto database = Emdb::builder().data_root(root).app_name("notes").database_name(name).build();
        CHECK(outcome(database) == "invalid_config");
        CHECK(database.error().message().find("database_name") != std::string::npos);
    }
    CHECK(is_empty_folder(folder));
}

TEST_CASE("a path with an embedded NUL names no file, least of all the part before it") {
    TempFolder folder;
    CHECK_FALSE(Emdb::open(folder.file(std::string("a.emdb\0b", 8))).has_value());
    CHECK_FALSE(Emdb::open(std::string()).has_value());
    CHECK(is_empty_folder(folder));
}

// --- what the settings do

TEST_CASE("a builder may be used again, for another file") {
    TempFolder folder;
    emdb::EmdbBuilder builder = Emdb::builder();
    builder.flush_policy(FlushPolicy::group());
    auto a = builder.path(folder.file("a.emdb")).build().value();
    auto b = builder.path(folder.file("b.emdb")).build().value();
    a.insert("k", "a").value();
    CHECK(b.get("k").value() == std::nullopt);
    CHECK(outcome(builder.build()) == "already_locked");
}

TEST_CASE("nothing happens before build") {
    TempFolder folder;
    emdb::EmdbBuilder builder = Emdb::builder();
    builder.path(folder.file("a.emdb")).append_mode(AppendMode::pwrite);
    CHECK(is_empty_folder(folder));
}

TEST_CASE("every flush policy works on every kind of database") {
    TempFolder folder;
    int number = 0;
    for (const FlushPolicy policy :
         {FlushPolicy::on_each_flush(), FlushPolicy::group(), FlushPolicy::write_through(), FlushPolicy::every_n(1),
          FlushPolicy::every_n(7), FlushPolicy::every_n(4'000'000'000)}) {
        CAPTURE(static_cast<int>(policy.kind()));
        for (const AppendMode mode : {AppendMode::automatic, AppendMode::pwrite}) {
            const std::string path = folder.file(std::to_string(++number));
            for (const int reopened : {0, 1}) {
                auto db = Emdb::builder().path(path).flush_policy(policy).append_mode(mode).build().value();
                if (reopened == 1) CHECK(db.len().value() == 21);
                for (int i = 0; i < 20; ++i) db.insert(std::to_string(i), "v").value();
                db.insert_many(std::vector<std::pair<std::string, std::string>>{{"a", "1"}, {"b", "2"}}).value();
                db.transaction([](emdb::Transaction& tx) { return tx.remove("a"); }).value();
                db.flush().value();
                CHECK(db.len().value() == 21);
            }
        }
        auto memory = Emdb::builder().flush_policy(policy).build().value();
        for (int i = 0; i < 20; ++i) memory.insert(std::to_string(i), "v").value();
        memory.flush().value();
        CHECK(memory.len().value() == 20);
    }
}

TEST_CASE("a flush after every 0 writes is invalid_config") {
    TempFolder folder;
    CHECK(outcome(Emdb::builder().path(folder.file("a.emdb")).flush_policy(FlushPolicy::every_n(0)).build()) ==
          "invalid_config");
    CHECK(outcome(Emdb::builder().flush_policy(FlushPolicy::every_n(0)).build()) == "invalid_config");
    CHECK(is_empty_folder(folder));
}

TEST_CASE("a file written in one append mode is read and continued in the other") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    for (int i = 0; i < 6; ++i) {
        const AppendMode mode = i % 2 == 0 ? AppendMode::automatic : AppendMode::pwrite;
        auto db = Emdb::builder().path(path).append_mode(mode).build().value();
        CHECK(db.len().value() == static_cast<std::size_t>(i));
        db.insert(std::to_string(i), std::string(10'000, static_cast<char>('a' + i))).value();
    }
    auto db = Emdb::open(path).value();
    for (int i = 0; i < 6; ++i)
        CHECK(db.get(std::to_string(i)).value() == std::string(10'000, static_cast<char>('a' + i)));
}

TEST_CASE("verify_reads(false) reads the same") {
    TempFolder folder;
    for (const int reopened : {0, 1}) {
        CAPTURE(reopened);
        auto db = Emdb::builder().path(folder.file("a.emdb")).verify_reads(false).build().value();
        if (reopened == 0) {
            for (int i = 0; i < 1000; ++i) db.insert(std::to_string(i), "value " + std::to_string(i)).value();
        }
        for (int i = 0; i < 1000; ++i) CHECK(db.get(std::to_string(i)).value() == "value " + std::to_string(i));
        CHECK(db.get("1000").value() == std::nullopt);
        CHECK(db.get_many({"1", "x"}).value().at(0) == "value 1");
        CHECK(*db.get_zerocopy("2").value() == "value 2");
        CHECK(db.iter().value().collect().value().size() == 1000);
    }
}

TEST_CASE("the clock is the builder's") {
    TempFolder folder;
    std::atomic<std::uint64_t> now{1'234'567'890'123};
    auto db = Emdb::builder().path(folder.file("a.emdb")).clock([&now] { return now.load(); }).build().value();
    CHECK(Emdb::lock_holder(folder.file("a.emdb")).value().value().acquired_at_unix_ms == 1'234'567'890'123);
}

}  // namespace emdb_test
