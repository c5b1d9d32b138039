"""The file that a client sends for LOAD DATA LOCAL: packets with its contents, and an empty one behind them.

Where packets end means nothing (`my_net_read` of MariaDB's and MySQL's `sql_load.cc`): the contents are one stream. A
packet of 0xFFFFFF bytes goes on in the next, which may then be empty without ending the file.
"""

from __future__ import annotations

from proxy.errors import ProtocolError
from proxy.wire.frames import HEADER, MAX_PAYLOAD

LARGEST = 64 * 1024  # bytes of a packet that is made here: less than any server's max_allowed_packet should be


class FilePackets:
    """Takes such packets apart, however they were cut on their way. `sequence` is the last one's. `checked`: whether
    they have to be numbered in turn; what comes compressed is by other counts, and checked outside (compression)."""

    __slots__ = ("_checked", "_continued", "_header", "_left", "sequence")

    def __init__(self, sequence: int, checked: bool = True) -> None:
        self.sequence = sequence
        self._checked = checked
        self._header = b""
        self._left = 0  # bytes of the packet that are still to come
        self._continued = False

    def feed(self, data: bytes, out: list[bytes]) -> int:
        """Appends the contents in `data` to `out`; returns the index behind the file's end, or -1 where there is more
        of it. Raises ProtocolError 1156 when packets are not numbered in turn."""
        pos = 0
        size = len(data)
        while pos < size:
            if self._left:
                end = min(size, pos + self._left)
                out.append(data[pos:end])
                self._left -= end - pos
                pos = end
                continue
            missing = HEADER - len(self._header)
            self._header += data[pos : pos + missing]
            pos += missing
            if len(self._header) < HEADER:
                break
            header, self._header = self._header, b""
            length = int.from_bytes(header[:3], "little")
            if self._checked and header[3] != (self.sequence + 1) & 0xFF:
                raise ProtocolError("Got packets out of order", 1156, "08S01")
            self.sequence = header[3]
            if not length and not self._continued:
                return pos
            self._continued = length == MAX_PAYLOAD
            self._left = length
        return -1


def file_packets(contents: bytes, sequence: int) -> tuple[bytes, int]:
    """The contents as packets, the first of which is numbered `sequence`; and the number of the next."""
    if len(contents) <= LARGEST:
        return (len(contents) | (sequence & 0xFF) << 24).to_bytes(HEADER, "little") + contents, sequence + 1
    parts = []
    for start in range(0, len(contents), LARGEST):
        part = contents[start : start + LARGEST]
        parts.append((len(part) | (sequence & 0xFF) << 24).to_bytes(HEADER, "little"))
        parts.append(part)
        sequence += 1
    return b"".join(parts), sequence
