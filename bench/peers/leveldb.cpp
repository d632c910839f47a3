// LevelDB.

#include <leveldb/cache.h>
#include <leveldb/db.h>
#include <leveldb/filter_policy.h>
#include <leveldb/write_batch.h>

#include "driver.hpp"

namespace peers {

static void check(const leveldb::Status& status) {
    if (!status.ok()) throw std::runtime_error("LevelDB: " + status.ToString());
}
static leveldb::Slice slice(Bytes bytes) { return {bytes.data(), bytes.size()}; }
static Bytes as_bytes(const leveldb::Slice& bytes) { return {bytes.data(), bytes.size()}; }

class LevelDbSession : public Session {
  public:
    explicit LevelDbSession(leveldb::DB& database) : database_(database) { synced_.sync = true; }

    void put(Bytes key, Bytes value) override { check(database_.Put({}, slice(key), slice(value))); }
    void put_durable(Bytes key, Bytes value) override { check(database_.Put(synced_, slice(key), slice(value))); }
    void put_batch_durable(std::span<const Pair> pairs) override { put_batch(synced_, pairs); }
    void put_batch(const leveldb::WriteOptions& options, std::span<const Pair> pairs) {
        batch_.Clear();
        for (const auto& [key, value] : pairs) batch_.Put(slice(key), slice(value));
        check(database_.Write(options, &batch_));
    }
    std::optional<Bytes> get(Bytes key) override {
        const leveldb::Status status = database_.Get({}, slice(key), &buffer_);
        if (status.IsNotFound()) return std::nullopt;
        check(status);
        return buffer_;
    }
    void remove(Bytes key) override { check(database_.Delete({}, slice(key))); }
    std::size_t scan(Bytes start, std::size_t count, ScanSum& sum) override {
        std::unique_ptr<leveldb::Iterator> fresh;
        if (!kept_) fresh.reset(database_.NewIterator({}));
        leveldb::Iterator& records = kept_ ? *kept_ : *fresh;
        std::size_t seen = 0;
        for (records.Seek(slice(start)); records.Valid(); records.Next()) {
            sum.add(as_bytes(records.key()), as_bytes(records.value()));
            if (++seen == count) break;
        }
        check(records.status());
        return seen;
    }
    void begin_reads() override { kept_.reset(database_.NewIterator({})); }
    void end_reads() override { kept_.reset(); }

  private:
    leveldb::DB& database_;
    leveldb::WriteOptions synced_;
    leveldb::WriteBatch batch_;
    std::unique_ptr<leveldb::Iterator> kept_;
    std::string buffer_;
};

class LevelDb : public Engine {
  public:
    std::string version() const override {
        return "LevelDB " + std::to_string(leveldb::kMajorVersion) + "." + std::to_string(leveldb::kMinorVersion);
    }
    std::string about() const override {
        return "Bloom filter of 10 bits, block cache for all data, write buffer of 64 MiB, no compression (values are "
               "random), checksums "
               "as by default (not verified on reads); loads and batches by WriteBatch of 1,000; deletes are blind; "
               "levels are merged, untimed, before reads; compaction is CompactRange of everything";
    }

    void open(const Settings& settings) override {
        cache_.reset(leveldb::NewLRUCache(settings.cache_bytes()));
        filter_.reset(leveldb::NewBloomFilterPolicy(10));
        leveldb::Options options;
        options.create_if_missing = true;
        options.block_cache = cache_.get();
        options.filter_policy = filter_.get();
        options.write_buffer_size = settings.memory_limit == 0 ? std::size_t{64} << 20 : settings.memory_limit / 16;
        options.compression = leveldb::kNoCompression;
        leveldb::DB* database = nullptr;
        check(leveldb::DB::Open(options, settings.folder, &database));
        database_.reset(database);
    }
    std::unique_ptr<Session> session() override { return std::make_unique<LevelDbSession>(*database_); }
    void load(std::span<const Pair> pairs) override {
        LevelDbSession session(*database_);
        for (std::size_t first = 0; first < pairs.size(); first += 1000) {
            session.put_batch({}, pairs.subspan(first, std::min<std::size_t>(1000, pairs.size() - first)));
        }
    }
    void sync() override {
        leveldb::WriteOptions options;
        options.sync = true;
        leveldb::WriteBatch nothing;
        check(database_->Write(options, &nothing));
    }
    void compact() override { database_->CompactRange(nullptr, nullptr); }
    void prepare_reads() override { compact(); }
    void close() override { database_.reset(); }

  private:
    std::unique_ptr<leveldb::Cache> cache_;
    std::unique_ptr<const leveldb::FilterPolicy> filter_;
    std::unique_ptr<leveldb::DB> database_;
};

std::unique_ptr<Engine> make_engine(const std::string&) { return std::make_unique<LevelDb>(); }

}  // namespace peers
