// Aead: every length against OpenSSL where it is installed and between the code paths, the edges of pages, tampering, threads.

#define EMDB_IMPLEMENTATION
#define EMDB_ENCRYPT 1
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#if defined(TEST_WITH_OPENSSL)
#include <openssl/evp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "support/crypto_paths.hpp"

namespace aead_test {

namespace detail = emdb::detail;
using namespace crypto_support;
using emdb::Cipher;

constexpr Cipher ciphers[] = {Cipher::aes_256_gcm, Cipher::chacha20_poly1305};
constexpr std::size_t tag_size = detail::Aead::tag_size;

/// What sealing has to give: by OpenSSL, or without it by the portable path, whose known answers crypto_test.cpp checks.
class Reference {
public:
    Reference(Cipher cipher, const Buffer& key) {
#if defined(TEST_WITH_OPENSSL)
        context_.reset(EVP_CIPHER_CTX_new());
        const EVP_CIPHER* const algorithm = cipher == Cipher::aes_256_gcm ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
        REQUIRE(EVP_EncryptInit_ex(context_.get(), algorithm, nullptr, octets(key.data()), nullptr) == 1);
#else
        choose(CryptoPath::portable);
        aead_ = std::make_unique<detail::Aead>(cipher, as_key(key));
        choose(CryptoPath::best);
#endif
    }

    Buffer seal(const Buffer& nonce, View aad, View plain) {
        Buffer sealed(plain.size() + tag_size);
#if defined(TEST_WITH_OPENSSL)
        EVP_CIPHER_CTX* const context = context_.get();
        unsigned char* const to = reinterpret_cast<unsigned char*>(sealed.data());
        int size = 0;
        REQUIRE(EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, octets(nonce.data())) == 1);
        REQUIRE(EVP_EncryptUpdate(context, nullptr, &size, octets(aad.data()), static_cast<int>(aad.size())) == 1);
        REQUIRE(EVP_EncryptUpdate(context, to, &size, octets(plain.data()), static_cast<int>(plain.size())) == 1);
        REQUIRE(EVP_EncryptFinal_ex(context, to + size, &size) == 1);
        REQUIRE(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, static_cast<int>(tag_size), to + plain.size()) == 1);
#else
        aead_->seal(as_nonce(nonce), aad, plain, sealed.data());
#endif
        return sealed;
    }

private:
#if defined(TEST_WITH_OPENSSL)
    struct Free {
        void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
    };
    static const unsigned char* octets(const std::byte* bytes) {
        static const unsigned char none = 0;
        return bytes == nullptr ? &none : reinterpret_cast<const unsigned char*>(bytes);
    }
    std::unique_ptr<EVP_CIPHER_CTX, Free> context_;
#else
    std::unique_ptr<detail::Aead> aead_;
#endif
};

/// One Aead for every path.
struct Contestants {
    Contestants(Cipher cipher, const Buffer& key) {
        on_every_path([&](CryptoPath path) {
            names.push_back(name_of(path));
            aeads.push_back(std::make_unique<detail::Aead>(cipher, as_key(key)));
        });
    }
    std::vector<const char*> names;
    std::vector<std::unique_ptr<detail::Aead>> aeads;
};

