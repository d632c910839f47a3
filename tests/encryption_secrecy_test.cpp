// No plaintext of an encrypted database is found where it should not be: in none of its files, and after its end in no memory of the
// process, freed memory included.
//
// What is looked for is put together at run time, and kept by the test masked: wherever it is found, the library has left it.

#define EMDB_ENCRYPT 1
#define EMDB_NESTED 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Sanitizers have maps of terabytes, and keep what was freed.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define EMDB_TEST_SEARCHES_MEMORY 0
#endif
#endif
#if !defined(EMDB_TEST_SEARCHES_MEMORY)
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define EMDB_TEST_SEARCHES_MEMORY 1
#else
#define EMDB_TEST_SEARCHES_MEMORY 0
#endif
#endif
#if EMDB_TEST_SEARCHES_MEMORY
#include <fcntl.h>
#include <unistd.h>
#endif

#include "support/model_session.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::Cipher;
using emdb::Emdb;
using emdb::EncryptionInput;
using emdb::Range;
using emdb::Result;
using emdb::Transaction;

/// Text that the test itself forgets: memory for it is wiped before it is given back.
class Secret {
public:
    /// Of a kind of its own for each letter: what is found says where it came from.
    explicit Secret(char kind, std::size_t size = 8, unsigned number = 0) : text_(new char[size]), size_(size) {
        for (std::size_t i = 0; i < size; ++i) text_[i] = marker(kind, i);
        for (std::size_t i = size, rest = number; i-- > 8 && rest != 0; rest /= 10) text_[i] = static_cast<char>('0' + rest % 10);
    }
    Secret(const Secret&) = delete;
    Secret& operator=(const Secret&) = delete;
    ~Secret() { emdb::detail::wipe(text_.get(), size_); }
    std::string_view text() const noexcept { return {text_.get(), size_}; }
    operator emdb::Bytes() const noexcept { return text(); }

    /// The i-th character of a kind's text; the first eight are what is searched for.
    static char marker(char kind, std::size_t i) noexcept {
        const auto word = static_cast<unsigned>(kind) * 2654435761U;
        return static_cast<char>(0x80 | ((word >> (i % 8 * 3)) & 0x3F) | (i % 2 == 0 ? 0x40 : 0));
    }

private:
    std::unique_ptr<char[]> text_;
    std::size_t size_;
};

constexpr std::string_view kinds = "kvnlutbrgcpe";

/// Which kinds of text are in some bytes; masked, so that this never holds one of them.
class Search {
public:
    Search() {
        for (const char kind : kinds) {
            std::array<unsigned char, 8>& word = masked_.emplace_back();
            for (std::size_t i = 0; i < 8; ++i) word[i] = static_cast<unsigned char>(Secret::marker(kind, i)) ^ mask;
        }
    }
    void look_at(const unsigned char* bytes, std::size_t size, std::array<std::uint64_t, kinds.size()>& found) const {
        for (std::size_t i = 0; i + 8 <= size; ++i) {
            if ((bytes[i] & bytes[i + 7] & 0x80) == 0) continue;
            for (std::size_t k = 0; k < kinds.size(); ++k) {
                std::size_t same = 0;
                while (same < 8 && (bytes[i + same] ^ mask) == masked_[k][same]) ++same;
                if (same == 8) ++found[k];
                // Numbers of eight characters, the first one the highest, lie the other way round.
                for (same = 0; same < 8 && (bytes[i + 7 - same] ^ mask) == masked_[k][same];) ++same;
                if (same == 8) ++found[k];
            }
        }
    }
    std::string in_file(const std::string& path) const {
        std::FILE* const file = std::fopen(path.c_str(), "rb");
        REQUIRE(file != nullptr);
        std::setvbuf(file, nullptr, _IONBF, 0);  // or the buffer would keep what was read
        const auto size = static_cast<std::size_t>(std::filesystem::file_size(path));
        auto bytes = std::make_unique<unsigned char[]>(size);
        CHECK(std::fread(bytes.get(), 1, size, file) == size);
        std::fclose(file);
        std::array<std::uint64_t, kinds.size()> found{};
        look_at(bytes.get(), size, found);
        emdb::detail::wipe(bytes.get(), size);
        return in_words(found);
    }
    static std::string in_words(const std::array<std::uint64_t, kinds.size()>& found) {
        std::string words;
        for (std::size_t k = 0; k < kinds.size(); ++k) {
            if (found[k] != 0) words += std::string(1, kinds[k]) + " " + std::to_string(found[k]) + " times; ";
        }
        return words;
    }

#if EMDB_TEST_SEARCHES_MEMORY
    /// All that the process has written to, but its stacks (what is below the top of one is nobody's, and overwritten by the next call).
    std::string in_memory() const {
        std::array<std::uint64_t, kinds.size()> found{};
        const int memory = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
        REQUIRE(memory >= 0);
        const std::size_t piece = std::size_t{1} << 20;
        auto buffer = std::make_unique<unsigned char[]>(piece + 8);
        std::ifstream maps("/proc/self/maps");
        for (std::string line; std::getline(maps, line);) {
            unsigned long long from = 0;
            unsigned long long to = 0;
            char access[8] = {};
            if (std::sscanf(line.c_str(), "%llx-%llx %7s", &from, &to, access) != 3 || access[0] != 'r' || access[1] != 'w') continue;
            if (line.find("[stack") != std::string::npos || line.find("/dev/") != std::string::npos) continue;
            for (auto at = from; at < to; at += piece) {
                const auto wanted = static_cast<std::size_t>(std::min<unsigned long long>(to - at, piece + 7));
                const auto got = ::pread(memory, buffer.get(), wanted, static_cast<off_t>(at));
                if (got > 0) look_at_foreign(buffer.get(), static_cast<std::size_t>(got), at, found);
                emdb::detail::wipe(buffer.get(), wanted);
            }
        }
        ::close(memory);
        return in_words(found);
    }
#endif

private:
    void look_at_foreign(unsigned char* bytes, std::size_t size, unsigned long long at,
                         std::array<std::uint64_t, kinds.size()>& found) const {
        // Not the buffer itself, which has what was read a moment ago.
        const auto own = reinterpret_cast<std::uintptr_t>(bytes);
        if (own + size > at && own < at + size) return look_around(bytes, size, at, own, found);
        look_at(bytes, size, found);
    }
    void look_around(const unsigned char* bytes, std::size_t size, unsigned long long at, std::uintptr_t own,
                     std::array<std::uint64_t, kinds.size()>& found) const {
        if (own > at) look_at(bytes, static_cast<std::size_t>(own - at), found);
        const std::uintptr_t end = own + (std::size_t{1} << 20) + 8;
        if (end < at + size) look_at(bytes + (end - at), static_cast<std::size_t>(at + size - end), found);
    }

