#!/usr/bin/env python3
"""Reads an emdb database without emdb: prints its records as JSON lines, as `emdb export --format json` does.

    read_journal.py FILE [--now UNIX_MS] [--frames]

An independent reader of databases that are not encrypted, in Python's standard library, written from the specification of the format
in src/journal/README.md. It shows that the data outlives the library; it is no fast way to read. The file is only read, and nobody
should be writing to it. Of a damaged file nothing is printed.

Exit status: 0 done (a torn tail is told on stderr), 2 wrong arguments, 4 damaged or not to be read, 6 the file can't be read at all.
"""

import argparse
import base64
import json
import struct
import sys
import time

MAGIC = b"\x89emdb\r\n\x1a"
VERSION = 1
SLOT_SIZE = 4096
JOURNAL_START = 2 * SLOT_SIZE
ENCRYPTED = 1  # an incompatible feature

PUT, REMOVE, BATCH, NAMESPACE_CREATE, NAMESPACE_DROP, CLEAR, SESSION, SYNC_MARK, CLOSE_MARK = range(1, 10)
NAMES = ["put", "remove", "batch", "namespace create", "namespace drop", "clear", "session", "sync mark", "close mark"]
HAS_NAMESPACE, HAS_EXPIRY = 0x10, 0x20
KEY_SIZE_MAX, VALUE_SIZE_MAX, NAMESPACE_MAX = 2**24 - 1, 2**32 - 1, 2**32 - 1


class Unreadable(Exception):
    """Not a database, damaged, or written by a later version."""


def make_crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # 0x1EDC6F41, reflected
        table.append(byte)
    return table


CRC_TABLE = make_crc_table()


def crc32c(data, crc=0):
    """Of data, or of what had this crc and data behind it."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class Header:
    """The header, from whichever slot counts."""

    def __init__(self, data):
        slots = [data[:SLOT_SIZE], data[SLOT_SIZE:JOURNAL_START]]
        if not any(slot.startswith(MAGIC) for slot in slots):
            raise Unreadable("this is no emdb database")
        valid = [slot for slot in slots if len(slot) == SLOT_SIZE and slot.startswith(MAGIC) and
                 struct.unpack_from("<I", slot, 4092)[0] == crc32c(slot[:4092])]
        if len(data) < JOURNAL_START or not valid:
            raise Unreadable("both copies of the header are damaged or cut off")
        slot = max(valid, key=lambda slot: struct.unpack_from("<Q", slot, 32)[0])  # the first of equal ones
        (version,) = struct.unpack_from("<I", slot, 8)
        (incompatible,) = struct.unpack_from("<Q", slot, 16)
        if version != VERSION:
            raise Unreadable(f"format version {version} is not {VERSION}")
        if incompatible & ENCRYPTED:
            raise Unreadable("it is encrypted")
        if incompatible:
            raise Unreadable(f"it has features that this reader does not know (bits {incompatible})")
        self.file_id = slot[40:56]


class Frame:
    """A frame that obeys the rules and ends within the file; is_valid() tells whether it was written there."""

    def __init__(self, data, offset):
        self.offset = offset
        self.kind, self.flags = data[offset + 4] & 0x0F, data[offset + 4] & 0xF0
        if self.kind == 0:
            raise ValueError("no frame")
        key_size, at = read_varint(data, offset + 5, KEY_SIZE_MAX)
        value_size, at = read_varint(data, at, VALUE_SIZE_MAX)
        self.namespace = self.expiry = 0
        if self.flags & HAS_NAMESPACE:
            self.namespace, at = read_varint(data, at, NAMESPACE_MAX, smallest=1)
        if self.flags & HAS_EXPIRY:
            self.expiry, at = read_varint(data, at, 2**64 - 1, smallest=1)
        self.end = at + key_size + value_size
        if self.end > len(data):
            raise ValueError("it does not end within the file")
        self.key = data[at:at + key_size]
        self.value = data[at + key_size:self.end]

    def is_valid(self, data, seed):
        found = crc32c(struct.pack("<Q", self.offset), crc32c(data[self.offset + 4:self.end], seed))
        return found == struct.unpack_from("<I", data, self.offset)[0]


def read_varint(data, at, largest, smallest=0):
    """(value, offset behind it)"""
    value = shift = 0
    while True:
        byte = data[at]  # IndexError: it goes past the end
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if (byte == 0 and shift != 0) or not smallest <= value <= largest:
                raise ValueError("no such number")
            return value, at
        shift += 7
        if shift >= 70:
            raise ValueError("too long")


class Journal:
    """The journal's frames that count, and how it ends."""

    def __init__(self, data):
        self.data = data
        self.seed = crc32c(Header(data).file_id)
        self.end = JOURNAL_START

    def frame_at(self, offset):
        """The valid frame there, or None."""
        try:
            frame = Frame(self.data, offset)
        except (ValueError, IndexError):
            return None
        return frame if frame.is_valid(self.data, self.seed) else None

    def frames(self):
        """Yields what counts, in order: members of batches without their batch, and marks not at all."""
        while frame := self.frame_at(self.end):
            check_known(frame)
            end = frame.end
            if frame.kind == BATCH:
                members = self.members_of(frame)
                if members is None:
                    break
                yield from members
                end += batch_length(frame)
            elif frame.kind in (SYNC_MARK, CLOSE_MARK):
                if vouched_by(frame) is None:
                    raise Unreadable(f"damaged at offset {frame.offset}: a sync mark makes no sense")
            else:
                yield frame
            self.end = end
        self.judge_tail()

    def members_of(self, batch):
        """The members of a batch; None if one of them does not validate."""
        if len(batch.value) != 12:
            raise Unreadable(f"damaged at offset {batch.offset}: a batch makes no sense")
        count = struct.unpack_from("<I", batch.value, 8)[0]
        offset, end = batch.end, batch.end + batch_length(batch)
        if end > len(self.data):
            return None
        members = []
        while offset < end:
            member = self.frame_at(offset)
            if member is None or member.end > end:
                return None
            check_known(member)
            if member.kind not in (PUT, REMOVE):
                raise Unreadable(f"damaged at offset {offset}: a batch holds what it must not")
            members.append(member)
            offset = member.end
        if len(members) != count:
            raise Unreadable(f"damaged at offset {batch.offset}: a batch has another number of members than it says")
        return members

    def judge_tail(self):
        """Raises if a mark behind the end says that what is there had reached the disk."""
        for start in (b"\x08\x00\x08", b"\x09\x00\x08"):  # kind, no key, 8 bytes of value
            at = self.data.find(start, self.end + 1 + 4)
            while at != -1:
                mark = self.frame_at(at - 4)
                if mark and (vouched_by(mark) or 0) > self.end:
                    raise Unreadable(f"damaged at offset {self.end}: a sync mark at {mark.offset} says that it had reached the disk")
                at = self.data.find(start, at + 1)

    def torn_bytes(self):
        """Bytes behind the end, zeros at the end of the file not counted."""
        return len(self.data[self.end:].rstrip(b"\0"))


