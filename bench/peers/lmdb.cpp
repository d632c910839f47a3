// LMDB, through its C interface.

#include <fcntl.h>
#include <lmdb.h>
#include <unistd.h>

#include "driver.hpp"

namespace peers {

static void done(int code, const char* what) {
    if (code != 0) throw std::runtime_error(std::string("LMDB: ") + what + ": " + mdb_strerror(code));
}

static MDB_val as_value(Bytes bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }
static Bytes as_bytes(const MDB_val& value) { return {static_cast<const char*>(value.mv_data), value.mv_size}; }

class LmdbSession : public Session {
  public:
    LmdbSession(MDB_env* environment, MDB_dbi database) : environment_(environment), database_(database) {
        done(mdb_txn_begin(environment, nullptr, MDB_RDONLY, &reading_), "begin");
        done(mdb_cursor_open(reading_, database, &cursor_), "open a cursor");
        mdb_txn_reset(reading_);
    }
    ~LmdbSession() override {
        mdb_cursor_close(cursor_);
        mdb_txn_abort(reading_);
    }

    void put(Bytes key, Bytes value) override { write_one(false, {key, value}); }
    void put_durable(Bytes key, Bytes value) override { write_one(true, {key, value}); }
    void put_batch_durable(std::span<const Pair> pairs) override { write(true, pairs); }
    void write(bool durable, std::span<const Pair> pairs) {
        MDB_txn* const transaction = begin(durable);
        for (const auto& [key, value] : pairs) put_in(transaction, key, value);
        done(mdb_txn_commit(transaction), "commit");
    }
    std::optional<Bytes> get(Bytes key) override {
        if (!bracketed_) done(mdb_txn_renew(reading_), "renew");
        MDB_val wanted = as_value(key), value{};
        const int code = mdb_get(reading_, database_, &wanted, &value);
        if (code == 0) buffer_.assign(as_bytes(value));
        if (!bracketed_) mdb_txn_reset(reading_);
        if (code == MDB_NOTFOUND) return std::nullopt;
        done(code, "get");
        return buffer_;
    }
    void remove(Bytes key) override {
        MDB_txn* const transaction = begin(false);
        MDB_val wanted = as_value(key);
        done(mdb_del(transaction, database_, &wanted, nullptr), "delete");
        done(mdb_txn_commit(transaction), "commit");
    }
    std::size_t scan(Bytes start, std::size_t count, ScanSum& sum) override {
        if (!bracketed_) {
            done(mdb_txn_renew(reading_), "renew");
            done(mdb_cursor_renew(reading_, cursor_), "renew a cursor");
        }
        MDB_val key = as_value(start), value{};
        std::size_t seen = 0;
        int code = mdb_cursor_get(cursor_, &key, &value, MDB_SET_RANGE);
        while (code == 0) {
            sum.add(as_bytes(key), as_bytes(value));
            if (++seen == count) break;
            code = mdb_cursor_get(cursor_, &key, &value, MDB_NEXT);
        }
        if (!bracketed_) mdb_txn_reset(reading_);
        if (code != MDB_NOTFOUND) done(code, "scan");
        return seen;
    }
    void begin_reads() override {
        done(mdb_txn_renew(reading_), "renew");
        done(mdb_cursor_renew(reading_, cursor_), "renew a cursor");
        bracketed_ = true;
    }
    void end_reads() override {
        mdb_txn_reset(reading_);
        bracketed_ = false;
    }
    void read_modify_write(Bytes key, Bytes value) override {
        MDB_txn* const transaction = begin(false);
        MDB_val wanted = as_value(key), found{};
        if (mdb_get(transaction, database_, &wanted, &found) == 0) buffer_.assign(as_bytes(found));
        put_in(transaction, key, value);
        done(mdb_txn_commit(transaction), "commit");
    }

