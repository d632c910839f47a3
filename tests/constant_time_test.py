#!/usr/bin/env python3
"""No branch and no address depends on a key, a plaintext or a keystream: tests/crypto/constant_time.cpp under valgrind's memcheck, on
each path that valgrind knows the instructions of (AVX-512 is not among them)."""

import pathlib
import shutil
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "header"))
from compiling import COMPILERS, ROOT, WithCompiler  # noqa: E402

SOURCE = ROOT / "tests" / "crypto" / "constant_time.cpp"
PROBE = "#include <valgrind/memcheck.h>\nint main() { return RUNNING_ON_VALGRIND == 0 ? 3 : 0; }\n"


class ConstantTime(WithCompiler):
    compiler = next(iter(COMPILERS.values()))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls()
        valgrind = shutil.which("valgrind")
        if valgrind is None:
            raise unittest.SkipTest("valgrind is not installed")
        cls.valgrind = [valgrind, "--quiet", "--error-limit=no"]
        probe = cls.new_file("")
        if case.run_command([*cls.compiler, cls.source(PROBE), "-o", probe]).returncode != 0:
            raise unittest.SkipTest("this compiler does not find valgrind's headers")
        if case.run_command([*cls.valgrind, probe]).returncode != 0:
            raise unittest.SkipTest("valgrind can't run what this compiler makes")
        cls.program = cls.new_file("")
        # Optimised: what matters is what users run.
        case.must(cls.command("-O2", "-g", "-Wall", "-Wextra", "-DEMDB_ENCRYPT=1", f"-I{ROOT}/src", f"-I{ROOT}/tests", SOURCE,
                              "-o", cls.program))

    def check(self, path):
        self.must([*self.valgrind, self.program, path])

    def test_portable(self):
        self.check("portable")

    def test_without_special_instructions(self):
        self.check("baseline")

    def test_with_what_valgrind_knows(self):
        self.check("best")


if __name__ == "__main__":
    unittest.main()
