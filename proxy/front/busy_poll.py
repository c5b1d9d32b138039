"""Busy polling: a worker that waits for one client's next statement, or for one answer, stays awake for a moment.

A process that sleeps has to be woken, and its processor with it; on a virtual machine it is the host that wakes that,
which takes 50 us and more. A statement that goes through a proxy pays this twice. So where what is waited for has
lately come within a moment (`_MOST_NS`), the event loop looks for it again and again, and lets whoever else
wants the processor have it between two looks. How long it does is learned as Linux learns how long an idle processor of
a virtual machine polls (drivers/cpuidle/governors/haltpoll.c): twice as long after each wait that was short, half as
long after each that was not, down to nothing. A worker that has little to do sleeps as it would otherwise.

It helps where statements come one after the other. Where several are under way a worker finds work whenever it looks,
and looking more often would take time from their servers and clients: it does not stay awake then (`_REST_NS`). Nor
does it where no processor is idle (`BusyPoll.judge`): it would take the time from others, and lose its turn to them.
`bench/RESULTS.md` has figures.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Final

from proxy.measure.measures import Measures
from proxy.rules.model import BusyPolling

_now = time.perf_counter_ns
_give_way = os.sched_yield

_MOST_NS: Final = 400_000  # that it stays awake for one event
_FIRST_NS: Final = 50_000  # what is tried first, after a short wait
_HANDLED_NS: Final = 15_000  # a turn of the event loop that takes longer had something to do
_LONG_NS: Final = 1_000_000  # giving way for longer than this was of no use
_MOST_TURNS: Final = 1_000  # for one event, whatever the clock says; a turn takes a microsecond or more
_TURNS: Final = 32  # of which is counted how many had something to do
_REST_NS: Final = 100_000_000  # nothing is tried for so long while it is of no use
_IDLE: Final = 0.1  # processors that have to be left idle while this stays awake ..
_IDLE_BEFORE: Final = 0.3  # .. and before it does
_MUCH_NS: Final = 100_000_000  # of staying awake, in a second
_SECOND: Final = 1_000_000_000
_LONGEST_S: Final = 64  # of resting before it is tried again, in seconds, where that was a mistake


def _learned(window: int, in_time: bool, waited: int) -> int:
    """How long it is to stay awake the next time for what was `waited` for now (ns). `window`: how long this time;
    `in_time`: it came within that."""
    if in_time:
        return window
    if waited > _MOST_NS:
        return window >> 1 if window >= 2 * _FIRST_NS else 0
    return min(max(2 * window, _FIRST_NS), _MOST_NS)


class BusyPoll:
    """Of one event loop. Times are those of `time.perf_counter_ns`."""

    __slots__ = (
        "_every",
        "_for_clients",
        "_for_servers",
        "_handled",
        "_judged",
        "_last",
        "_left",
        "_loop",
        "_measures",
        "_mistaken_s",
        "_polls",
        "_rests",
        "_scatters",
        "_since",
        "_turns",
        "_until",
        "_waits",
    )

    def __init__(self, measures: Measures) -> None:
        self._measures = measures
        self._every = False
        self._scatters = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._for_clients = 0  # how long it stays awake at present for the next statement ..
        self._for_servers = 0  # .. and for an answer
        self._polls = False  # is it awake, with nothing to do?
        self._until = 0  # when it may sleep
        self._since = 0  # when it began to wait
        self._rests = 0  # until when nothing is tried
        self._waits = False  # has a statement been sent that is not answered?
        self._last = 0  # when the last turn of the loop ended
        self._left = 0  # turns until it may
        self._turns = 0
        self._handled = 0
        self._judged = 0  # how much had been spent when it was judged last
        self._mistaken_s = 0  # how long it rests since it took time from others; 0: it did not

    def stay_for(self, which: BusyPolling) -> None:
        """These statements, from now on."""
        self._every = which is BusyPolling.ALL
        self._scatters = which is not BusyPolling.OFF

    def sent(self, now: int, scatter: bool) -> None:
        """A statement has just gone to its server, or to those of several shards."""
        if self._waits:  # and so had another
            self._rest(now + _REST_NS)
            return
        self._waits = True
        if self._scatters:
            self._for_clients = _learned(self._for_clients, self._in_time, now - self._since)
        # The servers of a scatter may well need all processors there are.
        self._wait(now, self._for_servers if self._every and not scatter else 0)

    def answered(self, now: int, scatter: bool) -> None:
        """Its client has just had the answer."""
        waited = self._waits
        self._waits = False
        if self._every or (scatter and self._scatters):
            if waited and not scatter:
                self._for_servers = _learned(self._for_servers, self._in_time, now - self._since)
            self._wait(now, self._for_clients)
        else:
            self._wait(now, 0)

    @property
    def _in_time(self) -> bool:
        return self._polls and self._until > 0

    def is_to_be_judged(self) -> bool:
        """Asked once a second: has it stayed awake since, or would it, had it not been judged?"""
        return self._judged != self._measures.busy_poll_ns or self._mistaken_s > 0

    def judge(self, now: int, idle: float | None) -> None:
        """Once a second. `idle`: how many processors have been since the last time; None: not known."""
        spent = self._measures.busy_poll_ns - self._judged
        self._judged += spent
        if idle is None:
            return
        if spent > _MUCH_NS:
            if idle < _IDLE:
                self._mistaken_s = min(max(1, 2 * self._mistaken_s), _LONGEST_S)
                self._rest(now + self._mistaken_s * _SECOND - _MUCH_NS // 2)
            else:
                self._mistaken_s >>= 1
        elif idle < _IDLE_BEFORE:  # they are busy without it
            self._rest(now + _SECOND + _SECOND // 2)
        elif now > self._rests + _LONGEST_S * _SECOND:
            self._mistaken_s = 0

    def _wait(self, now: int, window: int) -> None:
        self._since = now
        if not window or now < self._rests:
            self._until = 0
            return
        self._until = now + window
        self._left = _MOST_TURNS
        if not self._polls:
            self._polls = True
            self._turns = self._handled = 0
            self._last = now
            self._again()

    def _rest(self, until: int) -> None:
        self._rests = max(self._rests, until)
        self._until = 0

    def _again(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Between this and the next the loop looks at its sockets."""
        now = _now()
        self._left -= 1
        if now >= self._until or self._left < 0:
            self._polls = False
            return
        took = now - self._last
        self._last = now
        self._turns += 1
        if took > _HANDLED_NS:
            self._handled += 1
        else:
            _give_way()
            self._last = _now()
            away = self._last - now
            if away > _LONG_NS:
                self._rest(self._last + 100 * away)
            self._measures.busy_poll_ns += took if away > _HANDLED_NS else took + away  # else others had it
        if self._turns == _TURNS:
            if self._handled > _TURNS // 2:
                self._rest(now + _REST_NS)
            self._turns = self._handled = 0
        self._again()
