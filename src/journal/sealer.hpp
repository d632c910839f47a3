#pragma once
// Sealer: seals and opens the frames of one encrypted file.
//
// Records are not sealed with the file's data key but with those of sessions. A session begins with a frame of its own, in which 32
// random bytes stand; its key is keyed BLAKE2b of these, of the file id and of the session's number under the data key. Within a
// session a frame's nonce is a counter, which the frame holds. So no (key, nonce) pair comes twice: the first write after each
// opening begins a session, whatever became of what was written before it - a tail cut off, a file copied or restored.
//
//   nonce              counter, 4 bytes; 8 bytes of zeros
//   associated data    the frame's offset, 8 bytes; then its bytes from the kind to the counter: kind and flags, lengths, namespace,
//                      session, counter. The file id is in the session's key; a member of a batch follows its batch's frame in
//                      counting, which replay checks.
//   session frame      value: session number, 4 bytes; 32 random bytes; MAC of these and the file id, 32 bytes
//
// Any thread may open. Sessions are begun by the holder of all stripes, so that whoever seals knows the one it is in.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <vector>

#include "base/config.hpp"
#include "base/coding.hpp"
#include "base/options.hpp"
#include "journal/frame.hpp"
#include "crypto/plain_text.hpp"

#if EMDB_ENCRYPT

#include "crypto/aead.hpp"
#include "crypto/blake2b.hpp"
#include "crypto/secret_memory.hpp"
#include "crypto/wipe.hpp"

namespace emdb::detail {

using FileId = std::array<std::byte, 16>;
using SessionRandom = std::array<std::byte, 32>;

/// A key in memory that is not swapped or dumped, if the system can.
class DataKey {
public:
    static constexpr std::size_t size = 32;

    /// Null: out of memory.
    static std::shared_ptr<DataKey> create() {
        auto key = std::shared_ptr<DataKey>(new DataKey);
        return key->memory_.data() == nullptr ? nullptr : key;
    }
    std::span<std::byte, size> bytes() const noexcept { return std::span<std::byte, size>(memory_.data(), size); }

private:
    DataKey() : memory_(SecretMemory::allocate(size)) {}
    SecretMemory memory_;
};

class Sealer {
public:
    static constexpr std::size_t session_value_size = 4 + 32 + 32;
    using SessionValue = std::array<std::byte, session_value_size>;

    Sealer(Cipher cipher, std::shared_ptr<const DataKey> key, const FileId& file_id)
        : cipher_(cipher), key_(std::move(key)), file_id_(file_id) {}
    Sealer(const Sealer&) = delete;
    Sealer& operator=(const Sealer&) = delete;
    ~Sealer() {
        for (auto& chunk : chunks_) delete chunk.load(std::memory_order_relaxed);
    }

    Cipher cipher() const noexcept { return cipher_; }
    const std::shared_ptr<const DataKey>& key() const noexcept { return key_; }

    // --- sessions

    /// Whether a session has to begin before anything is sealed.
    bool wants_session() const noexcept {
        return !begun_.load(std::memory_order_relaxed) || next_counter() > counter_max ||
               sealed_bytes_.load(std::memory_order_relaxed) > sealed_bytes_max;
    }
    /// Has the next write begin a session.
    void end_session() noexcept { begun_.store(false, std::memory_order_relaxed); }

    /// The number of the newest session; 0: there was none.
    std::uint32_t last_session() const noexcept { return last_.load(std::memory_order_acquire); }

    SessionValue make_session_value(std::uint32_t number, const SessionRandom& random) const noexcept {
        SessionValue value;
        store_le(value.data(), number);
        std::memcpy(value.data() + 4, random.data(), random.size());
        const auto mac = session_mac(std::span<const std::byte>(value).first(36));
        std::memcpy(value.data() + 36, mac.data(), mac.size());
        return value;
    }

    /// Takes over a session whose frame is in the journal. False: the frame is not one that was written so, or it does not follow the
    /// last one.
    bool add_session(Bytes value) {
        SessionRandom random;
        return session_number(value, random) == last_session() + 1 && add_session(random);
    }

    /// The same where frames may have been lost, and sessions with them.
    bool add_session_behind_damage(Bytes value) {
        SessionRandom random;
        const std::uint32_t number = session_number(value, random);
        return number > last_session() && add_session(number, random);
    }

    /// The same from a checkpoint, which vouches for it.
    bool add_session(const SessionRandom& random) { return add_session(last_session() + 1, random); }

