#pragma once
// Generation: one file of a database's life with all that goes with it, kept in memory until nobody points into it.
//
// Rewriting a database (compaction) replaces its generation. Short reads are covered by Pins; whatever lasts longer (ValueRef,
// iterators) holds a reference. References are counted on stripes, so that readers on different processors don't share a cache
// line. A stripe's count can only rise by copying a reference of that stripe once the generation is retired, so a stripe that
// has reached zero then stays there; the last stripe to do so frees the generation.

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/atomic.hpp"
#include "index/thread_slot.hpp"
#include "journal/flusher.hpp"
#include "journal/header.hpp"
#include "journal/journal.hpp"
#include "journal/journal_map.hpp"
#include "journal/sealer.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

class Generation {
public:
    /// `path` outlives the generation's last write.
    Generation(std::unique_ptr<File> file, const Header& header, std::unique_ptr<Sealer> sealer, bool mapped_append,
               const std::string& path)
        : file_(std::move(file)),
          header_(header),
          sealer_(std::move(sealer)),
          journal_(*file_, map_, header, sealer_.get(), mapped_append, path),
          flusher_(*file_, journal_, path) {}
    Generation(const Generation&) = delete;
    Generation& operator=(const Generation&) = delete;

    const Header& header() const noexcept { return header_; }
    File& file() noexcept { return *file_; }
    JournalMap& map() noexcept { return map_; }
    Journal& journal() noexcept { return journal_; }
    const Journal& journal() const noexcept { return journal_; }
    Flusher& flusher() noexcept { return flusher_; }
    /// Null: the file is not encrypted.
    Sealer* sealer() const noexcept { return sealer_.get(); }

    using Kept = std::unique_ptr<void, void (*)(void*)>;
    /// Keeps something as long as the generation is kept: indexes that point into its file. By the holder of all stripes.
    void keep(std::vector<Kept> what) noexcept { kept_ = std::move(what); }

    /// Closes the file, which releases its lock; what is mapped stays readable. Nothing is appended or synced after this.
    void close_file() noexcept { file_.reset(); }

    /// A reference on the caller's stripe, which is returned for release(). The caller holds a pin or another reference.
    std::uint32_t acquire() noexcept {
        const std::uint32_t stripe = thread_slot() % stripe_count;
        acquire(stripe);
        return stripe;
    }
    /// A copy of a reference that the caller holds on this stripe.
    void acquire(std::uint32_t stripe) noexcept { references_[stripe].count.fetch_add(1, std::memory_order_relaxed); }
    void release(std::uint32_t stripe) noexcept {
        // Acquire and release: whoever frees the generation does so after everybody's last use.
        const std::uint64_t before = references_[stripe].count.fetch_sub(1, std::memory_order_acq_rel);
        if (before == (retired_bit | 1)) finish_stripe();
    }

    /// Called once, when no new reference can be taken but by copying: frees the generation now or with its last reference.
    void retire() noexcept {
        for (Stripe& stripe : references_) {
            if (stripe.count.fetch_or(retired_bit, std::memory_order_acq_rel) == 0) finish_stripe();
        }
    }

private:
    static constexpr std::uint32_t stripe_count = 16;
    static constexpr std::uint64_t retired_bit = std::uint64_t{1} << 63;

    struct alignas(64) Stripe {
        Atomic<std::uint64_t> count{0};
    };

    ~Generation() = default;
    void finish_stripe() noexcept {
        if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    std::unique_ptr<File> file_;
    const Header header_;
    const std::unique_ptr<Sealer> sealer_;
    JournalMap map_;
    Journal journal_;
    Flusher flusher_;
    std::vector<Kept> kept_;
    std::array<Stripe, stripe_count> references_;
    Atomic<std::uint32_t> unfinished_{stripe_count};
};

/// A counted reference on a generation.
class GenerationRef {
public:
    /// The caller holds a pin.
    explicit GenerationRef(Generation& generation) noexcept : generation_(&generation), stripe_(generation.acquire()) {}
    GenerationRef(const GenerationRef&) = delete;
    GenerationRef& operator=(const GenerationRef&) = delete;
    ~GenerationRef() { generation_->release(stripe_); }
    Generation& operator*() const noexcept { return *generation_; }
    Generation* operator->() const noexcept { return generation_; }

private:
    Generation* generation_;
    std::uint32_t stripe_;
};

/// Owns a generation that nobody else knows of yet.
struct RetireGeneration {
    void operator()(Generation* generation) const noexcept { generation->retire(); }
};
using OwnedGeneration = std::unique_ptr<Generation, RetireGeneration>;

}  // namespace emdb::detail
