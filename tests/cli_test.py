#!/usr/bin/env python3
"""The command line: what goes in, what comes out, how it ends. Transfer and encryption have files of their own."""

import base64
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from command_line import (ABSENT, CommandLine, DAMAGED, DONE, FAILED, LOCKED, SECONDS_MAX,  # noqa: E402,F401
                          SOURCES, USAGE, setUpModule)


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
        child = subprocess.Popen([self.PROGRAM, "scan", "a.emdb"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder)
        child.stdout.read(10)
        child.stdout.close()
        self.assertEqual((child.wait(SECONDS_MAX), child.stderr.read()), (DONE, b""))
        child.stderr.close()

    @unittest.skipUnless(os.path.exists("/dev/full"), "there is no /dev/full here")
    def test_output_that_can_not_be_written_is_an_error(self):
        for words in (["scan", "a.emdb"], ["get", "a.emdb", "001"], ["export", "a.emdb"], ["--help"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([self.PROGRAM, *words], stdout=full, stderr=subprocess.PIPE, cwd=self.folder, check=False)
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
        holder = subprocess.Popen([self.PROGRAM, "import", "a.emdb"], stdin=subprocess.PIPE, cwd=self.folder)
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


@unittest.skipIf(sys.platform == "win32", "needs a pseudo-terminal")
class ProgressLine(CommandLine):
    def on_a_terminal(self, *words):
        """What a command prints on a terminal as its stderr."""
        import pty
        master, slave = pty.openpty()
        child = subprocess.Popen([self.PROGRAM, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave, cwd=self.folder)
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
