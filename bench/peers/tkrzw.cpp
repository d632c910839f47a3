// Tkrzw: HashDBM, or TreeDBM as variant "tree".

#include <tkrzw_dbm_hash.h>
#include <tkrzw_dbm_tree.h>

#include "driver.hpp"

namespace peers {

static void check(const tkrzw::Status& status) {
    if (!status.IsOK()) throw std::runtime_error("Tkrzw: " + std::string(status));
}

template <class Database> class TkrzwSession : public Session {
  public:
    explicit TkrzwSession(Database& database) : database_(database) {}

    void put(Bytes key, Bytes value) override { check(database_.Set(key, value)); }
    void put_durable(Bytes key, Bytes value) override {
        check(database_.Set(key, value));
        check(database_.Synchronize(true));
    }
    void put_batch_durable(std::span<const Pair> pairs) override {
        for (const auto& [key, value] : pairs) check(database_.Set(key, value));
        check(database_.Synchronize(true));
    }
    std::optional<Bytes> get(Bytes key) override {
        const tkrzw::Status status = database_.Get(key, &buffer_);
        if (status == tkrzw::Status::NOT_FOUND_ERROR) return std::nullopt;
        check(status);
        return buffer_;
    }
    void remove(Bytes key) override { check(database_.Remove(key)); }
    std::size_t scan(Bytes start, std::size_t count, ScanSum& sum) override {
        if constexpr (std::is_same_v<Database, tkrzw::TreeDBM>) {
            if (!iterator_) iterator_ = database_.MakeIterator();
            check(iterator_->Jump(start));
            std::size_t seen = 0;
            while (seen < count && iterator_->Step(&key_, &buffer_).IsOK()) {
                sum.add(key_, buffer_);
                ++seen;
            }
            return seen;
        } else {
            throw Unsupported("a hash table has no order");
        }
    }

  private:
    Database& database_;
    std::string key_, buffer_;
    std::unique_ptr<tkrzw::DBM::Iterator> iterator_;
};

template <class Database> class Tkrzw : public Engine {
  public:
    static constexpr bool ordered = std::is_same_v<Database, tkrzw::TreeDBM>;

    std::string version() const override { return std::string("Tkrzw ") + tkrzw::PACKAGE_VERSION; }
    std::string about() const override {
        return std::string(ordered ? "TreeDBM, page cache for all data"
                                   : "HashDBM, two buckets a record, no alignment of records") +
               ", mapped file, updates in place; loads by Set(); durable writes by Set() and Synchronize(true); "
               "compaction is Rebuild() "
               "and Synchronize(true)";
    }
    bool can_scan() const override { return ordered; }

    void open(const Settings& settings) override {
        std::filesystem::create_directories(settings.folder);
        database_ = std::make_unique<Database>();
        typename Database::TuningParameters tuning;
        const bool wide = settings.data_bytes() > (std::size_t{3} << 30);
        tuning.offset_width = wide ? 5 : 4;
        if constexpr (ordered) {
            tuning.num_buckets = static_cast<std::int64_t>(settings.records / 10 + 1000);
            tuning.max_cached_pages =
                static_cast<std::int32_t>(std::max<std::size_t>(10'000, settings.cache_bytes() / 8192));
        } else {
            tuning.num_buckets = static_cast<std::int64_t>(settings.records * 2);
            tuning.align_pow = 0;
        }
        check(database_->OpenAdvanced((settings.folder / (ordered ? "data.tkt" : "data.tkh")).string(), true,
                                      tkrzw::File::OPEN_DEFAULT, tuning));
    }
    std::unique_ptr<Session> session() override { return std::make_unique<TkrzwSession<Database>>(*database_); }
    void load(std::span<const Pair> pairs) override {
        for (const auto& [key, value] : pairs) check(database_->Set(key, value));
    }
    void sync() override { check(database_->Synchronize(true)); }
    void compact() override {
        check(database_->Rebuild());
        sync();
    }
    void close() override {
        check(database_->Close());
        database_.reset();
    }

  private:
    std::unique_ptr<Database> database_;
};

std::unique_ptr<Engine> make_engine(const std::string& variant) {
    if (variant == "tree") return std::make_unique<Tkrzw<tkrzw::TreeDBM>>();
    return std::make_unique<Tkrzw<tkrzw::HashDBM>>();
}

}  // namespace peers
