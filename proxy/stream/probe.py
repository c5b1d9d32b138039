"""What is visible on a primary: a position of its log up to which every transaction can be seen by a SELECT sent now.

The end of the log is no such position: a transaction is written there before its rows can be seen. This is where the
two families of servers differ:

- MariaDB says for a consistent snapshot which position it belongs to (`binlog_snapshot_file` and `_position`: exactly
  the transactions up to there are in it).
- MySQL adds a transaction to `@@global.gtid_executed` after its engines have committed it (`MYSQL_BIN_LOG::
  process_commit_stage_queue` and `finish_commit` in `sql/binlog.cc`), and before its client is told. So what passes in
  the stream waits here, by GTID, until a probe finds it in that set. Nothing may be missed at the front: the dump
  begins with the file, whose first events say what was in the files before.

The latter has not been run against a MySQL server; it follows MySQL's documents ("GTID Life Cycle", "GTID Format and
Storage") and sources.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from proxy.back import gtid
from proxy.back.connection import ServerConnection
from proxy.back.gtid import GtidPosition
from proxy.errors import ProtocolError, ServerFailed, TurnoutError
from proxy.stream import events as ev
from proxy.stream.check import NotFollowable
from proxy.stream.source import Place, current_end
from proxy.wire.frames import encode
from proxy.wire.packets import parse_err
from proxy.wire.resultset import ResultsetReader

MAX_WAITING = 200_000  # transactions that have passed and are not visible yet
_FIRST_EVENT = 4  # offset in a file
_STATEMENTS = (
    b"\x03START TRANSACTION WITH CONSISTENT SNAPSHOT",
    b"\x03SHOW STATUS LIKE 'binlog\\_snapshot\\_%'",
    b"\x03COMMIT",
)
_PACKETS = b"".join(encode(statement, 0) for statement in _STATEMENTS)
_MAX_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """What a probe found. `visible`: everything up to this position is (None: not known yet). `acknowledged`: what any
    client was told of before the probe was sent is not after this position. They are not the same on MySQL."""

    visible: int | None
    acknowledged: int


class Probe(Protocol):
    """One connection's way to find out; see the module."""

    def start(self, place: Place) -> Place:
        """Where the dump has to begin for what comes after `place`."""

    def passed(self, event: ev.Event, end: int) -> None:
        """An event of the stream, before the tracker has it. Raises ServerFailed."""

    def ended(self, position: int) -> None:
        """A transaction of the stream ended there."""

    async def find(self, connection: ServerConnection) -> Found:
        """Ask now. Raises ServerFailed."""


def probe_for(mariadb: bool) -> Probe:
    return SnapshotProbe() if mariadb else GtidProbe()


class SnapshotProbe:
    """MariaDB's."""

    def start(self, place: Place) -> Place:
        return place

    def passed(self, event: ev.Event, end: int) -> None:
        """Snapshots say all there is."""

    def ended(self, position: int) -> None:
        """Snapshots say all there is."""

    async def find(self, connection: ServerConnection) -> Found:
        position = (await snapshot(connection)).position
        return Found(position, position)


async def snapshot(connection: ServerConnection) -> Place:
    """The place in the log of a snapshot taken now. Three statements in one write. Raises ServerFailed."""
    if connection.aborted is not None:
        raise connection.aborted
    answers = _Answers()
    for _ in _STATEMENTS:
        connection.expect(answers)
    connection.write(_PACKETS)
    responses = await answers.future
    for response in responses:
        if response[4:5] == b"\xff":
            error = parse_err(response[4:])
            raise ServerFailed(f"{connection.where}: {error.errno} {error.message.decode('utf-8', 'replace')}")
    reader = ResultsetReader()
    pos, data = 0, responses[1]
    while pos < len(data):
        n = int.from_bytes(data[pos : pos + 3], "little")
        reader.feed(data[pos + 4 : pos + 4 + n])
        pos += 4 + n
    found = {(row[0] or b"").lower(): row[1] or b"" for row in reader.rows}
    file, offset = found.get(b"binlog_snapshot_file", b""), found.get(b"binlog_snapshot_position", b"")
    if not file or not offset.isdigit():
        raise ServerFailed(f"{connection.where} does not say which position of its log a snapshot belongs to")
    return Place(file.decode(), int(offset))


