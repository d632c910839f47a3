#!/usr/bin/env python3
"""The code in the Markdown files compiles and runs as shown, and their links lead somewhere.

A ```cpp block with a main() is built into a program and run in an empty folder; any other is compiled inside a function that has
`emdb::Emdb& db` in scope, and called with a database there. ```sh blocks must be right for a shell, ```json lines for JSON; ```cmake
blocks are built by install_test.py. The compiler is $CXX, or g++.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", "examples/README.md", "examples/cli/README.md", "bench/README.md", "src/README.md", "src/journal/README.md",
             "tests/README.md"]
COMPILER = os.environ.get("CXX", "g++").split()
COMPILE = [*COMPILER, "-std=c++20", "-Wall", "-Wextra", "-Werror=unused-result", f"-I{ROOT}"]
SECONDS_MAX = 200

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KNOWN = {"cpp", "sh", "json", "cmake", ""}  # "": figures and outlines
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
FRAGMENT_IMPLEMENTATION = "#define EMDB_IMPLEMENTATION\n"
FRAGMENT_MAIN = """
#include <filesystem>
static void run(int line, void (*fragment)(emdb::Emdb&)) {
    std::printf("line %d\\n", line);
    std::fflush(stdout);
    const auto folder = std::filesystem::current_path();
    std::filesystem::create_directories(std::to_string(line));
    std::filesystem::current_path(std::to_string(line));
    emdb::Emdb::open("app.emdb").value().insert("name", "emdb").value();
    auto db = emdb::Emdb::builder().path("db").enable_range_scans(true).build().value();
    fragment(db);
    std::filesystem::current_path(folder);
}
int main() {
CALLS}
"""


def blocks(document, kind="cpp"):
    """(line of the first code line, code) of each block of that kind."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [(text.count("\n", 0, match.start(2)) + 1, match.group(2)) for match in BLOCK.finditer(text) if match.group(1) == kind]


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

    def run_fragments(self, document):
        """All in one program, each with a database and a folder of its own. #line makes the compiler name the place in the document."""
        source = FRAGMENT_HEAD
        fragments = [(line, code) for line, code in blocks(document) if not is_program(code)]
        self.assertTrue(fragments, "no block found; has the way of marking them changed?")
        for line, code in fragments:
            source += f'void line_{line}(emdb::Emdb& db);\nvoid line_{line}([[maybe_unused]] emdb::Emdb& db) {{\n'
            source += f'#line {line} "{document}"\n{code}}}\n'
        calls = "".join(f"    run({line}, line_{line});\n" for line, _ in fragments)
        file = self.folder / "fragments.cpp"
        file.write_text(FRAGMENT_IMPLEMENTATION + source + FRAGMENT_MAIN.replace("CALLS", calls), encoding="utf-8")
        run([*COMPILE, "-O0", "-DEMDB_ENCRYPT=1", file, "-pthread", "-o", self.folder / "fragments"])
        run([self.folder / "fragments"], cwd=self.folder)

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

    def test_fragments_of_the_readme_run(self):
        self.run_fragments("README.md")

    def test_fragments_of_the_guide_run(self):
        self.run_fragments("examples/README.md")

    def test_every_block_is_of_a_kind_that_is_tested(self):
        for document in DOCUMENTS:
            kinds = {match.group(1) for match in BLOCK.finditer((ROOT / document).read_text(encoding="utf-8"))}
            self.assertLessEqual(kinds, KNOWN, document)
            if document not in ("README.md", "examples/README.md"):
                self.assertTrue(all(is_program(code) for _, code in blocks(document)), f"fragments in {document} are not run")

    @unittest.skipUnless(shutil.which("sh"), "there is no shell here")
    def test_commands_are_right_for_a_shell_and_json_is_json(self):
        for document in DOCUMENTS:
            for line, code in blocks(document, "sh"):
                with self.subTest(document=document, line=line):
                    run(["sh", "-n", "-c", code])
            for line, code in blocks(document, "json"):
                with self.subTest(document=document, line=line):
                    for text in code.splitlines():
                        json.loads(text)

    def test_the_command_of_the_quick_start_builds_it(self):
        command = blocks("README.md", "sh")[0][1].strip()
        self.assertTrue(command.startswith("c++ "), command)
        (self.folder / "app.cpp").write_text(next(code for _, code in blocks("README.md") if is_program(code)), encoding="utf-8")
        (self.folder / "emdb.hpp").symlink_to(ROOT / "emdb.hpp")
        run([*COMPILER, *command.replace("-O2", "-O0").split()[1:]], cwd=self.folder)
        self.assertEqual(run([self.folder / "app"], cwd=self.folder), "emdb\n")

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
