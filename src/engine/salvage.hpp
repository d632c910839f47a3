#pragma once
// Emdb::salvage: what is intact of a damaged file, as a new database.
//
//   survey    every intact frame is applied in order: what is left is the places of the live records
//   copy      namespaces and records, in the order of the file, into "<to>.tmp"
//   commit    sync, then the name, if nothing else has taken it
//
// Damage may hide anything, so what it hid may come back: a removed record, or an older value. An encrypted file's new database has the
// same cipher and opens with the same key or passphrase, but has a data key of its own.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/config.hpp"
#include "base/inspection.hpp"
#include "base/open_options.hpp"
#include "engine/compaction.hpp"
#include "engine/inspected_file.hpp"
#include "engine/opening.hpp"
#include "journal/contents.hpp"
#include "journal/frame_rules.hpp"
#include "journal/new_journal.hpp"
#include "journal/survey.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

/// What the survey reports to.
class SalvageCollection {
public:
    SalvageCollection(const InspectedFile& file, JournalSurvey& survey, JournalContents& contents, const SalvageOptions& options,
                      SalvageReport& report)
        : file_(file), survey_(survey), contents_(contents), options_(options), report_(report) {}

    bool has_expiring_records() const noexcept { return has_expiring_records_; }

    void frame(std::uint64_t offset, const FrameView& frame) {
        if (!frame_is_known(frame, file_.sealer != nullptr) || offset < skipped_until_) return skip(frame.size);
        has_expiring_records_ = has_expiring_records_ || frame.expiry_unix_ms != 0;
        contents_.apply(offset, frame);
    }

    void batch(std::uint64_t offset, const FrameView& head, const SurveyedBatch& batch) {
        const bool finished = batch.state != SurveyedBatch::State::unfinished || was_followed(offset, batch);
        if (!finished && !options_.unfinished_batch) skipped_until_ = batch.end;
        if (offset < skipped_until_) skip(head.size);
    }

    void unopened(std::uint64_t offset, const FrameView& frame, Seal seal) {
        if (seal == Seal::no_memory && !without_memory_) without_memory_ = offset;
        skip(frame.size);
    }
    /// The first frame that nobody could look into for want of memory: what was collected is not all there is.
    std::optional<std::uint64_t> without_memory() const noexcept { return without_memory_; }

    void gap(std::uint64_t from, std::uint64_t to) {
        const bool at_end = to == file_.size();
        const std::uint64_t bytes = at_end ? bytes_before_zeros(file_.survey->bytes(), from, to) : to - from;
        if (bytes != 0) skip(bytes);
    }

private:
    void skip(std::uint64_t bytes) noexcept {
        ++report_.frames_skipped;
        report_.bytes_skipped += bytes;
    }

    // Whether anything says that a batch was committed. Nobody else appends while one is written, so whatever lies behind it was
    // appended after that; but for a mark of an earlier sync, which vouches only for what lies before the batch.
    bool was_followed(std::uint64_t head_offset, const SurveyedBatch& batch) {
        if (!searched_) {
            if (!file_.survey->reach(file_.size())) return false;  // the survey ends with the error
            // Asked for the first time: the answers are good for all batches further on.
            searched_ = true;
            last_content_ = survey_.last_content_frame(batch.bad_offset + 1);
            vouched_ = vouched_by_marks_behind(file_.survey->bytes(), file_.size(), head_offset, file_.coding());
        }
        return last_content_ >= batch.end || vouched_ > head_offset;
    }

    const InspectedFile& file_;
    JournalSurvey& survey_;
    JournalContents& contents_;
    const SalvageOptions& options_;
    SalvageReport& report_;
    std::uint64_t skipped_until_ = 0;
    bool has_expiring_records_ = false;
    std::optional<std::uint64_t> without_memory_;
    bool searched_ = false;
    std::uint64_t last_content_ = 0;
    std::uint64_t vouched_ = 0;
};

class Salvage {
public:
    /// All of them must outlive this.
    Salvage(Environment& environment, const std::string& from, const std::string& to, const SalvageOptions& options)
        : environment_(environment), from_(from), to_(to), options_(options) {}

