// Bad input and bad circumstances: each is an Error of its own, says which file and what to do, and changes nothing.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emdb.hpp"
#include "support/temp_folder.hpp"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#endif
#if defined(__linux__)
#include <sched.h>
#include <sys/mount.h>
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ADDRESS_SPACE_IS_THE_SANITIZERS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ADDRESS_SPACE_IS_THE_SANITIZERS 1
#endif
#endif

namespace emdb_test {
namespace {

namespace fs = std::filesystem;
using emdb::AppendMode;
using emdb::Emdb;
using emdb::Error;
using emdb::Result;

constexpr std::size_t header_slot_size = 4096;
constexpr std::size_t header_size = 2 * header_slot_size;

// "success", or the name of the error's code.
template <class T>
std::string outcome(const Result<T>& result) {
    return result ? "success" : emdb::to_string(result.error().code());
}

std::string read_file(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_file(const fs::path& path, std::string_view bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// Writes into an existing file without touching the rest of it.
void overwrite_at(const fs::path& path, std::size_t offset, std::string_view bytes) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file << bytes;
}

std::string flipped(std::string bytes) {
    for (char& c : bytes) c = static_cast<char>(~c);
    return bytes;
}

// Every name in a folder with its kind, permissions and content.
std::map<std::string, std::string> state_of(const TempFolder& folder) {
    std::map<std::string, std::string> state;
    for (const auto& entry : fs::recursive_directory_iterator(folder.path())) {
        std::string what = std::to_string(static_cast<int>(entry.symlink_status().type())) + " " +
                           std::to_string(static_cast<unsigned>(entry.symlink_status().permissions())) + " ";
        if (entry.is_regular_file()) what += read_file(entry.path());
        state[entry.path().string()] = std::move(what);
    }
    return state;
}

constexpr char separator = static_cast<char>(fs::path::preferred_separator);

#if defined(_WIN32)
std::size_t open_descriptors() {
    DWORD count = 0;
    REQUIRE(GetProcessHandleCount(GetCurrentProcess(), &count));
    return count;
}
#else
std::size_t open_descriptors() {
    std::size_t count = 0;
    std::error_code no_such_folder;
    for (auto it = fs::directory_iterator("/proc/self/fd", no_such_folder); it != fs::directory_iterator(); ++it)
        ++count;
    return count;
}
#endif

// A closed database with a few records.
void make_database(const std::string& path) {
    auto db = Emdb::open(path).value();
    for (int i = 0; i < 50; ++i) db.insert("key " + std::to_string(i), "value " + std::to_string(i)).value();
}

void check_is_intact(const std::string& path) {
    auto db = Emdb::open(path).value();
    CHECK(db.len().value() == 50);
    for (int i = 0; i < 50; ++i) CHECK(db.get("key " + std::to_string(i)).value() == "value " + std::to_string(i));
    db.insert("key 0", "value 0").value();
    db.flush().value();
}

// The sentence names the file and has room left to say what is wrong and what to do.
void check_message(const Error& error, const std::string& path) {
    CAPTURE(error.message());
    CHECK(error.message().find(path) != std::string::npos);
    CHECK(error.message().size() > path.size() + 30);
}

void check_refused(const TempFolder& folder, const std::string& path, const char* code) {
    CAPTURE(path);
    const auto before = state_of(folder);
    const std::size_t descriptors = open_descriptors();
    for (int i = 0; i < 3; ++i) {
        const auto refused = Emdb::open(path);
        REQUIRE(outcome(refused) == code);
        check_message(refused.error(), path);
    }
    CHECK((state_of(folder) == before));
    CHECK(open_descriptors() == descriptors);
}

}  // namespace

// --- files that are no databases

TEST_CASE("a path in a missing directory is an io error") {
    TempFolder folder;
    check_refused(folder, folder.file("missing") + separator + "a.emdb", "io");
    CHECK(Emdb::open(folder.file("missing") + separator + "a.emdb").error().os_error() != 0);
    write_file(folder.file("plain file"), "");
    check_refused(folder, folder.file("plain file") + separator + "a.emdb", "io");
}

TEST_CASE("a directory as path is an io error") {
    TempFolder folder;
    fs::create_directory(folder.file("directory"));
    check_refused(folder, folder.file("directory"), "io");
}

TEST_CASE("a file that is not emdb is a magic mismatch") {
    TempFolder folder;
    const std::string contents[] = {"x",
                                    "\n",
                                    std::string(1, '\0'),
                                    "Dear diary,\n",
                                    "SQLite format 3",
                                    std::string(100, ' '),
                                    std::string(4095, 'a'),
                                    std::string(4096, 'a'),
                                    std::string(header_size, 'a'),
                                    std::string(100'000, 'a'),
                                    std::string(100'000, '\0')};
    for (const auto& content : contents) {
        CAPTURE(content.size());
        write_file(folder.file("text.txt"), content);
        check_refused(folder, folder.file("text.txt"), "magic_mismatch");
    }
}

TEST_CASE("an empty file becomes a new database") {
    TempFolder folder;
    write_file(folder.file("a.emdb"), "");
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        CHECK(db.is_empty().value() == true);
        db.insert("k", "v").value();
    }
    CHECK(Emdb::open(folder.file("a.emdb")).value().get("k").value() == "v");
}

#if !defined(_WIN32)
TEST_CASE("something that is neither file nor directory is refused and stays what it is") {
    TempFolder folder;
    REQUIRE(::mkfifo(folder.file("pipe").c_str(), 0600) == 0);
    const auto before = state_of(folder);
    const auto refused = Emdb::open(folder.file("pipe"));
    CHECK_FALSE(refused.has_value());
    if (!refused) check_message(refused.error(), folder.file("pipe"));
    CHECK((state_of(folder) == before));
}
#endif

// --- damage

TEST_CASE("a file cut off inside its header is corrupted") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    const std::string whole = read_file(folder.file("a.emdb"));
    for (const std::size_t size : {std::size_t{64}, std::size_t{100}, header_slot_size / 2, header_slot_size - 1}) {
        CAPTURE(size);
        write_file(folder.file("cut.emdb"), whole.substr(0, size));
        check_refused(folder, folder.file("cut.emdb"), "corrupted");
    }
}

TEST_CASE("one good header slot is enough") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    const std::string whole = read_file(folder.file("a.emdb"));
    const auto damaged = folder.file("damaged.emdb");
    for (const std::size_t slot : {std::size_t{0}, header_slot_size}) {
        CAPTURE(slot);
        for (std::size_t at = 0; at < 128; at += 3) {
            CAPTURE(at);
            write_file(damaged, whole);
            overwrite_at(damaged, slot + at, flipped(whole.substr(slot + at, 1)));
            check_is_intact(damaged);
        }
        for (const std::string& junk :
             {flipped(whole.substr(slot, header_slot_size)), std::string(header_slot_size, '\0')}) {
            write_file(damaged, whole);
            overwrite_at(damaged, slot, junk);
            check_is_intact(damaged);
            check_is_intact(damaged);
        }
    }
}

TEST_CASE("a header damaged in both slots is corrupted") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    const std::string whole = read_file(folder.file("a.emdb"));
    const auto damaged = folder.file("damaged.emdb");
    write_file(damaged, whole);
    constexpr std::size_t at = 40;  // past the magic and the version
    overwrite_at(damaged, at, flipped(whole.substr(at, 16)));
    overwrite_at(damaged, header_slot_size + at, flipped(whole.substr(header_slot_size + at, 16)));
    check_refused(folder, damaged, "corrupted");
}

TEST_CASE("damage anywhere in flushed records is corrupted, with its offset, and the file is not changed") {
    TempFolder folder;
    std::size_t flushed_end = 0;
    {
        auto db = Emdb::open(folder.file("a.emdb")).value();
        for (int i = 0; i < 10; ++i) db.insert("key " + std::to_string(i), "value " + std::to_string(i)).value();
        db.open_namespace("names").value().insert("k", "v").value();
        db.transaction([](emdb::Transaction& tx) -> Result<void> {
              tx.insert("t1", "1").value();
              return tx.insert("t2", "2");
          }).value();
        flushed_end = static_cast<std::size_t>(db.stats().value().file_size_bytes);
        db.flush().value();
        db.insert("not", "flushed").value();
    }
    const std::string whole = read_file(folder.file("a.emdb"));
    REQUIRE(flushed_end > header_size);
    REQUIRE(flushed_end < whole.size());
    const auto damaged = folder.file("damaged.emdb");
    for (std::size_t at = header_size; at < flushed_end; ++at) {
        CAPTURE(at);
        for (const char value : {static_cast<char>(~whole[at]), static_cast<char>(whole[at] ^ 1), '\0'}) {
            if (value == whole[at]) continue;
            std::string bytes = whole;
            bytes[at] = value;
            write_file(damaged, bytes);
            const auto refused = Emdb::open(damaged);
            REQUIRE(outcome(refused) == "corrupted");
            CHECK(refused.error().offset() >= header_size);
            CHECK(refused.error().offset() <= at);
            check_message(refused.error(), damaged);
            REQUIRE((read_file(damaged) == bytes));
        }
    }
    // So is a whole part that was zeroed, or swapped with another.
    for (const std::size_t size : {std::size_t{16}, std::size_t{64}}) {
        std::string bytes = whole;
        std::fill_n(bytes.begin() + header_size, size, '\0');
        write_file(damaged, bytes);
        CHECK(outcome(Emdb::open(damaged)) == "corrupted");
    }
}

TEST_CASE("records of one database put into another's file are damage, not data") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    make_database(folder.file("b.emdb"));
    const std::string a = read_file(folder.file("a.emdb"));
    const std::string b = read_file(folder.file("b.emdb"));
    write_file(folder.file("mixed.emdb"), a.substr(0, header_size) + b.substr(header_size));
    // Not one of them validates, so this is a journal without a valid frame: cut, or refused, but never read.
    auto mixed = Emdb::open(folder.file("mixed.emdb"));
    if (mixed) CHECK(mixed->is_empty().value() == true);
}

