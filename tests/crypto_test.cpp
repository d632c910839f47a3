// The primitives of encryption at rest: answers printed in the specifications, the files of known answers on every code path, limits.
// Aead has more tests in aead_test.cpp.

#define EMDB_IMPLEMENTATION
#define EMDB_ENCRYPT 1
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sys/resource.h>
#endif

#include "support/crypto_paths.hpp"
#include "support/vectors.hpp"

namespace crypto_test {

namespace detail = emdb::detail;
using namespace crypto_support;
using emdb::Cipher;

/// The fields of one line of a file of known answers, as bytes. Absent fields are empty.
class Answers {
public:
    explicit Answers(const test_support::VectorFields& fields) : fields_(fields) {}
    Buffer bytes(const std::string& name) const {
        if (fields_.count(name) == 0) return {};
        std::vector<unsigned char> found;
        REQUIRE_MESSAGE(test_support::hex_field(fields_, name, found), name);
        return to_bytes(found);
    }
    std::string text(const std::string& name) const {
        const auto found = fields_.find(name);
        return found == fields_.end() ? std::string() : found->second;
    }
    std::uint32_t number(const std::string& name) const { return static_cast<std::uint32_t>(std::stoul(text(name))); }

private:
    const test_support::VectorFields& fields_;
};

/// Hands every line of a file to `check`, on every path; a message instead when no folder of vectors is there.
template <class Check>
void for_each_vector(const std::string& name, Check check) {
    const std::filesystem::path folder = test_support::vectors_folder();
    if (folder.empty()) {
        MESSAGE("skipped, no folder of vectors (EMDB_VECTORS): " << name);
        return;
    }
    const test_support::VectorFile file = test_support::read_vectors(folder / name);
    REQUIRE_MESSAGE(file.problem.empty(), file.problem);
    REQUIRE(!file.vectors.empty());
    on_every_path([&](CryptoPath path) {
        CAPTURE(name_of(path));
        for (const test_support::VectorFields& fields : file.vectors) check(Answers(fields), path);
    });
}

Buffer blake2b_of(View key, View in, std::size_t size) {
    Buffer out(size);
    detail::blake2b(key, in, out);
    return out;
}

TEST_CASE("BLAKE2b: RFC 7693, appendix A") {
    CHECK(blake2b_of({}, to_bytes("abc"), 64) ==
          from_hex("ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
                   "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"));
}

TEST_CASE("BLAKE2b: the self-test of RFC 7693, appendix E, over sizes of results, inputs and keys") {
    const auto sequence = [](std::size_t size, std::uint32_t seed) {
        Buffer bytes;
        std::uint32_t a = 0xDEAD4BADu * seed;
        std::uint32_t b = 1;
        for (std::size_t i = 0; i < size; ++i) {
            const std::uint32_t sum = a + b;
            a = b;
            b = sum;
            bytes.push_back(static_cast<std::byte>(sum >> 24));
        }
        return bytes;
    };
    detail::Blake2b all(32);
    for (const std::size_t out_size : {20u, 32u, 48u, 64u}) {
        for (const std::size_t in_size : {0u, 3u, 128u, 129u, 255u, 1024u}) {
            const Buffer in = sequence(in_size, static_cast<std::uint32_t>(in_size));
            all.update(blake2b_of({}, in, out_size));
            all.update(blake2b_of(sequence(out_size, static_cast<std::uint32_t>(out_size)), in, out_size));
        }
    }
    Buffer result(32);
    all.finish(result.data());
    CHECK(result == from_hex("c23a7800d98123bd10f506c61e29da5603d763b8bbad2e737f5e765a7bccd475"));
}

TEST_CASE("BLAKE2b: an input may come in pieces") {
    const Buffer in = noise(700);
    const Buffer whole = blake2b_of(noise(64), in, 64);
    for (std::size_t cut = 0; cut <= in.size(); cut += 7) {
        detail::Blake2b hash(64, noise(64));
        hash.update(View(in).first(cut));
        hash.update(View(in).subspan(cut));
        Buffer result(64);
        hash.finish(result.data());
        REQUIRE(result == whole);
    }
}

TEST_CASE("BLAKE2b: official vectors") {
    for_each_vector("blake2b_official.txt", [](const Answers& answers, CryptoPath) {
        const Buffer expected = answers.bytes("out");
        REQUIRE(blake2b_of(answers.bytes("key"), answers.bytes("msg"), expected.size()) == expected);
    });
}

emdb::Result<Buffer> argon2id_of(View password, View salt, View secret, View associated, std::uint32_t memory_kib, std::uint32_t passes,
                                 std::uint32_t lanes, std::size_t size) {
    Buffer out(size);
    if (emdb::Result<void> made = detail::argon2id(password, salt, secret, associated, memory_kib, passes, lanes, out); !made) {
        return std::move(made).error();
    }
    return out;
}

TEST_CASE("Argon2id: RFC 9106, 5.3") {
    on_every_path([](CryptoPath path) {
        CAPTURE(name_of(path));
        const Buffer result = argon2id_of(Buffer(32, std::byte{1}), Buffer(16, std::byte{2}), Buffer(8, std::byte{3}),
                                          Buffer(12, std::byte{4}), 32, 3, 4, 32).value();
        CHECK(result == from_hex("0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"));
    });
}

TEST_CASE("Argon2id: official vectors") {
    for_each_vector("argon2_official.txt", [](const Answers& answers, CryptoPath path) {
        // Other variants are not ours. The portable path takes a second for 256 MiB, and has done the others.
        if (answers.text("type") != "id" || (answers.number("m") > 65536 && path != CryptoPath::best)) return;
        const Buffer expected = answers.bytes("out");
        REQUIRE(argon2id_of(answers.bytes("pwd"), answers.bytes("salt"), answers.bytes("secret"), answers.bytes("ad"), answers.number("m"),
                            answers.number("t"), answers.number("p"), expected.size()).value() == expected);
    });
}

TEST_CASE("Argon2id: the same on every path, with memory that is not a multiple of four blocks a lane, and results of any length") {
    const Buffer password = noise(20);
    const Buffer salt = noise(16, 2);
    for (const std::uint32_t lanes : {1u, 2u, 3u, 7u}) {
        for (const std::uint32_t memory_kib : {8 * lanes, 8 * lanes + 3, 8 * lanes + 5, 300 * lanes + 1}) {
            std::map<std::size_t, Buffer> expected;
            on_every_path([&](CryptoPath path) {
                CAPTURE(name_of(path));
                for (const std::size_t size : {4u, 63u, 64u, 65u, 96u, 97u, 200u}) {
                    const Buffer result = argon2id_of(password, salt, {}, {}, memory_kib, 2, lanes, size).value();
                    REQUIRE(expected.emplace(size, result).first->second == result);
                }
            });
            CHECK(expected[64] != argon2id_of(password, salt, {}, {}, memory_kib + 1, 2, lanes, 64).value());
        }
    }
}

TEST_CASE("Argon2id refuses what RFC 9106 does not allow") {
    const auto code = [](std::uint32_t memory_kib, std::uint32_t passes, std::uint32_t lanes, std::size_t size) {
        const emdb::Result<Buffer> result = argon2id_of({}, {}, {}, {}, memory_kib, passes, lanes, size);
        REQUIRE(!result);
        return result.error().code();
    };
    using emdb::ErrorCode;
    CHECK(argon2id_of({}, {}, {}, {}, 8, 1, 1, 4).has_value());
    CHECK(code(7, 1, 1, 32) == ErrorCode::invalid_argument);
    CHECK(code(0, 1, 1, 32) == ErrorCode::invalid_argument);
    CHECK(code(8, 0, 1, 32) == ErrorCode::invalid_argument);
    CHECK(code(8, 1, 0, 32) == ErrorCode::invalid_argument);
    CHECK(code(15, 1, 2, 32) == ErrorCode::invalid_argument);
    CHECK(code(0xFFFFFFFFu, 1, 1u << 24, 32) == ErrorCode::invalid_argument);
    CHECK(code(8 * 0xFFFFFFu - 1, 1, 0xFFFFFFu, 32) == ErrorCode::invalid_argument);
    CHECK(code(8, 1, 1, 3) == ErrorCode::invalid_argument);
    CHECK(code(8, 1, 1, 0) == ErrorCode::invalid_argument);
}

TEST_CASE("Argon2id says so when there is not enough memory") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    MESSAGE("skipped: the sanitizer would end the program");
#else
    // 4 TiB - 1 KiB: more than a machine for tests has. Where the system promises it all the same, there is nothing to see.
    if (detail::SecretMemory::allocate_large(0xFFFFFFFFu, 1024).data() != nullptr) {
        MESSAGE("skipped: the system promises 4 TiB");
        return;
    }
    const emdb::Result<Buffer> result = argon2id_of({}, {}, {}, {}, 0xFFFFFFFFu, 1, 1, 32);
    REQUIRE(!result);
    CHECK(result.error() == emdb::ErrorCode::io);
#endif
}

