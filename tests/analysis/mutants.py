#!/usr/bin/env python3
"""Breaks the engine in many small ways and asks the tests whether they notice.

    mutants.py [--count 100] [--seed N] [--list] [--program NAME 'SOURCE FLAG...' 'OBJECT...']...

A mutant is one change of one place in src/, made by mutations.py, where its kinds are. They are chosen by a hash of the seed and the
place: a change elsewhere in src/ leaves most of the choice as it is.

All mutants are compiled into each program at once, each behind a switch: EMDB_MUTANT=7 in the environment turns on the seventh. So 100
cost no more compiling than one. Programs also note which switches they have come by (EMDB_MUTANTS_REACHED), and a mutant is tried
only on what comes by it, the quickest first, until one fails, crashes, or does not end: then it is killed. Of a program that is
linked of several test files, each file is tried by itself.

Those listed in mutants_equivalent.txt, each with its reason, change nothing that anybody can observe. They are not counted: others of
their kind, which were compiled in beforehand, take their places.

Everything is in build/mutants; results.json there lets a run that was interrupted go on. The last line counts the killed as passed.
While they are 90 % survivors count as skipped and are listed, otherwise as failed, with exit status 1.
"""

import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from mutations import KINDS, LAYERS, ROOT, SWITCH, candidates

sys.path.insert(0, str(ROOT / "tests"))
from run import closing_line, counts_of  # noqa: E402: tests/ has to be in the path first

WORK = ROOT / "build" / "mutants"
EQUIVALENT = ROOT / "tests" / "analysis" / "mutants_equivalent.txt"
BAR_PERCENT = 90
RESERVE_PERCENT = 60  # so many more are compiled in, to take the places of equivalent ones
SECONDS_MIN = 30  # however quick a program is, it gets this long to fail
MEMORY_MAX = 4 << 30
FILE_MAX = 8 << 30
SWITCHES_MAX = 4096

HEADER = """#pragma once
#include <cstdlib>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
namespace emdb_mutants {
struct Switches {
    int chosen = -1;
    char* reached = nullptr;
    Switches() noexcept {
        if (const char* text = std::getenv("EMDB_MUTANT")) chosen = std::atoi(text);
        if (const char* path = std::getenv("EMDB_MUTANTS_REACHED")) {
            const int file = ::open(path, O_RDWR | O_CLOEXEC);
            void* const memory = ::mmap(nullptr, SWITCHES_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            if (memory != MAP_FAILED) reached = static_cast<char*>(memory);
            ::close(file);
        }
    }
};
inline const Switches switches;
[[gnu::no_sanitize("thread")]] inline bool on(int number) noexcept {
    if (switches.reached != nullptr) switches.reached[number] = 1;
    return number == switches.chosen;
}
}  // namespace emdb_mutants
""".replace("SWITCHES_MAX", str(SWITCHES_MAX))


class Switched:
    """src/ with the mutants in it, in build/mutants/src."""

    def __init__(self, mutants):
        self.mutants = dict(enumerate(sorted(mutants, key=lambda mutant: (mutant.name, mutant.number))))
        target = WORK / "src"
        texts = {path.relative_to(ROOT / "src"): path.read_text(encoding="ascii").split("\n")
                 for path in (ROOT / "src").rglob("*.hpp")}
        for switch, mutant in self.mutants.items():
            lines = texts[pathlib.Path(mutant.name)]
            begin, end, change = mutant.change
            lines[mutant.number - 1] = mutant.line[:begin] + change.replace("{n}", str(switch)) + mutant.line[end:]
        for name, lines in texts.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            text = "\n".join(lines)
            if not (target / name).exists() or (target / name).read_text(encoding="ascii") != text:
                (target / name).write_text(text, encoding="ascii")
        (WORK / "switches.hpp").write_text(HEADER, encoding="ascii")


def compiler_command(*arguments):
    flags = ["-std=c++20", "-w", "-pthread", "-include", str(WORK / "switches.hpp")]
    flags += [f"-I{folder}" for folder in (WORK / "src", ROOT, ROOT / "tests")]
    return [*shlex.split(os.environ.get("CXX", "g++")), *flags, *shlex.split(os.environ.get("CPPFLAGS", "")), *arguments]


