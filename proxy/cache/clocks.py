"""The shared clocks: how workers know, without asking anybody, whether a cached value is still what the server has.

One file in memory (memfd) is mapped by the supervisor, all workers and all stream processes of a host. It has a page of
header (magic, workers, sources, slots) and for every *source*, a cluster whose binary log is followed, 64-bit words:

    state         one page, see below                                                   written by the stream process
    W[slot]       position of the last transaction that touched a tag of that slot      written by the stream process
    P[w][slot]    when worker w relayed the OK of a write to such a tag (monotonic ns)  written by worker w

W and each P end with a page whose first word is at least the highest of all the others: it is stored before them, and a
reader for whom it is not too high needs no other. The state is:

    state[0]      incarnation: changes when positions begin anew; 0: the source is not followed
    state[1..3]   floor: followed from here; A: applied to W up to here; V: newest position known to be visible
    state[4]      T0: send time (monotonic ns) of the newest probe whose position A has reached; 0: none
    state[5]      incarnation that may be resumed; 0: none
    state[6..7]   fingerprint of the cache classes that the stream process collects keys for, 0: none; and since when
    state[8]      how often a statement was seen that may have changed definitions
    state[64..]   ids of the last 64 files of the log, by file number modulo 64
    state[192]    the one replication domain of the log (MariaDB), plus one; 0: there is none, or more than one
    state[193]    how many of the following were ever written; then the last 64 of them, by number modulo 64:
    state[194..]  position, sequence number of the transaction that ends there: for stamps of replicas' answers
    state[128..]  why the source is not followed, for people: length in bytes, UTF-8 text

A *position* is `file number << 40 | offset in the file`.

Nobody takes a lock. Every word has one writer: of two processes that could write the same P, the slower would undo the
other's mark, so a worker's number is given to one living process at a time. A worker that dies leaves its P to its
successor, which goes on with it and never clears it: what was acknowledged stays acknowledged. Words are aligned, and
CPython (memoryview and struct) copies them with an 8-byte `memcpy`, which compilers make one load or store: a reader
gets an old or a new word, never half of each (x86-64 and ARMv8 alike). Between two words only their order counts:

1. W, A, T0. The stream process stores all W of a transaction, then A, then T0; `fresh` loads T0, then W. On x86 stores
   become visible in their order and loads are done in theirs, so whoever sees T0 sees its W. CPython adds no barrier
   between bytecodes, so elsewhere (ARM) both may be reordered; there T0 is stored `SETTLES_NS` or more after its W (see
   `proxy.stream.probe`). That is thousands of times what a processor reorders without entering the kernel, and a
   context switch is a full barrier.
2. A, V. `stamp` gives the lower of the two: V alone may be ahead of W, and then of a change of classes, too (`follow`).
3. T0, P. A worker stores P before it sends the OK; whoever has seen that OK (or was told of it) got to know through the
   kernel, which orders the P before. `fresh` compares it with the T0 it loaded first: a later T0 only allows more.
4. incarnation, A, V, file id, and incarnation and W: read between two loads of the incarnation that must agree.
   The writer sets it to 0, then changes what belongs to it, then sets it anew, with `SETTLES_NS` of sleep in between;
   an incarnation is never used twice.

A stream process that is killed anywhere leaves W, A and T0 such that each is at most too old: W may be ahead of A, and
its transactions are touched again with the same positions when A is where its successor goes on. One that is killed in
`begin` leaves nothing to resume.
"""

from __future__ import annotations

import mmap
import os
import platform
import secrets
import struct
import time
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from proxy.back.tags import SLOTS
from proxy.cache.cached_value import CachedValue

MAGIC = 0x5455524E4F555401
OFFSET_BITS = 40
MAX_SOURCES = 64
_LOG_IDS = 64
_WORD = 8
_HEADER_WORDS = 512  # one page
_STATE_WORDS = 512
_HIGHEST = SLOTS  # in W and P, after the slots
_ARRAY_WORDS = SLOTS + 512
_INCARNATION, _FLOOR, _APPLIED, _VISIBLE, _T0, _LAST, _FINGERPRINT, _SINCE, _DEFINITIONS = range(9)
_IDS, _REASON = 64, 128
_REASON_WORDS = 64
_DOMAIN, _MARKED, _MARKERS = 192, 193, 194
_MARKERS_KEPT = 64

SETTLES_NS = 1_000_000  # after that long a store has been seen by all processors, and loads before it are over
ORDERED = platform.machine() in ("x86_64", "AMD64")  # stores are seen in their order without any waiting


