"""A cached answer with its stamp, as a worker keeps it."""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

# Of an entry in a worker's memory besides its response: objects, dictionary, key (measured, not compiled).
_OVERHEAD_BYTES: Final = 600


@mypyc_attr(acyclic=True)
class CachedValue:
    """One answer. `slots` are those of its tags; `response` is the framed result set, sequence ids from 1.

    Where this is compiled, the collector of cycles does not look at it (`acyclic`): it refers to nothing that could
    refer back, and with hundreds of thousands of them every full collection would stop the worker for a tenth of a
    second."""

    __slots__ = (
        "created_ns",
        "generation",
        "incarnation",
        "log_id",
        "position",
        "response",
        "rows",
        "size_bytes",
        "slots",
        "unsent",
    )

    def __init__(
        self,
        incarnation: int,
        log_id: int,
        position: int,
        slots: tuple[int, ...],
        response: bytes,
        rows: int,
        created_ns: int,
        size_bytes: int = 0,
    ) -> None:
        self.incarnation = incarnation
        self.log_id = log_id
        self.position = position
        self.slots = slots
        self.response = response
        self.rows = rows
        self.created_ns = created_ns  # monotonic, of this host: for classes with `ttl`
        self.size_bytes = size_bytes  # of memory that it takes (`memory_of`)
        self.generation = 0  # of `Local`, where it is; 0: nowhere
        self.unsent: int | None = (
            None  # it is to be sent to memcached once it is served: by which definitions it was made
        )


def memory_of(response: int, slots: tuple[int, ...], literals: tuple[bytes, ...]) -> int:
    """Bytes of a worker's memory that a value with so long a response takes with a key of these literals, roughly."""
    size = response + 36 * len(slots) + 48 * len(literals) + _OVERHEAD_BYTES
    for literal in literals:
        size += len(literal)
    return size
