#pragma once
// NewJournal: a journal written from front to back into a file that nobody else uses yet.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/coding.hpp"
#include "base/result.hpp"
#include "journal/frame.hpp"
#include "journal/header.hpp"
#include "os/contract.hpp"

namespace emdb::detail {

class NewJournal {
public:
    /// `file` holds its header and nothing else.
    NewJournal(File& file, std::uint32_t seed) : file_(file), seed_(seed) {}

    Result<void> append(const FrameContent& content) {
        FrameHead head(content, seed_);
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
    const std::uint32_t seed_;
    std::uint64_t written_ = journal_start;
    std::vector<std::byte> buffer_;
};

}  // namespace emdb::detail
