// Databases that go from one platform to another.
//
//   exchange write FOLDER     writes one of each kind
//   exchange read FOLDER      reads them, compares every record with what was written, writes on, reads again
//   exchange golden FOLDER    writes the files of tests/golden, once for each version of the format

#define EMDB_ENCRYPT 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include "support/format_story.hpp"

namespace emdb_test {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t big = 100'000;
constexpr std::size_t golden_big = 300;

std::string in(const std::string& folder, const std::string& name) { return folder + "/" + name; }

void write(const std::string& folder) {
    for (const auto& [name, lock] : story_locks()) {
        auto db = story_builder(in(folder, std::string(name) + ".emdb"), lock).build().value();
        write_story(db, big);
        db.close().value();
    }
    // One that was never closed: its file as it is after the last write.
    auto db = story_builder(in(folder, "open.emdb"), StoryLock::none).build().value();
    write_story(db, big);
    fs::copy_file(in(folder, "open.emdb"), in(folder, "unclean.emdb"));
    db.close().value();
}

bool reads_and_goes_on(const std::string& path, StoryLock lock, bool checkpoint) {
    SeenContents expected = story_contents(big);
    for (int round = 0; round < 2; ++round) {
        const auto verified = emdb::Emdb::verify(path, story_verify_options(lock)).value();
        if (!verified.ok() || (checkpoint && story_keeps_checkpoints && !verified.meta_usable)) {
            std::printf("%s: damages %d, checkpoint usable %d\n", path.c_str(), static_cast<int>(verified.damage_count), verified.meta_usable);
            return false;
        }
        auto builder = story_builder(path, lock);
        emdb::detail::BuilderAccess::use_checkpoints_from(builder, 0);
        auto db = builder.build().value();
        if (const std::string difference = difference_to(db, expected); !difference.empty()) {
            std::printf("%s: %s\n", path.c_str(), difference.c_str());
            return false;
        }
        const std::string written = "written elsewhere " + std::to_string(round);
        db.insert(written, story_value(200)).value();
        expected[""][written] = {story_value(200), std::nullopt};
        db.remove(story_key_of(2 + round)).value();
        expected[""].erase(story_key_of(2 + round));
        if (round == 1) db.compact().value();
        db.close().value();
        checkpoint = lock == StoryLock::none;  // closing has written one
    }
    return true;
}

bool read(const std::string& folder) {
    bool good = reads_and_goes_on(in(folder, "unclean.emdb"), StoryLock::none, false);
    for (const auto& [name, lock] : story_locks()) {
        good = reads_and_goes_on(in(folder, std::string(name) + ".emdb"), lock, lock == StoryLock::none) && good;
    }
    return good;
}

void write_golden(const std::string& folder) {
    for (const auto& [name, lock] : story_locks()) {
        const std::string path = in(folder, std::string(name) + ".emdb");
        auto db = story_builder(path, lock).build().value();
        write_story(db, golden_big);
        if (lock == StoryLock::none) {
            // As a killed process leaves it, without the space that is allocated in advance.
            const std::uint64_t size = db.stats().value().file_size_bytes;
            std::string bytes = read_bytes(path);
            bytes.resize(static_cast<std::size_t>(size));
            write_bytes(in(folder, "unclean.emdb"), bytes + std::string(100, '\0'));
            write_bytes(in(folder, "torn.emdb"), bytes.substr(0, bytes.size() - 3));
        }
        db.close().value();
        if (lock == StoryLock::none) {
            fs::copy_file(path, in(folder, "checkpoint.emdb"));
            fs::rename(path + ".meta", in(folder, "checkpoint.emdb.meta"));
        }
    }
}

}  // namespace
}  // namespace emdb_test

int main(int count, char** arguments) {
    using namespace emdb_test;
    emdb::detail::passphrase_cost.memory_kib = 8 * 1024;
    emdb::detail::passphrase_cost.passes = 1;
    const std::string_view what = count == 3 ? arguments[1] : "";
    if (what == "write") {
        write(arguments[2]);
    } else if (what == "golden") {
        write_golden(arguments[2]);
    } else if (what != "read" || !read(arguments[2])) {
        std::puts(what == "read" ? "not as written" : "usage: exchange write|read|golden FOLDER");
        return 1;
    }
    std::puts("done");
    return 0;
}
