#!/usr/bin/env python3
"""Breaks the engine in many small ways and asks the tests whether they notice.

    mutants.py [--count 100] [--seed N] [--list] PROGRAM.cpp=OBJECT,OBJECT... ...

A mutant is one change of one place in src/: a comparison that is off by one, a check that never fires, a statement that is left out,
a 1 that is a 0, an `and` for an `or`. They are chosen at random from all places that the patterns below find; the seed is printed.

All mutants are compiled into each test program at once, each behind a switch: EMDB_MUTANT=7 in the environment turns on the seventh.
So 100 mutants cost no more compiling than one. Programs also note which switches they have come by (EMDB_MUTANTS_REACHED), and a
mutant is tried only on the programs that come by it, the quickest first, until one fails, crashes, or does not end: then it is killed.

Left out on purpose: memory orders and locks, whose loss only ThreadSanitizer and the models of tests/races notice; prefetching,
reserving and hints, whose loss makes nothing wrong.

Everything is in build/mutants; results.json there lets a run that was interrupted go on. Exit status 1 if fewer than 90 % are killed.
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import random
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "analysis"
WORK = ROOT / "build" / "mutants"
LAYERS = ["engine", "journal", "index", "checks"]
BAR_PERCENT = 90
SECONDS_MIN = 30  # however quick a program is, it gets this long to fail
MEMORY_MAX = 4 << 30
FILE_MAX = 2 << 30

SWITCH = "emdb_mutants::on"
OPERAND = r"!?[A-Za-z_][\w:]*(?:(?:->|\.)\w+|\([^()]*\)|\[[^\[\]]*\])*|\d+"
COMPARISON = re.compile(rf"(?:\(|\breturn |&& |\|\| | = )(?P<all>({OPERAND}) (<=?|>=?|[!=]=) ({OPERAND}))(?=\)|;| &&| \|\| | \?)")
GUARD = re.compile(r"^(\s+(?:\} else )?if \()((?!auto |const ).*)(\)(?: \[\[\w+\]\])? (?:return|continue|break)\b.*;.*)$")
UNCHECKED = re.compile(r"^(\s+if \((?:const )?auto (\w+) = .*; !\2)(\)(?: \[\[\w+\]\])? return .*;.*)$")
STATEMENT = re.compile(r"^(\s+)((?!return\b|throw\b|if\b|for\b|while\b|switch\b|delete\b|static_assert\b|sizeof\b)[\w.:>\[\]()*-]+(?<!-)\(.*\);)$")
ASSIGNMENT = re.compile(r"^(\s+)([\w.\[\]>-]+ (?:[-+|&^]?)= .*;)$")
ONE = re.compile(r"( [+-] )1(?=[;,)\] ])")
AND_OR = re.compile(r"^(\s+(?:if|while) \()([^;&|]+) (&&|\|\|) ([^;&|]+)(\)(?: \[\[\w+\]\])?(?: \{| return.*;| continue;| break;))$")
OTHER = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&"}
IRRELEVANT = re.compile(r"prefetch|reserve\(|lock\b|lock_|memory_order|wake_|wait_for_change|constexpr|consteval|static_assert|advise|hint|expect_reading|yield\(|\bEMDB_")

# Of how many mutants each kind is one.
KINDS = {"comparison": 30, "guard": 20, "unchecked": 10, "statement": 22, "off by one": 10, "and, or": 8}

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
            void* const memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            if (memory != MAP_FAILED) reached = static_cast<char*>(memory);
            ::close(file);
        }
    }
};
inline const Switches switches;
inline bool on(int number) noexcept {
    if (switches.reached != nullptr) switches.reached[number] = 1;
    return number == switches.chosen;
}
}  // namespace emdb_mutants
"""


class Mutant:
    """One change: what the line becomes, with {n} where the number of its switch goes."""

    def __init__(self, kind, name, number, line, change, what):
        self.kind, self.name, self.number, self.line, self.change, self.what = kind, name, number, line, change, what

    @property
    def place(self):
        return f"src/{self.name}:{self.number}"

    @property
    def key(self):
        return f"{self.place} {self.kind}: {self.what}"


