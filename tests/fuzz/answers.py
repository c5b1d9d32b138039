"""How a client reads an answer, packet by packet: by the protocol's description, and not by Turnout's own code."""

from __future__ import annotations

import enum
import struct

AUTOCOMMIT, MORE_RESULTS, CURSOR_EXISTS = 0x02, 0x08, 0x40


class Mode(enum.Enum):
    """What was asked for."""

    RESULTS = "results"
    LOAD = "load"  # the same, and a file may be asked for
    CURSOR = "cursor"  # the same of an execution that asks for a cursor
    PREPARED = "prepared"
    COLUMNS = "columns"  # of COM_FIELD_LIST
    PACKET = "packet"  # one, of any kind
    ROWS = "rows"  # of COM_STMT_FETCH


class Malformed(Exception):
    """This cannot be an answer."""


class _Place(enum.Enum):
    FIRST = enum.auto()
    DEFINITIONS = enum.auto()  # so many, and an EOF
    ROWS = enum.auto()


class Answer:
    """Given its packets, in turn."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.errno = 0
        self.error = b""
        self.status = AUTOCOMMIT
        self.statement_id = 0
        self.wants_file = False
        self._place = _Place.FIRST
        self._definitions: list[int] = []  # numbers of those that come, one EOF behind each group
        if mode is Mode.ROWS:
            self._place = _Place.ROWS

    def feed(self, packet: bytes) -> bool:
        """Whether it ends here. Raises Malformed."""
        self.wants_file = False
        if self.mode is Mode.PACKET:
            self._note_error(packet)
            return True
        if not packet:
            raise Malformed("an empty packet")
        if packet[0] == 0xFF:  # no definition begins so, nor does a row of less than 16 MB
            self._note_error(packet)
            return True
        if self._place is _Place.FIRST:
            return self._first(packet)
        is_eof = packet[0] == 0xFE and len(packet) < 9
        if is_eof:
            if len(packet) != 5:
                raise Malformed("an EOF of another length")
            (self.status,) = struct.unpack_from("<H", packet, 3)
        if self._place is _Place.ROWS:
            if not is_eof:
                return False
            self._place = _Place.FIRST
            return self.mode is Mode.ROWS or not self.status & MORE_RESULTS
        return self._definition(is_eof)

    def _note_error(self, packet: bytes) -> None:
        if packet[:1] == b"\xff":
            if len(packet) < 3:
                raise Malformed("an error without a number")
            self.errno, self.error = int.from_bytes(packet[1:3], "little"), packet

    def _first(self, packet: bytes) -> bool:
        if self.mode is Mode.COLUMNS:
            return packet[0] == 0xFE and len(packet) < 9
        if self.mode is Mode.PREPARED:
            if packet[0] != 0 or len(packet) < 12:
                raise Malformed("no statement")
            self.statement_id, columns, params = struct.unpack_from("<IHH", packet, 1)
            self._definitions = [count for count in (params, columns) if count]
            self._place = _Place.DEFINITIONS
            return not self._definitions
        if packet[0] == 0:
            self.status = _ok_status(packet)
            return not self.status & MORE_RESULTS
        if packet[0] == 0xFB:
            if self.mode is not Mode.LOAD:
                raise Malformed("a file is asked for")
            self.wants_file = True
            return False
        self._definitions = [_number(packet)]
        self._place = _Place.DEFINITIONS
        return False

    def _definition(self, is_eof: bool) -> bool:
        if not is_eof:
            self._definitions[0] -= 1
            return False
        if self._definitions.pop(0):
            raise Malformed("another number of definitions")
        if self._definitions:
            return False
        if self.mode is Mode.PREPARED:
            return True
        if self.mode is Mode.CURSOR and self.has_cursor:
            return True
        self._place = _Place.ROWS
        return False

    @property
    def has_cursor(self) -> bool:
        return bool(self.status & CURSOR_EXISTS) and not self.status & MORE_RESULTS


def _number(packet: bytes) -> int:
    if packet[0] < 0xFB and len(packet) == 1:
        return packet[0]
    if packet[0] == 0xFC and len(packet) == 3:
        return int.from_bytes(packet[1:], "little")
    raise Malformed("no number of columns")


def _ok_status(packet: bytes) -> int:
    at = 1
    for _ in range(2):  # rows, id
        if at >= len(packet):
            raise Malformed("an OK that is cut short")
        at += {0xFC: 3, 0xFD: 4, 0xFE: 9}.get(packet[at], 1)
    if at + 4 > len(packet):
        raise Malformed("an OK that is cut short")
    return int.from_bytes(packet[at : at + 2], "little")
