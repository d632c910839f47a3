// emdb: the command line of an emdb database. README.md beside this file is its manual.

#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "emdb.hpp"

#include "byte_syntax.hpp"
#include "commands.hpp"
#include "database.hpp"
#include "failure.hpp"
#include "key_material.hpp"
#include "output.hpp"

namespace {

using namespace cli;

std::vector<Command> all_commands() {
    std::vector<Command> commands;
    for (auto list : {record_commands, upkeep_commands, damage_commands, transfer_commands, encryption_commands}) {
        for (Command& command : list()) {
            if (command.takes_key) command.options = with_key_options(std::move(command.options));
            commands.push_back(std::move(command));
        }
    }
    return commands;
}

constexpr const char* statuses =
    "Exit status:\n"
    "  0  done\n"
    "  1  not there: the key, the namespace, the holder of the lock\n"
    "  2  wrong usage\n"
    "  3  the input of an import is malformed; the message has the line\n"
    "  4  the database is damaged or was tampered with, or the file is none\n"
    "  5  somebody else has the database open\n"
    "  6  anything else: no such file, no permission, full disk, ...\n"
    "  7  the database needs a key or passphrase, another one, or none\n"
    "Messages go to the standard error, as 'emdb: MESSAGE'.\n";

std::string padded(std::string text, std::size_t width) {
    if (text.size() < width) text.resize(width, ' ');
    return text;
}

void print_overview(const std::vector<Command>& commands) {
    write("Usage: emdb COMMAND ARGUMENTS [OPTIONS]\n\nCommands ('emdb COMMAND --help' says more):\n");
    for (const Command& command : commands) {
        write("  " + padded(std::string(command.name) + ' ' + command.synopsis, 22) + "  " + command.summary + '\n');
    }
    write(std::string("\nDB is the path of a database. ") + byte_syntax_help +
          "A database is open in one process at a time: commands wait for nobody (status 5).\n\n" + statuses);
}

void print_help(const Command& command) {
    write(std::string("Usage: emdb ") + command.name + ' ' + command.synopsis + " [OPTIONS]\n\nTo " + command.summary + ".\n\n");
    if (!command.options.empty()) write("Options:\n");
    for (const Option& option : command.options) {
        std::string text = option.letter != 0 ? std::string("  -") + option.letter + ", --" : "      --";
        text += option.name;
        if (option.value != nullptr) text += std::string(" ") + option.value;
        write(padded(text, 26) + "  " + option.help + '\n');
    }
    write(std::string(command.options.empty() ? "" : "\n") + command.details + '\n' + byte_syntax_help);
}

Status run(std::vector<std::string> words) {
    const std::vector<Command> commands = all_commands();
    if (words.empty()) {
        fail(Status::usage, "which command? Try 'emdb --help'.");
    }
    if (words[0] == "--version") return write(std::string("emdb ") + EMDB_VERSION_STRING + "\n"), Status::done;
    bool help = words[0] == "--help" || words[0] == "-h" || words[0] == "help";
    if (help) words.erase(words.begin());
    if (words.empty()) return print_overview(commands), Status::done;
    for (const Command& command : commands) {
        if (words[0] != command.name) continue;
        words.erase(words.begin());
        for (const std::string& word : words) {
            if (word == "--") break;
            help = help || word == "--help" || word == "-h";
        }
        if (help) return print_help(command), Status::done;
        return command.run(Arguments(command.name, words, command.options));
    }
    fail(Status::usage, "there is no command '" + words[0] + "'. Try 'emdb --help'.");
}

int ended(Status status, const std::string& message) {
    std::fprintf(stderr, "emdb: %s\n", message.c_str());
    return static_cast<int>(status);
}

}  // namespace

int main(int argc, char** argv) {
    prepare_streams();
    try {
        const Status status = run(std::vector<std::string>(argv + 1, argv + argc));
        flush_output();
        return static_cast<int>(status);
    } catch (const ReaderGone&) {
        return static_cast<int>(Status::done);
    } catch (const Failure& failure) {
        std::fflush(stdout);
        return ended(failure.status, failure.message);
    } catch (const emdb::Exception& exception) {
        std::fflush(stdout);
        return ended(status_of(exception.error()), exception.error().message());
    } catch (const std::exception& exception) {  // out of memory
        std::fflush(stdout);
        return ended(Status::failed, exception.what());
    }
}
