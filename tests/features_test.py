#!/usr/bin/env python3
"""Every combination of EMDB_TTL, EMDB_NESTED and EMDB_ASYNC compiles, with and without range scans runs, and refuses files that it
can't read.

The compiler is $CXX, or the first one found.
"""

import concurrent.futures
import itertools
import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "header"))
from compiling import COMPILERS, ROOT, WARNINGS, WithCompiler, defines  # noqa: E402

SOURCE = ROOT / "tests" / "header" / "features.cpp"


class Features(WithCompiler):
    compiler = next(iter(COMPILERS.values()))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.programs = {}
        case = cls()
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for values in itertools.product((0, 1), repeat=3):
                program = cls.new_file("")
                names = ("EMDB_TTL", "EMDB_NESTED", "EMDB_ASYNC")
                command = cls.command("-pthread", *WARNINGS, *defines(dict(zip(names, values))), SOURCE, "-o", program)
                cls.programs[values] = program, pool.submit(case.run_command, command)

    def program(self, ttl, nested, asynchronous=0):
        program, built = self.programs[ttl, nested, asynchronous]
        self.assertEqual(built.result().returncode, 0, built.result().stdout)
        return program

    def test_each_combination_runs(self):
        for ttl, nested, asynchronous in self.programs:
            with self.subTest(ttl=ttl, nested=nested, asynchronous=asynchronous):
                self.assertEqual(self.must([self.program(ttl, nested, asynchronous)]), "ok\n")

    def test_a_file_without_expiring_records_opens_everywhere(self):
        for ttl, nested, asynchronous in self.programs:
            with self.subTest(ttl=ttl, nested=nested, asynchronous=asynchronous):
                path = self.new_file(".emdb")
                self.assertEqual(self.must([self.program(0, nested, asynchronous), "write", path]), "ok\n")
                self.assertEqual(self.must([self.program(ttl, 1 - nested, 1 - asynchronous), "open", path]), "opened\n")

    def test_a_file_with_expiring_records_is_refused_without_ttl_and_left_as_it_is(self):
        for nested in (0, 1):
            path = self.new_file(".emdb")
            self.assertEqual(self.must([self.program(1, nested), "write", path]), "ok\n")
            before = path.read_bytes()
            said = self.must([self.program(0, nested), "open", path])
            self.assertTrue(said.startswith("feature_disabled: "), said)
            self.assertIn("EMDB_TTL", said)
            self.assertEqual(path.read_bytes(), before)
            self.assertEqual(self.must([self.program(1, nested), "open", path]), "opened\n")


if __name__ == "__main__":
    unittest.main()
