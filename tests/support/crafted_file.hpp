#pragma once
// A database file made frame by frame, also in ways in which emdb never would.
//
// Needs the implementation half of emdb.hpp (EMDB_IMPLEMENTATION defined before its first include).

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "emdb.hpp"

namespace emdb_test {

class CraftedFile {
public:
    CraftedFile() {
        header_.hash_key_0 = 1;
        for (std::uint64_t slot = 0; slot < 2; ++slot) {
            header_.write_counter = slot + 1;
            const auto encoded = emdb::detail::encode_header(header_);
            bytes_.append(reinterpret_cast<const char*>(encoded.data()), encoded.size());
        }
    }

    const std::string& bytes() const noexcept { return bytes_; }
    std::string& bytes() noexcept { return bytes_; }
    const emdb::detail::Header& header() const noexcept { return header_; }
    std::uint64_t size() const noexcept { return bytes_.size(); }
    void raw(std::string_view bytes) { bytes_ += bytes; }

    /// Appends an intact frame and returns its offset.
    std::uint64_t frame(const emdb::detail::FrameContent& content) {
        const std::uint64_t offset = bytes_.size();
        emdb::detail::FrameHead head(content, header_.frame_seed());
        head.finish(offset);
        bytes_.append(reinterpret_cast<const char*>(head.data()), head.size());
        bytes_ += content.key.as_string_view();
        bytes_ += content.value.as_string_view();
        return offset;
    }
    std::uint64_t frame(emdb::detail::FrameKind kind, std::uint32_t namespace_id = 0, std::string_view key = "",
                        std::string_view value = "") {
        emdb::detail::FrameContent content;
        content.kind = kind;
        content.namespace_id = namespace_id;
        content.key = key;
        content.value = value;
        return frame(content);
    }
    std::uint64_t put(std::string_view key, std::string_view value, std::uint32_t namespace_id = 0) {
        return frame(emdb::detail::FrameKind::put, namespace_id, key, value);
    }
    std::uint64_t batch(std::uint64_t length, std::uint32_t count) {
        std::byte value[emdb::detail::batch_value_size];
        emdb::detail::store_le(value, length);
        emdb::detail::store_le(value + 8, count);
        return frame(emdb::detail::FrameKind::batch, 0, "", text(value, sizeof value));
    }
    std::uint64_t mark(emdb::detail::FrameKind kind, std::uint64_t durable) {
        std::byte value[emdb::detail::mark_value_size];
        emdb::detail::store_le(value, durable);
        return frame(kind, 0, "", text(value, sizeof value));
    }
    std::uint64_t close_mark() { return mark(emdb::detail::FrameKind::close_mark, size()); }

private:
    static std::string_view text(const std::byte* data, std::size_t size) { return {reinterpret_cast<const char*>(data), size}; }

    emdb::detail::Header header_;
    std::string bytes_;
};

}  // namespace emdb_test
