// Long random histories of all operations against std::map.

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "emdb.hpp"
#include "support/stores.hpp"

namespace emdb_test {
namespace {

using namespace stores;
using emdb::Bytes;
using emdb::Record;

}  // namespace

TEST_CASE("long random histories leave what a std::map has") {
    const std::uint32_t seed = std::random_device()();
    MESSAGE("seed " << seed);
    on_every_store([seed](Store& store) {
        std::mt19937 random(seed);
        const auto below = [&random](std::size_t limit) { return random() % limit; };
        const auto random_key = [&] { return below(50) == 0 ? std::string() : numbered("key", below(300)); };
        const auto random_value = [&] {
            const std::size_t kind = below(100);
            const std::size_t size = kind == 0 ? below(200'000) : kind < 10 ? 0 : below(400);
            return patterned(size, static_cast<std::uint32_t>(random()));
        };

        using Model = std::map<std::string, std::string>;
        Model models[3];  // the default keyspace and two named ones
        const auto value_of = [](const Model& model, const std::string& key) {
            const auto found = model.find(key);
            return found == model.end() ? std::nullopt : std::optional(found->second);
        };
        const auto check_all = [&](auto& keyspace, const Model& model) {
            Model found;
            for (auto& [key, value] : keyspace.iter().value()) found.emplace(key, value);
            CHECK((found == model));
            CHECK(keyspace.len().value() == model.size());
        };
        const auto one_step = [&](auto& keyspace, Model& model) {
            const std::string key = random_key();
            switch (below(12)) {
                case 0:
                case 1:
                case 2:
                case 3: {
                    const std::string value = random_value();
                    keyspace.insert(key, value).value();
                    model[key] = value;
                    break;
                }
                case 4:
                case 5: {
                    CHECK((keyspace.remove(key).value() == value_of(model, key)));
                    model.erase(key);
                    break;
                }
                case 6: {
                    const auto prior = value_of(model, key);
                    const std::string wrong = prior.value_or("") + "wrong";
                    CHECK(keyspace.compare_exchange(key, wrong, "never").value() == false);
                    const std::string value = random_value();
                    CHECK(keyspace.compare_exchange(key, prior ? std::optional<Bytes>(*prior) : std::nullopt, value)
                              .value());
                    model[key] = value;
                    break;
                }
                case 7: {
                    keyspace
                        .update(key,
                                [](std::optional<std::string_view> now) -> std::optional<std::string> {
                                    if (now && now->size() > 500) return std::nullopt;
                                    return std::string(now.value_or("")) + "+";
                                })
                        .value();
                    const auto now = value_of(model, key);
                    if (now && now->size() > 500) {
                        model.erase(key);
                    } else {
                        model[key] = now.value_or("") + "+";
                    }
                    break;
                }
                case 8: {
                    std::vector<Record> records;
                    for (std::size_t i = below(20); i > 0; --i) records.push_back({random_key(), random_value()});
                    keyspace.insert_many(records).value();
                    for (const auto& record : records) model[record.key] = record.value;
                    break;
                }
                case 9: {
                    std::vector<std::string> keys;
                    for (int i = 0; i < 10; ++i) keys.push_back(random_key());
                    const auto values = keyspace.get_many(keys).value();
                    for (std::size_t i = 0; i < keys.size(); ++i) CHECK((values[i] == value_of(model, keys[i])));
                    break;
                }
                default: {
                    CHECK((keyspace.get(key).value() == value_of(model, key)));
                    CHECK(keyspace.contains_key(key).value() == model.contains(key));
                    break;
                }
            }
            if (below(500) == 0) {
                keyspace.clear().value();
                model.clear();
            }
        };

        for (int step = 0; step < 4000; ++step) {
            const std::size_t which = below(3);
            if (which == 0) {
                one_step(store.db(), models[0]);
            } else {
                auto names = store.db().open_namespace(numbered("names", which)).value();
                one_step(names, models[which]);
            }
            if (below(400) == 0) {
                const std::size_t dropped = 1 + below(2);
                static_cast<void>(store.db().drop_namespace(numbered("names", dropped)).value());
                models[dropped].clear();
            }
            if (below(50) == 0) store.db().flush().value();
            if (below(300) == 0) {
                store.reopen();
                check_all(store.db(), models[0]);
                for (const std::size_t named : {std::size_t{1}, std::size_t{2}}) {
                    auto names = store.db().open_namespace(numbered("names", named)).value();
                    check_all(names, models[named]);
                }
            }
        }
        store.reopen();
        check_all(store.db(), models[0]);
        CHECK(store.db().stats().value().live_records == models[0].size() + models[1].size() + models[2].size());
    });
}

}  // namespace emdb_test