class _Answers:
    """The sink of a snapshot's statements: all their responses, as one future. There are twenty a second, whether
    anybody asks for anything or not; a task for each statement costs twice as much."""

    __slots__ = ("_parts", "_responses", "future")

    def __init__(self) -> None:
        self.future: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        self._parts: list[bytes] = []
        self._responses: list[bytes] = []

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        self._parts.append(data)
        if sum(map(len, self._parts)) > _MAX_ANSWER:
            connection.abort(ServerFailed(f"{connection.where} sent more than {_MAX_ANSWER} bytes to the proxy itself"))

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        self._responses.append(b"".join(self._parts + pieces))
        self._parts.clear()
        if len(self._responses) == len(_STATEMENTS) and not self.future.done():
            self.future.set_result(self._responses)

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class GtidProbe:
    """MySQL's. Pure but for `find`: `passed` and `ended` are fed from the stream, `executed` from a probe."""

    def __init__(self) -> None:
        self._executed = GtidPosition()
        self._sets: dict[str, tuple[tuple[int, int], ...]] = {}
        self._before: GtidPosition | None = None  # what was in the files before the one that the dump began with
        self._begun = False  # all of `_before` is visible
        self._current: tuple[str, int] | None = None  # GTID of the transaction that is passing
        self._waiting: deque[tuple[tuple[str, int], int]] = deque()  # (GTID, its end) in the log's order
        self._visible = 0

    def start(self, place: Place) -> Place:
        return Place(place.file, _FIRST_EVENT)

    @property
    def visible(self) -> int | None:
        """The newest position that everything is visible up to; None: not known yet."""
        return self._visible if self._begun and self._visible else None

    def passed(self, event: ev.Event, end: int) -> None:
        if isinstance(event, ev.Begin):
            if event.gtid is None:
                raise NotFollowable("transactions without a GTID are in its log: gtid_mode=ON is needed on the server")
            self._current = event.gtid
        elif isinstance(event, ev.PreviousGtids):
            if self._before is None:
                self._before = event.gtids
                self._advance()
        elif isinstance(event, ev.Unknown) and event.header.type == ev.GTID_TAGGED:
            raise NotFollowable("transactions with tagged GTIDs are in its log, which Turnout does not understand")

    def ended(self, position: int) -> None:
        if self._current is None:  # rotation and the like: as visible as what is before it
            if not self._waiting:
                self._visible = max(self._visible, position)
            return
        self._waiting.append((self._current, position))
        self._current = None
        if len(self._waiting) > MAX_WAITING:
            raise ServerFailed(f"{MAX_WAITING} transactions are in its log and not in gtid_executed")
        self._advance()

    def executed(self, found: GtidPosition) -> None:
        """What a probe read from the server."""
        self._executed = found
        self._sets = dict(found.intervals)
        self._advance()

    def _advance(self) -> None:
        if not self._begun:
            # A file begins when everything in those before it is committed; that it is visible is checked all the same.
            self._begun = self._before is not None and self._executed.covers(self._before)
            if not self._begun:
                return
        waiting = self._waiting
        while waiting and self._has(waiting[0][0]):
            self._visible = waiting.popleft()[1]

    def _has(self, one: tuple[str, int]) -> bool:
        uuid, number = one
        return any(first <= number <= last for first, last in self._sets.get(uuid, ()))

    async def find(self, connection: ServerConnection) -> Found:
        rows, end = await asyncio.gather(
            connection.query("SELECT @@global.gtid_executed"), current_end(connection, mariadb=False)
        )
        try:
            self.executed(gtid.parse((rows[0][0] or b"").decode()))
        except (ValueError, IndexError) as error:
            raise ProtocolError("gtid_executed has a form that Turnout does not understand (tagged GTIDs?)") from error
        return Found(self.visible, end.position)
