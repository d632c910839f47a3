"""Runs a program with a quarter of the memory that its data has, in a control group of version 1 or 2 where one can be made."""

import contextlib
import os
import pathlib

RECORD_BYTES = 1024
SHARE = 4


def _make_group(limit):
    """The new group's folder, or None where that is not allowed."""
    name = f"emdb-bench-{os.getpid()}"
    for root, setting in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = pathlib.Path(root) / name
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / setting).write_text(str(limit), encoding="ascii")
            return group
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
    return None


def run(name, options, run_one):
    limit = options.records * RECORD_BYTES // SHARE
    group = _make_group(limit)
    if group is None:
        print(f"{name}: limited, skipped: no control group with a memory limit can be made here")
        return None
    try:
        # The child enters the group itself, before the program is started.
        return run_one(name, "limited", options, ["--memory-limit", str(limit)],
                       enter=lambda: (group / "cgroup.procs").write_text("0", encoding="ascii"))
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()
