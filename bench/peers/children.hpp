#pragma once
// Opening takes place in a new process, and so does being killed: this program starts itself with `--child`.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "phases.hpp"

namespace peers {

struct Reopened {
    double milliseconds = 0;  // from before open() until the first look-up has answered
    double anonymous = 0;
    double found = 0;  // of the writes before the kill
};

class Children {
  public:
    static constexpr std::size_t writes = 10'000;

    Children(const Settings& settings, std::string variant) : settings_(settings), variant_(std::move(variant)) {}

    Reopened open_and_get(Bytes key) const {
        Child child(words("open", hexadecimal(key)));
        Reopened result;
        const std::string line = child.read_line();
        if (std::sscanf(line.c_str(), "%lf %lf %lf", &result.milliseconds, &result.anonymous, &result.found) != 3 ||
            child.wait() != 0) {
            throw std::runtime_error("reopening failed");
        }
        return result;
    }
    void write_and_be_killed() const {
        Child child(words("write", "-"));
        demand(child.read_line() == "written", "the process to be killed did not write");
        child.end();
        child.wait();
    }

    /// The child's side; the words after --child.
    static int run(const std::vector<std::string>& words) {
        const std::unique_ptr<Engine> owned = make_engine(words.at(5));
        Engine& engine = *owned;
        Settings settings;
        settings.folder = words.at(1);
        settings.records = std::stoull(words.at(2));
        settings.record_bytes = std::stoull(words.at(3));
        std::string keys(writes * key_bytes, '\0');
        Random(4).fill(keys.data(), keys.size());
        const std::string value(settings.record_bytes - key_bytes, 'v');
        if (words.at(0) == "write") {
            engine.open(settings);
            const auto session = engine.session();
            for (std::size_t i = 0; i < writes; ++i) session->put(Bytes(keys).substr(i * key_bytes, key_bytes), value);
            std::printf("written\n");
            std::fflush(stdout);
            for (;;) pause();
        }
        const std::string key = from_hexadecimal(words.at(4));
        const Memory memory;
        const bench::Clock::time_point start = bench::Clock::now();
        engine.open(settings);
        auto session = engine.session();
        demand(session->get(key).has_value(), "a record is missing");
        const double elapsed = bench::nanoseconds(bench::Clock::now() - start) / 1e6;
        const double anonymous = memory.anonymous();
        std::size_t found = 0;
        for (std::size_t i = 0; i < writes; ++i)
            found += session->get(Bytes(keys).substr(i * key_bytes, key_bytes)).has_value();
        session.reset();
        engine.close();
        std::printf("%.6g %.9g %zu\n", elapsed, anonymous, found);
        return 0;
    }

  private:
    class Child {
      public:
        explicit Child(std::vector<std::string> words) {
            int ends[2];
            if (pipe2(ends, O_CLOEXEC) != 0) bench::fail_with_errno("cannot make a pipe");
            process_ = fork();
            if (process_ < 0) bench::fail_with_errno("cannot fork");
            if (process_ == 0) {
                dup2(ends[1], 1);
                words.insert(words.begin(), {"peer", "--child"});
                std::vector<char*> arguments;
                for (std::string& word : words) arguments.push_back(word.data());
                arguments.push_back(nullptr);
                execv("/proc/self/exe", arguments.data());
                _exit(127);
            }
            close(ends[1]);
            output_ = fdopen(ends[0], "r");
        }
        ~Child() { std::fclose(output_); }
        std::string read_line() {
            std::string line;
            for (int c; (c = std::fgetc(output_)) != EOF && c != '\n';) line += static_cast<char>(c);
            return line;
        }
        void end() const { kill(process_, SIGKILL); }
        int wait() const {
            int status = 0;
            waitpid(process_, &status, 0);
            return status;
        }

      private:
        pid_t process_ = -1;
        std::FILE* output_ = nullptr;
    };

    static std::string hexadecimal(Bytes bytes) {
        std::string text;
        for (const char c : bytes) {
            char two[3];
            std::snprintf(two, sizeof two, "%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
            text += two;
        }
        return text;
    }
    static std::string from_hexadecimal(const std::string& text) {
        std::string bytes;
        for (std::size_t i = 0; i + 1 < text.size(); i += 2)
            bytes += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
        return bytes;
    }

    std::vector<std::string> words(const char* what, const std::string& key) const {
        return {what,
                settings_.folder.string(),
                std::to_string(settings_.records),
                std::to_string(settings_.record_bytes),
                key,
                variant_};
    }

    Settings settings_;
    std::string variant_;
};

}  // namespace peers