TEST_CASE("AES-256: FIPS 197, C.3, in each of the four blocks") {
    detail::AesPortableKey key;
    key.expand(from_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").data());
    const Buffer plain = from_hex("00112233445566778899aabbccddeeff");
    const Buffer expected = from_hex("8ea2b7ca516745bfeafc49904b496089");
    for (std::size_t block = 0; block < 4; ++block) {
        detail::AesColumns columns;
        for (std::size_t i = 0; i < 16; ++i) columns[i] = 0x01010101u * static_cast<std::uint32_t>(i);
        for (std::size_t i = 0; i < 4; ++i) columns[4 * block + i] = detail::load_le<std::uint32_t>(plain.data() + 4 * i);
        columns = key.encrypt(columns);
        for (std::size_t i = 0; i < 4; ++i) {
            CHECK(columns[4 * block + i] == detail::load_le<std::uint32_t>(expected.data() + 4 * i));
        }
    }
}

TEST_CASE("AES-256: known answers for blocks and key schedules") {
    for_each_vector("aes256_block.txt", [](const Answers& answers, CryptoPath path) {
        if (path != CryptoPath::portable) return;  // the only one that encrypts a block by itself
        const Buffer plain = answers.bytes("pt");
        const Buffer expected = answers.bytes("ct");
        detail::AesPortableKey key;
        key.expand(answers.bytes("key").data());
        for (std::size_t at = 0; at < plain.size(); at += 16) {
            detail::AesColumns columns{};
            for (std::size_t i = 0; i < 4; ++i) columns[i] = detail::load_le<std::uint32_t>(plain.data() + at + 4 * i);
            columns = key.encrypt(columns);
            for (std::size_t i = 0; i < 4; ++i) REQUIRE(columns[i] == detail::load_le<std::uint32_t>(expected.data() + at + 4 * i));
        }
    });
    for_each_vector("aes256_keyexp.txt", [](const Answers& answers, CryptoPath) {
        Buffer round_keys(15 * 16);
        detail::expand_aes256_key(answers.bytes("key").data(), round_keys.data());
        REQUIRE(round_keys == answers.bytes("rk"));
    });
}

/// The key stream, which is what sealing zeros gives; counters begin at 2 then.
TEST_CASE("AES-256 in counter mode: RFC 3686") {
    for_each_vector("aes256_ctr.txt", [](const Answers& answers, CryptoPath) {
        const Buffer key = answers.bytes("key");
        const Buffer nonce = answers.bytes("iv");  // 12 bytes and the counter 1
        const Buffer plain = answers.bytes("pt");
        const Buffer cipher = answers.bytes("ct");
        REQUIRE(nonce[15] == std::byte{1});
        // Block 0 is the mask of the tag, where Aead doesn't show it.
        detail::AesPortableKey portable;
        portable.expand(key.data());
        detail::AesPortableStream stream(portable, nonce.data());
        Buffer first(16);
        for (std::size_t i = 0; i < 16 && i < plain.size(); ++i) first[i] = stream.tag_mask()[i] ^ plain[i];
        REQUIRE(std::memcmp(first.data(), cipher.data(), std::min<std::size_t>(16, cipher.size())) == 0);
        if (plain.size() <= 16) return;
        Buffer out(plain.size() - 16 + 16);
        const detail::Aead aead(Cipher::aes_256_gcm, as_key(key));
        aead.seal(as_nonce(nonce), {}, View(plain).subspan(16), out.data());
        REQUIRE(std::memcmp(out.data(), cipher.data() + 16, plain.size() - 16) == 0);
    });
}

TEST_CASE("GHASH: known answers, one block at a time and side by side") {
    for_each_vector("ghash.txt", [](const Answers& answers, CryptoPath) {
        const detail::GhashElement key = detail::ghash_key(answers.bytes("h").data());
        const Buffer aad = answers.bytes("aad");
        const Buffer cipher = answers.bytes("ct");
        detail::GhashElement sum = detail::ghash_portable({}, key, aad.data(), aad.size());
        sum = detail::ghash_portable(sum, key, cipher.data(), cipher.size());
        sum = detail::ghash_multiply(sum ^ detail::ghash_lengths(aad.size(), cipher.size()), key);
        Buffer result(16);
        detail::store_ghash_block(result.data(), sum);
        REQUIRE(result == answers.bytes("out"));
    });
}

TEST_CASE("The product without carries is the one of pencil and paper") {
    const Buffer bytes = noise(16 * 400);
    for (std::size_t i = 0; i < 400; ++i) {
        const std::uint64_t a = i == 0 ? ~std::uint64_t{0} : detail::load_le<std::uint64_t>(bytes.data() + 16 * i);
        const std::uint64_t b = i <= 1 ? ~std::uint64_t{0} : detail::load_le<std::uint64_t>(bytes.data() + 16 * i + 8);
        detail::GhashElement expected{0, 0};
        for (unsigned bit = 0; bit < 64; ++bit) {
            if ((b >> bit & 1u) == 0) continue;
            expected.low ^= a << bit;
            expected.high ^= bit == 0 ? 0 : a >> (64 - bit);
        }
        const detail::GhashElement product = detail::carryless_product(a, b);
        REQUIRE(product.low == expected.low);
        REQUIRE(product.high == expected.high);
    }
}

TEST_CASE("ChaCha20: RFC 8439, 2.3.2") {
    const Buffer key = from_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    detail::ChaCha20State state(key.data(), from_hex("000000090000004a00000000").data());
    state.words[12] = 1;
    Buffer block(64);
    detail::chacha20_portable(state, block.data());
    CHECK(block == from_hex("10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
                            "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"));
}

TEST_CASE("ChaCha20: RFC 8439, A.2, from block 1 on on every path, else portable") {
    for_each_vector("chacha20.txt", [](const Answers& answers, CryptoPath path) {
        const Buffer key = answers.bytes("key");
        const Buffer nonce = answers.bytes("iv");
        const Buffer plain = answers.bytes("pt");
        const std::uint32_t counter = answers.number("counter");
        Buffer out(plain.size() + 16);
        if (counter == 1) {
            detail::Aead(Cipher::chacha20_poly1305, as_key(key)).seal(as_nonce(nonce), {}, plain, out.data());
            out.resize(plain.size());
        } else if (path == CryptoPath::portable) {
            out = plain;
            detail::ChaCha20State state(key.data(), nonce.data());
            state.words[12] = counter;
            Buffer block(64);
            for (std::size_t i = 0; i < plain.size(); ++i) {
                if (i % 64 == 0) {
                    detail::chacha20_portable(state, block.data());
                    ++state.words[12];
                }
                out[i] ^= block[i % 64];
            }
        } else {
            return;
        }
        REQUIRE(out == answers.bytes("ct"));
    });
}

template <class Poly1305>
Buffer poly1305_of(const Buffer& key, const Buffer& message) {
    Poly1305 authenticator(key.data());
    const std::size_t blocks = message.size() / 16;
    authenticator.absorb_blocks(message.data(), blocks, 1);
    if (message.size() % 16 != 0) {
        std::byte last[16] = {};
        std::memcpy(last, message.data() + 16 * blocks, message.size() % 16);
        last[message.size() % 16] = std::byte{1};
        authenticator.absorb_blocks(last, 1, 0);
    }
    Buffer tag(16);
    authenticator.finish(tag.data());
    return tag;
}

TEST_CASE("Poly1305: RFC 8439, 2.5.2") {
    const Buffer key = from_hex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b");
    const Buffer message = to_bytes("Cryptographic Forum Research Group");
    const Buffer expected = from_hex("a8061dc1305136c6c22b8baf0c0127a9");
    CHECK(poly1305_of<detail::Poly1305>(key, message) == expected);
    CHECK(poly1305_of<detail::BasicPoly1305<detail::PortableWide>>(key, message) == expected);
}

TEST_CASE("Poly1305: RFC 8439, A.3, with and without 128-bit integers") {
    for_each_vector("poly1305.txt", [](const Answers& answers, CryptoPath) {
        const Buffer key = answers.bytes("key");
        const Buffer message = answers.bytes("msg");
        REQUIRE(poly1305_of<detail::Poly1305>(key, message) == answers.bytes("tag"));
        REQUIRE(poly1305_of<detail::BasicPoly1305<detail::PortableWide>>(key, message) == answers.bytes("tag"));
    });
}

TEST_CASE("Poly1305 is the same without 128-bit integers") {
    for (std::size_t size = 0; size < 600; size += 16) {
        Buffer key = noise(32, size + 1);
        Buffer message = noise(size, size + 2);
        if (size % 32 == 0) std::fill(key.begin(), key.end(), std::byte{0xFF});
        if (size % 48 == 0) std::fill(message.begin(), message.end(), std::byte{0xFF});
        REQUIRE(poly1305_of<detail::Poly1305>(key, message) == poly1305_of<detail::BasicPoly1305<detail::PortableWide>>(key, message));
    }
}

/// Seals and opens as one line of a file says: in place and out of place, at two alignments.
void check_aead(Cipher cipher, const Answers& answers) {
    CAPTURE(answers.text("id"));
    const Buffer key = answers.bytes("key");
    const Buffer nonce = answers.bytes("iv");
    const Buffer aad = answers.bytes("aad");
    Buffer sealed = answers.bytes("ct");
    const std::size_t size = sealed.size();
    const Buffer tag = answers.bytes("tag");
    sealed.insert(sealed.end(), tag.begin(), tag.end());
    const bool valid = answers.text("result") != "invalid";
    const detail::Aead aead(cipher, as_key(key));
    for (const std::size_t shift : {0u, 5u}) {
        Buffer from(shift + size + 16);
        Buffer to(shift + size + 16, std::byte{0xA5});
        if (valid) {
            const Buffer plain = answers.bytes("msg");
            REQUIRE(plain.size() == size);
            std::copy(plain.begin(), plain.end(), from.begin() + static_cast<std::ptrdiff_t>(shift));
            aead.seal(as_nonce(nonce), aad, View(from).subspan(shift, size), to.data() + shift);
            REQUIRE(Buffer(to.begin() + static_cast<std::ptrdiff_t>(shift), to.end()) == sealed);
            aead.seal(as_nonce(nonce), aad, View(from).subspan(shift, size), from.data() + shift);
            REQUIRE(Buffer(from.begin() + static_cast<std::ptrdiff_t>(shift), from.end()) == sealed);
        }
        std::copy(sealed.begin(), sealed.end(), from.begin() + static_cast<std::ptrdiff_t>(shift));
        std::fill(to.begin(), to.end(), std::byte{0xA5});
        const Buffer untouched = to;
        REQUIRE(aead.open(as_nonce(nonce), aad, View(from).subspan(shift), to.data() + shift) == valid);
        if (valid) {
            REQUIRE(Buffer(to.begin() + static_cast<std::ptrdiff_t>(shift), to.end() - 16) == answers.bytes("msg"));
        } else {
            REQUIRE(to == untouched);
        }
        const Buffer before = from;
        REQUIRE(aead.open(as_nonce(nonce), aad, View(from).subspan(shift), from.data() + shift) == valid);
        if (valid) {
            REQUIRE(Buffer(from.begin() + static_cast<std::ptrdiff_t>(shift), from.end() - 16) == answers.bytes("msg"));
        } else {
            REQUIRE(from == before);
        }
    }
}

TEST_CASE("AES-256-GCM: known answers of the specification, NIST and Wycheproof") {
    for (const char* file : {"aes256gcm_spec.txt", "aes256gcm_nist_encrypt.txt", "aes256gcm_nist_decrypt.txt", "aes256gcm_wycheproof.txt"}) {
        for_each_vector(file, [](const Answers& answers, CryptoPath) { check_aead(Cipher::aes_256_gcm, answers); });
    }
}

TEST_CASE("ChaCha20-Poly1305: known answers of OpenSSL, BoringSSL and Wycheproof") {
    for (const char* file : {"chacha20poly1305_openssl_boringssl.txt", "chacha20poly1305_wycheproof.txt"}) {
        for_each_vector(file, [](const Answers& answers, CryptoPath) { check_aead(Cipher::chacha20_poly1305, answers); });
    }
}

TEST_CASE("Secrets are compared whole, and wiped") {
    Buffer a = noise(40);
    Buffer b = a;
    CHECK(detail::equal_in_constant_time(a.data(), b.data(), a.size()));
    CHECK(detail::equal_in_constant_time(a.data(), b.data(), 0));
    for (std::size_t bit = 0; bit < 8 * a.size(); ++bit) {
        b[bit / 8] ^= std::byte{1} << (bit % 8);
        REQUIRE(!detail::equal_in_constant_time(a.data(), b.data(), a.size()));
        b[bit / 8] ^= std::byte{1} << (bit % 8);
    }
    detail::wipe(a.data(), 39);
    CHECK(a == [&] {
        Buffer expected(40);
        expected[39] = b[39];
        return expected;
    }());
    detail::wipe(nullptr, 0);
}

TEST_CASE("What holds a key leaves none of it behind") {
    on_every_path([](CryptoPath path) {
        CAPTURE(name_of(path));
        for (const Cipher cipher : {Cipher::aes_256_gcm, Cipher::chacha20_poly1305}) {
            alignas(detail::Aead) std::array<std::byte, sizeof(detail::Aead)> memory{};
            auto* const aead = new (memory.data()) detail::Aead(cipher, as_key(noise(32)));
            std::destroy_at(aead);
            // What remains says which cipher and path it was, at most.
            std::size_t left = 0;
            for (std::size_t i = 0; i < memory.size(); ++i) left += *static_cast<volatile std::byte*>(&memory[i]) != std::byte{0} ? 1 : 0;
            CHECK(left <= 2);
        }
    });
}

TEST_CASE("Secret memory begins as zeros, moves, and may be empty") {
    detail::SecretMemory empty = detail::SecretMemory::allocate(0);
    CHECK(empty.data() == nullptr);
    CHECK(empty.size() == 0);
    detail::SecretMemory first = detail::SecretMemory::allocate(100);
    REQUIRE(first.data() != nullptr);
    CHECK(reinterpret_cast<std::uintptr_t>(first.data()) % 64 == 0);
    for (std::size_t i = 0; i < first.size(); ++i) REQUIRE(first.data()[i] == std::byte{0});
    first.data()[7] = std::byte{7};
    detail::SecretMemory second = std::move(first);
    CHECK(first.data() == nullptr);
    CHECK(second.data()[7] == std::byte{7});
    empty = std::move(second);
    CHECK(empty.data()[7] == std::byte{7});
    CHECK(empty.size() == 100);
    CHECK(detail::SecretMemory::allocate_large(static_cast<std::size_t>(-1) / 2, 1024).data() == nullptr);
}

#if defined(__linux__)
TEST_CASE("Secret memory is kept out of core dumps, and is had without a lock where none is allowed") {
    const auto flags_of = [](const void* memory) {
        std::ifstream maps("/proc/self/smaps");
        bool here = false;
        for (std::string line; std::getline(maps, line);) {
            unsigned long long from = 0;
            unsigned long long to = 0;
            const auto at = reinterpret_cast<std::uintptr_t>(memory);
            if (std::sscanf(line.c_str(), "%llx-%llx ", &from, &to) == 2) here = from <= at && at < to;
            if (here && line.starts_with("VmFlags:")) return line + " ";
        }
        return std::string();
    };
    const detail::SecretMemory key = detail::SecretMemory::allocate(32);
    const detail::SecretMemory large = detail::SecretMemory::allocate_large(64, 1024);
    const std::string flags = flags_of(key.data());
    if (flags.empty()) {
        MESSAGE("this system does not show the flags of maps");
    } else {
        CHECK(flags.find(" dd ") != std::string::npos);  // don't dump
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // under which mlock() does nothing and succeeds
        CHECK((flags.find(" lo ") != std::string::npos) == key.locked());
#endif
        CHECK(flags_of(large.data()).find(" dd ") != std::string::npos);
        CHECK(flags_of(&flags).find(" dd ") == std::string::npos);
    }
    rlimit before{};
    REQUIRE(getrlimit(RLIMIT_MEMLOCK, &before) == 0);
    const rlimit none{0, before.rlim_max};
    REQUIRE(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
    const detail::SecretMemory unlocked = detail::SecretMemory::allocate(32);
    REQUIRE(setrlimit(RLIMIT_MEMLOCK, &before) == 0);
    REQUIRE(unlocked.data() != nullptr);
    unlocked.data()[31] = std::byte{1};
}
#endif

}  // namespace crypto_test
