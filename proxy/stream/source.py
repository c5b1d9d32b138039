"""A server's binary log as it is written: a connection that is fed like a replica's, and what must be asked first.

Sources: MariaDB Knowledge Base, "COM_BINLOG_DUMP" and "Replication Protocol"; MySQL, "COM_BINLOG_DUMP";
`sql/sql_repl.cc`. MariaDB and MySQL differ in what they call things (`check`), not in the dump from a position.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections import deque
from dataclasses import dataclass

from proxy.back.connection import ServerConnection
from proxy.back.server import Server
from proxy.errors import ProtocolError, ServerFailed
from proxy.stream.check import GRANT_DUMP, NO_PRIVILEGE, NotFollowable
from proxy.stream.events import Decoder, Event, Heartbeat, Rotate
from proxy.wire.frames import FrameReader, encode
from proxy.wire.login import Secret
from proxy.wire.packets import parse_err

OFFSET_BITS = 40
MAX_FILE_NUMBER = 1 << 64 - OFFSET_BITS
HEARTBEAT_S = 0.5
SILENCE_S = 5.0  # without so much as a heartbeat, the connection counts as lost
MAX_EVENT_BYTES = 1 << 30  # MySQL's own limit of a packet
_MAX_QUEUED = 4 << 20  # bytes that wait to be decoded before reading stops
_COM_DUMP = 0x12
_NUMBER = re.compile(r"\.([0-9]{1,10})\Z")


class LogGone(ServerFailed):
    """The server no longer has (or never had) the place in its log that was asked for."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a log. `offset` in bytes from the file's start."""

    file: str
    offset: int

    @property
    def number(self) -> int:
        return file_number(self.file)

    @property
    def position(self) -> int:
        return self.number << OFFSET_BITS | self.offset


@dataclass(frozen=True, slots=True)
class Identity:
    """Which server it is: another one behind the same address has another log."""

    server_id: int
    unique: str  # @@server_uuid, or what comes next to it
    mariadb: bool


def file_number(file: str) -> int:
    """The number at the end of a log file's name. Raises ProtocolError."""
    found = _NUMBER.search(file)
    if found is None or int(found.group(1)) >= MAX_FILE_NUMBER:
        raise ProtocolError(f"the binary log's file {file!r} has no number, or one over {MAX_FILE_NUMBER - 1:,}")
    return int(found.group(1))


def log_id(server_id: int, file: str, created_s: int) -> int:
    """A number for one file of one server's log, the same on every host: never 0. `created_s` is all that changes when
    a log is reset, so two resets within a second, with the stream connected in between, are not told apart."""
    text = f"{server_id}/{file}/{created_s}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") or 1


class StreamConnection(ServerConnection):
    """A connection that is a server's replica once `dump` was called."""

    dumping = False  # `dump` makes what follows
    _frames: FrameReader
    _packets: deque[bytes]
    _arrived: asyncio.Event
    _queued_bytes = 0
    _paused = False

    def dump(self, place: Place, server_id: int) -> None:
        """Ask for the log from a place on. Raises ServerFailed for one that cannot be asked for."""
        if place.offset >> 32:
            raise ServerFailed(
                f"{self.where}: its binary log's file {place.file} is over 4 GB: waiting for its next file"
            )
        payload = (
            bytes((_COM_DUMP,))
            + place.offset.to_bytes(4, "little")
            + bytes(2)
            + server_id.to_bytes(4, "little")
            + place.file.encode()
        )
        self._frames = FrameReader(MAX_EVENT_BYTES)
        self._packets = deque()
        self._arrived = asyncio.Event()
        self.dumping = True
        self.write(encode(payload, 0))

    def _follow(self, data: bytes) -> None:
        if not self.dumping:
            super()._follow(data)
            return
        for payload, _ in self._frames.feed(data):
            self._packets.append(payload)
            self._queued_bytes += len(payload)
        if self._queued_bytes > _MAX_QUEUED and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.dumping:
            self._arrived.set()

    async def packets(self) -> list[bytes]:
        """What has arrived, at least one packet. Raises ServerFailed when the connection is lost or silent."""
        while not self._packets:
            if self.aborted is not None:
                raise self.aborted
            self._arrived.clear()
            try:
                async with asyncio.timeout(SILENCE_S):
                    await self._arrived.wait()
            except TimeoutError:
                error = ServerFailed(f"{self.where} sent nothing of its binary log for {SILENCE_S:g} s")
                self.abort(error)
                raise error from None
        found: list[bytes] = []
        size = 0
        while self._packets and size < _MAX_QUEUED // 4:
            packet = self._packets.popleft()
            size += len(packet)
            found.append(packet)
        self._queued_bytes -= size
        if self._paused and self._queued_bytes < _MAX_QUEUED // 2 and self.transport is not None:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
        return found


