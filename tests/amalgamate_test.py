"""amalgamate.py: what it produces from a small tree, and every tree it refuses."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

AMALGAMATE = pathlib.Path(__file__).resolve().parent.parent / "amalgamate.py"

TREE = {
    "emdb.hpp": """\
// The spine.
#ifndef EMDB_HPP
#define EMDB_HPP
#include "base/config.hpp"
#include "api/emdb.hpp"
#endif  // EMDB_HPP
#if defined(EMDB_IMPLEMENTATION) && !defined(EMDB_IMPLEMENTATION_INCLUDED)
#define EMDB_IMPLEMENTATION_INCLUDED
#include "os/contract.hpp"
#if EMDB_ENCRYPT
#include "crypto/aead.hpp"
#endif
#include "engine/write.hpp"
#endif
""",
    "base/config.hpp": """\
#pragma once
// Settings.
#include <cstddef>
#define EMDB_VERSION_MAJOR 1
#define EMDB_VERSION_MINOR 2
#define EMDB_VERSION_PATCH 3
""",
    "api/emdb.hpp": '#pragma once\n#include "base/config.hpp"\n#include <string>\nclass Emdb;\n',
    "os/contract.hpp": "#pragma once\n#include <unistd.h>\nclass File;\n",
    "crypto/aead.hpp": '#pragma once\n#include "base/config.hpp"\nclass Aead;\n',
    "engine/write.hpp": '#pragma once\n#include "os/contract.hpp"\n#if EMDB_ENCRYPT\n#include "crypto/aead.hpp"\n#endif\nvoid write();\n',
}

PRODUCT = """\
// The spine.
#ifndef EMDB_HPP
#define EMDB_HPP
// src/base/config.hpp
// Settings.
#include <cstddef>
#define EMDB_VERSION_MAJOR 1
#define EMDB_VERSION_MINOR 2
#define EMDB_VERSION_PATCH 3
// src/api/emdb.hpp
#include <string>
class Emdb;
#endif  // EMDB_HPP
#if defined(EMDB_IMPLEMENTATION) && !defined(EMDB_IMPLEMENTATION_INCLUDED)
#define EMDB_IMPLEMENTATION_INCLUDED
// src/os/contract.hpp
#include <unistd.h>
class File;
#if EMDB_ENCRYPT
// src/crypto/aead.hpp
class Aead;
#endif
// src/engine/write.hpp
#if EMDB_ENCRYPT
#endif
void write();
#endif
"""


class Toy(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for name, text in TREE.items():
            self.write(name, text)

    def write(self, name, text):
        path = self.root / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def append(self, name, text):
        self.write(name, (self.root / "src" / name).read_bytes() + text.encode())

    def run_it(self, *arguments):
        return subprocess.run([sys.executable, AMALGAMATE, "--root", self.root, *arguments],
                              capture_output=True, text=True, check=False)

    def product(self):
        done = self.run_it()
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        return (self.root / "emdb.hpp").read_text()

    def assert_refused(self, where, *words):
        """The error for `where` ("src/file:line") holds all the words, and nothing was written."""
        done = self.run_it()
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertFalse((self.root / "emdb.hpp").exists())
        fitting = [line for line in done.stderr.splitlines() if line.startswith(where + ": ")]
        self.assertTrue(fitting, f"no error for {where} in:\n{done.stderr}")
        for word in words:
            self.assertTrue(any(word in line for line in fitting), f"no {word!r} in:\n{done.stderr}")
        self.assertTrue(all("; " in line for line in fitting), f"an error without a remedy:\n{done.stderr}")


class Stitching(Toy):
    def test_lines_are_copied_verbatim_each_file_once_at_its_first_inclusion(self):
        banner, body = self.product().split("\n\n", 1)
        self.assertEqual(body, PRODUCT)
        self.assertIn("emdb 1.2.3", banner)
        self.assertIn("SPDX-License-Identifier: Apache-2.0", banner)

    def test_the_guide_beside_the_sources_is_not_one_of_them(self):
        before = self.product()
        self.write("README.md", "caf\u00e9\n")
        self.assertEqual(self.product(), before)

    def test_the_same_sources_give_the_same_bytes_wherever_and_whenever(self):
        first = self.product()
        with tempfile.TemporaryDirectory() as other:
            for name, text in reversed(TREE.items()):
                path = pathlib.Path(other) / "src" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            subprocess.run([sys.executable, AMALGAMATE, "--root", other], check=True)
            self.assertEqual((pathlib.Path(other) / "emdb.hpp").read_text(), first)

    def test_the_banner_changes_with_any_source(self):
        first = self.product()
        self.append("engine/write.hpp", "// more\n")
        self.assertNotEqual(self.product().splitlines()[2], first.splitlines()[2])

    def test_an_unchanged_header_is_not_written_again(self):
        self.product()
        before = (self.root / "emdb.hpp").stat().st_mtime_ns
        self.product()
        self.assertEqual((self.root / "emdb.hpp").stat().st_mtime_ns, before)

    def test_output_names_another_file(self):
        expected = self.product()
        self.run_it("--output", str(self.root / "other.hpp"))
        self.assertEqual((self.root / "other.hpp").read_text(), expected)

    def test_digit_separators_and_comments_do_not_confuse_it(self):
        self.append("engine/write.hpp", "/* namespace {\n#define LEAK\n#include \"no/such.hpp\"\n*/\n"
                                        "int thousand = 1'000;  // it's\n// namespace {\nconst char* s = \"namespace \";\n")
        self.product()


class Check(Toy):
    def test_passes_when_in_step_and_writes_nothing(self):
        self.product()
        before = (self.root / "emdb.hpp").stat().st_mtime_ns
        self.assertEqual(self.run_it("--check").returncode, 0)
        self.assertEqual((self.root / "emdb.hpp").stat().st_mtime_ns, before)

    def test_fails_with_the_remedy_when_out_of_step(self):
        product = self.product()
        self.append("api/emdb.hpp", "class Namespace;\n")
        done = self.run_it("--check")
        self.assertEqual(done.returncode, 1)
        self.assertIn("emdb.hpp is out of step with src/", done.stderr)
        self.assertIn("make header", done.stderr)
        self.assertEqual((self.root / "emdb.hpp").read_text(), product)

    def test_fails_when_the_header_was_edited_by_hand(self):
        (self.root / "emdb.hpp").write_text(self.product().replace("class Emdb;", "class Emdb2;"))
        self.assertEqual(self.run_it("--check").returncode, 1)

    def test_fails_when_there_is_no_header(self):
        done = self.run_it("--check")
        self.assertEqual(done.returncode, 1)
        self.assertIn("does not exist", done.stderr)


class LineMap(Toy):
    def test_every_line_of_the_product_is_where_the_map_says(self):
        product = self.product().splitlines()
        covered = 0
        for row in self.run_it("--line-map").stdout.splitlines():
            lines, where = row.split(" ", 1)
            first, last = map(int, lines.split("-"))
            self.assertEqual(first, covered + 1)
            covered = last
            if where.startswith("src/"):
                name, numbers = where.rsplit(":", 1)
                begin, end = map(int, numbers.split("-"))
                self.assertEqual((self.root / name).read_text().splitlines()[begin - 1:end], product[first - 1:last])
        self.assertEqual(covered, len(product))

    def test_answers_for_one_line(self):
        line = self.product().splitlines().index("class Aead;") + 1
        self.assertEqual(self.run_it("--line-map", str(line)).stdout, "src/crypto/aead.hpp:3\n")
        self.assertEqual(self.run_it("--line-map", "1").stdout, "written by amalgamate.py\n")

    def test_refuses_a_line_that_does_not_exist(self):
        for line in ("100000", "-1"):
            done = self.run_it(f"--line-map={line}")
            self.assertEqual(done.returncode, 1)
            self.assertIn("has no line", done.stderr)

    def test_writes_to_a_file(self):
        self.run_it("--line-map", "--output", str(self.root / "map"))
        self.assertEqual((self.root / "map").read_text(), self.run_it("--line-map").stdout)


class Refusals(Toy):
    def test_include_cycle(self):
        self.write("os/a.hpp", '#pragma once\n#include "os/b.hpp"\n')
        self.write("os/b.hpp", '#pragma once\n#include "os/a.hpp"\n')
        self.append("os/contract.hpp", '#include "os/a.hpp"\n')
        self.assert_refused("src/os/b.hpp:2", "cycle", "os/a.hpp -> os/b.hpp -> os/a.hpp")

    def test_orphan(self):
        self.write("os/posix.hpp", "#pragma once\n")
        self.assert_refused("src/os/posix.hpp:1", "orphan", "include it from src/emdb.hpp")

    def test_upward_include(self):
        self.append("os/contract.hpp", '#include "engine/write.hpp"\n')
        self.assert_refused("src/os/contract.hpp:4", "os includes upwards", "move")

    def test_sideways_include_that_the_table_of_layers_does_not_allow(self):
        self.append("crypto/aead.hpp", '#include "os/contract.hpp"\n')
        self.assert_refused("src/crypto/aead.hpp:4", "crypto includes upwards")

    def test_every_pair_of_layers_follows_the_table(self):
        order = ["base", "checks", "crypto", "os", "index", "journal", "engine", "api", "async"]
        below = {"base": [], "checks": ["base"], "crypto": ["base"], "os": ["base"], "index": ["base", "checks", "crypto", "os"],
                 "journal": order[:4], "engine": order[:6], "api": order[:7], "async": order[:8]}
        for upper in order:
            self.write("emdb.hpp", '#if defined(EMDB_IMPLEMENTATION)\n#include "base/config.hpp"\n' +
                       "".join(f'#include "{layer}/used.hpp"\n' for layer in order) + f'#include "{upper}/user.hpp"\n#endif\n')
            for name in TREE:
                if name not in ("emdb.hpp", "base/config.hpp"):
                    (self.root / "src" / name).unlink(missing_ok=True)
            for layer in order:
                self.write(f"{layer}/used.hpp", "#pragma once\n")
            self.write(f"{upper}/user.hpp", "#pragma once\n" + "".join(f'#include "{lower}/used.hpp"\n' for lower in order))
            refused = {line.split('"')[1].split("/")[0] for line in self.run_it().stderr.splitlines()}
            self.assertEqual(refused, set(order) - set(below[upper]) - {upper}, upper)
            (self.root / "src" / upper / "user.hpp").unlink()

    def test_file_outside_the_layers(self):
        self.write("util/strings.hpp", "#pragma once\n")
        self.append("api/emdb.hpp", '#include "util/strings.hpp"\n')
        self.assert_refused("src/util/strings.hpp:1", "not in a layer")

    def test_heavy_system_header_in_the_declarations(self):
        self.append("api/emdb.hpp", "#include <filesystem>\n")
        self.assert_refused("src/api/emdb.hpp:5", "<filesystem> in the declarations half")

    def test_missing_pragma_once(self):
        self.write("os/contract.hpp", "class File;\n")
        self.assert_refused("src/os/contract.hpp:1", "no `#pragma once`")

    def test_pragma_once_in_the_spine(self):
        self.write("emdb.hpp", "#pragma once\n" + TREE["emdb.hpp"])
        self.assert_refused("src/emdb.hpp:1", "`#pragma once` in the spine")

    def test_include_that_does_not_resolve(self):
        self.append("os/contract.hpp", '#include "os/posix.hpp"\n')
        self.assert_refused("src/os/contract.hpp:4", '"os/posix.hpp" is not a file')

    def test_include_relative_to_the_including_file(self):
        self.append("engine/write.hpp", '#include "../os/contract.hpp"\n')
        self.assert_refused("src/engine/write.hpp:7", "is not a file of src/", "from src/")

    def test_include_of_a_macro(self):
        self.append("os/contract.hpp", "#include EMDB_HEADER\n")
        self.assert_refused("src/os/contract.hpp:4", "neither")

    def test_file_inlined_under_a_condition_and_needed_without_it(self):
        self.append("engine/write.hpp", '#include "crypto/aead.hpp"\n')
        self.assert_refused("src/engine/write.hpp:7", "inlined earlier under `#if EMDB_ENCRYPT`", "include it in the spine before")

    def test_condition_left_open(self):
        self.append("os/contract.hpp", "#if EMDB_TTL\n")
        self.assert_refused("src/os/contract.hpp:4", "not closed")

    def test_macro_that_leaks(self):
        self.append("os/contract.hpp", "#  define likely(x) (x)\n")
        self.assert_refused("src/os/contract.hpp:4", "the macro likely would leak", "#undef")

    def test_macro_undefined_before_its_definition_leaks_all_the_same(self):
        self.append("os/contract.hpp", "#undef NOMINMAX\n#define NOMINMAX\n")
        self.assert_refused("src/os/contract.hpp:5", "NOMINMAX")

    def test_macro_undefined_again_is_fine(self):
        self.append("os/contract.hpp", "#define NOMINMAX\n#undef NOMINMAX\n#define LATE 1\n")
        self.append("emdb.hpp", "#undef LATE\n")
        self.product()

    def test_anonymous_namespace(self):
        for text in ("namespace {\n", "namespace  // why\n{\n", "namespace emdb { namespace {\n"):
            self.write("os/contract.hpp", "#pragma once\n" + text)
            self.assert_refused("src/os/contract.hpp:2", "anonymous namespace", "emdb::detail")

    def test_character_outside_ascii(self):
        self.append("os/contract.hpp", "// caf\u00e9\n")
        self.assert_refused("src/os/contract.hpp:4", "outside ASCII")

    def test_tab(self):
        self.append("os/contract.hpp", "\tint x;\n")
        self.assert_refused("src/os/contract.hpp:4", "a tab")

    def test_carriage_return(self):
        self.append("os/contract.hpp", "int x;\r\n")
        self.assert_refused("src/os/contract.hpp:4", "carriage return")

    def test_long_line(self):
        self.append("os/contract.hpp", "// " + "x" * 137 + "\n")
        self.product()
        (self.root / "emdb.hpp").unlink()
        self.append("os/contract.hpp", "// " + "x" * 138 + "\n")
        self.assert_refused("src/os/contract.hpp:5", "141 columns")

    def test_long_file(self):
        self.append("os/contract.hpp", "//\n" * 697)
        self.product()
        (self.root / "emdb.hpp").unlink()
        self.append("os/contract.hpp", "//\n")
        self.assert_refused("src/os/contract.hpp:701", "701 lines", "split")

    def test_no_newline_at_the_end(self):
        self.append("os/contract.hpp", "int x;")
        self.assert_refused("src/os/contract.hpp:4", "no newline")

    def test_missing_spine(self):
        (self.root / "src" / "emdb.hpp").unlink()
        self.assert_refused("src/emdb.hpp:0", "the spine is missing")

    def test_missing_version(self):
        self.write("base/config.hpp", TREE["base/config.hpp"].replace("VERSION_MINOR", "VERSION_MIDDLE"))
        self.assert_refused("src/base/config.hpp:1", "EMDB_VERSION_MINOR")

    def test_all_errors_are_told_at_once(self):
        self.append("os/contract.hpp", "\tint x;\n#define LEAK\n")
        self.assertEqual(len(self.run_it().stderr.splitlines()), 2)


if __name__ == "__main__":
    unittest.main()
