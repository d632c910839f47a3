#include "output.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "failure.hpp"

#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#else
#include <signal.h>
#include <unistd.h>
#endif

namespace cli {

void prepare_streams() {
#if defined(_WIN32)
    _setmode(_fileno(stdin), _O_BINARY);
    _setmode(_fileno(stdout), _O_BINARY);
#else
    ::signal(SIGPIPE, SIG_IGN);  // the database is to be closed properly also when the reader has gone
#endif
    static char buffer[1 << 16];
    std::setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
}

namespace {

[[noreturn]] void output_failed() {
    const int why = errno;
    if (why == EPIPE) throw ReaderGone{};
    fail(Status::failed, std::string("cannot write to the standard output: ") + std::strerror(why));
}

}  // namespace

void write(std::string_view bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) output_failed();
}

void flush_output() {
    if (std::fflush(stdout) != 0) output_failed();
}

bool output_is_terminal() {
#if defined(_WIN32)
    return _isatty(_fileno(stdout)) != 0;
#else
    return ::isatty(STDOUT_FILENO) == 1;
#endif
}

std::string read_standard_input() {
    std::string bytes;
    char buffer[1 << 16];
    std::size_t got = 0;
    while ((got = std::fread(buffer, 1, sizeof buffer, stdin)) > 0) bytes.append(buffer, got);
    if (std::ferror(stdin) != 0) fail(Status::failed, std::string("cannot read the standard input: ") + std::strerror(errno));
    return bytes;
}

RecordFormat parse_record_format(std::string_view name) {
    if (name == "raw") return RecordFormat::raw;
    if (name == "hex") return RecordFormat::hex;
    if (name == "json") return RecordFormat::json;
    fail(Status::usage, "there is no format '" + std::string(name) + "': raw, hex and json are known. Try 'emdb --help'.");
}

std::string counted(std::uint64_t count, const std::string& noun) {
    return std::to_string(count) + ' ' + noun + (count == 1 ? "" : "s");
}

std::string human_bytes(std::uint64_t bytes) {
    static constexpr const char* units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double amount = static_cast<double>(bytes);
    std::size_t unit = 0;
    for (; amount >= 999.95 && unit + 1 < std::size(units); ++unit) amount /= 1000;
    char text[32];
    std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", amount, units[unit]);
    return text;
}

}  // namespace cli
