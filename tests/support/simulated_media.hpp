#pragma once
// What the simulated disk is made of, and what a power cut leaves of it.
//
//   SeededRandom   every choice of a run comes from one of these
//   AddressSpace   the memory behind one file: its page cache, which mappings point straight into
//   PageImage      contents that are on the platter: sparse, and cheap to copy
//   DiskImage      a disk at rest: names and contents, to start a machine from
//   CrashedDisk    a disk at the moment of a power cut: everything that may or may not have reached it, from which any
//                  number of DiskImages can be drawn, or all of them enumerated

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#if defined(_WIN32)
#include <windows.h>
#else
#include <sys/mman.h>
#endif

namespace emdb_test {

/// What the disk writes whole or not at all.
constexpr std::size_t sector_size = 512;
/// What the simulation allocates and compares at a time; nothing else depends on it.
constexpr std::size_t page_size = 4096;
constexpr std::size_t sectors_per_page = page_size / sector_size;

using Sector = std::array<std::byte, sector_size>;

/// SplitMix64 (Steele, Lea, Flood 2014): one word of state, the same sequence on every platform.
class SeededRandom {
public:
    explicit SeededRandom(std::uint64_t seed) noexcept : state_(seed) {}

    std::uint64_t next() noexcept {
        std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
        return z ^ (z >> 31);
    }
    /// In [0, bound); the bias towards small numbers does not matter here.
    std::uint64_t below(std::uint64_t bound) noexcept { return next() % bound; }
    bool one_in(std::uint64_t n) noexcept { return below(n) == 0; }
    bool coin() noexcept { return (next() & 1) != 0; }

private:
    std::uint64_t state_;
};

/// Zeroed memory at a fixed address, much larger than any simulated file: only touched pages cost anything.
class AddressSpace {
public:
    explicit AddressSpace(std::size_t size_wanted) : size_(size_wanted) {
        constexpr std::size_t size_min = std::size_t{16} << 20;
        while ((data_ = reserve(size_)) == nullptr) {
            if (size_ <= size_min) std::abort();  // no test can go on without memory
            size_ /= 2;
        }
    }
    AddressSpace(const AddressSpace&) = delete;
    AddressSpace& operator=(const AddressSpace&) = delete;
    ~AddressSpace() {
#if defined(_WIN32)
        VirtualFree(data_, 0, MEM_RELEASE);
#else
        munmap(data_, size_);
#endif
    }

    std::byte* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }

