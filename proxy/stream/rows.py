"""Rows of a table in the binary log: where each column's value is, and the values of a few of them.

Sources: `sql/rpl_utility.cc` and `log_event_server.cc` of MariaDB; MySQL Internals, "TABLE_MAP_EVENT" and "ROWS_EVENT".
A value is given as the bytes that the log has (without a string's length); what they mean is for `proxy.stream.values`.

The log says how many bytes a value takes, but for one case: the temporal types as MariaDB kept them before 10.1 (and
keeps them with mysql56_temporal_format=OFF) take more bytes with fractional seconds, and only the catalog knows how
many digits these have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from proxy.errors import ProtocolError
from proxy.stream.compression import event_uncompressed
from proxy.stream.events import Change, Rows

TINY, SHORT, LONG, LONGLONG, INT24 = 1, 2, 3, 8, 9
FLOAT, DOUBLE, NULL, YEAR, BIT, DECIMAL = 4, 5, 6, 13, 16, 246
DATE, NEWDATE, VARCHAR, VAR_STRING, STRING, ENUM, SET = 10, 14, 15, 253, 254, 247, 248
TIMESTAMP, TIME, DATETIME, TIMESTAMP2, DATETIME2, TIME2 = 7, 11, 12, 17, 18, 19
BLOB_COMPRESSED, VARCHAR_COMPRESSED = 140, 141  # MariaDB's column attribute COMPRESSED
VECTOR, JSON, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB, GEOMETRY = 242, 245, 249, 250, 251, 252, 255
_FIXED = {
    TINY: 1,
    SHORT: 2,
    LONG: 4,
    NULL: 0,
    LONGLONG: 8,
    INT24: 3,
    DATE: 3,
    YEAR: 1,
    NEWDATE: 3,
}
# Bytes by digits of the fraction; without any they are of another form (little endian).
_OLD_TEMPORAL = {
    TIMESTAMP: (4, 5, 5, 6, 6, 7, 7),
    TIME: (3, 4, 4, 5, 5, 5, 6),
    DATETIME: (8, 6, 6, 7, 7, 7, 8),
}
_FRACTIONAL = {TIMESTAMP2: 4, DATETIME2: 5, TIME2: 3}  # bytes before the fraction
_BLOBS = frozenset({BLOB_COMPRESSED, VECTOR, JSON, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB, GEOMETRY})
_MAX_READERS = 64
_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)

Image = list[bytes | None]  # the wanted columns' values; None is NULL
_Reader = Callable[[bytes, int], tuple[Image, int]]


class NotThere(Exception):
    """A wanted column is not in the row's image (binlog_row_image is not FULL)."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How the log keeps the values of one column. `meta` by type: the length in bytes of VARCHAR, STRING and their
    like, precision * 256 + scale of DECIMAL, bits of BIT, digits of the fraction of temporal types, else bytes of a
    value (ENUM, SET, FLOAT) or of its length (BLOBs)."""

    type: int
    meta: int


class Layout:
    """One table map: the real type of every column, and how many bytes its values take.

    `sizes[i]` is a number of bytes, or minus the number of bytes of the length that precedes the value.
    `fraction_digits` are the catalog's, one for each column. Without them (or with too few) old temporal columns are
    taken for such without a fraction, and `guessed` says that there are some: nothing in an image is certain then.
    """

    __slots__ = ("_readers", "guessed", "metas", "sizes", "types")

    def __init__(self, rest: memoryview, fraction_digits: Sequence[int] | None = None) -> None:
        count, pos = _length(rest, 0)
        if count > 8192 or pos + count > len(rest):
            raise ProtocolError("a table map event is malformed")
        types = list(rest[pos : pos + count])
        meta_bytes, pos = _length(rest, pos + count)
        meta = rest[pos : pos + meta_bytes]
        if len(meta) != meta_bytes:
            raise ProtocolError("a table map event is cut short")
        digits = fraction_digits if fraction_digits is not None and len(fraction_digits) == count else None
        self.guessed = digits is None and any(kind in _OLD_TEMPORAL for kind in types)
        self.types: list[int] = []
        self.sizes: list[int] = []
        self.metas: list[int] = []
        self._readers: dict[tuple[bytes, tuple[int, ...]], _Reader] = {}
        at = 0
        try:
            for ordinal, kind in enumerate(types):
                known = digits[ordinal] if digits is not None else 0
                kind, size, meta_of, used = _column(kind, meta, at, known)
                at += used
                self.types.append(kind)
                self.sizes.append(size)
                self.metas.append(meta_of)
        except IndexError as error:
            raise ProtocolError("a table map event is cut short") from error

    def stored(self, ordinal: int) -> Stored:
        return Stored(self.types[ordinal], self.metas[ordinal])

    def images(self, rows: Rows, wanted: Sequence[int]) -> Iterator[tuple[Image | None, Image | None]]:
        """(before, after) of every row: the values of the columns `wanted` (ordinals, ascending). Raises ProtocolError,
        and NotThere when a wanted column is not in an image."""
        body = rows.body
        try:
            count, pos = _length(body, 0)
            if count != len(self.types):
                raise ProtocolError("a rows event has other columns than its table map")
            bitmap_bytes = (count + 7) >> 3
            first = self._reader(bytes(body[pos : pos + bitmap_bytes]), wanted)
            pos += bitmap_bytes
            second = first
            if rows.change is Change.UPDATE:
                second = self._reader(bytes(body[pos : pos + bitmap_bytes]), wanted)
                pos += bitmap_bytes
            if pos > len(body):
                raise IndexError
            data = event_uncompressed(body[pos:]) if rows.compressed else bytes(body[pos:])
            pos, end = 0, len(data)
            while pos < end:
                image, pos = first(data, pos)
                if rows.change is Change.INSERT:
                    yield None, image
                elif rows.change is Change.DELETE:
                    yield image, None
                else:
                    after, pos = second(data, pos)
                    yield image, after
            if pos != end:
                raise ProtocolError("a rows event ends in the middle of a row")
        except IndexError as error:
            raise ProtocolError("a rows event is cut short") from error

    def _reader(self, present: bytes, wanted: Sequence[int]) -> _Reader:
        """A function that reads one image: (its bytes, where it begins) -> (wanted values, where it ends)."""
        key = (present, tuple(wanted))
        found = self._readers.get(key)
        if found is None:
            if len(self._readers) >= _MAX_READERS:
                self._readers.clear()
            found = self._readers[key] = self._new_reader(present, wanted)
        return found

    def _new_reader(self, present: bytes, wanted: Sequence[int]) -> _Reader:
        columns = [i for i in range(len(self.types)) if present[i >> 3] >> (i & 7) & 1]
        if not columns:
            raise ProtocolError("a rows event has images without any column")
        if not set(wanted) <= set(columns):
            raise NotThere
        # Steps: (bit in the null bitmap, size, place among the wanted or -1). Unwanted ones are joined where they are
        # of fixed size only if no value of the row is NULL, which is the common case.
        place = {ordinal: n for n, ordinal in enumerate(wanted)}
        steps = [(bit, self.sizes[i], place.get(i, -1)) for bit, i in enumerate(columns)]
        joined: list[tuple[int, int]] = []
        for _, size, at in steps:
            if at < 0 and size >= 0 and joined and joined[-1][1] < 0 and joined[-1][0] >= 0:
                joined[-1] = (joined[-1][0] + size, -1)
            else:
                joined.append((size, at))
        null_bytes = (len(columns) + 7) >> 3
        no_nulls = bytes(null_bytes)
        # The bits after the last column are set on some servers.
        spare = (0xFF << (len(columns) & 7)) & 0xFF if len(columns) & 7 else 0
        no_nulls_spare = bytes(max(null_bytes - 1, 0)) + bytes((spare,)) if null_bytes else b""
        width = len(wanted)

        def read(data: bytes, pos: int) -> tuple[Image, int]:
            nulls = data[pos : pos + null_bytes]
            pos += null_bytes
            image: Image = [None] * width
            if nulls in (no_nulls, no_nulls_spare):
                for size, at in joined:
                    if size < 0:
                        length = size
                        if size == -1:
                            length = data[pos]
                            pos += 1
                        elif size == -2:
                            length = data[pos] | data[pos + 1] << 8
                            pos += 2
                        else:
                            length = int.from_bytes(data[pos : pos - size], "little")
                            pos -= size
                        if at >= 0:
                            image[at] = data[pos : pos + length]
                        pos += length
                    else:
                        if at >= 0:
                            image[at] = data[pos : pos + size]
                        pos += size
            else:
                for bit, size, at in steps:
                    if nulls[bit >> 3] >> (bit & 7) & 1:
                        continue
                    if size < 0:
                        length = int.from_bytes(data[pos : pos - size], "little")
                        pos -= size
                        if at >= 0:
                            image[at] = data[pos : pos + length]
                        pos += length
                    else:
                        if at >= 0:
                            image[at] = data[pos : pos + size]
                        pos += size
            if pos > len(data):
                raise IndexError
            return image, pos

        return read


def _column(kind: int, meta: memoryview, at: int, digits: int) -> tuple[int, int, int, int]:
    """(real type, size as in `Layout.sizes`, `Stored.meta`, bytes of metadata) of one column. Raises IndexError."""
    if kind in (FLOAT, DOUBLE):
        size = 4 if kind == FLOAT else 8
        if meta[at] != size:
            raise ProtocolError("a table map event is malformed")
        return kind, size, size, 1
    if kind in _FIXED:
        return kind, _FIXED[kind], _FIXED[kind], 0
    if kind in _OLD_TEMPORAL:
        if not 0 <= digits <= 6:
            raise ProtocolError("a column has more than six digits of fractional seconds")
        return kind, _OLD_TEMPORAL[kind][digits], digits, 0
    if kind in _FRACTIONAL:
        if meta[at] > 6:
            raise ProtocolError("a table map event is malformed")
        return kind, _FRACTIONAL[kind] + ((meta[at] + 1) >> 1), meta[at], 1
    if kind in (VARCHAR, VAR_STRING, VARCHAR_COMPRESSED):
        length = meta[at] | meta[at + 1] << 8
        return kind, -1 if length < 256 else -2, length, 2
    if kind == BIT:
        bits = meta[at + 1] * 8 + meta[at]
        if not 0 < bits <= 64 or meta[at] > 7:
            raise ProtocolError("a table map event is malformed")
        return kind, (bits + 7) >> 3, bits, 2
    if kind == DECIMAL:
        precision, scale = meta[at], meta[at + 1]
        if not 0 < precision <= 65 or scale > precision:
            raise ProtocolError("a table map event is malformed")
        return kind, decimal_bytes(precision, scale), precision << 8 | scale, 2
    if kind in _BLOBS:
        if not 1 <= meta[at] <= 4:
            raise ProtocolError("a table map event is malformed")
        return kind, -meta[at], meta[at], 1
    if kind == STRING:
        real, length = meta[at], meta[at + 1]
        if real & 0x30 != 0x30:  # the length of a long CHAR has two more bits
            length |= ((real & 0x30) ^ 0x30) << 4
            real |= 0x30
        if real in (ENUM, SET):
            return real, _members_bytes(real, length), length, 2
        return STRING, -1 if length < 256 else -2, length, 2
    if kind in (ENUM, SET):
        return kind, _members_bytes(kind, meta[at + 1]), meta[at + 1], 2
    raise ProtocolError(f"columns of type {kind} are not known to Turnout")


def decimal_bytes(precision: int, scale: int) -> int:
    """How many bytes a DECIMAL takes."""
    whole = precision - scale
    return whole // 9 * 4 + _DIGIT_BYTES[whole % 9] + scale // 9 * 4 + _DIGIT_BYTES[scale % 9]


def _members_bytes(kind: int, size: int) -> int:
    """The size of an ENUM (1 or 2 bytes) or SET (1 to 8)."""
    if not 1 <= size <= (2 if kind == ENUM else 8):
        raise ProtocolError("a table map event is malformed")
    return size


def _length(data: memoryview, pos: int) -> tuple[int, int]:
    """A length-encoded number and where it ends."""
    first = data[pos] if pos < len(data) else 255
    if first < 251:
        return first, pos + 1
    size = {252: 2, 253: 3, 254: 8}.get(first)
    if size is None or pos + 1 + size > len(data):
        raise ProtocolError("an event of the binary log is malformed")
    return int.from_bytes(data[pos + 1 : pos + 1 + size], "little"), pos + 1 + size
