"""The test runner: what it counts, and what it leaves behind."""

import os
import pathlib
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

RUN = pathlib.Path(__file__).resolve().parent / "run.py"
DOCTEST = "echo '[doctest] test cases:  3 |  {} passed | {} failed | {} skipped'\n"


class Runner(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        self.environment = {**os.environ, "TMPDIR": str(self.temporary)}
        self.environment.pop("TEST_TALLY", None)

    def program(self, name, script):
        path = self.folder / name
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def run_it(self, *arguments):
        done = subprocess.run([sys.executable, RUN, *arguments], env=self.environment, capture_output=True, text=True, check=False)
        self.assertEqual(list(self.temporary.iterdir()), [], "temporary files are left")
        return done

    def assert_counts(self, done, line):
        self.assertEqual(done.stdout.splitlines()[-1], line, done.stdout + done.stderr)
        self.assertEqual(done.returncode, 0 if " 0 failed" in line else 1)

    def test_adds_up_doctest_and_unittest(self):
        script = self.folder / "some_test.py"
        script.write_text("import unittest\nclass T(unittest.TestCase):\n  def test_a(self): pass\n"
                          "  def test_b(self): self.skipTest('')\nunittest.main()\n")
        self.assert_counts(self.run_it(self.program("a", DOCTEST.format(2, 0, 1)), str(script)), "3 passed, 0 failed, 2 skipped")

    def test_failures_are_counted_and_shown(self):
        script = self.folder / "some_test.py"
        script.write_text("import unittest\nclass T(unittest.TestCase):\n  def test_a(self): self.fail('broken')\n"
                          "  def test_b(self): int('x')\n  def test_c(self): pass\nunittest.main()\n")
        done = self.run_it(self.program("a", "echo details\n" + DOCTEST.format(1, 2, 0) + "exit 1\n"), str(script))
        self.assert_counts(done, "2 passed, 4 failed, 0 skipped")
        self.assertIn("details", done.stdout)
        self.assertIn("broken", done.stdout)

    def test_whatever_does_not_end_well_counts_as_failed(self):
        for name, script in {"crash": DOCTEST.format(3, 0, 0) + "kill -ABRT $$\n", "status": DOCTEST.format(3, 0, 0) + "exit 7\n",
                             "silent": "exit 0\n", "lying": DOCTEST.format(2, 1, 0)}.items():
            done = self.run_it(self.program(name, script))
            self.assertEqual(done.returncode, 1, name)
            self.assertRegex(done.stdout.splitlines()[-1], r"^\d passed, 1 failed, 0 skipped$", name)
        self.assert_counts(self.run_it(str(self.folder / "missing")), "0 passed, 1 failed, 0 skipped")
        self.assert_counts(self.run_it("--failed=build", self.program("a", DOCTEST.format(3, 0, 0))), "3 passed, 1 failed, 0 skipped")

    def test_a_hanging_program_is_killed_with_its_children(self):
        pids = self.folder / "pids"
        done = self.run_it("--timeout=1", self.program("a", f"sleep 1000 & echo $! $$ > {pids}; wait\n"))
        self.assert_counts(done, "0 passed, 1 failed, 0 skipped")
        self.assert_gone(pids)

    def test_interrupted_it_leaves_neither_processes_nor_files(self):
        pids = self.folder / "pids"
        program = self.program("a", f"touch $TMPDIR/file; sleep 1000 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; wait\n")
        with subprocess.Popen([sys.executable, RUN, program], env=self.environment, stdout=subprocess.DEVNULL) as runner:
            deadline = time.monotonic() + 60
            while not pids.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            runner.send_signal(signal.SIGTERM)
        self.assertNotEqual(runner.returncode, 0)
        self.assert_gone(pids)
        self.assertEqual(list(self.temporary.iterdir()), [])

    def assert_gone(self, pids):
        """The processes have ended (one that nobody waits for may still be a zombie)."""
        for pid in map(int, pids.read_text().split()):
            try:
                os.kill(pid, 0)
                state = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
            except (ProcessLookupError, FileNotFoundError):
                continue
            self.assertEqual(state, "Z", f"process {pid} goes on running")

    def test_each_program_has_a_tmpdir_of_its_own_removed_even_if_unreadable(self):
        script = "mkdir $TMPDIR/d && touch $TMPDIR/d/f && chmod 0 $TMPDIR/d\nls $TMPDIR | wc -l\n" + DOCTEST.format(3, 0, 0)
        done = self.run_it(self.program("a", script), self.program("b", script))
        self.assert_counts(done, "6 passed, 0 failed, 0 skipped")

    def test_tallies_are_summed(self):
        tally = self.folder / "tally"
        self.environment["TEST_TALLY"] = str(tally)
        self.run_it("--title=first", self.program("a", DOCTEST.format(2, 0, 1)))
        done = self.run_it("--title=second", self.program("b", DOCTEST.format(1, 2, 0) + "exit 1\n"))
        self.assertEqual(done.stdout.splitlines()[-1], "second: 1 passed, 2 failed, 0 skipped")
        self.assert_counts(self.run_it("--sum", str(tally)), "3 passed, 2 failed, 1 skipped")


if __name__ == "__main__":
    unittest.main()
