#pragma once
// AppendWindow: the small writable part of the file's mapping, over the tail, that frames are stored into.
//
// Everything before it is mapped read-only only, out of reach of stray pointers. Windows are kept in a chain from the newest to
// the oldest that may still be stored into. Invariants:
//
//   1. A window covers allocated space only, and frames are stored only below ready_end(), which is populated: a store never
//      faults for want of space or memory.
//   2. A new window starts at or below the journal's tail, so that every frame reserved from then on lies inside it or a later
//      one, wholly.
//   3. A window is unmapped once the journal's watermark has passed the tail as it was read after the successor had been
//      published: whoever found the older window in at() had moved the tail before (all four accesses are sequentially
//      consistent), so the watermark can't have passed its frame while it is still storing. Hence at() needs no lock.
//
// Who may call what: extend() under the journal's growth mutex; drop() when no append is under way; ready_end() anybody; at()
// holders of a reservation below ready_end() that the watermark has not passed.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/atomic.hpp"
#include "base/result.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

class AppendWindow {
public:
    AppendWindow() noexcept = default;
    AppendWindow(const AppendWindow&) = delete;
    AppendWindow& operator=(const AppendWindow&) = delete;
    ~AppendWindow() { drop(); }

    /// Frames that end at or below this offset can be stored.
    std::uint64_t ready_end() const noexcept { return ready_end_.load(std::memory_order_acquire); }

    /// Makes [the tail, prepared) ready for being stored to; `prepared` is at least `end`, `allocated` is where allocated space
    /// ends, `completed` the watermark.
    Result<void> extend(File& file, const Atomic<std::uint64_t>& tail, std::uint64_t prepared, std::uint64_t allocated,
                        std::uint64_t completed) {
        const std::uint64_t first = tail.load(std::memory_order_relaxed) / page * page;  // of an older tail it would be lower
        Window* window = newest_.load(std::memory_order_relaxed);
        if (window == nullptr || prepared > window->end()) {
            unmap_below(completed);
            auto opened = open_window(file, first, prepared, allocated);
            if (!opened) return std::move(opened).error();
            if (window != nullptr) window->successor_tail = tail.load(std::memory_order_seq_cst);
            window = *opened;
        }
        const std::uint64_t from = (std::max)(ready_end_.load(std::memory_order_relaxed) / page * page, first);
        auto populated = file.populate(window->mapping, static_cast<std::size_t>((std::max)(from, window->start) - window->start),
                                       static_cast<std::size_t>(prepared - (std::max)(from, window->start)));
        if (!populated) return populated;
        // Release: a writer that sees the new end also sees the window.
        ready_end_.store(prepared, std::memory_order_release);
        return {};
    }

    /// Gives up all windows.
    void drop() noexcept {
        ready_end_.store(0, std::memory_order_relaxed);
        Window* window = newest_.exchange(nullptr, std::memory_order_relaxed);
        while (window != nullptr) window = destroy(window);
    }

    /// Where the frame reserved at `offset` is to be stored.
    std::byte* at(std::uint64_t offset) const noexcept {
        const Window* window = newest_.load(std::memory_order_seq_cst);
        while (offset < window->start) window = window->older.load(std::memory_order_acquire);
        return window->mapping.data() + (offset - window->start);
    }

private:
    static constexpr std::uint64_t page = 65536;  // a multiple of every map granularity in use
    static constexpr std::uint64_t window_size = std::uint64_t{8} << 20;
    static constexpr std::uint64_t no_successor = UINT64_MAX;

    struct Window {
        std::uint64_t start = 0;
        Mapping mapping;
        Atomic<Window*> older{nullptr};
        std::uint64_t successor_tail = no_successor;
        std::uint64_t end() const noexcept { return start + mapping.size(); }
    };

    Result<Window*> open_window(File& file, std::uint64_t start, std::uint64_t end, std::uint64_t allocated) {
        auto window = std::make_unique<Window>();
        window->start = start;
        const std::uint64_t window_end = (std::min)((std::max)(end, start + window_size), allocated);
        auto mapping = file.map_writable(start, static_cast<std::size_t>(window_end - start));
        if (!mapping) return std::move(mapping).error();
        window->mapping = std::move(*mapping);
        window->older.store(newest_.load(std::memory_order_relaxed), std::memory_order_relaxed);
        newest_.store(window.get(), std::memory_order_seq_cst);
        return window.release();
    }

    // Unmaps the windows that nobody can be storing into any more; they are the oldest ones.
    void unmap_below(std::uint64_t completed) noexcept {
        Atomic<Window*>* link = &newest_;
        Window* window = link->load(std::memory_order_relaxed);
        while (window != nullptr && window->successor_tail > completed) {
            link = &window->older;
            window = link->load(std::memory_order_relaxed);
        }
        link->store(nullptr, std::memory_order_relaxed);
        while (window != nullptr) window = destroy(window);
    }

    static Window* destroy(Window* window) noexcept {
        Window* older = window->older.load(std::memory_order_relaxed);
        delete window;
        return older;
    }

    Atomic<Window*> newest_{nullptr};
    Atomic<std::uint64_t> ready_end_{0};
};

}  // namespace emdb::detail
