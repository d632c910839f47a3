"""emdb.hpp as a file that others drop into their programs: how it links, what it leaks, what it survives, what it costs."""

import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "header"))
from compiling import (FEATURES, IMPLEMENTATION, ROOT, STANDARDS, USER, WARNINGS,  # noqa: E402
                       defines, every_feature, for_each_compiler)

INCLUDE = '#include "emdb.hpp"\n'
DEFINE = "#define EMDB_IMPLEMENTATION\n"

UNUSED_DROPPED = ["-Wl,-dead_strip" if sys.platform == "darwin" else "-Wl,--gc-sections"]

COMPILE_TIME_RATIO_MAX = 1.3
COMPILE_TIME_RUNS = 9
COMPILE_TIME_ATTEMPTS = 3
STANDARD_HEADERS = "<string> <string_view> <span> <optional> <vector> <memory> <chrono>".split()

# What <windows.h> and its kind define in every file that includes them.
HOSTILE_MACROS = """\
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#define small char
#define interface struct
#define ERROR 0
#define IN
#define OUT
#define OPTIONAL
#define near
#define far
#define VOID void
#define CONST const
#define DELETE (0x00010000L)
#define IGNORE 0
#define INFINITE 0xFFFFFFFF
#define NO_ERROR 0L
#define STRICT 1
#define TRUE 1
#define FALSE 0
#define CreateFile CreateFileA
#define DeleteFile DeleteFileA
#define GetMessage GetMessageA
#define Yield()
"""


class Linking:
    """One implementation in a program, the same features everywhere; anything else does not link, and says why."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.implementation = cls.new_file(".o")
        subprocess.run(cls.command("-c", IMPLEMENTATION, "-o", cls.implementation), check=True)

    def test_two_translation_units_with_one_implementation(self):
        self.assert_links_and_runs(self.compile(USER), self.implementation)

    def test_missing_implementation_is_named_by_the_linker(self):
        linked, said, _ = self.link(self.compile(USER))
        self.assertFalse(linked)
        self.assertIn("EMDB_IMPLEMENTATION", said)

    def test_second_implementation_is_named_by_the_linker(self):
        linked, said, _ = self.link(self.compile(USER), self.implementation, self.implementation)
        self.assertFalse(linked)
        self.assertIn("EMDB_IMPLEMENTATION", said)

    def test_implementation_defined_before_the_first_include(self):
        whole = self.compile(self.source(DEFINE + INCLUDE + INCLUDE + USER.read_text()))
        self.assert_links_and_runs(whole)

    def test_implementation_defined_after_an_earlier_plain_include(self):
        whole = self.compile(self.source(INCLUDE + DEFINE + INCLUDE + INCLUDE + USER.read_text()))
        self.assert_links_and_runs(whole)

    def test_without_exceptions_and_rtti(self):
        flags = ("-fno-exceptions", "-fno-rtti")
        self.assert_links_and_runs(self.compile(USER, *flags), self.compile(IMPLEMENTATION, *flags))


def differing_feature(name, default):
    def test(self):
        # Even from a file that calls nothing, optimised, and with what nothing calls dropped by the linker.
        silent = self.source(INCLUDE + "int main() {}\n")
        for flags, link_flags in ([], []), (["-O2", "-ffunction-sections", "-fdata-sections"], UNUSED_DROPPED):
            user = self.compile(silent, f"-D{name}={1 - default}", *flags)
            linked, said, _ = self.link(user, self.implementation, *link_flags)
            self.assertFalse(linked, f"{name} differs, and yet it links with {flags}")
            self.assertIn(name, said)
            for other in FEATURES:
                self.assertTrue(other == name or other not in said, f"{other} is blamed for {name}:\n{said}")

    return test


for feature, value in FEATURES.items():
    setattr(Linking, f"test_differing_{feature}_is_named_by_the_linker", differing_feature(feature, value))


class Text:
    """What the preprocessor sees."""

    def halves(self):
        for flags in ([], ["-DEMDB_IMPLEMENTATION"]):
            for features in (FEATURES, every_feature(1, self.compiler)):
                yield flags + defines(features)

    def test_no_pragma_once_in_the_product(self):
        # Once is not what is wanted: the two halves may come from two inclusions.
        self.assertNotIn("#pragma once", (ROOT / "emdb.hpp").read_text())

    def test_survives_hostile_macros(self):
        for flags in self.halves():
            system = "".join(f"#include {name}\n" for name in self.live_system_includes(*flags))
            self.assert_compiles(self.source(system + HOSTILE_MACROS + INCLUDE), *flags)

    def test_leaves_no_macros_but_its_own(self):
        for flags in self.halves():
            system = "".join(f"#include {name}\n" for name in self.live_system_includes(*flags))
            without, with_emdb = (set(self.must(self.command("-E", "-dM", *flags, self.source(system + HOSTILE_MACROS + text)))
                                      .splitlines()) for text in ("", INCLUDE))
            leaked = [line for line in with_emdb - without if not line.startswith("#define EMDB_")]
            self.assertEqual(leaked, [], "macros that stay defined, or have another value, after emdb.hpp")
            self.assertEqual(without - with_emdb, set(), "macros of the user's that emdb.hpp undefines or changes")


class Warnings:
    """The quick part of what `make warnings` does; that compiles the implementation, too."""

    def test_declarations_compile_without_warnings(self):
        for standard in STANDARDS:
            self.assert_compiles(USER, *WARNINGS, standard=standard)


class Cost:
    """What including the declarations costs each file of a program."""

    def user_seconds(self, source):
        child = subprocess.Popen(self.command("-c", source, "-o", os.devnull))
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = status  # reaped here, not by Popen
        self.assertEqual(status, 0)
        return usage.ru_utime

    def test_declarations_compile_nearly_as_fast_as_the_standard_headers_they_need(self):
        ours = self.source(INCLUDE)
        theirs = self.source("".join(f"#include {name}\n" for name in STANDARD_HEADERS))
        ratios = []
        for _ in range(COMPILE_TIME_ATTEMPTS):  # the machine may be busy with something else
            pairs = [(self.user_seconds(ours), self.user_seconds(theirs)) for _ in range(COMPILE_TIME_RUNS)]
            # Whatever else the machine does can only add to a run's time: the least of each says most.
            least = [min(column) for column in zip(*pairs)]
            ratios.append(least[0] / least[1])
            if ratios[-1] <= COMPILE_TIME_RATIO_MAX:
                return
        self.fail(f"{ratios} times the standard headers' compile time, {COMPILE_TIME_RATIO_MAX} is the most")


for checks in (Linking, Text, Warnings, Cost):
    for_each_compiler(checks, globals())


if __name__ == "__main__":
    unittest.main()
