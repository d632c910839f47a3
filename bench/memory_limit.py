"""Runs a program with less memory than it has data, by a control group of version 1 or 2 where one can be made."""


def run(name, options, run_one):
    del options, run_one
    print(f"{name}: limited, skipped, not there yet")
