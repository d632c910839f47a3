#!/usr/bin/env python3
"""Fuzzes each target of build/fuzz/targets from the committed corpus, two at a time. What they did is in build/fuzz/summary.

FUZZ_SECONDS     of processor time for each target (120)
FUZZ_MINUTES     instead: goes round all targets until that time is over
FUZZ_TARGETS     which ones (all)

What a target finds new goes to build/fuzz/corpus/TARGET and is used again by the next run; an input that fails is left in
build/fuzz/failed/TARGET-*. It is run again by

    FUZZ_TARGET=TARGET build/fuzz/targets FILE

and, once its cause is gone, belongs in tests/fuzz/found/TARGET, which make test-long runs.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
PROGRAM = BUILD / "targets"
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
FOUND = ROOT / "tests" / "fuzz" / "found"

TARGETS = ["journal", "checkpoint", "lock_file", "header", "dump", "operations"]
AT_A_TIME = 2
ROUND_SECONDS = 120  # of a soak
RUNS_MAX = 20
INPUT_SECONDS_MAX = 25  # of processor time; an input that takes longer is a failure
HANG_SECONDS = 900  # of any time
MEMORY_MAX_MIB = 2500
ALLOCATION_MAX_MIB = 256  # no input has a reason to ask for more at once
INPUT_SIZE_MAX = 4096


def chosen_targets():
    names = os.environ.get("FUZZ_TARGETS", "").split()
    return [name for name in TARGETS if not names or name in names]


class Outcome:
    """What one run of a target did."""

    def __init__(self, target, seconds):
        self.target = target
        work = BUILD / "corpus" / target
        failed = BUILD / "failed"
        for folder in (work, failed):
            folder.mkdir(parents=True, exist_ok=True)
        kept = [str(folder / target) for folder in (CORPUS, FOUND) if (folder / target).is_dir()]
        command = [
            str(PROGRAM), str(work), *kept, f"-timeout={HANG_SECONDS}",
            f"-rss_limit_mb={MEMORY_MAX_MIB}", f"-malloc_limit_mb={ALLOCATION_MAX_MIB}", f"-max_len={INPUT_SIZE_MAX}",
            "-len_control=0", f"-artifact_prefix={failed}/{target}-", "-print_final_stats=1", "-verbosity=1",
        ]
        environment = {**os.environ, "FUZZ_TARGET": target, "FUZZ_INPUT_SECONDS": str(INPUT_SECONDS_MAX),
                       "UBSAN_OPTIONS": "print_stacktrace=1"}
        self.log = BUILD / f"{target}.log"
        self.status, self.executions, self.seconds = 0, 0, 0.0
        # As often as it takes: a busy machine gives it less time than passes.
        for _ in range(RUNS_MAX):
            left = max(round(seconds - self.seconds), 1)
            with open(self.log, "wb") as log:
                child = subprocess.Popen([*command, f"-max_total_time={left}"], env=environment, stdout=log, stderr=log)
                _, status, used = os.wait4(child.pid, 0)
                child.returncode = self.status = os.waitstatus_to_exitcode(status)
            self.seconds += used.ru_utime + used.ru_stime
            text = self.log.read_text(errors="replace")
            last = re.findall(r"^#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/(\S+)", text, re.MULTILINE)
            executions, self.edges, self.features, self.inputs, self.size = last[-1] if last else ("0", "0", "0", "0", "0b")
            self.executions += int(executions)
            if self.status or self.seconds > 0.9 * seconds:
                break
        self.output = text[-6000:]
        self.reproducer = "".join(re.findall(r"Test unit written to (\S+)", text)[-1:])

    def line(self):
        failure = f"; FAILED, see {self.log}, run {self.reproducer} again" if self.status else ""
        return (f"{self.target:<11} {self.executions:>10,} executions in {self.seconds:.0f} s, {self.edges} edges, "
                f"corpus of {self.inputs} inputs ({self.size}){failure}")


def run_round(targets, seconds):
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        outcomes = list(pool.map(lambda target: Outcome(target, seconds), targets))
    with open(BUILD / "summary", "a", encoding="utf-8") as summary:
        for outcome in outcomes:
            print(outcome.line(), file=summary)
    return outcomes


class Fuzzing(unittest.TestCase):
    """Each target is a test."""

    outcomes = {}

    @classmethod
    def setUpClass(cls):
        if not PROGRAM.exists():
            return
        end = time.monotonic() + 60 * float(os.environ["FUZZ_MINUTES"]) if "FUZZ_MINUTES" in os.environ else None
        seconds = ROUND_SECONDS if end else int(os.environ.get("FUZZ_SECONDS", "120"))
        targets = chosen_targets()
        while True:
            for outcome in run_round(targets, seconds):
                if cls.outcomes.get(outcome.target) is None or not cls.outcomes[outcome.target].status:
                    cls.outcomes[outcome.target] = outcome
            if end is None or time.monotonic() >= end:
                break

    def check(self, target):
        self.assertTrue(PROGRAM.exists(), "build/fuzz/targets was not built")
        if target not in self.outcomes:
            self.skipTest("not chosen")
        outcome = self.outcomes[target]
        self.assertEqual(outcome.status, 0, f"\n{outcome.output}\nrun again: FUZZ_TARGET={target} {PROGRAM} {outcome.reproducer}")
        self.assertGreater(outcome.executions, 0)


for _target in TARGETS:
    setattr(Fuzzing, f"test_{_target}", lambda self, target=_target: self.check(target))

if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
