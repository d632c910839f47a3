// Indexes a directory tree into an emdb database, kills the loading process half-way, reopens and carries on.
//
//   index_files [DIR] [--database FILE] [--seed N] [--no-kill] [--query WORD...]
//
//   namespace   key       value
//   "files"     path      id, size, content hash, ... (FileEntry)
//   "paths"     id        path
//   "words"     word#n    ids of those files of transaction n that have the word
//   (default)             "transactions": how many there have been
//
// A handful of files makes one transaction, which only ever adds records: appending to one growing list per word would write
// the list of "the" again for every few files. A query asks for word#0, word#1, ... in one call instead, which costs little
// because emdb fetches the memory of many keys ahead. Paths that are in the database are not read again.
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iterator>
#include <random>
#include <unordered_map>

#include "index_files/loading_process.hpp"
#include "index_files/text_files.hpp"

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t files_per_transaction_max = 64;
constexpr std::size_t words_per_transaction_max = 100'000;  // plus one file's: far from the 2^20 operations emdb allows
constexpr std::size_t paths_shown_max = 10;

// Integers are stored little-endian, so that the file means the same on every machine.
template <class Unsigned>
std::string encoded(Unsigned value) {
    std::string out;
    for (std::size_t i = 0; i < sizeof value; ++i) out.push_back(static_cast<char>(value >> (8 * i) & 0xff));
    return out;
}

template <class Unsigned>
Unsigned take(std::string_view& in) {
    Unsigned value = 0;
    const std::size_t size = std::min(sizeof value, in.size());
    for (std::size_t i = 0; i < size; ++i) value |= Unsigned{static_cast<unsigned char>(in[i])} << (8 * i);
    in.remove_prefix(size);
    return value;
}

struct FileEntry {
    std::uint32_t id = 0;
    std::uint64_t size = 0;
    std::uint64_t content_hash = 0;
    std::uint64_t word_count = 0;  // with the sum of the words' hashes, what the check after the crash compares
    std::uint64_t word_sum = 0;

    std::string encode() const {
        return encoded(id) + encoded(size) + encoded(content_hash) + encoded(word_count) + encoded(word_sum);
    }
    static FileEntry decode(std::string_view in) {
        FileEntry entry;
        entry.id = take<std::uint32_t>(in);
        for (auto* field : {&entry.size, &entry.content_hash, &entry.word_count, &entry.word_sum}) {
            *field = take<std::uint64_t>(in);
        }
        return entry;
    }
};

struct Index {
    emdb::Emdb db;
    emdb::Namespace files, paths, words;

    // value() throws emdb::Exception with a whole sentence, which main prints.
    static Index open(const std::string& path) {
        const auto log = [](emdb::LogLevel level, std::string_view text) {  // says what recovery did
            if (level >= emdb::LogLevel::info) std::printf("  emdb: %.*s\n", static_cast<int>(text.size()), text.data());
        };
        auto db = emdb::Emdb::builder().path(path).on_log(log).build().value();
        auto files = db.open_namespace("files").value();
        auto paths = db.open_namespace("paths").value();
        auto words = db.open_namespace("words").value();
        return {db, files, paths, words};
    }
    std::uint32_t transactions() const {
        const std::string value = db.get_or("transactions", "").value();
        std::string_view in = value;
        return take<std::uint32_t>(in);
    }
};

// Files read but not yet written.
struct Pending {
    std::vector<std::pair<std::string, FileEntry>> files;
    std::unordered_map<std::string, std::string> ids_of_word;
};

void commit(Index& index, const Pending& pending) {
    // Whatever fails in the closure throws or returns an error; either way nothing of the transaction is applied.
    index.db.transaction([&](emdb::Transaction& transaction) -> emdb::Result<void> {
        auto files = transaction.in(index.files);
        auto paths = transaction.in(index.paths);
        auto words = transaction.in(index.words);
        for (const auto& [path, entry] : pending.files) {
            files.insert(path, entry.encode()).value();
            paths.insert(encoded(entry.id), path).value();
        }
        const std::uint32_t n = index.transactions();
        const std::string suffix = '#' + std::to_string(n);
        for (const auto& [word, ids] : pending.ids_of_word) words.insert(word + suffix, ids).value();
        return transaction.insert("transactions", encoded(n + 1));
    }).value();
}

