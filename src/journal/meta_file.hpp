#pragma once
// The checkpoint file "<path>.meta": the index as it lies in memory, and where the replay of the journal goes on from there.
//
//   offset  size  field (little-endian)
//        0     8  magic "\x89" "emdbm" "\r\n"
//        8     4  version of this layout
//       12     4  flags
//       16    16  the database's file id
//       32     8  replay from here: the index has everything below
//       40     8  the index may have something of what lies between there and here, and nothing above
//       48     4  CRC-32C of the 64 KiB of journal below the first of them
//       52     4  the same for the second
//       56     4  the smallest namespace id that was never given out
//       60     4  CRC-32C of the directory
//       64     8  where the directory starts
//       72     8  the directory's size; it ends the file
//       80     8  the journal below had reached the disk: all that the index has, and perhaps not yet the mark that says so
//      124     4  CRC-32C of the first 124 bytes
//      128        sections, one behind the other in the order in which the directory lists them: of each keyspace's shards the
//                 buckets of the hash table and the entries of the expiry queue; then of each keyspace the offsets of its
//                 records in key order
//
// The directory: count of keyspaces (4), then each one's id (4), size of its name (4), count of shards that have a table (4), flags
// (4), count of offsets in key order (8), their CRC-32C (4), zero (4), name; and of each shard with a table its number (4), buckets
// (4), expiry entries (8), how many of these are not garbage (8), records (8), their logical bytes (8) and frame bytes (8), CRC-32C
// of its section (4), zero (4). In a sealed file it ends with the sessions that had begun: their count (4), and of each where its frame
// lies (8) and its random bytes (32).
//
// Of an encrypted database all this is sealed, see meta_seal.hpp: offsets are then those of what is sealed, and the two CRCs of the
// journal are MACs.
//
// Nothing depends on this file: whatever is wrong with it (it is older than a change of layout, torn, of another database, of
// another history of this one), the journal is replayed from its start instead. Hence it need not be synced before it gets its
// name: CRCs tell. They do not keep anybody from making one up, so every size is held against the file's before anything is
// allocated, and whoever loads a section judges what is in it.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/coding.hpp"
#include "base/config.hpp"
#include "base/result.hpp"
#include "checks/crc32c.hpp"
#include "crypto/plain_text.hpp"
#include "crypto/secret_vector.hpp"
#include "journal/header.hpp"
#include "journal/meta_seal.hpp"
#include "journal/sealer.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

constexpr std::uint32_t meta_version = 1;
constexpr std::array<unsigned char, 8> meta_magic = {0x89, 'e', 'm', 'd', 'b', 'm', '\r', '\n'};
constexpr std::size_t meta_header_size = 128;
constexpr std::size_t meta_bucket_size = 64;
constexpr std::size_t meta_expiry_size = 24;
constexpr std::uint64_t meta_fingerprint_size = std::uint64_t{64} << 10;
/// Sections are memory as it is: only hosts that lay integers out as files do can write and use them.
constexpr bool meta_supported = std::endian::native == std::endian::little;

inline std::string meta_path(const std::string& database) { return database + ".meta"; }
inline std::string meta_temporary_path(const std::string& database) { return database + ".meta.tmp"; }

// Flags.
constexpr std::uint32_t meta_ends_with_close_mark = 1;  ///< the journal did, at the place to replay from
constexpr std::uint32_t meta_has_key_order = 2;         ///< written with range scans on
constexpr std::uint32_t meta_written_with_ttl = 4;      ///< the journal may have records that expire

struct MetaShard {
    std::uint32_t number = 0;
    std::uint32_t buckets = 0;
    std::uint64_t expiring = 0;
    std::uint64_t expiring_current = 0;
    std::uint64_t records = 0;
    std::uint64_t logical_bytes = 0;
    std::uint64_t frame_bytes = 0;
    std::uint32_t crc = 0;
    std::uint64_t at = 0;  ///< where its section starts; not stored

