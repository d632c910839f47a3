#!/usr/bin/env python3
"""Small file systems of their own kind each, in a file, filled up by full_disk.cpp. Mounted where nobody else sees it: the mount goes
with the process, whatever becomes of that. Takes root, loop devices and the file system's tools; skipped with a word otherwise."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

PROGRAM = (pathlib.Path(os.environ.get("EMDB_PROGRAMS", "build/faults")) / "full_disk").resolve()
SECONDS_MAX = 300
# The least that each takes.
MEGABYTES = {"ext4": 48, "xfs": 320, "btrfs": 128}
QUIET = {"ext4": ["-q", "-F"], "xfs": ["-q"], "btrfs": ["-q"]}
NO_MOUNT = 97


class FullDisk(unittest.TestCase):
    def fill(self, kind):
        make = shutil.which(f"mkfs.{kind}", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if make is None:
            self.skipTest(f"there is no mkfs.{kind}")
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            self.skipTest("mounting takes root and unshare")
        with tempfile.TemporaryDirectory() as folder:
            image, disk = pathlib.Path(folder, "image"), pathlib.Path(folder, "disk")
            disk.mkdir()
            with open(image, "wb") as file:
                file.truncate(MEGABYTES[kind] << 20)
            subprocess.run([make, *QUIET[kind], str(image)], check=True, stdout=subprocess.DEVNULL, timeout=SECONDS_MAX)
            script = f'mount -t {kind} -o loop "$1" "$2" || exit {NO_MOUNT}; exec "$3"'
            done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", str(image), str(disk), str(PROGRAM)],
                                  env={**os.environ, "EMDB_FULL_DISK": str(disk)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, errors="replace", timeout=SECONDS_MAX, check=False)
        if done.returncode == NO_MOUNT or "unshare failed" in done.stdout:
            self.skipTest(f"{kind} can't be mounted here: {done.stdout.strip()[-200:]}")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, r"test cases: +1 \| +1 passed")

    def test_ext4_filled_up(self):
        self.fill("ext4")

    def test_xfs_filled_up(self):
        self.fill("xfs")

    def test_btrfs_filled_up(self):
        self.fill("btrfs")


if __name__ == "__main__":
    unittest.main()
