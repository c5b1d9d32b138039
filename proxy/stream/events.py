"""Events of a binary log, sans-IO: bytes in, one event out.

Sources: MariaDB Knowledge Base, "Replication Protocol" (1-Binlog Events and below); MySQL Internals, "Binlog Event";
`sql/log_event.h` of both servers. Only what the tracker needs is read; rows are decoded by `proxy.stream.rows`.
"""

from __future__ import annotations

import enum
import struct
import uuid
import zlib
from dataclasses import dataclass

from proxy.back.gtid import GtidPosition
from proxy.errors import ProtocolError
from proxy.stream.compression import event_uncompressed

HEADER_BYTES = 19
CHECKSUM_BYTES = 4
_U64 = struct.Struct("<Q")
_HEADER = struct.Struct("<IBIIIH")  # timestamp, type, server id, size, end position, flags

# Event types (sql/log_event.h). Those from 160 on are MariaDB's.
QUERY, STOP, ROTATE, INTVAR, RAND, USER_VAR, FORMAT_DESCRIPTION, XID = 2, 3, 4, 5, 13, 14, 15, 16
TABLE_MAP, INCIDENT, HEARTBEAT, IGNORABLE, ROWS_QUERY, GTID, ANONYMOUS_GTID = 19, 26, 27, 28, 29, 33, 34
PREVIOUS_GTIDS, TRANSACTION_CONTEXT, VIEW_CHANGE, XA_PREPARE, HEARTBEAT_V2, GTID_TAGGED = 35, 36, 37, 38, 41, 42
ANNOTATE_ROWS, BINLOG_CHECKPOINT, MARIADB_GTID, GTID_LIST, QUERY_COMPRESSED = 160, 161, 162, 163, 165


class Change(enum.Enum):
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


# type -> (what it does, its post-header has a length of extra data, its rows are compressed)
ROWS = {
    23: (Change.INSERT, False, False),
    24: (Change.UPDATE, False, False),
    25: (Change.DELETE, False, False),
    30: (Change.INSERT, True, False),
    31: (Change.UPDATE, True, False),
    32: (Change.DELETE, True, False),
    166: (Change.INSERT, False, True),
    167: (Change.UPDATE, False, True),
    168: (Change.DELETE, False, True),
    169: (Change.INSERT, True, True),
    170: (Change.UPDATE, True, True),
    171: (Change.DELETE, True, True),
}
# What says nothing about data: comments, bookkeeping, and the seeds of statements that follow as text.
_SILENT = frozenset(
    {
        STOP,
        INTVAR,
        RAND,
        USER_VAR,
        IGNORABLE,
        ROWS_QUERY,
        TRANSACTION_CONTEXT,
        VIEW_CHANGE,
        ANNOTATE_ROWS,
        BINLOG_CHECKPOINT,
        GTID_LIST,
    }
)


@dataclass(frozen=True, slots=True)
class Header:
    timestamp_s: int
    type: int
    server_id: int
    size: int
    end_offset: int  # of the event in its file, 32 bits; 0 for artificial events
    flags: int

    @property
    def artificial(self) -> bool:
        return bool(self.flags & 0x20) or self.end_offset == 0


@dataclass(frozen=True, slots=True)
class Format:
    """A file begins (or, artificial, the dump in the middle of one). `checksums`: its events end in a CRC32.
    `starts_server`: it is the first since the server was started."""

    header: Header
    checksums: bool
    server_version: str
    starts_server: bool


@dataclass(frozen=True, slots=True)
class Rotate:
    header: Header
    file: str
    offset: int


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction's GTID. `standalone`: a single event follows (DDL). `xid`: of an XA transaction: is it `prepared`
    here, or (`completed`) committed or rolled back after it was. `gtid`: MySQL's, as (UUID, number). `domain`,
    `sequence`: of MariaDB's GTID; -1: it has none."""

    header: Header
    standalone: bool = False
    xid: bytes = b""
    prepared: bool = False
    completed: bool = False
    gtid: tuple[str, int] | None = None
    domain: int = -1
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class PreviousGtids:
    """MySQL, at the beginning of a file: what is in the files before."""

    header: Header
    gtids: GtidPosition


@dataclass(frozen=True, slots=True)
class Query:
    """A statement as text: DDL, BEGIN, COMMIT, or what is logged by statement."""

    header: Header
    database: str
    text: bytes


