// CRC-32C and SipHash-1-3: published answers, agreement with a reference written from the definition, and the same results
// on every path that this processor can take.

#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "support/vectors.hpp"

namespace checks_test {

namespace detail = emdb::detail;
using Buffer = std::vector<unsigned char>;

/// Bytes without a pattern that a CRC would be blind to; the same in every run.
inline Buffer noise(std::size_t size) {
    Buffer bytes(size);
    std::uint64_t state = 20240229;
    for (unsigned char& byte : bytes) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        byte = static_cast<unsigned char>(state >> 56);
    }
    return bytes;
}

/// The definition, bit by bit: reference[n] is the CRC-32C of the first n bytes.
inline std::vector<std::uint32_t> reference_crcs(const Buffer& bytes) {
    std::vector<std::uint32_t> crcs{0};
    std::uint32_t state = 0xFFFFFFFFu;
    for (const unsigned char byte : bytes) {
        state ^= byte;
        for (int bit = 0; bit < 8; ++bit) state = (state & 1u) != 0 ? (state >> 1) ^ 0x82F63B78u : state >> 1;
        crcs.push_back(~state);
    }
    return crcs;
}

/// SipHash-1-3 as the paper states it: the message padded to whole words with zeros and its length in the last byte.
inline std::uint64_t reference_siphash13(Buffer message, std::uint64_t k0, std::uint64_t k1) {
    const std::size_t size = message.size();
    message.resize(size / 8 * 8 + 8);
    message.back() = static_cast<unsigned char>(size & 0xFF);
    std::uint64_t v0 = k0 ^ 0x736f6d6570736575u;
    std::uint64_t v1 = k1 ^ 0x646f72616e646f6du;
    std::uint64_t v2 = k0 ^ 0x6c7967656e657261u;
    std::uint64_t v3 = k1 ^ 0x7465646279746573u;
    const auto rotate = [](std::uint64_t value, int by) { return value << by | value >> (64 - by); };
    const auto round = [&] {
        v0 += v1; v1 = rotate(v1, 13); v1 ^= v0; v0 = rotate(v0, 32);
        v2 += v3; v3 = rotate(v3, 16); v3 ^= v2;
        v0 += v3; v3 = rotate(v3, 21); v3 ^= v0;
        v2 += v1; v1 = rotate(v1, 17); v1 ^= v2; v2 = rotate(v2, 32);
    };
    for (std::size_t at = 0; at < message.size(); at += 8) {
        std::uint64_t word = 0;
        for (std::size_t i = 8; i-- > 0;) word = word << 8 | message[at + i];
        v3 ^= word;
        round();
        v0 ^= word;
    }
    v2 ^= 0xFF;
    for (int i = 0; i < 3; ++i) round();
    return v0 ^ v1 ^ v2 ^ v3;
}

/// The CRC's paths: tables, the CRC instruction alone, and the instruction with carry-less multiplication. A path that this
/// processor lacks falls back to the one before it.
enum class Path { portable, without_multiplication, best };

inline void choose(Path path) {
    detail::force_cpu_path(path == Path::portable ? detail::CpuPath::portable : detail::CpuPath::best);
    if (path == Path::without_multiplication) {
        constexpr std::uint32_t multiplications = detail::CpuFeatures::pclmulqdq | detail::CpuFeatures::arm_pmull;
        detail::cpu_features_in_use.store(detail::cpu_features().bits & ~multiplications);
    }
}

/// Runs `test` on every path and leaves the best one chosen.
template <class Test>
void on_every_path(Test test) {
    for (const Path path : {Path::portable, Path::without_multiplication, Path::best}) {
        CAPTURE(static_cast<int>(path));
        choose(path);
        test();
    }
    choose(Path::best);
}

constexpr std::size_t none = static_cast<std::size_t>(-1);

/// The first length in [from, to] for which the CRC of the bytes at `data` is wrong, or `none`.
inline std::size_t first_wrong_length(const unsigned char* data, std::size_t from, std::size_t to,
                                      const std::vector<std::uint32_t>& expected) {
    for (std::size_t size = from; size <= to; ++size) {
        if (detail::crc32c(data, size) != expected[size]) return size;
    }
    return none;
}

/// The first place at which cutting the input in two and continuing gives another CRC, or `none`.
inline std::size_t first_wrong_split(const Buffer& bytes, std::size_t size, std::uint32_t expected) {
    for (std::size_t cut = 0; cut <= size; ++cut) {
        if (detail::crc32c(bytes.data() + cut, size - cut, detail::crc32c(bytes.data(), cut)) != expected) return cut;
    }
    return none;
}

