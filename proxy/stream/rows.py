"""Rows of a table in the binary log: where each column's value is, and the values of a few of them.

Sources: `sql/rpl_utility.cc` and `log_event_server.cc` of MariaDB; MySQL Internals, "TABLE_MAP_EVENT" and "ROWS_EVENT".
A value is given as the bytes that the log has (without a string's length); what they mean is for the column's type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from proxy.errors import ProtocolError
from proxy.stream.events import Change, Rows, uncompressed

TINY, SHORT, LONG, LONGLONG, INT24 = 1, 2, 3, 8, 9
DATE, NEWDATE, VARCHAR, VAR_STRING, STRING, ENUM, SET = 10, 14, 15, 253, 254, 247, 248
_FIXED = {
    TINY: 1,
    SHORT: 2,
    LONG: 4,
    4: 4,
    5: 8,
    6: 0,
    7: 4,
    LONGLONG: 8,
    INT24: 3,
    DATE: 3,
    11: 3,
    12: 8,
    13: 1,
    14: 3,
}
_FRACTIONAL = {17: 4, 18: 5, 19: 3}  # TIMESTAMP2, DATETIME2, TIME2: bytes before the fraction
_BLOBS = frozenset({140, 245, 249, 250, 251, 252, 255})  # compressed, JSON, BLOBs, GEOMETRY
_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)

Image = list[bytes | None]  # the wanted columns' values; None is NULL


class NotThere(Exception):
    """A wanted column is not in the row's image (binlog_row_image is not FULL)."""


class Layout:
    """One table map: the real type of every column, and how many bytes its values take.

    `sizes[i]` is a number of bytes, or minus the number of bytes of the length that precedes the value.
    """

    __slots__ = ("sizes", "types")

    def __init__(self, rest: memoryview) -> None:
        count, pos = _length(rest, 0)
        if count > 8192 or pos + count > len(rest):
            raise ProtocolError("a table map event is malformed")
        types = list(rest[pos : pos + count])
        meta_bytes, pos = _length(rest, pos + count)
        meta = rest[pos : pos + meta_bytes]
        if len(meta) != meta_bytes:
            raise ProtocolError("a table map event is cut short")
        self.types: list[int] = []
        self.sizes: list[int] = []
        at = 0
        try:
            for kind in types:
                kind, size, used = _column(kind, meta, at)
                at += used
                self.types.append(kind)
                self.sizes.append(size)
        except IndexError as error:
            raise ProtocolError("a table map event is cut short") from error

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
            data = uncompressed(body[pos:]) if rows.compressed else bytes(body[pos:])
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

    def _reader(self, present: bytes, wanted: Sequence[int]) -> Callable[[bytes, int], tuple[Image, int]]:
        """A function that reads one image: (its bytes, where it begins) -> (wanted values, where it ends)."""
        columns = [i for i in range(len(self.types)) if present[i >> 3] >> (i & 7) & 1]
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


def _column(kind: int, meta: memoryview, at: int) -> tuple[int, int, int]:
    """(real type, size as in `Layout.sizes`, bytes of metadata) of one column."""
    if kind in (4, 5):
        return kind, meta[at], 1
    if kind in _FIXED:
        return kind, _FIXED[kind], 0
    if kind in _FRACTIONAL:
        return kind, _FRACTIONAL[kind] + ((meta[at] + 1) >> 1), 1
    if kind in (VARCHAR, VAR_STRING, 141):
        return kind, -1 if (meta[at] | meta[at + 1] << 8) < 256 else -2, 2
    if kind == 16:  # BIT
        return kind, meta[at + 1] + (1 if meta[at] else 0), 2
    if kind == 246:  # DECIMAL
        precision, scale = meta[at], meta[at + 1]
        whole = precision - scale
        return kind, whole // 9 * 4 + _DIGIT_BYTES[whole % 9] + scale // 9 * 4 + _DIGIT_BYTES[scale % 9], 2
    if kind in _BLOBS:
        return kind, -meta[at], 1
    if kind == STRING:
        real, length = meta[at], meta[at + 1]
        if real & 0x30 != 0x30:  # the length of a long CHAR has two more bits
            length |= ((real & 0x30) ^ 0x30) << 4
            real |= 0x30
        if real in (ENUM, SET):
            return real, length, 2
        return STRING, -1 if length < 256 else -2, 2
    if kind in (ENUM, SET):
        return kind, meta[at + 1], 2
    raise ProtocolError(f"columns of type {kind} are not known to Turnout")


def _length(data: memoryview, pos: int) -> tuple[int, int]:
    """A length-encoded number and where it ends."""
    first = data[pos]
    if first < 251:
        return first, pos + 1
    size = {252: 2, 253: 3, 254: 8}.get(first)
    if size is None or pos + 1 + size > len(data):
        raise ProtocolError("an event of the binary log is malformed")
    return int.from_bytes(data[pos + 1 : pos + 1 + size], "little"), pos + 1 + size
