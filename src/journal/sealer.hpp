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
//   session frame      value: session number, 4 bytes; 32 random bytes; MAC of these, the file id and the frame's offset, 16 bytes: the
//                      frame can't be moved; link, 16 bytes: MAC of all that and the random bytes of the session before, so that it
//                      can't be put behind another past of the file (a copy's) than its own
//
// A session's frame is durable before anything is sealed in the session: a frame of a session that nobody knows of proves that the
// session's was damaged, and not torn. Frames lie in the order of their sessions, so a frame opens only between the frame of its session
// and that of the next: what somebody has put back from a tail that was cut off is refused, also where the journal was not replayed but
// a checkpoint says which sessions there were.
//
// Any thread may open. Sessions are begun by the holder of all stripes, while no mark is appended, so that whoever seals knows the one
// it is in.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/config.hpp"
#include "base/coding.hpp"
#include "base/options.hpp"
#include "journal/frame.hpp"
#include "crypto/plain_text.hpp"

namespace emdb::detail {

using FileId = std::array<std::byte, 16>;
using SessionRandom = std::array<std::byte, 32>;

/// What a checkpoint keeps of a session.
struct SessionStart {
    std::uint64_t offset = 0;  ///< of its frame
    SessionRandom random{};
};

}  // namespace emdb::detail

#if EMDB_ENCRYPT

#include "crypto/aead.hpp"
#include "crypto/blake2b.hpp"
#include "crypto/secret_memory.hpp"
#include "crypto/wipe.hpp"

namespace emdb::detail {

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

/// How much is sealed before another session begins: both far below what AES-GCM bears (SP 800-38D, 8.3: 2^32 messages) and low enough
/// for the batches under way. Tests lower it.
struct SessionLimits {
    std::uint64_t frames = std::uint64_t{1} << 31;
    std::uint64_t bytes = std::uint64_t{64} << 30;
};
inline SessionLimits session_limits;

class Sealer {
public:
    static constexpr std::size_t session_mac_size = 16;
    static constexpr std::size_t session_value_size = 4 + 32 + 2 * session_mac_size;
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
        return !begun_.load(std::memory_order_relaxed) || next_counter() > session_limits.frames ||
               sealed_bytes_.load(std::memory_order_relaxed) > session_limits.bytes;
    }
    /// Has the next write begin a session.
    void end_session() noexcept { begun_.store(false, std::memory_order_relaxed); }

    /// The number of the newest session; 0: there was none.
    std::uint32_t last_session() const noexcept { return last_.load(std::memory_order_acquire); }

    /// Has add_session of the next one not fail. False: there have been too many.
    bool make_room_for_session() { return make_room_for_session(last_session() + 1); }

    /// The value of the next session's frame, which is to lie at `offset`.
    SessionValue make_session_value(const SessionRandom& random, std::uint64_t offset) const noexcept {
        SessionValue value;
        store_le(value.data(), last_session() + 1);
        std::memcpy(value.data() + 4, random.data(), random.size());
        const auto mac = session_mac(value, offset);
        std::memcpy(value.data() + 36, mac.data(), session_mac_size);
        const auto link = session_link(value);
        std::memcpy(value.data() + 36 + session_mac_size, link.data(), session_mac_size);
        return value;
    }

    /// Takes over a session whose frame is in the journal. False: the frame is not one that was written so in that place, or it does not
    /// follow the last one and no checkpoint has told of it either.
    bool add_session(Bytes value, std::uint64_t offset) {
        SessionRandom random;
        const std::uint32_t number = session_number(value, offset, random);
        if (knows_session(number)) return session(number).offset == offset && session(number).random == random;
        return number == last_session() + 1 && is_linked(value) && add_session(random, offset);
    }

    /// The same where frames may have been lost, and sessions with them.
    bool add_session_behind_damage(Bytes value, std::uint64_t offset) {
        SessionRandom random;
        const std::uint32_t number = session_number(value, offset, random);
        return number > last_session() && (number != last_session() + 1 || is_linked(value)) && add_session(number, random, offset);
    }

    /// The same for one whose frame somebody has just written, or that a checkpoint vouches for.
    bool add_session(const SessionRandom& random, std::uint64_t offset) { return add_session(last_session() + 1, random, offset); }

    /// The sessions whose frames lie below `end`; none of them is lost.
    std::vector<SessionStart> sessions_below(std::uint64_t end) const {
        std::vector<SessionStart> starts;
        const std::uint32_t last = last_session();
        starts.reserve(last);
        for (std::uint32_t number = 1; number <= last && session(number).offset < end; ++number) {
            starts.push_back({session(number).offset, session(number).random});
        }
        return starts;
    }
    /// Takes over those of a checkpoint. False: they make no sense.
    bool add_sessions(std::span<const SessionStart> starts) {
        std::uint64_t before = 0;
        for (const SessionStart& start : starts) {
            if (start.offset <= std::exchange(before, start.offset) || !add_session(start.random, start.offset)) return false;
        }
        return true;
    }