def seen_by_compiler(switched):
    """(the switches that a compiler has come by, those that it does not accept), with all features on."""
    source = WORK / "all.cpp"
    defines = [f"#define EMDB_{what}\n" for what in ("IMPLEMENTATION", "TTL 1", "NESTED 1", "ENCRYPT 1", "ASYNC 1")]
    source.write_text("".join(defines) + '#include "emdb.hpp"\n', encoding="ascii")
    text = subprocess.run(compiler_command("-E", str(source)), capture_output=True, check=True, text=True).stdout
    seen = {int(number) for number in re.findall(re.escape(SWITCH) + r"\((\d+)\)", text)}
    errors = subprocess.run(compiler_command("-fsyntax-only", "-fmax-errors=0", str(source)),
                            capture_output=True, check=False, text=True, env={**os.environ, "LC_ALL": "C"})
    places = set(re.findall(r"mutants/src/([\w/.]+):(\d+):\d+: error", errors.stderr))
    refused = {switch for switch, mutant in switched.mutants.items() if (mutant.name, str(mutant.number)) in places}
    if errors.returncode and not refused:
        sys.exit(errors.stderr)
    return seen, refused


def shares(count):
    """Of `count` mutants, how many each kind has."""
    sum_of_parts = sum(KINDS.values())
    wanted = {kind: round(count * part / sum_of_parts) for kind, part in KINDS.items()}
    wanted["comparison"] += count - sum(wanted.values())
    return wanted


def equivalent_ones():
    """What is listed as equivalent: {key: reason}."""
    listed = {}
    for line in EQUIVALENT.read_text(encoding="ascii").splitlines():
        if line.startswith("src/"):
            listed[line] = ""
            last = line
        elif line.startswith("    "):
            listed[last] += line.strip() + " "
    without = [key for key, reason in listed.items() if not reason]
    if without:
        sys.exit(f"{EQUIVALENT.name} gives no reason for " + ", ".join(without))
    return listed


