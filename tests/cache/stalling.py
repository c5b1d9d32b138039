"""A TCP proxy in front of one port: it stalls, cuts connections, and answers by itself, as a test tells it."""

from __future__ import annotations

import asyncio
import contextlib


class Stalling:
    """`stalled`: bytes from the server wait; `cut_after`: that many of them are passed on, then the connection ends;
    `answers`: sent instead of asking the server, one for each request."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.cut_after: int | None = None
        self.answers: bytes | None = None
        self.connections = 0
        self.open = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Stalling:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def stall(self) -> None:
        self.flowing.clear()

    def flow(self) -> None:
        self.flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await self._both_ways(reader, writer)
        finally:
            self.open -= 1
            writer.close()
            self.tasks.discard(task)

    async def _both_ways(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server, from_server = None, None
        if self.answers is None:
            to_server_reader, from_server = await asyncio.open_connection("127.0.0.1", self.target)
            to_server = asyncio.ensure_future(self._back(to_server_reader, writer))
        try:
            while data := await reader.read(1 << 16):
                if self.answers is not None:
                    await self.flowing.wait()
                    writer.write(self.answers)
                elif from_server is not None:
                    from_server.write(data)
        finally:
            if to_server is not None:
                to_server.cancel()
                await asyncio.gather(to_server, return_exceptions=True)
            if from_server is not None:
                from_server.close()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                await self.flowing.wait()
                if self.cut_after is not None:
                    writer.write(data[: self.cut_after])
                    break
                writer.write(data)
        writer.close()
