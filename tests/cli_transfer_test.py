#!/usr/bin/env python3
"""The command line's export and import: JSON lines, and the dumps of LMDB and Berkeley DB."""

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from command_line import ABSENT, CommandLine, DONE, FAILED, INPUT, SECONDS_MAX, setUpModule  # noqa: E402,F401


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

    def test_a_namespace_whose_records_have_all_expired_is_exported_as_an_empty_one(self):
        self.emdb("put", "a.emdb", "k", "v", "-n", "names", "--ttl", "0s")
        self.assertEqual(self.lines("export", "a.emdb", "--format", "json"), [{"namespace": "names"}])

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
        everything = subprocess.run(["db_dump", "b.db"], capture_output=True, cwd=self.folder, check=True).stdout
        self.emdb("import", "c.emdb", stdin=everything)
        # That of one database does not say its name.
        one = subprocess.run(["db_dump", "-s", "names", "b.db"], capture_output=True, cwd=self.folder, check=True).stdout
        self.emdb("import", "d.emdb", "-n", "names", stdin=one)
        for name in ("c.emdb", "d.emdb"):
            self.assertEqual(self.emdb("scan", name, "-n", "names"), self.emdb("scan", "a.emdb", "-n", "names"))


if __name__ == "__main__":
    unittest.main()
