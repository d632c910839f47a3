// What encryption adds to reading and to opening a database: the bars of encryption at rest.
//
//   make build/bench/encrypted_reads
//   build/bench/encrypted_reads [--records N] [--rounds N]
//
// Records of 24 + 150 bytes, read in random order, each at most once a pass. `get` of an encrypted database has what `get` of a plain one
// has, but the checksum, and opens one sealed record; so it is held against both. One open is a seal of the record's size that
// is opened in a loop, from the first-level cache. Every contestant reads the same keys once a round, in turn, odd rounds in reverse; the
// first round is not counted. Medians, processor time of the thread.
//
// Then the opening of these databases with a warm cache: from the checkpoint of a clean close, and without it.

#define EMDB_IMPLEMENTATION
#define EMDB_ENCRYPT 1
#include "emdb.hpp"

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/temporary_folder.hpp"
#include "support/timing.hpp"
#include "support/workload.hpp"

namespace {

using emdb::Cipher;
using emdb::Emdb;

struct Kind {
    std::string name;
    std::optional<Cipher> cipher;
};
const Kind kinds[] = {{"plain", std::nullopt}, {"AES-256-GCM", Cipher::aes_256_gcm}, {"ChaCha20-Poly1305", Cipher::chacha20_poly1305}};

void check(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "%s\n", what);
    std::exit(1);
}

Emdb open(const std::filesystem::path& path, const Kind& kind, bool range_scans = false) {
    std::array<std::byte, 32> key{};
    key[0] = std::byte{1};
    emdb::EmdbBuilder builder;
    builder.path(path).enable_range_scans(range_scans);
    if (kind.cipher) builder.encryption_key(key).cipher(*kind.cipher);
    return builder.build().value();
}

/// One sealed record, ready to be opened again and again.
class SealedRecord {
public:
    explicit SealedRecord(Cipher cipher) : aead_(cipher, std::array<std::byte, 32>{}) {
        aead_.seal(nonce_, associated_, plain_, sealed_.data());
    }
    bool open() { return aead_.open(nonce_, associated_, sealed_, plain_.data()); }

private:
    const emdb::detail::Aead aead_;
    const std::array<std::byte, 12> nonce_{};
    const std::array<std::byte, 20> associated_{};  // as much as a record without a namespace has
    std::array<std::byte, bench::key_size + bench::value_size> plain_{};
    std::array<std::byte, sizeof(plain_) + emdb::detail::Aead::tag_size> sealed_{};
};

void measure_reads(const std::filesystem::path& folder, const bench::Workload& work, std::size_t rounds_count) {
    const std::vector<emdb::Bytes>& keys = work.present();
    std::vector<Emdb> databases;
    for (const Kind& kind : kinds) databases.push_back(open(folder / kind.name, kind));
    bench::Rounds rounds;
    std::string value;
    for (std::size_t i = 0; i < std::size(kinds); ++i) {
        const Emdb& database = databases[i];
        rounds.add(kinds[i].name, [&] {
            return bench::time_reads(keys.size(), [&](std::size_t k) { check(database.get_into(keys[k], value).value(), "a record is missing"); });
        });
    }
    std::vector<std::unique_ptr<SealedRecord>> sealed;
    for (const Kind& kind : kinds) {
        if (!kind.cipher) continue;
        sealed.push_back(std::make_unique<SealedRecord>(*kind.cipher));
        rounds.add("open " + kind.name, [&record = *sealed.back()] {
            return bench::time_reads(100'000, [&](std::size_t) { check(record.open(), "it does not open"); });
        });
    }
    rounds.run(rounds_count);
    const double plain = bench::median(rounds["plain"]);
    std::printf("get_into, %zu records, random order: plain %.1f ns\n", work.records(), plain);
    for (const Kind& kind : kinds) {
        if (!kind.cipher) continue;
        const double get = bench::median(rounds[kind.name]);
        const double one_open = bench::median(rounds["open " + kind.name]);
        std::printf("  %-20s get %7.1f ns; plain + %.2f x one open of %.1f ns (at most 1.30 wanted)\n", kind.name.c_str(), get,
                    (get - plain) / one_open, one_open);
    }
}

void measure_opening(const std::filesystem::path& folder, const bench::Workload& work, std::size_t rounds_count) {
    for (const bool range_scans : {false, true}) {
        for (const Kind& kind : kinds) {
            const std::filesystem::path path = folder / kind.name;
            const std::filesystem::path meta = path.string() + ".meta";
            open(path, kind, range_scans).close().value();
            const auto time_open = [&](bool with) {
                if (!with) std::filesystem::remove(meta);
                const auto start = bench::Clock::now();
                const Emdb database = open(path, kind, range_scans);
                check(database.get(work.present()[0]).value().has_value(), "a record is missing");
                return bench::nanoseconds(bench::Clock::now() - start) / 1e6;  // the close writes the checkpoint again
            };
            bench::Rounds rounds;
            rounds.add("with", [&] { return time_open(true); });
            rounds.add("without", [&] { return time_open(false); });
            rounds.run(rounds_count);
            std::printf("opening%s and a first get, %-18s %8.2f ms from the checkpoint (%.1f MB), %8.2f ms without\n",
                        range_scans ? " with range scans" : "", (kind.name + ":").c_str(), bench::median(rounds["with"]),
                        bench::as_double(std::filesystem::file_size(meta)) / 1e6, bench::median(rounds["without"]));
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    std::size_t records = 1'000'000;
    std::size_t rounds = 9;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string_view option = argv[i];
        check(option == "--records" || option == "--rounds", "usage: encrypted_reads [--records N] [--rounds N]");
        (option == "--records" ? records : rounds) = std::strtoul(argv[i + 1], nullptr, 10);
    }
    check(argc % 2 == 1 && records != 0 && rounds != 0, "usage: encrypted_reads [--records N] [--rounds N]");
    const bench::TemporaryFolder folder(std::filesystem::temp_directory_path());
    const bench::Workload work(records);
    for (const Kind& kind : kinds) {
        Emdb database = open(folder.path() / kind.name, kind);
        database.insert_many(work.pairs()).value();
        database.close().value();
    }
    measure_reads(folder.path(), work, rounds);
    measure_opening(folder.path(), work, rounds);
}
