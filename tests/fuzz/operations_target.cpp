// Calls of the public interface against a std::map, on a simulated disk: all kinds of calls, in any order, with reopening, kills and
// power cuts in between. The clock only goes forward.

#include "fuzz/fuzzing.hpp"

#include <map>

namespace emdb_fuzz {

namespace operations {

struct Value {
    std::string bytes;
    std::optional<std::uint64_t> expiry;
};
using Records = std::map<std::string, Value>;

constexpr std::string_view keys[]{"", "a", "b", "user", "user.1", "user.1.name", "user.1.name.first", "user.", "user..x", "user.2.name",
                                  "users.1", std::string_view("\0\xff", 2), "\xff\xff", "z"};
constexpr std::string_view spaces[]{"one", "two", "three"};
constexpr std::string_view prefixes[]{"user", "user.1", "user.", "user.1.name", "a", "nobody"};

class Run {
public:
    explicit Run(Input in) : in_(in), disk_(make_disk()) {
        Choices choices(in_.number(2));
        ranges_ = choices.flag();
        small_checkpoints_ = choices.flag();
        pwrite_ = choices.flag();
        verify_reads_ = !choices.flag();
        switch (choices.number(3)) {
            case 6: cipher_ = emdb::Cipher::aes_256_gcm; break;
            case 7: cipher_ = emdb::Cipher::chacha20_poly1305; break;
            default: break;
        }
        if (choices.number(2) == 3) default_ttl_ = 1 + in_.byte();
        constexpr std::uint32_t every = 3;
        const emdb::FlushPolicy policies[]{emdb::FlushPolicy::on_each_flush(), emdb::FlushPolicy::group(),
                                           emdb::FlushPolicy::write_through(), emdb::FlushPolicy::every_n(every)};
        policy_ = policies[choices.number(2)];
        disk_->set_now_unix_ms(now_);
        model_[""];
        db_.emplace(expect(open(database_path), "opening"));
    }

    void run() {
        for (unsigned calls = 0; !in_.empty() && calls < 400; ++calls) call(in_.byte());
        compare_all(*db_);
        check_pinned();
        expect(db_->close(), "close");
        check(disk_->violations().empty(), "the contract of the os layer was broken");
    }

private:
    // The database ----------------------------------------------------------------------------------------------------------

    Result<emdb::Emdb> open(const std::string& path) {
        emdb::EmdbBuilder builder = emdb::Emdb::builder();
        builder.path(path).flush_policy(policy_).enable_range_scans(ranges_).verify_reads(verify_reads_);
        builder.append_mode(pwrite_ ? emdb::AppendMode::pwrite : emdb::AppendMode::automatic);
        if (cipher_) builder.encryption_key(encryption_key()).cipher(*cipher_);
        if (default_ttl_) builder.default_ttl(std::chrono::milliseconds(*default_ttl_));
        emdb::detail::BuilderAccess::set_environment(builder, *disk_);
        if (small_checkpoints_) emdb::detail::BuilderAccess::use_checkpoints_from(builder, 0);
        return builder.build();
    }

    void reopen(std::uint8_t how) {
        check_pinned();
        pinned_.clear();  // what they point at is the old disk's
        switch (how % 4) {
            case 0: expect(db_->close(), "close"); break;
            case 1: break;
            case 2: disk_->kill_process(); break;
            default:
                expect(db_->flush(), "flush");
                disk_->cut_power();
        }
        db_.reset();
        if (how % 4 == 2) disk_->start_process();
        if (how % 4 == 3) {
            SeededRandom random(how);
            auto rebooted = std::make_unique<SimulatedDisk>(disk_->crashed().random_outcome(random), plain_disk());
            disk_ = std::move(rebooted);
            disk_->set_now_unix_ms(now_);
        }
        if ((how & 0x10) != 0) expect(disk_->files().remove(meta_path), "removing the checkpoint");
        if ((how & 0x20) != 0) ranges_ = !ranges_;
        db_.emplace(expect(open(database_path), "reopening"));
        compare_all(*db_);
    }

    emdb::Keyspace keyspace(const std::string& space) {
        if (space.empty()) return *db_;
        return expect(db_->open_namespace(space), "open_namespace");
    }

    // The input -------------------------------------------------------------------------------------------------------------

