#!/usr/bin/env python3
"""The file format is what its specification says: examples/read_journal.py, written from that, and the engine's own export agree on
every file, whole, cut off or damaged.

EMDB_SEED=n repeats a run. The compiler is $CXX, or g++.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from command_line import CommandLine, DAMAGED, DONE, ROOT, SECONDS_MAX, setUpModule as make_command_line  # noqa: E402

READER = ROOT / "examples/read_journal.py"
SEED = int(os.environ.get("EMDB_SEED", random.randrange(2**32)))
HEADER_SIZE, SLOT_SIZE = 8192, 4096


def setUpModule():
    make_command_line()
    print(f"EMDB_SEED={SEED}", file=sys.stderr)
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    Format.WRITER = build_writer(pathlib.Path(folder.name))


def build_writer(folder):
    compiler = [*os.environ.get("CXX", "g++").split(), "-std=c++20", "-O0", f"-I{ROOT}", "-pthread"]
    implementation = ROOT / "build/tests/implementation.o"
    if not implementation.exists() or implementation.stat().st_mtime < (ROOT / "emdb.hpp").stat().st_mtime:
        implementation = ROOT / "tests/implementation.cpp"
    subprocess.run([*compiler, ROOT / "tests/format/history.cpp", implementation, "-o", folder / "history"], check=True)
    return folder / "history"


def parsed(lines):
    """The lines as tuples that can be compared."""
    return [tuple(sorted(json.loads(line).items())) for line in lines.splitlines()]


class Format(CommandLine):
    WRITER = None

    def setUp(self):
        super().setUp()
        self.random = random.Random(f"{SEED} {self.id()}")

    def write(self, name, steps, *how):
        """A database as the engine leaves it; returns its bytes."""
        subprocess.run([self.WRITER, self.path(name), str(self.random.randrange(2**60)), str(steps), *how], check=True, timeout=SECONDS_MAX)
        return self.path(name).read_bytes()

    def read(self, name, *options):
        """(status, stdout, stderr) of the reader."""
        done = subprocess.run([sys.executable, READER, self.path(name), *options], capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
        return done.returncode, done.stdout, done.stderr

    def compare(self, data):
        """Both read the same from these bytes, or both find them damaged. Returns the reader's answer."""
        self.path("copy.emdb").write_bytes(data)
        status, output, errors = self.read("copy.emdb")
        records = parsed(output)
        self.assertEqual(self.path("copy.emdb").read_bytes() == data, True, "the reader has changed the file")
        found, expected, _ = self.run_emdb("export", "copy.emdb", "--format", "json")
        for beside in self.folder.glob("copy.emdb*"):
            beside.unlink()
        self.assertEqual(status, found, errors)
        if status == DONE:
            difference = set(records) ^ set(parsed(expected.decode()))
            self.assertFalse(difference, f"{len(difference)} records differ, such as {sorted(map(str, difference))[:1]}"[:300])
        return status, records, errors

    def test_databases_with_everything_in_them(self):
        for number in range(4):
            with self.subTest(number=number):
                data = self.write(f"{number}.emdb", 300)
                status, records, errors = self.compare(data)
                self.assertEqual((status, errors), (DONE, ""))
                self.assertGreater(len(records), 3)
                kinds = {line.split()[1] for line in self.read(f"{number}.emdb", "--frames")[1].splitlines()}
                self.assertLessEqual({"put", "remove", "namespace"}, kinds)

    def test_what_a_killed_process_leaves(self):
        data = self.write("a.emdb", 200, "kill")
        status, _, errors = self.compare(data)
        self.assertEqual((status, errors), (DONE, ""), "free space is no torn tail")

    def test_files_cut_off_anywhere(self):
        data = self.write("a.emdb", 60)
        for size in [1, 8, 4096, 8191, 8192, 8193, *(self.random.randrange(HEADER_SIZE, len(data)) for _ in range(20))]:
            with self.subTest(size=size):
                status = self.compare(data[:size])[0]
                self.assertEqual(status, DONE if size >= HEADER_SIZE else DAMAGED)

    def test_a_transaction_that_is_cut_off_is_not_there_at_all(self):
        data = self.write("a.emdb", 30, "kill").rstrip(b"\0")
        status, whole, _ = self.compare(data)
        self.assertEqual(status, DONE)
        status, cut, errors = self.compare(data[:-1])
        self.assertEqual(status, DONE)
        self.assertIn("torn tail", errors)
        self.assertNotEqual(cut, whole)

    def test_a_bit_changed_anywhere(self):
        data = self.write("a.emdb", 60)
        verdicts = set()
        for _ in range(30):
            place = self.random.randrange(HEADER_SIZE, len(data))
            changed = bytearray(data)
            changed[place] ^= 1 << self.random.randrange(8)
            with self.subTest(place=place):
                verdicts.add(self.compare(bytes(changed))[0])
        self.assertIn(DAMAGED, verdicts)

    def test_marks_decide_whether_a_damaged_place_was_torn(self):
        data = self.write("a.emdb", 30, "kill")
        end = len(data.rstrip(b"\0"))
        changed = bytearray(data)
        changed[end - 1] ^= 1  # of the transaction that was not flushed
        self.assertEqual(self.compare(bytes(changed))[0], DONE)
        changed[HEADER_SIZE + 4] ^= 1  # of the first frame, which was
        self.assertEqual(self.compare(bytes(changed))[0], DAMAGED)

    def test_either_slot_of_the_header_is_enough(self):
        data = self.write("a.emdb", 30)
        _, whole, _ = self.compare(data)
        for slot in (0, SLOT_SIZE):
            for place in (0, 8, 32, 40, 60, 4092, self.random.randrange(SLOT_SIZE)):
                changed = bytearray(data)
                changed[slot + place] ^= 0xFF
                with self.subTest(slot=slot, place=place):
                    status, records, _ = self.compare(bytes(changed))
                    self.assertEqual((status, records), (DONE, whole))
            cut = bytearray(data)
            cut[slot:slot + SLOT_SIZE] = bytes(SLOT_SIZE)
            self.assertEqual(self.compare(bytes(cut))[:2], (DONE, whole))
        changed[10], changed[SLOT_SIZE + 10] = 1, 1
        self.assertEqual(self.compare(bytes(changed))[0], DAMAGED)

    def test_files_of_earlier_versions(self):
        for name in ("plain", "checkpoint", "unclean", "torn"):
            with self.subTest(name=name):
                status, records, errors = self.compare((ROOT / f"tests/golden/{name}.emdb").read_bytes())
                self.assertEqual(status, DONE)
                self.assertTrue(records)
                self.assertEqual("torn tail" in errors, name == "torn")

    def test_what_is_no_database_and_what_is_encrypted_is_refused(self):
        self.assertEqual(self.compare(b"text " * 3000)[0], DAMAGED)
        self.path("key").write_bytes(bytes(32))
        self.emdb("put", "e.emdb", "k", "v", "--key-file", "key")
        self.assertIn("encrypted", self.read("e.emdb")[2])

    def test_expiry_is_measured_against_the_moment_asked_for(self):
        self.emdb("put", "a.emdb", "k", "v", "--ttl", "1h")
        line = self.read("a.emdb")[1]
        expiry = json.loads(line)["expires_at"]
        self.assertEqual(self.read("a.emdb", "--now", str(expiry - 1)), (0, line, ""))
        self.assertEqual(self.read("a.emdb", "--now", str(expiry)), (0, "", ""))


if __name__ == "__main__":
    unittest.main()
