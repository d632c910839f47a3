// Power cuts over an encrypted database: the stories of power_cut_test.cpp, with both ciphers.
//
// EMDB_POWER_CUTS=n   how many random cuts (1,500 for each cipher)
// EMDB_SEED=n         the first seed; alone, only the story with this seed is run

#define EMDB_ENCRYPT 1
#define EMDB_NESTED 1
#define EMDB_IMPLEMENTATION
#include "emdb.hpp"

#include <doctest/doctest.h>

#include "support/power_cut_story.hpp"

namespace emdb_test {
namespace {

TEST_CASE("power cuts: an encrypted database keeps every promise of a plain one") {
    for (const emdb::Cipher cipher : {emdb::Cipher::aes_256_gcm, emdb::Cipher::chacha20_poly1305}) {
        CAPTURE(static_cast<int>(cipher));
        DatabaseSettings settings;
        settings.cipher = cipher;
        run_stories(1'500, settings);
    }
}

}  // namespace
}  // namespace emdb_test
