// The ordered index under every interleaving: the seqlock of its nodes, splits and merges, the root, hints, and what is freed.
//
// A frame's offset is here the address of a piece of memory that the writer makes before it changes the index: what the journal
// orders in emdb is ordered here by the index alone. So a reader that finds an offset without order is found by using the frame.

#include "races/model/atomic.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "index/ordered_shape.hpp"
#include "races/model/campaign.hpp"
#include "races/model/surroundings.hpp"
#include "support/ordered_index_inspection.hpp"

namespace {

using emdb::Bytes;
using emdb::detail::KeyBound;
using emdb::detail::NodePool;
using emdb::detail::OrderedHint;
using emdb::detail::OrderedIndex;
using emdb::detail::OrderedIndexInspection;
using emdb::detail::Pins;
using emdb::detail::PlainText;
using emdb::detail::TreeNode;
using model::expect;
using model::Program;

struct Frame {
    std::string key;
    int version = 0;
};

std::uint64_t offset_of(const Frame* frame) { return reinterpret_cast<std::uintptr_t>(frame); }
const Frame& frame_at(std::uint64_t offset) {
    const auto* frame = reinterpret_cast<const Frame*>(static_cast<std::uintptr_t>(offset));
    model::Explorer::running()->use(frame);
    return *frame;
}
Bytes read_key(const void*, std::uint64_t offset, PlainText&) noexcept { return frame_at(offset).key; }

/// How what readers look at is kept: each counts by plain stores and there is a process-wide barrier; they count on one slot, without
/// it; or somebody has a pin all the time, for scenarios about other things.
enum class Readers { with_barrier, without_barrier, pinned };

using Seen = std::vector<const Frame*>;

struct Tree {
    /// "abcde fg.ij": leaves that were built of five keys each, the last one perhaps of fewer, and without those at dots. Keys are the
    /// letters from a on; those before `alike_before` have "aaaa" in front.
    explicit Tree(const char* leaves, Readers readers = Readers::pinned, char alike_before = 'a')
        : alike_before(alike_before), pins(make_pins(readers)) {
        if (readers == Readers::pinned) pin.emplace(*pins);
        std::vector<std::uint64_t> offsets;
        std::string removed;
        char letter = 'a';
        for (const char* at = leaves; *at != 0; ++at) {
            if (*at == ' ') continue;
            offsets.push_back(offset_of(make(std::string(1, letter))));
            if (*at == '.') removed += letter;
            ++letter;
        }
        expect(index.build(offsets), "memory");
        for (const char key : removed) remove(std::string(1, key));
        while (pool->memory_bytes() != 0) TreeNode::destroy(pool->take());  // so that writers make what they take
    }
    static std::shared_ptr<Pins> make_pins(Readers readers) {
        if (readers == Readers::with_barrier) model::each_on_its_own_slot();
        else model::all_on_one_shared_slot(false);
        return std::make_shared<Pins>();
    }

    const char alike_before;
    const std::shared_ptr<Pins> pins;
    std::optional<Pins::Pin> pin;
    const std::shared_ptr<NodePool> pool = std::make_shared<NodePool>();
    std::array<std::vector<std::unique_ptr<Frame>>, model::threads_max> made;  ///< by each thread
    OrderedIndex index{pins, pool, nullptr, &read_key};