    /// As before any session was added. Nobody else uses this yet.
    void forget_sessions() noexcept {
        last_.store(0, std::memory_order_relaxed);
        for (auto& link : chunks_) delete link.exchange(nullptr, std::memory_order_relaxed);
        for (std::size_t i = 0; i < pieces_; ++i) aeads_[i] = {};
        pieces_ = 0;
        used_ = 0;
    }

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

    /// Opens a parsed frame into `text`, where its key and value lie then. False: it is not what was sealed, or `text` lacks memory.
    bool open(FrameView& frame, std::uint64_t offset, PlainText& text) const noexcept {
        const std::byte* const body = frame.key.data();
        const auto head_size = static_cast<std::size_t>(body - frame.start);
        const auto sealed_size = static_cast<std::size_t>(frame.size) - head_size;
        const FrameNonce nonce = load_nonce(body - frame_nonce_size);
        if (!is_place_of_session(offset, nonce.session)) return false;
        std::byte* const plain = text.make(sealed_size - Aead::tag_size);
        if (plain == nullptr) return false;
        const AssociatedData associated(frame.start, head_size, offset);
        const Aead* const opener = aead(nonce.session);
        const bool opened = opener != nullptr ? opener->open(nonce_bytes(nonce), associated.bytes(), {body, sealed_size}, plain)
                                              : open_once(nonce, associated, {body, sealed_size}, plain);
        if (!opened) {
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

    // --- checkpoints

    /// A key of one checkpoint, which has a salt of its own; another one for each purpose.
    void derive_checkpoint_key(std::string_view purpose, std::span<const std::byte, 32> salt,
                               std::array<std::byte, 32>& into) const noexcept {
        std::array<std::byte, 16 + 32> context;
        std::memcpy(context.data(), file_id_.data(), file_id_.size());
        std::memcpy(context.data() + 16, salt.data(), salt.size());
        derive(purpose, context, into);
    }

private:
    struct Session {
        SessionRandom random{};
        std::uint64_t offset = 0;  ///< of its frame
        bool known = false;  ///< false: its frame was lost
        std::atomic<const Aead*> aead{nullptr};
    };
    static constexpr std::size_t chunk_size = 256;
    static constexpr std::size_t sessions_max = std::size_t{1} << 20;  ///< of a file; compaction starts over
    static constexpr std::size_t aead_pieces = 20;
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

    std::array<std::byte, 32> session_mac(std::span<const std::byte> value, std::uint64_t offset) const noexcept {
        std::array<std::byte, 16 + 36 + 8> bytes;
        std::memcpy(bytes.data(), file_id_.data(), file_id_.size());
        std::memcpy(bytes.data() + 16, value.data(), 36);
        store_le(bytes.data() + 52, offset);
        return mac("emdb session MAC", bytes);
    }

    std::array<std::byte, 32> session_link(std::span<const std::byte> value) const noexcept {
        std::array<std::byte, 36 + session_mac_size + 32> bytes{};
        std::memcpy(bytes.data(), value.data(), 36 + session_mac_size);
        if (last_session() != 0) std::memcpy(bytes.data() + 36 + session_mac_size, session_random(last_session()).data(), 32);
        return mac("emdb session link", bytes);
    }

    bool is_linked(Bytes value) const noexcept {
        const auto link = session_link({value.data(), value.size()});
        return equal_in_constant_time(link.data(), value.data() + 36 + session_mac_size, session_mac_size);
    }

    std::array<std::byte, 32> mac(std::string_view purpose, std::span<const std::byte> what) const noexcept {
        std::array<std::byte, 32> key;
        derive(purpose, {}, key);
        const WipedAtExit wiped(key);
        std::array<std::byte, 32> mac;
        blake2b(key, what, mac);
        return mac;
    }

    /// A key of its own for each purpose.
    void derive(std::string_view purpose, std::span<const std::byte> context, std::array<std::byte, 32>& into) const noexcept {
        Blake2b hash(into.size(), key_->bytes());
        hash.update(std::as_bytes(std::span(purpose.data(), purpose.size())));
        hash.update(context);
        hash.finish(into.data());
    }

    /// Of a session's frame; 0: it is not one that was written so in that place.
    std::uint32_t session_number(Bytes value, std::uint64_t offset, SessionRandom& random) const noexcept {
        if (value.size() != session_value_size) return 0;
        const auto mac = session_mac({value.data(), value.size()}, offset);
        if (!equal_in_constant_time(mac.data(), value.data() + 36, session_mac_size)) return 0;
        std::memcpy(random.data(), value.data() + 4, random.size());
        return load_le<std::uint32_t>(value.data());
    }

    /// Frames lie in the order of their sessions, of which behind damage some may be lost.
    bool is_place_of_session(std::uint64_t offset, std::uint32_t number) const noexcept {
        if (!knows_session(number) || offset <= session(number).offset) return false;
        const std::uint32_t last = last_session();
        std::uint32_t next = number + 1;
        while (next <= last && !knows_session(next)) ++next;
        return next > last || offset < session(next).offset;
    }

    bool add_session(std::uint32_t number, const SessionRandom& random, std::uint64_t offset) {
        if (!make_room_for_session(number)) return false;
        Session& added = session(number);
        added.random = random;
        added.offset = offset;
        added.known = true;
        last_.store(number, std::memory_order_release);
        return true;
    }

    bool make_room_for_session(std::uint32_t number) {
        if (number / chunk_size >= chunks_.size()) return false;
        auto& link = chunks_[number / chunk_size];
        if (link.load(std::memory_order_relaxed) == nullptr) link.store(new Chunk, std::memory_order_release);
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
        if (const Aead* const made = in.aead.load(std::memory_order_relaxed)) return made;
        void* const room = room_for_aead();
        if (room == nullptr) return nullptr;
        std::array<std::byte, 32> key;
        const WipedAtExit wiped(key);
        derive_session_key(in, number, key);
        const Aead* const made = new (room) Aead(cipher_, key);
        in.aead.store(made, std::memory_order_release);
        return made;
    }

    void derive_session_key(const Session& of, std::uint32_t number, std::array<std::byte, 32>& key) const noexcept {
        std::array<std::byte, 16 + 4 + 32> context;
        std::memcpy(context.data(), file_id_.data(), 16);
        store_le(context.data() + 16, number);
        std::memcpy(context.data() + 20, of.random.data(), 32);
        derive("emdb session key", context, key);
    }

    // Where there is no memory to keep the session's cipher in: what can't be opened counts as forged, so this must not fail for that.
    [[gnu::noinline]] bool open_once(FrameNonce nonce, const AssociatedData& associated, std::span<const std::byte> sealed,
                                     std::byte* plain) const noexcept {
        std::array<std::byte, 32> key;
        const WipedAtExit wiped_key(key);
        derive_session_key(session(nonce.session), nonce.session, key);
        return Aead(cipher_, key).open(nonce_bytes(nonce), associated.bytes(), sealed, plain);
    }

    // In memory that is not dumped and, as far as it may be locked, not swapped; each piece of it is twice as large as the one before.
    // Null: there is none. By the holder of making_.
    void* room_for_aead() const noexcept {
        constexpr std::size_t size = (sizeof(Aead) + 63) / 64 * 64;
        constexpr std::size_t first_size = 4096;
        static_assert(size <= first_size && alignof(Aead) <= 64);
        static_assert(std::uint64_t{first_size} / size * ((std::uint64_t{1} << aead_pieces) - 1) >= sessions_max);
        if (pieces_ == 0 || used_ + size > aeads_[pieces_ - 1].size()) {
            SecretMemory piece = SecretMemory::allocate(first_size << pieces_);
            if (piece.data() == nullptr) return nullptr;
            aeads_[pieces_++] = std::move(piece);
            used_ = 0;
        }
        return aeads_[pieces_ - 1].data() + std::exchange(used_, used_ + size);
    }

    const Cipher cipher_;
    const std::shared_ptr<const DataKey> key_;
    const FileId file_id_;
    std::array<std::atomic<Chunk*>, sessions_max / chunk_size> chunks_{};
    mutable std::mutex making_;
    mutable std::array<SecretMemory, aead_pieces> aeads_;  ///< room for one of each session; what wipes them is the end of this
    mutable std::size_t pieces_ = 0;
    mutable std::size_t used_ = 0;  ///< of the last piece
    std::atomic<std::uint32_t> last_{0};
    std::atomic<bool> begun_{false};
    alignas(64) std::atomic<std::uint64_t> next_nonce_{0};  ///< session and counter in one word
    std::atomic<std::uint64_t> sealed_bytes_{0};
};

}  // namespace emdb::detail

#else

namespace emdb::detail {

/// There is none in this build.
class Sealer {};

}  // namespace emdb::detail

#endif  // EMDB_ENCRYPT
