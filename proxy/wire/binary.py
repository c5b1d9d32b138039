"""Prepared statements: COM_STMT_EXECUTE and the values in it, the answer to COM_STMT_PREPARE, binary rows of our own.

Sources: MySQL "Prepared Statements"; `setup_one_conversion_function` in `sql/sql_prepare.cc`. A parameter's type has
two bytes: a column type, and a second one whose top bit says unsigned. Needs connections without QUERY_ATTRIBUTES.
"""

from __future__ import annotations

import enum
import functools
import struct
from collections.abc import Callable, Sequence, Set
from typing import Final, Literal, NamedTuple, TypeAlias

from mypy_extensions import i64

from proxy.errors import ProtocolError
from proxy.wire import column, lenenc
from proxy.wire.column import ColumnDefinition
from proxy.wire.command import COM_STMT_EXECUTE, COM_STMT_SEND_LONG_DATA
from proxy.wire.cursor import Cursor
from proxy.wire.lenenc import write_bytes
from proxy.wire.resultset import frame_resultset

_HEADER: Final = 10  # command, statement id, cursor flags, iterations
_ID_END: Final = 5
_WRONG_ARGUMENTS: Final = (1210, "HY000")
_UNSIGNED: Final = 0x80
_FEW_PARAMS: Final = 8  # whose NULLs are in one byte
_FEW: Final = 64  # bytes of types, of which `_integers` remembers a thousand
READ_ONLY_CURSOR: Final = 1  # the only type of cursor that servers know


class LongData(enum.Enum):
    """Stands for a value that COM_STMT_SEND_LONG_DATA sent: it is not in the execute packet."""

    LONG_DATA = "long data"


LONG_DATA: Final = LongData.LONG_DATA
Value: TypeAlias = int | float | bytes | Literal[LongData.LONG_DATA] | None


class PrepareOk(NamedTuple):
    statement_id: int
    columns: int
    params: int
    warnings: int


def parse_prepare_ok(payload: bytes) -> PrepareOk:
    cursor = Cursor(payload)
    if cursor.uint(1) != 0:
        raise ProtocolError("Malformed packet: the answer to a prepare expected")
    statement_id, columns, params = cursor.uint(4), cursor.uint(2), cursor.uint(2)
    if not cursor.left:  # MySQL 4.1 ends here
        return PrepareOk(statement_id, columns, params, 0)
    cursor.take(1)
    return PrepareOk(statement_id, columns, params, cursor.uint(2))


def encode_prepare_ok(ok: PrepareOk) -> bytes:
    return struct.pack("<BIHHBH", 0, ok.statement_id, ok.columns, ok.params, 0, min(ok.warnings, 0xFFFF))


class Execute(NamedTuple):
    """COM_STMT_EXECUTE, its values not yet read. `types`: two bytes a parameter, its own or those of an earlier one."""

    statement_id: int
    flags: int  # cursor type; 0: none
    iterations: int
    null_bitmap: bytes
    types: bytes
    values_offset: int
    new_params_bound: bool
    payload: bytes

    @property
    def param_count(self) -> int:
        return len(self.types) // 2


_HEAD: Final = struct.Struct("<BIBI")


def parse_execute(payload: bytes, param_count: int, known_types: bytes | None) -> Execute:
    """Reads the head of COM_STMT_EXECUTE (command byte included).

    `known_types` are those of the last execute of this statement, which the client need not repeat. Raises
    ProtocolError 1210 when there are none either.
    """
    if len(payload) < _HEADER:
        raise _cut_short()
    command, statement_id, flags, iterations = _HEAD.unpack_from(payload)
    if command != COM_STMT_EXECUTE:
        raise ProtocolError("Malformed packet: an execute expected")
    if not param_count:
        # MariaDB's driver for node sends the byte that says whether types follow even then; servers read no further.
        return Execute(statement_id, flags, iterations, b"", b"", _HEADER, False, payload[:_HEADER])
    nulls_end = _HEADER + ((param_count + 7) >> 3)
    types, bound = _types(payload, nulls_end, 2 * param_count, known_types)
    at = nulls_end + 1 + (len(types) if bound else 0)
    return Execute(statement_id, flags, iterations, payload[_HEADER:nulls_end], types, at, bound, payload)


