#include "progress.hpp"

#include <algorithm>
#include <cstdio>

#include "output.hpp"

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

namespace cli {

namespace {

bool errors_go_to_a_terminal() {
#if defined(_WIN32)
    return _isatty(_fileno(stderr)) != 0;
#else
    return ::isatty(STDERR_FILENO) == 1;
#endif
}

std::string clock_text(double seconds) {
    const auto whole = static_cast<unsigned long>((std::min)(seconds, 359'999.0) + 0.5);
    char text[32];
    if (whole >= 3600) {
        std::snprintf(text, sizeof text, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60, whole % 60);
    } else {
        std::snprintf(text, sizeof text, "%lu:%02lu", whole / 60, whole % 60);
    }
    return text;
}

}  // namespace

Progress::Progress(std::string what, bool quiet) : what_(std::move(what)), enabled_(!quiet && errors_go_to_a_terminal()) {}

Progress::~Progress() {
    if (visible_) std::fputs("\r\x1b[K", stderr);
}

void Progress::update(std::uint64_t done, std::uint64_t total) {
    using namespace std::chrono_literals;
    if (!enabled_) return;
    const auto now = Clock::now();
    if (now - started_ < 500ms || now - drawn_ < 100ms) return;
    drawn_ = now;
    visible_ = true;
    const std::string line = text(what_, done, total, std::chrono::duration<double>(now - started_).count());
    std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
    std::fflush(stderr);
}

std::string Progress::text(const std::string& what, std::uint64_t done, std::uint64_t total, double seconds) {
    constexpr std::size_t width = 24;
    const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
    const std::string speed = human_bytes(static_cast<std::uint64_t>(rate)) + "/s";
    if (total == 0) return what + "  " + human_bytes(done) + "  " + speed;
    const double share = (std::min)(1.0, static_cast<double>(done) / static_cast<double>(total));
    const auto filled = static_cast<std::size_t>(share * width);
    const std::string bar = (std::string(filled, '=') + ">").substr(0, width);
    char percent[8];
    std::snprintf(percent, sizeof percent, "%3.0f %%", 100 * share);
    std::string line = what + "  [" + bar + std::string(width - bar.size(), ' ') + "]  " + percent + "  " + speed;
    if (rate > 0) line += "  " + clock_text(static_cast<double>(total - (std::min)(done, total)) / rate) + " left";
    return line;
}

}  // namespace cli
