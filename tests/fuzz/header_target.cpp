// The header's two copies and the key block in them, changed anyhow, opened with the right key, a wrong one or none. Nothing but the
// right key opens an encrypted database, which then has what it had; parameters that cost too much are refused before they cost.

#include "fuzz/fuzzing.hpp"

namespace emdb_fuzz {

namespace header {

enum class Secret : std::uint8_t { none, key, other_key, passphrase, other_passphrase };

std::optional<emdb::EncryptionInput> input_of(Secret secret) {
    switch (secret) {
        case Secret::key: return emdb::EncryptionInput::key(encryption_key());
        case Secret::other_key: return emdb::EncryptionInput::key(encryption_key(1));
        case Secret::passphrase: return emdb::EncryptionInput::passphrase("a passphrase");
        case Secret::other_passphrase: return emdb::EncryptionInput::passphrase("another");
        default: return std::nullopt;
    }
}

Result<emdb::Emdb> open_with(SimulatedDisk& disk, Secret secret) {
    emdb::EmdbBuilder builder = emdb::Emdb::builder();
    builder.path(database_path);
    emdb::detail::BuilderAccess::set_environment(builder, disk);
    if (secret == Secret::key) builder.encryption_key(encryption_key());
    if (secret == Secret::other_key) builder.encryption_key(encryption_key(1));
    if (secret == Secret::passphrase) builder.encryption_passphrase("a passphrase");
    if (secret == Secret::other_passphrase) builder.encryption_passphrase("another");
    return builder.build();
}

struct Base {
    Secret secret;
    std::string file;
    Contents contents;
};

Base make_base(Secret secret) {
    emdb::detail::passphrase_cost = {8 * 1024, 1, 1};
    const auto disk = make_disk();
    emdb::Emdb db = expect(open_with(*disk, secret), "making the base");
    for (unsigned i = 0; i < 5; ++i) expect(db.insert("key " + std::to_string(i), std::string(10 * i, 'v')), "insert");
    emdb::Namespace space = expect(db.open_namespace("space"), "open_namespace");
    expect(space.insert("key", "value"), "insert");
    Base base{secret, "", read_contents(db)};
    expect(db.close(), "close");
    base.file = disk->bytes_of(database_path);
    return base;
}

const Base& base(std::uint64_t number) {
    static const Base bases[]{make_base(Secret::none), make_base(Secret::key), make_base(Secret::passphrase)};
    return bases[number % 3];
}

constexpr std::size_t slot_size = emdb::detail::header_slot_size;
constexpr std::size_t block_at = emdb::detail::key_block_offset;

std::byte* slot_of(std::string& file, unsigned slot) { return data_of(file) + slot * slot_size; }

void edit(Input& in, std::string& file) {
    for (unsigned edits = 0; !in.empty() && edits < 40; ++edits) {
        Choices choices(in.byte());
        std::size_t at = choices.flag() ? slot_size : 0;
        const std::uint64_t region = choices.number(2);
        at += region == 0   ? in.byte() % 80
              : region == 1 ? block_at + in.byte() % 16
              : region == 2 ? block_at + in.byte()
                            : in.number(2) % slot_size;
        const std::size_t size = std::size_t{1} << choices.number(2);
        for (const char byte : in.bytes(size)) {
            if (at < file.size()) file[at++] = byte;
        }
        if (choices.number(3) == 7) {  // one copy becomes the other
            const unsigned from = in.byte() % 2;
            std::memcpy(slot_of(file, 1 - from), slot_of(file, from), slot_size);
        }
    }
}

// What is refused is left as it is; what would be borne, but takes long, becomes cheap.
void bound_cost(std::string& file) {
    for (unsigned slot = 0; slot < 2; ++slot) {
        std::byte* const cost = slot_of(file, slot) + block_at + 4;
        const auto memory_kib = emdb::detail::load_le<std::uint32_t>(cost);
        const auto passes = emdb::detail::load_le<std::uint32_t>(cost + 4);
        if (memory_kib > 8 * 1024 && memory_kib <= 1024 * 1024) emdb::detail::store_le(cost, std::uint32_t{8 * 1024});
        if (passes > 1 && passes <= 16) emdb::detail::store_le(cost + 4, std::uint32_t{1});
    }
}

}  // namespace header

void fuzz_header(Input in) {
    using header::Secret;
    Choices choices(in.number(2));
    const header::Base& base = header::base(choices.number(2));
    const bool sums[2] = {choices.flag(), choices.flag()};
    // Passphrases take their time, so they are not tried as often as the rest.
    static constexpr Secret others[]{Secret::none, Secret::key, Secret::other_key, Secret::other_key, Secret::none, Secret::key,
                                     Secret::passphrase, Secret::other_passphrase};
    const Secret secret = choices.flag() ? base.secret : others[choices.number(3)];
    const bool cut = choices.number(3) == 7;

    std::string file = base.file;
    header::edit(in, file);
    header::bound_cost(file);
    for (unsigned slot = 0; slot < 2; ++slot) {
        std::byte* const at = header::slot_of(file, slot);
        if (sums[slot]) emdb::detail::store_le(at + 4092, emdb::detail::crc32c(at, 4092));
    }
    if (cut) file.resize(std::min<std::size_t>(file.size(), in.number(2) % (header::slot_size * 2 + 200)));

    const auto disk = make_disk();
    put_file(*disk, database_path, file);
    emdb::VerifyOptions options;
    options.encryption = header::input_of(secret);
    const auto verified = verify(*disk, database_path, options);
    auto opened = header::open_with(*disk, secret);
    if (!opened) {
        check(!verified || !verified->ok(), "what does not open is found to be good");
        check(disk->bytes_of(database_path) == file, "a file that does not open was changed");
        return;
    }
    if (file.empty()) return;  // a new database, encrypted if asked for
    const Contents found = read_contents(*opened);
    if (base.secret != Secret::none) {
        check(secret != Secret::none || found == Contents(), "an encrypted database opens without a key");
        check(secret == base.secret || secret == Secret::none, "an encrypted database opens with a wrong key");
    }
    // The checksum keeps nobody from making up a plain header; the data key does of an encrypted one.
    const bool forged = (sums[0] || sums[1]) && base.secret == Secret::none;
    if (!forged && !cut && secret == base.secret) check_same(found, base.contents, "with a changed header");
    Contents contents = found;
    check(verified.has_value(), "verify refuses what opens: " + (verified ? "" : verified.error().message()));
    check(verified->live_records == record_count(found), "verify counts other records than iter");
    expect(opened->insert("key", "value"), "insert");
    contents.put("", "key", "value");
    expect(opened->close(), "close");
    emdb::Emdb again = expect(header::open_with(*disk, secret), "reopening");
    check_same(read_contents(again), contents, "reopened");
}

}  // namespace emdb_fuzz
