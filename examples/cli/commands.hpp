#pragma once
// What commands there are. Each file of commands has a function that lists its own.

#include <vector>

#include "arguments.hpp"
#include "failure.hpp"

namespace cli {

struct Command {
    const char* name;
    const char* synopsis;  // its arguments
    const char* summary;   // one line
    const char* details;   // what else there is to know, with an example
    std::vector<Option> options;
    Status (*run)(const Arguments&);
    bool takes_key = true;  // and so has the options for it
};

std::vector<Command> record_commands();      // get, put, del, scan, namespaces
std::vector<Command> upkeep_commands();      // stats, compact, backup, lock
std::vector<Command> damage_commands();      // verify, salvage
std::vector<Command> transfer_commands();    // import, export
std::vector<Command> encryption_commands();  // encrypt, decrypt, rotate, passphrase

}  // namespace cli
