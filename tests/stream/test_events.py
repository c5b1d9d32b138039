"""Events as byte dialogues: what is understood, and that everything else is ProtocolError or Unknown."""

from __future__ import annotations

import struct
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.back.gtid import GtidPosition
from proxy.errors import ProtocolError
from proxy.stream import events as ev
from proxy.stream.events import Change, Decoder
from tests.stream import log

UUID = uuid.UUID("3e11fa47-71ca-11e1-9e33-c80aa9429562")


def decode(data: bytes, checksums: bool = True) -> ev.Event:
    return Decoder(checksums).decode(data)


def test_a_file_from_its_beginning() -> None:
    decoder = Decoder(checksums=False)
    rotated = decoder.decode(log.rotate("binlog.000007", 4, end=0, checksum=False, flags=0x20))
    assert isinstance(rotated, ev.Rotate)
    assert (rotated.file, rotated.offset, rotated.header.artificial) == ("binlog.000007", 4, True)
    begun = decoder.decode(log.format_description(created=5))
    assert isinstance(begun, ev.Format)
    assert (begun.checksums, begun.starts_server, begun.server_version) == (True, True, log.VERSION.decode())
    assert isinstance(decoder.decode(log.xid()), ev.Commit)  # with a checksum from here on
    begun = decoder.decode(log.format_description(checksums=False))
    assert isinstance(begun, ev.Format)
    assert (begun.checksums, begun.starts_server) == (False, False)
    assert isinstance(decoder.decode(log.xid(checksum=False)), ev.Commit)


def test_statements() -> None:
    found = decode(log.query(b"CREATE TABLE t (a INT)", b"s\xc3\xa9", end=77))
    assert isinstance(found, ev.Query)
    assert (found.database, found.text, found.header.end_offset) == ("sé", b"CREATE TABLE t (a INT)", 77)
    found = decode(log.query_compressed(b"INSERT " * 100))
    assert isinstance(found, ev.Query)
    assert found.text == b"INSERT " * 100


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (log.INSERT_V1, Change.INSERT),
        (log.UPDATE_V1, Change.UPDATE),
        (log.DELETE_V1, Change.DELETE),
        (log.INSERT_V2, Change.INSERT),
        (log.UPDATE_V2, Change.UPDATE),
        (log.DELETE_V2, Change.DELETE),
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_rows_of_both_versions(kind: int, change: Change, last: bool) -> None:
    found = decode(log.rows(kind, 0x123456789A, 3, b"images", last=last))
    assert isinstance(found, ev.Rows)
    assert (found.change, found.table_id, found.last, found.compressed) == (change, 0x123456789A, last, False)
    assert bytes(found.body) == b"\x03" + b"\xff" * (2 if change is Change.UPDATE else 1) + b"images"


def test_table_maps() -> None:
    found = decode(log.table_map(5, b"shop", b"orders", [3, 15], b"\x50\0"))
    assert isinstance(found, ev.TableMap)
    assert (found.table_id, found.database, found.table) == (5, "shop", "orders")
    assert bytes(found.rest) == log.table_rest([3, 15], b"\x50\0")


@pytest.mark.parametrize("commit_id", [None, 0x1122334455667788])
def test_mariadb_gtids(commit_id: int | None) -> None:
    found = decode(log.mariadb_gtid(0, commit_id=commit_id))
    assert found == ev.Begin(found.header, domain=0, sequence=9)
    alone = decode(log.mariadb_gtid(1, commit_id=commit_id))
    assert isinstance(alone, ev.Begin)
    assert alone.standalone
    xid = b"\1\0\0\0\3\0one"
    for flag, prepared in ((64, True), (128, False)):
        begun = decode(log.mariadb_gtid(flag, b"one", commit_id))
        assert isinstance(begun, ev.Begin)
        assert (begun.xid, begun.prepared, begun.completed) == (xid, prepared, not prepared)


def test_mysql_gtids() -> None:
    found = decode(log.mysql_gtid(UUID, 2**40 + 1))
    assert isinstance(found, ev.Begin)
    assert (found.gtid, found.standalone) == ((str(UUID), 2**40 + 1), True)
    found = decode(log.mysql_gtid(UUID, 0, ev.ANONYMOUS_GTID))
    assert isinstance(found, ev.Begin)
    assert found.gtid is None
    before = decode(log.previous_gtids({UUID: [(1, 5), (7, 7)], uuid.UUID(int=1): [(3, 4)]}))
    assert isinstance(before, ev.PreviousGtids)
    assert before.gtids == GtidPosition(intervals=((str(UUID), ((1, 5), (7, 7))), (str(uuid.UUID(int=1)), ((3, 4),))))
    assert isinstance(decode(log.previous_gtids({})), ev.PreviousGtids)


@pytest.mark.parametrize("one_phase", [True, False])
def test_mysql_xa_prepare(one_phase: bool) -> None:
    body = bytes((one_phase,)) + struct.pack("<III", 1, 3, 0) + b"xid"
    found = decode(log.event(ev.XA_PREPARE, body))
    assert isinstance(found, ev.Prepared)
    assert found.one_phase is one_phase