def _types(payload: bytes, nulls_end: int, size: int, known: bytes | None) -> tuple[bytes, bool]:
    """The parameters' types, `size` bytes, and whether they are in the payload."""
    if len(payload) <= nulls_end:
        raise _cut_short()
    if payload[nulls_end] == 1:
        types = payload[nulls_end + 1 : nulls_end + 1 + size]
        if len(types) < size:
            raise _cut_short()
        return types, True
    if known is None or len(known) != size:
        raise ProtocolError("Incorrect arguments to mysqld_stmt_execute", *_WRONG_ARGUMENTS)
    return known, False


def _cut_short() -> ProtocolError:
    return ProtocolError("Malformed packet: an execute is cut short")


def relayed_execute(payload: bytes, param_count: int, known_types: bytes | None) -> tuple[bytes, bytes]:
    """What a server gets of an execute that asks for no cursor, behind its own statement's id, and the types that were
    bound: `parse_execute` and `rebuild_execute` for those who need no value. Raises ProtocolError as they do."""
    if not param_count:
        if len(payload) < _HEADER:
            raise _cut_short()
        return payload[_ID_END:_HEADER], b""
    nulls_end = _HEADER + ((param_count + 7) >> 3)
    types, bound = _types(payload, nulls_end, 2 * param_count, known_types)
    if bound:
        return payload[_ID_END:], types
    return b"".join((payload[_ID_END:nulls_end], b"\x01", types, payload[nulls_end + 1 :])), types


def decode_params(execute: Execute, long_data: Set[int]) -> list[Value]:
    """The values: integers exact, floats as floats, everything else as the bytes of its canonical text.

    Strings are in the client's character set. `long_data` are the (zero-based) parameters that were sent ahead.
    """
    payload, types, nulls = execute.payload, execute.types, execute.null_bitmap
    pos, size = execute.values_offset, len(payload)
    values: list[Value] = []
    if not long_data and len(types) <= _FEW and not any(nulls):
        integers = _integers(types)
        if integers is not None and size == pos + integers.size:
            values += integers.unpack_from(payload, pos)
            return values
    for index, kind in enumerate(types[::2]):
        if index in long_data:
            values.append(LONG_DATA)
            continue
        if nulls[index >> 3] >> (index & 7) & 1:
            values.append(None)
            continue
        # What most parameters are, without a cursor.
        if kind == column.LONGLONG or kind == column.LONG:
            end = pos + (8 if kind == column.LONGLONG else 4)
            if end <= size:
                values.append(int.from_bytes(payload[pos:end], "little", signed=types[2 * index + 1] < _UNSIGNED))
                pos = end
                continue
        elif pos < size and payload[pos] < lenenc.NULL[0] and kind in _STRINGS:
            end = pos + 1 + payload[pos]
            if end <= size:
                values.append(payload[pos + 1 : end])
                pos = end
                continue
        cursor = Cursor(payload, pos)
        values.append(_decode(cursor, kind, types[2 * index + 1]))
        pos = cursor.pos
    if pos < size:
        raise ProtocolError("Malformed packet: an execute is longer than its values", *_WRONG_ARGUMENTS)
    return values


@functools.lru_cache(1000)
def _integers(types: bytes) -> struct.Struct | None:
    """How values of these types follow each other, if all are integers, as those of keys mostly are."""
    codes = "<"
    for kind, sign in zip(types[::2], types[1::2]):
        width = _INTEGERS.get(kind)
        if width is None:
            return None
        codes += _CODES[width].upper() if sign & _UNSIGNED else _CODES[width]
    return struct.Struct(codes)