inline std::uint64_t little_endian(const unsigned char* bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 8; i-- > 0;) value = value << 8 | bytes[i];
    return value;
}

/// Hands every vector of a file to `check`; a message instead when no folder of vectors is there.
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
    on_every_path([&] {
        for (const test_support::VectorFields& fields : file.vectors) check(fields);
    });
}

// Message i is the bytes 0 to i - 1, the key the bytes 0 to 15. The answers are those of Rust's library (coretests, hash/sip.rs,
// test_siphash_1_3), as little-endian integers; the paper's own example is for 2-4.
constexpr std::uint64_t siphash13_answers[64] = {
    0xabac0158050fc4dcu, 0xc9f49bf37d57ca93u, 0x82cb9b024dc7d44du, 0x8bf80ab8e7ddf7fbu,
    0xcf75576088d38328u, 0xdef9d52f49533b67u, 0xc50d2b50c59f22a7u, 0xd3927d989bb11140u,
    0x369095118d299a8eu, 0x25a48eb36c063de4u, 0x79de85ee92ff097fu, 0x70c118c1f94dc352u,
    0x78a384b157b4d9a2u, 0x306f760c1229ffa7u, 0x605aa111c0f95d34u, 0xd320d86d2a519956u,
    0xcc4fdd1a7d908b66u, 0x9cf2689063dbd80cu, 0x8ffc389cb473e63eu, 0xf21f9de58d297d1cu,
    0xc0dc2f46a6cce040u, 0xb992abfe2b45f844u, 0x7ffe7b9ba320872eu, 0x525a0e7fdae6c123u,
    0xf464aeb267349c8cu, 0x45cd5928705b0979u, 0x3a3e35e3ca9913a5u, 0xa91dc74e4ade3b35u,
    0xfb0bed02ef6cd00du, 0x88d93cb44ab1e1f4u, 0x540f11d643c5e663u, 0x2370dd1f8c21d1bcu,
    0x81157b6c16a7b60du, 0x4d54b9e57a8ff9bfu, 0x759f12781f2a753eu, 0xcea1a3bebf186b91u,
    0x2cf508d3ada26206u, 0xb6101c2da3c33057u, 0xb3f47496ae3a36a1u, 0x626b57547b108392u,
    0xc1d2363299e41531u, 0x667cc1923f1ad944u, 0x65704ffec8138825u, 0x24f280d1c28949a6u,
    0xc2ca1cedfaf8876bu, 0xc2164bfc9f042196u, 0xa16e9c9368b1d623u, 0x49fb169c8b5114fdu,
    0x9f3143f8df074c46u, 0xc6fdaf2412cc86b3u, 0x7eaf49d10a52098fu, 0x1cf313559d292f9au,
    0xc44a30dda2f41f12u, 0x36fae98943a71ed0u, 0x318fb34c73f0bce6u, 0xa27abf3670a7e980u,
    0xb4bcc0db243c6d75u, 0x23f8d852fdb71513u, 0x8f035f4da67d8a08u, 0xd89cd0e5b7e8f148u,
    0xf6f4e6bcf7a644eeu, 0xaec59ad80f1837f2u, 0xc3b2f6154b6694e0u, 0x9d199062b7bbb3a8u,
};

}  // namespace checks_test

using namespace checks_test;

TEST_CASE("forcing the portable path hides every feature, and the best path brings back what the processor has") {
    detail::force_cpu_path(detail::CpuPath::portable);
    CHECK(detail::cpu_features().bits == detail::CpuFeatures::detected);
    detail::force_cpu_path(detail::CpuPath::best);
    CHECK(detail::cpu_features().bits == detail::detect_cpu_features().bits);
    CHECK(detail::cpu_features().has(detail::CpuFeatures::detected));
}

TEST_CASE("wider vector features are never reported without the narrower ones they build on") {
    using F = detail::CpuFeatures;
    const F found = detail::detect_cpu_features();
    if (found.has(F::avx2)) CHECK(found.has(F::avx | F::sse42));
    if (found.has(F::avx512bw)) CHECK(found.has(F::avx512f | F::avx2));
    if (found.has(F::avx512vl)) CHECK(found.has(F::avx512f | F::avx2));
    if (found.has(F::vaes)) CHECK(found.has(F::aes | F::avx2));
    if (found.has(F::vpclmulqdq)) CHECK(found.has(F::pclmulqdq | F::avx2));
    MESSAGE("features: " << found.bits);
}

