"""Binary logs as bytes, for the tests: what servers write, event by event."""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Sequence

from proxy.stream import events as ev

INSERT_V1, UPDATE_V1, DELETE_V1, INSERT_V2, UPDATE_V2, DELETE_V2 = 23, 24, 25, 30, 31, 32
VERSION = b"10.11.19-MariaDB-log"


def event(kind: int, body: bytes, end: int = 1000, *, flags: int = 0, checksum: bool = True, time_s: int = 1) -> bytes:
    """One event; `end` is where it ends in its file."""
    size = ev.HEADER_BYTES + len(body) + (4 if checksum else 0)
    data = struct.pack("<IBIIIH", time_s, kind, 7, size, end & 0xFFFFFFFF, flags) + body
    return data + zlib.crc32(data).to_bytes(4, "little") if checksum else data


def format_description(*, checksums: bool = True, created: int = 0, end: int = 256, flags: int = 0) -> bytes:
    body = struct.pack("<H50sIB", 4, VERSION, created, 19) + bytes(range(40)) + bytes((int(checksums),))
    return event(ev.FORMAT_DESCRIPTION, body, end, flags=flags)


def rotate(file: str, offset: int = 4, **options: object) -> bytes:
    return event(ev.ROTATE, struct.pack("<Q", offset) + file.encode(), **options)  # type: ignore[arg-type]


def query(text: bytes, database: bytes = b"shop", status: bytes = b"\x00\x01\x02", **options: object) -> bytes:
    head = struct.pack("<IIBHH", 1, 0, len(database), 0, len(status))
    return event(ev.QUERY, head + status + database + b"\0" + text, **options)  # type: ignore[arg-type]


def query_compressed(text: bytes, database: bytes = b"shop", **options: object) -> bytes:
    head = struct.pack("<IIBHH", 1, 0, len(database), 0, 0)
    body = head + database + b"\0" + compressed(text)
    return event(ev.QUERY_COMPRESSED, body, **options)  # type: ignore[arg-type]


def compressed(data: bytes) -> bytes:
    return bytes((0x84,)) + len(data).to_bytes(4, "big") + zlib.compress(data)


def xid(number: int = 5, **options: object) -> bytes:
    return event(ev.XID, struct.pack("<Q", number), **options)  # type: ignore[arg-type]


def mariadb_gtid(flags: int = 0, xid: bytes = b"", commit_id: int | None = None, **options: object) -> bytes:
    """`xid`: gtrid of an XA transaction."""
    body = struct.pack("<QIB", 9, 0, flags | (2 if commit_id is not None else 0))
    if commit_id is not None:
        body += struct.pack("<Q", commit_id)
    if xid:
        body += struct.pack("<IBB", 1, len(xid), 0) + xid
    return event(ev.MARIADB_GTID, body.ljust(19, b"\0"), **options)  # type: ignore[arg-type]


def mysql_gtid(source: uuid.UUID, number: int, kind: int = ev.GTID, **options: object) -> bytes:
    body = b"\1" + source.bytes + struct.pack("<QBQQ", number, 2, 0, 1)
    return event(kind, body, **options)  # type: ignore[arg-type]


def previous_gtids(sets: dict[uuid.UUID, Sequence[tuple[int, int]]], **options: object) -> bytes:
    body = struct.pack("<Q", len(sets))
    for source, intervals in sets.items():
        body += source.bytes + struct.pack("<Q", len(intervals))
        for first, last in intervals:
            body += struct.pack("<QQ", first, last + 1)
    return event(ev.PREVIOUS_GTIDS, body, **options)  # type: ignore[arg-type]


def lenenc(number: int) -> bytes:
    return bytes((number,)) if number < 251 else b"\xfc" + struct.pack("<H", number)


def table_rest(types: Sequence[int], meta: bytes = b"") -> bytes:
    nulls = bytes((len(types) + 7) // 8)
    return lenenc(len(types)) + bytes(types) + lenenc(len(meta)) + meta + nulls


def table_map(
    table_id: int, database: bytes, table: bytes, types: Sequence[int], meta: bytes = b"", **options: object
) -> bytes:
    head = table_id.to_bytes(6, "little") + b"\1\0"
    names = bytes((len(database),)) + database + b"\0" + bytes((len(table),)) + table + b"\0"
    return event(ev.TABLE_MAP, head + names + table_rest(types, meta), **options)  # type: ignore[arg-type]


def rows(kind: int, table_id: int, columns: int, images: bytes, *, last: bool = True, **options: object) -> bytes:
    """Rows with all columns present; `images` are null bitmaps and values."""
    present = bytes((0xFF,)) * ((columns + 7) // 8)
    head = table_id.to_bytes(6, "little") + struct.pack("<H", int(last))
    if kind in (INSERT_V2, UPDATE_V2, DELETE_V2):
        head += struct.pack("<H", 5) + b"abc"  # extra data
    update = kind in (UPDATE_V1, UPDATE_V2)
    return event(kind, head + lenenc(columns) + present * (2 if update else 1) + images, **options)  # type: ignore[arg-type]


def split(data: bytes) -> list[bytes]:
    """The events of a file's bytes after its first four."""
    found, pos = [], 0
    while pos < len(data):
        size = int.from_bytes(data[pos + 9 : pos + 13], "little")
        found.append(data[pos : pos + size])
        pos += size
    return found
