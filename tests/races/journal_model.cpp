// Appending to the journal under every interleaving: the reservation of room, frames completed in turn, the watermark that readers
// trust, windows that are opened and unmapped.
//
// A frame's value is the address of a piece of memory that its writer makes before. So whoever reads a frame without order is found
// by using that, and a window is in use from the moment at which it is found until its user orders what comes after.

#include "races/model/atomic.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "journal/journal.hpp"
#include "races/model/campaign.hpp"
#include "races/model/surroundings.hpp"

namespace {

using emdb::ErrorCode;
using emdb::detail::Atomic;
using emdb::detail::FileIdentity;
using emdb::detail::FrameContent;
using emdb::detail::FrameView;
using emdb::detail::Journal;
using emdb::detail::JournalMap;
using emdb::detail::Mapping;
using emdb::Error;
using emdb::Result;
using model::expect;
using model::Program;

/// A file in memory. All of its mappings are the same bytes.
class ModelFile final : public emdb::detail::File {
public:
    explicit ModelFile(bool has_room) : has_room(has_room) { std::memset(bytes, 0, sizeof bytes); }

    Result<std::uint64_t> size() override { return sizeof bytes; }
    Result<void> write_at(std::uint64_t offset, std::span<const std::byte> from) override {
        if (offset >= fails_from) return Error(ErrorCode::io, "The disk is broken.");
        std::memcpy(bytes + offset, from.data(), from.size());
        return {};
    }
    Result<std::size_t> read_at(std::uint64_t, std::span<std::byte>) override { return std::size_t{0}; }
    bool keeps_allocation() override { return true; }
    Result<void> allocate(std::uint64_t, std::uint64_t length) override {
        if (length > allocates_at_most) return Error(ErrorCode::io, "The disk is full.");
        return {};
    }
    Result<void> truncate(std::uint64_t) override { return {}; }
    Result<void> sync() override { return {}; }
    bool maps_past_end() override { return has_room; }
    Result<Mapping> map_read_only(std::uint64_t offset, std::size_t length) override { return Mapping(bytes + offset, length, nullptr); }
    Result<Mapping> map_writable(std::uint64_t offset, std::size_t length) override { return Mapping(bytes + offset, length, nullptr); }
    Result<void> populate(const Mapping&, std::size_t, std::size_t) override { return {}; }
    bool is_memory_backed() override { return true; }
    void expect_reading(std::uint64_t, std::uint64_t) noexcept override {}
    void expect_random_reading(const Mapping&) noexcept override {}
    std::size_t map_granularity() override { return 65536; }
    Result<bool> try_lock() override { return true; }
    Result<bool> is_locked_by_other() override { return false; }
    Result<FileIdentity> identity() override { return FileIdentity{}; }
    void set_name(const std::string&) override {}

    std::uint64_t fails_from = UINT64_MAX;
    std::uint64_t allocates_at_most = UINT64_MAX;
    const bool has_room;  ///< in address space, so that all is mapped from the start

private:
    static inline std::byte bytes[std::size_t{1} << 19];
};

struct Log {
    explicit Log(bool through_windows, bool has_room = true) : file(has_room), journal(file, map, {}, nullptr, through_windows, path) {
        expect(map.open(file, start).has_value(), "a map");
        journal.start_at(start, start, start);
    }

    /// False: an error.
    bool append(std::size_t size = 8) {
        auto& mine = made[model::Explorer::running()->thread()];
        mine.push_back(std::make_unique<int>(1));
        std::vector<std::byte> value(size);
        const int* const address = mine.back().get();
        std::memcpy(value.data(), &address, sizeof address);
        FrameContent content;
        content.value = emdb::Bytes(value.data(), value.size());
        const auto offset = journal.append(content);
        if (!offset) return false;
        expect(journal.completed() >= *offset + content.frame_size(), "a frame is acknowledged above the watermark");
        last.exchange(*offset, std::memory_order_release);
        own[model::Explorer::running()->thread()] = *offset;
        return true;
    }
    std::uint64_t read(std::uint64_t offset) {
        FrameView frame;
        expect(journal.read_raw(offset, true, frame), "what is no frame is shown to readers");
        const int* address = nullptr;
        std::memcpy(&address, frame.value.data(), sizeof address);
        model::Explorer::running()->use(address);
        return frame.size;
    }
    void read_all() {
        const std::uint64_t end = journal.completed();
        std::uint64_t offset = start;
        while (offset < end) offset += read(offset);
        expect(offset == end, "the watermark is in the middle of a frame");
    }
    void read_last() {
        if (const std::uint64_t offset = last.load(std::memory_order_acquire)) read(offset);
    }

    void read_own() { read(own[model::Explorer::running()->thread()]); }

    static constexpr std::uint64_t start = 8192;
    std::array<std::vector<std::unique_ptr<int>>, model::threads_max> made;  ///< by each thread
    std::array<std::uint64_t, model::threads_max> own{};  ///< the last frame of each thread
    ModelFile file;
    JournalMap map;
    const std::string path = "a";
    Journal journal;
    Atomic<std::uint64_t> last{0};  ///< the index: where a reader finds frames
};

}  // namespace

