"""What the tests of the command line share: the program, running it, and what it must say.

The program is build/tests/emdb if make has built it from what is there now, else one of our own. The compiler is $CXX, or g++.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SOURCES = ROOT / "examples/cli"
SECONDS_MAX = 60

DONE, ABSENT, USAGE, INPUT, DAMAGED, LOCKED, FAILED, KEY = range(8)


def find_program(folder):
    built = ROOT / "build/tests/emdb"
    sources = [*SOURCES.glob("*.[ch]pp"), ROOT / "emdb.hpp"]
    if built.exists() and built.stat().st_mtime >= max(source.stat().st_mtime for source in sources):
        return built
    program = pathlib.Path(folder) / "emdb"
    compiler = os.environ.get("CXX", "g++").split()
    subprocess.run([*compiler, "-std=c++20", "-O1", "-DEMDB_ENCRYPT=1", f"-I{ROOT}", *SOURCES.glob("*.cpp"), "-pthread", "-o", program], check=True)
    return program


def setUpModule():
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    CommandLine.PROGRAM = find_program(folder.name)


class CommandLine(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_emdb(self, *words, stdin=b""):
        """(status, stdout, stderr)"""
        done = subprocess.run([self.PROGRAM, *words], input=stdin, capture_output=True, cwd=self.folder, timeout=SECONDS_MAX, check=False)
        return done.returncode, done.stdout, done.stderr.decode(errors="replace")

    def emdb(self, *words, stdin=b""):
        """stdout of a command that must succeed and say nothing else."""
        status, output, errors = self.run_emdb(*words, stdin=stdin)
        self.assertEqual((status, errors), (DONE, ""), words)
        return output

    def fails(self, status, *words, stdin=b"", says=""):
        """Runs a command that must end with the status and a message of one line, and print nothing else; returns the message."""
        found, output, errors = self.run_emdb(*words, stdin=stdin)
        self.assertEqual((found, output), (status, b""), (words, errors))
        self.assertRegex(errors, r"\Aemdb: [^\n]+\n\Z")
        self.assertIn(says, errors)
        return errors

    def lines(self, *words, stdin=b""):
        return [json.loads(line) for line in self.emdb(*words, stdin=stdin).splitlines()]

    def path(self, name):
        return self.folder / name
