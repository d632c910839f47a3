#pragma once
// iter and keys: a walk through the index in hash order, some buckets at a time, with frames fetched ahead.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.hpp"
#include "journal/frame_prefetch.hpp"

namespace emdb::detail {

/// Holds no lock and no pin between steps, only a reference on the generation: it may outlive the engine.
class HashIterationSource final : public RecordSource {
public:
    HashIterationSource(const Engine& engine, std::shared_ptr<KeyspaceState> keyspace, const KeyspaceIndex& index)
        : path_(engine.path()),
          verify_(engine.verify_reads_),
          clock_(engine.clock_),
          fork_count_(engine.fork_count_),
          keyspace_(std::move(keyspace)),
          in_(index) {
        offsets_.reserve(2 * batch);
    }

    bool next(RecordView& record) override {
        FrameView frame;
        do {
            if (!step(frame)) return false;
        } while (clock_.has_expired(frame));
        record = {frame.key.as_string_view(), frame.value.as_string_view()};
        return true;
    }

    Result<void> status() const override { return failed_ ? Result<void>(*failed_) : Result<void>(); }

private:
    static constexpr std::size_t batch = 64;
    static constexpr std::size_t ahead = 8;

    bool step(FrameView& frame) {
        while (next_ == offsets_.size()) {
            if (failed_ || cursor_.at_end()) return false;
            if (fork_count_ != fork_count()) {
                // A writer that the fork left behind in the parent may seem to be changing the index for ever.
                failed_ = Error(ErrorCode::stopped, "The iterator over '" + path_ + "' was made before this process was forked. Make one "
                                "on a database that was opened in this process.");
                return false;
            }
            refill();
        }
        const Journal& journal = in_.journal();
        if (next_ + ahead < offsets_.size()) prefetch_frame(journal.address(offsets_[next_ + ahead]));
        const std::uint64_t offset = offsets_[next_++];
        if (!journal.read(offset, verify_, frame, text_)) {
            failed_ = damaged_record_error(path_, journal, offset);
            offsets_.clear();
            next_ = 0;
            return false;
        }
        return true;
    }

    void refill() {
        offsets_.clear();
        next_ = 0;
        const Pins::Pin pin(*keyspace_->pins);
        while (offsets_.size() < batch && !cursor_.at_end()) in_.index.hash.collect(cursor_, offsets_);
        for (std::size_t i = 0; i < (std::min)(ahead, offsets_.size()); ++i) {
            prefetch_frame(in_.journal().address(offsets_[i]));
        }
    }

    const std::string path_;
    const bool verify_;
    const ExpiryClock clock_;
    const std::uint32_t fork_count_;
    const std::shared_ptr<KeyspaceState> keyspace_;
    const IndexRef in_;
    HashIndex::Cursor cursor_;
    std::vector<std::uint64_t> offsets_;
    std::size_t next_ = 0;
    PlainText text_;
    std::optional<Error> failed_;
};

Result<std::unique_ptr<RecordSource>> Engine::iterate(const std::shared_ptr<KeyspaceState>& keyspace) const {
    if (!usable(*keyspace)) return why_unusable(*keyspace);
    const Pins::Pin pin(*pins_);
    return std::unique_ptr<RecordSource>(std::make_unique<HashIterationSource>(*this, keyspace, keyspace->index()));
}

}  // namespace emdb::detail
