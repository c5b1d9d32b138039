"""Clients that compress (proxy.wire.compression). Their commands are taken up one at a time, so that each answer is
numbered behind its own command, whatever the client has sent meanwhile."""

from __future__ import annotations

import asyncio

from proxy.back.compressed import CompressedLink
from proxy.back.tls import TlsPipe
from proxy.errors import ProtocolError
from proxy.front.client import Client
from proxy.wire.compression import compressed, whole_frames


class ClientLink(CompressedLink):
    def __init__(self, transport: asyncio.Transport, tls: TlsPipe | None, client: Client) -> None:
        super().__init__(transport, tls, client, self._tell)
        self._client = client
        self._sequence = 0
        self._held: list[bytes] = []  # the beginning of a frame
        self._size = 0
        self._needed = 4  # bytes before a frame is whole

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Whole frames only, 16 MB at most are waited for: as servers write, and not every driver (MySQL
        Connector/Python) expects a frame in more than two compressed packets, or its header in two."""
        held = self._held
        held.append(bytes(data))
        self._size += len(data)
        if self._size < self._needed:
            return
        whole = held[0] if len(held) == 1 else b"".join(held)
        end, self._needed = whole_frames(whole)
        rest = whole[end:]
        self._size = len(rest)
        held.clear()
        if rest:
            held.append(rest)
        if end:
            self._send(self.pack(whole[:end]))

    def pack(self, data: bytes) -> bytes:
        packed, self._sequence = compressed(data, self._sequence)
        return packed

    def _tell(self, error: ProtocolError) -> None:
        self._sequence = (self._reader.sequence + 1) & 0xFF
        self._client.out_of_step(error)

    def wanted(self) -> bool:
        return self._client.free

    def arrived(self, sequence: int) -> None:
        if sequence not in (0, self._sequence):
            raise ProtocolError("Got packets out of order", 1156, "08S01")
        self._sequence = (sequence + 1) & 0xFF


def begin(client: Client, tls: TlsPipe | None, leftover: bytes) -> None:
    """The login's OK is out: everything that follows is compressed, on both sides. `leftover` has come already."""
    link = client.compressed = ClientLink(client.transport, tls, client)
    client.transport = link
    client.write = link.write
    assert client.session is not None
    client.bound_results(client.session)
    link.start(leftover)
