#pragma once
// The program around a store: reads the options, runs one workload, prints JSON. Included once, by the store's file.

#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "../support/temporary_folder.hpp"
#include "engine.hpp"
#include "group.hpp"
#include "limited.hpp"
#include "mixed.hpp"
#include "sizes.hpp"
#include "table.hpp"
#include "ycsb.hpp"

namespace peers {

struct Options {
    std::string workload = "table", variant, folder = ".";
    std::size_t records = 1'000'000;
    std::size_t memory_limit = 0;
};

inline void run(const Options& options) {
    const bench::TemporaryFolder folder(options.folder);
    const auto engine = make_engine(options.variant);
    Record record;
    record.text("version", engine->version());
    record.text("about", engine->about());
    record.text("workload", options.workload);
    record.text("records", std::to_string(options.records));
    record.text("machine", bench::describe_machine(bench::file_system_of(options.folder)));
    Settings settings;
    settings.folder = folder.path() / "data";
    settings.records = options.records;
    settings.memory_limit = options.memory_limit;
    const bench::OtherLoad others;
    settings.record_bytes = key_bytes + table_value_bytes;
    if (options.workload == "table") {
        Table(*engine, options.variant, settings, record).run();
    } else if (options.workload == "group") {
        Group(*engine, settings, record).run();
    } else if (options.workload == "ycsb") {
        Ycsb(*engine, settings, record).run();
    } else if (options.workload == "mixed") {
        Mixed(*engine, settings, record).run();
    } else if (options.workload == "sizes") {
        Sizes(*engine, settings, record).run();
    } else if (options.workload == "limited") {
        settings.record_bytes = key_bytes + 1000;
        Limited(*engine, settings, record).run();
    } else {
        throw std::invalid_argument("no workload is called " + options.workload);
    }
    char share[32];
    std::snprintf(share, sizeof share, "%.3f", others.share());
    record.text("load_of_others", share);
    record.print();
}

inline int main_of_peer(int count, char** arguments) {
    const std::vector<std::string> words(arguments + 1, arguments + count);
    try {
        if (!words.empty() && words[0] == "--child") return Children::run({words.begin() + 1, words.end()});
        Options options;
        for (std::size_t i = 0; i < words.size(); i += 2) {
            if (i + 1 == words.size()) throw std::invalid_argument(words[i] + " needs a value");
            const std::string& value = words[i + 1];
            if (words[i] == "--workload")
                options.workload = value;
            else if (words[i] == "--variant")
                options.variant = value;
            else if (words[i] == "--dir")
                options.folder = value;
            else if (words[i] == "--records")
                options.records = std::stoull(value);
            else if (words[i] == "--memory-limit")
                options.memory_limit = std::stoull(value);
            else
                throw std::invalid_argument("unknown option " + words[i]);
        }
        run(options);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", arguments[0], error.what());
        return 1;
    }
}

}  // namespace peers

int main(int count, char** arguments) { return peers::main_of_peer(count, arguments); }
