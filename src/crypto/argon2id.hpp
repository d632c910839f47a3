#pragma once
// Argon2id, version 0x13 (RFC 9106): makes a key of a passphrase at a cost in memory that does not shrink with better hardware.
//
// The memory is `lanes` rows of blocks of 1 KiB, each row in four segments, and filled `passes` times, segment after segment. A block is
// made of the one before it and of another that the algorithm chooses: by the pass and position alone in the first half of the
// first pass, by the contents afterwards. Segments of one slice don't see each other, so lanes may be filled in any order;
// here in turn.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>

#include "base/coding.hpp"
#include "base/cpu.hpp"
#include "base/result.hpp"
#include "crypto/argon2_fill.hpp"
#include "crypto/argon2_fill_x86.hpp"
#include "crypto/blake2b.hpp"
#include "crypto/secret_memory.hpp"
#include "crypto/wipe.hpp"

namespace emdb::detail {

/// H' (RFC 9106, 3.3): a hash of any length. `in` is preceded by `prefix`.
inline void argon2_long_hash(std::span<const std::byte> in, std::span<std::byte> out) noexcept {
    const auto size = static_cast<std::uint32_t>(out.size());
    std::byte hash[Blake2b::out_size_max];
    const WipedAtExit wiped(hash);
    const auto first = [&](std::size_t hash_size, std::byte* to) {
        Blake2b whole(hash_size);
        whole.update_u32(size);
        whole.update(in);
        whole.finish(to);
    };
    if (out.size() <= sizeof hash) return first(out.size(), out.data());
    first(sizeof hash, hash);
    constexpr std::size_t half = sizeof hash / 2;
    std::memcpy(out.data(), hash, half);
    out = out.subspan(half);
    while (out.size() > sizeof hash) {
        blake2b({}, hash, hash);
        std::memcpy(out.data(), hash, half);
        out = out.subspan(half);
    }
    blake2b({}, hash, out);
}

/// What argon2id is called with.
struct Argon2Input {
    std::span<const std::byte> password, salt, secret, associated;
    std::uint32_t memory_kib, passes, lanes;

    /// H0: everything that the result depends on.
    void hash(std::size_t out_size, std::byte* to) const noexcept {
        Blake2b hash(Blake2b::out_size_max);
        for (const std::uint32_t number : {lanes, static_cast<std::uint32_t>(out_size), memory_kib, passes, 0x13u, 2u}) {
            hash.update_u32(number);
        }
        for (const std::span<const std::byte> part : {password, salt, secret, associated}) {
            hash.update_u32(static_cast<std::uint32_t>(part.size()));
            hash.update(part);
        }
        hash.finish(to);
    }
};

class Argon2Memory {
public:
    Argon2Memory(const Argon2Input& input, Argon2Block* blocks) noexcept
        : blocks_(blocks),
          fill_(best_argon2_fill(cpu_features())),
          passes_(input.passes),
          lanes_(input.lanes),
          segment_blocks_(input.memory_kib / (slices * input.lanes)),
          lane_blocks_(slices * segment_blocks_) {}

    [[nodiscard]] static std::size_t blocks_needed(const Argon2Input& input) noexcept {
        return std::size_t{input.memory_kib / (slices * input.lanes)} * slices * input.lanes;
    }

    void fill(const Argon2Input& input, std::size_t out_size) noexcept {
        std::byte seed[Blake2b::out_size_max + 8];
        const WipedAtExit wiped(seed);
        input.hash(out_size, seed);
        for (std::uint32_t lane = 0; lane < lanes_; ++lane) {
            for (std::uint32_t i = 0; i < 2; ++i) {
                store_le(seed + Blake2b::out_size_max, i);
                store_le(seed + Blake2b::out_size_max + 4, lane);
                std::byte bytes[sizeof(Argon2Block)];
                const WipedAtExit wiped_bytes(bytes);
                argon2_long_hash(seed, bytes);
                std::uint64_t* const words = block(lane, i).words;
                for (std::size_t word = 0; word < Argon2Block::word_count; ++word) {
                    words[word] = load_le<std::uint64_t>(bytes + 8 * word);
                }
            }
        }
        for (std::uint32_t pass = 0; pass < passes_; ++pass) {
            for (std::uint32_t slice = 0; slice < slices; ++slice) {
                for (std::uint32_t lane = 0; lane < lanes_; ++lane) fill_segment(pass, slice, lane);
            }
        }
    }

    void result(std::span<std::byte> out) noexcept {
        Argon2Block last = block(0, lane_blocks_ - 1);
        const WipedAtExit wiped_last(last);
        for (std::uint32_t lane = 1; lane < lanes_; ++lane) {
            const Argon2Block& other = block(lane, lane_blocks_ - 1);
            for (std::size_t i = 0; i < Argon2Block::word_count; ++i) last.words[i] ^= other.words[i];
        }
        std::byte bytes[sizeof(Argon2Block)];
        const WipedAtExit wiped_bytes(bytes);
        for (std::size_t i = 0; i < Argon2Block::word_count; ++i) store_le(bytes + 8 * i, last.words[i]);
        argon2_long_hash(bytes, out);
    }

private:
    static constexpr std::uint32_t slices = 4;

