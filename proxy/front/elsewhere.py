"""A read whose answer may be elsewhere: on its way to another session of this worker, in memcached, or on its way to
another worker.

No task is made: each step is called by what it waited for, and the last one answers from memory or has the server
asked. The statement may end in between (KILL QUERY, the client goes): the session's fill is then no longer this one's,
and whatever comes is not looked at.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from proxy.cache.cached_value import CachedValue, memory_of
from proxy.cache.memcached import Told
from proxy.front.caching import Fill, judge, waiting_pays

if TYPE_CHECKING:
    from proxy.front.session import Session

_now = time.perf_counter_ns
_FLIGHT_WAIT_S = 1.0  # how long a read waits for another session's answer to the same statement
_LEASE_WAIT_S = 0.06  # at most, for another worker's
_LEASE_POLLS = (0.15, 0.15, 0.2, 0.2, 0.3)  # when memcached is asked for it meanwhile, in parts of the time
_WORTH_A_LEASE_NS = 2_000_000  # a server that is quicker than that is asked sooner than memcached


def look(session: Session, ask: Callable[[], None]) -> None:
    """Answer the read under way from what is elsewhere, else have it sent to its server by `ask`."""
    fill = session.fill
    assert fill is not None
    session.busy = session.waiting = True  # KILL QUERY ends it
    search = _Search(session, fill, ask)
    if fill.follows is not None:
        search.follow(fill.follows)
    else:
        search.begin()


_P = ParamSpec("_P")


def _step(method: Callable[Concatenate[_Search, _P], None]) -> Callable[Concatenate[_Search, _P], None]:
    """What is called by others, who have better things to do than to see our errors. Nothing is done where the
    statement has ended otherwise."""

    def step(self: _Search, /, *args: _P.args, **named: _P.kwargs) -> None:
        session = self.session
        if session.fill is not self.fill:
            return
        try:
            method(self, *args, **named)
        except Exception as error:
            session.waiting = False
            session.fail(session.client.listener.unexpected(error))

    return step


class _Search:
    """One such read."""

    __slots__ = ("_ask", "_polls", "_timer", "_wait_s", "fill", "session")

    def __init__(self, session: Session, fill: Fill, ask: Callable[[], None]) -> None:
        self.session = session
        self.fill = fill
        self._ask = ask
        self._timer: asyncio.TimerHandle | None = None
        self._polls: Iterator[float] = iter(())
        self._wait_s = 0.0

    # -- another session's answer ------------------------------------------------------------------------------------

    def follow(self, landing: asyncio.Future[None]) -> None:
        self.fill.entry.cache_stats.waits += 1
        self._later(_FLIGHT_WAIT_S, self._landed)
        landing.add_done_callback(self._landed)

    @_step
    def _landed(self, _: object = None) -> None:
        """It is there, or will not come, or has not come in time."""
        fill = self.fill
        if fill.follows is None:
            return
        fill.follows = None
        caching = fill.caching
        value = caching.store.peek(fill.key)
        if value is not None and judge(caching, fill.entry, fill.cluster, value, _now()):
            fill.entry.cache_stats.hits_local += 1
            self._end(value)
        else:
            self._end(None)

    # -- memcached's -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        if not self._fetch(self._fetched):
            self._not_found()

    def _fetch(self, told: Told) -> bool:
        fill = self.fill
        remote, key = fill.caching.store.remote, fill.remote_key
        return remote is not None and key is not None and remote.ask(key, told)

    def _fetched(self, item: bytes | None) -> None:
        """The way of most of the answers that memcached has: `_step` at less expense."""
        session = self.session
        if session.fill is not self.fill:
            return
        try:
            value = self._good(item)
            if value is not None:
                self._found(value)
            else:
                self._missed()
        except Exception as error:
            session.waiting = False
            session.fail(session.client.listener.unexpected(error))

    def _missed(self) -> None:
        fill = self.fill
        known_ns = fill.entry.cache_fill_ns
        if (
            (known_ns is None or known_ns >= _WORTH_A_LEASE_NS)
            and fill.remote_key is not None
            and waiting_pays(fill)
            and fill.caching.store.lease(fill.remote_key, self._leased)
        ):
            return
        self._not_found()

    def _good(self, item: bytes | None) -> CachedValue | None:
        """The value, if it may be served now."""
        if item is None:
            return None
        fill = self.fill
        caching, cluster = fill.caching, fill.cluster
        clock, key = caching.clocks.get(cluster), fill.remote_key
        if clock is None or key is None:
            return None
        value = caching.store.read(key, fill.slots, clock.adopt, item)
        return value if value is not None and judge(caching, fill.entry, cluster, value, _now()) else None

    def _found(self, value: CachedValue) -> None:
        """This worker keeps it."""
        fill = self.fill
        entry, key = fill.entry, fill.key
        entry.cache_worth.asked(True)
        entry.cache_stats.hits_memcached += 1
        value.size_bytes = memory_of(len(value.response), value.slots, key[3])
        fill.caching.keep(key, value)
        self._end(value)

    def _not_found(self) -> None:
        self.fill.entry.cache_worth.asked(False)
        self._end(None)

    # -- another worker's --------------------------------------------------------------------------------------------

    @_step
    def _leased(self, got: bool | None) -> None:
        """Of all workers that miss an answer one asks the server. It has the lease when that is done, or it did not pay
        to wait for another's answer, or that did not come in time: then there are several, and no harm."""
        fill = self.fill
        if got is not False:
            fill.leased = bool(got)
            self._not_found()
            return
        fill.entry.cache_stats.lease_waits += 1
        known_ns = fill.entry.cache_fill_ns
        self._wait_s = _LEASE_WAIT_S if known_ns is None else min(_LEASE_WAIT_S, 2e-9 * known_ns)
        self._polls = iter(_LEASE_POLLS)
        self._pause()

    def _pause(self) -> None:
        part = next(self._polls, None)
        if part is None:
            self._not_found()
        else:
            self._later(part * self._wait_s, self._poll)

    @_step
    def _poll(self) -> None:
        if not self._fetch(self._polled):
            self._not_found()

    @_step
    def _polled(self, item: bytes | None) -> None:
        value = self._good(item)
        if value is not None:
            self.fill.entry.cache_stats.lease_hits += 1
            self._found(value)
        elif waiting_pays(self.fill):
            self._pause()
        else:
            self._not_found()

    # -- the end -----------------------------------------------------------------------------------------------------

    def _later(self, delay_s: float, step: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, step)

    def _end(self, value: CachedValue | None) -> None:
        """Nothing else is waited for."""
        session, fill = self.session, self.fill
        if self._timer is not None:
            self._timer.cancel()
        session.waiting = False
        if value is not None and (session.guard is None or session.guard.holds()):
            session.fill = None
            fill.landed()
            session.answer_cached(value)
            session.busy = False
            session.client.next_command()
            return
        fill.entry.cache_stats.misses += 1
        self._stamp()
        self._ask()

    def _stamp(self) -> None:
        """The newest stamp that is still older than the SELECT."""
        fill = self.fill
        clock = fill.clock
        if fill.stamp is not None:
            fill.stamp = clock.stamp() if clock is not None else None
            if clock is None or fill.stamp is None or not clock.follows(fill.fingerprint):
                self.session.not_filled()
        fill.asked_ns = _now()
