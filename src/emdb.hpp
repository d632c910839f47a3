// emdb: an embedded key-value database for C++20 in one header.
//
//   #define EMDB_IMPLEMENTATION      // in exactly one .cpp of the program
//   #include "emdb.hpp"              // everywhere else: just this line
//
// The declarations below are the reference. The implementation follows under EMDB_IMPLEMENTATION, in the order of its layers.

// Macros named min and max (as <windows.h> has them) must not reach this file; both are put back at its end.
#pragma push_macro("min")
#pragma push_macro("max")
#undef min
#undef max

#ifndef EMDB_HPP
#define EMDB_HPP
#include "base/config.hpp"
#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/result.hpp"
#include "base/options.hpp"
#include "base/range.hpp"
#include "base/ttl.hpp"
#include "base/encryption_input.hpp"
#include "base/record_source.hpp"
#include "base/function_ref.hpp"
#include "base/callbacks.hpp"
#include "base/executor.hpp"
#include "base/inspection.hpp"
#include "api/path.hpp"
#include "api/value_ref.hpp"
#include "api/iterators.hpp"
#include "api/keyspace.hpp"
#include "api/transaction.hpp"
#include "api/builder.hpp"
#include "api/emdb.hpp"
#include "api/focus.hpp"
#include "async/future.hpp"
#include "async/stream.hpp"
#include "async/call.hpp"
#include "async/async_keyspace.hpp"
#include "async/async_emdb.hpp"
#endif  // EMDB_HPP

#if defined(EMDB_IMPLEMENTATION) && !defined(EMDB_IMPLEMENTATION_INCLUDED)
#define EMDB_IMPLEMENTATION_INCLUDED

// base: what everything rests on.
#include "base/single_implementation.hpp"
#include "base/error_text.hpp"
#include "base/range_bounds.hpp"
#include "base/open_options.hpp"
#include "base/coding.hpp"
#include "base/cpu.hpp"

// checks: integrity and hashing.
#include "checks/wide_registers.hpp"
#include "checks/crc32c.hpp"
#include "checks/frame_sum.hpp"
#include "checks/crc32c_ranges.hpp"
#include "checks/siphash.hpp"

// crypto: the primitives of encryption at rest.
#if EMDB_ENCRYPT
#include "crypto/targets.hpp"
#include "crypto/wipe.hpp"
#include "crypto/secret_memory.hpp"
#include "crypto/blake2b.hpp"
#include "crypto/aead_call.hpp"
#include "crypto/aes_portable.hpp"
#include "crypto/ghash_portable.hpp"
#include "crypto/aes_gcm_portable.hpp"
#include "crypto/aes_gcm_key.hpp"
#include "crypto/aes_gcm_x86.hpp"
#include "crypto/aes_gcm_vaes.hpp"
#include "crypto/aes_gcm_arm.hpp"
#include "crypto/chacha20.hpp"
#include "crypto/chacha20_x86.hpp"
#include "crypto/poly1305.hpp"
#include "crypto/poly1305_x86.hpp"
#include "crypto/chacha20_poly1305.hpp"
#include "crypto/aead.hpp"
#include "crypto/argon2_fill.hpp"
#include "crypto/argon2_fill_x86.hpp"
#include "crypto/argon2id.hpp"
#endif
#include "crypto/secret_vector.hpp"
#include "crypto/plain_text.hpp"

// os: files, mappings, locks, clock, entropy.
#include "os/contract.hpp"
#include "os/system_error.hpp"
#include "os/native.hpp"
#include "os/memory_file.hpp"

