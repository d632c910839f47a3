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
#include "base/executor.hpp"
#include "base/options.hpp"

namespace emdb::detail {

class Environment;

struct OpenOptions {
    std::optional<std::string> path;
    std::optional<std::string> app_name;
    std::optional<std::string> database_name;
    std::optional<std::string> data_root;
    FlushPolicy flush_policy = FlushPolicy::on_each_flush();
    AppendMode append_mode = AppendMode::automatic;
    bool verify_reads = true;
    bool range_scans = false;
#if EMDB_TTL
    std::optional<std::chrono::milliseconds> default_ttl;
#endif
    LogCallback on_log;
    Clock clock;
    Environment* environment = nullptr;  ///< null: the operating system's
#if EMDB_ASYNC
    std::shared_ptr<Executor> executor;  ///< null: emdb's own pool
    std::size_t stream_depth = 64;
#endif
};

}  // namespace emdb::detail
