"""Following a server's response by its packet headers alone, so that the rest can be relayed unread.

`ResponseScanner.feed` is given the bytes as they come and says where the response to one command ends. It looks at
each packet's header and first byte, and reads whole only the packets that carry a status: OK, ERR, EOF. OK packets
from a server carry session-state changes, which the client did not ask for: they are rewritten, everything else is
passed on as the same bytes.

Grammar (MySQL Internals, "COM_QUERY Response", without DEPRECATE_EOF):

    query     first packet: OK | ERR | column count N, N column definitions, EOF, rows, EOF | ERR
              followed by another `query` when the status has MORE_RESULTS
    load      `query`, or 0xFB and the name of a file that the server asks for, and when it has got that, a `query`
    prepare   ERR | OK-with-numbers (12 bytes), params definitions + EOF if any, column definitions + EOF if any
    fields    column definitions until EOF | ERR            (COM_FIELD_LIST)
    single    one packet                                    (COM_STATISTICS; OK | ERR commands use `query`)
    fetch     rows, EOF | ERR                               (COM_STMT_FETCH)

    cursor    `query`, but no rows follow where the EOF behind the column definitions says that there is a cursor: they
              are fetched                                       (COM_STMT_EXECUTE that asks for one)

A cursor is open where CURSOR_EXISTS stands without MORE_RESULTS. Servers send it as well with what a procedure selects
while a cursor of its own is open, and then rows follow, whatever was asked for.

A payload of 0xFFFFFF bytes goes on in the next packet, whose first byte then means nothing.
"""

from __future__ import annotations

import struct
from typing import Final

from proxy.errors import ProtocolError
from proxy.wire.packets import Ok, encode_ok, parse_err, parse_ok
from proxy.wire.status import CURSOR_EXISTS, MORE_RESULTS, SESSION_STATE_CHANGED

QUERY: Final = 0
PREPARE: Final = 1
FIELDS: Final = 2
SINGLE: Final = 3
LOAD: Final = 4  # the client's own LOAD DATA LOCAL: the only one to which a server may answer by asking for a file
FETCH: Final = 5
CURSOR: Final = 6  # a cursor is asked for

_FIRST: Final = 0  # waiting for a response's first packet
_COLUMNS: Final = 1  # column definitions are coming; `_left` of them, then EOF
_ROWS: Final = 2
_PARAMS: Final = 3  # parameter definitions of a prepare
_PREPARED_COLUMNS: Final = 4
_FIELD_LIST: Final = 5
_ONE: Final = 6

_BEGINNINGS: Final = (_FIRST, _FIRST, _FIELD_LIST, _ONE, _FIRST, _ROWS, _FIRST)  # by mode

_unpack: Final = struct.Struct("<IB").unpack_from  # a packet's header and first byte
_unpack_eof: Final = struct.Struct("<IBHH").unpack_from
_unpack_status: Final = struct.Struct("<HH").unpack_from  # warnings and status
_EOF_SIZE: Final = 9
_MANY: Final = 64  # bytes behind a row, where it pays to look whether they are rows: an EOF has fewer
_LENGTHS: Final = {0xFC: 2, 0xFD: 3, 0xFE: 8}  # of an integer, by its first byte
_STATE_CHANGED: Final = SESSION_STATE_CHANGED >> 8  # in the second byte of a status
MAX_HEAD: Final = 4096  # what `learned` may hold
MAX_STATUS_PACKET: Final = 1 << 20  # an OK or ERR packet larger than this is nonsense


