"""The rows of several servers as those of one, where all answers are there to their ends: no stream, no waiting.

What comes out is what `proxy.front.merge` would send, which also says why. An error here says only that something is
unusual: that one is to be asked for the client's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from proxy.errors import ProtocolError
from proxy.front.merge import RowReader, ascends, distinct, framed, in_order
from proxy.front.merge_groups import Gathering
from proxy.plan import refusals
from proxy.plan.merge import Merge
from proxy.wire import lenenc
from proxy.wire.column import ColumnDefinition, encode_column, parse_column
from proxy.wire.frames import encode

_STATUS: Final = 4  # bytes of an EOF packet behind what `ResponseScanner.learned` has of it
_EOF: Final = 9  # bytes of such a packet


@dataclass(frozen=True, slots=True)
class Head:
    """What stands in front of the rows, but for the last packet's warnings and status."""

    definitions: tuple[ColumnDefinition, ...]
    sequence: int  # of the packet behind it


@lru_cache(maxsize=1024)
def read_head(head: bytes) -> Head:
    """Raises ProtocolError."""
    packets = []
    pos = 0
    while pos < len(head):
        n = int.from_bytes(head[pos : pos + 3], "little")
        packets.append(head[pos + 4 : pos + 4 + n])
        pos += 4 + n
    return Head(tuple(map(parse_column, packets[1:-1])), len(packets) + 1 & 0xFF)


@lru_cache(maxsize=1024)
def _shown(head: bytes, hidden: int) -> tuple[bytes, int]:
    """The same for a client who does not see the last columns, and the number of its first row."""
    definitions = read_head(head).definitions
    visible = definitions[: len(definitions) - hidden]
    payloads = [lenenc.write_int(len(visible)), *map(encode_column, visible)]
    framed_ones = [encode(payload, number + 1) for number, payload in enumerate(payloads)]
    end = len(payloads) + 1
    return b"".join((*framed_ones, b"\5\0\0", bytes((end & 0xFF, 0xFE)))), end + 1 & 0xFF


def payloads_of(answer: bytes, head: bytes) -> list[bytes]:
    """The rows of an answer that begins with this head. Raises ProtocolError."""
    pos, end = len(head) + _STATUS, len(answer) - _EOF
    if not answer.startswith(head) or end < pos:
        raise ProtocolError("an answer that does not begin as expected")
    rows = []
    while pos < end:
        behind = pos + 4 + (answer[pos] | answer[pos + 1] << 8 | answer[pos + 2] << 16)
        rows.append(answer[pos + 4 : behind])
        pos = behind
    if pos != end or answer[end : end + 3] != b"\5\0\0" or answer[end + 4] != 0xFE:
        raise ProtocolError("an answer that does not end as expected")
    return rows


def merged(merge: Merge, head: bytes, answers: Sequence[bytes]) -> tuple[bytes, int, int]:
    """(answer without its last packet, how many rows it has, that packet's number). Raises TurnoutError."""
    definitions = read_head(head).definitions
    if merge.visible is not None and len(definitions) != merge.visible + merge.hidden:
        raise ProtocolError("an answer with other columns than expected")
    reader = RowReader(merge, definitions)
    rows: list[Any] = []
    keys: list[Any] = []
    for answer in answers:
        own: list[Any] = []
        reader.read(payloads_of(answer, head), rows, own)
        if not ascends(own):
            raise refusals.SORT_ORDER.error(where="A cluster", expression=reader.label)
        keys += own
    order: Sequence[int] | None = None
    if merge.keys:
        order = in_order(keys)
        if merge.distinct:
            order, _ = distinct(order, keys, None)
    if merge.groups is not None:
        wanted = merge.offset + merge.limit if merge.limit is not None else None
        gathering = Gathering(merge.groups, definitions, reader.visible, wanted, reader.format)
        if order is None:
            whole = gathering.add([()] * len(rows), rows, range(len(rows)))
        else:
            whole = gathering.add(keys, rows, order)
        rows = whole + gathering.rest()
    elif order is not None:
        rows = [rows[n] for n in order]
    if merge.offset or merge.limit is not None:
        rows = rows[merge.offset : merge.offset + merge.limit if merge.limit is not None else None]
    first, sequence = _shown(head, merge.hidden)
    begin = len(head)
    out, sequence = framed(rows, sequence)
    return first + answers[0][begin : begin + _STATUS] + out, len(rows), sequence
