// Processes and names on Windows: openers that race for a database, writers that are ended in the middle of it, and renames that were
// cut off. The children are this very program, told which of its test cases to be.
//
// EMDB_KILLS=n   how many writers are ended (25)
// EMDB_SEED=n    seed of the moments; the scheduler has its say, so a failure need not repeat

#define EMDB_ENCRYPT 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/database_contents.hpp"
#include "support/simulated_media.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

namespace fs = std::filesystem;
using emdb::Emdb;
using emdb::detail::WindowsHandle;

std::string variable(const char* name) { return emdb::detail::environment_variable(name); }
void set_variable(const char* name, const std::string& value) {
    REQUIRE(SetEnvironmentVariableW(emdb::detail::to_utf16(name).c_str(), emdb::detail::to_utf16(value).c_str()));
}
std::uint64_t number_from(const char* name, std::uint64_t fallback) {
    const std::string text = variable(name);
    return text.empty() ? fallback : std::strtoull(text.c_str(), nullptr, 10);
}

/// A number in a file, which outlives whoever writes it.
class Counter {
public:
    explicit Counter(const std::string& path)
        : handle_(CreateFileW(emdb::detail::to_utf16(path).c_str(), GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, nullptr,
                              OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, nullptr)) {
        if (!handle_) std::abort();
    }
    void set(std::uint64_t value) const {
        OVERLAPPED at{};
        DWORD done = 0;
        if (!WriteFile(handle_.get(), &value, sizeof value, &done, &at)) std::abort();
    }
    std::uint64_t get() const {
        std::uint64_t value = 0;
        OVERLAPPED at{};
        DWORD done = 0;
        return ReadFile(handle_.get(), &value, sizeof value, &done, &at) && done == sizeof value ? value : 0;
    }

private:
    WindowsHandle handle_;
};

