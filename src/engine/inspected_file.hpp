#pragma once
// A database file opened to be looked at, offline: read-only, whatever state it is in, kept from everybody who would write to it.

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/open_options.hpp"
#include "engine/encryption.hpp"
#include "engine/opening.hpp"
#include "journal/contents.hpp"
#include "journal/header.hpp"
#include "journal/seed_search.hpp"
#include "journal/survey.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

struct InspectedFile {
    std::unique_ptr<File> file;
    std::unique_ptr<SurveyedFile> survey;
    std::optional<Header> header;       ///< nullopt: neither copy is intact
    std::optional<std::uint32_t> seed;  ///< of its frames, from the header or else from the frames themselves
    std::vector<Error> damages;         ///< of the header
    std::unique_ptr<Sealer> sealer;     ///< null: the file is not encrypted

    std::uint64_t size() const noexcept { return survey->size(); }
    FrameCoding coding() const noexcept { return {*seed, sealer.get()}; }
};

/// What opens a file that is to be verified or salvaged.
template <class InspectionOptions>
OpenOptions opening_options([[maybe_unused]] const InspectionOptions& inspection) {
    OpenOptions options;
#if EMDB_ENCRYPT
    if (inspection.encryption) {
        (EncryptionSecret::is_key(*inspection.encryption) ? options.encryption_key : options.encryption_passphrase) = inspection.encryption;
    }
#endif
    return options;
}

class FileInspection {
public:
    /// `path` as the caller gave it; all of them must outlive this.
    FileInspection(Environment& environment, const std::string& path, const OpenOptions& options)
        : environment_(environment), path_(path), options_(options) {}

    /// Opens the file and judges its header. Errors: `io`, `already_locked`; `magic_mismatch`, if nothing of an emdb database can be
    /// found in it; `version_mismatch` and `feature_disabled`, which say that this build can't judge it; `key_required`,
    /// `encryption_key_mismatch` and `not_encrypted`.
    Result<InspectedFile> open() const {
        FileSystem& files = environment_.files();
        auto name = files.absolute(path_);
        if (!name) return std::move(name).error();
        InspectedFile found;
        auto file = files.open(*name, OpenMode::read_only);
        if (!file) return std::move(file).error();
        found.file = std::move(*file);
        // Opened read-only it locks out writers only, so several may look at a file at once.
        auto locked = found.file->try_lock();
        if (!locked) return std::move(locked).error();
        if (!*locked) return EngineOpening{environment_, options_, path_, *name}.already_locked();
        auto size = found.file->size();
        if (!size) return std::move(size).error();
        if (*size > SIZE_MAX) {
            return Error(ErrorCode::too_large, "'" + path_ + "' does not fit into the address space of this program. Use one for 64 bits.");
        }
        Mapping mapping;
        if (*size != 0) {
            auto mapped = found.file->map_read_only(0, static_cast<std::size_t>(*size));
            if (!mapped) return std::move(mapped).error();
            mapping = std::move(*mapped);
        }
        found.survey = std::make_unique<SurveyedFile>(*found.file, std::move(mapping), *size);
        if (auto judged = judge_header(found); !judged) return std::move(judged).error();
        return found;
    }

    Error damage(std::uint64_t offset, const std::string& what) const {
        return Error(ErrorCode::corrupted, "'" + path_ + "' is damaged at offset " + std::to_string(offset) + ": " + what)
            .with_offset(offset);
    }
    Error forgery(std::uint64_t offset) const { return forged_frame_error(path_, offset); }
    Error unopened(std::uint64_t offset) const { return unopened_frame_error(path_, offset); }

private:
    Result<void> judge_header(InspectedFile& found) const {
        if (!found.survey->reach((std::min)(found.size(), journal_start))) return *found.survey->error();
        judge_slots(found);
        auto header = read_header(*found.file, path_);
        if (header) {
            found.header = *header;
            found.seed = header->frame_seed();
            return unlock(found, *header);
        }
        const ErrorCode code = header.error().code();
        if (code != ErrorCode::corrupted && code != ErrorCode::magic_mismatch) return std::move(header).error();
        if (!found.survey->reach((std::min)(found.size(), journal_start + (16 << 20)))) return *found.survey->error();
        if (found.size() > journal_start) found.seed = find_frame_seed(found.survey->bytes(), journal_start, found.size());
        // An empty file would be taken for a new database, so it is one that has lost everything, if it is one at all.
        if (code == ErrorCode::magic_mismatch && !found.seed && found.size() != 0) return std::move(header).error();
        return found.seed ? unlock(found, Header()) : Result<void>();  // the seed can be told of plain frames only
    }

    // Without the key there is no telling which frames make up a batch, or vouch for what, or are records of the same key.
    Result<void> unlock(InspectedFile& found, const Header& header) const {
        OpenedFile opened;
        opened.header = header;
        if (auto unlocked = EngineOpening{environment_, options_, path_, path_}.unlock(opened); !unlocked) return unlocked;
        found.sealer = make_sealer(opened);
        return {};
    }

    void judge_slots(InspectedFile& found) const {
        std::optional<Header> first_intact;
        for (std::uint64_t offset = 0; offset < journal_start; offset += header_slot_size) {
            const std::uint64_t size = found.size() > offset ? (std::min)(found.size() - offset, std::uint64_t{header_slot_size}) : 0;
            std::uint32_t version = 0;
            const auto bytes = size == 0 ? nullptr : found.survey->bytes() + offset;
            const auto header = decode_header({bytes, static_cast<std::size_t>(size)}, version);
            if (!header) {
                found.damages.push_back(damage(offset, offset == 0 ? "the first copy of the header is not intact."
                                                                   : "the second copy of the header is not intact."));
            } else if (!first_intact) {
                first_intact = header;
            } else if (header->file_id != first_intact->file_id) {
                found.damages.push_back(damage(offset, "the two copies of the header belong to different files."));
            }
        }
    }

    Environment& environment_;
    const std::string& path_;
    const OpenOptions& options_;
};

/// Contents to be filled from an inspected file.
inline Result<JournalContents> empty_contents(Environment& environment, const InspectedFile& found) {
    std::array<std::byte, 16> random;
    if (auto filled = environment.fill_random(random); !filled) return std::move(filled).error();
    return JournalContents({found.survey->bytes(), found.size(), found.sealer.get()}, load_le<std::uint64_t>(random.data()),
                           load_le<std::uint64_t>(random.data() + 8));
}

}  // namespace emdb::detail
