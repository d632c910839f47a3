#pragma once
// One file of the simulated disk: its page cache, what of it is durable, and what a power cut makes of the difference.
//
// The page cache (`memory_`) is what mappings point into, so stores through a writable mapping are not seen as they happen.
// What is dirty is found by comparing the cache with the durable image, in pages that may differ:
//   - pages written by a call since they were last found equal (`touched_`);
//   - pages under a writable mapping that exists (`windows_`) or did since the last look (`windows_gone_`).
//
// A failed sync may lose sectors for good: the kernel marks them clean, later syncs skip them, readers still see them, and
// only a power cut shows that they are gone (`lost_`). Writing to such a sector makes it dirty again, even with the same
// bytes; for a store through a mapping the bytes must differ, as an equal store can't be told from none.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "support/simulated_media.hpp"

namespace emdb_test {

class SimulatedInode {
public:
    SimulatedInode(std::uint64_t id, std::size_t address_space) : id_(id), memory_(address_space) {}

    /// A file as found on the disk at start.
    void load(const StoredFile& stored) {
        durable_ = stored.contents;
        durable_size_ = size_ = stored.size;
        allocated_.assign(page_of_end(size_), false);
        for (std::size_t page = 0; page < durable_.page_count(); ++page) {
            if (!durable_.has_page(page)) continue;
            std::memcpy(memory_.data() + page * page_size, durable_.page(page), page_size);
            allocated_[page] = true;
        }
    }

    std::uint64_t id() const noexcept { return id_; }
    std::uint64_t size() const noexcept { return size_; }
    std::size_t size_max() const noexcept { return memory_.size(); }
    std::byte* data() const noexcept { return memory_.data(); }
    unsigned shared_locks = 0;  ///< held by Files that were opened for reading only
    bool locked = false;        ///< by one that was opened for writing

    void forget_locks() noexcept {
        shared_locks = 0;
        locked = false;
    }

    void write(std::uint64_t offset, std::span<const std::byte> bytes) {
        if (bytes.empty()) return;
        const std::uint64_t end = offset + bytes.size();
        std::memcpy(memory_.data() + offset, bytes.data(), bytes.size());
        mark(allocated_, offset, end);
        mark(touched_, offset, end);
        if (!lost_.empty()) {
            lost_.erase(lost_.lower_bound(static_cast<std::size_t>(offset / sector_size)),
                        lost_.upper_bound(static_cast<std::size_t>((end - 1) / sector_size)));
        }
        if (end > size_) set_size(end);
    }

    void allocate(std::uint64_t offset, std::uint64_t length) {
        mark(allocated_, offset, offset + length);
        if (offset + length > size_) set_size(offset + length);
    }

    void truncate(std::uint64_t size) {
        if (size < size_) {
            memory_.zero(static_cast<std::size_t>(size), static_cast<std::size_t>(size_));
            mark(touched_, size, size_);
            if (allocated_.size() > page_of_end(size)) allocated_.resize(page_of_end(size));
            lost_.erase(lost_.lower_bound(static_cast<std::size_t>(size / sector_size)), lost_.end());
        }
        if (size != size_) set_size(size);
    }

    bool is_allocated(std::uint64_t offset, std::uint64_t end) const noexcept {
        for (std::size_t page = static_cast<std::size_t>(offset / page_size); page < page_of_end(end); ++page) {
            if (page >= allocated_.size() || !allocated_[page]) return false;
        }
        return end <= size_;
    }

    // A writable mapping may be released by any thread, at any time: these two have their own lock.
    void add_window(std::uint64_t begin, std::uint64_t end) {
        const std::lock_guard lock(windows_mutex_);
        windows_.emplace_back(begin, end);
    }
    void remove_window(std::uint64_t begin, std::uint64_t end) {
        const std::lock_guard lock(windows_mutex_);
        windows_.erase(std::find(windows_.begin(), windows_.end(), Window(begin, end)));
        windows_gone_.emplace_back(begin, end);
    }

    void add_mapping() noexcept { mappings_.fetch_add(1, std::memory_order_relaxed); }
    void remove_mapping() noexcept { mappings_.fetch_sub(1, std::memory_order_relaxed); }
    /// For reading, that is; a journal that is open always has one.
    bool is_mapped() const noexcept { return mappings_.load(std::memory_order_relaxed) != 0; }

    void sync() {
        for (const std::size_t sector : dirty_sectors()) write_back(sector);
        durable_size_ = size_;
        sizes_between_.clear();
    }

    /// A sync that fails: some sectors reach the disk; the others stay dirty, or are marked clean and never written.
    void fail_sync(SeededRandom& random, bool marks_clean) {
        const bool all_fail = random.coin();
        for (const std::size_t sector : dirty_sectors()) {
            if (!all_fail && random.coin()) {
                write_back(sector);
            } else if (marks_clean) {
                std::memcpy(lost_[sector].data(), at(sector), sector_size);
            }
        }
        if (random.coin()) {
            durable_size_ = size_;
            sizes_between_.clear();
        }
    }

