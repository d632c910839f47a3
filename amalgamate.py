#!/usr/bin/env python3
"""Stitches src/ into the one header that ships, emdb.hpp.

src/emdb.hpp is the spine. Each `#include "dir/file.hpp"` (relative to src/) is replaced by that file where it is
first included and disappears everywhere else; `#pragma once` disappears too; every other line is copied verbatim.
The result depends on nothing but the sources. What stitching would silently break is refused, with the remedy.

    amalgamate.py                 write emdb.hpp (only if it changes)
    amalgamate.py --check         exit 1 if emdb.hpp is out of step with src/
    amalgamate.py --line-map      which lines of emdb.hpp come from where
    amalgamate.py --line-map 812  where line 812 comes from
"""

import argparse
import hashlib
import pathlib
import re
import sys

SPINE = "emdb.hpp"
GUIDE = "README.md"
VERSION_FILE = "base/config.hpp"
LINES_MAX = 700
COLUMNS_MAX = 140

# Which layers a file of each layer may include, besides its own.
LAYERS = {
    "base": "",
    "checks": "base",
    "crypto": "base",
    "os": "base",
    "index": "base checks crypto os",
    "journal": "base checks crypto os",
    "engine": "base checks crypto os index journal",
    "api": "base checks crypto os index journal engine",
    "async": "base checks crypto os index journal engine api",
}

# What the declarations may cost every file that includes emdb.hpp.
DECLARATION_HEADERS = set("""
    string string_view span optional vector memory chrono cstdint cstddef type_traits utility new stdexcept iterator
    array compare concepts coroutine limits initializer_list cstring tuple""".split())

# ... and what they may cost besides in those with EMDB_ASYNC.
ASYNC_HEADERS = {"atomic", "exception", "functional"}

TOKENS = re.compile(r"""
    R"\(.*?\)" | "(?:\\.|[^"\\\n])*" | \b\d(?:'?\w)* | '(?:\\.|[^'\\\n])*'  # literals, kept; 1'000 is not a character
    | //[^\n]* | /\*.*?\*/                                                 # comments""", re.DOTALL | re.VERBOSE)
DIRECTIVE = re.compile(r"\s*#\s*(\w+)\s*(.*?)\s*$")
ANONYMOUS_NAMESPACE = re.compile(r"\bnamespace\s*(?:\[\[.*?\]\]\s*)?\{")


def without_comments(text):
    """The text with comments blanked and literals kept, line numbers unchanged."""

    def blank(match):
        found = match.group()
        return "\n" * found.count("\n") if found.startswith("/") else found

    return TOKENS.sub(blank, text)


class Source:
    """One file under src/: its lines, its preprocessor directives, and its macros."""

    def __init__(self, name, text):
        self.name = name
        self.text = text
        self.lines = text.split("\n")[:-1]
        self.code = without_comments(text)
        self.directives = {}  # line number -> (word, argument)
        for number, line in enumerate(self.code.split("\n"), 1):
            match = DIRECTIVE.match(line)
            if match:
                self.directives[number] = match.groups()

    @property
    def layer(self):
        return self.name.split("/")[0] if "/" in self.name else None

    def macros(self, word):
        """{macro: line} for `#define` or `#undef`."""
        return {re.match(r"\w*", argument).group(): number
                for number, (found, argument) in self.directives.items() if found == word}