def test_heartbeats() -> None:
    assert isinstance(decode(log.event(ev.HEARTBEAT, b"binlog.000001")), ev.Heartbeat)
    for checksum in (True, False):  # fields with types and lengths, of which nothing is read
        assert isinstance(decode(log.event(ev.HEARTBEAT_V2, b"\1\x0dbinlog.000001", checksum=checksum)), ev.Heartbeat)


@pytest.mark.parametrize(
    "kind", [ev.STOP, ev.INTVAR, ev.RAND, ev.USER_VAR, ev.ROWS_QUERY, ev.ANNOTATE_ROWS, ev.GTID_LIST]
)
def test_what_says_nothing_about_data(kind: int) -> None:
    assert isinstance(decode(log.event(kind, b"whatever")), ev.Silent)


@pytest.mark.parametrize("kind", [0, 1, 17, 20, ev.INCIDENT, 39, 40, ev.GTID_TAGGED, 43, 100, 164, 172, 255])
def test_everything_else_is_unknown(kind: int) -> None:
    found = decode(log.event(kind, b"whatever"))
    assert isinstance(found, ev.Unknown)
    assert found.header.type == kind


def test_damage_is_noticed() -> None:
    data = bytearray(log.query(b"DELETE FROM t"))
    for at in range(ev.HEADER_BYTES, len(data)):
        damaged = bytes(data[:at]) + bytes((data[at] ^ 1,)) + bytes(data[at + 1 :])
        with pytest.raises(ProtocolError, match="damaged"):
            decode(damaged)


@pytest.mark.parametrize(
    "data",
    [
        log.rotate("binlog.000001", 1 << 40),
        log.rotate(""),
        log.event(ev.ROTATE, b"\4\0\0"),
        log.event(ev.FORMAT_DESCRIPTION, b"\4\0" + bytes(30)),
        log.event(ev.FORMAT_DESCRIPTION, struct.pack("<H50sIB", 3, b"3.23", 0, 19) + bytes(41)),
        log.event(ev.FORMAT_DESCRIPTION, struct.pack("<H50sIB", 4, b"11", 0, 19) + bytes(40) + b"\2"),
        log.event(ev.QUERY_COMPRESSED, bytes(13) + b"\0" + log.compressed(b"abc")[:-2]),
        log.event(ev.QUERY_COMPRESSED, bytes(14) + b"\x84\xff\xff\xff\xff"),
        log.event(ev.QUERY_COMPRESSED, bytes(14) + b"\x81\2" + log.compressed(b"abc")[5:]),
        log.event(ev.QUERY_COMPRESSED, bytes(14) + b"\x91\3" + log.compressed(b"abc")[5:]),
        log.event(30, bytes(8) + b"\xff\xff"),
        log.event(ev.PREVIOUS_GTIDS, struct.pack("<Q", 1 << 60)),
        log.event(ev.PREVIOUS_GTIDS, struct.pack("<Q", 1) + bytes(16) + struct.pack("<Q", 1 << 60)),
        log.event(ev.PREVIOUS_GTIDS, struct.pack("<Q", 0) + b"more"),
        log.mariadb_gtid(64, b"one")[:-6],
        log.event(ev.MARIADB_GTID, bytes(12) + b"\x40" + b"\1\0\0\0\x20\0one"),
    ],
)
def test_malformed_events(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data)


EVENTS = [
    log.format_description(),
    log.rotate("binlog.000001"),
    log.query(b"DELETE FROM t"),
    log.query_compressed(b"DELETE FROM t"),
    log.table_map(5, b"shop", b"orders", [3, 15], b"\x50\0"),
    log.rows(log.UPDATE_V2, 5, 2, b"\0\1\0\0\0\1a\0\1\0\0\0\1b"),
    log.mariadb_gtid(64, b"one", 5),
    log.mysql_gtid(UUID, 5),
    log.previous_gtids({UUID: [(1, 5)]}),
    log.event(ev.XA_PREPARE, bytes(20)),
]


@pytest.mark.parametrize("data", EVENTS, ids=lambda data: str(data[4]))
def test_truncated_events(data: bytes) -> None:
    """Cut anywhere, with a length and a checksum that agree, an event is a shorter one or malformed, nothing else."""
    body = data[ev.HEADER_BYTES : -4]
    for end in range(len(body)):
        for checksums in (True, False):
            cut = log.event(data[4], body[:end], checksum=checksums)
            try:
                Decoder(checksums).decode(cut)
            except ProtocolError:
                continue
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            decode(data[:end])


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 255), st.binary(max_size=80), st.booleans())
def test_garbage(kind: int, body: bytes, checksum: bool) -> None:
    try:
        Decoder(checksum).decode(log.event(kind, body, checksum=checksum))
    except ProtocolError:
        return
