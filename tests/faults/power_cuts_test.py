#!/usr/bin/env python3
"""Power cuts: shares the stories of power_cuts.cpp out to processes, and adds up what they count.

EMDB_POWER_CUTS=n   how many cuts (100,000)
EMDB_MINUTES=n      for so long, instead
EMDB_COUNTS=file    the sums are also appended to this file
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(os.environ.get("EMDB_PROGRAMS", "build/faults")) / "power_cuts"
# Stories of two processes have no seed in common, however many there are.
SEEDS_OF_A_PROCESS = 1_000_000_000
BROKEN = ("acknowledged, then lost", "torn", "not a prefix", "unopenable", "other broken promises")


def processes():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2


def run(settings):
    """The sums of what the processes count, and the output of those that failed. `settings(share)` is a process's environment."""
    shares = processes()
    children = []
    for share in range(shares):
        environment = {**os.environ, "EMDB_SEED": str(1 + share * SEEDS_OF_A_PROCESS), **settings(shares)}
        log = tempfile.TemporaryFile()
        children.append((subprocess.Popen([PROGRAM], env=environment, stdout=log, stderr=subprocess.STDOUT), log))
    sums, failures = {}, []
    for child, log in children:
        status = child.wait()
        log.seek(0)
        output = log.read().decode(errors="replace")
        log.close()
        for name, count in re.findall(r"^count (.*): (\d+)$", output, re.MULTILINE):
            sums[name] = sums.get(name, 0) + int(count)
        if status != 0 or not re.search(r"^count ", output, re.MULTILINE):
            failures.append(f"exit status {status}\n{output[-20_000:]}")
    return sums, failures


class PowerCuts(unittest.TestCase):
    def test_nothing_acknowledged_is_lost_nothing_is_torn_and_everything_opens(self):
        minutes = os.environ.get("EMDB_MINUTES")
        cuts = int(os.environ.get("EMDB_POWER_CUTS") or 100_000)
        if minutes:
            sums, failures = run(lambda shares: {"EMDB_SECONDS": str(int(float(minutes) * 60)), "EMDB_POWER_CUTS": ""})
        else:
            sums, failures = run(lambda shares: {"EMDB_POWER_CUTS": str(-(-cuts // shares))})
        lines = "".join(f"  {count:13,}  {name}\n" for name, count in sums.items())
        sys.stderr.write("\n" + lines)
        counts = os.environ.get("EMDB_COUNTS")
        if counts:
            with open(counts, "a", encoding="utf-8") as file:
                file.write("power cuts\n" + lines)
        self.assertFalse(failures, "\n".join(failures))
        for name in BROKEN:
            self.assertEqual(sums[name], 0, name)
        if not minutes:
            self.assertGreaterEqual(sums["power cuts"], cuts)


if __name__ == "__main__":
    unittest.main()
