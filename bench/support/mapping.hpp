#pragma once
// Files and maps for the bare probes, without any of emdb's own code.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <utility>

#include "temporary_folder.hpp"

namespace bench {

inline constexpr std::size_t mebibyte = 1 << 20;

class FileDescriptor {
  public:
    FileDescriptor(const std::filesystem::path& path, int flags)
        : number_(open(path.c_str(), flags | O_CLOEXEC, 0600)) {
        if (number_ < 0) fail_with_errno("cannot open " + path.string());
    }
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    ~FileDescriptor() { close(number_); }

    int number() const { return number_; }
    /// Reserves blocks on the disk and makes the file this long.
    void allocate(std::size_t size) {
        const int failed = fallocate(number_, 0, 0, static_cast<off_t>(size));
        if (failed != 0) fail_with_errno("cannot allocate space for a probe");
    }
    void sync() {
        if (fdatasync(number_) != 0) fail_with_errno("cannot sync a probe's file");
    }

  private:
    int number_;
};

/// Waits until the file system has written what it holds back, so that one contestant's leftovers, such as the journal
/// entries for a file that was removed, are not paid for by the next.
inline void settle(const std::filesystem::path& folder) {
    const FileDescriptor directory(folder, O_RDONLY | O_DIRECTORY);
    if (syncfs(directory.number()) != 0) fail_with_errno("cannot sync the file system of " + folder.string());
}

class Mapping {
  public:
    /// A shared map of the first `size` bytes of a file.
    Mapping(const FileDescriptor& file, std::size_t size, int protection)
        : Mapping(size, protection, MAP_SHARED, file.number()) {}

    /// Zeroed memory in huge pages where the system has them.
    static Mapping of_memory(std::size_t size) {
        Mapping memory(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        madvise(memory.data_, size, MADV_HUGEPAGE);  // a wish: without it the probe is slower, not wrong
        return memory;
    }

    Mapping(Mapping&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
    Mapping& operator=(Mapping&&) = delete;
    ~Mapping() {
        if (data_ != nullptr) munmap(data_, size_);
    }

    char* data() const { return static_cast<char*>(data_); }
    std::size_t size() const { return size_; }

    /// Enters pages into the page table now, for writing or for reading.
    void populate(std::size_t offset, std::size_t size, bool for_writing) {
        if (madvise(data() + offset, size, for_writing ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) != 0) {
            fail_with_errno("cannot populate a probe's map (Linux 5.14 or later is needed)");
        }
    }

  private:
    Mapping(std::size_t size, int protection, int flags, int file)
        : data_(mmap(nullptr, size, protection, flags, file, 0)), size_(size) {
        if (data_ == MAP_FAILED) fail_with_errno("cannot map a probe's file");
    }
    void* data_;
    std::size_t size_;
};

}  // namespace bench
