// The public contract, signature by signature: what each call takes and exactly what it returns, in the features that this
// build has. Most of it is checked by compiling.

#include "emdb.hpp"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace emdb_test {
namespace {

using namespace emdb;
using std::chrono::milliseconds;
using MaybeString = std::optional<std::string>;

// Named in decltype only.
extern Emdb& db;
extern const Emdb& const_db;
extern Namespace& space;
extern const Namespace& const_space;
extern Transaction& transaction;
extern EmdbBuilder& builder;
extern const std::string& text;
extern const std::filesystem::path& file;

template <class Expected, class Actual>
constexpr bool same = std::is_same_v<Expected, Actual>;

// --- vocabulary

static_assert(same<std::underlying_type_t<ErrorCode>, std::uint8_t>);
static_assert(static_cast<int>(ErrorCode::io) == 0 && static_cast<int>(ErrorCode::stopped) == 16);
static_assert(same<decltype(Error::aborted(text)), Error>);
static_assert(same<decltype(std::declval<const Error&>().code()), ErrorCode>);
static_assert(std::is_convertible_v<decltype(std::declval<const Error&>().message()), std::string>);
static_assert(same<decltype(std::declval<const Error&>().os_error()), int>);
static_assert(same<decltype(std::declval<const Error&>().offset()), std::uint64_t>);
static_assert(same<decltype(std::declval<const Error&>().found_version()), std::uint32_t>);
static_assert(same<decltype(std::declval<const Error&>().expected_version()), std::uint32_t>);
static_assert(std::is_base_of_v<std::runtime_error, Exception>);
static_assert(same<std::remove_cvref_t<decltype(std::declval<const Exception&>().error())>, Error>);

static_assert(same<decltype(Record::key), std::string> && same<decltype(Record::value), std::string>);
static_assert(std::is_aggregate_v<Record>);

static_assert(same<decltype(FlushPolicy::on_each_flush()), FlushPolicy> && same<decltype(FlushPolicy::group()), FlushPolicy>);
static_assert(same<decltype(FlushPolicy::write_through()), FlushPolicy>);
static_assert(same<decltype(FlushPolicy::every_n(std::uint32_t{1})), FlushPolicy>);
static_assert(std::is_enum_v<AppendMode> && AppendMode::automatic != AppendMode::mapped && AppendMode::mapped != AppendMode::pwrite);
static_assert(LogLevel::debug < LogLevel::info && LogLevel::info < LogLevel::warning && LogLevel::warning < LogLevel::error);

static_assert(same<decltype(Range::all()), Range> && same<decltype(Range::half_open("a", text)), Range>);
static_assert(same<decltype(Range::closed("a", "b")), Range> && same<decltype(Range::open("a", "b")), Range>);
static_assert(same<decltype(Range::open_closed("a", "b")), Range> && same<decltype(Range::from("a")), Range>);
static_assert(same<decltype(Range::after("a")), Range> && same<decltype(Range::until("b")), Range>);
static_assert(same<decltype(Range::up_to("b")), Range> && same<decltype(Range::prefix("p")), Range>);
static_assert(std::is_copy_constructible_v<Range> && std::is_copy_assignable_v<Range>);

static_assert(same<decltype(EmdbStats::live_records), std::size_t> && same<decltype(EmdbStats::namespace_count), std::size_t>);
static_assert(same<decltype(EmdbStats::logical_size_bytes), std::uint64_t>);
static_assert(same<decltype(EmdbStats::file_size_bytes), std::uint64_t>);
static_assert(same<decltype(EmdbStats::preallocated_bytes), std::uint64_t>);
static_assert(same<decltype(EmdbStats::dead_bytes), std::uint64_t> && same<decltype(EmdbStats::index_bytes), std::uint64_t>);
static_assert(same<decltype(EmdbStats::range_scans_enabled), bool> && same<decltype(EmdbStats::encrypted), bool>);

static_assert(same<decltype(VerifyReport::frames), std::uint64_t> && same<decltype(VerifyReport::live_records), std::uint64_t>);
static_assert(same<decltype(VerifyReport::bytes_checked), std::uint64_t>);
static_assert(same<decltype(VerifyReport::damages), std::vector<Error>>);
static_assert(same<decltype(VerifyReport::damage_count), std::uint64_t>);
static_assert(same<decltype(VerifyReport::torn_tail), bool> && same<decltype(VerifyReport::meta_usable), bool>);
static_assert(same<decltype(std::declval<const VerifyReport&>().ok()), bool>);
static_assert(same<decltype(SalvageReport::records_written), std::uint64_t>);
static_assert(same<decltype(SalvageReport::frames_skipped), std::uint64_t>);
static_assert(same<decltype(SalvageReport::bytes_skipped), std::uint64_t>);

static_assert(same<decltype(LockHolder::pid), std::uint32_t> && same<decltype(LockHolder::acquired_at_unix_ms), std::uint64_t>);
static_assert(same<decltype(LockHolder::schema_version), std::uint32_t>);
static_assert(same<decltype(LockHolder::version), std::string> && same<decltype(LockHolder::hostname), std::string>);

static_assert(std::is_copy_constructible_v<ValueRef> && std::is_copy_assignable_v<ValueRef>);
static_assert(std::is_move_constructible_v<ValueRef> && std::is_move_assignable_v<ValueRef>);
static_assert(std::is_convertible_v<ValueRef, Bytes> && std::is_convertible_v<const ValueRef&, Bytes>);
static_assert(same<decltype(std::declval<const ValueRef&>().size()), std::size_t>);
static_assert(same<decltype(std::declval<const ValueRef&>().len()), std::size_t>);
static_assert(same<decltype(std::declval<const ValueRef&>().empty()), bool>);
static_assert(same<decltype(std::declval<const ValueRef&>().as_string_view()), std::string_view>);
static_assert(same<decltype(std::declval<const ValueRef&>().as_slice()), std::span<const std::byte>>);
static_assert(same<decltype(std::declval<const ValueRef&>().to_string()), std::string>);
static_assert(same<decltype(std::declval<ValueRef>().into_string()), std::string>);

// --- what Emdb and Namespace share

template <class Handle, class ConstHandle>
constexpr bool data_calls() {
    using Lookup = Result<MaybeString>;
    static_assert(std::is_copy_constructible_v<Handle> && std::is_copy_assignable_v<Handle>);
    static_assert(same<decltype(std::declval<Handle>().insert("k", text)), Result<void>>);
    static_assert(same<decltype(std::declval<ConstHandle>().get("k")), Lookup>);
    static_assert(same<decltype(std::declval<ConstHandle>().get_or("k", "v")), Result<std::string>>);
    static_assert(same<decltype(std::declval<ConstHandle>().get_into("k", std::declval<std::string&>())), Result<bool>>);
    static_assert(same<decltype(std::declval<ConstHandle>().get_zerocopy("k")), Result<std::optional<ValueRef>>>);
    using Many = Result<std::vector<MaybeString>>;
    static_assert(same<decltype(std::declval<ConstHandle>().get_many(std::declval<std::span<const Bytes>>())), Many>);
    static_assert(same<decltype(std::declval<ConstHandle>().get_many(std::declval<std::vector<Bytes>&>())), Many>);
    static_assert(same<decltype(std::declval<ConstHandle>().get_many(std::declval<std::array<Bytes, 2>>())), Many>);
    static_assert(same<decltype(std::declval<ConstHandle>().get_many(std::declval<const std::vector<std::string>&>())), Many>);
    static_assert(same<decltype(std::declval<ConstHandle>().get_many({"a", text})), Many>);
    constexpr auto visit = [](std::size_t, std::optional<std::string_view>) {};
    static_assert(same<decltype(std::declval<ConstHandle>().visit_many(std::declval<std::span<const Bytes>>(), visit)),
                       Result<std::size_t>>);
    static_assert(same<decltype(std::declval<Handle>().remove("k")), Lookup>);
    static_assert(same<decltype(std::declval<ConstHandle>().contains_key("k")), Result<bool>>);
    static_assert(same<decltype(std::declval<Handle>().compare_exchange("k", std::nullopt, "v")), Result<bool>>);
    static_assert(same<decltype(std::declval<Handle>().compare_exchange("k", text, std::nullopt)), Result<bool>>);
    static_assert(same<decltype(std::declval<Handle>().compare_exchange("k", MaybeString(), MaybeString())), Result<bool>>);
    constexpr auto change = [](std::optional<std::string_view>) -> MaybeString { return std::nullopt; };
    static_assert(same<decltype(std::declval<Handle>().update("k", change)), Result<void>>);
    static_assert(same<decltype(std::declval<ConstHandle>().len()), Result<std::size_t>>);
    static_assert(same<decltype(std::declval<ConstHandle>().is_empty()), Result<bool>>);
    static_assert(same<decltype(std::declval<Handle>().clear()), Result<void>>);
    static_assert(same<decltype(std::declval<Handle>().insert_many(std::declval<std::vector<Record>>())), Result<void>>);

    static_assert(same<decltype(std::declval<ConstHandle>().iter()), Result<EmdbIter>>);
    static_assert(same<decltype(std::declval<ConstHandle>().keys()), Result<EmdbKeyIter>>);
    static_assert(same<decltype(std::declval<ConstHandle>().range(Range::all())), Result<std::vector<Record>>>);
    static_assert(same<decltype(std::declval<ConstHandle>().range_iter(std::declval<const Range&>())), Result<EmdbRangeIter>>);
    static_assert(same<decltype(std::declval<ConstHandle>().range_prefix("p")), Result<std::vector<Record>>>);
    static_assert(same<decltype(std::declval<ConstHandle>().range_prefix_iter("p")), Result<EmdbRangeIter>>);
    static_assert(same<decltype(std::declval<ConstHandle>().iter_from("a")), Result<EmdbRangeIter>>);
    static_assert(same<decltype(std::declval<ConstHandle>().iter_after("a")), Result<EmdbRangeIter>>);
#if EMDB_TTL
    static_assert(same<decltype(std::declval<Handle>().insert_with_ttl("k", "v", Ttl::never())), Result<void>>);
    static_assert(same<decltype(std::declval<ConstHandle>().expires_at("k")), Result<std::optional<std::uint64_t>>>);
    static_assert(same<decltype(std::declval<ConstHandle>().ttl("k")), Result<std::optional<milliseconds>>>);
    static_assert(same<decltype(std::declval<Handle>().persist("k")), Result<bool>>);
    static_assert(same<decltype(std::declval<Handle>().sweep_expired()), Result<std::size_t>>);
#endif
#if EMDB_NESTED
    static_assert(same<decltype(std::declval<Handle>().focus("p")), Focus>);
    static_assert(same<decltype(std::declval<ConstHandle>().group("p")), Result<std::vector<Record>>>);
    static_assert(same<decltype(std::declval<Handle>().delete_group(text)), Result<std::size_t>>);
#endif
    return true;
}
static_assert(data_calls<Emdb&, const Emdb&>() && data_calls<Namespace&, const Namespace&>());
static_assert(std::is_convertible_v<decltype(const_space.name()), std::string>);

template <class Iterator, class Item>
constexpr bool iterates = std::ranges::input_range<Iterator&> && std::is_move_constructible_v<Iterator> &&
                          same<decltype(std::declval<const Iterator&>().status()), Result<void>> &&
                          same<decltype(std::declval<Iterator&>().collect()), Result<std::vector<Item>>>;
static_assert(iterates<EmdbIter, Record> && iterates<EmdbKeyIter, std::string> && iterates<EmdbRangeIter, Record>);
static_assert(std::is_convertible_v<std::ranges::range_reference_t<EmdbKeyIter&>, std::string_view>);

// --- Emdb alone

static_assert(same<decltype(Emdb::open("a.emdb")), Result<Emdb>> && same<decltype(Emdb::open(text)), Result<Emdb>>);
static_assert(same<decltype(Emdb::open(std::string_view(text))), Result<Emdb>> && same<decltype(Emdb::open(file)), Result<Emdb>>);
static_assert(same<decltype(Emdb::open(file / "a.emdb")), Result<Emdb>>);
static_assert(same<decltype(Emdb::open_in_memory()), Emdb> && same<decltype(Emdb::builder()), EmdbBuilder>);
static_assert(same<decltype(const_db.clone_handle()), Emdb> && same<decltype(const_db.path()), std::string>);
static_assert(same<decltype(db.open_namespace(std::string_view("n"))), Result<Namespace>>);
static_assert(same<decltype(db.drop_namespace("n")), Result<bool>>);
static_assert(same<decltype(const_db.list_namespaces()), Result<std::vector<std::string>>>);
static_assert(same<decltype(db.flush()), Result<void>> && same<decltype(db.checkpoint()), Result<void>>);
static_assert(same<decltype(db.compact()), Result<void>> && same<decltype(db.close()), Result<void>>);
static_assert(same<decltype(const_db.stats()), Result<EmdbStats>>);
static_assert(same<decltype(const_db.backup_to("b")), Result<void>> && same<decltype(const_db.backup_to(file)), Result<void>>);
static_assert(same<decltype(Emdb::lock_holder(file)), Result<std::optional<LockHolder>>>);
static_assert(same<decltype(Emdb::break_lock("a")), Result<void>>);
static_assert(same<decltype(Emdb::verify(file)), Result<VerifyReport>>);
static_assert(same<decltype(Emdb::verify("a", VerifyOptions{})), Result<VerifyReport>>);
static_assert(same<decltype(Emdb::salvage(file, "b")), Result<SalvageReport>>);
static_assert(same<decltype(Emdb::salvage("a", text, SalvageOptions{})), Result<SalvageReport>>);

constexpr auto closure = [](Transaction&) -> Result<std::unique_ptr<int>> { return std::make_unique<int>(1); };
static_assert(same<decltype(db.transaction(closure)), Result<std::unique_ptr<int>>>);
static_assert(same<decltype(transaction.insert("k", "v")), Result<void>>);
static_assert(same<decltype(transaction.remove("k")), Result<MaybeString>> && same<decltype(transaction.get("k")), Result<MaybeString>>);
static_assert(same<decltype(transaction.contains_key("k")), Result<bool>>);
static_assert(same<decltype(transaction.in(const_space).insert("k", "v")), Result<void>>);
static_assert(same<decltype(transaction.in(space).remove("k")), Result<MaybeString>>);
static_assert(same<decltype(transaction.in(space).get("k")), Result<MaybeString>>);
static_assert(same<decltype(transaction.in(space).contains_key("k")), Result<bool>>);

// --- EmdbBuilder

constexpr auto log = [](LogLevel, std::string_view) {};
constexpr auto now = []() -> std::uint64_t { return 0; };
static_assert(same<decltype(builder.path("p")), EmdbBuilder&> && same<decltype(builder.path(file)), EmdbBuilder&>);
static_assert(same<decltype(builder.path(text)), EmdbBuilder&>);
static_assert(same<decltype(builder.path(std::string_view(text))), EmdbBuilder&>);
static_assert(same<decltype(builder.app_name("a")), EmdbBuilder&> && same<decltype(builder.app_name(text)), EmdbBuilder&>);
static_assert(same<decltype(builder.app_name(std::string_view(text))), EmdbBuilder&>);
static_assert(same<decltype(builder.database_name("a")), EmdbBuilder&>);
static_assert(same<decltype(builder.database_name(std::string_view(text))), EmdbBuilder&>);
static_assert(same<decltype(builder.data_root(file)), EmdbBuilder&> && same<decltype(builder.data_root("d")), EmdbBuilder&>);
static_assert(same<decltype(builder.enable_range_scans(true)), EmdbBuilder&>);
static_assert(same<decltype(builder.flush_policy(FlushPolicy::group())), EmdbBuilder&>);
static_assert(same<decltype(builder.auto_compact(0.5, std::uint64_t{1})), EmdbBuilder&>);
static_assert(same<decltype(builder.verify_reads(false)), EmdbBuilder&>);
static_assert(same<decltype(builder.append_mode(AppendMode::pwrite)), EmdbBuilder&>);
static_assert(same<decltype(builder.on_log(log)), EmdbBuilder&> && same<decltype(builder.clock(now)), EmdbBuilder&>);
static_assert(same<decltype(builder.build()), Result<Emdb>>);

#if EMDB_TTL
static_assert(same<decltype(Ttl::never()), Ttl> && same<decltype(Ttl::use_default()), Ttl>);
static_assert(same<decltype(Ttl::after(milliseconds(1))), Ttl> && same<decltype(Ttl::after(std::chrono::hours(1))), Ttl>);
static_assert(same<decltype(Ttl::at(std::uint64_t{1})), Ttl>);
static_assert(same<decltype(builder.default_ttl(milliseconds(1))), EmdbBuilder&>);
static_assert(same<decltype(builder.default_ttl(std::chrono::seconds(1))), EmdbBuilder&>);
static_assert(same<decltype(transaction.insert_with_ttl("k", "v", Ttl::never())), Result<void>>);
static_assert(same<decltype(transaction.in(space).insert_with_ttl("k", "v", Ttl::never())), Result<void>>);
#endif

#if EMDB_NESTED
extern Focus& focused;
extern const Focus& const_focused;
static_assert(std::is_copy_constructible_v<Focus> && std::is_copy_assignable_v<Focus>);
static_assert(same<decltype(focused.set("k", text)), Result<void>> && same<decltype(const_focused.get("k")), Result<MaybeString>>);
static_assert(same<decltype(focused.remove("k")), Result<MaybeString>> && same<decltype(const_focused.contains_key("k")), Result<bool>>);
static_assert(same<decltype(const_focused.iter()), Result<EmdbIter>> && same<decltype(focused.delete_all()), Result<std::size_t>>);
static_assert(same<decltype(const_focused.focus("s")), Focus>);
static_assert(std::is_convertible_v<decltype(const_focused.prefix()), std::string_view>);
#if EMDB_TTL
static_assert(same<decltype(focused.set_with_ttl("k", "v", Ttl::never())), Result<void>>);
#endif
#endif

#if EMDB_ENCRYPT
using KeyBytes = std::array<std::byte, 32>;
extern const KeyBytes& key_bytes;
extern const EncryptionInput& input;
static_assert(same<decltype(EncryptionInput::key(key_bytes)), EncryptionInput>);
static_assert(same<decltype(EncryptionInput::key(std::span<const std::byte, 32>(key_bytes))), EncryptionInput>);
static_assert(same<decltype(EncryptionInput::passphrase("p")), EncryptionInput>);
static_assert(same<decltype(EncryptionInput::passphrase(text)), EncryptionInput>);
static_assert(same<decltype(builder.encryption_key(key_bytes)), EmdbBuilder&>);
static_assert(same<decltype(builder.encryption_passphrase("p")), EmdbBuilder&>);
static_assert(same<decltype(builder.encryption_passphrase(text)), EmdbBuilder&>);
static_assert(same<decltype(builder.cipher(Cipher::chacha20_poly1305)), EmdbBuilder&>);
static_assert(same<decltype(VerifyOptions::encryption), std::optional<EncryptionInput>>);
static_assert(same<decltype(SalvageOptions::encryption), std::optional<EncryptionInput>>);
static_assert(same<decltype(Emdb::enable_encryption(file, input)), Result<void>>);
static_assert(same<decltype(Emdb::enable_encryption("a", input, Cipher::aes_256_gcm)), Result<void>>);
static_assert(same<decltype(Emdb::enable_encryption("a", input, Cipher::aes_256_gcm, true)), Result<void>>);
static_assert(same<decltype(Emdb::disable_encryption(text, input)), Result<void>>);
static_assert(same<decltype(Emdb::disable_encryption(text, input, true)), Result<void>>);
static_assert(same<decltype(Emdb::rotate_encryption_key(file, input, input)), Result<void>>);
static_assert(same<decltype(Emdb::rotate_encryption_key(file, input, input, true)), Result<void>>);
static_assert(same<decltype(Emdb::change_passphrase(file, input, input)), Result<void>>);
#endif

#if EMDB_IO_URING
static_assert(same<decltype(builder.iouring_sqpoll(std::uint32_t{10})), EmdbBuilder&>);
#endif

}  // namespace

TEST_CASE("contract: the program in the documentation's first lines compiles and runs") {
    auto opened = emdb::Emdb::open_in_memory();
    opened.insert("name", "emdb").value();
    opened.flush().value();
    std::string said;
    if (auto v = opened.get("name").value()) said = v->c_str();
    CHECK(said == "emdb");
}

TEST_CASE("contract: reports and options are filled in by name") {
    const Record record{.key = "k", .value = "v"};
    CHECK(record.key + record.value == "kv");
    std::vector<std::pair<std::uint64_t, std::uint64_t>> steps;
    VerifyOptions verify;
    CHECK_FALSE(static_cast<bool>(verify.progress));
    verify.progress = [&steps](std::uint64_t done, std::uint64_t total) { steps.emplace_back(done, total); };
    verify.progress(1, 2);
    SalvageOptions salvage;
    salvage.progress = verify.progress;
    salvage.progress(3, 4);
    CHECK(steps == std::vector<std::pair<std::uint64_t, std::uint64_t>>{{1, 2}, {3, 4}});
    salvage.progress = nullptr;
    CHECK_FALSE(static_cast<bool>(salvage.progress));
}

}  // namespace emdb_test