@dataclass(frozen=True, slots=True)
class TableMap:
    """What the rows that follow are of. `rest` is parsed by `proxy.stream.rows.Layout`, if anybody wants them."""

    header: Header
    table_id: int
    database: str
    table: str
    rest: memoryview


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table. `body` begins with the number of columns."""

    header: Header
    change: Change
    table_id: int
    last: bool  # of the statement: table ids mean nothing after it
    body: memoryview
    compressed: bool


@dataclass(frozen=True, slots=True)
class Commit:
    """The transaction ends here, by XID."""

    header: Header


@dataclass(frozen=True, slots=True)
class Prepared:
    """The transaction is prepared as an XA transaction, to be committed or rolled back later (MySQL)."""

    header: Header
    one_phase: bool


@dataclass(frozen=True, slots=True)
class Heartbeat:
    header: Header


@dataclass(frozen=True, slots=True)
class Silent:
    """An event that says nothing about data."""

    header: Header


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event that may say something about data, which is not understood."""

    header: Header
    why: str


Event = (
    Format | Rotate | Begin | PreviousGtids | Query | TableMap | Rows | Commit | Prepared | Heartbeat | Silent | Unknown
)


class Decoder:
    """One stream's events, in order. `checksums` is what the first events before a Format have."""

    __slots__ = ("checksums",)

    def __init__(self, checksums: bool) -> None:
        self.checksums = checksums

    def decode(self, data: bytes) -> Event:
        """One event, without the byte that precedes it on the wire. Raises ProtocolError."""
        if len(data) < HEADER_BYTES:
            raise ProtocolError("an event of the binary log is cut short")
        header = Header(*_HEADER.unpack_from(data))
        if header.size != len(data):
            raise ProtocolError(f"an event of the binary log says {header.size} bytes and has {len(data)}")
        kind = header.type
        if kind == FORMAT_DESCRIPTION:
            return self._format(header, data)
        end = len(data)
        if self.checksums and kind != HEARTBEAT_V2:
            end -= CHECKSUM_BYTES
            if end < HEADER_BYTES:
                raise ProtocolError("an event of the binary log is cut short")
            # Events that the dump makes up have one, too.
            if zlib.crc32(memoryview(data)[:end]) != int.from_bytes(data[end:], "little"):
                raise ProtocolError("an event of the binary log is damaged: its checksum does not match")
        body = memoryview(data)[HEADER_BYTES:end]
        try:
            return _decode(header, kind, body)
        except (struct.error, IndexError) as error:
            raise ProtocolError(f"an event of the binary log (type {kind}) is cut short") from error

    def _format(self, header: Header, data: bytes) -> Format:
        body = data[HEADER_BYTES:]
        if len(body) < 57 + CHECKSUM_BYTES + 1:
            raise ProtocolError("a format description event is cut short")
        version = body[2:52].rstrip(b"\0").decode("ascii", "replace")
        if int.from_bytes(body[:2], "little") != 4 or body[56] != HEADER_BYTES:
            raise ProtocolError(f"binary logs of {version} have a format that Turnout does not know")
        algorithm = body[-CHECKSUM_BYTES - 1]
        if algorithm not in (0, 1):
            raise ProtocolError(f"binary logs with checksum algorithm {algorithm} are not known to Turnout")
        self.checksums = algorithm == 1
        return Format(header, self.checksums, version, body[52:56] != b"\0\0\0\0")


def _decode(header: Header, kind: int, body: memoryview) -> Event:
    rows = ROWS.get(kind)
    if rows is not None:
        return _rows(header, body, *rows)
    if kind == TABLE_MAP:
        return _table_map(header, body)
    if kind == XID:
        return Commit(header)
    if kind in (QUERY, QUERY_COMPRESSED):
        return _query(header, body, kind == QUERY_COMPRESSED)
    if kind == MARIADB_GTID:
        return _mariadb_gtid(header, body)
    if kind in (GTID, ANONYMOUS_GTID):
        # BEGIN follows as a query, where it is no single statement.
        return Begin(header, standalone=True, gtid=_mysql_gtid(body) if kind == GTID else None)
    if kind == PREVIOUS_GTIDS:
        return PreviousGtids(header, _gtid_set(body))
    if kind == ROTATE:
        return _rotate(header, body)
    if kind in (HEARTBEAT, HEARTBEAT_V2):
        return Heartbeat(header)
    if kind == XA_PREPARE:
        return Prepared(header, bool(body[0]))
    if kind in _SILENT:
        return Silent(header)
    return Unknown(header, f"event type {kind}")


