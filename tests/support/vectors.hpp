#pragma once
// Reads known-answer files: one vector a line, `name=value` tokens between single spaces, '#' comments, and one `%count N` that
// must agree with the number of vectors, so that a file cut short is noticed.

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

namespace test_support {

using VectorFields = std::map<std::string, std::string>;

struct VectorFile {
    std::string problem;  // empty when the file was read whole
    std::vector<VectorFields> vectors;
};

/// Where the files lie: $EMDB_VECTORS, or the folder shared/vectors beside the project's. Empty when there is none.
inline std::filesystem::path vectors_folder() {
    if (const char* chosen = std::getenv("EMDB_VECTORS")) return chosen;
    const std::filesystem::path project = std::filesystem::path(__FILE__).parent_path().parent_path().parent_path();
    const std::filesystem::path usual = project / ".." / "shared" / "vectors";
    std::error_code error;
    return std::filesystem::is_directory(usual, error) ? usual : std::filesystem::path();
}

inline VectorFile read_vectors(const std::filesystem::path& path) {
    VectorFile result;
    std::ifstream in(path);
    std::string line;
    std::string announced = "no count";
    while (std::getline(in, line)) {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        if (line.empty() || line.front() == '#') continue;
        if (line.front() == '%') {
            announced = line;
            continue;
        }
        VectorFields fields;
        std::istringstream tokens(line);
        for (std::string token; std::getline(tokens, token, ' ');) {
            const std::size_t equals = token.find('=');
            if (equals == std::string::npos) {
                result.problem = path.string() + ": not name=value: " + token;
            } else if (!fields.emplace(token.substr(0, equals), token.substr(equals + 1)).second) {
                result.problem = path.string() + ": twice in one line: " + token;
            }
        }
        result.vectors.push_back(fields);
    }
    if (announced != "%count " + std::to_string(result.vectors.size())) {
        const std::string found = std::to_string(result.vectors.size());
        result.problem = path.string() + ": found " + found + " vectors, but the file says " + announced;
    }
    return result;
}

/// The bytes of a hexadecimal field. False when the field is missing or is not pairs of lower-case digits.
inline bool hex_field(const VectorFields& fields, const std::string& name, std::vector<unsigned char>& bytes) {
    bytes.clear();
    const auto found = fields.find(name);
    if (found == fields.end() || found->second.size() % 2 != 0) return false;
    const std::string digits = "0123456789abcdef";
    for (std::size_t i = 0; i < found->second.size(); i += 2) {
        const std::size_t high = digits.find(found->second[i]);
        const std::size_t low = digits.find(found->second[i + 1]);
        if (high == std::string::npos || low == std::string::npos) return false;
        bytes.push_back(static_cast<unsigned char>(high * 16 + low));
    }
    return true;
}

}  // namespace test_support
