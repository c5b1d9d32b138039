"""Whether it is worth sharing answers by memcached: asking it for them, and sending them there. Pure.

A question to memcached costs about as much as one to the server that answers a read by key. Where memcached hardly ever
has what the worker's memory does not have (there is one worker only, or rows are read once, one after another), it is
asked about a *sample* of the keys, which is how a change is noticed: one in 256 keys, the same ones in all workers and
hosts, and one in 256 that are others every fifteenth of a second. What is in the sample is also sent there at once;
other answers when they are served for the first time: what nobody asks for again is of no use there. (A question that
finds nothing, and the answer sent after it, take as much CPU as two point selects: one read in 128 pays that.)

Each statement (each shape) has its own: of one table, one may be asked for the same rows again and again, others never.
"""

from __future__ import annotations

from typing import Final

LEAST: Final = 0.05  # where memcached has fewer than this share of what it is asked for, it is not worth it
SLOW_NS: Final = 20_000_000  # an answer that took the server so long is worth the question
_WEIGHT: Final = 1 / 512  # of one question, in the share of those before
_SPARSE_WEIGHT: Final = 1 / 64  # of one about a key of the sample, when no others are asked
_SUPPOSED: Final = 64  # a new statement is taken to have asked so often ..
_SUPPOSED_SHARE: Final = 0.25  # .. and to have found that share
_PARTS: Final = 255  # one less than the number of parts that keys are divided in
_TURN_BITS: Final = 26  # of nanoseconds: about a fifteenth of a second; all parts have had a turn in 17 seconds


def in_sample(slot: int, now_ns: int) -> bool:
    """Is a key with this slot in the sample at this moment?"""
    part = slot & _PARTS
    return not part or part == (now_ns >> _TURN_BITS) & _PARTS


class Worth:
    """Of one statement in one worker. `sparse`: share the sample only."""

    __slots__ = ("_share", "_weight", "sparse")

    def __init__(self) -> None:
        self.sparse = False
        self._share = _SUPPOSED_SHARE
        self._weight = 1 / _SUPPOSED  # as in a mean of all questions, until there are many

    def asked(self, found: bool) -> None:
        """Memcached was asked, and had an answer that could be served, or not."""
        if self.sparse:
            self._share += (found - self._share) * _SPARSE_WEIGHT
            if self._share >= LEAST:
                self.sparse = False
                self._share = 2 * LEAST
            return
        weight = self._weight = max(_WEIGHT, self._weight / (1 + self._weight))
        self._share += (found - self._share) * weight
        self.sparse = self._share < LEAST
