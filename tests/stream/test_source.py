"""Positions in a log that rotates and grows over 4 GB, what a dump says when it cannot go on, and bounded queues."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.errors import ProtocolError, ServerFailed
from proxy.stream import events as ev
from proxy.stream import source
from proxy.stream.check import NotFollowable, missing_grants
from proxy.stream.source import Follower, LogGone, Place, StreamConnection, file_number, log_id
from proxy.wire import frames
from proxy.wire.packets import encode_err
from tests.stream import log


class Dump:
    where = "server"


def follow(place: Place, *packets: bytes, checksums: bool = True) -> tuple[list[tuple[ev.Event, int]], Place]:
    follower = Follower(Dump(), place, checksums)  # type: ignore[arg-type]
    return [follower.take(packet) for packet in packets], follower.place


def sent(*events: bytes) -> list[bytes]:
    return [b"\0" + event for event in events]


def test_positions_of_the_events_ends() -> None:
    found, place = follow(
        Place("binlog.000007", 500),
        *sent(
            log.rotate("binlog.000007", 500, end=0, flags=0x20),  # made up
            log.format_description(end=0),  # made up, too: the dump begins in the middle
            log.xid(end=531),
            log.event(ev.HEARTBEAT, b"binlog.000007", 531),
            log.rotate("binlog.000008", 4, end=575),
            log.rotate("binlog.000008", 4, end=0, flags=0x20),
            log.format_description(end=256),
        ),
    )
    base7, base8 = 7 << 40, 8 << 40
    assert [position for _, position in found] == [0, 0, base7 + 531, 0, base7 + 575, 0, base8 + 256]
    assert place == Place("binlog.000008", 256)


def test_a_file_over_4_gb() -> None:
    """Headers have the lower 32 bits of an event's end: it wraps, more than once."""
    place = Place("binlog.000001", (1 << 32) - 100)
    ends = [(1 << 32) - 50, (1 << 32) + 10, (1 << 32) + (1 << 31), (2 << 32) + 5, (2 << 32) + 5 + 31]
    found, place = follow(place, *sent(*(log.xid(end=end) for end in ends)))
    assert [position for _, position in found] == [1 << 40 | end for end in ends]
    assert place == Place("binlog.000001", ends[-1])
    # Heartbeats say positions of their own, which must not be taken for a wrap.
    found, place = follow(place, *sent(log.event(ev.HEARTBEAT, b"binlog.000001", 7)))
    assert place == Place("binlog.000001", ends[-1])


def test_a_place_over_4_gb_cannot_be_asked_for() -> None:
    connection = StreamConnection.__new__(StreamConnection)
    connection.where = "server"
    with pytest.raises(ServerFailed, match="over 4 GB"):
        connection.dump(Place("binlog.000001", 1 << 32), 1)