def choose(count, seed):
    """(the tree with `count` mutants that compile and a reserve, no two in one line; the switches of those that count)."""
    found = candidates()
    print(f"{len(found)} candidates in " + ", ".join(f"src/{layer}" for layer in LAYERS) + f"; EMDB_SEED={seed}", flush=True)
    found.sort(key=lambda mutant: hashlib.sha256(f"{seed} {mutant.key}".encode()).digest())
    compiled = {kind: number + -(-number * RESERVE_PERCENT // 100) for kind, number in shares(count).items()}
    refused_keys = set()
    while True:
        chosen = []
        lines = set()
        # The rarest kinds first: where two are in a line, they have it.
        for kind in sorted(compiled, key=lambda kind: KINDS[kind]):
            left = compiled[kind]
            for mutant in found:
                if left and mutant.kind == kind and mutant.key not in refused_keys and mutant.place not in lines:
                    lines.add(mutant.place)
                    chosen.append(mutant)
                    left -= 1
        switched = Switched(chosen)
        seen, refused = seen_by_compiler(switched)
        bad = {mutant.key for switch, mutant in switched.mutants.items() if switch not in seen or switch in refused}
        if not bad:
            break
        refused_keys |= bad
    listed = equivalent_ones()
    counted = []
    for kind, number in shares(count).items():
        counted += [mutant for mutant in chosen if mutant.kind == kind and mutant.key not in listed][:number]
    if len(counted) != count:
        sys.exit(f"So many are equivalent that {len(counted)} are left. Raise RESERVE_PERCENT.")
    keys = {mutant.key for mutant in counted}
    return switched, [switch for switch, mutant in switched.mutants.items() if mutant.key in keys]


def resident_bytes(process):
    # Not a limit of the process: programs reserve more address space than they use.
    try:
        return int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def sha256_of(*paths):
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Program:
    """A test program with all the switches."""

    def __init__(self, name, source, objects):
        self.name = name
        self.source, *self.flags = shlex.split(source)
        self.objects = objects.split()
        self.path = WORK / name

    def digest(self, source_tree):
        """What of its source it depends on, roughly."""
        tests = ROOT / "tests"
        around = [path for folder in (tests / "support", tests / "races" / "model") for path in sorted(folder.glob("*.?pp"))]
        return sha256_of(ROOT / self.source, *around, *sorted(source_tree.rglob("*.hpp")))

    def build(self):
        digest = self.digest(WORK / "src") + sha256_of(*(ROOT / name for name in self.objects)) + " ".join(self.flags)
        stamp = WORK / f"{self.name}.built"
        if self.path.exists() and stamp.exists() and stamp.read_text() == digest:
            return
        print(f"compiling {self.source}", flush=True)
        compiled = str(WORK / f"{self.name}.o")
        subprocess.run(compiler_command("-O1", *self.flags, "-c", self.source, "-o", compiled), check=True, cwd=ROOT)
        subprocess.run(compiler_command(*self.flags, compiled, *self.objects, "-o", str(self.path)), check=True, cwd=ROOT)
        stamp.write_text(digest)

    def units(self):
        """Its parts that are tried by themselves."""
        files = [pathlib.Path(name).stem for name in self.objects if name.endswith("_test.o")]
        if len(files) > 1:
            return [Unit(self, f"{self.name} {file}", [f"--source-file=*/{file}.cpp"], sha256_of(ROOT / name))
                    for file, name in zip(files, self.objects)]
        return [Unit(self, self.name, [], "")]


class Unit:
    """A program, or what one test file has in it."""

    def __init__(self, program, name, arguments, digest):
        self.program, self.name, self.arguments = program, name, arguments
        self.built = (WORK / f"{program.name}.built").read_text() + digest
        # What a survivor has survived: other mutants around it make no difference.
        self.digest = hashlib.sha256((program.digest(ROOT / "src") + digest).encode()).hexdigest()[:16]
        self.seconds = 0.0
        self.reached = set()

    def run(self, seconds_max, **environment):
        """(exit status, output); status None if it did not end, or took all memory."""
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_MAX, FILE_MAX))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        folder = tempfile.mkdtemp(prefix="emdb-mutant-")
        with tempfile.TemporaryFile() as output:
            child = subprocess.Popen([str(self.program.path), "--abort-after=1", *self.arguments], stdin=subprocess.DEVNULL, cwd=ROOT,
                                     stdout=output, stderr=output, start_new_session=True, preexec_fn=limit,
                                     env={**os.environ, "TMPDIR": folder, "EMDB_SEED": "1", "SEED": "1", "WEAKEN": "0", **environment})
            status = None
            try:
                # Counted rather than looked up on a clock: where this whole run is stopped for a while, nobody is too late.
                for _ in range(int(seconds_max * 20)):
                    try:
                        status = child.wait(0.05)
                        break
                    except subprocess.TimeoutExpired:
                        if resident_bytes(child.pid) > MEMORY_MAX:
                            break
            finally:
                try:
                    os.killpg(child.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                child.wait()
                shutil.rmtree(folder, ignore_errors=True)
            output.seek(0)
            return status, output.read().decode(errors="replace")

    def status_of(self, switch):
        """Its exit status with a mutant; None if it does not end, although it would have ended without the mutant."""
        while True:
            seconds_max = max(SECONDS_MIN, 5 * self.seconds)
            status, _ = self.run(seconds_max, EMDB_MUTANT=str(switch))
            if status is not None:
                return status
            # Or is this machine slower now than when it was timed?
            started = time.monotonic()
            self.run(900)
            seconds = time.monotonic() - started
            if 5 * seconds <= seconds_max:
                return None
            self.seconds = seconds

    def run_unchanged(self, known):
        """Finds out, unless that is known, how long it takes and which mutants it comes by."""
        if known.get(self.name, {}).get("built") != self.built:
            with tempfile.NamedTemporaryFile(dir=WORK) as marks:
                marks.write(bytes(SWITCHES_MAX))
                marks.flush()
                started = time.monotonic()
                status, output = self.run(900, EMDB_MUTANTS_REACHED=marks.name)
                seconds = time.monotonic() - started
                reached = [number for number, byte in enumerate(pathlib.Path(marks.name).read_bytes()) if byte]
            if status != 0 or not any(counts_of(output) or [0]):
                raise RuntimeError(f"{self.name} fails without any mutant, or has no test ({status}):\n{output[-4000:]}")
            known[self.name] = {"built": self.built, "seconds": seconds, "reached": reached}
            print(f"{self.name:<36} {seconds:6.1f} s, comes by {len(reached)} mutants", flush=True)
        self.seconds = known[self.name]["seconds"]
        self.reached = set(known[self.name]["reached"])


def try_mutant(switch, units, survived):
    """What killed it, or None, after which `survived` says what it survived."""
    for unit in units:
        if switch not in unit.reached or survived.get(unit.name) == unit.digest:
            continue
        status = unit.status_of(switch)
        if status is None:
            return f"{unit.name}, which did not end"
        if status < 0:
            return f"{unit.name}, which ended by {signal.Signals(-status).name}"
        if status > 0:
            return unit.name
        survived[unit.name] = unit.digest
    return None


def try_all(switched, counted, units, jobs):
    file = WORK / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    writing = threading.Lock()

    def try_one(switch):
        mutant = switched.mutants[switch]
        known = results.get(mutant.key, {})
        if known.get("killed_by"):
            return
        survived = dict(known.get("survived", {}))
        killed_by = try_mutant(switch, units, survived)
        with writing:
            results[mutant.key] = {"killed_by": killed_by, "survived": survived}
            file.write_text(json.dumps(results, indent=1))
            outcome = f"killed by {killed_by}" if killed_by else "SURVIVED"
            print(f"{switch:3} {outcome}  {mutant.place} {mutant.kind}: {mutant.what}", flush=True)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(try_one, switch) for switch in counted]:
            done.result()
    return results


