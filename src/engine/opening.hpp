#pragma once
// From a path to an open, locked file with a good header.
//
// A database never exists half-made: it is built under "<path>.tmp", synced, and given its name only if nothing else has it; the
// name is made durable by the first recovery (Engine::settle_tail).
// The lock is taken on the file itself and then compared with what the path names now: between open() and the lock somebody may
// have put another file there. Whoever finds that the world has moved on starts over.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/database_path.hpp"
#include "engine/engine.hpp"
#include "engine/lock_file.hpp"
#include "engine/recovery.hpp"
#include "journal/header.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

struct OpenedFile {
    std::unique_ptr<File> file;
    Header header;
#if EMDB_ENCRYPT
    std::shared_ptr<const DataKey> data_key;  ///< null: not encrypted
#endif
};

/// Has the header of a new file vouch for itself, if the file is encrypted.
void vouch_for_header(OpenedFile& fresh) noexcept;

/// What opens a file is not kept while it is open.
OpenOptions without_secrets(OpenOptions options);

/// What seals the frames of an opened file; null if nothing does.
std::unique_ptr<Sealer> make_sealer(const OpenedFile& opened);

/// The steps of opening; each returns nullopt where the world has moved on and the caller starts over.
struct EngineOpening {
    Environment& environment;
    const OpenOptions& options;
    const std::string& path;  ///< for messages
    const std::string& name;  ///< absolute
    const char* suffix = ".tmp";  ///< of the name that a new file has until it is complete

    FileSystem& files() const { return environment.files(); }

    Result<OpenedFile> open_or_create() const {
        for (int attempt = 0; attempt < 100; ++attempt) {
            if (auto put_back = put_back_moved_aside(); !put_back) return std::move(put_back).error();
            auto status = files().status(name);
            if (!status) return std::move(status).error();
            auto opened = status->kind == FileKind::absent ? create_new() : open_existing();
            if (!opened) return std::move(opened).error();
            if (*opened) return std::move(**opened);
        }
        return Error(ErrorCode::already_locked, "'" + path + "' is being created, replaced or removed by somebody else all the time. "
                     "Try again later.");
    }

    Error already_locked() const {
        std::string who = "another process or another handle of this one";
        if (const auto holder = read_lock_file(files(), name)) {
            who = "process " + std::to_string(holder->pid) + (holder->hostname.empty() ? "" : " on " + holder->hostname) +
                  " (emdb " + holder->version + ", since " + std::to_string(holder->acquired_at_unix_ms) + " ms)";
        }
        return Error(ErrorCode::already_locked, "'" + path + "' is already open in " + who +
                     ". Close it there first, or share that handle.");
    }

    /// Whether `file` is what `file_name` stands for now. Certain while the file is locked: nobody renames or removes what somebody
    /// else has locked.
    Result<bool> is_current(File& file, const std::string& file_name) const {
        auto identity = file.identity();
        if (!identity) return std::move(identity).error();
        auto status = files().status(file_name);
        if (!status) return std::move(status).error();
        return status->kind == FileKind::regular && status->identity == *identity;
    }

    Result<bool> lock_if_current(File& file, const std::string& file_name) const {
        auto locked = file.try_lock();
        if (!locked || !*locked) return locked;
        return is_current(file, file_name);
    }

    Result<std::optional<OpenedFile>> open_existing() const {
        auto file = files().open(name, OpenMode::read_write);
        if (!file) {
            if (is_not_found(file.error())) return std::optional<OpenedFile>();
            return std::move(file).error();
        }
        auto locked = (*file)->try_lock();
        if (!locked) return std::move(locked).error();
        if (!*locked) return already_locked();
        auto current = is_current(**file, name);
        if (!current) return std::move(current).error();
        if (!*current) return std::optional<OpenedFile>();
        auto size = (*file)->size();
        if (!size) return std::move(size).error();
        if (*size == 0) return create_over_empty(**file);
        auto header = read_header(**file, path);
        if (!header) return std::move(header).error();
        OpenedFile opened;
        opened.header = *header;
        if (auto unlocked = unlock(opened); !unlocked) return std::move(unlocked).error();
        remove_leftover(name + ".tmp", **file);
        remove_leftover(name + ".compact", **file);
        remove_moved_aside(**file);
        opened.file = std::move(*file);
        return std::optional<OpenedFile>(std::move(opened));
    }

