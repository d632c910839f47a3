// For constant_time_test.py, under valgrind: secrets are marked as undefined, so that memcheck reports whatever branches on them or takes
// them for an address. Uses src/ rather than emdb.hpp, of which it needs little.
//
//   constant_time PATH      portable, baseline or best; prints what it did, exits with 1 and says where when something was reported

#include "base/single_implementation.hpp"
#include "crypto/aead.hpp"
#include "crypto/blake2b.hpp"

#include <valgrind/memcheck.h>

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <vector>

#include "support/crypto_paths.hpp"

namespace {

namespace detail = emdb::detail;
using crypto_support::Buffer;
using crypto_support::noise;

template <class Bytes>
void make_secret(Bytes& bytes) { VALGRIND_MAKE_MEM_UNDEFINED(bytes.data(), bytes.size()); }
template <class Bytes>
void make_public(Bytes& bytes) { VALGRIND_MAKE_MEM_DEFINED(bytes.data(), bytes.size()); }

int failures = 0;

/// Runs `work`, of which memcheck has to report exactly as much as expected.
template <class Work>
void expect_reports(unsigned long expected, const char* what, std::size_t size, Work work) {
    const unsigned long before = VALGRIND_COUNT_ERRORS;
    work();
    const unsigned long found = VALGRIND_COUNT_ERRORS - before;
    if (found == expected) return;
    ++failures;
    std::printf("%s, %zu bytes: %lu reports, not %lu\n", what, size, found, expected);
}

void check_cipher(emdb::Cipher cipher) {
    Buffer key = noise(32);
    Buffer nonce = noise(12, 2);
    const Buffer aad = noise(24, 3);
    make_secret(key);
    for (const std::size_t size : {0u, 1u, 16u, 100u, 174u, 700u, 1500u}) {
        Buffer plain = noise(size, 4);
        make_secret(plain);
        Buffer sealed(size + detail::Aead::tag_size);
        expect_reports(0, "seal", size, [&] {
            const detail::Aead aead(cipher, crypto_support::as_key(key));
            aead.seal(crypto_support::as_nonce(nonce), aad, plain, sealed.data());
        });
        make_public(sealed);
        Buffer opened(size);
        // The one thing that may be told is whether the tag is right.
        expect_reports(1, "open", size, [&] {
            const detail::Aead aead(cipher, crypto_support::as_key(key));
            if (!aead.open(crypto_support::as_nonce(nonce), aad, sealed, opened.data())) std::printf("not opened\n");
        });
        sealed.back() ^= std::byte{1};
        expect_reports(1, "open what was changed", size, [&] {
            const detail::Aead aead(cipher, crypto_support::as_key(key));
            if (aead.open(crypto_support::as_nonce(nonce), aad, sealed, opened.data())) std::printf("opened\n");
        });
    }
}

void check_blake2b() {
    Buffer key = noise(32);
    Buffer in = noise(300);
    make_secret(key);
    make_secret(in);
    Buffer out(64);
    expect_reports(0, "BLAKE2b", in.size(), [&] { detail::blake2b(key, in, out); });
}

/// That what this is about would be noticed at all.
void check_detection() {
    static const Buffer table = noise(256);
    static volatile std::byte sink;
    Buffer secret = noise(2);
    make_secret(secret);
    expect_reports(1, "a look-up at a secret place", 1, [&] { sink = table[static_cast<unsigned char>(secret[0])]; });
    expect_reports(1, "a branch on a secret", 1, [&] {
        if (secret[1] == std::byte{7}) std::printf("\n");
    });
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2 || RUNNING_ON_VALGRIND == 0) {
        std::fprintf(stderr, "usage: valgrind %s portable|baseline|best\n", argv[0]);
        return 2;
    }
    using crypto_support::CryptoPath;
    const bool portable = std::strcmp(argv[1], "portable") == 0;
    const bool best = std::strcmp(argv[1], "best") == 0;
    crypto_support::choose(portable ? CryptoPath::portable : best ? CryptoPath::best : CryptoPath::without_crypto);
    check_detection();
    check_cipher(emdb::Cipher::aes_256_gcm);
    check_cipher(emdb::Cipher::chacha20_poly1305);
    check_blake2b();
    std::printf("%s: features %x, %d failures\n", argv[1], detail::cpu_features().bits, failures);
    return failures == 0 ? 0 : 1;
}
