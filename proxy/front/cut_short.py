"""The log's line about an answer that ends with the client's connection: the client itself sees no reason."""

from __future__ import annotations

import logging
import re
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from proxy.errors import TurnoutError

if TYPE_CHECKING:
    from proxy.front.session import Session

log = logging.getLogger("turnout.session")

AT_MOST, EVERY_S = 10, 60.0  # lines of the same servers: one that goes down cuts many answers short
_LITERAL = re.compile(r"'(?:[^'\\]|\\.|'')*'")


class Seldom:
    """Lets AT_MOST pass in EVERY_S for each key, and counts the others."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._said: dict[str, int] = defaultdict(int)

    def may(self, key: str, now: float) -> int | None:
        """How many were left out before this one; None: this one is, too."""
        left_out = 0
        if now - self._began.get(key, -EVERY_S) >= EVERY_S:
            left_out = max(0, self._said[key] - AT_MOST)
            self._began[key], self._said[key] = now, 0
        self._said[key] += 1
        return left_out if self._said[key] <= AT_MOST else None


_seldom = Seldom()


def tell(session: Session, error: TurnoutError) -> None:
    """Call before the client's connection is ended."""
    on = session.spread or ([session.running_on] if session.running_on is not None else [])
    servers = "; ".join(dict.fromkeys(one.where for one in on))
    left_out = _seldom.may(servers, time.monotonic())
    if left_out is None:
        return
    entry = session.running
    extra: dict[str, object] = {
        "servers": servers,  # which name their cluster
        "errno": error.errno,
        "reason": _LITERAL.sub("'..'", error.message),
        "session": session.client.connection_id,
        "shape_id": entry.stats.shape.id if entry is not None else "",
    }
    if left_out:
        extra["left_out"] = left_out
    log.warning("answer cut short, client disconnected", extra=extra)
