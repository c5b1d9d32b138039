"""Values in the binary log -> exact text, and exact SQL literals. Pure.

`writer(stored, definition)` looks at the table map's column and the catalog's once, and gives two functions that take
a value's bytes (`Layout.images`): nothing is worked out for columns that nobody asks for. NULL is the caller's.

`text` is what the server sends in its text protocol for this value with `SESSION`, in the column's own character set,
but for numbers: they have no ZEROFILL, and FLOAT and DOUBLE all digits that it takes to get the same number back.
`literal` is ASCII whatever the character sets, and gives the same value when it is inserted into, or compared with, a
column of the same definition by a session with the settings `SESSION`.

Sources: `sql/field.cc`, `sql-common/my_time.c`, `strings/decimal.c`, `plugin/type_uuid` and `plugin/type_inet` of
MariaDB; MySQL Internals, "Date and Time Data Type Representation" and "ROWS_EVENT".
"""

from __future__ import annotations

import datetime
import struct
from collections.abc import Callable
from dataclasses import dataclass

from proxy.errors import ProtocolError
from proxy.stream import rows
from proxy.stream.compression import column_uncompressed
from proxy.stream.definition import Definition, NotReadable
from proxy.stream.rows import Stored, decimal_bytes
from proxy.wire.charsets import charset_named, codec

# What the meaning of literals depends on. It is not strict, since a strict server refuses ENUM's value 0 (the empty
# string of what once was no member): whoever writes looks at the number of warnings. TIMESTAMPs are written in UTC.
SESSION = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', SESSION time_zone = '+00:00'"

Write = Callable[[bytes], bytes]  # a value's bytes in the log -> text or literal. Raises ProtocolError, NotReadable


@dataclass(frozen=True, slots=True)
class Writer:
    """How one column's values are written; see the module."""

    text: Write
    literal: Write


_INTEGERS = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "integer": 4, "bigint": 8}
_INTEGER_TYPES = {1: rows.TINY, 2: rows.SHORT, 3: rows.INT24, 4: rows.LONG, 8: rows.LONGLONG}
_STRINGS = (rows.VARCHAR, rows.VAR_STRING, rows.STRING, rows.VARCHAR_COMPRESSED)
_BLOBS = (rows.BLOB, rows.TINY_BLOB, rows.MEDIUM_BLOB, rows.LONG_BLOB, rows.BLOB_COMPRESSED)
_GEOMETRIES = (
    *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
    *("geometrycollection", "geomcollection"),
)
_FIXED_BINARY = {"uuid": 16, "inet6": 16, "inet4": 4}  # MariaDB's types that are logged as BINARY
_TYPES: dict[str, tuple[int, ...]] = {
    "float": (rows.FLOAT,),
    "double": (rows.DOUBLE,),
    "decimal": (rows.DECIMAL,),
    "bit": (rows.BIT,),
    "year": (rows.YEAR,),
    "date": (rows.DATE, rows.NEWDATE),
    "time": (rows.TIME, rows.TIME2),
    "datetime": (rows.DATETIME, rows.DATETIME2),
    "timestamp": (rows.TIMESTAMP, rows.TIMESTAMP2),
    "enum": (rows.ENUM,),
    "set": (rows.SET,),
    "char": _STRINGS,
    "varchar": _STRINGS,
    "binary": _STRINGS,
    "varbinary": _STRINGS,
    "vector": (*_STRINGS, rows.VECTOR),
    **dict.fromkeys(("tinytext", "text", "mediumtext", "longtext"), _BLOBS),
    **dict.fromkeys(("tinyblob", "blob", "mediumblob", "longblob"), _BLOBS),
    "json": (*_BLOBS, rows.JSON),
    **dict.fromkeys(_GEOMETRIES, (rows.GEOMETRY,)),
    **dict.fromkeys(_FIXED_BINARY, (rows.STRING,)),
}
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json"})
_OLD_TEMPORAL = frozenset({rows.TIMESTAMP, rows.TIME, rows.DATETIME})


