#!/usr/bin/env python3
"""What others' tools find in the implementation with all features on: clang-tidy, cppcheck, and Clang's MemorySanitizer in a program
that uses a database in most ways. A tool that is not there is skipped."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FEATURES = ["TTL", "NESTED", "ENCRYPT", "ASYNC"]
DEFINES = ["-DEMDB_IMPLEMENTATION", *(f"-DEMDB_{feature}=1" for feature in FEATURES)]


class Analysis(unittest.TestCase):
    def run_tool(self, *command):
        if shutil.which(command[0]) is None:
            self.skipTest(f"there is no {command[0]} here")
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        self.assertEqual(done.returncode, 0, " ".join(command) + "\n" + done.stdout)
        return done.stdout

    def test_clang_tidy_finds_nothing(self):
        self.run_tool("clang-tidy", "--quiet", f"--config-file={HERE / 'clang-tidy.yaml'}", "src/emdb.hpp", "--",
                      "-x", "c++", "-std=c++20", "-Isrc", *DEFINES)

    def test_cppcheck_finds_nothing(self):
        self.run_tool("cppcheck", "--quiet", "--std=c++20", "--language=c++", "--enable=warning,performance,portability",
                      f"--suppressions-list={HERE / 'cppcheck.txt'}", "--error-exitcode=1", "-Isrc", *DEFINES,
                      "-D__x86_64__", "-D__linux__", "-D__GNUC__=12", "src/emdb.hpp")

    def test_nothing_uninitialized_is_used(self):
        if subprocess.run([ROOT / "tests" / "deps.sh", "--has", "clang-runtime"], check=False).returncode != 0:
            self.skipTest("there is no Clang with its runtime here")
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "uninitialized")
            # The C++ library is not instrumented: with this macro its strings are compiled here.
            self.run_tool("clang++", "-std=c++20", "-O1", "-g1", "-fsanitize=memory", "-fno-omit-frame-pointer", "-D_GLIBCXX_EXTERN_TEMPLATE=0",
                          f"-fsanitize-ignorelist={HERE / 'memory_ignored.txt'}",
                          "-I.", *DEFINES[1:], "-pthread", str(HERE / "uninitialized.cpp"), "-o", program)
            self.assertEqual(self.run_tool(program, folder).strip(), "done")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
