#pragma once
// SealedFrame: the encoding of a sealed frame, before it is sealed. See frame.hpp for the format, Sealer for the sealing.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/config.hpp"
#include "base/coding.hpp"
#include "journal/frame.hpp"

#if EMDB_ENCRYPT

namespace emdb::detail {

class SealedFrame {
public:
    explicit SealedFrame(const FrameContent& content) noexcept : content_(content) {
        std::byte* at = head_ + 4;
        *at++ = static_cast<std::byte>(static_cast<std::uint8_t>(content.kind) | content.flags() | frame_is_sealed);
        at = put_varint(at, content.key.size());
        at = put_varint(at, content.value.size());
        if (content.namespace_id != 0) at = put_varint(at, content.namespace_id);
        head_size_ = static_cast<std::size_t>(at - head_) + frame_nonce_size;
    }

    /// Up to the body, with the nonce.
    std::size_t head_size() const noexcept { return head_size_; }
    std::size_t body_size() const noexcept {
        return (content_.expiry_unix_ms != 0 ? sealed_expiry_size : 0) + content_.key.size() + content_.value.size();
    }
    std::uint64_t size() const noexcept { return std::uint64_t{head_size_} + body_size() + frame_tag_size; }

    void put_head(std::byte* at, FrameNonce nonce) noexcept {
        store_le(head_ + head_size_ - frame_nonce_size, nonce.session);
        store_le(head_ + head_size_ - frame_nonce_size + 4, nonce.counter);
        std::memcpy(at, head_, head_size_);
    }
    /// In plaintext.
    void put_body(std::byte* at) const noexcept {
        if (content_.expiry_unix_ms != 0) {
            store_le(at, content_.expiry_unix_ms);
            at += sealed_expiry_size;
        }
        if (!content_.key.empty()) std::memcpy(at, content_.key.data(), content_.key.size());
        at += content_.key.size();
        if (!content_.value.empty()) std::memcpy(at, content_.value.data(), content_.value.size());
    }

    /// A frame whose body is still in plaintext, read as if it had been opened.
    static void read_unsealed(FrameView& frame) noexcept {
        if ((frame.kind_and_flags & frame_has_expiry) == 0) return;
        frame.expiry_unix_ms = load_le<std::uint64_t>(frame.key.data());
        frame.key = Bytes(frame.key.data() + sealed_expiry_size, frame.key.size());
    }

private:
    const FrameContent& content_;
    std::byte head_[frame_head_size_max + frame_nonce_size];
    std::size_t head_size_;
};

}  // namespace emdb::detail

#endif  // EMDB_ENCRYPT
