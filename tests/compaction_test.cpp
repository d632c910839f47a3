// Compaction as its users see it: what is dead goes, what lives stays, and nobody who holds on to something old notices.

#include "emdb.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/temp_folder.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace emdb_test {

namespace {

namespace fs = std::filesystem;
using emdb::Emdb;
using emdb::ErrorCode;
using emdb::Range;

std::string key(std::size_t i) { return "key-" + std::to_string(100'000 + i); }
std::string value(std::size_t i) { return std::string(200, static_cast<char>('a' + i % 26)) + std::to_string(i); }

void fill(Emdb& db, std::size_t count) {
    std::vector<std::pair<std::string, std::string>> pairs;
    for (std::size_t i = 0; i < count; ++i) pairs.emplace_back(key(i), value(i));
    db.insert_many(pairs).value();
}

/// `count` records of which every second one is removed again.
Emdb half_dead(const std::string& path, std::size_t count, bool range_scans = false) {
    Emdb db = Emdb::builder().path(path).enable_range_scans(range_scans).build().value();
    fill(db, count);
    for (std::size_t i = 0; i < count; i += 2) db.remove(key(i)).value();
    return db;
}

void check_half_dead(const Emdb& db, std::size_t count) {
    CHECK(db.len().value() == count / 2);
    for (std::size_t i = 0; i < count; ++i) {
        const auto found = db.get(key(i)).value();
        REQUIRE(found.has_value() == (i % 2 == 1));
        if (found) REQUIRE(*found == value(i));
    }
}

std::string bytes_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> names_in(const TempFolder& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder.path())) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

/// Pairs that are made one after the other, by a function that may do anything.
class Generator {
public:
    using Make = std::function<std::pair<std::string, std::string>(std::size_t)>;
    Generator(std::size_t count, Make make) : count_(count), make_(std::move(make)) {}
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = std::pair<std::string, std::string>;
        using difference_type = std::ptrdiff_t;
        using pointer = void;
        using reference = value_type;
        iterator() = default;
        iterator(const Generator* of, std::size_t at) : of_(of), at_(at) {}
        value_type operator*() const { return of_->make_(at_); }
        iterator& operator++() { return ++at_, *this; }
        void operator++(int) { ++at_; }
        friend bool operator==(const iterator& a, const iterator& b) { return a.at_ == b.at_; }

    private:
        const Generator* of_ = nullptr;
        std::size_t at_ = 0;
    };
    iterator begin() const { return {this, 0}; }
    iterator end() const { return {this, count_}; }

private:
    std::size_t count_;
    Make make_;
};

}  // namespace

TEST_CASE("compact: the file shrinks to what lives, in one piece with nothing left beside it") {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    for (const bool range_scans : {false, true}) {
        Emdb db = half_dead(path, 5000, range_scans);
        const emdb::EmdbStats before = db.stats().value();
        db.compact().value();
        const emdb::EmdbStats after = db.stats().value();
        CHECK(after.file_size_bytes < before.file_size_bytes * 6 / 10);
        CHECK(after.dead_bytes < 1000);
        CHECK(after.live_records == 2500);
        CHECK(after.logical_size_bytes == before.logical_size_bytes);
        check_half_dead(db, 5000);
        db.insert("after", "wards").value();
        db.close().value();
        CHECK(names_in(folder) == std::vector<std::string>{"a.emdb", "a.emdb.meta"});
        Emdb reopened = Emdb::open(path).value();
        CHECK(reopened.remove("after").value() == "wards");
        check_half_dead(reopened, 5000);
        reopened.clear().value();
    }
}

TEST_CASE("compact: an empty database, an untouched one, and one again and again") {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    for (int i = 0; i < 3; ++i) {
        Emdb db = Emdb::open(path).value();
        db.compact().value();
        db.compact().value();
        CHECK(db.len().value() == 0);
    }
    Emdb db = Emdb::open(path).value();
    for (std::size_t i = 0; i < 50; ++i) {
        db.insert(key(i % 7), value(i)).value();
        db.compact().value();
        CHECK(db.get(key(i % 7)).value() == value(i));
    }
    CHECK(db.len().value() == 7);
}

TEST_CASE("compact: databases in memory give their memory back, too") {
    Emdb db = Emdb::open_in_memory();
    fill(db, 5000);
    for (std::size_t i = 0; i < 5000; i += 2) db.remove(key(i)).value();
    const auto kept = db.get_zerocopy(key(1)).value();
    const std::uint64_t before = db.stats().value().file_size_bytes;
    db.compact().value();
    CHECK(db.stats().value().file_size_bytes < before * 6 / 10);
    check_half_dead(db, 5000);
    CHECK(*kept == value(1));
    CHECK(db.insert("more", "records"));
}

