#pragma once
// The bare probes: the least work that reading, appending, syncing and reopening can be on this machine. They share the
// workload with emdb, and its SipHash and CRC-32C, so that a ratio is about the store around them.

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mapping.hpp"
#include "timing.hpp"
#include "workload.hpp"

namespace bench {

/// Records in load order, for whoever has no Workload: all that the probes ask of one.
struct PairsOf {
    std::span<const std::pair<std::string_view, std::string_view>> of;
    std::span<const std::pair<std::string_view, std::string_view>> pairs() const { return of; }
    std::size_t records() const { return of.size(); }
};

/// Copies a frame of `overhead` bytes, key and value to `to`.
inline void put_frame(char* to, std::size_t overhead, emdb::Bytes key, emdb::Bytes value) {
    static constexpr char header[64] = {1};
    std::memcpy(to, header, overhead);
    std::memcpy(to + overhead, key.data(), key.size());
    std::memcpy(to + overhead + key.size(), value.data(), value.size());
}

/// Appends all records to a fresh file through a shared map, pages populated 1 MiB ahead, and syncs nothing. Allocating
/// and mapping the file are not counted. (One map of the whole file: a window of 8 MiB that moves along costs about the
/// same if it starts at a multiple of 2 MiB, and three times as much if not, measured on ext4 with large folios.)
template <class Work> Cost append_mapped(const std::filesystem::path& path, const Work& work, std::size_t overhead) {
    const std::size_t frame = overhead + key_size + value_size;
    const std::size_t size = (work.records() * frame / mebibyte + 2) * mebibyte;
    FileDescriptor file(path, O_RDWR | O_CREAT | O_TRUNC);
    file.allocate(size);
    Mapping map(file, size, PROT_READ | PROT_WRITE);
    std::size_t end = 0, populated = 0;
    return time_whole(work.records(), [&] {
        for (const auto& [key, value] : work.pairs()) {
            if (end + frame > populated) {
                map.populate(populated, mebibyte, true);
                populated += mebibyte;
            }
            put_frame(map.data() + end, overhead, key, value);
            end += frame;
        }
    });
}

/// Where each record's key lies in a file of put_frame() frames.
template <class Work> std::vector<std::size_t> frame_offsets(const Work& work, std::size_t overhead) {
    std::vector<std::size_t> offsets;
    const std::size_t frame = overhead + key_size + value_size;
    for (std::size_t i = 0; i < work.records(); ++i) offsets.push_back(i * frame + overhead);
    return offsets;
}

/// Where each record's key lies in a journal whose format need not be known: records were inserted in order, and the
/// value follows its key. Empty if that is not so.
inline std::vector<std::size_t> find_offsets(std::string_view file, const Workload& work) {
    std::vector<std::size_t> offsets;
    std::size_t end = 0;
    for (const auto& [key, value] : work.pairs()) {
        const std::size_t at = file.find(key.as_string_view(), end);
        if (at == std::string_view::npos || file.substr(at + key_size, value_size) != value.as_string_view()) return {};
        offsets.push_back(at);
        end = at + key_size + value_size;
    }
    return offsets;
}

/// The slot where the search for a hash begins: by multiplication, so that a table can be exactly as large as its load
/// wants. The cache misses that this saves cost more than the mask that a power of two would allow.
inline std::size_t home_of(std::uint64_t hash, std::size_t slot_count) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::size_t>(static_cast<Wide>(hash) * slot_count >> 64);
}

/// The least that a lookup can do: SipHash-1-3 of the key, one open-addressing array of 64-bit slots (16 bits of
/// the hash, 48 of offset) at a load of 0.7 in huge pages, one record in a mapped file, compare, copy. It knows the
/// records' sizes, takes no lock, checks no CRC, and can neither grow nor fail.
class BareProbe {
  public:
    template <class Work>
    BareProbe(const std::filesystem::path& path, const Work& work, const std::vector<std::size_t>& offsets)
        : file_(path, O_RDONLY),
          map_(file_, std::filesystem::file_size(path), PROT_READ),
          slot_count_(work.records() * 10 / 7 + 1),
          slots_(Mapping::of_memory(slot_count_ * sizeof(std::uint64_t))) {
        map_.populate(0, map_.size(), false);
        for (std::size_t i = 0; i < work.records(); ++i) add(hash_of(work.pairs()[i].first), offsets[i]);
    }

