#!/usr/bin/env python3
"""The command line: what goes in, what comes out, how it ends.

Runs build/tests/emdb if make has built it from what is there now, else builds its own. The compiler is $CXX, or g++.
"""

import base64
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ROOT / "examples/cli"
SECONDS_MAX = 60

DONE, ABSENT, USAGE, INPUT, DAMAGED, LOCKED, FAILED, KEY = range(8)


def find_program(folder):
    built = ROOT / "build/tests/emdb"
    sources = [*SOURCES.glob("*.[ch]pp"), ROOT / "emdb.hpp"]
    if built.exists() and built.stat().st_mtime >= max(source.stat().st_mtime for source in sources):
        return built
    program = pathlib.Path(folder) / "emdb"
    compiler = os.environ.get("CXX", "g++").split()
    subprocess.run([*compiler, "-std=c++20", "-O1", "-DEMDB_ENCRYPT=1", f"-I{ROOT}", *SOURCES.glob("*.cpp"), "-pthread", "-o", program], check=True)
    return program


def setUpModule():
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    globals()["PROGRAM"] = find_program(folder.name)


class CommandLine(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_emdb(self, *words, stdin=b""):
        """(status, stdout, stderr)"""
        done = subprocess.run([PROGRAM, *words], input=stdin, capture_output=True, cwd=self.folder, timeout=SECONDS_MAX, check=False)
        return done.returncode, done.stdout, done.stderr.decode(errors="replace")

    def emdb(self, *words, stdin=b""):
        """stdout of a command that must succeed and say nothing else."""
        status, output, errors = self.run_emdb(*words, stdin=stdin)
        self.assertEqual((status, errors), (DONE, ""), words)
        return output

    def fails(self, status, *words, stdin=b"", says=""):
        """Runs a command that must end with the status and a message of one line, and print nothing else; returns the message."""
        found, output, errors = self.run_emdb(*words, stdin=stdin)
        self.assertEqual((found, output), (status, b""), (words, errors))
        self.assertRegex(errors, r"\Aemdb: [^\n]+\n\Z")
        self.assertIn(says, errors)
        return errors

    def lines(self, *words, stdin=b""):
        return [json.loads(line) for line in self.emdb(*words, stdin=stdin).splitlines()]

    def path(self, name):
        return self.folder / name


class Records(CommandLine):
    def test_a_value_comes_back_as_it_was_given(self):
        self.assertEqual(self.emdb("put", "a.emdb", "name", "value"), b"")
        self.assertEqual(self.emdb("get", "a.emdb", "name"), b"value")
        self.assertFalse(self.path("a.emdb.lock").exists())

    def test_values_pass_through_stdin_and_stdout_byte_for_byte(self):
        for value in (b"", b"\0", bytes(range(256)), b"\r\n\n", os.urandom(3_000_000)):
            for words in (["put", "a.emdb", "k"], ["put", "a.emdb", "k", "-"]):
                self.emdb(*words, stdin=value)
                self.assertEqual(self.emdb("get", "a.emdb", "k"), value)

    def test_keys_as_text_hexadecimal_and_base64(self):
        for written, key in (("plain", b"plain"), ("0x00fFab", b"\x00\xff\xab"), ("base64:AP+r", b"\x00\xff\xab"),
                             ("base64:AA==", b"\0"), ("base64:AA", b"\0"), ("text:0x41", b"0x41"), ("text:", b""), ("0x", b""),
                             ("text:text:x", b"text:x"), ("ключ", "ключ".encode()), ("-", b"-")):
            with self.subTest(written=written):
                self.emdb("put", f"{key.hex()}.emdb", written, "v")
                self.assertEqual(self.emdb("scan", f"{key.hex()}.emdb", "--keys", "--format", "hex").decode().strip(), key.hex())
                self.assertEqual(self.emdb("get", f"{key.hex()}.emdb", "0x" + key.hex()), b"v")

    def test_what_is_neither_hexadecimal_nor_base64_is_refused_before_anything_is_done(self):
        for key in ("0x1", "0xzz", "0x123", "base64:A", "base64:AB==", "base64:!!!!", "base64:AAAA=", "base64:AA=A"):
            with self.subTest(key=key):
                self.fails(USAGE, "put", "a.emdb", key, "v", says="text:" + key)
        self.assertFalse(self.path("a.emdb").exists())

    def test_arguments_that_start_with_a_dash_go_behind_two(self):
        self.emdb("put", "a.emdb", "--", "-k", "--v")
        self.assertEqual(self.emdb("get", "a.emdb", "--", "-k"), b"--v")

    def test_an_absent_key_is_status_1(self):
        self.emdb("put", "a.emdb", "k", "v")
        self.fails(ABSENT, "get", "a.emdb", "other", says="'other'")
        self.assertEqual(self.run_emdb("get", "a.emdb", "other", "--quiet"), (ABSENT, b"", ""))
        self.fails(ABSENT, "get", "a.emdb", "k", "-n", "names", says="namespace 'names'")

    def test_del_removes_what_is_there_and_tells_if_something_was_not(self):
        for key in "abc":
            self.emdb("put", "a.emdb", key, "v")
        self.assertEqual(self.run_emdb("del", "a.emdb", "a", "x", "c"), (ABSENT, b"", ""))
        self.assertEqual(self.emdb("scan", "a.emdb", "-k"), b"b\n")
        self.emdb("del", "a.emdb", "b")

    def test_formats_of_get(self):
        self.emdb("put", "a.emdb", "k", "0x00ff")
        self.assertEqual(self.emdb("get", "a.emdb", "k", "--format=hex"), b"00ff\n")
        self.assertEqual(self.lines("get", "a.emdb", "k", "--format", "json"), [{"key": "k", "value_base64": "AP8="}])

    def test_records_live_as_long_as_they_are_told(self):
        for ttl, seconds in (("90", 90), ("90s", 90), ("30m", 1800), ("12h", 43200), ("7d", 604800)):
            before = time.time()
            self.emdb("put", "a.emdb", ttl, "v", "--ttl", ttl)
            (record,) = [r for r in self.lines("export", "a.emdb", "--format", "json") if r["key"] == ttl]
            self.assertAlmostEqual(record["expires_at"] / 1000, before + seconds, delta=30)
        self.emdb("put", "a.emdb", "gone", "v", "--ttl", "0s")
        self.fails(ABSENT, "get", "a.emdb", "gone")
        for ttl in ("", "s", "-5", "1.5h", "5w", "99999999999999999999"):
            self.fails(USAGE, "put", "a.emdb", "k", "v", "--ttl=" + ttl, says="--ttl")

    def test_commands_that_read_create_nothing(self):
        for words in (["get", "a.emdb", "k"], ["del", "a.emdb", "k"], ["scan", "a.emdb"], ["namespaces", "a.emdb"], ["stats", "a.emdb"],
                      ["export", "a.emdb"], ["compact", "a.emdb"], ["backup", "a.emdb", "b.emdb"]):
            self.fails(FAILED, *words, says="there is no database 'a.emdb'")
        self.fails(FAILED, "verify", "a.emdb")
        self.fails(FAILED, "salvage", "a.emdb", "b.emdb")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_namespaces(self):
        self.emdb("put", "a.emdb", "k", "default")
        self.emdb("put", "a.emdb", "k", "named", "--namespace", "names")
        self.emdb("put", "a.emdb", "k", "v", "-n", "0x00ff")
        self.assertEqual(self.emdb("get", "a.emdb", "k"), b"default")
        self.assertEqual(self.emdb("get", "a.emdb", "k", "-n", "names"), b"named")
        self.assertEqual(self.emdb("namespaces", "a.emdb", "-f", "hex"), b"00ff\t1\n6e616d6573\t1\n")
        self.assertEqual(self.lines("namespaces", "a.emdb", "--format", "json"),
                         [{"namespace_base64": "AP8=", "records": 1}, {"namespace": "names", "records": 1}])


class Scans(CommandLine):
    def setUp(self):
        super().setUp()
        self.emdb("import", "a.emdb", stdin=b"".join(b'{"key":"%03d","value":"v%d"}\n' % (i, i) for i in range(300)))

    def keys(self, *options):
        return self.emdb("scan", "a.emdb", "--keys", *options).decode().split()

    def test_everything_in_order(self):
        self.assertEqual(self.keys(), [f"{i:03}" for i in range(300)])
        self.assertEqual(self.emdb("scan", "a.emdb", "--limit", "2"), b"000\tv0\n001\tv1\n")
        self.assertEqual(sorted(self.keys("--unordered")), self.keys())
        self.assertEqual(len(self.keys("--unordered", "--limit=7")), 7)
        self.assertEqual(self.keys("--limit", "0"), [])

    def test_ranges(self):
        for options, expected in ((["--prefix", "01"], range(10, 20)), (["--from", "005", "--until", "008"], range(5, 8)),
                                  (["--from", "005", "--up-to", "008"], range(5, 9)), (["--after", "005", "--until", "008"], range(6, 8)),
                                  (["--after", "005", "--up-to", "008"], range(6, 9)), (["--from", "297"], range(297, 300)),
                                  (["--after", "297"], range(298, 300)), (["--until", "002"], range(2)), (["--up-to", "002"], range(3)),
                                  (["--from", "0x303035", "--limit", "2"], range(5, 7)), (["--from", "9"], [])):
            with self.subTest(options=options):
                self.assertEqual(self.keys(*options), [f"{i:03}" for i in expected])

    def test_contradictions_are_refused(self):
        for options in (["--from", "a", "--after", "b"], ["--until", "a", "--up-to", "b"], ["--prefix", "a", "--from", "b"],
                        ["--unordered", "--prefix", "a"], ["--limit", "many"], ["--limit", "-1"], ["--limit"], ["--format", "xml"]):
            self.fails(USAGE, "scan", "a.emdb", *options)

    def test_formats(self):
        self.emdb("put", "a.emdb", "-n", "n", "0xff09", "tab\tand\nnewline")
        self.assertEqual(self.emdb("scan", "a.emdb", "-n", "n"), b"\xff\t\ttab\tand\nnewline\n")
        self.assertEqual(self.emdb("scan", "a.emdb", "-n", "n", "-f", "hex"), b"ff09\t%s\n" % b"tab\tand\nnewline".hex().encode())
        self.assertEqual(self.lines("scan", "a.emdb", "-n", "n", "-f", "json"),
                         [{"key_base64": base64.b64encode(b"\xff\t").decode(), "value": "tab\tand\nnewline"}])

    def test_a_reader_that_goes_away_ends_it_quietly(self):
        self.emdb("import", "a.emdb", stdin=b"".join(b'{"key":"%d","value":"%s"}\n' % (i, b"v" * 1000) for i in range(1000)))
        child = subprocess.Popen([PROGRAM, "scan", "a.emdb"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder)
        child.stdout.read(10)
        child.stdout.close()
        self.assertEqual((child.wait(SECONDS_MAX), child.stderr.read()), (DONE, b""))
        child.stderr.close()

    @unittest.skipUnless(os.path.exists("/dev/full"), "there is no /dev/full here")
    def test_output_that_can_not_be_written_is_an_error(self):
        for words in (["scan", "a.emdb"], ["get", "a.emdb", "001"], ["export", "a.emdb"], ["--help"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([PROGRAM, *words], stdout=full, stderr=subprocess.PIPE, cwd=self.folder, check=False)
            self.assertEqual(done.returncode, FAILED, words)
            self.assertIn(b"cannot write", done.stderr)


class Upkeep(CommandLine):
    def test_stats_for_people_and_for_programs(self):
        self.emdb("put", "a.emdb", "key", "value")
        self.emdb("put", "a.emdb", "key", "value", "-n", "names")
        (stats,) = self.lines("stats", "a.emdb", "--json")
        self.assertEqual((stats["live_records"], stats["namespace_count"], stats["logical_size_bytes"]), (2, 1, 16))
        self.assertEqual(stats["file_size_bytes"], self.path("a.emdb").stat().st_size)
        self.assertIs(stats["encrypted"], False)
        self.assertIn("records     2 in the default keyspace and 1 namespace\n", self.emdb("stats", "a.emdb").decode())

    def test_compact_gives_space_back_and_keeps_the_records(self):
        for _ in range(2):
            self.emdb("import", "a.emdb", stdin=b"".join(b'{"key":"%d","value":"%s"}\n' % (i, b"v" * 50) for i in range(3000)))
        before = self.emdb("scan", "a.emdb", "-f", "json")
        for options in ([], ["--ordered"]):
            self.assertRegex(self.emdb("compact", "a.emdb", *options), rb"\Afrom \d+.* to \d+.*\n\Z")
            self.assertLess(self.path("a.emdb").stat().st_size, 230_000)
            self.assertEqual(self.emdb("scan", "a.emdb", "-f", "json"), before)

    def test_backup_makes_a_database_and_touches_nothing_else(self):
        self.emdb("put", "a.emdb", "k", "v")
        self.assertEqual(self.emdb("backup", "a.emdb", "b.emdb"), b"")
        self.emdb("verify", "b.emdb")
        self.assertEqual(self.emdb("get", "b.emdb", "k"), b"v")
        self.path("text").write_text("precious")
        self.fails(FAILED, "backup", "a.emdb", "text")
        self.fails(FAILED, "backup", "a.emdb", "a.emdb")
        self.assertEqual(self.path("text").read_text(), "precious")

    def test_verify_and_salvage(self):
        self.emdb("import", "a.emdb", stdin=b"".join(b'{"key":"%d","value":"%s"}\n' % (i, b"v" * 50) for i in range(100)))
        self.assertIn(b"No damage: ", self.emdb("verify", "a.emdb"))
        (report,) = self.lines("verify", "a.emdb", "--json")
        self.assertEqual((report["ok"], report["live_records"], report["damages"]), (True, 100, []))
        data = bytearray(self.path("a.emdb").read_bytes())
        data[9000] ^= 1
        self.path("a.emdb").write_bytes(data)
        status, output, errors = self.run_emdb("verify", "a.emdb")
        self.assertEqual((status, errors), (DAMAGED, ""))
        self.assertIn(b"1 damage: ", output)
        status, output, _ = self.run_emdb("verify", "a.emdb", "--json")
        self.assertEqual(status, DAMAGED)
        self.assertLess(abs(json.loads(output)["damages"][0]["offset"] - 9000), 100)
        self.fails(DAMAGED, "get", "a.emdb", "1", says="damaged at offset")
        self.assertEqual(self.lines("salvage", "a.emdb", "b.emdb", "--json"),
                         [{"records_written": 99, "frames_skipped": 1, "bytes_skipped": 59}])
        self.assertEqual(len(self.lines("scan", "b.emdb", "-f", "json")), 99)
        self.fails(FAILED, "salvage", "a.emdb", "b.emdb", says="exists already")
        self.assertEqual(bytes(data), self.path("a.emdb").read_bytes())

    def test_what_is_no_database_is_status_4(self):
        self.path("text").write_text("no database")
        for words in (["get", "text", "k"], ["verify", "text"], ["salvage", "text", "b.emdb"], ["stats", "text"]):
            self.fails(DAMAGED, *words, says="not an emdb database")
        self.assertEqual(self.path("text").read_text(), "no database")

    def test_a_database_that_is_open_elsewhere_is_status_5(self):
        self.emdb("put", "a.emdb", "k", "v")
        holder = subprocess.Popen([PROGRAM, "import", "a.emdb"], stdin=subprocess.PIPE, cwd=self.folder)
        try:
            holder.stdin.write(b'{"key":"held","value":"v"}\n')
            holder.stdin.flush()
            until = time.monotonic() + SECONDS_MAX
            while self.run_emdb("lock", "show", "a.emdb")[0] != DONE and time.monotonic() < until:
                pass
            for words in (["get", "a.emdb", "k"], ["put", "a.emdb", "k", "v"], ["verify", "a.emdb"], ["salvage", "a.emdb", "b.emdb"],
                          ["lock", "break", "a.emdb"]):
                self.fails(LOCKED, *words)
            (shown,) = self.lines("lock", "show", "a.emdb", "--json")
            self.assertEqual(shown["pid"], holder.pid)
            self.assertIn(f"process {holder.pid} on ".encode(), self.emdb("lock", "show", "a.emdb"))
            holder.send_signal(signal.SIGKILL)
        finally:
            holder.kill()
            holder.wait()
            holder.stdin.close()
        self.assertTrue(self.path("a.emdb.lock").exists())
        self.fails(ABSENT, "lock", "show", "a.emdb", says="nobody")
        self.emdb("lock", "break", "a.emdb")
        self.assertFalse(self.path("a.emdb.lock").exists())
        self.assertEqual(self.emdb("get", "a.emdb", "k"), b"v")


BINARY = [(bytes([i, 255 - i]), bytes(range(256)) * (i % 5)) for i in range(256)] + [(b"\\", b"\\"), (b" ", b" "), (b"\n", b"\r\n"), (b"", b"")]


class Transfer(CommandLine):
    def fill(self, name="a.emdb", records=BINARY, namespaces=("names", "with blank")):
        lines = [{"key_base64": base64.b64encode(k).decode(), "value_base64": base64.b64encode(v).decode()} for k, v in records]
        for namespace in namespaces:
            lines += [{"namespace": namespace, **line} for line in lines[:100]]
        self.emdb("import", name, stdin="".join(json.dumps(line) + "\n" for line in lines).encode())

    def contents(self, name):
        """{(namespace, key): (value, expires_at)}"""
        def member(record, field):
            return base64.b64decode(record[field + "_base64"]) if field + "_base64" in record else record.get(field, "").encode()
        records = self.lines("export", name, "--format", "json")
        return {(member(r, "namespace"), member(r, "key")): (member(r, "value"), r.get("expires_at")) for r in records}

    def test_what_is_exported_can_be_imported_in_every_format(self):
        self.fill()
        expected = self.contents("a.emdb")
        self.assertEqual(len(expected), len(BINARY) + 200)
        for options in ([], ["--print"], ["--no-mapsize"], ["--unordered"], ["--format", "json"], ["--format", "json", "--unordered"]):
            with self.subTest(options=options):
                self.path("b.emdb").unlink(missing_ok=True)
                text = self.emdb("export", "a.emdb", *options)
                self.path("text").write_bytes(text)
                self.assertEqual(self.emdb("import", "b.emdb", "text"), b"")
                self.assertEqual(self.contents("b.emdb"), expected)
                if "--unordered" not in options:
                    self.assertEqual(self.emdb("export", "b.emdb", *options), text)

    def test_one_namespace_and_into_one_namespace(self):
        self.fill()
        dump = self.emdb("export", "a.emdb", "-n", "names")
        self.assertEqual(dump.count(b"VERSION=3"), 1)
        self.emdb("import", "b.emdb", "--namespace", "other", stdin=dump)
        self.assertEqual({namespace for namespace, _ in self.contents("b.emdb")}, {b"other"})
        self.fails(ABSENT, "export", "a.emdb", "-n", "nope")

    def test_json_lines_keep_expiry_and_empty_namespaces_and_dumps_say_that_they_do_not_keep_expiry(self):
        self.emdb("import", "a.emdb", stdin=b'{"key":"k","value":"v","expires_at":4000000000000}\n\n{"namespace":"empty"}\n')
        text = self.emdb("export", "a.emdb", "--format", "json")
        self.assertEqual(text, b'{"key":"k","value":"v","expires_at":4000000000000}\n{"namespace":"empty"}\n')
        self.emdb("import", "b.emdb", stdin=text)
        self.assertEqual(self.emdb("export", "b.emdb", "--format", "json"), text)
        status, dump, errors = self.run_emdb("export", "a.emdb")
        self.assertEqual((status, errors), (DONE, "emdb: the dump can't say when 1 record will expire; --format json can\n"))
        self.assertIn(b"database=empty\n", dump)

    def test_json_of_other_programs(self):
        self.emdb("import", "a.emdb", stdin=rb'''  { "value" : "\u0041\n\ud83d\ude00\/\"\\\b\f\r\t" , "key" : "k" }
''' + '{"key":"ключ","value":"😀"}'.encode())
        self.assertEqual(self.emdb("get", "a.emdb", "k"), 'A\n😀/"\\\b\f\r\t'.encode())
        self.assertEqual(self.emdb("get", "a.emdb", "ключ"), "😀".encode())

    def test_malformed_json_is_refused_with_its_line(self):
        good = b'{"key":"k","value":"v"}\n'
        for bad in (b'{"key":"k"}', b'{"value":"v"}', b"{}", b"[]", b"null", b'{"key":"k","value":"v"', b'{"key":"k","value":"v"}}',
                    b'{"key":"k","value":"v"} x', b'{"key":"k","value":1}', b'{"key":"k","value":"v","value":"w"}',
                    b'{"key":"k","key_base64":"aw==","value":"v"}', b'{"key":"k","value":"v","other":"x"}', b'{"key":"k","value":"v',
                    b'{"key":"\\x","value":"v"}', b'{"key":"\\u12","value":"v"}', b'{"key":"\\ud800","value":"v"}',
                    b'{"key":"\\udc00","value":"v"}', b'{"key":"\\ud800\\u0041","value":"v"}', b'{"key":"\xff","value":"v"}',
                    b'{"key":"\xc0\x80","value":"v"}', b'{"key":"\xed\xa0\x80","value":"v"}', b'{"key_base64":"?","value":"v"}',
                    b'{"key":"a\tb","value":"v"}', b'{"key":"k","value":"v","expires_at":-1}', b'{"key":"k","value":"v","expires_at":1.5}',
                    b'{"key":"k","value":"v","expires_at":99999999999999999999}', b'{"namespace":"n","expires_at":1}',
                    b'{"namespace":"","key":"k","value":"v"}', b'{"key":"k",}', b'{,"key":"k","value":"v"}', b"{" * 100_000, b"VERSION=3"):
            with self.subTest(bad=bad[:60]):
                self.fails(INPUT, "import", "a.emdb", stdin=good + b"\n" + bad + b"\n" + good, says="standard input, line 3: ")
        self.assertEqual(self.emdb("get", "a.emdb", "k"), b"v")

    def test_malformed_dumps_are_refused_with_their_line(self):
        head = b"VERSION=3\nformat=bytevalue\ntype=btree\nHEADER=END\n"
        printed = b"VERSION=3\nformat=print\nHEADER=END\n"
        end = b"DATA=END\n"
        for text, line in ((b"VERSION=2\n", 1), (b"VERSION=3", 1), (b"VERSION=3\nformat=hex\n", 2), (b"VERSION=3\nnonsense\n", 2),
                           (b"VERSION=3\nkeys=0\n", 2), (b"VERSION=3\nduplicates=1\n", 2), (b"VERSION=3\ndatabase=\n", 2),
                           (b"VERSION=3\n" + b"x" * 100_000 + b"=1\n", 2), (head, 5), (head + b" 6b\n", 6), (head + b" 6b\n 76\n", 7),
                           (head + b" 6b\n 76", 6), (head + b" 6\n 76\n" + end, 5), (head + b" 6b\n 7\n" + end, 6),
                           (head + b" 6b\n 7g\n" + end, 6), (head + b" 6b\n" + end, 6), (head + b"6b\n 76\n" + end, 5),
                           (head + b" 6b\n76\n" + end, 6), (head + b"\n", 5), (head + b" 6b\n 76\nDATA=EN\n", 7),
                           (head + b" 6b\n 76\nDATA=ENDING\n", 7), (head + end + b"trailing\n", 6), (printed + b" \\6\n v\n" + end, 4),
                           (printed + b" \\zz\n v\n" + end, 4), (printed + b" k\\\n v\n" + end, 4), (printed + b" k\n v\\", 5),
                           (head + b" 6b \n 76\n" + end, 5), (head + b" 6b\r\n 76\r\n" + end, 5),
                           (printed + b" " + b"k" * (1 << 24) + b"\n v\n" + end, 4)):
            with self.subTest(text=text[:80]):
                self.fails(INPUT, "import", "a.emdb", stdin=text, says=f"standard input, line {line}: ")

    def test_input_of_no_known_format_is_refused_and_no_database_is_made(self):
        for text in (b"\x89emdb", b"key,value\n", b"\0"):
            self.fails(INPUT, "import", "a.emdb", stdin=text, says="line 1: ")
        self.assertFalse(self.path("a.emdb").exists())
        self.fails(FAILED, "import", "a.emdb", "absent", says="absent")
        self.emdb("import", "a.emdb", stdin=b"")
        self.assertEqual(self.contents("a.emdb"), {})

    def test_what_comes_before_a_malformed_line_is_imported_and_counted(self):
        text = b"".join(b'{"key":"%d","value":"v"}\n' % i for i in range(20_000)) + b"{\n"
        self.assertIn("(imported before that: 20000 records)", self.fails(INPUT, "import", "a.emdb", stdin=text, says="line 20001"))
        self.assertEqual(self.lines("stats", "a.emdb", "--json")[0]["live_records"], 20_000)

    def test_a_name_that_a_dump_can_not_hold_is_refused(self):
        self.emdb("put", "a.emdb", "k", "v", "-n", "0x610a62")
        status, _, errors = self.run_emdb("export", "a.emdb")
        self.assertEqual(status, FAILED)
        self.assertIn("--format json", errors)
        self.emdb("export", "a.emdb", "--format", "json")


@unittest.skipUnless(shutil.which("mdb_load") and shutil.which("mdb_dump"), "LMDB's tools are not here (Debian: lmdb-utils)")
class Lmdb(Transfer):
    """With the real tools. LMDB has no empty keys."""

    RECORDS = [(k, v) for k, v in BINARY if k]

    def mdb(self, *words, stdin=b""):
        done = subprocess.run(words, input=stdin, capture_output=True, cwd=self.folder, timeout=SECONDS_MAX, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""), words)
        return done.stdout

    def test_exports_are_loaded_by_mdb_load_and_come_back_from_mdb_dump(self):
        for options in ([], ["--print"]):
            with self.subTest(options=options):
                # In mdb_dump -p of LMDB 0.9.24 a backslash stands for itself, so that nobody can read it back.
                self.fill(records=[(k, v) for k, v in self.RECORDS if not options or b"\\" not in k + v] + [(b"large %d" % i, os.urandom(2500).replace(b"\\", b"/")) for i in range(2000)])
                expected = self.contents("a.emdb")
                self.mdb("mdb_load", "-n", "lmdb", stdin=self.emdb("export", "a.emdb", *options))
                named = self.mdb("mdb_dump", "-n", "-a", "lmdb", *(["-p"] if options else []))
                self.emdb("import", "b.emdb", stdin=named)
                self.assertEqual(self.contents("b.emdb"), {k: v for k, v in expected.items() if k[0]})
                # The main database also has LMDB's own entry for each named one.
                self.emdb("import", "c.emdb", stdin=self.mdb("mdb_dump", "-n", "lmdb"))
                main = {k: v for k, v in self.contents("c.emdb").items() if k[1] not in (b"names", b"with blank")}
                self.assertEqual(main, {k: v for k, v in expected.items() if not k[0]})
                for name in ("a.emdb", "b.emdb", "c.emdb", "lmdb", "lmdb-lock"):
                    self.path(name).unlink()

    def test_what_mdb_load_makes_of_a_dump_and_what_import_makes_of_it_is_the_same(self):
        self.fill(records=self.RECORDS, namespaces=())
        self.mdb("mdb_load", "-n", "lmdb", stdin=self.emdb("export", "a.emdb"))
        from_lmdb = self.mdb("mdb_dump", "-n", "lmdb")
        from_emdb = self.emdb("export", "a.emdb")
        data = re.compile(rb"^ .*$", re.MULTILINE)
        self.assertEqual(data.findall(from_lmdb), data.findall(from_emdb))

    def test_more_namespaces_than_a_few(self):
        self.fill(records=self.RECORDS[:5], namespaces=[f"name {i}" for i in range(20)])
        self.mdb("mdb_load", "-n", "lmdb", stdin=self.emdb("export", "a.emdb"))
        self.emdb("import", "b.emdb", stdin=self.mdb("mdb_dump", "-n", "-a", "lmdb"))
        self.assertEqual(len(self.contents("b.emdb")), 20 * 5)


for inherited in [name for name in dir(Transfer) if name.startswith("test_")]:
    setattr(Lmdb, inherited, None)


class BerkeleyDb(CommandLine):
    DUMP = (b"VERSION=3\nformat=print\ndatabase=names\ntype=btree\nh_nelem=4\ndb_pagesize=4096\nHEADER=END\n"
            b" one\n 1\\0a\\\\\n two\n \nDATA=END\n"
            b"VERSION=3\nformat=bytevalue\ntype=hash\nHEADER=END\n 6B6579\n 76616c\nDATA=END\n")

    def test_a_dump_as_db_dump_writes_it(self):
        self.emdb("import", "a.emdb", stdin=self.DUMP)
        self.assertEqual(self.emdb("scan", "a.emdb", "-n", "names"), b"one\t1\n\\\ntwo\t\n")
        self.assertEqual(self.emdb("get", "a.emdb", "key"), b"val")

    @unittest.skipUnless(shutil.which("db_load") and shutil.which("db_dump"), "Berkeley DB's tools are not here (Debian: db-util)")
    def test_with_the_real_tools(self):
        self.emdb("import", "a.emdb", stdin=self.DUMP)
        dump = self.emdb("export", "a.emdb", "-n", "names", "--no-mapsize")
        subprocess.run(["db_load", "b.db"], input=dump, cwd=self.folder, check=True)
        back = subprocess.run(["db_dump", "-s", "names", "b.db"], capture_output=True, cwd=self.folder, check=True).stdout
        self.emdb("import", "c.emdb", stdin=back)
        self.assertEqual(self.emdb("scan", "c.emdb", "-n", "names"), self.emdb("scan", "a.emdb", "-n", "names"))


@unittest.skipIf(sys.platform == "win32", "needs a pseudo-terminal")
class ProgressLine(CommandLine):
    def on_a_terminal(self, *words):
        """What a command prints on a terminal as its stderr."""
        import pty
        master, slave = pty.openpty()
        child = subprocess.Popen([PROGRAM, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave, cwd=self.folder)
        os.close(slave)
        seen = []

        def read():
            try:
                while data := os.read(master, 65536):
                    seen.append(data)
            except OSError:  # how Linux says that the other end is closed
                pass

        reader = threading.Thread(target=read)
        reader.start()
        child.communicate(timeout=SECONDS_MAX)
        reader.join(SECONDS_MAX)
        os.close(master)
        self.assertEqual(child.returncode, DONE)
        return b"".join(seen).decode()

    def test_drawn_on_a_terminal_only_and_wiped_at_the_end(self):
        count = 1_500_000
        while True:
            self.path("dump").write_bytes(b"VERSION=3\nformat=print\nHEADER=END\n" +
                                          b"".join(b" %d\n %d\n" % (i, i) for i in range(count)) + b"DATA=END\n")
            shown = self.on_a_terminal("import", "a.emdb", "dump")
            if shown or count > 20_000_000:
                break
            count *= 4  # the machine was quicker than the half second before anything is drawn
        self.assertRegex(shown, r"\rimport  \[=*>? *\]  [ \d]\d\d? %  \d+\.\d [kMG]B/s  \d+:\d\d left")
        self.assertTrue(shown.endswith("\r\x1b[K"))
        self.assertEqual(self.on_a_terminal("import", "b.emdb", "dump", "--no-progress"), "")
        self.emdb("import", "c.emdb", "dump")

    def test_short_commands_draw_nothing(self):
        self.emdb("put", "a.emdb", "k", "v")
        self.assertEqual(self.on_a_terminal("verify", "a.emdb"), "")


class Encryption(CommandLine):
    def setUp(self):
        super().setUp()
        self.path("key").write_bytes(bytes(range(32)))
        self.path("hex").write_text(bytes(range(32)).hex().upper() + "\n")
        self.path("other").write_bytes(bytes(range(1, 33)))
        self.path("phrase").write_text("correct horse\n")
        self.path("same phrase").write_bytes(b"correct horse\r\n")

    def test_every_command_that_opens_a_database_takes_a_key(self):
        key = ["--key-file", "key"]
        self.emdb("put", "a.emdb", "marker", "secret", *key)
        self.assertEqual(self.emdb("get", "a.emdb", "marker", "--key-file=hex"), b"secret")
        self.emdb("import", "a.emdb", "--format", "json", *key, stdin=b'{"namespace":"names","key":"k","value":"v"}\n')
        self.assertEqual(self.emdb("scan", "a.emdb", *key), b"marker\tsecret\n")
        self.assertEqual(self.emdb("namespaces", "a.emdb", *key), b"names\t1\n")
        self.assertIs(self.lines("stats", "a.emdb", "--json", *key)[0]["encrypted"], True)
        exported = self.emdb("export", "a.emdb", *key)
        self.assertRegex(self.emdb("compact", "a.emdb", *key), rb"\Afrom ")
        self.emdb("backup", "a.emdb", "b.emdb", *key)
        self.assertIs(self.lines("verify", "b.emdb", "--json", *key)[0]["ok"], True)
        self.assertEqual(self.lines("salvage", "b.emdb", "c.emdb", "--json", *key)[0]["records_written"], 2)
        for name in ("a.emdb", "b.emdb", "c.emdb"):
            self.assertEqual(self.emdb("export", name, *key), exported)
            self.assertNotIn(b"marker", self.path(name).read_bytes())
            self.assertNotIn(b"secret", self.path(name).read_bytes())
            for words in (["get", name, "marker"], ["del", name, "marker"], ["scan", name], ["verify", name], ["salvage", name, "d.emdb"],
                          ["compact", name], ["backup", name, "d.emdb"], ["stats", name], ["export", name], ["namespaces", name]):
                self.fails(KEY, *words, says="is encrypted")
                self.fails(KEY, *words, "--key-file", "other", says="not that of")
                self.fails(KEY, *words, "--passphrase-file", "phrase", says="with a key")
        self.assertFalse(self.path("d.emdb").exists())
        self.emdb("del", "a.emdb", "marker", *key)
        self.emdb("put", "plain.emdb", "k", "v")
        self.fails(KEY, "get", "plain.emdb", "k", *key, says="not encrypted")
        self.fails(KEY, "verify", "plain.emdb", *key, says="not encrypted")

    def test_what_is_no_key_or_passphrase_is_refused(self):
        self.emdb("put", "a.emdb", "k", "v", "--key-file", "key")
        for size in (0, 31, 33, 63, 65, 5000):
            self.path("wrong").write_bytes(b"f" * size)
            self.fails(FAILED, "get", "a.emdb", "k", "--key-file", "wrong")
        self.path("wrong").write_bytes(b"g" * 64)
        self.fails(FAILED, "get", "a.emdb", "k", "--key-file", "wrong", says="64 hexadecimal digits")
        self.path("wrong").write_bytes(b"\n")
        self.fails(FAILED, "get", "a.emdb", "k", "--passphrase-file", "wrong", says="no passphrase")
        self.fails(FAILED, "get", "a.emdb", "k", "--key-file", "absent", says="cannot open 'absent'")
        self.fails(FAILED, "get", "a.emdb", "k", "--passphrase-file", ".", says="cannot read '.'")
        self.fails(USAGE, "get", "a.emdb", "k", "--key-file", "key", "--ask-passphrase", says="exclude each other")
        self.fails(USAGE, "lock", "show", "a.emdb", "--key-file", "key")

    def test_a_database_is_encrypted_given_other_keys_and_decrypted(self):
        self.emdb("import", "a.emdb", stdin=b"".join(b'{"key":"marker %d","value":"v"}\n' % i for i in range(100)))
        before = self.emdb("export", "a.emdb")
        key, phrase = ["--key-file", "key"], ["--passphrase-file", "phrase"]
        steps = [(["encrypt", *key, "--keep-backup"], key), (["passphrase", *key, "--new-passphrase-file", "phrase"], phrase),
                 (["passphrase", "--passphrase-file", "same phrase", "--new-key-file", "other"], ["--key-file", "other"]),
                 (["rotate", "--key-file", "other", "--new-passphrase-file", "phrase"], phrase), (["decrypt", *phrase], []),
                 (["encrypt", *phrase, "--cipher", "chacha20-poly1305"], phrase)]
        last = []
        for words, opens in steps:
            with self.subTest(words=words):
                self.assertEqual(self.emdb(words[0], "a.emdb", *words[1:]), b"")
                self.assertEqual(self.emdb("export", "a.emdb", *opens), before)
                self.emdb("verify", "a.emdb", *opens)
                self.fails(KEY, "export", "a.emdb", *last)
                last = opens
        self.assertEqual(sorted(path.name for path in self.folder.glob("a.emdb*")), ["a.emdb", "a.emdb.encbak", "a.emdb.meta"])
        self.assertEqual(self.emdb("export", "a.emdb.encbak"), before)

    def test_encrypting_leaves_no_name_behind(self):
        self.emdb("put", "a.emdb", "k", "v", "-n", "marker")
        self.assertIn(b"marker", self.path("a.emdb.meta").read_bytes())
        self.emdb("encrypt", "a.emdb", "--key-file", "key")
        self.assertEqual(sorted(path.name for path in self.folder.glob("a.emdb*")), ["a.emdb", "a.emdb.meta"])
        for path in self.folder.glob("a.emdb*"):
            self.assertNotIn(b"marker", path.read_bytes())

    def test_changes_that_make_no_sense_change_nothing(self):
        self.emdb("put", "plain.emdb", "k", "v")
        self.emdb("put", "a.emdb", "k", "v", "--key-file", "key")
        before = self.path("plain.emdb").read_bytes(), self.path("a.emdb").read_bytes()
        key, new_key = ["--key-file", "key"], ["--new-key-file", "other"]
        for status, words in ((USAGE, ["encrypt", "plain.emdb"]), (USAGE, ["encrypt", "plain.emdb", *key, "--cipher", "rot13"]),
                              (USAGE, ["encrypt", "plain.emdb", *new_key]), (USAGE, ["decrypt", "a.emdb"]),
                              (USAGE, ["rotate", "a.emdb", *key]), (USAGE, ["passphrase", "a.emdb", *new_key]),
                              (FAILED, ["encrypt", "a.emdb", *key]), (KEY, ["decrypt", "plain.emdb", *key]),
                              (KEY, ["rotate", "plain.emdb", *key, *new_key]), (KEY, ["passphrase", "plain.emdb", *key, *new_key]),
                              (KEY, ["decrypt", "a.emdb", "--key-file", "other"]), (KEY, ["rotate", "a.emdb", *new_key, "--key-file", "other"]),
                              (KEY, ["passphrase", "a.emdb", *new_key, "--key-file", "other"]),
                              (FAILED, ["encrypt", "absent.emdb", *key]), (FAILED, ["decrypt", "absent.emdb", *key])):
            with self.subTest(words=words):
                self.fails(status, *words)
        self.assertEqual((self.path("plain.emdb").read_bytes(), self.path("a.emdb").read_bytes()), before)
        self.assertFalse(self.path("absent.emdb").exists())

    def test_damage_to_an_encrypted_database_is_status_4(self):
        self.emdb("put", "a.emdb", "k", "v" * 100, "--key-file", "key")
        data = bytearray(self.path("a.emdb").read_bytes())
        data[8300] ^= 1
        self.path("a.emdb").write_bytes(data)
        self.fails(DAMAGED, "get", "a.emdb", "k", "--key-file", "key", says="damaged at offset")
        status, output, errors = self.run_emdb("verify", "a.emdb", "--key-file", "key")
        self.assertEqual((status, errors), (DAMAGED, ""), output)

    def converse(self, words, answers):
        """Runs a command on a terminal of its own, answers its questions; (status, what the terminal showed)."""
        try:
            import pty
        except ImportError:
            self.skipTest("there are no pseudo-terminals here")
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.folder)
            os.execv(PROGRAM, [str(PROGRAM), *words])
        shown = b""
        asked = 0
        while True:
            try:
                piece = os.read(terminal, 1000)
            except OSError:  # Linux: the other side has gone
                piece = b""
            if not piece:
                break
            shown += piece
            while asked < len(answers) and len(re.findall(rb"(?:assphrase|Once more): ", shown)) > asked:
                os.write(terminal, answers[asked])
                asked += 1
        os.close(terminal)
        status = os.waitpid(child, 0)[1]
        return status, shown

    def test_passphrases_are_asked_for_on_the_terminal_and_not_shown(self):
        self.emdb("put", "a.emdb", "k", "v")
        status, shown = self.converse(["encrypt", "a.emdb", "--ask-passphrase"], [b"correct horse\n"] * 2)
        self.assertEqual((status, shown), (0, b"New passphrase: \r\nOnce more: \r\n"))
        self.assertEqual(self.emdb("get", "a.emdb", "k", "--passphrase-file", "phrase"), b"v")
        status, shown = self.converse(["get", "a.emdb", "k", "--ask-passphrase"], [b"correct horse\n"])
        self.assertEqual((status, shown), (0, b"Passphrase: \r\nv\r\n"))
        status, shown = self.converse(["get", "a.emdb", "k", "--ask-passphrase"], [b"wrong\n"])
        self.assertEqual(os.waitstatus_to_exitcode(status), KEY)
        status, shown = self.converse(["passphrase", "a.emdb", "--ask-passphrase", "--ask-new-passphrase"],
                                      [b"correct horse\n", b"new\n", b"another\n"])
        self.assertEqual(os.waitstatus_to_exitcode(status), FAILED)
        self.assertIn(b"the passphrases differ; nothing was done", shown)
        self.assertNotIn(b"horse", shown)
        for answer in (b"\n", b"\x04"):  # Ctrl-D
            self.assertEqual(os.waitstatus_to_exitcode(self.converse(["get", "a.emdb", "k", "--ask-passphrase"], [answer])[0]), FAILED)
        status, _ = self.converse(["get", "a.emdb", "k", "--ask-passphrase"], [b"half\x03"])  # Ctrl-C
        self.assertEqual(os.waitstatus_to_exitcode(status), -signal.SIGINT)

    def test_without_a_terminal_nothing_is_asked(self):
        self.emdb("put", "a.emdb", "k", "v", "--key-file", "key")
        done = subprocess.run([PROGRAM, "get", "a.emdb", "k", "--ask-passphrase"], stdin=subprocess.DEVNULL, capture_output=True,
                              cwd=self.folder, start_new_session=True, timeout=SECONDS_MAX, check=False)
        self.assertEqual(done.returncode, FAILED)
        self.assertIn(b"--passphrase-file", done.stderr)


class Help(CommandLine):
    def test_every_command_explains_itself_and_is_in_the_manual(self):
        overview = self.emdb("--help").decode()
        self.assertEqual(self.emdb("help").decode(), overview)
        manual = (SOURCES / "README.md").read_text()
        commands = re.findall(r"^  ([a-z]+) .*  ", overview, re.MULTILINE)
        self.assertGreaterEqual(len(commands), 13)
        for command in commands:
            with self.subTest(command=command):
                text = self.emdb(command, "--help").decode()
                self.assertEqual(self.emdb("help", command).decode(), text)
                self.assertEqual(self.emdb(command, "a.emdb", "-h").decode(), text)
                self.assertIn(f"Usage: emdb {command} ", text)
                self.assertIn(f"    emdb {command} ", text + "    emdb import ")
                self.assertIn(f"`{command} ", manual)
                for option in re.findall(r"--[a-z-]+", text):
                    self.assertIn(option, manual + "--help", command)
        for status in range(8):
            self.assertRegex(overview, rf"(?m)^  {status}  ")
            self.assertRegex(manual, rf"(?m)^\| {status} \|")
        self.assertRegex(self.emdb("--version").decode(), r"\Aemdb \d+\.\d+\.\d+\n\Z")

    def test_wrong_usage_is_status_2_and_names_the_help(self):
        for words in ([], ["frobnicate"], ["get"], ["get", "a.emdb"], ["get", "a.emdb", "k", "x"], ["get", "a.emdb", "k", "--frob"],
                      ["get", "a.emdb", "k", "-x"], ["get", "a.emdb", "k", "--format"], ["get", "a.emdb", "k", "--quiet=yes"],
                      ["get", "a.emdb", "k", "-n", "a", "-n", "b"], ["lock", "a.emdb"], ["lock", "frob", "a.emdb"], ["put", "a", "b", "c", "d"],
                      ["import", "a", "b", "c"], ["import", "a", "--format", "xml"], ["help", "frob"], ["salvage", "a.emdb"]):
            with self.subTest(words=words):
                self.assertIn("--help'", self.fails(USAGE, *words))
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