TEST_CASE("damage that comes while the database is open is reported by the read that meets it") {
    for (const AppendMode mode : {AppendMode::automatic, AppendMode::pwrite}) {
        TempFolder folder;
        const auto path = folder.file("a.emdb");
        auto db = Emdb::builder().path(path).append_mode(mode).build().value();
        const std::string marker = "a value that occurs once in the file";
        db.insert("before", "1").value();
        db.insert("k", marker).value();
        db.insert("after", "2").value();
        db.flush().value();
        const std::size_t at = read_file(path).find(marker);
        REQUIRE(at != std::string::npos);
        overwrite_at(path, at + 10, "#");

        const auto refused = db.get("k");
        CHECK(outcome(refused) == "corrupted");
        CHECK(refused.error().offset() >= header_size);
        CHECK(refused.error().offset() <= at);
        check_message(refused.error(), path);
        std::string out = "untouched";
        CHECK(outcome(db.get_into("k", out)) == "corrupted");
        CHECK(out == "untouched");
        CHECK(outcome(db.get_or("k", "fallback")) == "corrupted");
        CHECK(outcome(db.get_zerocopy("k")) == "corrupted");
        CHECK(outcome(db.get_many({"before", "k"})) == "corrupted");
        CHECK(outcome(db.visit_many({"before", "k"}, [](auto, auto) {})) == "corrupted");
        CHECK(outcome(db.iter().value().collect()) == "corrupted");
        CHECK(db.get("before").value() == "1");
        CHECK(db.get("after").value() == "2");
        db.insert("k", "written anew").value();
        CHECK(db.get("k").value() == "written anew");
        CHECK(db.iter().value().collect().value().size() == 3);
    }
}