def batch_length(batch):
    return struct.unpack_from("<Q", batch.value)[0]


def vouched_by(mark):
    """Up to where a mark vouches for the journal; None: it makes no sense."""
    if mark.key or len(mark.value) != 8:
        return None
    (durable,) = struct.unpack("<Q", mark.value)
    return durable if durable <= mark.offset else None


def check_known(frame):
    if frame.kind > CLOSE_MARK or frame.kind == SESSION or frame.flags & ~(HAS_NAMESPACE | HAS_EXPIRY):
        raise Unreadable(f"the frame at offset {frame.offset} is of a kind that this reader does not know")


class Database:
    """What the frames amount to."""

    def __init__(self):
        self.names = {}  # id -> name
        self.records = {0: {}}  # id -> {key: (value, expiry)}; 0 is the default keyspace

    def apply(self, frame):
        if frame.kind == NAMESPACE_CREATE:
            if frame.namespace == 0 or not frame.key or frame.namespace in self.names or frame.key in self.names.values():
                raise Unreadable(f"damaged at offset {frame.offset}: a namespace does not fit")
            self.names[frame.namespace] = frame.key
            self.records[frame.namespace] = {}
            return
        if frame.namespace not in self.records:
            raise Unreadable(f"damaged at offset {frame.offset}: there is no such namespace")
        records = self.records[frame.namespace]
        if frame.kind == PUT:
            records[frame.key] = (frame.value, frame.expiry)
        elif frame.kind == REMOVE:
            records.pop(frame.key, None)
        elif frame.kind == CLEAR:
            records.clear()
        elif frame.kind == NAMESPACE_DROP:
            if frame.namespace == 0:
                raise Unreadable(f"damaged at offset {frame.offset}: the default keyspace can't be dropped")
            del self.names[frame.namespace], self.records[frame.namespace]

    def lines(self, now):
        """JSON lines of what has not expired; a line with the name alone for each namespace without records."""
        for namespace, records in sorted(self.records.items(), key=lambda entry: self.names.get(entry[0], b"")):
            head = member("namespace", self.names[namespace]) if namespace else {}
            live = {key: record for key, record in records.items() if not 0 < record[1] <= now}
            if head and not live:
                yield json.dumps(head, ensure_ascii=False, separators=(",", ":"))
            for key, (value, expiry) in sorted(live.items()):
                line = {**head, **member("key", key), **member("value", value)}
                if expiry:
                    line["expires_at"] = expiry
                yield json.dumps(line, ensure_ascii=False, separators=(",", ":"))


def member(name, content):
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {name + "_base64": base64.b64encode(content).decode()}


def main():
    parser = argparse.ArgumentParser(description="Prints the records of an emdb database as JSON lines, without emdb.")
    parser.add_argument("file")
    parser.add_argument("--now", type=int, default=int(time.time() * 1000), metavar="UNIX_MS", help="what has expired by then is left out")
    parser.add_argument("--frames", action="store_true", help="list the frames that count instead")
    options = parser.parse_args()
    try:
        with open(options.file, "rb") as file:
            journal = Journal(file.read())
        database = Database()
        listing = []
        for frame in journal.frames():
            database.apply(frame)
            if options.frames:
                listing.append(f"{frame.offset} {NAMES[frame.kind - 1]} namespace {frame.namespace} key {len(frame.key)} value {len(frame.value)}")
    except OSError as error:
        print(f"read_journal: {options.file}: {error.strerror}", file=sys.stderr)
        return 6
    except Unreadable as error:
        print(f"read_journal: {options.file}: {error}", file=sys.stderr)
        return 4
    if torn := journal.torn_bytes():
        print(f"read_journal: {options.file}: passed over a torn tail of {torn} bytes at offset {journal.end}", file=sys.stderr)
    for line in listing or ([] if options.frames else database.lines(options.now)):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