def integer_at(payload: bytes, known_types: bytes | None, index: int) -> i64:
    """The value of a parameter of COM_STMT_EXECUTE, where a glance tells it: there are few and none is NULL, their
    types are those of the execution before, it is an integer, and so are those before it. -1: read the whole. Negative
    ones and those from 2^63 on are not told."""
    if not known_types or len(payload) < _HEADER + 2 or payload[_HEADER]:
        return -1
    size = len(known_types)
    if size > 2 * _FEW_PARAMS:
        return -1
    at = _HEADER + 2
    if payload[_HEADER + 1] == 1:
        if payload[at : at + size] != known_types:
            return -1
        at += size
    width = _WIDTHS[known_types[0]]
    for number in range(1, index + 1):
        if not width:
            return -1
        at += width
        width = _WIDTHS[known_types[2 * number]]
    last = at + width - 1
    if not width or last >= len(payload):
        return -1
    value: i64 = payload[last]
    if value >= _UNSIGNED and (width == 8 or known_types[2 * index + 1] < _UNSIGNED):
        return -1
    while last > at:
        last -= 1
        value = value << 8 | payload[last]
    return value


def rebuild_execute(execute: Execute, statement_id: int, flags: int = 0) -> bytes:
    """The same execute for a server's statement: its id, these flags, and always the types."""
    head = _HEAD.pack(COM_STMT_EXECUTE, statement_id, flags, execute.iterations)
    if not execute.types or execute.new_params_bound:
        return head + execute.payload[_HEADER:] if execute.types else head
    return b"".join((head, execute.null_bitmap, b"\x01", execute.types, execute.payload[execute.values_offset :]))


class Integer(NamedTuple):
    """An unsigned 64-bit parameter that the client has not bound."""

    value: int