TEST_CASE("compact: dead_bytes is what a compaction gives back, within a hundredth") {
    const TempFolder folder;
    Emdb db = Emdb::open(folder.file("a.emdb")).value();
    for (std::size_t round = 0; round < 3; ++round) {
        fill(db, 10'000);
        for (std::size_t i = 0; i < 10'000; i += 3) db.remove(key(i)).value();
        for (std::size_t i = 1; i < 10'000; i += 3) db.insert(key(i), value(round)).value();
        emdb::Namespace space = db.open_namespace("space").value();
        for (std::size_t i = 0; i < 1000; ++i) space.insert(key(i), value(i)).value();
        if (round == 1) space.clear().value();
        const emdb::EmdbStats before = db.stats().value();
        db.compact().value();
        const auto given_back = static_cast<double>(before.file_size_bytes - db.stats().value().file_size_bytes);
        CHECK(static_cast<double>(before.dead_bytes) == doctest::Approx(given_back).epsilon(0.01));
    }
}

TEST_CASE("compact: ValueRefs, iterators and running reads go on in the old file") {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    std::optional<Emdb> db = half_dead(path, 2000, true);
    const auto held = db->get_zerocopy(key(1)).value();
    auto all = db->iter().value();
    auto range = db->range_iter(Range::from(key(0))).value();
    auto position = all.begin();
    auto range_position = range.begin();
    std::vector<std::string> names;
    for (std::size_t i = 0; i < 2000; ++i) names.push_back(key(i));
    const std::vector<emdb::Bytes> keys(names.begin(), names.end());
    std::size_t visited = 0;
    const auto visit = [&](std::size_t i, std::optional<std::string_view> found) {
        if (i == 500) db->compact().value();
        REQUIRE(found.has_value() == (i % 2 == 1));
        if (found) REQUIRE(*found == value(i));
        ++visited;
    };
    CHECK(db->visit_many(keys, visit).value() == 1000);
    CHECK(visited == 2000);
    db->insert(key(1), "new").value();
    db->clear().value();
    db->compact().value();
    db->close().value();
    db.reset();

    CHECK(*held == value(1));
    std::size_t count = 0;
    for (; position != all.end(); ++position) ++count;
    CHECK(count == 1000);
    CHECK(all.status());
    count = 0;
    std::string last;
    for (; range_position != range.end(); ++range_position, ++count) {
        CHECK(last < (*range_position).key);
        last = (*range_position).key;
    }
    CHECK(count == 1000);
    CHECK(Emdb::open(path).value().len().value() == 0);
}

TEST_CASE("compact: update() runs its function again, insert_many goes on in the new file") {
    const TempFolder folder;
    Emdb db = half_dead(folder.file("a.emdb"), 100);
    int runs = 0;
    const auto change = [&](std::optional<std::string_view> now) -> std::optional<std::string> {
        if (++runs == 1) db.compact().value();
        return std::string(now.value_or("none")) + "+";
    };
    db.update(key(1), change).value();
    CHECK(db.get(key(1)).value() == value(1) + "+");
    CHECK(runs == 2);
    runs = 0;
    db.update("absent", change).value();
    CHECK(db.get("absent").value() == "none+");

    const Generator pairs(20'000, [&](std::size_t i) {
        if (i % 3000 == 10) db.compact().value();
        return std::pair(key(i), value(i));
    });
    db.insert_many(pairs).value();
    CHECK(db.len().value() == 20'001);
    for (std::size_t i = 0; i < 20'000; ++i) REQUIRE(db.get(key(i)).value() == value(i));
    db.close().value();
    CHECK(Emdb::open(folder.file("a.emdb")).value().len().value() == 20'001);
}

TEST_CASE("compact: a transaction's closure can't compact or back up") {
    const TempFolder folder;
    Emdb db = half_dead(folder.file("a.emdb"), 10);
    const auto done = db.transaction([&](emdb::Transaction& transaction) -> emdb::Result<void> {
        CHECK(db.compact() == ErrorCode::invalid_argument);
        CHECK(db.backup_to(folder.file("b.emdb")) == ErrorCode::invalid_argument);
        return transaction.insert("key", "value");
    });
    CHECK(done);
    CHECK(db.compact());
    CHECK(db.get("key").value() == "value");
}

TEST_CASE("compact: ranges are in order afterwards, in every keyspace, also of what is written later") {
    const TempFolder folder;
    Emdb db = half_dead(folder.file("a.emdb"), 3000, true);
    emdb::Namespace space = db.open_namespace("space").value();
    emdb::Namespace empty = db.open_namespace("empty").value();
    for (std::size_t i = 3000; i-- > 0;) space.insert(key(i * 7 % 3000), value(i)).value();
    db.compact().value();
    for (std::size_t i = 0; i < 500; ++i) db.insert(key(i * 5), "new").value();
    empty.insert("b", "").value();
    empty.insert("a", "").value();
    const auto check_order = [](const emdb::Keyspace& keyspace, std::size_t count) {
        const std::vector<emdb::Record> records = keyspace.range(Range::all()).value();
        CHECK(records.size() == count);
        for (std::size_t i = 1; i < records.size(); ++i) REQUIRE(records[i - 1].key < records[i].key);
        CHECK(keyspace.range_iter(Range::all()).value().collect().value().size() == count);
        CHECK(keyspace.iter().value().collect().value().size() == count);
    };
    check_order(db, db.len().value());
    check_order(space, 3000);
    check_order(empty, 2);
    CHECK(db.range_prefix(key(5)).value().at(0).value == "new");
}

TEST_CASE("compact: a record that can't be read any more stops it, whichever it is, and the others are still there") {
    constexpr std::size_t count = 150;  // of a few leaves
    constexpr std::size_t head_size = 8;
    for (const bool range_scans : {false, true}) {
        CAPTURE(range_scans);
        for (std::size_t damaged = 0; damaged < count; ++damaged) {
            CAPTURE(damaged);
            const TempFolder folder;
            const std::string path = folder.file("a.emdb");
            Emdb db = Emdb::builder().path(path).enable_range_scans(range_scans).build().value();
            fill(db, count);
            db.flush().value();
            const std::size_t at = bytes_of(path).find(key(damaged));
            REQUIRE(at != std::string::npos);
            {
                std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
                file.seekp(static_cast<std::streamoff>(at - head_size));
                file << std::string(head_size, '\0');
            }
            const auto compacted = db.compact();
            REQUIRE(compacted == ErrorCode::corrupted);
            CHECK(compacted.error().offset() == at - head_size);
            CHECK(names_in(folder).size() == 2);  // the database and its lock
            for (std::size_t i = 0; i < count; ++i) {
                if (i != damaged) REQUIRE(db.get(key(i)).value() == value(i));
            }
        }
    }
}

#if EMDB_TTL
TEST_CASE("compact: expired and removed records are gone from the file, and never back") {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    std::uint64_t now = 1000;
    const auto open = [&] { return Emdb::builder().path(path).clock([&now] { return now; }).build().value(); };
    {
        Emdb db = open();
        db.insert_with_ttl("expired", "secret-expired", emdb::Ttl::at(2000)).value();
        db.insert_with_ttl("later", "still there", emdb::Ttl::at(9000)).value();
        db.insert_with_ttl("kept", "for good", emdb::Ttl::at(2000)).value();
        db.persist("kept").value();
        db.insert("removed", "secret-removed").value();
        db.remove("removed").value();
        db.insert("replaced", "secret-replaced").value();
        db.insert("replaced", "by this").value();
        now = 3000;
        db.compact().value();
        CHECK(bytes_of(path).find("secret") == std::string::npos);
        now = 1000;  // a clock that goes backwards finds them no more
        CHECK_FALSE(db.contains_key("expired").value());
        CHECK(db.expires_at("later").value() == 9000);
        CHECK(db.get("kept").value() == "for good");
        CHECK(db.len().value() == 3);
        now = 9000;
        CHECK(db.sweep_expired().value() == 1);
        CHECK(db.len().value() == 2);
        db.compact().value();
    }
    now = 1000;
    Emdb db = open();
    CHECK(db.len().value() == 2);
    CHECK_FALSE(db.contains_key("removed").value());
    CHECK(db.get("replaced").value() == "by this");
}
#endif

TEST_CASE("compact: closing from several threads makes it give up, and all of them return") {
    const TempFolder folder;
    for (int round = 0; round < 4; ++round) {
        const std::string path = folder.file(std::to_string(round) + ".emdb");
        Emdb db = half_dead(path, 20'000);
        std::atomic<bool> started = false;
        std::vector<std::thread> threads;
        threads.emplace_back([&] {
            started = true;
            const auto compacted = db.compact();
            CHECK((compacted || compacted == ErrorCode::stopped));
            CHECK(db.compact() == ErrorCode::stopped);
        });
        while (!started) std::this_thread::yield();
        for (int i = 0; i < 3; ++i) threads.emplace_back([&] { CHECK(db.close()); });
        for (std::thread& thread : threads) thread.join();
        CHECK_FALSE(fs::exists(path + ".compact"));
        check_half_dead(Emdb::open(path).value(), 20'000);
    }
}

TEST_CASE("auto_compact: off by default; on, it keeps the file within its bound and stops when the database is closed") {
    const TempFolder folder;
    {
        Emdb db = Emdb::open(folder.file("off.emdb")).value();
        for (std::size_t i = 0; i < 20'000; ++i) db.insert(key(i % 10), value(i)).value();
        CHECK(db.stats().value().dead_bytes > 4'000'000);
    }
    CHECK(Emdb::builder().path(folder.file("a.emdb")).auto_compact(0, 1).build() == ErrorCode::invalid_config);
    CHECK(Emdb::builder().path(folder.file("a.emdb")).auto_compact(1.01, 1).build() == ErrorCode::invalid_config);
    for (const bool in_memory : {false, true}) {
        std::atomic<int> compactions = 0, warnings = 0;
        emdb::EmdbBuilder builder = Emdb::builder();
        if (!in_memory) builder.path(folder.file("on.emdb"));
        builder.auto_compact(0.5, 500'000).on_log([&](emdb::LogLevel level, std::string_view text) {
            warnings += level == emdb::LogLevel::warning;
            compactions += text.find("Compacted") != std::string_view::npos;
        });
        std::optional<Emdb> db = builder.build().value();
        for (std::size_t i = 0; i < 5'000'000 && compactions < 3; ++i) db->insert(key(i % 10), value(i % 10)).value();
        CHECK(compactions >= 3);
        for (std::size_t i = 0; i < 10; ++i) CHECK(db->get(key(i)).value() == value(i));
        for (std::size_t i = 0; i < 3000; ++i) db->insert(key(i % 10), value(i % 10)).value();
        db.reset();  // perhaps in the middle of one
        CHECK(warnings == 0);
        if (!in_memory) CHECK(Emdb::open(folder.file("on.emdb")).value().len().value() == 10);
    }
}

TEST_CASE("auto_compact: several threads close the database at once, in the middle of a compaction") {
    const TempFolder folder;
    for (int round = 0; round < 30; ++round) {
        Emdb db = Emdb::builder().path(folder.file("a.emdb")).auto_compact(0.1, 1).build().value();
        for (std::size_t i = 0; i < 2000; ++i) db.insert(key(i % 500), value(i)).value();
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i) threads.emplace_back([&] { CHECK(db.close()); });
        for (std::thread& thread : threads) thread.join();
        CHECK(Emdb::open(folder.file("a.emdb")).value().len().value() == 500);
    }
}

TEST_CASE("auto_compact: an error goes to the log, and later it succeeds") {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    std::optional<Emdb> in_the_way = Emdb::open(path + ".compact").value();
    std::atomic<int> failures = 0, compactions = 0;
    Emdb db = Emdb::builder()
                  .path(path)
                  .auto_compact(0.3, 200'000)
                  .on_log([&](emdb::LogLevel level, std::string_view text) {
                      failures += level == emdb::LogLevel::warning && text.find("could not be compacted") != std::string_view::npos;
                      compactions += text.find("Compacted") != std::string_view::npos;
                  })
                  .build()
                  .value();
    for (std::size_t i = 0; i < 1'000'000 && failures == 0; ++i) db.insert(key(i % 10), value(i)).value();
    CHECK(failures > 0);
    CHECK(compactions == 0);
    in_the_way.reset();
    for (std::size_t i = 0; i < 2'000'000 && compactions == 0; ++i) db.insert(key(i % 10), value(i)).value();
    CHECK(compactions > 0);
    CHECK(db.len().value() == 10);
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("compact: the file's mode and owner stay") {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    Emdb db = half_dead(path, 10);
    REQUIRE(::chmod(path.c_str(), 0640) == 0);
    if (::geteuid() == 0) REQUIRE(::chown(path.c_str(), 1234, 2345) == 0);
    struct stat before, after;
    REQUIRE(::stat(path.c_str(), &before) == 0);
    db.compact().value();
    REQUIRE(::stat(path.c_str(), &after) == 0);
    CHECK(before.st_ino != after.st_ino);
    CHECK(before.st_mode == after.st_mode);
    CHECK(before.st_uid == after.st_uid);
    CHECK(before.st_gid == after.st_gid);
}

TEST_CASE("compact: a database opened through symbolic links stays where it is, and so do the links") {
    const TempFolder folder;
    fs::create_directory(folder.file("real"));
    fs::create_directory(folder.file("links"));
    const std::string real = folder.file("real/a.emdb");
    const std::string link = folder.file("links/b.emdb");
    fs::create_symlink("c.emdb", link);
    fs::create_symlink(real, folder.file("links/c.emdb"));
    { half_dead(real, 100).close().value(); }
    Emdb db = Emdb::open(link).value();
    CHECK(db.path() == link);
    db.compact().value();
    db.insert("after", "wards").value();
    CHECK(fs::is_symlink(link));
    CHECK_FALSE(fs::is_symlink(real));
    CHECK(fs::exists(real + ".lock"));
    CHECK_FALSE(fs::exists(link + ".lock"));
    for (const std::string& name : {real, link}) {
        CHECK(Emdb::lock_holder(name).value()->pid == static_cast<std::uint32_t>(::getpid()));
        CHECK(Emdb::break_lock(name) == ErrorCode::already_locked);
        CHECK(Emdb::open(name) == ErrorCode::already_locked);
    }
    db.close().value();
    CHECK(names_in(folder) == std::vector<std::string>{"links", "real"});
    CHECK(std::distance(fs::directory_iterator(folder.file("real")), {}) == 2);  // the checkpoint is beside the file
    CHECK(std::distance(fs::directory_iterator(folder.file("links")), {}) == 2);
    std::ofstream(real + ".lock") << "emdb-lock 1\npid 1\n";
    CHECK(Emdb::break_lock(link));
    CHECK_FALSE(fs::exists(real + ".lock"));
    Emdb reopened = Emdb::open(real).value();
    CHECK(reopened.remove("after").value() == "wards");
    check_half_dead(reopened, 100);
}

TEST_CASE("compact: another hard link goes on naming the file as it was") {
    const TempFolder folder;
    Emdb db = half_dead(folder.file("a.emdb"), 100);
    db.flush().value();
    fs::create_hard_link(folder.file("a.emdb"), folder.file("old.emdb"));
    db.compact().value();
    db.clear().value();
    CHECK(fs::hard_link_count(folder.file("a.emdb")) == 1);
    db.close().value();
    check_half_dead(Emdb::open(folder.file("old.emdb")).value(), 100);
}

TEST_CASE("compact: a relative path means what it meant at the opening") {
    const TempFolder folder;
    fs::create_directory(folder.file("elsewhere"));
    const fs::path before = fs::current_path();
    fs::current_path(folder.path());
    {
        Emdb db = half_dead("a.emdb", 10);
        fs::current_path(folder.file("elsewhere"));
        db.compact().value();
    }
    fs::current_path(before);
    CHECK(fs::is_empty(folder.file("elsewhere")));
    check_half_dead(Emdb::open(folder.file("a.emdb")).value(), 10);
}

TEST_CASE("compact: a forked child can't, and the parent goes on") {
    const TempFolder folder;
    Emdb db = half_dead(folder.file("a.emdb"), 100);
    const pid_t child = ::fork();
    if (child == 0) {
        const bool refused = db.compact() == ErrorCode::stopped && db.backup_to(folder.file("b.emdb")) == ErrorCode::stopped;
        ::_exit(refused ? 0 : 1);
    }
    int status = 1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(db.compact());
    check_half_dead(db, 100);
}
#endif

#if defined(__linux__)
TEST_CASE("compact: the old file's space comes back, with the last ValueRef at the latest") {
    const TempFolder folder;
    const std::string path = folder.file("a.emdb");
    // Descriptors and mappings of files that have no name any more.
    const auto nameless = [&] {
        int count = 0;
        for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
            std::error_code error;
            const std::string target = fs::read_symlink(entry.path(), error).string();
            count += target.starts_with(path) && target.ends_with("(deleted)");
        }
        std::ifstream maps("/proc/self/maps");
        for (std::string line; std::getline(maps, line);) {
            count += line.find(path) != std::string::npos && line.ends_with("(deleted)");
        }
        return count;
    };
    Emdb db = half_dead(path, 20'000);
    db.flush().value();
    struct stat before, after;
    REQUIRE(::stat(path.c_str(), &before) == 0);
    db.compact().value();
    REQUIRE(::stat(path.c_str(), &after) == 0);
    CHECK(after.st_blocks < before.st_blocks * 7 / 10);
    CHECK(nameless() == 0);
    std::optional<emdb::ValueRef> held = db.get_zerocopy(key(1)).value();
    db.compact().value();
    CHECK(nameless() > 0);
    CHECK(*held == value(1));
    held.reset();
    CHECK(nameless() == 0);
}
#endif

}  // namespace emdb_test