// Calls report(Progress) after each transaction.
template <class Report>
void load(const std::string& folder, const std::string& database, Report&& report) {
    const auto start = Clock::now();
    Index index = Index::open(database);
    const auto paths = text_files::list(fs::path(folder).lexically_normal(), database);
    const std::size_t files_max = std::clamp<std::size_t>(paths.size() / 64, 1, files_per_transaction_max);
    auto next_id = static_cast<std::uint32_t>(index.files.len().value());
    Progress progress;
    progress.files_total = paths.size();
    Pending pending;
    const auto commit_and_report = [&] {
        const auto commit_start = Clock::now();
        if (!pending.files.empty()) commit(index, pending);
        progress.seconds_in_emdb += seconds_since(commit_start);
        progress.seconds = seconds_since(start);
        progress.files_committed = next_id;
        if (!pending.files.empty()) progress.records += 2 * pending.files.size() + pending.ids_of_word.size() + 1;
        pending = {};
        report(progress);
    };
    for (const fs::path& path : paths) {
        if (++progress.files_seen % 256 == 0) report(progress);  // also where there is nothing to commit for long
        const std::u8string name = path.lexically_normal().generic_u8string();
        const std::string key(name.begin(), name.end());
        if (index.files.contains_key(key).value()) continue;
        text_files::Text text;
        if (!text_files::read(path, text)) {
            ++progress.files_skipped;
            continue;
        }
        FileEntry entry{next_id++, text.size, text.hash, text.words.size(), 0};
        for (const std::string& word : text.words) {
            entry.word_sum += text_files::hash_more(text_files::hash_start, word);
            pending.ids_of_word[word] += encoded(entry.id);
        }
        pending.files.emplace_back(key, entry);
        const bool full = pending.files.size() >= files_max || pending.ids_of_word.size() >= words_per_transaction_max;
        if (full) commit_and_report();
    }
    commit_and_report();
    index.db.flush().value();  // a killed process loses nothing that was committed; this is for power cuts
}

// Adds up the word records of every file and compares with what the file's own entry says: were transactions applied whole?
// Prints what it finds and gives the longer word that most files have; nullopt: something is missing.
std::optional<std::string> survey(const Index& index, const char* title) {
    struct Sum {
        std::uint64_t words = 0, hashes = 0;
    };
    std::vector<Sum> sums(index.files.len().value());
    std::unordered_map<std::string, std::size_t> files_with;
    std::uint64_t broken = 0;
    auto words = index.words.iter().value();
    for (const auto& [key, value] : words) {
        const std::string word(key.substr(0, key.rfind('#')));
        files_with[word] += value.size() / sizeof(std::uint32_t);
        const std::uint64_t hash = text_files::hash_more(text_files::hash_start, word);
        for (std::string_view ids = value; !ids.empty();) {
            const auto id = take<std::uint32_t>(ids);
            if (id >= sums.size()) ++broken;  // a word of a file that is not there
            if (id < sums.size()) ++sums[id].words, sums[id].hashes += hash;
        }
    }
    words.status().value();  // has the loop seen everything?
    auto files = index.files.iter().value();
    for (const auto& [path, value] : files) {
        const FileEntry entry = FileEntry::decode(value);
        const Sum sum = entry.id < sums.size() ? sums[entry.id] : Sum{};
        const bool found = index.paths.get(encoded(entry.id)).value() == path;
        if (!found || sum.words != entry.word_count || sum.hashes != entry.word_sum) ++broken;
    }
    files.status().value();
    const auto stats = index.db.stats().value();
    std::printf("%s: %s files, %s words, %s records, %s bytes of journal\n", title, grouped(sums.size()).c_str(),
                grouped(files_with.size()).c_str(), grouped(stats.live_records).c_str(),
                grouped(stats.file_size_bytes).c_str());
    std::printf(broken == 0 ? "  every file has all of its words: each transaction is there whole or not at all\n"
                            : "  FAILED: records of some files are missing\n");
    std::string common;
    for (const auto& [word, count] : files_with) {
        if (word.size() < 6) continue;
        const std::size_t best = common.empty() ? 0 : files_with[common];
        if (count > best || (count == best && word < common)) common = word;
    }
    return broken == 0 ? std::optional(common) : std::nullopt;
}

