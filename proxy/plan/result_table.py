"""Columns of an answer -> columns of a temporary table that hold the same values and are the same to a statement. Pure.

Only types of which the definition in an answer tells all (MySQL "Protocol::ColumnDefinition41", MariaDB's
sql/field.cc, `make_send_field`): lengths are those that the server computes for the expression.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.plan.temporary_table import ColumnText
from proxy.wire import column as wire
from proxy.wire.charsets import BINARY, collation
from proxy.wire.column import ColumnDefinition

_INTEGERS = {  # with the least width at which what is computed of a column of the type is as wide as the type
    wire.TINY: (b"tinyint", 3),
    wire.SHORT: (b"smallint", 5),
    wire.INT24: (b"mediumint", 8),
    wire.LONG: (b"int", 10),
    wire.LONGLONG: (b"bigint", 20),
}
_TIMES = {wire.TIME: b"time", wire.DATETIME: b"datetime"}
_STRINGS = {wire.STRING: (b"char", b"binary"), wire.VAR_STRING: (b"varchar", b"varbinary")}
_MOST_BYTES = {b"char": 255, b"binary": 255, b"varchar": 2048, b"varbinary": 2048}  # or characters
_BYTES = {"utf8mb4": 4, "utf8mb3": 3, "latin1": 1, "latin2": 1, "ascii": 1, "binary": 1}  # of a character, at most
_ZEROFILL_FLAG, _ENUM_FLAG, _SET_FLAG = 64, 256, 2048
_MOST_DIGITS, _MOST_DECIMALS, _MOST_FRACTION, _WIDEST = 65, 38, 6, 255


def is_whole(column: ColumnDefinition) -> bool:
    """Are its values whole numbers, each written in one way?"""
    return column.type in _INTEGERS and not column.flags & _ZEROFILL_FLAG


def is_number(column: ColumnDefinition) -> bool:
    return column.type in _INTEGERS or column.type == wire.NEWDECIMAL


def is_plain_string(column: ColumnDefinition) -> bool:
    """Is it a string that is equal to none but itself, or no string?"""
    if column.type not in _STRINGS:
        return True
    known = collation(column.charset)
    return known is not None and (known.id == BINARY or known.name.endswith("_nopad_bin"))


def columns_of(definitions: Sequence[ColumnDefinition]) -> list[ColumnText] | None:
    """The table's columns, `c0` and so on; None where a type is not known well enough."""
    texts = [_text(column) for column in definitions]
    made = []
    for number, text in enumerate(texts):
        if text is None:
            return None
        null = b" NOT NULL" if definitions[number].flags & wire.NOT_NULL_FLAG else b" NULL"
        made.append(ColumnText(b"`c%d`" % number, text.partition(b"(")[0].split(b" ")[0], text + null))
    return made


def _text(column: ColumnDefinition) -> bytes | None:
    if column.type == wire.YEAR:
        return b"year"
    if column.flags & (_ZEROFILL_FLAG | _ENUM_FLAG | _SET_FLAG):
        return None
    unsigned = b" UNSIGNED" if column.flags & wire.UNSIGNED_FLAG else b""
    if column.type in _INTEGERS:
        kind, narrowest = _INTEGERS[column.type]
        narrowest += not unsigned and column.type != wire.LONGLONG
        return b"%s(%d)%s" % (kind, column.length, unsigned) if narrowest <= column.length <= _WIDEST else None
    if column.type == wire.NEWDECIMAL:
        digits = column.length - (column.decimals > 0) - (not unsigned)
        if not 0 < digits <= _MOST_DIGITS or column.decimals > min(digits, _MOST_DECIMALS):
            return None
        return b"decimal(%d,%d)%s" % (digits, column.decimals, unsigned)
    if column.type == wire.DATE:
        return b"date"
    if column.type in _TIMES:
        return b"%s(%d)" % (_TIMES[column.type], column.decimals) if column.decimals <= _MOST_FRACTION else None
    return _string(column)


def _string(column: ColumnDefinition) -> bytes | None:
    known = collation(column.charset)
    kinds = _STRINGS.get(column.type)
    size = _BYTES.get(known.charset) if known is not None else None
    if kinds is None or known is None or size is None or not column.length or column.length % size:
        return None
    binary = known.id == BINARY
    kind, characters = kinds[binary], column.length // size
    if characters > _MOST_BYTES[kind]:
        return None
    named = b"" if binary else b" CHARACTER SET %s COLLATE %s" % (known.charset.encode(), known.name.encode())
    return b"%s(%d)%s" % (kind, characters, named)