def report(mutants, results, units):
    survivors = [mutant for mutant in mutants if results[mutant.key]["killed_by"] is None]
    of_kind = collections.Counter(mutant.kind for mutant in mutants)
    alive = collections.Counter(mutant.kind for mutant in survivors)
    lines = [f"  {kind:<12} {of_kind[kind] - alive[kind]} of {of_kind[kind]}" for kind in KINDS]
    killed = len(mutants) - len(survivors)
    lines.append(f"{killed} of {len(mutants)} mutants killed; survivors:" if survivors else f"all {killed} mutants killed")
    names = {unit.name for unit in units}
    for mutant in survivors:
        tried = names & set(results[mutant.key]["survived"])
        lines.append(f"  {mutant.place}  {mutant.kind}: {mutant.what}" + ("" if tried else "  [nothing comes by it]"))
    good = 100 * killed >= BAR_PERCENT * len(mutants)
    counts = (killed, 0, len(survivors)) if good else (killed, len(survivors), 0)
    (WORK / "report.txt").write_text("\n".join([*lines, closing_line(counts)]) + "\n", encoding="ascii")
    print("\n".join(lines), flush=True)
    tally = os.environ.get("TEST_TALLY")
    if tally:
        with open(tally, "a", encoding="ascii") as file:
            file.write(" ".join(map(str, counts)) + "\n")
    print(("mutants: " if tally else "") + closing_line(counts))
    return good


def main():
    parser = argparse.ArgumentParser(description="Counts which broken engines the tests notice.")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="show what would be tried, and end")
    parser.add_argument("--program", nargs=3, action="append", default=[], metavar=("NAME", "SOURCE", "OBJECTS"),
                        help="SOURCE, which flags may follow, is compiled with the mutants, and linked with the objects")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    switched, counted = choose(options.count, options.seed)
    if options.list:
        for switch, mutant in switched.mutants.items():
            print(f"{switch:3} {'' if switch in counted else '(reserve) '}{mutant.key}")
        return
    programs = [Program(*words) for words in options.program]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in [pool.submit(program.build) for program in programs]:
            done.result()
    units = [unit for program in programs for unit in program.units()]
    file = WORK / "units.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in [pool.submit(unit.run_unchanged, known) for unit in units]:
            done.result()
            file.write_text(json.dumps(known.copy()))
    units.sort(key=lambda unit: unit.seconds)
    results = try_all(switched, counted, units, options.jobs)
    sys.exit(0 if report([switched.mutants[switch] for switch in counted], results, units) else 1)


if __name__ == "__main__":
    main()
