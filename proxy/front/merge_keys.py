"""Rows -> keys that Python orders as the server orders the rows.

A key is an integer, a Decimal, a float or bytes, or a tuple of such where rows are sorted by several expressions. NULLs
come first, last where the order descends. Strings are compared by what WEIGHT_STRING says of them; where the collation
pads (PAD SPACE), as if each ended in spaces without end.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import cast

from proxy.errors import ServerFailed
from proxy.plan import refusals
from proxy.plan.merge import MergeKey
from proxy.wire import column as wire
from proxy.wire import rows
from proxy.wire.column import ColumnDefinition
from proxy.wire.resultset import Row

Ordered = int | float | Decimal | bytes
Value = Callable[[bytes], Ordered]

_DECIMALS = frozenset({wire.DECIMAL, wire.NEWDECIMAL})
NUMBERS = rows.INTEGERS | _DECIMALS
_MOMENTS = frozenset({wire.DATE, wire.DATETIME})
STRING_TYPES = frozenset(
    {wire.VARCHAR, wire.VAR_STRING, wire.STRING, wire.TINY_BLOB, wire.MEDIUM_BLOB, wire.LONG_BLOB, wire.BLOB}
)
_ENUM_FLAG, _SET_FLAG = 256, 2048
_NOT_FIXED = 31  # `decimals` of a DOUBLE that is printed with as many digits as it takes
_NAMES = {wire.FLOAT: "FLOAT", wire.DOUBLE: "DOUBLE with fixed decimals", wire.TIMESTAMP: "TIMESTAMP", wire.BIT: "BIT"}

# Collations whose WEIGHT_STRING, padded with the weight of a space, compares as the collation does. Those that weigh a
# string more than once (accents and case behind all letters: _as_, _cs of UCA 14.0.0) are not among them.
_EIGHT_BITS = r"(?:latin1|ascii|latin2|latin5|cp1250|cp1251|cp1256|cp1257|greek|hebrew|koi8r)"
_SPACES: tuple[tuple[re.Pattern[str], bytes], ...] = (
    (re.compile(rf"{_EIGHT_BITS}_bin|latin1_(?:swedish|general|danish|spanish|german1)_ci|latin1_general_cs"), b"\x20"),
    (re.compile(rf"{_EIGHT_BITS}_general_ci|latin5_turkish_ci"), b"\x20"),
    (re.compile(r"utf8(?:mb3|mb4)?_general_ci|utf8(?:mb3)?_bin"), b"\x00\x20"),
    (re.compile(r"utf8mb4_bin"), b"\x00\x00\x20"),
    (re.compile(r"utf8(?:mb3|mb4)?_unicode_ci|utf8(?:mb3|mb4)?_uca1400_ai_ci"), b"\x02\x09"),
    (re.compile(r"utf8(?:mb3|mb4)?_unicode_520_ci"), b"\x02\x0a"),
)
_WITHOUT_PADDING = re.compile(
    rf"binary|{_EIGHT_BITS}_nopad_bin|utf8(?:mb3|mb4)?_(?:nopad_bin|general_nopad_ci|unicode_nopad_ci"
    rf"|unicode_520_nopad_ci|uca1400_nopad_ai_ci)|latin1_swedish_nopad_ci|utf8mb4_0900_(?:ai_ci|bin)"
)
_INVERTED = bytes(255 - n for n in range(256))


def space_weight(collation: str) -> bytes | None:
    """What a space weighs; b"" where trailing spaces count like other characters; None: a collation not modelled."""
    if _WITHOUT_PADDING.fullmatch(collation):
        return b""
    return next((space for pattern, space in _SPACES if pattern.fullmatch(collation)), None)


def padded(space: bytes) -> Callable[[bytes], bytes]:
    """Weights without end padding -> bytes that compare as if the weights were followed by spaces without end.

    A run of spaces, and the end of the string, becomes one space and a mark: 0 where something less than a space
    follows, 1 at the end, 2 where something greater does. Behind 0 and 2 the length of the run decides.
    """
    size = len(space)
    pieces = re.compile(rb"(?:(?!%b)%b)+|(?:%b)+" % (re.escape(space), b"." * size, re.escape(space)), re.DOTALL)
    end = space + b"\1"

    less, greater = (space + mark + run for mark, run in ((b"\0", b"\0\0\0\1"), (b"\2", b"\xff\xff\xff\xfe")))

    def pad(weights: bytes) -> bytes:
        if space not in weights:
            return weights + end
        words = weights.split(space)
        if b"" not in words and not any(len(word) % size for word in words):  # single spaces between words
            out = [words[0]]
            for word in words[1:]:
                out.append(less if word < space else greater)
                out.append(word)
            out.append(end)
            return b"".join(out)
        return pad_any(weights)

    def pad_any(weights: bytes) -> bytes:
        parts = pieces.findall(weights)
        if parts and parts[-1].startswith(space):
            parts.pop()
        out = []
        for n, part in enumerate(parts):
            if not part.startswith(space):
                out.append(part)
                continue
            run = len(part) // size
            if parts[n + 1] < space:
                out.append(space + b"\0" + run.to_bytes(4, "big"))
            else:
                out.append(space + b"\2" + (0xFFFFFFFF - run).to_bytes(4, "big"))
        out.append(end)
        return b"".join(out)

    return pad


def descending(key: bytes) -> bytes:
    """Bytes in the opposite order, none of which is the beginning of another's."""
    return (key.replace(b"\0", b"\0\xff") + b"\0\0").translate(_INVERTED)


_TIME = re.compile(rb"(-?)([0-9]+):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?")


