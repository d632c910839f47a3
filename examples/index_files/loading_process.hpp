#pragma once
// Another part that has nothing to do with emdb: the process that loads, how it is killed, and the line that shows progress.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#ifdef _WIN32
#include <io.h>
#else
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#endif

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

inline std::string grouped(std::uint64_t number) {  // "1,234,567"
    const std::string digits = std::to_string(number);
    std::string text;
    for (std::size_t i = 0; i < digits.size(); ++i) {
        if (i != 0 && (digits.size() - i) % 3 == 0) text += ',';
        text += digits[i];
    }
    return text;
}

// What the loading process tells its parent after each transaction.
struct Progress {
    std::uint64_t files_seen = 0;
    std::uint64_t files_total = 0;
    std::uint64_t files_committed = 0;  // all that are in the database
    std::uint64_t files_skipped = 0;
    std::uint64_t records = 0;          // written by this process
    double seconds = 0;
    double seconds_in_emdb = 0;
};

// On a terminal one line, rewritten in place; in a pipe or a file a line every few seconds.
class ProgressLine {
public:
    void show(const Progress& progress, bool last = false) {
        if (!last && seconds_since(shown_) < (terminal_ ? 0.1 : 3.0)) return;
        shown_ = Clock::now();
        const double rate = progress.seconds > 0 ? static_cast<double>(progress.records) / progress.seconds : 0;
        std::printf("%s  %s of %s files, %s records, %s records/s%s", terminal_ ? "\r" : "",
                    grouped(progress.files_seen).c_str(), grouped(progress.files_total).c_str(),
                    grouped(progress.records).c_str(), grouped(static_cast<std::uint64_t>(rate)).c_str(),
                    terminal_ ? (last ? "\x1b[K\n" : "\x1b[K") : "\n");
        std::fflush(stdout);
    }

private:
#ifdef _WIN32
    const bool terminal_ = _isatty(_fileno(stdout)) != 0;
#else
    const bool terminal_ = isatty(STDOUT_FILENO) != 0;
#endif
    Clock::time_point shown_ = Clock::now();
};

enum class Loaded { all, killed, failed };

#ifdef _WIN32

// No kill here: loads in this process.
template <class LoadHere>
Loaded run_loading_process(const std::vector<std::string>&, std::mt19937*, Progress& progress, LoadHere&& load_here) {
    ProgressLine line;
    load_here([&](const Progress& now) { line.show(progress = now); });
    line.show(progress, true);
    return Loaded::all;
}

#else

// In the loading process. One whose parent has gone is ended by the write.
inline void send_progress(int pipe, const Progress& progress) {
    if (write(pipe, &progress, sizeof progress) != sizeof progress) std::exit(1);
}

// Runs `command` with `--progress-pipe N` to do the loading, follows its progress, and (given dice) kills it without warning
// when it has seen 30 to 70 % of the files.
template <class LoadHere>
Loaded run_loading_process(std::vector<std::string> command, std::mt19937* dice, Progress& progress, LoadHere&&) {
    int ends[2];
    if (pipe(ends) != 0) throw std::runtime_error(std::string("cannot make a pipe: ") + std::strerror(errno));
    command.insert(command.end(), {"--progress-pipe", std::to_string(ends[1])});
    std::vector<char*> arguments;
    for (std::string& word : command) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    std::signal(SIGINT, [](int) {});  // Ctrl-C ends the loading process; this one sees that and cleans up
    std::fflush(stdout);
    const pid_t child = fork();
    if (child < 0) throw std::runtime_error(std::string("cannot start a process: ") + std::strerror(errno));
    if (child == 0) {
        close(ends[0]);
        execvp(arguments[0], arguments.data());
        _exit(127);
    }
    close(ends[1]);
    const std::uint64_t kill_at_percent = dice != nullptr ? 30 + (*dice)() % 40 : 101;
    const double kill_delay_share = dice != nullptr ? static_cast<double>((*dice)() % 1000) / 10'000 : 0;
    bool killed = false;
    ProgressLine line;
    for (Progress now;;) {
        const ssize_t size = read(ends[0], &now, sizeof now);  // a message is below PIPE_BUF: it never comes in parts
        if (size < 0 && errno == EINTR) continue;
        if (size != static_cast<ssize_t>(sizeof now)) break;
        line.show(progress = now);
        if (!killed && now.files_seen > 0 && now.files_seen * 100 >= now.files_total * kill_at_percent) {
            // Somewhere inside one of the next transactions, not just after the one that was reported.
            std::this_thread::sleep_for(std::chrono::duration<double>(std::min(0.05, now.seconds * kill_delay_share)));
            killed = kill(child, SIGKILL) == 0;
        }
    }
    close(ends[0]);
    line.show(progress, true);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    std::signal(SIGINT, SIG_DFL);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Loaded::all;
    return killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? Loaded::killed : Loaded::failed;
}

#endif
