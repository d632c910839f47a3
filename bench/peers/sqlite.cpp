// SQLite, a connection a thread.

#include <sqlite3.h>

#include "driver.hpp"

namespace peers {

class Connection {
  public:
    Connection(const std::filesystem::path& file, const Settings& settings) {
        check(sqlite3_open_v2(file.c_str(), &handle_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                              nullptr));
        sqlite3_busy_timeout(handle_, 60'000);
        run("PRAGMA journal_mode=WAL");
        run("PRAGMA synchronous=OFF");
        if (settings.memory_limit == 0) run("PRAGMA mmap_size=" + std::to_string(std::size_t{1} << 40));
        run("PRAGMA cache_size=-" + std::to_string(settings.cache_bytes() / 1024));
        run("CREATE TABLE IF NOT EXISTS records (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID");
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() { sqlite3_close_v2(handle_); }

    void run(const std::string& sql) { check(sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr)); }
    void check(int code) const {
        if (code != SQLITE_OK) throw std::runtime_error(std::string("SQLite: ") + sqlite3_errmsg(handle_));
    }
    sqlite3* handle() const { return handle_; }

  private:
    sqlite3* handle_ = nullptr;
};

class Statement {
  public:
    Statement(Connection& connection, const char* sql) : connection_(connection) {
        connection.check(
            sqlite3_prepare_v3(connection.handle(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr));
    }
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;
    ~Statement() { sqlite3_finalize(statement_); }

    void bind(int at, Bytes bytes) {
        connection_.check(sqlite3_bind_blob64(statement_, at, bytes.data(), bytes.size(), SQLITE_STATIC));
    }
    void bind(int at, std::size_t number) {
        connection_.check(sqlite3_bind_int64(statement_, at, static_cast<sqlite3_int64>(number)));
    }
    /// Whether there is a row.
    bool step() {
        const int code = sqlite3_step(statement_);
        if (code == SQLITE_ROW) return true;
        if (code != SQLITE_DONE) connection_.check(code);
        return false;
    }
    Bytes column(int at) const {
        const auto* const data = static_cast<const char*>(sqlite3_column_blob(statement_, at));
        return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, at))};
    }
    void reset() { sqlite3_reset(statement_); }
    void run() {
        step();
        reset();
    }

  private:
    Connection& connection_;
    sqlite3_stmt* statement_ = nullptr;
};

class SqliteSession : public Session {
  public:
    SqliteSession(const std::filesystem::path& file, const Settings& settings) : connection_(file, settings) {}

    void put(Bytes key, Bytes value) override {
        ask_for_syncs(false);
        write(key, value);
    }
    void put_durable(Bytes key, Bytes value) override {
        ask_for_syncs(true);
        write(key, value);
    }
    void put_batch_durable(std::span<const Pair> pairs) override { put_batch(true, pairs); }
    void put_batch(bool durable, std::span<const Pair> pairs) {
        ask_for_syncs(durable);
        begin_.run();
        for (const auto& [key, value] : pairs) write(key, value);
        commit_.run();
    }
    std::optional<Bytes> get(Bytes key) override {
        get_.bind(1, key);
        const bool found = get_.step();
        if (found) buffer_.assign(get_.column(0));
        get_.reset();
        if (!found) return std::nullopt;
        return buffer_;
    }
    void remove(Bytes key) override {
        ask_for_syncs(false);
        remove_.bind(1, key);
        remove_.run();
    }
    std::size_t scan(Bytes start, std::size_t count, ScanSum& sum) override {
        scan_.bind(1, start);
        scan_.bind(2, count);
        std::size_t seen = 0;
        for (; scan_.step(); ++seen) sum.add(scan_.column(0), scan_.column(1));
        scan_.reset();
        return seen;
    }
    void begin_reads() override { begin_reading_.run(); }
    void end_reads() override { commit_.run(); }
    void read_modify_write(Bytes key, Bytes value) override {
        ask_for_syncs(false);
        begin_.run();
        get(key);
        write(key, value);
        commit_.run();
    }

  private:
    void write(Bytes key, Bytes value) {
        put_.bind(1, key);
        put_.bind(2, value);
        put_.run();
    }
    void ask_for_syncs(bool wanted) {
        if (wanted == syncs_) return;
        connection_.run(wanted ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=OFF");
        syncs_ = wanted;
    }

    Connection connection_;
    bool syncs_ = false;
    Statement put_{connection_, "INSERT OR REPLACE INTO records VALUES (?1, ?2)"};
    Statement get_{connection_, "SELECT value FROM records WHERE key = ?1"};
    Statement remove_{connection_, "DELETE FROM records WHERE key = ?1"};
    Statement scan_{connection_, "SELECT key, value FROM records WHERE key >= ?1 ORDER BY key LIMIT ?2"};
    Statement begin_{connection_, "BEGIN IMMEDIATE"};
    Statement begin_reading_{connection_, "BEGIN"};
    Statement commit_{connection_, "COMMIT"};
    std::string buffer_;
};

class Sqlite : public Engine {
  public:
    std::string version() const override { return std::string("SQLite ") + sqlite3_libversion(); }
    std::string about() const override {
        return "WAL; one WITHOUT ROWID table; synchronous=FULL for durable writes, OFF for others; mapped, page cache "
               "for all data; prepared statements; "
               "loads in one transaction; compaction is VACUUM and a checkpoint that truncates the WAL";
    }

    void open(const Settings& settings) override {
        settings_ = settings;
        std::filesystem::create_directories(settings.folder);
        own_ = std::make_unique<Connection>(file(), settings);
    }
    std::unique_ptr<Session> session() override { return std::make_unique<SqliteSession>(file(), settings_); }
    void load(std::span<const Pair> pairs) override { SqliteSession(file(), settings_).put_batch(false, pairs); }
    void sync() override {
        own_->run("PRAGMA synchronous=FULL");
        own_->run("PRAGMA wal_checkpoint(TRUNCATE)");
    }
    void compact() override {
        own_->run("VACUUM");
        sync();
    }
    void close() override { own_.reset(); }

  private:
    std::filesystem::path file() const { return settings_.folder / "data.sqlite"; }
    Settings settings_;
    std::unique_ptr<Connection> own_;
};

std::unique_ptr<Engine> make_engine(const std::string&) { return std::make_unique<Sqlite>(); }

}  // namespace peers
