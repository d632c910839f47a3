#pragma once
// Emdb::verify: what is in a file, and what is no more.
//
// Torn and damaged are told apart as recovery does it: the first frame that is not intact is damage if a mark behind it vouches for
// its place, and then the walk goes on; else the journal ends there, and what lies behind is a torn tail.

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/inspection.hpp"
#include "engine/inspected_file.hpp"
#include "journal/contents.hpp"
#include "journal/frame_rules.hpp"
#include "journal/meta_file.hpp"
#include "journal/replay.hpp"
#include "journal/survey.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

/// Whether the checkpoint beside a database would be used by the next open.
inline bool meta_is_usable(Environment& environment, const std::string& path, const InspectedFile& file) {
    struct Nowhere {
        Result<void> apply(std::uint64_t, const FrameView&) { return {}; }
    };
    if (!file.header || !file.seed || !file.survey->reach(file.size())) return false;
    const auto name = environment.files().absolute(path);
    if (!name) return false;
    const std::byte* const journal = file.survey->bytes();
    const auto fits = check_meta_file(environment.files(), *name, *file.header, {journal, static_cast<std::size_t>(file.size())},
                                      file.sealer.get());
    if (!fits) return false;
    std::unique_ptr<Sealer> sealer;  // one that knows what the checkpoint says, and no more
#if EMDB_ENCRYPT
    if (file.sealer != nullptr) {
        sealer = std::make_unique<Sealer>(file.sealer->cipher(), file.sealer->key(), file.header->file_id);
        if (!sealer->add_sessions(fits->sessions)) return false;
    }
#endif
    ReplaySummary before;
    before.end = fits->from;
    Nowhere nowhere;
    const auto replayed = JournalReplay(journal, file.size(), {*file.seed, sealer.get()}, path).run(nowhere, before);
    return replayed && replayed->end >= fits->to;
}

/// What the survey reports to.
class Verification {
public:
    Verification(const FileInspection& inspection, const InspectedFile& file, JournalContents& contents, VerifyReport& report)
        : inspection_(inspection), file_(file), contents_(contents), report_(report) {}

    void frame(std::uint64_t offset, const FrameView& frame) {
        if (offset >= tail_) return;
        count(frame);
        std::uint64_t durable = 0;
        if (!frame_is_known(frame, file_.sealer != nullptr)) {
            add(Error(ErrorCode::feature_disabled, "The frame at offset " + std::to_string(offset) + " is of a kind that this build "
                      "of emdb " + EMDB_VERSION_STRING + " does not know. Use the emdb that wrote it.")
                    .with_offset(offset));
        } else if (frame_is_mark(frame)) {
            if (!mark_makes_sense(frame, offset, durable)) add(inspection_.damage(offset, "a sync mark makes no sense."));
        } else if (!contents_.apply(offset, frame)) {
            add(inspection_.damage(offset, "the frame there belongs to a namespace that does not fit."));
        }
    }

    void batch(std::uint64_t offset, const FrameView& head, const SurveyedBatch& batch) {
        if (batch.state == SurveyedBatch::State::unfinished) not_intact(offset, batch.bad_offset);
        if (offset >= tail_) return;
        count(head);
        if (batch.state == SurveyedBatch::State::senseless) add(inspection_.damage(batch.bad_offset, "a batch makes no sense."));
        if (batch.state == SurveyedBatch::State::forged) add_forgery(batch.bad_offset);
    }

    void unopened(std::uint64_t offset, const FrameView&, Seal seal) {
        if (offset >= tail_) return;
        if (seal == Seal::forged) return add_forgery(offset);
        if (seal == Seal::no_memory) return add(inspection_.unopened(offset));
        add(inspection_.damage(offset, "the frame there is intact, but its session began where the file is damaged, and without that it "
                                       "can't be opened."));
    }

    void gap(std::uint64_t from, std::uint64_t) { not_intact(from, from); }

    /// Counts a damage, and keeps it if it is one of the first.
    void add(Error damage) {
        constexpr std::size_t kept_max = 100;
        ++report_.damage_count;
        if (report_.damages.size() < kept_max) report_.damages.push_back(std::move(damage));
    }

private:
    // A member of a batch comes by twice.
    void add_forgery(std::uint64_t offset) {
        if (offset != last_forgery_) add(inspection_.forgery(last_forgery_ = offset));
    }

    void count(const FrameView& frame) noexcept {
        ++report_.frames;
        report_.bytes_checked += frame.size;
    }

    // The unit at `end` (a frame, or a batch with its members) is not intact, for what is at `first_bad`.
    void not_intact(std::uint64_t end, std::uint64_t first_bad) {
        if (end >= tail_ || first_bad == last_damage_) return;
        if (!vouched_) {
            if (!file_.survey->reach(file_.size())) return;  // the survey ends with the error
            vouched_ = vouched_by_marks_behind(file_.survey->bytes(), file_.size(), end, file_.coding());
        }
        if (*vouched_ > end) {
            last_damage_ = first_bad;
            add(inspection_.damage(first_bad, "what is there had reached the disk intact (a later sync mark says so), and is not "
                                              "intact now."));
            return;
        }
        tail_ = end;
        report_.torn_tail = bytes_before_zeros(file_.survey->bytes(), end, file_.size()) != 0;
    }

    const FileInspection& inspection_;
    const InspectedFile& file_;
    JournalContents& contents_;
    VerifyReport& report_;
    std::optional<std::uint64_t> vouched_;  ///< up to where, asked at the first place that is not intact
    std::uint64_t last_damage_ = 0;
    std::uint64_t last_forgery_ = 0;
    std::uint64_t tail_ = (std::numeric_limits<std::uint64_t>::max)();  ///< where the torn tail or the free space begins
};

inline Result<VerifyReport> verify_database(Environment& environment, const std::string& path, const VerifyOptions& options) {
    const OpenOptions opening = opening_options(options);
    const FileInspection inspection(environment, path, opening);
    auto file = inspection.open();
    if (!file) return std::move(file).error();
    auto contents = empty_contents(environment, *file);
    if (!contents) return std::move(contents).error();
    VerifyReport report;
    Verification verification(inspection, *file, *contents, report);
    for (Error& damage : file->damages) verification.add(std::move(damage));
    report.bytes_checked = journal_start - header_slot_size * report.damage_count;
    if (file->seed) {
        JournalSurvey survey(*file->survey, file->coding());
        const auto walked = survey.run(verification, [&](std::uint64_t done) {
            if (options.progress) options.progress(done, file->size());
        });
        if (!walked) verification.add(walked.error());
    } else if (file->size() > journal_start) {
        verification.add(inspection.damage(journal_start, "without a header, nothing can be told from what is there."));
    }
    report.live_records = contents->live_records();
    report.meta_usable = meta_is_usable(environment, path, *file);
    return report;
}

}  // namespace emdb::detail
