// The hash index under every interleaving: the seqlock, growth, and what growth and clearing free.
//
// A frame's offset is here the address of a piece of memory that the writer makes before it changes the index: what the journal
// orders in emdb is ordered here by the index alone. So a reader that finds an offset without order is found by using the frame.

#include "races/model/atomic.hpp"

#include <doctest/doctest.h>

#include <initializer_list>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "index/hash_index.hpp"
#include "races/model/campaign.hpp"
#include "races/model/surroundings.hpp"

namespace {

using emdb::detail::HashIndex;
using emdb::detail::HashTable;
using emdb::detail::KeyHash;
using emdb::detail::offset_mask;
using emdb::detail::Pins;
using emdb::detail::TableArena;
using model::expect;
using model::Program;

struct Frame {
    KeyHash hash{0};
    int version = 0;
};

std::uint64_t offset_of(const Frame* frame) { return reinterpret_cast<std::uintptr_t>(frame) & offset_mask; }
const Frame& frame_at(std::uint64_t offset) {
    const auto* frame = reinterpret_cast<const Frame*>(static_cast<std::uintptr_t>(offset));
    model::Explorer::running()->use(frame);
    return *frame;
}

constexpr KeyHash hash_for(std::uint64_t shard, std::uint32_t position, std::uint16_t tag) {
    return KeyHash(shard << 58 | std::uint64_t{position} << 26 | std::uint64_t{tag} << 10);
}

/// How what readers look at is kept: each counts by plain stores and there is a process-wide barrier; they count on one slot, without
/// it; or somebody has a pin all the time, for scenarios about other things.
enum class Readers { with_barrier, without_barrier, pinned };

struct Index {
    explicit Index(Readers readers = Readers::with_barrier) : pins(make_pins(readers)) {
        if (readers == Readers::pinned) pin.emplace(*pins);
    }
    static std::shared_ptr<Pins> make_pins(Readers readers) {
        if (readers == Readers::with_barrier) model::each_on_its_own_slot();
        else model::all_on_one_shared_slot(false);
        return std::make_shared<Pins>();
    }

    const std::shared_ptr<Pins> pins;
    std::optional<Pins::Pin> pin;
    HashIndex hash{pins};
    std::vector<std::unique_ptr<Frame>> frames;

