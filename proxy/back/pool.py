"""Pools: the connections to one server with one account and one set of capability flags.

Reuse is last in, first out, so that surplus connections grow old and go. A connection on which a session left
state is closed instead of being given out again. Who cannot be served at once waits in a bounded queue, in order,
with a time limit.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from proxy.back.connection import ServerConnection
from proxy.back.settings import Settings
from proxy.errors import PoolExhausted, ServerFailed, TurnoutError
from proxy.wire.login import Secret
from proxy.wire.status import IN_TRANS

if TYPE_CHECKING:
    from proxy.back.server import Server

_monotonic = time.monotonic
_monotonic_ns = time.monotonic_ns
_LOOK_FOR_MATCH: Final = 8  # how many idle connections are compared with a session's settings before any is taken


@dataclass(frozen=True, slots=True)
class PoolKey:
    """Connections are interchangeable within one of these."""

    user: str
    capabilities: int
    origin: str = ""  # the address of the clients that it is for, where the server is told of it


@mypyc_attr(allow_interpreted_subclasses=True)
class Pool:
    """See the module. `secret` may be renewed by later logins of the same account (a changed password)."""

    __slots__ = ("_opening", "bare", "idle", "initial", "key", "secret", "server", "size", "waiters")

    def __init__(self, server: Server, key: PoolKey, secret: Secret) -> None:
        self.server = server
        self.key = key
        self.secret = secret
        self.idle: list[ServerConnection] = []
        self.size = 0  # connections open or being opened
        self.initial: Settings | None = None  # what the last one had when it was opened
        self._opening = 0
        self.waiters: deque[asyncio.Future[ServerConnection]] = deque()
        self.bare: deque[asyncio.Future[ServerConnection]] = deque()  # those whose sessions have no default database

    @property
    def waiting(self) -> int:
        return len(self.waiters) + len(self.bare)

    # -- taking ----------------------------------------------------------------------------------------------------

    def take_now(self, settings: Settings, database: str | None) -> ServerConnection | None:
        """An idle connection, best one that already has these settings; None when there is none (or others wait)."""
        idle = self.idle
        if not idle:
            return None
        if database is None:
            return self._without_database()
        if self.waiters:
            return None
        connection = idle[-1]
        if connection.aborted is not None:  # about to be told
            idle[:] = [c for c in idle if c.aborted is None]
            return self.take_now(settings, database)
        if connection.settings is settings and connection.database == database:
            idle.pop()
            return connection
        for i in range(len(idle) - 2, max(-1, len(idle) - 2 - _LOOK_FOR_MATCH), -1):
            candidate = idle[i]
            if candidate.settings is settings and candidate.database == database and candidate.aborted is None:
                del idle[i]
                return candidate
        if self.size < self.server.limit // 4 and self.server.size < self.server.limit:
            # Room to spare: a connection of its own for this combination of settings saves a SET at every change.
            if connection.settings is not settings and self._opening == 0:
                self._open_more()
        return idle.pop()

    def _without_database(self) -> ServerConnection | None:
        """An idle connection that has no default database: nothing takes one away again."""
        idle = self.idle
        for i in range(len(idle) - 1, -1, -1):
            if idle[i].database is None and idle[i].aborted is None:
                return idle.pop(i)
        return None

    async def take(self, settings: Settings, database: str | None) -> ServerConnection:
        """An idle or new connection; waits its turn. Raises PoolExhausted, ServerFailed."""
        self.server.check_up()
        connection = self.take_now(settings, database)
        if connection is not None:
            return connection
        limits = self.server.pool_rules
        if self.waiting >= limits.max_waiters:
            self.server.counters.waits_refused += 1
            raise PoolExhausted(
                f"Turnout: {self.waiting} statements already wait for a connection to {self.server.where}; "
                "raise max_connections of the cluster, or pool.max_waiters"
            )
        if database is None and self.idle and self.server.size >= self.server.limit:
            self.idle.pop(0).close()  # one with a database makes room for one without
        future: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()
        waiters = self.waiters if database is not None else self.bare
        waiters.append(future)
        self._open_more()
        self.server.counters.waits += 1
        began = _monotonic_ns()
        try:
            async with asyncio.timeout(limits.wait_s):
                return await future
        except BaseException as error:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.release(future.result())  # it came at the very moment that the waiting ended
            else:
                future.cancel()
                if future in waiters:
                    waiters.remove(future)
            if not isinstance(error, TimeoutError):
                raise
            self.server.counters.waits_timed_out += 1
            raise PoolExhausted(
                f"Turnout: all {self.server.size} connections to {self.server.where} were busy for {limits.wait_s:g} s "
                f"(limit {self.server.limit}); raise max_connections of the cluster, or pool.wait"
            ) from None
        finally:
            self.server.counters.wait_ns += _monotonic_ns() - began

    # -- giving back -----------------------------------------------------------------------------------------------

    def release(self, connection: ServerConnection) -> None:
        """Give a connection back. A busy, lost, old or dirty one is closed instead; one with open cursors stays
        with its session until it is given back without them."""
        connection.holder = connection.taker = None
        if connection.aborted is not None or (connection.cursors and _is_at_rest(connection)):
            return
        now = _monotonic()
        rules = self.server.pool_rules
        if (
            connection.sink is not None
            or connection.dirty
            or connection.scanner.status & IN_TRANS
            or connection.branch is not None
            or connection.generation != self.server.generation
            or now - connection.born > rules.max_age_s
            or self.server.size > self.server.limit
            or "wait_timeout" in connection.settings.items
        ):
            self._discard(connection)
            return
        if self.server.starved and self.waiting and self.server.others_wait(self) and self.server.turn():
            self._discard(connection)  # another account's statements wait for a place on this server, too
            return
        if len(self.bare) > self._opening and connection.database is not None:
            connection.close()  # it makes room for one without a database
            self.on_closed(connection)
            return
        self._hand_out(connection, now)

    def _hand_out(self, connection: ServerConnection, now: float) -> None:
        """To the next waiter, or among the idle ones. Nothing takes a default database away again, so that those who
        have none come first where there is a connection without one."""
        for waiters in (self.bare, self.waiters) if connection.database is None else (self.waiters,):
            while waiters:
                future = waiters.popleft()
                if not future.done():
                    future.set_result(connection)
                    return
        connection.idle_since = now
        self.idle.append(connection)
        if self.server.starved:
            self.server.feed_starved()

    def _discard(self, connection: ServerConnection) -> None:
        connection.close()

    def on_closed(self, connection: ServerConnection) -> None:
        """A connection of this pool is gone (whatever the reason)."""
        if connection.pool is not self:
            return
        connection.pool = None
        if connection in self.idle:
            self.idle.remove(connection)
        self.size -= 1
        self.server.forget(connection)
        if self.server.starved:
            self.server.feed_starved(last=self)
        if self.waiting:
            self._open_more()

    # -- opening ---------------------------------------------------------------------------------------------------

    def _open_more(self) -> None:
        """Open as many connections as there are waiters, within the server's limit."""
        while self._opening < max(1, self.waiting):
            if self.server.size >= self.server.limit:
                if self.server.evict_idle(self):
                    continue  # whoever was starved has the first claim on what was closed, and may have it already
                if self.waiting:
                    self.server.starved[self] = None
                return
            self.size += 1
            self.server.size += 1
            self._opening += 1
            self.server.spawn(self._open(), f"connect to {self.server.where}")

    async def _open(self) -> None:
        connection: ServerConnection | None = None
        try:
            key = self.key
            connection = await self.server.connect(key.user, self.secret, key.capabilities, origin=key.origin)
        except BaseException as error:
            self.size -= 1
            self.server.size -= 1
            self._opening -= 1
            told = self._failed(
                error if isinstance(error, TurnoutError) else ServerFailed(f"{self.server.where}: {error}")
            )
            if told and self.server.starved:  # a server that is full would turn the others away as well
                self.server.feed_starved()
            if isinstance(error, TurnoutError):
                return
            raise
        self._opening -= 1
        connection.pool = self
        self.initial = connection.settings
        self.server.connections.add(connection)
        if connection.aborted is not None:  # lost between login and here
            self.on_closed(connection)
            return
        if connection.generation != self.server.generation:  # the server went down or was retired meanwhile
            self._discard(connection)
            return
        if self.server.retired:
            connection.generation = -1  # whoever waited for it has it; then it goes
        self._hand_out(connection, _monotonic())

    def _failed(self, error: TurnoutError) -> bool:
        """Nobody is left waiting for a connection that cannot be made; False where they wait for those there are."""
        full = error.errno in (1040, 1203, 1226)
        if full and self.size > 0:
            # The server itself is out of connections: those that we have will serve the waiters in turn.
            return False
        for waiters in (self.bare, self.waiters):
            while waiters:
                future = waiters.popleft()
                if not future.done():
                    future.set_exception(_for_client(error, self.server.where))
        return True

    def trim(self, now: float) -> None:
        """Close connections that were idle for too long or are too old (called every second)."""
        rules = self.server.pool_rules
        for connection in list(self.idle):
            if now - connection.idle_since > rules.max_idle_s or now - connection.born > rules.max_age_s:
                self.idle.remove(connection)
                connection.close()

    def close(self) -> None:
        """Close idle connections; those in use are closed when they come back (their generation is old)."""
        for connection in self.idle:
            connection.close()
        self.idle.clear()
        self.initial = None


def _is_at_rest(connection: ServerConnection) -> bool:
    return connection.sink is None and connection.branch is None and not connection.scanner.status & IN_TRANS


def _for_client(error: TurnoutError, where: str) -> TurnoutError:
    """A connect error as the waiting statement's own error (an exception object belongs to one raiser only)."""
    text = error.message if where in error.message else f"Cannot connect to {where}: {error.message}"
    return ServerFailed(text, errno=error.errno, sqlstate=error.sqlstate)
