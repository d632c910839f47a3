// The ordered index from inside: the tree against std::map with keys that tie, its shape after every kind of change, the sort
// that it is built from, and the pool that promises its nodes.
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/ordered_index_inspection.hpp"

namespace emdb_test {
namespace {

using namespace emdb::detail;
using emdb::Bytes;

/// How many of the next allocations that may fail do.
unsigned allocations_to_refuse = 0;

/// Frames for the index: an offset is a place in a list of keys, counted from 1.
class Frames {
public:
    std::function<void()> on_read;

    std::uint64_t add(std::string key) {
        keys_.push_back(std::move(key));
        return keys_.size();
    }
    const std::string& key(std::uint64_t offset) const { return keys_[static_cast<std::size_t>(offset - 1)]; }
    static Bytes read(const void* frames, std::uint64_t offset, PlainText&) noexcept {
        const auto& self = *static_cast<const Frames*>(frames);
        if (self.on_read) self.on_read();
        const auto& keys = self.keys_;
        return offset == 0 || offset > keys.size() ? Bytes() : Bytes(keys[static_cast<std::size_t>(offset - 1)]);
    }

private:
    std::deque<std::string> keys_;
};

struct Tree {
    Tree() : index(pins, pool, &frames, &Frames::read) {}
    std::shared_ptr<Pins> pins = std::make_shared<Pins>();
    std::shared_ptr<NodePool> pool = std::make_shared<NodePool>();
    Frames frames;
    OrderedIndex index;
    std::map<std::string, std::uint64_t> model;