    Result<std::optional<OpenedFile>> create_new() const {
        auto made = make_temporary();
        if (!made || !*made) return made;
        auto renamed = files().rename_if_absent(temporary_name(), name);
        if (!renamed) {
            if (is_not_found(renamed.error())) return std::optional<OpenedFile>();
            return std::move(renamed).error();
        }
        if (!*renamed) {
            (void)files().remove(temporary_name());  // somebody else's database came first; ours was never anybody's
            auto status = files().status(name);
            if (status && status->kind == FileKind::absent) {
                return Error(ErrorCode::io, "'" + path + "' is a symbolic link to nothing. Remove it, or create what it points to.");
            }
            return std::optional<OpenedFile>();
        }
        (*made)->file->set_name(path);
        return made;
    }

    /// An empty file, locked by the caller, becomes a database.
    Result<std::optional<OpenedFile>> create_over_empty(File& empty) const {
        auto made = make_temporary();
        if (!made || !*made) return made;
        if (auto kept = (*made)->file->take_permissions_of(empty); !kept) return std::move(kept).error();
        if (auto renamed = files().rename_replacing(temporary_name(), name); !renamed) {
            if (is_not_found(renamed.error())) return std::optional<OpenedFile>();
            return std::move(renamed).error();
        }
        (*made)->file->set_name(path);
        return made;
    }

    std::string temporary_name() const { return name + suffix; }

    /// A new file for a rewritten database, under the temporary name.
    Result<OpenedFile> make_rewritten(const OpenedFile& fresh) const;

    Result<std::optional<OpenedFile>> make_temporary() const {
        auto fresh = new_identity();
        if (!fresh) return std::move(fresh).error();
        return make_temporary(std::move(*fresh));
    }

    /// A locked, synced, empty database under the temporary name, with the header that `fresh` has.
    Result<std::optional<OpenedFile>> make_temporary(OpenedFile fresh) const {
        const std::string temporary = temporary_name();
        auto file = files().open(temporary, OpenMode::create_new);
        if (!file) {
            if (!is_name_taken(file.error())) return std::move(file).error();
            return make_way();
        }
        // Somebody who takes it for a leftover may have been quicker with the lock, and may have removed it.
        auto ours = lock_if_current(**file, temporary);
        if (!ours) {
            // Should it be somebody else's by now: a creator whose temporary file is gone starts over.
            if (const auto current = is_current(**file, temporary); current && *current) (void)files().remove(temporary);
            return std::move(ours).error();
        }
        if (!*ours) return std::optional<OpenedFile>();
        vouch_for_header(fresh);
        if (auto written = write_new(**file, fresh.header); !written) {
            (void)files().remove(temporary);  // the first error is the one to tell
            return std::move(written).error();
        }
        fresh.file = std::move(*file);
        return std::optional<OpenedFile>(std::move(fresh));
    }

    /// The temporary name is taken: by a creator who is at it, or by what one left behind, which is removed but never written to
    /// (it may be a link to anything).
    Result<std::optional<OpenedFile>> make_way() const {
        auto file = files().open(temporary_name(), OpenMode::read_write);
        if (file) {
            auto locked = (*file)->try_lock();
            if (!locked) return std::move(locked).error();
            if (!*locked) return already_locked();
            auto current = is_current(**file, temporary_name());
            if (!current) return std::move(current).error();
            if (!*current) return std::optional<OpenedFile>();
        } else if (is_not_found(file.error())) {
            return std::optional<OpenedFile>();
        }
        if (auto removed = files().remove(temporary_name()); !removed) return std::move(removed).error();
        return std::optional<OpenedFile>();
    }

    /// A new database's header, and its key if it is to be encrypted.
    Result<OpenedFile> new_identity() const {
        std::array<std::byte, 32> random;
        if (auto filled = environment.fill_random(random); !filled) return std::move(filled).error();
        OpenedFile fresh;
        Header& header = fresh.header;
        std::memcpy(header.file_id.data(), random.data(), header.file_id.size());
        header.hash_key_0 = load_le<std::uint64_t>(random.data() + 16);
        header.hash_key_1 = load_le<std::uint64_t>(random.data() + 24);
        if (auto made = make_key(fresh); !made) return std::move(made).error();
        return fresh;
    }

    /// Refuses settings that make no sense, whatever the file is.
    static Result<void> check_encryption(const OpenOptions& options);
#if EMDB_ENCRYPT
    const EncryptionInput* encryption_input() const noexcept;
#endif
    Result<void> make_key(OpenedFile& fresh) const;
    Result<void> unlock(OpenedFile& opened) const;

