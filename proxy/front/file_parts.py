"""A file in parts: as it comes from a client, and each cluster's share of it on its way there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed, TurnoutError
from proxy.front.client import Client
from proxy.front.row_streams import server_error
from proxy.wire.file_packets import file_packets

_FIRST_PACKET = 2  # of a file: behind the command and the server's request
_AHEAD = 256 * 1024  # bytes of the file that wait for their turn before the client is read no further
_PIECE = 64 * 1024  # bytes that are looked at before others have their turn


class FilePart:
    """One cluster's share: the sink of its LOAD DATA LOCAL."""

    def __init__(self, number: int, connection: ServerConnection) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.connection = connection
        self.asked: asyncio.Future[bytes | None] = (
            loop.create_future()
        )  # the file's name; None: it has answered at once
        self.ended: asyncio.Future[None] = loop.create_future()
        self._lost: TurnoutError | None = None
        self._request = b""
        self._sequence = _FIRST_PACKET
        self._finished = False  # the whole file is sent
        self._room: asyncio.Future[None] | None = None

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        self._request += data

    def on_file_asked(self, connection: ServerConnection) -> None:
        if not self.asked.done():
            self.asked.set_result(self._request[5:])
        connection.writable = self._wake

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        self._end(None)

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        self._end(error)

    def _end(self, error: TurnoutError | None) -> None:
        self.connection.forget_writable()
        self._lost = error
        if not self.asked.done():
            self.asked.set_result(None)
        if not self.ended.done():
            self.ended.set_result(None)
        self._wake()

    @property
    def failure(self) -> TurnoutError | None:
        """The answer, where it is an error, or why there is none."""
        if self._lost is not None:
            return self._lost
        scanner = self.connection.scanner
        return server_error(scanner.error) if self.ended.done() and scanner.errno else None

    def write(self, contents: bytes) -> None:
        packets, self._sequence = file_packets(contents, self._sequence)
        self.connection.write_more(packets)

    async def drained(self) -> None:
        """Wait until the server has taken enough for more to be sent. Raises TurnoutError where it has ended."""
        while self.connection.write_paused and not self.ended.done():
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        if self.ended.done():
            raise self.failure or ServerFailed(f"{self.connection.where} answered before it had the whole file")

    def _wake(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def finish(self) -> None:
        """There are no more lines."""
        if not self._finished and not self.ended.done():
            self._finished = True
            self.connection.write_more(file_packets(b"", self._sequence)[0])


class IncomingFile:
    """The client's file as it comes, in pieces that wait to be looked at."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: list[bytes] = []
        self._size = 0
        self._over = False
        self._more: asyncio.Future[None] | None = None

    def take(self, contents: bytes) -> None:
        self._waiting.append(contents)
        self._size += len(contents)
        if self._size > _AHEAD:
            self._client.stop_reading()
        self._wake()

    def end(self) -> None:
        self._over = True
        self._wake()

    def _wake(self) -> None:
        more, self._more = self._more, None
        if more is not None and not more.done():
            more.set_result(None)

    async def pieces(self) -> AsyncIterator[bytes]:
        while True:
            if self._waiting:
                data = b"".join(self._waiting)
                self._waiting.clear()
                for start in range(0, len(data), _PIECE):
                    yield data[start : start + _PIECE]
                    await asyncio.sleep(0)
                self._size = sum(map(len, self._waiting))
                if not self._over:
                    self._client.start_reading()
            elif self._over:
                return
            else:
                self._more = asyncio.get_running_loop().create_future()
                await self._more
