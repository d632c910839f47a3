// Several writes that happen together or not at all. When to use it: whenever a half-done change would be wrong, as in moving
// money between accounts. Single writes are atomic without one; read-modify-write of one key is `update`.
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <cstdio>
#include <stdexcept>
#include <string>

namespace {

emdb::Result<int> balance(const emdb::Transaction& tx, const std::string& account) {
    const auto value = tx.get(account);  // sees what the transaction itself has written
    if (!value) return value.error();
    if (!*value) return emdb::Error::aborted("there is no account " + account);
    return std::stoi(**value);
}

// The new balance of `from`; an error means that nothing happened.
emdb::Result<int> transfer(emdb::Emdb& db, const std::string& from, const std::string& to, int amount) {
    return db.transaction([&](emdb::Transaction& tx) -> emdb::Result<int> {
        const auto source = balance(tx, from);
        if (!source) return source.error();
        if (auto staged = tx.insert(from, std::to_string(*source - amount)); !staged) return staged.error();
        const auto target = balance(tx, to);
        if (!target) return target.error();  // the write above is dropped
        if (auto staged = tx.insert(to, std::to_string(*target + amount)); !staged) return staged.error();
        if (*source < amount) return emdb::Error::aborted(from + " has only " + std::to_string(*source));
        return *source - amount;
    });
}

bool works() {
    auto db = emdb::Emdb::open_in_memory();  // the same with a file
    db.insert("alice", "100").value();
    db.insert("bob", "0").value();
    const auto balances_are = [&](const char* alice, const char* bob) {
        const auto both = db.get_many({"alice", "bob"}).value();  // sees all of a transaction or none of it
        return both[0] == alice && both[1] == bob;
    };

    const auto left = transfer(db, "alice", "bob", 30);
    if (!left || *left != 70 || !balances_are("70", "30")) return false;

    // Giving up on purpose: the code tells it from failures.
    for (const auto& failed : {transfer(db, "alice", "bob", 1000), transfer(db, "alice", "nobody", 1)}) {
        if (failed || failed.error() != emdb::ErrorCode::transaction_aborted) return false;
        std::printf("not done: %s\n", failed.error().message().c_str());
    }

    // An exception drops the transaction too, and comes out unchanged.
    try {
        static_cast<void>(db.transaction([](emdb::Transaction& tx) -> emdb::Result<void> {
            tx.insert("alice", "0").value();
            throw std::runtime_error("lost interest");
        }));
        return false;
    } catch (const std::runtime_error&) {
    }

    // Inside the closure write through the transaction; a plain write would wait for itself, so it is refused.
    const auto plain = db.transaction([&](emdb::Transaction&) { return db.insert("alice", "0"); });
    return plain == emdb::ErrorCode::invalid_argument && balances_are("70", "30");
}

}  // namespace

int main() {
    const bool ok = works();
    std::puts(ok ? "ok" : "FAILED");
    return ok ? 0 : 1;
}
