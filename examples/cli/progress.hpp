#pragma once
// A line on stderr that says how far a long command has come:
//
//   import  [===========>            ]  46 %  118.3 MB/s  0:07 left
//
// Drawn only if stderr is a terminal, and first after half a second: a pipe, a log or a short command never sees it.

#include <chrono>
#include <cstdint>
#include <string>

namespace cli {

class Progress {
public:
    /// `quiet` keeps it from being drawn at all.
    Progress(std::string what, bool quiet);
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    /// Wipes the line.
    ~Progress();

    /// So many of `total` bytes are done; 0: nobody knows how many there are.
    void update(std::uint64_t done, std::uint64_t total);

    /// The line without the terminal's codes.
    static std::string text(const std::string& what, std::uint64_t done, std::uint64_t total, double seconds);

private:
    using Clock = std::chrono::steady_clock;
    const std::string what_;
    const bool enabled_;
    const Clock::time_point started_ = Clock::now();
    Clock::time_point drawn_ = started_;
    bool visible_ = false;
};

}  // namespace cli