    const Frame* make(KeyHash key, int version) {
        frames.push_back(std::make_unique<Frame>(Frame{key, version}));
        return frames.back().get();
    }
    // Inside a change, with room.
    void insert(KeyHash key, int version) { hash.insert(key, offset_of(make(key, version)), 1, 1); }
    HashIndex::Location locate(KeyHash key) {
        return hash.locate(key, [&](std::uint64_t offset) { return frame_at(offset).hash.value() == key.value(); });
    }
    void replace(KeyHash key, int version) { hash.replace(key, locate(key), offset_of(make(key, version)), 0, 0); }
    void remove(KeyHash key) { hash.remove(key, locate(key), 1, 1); }
    void put(KeyHash key, int version) {
        hash.make_room(key.shard(), 1);
        const HashIndex::Change change(hash, key.shard());
        insert(key, version);
    }
    // What a reader may make of a key; 0: it is not there.
    int find(KeyHash key) {
        const std::uint64_t offset = hash.find(key);
        if (offset == 0) return 0;
        const Frame& frame = frame_at(offset);
        expect(frame.hash.position() == key.position() && frame.hash.tag() == key.tag(), "found what is another key's");
        return frame.version;
    }
    int find_anywhere(KeyHash key) {
        const std::uint64_t offset = hash.find_anywhere(key);
        return offset == 0 ? 0 : frame_at(offset).version;
    }
    std::vector<int> find_all(KeyHash key) {
        std::vector<std::uint64_t> offsets;
        hash.find_all(key, offsets);
        std::vector<int> versions;
        for (const std::uint64_t offset : offsets) versions.push_back(frame_at(offset).version);
        return versions;
    }
    void clear() {
        pins->reserve(hash.tables_to_clear());
        for (std::size_t shard = 0; shard < 2; ++shard) hash.begin_change(shard);  // that have keys here
        const auto unlinked = hash.clear();
        for (std::size_t shard = 0; shard < 2; ++shard) hash.end_change(shard);
        hash.dispose_of(unlinked);
    }
    // How often a walk through one shard sees a key.
    int seen_by_walk(KeyHash key, std::uint64_t from = 0) {
        int seen = 0;
        std::vector<std::uint64_t> offsets;
        for (HashIndex::Cursor cursor{key.shard(), from}; cursor.shard == key.shard();) hash.collect(cursor, offsets);
        for (const std::uint64_t offset : offsets) seen += frame_at(offset).hash.value() == key.value();
        return seen;
    }
};

constexpr std::uint32_t low = 0x10000000;
constexpr std::uint32_t high = 0xF0000000;
constexpr KeyHash key_a = hash_for(0, low, 1);
constexpr KeyHash first = hash_for(0, low, 3);
constexpr KeyHash last = hash_for(0, 0xFFFFFFF0, 4);
constexpr KeyHash key_b = hash_for(0, high, 1);  // same bucket of a small table, same tag

// One bucket and the next: six keys at home in the first, the last of them displaced.
std::shared_ptr<Index> with_displaced(KeyHash& displaced) {
    auto index = std::make_shared<Index>();
    index->hash.make_room(0, 10);  // two buckets
    for (std::uint16_t i = 1; i <= 6; ++i) {
        displaced = hash_for(0, low + i, i);
        index->put(displaced, 1);
    }
    return index;
}

// A table that is about to grow, with those keys in it, and as full as tables get.
std::shared_ptr<Index> before_growth(std::uint32_t buckets, std::uint64_t records, std::initializer_list<KeyHash> keys,
                                     Readers readers = Readers::with_barrier) {
    auto index = std::make_shared<Index>(readers);
    HashTable* table = HashTable::create(buckets);
    for (const KeyHash key : keys) table->place(key.position(), key.slot(offset_of(index->make(key, 1))));
    index->hash.adopt(keys.begin()->shard(), table, {records, 0, 0});
    return index;
}
// Two buckets, enlarged in two steps, with a key in each.
std::shared_ptr<Index> before_growth(Readers readers = Readers::with_barrier) { return before_growth(2, 10, {first, last}, readers); }
// After the first step; the key that was moved has been changed since.
std::shared_ptr<Index> amid_growth() {
    auto index = before_growth(Readers::pinned);
    index->hash.make_room(0, 1);
    const HashIndex::Change change(index->hash, 0);
    index->replace(first, 2);
    return index;
}
constexpr std::size_t enough_for_growth = 7;

}  // namespace