def time_of(text: bytes) -> int:
    """A TIME as microseconds."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"not a TIME: {text!r}")
    sign, hours, minutes, seconds, fraction = found.groups()
    whole = (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1_000_000 + int((fraction or b"").ljust(6, b"0"))
    return -whole if sign else whole


class _Part:
    """One expression that rows are sorted by: the key of its value in a row."""

    def __init__(self, key: MergeKey, columns: Sequence[ColumnDefinition], binary: bool) -> None:
        self.label = key.label
        self.descending = key.descending
        self.value = _from_front(key.value, columns)
        self.weight = self.collation = -1
        kind = columns[self.value] if self.value >= 0 else None
        self.null: Ordered
        convert = _number(kind, key.label, binary) if kind is not None else None
        if convert is not None:
            self._convert: Value = convert
            self.null = _null_of(convert, key.descending)
            return
        if key.weight is None or key.collation is None:
            assert kind is not None
            raise refusals.SORT_RESULT_TYPE.error(expression=key.label, type="a string that changes")
        self.value = -1
        self.weight, self.collation = (_from_front(each, columns) for each in (key.weight, key.collation))
        self._name: bytes | None = None
        self.null = b"\xff" if key.descending else b""

    @property
    def wanted(self) -> tuple[int, ...]:
        return (self.value,) if self.value >= 0 else (self.weight, self.collation)

    def of(self, row: Row) -> Ordered:
        if self.value >= 0:
            text = row[self.value]
            return self.null if text is None else self._convert(text)
        name = row[self.collation]
        if name is None:
            return self.null
        weights = row[self.weight]
        if weights is None:
            raise refusals.SORT_LENGTH.error(expression=self.label)
        if name != self._name:
            self._begin(name)
        return self._convert(weights)

    def _begin(self, name: bytes) -> None:
        """The first value that is not NULL: now the collation is known."""
        collation = name.decode("ascii", "replace")
        space = space_weight(collation)
        if space is None or self._name is not None:
            raise refusals.SORT_COLLATION.error(expression=self.label, collation=collation)
        self._name = name
        pad = padded(space) if space else None
        if self.descending:
            self._convert = (lambda w: descending(b"\1" + pad(w))) if pad else (lambda w: descending(b"\1" + w))
        else:
            self._convert = (lambda w: b"\1" + pad(w)) if pad else (lambda w: b"\1" + w)


def _from_front(column: int | None, columns: Sequence[ColumnDefinition]) -> int:
    if column is None:
        return -1
    return column if column >= 0 else len(columns) + column


def _number(column: ColumnDefinition, name: str, binary: bool) -> Value | None:
    """How a value of this type becomes a key, sign included later; None for strings. Raises StatementRefused."""
    kind = column.type
    if column.flags & (_ENUM_FLAG | _SET_FLAG):
        raise refusals.SORT_RESULT_TYPE.error(expression=name, type="ENUM or SET")
    if kind == wire.YEAR and column.length == 2:
        raise refusals.SORT_RESULT_TYPE.error(expression=name, type="YEAR(2)")
    if kind in rows.INTEGERS:
        return rows.integer_of(column) if binary else int
    if kind in _DECIMALS:
        return _decimal
    if kind == wire.DOUBLE and column.decimals == _NOT_FIXED:
        return rows.double_of if binary else float
    if kind == wire.TIME:
        return rows.time_of if binary else time_of
    if kind in _MOMENTS and binary:
        return rows.moment_of
    if kind in _MOMENTS or (kind == wire.BIT and column.org_name):  # of an expression's, servers send the digits
        return bytes
    if kind in STRING_TYPES or kind == wire.NULL:
        return None
    raise refusals.SORT_RESULT_TYPE.error(expression=name, type=_NAMES.get(kind, f"type {kind} of the protocol"))


def _decimal(text: bytes) -> Decimal:
    return Decimal(text.decode("ascii"))


def _null_of(convert: Value, falls: bool) -> Ordered:
    if convert is bytes:
        return b"\xff" if falls else b""
    if convert is _decimal:
        return Decimal("Infinity") if falls else Decimal("-Infinity")
    return float("inf") if falls else float("-inf")


class KeyReader:
    """Gives the keys of one shard's rows, of which it gets the values as `proxy.wire.rows` gives them. Raises
    StatementRefused, from `keys` too, where they have none."""

    def __init__(self, keys: Sequence[MergeKey], columns: Sequence[ColumnDefinition], binary: bool = False) -> None:
        self._parts = [_Part(key, columns, binary) for key in keys]
        for part in self._parts:
            if part.descending and part.value >= 0:
                part._convert = _falling(part._convert)
            elif part.value >= 0 and part._convert is bytes:
                part._convert = _rising_text
        self.label = ", ".join(part.label for part in self._parts)
        self._of = [part.of for part in self._parts]

    @property
    def wanted(self) -> frozenset[int]:
        """The columns that keys are made of."""
        return frozenset(column for part in self._parts for column in part.wanted)

    @property
    def collations(self) -> tuple[bytes | None, ...]:
        """Of the keys that are strings, as far as they are known."""
        return tuple(part._name for part in self._parts if part.value < 0)

    def key(self, row: Row) -> Ordered | tuple[Ordered, ...]:
        try:
            if len(self._of) == 1:
                return self._of[0](row)
            return tuple([of(row) for of in self._of])
        except (ValueError, InvalidOperation, IndexError, struct.error) as error:
            raise ServerFailed(f"A value of {self.label} could not be compared: {error}", 1105) from error


def _rising_text(text: bytes) -> bytes:
    return b"\1" + text


def _falling(convert: Value) -> Value:
    if convert is bytes:
        return lambda text: descending(b"\1" + text)
    if convert is _decimal:
        return lambda text: Decimal(text.decode("ascii")).copy_negate()
    number = cast(Callable[[bytes], int | float], convert)
    return lambda value: -number(value)
