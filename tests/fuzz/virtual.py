"""An event loop without a clock or a network: waits are over as soon as nothing else can happen."""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable
from typing import Any


class Stuck(Exception):
    """Everybody waits for somebody else."""


class _Time(selectors.SelectSelector):
    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("nobody will do anything any more")
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`answer` is given the far end of every connection that is opened to a server."""

    def __init__(self, answer: Callable[[str, int, End], None]) -> None:
        self._virtual = _Time()
        super().__init__(self._virtual)
        self._answer = answer

    def time(self) -> float:
        return self._virtual.now_s

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        protocol = protocol_factory()
        end = End(protocol, host)
        self._answer(host, port, end)
        protocol.connection_made(end)
        return end, protocol


class End(asyncio.Transport):
    """A connection: the transport of the protocol under test, and what the other side does with it (`deliver`,
    `received`, `hang_up`, `stall`)."""

    def __init__(self, protocol: asyncio.BaseProtocol, host: str) -> None:
        super().__init__()
        self.protocol: Any = protocol
        self.lost = False
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._paused = False
        self._stalled = False
        self._in: deque[bytes] = deque()  # delivered while reading was paused
        self._out: list[bytes] = []
        self._wake: asyncio.Event = asyncio.Event()

    # -- the protocol calls these ------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        if not self._closing:
            self._out.append(bytes(data))
            self._wake.set()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._in.clear()
            self._loop.call_soon(self._end)

    def abort(self) -> None:
        self._out.clear()
        self.close()

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        if self._in:
            self._loop.call_soon(self._flush)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self._host, 1) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self._out))

    def _end(self) -> None:
        self.lost = True
        self._wake.set()
        self.protocol.connection_lost(None)

    # -- the other side calls these ----------------------------------------------------------------------------------

    def deliver(self, data: bytes) -> None:
        """Send to the protocol: at once, or when it reads again."""
        if data and not self._closing:
            self._in.append(data)
            self._flush()

    def _flush(self) -> None:
        while self._in and not self._paused and not self._closing:
            self.protocol.data_received(self._in.popleft())

    async def received(self) -> bytes:
        """What the protocol has written since; b"" when the connection is over."""
        while not self._out:
            if self.lost:
                return b""
            self._wake.clear()
            await self._wake.wait()
        data = b"".join(self._out)
        self._out.clear()
        return data

    def hang_up(self) -> None:
        """Go away."""
        if not self._closing:
            self.protocol.eof_received()
            self._out.clear()
            self.close()

    def stall(self, on: bool) -> None:
        """Take nothing any more, or again."""
        if self._stalled != on and not self._closing:
            self._stalled = on
            (self.protocol.pause_writing if on else self.protocol.resume_writing)()