// Ids of the files that have a word, ascending: so they are within each record, and from record to record.
std::vector<std::uint32_t> ids_with(const Index& index, const std::string& word) {
    std::vector<std::string> keys(index.transactions());
    for (std::size_t n = 0; n < keys.size(); ++n) keys[n] = word + '#' + std::to_string(n);
    std::vector<std::uint32_t> ids;
    const auto collect = [&ids](std::size_t, std::optional<std::string_view> record) {
        while (record && !record->empty()) ids.push_back(take<std::uint32_t>(*record));
    };
    static_cast<void>(index.words.visit_many(keys, collect).value());
    return ids;
}

void query(const Index& index, const std::vector<std::string>& asked) {
    std::vector<std::string> words;
    text_files::WordSplitter splitter;
    for (const std::string& text : asked) splitter.feed(text + ' ', [&](const std::string& word) { words.push_back(word); });
    if (words.empty()) return static_cast<void>(std::printf("query: nothing in it counts as a word\n"));

    const auto start = Clock::now();
    std::vector<std::uint32_t> ids = ids_with(index, words[0]);
    for (std::size_t i = 1; i < words.size(); ++i) {
        std::vector<std::uint32_t> both;
        const auto more = ids_with(index, words[i]);
        std::set_intersection(ids.begin(), ids.end(), more.begin(), more.end(), std::back_inserter(both));
        ids = std::move(both);
    }
    std::vector<std::string> keys;
    for (std::size_t i = 0; i < std::min(ids.size(), paths_shown_max); ++i) keys.push_back(encoded(ids[i]));
    const auto paths = index.paths.get_many(keys).value();
    const double ms = seconds_since(start) * 1e3;

    std::printf("query:");
    for (const std::string& word : words) std::printf(" %s", word.c_str());
    std::printf(": %s files in %.2f ms\n", grouped(ids.size()).c_str(), ms);
    for (const auto& path : paths) {
        std::string shown = path.value_or("?");
        for (char& c : shown) c = static_cast<unsigned char>(c) < 0x20 ? '?' : c;  // keeps the terminal sane
        std::printf("  %s\n", shown.c_str());
    }
    if (ids.size() > keys.size()) std::printf("  ... and %s more\n", grouped(ids.size() - keys.size()).c_str());
}

struct Options {
    std::string program, folder, database;
    std::vector<std::string> words;
    std::uint32_t seed = std::random_device{}();
    bool kill = true;
    int progress_pipe = -1;  // set in the loading process
};