    std::uint64_t table_size() const noexcept { return std::uint64_t{buckets} * meta_bucket_size; }
    std::uint64_t expiring_size() const noexcept { return expiring * meta_expiry_size; }
};

struct MetaKeyspace {
    std::uint32_t id = 0;
    SecretString name;
    std::vector<MetaShard> shards;
    bool order_is_complete = false;
    std::uint64_t ordered = 0;
    std::uint32_t order_crc = 0;
    std::uint64_t order_at = 0;  ///< not stored
};

struct MetaContents {
    std::uint32_t flags = 0;
    std::array<std::byte, 16> file_id{};
    std::uint64_t replay_from = 0;
    std::uint64_t complete_to = 0;
    std::uint64_t durable_to = 0;
    std::uint32_t fingerprint_from = 0;
    std::uint32_t fingerprint_to = 0;
    std::uint32_t next_namespace_id = 1;
    SecretVector<MetaKeyspace> keyspaces;  // names may be secret
    std::vector<SessionStart> sessions;    ///< none if the file is not sealed
};

/// The part of the journal below `end` that tells one history of a file from another.
inline std::uint64_t meta_fingerprint_start(std::uint64_t end) noexcept {
    return end - (std::min)(end - journal_start, meta_fingerprint_size);
}

/// Tells one history of the journal from another.
inline std::uint32_t meta_fingerprint(std::span<const std::byte> journal, [[maybe_unused]] const MetaSeal* seal) noexcept {
#if EMDB_ENCRYPT
    if (seal != nullptr) return seal->history(journal);
#endif
    return crc32c(journal.data(), journal.size());
}

/// Puts integers behind each other.
class MetaEncoder {
public:
    template <class Unsigned>
    void put(Unsigned value) {
        const std::size_t at = bytes_.size();
        bytes_.resize(at + sizeof value);
        store_le(bytes_.data() + at, value);
    }
    void put_bytes(const void* data, std::size_t size) {
        const auto* const bytes = static_cast<const std::byte*>(data);
        bytes_.insert(bytes_.end(), bytes, bytes + size);
    }
    void put_zeros_up_to(std::size_t size) { bytes_.resize(size); }
    const SecretVector<std::byte>& bytes() const noexcept { return bytes_; }

private:
    SecretVector<std::byte> bytes_;
};

/// Takes them apart again. Reading behind the end yields zeros and is remembered.
class MetaDecoder {
public:
    explicit MetaDecoder(std::span<const std::byte> bytes) noexcept : left_(bytes) {}
    template <class Unsigned>
    Unsigned take() noexcept {
        const auto bytes = take_bytes(sizeof(Unsigned));
        return bytes.empty() ? Unsigned{0} : load_le<Unsigned>(bytes.data());
    }
    std::span<const std::byte> take_bytes(std::size_t size) noexcept {
        if (size > left_.size()) {
            failed_ = true;
            left_ = {};
            return {};
        }
        const auto taken = left_.first(size);
        left_ = left_.subspan(size);
        return taken;
    }
    std::size_t left() const noexcept { return left_.size(); }
    bool failed() const noexcept { return failed_; }

private:
    std::span<const std::byte> left_;
    bool failed_ = false;
};