    void put(const std::string& key) {
        const std::uint64_t offset = frames.add(key);
        const auto found = model.find(key);
        if (found != model.end()) {
            index.replace(key, found->second, offset);
            found->second = offset;
            return;
        }
        const NodePool::Promise nodes(*pool, OrderedIndex::nodes_for_one);
        index.insert(key, offset);
        model.emplace(key, offset);
    }
    void remove(std::string key) {  // by value: it may be that of the entry
        const auto found = model.find(key);
        if (found == model.end()) return;
        index.remove(key, found->second);
        model.erase(found);
        index.tidy(key);
    }
    std::vector<std::uint64_t> scan(KeyBound from, const KeyBound* to) const {
        std::vector<std::uint64_t> offsets;
        const Pins::Pin pin(*pins);
        OrderedIndex::Slice slice;
        do {
            index.collect(from, to, slice);
            for (unsigned i = 0; i < slice.count; ++i) {
                const int order = compare_keys(index.key_at(slice.offsets[i]), from.key);
                if (i == 0 && (order < 0 || (order == 0 && !from.inclusive))) continue;
                offsets.push_back(slice.offsets[i]);
            }
            if (slice.next != 0) from = {index.key_at(slice.next), true};
        } while (slice.next != 0);
        return offsets;
    }
    std::vector<std::uint64_t> expected(const KeyBound& from, const KeyBound* to) const {
        std::vector<std::uint64_t> offsets;
        const std::string start(from.key.as_string_view());
        for (auto at = from.inclusive ? model.lower_bound(start) : model.upper_bound(start); at != model.end(); ++at) {
            if (to != nullptr) {
                const int order = compare_keys(at->first, to->key);
                if (order > 0 || (order == 0 && !to->inclusive)) break;
            }
            offsets.push_back(at->second);
        }
        return offsets;
    }
    std::string complaint() const {
        const OrderedIndexInspection inspection(index);
        if (!inspection.complaint.empty()) return inspection.complaint;
        return inspection.offsets == expected({}, nullptr) ? "" : "the entries are not those of the model";
    }
};

/// Keys of one kind, some of them often.
std::string random_key(int kind, std::mt19937& random) {
    const std::uint32_t number = random() % 3000;
    switch (kind) {
        case 0: return std::to_string(random());                                    // nothing in common
        case 1: return std::string(60, 'p') + std::to_string(number);               // a long common prefix
        case 2: return std::string(random() % 40, '\0');                            // windows that tie by their padding
        case 3: return std::string(random() % 3, '\xff') + std::string(random() % 12, static_cast<char>(random() % 2));
        case 4: return "user:" + std::to_string(number % 20) + ":" + std::string(8, 'x') + std::to_string(number / 20);
        default: return random_key(static_cast<int>(random() % 5), random);
    }
}

TEST_CASE("random insertions, replacements and removals agree with std::map, for every kind of key") {
    for (int kind = 0; kind <= 5; ++kind) {
        const std::uint32_t seed = 1000 + static_cast<std::uint32_t>(kind);
        CAPTURE(seed);
        std::mt19937 random(seed);
        Tree tree;
        for (int round = 0; round < 12; ++round) {
            const bool shrinking = round % 4 == 3;
            for (int i = 0; i < 1500; ++i) {
                const std::string key = random_key(kind, random);
                if (shrinking && !tree.model.empty()) {
                    const auto near = tree.model.lower_bound(key);
                    tree.remove(near == tree.model.end() ? tree.model.begin()->first : near->first);
                } else {
                    tree.put(key);
                }
            }
            REQUIRE(tree.complaint() == "");
            for (int i = 0; i < 40; ++i) {
                std::string a = random_key(kind, random);
                std::string b = random_key(kind, random);
                if (b < a) std::swap(a, b);
                const KeyBound from{a, random() % 2 == 0};
                const KeyBound to{b, random() % 2 == 0};
                if (a == b && !(from.inclusive && to.inclusive)) continue;
                REQUIRE(tree.scan(from, nullptr) == tree.expected(from, nullptr));
                REQUIRE(tree.scan(from, &to) == tree.expected(from, &to));
            }
        }
    }
}

TEST_CASE("ascending keys leave full nodes behind") {
    Tree tree;
    for (int i = 0; i < 20000; ++i) tree.put("key" + std::to_string(1000000 + i));
    CHECK(tree.complaint() == "");
    CHECK(tree.index.memory_bytes() < 20000 * 19);
}

TEST_CASE("random keys take less than 40 bytes each") {
    Tree tree;
    std::mt19937_64 random(7);
    for (int i = 0; i < 50000; ++i) tree.put(std::to_string(random()));
    CHECK(tree.index.memory_bytes() < 50000 * 32);
}

TEST_CASE("keys that share a long prefix are told apart by what follows it") {
    Tree tree;
    const std::string prefix(60, 'p');
    for (int i = 0; i < 20000; ++i) tree.put(prefix + std::to_string(100000 + (i * 7919) % 20000));
    REQUIRE(tree.complaint() == "");
    const OrderedIndexInspection inspection(tree.index);
    CHECK(inspection.skip_max >= 60);
    // A key from outside of the prefix fits in, too.
    tree.put("a");
    tree.put(std::string(59, 'p') + "q");
    tree.put("z");
    CHECK(tree.complaint() == "");
}

TEST_CASE("removing nearly everything gives the nodes back") {
    Tree tree;
    std::mt19937 random(5);
    std::vector<std::string> keys;
    for (int i = 0; i < 30000; ++i) keys.push_back("prefix that is shared " + std::to_string(random()));
    for (const std::string& key : keys) tree.put(key);
    const std::size_t full = tree.index.memory_bytes();
    std::shuffle(keys.begin(), keys.end(), random);
    for (std::size_t i = 0; i + 100 < keys.size(); ++i) tree.remove(keys[i]);
    REQUIRE(tree.complaint() == "");
    CHECK(tree.index.memory_bytes() < full / 40);
    for (std::size_t i = keys.size() - 100; i < keys.size(); ++i) tree.remove(keys[i]);
    REQUIRE(tree.complaint() == "");
    CHECK(tree.scan({}, nullptr).empty());
    CHECK(OrderedIndexInspection(tree.index).height == 1);
    for (const std::string& key : keys) tree.put(key);
    CHECK(tree.complaint() == "");
}

TEST_CASE("a queue, filled at one end and emptied at the other, does not grow") {
    Tree tree;
    for (int i = 0; i < 40000; ++i) {
        tree.put(std::to_string(1000000 + i));
        if (i >= 500) tree.remove(std::to_string(1000000 + i - 500));
    }
    CHECK(tree.complaint() == "");
    CHECK(OrderedIndexInspection(tree.index).leaves < 40);
}

TEST_CASE("clear forgets everything, and the index can be filled again") {
    Tree tree;
    for (int i = 0; i < 5000; ++i) tree.put(std::to_string(i));
    tree.pins->reserve(1);
    tree.index.dispose_of(tree.index.clear());
    tree.model.clear();
    CHECK(tree.complaint() == "");
    CHECK(tree.scan({}, nullptr).empty());
    for (int i = 0; i < 500; ++i) tree.put(std::to_string(i));
    CHECK(tree.complaint() == "");
}

TEST_CASE("a tree that was built at once is like one that was grown, whatever its size") {
    for (const std::size_t size : {0U, 1U, 53U, 54U, 55U, 1998U, 1999U, 2052U, 2053U, 20000U, 75000U}) {
        CAPTURE(size);
        Tree tree;
        std::mt19937 random(static_cast<std::uint32_t>(size));
        while (tree.model.size() < size) {
            std::string key = (tree.model.size() % 3 != 0 ? std::string(30, 'c') : "") + std::to_string(random());
            const std::uint64_t offset = tree.frames.add(key);
            if (!tree.model.emplace(key, offset).second) tree.model[key] = offset;
        }
        REQUIRE(tree.index.build(tree.expected({}, nullptr)));
        REQUIRE(tree.complaint() == "");
        for (int i = 0; i < 3000; ++i) {
            if (i % 3 == 0 && !tree.model.empty()) {
                tree.remove(std::next(tree.model.begin(), static_cast<std::ptrdiff_t>(random() % (std::min)(tree.model.size(), std::size_t{50})))->first);
            } else {
                tree.put(std::string(30, 'c') + std::to_string(random()));
            }
        }
        CHECK(tree.complaint() == "");
    }
}

TEST_CASE("sort_by_key sorts every kind of key") {
    for (int kind = 0; kind <= 5; ++kind) {
        std::mt19937 random(static_cast<std::uint32_t>(kind));
        Frames frames;
        std::set<std::string> seen;
        std::vector<OffsetToSort> entries;
        for (int i = 0; i < 5000; ++i) {
            std::string key = random_key(kind, random);
            if (seen.insert(key).second) entries.push_back({0, frames.add(key)});
        }
        sort_by_key(entries, KeyReader(&frames, &Frames::read), 0);
        auto expected = seen.begin();
        for (const OffsetToSort& entry : entries) REQUIRE(frames.key(entry.offset) == *expected++);
    }
}

TEST_CASE("sort_by_key keeps equal keys in the order of their offsets") {
    Frames frames;
    std::vector<OffsetToSort> entries;
    for (int i = 0; i < 3000; ++i) entries.push_back({0, frames.add(i % 3 == 0 ? "same" : std::string(static_cast<std::size_t>(i % 7), 'x'))});
    std::reverse(entries.begin(), entries.end());
    sort_by_key(entries, KeyReader(&frames, &Frames::read), 0);
    for (std::size_t i = 1; i < entries.size(); ++i) {
        const auto of = [&](std::size_t j) { return std::make_pair(frames.key(entries[j].offset), entries[j].offset); };
        REQUIRE(of(i - 1) < of(i));
    }
}

TEST_CASE("what nodes_for promises is enough for any batch") {
    std::mt19937 random(11);
    for (int round = 0; round < 60; ++round) {
        CAPTURE(round);
        Tree tree;
        const int kind = static_cast<int>(random() % 6);
        for (std::uint32_t i = random() % 20000; i > 0; --i) tree.put(random_key(kind, random));
        if (round % 3 == 0) {  // leaves that are all full
            for (int i = 0; i < 6000; ++i) tree.put("~" + std::to_string(100000 + i * 10));
        }
        std::set<std::string> batch;
        for (std::uint32_t i = random() % 5000; i > 0; --i) {
            std::string key = round % 3 == 0 ? "~" + std::to_string(100000 + random() % 60000) : random_key(kind, random);
            if (tree.model.count(key) == 0) batch.insert(std::move(key));
        }
        if (batch.empty()) continue;
        const std::vector<Bytes> keys(batch.begin(), batch.end());
        const std::size_t promised = tree.index.nodes_for(keys);
        const OrderedIndexInspection before(tree.index);
        std::vector<std::string> order(batch.begin(), batch.end());
        if (round % 2 == 0) std::shuffle(order.begin(), order.end(), random);
        for (const std::string& key : order) tree.put(key);
        const OrderedIndexInspection after(tree.index);
        CHECK(after.leaves + after.inners - before.leaves - before.inners <= promised);
        CHECK(tree.complaint() == "");
    }
}

TEST_CASE("the pool holds what it has promised, and lets go of what nobody needs") {
    NodePool pool;
    {
        const NodePool::Promise many(pool, 500);
        REQUIRE(static_cast<bool>(many));
        CHECK(pool.memory_bytes() == 500 * sizeof(TreeNode));
        for (int i = 0; i < 100; ++i) TreeNode::destroy(pool.take());
        const NodePool::Promise more(pool, 10);
        CHECK(pool.memory_bytes() >= 410 * sizeof(TreeNode));
    }
    CHECK(pool.memory_bytes() <= 64 * sizeof(TreeNode));
    NodePool::Promise moved(pool, 3);
    NodePool::Promise other = std::move(moved);
    CHECK(static_cast<bool>(other));
    CHECK(static_cast<bool>(NodePool::Promise()));
}

TEST_CASE("an insertion whose leaf is filled again before it comes back to it waits for the memory for another split") {
    const auto key = [](unsigned number, const std::string& behind = "") {
        return std::string(20, 'p') + std::to_string(1000 + number) + behind;  // windows tie: every comparison reads a key
    };
    const auto insert_into_full_leaf = [&](const std::function<void(Tree&)>& on_read) {
        Tree tree;
        for (unsigned i = 0; i < TreeNode::leaf_max; ++i) tree.put(key(i));
        tree.frames.on_read = [&] { on_read(tree); };
        tree.put(key(0, " and a half"));
        tree.frames.on_read = nullptr;
        CHECK(tree.complaint() == "");
        return OrderedIndexInspection(tree.index).leaves;
    };
    std::size_t reads = 0;
    CHECK(insert_into_full_leaf([&](Tree&) { ++reads; }) == 2);
    // The last read is that of the search in the half that it belongs to.
    CHECK(insert_into_full_leaf([&](Tree& tree) {
              if (--reads != 0) return;  // it goes on below zero for the keys that are put here
              for (unsigned i = TreeNode::leaf_max / 2; i < TreeNode::leaf_max; ++i) tree.put(key(0, std::to_string(i)));
              while (tree.pool->memory_bytes() != 0) TreeNode::destroy(tree.pool->take());
              allocations_to_refuse = 3;
          }) == 3);
    CHECK(allocations_to_refuse == 0);
}

TEST_CASE("an entry is found by its frame even when its key can't be compared any more") {
    Tree tree;
    for (int i = 0; i < 2000; ++i) tree.put(std::to_string(i));
    // The frame of one key turns into that of another place in the order, as damage on the disk would do it.
    const std::uint64_t offset = tree.model.at("1500");
    const std::uint64_t healed = tree.frames.add("1500");
    tree.index.replace("zzz", offset, healed);
    tree.model.at("1500") = healed;
    CHECK(tree.complaint() == "");
}

TEST_CASE("writers of different keys and readers: the tree stays whole, and scans are in order") {
    Tree tree;
    constexpr int writers = 3;
    constexpr std::uint64_t keys_each = 400;
    // Offset 1 + key + version * keys: frames are made beforehand, since the list must not move.
    constexpr std::uint64_t versions = 8;
    const auto key_of = [](std::uint64_t number) { return "shared prefix, quite long " + std::to_string(1000 + number * 7919 % 9000); };
    for (std::uint64_t version = 0; version < versions; ++version) {
        for (std::uint64_t number = 0; number < writers * keys_each; ++number) tree.frames.add(key_of(number));
    }
    const auto offset_of = [](std::uint64_t number, std::uint64_t version) { return 1 + number + version * writers * keys_each; };
    // Keys that stay throughout: every fourth.
    for (std::uint64_t number = 0; number < writers * keys_each; number += 4) {
        const NodePool::Promise nodes(*tree.pool, OrderedIndex::nodes_for_one);
        tree.index.insert(key_of(number), offset_of(number, 0));
    }
    std::atomic<int> running{writers};
    std::vector<std::thread> threads;
    for (std::uint64_t writer = 0; writer < writers; ++writer) {
        threads.emplace_back([&, writer] {
            for (std::uint64_t version = 0; version < versions; ++version) {
                for (std::uint64_t i = 0; i < keys_each; ++i) {
                    const std::uint64_t number = i * writers + writer;
                    if (number % 4 == 0) {
                        if (version > 0) tree.index.replace(key_of(number), offset_of(number, version - 1), offset_of(number, version));
                    } else if (version % 2 == 0) {
                        const NodePool::Promise nodes(*tree.pool, OrderedIndex::nodes_for_one);
                        tree.index.insert(key_of(number), offset_of(number, version));
                    } else {
                        tree.index.remove(key_of(number), offset_of(number, version - 1));
                        tree.index.tidy(key_of(number));
                    }
                }
            }
            --running;
        });
    }
    std::size_t scans = 0;
    std::string complaint;
    while (running > 0 || scans == 0) {
        const std::vector<std::uint64_t> offsets = tree.scan({}, nullptr);
        std::size_t lasting = 0;
        for (std::size_t i = 0; i < offsets.size(); ++i) {
            if (i > 0 && tree.frames.key(offsets[i - 1]) >= tree.frames.key(offsets[i])) complaint = "out of order";
            if ((offsets[i] - 1) % (writers * keys_each) % 4 == 0) ++lasting;
        }
        if (lasting != writers * keys_each / 4) complaint = "a key that stays was passed over";
        ++scans;
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(complaint == "");
    CHECK(OrderedIndexInspection(tree.index).complaint == "");
    CHECK(OrderedIndexInspection(tree.index).offsets.size() == writers * keys_each / 4);
}

}  // namespace
}  // namespace emdb_test

// Nodes are made by this one.
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    if (emdb_test::allocations_to_refuse != 0) {
        --emdb_test::allocations_to_refuse;
        return nullptr;
    }
    try {
        return ::operator new(size, alignment);
    } catch (...) {
        return nullptr;
    }
}
