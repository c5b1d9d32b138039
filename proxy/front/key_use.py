"""What prepared statements ask for, told to those who keep statistics of keys (`proxy.measure.key_sampling`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from zlib import crc32

from proxy.errors import ProtocolError
from proxy.measure.key_sampling import Tap
from proxy.measure.key_sketch import MIX
from proxy.wire.binary import Execute, Value, decode_params

if TYPE_CHECKING:
    from proxy.front.session import Session

_NONE: frozenset[int] = frozenset()


def tell_keys(session: Session, tap: Tap, literals: Sequence[bytes], bound: Execute) -> None:
    """An execution with these values, none of which was sent ahead: a value is the same key as its text in a statement.
    What cannot be read is not counted; it is for whoever executes it to say so."""
    try:
        params = decode_params(bound, _NONE)
    except ProtocolError:
        return
    sample, place = tap.sample, tap.place - len(literals)
    if session.began & sample.mask and place >= 0 and crc32(_text(params[place])) * MIX & sample.beyond:
        return  # as nearly always: see Tap
    tap(session, [*literals, *map(_text, params)])


def _text(value: Value) -> bytes:
    if isinstance(value, int):
        return b"%d" % value
    return value if isinstance(value, bytes) else str(value).encode()
