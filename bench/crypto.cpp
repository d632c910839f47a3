// What sealing and opening a record costs, on each path that this processor can take, against OpenSSL and libsodium: the bars of
// encryption at rest.
//
//   tests/deps.sh openssl libsodium
//   make build/bench/crypto && build/bench/crypto [--rounds N]
//
// Every contestant does the same work once a round, in turn, odd rounds in reverse; the first round is not counted. Medians, and medians
// of the ratios of the same round. OpenSSL: the EVP interface with a context that already has the key, so each message sets the
// nonce only. Its Argon2id came with version 3.2; libsodium's is measured instead. `open` verifies, then decrypts.

#define EMDB_IMPLEMENTATION
#define EMDB_ENCRYPT 1
#include "emdb.hpp"

#include <openssl/evp.h>
#include <sodium.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "support/crypto_paths.hpp"
#include "support/timing.hpp"

namespace {

namespace detail = emdb::detail;
using crypto_support::Buffer;
using crypto_support::CryptoPath;
using crypto_support::noise;
using crypto_support::View;
using emdb::Cipher;

constexpr std::size_t aad_size = 24;
constexpr std::size_t tag_size = detail::Aead::tag_size;
constexpr CryptoPath paths[] = {CryptoPath::portable, CryptoPath::without_crypto, CryptoPath::without_wide_registers, CryptoPath::best};

void check(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "%s\n", what);
    std::exit(1);
}

const unsigned char* octets(const Buffer& bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
unsigned char* octets(Buffer& bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

class OpenSsl {
public:
    OpenSsl(Cipher cipher, const Buffer& key, bool seals) : context_(EVP_CIPHER_CTX_new()), seals_(seals) {
        const EVP_CIPHER* const algorithm = cipher == Cipher::aes_256_gcm ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
        check(EVP_CipherInit_ex(context_.get(), algorithm, nullptr, octets(key), nullptr, seals ? 1 : 0) == 1, "EVP_CipherInit_ex");
    }
    void run(const Buffer& nonce, const Buffer& aad, const unsigned char* in, std::size_t size, unsigned char* out, unsigned char* tag) {
        EVP_CIPHER_CTX* const context = context_.get();
        int written = 0;
        bool well = EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, octets(nonce), -1) == 1;
        well = well && EVP_CipherUpdate(context, nullptr, &written, octets(aad), static_cast<int>(aad.size())) == 1;
        well = well && EVP_CipherUpdate(context, out, &written, in, static_cast<int>(size)) == 1;
        if (!seals_) well = well && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, tag_size, tag) == 1;
        well = well && EVP_CipherFinal_ex(context, out + written, &written) == 1;
        if (seals_) well = well && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, tag_size, tag) == 1;
        check(well, "OpenSSL refused");
    }

private:
    struct Free {
        void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
    };
    std::unique_ptr<EVP_CIPHER_CTX, Free> context_;
    bool seals_;
};

const char* name_of(Cipher cipher) { return cipher == Cipher::aes_256_gcm ? "AES-256-GCM" : "ChaCha20-Poly1305"; }

void print_row(const std::string& what, const bench::Rounds& rounds, const std::string& against, std::size_t bytes) {
    const bench::Samples cost = rounds[what];
    const double ratio = bench::median(bench::pairwise(rounds[against], cost));
    std::printf("  %-52s %10.1f ns  %7.2f GB/s   %5.2f x %s\n", what.c_str(), bench::median(cost),
                bench::as_double(bytes) / bench::median(cost), ratio, against.c_str());
}

