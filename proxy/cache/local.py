"""A worker's own cached values: bounded by bytes, the ones not used for longest make room.

Two generations instead of a list in order of use: what is used moves to the young one, and when that is full it becomes
the old one, whose predecessor goes as a whole. A hit in the young generation costs one dictionary look-up and moves
nothing. Whoever has a value at hand whose `generation` is the young one needs no look-up at all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from proxy.cache.cached_value import CachedValue


class Local:
    """See the module. `limit_bytes` holds for both generations together."""

    __slots__ = (
        "_old",
        "_old_bytes",
        "_room",
        "_young",
        "_young_bytes",
        "evictions",
        "generation",
        "let_go",
        "limit_bytes",
    )

    def __init__(self, limit_bytes: int, let_go: Callable[[], None] = lambda: None) -> None:
        self.limit_bytes = limit_bytes
        self.let_go = let_go  # called when values go: whoever has some at hand is to forget them, too
        self.evictions = 0
        self.generation = 1  # the young one's number
        self._young: dict[Hashable, CachedValue] = {}
        self._old: dict[Hashable, CachedValue] = {}
        self._young_bytes = 0
        self._old_bytes = 0
        self._room = limit_bytes // 2  # how many bytes the young generation may have before it has to turn

    def get(self, key: Hashable) -> CachedValue | None:
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None and 2 * value.size_bytes <= self.limit_bytes:
                self.put(key, value)
        return value

    def put(self, key: Hashable, value: CachedValue) -> None:
        """Keep it, unless it is longer than half of everything. What it replaces takes no room."""
        size = value.size_bytes
        filled = self._young_bytes + size
        if filled <= self._room and not value.generation and key not in self._old:
            if self._young.setdefault(key, value) is value:  # as nearly always: it is new, and there is room
                self._young_bytes = filled
                value.generation = self.generation
                return
        limit = self.limit_bytes
        if key in self._young or key in self._old:
            self.discard(key)
        if 2 * size > limit:
            return
        if 2 * (self._young_bytes + size) > limit:
            self._turn()
        if self._young_bytes + self._old_bytes + size > limit:  # the old generation is from when that was higher
            self._turn()
        self._young[key] = value
        self._young_bytes += size
        value.generation = self.generation

    def discard(self, key: Hashable) -> None:
        value = self._young.pop(key, None)
        if value is not None:
            self._young_bytes -= value.size_bytes
            value.generation = 0
        value = self._old.pop(key, None)
        if value is not None:
            self._old_bytes -= value.size_bytes
            self._measure()

    def clear(self) -> None:
        self._young, self._old = {}, {}
        self.generation += 1
        self.let_go()
        self._young_bytes = self._old_bytes = 0
        self._measure()

    def resize(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        if self.bytes > limit_bytes:
            self._turn()
        if self.bytes > limit_bytes:
            self._turn()
        self._measure()

    @property
    def bytes(self) -> int:
        return self._young_bytes + self._old_bytes

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def _turn(self) -> None:
        self.evictions += len(self._old)
        self._old, self._young = self._young, {}
        self.generation += 1
        self.let_go()
        self._old_bytes, self._young_bytes = self._young_bytes, 0
        self._measure()

    def _measure(self) -> None:
        # Where there is room by this, `put` would turn for neither of its two reasons.
        self._room = min(self.limit_bytes // 2, self.limit_bytes - self._old_bytes)
