#pragma once
// Children of a test: to run something in that may crash or lacks privileges, and to hold a database open. POSIX only.

#include <doctest/doctest.h>

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <exception>
#include <string>

#include "support/temp_folder.hpp"

namespace emdb_test::children {

// Runs f in a forked child and gives what it returned; "" is what most of these tests hope for. A child that crashes,
// throws or takes a minute says so instead.
template <class F>
std::string in_child(F&& f) {
    int ends[2];
    if (::pipe(ends) != 0) return "no pipe";
    const pid_t child = ::fork();
    if (child < 0) return "no fork";
    if (child == 0) {
        ::close(ends[0]);
        ::alarm(60);
        std::string said;
        try {
            said = f();
        } catch (const std::exception& exception) {
            said = std::string("threw: ") + exception.what();
        }
        for (std::size_t done = 0; done < said.size();) {
            const ssize_t written = ::write(ends[1], said.data() + done, said.size() - done);
            if (written <= 0) ::_exit(2);
            done += static_cast<std::size_t>(written);
        }
        ::_exit(0);
    }
    ::close(ends[1]);
    std::string said;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
        said.append(buffer, static_cast<std::size_t>(got));
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) said += "[killed by signal " + std::to_string(WTERMSIG(status)) + "]";
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        said += "[exit status " + std::to_string(WEXITSTATUS(status)) + "]";
    return said;
}

// Collects what went wrong in a child, where doctest's checks would not reach anybody.
class Wrongs {
public:
    void expect(bool right, const std::string& what) {
        if (!right) text_ += what + "\n";
    }
    void expect_equal(const std::string& found, const std::string& expected, const std::string& what) {
        expect(found == expected, what + ": " + found + " instead of " + expected);
    }
    const std::string& text() const { return text_; }

private:
    std::string text_;
};

// A child that runs `prepare` and then waits to be killed or let go.
class WaitingChild {
public:
    template <class F>
    explicit WaitingChild(F&& prepare) {
        int ready[2];
        int go[2];
        REQUIRE(::pipe(ready) == 0);
        REQUIRE(::pipe(go) == 0);
        pid_ = ::fork();
        REQUIRE(pid_ >= 0);
        char byte = 'r';
        if (pid_ == 0) {
            ::close(ready[0]);
            ::close(go[1]);
            ::alarm(60);
            try {
                const auto kept = prepare();
                if (::write(ready[1], &byte, 1) != 1) ::_exit(2);
                while (::read(go[0], &byte, 1) < 0) {
                }
            } catch (const std::exception&) {
                ::_exit(3);
            }
            ::_exit(0);
        }
        ::close(ready[1]);
        ::close(go[0]);
        go_ = go[1];
        CHECK(::read(ready[0], &byte, 1) == 1);  // 0: it failed to prepare
        ::close(ready[0]);
    }
    WaitingChild(const WaitingChild&) = delete;
    WaitingChild& operator=(const WaitingChild&) = delete;
    ~WaitingChild() { end(SIGKILL); }

    pid_t pid() const { return pid_; }
    void end(int signal) {
        if (pid_ <= 0) return;
        if (signal != 0) ::kill(pid_, signal);
        ::close(go_);
        ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }

private:
    pid_t pid_ = -1;
    int go_ = -1;
};

// As in_child, in the folder and without privileges. Paths have to be relative: nobody can walk to the folder.
template <class F>
std::string as_ordinary_user(const TempFolder& folder, F&& f) {
    return in_child([&]() -> std::string {
        if (::chdir(folder.path().c_str()) != 0) return "no chdir";
        if (::geteuid() == 0 && (::setegid(65534) != 0 || ::seteuid(65534) != 0)) return "no seteuid";
        return f();
    });
}

}  // namespace emdb_test::children
