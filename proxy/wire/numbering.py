"""Where frames and compressed packets are numbered by different counts: towards a server that compresses.

A command has to begin a compressed packet numbered 0, so what is written in one go (settings, BEGIN, the statement) is
cut where commands begin. In the answer servers go on with the outer numbers in the frames once they have sent a part
of it (`net_flush` in `sql/net_serv.cc`: "Sync packet number if using compression"), which a client that counts frames
takes for lost packets: they are numbered anew.
"""

from __future__ import annotations

from proxy.wire.compression import compressed
from proxy.wire.frames import HEADER, MAX_PAYLOAD
from proxy.wire.response import ResponseScanner


class NumberedScanner(ResponseScanner):
    """A scanner that gives what the client gets numbered in turn. `first`: the number that a response begins with, one
    more than that of the last frame that was sent."""

    __slots__ = ("_frame_left", "_number", "first")

    def __init__(self, session_track: bool = True) -> None:
        self.first = 1
        super().__init__(session_track)

    def begin(self, mode: int, head: bytes = b"") -> None:
        self._number = -1  # of the next frame; -1: `first`, which may be known only when the command has been written
        self._frame_left = 0
        super().begin(mode, head)

    def feed(self, data: bytes, pos: int, out: list[bytes]) -> int:
        found: list[bytes] = []
        end = super().feed(data, pos, found)
        out.extend(self._numbered(piece) for piece in found)
        return end

    def _numbered(self, piece: bytes) -> bytes:
        """A piece ends between two frames or in a payload: what the scanner gives has whole headers."""
        size = len(piece)
        pos = self._frame_left
        if pos >= size:
            self._frame_left = pos - size
            return piece
        number = self._number if self._number >= 0 else self.first
        numbered = bytearray(piece)
        while pos < size:
            numbered[pos + 3] = number
            number = (number + 1) & 0xFF
            pos += HEADER + (piece[pos] | piece[pos + 1] << 8 | piece[pos + 2] << 16)
        self._number = number
        self._frame_left = pos - size
        return bytes(numbered)


class CommandWriter:
    """Frames towards a server, however they are cut, as compressed packets.

    `sequence` is the number of the next packet of the command under way; who reads sets it to one more than the number
    of the last packet that came.
    """

    __slots__ = ("_frame_left", "_header", "_last", "_scanner", "sequence")

    def __init__(self, scanner: NumberedScanner) -> None:
        self.sequence = 0
        self._scanner = scanner
        self._header = b""  # the part of a frame's header that has come
        self._frame_left = 0
        self._last = (0, 0)  # number and length of the last frame

    def write(self, data: bytes) -> bytes:
        if self._header:
            data = self._header + data
            self._header = b""
        begins = 0  # what was begun here and is not packed yet
        packets = []
        pos = self._frame_left
        size = len(data)
        while pos < size:
            if size - pos < HEADER:
                self._header = data[pos:]
                size = pos
                break
            length = data[pos] | data[pos + 1] << 8 | data[pos + 2] << 16
            number = data[pos + 3]
            if self._begins_command(number):
                if pos > begins:
                    packets.append(self._pack(data[begins:pos]))
                begins = pos
                self.sequence = 0
            self._scanner.first = (number + 1) & 0xFF
            self._last = (number, length)
            pos += HEADER + length
        self._frame_left = max(0, pos - size)
        if size > begins:
            packets.append(self._pack(data[begins:size]))
        return b"".join(packets)

    def _begins_command(self, number: int) -> bool:
        """A command's frames are numbered from 0; a file that is sent to the server may be long enough to come to 0
        again, and ends with an empty frame."""
        last, length = self._last
        return number == 0 and not (length and last == 255) and length != MAX_PAYLOAD

    def _pack(self, piece: bytes) -> bytes:
        packed, self.sequence = compressed(piece, self.sequence)
        return packed