void measure_cipher(Cipher cipher, std::size_t size, std::size_t messages, std::size_t rounds_count) {
    const Buffer key = noise(32);
    const Buffer nonce = noise(12, 2);
    const Buffer aad = noise(aad_size, 3);
    const Buffer plain = noise(size, 4);
    Buffer sealed(size + tag_size);
    Buffer out(size + tag_size);

    std::vector<std::unique_ptr<detail::Aead>> aeads;
    for (const CryptoPath path : paths) {
        crypto_support::choose(path);
        aeads.push_back(std::make_unique<detail::Aead>(cipher, crypto_support::as_key(key)));
    }
    aeads.back()->seal(crypto_support::as_nonce(nonce), aad, plain, sealed.data());
    OpenSsl sealing(cipher, key, true);
    OpenSsl opening(cipher, key, false);

    bench::Rounds rounds;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < aeads.size(); ++i) {
        const detail::Aead& aead = *aeads[i];
        const std::size_t count = i == 0 ? messages / 10 : messages;
        names.push_back(std::string("seal, ") + crypto_support::name_of(paths[i]));
        rounds.add(names.back(), [&, count] {
            return bench::time_each(count, [&](std::size_t) {
                aead.seal(crypto_support::as_nonce(nonce), aad, plain, out.data());
                bench::keep(out[0]);
            });
        });
        names.push_back(std::string("open, ") + crypto_support::name_of(paths[i]));
        rounds.add(names.back(), [&, count] {
            return bench::time_each(count, [&](std::size_t) {
                check(aead.open(crypto_support::as_nonce(nonce), aad, sealed, out.data()), "not opened");
            });
        });
    }
    rounds.add("OpenSSL seal", [&] {
        return bench::time_each(messages,
                                [&](std::size_t) { sealing.run(nonce, aad, octets(plain), size, octets(out), octets(out) + size); });
    });
    rounds.add("OpenSSL open", [&] {
        return bench::time_each(messages,
                                [&](std::size_t) { opening.run(nonce, aad, octets(sealed), size, octets(out), octets(sealed) + size); });
    });
    crypto_aead_aes256gcm_state state;
    const bool sodium = cipher == Cipher::chacha20_poly1305 || crypto_aead_aes256gcm_is_available() != 0;
    if (sodium) {
        if (cipher == Cipher::aes_256_gcm) crypto_aead_aes256gcm_beforenm(&state, octets(key));
        rounds.add("libsodium seal", [&] {
            return bench::time_each(messages, [&](std::size_t) {
                unsigned long long written = 0;
                if (cipher == Cipher::aes_256_gcm) {
                    crypto_aead_aes256gcm_encrypt_afternm(octets(out), &written, octets(plain), size, octets(aad), aad.size(), nullptr,
                                                          octets(nonce), &state);
                } else {
                    crypto_aead_chacha20poly1305_ietf_encrypt(octets(out), &written, octets(plain), size, octets(aad), aad.size(), nullptr,
                                                              octets(nonce), octets(key));
                }
            });
        });
    }
    rounds.run(rounds_count);

    std::printf("%s, %zu bytes and %zu of associated data; OpenSSL: seal %.1f ns, open %.1f ns", name_of(cipher), size, aad_size,
                bench::median(rounds["OpenSSL seal"]), bench::median(rounds["OpenSSL open"]));
    if (sodium) std::printf("; libsodium: seal %.1f ns", bench::median(rounds["libsodium seal"]));
    std::printf("\n");
    for (const std::string& name : names) print_row(name, rounds, name.starts_with("seal") ? "OpenSSL seal" : "OpenSSL open", size);
}

void measure_construction(std::size_t rounds_count) {
    const Buffer key = noise(32);
    crypto_support::choose(CryptoPath::best);
    for (const Cipher cipher : {Cipher::aes_256_gcm, Cipher::chacha20_poly1305}) {
        bench::Rounds rounds;
        rounds.add("construct", [&] {
            return bench::time_each(1000, [&](std::size_t) {
                const detail::Aead aead(cipher, crypto_support::as_key(key));
                bench::keep(aead);
            });
        });
        rounds.run(rounds_count);
        std::printf("An Aead of %s is constructed in %.0f ns\n", name_of(cipher), bench::median(rounds["construct"]));
    }
}

void measure_argon2id(std::uint32_t memory_kib, std::uint32_t passes, std::size_t rounds_count) {
    const Buffer password = noise(16);
    const Buffer salt = noise(16, 2);
    Buffer out(32);
    bench::Rounds rounds;
    std::vector<std::string> names;
    for (const CryptoPath path : paths) {
        if (path == CryptoPath::without_crypto) continue;  // the portable one
        names.push_back(crypto_support::name_of(path));
        rounds.add(names.back(), [&, path] {
            crypto_support::choose(path);
            return bench::time_each(1, [&](std::size_t) {
                check(detail::argon2id(password, salt, {}, {}, memory_kib, passes, 1, out).has_value(), "argon2id");
            });
        });
    }
    Buffer other(32);
    rounds.add("libsodium", [&] {
        return bench::time_each(1, [&](std::size_t) {
            check(crypto_pwhash(octets(other), other.size(), reinterpret_cast<const char*>(password.data()), password.size(), octets(salt),
                                passes, std::size_t{memory_kib} * 1024, crypto_pwhash_ALG_ARGON2ID13) == 0, "crypto_pwhash");
        });
    });
    rounds.run(rounds_count);
    check(out == other, "libsodium has another result");
    std::printf("Argon2id, %u KiB, %u passes; libsodium: %.2f ms\n", memory_kib, passes, bench::median(rounds["libsodium"]) / 1e6);
    for (const std::string& name : names) {
        const bench::Samples cost = rounds[name];
        std::printf("  %-52s %10.2f ms   %5.2f x libsodium\n", name.c_str(), bench::median(cost) / 1e6,
                    bench::median(bench::pairwise(rounds["libsodium"], cost)));
    }
}

}  // namespace

int main(int argc, char** argv) {
    std::size_t rounds = 200;
    if (argc == 3 && std::string(argv[1]) == "--rounds") rounds = std::strtoul(argv[2], nullptr, 10);
    check(rounds != 0 && (argc == 1 || argc == 3), "usage: crypto [--rounds N]");
    check(sodium_init() >= 0, "libsodium does not start");
    for (const Cipher cipher : {Cipher::aes_256_gcm, Cipher::chacha20_poly1305}) {
        measure_cipher(cipher, 174, 500, rounds);
        measure_cipher(cipher, 16384, 20, rounds);
    }
    measure_construction(rounds);
    measure_argon2id(19456, 2, rounds / 10 + 1);
}