    std::string key() {
        const std::uint8_t number = in_.byte();
        if (number < 200) return std::string(keys[number % std::size(keys)]);
        if (number < 240) return "key " + std::to_string(number);
        return std::string(std::size_t{number} * 8 - 1900, 'k');
    }
    std::string value() {
        const std::uint8_t size = in_.byte();
        if (size < 64) return std::string(size, static_cast<char>('a' + size % 26));
        if (size < 250) return std::string(in_.bytes(size % 16));
        return std::string(std::size_t{size} << (size == 255 ? 10 : 4), static_cast<char>(in_.byte()));
    }
    // Of those that there are; the default keyspace most often.
    std::string space() {
        const std::uint8_t number = in_.byte();
        if (number < 128) return "";
        auto chosen = model_.begin();
        std::advance(chosen, static_cast<std::ptrdiff_t>(number % model_.size()));
        return chosen->first;
    }
    // What a write with it gives a record.
    emdb::Ttl ttl(std::optional<std::uint64_t>& expiry) {
        const std::uint8_t kind = in_.byte();
        const std::uint64_t time = in_.byte();
        switch (kind % 4) {
            case 0: expiry = std::nullopt; return emdb::Ttl::never();
            case 1: expiry = default_expiry(); return emdb::Ttl::use_default();
            case 2: expiry = now_ + time; return emdb::Ttl::after(std::chrono::milliseconds(time));
            default: expiry = time < 240 ? now_ - 100 + time : UINT64_MAX; return emdb::Ttl::at(*expiry);
        }
    }
    emdb::Range range(std::string& a, std::string& b, unsigned kind) {
        a = key();
        b = key();
        switch (kind) {
            case 0: return emdb::Range::half_open(a, b);
            case 1: return emdb::Range::closed(a, b);
            case 2: return emdb::Range::open(a, b);
            case 3: return emdb::Range::open_closed(a, b);
            case 4: return emdb::Range::from(a);
            case 5: return emdb::Range::after(a);
            case 6: return emdb::Range::until(b);
            case 7: return emdb::Range::up_to(b);
            case 8: return emdb::Range::prefix(a);
            default: return emdb::Range::all();
        }
    }
    static bool lies_in(const std::string& key, const std::string& a, const std::string& b, unsigned kind) {
        switch (kind) {
            case 0: return a <= key && key < b;
            case 1: return a <= key && key <= b;
            case 2: return a < key && key < b;
            case 3: return a < key && key <= b;
            case 4: return a <= key;
            case 5: return a < key;
            case 6: return key < b;
            case 7: return key <= b;
            case 8: return key.compare(0, a.size(), a) == 0;
            default: return true;
        }
    }

    // The model -------------------------------------------------------------------------------------------------------------

    std::optional<std::uint64_t> default_expiry() const {
        return default_ttl_ ? std::optional(now_ + *default_ttl_) : std::nullopt;
    }
    bool has_expired(const Value& value) const { return value.expiry && *value.expiry <= now_; }
    const Value* find(const std::string& space, const std::string& key) const {
        const Records& records = model_.at(space);
        const auto found = records.find(key);
        return found == records.end() || has_expired(found->second) ? nullptr : &found->second;
    }
    std::optional<std::string> seen(const std::string& space, const std::string& key) const {
        const Value* const value = find(space, key);
        return value == nullptr ? std::nullopt : std::optional(value->bytes);
    }
    template <class Wanted>
    std::vector<std::pair<std::string, std::string>> seen_if(const std::string& space, Wanted&& wanted) const {
        std::vector<std::pair<std::string, std::string>> records;
        for (const auto& [key, value] : model_.at(space)) {
            if (!has_expired(value) && wanted(key)) records.emplace_back(key, value.bytes);
        }
        return records;
    }
    void put(const std::string& space, const std::string& key, const std::string& value) {
        model_[space][key] = {value, default_expiry()};
    }
    static bool in_group(const std::string& key, std::string_view prefix) {
        return key.size() > prefix.size() && key.compare(0, prefix.size(), prefix) == 0 && key[prefix.size()] == '.';
    }

    // The calls -------------------------------------------------------------------------------------------------------------