/// A running copy of this program that is one of the test cases below.
class Child {
public:
    explicit Child(const char* test_case) {
        std::wstring program(32'768, L'\0');
        program.resize(GetModuleFileNameW(nullptr, program.data(), static_cast<DWORD>(program.size())));
        std::wstring command = L"\"" + program + L"\" -ns -tc=\"" + emdb::detail::to_utf16(test_case) + L"\"";
        STARTUPINFOW start{};
        start.cb = sizeof start;
        PROCESS_INFORMATION made{};
        REQUIRE(CreateProcessW(nullptr, command.data(), nullptr, nullptr, FALSE, 0, nullptr, nullptr, &start, &made));
        CloseHandle(made.hThread);
        process_ = WindowsHandle(made.hProcess);
        id_ = made.dwProcessId;
    }
    DWORD id() const noexcept { return id_; }
    bool has_ended() const { return WaitForSingleObject(process_.get(), 0) == WAIT_OBJECT_0; }
    void kill() const {
        TerminateProcess(process_.get(), 9);
        WaitForSingleObject(process_.get(), INFINITE);
    }
    DWORD wait() const {
        if (WaitForSingleObject(process_.get(), 60'000) != WAIT_OBJECT_0) kill();
        DWORD status = 0;
        GetExitCodeProcess(process_.get(), &status);
        return status;
    }

private:
    WindowsHandle process_;
    DWORD id_ = 0;
};

class Event {
public:
    explicit Event(const std::string& name) : handle_(CreateEventW(nullptr, TRUE, FALSE, emdb::detail::to_utf16(name).c_str())) {
        if (!handle_) std::abort();
    }
    void set() const { SetEvent(handle_.get()); }
    void wait() const { WaitForSingleObject(handle_.get(), 60'000); }

private:
    WindowsHandle handle_;
};

// What a writer writes as its n-th record, three to a transaction.
std::string key_of(std::uint64_t n) { return "key " + std::to_string(n); }
std::string value_of(std::uint64_t n) { return std::to_string(n) + std::string(n % 50 == 0 ? 70'000 : n % 300, '.'); }
constexpr std::uint64_t in_transaction = 3;

emdb::EmdbBuilder builder_of(const std::string& path, bool encrypted) {
    emdb::EmdbBuilder builder = Emdb::builder();
    builder.path(path);
    if (encrypted) builder.encryption_key(std::array<std::byte, 32>{});
    return builder;
}

std::size_t files_in(const TempFolder& folder) {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("child: writes until it is ended" * doctest::skip()) {
    const Counter returned(variable("EMDB_CHILD_COUNTER"));
    auto db = builder_of(variable("EMDB_CHILD_PATH"), !variable("EMDB_CHILD_ENCRYPTED").empty()).build().value();
    std::optional<std::jthread> compacting;
    if (!variable("EMDB_CHILD_COMPACTS").empty()) {
        compacting.emplace([&](const std::stop_token& stop) {
            while (!stop.stop_requested()) db.compact().value();
        });
    }
    for (std::uint64_t n = returned.get();; n += in_transaction) {
        db.transaction([&](emdb::Transaction& transaction) -> emdb::Result<void> {
            for (std::uint64_t i = 1; i <= in_transaction; ++i) transaction.insert(key_of(n + i), value_of(n + i)).value();
            return {};
        }).value();
        returned.set(n + in_transaction);
        if (n % 500 == 0) db.flush().value();
    }
}

TEST_CASE("child: opens with others, says how it went, holds it" * doctest::skip()) {
    const Event start(variable("EMDB_CHILD_EVENT") + "start");
    const Event end(variable("EMDB_CHILD_EVENT") + "end");
    const Counter outcome(variable("EMDB_CHILD_COUNTER"));
    start.wait();
    auto db = Emdb::open(variable("EMDB_CHILD_PATH"));
    bool good = db.has_value();
    if (db) good = db->insert("by " + std::to_string(GetCurrentProcessId()), "v").has_value();
    outcome.set(good ? 'o' : !db && db.error() == emdb::ErrorCode::already_locked ? 'l' : 'e');
    end.wait();
}

TEST_CASE("every write that returned survives TerminateProcess, and transactions are whole") {
    const std::uint64_t seed = number_from("EMDB_SEED", 1);
    SeededRandom random(seed);
    std::uint64_t survived = 0;
    const std::uint64_t kills = number_from("EMDB_KILLS", 25);
    for (const bool encrypted : {false, true}) {
        TempFolder folder;
        const std::string path = folder.file("kill.emdb");
        set_variable("EMDB_CHILD_PATH", path);
        set_variable("EMDB_CHILD_COUNTER", folder.file("counter"));
        set_variable("EMDB_CHILD_ENCRYPTED", encrypted ? "1" : "");
        const Counter returned(folder.file("counter"));
        for (std::uint64_t round = 0; round < (kills + 1) / 2; ++round) {
            INFO("EMDB_SEED=", seed, ", round ", round, ", encrypted ", encrypted);
            set_variable("EMDB_CHILD_COMPACTS", round % 3 == 2 ? "1" : "");
            const std::uint64_t target = returned.get() + 1 + random.below(1500);
            {
                const Child child("child: writes until*");
                const auto begun = std::chrono::steady_clock::now();
                while (returned.get() < target && !child.has_ended()) {
                    REQUIRE(std::chrono::steady_clock::now() - begun < std::chrono::seconds(60));
                    std::this_thread::yield();
                }
                REQUIRE_FALSE(child.has_ended());
                child.kill();
            }
            const std::uint64_t count = returned.get();
            auto db = builder_of(path, encrypted).build().value();
            const std::uint64_t found = db.len().value();
            REQUIRE((found == count || found == count + in_transaction));
            std::uint64_t wrong = 0;
            for (std::uint64_t n = 1; n <= found; ++n) wrong += db.get(key_of(n)).value() != value_of(n);
            REQUIRE(wrong == 0);
            returned.set(found);
            survived = found;
            CHECK_FALSE(fs::exists(path + ".compact"));
        }
        emdb::VerifyOptions options;
        if (encrypted) options.encryption = emdb::EncryptionInput::key(std::array<std::byte, 32>{});
        CHECK(Emdb::verify(path, options).value().ok());
        MESSAGE(kills << " kills, " << survived << " records survived");
    }
}

TEST_CASE("of eight processes that open or create a database at once, one succeeds and the others are told that it is locked") {
    constexpr std::size_t openers = 8;
    for (std::size_t round = 0; round < 4; ++round) {
        TempFolder folder;
        const bool killed = round % 2 == 1;
        const std::string path = folder.file("a.emdb");
        if (round >= 2) Emdb::open(path).value().insert("k", "v").value();
        const std::string event = "emdb-test-" + std::to_string(GetCurrentProcessId()) + "-" + std::to_string(round) + "-";
        const Event start(event + "start");
        const Event end(event + "end");
        set_variable("EMDB_CHILD_PATH", path);
        set_variable("EMDB_CHILD_EVENT", event);
        std::vector<Counter> outcomes;
        std::vector<Child> children;
        for (std::size_t i = 0; i < openers; ++i) {
            set_variable("EMDB_CHILD_COUNTER", folder.file("outcome " + std::to_string(i)));
            outcomes.emplace_back(folder.file("outcome " + std::to_string(i)));
            children.emplace_back("child: opens*");
        }
        start.set();
        std::string said;
        for (std::size_t i = 0; i < openers; ++i) {
            while (outcomes[i].get() == 0 && !children[i].has_ended()) std::this_thread::yield();
            said += static_cast<char>(outcomes[i].get());
        }
        const auto holder = Emdb::lock_holder(path).value();
        CHECK(Emdb::open(path) == emdb::ErrorCode::already_locked);
        if (killed) {
            for (const Child& child : children) child.kill();
        }
        end.set();
        std::size_t holders = 0;
        for (const Child& child : children) {
            CHECK((child.wait() == 0 || killed));
            holders += holder && holder->pid == child.id();
        }
        CHECK(holders == 1);
        std::sort(said.begin(), said.end());
        CHECK(said == std::string(openers - 1, 'l') + "o");
        CHECK_FALSE(Emdb::lock_holder(path).value().has_value());
        CHECK(Emdb::open(path).value().len().value() == (round >= 2 ? 2 : 1));
    }
}

TEST_CASE("a database that was moved aside and never replaced comes back, and what was to replace it goes") {
    for (const bool rewritten : {false, true}) {
        TempFolder folder;
        const std::string path = folder.file("a.emdb");
        Emdb::open(path).value().insert("k", "v").value();
        if (rewritten) fs::copy_file(path, path + ".compact");
        fs::rename(path, path + ".old");
        CHECK(Emdb::open(path).value().get("k").value() == "v");
        CHECK(files_in(folder) == 2);  // with its checkpoint
    }
}

TEST_CASE("what a finished rename has left aside goes at the next opening") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    Emdb::open(path).value().insert("k", "v").value();
    for (const char* suffix : {".old", ".old1", ".old5"}) fs::copy_file(path, path + suffix);
    write_bytes(path + ".old2", "somebody else's");
    CHECK(Emdb::open(path).value().get("k").value() == "v");
    CHECK(files_in(folder) == 3);
    CHECK(read_bytes(path + ".old2") == "somebody else's");
}

TEST_CASE("compactions go on while values of every file before are still held") {
    TempFolder folder;
    const std::string path = folder.file("a.emdb");
    {
        auto db = Emdb::open(path).value();
        std::vector<emdb::ValueRef> held;
        for (int round = 0; round < 5; ++round) {
            db.insert("k", "value " + std::to_string(round)).value();
            held.push_back(db.get_zerocopy("k").value().value());
            db.compact().value();
        }
        for (std::size_t round = 0; round < held.size(); ++round) CHECK(held[round].as_string_view() == "value " + std::to_string(round));
    }
    CHECK(Emdb::open(path).value().get("k").value() == "value 4");
    CHECK(files_in(folder) == 2);
}

}  // namespace emdb_test