inline SecretVector<std::byte> encode_meta_directory(const MetaContents& contents, bool sealed) {
    MetaEncoder out;
    out.put(static_cast<std::uint32_t>(contents.keyspaces.size()));
    for (const MetaKeyspace& keyspace : contents.keyspaces) {
        out.put(keyspace.id);
        out.put(static_cast<std::uint32_t>(keyspace.name.size()));
        out.put(static_cast<std::uint32_t>(keyspace.shards.size()));
        out.put(static_cast<std::uint32_t>(keyspace.order_is_complete ? 1 : 0));
        out.put(keyspace.ordered);
        out.put(keyspace.order_crc);
        out.put(std::uint32_t{0});
        out.put_bytes(keyspace.name.data(), keyspace.name.size());
        for (const MetaShard& shard : keyspace.shards) {
            out.put(shard.number);
            out.put(shard.buckets);
            out.put(shard.expiring);
            out.put(shard.expiring_current);
            out.put(shard.records);
            out.put(shard.logical_bytes);
            out.put(shard.frame_bytes);
            out.put(shard.crc);
            out.put(std::uint32_t{0});
        }
    }
    if (sealed) {
        out.put(static_cast<std::uint32_t>(contents.sessions.size()));
        for (const SessionStart& session : contents.sessions) {
            out.put(session.offset);
            out.put_bytes(session.random.data(), session.random.size());
        }
    }
    return out.bytes();
}

inline SecretVector<std::byte> encode_meta_header(const MetaContents& contents, std::uint64_t directory_at,
                                                 std::span<const std::byte> directory) {
    MetaEncoder out;
    out.put_bytes(meta_magic.data(), meta_magic.size());
    out.put(meta_version);
    out.put(contents.flags);
    out.put_bytes(contents.file_id.data(), contents.file_id.size());
    out.put(contents.replay_from);
    out.put(contents.complete_to);
    out.put(contents.fingerprint_from);
    out.put(contents.fingerprint_to);
    out.put(contents.next_namespace_id);
    out.put(crc32c(directory.data(), directory.size()));
    out.put(directory_at);
    out.put(static_cast<std::uint64_t>(directory.size()));
    out.put(contents.durable_to);
    out.put_zeros_up_to(meta_header_size - 4);
    out.put(crc32c(out.bytes().data(), out.bytes().size()));
    return out.bytes();
}

/// An open checkpoint file with a good header and directory, which fits its database.
class MetaFile {
public:
    /// `journal` is the database's file, `sealer` null if that is not encrypted. An error says what is wrong with the checkpoint;
    /// is_not_found() if there is none.
    static Result<MetaFile> open(FileSystem& files, const std::string& database, const Header& header,
                                 std::span<const std::byte> journal, const Sealer* sealer) {
        const std::string path = meta_path(database);
        auto file = files.open(path, OpenMode::read_only);
        if (!file) return std::move(file).error();
        MetaFile meta(std::move(*file), path);
        auto read = meta.read(header, journal, sealer);
        if (!read) return std::move(read).error();
        return meta;
    }

    /// Whether there is a checkpoint that is not sealed.
    static bool is_plain(FileSystem& files, const std::string& database) {
        const auto file = files.open(meta_path(database), OpenMode::read_only);
        std::array<std::byte, sealed_meta_magic.size()> magic{};
        return file && !((*file)->read_at(0, magic) && has_sealed_meta_magic(magic));
    }

    const MetaContents& contents() const noexcept { return contents_; }

    /// Fills `into` from the sections.
    Result<void> read_at(std::uint64_t offset, std::span<std::byte> into) const {
#if EMDB_ENCRYPT
        if (seal_ != nullptr) return read_sealed(offset, into);
#endif
        return read_file(offset, into);
    }

    Error unfit(const char* why) const {
        return Error(ErrorCode::corrupted, "The checkpoint '" + path_ + "' can't be used: " + why + ". It is not needed.");
    }

private:
    MetaFile(std::unique_ptr<File> file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}