    void call(std::uint8_t which) {
        if (which % 16 == 5) return reopen(in_.byte());  // without a handle in use
        const std::string space = this->space();
        emdb::Keyspace in = keyspace(space);
        switch (which % 32) {
            case 0:
            case 1:
            case 2: insert(in, space); break;
            case 3:
            case 4: insert_with_ttl(in, space); break;
            case 6:
            case 22: remove(in, space); break;
            case 7: read(in, space); break;
            case 8: read_many(in, space); break;
            case 9: compare_exchange(in, space); break;
            case 10: update(in, space); break;
            case 11:
            case 12: transaction(); break;
            case 13: insert_many(in, space); break;
            case 14: clear(in, space); break;
            case 15: open_space(); break;
            case 16: drop_space(); break;
            case 17: expect(db_->flush(), "flush"); break;
            case 18: expect(db_->checkpoint(), "checkpoint"); break;
            case 19: expect(db_->compact(), "compact"); break;
            case 20: back_up(); break;
            case 23: read_range(in, space); break;
            case 24: read_group(in, space); break;
            case 25: delete_group(in, space); break;
            case 26: focus(in, space); break;
            case 27: pass_time(); break;
            case 28: sweep(in, space); break;
            case 29: persist(in, space); break;
            case 30: pin(in, space); break;
            default: compare(in, space); break;
        }
    }

    void insert(emdb::Keyspace& in, const std::string& space) {
        const std::string key = this->key();
        const std::string value = this->value();
        expect(in.insert(key, value), "insert");
        put(space, key, value);
    }

    void insert_with_ttl(emdb::Keyspace& in, const std::string& space) {
        const std::string key = this->key();
        Value value{this->value(), std::nullopt};
        const emdb::Ttl ttl = this->ttl(value.expiry);
        expect(in.insert_with_ttl(key, value.bytes, ttl), "insert_with_ttl");
        model_[space][key] = value;
    }

    void remove(emdb::Keyspace& in, const std::string& space) {
        const std::string key = this->key();
        const auto before = seen(space, key);
        check(expect(in.remove(key), "remove") == before, "remove returns another value than the key had");
        if (before) model_[space].erase(key);
    }

    void read(const emdb::Keyspace& in, const std::string& space) {
        const std::string key = this->key();
        const auto expected = seen(space, key);
        check(expect(in.get(key), "get") == expected, "get");
        check(expect(in.contains_key(key), "contains_key") == expected.has_value(), "contains_key");
        check(expect(in.get_or(key, "absent"), "get_or") == expected.value_or("absent"), "get_or");
        std::string into = "before";
        check(expect(in.get_into(key, into), "get_into") == expected.has_value() && into == expected.value_or("before"), "get_into");
        const auto ref = expect(in.get_zerocopy(key), "get_zerocopy");
        check(ref.has_value() == expected.has_value() && (!ref || ref->as_string_view() == *expected), "get_zerocopy");
    }

    void read_many(const emdb::Keyspace& in, const std::string& space) {
        std::vector<std::string> wanted(in_.byte() % 40);
        std::vector<std::optional<std::string>> expected;
        for (std::string& key : wanted) {
            key = this->key();
            expected.push_back(seen(space, key));
        }
        check(expect(in.get_many(wanted), "get_many") == expected, "get_many");
        std::size_t calls = 0;
        const auto found = expect(in.visit_many(wanted, [&](std::size_t i, std::optional<std::string_view> value) {
            check(i == calls++ && value.has_value() == expected[i].has_value() && (!value || *value == *expected[i]), "visit_many");
        }), "visit_many");
        check(calls == wanted.size() && found == static_cast<std::size_t>(std::count_if(expected.begin(), expected.end(),
              [](const auto& value) { return value.has_value(); })), "visit_many counts wrongly");
    }

    void compare_exchange(emdb::Keyspace& in, const std::string& space) {
        Choices choices(in_.byte());
        const std::string key = this->key();
        std::optional<std::string> expected = seen(space, key);
        const bool matches = choices.flag();
        if (!matches) expected = expected ? std::nullopt : std::optional<std::string>("something");
        std::optional<std::string> desired;
        if (choices.flag()) desired = value();
        const auto view = [](const std::optional<std::string>& value) { return value ? std::optional<emdb::Bytes>(*value) : std::nullopt; };
        check(expect(in.compare_exchange(key, view(expected), view(desired)), "compare_exchange") == matches, "compare_exchange");
        if (!matches) return;
        if (desired) {
            put(space, key, *desired);
        } else if (expected) {
            model_[space].erase(key);
        }
    }

