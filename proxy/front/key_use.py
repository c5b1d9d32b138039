"""What prepared statements ask for, told to those who keep statistics of keys (`proxy.measure.key_sampling`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from proxy.errors import ProtocolError
from proxy.measure.key_hash import LARGEST
from proxy.measure.key_sampling import Tap
from proxy.wire.binary import Value, decode_params, integer_at, parse_execute

if TYPE_CHECKING:
    from proxy.front.prepared_statement import Prepared
    from proxy.front.session import Session

_NONE: Final[frozenset[int]] = frozenset()


def tell_keys(session: Session, tap: Tap, prepared: Prepared, payload: bytes) -> None:
    """An execution with these values, none of which was sent ahead: a value is the same key as its text in a statement,
    and NULL is none. What cannot be read is not counted; it is for whoever executes it to say so."""
    literals, sample = prepared.literals, tap.sample
    place = tap.place - len(literals)
    unasked = session.began & sample.mask and place >= 0  # as nearly always: see Tap
    if unasked:
        number: i64 = integer_at(payload, prepared.types, place)
        if 0 <= number <= LARGEST and sample.is_integer_beyond(number):
            return
    try:
        params = decode_params(parse_execute(payload, prepared.params, prepared.types), _NONE)
    except ProtocolError:
        return
    if unasked and sample.is_beyond(_text(params[place])):
        return
    texts = [*literals, *map(_text, params)]
    if None in params:
        tap.beside(session, texts, {len(literals) + number for number, value in enumerate(params) if value is None})
    else:
        tap(session, texts)


def _text(value: Value) -> bytes:
    if value is None:
        return b"NULL"
    if isinstance(value, int):
        return b"%d" % value
    return value if isinstance(value, bytes) else str(value).encode()
