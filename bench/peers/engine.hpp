#pragma once
// What the driver asks of every store. Each store's file implements it in the cheapest way that keeps the meaning, and
// says in about() how the store is set.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace peers {

using Bytes = std::string_view;
using Pair = std::pair<Bytes, Bytes>;

/// What a program measures is known to a store before it is opened, as it would be to whoever sets it up.
struct Settings {
    enum class Durability {
        on_request,    // put() is not synced, put_durable() is
        group,         // put_durable() by several threads at once
        write_through  // every put_durable() by itself
    };
    std::filesystem::path folder;
    std::size_t records = 0;       // how many there will be, for stores that want to know
    std::size_t record_bytes = 0;  // key and value
    Durability durability = Durability::on_request;
    std::size_t memory_limit = 0;  // of the process, in bytes; 0: none, caches may hold all of the data

    std::size_t data_bytes() const { return records * record_bytes; }
    /// For stores that keep pages in a cache of their own.
    std::size_t cache_bytes() const {
        if (memory_limit != 0) return memory_limit / 2;
        return std::max<std::size_t>(std::size_t{64} << 20, data_bytes() * 2);
    }
};

/// Sees to it that every byte of what a scan returns is looked at.
class ScanSum {
  public:
    void add(Bytes key, Bytes value) {
        add(key);
        add(value);
    }
    std::uint64_t sum() const { return sum_; }

  private:
    void add(Bytes bytes) {
        for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
            std::uint64_t word;
            std::memcpy(&word, bytes.data(), 8);
            sum_ += word;
        }
    }
    std::uint64_t sum_ = 0;
};

/// Several operations of some store are impossible: their phase is left out.
class Unsupported : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// One thread's access to an open store.
class Session {
  public:
    Session() = default;
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    virtual ~Session() = default;

    /// Visible when it returns; nothing is synced.
    virtual void put(Bytes key, Bytes value) = 0;
    /// Survives power loss when it returns.
    virtual void put_durable(Bytes key, Bytes value) = 0;
    /// All of them, durable when it returns; atomic where the store can.
    virtual void put_batch_durable(std::span<const Pair> pairs) = 0;
    /// A copy of the value in a buffer that the session reuses.
    virtual std::optional<Bytes> get(Bytes key) = 0;
    /// Not synced. The key exists.
    virtual void remove(Bytes key) = 0;
    /// Up to `count` records in key order from `start` on. Returns how many there were.
    virtual std::size_t scan(Bytes start, std::size_t count, ScanSum& sum) = 0;
    /// Between these two nobody writes: a store may hold one snapshot instead of taking one a read.
    virtual void begin_reads() {}
    virtual void end_reads() {}

    /// The same as get(), each value in a new string.
    virtual std::optional<std::string> get_string(Bytes key) {
        const std::optional<Bytes> value = get(key);
        if (!value) return std::nullopt;
        return std::string(*value);
    }
    /// How many of the keys exist; their values are looked at. Only stores with a call for it.
    virtual std::size_t get_many(std::span<const Bytes>) { throw Unsupported("no batched reads"); }
    /// Reads, changes and writes in the way that keeps concurrent changes, where the store has one.
    virtual void read_modify_write(Bytes key, Bytes value) {
        get(key);
        put(key, value);
    }
};

class Engine {
  public:
    Engine() = default;
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    /// Drops everything without closing properly if it is open.
    virtual ~Engine() = default;

    virtual std::string version() const = 0;
    virtual std::string about() const = 0;
    virtual bool can_scan() const { return true; }

    /// Creates what is not there.
    virtual void open(const Settings& settings) = 0;
    virtual std::unique_ptr<Session> session() = 0;
    /// The fastest way to bring in records that are not in key order; readable when it returns.
    virtual void load(std::span<const Pair> pairs) = 0;
    /// Everything so far survives power loss when it returns.
    virtual void sync() = 0;
    /// Whatever puts the store into its best state for reading; not timed. Log-structured trees merge their levels.
    virtual void prepare_reads() {}
    /// Gives space back, durably.
    virtual void compact() = 0;
    /// All sessions are gone by then.
    virtual void close() = 0;
};

/// Each store's file defines it; `variant` is empty or names another way to set the store.
std::unique_ptr<Engine> make_engine(const std::string& variant);

}  // namespace peers