def position_of(file_number: int, offset: int) -> int:
    """The position of an offset in a file of the log."""
    return file_number << OFFSET_BITS | offset


def new_incarnation() -> int:
    """One that was never used before and never will be."""
    return secrets.randbits(63) | 1 << 63


class Stamp(NamedTuple):
    """What a fill takes before its SELECT is sent: a position that was visible on the primary."""

    incarnation: int
    log_id: int
    position: int


_stamp = partial(tuple.__new__, Stamp)  # what Stamp() does, at a third of its price
_first_four = struct.Struct("@4Q").unpack_from  # of the state, each word by a load of its own


class Clocks:
    """The mapped file. `workers` is how many P arrays every source has."""

    __slots__ = ("_map", "_words", "fd", "sources", "workers")

    def __init__(self, fd: int, workers: int, sources: int) -> None:
        self.fd = fd
        self.workers = workers
        self.sources = sources
        self._map = mmap.mmap(fd, 0)
        self._words = memoryview(self._map).cast("Q")

    @classmethod
    def create(cls, workers: int, sources: int = MAX_SOURCES) -> Clocks:
        """A new file of zeros: sparse, so that memory is used only where something was written."""
        fd = os.memfd_create("turnout-clocks", os.MFD_CLOEXEC)
        os.ftruncate(fd, _WORD * (_HEADER_WORDS + sources * _source_words(workers)))
        clocks = cls(fd, workers, sources)
        clocks._words[1] = workers
        clocks._words[2] = sources
        clocks._words[3] = SLOTS
        clocks._words[0] = MAGIC
        return clocks

    @classmethod
    def open(cls, fd: int) -> Clocks:
        """The file of another process. Raises ValueError when it is none."""
        head = memoryview(os.pread(fd, 4 * _WORD, 0)).cast("Q")
        if len(head) < 4 or head[0] != MAGIC or head[3] != SLOTS:
            raise ValueError("the clocks have another format: were processes of two versions started together?")
        return cls(fd, head[1], head[2])

    def source(self, index: int, worker: int | None = None) -> SourceClock:
        """The clock of one source, for the worker of this number, or for reading and the stream process."""
        if not 0 <= index < self.sources:
            raise ValueError(f"there are only {self.sources} sources")
        start = _HEADER_WORDS + index * _source_words(self.workers)
        state = self._words[start : start + _STATE_WORDS]
        start += _STATE_WORDS
        w, *p = (self._words[start + n * _ARRAY_WORDS :][:_ARRAY_WORDS] for n in range(1 + self.workers))
        return SourceClock(state, w, tuple(p), p[worker] if worker is not None else None)


def _source_words(workers: int) -> int:
    return _STATE_WORDS + _ARRAY_WORDS * (1 + workers)


