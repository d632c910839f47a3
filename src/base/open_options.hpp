#pragma once
// Everything that EmdbBuilder collects for opening a database.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/config.hpp"
#include "base/callbacks.hpp"
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
    std::uint64_t checkpoint_used_from = std::uint64_t{256} << 10;  ///< a shorter journal is replayed from its start
};

}  // namespace emdb::detail
