"""The compressed protocol: packets of both sides, wrapped in packets that zlib has made smaller (CLIENT_COMPRESS).

    compressed packet: 3 bytes length of what follows the header | 1 sequence id of its own | 3 bytes length before
                       compression, 0: it was not compressed | up to 16 MB - 1 of data

It begins behind the login's OK. What is inside is the stream of frames (proxy.wire.frames), cut anywhere: there may be
several frames in one compressed packet, and one frame in several. The outer numbers count through both sides' packets
from 0, the first of a command. Sources: MySQL, "Compression"; `sql/net_serv.cc` and `mysys/my_compress.c` of MariaDB.
"""

from __future__ import annotations

import zlib
from typing import Final

from proxy.errors import ProtocolError

HEADER: Final = 7
MAX_PAYLOAD: Final = 0xFFFFFF
MIN_COMPRESSED: Final = 50  # shorter ones are sent as they are (MIN_COMPRESS_LENGTH)
LEVEL: Final = 1  # of zlib; MySQL's 6 costs two to three times the processor time and saves a tenth more
SLICE: Final = 256 * 1024  # as much as is read from a socket at once


class CompressedReader:
    """Takes bytes of compressed packets, however they were cut on their way, and gives what was in them.

    Bounded whatever a peer declares: at most one compressed packet and what was in it are held, besides bytes that the
    caller gives; nothing is allocated for a length before as many bytes are there. After an error it stays broken.
    """

    __slots__ = ("_broken", "_buffer", "_clear", "_given", "begins", "sequence")

    def __init__(self) -> None:
        self.sequence = 0  # of the packet that `read` has given of last
        self.begins = False  # whether that was its beginning
        self._buffer = bytearray()
        self._clear = b""  # what was in the packet under way
        self._given = 0
        self._broken: ProtocolError | None = None

    @property
    def pending(self) -> int:
        """Bytes that came and were not given yet."""
        return len(self._buffer) + len(self._clear) - self._given

    def append(self, data: bytes) -> None:
        if self._broken is None:
            self._buffer += data

    def read(self, most: int = SLICE) -> bytes | None:
        """The next bytes in clear, all of one compressed packet; None until there are more. Raises ProtocolError 1157
        for what cannot be decompressed to the length that its header says."""
        if self._given < len(self._clear):
            self.begins = False
            return self._slice(most)
        if self._broken is not None:
            raise self._broken
        buffer = self._buffer
        while len(buffer) >= HEADER:
            length = buffer[0] | buffer[1] << 8 | buffer[2] << 16
            if len(buffer) < HEADER + length:
                return None
            self.sequence = buffer[3]
            clear_length = buffer[4] | buffer[5] << 8 | buffer[6] << 16
            with memoryview(buffer) as view:
                data = bytes(view[HEADER : HEADER + length])
            del buffer[: HEADER + length]
            try:
                self._clear = _inflated(data, clear_length) if clear_length else data
            except ProtocolError as error:
                self._broken = error
                self._buffer = bytearray()
                self._clear = b""
                raise
            self._given = 0
            if self._clear:  # else an empty packet, which means nothing
                self.begins = True
                return self._slice(most)
        return None

    def _slice(self, most: int) -> bytes:
        start = self._given
        clear = self._clear
        if start == 0 and len(clear) <= most:
            self._clear = b""
            return clear
        end = min(start + most, len(clear))
        self._given = end
        piece = clear[start:end]
        if end == len(clear):
            self._clear = b""
            self._given = 0
        return piece


def _inflated(data: bytes, length: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        clear = inflater.decompress(data, length + 1)
    except zlib.error:
        clear = b""
    if len(clear) != length or not inflater.eof or inflater.unused_data:
        raise ProtocolError("Couldn't uncompress communication packet", 1157, "08S01")
    return clear


def whole_frames(data: bytes) -> tuple[int, int]:
    """Where the last whole frame of `data` ends, which begins with one; and how many bytes, at least, it takes until
    what follows is a whole one, too."""
    end, size = 0, len(data)
    while size - end >= 4:
        length = 4 + (data[end] | data[end + 1] << 8 | data[end + 2] << 16)
        if size - end < length:
            return end, length
        end += length
    return end, 4


def compressed(data: bytes, sequence: int) -> tuple[bytes, int]:
    """`data` as compressed packets, the first one numbered `sequence`, and the number of the packet that follows."""
    if len(data) <= MAX_PAYLOAD:
        return _packet(data, sequence), (sequence + 1) & 0xFF
    packets = []
    for start in range(0, len(data), MAX_PAYLOAD):
        packets.append(_packet(data[start : start + MAX_PAYLOAD], sequence))
        sequence = (sequence + 1) & 0xFF
    return b"".join(packets), sequence


def _packet(data: bytes, sequence: int) -> bytes:
    length = len(data)
    if length >= MIN_COMPRESSED:
        small = zlib.compress(data, LEVEL)
        if len(small) < length:
            header = len(small).to_bytes(3, "little") + bytes((sequence,)) + length.to_bytes(3, "little")
            return header + small
    return length.to_bytes(3, "little") + bytes((sequence, 0, 0, 0)) + data