def balanced(text):
    depth = 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            return False
    return depth == 0


def candidates_of_line(name, number, line, begins):
    """All mutants of a line. `begins` says that a statement begins with it."""
    found = []

    def add(kind, change, what):
        found.append(Mutant(kind, name, number, line, change, what))

    for match in COMPARISON.finditer(line):
        _, left, operator, right = match.groups()
        other = OTHER[operator]
        change = f"({SWITCH}({{n}}) ? ({left} {other} {right}) : ({left} {operator} {right}))"
        add("comparison", (match.start("all"), match.end("all"), change), f"{left} {other} {right} for {operator}")
    match = GUARD.match(line)
    if match and balanced(match.group(2)) and ";" not in match.group(2):
        add("guard", (match.start(2), match.end(2), f"!{SWITCH}({{n}}) && ({match.group(2)})"), f"never: if ({match.group(2)})")
    match = UNCHECKED.match(line)
    if match:
        add("unchecked", (match.end(1), match.end(1), f" && !{SWITCH}({{n}})"), f"goes on in spite of an error: {line.strip()}")
    for pattern in (STATEMENT, ASSIGNMENT) if begins else ():
        match = pattern.match(line)
        if match and balanced(match.group(2)):
            add("statement", (match.start(2), match.end(2), f"if (!{SWITCH}({{n}})) {{ {match.group(2)} }}"), f"left out: {match.group(2)}")
    for match in ONE.finditer(line):
        add("off by one", (match.end(1), match.end(), f"({SWITCH}({{n}}) ? 0 : 1)"), f"0 for 1: {line.strip()}")
    match = AND_OR.match(line)
    if match and balanced(match.group(2)) and balanced(match.group(4)):
        left, operator, right = match.group(2), match.group(3), match.group(4)
        change = f"{SWITCH}({{n}}) ? (({left}) {OTHER[operator]} ({right})) : (({left}) {operator} ({right}))"
        add("and, or", (match.start(2), match.end(4), change), f"{OTHER[operator]} for {operator}: {line.strip()}")
    return found


def candidates():
    found = []
    for layer in LAYERS:
        for path in sorted((ROOT / "src" / layer).glob("*.hpp")):
            previous = ""
            for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
                code = re.sub(r"\s*//.*", "", line)
                begins = previous.endswith((";", "{", "}"))
                previous = code or previous
                if not code.startswith((" " * 4,)) or code.lstrip().startswith("#") or IRRELEVANT.search(code):
                    continue
                found += candidates_of_line(path.relative_to(ROOT / "src").as_posix(), number, code, begins)
    return found


class Switched:
    """src/ with the mutants in it, in build/mutants/src."""

    def __init__(self, mutants):
        self.mutants = mutants
        target = WORK / "src"
        texts = {path.relative_to(ROOT / "src"): path.read_text(encoding="ascii").split("\n")
                 for path in (ROOT / "src").rglob("*.hpp")}
        for switch, mutant in mutants.items():
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
    flags = ["-std=c++20", "-include", str(WORK / "switches.hpp"), f"-I{WORK / 'src'}", f"-I{ROOT}", f"-I{ROOT / 'tests'}", "-w", "-pthread"]
    return [*shlex.split(os.environ.get("CXX", "g++")), *flags, *shlex.split(os.environ.get("CPPFLAGS", "")), *arguments]