    const SessionRandom& session_random(std::uint32_t number) const noexcept { return session(number).random; }

    /// Whether what was sealed in the session can be opened.
    bool knows_session(std::uint32_t number) const noexcept {
        if (number == 0 || number > last_session()) return false;
        const Chunk* const chunk = chunks_[number / chunk_size].load(std::memory_order_acquire);
        return chunk != nullptr && (*chunk)[number % chunk_size].known;
    }

    /// From now on frames are sealed in the newest session. False: out of memory.
    bool begin_sealing() {
        if (aead(last_session()) == nullptr) return false;
        sealed_bytes_.store(0, std::memory_order_relaxed);
        next_nonce_.store(std::uint64_t{last_session()} << 32, std::memory_order_release);
        begun_.store(true, std::memory_order_relaxed);
        return true;
    }
    /// Whether a session has begun since the opening, be it used up.
    bool can_seal() const noexcept { return next_nonce_.load(std::memory_order_relaxed) != 0; }

    // --- sealing; a session has begun, and its cipher has been made

    /// The first of `count` successive nonces, for frames of `bytes` together.
    FrameNonce take_nonces(std::uint64_t count, std::uint64_t bytes) noexcept {
        sealed_bytes_.fetch_add(bytes, std::memory_order_relaxed);
        const std::uint64_t first = next_nonce_.fetch_add(count, std::memory_order_acquire);
        return {static_cast<std::uint32_t>(first >> 32), static_cast<std::uint32_t>(first)};
    }

    /// Seals the body of a frame whose head, up to the counter, lies at `frame`. `body` may lie where it is to be sealed.
    void seal(std::byte* frame, std::size_t head_size, std::span<const std::byte> body, std::uint64_t offset) const noexcept {
        const AssociatedData associated(frame, head_size, offset);
        const FrameNonce nonce = load_nonce(frame + head_size - frame_nonce_size);
        aead(nonce.session)->seal(nonce_bytes(nonce), associated.bytes(), body, frame + head_size);
    }

    // --- opening

    /// Opens a parsed frame into `text`, where its key and value lie then. False: it is not what was sealed, or there is no memory.
    bool open(FrameView& frame, std::uint64_t offset, PlainText& text) const noexcept {
        const std::byte* const body = frame.key.data();
        const auto head_size = static_cast<std::size_t>(body - frame.start);
        const auto sealed_size = static_cast<std::size_t>(frame.size) - head_size;
        const FrameNonce nonce = load_nonce(body - frame_nonce_size);
        if (!knows_session(nonce.session)) return false;
        const Aead* const opener = aead(nonce.session);
        std::byte* const plain = text.make(sealed_size - Aead::tag_size);
        if (opener == nullptr || plain == nullptr) return false;
        const AssociatedData associated(frame.start, head_size, offset);
        if (!opener->open(nonce_bytes(nonce), associated.bytes(), {body, sealed_size}, plain)) {
            text.clear();
            return false;
        }
        const std::byte* at = plain;
        if ((frame.kind_and_flags & frame_has_expiry) != 0) {
            frame.expiry_unix_ms = load_le<std::uint64_t>(at);
            at += sealed_expiry_size;
        }
        frame.key = Bytes(at, frame.key.size());
        frame.value = Bytes(at + frame.key.size(), frame.value.size());
        return true;
    }

private:
    // Both far below what AES-GCM bears (SP 800-38D, 8.3: 2^32 messages) and low enough for the batches under way.
    static constexpr std::uint64_t counter_max = (std::uint64_t{1} << 32) - (std::uint64_t{1} << 31);
    static constexpr std::uint64_t sealed_bytes_max = std::uint64_t{64} << 30;

    struct Session {
        SessionRandom random{};
        bool known = false;  ///< false: its frame was lost
        std::atomic<Aead*> aead{nullptr};
        Session() = default;
        Session(const Session&) = delete;
        Session& operator=(const Session&) = delete;
        ~Session() { delete aead.load(std::memory_order_relaxed); }
    };
    static constexpr std::size_t chunk_size = 256;
    using Chunk = std::array<Session, chunk_size>;

    /// What a frame's seal covers besides its body.
    class AssociatedData {
    public:
        AssociatedData(const std::byte* frame, std::size_t head_size, std::uint64_t offset) noexcept : size_(8 + head_size - 4) {
            store_le(bytes_, offset);
            std::memcpy(bytes_ + 8, frame + 4, head_size - 4);
        }
        std::span<const std::byte> bytes() const noexcept { return {bytes_, size_}; }