@pytest.mark.parametrize(
    ("packet", "error", "says"),
    [
        (encode_err(1236, "HY000", "Could not find first log file name"), LogGone, "Could not find"),
        (encode_err(1220, "HY000", "impossible position"), LogGone, "impossible"),
        (encode_err(1227, "42000", "Access denied"), NotFollowable, "GRANT REPLICATION SLAVE"),
        (encode_err(1053, "08S01", "shutdown in progress"), ServerFailed, "shutdown"),
        (b"\xfe\0\0\2\0", ServerFailed, "ended"),
        (b"", ProtocolError, "."),
        (b"\x01abc", ProtocolError, "."),
        (b"\0", ProtocolError, "."),
        (b"\0" + log.xid()[:-1], ProtocolError, "."),
        (b"\0" + log.rotate("binlog"), ProtocolError, "no number"),
        (b"\0" + log.rotate("binlog.16777216"), ProtocolError, "no number"),
    ],
)
def test_dumps_that_end(packet: bytes, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        follow(Place("binlog.000001", 4), packet)


def test_positions_fit_into_the_clocks() -> None:
    assert file_number("/var/log/mysql/binlog.000123") == 123
    assert Place(f"binlog.{source.MAX_FILE_NUMBER - 1}", (1 << 40) - 1).position == (1 << 64) - 1
    for name in ("binlog", "binlog.", "binlog.x1", "binlog.1x", f"binlog.{source.MAX_FILE_NUMBER}", "binlog.١"):
        with pytest.raises(ProtocolError):
            file_number(name)


def test_every_file_of_every_log_has_its_own_id() -> None:
    ids = {log_id(s, f, c) for s in (1, 2) for f in ("binlog.000001", "binlog.000002") for c in (5, 6)}
    assert len(ids) == 8
    assert 0 not in ids


class Transport:
    def __init__(self) -> None:
        self.paused = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        return None


def dumping() -> tuple[StreamConnection, Transport]:
    made: Any = StreamConnection.__new__(StreamConnection)
    transport = Transport()
    made.where, made.aborted, made.lost, made.transport, made.dumping = "server", None, False, transport, True
    made._frames = frames.FrameReader(source.MAX_EVENT_BYTES)
    made._packets, made._queued_bytes, made._paused = source.deque(), 0, False
    made._arrived = asyncio.Event()
    return made, transport


def test_reading_stops_while_much_waits_to_be_decoded() -> None:
    async def main() -> None:
        connection, transport = dumping()
        event = b"\0" + log.xid() + bytes(100_000)
        sent_count = 0
        while not transport.paused:
            connection._follow(frames.encode(event, sent_count & 255))
            sent_count += 1
        assert sent_count * len(event) < 8 << 20
        taken = 0
        while transport.paused:
            taken += len(await connection.packets())
        assert 0 < taken < sent_count
        while taken < sent_count:
            taken += len(await connection.packets())
        assert taken == sent_count

    asyncio.run(main())


def test_silence_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "SILENCE_S", 0.05)

    async def main() -> None:
        connection, _ = dumping()
        with pytest.raises(ServerFailed, match="sent nothing"):
            await connection.packets()
        with pytest.raises(ServerFailed, match="sent nothing"):
            await connection.packets()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("grants", "databases", "lacking"),
    [
        (["GRANT ALL PRIVILEGES ON *.* TO `turnout`@`%`"], ["shop"], []),
        (
            ["GRANT SELECT, SHOW VIEW, TRIGGER, REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `t`@`%` IDENTIFIED BY 'x'"],
            ["shop"],
            [],
        ),
        (["GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `t`@`%`"], ["shop"], ["SHOW VIEW", "TRIGGER"]),
        (
            [
                "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `t`@`%`",
                "GRANT SELECT, SHOW VIEW, TRIGGER ON `shop`.* TO `t`@`%`",
            ],
            ["shop"],
            [],
        ),
        (
            [
                "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `t`@`%`",
                "GRANT SELECT, SHOW VIEW, TRIGGER ON `sh\\_p%`.* TO `t`@`%`",
            ],
            ["sh_p1", "shop"],
            ["SELECT", "SHOW VIEW", "TRIGGER"],
        ),
        (
            ["GRANT REPLICATION SLAVE ON *.* TO `t`@`%`", "GRANT ALL PRIVILEGES ON `shop`.`one` TO `t`@`%`"],
            ["shop"],
            ["SELECT", "SHOW VIEW", "TRIGGER", "REPLICATION CLIENT"],
        ),
        (
            [
                "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `t`@`%`",
                "GRANT ALL PRIVILEGES ON `my shop`.* TO `t`@`%`",
                'GRANT SELECT, SHOW VIEW, TRIGGER ON "the ""old"" one".* TO "t"@"%"',
            ],
            ["my shop", 'the "old" one'],
            [],
        ),
    ],
)
def test_what_the_service_account_lacks(grants: list[str], databases: list[str], lacking: list[str]) -> None:
    assert missing_grants(grants, databases) == lacking