class SourceClock:
    """The words of one source. Times are `time.perf_counter_ns()` (CLOCK_MONOTONIC, the same in all processes)."""

    __slots__ = ("_mine", "_stamped", "_state", "marked", "touched")

    def __init__(self, state: memoryview, w: memoryview, p: tuple[memoryview, ...], mine: memoryview | None) -> None:
        self._state = state
        self.touched = w
        self.marked = p
        self._mine = mine
        self._stamped: Stamp | None = None  # the newest that was given

    # -- workers -------------------------------------------------------------------------------------------------

    def stamp(self) -> Stamp | None:
        """The stamp for an answer whose SELECT is sent after this; None: the source is not followed. A fill asks
        `follows` after it has its stamp."""
        state = self._state
        incarnation, _, applied, visible = _first_four(state)
        position = visible if visible < applied else applied
        known = self._stamped
        # A position that was visible is so for ever, in its incarnation; and values with one stamp share its numbers.
        if known is not None and position == known[2] and incarnation == known[0]:
            return known
        log_id = state[_IDS + (position >> OFFSET_BITS) % _LOG_IDS]
        if not incarnation or not visible or state[_INCARNATION] != incarnation:
            return None
        known = self._stamped = _stamp((incarnation, log_id, position))
        return known

    def stamp_of_replica(self, domain: int, sequence: int) -> Stamp | None:
        """The stamp for an answer of a replica that has applied its primary's transactions up to this one (MariaDB's
        `domain-server-sequence`) before the SELECT is sent: the newest known position that is not after it."""
        state = self._state
        incarnation = state[_INCARNATION]
        if not incarnation or state[_DOMAIN] != domain + 1:
            return None
        newest = state[_MARKED]
        for number in range(newest - 1, max(newest - _MARKERS_KEPT, 0) - 1, -1):
            at = _MARKERS + number % _MARKERS_KEPT * 2
            position = state[at]
            if position and state[at + 1] <= sequence and state[at] == position:
                if position + 1 == state[_SINCE]:
                    position += 1  # see `follow`; `follows` is asked after this
                log_id = state[_IDS + (position >> OFFSET_BITS) % _LOG_IDS]
                known = state[_DOMAIN] == domain + 1 and state[_INCARNATION] == incarnation
                return Stamp(incarnation, log_id, position) if known else None
        return None

    def follows(self, fingerprint: int) -> bool:
        """Whether the stream process collects the keys of these classes (`proxy.stream.wanted.fingerprint`). A worker
        whose rules or catalog say otherwise keeps no answers, and marks everything instead of keys."""
        return bool(self._state[_FINGERPRINT] == fingerprint)

    def fresh(self, value: CachedValue, now_ns: int, max_staleness_ns: int) -> bool:
        """The hit rule (docs/CACHE.md): may this value be served to a read that began at `now_ns`?"""
        state = self._state
        incarnation = value.incarnation
        t0 = state[_T0]  # before W and P: what it covers is in them
        if not t0 or now_ns - t0 > max_staleness_ns or state[_INCARNATION] != incarnation:
            return False
        touched, position = self.touched, value.position
        if touched[_HIGHEST] > position:  # otherwise its slots, which may be far away in memory, are not looked at
            for slot in value.slots:
                if touched[slot] > position:
                    return False
        for marks in self.marked:
            if marks[_HIGHEST] > t0:
                for slot in value.slots:
                    if marks[slot] > t0:
                        return False
        return incarnation != 0 and bool(state[_INCARNATION] == incarnation)  # W was not made anew meanwhile

    def refusal(self, value: CachedValue, now_ns: int, max_staleness_ns: int) -> str:
        """Why `fresh` said no, for the metrics."""
        state = self._state
        if not state[_INCARNATION] or state[_INCARNATION] != value.incarnation:
            return "stream"
        t0 = state[_T0]
        if not t0 or now_ns - t0 > max_staleness_ns:
            return "stale-clock"
        if any(self.touched[slot] > value.position for slot in value.slots):
            return "written"
        return "being-written"

    def adopt(self, log_id: int, position: int) -> int | None:
        """The incarnation here of a stamp from another process or host; None: it cannot be compared with W."""
        state = self._state
        incarnation = state[_INCARNATION]
        known = state[_IDS + (position >> OFFSET_BITS) % _LOG_IDS] == log_id
        if not incarnation or not log_id or not known or position < state[_FLOOR]:
            return None
        return incarnation if state[_INCARNATION] == incarnation else None

    def mark(self, slots: Iterable[int], now_ns: int) -> None:
        """A write to these tags is about to be acknowledged by this worker. Marks never go back."""
        mine = self._mine
        assert mine is not None, "only workers mark"
        if mine[_HIGHEST] < now_ns:
            mine[_HIGHEST] = now_ns
        for slot in slots:
            if mine[slot] < now_ns:
                mine[slot] = now_ns

    @property
    def definitions(self) -> int:
        """Changes whenever the stream has seen a statement that may have changed definitions: what was read before is
        not to be relied on, even where it looks the same."""
        return int(self._state[_DEFINITIONS])

    # -- the stream process --------------------------------------------------------------------------------------

    @property
    def incarnation(self) -> int:
        return int(self._state[_INCARNATION])

    @property
    def resumable(self) -> int:
        """The incarnation that `resume` would go on with; 0: there is none, only `begin` helps."""
        return int(self._state[_LAST])

    @property
    def reason(self) -> str:
        """Why the source is not followed; "" where it is."""
        raw = self._state[_REASON : _REASON + _REASON_WORDS].tobytes()
        if self._state[_INCARNATION]:
            return ""
        return raw[_WORD : _WORD + int.from_bytes(raw[:_WORD], "little")].decode("utf-8", "replace")

    @property
    def floor(self) -> int:
        return int(self._state[_FLOOR])

    @property
    def applied(self) -> int:
        """A, where a successor goes on: the end of an event, also after `follow`."""
        position = self._state[_APPLIED]
        return int(position - 1 if position == self._state[_SINCE] else position)

    @property
    def visible(self) -> int:
        return int(self._state[_VISIBLE])

    @property
    def t0(self) -> int:
        return int(self._state[_T0])

    def log_id(self, file_number: int) -> int:
        return int(self._state[_IDS + file_number % _LOG_IDS])

    def begin(self, incarnation: int, floor: int) -> None:
        """Positions begin anew at `floor`: nothing that was stamped before is worth anything. To be followed by
        `name_log` for the floor's file; no stamp is given before the first `see`. Sleeps for two milliseconds."""
        assert incarnation
        state = self._state
        state[_INCARNATION] = 0
        state[_LAST] = 0
        time.sleep(SETTLES_NS / 1e9)  # readers that saw the old incarnation are done with what follows
        state[_T0] = 0
        state[_VISIBLE] = 0
        state[_FINGERPRINT] = 0
        state[_SINCE] = 0
        for number in range(_LOG_IDS):
            state[_IDS + number] = 0
        state[_DOMAIN] = 0
        state[_MARKED] = 0
        state[_FLOOR] = floor
        state[_APPLIED] = floor
        # The old positions may be higher than the new ones, and would refuse for ever.
        self.touched[:] = memoryview(bytes(_ARRAY_WORDS * _WORD)).cast("Q")
        time.sleep(SETTLES_NS / 1e9)
        state[_LAST] = incarnation
        state[_INCARNATION] = incarnation

    def stop(self, reason: str) -> None:
        """Fail closed: no value is served or stamped until `begin` or `resume`."""
        state = self._state
        state[_INCARNATION] = 0
        state[_T0] = 0
        text = reason.encode()[: (_REASON_WORDS - 1) * _WORD]
        raw = len(text).to_bytes(_WORD, "little") + text
        state[_REASON : _REASON + _REASON_WORDS] = memoryview(raw.ljust(_REASON_WORDS * _WORD, b"\0")).cast("Q")

    def resume(self) -> None:
        """Go on with the incarnation that was stopped or left behind: the log is the same and still has what comes
        after A. No value is served before the next probe."""
        state = self._state
        assert state[_LAST]
        state[_T0] = 0
        state[_INCARNATION] = state[_LAST]

    def follow(self, fingerprint: int, changed: Iterable[int]) -> None:
        """From A on the keys of other classes are collected. What was kept until now of tables with the slots `changed`
        is worth nothing: nobody collected what was written to their keys, or will.

        As a server that nobody writes to has no later position than A, one is made up: the byte after A, where no
        transaction ends."""
        state = self._state
        state[_FINGERPRINT] = 0
        since = self.applied + 1
        self.touch(changed, since)
        if not ORDERED:
            time.sleep(SETTLES_NS / 1e9)
        state[_SINCE] = since
        self.apply(since)
        if state[_VISIBLE] == since - 1:
            state[_VISIBLE] = since
        state[_FINGERPRINT] = fingerprint

    def unfollow(self) -> None:
        """Definitions may have changed, and have to be read again before it is known by which ones keys are collected:
        until `follow`, workers keep nothing and mark everything."""
        self._state[_FINGERPRINT] = 0
        self._state[_DEFINITIONS] += 1

    def name_log(self, file_number: int, log_id: int) -> None:
        """The identity of a file of the log, before any position in it is published."""
        self._state[_IDS + file_number % _LOG_IDS] = log_id

    def touch(self, slots: Iterable[int], position: int) -> None:
        """A transaction that ends at `position` touched these tags; to be followed by `apply`."""
        touched = self.touched
        for slot in slots:
            if touched[slot] < position:
                if touched[_HIGHEST] < position:
                    touched[_HIGHEST] = position
                touched[slot] = position

    def apply(self, position: int) -> None:
        """Everything up to `position` is in W."""
        if position > self._state[_APPLIED]:
            self._state[_APPLIED] = position

    def one_domain(self, domain: int | None) -> None:
        """The log's transactions are all of this replication domain, so that a replica which has applied one has
        applied all before it; None: they are not, or it is not known."""
        self._state[_DOMAIN] = 0 if domain is None else domain + 1

    def mark_position(self, position: int, sequence: int) -> None:
        """The transaction with this sequence number ends at `position`, which `apply` was called for. Both ascend."""
        state = self._state
        number = state[_MARKED]
        at = _MARKERS + number % _MARKERS_KEPT * 2
        for place, word in ((at, 0), (at + 1, sequence), (at, position), (_MARKED, number + 1)):
            state[place] = word
            if not ORDERED:
                time.sleep(SETTLES_NS / 1e9)

    def see(self, position: int) -> None:
        """Everything up to `position` is visible on the primary."""
        if position + 1 == self._state[_SINCE]:
            position += 1
        if position > self._state[_VISIBLE]:
            self._state[_VISIBLE] = position

    def cover(self, sent_ns: int) -> None:
        """A has reached the position of the probe that was sent then, at least `SETTLES_NS` ago if not `ORDERED`."""
        if sent_ns > self._state[_T0]:
            self._state[_T0] = sent_ns
