// The public contract with every feature on: asynchronous calls, nested groups, encryption, and what is named for tests. A program
// of its own, since most features are off by default.

#define EMDB_NESTED 1
#define EMDB_ENCRYPT 1
#define EMDB_ASYNC 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include "contract_signatures_test.cpp"  // the same table, in these features

#include <coroutine>
#include <functional>

#include "support/coroutines.hpp"

namespace emdb_test {
namespace {

// --- asynchronous calls

extern AsyncEmdb& async_db;
extern const AsyncEmdb& const_async_db;
extern const AsyncNamespace& const_async_space;

template <class T>
using FutureOf = Future<Result<T>>;

template <class Handle>
constexpr bool async_data_calls() {
    using Records = std::vector<Record>;
    static_assert(std::is_copy_constructible_v<std::remove_reference_t<Handle>>);
    static_assert(same<decltype(std::declval<Handle>().insert("k", "v")), FutureOf<void>>);
    static_assert(same<decltype(std::declval<Handle>().get("k")), FutureOf<MaybeString>>);
    static_assert(same<decltype(std::declval<Handle>().get_or("k", "v")), FutureOf<std::string>>);
    static_assert(same<decltype(std::declval<Handle>().get_zerocopy("k")), FutureOf<std::optional<ValueRef>>>);
    static_assert(same<decltype(std::declval<Handle>().get_many({"k"})), FutureOf<std::vector<MaybeString>>>);
    static_assert(same<decltype(std::declval<Handle>().get_many(std::vector<std::string>())), FutureOf<std::vector<MaybeString>>>);
    static_assert(same<decltype(std::declval<Handle>().remove("k")), FutureOf<MaybeString>>);
    static_assert(same<decltype(std::declval<Handle>().contains_key("k")), FutureOf<bool>>);
    static_assert(same<decltype(std::declval<Handle>().compare_exchange("k", std::nullopt, "v")), FutureOf<bool>>);
    static_assert(same<decltype(std::declval<Handle>().len()), FutureOf<std::size_t>>);
    static_assert(same<decltype(std::declval<Handle>().is_empty()), FutureOf<bool>>);
    static_assert(same<decltype(std::declval<Handle>().clear()), FutureOf<void>>);
    static_assert(same<decltype(std::declval<Handle>().insert_many(Records())), FutureOf<void>>);
    static_assert(same<decltype(std::declval<Handle>().iter()), FutureOf<Records>>);
    static_assert(same<decltype(std::declval<Handle>().keys()), FutureOf<std::vector<std::string>>>);
    static_assert(same<decltype(std::declval<Handle>().range(Range::all())), FutureOf<Records>>);
    static_assert(same<decltype(std::declval<Handle>().range_prefix("p")), FutureOf<Records>>);
    static_assert(same<decltype(std::declval<Handle>().iter_stream()), Stream<Record>>);
    static_assert(same<decltype(std::declval<Handle>().keys_stream()), Stream<std::string>>);
    static_assert(same<decltype(std::declval<Handle>().range_stream(Range::all())), Stream<Record>>);
    static_assert(same<decltype(std::declval<Handle>().range_prefix_stream("p")), Stream<Record>>);
    static_assert(same<decltype(std::declval<Handle>().iter_from_stream("a")), Stream<Record>>);
    static_assert(same<decltype(std::declval<Handle>().iter_after_stream("a")), Stream<Record>>);
    static_assert(same<decltype(std::declval<Handle>().insert_with_ttl("k", "v", Ttl::never())), FutureOf<void>>);
    static_assert(same<decltype(std::declval<Handle>().expires_at("k")), FutureOf<std::optional<std::uint64_t>>>);
    static_assert(same<decltype(std::declval<Handle>().ttl("k")), FutureOf<std::optional<milliseconds>>>);
    static_assert(same<decltype(std::declval<Handle>().persist("k")), FutureOf<bool>>);
    static_assert(same<decltype(std::declval<Handle>().sweep_expired()), FutureOf<std::size_t>>);
    static_assert(same<decltype(std::declval<Handle>().group("p")), FutureOf<Records>>);
    static_assert(same<decltype(std::declval<Handle>().delete_group("p")), FutureOf<std::size_t>>);
    return true;
}
static_assert(async_data_calls<AsyncEmdb&>() && async_data_calls<AsyncNamespace&>());

static_assert(same<decltype(AsyncEmdb::open(file)), FutureOf<AsyncEmdb>> && same<decltype(AsyncEmdb::open_in_memory()), AsyncEmdb>);
static_assert(same<decltype(AsyncEmdb::builder()), EmdbBuilder> && same<decltype(AsyncEmdb::from_sync(db)), AsyncEmdb>);
static_assert(same<decltype(builder.build_async()), FutureOf<AsyncEmdb>>);
static_assert(same<decltype(const_async_db.clone_handle()), AsyncEmdb> && same<decltype(const_async_db.path()), std::string>);
static_assert(same<decltype(const_async_db.sync_handle()), Emdb> && same<decltype(const_async_space.sync_handle()), Namespace>);
static_assert(std::is_convertible_v<decltype(const_async_space.name()), std::string>);
static_assert(same<decltype(async_db.transaction(closure)), FutureOf<std::unique_ptr<int>>>);
static_assert(same<decltype(async_db.open_namespace("n")), FutureOf<AsyncNamespace>>);
static_assert(same<decltype(async_db.drop_namespace("n")), FutureOf<bool>>);
static_assert(same<decltype(async_db.list_namespaces()), FutureOf<std::vector<std::string>>>);
static_assert(same<decltype(async_db.flush()), FutureOf<void>> && same<decltype(async_db.checkpoint()), FutureOf<void>>);
static_assert(same<decltype(async_db.compact()), FutureOf<void>> && same<decltype(async_db.close()), FutureOf<void>>);
static_assert(same<decltype(async_db.stats()), FutureOf<EmdbStats>> && same<decltype(async_db.backup_to("b")), FutureOf<void>>);
static_assert(std::is_move_constructible_v<Future<int>> && !std::is_copy_constructible_v<Future<int>>);
static_assert(std::is_move_constructible_v<Stream<Record>> && !std::is_copy_constructible_v<Stream<Record>>);
static_assert(same<decltype(std::declval<Stream<Record>&>().next_blocking()), Result<std::optional<Record>>>);

struct OwnExecutor final : Executor {
    void post(std::function<void()> task) override { task(); }
};
extern OwnExecutor& own_executor;
static_assert(same<decltype(builder.executor(own_executor)), EmdbBuilder&>);
static_assert(same<decltype(builder.executor(std::make_shared<OwnExecutor>())), EmdbBuilder&>);
static_assert(same<decltype(builder.executor(InlineExecutor())), EmdbBuilder&>);
static_assert(same<decltype(builder.stream_depth(std::size_t{1})), EmdbBuilder&>);

// --- named for tests

using emdb::detail::Aead;
using ConstBytes = std::span<const std::byte>;
static_assert(same<decltype(emdb::detail::crc32c(nullptr, std::size_t{0})), std::uint32_t>);
static_assert(same<decltype(emdb::detail::crc32c(nullptr, std::size_t{0}, std::uint32_t{1})), std::uint32_t>);
static_assert(same<decltype(emdb::detail::siphash13(nullptr, std::size_t{0}, std::uint64_t{0}, std::uint64_t{0})), std::uint64_t>);
static_assert(same<decltype(emdb::detail::force_cpu_path(emdb::detail::CpuPath::portable)), void>);
static_assert(std::is_enum_v<emdb::detail::CpuPath> && !std::is_convertible_v<emdb::detail::CpuPath, int> &&
              emdb::detail::CpuPath::best != emdb::detail::CpuPath::portable);
static_assert(same<decltype(emdb::detail::blake2b(ConstBytes(), ConstBytes(), std::span<std::byte>())), void>);
static_assert(same<decltype(emdb::detail::argon2id(ConstBytes(), ConstBytes(), ConstBytes(), ConstBytes(), std::uint32_t{8},
                                                   std::uint32_t{1}, std::uint32_t{1}, std::span<std::byte>())),
                   Result<void>>);
static_assert(std::is_constructible_v<Aead, Cipher, std::span<const std::byte, 32>>);
static_assert(same<decltype(std::declval<const Aead&>().seal(std::declval<std::span<const std::byte, 12>>(), ConstBytes(), ConstBytes(),
                                                             std::declval<std::byte*>())),
                   void>);
static_assert(same<decltype(std::declval<const Aead&>().open(std::declval<std::span<const std::byte, 12>>(), ConstBytes(), ConstBytes(),
                                                             std::declval<std::byte*>())),
                   bool>);

/// A coroutine type that takes what it awaits by forwarding reference, as many libraries' do.
struct Forwarding {
    struct promise_type {
        Forwarding get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
        template <class T>
        T&& await_transform(T&& awaited) noexcept {
            return std::forward<T>(awaited);
        }
    };
};

Forwarding write_and_list(AsyncEmdb database, std::string& seen) {
    auto written = database.insert("a", "1");
    (co_await written).value();
    (co_await database.insert("b", "2")).value();
    auto read = database.get("b");
    seen += (co_await std::move(read)).value().value_or("-");
    auto stream = database.keys_stream();
    while (const auto key = (co_await stream.next()).value()) seen += *key;
}

}  // namespace

TEST_CASE("contract: futures and streams are awaited in a coroutine that forwards what it awaits") {
    auto database = AsyncEmdb::from_sync(Emdb::builder().executor(InlineExecutor()).build().value());
    std::string seen;
    write_and_list(database, seen);
    CHECK((seen == "2ab" || seen == "2ba"));
}

TEST_CASE("contract: plain functions serve asynchronous calls, too") {
    auto database = AsyncEmdb::open_in_memory();
    struct Functions {
        static void visit(std::size_t, std::optional<std::string_view>) {}
        static MaybeString change(std::optional<std::string_view>) { return "changed"; }
        static Result<int> run(Transaction&) { return 1; }
        static bool found(Result<MaybeString> value) { return value.value().has_value(); }
    };
    CHECK(database.visit_many({"k"}, Functions::visit).get().value() == 0);
    database.update("k", Functions::change).get().value();
    CHECK(database.transaction(Functions::run).get().value() == 1);
    CHECK(database.get("k").then(Functions::found).get());
}

TEST_CASE("contract: the focus of the empty prefix is the top, and has no group") {
    Emdb database = Emdb::open_in_memory();
    auto top = database.focus("");
    top.set("k", "v").value();
    CHECK(database.get("k").value() == "v");
    CHECK(top.focus("user").prefix() == "user");
    CHECK(top.iter().error() == ErrorCode::invalid_argument);
    CHECK(top.delete_all().error() == ErrorCode::invalid_argument);
    auto user = database.focus("user").focus("1");
    CHECK(user.prefix() == "user.1");
    user.set("", "empty").value();
    CHECK(database.get("user.1.").value() == "empty");
    CHECK(user.delete_all().value() == 1);
    CHECK(database.len().value() == 1);
}

}  // namespace emdb_test
