"""The answer to one command on its way to a client, up to so many rows or bytes of them.

It is followed by packet headers, as in `proxy.wire.response`. Rows are counted over all result sets of the answer,
bytes are those of the rows' packets. At the first row that is too many the answer is cut off: what is to be written
there is an ERR packet with the number in `sequence`. A row of several packets that has begun goes out whole.
"""

from __future__ import annotations

import enum

from proxy.errors import ProtocolError
from proxy.wire.frames import HEADER
from proxy.wire.packets import status_at
from proxy.wire.status import MORE_RESULTS

_FIRST, _COLUMNS, _ROWS = range(3)


class Exceeded(enum.Enum):
    ROWS = "result_rows"
    BYTES = "result_bytes"


class BoundedResponse:
    """See the module. A limit of 0 is none."""

    __slots__ = (
        "_carry",
        "_continued",
        "_large",
        "_skip",
        "_state",
        "active",
        "bytes",
        "exceeded",
        "max_bytes",
        "max_rows",
        "rows",
        "sequence",
    )

    def __init__(self) -> None:
        self.max_rows = self.max_bytes = 0
        self.begin()
        self.active = False  # an answer is under way

    def begin(self) -> None:
        """What is fed next is the beginning of an answer."""
        self.active = True
        self.rows = self.bytes = 0
        self.exceeded: Exceeded | None = None
        self.sequence = 0
        self._state = _FIRST
        self._carry = b""  # what could not be judged yet
        self._skip = 0  # bytes of a packet's payload that pass as they are
        self._continued = False
        self._large = False  # the row under way is of several packets, and too many bytes

    def end(self) -> bytes:
        """Nothing of the answer follows. What has come of it and was not given yet."""
        self.active = False
        carry, self._carry = self._carry, b""
        return carry

    def feed(self, data: bytes) -> bytes:
        """The bytes that the client gets now; none once the answer has been cut off."""
        if self.exceeded is not None:
            return b""
        if self._carry:
            data = self._carry + data
            self._carry = b""
        size = len(data)
        pos = min(self._skip, size)
        self._skip -= pos
        while True:
            if self._large and not self._continued and pos <= size and not self._skip:
                return self._cut(data, pos, Exceeded.BYTES, self.sequence)
            if pos >= size:
                break
            if pos + HEADER > size:
                break
            n = data[pos] | data[pos + 1] << 8 | data[pos + 2] << 16
            end = pos + HEADER + n
            if self._continued:
                self.bytes += n + HEADER
                self._continued = n == 0xFFFFFF
                self._large = bool(self.max_bytes) and self.bytes > self.max_bytes
                self.sequence = (data[pos + 3] + 1) & 0xFF
            else:
                if n and end > size and pos + HEADER == size:
                    break
                first = data[pos + HEADER] if n else 0x01
                if self._state == _FIRST or first == 0xFF or (first == 0xFE and n < 9):
                    if end > size:
                        break
                    if n:
                        self._status(data[pos + HEADER : end])
                elif self._state == _ROWS:
                    self.rows += 1
                    self.bytes += n + HEADER
                    if self.max_rows and self.rows > self.max_rows:
                        return self._cut(data, pos, Exceeded.ROWS, data[pos + 3])
                    if self.max_bytes and self.bytes > self.max_bytes:
                        return self._cut(data, pos, Exceeded.BYTES, data[pos + 3])
                    self._continued = n == 0xFFFFFF
            pos = end
        if pos > size:
            self._skip = pos - size
        elif pos < size:
            self._carry = data[pos:]
            return data[:pos]
        return data

    def _cut(self, data: bytes, pos: int, exceeded: Exceeded, sequence: int) -> bytes:
        self.exceeded = exceeded
        self.sequence = sequence
        return data[:pos]

    def _status(self, payload: bytes) -> None:
        """A packet that carries a status, or the first of a result, whole."""
        first = payload[0]
        if self._state == _FIRST and first not in (0x00, 0xFE, 0xFF):
            if first != 0xFB:  # else the server asks for a file, and its answer follows that
                self._state = _COLUMNS
            return
        if first == 0xFE and self._state == _COLUMNS:
            self._state = _ROWS
            return
        more = False
        if first != 0xFF:
            try:
                at = status_at(payload)
                more = int.from_bytes(payload[at : at + 2], "little") & MORE_RESULTS != 0
            except ProtocolError:  # it is for whoever reads the server's answer to say so
                pass
        self._state = _FIRST
        if not more:
            self.active = False
