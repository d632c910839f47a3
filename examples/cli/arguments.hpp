#pragma once
// The command line of one command, taken apart.
//
// Options start with `--` (`--limit 5` or `--limit=5`), some have a letter besides (`-n names`). `--` ends them, for arguments that
// start with a dash. Options may stand anywhere.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

struct Option {
    const char* name;   // without dashes
    char letter;        // 0: none
    const char* value;  // what the help calls its value; null: a flag
    const char* help;
};

class Arguments {
public:
    /// Takes `words` apart, or fails with Status::usage.
    Arguments(std::string command, const std::vector<std::string>& words, const std::vector<Option>& options);

    /// Whether the command has such an option.
    bool knows(std::string_view option) const;
    bool has(std::string_view option) const { return values_.find(option) != values_.end(); }
    /// The option's value; nullopt if it was not given.
    std::optional<std::string> value(std::string_view option) const;
    /// The value as a number, or Status::usage.
    std::optional<std::uint64_t> number(std::string_view option) const;

    /// The positional arguments. Fails with Status::usage, naming what is missing or too much, unless there are at least as many as
    /// `names`, and no more unless `more` is set.
    const std::vector<std::string>& positional(const std::vector<const char*>& names, bool more = false) const;

    /// Ends with Status::usage and a pointer to the help.
    [[noreturn]] void wrong(const std::string& what) const;

private:
    const Option& find(const std::vector<Option>& options, std::string_view name, std::string_view as_written) const;

    std::string command_;
    std::vector<Option> options_;
    std::map<std::string, std::string, std::less<>> values_;
    std::vector<std::string> positional_;
};

}  // namespace cli