    Result<void> read_file(std::uint64_t offset, std::span<std::byte> into) const {
        const auto size = file_->read_at(offset, into);
        if (!size) return size.error();
        if (*size != into.size()) return unfit("it is cut off");
        return {};
    }

#if EMDB_ENCRYPT
    // From here on, read_at reads what is sealed. Returns how much that is.
    Result<std::uint64_t> unseal(const Sealer& sealer, std::uint64_t file_size) {
        MetaSeal::Head head;
        if (auto got = read_file(0, head); !got) return got.error();
        if (!has_sealed_meta_magic(head)) return unfit("it is not sealed, and the database is encrypted");
        if (MetaSeal::make_head(std::span(head).subspan<MetaSeal::salt_offset, MetaSeal::salt_size>()) != head) {
            return unfit("it has another format");
        }
        const auto sealed = MetaSeal::sealed_in(file_size);
        if (!sealed) return unfit("it is cut off");
        seal_ = MetaSeal::create(sealer, head);
        if (seal_ == nullptr) return unfit("there is not enough memory for its key");
        size_ = *sealed;
        return size_;
    }

    // Pieces that are wanted as a whole are opened where they are to be.
    Result<void> read_sealed(std::uint64_t offset, std::span<std::byte> into) const {
        if (offset > size_ || into.size() > size_ - offset) return unfit("it is cut off");
        const std::unique_ptr<std::byte[]> sealed(new (std::nothrow) std::byte[MetaSeal::piece_size + MetaSeal::tag_size]);
        if (sealed == nullptr) return unfit("there is not enough memory for it");
        while (!into.empty()) {
            const MetaSeal::Piece piece = MetaSeal::piece_with(offset);
            const auto size = static_cast<std::size_t>((std::min)(std::uint64_t{piece.size}, size_ - piece.start));
            const std::span<std::byte> ciphertext(sealed.get(), size + MetaSeal::tag_size);
            if (auto got = read_file(piece.at, ciphertext); !got) return got;
            const auto skipped = static_cast<std::size_t>(offset - piece.start);
            const std::size_t wanted = (std::min)(size - skipped, into.size());
            PlainText text;
            std::byte* const plain = wanted == size ? into.data() : text.make(size);
            if (plain == nullptr) return unfit("there is not enough memory for it");
            if (!seal_->open(piece.number, ciphertext, plain)) {
                return unfit("it is damaged, or was sealed for another database or with another key");
            }
            if (wanted != size) std::memcpy(into.data(), plain + skipped, wanted);
            into = into.subspan(wanted);
            offset += wanted;
        }
        return {};
    }
#endif

    Result<void> read(const Header& header, std::span<const std::byte> journal, [[maybe_unused]] const Sealer* sealer) {
        auto size = file_->size();
        if (!size) return size.error();
#if EMDB_ENCRYPT
        if (sealer != nullptr) size = unseal(*sealer, *size);
        if (!size) return size.error();
#endif
        std::array<std::byte, meta_header_size> head;
        if (auto got = read_at(0, head); !got) return got;
        if (std::memcmp(head.data(), meta_magic.data(), meta_magic.size()) != 0) {
            return unfit(has_sealed_meta_magic(head) ? "it is of an encrypted database, and this one is not" : "it is something else");
        }
        if (load_le<std::uint32_t>(head.data() + head.size() - 4) != crc32c(head.data(), head.size() - 4)) {
            return unfit("its header is damaged");
        }
        MetaDecoder in(head);
        in.take_bytes(meta_magic.size());
        if (in.take<std::uint32_t>() != meta_version || !meta_supported) return unfit("it has another format");
        contents_.flags = in.take<std::uint32_t>();
        const auto id = in.take_bytes(contents_.file_id.size());
        std::copy(id.begin(), id.end(), contents_.file_id.begin());
        contents_.replay_from = in.take<std::uint64_t>();
        contents_.complete_to = in.take<std::uint64_t>();
        contents_.fingerprint_from = in.take<std::uint32_t>();
        contents_.fingerprint_to = in.take<std::uint32_t>();
        contents_.next_namespace_id = in.take<std::uint32_t>();
        const auto directory_crc = in.take<std::uint32_t>();
        const auto directory_at = in.take<std::uint64_t>();
        const auto directory_size = in.take<std::uint64_t>();
        contents_.durable_to = (std::min)(in.take<std::uint64_t>(), contents_.complete_to);
        if (auto fits = fit(header, journal); !fits) return fits;

        if (directory_at < meta_header_size || directory_at > *size || directory_size != *size - directory_at) {
            return unfit("it is cut off");
        }
        SecretVector<std::byte> directory(static_cast<std::size_t>(directory_size));
        if (auto got = read_at(directory_at, directory); !got) return got;
        if (crc32c(directory.data(), directory.size()) != directory_crc) return unfit("its directory is damaged");
        return decode_directory(directory, directory_at);
    }

