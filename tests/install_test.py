#!/usr/bin/env python3
"""Installing, and finding what was installed: by pkg-config, by CMake as the README shows it. And `make docs`.

The compiler is $CXX, or g++. What is not here (pkg-config, CMake, Doxygen) is skipped.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMPILER = os.environ.get("CXX", "g++")
SECONDS_MAX = 200


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS_MAX, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


class Installed(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.prefix = self.folder / "prefix"

    def make(self, *words):
        return run("make", "--no-print-directory", "-C", ROOT, *words)

    def install(self):
        self.make("install", f"PREFIX={self.prefix}")
        return {**os.environ, "PKG_CONFIG_PATH": str(self.prefix / "share/pkgconfig")}

    def files(self, folder):
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def test_two_files_under_destdir_and_prefix_and_nothing_after_uninstalling(self):
        words = [f"DESTDIR={self.folder / 'stage'}", "PREFIX=/opt/emdb"]
        self.make("install", *words)
        stage = self.folder / "stage/opt/emdb"
        self.assertEqual(self.files(self.folder), ["stage/opt/emdb/include/emdb.hpp", "stage/opt/emdb/share/pkgconfig/emdb.pc"])
        self.assertEqual((stage / "include/emdb.hpp").read_bytes(), (ROOT / "emdb.hpp").read_bytes())
        self.assertIn("prefix=/opt/emdb\n", (stage / "share/pkgconfig/emdb.pc").read_text(), "it says where it will be, not where it is staged")
        self.make("uninstall", *words)
        self.assertEqual(self.files(self.folder), [])

    @unittest.skipUnless(shutil.which("pkg-config"), "pkg-config is not here (Debian: pkg-config)")
    def test_pkg_config_finds_it_and_knows_its_version(self):
        environment = self.install()
        version = run("pkg-config", "--modversion", "emdb", env=environment).strip()
        self.assertIn(f'#define EMDB_VERSION_STRING "{version}"\n', (ROOT / "emdb.hpp").read_text())
        flags = run("pkg-config", "--cflags", "--libs", "emdb", env=environment).split()
        test = '#include "emdb.hpp"\nint main() {}\n'
        run(*COMPILER.split(), "-std=c++20", "-fsyntax-only", "-x", "c++", "-", *flags, input=test)

    @unittest.skipUnless(shutil.which("cmake") and shutil.which("pkg-config"), "CMake and pkg-config are not here (Debian: cmake, pkg-config)")
    def test_a_program_of_cmake_with_the_lines_of_the_readme(self):
        environment = self.install()
        lines = blocks("cmake")
        self.assertTrue(lines)
        for number, block in enumerate(lines):
            project = self.folder / f"project {number}"
            (project / "third_party").mkdir(parents=True)
            shutil.copy(ROOT / "emdb.hpp", project / "third_party/emdb.hpp")
            (project / "app.cpp").write_text(next(code for code in blocks("cpp") if "int main(" in code))
            (project / "CMakeLists.txt").write_text(f"cmake_minimum_required(VERSION 3.16)\nproject(app CXX)\nset(CMAKE_CXX_STANDARD 20)\nadd_executable(app app.cpp)\n{block}")
            with self.subTest(block=block):
                run("cmake", "-S", project, "-B", project / "build", f"-DCMAKE_CXX_COMPILER={COMPILER.split()[-1]}", env=environment)
                run("cmake", "--build", project / "build")
                self.assertEqual(run(project / "build/app", cwd=project), "emdb\n")

    @unittest.skipUnless(shutil.which("doxygen"), "Doxygen is not here (Debian: doxygen)")
    def test_the_reference_is_made_without_a_warning(self):
        self.make("docs")
        page = (ROOT / "build/docs/html/classemdb_1_1Keyspace.html").read_text(encoding="utf-8")
        self.assertIn("compare_exchange", page)


if __name__ == "__main__":
    unittest.main()
