#include "passphrase_prompt.hpp"

#include <cstddef>

#include "failure.hpp"

#if defined(_WIN32)
#include <conio.h>
#else
#include <fcntl.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#endif

namespace cli {

namespace {

constexpr std::size_t passphrase_size_max = 4096;

[[noreturn]] void nobody_answers() {
    fail(Status::failed, "there is no terminal to ask for the passphrase on: give it with --passphrase-file");
}

}  // namespace

#if defined(_WIN32)

std::string ask_passphrase(const char* prompt) {
    _cputs(prompt);
    std::string typed;
    typed.reserve(passphrase_size_max);
    for (int c = _getch(); c != '\r' && c != '\n'; c = _getch()) {
        if (c == EOF) nobody_answers();
        if (c == 3) fail(Status::failed, "interrupted");  // Ctrl-C
        if (c == '\b') {
            if (!typed.empty()) typed.pop_back();
        } else if (typed.size() < passphrase_size_max) {
            typed += static_cast<char>(c);
        }
    }
    _cputs("\r\n");
    return typed;
}

#else

namespace {

volatile sig_atomic_t caught_signal = 0;

// The terminal with echo off. Signals that would end or stop the program end the reading instead, are sent again once the echo is
// back, and then do what they do.
class SilentTerminal {
public:
    explicit SilentTerminal(int terminal) : terminal_(terminal) {
        if (::tcgetattr(terminal, &before_) != 0) nobody_answers();
        caught_signal = 0;
        struct sigaction catching {};
        catching.sa_handler = [](int signal) { caught_signal = signal; };  // without SA_RESTART: read() returns
        for (std::size_t i = 0; i < signal_count; ++i) ::sigaction(signals[i], &catching, &actions_before_[i]);
        termios silent = before_;
        silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        silent.c_lflag |= ICANON | ECHONL;
        ::tcsetattr(terminal, TCSAFLUSH, &silent);
    }
    SilentTerminal(const SilentTerminal&) = delete;
    SilentTerminal& operator=(const SilentTerminal&) = delete;
    ~SilentTerminal() {
        ::tcsetattr(terminal_, TCSAFLUSH, &before_);
        for (std::size_t i = 0; i < signal_count; ++i) ::sigaction(signals[i], &actions_before_[i], nullptr);
        if (caught_signal != 0) ::raise(caught_signal);
    }

private:
    static constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    static constexpr std::size_t signal_count = sizeof signals / sizeof *signals;

    const int terminal_;
    termios before_{};
    struct sigaction actions_before_[signal_count];
};

struct Descriptor {
    const int number;
    ~Descriptor() {
        if (number >= 0) ::close(number);
    }
};

}  // namespace

std::string ask_passphrase(const char* prompt) {
    const Descriptor terminal{::open("/dev/tty", O_RDWR | O_CLOEXEC)};
    if (terminal.number < 0) nobody_answers();
    std::string typed(passphrase_size_max, '\0');
    std::size_t size = 0;
    {
        const SilentTerminal silent(terminal.number);
        if (::write(terminal.number, prompt, std::strlen(prompt)) < 0) nobody_answers();
        while (size < typed.size() && caught_signal == 0) {
            const ssize_t got = ::read(terminal.number, typed.data() + size, typed.size() - size);
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) break;
            size += static_cast<std::size_t>(got);
            if (typed[size - 1] == '\n') break;
        }
    }
    if (caught_signal != 0) fail(Status::failed, "interrupted");  // stopped, and now continued
    if (size == 0 || typed[size - 1] != '\n') fail(Status::failed, "no passphrase was typed in");
    typed.resize(size - 1);
    return typed;
}

#endif

}  // namespace cli
