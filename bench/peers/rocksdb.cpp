// RocksDB.

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/version.h>
#include <rocksdb/write_batch.h>

#include <vector>

#include "driver.hpp"

namespace peers {

static void check(const rocksdb::Status& status) {
    if (!status.ok()) throw std::runtime_error("RocksDB: " + status.ToString());
}
static rocksdb::Slice slice(Bytes bytes) { return {bytes.data(), bytes.size()}; }
static Bytes as_bytes(const rocksdb::Slice& bytes) { return {bytes.data(), bytes.size()}; }

class RocksDbSession : public Session {
  public:
    explicit RocksDbSession(rocksdb::DB& database) : database_(database) { synced_.sync = true; }

    void put(Bytes key, Bytes value) override { check(database_.Put({}, slice(key), slice(value))); }
    void put_durable(Bytes key, Bytes value) override { check(database_.Put(synced_, slice(key), slice(value))); }
    void put_batch_durable(std::span<const Pair> pairs) override { put_batch(synced_, pairs); }
    void put_batch(const rocksdb::WriteOptions& options, std::span<const Pair> pairs) {
        batch_.Clear();
        for (const auto& [key, value] : pairs) check(batch_.Put(slice(key), slice(value)));
        check(database_.Write(options, &batch_));
    }
    std::optional<Bytes> get(Bytes key) override {
        pinned_.Reset();
        const rocksdb::Status status = database_.Get({}, database_.DefaultColumnFamily(), slice(key), &pinned_);
        if (status.IsNotFound()) return std::nullopt;
        check(status);
        buffer_.assign(as_bytes(pinned_));
        return buffer_;
    }
    std::size_t get_many(std::span<const Bytes> keys) override {
        wanted_.clear();
        for (const Bytes key : keys) wanted_.push_back(slice(key));
        values_.resize(keys.size());
        statuses_.resize(keys.size());
        database_.MultiGet({}, database_.DefaultColumnFamily(), keys.size(), wanted_.data(), values_.data(),
                           statuses_.data());
        std::size_t found = 0;
        std::uint64_t last_bytes = 0;
        for (std::size_t i = 0; i < keys.size(); ++i) {
            if (!statuses_[i].ok()) continue;
            ++found;
            last_bytes += static_cast<unsigned char>(as_bytes(values_[i]).back());
            values_[i].Reset();
        }
        bench::keep(last_bytes);
        return found;
    }
    void remove(Bytes key) override { check(database_.Delete({}, slice(key))); }
    std::size_t scan(Bytes start, std::size_t count, ScanSum& sum) override {
        std::unique_ptr<rocksdb::Iterator> fresh;
        if (!kept_) fresh.reset(database_.NewIterator({}));
        rocksdb::Iterator& records = kept_ ? *kept_ : *fresh;
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
    rocksdb::DB& database_;
    rocksdb::WriteOptions synced_;
    rocksdb::WriteBatch batch_;
    rocksdb::PinnableSlice pinned_;
    std::vector<rocksdb::Slice> wanted_;
    std::vector<rocksdb::PinnableSlice> values_;
    std::vector<rocksdb::Status> statuses_;
    std::unique_ptr<rocksdb::Iterator> kept_;
    std::string buffer_;
};

class RocksDb : public Engine {
  public:
    std::string version() const override { return "RocksDB " + rocksdb::GetRocksVersionAsString(); }
    std::string about() const override {
        return "Bloom filter of 10 bits, block cache for all data, two background threads, no compression (values are "
               "random), else defaults; "
               "loads and batches by WriteBatch of 1,000 with the log on; reads by Get into a PinnableSlice, copied "
               "once; deletes are blind; levels are merged, untimed, before reads; "
               "compaction is CompactRange of everything, bottommost level included";
    }

    void open(const Settings& settings) override {
        rocksdb::BlockBasedTableOptions table;
        table.block_cache = rocksdb::NewLRUCache(settings.cache_bytes());
        table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
        rocksdb::Options options;
        options.create_if_missing = true;
        options.compression = rocksdb::kNoCompression;
        options.IncreaseParallelism(2);
        if (settings.memory_limit != 0) options.write_buffer_size = settings.memory_limit / 16;
        options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
        rocksdb::DB* database = nullptr;
        check(rocksdb::DB::Open(options, settings.folder, &database));
        database_.reset(database);
    }
    std::unique_ptr<Session> session() override { return std::make_unique<RocksDbSession>(*database_); }
    void load(std::span<const Pair> pairs) override {
        RocksDbSession session(*database_);
        for (std::size_t first = 0; first < pairs.size(); first += 1000) {
            session.put_batch({}, pairs.subspan(first, std::min<std::size_t>(1000, pairs.size() - first)));
        }
    }
    void sync() override { check(database_->SyncWAL()); }
    void compact() override {
        rocksdb::CompactRangeOptions options;
        options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
        check(database_->CompactRange(options, nullptr, nullptr));
    }
    void prepare_reads() override { compact(); }
    void close() override {
        check(database_->Close());
        database_.reset();
    }

  private:
    std::unique_ptr<rocksdb::DB> database_;
};

std::unique_ptr<Engine> make_engine(const std::string&) { return std::make_unique<RocksDb>(); }

}  // namespace peers
