#!/usr/bin/env python3
"""The header compiles without a warning for other systems: warnings_check.py COMPILER..., all features but io_uring on."""

import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "header"))
from compiling import FEATURES, IMPLEMENTATION, ROOT, WARNINGS, defines  # noqa: E402


class Warnings(unittest.TestCase):
    pass


def check_of(compiler):
    def check(self):
        features = defines({name: int(name != "EMDB_IO_URING") for name in FEATURES})
        done = subprocess.run([*compiler.split(), "-std=c++20", f"-I{ROOT}", "-fsyntax-only", *WARNINGS, *features, str(IMPLEMENTATION)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    return check


def main():
    for number, compiler in enumerate(sys.argv[1:]):
        check = check_of(compiler)
        check.__doc__ = compiler
        setattr(Warnings, f"test_{number}", check)
    unittest.main(argv=sys.argv[:1])


if __name__ == "__main__":
    main()
