"""Values in memcached: shared between workers and hosts, never trusted to be there, quick, or right.

aiomcache speaks the protocol. Three of its habits are dealt with here: a cancelled request gives its connection back
with the reply still to come, so requests are never cancelled (a late one loses its connection instead); a connection
that ends in the middle of a reply makes it read empty lines for ever, so the reader raises there; and a request that
waits for a connection waits for ever when all of them break, so that no more are made at a time than there are
connections, and the others wait here, a short while.

A *lease* says that some worker is asking the server for an answer that memcached does not have: an item beside the
answer's, with a short life, that only one worker can add.

A server that fails or is late is left alone for a while, twice as long each time: it costs hits and nothing else.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import aiomcache
from aiomcache.pool import Connection, MemcachePool

from proxy.cache.value import CachedValue, RemoteKey, decode_item, encode_item, item_name
from proxy.rules.model import Address

log = logging.getLogger("turnout.cache")

CONNECTIONS = 4  # to each server, per worker
GET_TIMEOUT_S = 0.05
SET_TIMEOUT_S = 0.5
CONNECT_TIMEOUT_S = 0.5
EXPIRES_S = 3600  # items do not live longer, whether asked for or not
MAX_ITEM_BYTES = (1 << 20) - 4096  # memcached's default limit, less what it keeps beside a value
MAX_QUEUED = 1000  # values waiting to be sent to a server
MAX_WAITING = 64  # requests waiting for a connection
LEASE_S = 1  # memcached's shortest; whoever got it is rid of it sooner, when the answer is there
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0

_LEASE = b":lease"

T = TypeVar("T")


class RemoteCounters:
    """What was asked of memcached: they only go up."""

    __slots__ = ("dropped", "errors", "gets", "hits", "malformed", "sets", "skipped", "timeouts", "too_long")

    def __init__(self) -> None:
        self.gets = self.hits = self.sets = 0
        self.errors = self.timeouts = 0
        self.skipped = 0  # requests not made, because the server failed a moment ago
        self.dropped = 0  # values not sent, because too many waited
        self.malformed = 0  # items that were not ours, or damaged
        self.too_long = 0  # values over the item size


class Memcached:
    """All servers of the rules. `spawn` makes a task that is kept until it ends."""

    def __init__(
        self, servers: Sequence[Address], spawn: Callable[[Awaitable[None], str], object], counters: RemoteCounters
    ) -> None:
        self.counters = counters
        self._nodes = [_Node(address, self.counters, spawn) for address in servers]

    async def fetch(self, key: RemoteKey) -> CachedValue | None:
        """The value as it was sent, incarnation 0. None, and soon, whatever goes wrong."""
        name = item_name(key)
        counters = self.counters
        counters.gets += 1
        data = await self._node(name).get(name)
        if data is None:
            return None
        value = decode_item(key, data, time.perf_counter_ns())
        if value is None:
            counters.malformed += 1
            return None
        counters.hits += 1
        return value

    def send(self, key: RemoteKey, value: CachedValue) -> None:
        """Keep it there, some time, or not."""
        data = encode_item(key, value)
        if len(data) > MAX_ITEM_BYTES:
            self.counters.too_long += 1
            return
        name = item_name(key)
        self._node(name).set_later(name, data)

    async def lease(self, key: RemoteKey) -> bool | None:
        """Whether this worker is the one to ask the server for the answer; None: memcached does not say."""
        name = item_name(key)
        return await self._node(name).add(name + _LEASE)

    def end_lease(self, key: RemoteKey) -> None:
        """The answer was sent (before this), or will not come."""
        name = item_name(key)
        self._node(name).delete_later(name + _LEASE)

    async def close(self) -> None:
        for node in self._nodes:
            await node.close()

    def _node(self, name: bytes) -> _Node:
        """Rendezvous hashing: a server that is added or removed moves only the keys that it gets or had."""
        if len(self._nodes) == 1:
            return self._nodes[0]
        return max(self._nodes, key=lambda node: hashlib.blake2b(name, key=node.name, digest_size=8).digest())


class _Reader(asyncio.StreamReader):
    """A reader that tells the end of a connection from an empty line."""

    async def readline(self) -> bytes:
        line = await super().readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("memcached closed the connection in the middle of a reply")
        return line


class _Pool(MemcachePool):
    """aiomcache's pool with our reader, Unix sockets, and connections that can be dropped while in use."""

    def __init__(self, address: Address) -> None:
        super().__init__(address.host, address.port, minsize=CONNECTIONS, maxsize=CONNECTIONS)
        self._address = address

    async def _create_new_conn(self) -> Connection | None:
        if self.size() >= self._maxsize:
            return None
        loop = asyncio.get_running_loop()
        reader = _Reader(limit=1 << 16, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        address = self._address
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if address.path:
                transport, _ = await loop.create_unix_connection(lambda: protocol, address.path)
            else:
                transport, _ = await loop.create_connection(lambda: protocol, address.host, address.port)
        return Connection(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    def drop_all(self) -> None:
        """End every connection at once: requests under way fail."""
        for connection in list(self._in_use):
            connection.writer.transport.abort()
        while not self._pool.empty():
            self._pool.get_nowait().writer.transport.abort()


class _Node:
    """One server."""

    def __init__(
        self, address: Address, counters: RemoteCounters, spawn: Callable[[Awaitable[None], str], object]
    ) -> None:
        self.name = str(address).encode()[:64]
        self._counters = counters
        self._spawn = spawn
        self._client = aiomcache.Client(address.host, address.port)
        self._pool = self._client._pool = _Pool(address)
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._waiting = 0
        self._queue: deque[tuple[bytes, bytes | None]] = deque()  # (item, its value; None: it goes)
        self._sending = False
        self._pause_s = 0.0
        self._down_until = 0.0

    async def get(self, name: bytes) -> bytes | None:
        found = await self._request(lambda: self._client.get(name), GET_TIMEOUT_S)
        return found if isinstance(found, bytes) else None

    async def add(self, name: bytes) -> bool | None:
        return await self._request(lambda: self._client.add(name, b"1", exptime=LEASE_S), GET_TIMEOUT_S)

    def set_later(self, name: bytes, data: bytes) -> None:
        self._later(name, data)

    def delete_later(self, name: bytes) -> None:
        self._later(name, None)

    def _later(self, name: bytes, data: bytes | None) -> None:
        if len(self._queue) >= MAX_QUEUED:
            self._counters.dropped += data is not None
            return
        self._queue.append((name, data))
        if not self._sending:
            self._sending = True
            self._spawn(self._send_queue(), "send values to memcached")

    async def close(self) -> None:
        self._queue.clear()
        self._down_until = float("inf")
        self._pool.drop_all()

    async def _send_queue(self) -> None:
        try:
            while self._queue:
                name, data = self._queue.popleft()
                if data is None:
                    await self._request(functools.partial(self._client.delete, name), SET_TIMEOUT_S)
                elif await self._request(
                    functools.partial(self._client.set, name, data, exptime=EXPIRES_S), SET_TIMEOUT_S
                ):
                    self._counters.sets += 1
        finally:
            self._sending = False

    async def _request(self, ask: Callable[[], Awaitable[T]], timeout_s: float) -> T | None:
        """One request, with a time limit that ends its connection and not its task. None: it failed."""
        if not await self._slot(timeout_s):
            self._counters.skipped += 1
            return None
        task = asyncio.ensure_future(self._in_slot(ask))
        task.add_done_callback(_seen)
        done, _ = await asyncio.wait([task], timeout=timeout_s)
        if not done:
            self._counters.timeouts += 1
            self._leave_alone("takes too long")
            self._pool.drop_all()
            return None
        error = task.exception()
        if error is not None:
            if isinstance(error, aiomcache.ClientException) and "too large" in str(error):
                self._counters.too_long += 1  # its item size is not the default
                return None
            self._counters.errors += 1
            self._leave_alone(str(error) or type(error).__name__)
            return None
        self._pause_s = 0.0
        return task.result()

    async def _slot(self, timeout_s: float) -> bool:
        """Wait for one of the connections, if that is worth it."""
        if time.monotonic() < self._down_until or self._waiting >= MAX_WAITING:
            return False
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self._slots.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        if time.monotonic() < self._down_until:
            self._slots.release()
            return False
        return True

    async def _in_slot(self, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            return await ask()
        finally:
            self._slots.release()

    def _leave_alone(self, why: str) -> None:
        if time.monotonic() < self._down_until:
            return
        self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        self._down_until = time.monotonic() + self._pause_s
        if self._pause_s == _FIRST_PAUSE_S:
            log.warning("memcached fails", extra={"server": self.name.decode(), "reason": why})


def _seen(task: asyncio.Future[T]) -> None:
    """Whoever asked may not be there any more."""
    if not task.cancelled():
        task.exception()
