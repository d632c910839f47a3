// A checkpoint file that may be anything, beside a good database. As long as its checksums are not forged it changes nothing of what
// is read. Where they are, keys may be missing, but no value is read that its key never had, and nothing worse happens.

#include "fuzz/fuzzing.hpp"

#include <map>
#include <set>

namespace emdb_fuzz {

namespace checkpoint {

/// A database with a checkpoint, as it lies on the disk.
struct Base {
    std::string journal;
    std::string meta;
    Contents contents;
    std::map<std::string, std::set<std::string>> ever;  ///< values that keys have had, in whatever keyspace
    DatabaseSettings settings;
};

// `closed`: the checkpoint was the last thing; else there are writes behind it, and the process was killed.
Base make_base(bool ranges, bool closed) {
    Base base;
    base.settings.range_scans = ranges;
    base.settings.small_checkpoints = true;
    const auto disk = make_disk();
    emdb::Emdb db = expect(open_database(*disk, base.settings), "making the base");
    const auto write = [&](unsigned from, unsigned to, const std::string& value) {
        emdb::Namespace names = expect(db.open_namespace("names"), "open_namespace");
        emdb::Namespace expiring = expect(db.open_namespace("expiring"), "open_namespace");
        for (unsigned i = from; i < to; ++i) {
            const std::string key = "key " + std::to_string(i);
            expect(db.insert(key, value), "insert");
            base.ever[key].insert(value);
            if (i % 3 == 0) expect(names.insert(key, key + value), "insert");
            if (i % 4 == 0) expect(expiring.insert_with_ttl(key, value + key, emdb::Ttl::at(1000 + i)), "insert_with_ttl");
            base.ever[key].insert({key + value, value + key});
        }
    };
    write(0, 10, "first");
    expect(db.remove("key 3"), "remove");
    write(4, 6, "second");
    if (!closed) {
        expect(db.checkpoint(), "checkpoint");
        write(5, 8, "third");
        expect(db.open_namespace("late"), "open_namespace");
        expect(db.remove("key 9"), "remove");
    }
    base.contents = read_contents(db);
    if (closed) {
        expect(db.close(), "close");
    } else {
        disk->kill_process();
        disk->start_process();
    }
    base.journal = disk->bytes_of(database_path);
    base.meta = disk->bytes_of(meta_path);
    check(!base.meta.empty(), "the base has no checkpoint");
    return base;
}

const Base& base(bool ranges, bool closed) {
    static const Base bases[]{make_base(false, false), make_base(false, true), make_base(true, false), make_base(true, true)};
    return bases[(ranges ? 2 : 0) + (closed ? 1 : 0)];
}

std::uint64_t load(const std::string& bytes, std::size_t at, std::size_t size) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size && at + i < bytes.size(); ++i) {
        value |= std::uint64_t{static_cast<std::uint8_t>(bytes[at + i])} << (8 * i);
    }
    return value;
}
void store(std::string& bytes, std::size_t at, std::size_t size, std::uint64_t value) {
    for (std::size_t i = 0; i < size && at + i < bytes.size(); ++i) bytes[at + i] = static_cast<char>(value >> (8 * i) & 0xFF);
}
std::uint32_t sum(const std::string& bytes, std::size_t from, std::size_t to) {
    return emdb::detail::crc32c(bytes.data() + from, to - from);
}

std::string edited(Input& in, std::string meta) {
    for (unsigned edits = 0; !in.empty() && edits < 40; ++edits) {
        Choices choices(in.byte());
        const std::size_t size = std::size_t{1} << choices.number(2);
        // The header, what is behind it, or what is before the end: the directory.
        const std::uint64_t where = choices.number(2);
        std::size_t at = where == 0 ? in.byte() % 128 : 4 * static_cast<std::size_t>(in.number(2) % 1024);
        if (where >= 2) at = meta.size() - std::min(meta.size(), at + 4);
        switch (choices.number(2)) {
            case 0: store(meta, at, size, in.number(size)); break;
            case 1: store(meta, at, size, load(meta, at, size) + in.byte() - 128); break;
            case 2: store(meta, at, size, load(meta, 4 * in.number(2), size)); break;
            default:
                if (choices.flag()) {
                    meta.resize(std::min<std::size_t>(meta.size(), at + 1));
                } else {
                    meta.insert(std::min(meta.size(), at), in.bytes(size));
                }
        }
    }
    return meta;
}

