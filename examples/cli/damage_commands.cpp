// verify, salvage: files that nobody has open.

#include <cstdint>
#include <string>
#include <vector>

#include "emdb.hpp"

#include "commands.hpp"
#include "database.hpp"
#include "json_lines.hpp"
#include "key_material.hpp"
#include "output.hpp"
#include "progress.hpp"

namespace cli {

namespace {

constexpr Option no_progress_option{"no-progress", 0, nullptr, "draw no progress on the terminal"};
constexpr Option json_option{"json", 'j', nullptr, "as one line of JSON"};

std::string json_report(const emdb::VerifyReport& report) {
    std::string damages;
    for (const emdb::Error& damage : report.damages) {
        damages += damages.empty() ? "" : ",";
        damages += "{\"offset\":" + std::to_string(damage.offset()) + ",\"code\":" + json_string(emdb::to_string(damage.code())) + ',' +
                   json_member("message", damage.message()) + '}';
    }
    return std::string("{\"ok\":") + (report.ok() ? "true" : "false") + ",\"frames\":" + std::to_string(report.frames) +
           ",\"live_records\":" + std::to_string(report.live_records) + ",\"bytes_checked\":" + std::to_string(report.bytes_checked) +
           ",\"torn_tail\":" + (report.torn_tail ? "true" : "false") + ",\"meta_usable\":" + (report.meta_usable ? "true" : "false") +
           ",\"damage_count\":" + std::to_string(report.damage_count) + ",\"damages\":[" + damages + "]}\n";
}

Status verify(const Arguments& arguments) {
    const auto& words = arguments.positional({"DB"});
    Progress progress("verify", arguments.has("no-progress"));
    emdb::VerifyOptions options;
    options.encryption = KeyMaterial(arguments).input();
    options.progress = [&](std::uint64_t done, std::uint64_t total) { progress.update(done, total); };
    const emdb::VerifyReport report = emdb::Emdb::verify(words[0], options).value();
    if (arguments.has("json")) {
        write(json_report(report));
    } else {
        for (const emdb::Error& damage : report.damages) write(damage.message() + '\n');
        if (report.damage_count > report.damages.size()) {
            write("and " + std::to_string(report.damage_count - report.damages.size()) + " more\n");
        }
        if (report.torn_tail) write("The file ends with a write that was cut off; the next open removes it.\n");
        write((report.ok() ? "No damage" : counted(report.damage_count, "damage")) + ": " + counted(report.frames, "frame") + " with " +
              counted(report.live_records, "live record") + " intact, " + human_bytes(report.bytes_checked) + ".\n");
    }
    return report.ok() ? Status::done : Status::damaged;
}

Status salvage(const Arguments& arguments) {
    const auto& words = arguments.positional({"DAMAGED", "NEW"});
    Progress progress("salvage", arguments.has("no-progress"));
    emdb::SalvageOptions options;
    options.encryption = KeyMaterial(arguments).input();
    options.unfinished_batch = arguments.has("unfinished-batch");
    options.progress = [&](std::uint64_t done, std::uint64_t total) { progress.update(done, total); };
    const emdb::SalvageReport report = emdb::Emdb::salvage(words[0], words[1], options).value();
    if (arguments.has("json")) {
        write("{\"records_written\":" + std::to_string(report.records_written) +
              ",\"frames_skipped\":" + std::to_string(report.frames_skipped) +
              ",\"bytes_skipped\":" + std::to_string(report.bytes_skipped) + "}\n");
    } else {
        write(counted(report.records_written, "record") + " written to '" + words[1] + "'; skipped " +
              counted(report.frames_skipped, "damaged or unusable place") + ", " + human_bytes(report.bytes_skipped) + ".\n");
    }
    return Status::done;
}

}  // namespace

std::vector<Command> damage_commands() {
    return {
        {"verify", "DB", "look at every byte for damage, changing nothing",
         "Status 4 if there is damage. A torn tail (what was being written when the machine stopped) is none.\n\n"
         "    emdb verify app.emdb && cp app.emdb /backup/\n",
         {json_option, no_progress_option}, verify},
        {"salvage", "DAMAGED NEW", "write what is intact of a damaged database into a new one",
         "NEW must not exist. What damage has destroyed can't be told: a removed record whose removal is lost comes back, and so\n"
         "does an older value whose newer one is lost.\n"
         "What is encrypted is salvaged into a database that is encrypted with the same key or passphrase.\n\n"
         "    emdb salvage app.emdb rescued.emdb\n",
         {json_option,
          no_progress_option,
          {"unfinished-batch", 0, nullptr, "also take records of a last transaction that may not have been committed"}},
         salvage},
    };
}

}  // namespace cli
