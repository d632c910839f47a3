#pragma once
// Version, feature macros and the link-time check that every translation unit agrees on them.

#include <cstddef>
#include <cstdint>

/// @mainpage
/// Where to begin: emdb::Emdb, opened by `Emdb::open` or with settings by emdb::EmdbBuilder; emdb::Keyspace, the calls on records that Emdb
/// and emdb::Namespace share; emdb::Transaction; emdb::Result and emdb::ErrorCode, what calls return; emdb::AsyncEmdb, the same as futures.
///
/// Throughout: sizes and offsets are in bytes, moments in milliseconds since 1970 (UTC), durations those of `<chrono>`; paths and names of
/// files are UTF-8, keys and values any bytes. Errors are returned. What is thrown is `std::bad_alloc`, what the caller's own functions
/// throw, and emdb::Exception where a value is taken that is not there.
///
/// Macros, to be defined before the header is included:
/// - `EMDB_IMPLEMENTATION`, in exactly one translation unit of the program.
/// - The features, each 0 or 1, and the same in all of them (otherwise the program does not link): `EMDB_TTL` (1 unless defined), expiry;
///   `EMDB_NESTED` (0), groups and emdb::Focus; `EMDB_ENCRYPT` (0), encryption at rest; `EMDB_ASYNC` (0), futures, coroutines and streams;
///   `EMDB_IO_URING` (0), syncs by io_uring for databases that ask for it (links liburing).
///
/// Macros that it defines: `EMDB_VERSION_MAJOR`, `EMDB_VERSION_MINOR` and `EMDB_VERSION_PATCH`, numbers; `EMDB_VERSION_STRING`, a text;
/// `EMDB_EXCEPTIONS`, 1 if the compiler has exceptions on.

#define EMDB_VERSION_MAJOR 0
#define EMDB_VERSION_MINOR 1
#define EMDB_VERSION_PATCH 0
#define EMDB_VERSION_STRING "0.1.0"

// Feature macros: 0 or 1, the same in every translation unit of a program.
#ifndef EMDB_TTL
#define EMDB_TTL 1
#endif
#ifndef EMDB_NESTED
#define EMDB_NESTED 0
#endif
#ifndef EMDB_ENCRYPT
#define EMDB_ENCRYPT 0
#endif
#ifndef EMDB_ASYNC
#define EMDB_ASYNC 0
#endif
#ifndef EMDB_IO_URING
#define EMDB_IO_URING 0
#endif

#if (EMDB_TTL != 0 && EMDB_TTL != 1) || (EMDB_NESTED != 0 && EMDB_NESTED != 1) || (EMDB_ENCRYPT != 0 && EMDB_ENCRYPT != 1) || \
    (EMDB_ASYNC != 0 && EMDB_ASYNC != 1) || (EMDB_IO_URING != 0 && EMDB_IO_URING != 1)
#error "emdb: every feature macro (EMDB_TTL, EMDB_NESTED, EMDB_ENCRYPT, EMDB_ASYNC, EMDB_IO_URING) must be 0 or 1"
#endif

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define EMDB_EXCEPTIONS 1
#else
#define EMDB_EXCEPTIONS 0
#endif

// Each feature has two possible symbols; the implementation defines the one that fits its own setting, and every
// translation unit refers to the one that fits its setting. A disagreement is an undefined symbol that names the macro.
#if EMDB_TTL
#define EMDB_TTL_SYMBOL EMDB_TTL_is_1_here_but_0_in_the_implementation
#else
#define EMDB_TTL_SYMBOL EMDB_TTL_is_0_here_but_1_in_the_implementation
#endif
#if EMDB_NESTED
#define EMDB_NESTED_SYMBOL EMDB_NESTED_is_1_here_but_0_in_the_implementation
#else
#define EMDB_NESTED_SYMBOL EMDB_NESTED_is_0_here_but_1_in_the_implementation
#endif
#if EMDB_ENCRYPT
#define EMDB_ENCRYPT_SYMBOL EMDB_ENCRYPT_is_1_here_but_0_in_the_implementation
#else
#define EMDB_ENCRYPT_SYMBOL EMDB_ENCRYPT_is_0_here_but_1_in_the_implementation
#endif
#if EMDB_ASYNC
#define EMDB_ASYNC_SYMBOL EMDB_ASYNC_is_1_here_but_0_in_the_implementation
#else
#define EMDB_ASYNC_SYMBOL EMDB_ASYNC_is_0_here_but_1_in_the_implementation
#endif
#if EMDB_IO_URING
#define EMDB_IO_URING_SYMBOL EMDB_IO_URING_is_1_here_but_0_in_the_implementation
#else
#define EMDB_IO_URING_SYMBOL EMDB_IO_URING_is_0_here_but_1_in_the_implementation
#endif

namespace emdb::detail {

extern const char EMDB_IMPLEMENTATION_must_be_defined_in_exactly_one_translation_unit;
extern const char EMDB_TTL_SYMBOL;
extern const char EMDB_NESTED_SYMBOL;
extern const char EMDB_ENCRYPT_SYMBOL;
extern const char EMDB_ASYNC_SYMBOL;
extern const char EMDB_IO_URING_SYMBOL;

#if defined(__GNUC__)
#if defined(__ELF__) && __has_attribute(retain)
#define EMDB_KEPT [[gnu::used, gnu::retain]]
#else
#define EMDB_KEPT [[gnu::used]]
#endif
// `used` and `retain` keep the references in object files of translation units that call nothing, also when the linker drops
// sections that nothing refers to.
EMDB_KEPT static const char* const implementation_check =
    &EMDB_IMPLEMENTATION_must_be_defined_in_exactly_one_translation_unit;
EMDB_KEPT static const char* const ttl_macro_check = &EMDB_TTL_SYMBOL;
EMDB_KEPT static const char* const nested_macro_check = &EMDB_NESTED_SYMBOL;
EMDB_KEPT static const char* const encrypt_macro_check = &EMDB_ENCRYPT_SYMBOL;
EMDB_KEPT static const char* const async_macro_check = &EMDB_ASYNC_SYMBOL;
EMDB_KEPT static const char* const io_uring_macro_check = &EMDB_IO_URING_SYMBOL;
#elif defined(_MSC_VER)
#define EMDB_STRINGIFY_VALUE(x) #x
#define EMDB_STRINGIFY(x) EMDB_STRINGIFY_VALUE(x)
#pragma detect_mismatch("EMDB_TTL", EMDB_STRINGIFY(EMDB_TTL))
#pragma detect_mismatch("EMDB_NESTED", EMDB_STRINGIFY(EMDB_NESTED))
#pragma detect_mismatch("EMDB_ENCRYPT", EMDB_STRINGIFY(EMDB_ENCRYPT))
#pragma detect_mismatch("EMDB_ASYNC", EMDB_STRINGIFY(EMDB_ASYNC))
#pragma detect_mismatch("EMDB_IO_URING", EMDB_STRINGIFY(EMDB_IO_URING))
#endif

}  // namespace emdb::detail