TEST_CASE("threads that ask first at the same time all get the right CRC") {
    detail::cpu_features_in_use.store(0);
    std::uint32_t crcs[4] = {};
    std::vector<std::thread> threads;
    for (std::uint32_t& crc : crcs) threads.emplace_back([&crc] { crc = detail::crc32c("123456789", 9); });
    for (std::thread& thread : threads) thread.join();
    for (const std::uint32_t crc : crcs) CHECK(crc == 0xE3069283u);
    CHECK(detail::cpu_features().bits == detail::detect_cpu_features().bits);
}

TEST_CASE("CRC-32C gives the answers of RFC 3720 B.4 and the catalogue's check value") {
    Buffer zeros(32, 0x00);
    Buffer ones(32, 0xFF);
    Buffer rising;
    Buffer falling;
    for (unsigned i = 0; i < 32; ++i) {
        rising.push_back(static_cast<unsigned char>(i));
        falling.push_back(static_cast<unsigned char>(31 - i));
    }
    const unsigned char scsi_read[48] = {0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0,
                                         0, 0, 0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0};
    on_every_path([&] {
        CHECK(detail::crc32c(zeros.data(), 32) == 0x8A9136AAu);
        CHECK(detail::crc32c(ones.data(), 32) == 0x62A8AB43u);
        CHECK(detail::crc32c(rising.data(), 32) == 0x46DD794Eu);
        CHECK(detail::crc32c(falling.data(), 32) == 0x113FDB5Cu);
        CHECK(detail::crc32c(scsi_read, 48) == 0xD9963A56u);
        CHECK(detail::crc32c("123456789", 9) == 0xE3069283u);
        CHECK(detail::crc32c("", 0) == 0u);
        CHECK(detail::crc32c(nullptr, 0) == 0u);
        CHECK(detail::crc32c(nullptr, 0, 0xE3069283u) == 0xE3069283u);
    });
}

TEST_CASE("CRC-32C is right for every length up to 4,200 at every alignment") {
    constexpr std::size_t size_max = 4200;
    const Buffer bytes = noise(size_max);
    const std::vector<std::uint32_t> expected = reference_crcs(bytes);
    Buffer moved(size_max + 16);
    on_every_path([&] {
        for (std::size_t offset = 0; offset < 16; ++offset) {
            CAPTURE(offset);
            std::memcpy(moved.data() + offset, bytes.data(), size_max);
            CHECK(first_wrong_length(moved.data() + offset, 0, size_max, expected) == none);
        }
    });
}

TEST_CASE("CRC-32C is right around the lengths where long inputs are cut, and around 2^16 and 2^20") {
    const Buffer bytes = noise((std::size_t{1} << 20) + 100);
    const std::vector<std::uint32_t> expected = reference_crcs(bytes);
    on_every_path([&] {
        for (const std::size_t middle : {6144u, 2 * 6144u, 3 * 6144u, 1u << 16, 1u << 20}) {
            CAPTURE(middle);
            CHECK(first_wrong_length(bytes.data(), middle - 100, middle + 100, expected) == none);
        }
    });
}

