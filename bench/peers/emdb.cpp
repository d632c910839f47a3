// emdb itself. Variants: "ordered" keeps the ordered index that scans need, "encrypted" needs a build with EMDB_ENCRYPT=1.

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <array>
#include <vector>

#include "driver.hpp"

namespace peers {

static void check(const emdb::Result<void>& result) {
    if (!result) throw emdb::Exception(result.error());
}

class EmdbSession : public Session {
  public:
    explicit EmdbSession(emdb::Emdb database, bool writes_through)
        : database_(std::move(database)), writes_through_(writes_through) {}

    void put(Bytes key, Bytes value) override { check(database_.insert(key, value)); }
    void put_durable(Bytes key, Bytes value) override {
        check(database_.insert(key, value));
        if (!writes_through_) check(database_.flush());
    }
    void put_batch_durable(std::span<const Pair> pairs) override {
        check(database_.insert_many(pairs));
        if (!writes_through_) check(database_.flush());
    }
    std::optional<Bytes> get(Bytes key) override {
        if (!database_.get_into(key, buffer_).value()) return std::nullopt;
        return buffer_;
    }
    std::optional<std::string> get_string(Bytes key) override { return database_.get(key).value(); }
    std::size_t get_many(std::span<const Bytes> keys) override {
        wanted_.assign(keys.begin(), keys.end());
        std::uint64_t last_bytes = 0;
        const std::size_t found = database_
                                      .visit_many(wanted_,
                                                  [&](std::size_t, std::optional<std::string_view> value) {
                                                      if (value && !value->empty())
                                                          last_bytes += static_cast<unsigned char>(value->back());
                                                  })
                                      .value();
        bench::keep(last_bytes);
        return found;
    }
    void remove(Bytes key) override {
        if (!database_.remove(key).value()) throw std::runtime_error("emdb: a key to remove is not there");
    }
    std::size_t scan(Bytes start, std::size_t count, ScanSum& sum) override {
        auto records = database_.iter_from(start).value();
        std::size_t seen = 0;
        for (const auto& [key, value] : records) {
            sum.add(key, value);
            if (++seen == count) break;
        }
        check(records.status());
        return seen;
    }
    void read_modify_write(Bytes key, Bytes value) override {
        check(database_.update(key, [&](std::optional<std::string_view> old) {
            bench::keep(old);
            return std::optional<std::string>(value);
        }));
    }

  private:
    emdb::Emdb database_;
    bool writes_through_;
    std::string buffer_;
    std::vector<emdb::Bytes> wanted_;
};

class EmdbEngine : public Engine {
  public:
    explicit EmdbEngine(const std::string& variant)
        : ordered_(variant == "ordered"), encrypted_(variant == "encrypted") {
        if (!variant.empty() && !ordered_ && !encrypted_) throw std::invalid_argument("emdb has no variant " + variant);
    }

    std::string version() const override { return "emdb, this tree"; }
    std::string about() const override {
        std::string text =
            "defaults: every read is checked; loads and batches by insert_many, durable writes by insert and flush, "
            "reads by get_into";
        if (ordered_) text += "; enable_range_scans";
        if (encrypted_) text += "; AES-256-GCM with a raw key";
        return text;
    }
    bool can_scan() const override { return ordered_; }

    void open(const Settings& settings) override {
        settings_ = settings;
        std::filesystem::create_directories(settings.folder);
        emdb::EmdbBuilder builder = emdb::Emdb::builder();
        builder.path(settings.folder / "data.emdb").enable_range_scans(ordered_);
        if (settings.durability == Settings::Durability::group) builder.flush_policy(emdb::FlushPolicy::group());
        if (writes_through()) builder.flush_policy(emdb::FlushPolicy::write_through());
        if (encrypted_) {
#if EMDB_ENCRYPT
            static constexpr std::array<std::byte, 32> key = {std::byte { 7 }};
            builder.encryption_key(key);
#else
            throw std::invalid_argument("this program was built without EMDB_ENCRYPT");
#endif
        }
        database_ = builder.build().value();
    }
    std::unique_ptr<Session> session() override { return std::make_unique<EmdbSession>(*database_, writes_through()); }
    void load(std::span<const Pair> pairs) override { check(database_->insert_many(pairs)); }
    void sync() override { check(database_->flush()); }
    void compact() override { check(database_->compact()); }
    void close() override {
        check(database_->close());
        database_.reset();
    }

  private:
    bool writes_through() const { return settings_.durability == Settings::Durability::write_through; }

    Settings settings_;
    bool ordered_, encrypted_;
    std::optional<emdb::Emdb> database_;
};

std::unique_ptr<Engine> make_engine(const std::string& variant) { return std::make_unique<EmdbEngine>(variant); }

}  // namespace peers
