#pragma once
// The seam between the engine and whatever holds its files: POSIX, Windows, memory, and the simulated disk of the tests.
//
// Rules that every implementation keeps and the engine relies on:
//   1. An error is an Error with ErrorCode::io (unless said otherwise), the system's code in os_error(), and a sentence that
//      names the action, the file and the remedy. EINTR and short transfers never reach the caller.
//   2. What was stored through a writable mapping or written with write_at is visible at once in every mapping of the file and
//      to read_at, in this process and others, and survives the process being killed.
//   3. Only sync() makes bytes and the file's size survive a power cut, and only sync_directory_of() makes a created, renamed
//      or removed name survive. Until then any subset of 512-byte sectors, the size and the name may be old or new.
//   4. A failed sync() says nothing about what reached the disk, and neither does a later successful one.
//   5. File and FileSystem may be used from several threads at once; one File's truncate and allocate are serialised by the
//      caller.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/config.hpp"
#include "base/result.hpp"

namespace emdb::detail {

/// Tells two names of one file from two files.
struct FileIdentity {
    std::uint64_t device = 0;
    std::uint64_t file = 0;
    friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// A part of a file in memory; unmapped by its destructor. May outlive the File that made it.
class Mapping {
public:
    using Release = void (*)(std::byte* data, std::size_t size) noexcept;

    Mapping() noexcept = default;
    Mapping(std::byte* data, std::size_t size, Release release, std::shared_ptr<void> keep_alive = nullptr) noexcept
        : data_(data), size_(size), release_(release), keep_alive_(std::move(keep_alive)) {}
    Mapping(Mapping&& other) noexcept { swap(other); }
    Mapping& operator=(Mapping&& other) noexcept {
        Mapping(std::move(other)).swap(*this);
        return *this;
    }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping() {
        if (release_ != nullptr && data_ != nullptr) release_(data_, size_);
    }

    std::byte* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    explicit operator bool() const noexcept { return data_ != nullptr; }

private:
    void swap(Mapping& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(release_, other.release_);
        keep_alive_.swap(other.keep_alive_);
    }

    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    Release release_ = nullptr;
    std::shared_ptr<void> keep_alive_;
};

#if EMDB_IO_URING
class SyncRing;
#endif

/// An open file. Destroying it closes it and releases its lock.
class File {
public:
    virtual ~File() = default;

    virtual Result<std::uint64_t> size() = 0;
    /// Writes all of `bytes` at `offset`, extending the file if need be.
    virtual Result<void> write_at(std::uint64_t offset, std::span<const std::byte> bytes) = 0;
    /// Reads up to `into.size()` bytes at `offset`; fewer only at the end of the file.
    virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) = 0;

    /// True where space given by allocate() can be stored to through a mapping without the file system ever saying "full":
    /// the precondition for map_writable(). False on copy-on-write and unknown file systems.
    virtual bool keeps_allocation() = 0;
    /// Natively allocates [offset, offset + length), which reads as zeros where nothing was written, and extends the size to
    /// its end. Called only when keeps_allocation().
    virtual Result<void> allocate(std::uint64_t offset, std::uint64_t length) = 0;
    /// Cuts or extends (with zeros, unallocated) the file.
    virtual Result<void> truncate(std::uint64_t size) = 0;
    /// Whether truncate() can cut a file of which anything is mapped.
    virtual bool cuts_mapped() { return true; }
    /// Makes everything written so far, and the size, survive a power cut.
    virtual Result<void> sync() = 0;

    /// Whether map_read_only() may reach beyond the end of the file, to serve it as it grows.
    virtual bool maps_past_end() = 0;
    /// `offset` is a multiple of map_granularity(). Bytes beyond the end of the file must not be touched.
    virtual Result<Mapping> map_read_only(std::uint64_t offset, std::size_t length) = 0;
    /// The range lies inside allocated space; `offset` is a multiple of map_granularity().
    virtual Result<Mapping> map_writable(std::uint64_t offset, std::size_t length) = 0;
    /// Brings the pages of a part of a writable mapping in, ready to be stored to, so that a failure (out of memory or space)
    /// is an error here instead of a signal later. Does nothing where the system has no such call.
    virtual Result<void> populate(const Mapping& mapping, std::size_t offset, std::size_t length) = 0;
    /// Whether syncing costs nothing, because the file lives in memory (tmpfs): then nothing is done to make syncs cheap.
    virtual bool is_memory_backed() = 0;
    /// A hint: the range is about to be read through a mapping, from front to back.
    virtual void expect_reading(std::uint64_t offset, std::uint64_t length) noexcept = 0;
    /// A hint: from now on this mapping is read here and there, so what lies around is not worth reading along.
    virtual void expect_random_reading(const Mapping& mapping) noexcept = 0;
    /// A hint: the range is written, and a sync is going to come: its way to the disk may begin.
    virtual void start_writing(std::uint64_t, std::uint64_t) noexcept {}
    virtual std::size_t map_granularity() = 0;

    /// Takes the lock that keeps other openers out, in this process and others, without waiting (a File that was opened
    /// read-only locks out writers only); false: somebody else has it. Released by closing the File; a child made by fork() does
    /// not release the parent's.
    virtual Result<bool> try_lock() = 0;
    /// Whether somebody else holds the lock, found out without taking it.
    virtual Result<bool> is_locked_by_other() = 0;
    virtual Result<FileIdentity> identity() = 0;