TEST_CASE("the hash index is right in every interleaving, and each of its memory orders is needed for that or named as open") {
    model::Campaign campaign("hash index", {"index/hash_index.hpp", "index/hash_table.hpp"});
    campaign.on_switch(model::run_on_slot);

    campaign.add({"a key is replaced, a reader looks twice", [](Program& program) {
        auto index = std::make_shared<Index>();
        index->put(key_a, 1);
        program.thread([index] {
            const HashIndex::Change change(index->hash, 0);
            index->replace(key_a, 2);
        });
        program.thread([index] {
            const int first = index->find(key_a);
            const int second = index->find(key_a);
            expect(first != 0 && second >= first, "a key that is replaced is missing, or goes back");
        });
    }});

    campaign.add({"a key's slot becomes another's of the same tag", [](Program& program) {
        auto index = std::make_shared<Index>();
        index->hash.make_room(0, 2);
        index->put(key_a, 1);
        program.thread([index] {
            const HashIndex::Change change(index->hash, 0);
            index->remove(key_a);
            index->insert(key_b, 2);
        });
        program.thread([index] {
            (void)index->find(key_b);
        });
    }});

    campaign.add({"a key's slot becomes another's, seen by a search for all of its kind", [](Program& program) {
        auto index = std::make_shared<Index>();
        index->hash.make_room(0, 2);
        index->put(key_a, 1);
        program.thread([index] {
            const HashIndex::Change change(index->hash, 0);
            index->remove(key_a);
            index->insert(key_b, 2);
        });
        program.thread([index] {
            const auto found = index->find_all(key_b);
            expect(found.empty() || found == std::vector<int>{2}, "found what is another key's");
        });
    }});

    campaign.add({"a key's slot becomes another's, seen by a search and a walk", [](Program& program) {
        auto index = std::make_shared<Index>();
        index->hash.make_room(0, 2);
        index->put(key_a, 1);
        program.thread([index] {
            const HashIndex::Change change(index->hash, 0);
            index->remove(key_a);
            index->insert(key_b, 2);
        });
        program.thread([index] {
            std::vector<std::uint64_t> offsets;
            HashIndex::Cursor cursor;
            index->hash.collect(cursor, offsets);
            expect(offsets.size() == 1, "a walk sees a change of two keys by halves");
            for (const std::uint64_t offset : offsets) (void)frame_at(offset);
        });
    }});

    campaign.add({"a displaced key comes home, in one change", [](Program& program) {
        KeyHash displaced{0};
        auto index = with_displaced(displaced);
        {
            const HashIndex::Change change(index->hash, 0);
            index->remove(hash_for(0, low + 1, 1));
        }
        program.thread([index, displaced] {
            const HashIndex::Change change(index->hash, 0);
            index->remove(displaced);
            index->insert(displaced, 2);
        });
        program.thread([index, displaced] {
            const int found = index->find(displaced);
            expect(found == 1 || found == 2, "a key that moves home is missed");
        });
    }});

    campaign.add({"a displaced key comes home, seen by the long way", [](Program& program) {
        KeyHash displaced{0};
        auto index = with_displaced(displaced);
        {
            const HashIndex::Change change(index->hash, 0);
            index->remove(hash_for(0, low + 1, 1));
        }
        program.thread([index, displaced] {
            const HashIndex::Change change(index->hash, 0);
            index->remove(displaced);
            index->insert(displaced, 2);
        });
        program.thread([index, displaced] { expect(index->find_anywhere(displaced) != 0, "a key that moves home is missed"); });
    }});

    campaign.add({"a displaced key comes home, seen by a walk", [](Program& program) {
        KeyHash displaced{0};
        auto index = with_displaced(displaced);
        {
            const HashIndex::Change change(index->hash, 0);
            index->remove(hash_for(0, low + 1, 1));
        }
        program.thread([index, displaced] {
            const HashIndex::Change change(index->hash, 0);
            index->remove(displaced);
            index->insert(displaced, 2);
        });
        program.thread([index, displaced] { expect(index->seen_by_walk(displaced) == 1, "a walk misses a key that moves home"); });
    }});

    campaign.add({"a displaced key comes home, and its place becomes another's", [](Program& program) {
        KeyHash displaced{0};
        auto index = with_displaced(displaced);
        {
            const HashIndex::Change change(index->hash, 0);
            index->remove(hash_for(0, low + 1, 1));
        }
        program.thread([index, displaced] {
            const HashIndex::Change change(index->hash, 0);
            index->remove(displaced);
            index->insert(displaced, 2);
            index->insert(hash_for(0, high, 6), 3);
        });
        program.thread([index, displaced] { expect(index->find_anywhere(displaced) != 0, "a key that moves home is missed"); });
    }});

    campaign.add({"a displaced key comes home, and another one is displaced", [](Program& program) {
        KeyHash displaced{0};
        auto index = with_displaced(displaced);
        {
            const HashIndex::Change change(index->hash, 0);
            index->remove(hash_for(0, low + 1, 1));
        }
        program.thread([index, displaced] {
            const HashIndex::Change change(index->hash, 0);
            index->remove(displaced);
            index->insert(displaced, 2);
            index->insert(hash_for(0, low + 7, 7), 3);
        });
        program.thread([index, displaced] { expect(index->find_anywhere(displaced) != 0, "a key that moves home is missed"); });
    }});

    campaign.add({"a key is displaced, in one change with its removal at home", [](Program& program) {
        KeyHash displaced{0};
        auto index = with_displaced(displaced);
        {
            const HashIndex::Change change(index->hash, 0);
            index->remove(displaced);
        }
        const KeyHash moving = hash_for(0, low + 1, 1);
        program.thread([index, displaced, moving] {
            const HashIndex::Change change(index->hash, 0);
            index->remove(moving);
            index->insert(displaced, 3);
            index->insert(moving, 2);
        });
        program.thread([index, moving] {
            const int found = index->find(moving);
            expect(found == 1 || found == 2, "a key that is displaced is missed");
        });
    }});

    campaign.add({"a displaced key is replaced by another of its kind, seen by a walk", [](Program& program) {
        KeyHash displaced{0};
        auto index = with_displaced(displaced);
        program.thread([index, displaced] {
            const HashIndex::Change change(index->hash, 0);
            index->remove(displaced);
            index->insert(hash_for(0, high, 6), 2);
        });
        program.thread([index, displaced] {
            const int one = index->seen_by_walk(displaced);
            expect(one <= 1, "a walk sees a key twice");
        });
    }});

    campaign.add({"the first keys of an index, in two shards, and readers from the start", [](Program& program) {
        auto index = std::make_shared<Index>();
        auto other_frames = std::make_shared<Index>();  // the other writer's
        program.thread([index] { index->put(key_a, 1); });
        program.thread([index, other_frames] {
            const KeyHash key = hash_for(1, low, 1);
            (void)index->hash.has_shards();
            (void)index->locate(key);
            index->hash.make_room(1, 1);
            const HashIndex::Change change(index->hash, 1);
            index->hash.insert(key, offset_of(other_frames->make(key, 1)), 1, 1);
        });
        program.thread([index] {
            index->hash.prefetch(key_a);
            const int found = index->find(key_a);
            expect(index->hash.shard_totals(0).records <= 1, "a count that never was");
            expect(found == 0 || index->find(key_a) == found, "a key that was there is missing");
        });
    }, 2'000});

    campaign.add({"the first key of an index, and readers by other ways", [](Program& program) {
        auto index = std::make_shared<Index>();
        program.thread([index] { index->put(key_a, 1); });
        program.thread([index] { (void)index->find_anywhere(key_a); });
        program.thread([index] {
            std::vector<std::uint64_t> offsets;
            HashIndex::Cursor cursor;
            index->hash.collect(cursor, offsets);
            for (const std::uint64_t offset : offsets) (void)frame_at(offset);
        });
    }, 2'000});

    campaign.add({"the first key of an index, and a walk", [](Program& program) {
        auto index = std::make_shared<Index>();
        program.thread([index] { index->put(key_a, 1); });
        program.thread([index] { expect(index->seen_by_walk(key_a) <= 1, "a walk sees a key twice"); });
    }});

    campaign.add({"the first key of an index, and one who asks for it to be brought near", [](Program& program) {
        auto index = std::make_shared<Index>();
        program.thread([index] { index->put(key_a, 1); });
        program.thread([index] { index->hash.prefetch(key_a); });
    }});

    campaign.add({"the first key of an index, and one who copies another shard", [](Program& program) {
        auto index = std::make_shared<Index>();
        program.thread([index] { index->put(key_a, 1); });
        program.thread([index] { expect(index->hash.settle(1) == nullptr, "a table that nobody made"); });
    }});

    campaign.add({"two shards of a new index are given their tables at the same time", [](Program& program) {
        auto index = std::make_shared<Index>();
        const KeyHash keys[2] = {hash_for(0, low, 1), hash_for(1, low, 1)};
        for (const KeyHash key : keys) {
            const std::uint64_t offset = offset_of(index->make(key, 1));
            program.thread([index, key, offset] {
                HashTable* table = HashTable::create(1);
                table->place(key.position(), key.slot(offset));
                index->hash.adopt(key.shard(), table, {1, 1, 1});
            });
            program.afterwards([index, key] { expect(index->find(key) == 1, "a table is lost"); });
        }
    }});

    campaign.add({"a table is replaced by a larger one and freed, while a reader looks", [](Program& program) {
        auto index = std::make_shared<Index>();
        for (std::uint16_t i = 1; i <= 5; ++i) index->put(hash_for(0, low * i, i), 1);
        program.thread([index] { index->put(key_b, 2); });
        program.thread([index] {
            const Pins::Pin pin(*index->pins);
            expect(index->find(hash_for(0, low, 1)) == 1, "a key is missed during growth");
        });
    }, 2'000});

    campaign.add({"a table grows in two steps, while a reader looks for a key that is moved", [](Program& program) {
        auto index = before_growth();
        program.thread([index] {
            index->hash.make_room(0, 1);
            index->hash.make_room(0, 1);
        });
        program.thread([index] {
            const Pins::Pin pin(*index->pins);
            expect(index->find_anywhere(first) == 1, "a key that is moved is missed");
        });
    }, 2'000});

    campaign.add({"a growth is begun, a reader finds a key that is changed after its move", [](Program& program) {
        auto index = before_growth();
        program.thread([index] {
            index->hash.make_room(0, 1);
            const HashIndex::Change change(index->hash, 0);
            index->replace(first, 2);
        });
        program.thread([index] {
            const Pins::Pin pin(*index->pins);
            expect(index->find_anywhere(first) != 0, "a key that is moved is missed");
        });
    }, 2'000});

    campaign.add({"a growth is finished, a reader finds a key that was changed after its move", [](Program& program) {
        auto index = amid_growth();
        program.thread([index] { index->hash.make_room(0, 1); });
        program.thread([index] {
            expect(index->find(first) == 2, "a key is found as it was before");
        });
    }, 2'000});

    campaign.add({"a growth is finished and another one begun, a reader finds a key that was changed in between", [](Program& program) {
        auto index = amid_growth();
        for (std::uint16_t i = 0; i < 6; ++i) {  // to where the first keys were moved: the larger table is full, too
            const HashIndex::Change change(index->hash, 0);
            index->insert(hash_for(0, 0x40000000, static_cast<std::uint16_t>(5 + i)), 1);
        }
        program.thread([index] { index->hash.make_room(0, 1); });
        program.thread([index] {
            expect(index->find_anywhere(first) == 2, "a key is found as it was before");
        });
    }, 2'000});

    campaign.add({"a table grows once more, while a reader looks", [](Program& program) {
        auto index = amid_growth();
        index->hash.make_room(0, 1);
        program.thread([index] { index->hash.make_room(0, enough_for_growth); });
        program.thread([index] {
            expect(index->find_anywhere(first) == 2, "a key is missed during growth");
        });
    }, 2'000});

    // Of 128 buckets 257 are made, so that one of these has keys from below and from above the boundary of the first step.
    campaign.add({"a growth goes on, while a reader walks through the bucket that it has come to", [](Program& program) {
        constexpr std::uint32_t boundary = std::uint32_t{1} << 25;
        constexpr KeyHash below = hash_for(1, boundary - 1, 3);
        constexpr KeyHash above = hash_for(1, boundary, 4);
        auto index = before_growth(128, 537, {below, above}, Readers::pinned);
        index->hash.make_room(1, 1);
        program.thread([index] { index->hash.make_room(1, 1); });
        program.thread([index] {
            std::vector<std::uint64_t> offsets;
            for (HashIndex::Cursor cursor{1, boundary - 1}; cursor.position <= boundary;) index->hash.collect(cursor, offsets);
            expect(offsets.size() == 2, "a walk passes over a key");
            for (const std::uint64_t offset : offsets) (void)frame_at(offset);
        });
    }, 1'000});

    // Who reads without a barrier depends on the order that all sequentially consistent accesses have.
    campaign.add({"a table is replaced by a larger one and freed, while a reader without a barrier looks", [](Program& program) {
        auto index = before_growth(1, 5, {first}, Readers::without_barrier);
        program.thread([index] { index->hash.make_room(0, 1); });
        program.thread([index] {
            const Pins::Pin pin(*index->pins);
            expect(index->find(first) == 1, "a key is missed during growth");
        });
    }, 2'000});

    campaign.add({"the same, and the reader looks by the long way", [](Program& program) {
        auto index = before_growth(1, 5, {first}, Readers::without_barrier);
        program.thread([index] { index->hash.make_room(0, 1); });
        program.thread([index] {
            const Pins::Pin pin(*index->pins);
            expect(index->find_anywhere(first) == 1, "a key is missed during growth");
        });
    }, 2'000});

    campaign.add({"the same, and the reader walks", [](Program& program) {
        auto index = before_growth(1, 5, {first}, Readers::without_barrier);
        program.thread([index] { index->hash.make_room(0, 1); });
        program.thread([index] {
            const Pins::Pin pin(*index->pins);
            expect(index->seen_by_walk(first) == 1, "a walk misses a key, or sees it twice");
        });
    }, 2'000});

    for (const Readers readers : {Readers::with_barrier, Readers::without_barrier}) {
        campaign.add({readers == Readers::with_barrier ? "an index is cleared and its tables are freed, while a reader looks"
                                                       : "the same, while a reader without a barrier looks", [readers](Program& program) {
            auto index = std::make_shared<Index>(readers);
            index->put(key_a, 1);
            program.thread([index] { index->clear(); });
            program.thread([index] {
                const Pins::Pin pin(*index->pins);
                (void)index->find(key_a);
            });
        }, 1'000});
    }

    campaign.add({"an index is cleared in the middle of growth, while a reader without a barrier looks", [](Program& program) {
        auto index = before_growth(Readers::without_barrier);
        index->hash.make_room(0, 1);
        program.thread([index] { index->clear(); });
        program.thread([index] {
            const Pins::Pin pin(*index->pins);
            (void)index->find_anywhere(first);
        });
    }, 1'000});

    campaign.add({"an index is cleared, while a reader looks for two keys", [](Program& program) {
        constexpr KeyHash other = hash_for(1, low, 1);
        auto index = std::make_shared<Index>(Readers::pinned);
        index->put(key_a, 1);
        index->put(other, 1);
        program.thread([index] { index->clear(); });
        program.thread([index] {
            const int one = index->find(key_a);
            const int two = index->find(other);
            expect(one != 0 || two == 0, "a clear is seen by halves");
        });
    }, 1'000});

    campaign.add({"two tables of one piece of memory are given up by two threads", [](Program& program) {
        TableArena* const arena = TableArena::create(2 * sizeof(emdb::detail::Bucket));
        HashTable* tables[2];
        for (std::size_t i = 0; i < 2; ++i) {
            tables[i] = HashTable::create(1, *arena, i * sizeof(emdb::detail::Bucket));
            new (&tables[i]->bucket(0)) emdb::detail::Bucket;
        }
        arena->release();
        for (HashTable* table : tables) {
            program.thread([table] {
                table->place(first.position(), first.slot(1));
                HashTable::destroy(table);
            });
        }
    }});

    campaign.run();
}
