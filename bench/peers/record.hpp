#pragma once
// What one run of one store has measured, and its JSON.

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "../support/timing.hpp"

namespace peers {

struct Figure {
    std::string id, unit;
    double value = 0;
    bench::Samples nanoseconds = {};  // of single calls
    double processor = 0;             // seconds of all threads
};

class Record {
  public:
    void text(const std::string& name, const std::string& value) { texts_.emplace_back(name, value); }
    void add(Figure figure) {
        // The time of day of the steady clock, to find the phase in a profile (perf record -k CLOCK_MONOTONIC).
        const double now = bench::nanoseconds(bench::Clock::now().time_since_epoch()) / 1e9;
        std::fprintf(stderr, "  %-26s %12.2f %-7s until %.3f\n", figure.id.c_str(), figure.value, figure.unit.c_str(),
                     now);
        figures_.push_back(std::move(figure));
    }
    void impossible(const std::string& id, const std::string& why) {
        std::fprintf(stderr, "  %-26s %12s %s\n", id.c_str(), "-", why.c_str());
        impossible_.emplace_back(id, why);
    }

    void print() const {
        std::printf("{");
        for (const auto& [name, value] : texts_) std::printf("%s: %s, ", quoted(name).c_str(), quoted(value).c_str());
        std::printf("\"figures\": {");
        const char* separator = "";
        for (const Figure& figure : figures_) {
            std::printf("%s\n  %s: {\"value\": %.9g, \"unit\": %s", separator, quoted(figure.id).c_str(), figure.value,
                        quoted(figure.unit).c_str());
            if (figure.processor > 0) std::printf(", \"processor_s\": %.4g", figure.processor);
            if (!figure.nanoseconds.empty()) {
                std::printf(", \"p50_ns\": %.6g, \"p99_ns\": %.6g, \"p999_ns\": %.6g, \"max_ns\": %.6g",
                            bench::quantile(figure.nanoseconds, 0.5), bench::quantile(figure.nanoseconds, 0.99),
                            bench::quantile(figure.nanoseconds, 0.999), bench::quantile(figure.nanoseconds, 1));
            }
            std::printf("}");
            separator = ",";
        }
        std::printf("}, \"impossible\": {");
        separator = "";
        for (const auto& [id, why] : impossible_) {
            std::printf("%s%s: %s", separator, quoted(id).c_str(), quoted(why).c_str());
            separator = ", ";
        }
        std::printf("}}\n");
    }

  private:
    static std::string quoted(const std::string& text) {
        std::string result = "\"";
        for (const char c : text) {
            if (c == '"' || c == '\\') result += '\\';
            result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
        }
        return result + "\"";
    }

    std::vector<std::pair<std::string, std::string>> texts_, impossible_;
    std::vector<Figure> figures_;
};

}  // namespace peers
