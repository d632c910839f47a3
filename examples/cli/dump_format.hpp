#pragma once
// The text format of mdb_dump and mdb_load (LMDB), db_dump and db_load (Berkeley DB): one section for each database.
//
//   VERSION=3
//   format=bytevalue        or print: printable ASCII as it is, other bytes as \xx, a backslash as \\.
//   database=names          left out for the main database, which is emdb's default keyspace
//   type=btree
//   mapsize=1048576         LMDB only: how large the database may become
//   HEADER=END
//    6b6579                 a space, then the key
//    76616c7565             a space, then its value
//   DATA=END

#include <cstdint>
#include <string>
#include <string_view>

#include "text_input.hpp"

namespace cli {

class DumpReader {
public:
    explicit DumpReader(TextInput& input) : input_(input) {}

    /// Reads the next section's header. False: the input has ended.
    bool next_section();
    /// Of the section; empty: the main one.
    const std::string& database() const { return database_; }
    /// False: the section has ended.
    bool next_record(std::string& key, std::string& value);

private:
    void take_header_line(const std::string& line);
    void read_data(std::string& bytes, std::uint64_t size_max, const char* what);
    int hex_byte(int first);

    TextInput& input_;
    std::string database_;
    bool print_ = false;
};

class DumpWriter {
public:
    /// `print`: format=print. `map_size` 0: no such line, which db_load of Berkeley DB would refuse.
    DumpWriter(bool print, std::uint64_t map_size) : print_(print), map_size_(map_size) {}

    void begin_section(std::string_view database);
    void record(std::string_view key, std::string_view value);
    void end_section();

private:
    void data(std::string_view bytes);

    const bool print_;
    const std::uint64_t map_size_;
    std::string line_;
};

}  // namespace cli
