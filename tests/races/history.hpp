#pragma once
// Whether what concurrent calls have answered can be explained by some order of them, one after the other, in which no call comes
// after one that began when it was over (linearizability; with transactions, strict serializability). The search is that of Wing and
// Gong with the states remembered that led nowhere (Lowe; Porcupine).

#include <algorithm>
#include <cstdint>
#include <cstddef>
#include <set>
#include <utility>
#include <vector>

namespace history {

constexpr unsigned keys_max = 8;
constexpr std::size_t operations_max = 64;

/// What a call says of one key at its moment, or does to it. Values are below 256; 0: there is none.
struct Part {
    enum class Kind : std::uint8_t { equals, differs, becomes } kind = Kind::equals;
    unsigned key = 0;
    std::uint8_t value = 0;
};
inline Part equals(unsigned key, std::uint8_t value) { return {Part::Kind::equals, key, value}; }
inline Part differs(unsigned key, std::uint8_t value) { return {Part::Kind::differs, key, value}; }
inline Part becomes(unsigned key, std::uint8_t value) { return {Part::Kind::becomes, key, value}; }

/// A call: when it began and ended, on a clock that all threads share, and its parts, which happen at one moment, in their order.
struct Operation {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::vector<Part> parts;
};

class Search {
public:
    explicit Search(const std::vector<Operation>& operations) : operations_(operations) {}
    bool succeeds() { return operations_.size() <= operations_max && go_on(0, 0); }

private:
    using State = std::uint64_t;
    static std::uint8_t value(State state, unsigned key) { return static_cast<std::uint8_t>(state >> (8 * key)); }

    static bool apply(const Operation& operation, State& state) {
        for (const Part& part : operation.parts) {
            const bool same = value(state, part.key) == part.value;
            if (part.kind == Part::Kind::equals && !same) return false;
            if (part.kind == Part::Kind::differs && same) return false;
            if (part.kind != Part::Kind::becomes) continue;
            state &= ~(State{0xFF} << (8 * part.key));
            state |= State{part.value} << (8 * part.key);
        }
        return true;
    }

    bool go_on(std::uint64_t done, State state) {
        std::uint64_t first_end = UINT64_MAX;
        bool all_done = true;
        for (std::size_t i = 0; i < operations_.size(); ++i) {
            if ((done >> i & 1) != 0) continue;
            all_done = false;
            first_end = (std::min)(first_end, operations_[i].end);
        }
        if (all_done) return true;
        if (!tried_.emplace(done, state).second) return false;
        for (std::size_t i = 0; i < operations_.size(); ++i) {
            if ((done >> i & 1) != 0 || operations_[i].begin > first_end) continue;
            State next = state;
            if (apply(operations_[i], next) && go_on(done | std::uint64_t{1} << i, next)) return true;
        }
        return false;
    }

    const std::vector<Operation>& operations_;
    std::set<std::pair<std::uint64_t, State>> tried_;
};

/// All keys are absent at the beginning.
inline bool is_explained(const std::vector<Operation>& operations) { return Search(operations).succeeds(); }

}  // namespace history
