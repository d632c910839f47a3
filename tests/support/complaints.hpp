#pragma once
// What threads find wrong: doctest's checks would not reach anybody from there.

#include <mutex>
#include <set>
#include <string>
#include <string_view>

namespace emdb_test {

class Complaints {
public:
    void unless(bool right, std::string_view what) {
        if (right) return;
        const std::lock_guard lock(mutex_);
        texts_.emplace(what);
    }
    // Each once, a line each; empty is what tests hope for.
    std::string text() {
        const std::lock_guard lock(mutex_);
        std::string all;
        for (const auto& text : texts_) all += text + "\n";
        return all;
    }

private:
    std::mutex mutex_;
    std::set<std::string> texts_;
};

}  // namespace emdb_test
