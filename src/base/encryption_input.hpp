#pragma once
// EncryptionInput: what opens an encrypted database.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/config.hpp"

#if EMDB_ENCRYPT

namespace emdb {

namespace detail {
struct EncryptionSecret;
}

/// A key or a passphrase, kept in memory that is wiped with it. A key is 32 random bytes; a passphrase is any text but the empty one, and
/// costs 64 MiB of memory and about a tenth of a second at each opening (Argon2id, RFC 9106, with 3 passes). That is paid where it is used,
/// not here. One thread at a time.
class EncryptionInput {
public:
    /// A key of 32 random bytes. Copied.
    static EncryptionInput key(std::span<const std::byte, 32> key);
    /// A passphrase in UTF-8, or any bytes, compared as they are. Copied; an empty one is refused where it is used.
    static EncryptionInput passphrase(std::string_view passphrase);

    /// @{
    /// Each copy is wiped at its own end.
    EncryptionInput(const EncryptionInput& other);
    EncryptionInput& operator=(const EncryptionInput& other);
    /// @}
    ~EncryptionInput();

private:
    friend struct detail::EncryptionSecret;
    EncryptionInput(bool is_key, std::string_view secret);

    bool is_key_;
    std::string secret_;
};

}  // namespace emdb

#endif  // EMDB_ENCRYPT
