"""Column definitions, types and flags (MySQL "Protocol::ColumnDefinition41", `enum_field_types`)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

from proxy.errors import ProtocolError
from proxy.wire.charsets import BINARY, UTF8MB4
from proxy.wire.cursor import Cursor
from proxy.wire.lenenc import write_bytes

DECIMAL: Final = 0
TINY: Final = 1
SHORT: Final = 2
LONG: Final = 3
FLOAT: Final = 4
DOUBLE: Final = 5
NULL: Final = 6
TIMESTAMP: Final = 7
LONGLONG: Final = 8
INT24: Final = 9
DATE: Final = 10
TIME: Final = 11
DATETIME: Final = 12
YEAR: Final = 13
VARCHAR: Final = 15
BIT: Final = 16
VECTOR: Final = 242
JSON: Final = 245
NEWDECIMAL: Final = 246
ENUM: Final = 247
SET: Final = 248
TINY_BLOB: Final = 249
MEDIUM_BLOB: Final = 250
LONG_BLOB: Final = 251
BLOB: Final = 252
VAR_STRING: Final = 253
STRING: Final = 254
GEOMETRY: Final = 255

NOT_NULL_FLAG: Final = 1
UNSIGNED_FLAG: Final = 32
BINARY_FLAG: Final = 128

_FIXED: Final = 12  # bytes behind the names


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    catalog: bytes
    schema: bytes
    table: bytes
    org_table: bytes
    name: bytes
    org_name: bytes
    charset: int  # collation id
    length: int  # display width in bytes
    type: int
    flags: int
    decimals: int


@functools.lru_cache(maxsize=4096)  # every shard answers the same statement with the same definitions each time
def parse_column(payload: bytes) -> ColumnDefinition:
    """Reads one definition. A default value behind it (COM_FIELD_LIST) is ignored."""
    cursor = Cursor(payload)
    catalog, schema, table = cursor.string(), cursor.string(), cursor.string()
    org_table, name, org_name = cursor.string(), cursor.string(), cursor.string()
    if cursor.length() < _FIXED:
        raise ProtocolError("Malformed packet: a column definition with too few fixed fields")
    charset, length = cursor.uint(2), cursor.uint(4)
    kind, flags, decimals = cursor.uint(1), cursor.uint(2), cursor.uint(1)
    cursor.take(2)
    return ColumnDefinition(catalog, schema, table, org_table, name, org_name, charset, length, kind, flags, decimals)


def encode_column(column: ColumnDefinition) -> bytes:
    return b"".join(
        (
            write_bytes(column.catalog),
            write_bytes(column.schema),
            write_bytes(column.table),
            write_bytes(column.org_table),
            write_bytes(column.name),
            write_bytes(column.org_name),
            _FIXED.to_bytes(1, "little"),
            column.charset.to_bytes(2, "little"),
            column.length.to_bytes(4, "little"),
            column.type.to_bytes(1, "little"),
            column.flags.to_bytes(2, "little"),
            column.decimals.to_bytes(1, "little"),
            b"\0\0",
        )
    )


def text_column(name: str, charset: int = UTF8MB4) -> ColumnDefinition:
    """A column of text that no table holds."""
    encoded = name.encode("utf-8")
    return ColumnDefinition(b"def", b"", b"", b"", encoded, b"", charset, 4096, VAR_STRING, 0, 31)


def int_column(name: str, unsigned: bool = False) -> ColumnDefinition:
    """A column of 64-bit integers that no table holds."""
    flags = BINARY_FLAG | (UNSIGNED_FLAG if unsigned else 0)
    return ColumnDefinition(b"def", b"", b"", b"", name.encode("utf-8"), b"", BINARY, 21, LONGLONG, flags, 0)