    std::string whole(const std::string& key) const {
        if (key.starts_with('=')) return key.substr(1);
        return key.empty() || key.front() >= alike_before ? key : "aaaa" + key;
    }
    std::string_view short_of(std::string_view key) const { return key.starts_with("aaaa") ? key.substr(4) : key; }
    const Frame* make(const std::string& key, int version = 1) {
        auto& mine = made[model::Explorer::running()->thread()];
        mine.push_back(std::make_unique<Frame>(Frame{whole(key), version}));
        return mine.back().get();
    }
    /// What a writer that has the key's stripe knows.
    std::uint64_t present(const std::string& key) const {
        const Frame* last = nullptr;
        for (const auto* frames : {&made[0], &made[model::Explorer::running()->thread()]}) {
            for (const auto& frame : *frames) {
                if (frame->key == whole(key)) last = frame.get();
            }
        }
        return offset_of(last);
    }
    void insert(const std::string& key, const OrderedHint& hint = {}) { index.insert(whole(key), offset_of(make(key)), hint); }
    /// With as many nodes as it may take.
    void insert_with(std::size_t nodes, const std::string& key, const OrderedHint& hint = {}) {
        const NodePool::Promise promise(*pool, nodes);
        expect(static_cast<bool>(promise), "memory");
        insert(key, hint);
    }
    void replace(const std::string& key, int version, const OrderedHint& hint = {}) {
        const std::uint64_t old = present(key);
        index.replace(whole(key), old, offset_of(make(key, version)), hint);
    }
    void remove(const std::string& key) { index.remove(whole(key), present(key)); }
    OrderedHint prepare(const std::string& key) { return index.prepare(whole(key)); }
    void tidy(const std::string& key) { index.tidy(whole(key)); }
    void clear() {
        pins->reserve(1);
        index.dispose_of(index.clear());
    }

    // The entries from a key on, as a scan finds them.
    Seen collect(const std::string& from = "", const char* to = nullptr) {
        Seen seen;
        const std::string first = whole(from);
        const std::string last = whole(to == nullptr ? "" : to);
        const KeyBound end{last, true};
        KeyBound begin{first, true};
        for (;;) {
            OrderedIndex::Slice slice;
            {
                std::optional<Pins::Pin> mine;
                if (!pin) mine.emplace(*pins);
                index.collect(begin, to == nullptr ? nullptr : &end, slice);
            }
            for (unsigned i = 0; i < slice.count; ++i) seen.push_back(&frame_at(slice.offsets[i]));
            if (slice.next == 0) return seen;
            const std::string& next = frame_at(slice.next).key;
            const bool gets_on = begin.key.as_string_view() < next;
            expect(gets_on, "a scan does not get on");
            if (!gets_on) return seen;
            begin = {next, true};
        }
    }
    /// That the scan saw all that is there all the time, and nothing that is not there at any, in order.
    void expect_seen(const Seen& seen, std::string_view always, std::string_view perhaps = "") const {
        std::size_t steady = 0;
        std::string_view last;
        for (const Frame* frame : seen) {
            const std::string_view key = short_of(frame->key);
            expect(last < key, "a scan sees a key twice, or out of order");
            last = key;
            const bool is_steady = knows(always, key);
            expect(is_steady || knows(perhaps, key), "a scan sees what is not there");
            steady += is_steady;
        }
        expect(steady == words(always), "a scan misses a key");
    }
    static bool knows(std::string_view list, std::string_view key) {
        for (std::size_t begin = 0; begin < list.size();) {
            const std::size_t end = (std::min)(list.find(' ', begin), list.size());
            if (list.substr(begin, end - begin) == key) return true;
            begin = end + 1;
        }
        return false;
    }
    static std::size_t words(std::string_view list) {
        return list.empty() ? 0 : static_cast<std::size_t>(std::count(list.begin(), list.end(), ' ')) + 1;
    }

    /// When all is over.
    void expect_well_formed(std::string_view keys) {
        const OrderedIndexInspection inspection(index);
        expect(inspection.complaint.empty(), inspection.complaint.c_str());
        expect_seen(collect(), keys);
    }
};

void well_formed_with(Program& program, const std::shared_ptr<Tree>& tree, const char* keys) {
    program.afterwards([tree, keys] { tree->expect_well_formed(keys); });
}

}  // namespace

