"""An event loop without a clock or a network: waits are over as soon as nothing else can happen.

While `unchanging` is in force, nothing that Turnout does depends on anything but what it is sent: it reads the loop's
time, draws from a given source of chance, has learned nothing from earlier loops, and garbage that refers to itself
stays.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import random
import secrets
import selectors
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from proxy.back import settings
from proxy.front import cut_short, set_statement

_BEGAN_S = 1_000_000.0  # on all clocks: 0 means "never" here and there


class Stuck(Exception):
    """Everybody waits for somebody else."""


class _Time(selectors.SelectSelector):
    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("nobody will do anything any more")
        self.now_s += max(0.0, timeout)
        return []


class Trace:
    """All that goes over connections, in order, as a digest. `show`: as lines, too."""

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        self._show = show
        self._hash = hashlib.blake2b(digest_size=8)
        self._ends = 0

    def number(self) -> int:
        self._ends += 1
        return self._ends

    def add(self, now_s: float, end: int, what: str, data: bytes) -> None:
        self._hash.update(b"%f %d %s %d " % (now_s, end, what.encode(), len(data)))
        self._hash.update(data)
        if self._show is not None:
            self._show(f"{now_s:.6f} {end} {what} {data!r}")

    def __str__(self) -> str:
        return self._hash.hexdigest()


class VirtualLoop(asyncio.SelectorEventLoop):
    """`answer` is given the far end of every connection that is opened to a server."""

    def __init__(self, answer: Callable[[str, int, End], None], trace: Trace | None = None) -> None:
        self._virtual = _Time()
        super().__init__(self._virtual)
        self._answer = answer
        self.trace = trace or Trace()

    def time(self) -> float:
        return self._virtual.now_s

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        protocol = protocol_factory()
        end = End(protocol, host)
        self._answer(host, port, end)
        protocol.connection_made(end)
        return end, protocol


@contextmanager
def unchanging(loop: VirtualLoop, rng: random.Random) -> Iterator[None]:
    """See the module."""

    def now_s() -> float:
        return _BEGAN_S + loop.time()

    def now_ns() -> int:
        return int(now_s() * 1e9)

    clocks: dict[str, Callable[[], float]] = dict.fromkeys(("time", "monotonic", "perf_counter"), now_s)
    clocks |= dict.fromkeys(("time_ns", "monotonic_ns", "perf_counter_ns"), now_ns)
    by_clock = {getattr(time, name): reading for name, reading in clocks.items()}
    module = SimpleNamespace(**vars(time) | clocks)
    state = random.getstate()
    with ExitStack() as stack:
        for name, each in list(sys.modules.items()):
            if not name.startswith("proxy."):
                continue
            for known, value in list(vars(each).items()):
                instead = module if value is time else by_clock.get(value) if type(value) is type(time.time) else None
                if instead is not None:
                    stack.enter_context(mock.patch.object(each, known, instead))
        stack.enter_context(mock.patch.object(os, "getpid", return_value=4711))
        stack.enter_context(mock.patch.object(secrets, "choice", rng.choice))
        stack.enter_context(mock.patch.object(secrets, "randbits", rng.getrandbits))
        stack.enter_context(mock.patch.object(secrets, "token_hex", lambda size: rng.randbytes(size).hex()))
        stack.enter_context(mock.patch.object(set_statement, "_known", {}))
        stack.enter_context(mock.patch.object(cut_short, "_seldom", type(cut_short._seldom)()))
        settings.delta.cache_clear()  # and with it settings that are alive in it
        random.seed(rng.random())
        gc.collect()
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
            random.setstate(state)


class End(asyncio.Transport):
    """A connection: the transport of the protocol under test, and what the other side does with it (`deliver`,
    `received`, `hang_up`, `stall`)."""

    def __init__(self, protocol: asyncio.BaseProtocol, host: str) -> None:
        super().__init__()
        self.protocol: Any = protocol
        self.lost = False
        self._host = host
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop
        self._closing = False
        self._paused = False
        self._stalled = False
        self._in: deque[bytes] = deque()  # delivered while reading was paused
        self._out: list[bytes] = []
        self._wake: asyncio.Event = asyncio.Event()
        self._number = self._loop.trace.number()
        self._note("to", host.encode())

    def _note(self, what: str, data: bytes = b"") -> None:
        self._loop.trace.add(self._loop.time(), self._number, what, data)

    # -- the protocol calls these ------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        if not self._closing:
            self._note("written", bytes(data))
            self._out.append(bytes(data))
            self._wake.set()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._note("closed")
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
            self._note("delivered", data)
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
            self._note("hung up")
            self.protocol.eof_received()
            self._out.clear()
            self.close()

    def stall(self, on: bool) -> None:
        """Take nothing any more, or again."""
        if self._stalled != on and not self._closing:
            self._stalled = on
            (self.protocol.pause_writing if on else self.protocol.resume_writing)()
