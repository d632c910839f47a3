#pragma once
// What encryption adds to opening and writing: the data key is unwrapped once the header has been read, and the first write after an
// opening begins a session. Sealing itself is the journal's.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/config.hpp"
#include "engine/engine.hpp"
#include "engine/opening.hpp"
#include "journal/key_block.hpp"
#include "journal/sealer.hpp"

namespace emdb::detail {

#if EMDB_ENCRYPT

Result<void> EngineOpening::check_encryption(const OpenOptions& options) {
    if (options.encryption_key && options.encryption_passphrase) {
        return Error(ErrorCode::invalid_config, "Both a key and a passphrase were given. Give the one that the database is encrypted "
                     "with.");
    }
    if (options.encryption_passphrase && EncryptionSecret::bytes(*options.encryption_passphrase).empty()) {
        return Error(ErrorCode::invalid_config, "The empty passphrase protects nothing. Give another one.");
    }
    if (options.cipher && !options.encryption_key && !options.encryption_passphrase) {
        return Error(ErrorCode::invalid_config, "A cipher was chosen, but neither a key nor a passphrase was given. Give "
                     "one, or leave the choice out.");
    }
    return {};
}

const EncryptionInput* EngineOpening::encryption_input() const noexcept {
    if (options.encryption_key) return &*options.encryption_key;
    return options.encryption_passphrase ? &*options.encryption_passphrase : nullptr;
}

// A new file's own key, if it is to have one.
Result<void> EngineOpening::make_key(OpenedFile& fresh) const {
    const EncryptionInput* const input = encryption_input();
    if (input == nullptr) return {};
    auto key = DataKey::create();
    if (key == nullptr) return Error(ErrorCode::io, "Out of memory for the key of '" + path + "'. Free some.");
    if (auto filled = environment.fill_random(key->bytes()); !filled) return filled;
    auto block = KeyBlock::wrap(options.cipher.value_or(Cipher::aes_256_gcm), *input, *key, environment);
    if (!block) return std::move(block).error();
    fresh.header.incompatible_features |= feature_encrypted;
    fresh.header.key_block = *block;
    fresh.data_key = std::move(key);
    return {};
}

// An existing file's key.
Result<void> EngineOpening::unlock(OpenedFile& opened) const {
    const EncryptionInput* const input = encryption_input();
    if (!opened.header.is_encrypted()) {
        if (input == nullptr) return {};
        return Error(ErrorCode::not_encrypted, "'" + path + "' is not encrypted, but a key or passphrase was given. Open it without, or "
                     "encrypt it with Emdb::enable_encryption.");
    }
    if (input == nullptr) {
        return Error(ErrorCode::key_required, "'" + path + "' is encrypted. Give its key or passphrase (EmdbBuilder::encryption_key, "
                     "encryption_passphrase, or the options of verify and salvage).");
    }
    const auto cipher = KeyBlock::cipher(opened.header.key_block, path);
    if (!cipher) return cipher.error();
    if (options.cipher && *options.cipher != *cipher) {
        return Error(ErrorCode::invalid_config, "'" + path + "' is encrypted with the other cipher than the one that was chosen. Leave the "
                     "choice out: the file knows.");
    }
    auto key = KeyBlock::unwrap(opened.header, *input, path);
    if (!key) return std::move(key).error();
    opened.data_key = std::move(*key);
    return {};
}

void vouch_for_header(OpenedFile& fresh) noexcept {
    if (fresh.data_key != nullptr) KeyBlock::vouch_for(fresh.header, *fresh.data_key);
}

std::unique_ptr<Sealer> make_sealer(const OpenedFile& opened) {
    if (opened.data_key == nullptr) return nullptr;
    const auto cipher = KeyBlock::cipher(opened.header.key_block, "");
    return std::make_unique<Sealer>(*cipher, opened.data_key, opened.header.file_id);
}

OpenOptions without_secrets(OpenOptions options) {
    options.encryption_key.reset();
    options.encryption_passphrase.reset();
    return options;
}

// By the holder of all stripes.
Result<void> Engine::begin_session() {
    Sealer& sealer = *generation().sealer();
    SessionRandom random;
    if (auto filled = environment_.fill_random(random); !filled) return filled;
    if (!sealer.make_room_for_session()) {
        return Error(ErrorCode::too_large, "'" + path_ + "' has had a million sessions, one for each opening. Compact it.");
    }
    return generation().flusher().begin_session(sealer, random);
}

// For a new checkpoint; null if the database is not encrypted. By the holder of maintenance_.
Result<std::unique_ptr<const MetaSeal>> Engine::make_meta_seal() const {
    const Sealer* const sealer = generation().sealer();
    if (sealer == nullptr) return std::unique_ptr<const MetaSeal>();
    std::array<std::byte, MetaSeal::salt_size> salt;
    if (auto filled = environment_.fill_random(salt); !filled) return std::move(filled).error();
    std::unique_ptr<const MetaSeal> seal = MetaSeal::create(*sealer, MetaSeal::make_head(salt));
    if (seal == nullptr) return Error(ErrorCode::io, "Out of memory for the key of the checkpoint of '" + path_ + "'. Free some.");
    return seal;
}

#else

OpenOptions without_secrets(OpenOptions options) { return options; }
Result<void> EngineOpening::check_encryption(const OpenOptions&) { return {}; }
Result<void> EngineOpening::make_key(OpenedFile&) const { return {}; }
Result<void> EngineOpening::unlock(OpenedFile&) const { return {}; }
void vouch_for_header(OpenedFile&) noexcept {}
std::unique_ptr<Sealer> make_sealer(const OpenedFile&) { return nullptr; }

#endif

}  // namespace emdb::detail
