#pragma once
// Asks for a passphrase on the terminal, without showing it.

#include <string>

namespace cli {

/// Asks on the terminal that the program belongs to, whatever stdin and stdout are; Status::failed if there is none, or if nothing
/// is typed in. The caller wipes the string, which has no copies.
std::string ask_passphrase(const char* prompt);

}  // namespace cli
