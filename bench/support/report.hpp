#pragma once
// The rows of the report: a table as they come in, JSON at the end.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "timing.hpp"

namespace bench {

struct Bar {
    enum class Kind { none, at_most, at_least };
    Kind kind = Kind::none;
    double limit = 0;
    bool on_value = false;  // on emdb's own figure, not on the ratio

    static Bar none() { return {}; }
    static Bar ratio_at_most(double limit) { return {Kind::at_most, limit, false}; }
    static Bar ratio_at_least(double limit) { return {Kind::at_least, limit, false}; }
    static Bar value_at_most(double limit) { return {Kind::at_most, limit, true}; }
    static Bar value_at_least(double limit) { return {Kind::at_least, limit, true}; }
};

struct Row {
    std::string id;
    std::string what;
    std::string unit;
    std::string reference_name;  // what emdb is compared with; empty: nothing
    Samples reference;
    Samples emdb;
    Samples ratios;  // one a round
    Bar bar = {};
    std::string note = {};
};

/// To three digits: "9.13", "222", "0.0409".
inline std::string three_digits(double value) {
    if (value == 0) return "0";
    const int decimals = std::max(0, 2 - static_cast<int>(std::floor(std::log10(std::fabs(value)))));
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", decimals, value);
    return text;
}

class Report {
  public:
    Report(std::string machine, std::string workload, bool bars_apply)
        : machine_(std::move(machine)), workload_(std::move(workload)), bars_apply_(bars_apply) {
        std::printf("machine:  %s\nworkload: %s\n", machine_.c_str(), workload_.c_str());
        if (!bars_apply_) std::printf("the bars are for 1,000,000 records and more: no verdicts\n");
        std::printf("\n%-43s %-5s %9s  %-24s %9s  %-21s %-9s %s\n", "what", "unit", "emdb", "compared with", "",
                    "ratio (quartiles)", "bar", "verdict");
    }

    void add(Row row) {
        if (row.emdb.empty() && row.reference.empty()) return;
        print(row);
        rows_.push_back(std::move(row));
    }

    /// For the rows since the last call: a machine that is shared makes every one of them doubtful.
    void add_load_of_others(double share) {
        for (; loads_.size() < rows_.size();) loads_.push_back(share);
        if (share > 0.1)
            std::printf("    other processes took %.0f %% of the machine during these rows\n", share * 100);
    }

    void print_summary() const {
        std::size_t passed = 0, failed = 0;
        for (const Row& row : rows_) {
            passed += verdict(row) == "PASS";
            failed += verdict(row) == "FAIL";
        }
        std::printf("\n%zu bars met, %zu missed\n", passed, failed);
        if (!loads_.empty() && *std::max_element(loads_.begin(), loads_.end()) > 0.1) {
            std::printf("the machine was not this program's alone: repeat the run when it is\n");
        }
    }

    void write_json(const std::string& path) const {
        std::ofstream file(path);
        file << "{\n  \"machine\": " << quoted(machine_) << ",\n  \"workload\": " << quoted(workload_)
             << ",\n  \"rows\": [";
        for (std::size_t i = 0; i < rows_.size(); ++i) {
            const Row& row = rows_[i];
            file << (i == 0 ? "\n" : ",\n") << "    {\"id\": " << quoted(row.id) << ", \"what\": " << quoted(row.what)
                 << ", \"unit\": " << quoted(row.unit) << ", \"reference_name\": " << quoted(row.reference_name)
                 << ",\n     \"reference\": " << median_or_null(row.reference)
                 << ", \"emdb\": " << median_or_null(row.emdb) << ", \"ratio\": " << median_or_null(row.ratios)
                 << ", \"bar\": " << quoted(bar_text(row.bar)) << ", \"verdict\": " << quoted(verdict(row))
                 << ", \"note\": " << quoted(row.note)
                 << ", \"load_of_others\": " << (i < loads_.size() ? number(loads_[i]) : "null")
                 << ",\n     \"ratio_samples\": " << list(row.ratios)
                 << ",\n     \"reference_samples\": " << list(row.reference)
                 << ",\n     \"emdb_samples\": " << list(row.emdb) << "}";
        }
        file << "\n  ]\n}\n";
        if (!file.flush()) throw std::runtime_error("cannot write " + path);
    }

  private:
    static std::string bar_text(const Bar& bar) {
        if (bar.kind == Bar::Kind::none) return "";
        return (bar.kind == Bar::Kind::at_most ? "<= " : ">= ") + three_digits(bar.limit) + (bar.on_value ? "" : " x");
    }

    std::string verdict(const Row& row) const {
        const Samples& judged = row.bar.on_value ? row.emdb : row.ratios;
        if (!bars_apply_ || row.bar.kind == Bar::Kind::none || judged.empty()) return "-";
        const double figure = median(judged);
        return (row.bar.kind == Bar::Kind::at_most ? figure <= row.bar.limit : figure >= row.bar.limit) ? "PASS"
                                                                                                        : "FAIL";
    }

    void print(const Row& row) const {
        std::string ratio = "-";
        if (!row.ratios.empty()) {
            ratio = three_digits(median(row.ratios)) + " (" + three_digits(quantile(row.ratios, 0.25)) + "-" +
                    three_digits(quantile(row.ratios, 0.75)) + ")";
        }
        std::printf("%-43s %-5s %9s  %-24s %9s  %-21s %-9s %s\n", row.what.c_str(), row.unit.c_str(),
                    median_text(row.emdb).c_str(), row.reference_name.c_str(), median_text(row.reference).c_str(),
                    ratio.c_str(), bar_text(row.bar).c_str(), verdict(row).c_str());
        if (!row.note.empty()) std::printf("    %s\n", row.note.c_str());
        std::fflush(stdout);
    }

    static std::string median_text(const Samples& samples) {
        return samples.empty() ? "-" : three_digits(median(samples));
    }
    static std::string number(double value) {
        char text[64];
        std::snprintf(text, sizeof text, "%.6g", value);
        return text;
    }
    static std::string median_or_null(const Samples& samples) {
        return samples.empty() ? "null" : number(median(samples));
    }
    static std::string list(const Samples& samples) {
        std::string text = "[";
        for (const double sample : samples) text += (text.size() == 1 ? "" : ", ") + number(sample);
        return text + "]";
    }
    static std::string quoted(const std::string& text) {
        std::string result = "\"";
        for (const char c : text) {
            if (c == '"' || c == '\\') result += '\\';
            result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
        }
        return result + "\"";
    }

    std::string machine_, workload_;
    bool bars_apply_;
    std::vector<Row> rows_;
    Samples loads_;  // of other processes, for each row
};

}  // namespace bench
