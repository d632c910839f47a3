#pragma once
// How commands end: the exit status is part of what scripts rely on (see README.md).

#include <string>
#include <utility>

namespace cli {

enum class Status {
    done = 0,
    absent = 1,    // no such key, namespace or lock
    usage = 2,     // the command line is wrong
    input = 3,     // what is to be imported is malformed; the message has the line
    damaged = 4,   // the database is, or is none
    locked = 5,    // somebody else has it open
    failed = 6,    // anything else: no such file, no permission, full disk, ...
    key = 7,       // the database needs one, another one, or none
};

/// Thrown to end the program with a message on stderr.
struct Failure {
    Status status;
    std::string message;
};

[[noreturn]] inline void fail(Status status, std::string message) { throw Failure{status, std::move(message)}; }

/// Thrown when nobody reads the output any more (`emdb scan ... | head`): a quiet success.
struct ReaderGone {};

}  // namespace cli
