"""What is written past a transport arrives once, whole and in order, and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from proxy.back import outlet as module
from proxy.back.outlet import Outlet

LOOPS = (asyncio.new_event_loop, uvloop.new_event_loop)


class Side(asyncio.Protocol):
    """This side of a connection, whose other side is a socket that reads when it is told to."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.paused = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport | uvloop.loop.UVStream)
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.outlet = Outlet(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)

    def pause_writing(self) -> None:
        self.paused += 1


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[Side, socket.socket], Awaitable[None]]], None]:
    def running(test: Callable[[Side, socket.socket], Awaitable[None]]) -> None:
        async def inside() -> None:
            ours, theirs = socket.socketpair()
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            ours.setblocking(False)
            theirs.setblocking(False)
            _, side = await asyncio.get_running_loop().create_unix_connection(Side, sock=ours)
            try:
                await test(side, theirs)
            finally:
                theirs.close()
                side.transport.abort()
                await side.lost

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(inside())

    return running


Running = Callable[[Callable[[Side, socket.socket], Awaitable[None]]], None]


def test_it_goes_out_at_once(run: Running) -> None:
    async def test(side: Side, theirs: socket.socket) -> None:
        side.outlet.send(b"whole")
        assert theirs.recv(100) == b"whole"  # before the event loop had a turn
        assert not side.transport.get_write_buffer_size()

    run(test)


def test_what_is_not_taken_follows_in_order(run: Running) -> None:
    async def test(side: Side, theirs: socket.socket) -> None:
        rng = random.Random(5)
        expected = bytearray()
        read = bytearray()
        through_transport = 0
        for number in range(2_000):
            piece = rng.randbytes(rng.choice((1, 90, 700, 5_000, 60_000)))
            (side.outlet.write if number % 7 == 0 else side.outlet.send)(piece)
            through_transport += side.transport.get_write_buffer_size() > 0
            expected += piece
            if rng.random() < 0.3:
                await asyncio.sleep(0)
                with contextlib.suppress(BlockingIOError):
                    read += theirs.recv(rng.choice((10, 4_096, 1 << 20)))
        assert through_transport > 0
        assert side.paused  # the transport knows of what waits
        while len(read) < len(expected):
            read += await asyncio.get_running_loop().sock_recv(theirs, 1 << 20)
        assert read == expected
        side.outlet.send(b"again at once")
        assert theirs.recv(100) == b"again at once"

    run(test)


def test_a_write_that_takes_a_part(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(fd: int, data: bytes) -> int:
        return os.write(fd, data[: len(data) // 2])

    async def test(side: Side, theirs: socket.socket) -> None:
        monkeypatch.setattr(module, "_write", half)
        for piece in (b"abcdef", b"g", b"hijk"):
            side.outlet.send(piece)
        await asyncio.sleep(0.01)
        assert theirs.recv(100) == b"abcdefghijk"

    run(test)


def test_a_closing_transport_gets_nothing_past_it(run: Running) -> None:
    async def test(side: Side, theirs: socket.socket) -> None:
        side.transport.abort()
        side.outlet.send(b"late")
        await side.lost
        other, another = socket.socketpair()  # has the number that was freed, or may have
        try:
            with contextlib.suppress(RuntimeError):  # uvloop's transports say it like this
                side.outlet.send(b"later")
            another.setblocking(False)
            other.setblocking(False)
            for end in (other, another):
                with pytest.raises(BlockingIOError):
                    end.recv(100)
            assert theirs.recv(100) == b""
        finally:
            other.close()
            another.close()

    run(test)


def test_the_transport_notices_that_nobody_reads_any_more(run: Running) -> None:
    async def test(side: Side, theirs: socket.socket) -> None:
        side.transport.pause_reading()  # so that only writing can tell
        theirs.close()
        side.outlet.send(b"to nobody")
        assert isinstance(await asyncio.wait_for(side.lost, 5), OSError)

    run(test)


def test_without_a_socket_it_is_the_transport_that_writes() -> None:
    class Written(asyncio.Transport):
        def __init__(self) -> None:
            super().__init__()
            self.data = b""

        def write(self, data: bytes | bytearray | memoryview) -> None:
            self.data += data

    written = Written()
    Outlet(written).send(b"all of it")
    assert written.data == b"all of it"
