#pragma once
// EMDB_UNROLL before a loop over registers: its array then is registers, also where the compiler would not unroll by itself.

#if defined(__clang__)
#define EMDB_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define EMDB_UNROLL _Pragma("GCC unroll 16")
#else
#define EMDB_UNROLL
#endif
