"""A worker's part in the statistics of keys: a look at each statement, and two samples that are handed on.

A `Tap` stands where a shape has the value of a candidate key (columns of a table by which rows are found). What it
sees is kept for two reasons, either of which is rare:

- the key is one of the *sample of keys*: those with a small hash. Of these every statement is kept, so that they can be
  replayed and counted; how many keys that are adapts itself to what comes (`level`).
- the statement is one of the *sample of statements*: about one in `every`, at random. They say how often what is asked
  for, by which key most, and how much of it is writing.

All else costs a checksum, a multiplication and a comparison. Memory: MAX_CANDIDATES candidate keys with MAX_EVENTS
events each a second, 20 MB; a few hundred KB in practice.
"""

from __future__ import annotations

import random
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Protocol

from mypy_extensions import i64

from parser.shape import HOLE
from parser.statement import Hole, Statement
from proxy.measure.key_hash import integer_hash, key_hash
from proxy.measure.key_replay import BLIND, CACHEABLE, COUNTED, REPLAYED, SHADOW_NS, WRITE, KeyEvent
from proxy.measure.key_sketch import MAX_LEVEL
from proxy.measure.key_taps import ColumnsOf, Write, keys_of
from proxy.measure.windows import KeyWindow

MAX_CANDIDATES: Final = 200
MAX_TAPS: Final = 3  # of one shape
MAX_WRITERS: Final = 64  # shapes that write to one table and are told of its new candidate keys
MAX_EVENTS: Final = 400  # of one candidate key in a window
MAX_REPLAYED: Final = 60  # reads of the sample of keys in a window; with more, fewer keys are looked at
WANTED: Final = 30  # statements of the sample in a window
BLIND_NS: Final = 20_000_000  # between two writes without a key that are handed on
MAX_TOGETHER: Final = 500  # sets of tables
TRANSACTIONS: Final = 8  # one in so many is followed
_crc32: Final = zlib.crc32
_AT, _KEY, _ANSWER, _KIND, _N, _UNTIL = range(6)  # of a KeyEvent that is still added to


class InTransaction(Protocol):
    """What is to be known of a session. `began`: when its statement arrived, in ns; its last bits are random."""

    began: int

    @property
    def in_transaction(self) -> bool: ...

    @property
    def autocommit(self) -> bool: ...


class Asked:
    """A statement is of a sample when the bits of `mask` are 0 in the time at which it arrived, or those of `beyond` in
    its key's hash."""

    __slots__ = ("beyond", "mask")

    beyond: i64

    def __init__(self) -> None:
        self.mask = 0
        self.beyond = 0

    def is_beyond(self, key: bytes) -> bool:
        """Whether a key is not of the sample of keys, as nearly all are not."""
        return key_hash(key) & self.beyond != 0

    def is_integer_beyond(self, key: i64) -> bool:
        """The same for a key from 0 to `key_hash.LARGEST`."""
        return integer_hash(key) & self.beyond != 0


ALWAYS: Final = Asked()  # of taps that want to be told of everything