/// The first thing that goes wrong in sealing and opening one message, at an alignment that depends on its length; "" if nothing does.
const char* first_fault(const detail::Aead& aead, const Buffer& nonce, View aad, View plain, const Buffer& sealed) {
    static thread_local Buffer from, to;
    const std::size_t shift = plain.size() % 19;
    from.resize(shift + plain.size() + tag_size + 1);
    to.resize(from.size());
    const auto same = [](const std::byte* bytes, View expected) {
        return expected.empty() || std::memcmp(bytes, expected.data(), expected.size()) == 0;
    };
    std::byte* const at = from.data() + shift;
    std::byte* const out = to.data() + (shift + 5) % 19 % (shift + 1);
    std::copy(plain.begin(), plain.end(), at);
    out[sealed.size()] = std::byte{0xEE};
    aead.seal(as_nonce(nonce), aad, {at, plain.size()}, out);
    if (!same(out, sealed)) return "sealed wrongly";
    if (out[sealed.size()] != std::byte{0xEE}) return "wrote past the tag";
    aead.seal(as_nonce(nonce), aad, {at, plain.size()}, at);
    if (!same(at, sealed)) return "sealed wrongly in place";

    std::fill(to.begin(), to.end(), std::byte{0xEE});
    if (!aead.open(as_nonce(nonce), aad, {at, sealed.size()}, out)) return "not opened";
    if (!same(out, plain)) return "opened wrongly";
    if (out[plain.size()] != std::byte{0xEE}) return "wrote past the plaintext";
    if (!same(at, sealed)) return "changed the ciphertext";
    if (!aead.open(as_nonce(nonce), aad, {at, sealed.size()}, at)) return "not opened in place";
    if (!same(at, plain)) return "opened wrongly in place";
    return "";
}

TEST_CASE("Every length from 0 to 4,200, and around larger powers of two, is sealed as OpenSSL seals it, on every path") {
#if !defined(TEST_WITH_OPENSSL)
    MESSAGE("OpenSSL is not installed: compared with the portable path instead");
#endif
    std::vector<std::size_t> sizes;
    for (std::size_t size = 0; size <= 4200; ++size) sizes.push_back(size);
    for (const std::size_t power : {std::size_t{1} << 16, std::size_t{1} << 20}) {
        for (std::size_t size = power - 17; size <= power + 17; size += power >> 16 == 1 ? 1 : 4) sizes.push_back(size);
    }
    const Buffer text = noise((std::size_t{1} << 20) + 100, 3);
    const Buffer aad = noise(1000, 4);
    for (const Cipher cipher : ciphers) {
        const Buffer key = noise(32, 5);
        Reference reference(cipher, key);
        const Contestants contestants(cipher, key);
        for (const std::size_t size : sizes) {
            const Buffer nonce = noise(12, size);
            // Of every length, too, but not the same.
            const View associated = View(aad).first(size <= 4200 ? size * 7 % 600 : 24);
            const View plain = View(text).subspan(size % 64, size);
            const Buffer sealed = reference.seal(nonce, associated, plain);
            for (std::size_t i = 0; i < contestants.aeads.size(); ++i) {
                // Larger ones differ from 4,200 bytes in nothing that the slow path does.
                if (i == 0 && size > 70000) continue;
                const char* const fault = first_fault(*contestants.aeads[i], nonce, associated, plain, sealed);
                CAPTURE(size);
                CAPTURE(contestants.names[i]);
                CAPTURE(fault);
                REQUIRE(*fault == '\0');
            }
        }
    }
}

TEST_CASE("Associated data of every length, alone and with a record") {
    const Buffer aad = noise(1400, 6);
    const Buffer nonce = noise(12, 7);
    for (const Cipher cipher : ciphers) {
        const Buffer key = noise(32, 8);
        Reference reference(cipher, key);
        const Contestants contestants(cipher, key);
        for (std::size_t size = 0; size <= aad.size(); ++size) {
            for (const std::size_t plain_size : {std::size_t{0}, size % 3 * 87}) {
                const Buffer plain = noise(plain_size, 9);
                const Buffer sealed = reference.seal(nonce, View(aad).first(size), plain);
                for (std::size_t i = 0; i < contestants.aeads.size(); ++i) {
                    const char* const fault = first_fault(*contestants.aeads[i], nonce, View(aad).first(size), plain, sealed);
                    CAPTURE(size);
                    CAPTURE(contestants.names[i]);
                    CAPTURE(fault);
                    REQUIRE(*fault == '\0');
                }
            }
        }
    }
}