    // Whether it belongs to this file and this history of it.
    Result<void> fit(const Header& header, std::span<const std::byte> journal) const {
        if (contents_.file_id != header.file_id) return unfit("it belongs to another database, or to one that was rewritten since");
        if ((contents_.flags & meta_written_with_ttl) != 0 && EMDB_TTL == 0) {
            return unfit("it was written by a program with EMDB_TTL=1");
        }
        const std::uint64_t from = contents_.replay_from;
        const std::uint64_t to = contents_.complete_to;
        if (from < journal_start || from > to) return unfit("its header makes no sense");
        if (to > journal.size()) return unfit("the database was longer when it was written");
        const auto fingerprint = [&](std::uint64_t end) {
            const std::uint64_t start = meta_fingerprint_start(end);
            return meta_fingerprint(journal.subspan(static_cast<std::size_t>(start), static_cast<std::size_t>(end - start)), seal_.get());
        };
        if (fingerprint(from) != contents_.fingerprint_from || fingerprint(to) != contents_.fingerprint_to) {
            return unfit("the database has another history than when it was written");
        }
        return {};
    }

    Result<void> decode_directory(std::span<const std::byte> bytes, std::uint64_t sections_end) {
        MetaDecoder in(bytes);
        const auto count = in.take<std::uint32_t>();
        for (std::uint32_t i = 0; i < count && !in.failed(); ++i) {
            MetaKeyspace keyspace;
            keyspace.id = in.take<std::uint32_t>();
            const auto name_size = in.take<std::uint32_t>();
            const auto shards = in.take<std::uint32_t>();
            keyspace.order_is_complete = in.take<std::uint32_t>() != 0;
            keyspace.ordered = in.take<std::uint64_t>();
            keyspace.order_crc = in.take<std::uint32_t>();
            in.take<std::uint32_t>();
            const auto name = in.take_bytes(name_size);
            keyspace.name.assign(reinterpret_cast<const char*>(name.data()), name.size());
            for (std::uint32_t j = 0; j < shards && !in.failed(); ++j) {
                MetaShard shard;
                shard.number = in.take<std::uint32_t>();
                shard.buckets = in.take<std::uint32_t>();
                shard.expiring = in.take<std::uint64_t>();
                shard.expiring_current = in.take<std::uint64_t>();
                shard.records = in.take<std::uint64_t>();
                shard.logical_bytes = in.take<std::uint64_t>();
                shard.frame_bytes = in.take<std::uint64_t>();
                shard.crc = in.take<std::uint32_t>();
                in.take<std::uint32_t>();
                keyspace.shards.push_back(shard);
            }
            contents_.keyspaces.push_back(std::move(keyspace));
        }
        if (seal_ != nullptr) take_sessions(in);
        if (in.failed() || in.left() != 0 || !place_sections(sections_end)) return unfit("its directory makes no sense");
        return {};
    }

    void take_sessions(MetaDecoder& in) {
        const auto count = in.take<std::uint32_t>();
        for (std::uint32_t i = 0; i < count && !in.failed(); ++i) {
            SessionStart session;
            session.offset = in.take<std::uint64_t>();
            const auto random = in.take_bytes(session.random.size());
            std::copy(random.begin(), random.end(), session.random.begin());
            contents_.sessions.push_back(session);
        }
    }