class KeySample(Asked):
    """One candidate key of one worker."""

    __slots__ = (
        "_clock",
        "_events",
        "_light",
        "_light_ns",
        "_replayed",
        "_runs",
        "blind_ns",
        "columns",
        "level",
        "limit",
        "table",
    )

    def __init__(self, table: str, columns: tuple[str, ...], clock: Callable[[], int]) -> None:
        super().__init__()
        self.table = table
        self.columns = columns
        self.level = 0
        self.limit = 1 << 32  # hashes below it are of the sample of keys
        self.blind_ns = -BLIND_NS
        self._clock = clock
        self._light_ns = 0  # when answers are served again after a write without a key
        self._begin()

    def _begin(self) -> None:
        self._events: list[list[int]] = []  # as in KeyEvent
        self._runs: dict[int, list[int]] = {}  # by key: reads of the same answer, which may go on
        self._light: dict[int, int] = {}  # by key: when its answers are served again after a write
        self._replayed = 0

    def keep(self, key: int, kind: int, answer: int, counted: bool) -> None:
        """A statement of one of the samples."""
        events = self._events
        now = self._clock()
        if counted:
            events.append([now, key, 0, kind | COUNTED, 1, 0])
        if key < self.limit:
            self._replay(now, key, kind | REPLAYED, answer)
        if len(events) > MAX_EVENTS:
            self._thin_out()

    def _replay(self, now: int, key: int, kind: int, answer: int) -> None:
        if kind & WRITE:
            self._runs.pop(key, None)
            self._light[key] = now + SHADOW_NS
        elif kind & CACHEABLE:
            self._replayed += 1
            run = self._runs.get(key)
            if (
                run is not None
                and run[_ANSWER] == answer
                and not run[_AT] < max(self._light.get(key, 0), self._light_ns) <= now
            ):
                run[_N] += 1
                run[_UNTIL] = now
                return
            self._runs[key] = run = [now, key, answer, kind, 1, now]
            self._events.append(run)
            return
        self._events.append([now, key, 0, kind, 1, 0])

    def blind(self) -> None:
        """A write that does not say which key of this it touches."""
        now = self._clock()
        if now - self.blind_ns >= BLIND_NS:
            self.blind_ns = now
            self._runs.clear()
            self._light_ns = now + SHADOW_NS
            self._events.append([now, 0, 0, BLIND, 1, 0])

    def _thin_out(self) -> None:
        """Look at half the keys, and at half the statements, from now on; what was seen already is as if always so."""
        self._look_at_fewer()
        self.mask = self.mask << 1 | 1
        kept = []
        for event in self._events:
            if event[_KIND] & COUNTED:
                if random.getrandbits(1):
                    kept.append(event)
            elif event[_KIND] & BLIND or event[_KEY] < self.limit:
                kept.append(event)
        self._events = kept[-MAX_EVENTS // 2 :]  # few keys that are written very often: the newest of it
        self._runs = {}

    def _look_at_fewer(self) -> None:
        if self.level < MAX_LEVEL:
            self.level += 1
            self.limit >>= 1
            self.beyond = (1 << 32) - self.limit

    def take(self) -> KeyWindow | None:
        if not self._events:
            return None
        window = KeyWindow(
            self.table, self.columns, self.level, self.mask + 1, [KeyEvent(*event) for event in self._events]
        )
        counted = sum(1 for event in self._events if event[_KIND] & COUNTED)
        if counted > 2 * WANTED:
            self.mask = self.mask << 1 | 1
        elif counted < WANTED // 4:
            self.mask >>= 1
        if self._replayed > MAX_REPLAYED:
            self._look_at_fewer()
        self._begin()
        return window


class Tap(ABC):
    """Where statements of one shape have the value of one candidate key: told of each, with its literals (and what is
    bound to it behind them). Whoever has very many of them asks first whether that is in vain:

        sample = tap.sample
        if not session.began & sample.mask or not sample.is_beyond(literals[tap.place]):
            tap(session, literals)
    """

    __slots__ = ("place", "sample")

    def __init__(self, sample: Asked, place: int) -> None:
        self.sample = sample
        self.place = place  # of the value, among the literals

    @abstractmethod
    def __call__(self, session: InTransaction, literals: Sequence[bytes]) -> None: ...

    @abstractmethod
    def beside(self, session: InTransaction, literals: Sequence[bytes], nulls: AbstractSet[int]) -> None:
        """The same where the values in some places are NULL: no row has such a key, or a new one that nobody knows."""


class _Several(Tap):
    """A shape with several candidate keys, or one that writes: `each` grows with the candidate keys of its tables."""

    __slots__ = ("each",)

    def __init__(self, each: list[Tap]) -> None:
        super().__init__(ALWAYS, 0)
        self.each = each

    def __call__(self, session: InTransaction, literals: Sequence[bytes]) -> None:
        began = session.began
        for tap in self.each:
            sample = tap.sample
            if not began & sample.mask or not sample.is_beyond(literals[tap.place]):
                tap(session, literals)

    def beside(self, session: InTransaction, literals: Sequence[bytes], nulls: AbstractSet[int]) -> None:
        for tap in self.each:
            tap.beside(session, literals, nulls)


class _KeyTap(Tap):
    """The candidate key is one column or several."""

    __slots__ = ("_kind", "_of", "_places", "_salt")

    def __init__(self, sample: KeySample, places: tuple[int, ...], kind: int, salt: int) -> None:
        super().__init__(sample if len(places) == 1 else ALWAYS, places[0])
        self._of = sample
        self._places = places
        self._kind = kind
        self._salt = salt

    def __call__(self, session: InTransaction, literals: Sequence[bytes]) -> None:
        sample, places = self._of, self._places
        key = key_hash(literals[places[0]] if len(places) == 1 else HOLE.join([literals[place] for place in places]))
        if key < sample.limit or not session.began & sample.mask:
            _keep(sample, key, self._kind, self._salt, session, literals)

    def beside(self, session: InTransaction, literals: Sequence[bytes], nulls: AbstractSet[int]) -> None:
        if nulls.isdisjoint(self._places):
            self(session, literals)


class _BlindTap(Tap):
    """A shape that writes to the table and does not say which key."""

    __slots__ = ("_of",)

    def __init__(self, sample: KeySample) -> None:
        super().__init__(ALWAYS, 0)
        self._of = sample

    def __call__(self, session: InTransaction, literals: Sequence[bytes]) -> None:
        self._of.blind()

    def beside(self, session: InTransaction, literals: Sequence[bytes], nulls: AbstractSet[int]) -> None:
        self._of.blind()


def _keep(sample: KeySample, key: int, kind: int, salt: int, session: InTransaction, literals: Sequence[bytes]) -> None:
    answer = 0
    if kind & CACHEABLE:
        if session.in_transaction or not session.autocommit:
            kind &= ~CACHEABLE
        else:
            answer = _crc32(HOLE.join(literals), salt)
    sample.keep(key, kind, answer, not session.began & sample.mask)


class _Writer:
    """A shape that writes to a table, and its taps: for each candidate key of the table one."""

    __slots__ = ("holes", "taps", "write")

    def __init__(self, write: Write, taps: list[Tap], holes: int) -> None:
        self.write = write
        self.taps = taps
        self.holes = holes  # literals of the shape


class KeySampler:
    """All candidate keys of one worker, and which tables its transactions touch together. `clock` gives nanoseconds
    that are comparable between workers."""

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock = clock
        self._samples: dict[tuple[str, tuple[str, ...]], KeySample] = {}
        self._writers: dict[str, list[_Writer]] = {}
        self._together: dict[tuple[str, ...], int] = {}
        self._transactions = 0

    def tap(
        self, statement: Statement, shape: bytes, database: str | None, columns_of: ColumnsOf = lambda _, __: None
    ) -> Tap | None:
        """What is to be told of each statement of a shape; None: nothing."""
        reads, writes = keys_of(statement, database, columns_of)
        if not reads and not writes:
            return None
        holes = shape.count(HOLE)
        salt = _crc32(shape)
        taps: list[Tap] = []
        for read in reads[:MAX_TAPS]:
            sample = self._sample(read.table, read.columns)
            if sample is not None:
                places = tuple(_number(place, holes) for place in read.places)
                taps.append(_KeyTap(sample, places, CACHEABLE if read.cacheable else 0, salt))
        for write in writes:
            writer = _Writer(write, taps, holes)
            known = self._writers.setdefault(write.table, []) if len(self._writers) < 10 * MAX_CANDIDATES else []
            if len(known) >= MAX_WRITERS:
                del known[0]
            known.append(writer)
            for (table, _), sample in self._samples.items():
                if table == write.table:
                    _add_write(writer, sample)
        if len(taps) == 1 and not writes:
            return taps[0]
        return _Several(taps) if taps or writes else None

    def _sample(self, table: str, columns: tuple[str, ...]) -> KeySample | None:
        found = self._samples.get((table, columns))
        if found is None and len(self._samples) < MAX_CANDIDATES:
            found = self._samples[table, columns] = KeySample(table, columns, self._clock)
            for writer in self._writers.get(table, ()):
                _add_write(writer, found)
        return found

    # -- transactions ----------------------------------------------------------------------------------------------

    def follows_next(self) -> bool:
        """Is the transaction that begins one of the sample?"""
        self._transactions += 1
        return self._transactions % TRANSACTIONS == 0

    def ended(self, tables: Iterable[Sequence[str]]) -> None:
        """A transaction of the sample has ended, whose statements were about these tables."""
        every = sorted({name for each in tables for name in each})
        if not every:
            return
        together = tuple(every[:16])
        if together in self._together or len(self._together) < MAX_TOGETHER:
            self._together[together] = self._together.get(together, 0) + TRANSACTIONS

    # -- handing on ------------------------------------------------------------------------------------------------

    def take(self) -> tuple[list[KeyWindow], list[tuple[tuple[str, ...], int]]]:
        """What was seen since the last call."""
        windows = [window for sample in self._samples.values() if (window := sample.take()) is not None]
        together, self._together = list(self._together.items()), {}
        return windows, together


def _number(place: object, holes: int) -> int:
    """Where a value is among literals and, behind them, parameters."""
    index: int = place.index  # type: ignore[attr-defined]
    return index if isinstance(place, Hole) else holes + index


def _add_write(writer: _Writer, sample: KeySample) -> None:
    write = writer.write
    places = [write.places.get(column) for column in sample.columns]
    if all(place is not None for place in places):
        numbers = tuple(_number(place, writer.holes) for place in places)
        writer.taps.append(_KeyTap(sample, numbers, WRITE, 0))
    elif not write.inserts:
        writer.taps.append(_BlindTap(sample))
