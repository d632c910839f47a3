// Encryption at rest: keys and passphrases, changing them, encrypting what was plain. When to use it: where the file may get into
// other hands than the program, such as lost laptops, backups and disks that are given away.
#define EMDB_ENCRYPT 1  // off by default; the same in every file of a program, or on the command line: -DEMDB_ENCRYPT=1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <array>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

namespace {

using Key = std::array<std::byte, 32>;

// 32 random bytes. A real program keeps them apart from the file: in the system's keyring, or on another machine.
Key make_key() {
    std::random_device random;  // the system's own random numbers with the usual compilers
    Key key;
    for (std::byte& byte : key) byte = static_cast<std::byte>(random());
    return key;
}

bool file_contains(const std::string& path, const std::string& text) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {}).find(text) != std::string::npos;
}

bool works(const std::string& path) {
    // A new database, opened with a key, is encrypted from its first byte on. Everything else is as ever.
    const Key key = make_key();
    {
        auto db = emdb::Emdb::builder().path(path).encryption_key(key).build().value();
        db.insert("account", "CH93 0076 2011 6238 5295 7").value();
        if (db.get("account").value() != "CH93 0076 2011 6238 5295 7" || !db.stats().value().encrypted) return false;
    }
    if (file_contains(path, "account") || file_contains(path, "CH93")) return false;

    // Without the key, or with another one, nothing is read.
    if (emdb::Emdb::open(path) != emdb::ErrorCode::key_required) return false;
    const auto refused = emdb::Emdb::builder().path(path).encryption_key(make_key()).build();
    std::printf("another key: %s\n", refused.error().message().c_str());
    if (refused != emdb::ErrorCode::encryption_key_mismatch) return false;

    // From the key to a passphrase: writes the header only, however large the file. Each opening costs whoever tries a passphrase
    // 64 MiB and about a tenth of a second.
    const auto with_key = emdb::EncryptionInput::key(key);
    const auto with_passphrase = emdb::EncryptionInput::passphrase("correct horse battery staple");
    emdb::Emdb::change_passphrase(path, with_key, with_passphrase).value();

    // Somebody may have got hold of the passphrase: encrypts everything anew, so that it is of no use for this file any more.
    const auto with_new_passphrase = emdb::EncryptionInput::passphrase("a passphrase that nobody has seen");
    emdb::Emdb::rotate_encryption_key(path, with_passphrase, with_new_passphrase).value();

    // Looking for damage, and for frames that somebody has tampered with, takes the key, too.
    emdb::VerifyOptions options;
    options.encryption = with_new_passphrase;
    const emdb::VerifyReport report = emdb::Emdb::verify(path, options).value();
    std::printf("%llu frames, each checked against its seal\n", static_cast<unsigned long long>(report.frames));
    if (!report.ok() || report.live_records != 1) return false;

    // Back to plain, and to encrypted again. Where the file was plain before, the disk may still hold what was deleted.
    emdb::Emdb::disable_encryption(path, with_new_passphrase).value();
    if (emdb::Emdb::open(path).value().get("account").value() != "CH93 0076 2011 6238 5295 7") return false;
    emdb::Emdb::enable_encryption(path, with_key, emdb::Cipher::chacha20_poly1305).value();
    return emdb::Emdb::open(path) == emdb::ErrorCode::key_required;
}

}  // namespace

int main() {
    const auto folder = std::filesystem::temp_directory_path() / ("emdb-encryption-" + std::to_string(std::random_device{}()));
    std::filesystem::create_directory(folder);
    const bool ok = works((folder / "app.emdb").string());
    std::filesystem::remove_all(folder);
    std::puts(ok ? "ok" : "FAILED");
    return ok ? 0 : 1;
}
