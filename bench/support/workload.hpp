#pragma once
// Keys and values, made before anything is timed.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "emdb.hpp"

namespace bench {

inline constexpr std::size_t key_size = 24;
inline constexpr std::size_t value_size = 150;
inline constexpr std::size_t lookups_max = 1'000'000;

/// Fills [at, at + size) with random bytes; keys of 24 of them do not collide.
inline void fill_random(char* at, std::size_t size, std::mt19937_64& random) {
    for (; size >= 8; at += 8, size -= 8) {
        const std::uint64_t word = random();
        std::memcpy(at, &word, 8);
    }
    const std::uint64_t word = random();
    std::memcpy(at, &word, size);
}

/// Lookups have their keys in a buffer of their own, in the order in which they are asked for: fetching the question
/// must not cost a cache miss.
class Workload {
  public:
    explicit Workload(std::size_t records) : keys_(records * key_size), values_(records * value_size) {
        std::mt19937_64 random(20'240'229);
        fill_random(keys_.data(), keys_.size(), random);
        fill_random(values_.data(), values_.size(), random);
        for (std::size_t i = 0; i < records; ++i) {
            pairs_.emplace_back(emdb::Bytes(keys_.data() + i * key_size, key_size),
                                emdb::Bytes(values_.data() + i * value_size, value_size));
        }

        for (std::size_t i = 0; i < records; ++i) order_.push_back(static_cast<std::uint32_t>(i));
        std::shuffle(order_.begin(), order_.end(), random);
        order_.resize(std::min(records, lookups_max));
        present_keys_.resize(order_.size() * key_size);
        absent_keys_.resize(order_.size() * key_size);
        fill_random(absent_keys_.data(), absent_keys_.size(), random);
        for (std::size_t i = 0; i < order_.size(); ++i) {
            std::memcpy(present_keys_.data() + i * key_size, keys_.data() + order_[i] * key_size, key_size);
            present_.emplace_back(present_keys_.data() + i * key_size, key_size);
            absent_.emplace_back(absent_keys_.data() + i * key_size, key_size);
        }
    }

    std::size_t records() const { return pairs_.size(); }
    /// In load order.
    const std::vector<std::pair<emdb::Bytes, emdb::Bytes>>& pairs() const { return pairs_; }
    /// Keys of records in random order, at most `lookups_max` of them, each at most once.
    const std::vector<emdb::Bytes>& present() const { return present_; }
    /// As many keys that no record has.
    const std::vector<emdb::Bytes>& absent() const { return absent_; }
    /// What a lookup of present()[i] finds.
    std::string_view value_of_lookup(std::size_t i) const { return pairs_[order_[i]].second.as_string_view(); }

  private:
    std::vector<char> keys_, values_, present_keys_, absent_keys_;
    std::vector<std::pair<emdb::Bytes, emdb::Bytes>> pairs_;
    std::vector<std::uint32_t> order_;
    std::vector<emdb::Bytes> present_, absent_;
};

}  // namespace bench
