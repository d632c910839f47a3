#pragma once
// Everything that EmdbBuilder collects for opening a database.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/callbacks.hpp"
#include "base/config.hpp"
#include "base/encryption_input.hpp"
#include "base/executor.hpp"
#include "base/options.hpp"

namespace emdb::detail {

class Environment;

struct AutoCompactLimits {
    double dead_ratio;
    std::uint64_t min_dead_bytes;
};

struct OpenOptions {
    std::optional<std::string> path;
    std::optional<std::string> app_name;
    std::optional<std::string> database_name;
    std::optional<std::string> data_root;
    FlushPolicy flush_policy = FlushPolicy::on_each_flush();
    AppendMode append_mode = AppendMode::automatic;
    bool verify_reads = true;
    bool range_scans = false;
    std::optional<AutoCompactLimits> auto_compact;
#if EMDB_TTL
    std::optional<std::chrono::milliseconds> default_ttl;
#endif
    LogCallback on_log;
    Clock clock;
#if EMDB_ENCRYPT
    std::optional<EncryptionInput> encryption_key;
    std::optional<EncryptionInput> encryption_passphrase;
    std::optional<Cipher> cipher;
#endif
    Environment* environment = nullptr;  ///< null: the operating system's
    std::uint64_t checkpoint_used_from = std::uint64_t{256} << 10;  ///< a shorter journal is replayed from its start
#if EMDB_IO_URING
    std::optional<std::uint32_t> io_uring_poll_idle_ms;
#endif
#if EMDB_ASYNC
    std::shared_ptr<Executor> executor;  ///< null: emdb's own pool
    std::size_t stream_depth = 64;
#endif
};

}  // namespace emdb::detail
