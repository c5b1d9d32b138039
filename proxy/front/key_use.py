"""What prepared statements ask for, told to those who keep statistics of keys (`proxy.measure.key_sampling`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from proxy.errors import ProtocolError
from proxy.measure.key_sampling import Tap
from proxy.wire.binary import Execute, decode_params

if TYPE_CHECKING:
    from proxy.front.session import Session

_NONE: frozenset[int] = frozenset()


def tell_keys(session: Session, taps: Sequence[Tap], literals: Sequence[bytes], bound: Execute) -> None:
    """An execution with these values, none of which was sent ahead: a value is the same key as its text in a statement.
    What cannot be read is not counted; it is for whoever executes it to say so."""
    try:
        params = decode_params(bound, _NONE)
    except ProtocolError:
        return
    texts = [
        value if isinstance(value, bytes) else b"%d" % value if isinstance(value, int) else str(value).encode()
        for value in params
    ]
    every = [*literals, *texts]
    for tap in taps:
        tap(session, every)