class Follower:
    """The events of a log from a place on, each with the position where it ends."""

    def __init__(self, connection: StreamConnection, place: Place, checksums: bool) -> None:
        self._connection = connection
        self._decoder = Decoder(checksums)
        self.place = place  # where the last event ended

    async def packets(self) -> list[bytes]:
        """What has arrived, to be taken one by one. Raises ServerFailed."""
        return await self._connection.packets()

    def take(self, packet: bytes) -> tuple[Event, int]:
        """The event in a packet, and the position of its end (0: it is not in the file itself); `place` is then after
        it. Raises ServerFailed, LogGone, NotFollowable and ProtocolError."""
        first = packet[0] if packet else -1
        if first == 0xFF:
            error = parse_err(packet)
            text = f"{self._connection.where}: {error.errno} {error.message.decode('utf-8', 'replace')}"
            if error.errno in NO_PRIVILEGE:
                raise NotFollowable(f"{text}. {GRANT_DUMP}")
            raise (LogGone if error.errno in (1236, 1220, 1503) else ServerFailed)(text, error.errno)
        if first == 0xFE and len(packet) < 9:
            raise ServerFailed(f"{self._connection.where} ended its binary log's dump")
        if first != 0:
            raise ProtocolError("something else than an event came instead of the binary log")
        event = self._decoder.decode(packet[1:])
        return event, self._advance(event)

    def _advance(self, event: Event) -> int:
        header = event.header
        position = 0
        if not header.artificial and not isinstance(event, Heartbeat):
            place = self.place
            # Headers have the lower 32 bits of where the event ends.
            offset = (place.offset & ~0xFFFFFFFF) | header.end_offset
            if offset < place.offset:
                offset += 1 << 32
            self.place = Place(place.file, offset)
            position = self.place.position
        if isinstance(event, Rotate) and (event.file, event.offset) != (self.place.file, self.place.offset):
            self.place = Place(event.file, event.offset)
            file_number(event.file)  # it has one
        return position


async def connect(server: Server, user: str, secret: Secret) -> StreamConnection:
    """A connection ready to be asked and then to dump. Raises ServerFailed."""
    connection = await server.connect(user, secret, 0, probe=True, kind=StreamConnection)
    assert isinstance(connection, StreamConnection)
    return connection


async def identity(connection: ServerConnection) -> Identity:
    mariadb = "MariaDB" in connection.server_version
    if mariadb:
        rows = await connection.query("SELECT @@server_id, @@version, @@datadir, @@port, @@hostname")
    else:
        rows = await connection.query("SELECT @@server_id, @@server_uuid")
    row = [(cell or b"").decode("utf-8", "replace") for cell in rows[0]]
    return Identity(int(row[0]), "/".join(row[1:]), mariadb)


async def current_end(connection: ServerConnection, mariadb: bool) -> Place:
    """Where the log ends now. Raises ServerFailed when there is none."""
    statement = "SHOW MASTER STATUS"
    if not mariadb and int(connection.server_version.split(".")[0]) >= 8:
        statement = "SHOW BINARY LOG STATUS" if connection.server_version.startswith(("8.4", "9.")) else statement
    rows = await connection.query(statement)
    if not rows:
        raise ServerFailed(
            f"{connection.where} writes no binary log: start it with log_bin, binlog_format=ROW and server_id set"
        )
    return Place((rows[0][0] or b"").decode(), int(rows[0][1] or 0))


async def has_log(connection: ServerConnection, place: Place) -> bool:
    """Whether the server still has this place of its log."""
    for row in await connection.query("SHOW BINARY LOGS"):
        if (row[0] or b"").decode() == place.file:
            return int(row[1] or 0) >= place.offset
    return False


async def prepare(connection: ServerConnection, known: Identity) -> bool:
    """Tell the server how the log is to be sent. Returns whether events have checksums. Raises ServerFailed."""
    rows = await connection.query("SELECT @@global.binlog_checksum")
    checksums = (rows[0][0] or b"").upper() != b"NONE"
    await connection.query("SET @master_binlog_checksum = @@global.binlog_checksum")
    await connection.query(f"SET @master_heartbeat_period = {int(HEARTBEAT_S * 1e9)}")
    if known.mariadb:
        await connection.query("SET @mariadb_slave_capability = 4")
    else:
        await connection.query("SET @source_binlog_checksum = @@global.binlog_checksum")
        await connection.query(f"SET @source_heartbeat_period = {int(HEARTBEAT_S * 1e9)}")
        await connection.query(f"SET @slave_uuid = '{_uuid()}'")
    return checksums


def own_server_id() -> int:
    """An id that no server has: two replicas of one id would turn each other out, so it is drawn from the upper
    two thousand million."""
    return 1 << 31 | secrets.randbits(31)


def _uuid() -> str:
    text = secrets.token_hex(16)
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
