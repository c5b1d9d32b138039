"""Parameters of every type of the binary protocol (MySQL, "Binary Protocol Value")."""

from __future__ import annotations

import struct

from tests.front.raw import Bound, lenenc

DECIMAL, TINY, SHORT, LONG, FLOAT, DOUBLE, TIMESTAMP, LONGLONG, INT24 = 0, 1, 2, 3, 4, 5, 7, 8, 9
DATE, TIME, DATETIME, YEAR, VARCHAR, BIT = 10, 11, 12, 13, 15, 16
JSON, NEWDECIMAL, ENUM, SET, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB, VAR_STRING, STRING = 245, *range(246, 255)
GEOMETRY = 255
WIDTHS = {TINY: 1, SHORT: 2, LONG: 4, LONGLONG: 8}  # MariaDB does not read INT24 and YEAR, but takes NULL for them
TEXTS = (DECIMAL, VARCHAR, BIT, JSON, NEWDECIMAL, ENUM, SET, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB, VAR_STRING)


def whole(kind: int, value: int, unsigned: bool = False) -> Bound:
    width = WIDTHS[kind]
    return Bound(kind, (value & (1 << 8 * width) - 1).to_bytes(width, "little"), unsigned)


def single(value: float) -> Bound:
    return Bound(FLOAT, struct.pack("<f", value))


def double(value: float) -> Bound:
    return Bound(DOUBLE, struct.pack("<d", value))


def text(kind: int, value: str | bytes) -> Bound:
    data = value.encode() if isinstance(value, str) else value
    return Bound(kind, lenenc(len(data)) + data)


def date(year: int, month: int, day: int) -> Bound:
    return Bound(DATE, struct.pack("<BHBB", 4, year, month, day))


def moment(kind: int, year: int, month: int, day: int, *time: int) -> Bound:
    """`time`: hours, minutes, seconds and microseconds, as many as are to be sent."""
    if not time:
        return Bound(kind, struct.pack("<BHBB", 4, year, month, day))
    if len(time) == 3:
        return Bound(kind, struct.pack("<BHBBBBB", 7, year, month, day, *time))
    return Bound(kind, struct.pack("<BHBBBBBI", 11, year, month, day, *time))


def clock(negative: bool, days: int, hours: int, minutes: int, seconds: int, fraction: int = 0) -> Bound:
    if not fraction:
        return Bound(TIME, struct.pack("<BBIBBB", 8, negative, days, hours, minutes, seconds))
    return Bound(TIME, struct.pack("<BBIBBBI", 12, negative, days, hours, minutes, seconds, fraction))


def every_type(number: int) -> list[Bound]:
    """A whole number (0 to 23) as every type that can stand for it, and a few values that no number equals."""
    digits = str(number)
    return [
        *(whole(kind, number) for kind in WIDTHS),
        *(whole(kind, number, True) for kind in WIDTHS),
        single(number),
        double(number),
        single(number + 0.5),
        double(number + 0.25),
        *(text(kind, digits) for kind in (*TEXTS, STRING)),
        text(NEWDECIMAL, f"{digits}.0"),
        text(NEWDECIMAL, f"{digits}.5"),
        text(VAR_STRING, f"{digits}abc"),
        text(VAR_STRING, f" {digits} "),
        text(VAR_STRING, f"{digits}.0"),
        text(BLOB, f"0{digits}"),
        text(GEOMETRY, b"\0" * 9),
        Bound(6, b""),
        date(2024, 2, number % 28 + 1),
        date(0, 0, 0),
        moment(DATETIME, 2024, 2, 29),
        moment(DATETIME, 2024, 2, 29, 10, 0, 0),
        moment(DATETIME, 2024, 2, 29, 10, 0, 0, 250000),
        moment(TIMESTAMP, 2024, 2, 29, 10, 0, 0),
        Bound(DATETIME, b"\0"),
        clock(False, 0, 0, 0, number),
        clock(True, 0, 10, 0, 0),
        clock(False, 4, 3, 0, 0, 100000),
        Bound(TIME, b"\0"),
    ]
