#pragma once
// Keys, values and orders of access, all made before a clock starts. rust/src/data_set.rs makes the same bytes.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "engine.hpp"

namespace peers {

/// splitmix64 (Steele, Lea and Flood, 2014): short enough to be the same in another language.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
        state_ += 0x9e3779b97f4a7c15;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    /// Below `limit`, which is less than 2^32.
    std::uint64_t below(std::uint64_t limit) { return (next() >> 32) * limit >> 32; }
    double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
    /// Whole words; the last one is cut.
    void fill(char* at, std::size_t size) {
        while (size != 0) {
            const std::uint64_t word = next();
            const std::size_t bytes = std::min<std::size_t>(8, size);
            std::memcpy(at, &word, bytes);
            at += bytes;
            size -= bytes;
        }
    }

  private:
    std::uint64_t state_;
};

inline constexpr std::size_t key_bytes = 24;
inline constexpr std::size_t lookups_max = 1'000'000;

/// Numbers below `count` in random order (Fisher and Yates).
inline std::vector<std::uint32_t> shuffled(std::size_t count, std::uint64_t seed) {
    std::vector<std::uint32_t> order(count);
    for (std::size_t i = 0; i < count; ++i) order[i] = static_cast<std::uint32_t>(i);
    Random random(seed);
    for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    return order;
}

/// Keys in the order in which they are asked for, side by side: fetching the question must not cost a cache miss.
class KeyList {
  public:
    KeyList() = default;
    explicit KeyList(const std::vector<Bytes>& keys) : bytes_(keys.size() * key_bytes) {
        for (std::size_t i = 0; i < keys.size(); ++i) {
            std::memcpy(bytes_.data() + i * key_bytes, keys[i].data(), key_bytes);
            keys_.emplace_back(bytes_.data() + i * key_bytes, key_bytes);
        }
    }
    const std::vector<Bytes>& keys() const { return keys_; }
    std::size_t size() const { return keys_.size(); }
    Bytes operator[](std::size_t i) const { return keys_[i]; }

  private:
    std::vector<char> bytes_;
    std::vector<Bytes> keys_;
};

class DataSet {
  public:
    /// `records` to be loaded, and `more` to be written later.
    DataSet(std::size_t records, std::size_t more, std::size_t value_bytes)
        : records_(records), keys_((records + more) * key_bytes), values_((records + more) * value_bytes) {
        Random(1).fill(keys_.data(), keys_.size());
        Random(2).fill(values_.data(), values_.size());
        for (std::size_t i = 0; i < records + more; ++i) {
            pairs_.emplace_back(Bytes(keys_.data() + i * key_bytes, key_bytes),
                                Bytes(values_.data() + i * value_bytes, value_bytes));
        }
    }

    std::size_t records() const { return records_; }
    const std::vector<Pair>& pairs() const { return pairs_; }
    std::span<const Pair> loaded() const { return std::span(pairs_).first(records_); }
    std::span<const Pair> later() const { return std::span(pairs_).subspan(records_); }

    KeyList keys_of(std::span<const std::uint32_t> order) const {
        std::vector<Bytes> keys;
        for (const std::uint32_t i : order) keys.push_back(pairs_[i].first);
        return KeyList(keys);
    }
    /// Keys that no record has.
    static KeyList absent(std::size_t count) {
        std::vector<char> bytes(count * key_bytes);
        Random(3).fill(bytes.data(), bytes.size());
        std::vector<Bytes> keys;
        for (std::size_t i = 0; i < count; ++i) keys.emplace_back(bytes.data() + i * key_bytes, key_bytes);
        return KeyList(keys);
    }

  private:
    std::size_t records_;
    std::vector<char> keys_, values_;
    std::vector<Pair> pairs_;
};

/// YCSB's choice of records: popularity falls as in Zipf's law with exponent 0.99, and the popular ones are scattered (Gray et al.,
/// "Quickly generating billion-record synthetic databases", 1994).
class Zipfian {
  public:
    explicit Zipfian(std::size_t items) : items_(static_cast<double>(items)) {
        for (std::size_t i = 1; i <= items; ++i) zeta_ += 1 / std::pow(static_cast<double>(i), theta);
        const double zeta_2 = 1 + 1 / std::pow(2.0, theta);
        eta_ = (1 - std::pow(2 / items_, 1 - theta)) / (1 - zeta_2 / zeta_);
    }
    /// 0 is the most popular.
    std::size_t rank(Random& random) const {
        const double u = random.unit();
        const double uz = u * zeta_;
        if (uz < 1) return 0;
        if (uz < 1 + std::pow(0.5, theta)) return 1;
        const double rank = items_ * std::pow(eta_ * u - eta_ + 1, 1 / (1 - theta));
        return std::min(static_cast<std::size_t>(rank), static_cast<std::size_t>(items_) - 1);
    }
    std::size_t scattered(Random& random) const {
        return Random(rank(random)).next() % static_cast<std::size_t>(items_);
    }

  private:
    static constexpr double theta = 0.99;
    double items_, zeta_ = 0, eta_;
};

}  // namespace peers