int demo(const Options& options) {
    const std::vector<std::string> command{options.program, options.folder, "--database", options.database};
    const auto load_here = [&](auto&& report) { load(options.folder, options.database, report); };
    std::printf("indexing %s into %s (seed %u)\n", options.folder.c_str(), options.database.c_str(), options.seed);
    std::mt19937 dice(options.seed);
    Progress before, progress;
    Loaded loaded = run_loading_process(command, options.kill ? &dice : nullptr, progress, load_here);
    if (loaded == Loaded::killed) {
        std::printf("killed the loading process with SIGKILL; it had reported %s files as committed\n",
                    grouped(progress.files_committed).c_str());
        {
            const auto start = Clock::now();
            const Index index = Index::open(options.database);
            std::printf("reopened in %.1f ms\n", seconds_since(start) * 1e3);
            if (!survey(index, "survived")) return 1;
            if (index.files.len().value() < progress.files_committed) {
                return std::printf("  FAILED: files that had been committed are gone\n"), 1;
            }
        }
        std::printf("carrying on with what is missing\n");
        before = std::exchange(progress, {});
        loaded = run_loading_process(command, nullptr, progress, load_here);
    } else if (loaded == Loaded::all && options.kill) {
        std::printf("the loading process was done before it could be killed\n");
    }
    if (loaded != Loaded::all) return std::fprintf(stderr, "index_files: the loading process ended early\n"), 1;

    const Index index = Index::open(options.database);
    const auto common = survey(index, "loaded");
    if (!common) return 1;
    const std::uint64_t records = before.records + progress.records;
    const auto rate = [records](double seconds) {
        return grouped(static_cast<std::uint64_t>(static_cast<double>(records) / std::max(seconds, 1e-9)));
    };
    if (records > 0) {
        std::printf("  %s records/s with reading and splitting the files, %s records/s in emdb alone\n",
                    rate(before.seconds + progress.seconds).c_str(),
                    rate(before.seconds_in_emdb + progress.seconds_in_emdb).c_str());
    }
    std::printf("  %s files were left out (binary or unreadable)\n", grouped(progress.files_skipped).c_str());
    if (!options.words.empty()) query(index, options.words);
    if (options.words.empty() && !common->empty()) query(index, {*common});
    return 0;
}

struct TemporaryFolder {
    const fs::path path = fs::temp_directory_path() / ("emdb-demo-" + std::to_string(std::random_device{}()));
    TemporaryFolder() { fs::create_directory(path); }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;  // nobody is left to be told
        fs::remove_all(path, ignored);
    }
};

int usage(const std::string& problem) {
    std::fprintf(stderr,
                 "index_files: %s\n"
                 "usage: index_files [DIR] [--database FILE] [--seed N] [--no-kill] [--query WORD...]\n"
                 "  DIR              the folder to index (default: the current one)\n"
                 "  --database FILE  keep the index there (default: a temporary file)\n"
                 "  --seed N         choose the moment of the kill as an earlier run did\n"
                 "  --no-kill        just load\n"
                 "  --query WORD...  list the files that have all these words (default: a common one)\n"
                 "exit status: 0 done, 1 failed, 2 wrong arguments\n",
                 problem.c_str());
    return 2;
}

int run(Options options, int argc, char** argv) {
    options.program = argv[0];
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        const bool more = i + 1 < argc;
        if (argument == "--database" && more) {
            options.database = argv[++i];
        } else if (argument == "--seed" && more) {
            options.seed = static_cast<std::uint32_t>(std::strtoul(argv[++i], nullptr, 10));
        } else if (argument == "--no-kill") {
            options.kill = false;
        } else if (argument == "--query" && more) {
            while (i + 1 < argc && !std::string_view(argv[i + 1]).starts_with("--")) options.words.emplace_back(argv[++i]);
        } else if (argument == "--progress-pipe" && more) {
            options.progress_pipe = std::atoi(argv[++i]);
        } else if (argument.starts_with("--") || !options.folder.empty()) {
            return usage("cannot make sense of '" + std::string(argument) + "'");
        } else {
            options.folder = argument;
        }
    }
    if (options.folder.empty()) options.folder = ".";
    std::error_code error;
    if (fs::directory_iterator(options.folder, error); error) {
        return usage("cannot read the folder '" + options.folder + "': " + error.message());
    }
#ifndef _WIN32
    if (options.progress_pipe >= 0) {  // this is the loading process
        load(options.folder, options.database, [&](const Progress& now) { send_progress(options.progress_pipe, now); });
        return 0;
    }
#endif
    if (!options.database.empty()) return demo(options);
    const TemporaryFolder temporary;
    options.database = (temporary.path / "index.emdb").string();
    return demo(options);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run({}, argc, argv);
    } catch (const std::exception& error) {
        std::fflush(stdout);
        std::fprintf(stderr, "index_files: %s\n", error.what());
        return 1;
    }
}
