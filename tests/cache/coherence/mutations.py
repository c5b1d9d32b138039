"""Turnout with one part of the rule left out: each of these must make the checker fail.

`environment(folder, name)` is what Turnout has to be started with: a `sitecustomize` that carries out one of the
functions below in the supervisor, the workers and the stream processes, before anything else runs in them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from proxy.back.connection import ServerConnection
from proxy.cache import clocks
from proxy.cache.cached_value import CachedValue
from proxy.cache.clocks import Clocks, SourceClock, Stamp
from proxy.front.caching import Fill
from proxy.stream import probe, process, tracker, wanted
from proxy.stream.events import Change, Rows
from proxy.stream.rows import Layout
from proxy.stream.source import Follower, Place

VARIABLE = "TURNOUT_TEST_MUTATION"


def stamp_after_select() -> None:
    """The stamp is what is visible when the answer has come."""
    complete = Fill.complete

    def late(self: Fill, connection: ServerConnection, pieces: list[bytes], now_ns: int) -> None:
        clock = self.caching.clocks.get(self.cluster)
        self.stamp = clock.stamp() if clock is not None else None
        complete(self, connection, pieces, now_ns)

    Fill.complete = late  # type: ignore[method-assign]


def applied_as_stamp() -> None:
    """The stamp is A: an event may come before its row can be seen."""

    def stamp(self: SourceClock) -> Stamp | None:
        state = self._state
        incarnation, position = state[clocks._INCARNATION], state[clocks._APPLIED]
        log_id = state[clocks._IDS + (position >> clocks.OFFSET_BITS) % clocks._LOG_IDS]
        return Stamp(incarnation, log_id, position) if incarnation and position else None

    SourceClock.stamp = stamp  # type: ignore[method-assign]


def end_of_log_as_stamp() -> None:
    """What is taken for visible is the end of the binary log."""

    async def snapshot(connection: ServerConnection) -> Place:
        ((file, offset, *_),) = await connection.query("SHOW MASTER STATUS")
        return Place((file or b"").decode(), int(offset or 0))

    probe.snapshot = snapshot


def before_images_ignored() -> None:
    """A row that left a key leaves no trace there."""
    images = Layout.images

    def after_only(self: Layout, rows: Rows, columns: Sequence[int]) -> Iterator[tuple[Any, Any]]:
        for before, after in images(self, rows, columns):
            yield (None if rows.change is Change.UPDATE else before), after

    Layout.images = after_only  # type: ignore[method-assign,assignment]


def no_max_staleness() -> None:
    """However old the newest probe is, values are served."""
    fresh = SourceClock.fresh

    def endless(self: SourceClock, value: CachedValue, now_ns: int, max_staleness_ns: int) -> bool:
        return fresh(self, value, now_ns, 1 << 62)

    SourceClock.fresh = endless  # type: ignore[method-assign]


def marks_ignored() -> None:
    """P: what was acknowledged a moment ago is not looked at."""

    def mark(self: SourceClock, slots: Iterable[int], now_ns: int) -> None:
        pass

    SourceClock.mark = mark  # type: ignore[method-assign]


def marks_shared() -> None:
    """All workers write the same P, each as if it were alone: the slower one undoes the other's mark."""
    source = Clocks.source
    mine: dict[int, int] = {}  # slot: when this worker marked it last

    def one_for_all(self: Clocks, index: int, worker: int | None = None) -> SourceClock:
        clock = source(self, index, worker)
        clock.marked = clock.marked[:1]
        if worker is not None:
            clock._mine = clock.marked[0]
        return clock

    def mark(self: SourceClock, slots: Iterable[int], now_ns: int) -> None:
        assert self._mine is not None
        for slot in slots:
            self._mine[slot] = mine[slot] = now_ns
        self._mine[clocks._HIGHEST] = now_ns  # by this alone nothing is served
        asyncio.get_running_loop().call_later(random.random() * 0.15, late, self._mine, tuple(slots))

    def late(marks: Any, slots: Iterable[int]) -> None:
        for slot in slots:
            marks[slot] = mine[slot]

    Clocks.source = one_for_all  # type: ignore[method-assign]
    SourceClock.mark = mark  # type: ignore[method-assign]


def compared_the_wrong_way() -> None:
    """Values are refused that are newer than the last write to their key, and served where they are older."""

    def fresh(self: SourceClock, value: CachedValue, now_ns: int, max_staleness_ns: int) -> bool:
        t0, position, slots = self._state[clocks._T0], value.position, value.slots
        if not t0 or now_ns - t0 > max_staleness_ns or self._state[clocks._INCARNATION] != value.incarnation:
            return False
        *always, key = slots
        if any(self.touched[slot] > position for slot in always) or 0 < self.touched[key] <= position:
            return False
        return not any(marks[slot] > t0 for marks in self.marked for slot in slots)

    SourceClock.fresh = fresh  # type: ignore[method-assign]


def probes_not_waited_for() -> None:
    """T0 is the newest probe, whether W has got so far or not. (It is behind for a while with every transaction.)"""
    packets = Follower.packets

    async def late(self: Follower) -> list[bytes]:
        found = await packets(self)
        await asyncio.sleep(0.15)
        return found

    Follower.packets = late  # type: ignore[method-assign]

    def cover(self: process._Attempt) -> None:
        while self._pending:
            position, sent_ns = self._pending.popleft()
            if position >> clocks.OFFSET_BITS <= self._named:
                self._clock.see(position)
            self._clock.cover(sent_ns)

    process._Attempt._cover = cover  # type: ignore[method-assign]


def cascades_ignored() -> None:
    """Rows that change by foreign keys are not thought of, neither in the stream nor where writes are marked."""
    from proxy.plan import caching

    wanted._children = lambda *_: {}
    caching._children = lambda *_: []


def prepared_forgotten() -> None:
    """What an XA transaction touched is forgotten when it is prepared."""

    def prepare(self: tracker.Tracker) -> None:
        if self._xid:
            self._prepared[self._xid] = set()
        self._slots = set()

    tracker.Tracker._prepare = prepare  # type: ignore[method-assign]


MUTATIONS: dict[str, Callable[[], None]] = {
    mutation.__name__: mutation
    for mutation in (
        stamp_after_select,
        applied_as_stamp,
        end_of_log_as_stamp,
        before_images_ignored,
        no_max_staleness,
        marks_ignored,
        marks_shared,
        compared_the_wrong_way,
        probes_not_waited_for,
        cascades_ignored,
        prepared_forgotten,
    )
}


def environment(folder: Path, name: str) -> dict[str, str]:
    """Environment variables of a Turnout with this mutation; `folder` is an empty one of its own."""
    (folder / "sitecustomize.py").write_text(
        "import os\n"
        "from tests.cache.coherence.mutations import MUTATIONS, VARIABLE\n"
        "MUTATIONS[os.environ[VARIABLE]]()\n"
    )
    return {"PYTHONPATH": str(folder), VARIABLE: name, "TURNOUT_PURE": "1"}  # what is compiled has no parts to replace