    Argon2Block& block(std::uint32_t lane, std::uint32_t index) noexcept {
        return blocks_[static_cast<std::size_t>(lane) * lane_blocks_ + index];
    }

    void fill_segment(std::uint32_t pass, std::uint32_t slice, std::uint32_t lane) noexcept {
        const bool independent = pass == 0 && slice < slices / 2;  // of the contents: this is what makes it the "id" variant
        const Argon2Block zero{};
        Argon2Block input{};
        Argon2Block addresses;
        if (independent) {
            const std::uint64_t position[] = {pass, lane, slice, std::uint64_t{lane_blocks_} * lanes_, passes_, 2};
            std::copy(std::begin(position), std::end(position), input.words);
        }
        const std::uint32_t skipped = pass == 0 && slice == 0 ? 2 : 0;  // which the seed has made
        for (std::uint32_t i = 0; i < segment_blocks_; ++i) {
            if (independent && i % Argon2Block::word_count == 0) {
                ++input.words[6];
                fill_(zero, input, addresses, false);
                fill_(zero, addresses, addresses, false);
            }
            if (i < skipped) continue;
            const std::uint32_t index = slice * segment_blocks_ + i;
            const Argon2Block& previous = block(lane, index == 0 ? lane_blocks_ - 1 : index - 1);
            const std::uint64_t random = independent ? addresses.words[i % Argon2Block::word_count] : previous.words[0];
            const Argon2Block& other = chosen(pass, slice, lane, i, random);
            fill_(previous, other, block(lane, index), pass != 0);
        }
    }

    /// The reference block (RFC 9106, 3.4.2) for block i of a segment.
    const Argon2Block& chosen(std::uint32_t pass, std::uint32_t slice, std::uint32_t lane, std::uint32_t i,
                              std::uint64_t random) noexcept {
        const auto from = pass == 0 && slice == 0 ? lane : static_cast<std::uint32_t>((random >> 32) % lanes_);
        // What may be chosen from: the other three segments (in the first pass, those before), and in the own lane this one up to here.
        std::uint32_t count = (pass == 0 ? slice : slices - 1) * segment_blocks_;
        if (from == lane) {
            count += i - 1;
        } else if (i == 0) {
            count -= 1;
        }
        const std::uint64_t low = random & 0xFFFFFFFFu;
        const std::uint64_t back = count * (low * low >> 32) >> 32;  // the nearer ones more often
        const std::uint64_t begin = pass == 0 ? 0 : (slice + 1) % slices * segment_blocks_;
        const std::uint64_t index = begin + count - 1 - back;
        return block(from, static_cast<std::uint32_t>(index < lane_blocks_ ? index : index - lane_blocks_));
    }

    Argon2Block* blocks_;
    Argon2Fill fill_;
    std::uint32_t passes_;
    std::uint32_t lanes_;
    std::uint32_t segment_blocks_;
    std::uint32_t lane_blocks_;
};

/// Fills `out` (at least 4 bytes) with a key made of the password and the others, all of which may be empty, under memory_kib KiB of
/// memory (at least 8 a lane, and at least 8), 1 or more passes, 1 to 2^24 - 1 lanes. `invalid_argument`, before anything is
/// allocated, when a parameter is out of its range; `io` when there is not that much memory. The memory is wiped afterwards.
inline Result<void> argon2id(std::span<const std::byte> password, std::span<const std::byte> salt, std::span<const std::byte> secret,
                             std::span<const std::byte> associated, std::uint32_t memory_kib, std::uint32_t passes,
                             std::uint32_t lanes, std::span<std::byte> out) {
    const auto refused = [](const std::string& what) {
        return Error(ErrorCode::invalid_argument, "Argon2id can't be computed: " + what + ".");
    };
    constexpr std::uint32_t lanes_max = (1u << 24) - 1;
    constexpr std::uint64_t size_max = std::numeric_limits<std::uint32_t>::max();
    for (const std::span<const std::byte> part : {password, salt, secret, associated}) {
        if (part.size() > size_max) return refused("an input is longer than 2^32 - 1 bytes");
    }
    if (out.size() < 4 || out.size() > size_max) {
        return refused("the result must have 4 to 2^32 - 1 bytes, not " + std::to_string(out.size()));
    }
    if (passes == 0) return refused("there must be at least one pass");
    if (lanes == 0 || lanes > lanes_max) return refused("there must be 1 to 2^24 - 1 lanes, not " + std::to_string(lanes));
    if (memory_kib / 8 < lanes) {
        return refused("each of the " + std::to_string(lanes) + " lanes needs 8 KiB, but memory_kib is " + std::to_string(memory_kib));
    }
    const Argon2Input input{password, salt, secret, associated, memory_kib, passes, lanes};
    const std::size_t blocks = Argon2Memory::blocks_needed(input);
    const SecretMemory memory = SecretMemory::allocate_large(blocks, sizeof(Argon2Block));
    if (memory.data() == nullptr) {
        return Error(ErrorCode::io, "Argon2id can't be computed: there are no " + std::to_string(memory_kib) +
                                        " KiB of memory for it. Free some, or choose a lower cost.");
    }
    Argon2Memory filled(input, reinterpret_cast<Argon2Block*>(memory.data()));
    filled.fill(input, out.size());
    filled.result(out);
    return {};
}

}  // namespace emdb::detail
