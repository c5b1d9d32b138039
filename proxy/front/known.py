"""Statements that were answered from memory, by the packets that brought them: one look-up says what lexer, plan, route
and key did. Their number is bounded by the bytes they take, since each takes nearly as much as a short answer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import islice
from typing import TYPE_CHECKING, Final

from proxy.cache.cached_value import CachedValue

if TYPE_CHECKING:
    from proxy.front.caching import Caching
    from proxy.front.environment import Entry

AT_HAND_BYTES: Final = 8192  # how long an answer may be that is at hand
MAX_TEXT_BYTES: Final = 1024
SHARE: Final = 4  # known texts take up to one in so many bytes of `cache.local`, besides it
_OVERHEAD_BYTES: Final = 400  # of one besides its text, which is there again in parts: objects, dictionary (measured)

Texts = dict[bytes, "Known"]


class Known:
    """What a text is that was answered from memory, and what it was answered with then."""

    __slots__ = ("cluster", "entry", "identity", "literals", "types", "value")

    def __init__(self, entry: Entry, cluster: str, literals: tuple[bytes, ...], types: bytes | None = None) -> None:
        self.entry = entry
        self.types = types  # of an execution's parameters
        self.cluster = cluster
        self.literals = literals
        self.identity = 0  # of the sessions for which `value` is the answer
        self.value: CachedValue | None = None  # None: it was not asked for since memory made room

    def find(self, caching: Caching, identity: int) -> CachedValue | None:
        """The value for sessions of this identity, by its key. It is at hand from now on, unless it is long."""
        value = caching.store.peek((self.entry.cache_shape, identity, self.cluster, self.literals))
        if value is not None and value.size_bytes <= AT_HAND_BYTES:
            if self.value is None:
                caching.at_hand(self)
            self.identity = identity
            self.value = value
        return value


class Room:
    """For known texts, in the dictionaries that `all_texts` gives."""

    __slots__ = ("_all_texts", "_bytes", "_limit_bytes")

    def __init__(self, limit_bytes: int, all_texts: Callable[[], Collection[Texts]]) -> None:
        self._limit_bytes = limit_bytes
        self._all_texts = all_texts
        self._bytes = 0

    def put(self, texts: Texts, text: bytes, known: Known) -> bool:
        """False: it is too long."""
        if len(text) > MAX_TEXT_BYTES:
            return False
        if text not in texts:
            size = _bytes_of(text)
            if self._bytes + size > self._limit_bytes:
                self._make()
            self._bytes += size
        texts[text] = known
        return True

    def clear(self) -> None:
        """All dictionaries were emptied."""
        self._bytes = 0

    def _make(self) -> None:
        """Forget up to half of each dictionary: texts that nobody has asked for since memory made room, the oldest
        first; where there are few of these, others, the oldest first."""
        all_texts = self._all_texts()
        for texts in all_texts:
            idle: list[bytes] = []
            for text, known in texts.items():
                if len(idle) >= len(texts) // 2:
                    break
                if known.value is None:
                    idle.append(text)
            self._forget(texts, idle)
        if 8 * self._bytes > 7 * self._limit_bytes:
            for texts in all_texts:
                self._forget(texts, list(islice(texts, (len(texts) + 1) // 2)))

    def _forget(self, texts: Texts, victims: list[bytes]) -> None:
        for text in victims:
            del texts[text]
            self._bytes -= _bytes_of(text)


def _bytes_of(text: bytes) -> int:
    return _OVERHEAD_BYTES + 2 * len(text)
