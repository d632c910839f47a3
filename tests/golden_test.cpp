// Files that earlier versions wrote must be read for ever after. tests/golden has one of each kind; none is ever written again or
// changed. New features of the format get new files beside them, by tests/platforms/exchange.cpp.
//
//   plain        every kind of frame, closed, no checkpoint        aes_gcm, chacha20   the same, sealed under story_key()
//   checkpoint   the same with its .meta                           passphrase          with story_passphrase, 8 MiB and 1 pass
//   sealed       aes_gcm with its .meta
//   unclean      never closed: ends with a put and a few zeros     torn                the same without the last three bytes
//
// EMDB_GOLDEN=folder   where they are (tests/golden)

#define EMDB_ENCRYPT 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/format_story.hpp"
#include "support/temp_folder.hpp"

namespace emdb_test {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t golden_big = 300;

/// A golden file's copy, to be opened: opening is no mere read.
class Golden {
public:
    explicit Golden(const std::string& name) : path(folder_.file(name)), original_(source() + "/" + name) {
        REQUIRE(fs::exists(original_));
        fs::copy_file(original_, path);
        if (fs::exists(original_ + ".meta")) fs::copy_file(original_ + ".meta", path + ".meta");
    }

    std::string original() const { return read_bytes(original_); }

private:
    static std::string source() {
        const char* const named = std::getenv("EMDB_GOLDEN");
        return named == nullptr || *named == '\0' ? "tests/golden" : named;
    }

    TempFolder folder_;

public:
    const std::string path;

private:
    const std::string original_;
};

/// Reads it, writes on, and reads that.
void check(const Golden& golden, StoryLock lock, const SeenContents& before) {
    const auto report = emdb::Emdb::verify(golden.path, story_verify_options(lock)).value();
    CHECK(report.ok());
    CHECK(read_bytes(golden.path) == golden.original());
    SeenContents expected = before;
    for (int round = 0; round < 3; ++round) {
        CAPTURE(round);
        emdb::EmdbBuilder builder = story_builder(golden.path, lock);
        emdb::detail::BuilderAccess::use_checkpoints_from(builder, 0);
        auto db = builder.build().value();
        CHECK(difference_to(db, expected) == "");
        if (round == 0) CHECK(read_bytes(golden.path).starts_with(golden.original().substr(0, golden.original().size() - 110)));
        db.insert("new " + std::to_string(round), "record").value();
        expected[""]["new " + std::to_string(round)] = {"record", std::nullopt};
        if (round == 1) db.compact().value();
        db.close().value();
    }
    CHECK(emdb::Emdb::verify(golden.path, story_verify_options(lock)).value().ok());
}

}  // namespace

TEST_CASE("golden: databases of every kind of lock hold what was written into them") {
    for (const auto& [locked_by, lock] : story_locks()) {
        const std::string name(locked_by);
        CAPTURE(name);
        const Golden golden(name + ".emdb");
        check(golden, lock, story_contents(golden_big));
    }
}

TEST_CASE("golden: reading a closed database leaves every byte as it was") {
    for (const auto& [locked_by, lock] : story_locks()) {
        const std::string name(locked_by);
        CAPTURE(name);
        const Golden golden(name + ".emdb");
        auto db = story_builder(golden.path, lock).build().value();
        CHECK(difference_to(db, story_contents(golden_big)) == "");
        db.close().value();
        CHECK(read_bytes(golden.path) == golden.original());
    }
}

TEST_CASE("golden: a checkpoint is used") {
    const Golden golden("checkpoint.emdb");
    CHECK(emdb::Emdb::verify(golden.path).value().meta_usable == story_keeps_checkpoints);
    check(golden, StoryLock::none, story_contents(golden_big));
}

TEST_CASE("golden: a sealed checkpoint is used") {
    const Golden golden("sealed.emdb");
    CHECK(emdb::Emdb::verify(golden.path, story_verify_options(StoryLock::aes_gcm)).value().meta_usable == story_keeps_checkpoints);
    check(golden, StoryLock::aes_gcm, story_contents(golden_big));
}

TEST_CASE("golden: an unclean close lost nothing") {
    const Golden golden("unclean.emdb");
    CHECK_FALSE(emdb::Emdb::verify(golden.path).value().torn_tail);
    check(golden, StoryLock::none, story_contents(golden_big));
}

TEST_CASE("golden: a torn tail is cut off") {
    const Golden golden("torn.emdb");
    CHECK(emdb::Emdb::verify(golden.path).value().torn_tail);
    SeenContents expected = story_contents(golden_big);
    expected[""].erase("last");
    check(golden, StoryLock::none, expected);
}

}  // namespace emdb_test
