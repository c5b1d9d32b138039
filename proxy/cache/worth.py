"""Whether it is worth asking memcached for answers of a cache class. Pure.

A question to memcached costs about as much as one to the server that answers a read by key. Where memcached hardly ever
has what the worker's memory does not have (there is one worker only, or rows are read once, one after another), it is
asked about a *sample* of the keys, which is how a change is noticed: a sixteenth of all keys that is the same in all
workers and hosts, and another sixteenth that is a new one every second. Answers are sent to memcached all the same, so
that others find them there.
"""

from __future__ import annotations

LEAST = 0.05  # where memcached has fewer than this share of what it is asked for, it is not worth it
SLOW_NS = 20_000_000  # an answer that took the server so long is worth the question
_WEIGHT = 1 / 512  # of one question, in the share of those before
_SPARSE_WEIGHT = 1 / 16  # of one about a key of the sample, when no others are asked
_PARTS = 15  # one less than the number of parts that keys are divided in
_TURN_BITS = 30  # of nanoseconds: about a second


def in_sample(slot: int, now_ns: int) -> bool:
    """Is a key with this slot in the sample at this moment?"""
    part = slot & _PARTS
    return not part or part == (now_ns >> _TURN_BITS) & _PARTS


class Worth:
    """Of one class in one worker. `sparse`: ask about the sample only."""

    __slots__ = ("_share", "sparse")

    def __init__(self) -> None:
        self.sparse = False
        self._share = 0.25  # nothing is known yet

    def asked(self, found: bool) -> None:
        """Memcached was asked, and had an answer that could be served, or not."""
        weight = _SPARSE_WEIGHT if self.sparse else _WEIGHT
        share = self._share = self._share + (found - self._share) * weight
        if not self.sparse:
            self.sparse = share < LEAST
        elif share >= LEAST:
            self.sparse = False
            self._share = 2 * LEAST
