#!/usr/bin/env python3
"""Which lines and branches of src/ the test programs run. See rules.mk for how they are built: by Clang, from src/ itself.

    coverage.py FOLDER LINES_MIN BRANCHES_MIN PROGRAM...

The programs have run, and left FOLDER/raw/*.profraw. In FOLDER: report.txt with a row for each file, missed.txt with the lines that no
program ran and the branches that only went one way, and annotated/ with how often each line ran. Exit status 1 below a bar (percent).

Each program has its own features, so a function may differ between them: programs are exported one by one and added up line by line
and branch by branch. A branch is a condition at a place and a way it can go, whatever template it is in. What no program compiles is in
no count: other systems' and other processors' code. Conditions that the compiler decides are no branches.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
IGNORED = r"(/tests/|/examples/|^/usr/|\bemdb_test)"


def exported(program, profile, form):
    command = ["llvm-cov", "export", f"-format={form}", f"-instr-profile={profile}", f"-ignore-filename-regex={IGNORED}", program]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True).stdout


def name_of(path):
    """As in src/, or None for a file elsewhere."""
    full = (ROOT / path).resolve()
    return full.relative_to(SRC).as_posix() if full.is_relative_to(SRC) else None


class Coverage:
    def __init__(self):
        self.lines = collections.defaultdict(collections.Counter)     # name -> line -> how often
        self.branches = collections.defaultdict(collections.Counter)  # name -> (line, column, which way) -> how often
        self.texts = {path.relative_to(SRC).as_posix(): path.read_text(encoding="ascii").splitlines() for path in SRC.rglob("*.hpp")}

    def add(self, program, profile):
        name = None
        for row in exported(program, profile, "lcov").splitlines():
            if row.startswith("SF:"):
                name = name_of(row[3:])
            elif row.startswith("DA:") and name:
                line, count = row[3:].split(",")[:2]
                self.lines[name][int(line)] += int(count)
        for file in json.loads(exported(program, profile, "text"))["data"][0]["files"]:
            name = name_of(file["filename"])
            for line, column, _, _, taken, not_taken, *_ in file.get("branches", []) if name else []:
                if re.search(r"\bif constexpr\b", self.texts[name][line - 1]):
                    continue
                self.branches[name][line, column, True] += taken
                self.branches[name][line, column, False] += not_taken

    def counts(self, names):
        """(lines, lines run, branches, branches taken)."""
        lines = [count for name in names for count in self.lines[name].values()]
        branches = [count for name in names for count in self.branches[name].values()]
        return len(lines), sum(map(bool, lines)), len(branches), sum(map(bool, branches))

    def row(self, title, names):
        lines, run, branches, taken = self.counts(names)
        return f"{title:<34} {run:6} of {lines:6} {percent(run, lines):6.1f} %   {taken:6} of {branches:6} {percent(taken, branches):6.1f} %"

    def report(self):
        names = sorted(self.lines)
        layers = sorted({name.split("/")[0] for name in names if "/" in name})
        rows = [f"{'src/':<34} {'lines':>16} {'':>8}   {'branches':>16}"]
        for layer in layers:
            rows += [self.row(name, [name]) for name in names if name.startswith(layer + "/")]
        rows += ["", *(self.row(layer, [name for name in names if name.startswith(layer + "/")]) for layer in layers), self.row("all", names)]
        return "\n".join(rows) + "\n"

    def missed(self):
        rows = []
        for name in sorted(self.lines):
            for line, count in sorted(self.lines[name].items()):
                ways = [way for (at, _, way), taken in sorted(self.branches[name].items()) if at == line and not taken]
                if not count:
                    rows.append(f"src/{name}:{line}: never run: {self.texts[name][line - 1].strip()}")
                elif ways:
                    said = " and ".join(sorted({"never true" if way else "never false" for way in ways}))
                    rows.append(f"src/{name}:{line}: {said}: {self.texts[name][line - 1].strip()}")
        return "\n".join(rows) + "\n"

    def annotate(self, folder):
        for name, counts in self.lines.items():
            path = folder / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [f"{counts[number] if number in counts else '':>12} | {text}" for number, text in enumerate(self.texts[name], 1)]
            path.write_text("\n".join(rows) + "\n", encoding="ascii")


def percent(part, whole):
    return 100 * part / whole if whole else 100.0


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    lines_min, branches_min = map(float, sys.argv[2:4])
    profile = folder / "merged.profdata"
    files = sorted(str(path) for path in (folder / "raw").glob("*.profraw"))
    (folder / "raw" / "files").write_text("\n".join(files), encoding="utf-8")
    # A program that was killed may have left half a profile; that is no reason to do without the others.
    subprocess.run(["llvm-profdata", "merge", "-sparse", "-failure-mode=all", f"-input-files={folder / 'raw' / 'files'}",
                    "-o", str(profile)], check=True, stderr=subprocess.DEVNULL)
    coverage = Coverage()
    for program in sys.argv[4:]:
        coverage.add(program, profile)
    report = coverage.report()
    (folder / "report.txt").write_text(report, encoding="ascii")
    (folder / "missed.txt").write_text(coverage.missed(), encoding="ascii")
    coverage.annotate(folder / "annotated")
    print(report, end="")
    lines, run, branches, taken = coverage.counts(coverage.lines)
    enough = percent(run, lines) >= lines_min and percent(taken, branches) >= branches_min
    print(f"{'Enough' if enough else 'NOT ENOUGH'}: {lines_min:g} % of the lines and {branches_min:g} % of the branches are asked for. "
          f"What is missing: {(folder / 'missed.txt').relative_to(ROOT)}")
    sys.exit(0 if enough and lines else 1)


if __name__ == "__main__":
    main()