TEST_CASE("the journal is right in every interleaving, and each of its memory orders is needed for that or named as open") {
    model::Campaign campaign("journal", {"journal/journal.hpp", "journal/append_window.hpp"});
    campaign.on_switch(model::run_on_slot);

    for (const bool through_windows : {true, false}) {
        campaign.add({through_windows ? "two threads append" : "two threads append by writing", [=](Program& program) {
            auto log = std::make_shared<Log>(through_windows);
            log->append();
            for (int i = 0; i < 2; ++i) program.thread([log] { expect(log->append(), "a frame is refused"); });
            program.afterwards([log] { log->read_all(); });
        }, 3'000});
    }

    campaign.add({"two threads append, a reader reads up to the watermark", [](Program& program) {
        auto log = std::make_shared<Log>(true);
        log->append();
        for (int i = 0; i < 2; ++i) program.thread([log] { expect(log->append(), "a frame is refused"); });
        program.thread([log] { log->read_all(); });
    }, 2'000});

    campaign.add({"a thread appends, two read what they are told of", [](Program& program) {
        auto log = std::make_shared<Log>(true);
        log->append();
        program.thread([log] { expect(log->append() && log->append(), "a frame is refused"); });
        for (int i = 0; i < 2; ++i) program.thread([log] { log->read_last(); });
    }, 2'000, true});  // both may move the readers' watermark

    campaign.add({"one appends as another opens windows and unmaps older ones", [](Program& program) {
        auto log = std::make_shared<Log>(true);
        log->append();
        program.thread([log] {
            for (int i = 0; i < 4; ++i) expect(log->append(60'000), "a frame is refused");
        });
        program.thread([log] { expect(log->append(), "a frame is refused"); });
        program.afterwards([log] { log->read_all(); });
    }, 2'000});

    // The disk has no room for more than each frame needs, so that every one opens a window of its own.
    campaign.add({"two open windows and unmap older ones as a third stores into one", [](Program& program) {
        auto log = std::make_shared<Log>(true);
        log->append();
        log->append(60'000);
        log->file.allocates_at_most = 70'000;
        for (const std::size_t size : {60'000, 60'000, 8}) {
            program.thread([log, size] { expect(log->append(size), "a frame is refused"); });
        }
        program.afterwards([log] { log->read_all(); });
    }, 2'000});

    // Which a thread may find that the other has made.
    for (const bool through_windows : {true, false}) {
        campaign.add({through_windows ? "two threads append into space that is mapped anew, and read their own"
                                      : "the same, by writing", [=](Program& program) {
            auto log = std::make_shared<Log>(through_windows, false);
            log->append();
            log->append(60'000);
            for (int i = 0; i < 2; ++i) {
                program.thread([log] {
                    expect(log->append(60'000), "a frame is refused");
                    log->read_own();
                });
            }
        }, 1'000, true});  // both may move the readers' watermark
    }

    campaign.add({"a large frame is appended beside another", [](Program& program) {
        auto log = std::make_shared<Log>(true);
        log->append();
        program.thread([log] { expect(log->append(70'000), "a frame is refused"); });
        program.thread([log] { expect(log->append(), "a frame is refused"); });
        program.afterwards([log] { log->read_all(); });
    }, 2'000});

    campaign.add({"a write fails, and whoever waits for its turn is told", [](Program& program) {
        auto log = std::make_shared<Log>(false);
        log->append();
        log->file.fails_from = log->journal.completed() + 1;
        auto done = std::make_shared<Atomic<int>>(0);
        for (int i = 0; i < 2; ++i) {
            program.thread([log, done] {
                if (log->append()) done->fetch_add(1, std::memory_order_relaxed);
            });
        }
        program.afterwards([log, done] {
            expect(done->load(std::memory_order_relaxed) <= 1, "a frame is acknowledged that is not there");
            log->read_all();
        });
    }, 2'000});

    const char* const in_order =
        "what it orders is a sequentially consistent store and load of the newest window, which the model makes in the order of the source";
    const char* const of_file = "it orders a sync of the file, which the model's needs none of";
    const char* const plain = "segments are no atomics: the model does not see who uses them";
    campaign.unproven({"journal/append_window.hpp", "return ready_end_.load(std::memory_order_acquire)", "relaxed", in_order});
    campaign.unproven({"journal/append_window.hpp", "ready_end_.store(prepared, std::memory_order_release)", "relaxed", in_order});
    campaign.unproven({"journal/journal.hpp", "sync_first_.load(std::memory_order_acquire)", "relaxed", of_file});
    campaign.unproven({"journal/journal.hpp", "sync_first_.store(false, std::memory_order_release)", "unreached", of_file});
    campaign.unproven({"journal/journal.hpp", "std::memory_order_seq_cst, std::memory_order_relaxed)) break;", "any",
                       "windows are opened under the same lock, which orders it already"});
    campaign.unproven({"journal/journal.hpp", "prepared_.store(offset + size, std::memory_order_release)", "relaxed",
                       "only who looks at it and then moves the tail before the frame could tell; the model's loads read nothing that is "
                       "stored later"});
    campaign.unproven({"journal/journal_map.hpp", "count_.load(std::memory_order_acquire)", "relaxed", plain});
    campaign.unproven({"journal/journal_map.hpp", "count_.store(index + 1, std::memory_order_release)", "relaxed", plain});
    campaign.run();
}