TEST_CASE("CRC-32C reads nothing outside its input") {  // a memory checker turns a stray read into a failure
    const Buffer bytes = noise(700);
    const std::vector<std::uint32_t> expected = reference_crcs(bytes);
    on_every_path([&] {
        for (std::size_t size = 0; size <= bytes.size(); ++size) {
            const Buffer exact(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
            CHECK(detail::crc32c(exact.data(), size) == expected[size]);
        }
    });
}

TEST_CASE("CRC-32C continues from a previous result wherever the input is cut") {
    const Buffer bytes = noise(4200);
    const std::vector<std::uint32_t> expected = reference_crcs(bytes);
    on_every_path([&] {
        for (std::size_t size = 0; size <= 260; ++size) {
            CAPTURE(size);
            CHECK(first_wrong_split(bytes, size, expected[size]) == none);
        }
        CHECK(first_wrong_split(bytes, 4200, expected[4200]) == none);
    });
}

TEST_CASE("CRC-32C continues with an integer as with its eight little-endian bytes") {
    const Buffer bytes = noise(2000);
    const std::vector<std::uint32_t> expected = reference_crcs(bytes);
    on_every_path([&] {
        for (std::size_t at = 0; at + 8 <= bytes.size(); ++at) {
            CHECK(detail::crc32c_u64(expected[at], little_endian(bytes.data() + at)) == expected[at + 8]);
        }
    });
}

TEST_CASE("the checksum of a frame is that of its bytes and then of an integer, for every length, and reads nothing else") {
    const Buffer bytes = noise(1200);
    on_every_path([&] {
        for (std::size_t size = 0; size <= bytes.size(); ++size) {
            CAPTURE(size);
            const Buffer exact(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
            const auto seed = static_cast<std::uint32_t>(size * 0x9E3779B9u);
            const std::uint64_t value = size * 0x0123456789abcdefu;
            const auto* const data = reinterpret_cast<const std::byte*>(exact.data());
            CHECK(detail::crc32c_then_u64(data, size, seed, value) == detail::crc32c_u64(detail::crc32c_portable(data, size, seed), value));
        }
    });
}

TEST_CASE("CRC-32C notices every single changed bit of a frame") {
    Buffer frame = noise(182);
    on_every_path([&] {
        const std::uint32_t intact = detail::crc32c(frame.data(), frame.size());
        for (std::size_t bit = 0; bit < 8 * frame.size(); ++bit) {
            const auto mask = static_cast<unsigned char>(1u << (bit % 8));
            frame[bit / 8] ^= mask;
            CHECK(detail::crc32c(frame.data(), frame.size()) != intact);
            frame[bit / 8] ^= mask;
        }
    });
}

TEST_CASE("CRC-32C agrees with the file of published answers") {
    for_each_vector("crc32c_official.txt", [](const test_support::VectorFields& fields) {
        Buffer message;
        Buffer crc;
        REQUIRE(test_support::hex_field(fields, "msg", message));
        REQUIRE(test_support::hex_field(fields, "crc", crc));
        REQUIRE(crc.size() == 4);
        std::uint32_t expected = 0;
        for (const unsigned char byte : crc) expected = expected << 8 | byte;
        CHECK(detail::crc32c(message.data(), message.size()) == expected);
    });
}

TEST_CASE("SipHash-1-3 gives the published answers") {
    on_every_path([] {
        Buffer message;
        for (std::size_t size = 0; size < 64; ++size) {
            CAPTURE(size);
            CHECK(detail::siphash13(message.data(), size, 0x0706050403020100u, 0x0f0e0d0c0b0a0908u) == siphash13_answers[size]);
            message.push_back(static_cast<unsigned char>(size));
        }
    });
}

TEST_CASE("SipHash-1-3 follows the paper for every length up to 600 at every alignment, and reads nothing else") {
    const Buffer bytes = noise(600);
    Buffer moved(bytes.size() + 8);
    on_every_path([&] {
        std::uint64_t k0 = 0x0123456789abcdefu;
        std::uint64_t k1 = 0xfedcba9876543210u;
        for (std::size_t size = 0; size <= bytes.size(); ++size) {
            CAPTURE(size);
            const Buffer exact(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
            const std::uint64_t expected = reference_siphash13(exact, k0, k1);
            CHECK(detail::siphash13(exact.data(), size, k0, k1) == expected);
            for (std::size_t offset = 0; offset < 8; ++offset) {
                if (size != 0) std::memcpy(moved.data() + offset, exact.data(), size);
                CHECK(detail::siphash13(moved.data() + offset, size, k0, k1) == expected);
            }
            k0 += expected;
            k1 ^= expected;
        }
    });
}

TEST_CASE("keys are compared right for every length, whichever byte differs") {
    const Buffer bytes = noise(100);
    for (std::size_t size = 0; size <= bytes.size(); ++size) {
        CAPTURE(size);
        const Buffer key(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
        Buffer other = key;
        const auto equal = [&] {
            return detail::equal_bytes(reinterpret_cast<const std::byte*>(key.data()), reinterpret_cast<const std::byte*>(other.data()),
                                       size);
        };
        CHECK(equal());
        for (unsigned char& byte : other) {
            byte ^= 0x10;
            CHECK_FALSE(equal());
            byte ^= 0x10;
        }
    }
}

TEST_CASE("SipHash-1-3 agrees with the files of published answers") {
    for (const char* name : {"siphash13_rust.txt", "siphash13_wycheproof.txt"}) {
        for_each_vector(name, [](const test_support::VectorFields& fields) {
            Buffer key;
            Buffer message;
            Buffer tag;
            REQUIRE(test_support::hex_field(fields, "key", key));
            REQUIRE(test_support::hex_field(fields, "msg", message));
            REQUIRE(test_support::hex_field(fields, "tag", tag));
            REQUIRE(key.size() == 16);
            REQUIRE(tag.size() == 8);
            const bool valid = fields.at("result") == "valid";
            const std::uint64_t computed =
                detail::siphash13(message.data(), message.size(), little_endian(key.data()), little_endian(key.data() + 8));
            CHECK((computed == little_endian(tag.data())) == valid);
        });
    }
}
