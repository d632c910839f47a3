// The sessions of a web service, as a small class over the database: logging in and out, sessions that end by themselves, "log me
// out everywhere", and a process that is killed in the middle of it. A realistic program rather than a tour; see ttl_cache and
// namespaces for the parts.
//
// What makes it sound: a session is two records (token -> user, and user/token for the way back), written in one transaction with
// one expiry. So they come, go and expire together, whatever happens to the process.
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#if !defined(_WIN32)
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace {

using namespace std::chrono_literals;

using Clock = std::shared_ptr<std::atomic<std::uint64_t>>;  // milliseconds since 1970, moved by hand so that nothing here waits

class SessionStore {
public:
    static constexpr auto lifetime = 30min;

    static emdb::Result<SessionStore> open(const std::filesystem::path& file, const Clock& clock) {
        auto db = emdb::Emdb::builder()
                      .path(file)
                      .enable_range_scans(true)  // for "all sessions of a user"
                      .clock([clock] { return clock->load(); })  // leave it out for the system's
                      .build();
        if (!db) return db.error();
        auto by_token = db->open_namespace("sessions by token");
        if (!by_token) return by_token.error();
        auto by_user = db->open_namespace("sessions by user");
        if (!by_user) return by_user.error();
        return SessionStore(*db, *by_token, *by_user);
    }

    /// The token of a new session. It survives the process being killed from here on; not a power cut: sessions are not worth a
    /// sync of the disk. Where they are, call db_.flush() or build with FlushPolicy::group().
    emdb::Result<std::string> log_in(const std::string& user) {
        const std::string token = random_token();
        auto stored = write(user, token);
        return stored ? emdb::Result<std::string>(token) : stored.error();
    }

    /// Whose session it is; nullopt: nobody's, or it has ended. Using a session gives it its whole lifetime again, but it is not
    /// written on each request: only when a tenth of its time is gone.
    emdb::Result<std::optional<std::string>> user_of(const std::string& token) {
        auto user = by_token_.get(token);
        if (!user || !*user) return user;
        const auto left = by_token_.ttl(token);
        if (!left) return left.error();
        if (*left && **left < lifetime - lifetime / 10) {
            if (auto renewed = write(**user, token); !renewed) return renewed.error();
        }
        return user;
    }

    emdb::Result<void> log_out(const std::string& token) {
        return db_.transaction([&](emdb::Transaction& tx) -> emdb::Result<void> {
            auto user = tx.in(by_token_).remove(token);
            if (!user) return user.error();
            if (!*user) return {};
            auto removed = tx.in(by_user_).remove(**user + "/" + token);
            return removed ? emdb::Result<void>() : removed.error();
        });
    }

    /// How many sessions the user had.
    emdb::Result<std::size_t> log_out_everywhere(const std::string& user) {
        const auto sessions = by_user_.range_prefix(user + "/");
        if (!sessions) return sessions.error();
        auto ended = db_.transaction([&](emdb::Transaction& tx) -> emdb::Result<void> {
            for (const emdb::Record& session : *sessions) {
                if (auto gone = tx.in(by_user_).remove(session.key); !gone) return gone.error();
                if (auto gone = tx.in(by_token_).remove(session.key.substr(user.size() + 1)); !gone) return gone.error();
            }
            return {};
        });
        return ended ? emdb::Result<std::size_t>(sessions->size()) : ended.error();
    }

    /// Takes what has expired out of memory and file; every few minutes, from any thread. Returns how many sessions have ended.
    emdb::Result<std::size_t> sweep() {
        auto swept = by_token_.sweep_expired();
        if (!swept) return swept;
        if (auto others = by_user_.sweep_expired(); !others) return others;
        return swept;
    }

    /// Both records of each session, or neither: what transactions promise.
    bool is_consistent() const {
        const auto tokens = by_token_.iter().value().collect().value();
        if (tokens.size() != by_user_.iter().value().collect().value().size()) return false;
        for (const emdb::Record& session : tokens) {
            if (!by_user_.contains_key(session.value + "/" + session.key).value()) return false;
        }
        return true;
    }

private:
    SessionStore(emdb::Emdb db, emdb::Namespace by_token, emdb::Namespace by_user)
        : db_(std::move(db)), by_token_(std::move(by_token)), by_user_(std::move(by_user)) {}

    emdb::Result<void> write(const std::string& user, const std::string& token) {
        return db_.transaction([&](emdb::Transaction& tx) -> emdb::Result<void> {
            const auto ends = emdb::Ttl::after(lifetime);
            if (auto stored = tx.in(by_token_).insert_with_ttl(token, user, ends); !stored) return stored;
            return tx.in(by_user_).insert_with_ttl(user + "/" + token, "", ends);
        });
    }

    // For real sessions take the system's generator of random numbers for keys.
    static std::string random_token() {
        std::random_device random;
        char text[33];
        std::snprintf(text, sizeof text, "%08x%08x%08x%08x", random(), random(), random(), random());
        return text;
    }

    emdb::Emdb db_;
    emdb::Namespace by_token_;
    emdb::Namespace by_user_;
};

bool an_ordinary_day(const std::filesystem::path& file) {
    const auto clock = std::make_shared<std::atomic<std::uint64_t>>(1'700'000'000'000);
    const auto wait = [&](std::chrono::milliseconds time) { *clock += static_cast<std::uint64_t>(time.count()); };
    auto store = SessionStore::open(file, clock).value();

    const std::string alice = store.log_in("alice").value();
    const std::string bob = store.log_in("bob").value();
    if (store.user_of(alice).value() != "alice" || store.user_of("made up").value()) return false;

    wait(20min);
    if (store.user_of(alice).value() != "alice") return false;  // active, so it goes on
    wait(20min);
    if (store.user_of(alice).value() != "alice" || store.user_of(bob).value()) return false;  // bob was not
    if (store.sweep().value() != 1) return false;

    for (int device = 0; device < 3; ++device) store.log_in("carol").value();
    if (store.log_out_everywhere("carol").value() != 3) return false;
    store.log_out(alice).value();
    return !store.user_of(alice).value() && store.is_consistent();
}

#if !defined(_WIN32)
// A process that logs people in, says each token once it has it, and is killed. Every session that it spoke of must be there.
bool a_crash(const std::filesystem::path& file) {
    const auto clock = std::make_shared<std::atomic<std::uint64_t>>(1'700'000'000'000);
    int ends[2];
    if (::pipe(ends) != 0) return false;
    const pid_t service = ::fork();
    if (service < 0) return false;
    if (service == 0) {
        ::close(ends[0]);
        auto store = SessionStore::open(file, clock).value();
        for (int user = 0;; ++user) {
            const std::string token = store.log_in("user " + std::to_string(user)).value();
            if (::write(ends[1], token.data(), token.size()) < 0) ::_exit(0);
        }
    }
    ::close(ends[1]);
    std::vector<std::string> tokens(1000, std::string(32, '\0'));
    bool spoke = true;
    for (std::string& token : tokens) {
        for (std::size_t got = 0; spoke && got < token.size();) {
            const ssize_t more = ::read(ends[0], token.data() + got, token.size() - got);
            spoke = more > 0;
            if (spoke) got += static_cast<std::size_t>(more);
        }
    }
    ::kill(service, SIGKILL);
    ::waitpid(service, nullptr, 0);
    ::close(ends[0]);
    if (!spoke) return false;

    auto store = SessionStore::open(file, clock).value();
    for (std::size_t user = 0; user < tokens.size(); ++user) {
        if (store.user_of(tokens[user]).value() != "user " + std::to_string(user)) return false;
    }
    std::printf("%zu sessions, none lost when the process was killed\n", tokens.size());
    return store.is_consistent();
}
#else
bool a_crash(const std::filesystem::path&) { return std::puts("no crash on this system: the example uses fork()"), true; }
#endif

}  // namespace

int main() {
    const auto folder = std::filesystem::temp_directory_path() / "emdb-example-session-store";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    const bool ok = an_ordinary_day(folder / "sessions.emdb") && a_crash(folder / "crashed.emdb");
    std::filesystem::remove_all(folder);
    std::puts(ok ? "ok" : "FAILED");
    return ok ? 0 : 1;
}