    bool get_into(emdb::Bytes key, std::string& out) const {
        const char* const found = find(key, hash_of(key));
        if (found == nullptr) return false;
        out.assign(found + key.size(), value_size_);
        return true;
    }

    std::optional<std::string> get(emdb::Bytes key) const {
        const char* const found = find(key, hash_of(key));
        if (found == nullptr) return std::nullopt;
        return std::optional<std::string>(std::in_place, found + key.size(), value_size_);
    }

    /// All slots are asked for before the first is looked at, then all records.
    std::vector<std::optional<std::string>> get_many(std::span<const emdb::Bytes> keys) const {
        std::vector<std::uint64_t> hashes(keys.size());
        for (std::size_t i = 0; i < keys.size(); ++i) {
            hashes[i] = hash_of(keys[i]);
            __builtin_prefetch(slots() + home_of(hashes[i], slot_count_));
        }
        for (std::size_t i = 0; i < keys.size(); ++i) {
            std::size_t at = home_of(hashes[i], slot_count_);
            while (slots()[at] != 0 && tag_of(slots()[at]) != tag_of(hashes[i] << 48)) at = after(at);
            const char* const record = map_.data() + (slots()[at] & offset_mask);
            for (std::size_t line = 0; line < key_size + value_size; line += 64) __builtin_prefetch(record + line);
        }
        std::vector<std::optional<std::string>> values(keys.size());
        for (std::size_t i = 0; i < keys.size(); ++i) {
            const char* const found = find(keys[i], hashes[i]);
            if (found != nullptr) values[i].emplace(found + keys[i].size(), value_size_);
        }
        return values;
    }

  private:
    static constexpr std::uint64_t offset_mask = (std::uint64_t{1} << 48) - 1;

    static std::uint64_t hash_of(emdb::Bytes key) {
        return emdb::detail::siphash13(key.data(), key.size(), 0x0706050403020100, 0x0f0e0d0c0b0a0908);
    }
    static std::uint64_t tag_of(std::uint64_t slot) { return slot >> 48; }
    std::size_t after(std::size_t at) const { return at + 1 == slot_count_ ? 0 : at + 1; }
    std::uint64_t* slots() const { return reinterpret_cast<std::uint64_t*>(slots_.data()); }

    void add(std::uint64_t hash, std::size_t offset) {
        std::size_t at = home_of(hash, slot_count_);
        while (slots()[at] != 0) at = after(at);
        slots()[at] = hash << 48 | offset;
    }

    /// The record's key in the map, or nullptr. The top bits of the hash choose the slot, the low ones are its tag.
    const char* find(emdb::Bytes key, std::uint64_t hash) const {
        for (std::size_t at = home_of(hash, slot_count_);; at = after(at)) {
            const std::uint64_t slot = slots()[at];
            if (slot == 0) return nullptr;
            if (tag_of(slot) != tag_of(hash << 48)) continue;
            const char* const record = map_.data() + (slot & offset_mask);
            if (std::memcmp(record, key.data(), key.size()) == 0) return record;
        }
    }

    FileDescriptor file_;
    Mapping map_;
    std::size_t slot_count_;
    Mapping slots_;
    std::size_t value_size_ = value_size;  // a variable: a store does not know it when it is compiled
};

