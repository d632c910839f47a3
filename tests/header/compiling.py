"""What the checks of emdb.hpp share: the compilers, and running them."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
USER = ROOT / "tests" / "header" / "user.cpp"
IMPLEMENTATION = ROOT / "tests" / "implementation.cpp"

FEATURES = {"EMDB_TTL": 1, "EMDB_NESTED": 0, "EMDB_ENCRYPT": 0, "EMDB_ASYNC": 0, "EMDB_IO_URING": 0}
WARNINGS = ("-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wundef -Werror").split()
STANDARDS = ("c++20", "c++2b")


def find_compilers():
    """{name: command}: $CXX (or what there is), and GCC and Clang besides if they are other compilers."""
    found = {}
    wanted = [os.environ["CXX"]] if os.environ.get("CXX") else []
    for command in wanted + ["g++", "clang++", "c++"]:
        words = command.split()
        if shutil.which(words[0]):
            version = subprocess.run([*words, "--version"], capture_output=True, text=True, check=False).stdout
            if "clang" in version:
                found.setdefault("clang", words)
            else:
                found.setdefault("gcc", words)
    return found


COMPILERS = find_compilers()


def has_liburing(compiler):
    test = "#if !__has_include(<liburing.h>)\n#error\n#endif\n"
    return subprocess.run([*compiler, "-x", "c++", "-fsyntax-only", "-"], input=test, text=True,
                          stderr=subprocess.DEVNULL, check=False).returncode == 0


def defines(features):
    return [f"-D{name}={value}" for name, value in features.items()]


def every_feature(value, compiler):
    """All features set to value, but io_uring only where its library is."""
    return {name: value if name != "EMDB_IO_URING" or has_liburing(compiler) else 0 for name in FEATURES}


class WithCompiler(unittest.TestCase):
    """A test case that compiles into a folder of its own. Subclasses set `compiler`."""

    compiler = []
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.files = 0

    @classmethod
    def new_file(cls, suffix):
        cls.files += 1
        return cls.folder / f"{cls.files}{suffix}"

    @classmethod
    def source(cls, text):
        path = cls.new_file(".cpp")
        path.write_text(text)
        return path

    @classmethod
    def command(cls, *arguments, standard="c++20"):
        return [*cls.compiler, f"-std={standard}", f"-I{ROOT}", *map(str, arguments)]

    def run_command(self, command):
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              cwd=self.folder, check=False)

    def must(self, command):
        """Runs the command, which must succeed, and returns its output."""
        done = self.run_command(command)
        if done.returncode != 0:
            output = done.stdout.splitlines()
            self.fail("\n".join([f"exit status {done.returncode} from: {' '.join(map(str, command))}", *output[:60]]))
        return done.stdout

    def assert_compiles(self, source, *flags, standard="c++20"):
        """Front end only, which gives nearly all warnings in a fraction of the time."""
        self.must(self.command("-fsyntax-only", *flags, source, standard=standard))

    def compile(self, source, *flags):
        output = self.new_file(".o")
        self.must(self.command("-c", *flags, source, "-o", output))
        return output

    def link(self, *objects):
        """(whether it linked, what the linker said, the program)"""
        program = self.new_file("")
        done = self.run_command(self.command("-pthread", *objects, "-o", program))
        return done.returncode == 0, done.stdout, program

    def assert_links_and_runs(self, *objects):
        linked, said, program = self.link(*objects)
        self.assertTrue(linked, said)
        self.assertEqual(self.must([program]), "emdb\n")

    def live_system_includes(self, *flags):
        """The system headers that emdb.hpp itself includes under these flags, in its order."""
        preprocessed = self.must(self.command("-E", "-dI", *flags, self.source('#include "emdb.hpp"\n')))
        current, found = "", []
        for line in preprocessed.splitlines():
            marker = re.match(r'# \d+ "([^"]*)"', line)
            if marker:
                current = marker.group(1)
            include = re.match(r"#include (<[^>]+>)", line)
            if include and current.endswith("emdb.hpp") and include.group(1) not in found:
                found.append(include.group(1))
        return found


def for_each_compiler(checks, namespace):
    """Puts a test case for each compiler into the namespace of a test module, made from the class `checks`."""
    for name in ("gcc", "clang"):
        case_name = f"{checks.__name__}_{name}"
        if name in COMPILERS:
            case = type(case_name, (checks, WithCompiler), {"compiler": COMPILERS[name]})
        else:
            skipped = unittest.skip(f"there is no {name} here")(lambda self: None)
            case = type(case_name, (unittest.TestCase,), {"test_with_this_compiler": skipped})
        case.__module__ = namespace["__name__"]
        namespace[case_name] = case
