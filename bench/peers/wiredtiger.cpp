// WiredTiger, a session a thread.

#include <wiredtiger.h>

#include "driver.hpp"

namespace peers {

static void done(int code, const char* what) {
    if (code != 0) throw std::runtime_error(std::string("WiredTiger: ") + what + ": " + wiredtiger_strerror(code));
}

class WiredTigerSession : public Session {
  public:
    explicit WiredTigerSession(WT_CONNECTION* connection) {
        done(connection->open_session(connection, nullptr, nullptr, &session_), "open a session");
        done(session_->create(session_, table, "key_format=u,value_format=u"), "create");
        done(session_->open_cursor(session_, table, nullptr, "overwrite=true", &cursor_), "open a cursor");
    }
    ~WiredTigerSession() override { session_->close(session_, nullptr); }

    void put(Bytes key, Bytes value) override {
        int code = insert(key, value);
        while (code == WT_ROLLBACK) code = insert(key, value);  // another thread was at the same key
        done(code, "insert");
    }
    void put_durable(Bytes key, Bytes value) override {
        const Pair pair(key, value);
        put_batch_durable(std::span(&pair, 1));
    }
    void put_batch_durable(std::span<const Pair> pairs) override {
        for (;;) {
            done(session_->begin_transaction(session_, nullptr), "begin");
            int code = 0;
            for (std::size_t i = 0; i < pairs.size() && code == 0; ++i) code = insert(pairs[i].first, pairs[i].second);
            if (code == 0) break;
            if (code != WT_ROLLBACK) done(code, "insert");
            done(session_->rollback_transaction(session_, nullptr), "roll back");
        }
        done(session_->commit_transaction(session_, "sync=on"), "commit");
    }
    std::optional<Bytes> get(Bytes key) override {
        set_key(key);
        const int code = cursor_->search(cursor_);
        if (code == WT_NOTFOUND) return std::nullopt;
        done(code, "search");
        WT_ITEM value{};
        done(cursor_->get_value(cursor_, &value), "get a value");
        buffer_.assign(as_bytes(value));
        done(cursor_->reset(cursor_), "reset");
        return buffer_;
    }
    void remove(Bytes key) override {
        set_key(key);
        done(cursor_->remove(cursor_), "remove");
    }
    std::size_t scan(Bytes start, std::size_t count, ScanSum& sum) override {
        set_key(start);
        int order = 0;
        int code = cursor_->search_near(cursor_, &order);
        if (code == 0 && order < 0) code = cursor_->next(cursor_);
        std::size_t seen = 0;
        for (; code == 0; code = cursor_->next(cursor_)) {
            WT_ITEM key{}, value{};
            done(cursor_->get_key(cursor_, &key), "get a key");
            done(cursor_->get_value(cursor_, &value), "get a value");
            sum.add(as_bytes(key), as_bytes(value));
            if (++seen == count) break;
        }
        if (code != WT_NOTFOUND) done(code, "next");
        done(cursor_->reset(cursor_), "reset");
        return seen;
    }
    void run(const char* what, int (*f)(WT_SESSION*)) { done(f(session_), what); }

  private:
    static constexpr const char* table = "table:records";
    static WT_ITEM as_item(Bytes bytes) {
        WT_ITEM item{};
        item.data = bytes.data();
        item.size = bytes.size();
        return item;
    }
    static Bytes as_bytes(const WT_ITEM& item) { return {static_cast<const char*>(item.data), item.size}; }
    int insert(Bytes key, Bytes value) {
        set_key(key);
        const WT_ITEM item = as_item(value);
        cursor_->set_value(cursor_, &item);
        return cursor_->insert(cursor_);
    }
    void set_key(Bytes key) {
        const WT_ITEM item = as_item(key);
        cursor_->set_key(cursor_, &item);
    }

    WT_SESSION* session_ = nullptr;
    WT_CURSOR* cursor_ = nullptr;
    std::string buffer_;
};

class WiredTiger : public Engine {
  public:
    ~WiredTiger() override {
        if (connection_ != nullptr) connection_->close(connection_, nullptr);
    }
    std::string version() const override { return WIREDTIGER_VERSION_STRING; }
    std::string about() const override {
        return "row store (B-tree), cache for all data, log on; autocommitted writes not synced, durable ones in a "
               "transaction committed with sync=on; loads by "
               "a cursor's insert (bulk cursors take sorted keys only); compaction is a checkpoint, session.compact "
               "and a checkpoint";
    }

    void open(const Settings& settings) override {
        std::filesystem::create_directories(settings.folder);
        const std::string config =
            "create,log=(enabled=true),session_max=64,cache_size=" +
            std::to_string(settings.memory_limit != 0 ? settings.cache_bytes() : settings.cache_bytes() * 3);
        done(wiredtiger_open(settings.folder.c_str(), nullptr, config.c_str(), &connection_), "open");
    }
    std::unique_ptr<Session> session() override { return std::make_unique<WiredTigerSession>(connection_); }
    void load(std::span<const Pair> pairs) override {
        WiredTigerSession session(connection_);
        for (const auto& [key, value] : pairs) session.put(key, value);
    }
    void sync() override {
        WiredTigerSession(connection_).run("sync the log", [](WT_SESSION* session) {
            return session->log_flush(session, "sync=on");
        });
    }
    void compact() override {
        WiredTigerSession session(connection_);
        const auto checkpoint = [](WT_SESSION* s) { return s->checkpoint(s, nullptr); };
        session.run("checkpoint", checkpoint);
        session.run("compact", [](WT_SESSION* s) { return s->compact(s, "table:records", nullptr); });
        session.run("checkpoint", checkpoint);
    }
    void close() override {
        WT_CONNECTION* const connection = std::exchange(connection_, nullptr);
        done(connection->close(connection, nullptr), "close");
    }

  private:
    WT_CONNECTION* connection_ = nullptr;
};

std::unique_ptr<Engine> make_engine(const std::string&) { return std::make_unique<WiredTiger>(); }

}  // namespace peers
