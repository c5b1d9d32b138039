"""Result sets of the text protocol: written whole for our own answers, read whole for our own queries.

Results that are relayed are never decoded; see `proxy.wire.response`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

from proxy.errors import ProtocolError
from proxy.wire import frames, lenenc, packets
from proxy.wire import status as flags
from proxy.wire.column import ColumnDefinition, encode_column, int_column, parse_column, text_column

__all__ = [
    "ColumnDefinition",
    "ResultsetReader",
    "encode_column",
    "encode_resultset",
    "encode_row",
    "frame_resultset",
    "int_column",
    "parse_column",
    "parse_row",
    "read_resultset",
    "text_column",
]

Row = list[bytes | None]


def encode_row(row: Sequence[bytes | None]) -> bytes:
    return b"".join([lenenc.write_bytes(value) for value in row])


def parse_row(payload: bytes, columns: int) -> Row:
    row: Row = []
    pos = 0
    for _ in range(columns):
        value, pos = lenenc.read_bytes(payload, pos)
        row.append(value)
    if pos != len(payload):
        raise ProtocolError("Malformed packet: a row is longer than its columns")
    return row


def frame_resultset(
    columns: Sequence[ColumnDefinition], rows: Iterable[bytes], status: int = 2, warnings: int = 0
) -> bytes:
    """A whole response as frames from sequence id 1, with both EOF packets; `rows` are encoded already."""
    sequence = 1
    out: list[bytes] = []

    def add(payload: bytes) -> None:
        nonlocal sequence
        out.append(frames.encode(payload, sequence))
        sequence = frames.next_sequence(len(payload), sequence)

    add(lenenc.write_int(len(columns)))
    for column in columns:
        add(encode_column(column))
    add(packets.encode_eof(0, status))
    for row in rows:
        add(row)
    add(packets.encode_eof(warnings, status))
    return b"".join(out)


def encode_resultset(
    columns: Sequence[ColumnDefinition],
    rows: Iterable[Sequence[bytes | None]],
    status: int = 2,
    warnings: int = 0,
) -> bytes:
    """A whole text-protocol response as frames from sequence id 1, for a client without DEPRECATE_EOF."""
    return frame_resultset(columns, map(encode_row, rows), status, warnings)


class _Expect(enum.Enum):
    HEAD = enum.auto()
    COLUMN = enum.auto()
    COLUMNS_END = enum.auto()
    ROW = enum.auto()
    NOTHING = enum.auto()


class ResultsetReader:
    """Collects the answer to one COM_QUERY of ours, payload by payload.

    After several statements in one query, `columns`, `rows`, `ok` and `err` are those of the last. Needs a connection
    without DEPRECATE_EOF. Raises ProtocolError, also when the rows exceed `max_bytes`.
    """

    def __init__(self, session_track: bool = False, max_bytes: int = 64 << 20) -> None:
        self.columns: list[ColumnDefinition] = []
        self.rows: list[Row] = []
        self.ok: packets.Ok | None = None  # also after rows: affected rows and insert id are 0 then
        self.err: packets.Err | None = None
        self._session_track = session_track
        self._left_bytes = max_bytes
        self._columns_left = 0
        self._expect = _Expect.HEAD

    @property
    def done(self) -> bool:
        return self._expect is _Expect.NOTHING

    def feed(self, payload: bytes) -> bool:
        """Takes the next payload; True once the answer is complete."""
        if not payload:
            raise ProtocolError("Malformed packet: an empty packet in a result set")
        if self._expect is _Expect.NOTHING:
            raise ProtocolError("Malformed packet: a packet behind the end of a result set")
        if payload[0] == 0xFF:
            self.err = packets.parse_err(payload)
            self.ok = None
            self._expect = _Expect.NOTHING
        elif self._expect is _Expect.HEAD:
            self._head(payload)
        elif self._expect is _Expect.COLUMN:
            self._spend(payload)
            self.columns.append(parse_column(payload))
            self._columns_left -= 1
            if not self._columns_left:
                self._expect = _Expect.COLUMNS_END
        elif self._expect is _Expect.COLUMNS_END:
            packets.parse_eof(payload)
            self._expect = _Expect.ROW
        elif packets.is_eof(payload):
            warnings, status = packets.parse_eof(payload)
            self._finish(packets.Ok(0, 0, status, warnings))
        else:
            self._spend(payload)
            self.rows.append(parse_row(payload, len(self.columns)))
        return self.done

    def _head(self, payload: bytes) -> None:
        self.columns = []
        self.rows = []
        if payload[0] == 0x00:
            self._finish(packets.parse_ok(payload, self._session_track))
            return
        if payload[0] == 0xFB:
            raise ProtocolError("The server asks for a local file in answer to a query of the proxy's own")
        count, end = lenenc.read_length(payload, 0)
        if end != len(payload) or count > 0xFFFF:
            raise ProtocolError("Malformed packet: a column count expected")
        self._columns_left = count
        self._expect = _Expect.COLUMN

    def _finish(self, ok: packets.Ok) -> None:
        self.ok = ok
        self._expect = _Expect.HEAD if ok.status & flags.MORE_RESULTS else _Expect.NOTHING

    def _spend(self, payload: bytes) -> None:
        self._left_bytes -= len(payload)
        if self._left_bytes < 0:
            raise ProtocolError("The answer to a query of the proxy's own is bigger than it may be")


def read_resultset(response: bytes) -> ResultsetReader:
    """A whole response as frames, none of whose packets comes in several."""
    reader = ResultsetReader()
    pos = 0
    while pos < len(response):
        n = int.from_bytes(response[pos : pos + 3], "little")
        reader.feed(response[pos + 4 : pos + 4 + n])
        pos += 4 + n
    return reader
