#pragma once
// The system calls that emdb makes, operator new and pthread_create, defined in the test program before the C library gets its
// turn: each asks the Injector what becomes of it. Linux with the GNU C library. Syncs that succeed do nothing, which saves most of
// the time; what a power cut does is the simulated disk's affair.
//
// To be included in one file of a program.

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <new>

#include "faults/injection.hpp"

namespace emdb_test {

/// The C library's own (or a sanitizer's).
template <class F>
F* next_function(const char* name) noexcept {
    return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

/// True: the call is to fail, and errno says why.
inline bool is_to_fail(Call call) noexcept {
    if (injector.fate(call) == Outcome::as_asked) return false;
    errno = injector.os_error();
    return true;
}

/// What is left of a transfer.
inline std::size_t transfer_size(Outcome outcome, std::size_t size) noexcept {
    if (outcome == Outcome::is_zero) return 0;
    return outcome == Outcome::is_short ? (size + 1) / 2 : size;
}

}  // namespace emdb_test

// One line each: the real one's type is that of the function being defined.
#define EMDB_TEST_FAIL(call, failure) \
    if (emdb_test::is_to_fail(emdb_test::Call::call)) return failure
#define EMDB_TEST_NEXT(name) static auto* const next = emdb_test::next_function<decltype(::name)>(#name)

extern "C" {

int open(const char* path, int flags, ...) {
    EMDB_TEST_FAIL(open, -1);
    EMDB_TEST_NEXT(open);
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return next(path, flags, mode);
}
int stat(const char* path, struct stat* into) noexcept {
    EMDB_TEST_FAIL(stat, -1);
    static auto* const next = emdb_test::next_function<int(const char*, struct stat*)>("stat");
    return next(path, into);
}
int lstat(const char* path, struct stat* into) noexcept {
    EMDB_TEST_FAIL(lstat, -1);
    EMDB_TEST_NEXT(lstat);
    return next(path, into);
}
int fstat(int file, struct stat* into) noexcept {
    EMDB_TEST_FAIL(fstat, -1);
    EMDB_TEST_NEXT(fstat);
    return next(file, into);
}
int fstatfs(int file, struct statfs* into) noexcept {
    EMDB_TEST_FAIL(fstatfs, -1);
    EMDB_TEST_NEXT(fstatfs);
    return next(file, into);
}
ssize_t pread(int file, void* into, size_t size, off_t offset) {
    const auto outcome = emdb_test::injector.fate(emdb_test::Call::pread);
    if (outcome == emdb_test::Outcome::fails) return errno = emdb_test::injector.os_error(), -1;
    EMDB_TEST_NEXT(pread);
    return next(file, into, emdb_test::transfer_size(outcome, size), offset);
}
ssize_t pwrite(int file, const void* from, size_t size, off_t offset) {
    const auto outcome = emdb_test::injector.fate(emdb_test::Call::pwrite);
    if (outcome == emdb_test::Outcome::fails) return errno = emdb_test::injector.os_error(), -1;
    EMDB_TEST_NEXT(pwrite);
    return next(file, from, emdb_test::transfer_size(outcome, size), offset);
}
int fallocate(int file, int mode, off_t offset, off_t length) {
    EMDB_TEST_FAIL(fallocate, -1);
    EMDB_TEST_NEXT(fallocate);
    return next(file, mode, offset, length);
}
int ftruncate(int file, off_t size) noexcept {
    EMDB_TEST_FAIL(ftruncate, -1);
    EMDB_TEST_NEXT(ftruncate);
    return next(file, size);
}
int fdatasync(int) {
    EMDB_TEST_FAIL(fdatasync, -1);
    return 0;
}
int fsync(int) {
    EMDB_TEST_FAIL(fsync, -1);
    return 0;
}
int fcntl(int file, int command, ...) {
    if (command == F_OFD_SETLK || command == F_OFD_GETLK) {
        EMDB_TEST_FAIL(lock, -1);
    } else {
        EMDB_TEST_FAIL(fcntl, -1);
    }
    EMDB_TEST_NEXT(fcntl);
    va_list arguments;
    va_start(arguments, command);
    void* const argument = va_arg(arguments, void*);  // as the C library itself takes it
    va_end(arguments);
    return next(file, command, argument);
}
int fchmod(int file, mode_t mode) noexcept {
    EMDB_TEST_FAIL(fchmod, -1);
    EMDB_TEST_NEXT(fchmod);
    return next(file, mode);
}
int fchown(int file, uid_t owner, gid_t group) noexcept {
    EMDB_TEST_FAIL(fchown, -1);
    EMDB_TEST_NEXT(fchown);
    return next(file, owner, group);
}
int posix_fadvise(int file, off_t offset, off_t length, int advice) noexcept {
    EMDB_TEST_FAIL(posix_fadvise, errno);
    EMDB_TEST_NEXT(posix_fadvise);
    return next(file, offset, length, advice);
}
void* mmap(void* address, size_t size, int protection, int flags, int file, off_t offset) noexcept {
    EMDB_TEST_FAIL(mmap, MAP_FAILED);
    EMDB_TEST_NEXT(mmap);
    return next(address, size, protection, flags, file, offset);
}
int madvise(void* address, size_t size, int advice) noexcept {
    EMDB_TEST_FAIL(madvise, -1);
    EMDB_TEST_NEXT(madvise);
    return next(address, size, advice);
}
int mlock(const void* address, size_t size) noexcept {
    EMDB_TEST_FAIL(mlock, -1);
    EMDB_TEST_NEXT(mlock);
    return next(address, size);
}
int rename(const char* from, const char* to) noexcept {
    EMDB_TEST_FAIL(rename, -1);
    EMDB_TEST_NEXT(rename);
    return next(from, to);
}
int link(const char* from, const char* to) noexcept {
    EMDB_TEST_FAIL(link, -1);
    EMDB_TEST_NEXT(link);
    return next(from, to);
}
int unlink(const char* path) noexcept {
    EMDB_TEST_FAIL(unlink, -1);
    EMDB_TEST_NEXT(unlink);
    return next(path);
}
int mkdir(const char* path, mode_t mode) noexcept {
    EMDB_TEST_FAIL(mkdir, -1);
    EMDB_TEST_NEXT(mkdir);
    return next(path, mode);
}
char* realpath(const char* path, char* into) noexcept {
    EMDB_TEST_FAIL(realpath, nullptr);
    EMDB_TEST_NEXT(realpath);
    return next(path, into);
}
char* getcwd(char* into, size_t size) noexcept {
    EMDB_TEST_FAIL(getcwd, nullptr);
    EMDB_TEST_NEXT(getcwd);
    return next(into, size);
}
ssize_t getrandom(void* into, size_t size, unsigned flags) {
    EMDB_TEST_FAIL(getrandom, -1);
    EMDB_TEST_NEXT(getrandom);
    return next(into, size, flags);
}
int gethostname(char* into, size_t size) noexcept {
    EMDB_TEST_FAIL(gethostname, -1);
    EMDB_TEST_NEXT(gethostname);
    return next(into, size);
}
long syscall(long number, ...) noexcept {
    if (number == SYS_renameat2) {
        if (emdb_test::injector.lacks_exclusive_rename()) return errno = ENOSYS, -1;
        EMDB_TEST_FAIL(rename_exclusively, -1);
    }
    if (number == SYS_membarrier) EMDB_TEST_FAIL(membarrier, -1);
    EMDB_TEST_NEXT(syscall);
    va_list arguments;
    va_start(arguments, number);
    long passed[6];
    for (long& argument : passed) argument = va_arg(arguments, long);
    va_end(arguments);
    return next(number, passed[0], passed[1], passed[2], passed[3], passed[4], passed[5]);
}
int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*), void* argument) noexcept {
    EMDB_TEST_FAIL(thread_start, EAGAIN);
    EMDB_TEST_NEXT(pthread_create);
    return next(thread, attributes, run, argument);
}

}  // extern "C"

#undef EMDB_TEST_FAIL
#undef EMDB_TEST_NEXT

// Aligned news fall back on the C library's own and count as well. The array forms call these.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    if (emdb_test::injector.fate(emdb_test::Call::allocation) != emdb_test::Outcome::as_asked) return nullptr;
    return std::malloc(size == 0 ? 1 : size);
}
[[gnu::noinline]] void* operator new(std::size_t size) {
    void* const memory = operator new(size, std::nothrow);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    if (emdb_test::injector.fate(emdb_test::Call::allocation) != emdb_test::Outcome::as_asked) return nullptr;
    const std::size_t whole = static_cast<std::size_t>(alignment);
    return std::aligned_alloc(whole, (std::max)(size + whole - 1, whole) / whole * whole);
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
    void* const memory = operator new(size, alignment, std::nothrow);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}
[[gnu::noinline]] void* operator new[](std::size_t size) { return operator new(size); }
[[gnu::noinline]] void* operator new[](std::size_t size, const std::nothrow_t& none) noexcept { return operator new(size, none); }
[[gnu::noinline]] void* operator new[](std::size_t size, std::align_val_t alignment) { return operator new(size, alignment); }
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
