#!/usr/bin/env python3
"""The code in the Markdown files compiles and runs as shown, and their links lead somewhere.

A ```cpp block with a main() is built into a program and run in an empty folder; any other is compiled inside a function that has
`emdb::Emdb& db` in scope. The compiler is $CXX, or g++.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", "examples/README.md", "examples/cli/README.md", "src/README.md"]
COMPILE = [*os.environ.get("CXX", "g++").split(), "-std=c++20", "-Wall", "-Wextra", "-Werror=unused-result", f"-I{ROOT}"]
SECONDS_MAX = 200

BLOCK = re.compile(r"^```cpp\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")

FRAGMENT_HEAD = """\
#include "emdb.hpp"
#include <array>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>
"""


def blocks(document):
    """(line of the first code line, code) of each ```cpp block."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [(text.count("\n", 0, match.start(1)) + 1, match.group(1)) for match in BLOCK.finditer(text)]


def is_program(code):
    return re.search(r"\bint main\(", code) is not None


def run(command, **options):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS_MAX,
                            check=False, **options)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: status {result.returncode}\n{result.stdout}")
    return result.stdout


class Blocks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def compile_fragments(self, document):
        """All in one go. #line makes the compiler name the place in the document."""
        source = FRAGMENT_HEAD
        fragments = [(line, code) for line, code in blocks(document) if not is_program(code)]
        self.assertTrue(fragments, "no block found; has the way of marking them changed?")
        for line, code in fragments:
            source += f'void line_{line}(emdb::Emdb& db);\nvoid line_{line}([[maybe_unused]] emdb::Emdb& db) {{\n'
            source += f'#line {line} "{document}"\n{code}}}\n'
        file = self.folder / "fragments.cpp"
        file.write_text(source, encoding="utf-8")
        run([*COMPILE, "-DEMDB_ENCRYPT=1", "-fsyntax-only", file])

    def implementation(self):
        """An object file with the implementation: the one of the tests if it is up to date, else our own."""
        shared = ROOT / "build/tests/implementation.o"
        if shared.exists() and shared.stat().st_mtime >= (ROOT / "emdb.hpp").stat().st_mtime:
            return shared
        file = self.folder / "implementation.cpp"
        file.write_text('#define EMDB_IMPLEMENTATION\n#include "emdb.hpp"\n', encoding="utf-8")
        run([*COMPILE, "-c", file, "-o", self.folder / "implementation.o"])
        return self.folder / "implementation.o"

    def run_program(self, code, place):
        """What it prints."""
        work = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        file, program = work.with_suffix(".cpp"), work.with_suffix(".program")
        file.write_text(place + code, encoding="utf-8")
        objects = [] if "EMDB_IMPLEMENTATION" in code else [self.implementation()]
        run([*COMPILE, file, *objects, "-pthread", "-o", program])
        return run([program], cwd=work)

    def test_fragments_of_the_readme_compile(self):
        self.compile_fragments("README.md")

    def test_fragments_of_the_guide_compile(self):
        self.compile_fragments("examples/README.md")

    def test_programs_run(self):
        programs = [(document, line, code) for document in DOCUMENTS for line, code in blocks(document) if is_program(code)]
        self.assertTrue(programs)
        for document, line, code in programs:
            with self.subTest(document=document, line=line):
                self.run_program(code, f'#line {line} "{document}"\n')

    def test_the_quick_start_works_with_the_implementation_in_another_file(self):
        code = next(code for _, code in blocks("README.md") if is_program(code))
        plain = re.sub(r"^#define EMDB_IMPLEMENTATION.*\n", "", code, flags=re.MULTILINE)
        self.assertNotEqual(plain, code)
        self.assertEqual(self.run_program(plain, ""), "emdb\n")


class Links(unittest.TestCase):
    def test_links_to_files_lead_somewhere(self):
        for document in DOCUMENTS:
            text = CODE.sub("", (ROOT / document).read_text(encoding="utf-8"))
            for target in LINK.findall(text):
                if target.startswith(("http:", "https:", "#")):
                    continue
                with self.subTest(document=document, target=target):
                    self.assertTrue(((ROOT / document).parent / target.split("#")[0]).exists())


if __name__ == "__main__":
    unittest.main()