def writer(stored: Stored, definition: Definition) -> Writer:
    """Raises NotReadable when the two do not fit each other (the definition is of another time), and for types whose
    values cannot be written exactly."""
    kind = definition.data_type
    if kind in _INTEGERS:
        size = _INTEGERS[kind]
        _check(stored.type == _INTEGER_TYPES[size], stored, definition)
        return _plain(_integer(size, not definition.unsigned))
    if kind in ("dec", "numeric", "fixed", "real", "double precision"):  # no server calls them so
        raise NotReadable(f"column {definition.name}: {kind} is not a type's own name")
    types = _TYPES.get(kind)
    if types is None:
        raise NotReadable(f"column {definition.name}: values of type {kind} are not known to Turnout")
    _check(stored.type in types, stored, definition)
    if kind == "float" or kind == "double":
        return _floating(kind)
    if kind == "decimal":
        return _plain(_decimal(stored.meta >> 8, stored.meta & 0xFF))
    if kind == "bit":
        return _bit((stored.meta + 7) >> 3)
    if kind == "year":
        return Writer(_year, lambda raw: b"%d" % int(_year(raw)))
    if kind in ("date", "time", "datetime", "timestamp"):
        _check(kind == "date" or stored.meta == definition.fraction_digits, stored, definition)
        return _quoted(_temporal(stored))
    if kind == "enum":
        return _enum(stored.meta, definition)
    if kind == "set":
        return _set(stored.meta, definition)
    if kind in _FIXED_BINARY:
        _check(stored.meta == _FIXED_BINARY[kind], stored, definition)
        return _quoted(_address_or_uuid(kind))
    if stored.type == rows.JSON:
        raise NotReadable(f"column {definition.name}: MySQL's binary JSON is not decoded")
    return _string(stored, definition)


def _check(fits: bool, stored: Stored, definition: Definition) -> None:
    if not fits:
        raise NotReadable(
            f"column {definition.name}: the log has type {stored.type} ({stored.meta}) where the catalog says "
            f"{definition.data_type}: it is of another time"
        )


def _plain(text: Write) -> Writer:
    return Writer(text, text)


def _quoted(text: Write) -> Writer:
    return Writer(text, lambda raw: b"'%b'" % text(raw))


def _sized(raw: bytes, size: int) -> bytes:
    if len(raw) != size:
        raise ProtocolError(f"a value of the binary log has {len(raw)} bytes where {size} are due")
    return raw


# -- numbers ----------------------------------------------------------------------------------------------------------


def _integer(size: int, signed: bool) -> Write:
    return lambda raw: b"%d" % int.from_bytes(_sized(raw, size), "little", signed=signed)


def _floating(kind: str) -> Writer:
    form = struct.Struct("<f" if kind == "float" else "<d")

    def text(raw: bytes) -> bytes:
        number = form.unpack(_sized(raw, form.size))[0]
        if number != number or number in (float("inf"), float("-inf")):
            raise ProtocolError("a floating-point number of the binary log is none that SQL has")
        return repr(number).encode()

    def literal(raw: bytes) -> bytes:
        digits = text(raw)
        return digits if b"e" in digits else digits + b"e0"  # without an exponent it is a DECIMAL

    return Writer(text, literal)


