#include "arguments.hpp"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "failure.hpp"

namespace cli {

Arguments::Arguments(std::string command, const std::vector<std::string>& words, const std::vector<Option>& options)
    : command_(std::move(command)), options_(options) {
    bool options_ended = false;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string_view word = words[i];
        if (options_ended || word.size() < 2 || word[0] != '-') {  // `-` alone is an argument: stdin
            positional_.emplace_back(word);
            continue;
        }
        if (word == "--") {
            options_ended = true;
            continue;
        }
        const bool is_long = word[1] == '-';
        const std::size_t equals = is_long ? word.find('=') : std::string_view::npos;
        const std::string_view name = word.substr(0, equals);
        const Option& option = find(options, is_long ? name.substr(2) : name.substr(1), name);
        std::string value;
        if (equals != std::string_view::npos) {
            if (option.value == nullptr) wrong("'" + std::string(name) + "' takes no value");
            value = word.substr(equals + 1);
        } else if (option.value != nullptr) {
            if (++i == words.size()) wrong("'" + std::string(name) + "' needs a value: " + option.value);
            value = words[i];
        }
        if (!values_.emplace(option.name, value).second) wrong("'" + std::string(name) + "' is given twice");
    }
}

const Option& Arguments::find(const std::vector<Option>& options, std::string_view name, std::string_view as_written) const {
    for (const Option& option : options) {
        if (name == option.name || (name.size() == 1 && as_written.size() == 2 && name[0] == option.letter)) return option;
    }
    wrong("there is no option '" + std::string(as_written) + "'");
}

bool Arguments::knows(std::string_view option) const {
    return std::any_of(options_.begin(), options_.end(), [&](const Option& known) { return known.name == option; });
}

std::optional<std::string> Arguments::value(std::string_view option) const {
    const auto found = values_.find(option);
    return found == values_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::uint64_t> Arguments::number(std::string_view option) const {
    const auto text = value(option);
    if (!text) return std::nullopt;
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
    if (error != std::errc() || end != text->data() + text->size()) {
        wrong("'--" + std::string(option) + " " + *text + "' is not a whole number");
    }
    return number;
}

const std::vector<std::string>& Arguments::positional(const std::vector<const char*>& names, bool more) const {
    if (positional_.size() < names.size()) wrong(std::string("missing ") + names[positional_.size()]);
    if (positional_.size() > names.size() && !more) wrong("'" + positional_[names.size()] + "' is one argument too many");
    return positional_;
}

void Arguments::wrong(const std::string& what) const {
    fail(Status::usage, command_ + ": " + what + ". Try 'emdb " + command_ + " --help'.");
}

}  // namespace cli
