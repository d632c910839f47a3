#!/usr/bin/env python3
"""helgrind_check.py PROGRAM: lock_paths_test.cpp's program under valgrind's helgrind. Locks are taken in one order, what threads share is
under a lock or put in order by an atomic, and mutexes and condition variables are used as they are to be. What is not looked at, and why,
is in helgrind.supp."""

import os
import pathlib
import resource
import shutil
import subprocess
import sys
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""
SUPPRESSIONS = pathlib.Path(__file__).resolve().parent / "helgrind.supp"
ERRORS_FOUND = 99
# emdb maps a terabyte ahead of the file if it gets it, and helgrind keeps notes of each page that is mapped.
ADDRESS_SPACE = 12 << 30


def limit_address_space():
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE if hard == resource.RLIM_INFINITY else min(ADDRESS_SPACE, hard), hard))


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
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
                              preexec_fn=limit_address_space)
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

    def check_locks(self, case):
        """A process of its own: std::mutex does not tell of its end, so helgrind would take a lock that lies where another one was for
        that one."""
        self.check_silent(f"--test-case={case}")

    def test_nothing_is_found_in_maintenance_beside_writers_and_readers(self):
        self.check_locks("*compaction*checkpoint and backup*")

    def test_nothing_is_found_in_group_commit(self):
        self.check_locks("by writers that commit in groups")

    def test_nothing_is_found_in_encrypted_databases_that_write_through(self):
        self.check_locks("in an encrypted database*")

    def test_nothing_is_found_in_asynchronous_calls(self):
        self.check_locks("by calls made as futures*")

    def test_two_locks_in_two_orders_are_found(self):
        self.check_reported("two locks in two orders", "lock order")

    def test_what_a_relaxed_store_publishes_is_found(self):
        self.check_reported("a number published by a relaxed store", "Possible data race")

    def test_what_a_release_store_publishes_is_right(self):
        self.check_silent("--no-skip", "--test-case=a number published by a release store")


if __name__ == "__main__":
    unittest.main()