    private:
        std::byte bytes_[8 + frame_head_size_max + frame_nonce_size];
        std::size_t size_;
    };

    static std::array<std::byte, Aead::nonce_size> nonce_bytes(FrameNonce nonce) noexcept {
        std::array<std::byte, Aead::nonce_size> bytes{};
        store_le(bytes.data(), nonce.counter);
        return bytes;
    }

    std::array<std::byte, 32> session_mac(std::span<const std::byte> what) const noexcept {
        std::array<std::byte, 32> key;
        derive("emdb session MAC", {}, key);
        const WipedAtExit wiped(key);
        std::array<std::byte, 16 + 36> bytes;
        std::memcpy(bytes.data(), file_id_.data(), file_id_.size());
        std::memcpy(bytes.data() + 16, what.data(), what.size());
        std::array<std::byte, 32> mac;
        blake2b(key, bytes, mac);
        return mac;
    }

    /// A key of its own for each purpose.
    void derive(std::string_view purpose, std::span<const std::byte> context, std::array<std::byte, 32>& into) const noexcept {
        Blake2b hash(into.size(), key_->bytes());
        hash.update(std::as_bytes(std::span(purpose.data(), purpose.size())));
        hash.update(context);
        hash.finish(into.data());
    }

    /// Of a session's frame; 0: it is not one that was written so.
    std::uint32_t session_number(Bytes value, SessionRandom& random) const noexcept {
        if (value.size() != session_value_size) return 0;
        const std::span<const std::byte> bytes(value.data(), value.size());
        const auto mac = session_mac(bytes.first(36));
        if (!equal_in_constant_time(mac.data(), value.data() + 36, mac.size())) return 0;
        std::memcpy(random.data(), value.data() + 4, random.size());
        return load_le<std::uint32_t>(value.data());
    }

    bool add_session(std::uint32_t number, const SessionRandom& random) {
        if (number / chunk_size >= chunks_.size()) return false;
        auto& link = chunks_[number / chunk_size];
        Chunk* chunk = link.load(std::memory_order_relaxed);
        if (chunk == nullptr) {
            chunk = new Chunk;
            link.store(chunk, std::memory_order_release);
        }
        Session& added = (*chunk)[number % chunk_size];
        added.random = random;
        added.known = true;
        last_.store(number, std::memory_order_release);
        return true;
    }

    std::uint64_t next_counter() const noexcept { return next_nonce_.load(std::memory_order_relaxed) & 0xFFFFFFFF; }

    Session& session(std::uint32_t number) const noexcept {
        return (*chunks_[number / chunk_size].load(std::memory_order_acquire))[number % chunk_size];
    }

    /// A session's cipher, made when it is first needed; null: out of memory.
    const Aead* aead(std::uint32_t number) const noexcept {
        Session& in = session(number);
        const Aead* const made = in.aead.load(std::memory_order_acquire);
        return made != nullptr ? made : make_aead(in, number);
    }

    [[gnu::noinline]] const Aead* make_aead(Session& in, std::uint32_t number) const noexcept {
        const std::lock_guard lock(making_);
        if (Aead* const made = in.aead.load(std::memory_order_relaxed)) return made;
        std::array<std::byte, 16 + 4 + 32> context;
        std::memcpy(context.data(), file_id_.data(), 16);
        store_le(context.data() + 16, number);
        std::memcpy(context.data() + 20, in.random.data(), 32);
        std::array<std::byte, 32> key;
        const WipedAtExit wiped(key);
        derive("emdb session key", context, key);
        Aead* const made = new (std::nothrow) Aead(cipher_, key);
        in.aead.store(made, std::memory_order_release);
        return made;
    }

    const Cipher cipher_;
    const std::shared_ptr<const DataKey> key_;
    const FileId file_id_;
    std::array<std::atomic<Chunk*>, 4096> chunks_{};  ///< a million sessions; compaction starts over
    mutable std::mutex making_;
    std::atomic<std::uint32_t> last_{0};
    std::atomic<bool> begun_{false};
    // Session and counter in one word: a sync mark, which holds no stripe, may be sealed while a session begins.
    alignas(64) std::atomic<std::uint64_t> next_nonce_{0};
    std::atomic<std::uint64_t> sealed_bytes_{0};
};

}  // namespace emdb::detail

#else

namespace emdb::detail {

/// There is none in this build.
class Sealer {};

}  // namespace emdb::detail

#endif  // EMDB_ENCRYPT
