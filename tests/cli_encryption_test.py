#!/usr/bin/env python3
"""The command line and encrypted databases: keys from files, passphrases from a terminal, changing them."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from command_line import CommandLine, DAMAGED, FAILED, KEY, SECONDS_MAX, USAGE, setUpModule  # noqa: E402,F401


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
            os.execv(self.PROGRAM, [str(self.PROGRAM), *words])
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
        done = subprocess.run([self.PROGRAM, "get", "a.emdb", "k", "--ask-passphrase"], stdin=subprocess.DEVNULL, capture_output=True,
                              cwd=self.folder, start_new_session=True, timeout=SECONDS_MAX, check=False)
        self.assertEqual(done.returncode, FAILED)
        self.assertIn(b"--passphrase-file", done.stderr)


if __name__ == "__main__":
    unittest.main()
