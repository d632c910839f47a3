// Kyoto Cabinet: HashDB, or TreeDB as variant "tree".

#include <kcdbext.h>
#include <kchashdb.h>

#include "driver.hpp"

namespace peers {

/// HashDB and TreeDB share their interface by name only.
template <class Database> class KyotoSession : public Session {
  public:
    explicit KyotoSession(Database& database) : database_(database), buffer_(1 << 12, '\0') {}

    void put(Bytes key, Bytes value) override {
        check(database_.set(key.data(), key.size(), value.data(), value.size()));
    }
    void put_durable(Bytes key, Bytes value) override {
        put(key, value);
        check(database_.synchronize(true));
    }
    void put_batch_durable(std::span<const Pair> pairs) override {
        for (const auto& [key, value] : pairs) put(key, value);
        check(database_.synchronize(true));
    }
    std::optional<Bytes> get(Bytes key) override {
        for (;;) {
            const std::int32_t size = database_.get(key.data(), key.size(), buffer_.data(), buffer_.size());
            if (size < 0) return std::nullopt;
            if (static_cast<std::size_t>(size) <= buffer_.size())
                return Bytes(buffer_.data(), static_cast<std::size_t>(size));
            buffer_.resize(static_cast<std::size_t>(size));
        }
    }
    void remove(Bytes key) override { check(database_.remove(key.data(), key.size())); }
    std::size_t scan(Bytes start, std::size_t count, ScanSum& sum) override {
        if constexpr (std::is_same_v<Database, kyotocabinet::TreeDB>) {
            if (!cursor_) cursor_.reset(database_.cursor());
            std::size_t seen = 0;
            if (!cursor_->jump(start.data(), start.size())) return 0;
            while (seen < count) {
                std::size_t key_size = 0, value_size = 0;
                const char* value = nullptr;
                const std::unique_ptr<char[]> key(cursor_->get(&key_size, &value, &value_size, true));
                if (!key) break;
                sum.add(Bytes(key.get(), key_size), Bytes(value, value_size));
                ++seen;
            }
            return seen;
        } else {
            throw Unsupported("a hash table has no order");
        }
    }

  private:
    void check(bool done) {
        if (!done) throw std::runtime_error(std::string("Kyoto Cabinet: ") + database_.error().name());
    }
    Database& database_;
    std::string buffer_;
    std::unique_ptr<typename Database::Cursor> cursor_;
};

template <class Database> class Kyoto : public Engine {
  public:
    static constexpr bool ordered = std::is_same_v<Database, kyotocabinet::TreeDB>;

    ~Kyoto() override {
        if (database_) database_->close();
    }
    std::string version() const override { return std::string("Kyoto Cabinet ") + kyotocabinet::VERSION; }
    std::string about() const override {
        return std::string(ordered ? "TreeDB, TLINEAR, page cache for all data" : "HashDB") +
               ", two buckets a record, all of the file mapped; loads by set(); durable writes by set() and "
               "synchronize(true), which "
               "also writes a whole batch back; compaction is defrag() of everything and synchronize(true)";
    }
    bool can_scan() const override { return ordered; }

    void open(const Settings& settings) override {
        std::filesystem::create_directories(settings.folder);
        database_ = std::make_unique<Database>();
        const auto map =
            static_cast<std::int64_t>(std::max<std::size_t>(settings.data_bytes() * 2, std::size_t{64} << 20));
        if constexpr (ordered) {
            database_->tune_options(Database::TLINEAR);
            database_->tune_buckets(static_cast<std::int64_t>(settings.records / 10 + 1000));
            database_->tune_page_cache(static_cast<std::int64_t>(settings.cache_bytes()));
        } else {
            database_->tune_buckets(static_cast<std::int64_t>(settings.records * 2));
        }
        database_->tune_map(map);
        using kyotocabinet::BasicDB;
        check(database_->open((settings.folder / (ordered ? "data.kct" : "data.kch")).string(),
                              BasicDB::OWRITER | BasicDB::OCREATE));
    }
    std::unique_ptr<Session> session() override { return std::make_unique<KyotoSession<Database>>(*database_); }
    void load(std::span<const Pair> pairs) override {
        for (const auto& [key, value] : pairs)
            check(database_->set(key.data(), key.size(), value.data(), value.size()));
    }
    void sync() override { check(database_->synchronize(true)); }
    void compact() override {
        check(database_->defrag(0));
        sync();
    }
    void close() override {
        check(database_->close());
        database_.reset();
    }

  private:
    void check(bool done) {
        if (!done)
            throw std::runtime_error(std::string("Kyoto Cabinet: ") + database_->error().name() + ": " +
                                     database_->error().message());
    }
    std::unique_ptr<Database> database_;
};

std::unique_ptr<Engine> make_engine(const std::string& variant) {
    if (variant == "tree") return std::make_unique<Kyoto<kyotocabinet::TreeDB>>();
    return std::make_unique<Kyoto<kyotocabinet::HashDB>>();
}

}  // namespace peers