// Puts every checksum right that can be found, the fingerprints of the journal included.
void forge(std::string& meta, const std::string& journal) {
    using namespace emdb::detail;
    if (meta.size() < meta_header_size) return;
    const std::uint64_t directory = load(meta, 64, 8);
    if (directory >= meta_header_size && directory <= meta.size()) {
        std::uint64_t section = meta_header_size;
        const auto sum_section = [&](std::uint64_t size, std::uint64_t crc_at) {
            if (size > directory - section) return false;
            const auto from = static_cast<std::size_t>(section);
            store(meta, static_cast<std::size_t>(crc_at), 4, sum(meta, from, from + static_cast<std::size_t>(size)));
            section += size;
            return true;
        };
        std::vector<std::pair<std::uint64_t, std::uint64_t>> orders;  // counts, and where the checksum stands
        std::uint64_t at = directory + 4;
        for (std::uint64_t left = load(meta, static_cast<std::size_t>(directory), 4); left > 0 && at < meta.size(); --left) {
            const auto keyspace = static_cast<std::size_t>(at);
            orders.emplace_back(load(meta, keyspace + 16, 8), at + 24);
            at += 32 + load(meta, keyspace + 4, 4);
            for (std::uint64_t shards = load(meta, keyspace + 8, 4); shards > 0 && at < meta.size(); --shards, at += 56) {
                const auto shard = static_cast<std::size_t>(at);
                const std::uint64_t expiring = std::min(load(meta, shard + 8, 8), directory);
                if (!sum_section(load(meta, shard + 4, 4) * meta_bucket_size + expiring * meta_expiry_size, at + 48)) break;
            }
        }
        for (const auto& [count, crc_at] : orders) {
            if (!sum_section(std::min(count, directory) * 8, crc_at)) break;
        }
        store(meta, 72, 8, meta.size() - directory);
        store(meta, 60, 4, sum(meta, static_cast<std::size_t>(directory), meta.size()));
    }
    for (const std::size_t place : {0U, 1U}) {
        const std::uint64_t end = load(meta, 32 + 8 * place, 8);
        if (end < journal_start || end > journal.size()) continue;
        store(meta, 48 + 4 * place, 4,
              sum(journal, static_cast<std::size_t>(meta_fingerprint_start(end)), static_cast<std::size_t>(end)));
    }
    store(meta, meta_header_size - 4, 4, sum(meta, 0, meta_header_size - 4));
}

// Whether what says what the sections are is another than the base's, with good checksums.
bool is_forged(const std::string& meta, const Base& base) {
    constexpr std::size_t header_size = emdb::detail::meta_header_size;
    if (meta.size() < header_size || load(meta, header_size - 4, 4) != sum(meta, 0, header_size - 4)) return false;
    const std::uint64_t at = load(meta, 64, 8);
    if (at < header_size || at > meta.size() || load(meta, 60, 4) != sum(meta, static_cast<std::size_t>(at), meta.size())) return false;
    return meta.compare(0, header_size, base.meta, 0, header_size) != 0 ||
           meta.substr(static_cast<std::size_t>(at)) != base.meta.substr(static_cast<std::size_t>(at));
}

template <class Records>
void check_records(const Base& base, Result<Records> records) {
    if (!records) return;
    unsigned count = 0;
    for (const auto& [key, value] : *records) {
        const auto known = base.ever.find(std::string(key));
        check(known != base.ever.end() && known->second.count(std::string(value)) != 0,
              "'" + std::string(key) + "' has a value that it never had: '" + std::string(value) + "'");
        if (++count == 1000) break;  // a forged table may hold a record many times
    }
}

void check_reads(const Base& base, const emdb::Keyspace& keyspace) {
    for (const auto& [key, values] : base.ever) {
        const auto value = keyspace.get(key);
        if (value && *value) check(values.count(**value) != 0, "'" + key + "' has a value that it never had: '" + **value + "'");
        (void)keyspace.expires_at(key);
    }
    check_records(base, keyspace.iter());
    if (!base.settings.range_scans) return;
    check_records(base, keyspace.range_iter(emdb::Range::all()));
    (void)keyspace.range(emdb::Range::from("key 4"));
}

void check_forged(const Base& base, SimulatedDisk& disk) {
    auto opened = open_database(disk, base.settings);
    if (!opened) return check(opened == emdb::ErrorCode::corrupted, "another error than of damage: " + opened.error().message());
    emdb::Emdb db = std::move(*opened);
    check_reads(base, db);
    for (const std::string& name : expect(db.list_namespaces(), "list_namespaces")) {
        if (auto space = db.open_namespace(name)) check_reads(base, *space);
    }
    // Whatever comes of it, it does come to an end.
    (void)db.insert("key 1", "first");
    (void)db.insert("key 3", "first");
    (void)db.remove("key 5");
    (void)db.stats();
    disk.set_now_unix_ms(1005);
    (void)db.sweep_expired();
    if (auto space = db.open_namespace("expiring")) (void)space->sweep_expired();
    check_reads(base, db);
    (void)db.compact();
    check_reads(base, db);
    (void)db.drop_namespace("names");
    (void)db.clear();
    (void)db.close();
    if (auto again = open_database(disk, base.settings)) check_reads(base, *again);
}

}  // namespace checkpoint

void fuzz_checkpoint(Input in) {
    Choices choices(in.byte());
    const bool ranges = choices.flag();
    const bool closed = choices.flag();
    const checkpoint::Base& base = checkpoint::base(ranges, closed);
    const std::uint64_t mode = choices.number(2);
    std::string meta = mode == 0 ? std::string(in.rest()) : checkpoint::edited(in, base.meta);
    if (mode >= 2) checkpoint::forge(meta, base.journal);
    const auto disk = make_disk();
    put_file(*disk, database_path, base.journal);
    put_file(*disk, meta_path, meta);
    const bool usable = expect(verify(*disk, database_path), "verify").meta_usable;
    if (checkpoint::is_forged(meta, base)) return checkpoint::check_forged(base, *disk);
    check(usable == (meta == base.meta), "verify takes a damaged checkpoint for a usable one, or a good one for damaged");
    emdb::Emdb db = expect(open_database(*disk, base.settings), "opening beside a damaged checkpoint");
    check_same(read_contents(db), base.contents, "beside a damaged checkpoint");
    if (!choices.flag()) return;
    Contents contents = base.contents;
    db = use(*disk, std::move(db), base.settings, contents);
    check_expired(*disk, db);
}

}  // namespace emdb_fuzz
