// Everything that takes locks, at the same time, for helgrind to watch: whether locks are always taken in the same order, what is
// shared without a lock or an atomic, and whether mutexes and condition variables are used as they are to be. By helgrind_check.py; the
// database itself is checked by others more thoroughly, ThreadSanitizer has no room for as many locks as emdb holds at a time.

#include "races/told_atomics.hpp"

#define EMDB_ASYNC 1
#define EMDB_ENCRYPT 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include "support/complaints.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

using emdb::AsyncEmdb;
using emdb::Bytes;
using emdb::Emdb;
using emdb::FlushPolicy;
using emdb::Result;
using emdb::Transaction;

constexpr int keys = 40;

std::string key_of(int i) { return "key." + std::to_string(i % keys); }

class AtWork {
public:
    explicit AtWork(emdb::EmdbBuilder builder) : db_(builder.path(folder_.file("a.emdb")).enable_range_scans(true).build().value()) {}

    // Calls that write and read, by three threads, and in a fourth one all that works on the database as a whole.
    void run() {
        std::vector<std::thread> threads;
        for (int thread = 0; thread < 3; ++thread) threads.emplace_back([this, thread] { write_and_read(thread); });
        threads.emplace_back([this] { maintain(); });
        for (auto& thread : threads) thread.join();
        must(db_.close());
        CHECK(complaints_.text() == "");
    }

    void write_and_read(int thread) {
        for (int i = 0; i < 9; ++i) {
            const std::string key = key_of(thread * 7 + i);
            must(db_.insert(key, std::string(200, 'v')));
            must(db_.get(key));
            must(db_.insert_with_ttl("short." + key, "v", emdb::Ttl::at(1)));
            must(db_.compare_exchange(key, std::nullopt, Bytes("w")));
            if (i % 3 == 0) must(db_.remove(key_of(i)));
            if (i % 4 == 0) must(db_.flush());
            if (i % 6 == 1) must(db_.transaction([&](Transaction& transaction) -> Result<void> {
                if (auto put = transaction.insert("a", key); !put) return put;
                return transaction.insert("b", key);
            }));
            if (i % 6 == 2) {
                const std::vector<Bytes> both = {"a", "b"};
                must(db_.get_many(both));
                must(db_.range_prefix("key."));
            }
            if (i % 8 == 3) {
                std::vector<std::pair<std::string, std::string>> records;
                for (int k = 0; k < 12; ++k) records.emplace_back("many." + std::to_string(k), key);
                must(db_.insert_many(records));
            }
            if (i % 8 == 4) {
                auto records = db_.iter();
                must(records);
                for ([[maybe_unused]] const auto& record : *records) {
                }
            }
        }
    }

    void maintain() {
        must(db_.checkpoint());
        must(db_.compact());
        must(db_.sweep_expired());
        must(db_.backup_to(folder_.file("copy")));
        auto space = db_.open_namespace("space");
        must(space);
        must(space->insert("a", "v"));
        must(space->clear());
        must(db_.drop_namespace("space"));
        must(db_.stats());
    }

    Emdb& db() { return db_; }
    std::string path() const { return folder_.file("a.emdb"); }
    template <class AnyResult>
    void must(const AnyResult& result) {
        complaints_.unless(result.has_value(), result ? "" : result.error().message());
    }

private:
    const TempFolder folder_;
    Emdb db_;
    Complaints complaints_;
};

// One thread writes a number that another one reads when it is told to.
void publish(std::memory_order order) {
    int number = 0;
    std::atomic<bool> published{false};
    std::thread reader([&] {
        while (!published.load(std::memory_order_acquire)) std::this_thread::yield();
        CHECK(number == 7);
    });
    number = 7;
    published.store(true, order);
    reader.join();
}

std::array<std::byte, 32> some_key() {
    std::array<std::byte, 32> key{};
    key.fill(std::byte{7});
    return key;
}

}  // namespace
}  // namespace emdb_test

TEST_SUITE("locks are taken in one order") {
    using namespace emdb_test;

    TEST_CASE("by writers, readers, flushes, compaction, checkpoint and backup at the same time") {
        AtWork(Emdb::builder().auto_compact(0.3, 4096)).run();
    }

    TEST_CASE("by writers that commit in groups") { AtWork(Emdb::builder().flush_policy(FlushPolicy::group())).run(); }

    TEST_CASE("in an encrypted database, whose writes reach the disk one by one") {
        AtWork(Emdb::builder().encryption_key(some_key()).flush_policy(FlushPolicy::write_through())).run();
    }

    TEST_CASE("by calls made as futures, and the end of them") {
        AtWork work(Emdb::builder().flush_policy(FlushPolicy::group()));
        {
            auto async = AsyncEmdb::from_sync(work.db());
            std::vector<emdb::Future<Result<void>>> done;
            for (int i = 0; i < 20; ++i) {
                done.push_back(async.insert(key_of(i), "v"));
                if (i % 4 == 0) done.push_back(async.flush());
                if (i % 16 == 1) done.push_back(async.checkpoint());
                if (i % 16 == 2) done.push_back(async.compact());
                if (i % 8 == 3) done.push_back(async.transaction([](Transaction& transaction) { return transaction.insert("a", "v"); }));
            }
            auto found = async.get(key_of(1));
            for (auto& future : done) work.must(future.get());
            work.must(found.get());
            work.must(async.close().get());
        }
        CHECK(Emdb::verify(work.path()).value().ok());
    }
}

// What helgrind must find, lest its silence mean nothing. Each is run by its name.
TEST_SUITE("what helgrind is to report" * doctest::skip()) {
    using emdb_test::publish;

    TEST_CASE("two locks in two orders") {
        std::mutex one;
        std::mutex other;
        const auto lock_both = [](std::mutex& first, std::mutex& second) {
            const std::lock_guard outer(first);
            const std::lock_guard inner(second);
        };
        std::thread([&] { lock_both(one, other); }).join();
        std::thread([&] { lock_both(other, one); }).join();
        CHECK(true);
    }

    TEST_CASE("a number published by a relaxed store") { publish(std::memory_order_relaxed); }
}

TEST_SUITE("what helgrind is not to report" * doctest::skip()) {
    using emdb_test::publish;

    TEST_CASE("a number published by a release store") { publish(std::memory_order_release); }
}