    Result<SalvageReport> run() {
        OpenOptions opening = opening_options(options_);
        const FileInspection inspection(environment_, from_, opening);
        auto opened = inspection.open();
        if (!opened) return std::move(opened).error();
        InspectedFile file = std::move(*opened);
        if (auto free = check_target(*file.file); !free) return std::move(free).error();
        if (!file.seed) {
            return Error(ErrorCode::corrupted, "Nothing can be salvaged from '" + from_ + "': both copies of its header are lost, and "
                         "it has no two intact records side by side that would tell what they said. Restore the file from a backup.");
        }
        auto contents = empty_contents(environment_, file);
        if (!contents) return std::move(contents).error();
        SalvageReport report;
        JournalSurvey survey(*file.survey, file.coding());
        SalvageCollection collection(file, survey, *contents, options_, report);
        const auto walked = survey.run(collection, [&](std::uint64_t done) { tell(done, file); });
        if (!walked) return walked.error();
        if (const auto offset = collection.without_memory()) return unopened_frame_error(from_, *offset);
        if (collection.has_expiring_records() && EMDB_TTL == 0) {
            return Error(ErrorCode::feature_disabled, "'" + from_ + "' has records that expire, and this program was built with "
                         "EMDB_TTL=0. Build it with EMDB_TTL=1.");
        }
#if EMDB_ENCRYPT
        if (file.sealer != nullptr) opening.cipher = file.sealer->cipher();
#endif
        if (auto made = make_target(file, *contents, opening); !made) return std::move(made).error();
        report.records_written = contents->live_records();
        return report;
    }

private:
    Result<void> check_target(File& from) {
        FileSystem& files = environment_.files();
        auto name = files.absolute(to_);
        if (!name) return std::move(name).error();
        target_ = std::move(*name);
        auto status = files.status(target_);
        if (!status) return std::move(status).error();
        if (status->kind == FileKind::absent) return {};
        auto identity = from.identity();
        if (!identity) return std::move(identity).error();
        if (status->identity == *identity) {
            return Error(ErrorCode::invalid_argument, "'" + to_ + "' is the damaged file '" + from_ + "' itself. Nothing was changed. "
                         "Salvage into a new file.");
        }
        return target_exists();
    }

    Error target_exists() const {
        return Error(ErrorCode::invalid_argument, "'" + to_ + "' exists already and was not touched. Salvage into a new file.");
    }

    Result<void> make_target(const InspectedFile& file, const JournalContents& contents, const OpenOptions& opening) {
        FileSystem& files = environment_.files();
        const EngineOpening naming{environment_, opening, to_, target_};
        auto fresh = naming.new_identity();
        if (!fresh) return std::move(fresh).error();
        TemporaryFile temporary(files, naming.temporary_name());
        auto made = naming.make_rewritten(*fresh);
        if (!made) return std::move(made).error();
        temporary.made();
        if (auto written = write(*made, file, contents); !written) return written;
        auto renamed = files.rename_if_absent(temporary.name(), target_);
        if (!renamed) return std::move(renamed).error();
        if (!*renamed) return target_exists();
        temporary.keep();
        return files.sync_directory_of(target_);
    }

    Result<void> write(const OpenedFile& target, const InspectedFile& file, const JournalContents& contents) {
        if (auto kept = target.file->take_permissions_of(*file.file); !kept) return kept;
        const auto sealer = make_sealer(target);
        NewJournal journal(*target.file, {target.header.frame_seed(), sealer.get()}, environment_);
        std::vector<std::uint64_t> offsets;
        for (const auto& [id, keyspace] : contents.keyspaces()) {
            for (const JournalContents::Place& place : keyspace.places) offsets.push_back(place.offset);
            if (id == 0) continue;
            const std::string name = name_of(id, keyspace, contents);
            FrameContent creation;
            creation.kind = FrameKind::namespace_create;
            creation.namespace_id = id;
            creation.key = name;
            if (auto appended = journal.append(creation); !appended) return appended;
        }
        std::sort(offsets.begin(), offsets.end());
        std::uint64_t told = 0;
        for (const std::uint64_t offset : offsets) {
            FrameView frame;
            PlainText text;
            if (!contents.frames().read(offset, frame, text)) return Error(ErrorCode::io, "Out of memory for opening a record. Free some.");
            FrameContent record;
            record.namespace_id = frame.namespace_id;
            record.expiry_unix_ms = frame.expiry_unix_ms;
            record.key = frame.key;
            record.value = frame.value;
            if (auto appended = journal.append(record); !appended) return appended;
            if (offset - told >= progress_step) tell(file.size() + (told = offset), file);
        }
        if (auto finished = journal.finish(); !finished) return finished;
        tell(2 * file.size(), file);
        return {};
    }

    static std::string name_of(std::uint32_t id, const JournalContents::Keyspace& keyspace, const JournalContents& contents) {
        if (!keyspace.name.empty()) return keyspace.name;
        std::string name = "lost namespace " + std::to_string(id);
        while (contents.has_namespace(name)) name += '\'';
        return name;
    }

    void tell(std::uint64_t done, const InspectedFile& file) const {
        if (options_.progress) options_.progress(done, 2 * file.size());
    }

    static constexpr std::uint64_t progress_step = std::uint64_t{1} << 20;

    Environment& environment_;
    const std::string& from_;
    const std::string& to_;
    const SalvageOptions& options_;
    std::string target_;  ///< to_, absolute
};

inline Result<SalvageReport> salvage_database(Environment& environment, const std::string& from, const std::string& to,
                                              const SalvageOptions& options) {
    return Salvage(environment, from, to, options).run();
}

}  // namespace emdb::detail