def seen_by_compiler(switched):
    """(the switches that a compiler has come by, those that it does not accept), with all features on."""
    source = WORK / "all.cpp"
    source.write_text("#define EMDB_IMPLEMENTATION\n#define EMDB_TTL 1\n#define EMDB_NESTED 1\n#define EMDB_ENCRYPT 1\n#define EMDB_ASYNC 1\n"
                      '#include "emdb.hpp"\n', encoding="ascii")
    text = subprocess.run(compiler_command("-E", str(source)), capture_output=True, check=True, text=True).stdout
    seen = {int(number) for number in re.findall(re.escape(SWITCH) + r"\((\d+)\)", text)}
    errors = subprocess.run(compiler_command("-fsyntax-only", "-fmax-errors=0", str(source)),
                            capture_output=True, check=False, text=True, env={**os.environ, "LC_ALL": "C"})
    places = set(re.findall(r"mutants/src/([\w/.]+):(\d+):\d+: error", errors.stderr))
    refused = {switch for switch, mutant in switched.mutants.items() if (mutant.name, str(mutant.number)) in places}
    if errors.returncode and not refused:
        sys.exit(errors.stderr)
    return seen, refused


def choose(count, seed):
    """`count` mutants that compile, no two in one line, of each kind as many as KINDS says."""
    shuffled = candidates()
    print(f"{len(shuffled)} candidates in " + ", ".join(f"src/{layer}" for layer in LAYERS) + f"; EMDB_SEED={seed}", flush=True)
    random.Random(seed).shuffle(shuffled)
    waiting = {kind: [mutant for mutant in shuffled if mutant.kind == kind] for kind in KINDS}
    share = sum(KINDS.values())
    wanted = {kind: round(count * part / share) for kind, part in KINDS.items()}
    wanted["comparison"] += count - sum(wanted.values())
    chosen = []
    while True:
        lines = {mutant.place for mutant in chosen}
        for kind, number in wanted.items():
            missing = number - sum(mutant.kind == kind for mutant in chosen)
            while missing and waiting[kind]:
                mutant = waiting[kind].pop()
                if mutant.place not in lines:
                    lines.add(mutant.place)
                    chosen.append(mutant)
                    missing -= 1
        chosen.sort(key=lambda mutant: (mutant.name, mutant.number))
        switched = Switched(dict(enumerate(chosen)))
        seen, refused = seen_by_compiler(switched)
        good = [mutant for switch, mutant in enumerate(chosen) if switch in seen and switch not in refused]
        if len(good) == len(chosen):
            return switched
        chosen = good


def resident_bytes(process):
    # Not a limit of the process: programs reserve more address space than they use.
    try:
        return int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


