#include "key_material.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "byte_syntax.hpp"
#include "failure.hpp"
#include "passphrase_prompt.hpp"

namespace cli {

namespace {

constexpr std::size_t secret_size_max = 4096;  // more is the wrong file

constexpr Option key_options[] = {
    {"key-file", 0, "FILE", "the key of an encrypted database: 32 bytes, or 64 hexadecimal digits"},
    {"passphrase-file", 0, "FILE", "its passphrase, without the newline at the end"},
    {"ask-passphrase", 0, nullptr, "ask for its passphrase on the terminal"},
};
constexpr Option new_key_options[] = {
    {"new-key-file", 0, "FILE", "the key from now on: 32 random bytes, or 64 hexadecimal digits"},
    {"new-passphrase-file", 0, "FILE", "the passphrase from now on, without the newline at the end"},
    {"ask-new-passphrase", 0, nullptr, "ask for it on the terminal, twice"},
};

// Stores that the compiler can't leave out.
void wipe(void* data, std::size_t size) {
    volatile char* const bytes = static_cast<volatile char*>(data);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = 0;
}
void wipe(std::string& text) {
    wipe(text.data(), text.size());
    text.clear();
}

// The string never grows, so it leaves no copies behind.
std::string read_secret(const std::string& path) {
    std::FILE* const file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) fail(Status::failed, "cannot open '" + path + "': " + std::strerror(errno));
    std::setvbuf(file, nullptr, _IONBF, 0);
    std::string bytes(secret_size_max + 1, '\0');
    const std::size_t size = std::fread(bytes.data(), 1, bytes.size(), file);
    const bool failed = std::ferror(file) != 0;
    const int why = errno;
    std::fclose(file);
    if (failed || size > secret_size_max) {
        wipe(bytes);
        fail(Status::failed, failed ? "cannot read '" + path + "': " + std::strerror(why)
                                    : "'" + path + "' is longer than a key or passphrase can be (" + std::to_string(secret_size_max) +
                                          " bytes)");
    }
    bytes.resize(size);
    return bytes;
}

void drop_newline(std::string& text) {
    if (!text.empty() && text.back() == '\n') text.pop_back();
    if (!text.empty() && text.back() == '\r') text.pop_back();
}

}  // namespace

KeyMaterial::KeyMaterial(const Arguments& arguments, bool is_new) {
    // A new key has options of its own where there is an old one besides.
    const bool of_two = is_new && arguments.knows("new-key-file");
    const std::string key_file = of_two ? "new-key-file" : "key-file";
    const std::string passphrase_file = of_two ? "new-passphrase-file" : "passphrase-file";
    const std::string ask = of_two ? "ask-new-passphrase" : "ask-passphrase";
    const auto given = arguments.has(key_file) + arguments.has(passphrase_file) + arguments.has(ask);
    if (given > 1) arguments.wrong("'--" + key_file + "', '--" + passphrase_file + "' and '--" + ask + "' exclude each other");
    if (is_new && given == 0) arguments.wrong("missing '--" + key_file + "', '--" + passphrase_file + "' or '--" + ask + "'");
    if (const auto path = arguments.value(key_file)) take_key(*path);
    if (const auto path = arguments.value(passphrase_file)) {
        passphrase_ = read_secret(*path);
        drop_newline(*passphrase_);
        if (passphrase_->empty()) fail(Status::failed, "there is no passphrase in '" + *path + "'");
    }
    if (arguments.has(ask)) {
        passphrase_ = ask_passphrase(is_new ? "New passphrase: " : "Passphrase: ");
        if (passphrase_->empty()) fail(Status::failed, "the empty passphrase protects nothing");
        if (is_new) {
            std::string again = ask_passphrase("Once more: ");
            const bool same = again == *passphrase_;
            wipe(again);
            if (!same) fail(Status::failed, "the passphrases differ; nothing was done");
        }
    }
}

KeyMaterial::~KeyMaterial() {
    wipe(key_.data(), key_.size());
    if (passphrase_) wipe(*passphrase_);
}

void KeyMaterial::take_key(const std::string& path) {
    std::string bytes = read_secret(path);
    if (bytes.size() != key_.size()) {
        drop_newline(bytes);
        auto decoded = bytes.size() == 2 * key_.size() ? from_hex(bytes) : std::nullopt;
        wipe(bytes);
        if (!decoded) {
            fail(Status::failed, "'" + path + "' is no key: it has neither 32 bytes nor 64 hexadecimal digits. To make one: "
                                 "head -c 32 /dev/urandom > FILE");
        }
        bytes = std::move(*decoded);
    }
    std::memcpy(key_.data(), bytes.data(), key_.size());
    wipe(bytes);
    has_key_ = true;
}

std::optional<emdb::EncryptionInput> KeyMaterial::input() const {
    if (has_key_) return emdb::EncryptionInput::key(key_);
    return passphrase_ ? std::optional(emdb::EncryptionInput::passphrase(*passphrase_)) : std::nullopt;
}

void KeyMaterial::apply_to(emdb::EmdbBuilder& builder) const {
    if (has_key_) builder.encryption_key(key_);
    if (passphrase_) builder.encryption_passphrase(*passphrase_);
}

std::vector<Option> with_key_options(std::vector<Option> options) {
    for (const Option& option : key_options) options.push_back(option);
    return options;
}

std::vector<Option> with_new_key_options(std::vector<Option> options) {
    for (const Option& option : new_key_options) options.push_back(option);
    return options;
}

}  // namespace cli