    void update(emdb::Keyspace& in, const std::string& space) {
        Choices choices(in_.byte());
        const std::string key = this->key();
        const auto before = seen(space, key);
        std::optional<std::string> after;
        if (choices.flag()) after = value();
        const bool fails = choices.number(3) == 0;
        const auto updated = in.update(key, [&](std::optional<std::string_view> current) -> Result<std::optional<std::string>> {
            check(current.has_value() == before.has_value() && (!current || *current == *before), "update sees another value");
            if (fails) return emdb::Error::aborted("on purpose");
            return after;
        });
        check(updated.has_value() != fails, "update");
        if (fails) return;
        if (after) {
            put(space, key, *after);
        } else if (before) {
            model_[space].erase(key);
        }
    }

    void transaction() {
        Choices choices(in_.byte());
        const bool aborts = choices.number(3) == 0;
        const std::size_t count = in_.byte() % 12;
        const auto before = model_;
        std::map<std::string, emdb::Namespace> open;
        for (const auto& [name, records] : model_) {
            if (!name.empty()) open.emplace(name, expect(db_->open_namespace(name), "open_namespace"));
        }
        const auto outcome = db_->transaction([&](emdb::Transaction& transaction) -> Result<int> {
            for (std::size_t i = 0; i < count; ++i) {
                const std::string space = this->space();
                const std::string key = this->key();
                emdb::TransactionView view = space.empty() ? transaction : transaction.in(open.at(space));
                const auto present = seen(space, key);
                switch (in_.byte() % 4) {
                    case 0:
                        check(expect(view.remove(key), "remove") == present, "remove in a transaction");
                        if (present) model_[space].erase(key);
                        break;
                    case 1: {
                        Value value{this->value(), std::nullopt};
                        const emdb::Ttl ttl = this->ttl(value.expiry);
                        expect(view.insert_with_ttl(key, value.bytes, ttl), "insert_with_ttl");
                        model_[space][key] = value;
                        break;
                    }
                    default: {
                        const std::string value = this->value();
                        expect(view.insert(key, value), "insert");
                        put(space, key, value);
                    }
                }
                check(expect(view.get(key), "get") == seen(space, key), "a transaction does not read its own writes");
                check(expect(view.contains_key(key), "contains_key") == seen(space, key).has_value(), "contains_key in a transaction");
            }
            check(db_->insert("a", "b") == emdb::ErrorCode::invalid_argument, "a closure's own thread writes past its transaction");
            if (aborts) return emdb::Error::aborted("on purpose");
            return 7;
        });
        check(outcome.has_value() != aborts, "transaction");
        if (aborts) model_ = before;
    }

    void insert_many(emdb::Keyspace& in, const std::string& space) {
        std::vector<std::pair<std::string, std::string>> pairs(in_.byte() % 30);
        for (auto& [key, value] : pairs) {
            key = this->key();
            value = this->value();
            put(space, key, value);
        }
        expect(in.insert_many(pairs), "insert_many");
    }

    void clear(emdb::Keyspace& in, const std::string& space) {
        expect(in.clear(), "clear");
        model_[space].clear();
        check(expect(in.len(), "len") == 0, "something is left after clear");
    }

    void open_space() {
        const std::string name(spaces[in_.byte() % std::size(spaces)]);
        check(expect(db_->open_namespace(name), "open_namespace").name() == name, "a namespace has another name");
        model_[name];
    }

    void drop_space() {
        const std::string name(spaces[in_.byte() % std::size(spaces)]);
        const bool exists = model_.count(name) != 0;
        std::optional<emdb::Namespace> handle;
        if (exists) handle = expect(db_->open_namespace(name), "open_namespace");
        check(expect(db_->drop_namespace(name), "drop_namespace") == exists, "drop_namespace");
        model_.erase(name);
        if (!handle) return;
        check(handle->get("a") == emdb::ErrorCode::invalid_argument, "a dropped namespace is read");
        check(handle->insert("a", "b") == emdb::ErrorCode::invalid_argument, "a dropped namespace is written to");
    }

