#!/usr/bin/env python3
"""Runs the programs of bench/peers in turn and puts their figures together.

    run_peers.py [--workload W,W] [--records N] [--rounds N] [--engines A,B] [--dir FOLDER] [--prefix COMMAND]
                 [--samples FILE] [--report FILE.json] [--table FILE.md] [--summary FILE.md] [--report-only]

Each store is a process of its own. A round runs every store once, odd rounds in reverse; the report has medians over
rounds. --samples keeps what each process has said, a line of JSON each; a file that exists is added to, so that a long
measurement can be done in pieces. A store whose program is missing is left out with a word. --prefix is put before each
program's command, for instance `nice -n -5` or a lock that keeps other work away.
"""

import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import memory_limit
import peers_report

BENCH = pathlib.Path(__file__).resolve().parent
PROGRAMS = BENCH.parent / "build" / "bench" / "peers"

# name: (program, variant)
ENGINES = {
    "limits": ("limits", ""),
    "emdb": ("emdb", ""),
    "emdb-ordered": ("emdb", "ordered"),
    "emdb-encrypted": ("emdb_encrypted", "encrypted"),
    "kyotocabinet": ("kyotocabinet", ""),
    "tkrzw": ("tkrzw", ""),
    "lmdb": ("lmdb", ""),
    "lmdb-writemap": ("lmdb", "writemap"),
    "leveldb": ("leveldb", ""),
    "rocksdb": ("rocksdb", ""),
    "sqlite": ("sqlite", ""),
    "wiredtiger": ("wiredtiger", ""),
    "redb": ("rust", "redb"),
    "sled": ("rust", "sled"),
    "fjall": ("rust", "fjall"),
    "emdb-rust": ("rust", "emdb"),
}
WORKLOADS = ("table", "group", "ycsb", "mixed", "sizes", "limited")


def available(engines):
    present = []
    for name in engines:
        if name not in ENGINES:
            sys.exit(f"run_peers.py: no store is called {name}; there are {', '.join(ENGINES)}")
        if (PROGRAMS / ENGINES[name][0]).exists():
            present.append(name)
        else:
            print(f"{name}: skipped, its program was not built")
    return present


def run_one(name, workload, options, more=(), enter=None):
    program, variant = ENGINES[name]
    command = [*shlex.split(options.prefix), str(PROGRAMS / program), "--workload", workload, "--records", str(options.records),
               "--dir", options.dir]
    if variant:
        command += ["--variant", variant]
    command += more
    started = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          preexec_fn=enter)
    seconds = time.monotonic() - started
    if done.returncode != 0:
        print(f"{name}: {workload} failed:\n{done.stderr[-2000:]}")
        return None
    sample = json.loads(done.stdout)
    sample["engine"] = name
    print(f"{name}: {workload}, {seconds:.1f} s, others took {float(sample['load_of_others']) * 100:.0f} %", flush=True)
    return sample


def measure(options):
    engines = available(options.engines.split(",") if options.engines else list(ENGINES))
    samples = []
    for workload in options.workload.split(","):
        for round_number in range(options.rounds):
            for name in engines if round_number % 2 == 0 else reversed(engines):
                if workload != "table" and (name == "limits" or ENGINES[name][0] == "rust"):
                    continue  # they have that one only
                if workload == "limited":
                    sample = memory_limit.run(name, options, run_one)
                else:
                    sample = run_one(name, workload, options)
                if sample is None:
                    continue
                samples.append(sample)
                if options.samples:
                    with open(options.samples, "a", encoding="utf-8") as file:
                        file.write(json.dumps(sample) + "\n")
    return samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="table", help="of " + ", ".join(WORKLOADS))
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", default="")
    parser.add_argument("--dir", default=os.environ.get("TMPDIR", "."))
    parser.add_argument("--prefix", default="")
    parser.add_argument("--samples", default="")
    parser.add_argument("--report", default="")
    parser.add_argument("--table", default="")
    parser.add_argument("--summary", default="")
    parser.add_argument("--report-only", action="store_true")
    options = parser.parse_args()
    samples = [] if options.report_only else measure(options)
    if options.samples and os.path.exists(options.samples):
        with open(options.samples, encoding="utf-8") as file:
            samples = [json.loads(line) for line in file]
    if not samples:
        sys.exit("run_peers.py: nothing was measured")
    report = peers_report.summarise(samples)
    text = peers_report.markdown(report)
    print("\n" + text)
    if options.table:
        pathlib.Path(options.table).write_text(text, encoding="utf-8")
    if options.summary:
        pathlib.Path(options.summary).write_text(peers_report.summary(report), encoding="utf-8")
    if options.report:
        pathlib.Path(options.report).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
