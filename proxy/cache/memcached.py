"""Values in memcached: shared between workers and hosts, never trusted to be there, quick, or right.

A worker has one connection to each server, and sends requests without waiting for the replies to earlier ones. The keys
that are asked for in one turn of the event loop are one request. A request is never taken back: whoever no longer wants
its reply does not look at it. When one is late, the connection goes, and all requests on it fail. Values that
nobody waits for are collected for a few milliseconds, unless something else has to be sent: one write and one read of
many cost both sides a fraction of what many small ones cost.

A *lease* says that some worker is asking the server for an answer that memcached does not have: an item beside the
answer's, with a short life, that only one worker can add.

A server that fails or is late is left alone for a while, twice as long each time: it costs hits and nothing else.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from proxy.cache.cached_value import CachedValue
from proxy.cache.replies import (
    MalformedReply,
    Outcome,
    ReplyReader,
    add_request,
    delete_request,
    get_request,
    set_request,
)
from proxy.cache.value import RemoteKey, decode_item, encode_item
from proxy.rules.model import Address

_monotonic = time.monotonic
_now = time.perf_counter_ns
log = logging.getLogger("turnout.cache")

GET_TIMEOUT_S = 0.05
SET_TIMEOUT_S = 0.5  # nobody waits for these
CONNECT_TIMEOUT_S = 0.5
EXPIRES_S = 3600  # items do not live longer, whether asked for or not
MAX_ITEM_BYTES = (1 << 20) - 4096  # memcached's default limit, less what it keeps beside a value
COLLECT_S = 0.004  # how long values are collected before they are sent,
COLLECT_BYTES = 64 << 10  # and how many bytes of them
LEASE_S = 1  # memcached's shortest; whoever got it is rid of it sooner, when the answer is there
MAX_GETS = 1000  # keys asked for and leases under way to one server
GETS_AT_ONCE = 50  # keys of one request: some 3 KB
MAX_UNSENT_BYTES = 4 << 20  # waiting to be taken by a server
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_LEASE = b":lease"


Told = Callable[["bytes | None"], None]  # is given the item of a key, or None: there is none, or there will be none


COUNTED = ("dropped", "errors", "gets", "hits", "malformed", "sets", "skipped", "timeouts", "too_long")


class RemoteCounters:
    """What was asked of memcached: they only go up."""

    __slots__ = COUNTED

    def __init__(self) -> None:
        self.gets = self.hits = self.sets = 0
        self.errors = self.timeouts = 0
        self.skipped = 0  # requests not made, because the server failed a moment ago
        self.dropped = 0  # values not sent, because too many waited
        self.malformed = 0  # items that were not ours, or damaged
        self.too_long = 0  # values over the item size


class Memcached:
    """All servers of the rules. `spawn` makes a task that is kept until it ends."""

    def __init__(
        self, servers: Sequence[Address], spawn: Callable[[Awaitable[None], str], object], counters: RemoteCounters
    ) -> None:
        self.counters = counters
        self._nodes = [_Node(address, self.counters, spawn) for address in servers]

    def ask(self, key: RemoteKey, told: Told) -> bool:
        """Ask for an item: `told` is given it, for `read`, or None, and soon, whatever goes wrong. It must not raise.
        False: nothing is asked, and `told` not called."""
        self.counters.gets += 1
        return self._node(key.name).get(key.name, told)

    def read(self, key: RemoteKey, item: bytes) -> CachedValue | None:
        """The value as it was sent, incarnation 0; None: it is not ours."""
        value = decode_item(key, item, _now())
        if value is None:
            self.counters.malformed += 1
        else:
            self.counters.hits += 1
        return value

    def send(self, key: RemoteKey, value: CachedValue) -> None:
        """Keep it there, some time, or not."""
        data = encode_item(key, value)
        if len(data) > MAX_ITEM_BYTES:
            self.counters.too_long += 1
            return
        self._node(key.name).set(key.name, data)

    def lease(self, key: RemoteKey, done: Callable[[bool | None], None]) -> bool:
        """Is this worker the one to ask the server for the answer? `done` is told, None: memcached does not say. It
        must not raise. False: nothing is asked, and `done` not called."""
        return self._node(key.name).add(key.name + _LEASE, lambda reply: done(_ADDED.get(reply)))

    def end_lease(self, key: RemoteKey) -> None:
        """The answer was sent (before this), or will not come."""
        self._node(key.name).delete(key.name + _LEASE)

    async def close(self) -> None:
        for node in self._nodes:
            node.close()

    def _node(self, name: bytes) -> _Node:
        """Rendezvous hashing: a server that is added or removed moves only the keys that it gets or had."""
        if len(self._nodes) == 1:
            return self._nodes[0]
        return max(self._nodes, key=lambda node: hashlib.blake2b(name, key=node.name, digest_size=8).digest())


class _Asked(enum.Enum):
    """What a reply is the reply to, and which replies there are to it."""

    GET = frozenset({Outcome.END})  # and values
    ADD = frozenset({Outcome.STORED, Outcome.NOT_STORED, Outcome.FAILED})
    SET = frozenset({Outcome.STORED, Outcome.NOT_STORED, Outcome.TOO_LONG, Outcome.FAILED})
    DELETE = frozenset({Outcome.GONE, Outcome.FAILED})


# A member costs as much as a call where it is looked up with every request.
_GET, _ADD, _SET, _DELETE = _Asked
_END, _STORED = Outcome.END, Outcome.STORED
_Done = Callable[["Outcome | None"], None]  # is given the reply, or None: there will be none
# What was asked, what is to be done with the replies (of a get, by key; of an add), until when.
_Waiting = tuple[_Asked, "dict[bytes, Told] | _Done | None", float]
_ADDED: dict[Outcome | None, bool] = {Outcome.STORED: True, Outcome.NOT_STORED: False}


class _Link(asyncio.Protocol):
    """One connection. `failed` is called at most once, with what went wrong: not when the server ends an idle one."""

    def __init__(self, counters: RemoteCounters, worked: Callable[[], None], failed: Callable[[str], None]) -> None:
        self._counters = counters
        self._worked = worked
        self._failed = failed
        self._transport: asyncio.Transport | None = None
        self._replies = ReplyReader()
        self._waiting: deque[_Waiting] = deque()
        self._reads: deque[_Waiting] = deque()  # of these, the ones that somebody waits for
        self._waited_for = 0  # keys and leases
        self._gets: dict[bytes, Told] = {}  # to be asked for at the end of this turn
        self._late_at = 0.0
        self._check_at = 0.0
        self._unsent: list[bytes] = []  # before there is a connection, and until it is time to send
        self._unsent_bytes = 0
        self._soon = False  # at the end of this turn of the event loop
        self._later: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False

    # -- requests --------------------------------------------------------------------------------------------------

    def get(self, name: bytes, told: Told) -> bool:
        """False: there are too many already."""
        if self._waited_for >= MAX_GETS:
            return False
        gets = self._gets
        if name in gets or len(gets) >= GETS_AT_ONCE:
            self._request_gets()
            gets = self._gets
        gets[name] = told
        self._waited_for += 1
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self._flush)
        return True

    def add(self, name: bytes, done: _Done) -> bool:
        """False: there are too many already."""
        if self._waited_for >= MAX_GETS:
            return False
        self._waited_for += 1
        waiting = (_ADD, done, self._loop.time() + GET_TIMEOUT_S)
        self._reads.append(waiting)
        self._request(add_request(name, b"1", LEASE_S), waiting)
        return True

    def delete(self, name: bytes) -> None:
        self._request(delete_request(name), (_DELETE, None, self._loop.time() + SET_TIMEOUT_S))

    def set(self, name: bytes, data: bytes) -> bool:
        """False: the server has too much to take already."""
        waiting = self._unsent_bytes
        if self._transport is not None:
            waiting += self._transport.get_write_buffer_size()
        if waiting + len(data) > MAX_UNSENT_BYTES:
            return False
        request = set_request(name, data, EXPIRES_S)
        self._request(request, (_SET, None, self._loop.time() + SET_TIMEOUT_S), urgent=False)
        return True

    def _request_gets(self) -> None:
        gets, self._gets = self._gets, {}
        waiting = (_GET, gets, self._loop.time() + GET_TIMEOUT_S)
        self._reads.append(waiting)
        self._put(get_request(gets), waiting)

    def _request(self, data: bytes, waiting: _Waiting, urgent: bool = True) -> None:
        self._put(data, waiting)
        if self._soon:
            return
        if urgent or self._unsent_bytes >= COLLECT_BYTES:
            self._soon = True
            self._loop.call_soon(self._flush)
        elif self._later is None:
            self._later = self._loop.call_later(COLLECT_S, self._flush)

    def _put(self, data: bytes, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        if self._timer is None or waiting[2] < self._check_at:
            self._arm(waiting[2])
        self._unsent.append(data)
        self._unsent_bytes += len(data)

    def _flush(self) -> None:
        self._soon = False
        if self.closed:
            return
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._gets:
            self._request_gets()
        if self._transport is not None and self._unsent:
            self._transport.write(b"".join(self._unsent))
            self._unsent.clear()
            self._unsent_bytes = 0

    def _check(self) -> None:
        """Is a request late? If so, the event loop gets to read once more: it may be what was late."""
        self._timer = None
        if not self._waiting or self.closed:
            return
        first = self._waiting[0]
        if self._reads and self._reads[0][2] < first[2]:
            first = self._reads[0]
        now = self._loop.time()
        if first[2] > now:
            self._arm(first[2])
        elif not 0.0 < first[2] <= self._late_at:  # it was late when we looked before, and we have read since
            self._late_at = now
            self._arm(now + GET_TIMEOUT_S / 10)
        else:
            self._counters.timeouts += 1
            self.end("takes too long", counted=1)

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._check_at = when
        self._timer = self._loop.call_at(when, self._check)

    # -- the event loop calls these --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.closed:
            self._transport.abort()
            return
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        try:
            replies = self._replies.feed(data)
            for reply in replies:
                if isinstance(reply, tuple):
                    self._found(*reply)
                else:
                    self._replied(reply)
                if self.closed:
                    return
        except MalformedReply as error:
            self.end(f"answers {error}")
            return
        if replies:
            self._worked()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting or self._gets:
            self.end(str(exc or "closed the connection"))
        self.closed = True

    def _found(self, name: bytes, item: bytes) -> None:
        asked = self._waiting[0][1] if self._waiting else None
        told = asked.pop(name, None) if isinstance(asked, dict) else None
        if told is None:
            raise MalformedReply("with what was not asked for")
        self._waited_for -= 1
        told(item)

    def _replied(self, reply: Outcome) -> None:
        if not self._waiting:
            raise MalformedReply("what was not asked")
        what = self._waiting[0][0]
        if what is _SET and reply is _STORED:
            self._counters.sets += 1
            self._waiting.popleft()
            return
        if reply is not _END if what is _GET else reply not in what.value:
            raise MalformedReply("another kind of reply than was asked for")
        if what is _SET and reply is Outcome.TOO_LONG:
            self._counters.too_long += 1  # the server's item size is not the default
        elif reply is Outcome.FAILED or what is _SET:
            self._counters.errors += 1
        self._answer(reply)

    def _answer(self, reply: Outcome | None) -> None:
        """To the oldest request."""
        _, done, _ = self._waiting.popleft()
        if done is None:
            return
        self._reads.popleft()
        if isinstance(done, dict):
            if done:
                self._waited_for -= len(done)
                for told in done.values():  # those whose keys are not there
                    told(None)
        else:
            self._waited_for -= 1
            done(reply)

    # -- the end ---------------------------------------------------------------------------------------------------

    def end(self, why: str, counted: int = 0) -> None:
        """Give up the connection: every request on it fails, and `failed` is told why. `counted`: of the requests."""
        if self.closed:
            return
        if self._gets:
            self._request_gets()
        self.closed = True
        for timer in (self._timer, self._later):
            if timer is not None:
                timer.cancel()
        lost = sum(len(done) if isinstance(done, dict) else 1 for _, done, _ in self._waiting)
        self._counters.errors += max(0, lost - counted)
        self._unsent.clear()
        if self._transport is not None:
            self._transport.abort()
        self._failed(why)  # before the others hear of it, who may have more to ask
        while self._waiting:
            self._answer(None)


class _Node:
    """One server."""

    def __init__(
        self, address: Address, counters: RemoteCounters, spawn: Callable[[Awaitable[None], str], object]
    ) -> None:
        self.name = str(address).encode()[:64]
        self._address = address
        self._counters = counters
        self._spawn = spawn
        self._link: _Link | None = None
        self._pause_s = 0.0
        self._down_until = 0.0
        self._closing = False

    def get(self, name: bytes, told: Told) -> bool:
        """False: it is not asked, and `told` not called."""
        link = self._usable()
        if link is not None and link.get(name, told):
            return True
        self._counters.skipped += 1
        return False

    def add(self, name: bytes, done: _Done) -> bool:
        """False: it is not asked, and `done` not called."""
        link = self._usable()
        if link is not None and link.add(name, done):
            return True
        self._counters.skipped += 1
        return False

    def delete(self, name: bytes) -> None:
        link = self._usable()
        if link is not None:
            link.delete(name)

    def set(self, name: bytes, data: bytes) -> None:
        link = self._usable()
        if link is None:
            self._counters.skipped += 1
        elif not link.set(name, data):
            self._counters.dropped += 1

    def close(self) -> None:
        self._closing = True
        if self._link is not None:
            self._link.end("")

    def _usable(self) -> _Link | None:
        """The connection, or one that is being made. None: the server failed a moment ago."""
        link = self._link
        if link is not None and not link.closed:
            return link
        if self._closing or _monotonic() < self._down_until:
            return None
        link = self._link = _Link(self._counters, self._worked, self._leave_alone)
        self._spawn(self._connect(link), "connect to memcached")
        return link

    async def _connect(self, link: _Link) -> None:
        loop = asyncio.get_running_loop()
        address = self._address
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                if address.path:
                    await loop.create_unix_connection(lambda: link, address.path)
                else:
                    await loop.create_connection(lambda: link, address.host, address.port)
        except OSError as error:  # TimeoutError is one
            link.end(str(error) or "does not answer")

    def _worked(self) -> None:
        self._pause_s = 0.0

    def _leave_alone(self, why: str) -> None:
        if self._closing:
            return
        self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        self._down_until = _monotonic() + self._pause_s
        if self._pause_s == _FIRST_PAUSE_S:
            log.warning("memcached fails", extra={"server": self.name.decode(), "reason": why})
