// stats, compact, backup, lock: a database as a whole.

#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "emdb.hpp"

#include "commands.hpp"
#include "database.hpp"
#include "json_lines.hpp"
#include "output.hpp"

namespace cli {

namespace {

Status stats(const Arguments& arguments) {
    const auto& words = arguments.positional({"DB"});
    emdb::Emdb db = open_database(arguments, words[0], {});
    const emdb::EmdbStats stats = db.stats().value();
    const std::pair<const char*, std::uint64_t> numbers[] = {
        {"live_records", stats.live_records},           {"namespace_count", stats.namespace_count},
        {"logical_size_bytes", stats.logical_size_bytes}, {"file_size_bytes", stats.file_size_bytes},
        {"preallocated_bytes", stats.preallocated_bytes}, {"dead_bytes", stats.dead_bytes},
        {"index_bytes", stats.index_bytes}};
    if (arguments.has("json")) {
        std::string line = "{";
        for (const auto& [name, number] : numbers) line += json_string(name) + ':' + std::to_string(number) + ',';
        write(line + "\"encrypted\":" + (stats.encrypted ? "true" : "false") + "}\n");
        return Status::done;
    }
    const double share = stats.file_size_bytes == 0 ? 0 : 100.0 * static_cast<double>(stats.dead_bytes) /
                                                             static_cast<double>(stats.file_size_bytes);
    char percent[16];
    std::snprintf(percent, sizeof percent, "%.0f %%", share);
    write("records     " + std::to_string(stats.live_records) + " in the default keyspace and " +
          counted(stats.namespace_count, "namespace") + "\n");
    write("contents    " + human_bytes(stats.logical_size_bytes) + " of keys and values\n");
    write("file        " + human_bytes(stats.file_size_bytes) + ", of which " + human_bytes(stats.dead_bytes) + " (" + percent +
          ") are no longer needed\n");
    write("index       " + human_bytes(stats.index_bytes) + " of memory while it is open\n");
    write(std::string("encrypted   ") + (stats.encrypted ? "yes" : "no") + "\n");
    return Status::done;
}

Status compact(const Arguments& arguments) {
    const auto& words = arguments.positional({"DB"});
    emdb::Emdb db = open_database(arguments, words[0], {.ordered = arguments.has("ordered")});
    const std::uint64_t before = db.stats().value().file_size_bytes;
    db.compact().value();
    const std::uint64_t after = db.stats().value().file_size_bytes;
    db.close().value();
    write("from " + human_bytes(before) + " to " + human_bytes(after) + "\n");
    return Status::done;
}

Status backup(const Arguments& arguments) {
    const auto& words = arguments.positional({"DB", "TARGET"});
    emdb::Emdb db = open_database(arguments, words[0], {});
    db.backup_to(words[1]).value();
    return Status::done;
}

std::string time_text(std::uint64_t unix_ms) {
    const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
    char text[32] = "";
    if (const std::tm* utc = std::gmtime(&seconds)) std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", utc);
    return text;
}

Status lock(const Arguments& arguments) {
    const auto& words = arguments.positional({"show|break", "DB"});
    const std::string& path = words[1];
    if (words[0] == "break") {
        emdb::Emdb::break_lock(path).value();
        return Status::done;
    }
    if (words[0] != "show") arguments.wrong("'" + words[0] + "' is neither 'show' nor 'break'");
    const auto holder = emdb::Emdb::lock_holder(path).value();
    if (!holder) fail(Status::absent, "nobody has '" + path + "' open");
    if (arguments.has("json")) {
        write("{\"pid\":" + std::to_string(holder->pid) + ',' + json_member("host", holder->hostname) +
              ",\"since_unix_ms\":" + std::to_string(holder->acquired_at_unix_ms) + ',' +
              json_member("version", holder->version) + "}\n");
    } else if (holder->pid == 0) {
        write("somebody has it open, whose lock file is gone\n");
    } else {
        write("process " + std::to_string(holder->pid) + " on " + holder->hostname + ", emdb " + holder->version + ", since " +
              time_text(holder->acquired_at_unix_ms) + "\n");
    }
    return Status::done;
}

}  // namespace

std::vector<Command> upkeep_commands() {
    return {
        {"stats", "DB", "print sizes and counts",
         "    emdb stats app.emdb\n    emdb stats app.emdb --json | jq .dead_bytes\n",
         {{"json", 'j', nullptr, "as one line of JSON"}}, stats},
        {"compact", "DB", "rewrite a database without what is no longer needed",
         "Needs free space for the result. Killed half-way, it leaves the database as it was.\n\n    emdb compact app.emdb\n",
         {{"ordered", 0, nullptr, "lay the records in the order of their keys, which makes scans faster"}}, compact},
        {"backup", "DB TARGET", "copy a database, without what is no longer needed",
         "TARGET is absent, or a database that nobody has open, which is replaced once the copy is whole.\n\n"
         "    emdb backup app.emdb /backup/app.emdb && emdb verify /backup/app.emdb\n",
         {}, backup},
        {"lock", "show|break DB", "say who has a database open; remove a left-over lock file",
         "Status 1 from show if nobody has it open. A lock ends with its process, so break is never needed: it removes the file\n"
         "that a killed process has left behind, and is refused (status 5) while somebody has the database open.\n\n"
         "    emdb lock show app.emdb\n",
         {{"json", 'j', nullptr, "show it as one line of JSON"}}, lock, false},
    };
}

}  // namespace cli
