#pragma once
// What the intact frames of a damaged journal amount to: keyspaces and the places of their live records.
//
// Frames may be missing, so this takes what recovery must refuse: records of a namespace whose creation is lost belong to a namespace
// without a name, and a name that is given again to another namespace means that the first one was dropped meanwhile.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "checks/siphash.hpp"
#include "crypto/plain_text.hpp"
#include "journal/frame.hpp"
#include "journal/sealer.hpp"

namespace emdb::detail {

/// Frames that were found intact, to be read again.
struct IntactFrames {
    const std::byte* file;
    std::uint64_t size;
    const Sealer* sealer;  ///< null: they are not sealed

    /// The frame at `offset`; contents of a sealed one are in `text`. False: out of memory.
    bool read(std::uint64_t offset, FrameView& frame, [[maybe_unused]] PlainText& text) const noexcept {
        parse_frame(file + offset, file + size, frame);
#if EMDB_ENCRYPT
        if (sealer != nullptr) return sealer->open(frame, offset, text);
#endif
        return true;
    }
};

class JournalContents {
public:
    /// The place of a record in the file, with its key's hash.
    struct Place {
        std::uint64_t hash;
        std::uint64_t offset;
    };
    struct HashOfPlace {
        std::size_t operator()(const Place& place) const noexcept { return static_cast<std::size_t>(place.hash); }
    };
    /// Whether the frames at two places have the same key.
    struct SameKey {
        IntactFrames frames;
        bool operator()(const Place& a, const Place& b) const noexcept {
            return a.hash == b.hash && (a.offset == b.offset || have_same_key(a.offset, b.offset));
        }
        bool have_same_key(std::uint64_t a, std::uint64_t b) const noexcept {
            FrameView frame_a;
            FrameView frame_b;
            PlainText text_a;
            PlainText text_b;
            return frames.read(a, frame_a, text_a) && frames.read(b, frame_b, text_b) && frame_a.key == frame_b.key;
        }
    };
    using Places = std::unordered_set<Place, HashOfPlace, SameKey>;

    struct Keyspace {
        std::string name;  ///< empty: the default keyspace, or its creation is lost
        Places places;
    };

    /// The keys of the hash are the caller's secret: a file made to have colliding keys would be slow.
    JournalContents(const IntactFrames& frames, std::uint64_t hash_key_0, std::uint64_t hash_key_1)
        : same_key_{frames}, hash_key_0_(hash_key_0), hash_key_1_(hash_key_1) {
        add_keyspace(0);
    }

    /// Takes an intact frame of any kind. False: it belongs to a namespace that does not fit what came before it.
    bool apply(std::uint64_t offset, const FrameView& frame) {
        switch (frame.kind()) {
            case FrameKind::put:
            case FrameKind::remove: {
                const bool known = knows(frame.namespace_id);
                put_or_remove(offset, frame);
                return known;
            }
            case FrameKind::clear: {
                const bool known = knows(frame.namespace_id);
                clear(keyspace(frame.namespace_id));
                return known;
            }
            case FrameKind::namespace_create: return create(frame);
            case FrameKind::namespace_drop: return drop(frame);
            default: return true;
        }
    }

    const IntactFrames& frames() const noexcept { return same_key_.frames; }
    std::uint64_t live_records() const noexcept { return live_records_; }
    /// By id; 0 is the default keyspace.
    const std::map<std::uint32_t, Keyspace>& keyspaces() const noexcept { return keyspaces_; }
    bool has_namespace(const std::string& name) const { return ids_.count(name) != 0; }

private:
    bool knows(std::uint32_t id) const { return keyspaces_.count(id) != 0; }

    Keyspace& add_keyspace(std::uint32_t id) {
        return keyspaces_.try_emplace(id, Keyspace{std::string(), Places(0, HashOfPlace(), same_key_)}).first->second;
    }

    Keyspace& keyspace(std::uint32_t id) {
        const auto found = keyspaces_.find(id);
        return found == keyspaces_.end() ? add_keyspace(id) : found->second;
    }

    void put_or_remove(std::uint64_t offset, const FrameView& frame) {
        Places& places = keyspace(frame.namespace_id).places;
        const Place place{siphash13(frame.key.data(), frame.key.size(), hash_key_0_, hash_key_1_), offset};
        live_records_ -= places.erase(place);
        if (frame.kind() == FrameKind::put) {
            places.insert(place);
            ++live_records_;
        }
    }

    void clear(Keyspace& keyspace) {
        live_records_ -= keyspace.places.size();
        keyspace.places = Places(0, HashOfPlace(), same_key_);
    }

    void forget(std::map<std::uint32_t, Keyspace>::iterator found) {
        clear(found->second);
        if (!found->second.name.empty()) ids_.erase(found->second.name);
        keyspaces_.erase(found);
    }

    bool create(const FrameView& frame) {
        if (frame.namespace_id == 0 || frame.key.empty()) return false;
        std::string name(frame.key.as_string_view());
        bool fits = !knows(frame.namespace_id);
        if (const auto taken = ids_.find(name); taken != ids_.end()) {
            forget(keyspaces_.find(taken->second));
            fits = false;
        }
        Keyspace& created = keyspace(frame.namespace_id);
        if (!created.name.empty()) ids_.erase(created.name);
        ids_[name] = frame.namespace_id;
        created.name = std::move(name);
        return fits;
    }

    bool drop(const FrameView& frame) {
        const auto found = keyspaces_.find(frame.namespace_id);
        if (frame.namespace_id == 0 || found == keyspaces_.end()) return false;
        forget(found);
        return true;
    }

    const SameKey same_key_;
    const std::uint64_t hash_key_0_;
    const std::uint64_t hash_key_1_;
    std::map<std::uint32_t, Keyspace> keyspaces_;
    std::map<std::string, std::uint32_t> ids_;
    std::uint64_t live_records_ = 0;
};

}  // namespace emdb::detail