    /// What a kernel does on its own in the background: some sectors, in no order, perhaps the size.
    void write_back_some(SeededRandom& random) {
        static constexpr std::uint64_t chosen_in_8[]{1, 4, 8};
        const std::uint64_t chosen = chosen_in_8[random.below(3)];
        for (const std::size_t sector : dirty_sectors()) {
            if (random.below(8) < chosen) write_back(sector);
        }
        if (random.coin()) {
            durable_size_ = size_;
            sizes_between_.clear();
        }
    }

    CrashedFile crash() {
        CrashedFile crashed;
        for (const std::size_t sector : dirty_sectors()) {
            CrashedFile::DirtySector& dirty = crashed.dirty.emplace_back();
            dirty.index = sector;
            std::memcpy(dirty.bytes.data(), at(sector), sector_size);
        }
        crashed.durable = durable_;
        crashed.sizes.push_back(durable_size_);
        for (const std::uint64_t size : sizes_between_) {
            if (size != size_ && size != durable_size_) crashed.sizes.push_back(size);
        }
        if (size_ != durable_size_) crashed.sizes.push_back(size_);
        return crashed;
    }

    /// The latest contents, durable or not.
    StoredFile stored_now() {
        CrashedFile crashed = crash();
        for (const CrashedFile::DirtySector& dirty : crashed.dirty) crashed.durable.write_sector(dirty.index, dirty.bytes.data());
        crashed.durable.cut(size_);
        return StoredFile{std::move(crashed.durable), size_};
    }

    std::size_t dirty_sector_count() { return dirty_sectors().size(); }

    /// Damages the medium and the cache alike, as a decayed sector does that is read again.
    void flip_bits(std::uint64_t offset, std::byte mask) {
        const std::size_t sector = static_cast<std::size_t>(offset / sector_size);
        const std::size_t within = static_cast<std::size_t>(offset % sector_size);
        Sector durable;
        std::memcpy(durable.data(), durable_.page(sector / sectors_per_page) + sector % sectors_per_page * sector_size,
                    sector_size);
        durable[within] ^= mask;
        durable_.write_sector(sector, durable.data());
        memory_.data()[offset] ^= mask;
    }

private:
    using Window = std::pair<std::uint64_t, std::uint64_t>;

    static std::size_t page_of_end(std::uint64_t end) noexcept { return static_cast<std::size_t>((end + page_size - 1) / page_size); }
    const std::byte* at(std::size_t sector) const noexcept { return memory_.data() + sector * sector_size; }

    static void mark(std::vector<bool>& pages, std::uint64_t begin, std::uint64_t end) {
        if (pages.size() < page_of_end(end)) pages.resize(page_of_end(end));
        for (std::size_t page = static_cast<std::size_t>(begin / page_size); page < page_of_end(end); ++page) pages[page] = true;
    }

    void set_size(std::uint64_t size) {
        size_ = size;
        if (sizes_between_.empty() || sizes_between_.back() != size) sizes_between_.push_back(size);
        // More would only make choosing slower: the first and the latest few are the interesting ones.
        if (sizes_between_.size() > 4) sizes_between_.erase(sizes_between_.begin() + 1);
    }

    void write_back(std::size_t sector) { durable_.write_sector(sector, at(sector)); }

    // Sectors whose cached bytes are not durable and would be written by the next sync, in ascending order.
    const std::vector<std::size_t>& dirty_sectors() {
        {
            const std::lock_guard lock(windows_mutex_);
            for (const auto& [begin, end] : windows_) mark(touched_, begin, end);
            for (const auto& [begin, end] : windows_gone_) mark(touched_, begin, end);
            windows_gone_.clear();
        }
        dirty_.clear();
        for (std::size_t page = 0; page < touched_.size(); ++page) {
            if (!touched_[page]) continue;
            const std::byte* const cached = memory_.data() + page * page_size;
            const std::byte* const durable = durable_.page(page);
            touched_[page] = false;
            if (std::memcmp(cached, durable, page_size) == 0) continue;
            touched_[page] = true;
            for (std::size_t i = 0; i < sectors_per_page; ++i) {
                if (std::memcmp(cached + i * sector_size, durable + i * sector_size, sector_size) == 0) continue;
                const std::size_t sector = page * sectors_per_page + i;
                if (!is_lost(sector)) dirty_.push_back(sector);
            }
        }
        return dirty_;
    }

    bool is_lost(std::size_t sector) {
        if (lost_.empty()) return false;
        const auto found = lost_.find(sector);
        if (found == lost_.end()) return false;
        if (std::memcmp(found->second.data(), at(sector), sector_size) == 0) return true;
        lost_.erase(found);  // stored to through a mapping since
        return false;
    }

    std::uint64_t id_;
    AddressSpace memory_;
    std::uint64_t size_ = 0;
    PageImage durable_;
    std::uint64_t durable_size_ = 0;
    std::vector<std::uint64_t> sizes_between_;  // since the last durable one
    std::vector<bool> touched_;
    std::vector<bool> allocated_;
    std::atomic<int> mappings_{0};
    std::mutex windows_mutex_;
    std::vector<Window> windows_;
    std::vector<Window> windows_gone_;  // since they were last looked at
    std::map<std::size_t, Sector> lost_;
    std::vector<std::size_t> dirty_;  // kept for its capacity
};

}  // namespace emdb_test