    static constexpr unsigned char mask = 0x5A;
    std::vector<std::array<unsigned char, 8>> masked_;
};

/// Everything that a database can be asked to do with plaintext. What a call hands out is wiped here, like any caller's own.
void use(const std::string& path, Cipher cipher, bool ranges, [[maybe_unused]] const Search& search) {
    const auto wipe = [](std::string& text) { emdb::detail::wipe(text.data(), text.size()); };
    const auto wipe_records = [&](std::vector<emdb::Record>& records) {
        for (emdb::Record& record : records) {
            wipe(record.key);
            wipe(record.value);
        }
    };
    emdb::detail::passphrase_cost = {8 * 1024, 1, 1};
    Emdb db = [&] {
        const Secret passphrase('p', 24);
        emdb::EmdbBuilder builder;
        builder.path(path).encryption_passphrase(passphrase.text()).cipher(cipher).enable_range_scans(ranges);
        return builder.build().value();
    }();
#if EMDB_TEST_SEARCHES_MEMORY
    CHECK(search.in_memory() == "");  // what opened the file is not kept while it is open
#endif
    const Secret name('n', 20);
    const Secret short_name('n', 9);
    emdb::Namespace space = db.open_namespace(name.text()).value();
    (void)db.open_namespace(short_name.text()).value();
    for (unsigned i = 0; i < 1'000; ++i) {
        const Secret key('k', 14 + i % 20, i);
        const Secret value('v', i % 100 == 0 ? 3'000 : 8 + i % 200, i);
        emdb::Keyspace& keyspace = i % 3 == 0 ? static_cast<emdb::Keyspace&>(space) : db;
        keyspace.insert(key, value).value();
        if (i % 7 == 0) keyspace.insert_with_ttl(key, value, emdb::Ttl::at(UINT64_MAX)).value();
        if (i % 11 == 0) {
            auto prior = keyspace.remove(key).value();
            wipe(*prior);
        }
        if (i % 13 == 0) {
            auto found = keyspace.get(key).value();
            if (found) wipe(*found);
            (void)keyspace.get_zerocopy(key).value();
        }
    }
    const Secret large('l', 2'000'000);
    db.insert("large", large).value();
    (void)db.get_zerocopy("large").value();
    db.update("updated", [](std::optional<std::string_view>) -> std::optional<std::string> {
        const Secret text('u', 300);
        return std::string(text.text());
    }).value();
    db.update("updated", [](std::optional<std::string_view> now) -> std::optional<std::string> { return std::string(*now); }).value();
    db.compare_exchange("updated", std::nullopt, emdb::Bytes(large)).value();
    for (const bool aborts : {false, true}) {
        const Secret key('t', 9);
        const Secret long_key('t', 40);
        (void)db.transaction([&](Transaction& transaction) -> Result<void> {
            transaction.insert(key, long_key).value();
            transaction.insert(long_key, key).value();
            transaction.in(space).insert(long_key, key).value();
            auto own = transaction.get(long_key).value();
            wipe(*own);
            if (aborts) return emdb::Error::aborted("on purpose");
            return {};
        });
    }
    {
        std::vector<std::pair<std::unique_ptr<Secret>, std::unique_ptr<Secret>>> owners;
        std::vector<std::pair<emdb::Bytes, emdb::Bytes>> pairs;
        for (unsigned i = 0; i < 3'000; ++i) {
            owners.emplace_back(std::make_unique<Secret>('b', 12 + i % 9, i), std::make_unique<Secret>('b', 700, i));
            pairs.emplace_back(*owners.back().first, *owners.back().second);
        }
        db.insert_many(pairs).value();
    }
    for (const std::size_t size : {9, 30}) {
        const Secret prefix('g', size);
        emdb::Focus focus = db.focus(prefix.text());
        for (unsigned i = 0; i < 20; ++i) {
            const Secret key('g', 9 + i, i);
            focus.set(key.text(), key).value();
            auto found = focus.get(key.text()).value();
            wipe(*found);
        }
        auto records = focus.iter().value();
        for (const auto& record : records) (void)record;
        auto group = db.group(prefix.text()).value();
        CHECK(group.size() == 20);
        wipe_records(group);
        CHECK(db.delete_group(prefix.text()).value() == 20);
    }
    for (int pass = 0; pass < 2; ++pass) {
        std::size_t count = 0;
        auto records = db.iter().value();
        for (const auto& record : records) count += record.key.size();
        if (ranges) {
            auto range = db.range_iter(Range::all()).value();
            for (const auto& record : range) count -= record.key.size();
            CHECK(count == 0);
            const Secret from('k', 16, 5);
            const Secret to('k', 30, 900);
            auto some = db.range(Range::closed(from, to)).value();
            wipe_records(some);
            auto part = db.range_iter(Range::from(from)).value();
            for (int i = 0; i < 3 && part.begin() != part.end(); ++i) (void)*part.begin();
        }
        if (pass == 0) db.compact().value();
        db.checkpoint().value();
    }
    db.backup_to(path + ".backup").value();
    for (std::string& listed : db.list_namespaces().value()) wipe(listed);
    const Secret dropped('c', 20);
    (void)db.open_namespace(dropped.text()).value();
    db.drop_namespace(dropped.text()).value();
    space.clear().value();
    db.close().value();
}

TEST_CASE("no plaintext is in the files of an encrypted database, nor in memory after its end") {
    const Search search;
    {
        // The search finds what there is: also in memory that was given back.
        TempFolder folder;
        Secret* const key = new Secret('e', 100);
        std::FILE* const file = std::fopen(folder.file("x").c_str(), "wb");
        REQUIRE(file != nullptr);
        std::setvbuf(file, nullptr, _IONBF, 0);
        std::fwrite(key->text().data(), 1, 100, file);
        std::fclose(file);
        CHECK(search.in_file(folder.file("x")) != "");
#if EMDB_TEST_SEARCHES_MEMORY
        CHECK(search.in_memory().find('e') != std::string::npos);
#endif
        delete key;
    }
#if EMDB_TEST_SEARCHES_MEMORY
    REQUIRE(search.in_memory() == "");
#endif
    for (const Cipher cipher : {Cipher::aes_256_gcm, Cipher::chacha20_poly1305}) {
        for (const bool ranges : {false, true}) {
            CAPTURE(ranges);
            TempFolder folder;
            const std::string path = folder.file("a");
            use(path, cipher, ranges, search);
#if EMDB_TEST_SEARCHES_MEMORY
            CHECK(search.in_memory() == "");
#endif
            {
                // Opened again from its checkpoint, killed half-way: only files are left, the lock file among them.
                const Secret passphrase('p', 24);
                emdb::EmdbBuilder builder;
                bool was_used = false;
                builder.path(path).encryption_passphrase(passphrase.text()).enable_range_scans(ranges);
                builder.on_log([&](emdb::LogLevel, std::string_view line) {
                    was_used = was_used || line.find("was opened from its checkpoint") != std::string_view::npos;
                });
                emdb::detail::BuilderAccess::use_checkpoints_from(builder, 0);
                Emdb db = builder.build().value();
                CHECK(was_used);
                const Secret key('k', 20);
                db.insert(key, key).value();
                for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
                    CHECK(search.in_file(entry.path().string()) == "");
                }
            }
#if EMDB_TEST_SEARCHES_MEMORY
            CHECK(search.in_memory() == "");
#endif
            const Secret passphrase('p', 24);
            const auto next = EncryptionInput::key(encryption_key());
            Emdb::rotate_encryption_key(path, EncryptionInput::passphrase(passphrase.text()), next).value();
            CHECK(search.in_file(path) == "");
        }
    }
    emdb::detail::passphrase_cost = {};
#if EMDB_TEST_SEARCHES_MEMORY
    CHECK(search.in_memory() == "");
#endif
}

}  // namespace
}  // namespace emdb_test