class Amalgamation:
    def __init__(self, root):
        self.src = pathlib.Path(root) / "src"
        self.errors = []
        self.sources = {}
        self.product = []        # (text, source name or None, line number)
        self.conditions_of = {}  # source name -> the #if conditions around the place where it was inlined
        self.conditions = []     # those around the place being stitched, outermost first
        self.stack = []          # the files being inlined, outermost first
        self.read_sources()
        if SPINE in self.sources:
            self.inline(SPINE)
            self.check_reached()
            self.check_macros()
        else:
            self.error(SPINE, 0, "the spine is missing", "create it: it includes every other file")

    def error(self, name, number, what, remedy):
        self.errors.append(f"src/{name}:{number}: {what}; {remedy}")

    # --- reading and checking single files

    def read_sources(self):
        for path in sorted(self.src.rglob("*")):
            name = path.relative_to(self.src).as_posix()
            if not path.is_file() or path.name == GUIDE or any(part.startswith(".") for part in path.relative_to(self.src).parts):
                continue
            data = path.read_bytes()
            text = data.decode("ascii", "replace")
            self.sources[name] = Source(name, text.replace("\r", ""))
            self.check_text(name, data, text)
            self.check_file(self.sources[name])

    def check_text(self, name, data, text):
        for number, line in enumerate(text.split("\n"), 1):
            if "\ufffd" in line:
                self.error(name, number, "a character outside ASCII", "write it in ASCII or as an escape")
            if "\t" in line:
                self.error(name, number, "a tab", "indent with spaces")
            if "\r" in line:
                self.error(name, number, "a carriage return", "end lines with LF alone")
            if len(line) > COLUMNS_MAX:
                self.error(name, number, f"{len(line)} columns", f"break the line, {COLUMNS_MAX} is the most")
        if data and not data.endswith(b"\n"):
            self.error(name, text.count("\n") + 1, "no newline at the end", "add it, the next file would be glued on")
        if text.count("\n") > LINES_MAX:
            self.error(name, LINES_MAX + 1, f"{text.count(chr(10))} lines", f"split the file, {LINES_MAX} is the most")

    def check_file(self, source):
        once = [number for number, (word, argument) in source.directives.items() if (word, argument) == ("pragma", "once")]
        if source.name == SPINE:
            for number in once:
                self.error(SPINE, number, "`#pragma once` in the spine",
                           "delete it: the spine is included twice on purpose and guards its halves itself")
        elif source.layer not in LAYERS:
            self.error(source.name, 1, "not in a layer", "move it into one of src/" + ", src/".join(LAYERS))
        elif not once:
            self.error(source.name, 1, "no `#pragma once`", "add it: the file is inlined once, and must behave so in src/ too")
        for match in ANONYMOUS_NAMESPACE.finditer(source.code):
            self.error(source.name, source.code.count("\n", 0, match.start()) + 1, "an anonymous namespace",
                       "use emdb::detail and `inline`: stitched into one header, anonymous namespaces merge")

    # --- stitching

    def inline(self, name):
        source = self.sources[name]
        self.stack.append(name)
        self.conditions_of[name] = list(self.conditions)
        opened = []  # lines of the #ifs of this file
        for number, line in enumerate(source.lines, 1):
            word, argument = source.directives.get(number, ("", ""))
            if word == "include":
                if not self.include(source, number, argument):
                    continue
            elif word == "pragma" and argument == "once":
                continue
            elif word in ("if", "ifdef", "ifndef"):
                opened.append(number)
                self.conditions.append(f"#{word} {argument}")
            elif word in ("else", "elif") and opened:
                self.conditions[-1] += f" #{word} {argument}"
            elif word == "endif" and opened:
                opened.pop()
                self.conditions.pop()
            self.product.append((line, name, number))
        for number in opened:
            self.conditions.pop()
            self.error(name, number, "this condition is not closed in the file", "add its #endif")
        self.stack.pop()

    def include(self, source, number, argument):
        """Handles one include; True if its line stays."""
        match = re.fullmatch(r'<([^>]+)>|"([^"]+)"', argument)
        if not match:
            self.error(source.name, number, f"`#include {argument}` is neither <...> nor \"...\"", "name the file")
            return True
        system, name = match.groups()
        if system:
            allowed = DECLARATION_HEADERS | (ASYNC_HEADERS if "#if EMDB_ASYNC" in self.conditions else set())
            if system not in allowed and not self.in_implementation():
                self.error(source.name, number, f"<{system}> in the declarations half", "every user's compiler would pay for "
                           "it: move what needs it into the implementation half, or declare it forward")
            return True
        if name not in self.sources:
            self.error(source.name, number, f'"{name}" is not a file of src/', 'create it, or write the path from src/: "layer/file.hpp"')
            return False
        layer = name.split("/")[0]
        if name in self.stack:
            cycle = self.stack[self.stack.index(name):] + [name]
            self.error(source.name, number, "include cycle: " + " -> ".join(cycle),
                       "move what both need into a file below both")
            return False
        if source.layer in LAYERS and layer in LAYERS and layer not in [source.layer] + LAYERS[source.layer].split():
            self.error(source.name, number, f'{source.layer} includes upwards: "{name}"',
                       f"{source.layer} may use {LAYERS[source.layer] or 'nothing but itself'}: move the code to the layer "
                       "that needs it, or what is shared below both")
        if name not in self.conditions_of:
            self.product.append((f"// src/{name}", None, 0))
            self.inline(name)
            return False
        # Inlined before: that copy must be seen wherever this one is wanted. The halves' own guards don't count, since
        # the declarations always come first.
        missing = [c for c in self.conditions_of[name][1:] if c not in self.conditions]
        if missing:
            self.error(source.name, number, f'"{name}" was inlined earlier under `{missing[-1]}`, which does not hold here',
                       "include it in the spine before that, outside the condition")
        return False

    def in_implementation(self):
        return bool(self.conditions) and "EMDB_IMPLEMENTATION" in self.conditions[0]

    # --- checking the whole

    def check_reached(self):
        for name in self.sources:
            if name not in self.conditions_of:
                self.error(name, 1, "an orphan: nothing that the spine reaches includes it",
                           f"include it from src/{SPINE}, or delete it")

    def check_macros(self):
        undefined_last = self.sources[SPINE].macros("undef")
        for source in self.sources.values():
            undefined = source.macros("undef")
            for macro, number in source.macros("define").items():
                if macro.startswith("EMDB_") or macro in undefined_last or undefined.get(macro, 0) > number:
                    continue
                self.error(source.name, number, f"the macro {macro} would leak into the user's program",
                           "call it EMDB_..., or #undef it at the end of this file or of the spine")

    # --- results

    def banner(self):
        digest = hashlib.sha256()
        for name, source in sorted(self.sources.items()):
            digest.update(f"{name}\0{len(source.text)}\0{source.text}".encode())
        config = self.sources.get(VERSION_FILE, Source(VERSION_FILE, ""))
        numbers = dict(re.findall(r"#\s*define\s+EMDB_VERSION_(\w+)\s+(\d+)", config.code))
        try:
            version = ".".join(numbers[part] for part in ("MAJOR", "MINOR", "PATCH"))
        except KeyError as missing:
            self.error(VERSION_FILE, 1, f"EMDB_VERSION_{missing.args[0]} is not defined as a number", "define it")
            return []
        return [f"// emdb {version} - an embedded key-value store for C++20 in one header.",
                "// SPDX-License-Identifier: Apache-2.0",
                f"// Generated by amalgamate.py from src/ ({digest.hexdigest()[:16]}). Edit there, not here.",
                ""]

    def lines(self):
        """[(text, source name or None, line number)] of the whole product."""
        return [(line, None, 0) for line in self.banner()] + self.product


