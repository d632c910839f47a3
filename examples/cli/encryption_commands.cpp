// encrypt, decrypt, rotate, passphrase: whether and how a database that nobody has open is encrypted.

#include <string>
#include <vector>

#include "emdb.hpp"

#include "commands.hpp"
#include "database.hpp"
#include "key_material.hpp"

namespace cli {

namespace {

constexpr Option keep_backup_option{"keep-backup", 0, nullptr, "leave the database as it was, as DB.encbak"};

/// The one argument, a database that is there.
const std::string& database(const Arguments& arguments) {
    const std::string& path = arguments.positional({"DB"})[0];
    require_database(path);
    return path;
}

emdb::EncryptionInput current_key(const Arguments& arguments) {
    const auto input = KeyMaterial(arguments).input();
    if (!input) arguments.wrong("missing '--key-file', '--passphrase-file' or '--ask-passphrase'");
    return *input;
}

emdb::Cipher parse_cipher(const Arguments& arguments) {
    const std::string name = arguments.value("cipher").value_or("aes-256-gcm");
    if (name == "aes-256-gcm") return emdb::Cipher::aes_256_gcm;
    if (name == "chacha20-poly1305") return emdb::Cipher::chacha20_poly1305;
    arguments.wrong("there is no cipher '" + name + "': aes-256-gcm and chacha20-poly1305 are known");
}

Status encrypt(const Arguments& arguments) {
    const std::string& path = database(arguments);
    const emdb::Cipher cipher = parse_cipher(arguments);
    const auto key = KeyMaterial(arguments, true).input();
    emdb::Emdb::enable_encryption(path, *key, cipher, arguments.has("keep-backup")).value();
    return Status::done;
}

Status decrypt(const Arguments& arguments) {
    const std::string& path = database(arguments);
    emdb::Emdb::disable_encryption(path, current_key(arguments), arguments.has("keep-backup")).value();
    return Status::done;
}

Status rotate(const Arguments& arguments) {
    const std::string& path = database(arguments);
    const emdb::EncryptionInput current = current_key(arguments);
    const auto next = KeyMaterial(arguments, true).input();
    emdb::Emdb::rotate_encryption_key(path, current, *next, arguments.has("keep-backup")).value();
    return Status::done;
}

Status passphrase(const Arguments& arguments) {
    const std::string& path = database(arguments);
    const emdb::EncryptionInput current = current_key(arguments);
    const auto next = KeyMaterial(arguments, true).input();
    emdb::Emdb::change_passphrase(path, current, *next, arguments.has("keep-backup")).value();
    return Status::done;
}

}  // namespace

std::vector<Command> encryption_commands() {
    return {
        {"encrypt", "DB", "encrypt a database",
         "Rewrites it. Killed half-way, it leaves the database as it was. The file system may keep what was there before: on an SSD,\n"
         "old blocks can be found until the disk erases them.\n\n"
         "    head -c 32 /dev/urandom > app.key && emdb encrypt app.emdb --key-file app.key\n"
         "    emdb encrypt app.emdb --ask-passphrase\n",
         {{"cipher", 0, "CIPHER", "aes-256-gcm (the default) or chacha20-poly1305"}, keep_backup_option}, encrypt},
        {"decrypt", "DB", "turn an encrypted database into a plain one",
         "Rewrites it. Killed half-way, it leaves the database as it was.\n\n    emdb decrypt app.emdb --key-file app.key\n",
         {keep_backup_option}, decrypt},
        {"rotate", "DB", "encrypt everything anew, with another key or passphrase",
         "What a key or passphrase calls for that somebody else has got: copies of the old file stay readable with it, this one\n"
         "does not. Rewrites the database. Killed half-way, it leaves the database as it was.\n\n"
         "    emdb rotate app.emdb --key-file old.key --new-key-file new.key\n",
         with_new_key_options({keep_backup_option}), rotate},
        {"passphrase", "DB", "change the passphrase or key that opens a database",
         "At once, whatever the size: only the header is written. Whoever has the old passphrase and a copy of the old file can read\n"
         "this one, too; if somebody may, use rotate.\n\n"
         "    emdb passphrase app.emdb --ask-passphrase --ask-new-passphrase\n",
         with_new_key_options({keep_backup_option}), passphrase},
    };
}

}  // namespace cli