class Program:
    """A test program with all the switches."""

    def __init__(self, argument):
        source, _, objects = argument.partition("=")
        self.source = source
        self.objects = objects.split(",") if objects else []
        self.name = pathlib.Path(source).stem
        self.path = WORK / self.name
        self.seconds = 0.0
        self.reached = set()

    def build(self, digest):
        stamp = WORK / f"{self.name}.built"
        if self.path.exists() and stamp.exists() and stamp.read_text() == digest:
            return
        print(f"compiling {self.source}", flush=True)
        whole = ["-fwhole-program"] if self.name.endswith("_test") and "clang" not in os.environ.get("CXX", "") else []
        compiled = str(WORK / f"{self.name}.o")
        subprocess.run(compiler_command("-O1", *whole, "-c", self.source, "-o", compiled), check=True, cwd=ROOT)
        subprocess.run(compiler_command(compiled, *self.objects, "-o", str(self.path)), check=True, cwd=ROOT)
        stamp.write_text(digest)

    def run(self, seconds_max, **environment):
        """Exit status; None if it did not end, or took all memory."""
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_MAX, FILE_MAX))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        folder = tempfile.mkdtemp(prefix="emdb-mutant-")
        try:
            with open(WORK / "output", "wb") as output:
                child = subprocess.Popen([str(self.path), "--abort-after=1"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT,
                                         env={**os.environ, "TMPDIR": folder, "EMDB_SEED": "1", **environment},
                                         start_new_session=True, preexec_fn=limit)
                # Counted rather than looked up on a clock: where this whole run is stopped for a while, nobody is too late.
                for _ in range(int(seconds_max * 20)):
                    try:
                        return child.wait(0.05)
                    except subprocess.TimeoutExpired:
                        if resident_bytes(child.pid) > MEMORY_MAX:
                            break
                return None
        finally:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
            shutil.rmtree(folder, ignore_errors=True)

    def run_unchanged(self):
        map_of_reached = WORK / f"{self.name}.reached"
        map_of_reached.write_bytes(bytes(4096))
        started = time.monotonic()
        if self.run(600, EMDB_MUTANTS_REACHED=str(map_of_reached)) != 0:
            sys.exit(f"{self.source} fails without any mutant:\n" + (WORK / "output").read_text(errors="replace")[-4000:])
        self.seconds = time.monotonic() - started
        self.reached = {number for number, byte in enumerate(map_of_reached.read_bytes()) if byte}
        print(f"{self.name:<28} {self.seconds:6.1f} s, comes by {len(self.reached)} mutants", flush=True)


def try_mutant(switch, programs):
    """(what killed it or None, by how many programs it was reached)."""
    reaching = [program for program in programs if switch in program.reached]
    for program in reaching:
        status = program.run(max(SECONDS_MIN, 10 * program.seconds), EMDB_MUTANT=str(switch))
        if status is None:
            return f"{program.name} did not end", len(reaching)
        if status < 0:
            return f"{program.name} ended by {signal.Signals(-status).name}", len(reaching)
        if status > 0:
            return program.name, len(reaching)
    return None, len(reaching)


def report(mutants, results):
    survivors = [mutant for mutant in mutants if results[mutant.key]["killed_by"] is None]
    of_kind = collections.Counter(mutant.kind for mutant in mutants)
    alive = collections.Counter(mutant.kind for mutant in survivors)
    lines = [f"  {kind:<12} {of_kind[kind] - alive[kind]} of {of_kind[kind]}" for kind in KINDS]
    killed = len(mutants) - len(survivors)
    lines.append(f"{killed} of {len(mutants)} mutants killed ({100 * killed / len(mutants):.0f} %); survivors:")
    for mutant in survivors:
        reached = results[mutant.key]["reached_by"]
        lines.append(f"  {mutant.place}  {mutant.kind}: {mutant.what}" + ("" if reached else "  [no program comes by it]"))
    text = "\n".join(lines) + "\n"
    (WORK / "report.txt").write_text(text, encoding="ascii")
    print(text, end="", flush=True)
    return 100 * killed >= BAR_PERCENT * len(mutants)


def main():
    parser = argparse.ArgumentParser(description="Counts which broken engines the tests notice.")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="show what would be tried, and end")
    parser.add_argument("programs", nargs="*", metavar="SOURCE=OBJECT,...", help="compiled with the mutants, and linked with the objects")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    switched = choose(options.count, options.seed)
    if options.list:
        for switch, mutant in switched.mutants.items():
            print(f"{switch:3} {mutant.key}")
        return
    programs = [Program(argument) for argument in options.programs]
    sources = [path.read_bytes() for folder in (WORK / "src", ROOT / "tests") for path in sorted(folder.rglob("*.?pp"))
               if HERE not in path.parents]
    digest = hashlib.sha256(b"".join(sources)).hexdigest()
    for program in programs:
        program.build(digest)
    for program in programs:
        program.run_unchanged()
    programs.sort(key=lambda program: program.seconds)

    # What a survivor has survived.
    digest += " ".join(sorted(program.name for program in programs))
    file = WORK / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    for switch, mutant in switched.mutants.items():
        known = results.get(mutant.key)
        # A survivor is tried again once the tests are others.
        if known is None or (known["killed_by"] is None and known["digest"] != digest):
            killed_by, reached_by = try_mutant(switch, programs)
            results[mutant.key] = {"killed_by": killed_by, "reached_by": reached_by, "digest": digest}
            file.write_text(json.dumps(results, indent=1))
            print(f"{switch:3} {'killed by ' + killed_by if killed_by else 'SURVIVED'}  {mutant.key}", flush=True)
    sys.exit(0 if report(list(switched.mutants.values()), results) else 1)


if __name__ == "__main__":
    main()
