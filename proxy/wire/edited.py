"""A response on its way to a client, numbered anew, and told to go on where another one follows.

What answers one command may come from several places: the answers to several statements in one text, and what comes
behind a file that the client has sent in between. Each of them numbers its packets by itself. Here they are numbered
as one response, and each but the last gets the status MORE_RESULTS. It is read by packet headers, as in
`proxy.wire.response`; only packets with a status are looked into.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.errors import ProtocolError
from proxy.wire.frames import HEADER, encode
from proxy.wire.packets import status_at
from proxy.wire.status import MORE_RESULTS

_FIRST, _COLUMNS, _ROWS = range(3)


class EditedResponse:
    """See the module. `sequence`: the number of the last packet of the command, in whichever direction."""

    __slots__ = ("_carry", "_continued", "_skip", "_state", "amend", "failed", "more", "sequence")

    def __init__(self, sequence: int = 0) -> None:
        self.sequence = sequence
        self.more = False  # another response follows
        self.failed = False  # it ended with an error
        self.amend: Callable[[bytes], bytes] | None = None  # what a client is told in place of an ERR packet
        self._state = _FIRST
        self._carry = b""  # what could not be judged yet
        self._skip = 0  # bytes of a packet's payload that pass as they are
        self._continued = False

    def feed(self, data: bytes) -> bytes:
        """The same bytes for the client, but for what has to wait for the rest of its packet. Raises ProtocolError."""
        if self._carry:
            data = self._carry + data
            self._carry = b""
        size = len(data)
        pos = min(self._skip, size)
        self._skip -= pos
        out = bytearray(data)
        while pos < size:
            if pos + HEADER > size:
                break
            n = data[pos] | data[pos + 1] << 8 | data[pos + 2] << 16
            end = pos + HEADER + n
            if not self._continued:
                if n == 0 or pos + HEADER == size:
                    if n == 0:
                        raise ProtocolError("an empty packet where a response was due")
                    break
                first = data[pos + HEADER]
                status = (
                    first in (0x00, 0xFF, 0xFE) if self._state == _FIRST else first == 0xFF or (first == 0xFE and n < 9)
                )
                if (status or self._state == _FIRST) and end > size:
                    break
                if status:
                    self._status(out, pos, n)
                elif self._state == _FIRST and first != 0xFB:
                    self._state = _COLUMNS
            self.sequence = out[pos + 3] = (self.sequence + 1) & 0xFF
            if self.failed and self.amend is not None:  # nothing follows
                out[pos:] = encode(self.amend(bytes(out[pos + HEADER : end])), self.sequence)
                return bytes(out)
            self._continued = n == 0xFFFFFF
            pos = end
        if pos > size:
            self._skip = pos - size
        elif pos < size:
            self._carry = data[pos:]
            del out[pos:]
        return bytes(out)

    def _status(self, out: bytearray, pos: int, n: int) -> None:
        """OK, ERR or EOF, which is here whole."""
        payload = pos + HEADER
        first = out[payload]
        if first == 0xFF:
            self.failed = True
            self._state = _FIRST
            return
        at = status_at(bytes(out[payload : payload + n]))
        if first != 0x00:
            self._state = _ROWS if self._state == _COLUMNS else _FIRST
        if self.more:
            status = payload + at
            flags = (out[status] | out[status + 1] << 8) | MORE_RESULTS
            out[status : status + 2] = flags.to_bytes(2, "little")
