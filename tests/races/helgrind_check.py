#!/usr/bin/env python3
"""helgrind_check.py PROGRAM: lock_paths_test.cpp's program under valgrind's helgrind. Locks are taken in one order, what threads share is
under a lock or put in order by an atomic, and mutexes and condition variables are used as they are to be. What is not looked at, and why,
is in helgrind.supp."""

import os
import pathlib
import shutil
import subprocess
import sys
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""
SUPPRESSIONS = pathlib.Path(__file__).resolve().parent / "helgrind.supp"
ERRORS_FOUND = 99


class Helgrind(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        if shutil.which("valgrind") is None:
            raise unittest.SkipTest("valgrind is not installed")

    def run_tests(self, *arguments):
        """(exit status, what was said) of the chosen test cases."""
        command = ["valgrind", "--tool=helgrind", f"--error-exitcode={ERRORS_FOUND}", f"--suppressions={SUPPRESSIONS}", "--fair-sched=try",
                   PROGRAM, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        return done.returncode, done.stdout

    def check_silent(self, *arguments):
        status, said = self.run_tests(*arguments)
        self.assertEqual(status, 0, said[:100_000])
        self.assertIn("0 errors from 0 contexts", said)
        self.assertRegex(said, r"test cases: +[1-9]")

    def check_reported(self, case, what):
        status, said = self.run_tests("--no-skip", f"--test-case={case}")
        self.assertEqual(status, ERRORS_FOUND, said[:100_000])
        self.assertIn(what, said)

    def test_nothing_is_found_in_all_that_takes_locks(self):
        self.check_silent()

    def test_two_locks_in_two_orders_are_found(self):
        self.check_reported("two locks in two orders", "lock order")

    def test_what_a_relaxed_store_publishes_is_found(self):
        self.check_reported("a number published by a relaxed store", "Possible data race")

    def test_what_a_release_store_publishes_is_right(self):
        self.check_silent("--no-skip", "--test-case=a number published by a release store")


if __name__ == "__main__":
    unittest.main()
