"""Row packets taken apart and put together, in the text and in the binary protocol.

A value is its bytes without their length: text, or in the binary protocol what MySQL's "Binary Protocol Resultset Row"
says of its type (numbers little-endian, dates and times in parts, everything else as text). None is NULL.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from proxy.errors import ProtocolError
from proxy.wire import column, lenenc
from proxy.wire.column import UNSIGNED_FLAG, ColumnDefinition
from proxy.wire.resultset import Row, encode_row

_WIDTHS: Final = {
    column.TINY: 1,
    column.SHORT: 2,
    column.YEAR: 2,
    column.LONG: 4,
    column.INT24: 4,
    column.FLOAT: 4,
    column.LONGLONG: 8,
    column.DOUBLE: 8,
}
INTEGERS: Final = frozenset({column.TINY, column.SHORT, column.LONG, column.LONGLONG, column.INT24, column.YEAR})


class Rows(Protocol):
    """The rows of one result set."""

    binary: bool

    def fields(self, payload: bytes, wanted: Sequence[bool], visible: int) -> tuple[Row, int]:
        """The wanted values of a row (others as None), and where the column behind the `visible` ones begins."""

    def front(self, payload: bytes, visible: int, end: int) -> bytes:
        """The row with its first `visible` columns alone, which end at `end`."""

    def encode(self, row: Sequence[bytes | None]) -> bytes:
        """The payload of a row of values; it may have fewer columns."""

    def number(self, number: int, value: bytes) -> bytes:
        """The digits of a value of column `number`, which is of whole or decimal numbers."""

    def value(self, number: int, digits: bytes) -> bytes:
        """And back."""


class TextRows:
    binary = False

    def fields(self, payload: bytes, wanted: Sequence[bool], visible: int) -> tuple[Row, int]:
        row: Row = []
        add = row.append
        pos = end = 0
        number = 0
        for keep in wanted:
            if number == visible:
                end = pos
            number += 1
            n = payload[pos]
            pos += 1
            if n < 0xFB:
                add(payload[pos : pos + n] if keep else None)
                pos += n
            elif n == 0xFB:
                add(None)
            else:
                value, pos = lenenc.read_bytes(payload, pos - 1)
                add(value)
        return row, end if visible < number else pos

    def front(self, payload: bytes, visible: int, end: int) -> bytes:
        return payload[:end]

    def encode(self, row: Sequence[bytes | None]) -> bytes:
        return encode_row(row)

    def number(self, number: int, value: bytes) -> bytes:
        return value

    def value(self, number: int, digits: bytes) -> bytes:
        return digits


class BinaryRows:
    binary = True

    def __init__(self, columns: Sequence[ColumnDefinition]) -> None:
        self._columns = columns
        self._widths = [_WIDTHS.get(c.type, 0) for c in columns]  # 0: a length and as many bytes
        self._begin = 1 + _bitmap_size(len(columns))

    def fields(self, payload: bytes, wanted: Sequence[bool], visible: int) -> tuple[Row, int]:
        row: Row = []
        add = row.append
        pos = end = self._begin
        nulls = int.from_bytes(payload[1:pos], "little") >> 2
        number = 0
        for keep, width in zip(wanted, self._widths):
            if number == visible:
                end = pos
            if nulls >> number & 1:
                add(None)
                number += 1
                continue
            number += 1
            if not width:
                width = payload[pos]
                pos += 1
                if width > 0xFA:
                    value, pos = lenenc.read_bytes(payload, pos - 1)
                    add(value)
                    continue
            add(payload[pos : pos + width] if keep else None)
            pos += width
        if pos > len(payload):
            raise ProtocolError("Malformed packet: a row ends early")
        return row, end if visible < number else pos

    def front(self, payload: bytes, visible: int, end: int) -> bytes:
        size = _bitmap_size(visible)
        nulls = int.from_bytes(payload[1 : self._begin], "little") & ((1 << visible + 2) - 1)
        return b"\0" + nulls.to_bytes(size, "little") + payload[self._begin : end]

    def encode(self, row: Sequence[bytes | None]) -> bytes:
        nulls = 0
        values = []
        for number, value in enumerate(row):
            if value is None:
                nulls |= 1 << number + 2
            else:
                values.append(value if self._widths[number] else lenenc.write_bytes(value))
        return b"".join((b"\0", nulls.to_bytes(_bitmap_size(len(row)), "little"), *values))

    def encode_text(self, row: Sequence[bytes | None]) -> bytes:
        """The payload of a row whose values are given as the text protocol has them; without FLOAT and DOUBLE."""
        return self.encode([None if text is None else self._of_text(n, text) for n, text in enumerate(row)])

    def _of_text(self, number: int, text: bytes) -> bytes:
        kind = self._columns[number].type
        if kind in _MOMENTS:
            return _moment(text)
        if kind in _UNWRITTEN:
            raise ValueError(f"text of type {kind} as a binary value")
        return self.value(number, text)

    def number(self, number: int, value: bytes) -> bytes:
        definition = self._columns[number]
        return b"%d" % integer_of(definition)(value) if definition.type in INTEGERS else value

    def value(self, number: int, digits: bytes) -> bytes:
        definition = self._columns[number]
        if definition.type not in INTEGERS:
            return digits
        width = self._widths[number]
        return (int(digits) & (1 << 8 * width) - 1).to_bytes(width, "little")


_MOMENTS: Final = frozenset({column.DATE, column.DATETIME, column.TIMESTAMP})
_UNWRITTEN: Final = frozenset({column.FLOAT, column.DOUBLE, column.TIME})


def _moment(text: bytes) -> bytes:
    """`2024-02-29 10:00:00.5` as its parts, those at the end that are zero left out."""
    day, _, time = text.partition(b" ")
    year, month, date = map(int, day.split(b"-"))
    clock, _, fraction = time.partition(b".")
    hour, minute, second = map(int, clock.split(b":")) if clock else (0, 0, 0)
    parts = _PARTS.pack(year, month, date, hour, minute, second, int(fraction.ljust(6, b"0")))
    return next((parts[:size] for size in (0, 4, 7) if not any(parts[size:])), parts)


def _bitmap_size(columns: int) -> int:
    return (columns + 9) // 8


def integer_of(definition: ColumnDefinition) -> Callable[[bytes], int]:
    """What a binary value of a column of whole numbers stands for."""
    signed = not definition.flags & UNSIGNED_FLAG

    def integer(value: bytes) -> int:
        return int.from_bytes(value, "little", signed=signed)

    return integer


def double_of(value: bytes) -> float:
    number: float = struct.unpack("<d", value)[0]
    return number


_DAY_S: Final = 24 * 3600
_PARTS: Final = struct.Struct("<HBBBBBI")
_TIME: Final = struct.Struct("<BIBBBI")


def moment_of(value: bytes) -> int:
    """A number by which binary DATEs and DATETIMEs compare."""
    year, month, day, hour, minute, second, microsecond = _PARTS.unpack(value + bytes(_PARTS.size - len(value)))
    day_s = hour * 3600 + minute * 60 + second
    return int((((year * 13 + month) * 32 + day) * _DAY_S + day_s) * 1_000_000 + microsecond)


def time_of(value: bytes) -> int:
    """A binary TIME as microseconds."""
    negative, days, hours, minutes, seconds, fraction = _TIME.unpack(value + bytes(_TIME.size - len(value)))
    whole: int = (days * _DAY_S + hours * 3600 + minutes * 60 + seconds) * 1_000_000 + fraction
    return -whole if negative else whole