// --- who has it open

TEST_CASE("a second open in the same process is already_locked, by whatever name") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    auto db = Emdb::open(path).value();
    db.insert("k", "v").value();
    const auto before = state_of(folder);
    const auto refused = Emdb::open(path);
    CHECK(outcome(refused) == "already_locked");
    check_message(refused.error(), path);
    CHECK(outcome(Emdb::open(fs::path(folder.path()) / "." / "a.emdb")) == "already_locked");
    CHECK((state_of(folder) == before));
#if !defined(_WIN32)
    CHECK(refused.error().message().find(std::to_string(::getpid())) != std::string::npos);
    fs::create_symlink(path, folder.file("symbolic.emdb"));
    fs::create_hard_link(path, folder.file("hard.emdb"));
    CHECK(outcome(Emdb::open(folder.file("symbolic.emdb"))) == "already_locked");
    CHECK(outcome(Emdb::open(folder.file("hard.emdb"))) == "already_locked");
#endif
    db.insert("k", "w").value();
    db.close().value();
    CHECK(Emdb::open(path).value().get("k").value() == "w");
}

TEST_CASE("lock_holder tells who has a database open, and nullopt when nobody has") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    CHECK_FALSE(Emdb::lock_holder(path).value().has_value());
    CHECK(state_of(folder).empty());
    {
        auto db = Emdb::open(path).value();
        const auto holder = Emdb::lock_holder(path).value();
        REQUIRE(holder);
        CHECK(holder->version == EMDB_VERSION_STRING);
        CHECK(holder->schema_version > 0);
        CHECK(holder->acquired_at_unix_ms > 1'600'000'000'000);
        CHECK_FALSE(holder->hostname.empty());
#if !defined(_WIN32)
        CHECK(holder->pid == static_cast<std::uint32_t>(::getpid()));
#endif
    }
    CHECK_FALSE(Emdb::lock_holder(path).value().has_value());
}

TEST_CASE("break_lock is refused while the holder lives, and no error when there is nothing to break") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    CHECK(outcome(Emdb::break_lock(path)) == "success");
    auto db = Emdb::open(path).value();
    const auto before = state_of(folder);
    const auto refused = Emdb::break_lock(path);
    CHECK(outcome(refused) == "already_locked");
    check_message(refused.error(), path);
    CHECK((state_of(folder) == before));
    CHECK(outcome(Emdb::open(path)) == "already_locked");
    db.insert("k", "v").value();
    db.close().value();
    CHECK(outcome(Emdb::break_lock(path)) == "success");
    CHECK(Emdb::open(path).value().get("k").value() == "v");
}

