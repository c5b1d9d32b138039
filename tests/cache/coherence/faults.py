"""What goes wrong while the checker runs. Each has a beginning and an end of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.servers import MariaDB, Memcached, Turnout


class Gate:
    """A TCP way to memcached that can be closed: what is in flight stays there, and nothing comes through."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._to = port
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, to_writer))
                group.create_task(self._pump(to_reader, writer))
        except* OSError:
            pass  # one of the two sides is gone: so is the other
        finally:
            writer.transport.abort()
            to_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


def children(turnout: Turnout, name: str) -> list[int]:
    """Process ids of Turnout's workers or stream processes, by their name (see proxy.cli.process_name)."""
    return turnout.named(name)


STREAM, WORKER = "turnout-stream", "turnout-worker"


@dataclass(slots=True)
class World:
    """What faults are done to."""

    primary: MariaDB
    memcached: list[Memcached]
    gate: Gate
    turnout: Turnout
    rules: Callable[[bool], str]  # the rules file with all classes, or with some left out
    chance: random.Random


async def _stopped(pid: int, seconds: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)


async def memcached_killed(world: World) -> None:
    server = world.chance.choice(world.memcached)
    server.kill()
    await asyncio.sleep(world.chance.random())
    await asyncio.to_thread(server.start)


async def memcached_stopped(world: World) -> None:
    await _stopped(world.chance.choice(world.memcached).pid, 0.2 + world.chance.random())


async def memcached_flushed(world: World) -> None:
    server = world.chance.choice(world.memcached)

    def flush() -> None:
        with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
            connection.sendall(b"flush_all\r\n")
            assert connection.recv(10) == b"OK\r\n"

    await asyncio.to_thread(flush)


async def memcached_partitioned(world: World) -> None:
    world.gate.close()
    await asyncio.sleep(0.1 + 1.5 * world.chance.random())
    world.gate.open()


async def stream_killed(world: World) -> None:
    for pid in children(world.turnout, STREAM):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def stream_stopped(world: World) -> None:
    for pid in children(world.turnout, STREAM):
        await _stopped(pid, 0.1 + 2 * world.chance.random())


async def worker_killed(world: World) -> None:
    workers = children(world.turnout, WORKER)
    if workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(world.chance.choice(workers), signal.SIGKILL)


async def worker_stopped(world: World) -> None:
    workers = children(world.turnout, WORKER)
    if workers:
        await _stopped(world.chance.choice(workers), 0.05 + 0.5 * world.chance.random())


async def server_killed(world: World) -> None:
    world.primary.kill()
    await asyncio.to_thread(world.primary.start)


async def server_restarted(world: World) -> None:
    await asyncio.to_thread(world.primary.restart)


async def server_stopped(world: World) -> None:
    await _stopped(world.primary.pid, 0.1 + world.chance.random())


async def logs_flushed(world: World) -> None:
    await asyncio.to_thread(world.primary.execute, "FLUSH BINARY LOGS")


async def logs_purged(world: World) -> None:
    await asyncio.to_thread(world.primary.execute, "FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW()")


async def logs_purged_while_stream_stopped(world: World) -> None:
    """The stream process comes back to a log that is no longer there."""
    pids = children(world.turnout, STREAM)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    await logs_purged(world)
    await logs_purged(world)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def rules_reloaded(world: World) -> None:
    """Some classes are taken out and come back."""
    world.turnout.reload(world.rules(False))
    await asyncio.sleep(0.2 + world.chance.random())
    world.turnout.reload(world.rules(True))


Fault = Callable[[World], Awaitable[None]]

HARMLESS: tuple[Fault, ...] = (
    memcached_killed,
    memcached_stopped,
    memcached_flushed,
    memcached_partitioned,
    stream_killed,
    stream_stopped,
    logs_flushed,
    logs_purged,
    logs_purged_while_stream_stopped,
    rules_reloaded,
    worker_stopped,
    server_stopped,
)  # under these no read may fail
HARMFUL: tuple[Fault, ...] = (worker_killed, server_killed, server_restarted)
