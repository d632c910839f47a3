"""emdb.hpp with every combination of feature macros (Features) and of compiler, standard and flags (Warnings).

Not part of `make test`, which tries a few of them: `make features`, `make warnings`.
"""

import itertools
import unittest

from compiling import (COMPILERS, FEATURES, IMPLEMENTATION, STANDARDS, USER, WARNINGS,
                       WithCompiler, defines, every_feature, for_each_compiler, has_liburing)


class Features(WithCompiler):
    """With the first compiler: declarations and implementation."""

    compiler = next(iter(COMPILERS.values()))


def combination_test(features):
    def test(self):
        for source in (USER, IMPLEMENTATION):
            self.assert_compiles(source, *WARNINGS, *defines(features))

    return test


choices = [(0, 1)] * len(FEATURES)
if not has_liburing(Features.compiler):
    choices[list(FEATURES).index("EMDB_IO_URING")] = (0,)
    Features.test_io_uring = unittest.skip("there is no liburing here")(lambda self: None)
for values in itertools.product(*choices):
    chosen = dict(zip(FEATURES, values))
    on = [name[len("EMDB_"):].lower() for name, value in chosen.items() if value]
    setattr(Features, "test_" + ("_and_".join(on) or "none"), combination_test(chosen))


class Warnings:
    """With each compiler."""


def warnings_test(source, standard, flags):
    return lambda self: self.assert_compiles(source, *WARNINGS, *flags, standard=standard)


VARIANTS = {
    "plain": [],
    "ndebug": ["-DNDEBUG"],
    "no_exceptions_no_rtti": ["-fno-exceptions", "-fno-rtti"],
    "native": ["-march=native"],  # intrinsics that need no dispatch
}
for half, file in (("declarations", USER), ("implementation", IMPLEMENTATION)):
    for std in STANDARDS:
        for variant, options in VARIANTS.items():
            setattr(Warnings, f"test_{half}_{std.replace('+', 'p')}_{variant}", warnings_test(file, std, options))


def optimised_test(value):
    # The optimiser's own warnings: uninitialised, out of bounds, always true.
    return lambda self: self.compile(IMPLEMENTATION, "-O2", *WARNINGS, *defines(every_feature(value, self.compiler)))


for each in (0, 1):
    setattr(Warnings, f"test_optimised_with_all_features_{each}", optimised_test(each))

for_each_compiler(Warnings, globals())
del Warnings  # only a mixin


if __name__ == "__main__":
    unittest.main()
