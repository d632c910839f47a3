#pragma once
// KeyBlock: how the key that a file's data is encrypted with can be had from what the user has.
//
//   offset  size  field (in the header's slot from byte 128 on; little-endian)
//        0     1  1: the version of this block
//        1     1  cipher of records and of the wrapping: 1 AES-256-GCM, 2 ChaCha20-Poly1305
//        2     1  what the user has: 1 a key, 2 a passphrase
//        4    12  Argon2id's memory in KiB, passes, lanes; zeros for a key
//       16    32  salt, random
//       48    12  nonce of the wrapping, random
//       60    48  the data key, 32 random bytes, sealed: ciphertext and tag; associated data are bytes 0-47
//      108    32  commitment: keyed BLAKE2b of bytes 0-107
//
// The key-encryption key is Argon2id of the passphrase and the salt, or keyed BLAKE2b of the salt under the user's key; wrapping and
// commitment have keys of their own, derived from it. The commitment is compared first, in constant time: a wrong key is known for one
// before it has opened anything, and no two keys open the same file (AES-GCM alone does not promise that).

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/coding.hpp"
#include "base/config.hpp"
#include "base/encryption_input.hpp"
#include "base/options.hpp"
#include "base/result.hpp"
#include "journal/header.hpp"
#include "journal/sealer.hpp"
#include "os/contract.hpp"

#if EMDB_ENCRYPT

#include "crypto/aead.hpp"
#include "crypto/argon2id.hpp"
#include "crypto/blake2b.hpp"
#include "crypto/wipe.hpp"

namespace emdb::detail {

/// Looks into an EncryptionInput.
struct EncryptionSecret {
    static bool is_key(const EncryptionInput& input) noexcept { return input.is_key_; }
    static std::span<const std::byte> bytes(const EncryptionInput& input) noexcept { return std::as_bytes(std::span(input.secret_)); }
};

/// What a passphrase costs whoever tries it.
struct PassphraseCost {
    std::uint32_t memory_kib = 64 * 1024;
    std::uint32_t passes = 3;
    std::uint32_t lanes = 1;
};
/// For new passphrases. Tests lower it.
inline PassphraseCost passphrase_cost;

class KeyBlock {
public:
    using Bytes32 = std::array<std::byte, 32>;
    using Block = std::array<std::byte, key_block_size>;

    /// A block from which `data_key` can be had with `input`.
    static Result<Block> wrap(Cipher cipher, const EncryptionInput& input, const DataKey& data_key, Environment& environment) {
        if (EncryptionSecret::bytes(input).empty()) return empty_passphrase();
        Block block{};
        block[0] = std::byte{1};
        block[1] = static_cast<std::byte>(static_cast<std::uint8_t>(cipher) + 1);
        block[2] = static_cast<std::byte>(EncryptionSecret::is_key(input) ? 1 : 2);
        if (!EncryptionSecret::is_key(input)) {
            store_le(block.data() + 4, passphrase_cost.memory_kib);
            store_le(block.data() + 8, passphrase_cost.passes);
            store_le(block.data() + 12, passphrase_cost.lanes);
        }
        if (auto filled = environment.fill_random(std::span(block).subspan(16, 32 + 12)); !filled) return std::move(filled).error();
        Bytes32 kek;
        const WipedAtExit wiped(kek);
        if (auto derived = derive_kek(block, input, kek); !derived) return std::move(derived).error();
        Bytes32 wrapping;
        const WipedAtExit wiped_too(wrapping);
        derive(kek, "emdb key wrap", wrapping);
        Aead(cipher, wrapping).seal(nonce_of(block), std::span(block).first(48), data_key.bytes(), block.data() + 60);
        const Bytes32 commitment = commit(kek, block);
        std::memcpy(block.data() + 108, commitment.data(), commitment.size());
        return block;
    }

    static Result<Cipher> cipher(const Block& block, const std::string& path) {
        if (block[0] != std::byte{1} || block[1] < std::byte{1} || block[1] > std::byte{2} || block[2] < std::byte{1} ||
            block[2] > std::byte{2}) {
            return Error(ErrorCode::corrupted, "'" + path + "' is encrypted in a way that this build of emdb " + EMDB_VERSION_STRING +
                         " does not know. Open it with the emdb that wrote it.");
        }
        return static_cast<Cipher>(static_cast<std::uint8_t>(block[1]) - 1);
    }

