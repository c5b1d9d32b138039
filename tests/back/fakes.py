"""Pools without a server: real pools and connections over transports that go nowhere, on a clock of its own."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from proxy.back.connection import Discarded, ServerConnection
from proxy.back.pool import Pool, PoolKey
from proxy.back.server import LOGIN_SETTINGS, Role, Server
from proxy.errors import ServerFailed, TurnoutError
from proxy.measure.measures import ServerStats
from proxy.rules import model
from proxy.wire.login import Secret

T = TypeVar("T")
NO_SECRET = Secret(b"x")


class Stuck(Exception):
    """Nothing is left that could ever happen, and the test waits."""


class Loop(asyncio.SelectorEventLoop):
    """Time goes by at once when everything waits for it."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck
        self._loop.now += max(timeout, 0)
        return super().select(0)


def play(scene: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a test's coroutine. Tasks that it leaves are cancelled; none of the loop's complaints is overlooked."""
    complaints: list[dict[str, Any]] = []

    def make() -> Loop:
        loop = Loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        return loop

    with asyncio.Runner(loop_factory=make) as runner:
        result = runner.run(scene())
    assert not complaints, complaints
    return result


async def settle() -> None:
    """Lets everything happen that needs no time."""
    for _ in range(30):
        await asyncio.sleep(0)


class Transport:
    """Closes a turn of the loop later, as real ones do."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self.written = b""
        self.closed = ""

    def write(self, data: bytes) -> None:
        assert not self.closed, "written after it was closed"
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> None:
        """It has no socket."""

    def is_closing(self) -> bool:
        return bool(self.closed)

    def _end(self, how: str) -> None:
        if not self.closed:
            self.closed = how
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)

    def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        self._end("aborted")


class FakeServer(Server):
    """`connect` takes `connect_s`, and fails with `refusal` of the account when there is one."""

    def __init__(self, limit: int, wait_s: float = 5.0, max_waiters: int = 100) -> None:
        super().__init__(
            "main",
            Role.PRIMARY,
            model.Address("127.0.0.1", 3306),
            limit,
            None,
            model.Pool(wait_s=wait_s, max_waiters=max_waiters),
            model.Health(),
            self._spawn,
            ServerStats("main", "127.0.0.1:3306", "primary"),
        )
        self.stats = self.counters
        self.connect_s = 0.0
        self.refusal: dict[str, Exception] = {}
        self.opened: list[ServerConnection] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.failures: list[BaseException] = []  # of those tasks: the worker would have logged them
        self.most = 0  # connections open or being opened at once

    def _spawn(self, work: Coroutine[object, object, None], what: str) -> None:
        self.most = max(self.most, self.size)
        task = asyncio.get_running_loop().create_task(work, name=what)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.failures.append(error)

    async def connect(  # type: ignore[override]
        self, user: str, secret: Secret, capabilities: int, *, origin: str = ""
    ) -> ServerConnection:
        self.check_up()
        generation = self.generation
        await asyncio.sleep(self.connect_s)
        if user in self.refusal:
            raise self.refusal[user]
        connection = ServerConnection(
            self.where, user=user, secret=secret, capabilities=capabilities, charset=45, settings=LOGIN_SETTINGS
        )
        connection.connection_made(Transport(connection))  # type: ignore[arg-type]
        connection._in_login = False
        connection._ready.set_result(None)
        connection.generation = generation
        self.opened.append(connection)
        return connection

    def account(self, user: str = "app") -> Pool:
        return self.pool(PoolKey(user, 0), NO_SECRET)

    def check(self) -> None:
        """What must hold at any time."""
        assert self.size <= self.limit, f"{self.size} connections, {self.limit} allowed"
        assert self.most <= self.limit, f"{self.most} connections at once, {self.limit} allowed"
        assert self.size == sum(pool.size for pool in self.pools.values())
        assert self.size == len(self.connections) + sum(pool._opening for pool in self.pools.values())
        for pool in self.pools.values():
            assert pool.size >= 0
            assert pool._opening >= 0
            assert len({id(connection) for connection in pool.idle}) == len(pool.idle)
            for connection in pool.idle:
                assert connection.pool is pool


async def take(pool: Pool, database: str | None = None) -> ServerConnection:
    return await pool.take(LOGIN_SETTINGS, database)


def start(pool: Pool) -> asyncio.Task[ServerConnection]:
    """Takes a connection in a task of its own, which has begun to wait when this returns to the loop."""
    return asyncio.get_running_loop().create_task(take(pool))


async def filled(pool: Pool, count: int, database: str | None = None) -> list[ServerConnection]:
    """So many connections of a pool, all taken and in that database."""
    connections = [await take(pool) for _ in range(count)]
    for connection in connections:
        connection.database = database
    return connections


def transport(connection: ServerConnection) -> Transport:
    assert isinstance(connection.transport, Transport)
    return connection.transport


def run_a_statement(connection: ServerConnection) -> None:
    """Leaves the connection busy with an answer that has not come."""
    connection.send(b"\x09\x00\x00\x00\x03SELECT 1", Discarded("statement"))


def lose(connection: ServerConnection) -> None:
    """The server closes the connection."""
    transport(connection).closed = "by the server"
    connection.connection_lost(None)


def refused(errno: int = 1045) -> TurnoutError:
    return ServerFailed("Access denied", errno=errno, sqlstate="28000")
