"""One server's share of a read over several: its bytes as they come, bounded, and the packets in them."""

from __future__ import annotations

import asyncio

from proxy.back.connection import ServerConnection
from proxy.errors import ProtocolError, ServerFailed, TurnoutError
from proxy.wire.packets import parse_err


class RowStream:
    """The sink of one target's share of a read: what came, in order, bounded by pausing the server."""

    def __init__(self, connection: ServerConnection, limit: int = 256 * 1024) -> None:
        self.connection = connection
        self.pieces: list[bytes] = []
        self.size = 0
        self.ended = False
        self.error: TurnoutError | None = None
        self._limit = limit
        self._wake: asyncio.Future[None] | None = None
        self._paused = False

    def on_data(self, connection: ServerConnection, data: bytes) -> None:
        self.pieces.append(data)
        self.size += len(data)
        if self.size > self._limit and not self._paused and connection.transport is not None:
            self._paused = True
            connection.transport.pause_reading()
        self._notify()

    def on_end(self, connection: ServerConnection, pieces: list[bytes]) -> None:
        self.pieces.extend(pieces)
        self.ended = True
        self._notify()

    def on_lost(self, connection: ServerConnection, error: TurnoutError) -> None:
        self.error = error
        self.ended = True
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def drain(self) -> None:
        """Wait for the end of an answer that nobody wants any more."""
        self._limit = 1 << 62
        while not self.ended:
            await self.more()

    async def more(self) -> bytes:
        """The next bytes; b"" at the end. Raises the error by which the connection was lost."""
        while not self.pieces:
            if self.error is not None:
                raise self.error
            if self.ended:
                return b""
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
            self._wake = None
        data = b"".join(self.pieces)
        self.pieces.clear()
        self.size = 0
        if self._paused and self.connection.transport is not None:
            self._paused = False
            if not self.connection.transport.is_closing():
                self.connection.transport.resume_reading()
        return data


class Splitter:
    """One response taken apart into its column definitions, its rows and its end.

    Rows are packets with their headers; with `payloads` they are without, and in one piece where they came in several.
    """

    def __init__(self, payloads: bool = False) -> None:
        self._buffer = b""
        self._left = -1
        self._payloads = payloads
        self._parts: list[bytes] = []
        self.columns = 0
        self.header: bytes | None = None
        self.head_packets: list[bytes] = []
        self.rows: list[bytes] = []
        self.error: bytes | None = None
        self.ended = False
        self.checked = False
        self._continued = False

    @property
    def rest(self) -> bytes:
        """The beginning of a packet that is not there yet."""
        return self._buffer

    def feed(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        pos, size = 0, len(data)
        rows, skip = self.rows, 4 if self._payloads else 0
        while pos + 4 <= size:
            n = data[pos] | data[pos + 1] << 8 | data[pos + 2] << 16
            end = pos + 4 + n
            if end > size:
                break
            first = data[pos + 4] if n else 0
            if self.header is not None and first < 0xFE and n < 0xFFFFFF and not self._continued:
                rows.append(data[pos + skip : end])
            else:
                self._special(data[pos:end], first, n)
            pos = end
        self._buffer = data[pos:]

    def _special(self, packet: bytes, first: int, n: int) -> None:
        """Everything but an ordinary row."""
        if self._continued:
            self._row_part(packet, n)
        elif first == 0xFF:
            self.error = packet[4:]
            self.ended = True
        elif self._left == -1:
            self.columns = first if first < 0xFB else packet[5] | packet[6] << 8
            self._left = self.columns
            self.head_packets.append(packet)
        elif self.header is None:
            if (self._left == 0) != (first == 0xFE and n < 9):
                raise ProtocolError("a server sent another number of columns than it said")
            self.head_packets.append(packet)
            if self._left:
                self._left -= 1
            else:
                self.header = b"".join(p[4:] for p in self.head_packets[:-1])
        elif first == 0xFE and n < 9:
            self.ended = True
        else:
            self._row_part(packet, n)

    def _row_part(self, packet: bytes, n: int) -> None:
        self._continued = n == 0xFFFFFF
        if not self._payloads:
            self.rows.append(packet)
            return
        self._parts.append(packet[4:])
        if not self._continued:
            self.rows.append(b"".join(self._parts))
            self._parts.clear()


def other_columns(cluster: str, than: str) -> ServerFailed:
    """The error for answers of two clusters to the same statement that cannot be put together."""
    return ServerFailed(
        f"cluster {cluster} answered with other columns than {than}: "
        "the table differs between the shards; compare SHOW CREATE TABLE on each",
        1105,
        "HY000",
    )


def server_error(packet: bytes) -> ServerFailed:
    """The error that an ERR packet tells."""
    error = parse_err(packet)
    return ServerFailed(error.message.decode("utf-8", "replace"), error.errno, error.sqlstate)