TEST_CASE("deleting the lock file of an open database unlocks nothing") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    auto db = Emdb::open(path).value();
    db.insert("k", "v").value();
    CHECK(fs::remove(path + ".lock"));
    CHECK(outcome(Emdb::open(path)) == "already_locked");
    CHECK(outcome(Emdb::break_lock(path)) == "already_locked");
    CHECK(Emdb::lock_holder(path).value().has_value());
    db.insert("k", "w").value();
    db.close().value();
    CHECK(Emdb::open(path).value().get("k").value() == "w");
}

TEST_CASE("whatever a left-over lock file says, it keeps nobody out") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    make_database(path);
    for (const std::string& left_over :
         {std::string(), std::string("1"), std::string(100'000, 'x'), std::string(64, '\xFF')}) {
        write_file(path + ".lock", left_over);
        CHECK_FALSE(Emdb::lock_holder(path).value().has_value());
        check_is_intact(path);
    }
}

#if !defined(_WIN32)

namespace {

// Runs f in a forked child and gives what it returned; "" is what most of these tests hope for. A child that crashes,
// throws or takes a minute says so instead.
template <class F>
std::string in_child(F&& f) {
    int ends[2];
    if (::pipe(ends) != 0) return "no pipe";
    const pid_t child = ::fork();
    if (child < 0) return "no fork";
    if (child == 0) {
        ::close(ends[0]);
        ::alarm(60);
        std::string said;
        try {
            said = f();
        } catch (const std::exception& exception) {
            said = std::string("threw: ") + exception.what();
        }
        for (std::size_t done = 0; done < said.size();) {
            const ssize_t written = ::write(ends[1], said.data() + done, said.size() - done);
            if (written <= 0) ::_exit(2);
            done += static_cast<std::size_t>(written);
        }
        ::_exit(0);
    }
    ::close(ends[1]);
    std::string said;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
        said.append(buffer, static_cast<std::size_t>(got));
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) said += "[killed by signal " + std::to_string(WTERMSIG(status)) + "]";
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        said += "[exit status " + std::to_string(WEXITSTATUS(status)) + "]";
    return said;
}

// Collects what went wrong in a child, where doctest's checks would not reach anybody.
class Wrongs {
public:
    void expect(bool right, const std::string& what) {
        if (!right) text_ += what + "\n";
    }
    void expect_equal(const std::string& found, const std::string& expected, const std::string& what) {
        expect(found == expected, what + ": " + found + " instead of " + expected);
    }
    const std::string& text() const { return text_; }

private:
    std::string text_;
};

// A child that runs `prepare` and then waits to be killed or let go.
class WaitingChild {
public:
    template <class F>
    explicit WaitingChild(F&& prepare) {
        int ready[2];
        int go[2];
        REQUIRE(::pipe(ready) == 0);
        REQUIRE(::pipe(go) == 0);
        pid_ = ::fork();
        REQUIRE(pid_ >= 0);
        char byte = 'r';
        if (pid_ == 0) {
            ::close(ready[0]);
            ::close(go[1]);
            ::alarm(60);
            try {
                const auto kept = prepare();
                if (::write(ready[1], &byte, 1) != 1) ::_exit(2);
                while (::read(go[0], &byte, 1) < 0) {
                }
            } catch (const std::exception&) {
                ::_exit(3);
            }
            ::_exit(0);
        }
        ::close(ready[1]);
        ::close(go[0]);
        go_ = go[1];
        CHECK(::read(ready[0], &byte, 1) == 1);  // 0: it failed to prepare
        ::close(ready[0]);
    }
    WaitingChild(const WaitingChild&) = delete;
    WaitingChild& operator=(const WaitingChild&) = delete;
    ~WaitingChild() { end(SIGKILL); }

    pid_t pid() const { return pid_; }
    void end(int signal) {
        if (pid_ <= 0) return;
        if (signal != 0) ::kill(pid_, signal);
        ::close(go_);
        ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }

private:
    pid_t pid_ = -1;
    int go_ = -1;
};

// As in_child, in the folder and without privileges. Paths have to be relative: nobody can walk to the folder.
template <class F>
std::string as_ordinary_user(const TempFolder& folder, F&& f) {
    return in_child([&]() -> std::string {
        if (::chdir(folder.path().c_str()) != 0) return "no chdir";
        if (::geteuid() == 0 && (::setegid(65534) != 0 || ::seteuid(65534) != 0)) return "no seteuid";
        return f();
    });
}

std::string refusal(const char* path, const char* code, int os_error) {
    Wrongs wrongs;
    const auto refused = Emdb::open(path);
    wrongs.expect_equal(outcome(refused), code, path);
    if (!refused) {
        wrongs.expect_equal(std::to_string(refused.error().os_error()), std::to_string(os_error), "os_error");
        wrongs.expect(refused.error().message().find(path) != std::string::npos,
                      "no path in: " + refused.error().message());
    }
    return wrongs.text();
}

// A limit of this process, put back at the end of the scope.
class ScopedLimit {
public:
    ScopedLimit(int resource, rlim_t soft) : resource_(resource) {
        ::getrlimit(static_cast<decltype(RLIMIT_AS)>(resource_), &before_);
        rlimit limit = before_;
        limit.rlim_cur = soft;
        ::setrlimit(static_cast<decltype(RLIMIT_AS)>(resource_), &limit);
    }
    ScopedLimit(const ScopedLimit&) = delete;
    ScopedLimit& operator=(const ScopedLimit&) = delete;
    ~ScopedLimit() { ::setrlimit(static_cast<decltype(RLIMIT_AS)>(resource_), &before_); }

private:
    int resource_;
    rlimit before_{};
};

}  // namespace