    // Sections lie one behind the other and fill the place up to the directory exactly, so none is larger than the file.
    bool place_sections(std::uint64_t end) noexcept {
        std::uint64_t at = meta_header_size;
        const auto place = [&](std::uint64_t count, std::size_t size) {
            if (count > (end - at) / size) return false;
            at += count * size;
            return true;
        };
        for (MetaKeyspace& keyspace : contents_.keyspaces) {
            for (MetaShard& shard : keyspace.shards) {
                shard.at = at;
                if (!place(shard.buckets, meta_bucket_size) || !place(shard.expiring, meta_expiry_size)) return false;
            }
        }
        for (MetaKeyspace& keyspace : contents_.keyspaces) {
            keyspace.order_at = at;
            if (!place(keyspace.ordered, sizeof(std::uint64_t))) return false;
        }
        return at == end;
    }

    std::unique_ptr<File> file_;
    std::string path_;
    std::unique_ptr<const MetaSeal> seal_;  ///< null: not sealed
    [[maybe_unused]] std::uint64_t size_ = 0;  ///< of what is sealed
    MetaContents contents_;
};

/// Writes a checkpoint file under a temporary name, section by section, and puts it into its place at the end; if that is not
/// reached, nothing stays behind. The caller holds the database's lock.
class MetaWriter {
public:
    MetaWriter(FileSystem& files, std::string database)
        : files_(files), database_(std::move(database)), temporary_(meta_temporary_path(database_)) {}
    MetaWriter(const MetaWriter&) = delete;
    MetaWriter& operator=(const MetaWriter&) = delete;
    ~MetaWriter() {
        if (file_ == nullptr) return;
        file_.reset();
        (void)files_.remove(temporary_);  // the error that led here is the one to tell
    }

    /// The temporary is made anew: what somebody left there, perhaps a link, is not written to. `seal` is that of a new checkpoint, or
    /// null.
    Result<void> begin(File& database_file, std::unique_ptr<const MetaSeal> seal) {
        seal_ = std::move(seal);
        if (auto removed = files_.remove(temporary_); !removed) return removed;
        auto file = files_.open(temporary_, OpenMode::create_new);
        if (!file) return std::move(file).error();
        file_ = std::move(*file);
        buffer_.reserve(buffer_size);
        return file_->take_permissions_of(database_file);
    }

    Result<void> append(std::span<const std::byte> bytes) {
#if EMDB_ENCRYPT
        if (seal_ != nullptr) return append_sealed(bytes);
#endif
        if (bytes.size() > buffer_size - buffer_.size()) {
            if (auto written = write_buffer(); !written) return written;
        }
        if (bytes.size() > buffer_size) return write(bytes);
        buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
        return {};
    }

    /// With `durable`, it survives a power cut from here on.
    Result<void> finish(const MetaContents& contents, bool durable) {
        const std::uint64_t directory_at = end_ + buffer_.size();
        const SecretVector<std::byte> directory = encode_meta_directory(contents, seal_ != nullptr);
        if (auto written = append(directory); !written) return written;
        if (auto written = write_buffer(); !written) return written;
        if (auto written = write_header(encode_meta_header(contents, directory_at, directory)); !written) return written;
        if (durable) {
            if (auto synced = file_->sync(); !synced) return synced;
        }
        file_.reset();  // Windows does not rename what is open
        if (auto renamed = files_.rename_replacing(temporary_, meta_path(database_)); !renamed) {
            (void)files_.remove(temporary_);
            return renamed;
        }
        return durable ? files_.sync_directory_of(database_) : Result<void>();
    }

    const MetaSeal* seal() const noexcept { return seal_.get(); }

private:
    static constexpr std::size_t buffer_size = std::size_t{256} << 10;