TEST_CASE("An Aead made on one path goes on when another is forced") {
    const Buffer key = noise(32);
    const Buffer nonce = noise(12, 2);
    const Buffer plain = noise(300, 3);
    for (const Cipher cipher : ciphers) {
        const detail::Aead aead(cipher, as_key(key));
        Buffer before(plain.size() + tag_size);
        aead.seal(as_nonce(nonce), {}, plain, before.data());
        on_every_path([&](CryptoPath) {
            Buffer after(before.size());
            aead.seal(as_nonce(nonce), {}, plain, after.data());
            CHECK(after == before);
        });
    }
}

#if defined(__unix__) || defined(__APPLE__)

/// Some memory between two pages that can't be touched.
class Fenced {
public:
    explicit Fenced(std::size_t pages)
        : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))), size_(pages * page_),
          all_(mmap(nullptr, size_ + 2 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0)) {
        REQUIRE(all_ != MAP_FAILED);
        REQUIRE(mprotect(first(), size_, PROT_READ | PROT_WRITE) == 0);
    }
    ~Fenced() { munmap(all_, size_ + 2 * page_); }
    Fenced(const Fenced&) = delete;
    Fenced& operator=(const Fenced&) = delete;

    std::byte* first() const { return static_cast<std::byte*>(all_) + page_; }
    std::byte* last(std::size_t size) const { return first() + (size_ - size); }

private:
    std::size_t page_;
    std::size_t size_;
    void* all_;
};

TEST_CASE("Nothing beside the buffers is touched, not even read") {
    const Fenced key_memory(1), nonce_memory(1), aad_memory(1), plain_memory(1), sealed_memory(1), opened_memory(1);
    const Buffer text = noise(1200, 3);
    for (const Cipher cipher : ciphers) {
        on_every_path([&](CryptoPath path) {
            CAPTURE(name_of(path));
            for (const bool at_end : {false, true}) {
                const auto place = [at_end](const Fenced& memory, std::size_t size) { return at_end ? memory.last(size) : memory.first(); };
                std::byte* const key = place(key_memory, 32);
                std::byte* const nonce = place(nonce_memory, 12);
                std::copy_n(text.begin(), 32, key);
                std::copy_n(text.begin(), 12, nonce);
                const detail::Aead aead(cipher, std::span<const std::byte, 32>(key, 32));
                const std::span<const std::byte, 12> nonce_view(nonce, 12);
                for (std::size_t size = 0; size <= text.size(); size += size < 600 ? 1 : 7) {
                    std::byte* const aad = place(aad_memory, size % 75);
                    std::byte* const plain = place(plain_memory, size);
                    std::byte* const sealed = place(sealed_memory, size + tag_size);
                    std::byte* const opened = place(opened_memory, size);
                    std::copy_n(text.begin(), size, plain);
                    aead.seal(nonce_view, {aad, size % 75}, {plain, size}, sealed);
                    REQUIRE(aead.open(nonce_view, {aad, size % 75}, {sealed, size + tag_size}, opened));
                    REQUIRE(std::equal(opened, opened + size, plain));
                    REQUIRE(aead.open(nonce_view, {aad, size % 75}, {sealed, size + tag_size}, sealed));
                    REQUIRE(std::equal(sealed, sealed + size, plain));
                }
            }
        });
    }
}

#endif

TEST_CASE("A single flipped bit anywhere is refused, and nothing comes out") {
    for (const Cipher cipher : ciphers) {
        on_every_path([&](CryptoPath path) {
            CAPTURE(name_of(path));
            const detail::Aead aead(cipher, as_key(noise(32)));
            for (const std::size_t size : {0u, 1u, 150u, 600u}) {
                Buffer nonce = noise(12, 2);
                Buffer aad = noise(24, 3);
                const Buffer plain = noise(size, 4);
                Buffer sealed(size + tag_size);
                aead.seal(as_nonce(nonce), aad, plain, sealed.data());
                const Buffer untouched(size + 1, std::byte{0xA5});
                Buffer out = untouched;
                for (Buffer* const part : {&nonce, &aad, &sealed}) {
                    for (std::size_t bit = 0; bit < 8 * part->size(); bit += size == 600 ? 5 : 1) {
                        (*part)[bit / 8] ^= std::byte{1} << (bit % 8);
                        REQUIRE(!aead.open(as_nonce(nonce), aad, sealed, out.data()));
                        REQUIRE(out == untouched);
                        const Buffer before = sealed;
                        REQUIRE(!aead.open(as_nonce(nonce), aad, sealed, sealed.data()));
                        REQUIRE(sealed == before);
                        (*part)[bit / 8] ^= std::byte{1} << (bit % 8);
                    }
                }
                REQUIRE(aead.open(as_nonce(nonce), aad, sealed, out.data()));
            }
        });
    }
}