    static Result<std::shared_ptr<DataKey>> unwrap(const Block& block, const EncryptionInput& input, const std::string& path) {
        const auto with = cipher(block, path);
        if (!with) return with.error();
        if (EncryptionSecret::bytes(input).empty()) return empty_passphrase();
        const bool wants_key = block[2] == std::byte{1};
        if (wants_key != EncryptionSecret::is_key(input)) {
            return Error(ErrorCode::encryption_key_mismatch, "'" + path + "' is encrypted with a " + (wants_key ? "key" : "passphrase") +
                         ", and a " + (wants_key ? "passphrase" : "key") + " was given. Nothing was read.");
        }
        if (!wants_key) {
            if (auto bearable = check_cost(block, path); !bearable) return std::move(bearable).error();
        }
        Bytes32 kek;
        const WipedAtExit wiped(kek);
        if (auto derived = derive_kek(block, input, kek); !derived) return std::move(derived).error();
        const Bytes32 commitment = commit(kek, block);
        if (!equal_in_constant_time(commitment.data(), block.data() + 108, commitment.size())) {
            return Error(ErrorCode::encryption_key_mismatch, "The key or passphrase is not that of '" + path + "'. Nothing was read.");
        }
        auto key = DataKey::create();
        if (key == nullptr) return Error(ErrorCode::io, "Out of memory for the key of '" + path + "'. Free some.");
        Bytes32 wrapping;
        const WipedAtExit wiped_too(wrapping);
        derive(kek, "emdb key wrap", wrapping);
        const Aead unwrapping(*with, wrapping);
        if (!unwrapping.open(nonce_of(block), std::span(block).first(48), std::span(block).subspan(60, 48), key->bytes().data())) {
            return Error(ErrorCode::encryption_error, "The wrapped key in the header of '" + path + "' was tampered with. Restore the "
                         "file from a backup.");
        }
        return key;
    }

private:
    static Error empty_passphrase() {
        return Error(ErrorCode::invalid_argument, "The empty passphrase protects nothing. Give another one.");
    }

    // The header may be anybody's: what it asks for must be bearable.
    static Result<void> check_cost(const Block& block, const std::string& path) {
        const auto memory_kib = load_le<std::uint32_t>(block.data() + 4);
        const auto passes = load_le<std::uint32_t>(block.data() + 8);
        const auto lanes = load_le<std::uint32_t>(block.data() + 12);
        if (memory_kib >= 8 * 1024 && memory_kib <= 1024 * 1024 && passes >= 1 && passes <= 16 && lanes >= 1 && lanes <= 16) return {};
        return Error(ErrorCode::corrupted, "The header of '" + path + "' asks for " + std::to_string(memory_kib) + " KiB of memory, " +
                     std::to_string(passes) + " passes and " + std::to_string(lanes) + " lanes for its passphrase, which is not within 8 "
                     "MiB to 1 GiB, 16 and 16. Restore the file from a backup.");
    }

    static Result<void> derive_kek(const Block& block, const EncryptionInput& input, Bytes32& kek) {
        const std::span<const std::byte> salt = std::span(block).subspan(16, 32);
        const std::span<const std::byte> secret = EncryptionSecret::bytes(input);
        if (EncryptionSecret::is_key(input)) {
            blake2b(secret, salt, kek);
            return {};
        }
        return argon2id(secret, salt, {}, text("emdb passphrase"), load_le<std::uint32_t>(block.data() + 4),
                        load_le<std::uint32_t>(block.data() + 8), load_le<std::uint32_t>(block.data() + 12), kek);
    }

    static void derive(const Bytes32& kek, std::string_view purpose, Bytes32& into) { blake2b(kek, text(purpose), into); }

    static Bytes32 commit(const Bytes32& kek, const Block& block) {
        Bytes32 key;
        const WipedAtExit wiped(key);
        derive(kek, "emdb commitment", key);
        Bytes32 commitment;
        blake2b(key, std::span(block).first(108), commitment);
        return commitment;
    }

    static std::span<const std::byte> text(std::string_view what) noexcept { return std::as_bytes(std::span(what)); }
    static std::span<const std::byte, 12> nonce_of(const Block& block) noexcept { return std::span(block).subspan<48, 12>(); }
};

}  // namespace emdb::detail

#endif  // EMDB_ENCRYPT
