#!/usr/bin/env python3
"""Databases written on each platform open on all others, with the same contents, and can be written on there.

    exchange_check.py NAME=COMMAND...

COMMAND is the program made of exchange.cpp for that platform, with what runs it in front; empty: that platform is skipped.
"""

import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

SECONDS_MAX = 120
PLATFORMS = {}


class Exchange(unittest.TestCase):
    def run_exchange(self, platform, what, folder):
        done = subprocess.run([*shlex.split(PLATFORMS[platform]), what, folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=SECONDS_MAX, check=False)
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1:]), (0, ["done"]), f"{platform} {what}:\n{done.stdout}")


def check_of(writer):
    def check(self):
        with tempfile.TemporaryDirectory() as scratch:
            written = pathlib.Path(scratch) / "written"
            written.mkdir()
            self.run_exchange(writer, "write", str(written))
            for reader in PLATFORMS:
                with self.subTest(reader=reader):
                    copy = pathlib.Path(scratch) / reader
                    shutil.copytree(written, copy)
                    self.run_exchange(reader, "read", str(copy))

    return check


def main():
    commands = dict(argument.split("=", 1) for argument in sys.argv[1:])
    PLATFORMS.update((name, command) for name, command in commands.items() if command)
    for name in commands:
        check = check_of(name) if name in PLATFORMS else unittest.skip("it can't be built here")(lambda self: None)
        check.__doc__ = f"what {name} has written is read by {', '.join(PLATFORMS)}"
        setattr(Exchange, f"test_written_by_{name}", check)
    unittest.main(argv=sys.argv[:1])


if __name__ == "__main__":
    main()
