"""Values of a text result as literals that a server takes for the same values.

What a literal means must be what the expression meant that was selected: its type decides how it is converted where it
is stored. Where the text does not tell the value (FLOAT is shown with six digits), the statement is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from proxy.back.catalog import Column
from proxy.plan import refusals
from proxy.wire import column as wire
from proxy.wire.charsets import BINARY, collation
from proxy.wire.column import ColumnDefinition

Literal = Callable[[bytes | None], bytes]

_INTEGERS = frozenset([wire.TINY, wire.SHORT, wire.LONG, wire.LONGLONG, wire.INT24, wire.YEAR])
_DECIMALS = frozenset([wire.DECIMAL, wire.NEWDECIMAL])
_STRINGS = frozenset(
    [
        *(wire.VARCHAR, wire.VAR_STRING, wire.STRING, wire.BLOB, wire.TINY_BLOB, wire.MEDIUM_BLOB, wire.LONG_BLOB),
        wire.JSON,
    ]
)
_NUMERIC = frozenset(["tinyint", "smallint", "mediumint", "int", "integer", "bigint", "decimal", "float", "double"])
_NOT_FIXED = 31
_ZEROFILL_FLAG, _ENUM_FLAG, _SET_FLAG = 64, 256, 2048
_TEMPORAL = {
    wire.DATE: (b"DATE", re.compile(rb"(?!0000)\d{4}-(?!00)\d\d-(?!00)\d\d")),
    wire.TIME: (b"TIME", re.compile(rb"-?\d+:\d\d:\d\d(\.\d+)?")),
    wire.DATETIME: (b"TIMESTAMP", re.compile(rb"(?!0000)\d{4}-(?!00)\d\d-(?!00)\d\d \d\d:\d\d:\d\d(\.\d+)?")),
    wire.TIMESTAMP: (b"TIMESTAMP", re.compile(rb"(?!0000)\d{4}-(?!00)\d\d-(?!00)\d\d \d\d:\d\d:\d\d(\.\d+)?")),
}
_FIXED_ZONE = re.compile(rb"'?([+-]\d\d:\d\d|UTC)'?", re.IGNORECASE)


def literal_of(found: ColumnDefinition, into: Column | None, zone: bytes) -> Literal:
    """How values of a result column become literals that go `into` a column. Strings come as they are stored. `zone`:
    the session's time zone as SQL text, or the system's. Raises StatementRefused."""
    kind = found.type
    numeric = into is None or into.data_type in _NUMERIC or into.data_type in ("bit", "year")
    if found.flags & _ZEROFILL_FLAG and not numeric:
        return _quoted  # with its zeros
    if kind in _INTEGERS or kind in _DECIMALS:
        return _as_it_is
    if kind == wire.NULL:
        return _null
    if kind == wire.DOUBLE and found.decimals == _NOT_FIXED:
        return _double
    if kind in _TEMPORAL:
        if kind == wire.TIMESTAMP and not _FIXED_ZONE.fullmatch(zone):
            raise _inexact(found, "TIMESTAMP, of which one hour a year is there twice in the session's time zone")
        return _temporal(kind, typed=numeric)
    if kind == wire.BIT and into is not None and into.data_type in (*_NUMERIC, "bit"):
        return _bit
    if kind in _STRINGS:
        if found.flags & (_ENUM_FLAG | _SET_FLAG) and numeric:
            raise _inexact(found, "ENUM or SET, which is a number here")
        if found.charset == BINARY and numeric:
            raise _inexact(found, "a binary string, which is a number here if it is written as 0x..")
        known = collation(found.charset)
        if known is not None:
            return _string(b"_" + known.charset.encode() + b" X'%s'")
    if kind == wire.GEOMETRY and into is not None and not numeric:
        return _string(b"_binary X'%s'")
    raise _inexact(found, {wire.FLOAT: "FLOAT", wire.DOUBLE: "DOUBLE with fixed decimals"}.get(kind, "of another type"))


def _inexact(found: ColumnDefinition, kind: str) -> Exception:
    return refusals.VALUE_TYPE.error(expression=found.name.decode("utf-8", "replace"), type=kind)


def check_key(found: ColumnDefinition, whole_number: bool) -> None:
    """Raises StatementRefused where the text of a value does not tell the shard key that it would become."""
    if found.type == wire.BIT:
        raise _inexact(found, "BIT")
    literal_of(found, Column("", "int" if whole_number else "date"), b"UTC")


def literals_of(found: Sequence[ColumnDefinition], into: Sequence[Column | None], zone: bytes) -> list[Literal]:
    return [literal_of(one, other, zone) for one, other in zip(found, into, strict=True)]


def _null(_: bytes | None) -> bytes:
    return b"NULL"


def _as_it_is(value: bytes | None) -> bytes:
    return b"NULL" if value is None else value


def _quoted(value: bytes | None) -> bytes:
    return b"NULL" if value is None else b"'%s'" % value


def _double(value: bytes | None) -> bytes:
    return b"NULL" if value is None else value if b"e" in value else value + b"e0"


def _bit(value: bytes | None) -> bytes:
    return b"NULL" if value is None else b"%d" % int.from_bytes(value, "big")


def _string(form: bytes) -> Literal:
    def literal(value: bytes | None) -> bytes:
        return b"NULL" if value is None else form % value.hex().encode()

    return literal


def _temporal(kind: int, typed: bool) -> Literal:
    word, pattern = _TEMPORAL[kind]

    def literal(value: bytes | None) -> bytes:
        if value is None:
            return b"NULL"
        if typed and pattern.fullmatch(value):
            return b"%s'%s'" % (word, value)
        return b"'%s'" % value

    return literal
