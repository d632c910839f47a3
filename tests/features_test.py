#!/usr/bin/env python3
"""Every combination of EMDB_TTL and EMDB_NESTED compiles, with and without range scans runs, and refuses files that it can't read.

EMDB_ASYNC goes along in half of them, so that every pair of the three is tried; `make features` tries every combination.

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
            for values in itertools.product((0, 1), repeat=2):
                program = cls.new_file("")
                features = {"EMDB_TTL": values[0], "EMDB_NESTED": values[1], "EMDB_ASYNC": int(values[0] == values[1])}
                command = cls.command("-pthread", *WARNINGS, *defines(features), SOURCE, "-o", program)
                cls.programs[values] = program, pool.submit(case.run_command, command)

    def program(self, ttl, nested):
        program, built = self.programs[ttl, nested]
        self.assertEqual(built.result().returncode, 0, built.result().stdout)
        return program

    def test_each_combination_runs(self):
        for ttl, nested in self.programs:
            with self.subTest(ttl=ttl, nested=nested):
                self.assertEqual(self.must([self.program(ttl, nested)]), "ok\n")

    def test_a_file_without_expiring_records_opens_everywhere(self):
        for ttl, nested in self.programs:
            with self.subTest(ttl=ttl, nested=nested):
                path = self.new_file(".emdb")
                self.assertEqual(self.must([self.program(0, nested), "write", path]), "ok\n")
                self.assertEqual(self.must([self.program(ttl, 1 - nested), "open", path]), "opened\n")

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