    Result<void> write_buffer() {
#if EMDB_ENCRYPT
        auto written = seal_ != nullptr && !buffer_.empty() ? write_piece(buffer_) : write(buffer_);
#else
        auto written = write(buffer_);
#endif
        buffer_.clear();
        return written;
    }
#if EMDB_ENCRYPT
    Result<void> append_sealed(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const std::size_t size = (std::min)(bytes.size(), MetaSeal::piece_size - buffer_.size());
            if (size == MetaSeal::piece_size) {
                if (auto written = write_piece(bytes.first(size)); !written) return written;
            } else {
                buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
                if (buffer_.size() == MetaSeal::piece_size) {
                    if (auto written = write_buffer(); !written) return written;
                }
            }
            bytes = bytes.subspan(size);
        }
        return {};
    }
    Result<void> write_piece(std::span<const std::byte> plain) {
        const MetaSeal::Piece piece = MetaSeal::piece_with(end_);
        sealed_.resize(plain.size() + MetaSeal::tag_size);
        seal_->seal(piece.number, plain, sealed_.data());
        if (auto written = file_->write_at(piece.at, sealed_); !written) return written;
        end_ += plain.size();
        return {};
    }
#endif
    Result<void> write_header(std::span<const std::byte> header) {
#if EMDB_ENCRYPT
        if (seal_ != nullptr) {
            std::array<std::byte, sealed_meta_head_size + meta_header_size + MetaSeal::tag_size> bytes;
            std::memcpy(bytes.data(), seal_->head().data(), sealed_meta_head_size);
            seal_->seal(0, header, bytes.data() + sealed_meta_head_size);
            return file_->write_at(0, bytes);
        }
#endif
        return file_->write_at(0, header);
    }
    Result<void> write(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const auto piece = bytes.first((std::min)(bytes.size(), 4 * buffer_size));
            if (auto written = file_->write_at(end_, piece); !written) return written;
            end_ += piece.size();
            bytes = bytes.subspan(piece.size());
        }
        return {};
    }

    FileSystem& files_;
    const std::string database_;
    const std::string temporary_;
    std::unique_ptr<File> file_;
    std::unique_ptr<const MetaSeal> seal_;  ///< null: it is not sealed
    std::uint64_t end_ = meta_header_size;  ///< before what is in the buffer
    SecretVector<std::byte> buffer_;
    std::vector<std::byte> sealed_;
};

/// The part of the journal that must validate for a checkpoint to be used.
struct MetaReplay {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    std::vector<SessionStart> sessions;
};

/// Whether the checkpoint of the database at `database` is whole and fits it. `journal` is the database's file.
inline Result<MetaReplay> check_meta_file(FileSystem& files, const std::string& database, const Header& header,
                                          std::span<const std::byte> journal, const Sealer* sealer) {
    const auto meta = MetaFile::open(files, database, header, journal, sealer);
    if (!meta) return meta.error();
    SecretVector<std::byte> piece;
    const auto check = [&](std::uint64_t at, std::uint64_t size, std::uint32_t expected) -> Result<void> {
        std::uint32_t crc = 0;
        while (size != 0) {
            piece.resize(static_cast<std::size_t>((std::min)(size, std::uint64_t{1} << 20)));
            if (auto read = meta->read_at(at, piece); !read) return read;
            crc = crc32c(piece.data(), piece.size(), crc);
            at += piece.size();
            size -= piece.size();
        }
        return crc == expected ? Result<void>() : meta->unfit("it is damaged");
    };
    for (const MetaKeyspace& keyspace : meta->contents().keyspaces) {
        for (const MetaShard& shard : keyspace.shards) {
            if (auto good = check(shard.at, shard.table_size() + shard.expiring_size(), shard.crc); !good) return good.error();
        }
        if (auto good = check(keyspace.order_at, keyspace.ordered * sizeof(std::uint64_t), keyspace.order_crc); !good) {
            return good.error();
        }
    }
    return MetaReplay{meta->contents().replay_from, meta->contents().complete_to, meta->contents().sessions};
}

}  // namespace emdb::detail
