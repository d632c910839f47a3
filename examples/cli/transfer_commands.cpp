// import, export: whole databases as text.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "emdb.hpp"

#include "byte_syntax.hpp"
#include "commands.hpp"
#include "database.hpp"
#include "dump_format.hpp"
#include "json_lines.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "text_input.hpp"

namespace cli {

namespace {

[[noreturn]] void wrong_format(const Arguments& arguments, const std::string& format) {
    arguments.wrong("there is no format '" + format + "': dump and json are known");
}

/// Collects records of one keyspace and loads them a batch at a time.
class Loader {
public:
    Loader(emdb::Emdb& db, std::optional<std::string> into) : db_(db), into_(std::move(into)) {}

    /// Where the next records go, and that it is there. Nullopt: the default keyspace, or what `--namespace` says.
    void select(const std::optional<std::string>& name) {
        const std::optional<std::string>& target = into_ ? into_ : name;
        if (target == selected_ && (named_ || !target)) return;
        load();
        selected_ = target;
        named_ = target ? std::optional(db_.open_namespace(*target).value()) : std::nullopt;
    }

    void add(std::string key, std::string value) {
        pending_bytes_ += key.size() + value.size();
        pending_.push_back({std::move(key), std::move(value)});
        ++records_;
        if (pending_bytes_ >= batch_bytes || pending_.size() >= batch_records) load();
    }

#if EMDB_TTL
    void add_expiring(const std::string& key, const std::string& value, std::uint64_t expires_at) {
        load();
        keyspace().insert_with_ttl(key, value, emdb::Ttl::at(expires_at)).value();
        ++records_;
    }
#endif

    std::uint64_t finish() {
        load();
        db_.flush().value();
        return records_;
    }

private:
    static constexpr std::size_t batch_bytes = 1 << 20;
    static constexpr std::size_t batch_records = 1 << 14;

    emdb::Keyspace& keyspace() { return named_ ? *named_ : static_cast<emdb::Keyspace&>(db_); }
    void load() {
        if (pending_.empty()) return;
        keyspace().insert_many(pending_).value();
        pending_.clear();
        pending_bytes_ = 0;
    }

    emdb::Emdb& db_;
    const std::optional<std::string> into_;
    std::optional<std::string> selected_;
    std::optional<emdb::Namespace> named_;
    std::vector<emdb::Record> pending_;
    std::size_t pending_bytes_ = 0;
    std::uint64_t records_ = 0;
};

void import_dump(TextInput& input, Loader& loader, Progress& progress) {
    DumpReader reader(input);
    std::string key;
    std::string value;
    while (reader.next_section()) {
        loader.select(reader.database().empty() ? std::nullopt : std::optional(reader.database()));
        while (reader.next_record(key, value)) {
            loader.add(key, value);
            progress.update(input.bytes_read(), input.total_bytes());
        }
    }
}

void import_json(TextInput& input, Loader& loader, Progress& progress) {
    JsonRecord record;
    while (read_json_line(input, record)) {
        loader.select(record.name_space);
        if (!record.key) continue;
        if (record.expires_at) {
#if EMDB_TTL
            loader.add_expiring(*record.key, *record.value, *record.expires_at);
#else
            input.malformed("the record expires, and this program was built with EMDB_TTL=0");
#endif
        } else {
            loader.add(std::move(*record.key), std::move(*record.value));
        }
        progress.update(input.bytes_read(), input.total_bytes());
    }
}

Status import_records(const Arguments& arguments) {
    const auto& words = arguments.positional({"DB"}, true);
    if (words.size() > 2) arguments.wrong("'" + words[2] + "' is one argument too many");
    const auto format = arguments.value("format");
    if (format && *format != "dump" && *format != "json") wrong_format(arguments, *format);
    std::optional<std::string> into;
    if (const auto name = arguments.value("namespace")) into = parse_bytes(*name);
    TextInput input(words.size() > 1 ? words[1] : "-");
    int first = input.peek();
    while (!format && (first == ' ' || first == '\t' || first == '\r' || first == '\n')) {
        input.get();
        first = input.peek();
    }
    const bool json = format ? *format == "json" : first == '{';
    if (!format && first != '{' && first != 'V' && first != TextInput::end) {
        input.malformed("this is neither a dump, which starts with 'VERSION=3', nor JSON lines, which start with '{'");
    }
    emdb::Emdb db = open_database(arguments, words[0], {.create = true});
    Loader loader(db, std::move(into));
    Progress progress("import", arguments.has("no-progress"));
    try {
        if (json) {
            import_json(input, loader, progress);
        } else {
            import_dump(input, loader, progress);
        }
    } catch (Failure& failure) {
        failure.message += " (imported before that: " + counted(loader.finish(), "record") + ")";
        throw;
    }
    loader.finish();
    db.close().value();
    return Status::done;
}

/// How large an LMDB environment for all this may have to be: values get pages of their own when they are large.
std::uint64_t lmdb_map_size(const emdb::EmdbStats& stats) {
    const std::uint64_t bytes = 4 * stats.logical_size_bytes + 256 * stats.live_records + (stats.namespace_count + 256) * 16384;
    return (bytes / 4096 + 1) * 4096;
}

class Exporter {
public:
    Exporter(const Arguments& arguments, emdb::Emdb& db)
        : json_(arguments.value("format").value_or("dump") == "json"),
          unordered_(arguments.has("unordered")),
          progress_("export", arguments.has("no-progress")),
          stats_(db.stats().value()),
          dump_(arguments.has("print"), arguments.has("no-mapsize") ? 0 : lmdb_map_size(stats_)) {}

