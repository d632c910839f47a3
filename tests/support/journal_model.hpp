#pragma once
// What a database may contain after a crash, by API.md's promises 1 to 3: the effects of a prefix of the steps that were
// issued, at least as long as what was acknowledged as durable.
//
// A step is what the journal applies whole or not at all. A single writer issues them in journal order; a single write, a
// transaction, the creation of a namespace are one step each, insert_many is one for each record (its batches may be larger,
// but a prefix of batches is a prefix of records).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace emdb_test {

/// Which promise a test found broken.
enum class Harm : std::uint8_t {
    lost,          ///< something acknowledged is not there
    torn,          ///< a step is there in part
    not_a_prefix,  ///< something else than a prefix of what was issued
    unopenable,    ///< the database can't be opened or read
    other,
};

struct Step {
    enum class Kind : std::uint8_t { put, remove, clear, create_namespace, drop_namespace };
    struct Change {
        Kind kind;
        std::string space;  ///< the namespace; empty: the default keyspace
        std::string key;
        std::string value;
        bool expires = false;  ///< a put that Contents::expire() takes back
    };
    std::vector<Change> changes;
};

/// All keyspaces with their records, and a fingerprint kept along, so that comparing two costs nothing.
class Contents {
public:
    using Records = std::map<std::string, std::string, std::less<>>;

    Contents() { spaces_.try_emplace(""); }

    const std::map<std::string, Records, std::less<>>& spaces() const noexcept { return spaces_; }
    const Records& records(std::string_view space) const { return spaces_.find(space)->second; }
    bool has_space(std::string_view space) const { return spaces_.find(space) != spaces_.end(); }
    const std::string* find(std::string_view space, std::string_view key) const {
        const Records& all = records(space);
        const auto found = all.find(key);
        return found == all.end() ? nullptr : &found->second;
    }

    void create(const std::string& space) {
        if (spaces_.try_emplace(space).second) fingerprint_ += hash_of_space(space);
    }
    void clear(const std::string& space) {
        Records& all = spaces_.at(space);
        for (const auto& [key, value] : all) fingerprint_ -= hash_of(space, key, value);
        all.clear();
        expiring_.erase(space);
    }
    void drop(const std::string& space) {
        clear(space);
        spaces_.erase(space);
        fingerprint_ -= hash_of_space(space);
    }
    void put(const std::string& space, const std::string& key, std::string value, bool expires = false) {
        erase(space, key);
        fingerprint_ += hash_of(space, key, value);
        spaces_.at(space)[key] = std::move(value);
        if (expires) expiring_[space].insert(key);
    }
    void erase(const std::string& space, const std::string& key) {
        Records& all = spaces_.at(space);
        const auto found = all.find(key);
        if (found == all.end()) return;
        fingerprint_ -= hash_of(space, key, found->second);
        all.erase(found);
        if (const auto expiring = expiring_.find(space); expiring != expiring_.end()) expiring->second.erase(key);
    }
    /// The time of all records that expire has come.
    void expire() {
        const auto gone = std::exchange(expiring_, {});
        for (const auto& [space, keys] : gone) {
            for (const std::string& key : keys) erase(space, key);
        }
    }

    void apply(const Step& step) {
        for (const Step::Change& change : step.changes) {
            switch (change.kind) {
                case Step::Kind::put: put(change.space, change.key, change.value, change.expires); break;
                case Step::Kind::remove: erase(change.space, change.key); break;
                case Step::Kind::clear: clear(change.space); break;
                case Step::Kind::create_namespace: create(change.space); break;
                case Step::Kind::drop_namespace: drop(change.space); break;
            }
        }
    }

    friend bool operator==(const Contents& a, const Contents& b) {
        return a.fingerprint_ == b.fingerprint_ && a.spaces_ == b.spaces_;
    }
    bool looks_like(const Contents& other) const noexcept { return fingerprint_ == other.fingerprint_; }

    /// The first few differences, for a failure's message.
    std::string differences_from(const Contents& expected) const {
        std::string text;
        std::size_t count = 0;
        const auto report = [&](const std::string& space, const std::string& key, const char* what) {
            if (++count <= 10) text += "    " + std::string(what) + " '" + space + "' / '" + key + "'\n";
        };
        for (const auto& [space, all] : expected.spaces_) {
            if (!has_space(space)) report(space, "", "missing namespace");
            for (const auto& [key, value] : all) {
                const std::string* const found = has_space(space) ? find(space, key) : nullptr;
                if (found == nullptr) {
                    report(space, key, "missing");
                } else if (*found != value) {
                    report(space, key, "different");
                }
            }
        }
        for (const auto& [space, all] : spaces_) {
            if (!expected.has_space(space)) report(space, "", "unexpected namespace");
            for (const auto& [key, value] : all) {
                if (!expected.has_space(space) || expected.find(space, key) == nullptr) report(space, key, "unexpected");
            }
        }
        return text + "    " + std::to_string(count) + " differences\n";
    }

private:
    // FNV-1a's idea, eight bytes at a time and finished like SplitMix64: not for enemies, only for telling states apart.
    static std::uint64_t hash(std::string_view text, std::uint64_t state) noexcept {
        state ^= text.size();
        for (; !text.empty(); text.remove_prefix(std::min<std::size_t>(8, text.size()))) {
            std::uint64_t word = 0;
            std::memcpy(&word, text.data(), std::min<std::size_t>(8, text.size()));
            state = (state ^ word) * 0x9E3779B97F4A7C15U;
            state ^= state >> 29;
        }
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9U;
        return state ^ (state >> 27);
    }
    static std::uint64_t hash_of_space(std::string_view space) noexcept { return hash(space, 1); }
    static std::uint64_t hash_of(std::string_view space, std::string_view key, std::string_view value) noexcept {
        return hash(value, hash(key, hash(space, 2)));
    }