TEST_CASE("a file that may not be read or written is an io error") {
    TempFolder folder;
    fs::permissions(folder.path(), fs::perms::all);
    make_database(folder.file("unreadable.emdb"));
    make_database(folder.file("read-only.emdb"));
    fs::permissions(folder.file("unreadable.emdb"), fs::perms::none);
    fs::permissions(folder.file("read-only.emdb"),
                    fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read);
    const auto before = state_of(folder);
    CHECK(as_ordinary_user(folder, [] { return refusal("unreadable.emdb", "io", EACCES); }) == "");
    CHECK(as_ordinary_user(folder, [] { return refusal("read-only.emdb", "io", EACCES); }) == "");
    CHECK((state_of(folder) == before));
    fs::permissions(folder.file("unreadable.emdb"), fs::perms::owner_all);
    fs::permissions(folder.file("read-only.emdb"), fs::perms::owner_all);
    check_is_intact(folder.file("unreadable.emdb"));
    check_is_intact(folder.file("read-only.emdb"));
}

TEST_CASE("a directory that may not be written takes no new database") {
    TempFolder folder;
    const auto read_and_search = fs::perms::owner_read | fs::perms::owner_exec | fs::perms::group_read |
                                 fs::perms::group_exec | fs::perms::others_read | fs::perms::others_exec;
    fs::permissions(folder.path(), read_and_search);
    CHECK(as_ordinary_user(folder, [] { return refusal("new.emdb", "io", EACCES); }) == "");
    CHECK(state_of(folder).empty());
    fs::permissions(folder.path(), fs::perms::owner_all);
}

TEST_CASE("a database open in another process is already_locked, and the message says by whom") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    make_database(path);
    WaitingChild child([&] { return Emdb::open(path).value(); });
    const auto before = state_of(folder);
    const auto refused = Emdb::open(path);
    CHECK(outcome(refused) == "already_locked");
    check_message(refused.error(), path);
    CHECK(refused.error().message().find(std::to_string(child.pid())) != std::string::npos);
    const auto holder = Emdb::lock_holder(path).value();
    REQUIRE(holder);
    CHECK(holder->pid == static_cast<std::uint32_t>(child.pid()));
    CHECK(outcome(Emdb::break_lock(path)) == "already_locked");
    CHECK((state_of(folder) == before));
    child.end(0);
    check_is_intact(path);
}

TEST_CASE("a refused second open does not weaken the first one's lock") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    auto db = Emdb::open(path).value();
    CHECK(outcome(Emdb::open(path)) == "already_locked");
    static_cast<void>(Emdb::lock_holder(path));
    CHECK(in_child([&] { return outcome(Emdb::open(path)); }) == "already_locked");
}

TEST_CASE("a holder that was killed leaves a lock file that keeps nobody out") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    make_database(path);
    for (const bool broken_first : {false, true}) {
        CAPTURE(broken_first);
        WaitingChild child([&] {
            auto db = Emdb::open(path).value();
            db.insert("key 1", "value 1").value();
            return db;
        });
        child.end(SIGKILL);
        CHECK(fs::exists(path + ".lock"));
        CHECK_FALSE(Emdb::lock_holder(path).value().has_value());
        if (broken_first) {
            CHECK(outcome(Emdb::break_lock(path)) == "success");
            CHECK_FALSE(fs::exists(path + ".lock"));
        }
        check_is_intact(path);
    }
}