    void zero(std::size_t begin, std::size_t end) noexcept {
#if defined(__linux__)
        const std::size_t whole_begin = (begin + page_size - 1) / page_size * page_size;
        const std::size_t whole_end = end / page_size * page_size;
        if (whole_begin < whole_end && madvise(data_ + whole_begin, whole_end - whole_begin, MADV_DONTNEED) == 0) {
            std::memset(data_ + begin, 0, whole_begin - begin);
            std::memset(data_ + whole_end, 0, end - whole_end);
            return;
        }
#endif
        std::memset(data_ + begin, 0, end - begin);
    }

private:
    static std::byte* reserve(std::size_t size) noexcept {
#if defined(_WIN32)
        return static_cast<std::byte*>(VirtualAlloc(nullptr, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
#else
        int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#if defined(MAP_NORESERVE)
        flags |= MAP_NORESERVE;
#endif
        void* const data = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (data == MAP_FAILED) return nullptr;
#if defined(MADV_NOHUGEPAGE)
        madvise(data, size, MADV_NOHUGEPAGE);  // a hint: without it the first byte of a file would cost 2 MiB of zeroing
#endif
        return static_cast<std::byte*>(data);
#endif
    }

    std::byte* data_ = nullptr;
    std::size_t size_;
};

/// Contents by sector; zeros where nothing was written. Copies share pages until one of them is written to.
class PageImage {
public:
    std::size_t page_count() const noexcept { return pages_.size(); }
    bool has_page(std::size_t index) const noexcept { return index < pages_.size() && pages_[index] != nullptr; }
    const std::byte* page(std::size_t index) const noexcept {
        static constexpr Page zeros{};
        return has_page(index) ? pages_[index]->data() : zeros.data();
    }

    void write_sector(std::size_t sector, const std::byte* from) {
        std::memcpy(own_page(sector / sectors_per_page) + sector % sectors_per_page * sector_size, from, sector_size);
    }

    /// Makes everything from `size` on zeros.
    void cut(std::uint64_t size) {
        const std::size_t whole = static_cast<std::size_t>(size / page_size);
        const std::size_t rest = static_cast<std::size_t>(size % page_size);
        if (has_page(whole) && rest != 0) std::memset(own_page(whole) + rest, 0, page_size - rest);
        pages_.resize(std::min(pages_.size(), rest == 0 ? whole : whole + 1));
    }

private:
    using Page = std::array<std::byte, page_size>;

    std::byte* own_page(std::size_t index) {
        if (index >= pages_.size()) pages_.resize(index + 1);
        std::shared_ptr<Page>& page = pages_[index];
        if (page == nullptr) {
            page = std::make_shared<Page>();
        } else if (page.use_count() > 1) {
            page = std::make_shared<Page>(*page);
        }
        return page->data();
    }

    std::vector<std::shared_ptr<Page>> pages_;
};

struct StoredFile {
    PageImage contents;
    std::uint64_t size = 0;

    std::string bytes() const {
        std::string result(static_cast<std::size_t>(size), '\0');
        for (std::size_t at = 0; at < result.size(); at += page_size) {
            std::memcpy(result.data() + at, contents.page(at / page_size), std::min(page_size, result.size() - at));
        }
        return result;
    }
};

/// A disk at rest: what a machine finds when it starts.
struct DiskImage {
    std::map<std::string, StoredFile> files;  ///< by path
    std::set<std::string> directories;
};

/// A change of names that a directory sync has not made durable yet. Changes are about inodes, so that one can survive
/// although an earlier one of the same inode did not.
struct DirectoryChange {
    enum class Kind : std::uint8_t { create, rename, remove };
    Kind kind;
    std::uint64_t inode;
    std::string from;  ///< the name removed; empty for create
    std::string to;    ///< the name given; empty for remove

    void apply(std::map<std::string, std::uint64_t>& names) const {
        if (kind == Kind::remove) {
            const auto found = names.find(from);
            if (found != names.end() && found->second == inode) names.erase(found);
            return;
        }
        std::erase_if(names, [this](const auto& entry) { return entry.second == inode; });  // a file has one name
        names[to] = inode;
    }
};

/// One file at the moment of a power cut.
struct CrashedFile {
    struct DirtySector {
        std::size_t index;
        Sector bytes;
    };
    PageImage durable;
    std::vector<DirtySector> dirty;    ///< each one is on the disk, or its durable version still is
    std::vector<std::uint64_t> sizes;  ///< one of these is on the disk; distinct, the durable one first, the latest last
};

/// A disk at the moment of a power cut. Never changes; any number of reboots start from it.
struct CrashedDisk {
    std::map<std::uint64_t, CrashedFile> files;          ///< by inode
    std::map<std::string, std::uint64_t> durable_names;  ///< path -> inode
    std::vector<DirectoryChange> changes;                ///< each may have happened or not
    std::set<std::string> directories;

    std::size_t dirty_sector_count() const {
        std::size_t count = 0;
        for (const auto& [inode, file] : files) count += file.dirty.size();
        return count;
    }

    /// How many outcomes there are to enumerate; the largest number there is if they can't be counted.
    std::uint64_t outcome_count() const {
        std::uint64_t count = 1;
        const auto multiply = [&count](std::uint64_t by) {
            count = count > std::numeric_limits<std::uint64_t>::max() / by ? std::numeric_limits<std::uint64_t>::max() : count * by;
        };
        for (const auto& [inode, file] : files) {
            for (std::size_t i = 0; i < file.dirty.size(); ++i) multiply(2);
            multiply(file.sizes.size());
        }
        for (std::size_t i = 0; i < changes.size(); ++i) multiply(2);
        return count;
    }

    /// The outcome with this number, below outcome_count(). 0: nothing reached the disk. The last: everything did.
    DiskImage outcome(std::uint64_t number) const {
        return build([&number](std::uint64_t choices) {
            const std::uint64_t chosen = number % choices;
            number /= choices;
            return chosen;
        });
    }

    DiskImage everything_survived() const {
        return build([](std::uint64_t choices) { return choices - 1; });
    }
    DiskImage nothing_survived() const {
        return build([](std::uint64_t) { return std::uint64_t{0}; });
    }

    /// A random outcome; in some of them one sector is torn in two, which disks say they don't do. Independent coins alone would hardly
    /// ever keep or lose all of many sectors, nor all but one, and those are the outcomes that find bugs: so the odds are drawn first.
    DiskImage random_outcome(SeededRandom& random) const {
        const std::uint64_t style = random.below(8);
        const std::uint64_t decisions = dirty_sector_count() + files.size() + changes.size();
        const std::uint64_t exception = random.below(decisions + 1);
        static constexpr std::array<std::uint64_t, 4> survives_in_16{2, 8, 8, 14};
        std::uint64_t decision = 0;
        std::optional<Tear> tear;
        if (const std::size_t sectors = dirty_sector_count(); sectors != 0 && random.one_in(4)) {
            tear = {static_cast<std::size_t>(random.below(sectors)), static_cast<std::size_t>(random.below(sector_size))};
        }
        return build([&](std::uint64_t choices) -> std::uint64_t {
            const std::uint64_t index = decision++;
            switch (style) {
                case 0: return choices - 1;                                // everything
                case 1: return index == exception ? 0 : choices - 1;       // all but one
                case 2: return index == exception ? choices - 1 : 0;       // one only
                case 3: return index < exception ? choices - 1 : 0;        // a prefix
                default: break;
            }
            if (random.below(16) < survives_in_16[style - 4]) return choices - 1;
            return random.below(choices);
        }, tear);
    }

private:
    /// The sector that is torn, and how much of it is new.
    struct Tear {
        std::size_t sector;  ///< counted over all dirty ones
        std::size_t size;
    };

    // choose(n) picks a number below n: n - 1 is the latest state, 0 the durable one.
    template <class Choose>
    DiskImage build(Choose&& choose, std::optional<Tear> tear = std::nullopt) const {
        DiskImage image;
        std::size_t number = 0;
        image.directories = directories;
        std::map<std::uint64_t, StoredFile> survived;
        for (const auto& [inode, file] : files) {
            StoredFile& stored = survived[inode];
            stored.contents = file.durable;
            for (const CrashedFile::DirtySector& sector : file.dirty) {
                const bool survives = choose(2) != 0;
                if (tear && tear->sector == number++) {
                    Sector torn;
                    const std::byte* const page = file.durable.page(sector.index / sectors_per_page);
                    std::memcpy(torn.data(), page + sector.index % sectors_per_page * sector_size, sector_size);
                    std::memcpy(torn.data(), sector.bytes.data(), tear->size);
                    stored.contents.write_sector(sector.index, torn.data());
                } else if (survives) {
                    stored.contents.write_sector(sector.index, sector.bytes.data());
                }
            }
            stored.size = file.sizes[static_cast<std::size_t>(choose(file.sizes.size()))];
            stored.contents.cut(stored.size);
        }
        std::map<std::string, std::uint64_t> names = durable_names;
        for (const DirectoryChange& change : changes) {
            if (choose(2) != 0) change.apply(names);
        }
        for (const auto& [name, inode] : names) image.files[name] = survived.at(inode);
        return image;
    }
};

}  // namespace emdb_test
