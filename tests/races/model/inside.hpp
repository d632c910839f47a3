#pragma once
// What the explorer allocates itself is none of the program's.

namespace model {

inline unsigned inside = 0;
struct Inside {
    Inside() noexcept { ++inside; }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;
    ~Inside() { --inside; }
};

}  // namespace model
