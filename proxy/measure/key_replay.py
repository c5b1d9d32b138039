"""What a cache class would have done with the reads and writes of some keys: they are replayed, in their order.

Workers hand on every read and write of a sample of the keys (`proxy.measure.key_sampling`). An answer is kept by the
first read of its statement, and is void as soon as a write touches its key. Right after a write nothing is served or
kept under that key until the binary log is known to be past it (docs/CACHE.md): `SHADOW_NS`. A write that does not say
which key it touches does that to all keys for as long. Memory for the answers is taken to be enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

SHADOW_NS: Final = 75_000_000  # a probe every 50 ms, and the time until it is answered
MAX_KEYS = 2_000  # of one candidate key; with more, fewer are looked at
MAX_ANSWERS = 16  # kept of one key


class KeyEvent(NamedTuple):
    """One statement, or several reads one after the other that have the same answer. What `key` and `answer` are hashes
    of: the key's text, and the whole statement's."""

    at_ns: int
    key: int
    answer: int
    kind: int  # flags
    n: int = 1
    until_ns: int = 0  # when the last of them came


WRITE: Final = 1
COUNTED: Final = 2  # it is of the sample of statements
REPLAYED: Final = 4  # it is of the sample of keys
CACHEABLE: Final = 8  # a read that a cache class could answer
BLIND: Final = 16  # a write that does not say which key


class Replay:
    """One candidate key. `level`: only keys with a hash below 2^(32 - level) are replayed, but for those in `apart`."""

    __slots__ = ("_answers", "_blind_ns", "_written", "apart", "level")

    def __init__(self) -> None:
        self.level = 0
        self.apart: frozenset[int] = frozenset()
        self._answers: dict[int, set[int]] = {}  # by key; the least recently used first
        self._written: dict[int, int] = {}  # by key: when it was written last, as far as that matters still
        self._blind_ns = -SHADOW_NS

    def restrict(self, level: int) -> None:
        """Look at fewer keys from now on."""
        if level > self.level:
            self.level = level
            limit = 1 << (32 - level)
            self._answers = {key: known for key, known in self._answers.items() if key < limit}

    def add(self, events: Iterable[KeyEvent]) -> tuple[int, int]:
        """(hits, misses) that these made, in statements: each of the sample stands for 2^level."""
        hits = misses = 0
        limit = 1 << (32 - self.level)
        weight = 1 << self.level
        apart = self.apart
        for at_ns, key, answer, kind, n, until_ns in events:
            if kind & BLIND:
                self._blind_ns = at_ns
            elif not kind & REPLAYED or key >= limit or key in apart:
                continue
            elif kind & WRITE:
                self._answers.pop(key, None)
                if len(self._written) >= MAX_KEYS:
                    self._written = {k: ns for k, ns in self._written.items() if at_ns - ns < SHADOW_NS}
                self._written[key] = at_ns
            elif kind & CACHEABLE:
                missed = self._read(at_ns, key, answer, n, until_ns)
                misses += missed * weight
                hits += (n - missed) * weight
        while len(self._answers) > MAX_KEYS:
            self.restrict(self.level + 1)
        return hits, misses

    def _read(self, at_ns: int, key: int, answer: int, n: int, until_ns: int) -> int:
        """How many of these reads miss."""
        light_ns = max(self._blind_ns, self._written.get(key, -SHADOW_NS)) + SHADOW_NS
        missed = 0
        if at_ns < light_ns:
            missed = n if until_ns < light_ns else max(1, round(n * (light_ns - at_ns) / (until_ns - at_ns)))
        known = self._answers.pop(key, None)
        if missed < n and (known is None or answer not in known):
            missed += 1
            if known is None or len(known) >= MAX_ANSWERS:
                known = {answer}
            else:
                known.add(answer)
        if known is not None:
            self._answers[key] = known
        return missed


def expected_misses(reads: float, writes: float, seconds: float, dark: float) -> float:
    """Of so many reads of one key, while it was written so often, both at random times (Poisson). `dark`: the share of
    the time in which nothing is served because of writes without a key."""
    if seconds <= 0 or not reads:
        return 0.0
    per_s, written_per_s = reads / seconds, writes / seconds
    lit = math.exp(-written_per_s * SHADOW_NS / 1e9) * (1 - dark)
    first = written_per_s * lit * per_s / (per_s + written_per_s)  # reads behind a write that keep the answer again
    return min(reads, seconds * (per_s * (1 - lit) + first))