def line_map(lines):
    """Rows of text, one for each run of lines that come from consecutive lines of one file."""
    runs = []  # [first product line, last, source, first source line]
    for product_line, (_, name, number) in enumerate(lines, 1):
        last = runs[-1] if runs else None
        follows = last and last[2] == name and (name is None or number == last[3] + product_line - last[0])
        if follows:
            last[1] = product_line
        else:
            runs.append([product_line, product_line, name, number])
    for first, last, name, number in runs:
        where = f"src/{name}:{number}-{number + last - first}" if name else "written by amalgamate.py"
        yield f"{first}-{last} {where}"


def main():
    parser = argparse.ArgumentParser(description="Stitches src/ into emdb.hpp.")
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parent, help="the directory that holds src/")
    parser.add_argument("--output", metavar="FILE", help="write (or check) this file instead of emdb.hpp, or of the terminal")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the header is out of step with src/")
    parser.add_argument("--line-map", metavar="N", nargs="?", type=int, const=0, help="where line N, or each line, comes from")
    options = parser.parse_args()

    amalgamation = Amalgamation(options.root)
    lines = amalgamation.lines()
    if amalgamation.errors:
        sys.exit("\n".join(amalgamation.errors))

    if options.line_map is not None:
        if not 0 <= options.line_map <= len(lines):
            sys.exit(f"emdb.hpp has no line {options.line_map}: its lines are 1 to {len(lines)}")
        if options.line_map:
            _, name, number = lines[options.line_map - 1]
            rows = [f"src/{name}:{number}" if name else "written by amalgamate.py"]
        else:
            rows = line_map(lines)
        result = "".join(row + "\n" for row in rows)
        if options.output:
            pathlib.Path(options.output).write_bytes(result.encode())
        else:
            sys.stdout.write(result)
        return

    output = pathlib.Path(options.output) if options.output else pathlib.Path(options.root) / "emdb.hpp"
    product = "".join(text + "\n" for text, _, _ in lines).encode()
    current = output.read_bytes() if output.is_file() else None
    if options.check and current != product:
        sys.exit(f"{output.name} {'does not exist' if current is None else 'is out of step with src/'}: "
                 "run `make header` and commit the result")
    if not options.check and current != product:
        output.write_bytes(product)


if __name__ == "__main__":
    main()