def _decimal(precision: int, scale: int) -> Write:
    size = decimal_bytes(precision, scale)
    whole_digits = precision - scale
    # (bytes, digits) of each group; the first whole and the last fractional group may be shorter than nine digits.
    whole = [(decimal_bytes(whole_digits % 9, 0), whole_digits % 9)] if whole_digits % 9 else []
    whole += [(4, 9)] * (whole_digits // 9)
    fraction = [(4, 9)] * (scale // 9)
    fraction += [(decimal_bytes(scale % 9, 0), scale % 9)] if scale % 9 else []

    def digits(data: bytes, pos: int, groups: list[tuple[int, int]]) -> str:
        found = []
        for n, count in groups:
            number = int.from_bytes(data[pos : pos + n], "big")
            if number >= 10**count:
                raise ProtocolError("a DECIMAL of the binary log has a digit that is none")
            found.append(f"{number:0{count}d}")
            pos += n
        return "".join(found)

    whole_bytes = sum(n for n, _ in whole)

    def text(raw: bytes) -> bytes:
        _sized(raw, size)
        negative = not raw[0] & 0x80
        data = bytes((raw[0] ^ 0x80,)) + raw[1:]
        if negative:
            data = bytes(byte ^ 0xFF for byte in data)
        left = digits(data, 0, whole).lstrip("0") or "0"
        right = digits(data, whole_bytes, fraction)
        return f"{'-' if negative else ''}{left}{'.' if right else ''}{right}".encode()

    return text


def _bit(size: int) -> Writer:
    return Writer(lambda raw: _sized(raw, size), lambda raw: b"%d" % int.from_bytes(_sized(raw, size), "big"))


# -- dates and times --------------------------------------------------------------------------------------------------


def _year(raw: bytes) -> bytes:
    number = _sized(raw, 1)[0]
    return b"%04d" % (1900 + number if number else 0)


def _temporal(stored: Stored) -> Write:
    kind, digits = stored.type, stored.meta
    if kind in (rows.DATE, rows.NEWDATE):
        return _date
    if kind in _OLD_TEMPORAL:
        read = {rows.TIMESTAMP: _old_timestamp, rows.TIME: _old_time, rows.DATETIME: _old_datetime}[kind]
        return lambda raw: read(raw, digits)
    read = {rows.TIMESTAMP2: _timestamp2, rows.TIME2: _time2, rows.DATETIME2: _datetime2}[kind]
    return lambda raw: read(raw, digits)


def _date(raw: bytes) -> bytes:
    packed = int.from_bytes(_sized(raw, 3), "little")
    return b"%04d-%02d-%02d" % (packed >> 9, packed >> 5 & 15, packed & 31)


def _fraction(number: int, digits: int) -> bytes:
    """`number` in units of the last digit."""
    if number >= 10**digits:
        raise ProtocolError("a time of the binary log has a fraction that is none")
    return b".%0*d" % (digits, number) if digits else b""


def _binary_fraction(number: int, digits: int) -> bytes:
    """`number` in units of the last of an even number of digits."""
    return _fraction(number // 10 if digits & 1 else number, digits)


def _at(seconds: int) -> bytes:
    """A number of seconds since 1970, in UTC. 0 stands for the zero date."""
    if not seconds:
        return b"0000-00-00 00:00:00"
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return moment.isoformat(" ", "seconds").encode()


def _timestamp2(raw: bytes, digits: int) -> bytes:
    _sized(raw, 4 + ((digits + 1) >> 1))
    return _at(int.from_bytes(raw[:4], "big")) + _binary_fraction(int.from_bytes(raw[4:], "big"), digits)


def _datetime2(raw: bytes, digits: int) -> bytes:
    _sized(raw, 5 + ((digits + 1) >> 1))
    packed = int.from_bytes(raw[:5], "big") - (1 << 39)
    if packed < 0:
        raise ProtocolError("a DATETIME of the binary log is negative")
    months = packed >> 22
    return b"%04d-%02d-%02d %02d:%02d:%02d%b" % (
        months // 13,
        months % 13,
        packed >> 17 & 31,
        packed >> 12 & 31,
        packed >> 6 & 63,
        packed & 63,
        _binary_fraction(int.from_bytes(raw[5:], "big"), digits),
    )


def _time2(raw: bytes, digits: int) -> bytes:
    bits = 8 * ((digits + 1) >> 1)
    _sized(raw, 3 + (bits >> 3))
    # Whole and fraction together are one number, offset so that negative times come first.
    packed = int.from_bytes(raw, "big") - (0x800000 << bits)
    sign = b"-" if packed < 0 else b""
    packed = abs(packed)
    whole = packed >> bits
    fraction = _binary_fraction(packed & ((1 << bits) - 1), digits)
    return b"%b%02d:%02d:%02d%b" % (sign, whole >> 12, whole >> 6 & 63, whole & 63, fraction)


def _old_timestamp(raw: bytes, digits: int) -> bytes:
    """Without a fraction little endian, with one big endian."""
    if not digits:
        return _at(int.from_bytes(_sized(raw, 4), "little"))
    _sized(raw, 4 + (digits + 1) // 2)
    return _at(int.from_bytes(raw[:4], "big")) + _fraction(int.from_bytes(raw[4:], "big"), digits)


def _old_datetime(raw: bytes, digits: int) -> bytes:
    """Without a fraction the number YYYYMMDDhhmmss; with one, the mixed-radix number of `pack_time`."""
    if not digits:
        number = int.from_bytes(_sized(raw, 8), "little")
        day, time = divmod(number, 1_000_000)
        return b"%04d-%02d-%02d %02d:%02d:%02d" % (
            day // 10_000,
            day // 100 % 100,
            day % 100,
            time // 10_000,
            time // 100 % 100,
            time % 100,
        )
    packed = int.from_bytes(_sized(raw, (0, 6, 6, 7, 7, 7, 8)[digits]), "big")
    packed, fraction = divmod(packed, 10**digits)
    packed, second = divmod(packed, 60)
    packed, minute = divmod(packed, 60)
    packed, hour = divmod(packed, 24)
    packed, day = divmod(packed, 32)
    year, month = divmod(packed, 13)
    return b"%04d-%02d-%02d %02d:%02d:%02d%b" % (year, month, day, hour, minute, second, _fraction(fraction, digits))


def _old_time(raw: bytes, digits: int) -> bytes:
    """Without a fraction the number hhmmss; with one, units of the last digit from just before the lowest time on."""
    if not digits:
        number = int.from_bytes(_sized(raw, 3), "little", signed=True)
        sign, number = b"-" if number < 0 else b"", abs(number)
        return b"%b%02d:%02d:%02d" % (sign, number // 10_000, number // 100 % 100, number % 100)
    units = 10**digits
    packed = int.from_bytes(_sized(raw, (0, 4, 4, 5, 5, 5, 6)[digits]), "big") - 3_020_400 * units  # 839 hours
    sign, packed = b"-" if packed < 0 else b"", abs(packed)
    seconds, fraction = divmod(packed, units)
    return b"%b%02d:%02d:%02d%b" % (
        sign,
        seconds // 3600,
        seconds // 60 % 60,
        seconds % 60,
        _fraction(fraction, digits),
    )


# -- strings ----------------------------------------------------------------------------------------------------------


def _string(stored: Stored, definition: Definition) -> Writer:
    kind = definition.data_type
    text: Write = bytes
    if stored.type in (rows.VARCHAR_COMPRESSED, rows.BLOB_COMPRESSED):
        text = column_uncompressed
    elif kind == "binary":
        text = _filled(stored.meta)
    if kind not in _TEXTS or definition.charset in (None, "binary"):
        introducer = b""
        if kind in _TEXTS and kind != "json":
            raise NotReadable(f"column {definition.name}: the catalog does not say which character set it has")
        if kind == "json":
            introducer = b"_utf8mb4 "
    else:
        charset = charset_named(definition.charset or "")
        if charset is None:
            raise NotReadable(f"column {definition.name}: its character set {definition.charset} is not known")
        introducer = f"_{charset} ".encode()
    return Writer(text, lambda raw: b"%bx'%b'" % (introducer, text(raw).hex().encode()))


def _filled(size: int) -> Write:
    """BINARY: the log leaves out trailing zeros."""
    return lambda raw: raw.ljust(size, b"\0")


def _enum(size: int, definition: Definition) -> Writer:
    members = definition.members

    def number(raw: bytes) -> int:
        found = int.from_bytes(_sized(raw, size), "little")
        if found > len(members):
            raise NotReadable(f"column {definition.name}: it has no member {found}: the catalog is of another time")
        return found

    def text(raw: bytes) -> bytes:
        found = number(raw)
        return _encoded(members[found - 1], definition) if found else b""

    return Writer(text, lambda raw: b"%d" % number(raw))


def _set(size: int, definition: Definition) -> Writer:
    members = definition.members

    def number(raw: bytes) -> int:
        found = int.from_bytes(_sized(raw, size), "little")
        if found >> len(members):
            raise NotReadable(f"column {definition.name}: it has fewer members: the catalog is of another time")
        return found

    def text(raw: bytes) -> bytes:
        found = number(raw)
        return _encoded(",".join(member for n, member in enumerate(members) if found >> n & 1), definition)

    return Writer(text, lambda raw: b"%d" % number(raw))


def _encoded(text: str, definition: Definition) -> bytes:
    name = codec(definition.charset or "")
    if definition.charset == "binary" or name is None:
        name = "ascii"
    try:
        return text.encode(name)
    except UnicodeEncodeError:
        raise NotReadable(
            f"column {definition.name}: a member of its type cannot be written in {definition.charset}"
        ) from None


def _address_or_uuid(kind: str) -> Write:
    size = _FIXED_BINARY[kind]

    def text(raw: bytes) -> bytes:
        value = _sized(raw.ljust(size, b"\0"), size)  # the log leaves out trailing zeros
        if kind == "uuid":
            digits = value.hex()
            return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])).encode()
        return (_inet6(value) if kind == "inet6" else _dotted(value)).encode()

    return text


def _dotted(value: bytes) -> str:
    return ".".join(str(byte) for byte in value)


def _inet6(value: bytes) -> str:
    """As the server writes it: it also leaves out a single zero."""
    words = struct.unpack(">8H", value)
    at, length = 0, 0
    for start in range(8):
        zeros = next((n for n, word in enumerate(words[start:]) if word), 8 - start)
        if zeros > length:
            at, length = start, zeros
    shown = [f"{word:x}" for word in words]
    if not length:
        return ":".join(shown)
    right = shown[at + length :]
    if at == 0 and (length == 6 or (length == 5 and words[5] == 0xFFFF)):
        right = [*shown[length:6], _dotted(value[12:])]
    return f"{':'.join(shown[:at])}::{':'.join(right)}"
