#pragma once
// Offline changes of a database's encryption. All but a new passphrase are compactions into a file with another key, or none, and so
// are whole or not at all; the old file is gone with its name. A new passphrase wraps the same data key anew: one slot of the header is
// written and synced, then the other, so that at any moment one of them is whole.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/config.hpp"
#include "engine/compaction.hpp"
#include "engine/encryption.hpp"
#include "engine/engine.hpp"
#include "engine/opening.hpp"
#include "journal/header.hpp"
#include "journal/key_block.hpp"
#include "journal/meta_file.hpp"

#if EMDB_ENCRYPT

namespace emdb::detail {

class EncryptionChange {
public:
    EncryptionChange(Environment& environment, std::string path, bool keep_backup)
        : environment_(environment), path_(std::move(path)), keep_backup_(keep_backup) {}

    Result<void> enable(const EncryptionInput& next, Cipher cipher) {
        auto header = peek();
        if (!header) return std::move(header).error();
        if (header->is_encrypted()) {
            return Error(ErrorCode::invalid_argument, "'" + path_ + "' is encrypted already. For another key there is "
                         "rotate_encryption_key.");
        }
        return rewrite(nullptr, &next, cipher);
    }

    Result<void> disable(const EncryptionInput& current) {
        if (auto header = peek(); !header) return std::move(header).error();
        return rewrite(&current, nullptr, Cipher::aes_256_gcm);
    }

    Result<void> rotate(const EncryptionInput& current, const EncryptionInput& next) {
        auto header = peek();
        if (!header) return std::move(header).error();
        const auto cipher = header->is_encrypted() ? KeyBlock::cipher(header->key_block, path_) : Result<Cipher>(Cipher::aes_256_gcm);
        if (!cipher) return cipher.error();
        return rewrite(&current, &next, *cipher);
    }

    Result<void> change_passphrase(const EncryptionInput& current, const EncryptionInput& next) {
        if (keep_backup_) {
            auto engine = open(&current);
            if (!engine) return std::move(engine).error();
            if (auto kept = keep_old(**engine); !kept) return kept;
            if (auto closed = (*engine)->close(); !closed) return closed;
        }
        auto file = open_file();
        if (!file) return std::move(file).error();
        auto header = read_header(**file, path_);
        if (!header) return std::move(header).error();
        if (!header->is_encrypted()) {
            return Error(ErrorCode::not_encrypted, "'" + path_ + "' is not encrypted, so it has no passphrase to change. Use "
                         "enable_encryption.");
        }
        auto key = KeyBlock::unwrap(*header, current, path_);
        if (!key) return std::move(key).error();
        const auto cipher = KeyBlock::cipher(header->key_block, path_);
        auto block = KeyBlock::wrap(*cipher, next, **key, environment_);
        if (!block) return std::move(block).error();
        header->key_block = *block;
        KeyBlock::vouch_for(*header, **key);
        if (auto written = write_next_slot(**file, *header); !written) return written;
        if (auto written = write_next_slot(**file, *header); !written) {
            return Error(ErrorCode::io, written.error().message() + " The new passphrase of '" + path_ + "' counts, but the old one still "
                         "stands in the header's other half. Change it once more.")
                .with_os_error(written.error().os_error());
        }
        return {};
    }

private:
    // Slots are written in turn.
    static Result<void> write_next_slot(File& file, Header& header) {
        ++header.write_counter;
        const std::uint64_t slot = (header.write_counter + 1) % 2;
        if (auto written = file.write_at(slot * header_slot_size, encode_header(header)); !written) return written;
        return file.sync();
    }

    // A database that is there, locked.
    Result<std::unique_ptr<File>> open_file() {
        auto absolute = environment_.files().absolute(path_);
        if (!absolute) return std::move(absolute).error();
        auto file = environment_.files().open(*absolute, OpenMode::read_write);
        if (!file) return file;
        auto locked = (*file)->try_lock();
        if (!locked) return std::move(locked).error();
        if (!*locked) {
            return Error(ErrorCode::already_locked, "'" + path_ + "' is open. Its encryption can be changed only while nobody has it "
                         "open. Close it first.");
        }
        return file;
    }

    Result<Header> peek() {
        auto file = open_file();
        if (!file) return std::move(file).error();
        return read_header(**file, path_);
    }

    Result<std::shared_ptr<Engine>> open(const EncryptionInput* current) {
        OpenOptions options;
        options.path = path_;
        options.environment = &environment_;
        if (current != nullptr) (EncryptionSecret::is_key(*current) ? options.encryption_key : options.encryption_passphrase) = *current;
        return Engine::open(options);
    }

    Result<void> keep_old(Engine& engine) const { return keep_backup_ ? engine.backup_to(path_ + ".encbak") : Result<void>(); }

    Result<void> rewrite(const EncryptionInput* current, const EncryptionInput* next, Cipher cipher) {
        if (next != nullptr && EncryptionSecret::bytes(*next).empty()) {
            return Error(ErrorCode::invalid_argument, "The empty passphrase protects nothing. Give another one.");
        }
        auto engine = open(current);
        if (!engine) return std::move(engine).error();
        if (auto kept = keep_old(**engine); !kept) return kept;
        const auto set_key = [&](OpenedFile& fresh) -> Result<void> {
            fresh.header.incompatible_features &= ~feature_encrypted;
            fresh.header.key_block = {};
            fresh.data_key = nullptr;
            if (next == nullptr) return {};
            OpenOptions options;
            options.cipher = cipher;
            (EncryptionSecret::is_key(*next) ? options.encryption_key : options.encryption_passphrase) = *next;
            return EngineOpening{environment_, options, path_, path_}.make_key(fresh);
        };
        if (next != nullptr) {
            // Before the file has its new name: the directory is synced for both.
            if (auto removed = remove_checkpoint(); !removed) return removed;
        }
        if (auto rewritten = (*engine)->compact_into(set_key); !rewritten) return rewritten;
        return (*engine)->close();
    }

    // A plain database's has the names of its namespaces.
    Result<void> remove_checkpoint() {
        auto absolute = environment_.files().absolute(path_);
        if (!absolute) return std::move(absolute).error();
        auto removed = environment_.files().remove(meta_path(*absolute));
        return removed || is_not_found(removed.error()) ? Result<void>() : removed;
    }

    Environment& environment_;
    const std::string path_;
    const bool keep_backup_;
};

}  // namespace emdb::detail

#endif  // EMDB_ENCRYPT