    void back_up() {
        // A backup belongs to nobody when it is compared, so nothing of it may be shared with the database.
        expect(disk_->files().remove(backup_path), "removing a backup");
        expect(db_->backup_to(backup_path), "backup_to");
        emdb::VerifyOptions options;
        if (cipher_) options.encryption = emdb::EncryptionInput::key(encryption_key());
        const auto verified = expect(verify(*disk_, backup_path, options), "verifying a backup");
        check(verified.ok() && !verified.torn_tail, "a backup is damaged");
        emdb::Emdb backup = expect(open(backup_path), "opening a backup");
        compare_all(backup);
    }

    void read_range(emdb::Keyspace& in, const std::string& space) {
        const unsigned kind = in_.byte() % 10;
        std::string a;
        std::string b;
        const emdb::Range range = this->range(a, b, kind);
        const auto found = in.range(range);
        check(found.has_value() == ranges_, "range");
        if (!found) return check(found == emdb::ErrorCode::invalid_config, "range without range scans");
        const auto expected = seen_if(space, [&](const std::string& key) { return lies_in(key, a, b, kind); });
        check_records(*found, expected, "range");
        auto one_by_one = expect(in.range_iter(range), "range_iter");
        check_records(expect(one_by_one.collect(), "collecting"), expected, "range_iter");
    }

    void read_group(const emdb::Keyspace& in, const std::string& space) {
        const std::string_view prefix = prefixes[in_.byte() % std::size(prefixes)];
        const auto expected = seen_if(space, [&](const std::string& key) { return in_group(key, prefix); });
        check_records(expect(in.group(prefix), "group"), expected, "group");
        auto iter = expect(in.focus(prefix).iter(), "iter of a focus");
        auto found = expect(iter.collect(), "collecting");
        std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
        check_records(found, expected, "iter of a focus");
    }

    void delete_group(emdb::Keyspace& in, const std::string& space) {
        const std::string_view prefix = prefixes[in_.byte() % std::size(prefixes)];
        const auto group = seen_if(space, [&](const std::string& key) { return in_group(key, prefix); });
        const bool by_focus = in_.byte() % 2 == 0;
        const std::size_t removed = expect(by_focus ? in.focus(prefix).delete_all() : in.delete_group(prefix), "delete_group");
        std::size_t expired = 0;
        for (const auto& [key, value] : model_[space]) expired += in_group(key, prefix) && has_expired(value) ? 1 : 0;
        check(removed >= group.size() && removed <= group.size() + expired, "delete_group removes another number of records");
        for (const auto& [key, value] : group) model_[space].erase(key);
    }

    void focus(emdb::Keyspace& in, const std::string& space) {
        const std::string prefix(prefixes[in_.byte() % std::size(prefixes)]);
        const emdb::Focus focus = in.focus(prefix);
        const std::string sub = key();
        const std::string whole = prefix + "." + sub;
        emdb::Focus writing = focus;
        if (in_.byte() % 2 == 0) {
            const std::string value = this->value();
            expect(writing.set(sub, value), "set of a focus");
            put(space, whole, value);
        } else {
            const auto before = seen(space, whole);
            check(expect(writing.remove(sub), "remove of a focus") == before, "remove of a focus");
            if (before) model_[space].erase(whole);
        }
        check(expect(focus.get(sub), "get of a focus") == seen(space, whole), "get of a focus");
        check(expect(focus.contains_key(sub), "contains_key of a focus") == seen(space, whole).has_value(), "contains_key of a focus");
    }

    void pass_time() {
        now_ += in_.byte();
        disk_->set_now_unix_ms(now_);
    }

    void sweep(emdb::Keyspace& in, const std::string& space) {
        const std::size_t removed = expect(in.sweep_expired(), "sweep_expired");
        const std::size_t expired = std::erase_if(model_[space], [this](const auto& entry) { return has_expired(entry.second); });
        check(removed <= expired, "a sweep removes what has not expired");
        check(expect(in.len(), "len") == model_[space].size(), "a sweep leaves expired records");
    }

