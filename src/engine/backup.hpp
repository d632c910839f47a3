#pragma once
// The life of a backup: a rewrite, without an index, under the target's temporary name while everybody goes on -> all stripes for
// the last frames: the moment that the backup shows -> synced -> renamed -> closed like any database.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "engine/compaction.hpp"
#include "engine/engine.hpp"
#include "engine/opening.hpp"
#include "engine/rewrite.hpp"

namespace emdb::detail {

/// What a backup may be written over: nothing, an empty file, or a database that nobody has open, which stays locked meanwhile.
class BackupTarget {
public:
    BackupTarget(Environment& environment, const OpenOptions& options, const std::string& path, std::string absolute)
        : environment_(environment), options_(options), files_(environment.files()), path_(path), absolute_(std::move(absolute)) {}

    /// `source` is null for a database in memory.
    Result<void> check(File* source, const std::string& source_name) {
        for (const char* suffix : {"", ".meta", ".lock", ".tmp", ".compact", ".old"}) {
            if (absolute_ == source_name + suffix) return refused("that is the database itself, or one of its own files");
        }
        const EngineOpening naming{environment_, options_, path_, absolute_};
        if (auto put_back = naming.put_back_moved_aside(); !put_back) return put_back;
        auto status = files_.status(absolute_);
        if (!status) return std::move(status).error();
        if (status->kind == FileKind::absent) return {};
        if (status->kind != FileKind::regular) return refused("that is not a file");
        if (source != nullptr) {
            const auto identity = source->identity();
            if (!identity) return identity.error();
            if (status->identity == *identity) return refused("that is the database itself");
        }
        return lock_existing();
    }

    /// The file that is replaced; null: none.
    File* replaced() const noexcept { return replaced_.get(); }

    /// For good.
    Result<void> put_in_place(const std::string& temporary) const {
        if (replaced_ != nullptr) {
            if (auto renamed = files_.rename_replacing(temporary, absolute_); !renamed) return renamed;
        } else {
            auto renamed = files_.rename_if_absent(temporary, absolute_);
            if (!renamed) return std::move(renamed).error();
            if (!*renamed) return refused("somebody else has put a file there meanwhile");
        }
        return files_.sync_directory_of(absolute_);
    }

private:
    Result<void> lock_existing() {
        auto file = files_.open(absolute_, OpenMode::read_write);
        if (!file) return std::move(file).error();
        auto locked = (*file)->try_lock();
        if (!locked) return std::move(locked).error();
        const EngineOpening naming{environment_, options_, path_, absolute_};
        auto current = *locked ? naming.is_current(**file, absolute_) : Result<bool>(false);
        if (!current) return std::move(current).error();
        if (!*current) {
            return Error(ErrorCode::already_locked, "A backup can't replace '" + path_ + "', which somebody has open. Close it there, "
                         "or give another name.");
        }
        auto size = (*file)->size();
        if (!size) return std::move(size).error();
        std::array<std::byte, 8> magic{};
        if (auto read = (*file)->read_at(0, magic); !read) return std::move(read).error();
        if (*size != 0 && !header_slot_has_magic(magic)) return refused("there is a file that is no emdb database");
        replaced_ = std::move(*file);
        return {};
    }

    Error refused(const char* why) const {
        return Error(ErrorCode::invalid_argument, "A backup can't be written to '" + path_ + "': " + why + ". Give another name.");
    }

    Environment& environment_;
    const OpenOptions& options_;
    FileSystem& files_;
    const std::string& path_;
    const std::string absolute_;
    std::unique_ptr<File> replaced_;
};

Result<void> Engine::backup_to(const std::string& target) {
    if (auto allowed = refuse_write(); !allowed) return allowed;
    const std::lock_guard maintenance(maintenance_);
    if (!usable(*default_keyspace_)) return stopped_error();
    auto absolute = environment_.files().absolute(target);
    if (!absolute) return std::move(absolute).error();
    BackupTarget place(environment_, options_, target, *absolute);
    const GenerationRef source = reference();
    if (auto fit = place.check(in_memory_ ? nullptr : &source->file(), absolute_path_); !fit) return fit;
    const EngineOpening naming{environment_, options_, target, *absolute};
    TemporaryFile temporary(environment_.files(), naming.temporary_name());
    Rewrite rewrite(*this, Rewrite::Index::none);
    auto copied = rewrite.run([&](const OpenedFile& fresh) -> Result<OpenedFile> {
        auto made = naming.make_rewritten(fresh);
        if (!made) return made;
        temporary.made();
        // Nobody may read in the backup what they can't read in the database.
        File* const like = place.replaced() != nullptr ? place.replaced() : in_memory_ ? nullptr : &source->file();
        if (like == nullptr) return made;
        if (auto kept = made->file->take_permissions_of(*like); !kept) return std::move(kept).error();
        return made;
    });
    if (!copied) return copied;
    {
        const WritersStandBack stand_back(*this);
        const AllStripes lock(*this);
        if (auto finished = rewrite.finish(); !finished) return finished;
    }
    Flusher& flusher = rewrite.target().generation().flusher();
    if (auto flushed = flusher.flush(true); !flushed) return flushed;
    // A directory that can't be synced is better found out before the rename.
    if (auto synced = environment_.files().sync_directory_of(*absolute); !synced) return synced;
    if (auto placed = place.put_in_place(temporary.name()); !placed) return placed;
    temporary.keep();
    // Whoever opens a database that was not closed makes its name durable first, so this comes last. Not worth an error: it saves
    // that opening some time, no more.
    (void)flusher.close();
    return {};
}

}  // namespace emdb::detail
