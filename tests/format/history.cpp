// Writes a database with everything that a plain journal can hold, for tests of the format.
//
//   history PATH SEED STEPS        closes it
//   history PATH SEED STEPS kill   ends without closing, as a killed process
#include "emdb.hpp"

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

class History {
public:
    History(const char* path, std::uint64_t seed) : random_(seed), db_(emdb::Emdb::open(path).value()) {}

    void step() {
        switch (below(60)) {
            case 0: keyspace([](auto& on) { on.clear().value(); }); break;
            case 1: db_.drop_namespace(name()).value(); break;
            case 2: db_.flush().value(); break;
            case 3: transaction(true); break;
            case 4: transaction(false); break;
            case 5: bulk_load(); break;
            case 6: keyspace([this](auto& on) { on.insert(key(), std::string(17'000 + below(100), 'l')).value(); }); break;
            case 7:
            case 8: keyspace([this](auto& on) { on.insert_with_ttl(key(), value(), emdb::Ttl::after(std::chrono::hours(1 + below(9)))).value(); }); break;
            case 9: keyspace([this](auto& on) { on.insert_with_ttl(key(), value(), emdb::Ttl::at(1 + below(1000))).value(); }); break;
            case 10: keyspace([this](auto& on) { on.persist(key()).value(); }); break;
            case 11: keyspace([](auto& on) { on.sweep_expired().value(); }); break;
            default:
                keyspace([this](auto& on) {
                    if (below(3) == 0) {
                        on.remove(key()).value();
                    } else {
                        on.insert(key(), value()).value();
                    }
                });
        }
    }

    void close() { db_.close().value(); }
    void flush() { db_.flush().value(); }
    void transaction(bool commit) {
        auto named = db_.open_namespace(name()).value();
        (void)db_.transaction([&](emdb::Transaction& tx) -> emdb::Result<void> {
            for (std::uint64_t i = below(6); i > 0; --i) {
                tx.insert(key(), value()).value();
                tx.in(named).insert_with_ttl(key(), value(), emdb::Ttl::after(std::chrono::hours(1))).value();
                tx.in(named).remove(key()).value();
            }
            if (!commit) return emdb::Error::aborted("on purpose");
            return tx.insert("transaction", value());
        });
    }

private:
    template <class F>
    void keyspace(F&& f) {
        if (below(3) == 0) return f(db_);
        auto named = db_.open_namespace(name()).value();
        f(named);
    }

    void bulk_load() {
        std::vector<std::pair<std::string, std::string>> pairs;
        for (std::uint64_t i = below(50); i > 0; --i) pairs.emplace_back(key(), value());
        keyspace([&](auto& on) { on.insert_many(pairs).value(); });
    }

    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    std::string name() { return below(4) == 0 ? std::string("\xFFname", 5) : "names " + std::to_string(below(4)); }
    std::string key() { return below(20) == 0 ? std::string() : bytes(1 + below(3), 3); }
    std::string value() { return bytes(below(8) == 0 ? below(400) : below(20), 256); }
    std::string bytes(std::uint64_t size, std::uint64_t kinds) {
        std::string text;
        for (; size > 0; --size) text += static_cast<char>(kinds == 256 ? below(256) : 0x7E + below(kinds));  // some are no UTF-8
        return text;
    }

    std::mt19937_64 random_;
    emdb::Emdb db_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) return 2;
    History history(argv[1], std::strtoull(argv[2], nullptr, 10));
    for (long steps = std::atol(argv[3]); steps > 0; --steps) history.step();
    if (argc > 4 && std::string_view(argv[4]) == "kill") {
        history.flush();
        history.transaction(true);  // the last thing, and not flushed
        std::_Exit(0);
    }
    history.close();
    return 0;
}