/// The least that opening can do: every byte of the mapped file through the CRC, every key hashed into a table that is
/// large enough from the start. Returns nanoseconds a record.
inline double replay_bare(const std::filesystem::path& path, const Workload& work, std::size_t overhead) {
    const std::size_t frame = overhead + key_size + value_size;
    const std::size_t slot_count = work.records() * 10 / 7 + 1;
    const Clock::time_point start = Clock::now();
    const FileDescriptor file(path, O_RDONLY);
    const Mapping map(file, std::filesystem::file_size(path), PROT_READ);
    const Mapping table = Mapping::of_memory(slot_count * sizeof(std::uint64_t));
    auto* const slots = reinterpret_cast<std::uint64_t*>(table.data());
    std::uint32_t checks = 0;
    constexpr std::size_t group = 32;
    for (std::size_t first = 0; first < work.records(); first += group) {
        std::uint64_t hashes[group];
        const std::size_t count = std::min(group, work.records() - first);
        for (std::size_t i = 0; i < count; ++i) {
            const char* const at = map.data() + (first + i) * frame;
            checks ^= emdb::detail::crc32c(at, frame);
            hashes[i] = emdb::detail::siphash13(at + overhead, key_size, 0x0706050403020100, 0x0f0e0d0c0b0a0908);
            __builtin_prefetch(slots + home_of(hashes[i], slot_count), 1);
        }
        for (std::size_t i = 0; i < count; ++i) {
            std::size_t at = home_of(hashes[i], slot_count);
            while (slots[at] != 0) at = at + 1 == slot_count ? 0 : at + 1;
            slots[at] = hashes[i] << 48 | ((first + i) * frame + overhead);
        }
    }
    keep(checks);
    return nanoseconds(Clock::now() - start) / as_double(work.records());
}

/// Makes one frame durable at a time in an allocated file: by pwrite or by storing into a shared map, then fdatasync.
class BareDurableFile {
  public:
    enum class How { pwrite, store };

    BareDurableFile(const std::filesystem::path& path, How how, std::size_t size, std::size_t overhead)
        : how_(how), overhead_(overhead), file_(path, O_RDWR | O_CREAT | O_TRUNC) {
        file_.allocate(size);
        file_.sync();
        map_.emplace(file_, size, PROT_READ | PROT_WRITE);
    }

    void write(emdb::Bytes key, emdb::Bytes value) {
        const std::size_t frame = overhead_ + key.size() + value.size();
        if (how_ == How::store) {
            put_frame(map_->data() + end_, overhead_, key, value);
        } else {
            put_frame(buffer_, overhead_, key, value);
            if (pwrite(file_.number(), buffer_, frame, static_cast<off_t>(end_)) != static_cast<ssize_t>(frame)) {
                fail_with_errno("cannot write a probe's file");
            }
        }
        end_ += frame;
    }
    void sync() { file_.sync(); }
    void append(emdb::Bytes key, emdb::Bytes value) {
        write(key, value);
        sync();
    }

  private:
    How how_;
    std::size_t overhead_;
    FileDescriptor file_;
    std::optional<Mapping> map_;
    std::size_t end_ = 0;
    char buffer_[key_size + value_size + 64];
};

/// Group commit with one mutex: whoever finds no sync under way does one for all frames so far, the others wait.
class BareGroupFile {
  public:
    BareGroupFile(const std::filesystem::path& path, std::size_t size, std::size_t overhead)
        : file_(path, BareDurableFile::How::pwrite, size, overhead) {}

    void append(emdb::Bytes key, emdb::Bytes value) {
        std::unique_lock lock(mutex_);
        file_.write(key, value);
        const std::size_t mine = ++written_;
        while (durable_ < mine) {
            if (syncing_) {
                synced_.wait(lock);
                continue;
            }
            syncing_ = true;
            const std::size_t covered = written_;
            lock.unlock();
            file_.sync();
            lock.lock();
            syncing_ = false;
            durable_ = covered;
            synced_.notify_all();
        }
    }

  private:
    BareDurableFile file_;
    std::mutex mutex_;
    std::condition_variable synced_;
    std::size_t written_ = 0, durable_ = 0;
    bool syncing_ = false;
};

}  // namespace bench