TEST_CASE("a forked child's use of an inherited handle answers stopped, and leaves the parent's database alone") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    make_database(path);
    std::optional<Emdb> db = Emdb::open(path).value();
    std::optional<emdb::Namespace> names = db->open_namespace("names").value();
    db->insert("key 1", "value 1").value();
    const auto ref = *db->get_zerocopy("key 2").value();
    auto records = db->iter().value();
    const auto before = state_of(folder);
    const auto in_the_child = [&] {
        Wrongs wrongs;
        const auto keep = [](auto) { return std::optional<std::string>("never"); };
        const std::vector<emdb::Record> pairs = {{"never", "never"}};
        wrongs.expect_equal(outcome(db->get("key 1")), "stopped", "get");
        wrongs.expect_equal(outcome(db->get_zerocopy("key 1")), "stopped", "get_zerocopy");
        wrongs.expect_equal(outcome(db->get_many({"key 1"})), "stopped", "get_many");
        wrongs.expect_equal(outcome(db->contains_key("key 1")), "stopped", "contains_key");
        wrongs.expect_equal(outcome(db->len()), "stopped", "len");
        wrongs.expect_equal(outcome(db->iter()), "stopped", "iter");
        wrongs.expect_equal(outcome(db->insert("never", "never")), "stopped", "insert");
        wrongs.expect_equal(outcome(db->remove("key 1")), "stopped", "remove");
        wrongs.expect_equal(outcome(db->update("key 1", keep)), "stopped", "update");
        wrongs.expect_equal(outcome(db->insert_many(pairs)), "stopped", "insert_many");
        wrongs.expect_equal(outcome(db->clear()), "stopped", "clear");
        wrongs.expect_equal(outcome(db->transaction([](emdb::Transaction& tx) { return tx.insert("never", "n"); })),
                            "stopped", "transaction");
        wrongs.expect_equal(outcome(db->flush()), "stopped", "flush");
        wrongs.expect_equal(outcome(db->stats()), "stopped", "stats");
        wrongs.expect_equal(outcome(db->open_namespace("never")), "stopped", "open_namespace");
        wrongs.expect_equal(outcome(db->drop_namespace("names")), "stopped", "drop_namespace");
        wrongs.expect_equal(outcome(names->insert("never", "never")), "stopped", "insert in a namespace");
        wrongs.expect_equal(outcome(names->get("never")), "stopped", "get in a namespace");
        wrongs.expect_equal(ref.to_string(), "value 2", "a ValueRef");
        wrongs.expect_equal(outcome(Emdb::open(path)), "already_locked", "opening the parent's file");
        static_cast<void>(db->close());
        names.reset();
        db.reset();
        // The child is free to open files of its own.
        auto own = Emdb::open(folder.file("child.emdb")).value();
        own.insert("k", "v").value();
        wrongs.expect(own.get("k").value() == "v", "a database of the child's own");
        own.close().value();
        std::error_code ignored;
        fs::remove(folder.file("child.emdb"), ignored);
        fs::remove(folder.file("child.emdb.meta"), ignored);
        fs::remove(folder.file("child.emdb.lock"), ignored);
        return wrongs.text();
    };
    CHECK(in_child(in_the_child) == "");
    CHECK((state_of(folder) == before));
    std::size_t seen = 0;
    for (const auto& record : records) seen += record.key.empty() ? 0u : 1u;
    CHECK(seen == 50);
    CHECK(outcome(Emdb::open(path)) == "already_locked");
    CHECK(in_child([&] { return outcome(Emdb::open(path)); }) == "already_locked");
    db->insert("key 0", "value 0").value();
    db->flush().value();
    names.reset();
    db.reset();
    check_is_intact(path);
}

TEST_CASE("a child that goes on living does not keep the parent's lock after the parent has closed") {
    TempFolder folder;
    const auto path = folder.file("a.emdb");
    auto db = Emdb::open(path).value();
    WaitingChild child([&] { return db; });
    CHECK(outcome(Emdb::open(path)) == "already_locked");
    db.close().value();
    CHECK(outcome(Emdb::open(path)) == "success");
}

// --- limits and full disks

