#pragma once
// What models choose of their surroundings.

namespace model {

extern bool barriers_work;  ///< whether process_barrier() does

/// Each modelled thread counts its pins on a slot of its own, by plain stores.
void each_on_its_own_slot();
/// All of them count on one slot, with or without a process-wide barrier.
void all_on_one_shared_slot(bool with_barrier);
/// For Campaign::on_switch.
void run_on_slot(unsigned thread);

}  // namespace model
