#pragma once
// The key or passphrase of an encrypted database: from a file or a prompt, never from the command line, which every user of the
// machine can read.

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "emdb.hpp"

#include "arguments.hpp"

#if !EMDB_ENCRYPT
#error build the command line with -DEMDB_ENCRYPT=1
#endif

namespace cli {

/// Wiped at its end.
class KeyMaterial {
public:
    /// What the options say; a passphrase that is asked for is asked for twice if `is_new`. Contradictions end with Status::usage,
    /// what is no key or can't be read with Status::failed.
    explicit KeyMaterial(const Arguments& arguments, bool is_new = false);
    KeyMaterial(const KeyMaterial&) = delete;
    KeyMaterial& operator=(const KeyMaterial&) = delete;
    ~KeyMaterial();

    /// Nullopt: none was given.
    std::optional<emdb::EncryptionInput> input() const;
    void apply_to(emdb::EmdbBuilder& builder) const;

private:
    void take_key(const std::string& path);

    std::array<std::byte, 32> key_{};
    bool has_key_ = false;
    std::optional<std::string> passphrase_;
};

/// Adds the options for a database's key.
std::vector<Option> with_key_options(std::vector<Option> options);
/// Adds those for the key that it is to have from now on, where it has one already.
std::vector<Option> with_new_key_options(std::vector<Option> options);

}  // namespace cli
