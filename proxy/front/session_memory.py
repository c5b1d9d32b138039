"""What is kept for a session's prepared statements, and how much that may be (`limits.session_memory`)."""

from __future__ import annotations

from proxy.errors import StatementRefused
from proxy.front.session import Session

_PER_TEXT = 3  # a statement's text is kept as it came, as its shape, and as literals


def grow(session: Session, text: int = 0, data: int = 0) -> None:
    """A text of so many bytes is to be prepared, or so many bytes of a parameter have come. Raises StatementRefused.

    `session.memory` counts up only: what was given back is found out when the limit seems to be reached.
    """
    size = _PER_TEXT * text + data
    limit = session.environment.rules.limits.session_memory
    session.memory += size
    if session.memory <= limit:
        return
    kept = (*session.prepared.values(), *session.named.values())
    held = sum(_PER_TEXT * len(one.sql) + sum(map(len, one.long_data.values())) for one in kept)
    session.memory = held + size
    if session.memory > limit:
        session.memory = held
        raise StatementRefused(
            f"Memory capacity of {limit} bytes for 'limits.session_memory' exceeded. "
            "Close prepared statements that are not needed any more",
            3170,
            "HY000",
            reason="session-memory",
        )