    static Result<void> write_new(File& file, Header& header) {
        if (auto written = write_header(file, header); !written) return written;
        return file.sync();
    }

    static Result<void> write_header(File& file, Header& header) {
        for (std::uint64_t slot = 0; slot < 2; ++slot) {
            header.write_counter = slot + 1;
            if (auto written = file.write_at(slot * header_slot_size, encode_header(header)); !written) return written;
        }
        return {};
    }

    /// A rename that was cut off has left nothing under the name: what had it comes back, for nothing was written to either file since.
    Result<void> put_back_moved_aside() const {
        const std::string aside = files().aside_name(name);
        if (aside.empty()) return {};
        const auto status = files().status(aside);
        if (!status || status->kind != FileKind::regular) return {};
        auto put_back = files().rename_if_absent(aside, name);
        return put_back ? Result<void>() : std::move(put_back).error();
    }

    /// The old files of compactions, which had to stay as long as they were open. Somebody else's file is left alone.
    void remove_moved_aside(File& database) const {
        const std::string aside = files().aside_name(name);
        if (aside.empty()) return;
        std::vector<std::string> names = files().discarded_names(name);
        names.push_back(aside);
        for (const std::string& moved : names) {
            const auto file = files().open(moved, OpenMode::read_only);
            std::array<std::byte, 8> magic{};
            if (file && (*file)->read_at(0, magic) && header_slot_has_magic(magic)) remove_leftover(moved, database);
        }
    }

    /// A temporary file that a killed creator, backup or compaction left behind; perhaps a second name of this very database. One
    /// that is locked is somebody's who is about to find this database.
    void remove_leftover(const std::string& leftover, File& database) const {
        const auto status = files().status(leftover);
        if (!status || status->kind != FileKind::regular) return;
        const auto identity = database.identity();
        bool abandoned = identity && status->identity == *identity;
        if (!abandoned) {
            auto file = files().open(leftover, OpenMode::read_write);
            if (!file) return;
            const auto locked = (*file)->try_lock();
            abandoned = locked && *locked;
        }
        if (abandoned) (void)files().remove(leftover);  // not worth refusing the database for
    }
};

Engine::Engine(const OpenOptions& options, Environment& environment, std::string path, bool in_memory)
    : options_(without_secrets(options)),
      environment_(environment),
      clock_(options.clock, environment),
      path_(std::move(path)),
      in_memory_(in_memory),
      verify_reads_(options.verify_reads),
      fork_count_(fork_count()),
      pins_(std::make_shared<Pins>()),
      ordered_nodes_(options.range_scans ? std::make_shared<NodePool>() : nullptr) {}

#if EMDB_IO_URING
void Engine::open_ring() {
    if (!options_.io_uring_poll_idle_ms || in_memory_) return;
    int why = 0;
    ring_ = SyncRing::open(*options_.io_uring_poll_idle_ms, why);
    if (ring_ != nullptr) return;
    log(LogLevel::warning, "'" + path_ + "' is synced by system calls: " + system_error("set up", "io_uring", why).message());
}

void Engine::use_ring(File& file) const {
    if (ring_ != nullptr) file.sync_through(ring_);
}
#endif

// Takes over an open file and makes a usable engine of it.
Result<void> Engine::start(OpenedFile opened) {
    auto size = opened.file->size();
    if (!size) return std::move(size).error();
    if (options_.append_mode == AppendMode::mapped && !opened.file->keeps_allocation()) {
        return Error(ErrorCode::invalid_config, "append_mode(mapped) was asked for, but the file system of '" + path_ +
                     "' does not keep allocated space allocated. Use AppendMode::automatic.");
    }
#if EMDB_IO_URING
    open_ring();
    use_ring(*opened.file);
#endif
    hash_key_0_ = opened.header.hash_key_0;
    hash_key_1_ = opened.header.hash_key_1;
    next_namespace_id_ = opened.header.next_namespace_id;
    const bool mapped_append = options_.append_mode != AppendMode::pwrite;
    auto sealer = make_sealer(opened);
    generation_.store(new Generation(std::move(opened.file), opened.header, std::move(sealer), mapped_append, path_),
                      std::memory_order_seq_cst);
    generation().journal().log_to(options_.on_log);
    if (auto mapped = generation().map().open(generation().file(), *size); !mapped) return mapped;
    default_keyspace_ = make_keyspace(0, "");
    if (auto recovered = recover(*size); !recovered) return recovered;
    generation().map().expect_random_reads(generation().file());
    state_.store(State::open, std::memory_order_release);
    return {};
}