    std::map<std::string, Records, std::less<>> spaces_;
    std::map<std::string, std::set<std::string>> expiring_;  // not compared: what is read does not tell
    std::uint64_t fingerprint_ = 0;
};

/// The journal as it was issued, and how much of it must be there.
class JournalModel {
public:
    /// The contents that a reader sees now.
    const Contents& now() const noexcept { return now_; }

    /// To be called before the database is: a power cut may keep the step although the call failed.
    void issue(Step step) {
        now_.apply(step);
        pending_.push_back(std::move(step));
    }
    /// A position in the journal, for acknowledge().
    std::uint64_t position() const noexcept { return durable_position_ + pending_.size(); }
    /// Everything up to `position` survives power cuts from now on.
    void acknowledge(std::uint64_t position) {
        for (; durable_position_ < position; ++durable_position_) {
            durable_.apply(pending_.front());
            pending_.pop_front();
        }
    }
    void acknowledge_all() { acknowledge(position()); }

    /// Whether `found` may be what a crash left.
    bool allows(const Contents& found) const { return longest_prefix(found).has_value(); }

    /// Takes `found`, seen after a crash, as the present. False: it is no prefix, or lacks something acknowledged. What was not
    /// acknowledged before may still be lost in the next crash.
    bool survive(const Contents& found) {
        const std::optional<std::size_t> length = longest_prefix(found);
        if (!length) return false;
        pending_.resize(*length);
        now_ = durable_;
        for (const Step& step : pending_) now_.apply(step);
        return true;
    }

    /// The time of all records that expire has come: whatever survives, they are not in it.
    void expire() {
        durable_.expire();
        for (Step& step : pending_) {
            for (Step::Change& change : step.changes) {
                if (std::exchange(change.expires, false)) change = {Step::Kind::remove, change.space, change.key, "", false};
            }
        }
        now_.expire();
    }

    /// Which promise is broken by contents that were refused.
    Harm harm_of(const Contents& found) const {
        Contents contents = durable_;
        for (const Step& step : pending_) {
            Contents part = contents;
            for (const Step::Change& change : step.changes) {
                part.apply(Step{{change}});
                if (part == found) return Harm::torn;
            }
            contents.apply(step);
        }
        return lacks_something_durable(found) ? Harm::lost : Harm::not_a_prefix;
    }

    /// What is wrong with contents that were refused.
    std::string explain(const Contents& found) const {
        return "  compared with everything acknowledged:\n" + found.differences_from(durable_) +
               "  compared with everything issued (" + std::to_string(pending_.size()) + " steps more):\n" +
               found.differences_from(now_);
    }

private:
    // Something acknowledged that nothing issued since has touched.
    bool lacks_something_durable(const Contents& found) const {
        for (const auto& [space, records] : durable_.spaces()) {
            const auto touched = [&, &at = space](const std::string* key) {
                for (const Step& step : pending_) {
                    for (const Step::Change& change : step.changes) {
                        const bool whole = change.kind != Step::Kind::put && change.kind != Step::Kind::remove;
                        if (change.space == at && (whole || key == nullptr || change.key == *key)) return true;
                    }
                }
                return false;
            };
            if (!found.has_space(space)) {
                if (!touched(nullptr)) return true;
                continue;
            }
            for (const auto& [key, value] : records) {
                const std::string* const there = found.find(space, key);
                if ((there == nullptr || *there != value) && !touched(&key)) return true;
            }
        }
        return false;
    }

    // Of several prefixes with the same contents the longest: it allows every outcome of a further crash that the others do.
    std::optional<std::size_t> longest_prefix(const Contents& found) const {
        std::optional<std::size_t> length;
        Contents contents = durable_;
        if (contents == found) length = 0;
        for (std::size_t i = 0; i < pending_.size(); ++i) {
            contents.apply(pending_[i]);
            if (contents.looks_like(found) && contents == found) length = i + 1;
        }
        return length;
    }

    Contents durable_;
    std::uint64_t durable_position_ = 0;
    std::deque<Step> pending_;  // issued after what is durable
    Contents now_;
};

}  // namespace emdb_test
