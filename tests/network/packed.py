"""A client's side of the compressed protocol, strict about what it is sent. It shares no code with the proxy."""

from __future__ import annotations

import socket
import zlib
from typing import Any, cast

from tests.front.raw import Client

COMPRESS = 32


class PackedSocket:
    """Stands in for a socket behind the login. `step`: how many bytes go out at once."""

    def __init__(self, plain: socket.socket) -> None:
        self.plain = plain
        self.step = 1 << 30
        self.compress = True
        self._sequence = 0  # of the next packet, either way
        self._clear = b""

    def sendall(self, data: bytes) -> None:
        """One command, or the next part of a dialogue: frames that begin with number 0 begin a command."""
        if data[3] == 0:
            self._sequence = 0
        packets = []
        for start in range(0, len(data), 0xFFFFFF):
            piece = data[start : start + 0xFFFFFF]
            packets.append(self.packet(piece))
        self.send_raw(b"".join(packets))

    def packet(self, piece: bytes) -> bytes:
        small = zlib.compress(piece, 1)
        length = len(piece)
        if not self.compress or len(small) >= length:
            small, length = piece, 0
        header = len(small).to_bytes(3, "little") + bytes((self._sequence,)) + length.to_bytes(3, "little")
        self._sequence = (self._sequence + 1) & 0xFF
        return header + small

    def send_raw(self, data: bytes) -> None:
        for start in range(0, len(data), self.step):
            self.plain.sendall(data[start : start + self.step])

    def recv(self, size: int) -> bytes:
        if not self._clear:
            header = self._exactly(7)
            if not header:
                return b""
            small, sequence = int.from_bytes(header[:3], "little"), header[3]
            length = int.from_bytes(header[4:], "little")
            assert sequence == self._sequence, f"compressed packet {sequence} where {self._sequence} was due"
            self._sequence = (sequence + 1) & 0xFF
            data = self._exactly(small)
            self._clear = zlib.decompress(data) if length else data
            assert len(self._clear) == (length or small)
            assert self._clear, "an empty compressed packet"
        found, self._clear = self._clear[:size], self._clear[size:]
        return found

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            data = self.plain.recv(size)
            if not data:
                assert not parts, "the connection ended in a packet"
                return b""
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def close(self) -> None:
        self.plain.close()


class NumberedClient(Client):
    """Notes the number of each frame that it is sent."""

    numbers: list[int]

    def _drive(self, steps: Any, first: bool = True) -> Any:
        self.numbers = []
        return super()._drive(steps, first)

    def _exactly(self, n: int) -> bytes:
        found = super()._exactly(n)
        if n == 4:
            self.numbers.append(found[3])
        return found

    def check_numbers(self, first: int = 1) -> None:
        assert self.numbers == [(first + place) & 0xFF for place in range(len(self.numbers))]


class PackedClient(NumberedClient):
    """Compression is on from the login on."""

    packed: PackedSocket

    def __init__(self, port: int, user: str, password: str, database: str, *, flags: int = 0) -> None:
        super().__init__(port, user, password, database, flags=COMPRESS | flags)
        self.packed = PackedSocket(self._socket)
        self._socket = cast(socket.socket, self.packed)