TEST_CASE("What is cut short, made longer or moved between text and associated data is refused") {
    for (const Cipher cipher : ciphers) {
        on_every_path([&](CryptoPath path) {
            CAPTURE(name_of(path));
            const detail::Aead aead(cipher, as_key(noise(32)));
            const Buffer nonce = noise(12, 2);
            const Buffer aad = noise(32, 3);
            Buffer sealed(100 + tag_size);
            aead.seal(as_nonce(nonce), aad, noise(100, 4), sealed.data());
            Buffer out(sealed.size() + 1);
            for (std::size_t size = 0; size < sealed.size(); ++size) {
                REQUIRE(!aead.open(as_nonce(nonce), aad, View(sealed).first(size), out.data()));
                REQUIRE(!aead.open(as_nonce(nonce), aad, View(sealed).last(size), out.data()));
            }
            Buffer longer = sealed;
            longer.push_back(std::byte{0});
            CHECK(!aead.open(as_nonce(nonce), aad, longer, out.data()));
            for (std::size_t size = 0; size < aad.size(); ++size) {
                REQUIRE(!aead.open(as_nonce(nonce), View(aad).first(size), sealed, out.data()));
            }
            Buffer padded = aad;
            padded.push_back(std::byte{0});
            CHECK(!aead.open(as_nonce(nonce), padded, sealed, out.data()));
            Buffer moved(aad.end() - 16, aad.end());
            moved.insert(moved.end(), sealed.begin(), sealed.end());
            CHECK(!aead.open(as_nonce(nonce), View(aad).first(16), moved, out.data()));
            CHECK(!detail::Aead(cipher, as_key(noise(32, 9))).open(as_nonce(nonce), aad, sealed, out.data()));
        });
    }
}

TEST_CASE("One Aead serves many threads at once") {
    constexpr std::size_t thread_count = 4;
    constexpr std::size_t messages = 400;
    for (const Cipher cipher : ciphers) {
        on_every_path([&](CryptoPath path) {
            CAPTURE(name_of(path));
            const detail::Aead aead(cipher, as_key(noise(32)));
            const auto seal = [&aead](std::size_t i) {
                Buffer sealed(i + tag_size);
                aead.seal(as_nonce(noise(12, i)), noise(24, i), noise(i, i), sealed.data());
                return sealed;
            };
            std::vector<Buffer> expected;
            for (std::size_t i = 0; i < messages; ++i) expected.push_back(seal(i));
            std::atomic<std::size_t> faults{0};
            std::vector<std::jthread> threads;
            for (std::size_t thread = 0; thread < thread_count; ++thread) {
                threads.emplace_back([&, thread] {
                    for (std::size_t n = 0; n < messages; ++n) {
                        const std::size_t i = (n * 7 + thread * 100) % messages;
                        Buffer sealed = seal(i);
                        if (sealed != expected[i]) ++faults;
                        if (!aead.open(as_nonce(noise(12, i)), noise(24, i), sealed, sealed.data())) ++faults;
                        sealed.resize(i);
                        if (sealed != noise(i, i)) ++faults;
                    }
                });
            }
            threads.clear();
            CHECK(faults == 0);
        });
    }
}

}  // namespace aead_test
