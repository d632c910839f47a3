#!/usr/bin/env python3
"""Every program in examples/ builds as it stands, ends well and leaves nothing behind; the guide knows it.

To be quick, each is compiled without optimization, and its implementation only once for all examples that have the same features
on. The compiler is $CXX, or g++. examples/cli is tested by cli_*_test.py.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
COMPILER = os.environ.get("CXX", "g++").split()
COMPILE = [*COMPILER, "-std=c++20", "-O0", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}", "-pthread"]
SECONDS_MAX = 220

FEATURE = re.compile(r"^#define (EMDB_[A-Z_]+) 1\b", re.MULTILINE)
IMPLEMENTATION = re.compile(r"^#define EMDB_IMPLEMENTATION$", re.MULTILINE)
# What an example is called with, and flags that it says it is built with.
ARGUMENTS = {"index_files": [str(EXAMPLES), "--query", "emdb"]}
FLAGS = {"embedding": ["-fno-exceptions", "-fno-rtti"]}


def find_examples():
    """{name: its sources}, as the Makefile finds them."""
    found = {}
    for source in sorted([*EXAMPLES.glob("*.cpp"), *EXAMPLES.glob("*/*.cpp")]):
        name = source.stem if source.parent == EXAMPLES else source.parent.name
        if name != "cli":
            found.setdefault(name, []).append(source)
    return found


SOURCES = find_examples()


def has_asio():
    test = "#if !__has_include(<asio.hpp>)\n#error\n#endif\n"
    return subprocess.run([*COMPILER, "-x", "c++", "-fsyntax-only", "-"], input=test, text=True,
                          stderr=subprocess.DEVNULL, check=False).returncode == 0


class Builds:
    """Compiles everything at once, and hands out programs."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2)
        self.implementations = {}  # features -> the future of an object file
        names = [name for name in SOURCES if name != "async_asio" or has_asio()]
        jobs = [(name, *self.prepare(name)) for name in names]  # implementations come first: they take longest
        self.programs = {name: self.pool.submit(self.build, name, *rest) for name, *rest in jobs}

    def prepare(self, name):
        texts = [source.read_text(encoding="utf-8") for source in SOURCES[name]]
        if sum(len(IMPLEMENTATION.findall(text)) for text in texts) != 1:
            raise AssertionError(f"{name} does not define EMDB_IMPLEMENTATION once")
        if name in FLAGS:
            return [], None  # with an implementation of its own
        features = tuple(sorted(set(FEATURE.findall("\n".join(texts)))))
        if features not in self.implementations:
            self.implementations[features] = self.pool.submit(self.implement, features)
        return ["-DEMDB_IMPLEMENTATION_INCLUDED"], self.implementations[features]

    def implement(self, features):
        target = self.folder / ("_".join(("implementation", *features)) + ".o")
        run([*COMPILE, *(f"-D{feature}=1" for feature in features), "-c", ROOT / "tests/implementation.cpp", "-o", target])
        return target

    def build(self, name, flags, implementation):
        objects = []
        for source in SOURCES[name]:
            objects.append(self.folder / f"{name}_{source.stem}.o")
            run([*COMPILE, *FLAGS.get(name, []), *flags, "-c", source, "-o", objects[-1]])
        if implementation is not None:
            objects.append(implementation.result())
        program = self.folder / name
        run([*COMPILE, *objects, "-o", program])
        return program


def run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS_MAX, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def setUpModule():
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    Examples.builds = Builds(folder.name)
    unittest.addModuleCleanup(Examples.builds.pool.shutdown)


class Examples(unittest.TestCase):
    builds = None

    def check(self, name):
        if name not in self.builds.programs:
            self.skipTest("Asio is not here (Debian: libasio-dev)")
        program = self.builds.programs[name].result()
        with tempfile.TemporaryDirectory() as folder:
            work, temporary = pathlib.Path(folder, "work"), pathlib.Path(folder, "temporary")
            work.mkdir()
            temporary.mkdir()
            output = run([program, *ARGUMENTS.get(name, [])], cwd=work, stdin=subprocess.DEVNULL,
                         env={**os.environ, "TMPDIR": str(temporary), "TMP": str(temporary)})
            self.assertTrue(output.strip(), "it says nothing")
            self.assertEqual([*work.iterdir(), *temporary.iterdir()], [], "it left something behind")

    def test_there_are_the_examples_that_the_guide_promises(self):
        for name in ("basic", "bulk_load", "transactions", "namespaces", "range_scan", "ttl_cache", "nested", "zero_copy", "group_commit",
                     "encryption", "async_basics", "streaming", "async_asio", "embedding", "session_store", "event_log"):
            self.assertIn(name, SOURCES)

    def test_every_example_is_in_the_guide(self):
        guide = (EXAMPLES / "README.md").read_text(encoding="utf-8")
        for name, sources in SOURCES.items():
            target = f"({name}.cpp)" if (EXAMPLES / f"{name}.cpp") in sources else f"({name})"
            self.assertIn(target, guide)

    def test_every_example_has_a_target(self):
        targets = [f"build/examples/{name}" for name in SOURCES]
        plan = run(["make", "-n", "--no-print-directory", "-C", ROOT, *targets])
        for target in targets:
            self.assertTrue(f"-o {target}\n" in plan + "\n" or (ROOT / target).exists(), target)


for example in SOURCES:
    setattr(Examples, f"test_{example}_works", lambda self, name=example: self.check(name))


if __name__ == "__main__":
    unittest.main()
