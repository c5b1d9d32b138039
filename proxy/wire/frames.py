"""Frames: three bytes of length, one of sequence id, then up to 16 MB - 1 of payload ("MySQL Packets").

A payload of 16 MB - 1 or more is split: full frames follow each other, and a shorter one, empty if need be, ends it.
"""

from __future__ import annotations

from typing import Final

from proxy.errors import ProtocolError

MAX_PAYLOAD: Final = 0xFFFFFF
HEADER: Final = 4


class FrameReader:
    """Turns received bytes into whole payloads, however they were cut on their way.

    `max_bytes` bounds a payload; it may be raised between payloads, e.g. after login. After an error the reader stays
    broken: the connection cannot be used any more.
    """

    __slots__ = ("_broken", "_buffer", "_parts", "_parts_bytes", "_pos", "_sequence", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._buffer = bytearray()
        self._pos = 0  # in the buffer: what lies before it has been returned
        self._parts: list[bytes] = []  # full frames of a split payload
        self._parts_bytes = 0
        self._sequence = 0  # of the last of `_parts`
        self._broken: ProtocolError | None = None

    @property
    def pending(self) -> int:
        """Bytes held, headers included."""
        return len(self._buffer) - self._pos + self._parts_bytes

    def feed(self, data: bytes) -> list[tuple[bytes, int]]:
        """The payloads completed by `data`, each with the sequence id of its last frame.

        Raises ProtocolError 1153 as soon as a header declares more than `max_bytes`, and 1156 when the frames of
        a split payload are not numbered in turn; payloads completed by the same call are lost then.
        """
        if not self._buffer and not self._parts and self._broken is None:
            # The usual case by far: one whole packet arrives alone.
            size = len(data)
            if size >= HEADER:
                length = data[0] | data[1] << 8 | data[2] << 16
                if size == length + HEADER and length < MAX_PAYLOAD and length <= self.max_bytes:
                    return [(data[HEADER:], data[3])]
        self.append(data)
        payloads = []
        while (payload := self.next_payload()) is not None:
            payloads.append(payload)
        return payloads

    def append(self, data: bytes) -> None:
        """Takes bytes for `next_payload`: for those who may hand the connection over between two payloads."""
        if self._broken is None:
            self._buffer += data

    def next_payload(self) -> tuple[bytes, int] | None:
        """The next payload among the bytes taken, or None until there are more. Raises as `feed` does."""
        if self._broken is not None:
            raise self._broken
        buffer = self._buffer
        while len(buffer) - self._pos >= HEADER:
            pos = self._pos
            length = buffer[pos] | buffer[pos + 1] << 8 | buffer[pos + 2] << 16
            sequence = buffer[pos + 3]
            if self._parts_bytes + length > self.max_bytes:
                raise self._break("Got a packet bigger than 'max_allowed_packet' bytes", 1153)
            if self._parts and sequence != (self._sequence + 1) & 0xFF:
                raise self._break("Got packets out of order", 1156)
            end = pos + HEADER + length
            if end > len(buffer):
                break
            with memoryview(buffer) as view:  # one copy, not two; a view must be gone before the buffer is cut
                part = bytes(view[pos + HEADER : end])
            self._pos = end
            if length == MAX_PAYLOAD:
                self._parts.append(part)
                self._parts_bytes += length
                self._sequence = sequence
                continue
            if self._parts:
                part = b"".join([*self._parts, part])
                self._parts = []
                self._parts_bytes = 0
            return part, sequence
        self._compact()
        return None

    def take_pending(self) -> bytes:
        """Hands over what was received behind the last whole payload, e.g. to whoever reads on behind a login.

        Raises ProtocolError 1156 in the middle of a split payload.
        """
        if self._parts:
            raise self._break("Got packets out of order", 1156)
        self._compact()
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def discard(self) -> None:
        """Lets go of everything held."""
        self._buffer.clear()
        self._pos = 0
        self._parts = []
        self._parts_bytes = 0

    def _compact(self) -> None:
        # Once per feed, not per payload: cutting the front moves what is left.
        if self._pos:
            del self._buffer[: self._pos]
            self._pos = 0

    def _break(self, message: str, errno: int) -> ProtocolError:
        self.discard()
        self._broken = ProtocolError(message, errno, "08S01")
        return self._broken


def encode(payload: bytes, sequence: int) -> bytes:
    """The payload as frames, the first one numbered `sequence`."""
    length = len(payload)
    if length < MAX_PAYLOAD:
        return (length | (sequence & 0xFF) << 24).to_bytes(HEADER, "little") + payload
    frames = []
    for start in range(0, length + 1, MAX_PAYLOAD):
        part = payload[start : start + MAX_PAYLOAD]
        frames.append((len(part) | (sequence & 0xFF) << 24).to_bytes(HEADER, "little"))
        frames.append(part)
        sequence += 1
    return b"".join(frames)


def next_sequence(payload_length: int, sequence: int) -> int:
    """The sequence id of the frame that follows a payload whose first frame is numbered `sequence`."""
    return (sequence + payload_length // MAX_PAYLOAD + 1) & 0xFF
