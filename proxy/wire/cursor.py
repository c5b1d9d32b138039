"""A position in a payload: reads the protocol's basic types one after the other, never behind the end."""

from __future__ import annotations

from proxy.errors import ProtocolError
from proxy.wire import lenenc


class Cursor:
    """Every read raises ProtocolError where the payload ends too early."""

    __slots__ = ("data", "pos")

    def __init__(self, data: bytes, pos: int = 0) -> None:
        self.data = data
        self.pos = pos

    @property
    def left(self) -> int:
        return len(self.data) - self.pos

    def take(self, count: int) -> bytes:
        end = self.pos + count
        if end > len(self.data):
            raise ProtocolError(f"Malformed packet: {count} bytes expected, {self.left} left")
        taken = self.data[self.pos : end]
        self.pos = end
        return taken

    def uint(self, width: int) -> int:
        """A little-endian unsigned integer of `width` bytes."""
        return int.from_bytes(self.take(width), "little")

    def length(self) -> int:
        value, self.pos = lenenc.read_length(self.data, self.pos)
        return value

    def string(self) -> bytes:
        """A length-encoded string that must not be NULL."""
        return self.take(self.length())

    def until_nul(self) -> bytes:
        """A string that a NUL byte ends; the NUL is consumed."""
        end = self.data.find(b"\0", self.pos)
        if end < 0:
            raise ProtocolError("Malformed packet: a string has no end")
        taken = self.data[self.pos : end]
        self.pos = end + 1
        return taken

    def rest(self) -> bytes:
        taken = self.data[self.pos :]
        self.pos = len(self.data)
        return taken