class ResponseScanner:
    """Where one response ends, and what its last status packet said. Reused from command to command by `begin`."""

    __slots__ = (
        "_carry",
        "_continued",
        "_head",
        "_left",
        "_mode",
        "_skip",
        "_state",
        "affected_rows",
        "columns",
        "errno",
        "error",
        "infile",
        "info",
        "insert_id",
        "learned",
        "params",
        "rows",
        "session_state",
        "session_track",
        "statement_id",
        "status",
        "warnings",
    )

    def __init__(self, session_track: bool = True) -> None:
        self.session_track = session_track
        self.status = 0  # outlives `begin`: an ERR packet has no status, and then the one before it still stands
        self.begin(QUERY)

    def begin(self, mode: int, head: bytes = b"") -> None:
        """Forget the last response; the next byte fed is the first of the response to a command of `mode`.

        `head` is what an earlier response to the same statement began with (its `learned`): the packets before the rows
        up to the status in the EOF. Where a response begins with the same bytes, they are skipped by one comparison.
        """
        self._head = head
        self.learned = b""
        self._state = _BEGINNINGS[mode]
        self._mode = mode
        self._left = -1 if mode == PREPARE else 0
        self._skip = 0
        self._carry = b""
        self._continued = False
        self.rows = 0
        self.columns = 0
        self.params = 0
        self.statement_id = 0
        self.affected_rows = 0
        self.insert_id = 0
        self.warnings = 0
        self.info = b""
        self.errno = 0
        self.error: bytes = b""  # the ERR payload
        self.session_state: list[bytes] = []  # raw session-state blocks, in order
        self.infile = False  # a file was asked for: whoever sees to that resets it

    def feed(self, data: bytes, pos: int, out: list[bytes]) -> int:
        """Follow `data` from `pos`. Appends what the client gets to `out`; returns the index behind the response's last
        byte, or -1 when the response goes on after this chunk. Raises ProtocolError."""
        if self._carry:
            before = len(self._carry)
            joined = self._carry + (data[pos:] if pos else data)
            self._carry = b""
            end = self._follow(joined, 0, out)
            return -1 if end < 0 else end - before + pos
        if self._head and not pos and self._is_whole(data, len(self._head) + 4):  # warnings and status follow the head
            out.append(data)
            return len(data)
        return self._follow(data, pos, out)

    def _is_whole(self, data: bytes, pos: int) -> bool:
        """Whether these bytes are one whole response with the head that is expected, as most are that have one, and
        whose rows begin at `pos`. Takes note of what it says then, and of nothing otherwise."""
        last = len(data) - _EOF_SIZE
        if pos > last:
            return False
        n, first, warnings, status = _unpack_eof(data, last)
        if first != 0xFE or n & 0xFFFFFF != 5 or status & MORE_RESULTS or not data.startswith(self._head):
            return False
        rows = 0
        while pos < last:
            n, first = _unpack(data, pos)
            n &= 0xFFFFFF  # without the packet's number
            if first >= 0xFE or n == 0xFFFFFF:
                return False
            rows += 1
            pos += n + 4
        if pos != last:
            return False
        self.columns = 1  # more than none, which is what matters
        self.rows = rows
        self.warnings = warnings
        self.status = status
        return True

    def _follow(self, data: bytes, pos: int, out: list[bytes]) -> int:
        size = len(data)
        start = pos
        state = self._state
        if self._skip:
            if self._skip > size - pos:
                self._skip -= size - pos
                out.append(data[pos:] if pos else data)
                return -1
            pos += self._skip
            self._skip = 0
        rows = self.rows
        counted_at = -1  # where this chunk has the response's column count
        head = self._head
        if head and state == _FIRST:
            self._head = b""
            after = pos + len(head) + 4  # warnings and status follow
            if after <= size and data.startswith(head, pos):
                self.columns = 1  # more than none, which is what matters
                self.warnings, self.status = _unpack_status(data, after - 4)
                state = self._state = _ROWS
                pos = after
        while True:
            if self._continued:
                if pos + 4 > size:
                    break
                n = data[pos] | data[pos + 1] << 8 | data[pos + 2] << 16
                self._continued = n == 0xFFFFFF
                pos += n + 4
                if pos > size:
                    self._skip = pos - size
                    pos = size
                    break
                continue
            if pos + 5 > size:
                if pos + 4 == size and not (data[pos] or data[pos + 1] or data[pos + 2]):
                    raise ProtocolError("the server sent an empty packet where a response was due")
                break
            n = data[pos] | data[pos + 1] << 8 | data[pos + 2] << 16
            first = data[pos + 4]
            if state == _ROWS:
                if first < 0xFE or (first == 0xFE and n > 8):
                    rows += 1
                    if n == 0xFFFFFF:
                        self._continued = True
                    pos += n + 4
                    if size - pos >= _MANY and not self._continued:
                        # The same for the rows that follow, up to one that needs a closer look.
                        last = size - 5
                        while pos <= last:
                            n, first = _unpack(data, pos)
                            n &= 0xFFFFFF  # without the packet's number
                            if first >= 0xFE or n == 0xFFFFFF:
                                break
                            rows += 1
                            pos += n + 4
                    if pos > size:
                        self._skip = pos - size
                        pos = size
                        break
                    continue
            elif state == _COLUMNS or state >= _PARAMS:
                if state == _ONE:
                    if pos + 4 + n > size:
                        break
                    self._finish_one(data, pos, n)
                    pos += n + 4
                    self.rows = rows
                    return self._end(data, start, pos, out)
                if first != 0xFF and (first != 0xFE or n > 8):
                    self._left -= 1
                    pos += n + 4
                    if pos > size:
                        self._skip = pos - size
                        pos = size
                        break
                    continue
            # A packet that carries a status, or the first of a response: it has to be here whole.
            if n == 0:
                raise ProtocolError("the server sent an empty packet where a response was due")
            end = pos + 4 + n
            if end > size:
                if n > MAX_STATUS_PACKET:
                    raise ProtocolError(f"the server sent a status packet of {n} bytes")
                break
            if first == 0xFF:
                self.error = data[pos + 4 : end]
                self.errno = parse_err(self.error).errno
                self.status &= ~MORE_RESULTS
                self.rows = rows
                return self._end(data, start, end, out)
            if state == _FIRST:
                if self._left == -1:
                    if n < 12 or first != 0:
                        raise ProtocolError("the server answered a PREPARE with something else")
                    self._prepared(data, pos + 4)
                    if not self.params and not self.columns:
                        return self._end(data, start, end, out)
                    state = self._state = _PARAMS if self.params else _PREPARED_COLUMNS
                    pos = end
                    continue
                if first == 0:
                    instead = self._small_ok(data, pos, end)
                    if instead is not None:
                        if instead:
                            if pos > start:
                                out.append(data[start:pos])
                            out.append(instead)
                            start = end
                        pos = end
                        if not self.status & MORE_RESULTS:
                            self.rows = rows
                            return self._end(data, start, end, out)
                        continue
                    payload = data[pos + 4 : end]
                    ok = parse_ok(payload, self.session_track)
                    self.affected_rows = ok.affected_rows
                    self.insert_id = ok.insert_id
                    self.status = ok.status
                    self.warnings = ok.warnings
                    self.info = ok.info
                    if ok.info or ok.state or ok.status & SESSION_STATE_CHANGED:
                        if pos > start:
                            out.append(data[start:pos])
                        out.append(self._rewritten(ok, data[pos + 3]))
                        start = end
                    pos = end
                    if not ok.status & MORE_RESULTS:
                        self.rows = rows
                        return self._end(data, start, end, out)
                    continue
                if first == 0xFB:
                    if self._mode != LOAD:
                        raise ProtocolError("it asked for a file of the client, whose statement is no LOAD DATA LOCAL")
                    self.infile = True
                    pos = end
                    continue
                if first == 0xFC and n >= 3:
                    self.columns = data[pos + 5] | data[pos + 6] << 8
                elif first < 0xFB:
                    self.columns = first
                else:
                    raise ProtocolError("the server sent a column count that makes no sense")
                self._left = self.columns
                counted_at = pos
                state = self._state = _COLUMNS
                pos = end
                continue
            # EOF
            if state < _PARAMS:
                self.warnings = data[pos + 5] | data[pos + 6] << 8 if n >= 3 else 0
            self.status = data[pos + 7] | data[pos + 8] << 8 if n >= 5 else 0
            pos = end
            if state == _ROWS:
                if not self.status & MORE_RESULTS:
                    self.rows = rows
                    return self._end(data, start, end, out)
                state = self._state = _FIRST
            elif state == _COLUMNS:
                if self._left:
                    raise ProtocolError("the server sent another number of columns than it said")
                if counted_at >= 0 and pos - counted_at <= MAX_HEAD and data[counted_at + 3] == 1:
                    self.learned = data[counted_at : pos - 4]
                if self._mode == CURSOR and self.status & (CURSOR_EXISTS | MORE_RESULTS) == CURSOR_EXISTS:
                    self.rows = rows
                    return self._end(data, start, end, out)
                state = self._state = _ROWS
                rows = 0
            elif state == _PARAMS and self.columns:
                state = self._state = _PREPARED_COLUMNS
            else:
                return self._end(data, start, end, out)
        # The chunk is used up: what could not be judged yet waits for more.
        self.rows = rows
        self._state = state
        if pos < size:
            self._carry = data[pos:]
        if pos > start:
            out.append(data if pos - start == size else data[start:pos])
        return -1

    def _end(self, data: bytes, start: int, end: int, out: list[bytes]) -> int:
        if end > start:
            out.append(data if end - start == len(data) else data[start:end])
        return end

    def _finish_one(self, data: bytes, pos: int, n: int) -> None:
        if n and data[pos + 4] == 0xFF:
            self.error = data[pos + 4 : pos + 4 + n]
            self.errno = parse_err(self.error).errno

    def _prepared(self, data: bytes, at: int) -> None:
        self.statement_id = int.from_bytes(data[at + 1 : at + 5], "little")
        self.columns = data[at + 5] | data[at + 6] << 8
        self.params = data[at + 7] | data[at + 8] << 8
        self.warnings = data[at + 10] | data[at + 11] << 8
        self._left = 0

    def _small_ok(self, data: bytes, pos: int, end: int) -> bytes | None:
        """Reads an OK whose row count and lengths have one byte each, as nearly all do. Returns the packet that the
        client gets instead, b"" where it gets the same; None where it has to be looked at more closely."""
        at = pos + 7  # status and warnings follow
        if end - pos < 11 or data[pos + 5] >= 0xFB or not self.session_track:
            return None
        insert_id = data[pos + 6]
        if insert_id >= 0xFB:
            size = _LENGTHS.get(insert_id, end)
            if at + size + 4 > end:
                return None
            insert_id = int.from_bytes(data[at : at + size], "little")
            at += size
        status_at = at
        info_at = at = at + 4
        if at < end:
            info_at += 1
            at = info_at + data[at]
            if at > end or data[info_at - 1] >= 0xFB:
                return None
        instead = b""
        if data[status_at + 1] & _STATE_CHANGED:
            if at < end:
                if data[at] >= 0xFB or at + 1 + data[at] != end:
                    return None
                if at + 1 < end:
                    self.session_state.append(data[at + 1 : end])
            kept = data[info_at - 1 : at] if at > info_at else b""
            status = bytes((data[status_at + 1] & ~_STATE_CHANGED & 0xFF,))
            head = (status_at - pos + len(kept)).to_bytes(3, "little")
            instead = b"".join((head, data[pos + 3 : status_at + 1], status, data[status_at + 2 : status_at + 4], kept))
        elif at != end:
            return None
        self.affected_rows = data[pos + 5]
        self.insert_id = insert_id
        self.status = data[status_at] | data[status_at + 1] << 8
        self.warnings = data[status_at + 2] | data[status_at + 3] << 8
        self.info = data[info_at:at]
        return instead

    def _rewritten(self, ok: Ok, sequence: int) -> bytes:
        if ok.state:
            self.session_state.append(ok.state)
        payload = encode_ok(ok.affected_rows, ok.insert_id, ok.status & ~SESSION_STATE_CHANGED, ok.warnings, ok.info)
        return len(payload).to_bytes(3, "little") + bytes((sequence,)) + payload
