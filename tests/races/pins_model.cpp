// Pins under every interleaving: what is retired is freed, and not while a reader may hold it, whether pins are plain stores with a
// process-wide barrier or atomic counts on slots that threads share; and slots go from thread to thread.

#include "races/model/atomic.hpp"

#include <doctest/doctest.h>

#include <memory>

#include "index/pins.hpp"
#include "index/thread_slot.hpp"
#include "races/model/campaign.hpp"
#include "races/model/surroundings.hpp"

namespace {

using emdb::detail::Atomic;
using emdb::detail::Pins;
using emdb::detail::ThreadSlots;
using model::all_on_one_shared_slot;
using model::each_on_its_own_slot;
using model::expect;
using model::Program;

struct Thing {
    Atomic<int> word{1};
};

struct Shared {
    Pins pins;
    Atomic<Thing*> link{new Thing};
    ~Shared() { delete link.load(std::memory_order_relaxed); }

    void read() {
        const Pins::Pin pin(pins);
        (void)link.load(std::memory_order_seq_cst)->word.load(std::memory_order_relaxed);
    }
    void replace() {
        pins.reserve(1);
        Thing* old = link.load(std::memory_order_relaxed);
        link.store(new Thing, std::memory_order_seq_cst);
        pins.retire(old, [](void* thing) noexcept { delete static_cast<Thing*>(thing); });
    }
};

void reader_and_writer(Program& program) {
    auto shared = std::make_shared<Shared>();
    program.thread([shared] { shared->read(); });
    program.thread([shared] { shared->replace(); });
}

}  // namespace

TEST_CASE("pins are right in every interleaving, and each of their memory orders is needed for that") {
    model::Campaign campaign("pins", {"index/pins.hpp", "index/thread_slot.hpp"});
    campaign.on_switch(model::run_on_slot);
    campaign.add({"a reader with a slot of its own, while what it reads is replaced", [](Program& program) {
        each_on_its_own_slot();
        reader_and_writer(program);
    }, 20'000});
    campaign.add({"a reader on a shared slot, while what it reads is replaced", [](Program& program) {
        all_on_one_shared_slot(true);
        reader_and_writer(program);
    }, 20'000});
    campaign.add({"the same without a barrier", [](Program& program) {
        all_on_one_shared_slot(false);
        reader_and_writer(program);
    }, 20'000});
    campaign.add({"a reader that comes back, while what it reads is replaced twice", [](Program& program) {
        all_on_one_shared_slot(true);
        auto shared = std::make_shared<Shared>();
        program.thread([shared] {
            shared->read();
            shared->read();
        });
        program.thread([shared] {
            shared->replace();
            shared->replace();
        });
    }, 50'000});
    campaign.add({"a slot that is given back is taken by another thread", [](Program& program) {
        each_on_its_own_slot();
        struct Used {
            Atomic<int> sum{0};
            Atomic<int> users{0};
        };
        auto used = std::make_shared<Used>();
        ThreadSlots::give_back(0);  // the flags are made by no thread
        for (int i = 0; i < 2; ++i) {
            program.thread([used] {
                const auto slot = ThreadSlots::take();
                if (slot == 0) {
                    // Who has the slot stores without looking at what others do.
                    used->sum.store(used->sum.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
                    used->users.fetch_add(1, std::memory_order_relaxed);
                }
                ThreadSlots::give_back(slot);
            });
        }
        program.afterwards([used] {
            expect(used->sum.load(std::memory_order_relaxed) == used->users.load(std::memory_order_relaxed), "a slot has two users at a time");
        });
    }, 20'000, true});
    campaign.unproven({"index/pins.hpp", "atomic_signal_fence", "unreached", "it is for the compiler; the model keeps the order of the source"});
    campaign.run();
}