TEST_CASE("the ordered index is right in every interleaving, and each of its memory orders is needed for that or named as open") {
    model::Campaign campaign("ordered index", {"index/ordered_index.hpp", "index/ordered_shape.hpp", "index/tree_node.hpp"});
    campaign.on_switch(model::run_on_slot);

    campaign.add({"a key is inserted, a reader collects", [](Program& program) {
        auto tree = std::make_shared<Tree>("a.c");
        program.thread([tree] { tree->insert("b"); });
        program.thread([tree] { tree->expect_seen(tree->collect(), "a c", "b"); });
        well_formed_with(program, tree, "a b c");
    }});

    campaign.add({"a key is inserted, a reader collects from a key on", [](Program& program) {
        auto tree = std::make_shared<Tree>("a.cd");
        program.thread([tree] { tree->insert("b"); });
        program.thread([tree] { tree->expect_seen(tree->collect("c"), "c d"); });
    }});

    campaign.add({"a key is inserted among others that only their frames tell apart, a reader collects", [](Program& program) {
        auto tree = std::make_shared<Tree>("");
        tree->insert_with(1, "=likewise1");
        tree->insert("=likewise3");
        program.thread([tree] { tree->insert("=likewise2"); });
        program.thread([tree] { tree->expect_seen(tree->collect("=likewise3"), "likewise3"); });
    }});

    campaign.add({"a key is removed, a reader collects", [](Program& program) {
        auto tree = std::make_shared<Tree>("abc");
        program.thread([tree] { tree->remove("a"); });
        program.thread([tree] { tree->expect_seen(tree->collect(), "b c", "a"); });
        well_formed_with(program, tree, "b c");
    }});

    campaign.add({"a key is removed, a reader collects up to a key", [](Program& program) {
        auto tree = std::make_shared<Tree>("abc");
        program.thread([tree] { tree->remove("a"); });
        program.thread([tree] { tree->expect_seen(tree->collect("", "b"), "b", "a"); });
    }});

    campaign.add({"two keys are replaced, a reader collects both twice", [](Program& program) {
        auto tree = std::make_shared<Tree>("ab");
        program.thread([tree] {
            tree->replace("a", 2);
            tree->replace("b", 2);
        });
        program.thread([tree] {
            int last = 0;
            for (int i = 0; i < 2; ++i) {
                const auto seen = tree->collect();
                expect(seen.size() == 2 && seen[0]->version >= seen[1]->version, "a scan sees two moments");
                expect(seen[0]->version + seen[1]->version >= last, "a key goes back");
                last = seen[0]->version + seen[1]->version;
            }
        });
    }, 1'000});

    campaign.add({"a leaf without a parent is split, a reader collects", [](Program& program) {
        auto tree = std::make_shared<Tree>("abcde");
        tree->insert("c2");
        program.thread([tree] { tree->insert_with(2, "c1"); });
        program.thread([tree] { tree->expect_seen(tree->collect(), "a b c c2 d e", "c1"); });
        well_formed_with(program, tree, "a b c c1 c2 d e");
    }, 1'000});

    campaign.add({"a leaf is split, a reader collects from a key on", [](Program& program) {
        auto tree = std::make_shared<Tree>("abcde fghij");
        tree->insert("c2");
        program.thread([tree] { tree->insert_with(1, "c1"); });
        program.thread([tree] { tree->expect_seen(tree->collect("d"), "d e f g h i j"); });
        well_formed_with(program, tree, "a b c c1 c2 d e f g h i j");
    }, 1'000});

    campaign.add({"two leaves become one, a reader collects", [](Program& program) {
        auto tree = std::make_shared<Tree>("ab... f.... klmno");
        program.thread([tree] {
            tree->remove("f");
            tree->tidy("f");
        });
        program.thread([tree] { tree->expect_seen(tree->collect(), "a b k l m n o", "f"); });
        well_formed_with(program, tree, "a b k l m n o");
    }, 1'000});

    campaign.add({"two writers in one leaf", [](Program& program) {
        auto tree = std::make_shared<Tree>("abc");
        program.thread([tree] { tree->insert("a1"); });
        program.thread([tree] { tree->remove("b"); });
        well_formed_with(program, tree, "a a1 c");
    }});

    campaign.add({"two writers in a full leaf", [](Program& program) {
        auto tree = std::make_shared<Tree>("abcde");
        tree->insert("c2");
        program.thread([tree] { tree->insert_with(2, "c1"); });
        program.thread([tree] { tree->insert_with(2, "d1"); });
        well_formed_with(program, tree, "a b c c1 c2 d d1 e");
    }, 1'000});

    campaign.add({"a leaf that is filled again before the writer that had it split comes back to it", [](Program& program) {
        auto tree = std::make_shared<Tree>("abcde");
        tree->insert("c2");
        program.thread([tree] { tree->insert_with(2, "c1"); });
        program.thread([tree] {
            for (const char* const key : {"a1", "a2", "a3"}) tree->insert_with(4, key);
        });
        well_formed_with(program, tree, "a a1 a2 a3 b c c1 c2 d e");
    }, 1'000});

    campaign.add({"the first key of an index, and a reader", [](Program& program) {
        auto tree = std::make_shared<Tree>("");
        program.thread([tree] { tree->insert_with(1, "a"); });
        program.thread([tree] { tree->expect_seen(tree->collect(), "", "a"); });
        well_formed_with(program, tree, "a");
    }});

    campaign.add({"the first keys of an index, by two writers", [](Program& program) {
        auto tree = std::make_shared<Tree>("");
        program.thread([tree] { tree->insert_with(1, "a"); });
        program.thread([tree] { tree->insert_with(1, "b"); });
        well_formed_with(program, tree, "a b");
    }, 1'000});

    campaign.add({"a leaf is split, which gives its keys more in common, a reader collects", [](Program& program) {
        auto tree = std::make_shared<Tree>("abcde fghij k", Readers::pinned, 'j');
        tree->insert("h2");
        program.thread([tree] { tree->insert_with(1, "h1"); });
        program.thread([tree] { tree->expect_seen(tree->collect("g"), "g h h2 i j k", "h1"); });
        well_formed_with(program, tree, "a b c d e f g h h1 h2 i j k");
    }, 1'000});

    campaign.add({"the same, up to a key", [](Program& program) {
        auto tree = std::make_shared<Tree>("abcde fghij k", Readers::pinned, 'j');
        tree->insert("h2");
        program.thread([tree] { tree->insert_with(1, "h1"); });
        program.thread([tree] { tree->expect_seen(tree->collect("g", "i"), "g h h2 i", "h1"); });
    }, 1'000});

    campaign.add({"the same, up to a key that has less in common", [](Program& program) {
        auto tree = std::make_shared<Tree>("abcde fghij k", Readers::pinned, 'j');
        tree->insert("h2");
        program.thread([tree] { tree->insert_with(1, "h1"); });
        program.thread([tree] { tree->expect_seen(tree->collect("g", "=b"), "g h h2 i", "h1"); });
    }, 1'000});

    // The first leaf, if it is empty, takes up the next one, which is freed.
    for (const Readers readers : {Readers::with_barrier, Readers::without_barrier}) {
        const auto named = [readers](const char* with_barrier, const char* without) {
            return readers == Readers::with_barrier ? with_barrier : without;
        };

        campaign.add({named("a leaf is freed, a reader collects",
                            "a leaf is freed, a reader without a barrier collects"), [readers](Program& program) {
            auto tree = std::make_shared<Tree>("..... f.... k", readers);
            program.thread([tree] { tree->tidy("a"); });
            program.thread([tree] { tree->expect_seen(tree->collect("f"), "f k"); });
            well_formed_with(program, tree, "f k");
        }, 1'000});

        campaign.add({named("the last leaf is freed, a reader collects",
                            "the last leaf is freed, a reader without a barrier collects"), [readers](Program& program) {
            auto tree = std::make_shared<Tree>("abcde f.... k", readers);
            program.thread([tree] {
                tree->remove("k");
                tree->tidy("k");
            });
            program.thread([tree] { tree->expect_seen(tree->collect("j"), "", "k"); });
            well_formed_with(program, tree, "a b c d e f");
        }, 1'000});

        campaign.add({named("a root is freed, a reader collects",
                            "a root is freed, a reader without a barrier collects"), [readers](Program& program) {
            auto tree = std::make_shared<Tree>("a.... f", readers);
            program.thread([tree] {
                tree->remove("f");
                tree->tidy("f");
            });
            program.thread([tree] { tree->expect_seen(tree->collect(), "a", "f"); });
            well_formed_with(program, tree, "a");
        }, 1'000});

        campaign.add({named("nodes of all levels are freed, a reader collects",
                            "nodes of all levels are freed, a reader without a barrier collects"), [readers](Program& program) {
            auto tree = std::make_shared<Tree>("abcd. ..... klmno pqrst uvwx. z", readers);
            tree->tidy("f");
            program.thread([tree] {
                tree->remove("z");
                tree->tidy("z");
            });
            program.thread([tree] { tree->expect_seen(tree->collect("u"), "u v w x", "z"); });
            well_formed_with(program, tree, "a b c d k l m n o p q r s t u v w x");
        }, 1'000});

        campaign.add({named("a leaf is freed that a writer has a hint for",
                            "a leaf is freed that a writer without a barrier has a hint for"), [readers](Program& program) {
            auto tree = std::make_shared<Tree>("..... f.... k", readers);
            program.thread([tree] { tree->tidy("a"); });
            program.thread([tree] {
                const OrderedHint hint = tree->prepare("g");
                tree->insert("g", hint);
            });
            well_formed_with(program, tree, "f g k");
        }, 1'000});

        campaign.add({named("a leaf is freed that a writer has had a hint for",
                            "a leaf is freed that a writer without a barrier has had a hint for"), [readers](Program& program) {
            auto tree = std::make_shared<Tree>("..... f.... k", readers);
            const OrderedHint hint = tree->prepare("g");
            program.thread([tree] { tree->tidy("a"); });
            program.thread([tree, hint] { tree->insert("g", hint); });
            well_formed_with(program, tree, "f g k");
        }, 500});

        campaign.add({named("an index is cleared, a reader collects",
                            "an index is cleared, a reader without a barrier collects"), [readers](Program& program) {
            auto tree = std::make_shared<Tree>("abcde f", readers);
            program.thread([tree] { tree->clear(); });
            program.thread([tree] { tree->expect_seen(tree->collect(), "", "a b c d e f"); });
        }, 1'000});
    }

    campaign.add({"an inner node is split, a reader collects", [](Program& program) {
        auto tree = std::make_shared<Tree>("abcde fghij klmno pqrst uvwxy");
        tree->insert_with(5, "c2");
        tree->insert_with(5, "c1");
        tree->insert_with(5, "r2");
        program.thread([tree] { tree->insert_with(3, "r1"); });
        program.thread([tree] { tree->expect_seen(tree->collect("s"), "s t u v w x y"); });
        well_formed_with(program, tree, "a b c c1 c2 d e f g h i j k l m n o p q r r1 r2 s t u v w x y");
    }, 1'000});

    campaign.add({"a root grows and is given up again, a reader collects", [](Program& program) {
        auto tree = std::make_shared<Tree>("abcde");
        tree->insert("c2");
        program.thread([tree] {
            tree->insert_with(2, "c1");
            for (const char* key : {"c2", "d", "e"}) tree->remove(key);
            tree->tidy("e");
        });
        program.thread([tree] { tree->expect_seen(tree->collect("d"), "", "d e"); });
        well_formed_with(program, tree, "a b c c1");
    }, 4'000});

    campaign.add({"a root is given up and another one grows, a reader collects", [](Program& program) {
        auto tree = std::make_shared<Tree>("abcd. .");
        auto nodes = std::make_shared<NodePool::Promise>(*tree->pool, 2);
        program.thread([tree, nodes] {
            tree->tidy("f");
            for (const char* key : {"a1", "a2", "a3"}) tree->insert(key);
        });
        program.thread([tree] { tree->expect_seen(tree->collect("c"), "c d"); });
        well_formed_with(program, tree, "a a1 a2 a3 b c d");
    }, 2'000});

    campaign.add({"a key is replaced with a hint, beside another writer in its leaf", [](Program& program) {
        auto tree = std::make_shared<Tree>("abc");
        program.thread([tree] { tree->replace("b", 2, tree->prepare("b")); });
        program.thread([tree] { tree->remove("a"); });
        well_formed_with(program, tree, "b c");
    }, 1'000});

    campaign.add({"a key is inserted with a hint, beside another writer who fills its leaf", [](Program& program) {
        auto tree = std::make_shared<Tree>("abcde");
        program.thread([tree] { tree->insert_with(2, "b1", tree->prepare("b1")); });
        program.thread([tree] { tree->insert_with(2, "d1", tree->prepare("d1")); });
        well_formed_with(program, tree, "a b b1 c d d1 e");
    }, 1'000});

    campaign.add({"a key is replaced with a hint, a reader collects", [](Program& program) {
        auto tree = std::make_shared<Tree>("abc");
        program.thread([tree] { tree->replace("b", 2, tree->prepare("b")); });
        program.thread([tree] { tree->expect_seen(tree->collect(), "a b c"); });
    }, 1'000});

    campaign.add({"a key that can't be found by its way is removed, while its leaf becomes one with another", [](Program& program) {
        auto tree = std::make_shared<Tree>("..... f.... k");
        program.thread([tree] { tree->tidy("a"); });
        program.thread([tree] { tree->index.remove("z", tree->present("f")); });
        well_formed_with(program, tree, "k");
    }, 1'000});

    campaign.add({"two writers and a reader in one leaf", [](Program& program) {
        auto tree = std::make_shared<Tree>("abc");
        program.thread([tree] { tree->insert("a1"); });
        program.thread([tree] { tree->remove("b"); });
        program.thread([tree] { tree->expect_seen(tree->collect("b"), "c", "b"); });
        well_formed_with(program, tree, "a a1 c");
    }, 2'000});

    campaign.add({"a leaf becomes empty and one with another, while a writer puts a key into it", [](Program& program) {
        auto tree = std::make_shared<Tree>("ab... f.... k");
        program.thread([tree] {
            tree->remove("f");
            tree->tidy("f");
        });
        program.thread([tree] { tree->insert("g"); });
        well_formed_with(program, tree, "a b g k");
    }, 1'000});

    campaign.add({"two writers merge neighbours, a reader collects", [](Program& program) {
        auto tree = std::make_shared<Tree>("..... fg... ..... p");
        program.thread([tree] { tree->tidy("a"); });
        program.thread([tree] { tree->tidy("k"); });
        program.thread([tree] { tree->expect_seen(tree->collect("f"), "f g p"); });
        well_formed_with(program, tree, "f g p");
    }, 1'000});

    campaign.add({"two take nodes that one was spare of", [](Program& program) {
        auto pool = std::make_shared<NodePool>();
        { const NodePool::Promise promise(*pool, 1); }
        for (int i = 0; i < 2; ++i) {
            program.thread([pool] {
                const NodePool::Promise promise(*pool, 1);
                TreeNode::destroy(pool->take());
            });
        }
    }, 1'000});

    // If nobody wants them, 34 are freed.
    campaign.add({"nodes are promised while spare ones are freed", [](Program& program) {
        struct Shared {
            NodePool pool;
            std::optional<NodePool::Promise> promises[2];
        };
        auto shared = std::make_shared<Shared>();
        shared->promises[0].emplace(shared->pool, 66);
        program.thread([shared] { shared->promises[0].reset(); });
        program.thread([shared] { shared->promises[1].emplace(shared->pool, 34); });
        program.afterwards([shared] {
            expect(shared->pool.memory_bytes() >= 34 * sizeof(TreeNode), "nodes are promised that are not there");
        });
    }, 1'000});

    campaign.unproven({"index/ordered_index.hpp", "hint.retirements_ = retirements_", "relaxed",
                       "only a load that comes after what follows it in the source would find a leaf and count its retirement; the model "
                       "makes sequentially consistent loads, which those of the way down are, in the order of the source"});
    campaign.run();
}