Result<std::shared_ptr<Engine>> Engine::open(const OpenOptions& options) {
    watch_forks();
    if (options.flush_policy.kind() == FlushPolicy::Kind::every_n && options.flush_policy.n() == 0) {
        return Error(ErrorCode::invalid_config, "FlushPolicy::every_n(0) would never flush. Give a number of writes from 1 on.");
    }
#if EMDB_ASYNC
    if (options.stream_depth == 0) {
        return Error(ErrorCode::invalid_config, "stream_depth(0) would let no item through. Give a number of items from 1 on.");
    }
#endif
    if (options.auto_compact && !(options.auto_compact->dead_ratio > 0 && options.auto_compact->dead_ratio <= 1)) {
        return Error(ErrorCode::invalid_config, "auto_compact's ratio of dead bytes is to be above 0 and at most 1. Give 0.5 for half of "
                     "the file.");
    }
#if EMDB_TTL
    if (options.default_ttl && options.default_ttl->count() < 0) {
        return Error(ErrorCode::invalid_config, "default_ttl(" + std::to_string(options.default_ttl->count()) +
                     " ms) is negative. Give a duration from 0 on, or leave it out for records that don't expire.");
    }
#endif
    if (auto sensible = EngineOpening::check_encryption(options); !sensible) return std::move(sensible).error();
    if (!options.path && !wants_named_location(options)) return open_in_memory(options);
    Environment& environment = options.environment != nullptr ? *options.environment : native_environment();
    auto path = resolve_database_path(options, environment.files());
    if (!path) return std::move(path).error();
    auto absolute = environment.files().absolute(*path);
    if (!absolute) return std::move(absolute).error();
    const EngineOpening opening{environment, options, *path, *absolute};
    auto opened = opening.open_or_create();
    if (!opened) return std::move(opened).error();

    std::shared_ptr<Engine> engine(new Engine(options, environment, *path, false));
    engine->absolute_path_ = *absolute;
    if (auto started = engine->start(std::move(*opened)); !started) return std::move(started).error();
    LockHolder holder;
    holder.pid = environment.process_id();
    holder.acquired_at_unix_ms = engine->now_unix_ms();
    holder.schema_version = lock_schema_version;
    holder.version = EMDB_VERSION_STRING;
    holder.hostname = environment.host_name();
    if (auto started = engine->start_auto_compaction(); !started) return std::move(started).error();
    if (auto written = write_lock_file(environment.files(), *absolute, holder); !written) {
        engine->log(LogLevel::warning, "The lock file of '" + *path + "' could not be written (it is only informative): " +
                                           written.error().message());
    }
    return engine;
}

Result<std::unique_ptr<File>> Engine::make_memory_database(Header& header) {
    auto file = make_memory_file();
    if (!file) return file;
    if (auto written = EngineOpening::write_header(**file, header); !written) return std::move(written).error();
    return file;
}

Result<std::shared_ptr<Engine>> Engine::open_in_memory(const OpenOptions& options) {
    watch_forks();
    Environment& environment = options.environment != nullptr ? *options.environment : native_environment();
    static const std::string name = ":memory:";
    const EngineOpening opening{environment, options, name, name};
    auto fresh = opening.new_identity();
    if (!fresh) return std::move(fresh).error();
    auto file = make_memory_database(fresh->header);
    if (!file) return std::move(file).error();
    fresh->file = std::move(*file);
    std::shared_ptr<Engine> engine(new Engine(options, environment, name, true));
    if (auto started = engine->start(std::move(*fresh)); !started) return std::move(started).error();
    if (auto started = engine->start_auto_compaction(); !started) return std::move(started).error();
    return engine;
}

std::shared_ptr<KeyspaceState> Engine::make_keyspace(std::uint32_t id, std::string name) {
    return std::make_shared<KeyspaceState>(id, std::move(name), pins_, std::make_unique<KeyspaceIndex>(generation(), pins_));
}

void Engine::log(LogLevel level, std::string_view message) const {
    if (options_.on_log) options_.on_log(level, message);
}

}  // namespace emdb::detail
