"""Which keys the statements of a server's log ask for: the same samples and sketches as of live traffic.

A log does not say what is in a transaction, so every plain read counts as one that a cache could answer. Statements
that are logged in the same second are taken in their order.
"""

from __future__ import annotations

import random

from parser.analyse import parse
from parser.shape import Lexer, is_opaque
from proxy.measure.key_book import KeyBook
from proxy.measure.key_history import KeysRead
from proxy.measure.key_sampling import KeySampler, Tap

MAX_KNOWN = 20_000  # shapes whose taps are known
_WINDOW_NS = 1_000_000_000


class LogKeys:
    """Told of every statement of a log, in turn."""

    in_transaction = False
    autocommit = True

    def __init__(self, lexer: Lexer) -> None:
        self.began = 0
        self._lexer = lexer
        self._now_ns = self._taken_ns = 0
        self._sampler = KeySampler(lambda: self._now_ns)
        self._book = KeyBook()
        self._taps: dict[tuple[bytes, bytes], Tap | None] = {}
        self._chance = random.Random(1)

    def see(self, text: bytes, database: bytes, unix_s: float | None) -> None:
        shape, literals = self._lexer.shape(text)
        place = (database, shape)
        if place not in self._taps:
            if len(self._taps) >= MAX_KNOWN:
                return
            self._taps[place] = None if is_opaque(shape) else self._tapped(shape, database)
        tap = self._taps[place]
        if tap is None:
            return
        self._now_ns = max(self._now_ns + 1, int((unix_s or 0) * 1e9))
        if self._now_ns - self._taken_ns >= _WINDOW_NS:
            self._hand_on()
        self.began = self._chance.getrandbits(30)
        tap(self, literals)

    def _tapped(self, shape: bytes, database: bytes) -> Tap | None:
        statement = parse(shape, [], lexer=self._lexer, merged=())
        return self._sampler.tap(statement, shape, database.decode("utf-8", "replace") or None)

    def _hand_on(self) -> None:
        self._taken_ns = self._now_ns
        self._book.add(self._sampler.take()[0])

    def end(self) -> KeysRead:
        self._hand_on()
        return KeysRead(self._book.take())