  private:
    /// Whether a commit syncs is a property of the environment. All threads of a workload want the same.
    MDB_txn* begin(bool durable) {
        unsigned flags = 0;
        done(mdb_env_get_flags(environment_, &flags), "get flags");
        if (durable == ((flags & MDB_NOSYNC) != 0))
            done(mdb_env_set_flags(environment_, MDB_NOSYNC, durable ? 0 : 1), "set flags");
        MDB_txn* transaction = nullptr;
        done(mdb_txn_begin(environment_, nullptr, 0, &transaction), "begin");
        return transaction;
    }
    void put_in(MDB_txn* transaction, Bytes key, Bytes value) {
        MDB_val k = as_value(key), v = as_value(value);
        done(mdb_put(transaction, database_, &k, &v, 0), "put");
    }
    void write_one(bool durable, const Pair& pair) { write(durable, std::span(&pair, 1)); }

    MDB_env* environment_;
    MDB_dbi database_;
    MDB_txn* reading_ = nullptr;
    MDB_cursor* cursor_ = nullptr;
    bool bracketed_ = false;
    std::string buffer_;
};

class Lmdb : public Engine {
  public:
    explicit Lmdb(bool maps_for_writing) : maps_for_writing_(maps_for_writing) {}
    ~Lmdb() override { close(); }
    std::string version() const override {
        return "LMDB " + std::to_string(MDB_VERSION_MAJOR) + "." + std::to_string(MDB_VERSION_MINOR) + "." +
               std::to_string(MDB_VERSION_PATCH);
    }
    std::string about() const override {
        return std::string(maps_for_writing_ ? "MDB_WRITEMAP" : "defaults") +
               "; a transaction a write, with MDB_NOSYNC set where no sync is asked for; loads in one such "
               "transaction; a snapshot is renewed for each read, kept while nobody writes; MDB_NORDAHEAD where memory "
               "is short; compaction is mdb_env_copy2 "
               "with MDB_CP_COMPACT, fdatasync and rename";
    }

    void open(const Settings& settings) override {
        settings_ = settings;
        std::filesystem::create_directories(settings.folder);
        done(mdb_env_create(&environment_), "create");
        done(mdb_env_set_mapsize(environment_, std::max<std::size_t>(std::size_t{1} << 30, settings.data_bytes() * 8)),
             "set the map's size");
        done(mdb_env_open(environment_, settings.folder.c_str(),
                          (maps_for_writing_ ? MDB_WRITEMAP : 0U) | (settings.memory_limit != 0 ? MDB_NORDAHEAD : 0U) |
                              MDB_NOTLS,
                          0600),
             "open");
        MDB_txn* transaction = nullptr;
        done(mdb_txn_begin(environment_, nullptr, 0, &transaction), "begin");
        done(mdb_dbi_open(transaction, nullptr, 0, &database_), "open the database");
        done(mdb_txn_commit(transaction), "commit");
    }
    std::unique_ptr<Session> session() override { return std::make_unique<LmdbSession>(environment_, database_); }
    void load(std::span<const Pair> pairs) override { LmdbSession(environment_, database_).write(false, pairs); }
    void sync() override { done(mdb_env_sync(environment_, 1), "sync"); }
    void compact() override {
        const std::filesystem::path copy = settings_.folder / "compact";
        std::filesystem::create_directory(copy);
        done(mdb_env_copy2(environment_, copy.c_str(), MDB_CP_COMPACT), "copy");
        const int file = ::open((copy / "data.mdb").c_str(), O_RDWR | O_CLOEXEC);
        if (file < 0 || fdatasync(file) != 0) throw std::runtime_error("cannot sync LMDB's copy");
        ::close(file);
        close();
        std::filesystem::rename(copy / "data.mdb", settings_.folder / "data.mdb");
        std::filesystem::remove_all(copy);
        open(settings_);
    }
    void close() override {
        if (environment_ != nullptr) mdb_env_close(environment_);
        environment_ = nullptr;
    }

  private:
    Settings settings_;
    bool maps_for_writing_;
    MDB_env* environment_ = nullptr;
    MDB_dbi database_ = 0;
};

std::unique_ptr<Engine> make_engine(const std::string& variant) {
    return std::make_unique<Lmdb>(variant == "writemap");
}

}  // namespace peers