    void persist(emdb::Keyspace& in, const std::string& space) {
        const std::string key = this->key();
        const Value* const value = find(space, key);
        const std::optional<std::uint64_t> expiry = value != nullptr ? value->expiry : std::nullopt;
        if (value != nullptr || model_[space].count(key) == 0) {
            check(expect(in.expires_at(key), "expires_at") == expiry, "expires_at");
            const auto left = expect(in.ttl(key), "ttl");
            check(left.has_value() == expiry.has_value(), "ttl");
            constexpr std::uint64_t longest = INT64_MAX;
            if (left) {
                check(static_cast<std::uint64_t>(left->count()) == std::min(*expiry - now_, longest), "ttl is another than what is left");
            }
        }
        if (in_.byte() % 2 == 0) return;
        check(expect(in.persist(key), "persist") == expiry.has_value(), "persist");
        if (expiry) model_[space][key].expiry.reset();
    }

    // What a ValueRef shows must not change, whatever happens to the database.
    void pin(const emdb::Keyspace& in, const std::string& space) {
        const std::string key = this->key();
        auto ref = expect(in.get_zerocopy(key), "get_zerocopy");
        if (ref && pinned_.size() < 8) pinned_.emplace_back(std::move(*ref), *seen(space, key));
    }
    void check_pinned() const {
        for (const auto& [ref, bytes] : pinned_) check(ref.as_string_view() == bytes, "a pinned value has changed");
    }

    // Comparing -------------------------------------------------------------------------------------------------------------

    static void check_records(const std::vector<emdb::Record>& found, const std::vector<std::pair<std::string, std::string>>& expected,
                              const char* what) {
        check(found.size() == expected.size(), std::string(what) + " yields another number of records");
        for (std::size_t i = 0; i < found.size(); ++i) {
            check(found[i].key == expected[i].first && found[i].value == expected[i].second, std::string(what) + " yields other records");
        }
    }

    void compare(const emdb::Keyspace& in, const std::string& space) const {
        const auto expected = seen_if(space, [](const std::string&) { return true; });
        auto iter = expect(in.iter(), "iter");
        auto found = expect(iter.collect(), "collecting");
        const auto by_key = [](const auto& a, const auto& b) { return a.key < b.key; };
        std::sort(found.begin(), found.end(), by_key);
        check_records(found, expected, "iter");
        auto keys = expect(expect(in.keys(), "keys").collect(), "collecting");
        std::sort(keys.begin(), keys.end());
        const auto has_key = [](const std::string& key, const emdb::Record& record) { return key == record.key; };
        check(std::equal(keys.begin(), keys.end(), found.begin(), found.end(), has_key), "keys yields others than iter");
        const std::size_t len = expect(in.len(), "len");
        check(len >= expected.size() && len <= model_.at(space).size(), "len counts wrongly");
        check(expect(in.is_empty(), "is_empty") == (len == 0), "is_empty");
        for (const auto& [key, value] : expected) check(expect(in.get(key), "get") == value, "get differs from iter");
        if (ranges_) check_records(expect(in.range(emdb::Range::all()), "range"), expected, "range");
    }

    void compare_all(emdb::Emdb& db) {
        compare(db, "");
        std::size_t named = 0;
        for (const std::string& name : expect(db.list_namespaces(), "list_namespaces")) {
            check(model_.count(name) != 0, "there is a namespace too many");
            compare(expect(db.open_namespace(name), "open_namespace"), name);
            ++named;
        }
        check(named + 1 == model_.size(), "a namespace is missing");
        expect(db.stats(), "stats");
    }

    Input in_;
    std::unique_ptr<SimulatedDisk> disk_;
    std::uint64_t now_ = 1000;
    bool ranges_ = false;
    bool small_checkpoints_ = false;
    bool pwrite_ = false;
    bool verify_reads_ = true;
    std::optional<emdb::Cipher> cipher_;
    std::optional<std::uint64_t> default_ttl_;
    emdb::FlushPolicy policy_ = emdb::FlushPolicy::on_each_flush();
    std::map<std::string, Records> model_;
    std::vector<std::pair<emdb::ValueRef, std::string>> pinned_;
    std::optional<emdb::Emdb> db_;
};

}  // namespace operations

void fuzz_operations(Input in) { operations::Run(in).run(); }

}  // namespace emdb_fuzz
