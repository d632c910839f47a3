#pragma once
// NewJournal: a journal written from front to back into a file that nobody else uses yet.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/coding.hpp"
#include "base/result.hpp"
#include "crypto/plain_text.hpp"
#include "journal/batch_buffer.hpp"
#include "journal/frame.hpp"
#include "journal/header.hpp"
#include "journal/sealed_frame.hpp"
#include "journal/sealer.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

class NewJournal {
public:
    /// `file` holds its header and nothing else.
    NewJournal(File& file, FrameCoding coding, Environment& environment) : file_(file), coding_(coding), environment_(environment) {}

    Result<void> append(const FrameContent& content) {
#if EMDB_ENCRYPT
        if (coding_.sealer != nullptr && content.kind != FrameKind::session) return append_sealed(content);
#endif
        FrameHead head(content, coding_.seed);
        head.finish(end());
        const std::span<const std::byte> parts[] = {
            {head.data(), head.size()}, {content.key.data(), content.key.size()}, {content.value.data(), content.value.size()}};
        for (const auto part : parts) {
            if (auto taken = take(part); !taken) return taken;
        }
        return {};
    }

    /// Makes the journal durable, closed as a clean close does it.
    Result<void> finish() {
        if (auto written = write_out(); !written) return written;
        if (auto synced = file_.sync(); !synced) return synced;
        std::byte value[mark_value_size];
        store_le(value, end());
        FrameContent mark;
        mark.kind = FrameKind::close_mark;
        mark.value = Bytes(value, sizeof value);
        if (auto appended = append(mark); !appended) return appended;
        if (auto written = write_out(); !written) return written;
        return file_.sync();
    }

private:
    static constexpr std::size_t buffer_size = std::size_t{1} << 20;

    std::uint64_t end() const noexcept { return written_ + buffer_.size(); }

#if EMDB_ENCRYPT
    Result<void> append_sealed(const FrameContent& content) {
        if (coding_.sealer->wants_session()) {
            if (auto begun = begin_session(); !begun) return begun;
        }
        SealedFrame encoded(content);
        PlainText text;
        const auto size = static_cast<std::size_t>(encoded.size());
        std::byte* const frame = text.make(size);
        if (frame == nullptr) return out_of_memory();
        encoded.put_head(frame, coding_.sealer->take_nonces(1, size));
        encoded.put_body(frame + encoded.head_size());
        coding_.sealer->seal(frame, encoded.head_size(), {frame + encoded.head_size(), encoded.body_size()}, end());
        store_frame_crc(frame, size, end(), coding_.seed);
        return take({frame, size});
    }

    Result<void> begin_session() {
        Sealer& sealer = *coding_.sealer;
        SessionRandom random;
        if (auto filled = environment_.fill_random(random); !filled) return filled;
        const std::uint64_t offset = end();
        const Sealer::SessionValue value = sealer.make_session_value(random, offset);
        FrameContent content;
        content.kind = FrameKind::session;
        content.value = Bytes(value.data(), value.size());
        if (auto appended = append(content); !appended) return appended;
        return sealer.add_session(random, offset) && sealer.begin_sealing() ? Result<void>() : Result<void>(out_of_memory());
    }

    static Error out_of_memory() { return Error(ErrorCode::io, "Out of memory for sealing a record. Free some."); }
#endif

    Result<void> take(std::span<const std::byte> part) {
        if (buffer_.size() + part.size() > buffer_size) {
            if (auto written = write_out(); !written) return written;
        }
        if (part.size() > buffer_size) {
            if (auto written = file_.write_at(written_, part); !written) return written;
            written_ += part.size();
            return {};
        }
        buffer_.insert(buffer_.end(), part.begin(), part.end());
        return {};
    }

    Result<void> write_out() {
        if (buffer_.empty()) return {};
        if (auto written = file_.write_at(written_, buffer_); !written) return written;
        written_ += buffer_.size();
        buffer_.clear();
        return {};
    }

    File& file_;
    const FrameCoding coding_;
    [[maybe_unused]] Environment& environment_;
    std::uint64_t written_ = journal_start;
    std::vector<std::byte> buffer_;
};

}  // namespace emdb::detail