    /// Takes over who may do what with `other`, a file of the same kind, as far as the system lets this process.
    virtual Result<void> take_permissions_of(File&) { return {}; }

#if EMDB_IO_URING
    /// sync() goes through a ring from now on, if this is a file of the operating system's.
    virtual void sync_through(std::shared_ptr<SyncRing>) {}
#endif

    /// The file was renamed: what errors call it from now on.
    virtual void set_name(const std::string& path) = 0;
};

enum class OpenMode : std::uint8_t {
    read_only,    ///< must exist
    read_write,   ///< must exist
    create_new,   ///< must not exist
};

enum class FileKind : std::uint8_t { absent, regular, directory, other };

struct FileStatus {
    FileKind kind = FileKind::absent;
    std::uint64_t size = 0;
    FileIdentity identity;
};

/// Names: everything about files that is not about their contents. Paths are UTF-8.
class FileSystem {
public:
    virtual ~FileSystem() = default;

    /// Errors keep the system's code, so that a caller can tell an absent file and a taken name: see is_not_found, is_name_taken.
    virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
    /// An absent file is FileKind::absent, not an error. Follows symbolic links.
    virtual Result<FileStatus> status(const std::string& path) = 0;
    /// Gives `from` the name `to`, replacing what has it: atomically, or by way of aside_name(to).
    virtual Result<void> rename_replacing(const std::string& from, const std::string& to) = 0;
    /// Where rename_replacing() moves what it can't replace; empty: never anywhere. If it is cut off in between, nothing has the name
    /// `to`; when it is over, what was moved may still be there.
    virtual std::string aside_name(const std::string&) { return {}; }
    /// The names of what was moved aside from `to` earlier and could not be removed yet, because it was in use.
    virtual std::vector<std::string> discarded_names(const std::string&) { return {}; }
    /// Atomically gives `from` the name `to` if nothing has it; false: something has.
    virtual Result<bool> rename_if_absent(const std::string& from, const std::string& to) = 0;
    /// Removing an absent file is no error.
    virtual Result<void> remove(const std::string& path) = 0;
    /// Makes creations, renames and removals in the directory that holds `path` survive a power cut.
    virtual Result<void> sync_directory_of(const std::string& path) = 0;
    /// The path from the root on, so that a later change of the working directory does not matter; without symbolic links as far
    /// as it leads to something, so that what is beside the file is beside it under all its names.
    virtual Result<std::string> absolute(const std::string& path) = 0;
    /// Creates the directory and its missing parents.
    virtual Result<void> create_directories(const std::string& path) = 0;
};

/// Where the engine gets files, time and randomness from.
class Environment {
public:
    virtual ~Environment() = default;
    virtual FileSystem& files() = 0;
    virtual std::uint64_t now_unix_ms() = 0;
    /// Cryptographically strong random bytes; an error refuses the operation, never falls back to something weaker.
    virtual Result<void> fill_random(std::span<std::byte> into) = 0;
    virtual std::uint32_t process_id() = 0;
    virtual std::string host_name() = 0;
};

/// The operating system's own. Lives for the whole program.
Environment& native_environment();
/// A file that lives in memory only and is never synced, for in-memory databases. It grows to any size, its mappings reach past
/// its end, and keeps_allocation() is true.
Result<std::unique_ptr<File>> make_memory_file();

/// A variable of the process environment in UTF-8; empty when unset.
std::string environment_variable(const char* name);
/// The platform's directory for an application's data ($XDG_DATA_HOME or ~/.local/share, ~/Library/Application Support,
/// %LOCALAPPDATA%); invalid_config when it can't be found out.
Result<std::string> platform_data_directory();

/// An io Error for a failed system call: "cannot ACTION 'PATH': REASON. REMEDY".
Error system_error(std::string_view action, std::string_view path, int os_error);
bool is_not_found(const Error& error) noexcept;
bool is_name_taken(const Error& error) noexcept;
bool is_out_of_space(const Error& error) noexcept;

/// How often fork() has made this process a child since the program began; a handle opened under another count belongs to
/// the parent. Costs one relaxed load.
std::uint32_t fork_count() noexcept;
/// Has fork_count() kept from now on (pthread_atfork; nothing on Windows). Idempotent.
void watch_forks();

/// A barrier that acts as a sequentially consistent fence in every running thread of the process, at a microsecond or so for the
/// caller and nothing for the others (Linux membarrier, Windows FlushProcessWriteBuffers).
/// False: there is none, or it was taken away meanwhile (seccomp).
bool process_barrier() noexcept;
/// Asked before relying on process_barrier().
bool process_barrier_works() noexcept;

/// Anonymous, zeroed, page-aligned memory for index tables; huge pages asked for where `size` makes it worth while. Null: out
/// of memory.
void* allocate_pages(std::size_t size) noexcept;
void release_pages(void* data, std::size_t size) noexcept;
/// Gives the whole pages inside a part of such memory back to the system, where it takes them: that part is not used any more, but
/// still to be released with the rest.
void give_back_pages(void* data, std::size_t size) noexcept;

}  // namespace emdb::detail
