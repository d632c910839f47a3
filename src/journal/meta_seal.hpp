#pragma once
// MetaSeal: seals the checkpoint file of an encrypted database, which has the names of its namespaces, and in hashes and times of
// expiry says things about its keys.
//
//   offset  size  field
//        0     8  magic "\x89" "emdbs" "\r\n"
//        8     4  version of this layout, little-endian
//       12     4  zero
//       16    32  salt, random
//       48   144  piece 0: the header of meta_file.hpp, 128 bytes, and its tag
//      192        pieces 1, 2, ...: the rest of what meta_file.hpp describes, 64 KiB at a time (the last may be shorter), each with
//                 its tag of 16 bytes behind it
//
// The key is keyed BLAKE2b of the file id and the salt under the data key. Each checkpoint has a new salt, so a piece's number serves
// as its nonce. Thus a piece of another file, of another checkpoint or of another place does not open; and where the file ends
// is said in the header, which is sealed last. Associated data are the first 48 bytes.
//
// What tells one history of the journal from another is, instead of a CRC, a MAC under a key made in the same way: nobody else can look
// for two that have the same.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>

#include "base/coding.hpp"
#include "base/config.hpp"
#include "journal/sealer.hpp"

namespace emdb::detail {

constexpr std::array<unsigned char, 8> sealed_meta_magic = {0x89, 'e', 'm', 'd', 'b', 's', '\r', '\n'};
constexpr std::size_t sealed_meta_head_size = 48;

/// Whether the first bytes of a file are those of a sealed checkpoint.
inline bool has_sealed_meta_magic(std::span<const std::byte> bytes) noexcept {
    return bytes.size() >= sealed_meta_magic.size() && std::memcmp(bytes.data(), sealed_meta_magic.data(), sealed_meta_magic.size()) == 0;
}

}  // namespace emdb::detail

#if EMDB_ENCRYPT

#include "crypto/aead.hpp"
#include "crypto/blake2b.hpp"
#include "crypto/secret_memory.hpp"
#include "crypto/wipe.hpp"

namespace emdb::detail {

class MetaSeal {
public:
    using Head = std::array<std::byte, sealed_meta_head_size>;
    static constexpr std::uint32_t version = 1;
    static constexpr std::size_t salt_offset = 16;
    static constexpr std::size_t salt_size = 32;
    static constexpr std::size_t header_size = 128;
    static constexpr std::size_t piece_size = std::size_t{64} << 10;
    static constexpr std::size_t tag_size = Aead::tag_size;

    /// The head of a new checkpoint.
    static Head make_head(std::span<const std::byte, salt_size> salt) noexcept {
        Head head{};
        std::memcpy(head.data(), sealed_meta_magic.data(), sealed_meta_magic.size());
        store_le(head.data() + 8, version);
        std::memcpy(head.data() + salt_offset, salt.data(), salt.size());
        return head;
    }

    /// For the checkpoint with this head. Null: out of memory.
    static std::unique_ptr<MetaSeal> create(const Sealer& sealer, const Head& head) {
        std::unique_ptr<MetaSeal> seal(new MetaSeal(head));
        if (seal->memory_.data() == nullptr) return nullptr;
        const std::span<const std::byte, salt_size> salt(seal->head_.data() + salt_offset, salt_size);
        std::array<std::byte, 32> key;
        const WipedAtExit wiped(key);
        sealer.derive_checkpoint_key("emdb checkpoint key", salt, key);
        new (seal->memory_.data()) Secrets(sealer.cipher(), key);
        sealer.derive_checkpoint_key("emdb checkpoint history", salt, seal->secrets().history_key);
        return seal;
    }

    const Head& head() const noexcept { return head_; }

    /// Where a part of what is sealed lies in the file.
    struct Piece {
        std::uint64_t number;
        std::uint64_t start;  ///< in what is sealed
        std::size_t size;     ///< if it is not the last one
        std::uint64_t at;     ///< in the file
    };
    /// The piece that has the byte at `offset` of what is sealed.
    static Piece piece_with(std::uint64_t offset) noexcept {
        if (offset < header_size) return {0, 0, header_size, sealed_meta_head_size};
        const std::uint64_t before = (offset - header_size) / piece_size;
        return {before + 1, header_size + before * piece_size, piece_size,
                sealed_meta_head_size + header_size + tag_size + before * (piece_size + tag_size)};
    }

    /// How much is sealed in a file of this size; nullopt: such a file is cut off.
    static std::optional<std::uint64_t> sealed_in(std::uint64_t file_size) noexcept {
        constexpr std::uint64_t before = sealed_meta_head_size + header_size + tag_size;
        if (file_size < before) return std::nullopt;
        const std::uint64_t pieces = (file_size - before) / (piece_size + tag_size);
        const std::uint64_t rest = (file_size - before) % (piece_size + tag_size);
        if (rest != 0 && rest <= tag_size) return std::nullopt;
        return header_size + pieces * piece_size + (rest == 0 ? 0 : rest - tag_size);
    }

    /// Writes the sealed piece and its tag. Each number once.
    void seal(std::uint64_t number, std::span<const std::byte> plain, std::byte* sealed) const noexcept {
        secrets().aead.seal(nonce_of(number), head_, plain, sealed);
    }
    /// False: it is not what was sealed as this piece of this checkpoint.
    [[nodiscard]] bool open(std::uint64_t number, std::span<const std::byte> sealed, std::byte* plain) const noexcept {
        return secrets().aead.open(nonce_of(number), head_, sealed, plain);
    }

    /// Of a part of the journal.
    std::uint32_t history(std::span<const std::byte> journal) const noexcept {
        std::array<std::byte, 4> mac;
        blake2b(secrets().history_key, journal, mac);
        return load_le<std::uint32_t>(mac.data());
    }

private:
    struct Secrets {
        Secrets(Cipher cipher, const std::array<std::byte, 32>& key) noexcept : aead(cipher, key) {}
        Aead aead;
        std::array<std::byte, 32> history_key{};
    };

    explicit MetaSeal(const Head& head) : head_(head), memory_(SecretMemory::allocate(sizeof(Secrets))) {}

    // In memory that is wiped at its end.
    Secrets& secrets() const noexcept { return *reinterpret_cast<Secrets*>(memory_.data()); }

    static std::array<std::byte, Aead::nonce_size> nonce_of(std::uint64_t number) noexcept {
        std::array<std::byte, Aead::nonce_size> nonce{};
        store_le(nonce.data(), number);
        return nonce;
    }

    const Head head_;
    const SecretMemory memory_;
};

}  // namespace emdb::detail

#else

namespace emdb::detail {

/// There is none in this build.
class MetaSeal {};

}  // namespace emdb::detail

#endif  // EMDB_ENCRYPT
