#!/usr/bin/env python3
"""Runs test programs and adds up what they report.

    run.py [--jobs N] [--timeout SECONDS] [--title TEXT] [--failed WHAT] PROGRAM...
    run.py --sum FILE

A PROGRAM is a doctest executable or a Python unittest file, with arguments after blanks if it needs any. Each runs with
a TMPDIR of its own, removed afterwards however it ends. One that crashes, hangs, is missing or runs no test counts as
failed; the output of those that fail is shown. The last line of a run is `N passed, N failed, N skipped`.

With TEST_TALLY=FILE in the environment the counts are also appended to FILE, and `--sum FILE` prints their sum.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

OUTPUT_LINES_MAX = 300
DOCTEST = re.compile(r"^\[doctest\] test cases: +(\d+) *\| *(\d+) passed *\| *(\d+) failed *\| *(\d+) skipped", re.MULTILINE)
UNITTEST = re.compile(r"^Ran (\d+) tests? in .*\n+(?:OK|FAILED)(?: \((.*)\))?", re.MULTILINE)


def counts_of(output):
    """(passed, failed, skipped) as the program's own closing lines have them, or None."""
    doctest = DOCTEST.findall(output)
    if doctest:
        return tuple(int(count) for count in doctest[-1][1:])
    unittest = UNITTEST.search(output)
    if unittest:
        details = dict(re.findall(r"([\w ]+)=(\d+)", unittest.group(2) or ""))
        details = {name.strip(): int(count) for name, count in details.items()}
        skipped = details.get("skipped", 0)
        failed = sum(details.get(name, 0) for name in ("failures", "errors", "unexpected successes"))
        return max(int(unittest.group(1)) - failed - skipped, 0), failed, skipped
    return None


class Run:
    """One program, from start to counts."""

    running = set()  # children not yet waited for

    def __init__(self, program, timeout_s, scratch):
        self.program = program
        self.counts = (0, 1, 0)
        self.output = ""
        self.reason = ""
        command = shlex.split(program)
        if not os.path.exists(command[0]):
            self.reason = "it was not built"
            self.seconds = 0.0
            return
        command = [sys.executable, *command] if command[0].endswith(".py") else [os.path.abspath(command[0]), *command[1:]]
        folder = tempfile.mkdtemp(dir=scratch)
        started = time.monotonic()
        # A file rather than a pipe: a pipe would keep us waiting for grandchildren that a crash left behind.
        with tempfile.TemporaryFile(dir=scratch) as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                     env={**os.environ, "TMPDIR": folder}, start_new_session=True)
            Run.running.add(child)
            try:
                status = child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                kill(child)
                child.wait()
                status = None
            finally:
                Run.running.discard(child)
            log.seek(0)
            self.output = log.read().decode(errors="replace")
        self.seconds = time.monotonic() - started
        remove(folder)
        self.judge(status, timeout_s)

    def judge(self, status, timeout_s):
        passed, failed, skipped = counts_of(self.output) or (0, 0, 0)
        if status is None:
            self.reason = f"still running after {timeout_s} s, killed"
        elif status < 0:
            self.reason = f"killed by {signal.Signals(-status).name}"
        elif status > 0:
            self.reason = f"exit status {status}"
        elif passed + failed + skipped == 0:
            self.reason = "it ran no test"
        elif failed:
            self.reason = "exit status 0 in spite of failures"
        if self.reason and not failed:
            failed = 1
        self.counts = (passed, failed, skipped)

    def report(self):
        passed, failed, skipped = self.counts
        text = f"{self.seconds:7.1f} s  {passed:4} passed"
        text += f", {failed} failed" if failed else ""
        text += f", {skipped} skipped" if skipped else ""
        text += f"  {self.program}"
        if failed:
            lines = self.output.splitlines()
            left_out = len(lines) - OUTPUT_LINES_MAX
            if left_out > 0:
                lines = [f"[{left_out} lines left out]"] + lines[-OUTPUT_LINES_MAX:]
            text += f": {self.reason}\n" + "".join(f"    {line}\n" for line in lines)
        print(text, flush=True)


def kill(child):
    """Ends the child and its own children: it was started in a session of its own."""
    if child.returncode is None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has just ended by itself


def remove(folder):
    def make_writable_and_retry(function, path, _):
        os.chmod(os.path.dirname(path), 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            os.chmod(path, 0o700)
        function(path)

    try:
        shutil.rmtree(folder, onerror=make_writable_and_retry)
    except OSError as error:
        print(f"cannot remove {folder}: {error}", file=sys.stderr)


def closing_line(counts):
    return "{} passed, {} failed, {} skipped".format(*counts)


def run_all(options):
    total = [0, 0, 0]
    failures = []
    for what in options.failed:
        total[1] += 1
        failures.append(what)

    scratch = tempfile.mkdtemp(prefix="emdb-test-")
    pool = concurrent.futures.ThreadPoolExecutor(options.jobs)
    try:
        runs = [pool.submit(Run, program, options.timeout, scratch) for program in options.programs]
        for done in concurrent.futures.as_completed(runs):
            run = done.result()
            run.report()
            total = [sum(pair) for pair in zip(total, run.counts)]
            if run.counts[1]:
                failures.append(f"{run.program}: {run.reason}")
    finally:  # also when interrupted: nothing of ours goes on running or stays on the disk
        pool.shutdown(wait=False, cancel_futures=True)
        for child in list(Run.running):
            kill(child)
        pool.shutdown()
        remove(scratch)

    for failure in failures:
        print(f"FAILED {failure}")
    tally = os.environ.get("TEST_TALLY")
    if tally:
        with open(tally, "a", encoding="ascii") as file:
            file.write(" ".join(map(str, total)) + "\n")
        print(f"{options.title}: {closing_line(total)}")  # the sum will have the bare line
    else:
        print(closing_line(total))
    return 1 if total[1] else 0


def sum_up(file):
    rows = [[int(count) for count in line.split()] for line in pathlib.Path(file).read_text(encoding="ascii").splitlines()]
    total = [sum(column) for column in zip(*rows)] or [0, 0, 0]
    print(closing_line(total))
    return 1 if total[1] or not total[0] else 0


def stop(number, _):
    sys.exit(128 + number)


def main():
    parser = argparse.ArgumentParser(description="Runs test programs and adds up what they report.")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
    parser.add_argument("--timeout", type=float, default=240, metavar="SECONDS", help="for each program")
    parser.add_argument("--title", default="tests")
    parser.add_argument("--failed", action="append", default=[], metavar="WHAT", help="count one more failure")
    parser.add_argument("--sum", metavar="FILE", help="print the sum of the counts that runs appended to FILE")
    parser.add_argument("programs", nargs="*")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    sys.exit(sum_up(options.sum) if options.sum else run_all(options))


if __name__ == "__main__":
    main()
