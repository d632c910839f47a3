#pragma once
// Error: what failed, where, and what to do about it.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/config.hpp"

/// All that is public. What is in emdb::detail is not: it may change with each version.
namespace emdb {

/// What kind of failure it is: what a program decides on.
enum class ErrorCode : std::uint8_t {
    io,                       ///< The operating system refused, or there is no memory; `Error::os_error()` has its code, if it gave one.
    already_locked,           ///< Somebody else has the database open.
    magic_mismatch,           ///< The file is not an emdb database.
    version_mismatch,         ///< The file's format version is not this build's.
    corrupted,                ///< Bytes on disk are not what was written; `Error::offset()` says where.
    invalid_config,           ///< The builder's settings contradict each other or are out of range.
    invalid_argument,         ///< The call can't be made with these arguments, or from here.
    key_not_found,            ///< Reserved for user code; emdb reports absence as an empty optional.
    transaction_aborted,      ///< The closure of a transaction asked for it; see `Error::aborted`.
    feature_disabled,         ///< The file needs a feature that this build was compiled without.
    too_large,                ///< A key, value or transaction is over its limit.
    poisoned,                 ///< An earlier write or sync failed; reopen the database to write again.
    key_required,             ///< The database is encrypted and no key was given.
    encryption_key_mismatch,  ///< The key or passphrase is not this database's.
    encryption_error,         ///< A sealed frame or header does not authenticate: somebody changed it.
    not_encrypted,            ///< A key was given for a database that is not encrypted.
    stopped,                  ///< The database was closed, or this process was forked from the one that opened it.
};

/// The stable, lower-case name of a code: "io", "already_locked", ...; "unknown" for what is none. Never freed.
const char* to_string(ErrorCode code) noexcept;

/// A failure as a value: a code, a sentence, and for some codes numbers. Cheap to move, safe to copy and to keep; refers to nothing.
class Error {
public:
    /// `message` is a full sentence.
    explicit Error(ErrorCode code, std::string message) : message_(std::move(message)), code_(code) {}

    /// What a transaction's closure returns to give up on purpose; nothing of the transaction is applied.
    static Error aborted(std::string why) { return Error(ErrorCode::transaction_aborted, std::move(why)); }

    /// What to decide on.
    ErrorCode code() const noexcept { return code_; }
    /// A full English sentence: what failed, on which file, what to do. Valid while the Error lives. For people: its wording may change.
    const std::string& message() const noexcept { return message_; }
    /// `errno` or `GetLastError()`; 0 when the operating system was not involved.
    int os_error() const noexcept { return os_error_; }
    /// The file offset of a corruption or of what was tampered with, else 0.
    std::uint64_t offset() const noexcept { return offset_; }
    /// @{
    /// For `version_mismatch`: the format version in the file and the one that this build reads; else 0.
    std::uint32_t found_version() const noexcept { return found_version_; }
    std::uint32_t expected_version() const noexcept { return expected_version_; }
    /// @}

    /// @{
    /// The same error, with what the accessor of that name gives.
    Error&& with_os_error(int os_error) && noexcept {
        os_error_ = os_error;
        return std::move(*this);
    }
    Error&& with_offset(std::uint64_t offset) && noexcept {
        offset_ = offset;
        return std::move(*this);
    }
    Error&& with_versions(std::uint32_t found, std::uint32_t expected) && noexcept {
        found_version_ = found;
        expected_version_ = expected;
        return std::move(*this);
    }
    /// @}

    /// Whether it is an error of this kind.
    friend bool operator==(const Error& error, ErrorCode code) noexcept { return error.code_ == code; }

private:
    std::string message_;
    std::uint64_t offset_ = 0;
    int os_error_ = 0;
    std::uint32_t found_version_ = 0;
    std::uint32_t expected_version_ = 0;
    ErrorCode code_;
};

/// Thrown by `Result::value()` when there is none (builds with exceptions only).
class Exception : public std::runtime_error {
public:
    /// Its what() is the message.
    explicit Exception(Error error) : std::runtime_error(error.message()), error_(std::move(error)) {}
    /// The whole of it; valid while the Exception lives.
    const Error& error() const noexcept { return error_; }

private:
    Error error_;
};

namespace detail {
/// Throws Exception, or without exceptions prints the message to stderr and aborts.
[[noreturn]] void raise(const Error& error);
}  // namespace detail

}  // namespace emdb
