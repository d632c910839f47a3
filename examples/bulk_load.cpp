// Three ways to store many records, and how to read many back. When to use which:
//   a loop of insert   each record counts by itself, and a crash keeps all before it
//   insert_many        the fastest; from any range, bounded memory; a crash keeps a prefix
//   transaction        all or nothing, up to 2^20 operations, staged in memory
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <chrono>
#include <cstdio>
#include <filesystem>

namespace {

constexpr int record_count = 100'000;

std::string key_of(int i) { return "key-" + std::to_string(i); }
std::string value_of(int i) { return "value number " + std::to_string(i); }

// Makes records one at a time, as they are asked for. Anything that a range-based for loop takes will do: a container of
// pairs, a view, a reader of a file.
struct GeneratedRecords {
    struct iterator {
        int i;
        std::pair<std::string, std::string> operator*() const { return {key_of(i), value_of(i)}; }
        iterator& operator++() { return ++i, *this; }
        bool operator==(const iterator&) const = default;
    };
    iterator begin() const { return {0}; }
    iterator end() const { return {record_count}; }
};

template <class Load>
bool load(const std::filesystem::path& file, const char* name, Load&& fill) {
    auto db = emdb::Emdb::open(file).value();
    const auto start = std::chrono::steady_clock::now();
    fill(db);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    db.flush().value();
    std::printf("%-12s %8.0f records/s\n", name, record_count / seconds.count());

    // Many keys at once cost a fraction of as many single gets.
    const std::vector<std::string> keys{key_of(0), key_of(record_count - 1), "nobody"};
    const auto values = db.get_many(keys).value();
    // The same without copying the values.
    std::size_t bytes = 0;
    const auto add = [&bytes](std::size_t, std::optional<std::string_view> value) { bytes += value ? value->size() : 0; };
    const std::size_t found = db.visit_many(keys, add).value();
    return db.len().value() == record_count && values[0] == value_of(0) && values[1] == value_of(record_count - 1) &&
           !values[2] && found == 2 && bytes == values[0]->size() + values[1]->size();
}

bool works(const std::filesystem::path& folder) {
    const bool loop = load(folder / "loop.emdb", "loop", [](emdb::Emdb& db) {
        for (int i = 0; i < record_count; ++i) db.insert(key_of(i), value_of(i)).value();
    });
    const bool many =
        load(folder / "many.emdb", "insert_many", [](emdb::Emdb& db) { db.insert_many(GeneratedRecords()).value(); });
    const bool transaction = load(folder / "transaction.emdb", "transaction", [](emdb::Emdb& db) {
        db.transaction([](emdb::Transaction& tx) -> emdb::Result<void> {
              for (int i = 0; i < record_count; ++i) {
                  if (auto staged = tx.insert(key_of(i), value_of(i)); !staged) return staged;
              }
              return {};
          }).value();
    });
    return loop && many && transaction;
}

}  // namespace

int main() {
    const auto folder = std::filesystem::temp_directory_path() / "emdb-example-bulk-load";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    const bool ok = works(folder);
    std::filesystem::remove_all(folder);
    std::puts(ok ? "ok" : "FAILED");
    return ok ? 0 : 1;
}
