// The lock file, which anybody may write: any bytes are either no lock file or one whose fields are bounded, and never in the way of
// the database.

#include "fuzz/fuzzing.hpp"

namespace emdb_fuzz {

void fuzz_lock_file(Input in) {
    const std::string text(in.rest());
    const auto decoded = emdb::detail::decode_lock_holder(text);
    check(decoded.has_value() == (text.compare(0, 10, "emdb-lock ") == 0), "what a lock file is does not depend on its first word alone");
    if (decoded) {
        check(decoded->hostname.size() + decoded->version.size() <= text.size(), "fields are longer than the file");
        // What was understood can be written down and understood again.
        const auto again = emdb::detail::decode_lock_holder(emdb::detail::encode_lock_holder(*decoded));
        std::string host = decoded->hostname;
        std::replace(host.begin(), host.end(), '\r', ' ');
        check(again && again->pid == decoded->pid && again->version == decoded->version && again->hostname == host &&
                  again->schema_version == decoded->schema_version, "a lock file does not survive being written again");
    }
    const auto disk = make_disk();
    put_file(*disk, database_path + ".lock", text);
    const auto nobody = expect(emdb::detail::find_lock_holder(*disk, database_path), "asking for the holder of nothing");
    check(!nobody, "a left-over lock file holds a lock");
    emdb::Emdb db = expect(open_database(*disk), "opening over a left-over lock file");
    put_file(*disk, database_path + ".lock", text);
    const auto holder = expect(emdb::detail::find_lock_holder(*disk, database_path), "asking for the holder");
    check(holder.has_value(), "an open database has no holder");
    if (text.size() <= 4096) check(holder->pid == (decoded ? decoded->pid : 0), "the holder is another one than the file says");
    check(open_database(*disk) == emdb::ErrorCode::already_locked, "a database is opened twice");
    check(emdb::detail::break_lock(*disk, database_path) == emdb::ErrorCode::already_locked, "a lock that is held is broken");
}

}  // namespace emdb_fuzz
