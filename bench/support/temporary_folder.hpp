#pragma once
// A folder for the data of one run, which goes away with the process however it ends.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

namespace bench {

[[noreturn]] inline void fail_with_errno(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

/// Made under `parent`. A child process waits at a pipe for this process to end, be it by return, exception, abort,
/// Ctrl-C or SIGKILL, and then removes the folder. Construct it before any thread is started and before memory is used.
class TemporaryFolder {
  public:
    explicit TemporaryFolder(const std::filesystem::path& parent) {
        std::string name = (parent / "emdb-bench-XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr)
            fail_with_errno("cannot make a folder for the data under " + parent.string());
        path_ = name;
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) fail_with_errno("cannot make a pipe");
        remover_ = fork();
        if (remover_ < 0) fail_with_errno("cannot start the process that removes the data");
        if (remover_ == 0) remove_after_end_of(ends[0], ends[1]);
        close(ends[0]);
        lifeline_ = ends[1];
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        close(lifeline_);
        waitpid(remover_, nullptr, 0);
    }

    const std::filesystem::path& path() const { return path_; }

  private:
    [[noreturn]] void remove_after_end_of(int read_end, int write_end) {
        for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) std::signal(signal, SIG_IGN);
        close(write_end);
        char ignored;
        while (read(read_end, &ignored, 1) < 0 && errno == EINTR) {
        }
        std::error_code error;
        std::filesystem::remove_all(path_, error);
        _exit(error ? 1 : 0);
    }

    std::filesystem::path path_;
    pid_t remover_ = -1;
    int lifeline_ = -1;
};

}  // namespace bench
