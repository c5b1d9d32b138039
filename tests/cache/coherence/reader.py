"""Readers: statements in flight by the dozen on one connection, every answer held against the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.cache.coherence.ledger import Key, Rows, Violation, now_ns
from tests.front import raw


@dataclass(slots=True)
class Tally:
    """What all readers saw."""

    staleness_ns: int
    reads: int = 0
    failed: int = 0  # error packets and lost connections
    failures: dict[str, int] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)

    def fail(self, what: str) -> None:
        self.failed += 1
        self.failures[what] = self.failures.get(what, 0) + 1


class Reader(asyncio.Protocol):
    """One connection. `done` is set when every answer of the batch is there or the connection is lost."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._buffer = bytearray()
        self._waiting: deque[tuple[Key, int, bool]] = deque()  # key, required version, binary rows
        self._began = 0
        self._packets = 0  # of the answer under way
        self._rows: list[bytes] = []
        self._in_rows = False
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self.done = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._waiting:
            self._tally.fail("connection lost")
            self._waiting.clear()
        self.done.set()

    def ask(self, batch: Sequence[tuple[Key, bytes, bool]]) -> None:
        """Send packets whose answers these keys are about."""
        assert self.transport is not None
        self.done.clear()
        self._began = began = now_ns()
        staleness_ns = self._tally.staleness_ns
        for key, _, binary in batch:
            self._waiting.append((key, key.required(began, staleness_ns), binary))
        self.transport.write(b"".join(packet for _, packet, _ in batch))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        pos, end = 0, len(buffer)
        while pos + 4 <= end:
            size = buffer[pos] | buffer[pos + 1] << 8 | buffer[pos + 2] << 16
            if pos + 4 + size > end:
                break
            self._packet(buffer, pos + 4, size)
            pos += 4 + size
        del buffer[:pos]
        if not self._waiting:
            self.done.set()

    def _packet(self, buffer: bytearray, pos: int, size: int) -> None:
        first = buffer[pos]
        self._packets += 1
        if self._packets == 1 and first == 0xFF:
            number = int.from_bytes(buffer[pos + 1 : pos + 3], "little")
            self._tally.fail(f"{number}: {bytes(buffer[pos + 9 : pos + size]).decode('utf-8', 'replace')[:70]}")
            self._next()
            return
        if first == 0xFE and size < 9:
            if self._in_rows:
                self._answer()
            else:
                self._in_rows = True
            return
        if self._in_rows:
            if first == 0xFF:
                self._tally.fail("error in the middle of rows")
                self._next()
            elif self._waiting[0][2]:  # a row of one INT in the binary protocol: 0, null bitmap, value
                self._rows.append(b"%d" % int.from_bytes(buffer[pos + 2 : pos + 6], "little", signed=True))
            else:
                self._rows.append(bytes(buffer[pos + 1 : pos + size]))  # every value is shorter than 251 bytes

    def _answer(self) -> None:
        key, required, _ = self._waiting[0]
        observed: Rows = tuple(self._rows)
        tally = self._tally
        tally.reads += 1
        if not key.admits(required, observed):
            tally.violations.append(key.violation(required, observed, self._began))
        self._next()

    def _next(self) -> None:
        self._waiting.popleft()
        self._packets = 0
        self._in_rows = False
        if self._rows:
            self._rows = []


async def connected(
    tally: Tally, port: int, account: tuple[str, str], database: str, prepared: Sequence[str]
) -> tuple[Reader, dict[str, bytes]]:
    """A logged-in reader, and EXECUTE packets for the statements of `prepared`. Raises OSError, raw.LoginFailed and
    AssertionError."""
    loop = asyncio.get_running_loop()
    client = await asyncio.to_thread(raw.Client, port, *account, database, timeout_s=10.0)
    try:
        packets = await asyncio.to_thread(_prepare, client, prepared)
        client.socket.setblocking(False)
        _, reader = await loop.create_connection(lambda: Reader(tally), sock=client.socket)
    except BaseException:
        client.abort()
        raise
    return reader, packets


async def read_on(
    tally: Tally,
    port: int,
    account: tuple[str, str],
    database: str,
    keys: Callable[[], Sequence[Key]],
    prepared: bool,
    batch: int,
    stop: asyncio.Event,
    seed: int,
) -> None:
    """Read until `stop`, on one connection after the other."""
    chance = random.Random(seed)
    while not stop.is_set():
        reader: Reader | None = None
        try:
            statements = [key.statement for key in keys()] if prepared else []
            reader, packets = await connected(tally, port, account, database, statements)
            await _read(reader, keys, packets, prepared, batch, stop, chance)
        except (OSError, raw.LoginFailed, AssertionError) as error:
            tally.fail(f"connecting: {type(error).__name__} {str(error)[:60]}")
            await asyncio.sleep(0.1)
        finally:
            if reader is not None and reader.transport is not None:
                reader.transport.abort()


async def _read(
    reader: Reader,
    keys: Callable[[], Sequence[Key]],
    packets: dict[str, bytes],
    prepared: bool,
    batch: int,
    stop: asyncio.Event,
    chance: random.Random,
) -> None:
    while not stop.is_set() and not reader.lost:
        known = keys()
        chosen = chance.choices(known, k=chance.randint(1, batch))
        asked = []
        for key in chosen:
            packet = packets.get(key.statement)
            binary = prepared and packet is not None
            if packet is None:
                packet = packets[key.statement] = raw.framed(bytes((raw.COM_QUERY,)) + key.statement.encode())
                binary = False
            asked.append((key, packet, binary))
        if prepared:  # what was not prepared at the start is a new key: text
            asked = [(key, packet, packet[4] == raw.COM_STMT_EXECUTE) for key, packet, _ in asked]
        reader.ask(asked)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                await reader.done.wait()
        if not reader.done.is_set():
            reader._tally.fail("no answer for 20 s")
            return


def _prepare(client: raw.Client, statements: Sequence[str]) -> dict[str, bytes]:
    """An EXECUTE packet for each statement that ends in one integer: that is its parameter."""
    found: dict[str, bytes] = {}
    known: dict[str, raw.Statement] = {}
    for text in statements:
        head, _, number = text.rpartition(" = ")
        if not number.isdigit():
            continue
        statement = known.get(head)
        if statement is None:
            made = client.prepare(f"{head} = ?")
            assert isinstance(made, raw.Statement), made
            statement = known[head] = made
        payload = (
            bytes((raw.COM_STMT_EXECUTE,))
            + statement.id.to_bytes(4, "little")
            + b"\0\1\0\0\0\0\1"
            + bytes((raw.LONGLONG, 0))
            + int(number).to_bytes(8, "little")
        )
        found[text] = raw.framed(payload)
    return found
