// get, put, del, scan, namespaces: records one by one.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "emdb.hpp"

#include "byte_syntax.hpp"
#include "commands.hpp"
#include "database.hpp"
#include "json_lines.hpp"
#include "output.hpp"

namespace cli {

namespace {

constexpr Option format_option{"format", 'f', "FORMAT", "raw (the default), hex or json"};

std::string formatted(RecordFormat format, std::string_view key, std::string_view value) {
    switch (format) {
        case RecordFormat::hex: return to_hex(key) + '\t' + to_hex(value) + '\n';
        case RecordFormat::json: return '{' + json_member("key", key) + ',' + json_member("value", value) + "}\n";
        case RecordFormat::raw: break;
    }
    return std::string(key) + '\t' + std::string(value) + '\n';
}

Status get(const Arguments& arguments) {
    const auto& words = arguments.positional({"DB", "KEY"});
    const std::string key = parse_bytes(words[1]);
    const RecordFormat format = parse_record_format(arguments.value("format").value_or("raw"));
    emdb::Emdb db = open_database(arguments, words[0], {});
    Keyspace keyspace(db, arguments.value("namespace"), false);
    const auto value = keyspace->get_zerocopy(key).value();
    if (!value) {
        if (arguments.has("quiet")) return Status::absent;
        fail(Status::absent, "there is no key '" + words[1] + "' in '" + words[0] + "'");
    }
    if (format == RecordFormat::json) {
        write(formatted(format, key, value->as_string_view()));
    } else if (format == RecordFormat::hex) {
        write(to_hex(value->as_string_view()) + '\n');
    } else {
        write(value->as_string_view());
        if (output_is_terminal()) write("\n");
    }
    return Status::done;
}

#if EMDB_TTL
/// 90, 90s, 30m, 12h, 7d
std::uint64_t parse_duration_ms(const Arguments& arguments, std::string text) {
    std::uint64_t unit_s = 1;
    switch (text.empty() ? '\0' : text.back()) {
        case 's': unit_s = 1; break;
        case 'm': unit_s = 60; break;
        case 'h': unit_s = 60 * 60; break;
        case 'd': unit_s = 24 * 60 * 60; break;
        default: text += 's';
    }
    text.pop_back();
    std::uint64_t count = 0;
    for (const char c : text) {
        if (c < '0' || c > '9' || count > 1'000'000'000) arguments.wrong("'--ttl' is not a time like 90s, 30m, 12h or 7d");
        count = 10 * count + static_cast<std::uint64_t>(c - '0');
    }
    if (text.empty()) arguments.wrong("'--ttl' is not a time like 90s, 30m, 12h or 7d");
    return count * unit_s * 1000;
}
#endif

Status put(const Arguments& arguments) {
    const auto& words = arguments.positional({"DB", "KEY"}, true);
    if (words.size() > 3) arguments.wrong("'" + words[3] + "' is one argument too many");
    const std::string key = parse_bytes(words[1]);
    const std::string value = words.size() < 3 || words[2] == "-" ? read_standard_input() : parse_bytes(words[2]);
#if EMDB_TTL
    emdb::Ttl ttl = emdb::Ttl::never();
    if (const auto given = arguments.value("ttl")) {
        ttl = emdb::Ttl::after(std::chrono::milliseconds(parse_duration_ms(arguments, *given)));
    }
#endif
    emdb::Emdb db = open_database(arguments, words[0], {.create = true});
    Keyspace keyspace(db, arguments.value("namespace"), true);
#if EMDB_TTL
    keyspace->insert_with_ttl(key, value, ttl).value();
#else
    keyspace->insert(key, value).value();
#endif
    db.flush().value();
    db.close().value();
    return Status::done;
}

Status del(const Arguments& arguments) {
    const auto& words = arguments.positional({"DB", "KEY"}, true);
    emdb::Emdb db = open_database(arguments, words[0], {});
    Keyspace keyspace(db, arguments.value("namespace"), false);
    std::vector<std::string> keys;
    for (std::size_t i = 1; i < words.size(); ++i) keys.push_back(parse_bytes(words[i]));
    bool all_there = true;
    for (const std::string& key : keys) all_there = keyspace->remove(key).value().has_value() && all_there;
    db.flush().value();
    db.close().value();
    return all_there ? Status::done : Status::absent;
}

emdb::Range parse_range(const Arguments& arguments) {
    const auto bound = [&](const char* option) -> std::optional<std::string> {
        const auto given = arguments.value(option);
        return given ? std::optional(parse_bytes(*given)) : std::nullopt;
    };
    const auto prefix = bound("prefix");
    const auto from = bound("from");
    const auto after = bound("after");
    const auto until = bound("until");
    const auto up_to = bound("up-to");
    if (from && after) arguments.wrong("'--from' and '--after' exclude each other");
    if (until && up_to) arguments.wrong("'--until' and '--up-to' exclude each other");
    if (prefix) {
        if (from || after || until || up_to) arguments.wrong("'--prefix' excludes the bounds of a range");
        return emdb::Range::prefix(*prefix);
    }
    if (from && until) return emdb::Range::half_open(*from, *until);
    if (from && up_to) return emdb::Range::closed(*from, *up_to);
    if (after && until) return emdb::Range::open(*after, *until);
    if (after && up_to) return emdb::Range::open_closed(*after, *up_to);
    if (from) return emdb::Range::from(*from);
    if (after) return emdb::Range::after(*after);
    if (until) return emdb::Range::until(*until);
    if (up_to) return emdb::Range::up_to(*up_to);
    return emdb::Range::all();
}

bool has_range(const Arguments& arguments) {
    for (const char* option : {"prefix", "from", "after", "until", "up-to"}) {
        if (arguments.has(option)) return true;
    }
    return false;
}

Status scan(const Arguments& arguments) {
    const auto& words = arguments.positional({"DB"});
    const RecordFormat format = parse_record_format(arguments.value("format").value_or("raw"));
    const std::uint64_t limit = arguments.number("limit").value_or(UINT64_MAX);
    const bool unordered = arguments.has("unordered");
    const bool keys_only = arguments.has("keys");
    if (unordered && has_range(arguments)) arguments.wrong("'--unordered' scans everything");
    const emdb::Range range = parse_range(arguments);
    emdb::Emdb db = open_database(arguments, words[0], {.ordered = !unordered});
    Keyspace keyspace(db, arguments.value("namespace"), false);
    const auto print = [&](auto&& records) {
        std::uint64_t left = limit;
        for (const auto& [key, value] : records) {
            if (left-- == 0) return;
            if (!keys_only) {
                write(formatted(format, key, value));
            } else if (format == RecordFormat::json) {
                write('{' + json_member("key", key) + "}\n");
            } else {
                write((format == RecordFormat::hex ? to_hex(key) : std::string(key)) + '\n');
            }
        }
        records.status().value();
    };
    if (unordered) {
        print(keyspace->iter().value());
    } else {
        print(keyspace->range_iter(range).value());
    }
    return Status::done;
}

Status namespaces(const Arguments& arguments) {
    const auto& words = arguments.positional({"DB"});
    const RecordFormat format = parse_record_format(arguments.value("format").value_or("raw"));
    emdb::Emdb db = open_database(arguments, words[0], {});
    for (const std::string& name : db.list_namespaces().value()) {
        const std::string records = std::to_string(db.open_namespace(name).value().len().value());
        switch (format) {
            case RecordFormat::raw: write(name + '\t' + records + '\n'); break;
            case RecordFormat::hex: write(to_hex(name) + '\t' + records + '\n'); break;
            case RecordFormat::json: write('{' + json_member("namespace", name) + ",\"records\":" + records + "}\n"); break;
        }
    }
    return Status::done;
}

}  // namespace

std::vector<Command> record_commands() {
    return {
        {"get", "DB KEY", "print a value",
         "Prints the value as it is: with no newline added, unless to a terminal. Status 1 if there is no such key.\n\n"
         "    emdb get app.emdb name\n    emdb get app.emdb base64:/wA= > value.bin\n",
         {namespace_option, format_option, {"quiet", 'q', nullptr, "say nothing if there is no such key"}}, get},
        {"put", "DB KEY [VALUE]", "store a value, and make it durable",
         "Without VALUE, or if it is -, the value is what comes from the standard input, byte for byte. The database and the\n"
         "namespace are made if they are not there.\n\n"
         "    emdb put app.emdb name emdb\n    emdb put app.emdb picture < picture.jpg\n",
         {namespace_option,
#if EMDB_TTL
          {"ttl", 0, "TIME", "how long it lives: 90s, 30m, 12h, 7d; without it, for good"},
#endif
         },
         put},
        {"del", "DB KEY...", "remove keys",
         "Status 1 if one of them was not there; the others are removed all the same.\n\n    emdb del app.emdb name picture\n",
         {namespace_option}, del},
        {"scan", "DB", "print records, in the order of their keys",
         "A record is a line: key, tab, value. In raw format bytes are printed as they are, so use hex or json where values\n"
         "may have tabs or newlines. The order needs an index, which takes a moment on a large database: --unordered does without.\n\n"
         "    emdb scan app.emdb --prefix user/ --limit 10\n    emdb scan app.emdb --from 2024-03 --until 2024-04 --format json\n",
         {namespace_option,
          format_option,
          {"prefix", 'p', "KEY", "keys that begin with it"},
          {"from", 0, "KEY", "this key and greater ones"},
          {"after", 0, "KEY", "greater keys"},
          {"until", 0, "KEY", "lesser keys"},
          {"up-to", 0, "KEY", "this key and lesser ones"},
          {"limit", 'l', "N", "no more than so many records"},
          {"keys", 'k', nullptr, "keys only"},
          {"unordered", 'u', nullptr, "in any order, at once"}},
         scan},
        {"namespaces", "DB", "list the namespaces with their numbers of records",
         "A line for each: name, tab, number. The default keyspace is not among them.\n\n    emdb namespaces app.emdb\n",
         {format_option}, namespaces},
    };
}

}  // namespace cli