    /// `name`: of the namespace, if it is one.
    void keyspace(const emdb::Keyspace& keyspace, const std::optional<std::string>& name) {
        if (!json_) dump_.begin_section(name.value_or(""));
        const std::uint64_t count = unordered_ ? records(keyspace, name, keyspace.iter().value())
                                               : records(keyspace, name, keyspace.range_iter(emdb::Range::all()).value());
        if (!json_) dump_.end_section();
        if (json_ && name && count == 0) {  // it may have records that have expired
            JsonRecord empty;
            empty.name_space = name;
            write(json_line(empty) + '\n');
        }
    }

    /// What a dump can't say.
    std::uint64_t expiries_lost() const { return expiries_lost_; }

private:
    /// How many there are.
    template <class Records>
    std::uint64_t records(const emdb::Keyspace& keyspace, const std::optional<std::string>& name, Records records) {
        std::uint64_t count = 0;
        for (const auto& [key, value] : records) {
            std::optional<std::uint64_t> expires_at;
#if EMDB_TTL
            expires_at = keyspace.expires_at(key).value();
#endif
            if (json_) {
                write(json_line({name, std::string(key), std::string(value), expires_at}) + '\n');
            } else {
                dump_.record(key, value);
                expiries_lost_ += expires_at ? 1 : 0;
            }
            ++count;
            bytes_ += key.size() + value.size();
            progress_.update(bytes_, stats_.logical_size_bytes);
        }
        records.status().value();
        return count;
    }

    const bool json_;
    const bool unordered_;
    Progress progress_;
    const emdb::EmdbStats stats_;
    DumpWriter dump_;
    std::uint64_t bytes_ = 0;
    std::uint64_t expiries_lost_ = 0;
};

Status export_records(const Arguments& arguments) {
    const auto& words = arguments.positional({"DB"});
    const std::string format = arguments.value("format").value_or("dump");
    if (format != "dump" && format != "json") wrong_format(arguments, format);
    emdb::Emdb db = open_database(arguments, words[0], {.ordered = !arguments.has("unordered")});
    std::uint64_t expiries_lost = 0;
    {
        Exporter exporter(arguments, db);
        if (const auto name = arguments.value("namespace")) {
            exporter.keyspace(*Keyspace(db, name, false), parse_bytes(*name));
        } else {
            // The default keyspace comes first: mdb_load goes on with the last name where a section has none.
            exporter.keyspace(db, std::nullopt);
            for (const std::string& each : db.list_namespaces().value()) exporter.keyspace(db.open_namespace(each).value(), each);
        }
        expiries_lost = exporter.expiries_lost();
    }
    flush_output();
    if (expiries_lost != 0) {
        std::fprintf(stderr, "emdb: the dump can't say when %s will expire; --format json can\n", counted(expiries_lost, "record").c_str());
    }
    return Status::done;
}

constexpr Option no_progress_option{"no-progress", 0, nullptr, "draw no progress on the terminal"};

}  // namespace

std::vector<Command> transfer_commands() {
    return {
        {"import", "DB [FILE]", "load records from a dump of LMDB or Berkeley DB, or from JSON lines",
         "Without FILE, or if it is -, from the standard input. The format is found out from the first byte. Sections with a\n"
         "database=NAME go to the namespace NAME. The database is made if it is not there; keys that it has are replaced. What comes\n"
         "before a malformed line (status 3) is imported.\n\n"
         "    mdb_dump -a old.mdb | emdb import new.emdb\n    emdb import new.emdb records.jsonl\n",
         {{"namespace", 'n', "NAME", "load everything into this namespace"},
          {"format", 'f', "FORMAT", "dump or json; without it, whichever it is"},
          no_progress_option},
         import_records},
        {"export", "DB", "print all records as a dump for LMDB or Berkeley DB, or as JSON lines",
         "A dump has a section for the default keyspace and one for each namespace. It can't say when records expire; JSON lines\n"
         "can, and import reads them back. LMDB takes keys of 1 to 511 bytes.\n\n"
         "    emdb export app.emdb | mdb_load new.mdb\n    emdb export app.emdb --no-mapsize | db_load new.db\n"
         "    emdb export app.emdb --format json | gzip > app.jsonl.gz\n",
         {{"namespace", 'n', "NAME", "this namespace only"},
          {"format", 'f', "FORMAT", "dump (the default) or json"},
          {"print", 'p', nullptr, "a dump in which printable characters stay readable"},
          {"no-mapsize", 0, nullptr, "leave out the line of the header that db_load does not know"},
          {"unordered", 'u', nullptr, "in any order, without building an index first"},
          no_progress_option},
         export_records},
    };
}

}  // namespace cli
