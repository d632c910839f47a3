#pragma once
// The first 8 KiB of a database file: two slots of one header, either of which is enough.
//
//   offset  size  field (little-endian)
//        0     8  magic "\x89" "emdb" "\r\n\x1a"
//        8     4  format version
//       12     4  zero
//       16     8  incompatible features: a reader that doesn't know one of them must refuse the file
//       24     8  compatible features: a reader may ignore them
//       32     8  write counter: the valid slot with the higher one is the header
//       40    16  file id, random; every rewrite of the file takes a fresh one
//       56    16  key of the index hash (SipHash-1-3), random
//       72     4  the smallest namespace id that was never given out when the file was made
//      128   896  how the data key is wrapped, see KeyBlock; zeros in a plain file
//     4092     4  CRC-32C of the slot's first 4,092 bytes
//
// Both slots are written when the file is made, before it gets its name, and the journal starts behind them.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>

#include "base/coding.hpp"
#include "base/result.hpp"
#include "checks/crc32c.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

constexpr std::uint32_t format_version = 1;
constexpr std::size_t header_slot_size = 4096;
constexpr std::uint64_t journal_start = 2 * header_slot_size;

constexpr std::array<unsigned char, 8> header_magic = {0x89, 'e', 'm', 'd', 'b', '\r', '\n', 0x1A};

constexpr std::uint64_t feature_encrypted = 1;  ///< an incompatible one
constexpr std::size_t key_block_offset = 128;
constexpr std::size_t key_block_size = 896;

struct Header {
    std::uint64_t incompatible_features = 0;
    std::uint64_t compatible_features = 0;
    std::uint64_t write_counter = 0;
    std::array<std::byte, 16> file_id{};
    std::uint64_t hash_key_0 = 0;
    std::uint64_t hash_key_1 = 0;
    std::uint32_t next_namespace_id = 1;
    std::array<std::byte, key_block_size> key_block{};

    bool is_encrypted() const noexcept { return (incompatible_features & feature_encrypted) != 0; }

    /// What the CRC of every frame starts from, so that a frame of another file never validates.
    std::uint32_t frame_seed() const noexcept { return crc32c(file_id.data(), file_id.size()); }
};

using HeaderSlot = std::array<std::byte, header_slot_size>;

inline HeaderSlot encode_header(const Header& header) {
    HeaderSlot slot{};
    std::byte* at = slot.data();
    std::memcpy(at, header_magic.data(), header_magic.size());
    store_le(at + 8, format_version);
    store_le(at + 16, header.incompatible_features);
    store_le(at + 24, header.compatible_features);
    store_le(at + 32, header.write_counter);
    std::memcpy(at + 40, header.file_id.data(), header.file_id.size());
    store_le(at + 56, header.hash_key_0);
    store_le(at + 64, header.hash_key_1);
    store_le(at + 72, header.next_namespace_id);
    std::memcpy(at + key_block_offset, header.key_block.data(), key_block_size);
    store_le(at + 4092, crc32c(at, 4092));
    return slot;
}

inline bool header_slot_has_magic(std::span<const std::byte> slot) noexcept {
    return slot.size() >= header_magic.size() && std::memcmp(slot.data(), header_magic.data(), header_magic.size()) == 0;
}

/// The slot's header if its CRC holds, whatever version and features it has.
inline std::optional<Header> decode_header(std::span<const std::byte> slot, std::uint32_t& version) {
    if (slot.size() < header_slot_size || !header_slot_has_magic(slot)) return std::nullopt;
    const std::byte* at = slot.data();
    if (load_le<std::uint32_t>(at + 4092) != crc32c(at, 4092)) return std::nullopt;
    version = load_le<std::uint32_t>(at + 8);
    Header header;
    header.incompatible_features = load_le<std::uint64_t>(at + 16);
    header.compatible_features = load_le<std::uint64_t>(at + 24);
    header.write_counter = load_le<std::uint64_t>(at + 32);
    std::memcpy(header.file_id.data(), at + 40, header.file_id.size());
    header.hash_key_0 = load_le<std::uint64_t>(at + 56);
    header.hash_key_1 = load_le<std::uint64_t>(at + 64);
    header.next_namespace_id = (std::max)(load_le<std::uint32_t>(at + 72), std::uint32_t{1});
    std::memcpy(header.key_block.data(), at + key_block_offset, key_block_size);
    return header;
}

/// Reads and judges the header of an existing file; see the public contract of EmdbBuilder::build for the errors.
inline Result<Header> read_header(File& file, const std::string& path) {
    std::array<std::byte, journal_start> bytes;
    const auto read = file.read_at(0, bytes);
    if (!read) return read.error();
    const std::span<const std::byte> found(bytes.data(), *read);
    const auto first = found.first((std::min)(found.size(), header_slot_size));
    const auto second = found.size() > header_slot_size ? found.subspan(header_slot_size) : std::span<const std::byte>();
    if (!header_slot_has_magic(first) && !header_slot_has_magic(second)) {
        return Error(ErrorCode::magic_mismatch,
                     "'" + path + "' is not an emdb database: it does not start with its magic number. Give the path of an emdb "
                     "file, or of a new one.");
    }
    if (found.size() < journal_start) {
        return Error(ErrorCode::corrupted, "'" + path + "' is cut off: it is shorter than an emdb header. Restore the file from a "
                     "backup.");
    }
    std::uint32_t version_1 = 0;
    std::uint32_t version_2 = 0;
    const auto header_1 = decode_header(first, version_1);
    const auto header_2 = decode_header(second, version_2);
    if (!header_1 && !header_2) {
        return Error(ErrorCode::corrupted, "Both copies of the header of '" + path + "' are damaged or cut off. Restore the file "
                     "from a backup.");
    }
    const bool use_second = !header_1 || (header_2 && header_2->write_counter > header_1->write_counter);
    const Header& header = use_second ? *header_2 : *header_1;
    const std::uint32_t version = use_second ? version_2 : version_1;
    if (version != format_version) {
        return std::move(Error(ErrorCode::version_mismatch,
                               "'" + path + "' has format version " + std::to_string(version) + ", and this build of emdb " +
                                   EMDB_VERSION_STRING + " reads version " + std::to_string(format_version) +
                                   " only. Open it with the emdb that wrote it."))
            .with_versions(version, format_version);
    }
    if (EMDB_ENCRYPT == 0 && header.is_encrypted()) {
        return Error(ErrorCode::feature_disabled, "'" + path + "' is encrypted, and this program was built with EMDB_ENCRYPT=0. Build "
                     "it with EMDB_ENCRYPT=1.");
    }
    if ((header.incompatible_features & ~feature_encrypted) != 0) {
        return Error(ErrorCode::feature_disabled, "'" + path + "' uses format features (bits " +
                     std::to_string(header.incompatible_features) + ") that this build of emdb " + EMDB_VERSION_STRING +
                     " does not have. Open it with a newer emdb.");
    }
    return header;
}

}  // namespace emdb::detail