def rearranged(
    execute: Execute, long_data: Set[int], wanted: Sequence[int | Integer]
) -> tuple[bytes, list[int | None]]:
    """An execute (payload with types; no statement id) of parameters of this one, by number, and integers.

    Also returns, for each of them, which it was of this one, or None.
    """
    params: list[tuple[bytes, bool, bytes]] = []  # type, is it NULL, its bytes
    cursor = Cursor(execute.payload, execute.values_offset)
    for index in range(execute.param_count):
        kind = execute.types[2 * index : 2 * index + 2]
        null = bool(execute.null_bitmap[index >> 3] >> (index & 7) & 1) and index not in long_data
        start = cursor.pos
        if not null and index not in long_data:
            _decode(cursor, kind[0], kind[1])
        params.append((kind, null, execute.payload[start : cursor.pos]))
    nulls = bytearray((len(wanted) + 7) // 8)
    types, values = [], []
    for index, what in enumerate(wanted):
        if isinstance(what, Integer):
            kind, null, value = _INTEGER_TYPE, False, what.value.to_bytes(8, "little")
        else:
            kind, null, value = params[what]
        nulls[index >> 3] |= null << (index & 7)
        types.append(kind)
        values.append(value)
    head = _HEAD.pack(COM_STMT_EXECUTE, 0, execute.flags, execute.iterations)
    payload = b"".join((head, nulls, b"\x01", *types, *values)) if wanted else head
    return payload, [None if isinstance(what, Integer) else what for what in wanted]


_INTEGER_TYPE: Final = bytes((column.LONGLONG, _UNSIGNED))


def parse_long_data(payload: bytes) -> tuple[int, int, bytes]:
    """(statement id, zero-based parameter, piece of its value) of COM_STMT_SEND_LONG_DATA."""
    cursor = Cursor(payload)
    if cursor.uint(1) != COM_STMT_SEND_LONG_DATA:
        raise ProtocolError("Malformed packet: long data expected")
    return cursor.uint(4), cursor.uint(2), cursor.rest()


def encode_binary_resultset(
    columns: Sequence[ColumnDefinition], rows: Sequence[Sequence[bytes | None]], status: int = 2, warnings: int = 0
) -> bytes:
    """Our own answer to an execute, from values as text, as frames from sequence id 1.

    Columns may be LONGLONG or of a type whose values are strings.
    """
    return frame_resultset(columns, [_encode_row(columns, row) for row in rows], status, warnings)


def _encode_row(columns: Sequence[ColumnDefinition], row: Sequence[bytes | None]) -> bytes:
    nulls = bytearray((len(columns) + 9) // 8)
    values = []
    for index, (definition, value) in enumerate(zip(columns, row, strict=True)):
        if value is None:
            nulls[(index + 2) >> 3] |= 1 << (index + 2 & 7)
        elif definition.type == column.LONGLONG:
            values.append((int(value) & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little"))
        else:
            values.append(write_bytes(value))
    return b"".join((b"\0", nulls, *values))


def _decode(cursor: Cursor, kind: int, sign: int) -> Value:
    width = _INTEGERS.get(kind)
    if width is not None:
        return int.from_bytes(cursor.take(width), "little", signed=not sign & _UNSIGNED)
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise ProtocolError(f"Malformed packet: a parameter of type {kind}", *_WRONG_ARGUMENTS)
    return decoder(cursor)


def _year(cursor: Cursor) -> bytes:
    """No integer, like MEDIUMINT: MariaDB takes neither from a packet, and goes on with NULL."""
    return b"%d" % cursor.uint(2)


def _medium(cursor: Cursor) -> bytes:
    return b"%d" % cursor.uint(4)


def _float(cursor: Cursor) -> float:
    value: float = struct.unpack("<f", cursor.take(4))[0]
    return value


def _double(cursor: Cursor) -> float:
    value: float = struct.unpack("<d", cursor.take(8))[0]
    return value


def _temporal(cursor: Cursor, widths: tuple[int, ...]) -> Cursor:
    width = cursor.uint(1)
    if width not in widths:
        raise ProtocolError(f"Malformed packet: a temporal value of {width} bytes", *_WRONG_ARGUMENTS)
    # Left-out parts are zero.
    return Cursor(cursor.take(width) + bytes(widths[-1] - width))


def _date(cursor: Cursor) -> bytes:
    parts = _temporal(cursor, (0, 4, 7, 11))
    return b"%04d-%02d-%02d" % (parts.uint(2), parts.uint(1), parts.uint(1))


def _datetime(cursor: Cursor) -> bytes:
    parts = _temporal(cursor, (0, 4, 7, 11))
    day = (parts.uint(2), parts.uint(1), parts.uint(1))
    return b"%04d-%02d-%02d %02d:%02d:%02d" % (*day, parts.uint(1), parts.uint(1), parts.uint(1)) + _fraction(parts)


def _time(cursor: Cursor) -> bytes:
    parts = _temporal(cursor, (0, 8, 12))
    sign = b"-" if parts.uint(1) else b""
    hours = parts.uint(4) * 24 + parts.uint(1)
    return b"%s%02d:%02d:%02d" % (sign, hours, parts.uint(1), parts.uint(1)) + _fraction(parts)


def _fraction(parts: Cursor) -> bytes:
    microseconds = parts.uint(4)
    return b".%06d" % microseconds if microseconds else b""


def _null(cursor: Cursor) -> None:
    return None


_CODES: Final = {1: "b", 2: "h", 4: "i", 8: "q"}  # of struct
_INTEGERS: Final = {
    column.TINY: 1,
    column.SHORT: 2,
    column.LONG: 4,
    column.LONGLONG: 8,
}
_WIDTHS: Final = bytes(_INTEGERS.get(kind, 0) for kind in range(256))  # 0: not an integer

_STRINGS: Final = frozenset(
    {
        column.DECIMAL,
        column.VARCHAR,
        column.BIT,
        column.VECTOR,
        column.JSON,
        column.NEWDECIMAL,
        column.ENUM,
        column.SET,
        column.TINY_BLOB,
        column.MEDIUM_BLOB,
        column.LONG_BLOB,
        column.BLOB,
        column.VAR_STRING,
        column.STRING,
        column.GEOMETRY,
    }
)

_DECODERS: Final[dict[int, Callable[[Cursor], Value]]] = {
    column.FLOAT: _float,
    column.DOUBLE: _double,
    column.NULL: _null,
    column.YEAR: _year,
    column.INT24: _medium,
    column.DATE: _date,
    column.TIMESTAMP: _datetime,
    column.DATETIME: _datetime,
    column.TIME: _time,
} | dict.fromkeys(_STRINGS, Cursor.string)