TEST_CASE("without file descriptors left, opening is an io error, and an open database goes on") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    make_database(folder.file("b.emdb"));
    const std::string whole = read_file(folder.file("a.emdb"));
    const std::string said = in_child([&] {
        Wrongs wrongs;
        auto open_before = Emdb::open(folder.file("b.emdb")).value();
        const int next = ::dup(0);
        ::close(next);
        {
            const ScopedLimit limit(RLIMIT_NOFILE, static_cast<rlim_t>(next));
            for (const std::string& path : {folder.file("a.emdb"), folder.file("new.emdb")}) {
                const auto refused = Emdb::open(path);
                wrongs.expect_equal(outcome(refused), "io", path);
                if (refused) continue;
                wrongs.expect_equal(std::to_string(refused.error().os_error()), std::to_string(EMFILE), "os_error");
                wrongs.expect(refused.error().message().find(path) != std::string::npos,
                              "no path in: " + refused.error().message());
            }
            for (int i = 0; i < 300; ++i)
                open_before.insert("more " + std::to_string(i), std::string(20'000, 'x')).value();
            open_before.flush().value();
            wrongs.expect(open_before.get("key 7").value() == "value 7", "reading goes on");
            for (int i = 0; i < 300; ++i) open_before.remove("more " + std::to_string(i)).value();
        }
        wrongs.expect(!fs::exists(folder.file("new.emdb")), "no new file");
        wrongs.expect(Emdb::open(folder.file("a.emdb")).value().len().value() == 50, "opens afterwards");
        return wrongs.text();
    });
    CHECK(said == "");
    CHECK((read_file(folder.file("a.emdb")) == whole));
    check_is_intact(folder.file("a.emdb"));
    check_is_intact(folder.file("b.emdb"));
}

#if defined(__linux__) && !defined(ADDRESS_SPACE_IS_THE_SANITIZERS)
namespace {

// Bytes of address space this process has.
rlim_t address_space() {
    std::ifstream statm("/proc/self/statm");
    rlim_t pages = 0;
    statm >> pages;
    return pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_CASE("a database works in a limited address space, or says io: it does not crash") {
    TempFolder folder;
    make_database(folder.file("a.emdb"));
    const std::string whole = read_file(folder.file("a.emdb"));
    for (rlim_t room_mib = 1; room_mib <= 1024; room_mib *= 2) {
        CAPTURE(room_mib);
        write_file(folder.file("b.emdb"), whole);
        const std::string said = in_child([&]() -> std::string {
            const ScopedLimit limit(RLIMIT_AS, address_space() + (room_mib << 20));
            auto opened = Emdb::open(folder.file("b.emdb"));
            if (!opened) return outcome(opened);
            Wrongs wrongs;
            wrongs.expect(opened->get("key 7").value() == "value 7", "a read");
            const std::string value(10'000, 'x');
            std::string written = "success";
            for (int i = 0; i < 1000 && written == "success"; ++i)
                written = outcome(opened->insert("more " + std::to_string(i), value));
            wrongs.expect(written == "success" || written == "io", "inserting says " + written);
            wrongs.expect(opened->get("key 7").value() == "value 7", "a read afterwards");
            return wrongs.text().empty() ? written : wrongs.text();
        });
        // 10 MB of records need no more than a few times that.
        if (room_mib >= 256) {
            CHECK(said == "success");
        } else {
            const bool understood = said == "success" || said == "io";
            CAPTURE(said);
            CHECK(understood);
        }
        auto db = Emdb::open(folder.file("b.emdb")).value();
        CHECK(db.get("key 7").value() == "value 7");
    }
}
#endif

namespace {

// Fills a database until a write fails, with what must hold then and after reopening with room made.
template <class MakeRoom>
std::string fill_up(const std::string& path, AppendMode mode, int os_error, MakeRoom&& make_room) {
    Wrongs wrongs;
    const auto key_of = [](std::size_t i) { return "key " + std::to_string(i); };
    const auto value_of = [](std::size_t i) { return std::string(9'000 + i, static_cast<char>('a' + i % 26)); };
    const auto check_contents = [&](const Emdb& db, std::size_t acknowledged, const std::string& when) {
        std::size_t missing = 0;
        for (std::size_t i = 0; i < acknowledged; ++i) missing += db.get(key_of(i)).value() == value_of(i) ? 0u : 1u;
        wrongs.expect_equal(std::to_string(missing), "0", "acknowledged records lost or changed " + when);
        // The one that failed may be there, but then whole.
        const auto doubtful = db.get(key_of(acknowledged)).value();
        wrongs.expect(!doubtful || *doubtful == value_of(acknowledged), "half a record " + when);
        const std::size_t count = db.len().value();
        wrongs.expect(count == acknowledged || count == acknowledged + 1,
                      "len() is " + std::to_string(count) + " " + when);
    };

    std::size_t acknowledged = 0;
    {
        auto db = Emdb::builder().path(path).append_mode(mode).build().value();
        Result<void> failed;
        while (acknowledged < 10'000 && (failed = db.insert(key_of(acknowledged), value_of(acknowledged))))
            ++acknowledged;
        if (failed) return "it never got full";
        wrongs.expect(acknowledged > 50, "full after " + std::to_string(acknowledged));
        wrongs.expect_equal(outcome(failed), "io", "the write that found no room");
        wrongs.expect_equal(std::to_string(failed.error().os_error()), std::to_string(os_error), "os_error");
        wrongs.expect(failed.error().message().find(path) != std::string::npos,
                      "no path in: " + failed.error().message());
        check_contents(db, acknowledged, "after the failure");

        // From here on either every write is refused, or each is tried anew; in no case is one half done.
        bool poisoned = false;
        for (int i = 0; i < 5; ++i) {
            const std::string large = outcome(db.insert("large", std::string(20'000'000, 'x')));
            wrongs.expect(large == "poisoned" || (!poisoned && large == "io"), "a larger write says " + large);
            poisoned = poisoned || large == "poisoned";
        }
        const std::string flushed = outcome(db.flush());
        wrongs.expect(flushed == "poisoned" || (!poisoned && (flushed == "success" || flushed == "io")),
                      "flush says " + flushed);
        check_contents(db, acknowledged, "after more failures");
        static_cast<void>(db.close());
    }
    if (auto still_full = Emdb::builder().path(path).append_mode(mode).build()) {
        check_contents(*still_full, acknowledged, "after reopening without room");
        static_cast<void>(still_full->close());
    } else {
        wrongs.expect_equal(outcome(still_full), "io", "reopening without room");
    }
    make_room();
    for (const char* when : {"after reopening with room", "after reopening once more"}) {
        auto db = Emdb::builder().path(path).append_mode(mode).build().value();
        db.remove("afterwards").value();
        check_contents(db, acknowledged, when);
        for (int i = 0; i < 100; ++i) db.insert("afterwards", std::string(10'000, 'x')).value();
        db.flush().value();
        db.close().value();
    }
    return wrongs.text();
}

}  // namespace

TEST_CASE("a file at the size limit of its process is like a full disk") {
    for (const AppendMode mode : {AppendMode::automatic, AppendMode::pwrite}) {
        CAPTURE(static_cast<int>(mode));
        TempFolder folder;
        const std::string said = in_child([&] {
            ::signal(SIGXFSZ, SIG_IGN);
            std::optional<ScopedLimit> limit(std::in_place, RLIMIT_FSIZE, rlim_t{5'000'000});
            return fill_up(folder.file("a.emdb"), mode, EFBIG, [&] { limit.reset(); });
        });
        CHECK(said == "");
    }
}

#if defined(__linux__)
namespace {

// Runs f(folder) in a child with a small file system of its own, which ends with the child however that ends.
template <class F>
std::string on_small_disk(const TempFolder& folder, F&& f) {
    return in_child([&]() -> std::string {
        const std::string disk = folder.file("disk");
        fs::create_directory(disk);
        if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=12m") != 0) {
            return "no mount";
        }
        return f(disk);
    });
}

}  // namespace

TEST_CASE("a full disk is an io error, reads go on, and with space freed a reopened database works") {
    for (const AppendMode mode : {AppendMode::automatic, AppendMode::pwrite}) {
        CAPTURE(static_cast<int>(mode));
        TempFolder folder;
        const std::string said = on_small_disk(folder, [&](const std::string& disk) {
            const std::string ballast = disk + "/ballast";
            write_file(ballast, std::string(6 << 20, 'b'));
            return fill_up(disk + "/a.emdb", mode, ENOSPC, [&] { fs::remove(ballast); });
        });
        if (said == "no mount") {
            MESSAGE("skipped: mounting a small disk takes root");
            return;
        }
        CHECK(said == "");
    }
}

TEST_CASE("a transaction, a batch or a namespace that finds the disk full leaves nothing of itself") {
    for (const AppendMode mode : {AppendMode::automatic, AppendMode::pwrite}) {
        CAPTURE(static_cast<int>(mode));
        TempFolder folder;
        const std::string said = on_small_disk(folder, [&](const std::string& disk) {
            Wrongs wrongs;
            const std::string path = disk + "/a.emdb";
            {
                auto db = Emdb::builder().path(path).append_mode(mode).build().value();
                db.insert("k", "old").value();
                const auto refused = db.transaction([](emdb::Transaction& tx) -> Result<void> {
                    tx.insert("k", "new").value();
                    for (int i = 0; i < 20; ++i)
                        tx.insert("t" + std::to_string(i), std::string(1'000'000, 'x')).value();
                    return {};
                });
                wrongs.expect_equal(outcome(refused), "io", "the transaction");
                wrongs.expect(db.get("k").value() == "old" && db.len().value() == 1, "the old state goes on");
                static_cast<void>(db.close());
            }
            auto db = Emdb::open(path).value();
            wrongs.expect(db.get("k").value() == "old" && db.len().value() == 1, "the old state after reopening");
            return wrongs.text();
        });
        if (said == "no mount") return;
        CHECK(said == "");
    }
}

TEST_CASE("a new database on a full disk is an io error, and leaves no file") {
    TempFolder folder;
    const std::string said = on_small_disk(folder, [&](const std::string& disk) {
        Wrongs wrongs;
        write_file(disk + "/ballast", std::string(13 << 20, 'b'));  // as much of it as there is room for
        const auto refused = Emdb::open(disk + "/a.emdb");
        wrongs.expect_equal(outcome(refused), "io", "opening");
        if (!refused) {
            wrongs.expect_equal(std::to_string(refused.error().os_error()), std::to_string(ENOSPC), "os_error");
            wrongs.expect(refused.error().message().find(disk + "/a.emdb") != std::string::npos,
                          refused.error().message());
        }
        for (const auto& entry : fs::directory_iterator(disk)) {
            wrongs.expect(entry.path().filename() == "ballast", "left behind: " + entry.path().string());
        }
        fs::remove(disk + "/ballast");
        wrongs.expect_equal(outcome(Emdb::open(disk + "/a.emdb")), "success", "with room");
        return wrongs.text();
    });
    if (said == "no mount") return;
    CHECK(said == "");
}
#endif  // __linux__

#endif  // !_WIN32

}  // namespace emdb_test
