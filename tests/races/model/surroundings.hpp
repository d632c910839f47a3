#pragma once
// What models choose of their surroundings.

namespace model {
extern bool barriers_work;  ///< whether process_barrier() does
}