// journal: the file, its frames, appending, syncing, recovery.
#include "journal/header.hpp"
#include "journal/frame.hpp"
#include "journal/frame_prefetch.hpp"
#include "journal/sealed_frame.hpp"
#include "journal/sealer.hpp"
#include "journal/key_block.hpp"
#include "journal/batch_buffer.hpp"
#include "journal/frame_rules.hpp"
#include "journal/journal_map.hpp"
#include "journal/append_window.hpp"
#include "journal/journal.hpp"
#include "journal/flusher.hpp"
#include "journal/replay.hpp"
#include "journal/meta_seal.hpp"
#include "journal/meta_file.hpp"
#include "journal/survey.hpp"
#include "journal/contents.hpp"
#include "journal/seed_search.hpp"
#include "journal/new_journal.hpp"

// index: from hashes, and in key order, to offsets; read without locks.
#include "index/thread_slot.hpp"
#include "index/pins.hpp"
#include "index/hash_table.hpp"
#include "index/hash_index.hpp"
#include "index/expiry_queues.hpp"
#include "index/tree_node.hpp"
#include "index/node_pool.hpp"
#include "index/ordered_index.hpp"
#include "index/ordered_shape.hpp"
#include "index/ordered_sort.hpp"
#include "index/offset_sort.hpp"

// engine: generations, read and write paths, transactions, expiry.
#include "engine/generation.hpp"
#include "engine/expiry_clock.hpp"
#include "engine/keyspace_index.hpp"
#include "engine/keyspace_state.hpp"
#include "engine/lock_file.hpp"
#include "engine/lock_inspection.hpp"
#include "engine/engine.hpp"
#include "engine/sync_deferral.hpp"
#include "engine/write_path.hpp"
#include "engine/read_path.hpp"
#include "engine/ordered_upkeep.hpp"
#include "engine/range_read.hpp"
#include "engine/read_many.hpp"
#include "engine/staged_writes.hpp"
#include "engine/bulk_load.hpp"
#include "engine/iteration.hpp"
#include "engine/expiry.hpp"
#include "engine/groups.hpp"
#include "engine/namespaces.hpp"
#include "engine/checkpoint_load.hpp"
#include "engine/recovery.hpp"
#include "engine/checkpoint.hpp"
#include "engine/database_path.hpp"
#include "engine/opening.hpp"
#include "engine/encryption.hpp"
#include "engine/rewrite.hpp"
#include "engine/compaction.hpp"
#include "engine/auto_compaction.hpp"
#include "engine/backup.hpp"
#include "engine/encryption_change.hpp"
#include "engine/closing.hpp"
#include "engine/inspected_file.hpp"
#include "engine/verification.hpp"
#include "engine/salvage.hpp"

// api: the public calls.
#include "api/keyspace_calls.hpp"
#include "api/emdb_calls.hpp"
#include "api/focus_calls.hpp"

// async: the same calls, made by a pool or an executor.
#include "async/task_queue.hpp"
#include "async/running.hpp"
#include "async/pool.hpp"
#include "async/future_state.hpp"
#include "async/flush_queue.hpp"
#include "async/transaction_gate.hpp"
#include "async/async_core.hpp"
#include "async/making_calls.hpp"
#include "async/channel.hpp"
#include "async/async_keyspace_calls.hpp"
#include "async/async_emdb_calls.hpp"

#undef EMDB_AES_ARM_INLINE
#undef EMDB_AES_ARM_TARGET
#undef EMDB_AES_NI_INLINE
#undef EMDB_AES_NI_TARGET
#undef EMDB_AVX2_INLINE
#undef EMDB_AVX2_TARGET
#undef EMDB_AVX512_INLINE
#undef EMDB_AVX512_TARGET
#undef EMDB_CHACHA20_ROWS
#undef EMDB_CRYPTO_ARM64
#undef EMDB_CRYPTO_X86
#undef EMDB_SECRET_PAGES
#undef EMDB_UNROLL
#undef EMDB_VAES_INLINE
#undef EMDB_VAES_TARGET
#undef EMDB_WIDE_REGISTERS
#undef EMDB_WIDE_TARGET
#endif  // EMDB_IMPLEMENTATION

#pragma pop_macro("max")
#pragma pop_macro("min")
