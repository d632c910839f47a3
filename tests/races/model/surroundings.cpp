// What shared structures ask of the operating system, as the model has it.

#include "races/model/atomic.hpp"

#include <cstdlib>
#include <new>

#include "base/single_implementation.hpp"
#include "index/thread_slot.hpp"
#include "os/contract.hpp"
#include "races/model/surroundings.hpp"

namespace model {

namespace {
unsigned slots[threads_max] = {};
}

bool barriers_work = true;

void each_on_its_own_slot() {
    barriers_work = true;
    for (unsigned i = 0; i < threads_max; ++i) slots[i] = i % emdb::detail::owned_thread_slots;
}
void all_on_one_shared_slot(bool with_barrier) {
    barriers_work = with_barrier;
    for (unsigned& slot : slots) slot = emdb::detail::owned_thread_slots;
}
void run_on_slot(unsigned thread) { emdb::detail::current_thread_slot = slots[thread]; }

}  // namespace model

namespace emdb::detail {

bool process_barrier_works() noexcept { return model::barriers_work; }
bool process_barrier() noexcept {
    if (auto* explorer = model::Explorer::running()) explorer->barrier();
    return model::barriers_work;
}
// Tables of the models are small.
void* allocate_pages(std::size_t size) noexcept { return ::operator new(size, std::align_val_t{4096}, std::nothrow); }
void release_pages(void* data, std::size_t) noexcept { ::operator delete(data, std::align_val_t{4096}); }
void give_back_pages(void*, std::size_t) noexcept {}

}  // namespace emdb::detail
