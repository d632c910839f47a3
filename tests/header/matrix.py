"""emdb.hpp with every combination of feature macros (Features) and of compiler, standard and flags (Warnings).

Not part of `make test-long`, which tries a few of them: `make features`, `make warnings`.
"""

import itertools
import unittest

from compiling import (COMPILERS, FEATURES, IMPLEMENTATION, ROOT, STANDARDS, USER, WARNINGS,
                       WithCompiler, defines, every_feature, for_each_compiler, has_liburing)


FEATURES_SOURCE = ROOT / "tests" / "header" / "features.cpp"


class Features_without_ttl(WithCompiler):
    """With the first compiler: the declarations compile, and a program with all that the features give runs."""

    compiler = next(iter(COMPILERS.values()))


class Features_with_ttl(WithCompiler):
    """The other half. Each can be run by itself, at the same time."""

    compiler = Features_without_ttl.compiler


def combination_test(features):
    def test(self):
        self.assert_compiles(USER, *WARNINGS, *defines(features))
        program = self.new_file("")
        libraries = ["-luring"] if features["EMDB_IO_URING"] else []
        self.must(self.command("-pthread", *WARNINGS, *defines(features), FEATURES_SOURCE, *libraries, "-o", program))
        self.assertEqual(self.must([program]), "ok\n")

    return test


choices = [(0, 1)] * len(FEATURES)
if not has_liburing(Features_without_ttl.compiler):
    choices[list(FEATURES).index("EMDB_IO_URING")] = (0,)
    Features_without_ttl.test_io_uring = unittest.skip("there is no liburing here")(lambda self: None)
for values in itertools.product(*choices):
    chosen = dict(zip(FEATURES, values))
    on = [name[len("EMDB_"):].lower() for name, value in chosen.items() if value]
    setattr(Features_with_ttl if chosen["EMDB_TTL"] else Features_without_ttl,
            "test_" + ("_and_".join(on) or "none"), combination_test(chosen))


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


def calls_optimised_test(self):
    # What users' code with every call of a Result in it would be warned of.
    self.compile(ROOT / "tests" / "result_test.cpp", "-O2", "-Wall", "-Wextra", "-Werror")


Warnings.test_optimised_calls_of_results = calls_optimised_test
for each in (0, 1):
    setattr(Warnings, f"test_optimised_with_all_features_{each}", optimised_test(each))

for_each_compiler(Warnings, globals())
del Warnings  # only a mixin


if __name__ == "__main__":
    unittest.main()