def _rotate(header: Header, body: memoryview) -> Rotate:
    offset = _U64.unpack_from(body)[0]
    file = bytes(body[8:]).decode("utf-8", "surrogateescape")
    if offset >= 1 << 40 or not file:
        raise ProtocolError("a rotate event is malformed")
    return Rotate(header, file, offset)


def _rows(header: Header, body: memoryview, change: Change, extra: bool, compressed: bool) -> Rows:
    table_id = int.from_bytes(body[:6], "little")
    flags = body[6] | body[7] << 8
    start = 8
    if extra:
        start += body[8] | body[9] << 8
        if start < 10 or start > len(body):
            raise ProtocolError("a rows event is malformed")
    return Rows(header, change, table_id, bool(flags & 1), body[start:], compressed)


def _table_map(header: Header, body: memoryview) -> TableMap:
    table_id = int.from_bytes(body[:6], "little")
    end = 9 + body[8]
    database = bytes(body[9:end]).decode("utf-8", "surrogateescape")
    start = end + 2  # its NUL, the length of the table's name
    end = start + body[start - 1]
    table = bytes(body[start:end]).decode("utf-8", "surrogateescape")
    if end + 1 > len(body):
        raise ProtocolError("a table map event is cut short")
    return TableMap(header, table_id, database, table, body[end + 1 :])


def _query(header: Header, body: memoryview, compressed: bool) -> Query:
    database_bytes = body[8]
    status_bytes = body[11] | body[12] << 8
    start = 13 + status_bytes
    database = bytes(body[start : start + database_bytes]).decode("utf-8", "surrogateescape")
    start += database_bytes + 1
    if start > len(body):
        raise ProtocolError("a query event is cut short")
    text = body[start:]
    return Query(header, database, event_uncompressed(text) if compressed else bytes(text))


def _mysql_gtid(body: memoryview) -> tuple[str, int]:
    """Flags, the UUID, the number; more follows that nobody needs here."""
    return str(uuid.UUID(bytes=bytes(body[1:17]).ljust(16, b"\0"))), _U64.unpack_from(body, 17)[0]


def _gtid_set(body: memoryview) -> GtidPosition:
    """The number of UUIDs; for each the UUID and its intervals, whose ends are exclusive (`Gtid_set::encode`)."""
    count = _U64.unpack_from(body)[0]
    if count > len(body):
        raise ProtocolError("a set of GTIDs has a form that Turnout does not know (tagged GTIDs?)")
    pos = 8
    found = []
    for _ in range(count):
        name = bytes(body[pos : pos + 16])
        intervals = _U64.unpack_from(body, pos + 16)[0]
        pos += 24
        if intervals > (len(body) - pos) // 16:
            raise ProtocolError("a set of GTIDs is cut short")
        bounds = struct.unpack_from(f"<{2 * intervals}Q", body, pos)
        pos += 16 * intervals
        found.append((str(uuid.UUID(bytes=name)), tuple((a, b - 1) for a, b in zip(bounds[::2], bounds[1::2]))))
    if pos != len(body):
        raise ProtocolError("a set of GTIDs has another length than it says")
    return GtidPosition(intervals=tuple(found))


def _mariadb_gtid(header: Header, body: memoryview) -> Begin:
    flags = body[12]
    sequence, domain = _U64.unpack_from(body)[0], int.from_bytes(body[8:12], "little")
    start = 13 + (8 if flags & 2 else 0)
    if not flags & (64 | 128):
        return Begin(header, standalone=bool(flags & 1), domain=domain, sequence=sequence)
    lengths = body[start + 4] + body[start + 5]
    xid = bytes(body[start : start + 6 + lengths])
    if len(xid) != 6 + lengths:
        raise ProtocolError("a GTID event is cut short")
    prepared, completed = bool(flags & 64), bool(flags & 128)
    return Begin(header, bool(flags & 1), xid, prepared, completed, domain=domain, sequence=sequence)
